"""What a configuration would have raised over the past: the live detector, replayed.

Who calls it: `promlstm backtest`. What flows through: the verdicts of every step of a span; out come anomalies, a summary beside the
budget, and scores with timestamps for `promtool tsdb create-blocks-from openmetrics`. It judges nothing by itself: unlabelled alarms
include real incidents, so a number above the budget is a question, not a verdict.
"""

import json
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import numpy as np

from promlstm.config import WEEK_SECONDS
from promlstm.engine import labels
from promlstm.engine.columns import READY
from promlstm.engine.history import aligned
from promlstm.engine.score import merge_seconds
from promlstm.serve import exposition


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One alarm of one entity: from its first to its last sample with a score of 1 or more; what was seen at its peak.

    Of an entity that was missing: from its first to its last step without a sample; the rest is NaN.
    """

    entity: str
    start: float
    end: float
    peak_time: float
    peak_score: float
    observed: dict
    expected: dict
    contribution: dict


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
    anomalies: list = field(default_factory=list)
    missing: list = field(default_factory=list)

    @property
    def alarms_per_entity_week(self):
        """Alarms over judged time; NaN where nothing was judged."""
        return len(self.anomalies) / self.judged_entity_weeks if self.judged_entity_weeks else float('nan')


class Alarms:
    """Runs of anomalous samples, merged over gaps of up to `merge_seconds`; columns of N entities that grow."""

    def __init__(self, merge_seconds, features):
        self._merge, self._features = merge_seconds, features
        self._open = np.zeros(0, bool)
        self._start = self._end = self._peak_time = np.zeros(0)
        self._peak = np.zeros(0, np.float32)
        self._facts = np.zeros((3, 0, features))  # observed, expected, contribution at the peak

    def take(self, verdicts, anomalous):
        """Note one step (anomalous: bool [N]); returns (row, start, end, …) of each alarm that it closes."""
        self._grow(len(verdicts.score))
        over = self._open & (verdicts.time - self._end > self._merge)
        closed = [self._closed(row) for row in np.flatnonzero(over)]
        begins = anomalous & (~self._open | over)
        self._open = (self._open & ~over) | anomalous
        self._start = np.where(begins, verdicts.time, self._start)
        self._end = np.where(anomalous, verdicts.time, self._end)
        higher = anomalous & (begins | (verdicts.score > self._peak))
        self._peak = np.where(higher, verdicts.score, self._peak)
        self._peak_time = np.where(higher, verdicts.time, self._peak_time)
        self._facts = np.where(higher[:, None], np.stack([verdicts.observed, verdicts.expected, verdicts.contribution]), self._facts)
        return closed

    def close(self):
        """The alarms that are still open at the end."""
        return [self._closed(row) for row in np.flatnonzero(self._open)]

    def _closed(self, row):
        return (
            int(row),
            float(self._start[row]),
            float(self._end[row]),
            float(self._peak_time[row]),
            float(self._peak[row]),
            self._facts[:, row],
        )

    def _grow(self, rows):
        missing = rows - len(self._open)
        if missing:
            pad = lambda column: np.concatenate([column, np.zeros(missing, column.dtype)])  # noqa: E731 (for the columns below)
            self._open, self._start, self._end = pad(self._open), pad(self._start), pad(self._end)
            self._peak, self._peak_time = pad(self._peak), pad(self._peak_time)
            self._facts = np.concatenate([self._facts, np.zeros((3, missing, self._features))], axis=1)


def run(detector, start, end, *, progress=lambda done, total: None, sink=None):
    """The Report of one detector over a span.

    detector    Detector, blank; it is warmed up on what lies before `start`
    start, end  unix seconds
    progress    called with (steps done, steps to do)
    sink        called with {family: text block} and the time of each step, or None
    """
    step = detector.config.step
    first, last = aligned(start, step) + step, aligned(end, step)
    for done, total, _ in detector.warm(lambda: first - step):
        progress(done - total, 0)
    names = tuple(detector.config.queries)
    alarms, absences = Alarms(merge_seconds(step), len(names)), Alarms(step, len(names))
    report = Report(detector.config.name, first, last, step, str(detector.config.false_alarms))
    judged, text = 0, exposition.Labels(detector.config.name, names, detector.session.bundle.manifest.views)
    for done, total, verdicts in detector.replay(first, last):
        progress(done, total)
        judged += int((verdicts.status == READY).sum())
        report.anomalies += [_anomaly(detector, names, *closed) for closed in alarms.take(verdicts, verdicts.score >= 1)]
        report.missing += [_anomaly(detector, names, *closed) for closed in absences.take(verdicts, detector.missing(verdicts))]
        if sink:
            text = text.of(detector.entities.identities)
            sink(exposition.render(verdicts, text, missing=detector.missing(verdicts)), verdicts.time)
    report.anomalies += [_anomaly(detector, names, *closed) for closed in alarms.close()]
    report.missing += [_anomaly(detector, names, *closed) for closed in absences.close()]
    report.anomalies.sort(key=lambda anomaly: -anomaly.peak_score)
    report.entities = len(detector.entities)
    report.judged_entity_weeks = judged * step / WEEK_SECONDS
    report.budget_alarms_per_entity_week = detector.settings(report.entities).alarms_per_week
    return report


def _anomaly(detector, names, row, start, end, peak_time, peak, facts):
    entity = labels.selector(labels.pairs(detector.entities.identities[row]))
    columns = facts[0], exposition.legible(facts[1]), facts[2]
    observed, expected, contribution = ({name: float(value) for name, value in zip(names, column, strict=True)} for column in columns)
    return Anomaly(entity, start, end, peak_time, peak, observed, expected, contribution)


class OpenMetrics:
    """Scores of the past as an OpenMetrics file that promtool backfills; families are kept apart on disk until the end."""

    def __init__(self):
        self._files = {}

    def __call__(self, blocks, time):
        """Take the blocks of one step."""
        stamp = f' {time:.3f}\n'.encode()
        for family, block in blocks.items():
            if family not in self._files:
                self._files[family] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `write`)
            self._files[family].write(block.replace(b'\n', stamp))

    def write(self, out):
        """Write it all to a binary stream, and forget it."""
        for family in exposition.FAMILIES:
            if family in self._files:
                out.write(exposition.header(family))
                with self._files.pop(family) as file:
                    file.seek(0)
                    while part := file.read(1 << 20):
                        out.write(part)
        out.write(b'# EOF\n')


def instant(seconds):
    """An instant as people read it, UTC.

    >>> instant(1_700_000_000)
    '2023-11-14 22:13:20'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%d %H:%M:%S')


