"""Events of a benchmark as the exporter's pages draw the past of an entity: values in their band, alarms, labelled faults, and the score below. Pure.

Who calls it: report. In comes a benchmark.Scored and one of its events; out comes what promlstm.ui.standalone.CHARTS draws.
"""

import numpy as np

from convert.evaluation import measures
from promlstm.ui.past import Feature, Past, Run

AROUND = 120  # steps drawn before and after an event
POINTS = 600  # of a chart; of a longer event every so many steps are drawn


def event(scored, entity, first, end):
    """What a chart of an event is drawn of: that of the feature which moves most.

    entity      column of the set
    first, end  steps of the event, the second not included
    """
    subject = scored.benchmark_set
    rows = np.arange(max(0, first - AROUND), min(end + AROUND, len(subject.times)))
    values, scores = subject.values[rows, entity], scored.scores[rows, entity].astype(np.float64)
    feature = int(np.argmax(_movement(values, first - int(rows[0]))))
    labels = np.zeros(len(rows), bool) if subject.labels is None else subject.labels[rows, entity]
    with np.errstate(invalid='ignore'):
        alarms = [Run(start, last, float(np.nanmax(scores[a:b]))) for a, b, start, last in _spans(scores >= 1, subject.times[rows])]
    faults = [Run(start, last, None) for _, _, start, last in _spans(labels, subject.times[rows])]
    apart = -(-len(rows) // POINTS)
    shown, blank = rows[::apart], np.full(-(-len(rows) // apart), np.nan)
    columns = dict.fromkeys(('expected', 'lower', 'upper', 'usual_lower', 'usual_upper', 'contribution', 'high', 'low'), blank)
    if scored.seen:
        columns |= {name: column[shown, entity, feature].astype(np.float64) for name, column in scored.seen._asdict().items()}
    times = subject.times[shown]
    past = Past(
        float(times[0]), float(times[-1]), subject.step_seconds * apart, False, 'gauges', times,
        [Feature('', '', observed=values[::apart, feature], **columns)], scores[::apart], {}, alarms, [], None,
    )  # fmt: skip
    return past.tree() | {'faults': faults}


def _spans(holds, times):
    """(first, one past the last, time of the first, time of the last) of each run of steps at which something holds."""
    return [(a, b, float(times[a]), float(times[b - 1])) for a, b in measures.runs(holds)]


def _movement(values, at):
    """How far each feature moves at a step, in its own spread: float [F]."""
    with np.errstate(all='ignore'):
        spread = np.nanmax(np.abs(np.diff(values, axis=0)), 0, initial=0)
        before = np.nanmean(values[:at] if at else values, 0)
        moved = np.nanmax(np.abs(values[at : at + 5] - before), 0, initial=0)
        return np.nan_to_num(moved / np.maximum(spread, 1e-30))
