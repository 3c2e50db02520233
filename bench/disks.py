"""How early alerts announce a full disk, and how many are false: forecasts compared with predict_linear, on simulated disks.

Four kinds with equally many disks, a month at steps of ten minutes after nine days without alerts: leaks that begin at some time and fill the disk
within 4 hours to 4 days; logs that are rotated every 6 hours, every night or every week; bursts of files that come within an hour and are deleted
hours later; slow growth that is cleaned up before it ends. The forecast has the exporter's own memory, filled as at a start.

    false    alerts a month per 100 disks on a disk that is not full within two days
    warned   share of the full disks that had an alert before
    lead     for these, median time from the alert to the full disk; the alert has to last until then
"""

from zoneinfo import ZoneInfo

import numpy as np

from promlstm.engine import session
from promlstm.engine.recent import SLOT_SECONDS, Recent
from promlstm.engine.season import DAY, WEEK, Season
from promlstm.forecasts import limit, model, predict

STEP, KNOWN_DAYS, DAYS, OF_EACH = 600.0, 9, 30, 60
HOUR, UTC, START = 3600.0, ZoneInfo('UTC'), 1_760_313_600.0
KINDS = ('leak', 'rotated', 'burst', 'growth')
SOON = 48 * HOUR  # an alert that comes no longer than this before the disk is full was right
FOR = {'pessimistic': 9, 'middle': 2}  # steps that a condition has to hold, as rules/forecast.yml has it: 90 minutes, a quarter of an hour
FALLS = 36  # steps, six hours: the range of predict_linear in node_exporter's mixin


def main():
    """Print a row for each rule."""
    free, kinds = disks(np.random.default_rng(5))
    loaded = model.load(session.resolve('builtin:forecast'), prove=False)
    middle, pessimistic = forecasts(loaded, free)
    line4, line24 = (predict_linear(free, hours * HOUR) for hours in (4, 24))
    rules = {
        'forecast, pessimistic < 6h': lasting(pessimistic < 6 * HOUR, FOR['pessimistic']),
        'forecast, middle < 1h': lasting(middle < HOUR, FOR['middle']),
        'predict_linear[6h] 24h, < 40 % free': lasting((line24 < 0) & (free < 0.4), 6),
        'predict_linear[6h] 4h, < 20 % free': lasting((line4 < 0) & (free < 0.2), 6),
    }
    print(f'  {free.shape[1]} disks, {DAYS} days')
    print(f'  {"rule":38}  {"full":>5}  {"warned":>7}  {"lead":>6}  {"false":>6}   of ' + ', '.join(KINDS))
    for name, told in rules.items():
        full, leads, wrong = judged(told, free)
        a_month = 100 * 30 / DAYS
        each = ', '.join(f'{a_month * wrong[kinds == kind].mean():.1f}' for kind in range(len(KINDS)))
        lead = f'{np.median(leads) / HOUR:.1f}h' if len(leads) else '–'
        print(f'  {name:38}  {full:5}  {len(leads) / max(1, full):7.0%}  {lead:>6}  {a_month * wrong.mean():6.1f}   {each}', flush=True)


def disks(rng):
    """(free share of the size, float64 [T, N], kind int [N])."""
    steps, count = int((KNOWN_DAYS + DAYS) * DAY / STEP), OF_EACH
    times = np.arange(steps) * STEP
    leak = _leaks(rng, times, count)
    period = rng.choice([6 * HOUR, DAY, WEEK], count)
    depth = rng.uniform(0.2, 0.7, count)
    top = depth + rng.uniform(0.1, 0.28, count)  # what is left before it is rotated
    phase = (times[:, None] / period + rng.random(count)) % 1
    uneven = np.cumsum(rng.gamma(2.0, 0.5, (steps, count)), 0) / np.arange(1, steps + 1)[:, None]
    rotated = top - depth * phase * uneven / uneven.mean(0)
    burst = rng.uniform(0.3, 0.9, count) - _bursts(rng, times, count) * rng.uniform(0.1, 0.25, count)
    growth = _cleaned(rng, times, count)
    free = np.concatenate([leak, np.maximum(rotated, 0.02), np.maximum(burst, 0.02), growth], axis=1)
    noise = 10 ** rng.uniform(-5, -3, free.shape[1]) * rng.normal(size=free.shape)
    return np.where(free > 0, np.maximum(free + noise, 1e-4), 0.0), np.repeat(np.arange(len(KINDS)), count)


