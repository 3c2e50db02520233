"""The latch: a lasting shift stays an alarm until it ends or becomes the new normal level. Pure numpy.

Who calls it: advance, after `apply_policy`. What flows through: columns of N entities. It never sees a model or a clock.

A forecaster follows a shift within the longest of its horizons, although it judges without learning. So while an alarm is held, a sample is
judged by the expectation from before the alarm, and that expectation with its band is what the gauges show.
"""

from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Bools, Floats, Floats32, Ints, SmallInts, Tensors
from promlstm.engine.score import Policy, shares

MAX_DISTANCE = 1e30  # of a sample from a band without width; still a finite float32
CALM_SAMPLES = 3  # samples in a row inside the held band that end an alarm
RETURN_SECONDS = 86400.0  # after a shift has become the new normal level, the way back is no alarm for this long
MOST_WIDTHS = 100.0  # of a feature's distance, for its blame: beyond, farther says no more
NEAR = 0.5  # of the band, or of the deviation from what the model expects: a sample closer to the held expectation is on the way back
ANY_DEVIATION = Policy()

_Dtype = TypeVar('_Dtype', bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Latch:
    """What is remembered of an alarm while it is held; columns of N entities that are replaced, never changed.

    A shift in the direction that the policy excludes is held as well, with peak 0: it scores 0. Without that the model would learn the new
    level, and the way back would be a deviation in the direction that the user asked for.

    since     float64 [N]     unix seconds of the first sample of what is held; NaN = nothing is held
    until     float64 [N]     unix seconds until which the band of the last alarm says what is normal; NaN = there is no such band
    peak      float32 [N]     highest score of this alarm; 0 = an excluded shift
    calm      int8 [N]        samples in a row that were inside the held band
    expected, lower, upper    float64 [N, F]  the expectation from before, and its band before the policy, at whose borders the score is 1
    weight    float32 [N, F]  contribution of each feature when it began
    view      float32 [N, V]  share of each view when it began
    farthest, strongest       float32 [N, F]  since it began, of each feature: its largest distance from the held expectation, 1 = at the border of
                              its band, and its largest part of a score; no columns where there is one feature
    """

    since: Floats
    until: Floats
    peak: Floats32
    calm: SmallInts
    expected: Floats
    lower: Floats
    upper: Floats
    weight: Floats32
    view: Floats32
    farthest: Floats32
    strongest: Floats32

    @classmethod
    def blank(cls, rows: int, features: int, views: int = 0) -> Self:
        """Nothing is held."""
        never, band = np.full(rows, np.nan), np.full((rows, features), np.nan)
        nothing = np.zeros((rows, features if features > 1 else 0), np.float32)
        return cls(
            since=never, until=never, peak=np.zeros(rows, np.float32), calm=np.zeros(rows, np.int8), expected=band, lower=band, upper=band,
            weight=np.zeros((rows, features), np.float32), view=np.zeros((rows, views), np.float32), farthest=nothing, strongest=nothing,
        )  # fmt: skip

    @property
    def held(self) -> Bools:
        """bool [N]: something is held, so the graph must judge without learning."""
        return ~np.isnan(self.since)

    @property
    def alarms(self) -> Bools:
        """bool [N]: an alarm is held, and not opened yet."""
        return np.isfinite(self.since) & (self.peak > 0)

    def opened(self, rows: Ints) -> Self:
        """The same as if the hold time of some rows (int [n]) were over: their next sample becomes the new normal level."""
        since = self.since.copy()
        since[rows] = np.where(np.isnan(since[rows]), np.nan, -np.inf)
        return replace(self, since=since)

    def holds(self, time: float, policy: Policy) -> Bools:
        """bool [N]: something is held, and the hold time is not over at this time."""
        return self.held & (time - self.since < policy.hold_seconds)

    def expires(self, time: float, policy: Policy, observed: Floats) -> Bools:
        """bool [N]: the hold time is over and there is a sample, which becomes the new normal level."""
        over = self.held & ~self.holds(time, policy)
        return over & ~np.isnan(observed).all(axis=1) if over.any() else over

    def distance(self, observed: Floats, policy: Policy) -> Floats32:
        """Distance of a sample from the held expectation, 1 = at the border of the band; float32 [N], 0 = nothing held or no sample.

        Each feature counts by its contribution when the alarm began, so the features that caused the alarm must return to the band.
        """
        distance = self._distances(observed, policy)
        weighted: Floats = np.sum(np.where(np.isnan(distance), 0, distance) * self.weight, axis=1)
        return weighted.astype(np.float32)

    def _distances(self, observed: Floats, policy: Policy) -> Floats:
        """Distance of each feature from its held expectation, float64 [N, F]: 0 = it does not matter, NaN = no sample, or no band."""
        distance = np.minimum(distances(observed, self.expected, self.lower, self.upper), MAX_DISTANCE)
        return np.where(policy.matters(observed - self.expected, self.expected), distance, 0)

    def blaming(self, before: Self, begins: Bools, policy: Policy, observed: Floats, raw: Floats32, contribution: Floats32) -> Self:
        """The same, with what a sample adds to the blame of each feature.

        before  the latch before the sample; begins  bool [N]: an alarm begins with it
        """
        if not self.farthest.shape[1] or not self.held.any():
            return self
        distance = blamed_distances(observed, self._distances(observed, policy))
        part = shares(contribution) * np.nan_to_num(raw)[:, None]
        farthest, strongest = (
            np.where(begins[:, None], new, np.where(self.held[:, None], np.fmax(old, new), old)).astype(np.float32)
            for old, new in ((before.farthest, distance), (before.strongest, part))
        )
        return replace(self, farthest=farthest, strongest=strongest)

    def blame(self) -> Floats32:
        """Share of each feature in what is held, float32 [N, F]; rows sum to 1."""
        return blame(self.farthest, self.strongest, self.weight) if self.farthest.shape[1] else self.weight

    def nearer(self, observed: Floats, deviation: Floats) -> Bools:
        """bool [N]: the sample is near the held expectation, by its band or by what the model expects: on the way back, not somewhere else.

        To be inside the band is not enough. It is the border for a single sample, and may be wide enough to hide the next incident.

        deviation  float64 [N, F]  from what the model expects; NaN (a view without direction) counts as far
        """
        main = self.weight.argmax(axis=1)[:, None]
        held, model = (np.abs(np.take_along_axis(each, main, axis=1)[:, 0]) for each in (observed - self.expected, deviation))
        return ~(held > NEAR * model) | (self.distance(observed, ANY_DEVIATION) < NEAR)

    def returned(self, time: float, observed: Floats, deviation: Floats) -> Bools:
        """bool [N]: nothing is held, and the sample is back inside the band of the last alarm while that band says what is normal."""
        known = ~self.held & (time < self.until)
        if not known.any():
            return known
        return known & self.main_feature_sampled(observed) & (self.distance(observed, ANY_DEVIATION) < 1) & self.nearer(observed, deviation)

    def explained(self, time: float, policy: Policy, observed: Floats, by_latch: Bools, model: Tensors, blame: Floats32) -> Tensors:
        """The columns that explain the score: those of the latch where it judged (bool [N]), else those of the model.

        model    expected, lower, upper, usual_lower, usual_upper, deviation, contribution, view: {name: column} as the graph gave them;
                 what differs is written into them
        blame    float32 [N, F] of the latch after the sample: the contribution where it judged
        returns  the same names; lower and upper are the border of score 1 after the policy, the usual range is moved to what is held;
                 NaN where a sample became the new normal level
        """
        rows = np.flatnonzero(by_latch)
        if len(rows):
            held = self.expected[rows]
            for name in ('usual_lower', 'usual_upper'):
                model[name][rows] = held + (model[name][rows] - model['expected'][rows])
            of_latch = {'expected': held, 'lower': self.lower[rows], 'upper': self.upper[rows], 'deviation': observed[rows] - held}
            for name, column in (of_latch | {'contribution': blame[rows], 'view': self.view[rows]}).items():
                model[name][rows] = column
        accepted = self.expires(time, policy, observed) & ~policy.outside(observed)
        for name in ('expected', 'lower', 'upper', 'usual_lower', 'usual_upper', 'deviation') if accepted.any() else ():
            model[name][accepted] = np.nan
        lower, upper = policy.band(model['expected'], model['lower'], model['upper'])
        return model | {'lower': lower, 'upper': upper}

    def main_feature_sampled(self, observed: Floats) -> Bools:
        """bool [N]: the feature that contributed most to the alarm has a sample, so one can see whether it returned to its band."""
        main = self.weight.argmax(axis=1)[:, None]
        return ~np.isnan(np.take_along_axis(observed, main, axis=1)[:, 0])


def apply_latch(
    latch: Latch, policy: Policy, time: float, score: Floats32, *, raw: Floats32, observed: Floats, expected: Floats, lower: Floats, upper: Floats,
    deviation: Floats, contribution: Floats32, view: Floats32,
) -> tuple[Floats32, Latch, Bools]:  # fmt: skip
    """The score while alarms are held, the latch after this sample, and which rows were judged by the latch instead of the model.

    score    float32 [N]  after `apply_policy`; NaN = not judged
    raw      float32 [N]  before it
    returns  (float32 [N], Latch, bool [N])

    Outside the held band, the score is the larger of the current score and the distance from the held expectation; the distance counts no
    more than the alarm's peak. Inside the band and near the held expectation, the score is below 1, whatever the model says; elsewhere in the
    band the model judges. The alarm ends after three samples inside the band with a score below 1, or after the hold time. The first sample
    after the hold time is the new normal level, so its score is 0 (unless it is outside the valid range). A sample without the main feature
    of the alarm does not count as calm.

    After an alarm, a sample near the expectation from before it scores 0: for `policy.settle_seconds`, in which the model still remembers the
    incident, or for a day where the hold time ended the alarm. So the way back is no alarm of its own.
    """
    if not policy.hold_seconds:
        return score, latch, np.zeros(len(score), np.bool_)
    sampled, outside = ~np.isnan(observed).all(axis=1), policy.outside(observed)
    held, accepted, returned = latch.holds(time, policy), latch.expires(time, policy, observed), latch.returned(time, observed, deviation)
    if not ((raw >= 1) | (score >= 1) | latch.held | returned | (latch.calm > 0)).any():  # as at nearly all steps of few entities
        return score.astype(np.float32), latch, returned
    excluded = held & (latch.peak == 0)

    distance = np.where(held, latch.distance(observed, policy), np.float32(0)) if held.any() else np.zeros(len(score), np.float32)
    peak = np.where(held & (distance >= 1), np.fmax(latch.peak, score), latch.peak)
    beyond = np.where(excluded, score, np.fmax(score, np.minimum(distance, peak)))
    within = np.where(excluded, np.fmin(score, distance), distance)
    away = latch.distance(observed, ANY_DEVIATION) >= 1 if held.any() else held  # outside the held band, in whichever direction
    by_held = held & sampled & (away | latch.nearer(observed, deviation)) if held.any() else held
    scored = np.where(by_held, np.where(distance >= 1, beyond, np.where(outside, score, within)), score)
    scored = np.where((accepted | returned) & ~outside, np.minimum(scored, 0), scored).astype(np.float32)

    alarming = scored >= 1
    hidden = (raw >= 1) & (np.sum(shares(contribution) * policy.excluded(deviation, expected), axis=1) >= 0.5) & ~returned
    begins = ~held & ~accepted & (alarming | hidden) & np.isfinite(upper - lower).any(axis=1)
    raised = alarming & (begins | excluded)
    calm = np.where(held & ~alarming & ~(excluded & away), latch.calm + latch.main_feature_sampled(observed), 0).astype(np.int8)
    expired = latch.held & ~held
    ends = expired | (held & (calm >= CALM_SAMPLES))
    until = np.where(accepted, time + RETURN_SECONDS, np.where(ends, time + policy.settle_seconds, latch.until))
    until = np.where(returned & (raw >= 1), np.fmax(until, time + policy.settle_seconds), until)  # the model still remembers the incident
    after = replace(
        latch,
        since=np.where(begins | raised, time, np.where(ends, np.nan, latch.since)),
        until=np.where(begins, np.nan, until),
        peak=np.where(raised, scored, np.where(begins | excluded, 0, peak)).astype(np.float32),
        calm=np.where(begins | raised, 0, calm).astype(np.int8),
    )
    by_latch = by_held | (returned & (score >= 1))
    if not begins.any():
        return scored, after.blaming(latch, begins, policy, observed, raw, contribution), by_latch
    after = replace(
        after, expected=_replaced(latch.expected, begins, expected), lower=_replaced(latch.lower, begins, lower),
        upper=_replaced(latch.upper, begins, upper), weight=_replaced(latch.weight, begins, shares(contribution)),
        view=_replaced(latch.view, begins, view),
    )  # fmt: skip
    return scored, after.blaming(latch, begins, policy, observed, raw, contribution), by_latch


def distances(observed: Floats, expected: Floats, lower: Floats, upper: Floats) -> Floats:
    """How far samples are from what is expected, 1 = at the border of the band; arrays of one shape, NaN = no sample, or no band."""
    deviation = observed - expected
    with np.errstate(divide='ignore', invalid='ignore'):
        distance: Floats = np.abs(deviation) / np.where(deviation > 0, upper - expected, expected - lower)
    return distance


def blamed_distances(observed: Floats, distance: Floats) -> Floats:
    """The distances that count for the blame, MOST_WIDTHS at most: 0 without a sample; 1 where the view of the feature has no band."""
    return np.where(np.isnan(observed), 0, np.where(np.isnan(distance), 1, np.minimum(distance, MOST_WIDTHS)))


def blame(farthest: npt.NDArray[np.floating], strongest: npt.NDArray[np.floating], otherwise: Floats32) -> Floats32:
    """Share of each feature in an alarm, float32 [N, F]; rows sum to 1.

    farthest   float [N, F]    its largest distance from what was expected before, 1 = at the border of its band
    strongest  float [N, F]    its largest part of a surprise
    otherwise  float32 [N, F]  where nothing is known of them

    The product: how far says which features are odd still, the surprise says which began it. A feature that drifts as it does every day gets far
    from what was expected hours ago without surprise, and one wild sample surprises without going far.
    """
    both = farthest * strongest
    total = both.sum(axis=1, keepdims=True)
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.where(total > 0, both / total, otherwise).astype(np.float32)


def _replaced(old: npt.NDArray[_Dtype], rows: Bools, new: npt.NDArray[_Dtype]) -> npt.NDArray[_Dtype]:
    """A column [N, …] with some rows (bool [N]) taken from another one."""
    return np.where(rows[:, None], new, old).astype(old.dtype)
