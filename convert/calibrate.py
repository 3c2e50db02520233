"""How many alarms a surprise stands for: counted by replaying the ONNX file itself over healthy telemetry.

The telemetry is healthy and synthetic, because the real incidents in unlabelled history would use up the budget. There is one table for
each class of entity (by its number of features) and range of steps. Alarms are counted as in the evaluation: those closer than a few steps are
one, one that began in a labelled event and outlasts it is none, and one that stands counts again. Entities of several features are counted on
healthy samples alone, as the laws below are.

A range is replayed once, series by series, and gives the table of one feature. At each of its surprises an entity of several features makes
as many alarms as features that share causes do (the laws of correlated.py, measured on the recorded entities that have several), or as
random series of the range do, whichever is more. A table is never extrapolated: it ends where too few independent alarms were counted.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convert import correlated, progress
from convert.correlated import HIGHEST_PER_WEEK
from convert.data import labelled, synthesis
from convert.errors import ConvertError
from convert.evaluation import events, measures, replay
from convert.recipe import CLASS_FEATURES
from promlstm.card import BUDGETS
from promlstm.engine import bundle

SET_WEEKS = 100             # a recorded set counts for no more: a large one must not drown the others
FIRST_DAYS = 4              # of a series are not counted, but half of it always is: a model may judge with reserve what it hardly knows
LEAST = 4                   # independent alarms counted at the end of a table: 1/month needs 20 entity-weeks and more
POINTS = 24
ONLY_COUNTED = '; alarms are counted on recorded telemetry, no weight is learnt from it'
STRANGERS = 1024            # series, at most, that begin an entity of series that share nothing


class CalibrationError(ConvertError):
    """Too little was replayed to give a threshold for any budget."""


class Replayed(NamedTuple):
    """What came of a range: surprises of single series, and of the recorded entities of several features."""

    scores: np.ndarray      # float32 [T, N], NaN = not judged, or in an event
    groups: tuple           # of float32 [T, F]
    source: str             # in words
    sets: tuple = ()        # of tuples of measures.Entity: the same single series with their events, by set
    recorded: bool = False  # whether it is telemetry of others


def calibrate(session, recipe, *, seed, log, folder=None):
    """bundle.Calibration measured for a recipe.Calibration.

    session  promlstm.engine.session.Session of the model file (its own calibration may be "none")
    seed     of telemetry that training has not seen
    log      function of a line of text
    folder   of labelled telemetry: the healthy time of a range's `sets` is replayed in place of synthetic telemetry
    """
    replayed, count = [], len(recipe.ranges)
    for number, each in enumerate(recipe.ranges, 1):
        replayed.append(_replayed(session, each, seed, log, folder, f'steps of range {number} of {count}'))
        weeks = _weeks(replayed[-1].scores, each.telemetry.step_seconds)
        log(f'  steps of {each.low:g}-{each.high:g} s: {weeks:.0f} series-weeks at {each.telemetry.step_seconds:g} s')
    lasts = 'state_lasting' in session.bundle.states
    laws, measured = laws_of(recipe, replayed, seed, lasts)
    log(f'  alarms a week of an entity in those of one of its features, r: {measured}')
    for law in laws:
        log(f'    {law.features} features: {law.many:.2f} r^{law.power:.2f}, below r = {law.lowest:.2f} in proportion')
    rows, total = [], 0.0
    for each, one in zip(recipe.ranges, replayed, strict=True):
        step = each.telemetry.step_seconds
        total += _weeks(one.scores, step)
        single, healthy = counted(one.sets), table(one.scores, step)
        for klass, law in enumerate(laws):
            found = several(healthy, law, one.scores, step, seed, lasts) if law.features > 1 else single
            rows.append(row(found, klass=klass, step_seconds=step, low=each.low, high=each.high))
            log(f'    {each.low:g}-{each.high:g} s, class {klass}: {_thresholds(rows[-1])}')
    source = 'healthy telemetry: ' + '; '.join(one.source for one in replayed) + f'; entities of several features: {measured}'
    source += ONLY_COUNTED if any(one.recorded for one in replayed) else ''
    return bundle.Calibration(status='measured', source=source, entity_weeks=round(float(total), 1), rows=tuple(rows))


def _replayed(session, each, seed, log, folder, what):
    step, real = each.telemetry.step_seconds, [Path(folder) / name for name in each.sets] if folder else []
    if real and all(path.is_dir() for path in real):
        scores, groups, sets = recorded_surprises(session, real, step, log)
        return Replayed(scores, groups, f'the healthy time of {labelled.with_licences(each.sets)} at {step:g} s', sets, recorded=True)
    show = functools.partial(progress.track, what=what, total=each.telemetry.steps, log=log)
    scores = healthy_surprises(session, each.telemetry, seed, show)
    return Replayed(scores, (), f'synthetic telemetry at {step:g} s', (healthy_entities(scores, step),))


def laws_of(recipe, replayed, seed, lasts=False):
    """(a correlated.Law for each class, in words where they are from): measured on the range that has most entities of several features."""
    features = (*recipe.class_features, *CLASS_FEATURES[len(recipe.class_features) :])
    best = max(range(len(replayed)), key=lambda n: len(replayed[n].groups))
    groups = replayed[best].groups
    if not groups:
        return tuple(correlated.typical(many, lasts) for many in features), 'as measured for builtin:default'
    step = recipe.ranges[best].telemetry.step_seconds
    laws = correlated.measure(groups, features, merge=merge_steps(step), step_seconds=step, seed=seed, lasts=lasts)
    return laws, f'measured on {len(groups)} entities of up to {max(each.shape[1] for each in groups)} features at {step:g} s'


def healthy_surprises(session, telemetry, seed, progress=iter):
    """Surprises of healthy series, float32 [T, N]; NaN = not judged, or in the first days. progress: as in replay.surprises."""
    batch = synthesis.batch(seed, step_seconds=telemetry.step_seconds, steps=telemetry.steps, entities=telemetry.entities)
    history = (batch.history_times, batch.history)
    out = replay.surprises(session, batch.times, batch.values, step_seconds=telemetry.step_seconds, history=history, progress=progress)
    out[: min(int(FIRST_DAYS * measures.DAY / telemetry.step_seconds), len(out) // 2)] = np.nan
    return out


def recorded_surprises(session, folders, step_seconds, log):
    """Surprises of the healthy time of labelled sets at one step.

    returns  float32 [T, N], each feature a series of its own, NaN = in an event or not judged; of entities with several features also
             (float32 [T, F], ...); and of each folder a tuple of measures.Entity, those series with their events
    """
    out, groups, sets = [], [], []
    for folder in folders:
        recordings = [piece for recording in labelled.read(folder) if recording.step_seconds == step_seconds for piece in labelled.pieces(recording)]
        if not recordings:
            raise CalibrationError(f'{folder}: it has no telemetry at steps of {step_seconds:g} s, which the calibration of the recipe needs')
        times, values, first = labelled.together(recordings)
        show = functools.partial(progress.track, what=f'steps of {folder.name}', total=len(times), log=log)
        features = values.shape[2]
        scores = replay.surprises(session, times, values.reshape(len(times), -1, 1), step_seconds=step_seconds, progress=show)
        out.append(_healthy(recordings, first, scores, features, measures.windows(step_seconds)[0]))
        own = [scores[first[n] + each.place, n * features : (n + 1) * features] for n, each in enumerate(recordings)]
        sets.append(tuple(measures.Entity(column, each.labels, step_seconds) for each, block in zip(recordings, own, strict=True) for column in block.T))
        groups += np.split(out[-1], len(recordings), axis=1) if features > 1 else []
    longest = max(map(len, out))
    return np.concatenate([np.pad(each, ((0, longest - len(each)), (0, 0)), constant_values=np.nan) for each in out], 1), tuple(groups), tuple(sets)


def _healthy(recordings, first, scores, features, tolerance):
    """The scores [T, N × features] of the tested samples that are near no event, NaN elsewhere; first: where each recording begins."""
    out = np.full_like(scores, np.nan)
    for n, recording in enumerate(recordings):
        place = first[n] + recording.place[~measures.near(recording.labels, tolerance)]
        columns = slice(n * features, (n + 1) * features)
        out[place, columns] = scores[place, columns]
    return out


def _weeks(scores, step_seconds):
    return np.count_nonzero(~np.isnan(scores)) * step_seconds / (7 * measures.DAY)


def table(scores, step_seconds):
    """As `counted`, of healthy single series: scores float [T, N], NaN = not judged."""
    return counted([healthy_entities(scores, step_seconds)])


def healthy_entities(scores, step_seconds):
    """A measures.Entity without events of each column of scores [T, N]."""
    return tuple(measures.Entity(column, np.zeros(len(column), bool), step_seconds) for column in scores.T)


def counted(sets):
    """[(surprise, false alarms per week and entity)], falling: down to LEAST alarms, up to HIGHEST_PER_WEEK and one beyond.

    It ends earlier where so many samples reach a threshold that their alarms run together and become fewer.

    sets  of measures.Entity, all of one step; the rate is the mean of theirs, by their weeks, but SET_WEEKS at most
    """
    step, out = sets[0][0].step_seconds, []
    merge, again = merge_steps(step), max(1, int(events.FOUR_HOURS / step))
    weeks = np.maximum([measures.judged_days(entities) / 7 for entities in sets], 1e-9)
    share = np.minimum(weeks, SET_WEEKS) / np.minimum(weeks, SET_WEEKS).sum() / weeks
    entities = [each for entities in sets for each in entities]
    of = np.repeat(np.arange(len(sets)), [len(entities) for entities in sets])
    near = [measures.near(each.labels, measures.windows(step)[0]) for each in entities]
    highest = np.array([np.nanmax(each.scores, initial=0) for each in entities])
    for threshold in _candidates(np.concatenate([each.scores[~event] for each, event in zip(entities, near, strict=True)])):
        counts = np.zeros(len(sets))
        for n in np.flatnonzero(highest >= threshold):
            counts[of[n]] += _false_alarms(entities[n].scores >= threshold, near[n], merge, again)
        rate = float(counts @ share)
        if counts.sum() >= LEAST:
            out.append((threshold, rate))
        if rate > HIGHEST_PER_WEEK:
            break
    rates = [rate for _, rate in out]
    return out[: int(np.argmax(rates)) + 1] if rates else out


def _false_alarms(hit, near, merge, again):
    """Alarms that touch no event; and of each what stands outside of events, in whole lengths of `again` samples."""
    return sum((not near[start:end].any()) + np.count_nonzero(hit[start:end] & ~near[start:end]) // again for start, end in measures.alarms(hit, merge))


def several(single, law, scores, step_seconds, seed, lasts=False):
    """As `table`, of entities of as many features as a correlated.Law has.

    single  table of the same scores [T, N]
    lasts   as of correlated.fused
    """
    if law.features == 1 or not single:
        return single
    thresholds, rates = (np.array(each) for each in zip(*single, strict=True))
    chosen = np.random.default_rng(seed).permutation(scores.shape[1])[:STRANGERS]
    strangers = correlated.made([correlated.inner(scores[:, [n]]) for n in chosen], law.features, step_seconds=step_seconds, seed=seed, lasts=lasts)
    independent = correlated.per_week(list(strangers), thresholds, merge=merge_steps(step_seconds), step_seconds=step_seconds)
    return list(zip(thresholds.tolist(), np.maximum(law.alarms(rates), independent).tolist(), strict=True))


def row(found, *, klass, step_seconds, low, high):
    """One bundle.Row of a table; CalibrationError where there are too few alarms."""
    surprise, alarms = _monotone(found)
    if len(surprise) < 2:
        where = f'class {klass}, step {step_seconds:g} s'
        raise CalibrationError(f'{where}: there are {len(surprise)} usable thresholds, expected more telemetry')
    return bundle.Row(klass=klass, step_seconds=(low, high), surprise=surprise, alarms_per_entity_week=alarms)


def merge_steps(step_seconds):
    """Alarms closer than this are one: 30 steps at a minute, 12 at five, 3 at an hour, and between them in proportion of the logarithms.

    >>> [round(merge_steps(step)) for step in (10, 60, 300, 3600, 86400)]
    [30, 30, 12, 3, 3]
    """
    steps = sorted(measures.WINDOWS)
    return float(np.exp(np.interp(np.log(step_seconds), np.log(steps), np.log([measures.WINDOWS[step][1] for step in steps]))))


def _candidates(scores):
    """Thresholds to try, falling: spread evenly over the logarithm of how many samples reach them."""
    judged = np.sort(scores[~np.isnan(scores)])[::-1]
    ranks = np.unique(np.geomspace(1, max(2, len(judged) // 2), 4 * POINTS).astype(int))[::-1]
    return np.unique(np.round(judged[ranks[ranks < len(judged)]], 3))[::-1]


def _monotone(table):
    """Thin a table to POINTS, falling strictly from HIGHEST_PER_WEEK, surprise above 0; tuples (surprise, alarms)."""
    points, least = [], np.inf
    for threshold, rate in reversed(table):
        if threshold > 0 and rate <= HIGHEST_PER_WEEK and rate < least:
            points.append((float(threshold), float(rate)))
            least = rate
    if len(points) > POINTS:
        rates = np.log([rate for _, rate in points])
        wanted = np.linspace(rates[0], rates[-1], POINTS)
        nearest = {int(np.argmin(np.abs(rates - rate))) for rate in wanted}
        points = [points[i] for i in sorted(nearest)]
    return tuple(surprise for surprise, _ in points), tuple(round(rate, 5) for _, rate in points)


def _thresholds(row):
    measured = bundle.Calibration(status='measured', rows=(row,))
    parts = []
    for name, budget in reversed(BUDGETS.items()):
        ends = row.alarms_per_entity_week[-1] > budget
        parts.append(f'{name} -' if ends else f'{name} {measured.threshold(budget, step_seconds=row.step_seconds[0], klass=row.klass):.2f}')
    return ', '.join(parts)
