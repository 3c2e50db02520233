"""What the score of each entity was just before it rose, and which rise without becoming an alarm; columns of N entities. Pure numpy.

Who calls it: the incident table after each committed step of a detector, and `convert benchmark --root-cause`. What flows through: Verdicts.

A score of 1.1 that was 0.95 a step ago says little; one that was 0.3 says that something happened now. And a success rate that fell a little
for the first time in a week is no alarm, but beside fifty alarms of its callers it is the best clue there is.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from promlstm.engine.columns import Bools, Floats, Floats32, SmallInts, Verdicts

RISE = np.float32(0.35)  # of the score within two steps, from which an entity leans
RECENT_STEPS = 2.5  # scores older than that are no "before"
LEAN_STEPS, LEAN_SECONDS = 6, 1800.0  # how long a rise is remembered, whichever is longer


@dataclass(frozen=True, slots=True, eq=False)
class Rises:
    """Columns of N entities of one detector that are replaced, never changed.

    recent       float32 [N, 2]  the last two scores, the newest first; NaN = none
    recent_time  float64 [N, 2]  when these were, unix seconds; NaN = never
    onset        float64 [N]     of the last alarm or rise, unix seconds; NaN = none so far
    gap          float64 [N]     seconds from the sample before it to that onset: it began somewhere between; infinite where there was none
    before       float32 [N]     the score before it; NaN = not known
    peak         float32 [N]     the highest score since the onset
    direction    int8 [N]        of the deviation at the onset: +1 above, -1 below what was expected, 0 not known
    alarm        bool [N]        it is or became an alarm
    """

    recent: Floats32
    recent_time: Floats
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
        pairs = np.full((rows, 2), np.nan)
        return cls(
            recent=pairs.astype(np.float32), recent_time=pairs, onset=never, gap=np.full(rows, np.inf), before=none,
            peak=np.zeros(rows, np.float32), direction=np.zeros(rows, np.int8), alarm=np.zeros(rows, bool),
        )  # fmt: skip

    def after(self, verdicts: Verdicts, step_seconds: float) -> Self:
        """The columns after a step; entities that are new in it are added at the end."""
        old = self._grown(len(verdicts.score))
        time, score = verdicts.time, verdicts.score
        judged = ~np.isnan(score)
        fresh = time - old.recent_time <= RECENT_STEPS * step_seconds
        before = np.fmin.reduce(np.where(fresh, old.recent, np.float32(np.nan)), axis=1)
        alarm = judged & (score >= 1)
        remembered = time - old.onset <= max(LEAN_SECONDS, LEAN_STEPS * step_seconds)
        begins = alarm & (verdicts.since == time)
        leans = judged & ~alarm & (score - before >= RISE) & ~remembered
        starts = begins | leans
        return replace(
            old,
            recent=np.where(judged[:, None], np.stack([score, old.recent[:, 0]], axis=1), old.recent).astype(np.float32),
            recent_time=np.where(judged[:, None], np.stack([np.full(len(score), time), old.recent_time[:, 0]], axis=1), old.recent_time),
            onset=np.where(starts, time, old.onset),
            gap=np.where(starts, np.where(np.isnan(old.recent_time[:, 0]), np.inf, time - old.recent_time[:, 0]), old.gap),
            before=np.where(starts, before, old.before).astype(np.float32),
            peak=np.where(starts, score, np.where(alarm | (judged & remembered), np.fmax(old.peak, score), old.peak)),
            direction=np.where(starts, np.sign(_largest_deviation(verdicts)), old.direction).astype(np.int8),
            alarm=np.where(starts, begins, old.alarm),
        )

    def _grown(self, rows: int) -> Self:
        new = rows - len(self.onset)
        if new <= 0:
            return self
        added = type(self).blank(new)
        return type(self)(*(np.concatenate([getattr(self, name), getattr(added, name)]) for name in self.__dataclass_fields__))


def _largest_deviation(verdicts: Verdicts) -> Floats:
    """float64 [N]: the deviation of the feature that contributed most; 0 where it has no direction."""
    main = np.argmax(np.nan_to_num(verdicts.contribution), axis=1)[:, None]
    return np.nan_to_num(np.take_along_axis(verdicts.deviation, main, axis=1)[:, 0])
