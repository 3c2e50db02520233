"""Another configuration while it runs: who is the same does not notice, who has changed is relieved, who is gone is gone at once."""

import os
import threading

import pytest
import tiny_model
from fakes import Samples, noisy, raw
from running import Running, logged, running
from servers import wait_until

from promlstm import config as configuration
from promlstm.errors import ConfigError, QueryRejected


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """The path of a model that needs little history."""
    return str(tiny_model.write(tmp_path_factory.mktemp('model') / 'tiny.onnx'))


@pytest.fixture
def subject(model, tmp_path):
    """A Running with a storage."""
    return Running(storage=tmp_path / 'storage', interval=3600.0, **{name: {'model': model} for name in 'ab'})


def configured(model, url='http://localhost:9090', **keys):
    """A Config of these detectors, {name: keys}."""
    detectors = [{'name': name, 'expr': name, 'delay': '0s', 'history': '0s', 'model': model} | more for name, more in keys.items()]
    return configuration.parse(str({'prometheus': {'url': url}, 'detectors': detectors}))


def apply(subject, config):
    """Run it; what has changed."""
    return subject.scheduler.apply(config, {'prometheus': subject.source})


def both(subject):
    """Whether both detectors are on the page."""
    return subject.on_page('a') and subject.on_page('b')


class Scraper:
    """Reads the page all the time while it is entered: how often a detector was not on it, of how many reads."""

    def __init__(self, subject, name):
        self._subject, self._name, self._done = subject, name, threading.Event()
        self.reads = self.absent = 0
        self._thread = threading.Thread(target=self._read)

    def _read(self):
        while not self._done.wait(0.002):
            self.reads += 1
            self.absent += not self._subject.on_page(self._name)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


def test_who_is_the_same_does_not_notice(subject, model):
    """No history is asked for, no step is missed, the counters go on; the same file once more is no change."""
    with running(subject):
        wait_until(lambda: both(subject), 60, 'both on the page')
        runner = next(each for each in subject.scheduler.runners if each.config.name == 'b')
        assert apply(subject, configured(model, b={}, a={'direction': 'above'})) == ['detector a']
        wait_until(lambda: [each.config.direction for each in subject.scheduler.runners if each.config.name == 'a'] == ['above'], 60, 'the new a')
        assert runner in subject.scheduler.runners
        assert apply(subject, configured(model, a={'direction': 'above'}, b={})) == []
        steps = [time for name, time in subject.watched if name == 'b']
        wait_until(lambda: len([1 for name, _ in subject.watched if name == 'b']) > len(steps) + 3, 60, 'more steps')
        steps = [time for name, time in subject.watched if name == 'b']
    assert steps == [steps[0] + 60.0 * i for i in range(len(steps))]
    assert subject.metric('promlstm_detector_missed_steps_total', detector='b') == 0


def test_who_has_changed_warms_up_beside_the_one_in_service(subject, model):
    """Until the new one has something to show, scores and gauges are those of the old one, and the status says why; then they are its own, without a gap."""
    subject.source.errors['other'] = QueryRejected('not yet')
    with running(subject):
        wait_until(lambda: both(subject), 60, 'both on the page')
        with Scraper(subject, 'a') as scraper:
            apply(subject, configured(model, a={'expr': 'other', 'range': [0, 5]}, b={}))
            wait_until(lambda: subject.metric('promlstm_detector_failures_total', detector='a', stage='warm') > 2, 60, 'the new one to fail')
            assert subject.metric('promlstm_detector_up', detector='a') == 1
            statuses = subject.scheduler.statuses()
            assert str(statuses['a']) == 'scoring; with its previous settings, until the changed ones have scores: warm: not yet' and statuses['a'].scores
            assert str(statuses['b']) == 'scoring'
            assert subject.metric('promlstm_detector_range_upper', detector='a') is None
            del subject.source.errors['other']
            wait_until(lambda: subject.metric('promlstm_detector_range_upper', detector='a') == 5, 60, 'the new one')
            wait_until(lambda: b'promlstm_anomaly_score{detector="a",instance="i0",job=""} 1.' in subject.page, 60, 'its scores: all are outside the range')
            old = subject.source.attempts['a']
            wait_until(lambda: subject.source.attempts['other'] > 3, 60, 'its steps')
            assert subject.source.attempts['a'] <= old + 1
            assert 'previous settings' not in str(subject.scheduler.statuses()['a'])
    assert scraper.reads > 50 and scraper.absent == 0


