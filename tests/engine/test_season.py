"""The seasonal memory: what it recalls for an instant, how exact it is, and that an old memory never changes."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promlstm.engine.season import DAY, WEEK, Season, clock, local_seconds

UTC, BERLIN = ZoneInfo('UTC'), ZoneInfo('Europe/Berlin')
HOUR = 3600
MONDAY = 4 * DAY  # 1970-01-05


def blank(rows=1, features=1, *, period=DAY, slots=24, zone=UTC):
    return Season.blank(rows, features, period_seconds=period, slots=slots, zone=zone)


def learnt(season, time, value):
    """The memory after the graph asked for `value` at that instant (scalar or float64 [N, F])."""
    wanted = np.broadcast_to(np.float64(value), season.anchor.shape)
    return season.remember(time, wanted, season.recall(time, (), 60)[..., 0])


def at(season, time):
    return season.recall(time, (), 60)[..., 0]


def berlin(*when, fold=0):
    return datetime(*when, tzinfo=BERLIN, fold=fold).timestamp()


def same(one, other):
    """Whether two memories recall the same at every half slot of their period."""
    instants = np.arange(2 * len(one.columns)) * one.period_seconds / len(one.columns) / 2
    return len(one.columns) == len(other.columns) and all(np.array_equal(at(one, t), at(other, t), equal_nan=True) for t in instants)


# -- recall


def test_nothing_is_known_at_first():
    """A blank memory recalls NaN, in the shape of the model input."""
    got = blank(3, 2, period=WEEK, slots=336).recall(MONDAY, (1, 5, 15), 60)
    assert got.shape == (3, 2, 4) and np.isnan(got).all() and got.dtype == np.float64


def test_what_was_remembered_is_recalled_a_period_later():
    """A slot gives its value in every later period."""
    season = learnt(blank(period=WEEK, slots=336), MONDAY + 9 * HOUR, 7)
    assert at(season, MONDAY + 9 * HOUR + 5 * WEEK) == 7


def test_recall_interpolates_between_two_slots():
    """A steep rise has no steps: between two slots the value is linear."""
    season = learnt(learnt(blank(), 8 * HOUR, 100), 9 * HOUR, 200)
    got = [at(season, 8 * HOUR + minutes * 60).item() for minutes in (0, 15, 30, 45, 60)]
    assert got == [100, 125, 150, 175, 200]


def test_recall_interpolates_over_midnight():
    """The first slot follows the last."""
    season = learnt(learnt(blank(), 23 * HOUR, 10), 0, 20)
    assert at(season, 23 * HOUR + 1800) == 15


@pytest.mark.parametrize('known', [8, 9])
def test_next_to_an_unknown_slot_the_known_one_counts(known):
    """Between a known and an unknown slot the known value is recalled."""
    assert at(learnt(blank(), known * HOUR, 5), 8 * HOUR + 1800) == 5


def test_an_unknown_day_is_filled_from_the_days_before():
    """One day of history is enough to begin with; of several days the latest counts."""
    season = blank(period=WEEK, slots=168)
    season = learnt(season, MONDAY + 9 * HOUR, 1)
    assert [at(season, MONDAY + day * DAY + 9 * HOUR).item() for day in range(7)] == [1] * 7
    season = learnt(season, MONDAY + 2 * DAY + 9 * HOUR, 3)
    assert [at(season, MONDAY + day * DAY + 9 * HOUR).item() for day in range(7)] == [1, 1, 3, 3, 3, 3, 3]
    assert np.isnan(at(season, MONDAY + 12 * HOUR))


def test_horizons_look_ahead_in_steps():
    """Each horizon gives the usual value at that many steps later."""
    season = blank()
    for hour in range(24):
        season = learnt(season, hour * HOUR, hour)
    got = season.recall(6 * HOUR, (1, 2, 12), HOUR)
    assert got.ravel().tolist() == [6, 7, 8, 18]


def test_a_model_without_season_has_no_memory():
    """It gets NaN, and remembering does nothing."""
    season = blank(2, 1, period=0, slots=0)
    assert np.isnan(season.recall(0, (1, 5), 60)).all()
    assert season.remember(0, np.ones((2, 1)), np.ones((2, 1))) is season
    assert season.fill([0, 60], np.ones((2, 2, 1))) is season


# -- local time


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ((2026, 3, 28, 9), (2026, 3, 29, 9)),
        ((2026, 3, 28, 9), (2026, 3, 30, 9)),
        ((2026, 10, 24, 9), (2026, 10, 25, 9)),
        ((2026, 7, 1, 0), (2026, 12, 1, 0)),
    ],
)
def test_daylight_saving_time_keeps_a_daily_job_in_its_slot(before, after):
    """Nine o'clock in Berlin is the same slot in summer and winter: 23, 24 or 25 hours later."""
    season = learnt(blank(zone=BERLIN), berlin(*before), 42)
    assert at(season, berlin(*after)) == 42
    assert (berlin(*after) - berlin(*before)) % DAY in (0, HOUR, 23 * HOUR) and np.isnan(at(season, berlin(*after) + 2 * HOUR))


