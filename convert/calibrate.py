"""How many alarms a surprise stands for: counted by replaying the ONNX file itself over healthy telemetry.

Healthy and synthetic, because unlabelled history holds real incidents that eat the budget. One table for each class of entity (how many
features) and range of steps. The same rule as for the evaluation makes alarms of samples: those closer than a few steps are one.

A table is never extrapolated: it ends where fewer than LEAST alarms were counted.
"""

import numpy as np

from convert import measures, replay, synthesis
from promlstm import bundle

HIGHEST_PER_WEEK = 25.0     # where the tables begin
LEAST = 5                   # alarms counted at the end of a table: 1/month needs 20 entity-weeks and more
POINTS = 24


class CalibrationError(Exception):
    """Too little was replayed to promise anything."""


def calibrate(session, recipe, *, seed, log):
    """bundle.Calibration measured for a recipe.Calibration.

    session  promlstm.session.Session of the model file (its own calibration may be "none")
    seed     of telemetry that training has not seen
    log      function of a line of text
    """
    rows, total = [], 0.0
    for each in recipe.ranges:
        for klass, features in enumerate(recipe.class_features):
            row, weeks = _row(session, each, klass, features, seed)
            total += weeks
            rows.append(row)
            log(f'  step {each.low:g}-{each.high:g} s, class {klass}: {weeks:.0f} entity-weeks, {_told(row)}')
    source = f'healthy synthetic telemetry replayed at steps of {", ".join(f"{r.telemetry.step_seconds:g}" for r in recipe.ranges)} s'
    return bundle.Calibration(status='measured', source=source, entity_weeks=round(float(total), 1), rows=tuple(rows))


def _row(session, each, klass, features, seed):
    told = each.telemetry
    batch = synthesis.batch(seed, step_seconds=told.step_seconds, steps=told.steps, entities=max(8, told.entities // features), features=features)
    scores = replay.surprises(session, batch.times, batch.values, step_seconds=told.step_seconds, history=(batch.history_times, batch.history))
    return row(scores, klass=klass, step_seconds=told.step_seconds, low=each.low, high=each.high)


def row(scores, *, klass, step_seconds, low, high):
    """One bundle.Row of healthy scores, and how many entity-weeks they are.

    scores  float [T, N], NaN = not judged
    raises  CalibrationError  where there are too few alarms to make a table of
    """
    weeks = np.count_nonzero(~np.isnan(scores)) * step_seconds / (7 * measures.DAY)
    merge = merge_steps(step_seconds)
    table = []
    for threshold in _candidates(scores):
        count = sum(len(measures.alarms(column >= threshold, merge)) for column in scores.T)
        if count < LEAST:
            break
        table.append((threshold, count / weeks))
    surprise, alarms = _monotone(table)
    if len(surprise) < 2:
        raise CalibrationError(f'class {klass}, step {step_seconds:g} s: {weeks:.1f} entity-weeks gave {len(table)} usable thresholds, expected more telemetry')
    return bundle.Row(klass=klass, step_seconds=(low, high), surprise=surprise, alarms_per_entity_week=alarms), weeks


def merge_steps(step_seconds):
    """Alarms closer than this are one: 30 steps at a minute, 12 at five, 3 at an hour, and between them in proportion of the logarithms.

    >>> [round(merge_steps(step)) for step in (10, 60, 300, 3600, 86400)]
    [30, 30, 12, 3, 3]
    """
    steps = sorted(measures.WINDOWS)
    return float(np.exp(np.interp(np.log(step_seconds), np.log(steps), np.log([measures.WINDOWS[step][1] for step in steps]))))


def _candidates(scores):
    """Thresholds to try, rising: spread evenly over the logarithm of how many samples reach them."""
    judged = np.sort(scores[~np.isnan(scores)])[::-1]
    places = np.unique(np.geomspace(1, max(2, len(judged) // 20), 20 * POINTS).astype(int))[::-1]
    return np.unique(np.round(judged[places], 3))


def _monotone(table):
    """Thin a table to POINTS, falling strictly from HIGHEST_PER_WEEK, surprise above 0; tuples (surprise, alarms)."""
    kept, least = [], np.inf
    for threshold, rate in table:
        if threshold > 0 and rate <= HIGHEST_PER_WEEK and rate < least:
            kept.append((float(threshold), float(rate)))
            least = rate
    if len(kept) > POINTS:
        rates = np.log([rate for _, rate in kept])
        wanted = np.linspace(rates[0], rates[-1], POINTS)
        kept = [kept[i] for i in sorted({int(np.argmin(np.abs(rates - w))) for w in wanted})]
    return tuple(s for s, _ in kept), tuple(round(r, 5) for _, r in kept)


def _told(row):
    table = bundle.Calibration(status='measured', rows=(row,))
    parts = []
    for name, budget in (('1/day', 7.0), ('1/week', 1.0), ('1/month', 7 / 30)):
        ends = row.alarms_per_entity_week[-1] > budget
        parts.append(f'{name} -' if ends else f'{name} {table.threshold(budget, step_seconds=row.step_seconds[0], klass=row.klass):.2f}')
    return ', '.join(parts)
