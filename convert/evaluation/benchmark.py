"""The model, the model in service, the rule without the LSTM and simple baselines on the same telemetry in the same run.

Everybody gets the same chance: the lowest threshold that keeps to the budget of false alarms over all entities of a set, found in
hindsight. What will run has no hindsight: models are also measured at the threshold that their calibration gives for the budget.
Model files are replayed through promlstm.engine.detector, so missing samples, warm-up and seasonal memory are as live.

Who calls it: make (evaluate), compare, curve, search. Out go Results: numbers only; report draws them, gates judges them.
"""

import itertools
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from convert.evaluation import baselines, measures, replay
from convert.evaluation.measures import Entity
from promlstm.errors import BudgetError

BUDGET = 1.0            # false alarms per entity-week
BUDGETS = {'1/month': 7 / 30, '1/week': 1.0, '1/day': 7.0}


@dataclass(frozen=True, eq=False)
class Contestant:
    """Who is measured: a promlstm.engine.session.Session, or by default all baselines."""

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
    """One contestant on one set."""

    trial: str
    contestant: str
    role: str
    auc_pr: float | None                # mean over entities that have events; NaN without labels
    equal: Points | None                # at the budget in hindsight; None without labels
    run: Points | None                  # as it will run; None without a calibration
    by_kind: dict[str, float]           # event recall at the budget in hindsight
    tally: Tally | None                 # of `equal`
    tally_run: Tally | None             # of `run`
    alarms: dict[str, float | None]     # promised budget: alarms per entity-week where nothing is labelled, at the calibrated threshold
    shares: dict[str, list[float]]      # healthy, faulty: samples by score, in the steps of BINS


BINS = np.r_[0, 2.0 ** np.arange(-3, 3.01, 0.25), np.inf]       # of score = surprise / threshold


@dataclass(frozen=True, eq=False)
class Sight:
    """What is kept of the model's own run, to be drawn: the trial, its scores float [T, N] (1 = the threshold), in hindsight or as it runs."""

    trial: object
    scores: np.ndarray


def held(contestants, trials, log, *, baselines=True):
    """(Results, Sights of the first contestant) of all contestants, and baselines unless they are not asked for, on all trials."""
    results, sights = [], []
    for trial in trials:
        log(f'  {trial.name}: {trial.values.shape[1]} entities, {trial.values.shape[0]} steps of {trial.step_seconds:g} s')
        for contestant, scores, thresholds in _scored(contestants, trial, baselines):
            result = measured(contestant, trial, scores, thresholds)
            results.append(result)
            if contestant is contestants[0]:
                sights.append(Sight(trial, scores / _border(result, thresholds)))
            if result.equal:
                log(f'    {contestant.name:16} {result.equal.event_recall:.3f} of the events at {BUDGET:g} false alarm per entity-week')
    return results, sights


def _scored(contestants, trial, beside):
    """Each contestant with its scores [T, N] and {budget: threshold [N]} by its calibration."""
    for contestant in contestants:
        features = contestant.session.bundle.manifest.features
        if features is None or len(features) == trial.values.shape[2]:
            scores, classes = judged(contestant.session, trial)
            yield contestant, scores, _promised(contestant.session.bundle.calibration, trial.step_seconds, classes)
    for name, scores in simple(trial).items() if beside else ():
        yield Contestant(name, 'baseline'), scores, {}


def judged(session, trial):
    """(surprise float [T, N], class of each entity int [N])."""
    scores, classes = replay.judged(session, trial.times, trial.values, step_seconds=trial.step_seconds, history=trial.history)
    return scores, classes


def simple(trial):
    """{baseline: float [T, N]}; of several features the largest, and what principal components leave over."""
    past = ((trial.history[0] - trial.times[0]) / trial.step_seconds).round().astype(int)
    each = []
    for f in range(trial.values.shape[2]):
        values, history = trial.values[..., f], (past, trial.history[1][..., f])
        each.append(baselines.plain(values, trial.step_seconds, history) | baselines.scores(values, trial.step_seconds))
    with np.errstate(invalid='ignore'):
        out = {name: np.fmax.reduce([found[name] for found in each]) for name in each[0]}
    if trial.values.shape[2] > 1:
        out['pca'] = baselines.pca(trial.values, max(trial.settled, _least(trial)))
    return out


