"""Choices in a graph without `Where`, which the ONNX converter would turn into another form: what must have no effect is multiplied by a gate of 0.

Called by views, daytime and ensemble. Columns are series, [n, M].
"""

import tensorflow as tf


def if_(gate, a, b):
    """a where gate is 1, b where it is 0: exact for finite numbers, and no `Where`."""
    return gate * a + (1 - gate) * b


def f64(x):
    return tf.cast(x, tf.float64)


def f32(x):
    return tf.cast(x, tf.float32)


def is_(condition):
    return tf.cast(condition, tf.float32)


def first(x):
    """1 at the first of the largest of each column, else 0; float32 [n, M]."""
    most = is_(x >= tf.reduce_max(x, 0, keepdims=True))
    return most * is_(tf.cumsum(most, 0) <= 1)
