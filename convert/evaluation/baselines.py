"""Simple detectors to compare a model with, on the same samples and by the same measures. A model that is no better is not worth its cost.

They are causal, in robust units with the same floors as the model (without floors they fail on the first nearly constant series), and
score a sample before they learn from it. Pure numpy; each [T, N], NaN where there was no sample or it was warming up.
"""

import numpy as np

from convert.families.warmup import WARMUP, WINSOR
from promlstm.engine.season import DAY, WEEK

NAMES = ('difference_1', 'difference_5', 'difference_15', 'level', 'largest')
LAGS = (1, 5, 15)


def scores(values, step_seconds):
    """{name: float [T, N]} for values float [T, N] (NaN = none): asinh of the deviation from 1, 5, 15 steps ago (the middle one averaged
    over three samples), of that from the running level, and the largest of the four.
    """
    rate = 1 - 0.5 ** (1 / np.clip(86400 / step_seconds, 300, 1500))
    filled = without_gaps(values)
    total, n = len(values), values.shape[1]
    out = np.full((4, total, n), np.nan)
    v, u, change, count = np.zeros((4, n)), np.zeros((4, n)), np.zeros(n), np.zeros(n)
    level = filled[0].copy()
    for t in range(total):
        deviation = np.stack([filled[t] - filled[max(t - lag, 0)] for lag in LAGS] + [filled[t] - level])
        scale = np.maximum(np.maximum(np.sqrt(v), 0.3 * np.sqrt(u)), np.maximum(0.25 * change, 1e-6 * np.abs(level)) + 1e-30)
        present = ~np.isnan(values[t])
        out[:, t] = np.where(present & (count >= WARMUP), np.arcsinh(np.minimum(np.abs(deviation) / scale, 1e9)), np.nan)
        count = count + present
        weight = np.where(present, np.maximum(rate, 1 / np.maximum(count, 1)), 0)
        bounded = np.where(count > WARMUP, np.minimum(np.abs(deviation), WINSOR * scale), np.abs(deviation))
        v += weight * (bounded**2 - v)
        u += np.where(present, np.maximum(rate / 6, 1 / np.maximum(count, 1)), 0) * (deviation**2 - u)
        change += weight * (deviation[0] != 0) * (np.abs(deviation[0]) - change)
        level += weight * (filled[t] - level)
    out[1, 2:] = (out[1, 2:] + out[1, 1:-1] + out[1, :-2]) / 3
    return dict(zip(NAMES, (*out, out.max(0)), strict=True))


def without_gaps(values):
    """Fill each gap with the sample before it; gaps at the beginning with the first sample, or 0."""
    place = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    filled = np.take_along_axis(values, np.maximum.accumulate(place, 0), 0)
    first = np.take_along_axis(values, np.argmax(~np.isnan(values), 0)[None], 0)
    return np.nan_to_num(np.where(np.isnan(filled), first, filled))


# Textbook detectors, which many teams have already: deviation, robust or running, over its own spread.
PLAIN = ('robust_z', 'ewma_band', 'seasonal_naive', 'difference_z')
REFRESHES = 60      # of a trailing median, over its window


def plain(values, step_seconds, history=None):
    """{name of PLAIN: float [T, N]} for values float [T, N] (NaN = none); asinh of each, NaN where there was no sample or it warms up.

    robust_z        from the median of the last day's steps (120 to 1440), in their MAD
    ewma_band       from the exponential mean (half-life a quarter of that), in the exponential standard deviation
    seasonal_naive  from the sample a day ago, in the MAD of such differences; `history` (times before the first step in steps
                    relative to it, int [H], values [H, N]) gives it where the series does not reach back
    difference_z    from the sample before, in the MAD of differences
    """
    window = int(np.clip(86400 / step_seconds, 120, 1440))
    filled = without_gaps(values)
    change = np.diff(filled, axis=0, prepend=filled[:1])
    floor = _floor(filled, change, window)
    season = filled - _yesterday(filled, round(86400 / step_seconds), history)
    found = {
        'robust_z': (filled - _trailing(filled, window), None),
        'ewma_band': _ewma(filled, window / 4),
        'seasonal_naive': (season, None),
        'difference_z': (change, None),
    }
    out = {}
    for name, (deviation, spread) in found.items():
        spread = 1.4826 * _trailing(np.abs(np.nan_to_num(deviation)), window) if spread is None else spread
        out[name] = _scored(values, deviation, np.maximum(spread, floor))
    return out


