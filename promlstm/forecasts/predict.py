"""The forecast of all entities of a detector, in chunks of rows. Pure.

Who calls it: live.forecasts, convert (the same for evaluation). What flows through: Recent and Season in, a Prediction out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from promlstm.engine.columns import Bools, Floats, Tensors
from promlstm.engine.recent import Recent
from promlstm.engine.season import Season
from promlstm.forecasts.inputs import gathered
from promlstm.forecasts.model import Model

CHUNK = 4096  # rows of one run: what they need stays in the processor's cache
LEAST_UNIT = 1e-9  # of the level: below it, a movement is a rounding error


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What is forecast of N entities with F features at one instant, for H targets.

    time      unix seconds
    quantiles float64 [N, F, H, 3]  as the model gives them; NaN = no forecast
    simple    float64 [N, F, H]     the same as at this time of the day before
    unit      float64 [N, F]        how much the last day varied
    positive  bool [N, F]           never below 0 in the last eight days
    """

    time: float
    quantiles: Floats
    simple: Floats
    unit: Floats
    positive: Bools

    def shown(self, valid: tuple[float, float] | None) -> Floats:
        """The quantiles within natural borders: 0 for what is never below it, and the valid range."""
        low = np.where(self.positive, 0.0, -np.inf)
        high = np.full_like(low, np.inf)
        if valid:
            low, high = np.maximum(low, valid[0]), np.minimum(high, valid[1])
        return np.clip(self.quantiles, low[..., None, None], high[..., None, None])


def predict(model: Model, recent: Recent, season: Season, time: float, ahead: Sequence[float], step_seconds: float) -> Prediction:
    """Forecast from the memory after the sample at `time`."""
    rows, features = recent.anchor.shape
    shape = rows, features, len(ahead)
    out = Prediction(
        time, np.full((*shape, 3), np.nan), np.full(shape, np.nan), np.full(shape[:2], np.nan), np.zeros(shape[:2], bool)
    )

    def run(start: int) -> None:
        part = slice(start, start + chunk)
        inputs = gathered(recent.take(part), season.take(part), time, ahead, step_seconds)
        size = len(recent.anchor[part]), features
        with np.errstate(over='ignore', invalid='ignore'):
            out.quantiles[part] = model.run(inputs).reshape(*size, len(ahead), 3)
            out.simple[part] = inputs['yesterday'].reshape(*size, len(ahead))
            out.unit[part] = _unit(inputs).reshape(size)
            out.positive[part] = _positive(inputs).reshape(size)

    chunk = max(1, CHUNK // features)
    starts = range(0, rows, chunk)
    for _ in model.pool.map(run, starts) if model.pool and len(starts) > 1 else map(run, starts):
        pass
    return out


def _unit(inputs: Tensors) -> Floats:
    """float64 [R]: mean absolute deviation of the last day from its mean, no less than the noise; NaN = not known."""
    recent = inputs['recent']
    known = ~np.isnan(recent)
    count = np.maximum(known.sum(1), 1)
    mean = np.where(known, recent, 0).sum(1) / count
    deviation = np.where(known, np.abs(recent - mean[:, None]), 0).sum(1) / count
    unit: Floats = np.fmax(np.fmax(deviation, inputs['noise']), LEAST_UNIT * np.abs(inputs['levels'][:, 1]))
    return np.where(unit > 0, unit, np.nan)


def _positive(inputs: Tensors) -> Bools:
    lowest = [_lowest(inputs[name]) for name in ('levels', 'recent', 'quarters')]
    positive: Bools = np.minimum.reduce(lowest) >= 0
    return positive


def _lowest(values: Floats) -> Floats:
    """float64 [R]: the lowest number of each row; +Inf where it has none."""
    lowest: Floats = np.where(np.isnan(values), np.inf, values).min(1)
    return lowest

