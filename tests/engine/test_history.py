"""The past of a detector is the same on whatever grid a server answers: no row is lost, and nobody is missing because of it."""

import math

import numpy as np
import pytest
from fakes import stepped
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from promlstm import backtest
from promlstm import config as configuration
from promlstm.demo.fleet import Series
from promlstm.demo.source import Source, exact, multiples
from promlstm.engine import history
from promlstm.engine import session as sessions
from promlstm.engine.columns import MISSING
from promlstm.engine.detector import Detector
from promlstm.engine.entities import Entities
from promlstm.query.prometheus import Prometheus

NOW = 1_750_000_200.0  # a multiple of 60 and of 300


class Clocks:
    """Three series whose value is the time of the sample, but for a constant."""

    series = tuple(Series('clock', {'instance': f'i{i}'}) for i in range(3))

    def values(self, times):
        return np.asarray(times)[:, None] + 1e12 * np.arange(3)

    def value(self, i, times):
        return self.values(times)[:, i]


@pytest.fixture(scope='module')
def source():
    with Source(Clocks(), lambda: NOW) as source:
        yield source


@pytest.fixture(scope='module')
def session():
    return sessions.load(sessions.resolve('builtin:forecaster'))


def parsed(source, **keys):
    tree = {'prometheus': {'url': source.url}, 'detectors': [{'name': 'd', 'expr': 'clock', 'history': '0s'} | keys]}
    return configuration.parse(str(tree))


def shifted(part):
    """A grid that lies a part of a step beside the one that was asked for, inside of the span."""
    return lambda start, end, step: start + step * (math.ceil(-part) + part) + step * np.arange(int((end - start) / step + 1e-9 - part) + 1)


GRIDS = {'exact': exact, 'multiples': multiples, 'a third late': shifted(1 / 3), 'just late': shifted(0.001), 'nearly a step late': shifted(0.99)}


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize(('step', 'delay'), [('1m', '10s'), ('20s', '10s'), ('1m', '30s'), ('5m', '10s'), ('15s', '0s'), ('1m', '1m30s')])
def test_every_row_has_the_sample_at_or_before_its_instant(source, grid, step, delay):
    """Whatever step and delay, and on any grid: from the first row to the last."""
    source.grid = GRIDS[grid]
    config = parsed(source, step=step, delay=delay)
    (detector,) = config.detectors
    end = history.aligned(NOW, detector.step)
    frames = [frame for frame, _ in history.frames(Prometheus(config.prometheus), detector, Entities(), end - 119 * detector.step, end, rows=3)]
    values = np.array([frame.values[:, 0] for frame in frames]) - 1e12 * np.arange(3)
    age = np.array([frame.time for frame in frames])[:, None] - detector.delay - values
    assert values.shape == (120, 3) and (age > -0.003).all() and (age < detector.step + 0.003).all()


@given(step=st.sampled_from([1, 15, 20, 60, 90, 300]), delay=st.integers(0, 400), part=st.floats(0, 1, exclude_max=True), steps=st.integers(1, 120))
@example(step=1, delay=0, part=0.0001, steps=1)
@example(step=1, delay=0, part=0.0019, steps=3)
@example(step=60, delay=10, part=0.99999, steps=60)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_offset_of_a_server_loses_a_row(source, step, delay, part, steps):
    """Any step, delay and offset."""
    source.grid = shifted(part)
    config = parsed(source, step=f'{step}s', delay=f'{delay}s')
    (detector,) = config.detectors
    end = history.aligned(NOW - 500, detector.step)
    frames = list(history.frames(Prometheus(config.prometheus), detector, Entities(), end - (steps - 1) * step, end, rows=3))
    assert len(frames) == steps and not any(np.isnan(frame.values).any() or len(frame.values) != 3 for frame, _ in frames)


def test_parts_of_a_long_history_join_on_any_grid(source):
    """Requests are cut below the limit of points; at each cut the rows go on without a gap."""
    source.grid = multiples
    config = parsed(source, step='1s', delay='500ms')
    (detector,) = config.detectors
    frames = history.frames(Prometheus(config.prometheus), detector, Entities(), NOW - 25_000, NOW, rows=3)
    values = np.array([frame.values[0, 0] for frame, _ in frames])
    assert len(values) == 25_001 and (np.diff(values) == 1).all()


@pytest.mark.parametrize('grid', ['exact', 'multiples'])
def test_a_start_declares_nobody_missing(source, session, grid):
    """What a warm start publishes first has a sample of everybody, and so has the live step after it."""
    source.grid = GRIDS[grid]
    config = parsed(source)
    subject = Detector(config.detectors[0], session, Prometheus(config.prometheus))
    verdicts = None
    for _, _, newest in subject.warm(lambda: NOW - 60):
        verdicts = newest or verdicts
    live, _ = stepped(subject, NOW)
    assert not (verdicts.status == MISSING).any() and not subject.missing(verdicts).any() and not (live.status == MISSING).any()


def test_a_backtest_judges_every_step(source, session):
    """Steps twice as long as the delay, on multiples of the step: rounding takes none of them."""
    source.grid = multiples
    config = parsed(source, step='20s', delay='10s')
    subject = Detector(config.detectors[0], session, Prometheus(config.prometheus))
    report = backtest.run(subject, NOW - 1800, NOW)
    assert report.missing == [] and report.judged_entity_weeks == pytest.approx(3 * 1800 / configuration.WEEK_SECONDS)
