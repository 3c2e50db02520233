"""Statistics over the samples before each one, of columns [T, N] of series: what the detectors that models are compared with are made of.

Pure numpy. NaN = no sample, unless a function says otherwise.
"""

import numpy as np

from convert.families.warmup import WARMUP

REFRESHES = 60      # of a trailing median, over its window


def without_gaps(values):
    """Fill each gap with the sample before it; gaps at the beginning with the first sample, or 0."""
    place = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    filled = np.take_along_axis(values, np.maximum.accumulate(place, 0), 0)
    first = np.take_along_axis(values, np.argmax(~np.isnan(values), 0)[None], 0)
    return np.nan_to_num(np.where(np.isnan(filled), first, filled))


def before(x):
    """The rows one step ago; the first one stays."""
    return np.concatenate([x[:1], x[:-1]])


def ago(x, lag):
    """The rows so many steps ago; NaN where there are none."""
    out = np.full_like(x, np.nan)
    out[lag:] = x[: max(0, len(x) - lag)]
    return out


def yesterday(x, lag, history):
    """The value a day ago; NaN where it is unknown."""
    out = np.full_like(x, np.nan)
    if history is not None and len(history[0]):
        wanted = np.arange(min(lag, len(x))) - lag
        nearest = np.abs(history[0][:, None] - wanted[None]).argmin(0)
        out[: len(wanted)] = history[1][nearest]
    out[lag:] = x[:-lag] if lag < len(x) else out[lag:]
    return out


def moments(x, window):
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


def median(x, window):
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


def floor(filled, change, window):
    """The least spread: a quarter of the usual change of the window before."""
    return 0.25 * before(_running_mean(np.abs(change), window, change != 0)) + 1e-6 * np.abs(filled) + 1e-30


def scored(values, deviation, spread):
    """asinh of a deviation over its spread; NaN where there was no sample or it warms up."""
    score = np.arcsinh(np.abs(deviation) / spread)
    score[:WARMUP] = np.nan
    return np.where(np.isnan(values), np.nan, score)
