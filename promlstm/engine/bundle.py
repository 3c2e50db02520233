"""The model contract, format 1: what a model file holds, how it is checked when read, and how it is written.

A model is one ONNX file and one pure function: it takes values and memory and returns a verdict and new memory, for N entities with
F features. INPUTS and OUTPUTS list the graph's tensors; manifest, calibration and proof are JSON in the file's `metadata_props`.

Who calls it: session.load (parse, from what ONNX Runtime reads), convert.release (metadata, then session.load to read it back),
`check-model` (card). What flows through: strings and shapes. It never runs a graph and never opens a file, so it needs no ONNX library.

`threshold` is an optional input: the surprise that the budget allows. It puts `lower` and `upper` exactly where the score becomes 1,
which the latch and the readers of the gauges rely on. A state is [N, S] or [N, F, S]. The second form is memory per feature: with it,
one file serves any number of features.
"""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self, TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Floats, Floats32, Ints
from promlstm.errors import BudgetError, BundleFormatError

FORMAT = 1
PREFIX = 'promlstm.'

# name: (dtype, axes). N entities, F features, K = 1 + season horizons, V views, H forecast horizons.
INPUTS = {
    'value': ('float64', 'NF'),  # newest samples, user's unit; NaN = no sample
    'season': ('float64', 'NFK'),  # seasonal memory now and at each season horizon, user's unit; NaN = not known yet
    'clock': ('float32', 'N4'),  # sin, cos of the hour of day; sin, cos of the day of week; in the detector's time zone
    'step_seconds': ('float32', ''),  # the detector's step
    'learn': ('float32', 'N'),  # 1 = judge and learn, 0 = judge only, 2 = judge, then take this sample as the new normal level
    'threshold': ('float32', 'N'),  # the surprise that the budget allows: only lower and upper depend on it
}
OUTPUTS = {
    'surprise': ('float32', 'N'),  # >= 0, robust units; NaN = no sample or warming up
    'expected': ('float64', 'NF'),  # what was expected before the sample was seen; NaN = none
    'lower': ('float64', 'NF'),  # lower border: beyond it the surprise is above `threshold`
    'upper': ('float64', 'NF'),  # upper border, likewise
    'deviation': ('float64', 'NF'),  # observed - expected, signed, user's unit
    'contribution': ('float32', 'NF'),  # share of each feature; rows sum to 1, or are NaN
    'season_next': ('float64', 'NF'),  # what to remember for this slot
    'view': ('float32', 'NV'),  # share of each view
    'class': ('int64', 'N'),  # which calibration rows apply
    'forecast': ('float64', 'NFH3'),  # low, middle, high at each forecast horizon
}
OPTIONAL = {'season', 'clock', 'step_seconds', 'learn', 'threshold', 'view', 'class', 'forecast'}
STATE = 'state_'
NEXT = '_next'
SEASON_SLOTS_MAX = 336
DAY, WEEK = 86400, 604800


_Dtype = Literal['float32', 'float64', 'int64']
_Part = TypeVar('_Part', bound=msgspec.Struct)  # of the metadata: manifest, calibration or proof


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the weights were trained on."""

    data: str  # in words, with licences
    digest: str  # sha256 of the training data
    recipe: str  # sha256 of the recipe
    seed: int
    entity_steps: int  # samples seen in training, all epochs
    seconds: float  # how long it took


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the exporter must know to run the graph, and what a person wants to know about it."""

    format: int
    name: str
    family: Literal['forecaster', 'autoencoder', 'classifier']
    description: str
    created: str  # RFC 3339
    features: tuple[str, ...] | None  # None: any number of features
    views: tuple[str, ...]
    step_seconds: tuple[float, float]  # the steps that the model supports, both ends included
    warmup_steps: int  # samples of an entity before its first surprise
    replay_steps: int  # history that a warm start replays
    season_period_seconds: int  # 0: no seasonal memory
    season_slots: int
    season_horizons_steps: tuple[int, ...]
    forecast_horizons_seconds: tuple[int, ...]
    training: Training
    tools: dict[str, str]  # name: version
    evaluation: dict[str, dict[str, float]]  # set: {measure: figure}


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
        alarms = np.log(np.asarray(row.alarms_per_entity_week))
        wanted = np.log(alarms_per_week)
        if wanted < alarms[-1]:
            raise BudgetError(
                f'a budget of {alarms_per_week:.3g} alarms per entity-week is below what the calibration was measured for: '
                f'the floor is {row.alarms_per_entity_week[-1]:.3g} per entity-week at a step of {step_seconds:g} s'
            )
        if wanted > alarms[0]:
            return float(row.surprise[0])
        return float(np.interp(-wanted, -alarms, row.surprise))

    def floor(self, step_seconds: float) -> float:
        """The lowest budget, in alarms per entity-week, that was measured for every class at a step."""
        classes = {row.klass for row in self.rows} or {0}
        return max(self.row(klass, step_seconds).alarms_per_entity_week[-1] for klass in classes)


