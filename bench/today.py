"""How other tools compute a score of each series, compared with promlstm: CPU microseconds per series and step, on one thread.

Two LSTMs of 64 and 32 units that see the last 60 samples, run anew over all of them at every step, have no memory to carry; so examples show it. Their
rows need the extra `train`. Only the way is compared: the model here does more than that, and none of the others gives a band or a threshold.
"""

import os
from functools import cache
from time import process_time

import numpy as np

from bench import warmed
from bench.answers import config, samples
from promlstm.engine import session as sessions
from promlstm.serve import exposition

SERIES, WINDOW, UNITS, TIMES = 4096, 60, (64, 32), 5
GAUGES = 5  # of an entity: score, sample, expectation and its two borders
NO_TRAIN = 'needs the extra train'


def main():
    """Print a row for each tool; returns the CPU seconds per series, None without the extra `train`."""
    found = {}
    for name, measured in (
        ('Keras, predict of one series', _keras_one), (f'Keras, predict of {SERIES} at once', _keras), (f'ONNX Runtime over {SERIES} windows', _onnx),
        (f'here: a step of {SERIES}, with memory', _ours), (f'prometheus_client, {GAUGES} gauges of each', _client),
        ('here: the page, all families', _page),
    ):  # fmt: skip
        try:
            found[name] = measured()
            print(f'  {name:42}{found[name] * 1e6:12.1f}', flush=True)
        except ImportError:
            found[name] = None
            print(f'  {name:42}{NO_TRAIN:>24}', flush=True)
    return {'cpu_seconds_a_series': found}


def _seconds(run, series):
    """The minimum CPU time per series of some runs, without the first one."""
    run()
    taken = []
    for _ in range(TIMES):
        start = process_time()
        run()
        taken.append(process_time() - start)
    return min(taken) / series


def _windows(series):
    return np.random.default_rng(1).normal(size=(series, WINDOW, 1)).astype(np.float32)


def _network():
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    import tensorflow as tf

    if not tf.config.threading.get_intra_op_parallelism_threads():
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    layers = tf.keras.layers
    return tf.keras.Sequential([layers.Input((WINDOW, 1)), layers.LSTM(UNITS[0], return_sequences=True), layers.LSTM(UNITS[1]), layers.Dense(1)])


def _keras_one():
    network, one = _network(), _windows(1)
    return _seconds(lambda: network.predict(one, verbose=0), 1)


def _keras():
    network, windows = _network(), _windows(SERIES)
    return _seconds(lambda: network.predict(windows, batch_size=SERIES, verbose=0), SERIES)


def _onnx():
    """The same layers as a graph."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    nodes, weights, x, features = [], {'axis': np.array([1]), 'dense': rng.normal(size=(UNITS[1], 1))}, 'x', 1
    for layer, units in enumerate(UNITS):
        shapes = {'w': (1, 4 * units, features), 'r': (1, 4 * units, units), 'b': (1, 8 * units)}
        weights |= {f'{name}{layer}': rng.normal(size=shape) for name, shape in shapes.items()}
        nodes.append(helper.make_node('LSTM', [x, *(f'{name}{layer}' for name in shapes)], [f'all{layer}', f'last{layer}'], hidden_size=units))
        x, features = f'x{layer}', units
        nodes.append(helper.make_node('Squeeze', [f'all{layer}', 'axis'], [x]))
    del nodes[-1]
    nodes.append(helper.make_node('MatMul', [f'last{layer}', 'dense'], ['y']))
    graph = helper.make_graph(
        nodes, 'window', [helper.make_tensor_value_info('x', TensorProto.FLOAT, [WINDOW, 'N', 1])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [1, 'N', 1])],
        [numpy_helper.from_array(array if name == 'axis' else array.astype(np.float32), name) for name, array in weights.items()],
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    onnx.checker.check_model(model)
    runtime = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=['CPUExecutionProvider'])
    windows = np.ascontiguousarray(_windows(SERIES).transpose(1, 0, 2))
    return _seconds(lambda: runtime.run(None, {'x': windows}), SERIES)


@cache
def _step():
    """(runs a step of warmed entities, views of the model)."""
    session = sessions.load(sessions.resolve('builtin:default'), prove=False, threads=1)
    remembered = warmed.memory(config('http://localhost').detectors[0], session)
    return warmed.replayed(session, remembered, SERIES), session.bundle.manifest.views


def _ours():
    return _seconds(_step()[0], SERIES)


def _page():
    from bench.answers import keys

    step, views = _step()
    verdicts, _ = step()
    assert not np.isnan(verdicts.score).any()
    labels = exposition.Labels('bench', ('',), views).of(keys(SERIES))
    nobody = np.zeros(SERIES, bool)
    return _seconds(lambda: exposition.render(verdicts, labels, missing=nobody), SERIES)


def _client():
    """Gauges whose children are set at each step, and the text of all of them."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    gauges = [Gauge(f'gauge_{number}', 'A gauge.', ('namespace', 'pod', 'instance'), registry=registry) for number in range(GAUGES)]
    names = [(f'team-{number % 50}', f'service-{number:06x}', f'10.0.{number >> 8}.{number & 255}:9100') for number in range(SERIES)]
    numbers = samples(SERIES, 0.0)

    def step():
        for gauge in gauges:
            for labels, number in zip(names, numbers, strict=True):
                gauge.labels(*labels).set(number)
        return generate_latest(registry)

    return _seconds(step, SERIES)
