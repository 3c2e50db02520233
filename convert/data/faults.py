"""Faults to inject into telemetry, labelled: what a detector should find, and what training must not learn to expect.

Each fault is an arithmetic change of one stretch of one series, its size in spreads of that series, so that large and small ones mean the
same for a share and for terabytes. Pure numpy.
"""

from dataclasses import replace

import numpy as np

HOUR, DAY = 3600, 86400
TRIES = 4           # to draw a fault of a size that is wanted


def spike(x, size, spread, rng):
    """One to three samples far away."""
    return x + size * spread * rng.choice([-1, 1]) * rng.uniform(0.6, 1, len(x))


def shift(x, size, spread, rng):
    """Another level from one step to the next."""
    return x + size * spread * rng.choice([-1, 1])


def ramp(x, size, spread, rng):
    """A steady move away, within an hour or so."""
    return x + size * spread * rng.choice([-1, 1]) * np.linspace(0, 1, len(x))


def drop_to_zero(x, size, spread, rng):
    """Zero from one step to the next."""
    return np.zeros_like(x)


def flat_line(x, size, spread, rng):
    """The last value again and again: a sensor or a scrape that hangs."""
    return np.full_like(x, x[0])


def drift(x, size, spread, rng):
    """As a ramp, but over half a day, such as a leak."""
    return x + size * spread * np.linspace(0, 1, len(x))


def lost_season(x, size, spread, rng):
    """The daily rhythm stops: the series stays around where it was when it stopped."""
    return x[0] + (x - _smooth(x))


def variance(x, size, spread, rng):
    """The same mean, a larger variance."""
    return x + size * spread / 3 * rng.normal(size=len(x))


def dip(x, size, spread, rng):
    """A part is missing for a while, as when one of several servers answers nothing."""
    return x * (1 - rng.uniform(0.3, 1) * _rise_and_fall(len(x)))


def bump(x, size, spread, rng):
    """A round hump or trough."""
    return x + size * spread * rng.choice([-1, 1]) * np.sin(np.pi * np.arange(len(x)) / len(x)) ** 0.5


def burst(x, size, spread, rng):
    """Samples far away among ordinary ones."""
    return x + size * spread * rng.exponential(size=len(x)) * (rng.random(len(x)) < 0.4)


def _rise_and_fall(steps):
    part = np.arange(steps) / steps
    return np.minimum(1, np.minimum(part * 6, (1 - part) * 6))


# name: (function, shortest and longest in seconds, fewest and most steps)
KINDS = {
    'spike': (spike, (0, 0), (1, 3)),
    'shift': (shift, (1800, 4 * HOUR), (10, 100)),
    'ramp': (ramp, (1800, 2 * HOUR), (15, 150)),
    'drop_to_zero': (drop_to_zero, (900, 2 * HOUR), (5, 60)),
    'flat_line': (flat_line, (2 * HOUR, 8 * HOUR), (30, 300)),
    'drift': (drift, (8 * HOUR, 12 * HOUR), (60, 700)),
    'lost_season': (lost_season, (12 * HOUR, DAY), (60, 1440)),
    'variance': (variance, (1800, 3 * HOUR), (15, 120)),
    'dip': (dip, (180, HOUR), (3, 60)),
    'bump': (bump, (180, HOUR), (3, 60)),
    'burst': (burst, (180, HOUR), (3, 60)),
}


def length(kind, step_seconds, rng):
    """How many steps a fault of that kind lasts, at random."""
    _, seconds, bounds = KINDS[kind]
    return int(np.clip(rng.uniform(*seconds) / step_seconds if seconds[1] else rng.integers(1, 4), *bounds))


