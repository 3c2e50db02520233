"""Which thing of an incident is the cause: evidence and dependencies in, a calibrated probability for each thing out. Pure numpy.

Who calls it: the incident table, and `convert benchmark --root-cause`. It knows no names, no detectors and no clock.

A cause explains what depends on it: callers suffer from what they call, pods from their nodes. So each candidate c is asked how much of the
incident it explains:

    strength(j)    how anomalous a thing is: the largest of (score - LEAST), weighed by kind and direction, and a little for each further series
    reach(c, j)    HOP to the number of hops of the best path from j down to c; each thing on the way that is not anomalous itself costs QUIET
    order(c, j)    1 where c may have begun first, less where its onset is later than that of j for all that is known of both
    explained(c)   sum over j of reach * order * strength(j), over the sum of strength(j)
    support(c)     explained, times what the candidate's own evidence is worth: a thing without any can be blamed, but has to explain far more
    cause(c)       support^SHARP / (NOTHING^SHARP + sum of support^SHARP)

`reach` is the walk that MonitorRank (Kim, Sumbaly, Shah, SIGMETRICS 2013) and Microscope (Lin, Chen, Zheng, ICSOC 2018) take at random, from
what suffers against the direction of its calls, in closed form: the best path instead of the mean of all, so that a thing with many callees
does not dilute what each of them gets, and the result is the same in every run. HOP is its restart, and weighs two wishes: to go down to the
deepest anomalous thing, and not to follow noise there. A step down pays where the deeper thing's own strength is more than what the hop costs.
Things that no dependency connects explain each other by their order alone, and only a little (ASIDE): so what is unrelated and louder in the
same minute is not blamed. `NOTHING` stands for what nobody measured.

What it cannot see: a cause without series and without callers; two causes at once (the probability is shared between them).
"""

from dataclasses import dataclass

import numpy as np

from promlstm.engine.columns import Bools, Floats, Floats32, Ints, SmallInts
from promlstm.incidents import kinds

