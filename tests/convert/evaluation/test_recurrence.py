"""An event recurs where it came at the same time of day, and as large, on two of the seven days before."""

import numpy as np
import pytest

from convert.evaluation import recurrence, replay
from promlstm.engine import session as sessions


def sizes(step_seconds, days, at, size=5.0):
    """Ordinary days, with something of a size at the same time of some of them."""
    per_day = round(86400 / step_seconds)
    out = np.full(10 * per_day, 0.5)
    for day in days:
        out[day * per_day + at : day * per_day + at + 2] = size
    return out, [(9 * per_day + at, 9 * per_day + at + 2)]


@pytest.mark.parametrize('step_seconds', [60, 300, 3600])
@pytest.mark.parametrize(('days', 'recurs'), [([9], False), ([8, 9], False), ([7, 8, 9], True), ([2, 8, 9], True), ([0, 1, 9], False), (range(10), True)])
def test_two_of_the_seven_days_before(days, recurs, step_seconds):
    """Not one, and not two that are longer ago."""
    series, events = sizes(step_seconds, days, round(0.4 * 86400 / step_seconds))
    assert recurrence.recurring(series, events, step_seconds).tolist() == [recurs]


@pytest.mark.parametrize(('minutes', 'recurs'), [(10, True), (25, False)])
def test_a_quarter_of_an_hour_more_or_less(minutes, recurs):
    series, _ = sizes(60, range(9), 700)
    series[9 * 1440 + 700 + minutes] = 5
    at = 9 * 1440 + 700 + minutes
    assert recurrence.recurring(series, [(at, at + 1)], 60).tolist() == [recurs]


@pytest.mark.parametrize(('size', 'recurs'), [(5.3, True), (6.0, False)])
def test_as_large(size, recurs):
    """Twice as far is another event."""
    series, events = sizes(60, range(9), 700)
    series[slice(*events[0])] = size
    assert recurrence.recurring(series, events, 60).tolist() == [recurs]


def test_what_is_ordinary_recurs_in_no_sense():
    """A small event on a day like all others: nobody would call it a habit."""
    series, events = sizes(60, range(10), 700, size=1.5)
    assert not recurrence.recurring(series, events, 60).any()


def test_a_step_of_hours_has_no_time_of_day():
    assert not recurrence.recurring(np.full(40, 9.0), [(30, 31)], 43200).any()


@pytest.mark.slow
def test_a_model_that_forgets_the_days_before_takes_the_nightly_job_for_new():
    """From the third night on the shipped model knows it; without that table the surprise stays beyond the threshold, and all else is as before."""
    session = sessions.load(sessions.resolve('builtin:default'), threads=1, prove=False)
    step, day, days = 900.0, 96, 8
    values = 10 + 0.3 * np.random.default_rng(1).normal(size=(day * days, 2, 1))
    nights = day * np.arange(days) + 12
    values[nights, 0] += 8
    times = 1_750_032_000.0 + step * np.arange(day * days)
    known, forgotten = (
        replay.surprises(each, times, values, step_seconds=step) for each in (session, replay.Forgetful(session, recurrence.TABLE))
    )
    assert (known[nights[3:], 0] < forgotten[nights[3:], 0] - 0.3).all()
    np.testing.assert_array_equal(known[:, 1], forgotten[:, 1])