def test_who_is_gone_leaves_at_once_and_has_its_memory_when_it_comes_back(subject, model, tmp_path):
    """Neither its scores nor any of its numbers stay; half a list of detectors is a valid file, and must not cost their memory."""
    with running(subject):
        wait_until(lambda: both(subject), 60, 'both on the page')
        assert apply(subject, configured(model, b={})) == ['detector a']
        assert not subject.on_page('a') and subject.on_page('b')
        wait_until(lambda: len(os.listdir(tmp_path / 'storage')) >= 2, 30, 'its memory to be written')
        left = [sample for family in subject.telemetry.registry.collect() for sample in family.samples if sample.labels.get('detector') == 'a']
        assert left == [] and list(subject.scheduler.statuses()) == ['b']
        asked = len(subject.source.asked)
        apply(subject, configured(model, a={}, b={}))
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page again')
        assert subject.metric('promlstm_detector_restored', detector='a') == 1
        assert all(end - start < 600 for start, end in list(subject.source.asked)[asked:])
    assert subject.scheduler.ready()


def test_a_configuration_that_cannot_run_changes_nothing(subject, model, tmp_path):
    """One detector has no model: none of the others is removed, changed or added; when the file is there, the same configuration is taken."""
    wanted = configured(model, a={'direction': 'above'}, c={'model': str(tmp_path / 'missing.onnx')})
    with running(subject):
        wait_until(lambda: both(subject), 60, 'both on the page')
        before = subject.scheduler.runners
        with pytest.raises(ConfigError, match=r'detector c: .*missing\.onnx: cannot be read'):
            apply(subject, wanted)
        assert subject.scheduler.runners == before and both(subject)
        with pytest.raises(ConfigError, match=r'detector d: .*steps of 1 to 3600 s'):
            apply(subject, configured(model, a={}, b={}, d={'step': '2h'}))
        tiny_model.write(tmp_path / 'missing.onnx')
        assert apply(subject, wanted) == ['detector a', 'detector b', 'detector c']
        wait_until(lambda: subject.on_page('c'), 60, 'c on the page')
        assert not subject.on_page('b') and subject.scheduler.ready()


def test_the_last_of_many_changes_counts(subject, model):
    """Those that were still warming up are given up, also where the file is again what is in service."""
    subject.source.errors['other'] = QueryRejected('never')
    with running(subject):
        wait_until(lambda: both(subject), 60, 'both on the page')
        before = subject.scheduler.runners
        threads = threading.active_count()
        for number in range(5):
            apply(subject, configured(model, a={'expr': 'other', 'min_deviation': number}, b={}))
        apply(subject, configured(model, a={}, b={}))
        assert subject.scheduler.runners == before
        wait_until(lambda: threading.active_count() <= threads, 30, 'the threads of those that were given up to end')
        apply(subject, configured(model, a={'min_deviation': 100}, b={}))
        wait_until(lambda: [each.config.min_deviation for each in subject.scheduler.runners] == [100, 0], 60, 'the last one')
        assert both(subject)


def test_another_server_relieves_everybody(subject, model):
    """All detectors warm up from it, and nobody asks the old one any more."""
    other = Samples({raw(instance='elsewhere'): noisy(7)})
    with running(subject):
        wait_until(lambda: both(subject), 60, 'both on the page')
        assert subject.scheduler.apply(configured(model, 'http://other:9090', a={}, b={}), {'prometheus': other}) == ['prometheus']
        wait_until(lambda: subject.page.count(b'elsewhere') > 4, 60, 'scores of the other server')
        wait_until(lambda: b'"i0"' not in subject.page, 60, 'the old ones to leave')
        asked = sum(subject.source.attempts.values())
        steps = len(subject.watched)
        wait_until(lambda: len(subject.watched) > steps + 4, 60, 'more steps')
        assert sum(subject.source.attempts.values()) <= asked + 2


def test_stopping_ends_those_that_wait_too(subject, model):
    """No thread outlives the exporter, whoever has just been told to begin."""
    subject.source.errors['other'] = QueryRejected('never')
    with logged('promlstm.runner'), running(subject):
        wait_until(lambda: both(subject), 60, 'both on the page')
        apply(subject, configured(model, a={'expr': 'other'}, b={}))
    assert not [thread.name for thread in threading.enumerate() if thread.name in ('promlstm-a', 'promlstm-b')]
    assert apply(subject, configured(model, a={}, b={})) == []
