"""How many alarms a surprise stands for: counted by replaying the ONNX file itself over healthy telemetry.

The telemetry is healthy and synthetic, because the real incidents in unlabelled history would use up the budget. There is one table for
each class of entity (by its number of features) and range of steps. As in the evaluation, alarms closer than a few steps are one.

A range is replayed once, series by series; entities of several features are random groups of those series, combined by the graph's own
rule, so that every table uses all that was replayed. A table is never extrapolated: it ends where too few independent alarms were counted.
"""

import functools
from pathlib import Path

import numpy as np

from convert import progress
from convert.data import labelled, synthesis
from convert.errors import ConvertError
from convert.evaluation import measures, replay
from convert.families import forecaster
from promlstm.card import BUDGETS
from promlstm.engine import bundle

HIGHEST_PER_WEEK = 25.0     # where the tables begin
LEAST = 4                   # independent alarms counted at the end of a table: 1/month needs 20 entity-weeks and more
POINTS = 24


class CalibrationError(ConvertError):
    """Too little was replayed to give a threshold for any budget."""


def calibrate(session, recipe, *, seed, log, folder=None):
    """bundle.Calibration measured for a recipe.Calibration.

    session  promlstm.engine.session.Session of the model file (its own calibration may be "none")
    seed     of telemetry that training has not seen
    log      function of a line of text
    folder   of labelled telemetry: the healthy time of a range's `sets` is replayed in place of synthetic telemetry
    """
    rows, total, sources = [], 0.0, []
    for number, each in enumerate(recipe.ranges, 1):
        steps = f'steps of range {number} of {len(recipe.ranges)}'
        show = functools.partial(progress.track, what=steps, total=each.telemetry.steps, log=log)
        real = [Path(folder) / name for name in each.sets] if folder else []
        if real and all(path.is_dir() for path in real):
            scores = recorded_surprises(session, real, each.telemetry.step_seconds, log)
            sources.append(f'the healthy time of {", ".join(each.sets)} at {each.telemetry.step_seconds:g} s')
        else:
            scores = healthy_surprises(session, each.telemetry, seed, show)
            sources.append(f'synthetic telemetry at {each.telemetry.step_seconds:g} s')
        weeks = _weeks(scores, each.telemetry.step_seconds)
        total += weeks
        log(f'  steps of {each.low:g}-{each.high:g} s: {weeks:.0f} series-weeks at {each.telemetry.step_seconds:g} s')
        for klass, features in enumerate(recipe.class_features):
            combined = grouped(scores, features, seed)
            rows.append(row(combined, klass=klass, features=features, step_seconds=each.telemetry.step_seconds, low=each.low, high=each.high))
            log(f'    class {klass}: {_thresholds(rows[-1])}')
    source = 'healthy telemetry: ' + '; '.join(sources)
    return bundle.Calibration(status='measured', source=source, entity_weeks=round(float(total), 1), rows=tuple(rows))


def healthy_surprises(session, telemetry, seed, progress=iter):
    """Surprises of healthy series, float32 [T, N]; NaN = not judged. progress: as in replay.surprises."""
    batch = synthesis.batch(seed, step_seconds=telemetry.step_seconds, steps=telemetry.steps, entities=telemetry.entities)
    history = (batch.history_times, batch.history)
    return replay.surprises(session, batch.times, batch.values, step_seconds=telemetry.step_seconds, history=history, progress=progress)


def recorded_surprises(session, folders, step_seconds, log):
    """Surprises of the healthy time of labelled sets at one step, each feature a series of its own; float32 [T, N], NaN = in an event or not judged."""
    out = []
    for folder in folders:
        recordings = [piece for recording in labelled.read(folder) if recording.step_seconds == step_seconds for piece in labelled.pieces(recording)]
        if not recordings:
            raise CalibrationError(f'{folder}: it has no telemetry at steps of {step_seconds:g} s, which the recipe wants to be calibrated on')
        times, values, first = labelled.together(recordings)
        show = functools.partial(progress.track, what=f'steps of {folder.name}', total=len(times), log=log)
        features = values.shape[2]
        scores = replay.surprises(session, times, values.reshape(len(times), -1, 1), step_seconds=step_seconds, progress=show)
        out.append(_healthy(recordings, first, scores, features, measures.windows(step_seconds)[0]))
    longest = max(map(len, out))
    return np.concatenate([np.pad(each, ((0, longest - len(each)), (0, 0)), constant_values=np.nan) for each in out], 1)


def _healthy(recordings, first, scores, features, tolerance):
    """The scores [T, N × features] of the tested samples that are near no event, NaN elsewhere; first: where each recording begins."""
    out = np.full_like(scores, np.nan)
    for n, recording in enumerate(recordings):
        place = first[n] + recording.place[~measures.near(recording.labels, tolerance)]
        columns = slice(n * features, (n + 1) * features)
        out[place, columns] = scores[place, columns]
    return out


def grouped(scores, features, seed):
    """Surprises of as many entities, each made of that many random series, combined by the graph's rule.

    >>> grouped(np.float32([[1, 2, 6]]), 3, seed=0)
    array([[6., 6., 6.]], dtype=float32)
    """
    if features == 1:
        return scores
    n, top = scores.shape[1], 1 + sum(features >= many for many in forecaster.MANY)
    rng = np.random.default_rng(seed)
    groups = np.stack([rng.permutation(n)[np.arange(features) % n] for _ in range(n)])
    out = np.empty_like(scores)
    for entity, group in enumerate(groups):
        mine = np.where(np.isnan(scores[:, group]), 0, scores[:, group])
        out[:, entity] = np.partition(mine, features - top, axis=1)[:, features - top :].mean(1)
    out[np.isnan(scores).all(1)] = np.nan
    return out


def _weeks(scores, step_seconds):
    return np.count_nonzero(~np.isnan(scores)) * step_seconds / (7 * measures.DAY)


def row(scores, *, klass, features, step_seconds, low, high):
    """One bundle.Row of healthy scores.

    scores    float [T, N], NaN = not judged
    features  each series is part of so many entities, so that many alarms count as one independent alarm
    raises    CalibrationError  where there are too few alarms for a table
    """
    weeks, merge, table = _weeks(scores, step_seconds), merge_steps(step_seconds), []
    highest = np.nanmax(scores, 0, initial=0)
    for threshold in _candidates(scores):
        count = sum(len(measures.alarms(scores[:, n] >= threshold, merge)) for n in np.flatnonzero(highest >= threshold))
        if count >= LEAST * features:
            table.append((threshold, count / weeks))
        if count > HIGHEST_PER_WEEK * weeks:
            break
    surprise, alarms = _monotone(table)
    if len(surprise) < 2:
        where = f'class {klass}, step {step_seconds:g} s'
        raise CalibrationError(f'{where}: {weeks:.1f} entity-weeks gave {len(table)} usable thresholds, expected more telemetry')
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
    ranks = np.unique(np.geomspace(1, max(2, len(judged) // 20), 4 * POINTS).astype(int))[::-1]
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
    table = bundle.Calibration(status='measured', rows=(row,))
    parts = []
    for name, budget in reversed(BUDGETS.items()):
        ends = row.alarms_per_entity_week[-1] > budget
        parts.append(f'{name} -' if ends else f'{name} {table.threshold(budget, step_seconds=row.step_seconds[0], klass=row.klass):.2f}')
    return ', '.join(parts)
