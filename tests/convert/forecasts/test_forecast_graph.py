"""The graph of a forecast: ONNX gives what TensorFlow gives, in any unit, and something finite and ordered for any input."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
AHEAD = (300, 3600, 86400, 604800)


@pytest.fixture(scope='module')
def made():
    """(an untrained network with weights that are not small, its ONNX model as a function)."""
    import keras
    import tensorflow as tf

    from convert import forecast_file as release
    from convert.forecasts import candidates, network, training

    keras.utils.set_random_seed(3)
    net = network.Network()
    columns = {name: tf.constant(array) for name, array in release.inputs(np.random.default_rng(0), 6, AHEAD, 60.0).items()}
    parts, _, _ = candidates.relative(**{name: columns[name] for name in columns if name not in ('ahead', 'step_seconds', 'since_quarter')})
    zero = tf.zeros_like(parts.noise)
    batch = {**parts._asdict(), 'since_quarter': zero, 'ahead': zero + np.float32(AHEAD), 'step_seconds': zero + 60}
    net(training.seen(batch))
    net.out.set_weights([np.random.default_rng(1).normal(size=weight.shape) * 0.3 for weight in net.out.get_weights()])
    return net, release.runner(release.export(net))


def columns(rows=8, step_seconds=60.0, seed=5):
    from convert import forecast_file as release

    inputs = release.inputs(np.random.default_rng(seed), rows, AHEAD, step_seconds)
    inputs['levels'][4] = inputs['recent'][4, -3:]
    return inputs


@pytest.mark.parametrize('step_seconds', [10.0, 60.0, 3600.0])
def test_onnx_gives_what_tensorflow_gives(made, step_seconds):
    """Whatever is unknown among the inputs."""
    from convert import forecast_file as release
    from promlstm.forecasts import model as contract

    net, run = made
    inputs = columns(step_seconds=step_seconds)
    wanted = release.traced(net)(*(inputs[name] for name in contract.INPUTS))['forecast'].numpy()
    assert np.isfinite(wanted).all() and release.difference(run(inputs), wanted) < 0.1


def moved(inputs, factor, shift):
    values = {name for name in inputs if name not in ('ahead', 'step_seconds', 'since_quarter')}
    return {name: array * factor + (shift if name != 'noise' else 0) if name in values else array for name, array in inputs.items()}


@pytest.mark.parametrize(('factor', 'shift'), [(1e6, 0), (1e-9, 0), (1, 100), (37, -100)])
def test_a_series_in_another_unit_has_its_forecast_in_that_unit(made, factor, shift):
    """Bytes or megabytes, degrees or kelvins: the choice is not the model's business."""
    inputs = columns()
    inputs['levels'][0] = inputs['recent'][0, -3:]
    kept = np.array([2, 3, 4, 5, 6, 7])         # neither the terabyte, whose unit is its level, nor the constant
    size = np.abs(inputs['noise'])[kept, None, None] * 10
    before, after = made[1](inputs)[kept], made[1](moved(inputs, factor, shift))[kept]
    assert (np.abs((after - shift) / factor - before) < 2e-3 * size).all()


@pytest.mark.parametrize('value', [0.0, 5.0, -3.0, 1e300, -1e300, 1e-300, np.nan])
def test_any_input_gives_something_finite_in_order(made, value):
    """Constants, the largest and smallest numbers, and series of which nothing but the level is known."""
    inputs = {
        name: array if name in ('ahead', 'step_seconds', 'since_quarter') else np.full_like(array, value) for name, array in columns().items()
    }
    inputs['levels'][:], inputs['noise'] = 1.0 if np.isnan(value) else value, np.abs(inputs['noise'])
    out = made[1](inputs)
    assert np.isfinite(out).all() and (np.diff(out, axis=-1) >= 0).all()
    mixed = columns()
    mixed['weekly'][2], mixed['recent'][3, 20:], mixed['quarters'][5, 7], mixed['levels'][6] = value, value, value, 0 if np.isnan(value) else value
    out = made[1](mixed)
    assert np.isfinite(out).all() and (np.diff(out, axis=-1) >= 0).all()


def test_without_the_newest_sample_there_is_no_forecast(made):
    """And the other rows have theirs."""
    inputs = columns()
    inputs['levels'][3, 0] = np.nan
    out = made[1](inputs)
    assert np.isnan(out[3]).all() and np.isfinite(np.delete(out, 3, 0)).all()


def test_rows_and_horizons_know_nothing_of_each_other(made):
    """A part of the rows and of the horizons gives a part of the forecast."""
    inputs = columns()
    whole = made[1](inputs)
    by_horizon = ('weekly', 'daily', 'yesterday', 'yesterday_season', 'ahead')
    one = {name: array[..., 1:2] if name in by_horizon else array for name, array in inputs.items()}
    one = {name: array[2:4] if np.ndim(array) > (name == 'ahead') else array for name, array in one.items()}
    assert made[1](one) == pytest.approx(whole[2:4, 1:2], rel=1e-5)


def test_the_file_is_one_that_the_exporter_accepts(made, tmp_path):
    """Its operators, its digest, and the cases of its proof with gaps among the inputs."""
    from convert import forecast_file as release
    from convert.forecasts import contract
    from promlstm.engine import bundle, digest, wire
    from promlstm.forecasts import model as served

    net, _ = made
    model = release.export(net)
    proof, worst = release.proof_of(net, model)
    facts = served.About(
        format=1, name='test', description='', created='2026-01-31T12:00:00Z', coverage=contract.COVERAGE, horizons_seconds=contract.HORIZON_SECONDS,
        step_seconds=contract.STEP_SECONDS, tools={}, evaluation={},
        training=bundle.Training(data='none', digest='0' * 64, recipe='1' * 64, seed=0, entity_steps=0, seconds=0.0),
    )  # fmt: skip
    data = release.released(model, facts, proof, 'test.onnx')
    wire.check(data, 'test.onnx')
    digest.check(data, 'test.onnx')
    assert set(digest.properties(data)) == {'promlstm.forecast', 'promlstm.proof', 'promlstm.digest'}
    assert 0 < worst < 1 and len({float(case.inputs['step_seconds'].numpy()) for case in proof.cases}) > 2
    assert all(np.isnan(case.inputs['weekly'].numpy()).any() for case in proof.cases)
