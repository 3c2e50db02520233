"""Whose time it is: samples of another instant than was asked for, and the clock of the server beside ours."""

import json
from email.message import Message

import pytest
from wire import Wire, replying

from promlstm import config
from promlstm.errors import ResponseError
from promlstm.query.prometheus import Prometheus
from promlstm.query.skew import skew


def answering(instant):
    """A script whose answers have samples of `instant(time asked for)`."""

    def body(request):
        sample = {'metric': {}, 'value': [instant(float(request.form['time'])), '1']}
        return json.dumps({'status': 'success', 'data': {'resultType': 'vector', 'result': [sample]}}).encode()

    return replying(body)


def offsets(instant, times):
    """The offset that each answer is said to have, until one is refused."""
    with Wire(answering(instant)) as wire:
        subject = Prometheus(config.Source(url=wire.url))
        return [subject.instant('up', time).offset_seconds for time in times]


def test_an_answer_that_was_given_before_is_refused():
    """Out of a cache: its samples are judged once, never again as if they were new; also when the step is tried again."""
    cached = {}
    with Wire(answering(lambda time: cached.setdefault('first', time))) as wire:
        subject = Prometheus(config.Source(url=wire.url))
        assert subject.instant('up', 1000).offset_seconds == 0
        for time in (1060, 1060, 1120):
            with pytest.raises(ResponseError, match=rf'for an instant {time - 1000} s before the one that was asked for, as it did {time - 1000} s ago'):
                subject.instant('up', time)
        cached.clear()
        assert subject.instant('up', 1180).offset_seconds == 0


@pytest.mark.parametrize('fixed', [0.0, 5e9])
def test_a_time_that_never_moves_is_refused(fixed):
    """A parameter that is replaced on the way: what comes first is reported, what follows refused."""
    with pytest.raises(ResponseError, match='something that replaces the time of a query'):
        offsets(lambda time: fixed, [1000, 1060])


@pytest.mark.parametrize('by', [-30.0, -3600.0, 3600.0])
def test_an_answer_that_moves_on_is_reported(by):
    """A server that answers for another instant each time, as VictoriaMetrics does for the last half minute: judged, with its offset."""
    assert offsets(lambda time: time + by, [1000, 1060, 1060, 1120]) == [by] * 4


def test_times_in_whole_seconds_are_those_that_were_asked_for():
    """Less than a second off is how servers round."""
    assert offsets(int, [1000.4, 1000.9, 1001.4]) == [0.0] * 3


def test_two_expressions_are_two_caches():
    """What one returned says nothing of the other."""
    with Wire(answering(lambda time: 1000.0)) as wire:
        subject = Prometheus(config.Source(url=wire.url))
        assert subject.instant('up', 1000).offset_seconds == 0
        assert subject.instant('down', 1060).offset_seconds == -60


def test_an_answer_out_of_a_cache_is_older_by_its_age():
    """A Date of 40 s ago with an Age of 40 s is of a clock that agrees (RFC 9111, section 5.1)."""
    answer = Message()
    answer['Date'], answer['Age'] = 'Thu, 01 Jan 1970 00:02:00 GMT', '40'
    assert skew(answer, 160, 160.5) == 0 and skew(answer, 120, 120.5) == 39.5
