"""LSTMs one on the other, whose state is carried from step to step.

Called by forecaster and ensemble: their networks own the layers, and put their own on top.
"""

import keras
import tensorflow as tf


def stack(units, width, seed):
    """Built Keras LSTMs of those sizes, one on the other; the first reads `width` inputs."""
    layers = []
    for k, size in enumerate(units):
        layer = keras.layers.LSTM(
            size, return_sequences=True, return_state=True, kernel_initializer=keras.initializers.GlorotUniform(seed=seed + k),
            recurrent_initializer=keras.initializers.Orthogonal(seed=seed + 10 + k),
        )  # fmt: skip
        layer.build((None, None, units[k - 1] if k else width))
        layers.append(layer)
    return layers


def carried(layers, inputs, state):
    """A window of steps: float32 [M, T, …], [M, 2·sum(units)] -> what the last LSTM gives [M, T, units], the state after it."""
    before = tf.split(state, [layer.units for layer in layers for _ in 'hc'], axis=1)
    hidden, after = inputs, []
    for k, layer in enumerate(layers):
        hidden, h, c = layer(hidden, initial_state=before[2 * k : 2 * k + 2])
        after += [h, c]
    return hidden, tf.concat(after, 1)
