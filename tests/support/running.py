"""Detectors on a fast clock, with a source whose failures a test orders."""

import logging
import threading
from collections import Counter
from contextlib import contextmanager
from functools import partial

from fakes import Samples, noisy, raw

from promlstm import config as configuration
from promlstm.live.clock import Clock
from promlstm.live.incidents import Gathering
from promlstm.live.scheduler import Scheduler
from promlstm.live.storage import Storage
from promlstm.serve.page import OF_INCIDENTS, Page
from promlstm.serve.telemetry import Telemetry
from promlstm.ui.board import Board

START = 1_750_000_200.0
SPEED = 600.0  # a step of a minute takes a tenth of a second


class FaultySamples(Samples):
    """Samples that raise what a test orders, {expression: error}, and whose queries can be held up."""

    def __init__(self, series):
        super().__init__(series)
        self.errors, self.held = {}, threading.Event()
        self.attempts = Counter()  # {expression: queries at an instant}
        self.ranges = 0  # queries of a span
        self.held.set()

    def instant(self, expr, time):
        """As Prometheus.instant, or the error that was ordered."""
        self.attempts[expr] += 1
        self.held.wait(30)
        if expr in self.errors:
            raise self.errors[expr]
        return super().instant(expr, time)

    def range(self, expr, start, end, step, series=1):
        """As Prometheus.range, or the error that was ordered."""
        self.ranges += 1
        if expr in self.errors:
            raise self.errors[expr]
        yield from super().range(expr, start, end, step, series)


class Running:
    """A scheduler over FaultySamples (or another kind) with detectors `a` and `b`, and all that it publishes, on pages too.

    facts    what the server says of itself, or None
    storage  folder of checkpoints, or None
    root_cause  that section of the configuration, or None
    keys     {detector: its configuration}, beside the defaults here: the light model, which starts from a few hundred steps
    """

    def __init__(self, clock=None, kind=FaultySamples, facts=None, storage=None, interval=0.05, url='http://localhost:9090', root_cause=None, **keys):
        self.source = kind({raw(instance=f'i{i}'): noisy(i) for i in range(3)})
        self.clock = clock or Clock(start=START, speed=SPEED)
        self.telemetry, self.gauges, self.watched = Telemetry(process=False), Page(self.clock.now, self.clock.steady), []
        light = {'model': 'builtin:forecaster', 'delay': '0s', 'history': '0s'}
        detectors = [{'name': name, 'expr': name, **light} | keys.get(name, {}) for name in 'ab']
        config = configuration.parse(str({'prometheus': {'url': url}, 'detectors': detectors, 'root_cause': root_cause or {}}))
        self.storage = storage and Storage(storage, interval, 'ab', self.telemetry, self.clock.stopping, now=self.clock.now)
        self.incidents = Gathering(config.root_cause, self.clock, self.telemetry, partial(self.gauges.publish, OF_INCIDENTS))
        self.board = Board(self.clock.now)
        self.scheduler = Scheduler(
            config,
            {'prometheus': self.source},
            clock=self.clock,
            telemetry=self.telemetry,
            publish=self.gauges.publish,
            withdraw=self.board.beside(self.gauges.withdraw),
            watch=self._watch,
            facts=facts and (lambda name: facts),
            storage=self.storage,
            incidents=self.incidents,
        )

    def _watch(self, detector, verdicts, missing):
        self.board.observe(detector, verdicts, missing)
        self.watched.append((detector.config.name, verdicts.time))

    @property
    def page(self):
        """What a scrape would return."""
        return b''.join(self.gauges.parts())

    def on_page(self, name):
        """Whether a detector's scores are on the page."""
        return f'promlstm_anomaly_score{{detector="{name}"'.encode() in self.page

    def metric(self, name, **labels):
        """The value of one of the exporter's own metrics; None = it is not there."""
        return self.telemetry.registry.get_sample_value(name, labels)


@contextmanager
def running(subject=None, **keys):
    """A Running that is started, and stopped at the end."""
    subject = subject or Running(**keys)
    subject.scheduler.start()
    try:
        yield subject
    finally:
        subject.source.held.set()
        assert subject.scheduler.stop(20)
        if subject.storage:
            subject.storage.stop(20)
        subject.ended = subject.clock.now()


@contextmanager
def logged(name, level='INFO'):
    """The records of a logger, whatever earlier tests did to logging."""
    logger, records, handler = logging.getLogger(name), [], logging.Handler()
    handler.emit, before = records.append, logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
