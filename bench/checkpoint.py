"""A checkpoint of a detector of one feature: bytes, and seconds to take the snapshot, to write it (flushed to the disk) and to continue from it."""

import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from bench.answers import config
from promlstm.engine.detector import Detector
from promlstm.engine.season import DAY
from promlstm.engine.session import load, resolve
from promlstm.live import checkpoint, storage
from promlstm.query.prometheus import Vector

SIZES = (1_000, 10_000, 100_000)
TIMES = 5
NOW = 1_750_000_200.0


class Fleet:
    """A source with a given number of entities."""

    def __init__(self, entities):
        self.keys = [
            b'{"instance":"10.0.%d.%d:9100","job":"node","namespace":"team","pod":"service-%06x","zone":"eu"}' % (i >> 8, i & 255, i) for i in range(entities)
        ]
        self._rng = np.random.default_rng(1)

    def instant(self, expr, time):
        """As Prometheus.instant."""
        return Vector(self.keys, 10 + self._rng.normal(size=len(self.keys)))


def remembering(session, fleet):
    """A Detector that remembers a whole week of the season, and the verdicts of its last step."""
    subject = Detector(config('http://localhost').detectors[0], session, fleet)
    for i in range(3):
        step = subject.step(NOW + 60 * i)
        subject.commit(step)
    season, rows = subject.memory.season, (len(fleet.keys), 1)
    slots = len(season.columns)
    for k in range(slots):
        time = NOW // (7 * DAY) * 7 * DAY + (k + 0.25) * season.period_seconds / slots
        season = season.remember(time, np.full(rows, 10.0), np.full(rows, np.nan))
    subject.memory = replace(subject.memory, season=season)
    return subject, step.verdicts


def main():
    """Print a row of medians for each size, with steps while a checkpoint is written and without. Returns the rows."""
    session = load(resolve('builtin:default'), prove=False)
    print('  entities       bytes  snapshot     write   restore   a step alone   while one is written')
    rows = []
    for entities in SIZES:
        rows.append(measure(session, entities))
        print('  {:8} {:11} {:9.5f} {:9.3f} {:9.3f} {:14.3f} {:22.3f}'.format(*rows[-1].values()), flush=True)
    return {'sizes': rows}


def measure(session, entities):
    """A row, {name: figure}: entities, bytes, and the seconds of a snapshot, a write, a restore, a step alone, and a step during a write."""
    subject, verdicts = remembering(session, Fleet(entities))
    settings = storage.settings(subject.config, config('http://localhost').prometheus)
    taken = {'snapshot': [], 'write': [], 'restore': [], 'step': [], 'step_beside_a_write': []}

    def timed(name, what):
        began = perf_counter()
        result = what()
        taken[name].append(perf_counter() - began)
        return result

    with tempfile.TemporaryDirectory(dir='.') as folder:
        path = Path(folder) / 'bench.checkpoint'

        def write():
            return checkpoint.write(path, snapshot, version='bench', detector='bench', settings=settings)

        def restore():
            new = Detector(subject.config, session, subject.source)
            header, columns = checkpoint.read(path, lambda header: new.check(header.specs, header.entities))
            new.restore(columns, header.time)

        for i in range(TIMES):
            snapshot = timed('snapshot', lambda: subject.snapshot(verdicts))
            size = timed('write', write)
            timed('restore', restore)
            timed('step', lambda at=NOW + 60 * (3 + i): subject.step(at))
        done = threading.Event()

        def go_on_writing():
            while not done.is_set():
                write()

        thread = threading.Thread(target=go_on_writing)
        thread.start()
        sleep(0.05)
        for i in range(TIMES):
            timed('step_beside_a_write', lambda at=NOW + 60 * (3 + i): subject.step(at))
        done.set()
        thread.join()
    return {'entities': entities, 'bytes': size} | {f'{name}_seconds': sorted(times)[len(times) // 2] for name, times in taken.items()}
