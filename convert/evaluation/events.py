"""Events found and false alarms of many entities together, at any threshold, fast; and the thresholds that keep to a budget.

The rules are those of measures.outcome (which counts one entity, slowly), and one more: a false alarm that stands counts again for each
`standing_seconds` that its samples last, as it would page again. Counted once however long it stands, an endless alarm is nearly free.

Who calls it: scorecard (figures of a set), mistakes (which alarms these are). Pure.
"""

from typing import NamedTuple

import numpy as np

from convert.evaluation import measures

FOUR_HOURS = 14_400.0
TRIED = 300             # thresholds, between which the exact one is sought
LOWEST_SHARE = 0.3      # of the samples that reach the lowest threshold that is tried


class Counted(NamedTuple):
    """What one threshold makes of all entities."""

    delays: np.ndarray      # int64 [events]    steps from the first labelled sample to the first at the threshold; -1 = missed
    false: np.ndarray       # float64 [entities]  false alarms, standing ones as often as they count
    in_alarm: float         # share of the judged samples that reach the threshold

    @property
    def found(self):
        """bool [events]."""
        return self.delays >= 0


class Alarm(NamedTuple):
    """A false alarm of one entity, in its own samples: the first, one past the last, how often it counts."""

    entity: int
    first: int
    end: int
    counts: int


class Point(NamedTuple):
    """A threshold and what it makes of all entities; infinite where no threshold keeps to the budget."""

    threshold: float
    counted: Counted


class Field:
    """The scores of all entities of a set, one after the other.

    entities          measures.Entity of each
    standing_seconds  after which a standing alarm counts again; 0 = it counts once
    """

    def __init__(self, entities, standing_seconds=FOUR_HOURS):
        self.entities, self.standing_seconds = entities, standing_seconds
        sizes = [len(e.scores) for e in entities]
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.scores = np.concatenate([np.nan_to_num(np.asarray(e.scores, np.float32), nan=-np.inf) for e in entities])
        self._of = np.repeat(np.arange(len(entities)), sizes)
        windows = [measures.windows(e.step_seconds) for e in entities]
        self._merge = np.array([merge for _, merge in windows])
        self._again = np.array([max(1, int(standing_seconds / e.step_seconds)) for e in entities])
        self._near = np.concatenate([measures.near(e.labels, tolerance) for e, (tolerance, _) in zip(entities, windows, strict=True)])
        self.weeks = np.array([measures.judged_days([e]) / 7 for e in entities])
        self.events = [(n, first, end) for n, e in enumerate(entities) for first, end in measures.runs(e.labels)]
        spans = [(self.starts[n] + first, min(self.starts[n] + end + windows[n][0], self.starts[n + 1])) for n, first, end in self.events]
        self._spans = np.array(spans, np.int64).reshape(-1, 2)

    @property
    def event_entity(self):
        """int [events]: the entity of each event."""
        return np.array([n for n, _, _ in self.events], int)

    def count(self, threshold):
        """Counted at one threshold, a number or one for each entity (NaN = that entity has none and never alarms)."""
        hits = self._hits(threshold)
        starts, _, counts = self._alarms(hits)
        false = np.bincount(self._of[hits[starts]], counts, minlength=len(self.entities)) if len(hits) else np.zeros(len(self.entities))
        judged = int(np.isfinite(self.scores).sum())
        return Counted(self._delays(hits), false, len(hits) / judged if judged else float('nan'))

    def false_alarms(self, threshold):
        """The Alarms at a threshold that count as false, entity by entity in time order."""
        hits = self._hits(threshold)
        out = []
        for first, end, counts in zip(*self._alarms(hits), strict=True):
            if counts:
                n = int(self._of[hits[first]])
                out.append(Alarm(n, int(hits[first] - self.starts[n]), int(hits[end - 1] + 1 - self.starts[n]), int(counts)))
        return out

    def per_week(self, counted):
        """False alarms per entity-week."""
        return float(counted.false.sum() / max(self.weeks.sum(), 1e-9))

    def peaks(self):
        """float32 [events]: the largest score that counts for each event; -inf where none was judged."""
        return np.array([self.scores[first:end].max(initial=-np.inf) for first, end in self._spans], np.float32)

    def peak_places(self):
        """int64 [events]: the sample that has the peak, in its entity's own; -1 where none was judged."""
        places = [int(self.scores[first:end].argmax()) for first, end in self._spans]
        begin = self._spans[:, 0] - self.starts[self.event_entity]
        return np.where(np.isfinite(self.peaks()), begin + np.array(places, np.int64), -1)

    def _hits(self, threshold):
        limit = np.asarray(threshold, np.float32)
        with np.errstate(invalid='ignore'):
            return np.flatnonzero((self.scores >= (limit[self._of] if limit.ndim else limit)) & (self.scores > -np.inf))

    def _alarms(self, hits):
        """Alarms as places in `hits`: (first [A], one past the last [A], how often each counts as false [A])."""
        if not len(hits):
            return np.zeros(0, int), np.zeros(0, int), np.zeros(0, int)
        entity = self._of[hits]
        apart = (np.diff(hits) - 1 > self._merge[entity[1:]]) | (np.diff(entity) != 0)
        starts = np.flatnonzero(np.r_[True, apart])
        near = self._near[hits]
        counts = (~np.logical_or.reduceat(near, starts)).astype(int)
        if self.standing_seconds:
            counts = counts + np.add.reduceat((~near).astype(int), starts) // self._again[entity[starts]]
        return starts, np.r_[starts[1:], len(hits)], counts

    def _delays(self, hits):
        if not len(hits) or not len(self._spans):
            return np.full(len(self._spans), -1)
        place = np.searchsorted(hits, self._spans[:, 0])
        first = np.r_[hits, len(self.scores)][place]
        return np.where(first < self._spans[:, 1], first - self._spans[:, 0], -1)


