"""A thousand steps of a fleet in which each step replaces one entity in a hundred: memory of the process every hundred steps, and rows of the table.

An entity lives for a hundred steps and never comes back, like pods in a cluster with frequent deploys. The memory of forgotten entities must be freed.
"""

import gc

import numpy as np

from bench import machine
from bench.answers import config, keys
from promlstm.engine import session as sessions
from promlstm.engine.detector import Detector
from promlstm.query.prometheus import Vector
from promlstm.serve import exposition
from promlstm.serve.page import Page, pack

ENTITIES, STEPS, SHARE, SHOWN = 5_000, 1_000, 100, 100
MODEL = 'builtin:forecaster'
NOW = 1_750_000_200.0


class Fleet:
    """A source with the interface of Prometheus whose entities come and go."""

    def __init__(self):
        self._keys, self._first, self._rng = keys(ENTITIES + STEPS * ENTITIES // SHARE), 0, np.random.default_rng(1)

    def instant(self, expr, time):
        """As Prometheus.instant."""
        first = round((time - NOW) / 60) * ENTITIES // SHARE
        return Vector(self._keys[first : first + ENTITIES], 100 + self._rng.normal(size=ENTITIES))


def main():
    """Print a row every hundred steps; returns them."""
    rows = []
    subject = Detector(config('http://localhost').detectors[0], sessions.load(sessions.resolve(MODEL), prove=False), Fleet())
    labels, page = exposition.Labels('bench', ('',), subject.session.bundle.manifest.views), Page(lambda: 0.0)
    gc.freeze()
    gc.disable()  # as Scheduler
    print('  steps  resident MB  entities in the table')
    for number in range(STEPS + 1):
        step = subject.step(NOW + 60 * number)
        labels = labels.of(step.identities)
        blocks = pack(exposition.lines(step.verdicts, labels, missing=step.missing), subject.session.threads)
        subject.commit(step)
        page.publish('bench', blocks, 1.0)
        subject.forget()
        if number % SHOWN == 0:
            rows.append({'steps': number, 'resident_bytes': machine.resident_bytes(), 'entities_in_the_table': len(subject.entities)})
            print(f'  {number:5}{rows[-1]["resident_bytes"] / 1e6:13.0f}{len(subject.entities):23}', flush=True)
    gc.enable()
    gc.unfreeze()
    return {'entities': ENTITIES, 'rows': rows}
