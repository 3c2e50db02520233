"""The model, the model in service, the rule without the LSTM and simple baselines on the same telemetry in the same run.

Every method gets the same chance: the lowest threshold that keeps to the budget of false alarms over all entities of a set, found in
hindsight. What will run has no hindsight: models are also measured at the threshold that their calibration gives for the budget.
Model files are replayed through promlstm.engine.detector, so missing samples, warm-up and seasonal memory are as live.

Who calls it: review (the stage `evaluate`), compare, learning_curve, search. Out go Results: numbers only; report draws them, gates judges
them.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from convert import progress
from convert.evaluation import baselines, measures, replay
from convert.evaluation.benchmark_sets import BenchmarkSet
from convert.evaluation.measures import Entity
from promlstm.card import BUDGETS
from promlstm.errors import BudgetError

BUDGET = 1.0            # false alarms per entity-week
LARGEST = 20_000_000    # samples of a set whose events are drawn with the band around them; of a larger one without
BINS = np.r_[0, 2.0 ** np.arange(-3, 3.01, 0.25), np.inf]       # of score = surprise / threshold


@dataclass(frozen=True, eq=False)
class Method:
    """What is measured: a model (a promlstm.engine.session.Session) or a baseline (no session)."""

    name: str
    role: Literal['model', 'in service', 'without LSTM', 'other', 'baseline']
    session: object = None


class Points(msgspec.Struct, frozen=True, kw_only=True):
    """What one threshold makes of a set; NaN (null in JSON, read back as None) = there is nothing to say.

    accuracy, precision, recall, f1     of samples
    event_precision, _recall, _f1       of events and alarms, by the rules of measures.py
    false_alarms_per_week               of one entity
    delay_steps                         median, of the events found
    """

    threshold: float | None
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    event_precision: float | None
    event_recall: float | None
    event_f1: float | None
    false_alarms_per_week: float | None
    delay_steps: float | None


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Of each entity, what a paired bootstrap draws from: events found, events, false alarms, weeks judged."""

    found: list[float]
    events: list[float]
    false: list[float]
    weeks: list[float]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one set."""

    benchmark_set: str
    method: str
    role: str
    auc_pr: float | None                # mean over entities that have events; NaN without labels
    equal: Points | None                # at the budget in hindsight; None without labels
    run: Points | None                  # as it will run; None without a calibration
    by_kind: dict[str, float]           # event recall at the budget in hindsight
    tally: Tally | None                 # of `equal`
    tally_run: Tally | None             # of `run`
    alarms: dict[str, float | None]     # promised budget: alarms per entity-week where nothing is labelled, at the calibrated threshold
    shares: dict[str, list[float]]      # healthy, faulty: share of the samples in each score bin (BINS)
    names: list[str] = []               # of the entities of a labelled set of others, as the tallies have them; pieces of one share a name


@dataclass(frozen=True, eq=False)
class Scored:
    """A set with what the first method says of it, to be drawn.

    scores  float [T, N], 1 = the threshold (calibrated, or found in hindsight)
    seen    None = the set is too large
    """

    benchmark_set: BenchmarkSet
    scores: np.ndarray
    seen: replay.Seen | None = None


def measure_all(methods, benchmark_sets, log, *, baselines=True):
    """(Results of all methods on all sets, Scored of the first method).

    methods         Methods with a session; the first one is the one that is drawn
    benchmark_sets  any iterable of BenchmarkSet; each is dropped before the next is made
    log             function of a line of text
    baselines       whether the simple detectors are measured too
    """
    results, scored = [], []
    for benchmark_set in benchmark_sets:
        for all_of, some in zip((results, scored), measure_set(methods, benchmark_set, log, baselines=baselines), strict=True):
            all_of += some
    return results, scored


def measure_set(methods, benchmark_set, log, *, baselines=True):
    """As measure_all, of one set."""
    results, scored = [], []
    steps, entities, _ = benchmark_set.values.shape
    log(f'  {benchmark_set.name}: {entities} entities, {steps} steps of {benchmark_set.step_seconds:g} s')
    seen = replay.Seen.blank(benchmark_set.values.shape) if benchmark_set.values.size <= LARGEST else None
    for method, scores, thresholds in _scores(methods, benchmark_set, baselines, log, seen):
        result = measure(method, benchmark_set, scores, thresholds)
        results.append(result)
        if method is methods[0]:
            scored.append(Scored(benchmark_set, scores / _threshold(result, thresholds), seen))
        if result.equal:
            log(f'    {method.name:16} {result.equal.event_recall:.3f} of the events at {BUDGET:g} false alarm per entity-week')
    return results, scored


def _scores(methods, benchmark_set, baselines, log, seen):
    """Each method with its scores [T, N] and {budget: threshold [N]} by its calibration; `seen` is filled in by the first one."""
    for method in methods:
        features = method.session.bundle.manifest.features
        if features is None or len(features) == benchmark_set.values.shape[2]:
            steps = len(benchmark_set.times)
            show = functools.partial(progress.track, what=f'{benchmark_set.name}, {method.name}, steps', total=steps, log=log)
            scores, classes = surprises(method.session, benchmark_set, show, seen if method is methods[0] else None)
            yield method, scores, _calibrated(method.session.bundle.calibration, benchmark_set.step_seconds, classes)
    for name, scores in baseline_scores(benchmark_set).items() if baselines else ():
        yield Method(name, 'baseline'), scores, {}


def surprises(session, benchmark_set, progress=iter, seen=None):
    """(surprise float32 [T, N], class of each entity int64 [N]) of a model; seen as of replay.surprises_and_classes."""
    return replay.surprises_and_classes(
        session, benchmark_set.times, benchmark_set.values, step_seconds=benchmark_set.step_seconds, history=benchmark_set.history, progress=progress,
        seen=seen,
    )  # fmt: skip


def baseline_scores(benchmark_set):
    """{baseline: float [T, N]}; of several features the largest score, and what principal components leave over."""
    times, values, step_seconds = benchmark_set.times, benchmark_set.values, benchmark_set.step_seconds
    past = ((benchmark_set.history[0] - times[0]) / step_seconds).round().astype(int)
    each = []
    for f in range(values.shape[2]):
        history = (past, benchmark_set.history[1][..., f])
        each.append(baselines.plain(values[..., f], step_seconds, history) | baselines.scores(values[..., f], step_seconds))
    with np.errstate(invalid='ignore'):
        out = {name: np.fmax.reduce([found[name] for found in each]) for name in each[0]}
    if values.shape[2] > 1:
        fitted = min(300, len(times) // 4)      # steps at least, but a quarter of all at most
        out['pca'] = baselines.pca(values, max(benchmark_set.first_counted, fitted))
    return out


def _calibrated(calibration, step_seconds, classes):
    """{budget: threshold of each entity [N]}; budgets that the calibration does not reach are left out."""
    out = {}
    for name, budget in BUDGETS.items():
        try:
            table = {klass: calibration.threshold(budget, step_seconds=step_seconds, klass=int(klass)) for klass in np.unique(classes)}
        except BudgetError:
            continue
        out[name] = np.array([table[klass] for klass in classes])
    return out


def measure(method, benchmark_set, scores, thresholds):
    """The Result of scores [T, N]; thresholds {budget: [N]}."""
    scores = np.where(benchmark_set.counted, scores, np.nan)
    labelled = benchmark_set.labels is not None
    labels = benchmark_set.labels if labelled else np.zeros(scores.shape, bool)
    entities = _entities(scores, labels, benchmark_set)
    run = _entities(scores / thresholds['1/week'], labels, benchmark_set) if '1/week' in thresholds else None
    equal = threshold_at(entities, BUDGET) if labelled else None
    score_one = thresholds['1/week'] if run else 1.0 if equal is None else equal
    return Result(
        benchmark_set=benchmark_set.name,
        method=method.name,
        role=method.role,
        auc_pr=_auc(entities) if labelled else float('nan'),
        equal=points(entities, equal) if labelled else None,
        run=points(run, 1.0) if run else None,
        by_kind=_by_kind(entities, benchmark_set.kinds, equal) if labelled and benchmark_set.kinds else {},
        tally=tally(entities, equal) if labelled else None,
        tally_run=tally(run, 1.0) if run else None,
        alarms={name: points(_entities(scores / t, labels, benchmark_set), 1.0).false_alarms_per_week for name, t in thresholds.items()},
        shares=_shares(scores / score_one, labels),
        names=list(benchmark_set.names) if labelled and benchmark_set.kinds is None else [],
    )


def _threshold(result, thresholds):
    """The threshold that a method is drawn at: the calibrated one of a week, or the one found in hindsight."""
    return thresholds.get('1/week', result.equal.threshold if result.equal else 1.0)


def _entities(scores, labels, benchmark_set):
    labels = labels & benchmark_set.counted
    return [Entity(scores[:, n], labels[:, n], benchmark_set.step_seconds) for n in range(scores.shape[1])]


def threshold_at(entities, budget):
    """The lowest of the thresholds worth trying that keeps to a budget of false alarms per entity-week; infinite where none does."""
    try:
        tried = measures.thresholds(entities)
    except ValueError:
        return np.inf
    low, high = 0, len(tried)       # falling thresholds: more and more alarms
    while low < high:
        middle = (low + high) // 2
        if measures.false_alarms_per_week(entities, tried[middle]) <= budget:
            low = middle + 1
        else:
            high = middle
    return float(tried[low - 1]) if low else np.inf


def tally(entities, threshold):
    """Tally at one threshold."""
    outcomes = [measures.outcome(e, threshold) for e in entities]
    return Tally(
        found=[float(len(delays)) for delays, _ in outcomes], events=[float(len(measures.runs(e.labels))) for e in entities],
        false=[float(false) for _, false in outcomes], weeks=[float(measures.judged_days([e]) / 7) for e in entities],
    )  # fmt: skip


def points(entities, threshold):
    """Points at one threshold.

    >>> labels = np.array([0, 0, 1, 1, 0, 0] * 30, bool)
    >>> found = points([Entity(np.where(labels, 3.0, 0), labels, 3600)], 2)
    >>> found.f1, found.event_f1, found.delay_steps, found.false_alarms_per_week
    (1.0, 1.0, 0.0, 0.0)
    """
    scores, labels = (np.concatenate([getattr(e, name) for e in entities]) for name in ('scores', 'labels'))
    judged = ~np.isnan(scores)
    hit, true = scores[judged] >= threshold, labels[judged]
    precision, recall = _share(hit & true, hit), _share(hit & true, true)
    outcomes = [measures.outcome(e, threshold) for e in entities]
    delays = [delay for found, _ in outcomes for delay in found]
    false = sum(count for _, count in outcomes)
    events = sum(len(measures.runs(e.labels)) for e in entities)
    weeks = measures.judged_days(entities) / 7
    event_recall = len(delays) / events if events else float('nan')
    event_precision = len(delays) / (len(delays) + false) if delays or false else float('nan')
    return Points(
        threshold=float(threshold),
        accuracy=float((hit == true).mean()) if len(hit) else float('nan'),
        precision=precision,
        recall=recall,
        f1=_f1(precision, recall),
        event_precision=event_precision,
        event_recall=event_recall,
        event_f1=_f1(event_precision, event_recall),
        false_alarms_per_week=float(false / weeks) if weeks else float('nan'),
        delay_steps=float(np.median(delays)) if delays else float('nan'),
    )


def _share(part, whole):
    return float(part.sum() / whole.sum()) if whole.any() else float('nan')


def _f1(precision, recall):
    total = float(np.nan_to_num(precision)) + recall
    return float(2 * np.nan_to_num(precision) * recall / total) if total > 0 else total


def _auc(entities):
    found = [measures.average_precision(e.scores, e.labels) for e in entities if (e.labels & ~np.isnan(e.scores)).any()]
    return float(np.mean(found)) if found else float('nan')


def _by_kind(entities, kinds, threshold):
    out = {}
    for kind in sorted(set(kinds)):
        group = [entity for its_kind, entity in zip(kinds, entities, strict=True) if its_kind == kind]
        if events := sum(len(measures.runs(e.labels)) for e in group):
            out[kind] = sum(len(measures.outcome(e, threshold)[0]) for e in group) / events
    return out


def _shares(scores, labels):
    judged = ~np.isnan(scores)
    out = {}
    for name, mask in (('healthy', ~labels), ('faulty', labels)):
        count = np.histogram(scores[judged & mask], BINS)[0]
        out[name] = (count / max(count.sum(), 1)).round(7).tolist()
    return out