def table(reports):
    """Reports as text for a terminal."""
    lines = []
    for report in reports:
        lines += [
            f'detector {report.detector}: {instant(report.start)} to {instant(report.end)} UTC, {report.entities} entities',
            *_rows(report.anomalies),
        ]
        lines += [_summary(report), '']
    return '\n'.join(lines)


def _rows(anomalies):
    if not anomalies:
        return ['  no anomalies']
    cells = [('START (UTC)', 'END', 'PEAK', 'OBSERVED', 'EXPECTED', 'ENTITY')]
    for a in anomalies:
        culprit = max(a.contribution, key=lambda name: np.nan_to_num(a.contribution[name]))
        entity = a.entity + (f' {culprit}' if culprit else '')
        cells.append(
            (
                instant(a.start),
                instant(a.end)[11:],
                f'{a.peak_score:.2f}',
                f'{a.observed[culprit]:.6g}',
                f'{a.expected[culprit]:.6g}',
                entity,
            )
        )
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    return ['  ' + '  '.join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]) for row in cells]


def _absences(missing):
    return [f'  missing from {instant(spell.start)} to {instant(spell.end)[11:]}: {spell.entity}' for spell in missing]


def _summary(report):
    if not report.judged_entity_weeks:
        return '  nothing was judged: no entity had samples enough in this span'
    return (
        f'  {len(report.anomalies)} alarms in {report.judged_entity_weeks:.4g} entity-weeks: {report.alarms_per_entity_week:.3g} per entity-week, '
        f'the budget of {report.budget} allows {report.budget_alarms_per_entity_week:.3g} false ones; real incidents of this time are among the alarms'
    )


def as_json(reports):
    """Reports as JSON text; numbers that are not there are null."""
    tree = [asdict(report) | {'alarms_per_entity_week': report.alarms_per_entity_week} for report in reports]
    return json.dumps(_finite(tree), indent=2)


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
