"""When a forecast reaches a limit. Pure numpy.

Who calls it: live.forecasts, convert (to measure how early a full disk is seen). What flows through: the quantiles of model.Model.run at growing
horizons; out come seconds.

The way to the limit is straight between the present sample and the first horizon, and between two horizons. A forecast that turns back before the
limit never reaches it, so a log that is rotated every night is not full in the afternoon.
"""

from collections.abc import Sequence

import numpy as np

from promlstm.engine.columns import Floats
from promlstm.forecasts.model import HIGH, LOW, MIDDLE

# Instants at which the way to a limit is looked at, in seconds: a daily peak between two horizons must not be missed.
LOOKS = tuple(3600.0 * hours for hours in (0.25, 0.5, 1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 30, 36, 42, 48, 60, 72, 96, 120, 144, 168))
BOUNDS = ('middle', 'pessimistic')


def looks(longest: float) -> list[float]:
    """The instants to forecast for, in seconds from now: up to and including the longest horizon.

    >>> looks(3600.0)
    [900.0, 1800.0, 3600.0]
    """
    return [seconds for seconds in LOOKS if seconds < longest] + [longest]


def seconds_to(limit: Floats, value: Floats, forecast: Floats, ahead: Sequence[float], *, rising: bool) -> Floats:
    """When the limit is reached: float64 [N, 2], by the middle of the forecast and by its bound on the side of the limit.

    limit     float64 [N]; NaN = none
    value     float64 [N], the present samples
    forecast  float64 [N, H, 3] at `ahead`, H seconds from now that grow
    rising    the limit is met from below; else from above
    returns   0 = it is crossed or reached already, +Inf = not within the horizons, NaN = no limit, no sample or no forecast

    >>> seconds_to(np.array([0.0]), np.array([4.0]), np.array([[[1.0, 2, 3], [-2, -1, 0]]]), [3600, 7200], rising=False).tolist()
    [[6000.0, 4800.0]]
    """
    sign = 1.0 if rising else -1.0
    room = sign * (limit - value)
    out = np.empty((len(value), len(BOUNDS)))
    for k, quantile in enumerate((MIDDLE, HIGH if rising else LOW)):
        ways = np.column_stack([room, sign * (limit[:, None] - forecast[:, :, quantile])])
        out[:, k] = _first_zero(ways, np.array([0.0, *ahead]))
    return out


def _first_zero(ways: Floats, times: Floats) -> Floats:
    """float64 [N]: when piecewise straight ways [N, T] first come to 0 or below; +Inf = never; NaN where one has no value."""
    reached = ways <= 0
    first = reached.argmax(1)
    rows = np.arange(len(ways))
    before, after = ways[rows, np.maximum(first - 1, 0)], ways[rows, first]
    with np.errstate(invalid='ignore', divide='ignore'):
        share = before / (before - after)
        at = times[first - 1] + share * (times[first] - times[first - 1])
    found = np.where(first > 0, at, 0.0)
    return np.where(np.isnan(ways).any(1), np.nan, np.where(reached.any(1), found, np.inf))