def inject(values, labels, at, entity, kind, *, step_seconds, size, rng):
    """Change one stretch of one series in place and label it; nothing happens where it does not fit, is labelled already, or follows no sample.

    values  float64 [T, N]  labels  bool [T, N]
    at      int             first step of the fault
    size    float           in spreads of the series (of its last 300 steps, without its slow movement)
    returns int             its length in steps, 0 = not injected
    """
    steps = length(kind, step_seconds, rng)
    span = slice(at, at + steps)
    if at < 300 or at + steps > len(values) or labels[max(0, at - 20) : at + steps + 20, entity].any():
        return 0
    x, recent = values[span, entity], values[at - 300 : at, entity]
    if np.isnan(recent).all():
        return 0
    changed = KINDS[kind][0](np.where(np.isnan(x), np.nanmean(recent), x), size, _spread(recent), rng)
    values[span, entity] = np.where(np.isnan(x), np.nan, changed)
    labels[span, entity] = True
    return steps


def _spread(x):
    """Robust spread of a series without its slow movement, never 0."""
    x = x[~np.isnan(x)]
    fast = np.abs(np.diff(x)) if len(x) > 1 else np.zeros(1)
    slow = np.abs(x - _smooth(x)) if len(x) > 1 else np.zeros(1)
    return max(1.4826 * np.median(slow), np.quantile(fast, 0.9) / 2, 1e-3 * np.abs(x).mean() if len(x) else 0, 1e-12)


def _smooth(x, width=31):
    """Running mean."""
    width = min(width, len(x))
    padded = np.pad(x, (width // 2, width - 1 - width // 2), mode='edge')
    total = np.cumsum(np.r_[0.0, padded])
    return (total[width:] - total[:-width]) / width


def scatter(values, labels, per_1000, kinds, *, step_seconds, rng, ranges=None):
    """Inject faults in all series, in place: places, kinds and sizes at random.

    values, labels  as of inject
    per_1000        so many for each 1000 samples of a series
    ranges          (least, most): a fault whose largest change is less or more than so many usual ranges of the day before is drawn again, TRIES times
                    in all; of a flat line any. None = of any size
    """
    least, powers = (3.0, 1.0) if ranges is None else (2.0, 1.1)
    for entity in range(values.shape[1]):
        clean = values[:, entity].copy()
        for _ in range(rng.poisson(per_1000 * len(values) / 1000)):
            kind = kinds[rng.integers(len(kinds))]
            size, at = least * 10 ** rng.uniform(0, powers), int(rng.integers(len(values)))
            for _ in range(TRIES):
                steps = inject(values, labels, at, entity, kind, step_seconds=step_seconds, size=size, rng=rng)
                if not steps or ranges is None or kind == 'flat_line':
                    break
                if ranges[0] <= change_in_usual_ranges(values[:, entity], clean, at, steps, step_seconds) <= ranges[1]:
                    break
                values[at : at + steps, entity], labels[at : at + steps, entity] = clean[at : at + steps], False
                size = least * 10 ** rng.uniform(0, powers)


def change_in_usual_ranges(values, clean, at, steps, step_seconds):
    """The largest change of a sample of a fault, in usual ranges of the day before it (300 samples at least); NaN = not known.

    values, clean  float64 [T]: the series with the fault, and without
    """
    change = np.abs(values[at : at + steps] - clean[at : at + steps])
    usual = usual_range(clean[max(0, at - max(300, int(DAY / step_seconds))) : at])
    return float(np.nanmax(change) / usual) if usual and not np.isnan(change).all() else float('nan')


def usual_range(values):
    """Half of the range of the central 99 % of the values float64 [T], or of their changes if that is smaller; NaN samples are left out."""
    low, high = np.nanquantile(np.stack([values[1:], np.diff(values)]), (0.005, 0.995), axis=1)
    return float((high - low).min() / 2)


def into(batch, per_1000, kinds, rng, ranges=None):
    """Faults in a batch of a team's own telemetry, as of scatter: (the batch with them, bool [T, N, F] where they are).

    Excluded samples (batch.faulty) are left as they are.
    """
    values = batch.values.reshape(len(batch.times), -1).copy()
    busy = batch.faulty.reshape(len(batch.times), -1).copy()
    scatter(values, busy, per_1000, kinds, step_seconds=batch.step_seconds, rng=rng, ranges=ranges)
    return replace(batch, values=values.reshape(batch.values.shape)), busy.reshape(batch.faulty.shape) & ~batch.faulty
