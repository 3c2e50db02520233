"""Simple detectors to compare a model with, on the same samples and by the same measures. A model that is no better is not worth its cost.

They are causal, in robust units with the same floors as the model (without floors they fail on the first nearly constant series), and
score a sample before they learn from it. Pure numpy; each [T, N], NaN where there was no sample or it was warming up.
"""

import numpy as np

from convert.evaluation import trailing
from convert.families.warmup import WARMUP, WINSOR

NAMES = ('difference_1', 'difference_5', 'difference_15', 'level', 'largest')
LAGS = (1, 5, 15)


def scores(values, step_seconds):
    """{name: float [T, N]} for values float [T, N] (NaN = none): asinh of the deviation from 1, 5, 15 steps ago (the middle one averaged
    over three samples), of that from the running level, and the largest of the four.
    """
    rate = 1 - 0.5 ** (1 / np.clip(86400 / step_seconds, 300, 1500))
    filled = trailing.without_gaps(values)
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


# Textbook detectors, which many teams have already: deviation, robust or running, over its own spread.
PLAIN = ('robust_z', 'ewma_band', 'seasonal_naive', 'difference_z')


def plain(values, step_seconds, history=None):
    """{name of PLAIN: float [T, N]} for values float [T, N] (NaN = none); asinh of each, NaN where there was no sample or it warms up.

    robust_z        from the median of the last day's steps (120 to 1440), in their MAD
    ewma_band       from the exponential mean (half-life a quarter of that), in the exponential standard deviation
    seasonal_naive  from the sample a day ago, in the MAD of such differences; `history` (times before the first step in steps
                    relative to it, int [H], values [H, N]) gives it where the series does not reach back
    difference_z    from the sample before, in the MAD of differences
    """
    window = int(np.clip(86400 / step_seconds, 120, 1440))
    filled = trailing.without_gaps(values)
    change = np.diff(filled, axis=0, prepend=filled[:1])
    floor = trailing.floor(filled, change, window)
    season = filled - trailing.yesterday(filled, round(86400 / step_seconds), history)
    found = {
        'robust_z': (filled - trailing.median(filled, window), None),
        'ewma_band': _ewma(filled, window / 4),
        'seasonal_naive': (season, None),
        'difference_z': (change, None),
    }
    out = {}
    for name, (deviation, spread) in found.items():
        spread = 1.4826 * trailing.median(np.abs(np.nan_to_num(deviation)), window) if spread is None else spread
        out[name] = trailing.scored(values, deviation, np.maximum(spread, floor))
    return out


def pca(values, fitted):
    """Residual of principal components: float [T, N] for values float [T, N, F].

    The first `fitted` steps of each entity give its scaling (median, MAD), the components that hold nine tenths of the variance, and the
    usual size of the residual; NaN there and where no feature has a sample.
    """
    out = np.full(values.shape[:2], np.nan)
    for n in range(values.shape[1]):
        x = trailing.without_gaps(values[:, n])
        middle = np.median(x[:fitted], 0)
        spread = 1.4826 * np.median(np.abs(x[:fitted] - middle), 0)
        x = np.clip((x - middle) / np.maximum(spread, 1e-6 * np.abs(middle) + 1e-30), -1e6, 1e6)
        _, size, axes = np.linalg.svd(x[:fitted] - x[:fitted].mean(0), full_matrices=False)
        components = axes[: 1 + int(np.searchsorted(np.cumsum(size**2) / max(np.sum(size**2), 1e-30), 0.9))]
        residual = np.linalg.norm(x - x @ components.T @ components, axis=1)
        out[fitted:, n] = np.arcsinh(residual / max(np.median(residual[:fitted]), 1e-6))[fitted:]
    return np.where(np.isnan(values).all(2), np.nan, out)


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
