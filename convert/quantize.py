"""Make an int8 variant of a model file: smaller and faster LSTMs, with its own proof and calibration. It is never the default.

    python -m convert quantize forecaster.onnx convert/recipes/forecaster.yml --out forecaster-int8.onnx

ONNX Runtime quantises the inputs of an LSTM by the range of the whole batch, so one extreme row would change the numbers of the others.
Therefore inputs are clipped, and a row with the largest inputs and hidden states is added to every batch and removed after the LSTM: the
range is then always the same. That is exact where the LSTM runs one step at a time (forecaster). The hidden states within a window cannot
be bounded this way; the influence that is left is measured, printed, and stored in the manifest.

TensorFlow has no int8 variant to compare with, so the proof is what ONNX Runtime computed here: it still refuses a processor that computes
other numbers. Weights have seven bits (reduce_range), because eight overflow on processors without VNNI.
"""

import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import helper, numpy_helper

from convert import calibrate, files, job, release, stages, verify
from convert.data import synthesis
from convert.errors import ConvertError
from convert.evaluation import measures, replay
from promlstm.engine import bundle, session

CLIP = 6.0                  # inputs of the first LSTM are logarithmic: 6 is two hundred usual deviations
TOLERANCE = 2e-3
REASON = 'int8: rounding is the same everywhere, what surrounds it is float32; a difference of one rounding step would be ten times as much'
FAULTS_PER_1000 = 1.5
SEED = 3_000_003            # added to the recipe's: telemetry that is not used in training, calibration or evaluation
ROWS, REPEATS = 2048, 9     # of a measurement of speed
INDEPENDENT = 1e-5          # a surprise that changes by no more with the rest of the batch is independent of it


class QuantizeError(ConvertError):
    """The model cannot be quantised: the message says why."""


def quantize(path, recipe, out, log=print):
    """Write the int8 variant of a model file; returns the Session that read it back.

    recipe  recipe.Recipe that the model was made by: how to calibrate, and on what to compare
    raises  QuantizeError, CalibrationError, ReleaseError, BundleError
    """
    whole = session.load(path)
    if whole.bundle.manifest.features is not None:
        raise QuantizeError(f'{path}: made for its own features (wrapped): it has no recipe for a calibration')
    if whole.bundle.manifest.tables:
        raise QuantizeError(f'{path}: has tables of the time of day, with which no int8 variant can be made yet; of builtin:forecaster one can')
    model = quantized(onnx.load(path))
    proof = proof_of(model, whole.bundle)
    name = f'{whole.bundle.manifest.name}-int8'
    manifest = msgspec.structs.replace(whole.bundle.manifest, name=name, created=job.now(), tools=job.tools())
    largest = whole.bundle.size_bytes + 2_000_000
    with tempfile.TemporaryDirectory() as folder:
        draft = release.release(model, manifest, stages.UNCALIBRATED, proof, Path(folder) / 'draft.onnx', largest)
        moved = batch_influence(draft)
        table = calibrate.calibrate(draft, recipe.calibration, seed=recipe.seed + stages.CALIBRATION_SEED, log=log)
        figures = cost(whole, draft, recipe)
    text = f'int8 variant of {whole.bundle.manifest.name} ({whole.bundle.sha256[:12]}); ' + whole.bundle.manifest.description
    if moved > INDEPENDENT:
        text += f'; NOT INDEPENDENT: the surprise of an entity changes by up to {moved:.2g} with the others in its batch'
    figures |= {'batch_changes_surprise_by': round(moved, 6)}
    manifest = msgspec.structs.replace(manifest, description=text, evaluation={**whole.bundle.manifest.evaluation, 'int8': figures})
    made = release.release(model, manifest, table, proof, out, largest)
    _log_summary(out, whole.bundle, made.bundle, figures, moved, log)
    return made


