"""The alarms that a configuration would have raised in the past: the live detector, replayed.

Who calls it: `promlstm backtest`. What flows through: the verdicts of every step of a span; out come anomalies, a summary with the
budget, and scores with timestamps for `promtool tsdb create-blocks-from openmetrics`. It does not say which alarms are false: they
include real incidents, so more alarms than the budget allows may be right.
"""

import json
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import IO, Any, BinaryIO

import numpy as np

from promlstm import terminal
from promlstm.config import WEEK_SECONDS
from promlstm.engine import labels
from promlstm.engine.columns import READY, Bools, Floats, Floats32, Verdicts
from promlstm.engine.detector import Detector
from promlstm.engine.history import aligned
from promlstm.engine.score import same_alarm
from promlstm.serve import exposition
from promlstm.serve.selection import select

# Called with the detector, the verdicts of a step and which entities are missing (bool [N]).
Watch = Callable[[Detector, Verdicts, Bools], None]


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One alarm of one entity, from its first to its last sample with a score of 1 or more, with the values at its peak.

    For an entity that was missing: from its first to its last step without a sample; the values are NaN.
    """

    entity: str
    start: float
    end: float
    peak_time: float
    peak_score: float
    observed: dict[str, float]  # by feature, as the two below
    expected: dict[str, float]
    contribution: dict[str, float]


@dataclass(slots=True)
class Report:
    """What a backtest of one detector found."""

    detector: str
    start: float
    end: float
    step_seconds: float
    budget: str
    budget_alarms_per_entity_week: float = 0.0
    entities: int = 0
    judged_entity_weeks: float = 0.0
    anomalies: list[Anomaly] = field(default_factory=list)
    missing: list[Anomaly] = field(default_factory=list)

    @property
    def alarms_per_entity_week(self) -> float:
        """Alarms over judged time; NaN where nothing was judged."""
        return len(self.anomalies) / self.judged_entity_weeks if self.judged_entity_weeks else float('nan')


@dataclass(frozen=True, slots=True, eq=False)
class Closed:
    """An alarm that is over: the row of its entity, its times in unix seconds, and the values at its peak.

    values  float64 [3, F]  observed, expected, contribution
    """

    row: int
    start: float
    end: float
    peak_time: float
    peak_score: float
    values: Floats


class Alarms:
    """Runs of anomalous samples; columns of N entities that grow.

    same  bool [N] of gaps, float64 [N] seconds: whether anomalous samples so far apart are of one run
    """

    def __init__(self, same: Callable[[Floats], Bools], features: int) -> None:
        self._same, self._features = same, features
        self._open: Bools = np.zeros(0, bool)
        self._start: Floats = np.zeros(0)
        self._end: Floats = np.zeros(0)
        self._peak_time: Floats = np.zeros(0)
        self._peak: Floats32 = np.zeros(0, np.float32)
        self._values: Floats = np.zeros((3, 0, features))  # observed, expected, contribution at the peak

    def add(self, verdicts: Verdicts, anomalous: Bools) -> list[Closed]:
        """Add one step (anomalous: bool [N]); returns the alarms that it closes."""
        self._grow(len(verdicts.score))
        over = self._open & ~self._same(verdicts.time - self._end)
        closed = [self._closed(row) for row in np.flatnonzero(over).tolist()]
        begins = anomalous & (~self._open | over)
        self._open = (self._open & ~over) | anomalous
        self._start = np.where(begins, verdicts.time, self._start)
        self._end = np.where(anomalous, verdicts.time, self._end)
        higher = anomalous & (begins | (verdicts.score > self._peak))
        self._peak = np.where(higher, verdicts.score, self._peak)
        self._peak_time = np.where(higher, verdicts.time, self._peak_time)
        self._values = np.where(higher[:, None], np.stack([verdicts.observed, verdicts.expected, verdicts.contribution]), self._values)
        return closed

    def close(self) -> list[Closed]:
        """The alarms that are still open at the end."""
        return [self._closed(row) for row in np.flatnonzero(self._open).tolist()]

    def _closed(self, row: int) -> Closed:
        start, end, peak_time, peak = (float(column[row]) for column in (self._start, self._end, self._peak_time, self._peak))
        return Closed(int(row), start, end, peak_time, peak, self._values[:, row])

    def _grow(self, rows: int) -> None:
        new = rows - len(self._open)
        if new:
            self._open = np.concatenate([self._open, np.zeros(new, bool)])
            self._start, self._end, self._peak_time = (
                np.concatenate([column, np.zeros(new)]) for column in (self._start, self._end, self._peak_time)
            )
            self._peak = np.concatenate([self._peak, np.zeros(new, np.float32)])
            self._values = np.concatenate([self._values, np.zeros((3, new, self._features))], axis=1)


def late(detector: Detector, start: float, end: float) -> str:
    """Why scores begin later than a span, and what to do, in words; empty = there are samples for the warm-up before it, which takes one query.

    start, end  unix seconds; where samples begin is looked for by halves, as of the first feature

    raises  SourceError
    """
    step, warmup = detector.config.step, detector.session.bundle.manifest.warmup_steps
    query, first, last = next(iter(detector.config.queries.values())), aligned(start, step) + step, aligned(end, step)
    before = first - warmup * step

    def has_samples(steps: int) -> bool:
        return bool(detector.source.instant(query, before + steps * step - detector.config.delay).keys)

    none, some = 0, round((last - before) / step)
    if has_samples(none):
        return ''
    lacking = f'no samples at {instant(before)} UTC, where the warm-up for --from begins'
    if not has_samples(some):
        return f'{lacking}, and none at --to: check the expression, or choose a span with samples'
    while some - none > 1:
        middle = (none + some) // 2
        none, some = (none, middle) if has_samples(middle) else (middle, some)
    born = before + some * step
    judged = born + warmup * step
    lacking += f'; they begin at {instant(born)}, and the first score takes {terminal.duration(warmup * step)} of them'
    if judged > last:
        return f'{lacking}: nothing is scored in this span; wait until {instant(judged)}, or set a shorter step'
    return f'{lacking}: scores begin at {instant(judged)}; take --from={datetime.fromtimestamp(judged, UTC):%Y-%m-%dT%H:%M:%SZ} for a span without a gap'


def run(
    detector: Detector,
    start: float,
    end: float,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    sink: Callable[[Mapping[str, exposition.Block], float], None] | None = None,
    watch: Watch | None = None,
) -> Report:
    """The Report of one detector over a span; arguments as `replayed`.

    progress  called with (steps done, steps to do); steps done are below 0 during warm-up
    """
    steps = replayed(detector, start, end, sink=sink, watch=watch)
    while True:
        try:
            progress(*next(steps))
        except StopIteration as ended:
            report: Report = ended.value
            return report


def replayed(
    detector: Detector,
    start: float,
    end: float,
    *,
    sink: Callable[[Mapping[str, exposition.Block], float], None] | None = None,
    watch: Watch | None = None,
) -> Generator[tuple[int, int], None, Report]:
    """A span, one step of a detector at a time: yields (steps done, steps to do), of which the first is below 0 during warm-up; returns the Report.

    detector    Detector, blank; it is warmed up on what lies before `start`
    start, end  unix seconds
    sink        called with {family: exposition.Block} and the time of each step, or None
    watch       called with each step, or None
    """
    step = detector.config.step
    first, last = aligned(start, step) + step, aligned(end, step)
    for done, total, _ in detector.warm(lambda: first - step):
        yield done - total, 0
    names = tuple(detector.config.queries)
    alarms = Alarms(lambda gaps: same_alarm(gaps, step), len(names))
    absences = Alarms(lambda gaps: gaps <= step, len(names))
    report = Report(detector.config.name, first, last, step, str(detector.config.false_alarms))
    judged, text = 0, exposition.Labels(detector.config.name, names, detector.session.bundle.manifest.views)
    for done, total, verdicts in detector.replay(first, last):
        yield done, total
        judged += int((verdicts.status == READY).sum())
        missing = detector.missing(verdicts)
        report.anomalies += [_anomaly(detector, names, closed) for closed in alarms.add(verdicts, verdicts.score >= 1)]
        report.missing += [_anomaly(detector, names, closed) for closed in absences.add(verdicts, missing)]
        if watch:
            watch(detector, verdicts, missing)
        if sink:
            text = text.of(detector.entities.identities)
            selection = select(detector.config.export, detector.config.max_exported, verdicts, missing)
            sink(exposition.render(verdicts, text, missing=missing, selection=selection), verdicts.time)
    report.anomalies += [_anomaly(detector, names, closed) for closed in alarms.close()]
    report.missing += [_anomaly(detector, names, closed) for closed in absences.close()]
    report.anomalies.sort(key=lambda anomaly: -anomaly.peak_score)
    report.entities = len(detector.entities)
    report.judged_entity_weeks = judged * step / WEEK_SECONDS
    report.budget_alarms_per_entity_week = detector.settings(report.entities).alarms_per_week or 0.0
    return report


def together(watching: Sequence[Watch]) -> Watch:
    """All of them, one after the other."""

    def watch(detector: Detector, verdicts: Verdicts, missing: Bools) -> None:
        for each in watching:
            each(detector, verdicts, missing)

    return watch


def _anomaly(detector: Detector, names: Sequence[str], alarm: Closed) -> Anomaly:
    entity = labels.selector(labels.pairs(detector.entities.identities[alarm.row]))
    columns = alarm.values[0], exposition.legible(alarm.values[1]), alarm.values[2]
    observed, expected, contribution = ({name: float(value) for name, value in zip(names, column, strict=True)} for column in columns)
    return Anomaly(entity, alarm.start, alarm.end, alarm.peak_time, alarm.peak_score, observed, expected, contribution)


class OpenMetrics:
    """Scores of the past as an OpenMetrics file that promtool backfills; families are kept apart on disk until the end."""

    def __init__(self) -> None:
        self._files: dict[str, IO[bytes]] = {}

    def __call__(self, blocks: Mapping[str, exposition.Block], time: float) -> None:
        """Add the blocks of one step, by family."""
        stamp = f' {time:.3f}\n'.encode()
        for family, block in blocks.items():
            if family not in self._files:
                self._files[family] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `write`)
            self._files[family].writelines(piece.replace(b'\n', stamp) for piece in block)

    def write(self, out: BinaryIO) -> None:
        """Write all steps to a binary stream and drop them."""
        for family in exposition.FAMILIES:
            if family in self._files:
                out.write(exposition.header(family))
                with self._files.pop(family) as file:
                    file.seek(0)
                    while part := file.read(1 << 20):
                        out.write(part)
        out.write(b'# EOF\n')


def instant(seconds: float) -> str:
    """Date and time of an instant, UTC.

    >>> instant(1_700_000_000)
    '2023-11-14 22:13:20'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%d %H:%M:%S')


