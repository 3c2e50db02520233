"""Which thing of an incident is the cause: evidence and dependencies in, a calibrated probability for each thing out. Pure numpy.

Who calls it: the incident table, and `convert benchmark --root-cause`. It knows no names, no detectors and no clock.

A cause explains what depends on it: callers suffer from what they call, pods from their nodes. So each candidate c is asked how much of the
incident it explains:

    strength(j)    how anomalous a thing is: the rise of its most anomalous series above what it was before, weighed by kind and direction
    reach(c, j)    HOP to the number of hops of the best path from j down to c, one hop for itself; what lies between and is not anomalous
                   itself costs QUIET each
    order(c, j)    1 where c may have begun first, down to LATE where it surely began after j, for all that is known of both onsets
    explained(c)   sum over j of reach * order * strength(j), over the sum of strength(j)
    support(c)     explained, times what the candidate's own evidence is worth: a thing without any can be blamed, but has to explain far more
    cause(c)       support^SHARP / (NOTHING^SHARP + sum of support^SHARP): McFadden's conditional logit of log(support)

`reach` is the walk that MonitorRank (Kim, Sumbaly, Shah, SIGMETRICS 2013) and Microscope (Lin, Chen, Zheng, ICSOC 2018) take at random, from
what suffers against the direction of its calls, in closed form: the best path instead of the mean of all, so that a thing with many callees
does not dilute what each of them gets, and the result is the same in every run. HOP is its restart, and weighs two wishes: to go down to the
deepest anomalous thing, and not to follow noise there. A step down pays where the deeper thing's own strength is more than what the hop costs.
Load goes the other way: who is called more calls more. So more traffic comes from callers and never from what is called; less traffic, or
saturation, may come from either.
Where no dependency is known at all, things explain each other by their order alone, and only a little (ASIDE). Where some are, what is
unrelated explains nothing but itself: so something louder in the same minute is not blamed. NOTHING stands for what nobody measured.

The numbers below are round, one setting for all, and each may be half or twice as large at little loss; docs/explanation/root-cause.md tells
how they were found and what they give.

What it cannot see: a cause without series and without callers; two causes at once (the probability is shared between them).
"""

from dataclasses import dataclass

import numpy as np

from promlstm.engine.columns import Bools, Floats, Floats32, Ints, SmallInts
from promlstm.incidents import kinds

