"""What a model is trained on is what it is served with: the vectorised memory against the exporter's own, sample by sample."""

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from convert.forecasts.memory import Past
from promlstm.engine.recent import Recent
from promlstm.engine.season import WEEK, Season
from promlstm.forecasts.inputs import gathered

UTC = ZoneInfo('UTC')
MONDAY = 1_750_032_000.0
AHEAD = (300.0, 3600.0, 5 * 3600.0, 86400.0, 100_000.0, 604800.0)


def series(step, days, seed=0):
    """Times, and values of a rhythm with noise, a terabyte with gaps, one that begins late, a constant."""
    rng = np.random.default_rng(seed)
    times = MONDAY - 3 * 86400 + (7260 if step < 1800 else 7200) + step * np.arange(int(days * 86400 / step))     # no sample between two half-hours
    wave = np.sin(times / 86400 * 2 * np.pi)
    x = np.stack([wave + 0.1 * rng.normal(size=len(times)), 2e6 + wave, wave + rng.normal(size=len(times)), np.full(len(times), 5.0)], 1)
    x[rng.random(len(times)) < 0.2, 1] = np.nan
    x[len(times) // 3 : len(times) // 3 + int(5 * 3600 / step), 1] = np.nan
    x[: len(times) // 2, 2] = np.nan
    return times, x


def served(times, values, index, step):
    """The exporter's inputs after the sample `index`, its seasonal memory filled with the mean of each half-hour when that has ended."""
    recent = Recent.blank(values.shape[1], 1, UTC)
    season = Season.blank(values.shape[1], 1, period_seconds=WEEK, slots=336, zone=UTC)
    slot = np.floor(times[: index + 1] / 1800 + 0.5)
    for time, sample in zip(times[: index + 1], values[: index + 1], strict=True):
        recent = recent.after(time, sample[:, None])
    ended = slot < slot[-1]
    season = season.fill(times[: index + 1][ended], values[: index + 1][ended, :, None])
    return gathered(recent, season, times[index], AHEAD, step)


@pytest.mark.parametrize(('step', 'days'), [(300.0, 10), (600.0, 17), (1800.0, 24), (3600.0, 16), (3600.0, 1.6)])
def test_the_memory_is_that_of_the_exporter(step, days):
    """At several instants, with gaps, at steps that visit every half-hour or every other, in the first days and after weeks."""
    times, values = series(step, days)
    past, compared = Past(times, values), 0
    for index in np.linspace(int(1.3 * 86400 / step), len(times) - 1, 4).astype(int):
        found, wanted = past.columns(int(index), AHEAD), served(times, values, int(index), step)
        assert found.keys() == wanted.keys()
        for name in wanted:
            both = np.broadcast_arrays(np.asarray(found[name], float), wanted[name])
            assert (np.isnan(both[0]) == np.isnan(both[1])).all(), (name, index)
            assert both[0] == pytest.approx(both[1], rel=2e-5, abs=2e-5, nan_ok=True), (name, index)
            compared += np.isfinite(both[1]).sum()
    assert compared > 500


def test_nothing_later_than_the_instant_is_used():
    """Other futures give the same columns."""
    times, values = series(600.0, 12)
    index = 1000
    other = values.copy()
    other[index + 1 :] = 1e6
    found = Past(times, values).columns(index, AHEAD), Past(times, other).columns(index, AHEAD)
    for name in found[0]:
        assert np.array_equal(*(np.asarray(each[name], float) for each in found), equal_nan=True), name


def test_the_first_day_has_no_columns():
    """Half of the last day would have to be made up."""
    times, values = series(600.0, 3)
    assert Past(times, values).columns(100, AHEAD) is None
