"""One fault, one page, all real: a service of three tiers, Prometheus with our rules, promlstm, Alertmanager with our routes, a pager.

What the fault reaches is anomalous seconds later, and something that has nothing to do with it is louder. A minute of rules, routes and incidents
is a second here, and so is a step.
"""

import random
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import servers
from exporter import Exporter
from paging import alertmanager_config, held, receiving, rule_files

pytestmark = pytest.mark.real

TIERS = {'frontend': 'shop', 'shop': 'database'}  # who calls whom
REACHED = {'database': 0, 'shop': 3, 'frontend': 6}  # seconds after the fault until a service feels it
UNRELATED, LATER = 'reports', 3
SERVICES = (*REACHED, UNRELATED)
BY = 'by (service)'
PACE = {'step': '1s', 'delay': '1s', 'history': '0s', 'min_relative_deviation': 0.3, 'false_alarms': '1/day each'}
DETECTORS = [
    {'name': 'cpu', 'expr': f'max {BY} (service_cpu_ratio)'},
    {'name': 'latency', 'expr': f'sum {BY} (rate(service_seconds_sum[5s])) / sum {BY} (rate(service_requests_total[5s]))'},
    {'name': 'errors', 'expr': f'sum {BY} (rate(service_errors_total[5s]))'},
    {'name': 'requests', 'expr': f'sum {BY} (rate(service_requests_total[5s]))'},
]
EDGES = {'expr': 'sum by (client, server) (rate(traces_service_graph_request_total[10s]))', 'from': 'client', 'to': 'server', 'label': 'service'}
SETTINGS = {'root_cause': {'edges': [EDGES], 'window': '15s', 'interval': '1s'}}


class Services:
    """Pages of four services that work at a steady pace; `fault` is when the database got slow, or None."""

    def __init__(self):
        self.fault, self._lock, self._chance = None, threading.Lock(), random.Random(1)
        self._totals = {name: dict.fromkeys(('requests', 'errors', 'seconds'), 0.0) for name in SERVICES}
        self._seen = dict.fromkeys(SERVICES, time.monotonic())

    def page(self, name):
        """What a service tells now."""
        with self._lock:
            now = time.monotonic()
            passed, self._seen[name] = now - self._seen[name], now
            since = now - self.fault if self.fault else -1.0
            sick = name in REACHED and since >= REACHED[name]
            count = 100 * passed * self._chance.uniform(0.95, 1.05)
            totals = self._totals[name]
            totals['requests'] += count
            totals['errors'] += count * (0.2 if sick else 0.01) * self._chance.uniform(0.9, 1.1)
            totals['seconds'] += count * (0.4 if sick else 0.05) * self._chance.uniform(0.9, 1.1)
            cpu = {'database': 0.6 if sick else 0.3, UNRELATED: 0.95 if since >= LATER else 0.05}.get(name, 0.2) * self._chance.uniform(0.95, 1.05)
        called = TIERS.get(name)
        calls = f'traces_service_graph_request_total{{client="{name}",server="{called}"}} {totals["requests"]}\n' if called else ''
        return (
            f'service_cpu_ratio {cpu}\nservice_requests_total {totals["requests"]}\nservice_errors_total {totals["errors"]}\n'
            f'service_seconds_sum {totals["seconds"]}\n{calls}'
        ).encode()


