"""VictoriaLogs: counts of a window of time, where Prometheus and Loki have the value of an expression at an instant.

Who calls it: whoever asks for a detector (`asked_every`). What flows through: LogsQL with a `stats` pipe; out come Vectors and Matrices.

A range in the expression says in PromQL and LogQL how far back a value looks; LogsQL has none, and a `_time` filter is relative to the end of
the whole question. So the window is the detector's step: the value at an instant is that of the logs of one step before it. A live query says
so with `start` and `end`; history is asked for in buckets of one step. A bucket is named by its start, and here by its end, so that both
agree. Buckets lie on multiples of the step less an `offset` that moves them to the detector's own instants, which its delay decides;
servers before that parameter was known answer with other buckets, and are refused rather than believed. Where the instants are further apart
than a window, as in coarse history, each window is asked for by itself.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from promlstm.query.prometheus import POINTS_PER_ANSWER, POINTS_PER_SERIES, SAME_SECONDS, Floats, Matrix, Prometheus, Vector

Api = TypeVar('Api')

AT_ONCE = 64  # windows that are asked for before their Matrix is given


class VictoriaLogs:
    """A VictoriaLogs, asked for windows of so many seconds. It has `instant` and `range` of promlstm.query.prometheus.Prometheus."""

    def __init__(self, api: Prometheus, window_seconds: float) -> None:
        self._api, self._window = api, window_seconds

    def instant(self, expr: str, time: float) -> Vector:
        """The stats of the window that ends at an instant (unix seconds)."""
        return self._api.vector(expr, time, {'start': f'{time - self._window:.3f}', 'end': f'{time:.3f}'})

    def range(self, expr: str, start: float, end: float, step: float, series: int = 1) -> Iterator[Matrix]:
        """The stats of the windows that end at start, start + step, … end, as Prometheus.range."""
        steps = math.floor((end - start) / step + 1e-6) + 1
        by_bucket = abs(step - self._window) < SAME_SECONDS
        most = max(1, min(POINTS_PER_SERIES, POINTS_PER_ANSWER // max(1, series))) if by_bucket else AT_ONCE
        for first in range(0, steps, most):
            times = start + step * np.arange(first, min(first + most, steps), dtype=np.float64)
            if by_bucket:
                yield self._api.matrix(expr, times, step, self._buckets(times), shift_seconds=step)
            else:
                yield _joined(times, self._windows(expr, times))

    def _windows(self, expr: str, times: Floats) -> list[Vector]:
        """One Vector for each instant; where one cannot be had, those that were not asked for yet are not."""
        pool = ThreadPoolExecutor(self._api.concurrency, 'promlstm-window')
        try:
            return list(pool.map(lambda time: self.instant(expr, time), times.tolist()))
        finally:
            pool.shutdown(cancel_futures=True)

    def _buckets(self, times: Floats) -> Mapping[str, str]:
        """Parameters of the question for buckets that end at these instants, which are a window apart."""
        first, window = float(times[0]) - self._window, self._window
        offset = round(-first % window, 3)
        form = {'start': f'{first:.3f}', 'end': f'{float(times[-1]):.3f}', 'step': _seconds(window)}
        return form if offset in (0.0, round(window, 3)) else {**form, 'offset': _seconds(offset)}


def asked_every(api: Api, step_seconds: float) -> Api | VictoriaLogs:
    """An API, or anything else with `instant` and `range`, as a detector of this step asks it."""
    return VictoriaLogs(api, step_seconds) if isinstance(api, Prometheus) and api.dialect.windowed else api


def _seconds(number: float) -> str:
    """A duration as LogsQL has it.

    >>> _seconds(3600.0), _seconds(0.25)
    ('3600s', '0.25s')
    """
    return f'{number:.3f}'.rstrip('0').rstrip('.') + 's'


def _joined(times: Floats, vectors: Sequence[Vector]) -> Matrix:
    """The Matrix of Vectors, one for each instant."""
    columns: dict[bytes, int] = {}
    for vector in vectors:
        for key in vector.keys:
            columns.setdefault(key, len(columns))
    values = np.full((len(times), len(columns)), np.nan)
    for row, vector in zip(values, vectors, strict=True):
        row[[columns[key] for key in vector.keys]] = vector.values
    warnings = tuple(dict.fromkeys(text for vector in vectors for text in vector.warnings))
    return Matrix(
        times, list(columns), values, warnings, any(vector.partial for vector in vectors), max((vector.unread for vector in vectors), default=0)
    )
