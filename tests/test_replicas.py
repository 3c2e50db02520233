"""Two processes with the same configuration on the same history: what they say of the entities is the same text, to the last bit."""

import math
import re
import time

import pytest
import servers
from exporter import Exporter

pytestmark = pytest.mark.real

ENTITIES, SAMPLES, DELAY = 7, 700, 10
GAUGES = re.compile(r'promlstm_(anomaly_score|observed|expected\w*|usual_\w+)\{')


def step_seconds(now):
    """A step in whose midst we are: both processes start from the same one."""
    return next(step for step in (1200, 1500, 1800) if now % step < step - 180)


def history(path, now, step):
    """A sample of each entity just before every instant at which it is asked for; daily, with noise that is no chance, and one that jumps at the end."""
    lines, last = ['# TYPE level gauge'], now // step * step - DELAY
    for entity in range(ENTITIES):
        for number in range(SAMPLES, -1, -1):
            at = last - number * step
            value = 20 + 5 * math.sin(at * 2 * math.pi / 86400) + math.sin(at * 12.9898 + entity * 78.233) + (30 if entity == 3 and number < 2 else 0)
            lines.append(f'level{{entity="{entity}"}} {value!r} {at}')
    path.write_text('\n'.join([*lines, '# EOF', '']))


def page(exporter):
    """Its lines on entities, once all of them are there."""

    def lines():
        text = servers.http.get(exporter.url + '/metrics', timeout=servers.READY_SECONDS).text
        found = [line for line in text.splitlines() if GAUGES.match(line)]
        return sum(line.startswith('promlstm_anomaly_score') for line in found) == ENTITIES and found

    return servers.wait_until(lines, 180, f'{ENTITIES} scores of {exporter.url}')


def test_replicas_agree_to_the_last_bit(tmp_path):
    """Scores, expectations and bands, with an alarm among them."""
    now = int(time.time())
    step = step_seconds(now)
    history(tmp_path / 'history.om', now, step)
    servers.backfill(tmp_path / 'prometheus/data', tmp_path / 'history.om')
    detectors = [{'name': 'levels', 'expr': 'level', 'step': f'{step}s', 'delay': f'{DELAY}s', 'history': '4d'}]
    with (
        servers.Prometheus(tmp_path / 'prometheus') as prometheus,
        Exporter(tmp_path / 'one', prometheus.url, detectors) as one,
        Exporter(tmp_path / 'other', prometheus.url, detectors) as other,
    ):
        pages = [page(one), page(other)]
    assert pages[0] == pages[1] and len(pages[0]) > 4 * ENTITIES
    scores = {line.split('entity="')[1][0]: float(line.split()[-1]) for line in pages[0] if line.startswith('promlstm_anomaly_score')}
    assert scores['3'] >= 1 > max(score for entity, score in scores.items() if entity != '3')
