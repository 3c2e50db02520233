"""Rankings of the things of an incident: ours, and simple ones beside it on the same input. Each gives a score per thing, larger = more likely.

    promlstm                 promlstm.incidents.ranking, with what the incident table gives it
    largest deviation        by the highest score of the product, from any series of the thing
    earliest                 by the onset of its first alarm, then by its score
    robust deviation         in the manner of BARO (Pham, Ha, Zhang, FSE 2024): median and IQR before, the largest deviation after
    correlation              with the series of the alert (Pearson), the largest of any series of the thing
    random walk              from the alert along the calls, weighed by that correlation alone (MicroRCA's and MonitorRank's kind), restart 0.15

Who calls it: root_cause. Pure numpy.
"""

import numpy as np

from promlstm.incidents import ranking

PROMLSTM = {'promlstm': (True, True), 'promlstm, no alert': (True, False), 'promlstm, no graph': (False, False)}     # (graph, alert)
RESTART, BACK, STAY, WALKS = 0.15, 0.1, 0.2, 200
TAIL_STEPS = 24     # before the incident, over which correlation is taken as well


def blamed(telemetry, incident, evidence, graph, alert):
    """promlstm's own Ranking."""
    edges = telemetry.edges if graph else np.empty((0, 2), np.int64)
    target, kind = (incident.target, incident.alert) if alert else (None, None)
    return ranking.rank(evidence, len(telemetry.things), edges, target, kind)


def largest(telemetry, incident, evidence):
    """float64 [m]: the peak of the product's score."""
    return _largest_of(telemetry, evidence.thing, evidence.score)


def earliest(telemetry, incident, evidence):
    """float64 [m]: minus the seconds from the first onset in the incident; what is not anomalous comes last."""
    alarms = evidence.score >= 1
    order = np.lexsort((-evidence.score[alarms], evidence.onset[alarms]))
    out = np.zeros(len(telemetry.things))
    for place, thing in enumerate(evidence.thing[alarms][order].tolist()):
        out[thing] = max(out[thing], len(order) - place)
    return out


def robust(telemetry, incident, evidence):
    """float64 [m]: the largest deviation from the median before, in interquartile ranges before; a range of 0 counts as 1, as in BARO."""
    inside = _inside(telemetry, incident)
    before, after = telemetry.values[: inside[0]], telemetry.values[inside]
    low, middle, high = np.stack([_quantiles(column) for column in before.T], axis=1)
    spread = np.where(high > low, high - low, 1.0)
    deviation = np.nan_to_num(np.abs(after - middle) / spread)
    return _largest_of(telemetry, telemetry.thing, deviation.max(axis=0))


def correlation(telemetry, incident, evidence):
    """float64 [m]: the largest absolute correlation of a series with one of the alert's; the alert's own thing, which is like itself, comes last."""
    out = _alike(telemetry, incident)
    out[incident.target] = 0
    return out


def walk(telemetry, incident, evidence):
    """float64 [m]: how often a random walk with restart is there, which knows the calls and the correlation with the alert alone."""
    things, alike = len(telemetry.things), _alike(telemetry, incident)
    step = np.zeros((things, things))
    for caller, callee in telemetry.edges.tolist():
        step[caller, callee] += alike[callee]
        step[callee, caller] += BACK * alike[caller]
    step[np.arange(things), np.arange(things)] += STAY * alike
    total = step.sum(axis=1, keepdims=True)
    step = np.divide(step, total, out=np.eye(things), where=total > 0)
    start = np.zeros(things)
    start[incident.target] = 1
    there = start
    for _ in range(WALKS):
        there = RESTART * start + (1 - RESTART) * there @ step
    there[incident.target] = 0      # where it starts is what is asked about
    return there


OTHERS = {
    'largest deviation': largest, 'earliest': earliest, 'robust deviation (BARO)': robust, 'correlation with the alert': correlation,
    'random walk without evidence': walk,
}  # fmt: skip


def place(scores, thing):
    """The rank of a thing, from 1; those with the same score share the middle of their ranks.

    >>> place(np.array([3., 1., 1., 2.]), 3), place(np.array([3., 1., 1., 2.]), 1)
    (2.0, 3.5)
    """
    return float((scores > scores[thing]).sum() + ((scores == scores[thing]).sum() + 1) / 2)


def _inside(telemetry, incident):
    return np.flatnonzero((telemetry.times >= incident.first) & (telemetry.times <= incident.last))


def _alike(telemetry, incident):
    """float64 [m]: the largest absolute correlation of a series of each thing with one of the alert's, just before and during the incident."""
    inside = _inside(telemetry, incident)
    values = telemetry.values[max(0, inside[0] - TAIL_STEPS) : inside[-1] + 1]
    found = np.zeros(values.shape[1])
    for target in incident.target_series:
        found = np.fmax(found, [_pearson(values[:, target], column) for column in values.T])
    return _largest_of(telemetry, telemetry.thing, found)


def _largest_of(telemetry, thing, values):
    out = np.zeros(len(telemetry.things))
    np.maximum.at(out, thing, np.nan_to_num(values))
    return out


def _quantiles(column):
    known = column[~np.isnan(column)]
    return np.percentile(known, [25, 50, 75]) if len(known) else np.full(3, np.nan)


def _pearson(a, b):
    both = ~np.isnan(a) & ~np.isnan(b)
    if both.sum() < 5:
        return 0.0
    a, b = a[both] - a[both].mean(), b[both] - b[both].mean()
    size = np.sqrt((a @ a) * (b @ b))
    return abs(float(a @ b)) / size if size > 0 else 0.0
