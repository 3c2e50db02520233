"""Healthy metrics of the shapes that real fleets have: nothing in them is a fault, so every alarm on one of them is false.

A shape is a function (t, n, rng) -> float [T, n]: t float [T] are Unix times in seconds, equally far apart, n entities that are alike but
not equal, rng a numpy Generator. NaN = no sample. Times of day are UTC.
"""

import numpy as np

MINUTE, HOUR, DAY = 60, 3600, 86400
SHAPES = {}


def shape(name):
    """Adds a function to SHAPES."""
    return lambda function: SHAPES.setdefault(name, function)


def normal(t, n, rng):
    return rng.standard_normal((len(t), n))


def of_day(t, n, shift=0.0):
    """Seconds since midnight, [T, n]; shift: the later, the further right an entity stands."""
    return (t[:, None] - shift * np.arange(n)) % DAY


def daily(t, n, hour=14.0):
    """A wave from -1 to 1 with its highest point at an hour of the day, [T, n]."""
    return np.cos(2 * np.pi * (of_day(t, n) - hour * HOUR) / DAY)


def working_day(t):
    """bool [T, 1]"""
    return ((t // DAY + 4) % 7 % 6 != 0)[:, None]


def wander(t, n, rng, steps):
    """AR(1) noise of variance 1 that forgets within so many steps, [T, n]."""
    keep = np.exp(-1 / steps)
    out = normal(t, n, rng)
    for i in range(1, len(t)):
        out[i] = keep * out[i - 1] + np.sqrt(1 - keep**2) * out[i]
    return out


def drawn(t, n, rng, seconds, draw):
    """draw(rng, size) once for each stretch of so many seconds, [T, n]."""
    slot = (t // seconds).astype(int)
    return draw(rng, (slot[-1] - slot[0] + 1, n))[slot - slot[0]]


# -- what users complained of


@shape('counts, Poisson of mean 0.2')
def _(t, n, rng):
    return rng.poisson(0.2, (len(t), n)).astype(float)


@shape('counts, Poisson of mean 2')
def _(t, n, rng):
    return rng.poisson(2.0, (len(t), n)).astype(float)


@shape('counts by time of day, mean 0 to 6')
def _(t, n, rng):
    return rng.poisson(3 + 3 * daily(t, n)).astype(float)


@shape('errors: one burst of 5 minutes a day')
def _(t, n, rng):
    return np.where(of_day(t, n, HOUR) < 5 * MINUTE, 8.0, 0.0)


@shape('nightly job of 20 minutes')
def _(t, n, rng):
    return 5 + 0.2 * normal(t, n, rng) + np.where(of_day(t - 2 * HOUR, n, MINUTE) < 20 * MINUTE, 80.0, 0.0)


@shape('jump at six on working days')
def _(t, n, rng):
    hour = of_day(t, n) // HOUR
    return np.where(working_day(t) & (hour >= 6) & (hour < 18), 100.0, 20.0) * (1 + 0.03 * normal(t, n, rng))


@shape('queue: saw tooth of 10 minutes')
def _(t, n, rng):
    return (t[:, None] // MINUTE + np.arange(n)) % 10 * 100.0 + 5 * normal(t, n, rng)


@shape('bytes free: refilled every two days')
def _(t, n, rng):
    return 5e11 - (t[:, None] + 2 * HOUR * np.arange(n)) % (2 * DAY) * 1e6 + 1e8 * normal(t, n, rng)


@shape('two levels at random (leader)')
def _(t, n, rng):
    return drawn(t, n, rng, 30 * MINUTE, lambda rng, size: rng.choice([10.0, 40.0], size)) + 0.5 * normal(t, n, rng)


@shape('ratio of 1 with rare dips')
def _(t, n, rng):
    return np.where(rng.random((len(t), n)) < 0.003, 0.98, 1.0)


@shape('temperature in steps of 0.5')
def _(t, n, rng):
    return np.round((45 + 3 * daily(t, n) + 0.2 * normal(t, n, rng)) * 2) / 2


@shape('latency, lognormal')
def _(t, n, rng):
    return 0.05 * np.exp(0.8 * normal(t, n, rng))


@shape('heap: saw tooth of 7 to 11 minutes')
def _(t, n, rng):
    length = 7 + np.arange(n) % 5
    return 1e9 * ((t[:, None] / MINUTE + 37 * np.arange(n)) % length) / length + 2e7 * normal(t, n, rng)


@shape('constant of 9.22e18 (no limit)')
def _(t, n, rng):
    return np.full((len(t), n), 9.223372036854776e18)


@shape('scraped every 5 minutes, seen every minute')
def _(t, n, rng):
    return drawn(t, n, rng, 5 * MINUTE, lambda rng, size: 100 + 20 * rng.standard_normal(size))


@shape('a sample in one minute of three')
def _(t, n, rng):
    return np.where((t[:, None] // MINUTE) % 3 == np.arange(n) % 3, 50 + 5 * normal(t, n, rng), np.nan)


# -- and as many more


@shape('traffic of working days and weekends')
def _(t, n, rng):
    level = 200 + 150 * daily(t, n) - 20 * np.cos(4 * np.pi * of_day(t, n) / DAY)
    return level * np.where(working_day(t), 1.0, 0.6) * (1 + 0.05 * wander(t, n, rng, 5))


@shape('cron burst of 2 minutes every quarter of an hour')
def _(t, n, rng):
    return 10 + normal(t, n, rng) + np.where(of_day(t, n, MINUTE) % (15 * MINUTE) < 2 * MINUTE, 40.0, 0.0)


@shape('hourly batch that starts 5 minutes early or late')
def _(t, n, rng):
    late = drawn(t, n, rng, HOUR, lambda rng, size: rng.uniform(5, 15, size)) * MINUTE
    since = t[:, None] % HOUR - late
    return 20 + normal(t, n, rng) + np.where((since >= 0) & (since < 10 * MINUTE), 50.0, 0.0)


@shape('replicas: an autoscaler by day')
def _(t, n, rng):
    return np.round(8 + 4 * daily(t, n) + 0.15 * wander(t, n, rng, 30))


@shape('hit ratio near its limit of 1')
def _(t, n, rng):
    return np.minimum(1, 0.985 + 0.01 * wander(t, n, rng, 10))


@shape('latency of the slowest, Pareto')
def _(t, n, rng):
    return 0.2 * (1 + rng.pareto(3.0, (len(t), n)))


@shape('queue that is mostly empty')
def _(t, n, rng):
    return np.where(rng.random((len(t), n)) < 0.03, np.ceil(rng.exponential(20, (len(t), n))), 0.0)


@shape('memory that leaks, restarted every three days')
def _(t, n, rng):
    return 2e8 + (t[:, None] + 5 * HOUR * np.arange(n)) % (3 * DAY) * 4e3 + 5e6 * wander(t, n, rng, 20)


@shape('load that wanders')
def _(t, n, rng):
    return 40 + 8 * wander(t, n, rng, 180) + normal(t, n, rng)


@shape('connections: a bounded walk in whole numbers')
def _(t, n, rng):
    return np.round(60 + 15 * wander(t, n, rng, 90))


@shape('weekly backup on Sunday')
def _(t, n, rng):
    sunday = ((t // DAY + 4) % 7 == 0)[:, None]
    return 2e6 + 2e5 * normal(t, n, rng) + np.where(sunday & (of_day(t - HOUR, n) < 3 * HOUR), 8e7, 0.0)


@shape('collector pauses')
def _(t, n, rng):
    return np.where(rng.random((len(t), n)) < 0.2, rng.gamma(3.0, 0.01, (len(t), n)), 0.0)


@shape('days until a certificate expires')
def _(t, n, rng):
    return 90 - (t[:, None] / DAY + 7 * np.arange(n)) % 60


@shape('heater: on and off, with jitter')
def _(t, n, rng):
    late = drawn(t, n, rng, 20 * MINUTE, lambda rng, size: rng.uniform(0, 4, size)) * MINUTE
    return np.where((t[:, None] % (20 * MINUTE) - late) % (20 * MINUTE) < 8 * MINUTE, 1500.0, 3.0) + normal(t, n, rng)


@shape('offset of a clock')
def _(t, n, rng):
    return np.round(2e-4 * wander(t, n, rng, 40) + 5e-5 * normal(t, n, rng), 6)


@shape('traffic with a noise that grows with it')
def _(t, n, rng):
    mean = np.exp(3 + 1.2 * daily(t, n, 20))
    return rng.poisson(mean * (1 + 0.1 * np.abs(wander(t, n, rng, 15)))).astype(float)
