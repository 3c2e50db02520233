"""One step of a series' own scales: what a sample is measured against, and the 12 numbers that the LSTM sees.

Part of every forecaster's graph (forecaster calls `observe`), and run alone over synthetic series to make the training inputs (train), so
that training and serving cannot drift apart. Rows are series: M = entities × features.

Arithmetic about the value is float64 (a terabyte in bytes has a float32 resolution of 64 KiB); ratios are float32. Everything stays finite
for every finite input: NaN is replaced first, in the one form that the ONNX converter keeps as `Where`; what must have no effect is
multiplied by a gate of 0, never chosen with `tf.where`, which the converter would turn into c·a + (1−c)·b.

Source of the scale floors, half-lives and inputs: measured, see docs/explanation/score.md.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from convert.families.warmup import WARMUP, WINSOR

HORIZONS = (1, 5, 15)
RING = max(HORIZONS)
SLOT_SECONDS = 1800             # of the seasonal memory: a week in 336 slots
INPUTS = 12
LARGEST = 1e120                 # values are clipped here, so that squares stay finite
TINY = 1e-30
FAST_STEP, SLOW_STEP = 300.0, 1800.0        # between them the rules for fast and for slow steps blend
FAST_RATE = np.float64(1 - 0.5 ** (1 / 20))    # of the fast level: half-life 20 steps

# columns of the state: level, fast level, mean change, share of zero changes, three counts, two second moments of five deviations, past values
COLUMNS = (1, 1, 1, 1, 1, 1, 1, 5, 5, 1, 3, 1, 9, 1)
WIDTH = sum(COLUMNS)


class Observation(NamedTuple):
    """What one step makes of M samples. Deviations are those over 1, 5, 15 steps, from the level and from the season."""

    x: tf.Tensor                # float64 [M, 1]    the sample, or the last one where there is none
    past: tf.Tensor             # float64 [M, 3]    the value each horizon ago
    difference: tf.Tensor       # float64 [M, 3]    x - past
    apart: tf.Tensor            # float32 [M, 2]    distance to level and season in their scales from before the sample, >= 0
    warm: tf.Tensor             # float32 [M, 1]    1 after the warm-up
    scale: tf.Tensor            # float64 [M, 3]    s_1, s_5, s_15 with the sample learnt
    inputs: tf.Tensor           # float32 [M, 12]   what the LSTM sees
    count: tf.Tensor            # float64 [M, 1]    samples learnt so far, this one included
    season_next: tf.Tensor      # float64 [M, 1]    NaN where neither known nor learnt
    state: tf.Tensor            # float64 [M, WIDTH]


def half_life(step_seconds):
    """Steps after which a sample counts half: one day's, between 300 and 1500; float64 []."""
    return tf.clip_by_value(86400.0 / tf.cast(step_seconds, tf.float64), 300.0, 1500.0)


def slowness(step_seconds):
    """0 up to FAST_STEP, 1 from SLOW_STEP on, in proportion of the logarithms between them; float32 []."""
    return tf.clip_by_value(tf.math.log(step_seconds / FAST_STEP) / math.log(SLOW_STEP / FAST_STEP), 0.0, 1.0)


def usable(trust, axis=1):
    """Which horizons, along an axis, may judge, 0/1: those that start from a trusted sample (1); if there is none, from any (0.5); never from a gap (0)."""
    trusted = tf.maximum(2 * trust - 1, 0)
    none = 1 - tf.reduce_max(trusted, axis, keepdims=True)
    return tf.maximum(trusted, none * tf.minimum(2 * trust, 1))


