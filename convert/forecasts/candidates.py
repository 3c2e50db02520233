"""What the network of a forecast sees: a series in its own unit, and what simple rules would forecast.

Part of the graph, in TensorFlow, so that training and serving cannot drift apart. The level of a series is subtracted in float64 (a terabyte
in bytes has a float32 resolution of 64 KiB); what is left is measured in a unit of the series, as float32. Everything is finite for finite
inputs: NaN is replaced at the door, in the one form that the ONNX converter keeps as `Where`.

    relative(…)     columns of the contract -> Relative: the same in units of the series, what is not known 0, and masks of what is known
    described(…)    Relative -> Described: candidates [R, H, C], and what the network sees of the row [R, …] and of each horizon [R, H, …]

Shaped for speed: few operators over whole arrays. So the candidates are one product of what differs by horizon with a constant matrix, and
terms of the row.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from promlstm.engine.recent import SLOT_SECONDS

LARGEST, LEAST = 1e300, 1e-300      # of a unit
FAR = 1000.0                # units from the level at most
DAY = 86400.0
SHARE = 1e-6                # of the level: the least unit of a series
SURPRISE_DAYS = 14.0        # age of what the seasonal memory holds, on average, when the same time of the week comes again
MEANS_APART = 4.0          # samples between what the fast and what the slow mean are of
BEND = 8.0                  # units; beyond it the network sees distances shortened

# What is forecast by each candidate: (name, {column that differs by horizon: factor}, terms of the row). The columns are those of BY_HORIZON;
# the terms are named in `_terms`, each for all horizons alike, by the second or by the day.
BY_HORIZON = ('weekly', 'daily', 'yesterday', 'surprise', 'drift', 'stretched')
CANDIDATES_OF = (
    ('newest', {}, ('newest',)),
    ('level', {}, ()),
    ('slow level', {}, ('slow',)),
    ('mean of a day', {}, ('mean',)),
    ('trend of samples', {}, ('samples',)),
    ('trend of half-hours', {}, ('half-hours',)),
    ('trend of six hours', {}, ('six',)),
    ('trend of hours', {}, ('hours',)),
    ('trend of days', {}, ('days',)),
    ('trend of the week', {}, ('week',)),
    ('weekly', {'weekly': 1}, ()),
    ('weekly moved to now', {'weekly': 1}, ('weekly now',)),
    ('weekly moved by two hours', {'weekly': 1}, ('two hours',)),
    ('weekly moved by six hours', {'weekly': 1}, ('six hours',)),
    ('weekly moved by the day', {'weekly': 1}, ('day',)),
    ('weekly moved by yesterday', {'weekly': 1, 'surprise': 1}, ()),
    ('weekly stretched', {'stretched': 1}, ('stretched',)),
    ('daily', {'daily': 1}, ()),
    ('daily moved to now', {'daily': 1}, ('daily now',)),
    ('daily moved to the day', {'daily': 1}, ('day level',)),
    ('yesterday', {'yesterday': 1}, ()),
    ('yesterday and its drift', {'yesterday': 1, 'drift': 1}, ()),
    ('yesterday and the change between days', {'yesterday': 1}, ('change',)),
    ('yesterday and the trend of days', {'yesterday': 1}, ('daily trend of days',)),
    ('yesterday and the trend of the week', {'yesterday': 1}, ('daily trend of the week',)),
)
NAMES = tuple(name for name, _, _ in CANDIDATES_OF)
CANDIDATES = len(NAMES)
PRODUCT = np.float32([[factors.get(column, 0) for _, factors, _ in CANDIDATES_OF] for column in BY_HORIZON])


class Relative(NamedTuple):
    """Columns of R rows, relative to the level and in units of the series; float32, 0 where not known. Masks are 1 where known."""

    fast: tf.Tensor             # [R, 2]    newest sample, slow level
    noise: tf.Tensor            # [R, 1]
    recent: tf.Tensor           # [R, 48]
    recent_known: tf.Tensor     # [R, 48]
    surprise: tf.Tensor         # [R, 48]   recent - season before it learnt them
    surprise_known: tf.Tensor   # [R, 48]
    quarters: tf.Tensor         # [R, 32]
    quarters_known: tf.Tensor   # [R, 32]
    weekly: tf.Tensor           # [R, H]
    daily: tf.Tensor            # [R, H]
    yesterday: tf.Tensor        # [R, H]
    yesterday_surprise: tf.Tensor  # [R, H]
    seasonal_known: tf.Tensor   # [R, H]    weekly
    now: tf.Tensor              # [R, 2]


class Described(NamedTuple):
    """What the network gets, float32."""

    row: tf.Tensor              # [R, ROW]
    recent: tf.Tensor           # [R, 144]      the last day: values, surprises, what is known of them
    days: tf.Tensor             # [R, 8, 8]     the last days: their quarters, what is known of them
    horizon: tf.Tensor          # [R, H, HORIZON]
    candidates: tf.Tensor       # [R, H, CANDIDATES], units from the level


def relative(levels, noise, recent, recent_season, quarters, weekly, daily, yesterday, yesterday_season, now):
    """(Relative, level float64 [R, 1], unit float64 [R, 1]) of the contract's columns."""
    level = levels[:, 1:2]
    level = tf.clip_by_value(tf.where(tf.math.is_nan(level), tf.zeros_like(level), level), -LARGEST, LARGEST)
    noise = tf.where(tf.math.is_nan(noise), tf.zeros_like(noise), noise)[:, None]
    day = tf.concat([recent, recent_season, quarters], 1)
    known = _known(day)
    day = _from(level, day)
    coarse = tf.reduce_max(tf.concat([tf.abs(day), noise, SHARE * tf.abs(level)], 1), 1, keepdims=True)
    coarse = tf.clip_by_value(coarse, LEAST, LARGEST)
    day = _f32(day / coarse)        # within 1: what follows may be float32
    recent, season, quarters = tf.split(day, [48, 48, 32], 1)
    recent_known, season_known, quarters_known = tf.split(known, [48, 48, 32], 1)
    season_known = season_known * recent_known
    surprise = 2 * (recent - season) * season_known
    noise = _f32(noise / coarse)
    parts = [_deviation(recent, recent_known), _mean(tf.abs(surprise), season_known) / 2, _deviation(quarters, quarters_known) / 5, noise]
    fine = tf.reduce_max(tf.concat([*parts, _f32(SHARE * tf.abs(level) / coarse)], 1), 1, keepdims=True) + 1e-6
    unit = coarse * tf.cast(fine, tf.float64)

    ahead = tf.concat([weekly, daily, yesterday, yesterday_season], 1)
    ahead_known = tf.split(_known(ahead), 4, 1)
    weekly, daily, yesterday, yesterday_season = tf.split(_inside(_from(level, ahead) / unit), 4, 1)
    parts = Relative(
        fast=_inside(_from(level, tf.concat([levels[:, :1], levels[:, 2:]], 1)) / unit),
        noise=noise / fine,
        recent=_clip(recent / fine),
        recent_known=recent_known,
        surprise=_clip(surprise / fine),
        surprise_known=season_known,
        quarters=_clip(quarters / fine),
        quarters_known=quarters_known,
        weekly=weekly,
        daily=daily,
        yesterday=yesterday,
        yesterday_surprise=2 * ahead_known[2] * ahead_known[3] * (yesterday - yesterday_season),
        seasonal_known=ahead_known[0],
        now=_inside(_from(level, now) / unit),
    )
    return parts, level, unit