def quantized(model):
    """onnx.ModelProto whose LSTMs compute in int8; QuantizeError where it has none."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    lstms = [node for node in bare.graph.node if node.op_type == 'LSTM']
    if not lstms:
        raise QuantizeError('the graph has no LSTM in float32: nothing to quantise')
    _bound_lstms(bare.graph)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'int8.onnx'
        with files.writing(path):
            quantize_dynamic(bare, path, op_types_to_quantize=['LSTM'], weight_type=QuantType.QInt8, reduce_range=True)
        out = onnx.load(path)
    found = sum(node.op_type == 'DynamicQuantizeLSTM' for node in out.graph.node)
    if found != len(lstms):
        raise QuantizeError(f'{found} of {len(lstms)} LSTMs were quantised: ONNX Runtime did not recognise the others')
    return out


def _bound_lstms(graph):
    """Clip the inputs of each LSTM and add a row with the largest values, so that the range is always the same."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        nodes += _bounded_lstm(graph, node, weights) if node.op_type == 'LSTM' else [node]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _bounded_lstm(graph, node, weights):
    """The nodes that replace one LSTM. X is [T, B, I]; initial states [1, B, H]; Y [T, 1, B, H], its last states [1, B, H]."""
    name, (_, _, inputs) = node.name, weights[node.input[1]].shape
    units = weights[node.input[2]].shape[-1]

    def constant(what, value):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), f'{name}_{what}'))
        return f'{name}_{what}'

    def add(operator, *given, to, **attributes):
        out.append(helper.make_node(operator, list(given), [f'{name}_{to}'], name=f'{name}_{to}', **attributes))
        return f'{name}_{to}'

    out, sign = [], np.float32([-1, 1])
    zero, one, axis = constant('from', np.int64([0])), constant('to', np.int64([1])), constant('axis', np.int64([1]))
    clipped = add('Clip', node.input[0], constant('low', np.float32(-CLIP)), constant('high', np.float32(CLIP)), to='clipped')
    first = add('Slice', clipped, zero, one, axis, to='first')
    widest = add('Add', add('Mul', first, constant('none', np.float32(0)), to='blank'), constant('wide', CLIP * np.resize(sign, inputs)), to='widest')
    given = [add('Concat', clipped, widest, axis=1, to='bounded'), *node.input[1:]]
    for place, value in ((5, np.resize(sign, units)), (6, np.zeros(units, np.float32))):
        if len(given) > place and given[place]:
            given[place] = add('Concat', given[place], constant(f'state_{place}', value.astype(np.float32).reshape(1, 1, -1)), axis=1, to=f'bounded_{place}')
    ends = [f'{name}_with_{k}' if output else '' for k, output in enumerate(node.output)]
    lstm = helper.make_node('LSTM', given, ends, name=name)
    lstm.attribute.extend(node.attribute)
    out.append(lstm)
    last = constant('last', np.int64([-1]))
    for k, output in enumerate(node.output):
        if output:
            rows = constant(f'rows_{k}', np.int64([2 if k == 0 else 1]))
            out.append(helper.make_node('Slice', [ends[k], zero, last, rows], [output], name=f'{name}_without_{k}'))
    return out


def proof_of(model, whole):
    """bundle.Proof with the inputs of the model's own proof, and the outputs of ONNX Runtime on this machine."""
    loaded = verify.runtime(model)
    cases = tuple(msgspec.structs.replace(case, outputs=_outputs(loaded, whole, case)) for case in whole.proof.cases)
    return msgspec.structs.replace(whole.proof, relative_tolerance=TOLERANCE, absolute_tolerance=TOLERANCE, reason=REASON, cases=cases)


def _outputs(loaded, whole, case):
    inputs = {name: array.numpy() for name, array in case.inputs.items()}
    names = [output.name for output in loaded.get_outputs()]
    _, rows, features = inputs['value'].shape
    state = {name: np.zeros([{'N': rows, 'F': features}.get(axis, axis) for axis in tensor.shape], tensor.dtype) for name, tensor in whole.states.items()}
    found = []
    for t in range(len(inputs['value'])):
        feeds = {name: inputs[name][t] if name in inputs else np.asarray(case.step_seconds, np.float32) for name in whole.inputs - set(state)}
        out = dict(zip(names, loaded.run(names, feeds | state), strict=True))
        state = {name: out.pop(name + bundle.NEXT) for name in state}
        found.append(out)
    return {name: bundle.Array.of(np.stack([out[name] for out in found])) for name in found[0]}


