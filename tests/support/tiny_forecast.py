"""A whole forecast model that a person can compute on paper: the same as at this time of the day before, and a noise to each side.

    path = tiny_forecast.write(tmp_path / 'forecast.onnx')

`edit` replaces parts of what the file says of itself, `wrong` adds to the numbers of its proof.
"""

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from promlstm.engine import bundle, digest
from promlstm.engine.proof import Array
from promlstm.forecasts import model

KINDS = {'float32': TensorProto.FLOAT, 'float64': TensorProto.DOUBLE}
ABOUT = model.About(
    format=model.FORMAT, name='tiny', description='yesterday, for tests', created='2026-01-31T12:00:00Z', coverage=0.8, horizons_seconds=(300, 604800),
    step_seconds=(1, 3600), tools={'onnx': 'any'}, evaluation={},
    training=bundle.Training(data='nothing', digest='0' * 64, recipe='1' * 64, seed=1, entity_steps=0, seconds=0),
)  # fmt: skip


def reference(inputs):
    """What the graph computes, in numpy: float64 [R, H, 3]."""
    gone = np.isnan(inputs['levels'][:, :1])
    middle, noise = inputs['yesterday'], inputs['noise'][:, None]
    return np.where(gone[..., None], np.nan, np.stack([middle - noise, middle, middle + noise], -1))


def example(rows=3, horizons=2, seed=0):
    """Inputs of some rows; the newest sample of the first is missing."""
    rng, sizes = np.random.default_rng(seed), {'R': rows, 'H': horizons}
    inputs = {name: rng.normal(size=[sizes.get(axis, axis) for axis in shape]).astype(dtype) for name, (dtype, shape, _) in model.INPUTS.items()}
    inputs['levels'][:1, 0] = np.nan
    return inputs | {'noise': np.abs(inputs['noise']), 'ahead': np.arange(1, horizons + 1) * 3600.0}


def graph():
    """The graph."""
    axis = numpy_helper.from_array(np.int64([2]), 'axis')
    one = numpy_helper.from_array(np.int64([1]), 'one')
    first = numpy_helper.from_array(np.int64(0), 'first')
    nodes = [
        helper.make_node('Unsqueeze', ['noise', 'one'], ['column']),
        helper.make_node('Sub', ['yesterday', 'column'], ['below']),
        helper.make_node('Add', ['yesterday', 'column'], ['above']),
        *(helper.make_node('Unsqueeze', [name, 'axis'], [f'{name}_3']) for name in ('below', 'yesterday', 'above')),
        helper.make_node('Concat', ['below_3', 'yesterday_3', 'above_3'], ['all'], axis=2),
        helper.make_node('Gather', ['levels', 'first'], ['newest'], axis=1),
        helper.make_node('Sub', ['newest', 'newest'], ['nothing']),  # 0, or NaN
        helper.make_node('Unsqueeze', ['nothing', 'one'], ['nothing_2']),
        helper.make_node('Unsqueeze', ['nothing_2', 'axis'], ['nothing_3']),
        helper.make_node('Add', ['all', 'nothing_3'], [model.OUTPUT]),
    ]
    inputs = [helper.make_tensor_value_info(name, KINDS[dtype], list(shape)) for name, (dtype, shape, _) in model.INPUTS.items()]
    outputs = [helper.make_tensor_value_info(model.OUTPUT, TensorProto.DOUBLE, ['R', 'H', 3])]
    return helper.make_graph(nodes, 'tiny', inputs, outputs, [axis, one, first])


def write(path, *, edit=None, wrong=0.0):
    """The path of the file, once it is written."""
    inputs = example()
    case = model.Case(
        inputs={name: Array.of(array) for name, array in inputs.items()}, outputs={model.OUTPUT: Array.of(reference(inputs) + wrong)}
    )
    proof = model.Proof(relative_tolerance=1e-6, absolute_tolerance=1e-6, reason='arithmetic', cases=(case,))
    proto = helper.make_model(graph(), opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    texts = {model.KEY: msgspec.json.encode(msgspec.structs.replace(ABOUT, **(edit or {}))), model.PROOF: msgspec.json.encode(proof)}
    helper.set_model_props(proto, {key: text.decode() for key, text in texts.items()})
    onnx.checker.check_model(proto)
    path.write_bytes(digest.appended(proto.SerializeToString()))
    return path
