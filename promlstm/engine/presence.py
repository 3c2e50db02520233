"""When an entity is there: what the last seven days say about each time of the day. Whoever is absent as usual is not missing.

Who calls it: entities (after each step and each frame of history). Pure numpy: no I/O, no clock.

A day of local time has 48 slots, or fewer for steps longer than half an hour. For a slot, an entity has two bytes: the days on which it had
a sample in the slot, and the days on which it had none for a while. Bit 0 is today, bit 7 the same day of the week before. Both bits 0: nothing
is known of that day, such as before the first sample, or while answers were partial. Known days alone count, and it takes two of them.

    expected  present throughout the slot, the one before and the one after, on two thirds of the days. So a host is missed at once, and an
              entity that leaves earlier or comes later than usual by minutes is not.
    overdue   usually present at some time of a slot, however short, and absent today through it and a slot around it, for longer than usual:
              a nightly job that did not run. It stays overdue until it is back.

Absence on the same day of the week before is an excuse, if the entity was absent on another day as well (a weekend) or is absent at some
time of every day (a nightly job that rests on Sundays). An outage of a host last Tuesday is none.
"""

from dataclasses import dataclass, replace
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Bools, Floats, Ints, Tensors
from promlstm.engine.season import DAY, local_seconds, padded

Days = npt.NDArray[np.uint8]  # a bit per day

SLOTS_A_DAY = (48, 24, 12, 8, 6, 4, 3, 2, 1)
LEAST_NEIGHBOURS, LEAST_OVERDUE = 4, 6  # slots a day, so that a slot, those around it and the same slot of yesterday are not one
GAP_SECONDS = 300.0  # a failed scrape or two are no absence
LEAST_DAYS = 2
KEPT_SECONDS = 8 * DAY  # how long an entity is waited for that is absent as usual: a week, and a day for the job that is late
ONE_DAY, BEFORE, WEEK_BEFORE = np.uint8(1), np.uint8(0xFE), np.uint8(0x80)
COUNT = np.array([bin(byte).count('1') for byte in range(256)], np.uint8)  # set bits of a byte


