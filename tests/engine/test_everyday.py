"""What the model `builtin:default` does in everyday life: injected faults and healthy rhythms through the code that serves.

Steps of five minutes keep weeks short. Every series is made here, so the right answer is known.
"""

import numpy as np
import pytest

from promlstm.engine import detector
from promlstm.engine.columns import Frame
from promlstm.engine.memory import blank
from promlstm.engine.score import Policy
from promlstm.engine.session import load, resolve

pytestmark = pytest.mark.slow  # days of a model are replayed

STEP, DAY = 300, 288  # seconds; steps in a day
START = 1_760_054_400  # a midnight in UTC
HOUR = DAY // 24


@pytest.fixture(scope='module')
def session():
    return load(resolve('builtin:default'), threads=1, prove=False)


def judged(session, *columns):
    """Verdicts of each step for series of equal length, at a budget of one alarm a week; a list."""
    values = np.stack(columns, 1)[:, :, None]
    settings = detector.Settings(STEP, policy=Policy(hold_seconds=3600, settle_seconds=20 * STEP), alarms_per_week=1.0)
    memory = blank(session, detector.UTC, values.shape[1], 1)
    frames = (Frame(START + STEP * t, row) for t, row in enumerate(values))
    return [verdicts for verdicts, _ in detector.replay(session, settings, memory, frames)]


def alarming(verdicts):
    """bool [T, N]: the score is 1 or more."""
    return np.nan_to_num(np.stack([each.score for each in verdicts])) >= 1


def noise(steps, seed):
    return np.random.default_rng(seed).standard_normal(steps)


def nightly(days, seed, *, without=(), long=()):
    """A series with an hour of load from two o'clock on every night; none on some nights, three hours on others."""
    steps = np.arange(days * DAY)
    day, of_day = steps // DAY, steps % DAY
    load = (of_day >= 2 * HOUR) & (of_day < np.where(np.isin(day, long), 5, 3) * HOUR) & ~np.isin(day, without)
    return 5 + 0.2 * noise(len(steps), seed) + np.where(load, 80, 0)


def by_day(alarms):
    """bool [days, N]"""
    return alarms.reshape(-1, DAY, alarms.shape[1]).any(1)


def test_a_nightly_job_is_normal_after_two_nights_and_missed_when_it_does_not_come_or_does_not_end(session):
    verdicts = judged(session, nightly(12, 1), nightly(12, 2, without=(10,)), nightly(12, 3, long=(10,)))
    days = by_day(alarming(verdicts))
    assert days[1:3].all(), 'the first nights are unusual (before them it is still warming up)'
    assert not days[3:10].any(), 'later ones are not'
    assert not days[10:, 0].any()
    assert days[10, 1:].all()
    recurring = by_day(np.stack([each.recurring for each in verdicts]) > 0)
    assert recurring[4:10, 0].all() and not recurring[10, 1], 'what is normal only because it recurs is shown'
    name = session.bundle.manifest.views.index('missing_event')
    missed = [each for each in verdicts[10 * DAY : 11 * DAY] if each.score[1] >= 1 and np.argmax(each.view[1]) == name]
    assert missed, 'the alarm says that an event is missing'


@pytest.mark.parametrize('place', [0, 5, 8, 9, 39, 700])
def test_one_wild_sample_is_forgotten_within_an_hour(session, place):
    """Whatever its size and wherever it falls, in the warm-up too: a shift is as surprising as without it, before what is taken off of any new series."""
    wild = [1e3, 1e6, 1e9, 2.0**63, -1e15, 1e300]
    later = max(place, 60) + 60
    columns = [100 + noise(later + 60, 4) for _ in range(len(wild) + 1)]
    for column in columns:
        column[later : later + 20] += 15
    for column, size in zip(columns[1:], wild, strict=True):
        column[place] = size
    peaks = np.nanmax([each.surprise for each in judged(session, *columns)[later : later + 20]], 0)
    assert peaks[0] > 2.5
    peaks += 0.34       # of 0.4 at first, what is taken off yet of the oldest of these series
    assert (peaks[1:] > 0.9 * peaks[0]).all(), peaks


def test_a_lasting_shift_is_one_alarm_and_the_way_back_is_none(session):
    x = 100 + 5 * noise(5 * DAY, 5)
    x[3 * DAY : 4 * DAY] += 60
    alarms = alarming(judged(session, x))[:, 0]
    edges = np.flatnonzero(np.diff(np.r_[0, alarms.astype(int), 0]))
    assert len(edges) == 2 and edges[0] in range(3 * DAY, 3 * DAY + 3)


def test_a_shift_that_brings_noise_is_one_alarm(session):
    """While an alarm is held its noise is measured; the new level is judged by it, and not by the noise of before."""
    shifted = 3 * DAY
    x = 20 + 0.6 * noise(5 * DAY, 8)
    x[shifted:] = 100 + 4 * noise(2 * DAY, 9)
    alarms = alarming(judged(session, x))[:, 0]
    assert alarms[shifted : shifted + 3].any()
    assert not alarms[shifted + HOUR + 3 :].any()


