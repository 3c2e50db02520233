"""What the model `builtin:default` does in everyday life: injected faults and healthy rhythms through the code that serves.

Steps of five minutes keep weeks short. Every series is made here, so the right answer is known. All are replayed at once, as a fleet: no
series depends on another one, and a step of many costs hardly more than a step of one.
"""

from dataclasses import fields, replace

import numpy as np
import pytest

from promlstm.engine import advance
from promlstm.engine.columns import Frame
from promlstm.engine.memory import blank
from promlstm.engine.score import Policy
from promlstm.engine.session import load, resolve

pytestmark = pytest.mark.slow  # days of a model are replayed

STEP, DAY = 300, 288  # seconds; steps in a day
START = 1_760_054_400  # a midnight in UTC
HOUR = DAY // 24


FLEET = {}  # what is tested: its series, of equal length


def judged_as(*case):
    """Puts the series that a function makes into the fleet."""

    def put(function):
        FLEET[function.__name__, *case] = np.stack(function(*case), 1)[:, :, None]
        return function

    return put


@pytest.fixture(scope='module')
def session():
    return load(resolve('builtin:default'), threads=1, prove=False)


@pytest.fixture(scope='module')
def judged(session):
    """A function that gives the verdicts of each step on the series of a function, at a budget of one alarm a week; a list."""
    lengths, rows = [len(each) for each in FLEET.values()], np.cumsum([0, *(each.shape[1] for each in FLEET.values())])
    values = np.full((max(lengths), rows[-1], 1), np.nan)
    for series, length, row in zip(FLEET.values(), lengths, rows, strict=False):
        values[:length, row : row + series.shape[1]] = series
    settings = advance.Settings(STEP, policy=Policy(hold_seconds=3600, settle_seconds=20 * STEP), alarms_per_week=1.0)
    memory = blank(session, advance.UTC, values.shape[1], 1)
    frames = (Frame(START + STEP * t, row) for t, row in enumerate(values))
    every = [verdicts for verdicts, _ in advance.replay(session, settings, memory, frames)]
    places = {name: (length, slice(*rows[n : n + 2])) for n, (name, length) in enumerate(zip(FLEET, lengths, strict=True))}

    def of(function, *case):
        length, own = places[function.__name__, *case]
        return [part(verdicts, own) for verdicts in every[:length]]

    return of


def part(verdicts, rows):
    """The Verdicts on some of the rows."""
    columns = {each.name: getattr(verdicts, each.name) for each in fields(verdicts)}
    return replace(verdicts, **{name: column[rows] for name, column in columns.items() if isinstance(column, np.ndarray)})


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


@judged_as()
def nightly_jobs():
    return nightly(12, 1), nightly(12, 2, without=(10,)), nightly(12, 3, long=(10,))


def test_a_nightly_job_is_normal_after_two_nights_and_missed_when_it_does_not_come_or_does_not_end(session, judged):
    verdicts = judged(nightly_jobs)
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


def wild_at_any_time(days, seed):
    """A series with six wild samples a day, at random times."""
    rng = np.random.default_rng(seed)
    x = 5 + 0.2 * noise(days * DAY, seed)
    for day in range(days):
        x[day * DAY + rng.choice(DAY, 6, replace=False)] += 8
    return x


@judged_as()
def many_events():
    return [wild_at_any_time(12, 20 + n) for n in range(12)]


def test_where_events_come_at_all_times_two_at_the_same_time_are_chance(judged):
    """With six a day, two of the seven days before had one within half an hour for a third of them; three days have to agree there."""
    recurring = np.stack([each.recurring for each in judged(many_events)]) > 0
    events = many_events_of_day(7)
    assert 300 < events.sum() < 400 and recurring[events].mean() < 0.2


def many_events_of_day(first):
    """bool [T, N]: where the wild samples are from a day on."""
    events = np.stack(many_events(), 1) > 10
    events[: first * DAY] = False
    return events


WILD = [1e3, 1e6, 1e9, 2.0**63, -1e15, 1e300]
PLACES = [0, 5, 8, 9, 39, 700]