def described(parts, since_quarter, ahead, step_seconds):
    """Described of Relative columns.

    since_quarter  float32 [R, 1]   complete half-hours since the last quarter ended
    ahead          float32 [R, H]   seconds to the targets
    step_seconds   float32 [R, 1]
    """
    recent, quarters, known = parts.recent, parts.quarters, parts.quarters_known
    day, earlier, week = (_mean(quarters[:, part], known[:, part]) for part in (slice(28, 32), slice(24, 28), slice(4, 32)))
    change = (day - earlier) * _any(known[:, 28:]) * _any(known[:, 24:28])
    apart, day_both = quarters[:, 4:] - quarters[:, :-4], known[:, 4:] * known[:, :-4]
    trend_days = _median(apart[:, -12:], day_both[:, -12:])     # a day
    days_apart, days_both = tf.reshape(apart * day_both, [-1, 7, 4]), tf.reshape(day_both, [-1, 7, 4])
    days_known = tf.reduce_sum(days_both, 2)
    trend_week = _median(tf.reduce_sum(days_apart, 2) / tf.maximum(days_known, 1), tf.minimum(days_known, 1))
    hours, hours_known = (tf.reshape(x, [-1, 12, 4]) for x in (recent, parts.recent_known))
    hours, hours_known = tf.reduce_sum(hours, 2) / 4, tf.reduce_min(hours_known, 2)
    steps, both = hours[:, 1:] - hours[:, :-1], hours_known[:, 1:] * hours_known[:, :-1]
    halves, halves_both = recent[:, 1:] - recent[:, :-1], parts.recent_known[:, 1:] * parts.recent_known[:, :-1]
    trend_half, trend_six = _median(halves[:, -5:], halves_both[:, -5:]), _median(halves[:, -15:], halves_both[:, -15:])
    uneven = [_mean(tf.abs(halves[:, -5:] - trend_half), halves_both[:, -5:]), _mean(tf.abs(halves[:, -15:] - trend_six), halves_both[:, -15:])]
    trend_half, trend_six = trend_half * (DAY / SLOT_SECONDS), trend_six * (DAY / SLOT_SECONDS)
    trend_samples = -parts.fast[:, 1:] / (MEANS_APART * step_seconds) * DAY
    trend_step = _median(steps, both)
    trend_hours = trend_step * (DAY / (4 * SLOT_SECONDS))
    surprises = [_mean(parts.surprise[:, -k:], parts.surprise_known[:, -k:]) for k in (48, 12, 4)]
    mean = _mean(recent, parts.recent_known)
    remembered = recent - parts.surprise
    usual = _mean(remembered, parts.surprise_known)
    spread = (remembered - usual) * parts.surprise_known
    stretch = (tf.reduce_sum(spread * recent, 1, keepdims=True) + 1e-3) / (tf.reduce_sum(spread * spread, 1, keepdims=True) + 1e-3)
    stretch = tf.clip_by_value(stretch, 0.0, 3.0)
    matched = _mean(recent, parts.surprise_known)

    zero = tf.zeros_like(mean)
    terms = {
        'newest': parts.fast[:, :1], 'slow': parts.fast[:, 1:], 'mean': mean, 'weekly now': -parts.now[:, :1], 'daily now': -parts.now[:, 1:],
        'day': surprises[0], 'six hours': surprises[1], 'two hours': surprises[2], 'stretched': matched - stretch * usual, 'day level': day - week,
    }  # fmt: skip
    by_second = {'samples': trend_samples, 'half-hours': trend_half, 'six': trend_six, 'hours': trend_hours, 'days': trend_days, 'week': trend_week}
    by_day = {'change': change, 'daily trend of days': trend_days, 'daily trend of the week': trend_week}
    fixed, rising, daily = (
        tf.concat([sum((one[name] for name in each if name in one), zero) for _, _, each in CANDIDATES_OF], 1)[:, None]
        for one in (terms, by_second, by_day)
    )
    days = tf.math.ceil((ahead + SLOT_SECONDS) / DAY - 1e-6)      # since `yesterday`, which is of half-hours that are complete
    drift = parts.yesterday_surprise * days / SURPRISE_DAYS
    columns = tf.stack([parts.weekly, parts.daily, parts.yesterday, parts.yesterday_surprise, drift, stretch * parts.weekly], -1)
    candidates = tf.matmul(columns, PRODUCT) + fixed + (ahead / DAY)[..., None] * rising + days[..., None] * daily
    candidates = _clip(candidates)

    numbers = [parts.fast, parts.now, trend_half, trend_six, trend_hours, trend_days, trend_week, change, *surprises, mean, week - day]
    small = [
        parts.noise, _mean(tf.abs(parts.surprise), parts.surprise_known), _mean(tf.abs(steps), both), _deviation(quarters, known),
        _mean(tf.abs(apart), day_both), _mean(tf.abs(apart - trend_week), day_both),      # of a steady trend the second is small
        _mean(tf.abs(apart[:, -12:] - trend_days), day_both[:, -12:]), _mean(tf.abs(steps - trend_step), both),
        _mean(tf.abs(quarters[:, 28:] - quarters[:, :4]), known[:, 28:] * known[:, :4]),
        *uneven,
    ]  # fmt: skip
    others = [stretch, tf.math.log(step_seconds / 600), since_quarter / 12, known[:, ::4]]
    row = tf.concat([bent(tf.concat(numbers, 1)), tf.math.log(tf.concat(small, 1) + 1e-3), *others], 1)
    angle = 2 * np.float32(np.pi) * ahead / DAY
    when = [tf.math.log(ahead / 3600) / 3, tf.sqrt(ahead / 604800), ahead / 604800, days / 7, tf.sin(angle), tf.cos(angle), parts.seasonal_known]
    near = tf.stack([parts.weekly - parts.yesterday, parts.daily - parts.yesterday, parts.yesterday_surprise], -1)
    horizon = tf.concat([bent(candidates), tf.stack(when, -1), tf.math.log(tf.abs(near) + 1e-3)], -1)
    last_day = tf.concat([bent(recent), bent(parts.surprise), parts.surprise_known], 1)
    days_of = tf.concat([tf.reshape(x, [-1, 8, 4]) for x in (bent(quarters), known)], 2)
    return Described(row, last_day, days_of, horizon, candidates)