@dataclass(frozen=True, slots=True, eq=False)
class Presence:
    """The memory of N entities. It is never changed: `after` returns a new one that shares all slots that did not change.

    present    tuple of uint8 [n], n <= N: one per slot, the days with a sample; rows beyond n are 0
    absent     tuple of uint8 [n]: the days with an absence of more than GAP_SECONDS
    part_time  bool [N]  absent throughout at least one slot of the day on two thirds of the days
    overdue    float64 [N], unix seconds: since when it should have been back; NaN = it is there, or is absent as usual
    newest     the slot that was entered last, counted from 1970 in local time; None = none yet
    """

    zone: ZoneInfo
    present: tuple[Days, ...]
    absent: tuple[Days, ...]
    part_time: Bools
    overdue: Floats
    newest: int | None = None

    @classmethod
    def blank(cls, zone: ZoneInfo = ZoneInfo('UTC'), step_seconds: float = 60.0) -> Self:  # noqa: B008 (a ZoneInfo never changes)
        """No entities; each slot lasts half an hour, or the next part of a day in which every step fits."""
        slots = next((slots for slots in SLOTS_A_DAY if slots * step_seconds <= DAY), 1)
        empty = (np.empty(0, np.uint8),) * slots
        return cls(zone, empty, empty, np.zeros(0, bool), np.zeros(0))

    def grown(self, rows: int) -> Self:
        """The same with rows for more entities, of which nothing is known yet."""
        new = rows - len(self.part_time)
        part_time, overdue = np.r_[self.part_time, np.zeros(new, bool)], np.r_[self.overdue, np.full(new, np.nan)]
        return replace(self, part_time=part_time, overdue=overdue) if new else self

    def take(self, rows: Ints) -> Self:
        """The memory of some rows only (int [n])."""
        total = len(self.part_time)
        present, absent = (
            tuple(padded(column, total, 0)[rows] if len(column) else column for column in columns) for columns in (self.present, self.absent)
        )
        return replace(self, present=present, absent=absent, part_time=self.part_time[rows], overdue=self.overdue[rows])

    def nbytes(self) -> int:
        """Size of all columns in bytes."""
        return sum(column.nbytes for column in (*self.present, *self.absent, self.part_time, self.overdue))

    def stored(self) -> Tensors:
        """All columns by name; `newest` is int64 [1], or [0] where there is none."""
        slots = {f'{name}.{k}': column for name in ('present', 'absent') for k, column in enumerate(getattr(self, name))}
        newest = np.array([] if self.newest is None else [self.newest], np.int64)
        return slots | {'part_time': self.part_time, 'overdue': self.overdue, 'newest': newest}

    def restored(self, columns: Tensors) -> Self:
        """The same memory with other columns, as `stored` names them."""
        present, absent = (tuple(columns[f'{name}.{k}'] for k in range(len(self.present))) for name in ('present', 'absent'))
        newest = columns['newest']
        return replace(
            self, present=present, absent=absent, part_time=columns['part_time'], overdue=columns['overdue'],
            newest=int(newest[0]) if len(newest) else None,
        )  # fmt: skip

    def after(self, time: float, present: Bools, absent: Bools, last_seen: Floats) -> Self:
        """The memory after a step.

        time       unix seconds; the same step twice is as good as once
        present    bool [N]  has a sample
        absent     bool [N]  is known to have none: after a partial answer, an entity is neither
        last_seen  float64 [N], unix seconds of the last sample before; NaN = there was none, so that nothing is known
        """
        turned = self._turned(time)
        away = absent & (time - last_seen > GAP_SECONDS)
        overdue = np.where(present, np.nan, turned.overdue)
        if turned is not self:
            rows = np.flatnonzero(away & np.isnan(overdue))
            overdue[rows[turned._skipped(rows, time - last_seen[rows])]] = time
        k = self._slot(time) % len(self.present)
        return replace(
            turned, overdue=overdue, present=_with_today(turned.present, k, present), absent=_with_today(turned.absent, k, away & ~present)
        )

    def expected(self, time: float) -> Bools:
        """bool [N]: entities whose absence at an instant is worth an alert; those of which too little is known are among them."""
        turned, slot = self._turned(time), self._slot(time)
        expected, known = turned._throughout(slot)
        if len(self.present) >= LEAST_NEIGHBOURS:
            for around in (slot - 1, slot + 1):
                usual, enough = turned._throughout(around)
                expected = expected & (usual | ~enough)
        return expected | ~known | ~np.isnan(self.overdue)

    def _throughout(self, slot: int) -> tuple[Bools, Bools]:
        """Whether entities are usually present throughout a slot, and whether enough is known of it (bool [N] each)."""
        present, absent = self._days(slot)
        return _usual(present & ~absent, present | absent, self.part_time)

    def _slot(self, time: float) -> int:
        return int(local_seconds(time, self.zone) // (DAY / len(self.present)))

    def _days(self, slot: int) -> tuple[Days, Days]:
        """uint8 [N] each: the days with a sample in a slot, and those with an absence."""
        k, rows = slot % len(self.present), len(self.part_time)
        return padded(self.present[k], rows, 0), padded(self.absent[k], rows, 0)

    def _turned(self, time: float) -> Self:
        """The memory when an instant begins: in the slots that were entered since, and the one after them, bit 0 is that of a new day."""
        slot, slots = self._slot(time), len(self.present)
        if self.newest is None or slot < self.newest - slots:  # the clock was set back by more than a day
            return replace(self, newest=slot)
        if slot <= self.newest:
            return self
        present, absent = list(self.present), list(self.absent)
        for entered in range(max(self.newest + 2, slot + 2 - 8 * slots), slot + 2):
            k = entered % slots
            present[k], absent[k] = np.left_shift(present[k], ONE_DAY), np.left_shift(absent[k], ONE_DAY)
        turned = replace(self, present=tuple(present), absent=tuple(absent), newest=slot)
        return replace(turned, part_time=turned._find_part_time())

    def _find_part_time(self) -> Bools:
        rows = len(self.part_time)
        found = np.zeros(rows, bool)
        for present, absent in zip(self.present, self.absent, strict=True):
            if absent.any():
                there, away = padded(present, rows, 0), padded(absent, rows, 0)
                days = COUNT[there | away]
                found |= (days >= LEAST_DAYS) & (3 * COUNT[away & ~there] >= 2 * days)
        return found

    def _skipped(self, rows: Ints, absent_seconds: Floats) -> Bools:
        """bool [n]: whether absent entities did not come when they usually do, seen from the second slot after that one.

        A job that begins about a full hour is now in the slot before, now in the one after. So presence in either counts, today's absence
        has to last through both and one more at each end, and be about as long as from where the presence before that one ended.
        """
        slots = len(self.present)
        if slots < LEAST_OVERDUE or not len(rows):
            return np.zeros(len(rows), bool)
        slot = self.newest or 0
        (present, absent), (earlier, absent_earlier) = ([column[rows] for column in self._days(slot - k)] for k in (2, 3))
        there, away = present | earlier, absent | absent_earlier
        usual, known = _usual(there, there | away, self.part_time[rows])
        today = (absent & ~present & 1).astype(bool)
        skipped: Bools = usual & known & today
        some = np.flatnonzero(skipped)  # mostly none, and the whole day is looked at
        if len(some):
            part_time, gap, needed = self.part_time[rows[some]], np.zeros(len(some), bool), np.zeros(len(some))
            for k in range(4, slots + 1):
                present, absent = (column[rows[some]] for column in self._days(slot - k))
                often, _ = _usual(present, present | absent, part_time)
                needed = np.where(gap & often & (needed == 0), k, needed)
                gap |= ~often
            needed = np.where(gap & (needed == 0), slots + 2, needed)  # no presence but the same one, a day before
            skipped[some] = absent_seconds[some] >= np.maximum(needed - 3, 4) * DAY / slots
        return skipped


def _usual(good: Days, known: Days, part_time: Bools) -> tuple[Bools, Bools]:
    """What was so on two thirds of the days before today, without an excuse; and whether enough days are known. bool [N] each.

    >>> days = np.array([0b1111110, 0b1011110, 0b0011110, 0b0000010], np.uint8)
    >>> _usual(days, np.uint8([0b1111110, 0b1111110, 0b1111110, 0b10]), np.zeros(4, bool))
    (array([ True,  True,  True,  True]), array([ True,  True,  True, False]))
    """
    days, held = COUNT[known & BEFORE], COUNT[good & known & BEFORE]
    excused = ((known & ~good & WEEK_BEFORE) > 0) & ((days - held >= 2) | part_time)
    return (3 * held >= 2 * days) & ~excused, days >= LEAST_DAYS


def _with_today(columns: tuple[Days, ...], k: int, rows: Bools) -> tuple[Days, ...]:
    """The columns with bit 0 of column k set in some rows (bool [N])."""
    old = columns[k]
    if not rows[len(old) :].any() and (old[rows[: len(old)]] & 1).all():
        return columns
    return (*columns[:k], padded(old, len(rows), 0) | rows, *columns[k + 1 :])
