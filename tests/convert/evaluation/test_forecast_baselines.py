"""Simple forecasts are what their names say: as Prometheus computes them, causal, with intervals of their own past errors."""

import doctest
import re

import numpy as np
import pytest
import servers
import yaml

from convert.evaluation import forecast_baselines, forecast_ridge
from convert.evaluation.forecast_baselines import NAIVE, POINTS, Baseline, Past

HOUR, DAY = 3600, 86400
FORECASTERS = {name: Baseline(point) for name, point in POINTS.items()} | {'ridge': forecast_ridge.Ridge()}


def test_doctests():
    assert doctest.testmod(forecast_baselines).failed == 0


def waves(days, series=6, step=HOUR, seed=0):
    """times, values [T, N]: a day's wave with noise, a level and a unit of its own in each series, and some gaps."""
    rng = np.random.default_rng(seed)
    times = step * np.arange(days * DAY // step, dtype=float)
    wave = np.sin(2 * np.pi * times / DAY)[:, None] + 0.1 * rng.normal(size=(len(times), series))
    values = (5 + wave) * 10.0 ** np.arange(series)
    values[rng.random(values.shape) < 0.01] = np.nan
    return times, values


def of_prometheus(tmp_path, values, expressions):
    """float [expression, N]: what promtool says of series with a sample each minute, at the last of them."""
    series = [{'series': f'x{{n="{n}"}}', 'values': ' '.join('_' if np.isnan(v) else repr(float(v)) for v in column)} for n, column in enumerate(values.T)]
    asked = [{'expr': expr, 'eval_time': f'{len(values) - 1}m', 'exp_samples': []} for expr in expressions]
    test = {'evaluation_interval': '1m', 'tests': [{'interval': '1m', 'input_series': series, 'promql_expr_test': asked}]}
    (tmp_path / 'test.yml').write_text(yaml.safe_dump(test))
    said = servers.run_tool('promtool', 'test', 'rules', tmp_path / 'test.yml', check=False)
    lines = re.findall(r'got: *(.*)', said.stdout + said.stderr)
    assert len(lines) == len(expressions), said
    return [[float(dict(re.findall(r'\{n="(\d+)"\} (\S+?)(?:,|$)', line)).get(str(n), 'nan')) for n in range(values.shape[1])] for line in lines]


@pytest.mark.real
def test_promql_baselines_are_what_prometheus_computes(tmp_path):
    """Over gaps, large levels, a series that ends early and one with a single sample; the range is a second short of a whole window
    because Prometheus 2 counts both of its ends, and Prometheus 3, as here, only the last.
    """
    rng = np.random.default_rng(1)
    values = np.stack([rng.normal(5, 1, 300), 1e9 + 1e3 * np.arange(300.0), np.cumsum(rng.normal(size=300)), np.full(300, 7.0), np.full(300, np.nan)], axis=1)
    values[rng.random(300) < 0.2, 2] = np.nan
    values[280:, 0] = np.nan
    values[290, 4] = 1.0
    name = 'holt_winters' if 'version 2' in (v := servers.run_tool('promtool', '--version')).stdout + v.stderr else 'double_exponential_smoothing'
    asked = ['predict_linear(x[3599s], 3600)', 'predict_linear(x[14399s], 21600)', f'{name}(x[14399s], 0.3, 0.1)']
    expected = of_prometheus(tmp_path, values, asked)
    past, origin = Past(values, 60), np.array([299])
    linear = forecast_baselines.predict_linear
    found = [
        linear(HOUR)(past, origin, np.array([60]))[0, :, 0], linear(4 * HOUR)(past, origin, np.array([360]))[0, :, 0],
        forecast_baselines.double_exponential_smoothing(4 * HOUR, carried_on=False)(past, origin, np.array([60]))[0, :, 0],
    ]  # fmt: skip
    assert np.isnan(expected[0]).tolist() == [False] * 4 + [True]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_the_window_that_fits_the_horizon_is_the_horizon():
    """The slope is that of the last hour at 5 minutes and an hour, and of the last six at six."""
    values = np.concatenate([np.zeros(360), np.arange(300.0), np.full(60, 299.0)])[:, None]
    found = forecast_baselines.predict_linear()(Past(values, 60), np.array([719]), np.array([5, 60, 360]))[0, 0]
    assert found[:2] == pytest.approx([299, 299]) and found[2] > 400
    assert found[2] == forecast_baselines.predict_linear(6 * HOUR)(Past(values, 60), np.array([719]), np.array([360]))[0, 0, 0]


def test_the_trend_is_that_of_the_last_smoothed_values():
    """A line is carried on as a line."""
    carried = forecast_baselines.double_exponential_smoothing(HOUR, carried_on=True)
    assert carried(Past(3 * np.arange(100.0)[:, None], 60), np.array([99]), np.array([1, 10]))[0, 0] == pytest.approx([300, 327])


def test_what_repeats_repeats_the_last_known_period():
    """Values are the hour since the begin: a day ahead is now, and two days ahead is now as well."""
    past, now = Past(np.arange(400.0)[:, None], HOUR), np.array([300])
    assert POINTS[NAIVE](past, now, np.array([1, 24, 25, 48]))[0, 0].tolist() == [277, 300, 277, 300]
    assert POINTS['seasonal naive, week'](past, now, np.array([1, 24, 168]))[0, 0].tolist() == [133, 156, 300]
    assert POINTS['mean of seven days'](past, now, np.array([1]))[0, 0] == [277 - 3 * 24]
    assert np.isnan(POINTS['seasonal naive, week'](past, np.array([100]), np.array([1]))).all()


def test_the_interval_is_that_of_the_errors_that_had_come_due():
    """Errors of a walk, by numpy's own quantiles: of forecasts an hour apart of two weeks whose target is at or before the origin."""
    values = np.cumsum(np.random.default_rng(3).normal(size=500))[:, None]
    found = FORECASTERS['last value'](HOUR * np.arange(500.0), values, [450, 499], [6.0 * HOUR])
    for n, origin in enumerate((450, 499)):
        made = np.arange(origin - 6 - 14 * 24 + 1, origin - 6 + 1)
        assert found[n, 0, 0] == pytest.approx(values[origin] + np.quantile(values[made + 6] - values[made], [0.1, 0.5, 0.9]) * [1, 0, 1])


def test_few_errors_make_no_interval():
    found = FORECASTERS['last value'](HOUR * np.arange(11.0), np.arange(11.0)[:, None], [9, 10], [HOUR])[:, 0, 0]
    assert np.isnan(found[0]).tolist() == [True, False, True] and found[1].tolist() == [11, 10, 11]


@pytest.mark.parametrize('name', FORECASTERS)
def test_the_future_changes_nothing(name):
    """Forecasts of the first origins are the same to the last bit when all that comes after them is another."""
    times, values = waves(30, step=HOUR // 2)
    origins, ahead = np.arange(960, 1380, 60), [HOUR, 6 * HOUR, DAY, 7 * DAY]
    whole = FORECASTERS[name](times, values, origins, ahead)
    for known in (1, 3, 6):
        other = values.copy()
        other[origins[known - 1] + 1 :] = np.random.default_rng(known).normal(size=other[origins[known - 1] + 1 :].shape) * 1e6
        found = FORECASTERS[name](times, other, origins, ahead)
        np.testing.assert_array_equal(found[:known], whole[:known])
        assert not np.array_equal(found[known:], whole[known:], equal_nan=True)


def test_the_ridge_learns_what_repeats_and_what_lasts():
    """A wave with noise, and walks on top of it: better than repeating the day, and than the newest sample, whatever the unit."""
    times, values = waves(30, series=8)
    values += np.cumsum(np.random.default_rng(5).normal(0, 0.1, values.shape), axis=0) * 10.0 ** np.arange(8)
    origins, ahead, steps = np.arange(500, 690, 7), [3.0 * HOUR], 3
    came = values[origins + steps]
    error = {
        name: np.nanmean(np.abs(FORECASTERS[name](times, values, origins, ahead)[:, :, 0, 1] - came), axis=0) for name in ('ridge', NAIVE, 'last value')
    }  # fmt: skip
    assert (error['ridge'] < 0.9 * error[NAIVE]).all() and (error['ridge'] < 0.9 * error['last value']).all()
    within = FORECASTERS['ridge'](times, values, origins, ahead)[:, :, 0]
    assert 0.65 < np.mean(((within[..., 0] <= came) & (came <= within[..., 2]))[~np.isnan(came)]) < 0.9


def test_a_series_that_never_changes_is_forecast_as_it_is():
    times = HOUR * np.arange(600.0)
    for name, forecaster in FORECASTERS.items():
        if name != 'predict_linear [1h]':       # one sample in its window
            found = forecaster(times, np.full((600, 2), 4.0), [500, 590], [HOUR, DAY])
            known = found[~np.isnan(found)]
            assert known.size and known == pytest.approx(np.full(known.shape, 4.0)), name
