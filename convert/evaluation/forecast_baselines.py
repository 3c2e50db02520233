"""Simple forecasts to compare a model with: what repeats, what goes on, what PromQL has. A model that is no better is not worth its cost.

    last value, drift              of every textbook
    seasonal naive, day and week   the value at the same time of the last day or week that is known
    mean of seven days             at this time of the last seven of them
    predict_linear                 as Prometheus computes it: least squares over a range, left-open as in Prometheus 3
    double_exponential_smoothing   as Prometheus computes it (called holt_winters before 3.0): the smoothed value that PromQL gives, and that
                                   value with the last trend carried on, which PromQL does not give

None of them has an interval of its own. Each gets one from what it would have erred by in its own past: its forecasts from each hour of the
two weeks before whose target is known at the origin; the .1 and .9 quantiles of those errors, of each series and horizon, are added to the
forecast. Who calls it: forecasting. Pure numpy.
"""

import functools
import time

import numpy as np

from convert.evaluation.forecast_measures import QUANTILES

HOUR, DAY = 3600, 86400
ERRORS_SECONDS = 14 * DAY           # of past forecasts whose errors give the interval
DAYS = 7                            # of mean_of_days
LEAST_ERRORS = 10                   # or there is no interval
LEAST_SAMPLES = 12                  # in the window of predict_linear that fits the horizon
SMOOTHING, TREND = 0.3, 0.1         # factors of double_exponential_smoothing


class Past:
    """Samples that a forecast may be made of, float64 [T, N] with NaN = none, and what follows from them."""

    def __init__(self, values, step_seconds):
        self.values, self.step_seconds = values, step_seconds

    @functools.cached_property
    def filled(self):
        """Each gap filled with the sample before it; NaN where there is none."""
        place = np.where(np.isnan(self.values), 0, np.arange(len(self.values), dtype=np.int32)[:, None])
        return np.take_along_axis(self.values, np.maximum.accumulate(place, axis=0), axis=0)

    @functools.cached_property
    def first(self):
        """int [N]: the first sample of each series."""
        return np.argmax(~np.isnan(self.values), axis=0)


class Baseline:
    """A forecaster, `forecast(times, values, origins, ahead)`, of a point forecast; see forecasting for what a forecaster is.

    point    function (Past, origins int [O], steps ahead int [H]) -> float [O, N, H]; it uses nothing after an origin
    seconds  that the forecasts of the last call took, without the past ones that give the interval
    """

    def __init__(self, point):
        self.point, self.seconds = point, float('nan')

    def __call__(self, times, values, origins, ahead):
        step, origins = times[1] - times[0], np.asarray(origins)
        steps = np.round(np.asarray(ahead) / step).astype(int)
        past = Past(values[: origins.max() + 1], step)
        _ = past.filled, past.first             # are there in any memory, and belong to no forecast
        begin = time.perf_counter()
        middle = self.point(past, origins, steps)
        self.seconds = time.perf_counter() - begin
        grid = hours(past, origins, steps)
        before = self.point(past, grid, steps)
        out = np.full((*middle.shape, 3), np.nan)
        out[..., 1] = middle
        for j, k in enumerate(steps):
            found = errors(past.values, grid, k, before[:, :, j])
            out[:, :, j, 0], out[:, :, j, 2] = bounds(middle[:, :, j], found, grid, origins, k, step)
        return out


