"""The rows of a range answer: on whatever grid a server answers, each row has the sample at or just before its instant, and none is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promlstm.query import grid

T0 = 1_760_000_000.0
STEPS = st.sampled_from([0.5, 1.0, 10.0, 15.0, 20.0, 30.0, 60.0, 90.0, 300.0, 3600.0])


def milliseconds(times):
    """As times come out of JSON."""
    return np.round(times, 3)


@given(step=STEPS, count=st.integers(1, 300), offset=st.floats(0, 1, exclude_max=True))
def test_no_offset_loses_a_row(step, count, offset):
    """Of a server whose grid is shifted by any part of a step, asked from a step before, every row has a sample no older than a step."""
    times = milliseconds(T0 + step * (np.arange(-1, count) + offset))
    rows = grid.rows(times, T0, step, count)
    assert sorted(rows[rows >= 0]) == list(range(count))
    age = T0 + step * rows - times
    assert (age[rows >= 0] >= -grid.TOLERANCE_SECONDS - 1e-6).all() and (age[rows >= 0] <= step + 2 * grid.TOLERANCE_SECONDS).all()


@given(step=STEPS, count=st.integers(2, 200), offset=st.floats(-1, 1), jitter=st.floats(0, 0.2), seed=st.integers(0, 1000))
def test_jitter_puts_no_two_samples_on_one_row(step, count, offset, jitter, seed):
    """Samples that are a little early or late, on both sides of an instant, keep a row each, and none is put before its time."""
    away = np.random.default_rng(seed).uniform(-jitter, jitter, count + 2)
    times = milliseconds(T0 + step * (np.arange(-1, count + 1) + offset + away))
    rows = grid.rows(times, T0, step, count)
    kept = rows[rows >= 0]
    assert len(set(kept)) == len(kept) >= count - 1 and (np.diff(kept) == 1).all()
    assert (T0 + step * kept - times[rows >= 0] >= -grid.TOLERANCE_SECONDS - 1e-6).all()


@given(step=STEPS, times=st.lists(st.floats(-3, 30), min_size=1, max_size=60))
def test_without_a_grid_each_sample_goes_to_the_next_instant(step, times):
    """Whatever times come, a row has no sample of its future."""
    times = np.sort(T0 + step * np.array(times))
    rows = grid.rows(times, T0, step, 20)
    kept = rows >= 0
    assert rows.max(initial=-1) < 20 and (times[kept] <= T0 + step * rows[kept] + grid.TOLERANCE_SECONDS + 1e-6).all()


@pytest.mark.parametrize('delay', [0, 10, 30, 59.5])
@pytest.mark.parametrize('step', [20, 60, 300])
def test_gaps_stay_where_they_are(step, delay):
    """A step without a sample is a row without one, on a shifted grid too: the sample before it is not taken twice."""
    start = T0 // step * step - delay
    asked = start + step * np.arange(-1, 50)
    times = np.delete(np.floor(asked / step) * step, 20)
    rows = grid.rows(times, start, step, 50)
    assert sorted(set(range(50)) - set(rows)) == [19]


def test_a_step_that_is_no_whole_millisecond_does_not_drift_off_its_row():
    """Servers count in milliseconds: after ten thousand steps of 2000/7 s they are seconds away from where they were asked to be."""
    step, count = 2000 / 7, 10_000
    rows = grid.rows(T0 + np.arange(count) * round(step, 3), T0, step, count)
    assert rows.tolist() == list(range(count))


def test_what_lies_far_away_is_left_out():
    """Samples of another time belong to no row and do not move the others."""
    assert grid.rows(np.array([-1e300, T0 - 200.0, T0, T0 + 60.0, T0 + 1e6 + 7, 1e300]), T0, 60.0, 2).tolist() == [-1, -1, 0, 1, -1, -1]
    assert grid.rows(np.empty(0), T0, 60.0, 5).tolist() == []