def test_a_trend_is_normal_when_the_memory_of_the_week_begins(session):
    """A series without history is compared with yesterday for a week, then with a week ago, from which a trend is seven times as far."""
    t = np.arange(9 * DAY)
    alarms = alarming(judged(session, 90 - t / DAY, 4e11 - 1e10 * t / DAY + 1e8 * noise(len(t), 10)))
    assert not alarms.any(), np.argwhere(alarms)


def test_values_that_stand_for_several_steps_are_no_flood(session):
    """A series that is scraped every half an hour and asked for every five minutes: to the LSTM it looks strange, and its usual logit says so."""
    columns = [100 + 20 * np.repeat(noise(8 * DAY // 6, seed), 6) for seed in range(4)]
    alarms = alarming(judged(session, *columns))[2 * DAY :]
    assert (np.diff(alarms.astype(int), axis=0) == 1).sum() <= 6, 'one and a half a week each'


def test_events_at_random_times_are_not_missed_when_they_do_not_come(session):
    steps = np.repeat(np.random.default_rng(11).choice([10.0, 40.0], (10 * DAY // 6, 4)), 6, axis=0)
    verdicts = judged(session, *(steps + 0.5 * np.random.default_rng(12).standard_normal(steps.shape)).T)
    name = session.bundle.manifest.views.index('missing_event')
    assert not any(((each.score >= 1) & (each.view.argmax(1) == name)).any() for each in verdicts)


def test_a_constant_that_moves_by_a_small_part_of_itself_is_normal(session):
    columns = [np.full(3 * DAY, value, float) for value in (50, 90, 200, 1, 3)]
    for column, after in zip(columns, (51, 89, 201, 0.999, 2), strict=True):
        column[2 * DAY :] = after
    found = alarming(judged(session, *columns)).any(0)
    assert found.tolist() == [False, False, False, False, True], 'three replicas of which one is lost are an alarm'


def test_a_value_that_stands_still_is_a_flat_line_or_a_pattern(session):
    t = np.arange(6 * DAY)
    x = 100 + 20 * np.sin(2 * np.pi * t / DAY) + 2 * noise(len(t), 6)
    x[5 * DAY : 5 * DAY + 60] = x[5 * DAY]
    alarms = alarming(judged(session, x))[:, 0]
    assert alarms[5 * DAY : 5 * DAY + 60].any() and not alarms[2 * DAY : 5 * DAY].any()


def test_the_band_is_one_that_a_person_believes(session):
    """Around the series, never below 0 where the series has never been, and narrower than a single sample's would be."""
    share = np.clip(0.03 + 0.01 * noise(4 * DAY, 7), 0, 1)
    last = judged(session, share)[-DAY:]
    lower, upper = (np.array([getattr(each, name)[0, 0] for each in last]) for name in ('lower', 'upper'))
    assert (lower >= 0).all() and (upper < 0.15).all(), (lower.min(), upper.max())
    assert ((share[-DAY:] >= lower) & (share[-DAY:] <= upper)).mean() > 0.985


def test_a_heavy_tail_is_not_an_alarm_a_day(session):
    columns = [0.05 * np.exp(0.8 * noise(14 * DAY, seed)) for seed in range(8)]
    days = by_day(alarming(judged(session, *columns)))[3:]
    assert days.sum() / days.size * 7 < 2


@pytest.mark.parametrize('constant', [0.0, 5.0])
@pytest.mark.parametrize('place', [0, 5, 8, DAY // 2])
def test_a_wild_sample_does_not_blind_a_constant(session, constant, place):
    """A day later the same change is an alarm as if the sample had not been there."""
    columns = [np.full(2 * DAY, constant) for _ in range(3)]
    for column, size in zip(columns, (None, 1e4, 2.0**63), strict=True):
        column[place] = size or constant
        column[2 * DAY - 10 :] += 5
    found = alarming(judged(session, *columns))
    assert not found[place + 20 : 2 * DAY - 10].any()
    assert found[2 * DAY - 10 :].any(0).all()


def test_band_and_usual_range_are_those_of_the_series(session):
    """Never below 0 for what has never been negative, never above 1 for a share; 99 % of healthy samples are inside the usual range."""
    steps = np.arange(8 * DAY)
    busy = 0.9 + 0.09 * np.sin(steps / 40) + 0.005 * noise(len(steps), 1)
    latency = 0.05 * np.exp(noise(len(steps), 2))
    signed = 3 * noise(len(steps), 3)
    verdicts = judged(session, np.minimum(busy, 1), latency, signed)[3 * DAY :]
    column = lambda name: np.stack([getattr(each, name)[:, 0] for each in verdicts])       # noqa: E731
    for low, high in (('lower', 'upper'), ('usual_lower', 'usual_upper')):
        assert (column(low)[:, :2] >= 0).all() and (column(high)[:, 0] <= 1).all() and (column(low)[:, 2] < 0).mean() > 0.99
        between = (column(low) <= column('expected')) & (column('expected') <= column(high))
        assert between.mean() > 0.99 and (low != 'lower' or between.all())
    inside = ((column('observed') >= column('usual_lower')) & (column('observed') <= column('usual_upper'))).mean(0)
    assert ((inside > 0.98) & (inside < 0.997)).all(), inside
    assert (np.median(column('usual_upper') - column('usual_lower'), 0) < np.median(column('upper') - column('lower'), 0)).all()
