"""Clocks: ours is set while detectors run, and that of the server is not ours."""

import numpy as np
import pytest
from fakes import noisy, raw
from running import SPEED, START, Running, logged, running
from servers import wait_until

from promlstm.errors import SourceUnavailable
from promlstm.live.clock import Clock
from promlstm.live.facts import Server
from promlstm.serve.page import Page


class Jumping(Clock):
    """A clock that can be set."""

    moved = 0.0

    def now(self):
        """With what it was moved by."""
        return super().now() + self.moved


def test_a_clock_that_moves_back_far_rebuilds_the_memory():
    """Far back: the memory is from the future; it is rebuilt from history, and that is counted."""
    with running(clock=Jumping(start=START, speed=60.0)) as subject:  # slow: a busy machine must replay faster than this clock runs
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        subject.clock.moved = -86400.0
        wait_until(lambda: subject.metric('promlstm_detector_clock_backwards_total', detector='a') == 1, 20, 'the jump to be counted')
        wait_until(lambda: any(name == 'a' and time < START - 80000 for name, time in subject.watched), 60, 'a to score again')


@pytest.mark.parametrize('jump', [-120.0, -300.0])
def test_a_clock_that_moves_back_a_little_is_waited_for(jump):
    """A few steps back: the page of the future is withdrawn and that is counted; no step is judged twice, and memory is kept."""
    with running(clock=Jumping(start=START, speed=SPEED)) as subject:
        wait_until(lambda: len([1 for name, _ in subject.watched if name == 'a']) > 2, 60, 'some steps')
        subject.clock.moved = jump
        wait_until(lambda: subject.metric('promlstm_detector_clock_backwards_total', detector='a') == 1, 20, 'the jump to be counted')
        seen = len(subject.watched)
        wait_until(lambda: len([1 for name, _ in subject.watched[seen:] if name == 'a']) > 2, 60, 'some more')
        times = [time for name, time in subject.watched if name == 'a']
        assert (np.diff(times) > 0).all() and subject.metric('promlstm_detector_clock_backwards_total', detector='a') == 1


def test_a_page_of_the_future_is_withdrawn():
    """A clock that is set back by less than the page would live: its scores are gone at once, and the reason says why."""
    clock = Jumping(start=START, speed=1.0)
    with running(clock=clock) as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        clock.moved = -50.0
        wait_until(lambda: not subject.on_page('a'), 20, 'the page to be withdrawn')
        assert subject.metric('promlstm_detector_up', detector='a') == 0
        assert 'the clock moved back by' in str(subject.scheduler.statuses()['a'])


@pytest.mark.parametrize(('step', 'by', 'withdrawn'), [('1m', 2.0, True), ('1m', 30.0, True), ('1h', 1800.0, True), ('1h', 30.0, False)])
def test_a_clock_set_back_by_any_amount_is_counted_and_logged(step, by, withdrawn):
    """And the page withdrawn, but for a correction that is small beside the step; the log has the amount."""
    clock = Jumping(start=START, speed=1.0)
    with logged('promlstm.runner') as records, running(clock=clock, a={'step': step}) as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        clock.moved = -by
        wait_until(lambda: subject.metric('promlstm_detector_clock_backwards_total', detector='a') == 1, 20, 'the jump to be counted')
        assert subject.on_page('a') is not withdrawn
        assert (subject.metric('promlstm_detector_up', detector='a') == 0) is withdrawn
    (fact,) = [record.facts for record in records if 'clock moved back' in record.getMessage() and record.facts['detector'] == 'a']
    assert fact['by_seconds'] == pytest.approx(by, abs=0.5)


def test_a_clock_that_is_corrected_by_less_than_a_second_is_none_that_was_set():
    """As NTP does it all the time."""
    clock = Jumping(start=START, speed=1.0)
    with running(clock=clock, a={'step': '1s'}, b={'step': '1s'}) as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        clock.moved = -0.5
        seen = len(subject.watched)
        wait_until(lambda: sum(name == 'a' for name, _ in subject.watched[seen:]) > 3, 60, 'more steps')
        assert subject.metric('promlstm_detector_clock_backwards_total', detector='a') == 0


