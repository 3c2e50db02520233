"""`promlstm backtest --format=html`: the alarms that detectors would have raised, as one self-contained page.

Who calls it: the command. What flows through: the Reports of a backtest, and the columns of its steps, as far as they fit into memory; out comes HTML.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from promlstm.backtest import Anomaly, Report
from promlstm.config import Detector as Settings
from promlstm.engine import labels
from promlstm.engine.columns import Bools, Floats, Verdicts
from promlstm.engine.detector import Detector
from promlstm.ui import standalone, timeline
from promlstm.ui.alarm import Alarm, alarm
from promlstm.ui.past import Feature, Past, Run
from promlstm.ui.wording import reason, unit_of

MEMORY_BYTES = 128 << 20  # of the columns of one detector; what needs more has no charts
CHARTS = 12  # alarms of each detector that have one, the highest
AROUND = 60  # steps before and after an alarm in its chart
POINTS = 600  # of a chart; of a longer alarm every so many steps are drawn
LISTED = 1000  # alarms of each detector
_COLUMNS = ('observed', 'expected', 'lower', 'upper', 'usual_lower', 'usual_upper')


@dataclass(slots=True)
class Recorder:
    """The columns of all steps of a detector, float32, as long as they fit.

    columns  {name: [N, F] of each step}, `score` is [N]; N grows from step to step
    """

    times: list[float] = field(default_factory=list)
    columns: dict[str, list[np.ndarray]] = field(default_factory=dict)
    identities: list[bytes] = field(default_factory=list)
    is_full: bool = False
    _bytes: int = 0

    def observe(self, detector: Detector, verdicts: Verdicts, missing: Bools) -> None:
        """Take in a step."""
        if self.is_full:
            return
        step = {name: getattr(verdicts, name).astype(np.float32) for name in (*_COLUMNS, 'score')}
        self._bytes += sum(column.nbytes for column in step.values())
        if self._bytes > MEMORY_BYTES:
            self.is_full, self.columns, self.times = True, {}, []
            return
        self.times.append(verdicts.time)
        self.identities = detector.entities.identities
        for name, column in step.items():
            self.columns.setdefault(name, []).append(column)

    def rows(self) -> dict[str, int]:
        """{entity: its row}; empty where nothing was kept."""
        return {labels.selector(labels.pairs(identity)): row for row, identity in enumerate(self.identities)} if self.times else {}

    def past(self, alarm: Anomaly, row: int, settings: Settings, step_seconds: float) -> Past:
        """What there was of an entity, by its row, around one of its alarms."""
        times = np.array(self.times)
        shown = np.flatnonzero((times >= alarm.start - AROUND * step_seconds) & (times <= alarm.end + AROUND * step_seconds))
        shown = shown[:: max(1, -(-len(shown) // POINTS))]
        features = []
        for place, (name, expr) in enumerate(settings.queries.items()):
            columns = {each: self._column(each, shown, row, place) for each in _COLUMNS}
            blank = np.full(len(shown), np.nan)
            features.append(Feature(name, unit_of(expr), **columns, contribution=blank, high=blank, low=blank))
        spells = [Run(alarm.start, alarm.end, alarm.peak_score)]
        resolution = float(times[shown[1]] - times[shown[0]]) if len(shown) > 1 else float(step_seconds)
        start, end = float(times[shown[0]]), float(times[shown[-1]])
        return Past(start, end, resolution, False, 'gauges', times[shown], features, self._column('score', shown, row, 0), {}, spells, [], None)

    def _column(self, name: str, steps: np.ndarray, row: int, feature: int) -> Floats:
        found = (self.columns[name][step] for step in steps.tolist())
        return np.array([np.nan if row >= len(column) else column[row] if column.ndim == 1 else column[row, feature] for column in found], np.float64)


@dataclass(frozen=True, slots=True)
class Found:
    """A Report, with the settings of its detector and what was recorded."""

    report: Report
    settings: Settings
    recorder: Recorder


@dataclass(frozen=True, slots=True)
class _Spanned:
    start: float
    end: float
    timeline: list[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _Row:
    """An alarm as backtest.html shows it; chart: the number of its chart, None = it has none."""

    alarm: Alarm
    reason: str
    chart: int | None = None


def page(found: Sequence[Found], failed: Sequence[str] = (), incidents: str = '') -> str:
    """The report as HTML.

    failed     what went wrong with other detectors, a line each
    incidents  their table as text
    """
    charts: list[object] = []
    sections = [_section(each, charts) for each in found]
    return standalone.page(
        'backtest', styles=('style.css', 'chart.css', 'uplot.css', 'what_if.css'), **standalone.CHARTS, data={'charts': charts}, sections=sections,
        failed=list(failed), incidents=incidents,
    )  # fmt: skip


def _section(found: Found, charts: list[object]) -> dict[str, object]:
    report, settings = found.report, found.settings
    rows, of_entity = [], found.recorder.rows()
    for number, each in enumerate(report.anomalies[:LISTED]):
        row = of_entity.get(each.entity) if number < CHARTS else None
        past = None if row is None else found.recorder.past(each, row, settings, report.step_seconds)
        rows.append(_row(alarm(each), settings, len(charts) if past else None))
        if past:
            charts.append(past.tree())
    parts = timeline.bins(report.start, report.end, report.step_seconds)
    counts = timeline.counts(((each.start, each.end) for each in report.anomalies), report.start, report.end, parts).tolist()
    drawn = timeline.pictured(_Spanned(report.start, report.end, [(count,) for count in counts]))
    return {
        'report': report, 'rows': rows, 'picture': drawn, 'listed': len(rows), 'total': len(report.anomalies), 'no_charts': found.recorder.is_full,
        'units': {name: unit_of(expr) for name, expr in settings.queries.items()},
    }  # fmt: skip


def _row(shown: Alarm, settings: Settings, chart: int | None) -> _Row:
    said, _ = reason(
        observed=shown.observed, expected=shown.expected, lower=None, upper=None, unit=unit_of(settings.queries[shown.feature]), feature=shown.feature,
        allowed=settings.range,
    )  # fmt: skip
    return _Row(shown, said, chart)
