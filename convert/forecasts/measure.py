"""How good forecasts are: errors as a share of those of the simplest forecasts, and how many values come within the interval.

    figures = measured(forecaster, times, values, ahead)        # {horizon: Figures}

Errors of a series count as a share of the error that "the same as a day ago" makes of it (seven days ahead: a week ago, which is the same time
of that day), at the same values; series count alike, by the geometric mean.
"""

from typing import NamedTuple

import numpy as np

from convert.forecasts import contract

DAY = 86400
LEAST = 5               # values of a series, or it has no figure
SMALLEST = 1e-3         # share, for the logarithm of series that are forecast without an error


class Figures(NamedTuple):
    """Of one horizon."""

    error_ratio: float      # mean absolute error of the middle
    loss_ratio: float       # mean quantile loss of all three
    coverage: float
    unchanged_ratio: float  # mean absolute error of "no change"
    series: int


def measured(forecaster, times, values, ahead, *, instants=24, first_days=8.0, bad=None):
    """{seconds ahead: Figures} from instants in even distances; horizons without a figure are left out.

    forecaster     see convert.forecasts.forecaster
    times, values  float64 [T], float64 [T, N]; bad: bool [T, N], neither forecast nor forecast from
    """
    step = float(times[1] - times[0])
    ahead = np.array([each for each in ahead if each >= step], np.float64)
    origins = np.unique(np.linspace(int(first_days * DAY / step), len(times) - 2, instants).astype(int))
    if not len(ahead) or origins[0] >= len(times) - 2:
        return {}
    forecasts = forecaster(times, values, origins, ahead)
    seen = values if bad is None else np.where(bad, np.nan, values)
    at = origins[:, None] + np.round(ahead / step).astype(int)
    came = np.where((at < len(times))[..., None], seen[np.minimum(at, len(times) - 1)], np.nan).swapaxes(1, 2)
    back = at - (np.ceil(ahead / DAY) * DAY / step).astype(int)
    naive, still = values[back].swapaxes(1, 2), np.broadcast_to(seen[origins][..., None], came.shape)
    out = {}
    for number, seconds in enumerate(ahead):
        found = _figures(*(x[..., number] for x in (came, naive, still)), forecasts[..., number, :])
        if found:
            out[float(seconds)] = found
    return out


def _figures(came, naive, still, quantiles):
    """came, naive, still float64 [O, N], quantiles [O, N, 3]."""
    known = np.isfinite(came) & np.isfinite(naive) & np.isfinite(still) & np.isfinite(quantiles).all(-1)
    levels = np.array(contract.QUANTILES)
    apart = came[..., None] - quantiles
    loss = 2 * np.maximum(levels * apart, (levels - 1) * apart).mean(-1)
    inside = (apart[..., 0] >= 0) & (apart[..., 2] <= 0)
    count = known.sum(0)
    mean = lambda x: np.where(known, x, 0).sum(0) / np.maximum(count, 1)        # noqa: E731 (of five columns)
    base = mean(np.abs(came - naive))
    usable = (count >= LEAST) & (base > 0)
    if not usable.any():
        return None
    shares = [mean(x)[usable] / base[usable] for x in (np.abs(apart[..., 1]), loss, np.abs(came - still))]
    error, quantile, unchanged = (float(np.exp(np.log(share + SMALLEST).mean())) for share in shares)
    return Figures(error, quantile, float(mean(inside)[usable].mean()), unchanged, int(usable.sum()))
