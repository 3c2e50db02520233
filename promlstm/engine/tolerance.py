"""Tolerance of noisy entities: each alarm of an entity raises its own threshold for some days. Pure numpy.

Who calls it: advance, before the graph, where the configuration says `noisy: tolerate`; otherwise there are no such columns. The graph makes
its band from the raised threshold, and the surprise is divided by it, so score, band and latch agree.

An alarm counts once it is over, by the same gap as in the budget, and once the latch has let go. So no alarm is cut short by its own raise,
and one that comes and goes counts once.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from promlstm.engine.columns import Bools, Floats, Floats32
from promlstm.engine.score import Alarm, same_alarm

RAISE = 0.1  # of the threshold, by each alarm
MOST = 0.5  # of the threshold, by all of them
HALF_SECONDS = 2 * 86400.0  # after which half of a raise is left
REACHABLE = 0.9  # of the largest surprise of the model: a raised threshold is no higher, so that a far larger deviation still alarms
BYTES = 12  # of an entity


@dataclass(frozen=True, slots=True, eq=False)
class Tolerance:
    """How far N entities are tolerated; columns that are replaced, never changed.

    share  float32 [N]  by how much of itself the threshold was raised when the last alarm that counts ended; 0 = not at all
    ended  float64 [N]  unix seconds of the last sample of that alarm; NaN = none so far
    """

    share: Floats32
    ended: Floats

    @classmethod
    def blank(cls, rows: int) -> Self:
        """No alarm so far."""
        return cls(np.zeros(rows, np.float32), np.full(rows, np.nan))

    def at(self, time: Floats | float) -> Floats:
        """What is left of the raise at an instant, as a share of the threshold: float64 [N].

        >>> Tolerance(np.float32([0, 0.25]), np.array([np.nan, 0])).at(HALF_SECONDS)
        array([0.   , 0.125])
        """
        with np.errstate(invalid='ignore'):
            age = np.fmax(time - self.ended, 0)  # the clock may be set back; NaN becomes 0, of a share of 0
        left: Floats = self.share * 0.5 ** (age / HALF_SECONDS)
        return left

    def raised(self, threshold: Floats32, time: float, largest_surprise: float) -> Floats32:
        """The thresholds of the entities at an instant: float32 [N], none below what is given.

        largest_surprise  that the model can give

        >>> Tolerance(np.float32([0, 0.25]), np.array([np.nan, 0])).raised(np.float32([2, 2]), 0, 8)
        array([2. , 2.5], dtype=float32)
        """
        wanted = np.minimum(threshold * (1 + self.at(time)), REACHABLE * largest_surprise)
        return np.maximum(threshold, wanted).astype(np.float32)

    def after(self, time: float, alarm: Alarm, held: Bools, step_seconds: float) -> Self:
        """The Tolerance when an instant begins, with the alarms that are over by then.

        alarm  of the samples before this instant
        held   bool [N]: a latch holds an alarm
        """
        over = ~np.isnan(alarm.last) & ~(alarm.last <= self.ended) & ~same_alarm(time - alarm.last, step_seconds) & ~held
        if not over.any():
            return self
        share = np.minimum(self.at(alarm.last) + RAISE, MOST)
        return type(self)(np.where(over, share, self.share).astype(np.float32), np.where(over, alarm.last, self.ended))
