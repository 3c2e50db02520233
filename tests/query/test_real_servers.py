"""The query API of real servers: VictoriaMetrics, which answers on a grid and in ways of its own, and Prometheus, which everything is measured by."""

import os
import re
import time

import numpy as np
import pytest
import servers
from requirements import absent
from servers import TOOLS, Server, free_port, wait_until

from promlstm import config
from promlstm.check import check
from promlstm.engine import history
from promlstm.engine.entities import Entities
from promlstm.errors import QueryRejected
from promlstm.query.prometheus import Prometheus
from promlstm.query.sources import Sources

SCRAPE = 15.0


@pytest.fixture(scope='module')
def victoria(tmp_path_factory):
    """A VictoriaMetrics with two series of some hours, up to now, whose values are the times of their samples."""
    if not os.access(TOOLS / 'victoria-metrics', os.X_OK):
        absent('no victoria-metrics in .cache/tools/bin: .ci/install-tools fetches it')
    port = free_port()
    command = (TOOLS / 'victoria-metrics', f'-httpListenAddr=127.0.0.1:{port}', f'-storageDataPath={tmp_path_factory.mktemp("victoria")}')
    with Server([*command, '-retentionPeriod=1y'], '/health', port=port) as server:
        server.end = time.time() // SCRAPE * SCRAPE
        times = server.end - SCRAPE * np.arange(4 * 3600 / SCRAPE)
        lines = [f'clock{{host="{host}"}} {at:.0f} {at * 1000:.0f}\n' for host in 'ab' for at in times]
        servers.http.post(server.url + '/api/v1/import/prometheus', data=''.join(lines), timeout=60).raise_for_status()
        servers.http.get(server.url + '/internal/force_flush', timeout=60).raise_for_status()
        wait_until(lambda: client(server).instant('clock', server.end - 600).keys, 60, 'the samples')
        yield server


def client(server):
    return Prometheus(config.Source(url=server.url))


@pytest.mark.real
@pytest.mark.parametrize('steps', [20, 49, 50, 51, 120, 200])
@pytest.mark.parametrize('step', [20.0, 60.0])
@pytest.mark.parametrize('delay', [0.0, 10.0])
def test_no_row_of_history_is_lost(victoria, steps, step, delay):
    """It moves the grid of 50 steps and more to multiples of the step: each row has a sample, at or just before its instant."""
    end = (victoria.end - 300) // step * step - delay
    (matrix,) = client(victoria).range('clock', end - (steps - 1) * step, end, step)
    age = matrix.times[:, None] - matrix.values
    assert matrix.values.shape == (steps, 2) and not np.isnan(matrix.values).any()
    assert (age >= 0).all() and (age < step + SCRAPE).all()
    assert np.allclose(np.diff(matrix.values, axis=0), step, atol=SCRAPE)


@pytest.mark.real
def test_the_newest_row_of_a_warm_start_is_there(victoria):
    """Up to the present step, as a warm start asks for it, nobody is missing."""
    detector = config.parse(f'prometheus: {{url: "{victoria.url}"}}\ndetectors: [{{name: d, expr: clock}}]').detectors[0]
    end = history.aligned(victoria.end, detector.step)
    frames = list(history.frames(client(victoria), detector, Entities(), end - 199 * detector.step, end, rows=2))
    values = np.array([frame.values for frame, _ in frames])
    assert values.shape == (200, 2, 1) and not np.isnan(values).any()


@pytest.mark.real
def test_answers_of_victoriametrics_are_read(victoria):
    """Nothing, a scalar, an error and an instant answer, in its words."""
    subject = client(victoria)
    assert subject.instant('nothing_of_this_name', victoria.end).keys == []
    assert next(subject.range('nothing_of_this_name', victoria.end - 6000, victoria.end, 60)).values.shape == (101, 0)
    assert subject.instant('42', victoria.end).values.tolist() == [42.0]
    with pytest.raises(QueryRejected, match='parse'):
        subject.instant('sum(', victoria.end)
    now = subject.instant('clock', victoria.end)
    assert len(now.keys) == 2 and not now.partial and now.offset_seconds == 0


@pytest.mark.real
@pytest.mark.parametrize('method', ['auto', 'GET', 'POST'])
def test_prometheus_is_asked_by_either_method(prometheus, method):
    """And its answers lie on the grid that was asked for, to the millisecond."""
    prometheus.wait_for('up == 1')
    subject, now = Prometheus(config.Source(url=prometheus.url, method=method)), time.time()
    vector = subject.instant('timestamp(up) * 0 + time()', now)
    assert abs(vector.values[0] - now) < 0.002 and vector.offset_seconds == 0
    (matrix,) = subject.range('time()', now - 7.3, now, 0.1)
    assert np.allclose(matrix.values[:, 0], matrix.times, atol=0.002)


@pytest.mark.real
def test_prometheus_takes_parameters_in_the_url(prometheus):
    """A look-back of a millisecond finds nothing, so the parameter has arrived."""
    prometheus.wait_for('up == 1')
    at = time.time() - 0.0005
    assert Prometheus(config.Source(url=prometheus.url)).instant('up', at).keys
    short = Prometheus(config.Source(url=prometheus.url, params={'lookback_delta': '1ms'}))
    assert any(not short.instant('up', at - i * 0.01).keys for i in range(20))


@pytest.mark.real
def test_two_servers_in_one_configuration(victoria, prometheus, tmp_path):
    """Each is asked for what it alone has, and check-config names both with what they say of themselves."""
    prometheus.wait_for('prometheus_build_info')
    parsed = config.parse(
        f'prometheus: {{url: "{prometheus.url}"}}\nsources: {{long: {{url: "{victoria.url}"}}}}\n'
        'detectors: [{name: a, expr: prometheus_build_info, delay: 0s}, {name: b, expr: clock, source: long, delay: 10m}]'
    )
    subject = Sources(parsed.named_sources)
    now = time.time()
    for detector, found in zip(parsed.detectors, (1, 2), strict=True):
        expr = detector.queries['']
        assert len(subject[parsed.source_name(detector)].instant(expr, now - detector.delay).keys) == found
        others = next(name for name in parsed.named_sources if name != parsed.source_name(detector))
        assert subject[others].instant(expr, now - detector.delay).keys == []
    lines = []
    assert check(parsed, online=True, say=lines.append)
    assert re.match(r'prometheus: reachable, \d', lines[0]) and lines[1].startswith('sources.long: reachable, ')
    rows = {line.split()[0]: line.split() for line in lines if line[:2] in ('a ', 'b ')}
    assert '1' in rows['a'] and '2' in rows['b']
