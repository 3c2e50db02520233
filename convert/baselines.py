"""Simple detectors to compare a model with, on the same samples and by the same measures. A model that is no better is not worth its cost.

They are as good as simple ones get: causal, in robust units with the same floors as the model (a floorless one fails on the first nearly
constant series), judged before learning. Pure numpy; each [T, N], NaN where there was no sample or it was warming up.
"""

import numpy as np

from convert.steps import WARMUP, WINSOR

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
    """Each hole takes the sample before it; the first ones take the first there is, or 0."""
    place = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    filled = np.take_along_axis(values, np.maximum.accumulate(place, 0), 0)
    first = np.take_along_axis(values, np.argmax(~np.isnan(values), 0)[None], 0)
    return np.nan_to_num(np.where(np.isnan(filled), first, filled))
