"""Why no entity has a score: one word in telemetry for rules, one sentence in the status for people, and neither while one has."""

import numpy as np
import pytest
from fakes import noisy, raw
from running import SPEED, START, FaultySamples, Running, logged, running
from servers import wait_until

from promlstm.errors import QueryRejected
from promlstm.live.clock import Clock

UNSCORED = 'promlstm_detector_unscored'


class Unfiltered(FaultySamples):
    """Samples that also return the series whose sample is NaN, as an expression with a division by zero does."""

    def instant(self, expr, time):
        vector = super().instant(expr, time)
        missing = [key for key in self.series if key not in vector.keys]
        return type(vector)([*vector.keys, *missing], np.r_[vector.values, [self.series[key](time) for key in missing]])


def reasons(subject, name='a'):
    """The values of the label `reason` of a detector's gauge."""
    families = subject.telemetry.registry.collect()
    return [
        sample.labels['reason']
        for family in families
        for sample in family.samples
        if sample.name == UNSCORED and sample.labels['detector'] == name
    ]


def test_a_detector_that_scores_has_no_reason():
    """It has one before its first step, and again once it fails: that of the stage."""
    subject = Running(a={'model': '/nowhere.onnx'})
    assert reasons(subject, 'b') == ['starting']
    with running(subject):
        wait_until(lambda: subject.on_page('b'), 60, 'b on the page')
        wait_until(lambda: reasons(subject, 'b') == [], 10, 'b to have no reason')
        wait_until(lambda: reasons(subject) == ['load'], 10, 'a to name its stage')
        subject.source.errors['b'] = QueryRejected('rejects the expression: b')
        wait_until(lambda: reasons(subject, 'b') == ['query'], 10, 'b to name its stage')
        del subject.source.errors['b']
        wait_until(lambda: reasons(subject, 'b') == [], 10, 'b to score again')


@pytest.mark.parametrize(
    ('values', 'says'),
    [
        ([np.nan], '1 series, all samples NaN: check for a division by zero'),
        ([np.inf, -np.inf], '2 series, all samples ±Inf: check for a division by zero'),
        ([np.nan, np.inf], '2 series, all samples NaN or ±Inf: check for a division by zero'),
    ],
)
def test_samples_that_are_no_numbers_are_named_as_such(values, says):
    """In the status and in the log; they are counted, and are no empty result."""
    subject = Running(kind=Unfiltered)
    subject.source.series = {raw(instance=f'i{i}'): lambda time, value=value: value for i, value in enumerate(values)}
    with logged('promlstm.runner') as records, running(subject):
        wait_until(lambda: str(subject.scheduler.statuses()['a']) == says, 60, says)
        assert reasons(subject) == ['nan']
        wait_until(
            lambda: subject.metric('promlstm_detector_nonfinite_samples_total', detector='a') >= len(values),
            20,
            'the samples to be counted',
        )
        assert subject.metric('promlstm_detector_empty_results_total', detector='a') == 0
    assert says in {record.getMessage() for record in records}


@pytest.mark.parametrize(('missing', 'reason'), [('alert', 'empty'), ('ignore', 'resting')])
def test_a_detector_that_may_rest_says_that_it_rests(missing, reason):
    """`missing: ignore` declares that nothing to see is normal, so that no rule tells of it."""
    with running(a={'missing': missing}) as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        subject.source.series.clear()
        wait_until(lambda: reasons(subject) == [reason], 20, reason)
        assert str(subject.scheduler.statuses()['a']) == 'the expression returns no series'


def test_entities_that_never_live_as_long_as_a_warm_up_are_told_from_those_that_warm_up():
    """At first nobody knows which they are; after as many steps as a warm-up takes, there is a word and a remedy."""
    subject = Running()
    subject.source.series = {
        raw(pod=f'job-{k}'): noisy(k, born=START + 600 * (k - 1), gone=START + 600 * k) for k in range(30)
    }  # ten steps each
    with running(subject):
        wait_until(lambda: reasons(subject) == ['warming'], 60, 'the warm-up')
        wait_until(lambda: reasons(subject) == ['never_warm'], 60, 'the end of patience')
        wait_until(lambda: 'steps of 60 s, the longest for' in str(subject.scheduler.statuses()['a']), 10, 'the sentence')
        assert 'aggregate away the label that changes' in str(subject.scheduler.statuses()['a'])


def test_a_clock_that_moved_back_is_the_reason():
    """Until the steps go on."""

    class Jumping(Clock):
        moved = 0.0

        def now(self):
            return super().now() + self.moved

    clock = Jumping(start=START, speed=SPEED)
    with running(clock=clock) as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        clock.moved = -300.0
        wait_until(lambda: reasons(subject) == ['clock'], 20, 'the clock to be named')
        wait_until(lambda: reasons(subject) == [], 60, 'the steps to go on')


def test_the_range_that_is_set_is_exported():
    """So that an alert can name it; without a range there is nothing to name."""
    subject = Running(a={'range': [-0.5, 1]})
    ends = {name: [subject.metric(f'promlstm_detector_range_{end}', detector=name) for end in ('lower', 'upper')] for name in 'ab'}
    assert ends == {'a': [-0.5, 1], 'b': [None, None]}
