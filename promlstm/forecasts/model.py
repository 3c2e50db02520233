"""The model file that forecasts: a second ONNX file of the same discipline as that of a detector, without state and without calibration.

Who calls it: live.forecasts (load, Model.run), convert (which makes such files), `check-model`. What flows through: columns of R rows, one per
entity and feature; out come three quantiles for each horizon.

    digest, wire   the same as of other model files (engine.session.read)
    promlstm.forecast  what the file says of itself, see About
    promlstm.proof     inputs and what TensorFlow computed from them, replayed at each load
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from promlstm import limits
from promlstm.engine import digest
from promlstm.engine import session as sessions
from promlstm.engine.columns import Floats, Tensors
from promlstm.engine.manifest import PREFIX, Training
from promlstm.engine.proof import Array
from promlstm.engine.session import Trial
from promlstm.errors import BundleError, BundleFormatError, ProofError
from promlstm.terminal import duration

KEY, PROOF = PREFIX + 'forecast', PREFIX + 'proof'
FORMAT = 1
LOW, MIDDLE, HIGH = 0, 1, 2  # the last axis of a forecast
# name: (dtype, shape, meaning). R = rows: entities × features, H = horizons. In the user's unit unless said otherwise; NaN = not known.
INPUTS: dict[str, tuple[str, tuple[str | int, ...], str]] = {
    'levels': ('float64', ('R', 3), 'the newest sample, and exponential means of the samples by weights of 2/5 and 2/13'),
    'noise': ('float64', ('R',), 'exponential mean of the absolute differences between samples, by a weight of 0.03'),
    'recent': ('float64', ('R', 48), 'means of the last 48 complete half-hours, the oldest first; gaps are filled with the value before'),
    'recent_season': ('float64', ('R', 48), 'what the seasonal memory holds for these half-hours, which it has learnt already'),
    'quarters': ('float64', ('R', 32), 'means of the last 32 complete quarters of a day, the oldest first'),
    'since_quarter': ('float32', (), 'complete half-hours since the last of these quarters ended, 0 to 11'),
    'weekly': ('float64', ('R', 'H'), 'the seasonal memory at the local time of the target'),
    'daily': ('float64', ('R', 'H'), 'mean of the seasonal memory over the days of the week, at the time of day of the target'),
    'yesterday': ('float64', ('R', 'H'), 'the newest of `recent` at the time of day of the target'),
    'yesterday_season': ('float64', ('R', 'H'), '`recent_season` at the same place'),
    'now': ('float64', ('R', 2), 'the seasonal memory now, as `weekly` and as `daily`'),
    'ahead': ('float64', ('H',), 'seconds from now to each target'),
    'step_seconds': ('float32', (), "the detector's step"),
}
OUTPUT = 'forecast'  # float64 [R, H, 3]


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a model file that forecasts says of itself."""

    format: int
    name: str
    description: str
    created: str  # RFC 3339
    coverage: float  # share of the values that are between low and high
    horizons_seconds: tuple[float, float]  # that the model is made for, both ends included
    step_seconds: tuple[float, float]
    training: Training
    tools: dict[str, str]  # name: version
    evaluation: dict[str, dict[str, float]]  # set: {measure: figure}


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Some rows, and what TensorFlow computed from them."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is replayed at every load, and how near the results have to be."""

    relative_tolerance: float
    absolute_tolerance: float  # in the unit of each row: its largest absolute expected value is 1
    reason: str
    cases: tuple[Case, ...]