def test_the_repeated_hour_in_autumn_is_the_same_slot():
    """Half past two is the same slot both times."""
    first, second = berlin(2026, 10, 25, 2, 30), berlin(2026, 10, 25, 2, 30, fold=1)
    season = blank(zone=BERLIN, slots=48)
    assert second - first == HOUR and season.slot(first) == season.slot(second)


def test_the_weekly_slot_is_that_of_the_local_weekday():
    """Sunday evening in Honolulu is Sunday, though it is Monday in UTC."""
    zone = ZoneInfo('Pacific/Honolulu')
    sunday = datetime(2026, 3, 8, 20, tzinfo=zone).timestamp()
    season = learnt(blank(period=WEEK, slots=168, zone=zone), sunday, 1)
    assert season.slot(sunday + WEEK) == season.slot(sunday)
    assert season.position(sunday) == pytest.approx((local_seconds(sunday, zone) % WEEK) / HOUR)


@given(
    st.floats(0, 4e9, allow_nan=False),
    st.sampled_from(['UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'America/New_York', 'Pacific/Kiritimati']),
)
def test_the_clock_is_local_time(time, name):
    """Hour and weekday of the model input are those of the time zone, at every instant."""
    zone = ZoneInfo(name)
    wall, got = datetime.fromtimestamp(time, zone), clock(time, zone)
    hour = (wall.hour + wall.minute / 60 + wall.second / 3600) / 24 * 2 * np.pi
    day = wall.weekday() / 7 * 2 * np.pi
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [np.sin(hour), np.cos(hour), np.sin(day), np.cos(day)], atol=2e-4)


# -- remember


def test_the_slot_moves_by_the_change_of_the_graph():
    """Between two slots the graph gets an interpolated value: the nearer slot moves by its change, the other does not move."""
    season = learnt(learnt(blank(), 8 * HOUR, 100), 9 * HOUR, 200)
    season = season.remember(8 * HOUR + 900, np.array([[131.0]]), at(season, 8 * HOUR + 900))
    assert (at(season, 8 * HOUR), at(season, 9 * HOUR)) == (106, 200)


def test_nan_leaves_the_slot():
    """Without a sample nothing is learnt."""
    season = learnt(blank(2), 0, [[1.0], [2.0]])
    after = season.remember(0, np.array([[np.nan], [4.0]]), at(season, 0))
    assert at(after, 0).ravel().tolist() == [1, 4]


def test_remembering_what_was_recalled_changes_nothing():
    """If the graph returns its input, a known slot keeps every bit."""
    season = learnt(learnt(blank(), 8 * HOUR, 0.1), 9 * HOUR, 0.7)
    shown = at(season, 8 * HOUR + 1000)
    assert same(season.remember(8 * HOUR + 1000, shown, shown), season)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.sampled_from([1e12, -3.7e12, 2.0**43]))
def test_a_terabyte_is_kept_to_the_byte(first, second, level):
    """Offsets about an anchor of their own: a thousand bytes about a terabyte are off by less than a thousandth of a byte.

    In float32 alone a terabyte has a grain of 64 KiB, and in float64 one of 0.1 to 1 mB, which is the tolerance.
    """
    season = learnt(learnt(blank(), 0, level + first), HOUR, level + second)
    assert at(season, 0) == pytest.approx(level + first, abs=1e-3)
    assert at(season, HOUR) == pytest.approx(level + second, abs=1e-3)
    assert at(season, 1800) == pytest.approx(level + (first + second) / 2, abs=2e-3)


@given(st.integers(-(10**9), 10**9))
def test_far_from_the_anchor_the_error_stays_small_against_the_deviation(offset):
    """At a distance d from the anchor the error is at most the float32 resolution of d."""
    season = learnt(learnt(blank(), 0, 1e12), HOUR, 1e12 + offset)
    assert at(season, HOUR) == pytest.approx(1e12 + offset, abs=1e-3 + abs(offset) * 2.0**-23)


