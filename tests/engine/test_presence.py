"""Absence has a rhythm: whoever is away as usual is not missing, whoever is not is told, at every step and in local time."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from fakes import raw

from promlstm.engine.entities import Entities
from promlstm.engine.presence import Presence

HOUR, DAY = 3600.0, 86400.0
MONDAY = datetime(2026, 1, 5, tzinfo=ZoneInfo('UTC')).timestamp()
BERLIN = ZoneInfo('Europe/Berlin')


def table(rows, step, zone='UTC'):
    made = Entities(presence=Presence.blank(ZoneInfo(zone), step))
    made.commit(made.place([[raw(instance=f'i{i}') for i in range(rows)]]), MONDAY)
    return made


def lived(made, there, start, end, step, *, partial=lambda time: False):
    """The spans in which each entity was missing, as steps from start to end passed: per entity, [(first, last step)] in days since MONDAY.

    there  per entity: a function of unix seconds, whether it has a sample
    """
    spans = [[] for _ in there]
    for time in start + step * np.arange(round((end - start) / step)):
        present = np.array([bool(function(time)) for function in there])
        missing = made.missing(present, time, partial=partial(time)) & ~made.forgettable(time, DAY, 3 * step)
        made.mark_seen(present, time, partial=partial(time))
        for row in np.flatnonzero(missing):
            if spans[row] and time - spans[row][-1][1] <= step:
                spans[row][-1][1] = time
            else:
                spans[row].append([time, time])
    return [[((first - MONDAY) / DAY, (last - MONDAY) / DAY) for first, last in of_row] for of_row in spans]


def day(time):
    return int((time - MONDAY) // DAY)


def between(first, last, days=lambda day: True):
    """Present from one hour of the day to another, UTC, on some of the days."""
    return lambda time: days(day(time)) and first * HOUR <= (time - MONDAY) % DAY < last * HOUR


def shifting(first, last, minutes):
    """The same, but begun earlier or later by some minutes, other ones each day."""
    return lambda time: between(first, last)(time - 60 * minutes[day(time) % len(minutes)])


EVERY_DAY_THE_SAME = {
    'twenty minutes a night': between(2, 2 + 1 / 3),
    'five minutes': between(2.2, 2.3),
    'across the border of two slots': between(2.4, 2.7),
    'around a full hour': shifting(2, 2.2, [-5, 4, -3, 5, -4]),
    'as long as the data are large': lambda time: between(3, 4 + [0, 0.4, 0.1, 0.3, 0.2][day(time) % 5])(time),
    'across midnight': lambda time: not between(0.7, 23.6)(time),
    'twice a day': lambda time: between(1, 1.4)(time) or between(13, 13.4)(time),
    'by day': shifting(8, 18, [10, -10, 25, 0, -20]),
    'every three hours': lambda time: between(0, 0.5)(time % (3 * HOUR) + MONDAY),
    'all day but for a maintenance': lambda time: not between(4, 4.5)(time),
    'always': lambda time: True,
    'always, with failed scrapes': lambda time: round(time / 300) % 7 != 0,
}


@pytest.mark.slow
def test_who_comes_and_goes_as_every_day_is_not_missing():
    """Once two days are known of each time of the day; alerts wait for longer than a scrape that failed."""
    spans = lived(table(len(EVERY_DAY_THE_SAME), 300), [*EVERY_DAY_THE_SAME.values()], MONDAY, MONDAY + 15 * DAY, 300)
    late = {name: [span for span in of_row if span[0] > 4] for name, of_row in zip(EVERY_DAY_THE_SAME, spans, strict=True)}
    assert all(last == first for first, last in late.pop('always, with failed scrapes'))
    assert late == {name: [] for name in late}


DAYS_OFF = {
    'a job that rests on the weekend': between(2, 2 + 1 / 3, lambda day: day % 7 < 5),
    'a job that rests on Sundays': between(2, 2 + 1 / 3, lambda day: day % 7 != 6),
    'a host of the office': between(8, 18, lambda day: day % 7 < 5),
    'a service that is off on the weekend': lambda time: day(time) % 7 < 5,
}


@pytest.mark.slow
def test_the_third_weekend_is_as_usual():
    """The same day of the week before excuses."""
    spans = lived(table(len(DAYS_OFF), 300), [*DAYS_OFF.values()], MONDAY, MONDAY + 22 * DAY, 300)
    late = {name: [span for span in of_row if span[0] > 14] for name, of_row in zip(DAYS_OFF, spans, strict=True)}
    assert late == {name: [] for name in DAYS_OFF}


@pytest.mark.slow
def test_a_job_that_did_not_run_is_told_until_it_runs():
    """From half an hour after the slot in which it should have begun; also on the Monday after a weekend off."""
    skips = {9, 21}  # a Wednesday and a Monday
    nightly = between(2, 2 + 1 / 3, lambda day: day not in skips)
    weekdays = between(2, 2 + 1 / 3, lambda day: day % 7 < 5 and day not in skips)
    made = table(2, 300)
    spans = [[span for span in of_row if span[0] > 7] for of_row in lived(made, [nightly, weekdays], MONDAY, MONDAY + 26 * DAY, 300)]
    for of_row in spans:
        assert [first for first, _ in of_row] == pytest.approx([9 + 3 / 24, 21 + 3 / 24])
        assert [last for _, last in of_row] == pytest.approx([10 + 2 / 24 - 300 / DAY, 22 + 2 / 24 - 300 / DAY])


def test_a_job_that_ends_early_is_told_while_it_should_run():
    """And not for the rest of the day."""
    spans = lived(table(1, 300), [lambda time: between(1, 3 if day(time) == 8 else 6)(time)], MONDAY, MONDAY + 10 * DAY, 300)[0]
    assert [span for span in spans if span[0] > 4] == [pytest.approx((8 + 3 / 24, 8 + 5.5 / 24 - 300 / DAY))]


@pytest.mark.slow
def test_a_host_is_told_at_once_at_any_time_for_as_long_as_it_is_away():
    """Although it was away at the same time of the week before; and with nightly jobs beside it."""
    gone = [12 + hour / 24 for hour in (0, 2.1, 7.3, 12, 23.9)]

    def host(gone):
        away = ((gone - 7, gone - 7 + 1 / 12), (gone, gone + 0.9))
        return lambda time: not any(first <= (time - MONDAY) / DAY < last for first, last in away)

    made, jobs = table(len(gone) + 3, 300), 3 * [between(2, 2 + 1 / 3)]
    spans = [[span for span in of_row if span[0] > 7] for of_row in lived(made, [*map(host, gone), *jobs], MONDAY, MONDAY + 14 * DAY, 300)]
    assert spans[: len(gone)] == [[pytest.approx((time, time + 0.9), abs=301 / DAY)] for time in gone]
    assert spans[len(gone) :] == [[], [], []]


def test_a_host_that_is_away_for_days_stays_told():
    """What it leaves does not become normal, however long `forget` is."""
    made = table(1, 300)
    lived(made, [lambda time: True], MONDAY, MONDAY + 10 * DAY, 600)
    for time in MONDAY + 10 * DAY + 1800 * np.arange(48 * 9):
        assert made.missing(np.array([False]), time, partial=False).all()
        made.mark_seen(np.array([False]), time)
        assert not made.forgettable(time, 30 * DAY).any()


@pytest.mark.slow
def test_a_nightly_job_is_not_forgotten_each_day_nor_over_its_weekend():
    """Its time begins when it should have been back; a host's when it goes."""
    weekdays, host = between(2, 2 + 1 / 3, lambda day: day % 7 < 5 and day < 21), lambda time: time < MONDAY + 11.5 * DAY
    made = table(2, 300)
    lived(made, [weekdays, host], MONDAY, MONDAY + 10 * DAY, 300)
    gone = {0: None, 1: None}
    for time in MONDAY + 10 * DAY + 300 * np.arange(288 * 14):
        made.mark_seen(np.array([weekdays(time), host(time)]), time)
        forgettable = made.forgettable(time, DAY / 2)
        gone = {row: when or (forgettable[row] and (time - MONDAY) / DAY) for row, when in gone.items()}
    assert gone[0] == pytest.approx(21 + 3 / 24 + 0.5, abs=601 / DAY) and gone[1] == pytest.approx(12, abs=601 / DAY)


