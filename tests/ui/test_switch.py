"""`promlstm run` as a process: with its pages, which are the default, and without them."""

import requests
from exporter import Exporter
from html_pages import read
from servers import wait_until

DETECTORS = [{'name': 'up', 'expr': 'up'}]
NOWHERE = 'http://127.0.0.1:1'  # nobody listens there


def test_pages_are_there_unless_they_are_turned_off(tmp_path):
    """The first one says why the detector does not score."""
    with Exporter(tmp_path, NOWHERE, DETECTORS) as running:

        def page():
            got = requests.get(running.url, timeout=10)
            return read(got.text) if f'{NOWHERE} cannot be reached' in got.text else None

        shown = wait_until(page, 60, 'the reason of the detector')
        assert shown.one('div', class_='empty').one('strong').text == 'No detector scores yet.'
        assert requests.get(running.url + '/api/v1/detectors', timeout=10).json()['data']['total'] == 1


def test_without_pages_there_is_a_list_of_detectors_and_no_api_but_incidents(tmp_path):
    """--web.ui=false."""
    with Exporter(tmp_path, NOWHERE, DETECTORS, '--web.ui=false') as running:
        assert 'Anomaly gauges for Prometheus' in requests.get(running.url + '/', timeout=10).text
        assert requests.get(running.url + '/api/v1/incidents', timeout=10).json()['data'] == {'incidents': [], 'next': None}
        gone = ('/api/v1/anomalies', '/api/v1/detectors', '/api/v1/entities', '/api/v1/openapi.yml', '/detectors')
        assert [requests.get(running.url + path, timeout=10).status_code for path in gone] == [404] * len(gone)
