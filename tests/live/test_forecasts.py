"""Forecasts beside the scores: on the page, off it when they fail, compared with what came, limits by expression."""

from pathlib import Path

import numpy as np
import prometheus_client
import pytest
import tiny_forecast
from fakes import raw
from running import START, FaultySamples, Running, logged, running
from servers import wait_until

from promlstm import config as configuration
from promlstm.errors import QueryRejected


class Falling(FaultySamples):
    """Disks that lose 60 bytes a minute; `size` says how large they are."""

    def __init__(self, _series):
        super().__init__({raw(instance=f'i{i}', device=f'd{i}'): lambda time, i=i: 1e6 * (i + 1) - (time - START) for i in range(3)})

    def instant(self, expr, time):
        """`size` has one series for each instance, and another label than the disks."""
        found = super().instant(expr, time)
        if expr != 'size':
            return found
        keys = [raw(instance=f'i{i}') for i in range(2)]
        return type(found)(keys, np.array([2e6, 3e6]))


@pytest.fixture
def path(tmp_path):
    return str(tiny_forecast.write(tmp_path / 'forecast.onnx'))


def started(path, kind=Falling, **forecast):
    return Running(kind=kind, a={'history': '2d', 'forecast': {'model': path, 'horizons': ['1h', '1d'], **forecast}})


PLAIN = {'model': 'builtin:forecaster', 'delay': '0s', 'history': '0s'}     # as the detectors of Running are


def applied(subject, detectors):
    """What changes by a configuration of these detectors."""
    config = configuration.parse(str({'prometheus': {'url': 'http://localhost:9090'}, 'detectors': detectors}))
    return subject.scheduler.apply(config, {'prometheus': subject.source})


def lines(page, family):
    """The lines of a family."""
    return [line for line in page.decode().splitlines() if line.startswith(family + '{')]


def test_forecasts_are_on_the_page_of_the_detectors_that_ask(path):
    with running(started(path)) as subject:
        wait_until(lambda: b'promlstm_forecast{' in subject.page and subject.on_page('b'), 60, 'a forecast')
        found = lines(subject.page, 'promlstm_forecast')
        assert len(found) == 3 * 2 * 3 and all('detector="a"' in line for line in found)
        assert any('device="d0",instance="i0",job="",horizon="1h",bound="middle"} ' in line for line in found)
        assert any('horizon="1d"' in line for line in found)
        assert b'promlstm_time_to_limit_seconds' not in subject.page
        assert subject.metric('promlstm_forecast_last_success_timestamp_seconds', detector='a') is not None
        assert subject.metric('promlstm_forecast_last_success_timestamp_seconds', detector='b') is None


def test_the_time_to_a_limit(path):
    with running(started(path, limit=5e5)) as subject:
        wait_until(lambda: b'promlstm_time_to_limit_seconds{' in subject.page, 60, 'a time to the limit')
        found = {line.split('} ')[0][-12:]: line.split()[-1] for line in lines(subject.page, 'promlstm_time_to_limit_seconds') if 'i0' in line}
        assert len(lines(subject.page, 'promlstm_time_to_limit_seconds')) == 6
        assert set(found.values()) == {'+Inf'}, 'yesterday there was more'
        assert {line.split()[-1] for line in lines(subject.page, 'promlstm_forecast_limit')} == {'500000.0'}


def test_a_limit_by_expression_and_an_entity_without(path):
    with running(started(path, limit_expr='size', approach='rising')) as subject:
        wait_until(lambda: b'promlstm_forecast_limit{' in subject.page, 60, 'a limit')
        assert sorted(line.split()[-1] for line in lines(subject.page, 'promlstm_forecast_limit')) == ['2000000.0', '3000000.0']
        assert len(lines(subject.page, 'promlstm_time_to_limit_seconds')) == 4
        wait_until(lambda: subject.metric('promlstm_forecast_unlimited_entities', detector='a') == 1, 20, 'the entity without')


def test_a_failure_costs_the_forecast_alone(path):
    subject = started(path, limit_expr='size')
    with running(subject):
        wait_until(lambda: b'promlstm_forecast{' in subject.page, 60, 'a forecast')
        subject.source.errors['size'] = QueryRejected('no such metric')
        wait_until(lambda: b'promlstm_forecast{' not in subject.page, 60, 'no forecast')
        assert subject.on_page('a') and subject.metric('promlstm_forecast_failures_total', detector='a') >= 1
        del subject.source.errors['size']
        wait_until(lambda: b'promlstm_forecast{' in subject.page, 60, 'a forecast again')


def test_a_failed_step_takes_the_forecast_off_too(path):
    subject = started(path)
    with running(subject):
        wait_until(lambda: b'promlstm_forecast{' in subject.page, 60, 'a forecast')
        subject.source.errors['a'] = QueryRejected('no')
        wait_until(lambda: b'promlstm_forecast{' not in subject.page and not subject.on_page('a'), 60, 'a failed step')
        del subject.source.errors['a']
        wait_until(lambda: b'promlstm_forecast{' in subject.page, 60, 'a forecast again')