def shift_after(place):
    """The step at which a shift comes after a wild sample."""
    return max(place, 60) + 60


def wild_samples(place):
    """A series without a wild sample, and one with each, which all shift later."""
    later = shift_after(place)
    columns = [100 + noise(later + 60, 4) for _ in range(len(WILD) + 1)]
    for column in columns:
        column[later : later + 20] += 15
    for column, size in zip(columns[1:], WILD, strict=True):
        column[place] = size
    return columns


for place in PLACES:
    judged_as(place)(wild_samples)


@pytest.mark.parametrize('place', PLACES)
def test_one_wild_sample_is_forgotten_within_an_hour(judged, place):
    """Whatever its size and wherever it falls, in the warm-up too: a shift is as surprising as without it, before what is taken off of any new series."""
    later = shift_after(place)
    peaks = np.nanmax([each.surprise for each in judged(wild_samples, place)[later : later + 20]], 0)
    assert peaks[0] > 2.5
    peaks += 0.34       # of 0.4 at first, what is taken off yet of the oldest of these series
    assert (peaks[1:] > 0.9 * peaks[0]).all(), peaks


@judged_as()
def lasting_shift():
    x = 100 + 5 * noise(5 * DAY, 5)
    x[3 * DAY : 4 * DAY] += 60
    return [x]


def test_a_lasting_shift_is_one_alarm_and_the_way_back_is_none(judged):
    alarms = alarming(judged(lasting_shift))[:, 0]
    edges = np.flatnonzero(np.diff(np.r_[0, alarms.astype(int), 0]))
    assert len(edges) == 2 and edges[0] in range(3 * DAY, 3 * DAY + 3)


@judged_as()
def noisy_shift():
    return [np.concatenate([20 + 0.6 * noise(5 * DAY, 8)[: 3 * DAY], 100 + 4 * noise(2 * DAY, 9)])]


def test_a_shift_that_brings_noise_is_one_alarm(judged):
    """While an alarm is held its noise is measured; the new level is judged by it, and not by the noise of before."""
    shifted, alarms = 3 * DAY, alarming(judged(noisy_shift))[:, 0]
    assert alarms[shifted : shifted + 3].any()
    assert not alarms[shifted + HOUR + 3 :].any()


@judged_as()
def trends():
    t = np.arange(9 * DAY)
    return 90 - t / DAY, 4e11 - 1e10 * t / DAY + 1e8 * noise(len(t), 10)


def test_a_trend_is_normal_when_the_memory_of_the_week_begins(judged):
    """A series without history is compared with yesterday for a week, then with a week ago, from which a trend is seven times as far."""
    alarms = alarming(judged(trends))
    assert not alarms.any(), np.argwhere(alarms)


