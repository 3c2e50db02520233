"""Feedback on the real program and a real Alertmanager: a silence of each kind, made and expired as people do it."""

import re
import time

import exporter
import numpy as np
import pytest
import servers
import yaml
from logs_server import QUERY, Lines


@pytest.mark.real
def test_silences_say_what_is_normal(tmp_path):
    """One that says nothing of a false alarm, one that does, one that is expired early: the score says so within some steps."""
    now = time.time()
    per_second = lambda rate, start, end: np.arange(start, end, 1 / rate)  # noqa: E731
    lines = Lines([(float(at), level) for level in ('info', 'debug') for at in per_second(10, now - 900, now + 300)])
    detector = {'name': 'logs', 'source': 'logs', 'expr': QUERY, 'step': '1s', 'delay': '250ms', 'history': '0s', 'hold': '1h'}
    with servers.Alertmanager(tmp_path / 'alertmanager') as alertmanager, lines.serve() as wire:
        running = exporter.Exporter(tmp_path, 'http://127.0.0.1:1', [detector])
        tree = yaml.safe_load(running.config.read_text())
        del tree['prometheus']
        tree |= {
            'sources': {'logs': {'kind': 'victorialogs', 'url': wire.url}}, 'alertmanager': {'url': alertmanager.url, 'interval': '500ms'},
        }  # fmt: skip
        running.config.write_text(yaml.safe_dump(tree))

        def metric(name, labels=''):
            text = servers.http.get(running.url + '/metrics', timeout=10).text
            found = re.search(rf'^{name}\{{.*{labels}.*\}} (\S+)$', text, re.MULTILINE)
            return float(found[1]) if found else None

        def score(level):
            return metric('promlstm_anomaly_score', f'level="{level}"')

        def amtool(*args):
            return servers.amtool(f'--alertmanager.url={alertmanager.url}', 'silence', *args).stdout.strip()

        def silence(comment, *matchers):
            return amtool('add', f'--comment={comment}', '--author=me', '--duration=1h', 'alertname=PromlstmAnomaly', 'severity=warning', *matchers)

        with running:
            servers.wait_until(lambda: score('info') is not None and score('info') < 1, 60, 'a calm score')
            assert metric('promlstm_alertmanager_last_read_successful') == 1
            silence('other', 'instance=nobody')
            lines.lines += [(float(at), level) for level in ('info', 'debug') for at in per_second(200, time.time() - 0.5, time.time() + 200)]
            servers.wait_until(lambda: (score('info') or 0) >= 1 and (score('debug') or 0) >= 1, 60, 'two anomalies')
            silence('a deploy', 'detector=logs', 'level=info')
            false = silence('false alarm: a deploy', 'detector=logs', 'level=info')
            servers.wait_until(lambda: score('info') is not None and score('info') < 1, 60, 'what was silenced to be normal')
            assert metric('promlstm_detector_accepted_alarms_total') >= 1 and metric('promlstm_detector_restored_alarms_total') == 0
            assert score('debug') >= 1
            amtool('expire', false)
            servers.wait_until(lambda: (score('info') or 0) >= 1, 60, 'the anomaly again')
            assert metric('promlstm_detector_restored_alarms_total') >= 1
            assert running.stop() == 0
    said = running.log.read_text()
    assert 'a silence calls it a false alarm' in said and f'silence={false}' in said and 'expired early' in said