def test_a_clock_that_moved_ahead_has_a_line():
    """It was set, or the machine slept; nothing else says why samples are lacking."""
    clock = Jumping(start=START, speed=1.0)
    with logged('promlstm.runner') as records, running(clock=clock, a={'step': '5s'}) as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        clock.moved = 3600.0
        wait_until(lambda: any('clock moved ahead' in record.getMessage() for record in records), 60, 'the line')
    assert next(record.facts['by_seconds'] for record in records if 'ahead' in record.getMessage()) == pytest.approx(3600, abs=1)


@pytest.mark.parametrize('by', [-60.0, -3600.0])
def test_an_old_page_never_comes_back(by):
    """A page that was over is over, however the clock is set, and though nobody looked at it in between."""
    wall, steady = [1000.0], [5.0]
    page = Page(lambda: wall[0], lambda: steady[0])
    page.publish('d', {'promlstm_observed': [b'promlstm_observed{detector="d"} 1\n']}, expires=1120.0)
    assert page.parts()
    wall[0], steady[0] = wall[0] + 121, steady[0] + 121
    wall[0] += by
    assert not page.parts()


def test_a_page_ends_with_the_clock_too():
    """A machine that slept has a steady clock that stood still."""
    wall = [1000.0]
    page = Page(lambda: wall[0], lambda: 5.0)
    page.publish('d', {'promlstm_observed': [b'promlstm_observed{detector="d"} 1\n']}, expires=1120.0)
    wall[0] = 1121.0
    assert not page.parts()


def test_the_steady_time_of_a_clock_is_not_set():
    """The drift between the two is what the clock was set by."""
    wall, monotonic = [1000.0], [50.0]
    clock = Clock(wall=lambda: wall[0], monotonic=lambda: monotonic[0])
    before = clock.drift()
    wall[0], monotonic[0] = 970.0, 60.0
    assert (clock.steady(), clock.drift() - before) == (10.0, -40.0)


class Said:
    """What a server says of itself; a test changes it."""

    def __init__(self, skew=0.0, retention=None):
        self.clock_skew_seconds, self.retention, self.asked = skew, retention, 0

    def retention_seconds(self):
        self.asked += 1
        return self.retention


def test_a_skew_is_logged_once_and_at_each_change():
    """With its size and direction; small ones and unknown ones are none."""
    facts, said = Said(), []
    with logged('promlstm.source') as records:
        server = Server(facts)
        for skew in (0.0, 2.9, 3600.2, 3601.0, np.nan, 3590.0, -75.0, -76.0, 1.0, np.nan, 0.0):
            facts.clock_skew_seconds = skew
            said.append(server.skew())
    assert [record.facts['skew_seconds'] for record in records] == [3600.2, -75.0, 0.0]
    assert [record.levelname for record in records] == ['WARNING', 'WARNING', 'INFO']
    ahead, behind = 'the clock of the query API is 1h ahead of ours', 'the clock of the query API is 1m15s behind ours'
    assert said == ['', '', ahead, ahead, ahead, ahead, behind, behind, '', '', '']


def test_a_skew_is_part_of_what_a_detector_says_of_itself():
    """While it scores, and where it fails."""
    facts = Said(skew=-400.0)
    with running(facts=facts) as subject:
        note = 'the clock of the query API is 6m40s behind ours'
        wait_until(lambda: str(subject.scheduler.statuses()['a']) == f'scoring; {note}', 60, 'the note')
        subject.source.errors['a'] = SourceUnavailable('gone')
        wait_until(lambda: str(subject.scheduler.statuses()['a']) == f'query: gone; {note}', 60, 'the note of a failure')
        del subject.source.errors['a']
        facts.clock_skew_seconds = 0.0
        wait_until(lambda: str(subject.scheduler.statuses()['a']) == 'scoring', 60, 'no note')


def test_a_warm_up_that_the_server_cannot_feed_says_so():
    """Retention beside the warm-up, in the status and once in the log; it is asked for once."""
    facts = Said(retention=20 * 300.0)
    young = Running(Clock(start=START, speed=600.0), facts=facts, a={'step': '5m'}, b={'step': '5m'})
    young.source.series = {raw(instance='i'): noisy(1, born=START - 6000)}
    with logged('promlstm.runner') as records, running(young) as subject:
        note = 'the server keeps samples for 1h40m only, so each start begins the warm-up again, which takes 3h20m'
        wait_until(lambda: note in str(subject.scheduler.statuses()['a']), 60, 'the note')
    assert sum(note in record.getMessage() for record in records if record.facts['detector'] == 'a') == 1 and facts.asked == 1
