"""The main job on real parts: node_exporter and promlstm scraped by a real Prometheus, which promlstm polls."""

import json
import math
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import requests
from exporter import RUNTIME, Exporter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from servers import NodeExporter, Prometheus, promtool, wait_until

from promlstm.serve import exposition

pytestmark = pytest.mark.real

DETECTORS = [
    {'name': 'cpu', 'expr': 'rate(node_cpu_seconds_total{mode="idle"}[5s])', 'step': '1s', 'delay': '1s', 'range': [0, 1.5], 'model': 'builtin:default'},
    {'name': 'files', 'expr': 'sum(node_filefd_allocated)', 'step': '1s', 'delay': '1s'},
    {
        'name': 'host',
        'by': ['instance'],
        'features': {'load': 'node_load1', 'free': 'node_memory_MemAvailable_bytes', 'up': 'up{job="node"}'},
        'step': '1s',
        'delay': '1s',
    },
    {'name': 'broken', 'expr': 'rate(node_cpu_seconds_total', 'step': '1s'},
]


@pytest.fixture(scope='module')
def running(tmp_path_factory):
    """All three, and the exporter's page scraped back."""
    directory = tmp_path_factory.mktemp('end-to-end')
    with NodeExporter() as node, Prometheus(directory / 'prometheus', [node.scrape_config('node')]) as prometheus:
        prometheus.wait_for('node_load1')
        with Exporter(directory / 'promlstm', prometheus.url, DETECTORS) as exporter:
            prometheus.scrape_configs.append(exporter.scrape_config())
            prometheus.reload()
            for name in ('cpu', 'files', 'host'):
                prometheus.wait_for(f'promlstm_anomaly_score{{detector="{name}"}}', limit_seconds=180)
            yield prometheus, exporter, node


def test_every_entity_has_a_score_with_its_own_labels(running):
    prometheus, exporter, node = running
    watched = prometheus.query('rate(node_cpu_seconds_total{mode="idle"}[5s])')
    scored = prometheus.query('promlstm_anomaly_score{detector="cpu"}')
    labels = [series['metric'] for series in watched]
    assert labels and all(label['instance'] == node.address and label['job'] == 'node' for label in labels)
    added = {'promlstm_replica': exporter.address}  # by the scrape configuration, to each series of this exporter
    assert sorted(map(str, ({'__name__': 'promlstm_anomaly_score', 'detector': 'cpu', **label, **added} for label in labels))) == sorted(
        str(dict(sorted(series['metric'].items(), key=lambda pair: (pair[0] != '__name__', pair[0] != 'detector', pair[0]))))
        for series in scored
    )


def test_an_entity_without_labels_gets_none_from_the_scrape(running):
    """But for the one that tells exporters apart."""
    prometheus, exporter, _ = running
    (series,) = prometheus.query('promlstm_anomaly_score{detector="files"}')
    assert series['metric'] == {'__name__': 'promlstm_anomaly_score', 'detector': 'files', 'promlstm_replica': exporter.address}


def test_features_are_joined_into_one_entity_with_a_contribution_each(running):
    prometheus, _, node = running
    (score,) = prometheus.query('promlstm_anomaly_score{detector="host"}')
    shares = prometheus.query('promlstm_contribution{detector="host"}')
    assert score['metric']['instance'] == node.address
    assert {series['metric']['feature'] for series in shares} == {'load', 'free', 'up'}
    assert sum(float(series['value'][1]) for series in shares) == pytest.approx(1, abs=1e-3)


def test_scores_come_with_what_was_seen_and_expected(running):
    prometheus, _, _ = running
    one = {name: float(prometheus.query(f'promlstm_{name}{{detector="files"}}')[0]['value'][1]) for name in ('observed', 'expected')}
    band = [float(prometheus.query(f'promlstm_expected_{side}{{detector="files"}}')[0]['value'][1]) for side in ('lower', 'upper')]
    assert one['observed'] > 0 and band[0] <= one['expected'] <= band[1]


def test_promtool_accepts_the_text_page(running):
    _, exporter, _ = running
    page = requests.get(exporter.url + '/metrics', timeout=10).text
    assert 'promlstm_anomaly_score' in page
    promtool('check', 'metrics', input=page)
    assert {family.name for family in parse_text(page)} >= {'promlstm_anomaly_score', 'promlstm_detector_entities'}


def test_the_strict_parser_accepts_the_openmetrics_page(running):
    _, exporter, _ = running
    accept = {'Accept': 'application/openmetrics-text; version=1.0.0'}
    response = requests.get(exporter.url + '/metrics', headers=accept, timeout=10)
    families = [family.name for family in parse_openmetrics(response.text)]
    assert response.headers['Content-Type'].startswith('application/openmetrics-text')
    assert response.text.endswith('# EOF\n') and len(families) == len(set(families))
    assert [name for name in exposition.FAMILIES if name in families] == [name for name in families if name in exposition.FAMILIES]


def test_a_real_scrape_takes_the_page(running):
    prometheus, _, _ = running
    assert prometheus.query('up{job="promlstm"}')[0]['value'][1] == '1'
    targets = requests.get(prometheus.url + '/api/v1/targets', timeout=10).json()['data']['activeTargets']
    (target,) = [target for target in targets if target['labels']['job'] == 'promlstm']
    assert target['lastError'] == ''


def test_a_query_that_is_wrong_is_named_and_harms_no_other(running):
    prometheus, exporter, _ = running
    ready = requests.get(exporter.url + '/-/ready', timeout=10)
    assert ready.status_code == 200 and 'broken: warm:' in ready.text and 'parse error' in ready.text
    assert prometheus.query('promlstm_detector_failures_total{detector="broken",stage="warm"} > 0')
    assert not prometheus.query('promlstm_anomaly_score{detector="broken"}')
    assert {series['metric']['detector'] for series in prometheus.query('promlstm_detector_up == 1')} == {'cpu', 'files', 'host'}


