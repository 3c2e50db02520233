"""A forecast model from a recipe: its file, its gates, mistakes in the recipe."""

import csv
import json

import msgspec
import numpy as np
import pytest

from convert import forecast_recipe as recipes
from convert.__main__ import main
from convert.forecasts import measure
from convert.recipe import RecipeError

RECIPE = """\
name: tiny
family: forecast
seed: 5
training:
  telemetry:
    - {step_seconds: 900, days: 20, series: 60, instants: 30}
    - {step_seconds: 3600, days: 30, series: 80, instants: 30}
  epochs: 12
  batch_rows: 128
evaluation:
  telemetry: [{step_seconds: 1800, days: 24, series: 80, instants: 20}]
gates: {error_ratio: 1.0, coverage_ratio: [0.5, 0.95]}
"""
OF, MOST = 'of "the same as a day ago"', '0.95 of the better of that and "no change"'


@pytest.fixture
def written(tmp_path):
    def write(text=RECIPE):
        path = tmp_path / 'tiny.yml'
        path.write_text(text)
        return path

    return write


@pytest.mark.train
def test_a_minute_of_training_beats_simple_forecasts(written, tmp_path, capsys):
    """The gates let it pass, and its file tells what it was trained on and how good it is; the exporter loads it and proves it."""
    from promlstm.forecasts import model

    out = tmp_path / 'tiny.onnx'
    assert main(['all', str(written()), '--work', str(tmp_path / 'work'), '--out', str(out)]) == 0, capsys.readouterr().err
    loaded = model.load(out)
    assert (loaded.about.name, loaded.about.coverage, loaded.about.training.seed) == ('tiny', 0.8, 5)
    assert 'synthetic telemetry' in loaded.about.training.data and loaded.about.training.entity_steps > 10_000
    hour = loaded.about.evaluation['synthetic at 1800 s, 1h']
    assert hour['error_ratio'] < 0.85 and hour['error_ratio'] < hour['unchanged_ratio']
    assert 'sha256' in capsys.readouterr().err


@pytest.mark.train
def test_own_history_is_learnt_from_and_measured_on(written, tmp_path):
    """A CSV of three weeks: the spans `train` are among the examples, the span `test` is in the table that the gates read."""
    from promlstm.forecasts import model

    end, step = 1_764_000_000 // 86400 * 86400, 1800
    times = np.arange(end - 21 * 86400, end, step)
    with open(tmp_path / 'past.csv', 'w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['time', 'host', 'value'])
        rng = np.random.default_rng(0)
        for host in range(12):
            wave = 10 + 3 * np.sin(2 * np.pi * (times / 86400 + host / 12)) + rng.normal(size=len(times))
            rows.writerows((int(time), f'h{host}', f'{value:.3f}') for time, value in zip(times, wave, strict=True))
    detector = {'name': 'load', 'expr': 'past_load', 'step': '30m', 'delay': '0s', 'history': '1d'}
    (tmp_path / 'promlstm.yml').write_text(json.dumps({'prometheus': {'url': 'http://not-asked'}, 'detectors': [detector]}))
    spans = {'train': [[end - 21 * 86400, end - 4 * 86400]], 'test': [[end - 4 * 86400, end]]}
    data = {'config': 'promlstm.yml', 'files': {'load': ['past.csv']}, 'spans': spans}
    quick = RECIPE.replace('series: 60', 'series: 20').replace('series: 80', 'series: 20', 1)
    quick = quick.replace('epochs: 12', 'epochs: 2').replace('instants: 30', 'instants: 10')
    out = tmp_path / 'own.onnx'
    path = written(quick + f'data: {json.dumps(data)}\n')
    assert main(['all', str(path), '--work', str(tmp_path / 'work'), '--out', str(out), '--force']) == 0
    about = model.load(out).about
    assert about.training.data.endswith('and own history of load') and about.evaluation['load (12 entities), 1h']['series'] == 12
    assert about.evaluation['load (12 entities), 1h']['error_ratio'] < 1


def figures(error=0.7, coverage=0.8, unchanged=1.2):
    return measure.Figures(error_ratio=error, loss_ratio=0.5, coverage=coverage, unchanged_ratio=unchanged, series=30)


@pytest.mark.train
@pytest.mark.parametrize(
    ('found', 'reason'),
    [
        (figures(), None),
        (figures(error=0.96), f'own, 1h: error 0.960 {OF}, expected at most 0.950: {MOST}'),
        (figures(error=0.4, unchanged=0.4), f'own, 1h: error 0.400 {OF}, expected at most 0.380: {MOST}'),
        (figures(coverage=0.6), 'own, 1h: 0.60 of the values come between low and high, expected 0.7 to 0.9'),
        (figures(coverage=0.95), 'own, 1h: 0.95 of the values come between low and high, expected 0.7 to 0.9'),
    ],
)  # fmt: skip
def test_the_gates(found, reason):
    """Worse than a simple forecast, or an interval that does not keep what it promises; horizons that are not judged do not count."""
    from convert import forecast

    reasons = forecast.refusals({'own': {3600.0: found, 604800.0: figures(error=2, coverage=0)}}, recipes.Gates())
    assert reasons == ([reason] if reason else [])


def test_a_recipe_of_a_name_alone_is_the_shipped_one(written):
    found = recipes.load(written('name: own\nfamily: forecast\n'))
    shipped = recipes.load(recipes.SHIPPED)
    assert msgspec.structs.replace(found, name=shipped.name, description=shipped.description) == shipped


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('name: own\nfamily: forecast\ncalibration: {}\n', 'Object contains unknown field `calibration`'),
        ('name: own\nfamily: forecast\ntraining: {telemetry: [{step_seconds: 60, days: 1, series: 10, instants: 1}]}\n', 'Expected `float` >= 3.0'),
        ('name: Own\nfamily: forecast\n', 'Expected `str` matching regex'),
    ],
)
def test_mistakes_in_a_recipe_are_named(written, text, message):
    with pytest.raises(RecipeError, match=message):
        recipes.load(written(text))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['train'], 'train: a model of family forecast is made as a whole: python -m convert all'),
        (['all', '--service', 'builtin:default'], '--service: no option of family forecast'),
    ],
)
def test_what_does_not_apply_is_said(written, tmp_path, capsys, arguments, message):
    command, *options = arguments
    assert main([command, str(written()), '--work', str(tmp_path / 'work'), *options]) == 1
    assert message in capsys.readouterr().err


def test_the_measures_are_those_of_their_names():
    """Errors as a share of those of a day ago; coverage; NaN is no value."""
    times = 3600.0 * np.arange(24 * 12)
    values = np.stack([np.arange(24 * 12.0), np.where(np.arange(24 * 12) % 2, 1.0, 3.0)], 1)
    values[250, 0] = np.nan

    def forecast(times, values, origins, ahead):
        now = values[origins][:, :, None]
        middle = now + np.array([12.0, 0])[:, None] + 0 * np.array(ahead)
        return np.stack([middle - 12.5, middle, middle + 12.5], -1)

    found = measure.measured(forecast, times, values, (86400,), instants=20)[86400.0]
    assert found.series == 1, 'the second is the same as a day ago, so it has no share'
    assert (found.error_ratio, found.unchanged_ratio, found.coverage) == pytest.approx((0.5, 1.0, 1.0), abs=2e-3)
    assert found.loss_ratio == pytest.approx((0.1 * 24.5 + 0.5 * 12 + 0.1 * 0.5) / 3 * 2 / 24, abs=2e-3)
