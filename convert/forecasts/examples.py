"""Examples to learn from: the columns at random instants of series, and what came.

Errors are weighed so that a series counts by how well it can be forecast by "the same as at this time of yesterday", as in the mean absolute
scaled error (MASE).
"""

import numpy as np
import tensorflow as tf

from convert.forecasts import candidates, contract
from convert.forecasts.memory import Past

DAY = 86400
USUAL_SECONDS, OF_USUAL = (300, 900, 3600, 10800, 21600, 43200, 86400, 172800, 259200, 604800), 0.35     # what people ask for; share of the horizons
EARLY = 0.3                 # share of the instants in the first days of a series
FARTHEST = 500.0            # units from the level that a target may be
HEAVIEST = 100.0
NEAR = 0.15                 # errors at short horizons are small, and count for more: by (a day / horizon) to this power


def examples(times, values, rng, *, instants, horizons=8, bad=None):
    """dict of arrays with a leading axis of examples: the Relative columns, since_quarter, ahead, step_seconds, target and weight [E, H].

    times, values  float64 [T] local seconds with even steps, float64 [T, N]; NaN = none
    bad            bool [T, N]: neither learnt from nor forecast
    """
    past, last = Past(times, values), len(times) - 1
    step, out = past.step_seconds, []
    least = max(contract.HORIZON_SECONDS[0], step)
    first = int(1.2 * DAY / step)
    for _ in range(instants):
        until = min(last - 1, int(5 * DAY / step)) if rng.random() < EARLY else last - 1
        index = int(rng.integers(first, max(first + 1, until)))
        most = min(contract.HORIZON_SECONDS[1], (last - index) * step)
        if most < least:
            continue
        ahead = np.exp(rng.uniform(np.log(least), np.log(most), horizons))
        usual = rng.choice(USUAL_SECONDS, horizons)
        ahead = np.where((rng.random(horizons) < OF_USUAL) & (usual >= least) & (usual <= most), usual, ahead)
        steps = np.maximum(np.round(ahead / step), np.ceil(least / step)).astype(np.int64)
        columns = past.columns(index, steps * step)
        if columns is None:
            continue
        came = values[index + steps].T
        usable = np.isfinite(came) & np.isfinite(values[index])[:, None]
        if bad is not None:
            usable &= ~(bad[index + steps].T | bad[index][:, None])
        out.append(_described(columns, came, usable, _day_to_day(values, index, step)))
    return joined(out) if out else {}


def joined(parts):
    """Examples put together."""
    return {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}


def _described(columns, came, usable, usual):
    kept = np.isfinite(columns['levels']).all(1) & usable.any(1)
    rows = {name: tf.constant(columns[name][kept]) for name in ROWS}
    parts, level, unit = (x.numpy() if isinstance(x, tf.Tensor) else x for x in candidates.relative(**rows))
    usual = np.where(np.isnan(usual[kept][:, None]), unit, usual[kept][:, None])
    worth = np.maximum(usual, 0.02 * unit) + 0.005 * unit
    out = {name: part.numpy() for name, part in parts._asdict().items()}
    count, horizons = len(level), len(columns['ahead'])
    out['since_quarter'] = np.full((count, 1), columns['since_quarter'], np.float32)
    out['step_seconds'] = np.full((count, 1), columns['step_seconds'], np.float32)
    out['ahead'] = np.broadcast_to(columns['ahead'].astype(np.float32), (count, horizons))
    with np.errstate(over='ignore'):        # of a series that has never moved
        apart = np.nan_to_num((came[kept] - level) / unit)
    out['target'] = np.clip(apart, -FARTHEST, FARTHEST).astype(np.float32)
    near = (DAY / columns['ahead']) ** NEAR
    out['weight'] = (np.minimum(unit / worth, HEAVIEST) * near * usable[kept]).astype(np.float32)
    return out


ROWS = ('levels', 'noise', 'recent', 'recent_season', 'quarters', 'weekly', 'daily', 'yesterday', 'yesterday_season', 'now')


def _day_to_day(values, index, step):
    """Mean absolute difference between a sample and the one a day before, up to an index; [N], NaN in the first day."""
    day = round(DAY / step)
    apart = np.abs(values[day : index + 1] - values[: index + 1 - day])
    known = np.isfinite(apart)
    return np.where(known, apart, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
