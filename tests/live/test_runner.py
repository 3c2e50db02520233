"""Detectors in their threads: what fails is reported, counted and caught up on; the others go on undisturbed."""

import re
from collections import Counter

import numpy as np
import pytest
from fakes import noisy, raw
from running import START, FaultySamples, Running, logged, running
from servers import wait_until

from promlstm import config as configuration
from promlstm.engine.session import resolve
from promlstm.errors import QueryRejected, SourceUnavailable, StageError
from promlstm.live.clock import Clock
from promlstm.live.scheduler import Scheduler
from promlstm.serve.telemetry import Telemetry
from promlstm.terminal import duration


def test_all_detectors_score_and_say_so():
    """Every detector publishes its entities, is up, and makes the exporter ready."""
    with running() as subject:
        wait_until(lambda: subject.on_page('a') and subject.on_page('b'), 60, 'both on the page')
        wait_until(subject.scheduler.ready, 10, 'ready')
        assert subject.metric('promlstm_detector_up', detector='a') == 1
        assert subject.metric('promlstm_detector_entities', detector='a', state='ready') == 3
        assert subject.metric('promlstm_detector_memory_bytes', detector='a') > 3 * 1000
        assert str(subject.scheduler.statuses()['a']) == 'scoring'


def test_first_scores_do_not_wait_for_a_step():
    """What the warm start replayed last is published at once: the first time on the page lies before the first live step."""
    with running() as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        assert min(time for name, time in subject.watched if name == 'a') <= subject.clock.now()
        assert subject.metric('promlstm_detector_steps_total', detector='a') >= 120


def test_a_detector_that_fails_leaves_the_page_and_no_other():
    """Its gauges go at once, the failure is counted by stage and shown by /-/ready; the other goes on."""
    with running() as subject:
        wait_until(lambda: subject.on_page('a') and subject.on_page('b'), 60, 'both on the page')
        subject.source.errors['a'] = QueryRejected('rejects the expression: a')
        wait_until(lambda: not subject.on_page('a'), 10, 'a to leave the page')
        assert subject.metric('promlstm_detector_failures_total', detector='a', stage='query') >= 1
        assert subject.metric('promlstm_detector_up', detector='a') == 0
        assert subject.scheduler.statuses()['a'].reason == 'query: rejects the expression: a'
        steps = subject.metric('promlstm_detector_steps_total', detector='b')
        wait_until(lambda: subject.metric('promlstm_detector_steps_total', detector='b') > steps + 3, 10, 'b to go on')
        wait_until(lambda: subject.on_page('b'), 10, 'b on the page')
        assert subject.scheduler.ready()


def test_what_has_never_computed_a_step_is_not_ready():
    """All have said why they fail: not ready. From the first step of one of them on it is ready, and stays so when the source goes away."""
    subject, wrong = Running(), QueryRejected('rejects the expression')
    subject.source.errors = {'a': wrong, 'b': wrong}
    with running(subject):
        wait_until(lambda: all(status.reason for status in subject.scheduler.statuses().values()), 60, 'both to say why not')
        assert not subject.scheduler.ready()
        del subject.source.errors['a']
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        assert subject.scheduler.ready() and subject.scheduler.statuses()['b'].reason == 'warm: rejects the expression'
        subject.source.errors['a'] = SourceUnavailable('gone')
        wait_until(lambda: not subject.on_page('a'), 10, 'a to leave the page')
        assert subject.scheduler.ready()


def test_a_detector_without_series_is_ready():
    """It has asked and was answered: that nothing is there yet must not hold up a rollout."""
    subject = Running()
    subject.source.series.clear()
    with running(subject):
        wait_until(subject.scheduler.ready, 60, 'ready')
        assert {str(status) for status in subject.scheduler.statuses().values()} == {'the expression returns no series'}


def test_a_warm_up_reports_its_progress():
    """Steps since the first sample, of how many, and how long it takes at least; the next step is one closer."""
    subject = Running(clock=Clock(start=START, speed=60.0), a={'step': '5m'})
    subject.source.series = {raw(instance='a'): noisy(1, born=START - 300 * 11), raw(instance='gone'): noisy(2, gone=START - 86400)}
    with running(subject):
        seen = []
        wait_until(lambda: seen.append(str(subject.scheduler.statuses()['a'])) or len(set(seen)) > 2, 60, 'two steps')
    said = [text for text in dict.fromkeys(seen) if not text.startswith('starting')]
    ages = [12 + round((time - START) / 300) for name, time in subject.watched if name == 'a'][: len(said)]
    left = [duration(300 * (41 - age), units=2) for age in ages]
    assert said == [
        f'warming: {age} of 40 steps of 300 s since the first sample, about {rest} more if no sample is missing'
        for age, rest in zip(ages, left, strict=True)
    ]


