"""Training of the forecast: quantile loss over examples, Adam, cosine."""

import time

import keras
import numpy as np
import tensorflow as tf

from convert.forecasts import candidates, contract, network

LARGEST_LOSS, BEYOND = 10.0, 0.03       # an example's loss grows slowly beyond it
EVERY = 500             # steps between two lines of the log


def loss(target, quantiles, weight):
    """Mean quantile loss, twice it, as a share of the day-to-day change of a series; of targets [R, H] and quantiles [R, H, 3]."""
    levels = tf.constant(contract.QUANTILES, tf.float32)
    error = target[..., None] - quantiles
    each = tf.maximum(levels * error, (levels - 1) * error) * weight[..., None]
    each = tf.minimum(each, LARGEST_LOSS) + BEYOND * tf.maximum(each - LARGEST_LOSS, 0)
    return 2 * tf.reduce_sum(each) / (3 * tf.maximum(tf.reduce_sum(tf.cast(weight > 0, tf.float32)), 1))


def seen(batch):
    """What the network sees of a batch of examples."""
    parts = candidates.Relative(**{name: batch[name] for name in candidates.Relative._fields})
    return candidates.described(parts, batch['since_quarter'], batch['ahead'], batch['step_seconds'])


def fit(data, *, epochs, batch_rows=512, learning_rate=3e-3, seed=0, log=print, **sizes):
    """A trained network.Network.

    data   examples (convert.forecasts.examples)
    log    function of a line of text
    sizes  of network.Network
    """
    keras.utils.set_random_seed(seed)
    rng, net, rows = np.random.default_rng(seed), network.Network(**sizes), len(data['target'])
    batch_rows = min(batch_rows, rows)
    steps = rows // batch_rows * epochs
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps), clipnorm=1.0)
    net(seen({name: tf.constant(column[:2]) for name, column in data.items()}))      # makes its weights

    @tf.function(reduce_retracing=True)
    def step(batch):
        with tf.GradientTape() as tape:
            value = loss(batch['target'], net(seen(batch)), batch['weight'])
        variables = net.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables, strict=True))
        return value

    begun, total, number = time.monotonic(), 0.0, 0
    for _ in range(epochs):
        order = rng.permutation(rows)
        for at in range(0, rows - batch_rows + 1, batch_rows):
            chosen = np.sort(order[at : at + batch_rows])
            total += float(step({name: tf.constant(column[chosen]) for name, column in data.items()}))
            number += 1
            if number % EVERY == 0:
                log(f'  step {number} of {steps}: loss {total / EVERY:.4f}, {time.monotonic() - begun:.0f} s')
                total = 0.0
    return net
