"""Several sources: one that hangs or changes is the business of its own detectors, and of no other."""

import pytest
import tiny_model
from fakes import noisy, raw
from running import SPEED, START, FaultySamples
from servers import wait_until

from promlstm import config as configuration
from promlstm.live.clock import Clock
from promlstm.live.scheduler import Scheduler
from promlstm.serve.page import Page
from promlstm.serve.telemetry import Telemetry


class Told:
    """What a server says of itself."""

    def __init__(self, skew):
        self.clock_skew_seconds = skew

    def retention_seconds(self):
        return None


class Two:
    """A scheduler with the detectors `a` of the section prometheus and `b` of the source logs, each of FaultySamples of its own."""

    def __init__(self, model):
        self.model, self.clock, self.watched = model, Clock(start=START, speed=SPEED), []
        self.sources = {name: FaultySamples({raw(instance=name): noisy(1)}) for name in ('prometheus', 'logs')}
        self.facts = {'prometheus': Told(0.0), 'logs': Told(100.0)}
        self.telemetry, self.gauges = Telemetry(process=False), Page(self.clock.now, self.clock.steady)
        self.scheduler = Scheduler(
            self.config(), self.sources, clock=self.clock, telemetry=self.telemetry, publish=self.gauges.publish, withdraw=self.gauges.withdraw,
            watch=lambda detector, verdicts, missing: self.watched.append(detector.config.name), facts=self.facts.__getitem__,
        )  # fmt: skip

    def config(self, logs='http://logs'):
        keys = f'expr: x, delay: 0s, history: 0s, model: {self.model}'
        return configuration.parse(
            f'prometheus: {{url: http://a}}\nsources: {{logs: {{url: {logs}}}}}\n'
            f'detectors: [{{name: a, {keys}}}, {{name: b, source: logs, {keys}}}]'
        )

    def on_page(self, name, instance):
        return f'promlstm_anomaly_score{{detector="{name}",instance="{instance}"'.encode() in b''.join(self.gauges.parts())

    def steps(self, name):
        return self.watched.count(name)


@pytest.fixture
def two(tmp_path):
    subject = Two(tiny_model.write(tmp_path / 'tiny.onnx'))
    subject.scheduler.start()
    wait_until(lambda: subject.on_page('a', 'prometheus') and subject.on_page('b', 'logs'), 60, 'each the entities of its own source')
    yield subject
    for source in subject.sources.values():
        source.held.set()
    assert subject.scheduler.stop(20)


def test_a_source_that_hangs_delays_nobody_else(two):
    """Its detector waits; that of the other goes on without a missed step, and the status of each is its own."""
    two.sources['logs'].held.clear()
    before = two.sources['logs'].attempts['x']
    wait_until(lambda: two.sources['logs'].attempts['x'] > before, 60, 'a query that hangs')
    steps, held = two.steps('a'), two.steps('b')
    wait_until(lambda: two.steps('a') > steps + 10, 60, 'steps of the other')
    assert two.steps('b') <= held + 1
    assert two.telemetry.registry.get_sample_value('promlstm_detector_missed_steps_total', {'detector': 'a'}) == 0
    notes = {name: str(status) for name, status in two.scheduler.statuses().items()}
    assert '1m40s ahead' in notes['b'] and 'ahead' not in notes['a']


def test_a_changed_source_is_asked_anew_by_its_own_detectors_alone(two):
    """The other runner stays, asks for no history, and its source is the same."""
    (first, second), asked = two.scheduler.runners, len(two.sources['prometheus'].asked)
    other = FaultySamples({raw(instance='elsewhere'): noisy(2)})
    changed = two.scheduler.apply(two.config('http://other'), two.sources | {'logs': other}, two.facts.__getitem__)
    assert changed == ['source logs']
    wait_until(lambda: two.on_page('b', 'elsewhere'), 60, 'the entities of the new one')
    assert first in two.scheduler.runners and second not in two.scheduler.runners
    assert len(two.sources['prometheus'].asked) == asked
