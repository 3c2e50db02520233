"""Fleets whose faults spread along known edges, to see what a graph learnt from them is worth.

Services call each other, and the latency of a caller follows that of what it calls, so many steps later. All follow the load of the day. Every few
hours something happens in one of them, for minutes. Nothing is measured on them but `python -m convert graph --simulated`, and its tests.
"""

from typing import NamedTuple

import numpy as np

STEP_SECONDS = 60.0
BEGAN = 1_750_000_000.0
HOURS_BETWEEN = 10.0    # faults of one service
DAY = 86400.0
DAYS = 14
STEPS = int(DAYS * DAY / STEP_SECONDS)


class Fleet(NamedTuple):
    """times float64 [T], latency float64 [T, N, 1] in seconds, and {(caller, called): steps that a fault takes}."""

    times: np.ndarray
    latency: np.ndarray
    edges: dict[tuple[int, int], int]


def fleet(seed, *, delays, services=20, days=DAYS, linked=True, hours=HOURS_BETWEEN):
    """A Fleet; delays are the steps that a fault may take along an edge, linked=False has no edges, hours lie between faults."""
    chance = np.random.default_rng(seed)
    steps = int(days * DAY / STEP_SECONDS)
    edges = {
        (caller, int(called)): int(chance.choice(delays))
        for caller in range(services - 1)
        for called in chance.choice(np.arange(caller + 1, services), size=min(services - 1 - caller, chance.integers(1, 3)), replace=False)
    }
    excess = np.zeros((steps, services))
    for service in range(services):
        for begin in np.flatnonzero(chance.random(steps) < STEP_SECONDS / 3600 / hours):
            excess[begin : begin + chance.integers(3, 20), service] += chance.lognormal(0, 0.5)
    for caller, called in sorted(edges, reverse=True) if linked else ():
        delay = edges[caller, called]
        excess[delay:, caller] += chance.uniform(0.4, 0.9) * excess[: steps - delay, called]
    times = BEGAN + STEP_SECONDS * np.arange(steps)
    load = 1 + 0.3 * np.sin(2 * np.pi * times / DAY)
    noise = np.exp(0.08 * chance.standard_normal(excess.shape))
    return Fleet(times, ((1 + excess) * load[:, None] * noise * chance.uniform(0.02, 0.2, services))[:, :, None], edges if linked else {})


def shares(found, edges):
    """(precision, recall) of pairs against those that there are; NaN where there are none.

    >>> shares({(0, 1), (1, 2)}, {(0, 1): 1, (0, 2): 1, (2, 3): 1, (3, 4): 1})
    (0.5, 0.25)
    """
    hits = len(set(found) & set(edges))
    return hits / len(found) if found else float('nan'), hits / len(edges) if edges else float('nan')