def table(reports: Iterable[Report]) -> str:
    """Reports as text for a terminal."""
    lines = []
    for report in reports:
        lines += [
            f'detector {report.detector}: {instant(report.start)} to {instant(report.end)} UTC, {report.entities} entities',
            *_rows(report.anomalies),
            *_absences(report.missing),
        ]
        lines += [_summary(report), '']
    return '\n'.join(lines)


def _rows(anomalies: Sequence[Anomaly]) -> list[str]:
    if not anomalies:
        return ['  no anomalies']
    cells = [('START (UTC)', 'END', 'PEAK', 'OBSERVED', 'EXPECTED', 'ENTITY')]
    for a in anomalies:
        feature = main_feature(a)
        entity = a.entity + (f' {feature}' if feature else '')
        cells.append(
            (
                instant(a.start),
                _end(a),
                f'{a.peak_score:.2f}',
                f'{a.observed[feature]:.6g}',
                f'{a.expected[feature]:.6g}',
                entity,
            )
        )
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    return ['  ' + '  '.join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]) for row in cells]


def _end(anomaly: Anomaly) -> str:
    """The end of an alarm: the time of day, with its date where that is another than at the start."""
    start, end = instant(anomaly.start), instant(anomaly.end)
    return end[11:] if end[:10] == start[:10] else end