# What people run today, in PromQL and in monitoring systems. Rows of the command `benchmark` alone: figures in model files know the above.
CUSTOMARY = ('promql_week', 'promql_bands', 'holt_winters')
HOUR = 3600
LEVEL, TREND, SEASON = 0.1, 0.0035, 0.1     # rates of holt_winters
MULTIPLIER, MARGIN, VARIES = 2.0, 0.5, 0.5  # of promql_bands: band in standard deviations, in means; the least coefficient of variation
LEAST = 12                                  # samples of an hour in promql_bands, where steps are long


def customary(values, step_seconds, history=None):
    """{name of CUSTOMARY: float32 [T, N]}; arguments, floors and NaN as of `plain`. No constant was tuned on any data.

    promql_week   (x - p) / stddev_over_time(x[1w]); p = the median over k = 1, 2, 3 weeks, of those that are there, of avg_over_time of the four
                  hours around the same time + avg_over_time(x[1w]) - avg_over_time(x[1w] offset k weeks); where no week is there, k = 1 day.
                  GitLab, How to use Prometheus for anomaly detection, about.gitlab.com/blog/2019/07/23/anomaly-detection-using-prometheus/
    promql_bands  |x - a| / (band - a), a = avg_over_time(x[1h]); the band is the farthest of a ± 2 s, a ± a / 2, and m ± 2 d an hour around this
                  time a day and a week ago, of mean m and deviation d; s = the mean over 26 h of stddev_over_time(x[1h]) where that is above a / 2.
                  Grafana, github.com/grafana/promql-anomaly-detection, rules/adaptive.yml; here values may be below 0, an hour has 12 samples
    holt_winters  (x - forecast) / MAD of such errors, one step ahead: exponential level, trend, and season of a day, all additive. A season
                  begins as the first day of each series, or that before it in `history`. Rates as in RRDtool, rrdcreate, HWPREDICT:
                  0.1, 0.0035, 0.1; Brutlag, Aberrant behavior detection in time series for network monitoring, LISA 2000
    """
    window = int(np.clip(DAY / step_seconds, 120, 1440))
    filled = without_gaps(values)
    floor = _floor(filled, np.diff(filled, axis=0, prepend=filled[:1]), window)
    error = _seasonal_errors(filled, ~np.isnan(values), round(DAY / step_seconds), history)
    spread = 1.4826 * _trailing(np.abs(np.nan_to_num(error)), window)
    out = {'holt_winters': _scored(values, error, np.maximum(spread, floor)).astype(np.float32)}
    del error, spread
    past, base = _past(values, 4 * WEEK / step_seconds, history), filled[:1]       # sums are of values near 0, or their squares lose all digits
    whole = np.concatenate([past, values]) - base
    deviation, spread = (each[len(past) :] for each in _from_weeks_ago(whole, step_seconds))
    out['promql_week'] = _scored(values, deviation, np.maximum(spread, floor)).astype(np.float32)
    deviation, spread = (each[len(past) :] for each in _from_band(whole, base, step_seconds))
    out['promql_bands'] = _scored(values, deviation, np.maximum(spread, floor)).astype(np.float32)
    return {name: out[name] for name in CUSTOMARY}


