"""What the window families share: a ring of the last W inputs, rolled inside the graph, and an error measured in the series' own errors.

A window family runs over the last W steps at every step: it costs W steps of an LSTM where a stateful one costs one. Everything here is
finite for finite input and free of `tf.where` (see steps.py for why). Rows are series: M = entities × features.

The surprise of an error is asinh(|error| / its usual size): linear for small ones, logarithmic for large ones, alike for all series. Its
usual size is a bias-corrected exponential mean, winsorised, with a floor, so that a series which is reconstructed perfectly does not
alarm at the first deviation. The surprise of a probability is its logit, clipped and moved so that it begins at 0.
"""

import numpy as np
import tensorflow as tf

from convert.families import steps

ERRORS = 20             # errors seen before one is judged
WINSOR = 6.0            # usual errors
FLOOR = 0.05            # of the usual error, in spreads
LOWEST, HIGHEST = -6.0, 8.0     # of a logit: probabilities of 0.0025 and 0.99966; below, float32 has only three digits of a small one
REACH = 40.0            # of a band's limit on its logarithmic scale: sinh of it is still finite


def rolled(ring, newest, reset):
    """The ring after a step: the oldest falls out, the newest goes to the end; where reset is 1 the newest is all there is.

    ring    [M, W·C], oldest first;  newest  [M, C];  reset  [M, 1] of 0 or 1, all of one dtype

    >>> rolled(tf.constant([[1.0, 2, 3, 4]]), tf.constant([[5.0, 6]]), tf.constant([[0.0]])).numpy()
    array([[3., 4., 5., 6.]], dtype=float32)
    """
    channels = newest.shape[-1]
    moved = tf.concat([ring[:, channels:], newest], 1)
    return (1 - reset) * moved + reset * tf.tile(newest, [1, ring.shape[-1] // channels])


def unit(usual, floor=FLOOR):
    """What an error is measured in, from state_error [M, 2] (errors counted, mean size); float32 [M, 1]."""
    return tf.maximum(usual[:, 1:], floor)


def surprise(error, usual, floor=FLOOR):
    """Surprise of each error, float32 [M, 1]; usual is state_error from before the sample.

    >>> surprise(tf.constant([[0.2]]), tf.constant([[100.0, 0.1]])).numpy().round(3)
    array([[1.444]], dtype=float32)
    """
    return tf.asinh(tf.abs(error) / unit(usual, floor))


def error_at(threshold, usual, floor=FLOOR):
    """The error at which the surprise comes to `threshold`, float32 [M, 1]: the inverse of `surprise`."""
    return tf.sinh(tf.minimum(threshold, 10.0)) * unit(usual, floor)


def updated_error(error, usual, gate, step_seconds, floor=FLOOR):
    """state_error after a sample: where gate (float32 [M, 1]) is 0 it keeps its value."""
    rate = tf.cast(1 - tf.exp(-0.6931471805599453 / steps.half_life(step_seconds)), tf.float32)
    count, mean = usual[:, :1], usual[:, 1:]
    size = tf.minimum(tf.abs(error), WINSOR * unit(usual, floor) + 1e6 * tf.cast(count < ERRORS, tf.float32))
    after = tf.minimum(count + gate, 1e6)
    return tf.concat([after, mean + gate * tf.maximum(rate, 1 / tf.maximum(after, 1)) * (size - mean)], 1)


def enough_errors(usual):
    """1 where enough errors were seen to judge one, else 0; float32 [M, 1]."""
    return tf.cast(usual[:, :1] >= ERRORS, tf.float32)


def odds(logit):
    """Surprise of the logit of a probability: clipped to LOWEST and HIGHEST, moved to begin at 0; float32, 0 to 14, 6 = as likely as not.

    >>> odds(tf.constant([-20.0, 0, 20])).numpy()
    array([ 0.,  6., 14.], dtype=float32)
    """
    return tf.clip_by_value(logit, LOWEST, HIGHEST) - LOWEST


def logit(probability):
    """Logit of a probability, float32; what lies beyond LOWEST and HIGHEST is clipped on the way, so that it is finite for 0 and 1.

    >>> logit(tf.constant([0.0, 0.5])).numpy().round(3) + 0
    array([-7., 0.], dtype=float32)
    """
    low, high = (np.float32(1 / (1 + np.exp(-np.float64(end)))) for end in (LOWEST - 1, HIGHEST + 1))
    p = tf.clip_by_value(probability, low, high)
    return tf.math.log(p) - tf.math.log(1 - p)


def cut(series, places, width):
    """Windows out of whole series, for training: the `width` inputs that end at each place.

    series  [S, T, C];  places  int [n, 2] of (series, last step), last step >= width - 1
    returns [n, width, C]

    >>> cut(np.arange(5.0).reshape(1, 5, 1), np.array([[0, 3]]), 2)[..., 0]
    array([[2., 3.]])
    """
    at = places[:, 1:] + np.arange(1 - width, 1)
    return series[places[:, :1], at]
