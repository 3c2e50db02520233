"""Synthetic telemetry to learn forecasts from: what comes can be told from what was, more or less.

Beside the telemetry that detectors learn from (convert.data.synthesis) there are rhythms of days and weeks with slow changes, trends, walks and
lasting steps; clean rhythms with little noise; levels that jump between plateaus; and disks that fill: steadily or with the work of the day,
emptied at a limit, by the clock or by hand, with bursts; leaks that begin suddenly. Any unit, some rounded, some with gaps, some that begin late.
Seeded; pure numpy.

    times, values = telemetry.batch(seed, step_seconds=300, days=24, series=400)
"""

import numpy as np

from convert.data import synthesis

DAY, WEEK = 86400.0, 604800.0
MIX = (('changing', 0.24), ('clean', 0.25), ('disks', 0.2), ('leaks', 0.1), ('plateaus', 0.04))     # shares; the rest is of convert.data.synthesis
GAPS, LATE, ROUNDED = 0.2, 0.15, 0.15       # shares of series with gaps, that begin late, that are rounded


def batch(seed, *, step_seconds, days, series):
    """(times float64 [T] seconds from a Monday on, values float64 [T, series], NaN = none)."""
    rng = np.random.default_rng([*np.atleast_1d(seed), int(step_seconds)])
    steps = int(days * DAY / step_seconds)
    times = synthesis.EPOCH + rng.integers(0, 336) * 1800 + step_seconds * np.arange(steps, dtype=np.float64)
    counts = [int(share * series) for _, share in MIX]
    own = np.concatenate([KINDS[name](rng, times, count) for (name, _), count in zip(MIX, counts, strict=True)], 1)
    own = _in_units(rng, own)
    others = synthesis.batch([*np.atleast_1d(seed), 9], step_seconds=step_seconds, steps=steps, entities=series - own.shape[1]).values[:, :, 0]
    values = np.concatenate([own, others], 1)
    values[rng.random(values.shape) < np.where(rng.random(series) < GAPS, 0.02, 0)] = np.nan
    begin = np.where(rng.random(series) < LATE, rng.integers(0, max(1, steps * 3 // 5), series), 0)
    values[np.arange(steps)[:, None] < begin] = np.nan
    return times, values


def _in_units(rng, x):
    count = x.shape[1]
    scale = 10 ** rng.uniform(-3, 6, count)
    grain = np.where(rng.random(count) < ROUNDED, x.std(0) * 10 ** rng.uniform(-2, -0.5, count), 0)
    x = np.where(grain > 0, np.round(x / np.where(grain > 0, grain, 1)) * grain, x)
    return scale * (x + np.where(rng.random(count) < 0.2, 10 ** rng.uniform(0, 2, count), 0))


def _changing(rng, times, n):
    """Rhythms in noise of any size, with all that may change beside them."""
    x = _rhythm(rng, times, n) * (rng.random(n) < 0.85)
    x += _wandering(rng, times, n, 3600 * 10 ** rng.uniform(-1, 2, n)) * 10 ** rng.uniform(-2, 0.3, n)
    x += _noise(rng, (len(times), n)) * 10 ** rng.uniform(-2.5, 0.4, n)
    x += _moving(rng, times, n, walks=0.5, largest=0.3, trend=0.15)
    steps = rng.random(x.shape) < (times[1] - times[0]) / DAY / 14
    x += np.cumsum(steps * rng.normal(size=x.shape) * 1.5 * (rng.random(n) < 0.25), 0)
    return _positive(rng, x, 0.4, 3 * (rng.random(n) < 0.5))


def _clean(rng, times, n):
    """Rhythms that repeat well, or turn slowly into others."""
    x = _rhythm(rng, times, n)
    turned = np.cumsum(_wandering(rng, times, n, DAY * 10 ** rng.uniform(0.3, 1.3, n)), 0)
    turned *= 10 ** rng.uniform(-1.5, 0, n) / (np.abs(turned).max(0) + 1e-9)
    x += np.where(rng.random(n) < 0.4, turned, 0) * (_day(rng, times, n) - x)
    x += _wandering(rng, times, n, 3600 * 10 ** rng.uniform(0, 2.2, n)) * 10 ** rng.uniform(-3.5, -0.4, n)
    x += _noise(rng, (len(times), n)) * 10 ** rng.uniform(-4, -1.2, n)
    x += _moving(rng, times, n, walks=0.4, largest=0.0, trend=0.1) * np.where(rng.random(n) < 0.5, 1, 0.1)
    return _positive(rng, x, 0.5, 4 * (rng.random(n) < 0.7))


def _plateaus(rng, times, n):
    """Levels that are held for minutes to days, drawn anew or from a few, with a little noise."""
    step = times[1] - times[0]
    held = 10 ** rng.uniform(np.log10(max(1800, 4 * step)), np.log10(4 * DAY), n)
    change = rng.random((len(times), n)) < step / held
    which = np.cumsum(change, 0)
    many = which.max(initial=0) + 1
    levels = np.where(rng.random(n) < 0.5, rng.normal(size=(many, n)), rng.integers(0, 3, (many, n)))
    x = np.take_along_axis(levels, which, 0)
    return x + _noise(rng, x.shape) * np.where(rng.random(n) < 0.5, 10 ** rng.uniform(-3, -0.5, n), 0) + 3


def _disks(rng, times, n):
    """Used and free space."""
    step, steps = times[1] - times[0], len(times)
    rate = 10 ** rng.uniform(-2.5, 1, n) * step / DAY       # of the size, a step
    busy = np.maximum(1 + _rhythm(rng, times, n) * rng.uniform(0, 1, n), 0)
    uneven = rng.gamma(10 ** rng.uniform(-2, 1, n) + 0.02, 1, (steps, n))
    more = np.where(rng.random(n) < 0.45, 1, busy * uneven / (uneven.mean(0) + 1e-9)) * rate
    more *= np.exp(np.clip(np.cumsum((rng.random((steps, n)) < step / DAY / 10) * rng.normal(size=(steps, n)) * (rng.random(n) < 0.4), 0), -3, 3))
    used = _emptied(rng, times, more)
    _files(rng, used, times, 0.3)
    used += rng.normal(size=used.shape) * np.where(rng.random(n) < 0.6, 10 ** rng.uniform(-4, -1.7, n), 0)
    return np.where(rng.random(n) < 0.6, np.maximum(rng.uniform(0.8, 3, n) - used, 0), used)


def _files(rng, used, times, share):
    """Files that come within an hour or two and are deleted hours later, added in place to a share of the series."""
    step, (steps, n) = times[1] - times[0], used.shape
    for entity in np.flatnonzero(rng.random(n) < share):
        for start in np.flatnonzero(rng.random(steps) < step / DAY / 3):
            length, comes = int(rng.exponential(5 * 3600) / step) + 2, 3600 * rng.uniform(0.2, 2) / step
            part = used[start : start + length, entity]
            part += rng.exponential() * 0.25 * np.minimum(np.arange(1, len(part) + 1) / comes, 1)


def _emptied(rng, times, more):
    """What adds up, emptied never, at a limit, by the clock (and a share is kept), or by hand; float64 [T, N]."""
    steps, n = more.shape
    kind = rng.choice(4, n, p=[0.5, 0.15, 0.22, 0.13])
    top, low = rng.uniform(0.3, 1, n), rng.uniform(0, 0.9, n)
    period = rng.choice([3 * 3600, 6 * 3600, DAY, DAY, WEEK], n)
    turn = np.diff(np.floor((times[:, None] - rng.random(n) * period) / period), axis=0, prepend=0) > 0
    by_hand = rng.random((steps, n)) < (times[1] - times[0]) / DAY / 6
    kept, used = rng.uniform(0, 1, n), rng.random(n) * top
    base, out = used.copy(), np.empty((steps, n))
    for step in range(steps):
        used = used + more[step]
        used = np.where((kind == 1) & (used > top), low * top, used)
        rotated = (kind == 2) & turn[step]
        base = np.where(rotated, base + (used - base) * kept * 0.1, base)
        used = np.where(rotated, base, used)
        used = np.where((kind == 3) & by_hand[step], used * kept, used)
        out[step] = used
    return out


def _leaks(rng, times, n):
    """Free and used resources that something begins to eat up, in hours or days, until it is gone, or is stopped before; then all is as before."""
    step, steps = times[1] - times[0], len(times)
    begins = rng.random((steps, n)) < step / DAY / rng.uniform(0.7, 4, n)
    stopped = rng.random((steps, n)) < step / DAY / 8
    rates = step / 10 ** rng.uniform(np.log10(4 * 3600), np.log10(4 * DAY), (steps, n))
    uneven = rng.gamma(k := 10 ** rng.uniform(0.3, 2, n), 1 / k, (steps, n))
    back = rng.random((steps, n)) < step / (6 * 3600)
    top = rng.uniform(0.3, 1, n)
    left, rate, out = top.copy(), np.zeros(n), np.empty((steps, n))
    for number in range(steps):
        rate = np.where((rate == 0) & begins[number] & (left >= top), rates[number], rate)
        left = np.maximum(left - rate * uneven[number], 0)
        over = (rate > 0) & (((left <= 0) & back[number]) | stopped[number])
        left, rate = np.where(over, top, left), np.where(over, 0, rate)
        out[number] = left
    gone = 1 - out
    _files(rng, gone, times, 0.4)
    out = 1 - gone
    out += rng.normal(size=out.shape) * 10 ** rng.uniform(-4, -2, n)
    out += _day(rng, times, n) * np.where(rng.random(n) < 0.3, 10 ** rng.uniform(-3, -1.2, n), 0)
    return np.where(rng.random(n) < 0.6, out, 1.5 - out)


KINDS = {'changing': _changing, 'clean': _clean, 'plateaus': _plateaus, 'disks': _disks, 'leaks': _leaks}


def _rhythm(rng, times, n):
    """A day of any shape, smooth or with edges, another at the weekend, days that are stronger and weaker; about unit size."""
    shape = _day(rng, times, n)
    weekend = np.isin((times // DAY + 3) % 7, (5, 6))[:, None]
    share = np.where(rng.random(n) < 0.35, rng.uniform(0.2, 1, n), 0)
    shape += weekend * share * (_day(rng, times, n) - shape)
    number = (times // DAY - times[0] // DAY).astype(int)
    of_week = rng.normal(size=(7, n)) * np.where(rng.random(n) < 0.3, rng.uniform(0, 0.3, n), 0)
    of_week[5:] += np.where(rng.random(n) < 0.5, rng.uniform(-0.7, 0.3, n), 0)
    weekday = ((times // DAY + 3) % 7).astype(int)
    memory, size = rng.uniform(0, 0.95, n), rng.choice([0, 0.01, 0.1, 0.25], n)
    days = synthesis.filtered(rng.normal(size=(number[-1] + 1, n)), memory) * np.sqrt(1 - memory**2) * size
    return shape * np.maximum(1 + of_week[weekday] + days[number], 0) + (of_week * rng.uniform(0, 2, n))[weekday]


def _day(rng, times, n):
    waves, part = 8, (times % DAY / DAY)[:, None]
    order = np.arange(1, waves + 1)[:, None]
    size, phase = rng.normal(size=(waves, n)) / order ** rng.uniform(0.7, 2, n), rng.uniform(0, 2 * np.pi, (waves, n))
    shape = sum(size[k] * np.cos(2 * np.pi * (k + 1) * part + phase[k]) for k in range(waves)) / (np.sqrt((size**2).sum(0) / 2) + 1e-9)
    width, ramp = rng.uniform(0.02, 0.5, n), rng.uniform(0.005, 0.08, n)
    inside = np.clip((width - np.abs((part - rng.random(n) + 0.5) % 1 - 0.5) * 2) / ramp, 0, 1)
    return np.where(rng.random(n) < 0.25, shape * rng.uniform(0, 1, n) + 2 * inside * rng.choice([-1, 1], n), shape)


def _moving(rng, times, n, *, walks, largest, trend):
    """Walks, smooth walks and straight lines, each in a share of the series."""
    step = times[1] - times[0]
    walk = np.cumsum(rng.standard_t(4, (len(times), n)), 0) * np.sqrt(step / DAY) * 0.7
    smooth = np.cumsum(_wandering(rng, times, n, 3600 * 10 ** rng.uniform(0, 1.5, n)), 0) * step / DAY
    line = ((times - times[0]) / DAY)[:, None] * rng.normal(size=n) * trend
    x = walk * np.where(rng.random(n) < walks, 10 ** rng.uniform(-1.5, largest, n), 0)
    x += smooth * np.where(rng.random(n) < 0.25, 10 ** rng.uniform(-1, 0.4, n), 0)
    return x + line * (rng.random(n) < 0.3)


def _wandering(rng, times, n, seconds):
    """Noise that is correlated over so many seconds [N]; unit size."""
    memory = np.exp(-(times[1] - times[0]) / seconds)
    return synthesis.filtered(rng.normal(size=(len(times), n)), memory) * np.sqrt(1 - memory**2)


def _noise(rng, shape):
    """Of each sample by itself; heavy tails in some series."""
    freedom = np.where(rng.random(shape[1]) < 0.2, rng.uniform(2.5, 5, shape[1]), 30)
    return rng.standard_t(np.broadcast_to(freedom, shape)) * np.sqrt((freedom - 2) / freedom)


def _positive(rng, x, share, offset):
    """Some series grow by factors and are positive; to the others an offset is added."""
    return np.where(rng.random(x.shape[1]) < share, np.exp(np.clip(0.4 * x, -4, 4)), x + offset)