def bent(x):
    """Distances, shortened beyond BEND: the network sees the difference between 1 and 2 units better than between 100 and 200."""
    return BEND * tf.nn.softsign(x / BEND)


def _from(level, x):
    """Differences from the level; 0 where not known."""
    apart = x - level
    return tf.where(tf.math.is_nan(apart), tf.zeros([], tf.float64), apart)


def _inside(x):
    return _clip(_f32(x))


def _clip(x):
    return tf.clip_by_value(x, -FAR, FAR)


def _f32(x):
    return tf.cast(x, tf.float32)


def _known(x):
    """1 where a number is known, 0 where it is NaN; float32."""
    return 1 - _f32(tf.math.is_nan(x))


def _mean(x, known):
    """Mean of what is known in each row, 0 where nothing is; [R, 1]."""
    return tf.reduce_sum(x * known, 1, keepdims=True) / tf.maximum(tf.reduce_sum(known, 1, keepdims=True), 1)


def _deviation(x, known):
    """Mean absolute deviation of what is known from its mean; [R, 1]."""
    return _mean(tf.abs(x - _mean(x, known)), known)


def _any(known):
    return tf.reduce_max(known, 1, keepdims=True)


def _median(x, known):
    """Median of what is known in each row, 0 where nothing is; [R, 1]."""
    ordered = tf.sort(x * known + np.float32(1e6) * (1 - known), axis=1)
    count = tf.reduce_sum(known, 1, keepdims=True)
    place = tf.constant(np.arange(x.shape[1], dtype=np.float32)[None])
    low, high = tf.floor((count - 1) / 2), tf.floor(count / 2)
    weight = tf.nn.relu(1 - tf.abs(place - low)) + tf.nn.relu(1 - tf.abs(place - high))
    return tf.reduce_sum(ordered * weight, 1, keepdims=True) / 2 * tf.minimum(count, 1)
