"""Synthetic telemetry: thousands of random series that look like what Prometheus holds, healthy or with injected faults.

Weights and calibration come from this file alone, so a released model has a clean story and anybody can make it again. What it draws is
broad on purpose: daily and weekly rhythms of any shape, autocorrelated noise and noise with heavy tails, bursts, jobs that run every
hour, steps of a deployment, sawtooth disks, counts, shares, sparse and nearly constant series, gaps, any unit. The amount of noise (HEAVY,
BURSTS, DEPLOYS, BLIPS) was set so that the surprise at one alarm per entity-week is the same as on labelled public telemetry.

A batch has one step and one clock for N entities, as the seasonal memory needs it. Seeded; pure numpy.
"""

from dataclasses import dataclass

import numpy as np

from convert.data import faults
from promlstm.demo import fleet

DAY, WEEK = fleet.DAY, fleet.WEEK
EPOCH = 1_700_000_000 // WEEK * WEEK
HISTORY_SECONDS = 1800
HEAVY = 0.12            # share of series whose noise has heavy tails
BURSTS = 0.02           # share with short bursts of work
DEPLOYS = 0.1           # share whose level moves now and then
KINDS = ('additive', 'multiplicative', 'counts', 'sparse', 'share', 'stairs', 'sawtooth', 'walk')
MIX = (0.32, 0.32, 0.12, 0.04, 0.1, 0.02, 0.02, 0.06)
BLIPS = 4.0        # a week and series, of any step: short, mostly small, no fault
JOBS = 0.03             # share with work that starts by the clock


@dataclass(frozen=True, eq=False)
class Batch:
    """Telemetry of N entities with F features at one step."""

    step_seconds: float
    times: np.ndarray           # float64 [T] unix seconds
    values: np.ndarray          # float64 [T, N, F]; NaN = none
    faulty: np.ndarray          # bool [T, N, F]: injected faults
    history_times: np.ndarray   # float64 [H], before `times`, coarse
    history: np.ndarray         # float64 [H, N, F]