def serving(services):
    """A server of the pages, below the name of each service."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            page = services.page(self.path.split('/')[1])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def scrape_config(port):
    """Each service a target with an instance and a name of its own."""
    targets = [
        {'targets': [f'127.0.0.1:{port}'], 'labels': {'__metrics_path__': f'/{name}/metrics', 'instance': f'{name}:80', 'service': name}} for name in SERVICES
    ]
    return {'job_name': 'store', 'static_configs': targets}


@pytest.fixture(scope='module')
def running(tmp_path_factory):
    """All of it, healthy, and every series scored."""
    directory, services = tmp_path_factory.mktemp('incident'), Services()
    server = serving(services)
    with (
        receiving() as (receivers, address),
        servers.Alertmanager(directory / 'alertmanager', alertmanager_config(address)) as alertmanager,
        servers.Prometheus(
            directory / 'prometheus', [scrape_config(server.server_port)], list(rule_files(directory)), alertmanagers=[alertmanager.address]
        ) as prometheus,
    ):
        prometheus.wait_for('count(rate(service_seconds_sum[5s])) == 4 and count(rate(traces_service_graph_request_total[5s])) == 2')
        detectors = [{**each, **PACE} for each in DETECTORS]
        storage = f'--storage.path={directory / "storage"}'
        with Exporter(directory / 'promlstm', prometheus.url, detectors, storage, settings=SETTINGS, hurried=True) as exporter:
            prometheus.scrape_configs.append(exporter.scrape_config())
            prometheus.reload()
            prometheus.wait_for('count(promlstm_anomaly_score) == 16 and on () promlstm_dependency_remembered_edges == 2', limit_seconds=180)
            yield services, alertmanager, receivers, exporter
    server.shutdown()
    server.server_close()


def listed(exporter, state='all'):
    """{the services of its members: the incident} of those that the API has in a state."""
    found = requests.get(f'{exporter.url}/api/v1/incidents?state={state}', timeout=10).json()['data']['incidents']
    return {frozenset(member['labels']['service'] for member in each['members']): each for each in found}


def reached(exporter):
    """The open incidents of the fault and of the stranger, once both are there and the fault has reached the top."""
    found, wanted = listed(exporter, 'open'), (frozenset(REACHED), frozenset({UNRELATED}))
    return [found[each] for each in wanted] if set(wanted) <= found.keys() else None


def is_page(receiver, labels, notes):
    return receiver == 'pager'


def test_a_fault_is_one_page_that_names_its_cause(running):
    """All that it reaches is in the page of the database, with how sure that is; the louder stranger is not, and pages nobody."""
    services, alertmanager, receivers, exporter = running
    assert not listed(exporter)
    services.fault = began = time.monotonic()
    _, labels, notes = receivers.wait_for(0, is_page, 'the page')
    print(f'\nfrom fault to page: {time.monotonic() - began:.1f} s at a step of 1 s')
    assert (labels['alertname'], labels['severity']) == ('PromlstmIncident', 'critical')
    sure = re.match(r'incident: likely cause \((\d+)%\) is \w+ of service=database; \d+ entities of \d detectors are anomalous', notes['summary'])
    assert sure and int(sure[1]) >= 50, notes
    assert re.match(r'Likely cause: \w+ of service=database \(\d+%\)\. Other candidates: ', notes['description']), notes

    # It grows upwards under the same id, and the database stays the likeliest.
    told, stranger = servers.wait_until(lambda: reached(exporter), 60, 'the fault to reach the top, and the stranger to be loud')
    assert told['id'] == labels['incident'] and stranger['members'][0]['peak'] > max(member['peak'] for member in told['members'])
    likely = told['cause'][0]
    assert likely['labels'] == {'service': 'database'} and likely['probability'] >= 0.5
    assert UNRELATED not in {cause['labels']['service'] for cause in told['cause']}
    assert re.match(r'\w+ above what was expected, score \d', likely['reasons'][0]), likely
    assert likely['reasons'][-1] == 'service=shop, which depends on it, is anomalous', likely

    # What tells of its entities is held back, and the stranger, which one detector sees, pages nobody.
    ours = {'name': 'PromlstmAnomaly', 'severity': 'warning', 'incident': labels['incident']}
    servers.wait_until(lambda: all_held_back(held(alertmanager, **ours)), 60, 'alerts of its entities, and them to be held back')

    # A restart begins no other incident.
    assert exporter.stop() == 0, exporter.tail()
    exporter.start()
    again, _ = servers.wait_until(lambda: reached(exporter), 60, 'the incidents after a restart')
    assert (again['id'], again['start']) == (told['id'], told['start']) and again['cause'][0]['labels'] == likely['labels']

    services.fault, ended, since = None, time.monotonic(), len(receivers.told)
    receivers.wait_for(since, is_page, 'the end of the page', 'resolved')
    print(f'from the end of the fault to that of the page: {time.monotonic() - ended:.1f} s')
    servers.wait_until(lambda: not listed(exporter, 'open'), 60, 'the end of the incidents')
    over = listed(exporter, 'closed')[frozenset(REACHED)]
    assert over['id'] == labels['incident'] and over['start'] < over['end'] and over['anomalous'] == 0
    assert over['cause'][0]['labels'] == {'service': 'database'}
    pages = {(each['alertname'], each.get('incident')) for receiver, each, _ in receivers.alerts() if receiver == 'pager'}
    assert pages == {('PromlstmIncident', labels['incident'])}


def all_held_back(alerts):
    return alerts and all(each['status']['inhibitedBy'] for each in alerts)