LEAST = 0.3  # a score is evidence from here on: 1 is the border of an alarm, and things near an incident that lean count as well
MOST = 3.3  # scores grow like a logarithm, and beyond this size more says nothing
#                  other saturation headroom errors success restarts latency traffic
WEIGHT = np.array([0.7, 1.5, 1.5, 1.3, 1.3, 2.0, 1.0, 0.35])
GOOD = 0.15  # weight of what changed for the better, such as fewer errors
MISSING = 1.5  # weight of what went missing
FURTHER = 0.05  # share of each further series of a thing
ONSET_SECONDS = 1800.0  # an onset less certain than this says less of the incident
HOP, QUIET, HOPS = 0.85, 0.35, 8
ASIDE = 0.3  # what things explain of each other where there are no dependencies at all
LATE = 0.4  # order(c, j) of a candidate that surely began after j
ALONE = 0.25  # worth of a candidate without evidence of its own
ENOUGH = 0.6  # strength from which a candidate's own evidence is worth all
SUFFERS = 1.0  # strength that the thing whose alert is looked at has in addition
SHARP, NOTHING = 6.0, 0.3
CELLS = 4_000_000  # of candidates times things, at most: the least promising candidates are left out


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The series of one incident; n series of m things.

    thing        int64 [n]    which thing a series belongs to: the most specific one, a pod before its node
    onset        float64 [n]  unix seconds of the first sample of the alarm
    uncertainty  float64 [n]  seconds, > 0: what happened lies in [onset - uncertainty, onset]
    score        float32 [n]  the peak: 1 = border of its own calibrated band; less than 1 = it leans without an alarm; NaN = not judged
    direction    int8 [n]     +1 above, -1 below what was expected, 0 not known
    kind         int8 [n]     of kinds
    missing      bool [n]     it went missing
    """

    thing: Ints
    onset: Floats
    uncertainty: Floats
    score: Floats32
    direction: SmallInts
    kind: SmallInts
    missing: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """What is known of m things.

    cause      float64 [m]   probability to be the cause; their sum is less than 1, the rest is "cannot tell"
    order      int64 [m]     the things by falling probability; ties by strength, then by number
    strength   float64 [m]   how anomalous, 0 = not at all
    explained  float64 [m]   share of the incident that it explains, 0 to 1
    begin, end float64 [m]   its onset lies between these, unix seconds; NaN where it is not anomalous
    weight     float64 [n]   what each series counted
    """

    cause: Floats
    order: Ints
    strength: Floats
    explained: Floats
    begin: Floats
    end: Floats
    weight: Floats


def rank(evidence: Evidence, things: int, edges: Ints, target: int | None = None) -> Ranking:
    """How likely each of so many things is to be the cause of the incident.

    edges    int64 [E, 2]  (dependant, dependency) by number; self-loops, cycles, repeated edges and numbers that are no thing do no harm
    target   the thing whose alert is looked at, if any: the cause has to explain it
    returns  Ranking of m = things

    >>> shop, database, batch = 0, 1, 2
    >>> evidence = Evidence(
    ...     thing=np.array([shop, database, batch]), onset=np.array([120., 60., 60.]), uncertainty=np.array([90., 90., 90.]),
    ...     score=np.float32([1.8, 2.0, 3.0]), direction=np.int8([1, 1, 1]), kind=np.int8([kinds.LATENCY, kinds.SATURATION, kinds.TRAFFIC]),
    ...     missing=np.zeros(3, bool))
    >>> rank(evidence, 3, np.array([[shop, database]])).order
    array([1, 0, 2])
    """
    weight = _weights(evidence)
    strength = _strength(evidence, weight, things)
    begin, end = _onsets(evidence, weight, things)
    edges = _usable(edges, things)
    suffering = strength.copy()
    if target is not None and 0 <= target < things:
        suffering[target] += SUFFERS
    candidates = _candidates(suffering, edges)
    explained = np.zeros(things)
    total = suffering.sum()
    if total > 0:
        reach = _reach(candidates, strength, edges)
        explained[candidates] = np.sum(reach * _order(candidates, begin, end) * suffering[:, None], axis=0) / total
    support = explained * (ALONE + (1 - ALONE) * np.minimum(1, strength / ENOUGH))
    powers = support**SHARP
    cause = powers / (NOTHING**SHARP + powers.sum())
    order = np.lexsort((np.arange(things), -strength, -cause))
    return Ranking(cause, order.astype(np.int64), strength, explained, begin, end, weight)


def _weights(evidence: Evidence) -> Floats:
    """float64 [n]: what each series counts."""
    harm = kinds.HARM[evidence.kind]
    good = (harm * evidence.direction) < 0
    worth = WEIGHT[evidence.kind] * np.where(good, GOOD, 1)
    certain = np.minimum(1, ONSET_SECONDS / np.maximum(evidence.uncertainty, 1))
    size = np.clip(np.nan_to_num(evidence.score.astype(np.float64)), LEAST, MOST) - LEAST
    weighed: Floats = np.where(evidence.missing, np.maximum(MISSING, size * worth), size * worth) * certain
    return weighed


def _strength(evidence: Evidence, weight: Floats, things: int) -> Floats:
    """float64 [m]: the weight of the strongest series of each thing, and FURTHER of the others."""
    strongest = np.zeros(things)
    np.maximum.at(strongest, evidence.thing, weight)
    together = np.bincount(evidence.thing, weight, minlength=things)
    return strongest + FURTHER * (together - strongest)


def _onsets(evidence: Evidence, weight: Floats, things: int) -> tuple[Floats, Floats]:
    """(begin [m], end [m]) of the onset of each thing: that of the earliest of its strong series."""
    strongest = np.zeros(things)
    np.maximum.at(strongest, evidence.thing, weight)
    strong = np.flatnonzero((weight > 0) & (weight >= 0.6 * strongest[evidence.thing]))
    first = strong[np.argsort(-evidence.onset[strong], kind='stable')]  # the earliest is written last
    begin, end = np.full(things, np.nan), np.full(things, np.nan)
    end[evidence.thing[first]] = evidence.onset[first]
    begin[evidence.thing[first]] = evidence.onset[first] - np.maximum(evidence.uncertainty[first], 1)
    return begin, end


def _usable(edges: Ints, things: int) -> Ints:
    """int64 [E, 2]: the edges between two different things, each once, by dependant."""
    edges = np.asarray(edges, np.int64).reshape(-1, 2)
    inside = ((edges >= 0) & (edges < things)).all(axis=1) & (edges[:, 0] != edges[:, 1])
    return np.unique(edges[inside], axis=0)


def _candidates(suffering: Floats, edges: Ints) -> Ints:
    """int64 [K]: things that may be the cause, the most promising ones where there are many: anomalous themselves, or called by what is."""
    things = len(suffering)
    callers = np.bincount(edges[:, 1], suffering[edges[:, 0]], minlength=things)
    promise = suffering + ALONE * callers
    most = max(16, CELLS // max(1, things))
    found = np.argsort(-promise, kind='stable')[:most]
    return np.sort(found[promise[found] > 0])


def _reach(candidates: Ints, strength: Floats, edges: Ints) -> Floats:
    """float64 [m, K]: how well each candidate explains each thing, by the best path from the thing down to the candidate."""
    things, columns = len(strength), np.arange(len(candidates))
    aside = ASIDE if not len(edges) else 0.0
    reach = np.full((things, len(candidates)), aside)
    reach[candidates, columns] = 1
    if not len(edges):
        return reach
    passes = np.where(strength > 0, 1.0, QUIET)[:, None]
    dependants, starts = np.unique(edges[:, 0], return_index=True)
    for _ in range(HOPS):
        through = reach * passes
        through[candidates, columns] = 1
        best = np.maximum.reduceat(through[edges[:, 1]], starts, axis=0) * HOP
        further = np.maximum(reach[dependants], best)
        if np.array_equal(further, reach[dependants]):
            break
        reach[dependants] = further
    return reach


def _order(candidates: Ints, begin: Floats, end: Floats) -> Floats:
    """float64 [m, K]: LATE to 1 by the probability that the candidate began before the thing; 1 where one of them is not anomalous.

    Both onsets are taken as uniform between their ends; even chances, as of two equal intervals, count as "may have begun first".
    """
    zero = np.nanmin(begin) if np.isfinite(begin).any() else 0.0  # unix seconds squared have no digits left for seconds
    low, high = (begin - zero)[:, None], (end - zero)[:, None]

    def integral(x: Floats) -> Floats:  # of the probability that the thing begins after x
        inside = np.clip(x, low, high)
        value: Floats = np.minimum(x, low) + ((high - low) ** 2 - (high - inside) ** 2) / (2 * (high - low))
        return value

    first, last = (begin[candidates] - zero)[None, :], (end[candidates] - zero)[None, :]
    before = (integral(last) - integral(first)) / (last - first)
    out: Floats = np.where(np.isnan(before), 1.0, LATE + (1 - LATE) * np.clip(2 * before, 0, 1))
    return out