def _leaks(rng, times, count):
    """Steady, or growing by 10 % a day, until a leak begins; full for an hour, then cleaned."""
    out = np.empty((len(times), count))
    for disk in range(count):
        level, rate = rng.uniform(0.4, 0.9), 0.0
        begins, filling, after = rng.uniform(KNOWN_DAYS + 1, KNOWN_DAYS + DAYS - 5) * DAY, 10 ** rng.uniform(np.log10(4), np.log10(96)) * HOUR, 0
        for k, time in enumerate(times):
            if time >= begins and not rate and not after:
                rate = level / filling * STEP
            level = max(0.0, level - rate * rng.uniform(0.5, 1.5))
            if level == 0.0:
                after += 1
                if after > HOUR / STEP:
                    level, rate = 0.7, 0.0
            out[k, disk] = level
    return out


def _bursts(rng, times, count):
    """Bursts from 0 up to 1: a rise within 10 to 60 minutes, a plateau of 1 to 6 hours, then 0 again; one every three days on average."""
    out = np.zeros((len(times), count))
    for disk in range(count):
        for start in np.flatnonzero(rng.random(len(times)) < 0.33 * STEP / DAY):
            up, stays = int(rng.integers(1, 7)), int(rng.uniform(1, 6) * HOUR / STEP)
            shape = np.r_[np.linspace(0, 1, up + 1)[1:], np.ones(stays)]
            part = out[start : start + len(shape), disk]
            np.maximum(part, shape[: len(part)] * rng.uniform(0.3, 1), out=part)
    return out


def _cleaned(rng, times, count):
    """Growth of 1 to 5 % a day, cleaned up when an eighth is left."""
    out, level, rate = np.empty((len(times), count)), rng.uniform(0.3, 0.9, count), 10 ** rng.uniform(-2, -1.3, count) * STEP / DAY
    for k in range(len(times)):
        level = level - rate * rng.gamma(1.0, 1.0, count)
        level = np.where(level < 0.125, rng.uniform(0.4, 0.8, count), level)
        out[k] = level
    return out


def forecasts(loaded, free):
    """Seconds to the limit, by the middle and by the pessimistic bound: float64 [T, N], NaN before the first day that counts."""
    ahead, count = limit.looks(float(WEEK)), free.shape[1]
    recent = Recent.blank(count, 1, UTC)
    season = Season.blank(count, 1, period_seconds=WEEK, slots=WEEK // SLOT_SECONDS, zone=UTC)
    out, slot, samples = np.full((2, *free.shape), np.nan), None, []
    for k, row in enumerate(free):
        time = START + k * STEP
        if samples and season.slot(time) != slot:
            season, samples = season.fill([time - STEP], np.mean(samples, 0)[None, :, None]), []
        slot = season.slot(time)
        samples.append(row)
        recent = recent.after(time, row[:, None])
        if k * STEP >= KNOWN_DAYS * DAY:
            found = predict.predict(loaded, recent, season, time, ahead, STEP)
            out[:, k] = limit.seconds_to(np.zeros(count), row, found.quantiles[:, 0], ahead, rising=False).T
    return out


def predict_linear(free, seconds):
    """The prediction of a straight line through the last six hours: float64 [T, N]."""
    x = np.arange(-FALLS, 1) * STEP
    out = np.full(free.shape, np.nan)
    for k in range(FALLS, len(free)):
        y = free[k - FALLS : k + 1]
        slope = ((x - x.mean())[:, None] * (y - y.mean(0))).sum(0) / ((x - x.mean()) ** 2).sum()
        out[k] = y.mean(0) + slope * (seconds - x.mean())
    return out


def lasting(condition, steps):
    """bool [T, N]: the condition holds now, and held for a number of steps before."""
    out = condition.copy()
    for back in range(1, steps + 1):
        out[back:] &= condition[:-back]
        out[:back] = False
    return out


def judged(told, free):
    """(full disks, lead time in seconds of each one with an alert, false alerts of each disk)."""
    begin, leads, full, wrong = int(KNOWN_DAYS * DAY / STEP), [], 0, np.zeros(free.shape[1])
    for disk in range(free.shape[1]):
        empty = free[:, disk] <= 0
        fulls = np.flatnonzero(empty[1:] & ~empty[:-1]) + 1
        starts = np.flatnonzero(told[1:, disk] & ~told[:-1, disk]) + 1
        for start in starts[starts >= begin]:
            following = fulls[fulls >= start]
            if not (len(following) and (following[0] - start) * STEP <= SOON) and not empty[start]:
                wrong[disk] += 1
        for moment in fulls[fulls >= begin]:
            full += 1
            quiet = np.flatnonzero(~told[:moment, disk])
            since = quiet[-1] + 1 if len(quiet) else 0
            if since < moment:
                leads.append((moment - since) * STEP)
    return full, np.array(leads), wrong
