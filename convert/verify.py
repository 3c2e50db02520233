"""Check that TensorFlow and ONNX Runtime agree over hundreds of carried steps, with missing samples and paused learning.

    difference = verify(step, model)                # raises VerifyError; returns the largest difference of each output
    proof = proof_of(step)                          # what every load of the file replays
"""

from typing import NamedTuple

import numpy as np
import onnxruntime

from convert import export
from convert.errors import ConvertError
from convert.families.registry import FORECASTER
from promlstm.engine import bundle

STEPS = 500
TOLERANCE = 2e-4        # relative, and absolute for surprise, contribution, view
REASON = (
    'float32 throughout the network, carried over many steps: matrix products and exponentials of other processors and libraries '
    'differ in the last bits and the recurrence carries that on; 2e-4 is a hundred times what was seen between two of them, and moves no alarm'
)
PROOF_STEPS = 24        # of each case, after the warm-up


class Setting(NamedTuple):
    """How long the steps of a case of the proof are, and of how many entities and features it is."""

    step_seconds: float
    features: int
    entities: int


# A step of each rule that the graphs have (half-lives change at 58 and 288 s, scoring between 300 and 1800 s), and entities of each way to
# combine features; as few as show what is computed, since every start of the exporter replays them.
CASES = (Setting(10, 1, 4), Setting(60, 2, 4), Setting(300, 5, 2), Setting(900, 10, 1), Setting(3600, 1, 4))


class VerifyError(ConvertError):
    """TensorFlow and ONNX Runtime disagree: the file must not be released."""


