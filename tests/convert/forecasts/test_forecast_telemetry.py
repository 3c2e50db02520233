"""The synthetic telemetry that forecasts are learnt from."""

import numpy as np
import pytest

from convert.forecasts import telemetry

DAY = 86400


@pytest.mark.parametrize('step_seconds', [60, 3600])
def test_a_seed_gives_the_same_telemetry(step_seconds):
    """And another one another; all of it finite where it is known, most of it known."""
    first, again, other = (telemetry.batch(seed, step_seconds=step_seconds, days=4, series=40) for seed in (1, 1, 2))
    assert first[1].shape == (4 * DAY // step_seconds, 40) and (np.diff(first[0]) == step_seconds).all()
    assert np.array_equal(first[1], again[1], equal_nan=True) and not np.array_equal(first[1], other[1], equal_nan=True)
    assert not np.isinf(first[1]).any() and 0.5 < np.isfinite(first[1]).mean() < 1


def test_there_is_something_to_forecast():
    """Series that a day ago tells more of than the newest value, and series of which it is the other way round."""
    _, values = telemetry.batch(3, step_seconds=1800, days=20, series=120)
    yesterday = np.nanmean(np.abs(values[48 + 12 :] - values[12:-48]), 0)
    still = np.nanmean(np.abs(values[48 + 12 :] - values[48:-12]), 0)
    known = yesterday + still > 0
    share = (yesterday < still)[known].mean()
    assert 0.3 < share < 0.8


def test_disks_are_emptied():
    """Some fill without an end, others fall back by more than they ever climb in a step."""
    rng = np.random.default_rng(0)
    used = telemetry.KINDS['disks'](rng, 1800.0 * np.arange(20 * 48), 60)
    fall, climb = -np.diff(used, axis=0).min(0), np.diff(used, axis=0).max(0)
    assert (fall > 3 * climb).any() and (climb > 3 * fall).any()