LEAST = 0.2  # a score is evidence from here on: 1 is the border of an alarm, and things near an incident that lean count as well
MOST = 3.2  # scores grow like a logarithm, and beyond this size more says nothing
#                  other saturation headroom errors success restarts latency traffic
WEIGHT = np.array([0.7, 1.5, 1.5, 1.8, 1.8, 2.0, 1.0, 0.5])
GOOD = 0.1  # weight of what changed for the better, such as fewer errors
MISSING = 1.5  # weight of what went missing
ALIKE = 1.5  # worth of what is of the same kind as the alert that is looked at
ONSET_SECONDS = 1800.0  # an onset less certain than this says less of the incident
UNKNOWN_SECONDS = 1e7  # an onset that may lie anywhere in the past
HOP, QUIET, HOPS = 0.8, 0.3, 8
ASIDE = 0.3  # what things explain of each other where there are no dependencies at all
LATE = 0.6  # order(c, j) of a candidate that surely began after j
ALONE = 0.25  # worth of a candidate without evidence of its own
BUSY = 0.1  # strength of a candidate's own traffic from which it explains all load below it
STRONG = 0.6  # share of a thing's strength from which a series tells its onset
ENOUGH = 1.2  # strength from which a candidate's own evidence is worth all
SUFFERS = 1.0  # strength that the thing whose alert is looked at has in addition
SHARP, BLUNT = 5.0, 4.0  # with a graph, and without: then the same lead is worth less
NOTHING = 0.25
CANDIDATES = 64  # at most, the most promising ones
CELLS = 2_000_000  # of candidates times things or edges, at most; but never fewer than FEWEST candidates
FEWEST = 16


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The series of one incident; n series of m things.

    thing        int64 [n]    which thing a series belongs to: the most specific one, a pod before its node
    onset        float64 [n]  unix seconds of the first sample of the alarm, or of the rise
    uncertainty  float64 [n]  seconds, > 0, may be infinite: what happened lies in [onset - uncertainty, onset]
    score        float32 [n]  the peak: 1 = border of its own calibrated band; less = it leans (see rises); NaN = not judged
    direction    int8 [n]     +1 above, -1 below what was expected, 0 not known
    kind         int8 [n]     of kinds
    missing      bool [n]     it went missing
    before       float32 [n]  its score just before the onset (see rises); NaN = not known. What was loud already says less
    """

    thing: Ints
    onset: Floats
    uncertainty: Floats
    score: Floats32
    direction: SmallInts
    kind: SmallInts
    missing: Bools
    before: Floats32


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


def rank(evidence: Evidence, things: int, edges: Ints, target: int | None = None, alert: int | None = None) -> Ranking:
    """How likely each of so many things is to be the cause of the incident.

    edges    int64 [E, 2]  (dependant, dependency) by number; self-loops, cycles, repeated edges and numbers that are no thing do no harm
    target   the thing whose alert is looked at, if any: the cause has to explain it
    alert    the kind of that alert, of kinds: what is alike counts more
    returns  Ranking of m = things

    >>> shop, database, batch = 0, 1, 2
    >>> evidence = Evidence(
    ...     thing=np.array([shop, database, batch]), onset=np.array([120., 60., 60.]), uncertainty=np.array([90., 90., 90.]),
    ...     score=np.float32([1.8, 2.0, 3.0]), direction=np.int8([1, 1, 1]), kind=np.int8([kinds.LATENCY, kinds.SATURATION, kinds.TRAFFIC]),
    ...     missing=np.zeros(3, bool), before=np.float32([0.3, 0.3, 0.3]))
    >>> rank(evidence, 3, np.array([[shop, database]])).order
    array([1, 0, 2])
    """
    weight = _weights(evidence)
    if alert is not None:
        weight = weight * np.where(kinds.FAMILY[evidence.kind] == kinds.FAMILY[alert], ALIKE, 1)
    strength = _strength(evidence, weight, things)
    begin, end = _onsets(evidence, weight, things)
    edges = _usable(edges, things)
    suffering = strength.copy()
    if target is not None and 0 <= target < things and len(edges):
        suffering[target] += SUFFERS
    surge = (evidence.kind == kinds.TRAFFIC) & (evidence.direction > 0)
    candidates = _candidates(suffering, strength, _strength(evidence, np.where(surge, weight, 0), things), edges)
    explained = np.zeros(things)
    if strength.any():  # an alert whose series nobody sees explains nothing
        reach = _reach(candidates, strength, edges)
        waiting = suffering - strength + _strength(evidence, np.where(surge, 0, weight), things)
        explains = reach * waiting[:, None] if len(edges) else np.maximum(reach, ASIDE) * suffering[:, None]
        for sign in (1, -1):
            explains = np.maximum(explains, _load(evidence, weight, candidates, edges, things, sign))
        explained[candidates] = np.sum(explains * _order(candidates, begin, end), axis=0) / suffering.sum()
    support = explained * (ALONE + (1 - ALONE) * np.minimum(1, strength / ENOUGH))
    sharp = SHARP if len(edges) else BLUNT
    powers = support**sharp
    cause = powers / (NOTHING**sharp + powers.sum())
    order = np.lexsort((np.arange(things), -strength, -cause))
    return Ranking(cause, order.astype(np.int64), strength, explained, begin, end, weight)


def _weights(evidence: Evidence) -> Floats:
    """float64 [n]: what each series counts."""
    harm = kinds.HARM[evidence.kind]
    good = (harm * evidence.direction) < 0
    worth = WEIGHT[evidence.kind] * np.where(good, GOOD, 1)
    certain = np.minimum(1, ONSET_SECONDS / np.maximum(evidence.uncertainty, 1))
    least = np.clip(np.nan_to_num(evidence.before.astype(np.float64)), LEAST, MOST)
    size = np.clip(np.nan_to_num(evidence.score.astype(np.float64)) - least, 0, MOST - LEAST)
    weighed: Floats = np.where(evidence.missing, np.maximum(MISSING, size * worth), size * worth) * certain
    return weighed


def _strength(evidence: Evidence, weight: Floats, things: int) -> Floats:
    """float64 [m]: the weight of the strongest series of each thing; many weak ones, such as ten percentiles of one latency, are no more."""
    strongest = np.zeros(things)
    np.maximum.at(strongest, evidence.thing, weight)
    return strongest


def _onsets(evidence: Evidence, weight: Floats, things: int) -> tuple[Floats, Floats]:
    """(begin [m], end [m]) of the onset of each thing: that of the earliest of its strong series."""
    strong = np.flatnonzero((weight > 0) & (weight >= STRONG * _strength(evidence, weight, things)[evidence.thing]))
    first = strong[np.argsort(-evidence.onset[strong], kind='stable')]  # the earliest is written last
    begin, end = np.full(things, np.nan), np.full(things, np.nan)
    end[evidence.thing[first]] = evidence.onset[first]
    begin[evidence.thing[first]] = evidence.onset[first] - np.clip(evidence.uncertainty[first], 1, UNKNOWN_SECONDS)
    return begin, end


def _usable(edges: Ints, things: int) -> Ints:
    """int64 [E, 2]: the edges between two different things, each once, by dependant."""
    edges = np.asarray(edges, np.int64).reshape(-1, 2)
    inside = ((edges >= 0) & (edges < things)).all(axis=1) & (edges[:, 0] != edges[:, 1])
    numbers = np.unique(edges[inside, 0] * things + edges[inside, 1])
    return np.stack([numbers // max(1, things), numbers % max(1, things)], axis=1)


def _candidates(suffering: Floats, strength: Floats, traffic: Floats, edges: Ints) -> Ints:
    """int64 [K]: things that may be the cause, the most promising where there are many, by a random walk with restart.

    It starts where things suffer, and goes down to what they depend on, rather to what is anomalous; or up, to who made more traffic.
    """
    promise = suffering + _walk(suffering, strength, edges) + (_walk(traffic, traffic, edges[:, ::-1]) if traffic.any() else 0)
    most = min(CANDIDATES, max(FEWEST, CELLS // max(1, len(suffering), len(edges))))
    found = np.argsort(-promise, kind='stable')[:most]
    return np.sort(found[promise[found] > 0])


def _walk(start: Floats, pull: Floats, edges: Ints) -> Floats:
    """float64 [m]: how much of what starts at each thing comes by each other one, along the edges, to what pulls more rather."""
    things = len(start)
    pulled = pull[edges[:, 1]] + ALONE
    share = HOP * pulled / np.bincount(edges[:, 0], pulled, minlength=things)[edges[:, 0]] if len(edges) else pulled
    out, mass = np.zeros(things), start.astype(np.float64)
    for _ in range(HOPS if len(edges) else 0):
        mass = np.bincount(edges[:, 1], mass[edges[:, 0]] * share, minlength=things).astype(np.float64)
        out += mass
    return out


def _reach(candidates: Ints, strength: Floats, edges: Ints) -> Floats32:
    """float32 [m, K]: how well each candidate explains each thing, by the best path from the thing down to the candidate."""
    things, columns = len(strength), np.arange(len(candidates))
    reach = np.zeros((things, len(candidates)), np.float32)
    passes = np.where(strength > 0, np.float32(1), np.float32(QUIET))[:, None]
    dependants, starts = np.unique(edges[:, 0], return_index=True)
    for _ in range(HOPS if len(edges) else 0):
        through = reach * passes
        through[candidates, columns] = 1
        further = np.maximum(reach[dependants], np.float32(HOP) * np.maximum.reduceat(through[edges[:, 1]], starts, axis=0))
        if np.array_equal(further, reach[dependants]):
            break
        reach[dependants] = further
    reach[candidates, columns] = HOP
    return reach


def _load(evidence: Evidence, weight: Floats, candidates: Ints, edges: Ints, things: int, sign: int) -> Floats:
    """float64 [m, K]: what each candidate explains of each thing by the load that it puts on what it calls, more (1) or less (-1) than usual.

    Requests travel down: who is called more calls more, and what is called more is busier. So the traffic of a thing, and where it is more
    than usual its saturation, may come from whoever calls it, by a path on which traffic changed the same way.
    """
    same = evidence.direction == sign
    traffic = _strength(evidence, np.where(same & (evidence.kind == kinds.TRAFFIC), weight, 0), things)
    if not len(edges) or not traffic.any():
        return np.zeros((1, 1))
    busier = same & (sign > 0) & (evidence.kind == kinds.SATURATION)
    load = _strength(evidence, np.where(same & (evidence.kind == kinds.TRAFFIC) | busier, weight, 0), things)
    downwards = edges[np.argsort(edges[:, 1], kind='stable')][:, ::-1]
    reach = _reach(candidates, traffic, downwards) * np.minimum(1, traffic[candidates] / BUSY)
    return reach * load[:, None]


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
