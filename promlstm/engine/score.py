"""From surprise to a score that people can alert on: the budget, the policy of the detector, and the latch. Pure numpy.

Who calls it: detector, between the graph and the commit. What flows through: columns of N entities. It never sees a model or a clock.

    score          surprise divided by the surprise that the budget allows   1 or more = anomalous
    apply_policy   direction, minimal deviation, valid range                 0 = does not matter, 1.01 or more = outside the range
    apply_latch    a lasting shift stays an alarm until it ends or becomes the new normal level
    Alarm          when an alarm began; alarms close together count as one, as in the budget
"""

from dataclasses import dataclass, replace
from typing import Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Bools, Floats, Floats32, SmallInts

OUTSIDE_RANGE = np.float32(1.01)  # the same value as in vmanomaly
MAX_DISTANCE = 1e30  # of a sample from a band without width; still a finite float32
CALM_SAMPLES = 3  # samples in a row inside the held band that end an alarm

_Dtype = TypeVar('_Dtype', bound=np.generic)


@dataclass(frozen=True, slots=True)
class Policy:
    """Which deviations the user wants an alert for.

    min_deviation           user's unit: smaller deviations score 0
    min_relative_deviation  likewise, as a share of the expected value
    valid_range             (low, high), user's unit: a sample outside is anomalous, whatever was expected
    hold_seconds            longest time that an alarm is held; 0 = alarms are not held
    """

    direction: Literal['above', 'below', 'both'] = 'both'
    min_deviation: float = 0.0
    min_relative_deviation: float = 0.0
    valid_range: tuple[float, float] | None = None
    hold_seconds: float = 3600.0

    def matters(self, deviation: Floats, expected: Floats) -> Bools:
        """Whether each deviation counts; bool, shape of the input. NaN (a view without direction) counts.

        >>> Policy(direction='above', min_deviation=1).matters(np.array([2, 0.5, -2, np.nan]), np.zeros(4))
        array([ True, False, False,  True])
        """
        size = np.abs(deviation)
        small = (size < self.min_deviation) | (size < self.min_relative_deviation * np.abs(expected))
        if self.direction == 'both':
            return ~small
        wrong_direction = deviation < 0 if self.direction == 'above' else deviation > 0
        return ~(small | wrong_direction)

    def invalid(self, observed: Floats) -> Bools:
        """bool, shape of the input: the sample is outside the valid range; False for NaN."""
        low, high = self.valid_range or (-np.inf, np.inf)
        return (observed < low) | (observed > high)

    def outside(self, observed: Floats) -> Bools:
        """bool [N]: at least one feature is outside the valid range."""
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
    counted = np.sum(_shares(contribution) * policy.matters(deviation, expected), axis=1)
    adjusted = np.where(np.isnan(score) | (counted > 0), score, np.float32(0))  # first, since infinity times 0 would be NaN
    adjusted = (adjusted * np.where(counted > 0, np.minimum(counted, 1), 1)).astype(np.float32)
    return np.where(policy.outside(observed), np.fmax(adjusted, OUTSIDE_RANGE), adjusted)


def _shares(contribution: Floats32) -> Floats32:
    return np.where(np.isnan(contribution), np.float32(1 / contribution.shape[1]), contribution)


@dataclass(frozen=True, slots=True, eq=False)
class Latch:
    """What is remembered of an alarm while it is held; columns of N entities that are replaced, never changed.

    since     float64 [N]     unix seconds of the first sample with a score >= 1; NaN = no alarm is held
    peak      float32 [N]     highest score of this alarm
    calm      int8 [N]        samples in a row that were inside the held band
    expected, lower, upper    float64 [N, F]  the expectation from before the alarm, and its band, at whose borders the score is 1
    weight    float32 [N, F]  contribution of each feature when the alarm began
    """

    since: Floats
    peak: Floats32
    calm: SmallInts
    expected: Floats
    lower: Floats
    upper: Floats
    weight: Floats32

    @classmethod
    def blank(cls, rows: int, features: int) -> Self:
        """No alarm is held."""
        band = np.full((rows, features), np.nan)
        return cls(
            np.full(rows, np.nan),
            np.zeros(rows, np.float32),
            np.zeros(rows, np.int8),
            band,
            band,
            band,
            np.zeros((rows, features), np.float32),
        )

    @property
    def held(self) -> Bools:
        """bool [N]: an alarm is held, so the graph must judge without learning."""
        return ~np.isnan(self.since)

    def distance(self, observed: Floats, policy: Policy) -> Floats32:
        """Distance of a sample from the held expectation, 1 = at the border of the band; float32 [N], 0 = no alarm or no sample.

        Each feature counts by its contribution when the alarm began, so the features that caused the alarm must return to the band.
        """
        deviation = observed - self.expected
        width = np.where(deviation > 0, self.upper - self.expected, self.expected - self.lower)
        with np.errstate(divide='ignore', invalid='ignore'):
            distance = np.abs(deviation) / width
        ignored = np.isnan(distance) | ~policy.matters(deviation, self.expected)
        distance = np.where(ignored, 0, np.minimum(distance, MAX_DISTANCE))
        weighted: Floats = np.sum(distance * self.weight, axis=1)
        return weighted.astype(np.float32)

    def expires(self, time: float, policy: Policy, observed: Floats) -> Bools:
        """bool [N]: the hold time is over and there is a sample, which becomes the new normal level."""
        return self.held & (time - self.since >= policy.hold_seconds) & ~np.isnan(observed).all(axis=1)

    def main_feature_sampled(self, observed: Floats) -> Bools:
        """bool [N]: the feature that contributed most to the alarm has a sample, so one can see whether it returned to its band."""
        main = self.weight.argmax(axis=1)[:, None]
        return ~np.isnan(np.take_along_axis(observed, main, axis=1)[:, 0])


