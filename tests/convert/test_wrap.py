"""Somebody else's Keras model becomes a model file that says what the model says; what cannot be wrapped is refused with the reason."""

import json
import zipfile

import numpy as np
import pytest
import small_models
from recipes import convert, convert_here, verified

from promlstm.engine import session

pytestmark = pytest.mark.train


@pytest.fixture(autouse=True, scope='module')
def few_steps():
    """What is wrapped is verified over hundreds of steps in families/test_families.py."""
    with verified():
        yield


def raw(name, steps=80, seed=0):
    """Samples without holes [T, N, F] and the same scaled as the model was trained."""
    _, values = small_models.telemetry(name, seed, steps)
    values = np.where(np.isnan(values), np.nanmean(values, (0, 1)), values)
    return values, ((values - [0.5, 0]) / [0.1, 1e9]).astype(np.float32)


def carried(name, values):
    inputs = {'value': values, 'learn': np.ones(values.shape[:2]), 'threshold': np.full(values.shape[:2], 2.4)}
    return small_models.carried(name, inputs)


def windows(scaled, end):
    """The last WIDTH steps before `end`, [N, W, F]."""
    return scaled[end - small_models.WIDTH : end].transpose(1, 0, 2)


def test_a_reconstruction_is_what_keras_reconstructs():
    """Of a window cut by numpy, without the graph's ring: an independent oracle."""
    values, scaled = raw('wrapped-reconstruction')
    network = small_models.any_of('wrapped-reconstruction').network
    out, _ = carried('wrapped-reconstruction', values)[70]
    wanted = network.predict(windows(scaled, 71), verbose=0)[:, -1].astype(np.float64) * [0.1, 1e9] + [0.5, 0]
    assert np.allclose(out['expected'], wanted, rtol=1e-4, atol=1e-6)
    assert np.allclose(out['deviation'], values[70] - wanted, rtol=1e-3, atol=1e3)


def test_a_forecast_is_held_against_the_sample_that_comes():
    """It is made of the steps before, so the sample has no part in what was expected of it."""
    values, scaled = raw('wrapped-forecast')
    network = small_models.any_of('wrapped-forecast').network
    out, _ = carried('wrapped-forecast', values)[70]
    wanted = network.predict(windows(scaled, 70), verbose=0).astype(np.float64) * [0.1, 1e9] + [0.5, 0]
    assert np.allclose(out['expected'], wanted, rtol=1e-4, atol=1e-6)
    values[70] *= 7
    again, _ = carried('wrapped-forecast', values)[70]
    assert np.array_equal(again['expected'], out['expected']) and (again['surprise'] > out['surprise']).all()


def test_a_probability_becomes_its_logit():
    values, scaled = raw('wrapped-probability')
    p = small_models.any_of('wrapped-probability').network.predict(windows(scaled, 71), verbose=0).astype(np.float64)[:, 0]
    out, _ = carried('wrapped-probability', values)[70]
    assert np.allclose(out['surprise'], np.clip(np.log(p / (1 - p)), -6, 8) + 6, atol=1e-3) and np.isnan(out['expected']).all()


def test_a_missing_feature_keeps_its_last_sample():
    values, _ = raw('wrapped-forecast')
    values[60:64, :, 0] = np.nan
    filled = values.copy()
    filled[60:64, :, 0] = values[59, :, 0]
    a, b = (carried('wrapped-forecast', x)[64][0]['expected'] for x in (values, filled))
    assert np.array_equal(a, b)


def test_the_command_writes_a_calibrated_file(tmp_path):
    (tmp_path / 'scaling.yml').write_text(small_models.SCALING)
    out = tmp_path / 'theirs.onnx'
    done = convert_here('wrap', small_models.keras_file('forecast'), '--scaling', tmp_path / 'scaling.yml', '--step', '60s', '--out', out)
    assert done.returncode == 0, done.stderr
    bundle = session.load(out).bundle
    assert bundle.manifest.family == 'forecaster' and bundle.manifest.features == ('cpu', 'memory') and bundle.manifest.step_seconds == (60, 60)
    assert bundle.calibration.status == 'measured' and bundle.calibration.threshold(1, step_seconds=60) > 0
    assert 'largest difference from Keras' in done.stderr and [file.name for file in tmp_path.iterdir() if file.suffix == '.onnx'] == ['theirs.onnx']


