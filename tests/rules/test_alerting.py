"""From a fault to the pager, all real: a service, Prometheus with our rules, promlstm, Alertmanager with our configuration, a receiver.

The rules and routes are those that are shipped; only their waiting times are shortened, all by the same factor.
"""

import json
import random
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import servers
from exporter import Exporter
from paging import alertmanager_config, held, receiving, rule_files
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

pytestmark = pytest.mark.real

PODS = 6
TICK_SECONDS = 0.05
DETECTORS = [
    # Entities with job, instance and pod of their own, of several features: somebody is to blame.
    {
        'name': 'shop_pod',
        'by': ['job', 'instance', 'pod'],
        'features': {
            'requests': 'sum by (job, instance, pod) (rate(shop_requests_total[5s]))',
            'errors': 'sum by (job, instance, pod) (rate(shop_errors_total[5s]))',
            'seconds': 'sum by (job, instance, pod) (rate(shop_seconds_sum[5s]))',
        },
        'min_relative_deviation': 0.3,
    },
    {'name': 'shop_traffic', 'expr': 'sum by (job, instance, pod) (rate(shop_requests_total[5s]))', 'min_relative_deviation': 0.3},
    # An entity without any label.
    {'name': 'all_traffic', 'expr': 'sum(rate(shop_requests_total[5s]))', 'direction': 'below', 'min_relative_deviation': 0.3},
]


class Shop(BaseHTTPRequestHandler):
    """A little service of some pods under /0/metrics and so on, serving customers who are made up; faults are set from outside."""

    failing = frozenset()  # pods whose requests fail, and slowly
    open = True  # whether customers come

    def do_GET(self):
        page = generate_latest(self.registries[int(self.path.split('/')[1])])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_):
        pass

    @classmethod
    def work(cls, stop):
        """Serve customers until told to stop."""
        cls.registries = [CollectorRegistry() for _ in range(PODS)]
        made = [
            (
                Counter('shop_requests', '', registry=registry),
                Counter('shop_errors', '', registry=registry),
                Histogram('shop_seconds', '', registry=registry),
            )
            for registry in cls.registries
        ]
        chance = random.Random(1)
        while not stop.wait(TICK_SECONDS):
            for pod, (requests, errors, seconds) in enumerate(made):
                for _ in range(chance.randrange(4, 9) if cls.open else 0):
                    requests.inc()
                    errors.inc(chance.random() < (0.9 if pod in cls.failing else 0.02))
                    seconds.observe(chance.gammavariate(4, 0.2 if pod in cls.failing else 0.005))


def serve(handler):
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f'127.0.0.1:{server.server_port}'


# What the runbook tells people to record: one pod of the shop is a reason to get up, even if it is not far off.
OVERRIDE = """
groups:
  - name: mine
    rules:
      - record: promlstm:page:override
        expr: vector(1)
        labels: {detector: shop_pod}
      - record: promlstm:critical_score_threshold:override
        expr: vector(1)
        labels: {detector: shop_pod}
"""


def scrape_config(address):
    """Pods as a service discovery gives them: each a target with an instance and a pod of its own."""
    targets = [
        {'targets': [address], 'labels': {'__metrics_path__': f'/{pod}/metrics', 'instance': f'10.0.0.{pod}:8080', 'pod': f'shop-{pod}'}}
        for pod in range(PODS)
    ]
    return {'job_name': 'shop', 'static_configs': targets}


@pytest.fixture(scope='module')
def running(tmp_path_factory):
    """All of it, healthy, and every entity scored."""
    directory, stop = tmp_path_factory.mktemp('alerting'), threading.Event()
    worker = threading.Thread(target=Shop.work, args=[stop], daemon=True)
    worker.start()
    shop, address = serve(Shop)
    with (
        receiving() as (receivers, receivers_address),
        servers.Alertmanager(directory / 'alertmanager', alertmanager_config(receivers_address)) as alertmanager,
    ):
        prometheus = servers.Prometheus(
            directory / 'prometheus', [scrape_config(address)], list(rule_files(directory, OVERRIDE)), alertmanagers=[alertmanager.address]
        )
        with prometheus:
            prometheus.wait_for('count(rate(shop_requests_total[5s])) == 6')
            # A week has 600 000 steps of a second: one false alarm in each of them is a budget for steps of a minute.
            pace = {'step': '1s', 'delay': '1s', 'history': '0s', 'false_alarms': '1/day each'}
            detectors = [{**detector, **pace} for detector in DETECTORS]
            with Exporter(directory / 'promlstm', prometheus.url, detectors) as exporter:
                prometheus.scrape_configs.append(exporter.scrape_config())
                prometheus.reload()
                prometheus.wait_for(f'count(promlstm_anomaly_score) == {2 * PODS + 1}', limit_seconds=180)
                yield prometheus, alertmanager, receivers
    stop.set()
    shop.shutdown()