@pytest.mark.slow
@pytest.mark.parametrize('first', [datetime(2026, 3, 16, tzinfo=BERLIN), datetime(2026, 10, 12, tzinfo=BERLIN)])
def test_the_day_is_that_of_the_time_zone(first):
    """An office keeps its hours when daylight saving time begins and ends, and is not missing for it."""
    start = first.timestamp()
    office = [lambda time: 8 <= datetime.fromtimestamp(time, BERLIN).hour < 18]

    def late(zone):
        spans = lived(table(1, 300, zone), office, start, start + 16 * DAY, 300)[0]
        return [span for span in spans if span[0] > (start - MONDAY) / DAY + 4]

    assert late('Europe/Berlin') == [] and late('UTC') != []


def test_partial_answers_add_no_absence():
    """A store that is away each night for a week teaches nothing: its host is told at that hour, too."""
    made, host = table(1, 300), lambda time: not between(1, 3)(time)
    assert lived(made, [host], MONDAY, MONDAY + 8 * DAY, 300, partial=lambda time: not host(time)) == [[]]
    assert not made.presence.part_time.any()
    assert lived(made, [host], MONDAY + 8 * DAY, MONDAY + 9 * DAY, 300)[0] == [pytest.approx((8 + 1 / 24, 8 + 3 / 24 - 300 / DAY))]