class Model:
    """A loaded model, ready to run over any number of rows and horizons.

    sha256  of the file
    source  how the file is called in messages
    pool    runs chunks of rows at once; None = there is one processor
    """

    def __init__(self, runtime: onnxruntime.InferenceSession, about: About, proof: Proof, *, source: str, sha256: str, threads: int) -> None:
        self.about, self.proof, self.source, self.sha256 = about, proof, source, sha256
        self._runtime = runtime
        self.pool = ThreadPoolExecutor(threads, 'promlstm-forecast') if threads > 1 else None

    def run(self, inputs: Tensors) -> Floats:
        """The forecast of R rows for H horizons: float64 [R, H, 3], the quantiles low, middle and high; NaN where the newest sample is.

        It does not stop at 0 or another natural border, so that it shows when a limit is crossed; `predict` cuts it.

        inputs  {name of INPUTS: array}
        """
        feeds = {name: np.asarray(inputs[name], INPUTS[name][0], order='C') for name in INPUTS}
        out: Floats = self._runtime.run([OUTPUT], feeds)[0]
        return out

    def check(self, step_seconds: float, horizons: Iterable[float]) -> None:
        """BundleError unless it is made for such steps and horizons, in seconds."""
        low, high = self.about.step_seconds
        if not low <= step_seconds <= high:
            raise BundleError(f'forecast model {self.about.name} is made for steps of {low:g} to {high:g} s, the detector has {step_seconds:g} s')
        low, high = self.about.horizons_seconds
        for seconds in horizons:
            if not low <= seconds <= high:
                name = self.about.name
                raise BundleError(f'forecast model {name} is made for horizons of {duration(low)} to {duration(high)}, the detector has {duration(seconds)}')

    def prove(self) -> None:
        """Replay each case of the file's proof; ProofError names the row and horizon where this machine first differs."""
        if not self.proof.cases:
            raise BundleFormatError(f'{self.source}: the proof has no case, so it does not verify anything')
        for number, case in enumerate(self.proof.cases):
            inputs = {name: array.numpy() for name, array in case.inputs.items()}
            _check_case(inputs, case, f'{self.source}: case {number} of the proof')
            wanted = case.outputs[OUTPUT].numpy()
            try:
                got = self.run(inputs)
            except Exception as error:  # ONNX Runtime raises its own classes, which have no common base but Exception
                raise ProofError(f'{self.source}: the graph cannot be run: {" ".join(str(error).split())}') from error
            unit = np.nanmax(np.abs(np.where(np.isfinite(wanted), wanted, 0)), axis=(1, 2), keepdims=True)
            limit = self.proof.relative_tolerance * np.abs(wanted) + self.proof.absolute_tolerance * unit
            with np.errstate(invalid='ignore'):
                close = (np.abs(got - wanted) <= limit) | (got == wanted) | (np.isnan(got) & np.isnan(wanted))
            if not close.all():
                where = tuple(int(index[0]) for index in np.nonzero(~close))
                raise ProofError(
                    f'{self.source}: case {number} of the proof fails at row {where[0]}, horizon {where[1]}: got {got[where]:.9g}, expected '
                    f'{wanted[where]:.9g}: this machine or ONNX Runtime {onnxruntime.__version__} computes other numbers than the model was made with'
                )


def _check_case(inputs: Tensors, case: Case, where: str) -> None:
    if missing := sorted(INPUTS.keys() ^ inputs.keys()):
        raise BundleFormatError(f'{where}: input {missing[0]!r} is missing or unknown')
    sizes: dict[str | int, int] = {'R': len(inputs['levels']), 'H': len(inputs['ahead'])}
    for name, (dtype, shape, _) in INPUTS.items():
        wanted = tuple(sizes.get(axis, axis) for axis in shape)
        if inputs[name].shape != wanted or inputs[name].dtype != dtype:
            raise BundleFormatError(f'{where}: input {name} is {inputs[name].dtype} {list(inputs[name].shape)}, expected {dtype} {list(wanted)}')
    if list(case.outputs) != [OUTPUT] or case.outputs[OUTPUT].shape != (sizes['R'], sizes['H'], 3):
        raise BundleFormatError(f'{where}: expected one output, {OUTPUT} [{sizes["R"]}, {sizes["H"]}, 3]')


def load(path: str | Path, *, sha256: str | None = None, threads: int | None = None, prove: bool = True, trial: Trial | None = None) -> Model:
    """Load a model file, with the checks of engine.session.load, and verify its proof.

    sha256   expected digest of the file, or None
    trial    loads it in a process of its own first, see engine.trial.Trials
    raises   BundleFormatError, ProofError
    """
    return sessions.proven(path, lambda data, found: of(data, str(path), sha256=found, threads=threads), sha256=sha256, prove=prove, trial=trial)


def is_one(path: str | Path) -> bool:
    """Whether a file says that it forecasts; False where it cannot be read or is no model file: `load` says why."""
    try:
        return KEY in digest.properties(sessions.read(path)[0])
    except (BundleFormatError, ValueError):
        return False


def of(data: bytes, source: str, *, sha256: str = '', threads: int | None = None) -> Model:
    """The Model of a file's bytes, which were checked; its proof is not verified."""
    runtime, metadata = sessions.opened(data, source)
    about, proof = (_section(metadata, key, kind, source) for key, kind in ((KEY, About), (PROOF, Proof)))
    if about.format != FORMAT:
        raise BundleFormatError(f'{source}: format {about.format!r} of {KEY}, expected {FORMAT}: made for another version of promlstm')
    names = {node.name for node in runtime.get_inputs()}
    if unlike := sorted(names ^ INPUTS.keys()):
        raise BundleFormatError(f'{source}: the graph has other inputs than a forecast model: {unlike[0]}')
    if [node.name for node in runtime.get_outputs()] != [OUTPUT]:
        raise BundleFormatError(f'{source}: expected the output {OUTPUT} alone')
    return Model(runtime, about, proof, source=source, sha256=sha256, threads=threads or limits.threads())


def _section(metadata: dict[str, str], key: str, kind: type[Any], source: str) -> Any:
    text = metadata.get(key)
    if text is None:
        why = 'it scores, and does not forecast' if PREFIX + 'manifest' in metadata else 'not made by `python -m convert`'
        raise BundleFormatError(f'{source}: no {key} in the file: {why}')
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleFormatError(f'{source}: {key}: {error}') from error
