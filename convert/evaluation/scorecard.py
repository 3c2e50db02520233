"""The figures of every method on one set: Cards, out of the scores that scoring gave. Pure; numbers only, scoreboard writes them down.

One threshold for all entities of a set, found in hindsight at a budget of false alarms, the same for all methods; beside it the false
alarms that a model raises at the thresholds of its own calibration.
"""

import math
from typing import NamedTuple

import msgspec
import numpy as np

from convert.evaluation import events, gates, measures, nab, volume
from convert.evaluation.events import Field
from convert.evaluation.measures import Entity
from promlstm.card import BUDGETS
from promlstm.errors import BudgetError

WEEK, DAY = '1/week', '1/day'
SIZES = {'below 1': (0, 1), '1 to 2': (1, 2), '2 to 3': (2, 3), '3 to 5': (3, 5), '5 and more': (5, np.inf)}     # of planted faults
CONFIDENCE = 0.9                                        # of all intervals


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a promise: false alarms per entity-week at the calibrated threshold, with the Poisson interval of that figure."""

    promised: float
    seen: float
    low: float
    high: float


class Recall(msgspec.Struct, frozen=True, kw_only=True):
    """Events found, of so many."""

    found: int
    events: int

    @property
    def share(self):
        """NaN where there are none."""
        return self.found / self.events if self.events else float('nan')


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one set; NaN (null in JSON, read back as None) = there is nothing to say.

    threshold           at one false alarm per entity-week, in hindsight; infinite = none keeps to it
    week, day           recall at one false alarm per entity-week and -day
    new                 as week, of the events that do not recur
    gain, gain_new      ends of the interval of the first method's recall less this one's, in a paired bootstrap over entities; empty for the first
    delay_steps         median, of the events found at one a week
    in_alarm            share of the judged samples at or above the threshold
    auc_pr, vus_pr      of samples, mean over entities that have events; vus_pr of sets with several features
    hit_early, hit_end  HitRate@100 % of the contributions: soon after the first alarm in an event, and at the event's end
    kept                {budget: Kept} at the calibrated thresholds
    inside, width       share of the healthy samples inside the band; its median width in the 99 % range of the series
    nab                 NAB's own score, where labels are NAB's windows
    planted, kinds      planted faults found at `threshold`: all, and by kind
    gain_planted        as gain, of the planted faults
    sizes               likewise by planting.Fault.size
    false               {entity: false alarms} at `threshold`
    """

    benchmark_set: str
    method: str
    role: str
    threshold: float | None
    week: Recall
    day: Recall
    new: Recall
    best_f1: float | None
    gain: tuple[float, ...]
    gain_new: tuple[float, ...]
    delay_steps: float | None
    in_alarm: float | None
    auc_pr: float | None
    vus_pr: float | None
    hit_early: float | None
    hit_end: float | None
    kept: dict[str, Kept]
    inside: float | None
    width: float | None
    nab: float | None
    planted: Recall
    gain_planted: tuple[float, ...]
    kinds: dict[str, Recall]
    sizes: dict[str, Recall]
    false: dict[str, float]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a set is: entities, their steps and features, weeks judged by the first method, events, of which so many recur."""

    name: str
    entities: int
    steps_seconds: list[float]
    features: list[int]
    entity_weeks: float
    events: int
    recurring: int


class Method(NamedTuple):
    """One method on all Parts of a set: what scoring said of each entity, in the order of the set's Series."""

    name: str
    role: str
    judged: list                # of scoring.Judged
    calibration: object = None  # bundle.Calibration of a model; None = it promises nothing


def cards(name, series, recurring, methods, standing_seconds):
    """(About, [Card], Field of the first method) of a set; the first method is the one that others are compared with.

    series      scoring.Series of all Parts
    recurring   bool [events] of each of them
    methods     Methods
    """
    again, out, first = np.concatenate([*recurring, np.zeros(0, bool)]).astype(bool), [], None
    for method in methods:
        field = Field([Entity(judged.scores, s.labels, s.step_seconds) for s, judged in zip(series, method.judged, strict=True)], standing_seconds)
        points, best_f1 = events.operating(field, {WEEK: BUDGETS[WEEK], DAY: BUDGETS[DAY]})
        tallies = [_by_entity(field, points[WEEK].counted.found, chosen) for chosen in (np.ones(len(again), bool), ~again)]
        tallies.append(_planted_by_entity(method, points[WEEK].threshold))
        first = first or (field, tallies)
        out.append(_card(name, series, again, method, field, points, best_f1, _gains(first[1], tallies) if field is not first[0] else ((), (), ())))
    return about(name, series, again, first[0]), out, first[0]


def about(name, series, again, field):
    """What a set is."""
    return About(
        name=name, entities=len(series), steps_seconds=sorted({s.step_seconds for s in series}), features=sorted({s.values.shape[1] for s in series}),
        entity_weeks=float(field.weeks.sum()), events=len(again), recurring=int(again.sum()),
    )  # fmt: skip


