"""What people run today, in PromQL and in monitoring systems, to compare a model with: rows of the command `benchmark` alone.

Causal, as baselines.py, whose plain detectors also stand in model files. Pure numpy; each [T, N], NaN where there was no sample or it was warming up.
"""

import numpy as np

from convert.evaluation import trailing
from promlstm.engine.season import DAY, WEEK

NAMES = ('promql_week', 'promql_bands', 'holt_winters')
HOUR = 3600
LEVEL, TREND, SEASON = 0.1, 0.0035, 0.1     # rates of holt_winters
MULTIPLIER, MARGIN, VARIES = 2.0, 0.5, 0.5  # of promql_bands: band in standard deviations, in means; the least coefficient of variation
LEAST = 12                                  # samples of an hour in promql_bands, where steps are long


def scores(values, step_seconds, history=None):
    """{name of NAMES: float32 [T, N]}; arguments, floors and NaN as of baselines.plain. No constant was tuned on any data.

    promql_week   (x - p) / stddev_over_time(x[1w]); p = the median over k = 1, 2, 3 weeks, of those that are there, of avg_over_time of the four
                  hours around the same time + avg_over_time(x[1w]) - avg_over_time(x[1w] offset k weeks); where no week is there, k = 1 day.
                  GitLab, How to use Prometheus for anomaly detection, about.gitlab.com/blog/2019/07/23/anomaly-detection-using-prometheus/
    promql_bands  |x - a| / (band - a), a = avg_over_time(x[1h]); the band is the farthest of a ± 2 s, a ± a / 2, and m ± 2 d an hour around this
                  time a day and a week ago, of mean m and deviation d; s = the mean over 26 h of stddev_over_time(x[1h]) where that is above a / 2.
                  Grafana, github.com/grafana/promql-anomaly-detection, rules/adaptive.yml; here values may be below 0, an hour has 12 samples
    holt_winters  (x - forecast) / MAD of such errors, one step ahead: exponential level, trend, and season of a day, all additive. A season
                  begins as the first day of each series, or that before it in `history`. Rates as in RRDtool, rrdcreate, HWPREDICT:
                  0.1, 0.0035, 0.1; Brutlag, Aberrant behavior detection in time series for network monitoring, LISA 2000
    """
    window = int(np.clip(DAY / step_seconds, 120, 1440))
    filled = trailing.without_gaps(values)
    floor = trailing.floor(filled, np.diff(filled, axis=0, prepend=filled[:1]), window)
    error = _seasonal_errors(filled, ~np.isnan(values), round(DAY / step_seconds), history)
    spread = 1.4826 * trailing.median(np.abs(np.nan_to_num(error)), window)
    out = {'holt_winters': trailing.scored(values, error, np.maximum(spread, floor)).astype(np.float32)}
    del error, spread
    past, base = _past(values, 4 * WEEK / step_seconds, history), filled[:1]       # sums are of values near 0, or their squares lose all digits
    whole = np.concatenate([past, values]) - base
    deviation, spread = (each[len(past) :] for each in _from_weeks_ago(whole, step_seconds))
    out['promql_week'] = trailing.scored(values, deviation, np.maximum(spread, floor)).astype(np.float32)
    deviation, spread = (each[len(past) :] for each in _from_band(whole, base, step_seconds))
    out['promql_bands'] = trailing.scored(values, deviation, np.maximum(spread, floor)).astype(np.float32)
    return {name: out[name] for name in NAMES}


def _seasonal_errors(filled, present, day, history):
    """float [T, N]: each sample less its forecast by exponential smoothing; NaN in the first season, which it begins with."""
    total, n = filled.shape
    begins = np.argmax(present, 0)
    place = begins + np.arange(day)[:, None]
    first = np.take_along_axis(filled, np.minimum(place, total - 1), 0)
    ready = begins + day
    if history is not None and len(history[0]):
        before = trailing.without_gaps(trailing.yesterday(filled, day, history)[:day])
        first, place, ready = before, np.broadcast_to(np.arange(len(before))[:, None], before.shape), np.zeros(n, int)
    level, trend, season, out = first.mean(0), np.zeros(n), np.zeros((day, n)), np.full((total, n), np.nan)
    np.put_along_axis(season, place % day, first - level, 0)
    for t in range(int(ready.min(initial=total)), total):
        slot = t % day
        error = filled[t] - (level + trend + season[slot])
        out[t] = np.where(t >= ready, error, np.nan)
        learns = present[t] & (t >= ready)
        error = np.where(learns, error, 0)
        level = level + learns * trend + LEVEL * error
        trend = trend + LEVEL * TREND * error
        season[slot] += SEASON * (1 - LEVEL) * error
    return out


def _from_weeks_ago(x, step_seconds):
    """(distance from what the same time of the weeks before lets expect, standard deviation of the week before), float [T, N] each."""
    mean, spread = trailing.moments(x, WEEK / step_seconds)
    mean, spread = trailing.before(mean), trailing.before(spread)
    around = max(1, round(4 * HOUR / step_seconds))
    middle, _ = trailing.moments(x, around)

    def expected(seconds):
        lag = round(seconds / step_seconds)
        return trailing.ago(middle, lag - around // 2) + mean - trailing.ago(mean, lag)

    weeks = np.sort([expected(k * WEEK) for k in (1, 2, 3)], axis=0)        # NaN last
    known = np.maximum((~np.isnan(weeks)).sum(0), 1)[None]
    median = (np.take_along_axis(weeks, (known - 1) // 2, 0) + np.take_along_axis(weeks, known // 2, 0))[0] / 2
    return x - np.where(np.isnan(median), expected(DAY), median), spread


def _from_band(x, base, step_seconds):
    """(distance from the mean of the hour before, distance of the border on that side), float [T, N] each; x are values less `base`."""
    hour = max(LEAST, round(HOUR / step_seconds))
    mean, deviation = trailing.moments(x, hour)
    wide = [trailing.ago(each, round(seconds / step_seconds) - hour // 2) for seconds in (DAY, WEEK) for each in (mean, MULTIPLIER * deviation)]
    mean, deviation = trailing.before(mean), trailing.before(deviation)
    size = np.abs(mean + base)
    smooth, _ = trailing.moments(np.where(deviation > VARIES * size, deviation, np.nan), 26 * HOUR / step_seconds)
    half = np.fmax(MULTIPLIER * smooth, MARGIN * size)
    above = np.fmax.reduce([half, wide[0] + wide[1] - mean, wide[2] + wide[3] - mean])
    below = np.fmax.reduce([half, mean - wide[0] + wide[1], mean - wide[2] + wide[3]])
    return x - mean, np.where(x > mean, above, below)


def _past(values, most, history):
    """float [P, N]: `history` on the grid of steps before the first, NaN between its samples; as many as `most` steps."""
    if history is None or not len(history[0]):
        return np.empty((0, values.shape[1]))
    chosen = (history[0] < 0) & (history[0] >= -most)
    out = np.full((int(-history[0][chosen].min(initial=0)), values.shape[1]), np.nan)
    out[history[0][chosen]] = history[1][chosen]        # they count from the end
    return out
