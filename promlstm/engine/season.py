"""The seasonal memory: for every entity, its usual value at this time of the day or week. Slots × entities, pure numpy.

Who calls it: advance (recall before the graph, remember after it), coarse (fill), convert.data.synthesis and convert.families.training
(the same, so that a model is trained with the memory that it will be served with). The graph decides what to remember, in `season_next`.

A slot is a column of float32 offsets from one float64 anchor per entity. Offsets are small; a terabyte in bytes as float32 would be rounded
to 64 KiB. Slot k stands for the instant k × period / slots of local time. Between two instants `recall` interpolates, so that a steep
daily rise has no steps. For a slot of the week that is not known yet, `recall` takes the same hour of the days before, the latest first:
one day of history is enough to begin with. Local time keeps a daily job in its slot when daylight saving time begins or ends.

A Season is never changed: `remember`, `fill`, `put` return a new one that shares all slots that did not change. So a step costs a copy of
one slot, and a step that fails leaves the memory as it was.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Self, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Bools, Floats, Floats32, Ints

DAY = 86400
WEEK = 7 * DAY
_Dtype = TypeVar('_Dtype', bound=np.generic)


@lru_cache(maxsize=256)  # a step asks several times, and so do the other detectors
def local_seconds(time: float, zone: ZoneInfo) -> float:
    """Seconds of local wall-clock time since 1970-01-01 00:00 local time; hour of day and day of week follow from it.

    >>> local_seconds(1_700_000_000, ZoneInfo('Europe/Berlin')) - 1_700_000_000
    3600.0
    """
    offset = datetime.fromtimestamp(time, zone).utcoffset() or timedelta()
    return float(time) + offset.total_seconds()


def clock(time: float, zone: ZoneInfo) -> Floats32:
    """The model input `clock` at an instant: float32 [4], sin and cos of the hour of day, sin and cos of the day of week (from Monday).

    >>> clock(3 * DAY + 6 * 3600, ZoneInfo('UTC')).round(2) + 0.0       # a Sunday, six in the morning
    array([ 1.  ,  0.  , -0.78,  0.62], dtype=float32)
    """
    seconds = local_seconds(time, zone) + 3 * DAY  # 1970-01-01 was a Thursday
    day, week = 2 * np.pi * (seconds % DAY) / DAY, 2 * np.pi * (seconds % WEEK // DAY) / 7
    return np.array([np.sin(day), np.cos(day), np.sin(week), np.cos(week)], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Season:
    """The memory of N entities with F features.

    period_seconds   int             a day or a week; 0 = the model has no seasonal memory
    columns          tuple of float32 [n, F], n <= N: one per slot, NaN = not known; rows beyond n are not known either
    anchor           float64 [N, F]  NaN until the first value
    """

    period_seconds: int
    zone: ZoneInfo
    columns: tuple[Floats32, ...]
    anchor: Floats

    @classmethod
    def blank(cls, rows: int, features: int, *, period_seconds: int, slots: int, zone: ZoneInfo) -> Self:
        """Nothing is known of any entity."""
        empty = np.empty((0, features), np.float32)
        return cls(period_seconds, zone, (empty,) * slots, np.full((rows, features), np.nan))

    def grown(self, rows: int) -> Self:
        """The same with rows for more entities, not known yet; a column grows when it is written."""
        return replace(self, anchor=padded(self.anchor, rows))

    def position(self, time: float) -> float:
        """Where an instant lies among the slots, in [0, slots).

        >>> Season.blank(0, 1, period_seconds=DAY, slots=24, zone=ZoneInfo('UTC')).position(DAY + 5400)
        1.5
        """
        return local_seconds(time, self.zone) % self.period_seconds / self.period_seconds * len(self.columns)

    def slot(self, time: float) -> int:
        """The slot nearest to an instant; in the middle between two, the later one, so that all slots get the same number of even steps."""
        return int(self.position(time) + 0.5) % len(self.columns)

    def recall(self, time: float, horizons_steps: Sequence[int], step_seconds: float) -> Floats:
        """What the memory holds for this instant, and for the instants that are `horizons_steps` later.

        returns  float64 [N, F, 1 + horizons], user's unit, NaN = not known
        """
        ahead = (0, *horizons_steps)
        out = np.full((*self.anchor.shape, len(ahead)), np.nan)
        if self.period_seconds:
            for k, steps in enumerate(ahead):
                out[..., k] = self._at(self.position(time + steps * step_seconds))
        return out

    def _at(self, position: float) -> Floats:
        """float64 [N, F] at a position among the slots; where the week is not known yet, from the same hour of the days before."""
        known = self.between(position)
        slots_a_day = len(self.columns) * DAY // self.period_seconds
        for day in range(1, self.period_seconds // DAY):
            unknown = np.isnan(known)
            if not unknown.any():
                break
            known = np.where(unknown, self.between(position - day * slots_a_day), known)
        return self.anchor + known

    def of_day(self, time: float) -> Floats:
        """What the memory holds for the time of day of an instant, in the mean over the days of its period: float64 [N, F], NaN = not known."""
        total, count = np.zeros(self.anchor.shape), np.zeros(self.anchor.shape)
        position, days = self.position(time) if self.period_seconds else 0.0, self.period_seconds // DAY
        for day in range(days):
            offset = self.between((position - day * len(self.columns) / days) % len(self.columns))
            known = ~np.isnan(offset)
            total, count = total + np.where(known, offset, 0), count + known
        mean: Floats = self.anchor + np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return mean

    def between(self, position: float) -> Floats32:
        """float32 [N, F]: offsets from the anchor at a position, interpolated between its two slots; NaN where neither is known."""
        slots = len(self.columns)
        first = int(np.floor(position))
        share = position - first
        before = padded(self.columns[first % slots], len(self.anchor))
        if share == 0:
            return before
        after = padded(self.columns[(first + 1) % slots], len(self.anchor))
        between = before + np.float32(share) * (after - before)
        nearest_known = np.where(np.isnan(before), after, before)
        return np.where(np.isnan(between), nearest_known, between)

    def remember(self, time: float, season_next: Floats, recalled: Floats, shifted: Bools | bool = False) -> Self:
        """The memory after a step: the slot nearest to the instant moves by `season_next - recalled`.

        The graph gets the interpolated memory and returns the value that it should have, so the slot moves by the difference.

        season_next  float64 [N, F]  output of the graph; NaN = leave the slot
        recalled     float64 [N, F]  input of the graph, `recall(…)[..., 0]`
        shifted      bool [N]        move all slots by the difference: the level of the series has changed for good, its daily shape has not
        """
        if not self.period_seconds:
            return self
        slot = self.slot(time)
        difference = season_next - recalled
        moved = np.where(np.reshape(shifted, (-1, 1)) & ~np.isnan(difference), difference, 0)
        anchor = np.where(np.isnan(self.anchor), season_next, self.anchor + moved)
        old = padded(self.columns[slot], len(anchor)).astype(np.float64)
        change = np.where(np.isnan(old), season_next - anchor, old + (difference - moved))
        new = np.where(np.isnan(change), old, change).astype(np.float32)
        return replace(self, anchor=anchor, columns=(*self.columns[:slot], new, *self.columns[slot + 1 :]))

    def fill(self, times: Sequence[float], values: npt.NDArray[np.floating], weight: float = 0.5) -> Self:
        """The memory after coarse history, in time order: a known slot moves towards the mean by `weight`, an unknown one takes it.

        times   [T]              unix seconds, increasing
        values  float64 [T, N, F]  NaN = none
        """
        if not self.period_seconds:
            return self
        season = self
        for slot, time, mean in _slot_means(times, values, [self.slot(t) for t in times], self.period_seconds / 2):
            anchor = np.where(np.isnan(season.anchor), mean, season.anchor)
            old = season.anchor + padded(season.columns[slot], len(anchor))
            after = np.where(np.isnan(old), mean, old + weight * (mean - old))
            season = replace(season, anchor=anchor).remember(time, after, old)
        return season

    def take(self, rows: Ints | slice) -> Self:
        """The memory of some rows only: int [n], or a slice, which copies nothing."""
        anchor = self.anchor[rows]
        columns = (padded(column, len(self.anchor))[rows] if len(column) else column for column in self.columns)
        return replace(self, anchor=anchor, columns=tuple(columns))

    def put(self, rows: Ints, part: Self) -> Self:
        """The memory with some rows replaced by those of `part` (rows: int [n], part: a Season of n rows)."""
        total = len(self.anchor)
        if len(rows) == total and np.array_equal(rows, np.arange(total)):
            return part
        anchor = self.anchor.copy()
        anchor[rows] = part.anchor
        columns = (_with(old, rows, new, total) for old, new in zip(self.columns, part.columns, strict=True))
        return replace(self, anchor=anchor, columns=tuple(columns))


def _slot_means(
    times: Sequence[float], values: npt.NDArray[np.floating], slots: Sequence[int], max_gap_seconds: float
) -> Iterator[tuple[int, float, Floats]]:
    """Runs of samples in the same slot without a longer gap, as (slot, time of the first sample, mean of the samples [N, F])."""
    start = 0
    for end in range(1, len(slots) + 1):
        if end == len(slots) or slots[end] != slots[start] or times[end] - times[end - 1] > max_gap_seconds:
            block = np.asarray(values[start:end], np.float64)
            known = np.isfinite(block)
            count = known.sum(0)
            total = np.where(known, block, 0).sum(0)
            yield slots[start], times[start], np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
            start = end


def _with(column: Floats32, rows: Ints, part: Floats32, total: int) -> Floats32:
    """A column of `total` rows with some of them replaced; empty where both are."""
    if not len(column) and not len(part):
        return column
    column = padded(column, total).copy()
    column[rows] = padded(part, len(rows))
    return column


def padded(column: npt.NDArray[_Dtype], rows: int, fill: float = np.nan) -> npt.NDArray[_Dtype]:
    """A column with as many rows as asked for; the new ones hold `fill`."""
    if len(column) == rows:
        return column
    padded = np.full((rows, *column.shape[1:]), fill, column.dtype)
    padded[: len(column)] = column
    return padded
