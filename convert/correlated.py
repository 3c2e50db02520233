"""How often an entity of several features alarms, for the alarms that each of its features makes.

The features of a server or a service share causes: a restart, a deployment, a peak of requests. So they are neither independent nor one
and the same, and the surprises of several meet more often than those of series taken from anywhere. What is measured on recorded entities is
a Law: the alarms of an entity against the alarms of one of its features, at the same surprise. It depends neither on the unit of the surprise nor
on the step, so it is used where only single series were recorded.

    laws = measure(groups, (1, 4, 9, 20, 40), merge=12, step_seconds=300, seed=0)
    laws[3].alarms(rates)

Features that share nothing alarm as `made` puts them together out of single series: of those that are seldom surprised, but then much, one is
enough to alarm. Whoever has both takes the larger number of alarms.

Who calls it: calibrate. Pure.
"""

from typing import NamedTuple

import numpy as np

from convert.evaluation import measures
from convert.families import daytime, ensemble, forecaster

HIGHEST_PER_WEEK = 25.0     # of an entity: where the tables of a calibration begin
LEAST = 5                   # alarms of the recorded entities at the rarest rate that is measured
MADE = 16                   # entities made of each recorded one
RATES = 24                  # at which alarms are counted
FITTED = 4                  # of them a law needs


class Law(NamedTuple):
    """Alarms of an entity = many · rate ** power, `rate` being those of one feature; both per week.

    lowest  the rarest rate that was measured: below it the entity's alarms fall as those of its features do
    """

    features: int
    many: float
    power: float
    lowest: float

    def alarms(self, rate):
        """Alarms of the entity in a week; float64 like `rate`. No more than those of all its features, since an alarm needs one that is as surprising.

        >>> law = Law(features=20, many=2.0, power=1.5, lowest=0.25)
        >>> law.alarms(np.array([4.0, 1.0, 0.25, 0.025])).round(3)
        array([16.   ,  2.   ,  0.25 ,  0.025])
        """
        rate = np.asarray(rate, float)
        measured = np.maximum(rate, self.lowest)
        return np.minimum(self.many * measured**self.power, self.features * measured) * (rate / measured)


# Of builtin:default on ASD, 6 applications of 19 metrics at five minutes: for calibrations without recorded entities of several features. The second is
# of graphs whose surprises last, the first was measured with such a file before they did.
TYPICAL = (Law(1, 1.0, 1.0, 0.0), Law(4, 3.21, 0.845, 0.17), Law(9, 2.05, 1.21, 0.39), Law(20, 2.06, 1.37, 0.33), Law(40, 4.49, 1.38, 0.18))
LASTING = (Law(1, 1.0, 1.0, 0.0), Law(4, 3.21, 0.845, 0.17), Law(9, 2.80, 1.26, 0.23), Law(20, 2.91, 1.71, 0.41), Law(40, 6.55, 1.50, 0.18))


def typical(features, lasts=False):
    """The Law of so many features where none was measured: that of the next larger number in TYPICAL, or of the largest; lasts as of `fused`."""
    laws = LASTING if lasts else TYPICAL
    law = next((each for each in laws if each.features >= features), laws[-1])
    return law._replace(features=features)


def measure(groups, features, *, merge, step_seconds, seed, lasts=False):
    """A Law for each number of features.

    groups    [float32 [T, F]]  surprises of the features of real entities; NaN = not judged, or not known to be healthy
    features  of the entities that are wanted
    merge     steps within which alarms are one
    lasts     as of `fused`
    """
    groups = [inner(group) for group in groups]
    single = [group[:, n] for group in groups for n in range(group.shape[1])]
    weeks = sum(np.count_nonzero(~np.isnan(group).all(1)) for group in groups) * step_seconds / (7 * measures.DAY)
    out = []
    for wanted in features:
        entities = list(made(groups, wanted, step_seconds=step_seconds, seed=seed, times=MADE, lasts=lasts)) if wanted > 1 else []
        thresholds = _thresholds(entities)
        rates, alarms = (per_week(each, thresholds, merge=merge, step_seconds=step_seconds) for each in (single, entities))
        usable = (alarms * weeks >= LEAST) & (alarms <= HIGHEST_PER_WEEK) & (rates > 0)
        out.append(_fitted(wanted, rates[usable], alarms[usable]) if np.count_nonzero(usable) >= FITTED else typical(wanted, lasts))
    return tuple(out)


def _fitted(features, rates, alarms):
    if not np.ptp(rates):
        return Law(features, float((alarms / rates).mean()), 1.0, float(rates.min()))
    power, many = np.polyfit(np.log(rates), np.log(alarms), 1, w=np.sqrt(alarms))
    return Law(features, float(np.exp(many)), float(power), float(rates.min()))