@pytest.mark.parametrize('step', [900, 600, 300, 60])
def test_every_slot_gets_equally_many_steps(step):
    """Instants in the middle between two slots do not all go to the even ones."""
    season = blank(slots=48)
    assert set(np.bincount([season.slot(t) for t in range(0, DAY, step)])) == {1800 // step}


# -- fill


def test_coarse_history_fills_slots_with_means():
    """A slot takes the mean of the samples around it; a slot without samples stays unknown."""
    times = np.arange(0, 6 * HOUR, 600)
    season = blank(1).fill(times, (times // HOUR)[:, None, None].astype(float))
    known = ~np.isnan(season.recall(0, range(1, 24), HOUR).ravel())
    assert known.tolist() == [True] * 7 + [False] * 17
    assert at(season, 3 * HOUR).item() == pytest.approx(2.5, abs=0.2)


def test_a_later_day_moves_the_slot_by_its_weight():
    """With a weight of 0.5, yesterday counts as much as all the days before."""
    times = np.array([0, DAY, 2 * DAY])
    season = blank().fill(times, np.array([10.0, 20, 40])[:, None, None])
    assert at(season, 0) == 27.5
    assert at(blank().fill(times, np.array([10.0, 20, 40])[:, None, None], weight=0.25), 0) == 19.375


def test_missing_and_infinite_samples_do_not_count():
    """The mean is that of the finite samples; without any, the slot stays as it was."""
    values = np.array([[4.0, np.nan], [np.inf, np.nan], [np.nan, np.nan], [8.0, -np.inf]])[..., None]
    season = blank(2).fill([0, 10, 20, 30], values)
    np.testing.assert_array_equal(at(season, 0), [[6], [np.nan]])
    assert np.isnan(season.anchor[1])


def test_filling_in_two_parts_is_filling_at_once():
    """History comes in several answers: split between two slots, they give the same memory."""
    times = np.arange(0, 2 * DAY, 900)
    values = np.random.default_rng(3).normal(10, 1, (len(times), 3, 2))
    cut = 38  # between two slots: 37 × 900 s is nearest to nine o'clock, 38 × 900 s goes to ten
    whole, parts = blank(3, 2).fill(times, values), blank(3, 2).fill(times[:cut], values[:cut]).fill(times[cut:], values[cut:])
    assert whole.slot(times[cut - 1]) != whole.slot(times[cut])
    assert same(whole, parts)


# -- rows

ROWS = st.lists(st.integers(0, 5), unique=True, min_size=1, max_size=6).map(lambda rows: np.array(rows, int))
STEPS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**31)), max_size=8)


def walked(season, steps, rows, columns=6):
    """The memory of `rows` out of six entities after some steps; the samples of an entity do not depend on the other rows."""
    for half_hours, seed in steps:
        values = np.random.default_rng(seed).normal(100, 10, (columns, 1))
        values[np.random.default_rng(seed + 1).random(columns) < 0.3] = np.nan
        season = learnt(season, half_hours * 1800, values[rows])
    return season


@given(STEPS, STEPS, ROWS)
def test_rows_are_independent(before, after, rows):
    """take gives the memory that these rows would have alone, and put writes it back into their rows."""
    every = np.arange(6)
    together, alone = walked(blank(6), before, every), walked(blank(len(rows)), before, rows)
    assert same(together.take(rows), alone)
    apart = walked(together.take(rows), after, rows)
    assert same(apart, walked(alone, after, rows))
    back, rest = together.put(rows, apart), np.setdiff1d(every, rows)
    assert same(back.take(rows), apart)
    assert same(back.take(rest), together.take(rest))


@given(STEPS, STEPS, st.integers(0, 6))
def test_later_entities_start_blank(before, after, known):
    """grown adds rows of which nothing is known, and does not change the other rows."""
    rows, everyone = np.arange(known), np.arange(6)
    grown = walked(walked(blank(known), before, rows).grown(6), after, everyone)
    assert same(grown.take(rows), walked(walked(blank(known), before, rows), after, rows))
    assert same(grown.take(everyone[known:]), walked(blank(6 - known), after, everyone[known:]))


@given(STEPS, st.integers(0, 40))
def test_a_memory_is_never_changed(steps, half_hours):
    """Whatever is derived from it, the old memory recalls the same values, bit by bit."""
    old = walked(blank(6), steps, np.arange(6))
    for array in (old.anchor, *old.columns):
        array.flags.writeable = False
    before = [array.tobytes() for array in (old.anchor, *old.columns)]
    new = learnt(old, half_hours * 1800, 5)
    new.fill([0, HOUR], np.ones((2, 6, 1)))
    old.put(np.array([3]), new.take(np.array([3])))
    old.grown(9), old.take(np.array([1, 2])), old.recall(0, (1,), 60)
    assert [array.tobytes() for array in (old.anchor, *old.columns)] == before
    changed = [one is not other for one, other in zip(old.columns, new.columns, strict=True)]
    assert sum(changed) == 1  # a step costs one slot
