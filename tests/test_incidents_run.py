"""`promlstm run`: the incidents of what it replays at its start are in the API, below the password, and survive a restart."""

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
        page = requests.get(f'{exporter.url}/metrics', timeout=30).text
        assert all(each['cause'][0]['reasons'] and each['members'] for each in first)
        assert len(listed(exporter, '?state=closed&limit=1')) == 1
        assert page.count('promlstm_incident_start_timestamp_seconds{') == len(listed(exporter, '?state=open'))
        assert 'promlstm_incident_failures_total{stage="observe"} 0.0' in page
    with Exporter(tmp_path / 'second', source.url, DETECTORS, folder) as exporter:
        again = wait_until(lambda: listed(exporter), 60, 'incidents')
        known = {each['id']: each['start'] for each in again}
        assert {each['id']: each['start'] for each in first}.items() <= known.items()
