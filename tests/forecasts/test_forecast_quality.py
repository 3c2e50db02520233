"""How good forecasts were: errors, coverage, what is too early to say."""

import numpy as np
import pytest

from promlstm.forecasts.quality import LEAST, MOST_PENDING, Quality

STEP, HOUR = 60.0, 3600.0


def forecast(quality, time, low, middle, high, simple, rows=4, unit=1.0):
    """Let it remember the same forecast of some rows."""
    quality.made(time, np.tile([low, middle, high], (rows, 1)).astype(float), np.full(rows, simple), np.full(rows, unit))


def test_the_error_is_a_share_of_that_of_the_simple_forecast():
    quality = Quality(HOUR)
    for k in range(10):
        forecast(quality, k * HOUR, 8, 10, 12, simple=14)
        assert quality.figures() is None or k * 4 >= LEAST
        quality.came((k + 1) * HOUR, np.full(4, 11.0), STEP)
    error, covered = quality.figures()
    assert error == pytest.approx(1 / 3) and covered == 1.0


def test_units_weigh_the_same():
    quality = Quality(HOUR)
    for k in range(15):
        quality.made(k * HOUR, np.array([[0, 1, 2], [0, 1e9, 2e9]]), np.array([3, 2e9]), np.array([1, 1e9]))
        quality.came((k + 1) * HOUR, np.array([2.0, 2e9]), STEP)
    assert quality.figures() == (pytest.approx(2 / 1), 1.0)


def test_what_did_not_come_is_not_counted():
    quality = Quality(HOUR)
    for k in range(20):
        forecast(quality, k * HOUR, 8, 10, 12, simple=14)
        quality.came((k + 1) * HOUR, np.full(4, np.nan), STEP)
    assert quality.figures() is None
    forecast(quality, 20 * HOUR, 8, 10, 12, simple=14, rows=40)
    quality.came(30 * HOUR, np.full(40, 11.0), STEP)
    assert quality.figures() is None, 'nobody looked when it was due'


def test_old_forecasts_fade():
    quality = Quality(HOUR)
    for day in range(12):
        middle = 10 if day < 6 else 13
        for k in range(8):
            time = day * 86400.0 + k * HOUR
            forecast(quality, time, 8, middle, 14, simple=14)
            quality.came(time + HOUR, np.full(4, 11.0), STEP)
    error, _ = quality.figures()
    assert error == pytest.approx(2 / 3, abs=0.02), 'of late'


def test_pending_forecasts_are_bounded():
    quality = Quality(7 * 86400.0)
    for k in range(3000):
        forecast(quality, k * 300.0, 8, 10, 12, simple=14)
    assert len(quality._pending) <= MOST_PENDING * 3000 * 300 / (7 * 86400) + 1


def test_rows_come_and_go():
    quality = Quality(HOUR)
    quality.made(0.0, np.array([[0, 10, 20], [0, 20, 30.0]]), np.array([12.0, 22]), np.ones(2))
    quality.keep([1, -1, -1])
    quality.made(60.0, np.tile([0, 20, 30.0], (3, 1)), np.full(3, 22.0), np.ones(3))
    for _ in range(2):
        assert quality.figures() is None
    quality.came(HOUR, np.full(3, 21.0), STEP)
    assert quality._count == 1.0, 'of the row that was known'
    quality.keep([])
    quality.came(HOUR + 60, np.empty(0), STEP)