def hours(past, origins, steps):
    """Past origins whose errors give intervals: one each hour, int [G]."""
    first = max(0, origins.min() - int(steps.max()) - round(ERRORS_SECONDS / past.step_seconds))
    every = max(1, round(HOUR / past.step_seconds))
    return np.arange(-(-first // every) * every, len(past.values), every)


def errors(values, grid, k, past):
    """What came less what was forecast k steps before, float [N, G], NaN = none; past float [G, N]."""
    at = grid + k
    came = np.where((at < len(values))[:, None], values[np.minimum(at, len(values) - 1)], np.nan)
    return np.ascontiguousarray((came - past).T)


def bounds(middle, found, grid, origins, k, step):
    """(low, high) float [O, N] of forecasts [O, N]: the outer QUANTILES of the errors, [N, G], that had come due at each origin."""
    low, high = np.full(middle.shape, np.nan), np.full(middle.shape, np.nan)
    for o, origin in enumerate(origins):
        first = np.searchsorted(grid, origin - k - round(ERRORS_SECONDS / step), side='right')
        last = np.searchsorted(grid, origin - k, side='right')
        due = np.sort(found[:, first:last], axis=1)         # NaN is sorted to the end
        low[o], high[o] = (middle[o] + _quantile(due, q) for q in (QUANTILES[0], QUANTILES[-1]))
    return low, high


def _quantile(ordered, q):
    """Of each row, which is in order with NaN at its end: as numpy.nanquantile, but NaN where fewer than LEAST_ERRORS are known."""
    count = (~np.isnan(ordered)).sum(axis=1)
    place = q * np.maximum(count - 1, 0)
    if ordered.shape[1] == 0:
        return np.full(len(ordered), np.nan)
    rows, below = np.arange(len(ordered)), np.floor(place).astype(int)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    found = ordered[rows, below] + (place - below) * (ordered[rows, above] - ordered[rows, below])
    return np.where(count >= LEAST_ERRORS, found, np.nan)


def last_value(past, origins, steps):
    """float [O, N, H]: the newest sample.

    >>> last_value(Past(np.array([[1.0], [2.0], [np.nan]]), 60), np.array([2]), np.array([1, 5])).tolist()
    [[[2.0, 2.0]]]
    """
    return np.repeat(past.filled[origins][..., None], len(steps), axis=2)


def seasonal(period_seconds):
    """The point forecast that repeats the last known period: the sample at the target's time of day (or week)."""

    def point(past, origins, steps):
        period = round(period_seconds / past.step_seconds)
        at = origins[:, None] + steps - -(-steps // period) * period
        found = past.filled[np.maximum(at, 0)]
        return np.where((at >= 0)[..., None], found, np.nan).swapaxes(1, 2)

    return point


def mean_of_days(past, origins, steps):
    """float [O, N, H]: mean of the samples at the target's time of day of the last DAYS days, or of as many as there are."""
    period = round(DAY / past.step_seconds)
    total, count = (np.zeros((len(origins), len(steps), past.values.shape[1])) for _ in range(2))
    for day in range(DAYS):
        at = origins[:, None] + steps - (-(-steps // period) + day) * period
        found = np.where((at >= 0)[..., None], past.filled[np.maximum(at, 0)], np.nan)
        total, count = total + np.nan_to_num(found), count + ~np.isnan(found)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).swapaxes(1, 2)


def drift(past, origins, steps):
    """float [O, N, H]: the line through the first and the newest sample.

    >>> drift(Past(np.array([[np.nan], [2.0], [3.0], [6.0]]), 60), np.array([3]), np.array([1, 2])).tolist()
    [[[8.0, 10.0]]]
    """
    first, level = past.first, past.filled[origins]
    passed = np.maximum(origins[:, None] - first, 1)
    slope = (level - past.values[first, np.arange(len(first))]) / passed
    return level[..., None] + slope[..., None] * steps


def predict_linear(window_seconds=None):
    """The point forecast of PromQL's predict_linear(series[window], horizon); no window = as long as the horizon, at least an hour.

    At least two samples are needed, as in Prometheus; NaN where there are fewer.
    """

    def point(past, origins, steps):
        out = np.full((len(origins), past.values.shape[1], len(steps)), np.nan)
        width = np.array([_width(window_seconds, past.step_seconds, k) for k in steps])
        first, last = np.maximum(origins[:, None] + 1 - width, 0), np.repeat(origins[:, None] + 1, len(steps), axis=1)
        number = np.arange(len(past.values))
        for n, column in enumerate(past.values.T):
            known = ~np.isnan(column)
            if not known.any():
                continue
            centre = column[past.first[n]]      # keeps the running sums small, and so exact
            above = np.where(known, column - centre, 0)
            count, si, sii, sy, siy = (_between(each, first, last) for each in (known, known * number, known * number**2, above, above * number))
            o = origins[:, None]                # as predict_linear has it, time is counted from the origin
            with np.errstate(invalid='ignore', divide='ignore'):
                sx, sxx, sxy = si - o * count, sii - 2 * o * si + o**2 * count, siy - o * sy
                slope = (sxy - sx * sy / count) / (sxx - sx**2 / count)
                line = centre + sy / count - slope * sx / count + slope * steps
            out[:, n] = np.where(count >= 2, line, np.nan)
        return out

    return point


def _between(each, first, last):
    """Sum over [first, last) of float or int [T]; whole numbers stay whole, so that counts and times are exact."""
    sums = np.concatenate([[0], np.cumsum(each)])
    return sums[last] - sums[first]


def _width(window_seconds, step, k):
    """Samples in the window of a horizon of k steps."""
    return max(1, round(window_seconds / step)) if window_seconds else max(k, LEAST_SAMPLES, round(HOUR / step))


def double_exponential_smoothing(window_seconds, carried_on, smoothing=SMOOTHING, trend=TREND):
    """The point forecast of PromQL's double_exponential_smoothing(series[window], smoothing, trend), plus its trend where it is carried on."""

    def point(past, origins, steps):
        values, width = past.values, max(1, round(window_seconds / past.step_seconds))
        shape = (len(origins), values.shape[1])
        before, level, slope, count = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64)
        for back in range(width - 1, -1, -1):
            at = origins - back
            sample = np.where((at >= 0)[:, None], values[np.maximum(at, 0)], np.nan)
            there = ~np.isnan(sample)
            sample = np.where(there, sample, 0)
            later = there & (count >= 1)
            slope = np.where(there & (count == 1), sample - level, slope)
            slope = np.where(there & (count >= 2), trend * (level - before) + (1 - trend) * slope, slope)
            smooth = smoothing * sample + (1 - smoothing) * (level + slope)
            before, level = np.where(later, level, before), np.where(later, smooth, np.where(there, sample, level))
            count += there
        level = np.where(count >= 2, level, np.nan)
        slope = trend * (level - before) + (1 - trend) * slope if carried_on else np.zeros(shape)
        return level[..., None] + slope[..., None] * steps

    return point


NAIVE = 'seasonal naive, day'       # what all others are measured by
POINTS = {
    NAIVE: seasonal(DAY),
    'seasonal naive, week': seasonal(7 * DAY),
    'mean of seven days': mean_of_days,
    'last value': last_value,
    'drift': drift,
    'predict_linear [1h]': predict_linear(HOUR),
    'predict_linear [4h]': predict_linear(4 * HOUR),
    'predict_linear [horizon]': predict_linear(),
    'double_exponential_smoothing [4h]': double_exponential_smoothing(4 * HOUR, carried_on=False),
    'double_exponential_smoothing [4h] + trend': double_exponential_smoothing(4 * HOUR, carried_on=True),
}