def test_a_warm_up_with_gaps_promises_nothing():
    """Where there were steps enough and still no score, samples were missing, and it is not known how many will."""
    subject = Running(a={'step': '5m'})
    subject.source.series = {raw(instance='a'): lambda time: noisy(1)(time) if (START - time) % 3000 == 0 else np.nan}
    with running(subject):
        wait_until(lambda: 'warming' in str(subject.scheduler.statuses()['a']), 60, 'a step')
        assert str(subject.scheduler.statuses()['a']) == 'warming: no entity has 40 samples at a step of 300 s yet, because of gaps'


def test_a_warm_up_outside_its_range_says_so():
    """Samples that a range leaves out are not learnt: gaps are not all that may be wrong."""
    subject = Running(a={'step': '5m', 'range': [0, 0.001]})
    subject.source.series = {raw(instance='a'): noisy(1)}
    with running(subject):
        wait_until(lambda: 'warming' in str(subject.scheduler.statuses()['a']) or 'range' in str(subject.scheduler.statuses()['a']), 60, 'a step')
        expected = 'no entity has 40 samples at a step of 300 s yet, because of gaps, or of samples outside range [0, 0.001], which are not learnt'
        assert expected in str(subject.scheduler.statuses()['a'])


class LateThenGone(FaultySamples):
    """Samples of which one answer comes four steps late, and none after it."""

    last = None

    def instant(self, expr, time):
        """As FaultySamples.instant; late if this is the last one."""
        if expr == self.last:
            wait_until(lambda: self.clock.now() > time + 240, 30, 'four steps to pass')
            found = super().instant(expr, time)
            self.errors[expr], self.last = SourceUnavailable('gone'), None
            return found
        return super().instant(expr, time)


def test_a_source_that_slows_down_and_fails_is_no_slow_detector():
    """Steps are given up once, after the late answer, not again at each try; when the source is back they are replayed."""
    subject = Running(kind=LateThenGone)
    subject.source.clock = subject.clock
    missed = lambda: subject.metric('promlstm_detector_missed_steps_total', detector='a')  # noqa: E731
    failures = lambda: subject.metric('promlstm_detector_failures_total', detector='a', stage='query') or 0  # noqa: E731
    with running(subject):
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        subject.source.last = 'a'
        wait_until(lambda: failures() >= 1, 60, 'the source to be gone')
        before = missed()
        wait_until(lambda: failures() >= 6, 60, 'more tries')
        assert missed() == before >= 3
        steps = subject.metric('promlstm_detector_steps_total', detector='a')
        subject.source.errors.clear()
        wait_until(lambda: subject.on_page('a'), 30, 'a on the page again')
        assert subject.metric('promlstm_detector_steps_total', detector='a') >= steps + 6 and missed() == before


def test_missed_steps_are_caught_up_on():
    """After an outage the steps between are replayed from history, and the detector is back on the page; that is logged once, not per try."""
    with logged('promlstm.runner') as records, running() as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        subject.source.errors['a'] = SourceUnavailable('gone')
        failures = lambda: subject.metric('promlstm_detector_failures_total', detector='a', stage='query')  # noqa: E731
        wait_until(lambda: failures() >= 4, 20, 'some failures')
        last = max(time for name, time in subject.watched if name == 'a')
        subject.source.asked.clear()
        del subject.source.errors['a']
        wait_until(lambda: subject.on_page('a'), 20, 'a to come back')
        assert subject.source.asked[0][0] == last + 60
        assert subject.scheduler.statuses()['a'].reason == ''
    said = [record.getMessage() for record in records if record.facts['detector'] == 'a']
    failed = said.index('step failed')
    assert said[failed : failed + 4] == ['step failed', 'catching up', 'caught up', 'recovered']


def test_scores_are_not_frozen_while_a_query_hangs():
    """A step that does not end takes the gauges off the page at the first missed deadline, without any error."""
    with running() as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        subject.source.held.clear()
        attempted = subject.source.attempts['a']
        wait_until(lambda: subject.source.attempts['a'] > attempted, 60, 'a query that hangs')
        last = max(time for name, time in subject.watched if name == 'a')

        def gone():
            """Whether the step that was missed is over; a page that is asked for then has no scores, whatever the machine does meanwhile."""
            over = subject.clock.now() >= last + 2 * 60
            assert not (over and subject.on_page('a'))
            return over

        assert subject.scheduler.statuses()['a'].reason == ''
        wait_until(gone, 60, 'the first missed deadline')


