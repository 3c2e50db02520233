"""Forecasts of well-known packages to compare a model with, on a sample, for they take seconds each: AutoETS, AutoTheta, Prophet.

They are no dependency of anything: a row is there where the package can be imported. Each is fitted anew for each series and origin, on
samples an hour apart (or a step, where that is longer), of the six weeks before, with a season of a day; for horizons that are no whole
hours, on samples five minutes apart of the day before, without a season. The samples are taken as they are, not averaged, for what is
forecast is a sample. Intervals are their own. Who calls it: forecasting.
"""

import math
from typing import NamedTuple

import numpy as np

from convert.evaluation import optional
from convert.evaluation.forecast_baselines import DAY, HOUR, Past

COVERAGE = 80               # percent, of the interval
FAR_SECONDS, NEAR_SECONDS = 42 * DAY, DAY
DRAWS = 200                 # of Prophet's interval
LEAST_SEASONS = 2           # in the past, or there is no season


class Package(NamedTuple):
    """A method of a package.

    module   to import, and what to install for it
    fit      function (samples float [n], seconds between them, samples of a season or 1, samples ahead) -> float [ahead, 3]
    """

    module: str
    fit: object


class Refitted:
    """A forecaster, see forecasting, that fits anew for each series and origin."""

    def __init__(self, fit):
        self.fit = fit

    def __call__(self, times, values, origins, ahead):
        step, ahead = float(times[1] - times[0]), np.asarray(ahead)
        out = np.full((len(origins), values.shape[1], len(ahead), 3), np.nan)
        with optional.quiet():
            for o, origin in enumerate(origins):
                past = Past(values[: origin + 1], step).filled
                for n in range(values.shape[1]):
                    for apart, seconds, which in _clocks(step, ahead):
                        out[o, n, which] = self._forecast(past[:, n], step, apart, seconds, ahead[which])
        return out

    def _forecast(self, past, step, apart, seconds, ahead):
        stride = round(apart / step)
        samples = past[::-1][::stride][: round(seconds / apart)][::-1]
        samples = samples[~np.isnan(samples)]
        season = round(DAY / apart) if seconds == FAR_SECONDS and len(samples) >= LEAST_SEASONS * DAY / apart else 1
        steps = np.round(ahead / apart).astype(int)
        if len(samples) < LEAST_SEASONS:
            return np.full((len(ahead), 3), np.nan)
        return self.fit(samples, apart, season, int(steps.max()))[steps - 1]


def _clocks(step, ahead):
    """(seconds between samples, seconds of the past, places of the horizons) of the one or two clocks that horizons are forecast on."""
    apart = max(step, HOUR // step * step)
    whole = ahead % apart == 0
    if whole.any():
        yield apart, FAR_SECONDS, np.flatnonzero(whole)
    if not whole.all():
        yield step * math.gcd(*(round(each / step) for each in ahead[~whole])), NEAR_SECONDS, np.flatnonzero(~whole)


def _statistical(name):
    def fit(samples, apart, season, ahead):
        from statsforecast import models

        if np.ptp(samples) == 0:            # no model of a constant: it is its own forecast
            return np.full((ahead, 3), samples[0])
        found = getattr(models, name)(season_length=season).forecast(y=samples, h=ahead, level=[COVERAGE])
        return np.stack([found[f'lo-{COVERAGE}'], found['mean'], found[f'hi-{COVERAGE}']], axis=1)

    return fit


def _prophet(samples, apart, season, ahead):
    import pandas
    from prophet import Prophet

    at = pandas.to_datetime((apart * np.arange(len(samples) + ahead)).astype('int64'), unit='s')
    model = Prophet(interval_width=COVERAGE / 100, uncertainty_samples=DRAWS)
    model.fit(pandas.DataFrame({'ds': at[: len(samples)], 'y': samples}), seed=0)
    np.random.seed(0)  # noqa: NPY002 (Prophet draws its interval from the global generator)
    found = model.predict(pandas.DataFrame({'ds': at[len(samples) :]}))
    return found[['yhat_lower', 'yhat', 'yhat_upper']].to_numpy()


PACKAGES = {
    'AutoETS': Package('statsforecast', _statistical('AutoETS')),
    'AutoTheta': Package('statsforecast', _statistical('AutoTheta')),
    'Prophet': Package('prophet', _prophet),
}


def installed():
    """({name: forecaster}, sentences on what is not installed)."""
    missing = {name: optional.missing(name, package.module) for name, package in PACKAGES.items()}
    there = {name: Refitted(package.fit) for name, package in PACKAGES.items() if not missing[name]}
    return there, [sentence for sentences in missing.values() for sentence in sentences]