def apply_latch(
    latch: Latch, policy: Policy, time: float, score: Floats32, *, observed: Floats, expected: Floats, lower: Floats, upper: Floats,
    contribution: Floats32,
) -> tuple[Floats32, Latch]:  # fmt: skip
    """The score while alarms are held, and the latch after this sample.

    score    float32 [N]  after `apply_policy`; NaN = not judged
    returns  (float32 [N], Latch)

    While an alarm is held, the score is the larger of the current score and the distance from the held expectation, but the distance
    counts no more than the alarm's peak. The alarm ends after three samples inside the held band, or after the hold time. The first sample
    after the hold time is the new normal level, so its score is 0 (unless it is outside the valid range). A sample without the main feature
    of the alarm does not count as calm.
    """
    if not policy.hold_seconds:
        return score, latch
    sampled = ~np.isnan(observed).all(axis=1)
    accepted = latch.expires(time, policy, observed)
    expired = latch.held & (time - latch.since >= policy.hold_seconds)
    held = latch.held & ~expired
    distance = np.where(held, latch.distance(observed, policy), np.float32(0))
    peak = np.where(held, np.fmax(latch.peak, score), np.float32(0))
    unheld = np.where(accepted & ~policy.outside(observed), np.minimum(score, 0), score)
    scored = np.where(held & sampled, np.fmax(score, np.minimum(distance, peak)), unheld)
    calm = np.where(held & ~(scored >= 1), latch.calm + latch.main_feature_sampled(observed), 0).astype(np.int8)
    ends = expired | (held & (calm >= CALM_SAMPLES))
    begins = ~held & ~accepted & (score >= 1) & np.isfinite(upper - lower).any(axis=1)
    since = np.where(begins, time, np.where(ends, np.nan, latch.since))
    latched = replace(
        latch, since=since, peak=np.where(begins, score, peak).astype(np.float32), calm=np.where(begins, 0, calm).astype(np.int8)
    )
    if not begins.any():
        return scored, latched
    return scored, replace(
        latched, expected=_replaced(latch.expected, begins, expected), lower=_replaced(latch.lower, begins, lower),
        upper=_replaced(latch.upper, begins, upper), weight=_replaced(latch.weight, begins, _shares(contribution)),
    )  # fmt: skip


def _replaced(old: npt.NDArray[_Dtype], rows: Bools, new: npt.NDArray[_Dtype]) -> npt.NDArray[_Dtype]:
    """A column [N, F] with some rows (bool [N]) taken from another one."""
    return np.where(rows[:, None], new, old).astype(old.dtype)


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
        """The Alarm after a sample; an anomalous sample closer than `merge_seconds` to the last one belongs to the same alarm."""
        anomalous = score >= 1
        same = time - self.last < merge_seconds(step_seconds)
        return type(self)(np.where(anomalous & ~same, time, self.since), np.where(anomalous, time, self.last))


def merge_seconds(step_seconds: float) -> float:
    """Alarms of an entity that are closer than this count as one, for the budget, the calibration and a backtest.

    30 steps at a step of one minute, 12 at five minutes, 3 at an hour; between them linear in the logarithm of the step.

    >>> [float(merge_seconds(step)) for step in (10, 60, 300, 3600, 86400)]
    [300.0, 1800.0, 3600.0, 10800.0, 259200.0]
    """
    steps = np.exp(np.interp(np.log(step_seconds), np.log([60, 300, 3600]), np.log([30, 12, 3])))
    return round(float(steps), 6) * step_seconds
