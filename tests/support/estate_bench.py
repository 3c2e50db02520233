"""What the pages are looked at with: an estate with faults planted, hours of it in a real Prometheus that goes on to scrape it, a real exporter.

The estate is the demo's: hosts with volumes of which one fills up, and a shop of services that call each other. An hour ago a fault spread in the
shop and ended; another one has been spreading for ten minutes, and goes on, while a host is busy. What has hostile labels is anomalous, too.

    with Bench(directory) as bench:          # ready when every detector has replayed those hours and scored
        bench.exporter.url, bench.prometheus
"""

import time
from contextlib import ExitStack

import numpy as np
import servers
from exporter import Exporter

from promlstm.demo.estate import CALLS, CAUSES, KINDS, Estate
from promlstm.demo.fleet import Fleet, Series, gaussian
from promlstm.demo.shop import Shop
from promlstm.demo.source import Source
from promlstm.engine import labels

HOURS = 6
STEP_SECONDS = 15
HOSTILE = (
    '<script>alert(1)</script><img src=x onerror=alert(2)>',
    '"\'`{}&amp;</td></table>{{7*7}}${8*8}\\',
    '🔥 مرحبا بالعالم \u202eevil\u202c 日本語 a\u0301',
    'x' * 1000,
    'java script:alert(3) //\n\t%00?a=b&c=d#e',
)
PACE = {'step': f'{STEP_SECONDS}s', 'delay': '2s', 'history': f'{HOURS}h'}
DETECTORS = [
    {'name': 'cpu', 'expr': 'node_cpu_busy_ratio', 'direction': 'above', 'min_deviation': 0.05, 'range': [0, 1]},
    {'name': 'disk_free', 'expr': 'node_filesystem_free_bytes', 'direction': 'below', 'min_relative_deviation': 0.02,
     'forecast': {'horizons': ['5m', '1h', '1d'], 'limit': 0}},
    {'name': 'errors', 'expr': 'web_error_ratio', 'direction': 'above', 'min_deviation': 0.01},
    {'name': 'latency', 'expr': 'web_latency_seconds', 'direction': 'above'},
    {'name': 'service_latency', 'expr': 'service_latency_seconds', 'direction': 'above', 'min_relative_deviation': 0.2},
    {'name': 'service_pool', 'expr': 'service_pool_busy_ratio', 'direction': 'above', 'min_deviation': 0.1},
    {'name': 'visits', 'expr': 'visits_per_second', 'direction': 'above', 'min_relative_deviation': 0.3},
    {'name': 'host', 'by': ['instance'],
     'features': {'cpu': 'node_cpu_busy_ratio', 'memory': 'node_memory_used_bytes', 'disk_io': 'node_disk_io_busy_ratio'}},
]  # fmt: skip
EDGES = {'expr': 'traces_service_graph_request_total', 'from': 'client', 'to': 'server', 'label': 'service'}
SETTINGS = {'root_cause': {'window': '5m', 'within': ['namespace'], 'edges': [EDGES]}}


class Troubled:
    """An Estate with the visits of hostile pages, which are many since `fault`, unix seconds."""

    def __init__(self, estate, fault):
        self._estate, self._fault = estate, fault
        self.series = (*estate.series, *(Series('visits_per_second', {'page': text, 'job': 'web'}) for text in HOSTILE))

    def values(self, times):
        return np.stack([self.value(i, times) for i in range(len(self.series))], axis=-1)

    def value(self, i, times):
        own, at = i - len(self._estate.series), np.asarray(times, np.float64)
        if own < 0:
            return self._estate.value(i, times)
        return 50 * (1 + 0.05 * gaussian(1000 + own, np.floor(at / 5))) * np.where(at >= self._fault, 3, 1)


