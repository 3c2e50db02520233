"""How good the forecasts were whose time has come, as running means. Pure numpy; it knows no entity, only rows that its caller keeps in order.

Who calls it: live.forecasts, for some entities of a detector. What flows through: forecasts as they are made, and the samples of each step.

The error is a share of that of the simplest forecast, the same as at this time of the day before: below 1 is better. Errors are in units of the
row (how much its last day varied), so that bytes and shares weigh the same.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from promlstm.engine.columns import Floats
from promlstm.forecasts.model import HIGH, LOW, MIDDLE

MOST_PENDING = 40  # forecasts of one horizon that wait for their time; so the longest is asked about four times an hour at most
HALF_LIFE_SECONDS = 86400.0  # after which a due forecast counts half, for horizons of up to a day; longer ones: their own length
LEAST = 20.0  # row-forecasts before there is a figure


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """Forecasts of K rows for one instant."""

    due: float
    quantiles: Floats  # [K, 3]
    simple: Floats  # [K]
    unit: Floats  # [K]


@dataclass(slots=True, eq=False)
class Quality:
    """Of one horizon.

    ahead  seconds
    """

    ahead: float
    _pending: deque[_Pending] = field(default_factory=deque)
    _error: float = 0.0
    _simple: float = 0.0
    _covered: float = 0.0
    _count: float = 0.0
    _settled: float | None = None  # when the last of them came due

    def made(self, time: float, quantiles: Floats, simple: Floats, unit: Floats) -> None:
        """Remember a forecast: quantiles float64 [K, 3], simple and unit float64 [K]; NaN = none of that row."""
        if not self._pending or time + self.ahead - self._pending[-1].due >= self.ahead / MOST_PENDING:
            self._pending.append(_Pending(time + self.ahead, quantiles, simple, unit))

    def came(self, time: float, observed: Floats, step_seconds: float) -> None:
        """Compare the forecasts that are due with the samples (float64 [K], NaN = none) of an instant."""
        while self._pending and self._pending[0].due <= time + step_seconds / 2:
            due = self._pending.popleft()
            if abs(due.due - time) <= step_seconds:  # later ones were missed: nobody looked
                self._settle(time, due, observed)

    def _settle(self, time: float, due: _Pending, observed: Floats) -> None:
        error, simple = (np.abs(observed - each) / due.unit for each in (due.quantiles[:, MIDDLE], due.simple))
        known = np.isfinite(error) & np.isfinite(simple)
        if not known.any():
            return
        half_life = max(HALF_LIFE_SECONDS, self.ahead)
        left = 0.5 ** (max(0.0, time - self._settled) / half_life) if self._settled is not None else 0.0
        inside = (observed >= due.quantiles[:, LOW]) & (observed <= due.quantiles[:, HIGH])
        self._error = left * self._error + float(error[known].sum())
        self._simple = left * self._simple + float(simple[known].sum())
        self._covered = left * self._covered + float(inside[known].sum())
        self._count = left * self._count + float(known.sum())
        self._settled = time

    def figures(self) -> tuple[float, float] | None:
        """(error as a share of that of the simple forecast, share of the samples between low and high); None = too few have come."""
        if self._count < LEAST or self._simple <= 0:
            return None
        return self._error / self._simple, self._covered / self._count

    def keep(self, rows: Sequence[int]) -> None:
        """Keep some rows only, in this order; -1 = a row of which nothing is known."""
        index = np.array(rows, np.int64)
        none = index < 0

        def kept(column: Floats) -> Floats:
            if not len(column):
                return np.full((len(index), *column.shape[1:]), np.nan)
            out = column[index].copy()
            out[none] = np.nan
            return out

        self._pending = deque(_Pending(each.due, kept(each.quantiles), kept(each.simple), kept(each.unit)) for each in self._pending)