class Nothing(FaultySamples):
    """No series at all, and no limit."""

    def __init__(self, _series):
        super().__init__({})


@pytest.mark.parametrize('limit', [{}, {'limit': 5e5}, {'limit_expr': 'size'}], ids=str)
def test_a_detector_without_series_makes_no_forecast_and_no_failure(path, limit):
    """As one whose exporter is not there yet."""
    with logged('promlstm.runner') as records, running(started(path, Nothing, **limit)) as subject:
        wait_until(lambda: (subject.metric('promlstm_forecast_last_success_timestamp_seconds', detector='a') or 0) > 0, 60, 'a forecast of nothing')
        assert b'promlstm_forecast{' not in subject.page and not subject.metric('promlstm_forecast_failures_total', detector='a')
    assert not [record for record in records if record.levelname == 'ERROR']


def test_forecasts_are_compared_with_what_came(path):
    """The tiny model says what was there yesterday, so its error is that of the simple forecast."""
    subject = started(path, horizons=['5m', '10m'])
    with running(subject):
        wait_until(lambda: subject.metric('promlstm_forecast_error_ratio', detector='a', horizon='10m') is not None, 120, 'figures')
        assert subject.metric('promlstm_forecast_error_ratio', detector='a', horizon='5m') == pytest.approx(1.0)
        assert subject.metric('promlstm_forecast_coverage_ratio', detector='a', horizon='5m') == 0.0


def test_a_model_that_cannot_forecast_is_refused(tmp_path):
    path = str(tiny_forecast.write(tmp_path / 'forecast.onnx', edit={'step_seconds': (300, 3600)}))
    with running(started(path)) as subject:
        wait_until(lambda: (subject.metric('promlstm_forecast_failures_total', detector='a') or 0) >= 1, 60, 'the failure')
        assert subject.on_page('a') or wait_until(lambda: subject.on_page('a'), 30, 'the scores')


def test_a_broken_new_model_file_leaves_the_old_one_in_use(path):
    with running(started(path, horizons=['5m'])) as subject, logged('promlstm.runner') as records:
        wait_until(lambda: b'promlstm_forecast{' in subject.page, 60, 'a forecast')
        tiny_forecast.write(Path(path), wrong=1.0)
        wait_until(lambda: any('the old model is kept' in record.getMessage() for record in records), 60, 'the refusal')
        wait_until(lambda: b'promlstm_forecast{' in subject.page, 60, 'a forecast of the old model')
        assert not subject.metric('promlstm_forecast_failures_total', detector='a')
        tiny_forecast.write(Path(path), edit={'name': 'second'})
        shown = lambda: b'model="second"' in prometheus_client.generate_latest(subject.telemetry.registry)  # noqa: E731
        wait_until(shown, 60, 'the new model')


def test_a_detector_that_forecasts_no_more_leaves_no_forecast_behind(path):
    """That of an hour's horizon would be good for twelve minutes; nor a gauge of its model, age, quality and failures, for these would stay for ever."""
    with running(started(path, horizons=['5m', '1h'])) as subject:
        shown = lambda: prometheus_client.generate_latest(subject.telemetry.registry)  # noqa: E731
        wait_until(lambda: b'promlstm_forecast{' in subject.page, 60, 'a forecast')
        wait_until(lambda: b'promlstm_forecast_error_ratio{detector="a"' in shown(), 60, 'its quality')
        assert b'promlstm_forecast_failures_total{detector="a"' in shown()
        others = [{**PLAIN, 'name': name, 'expr': name} for name in 'ab']
        assert applied(subject, others) == ['detector a']
        wait_until(lambda: all(runner.config.forecast is None for runner in subject.scheduler.runners), 60, 'the new detector')
        assert b'promlstm_forecast{' not in subject.page
        assert not [line for line in shown().decode().splitlines() if line.startswith('promlstm_forecast_') and 'detector="a"' in line]


def test_a_detector_with_other_horizons_leaves_no_quality_of_the_old_ones(path):
    """Its counter of failures is there from the first."""
    with running(started(path, horizons=['5m'])) as subject:
        shown = lambda: prometheus_client.generate_latest(subject.telemetry.registry)  # noqa: E731
        wait_until(lambda: b'promlstm_forecast_error_ratio{detector="a",horizon="5m"}' in shown(), 60, 'the quality')
        forecast = {'model': path, 'horizons': ['10m']}
        other = {**PLAIN, 'name': 'a', 'expr': 'a', 'history': '2d', 'forecast': forecast}
        assert applied(subject, [other, {**PLAIN, 'name': 'b', 'expr': 'b'}]) == ['detector a']
        wait_until(lambda: b'horizon="10m"' in subject.page, 60, 'the new detector')
        assert b'horizon="5m"' not in shown() and b'promlstm_forecast_failures_total{detector="a"} 0' in shown()
        assert b'promlstm_forecast_model_info{detector="a"' in shown()
