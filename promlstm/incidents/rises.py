"""What the score of each entity was just before it rose, and which rise without becoming an alarm; columns of N entities. Pure numpy.

Who calls it: the incident table after each committed step of a detector, and `convert benchmark --root-cause`. What flows through: Verdicts.

A score of 1.1 that was 0.95 a step ago says little; one that was 0.3 says that something happened now. And a success rate that fell a little
for the first time in a week is no alarm, but beside fifty alarms of its callers it is the best clue there is.
"""

from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Bools, Floats, Floats32, Ints, SmallInts, Verdicts

RISE = np.float32(0.35)  # of the score within two steps, from which an entity leans
RECENT_STEPS = 2.5  # scores older than that are no "before"
LEAN_STEPS, LEAN_SECONDS = 6, 1800.0  # how long a rise is remembered, whichever is longer


_Dtype = TypeVar('_Dtype', bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Rises:
    """Columns of N entities of one detector that are replaced, never changed.

    last, earlier            float32 [N]  the last two scores, the newest first; NaN = none
    last_time, earlier_time  float64 [N]  when these were, unix seconds; NaN = never
    onset                    float64 [N]  of the last alarm or rise, unix seconds; NaN = none so far
    gap                      float64 [N]  seconds from the sample before it to that onset: it began somewhere between; infinite where there was none
    before                   float32 [N]  the score before it; NaN = not known
    peak                     float32 [N]  the highest score since the onset
    direction                int8 [N]     of the deviation at the onset: +1 above, -1 below what was expected, 0 not known
    alarm                    bool [N]     it is an alarm, not only a rise
    """

    last: Floats32
    earlier: Floats32
    last_time: Floats
    earlier_time: Floats
    onset: Floats
    gap: Floats
    before: Floats32
    peak: Floats32
    direction: SmallInts
    alarm: Bools

    @classmethod
    def blank(cls, rows: int) -> Self:
        """Nothing was seen so far."""
        never, none = np.full(rows, np.nan), np.full(rows, np.nan, np.float32)
        return cls(
            last=none, earlier=none, last_time=never, earlier_time=never, onset=never, gap=np.full(rows, np.inf), before=none,
            peak=np.zeros(rows, np.float32), direction=np.zeros(rows, np.int8), alarm=np.zeros(rows, bool),
        )  # fmt: skip

    def after(self, verdicts: Verdicts, step_seconds: float) -> Self:
        """The columns after a step; entities that are new in it are added at the end."""
        old = self._grown(len(verdicts.score))
        time, score = verdicts.time, verdicts.score
        oldest = time - RECENT_STEPS * step_seconds
        none = np.float32(np.nan)
        before = np.fmin(np.where(old.last_time >= oldest, old.last, none), np.where(old.earlier_time >= oldest, old.earlier, none))
        alarm = score >= 1
        remembered = old.onset >= time - max(LEAN_SECONDS, LEAN_STEPS * step_seconds)
        starts = (alarm & (verdicts.since == time)) | (~alarm & (score - before >= RISE) & ~remembered)
        after = old._recorded(score, time)
        peak = np.where(alarm | remembered, np.fmax(old.peak, score), old.peak)
        rows = np.flatnonzero(starts)
        if not len(rows):
            return replace(after, peak=peak)
        peak[rows] = score[rows]
        gap = time - old.last_time[rows]
        return replace(
            after, peak=peak, onset=_put(old.onset, rows, time), gap=_put(old.gap, rows, np.where(np.isnan(gap), np.inf, gap)),
            before=_put(old.before, rows, before[rows]), direction=_put(old.direction, rows, verdicts.main_features(rows)[1]),
            alarm=_put(old.alarm, rows, alarm[rows]),
        )  # fmt: skip

    def _recorded(self, score: Floats32, time: float) -> Self:
        """The same with a score as the newest, where there is one."""
        judged = ~np.isnan(score)
        if judged.all():
            return replace(self, last=score, earlier=self.last, last_time=np.full(len(score), time), earlier_time=self.last_time)
        return replace(
            self, last=np.where(judged, score, self.last), earlier=np.where(judged, self.last, self.earlier),
            last_time=np.where(judged, time, self.last_time), earlier_time=np.where(judged, self.last_time, self.earlier_time),
        )  # fmt: skip

    def _grown(self, rows: int) -> Self:
        new = rows - len(self.onset)
        if new <= 0:
            return self
        added = type(self).blank(new)
        return type(self)(*(np.concatenate([getattr(self, name), getattr(added, name)]) for name in self.__dataclass_fields__))


def _put(column: npt.NDArray[_Dtype], rows: Ints, values: npt.ArrayLike) -> npt.NDArray[_Dtype]:
    """A copy of a column with new values in some rows."""
    out = column.copy()
    out[rows] = values
    return out
