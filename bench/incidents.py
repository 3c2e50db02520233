"""What incidents add to a step of 100 000 entities, 5 000 of them anomalous: milliseconds and megabytes; and the cost of their page."""

import gc
import tracemalloc
from time import perf_counter, thread_time

import numpy as np

from promlstm.engine.columns import READY, Verdicts
from promlstm.incidents import listing
from promlstm.incidents.graph import Graph
from promlstm.incidents.members import Origin
from promlstm.incidents.table import Incidents
from promlstm.settings import RootCause

ENTITIES, STEPS = 100_000, 7
NOW = 1_750_000_200.0
ORIGIN = Origin('bench', 60.0, 430.0, (('', 'rate(x[5m])'),))


def main():
    """Print a row for each case. `first` is the step at which all alarms begin, `step` the median of those after it."""
    print('  anomalous  graph edges  first, ms   step, ms  members  incidents  memory, MB  ranking, ms    (own CPU time of the thread)')
    names = [
        b'{"instance":"10.%d.%d.%d:9100","job":"node","namespace":"team","pod":"service-%06x","service":"s%04d"}' % (i >> 16, i >> 8 & 255, i & 255, i, i // 20)
        for i in range(ENTITIES)
    ]
    graph = Graph().observed(NOW, [(('service', f's{i:04}'), ('service', f's{i * 7 % 5000:04}')) for i in range(5000)], 'calls')
    for anomalous in (50, 5_000, 50_000):
        for known in (Graph(), graph):
            print(f'  {anomalous:9} {len(known):12}' + '{:11.1f} {:10.1f} {:8} {:10} {:11.1f} {:12.1f}'.format(*measure(names, anomalous, known)), flush=True)


def measure(names, anomalous, graph):
    """(ms of the first step, ms of later steps, members, incidents, MB, ms of ranking all) for a number of anomalous entities."""
    rng = np.random.default_rng(1)
    rows = rng.choice(ENTITIES, anomalous, replace=False)
    subject = Incidents(RootCause())
    subject.graph = graph
    lost = np.full(ENTITIES, np.nan)
    steps = [verdicts(rng, rows, NOW + 60 * k, 0) for k in range(2)] + [verdicts(rng, rows, NOW + 60 * k, 3) for k in range(2, STEPS + 2)]
    gc.collect()
    gc.disable()
    taken = []
    subject.observe(ORIGIN, verdicts(rng, rows[:0], NOW - 60, 0), lost, names)
    for each in steps:
        began = thread_time()
        subject.observe(ORIGIN, each, lost, names)
        taken.append(1e3 * (thread_time() - began))
    gc.enable()
    view, began = subject.view(NOW + 60 * STEPS), perf_counter()
    rankings = listing.Rankings()
    keys = listing.keys(view)
    for key in keys:
        rankings.of(view, key.number)
    ranked = 1e3 * (perf_counter() - began)
    return taken[0], sorted(taken[1:])[len(taken) // 2], len(view.members), len(keys), megabytes(steps, lost, names, graph), ranked


def megabytes(steps, lost, names, graph):
    """The size of the table after these steps, without the identities, which the entity table has."""
    tracemalloc.start()
    subject = Incidents(RootCause())
    subject.graph = graph
    for each in steps[:2]:
        subject.observe(ORIGIN, each, lost, names)
    held = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    return held


def verdicts(rng, rows, time, more):
    """Verdicts of a step with some anomalous rows, and a few more."""
    score = rng.random(ENTITIES, np.float32) * np.float32(0.8)
    rows = np.concatenate([rows, rng.choice(ENTITIES, more, replace=False)])
    score[rows] = 1 + rng.random(len(rows), np.float32)
    column, ones = np.ones((ENTITIES, 1)), np.ones((ENTITIES, 1), np.float32)
    since = np.full(ENTITIES, time)
    since[rows[: len(rows) - more]] = NOW
    return Verdicts(
        time=time, status=np.full(ENTITIES, READY, np.int8), score=score, surprise=score, observed=column, expected=column, lower=column, upper=column,
        usual_lower=column, usual_upper=column, deviation=column, contribution=ones, view=ones, since=np.where(score >= 1, since, np.nan),
        recurring=ones[:, 0],
    )  # fmt: skip