def test_a_model_that_cannot_be_loaded_is_reported_and_tried_again(tmp_path):
    """A missing model file stops its detector only; once the file is there the detector starts by itself."""
    path = tmp_path / 'model.onnx'
    with running(b={'model': str(path)}) as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        assert 'cannot be read' in subject.scheduler.statuses()['b'].reason and subject.scheduler.ready()
        assert subject.metric('promlstm_detector_failures_total', detector='b', stage='load') >= 1
        path.write_bytes(resolve('builtin:forecaster').read_bytes())
        wait_until(lambda: subject.on_page('b'), 60, 'b on the page')


def test_an_empty_result_is_reported_and_counted():
    """An expression without series is no failure: the page has no entities of it, readiness says why."""
    with running() as subject:
        subject.source.series.clear()
        wait_until(lambda: subject.metric('promlstm_detector_empty_results_total', detector='a') > 1, 60, 'empty results')
        wait_until(lambda: 'no series' in subject.scheduler.statuses()['a'].reason, 10, 'a reason')
        assert not subject.on_page('a') and subject.metric('promlstm_detector_up', detector='a') == 1


def test_an_empty_result_says_when_there_was_one_last():
    """Samples that stopped, or whose clock is wrong, are told from an expression that never returned any."""
    with running() as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        gone = subject.clock.now()
        subject.source.series = {raw(instance='i0'): noisy(1, gone=gone)}
        wait_until(lambda: 'it last returned series' in str(subject.scheduler.statuses()['a']), 60, 'the reason')
        assert str(subject.scheduler.statuses()['a']).startswith('the expression returns no series; it last returned series ')


def test_stopping_does_not_wait_for_a_warm_start():
    """SIGTERM in the middle of a replay ends it between two steps."""
    subject = Running()
    subject.source.series = {raw(instance=f'i{i}'): noisy(i) for i in range(40)}
    subject.scheduler.start()
    wait_until(lambda: subject.source.asked, 30, 'a replay to begin')
    assert subject.scheduler.stop(10)
    assert not subject.watched


def test_a_start_tells_how_far_it_is(monkeypatch):
    """In the status, beside what says that there is no score; it is not ready by that, and nothing of it stays."""
    monkeypatch.setattr('promlstm.live.runner.PROGRESS_SECONDS', -1)
    subject, seen = Running(a={'history': '1d'}), []
    runner = subject.scheduler.runners[0]
    monkeypatch.setattr(runner, '_gather', lambda *_: seen.append((str(runner.status), subject.scheduler.ready())))
    runner._cycle(START)
    told = re.compile(r'starting; replay of history at step 119/12\d, 3 entities, after [45]\d slots of older history')
    assert any(told.fullmatch(text) for text, _ in seen) and not any(ready for _, ready in seen)
    assert str(runner.status) == 'scoring'


def test_a_step_that_cannot_be_rendered_is_not_committed(monkeypatch):
    """Columns become text before memory is replaced: where that fails, memory and time are as they were, and the stage is named."""
    runner = Running().scheduler.runners[0]
    runner._cycle(START - 60)
    detector = runner._detector
    memory, time = detector.memory, detector.time
    monkeypatch.setattr('promlstm.serve.exposition.lines', lambda *_, **__: 1 / 0)
    with pytest.raises(StageError, match='render: division by zero'):
        runner._step(detector, time + 60)
    assert detector.memory is memory and detector.time == time
    monkeypatch.undo()
    runner._step(detector, time + 60)
    assert detector.memory is not memory and detector.time == time + 60


HOURLY = {'a': {'step': '1h'}, 'b': {'step': '1h'}}


def test_a_failed_query_is_asked_again_within_the_step():
    """A source that is away at the start of an hourly detector costs seconds, not the hour; it is one failed step, however often it was asked."""
    clock = Clock(start=START, speed=60.0)  # an hour takes a minute
    subject = Running(clock, **HOURLY)
    subject.source.errors['a'] = SourceUnavailable('connection refused')
    with running(subject):
        wait_until(lambda: subject.source.attempts['a'] >= 3, 30, 'a third attempt')
        assert subject.metric('promlstm_detector_up', detector='a') == 0
        del subject.source.errors['a']
        wait_until(lambda: subject.metric('promlstm_detector_up', detector='a') == 1, 30, 'detector a to recover')
        assert clock.now() < START // 3600 * 3600 + 3600
    failures = [subject.metric('promlstm_detector_failures_total', detector='a', stage=stage) for stage in ('warm', 'query')]
    assert sum(failures) == 1


