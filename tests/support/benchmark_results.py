"""Benchmark results by hand, for tests of what is made of them; numpy and msgspec only."""

import numpy as np

from convert.evaluation import benchmark
from convert.evaluation.benchmark_sets import BenchmarkSet
from convert.evaluation.measures import Entity

STEP = 300.0


def benchmark_set(seed=0, entities=12, steps=900, name='injected_300s'):
    """Noise with one jump in each entity, of a kind that goes up or down in turn."""
    rng = np.random.default_rng(seed)
    values, labels = rng.normal(size=(steps, entities, 1)), np.zeros((steps, entities), bool)
    for n in range(entities):
        at = int(rng.integers(400, steps - 60))
        values[at : at + 20, n, 0] += 12 * (-1) ** n
        labels[at : at + 20, n] = True
    counted = np.zeros(labels.shape, bool)
    counted[300:] = True
    kinds, history = tuple('up' if n % 2 == 0 else 'down' for n in range(entities)), (np.empty(0), np.empty((0, entities, 1)))
    names = tuple(f'host="<{n}>"' for n in range(entities))
    return BenchmarkSet(name, STEP, 1.7e9 + STEP * np.arange(steps), values, labels, counted, kinds, history, names)


def points(recall=0.8, false=1.0):
    """Points of which only these matter."""
    return benchmark.Points(
        threshold=2.0, accuracy=0.9, precision=0.5, recall=recall, f1=0.6, event_precision=0.7, event_recall=recall, event_f1=0.7,
        false_alarms_per_week=false, delay_steps=float('nan'),
    )  # fmt: skip


def result(name, role, found, *, false=None, events=2, benchmark_set='injected_300s', weeks=1.0):
    """A Result of entities of which so many events were found, and so many false alarms raised as it runs."""
    many = len(found)
    tally = benchmark.Tally(found=list(found), events=[events] * many, false=[0] * many, weeks=[weeks] * many)
    run = benchmark.Tally(found=list(found), events=[events] * many, false=list(false), weeks=[weeks] * many) if false is not None else None
    recall = sum(found) / max(events * many, 1)
    return benchmark.Result(
        benchmark_set=benchmark_set, method=name, role=role, auc_pr=0.5, equal=points(recall), run=points(recall) if run else None, by_kind={'up': recall},
        tally=tally, tally_run=run, alarms={'1/week': 1.3} if run else {}, shares={'healthy': [1.0] + [0.0] * 25, 'faulty': [0.0] * 25 + [1.0]},
    )  # fmt: skip


def entity(scores, labels):
    """An Entity of lists."""
    return Entity(np.array(scores, float), np.array(labels, bool), STEP)
