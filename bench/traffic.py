"""Traffic for `scaling`: series of labelled sets that a rule selects, and the requests of the shop in the demo.

A series is traffic where, in the days before those that are simulated,

    it counts                its samples are whole numbers (95 % of them), or its name has `rps`, `rate`, `requests` or `volume` in it
    in steps that show load  of half an hour or less, for ten days or more, with 5 % of gaps at most, never below 0
    it varies by day         the hours of one day say at least half of the next one's (1 − half the mean square of the difference over the
                             variance of hourly means), and the usual day's busiest hour has twice the quietest's load or more
"""

import re
from typing import NamedTuple

import numpy as np

HOUR, DAY = 3600, 86400
LEAST_DAYS, HISTORY_DAYS = 10, 28
LONGEST_STEP_SECONDS = 1800
NAMED = re.compile(r'(^|[^a-z])(rps|rate|requests|volume)([^a-z]|$)', re.IGNORECASE)
START = 1_767_571_200  # of the shop's simulated days: a Monday, 2026-01-05, 00:00 UTC
STEP_SECONDS = 60


class Traffic(NamedTuple):
    """Series on one clock.

    name     of the set
    names    N
    times    float64 [T], unix seconds, even steps
    values   float64 [T, N], requests of whatever unit; NaN = no sample
    counted  bool [T, N]: simulated; what is before is history
    """

    name: str
    names: tuple
    times: np.ndarray
    values: np.ndarray
    counted: np.ndarray

    @property
    def step_seconds(self):
        """Between two samples."""
        return self.times[1] - self.times[0]


def is_traffic(name, values, step_seconds):
    """Whether a series is traffic by the rule above; values float [T], the days before those that are simulated."""
    known = values[~np.isnan(values)]
    days = len(values) * step_seconds / DAY
    if not 0 < step_seconds <= LONGEST_STEP_SECONDS or days < 3 or len(known) < 0.95 * len(values) or known.min() < 0:
        return False
    if np.mean(known == np.round(known)) < 0.95 and not NAMED.search(name):
        return False
    by_day = hourly(values, step_seconds)
    variance = np.nanvar(by_day)
    usual = np.nanmedian(by_day, axis=0)
    alike = 1 - np.nanmean((by_day[1:] - by_day[:-1]) ** 2) / (2 * variance) if variance > 0 else 0
    return bool(alike >= 0.5 and usual.max() >= 2 * usual.min())


def hourly(values, step_seconds):
    """Means of the hours of whole days: float [days, 24]; of an hour without a sample, the mean of all.

    >>> hourly(np.tile(np.arange(48.0), 2), 1800)[:, :3]
    array([[0.5, 2.5, 4.5], [0.5, 2.5, 4.5]])
    """
    each = round(HOUR / step_seconds)
    whole = len(values) // (24 * each) * 24 * each
    hours = values[:whole].reshape(-1, each)
    count = (~np.isnan(hours)).sum(1)
    means = np.nansum(hours, axis=1) / np.maximum(count, 1)
    return np.where(count > 0, means, np.nanmean(values)).reshape(-1, 24)


def of_recordings(name, recordings, days):
    """Traffic of what a set holds, one for each step there is; recordings as of convert.data.labelled, in which those of several features
    are in units that nobody knows any more, so they are left out."""
    chosen = {}
    for recording in recordings:
        step, values = recording.step_seconds, recording.values
        long = len(values) * step / DAY
        simulated = round(min(days, long - 7) * DAY / step)
        if values.shape[1] > 1 or long < LEAST_DAYS or not is_traffic(recording.name, values[:-simulated, 0], step):
            continue
        kept = min(len(values), simulated + round(HISTORY_DAYS * DAY / step))
        begin = recording.start + (len(values) - kept) * step
        chosen.setdefault(step, []).append((recording.name, begin, values[-kept:, 0], simulated))
    return [_together(name, step, each) for step, each in sorted(chosen.items())]


def _together(name, step, each):
    """One Traffic; series are moved by whole weeks, so that they keep their seasons."""
    week = round(7 * DAY / step)
    offsets = np.array([round(begin / step) % week for _, begin, _, _ in each])
    first = int(offsets.min())
    total = max(offset - first + len(values) for offset, (_, _, values, _) in zip(offsets, each, strict=True))
    values = np.full((total, len(each)), np.nan)
    counted = np.zeros(values.shape, bool)
    for n, (offset, (_, _, column, simulated)) in enumerate(zip(offsets, each, strict=True)):
        at = offset - first
        values[at : at + len(column), n] = column
        counted[at + len(column) - simulated : at + len(column), n] = True
    # Weeks of unix time begin on a Thursday: any week does, for only the place in it matters.
    return Traffic(name, tuple(name for name, *_ in each), step * (first + week * 2900 + np.arange(total)), values, counted)


def of_shop(days, seed=1):
    """The requests of the demo's shop, each service for itself: three healthy weeks, then days with one fault each, surges among them.

    Without the services that nothing depends on: they are loud at times, which is no load.
    """
    from promlstm.demo.shop import APART, Shop

    shop = Shop(seed, START, quiet_seconds=DAY - 900)
    chosen = [i for i, each in enumerate(shop.series) if each.metric == 'service_requests_per_second' and each.labels['service'] not in APART]
    times = START + STEP_SECONDS * np.arange(round(-21 * DAY / STEP_SECONDS), round(days * DAY / STEP_SECONDS), dtype=np.float64)
    values = np.stack([shop.value(i, times) for i in chosen], axis=1)
    counted = np.repeat((times >= START)[:, None], len(chosen), axis=1)
    return Traffic('shop', tuple(shop.series[i].labels['service'] for i in chosen), times, values, counted)