def test_what_the_server_asks_for_with_retry_after_is_waited_for():
    """An hour of the detector's clock is twenty seconds here; the server asked for half of it."""
    clock = Clock(start=START, speed=180.0)
    subject = Running(clock, **HOURLY)
    busy = SourceUnavailable('429 Too Many Requests')
    busy.retry_after_seconds = 1800.0
    subject.source.errors['a'] = busy
    with running(subject):
        wait_until(lambda: subject.source.attempts['a'] >= 1, 30, 'the first attempt')
        wait_until(lambda: clock.now() > START + 600, 30, 'ten minutes of the clock')
        assert subject.source.attempts['a'] == 1


def test_a_rejected_expression_is_not_asked_again_before_the_next_step():
    """It will not be right in a second."""
    clock = Clock(start=START, speed=180.0)
    subject = Running(clock, **HOURLY)
    subject.source.errors['a'] = QueryRejected('parse error')
    with running(subject):
        wait_until(lambda: subject.source.attempts['a'] >= 1, 30, 'the first attempt')
        wait_until(lambda: clock.now() > START + 300, 30, 'five minutes of the clock')
        assert subject.source.attempts['a'] == 1


def test_the_size_of_the_page_and_who_is_left_out_are_told():
    """What `export` and `max_exported` leave is on the page, its size is a gauge, and nothing is said of a page that there is not."""
    subject = Running(a={'export': 'score', 'max_exported': 2})
    subject.source.series = {raw(instance=name): noisy(number) for number, name in enumerate('xyz')}
    size = lambda: subject.metric('promlstm_detector_page_bytes', detector='a', part='scores')  # noqa: E731
    with running(subject):
        wait_until(lambda: subject.on_page('a') and size(), 60, 'a on the page')
        lines = [line for line in subject.page.decode().splitlines() if '{detector="a"' in line]
        assert {line.partition('{')[0] for line in lines} <= {'promlstm_anomaly_score', 'promlstm_anomaly_start_timestamp_seconds', 'promlstm_recurring'}
        assert {line.split('instance="')[1][0] for line in lines} == {'x', 'y'}
        assert subject.metric('promlstm_detector_unexported_entities', detector='a') == 1
        assert size() > 100
        subject.source.errors['a'] = SourceUnavailable('gone')
        wait_until(lambda: not subject.on_page('a') and size() is None, 10, 'a to leave the page')


def test_many_detectors_ask_at_many_instants():
    """Over a quarter of a step at most, each at its own; a few ask within two seconds, and all of them for the aligned step."""
    detectors = [{'name': f'd{number}', 'expr': 'up'} for number in range(500)]
    for count, step, least, most in ((3, 60, 1.9, 2.0), (3, 5, 0.4, 0.5), (500, 60, 14.0, 15.0), (500, 10, 2.4, 2.5)):
        config = configuration.parse(str({'prometheus': {'url': 'http://localhost:9090'}, 'detectors': detectors[:count]}))
        clock = Clock(start=START)
        scheduler = Scheduler(config, {'prometheus': None}, clock=clock, telemetry=Telemetry(process=False), publish=print, withdraw=print)
        spread = scheduler.spread_seconds(step)
        assert least < spread <= most
        instants = [runner._phase * spread for runner in scheduler.runners]
        assert all(0 <= instant <= spread for instant in instants) and len(set(instants)) > 0.7 * count
        tenths = Counter(int(10 * instant / spread) for instant in instants)
        assert count < 500 or max(tenths.values()) < 80  # of 50
        assert scheduler.wait_seconds(step) == (16 * spread / 500 if count == 500 else 0)  # few are judged at once, many some at a time


def test_steps_ask_for_an_instant_only():
    """History is asked for at the start, and never again while steps succeed."""
    with running(Running(Clock(start=START, speed=20.0))) as subject:  # steps of three seconds
        wait_until(lambda: min(subject.source.attempts[name] for name in 'ab') >= 2, 60, 'the first live steps, after one question each at the start')
        ranges = subject.source.ranges
        wait_until(lambda: min(subject.source.attempts[name] for name in 'ab') >= 5, 60, 'more steps')
        assert subject.source.ranges == ranges > 0
