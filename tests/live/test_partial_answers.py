"""What answers say of themselves is on the page of the exporter and in its log: partial, unreadable, of another time, or empty for a reason."""

import pytest
from running import FaultySamples, Running, logged, running
from servers import wait_until

from promlstm.query.prometheus import Vector


class Saying(FaultySamples):
    """Samples whose instant answers say more, {field of Vector: value}."""

    def __init__(self, series):
        super().__init__(series)
        self.more = {}

    def instant(self, expr, time):
        vector = super().instant(expr, time)
        return Vector(vector.keys, vector.values, **self.more)


@pytest.mark.parametrize(
    ('more', 'counter', 'says'),
    [
        ({'partial': True, 'warnings': ('a store is away',)}, 'partial_answers', 'absent entities are not reported as missing'),
        ({'unread': 2}, 'unread_series', 'series were left out: their labels or samples cannot be read'),
        ({'offset_seconds': -60.0}, 'mistimed_answers', 'the samples are not from the requested time'),
    ],
)
def test_what_answers_say_of_themselves_is_counted_and_logged(more, counter, says):
    """While the detector goes on scoring; the counter is there, as 0, before the first of them."""
    subject, counter = Running(kind=Saying), f'promlstm_detector_{counter}_total'
    with logged('promlstm.runner') as records, running(subject):
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        assert subject.metric(counter, detector='a') == 0
        subject.source.more = more
        wait_until(lambda: subject.metric(counter, detector='a') >= 2, 20, 'two of them')
        assert subject.on_page('a') and subject.metric('promlstm_detector_failures_total', detector='a', stage='query') == 0
    assert any(says in record.getMessage() for record in records)


def test_an_empty_result_names_the_delay():
    """A Prometheus of a minute's age has nothing yet where the delay points to."""
    subject = Running(a={'delay': '30s'})
    subject.source.series.clear()
    with running(subject):
        wait_until(subject.scheduler.ready, 60, 'ready')
        reasons = {name: str(status) for name, status in subject.scheduler.statuses().items()}
    assert reasons['b'] == 'the expression returns no series'
    assert reasons['a'].startswith('the expression returns no series at now - delay (30 s ago): a name is misspelt, or Prometheus has just started')
