"""False alarms on healthy metrics of many shapes (shapes.py), and what the shipped rules would make of them, by the code that serves.

Called by the command `healthy` and by tests. A model is replayed once over entities of all shapes; nothing in them is a fault. Alarms are
counted as a budget counts them (promlstm.engine.score.Alarm), alerts as rules/recording.yml and alerts.yml have them by default (alerts.py).

A page needs two detectors that agree, so the entities are put on hosts: each shape is a detector, a host has an entity of each of four
shapes, and hosts with the same four are a job. Who is beside whom is drawn many times, and the mean is told: the shapes know nothing of each
other, so this is what chance makes. What healthy fleets do on several metrics of a host at once, a first backup for instance, is not in it.
"""

from typing import NamedTuple

import numpy as np

from convert.evaluation import alerts
from convert.evaluation.shapes import DAY, SHAPES
from promlstm.engine import advance
from promlstm.engine.advance import UTC
from promlstm.engine.columns import Frame
from promlstm.engine.memory import blank
from promlstm.engine.score import Alarm, Policy

MONDAY = 1_760_313_600          # a midnight in UTC
WEEK = 7 * DAY
NEW, STARTED, KNOWN = (0, 2), (2, 4), 3     # days: a series without any history; after a start, which replays two days; from then on all is known
DETECTORS = 4                   # of a host
DRAWN = 50                      # arrangements of the entities on hosts


class Count(NamedTuple):
    """Of one shape."""

    name: str
    starts: np.ndarray          # float64 [alarms]  seconds since the beginning


class Counts(NamedTuple):
    """Of a model."""

    shapes: list                # of Count
    entities: int               # of each shape
    days: int
    warnings: float             # alerts that begin to fire from day KNOWN on, of all shapes
    pages: float                # of these the critical ones; mean over the arrangements on hosts

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
    settings = advance.Settings(step_seconds, policy=policy, alarms_per_week=1.0)
    rows, alarm = values.shape[1], Alarm.blank(values.shape[1])
    found, starts = alerts.Alarms(rows), [[] for _ in SHAPES]
    frames = (Frame(float(time), row[:, None]) for time, row in zip(times, values, strict=True))
    for verdicts, _ in progress(advance.replay(session, settings, blank(session, UTC, rows, 1), frames)):
        alarm = alarm.after(verdicts.time, np.nan_to_num(verdicts.score), step_seconds)
        for row in np.flatnonzero(alarm.since == verdicts.time).tolist():
            starts[row // entities].append(verdicts.time - MONDAY)
        found.add(verdicts.time, verdicts.score, verdicts.since)
    warnings, pages = told(found.found, entities, step_seconds, MONDAY + KNOWN * DAY, rng)
    return Counts(list(map(Count, SHAPES, map(np.array, starts))), entities, days, warnings, pages)


def told(alarms, entities, step_seconds, first, rng):
    """(warnings, pages) that begin at a time or later.

    alarms    list of alerts.Alarm of len(SHAPES) * entities rows, the entities of a shape one after the other
    entities  of each shape
    first     unix seconds
    """
    shapes = np.arange(len(SHAPES))
    rules = alerts.Rules(alarms, np.repeat(shapes, entities), step_seconds)
    pages = []
    for _ in range(DRAWN):
        job = rng.permutation(shapes) // DETECTORS
        host = np.concatenate([number * entities + rng.permutation(entities) for number in job])
        pages.append(sum(time >= first for time in rules.pages(host, np.repeat(job, entities))))
    return sum(time >= first for time in rules.warnings()), float(np.mean(pages))


def text(counts):
    """A table for a terminal, and as a block in a document."""
    table = np.array([[counts.a_week(each, *span) for span in (NEW, STARTED, (KNOWN, None))] for each in counts.shapes])
    names, numbers = [*SHAPES, 'mean of all shapes'], [*table, table.mean(0)]
    rows = [('false alarms an entity-week', 'new series', 'after a start', 'known')]
    rows += [(name, *(f'{number:.2f}' for number in line)) for name, line in zip(names, numbers, strict=True)]
    wide = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = [f'{row[0]:{wide[0]}}  ' + '  '.join(f'{cell:>{width}}' for cell, width in zip(row[1:], wide[1:], strict=True)) for row in rows]
    weeks = len(counts.shapes) * counts.weeks(KNOWN)
    warnings, pages = (1000 * each / weeks for each in (counts.warnings, counts.pages))
    return '\n'.join([
        *lines, '',
        f'{counts.entities} entities of each shape, {counts.days} days, at a budget of 1/week.',
        'new series: its first two days, when nothing is known of it. after a start: the next two, as after a start, which replays two days.',
        'known: from the fourth day on.',
        f'With the shipped rules 1000 of these entities, on hosts with {DETECTORS} detectors each, make {warnings:.0f} warnings and {pages:.1f} pages a week.',
        '',
    ])  # fmt: skip
