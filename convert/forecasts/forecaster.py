"""A forecast model as a function from series to forecasts, by the memory that the exporter would have of them. For measuring.

    forecast = forecaster.of('promlstm/models/forecast.onnx')
    quantiles = forecast(times, values, origins, ahead)     # float64 [origins, series, horizons, 3]
"""

import time

import numpy as np

from convert.forecasts.memory import Past
from promlstm.forecasts import model


class Forecaster:
    """run: function of the contract's inputs -> float64 [R, H, 3]; `seconds` is how long the model ran in the last call."""

    def __init__(self, run):
        self._run, self.seconds = run, 0.0

    def __call__(self, times, values, origins, ahead):
        """Low, middle and high of each series; NaN in the first day, and where the origin has no sample.

        times, values  float64 [T] local seconds with even steps, float64 [T, N]; NaN = none
        origins        indices into T; nothing later is used
        ahead          float64 [H] seconds
        """
        past, self.seconds = Past(times, values), 0.0
        out = np.full((len(origins), values.shape[1], len(ahead), 3), np.nan)
        for number, origin in enumerate(origins):
            columns = past.columns(int(origin), np.asarray(ahead, np.float64))
            if columns is not None:
                begun = time.perf_counter()
                out[number] = self._run(columns)
                self.seconds += time.perf_counter() - begun
        return out


def of(path):
    """The Forecaster of a model file; BundleFormatError or ProofError where it is none."""
    return Forecaster(model.load(path, threads=1).run)
