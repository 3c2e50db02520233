"""When a forecast reaches a limit. Pure numpy.

Who calls it: live.forecasts, check_forecasts (of_entities), convert (to measure how early a full disk is seen). What flows through: the
quantiles of model.Model.run at growing horizons; out come seconds.

The way to the limit is straight between the present sample and the first horizon, and between two horizons. A forecast that turns back before the
limit never reaches it, so a log that is rotated every night is not full in the afternoon.
"""

from collections.abc import Sequence

import numpy as np

from promlstm.engine import labels
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


def of_entities(entities: Sequence[bytes], answered: Sequence[bytes], values: Floats) -> Floats:
    """The value that an answer has for each entity: float64 [N], NaN = none.

    entities  identities of N entities
    answered  identities of the n series of the answer, values: float64 [n]

    A series is that of the entities that have its labels, with their values: one without labels is that of all. The series with most
    labels counts, and of two that are the same the last.

    >>> of_entities([b'{"a":"1","b":"2"}', b'{"a":"3"}'], [b'{"a":"1"}', b'{}'], np.array([5.0, 7.0])).tolist()
    [5.0, 7.0]
    """
    exact = dict(zip(answered, values.tolist(), strict=True))
    out = np.array([exact.get(identity, np.nan) for identity in entities], np.float64)
    lacking = np.flatnonzero(np.isnan(out)).tolist()
    if not lacking or not answered:
        return out
    by_names: dict[tuple[str, ...], dict[tuple[str, ...], float]] = {}
    for identity, value in zip(answered, values.tolist(), strict=True):
        own = labels.pairs(identity)
        by_names.setdefault(tuple(name for name, _ in own), {})[tuple(text for _, text in own)] = value
    tables = sorted(by_names.items(), key=lambda item: -len(item[0]))
    for row in lacking:
        own_labels = dict(labels.pairs(entities[row]))
        for names, table in tables:
            found = table.get(tuple(own_labels.get(name, '') for name in names))
            if found is not None:
                out[row] = found
                break
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
