"""Scalars with as many axes as what they meet: the same bits as without, in every model that is made or shipped."""

import numpy as np
import pytest

from promlstm.engine import session

pytestmark = pytest.mark.train
SHIPPED = ('default', 'forecaster')


def carried(subject, case):
    """The bytes of all outputs and states of a Session over a case of a proof, step by step."""
    inputs = {name: array.numpy() for name, array in case.inputs.items()}
    steps, rows, features = inputs['value'].shape
    state, seen = subject.blank(rows, features), []
    for step in range(steps):
        feeds = {name: array[step] for name, array in inputs.items()} | {'step_seconds': np.float32(case.step_seconds)}
        out, state = subject.run(feeds, state)
        seen.append({name: array.tobytes() for name, array in (out | state).items()})
    return seen


def of(model):
    """The Session of a model that is in memory."""
    return session.of(model.SerializeToString(), 'made')


@pytest.mark.parametrize('name', SHIPPED)
def test_a_shipped_model_computes_the_bits_of_its_graph_without_axes(name):
    """All inputs of its proof, every output and state, at every step."""
    import onnx

    wide = onnx.load(session.resolve(f'builtin:{name}'))
    narrow = onnx.ModelProto.FromString(wide.SerializeToString())
    scalars = [tensor for tensor in narrow.graph.initializer if len(tensor.dims) > 1 and all(size == 1 for size in tensor.dims)]
    assert len(scalars) > 20
    for tensor in scalars:
        del tensor.dims[:]
    subject, other = of(wide), of(narrow)
    for case in subject.bundle.proof.cases:
        assert carried(subject, case) == carried(other, case)


@pytest.mark.parametrize('name', SHIPPED)
def test_a_shipped_model_has_been_widened(name):
    """There is nothing left to widen, and its order of nodes is that of an export: its weights give this file."""
    import onnx

    from convert import export, scalars

    shipped = onnx.load(session.resolve(f'builtin:{name}'))
    again = onnx.ModelProto.FromString(shipped.SerializeToString())
    scalars.widen(again)
    export.number(again.graph)
    assert again.SerializeToString(deterministic=True) == shipped.SerializeToString(deterministic=True)


def test_an_exported_graph_computes_the_bits_that_it_did(monkeypatch):
    """The export of one network with and without: the bits are the same, and there are no other operators than those that bring axes."""
    import functools

    from convert import export, scalars, verify
    from convert.families import forecaster

    step = functools.partial(forecaster.step, forecaster.Network(seed=5))
    wide = export.export(step)
    monkeypatch.setattr(scalars, 'widen', lambda model: None)
    narrow = export.export(step)
    assert wide != narrow
    count, before = export.census(wide), export.census(narrow)
    assert set(count - before) <= {'Unsqueeze'} and not before - count
    inputs = verify.telemetry(np.random.default_rng(3), 120, 5, 2)
    outputs = [verify.run_onnx(model, inputs, 60.0) for model in (wide, narrow)]
    assert outputs[0].keys() == outputs[1].keys()
    assert all(outputs[0][name].tobytes() == outputs[1][name].tobytes() for name in outputs[0])


def graph(nodes, outputs, *constants):
    """A model of inputs `column` [N, 1] and `seconds` []."""
    from onnx import TensorProto, helper, numpy_helper

    inputs = [helper.make_tensor_value_info('column', TensorProto.FLOAT, ['N', 1]), helper.make_tensor_value_info('seconds', TensorProto.FLOAT, [])]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    weights = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants]
    made = helper.make_graph([helper.make_node(*node) for node in nodes], 'g', inputs, results, weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


def run(model):
    """Outputs for three rows, by ONNX Runtime."""
    import onnx
    import onnxruntime

    onnx.checker.check_model(model, full_check=True)
    runtime = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    return runtime.run(None, {'column': np.float32([[1], [np.nan], [-7.3]]), 'seconds': np.array(0.3, np.float32)})


@pytest.mark.parametrize(
    ('nodes', 'outputs', 'wide'),
    [
        ([('Mul', ['two', 'column'], ['out'])], {'out': ['N', 1]}, {'two_2'}),
        ([('Div', ['column', 'two'], ['a']), ('Sub', ['two', 'a'], ['out'])], {'out': ['N', 1]}, {'two_2'}),
        ([('Add', ['seconds', 'two'], ['a']), ('Mul', ['column', 'a'], ['out'])], {'out': ['N', 1]}, {'a_2'}),
        ([('Mul', ['column', 'seconds'], ['a']), ('Max', ['a', 'seconds', 'two'], ['out'])], {'out': ['N', 1]}, {'seconds_2', 'two_2'}),
        ([('Add', ['seconds', 'two'], ['out'])], {'out': []}, set()),
        ([('Add', ['seconds', 'two'], ['out']), ('Mul', ['column', 'out'], ['b'])], {'out': [], 'b': ['N', 1]}, {'out_2'}),
    ],
)
def test_what_is_widened(nodes, outputs, wide):
    """Constants, computed ones and inputs, where they meet a column and nowhere else; each once; outputs keep their axes and bits."""
    from convert import scalars

    made = graph(nodes, outputs, ('two', 2.0))
    wanted = run(made)
    scalars.widen(made)
    assert {name for node in made.graph.node for name in node.input if name.endswith('_2') and not name.startswith('axes')} == wide
    assert all(got.tobytes() == each.tobytes() and got.shape == each.shape for got, each in zip(run(made), wanted, strict=True))
