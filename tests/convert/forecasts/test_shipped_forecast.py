"""What the forecast model that ships makes of the cases that people have: rhythms, disks, leaks, bursts, constants, new series."""

import numpy as np
import pytest
from servers import ROOT

from convert.forecasts import forecaster, telemetry
from convert.forecasts.measure import measured
from promlstm.forecasts import limit

HOUR, DAY = 3600.0, 86400.0
MONDAY = 1_750_032_000.0
STEP = 300.0
LOW, MIDDLE, HIGH = range(3)


@pytest.fixture(scope='module')
def model():
    return forecaster.of(ROOT / 'promlstm/models/forecast.onnx')


def course(days, *shapes, step=STEP, seed=0):
    """(times, values [T, N]) of functions of (times, generator of random numbers)."""
    times = MONDAY + step * np.arange(int(days * DAY / step))
    return times, np.stack([shape(times, np.random.default_rng([seed, n])) for n, shape in enumerate(shapes)], 1)


def ahead_of(model, shape, ahead, days=21.0, shown=2.0, step=STEP):
    """Forecasts [O, H, 3] from 24 instants of the last days, and what came [O, H]."""
    longest = max(ahead)
    times, values = course(days + longest / DAY, shape, step=step)
    origins = np.linspace((days - shown) * DAY / step, days * DAY / step, 24).astype(int)
    at = origins[:, None] + np.round(np.array(ahead) / step).astype(int)
    return model(times, values, origins, ahead)[:, 0], values[np.minimum(at, len(values) - 1), 0], values[origins, 0]


def rhythm(times, rng):
    return 10 + 4 * np.sin(2 * np.pi * times / DAY) + np.sin(6 * np.pi * times / DAY) + 0.4 * rng.normal(size=len(times))


@pytest.mark.parametrize('ahead', [HOUR, 6 * HOUR, DAY, 7 * DAY])
def test_a_rhythm_is_forecast_better_than_by_yesterday(model, ahead):
    """Noise of yesterday is no forecast; four fifths of the values come within the interval, more or less."""
    found, came, _ = ahead_of(model, rhythm, [ahead])
    noise = 0.4 * np.sqrt(2 / np.pi)
    error = np.abs(found[..., MIDDLE] - came).mean()
    assert error < 1.25 * noise, 'of yesterday: 1.41 times the noise'
    inside = ((came >= found[..., LOW]) & (came <= found[..., HIGH])).mean()
    assert 0.5 < inside <= 1 and (found[..., HIGH] - found[..., LOW]).mean() < 8 * noise


@pytest.mark.parametrize('noise', [0, 0.002])
def test_a_steady_disk_fills_at_its_pace(model, noise):
    """Free space that falls by a fiftieth a day: a day and a week ahead, within a tenth of the way."""

    def free(times, rng):
        return 1e12 * (1 - (times - MONDAY) / DAY / 50 + noise * rng.normal(size=len(times)))

    found, came, now = ahead_of(model, free, [DAY, 7 * DAY])
    way = np.abs(came - now[:, None]).mean(0) + 3e12 * noise
    assert (np.abs(found[..., MIDDLE] - came).mean(0) < 0.1 * way).all()


def test_a_disk_that_is_rotated_each_night_is_not_full_in_a_week(model):
    """It climbs all day and falls back: its level in a week is that of the same hour."""

    def free(times, rng):
        return 70 - 20 * (times / DAY % 1) + 0.1 * rng.normal(size=len(times))

    found, _, _ = ahead_of(model, free, [DAY, 7 * DAY])
    assert found[..., MIDDLE].min() > 40 and found[..., LOW].min() > 20


@pytest.mark.parametrize('minute', [0, 7, 15, 22])
def test_after_eight_days_a_disk_that_is_emptied_each_day_with_little_room_left_is_not_near_its_limit(model, minute):
    """A tenth of what a day takes is left when it is emptied, at any minute of the half-hour: not even the pessimistic bound warns."""

    def free(times, rng):
        return 3 + 30 * (1 - (times / DAY - (15 * HOUR + 60 * minute) / DAY) % 1)

    ahead = limit.looks(DAY)
    found, _, now = ahead_of(model, free, ahead, days=8.0, shown=1.0)
    assert limit.seconds_to(np.zeros(len(now)), now, found, ahead, rising=False).min() > 6 * HOUR