def _seasonal_errors(filled, present, day, history):
    """float [T, N]: each sample less its forecast by exponential smoothing; NaN in the first season, which it begins with."""
    total, n = filled.shape
    begins = np.argmax(present, 0)
    place = begins + np.arange(day)[:, None]
    first = np.take_along_axis(filled, np.minimum(place, total - 1), 0)
    ready = begins + day
    if history is not None and len(history[0]):
        before = without_gaps(_yesterday(filled, day, history)[:day])
        first, place, ready = before, np.broadcast_to(np.arange(len(before))[:, None], before.shape), np.zeros(n, int)
    level, trend, season, out = first.mean(0), np.zeros(n), np.zeros((day, n)), np.full((total, n), np.nan)
    np.put_along_axis(season, place % day, first - level, 0)
    for t in range(int(ready.min(initial=total)), total):
        slot = t % day
        error = filled[t] - (level + trend + season[slot])
        out[t] = np.where(t >= ready, error, np.nan)
        learns = present[t] & (t >= ready)
        error = np.where(learns, error, 0)
        level = level + learns * trend + LEVEL * error
        trend = trend + LEVEL * TREND * error
        season[slot] += SEASON * (1 - LEVEL) * error
    return out


def _from_weeks_ago(x, step_seconds):
    """(distance from what the same time of the weeks before lets expect, standard deviation of the week before), float [T, N] each."""
    mean, spread = _moments(x, WEEK / step_seconds)
    mean, spread = _before(mean), _before(spread)
    around = max(1, round(4 * HOUR / step_seconds))
    middle, _ = _moments(x, around)

    def expected(seconds):
        lag = round(seconds / step_seconds)
        return _ago(middle, lag - around // 2) + mean - _ago(mean, lag)

    weeks = np.sort([expected(k * WEEK) for k in (1, 2, 3)], axis=0)        # NaN last
    known = np.maximum((~np.isnan(weeks)).sum(0), 1)[None]
    median = (np.take_along_axis(weeks, (known - 1) // 2, 0) + np.take_along_axis(weeks, known // 2, 0))[0] / 2
    return x - np.where(np.isnan(median), expected(DAY), median), spread


def _from_band(x, base, step_seconds):
    """(distance from the mean of the hour before, distance of the border on that side), float [T, N] each; x are values less `base`."""
    hour = max(LEAST, round(HOUR / step_seconds))
    mean, deviation = _moments(x, hour)
    wide = [_ago(each, round(seconds / step_seconds) - hour // 2) for seconds in (DAY, WEEK) for each in (mean, MULTIPLIER * deviation)]
    mean, deviation = _before(mean), _before(deviation)
    size = np.abs(mean + base)
    smooth, _ = _moments(np.where(deviation > VARIES * size, deviation, np.nan), 26 * HOUR / step_seconds)
    half = np.fmax(MULTIPLIER * smooth, MARGIN * size)
    above = np.fmax.reduce([half, wide[0] + wide[1] - mean, wide[2] + wide[3] - mean])
    below = np.fmax.reduce([half, mean - wide[0] + wide[1], mean - wide[2] + wide[3]])
    return x - mean, np.where(x > mean, above, below)


def _past(values, most, history):
    """float [P, N]: `history` on the grid of steps before the first, NaN between its samples; as many as `most` steps."""
    if history is None or not len(history[0]):
        return np.empty((0, values.shape[1]))
    chosen = (history[0] < 0) & (history[0] >= -most)
    out = np.full((int(-history[0][chosen].min(initial=0)), values.shape[1]), np.nan)
    out[history[0][chosen]] = history[1][chosen]        # they count from the end
    return out


def _ago(x, lag):
    """The rows so many steps ago; NaN where there are none."""
    out = np.full_like(x, np.nan)
    out[lag:] = x[: max(0, len(x) - lag)]
    return out


def _moments(x, window):
    """(mean, standard deviation) of the samples among the last `window` rows, this one included; NaN where there are none."""
    window, there = max(1, round(window)), ~np.isnan(x)
    filled = np.where(there, x, 0)
    with np.errstate(invalid='ignore'):
        count = _sums(there.astype(float), window)
        mean = _sums(filled, window) / count
        return mean, np.sqrt(np.maximum(_sums(filled**2, window) / count - mean**2, 0))


def _sums(x, window):
    """Sums over the last `window` rows, by cumulative sums in blocks of that length: what has left the window leaves no rounding error behind."""
    blocks = np.concatenate([x, np.zeros((-len(x) % window, x.shape[1]))]).reshape(-1, window, x.shape[1])
    out = np.cumsum(blocks, 1)
    out[1:, :-1] += np.cumsum(blocks[:-1, :0:-1], 1)[:, ::-1]
    return out.reshape(-1, x.shape[1])[: len(x)]


def _scored(values, deviation, spread):
    """asinh of a deviation over its spread; NaN where there was no sample or it warms up."""
    score = np.arcsinh(np.abs(deviation) / spread)
    score[:WARMUP] = np.nan
    return np.where(np.isnan(values), np.nan, score)


def _floor(filled, change, window):
    """The least spread: a quarter of the usual change of the window before."""
    return 0.25 * _before(_running_mean(np.abs(change), window, change != 0)) + 1e-6 * np.abs(filled) + 1e-30


def pca(values, fitted):
    """Residual of principal components: float [T, N] for values float [T, N, F].

    The first `fitted` steps of each entity give its scaling (median, MAD), the components that hold nine tenths of the variance, and the
    usual size of the residual; NaN there and where no feature has a sample.
    """
    out = np.full(values.shape[:2], np.nan)
    for n in range(values.shape[1]):
        x = without_gaps(values[:, n])
        middle = np.median(x[:fitted], 0)
        spread = 1.4826 * np.median(np.abs(x[:fitted] - middle), 0)
        x = np.clip((x - middle) / np.maximum(spread, 1e-6 * np.abs(middle) + 1e-30), -1e6, 1e6)
        _, size, axes = np.linalg.svd(x[:fitted] - x[:fitted].mean(0), full_matrices=False)
        components = axes[: 1 + int(np.searchsorted(np.cumsum(size**2) / max(np.sum(size**2), 1e-30), 0.9))]
        residual = np.linalg.norm(x - x @ components.T @ components, axis=1)
        out[fitted:, n] = np.arcsinh(residual / max(np.median(residual[:fitted]), 1e-6))[fitted:]
    return np.where(np.isnan(values).all(2), np.nan, out)


def _trailing(x, window):
    """Median of the last `window` rows before each row, refreshed REFRESHES times a window; [T, N]."""
    every = max(1, window // REFRESHES)
    out = np.empty_like(x)
    for at in range(0, len(x), every):
        out[at : at + every] = np.median(x[max(0, at - window) : at] if at else x[:1], axis=0)
    return out


def _running_mean(x, window, counted):
    """Mean of the counted ones among the last `window` rows, this one included; 0 where there are none."""
    total, count = (np.cumsum(np.where(counted, each, 0), 0) for each in (x, np.ones_like(x)))
    total[window:], count[window:] = total[window:] - total[:-window], count[window:] - count[:-window]
    return total / np.maximum(count, 1)


def _before(x):
    return np.concatenate([x[:1], x[:-1]])


def _yesterday(x, lag, history):
    """The value a day ago; NaN where it is unknown."""
    out = np.full_like(x, np.nan)
    if history is not None and len(history[0]):
        wanted = np.arange(min(lag, len(x))) - lag
        nearest = np.abs(history[0][:, None] - wanted[None]).argmin(0)
        out[: len(wanted)] = history[1][nearest]
    out[lag:] = x[:-lag] if lag < len(x) else out[lag:]
    return out


def _ewma(x, half_life):
    """(deviation from the exponential mean before the sample, exponential standard deviation before it)."""
    rate, level, variance = 1 - 0.5 ** (1 / half_life), x[0].copy(), np.zeros(x.shape[1])
    deviation, spread = np.empty_like(x), np.empty_like(x)
    for t, row in enumerate(x):
        deviation[t], spread[t] = row - level, np.sqrt(variance)
        weight = max(rate, 1 / (t + 1))
        level = level + weight * deviation[t]
        variance = (1 - weight) * (variance + weight * deviation[t] ** 2)
    return deviation, spread
