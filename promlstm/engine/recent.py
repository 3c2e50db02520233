"""What forecasts need beside the seasonal memory: the last day in half-hours, the last eight days in quarters, and the newest level. Pure numpy.

Who calls it: advance and coarse, after each sample, where the configuration says `forecast`; otherwise there are no such columns. promlstm.forecasts reads it.

Half-hours are those of the seasonal memory: number k of local time stands for the instant k × 1800 s, and holds the mean of the samples
nearer to it than to any other. A quarter holds twelve of them. Means are float32 offsets from one float64 anchor per entity, because offsets are small.

A Recent is never changed: `after` returns a new one that shares all columns that did not change. So a step costs the level and the running sum.
"""

from dataclasses import dataclass, replace
from typing import Any, Self
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Floats, Floats32, Ints, Tensors
from promlstm.engine.season import local_seconds, padded

SLOT_SECONDS = 1800
SLOTS = 48  # half-hours that are kept: a day
IN_QUARTER = 12  # half-hours
QUARTERS = 32  # quarters of a day that are kept: eight days
WEIGHTS = (1.0, 2 / (4 + 1), 2 / (12 + 1))  # of the newest sample in each level
NOISE_WEIGHT, NOISE_SAMPLES = 0.03, 30  # of a difference in the noise, which is the plain mean of the first so many
BYTES = 4 * (SLOTS + QUARTERS) + 8 * 4 + 4 * 4  # of an entity and feature, once all is known
_BY_ROW = ('anchor', 'total', 'count', 'levels', 'noise', 'differences')