def batch_influence(loaded, entities=64, steps=160):
    """Largest change of a surprise when the other half of the entities gets extreme values: 0 = rows are independent.

    The half that is measured has surprises of all sizes, since one that is clipped could not change.
    """
    features = len(loaded.bundle.manifest.features or 'x')
    rng, shape = np.random.default_rng(0), (steps, entities, features)
    rate = np.linspace(0, 0.3, entities)[:, None]
    jumps = (rng.random(shape) < rate) * rng.normal(size=shape) * 10 ** rng.uniform(0, 1.5, shape)
    values = 10 + rng.normal(size=shape) + jumps + np.cumsum(0.3 * rate * jumps, 0)
    extreme, measured = values.copy(), rng.permutation(entities)[: entities // 2]
    others = np.setdiff1d(np.arange(entities), measured)
    extreme[:, others] *= 10 ** rng.uniform(-6, 12, (steps, len(others), features))
    times = 1_700_000_000 + 60.0 * np.arange(steps)
    before, after = (replay.surprises(loaded, times, x, step_seconds=60)[:, measured] for x in (values, extreme))
    return float(np.nanmax(np.abs(before - after), initial=0))


def cost(whole, small, recipe):
    """What the variant lost and gained: {measure: figure}; those of the original end in `_float32`."""
    telemetry, out = recipe.evaluation.telemetry[0], {}
    batch = synthesis.batch(
        recipe.seed + SEED,
        step_seconds=telemetry.step_seconds,
        steps=telemetry.steps,
        entities=telemetry.entities,
        features=telemetry.features,
        faults_per_1000=FAULTS_PER_1000,
    )
    labels, step_seconds = batch.faulty.any(2), telemetry.step_seconds
    for each, suffix in ((small, ''), (whole, '_float32')):
        history = (batch.history_times, batch.history)
        scores = replay.surprises(each, batch.times, batch.values, step_seconds=step_seconds, history=history)
        entities = [measures.Entity(scores[:, n], labels[:, n], step_seconds) for n in range(scores.shape[1])]
        points = measures.operating_points(entities)
        out |= {name + suffix: round(points[name], 3) for name in ('recall_at_1_per_week', 'best_event_f1')}
    return out | dict(zip(('entity_steps_per_second', 'entity_steps_per_second_float32'), speeds(small, whole), strict=True))


def speeds(*sessions):
    """Entity-steps a second of each: the best of a few runs over a chunk of entities, in turns, so that other load affects all alike."""
    best = [0.0] * len(sessions)
    manifest = sessions[0].bundle.manifest
    features = len(manifest.features or 'x')
    inputs = {
        'value': np.random.default_rng(0).normal(size=(ROWS, features)), 'season': np.zeros((ROWS, features, 1 + len(manifest.season_horizons_steps))),
        'step_seconds': np.float32(manifest.step_seconds[0]), 'learn': np.ones(ROWS), 'threshold': np.full(ROWS, 2.4), 'clock': np.zeros((ROWS, 4)),
    }  # fmt: skip
    states = [each.blank(ROWS, features) for each in sessions]
    for _ in range(REPEATS):
        for k, each in enumerate(sessions):
            began = time.perf_counter()
            _, states[k] = each.run(inputs, states[k])
            best[k] = max(best[k], ROWS / (time.perf_counter() - began))
    return [float(round(each)) for each in best]


def _log_summary(out, whole, small, figures, moved, log):
    log(f'{out}: int8 variant of {whole.source}')
    for name in ('recall_at_1_per_week', 'best_event_f1'):
        log(f'  {name}: {figures[name]:.3f}, in float32 {figures[name + "_float32"]:.3f}')
    faster = figures['entity_steps_per_second'] / figures['entity_steps_per_second_float32']
    log(f'  speed: {faster:.2f} times that of float32;  file: {small.size_bytes} bytes, in float32 {whole.size_bytes}')
    if moved > INDEPENDENT:
        log(f'  an entity is NOT independent of the others in its batch: its surprise changes by up to {moved:.2g} (the manifest says so)')
    else:
        log('  an entity is independent of the others in its batch')
