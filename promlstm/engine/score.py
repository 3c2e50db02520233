"""Surprise becomes a score that people can alert on: the budget, the policy of the detector, and the latch. Pure numpy.

Who calls it: detector, between the graph and the commit. What flows through: columns of N entities. It never sees a model or a clock.

    score          surprise against the surprise that the budget allows   1 = no more often than the budget
    apply_policy   direction, minimal deviation, valid range              0 = does not matter, 1.01 or more = outside the range
    apply_latch    a lasting shift stays an alarm until it is over or has become the new normal
    Alarm          when an alarm began; alarms close together are one, as the budget counts them
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

OUTSIDE_RANGE = np.float32(1.01)  # vmanomaly's value, so that its users find what they know
FARTHEST = 1e30  # distance from a band without width; float32 still holds it
CALM_SAMPLES = 3  # samples inside the held band that end an alarm


@dataclass(frozen=True, slots=True)
class Policy:
    """What of a detector's surprises matters to its owner.

    min_deviation           user's unit: smaller ones score 0
    min_relative_deviation  share of what was expected, likewise
    valid_range             (low, high), user's unit: a sample outside is anomalous whatever was expected
    hold_seconds            longest time that an alarm is held; 0 = never
    """

    direction: Literal['above', 'below', 'both'] = 'both'
    min_deviation: float = 0.0
    min_relative_deviation: float = 0.0
    valid_range: tuple[float, float] | None = None
    hold_seconds: float = 3600.0

    def matters(self, deviation, expected):
        """Where a deviation is of a kind that counts; bool, shape of the input. NaN (a view without direction) counts.

        >>> Policy(direction='above', min_deviation=1).matters(np.array([2, 0.5, -2, np.nan]), np.zeros(4))
        array([ True, False, False,  True])
        """
        size = np.abs(deviation)
        small = (size < self.min_deviation) | (size < self.min_relative_deviation * np.abs(expected))
        wrong = {'above': deviation < 0, 'below': deviation > 0, 'both': False}[self.direction]
        return ~(small | wrong)

    def invalid(self, observed):
        """bool, shape of the input: the sample is outside the valid range; False for NaN."""
        low, high = self.valid_range or (-np.inf, np.inf)
        return (observed < low) | (observed > high)

    def outside(self, observed):
        """bool [N]: a feature is outside the valid range."""
        return self.invalid(observed).any(axis=1)


def score(surprise, threshold):
    """Anomaly score of each sample: its surprise against the one that the false-alarm budget allows.

    surprise   float32 [N]  robust units, >= 0; NaN = not judged
    threshold  float32 [N]  the surprise that the calibration gives for the budget, > 0
    returns    float32 [N]  >= 1 = anomalous; NaN where surprise is NaN

    >>> score(np.float32([0, 2.4, 4.8]), np.float32(2.4))
    array([0., 1., 2.], dtype=float32)
    """
    return (surprise / threshold).astype(np.float32)


def apply_policy(score, policy, *, observed, expected, deviation, contribution):
    """The score after the owner's policy: only the share of it that lies in deviations that matter, and the valid range.

    score                          float32 [N]     NaN = not judged
    observed, expected, deviation  float64 [N, F]  contribution  float32 [N, F], NaN = all shares alike
    returns                        float32 [N]     at least 1.01 where a feature is outside the range, warm or not

    >>> apply_policy(np.float32([3]), Policy(direction='below'), observed=np.array([[5.]]), expected=np.array([[1.]]),
    ...      deviation=np.array([[4.]]), contribution=np.float32([[1]]))
    array([0.], dtype=float32)
    """
    counted = np.sum(_shares(contribution) * policy.matters(deviation, expected), axis=1)
    adjusted = np.where(np.isnan(score) | (counted > 0), score, 0)  # an infinite score times nothing would be no number
    adjusted = (adjusted * np.where(counted > 0, np.minimum(counted, 1), 1)).astype(np.float32)
    return np.where(policy.outside(observed), np.fmax(adjusted, OUTSIDE_RANGE), adjusted)


def _shares(contribution):
    return np.where(np.isnan(contribution), np.float32(1 / contribution.shape[1]), contribution)


@dataclass(frozen=True, slots=True, eq=False)
class Latch:
    """What is remembered of an alarm while it lasts; columns of N entities, replaced whole, never changed.

    since     float64 [N]     unix seconds of the first sample with a score >= 1; NaN = no alarm is held
    peak      float32 [N]     highest score of this alarm
    calm      int8 [N]        samples in a row that were inside the held band
    expected, lower, upper    float64 [N, F]  the expectation from before the alarm and the border of score 1
    weight    float32 [N, F]  share of each feature when it began
    """

    since: np.ndarray
    peak: np.ndarray
    calm: np.ndarray
    expected: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray

    @classmethod
    def blank(cls, rows, features):
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
    def held(self):
        """bool [N]: an alarm is held, so the graph must judge without learning."""
        return ~np.isnan(self.since)

    def distance(self, observed, policy):
        """How far a sample is from the held expectation, 1 = at the border of its band; float32 [N], 0 = no alarm or no sample.

        The features count as much as they had contributed when the alarm began: those to blame must come back.
        """
        deviation = observed - self.expected
        room = np.where(deviation > 0, self.upper - self.expected, self.expected - self.lower)
        with np.errstate(divide='ignore', invalid='ignore'):
            far = np.abs(deviation) / room
        far = np.where(np.isnan(far) | ~policy.matters(deviation, self.expected), 0, np.minimum(far, FARTHEST))
        return np.sum(far * self.weight, axis=1).astype(np.float32)

    def expires(self, time, policy, observed):
        """bool [N]: the hold time is over with this sample, which is taken for the new normal."""
        return self.held & (time - self.since >= policy.hold_seconds) & ~np.isnan(observed).all(axis=1)

    def culprit_sampled(self, observed):
        """bool [N]: the feature that had contributed most has a sample, so that it can be seen whether it came back."""
        return ~np.isnan(np.take_along_axis(observed, self.weight.argmax(axis=1)[:, None], axis=1)[:, 0])


def apply_latch(latch, policy, time, score, *, observed, expected, lower, upper, contribution):
    """The score while alarms are held, and the latch after this sample.

    score    float32 [N]  after `apply_policy`; NaN = not judged
    returns  (float32 [N], Latch)

    While an alarm is held the score is the larger of the current one and the distance from the held expectation, the latter
    no higher than the alarm's peak. It ends after three samples inside the held band, or after the hold time: the sample that
    comes then is the new normal, so its score is 0 (unless it is outside the valid range). A sample without the feature to
    blame neither ends it nor prolongs it.
    """
    if not policy.hold_seconds:
        return score, latch
    sampled = ~np.isnan(observed).all(axis=1)
    accepted = latch.expires(time, policy, observed)
    expired = latch.held & (time - latch.since >= policy.hold_seconds)
    held = latch.held & ~expired
    distance = np.where(held, latch.distance(observed, policy), np.float32(0))
    peak = np.where(held, np.fmax(latch.peak, score), np.float32(0))
    scored = np.where(
        held & sampled, np.fmax(score, np.minimum(distance, peak)), np.where(accepted & ~policy.outside(observed), np.minimum(score, 0), score)
    )
    calm = np.where(held & ~(scored >= 1), latch.calm + latch.culprit_sampled(observed), 0).astype(np.int8)
    over = expired | (held & (calm >= CALM_SAMPLES))
    begins = ~held & ~accepted & (score >= 1) & np.isfinite(upper - lower).any(axis=1)
    since = np.where(begins, time, np.where(over, np.nan, latch.since))
    latched = replace(
        latch, since=since, peak=np.where(begins, score, peak).astype(np.float32), calm=np.where(begins, 0, calm).astype(np.int8)
    )
    if not begins.any():
        return scored, latched
    begun = begins[:, None]
    choose = lambda new, old: np.where(begun, new, old).astype(old.dtype)  # noqa: E731 (one row per column below)
    return scored, replace(
        latched, expected=choose(expected, latch.expected), lower=choose(lower, latch.lower), upper=choose(upper, latch.upper),
        weight=choose(_shares(contribution), latch.weight),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Alarm:
    """When the alarms of N entities began, columns replaced whole: what is told of them and counted, whether a latch holds them or not.

    since  float64 [N]  unix seconds of the first sample of the last alarm; NaN = there was none
    last   float64 [N]  of its last sample with a score of 1 or more
    """

    since: np.ndarray
    last: np.ndarray

    @classmethod
    def blank(cls, rows):
        """There was none."""
        return cls(np.full(rows, np.nan), np.full(rows, np.nan))

    def after(self, time, score, step_seconds):
        """The Alarm after a sample; one that is closer than `merge_seconds` to the last is the same."""
        over = score >= 1
        same = time - self.last < merge_seconds(step_seconds)
        return Alarm(np.where(over & ~same, time, self.since), np.where(over, time, self.last))


def merge_seconds(step_seconds):
    """Alarms of an entity closer than this are one: what the budget counts, what a calibration counted, what a backtest lists.

    30 steps at a minute, 12 at five, 3 at an hour (the measures' own merge), between them linear in the logarithm of the step.

    >>> [float(merge_seconds(step)) for step in (10, 60, 300, 3600, 86400)]
    [300.0, 1800.0, 3600.0, 10800.0, 259200.0]
    """
    steps = np.exp(np.interp(np.log(step_seconds), np.log([60, 300, 3600]), np.log([30, 12, 3])))
    return round(float(steps), 6) * step_seconds