def _card(name, series, again, method, field, points, best_f1, gains):
    week, day = points[WEEK].counted, points[DAY].counted
    by_kind = _by_kind(series, method, field, points[WEEK])
    blame = [j.blame for j in method.judged if j.blame is not None]
    early, end = np.nanmean(np.concatenate(blame), 0) if blame and np.isfinite(np.concatenate(blame)).any() else (np.nan, np.nan)
    band = np.array([j.band[:2] for j in method.judged]).sum(0)
    widths = [j.band[2] for j in method.judged if np.isfinite(j.band[2])]
    delays = week.delays[week.found]
    several = any(s.values.shape[1] > 1 for s in series)
    return Card(
        benchmark_set=name, method=method.name, role=method.role, threshold=points[WEEK].threshold,
        week=_recall(week.found), day=_recall(day.found), new=_recall(week.found[~again]), best_f1=best_f1, gain=gains[0], gain_new=gains[1],
        delay_steps=float(np.median(delays)) if len(delays) else float('nan'), in_alarm=week.in_alarm,
        auc_pr=_mean(field, measures.average_precision), vus_pr=_mean(field, volume.vus_pr) if several else float('nan'),
        hit_early=float(early), hit_end=float(end), kept=kept(field, [j.klass for j in method.judged], method.calibration) if method.calibration else {},
        inside=float(band[0] / band[1]) if band[1] else float('nan'), width=float(np.median(widths)) if widths else float('nan'),
        nab=nab.score([(e.scores, e.labels) for e in field.entities]) if all(s.windows for s in series) else float('nan'),
        planted=_recall(np.concatenate([np.zeros(0, bool), *by_kind.values()])), gain_planted=gains[2],
        kinds={kind: _recall(hits) for kind, hits in by_kind.items()},
        sizes=_by_size(series, method, points[WEEK].threshold),
        false={s.name: float(count) for s, count in zip(series, week.false, strict=True) if count},
    )  # fmt: skip


def _by_kind(series, method, field, point):
    """{kind: bool [faults]}: which planted faults were found, or which events of known kinds."""
    if any(s.kind for s in series):
        kinds, found = [series[n].kind for n in field.event_entity], point.counted.found
    else:
        kinds = [fault.kind for s in series for _, fault in s.planted]
        found = np.concatenate([judged.peaks for judged in method.judged]) >= point.threshold
    kinds = np.array(kinds, str)
    return {str(kind): found[kinds == kind] for kind in np.unique(kinds)}


def _by_size(series, method, threshold):
    """{range of planting.Fault.size: Recall of the planted faults in it}."""
    sizes = np.array([fault.size for s in series for _, fault in s.planted])
    found = np.concatenate([np.zeros(0, bool), *(judged.peaks >= threshold for judged in method.judged)])
    within = {name: (sizes >= low) & (sizes < high) for name, (low, high) in SIZES.items()}
    return {name: _recall(found[chosen]) for name, chosen in within.items() if chosen.any()}


def kept(field, classes, calibration):
    """{budget: Kept} at the thresholds that a calibration gives each entity; entities for which it has none are left out."""
    out = {}
    for name, budget in BUDGETS.items():
        thresholds = np.array([_threshold(calibration, budget, e.step_seconds, klass) for e, klass in zip(field.entities, classes, strict=True)])
        covered = np.isfinite(thresholds)
        if weeks := float(field.weeks[covered].sum()):
            count = float(field.count(thresholds).false[covered].sum())
            low, high = poisson(count)
            out[name] = Kept(promised=budget, seen=count / weeks, low=low / weeks, high=high / weeks)
    return out


def _threshold(calibration, budget, step_seconds, klass):
    """NaN where the calibration ends before this budget."""
    try:
        return calibration.threshold(budget, step_seconds=step_seconds, klass=klass)
    except BudgetError:
        return float('nan')


def poisson(count, confidence=CONFIDENCE):
    """The exact interval of a Poisson mean of which so many were counted (Garwood 1936).

    >>> [round(end, 2) for end in poisson(0)], [round(end, 2) for end in poisson(10)]
    ([0.0, 3.0], [5.43, 16.96])
    """
    tail = (1 - confidence) / 2
    low = _mean_where(lambda mean: 1 - _at_most(count - 1, mean), tail, count + 1) if count else 0.0
    return low, _mean_where(lambda mean: 1 - _at_most(count, mean), 1 - tail, count + 1)


def _at_most(count, mean):
    """The probability of so many or fewer, of a Poisson mean."""
    k = np.arange(int(count) + 1)
    logs = k * math.log(max(mean, 1e-300)) - mean - np.array([math.lgamma(each + 1) for each in k.tolist()])
    return float(np.exp(logs).sum())


def _mean_where(rising, wanted, scale):
    """Where a rising function of a mean reaches a value; by bisection."""
    low, high = 0.0, 10.0 + 2 * scale
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return high


def _recall(found):
    return Recall(found=int(np.sum(found)), events=len(found))


def _mean(field, measure):
    """The mean of a measure over entities with events, of samples."""
    found = [measure(e.scores, e.labels) for e in field.entities if (e.labels & ~np.isnan(e.scores)).any()]
    return float(np.mean(found)) if found else float('nan')


def _by_entity(field, found, chosen):
    """(events found, events) of each entity, of the chosen ones."""
    of, many = field.event_entity[chosen], len(field.entities)
    return np.bincount(of, found[chosen], minlength=many), np.bincount(of, minlength=many)


def _planted_by_entity(method, threshold):
    """(planted faults found, planted faults) of each entity."""
    return np.array([(np.sum(each.peaks >= threshold), len(each.peaks)) for each in method.judged]).T


def _gains(firsts, tallies):
    """Ends of the intervals of the first method's recall less another's; empty where there are no events."""
    pairs = zip(firsts, tallies, strict=True)
    return [gates.paired(ours, theirs, confidence=CONFIDENCE, seed=0)[2:] if ours[1].any() else () for ours, theirs in pairs]