def test_a_saved_model_without_calibration(tmp_path):
    """A folder instead of a file; the message says what an uncalibrated file is good for."""
    import keras

    from convert import wrap

    keras.models.load_model(small_models.keras_file('reconstruction')).export(tmp_path / 'saved', verbose=False)
    lines = []
    foreign = wrap.read(tmp_path / 'saved', wrap.scaling(small_models.SCALING))
    loaded = wrap.wrap(foreign, tmp_path / 'a.onnx', step_seconds=(60, 60), name='a', healthy='none', log=lines.append)
    assert loaded.bundle.calibration.status == 'none' and loaded.bundle.manifest.family == 'autoencoder'
    assert 'not calibrated: a replay gives its surprise without a score, and `promlstm run` refuses the file' in lines[-1]


def test_it_is_calibrated_on_labelled_telemetry(tmp_path):
    """What is labelled does not count as healthy."""
    from convert import wrap

    rng = np.random.default_rng(0)
    (tmp_path / 'ours').mkdir()
    for name in 'abcdefgh':
        x, y = np.stack([rng.normal(0.5, 0.1, 3000), rng.uniform(0, 1e9, 3000)], 1), np.zeros(3000, int)
        x[2000:2050], y[2000:2050] = 1e12, 1
        t = 1_699_833_600 + 3600 * np.arange(3000)
        np.savez(tmp_path / 'ours' / f'{name}.npz', t=t, x=x, y=y, split=100, note='')
    foreign = wrap.read(small_models.keras_file('forecast'), wrap.scaling(small_models.SCALING))
    loaded = wrap.wrap(foreign, tmp_path / 'a.onnx', step_seconds=(3600, 3600), name='a', healthy=tmp_path / 'ours', log=lambda text: None)
    assert loaded.bundle.calibration.source == 'what is not labelled in ours, replayed at a step of 3600 s'
    assert loaded.bundle.calibration.rows[0].surprise[-1] < 6
    lines = []
    with pytest.raises(wrap.WrapError, match='telemetry at steps of 3600 s, the model is for 60 to 60 s'):
        wrap.wrap(foreign, tmp_path / 'b.onnx', step_seconds=(60, 60), name='b', healthy=tmp_path / 'ours', log=lines.append)
    assert lines == []  # before anything is converted


def _layers(kind):
    import keras

    layers, given = keras.layers, keras.Input((12, 2))
    if kind == 'two inputs':
        other = keras.Input((12, 2))
        return keras.Model([given, other], layers.Dense(1)(layers.LSTM(4)(layers.Add()([given, other]))))
    if kind == 'two outputs':
        out = layers.LSTM(4)(given)
        return keras.Model(given, [layers.Dense(1)(out), layers.Dense(2)(out)])
    if kind == 'stateful':
        given = keras.Input(batch_shape=(4, 12, 2))
        return keras.Model(given, layers.Dense(2)(layers.LSTM(4, stateful=True)(given)))
    stacks = {
        'rank': (keras.Input((24,)), layers.Dense(1)), 'three features': (keras.Input((12, 3)), layers.LSTM(4), layers.Dense(3)),
        'any length': (keras.Input((None, 2)), layers.LSTM(4), layers.Dense(2)), 'many steps': (given, layers.LSTM(4), layers.Dense(10)),
        'gru': (given, layers.GRU(4), layers.Dense(2)), 'lambda': (given, layers.LSTM(4), layers.Lambda(lambda x: x[:, :2])),
        'no lstm': (given, layers.Flatten(), layers.Dense(2)), 'diverged': (given, layers.LSTM(4), layers.Dense(2)),
        'short window': (keras.Input((1, 2)), layers.LSTM(4), layers.Dense(2)),
        'window of two': (keras.Input((2, 2)), layers.LSTM(4, return_sequences=True), layers.Dense(2)),
        'relu': (given, layers.LSTM(4, activation='softsign', use_bias=False), layers.Dense(2)),
        'masking': (given, layers.Masking(), layers.LSTM(4), layers.Dense(2)),
        'hard gates': (given, layers.LSTM(4, recurrent_activation='hard_sigmoid'), layers.Dense(2)),
        'dropout': (given, layers.LSTM(4, dropout=0.2, recurrent_dropout=0.2), layers.Dense(2)),
        'bidirectional': (given, layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)),
        'normalised': (given, layers.LSTM(4, return_sequences=True), layers.LayerNormalization(), layers.LSTM(4, go_backwards=True), layers.Dense(2)),
    }  # fmt: skip
    return keras.Sequential(list(stacks[kind]))


