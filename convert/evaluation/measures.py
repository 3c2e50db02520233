"""What an operator gets from a detector: how many real events one threshold for all entities finds at a bearable rate of false alarms.

An event is a run of labelled samples; it is found if a score reaches the threshold from its start to `tolerance` steps after its end.
Alarms closer than `merge` steps are one alarm; an alarm that touches no event (two steps early to `tolerance` late) is false. Samples
that were not judged (NaN) never alarm and their time does not count. Point-adjusted measures are not here: random scores do well on them.
"""

from typing import NamedTuple

import numpy as np

DAY = 86400
WINDOWS = {60: (10, 30), 300: (3, 12), 3600: (2, 3)}        # step in seconds: (tolerance, merge) in steps


class Entity(NamedTuple):
    """One entity's scores over its tested part."""

    scores: np.ndarray          # float [T], NaN = not judged
    labels: np.ndarray          # bool [T]
    step_seconds: float


def windows(step_seconds):
    """(tolerance, merge) in steps, by the nearest step in WINDOWS.

    >>> windows(10), windows(600), windows(86400)
    ((10, 30), (3, 12), (2, 3))
    """
    return WINDOWS[min(WINDOWS, key=lambda step: abs(np.log(step / step_seconds)))]


def runs(mask):
    """Runs of true samples: [(first, one past the last)].

    >>> runs(np.array([0, 1, 1, 0, 1]))
    [(1, 3), (4, 5)]
    """
    edges = np.diff(np.r_[0, np.asarray(mask, bool).astype(int), 0])
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def alarms(mask, merge):
    """Runs of true samples; those closer than `merge` steps are one.

    >>> alarms(np.array([1, 0, 1, 0, 0, 0, 1]), 2)
    [(0, 3), (6, 7)]
    """
    out = []
    for start, end in runs(mask):
        if out and start - out[-1][1] <= merge:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def judged_days(entities):
    """Days of all entities together in which samples were judged."""
    return sum(np.count_nonzero(~np.isnan(e.scores)) * e.step_seconds for e in entities) / DAY


def near(labels, tolerance):
    """bool [T]: samples of an event, two steps early to `tolerance` late: an alarm there is not false.

    >>> near(np.array([0, 0, 0, 1, 0, 0, 0]), 1).astype(int)
    array([0, 1, 1, 1, 1, 0, 0])
    """
    out = np.array(labels, bool)
    for start, end in runs(labels):
        out[max(0, start - 2) : end + tolerance] = True
    return out


def outcome(entity, threshold):
    """(delay of each event found, in steps; number of false alarms) of one entity at one threshold."""
    with np.errstate(invalid='ignore'):
        hit = entity.scores >= threshold
    if not hit.any():
        return [], 0
    tolerance, merge = windows(entity.step_seconds)
    touched, delays = near(entity.labels, tolerance), []
    for start, end in runs(entity.labels):
        if hit[start : end + tolerance].any():
            delays.append(int(np.argmax(hit[start : end + tolerance])))
    return delays, sum(not touched[start:end].any() for start, end in alarms(hit, merge))


def thresholds(entities):
    """Thresholds to try, falling: quantiles of all scores."""
    judged = np.concatenate([e.scores[~np.isnan(e.scores)] for e in entities])
    if not judged.size:
        raise ValueError('no score was judged: all are NaN')
    return np.unique(np.quantile(judged, 1 - np.logspace(-5.5, -1.3, 60)))[::-1]


def operating_points(entities):
    """Recall at one false alarm per entity-week and -day, best event F1, median delay at the former; a dict of floats.

    >>> scores, labels = np.zeros(1440), np.zeros(1440, bool)
    >>> scores[700], scores[100], labels[700:703] = 9, 5, True
    >>> found = operating_points([Entity(scores, labels, 60)])
    >>> found['recall_at_1_per_day'], found['best_event_f1']
    (1.0, 1.0)
    """
    days, events = judged_days(entities), sum(len(runs(e.labels)) for e in entities)
    best = {'recall_at_1_per_week': 0.0, 'recall_at_1_per_day': 0.0, 'best_event_f1': 0.0, 'median_delay_steps': np.nan}
    for threshold in thresholds(entities):
        outcomes = [outcome(e, threshold) for e in entities]
        delays, false = [d for found, _ in outcomes for d in found], sum(n for _, n in outcomes)
        precision, recall = len(delays) / max(len(delays) + false, 1), len(delays) / max(events, 1)
        best['best_event_f1'] = max(best['best_event_f1'], 2 * precision * recall / max(precision + recall, 1e-9))
        for name, budget in (('recall_at_1_per_week', 1 / 7), ('recall_at_1_per_day', 1.0)):
            if false / days <= budget and recall >= best[name]:
                best[name] = recall
                if budget < 1 and delays:
                    best['median_delay_steps'] = float(np.median(delays))
    return {'events': float(events), 'entity_weeks': float(days / 7), **{name: float(value) for name, value in best.items()}}


def false_alarms_per_week(entities, threshold):
    """False alarms per entity-week at one threshold."""
    return sum(outcome(e, threshold)[1] for e in entities) / max(judged_days(entities) / 7, 1e-9)


def average_precision(scores, labels):
    """Area under the precision-recall curve of the judged samples, as the mean precision at each labelled one.

    >>> average_precision(np.array([3.0, 2, 1, np.nan]), np.array([1, 0, 1, 1]))
    0.8333333333333333
    """
    judged = ~np.isnan(scores)
    order = np.argsort(-scores[judged], kind='stable')
    hits = np.asarray(labels, bool)[judged][order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean()) if hits.any() else float('nan')


def hit_rate(contribution, culprits, share=1.0):
    """Hit rate: of the features that an incident shows in, the share that is among those with the largest contribution; mean of all samples.

    As many features are taken as the incident has, times `share`.

    contribution  float [T, F], rows of NaN are left out
    culprits      bool [T, F]; rows without any are left out

    >>> hit_rate(np.array([[0.5, 0.3, 0.2]]), np.array([[True, False, True]]))
    0.5
    """
    valid = culprits.any(1) & ~np.isnan(contribution).any(1)
    rank = np.argsort(np.argsort(-contribution[valid], axis=1, kind='stable'), axis=1, kind='stable')
    size = culprits[valid].sum(1)
    blamed = rank < np.floor(share * size + 1e-9)[:, None]
    return float(((blamed & culprits[valid]).sum(1) / size).mean())
