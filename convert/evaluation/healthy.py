"""False alarms on healthy metrics of many shapes (shapes.py), and what the shipped rules would make of them, by the code that serves.

Called by the command `healthy` and by tests. A model is replayed once over entities of all shapes; nothing in them is a fault. Alarms are
counted as a budget counts them (promlstm.engine.score.Alarm), alerts as rules/recording.yml and alerts.yml have them by default.
"""

from typing import NamedTuple

import numpy as np

from convert.evaluation.shapes import DAY, SHAPES
from promlstm.engine import detector
from promlstm.engine.columns import Frame
from promlstm.engine.detector import UTC
from promlstm.engine.memory import blank
from promlstm.engine.score import Alarm, Policy

MONDAY = 1_760_313_600          # a midnight in UTC
WEEK = 7 * DAY
NEW, STARTED, KNOWN = (0, 2), (2, 4), 3     # days: a series without any history; after a start, which replays two days; from then on all is known
CRITICAL, LASTING = 1.5, 1.25   # score of a critical alert; by how much less is enough where it lasts


class Count(NamedTuple):
    """Of one shape."""

    name: str
    starts: np.ndarray          # float64 [alarms]  seconds since the beginning
    warnings: int               # alerts that fire from day KNOWN on
    critical: int


class Counts(NamedTuple):
    """Of a model."""

    shapes: list                # of Count
    entities: int               # of each shape
    days: int

    def a_week(self, count, first, last=None):
        """Alarms per entity-week of a shape between two days; last None = to the end."""
        last = self.days if last is None else last
        inside = (count.starts >= first * DAY) & (count.starts < last * DAY)
        return float(inside.sum()) / self.weeks(first, last)

    def weeks(self, first, last=None):
        """Entity-weeks of a shape between two days."""
        return self.entities * ((self.days if last is None else last) - first) * DAY / WEEK


def count(session, *, days=14, entities=6, step_seconds=60.0, seed=1, progress=iter):
    """Counts of a model at a budget of one alarm per entity-week.

    session   promlstm.engine.session.Session
    progress  wraps the steps
    """
    rng = np.random.default_rng(seed)
    times = MONDAY + step_seconds * np.arange(int(days * DAY / step_seconds), dtype=float)
    values = np.concatenate([shape(times, entities, rng) for shape in SHAPES.values()], axis=1)
    policy = Policy(hold_seconds=max(3600.0, 15 * step_seconds), settle_seconds=20 * step_seconds)
    settings = detector.Settings(step_seconds, policy=policy, alarms_per_week=1.0)
    rows, alarm = values.shape[1], Alarm.blank(values.shape[1])
    alerts, starts = _Alerts(rows, step_seconds), [[] for _ in SHAPES]
    frames = (Frame(float(time), row[:, None]) for time, row in zip(times, values, strict=True))
    for verdicts, _ in progress(detector.replay(session, settings, blank(session, UTC, rows, 1), frames)):
        score = np.nan_to_num(verdicts.score)
        alarm = alarm.after(verdicts.time, score, step_seconds)
        for row in np.flatnonzero(alarm.since == verdicts.time).tolist():
            starts[row // entities].append(verdicts.time - MONDAY)
        alerts.add(score, verdicts.time >= MONDAY + KNOWN * DAY)
    of_each = lambda column: column.reshape(len(SHAPES), entities).sum(1).tolist()      # noqa: E731
    shapes = map(Count, SHAPES, map(np.array, starts), of_each(alerts.warnings), of_each(alerts.critical))
    return Counts(list(shapes), entities, days)


class _Alerts:
    """PromlstmAnomaly of each entity, as rules/ has it by default: how often it begins to fire, as a warning and as critical."""

    def __init__(self, rows, step_seconds):
        self.warnings, self.critical = np.zeros(rows, int), np.zeros(rows, int)
        self._steps = np.zeros(rows)
        self._firing = np.zeros((2, rows), bool)
        self._sustained = min(np.floor(1800 / step_seconds), 5)
        self._lasting = np.clip(np.floor(3000 / step_seconds), 1, 30)

    def add(self, score, counts):
        """One step: score [N]; counts: whether what begins now is counted."""
        self._steps = np.where(score >= 1, self._steps + 1, 0)
        sustained = self._steps >= self._sustained
        critical = sustained & (score >= CRITICAL) | (self._steps >= self._lasting) & (score >= CRITICAL / LASTING)
        firing = np.stack([sustained & (score >= 1), critical])
        begins = firing & ~self._firing & counts
        self.warnings += begins[0]
        self.critical += begins[1]
        self._firing = firing


def text(counts):
    """A table for a terminal, and as a block in a document."""
    table = np.array([[counts.a_week(each, *span) for span in (NEW, STARTED, (KNOWN, None))] for each in counts.shapes])
    names, numbers = [*SHAPES, 'mean of all shapes'], [*table, table.mean(0)]
    rows = [('false alarms an entity-week', 'new series', 'after a start', 'known')]
    rows += [(name, *(f'{number:.2f}' for number in line)) for name, line in zip(names, numbers, strict=True)]
    wide = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = [f'{row[0]:{wide[0]}}  ' + '  '.join(f'{cell:>{width}}' for cell, width in zip(row[1:], wide[1:], strict=True)) for row in rows]
    weeks = len(counts.shapes) * counts.weeks(KNOWN)
    warnings, critical = (1000 * sum(each) / weeks for each in ([one.warnings for one in counts.shapes], [one.critical for one in counts.shapes]))
    return '\n'.join([
        *lines, '',
        f'{counts.entities} entities of each shape, {counts.days} days, at a budget of 1/week.',
        'new series: its first two days, when nothing is known of it. after a start: the next two, as after a start, which replays two days.',
        'known: from the fourth day on.',
        f'With the shipped rules 1000 of these entities make {warnings:.0f} warnings and {critical:.0f} critical alerts a week.', '',
    ])  # fmt: skip
