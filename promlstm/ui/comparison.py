"""One span replayed with two settings of a detector: what changes.

Who calls it: rerun, in a process of its own. What flows through: two configurations of one detector and its source; out comes a Comparison. Both
detectors are the live ones, each with a memory of its own. They go step by step side by side, so that what both ask for is asked for once and held
no longer than until both have it.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import tee, zip_longest

import msgspec
import numpy as np

from promlstm.backtest import Anomaly, Report, replayed
from promlstm.config import Budget
from promlstm.config import Detector as Settings
from promlstm.engine import labels
from promlstm.engine.detector import Detector
from promlstm.engine.history import aligned
from promlstm.engine.session import Session
from promlstm.query.prometheus import Matrix, Prometheus, Vector
from promlstm.query.victorialogs import VictoriaLogs
from promlstm.ui import timeline
from promlstm.ui.alarm import Alarm, alarm

Asked = Prometheus | VictoriaLogs
LISTED = 200  # alarms of one kind
COUNTED = 50  # entities


class Side(msgspec.Struct, frozen=True):
    """What one of the two found. Rates are None where nothing was judged."""

    alarms: int
    missing: int
    judged_entity_weeks: float
    alarms_per_entity_week: float | None
    budget: str
    budget_alarms_per_entity_week: float


class Counted(msgspec.Struct, frozen=True):
    """The alarms of an entity, with both settings."""

    entity: str
    before: int
    after: int


class Comparison(msgspec.Struct, frozen=True):
    """What two settings of a detector raise over the same samples.

    start, end  of the span, unix seconds
    entities    that were met; `series` is how many there are at the start of the span, of which no more than `most` are replayed
    gone, come  alarms that only the current settings raise, and only the changed ones: the highest LISTED; `gone_total`, `come_total` are all
    kept        alarms of the current settings that overlap one of the changed settings, of the same entity
    counted     entities with the most alarms
    timeline    of each part of the span: how many entities alarm, with both settings
    """

    detector: str
    start: float
    end: float
    step_seconds: float
    entities: int
    series: int
    most: int
    before: Side
    after: Side
    gone: list[Alarm]
    gone_total: int
    come: list[Alarm]
    come_total: int
    kept: int
    counted: list[Counted]
    entities_with_alarms: int
    timeline: list[tuple[int, int]]

    @property
    def is_cut(self) -> bool:
        """Whether only a part of the entities was replayed."""
        return self.series > self.most


class Shared:
    """A source for two who ask the same, one after the other: the second gets what the first got.

    kept  whether a series, by its raw label bytes, is among those that are replayed
    """

    def __init__(self, source: Asked, kept: Callable[[bytes], bool]) -> None:
        self._source, self._kept = source, kept
        self._vectors: dict[tuple[str, float], Vector] = {}
        self._others: dict[tuple[str, float, float, float], Iterator[Matrix]] = {}

    def instant(self, expr: str, time: float) -> Vector:
        """As that of the source."""
        if (expr, time) not in self._vectors:
            vector = self._source.instant(expr, time)
            rows = [row for row, key in enumerate(vector.keys) if self._kept(key)]
            self._vectors[expr, time] = replace(vector, keys=[vector.keys[row] for row in rows], values=vector.values[rows])
        return self._vectors[expr, time]

    def range(self, expr: str, start: float, end: float, step: float, series: int) -> Iterator[Matrix]:
        """As that of the source."""
        key = expr, start, end, step
        if other := self._others.pop(key, None):
            return other
        mine, self._others[key] = tee(self._chosen(self._source.range(expr, start, end, step, series)))
        return mine

    def _chosen(self, matrices: Iterable[Matrix]) -> Iterator[Matrix]:
        for matrix in matrices:
            columns = [column for column, key in enumerate(matrix.keys) if self._kept(key)]
            all_of_them = len(columns) == len(matrix.keys)
            yield matrix if all_of_them else replace(matrix, keys=[matrix.keys[column] for column in columns], values=matrix.values[:, columns])


def compare(
    source: Asked, before: Settings, after: Settings, sessions: tuple[Session, Session], start: float, end: float, *, most: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """The Comparison of two settings of a detector over a span; start and end are unix seconds.

    sessions  of the models of both; where they are one, every sample is asked for once
    most      entities that are replayed: where there are more, so many of them, evenly chosen
    progress  called with (steps done, steps to do), those of the warm-up included; 0 done while coarse history is read
    raises    PromlstmError
    """
    kept, series = _choice(source, before, start, most)
    shared = [Shared(source, kept)] * 2 if sessions[0] is sessions[1] else [Shared(source, kept), Shared(source, kept)]
    settings = [_limited(each, series, most) for each in (before, after)]
    detectors = [Detector(each, session, view) for each, session, view in zip(settings, sessions, shared, strict=True)]
    reports: dict[int, Report] = {}
    runs = [_run(replayed(detector, start, end), reports, number) for number, detector in enumerate(detectors)]
    warming, whole = 0, timeline.steps(start, end, before.step)
    for steps in zip_longest(*runs):
        done = min(step for step in steps if step)[0]
        warming = max(warming, -done)
        progress(warming + done, warming + whole)
    return _comparison(reports[0], reports[1], (before, after), series, most)


def _run(steps: Generator[tuple[int, int], None, Report], reports: dict[int, Report], number: int) -> Iterator[tuple[int, int]]:
    reports[number] = yield from steps


def _choice(source: Asked, settings: Settings, start: float, most: int) -> tuple[Callable[[bytes], bool], int]:
    """(Whether a series is replayed, how many entities there are at the start of the span)."""
    by, known = settings.by or None, dict[bytes, bool]()
    at = aligned(start, settings.step) - settings.delay  # what a replay asks for first, too
    every = list(dict.fromkeys(labels.identity(key, by) for key in source.instant(next(iter(settings.queries.values())), at).keys))
    if len(every) <= most:
        return lambda key: True, len(every)
    chosen = {every[place] for place in np.linspace(0, len(every) - 1, most).astype(int).tolist()}

    def kept(key: bytes) -> bool:
        if key not in known:
            known[key] = labels.identity(key, by) in chosen
        return known[key]

    return kept, len(every)


def _limited(settings: Settings, series: int, most: int) -> Settings:
    """Settings for so many entities; of a budget that all share they have their part."""
    changed = msgspec.structs.replace(settings, max_entities=min(settings.max_entities, most))
    if series > most and settings.false_alarms.shared:
        part = max(1e-9, settings.false_alarms.alarms_per_week * most / series)
        changed = msgspec.structs.replace(changed, false_alarms=Budget(f'{part:.9f}/week in all'))
    return changed


def _comparison(old: Report, new: Report, settings: tuple[Settings, Settings], series: int, most: int) -> Comparison:
    gone, come = _without(old.anomalies, new.anomalies, old.step_seconds), _without(new.anomalies, old.anomalies, old.step_seconds)
    both = [Counter(each.entity for each in report.anomalies) for report in (old, new)]
    entities = sorted(both[0] | both[1], key=lambda entity: (-max(each[entity] for each in both), entity))
    parts = timeline.bins(old.start, old.end, old.step_seconds)
    spells = [timeline.counts(((each.start, each.end) for each in report.anomalies), old.start, old.end, parts).tolist() for report in (old, new)]
    return Comparison(
        old.detector, float(old.start), float(old.end), float(old.step_seconds), max(old.entities, new.entities), series, most,
        _side(old, settings[0]), _side(new, settings[1]),
        [alarm(each) for each in gone[:LISTED]], len(gone), [alarm(each) for each in come[:LISTED]], len(come), len(old.anomalies) - len(gone),
        [Counted(entity, both[0][entity], both[1][entity]) for entity in entities[:COUNTED]], len(entities), list(zip(*spells, strict=True)),
    )  # fmt: skip


def _without(some: Sequence[Anomaly], others: Sequence[Anomaly], step_seconds: float) -> list[Anomaly]:
    """Those that overlap none of the others of the same entity, or touch one, in their order."""
    of_entity: dict[str, list[Anomaly]] = {}
    for each in others:
        of_entity.setdefault(each.entity, []).append(each)

    def met(one: Anomaly) -> bool:
        return any(other.start <= one.end + step_seconds and one.start <= other.end + step_seconds for other in of_entity.get(one.entity, ()))

    return [each for each in some if not met(each)]


def _side(report: Report, settings: Settings) -> Side:
    rate = report.alarms_per_entity_week if report.judged_entity_weeks else None
    return Side(
        len(report.anomalies), len(report.missing), report.judged_entity_weeks, rate, str(settings.false_alarms), report.budget_alarms_per_entity_week
    )