def operating(field, budgets):
    """The Points at budgets of false alarms per entity-week, and the best F1 of events over all thresholds.

    With standing alarms the lowest threshold above which the budget is kept everywhere, sought from above and exact. Without them, as the
    reference scorer has it: the best recall at any of its 60 thresholds that keeps to the budget.

    budgets  {name: false alarms per entity-week}
    returns  ({name: Point}, best F1)
    """
    curve, best, most = [], 0.0, max(budgets.values())
    for threshold in _tried(field):
        point = Point(float(threshold), field.count(threshold))
        curve.append(point)
        best = max(best, f1(point.counted))
        if field.standing_seconds and field.per_week(point.counted) > most and _highest_f1(point.counted) <= best:
            break       # from here on false alarms are too many for any budget, and for a better F1
    none = Point(float('inf'), field.count(float('inf')))
    choose = _from_above if field.standing_seconds else _anywhere
    points = {name: choose(field, curve, none, budget) for name, budget in budgets.items()}
    return points, best if field.events and curve else float('nan')


def _highest_f1(counted):
    """F1 if every event were found beside so many false alarms."""
    events = len(counted.delays)
    return 2 * events / max(2 * events + counted.false.sum(), 1e-9)


def f1(counted):
    """F1 of events and alarms.

    >>> f1(Counted(np.array([0, -1]), np.array([1.0]), 0.1))
    0.5
    """
    found, false = counted.found.sum(), counted.false.sum()
    precision, recall = found / max(found + false, 1), found / max(len(counted.delays), 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def _tried(field):
    """Thresholds to try, falling."""
    judged = field.scores[np.isfinite(field.scores)]
    if not len(judged):
        return np.zeros(0)
    if not field.standing_seconds:
        return measures.thresholds(field.entities)
    judged = np.sort(judged)[::-1]
    ranks = np.geomspace(1, max(2, LOWEST_SHARE * len(judged)), TRIED).astype(int)
    return np.unique(judged[np.minimum(ranks, len(judged)) - 1])[::-1]


def _anywhere(field, curve, none, budget):
    kept = [point for point in curve if field.per_week(point.counted) <= budget]
    return max(reversed(kept), key=lambda point: point.counted.found.sum(), default=none)


def _from_above(field, curve, none, budget):
    best = none
    for point in curve:
        if field.per_week(point.counted) > budget:
            return _between(field, point.threshold, best, budget)
        best = point
    return best


def _between(field, broken, best, budget):
    """The lowest threshold above one that breaks the budget and not above the best so far; by bisection over the scores between them."""
    values = np.unique(field.scores[(field.scores > broken) & (field.scores < best.threshold)])
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        point = Point(float(values[middle]), field.count(values[middle]))
        if field.per_week(point.counted) <= budget:
            best, high = point, middle
        else:
            low = middle + 1
    return best
