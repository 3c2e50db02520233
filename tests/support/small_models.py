"""Models of every family for tests: small windows, random weights where learning does not matter, made once and kept."""

import functools
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

WIDTH = 12
SCALING = 'cpu: {mean: 0.5, std: 0.1}\nmemory: {min: 0, max: 1.0e+9}'
FOLDER = Path(tempfile.mkdtemp(prefix='promlstm-made-'))


class Made(NamedTuple):
    """A network, its step function as TensorFlow has traced it, the form and the ONNX model of its graph."""

    network: Any
    step: Any
    form: Any
    model: Any


@functools.cache
def network(name, scale=0.3):
    """The network of a family with random weights: large ones, so that a mistake shows."""
    from convert.families.registry import FAMILIES

    made, rng = FAMILIES[name].network(WIDTH, FAMILIES[name].units), np.random.default_rng(5)
    made.set_weights([scale * rng.normal(size=w.shape) for w in made.get_weights()])
    return made


@functools.cache
def family(name):
    """A Made of that network; its graph takes seconds."""
    from convert import export
    from convert.families.registry import FAMILIES

    form = FAMILIES[name].form(WIDTH, FAMILIES[name].units)
    step = export.traced(functools.partial(FAMILIES[name].step, network(name)), form)
    return Made(network(name), step, form, export.export(step, form))


@functools.cache
def keras_file(output):
    """A .keras file as somebody else may have it: windows of WIDTH steps of two features."""
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    kinds = {
        'probability': [layers.LSTM(16, return_sequences=True), layers.Dropout(0.2), layers.LSTM(8), layers.Dense(1, activation='sigmoid')],
        'reconstruction': [layers.LSTM(8), layers.RepeatVector(WIDTH), layers.LSTM(8, return_sequences=True), layers.TimeDistributed(layers.Dense(2))],
        'forecast': [layers.LSTM(8), layers.Dense(2)],
    }  # fmt: skip
    path = FOLDER / f'{output}.keras'
    keras.Sequential([keras.Input((WIDTH, 2)), *kinds[output]]).save(path)
    return path


@functools.cache
def wrapped(output):
    """A Made of that file."""
    from convert import export, wrap

    foreign = wrap.read(keras_file(output), wrap.scaling(SCALING))
    step = export.traced(functools.partial(wrap.step, foreign), foreign.form)
    return Made(foreign.call.func, step, foreign.form, export.export(step, foreign.form))


def any_of(name):
    """A Made by name: a family, or `wrapped-OUTPUT`."""
    return wrapped(name.removeprefix('wrapped-')) if name.startswith('wrapped-') else family(name)


@functools.cache
def session(name):
    """A promlstm.engine.session.Session of a Made: released, read back and proven; its calibration is arithmetic."""
    from convert import release, verify
    from promlstm.engine import advance, bundle

    made, families = any_of(name), {'probability': 'classifier', 'reconstruction': 'autoencoder', 'forecast': 'forecaster'}
    form = made.form
    manifest = bundle.Manifest(
        format=bundle.FORMAT, name=name, family=families.get(name.removeprefix('wrapped-'), name), description='for tests',
        created='2026-01-31T12:00:00Z', features=form.features, views=form.views, step_seconds=(1, 86400), warmup_steps=form.warmup_steps,
        replay_steps=400, season_period_seconds=form.season_period_seconds, season_slots=form.season_slots,
        season_horizons_steps=form.season_horizons_steps, forecast_horizons_seconds=(), tools={}, evaluation={},
        training=bundle.Training(data='nothing', digest='', recipe='', seed=0, entity_steps=0, seconds=0),
    )  # fmt: skip
    top = float(advance.NOMINAL_THRESHOLD)
    row = bundle.Row(klass=0, step_seconds=(1, 86401), surprise=(0.5 * top, top, 3 * top), alarms_per_entity_week=(10, 1, 0.01))
    rows = tuple(bundle.Row(klass=k, step_seconds=row.step_seconds, surprise=row.surprise, alarms_per_entity_week=row.alarms_per_entity_week) for k in range(4))
    table = bundle.Calibration(status='measured', source='arithmetic', entity_weeks=1, rows=rows)
    return release.release(made.model, manifest, table, verify.proof_of(made.step, form), FOLDER / f'{name}.onnx')


def telemetry(name, seed, steps=110, entities=6):
    """(times, values [T, N, F]) in a unit that the model is made for, with holes."""
    form, rng = any_of(name).form, np.random.default_rng(seed)
    features = len(form.features or 'ab')
    values = 10 + rng.normal(size=(steps, entities, features))
    if form.features:
        values = form.unit[0] + form.unit[1] * values
    values[rng.random(values.shape) < 0.05] = np.nan
    return 1_700_000_000 + 60.0 * np.arange(steps), values


def carried(name, inputs):
    """Outputs and states of the ONNX file over all steps: [(out, state after)]."""
    loaded = session(name)
    _, entities, features = inputs['value'].shape
    state, found = loaded.blank(entities, features), []
    for t in range(len(inputs['value'])):
        out, state = loaded.run({key: array[t] for key, array in inputs.items()} | {'step_seconds': np.float32(60)}, state)
        found.append((out, state))
    return found


def inputs_of(name, steps=140, learn=1.0, seed=0):
    """Inputs of the graph over telemetry, by name, each [T, …]; no season."""
    _, values = telemetry(name, seed, steps)
    n = values.shape[1]
    return {
        'value': values, 'season': np.full((*values.shape, 4), np.nan), 'learn': np.full((steps, n), learn, np.float32),
        'threshold': np.full((steps, n), 2.4, np.float32),
    }  # fmt: skip
