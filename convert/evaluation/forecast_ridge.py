"""A linear forecast that is learnt: one ridge regression for all series of a set and horizon, on lags, means and what was at this time before.

It is fitted on what lies before the forecast alone: anew for each quarter of the origins, on all series up to the first of them. So no series
is forecast with weights that saw its future, nor that of another one. What it learns is the difference to the newest sample, or to the seasonal
naive of the day, whichever was nearer; from differences that are divided by the mean |x_t - x_(t-day)| of the series' past, so that one set of
weights fits bytes and shares. The interval is that of the other baselines: errors of the weights in use over the two weeks before.
Who calls it: forecasting. Pure numpy.
"""

import time

import numpy as np

from convert.evaluation import forecast_baselines, forecast_measures

LAGS = (1, 2, 3, 5, 10, 15, 30)             # steps
MEANS_SECONDS = (900, 3600, 6 * 3600, 86400, 7 * 86400)
DAY, WEEK = 86400, 7 * 86400
AROUND_SECONDS = 1800                       # either side: what was at a time is also taken as a mean
FITS = 4
PENALTIES = (1e-3, 1e-2, 0.1, 1.0, 10.0)    # of standardised features, times the rows
MOST_ROWS = 40_000
FARTHEST = 20.0                             # in the series' scale: so far a feature or a target counts, or one burst would rule the fit


class Ridge:
    """A forecaster, see forecasting.

    seconds  that the forecasts of the last call took: features and product, without the fits and the interval
    """

    def __init__(self):
        self.seconds = float('nan')

    def __call__(self, times, values, origins, ahead):
        step, origins = times[1] - times[0], np.asarray(origins)
        steps = np.round(np.asarray(ahead) / step).astype(int)
        past = forecast_baselines.Past(values[: origins.max() + 1], step)
        grid = np.arange(0, len(past.values), max(1, round(forecast_baselines.HOUR / step)))
        before, now = _Series(past, grid), _Series(past, origins)
        out = np.full((len(origins), values.shape[1], len(steps), 3), np.nan)
        self.seconds = 0.0
        for j, k in enumerate(steps):
            at = grid + k
            came = np.where((at < len(past.values))[:, None], past.values[np.minimum(at, len(past.values) - 1)], np.nan)
            which = _nearest([before.units(came - base) for base in before.bases(k)], at <= origins[0])
            base = before.bases(k)[which]
            rows, targets = before.features(k, base), before.units(came - base)
            begin = time.perf_counter()
            taken = now.bases(k)[which]
            features = now.features(k, taken)
            self.seconds += time.perf_counter() - begin
            for block in np.array_split(np.arange(len(origins)), min(FITS, len(origins))):
                weights = _fit(rows, targets, at <= origins[block[0]])
                begin = time.perf_counter()
                middle = taken[block] + now.reach[block] * (features[block] @ weights)
                self.seconds += time.perf_counter() - begin
                found = np.ascontiguousarray((came - base - before.reach * (rows @ weights)).T)
                low, high = forecast_baselines.bounds(middle, found, grid, origins[block], k, step)
                out[block, :, j] = np.stack([low, middle, high], axis=-1)
        return out


def _nearest(differences, due):
    """Place of that base from which values were less far, of those that had come due; the first where none had."""
    means = [np.mean(np.abs(known)) if (known := each[due][~np.isnan(each[due])]).size else 0.0 for each in differences]
    return int(np.argmin(means))


class _Series:
    """What the features of some origins are made of."""

    def __init__(self, past, origins):
        self.past, self.step, self.origins = past, past.step_seconds, origins
        self.level = past.filled[origins]
        scale = forecast_measures.scale(past.values, origins, round(DAY / self.step))
        self.scale = np.where(scale > 0, scale, np.nan)
        self.reach = np.nan_to_num(self.scale)      # a series that never changed is forecast as it is
        self.centre = past.values[past.first, np.arange(past.values.shape[1])]      # keeps the running sums small, and so exact
        above = np.nan_to_num(past.filled - self.centre)
        self.sums = np.concatenate([np.zeros((1, above.shape[1])), np.cumsum(above, axis=0)])

    def units(self, difference):
        """A difference of values, [O, N], in the series' scale."""
        return np.clip(difference / self.scale, -FARTHEST, FARTHEST)

    def bases(self, k):
        """What a forecast k steps ahead may be taken from, two of float [O, N]: the newest sample, and the value of the day before the target."""
        day = round(DAY / self.step)
        return self.level, self._sample(self.origins + k - -(-k // day) * day)

    def features(self, k, base):
        """float [O, N, F] of the forecasts k steps ahead, which are taken from `base`; 0 where a difference is not known."""
        day, week, o = round(DAY / self.step), round(WEEK / self.step), self.origins
        level = self.level
        out = [level - base]
        out += [self._sample(o - lag) - level for lag in LAGS]
        out += [self._mean(o - round(seconds / self.step) + 1, o) - level for seconds in MEANS_SECONDS]
        days, weeks = -(-k // day) * day, -(-k // week) * week
        around, now = self._around(o), self._around(o + k - days)
        out.append(now - base)
        for back in (days, days + day, days + 2 * day, weeks, weeks + week):
            out += [self._sample(o + k - back) - base, self._around(o + k - back) - now, level - self._sample(o - back), around - self._around(o - back)]
        return np.stack([*(np.nan_to_num(self.units(each)) for each in out), np.ones(level.shape)], axis=-1)

    def _sample(self, at):
        return np.where((at >= 0)[:, None], self.past.filled[np.maximum(at, 0)], np.nan)

    def _around(self, at):
        half = round(AROUND_SECONDS / self.step)
        return self._mean(at - half, np.minimum(at + half, self.origins))

    def _mean(self, first, last):
        """Of the samples from first to last, both int [O], as far as the series reaches back; NaN where it does not."""
        begin = np.maximum(first[:, None], self.past.first)
        count = last[:, None] + 1 - begin
        columns = np.arange(len(self.centre))
        total = self.sums[np.maximum(last + 1, 0)] - self.sums[np.minimum(begin, len(self.past.filled)), columns]
        return np.where(count > 0, self.centre + total / np.maximum(count, 1), np.nan)


def _fit(features, targets, due):
    """Weights, float [F], of the rows that had come due: features [G, N, F], targets [G, N], due bool [G]; zeros where there are too few.

    The penalty is that of PENALTIES with the least mean absolute error on the last fifth of the rows, fitted on those before.
    """
    rows, columns = np.nonzero(~np.isnan(targets) & due[:, None])
    if len(rows) > MOST_ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(len(rows), MOST_ROWS, replace=False))
        rows, columns = rows[chosen], columns[chosen]
    if len(rows) < 2 * features.shape[2]:
        return np.zeros(features.shape[2])
    x, y = features[rows, columns], targets[rows, columns]
    cut = len(rows) - len(rows) // 5
    tried = [np.abs(y[cut:] - x[cut:] @ _solved(x[:cut], y[:cut], penalty)).mean() for penalty in PENALTIES]
    return _solved(x, y, PENALTIES[int(np.argmin(tried))])


def _solved(x, y, penalty):
    spread = x.std(axis=0)
    used = spread > 1e-9
    z = (x[:, used] - x[:, used].mean(axis=0)) / spread[used]
    out = np.zeros(x.shape[1])
    out[used] = np.linalg.solve(z.T @ z + penalty * len(z) * np.eye(z.shape[1]), z.T @ (y - y.mean())) / spread[used]
    out[-1] = y.mean() - x.mean(axis=0) @ out                   # the last feature is 1
    return out
