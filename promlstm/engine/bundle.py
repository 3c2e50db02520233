"""The model contract: what a model file holds, how it is checked when read, and how it is written.

A model is one ONNX file and one pure function: it takes values and memory and returns a verdict and new memory, for N entities with
F features. Its parts are in files of their own: the graph's tensors (tensors), and JSON in the file's `metadata_props`: manifest, calibration
(here) and proof. digest covers all of it.

Who calls it: session.load (parse, from what ONNX Runtime reads), convert.release (metadata, then session.load to read it back),
`check-model` (card). What flows through: strings and shapes. It never runs a graph and never opens a file, so it needs no ONNX library.

Format 2 has a digest and a proof at every range of steps of the calibration, which the proof names. Files of format 1 are still read; they
have no digest, and a proof at one step.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeVar

import msgspec
import numpy as np

from promlstm.engine import manifest as manifests
from promlstm.engine import proof as proofs
from promlstm.engine import tensors
from promlstm.engine.manifest import DAY, FORMAT, PREFIX, SEASON_SLOTS_MAX, WEEK, Manifest, Table, Training
from promlstm.engine.proof import Array, Case, Proof
from promlstm.engine.tensors import INPUTS, NEXT, OPTIONAL, OUTPUTS, STATE, Tensor, comparable
from promlstm.errors import BudgetError, BundleFormatError

__all__ = [
    'DAY', 'FORMAT', 'INPUTS', 'NEXT', 'OPTIONAL', 'OUTPUTS', 'PREFIX', 'SEASON_SLOTS_MAX', 'STATE', 'WEEK', 'Array', 'Bundle', 'Calibration',
    'Case', 'Manifest', 'Proof', 'Row', 'Table', 'Tensor', 'Training', 'comparable', 'digest', 'metadata', 'parse',
]  # fmt: skip

_Part = TypeVar('_Part', bound=msgspec.Struct)  # of the metadata: manifest or calibration


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={'klass': 'class'}):
    """The measured relation between surprise and alarms, for one class and a range of steps (lower end included, upper not)."""

    klass: int
    step_seconds: tuple[float, float]
    surprise: tuple[float, ...]  # strictly increasing
    alarms_per_entity_week: tuple[float, ...]  # never increasing, > 0


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many alarms per entity-week a surprise corresponds to; measured by replay, not extrapolated."""

    status: Literal['none', 'measured']
    source: str = ''  # what was replayed
    entity_weeks: float = 0.0
    rows: tuple[Row, ...] = ()

    def row(self, klass: int, step_seconds: float) -> Row:
        """The row for a class and a step; BudgetError if nothing was measured for them."""
        if self.status == 'none':
            raise BudgetError(
                'the model is not calibrated (status "none"): it gives surprise, no score; finish `python -m convert calibrate`'
            )
        for row in self.rows:
            if row.klass == klass and row.step_seconds[0] <= step_seconds < row.step_seconds[1]:
                return row
        raise BudgetError(f'the model has no calibration for class {klass} at a step of {step_seconds:g} s')

    def threshold(self, alarms_per_week: float, *, step_seconds: float, klass: int = 0) -> float:
        """The surprise that an entity of this class exceeds no more often than the budget allows.

        alarms_per_week  float  alarms of one entity in a week, > 0
        returns          float  surprise, interpolated linearly in the logarithm of the alarms
        raises           BudgetError  if the budget is below the table, which is not extrapolated

        >>> row = Row(klass=0, step_seconds=(1, 600), surprise=(1, 2, 3), alarms_per_entity_week=(100, 10, 1))
        >>> table = Calibration(status='measured', rows=(row,))
        >>> round(table.threshold(10 ** .5, step_seconds=60), 3)
        2.5
        """
        row = self.row(klass, step_seconds)
        self.check_budget(alarms_per_week, step_seconds, (klass,))
        alarms = np.log(np.asarray(row.alarms_per_entity_week))
        wanted = np.log(alarms_per_week)
        if wanted > alarms[0]:
            return float(row.surprise[0])
        return float(np.interp(-wanted, -alarms, row.surprise))

    def floor(self, step_seconds: float, classes: Iterable[int] | None = None) -> float:
        """The lowest budget, in alarms per entity-week, that was measured for each of some classes (None = all) at a step."""
        return max(self.row(klass, step_seconds).alarms_per_entity_week[-1] for klass in classes or {row.klass for row in self.rows} or {0})

    def ceiling(self, step_seconds: float, classes: Iterable[int] | None = None) -> float:
        """The largest budget of the tables of some classes (None = all) at a step. What is larger is judged as this one."""
        return max(self.row(klass, step_seconds).alarms_per_entity_week[0] for klass in classes or {row.klass for row in self.rows} or {0})

    def check_budget(self, alarms_per_week: float, step_seconds: float, classes: Iterable[int]) -> None:
        """BudgetError if a budget is below what was measured for any of some classes; it names the one floor that holds for all of them."""
        if alarms_per_week < (floor := self.floor(step_seconds, classes)):
            raise BudgetError(
                f'a budget of {alarms_per_week:.3g} alarms per entity-week is below what the calibration was measured for: '
                f'the floor is {_rounded_up(floor)} per entity-week at a step of {step_seconds:g} s; set at least {_rounded_up(floor)}/week each'
            )