@pytest.mark.parametrize(('step', 'length'), [(900.0, 1.0), (HOUR, 2.0), (2700.0, 3.0), (3 * HOUR, 6.0)])
def test_a_job_at_long_steps(step, length):
    """It is not missing on days when it runs, and is on the day when it does not."""
    nightly = between(3, 3 + length, lambda day: day != 12)
    spans = lived(table(2, step), [nightly, lambda time: time < MONDAY + 12.5 * DAY], MONDAY, MONDAY + 13 * DAY, step)
    assert len(late := [span for span in spans[0] if span[0] > 4]) >= 1 and all(12 <= first < 12.7 for first, _ in late)
    assert [span for span in spans[1] if span[0] > 4] == [pytest.approx((12.5, 13), abs=1.01 * step / DAY)]


def test_a_series_of_working_days_at_one_step_a_day():
    """The weekend is as usual, a missing Wednesday is not."""
    working = lambda time: day(time) % 7 < 5 and day(time) != 30  # noqa: E731
    assert [span for span in lived(table(1, DAY), [working], MONDAY, MONDAY + 40 * DAY, DAY)[0] if span[0] > 13] == [(30, 30)]


@pytest.mark.slow
def test_steps_of_a_second_after_coarse_history():
    """The job of the night is told half an hour after its slot, a host within a second."""
    made, host, job = table(2, 1), lambda time: time < MONDAY + 9 * DAY + 7000, between(2, 2 + 1 / 3, lambda day: day < 9)
    lived(made, [host, job], MONDAY, MONDAY + 9 * DAY + 6000, 300)
    of_host, of_job = lived(made, [host, job], MONDAY + 9 * DAY + 6000, MONDAY + 9 * DAY + 11000, 1)
    assert of_host == [pytest.approx((9 + 7000 / DAY, 9 + 10999 / DAY))]
    assert of_job == [pytest.approx((9 + 10800 / DAY, 9 + 10999 / DAY), abs=1.5 / DAY)]


@pytest.mark.slow
def test_a_hole_in_the_past_and_a_clock_that_is_set_back():
    """Days that nobody saw do not count, and what was learnt before the clock was set back stays."""
    nightly = between(2, 2 + 1 / 3)
    made = table(1, 300)
    lived(made, [nightly], MONDAY, MONDAY + 9 * DAY, 300)
    assert lived(made, [nightly], MONDAY + 11.2 * DAY, MONDAY + 15 * DAY, 300) == [[]]
    assert lived(made, [nightly], MONDAY + 13.1 * DAY, MONDAY + 17 * DAY, 300) == [[]]


def test_rows_that_are_kept_take_their_rhythm_along():
    """As do new ones, which know nothing yet and take none of others."""
    there = [between(2, 2 + 1 / 3), lambda time: True, between(8, 18)]
    made = table(3, 300)
    lived(made, there, MONDAY, MONDAY + 8 * DAY, 300)
    kept = made.keep(np.array([2, 0]))
    kept.commit(kept.place([[raw(instance='new')]]), MONDAY + 8 * DAY)
    spans = lived(kept, [there[2], there[0], lambda time: time < MONDAY + 9.5 * DAY], MONDAY + 8 * DAY, MONDAY + 10 * DAY, 300)
    assert spans[:2] == [[], []] and spans[2] == [pytest.approx((9.5, 10), abs=301 / DAY)]


def test_a_step_that_is_not_committed_changes_nothing():
    """Asking who is missing is no step."""
    made = table(1, 300)
    lived(made, [between(2, 2 + 1 / 3)], MONDAY, MONDAY + 9 * DAY, 300)
    before = made.presence
    made.missing(np.array([False]), MONDAY + 9.4 * DAY, partial=False)
    assert made.presence is before


def test_the_size_of_the_memory():
    """A byte for each slot of the day with presence, one for each with absence, and nine."""
    made = table(2, 300)
    lived(made, [between(2, 2 + 1 / 3), lambda time: True], MONDAY, MONDAY + 2 * DAY, 300)
    assert made.presence.nbytes() == 2 * (48 + 48 + 9)
