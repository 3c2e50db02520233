"""An exporter whose pages show each state, with labels that are hostile."""

import numpy as np
import pytest
from standings import HOSTILE, Pages, identity, standing

from promlstm.live.status import Status

CONFIG = """
prometheus: {url: http://localhost:9090}
detectors:
  - {name: traffic, expr: 'sum by (service) (rate(http_requests_total[5m]))', direction: both}
  - {name: disk, expr: node_filesystem_avail_bytes}
  - {name: <b>"odd"</b>, expr: 'up{job="<i>"}'}
  - {name: broken, expr: nonsense}
"""


def steps(detectors):
    """180 entities of `traffic` of which 60 are anomalous, two of `disk` of which one is missing, and one per hostile label."""
    names = [identity(service=f's{number:03}', job='web', **({'zone': 'a'} if number % 2 else {})) for number in range(180)]
    scores = np.r_[np.linspace(1, 3, 60), np.linspace(0, 0.9, 120)]
    return [
        standing(detectors['traffic'], names, scores, since=np.arange(180) * -60.0 + 1_750_000_000, dropped=7),
        standing(detectors['disk'], [identity(instance='a:9100'), identity(instance='b:9100')], [0.2, np.nan], missing=[1]),
        standing(detectors['<b>"odd"</b>'], [identity(text=text) for text in HOSTILE], np.full(len(HOSTILE), 1.5), observed=1.0),
    ]


@pytest.fixture(scope='module')
def pages():
    with Pages(CONFIG, steps, {'broken': Status(reason='query: <no> & route to host')}) as running:
        running.raise_alarms()
        yield running
