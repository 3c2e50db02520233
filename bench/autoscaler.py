"""Kubernetes' HorizontalPodAutoscaler, for many workloads at once, and the pods that it starts: `scaling` compares metrics with it.

As autoscaling/v2 has it for external metrics with an AverageValue, which KEDA asks for too, with the default behaviour:

    every 15 s, for each metric   ratio = value / (target × pods there are); within 1 ± tolerance: as many as there are, else ⌈value / target⌉
    of several metrics            the most; where one gives no value, nothing is taken away
    upwards                       at once, by up to as many again or 4 at a sync, whichever is more
    downwards                     to the most that was wanted in the last 300 s
    always                        between the least and the most

A pod counts from its order on and serves `startup_seconds` later. What is taken away goes at once, the newest first, as a ReplicaSet does.
Pure numpy.
"""

from typing import NamedTuple

import numpy as np


class Rules(NamedTuple):
    """Settings of the autoscaler; the defaults are those of Kubernetes, except for the pods."""

    startup_seconds: float
    least: int = 1
    most: int = 1000
    sync_seconds: float = 15
    tolerance: float = 0.1
    down_seconds: float = 300       # stabilisation window of scaling down


class Pods(NamedTuple):
    """int [T, N] after each sync: the number of pods, and of ready pods."""

    there: np.ndarray
    ready: np.ndarray


def proposal(value, target, there, tolerance):
    """Pods that one metric asks for: float [N], NaN where it has no value.

    >>> proposal(np.array([1000.0, 540, 450, np.nan]), 100, np.array([5, 5, 5, 5]), 0.1)
    array([10.,  5.,  5., nan])
    >>> proposal(np.array([551.0, 449, 0]), 100, np.array([5, 5, 5]), 0.1)
    array([6., 5., 0.])
    """
    ratio = value / (target * np.maximum(there, 1))
    # Values and targets are whole thousandths in Kubernetes: 300 / 100 is 3 pods, never 4.
    wanted = np.ceil(np.floor(value * 1000 + 1e-6) / np.round(target * 1000))
    return np.where((ratio >= 1 - tolerance) & (ratio <= 1 + tolerance), there, wanted)


def upward_limit(there):
    """The maximum of pods after one sync: twice as many, or 4 more.

    >>> upward_limit(np.array([1, 3, 4, 10]))
    array([ 5,  7,  8, 20])
    """
    return np.maximum(2 * there, there + 4)


def run(metrics, target, rules, alive=None):
    """Pods over time.

    metrics  float [M, T, N]: what each metric says at each sync; NaN = nothing
    target   of a metric's value for each pod
    alive    bool [T, N]: syncs at which a workload is there; it begins with what the first metric asks for, all of them ready. None = all
    returns  Pods; 0 where a workload is not there
    """
    metrics = np.asarray(metrics, np.float64)
    _, total, n = metrics.shape
    alive = np.ones((total, n), bool) if alive is None else alive
    late = max(1, int(np.ceil(rules.startup_seconds / rules.sync_seconds)))
    window = max(1, int(np.ceil(rules.down_seconds / rules.sync_seconds)))
    pending, wishes = np.zeros((late, n), np.int64), np.zeros((window, n), np.int64)
    there, ready, was = (np.zeros(n, kind) for kind in (np.int64, np.int64, bool))
    out = Pods(np.zeros((total, n), np.int32), np.zeros((total, n), np.int32))
    for t in range(total):
        slot, begins = pending[t % late], alive[t] & ~was
        ready += slot               # ordered startup_seconds ago
        slot[:] = 0
        if begins.any():
            first = np.clip(np.nan_to_num(np.ceil(metrics[0, t] / target)), rules.least, rules.most).astype(np.int64)
            there[begins] = ready[begins] = first[begins]
            pending[:, begins], wishes[:, begins] = 0, first[begins]
        change = np.where(alive[t], _wanted(metrics[:, t], target, there, wishes, t % window, rules) - there, 0)
        there += change
        np.copyto(slot, change, where=change > 0)
        _take(pending, ready, np.maximum(-change, 0), t)
        out.there[t], out.ready[t], was = np.where(alive[t], there, 0), np.where(alive[t], ready, 0), alive[t]
    return out


def _wanted(values, target, there, wishes, place, rules):
    """Pods after a sync, int [N]; the desired number is stored in wishes[place]."""
    each = np.stack([proposal(value, target, there, rules.tolerance) for value in values])
    unknown = np.isnan(each)
    most = np.where(unknown, -1, each).max(0)
    wish = np.where((unknown.all(0)) | (unknown.any(0) & (most < there)), there, most).astype(np.int64)
    wishes[place] = wish
    stabilised = np.where(wish < there, np.minimum(wishes.max(0), there), np.minimum(wish, upward_limit(there)))
    return np.clip(stabilised, rules.least, rules.most)


def _take(pending, ready, many, t):
    """Removes a number of pods from each workload: first those that are not ready, newest first, then others."""
    late = len(pending)
    for age in range(late):
        if not many.any():
            return
        slot = pending[(t - age) % late]
        taken = np.minimum(slot, many)
        slot -= taken
        many = many - taken
    ready -= many