@dataclass(frozen=True, slots=True, eq=False)
class Recent:
    """The memory of N entities with F features.

    number       int                  the half-hour under way, counted from 1970 in local time; None = there was no sample yet
    halves       tuple of SLOTS float32 [n, F], n <= N: half-hour k is at k % SLOTS; NaN = no sample; rows beyond n are not known either
    quarters     tuple of QUARTERS float32 [n, F]: quarter k (from half-hour 12 k) is at k % QUARTERS
    anchor       float64 [N, F]       that halves, quarters and total are offsets from; NaN until the first sample
    total        float32 [N, F]       sum of the samples of the half-hour under way
    count        float32 [N, F]       how many these are
    levels       float64 [N, F, 3]    the newest sample (NaN = none at the last step), and exponential means by WEIGHTS
    noise        float32 [N, F]       exponential mean of the absolute differences between samples
    differences  float32 [N, F]       how many of them there were, NOISE_SAMPLES at most
    """

    zone: ZoneInfo
    number: int | None
    halves: tuple[Floats32, ...]
    quarters: tuple[Floats32, ...]
    anchor: Floats
    total: Floats32
    count: Floats32
    levels: Floats
    noise: Floats32
    differences: Floats32

    @classmethod
    def blank(cls, rows: int, features: int, zone: ZoneInfo) -> Self:
        """Nothing is known of any entity."""
        none, shape = np.empty((0, features), np.float32), (rows, features)
        zero = np.zeros(shape, np.float32)
        unknown = np.full(shape, np.nan)
        return cls(zone, None, (none,) * SLOTS, (none,) * QUARTERS, unknown, zero, zero, np.full((*shape, 3), np.nan), zero, zero)

    @property
    def rows(self) -> int:
        """How many entities it is of."""
        return len(self.anchor)

    def nbytes(self) -> int:
        """Size of all columns in bytes."""
        return sum(column.nbytes for column in (*self.halves, *self.quarters, *(getattr(self, name) for name in _BY_ROW)))

    def grown(self, rows: int) -> Self:
        """The same with rows for more entities, not known yet."""
        if rows == self.rows:
            return self
        new = self.blank(rows - self.rows, self.anchor.shape[1], self.zone)
        return self._made_of(self.halves, self.quarters, {name: np.concatenate([getattr(self, name), getattr(new, name)]) for name in _BY_ROW})

    def after(self, time: float, observed: Floats) -> Self:
        """The memory after a sample of each entity (float64 [N, F], NaN = none) at an instant."""
        number = number_at(time, self.zone)
        ended = self if number == self.number else self._ended(number)
        known = ~np.isnan(observed)
        anchor = np.where(np.isnan(self.anchor), observed, self.anchor)
        before = self.levels[..., 1:]
        means = before + np.array(WEIGHTS[1:]) * (observed[..., None] - before)
        means = np.where(known[..., None], np.where(np.isnan(before), observed[..., None], means), before)
        difference = np.abs(observed - _newest(self.levels))
        differs = ~np.isnan(difference)
        differences = np.where(differs, np.minimum(self.differences + 1, NOISE_SAMPLES), self.differences)
        weight = np.where(differences < NOISE_SAMPLES, 1 / np.maximum(differences, 1), NOISE_WEIGHT)
        return replace(
            ended,
            number=number,
            anchor=anchor,
            total=np.where(known, ended.total + (observed - anchor), ended.total).astype(np.float32),
            count=ended.count + known.astype(np.float32),
            levels=np.concatenate([observed[..., None], means], -1),
            noise=np.where(differs, self.noise + weight * (difference - self.noise), self.noise).astype(np.float32),
            differences=differences.astype(np.float32),
        )

    def _ended(self, number: int) -> Self:
        """The memory when another half-hour begins. Those that passed without a step are not known; where the clock is set back, the later ones stay."""
        if self.number is None:
            return self
        unknown = np.empty((0, self.anchor.shape[1]), np.float32)
        halves, quarters = list(self.halves), list(self.quarters)
        with np.errstate(invalid='ignore'):
            mean = np.where(self.count > 0, self.total / self.count, np.float32(np.nan))
        halves[self.number % SLOTS] = mean.astype(np.float32)
        last = max(number, self.number + 1)
        for passed in range(max(self.number, last - QUARTERS * IN_QUARTER), last):
            if passed > self.number:
                halves[passed % SLOTS] = unknown
            if passed % IN_QUARTER == IN_QUARTER - 1:
                twelve = [padded(halves[k % SLOTS], self.rows) for k in range(passed - IN_QUARTER + 1, passed + 1)]
                quarters[passed // IN_QUARTER % QUARTERS] = _mean(np.stack(twelve))
        zero = np.zeros_like(self.total)
        return replace(self, halves=tuple(halves), quarters=tuple(quarters), total=zero, count=zero)

    def take(self, rows: Ints | slice) -> Self:
        """The memory of some rows only: int [n], or a slice, which copies nothing."""
        by_row = {name: getattr(self, name)[rows] for name in _BY_ROW}
        halves, quarters = (tuple(padded(column, self.rows)[rows] if len(column) else column for column in columns) for columns in self._slots())
        return self._made_of(halves, quarters, by_row)

    def put(self, rows: Ints, part: Self) -> Self:
        """The memory with some rows (int [n]) replaced by those of `part`."""

        def replaced(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
            if not len(old) and not len(new):
                return old
            column = padded(old, self.rows).copy()
            column[rows] = padded(new, len(rows))
            return column

        by_row = {name: replaced(getattr(self, name), getattr(part, name)) for name in _BY_ROW}
        both = zip(self._slots(), part._slots(), strict=True)
        halves, quarters = (tuple(map(replaced, old, new)) for old, new in both)
        return self._made_of(halves, quarters, by_row)

    def stored(self) -> Tensors:
        """All columns by name; `number` as one of a single row, or of none."""
        columns = {name: getattr(self, name) for name in _BY_ROW}
        columns |= {f'half.{k}': column for k, column in enumerate(self.halves)} | {f'quarter.{k}': column for k, column in enumerate(self.quarters)}
        return columns | {'number': np.array([] if self.number is None else [self.number], np.int64)}

    def restored(self, columns: Tensors) -> Self:
        """The same memory with other columns, as `stored` names them."""
        halves, quarters = (tuple(columns[f'{name}.{k}'] for k in range(most)) for name, most in (('half', SLOTS), ('quarter', QUARTERS)))
        number = int(columns['number'][0]) if len(columns['number']) else None
        return replace(self._made_of(halves, quarters, columns), number=number)

    def _made_of(self, halves: tuple[Floats32, ...], quarters: tuple[Floats32, ...], by_row: Tensors) -> Self:
        """The memory with these columns, at the same half-hour."""
        return type(self)(self.zone, self.number, halves, quarters, *(by_row[name] for name in _BY_ROW))

    def _slots(self) -> tuple[tuple[Floats32, ...], tuple[Floats32, ...]]:
        return self.halves, self.quarters


def number_at(time: float, zone: ZoneInfo) -> int:
    """The half-hour that an instant belongs to, counted from 1970 in local time.

    >>> number_at(3600 - 901, ZoneInfo('UTC')), number_at(3600 - 900, ZoneInfo('UTC'))
    (1, 2)
    """
    return int(np.floor(local_seconds(time, zone) / SLOT_SECONDS + 0.5))


def _newest(levels: Floats) -> Floats:
    """float64 [N, F]: the last sample that there was, or near enough: after a gap, the fast mean."""
    return np.where(np.isnan(levels[..., 0]), levels[..., 1], levels[..., 0])


def _mean(values: Floats32) -> Floats32:
    """Mean over the first axis without NaN; NaN where there is nothing else."""
    known = ~np.isnan(values)
    count = known.sum(0)
    total = np.where(known, values, 0).sum(0)
    mean: Floats32 = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0).astype(np.float32)
    return mean
