"""What the exporter remembers of series, for any instant of their history: the columns that a forecast model gets. Pure numpy.

The exporter learns as samples come (promlstm/engine/recent.py, season.py); here all instants are worked out from the whole history at once,
which is what training and measuring need. Nothing later than the instant is used. tests/convert/forecasts/test_memory.py compares the two.

    past = Past(times, values)              # float64 [T] local seconds, even steps; float64 [T, N], NaN = none
    past.columns(index, ahead)              # {input of the contract: array} as they are after the sample `index`; None in the first day
"""

import warnings

import numpy as np

from promlstm.engine.recent import IN_QUARTER, NOISE_SAMPLES, NOISE_WEIGHT, QUARTERS, SLOT_SECONDS, SLOTS, WEIGHTS

DAY, WEEK = SLOTS, 7 * SLOTS


class Past:
    """The history of N series, and what was remembered of it at each instant."""

    def __init__(self, times, values):
        self.times, self.values = times, values
        self.step_seconds = float(times[1] - times[0])
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', RuntimeWarning)     # means of nothing are NaN, as wanted
            self._first, self.slots = _slot_means(times, values)
            self._season = _learnt(self.slots)
            self._levels = np.stack([values, *(_smoothed(values, weight) for weight in WEIGHTS[1:])], -1)
            self._noise = _changes(values, self._levels[..., 1])
            self._before = self._first % IN_QUARTER         # half-hours of the first quarter that lie before the history
            slots = np.concatenate([np.full((self._before, values.shape[1]), np.nan), self.slots])
            whole = len(slots) // IN_QUARTER
            self._quarters = np.nanmean(slots[: whole * IN_QUARTER].reshape(whole, IN_QUARTER, -1), 1)

    def columns(self, index, ahead):
        """The inputs of the contract after the sample at an index, for targets `ahead` seconds later (float64 [H]); None in the first day."""
        now = self.times[index] / SLOT_SECONDS - self._first
        last = int(np.floor(now + 0.5)) - 1             # the newest slot that is complete
        if last < SLOTS:
            return None
        start = last - SLOTS + 1
        recent, usual = _carried(self.slots[start : last + 1]), self._season[start : last + 1]
        done, since = divmod(last + 1 + self._before, IN_QUARTER)
        quarters = self._quarters[max(0, done - QUARTERS) : done]
        unknown = np.full((QUARTERS - len(quarters), self.values.shape[1]), np.nan)
        targets = now + np.asarray(ahead, np.float64) / SLOT_SECONDS
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', RuntimeWarning)
            week, day = self._seasonal(last, np.append(targets, now))
        back = np.maximum(targets - DAY * np.maximum(np.ceil((targets - last) / DAY), 0), start) - start
        return {
            'levels': self._levels[index],
            'noise': self._noise[index],
            'recent': recent.T,
            'recent_season': usual.T,
            'quarters': np.concatenate([unknown, quarters]).T,
            'since_quarter': np.float32(since),
            'weekly': week[:-1].T,
            'daily': day[:-1].T,
            'yesterday': _between(recent, back).T,
            'yesterday_season': _between(usual, back).T,
            'now': np.stack([week[-1], day[-1]], 1),
            'ahead': np.asarray(ahead, np.float64),
            'step_seconds': np.float32(self.step_seconds),
        }

    def _seasonal(self, last, positions):
        """(weekly, daily) memory after the slot `last` at positions among the slots; float64 [P, N] each."""
        table = np.full((WEEK, self.values.shape[1]), np.nan)
        visited = np.arange(max(0, last - WEEK + 1), last + 1)
        table[visited % WEEK] = self._season[visited]
        days = np.stack([_around(table, positions - DAY * back) for back in range(7)])
        week = days[0]
        for day in days[1:]:
            week = np.where(np.isnan(week), day, week)
        return week, np.nanmean(days, 0)


def _slot_means(times, values):
    """(number of the first slot, mean of the samples nearest to each slot [K, N])."""
    slot = np.floor(times / SLOT_SECONDS + 0.5).astype(np.int64)
    starts = np.flatnonzero(np.diff(slot, prepend=slot[0] - 1))
    known = np.isfinite(values)
    total, count = np.add.reduceat(np.where(known, values, 0), starts, 0), np.add.reduceat(known.astype(np.int64), starts, 0)
    out = np.full((slot[-1] - slot[0] + 1, values.shape[1]), np.nan)
    out[slot[starts] - slot[0]] = np.where(count, total / np.maximum(count, 1), np.nan)
    return int(slot[0]), out


def _learnt(slots):
    """What the seasonal memory holds for each slot after it was there: half of the way to its mean at each visit."""
    out = np.full_like(slots, np.nan)
    for k, mean in enumerate(slots):
        old = out[k - WEEK] if k >= WEEK else out[k]
        out[k] = np.where(np.isnan(mean), old, np.where(np.isnan(old), mean, old + 0.5 * (mean - old)))
    return out


def _carried(x):
    """Gaps filled with the value before."""
    index = np.where(np.isfinite(x), np.arange(len(x))[:, None], -1)
    np.maximum.accumulate(index, axis=0, out=index)
    return np.where(index >= 0, np.take_along_axis(x, np.maximum(index, 0), 0), np.nan)


def _smoothed(values, weight):
    """Exponential means of the samples; a gap keeps the mean."""
    out, mean = np.empty_like(values), np.full(values.shape[1], np.nan)
    for k, x in enumerate(values):
        mean = np.where(np.isnan(x), mean, np.where(np.isnan(mean), x, mean + weight * (x - mean)))
        out[k] = mean
    return out


def _changes(values, fast):
    """Exponential mean of absolute differences between successive samples; after a gap, from the fast mean."""
    before = np.where(np.isnan(values), fast, values)
    out, mean, count = np.empty_like(values), np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for k, x in enumerate(values):
        change = np.abs(x - before[k - 1]) if k else np.full(values.shape[1], np.nan)
        known = np.isfinite(change)
        count = count + known
        weight = np.where(count < NOISE_SAMPLES, 1 / np.maximum(count, 1), NOISE_WEIGHT)
        mean = np.where(known, mean + weight * (change - mean), mean)
        out[k] = np.where(count > 0, mean, np.nan)
    return out


def _around(table, positions):
    """A table of slots that goes round, at positions between them [P]; the nearest known where one of the two is not known."""
    return _mixed(table, np.floor(positions).astype(np.int64) % len(table), (np.floor(positions).astype(np.int64) + 1) % len(table), positions)


def _between(slots, positions):
    """The same of slots in time order; after the last one, the last."""
    first = np.floor(positions).astype(np.int64)
    return _mixed(slots, first, np.minimum(first + 1, len(slots) - 1), positions)


def _mixed(table, first, second, positions):
    share = (positions - np.floor(positions))[:, None]
    before, after = table[first], np.where(share > 0, table[second], table[first])
    between = before + share * (after - before)
    return np.where(np.isnan(between), np.where(np.isnan(before), after, before), between)