@pytest.mark.parametrize(
    ('kind', 'reason'),
    [
        ('rank', 'its input is [?, 24], expected [batch, window, features]'),
        ('two inputs', '2 inputs and 1 outputs, expected one of each'),
        ('two outputs', '1 inputs and 2 outputs, expected one of each'),
        ('three features', 'it takes 3 features, the scaling has 2'),
        ('any length', 'it takes windows of any length: choose one with --window'),
        ('short window', 'its window has 1 steps, expected 2 or more'),
        ('many steps', 'its output is [?, 10], expected a probability [batch, 1], a reconstruction [batch, 12, 2] or a forecast'),
        ('gru', 'is a GRU, which does not become one operator in ONNX: train it with LSTM'),
        ('lambda', 'a Lambda layer is code, which is not run'),
        ('stateful', 'is stateful: its memory would pass from one entity to another'),
        ('diverged', 'is not finite: training has diverged'),
        ('masking', 'masks samples, which makes a loop of the LSTM: train it without'),
        ('hard gates', 'has recurrent_activation hard_sigmoid, which makes a loop of it in ONNX: train it with sigmoid'),
    ],
)
def test_what_cannot_be_wrapped_is_refused_with_the_reason(tmp_path, kind, reason):
    from convert import wrap

    model, path = _layers(kind), tmp_path / 'model.keras'
    if kind == 'diverged':
        model.set_weights([w * np.nan for w in model.get_weights()])
    model.save(path)
    with pytest.raises(wrap.WrapError) as error:
        wrap.read(path, wrap.scaling(small_models.SCALING))
    assert str(error.value).startswith(f'{path}: ') and reason in str(error.value)


@pytest.mark.parametrize('kind', ['no lstm', 'relu'])
def test_what_converts_to_other_operators_is_refused_before_anything_is_written(tmp_path, kind):
    from convert import wrap

    _layers(kind).save(tmp_path / 'model.keras')
    foreign = wrap.read(tmp_path / 'model.keras', wrap.scaling(small_models.SCALING))
    with pytest.raises(wrap.WrapError, match=r'model\.keras: graph: (0 × LSTM, expected one or more|1 × Loop, expected none.*): .*train the model so'):
        wrap.wrap(foreign, tmp_path / 'a.onnx', step_seconds=(60, 60), name='a', log=lambda text: None)
    assert not (tmp_path / 'a.onnx').exists()


@pytest.mark.parametrize('kind', ['dropout', 'bidirectional', 'normalised'])
def test_what_keras_makes_of_an_lstm_network_is_converted(tmp_path, kind):
    """Verified against Keras as every wrapped model is; dropout, which only training has, makes no difference."""
    from convert import wrap

    _layers(kind).save(tmp_path / 'model.keras')
    model = wrap.read(tmp_path / 'model.keras', wrap.scaling(small_models.SCALING))
    loaded = wrap.wrap(model, tmp_path / 'a.onnx', step_seconds=(60, 60), name='a', healthy='none', log=lambda text: None)
    assert loaded.bundle.manifest.name == 'a'


def test_an_output_that_may_be_two_things_must_be_named(tmp_path):
    """One feature: [batch, 1] is a probability where the last activation is a sigmoid, and a question otherwise."""
    import keras

    from convert import wrap

    one, path = wrap.scaling('cpu: {mean: 0, std: 1}'), tmp_path / 'model.keras'
    for activation in (None, 'sigmoid'):
        keras.Sequential([keras.Input((12, 1)), keras.layers.LSTM(4), keras.layers.Dense(1, activation=activation)]).save(path)
        if activation:
            assert wrap.read(path, one).output == 'probability' and wrap.read(path, one, output='forecast').output == 'forecast'
        else:
            with pytest.raises(wrap.WrapError, match='which may be probability or forecast: choose one with --output'):
                wrap.read(path, one)
    with pytest.raises(wrap.WrapError, match='which is no reconstruction for a window of 12 steps of 1 features'):
        wrap.read(path, one, output='reconstruction')