def _least(trial):
    """Steps that principal components are fitted to at least, a quarter of all at most."""
    return min(300, len(trial.times) // 4)


def _promised(calibration, step_seconds, classes):
    out = {}
    for name, budget in BUDGETS.items():
        try:
            table = {klass: calibration.threshold(budget, step_seconds=step_seconds, klass=int(klass)) for klass in np.unique(classes)}
        except BudgetError:
            continue
        out[name] = np.array([table[klass] for klass in classes])
    return out


def measured(contestant, trial, scores, thresholds):
    """The Result of scores [T, N]; thresholds {budget: [N]}."""
    scores = np.where(trial.counted, scores, np.nan)
    known = trial.labels is not None
    labels = trial.labels if known else np.zeros(scores.shape, bool)
    run = _entities(scores / thresholds['1/week'], labels, trial) if '1/week' in thresholds else None
    entities = _entities(scores, labels, trial)
    equal = threshold_at(entities, BUDGET) if known else None
    border = equal if equal is not None else 1.0
    return Result(
        trial=trial.name, contestant=contestant.name, role=contestant.role, auc_pr=_auc(entities) if known else float('nan'),
        equal=points(entities, equal) if known else None, run=points(run, 1.0) if run else None,
        by_kind=_by_kind(entities, trial.kinds, equal) if known and trial.kinds else {},
        tally=tally(entities, equal) if known else None, tally_run=tally(run, 1.0) if run else None,
        alarms={name: points(_entities(scores / t, labels, trial), 1.0).false_alarms_per_week for name, t in thresholds.items()},
        shares=_shares(scores / (thresholds['1/week'] if run else border), labels),
    )  # fmt: skip


def _border(result, thresholds):
    return thresholds.get('1/week', result.equal.threshold if result.equal else 1.0)


def _entities(scores, labels, trial):
    return [Entity(scores[:, n], labels[:, n] & trial.counted[:, n], trial.step_seconds) for n in range(scores.shape[1])]


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
        found=[len(delays) for delays, _ in outcomes], events=[len(measures.runs(e.labels)) for e in entities],
        false=[false for _, false in outcomes], weeks=[float(measures.judged_days([e]) / 7) for e in entities],
    )  # fmt: skip


def points(entities, threshold):
    """Points at one threshold.

    >>> labels = np.array([0, 0, 1, 1, 0, 0] * 30, bool)
    >>> found = points([Entity(np.where(labels, 3.0, 0), labels, 3600)], 2)
    >>> found.f1, found.event_f1, found.delay_steps, found.false_alarms_per_week
    (1.0, 1.0, 0.0, 0.0)
    """
    scores, labels = (np.concatenate([getattr(e, name) for e in entities]) for name in ('scores', 'labels'))
    kept = ~np.isnan(scores)
    hit, true = scores[kept] >= threshold, labels[kept]
    outcomes = [measures.outcome(e, threshold) for e in entities]
    delays, false = [d for found, _ in outcomes for d in found], sum(n for _, n in outcomes)
    events, weeks = sum(len(measures.runs(e.labels)) for e in entities), measures.judged_days(entities) / 7
    precision, recall = _share(hit & true, hit), _share(hit & true, true)
    found = len(delays) / events if events else float('nan')
    exact = len(delays) / (len(delays) + false) if delays or false else float('nan')
    return Points(
        threshold=float(threshold), accuracy=float((hit == true).mean()) if len(hit) else float('nan'), precision=precision, recall=recall,
        f1=_f1(precision, recall), event_precision=exact, event_recall=found, event_f1=_f1(exact, found),
        false_alarms_per_week=float(false / weeks) if weeks else float('nan'), delay_steps=float(np.median(delays)) if delays else float('nan'),
    )  # fmt: skip


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
    for kind, group in itertools.groupby(sorted(zip(kinds, entities, strict=True), key=lambda pair: pair[0]), key=lambda pair: pair[0]):
        group = [entity for _, entity in group]
        if events := sum(len(measures.runs(e.labels)) for e in group):
            out[kind] = sum(len(measures.outcome(e, threshold)[0]) for e in group) / events
    return out


def _shares(scores, labels):
    kept = ~np.isnan(scores)
    out = {}
    for name, mask in (('healthy', ~labels), ('faulty', labels)):
        count = np.histogram(scores[kept & mask], BINS)[0]
        out[name] = (count / max(count.sum(), 1)).round(7).tolist()
    return out


def weeks(result):
    """Entity-weeks judged."""
    found = result.tally_run or result.tally
    return sum(found.weeks) if found else 0.0