@judged_as()
def half_hourly():
    return [100 + 20 * np.repeat(noise(8 * DAY // 6, seed), 6) for seed in range(4)]


def test_values_that_stand_for_several_steps_are_no_flood(judged):
    """A series that is scraped every half an hour and asked for every five minutes: to the LSTM it looks strange, and its usual logit says so."""
    alarms = alarming(judged(half_hourly))[2 * DAY :]
    assert (np.diff(alarms.astype(int), axis=0) == 1).sum() <= 6, 'one and a half a week each'


@judged_as()
def random_events():
    steps = np.repeat(np.random.default_rng(11).choice([10.0, 40.0], (10 * DAY // 6, 4)), 6, axis=0)
    return (steps + 0.5 * np.random.default_rng(12).standard_normal(steps.shape)).T


def test_events_at_random_times_are_not_missed_when_they_do_not_come(session, judged):
    verdicts = judged(random_events)
    name = session.bundle.manifest.views.index('missing_event')
    assert not any(((each.score >= 1) & (each.view.argmax(1) == name)).any() for each in verdicts)


@judged_as()
def moving_constants():
    columns = [np.full(3 * DAY, value, float) for value in (50, 90, 200, 1, 3)]
    for column, after in zip(columns, (51, 89, 201, 0.999, 2), strict=True):
        column[2 * DAY :] = after
    return columns


def test_a_constant_that_moves_by_a_small_part_of_itself_is_normal(judged):
    found = alarming(judged(moving_constants)).any(0)
    assert found.tolist() == [False, False, False, False, True], 'three replicas of which one is lost are an alarm'


@judged_as()
def standing_still():
    t = np.arange(6 * DAY)
    x = 100 + 20 * np.sin(2 * np.pi * t / DAY) + 2 * noise(len(t), 6)
    x[5 * DAY : 5 * DAY + 60] = x[5 * DAY]
    return [x]


def test_a_value_that_stands_still_is_a_flat_line_or_a_pattern(judged):
    alarms = alarming(judged(standing_still))[:, 0]
    assert alarms[5 * DAY : 5 * DAY + 60].any() and not alarms[2 * DAY : 5 * DAY].any()


@judged_as()
def small_share():
    return [np.clip(0.03 + 0.01 * noise(4 * DAY, 7), 0, 1)]


def test_the_band_is_one_that_a_person_believes(judged):
    """Around the series, never below 0 where the series has never been, and narrower than a single sample's would be."""
    (share,), last = small_share(), judged(small_share)[-DAY:]
    lower, upper = (np.array([getattr(each, name)[0, 0] for each in last]) for name in ('lower', 'upper'))
    assert (lower >= 0).all() and (upper < 0.15).all(), (lower.min(), upper.max())
    assert ((share[-DAY:] >= lower) & (share[-DAY:] <= upper)).mean() > 0.985


@judged_as()
def heavy_tails():
    return [0.05 * np.exp(0.8 * noise(14 * DAY, seed)) for seed in range(8)]


def test_a_heavy_tail_is_not_an_alarm_a_day(judged):
    days = by_day(alarming(judged(heavy_tails)))[3:]
    assert days.sum() / days.size * 7 < 2


CONSTANTS = [(constant, place) for constant in (0.0, 5.0) for place in (0, 5, 8, DAY // 2)]


def wild_constants(constant, place):
    columns = [np.full(2 * DAY, constant) for _ in range(3)]
    for column, size in zip(columns, (None, 1e4, 2.0**63), strict=True):
        column[place] = size or constant
        column[2 * DAY - 10 :] += 5
    return columns


for case in CONSTANTS:
    judged_as(*case)(wild_constants)


@pytest.mark.parametrize(('constant', 'place'), CONSTANTS)
def test_a_wild_sample_does_not_blind_a_constant(judged, constant, place):
    """A day later the same change is an alarm as if the sample had not been there."""
    found = alarming(judged(wild_constants, constant, place))
    assert not found[place + 20 : 2 * DAY - 10].any()
    assert found[2 * DAY - 10 :].any(0).all()


@judged_as()
def share_latency_and_signed():
    steps = np.arange(8 * DAY)
    busy = 0.9 + 0.09 * np.sin(steps / 40) + 0.005 * noise(len(steps), 1)
    return np.minimum(busy, 1), 0.05 * np.exp(noise(len(steps), 2)), 3 * noise(len(steps), 3)


def test_band_and_usual_range_are_those_of_the_series(judged):
    """Never below 0 for what has never been negative, never above 1 for a share; 99 % of healthy samples are inside the usual range."""
    verdicts = judged(share_latency_and_signed)[3 * DAY :]
    column = lambda name: np.stack([getattr(each, name)[:, 0] for each in verdicts])       # noqa: E731
    for low, high in (('lower', 'upper'), ('usual_lower', 'usual_upper')):
        assert (column(low)[:, :2] >= 0).all() and (column(high)[:, 0] <= 1).all() and (column(low)[:, 2] < 0).mean() > 0.99
        between = (column(low) <= column('expected')) & (column('expected') <= column(high))
        assert between.mean() > 0.99 and (low != 'lower' or between.all())
    inside = ((column('observed') >= column('usual_lower')) & (column('observed') <= column('usual_upper'))).mean(0)
    assert ((inside > 0.98) & (inside < 0.997)).all(), inside
    assert (np.median(column('usual_upper') - column('usual_lower'), 0) < np.median(column('upper') - column('lower'), 0)).all()