def test_a_class_that_is_not_of_keras_is_never_built(tmp_path):
    """The configuration is looked through before Keras sees it: what it names is not imported."""
    from convert import wrap

    path = tmp_path / 'model.keras'
    with zipfile.ZipFile(small_models.keras_file('forecast')) as good, zipfile.ZipFile(path, 'w') as bad:
        config = json.loads(good.read('config.json'))
        config['config']['layers'][1].update(module='os', class_name='system', registered_name=None)
        for name in good.namelist():
            bad.writestr(name, json.dumps(config) if name == 'config.json' else good.read(name))
    with pytest.raises(wrap.WrapError, match='system of os is not a class of Keras: it would run foreign code'):
        wrap.read(path, wrap.scaling(small_models.SCALING))


@pytest.mark.parametrize(('name', 'content'), [('model.h5', b'\x89HDF'), ('model.keras', b'not a zip'), ('model.pkl', b'\x80\x04.')])
def test_other_formats_are_refused_unread(tmp_path, name, content):
    from convert import wrap

    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(wrap.WrapError, match=r'not a \.keras file nor a SavedModel folder'):
        wrap.read(path, wrap.scaling(small_models.SCALING))


def test_a_saved_model_that_reaches_for_files_is_not_loaded(tmp_path):
    import tensorflow as tf

    from convert import wrap

    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 12, 2], tf.float32)])
        def serve(self, x):
            return x[:, 0] + tf.cast(tf.strings.length(tf.io.read_file('/etc/hostname')), tf.float32)

    module = Reader()
    tf.saved_model.save(module, str(tmp_path / 'saved'), signatures={'serving_default': module.serve})
    with pytest.raises(wrap.WrapError, match='operation ReadFile reads or writes more than tensors: it is not run'):
        wrap.read(tmp_path / 'saved', wrap.scaling(small_models.SCALING))
    with pytest.raises(wrap.WrapError, match='no SavedModel'):
        wrap.read(tmp_path, wrap.scaling(small_models.SCALING))


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('cpu: {mean: 1}', 'cpu: got mean, expected mean and std, or min and max'),
        ('cpu: {}', 'cpu: got nothing, expected mean and std, or min and max'),
        ('cpu: {mean: 1, std: 0}', 'cpu: got 1 and 0, expected finite numbers and a spread above 0'),
        ('cpu: {min: 1, max: 1}', 'cpu: got 1 and 0, expected finite numbers and a spread above 0'),
        ('cpu: {mean: .nan, std: 1}', 'cpu: got nan and 1, expected finite numbers'),
        ('cpu: {centre: 1}', 'Object contains unknown field `centre`'),
        ('{}', 'no feature, expected one line for each'),
        ('- 1', 'Expected `object`, got `array`'),
    ],
)
def test_a_mistake_in_the_scaling_is_named(text, reason):
    from convert import wrap

    with pytest.raises(wrap.WrapError) as error:
        wrap.scaling(text, 'scaling.yml')
    assert str(error.value).startswith('scaling.yml: ') and reason in str(error.value)


def test_the_command_fails_in_one_line(tmp_path):
    done = convert('wrap', tmp_path / 'none.keras', '--feature', 'cpu: {mean: 0, std: 1}', '--step', '60s', '--out', tmp_path / 'a.onnx')
    assert (done.returncode, done.stderr) == (1, f'convert: {tmp_path}/none.keras: no such file\n')


def test_a_scaling_may_be_written_as_tools_write_it():
    """1e-05 is a number."""
    from convert import wrap

    scale = wrap.scaling('cpu: {mean: 2e3, std: 1e-05}')['cpu']
    assert (scale.shift, scale.factor) == (2000.0, 1e-05)
