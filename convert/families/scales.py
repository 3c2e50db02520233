"""The scales of a series' deviations: how large each of them usually is, in the unit of the samples.

A scale is a running root mean square of the deviation itself, the larger of one that forgets and a share of one that forgets slowly. Outliers are
winsorised, so that nothing that happens once is remembered for long, whatever its size; the floors keep a nearly constant series, or one that is
nearly always zero, from ruining a threshold that holds for all of them.

Who calls it: views. What flows through: parts of its state by name, `v` of values (float64) and `r` of ratios (float32), each [width, M]; deviations and
scales are float64 [K, M], in the order of DEVIATIONS.
"""

import numpy as np
import tensorflow as tf

from convert.families import daytime, steps
from convert.families.choices import f32, f64, if_, is_

WARMUP = 40                     # samples before the first surprise
SETTLED = 8                     # samples before outliers are winsorised
WINSOR, WINSOR_NEW, WINSOR_LONG = 6.0, 8.0, 100.0      # scales: of the moments; in the warm-up; of the moments that forget slowly
LARGEST = 8.0                   # of one surprise: a series that leaves its constant must not dominate all features of an entity
SPARSE, APART, LIKE = 0.9, 60, 30.0     # share of steps without change from which on a change counts when the like has come before, so many steps apart
HUGE = 1e37                     # values are clipped here, so that scales stay finite in float32
TINY = 1e-30
# the size of changes while an alarm is held, in scales: half-life in steps, the most of one change, the usual value, changes that say enough
RECENT, RECENT_MOST, RECENT_USUAL, RECENT_FROM = 10.0, 30.0, 0.8, 8

DEVIATIONS = ('difference1', 'difference5', 'difference15', 'level', 'season', 'shift', 'spike', 'restart', 'ramp')
K = len(DEVIATIONS)
# the variance that white noise gives a deviation, against that of `difference1`
WHITE = np.float64([[1.0], [1.0], [1.0], [0.5], [0.5], [0.03], [0.54], [0.06], [0.008]])


def share(half_life):
    """Weight of the newest sample in an exponential mean."""
    return 1 - 0.5 ** (1 / half_life)


def far(deviation, scale):
    """Distance in scales, linear below one and logarithmic above; float32, at most LARGEST."""
    return tf.minimum(steps.asinh(f32(tf.minimum(tf.abs(deviation) / scale, 1e9))), LARGEST)


def of(root, root_long, floor):
    """The scales, float64 [n, M], of so many moments; floor  float64 [1, M] or [n, M]."""
    return tf.maximum(f64(tf.maximum(root, 0.3 * root_long)), floor)


def floor(v, r, size):
    """Of all scales, float64 [1, M]: the more steps change nothing, the more the usual size of a change counts, and a hundredth of the value.

    A change that came once is a yardstick only for those of its size: a glitch must not hide what is smaller.
    """
    usual = tf.maximum(v['change'], v['once'] * f64(is_(LIKE * size >= v['once'])))
    still = r['still'] * r['still']
    return tf.maximum(f64(0.25 + still) * usual, f64(tf.maximum(1e-6, 0.01 * still * still)) * tf.abs(v['level'])) + TINY


def noisier(r, renewed):
    """The moments with the noise that a new normal has brought, float32 [K, M]: while an alarm is held they are not learnt."""
    ratio, root = f64(tf.maximum(r['recent'] * is_(r['n_recent'] >= RECENT_FROM) / RECENT_USUAL, 1.0)), f64(r['root'])
    noisier = tf.sqrt(root * root + WHITE * (ratio * ratio - 1) * root[:1] * root[:1])
    return if_(renewed, f32(noisier), r['root'])


def recent(r, deviation, scale, learning, present):
    """How many changes there were since an alarm is held, and their size in scales, after the sample: float32 [1, M] each, 0 while none is."""
    count = (1 - learning) * (r['n_recent'] + present)
    size = tf.minimum(f32(tf.abs(deviation[:1]) / scale[:1]), RECENT_MOST)
    rate = tf.maximum(share(RECENT), 1 / (r['n_recent'] + 1))
    return count, (1 - learning) * (r['recent'] + present * rate * (size - r['recent']))


def teaches_slopes(r, gate, present):
    """1 where the sample teaches the scales of the running levels, float32 [1, M]: in the first days of a series it does while an alarm is held too.

    A slope that comes every day is an alarm on the first of them. If it taught nothing then, all that follow would be alarms as well.
    """
    return tf.maximum(gate, present * is_(r['tops'] < daytime.YOUNG))


def learn(v, r, x, deviation, scale, gate, slopes, known, run, step_seconds):
    """Scales, level, mean change; adds `level_next`, `change_next` and `once_next` to `v`; run = steps without a change before this one.

    gate, slopes  float32 [1, M]  1 = the sample teaches; the same of the running levels
    """
    rate = f32(1 - tf.exp(-0.6931471805599453 / steps.half_life(step_seconds)))
    before = r['n']
    n = r['n'] = tf.minimum(before + gate, 1e6)
    r['n_season'] = tf.minimum(r['n_season'] + gate * known, 1e6)
    count = tf.concat([n - 1, n - 5, n - 15, n - 1, r['n_season'], n, n, n, n], 0)
    count = tf.maximum(count, 0.0)
    gates = f64(tf.concat([gate * tf.ones_like(count[:4]), gate * known, slopes, gate, slopes, slopes], 0))
    most = f64(if_(is_(n > WARMUP), WINSOR, WINSOR_NEW)) * scale
    most_long = f64(if_(is_(n > WARMUP), WINSOR_LONG, WINSOR_NEW)) * scale
    free = f64(is_(count <= SETTLED) * is_(n <= WARMUP)) * (HUGE * HUGE)
    square = deviation * deviation
    for name, bound, speed in (('root', most, rate), ('root_long', most_long, rate / 6)):
        old = f64(r[name]) * f64(r[name])
        new = old + gates * f64(steps.weight(speed, count)) * (tf.minimum(square, bound * bound + free) - old)
        r[name] = f32(tf.sqrt(tf.maximum(new, 0)))
    size = tf.abs(deviation[:1])
    moved = gate * is_(size > 0)
    sparse, apart = f64(is_(r['still'] > SPARSE)), f64(is_(run >= APART))
    known = tf.maximum(v['change'], apart * v['once'])
    v['once_next'] = v['once'] + f64(moved) * sparse * (tf.maximum(size, (1 - apart) * v['once']) - v['once'])
    counted = moved * if_(f32(sparse), is_(known > 0), 1.0)
    r['n_change'] = tf.minimum(r['n_change'] + counted, 1e6)
    cut = if_(sparse, tf.minimum(size, LIKE * known), if_(f64(is_(r['n_change'] > 1)), tf.minimum(size, 30 * v['change']), size))
    v['change_next'] = v['change'] + f64(counted * steps.weight(rate, r['n_change'])) * (cut - v['change'])
    r['still'] += gate * steps.weight(rate, n) * (1 - is_(size > 0) - r['still'])
    gap = x - v['level']
    gap = if_(f64(is_(n > SETTLED + 1)), tf.clip_by_value(gap, -30 * scale[3:4], 30 * scale[3:4]), gap)
    v['level_next'] = v['level'] + f64(gate * steps.weight(rate, n)) * gap
