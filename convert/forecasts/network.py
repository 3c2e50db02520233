"""The network of a forecast: it weighs what simple rules forecast, corrects the mean, and says how far the value may be from it.

A softmax over the candidates, for each row and horizon; the rest is in units of how far the candidates are apart: where all agree, the
forecast is sure. An LSTM reads the last eight days, a day a step. When all is learnt, the widths are stretched by a factor that depends on the
horizon alone (convert.forecasts.widths).
"""

import keras
import numpy as np
import tensorflow as tf

from convert.forecasts import candidates

LSTM_UNITS = 16
RECENT, ROW, HIDDEN = 48, (64, 32), (64, 32)
LEAST_SPREAD = 0.02         # units of the series
KNOTS_SECONDS = (300.0, 900.0, 3600.0, 21600.0, 86400.0, 604800.0)     # horizons of the factors of the widths; straight by the logarithm between them


class Network(keras.Model):
    """Described -> quantiles in units from the level, float32 [R, H, 3], in order."""

    def __init__(self, units=LSTM_UNITS, recent=RECENT, row=ROW, hidden=HIDDEN):
        super().__init__()
        self.recurrent = bool(units)
        self.days = keras.layers.LSTM(units) if units else keras.layers.Dense(24, 'relu')
        self.recent = keras.layers.Dense(recent, 'relu')
        self.row = [keras.layers.Dense(size, 'relu') for size in row]
        self.of_row = keras.layers.Dense(hidden[0], use_bias=False)
        self.of_horizon = keras.layers.Dense(hidden[0])
        self.hidden = [keras.layers.Dense(size, 'relu') for size in hidden[1:]]
        self.factors = self.add_weight(name='factors', shape=(len(KNOTS_SECONDS), 2), initializer='zeros', trainable=False)     # logarithms: low, high
        self.out = keras.layers.Dense(candidates.CANDIDATES + 3, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01))

    def call(self, seen):
        days = seen.days if self.recurrent else tf.reshape(seen.days, [-1, seen.days.shape[1] * seen.days.shape[2]])
        row = tf.concat([self.recent(seen.recent), self.days(days), seen.row], 1)
        for layer in self.row:
            row = layer(row)
        rows, horizons = tf.shape(seen.horizon)[0], tf.shape(seen.horizon)[1]
        x = self.of_horizon(tf.reshape(seen.horizon, [-1, seen.horizon.shape[2]]))      # two axes: a product and its sum are one operator
        x = tf.reshape(x, tf.stack([rows, horizons, x.shape[1]])) + self.of_row(row)[:, None]
        x = tf.reshape(tf.nn.relu(x), [-1, x.shape[2]])
        for layer in self.hidden:
            x = layer(x)
        x = self.out(x)
        out = tf.reshape(x, tf.stack([rows, horizons, x.shape[1]]))
        count = candidates.CANDIDATES
        weights = tf.nn.softmax(out[..., :count])
        base = tf.reduce_sum(weights * seen.candidates, -1)
        spread = tf.reduce_sum(weights * tf.abs(seen.candidates - base[..., None]), -1) + LEAST_SPREAD
        middle = base + spread * tf.clip_by_value(out[..., count], -20.0, 20.0)
        low, high = (spread * tf.exp(tf.clip_by_value(out[..., count + k], -8.0, 6.0)) for k in (1, 2))
        return tf.stack([middle - low, middle, middle + high], -1)


def widened(quantiles, ahead, factors):
    """Quantiles [R, H, 3] with low and high moved away from the middle by factors of the horizons `ahead` [H] seconds; all float32.

    factors  logarithms [K, 2] of those of low and of high at KNOTS_SECONDS
    """
    knots = np.log(np.float32(KNOTS_SECONDS))
    apart, place = np.diff(knots), tf.math.log(ahead)[:, None] - knots
    before, after = np.float32([0, *(1 / apart)]), np.float32([*(1 / apart), 0])       # 0: beyond the ends nothing changes
    share = tf.nn.relu(1 - before * tf.nn.relu(-place) - after * tf.nn.relu(place))
    factor = tf.exp(tf.matmul(share, factors))
    middle = quantiles[..., 1]
    low, high = (middle + factor[:, k] * (quantiles[..., 2 * k] - middle) for k in (0, 1))
    return tf.stack([low, middle, high], -1)


def forecast(network, since_quarter, ahead, step_seconds, **columns):
    """The graph: the contract's columns -> {'forecast': float64 [R, H, 3]}, NaN where one of the levels is.

    It does not stop at 0 or another natural border, so that it shows when a limit is crossed: the exporter cuts it.
    """
    parts, level, unit = candidates.relative(**columns)
    zero = tf.zeros_like(parts.noise)
    seen = candidates.described(parts, since_quarter + zero, tf.cast(ahead, tf.float32)[None] + zero, step_seconds + zero)
    quantiles = widened(network(seen), tf.cast(ahead, tf.float32), network.factors)
    out = level[..., None] + unit[..., None] * tf.cast(quantiles, tf.float64)
    return {'forecast': out + 0 * tf.reduce_sum(columns['levels'], 1)[:, None, None]}