def test_one_pod_that_fails_is_one_notification_that_says_why(running):
    """Entity, observed, expected and culprit are in the text; labels are the entity's own; it resolves after recovery."""
    prometheus, alertmanager, receivers = running
    since, began = len(receivers.told), time.monotonic()
    Shop.failing = frozenset({3})
    wanted = lambda path, labels, notes: labels.get('detector') == 'shop_pod' and labels['severity'] == 'critical'  # noqa: E731
    path, labels, notes = receivers.wait_for(since, wanted, 'the pager to be told of the pod')
    print(f'\nfrom fault to notification: {time.monotonic() - began:.1f} s at a step of 1 s')
    assert path == 'pager'
    own = {name: value for name, value in labels.items() if name in ('job', 'instance', 'pod')}
    assert own == {'job': 'shop', 'instance': '10.0.0.3:8080', 'pod': 'shop-3'}
    assert labels['promlstm_entity'] == 'instance=10.0.0.3:8080, job=shop, pod=shop-3'
    assert re.search(
        r'shop_pod of instance=10\.0\.0\.3:8080 job=shop pod=shop-3 is anomalous, mainly because of (errors|seconds)', notes['summary']
    )
    assert re.search(r'(errors|seconds), \d.*% of the surprise: [\d.]+ observed, above the [\d.]+ expected', notes['description'])
    assert 'since 20' in notes['description'] and notes['graph'].startswith('/graph?g0.expr=')

    # The warning of the same anomaly fires too, and is held back by the critical one.
    (warning,) = servers.wait_until(lambda: held(alertmanager, 'PromlstmAnomaly', 'warning', detector='shop_pod'), 30, 'the warning')
    assert warning['status']['inhibitedBy']
    told = [labels for _, labels, _ in receivers.alerts(since) if labels['promlstm_scope'] != 'exporter']
    assert {(one.get('detector'), one.get('pod')) for one in told} == {('shop_pod', 'shop-3')}, told
    assert len({json.dumps(message['groupLabels']) for _, message in receivers.told[since:]}) == 1

    Shop.failing = frozenset()
    receivers.wait_for(since, wanted, 'the pager to be told that it is over', 'resolved')
    prometheus.wait_for('count(ALERTS{alertstate="firing",alertname="PromlstmAnomaly"}) or vector(0)', quiet)


def test_traffic_that_stops_everywhere_is_told_once_for_all(running):
    """The detector's alert stands for those of its six entities; the entity without labels comes through without any."""
    prometheus, _, receivers = running
    since, began = len(receivers.told), time.monotonic()
    Shop.open = False
    receivers.wait_for(
        since,
        lambda _, labels, __: labels['alertname'] == 'PromlstmAnomalyInDetector' and labels.get('detector') == 'shop_traffic',
        'the many',
    )
    print(f'\nfrom fault to notification: {time.monotonic() - began:.1f} s at a step of 1 s')
    _, labels, notes = receivers.wait_for(since, lambda _, labels, __: labels.get('detector') == 'all_traffic', 'the one without labels')
    assert not {'job', 'instance', 'pod'} & set(labels) and labels['promlstm_entity'] == 'all'
    assert re.search(r'^all_traffic is anomalous: 0 observed, \d+ expected', notes['summary'])
    many = next(notes for _, labels, notes in receivers.alerts(since) if labels['alertname'] == 'PromlstmAnomalyInDetector')
    assert re.search(r'[56] of 6 entities are anomalous at once', many['summary'])
    # Of the detector that tells of all. What the pod of the test before is told of by another one, on its way out of its own fault, is another matter.
    for_pods = [labels for _, labels, _ in receivers.alerts(since) if 'pod' in labels and labels['detector'] == 'shop_traffic']
    assert not for_pods, for_pods

    Shop.open = True
    receivers.wait_for(since, lambda _, labels, __: labels.get('detector') == 'all_traffic', 'the end of it', 'resolved')
    prometheus.wait_for('count(ALERTS{alertstate="firing",alertname=~"PromlstmAnomaly.*"}) or vector(0)', quiet)


def quiet(result):
    return result[0]['value'][1] == '0'