def observe(value, season, step_seconds, learn, state):
    """The part of a step that needs no forecast: measure, then learn, then describe.

    value         float64 [M, 1]  NaN = no sample
    season        float64 [M, 4]  seasonal memory now and at HORIZONS; NaN = not known
    step_seconds  float32 []
    learn         float32 [M, 1]  0 = scales, levels and season keep their value; 2 = a new normal: levels and season move to the sample first
    state         float64 [M, WIDTH]  zeros = never seen
    returns       Observation
    """
    level, fast, change, still, n, n_change, n_season, v, u, last, r2_4, r5, r6_14, r15 = tf.split(state, COLUMNS, axis=1)
    x = _bounded(tf.where(tf.math.is_nan(value), last, value))
    present = 1 - tf.cast(tf.math.is_nan(value), tf.float64)
    gate = present * tf.minimum(tf.cast(learn, tf.float64), 1)
    new = 1 - tf.minimum(n, 1)
    known = 1 - tf.cast(tf.math.is_nan(season), tf.float64)
    ahead = _bounded(tf.where(tf.math.is_nan(season), x, season))
    past = tf.concat([last, r5, r15], 1)
    past += new * (x - past)
    shift = present * new_normal(learn) * (x - level - known[:, :1] * (ahead[:, :1] - level))     # to the new normal
    ahead += known * shift
    level, fast = level + shift + new * (x - level - shift), fast + shift + new * (x - fast - shift)
    difference = x - past
    deviation = tf.concat([difference, x - level, x - ahead[:, :1]], 1)
    before = _scale(v, u, change, level)
    apart = tf.cast(tf.minimum(tf.abs(deviation / before), 1e9), tf.float32)[:, 3:]
    warm = tf.cast(n >= WARMUP, tf.float32)

    rate = 1 - tf.exp(-0.6931471805599453 / half_life(step_seconds))
    n_before, n = n, tf.minimum(n + gate, 1e9)
    n_season = tf.minimum(n_season + gate * known[:, :1], 1e9)
    seen = tf.concat([tf.maximum(n - tf.constant([[1.0, 5.0, 15.0, 1.0]], tf.float64), 0), n_season], 1)
    square = tf.minimum(deviation * deviation, WINSOR**2 * before * before + 1e240 * tf.cast(n_before < WARMUP, tf.float64))
    gates = gate * tf.concat([tf.ones_like(past), tf.ones_like(x), known[:, :1]], 1)
    v += gates * weight(rate, seen) * (square - v)
    u += gates * weight(rate / 6, seen) * (deviation * deviation - u)
    moved = tf.abs(tf.sign(difference[:, :1]))
    n_change = tf.minimum(n_change + gate * moved, 1e9)
    change += gate * moved * weight(rate, n_change) * (tf.abs(difference[:, :1]) - change)
    still += gate * weight(rate, n - 1) * (1 - moved - still)
    level += gate * weight(rate, n) * (x - level)
    fast += gate * weight(FAST_RATE, n) * (x - fast)

    after = _scale(v, u, change, level)
    inputs = _inputs(x, level, fast, difference, ahead, known, after, n, still)
    season_next = _season_next(x, ahead[:, :1], known[:, :1], before[:, 4:], gate, step_seconds)
    shifted = [x, last + new * (x - last), r2_4 + new * (x - r2_4), r5 + new * (x - r5), r6_14 + new * (x - r6_14)]
    state = tf.concat([level, fast, change, still, n, n_change, n_season, v, u, *shifted], 1)
    return Observation(x, past, difference, apart, warm, after[:, :3], inputs, n, season_next, state)


def new_normal(learn):
    """1 where the present is to be taken as the new normal (learn = 2), else 0; float64 [M, 1]."""
    return tf.clip_by_value(tf.cast(learn, tf.float64) - 1, 0.0, 1.0)


def nan_unless(gate):
    """0 where gate is 1, NaN where it is 0: added to a number at the very end, it removes it."""
    return tf.sqrt(gate - 1)


def _bounded(x):
    return tf.clip_by_value(x, -LARGEST, LARGEST)


def weight(rate, count):
    """Of the newest sample: a plain mean at first (bias-corrected), exponential later; 0 where there is none yet."""
    return tf.minimum(count, 1) * tf.maximum(rate, 1 / tf.maximum(count, 1))


def _scale(v, u, change, level):
    """The five scales [M, 5]. The floors keep a nearly constant series from ruining a threshold that holds for all of them."""
    floor = tf.maximum(0.25 * change, 1e-6 * tf.abs(level)) + TINY
    return tf.maximum(tf.maximum(tf.sqrt(v), 0.3 * tf.sqrt(u)), floor)


def ratio(a, b):
    """a / b as float32 on a scale that is linear below 1 and logarithmic above."""
    far = tf.cast(tf.clip_by_value(a / b, -1e9, 1e9), tf.float32)
    return tf.sign(far) * asinh(tf.abs(far))


def asinh(x):
    """The inverse hyperbolic sine of float32 from 0 to 1e18, to 1e-7: as a logarithm, since ONNX Runtime computes Asinh one number at a time."""
    return tf.math.log(x + tf.sqrt(x * x + 1))


def sinh(x):
    """The hyperbolic sine of float32 from 0.1 to 80: by exponential functions, for the same reason."""
    return 0.5 * (tf.exp(x) - tf.exp(-x))


def _inputs(x, level, fast, difference, ahead, known, scale, n, still):
    """The 12 inputs, float32 [M, 12]."""
    far = tf.concat([x - level, difference[:, :1], x - ahead[:, :1], ahead[:, 1:] - x, x - fast], 1)
    near = tf.concat([scale[:, 3:4], scale[:, :1], scale[:, 4:5], scale[:, :3], scale[:, 1:2]], 1)
    spread = tf.concat([scale[:, :1], scale[:, 4:5]], 1) / scale[:, 3:4]
    spread = tf.math.log(tf.cast(tf.clip_by_value(spread, 1e-4, 1e4), tf.float32))
    return tf.concat([ratio(far, near), spread, tf.cast(tf.concat([known[:, :1], WARMUP / (n + WARMUP), still], 1), tf.float32)], 1)


def _season_next(x, now, known, spread, gate, step_seconds):
    """Half of the way to the sample for each visit of a slot, outliers winsorised; the sample itself where nothing was known."""
    visits = tf.maximum(SLOT_SECONDS / tf.cast(step_seconds, tf.float64), 1)
    rate = 1 - tf.exp(-0.6931471805599453 / visits)
    gap = tf.clip_by_value(x - now, -WINSOR * spread, WINSOR * spread)
    return now + gate * rate * gap + nan_unless(tf.maximum(known, gate))
