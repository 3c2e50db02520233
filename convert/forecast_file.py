"""From a trained network to a model file: the graph in ONNX under the contract's names, a proof, metadata and the digest over the whole file.

    model = export(network)                 # onnx.ModelProto, its operators checked
    data = released(model, facts, proof)    # bytes of the file
"""

import collections

import msgspec
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf

from convert import export as graphs
from convert.forecasts import network
from promlstm.engine import bundle, digest, wire
from promlstm.forecasts import model as contract

TOLERANCE = 2e-4            # relative, and of the largest forecast of a row
REASON = (
    'float32 throughout the network: matrix products and exponentials of other processors and libraries differ in the last bits; 2e-4 is a '
    'hundred times what was seen between two of them, and moves no forecast by more than a thousandth of its interval'
)
CASES = (       # of the proof: step, horizons
    (15.0, (300, 3600, 86400)),
    (60.0, (3600, 86400, 604800)),
    (300.0, (600, 21600, 90000, 604800)),
    (3600.0, (3600, 7200, 172800)),
)


def traced(net):
    """The graph as a tf.function from the contract's inputs, in their order, to {'forecast': …}."""
    size = {'R': None, 'H': None}
    specs = [tf.TensorSpec([size.get(axis, axis) for axis in axes], dtype, name=name) for name, (dtype, axes, _) in contract.INPUTS.items()]

    def function(*inputs):
        return network.forecast(net, **dict(zip(contract.INPUTS, inputs, strict=True)))

    return tf.function(function, input_signature=specs, autograph=False)


def export(net):
    """The ONNX model; ExportError where an operator is not one that the exporter accepts."""
    import tf2onnx  # takes seconds to import, and only this needs it

    function = traced(net)
    model, _ = tf2onnx.convert.from_function(function, input_signature=list(function.input_signature), opset=graphs.OPSET)
    count = collections.Counter(node.op_type for node in model.graph.node)
    if found := [name for name in graphs.FORBIDDEN if count[name]]:
        raise graphs.ExportError(f'graph: {count[found[0]]} × {found[0]}, expected none: a recurrent layer was not recognised')
    graphs.rename(model.graph, [contract.OUTPUT])
    for tensor in (*model.graph.input, *model.graph.output):
        axes = ('R', 'H', 3) if tensor.name == contract.OUTPUT else contract.INPUTS[tensor.name][1]
        shape = tensor.type.tensor_type.shape
        del shape.dim[:]
        for axis in axes:
            shape.dim.add(**{'dim_value' if isinstance(axis, int) else 'dim_param': axis})
    graphs.number(model.graph)
    model.producer_name, model.graph.name, model.graph.doc_string = 'promlstm', 'forecast', ''
    onnx.checker.check_model(model, full_check=True)
    return model


def runner(model):
    """A function of the contract's inputs that gives the forecast of an ONNX model, single-threaded."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=['CPUExecutionProvider'])
    return lambda inputs: session.run([contract.OUTPUT], {name: np.asarray(inputs[name], dtype) for name, (dtype, _, _) in contract.INPUTS.items()})[0]


def cases(seed=0, rows=6):
    """Inputs that visit what there is to visit: steps, horizons, gaps, huge levels, constants, series that are new."""
    rng = np.random.default_rng(seed)
    for step, ahead in CASES:
        yield inputs(rng, rows, ahead, step)


def inputs(rng, rows, ahead, step_seconds):
    """Columns of random series: a daily rhythm with noise, the first a terabyte in bytes, one constant, one new."""
    hours, count = np.arange(48) / 2, len(ahead)
    size = 10 ** rng.uniform(-2, 4, rows)
    level = size * 10 ** rng.uniform(-1, 1, rows)
    level[0], size[1] = 2e12, 0

    def rhythm(shift, shape):
        at = np.asarray(shift) / 12 * np.pi
        return level[:, None] + size[:, None] * (np.sin(at) + 0.2 * rng.normal(size=(rows, shape)))

    target = np.asarray(ahead) / 3600
    out = {
        'levels': rhythm(np.full(3, 24.0), 3), 'noise': size * 0.1, 'recent': rhythm(hours, 48), 'recent_season': rhythm(hours, 48),
        'quarters': rhythm(np.arange(32) * 6, 32), 'since_quarter': np.array(rng.integers(12), np.float32), 'weekly': rhythm(target, count),
        'daily': rhythm(target, count), 'yesterday': rhythm(target, count), 'yesterday_season': rhythm(target, count),
        'now': rhythm(np.full(2, 24.0), 2), 'ahead': np.asarray(ahead, np.float64), 'step_seconds': np.array(step_seconds, np.float32),
    }  # fmt: skip
    new = rows - 1
    out['recent'][new, :30] = out['recent_season'][new] = out['quarters'][new, :28] = np.nan
    for name in ('weekly', 'daily', 'yesterday', 'yesterday_season', 'now'):
        out[name][new] = np.nan
    out['quarters'][2, 5:9] = out['recent_season'][2, ::2] = np.nan
    out['weekly'][3] = out['yesterday_season'][3] = np.nan
    out['levels'][4] = np.nan
    return out


def proof_of(net, model):
    """(Proof of the network, largest difference between TensorFlow and ONNX Runtime in tolerances); ExportError where it is above 1."""
    function, run, found, worst = traced(net), runner(model), [], 0.0
    for feeds in cases():
        wanted = function(*(feeds[name] for name in contract.INPUTS))[contract.OUTPUT].numpy()
        worst = max(worst, difference(run(feeds), wanted))
        arrays = {name: bundle.Array.of(np.asarray(array)) for name, array in feeds.items()}
        found.append(contract.Case(inputs=arrays, outputs={contract.OUTPUT: bundle.Array.of(wanted)}))
    if worst > 1:
        raise graphs.ExportError(f'forecast: ONNX differs from TensorFlow by {worst:.2g} times the tolerance')
    return contract.Proof(relative_tolerance=TOLERANCE, absolute_tolerance=TOLERANCE, reason=REASON, cases=tuple(found)), worst


def difference(got, wanted):
    """The largest difference of two forecasts in tolerances; infinite where one has a NaN that the other has not."""
    if got.shape != wanted.shape or np.any(np.isnan(got) != np.isnan(wanted)):
        return np.inf
    size = np.abs(np.nan_to_num(wanted))
    return float(np.nanmax(np.abs(got - wanted) / (TOLERANCE * (size + size.max((1, 2), keepdims=True)) + 1e-300), initial=0.0))


def released(model, facts, proof, source):
    """The bytes of a model file, read back and proven by the code that serves it.

    facts, proof  promlstm.forecasts.model.About and Proof
    """
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    del whole.metadata_props[:]
    texts = {contract.KEY: facts, contract.PROOF: proof}
    onnx.helper.set_model_props(whole, {name: msgspec.json.encode(part).decode() for name, part in texts.items()})
    data = digest.appended(whole.SerializeToString(deterministic=True))
    wire.check(data, source)
    digest.check(data, source)
    contract.of(data, source, threads=1).prove()
    return data
