"""`promlstm run`: the incidents of what it replays at its start are in the API, below the password, and survive a restart."""

import re
import time

import pytest
import requests
from exporter import Exporter
from servers import wait_until

from promlstm.demo import fleet as fleets
from promlstm.demo.source import Source

DETECTORS = [{'name': name, 'expr': expr, 'history': '0s'} for name, expr in (('cpu', 'node_cpu_busy_ratio'), ('disk', 'node_disk_io_busy_ratio'))]


def listed(exporter, query=''):
    """The incidents of the API."""
    return requests.get(f'{exporter.url}/api/v1/incidents{query}', timeout=30).json()['data']['incidents']


def on_page(exporter):
    """The ids of the incidents on /metrics."""
    return set(re.findall(r'^promlstm_incident_entities{incident="(.*?)"}', requests.get(f'{exporter.url}/metrics', timeout=30).text, re.MULTILINE))


@pytest.fixture(scope='module')
def source():
    """Six hours with faults, behind a query API."""
    with Source(fleets.Fleet(1, time.time() - 6 * 3600, hosts=6), time.time) as running:
        yield running


def test_the_api_tells_of_the_past_and_goes_on_after_a_restart(source, tmp_path):
    """Faults of the last hours are incidents with causes as soon as all detectors are ready; another process has the same ones from the storage."""
    folder = f'--storage.path={tmp_path / "storage"}'
    with Exporter(tmp_path / 'first', source.url, DETECTORS, folder) as exporter:
        wait_until(lambda: requests.get(f'{exporter.url}/-/ready', timeout=30).status_code == 200, 60, 'all detectors to be ready')
        first = wait_until(lambda: listed(exporter), 60, 'incidents')
        assert all(each['cause'][0]['reasons'] and each['members'] for each in first)
        assert len(listed(exporter, '?state=closed&limit=1')) == 1
        wait_until(lambda: on_page(exporter) == {each['id'] for each in listed(exporter, '?state=open')}, 60, 'the page to have the open ones')
        assert 'promlstm_incident_failures_total{stage="observe"} 0.0' in requests.get(f'{exporter.url}/metrics', timeout=30).text
    with Exporter(tmp_path / 'second', source.url, DETECTORS, folder) as exporter:
        again = wait_until(lambda: listed(exporter), 60, 'incidents')
        known = {each['id']: each['start'] for each in again}
        assert {each['id']: each['start'] for each in first}.items() <= known.items()