class Array(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An array in JSON: its little-endian bytes in base64."""

    dtype: _Dtype
    shape: tuple[int, ...]
    data: str

    @classmethod
    def of(cls, array: Floats32 | Floats | Ints) -> Self:
        """The Array that holds a numpy array.

        >>> Array.of(np.float32([1, np.nan])).numpy()
        array([ 1., nan], dtype=float32)
        """
        little = np.ascontiguousarray(array, np.dtype(array.dtype).newbyteorder('<'))
        return cls(dtype=cast(_Dtype, array.dtype.name), shape=array.shape, data=base64.b64encode(little.tobytes()).decode())

    def numpy(self) -> npt.NDArray[Any]:
        """The numpy array, in the machine's byte order; BundleFormatError if the bytes do not fit dtype and shape."""
        try:
            flat = np.frombuffer(base64.b64decode(self.data, validate=True), np.dtype(self.dtype).newbyteorder('<'))
            if min(self.shape, default=0) < 0:
                raise ValueError('an axis is below 0')
            return flat.reshape(self.shape).astype(self.dtype)
        except ValueError as error:
            raise BundleFormatError(
                f'an array of the proof does not fit its dtype and shape ({self.dtype} {list(self.shape)}): {error}'
            ) from error


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A few rows over some steps, and what TensorFlow computed from them; replayed at every load."""

    relative_tolerance: float
    absolute_tolerance: float
    reason: str  # why this tolerance
    step_seconds: float
    inputs: dict[str, Array]  # each with a leading axis of T steps; without states and step_seconds
    outputs: dict[str, Array]  # likewise; without states, whose values show in later outputs


class Tensor(msgspec.Struct, frozen=True):
    """A graph's input or output as the runtime describes it."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


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
        """Memory of one entity in the seasonal slots, in bytes (float32 a slot)."""
        return 4 * self.manifest.season_slots * features


def metadata(manifest: Manifest, calibration: Calibration, proof: Proof) -> dict[str, str]:
    """The `metadata_props` of a file, as `parse` reads them."""
    parts = {'manifest': manifest, 'calibration': calibration, 'proof': proof}
    return {PREFIX + name: msgspec.json.encode(part).decode() for name, part in parts.items()}


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
        manifest = _section(metadata, 'manifest', Manifest)
        calibration = _section(metadata, 'calibration', Calibration)
        proof = _section(metadata, 'proof', Proof)
        _check_manifest(manifest)
        _check_calibration(calibration, manifest)
        states = _check_tensors(manifest, inputs, outputs)
        _check_proof(proof, manifest, inputs, outputs)
    except BundleFormatError as error:
        raise BundleFormatError(f'{source}: {error}') from error.__cause__
    return Bundle(
        source=source, sha256=sha256, size_bytes=size_bytes, manifest=manifest, calibration=calibration, proof=proof,
        inputs=frozenset(tensor.name for tensor in inputs), outputs=frozenset(tensor.name for tensor in outputs), states=states,
    )  # fmt: skip


def _section(metadata: Mapping[str, str], name: str, kind: type[_Part]) -> _Part:
    text = metadata.get(PREFIX + name)
    if text is None:
        raise BundleFormatError(
            f'no {PREFIX}{name} in the file: not made by `python -m convert` (`python -m convert wrap` wraps a plain ONNX file)'
        )
    if name == 'manifest':
        _check_format(text)
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleFormatError(f'{PREFIX}{name}: {error}') from error


def _check_format(text: str) -> None:
    """Check the version first: for a file of another format, any other message would mislead."""
    try:
        tree = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleFormatError(f'{PREFIX}manifest: not a JSON object: {error}') from error
    if not isinstance(tree, dict):
        raise BundleFormatError(f'{PREFIX}manifest: not a JSON object: got {type(tree).__name__}')
    found = tree.get('format')
    if found != FORMAT:
        raise BundleFormatError(f'format {found!r}, expected {FORMAT}: made for another version of promlstm')


def _check_manifest(manifest: Manifest) -> None:
    low, high = manifest.step_seconds
    if not 0 < low <= high:
        raise BundleFormatError(f'manifest: step_seconds: got {low:g} to {high:g}, expected 0 < low <= high')
    if manifest.features == ():
        raise BundleFormatError('manifest: features: none; expected names, or null for any number')
    try:
        made = datetime.fromisoformat(manifest.created)
    except ValueError as error:
        raise BundleFormatError(f'manifest: created: got {manifest.created!r}, expected a time such as 2026-01-31T12:00:00Z') from error
    if made.tzinfo is None:
        raise BundleFormatError(f'manifest: created: {manifest.created!r} has no time zone')
    if manifest.features is not None and len(set(manifest.features)) != len(manifest.features):
        raise BundleFormatError('manifest: features: a name occurs twice')
    if manifest.warmup_steps < 1 or manifest.replay_steps < manifest.warmup_steps:
        raise BundleFormatError(
            f'manifest: replay_steps: got {manifest.replay_steps}, expected at least warmup_steps ({manifest.warmup_steps} >= 1)'
        )
    if bool(manifest.season_period_seconds) != bool(manifest.season_slots) or not 0 <= manifest.season_slots <= SEASON_SLOTS_MAX:
        raise BundleFormatError(
            f'manifest: season_slots: got {manifest.season_slots}, expected 1 to {SEASON_SLOTS_MAX}, or 0 together with the period'
        )
    if manifest.season_period_seconds not in (0, DAY, WEEK):
        raise BundleFormatError(
            f'manifest: season_period_seconds: got {manifest.season_period_seconds}, expected {DAY} (a day) or {WEEK} (a week)'
        )
    if manifest.season_period_seconds == WEEK and manifest.season_slots % 7:
        raise BundleFormatError(f'manifest: season_slots: got {manifest.season_slots}, expected as many for every day of the week')
    if any(steps <= 0 for steps in manifest.season_horizons_steps):
        raise BundleFormatError(f'manifest: season_horizons_steps: got {list(manifest.season_horizons_steps)}, expected positive steps')


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


def _sizes(manifest: Manifest) -> dict[str, int | str]:
    """Size of each axis of INPUTS and OUTPUTS; a text is an axis without a fixed size."""
    return {
        'N': 'N', 'F': 'F' if manifest.features is None else len(manifest.features), 'K': 1 + len(manifest.season_horizons_steps),
        'V': len(manifest.views), 'H': len(manifest.forecast_horizons_seconds), '3': 3, '4': 4,
    }  # fmt: skip


def _check_tensors(manifest: Manifest, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """Check names, dtypes and shapes of the graph's tensors; returns the states by input name."""
    sizes = _sizes(manifest)
    states = {tensor.name: tensor for tensor in inputs if tensor.name.startswith(STATE)}
    nexts = {tensor.name: tensor for tensor in outputs if tensor.name.startswith(STATE)}
    _check_declared('input', [tensor for tensor in inputs if tensor.name not in states], INPUTS, sizes)
    _check_declared('output', [tensor for tensor in outputs if tensor.name not in nexts], OUTPUTS, sizes)
    if {name + NEXT for name in states} != set(nexts):
        unpaired = sorted({name + NEXT for name in states} ^ set(nexts))
        raise BundleFormatError(f'graph: every {STATE}NAME needs a {STATE}NAME{NEXT} and vice versa; without counterpart: {unpaired}')
    for name, state in states.items():
        per_feature = len(state.shape) == 3
        fits = state.shape[:-1] == (('N', sizes['F']) if per_feature else ('N',)) and isinstance(state.shape[-1], int)
        if state.dtype not in ('float32', 'float64') or not fits:
            raise BundleFormatError(f'graph: {name} is {state.dtype} {list(state.shape)}, expected float32 or float64 [N, S] or [N, F, S]')
        after = nexts[name + NEXT]
        if (after.dtype, after.shape) != (state.dtype, state.shape):
            raise BundleFormatError(
                f'graph: {after.name} is {after.dtype} {list(after.shape)}, expected as {name}: {state.dtype} {list(state.shape)}'
            )
    views = 'view' in {tensor.name for tensor in outputs}
    if views != bool(manifest.views):
        raise BundleFormatError(f'graph: view {"is" if views else "is not"} an output, but the manifest names {len(manifest.views)} views')
    if ('forecast' in {tensor.name for tensor in outputs}) != bool(manifest.forecast_horizons_seconds):
        raise BundleFormatError(
            f'graph: forecast {"is not" if manifest.forecast_horizons_seconds else "is"} an output, '
            f'but the manifest names {len(manifest.forecast_horizons_seconds)} forecast horizons'
        )
    return states


def _check_declared(what: str, tensors: Sequence[Tensor], declared: Mapping[str, tuple[str, str]], sizes: Mapping[str, int | str]) -> None:
    names = {tensor.name for tensor in tensors}
    if unknown := sorted(names - set(declared)):
        raise BundleFormatError(f'graph: unknown {what} {unknown[0]!r}; known: {", ".join(declared)}, {STATE}NAME')
    if missing := sorted(set(declared) - OPTIONAL - names):
        raise BundleFormatError(f'graph: {what} {missing[0]!r} is missing')
    for tensor in tensors:
        dtype, axes = declared[tensor.name]
        shape = tuple(sizes[axis] for axis in axes)
        if (tensor.dtype, tensor.shape) != (dtype, shape):
            raise BundleFormatError(f'graph: {what} {tensor.name} is {tensor.dtype} {list(tensor.shape)}, expected {dtype} {list(shape)}')


def _check_proof(proof: Proof, manifest: Manifest, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Check that the proof can be replayed: an array for each input of the graph, all of the same length and of the right shape."""
    wanted = {tensor.name for tensor in inputs if not tensor.name.startswith(STATE)} - {'step_seconds'}
    given = {name for name in INPUTS if name != 'step_seconds'}, {tensor.name for tensor in outputs if tensor.name in OUTPUTS}
    if missing := sorted(wanted - set(proof.inputs)):
        raise BundleFormatError(f'proof: input {missing[0]!r} is missing')
    for what, arrays, known in zip(('input', 'output'), (proof.inputs, proof.outputs), given, strict=True):
        if unknown := sorted(set(arrays) - known):
            raise BundleFormatError(f'proof: unknown {what} {unknown[0]!r}; known: {", ".join(sorted(known))}')
    value = proof.inputs['value'].shape
    if len(value) != 3 or 0 in value:
        raise BundleFormatError(f'proof: input value is {list(value)}, expected [steps, entities, features], none of them 0')
    sizes = {**_sizes(manifest), 'N': value[1], 'F': value[2] if manifest.features is None else len(manifest.features)}
    for what, arrays, declared in (('input', proof.inputs, INPUTS), ('output', proof.outputs, OUTPUTS)):
        for name, array in arrays.items():
            shape = (value[0], *(sizes[axis] for axis in declared[name][1]))
            if array.numpy().shape != shape:
                raise BundleFormatError(f'proof: {what} {name} is {list(array.shape)}, expected {list(shape)}')