def estate(now):
    """What there is to watch, as of an instant in unix seconds."""
    begin = now - HOURS * 3600
    hosts = Fleet(1, begin, hosts=6, first_fault_seconds=HOURS * 3600 - 900, fault_seconds=3600, quiet_seconds=3600)
    spreading = {'first_fault_seconds': HOURS * 3600 - 600 - 3600, 'fault_seconds': 2400, 'quiet_seconds': 1200}
    return Troubled(Estate(hosts, Shop(1, begin, calls=CALLS, kinds=KINDS[::-1], causes=CAUSES, **spreading)), now - 300)


def past(telemetry, begin, end):
    """All of it from one instant to another, as OpenMetrics: a sample each step."""
    times = np.arange(begin, end, STEP_SECONDS)
    values = telemetry.values(times)
    rows = sorted(range(len(telemetry.series)), key=lambda i: telemetry.series[i].metric)
    known = None
    for row in rows:
        series = telemetry.series[row]
        if series.metric != known:
            known = series.metric
            yield f'# TYPE {known} gauge\n'
        name = f'{known}{labels.selector(sorted(series.labels.items()))}'
        yield ''.join(f'{name} {value:.10g} {time:.3f}\n' for time, value in zip(times.tolist(), values[:, row].tolist(), strict=True))
    yield '# EOF\n'


def _scrape_config(address):
    """Series keep the labels that they have in the past, and get none of the target's."""
    own = {'job': 'estate', 'instance': address}
    dropped = [{'source_labels': [name], 'regex': value, 'target_label': name, 'replacement': ''} for name, value in own.items()]
    return {'job_name': 'estate', 'honor_labels': True, 'static_configs': [{'targets': [address]}], 'metric_relabel_configs': dropped}


class Bench:
    """See the top of the file.

    args      more of the exporter's
    settings  more keys of its configuration
    """

    def __init__(self, directory, *args, settings=None, detectors=DETECTORS, rule_files=(), alertmanagers=()):
        self.directory, self._open = directory, ExitStack()
        self.now = time.time()
        self.telemetry = estate(self.now)
        self.source = Source(self.telemetry, time.time)
        self.prometheus = servers.Prometheus(directory / 'prometheus', [], rule_files, alertmanagers=alertmanagers)
        paced = [{**PACE, **each} for each in detectors]
        storage = f'--storage.path={directory / "storage"}'
        self.exporter = Exporter(directory / 'promlstm', self.prometheus.url, paced, storage, *args, settings=SETTINGS | (settings or {}))

    def __enter__(self):
        with ExitStack() as opened:
            samples = self.directory / 'past.om'
            samples.write_text(''.join(past(self.telemetry, self.now - HOURS * 3600, self.now)))
            servers.backfill(self.prometheus.data, samples)
            opened.enter_context(self.source)
            self.prometheus.scrape_configs.append(_scrape_config(self.source.url.removeprefix('http://')))
            opened.enter_context(self.prometheus)
            self.prometheus.wait_for('node_cpu_busy_ratio')
            opened.enter_context(self.exporter)
            self.prometheus.scrape_configs.append(self.exporter.scrape_config())
            self.prometheus.reload()
            self.wait_ready()
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind, error, trace):
        return self._open.__exit__(kind, error, trace)

    def wait_ready(self):
        """Wait until every detector has scored, and what is anomalous now is listed."""
        servers.wait_until(lambda: servers.http.get(f'{self.exporter.url}/-/ready', timeout=30).ok, 180, 'all detectors to be ready')
        servers.wait_until(lambda: {row['detector'] for row in self.anomalies()['anomalies']} >= {'cpu', 'visits', 'service_latency'}, 120, 'anomalies')

    def anomalies(self):
        """What the API lists as anomalous or missing."""
        return servers.http.get(f'{self.exporter.url}/api/v1/anomalies', timeout=30).json()['data']

    def incidents(self, state='all'):
        """The incidents of the API."""
        return servers.http.get(f'{self.exporter.url}/api/v1/incidents?state={state}', timeout=30).json()['data']['incidents']
