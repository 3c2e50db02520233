"""How good forecasts are: MASE, weighted quantile loss, coverage of the interval, and how sure a difference between two methods is.

    losses        error, quantile loss and coverage of each value that was forecast
    of_series     one figure of each series: MASE, WQL, coverage
    ratios        logarithms of figures of one method as a share of another's
    pooled        geometric mean of such ratios over series, and over sets that count alike, with a paired bootstrap over entities

Who calls it: forecasting. Pure numpy; nothing here knows a method.
"""

from typing import NamedTuple

import numpy as np

QUANTILES = (0.1, 0.5, 0.9)     # low, middle, high; the interval holds 80 %
RESAMPLES = 1000
CONFIDENCE = (2.5, 97.5)        # percentiles of the bootstrap
FARTHEST = 100.0                # a ratio counts as this, or one part in it, at most: an error of exactly 0 has no logarithm


class Losses(NamedTuple):
    """Of each value, float64 [O, N, H], NaN where it is not counted."""

    error: np.ndarray           # absolute, of the middle, in the series' scale
    loss: np.ndarray            # mean over the quantiles, in the series' unit
    covered: np.ndarray         # 1 where the value is within the interval, its ends included
    size: np.ndarray            # |value|


class OfSeries(NamedTuple):
    """Of each series, float64 [N]; NaN where it has too few values."""

    mase: np.ndarray
    wql: np.ndarray
    coverage: np.ndarray


class Pooled(NamedTuple):
    """A geometric mean and its interval."""

    ratio: float
    low: float
    high: float


def quantile_loss(actual, forecast):
    """Mean over QUANTILES of twice the pinball loss; of the middle alone it would be the absolute error.

    actual    float [...]
    forecast  float [..., 3] of QUANTILES
    returns   float [...]

    >>> quantile_loss(np.array([10.0]), np.array([[8.0, 11.0, 13.0]])).round(4)      # (2·.1·2 + 2·.5·1 + 2·.1·3) / 3
    array([0.6667])
    """
    over = actual[..., None] - forecast
    q = np.array(QUANTILES)
    return 2 * np.maximum(q * over, (q - 1) * over).mean(axis=-1)


def scale(values, origins, period):
    """Mean |x_t - x_(t-period)| of the past of each origin, itself included (Hyndman and Koehler 2006): what an error is measured in by MASE.

    values   float [T, N], NaN = none; such pairs do not count
    origins  int [O]
    period   steps of a day
    returns  float [O, N], NaN where there is no pair

    >>> scale(np.array([[1.0], [2], [4], [9]]), [1, 2, 3], 1).ravel()
    array([1.        , 1.5       , 2.66666667])
    """
    out = np.full((len(origins), values.shape[1]), np.nan)
    for n in range(values.shape[1]):            # a column at a time: a set may have hundreds of millions of samples
        change = np.abs(values[period:, n] - values[:-period, n])
        known = ~np.isnan(change)
        total, count = np.cumsum(np.where(known, change, 0)), np.cumsum(known)
        at = np.asarray(origins) - period
        some = at >= 0
        with np.errstate(invalid='ignore'):
            out[some, n] = total[at[some]] / count[at[some]]
    return out


def losses(actual, forecast, scales, counted):
    """Losses of forecasts.

    actual    float [O, N, H]; forecast float [O, N, H, 3]; scales float [O, N]
    counted   bool [O, N, H]
    """
    counted = counted & (scales > 0)[..., None]
    with np.errstate(invalid='ignore', divide='ignore'):
        error = np.abs(actual - forecast[..., 1]) / scales[..., None]
        within = ((forecast[..., 0] <= actual) & (actual <= forecast[..., 2])).astype(float)
        loss = quantile_loss(actual, forecast)
    return Losses(*(np.where(counted, each, np.nan) for each in (error, loss, within, np.abs(actual))))


def of_series(found, where, least=1):
    """OfSeries of Losses over the values that `where`, bool [O, N, H], says; a series with fewer than `least` of them has none."""
    kept = where & ~np.isnan(found.error)
    count = kept.sum(axis=(0, 2))
    total = Losses(*(np.where(kept, each, 0).sum(axis=(0, 2)) for each in found))
    with np.errstate(invalid='ignore', divide='ignore'):
        mean = [np.where(count >= least, each / count, np.nan) for each in (total.error, total.covered)]
        wql = np.where((count >= least) & (total.size > 0), total.loss / total.size, np.nan)
    return OfSeries(mean[0], wql, mean[1])


def ratios(figures, others):
    """Natural logarithm of figures as a share of others', float [N]; NaN where either is unknown. Both 0 is a share of 1, one of them FARTHEST.

    So what is swapped is negated: neither side gains by errors of exactly 0, which are common where a series has few values.

    >>> np.exp(ratios(np.array([1.0, 0, 3, 0, np.nan]), np.array([2.0, 2, 0, 0, 1]))).round(2).tolist()
    [0.5, 0.01, 100.0, 1.0, nan]
    """
    with np.errstate(invalid='ignore', divide='ignore'):
        share = np.clip(figures / others, 1 / FARTHEST, FARTHEST)
    return np.where((figures == 0) & (others == 0), 0.0, np.log(share))


def pooled(sets):
    """Geometric mean of the ratios of each set, then over sets; None where there is no series.

    sets     [(logarithms float [N], entity int [N])]; NaN = not known
    returns  Pooled: the interval is that of CONFIDENCE, with entities drawn again with replacement within each set. Series of one
             entity are drawn together, for they are alike.

    >>> np.round(pooled([(np.log([0.5, 2.0]), np.array([0, 0])), (np.log([0.25]), np.array([0]))]), 6).tolist()
    [0.5, 0.5, 0.5]
    """
    drawn, means, rng = [], [], np.random.default_rng(0)
    for logs, entity in sets:
        known = ~np.isnan(logs)
        if not known.any():
            continue
        _, place = np.unique(entity[known], return_inverse=True)
        total, count = np.bincount(place, logs[known]), np.bincount(place)
        picks = rng.integers(0, len(total), (RESAMPLES, len(total)))
        drawn.append(total[picks].sum(axis=1) / count[picks].sum(axis=1))
        means.append(logs[known].mean())
    if not means:
        return None
    low, high = np.percentile(np.mean(drawn, axis=0), CONFIDENCE)
    return Pooled(*(float(np.exp(each)) for each in (np.mean(means), low, high)))
