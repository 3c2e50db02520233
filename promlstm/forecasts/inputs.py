"""What a forecast model gets: the memory of a detector, as rows of entities × features, for instants to come. Pure numpy.

Who calls it: live.forecasts, convert (so that a model is trained on what it will be served with). What flows through: Recent and Season in,
{name of model.INPUTS: array} out. A target's season is that of its own local time, so a forecast over the night in which daylight saving time ends is right.
"""

from collections.abc import Sequence

import numpy as np

from promlstm.engine.columns import Floats, Floats32, Tensors
from promlstm.engine.recent import IN_QUARTER, QUARTERS, SLOT_SECONDS, SLOTS, Recent
from promlstm.engine.season import DAY, Season, local_seconds, padded


def gathered(recent: Recent, season: Season, time: float, ahead: Sequence[float], step_seconds: float) -> Tensors:
    """The inputs for all rows: R = N × F, the features of an entity one after the other.

    recent, season  memory after the sample at `time` (unix seconds), of N entities with F features
    ahead           seconds from `time` to each of H targets
    """
    rows, features = recent.anchor.shape
    number = 0 if recent.number is None else recent.number
    numbers = range(number - SLOTS, number)
    halves = filled(np.stack([padded(recent.halves[k % SLOTS], rows) for k in numbers], -1)) + recent.anchor[..., None]
    usual = np.stack([_season_of(season, k, rows, features) for k in numbers], -1)
    first = number // IN_QUARTER - QUARTERS
    quarters = np.stack([padded(recent.quarters[k % QUARTERS], rows) for k in range(first, first + QUARTERS)], -1) + recent.anchor[..., None]
    targets = [time + seconds for seconds in ahead]
    places = [_yesterday(local_seconds(target, recent.zone) / SLOT_SECONDS, number) for target in targets]
    columns = {
        'levels': recent.levels,
        'noise': np.where(recent.differences > 0, recent.noise, np.nan),
        'recent': halves,
        'recent_season': usual,
        'quarters': quarters,
        'weekly': _stacked([season.recall(target, (), step_seconds)[..., 0] for target in targets], rows, features),
        'daily': _stacked([season.of_day(target) for target in targets], rows, features),
        'yesterday': _stacked([_between(halves, place) for place in places], rows, features),
        'yesterday_season': _stacked([_between(usual, place) for place in places], rows, features),
        'now': np.stack([season.recall(time, (), step_seconds)[..., 0], season.of_day(time)], -1),
    }
    by_row: Tensors = {name: np.asarray(column, np.float64).reshape(rows * features, *column.shape[2:]) for name, column in columns.items()}
    return by_row | {
        'since_quarter': np.array(number % IN_QUARTER, np.float32),
        'ahead': np.array(ahead, np.float64),
        'step_seconds': np.array(step_seconds, np.float32),
    }


def _stacked(columns: list[Floats], rows: int, features: int) -> Floats:
    """float64 [N, F, H], also where there is no target."""
    return np.stack(columns, -1) if columns else np.empty((rows, features, 0))


def filled(values: Floats32) -> Floats32:
    """The values with each NaN replaced by the last number before it on the last axis; NaN where there is none.

    >>> filled(np.float32([np.nan, 1, np.nan, 3]))
    array([nan,  1.,  1.,  3.], dtype=float32)
    """
    out = values.copy()
    for k in range(1, values.shape[-1]):
        gap = np.isnan(out[..., k])
        out[..., k][gap] = out[..., k - 1][gap]
    return out


def _season_of(season: Season, number: int, rows: int, features: int) -> Floats:
    """float64 [N, F]: the seasonal memory of a half-hour, as it is: NaN where this one was never learnt."""
    if not season.period_seconds:
        return np.full((rows, features), np.nan)
    slots = len(season.columns)
    return season.anchor + season.between(number * SLOT_SECONDS * slots / season.period_seconds % slots)  # exact for half-hours


def _yesterday(target: float, number: int) -> float:
    """Where among the last SLOTS complete half-hours the time of day of a target is: a position, counted in half-hours from 1970.

    target  position of the target, counted alike; number: the half-hour under way

    >>> _yesterday(100.5, 101), _yesterday(101.5, 101), _yesterday(100 + 96, 101)  # a moment before the first is read as the first
    (-0.5, 0.5, 47.0)
    """
    slots_a_day = DAY // SLOT_SECONDS
    newest = number - 1
    position = target - slots_a_day * max(0, np.ceil((target - newest) / slots_a_day))
    return float(position - (number - SLOTS))


def _between(halves: Floats, place: float) -> Floats:
    """float64 [N, F]: interpolated between two half-hours; after the last one, before the first, and where the other is not known, the one."""
    place = min(max(place, 0.0), SLOTS - 1.0)
    first = int(place)
    share = place - first
    before, after = halves[..., first], halves[..., min(first + 1, SLOTS - 1)]
    if share == 0:  # at a step of an hour, every other half-hour is never learnt
        return before
    between: Floats = before + share * (after - before)
    return np.where(np.isnan(between), np.where(np.isnan(before), after, before), between)