def fused(scores, lasts=False):
    """The surprise of one entity out of those of its features, as the graph combines them: [T, F] -> [T]; NaN = calm, all NaN = not judged.

    lasts  what is beyond an ordinary surprise lasts, as in ensemble.together

    >>> fused(np.float32([[1, 2, 6], [np.nan, 1, 0], [np.nan, np.nan, np.nan]]))
    array([ 6.,  1., nan], dtype=float32)
    >>> fused(np.float32([[0, 0, 0, 0, 4], [0, 0, 0, 0, 0], [4, 0, 0, 0, 0]]), lasts=True).round(2)
    array([2.8 , 2.73, 3.87], dtype=float32)
    """
    calm = np.nan_to_num(scores)
    if lasts and scores.shape[1] >= forecaster.MANY[0]:
        beyond = _largest(np.where(np.isnan(scores), 0, _lasting(calm - daytime.ORDINARY)))
        out = beyond + np.minimum(_largest(np.minimum(calm, daytime.ORDINARY)) + 2 * beyond, daytime.ORDINARY)
    else:
        out = _largest(calm)
    out[np.isnan(scores).all(1)] = np.nan
    return out.astype(np.float32)


def _largest(scores):
    """The mean of the largest one, two or three: [T, F] -> [T]."""
    features = scores.shape[1]
    top = 1 + sum(features >= many for many in forecaster.MANY)
    return np.partition(scores, features - top, axis=1)[:, features - top :].mean(1)


def _lasting(excess):
    """The largest excess so far, each halved as often as ensemble.LASTING steps went by, and 0 where there was none; [T, F]."""
    halved = np.arange(len(excess))[:, None] / ensemble.LASTING
    with np.errstate(divide='ignore'):
        logs = np.log2(np.maximum(excess, 0.0, dtype=float))
    return np.exp2(np.maximum.accumulate(logs + halved) - halved)


def made(groups, features, *, step_seconds, seed, times=1, lasts=False):
    """Surprises [T] of entities of so many features, so many times for each group.

    A group that has more features lends some of them. Of one that has fewer, others make up the number: they are moved by whole days against
    it, so that they share the time of day and no cause. Each lasts as long as its first group.

    groups  [float32 [T, F]] without rows at the ends that were not judged (`inner`)
    lasts   as of `fused`
    """
    rng, day = np.random.default_rng([seed, features]), max(1, round(measures.DAY / step_seconds))
    groups = [group for group in groups if len(group)]
    for number, group in enumerate(groups):
        others = [each for n, each in enumerate(groups) if n != number] or [group]
        for _ in range(times):
            columns, more = [_some(group, features, rng)], features - group.shape[1]
            while more > 0:
                other = _some(others[rng.integers(len(others))], more, rng)
                days = len(other) // day
                other = np.roll(other, day * rng.integers(1, days) if days > 1 else rng.integers(len(other)), axis=0)
                columns.append(np.resize(other, (len(group), other.shape[1])))
                more -= other.shape[1]
            out = fused(np.concatenate(columns, 1), lasts)
            out[np.isnan(columns[0]).all(1)] = np.nan
            yield out


def inner(group):
    """[T, F] from the first to the last judged row."""
    judged = np.flatnonzero(~np.isnan(group).all(1))
    return group[judged[0] : judged[-1] + 1] if len(judged) else group[:0]


def per_week(series, thresholds, *, merge, step_seconds):
    """Alarms per week and series of [[T]] at each threshold, float64 [thresholds]."""
    judged, counts = sum(np.count_nonzero(~np.isnan(each)) for each in series), np.zeros(len(thresholds))
    for each in series:
        calm = np.nan_to_num(each)
        reached = np.flatnonzero(np.asarray(thresholds) <= calm.max(initial=0))
        counts[reached] += [len(measures.alarms(calm >= thresholds[n], merge)) for n in reached]
    return counts * (7 * measures.DAY / step_seconds) / max(judged, 1)


def _some(group, features, rng):
    return group[:, rng.permutation(group.shape[1])[:features]]


def _thresholds(entities):
    """Rising; spread evenly over the logarithm of how many samples reach them."""
    judged = np.sort(np.concatenate([each[~np.isnan(each)] for each in entities] or [np.zeros(0)]))[::-1]
    ranks = np.unique(np.geomspace(1, max(2, len(judged) // 20), RATES).astype(int))
    return np.unique(judged[ranks[ranks < len(judged)]])