def _rounded_up(number: float) -> str:
    """Three digits that are no less than the number: whoever takes the floor that a message names must not be refused again.

    >>> _rounded_up(0.11451), _rounded_up(0.1), _rounded_up(20.0), _rounded_up(0.00067)
    ('0.115', '0.1', '20', '0.00067')
    """
    digits = 2 - math.floor(math.log10(number))
    return f'{math.ceil(number * 10**digits - 1e-9) / 10**digits:.3g}'


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A model file that was read and passed all checks."""

    source: str
    sha256: str
    size_bytes: int
    manifest: Manifest
    calibration: Calibration
    proof: Proof
    inputs: frozenset[str]  # of the optional inputs only those that the graph takes
    outputs: frozenset[str]
    states: dict[str, Tensor]  # by input name

    def state_bytes(self, features: int) -> int:
        """Memory of one entity in the graph's states, in bytes."""
        return sum(
            np.dtype(state.dtype).itemsize * math.prod(features if axis == 'F' else int(axis) for axis in state.shape[1:])
            for state in self.states.values()
        )

    def season_bytes(self, features: int) -> int:
        """Memory of one entity in the seasonal slots and in the tables of the time of day, in bytes (float32 a seasonal slot)."""
        tables = sum(table.slots * table.bits // 8 for table in self.manifest.tables)
        return (4 * self.manifest.season_slots + tables) * features


def metadata(manifest: Manifest, calibration: Calibration, proof: Proof) -> dict[str, str]:
    """The `metadata_props` of a file, as `parse` reads them; the proof gets the digest of this calibration."""
    rows = msgspec.json.encode(calibration)
    proof = msgspec.structs.replace(proof, calibration=digest(rows))
    parts = {'manifest': msgspec.json.encode(manifest), 'calibration': rows, 'proof': msgspec.json.encode(proof)}
    return {PREFIX + name: part.decode() for name, part in parts.items()}


def digest(data: bytes) -> str:
    """sha256 of a file's bytes, in hexadecimal, as `sha256:` in the configuration has it."""
    return hashlib.sha256(data).hexdigest()


def parse(
    metadata: Mapping[str, str], inputs: Sequence[Tensor], outputs: Sequence[Tensor], *, source: str, sha256: str = '', size_bytes: int = 0,
) -> Bundle:  # fmt: skip
    """Check what a runtime reports of a file, and put it into a Bundle.

    metadata         the file's metadata_props
    inputs, outputs  the graph's tensors
    source           how to name the file in a message
    raises           BundleFormatError for the first mistake
    """
    try:
        version = manifests.check_format(_text(metadata, 'manifest'))
        manifest = _section(metadata, 'manifest', Manifest)
        calibration = _section(metadata, 'calibration', Calibration)
        proof = _proof(metadata, version)
        manifests.check(manifest)
        _check_calibration(calibration, manifest)
        states = tensors.check(manifest, inputs, outputs)
        proofs.check(proof, manifest, inputs, outputs)
        if version > 1:
            _check_proven(proof, calibration, manifest, _text(metadata, 'calibration'))
    except BundleFormatError as error:
        raise BundleFormatError(f'{source}: {error}') from error.__cause__
    return Bundle(
        source=source, sha256=sha256, size_bytes=size_bytes, manifest=manifest, calibration=calibration, proof=proof,
        inputs=frozenset(tensor.name for tensor in inputs), outputs=frozenset(tensor.name for tensor in outputs), states=states,
    )  # fmt: skip


def _text(metadata: Mapping[str, str], name: str) -> str:
    text = metadata.get(PREFIX + name)
    if text is None and PREFIX + 'forecast' in metadata:
        raise BundleFormatError('it is a forecast model and does not score: set it as `forecast.model` of the detector')
    if text is None:
        raise BundleFormatError(
            f'no {PREFIX}{name} in the file: not made by `python -m convert` (`python -m convert wrap` wraps a plain ONNX file)'
        )
    return text


def _section(metadata: Mapping[str, str], name: str, kind: type[_Part]) -> _Part:
    text = _text(metadata, name)
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleFormatError(f'{PREFIX}{name}: {error}') from error


def _proof(metadata: Mapping[str, str], version: int) -> Proof:
    text = _text(metadata, 'proof')
    try:
        return proofs.decode(text, version)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleFormatError(f'{PREFIX}proof: {error}') from error


def _check_proven(proof: Proof, calibration: Calibration, manifest: Manifest, text: str) -> None:
    """Check that the proof is of this calibration, and has a case in each of its ranges of steps that the model may run at."""
    if proof.calibration != digest(text.encode()):
        raise BundleFormatError('calibration: does not match the proof: a row or number was changed')
    lowest, highest = manifest.step_seconds
    for low, high in sorted({row.step_seconds for row in calibration.rows}):
        runs = low <= highest and high > lowest
        if runs and not any(low <= case.step_seconds < high for case in proof.cases):
            raise BundleFormatError(f'proof: no case at steps of {low:g} s to {high:g} s, which the calibration has a row for')


def _check_calibration(calibration: Calibration, manifest: Manifest) -> None:
    if calibration.status == 'none':
        if calibration.rows:
            raise BundleFormatError('calibration: status is "none" but there are rows')
        return
    for number, row in enumerate(calibration.rows):
        where = f'calibration: row {number}'
        if len(row.surprise) != len(row.alarms_per_entity_week) or len(row.surprise) < 2:
            raise BundleFormatError(
                f'{where}: {len(row.surprise)} surprises for {len(row.alarms_per_entity_week)} alarms, expected equally many, at least 2'
            )
        if np.any(np.diff(row.surprise) <= 0) or not row.surprise[0] > 0:
            raise BundleFormatError(f'{where}: surprise is not strictly increasing from above 0')
        if np.any(np.diff(row.alarms_per_entity_week) > 0) or not row.alarms_per_entity_week[-1] > 0:
            raise BundleFormatError(f'{where}: alarms_per_entity_week is not monotone: it must never rise with surprise, and stay above 0')
    for klass in {row.klass for row in calibration.rows} | {0}:
        reached, end = manifest.step_seconds
        for low, high in sorted(row.step_seconds for row in calibration.rows if row.klass == klass):
            if low > reached:
                break
            reached = max(reached, high)
        if reached <= end:
            raise BundleFormatError(
                f'calibration: class {klass} has a gap: no row for a step of {reached:g} s, the manifest says up to {end:g} s'
            )