def test_a_leak_is_seen_through_the_rhythm(model):
    """Memory that grows by a third of its daily swing a day."""

    def leak(times, rng):
        return 50 + (times - MONDAY) / DAY + 1.5 * np.sin(2 * np.pi * times / DAY) + 0.1 * rng.normal(size=len(times))

    found, came, now = ahead_of(model, leak, [DAY, 3 * DAY])
    assert np.abs(found[:, 1, MIDDLE] - came[:, 1]).mean() < 0.5 * np.abs(came[:, 1] - now).mean()
    assert (found[:, 1, MIDDLE] > now).mean() > 0.9


def test_one_burst_is_no_trend(model):
    """A file that comes and is deleted: from within the burst, a week ahead is not beyond ten times the burst."""
    def burst(times, rng):
        return 500 - 60 * np.clip((times - MONDAY - 18 * DAY) / (2 * HOUR), 0, 1) * (times < MONDAY + 18 * DAY + 6 * HOUR) + 0.5 * rng.normal(size=len(times))

    times, values = course(26, burst)
    for hours in (1, 2, 4, 8):
        origin = int((18 * DAY + hours * HOUR) / STEP)
        found = model(times, values, [origin], [DAY, 7 * DAY])[0, 0]
        assert found[:, MIDDLE].min() > 380 and found[:, LOW].min() > 200, hours


@pytest.mark.parametrize('value', [0.0, 1.0, -273.15, 4e12])
def test_a_constant_stays(model, value):
    found, _, _ = ahead_of(model, lambda times, rng: np.full(len(times), value), [HOUR, DAY, 7 * DAY])
    assert np.abs(found - value).max() <= 1e-4 * max(abs(value), 1e-9)


def test_rare_counts_stay_small(model):
    """Errors that are counted now and then: between no error and some."""
    found, came, _ = ahead_of(model, lambda times, rng: rng.poisson(0.05, len(times)).astype(float), [HOUR, DAY, 7 * DAY])
    assert np.abs(found[..., MIDDLE]).max() < 0.7 and found[..., HIGH].max() < 3 and found[..., LOW].min() > -1
    assert came.max() <= 3


def test_a_series_that_is_a_day_old_has_a_forecast(model):
    """Of the next hours, better than that nothing changes."""
    found, came, now = ahead_of(model, rhythm, [HOUR, 6 * HOUR, DAY], days=2.0, shown=0.8)
    assert np.isfinite(found).all() and (np.diff(found, axis=-1) >= 0).all()
    error, unchanged = (np.abs(each - came).mean(0) for each in (found[..., MIDDLE], now[:, None]))
    assert (error[:2] < 1.1 * unchanged[:2]).all() and error[1] < 0.8 * unchanged[1] and error[2] < 1.0


def test_the_weekend_is_forecast_on_friday(model):
    """Offices close: after some weeks a day ahead of Friday evening is a Saturday."""
    def office(times, rng):
        open_ = (times / DAY + 3) % 7 < 5
        hour = times % DAY / HOUR
        return 5 + 40 * open_ * np.clip(4 - np.abs(hour - 13) / 1.5, 0, 1) + rng.normal(size=len(times))

    times, values = course(40, office)
    friday = int((4 * 7 + 4) * DAY / STEP + 13 * HOUR / STEP)
    found = model(times, values, [friday, friday - int(DAY / STEP)], [DAY])[:, 0, 0, MIDDLE]
    assert found[0] < 15 and found[1] > 30, 'Saturday, Friday'


def test_telemetry_it_has_not_learnt_from_is_forecast_better_than_by_simple_rules(model):
    """Another seed of the synthesis, at 5 minutes: the gates of the recipe, loosely."""
    times, values = telemetry.batch([77], step_seconds=300, days=20, series=60)
    found = measured(model, times, values, [HOUR, DAY])
    for figures in found.values():
        assert figures.error_ratio < 0.95 and figures.error_ratio < figures.unchanged_ratio and 0.65 < figures.coverage < 0.95, figures