def test_the_landing_page_leads_to_the_metrics(running):
    _, exporter, _ = running
    page = requests.get(exporter.url + '/', timeout=10)
    assert 'href="metrics"' in page.text and 'of 4 detectors score' in page.text
    assert requests.get(exporter.url + '/nothing', timeout=10).status_code == 404


@pytest.mark.parametrize(('detector', 'features'), [('cpu', ['']), ('host', ['free', 'load', 'up'])])
def test_the_page_of_an_entity_shows_its_past_from_our_gauges(running, detector, features):
    """By the labels of its alert, from this Prometheus: observed, expected and score of each step."""
    prometheus, exporter, _ = running
    (series, *_) = prometheus.query(f'promlstm_anomaly_score{{detector="{detector}"}}')
    entity = json.dumps(series['metric']).replace('": "', '"="')  # {"job"="node",…} as Prometheus 3 writes it
    asked = {'detector': detector, 'entity': entity, 'range': '1m'}

    def past():
        found = requests.get(exporter.url + '/api/v1/history', params=asked, timeout=30).json()['data']
        return found if found['origin'] == 'gauges' and any(found['score']) else None

    found = wait_until(past, 60, 'the past of an entity')
    assert sorted(each['name'] for each in found['features']) == features and found['state'] in ('normal', 'anomalous')
    for feature in found['features']:
        known = [place for place, score in enumerate(found['score']) if score is not None]
        assert known and all(feature[name][place] is not None for name in ('observed', 'expected') for place in known[-1:])
    page = requests.get(exporter.url + '/entity', params=asked, timeout=30)
    assert page.status_code == 200 and 'Values' in page.text and 'honor_labels' not in page.text


def test_tensorflow_is_not_in_reach(running):
    """The process that scores has mapped no library of the training side, and its environment holds none."""
    _, exporter, _ = running
    mapped = Path(f'/proc/{exporter.child.pid}/maps').read_text()
    assert 'onnxruntime' in mapped and not re.search(r'tensorflow|keras|tf2onnx|h5py', mapped)
    if RUNTIME.exists():
        tried = subprocess.run([RUNTIME, '-c', 'import tensorflow'], capture_output=True, text=True, check=False)
        assert 'ModuleNotFoundError' in tried.stderr


def test_scores_advance_step_by_step(running):
    prometheus, _, _ = running
    expr = 'promlstm_detector_last_step_timestamp_seconds{detector="files"}'
    before = float(prometheus.query(expr)[0]['value'][1])
    (later,) = prometheus.wait_for(expr, lambda result: float(result[0]['value'][1]) >= before + 3)
    assert math.isclose(float(later['value'][1]) % 1, 0, abs_tol=1e-6)


def has_score(exporter):
    return 'promlstm_anomaly_score{' in requests.get(exporter.url + '/metrics', timeout=10).text


def test_scores_vanish_while_prometheus_is_down_and_return_with_it(tmp_path):
    with NodeExporter() as node:
        prometheus = Prometheus(tmp_path / 'prometheus', [node.scrape_config('node')])
        with prometheus:
            prometheus.wait_for('node_load1')
            exporter = Exporter(tmp_path / 'promlstm', prometheus.url, DETECTORS[1:2], '--log.format=json').start()
            wait_until(lambda: has_score(exporter), 120, 'a first score')
        wait_until(lambda: not has_score(exporter), 30, 'the score to leave the page')
        page = requests.get(exporter.url + '/metrics', timeout=10).text
        assert 'promlstm_detector_up{detector="files"} 0.0' in page
        ready = requests.get(exporter.url + '/-/ready', timeout=10)
        assert ready.status_code == 200 and 'cannot be reached' in ready.text
        with prometheus:
            wait_until(lambda: has_score(exporter), 120, 'the score to come back')
            began = time.monotonic()
            assert exporter.stop() == 0, exporter.tail()
            assert time.monotonic() - began < 20
    events = [json.loads(line) for line in exporter.log.read_text().splitlines()]
    assert [event['msg'] for event in events if event['msg'] in ('step failed', 'recovered')][:1] == ['step failed']
    assert 'recovered' in [event['msg'] for event in events]


@pytest.mark.parametrize('wrong', ['url', 'expr', 'model'])
def test_an_exporter_that_has_scored_nothing_is_not_ready(tmp_path, prometheus, wrong):
    detector = {'name': 'x', 'expr': 'up', 'step': '1s'} | {'expr': {'expr': 'up{'}, 'model': {'model': 'none.onnx'}}.get(wrong, {})
    url = 'http://127.0.0.1:1' if wrong == 'url' else prometheus.url
    says = {'url': 'cannot be reached', 'expr': 'parse error', 'model': 'cannot be read'}[wrong]
    with Exporter(tmp_path / 'promlstm', url, [detector]) as exporter:
        ready = lambda: requests.get(exporter.url + '/-/ready', timeout=10)  # noqa: E731
        wait_until(lambda: says in ready().text, 60, 'the reason')
        assert ready().status_code == 503 and ready().text.startswith('promlstm is not ready.\nx: ')


def test_sigint_ends_it_like_sigterm(tmp_path, prometheus):
    exporter = Exporter(tmp_path / 'promlstm', prometheus.url, [{'name': 'up', 'expr': 'up', 'step': '1s'}]).start()
    exporter.child.send_signal(signal.SIGINT)
    assert exporter.stop() == 0