def _absences(missing: Sequence[Anomaly]) -> list[str]:
    """The entities that were missing, and when."""
    if not missing:
        return []
    rows = [('MISSING FROM (UTC)', 'UNTIL', 'ENTITY'), *((instant(each.start), _end(each), each.entity) for each in missing)]
    return ['', *(f'  {line}' for line in terminal.columns(rows))]


def main_feature(anomaly: Anomaly) -> str:
    """The feature that contributed most at the peak."""
    return max(anomaly.contribution, key=lambda name: float(np.nan_to_num(anomaly.contribution[name])))


def _summary(report: Report) -> str:
    if not report.judged_entity_weeks:
        return '  no scores: no entity had enough samples in this span'
    return (
        f'  {len(report.anomalies)} alarms in {report.judged_entity_weeks:.4g} entity-weeks: {report.alarms_per_entity_week:.3g} per entity-week, '
        f'the budget of {report.budget} allows {report.budget_alarms_per_entity_week:.3g} false alarms; the alarms include real incidents'
    )


def as_json(reports: Iterable[Report], incidents: list[dict[str, Any]] | None = None) -> str:
    """Reports as JSON text, a list; with incidents an object of both. NaN becomes null."""
    tree = [asdict(report) | {'alarms_per_entity_week': report.alarms_per_entity_week} for report in reports]
    return json.dumps(_finite(tree if incidents is None else {'detectors': tree, 'incidents': incidents}), indent=2)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
