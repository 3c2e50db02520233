"""Simple detectors to compare a model with, on the same samples and by the same measures. A model that is no better is not worth its cost.

They are causal, in robust units with the same floors as the model (without floors they fail on the first nearly constant series), and
score a sample before they learn from it. Pure numpy; each [T, N], NaN where there was no sample or it was warming up.
"""

import numpy as np

from convert.families.steps import WARMUP, WINSOR

NAMES = ('difference_1', 'difference_5', 'difference_15', 'level', 'largest')
LAGS = (1, 5, 15)


def scores(values, step_seconds):
    """{name: float [T, N]} for values float [T, N] (NaN = none): asinh of the deviation from 1, 5, 15 steps ago (the middle one averaged
    over three samples), of that from the running level, and the largest of the four.
    """
    rate = 1 - 0.5 ** (1 / np.clip(86400 / step_seconds, 300, 1500))
    filled = _filled(values)
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


def _filled(values):
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
    filled = _filled(values)
    change = np.diff(filled, axis=0, prepend=filled[:1])
    floor = 0.25 * _before(_running_mean(np.abs(change), window, change != 0)) + 1e-6 * np.abs(filled) + 1e-30
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
        score = np.arcsinh(np.abs(deviation) / np.maximum(spread, floor))
        score[:WARMUP] = np.nan
        out[name] = np.where(np.isnan(values), np.nan, score)
    return out


def pca(values, fitted):
    """Residual of principal components: float [T, N] for values float [T, N, F].

    The first `fitted` steps of each entity give its scaling (median, MAD), the components that hold nine tenths of the variance, and the
    usual size of the residual; NaN there and where no feature has a sample.
    """
    out = np.full(values.shape[:2], np.nan)
    for n in range(values.shape[1]):
        x = _filled(values[:, n])
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
