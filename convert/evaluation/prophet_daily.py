"""Prophet to compare a model with, as people run it: fitted anew each day on the three weeks before, it forecasts the day.

Taylor and Letham, Forecasting at scale, The American Statistician 72, 2018. Prophet is no dependency of anything: there is a row where it can be imported,
for entities of one feature. Who calls it: scoring; convert.benchmark says what is missing.
"""

import math

import numpy as np

from convert.evaluation import optional, trailing
from promlstm.engine.season import DAY

NAME = 'prophet'
PAST_SECONDS = 21 * DAY     # of a fit: with two weeks and more it has a season of a week, too
LEAST_SECONDS = 2 * DAY     # from which on it has one of a day
MOST = 2000                 # samples of a fit: of more, as many in a row are averaged as needed, or it takes minutes


def missing():
    """Sentences on what is not installed."""
    return optional.missing(NAME, 'prophet')


def scores(values, step_seconds, tested, history):
    """Distance of each tested sample from its forecast, in standard deviations of the fit, float32 [T, N] for values float [T, N].

    tested   int [N]: the first step of each entity that is tested
    history  (int [H], float [H, N]): steps before the first row, below 0, and the values there
    returns  {} without Prophet, else {NAME: scores}; NaN where there is no sample, or less than LEAST_SECONDS before the day
    """
    if missing():
        return {}
    out, day = np.full(values.shape, np.nan, np.float32), max(1, round(DAY / step_seconds))
    filled = trailing.without_gaps(values)
    floor = trailing.floor(filled, np.diff(filled, axis=0, prepend=filled[:1]), int(np.clip(DAY / step_seconds, 120, 1440)))
    at = np.concatenate([history[0], np.arange(len(values))])
    for n, first in enumerate(tested):
        known = np.concatenate([history[1][:, n], values[:, n]])
        there = ~np.isnan(known)
        for begin in range(int(first), len(values), day):
            before = there & (at < begin) & (at >= begin - PAST_SECONDS / step_seconds)
            rows = slice(begin, begin + day)
            if not before.any() or np.ptp(at[before]) * step_seconds < LEAST_SECONDS or np.isnan(values[rows, n]).all():
                continue
            forecast, deviation = _fitted(at[before], known[before], np.arange(begin, min(begin + day, len(values))), step_seconds)
            out[rows, n] = np.abs(values[rows, n] - forecast) / np.maximum(deviation, floor[rows, n])
    return {NAME: out}


def _fitted(at, known, ahead, step_seconds):
    """(forecast float [A] for the steps `ahead`, standard deviation of the fit) from samples at steps; as Prophet's own settings have it."""
    if np.ptp(known) == 0:
        return known[0], 0.0
    import pandas

    blocks = np.array_split(np.arange(len(at)), min(MOST, math.ceil(len(at) / math.ceil(len(at) / MOST))))
    when = lambda steps: pandas.to_datetime((np.asarray(steps) * step_seconds).astype('int64'), unit='s')       # noqa: E731
    past = pandas.DataFrame({'ds': when([at[each].mean() for each in blocks]), 'y': [known[each].mean() for each in blocks]})
    with optional.quiet():
        from prophet import Prophet

        model = Prophet(uncertainty_samples=0).fit(past, seed=0)
        found = model.predict(pandas.DataFrame({'ds': when(ahead)}))
    return found['yhat'].to_numpy(), float(model.params['sigma_obs'].mean()) * model.y_scale
