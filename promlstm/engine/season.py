"""The seasonal memory: for every entity, what it usually is at this time of the week. Slots × entities, pure numpy.

Who calls it: detector (recall before the graph, remember after it, fill at a warm start), convert.data.synthesis and train (the same, so that
a model learns from the memory it will be served with). It never decides what to remember: the graph does, in `season_next`.

A slot is a column of float32 offsets about one float64 anchor per entity (a terabyte in bytes has a float32 grain of 64 KiB, an offset
has not). Slot k stands for the instant k × period / slots of local time; between two instants `recall` interpolates, so that a steep
daily rise has no stairs. A slot of the week that is not known yet is answered by the same hour of the days before, the latest first:
one day of history is enough to begin with. Local time, so that a daily job stays in its slot when the clocks change.

A Season is never changed: `remember`, `fill`, `put` return a new one that shares all untouched slots, so that a step commits or has
done nothing, at the price of one slot.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

DAY = 86400
WEEK = 7 * DAY


def local_seconds(time, zone):
    """Seconds of local wall-clock time since the epoch's local midnight, so that hour of day and day of week can be taken of it.

    >>> local_seconds(1_700_000_000, ZoneInfo('Europe/Berlin')) - 1_700_000_000
    3600.0
    """
    return float(time) + datetime.fromtimestamp(time, zone).utcoffset().total_seconds()


def clock(time, zone):
    """The contract's `clock` at an instant: float32 [4], sin and cos of the hour of day, sin and cos of the day of week (from Monday).

    >>> clock(3 * DAY + 6 * 3600, ZoneInfo('UTC')).round(2) + 0.0       # a Sunday, six in the morning
    array([ 1.  ,  0.  , -0.78,  0.62], dtype=float32)
    """
    seconds = local_seconds(time, zone) + 3 * DAY  # 1970-01-01 was a Thursday
    day, week = 2 * np.pi * (seconds % DAY) / DAY, 2 * np.pi * (seconds % WEEK // DAY) / 7
    return np.float32([np.sin(day), np.cos(day), np.sin(week), np.cos(week)])


@dataclass(frozen=True, slots=True, eq=False)
class Season:
    """The memory of N entities with F features.

    period_seconds   int             a day or a week; 0 = the model wants no season
    columns          tuple of float32 [n, F], n <= N: one per slot, NaN = not known; rows beyond n are not known either
    anchor           float64 [N, F]  NaN until the first value
    """

    period_seconds: int
    zone: ZoneInfo
    columns: tuple
    anchor: np.ndarray

    @classmethod
    def blank(cls, rows, features, *, period_seconds, slots, zone):
        """Nothing known of any entity."""
        empty = np.empty((0, features), np.float32)
        return cls(period_seconds, zone, (empty,) * slots, np.full((rows, features), np.nan))

    def grown(self, rows):
        """The same with room for more entities, not known yet; columns grow when they are written."""
        return replace(self, anchor=padded(self.anchor, rows))

    def position(self, time):
        """Where an instant lies among the slots, float in [0, slots).

        >>> Season.blank(0, 1, period_seconds=DAY, slots=24, zone=ZoneInfo('UTC')).position(DAY + 5400)
        1.5
        """
        return local_seconds(time, self.zone) % self.period_seconds / self.period_seconds * len(self.columns)

    def slot(self, time):
        """The slot nearest to an instant; in the middle between two the later one, so that all get equally many of even steps."""
        return int(self.position(time) + 0.5) % len(self.columns)

    def recall(self, time, horizons_steps, step_seconds):
        """What the memory holds for this instant and for those that many steps later.

        returns  float64 [N, F, 1 + horizons], user's unit, NaN = not known
        """
        ahead = (0, *horizons_steps)
        out = np.full((*self.anchor.shape, len(ahead)), np.nan)
        if self.period_seconds:
            for k, steps in enumerate(ahead):
                out[..., k] = self._at(self.position(time + steps * step_seconds))
        return out

    def _at(self, position):
        known = self._between(position)
        slots_a_day = len(self.columns) * DAY // self.period_seconds
        for day in range(1, self.period_seconds // DAY):
            unknown = np.isnan(known)
            if not unknown.any():
                break
            known = np.where(unknown, self._between(position - day * slots_a_day), known)
        return self.anchor + known

    def _between(self, position):
        slots = len(self.columns)
        first = int(np.floor(position))
        share = position - first
        a = padded(self.columns[first % slots], len(self.anchor))
        if share == 0:
            return a
        b = padded(self.columns[(first + 1) % slots], len(self.anchor))
        between = a + np.float32(share) * (b - a)
        return np.where(np.isnan(between), np.where(np.isnan(a), b, a), between)

    def remember(self, time, season_next, recalled, shifted=False):
        """The memory after a step: the slot nearest to the instant takes the change that the graph asked for.

        The graph saw the interpolated memory and answered with what it should be, so the slot moves by the difference.

        season_next  float64 [N, F]  the graph's answer; NaN = leave the slot
        recalled     float64 [N, F]  what it had been shown, `recall(…)[..., 0]`
        shifted         bool [N]        all slots move by the difference: the level has changed for good, the rhythm has not
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

    def fill(self, times, values, weight=0.5):
        """The memory after days of coarse history, in time order: a slot seen before moves by `weight`, a new one takes the value.

        times   [T]              unix seconds, increasing
        values  float64 [T, N, F]  NaN = none
        """
        if not self.period_seconds:
            return self
        season = self
        for slot, time, mean in _visits(times, values, [self.slot(t) for t in times], self.period_seconds / 2):
            anchor = np.where(np.isnan(season.anchor), mean, season.anchor)
            old = season.anchor + padded(season.columns[slot], len(anchor))
            after = np.where(np.isnan(old), mean, old + weight * (mean - old))
            season = replace(season, anchor=anchor).remember(time, after, old)
        return season

    def take(self, rows):
        """The memory of some rows only."""
        anchor = self.anchor[rows]
        return replace(
            self, anchor=anchor, columns=tuple(padded(column, len(self.anchor))[rows] if len(column) else column for column in self.columns)
        )

    def put(self, rows, part):
        """The memory with some rows replaced by those of `part` (rows: int [n], part: a Season of n rows)."""
        total = len(self.anchor)
        if len(rows) == total and np.array_equal(rows, np.arange(total)):
            return part
        anchor = self.anchor.copy()
        anchor[rows] = part.anchor
        return replace(self, anchor=anchor, columns=tuple(map(lambda a, b: _with(a, rows, b, total), self.columns, part.columns)))


def _visits(times, values, slots, apart_seconds):
    """Runs of samples in the same slot and no further apart, as (slot, time of the first, mean of the samples)."""
    start = 0
    for end in range(1, len(slots) + 1):
        if end == len(slots) or slots[end] != slots[start] or times[end] - times[end - 1] > apart_seconds:
            block = np.asarray(values[start:end], np.float64)
            known = np.isfinite(block)
            count = known.sum(0)
            total = np.where(known, block, 0).sum(0)
            yield slots[start], times[start], np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
            start = end


def _with(column, rows, part, total):
    if not len(column) and not len(part):
        return column
    column = padded(column, total).copy()
    column[rows] = padded(part, len(rows))
    return column


def padded(column, rows):
    """A column with NaN in the rows that it lacks."""
    if len(column) == rows:
        return column
    padded = np.full((rows, *column.shape[1:]), np.nan, column.dtype)
    padded[: len(column)] = column
    return padded
