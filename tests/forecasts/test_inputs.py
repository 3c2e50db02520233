"""What a forecast model gets: the season of the target's local time, yesterday, gaps, several features, chunks."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import tiny_forecast

from promlstm.engine.recent import SLOTS, Recent
from promlstm.engine.season import WEEK, Season
from promlstm.forecasts import model, predict
from promlstm.forecasts.inputs import gathered

UTC, BERLIN = ZoneInfo('UTC'), ZoneInfo('Europe/Berlin')
HOUR, DAY = 3600.0, 86400.0
MONDAY = 1_750_032_000.0  # 2025-06-16 00:00 UTC


def remembered(value, end=MONDAY, days=9, step=600.0, features=1, zone=UTC, rows=1):
    """(Recent, Season) after samples value(time, row, feature) up to and including `end`."""
    recent = Recent.blank(rows, features, zone)
    season = Season.blank(rows, features, period_seconds=WEEK, slots=WEEK // 1800, zone=zone)
    for time in np.arange(end - days * DAY, end + 1, step):
        sample = np.array([[value(time, row, feature) for feature in range(features)] for row in range(rows)], float)
        recent = recent.after(time, sample)
        season = season.fill([time], sample[None])
    return recent, season


def hour_of_day(time, row=0, feature=0):
    return time % DAY / HOUR


def test_the_season_is_that_of_the_target():
    recent, season = remembered(hour_of_day)
    found = gathered(recent, season, MONDAY, [3 * HOUR, 30 * HOUR, 6.5 * DAY], 600.0)
    for name in ('weekly', 'daily', 'yesterday', 'yesterday_season'):
        assert found[name][0] == pytest.approx([3, 6, 12], abs=0.4), name
    assert found['ahead'].tolist() == [3 * HOUR, 30 * HOUR, 6.5 * DAY] and found['step_seconds'] == 600


def test_shapes_and_dtypes_are_those_of_the_contract():
    recent, season = remembered(lambda time, row, feature: 10 * row + feature, features=2, rows=3, days=2, step=1800.0)
    found, sizes = gathered(recent, season, MONDAY, [HOUR] * 4, 1800.0), {'R': 6, 'H': 4}
    assert found.keys() == model.INPUTS.keys()
    for name, (dtype, shape, _) in model.INPUTS.items():
        assert (found[name].dtype, found[name].shape) == (dtype, tuple(sizes.get(axis, axis) for axis in shape)), name
    assert found['levels'][:, 0].tolist() == [0, 1, 10, 11, 20, 21], 'the features of an entity one after the other'
    assert found['recent'][:, -1].tolist() == [0, 1, 10, 11, 20, 21]


def test_weekday_and_weekend_differ_in_weekly_and_not_in_daily():
    recent, season = remembered(lambda time, row, feature: float((time // DAY + 3) % 7 >= 5))
    found = gathered(recent, season, MONDAY, [12 * HOUR, 5.5 * DAY], 600.0)
    assert found['weekly'][0].tolist() == [0, 1]
    assert found['daily'][0] == pytest.approx([2 / 7, 2 / 7])
    assert found['now'][0] == pytest.approx([0, 2 / 7], abs=0.4)


def test_the_local_time_of_the_target_counts_where_the_clock_changes():
    """The evening before daylight saving time ends: nine in the morning is fifteen hours away, not fourteen."""
    evening = datetime.fromisoformat('2026-10-24T19:00:00+02:00').timestamp()
    local = lambda time, row, feature: datetime.fromtimestamp(time, BERLIN).hour  # noqa: E731
    recent, season = remembered(local, end=evening, zone=BERLIN)
    found = gathered(recent, season, evening, [14 * HOUR, 15 * HOUR], 600.0)
    assert found['weekly'][0] == pytest.approx([8, 9], abs=0.5)
    assert found['yesterday'][0] == pytest.approx([8, 9], abs=0.5)


def test_gaps_are_filled_with_the_value_before():
    recent, season = remembered(lambda time, row, feature: np.nan if MONDAY - 6 * HOUR < time <= MONDAY - 4 * HOUR else time - MONDAY)
    found = gathered(recent, season, MONDAY, [HOUR], 600.0)['recent'][0]
    assert not np.isnan(found).any() and (np.diff(found) == 0).sum() >= 3
    young, season = remembered(hour_of_day, days=0.25)
    found = gathered(young, season, MONDAY, [HOUR], 600.0)
    assert np.isnan(found['recent'][0, : SLOTS - 13]).all() and not np.isnan(found['recent'][0, -11:]).any()
    assert np.isnan(found['quarters'][0, :-1]).all()


def test_nothing_is_known_of_a_new_entity():
    recent, season = Recent.blank(2, 1, UTC), Season.blank(2, 1, period_seconds=WEEK, slots=336, zone=UTC)
    found = gathered(recent, season, MONDAY, [HOUR], 60.0)
    assert all(np.isnan(found[name]).all() for name in ('levels', 'recent', 'weekly', 'daily', 'yesterday', 'noise'))
    assert gathered(recent, Season.blank(2, 1, period_seconds=0, slots=0, zone=UTC), MONDAY, [HOUR], 60.0)['weekly'].shape == (2, 1)


def test_chunks_change_nothing(tmp_path, monkeypatch):
    loaded = model.load(tiny_forecast.write(tmp_path / 'forecast.onnx'), threads=2)
    recent, season = remembered(lambda time, row, feature: time % DAY / HOUR + 100 * row, rows=7, days=3, step=1800.0)
    whole = predict.predict(loaded, recent, season, MONDAY, [HOUR, DAY], 1800.0)
    monkeypatch.setattr(predict, 'CHUNK', 2)
    parts = predict.predict(loaded, recent, season, MONDAY, [HOUR, DAY], 1800.0)
    for name in ('quantiles', 'simple', 'unit', 'positive'):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    assert whole.quantiles[:, 0, 0, 1] == pytest.approx(1 + 100 * np.arange(7.0), abs=0.3)
    assert (whole.unit > 0).all() and whole.positive.all()


def test_natural_borders(tmp_path):
    loaded = model.load(tiny_forecast.write(tmp_path / 'forecast.onnx'))
    recent, season = remembered(lambda time, row, feature: [0.0, 50.0, -50.0][int(time // 600) % 2 * (row + 1) % 3], rows=3, days=2)
    found = predict.predict(loaded, recent, season, MONDAY, [HOUR], 600.0)
    assert (found.quantiles[:, 0, 0, 0] < 0).any()
    shown = found.shown(None)
    assert (shown[found.positive] >= 0).all() and (shown[~found.positive] < 0).any()
    assert found.shown((0.0, 10.0)).max() <= 10 and found.shown((0.0, 10.0)).min() >= 0
