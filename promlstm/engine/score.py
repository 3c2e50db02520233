"""From surprise to a score that people can alert on: the budget and the policy of the detector. Pure numpy.

Who calls it: advance, after the graph. What flows through: columns of N entities. It never sees a model or a clock.

    score          surprise divided by the surprise that the budget allows   1 or more = anomalous
    apply_policy   direction, minimal deviation, valid range                 0 = does not matter, 1.01 or more = outside the range
    Alarm          when an alarm began; alarms close together count as one, as in the budget
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Self

import numpy as np

from promlstm.engine.columns import Bools, Floats, Floats32

OUTSIDE_RANGE = np.float32(1.01)  # the same value as in vmanomaly


@dataclass(frozen=True, slots=True)
class Policy:
    """Which of a detector's deviations count.

    min_deviation           user's unit: smaller deviations score 0
    min_relative_deviation  share of the expected value, likewise
    valid_range             (low, high), user's unit: a sample outside is anomalous, whatever was expected, and the model does not learn from it
    hold_seconds            longest time that an alarm is held; 0 = never
    settle_seconds          for how long after an alarm a sample inside its band is normal: longer than the model looks back
    """

    direction: Literal['above', 'below', 'both'] = 'both'
    min_deviation: float = 0.0
    min_relative_deviation: float = 0.0
    valid_range: tuple[float, float] | None = None
    hold_seconds: float = 3600.0
    settle_seconds: float = 1200.0

    def matters(self, deviation: Floats, expected: Floats) -> Bools:
        """Where a deviation counts; bool, shape of the input. NaN (a view without direction) counts.

        >>> Policy(direction='above', min_deviation=1).matters(np.array([2, 0.5, -2, np.nan]), np.zeros(4))
        array([ True, False, False,  True])
        """
        return ~(self._small(deviation, expected) | self._opposite(deviation))

    def excluded(self, deviation: Floats, expected: Floats) -> Bools:
        """Where a deviation is large enough and only the direction keeps it from counting; bool, shape of the input.

        >>> Policy(direction='above', min_deviation=1).excluded(np.array([2, -0.5, -2, np.nan]), np.zeros(4))
        array([False, False,  True, False])
        """
        return self._opposite(deviation) & ~self._small(deviation, expected)

    def _small(self, deviation: Floats, expected: Floats) -> Bools:
        size = np.abs(deviation)
        return (size < self.min_deviation) | (size < self.min_relative_deviation * np.abs(expected))

    def _opposite(self, deviation: Floats) -> Bools:
        if self.direction == 'both':
            return np.zeros(deviation.shape, np.bool_)
        return deviation < 0 if self.direction == 'above' else deviation > 0

    def band(self, expected: Floats, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
        """The border of score 1 after the policy: (lower, upper), shape of the input; a side that cannot alarm is infinite.

        >>> Policy(direction='above', min_deviation=5, valid_range=(0, 100)).band(np.array([50., 97.]), np.array([48., 95.]), np.array([52., 99.]))
        (array([0., 0.]), array([ 55., 100.]))
        """
        least: Floats = np.fmax(self.min_deviation, self.min_relative_deviation * np.abs(expected))
        lower, upper = np.minimum(lower, expected - least), np.maximum(upper, expected + least)
        if self.direction == 'above':
            lower = np.where(np.isnan(lower), lower, -np.inf)
        if self.direction == 'below':
            upper = np.where(np.isnan(upper), upper, np.inf)
        low, high = self.valid_range or (np.nan, np.nan)
        return np.fmax(lower, low), np.fmin(upper, high)

    def invalid(self, observed: Floats) -> Bools:
        """bool, shape of the input: the sample is outside the valid range; False for NaN."""
        if self.valid_range is None:
            return np.zeros(observed.shape, np.bool_)
        low, high = self.valid_range
        return (observed < low) | (observed > high)

    def outside(self, observed: Floats) -> Bools:
        """bool [N]: a feature is outside the valid range."""
        outside: Bools = np.any(self.invalid(observed), axis=1)
        return outside


def score(surprise: Floats32, threshold: Floats32) -> Floats32:
    """Anomaly score of each sample: its surprise divided by the surprise that the false-alarm budget allows.

    surprise   float32 [N]  robust units, >= 0; NaN = not judged
    threshold  float32 [N]  the surprise that the calibration gives for the budget, > 0
    returns    float32 [N]  >= 1 = anomalous; NaN where surprise is NaN

    >>> score(np.float32([0, 2.4, 4.8]), np.float32(2.4))
    array([0., 1., 2.], dtype=float32)
    """
    return (surprise / threshold).astype(np.float32)


def apply_policy(
    score: Floats32, policy: Policy, *, observed: Floats, expected: Floats, deviation: Floats, contribution: Floats32
) -> Floats32:
    """The score after the policy: only the share of the features whose deviation matters counts, and the valid range holds.

    score                          float32 [N]     NaN = not judged
    observed, expected, deviation  float64 [N, F]
    contribution                   float32 [N, F]  NaN = equal shares
    returns                        float32 [N]     at least 1.01 where a feature is outside the range, even while warming up

    >>> apply_policy(np.float32([3]), Policy(direction='below'), observed=np.array([[5.]]), expected=np.array([[1.]]),
    ...      deviation=np.array([[4.]]), contribution=np.float32([[1]]))
    array([0.], dtype=float32)
    """
    counted = np.sum(shares(contribution) * policy.matters(deviation, expected), axis=1)
    adjusted = np.where(np.isnan(score) | (counted > 0), score, np.float32(0))  # first, since infinity times 0 would be NaN
    adjusted = (adjusted * np.where(counted > 0, np.minimum(counted, 1), 1)).astype(np.float32)
    return np.where(policy.outside(observed), np.fmax(adjusted, OUTSIDE_RANGE), adjusted)


def shares(contribution: Floats32) -> Floats32:
    """Contributions float32 [N, F], equal ones where they are NaN."""
    return np.where(np.isnan(contribution), np.float32(1 / contribution.shape[1]), contribution)


@dataclass(frozen=True, slots=True, eq=False)
class Alarm:
    """When the last alarm of each of N entities began, whether a latch holds it or not; columns that are replaced, never changed.

    since  float64 [N]  unix seconds of the first sample of the last alarm; NaN = no alarm so far
    last   float64 [N]  unix seconds of its last sample with a score of 1 or more
    """

    since: Floats
    last: Floats

    @classmethod
    def blank(cls, rows: int) -> Self:
        """No alarm so far."""
        return cls(np.full(rows, np.nan), np.full(rows, np.nan))

    def after(self, time: float, score: Floats32, step_seconds: float) -> Self:
        """The Alarm after a sample."""
        anomalous = score >= 1
        same = same_alarm(time - self.last, step_seconds)
        return type(self)(np.where(anomalous & ~same, time, self.since), np.where(anomalous, time, self.last))


def same_alarm(gap_seconds: Floats, step_seconds: float) -> Bools:
    """Whether anomalous samples so far apart are of one alarm: as calibration counts them, from the end of the step of the first one.

    gap_seconds  float64 [N], NaN = there is no earlier one
    returns      bool [N]

    >>> same_alarm(60.0 * np.array([1, 31, 32, np.nan]), step_seconds=60)
    array([ True,  True, False, False])
    """
    return gap_seconds - step_seconds <= merge_seconds(step_seconds)


@lru_cache(maxsize=64)
def merge_seconds(step_seconds: float) -> float:
    """Alarms of an entity that are no further apart than this count as one, for the budget, the calibration and a backtest.

    30 steps at a step of one minute, 12 at five minutes, 3 at an hour; between them linear in the logarithm of the step.

    >>> [float(merge_seconds(step)) for step in (10, 60, 300, 3600, 86400)]
    [300.0, 1800.0, 3600.0, 10800.0, 259200.0]
    """
    steps = np.exp(np.interp(np.log(step_seconds), np.log([60, 300, 3600]), np.log([30, 12, 3])))
    return round(float(steps), 6) * step_seconds