def batch(seed, *, step_seconds, steps, entities, features=1, history_days=7, faults_per_1000=0.0, fault_kinds=tuple(faults.KINDS), fault_ranges=None):
    """A Batch of random entities.

    seed             int >= 0, or several
    faults_per_1000  injected per 1000 samples of a series, kinds and sizes at random; 0 = healthy
    fault_kinds      names of faults.KINDS to draw from
    fault_ranges     of their sizes, as of faults.scatter
    """
    rng = np.random.default_rng([*np.atleast_1d(seed), int(step_seconds), features])
    start = EPOCH + WEEK + rng.integers(0, WEEK // 1800) * 1800
    times = start + step_seconds * np.arange(steps, dtype=np.float64)
    past = start - HISTORY_SECONDS * np.arange(history_days * DAY // HISTORY_SECONDS, 0, -1, dtype=np.float64)
    shape = _Shape(rng, entities * features)
    values = _units(rng, _series(rng, shape, times, step_seconds), shape)
    history = shape.scale * shape.expected(past) + shape.offset
    faulty = np.zeros(values.shape, bool)
    if faults_per_1000:
        faults.scatter(values, faulty, faults_per_1000, fault_kinds, step_seconds=step_seconds, rng=rng, ranges=fault_ranges)
    _gaps(rng, values)
    form = lambda x: x.reshape(len(x), entities, features)      # noqa: E731
    return Batch(float(step_seconds), times, form(values), form(faulty), past, form(history))


class _Shape:
    """What a series would be without noise; drawn for N of them at once."""

    def __init__(self, rng, n):
        self.kind = rng.choice(len(KINDS), n, p=MIX)
        order = np.arange(1, 6)[:, None]
        self.waves = rng.normal(size=(5, n)) / order**1.3 * (rng.random((5, n)) < 0.7)
        self.phase = rng.uniform(0, 2 * np.pi, (5, n))
        self.waves /= np.maximum(np.sqrt((self.waves**2).sum(0)), 1e-9)
        self.depth = rng.choice([0.0, 1.0], n, p=[0.25, 0.75]) * rng.uniform(0.05, 1.2, n)
        self.weekend = rng.choice([0.0, 1.0], n) * rng.uniform(-0.5, 0.2, n)
        self.noise = 10 ** rng.uniform(-2.2, -0.4, n)
        self.scale = 10 ** rng.uniform(-4, 9, n)
        self.offset = self.scale * rng.choice([0.0, 1.0], n, p=[0.8, 0.2]) * 10 ** rng.uniform(0, 3, n)
        self.rate = 10 ** rng.uniform(-1.5, 3, n)           # of events a step at level 1, where counted
        counted, walk = np.isin(self.kind, [2, 3]), np.isin(self.kind, [5, 7])
        self.rate = np.where(self.kind == 3, self.rate.clip(0, 0.3), self.rate.clip(1, None))
        self.scale, self.offset = np.where(counted | (self.kind == 4), 1, self.scale), np.where(counted | (self.kind == 4), 0, self.offset)
        self.depth = np.where(walk, 0, self.depth)

    def level(self, times):
        """About 1, with its daily and weekly rhythm; float64 [T, N], > 0."""
        angle = 2 * np.pi * (times % DAY / DAY)[:, None]
        wave = sum(self.waves[k] * np.cos((k + 1) * angle + self.phase[k]) for k in range(5))
        free = 1 + self.weekend * _weekend(times)[:, None]
        return np.exp(self.depth * (wave - 0.5)) * free

    def expected(self, times):
        """In the unit before scaling, float64 [T, N]."""
        level = self.level(times)
        counted = np.isin(self.kind, [2, 3])
        level = np.where(counted, self.rate * level, level)
        return np.where(self.kind == 4, np.minimum(0.4 * level, 1), level)


def _weekend(times):
    day = (times / DAY + 3) % 7
    return np.interp(day, [0, 0.1, 4.9, 5.1, 6.9, 7], [0.5, 0, 0, 1, 1, 0.5])


def _series(rng, shape, times, step_seconds):
    """Noise, bursts, steps and walks about the shape; float64 [T, N]."""
    t, n = len(times), len(shape.kind)
    level = shape.level(times)
    freedom = np.where(rng.random(n) < HEAVY, rng.uniform(3, 6, n), 30)
    shocks = rng.standard_t(np.broadcast_to(freedom, (t, n))) * np.sqrt((freedom - 2) / freedom)
    noise = shape.noise * _correlated(rng, shocks) * np.exp(0.3 * (rng.random(n) < 0.4) * _slow(rng, times, n, 4 * 3600, step_seconds))
    slow = 0.15 * rng.random(n) * _slow(rng, times, n, 10 ** rng.uniform(3.5, 5.3), step_seconds)
    moved = _deploys(rng, t, n, step_seconds) + _bursts(rng, t, n, shape.noise) + _blips(rng, t, n, shape.noise, step_seconds) + _jobs(rng, times, n)
    smooth = level * np.exp(slow + moved)
    out = np.where(shape.kind == 0, smooth + noise, smooth * np.exp(noise))
    counted = np.isin(shape.kind, [2, 3])
    out[:, counted] = rng.poisson(np.minimum(shape.rate * smooth, 1e9)[:, counted])
    share = shape.kind == 4
    out[:, share] = np.clip(0.4 * out[:, share], 0, 1)
    _special(rng, out, shape, times, step_seconds, noise)
    return out


def _special(rng, out, shape, times, step_seconds, noise):
    """Stairs that seldom change, sawteeth that fill and are emptied, walks."""
    stairs, teeth, walk = (shape.kind == k for k in (5, 6, 7))
    t = len(times)
    changes = (rng.random((t, stairs.sum())) < 10 ** rng.uniform(-3, -1.3, stairs.sum())) * rng.integers(-3, 4, (t, stairs.sum()))
    out[:, stairs] = 20 + np.abs(np.cumsum(changes, 0))
    period = 10 ** rng.uniform(*np.log10([max(DAY / 4, 200 * step_seconds), max(10 * DAY, 400 * step_seconds)]), teeth.sum())
    out[:, teeth] = 1 + (times[:, None] / period + rng.random(teeth.sum())) % 1 + 0.1 * noise[:, teeth]
    pull = 10 ** rng.uniform(-3.5, -1.5, walk.sum())
    out[:, walk] = 1 + filtered(shape.noise[walk] * 0.1 * rng.normal(size=(t, walk.sum())), 1 - pull)


def _units(rng, x, shape):
    """Into a random unit; some series rounded."""
    grain = np.where(rng.random(len(shape.kind)) < 0.2, 10 ** rng.uniform(-3, -1.5, len(shape.kind)), 0)
    x = np.where(grain > 0, np.round(x / np.where(grain > 0, grain, 1)) * grain, x)
    return shape.scale * x + shape.offset


def filtered(shocks, memory):
    """First-order recursion y = memory·y + shock over the first axis."""
    out, y = np.empty_like(shocks), np.zeros(shocks.shape[1])
    for t, shock in enumerate(shocks):
        y = memory * y + shock
        out[t] = y
    return out


def _correlated(rng, shocks):
    """Noise that is part white, part autocorrelated; about unit variance."""
    n = shocks.shape[1]
    memory = 1 - 10 ** rng.uniform(-2, 0, n)
    share = rng.random(n)
    return np.sqrt(share) * filtered(shocks, memory) * np.sqrt(1 - memory**2) + np.sqrt(1 - share) * rng.normal(size=shocks.shape)


def _slow(rng, times, n, seconds, step_seconds):
    """Smooth movement of unit variance, correlated over about so many seconds (never fewer than 30 steps); float64 [T, N]."""
    seconds = np.broadcast_to(np.maximum(seconds, 30 * step_seconds), n)
    return np.stack([fleet.wander(int(rng.integers(2**62)), times, s) for s in seconds], 1)


def _deploys(rng, t, n, step_seconds):
    """Steps of the level that are no fault."""
    rate = np.where(rng.random(n) < DEPLOYS, min(0.25 * step_seconds / WEEK, 0.002), 0)
    return np.cumsum((rng.random((t, n)) < rate) * rng.normal(size=(t, n)) * 0.3, 0)


def _bursts(rng, t, n, noise):
    """Short bursts of extra work, many a day, of any size."""
    rate = np.where(rng.random(n) < BURSTS, 10 ** rng.uniform(-2.5, -1, n), 0)
    starts = (rng.random((t, n)) < rate) * rng.exponential(size=(t, n)) * noise * 10 ** rng.uniform(0, 0.7, n)
    return np.minimum(filtered(starts, rng.uniform(0, 0.9, n)), 2)


def _blips(rng, t, n, noise, step_seconds):
    """Blips now and then, up or down, for a few samples: as many in a week at every step."""
    starts = rng.random((t, n)) < min(BLIPS * step_seconds / WEEK, 0.01)
    size = rng.choice([-1, 1], (t, n)) * 10 ** rng.uniform(0.5, 1.2, (t, n)) * noise
    return np.clip(filtered(starts * size, rng.uniform(0, 0.6, n)), -3, 3)


def _jobs(rng, times, n):
    """Work that starts by the clock: hourly, every six hours, daily."""
    period = rng.choice([3600, 6 * 3600, DAY], n)
    size = np.where(rng.random(n) < JOBS, rng.uniform(0.1, 0.6, n), 0)
    inside = (times[:, None] - rng.integers(0, 3600, n)) % period < rng.uniform(120, 1800, n)
    return size * inside


def _gaps(rng, values):
    """Lost scrapes, and in some series longer gaps."""
    t, n = values.shape
    lost = rng.random((t, n)) < rng.choice([0, 0.001, 0.01], n, p=[0.6, 0.3, 0.1])
    values[lost] = np.nan
    for entity in np.flatnonzero(rng.random(n) < 0.1):
        at = rng.integers(t)
        values[at : at + rng.integers(3, 40), entity] = np.nan
