"""The ONNX graph is the TensorFlow one, under the contract's names, with real LSTMs; and an oracle of 25 lines agrees with both."""

import functools

import numpy as np
import pytest
from requirements import is_accept

pytestmark = pytest.mark.train


@pytest.fixture(scope='module')
def made():
    """(network, step function, ONNX model) with random weights: large ones, so that a mistake shows."""
    from convert import export
    from convert.families import forecaster

    network = forecaster.Network(seed=5)
    rng = np.random.default_rng(5)
    network.set_weights([0.3 * rng.normal(size=w.shape) for w in network.get_weights()])
    step = functools.partial(forecaster.step, network)
    return network, step, export.export(step)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(inputs, kernel, recurrent, bias):
    """A plain LSTM over [T, M, I], gates in the order i, f, c, o (Hochreiter & Schmidhuber 1997, with forget gates)."""
    units = recurrent.shape[0]
    h = c = np.zeros((inputs.shape[1], units))
    out = []
    for x in inputs:
        i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out)


def test_tensorflow_and_onnx_agree_over_hundreds_of_carried_steps(made):
    """500 of them at full length. Missing samples, unknown seasons, huge values and rows that do not learn among them; names, types and shapes too."""
    from convert import verify

    worst = verify.verify(made[1], made[2], steps=verify.STEPS if is_accept() else 200)
    assert max(worst.values()) < 2e-5


def test_a_numpy_lstm_agrees_with_the_one_in_the_file(made):
    """An independent oracle: the forecasts that the graph keeps in its ring are those of 25 lines of numpy over the same inputs."""
    import tensorflow as tf

    from convert import export, verify
    from convert.families import forecaster, steps
    from promlstm.engine import bundle

    network, _, model = made
    inputs = verify.telemetry(np.random.default_rng(1), 100, 3, 1)
    inputs['learn'] = np.minimum(inputs['learn'], 1)        # starting anew would set the LSTMs back
    state, seen = np.zeros((3, steps.WIDTH)), []
    observe = tf.function(steps.observe, autograph=False)
    for t in range(100):
        observed = observe(inputs['value'][t], inputs['season'][t][:, 0], np.float32(60), inputs['learn'][t][:, None], state)
        state = observed.state
        seen.append(observed.inputs.numpy())
    k1, r1, b1, k2, r2, b2, wm, bm, *_ = (np.float64(w.numpy()) for w in network.trainable_variables)
    forecast = forecaster.FORECAST_SHARE[0] * (lstm(lstm(np.float64(seen), k1, r1, b1), k2, r2, b2) @ wm + bm)

    import onnxruntime

    session, carried = onnxruntime.InferenceSession(model.SerializeToString()), export.zeros(3, 1)
    for t in range(100):
        feeds = {name: inputs[name][t] for name in inputs} | {'step_seconds': np.asarray(60, np.float32)} | carried
        found = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))
        carried = {name: found[name + bundle.NEXT] for name in carried}
        assert np.allclose(carried['state_ring'][:, 0, [0, 1, 6]], forecast[t], atol=1e-4)


def test_census(made):
    """Two LSTMs, no Loop, a Where for missing samples and one for unknown seasons; wrong counts are refused."""
    from convert import export

    count = export.census(made[2])
    assert count['LSTM'] == 2 and count['Where'] == 2 and not count['Loop']
    with pytest.raises(export.ExportError, match='2 × LSTM, expected 3'):
        export.census(made[2], lstms=3)


def test_names_and_axes_are_the_contracts(made):
    from promlstm.engine import bundle

    axes = {t.name: [d.dim_param or d.dim_value for d in t.type.tensor_type.shape.dim] for t in (*made[2].graph.input, *made[2].graph.output)}
    assert axes['value'] == ['N', 'F'] and axes['season'] == ['N', 'F', 4] and axes['surprise'] == ['N'] and axes['step_seconds'] == []
    assert {name for name in axes if not name.startswith(bundle.STATE)} <= set(bundle.INPUTS) | set(bundle.OUTPUTS)


def test_the_same_weights_give_the_same_file(made):
    from convert import export

    assert export.export(made[1]).SerializeToString(deterministic=True) == made[2].SerializeToString(deterministic=True)


def test_outputs_that_are_the_same_tensor_give_the_same_file():
    """As the four outputs of a classifier that are NaN: which of them the converter computes and which it copies changes from run to run."""
    import itertools

    import onnx

    from convert import export

    files = set()
    for first, *others in itertools.permutations(('expected', 'lower', 'upper')):
        nodes = [onnx.helper.make_node('Neg', ['value'], [first]), *(onnx.helper.make_node('Identity', [first], [name]) for name in others)]
        tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, ['N', 'F']) for name in ('value', 'expected', 'lower', 'upper')]
        graph = onnx.helper.make_graph(nodes, 'step', tensors[:1], tensors[1:])
        export.number(graph)
        assert {name for node in graph.node for name in node.output} == {'expected', 'lower', 'upper'}
        files.add(graph.SerializeToString(deterministic=True))
    assert len(files) == 1


def test_verify_refuses_another_graph(made):
    """A graph with one weight changed is detected, and the output that differs is named."""
    import onnx

    from convert import verify

    other = onnx.ModelProto()
    other.CopyFrom(made[2])
    largest = max(other.graph.initializer, key=lambda t: len(t.raw_data))
    weights = onnx.numpy_helper.to_array(largest).copy()
    weights.flat[::7] += 0.5
    largest.CopyFrom(onnx.numpy_helper.from_array(weights, largest.name))
    with pytest.raises(verify.VerifyError, match='differs by'):
        verify.verify(made[1], other, steps=80)
