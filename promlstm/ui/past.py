"""The past of an entity as pages and the API have it: columns on one grid, and spans of time.

Who calls it: history makes it; entity shows it and writes it as JSON, where NaN is null.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from promlstm.engine.columns import Floats, Ints
from promlstm.ui import wording

LEAST_SHARE = 0.005  # of a view that is shown
DIGITS = 9  # that a picture or a reader can make use of


@dataclass(slots=True, eq=False)
class Feature:
    """What is known of one feature, float64 [T] each; NaN = nothing.

    name       '' where the detector has one only
    high, low  of the samples since the point before, where the points are further apart than steps
    """

    name: str
    unit: str
    observed: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    usual_lower: Floats
    usual_upper: Floats
    contribution: Floats
    high: Floats
    low: Floats

    def fill(self, rows: Ints, values: Floats) -> None:
        """Take in samples (float64 [n]) at some rows, where there are none."""
        there = (rows >= 0) & (rows < len(self.observed))
        rows, values = rows[there], values[there]
        self.observed[rows] = np.where(np.isnan(self.observed[rows]), values, self.observed[rows])


@dataclass(frozen=True, slots=True)
class Run:
    """A span of time, unix seconds; peak: the highest score in it."""

    start: float
    end: float
    peak: float | None


@dataclass(frozen=True, slots=True)
class Silenced:
    """A silence that is about the entity; state as Alertmanager has it."""

    id: str
    state: str
    start: float
    end: float
    comment: str


@dataclass(slots=True, eq=False)
class Ahead:
    """The newest forecast: of each feature and horizon the lower, middle and upper value."""

    time: float
    values: list[dict[str, Any]] = field(default_factory=list)
    limit: float | None = None
    seconds_to_limit: float | None = None

    def add(self, feature: str, horizon: str, seconds: float, bounds: list[float]) -> None:
        """Add what is forecast of a feature for a horizon."""
        lower, middle, upper = numbers(np.array(bounds))
        self.values.append({'feature': feature, 'horizon': horizon, 'seconds': seconds, 'lower': lower, 'middle': middle, 'upper': upper})


@dataclass(slots=True, eq=False)
class Past:
    """The past of an entity on a grid of T points.

    origin  gauges: our own; expression: what was observed alone, by the expression of the detector; none
    views   {view: float64 [T]}, share in the surprise
    notes    sentences on what is lacking, and what to do
    remarks  likewise on what is not shown, where nothing is wrong
    """

    start: float
    end: float
    resolution: float
    live: bool
    origin: str
    times: Floats
    features: list[Feature]
    score: Floats
    views: dict[str, Floats]
    alarms: list[Run]
    missing: list[Run]
    forecast: Ahead | None
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    silences: list[Silenced] = field(default_factory=list)

    def tree(self) -> dict[str, Any]:
        """What JSON has of it."""
        columns = ('observed', 'expected', 'lower', 'upper', 'usual_lower', 'usual_upper', 'contribution', 'high', 'low')
        return {
            'start': self.start, 'end': self.end, 'resolution_seconds': self.resolution, 'live': self.live, 'origin': self.origin, 'notes': self.notes,
            'remarks': self.remarks, 'times': self.times.tolist(), 'score': column(self.score),
            'features': [
                {'name': each.name, 'unit': each.unit} | {name: column(getattr(each, name)) for name in columns} for each in self.features
            ],
            'views': {name: column(values) for name, values in self.views.items()},
            'view_words': {name: wording.kind(name, self._direction(values)) for name, values in self.views.items()},
            'alarms': self.alarms, 'missing': self.missing, 'silences': self.silences, 'forecast': self.forecast,
        }  # fmt: skip

    def _direction(self, shares: Floats) -> int:
        """1 = what a view saw was above what was expected of the feature that contributes most, -1 = below, 0 = both, or not known."""
        deviations = np.stack([each.observed - each.expected for each in self.features])
        weights = np.nan_to_num(np.stack([each.contribution for each in self.features]))
        signs = np.sign(deviations[weights.argmax(0), np.arange(len(shares))][shares > LEAST_SHARE])
        found = set(signs[np.isfinite(signs)].tolist())
        return int(found.pop()) if len(found) == 1 else 0


def with_run(runs: Sequence[Run], start: float, end: float, peak: float | None) -> list[Run]:
    """Runs in the order of time with one more, which takes in those that it touches.

    >>> with_run([Run(0, 10, 1.5), Run(50, 60, 2.0)], 55, 90, 1.2)
    [Run(start=0, end=10, peak=1.5), Run(start=50, end=90, peak=2.0)]
    """
    touched = [run for run in runs if run.start <= end and run.end >= start]
    peaks = [run.peak for run in touched if run.peak is not None] + ([] if peak is None else [peak])
    whole = Run(min([start, *(run.start for run in touched)]), max([end, *(run.end for run in touched)]), max(peaks, default=None))
    return sorted([*(run for run in runs if run not in touched), whole], key=lambda run: run.start)


def column(values: Floats) -> list[float | None]:
    """A column as JSON has it, with DIGITS digits; empty where there is not one number in it."""
    if not np.isfinite(values).any():
        return []
    return [None if value is None else float(f'{value:.{DIGITS}g}') for value in numbers(values)]


def numbers(values: Floats) -> list[float | None]:
    """Numbers as JSON has them: None where there is none.

    >>> numbers(np.array([1.5, np.nan, np.inf]))
    [1.5, None, None]
    """
    return [value if math.isfinite(value) else None for value in values.tolist()]
