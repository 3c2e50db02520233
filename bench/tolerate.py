"""Gain and cost of `noisy: tolerate`: alarms on noisy series without a fault, and injected shifts that are found in copies of them.

Nine kinds of series with six entities each, two weeks at steps of five minutes, the default model at one alarm a week. Alarms are counted as a
budget counts them, from the fifth day on. A fault is a shift of a multiple of the usual noise (1.48 times the median deviation), for an hour.
"""

import numpy as np

from promlstm.engine import advance, session
from promlstm.engine.budget import largest_surprise
from promlstm.engine.columns import Frame
from promlstm.engine.memory import blank
from promlstm.engine.score import Policy

STEP, DAYS, ENTITIES, KNOWN = 300, 14, 6, 4
DAY = 86400 // STEP  # steps
START = 1_760_313_600  # a midnight
SIZES = (12, 30)  # of the faults, in usual noises
FAULTS = (5.3, 8.6, 11.4)  # days


def main():
    """Print a row for each value of the key."""
    model, healthy = session.load(session.resolve('builtin:default'), prove=False), series(np.random.default_rng(3))
    starts = [int(day * DAY) for day in FAULTS]
    noise = 1.48 * np.median(np.abs(healthy - np.median(healthy, axis=0)), axis=0)
    values = np.concatenate([healthy, *(struck(healthy, size * noise, starts) for size in SIZES)], axis=1)
    print('  noisy      alarms a week, mean   most   ' + '   '.join(f'found of size {size}' for size in SIZES))
    for noisy in ('alert', 'tolerate'):
        begins, anomalous = replayed(model, values, tolerant=noisy == 'tolerate')
        a_week = begins[KNOWN * DAY :, : healthy.shape[1]].sum(0) / ((DAYS - KNOWN) / 7)
        found = np.mean([anomalous[start : start + 3600 // STEP].any(0) for start in starts], axis=0).reshape(len(SIZES) + 1, -1).mean(1)[1:]
        print(f'  {noisy:8}   {a_week.mean():19.1f}   {a_week.max():4.1f}   ' + '   '.join(f'{share:16.2f}' for share in found), flush=True)


def series(rng):
    """float64 [T, kinds × ENTITIES]: heavy tails, bursts at random times, steps and noise that come and go."""
    shape = DAYS * DAY, ENTITIES
    kinds = [1 + rng.pareto(1.5, shape), np.exp(1.5 * rng.standard_normal(shape))]
    kinds += [bursts(rng, shape, *each) for each in ((1, 6, 0.4, 3), (2, 8, 0.4, 4), (3, 5, 0.5, 5), (1, 15, 0.5, 3))]
    kinds += [50 + 0.1 * np.cumsum(rng.standard_normal(shape) * np.exp(wander(rng, shape, 20)), 0)]
    kinds += [rng.standard_t(2, shape), wander(rng, shape, 5) * np.exp(0.8 * wander(rng, shape, 100))]
    return np.concatenate(kinds, axis=1)


def bursts(rng, shape, a_day, size, spread, steps):
    """Noise of 1 around 10, and bursts at random times, with a given number a day, lognormal sizes and a given length in steps."""
    out = 10 + rng.standard_normal(shape)
    for column in out.T:
        for at in np.flatnonzero(rng.random(len(column)) < a_day / DAY):
            column[at : at + steps] += size * np.exp(spread * rng.standard_normal())
    return out


def wander(rng, shape, steps):
    """AR(1) noise of variance 1 with a given decay in steps."""
    keep, out = np.exp(-1 / steps), rng.standard_normal(shape)
    for i in range(1, len(out)):
        out[i] = keep * out[i - 1] + np.sqrt(1 - keep**2) * out[i]
    return out


def struck(healthy, sizes, starts):
    """The same with a shift (float64 [N]) for an hour from each of these steps on."""
    out = healthy.copy()
    for start in starts:
        out[start : start + 3600 // STEP] += sizes
    return out


def replayed(model, values, *, tolerant):
    """(bool [T, N]: an alarm begins, bool [T, N]: the score is 1 or more)."""
    policy = Policy(hold_seconds=15 * STEP, settle_seconds=20 * STEP)
    settings = advance.Settings(STEP, policy=policy, alarms_per_week=1.0, largest_surprise=largest_surprise(model, 1, STEP))
    memory = blank(model, advance.UTC, values.shape[1], 1, tolerant=tolerant)
    frames = (Frame(float(START + STEP * k), row[:, None]) for k, row in enumerate(values))
    seen = [(after.alarm.since == verdicts.time, verdicts.score >= 1) for verdicts, after in advance.replay(model, settings, memory, frames)]
    return tuple(map(np.stack, zip(*seen, strict=True)))