def telemetry(rng, steps, entities, features, far=(2e12, 1e6), form=FORECASTER):
    """Inputs of the contract that visit every branch: rhythm, jumps, gaps, unknown seasons, huge values, rows that do not learn, one with a new normal.

    far      level and unit of one entity, far from the others
    returns {input name: array with a leading axis of steps}
    """
    shape = (steps, entities, features)
    wave = np.sin(np.arange(steps) / 9)[:, None, None]
    value = 10 + wave + 0.2 * rng.normal(size=shape) + 8 * (rng.random(shape) < 0.02)
    value[:, 1 % entities] = np.round(value[:, 1 % entities])
    value[:, 2 % entities] = far[0] + far[1] * value[:, 2 % entities]
    season = value[..., None] + 0.1 * rng.normal(size=(*shape, form.sizes['K'])) * np.abs(value).mean(0)[..., None] * 0.01
    season[rng.random(season.shape) < 0.1] = np.nan
    value = np.asarray(form.unit[0]) + np.asarray(form.unit[1]) * value
    value[rng.random(shape) < 0.03] = np.nan
    value[steps * 3 // 4 : steps * 3 // 4 + 4] = np.nan
    learn = np.ones(shape[:2], np.float32)
    learn[steps * 5 // 6 :, 3 % entities] = 0
    learn[steps * 3 // 4, 1 % entities] = 2
    threshold = np.full(shape[:2], 2.4, np.float32)
    table = np.concatenate([rng.integers(0, 2**each.bits, (*shape, len(each.reads))) for each in form.tables] or [np.zeros((*shape, 0))], -1)
    local = 1_760_000_000.0 + 47 * np.arange(steps)
    inputs = {'value': value, 'season': season, 'table': table.astype(np.float64), 'local_seconds': np.repeat(local[:, None], entities, 1)}
    inputs |= {'learn': learn, 'threshold': threshold}
    return {name: array for name, array in inputs.items() if name in form.inputs}


def run_tensorflow(function, inputs, step_seconds, form=FORECASTER):
    """Carry the traced function over all steps: {output: array with a leading axis of steps}, states left out."""
    _, entities, features = inputs['value'].shape
    run = lambda feeds: {name: tensor.numpy() for name, tensor in function(*feeds.values()).items()}        # noqa: E731
    return _carried(run, inputs, step_seconds, export.zeros(entities, features, form), form)


def run_onnx(model, inputs, step_seconds, form=FORECASTER):
    """The same through ONNX Runtime, single-threaded."""
    session = runtime(model)
    names = [output.name for output in session.get_outputs()]
    run = lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))        # noqa: E731
    _, entities, features = inputs['value'].shape
    return _carried(run, inputs, step_seconds, export.zeros(entities, features, form), form)


def runtime(model):
    """onnxruntime.InferenceSession of a model, single-threaded."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=['CPUExecutionProvider'])


def _carried(run, inputs, step_seconds, state, form):
    found = []
    for t in range(len(inputs['value'])):
        feeds = {name: inputs[name][t] if name in inputs else np.asarray(step_seconds, np.float32) for name in form.inputs}
        out = run(feeds | state)
        state = {name: out.pop(name + bundle.NEXT) for name in state}
        found.append(out)
    return {name: np.stack([out[name] for out in found]) for name in found[0]}


def verify(step, model, form=FORECASTER, *, steps=STEPS, seed=0):
    """Largest difference of each output, relative to its scale; VerifyError names the first output that is too far off."""
    worst = {}
    function = export.traced(step, form)
    for step_seconds, features in ((60, 2), (900, 1), (3600, 5)):
        features = len(form.features or range(features))
        inputs = telemetry(np.random.default_rng([seed, features]), steps, 6, features, form=form)
        wanted = run_tensorflow(function, inputs, step_seconds, form)
        got = run_onnx(model, inputs, step_seconds, form)
        for name in wanted:
            pair = [bundle.comparable(name, array, form.tables) for array in (wanted[name], got[name])]
            worst[name] = max(worst.get(name, 0.0), _difference(name, *pair, inputs['value']))
    return worst


def _difference(name, wanted, got, value):
    if (wanted.dtype, wanted.shape) != (got.dtype, got.shape):
        raise VerifyError(f'{name}: ONNX gives {got.dtype} {got.shape}, TensorFlow {wanted.dtype} {wanted.shape}')
    if np.any(np.isnan(wanted) != np.isnan(got)):
        raise VerifyError(f'{name}: NaN at step {int(np.nonzero(np.isnan(wanted) != np.isnan(got))[0][0])} on one side only')
    unit = np.nanmax(np.abs(value), 0) if wanted.shape == value.shape and wanted.dtype == np.float64 else 1.0
    error = np.nan_to_num(np.abs(wanted - got) / np.maximum(np.abs(wanted), unit))
    if error.max() > TOLERANCE:
        raise VerifyError(f'{name}: differs by {error.max():.2g} at step {int(np.argmax(error) // error[0].size)}, tolerance {TOLERANCE:g}')
    return float(error.max())


def cases_of(low, high, ranges=()):
    """The Settings of a proof for a model that may run at steps of low to high seconds: one in each range of steps that is calibrated apart.

    ranges  (first, end) of the steps that share a calibration

    >>> [case.step_seconds for case in cases_of(1, 86400, [(1, 86401)])], [case.step_seconds for case in cases_of(45, 45)]
    ([10, 60, 300, 900, 3600], [45.0])
    >>> [case.step_seconds for case in cases_of(1, 86400, [(1, 5), (5, 86401)])]
    [10, 60, 300, 900, 3600, 2.0]
    """
    chosen = [case for case in CASES if low <= case.step_seconds <= high]
    for first, end in ranges or [(low, high + 1)]:
        first, last = max(first, low), min(end, high)
        if first <= last and not any(first <= case.step_seconds < end for case in chosen):
            middle = float(np.clip(round(np.sqrt(first * last)), first, last))
            chosen.append(Setting(middle if middle < end else float(first), 2, 4))
    return chosen


def proof_of(step, form=FORECASTER, *, cases=None, seed=7):
    """bundle.Proof from what TensorFlow gives, with the tolerance and why.

    cases  Settings; None = CASES
    """
    function, out = export.traced(step, form), []
    for number, each in enumerate(cases or CASES):
        steps, features = form.warmup_steps + PROOF_STEPS, len(form.features or range(each.features))
        inputs = telemetry(np.random.default_rng([seed, number]), steps, each.entities, features, far=(2e5, 1.0), form=form)
        outputs = run_tensorflow(function, inputs, each.step_seconds, form)
        arrays = [{name: bundle.Array.of(array) for name, array in named.items()} for named in (inputs, outputs)]
        out.append(bundle.Case(step_seconds=each.step_seconds, inputs=arrays[0], outputs=arrays[1]))
    return bundle.Proof(relative_tolerance=TOLERANCE, absolute_tolerance=TOLERANCE, reason=REASON, cases=tuple(out))
