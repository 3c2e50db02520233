"""The real program on a source of logs: counts by level become entities, from history on, and an absent level is zero."""

import re
import signal
import time

import exporter
import numpy as np
import servers
import yaml
from logs_server import QUERY, Lines


def test_levels_are_scored_and_zero_where_there_are_no_lines(tmp_path):
    """A second a step, so that some are seen; nobody of the source `prometheus`, which is not there, is waited for."""
    now = time.time()
    times = np.arange(now - 900, now + 600, 0.05)
    lines = [(float(at), 'info') for at in times] + [(float(at), 'error') for at in np.arange(now - 850, now - 60, 30.0)]
    detectors = [
        {'name': 'logs', 'source': 'logs', 'expr': QUERY, 'step': '1s', 'delay': '250ms', 'history': '0s', 'absent': 'zero', 'forget': '1d'},
        {'name': 'metrics', 'expr': 'up', 'step': '1s'},
    ]
    with Lines(lines).serve() as wire:
        running = exporter.Exporter(tmp_path, 'http://127.0.0.1:1', detectors)
        tree = yaml.safe_load(running.config.read_text()) | {'sources': {'logs': {'kind': 'victorialogs', 'url': wire.url}}}
        running.config.write_text(yaml.safe_dump(tree))
        with running:
            page = lambda: servers.http.get(running.url + '/metrics', timeout=10).text  # noqa: E731
            scored = re.compile(r'^promlstm_anomaly_score\{detector="logs".*level="error".*\} ', re.MULTILINE)
            servers.wait_until(lambda: scored.search(page()), 60, 'the score of a level without lines')
            text = page()
            observed = dict(re.findall(r'^promlstm_observed\{detector="logs".*level="(\w+)".*\} (\S+)', text, re.MULTILINE))
            assert float(observed['error']) == 0.0 and 15 <= float(observed['info']) <= 25
            assert 'promlstm_detector_up{detector="metrics"} 0' in text and 'promlstm_entity_missing{detector="logs"' not in text
            listed = servers.http.get(running.url + '/api/v1/detectors', timeout=10).json()['data']['detectors']
            assert {each['name']: each['source'] for each in listed}['logs'] == 'logs'
            tree['sources']['logs']['concurrency'] = 2
            running.config.write_text(yaml.safe_dump(tree))
            running.child.send_signal(signal.SIGHUP)
            servers.wait_until(lambda: 'changed="source logs"' in running.log.read_text(), 30, 'the changed source in force')
            warmed = lambda: len(re.findall('"warmed up" detector=logs', running.log.read_text()))  # noqa: E731
            servers.wait_until(lambda: warmed() == 2, 60, 'its detector to begin anew')
            assert scored.search(page()) and running.log.read_text().count('"model loaded and verified" detector=metrics') == 1
            assert running.stop() == 0
