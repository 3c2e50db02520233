"""The graph of the family forecaster: an LSTM forecasts a series 1, 5 and 15 steps ahead; the surprise is the error of the forecast.

Each feature is a series of its own (weights are shared); surprises of an entity's features are combined at the end: of many features the
mean of the three largest found incidents best (better than a joint LSTM, than the largest alone, than the mean of all), of a few the
largest alone, of some the mean of two.

The surprise is not divided by a predicted spread: that collapses in quiet stretches. Deviations are measured in the series' own scales
as they were when the forecast was made (steps.py), on a scale that is logarithmic for large ones. A sample is judged only by forecasts
that start from trusted samples: a forecast from an anomalous sample would make the recovery look like a second incident.

Called by train (Network), export (step, as a tf.function) and verify. See promlstm.engine.bundle for the tensors.
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from convert.families import recurrent, steps

UNITS = (64, 32)
HORIZONS = len(steps.HORIZONS)
VIEWS = tuple(f'steps_{h}' for h in steps.HORIZONS)
SUSPICIOUS = 3.0        # from this surprise on a sample is not trusted as the start of a forecast
FORECAST_SHARE = (0.75, 0.25)  # share of the forecast change that is used at fast and slow steps: real series are less regular than synthetic ones
LARGEST = 8.0           # of one error: a series that leaves its constant must not dominate all features of an entity
TINY = 1e-30            # of a scale, in float32
MANY = (5, 10)          # features from which on two, and three, make the surprise of an entity
CLASSES = (2, 5, 10, 25)        # features from which on an entity is of the next class, which has a calibration of its own
# columns of state_ring: forecasts for 1, 5 and 15 steps ahead and the scales they are in, from the newest to the one that is due now;
# trust in the samples they start from; the last two errors
COLUMNS = (1, 4, 1, 14, 1, 1, 4, 1, 14, 1, 14, 1, 2)
WIDTH = sum(COLUMNS)


def states(units=UNITS):
    """{name: (dtype, columns)} with LSTMs of those sizes."""
    return {'scale': ('float64', steps.WIDTH), 'ring': ('float32', WIDTH), 'lstm': ('float32', 2 * sum(units))}


class Ring(NamedTuple):
    """state_ring in columns; `due` ones were made for this very step."""

    mu1_due: tf.Tensor
    mu5: tf.Tensor
    mu5_due: tf.Tensor
    mu15: tf.Tensor
    mu15_due: tf.Tensor
    s1_due: tf.Tensor
    s5: tf.Tensor
    s5_due: tf.Tensor
    s15: tf.Tensor
    s15_due: tf.Tensor
    trust: tf.Tensor
    trust15: tf.Tensor
    errors: tf.Tensor

    def pushed(self, mu, scale, trust, errors, keep):
        """Shifted by one step: the newest goes in front, what was due falls out; float32 [M, WIDTH].

        keep  0 = no forecast may start from an earlier sample than the newest
        """
        mus = [mu[:, :1], mu[:, 1:2], self.mu5, mu[:, 2:], self.mu15]
        scales = [scale[:, :1], scale[:, 1:2], self.s5, scale[:, 2:], self.s15]
        newest = tf.maximum(trust, (1 - keep) * tf.math.ceil(trust))
        return tf.concat([*mus, *scales, newest, keep * self.trust, keep * errors], 1)


class Verdict(NamedTuple):
    """The outputs for M series."""

    surprise: tf.Tensor     # float32 [M, 1]  finite; means something where judged
    judged: tf.Tensor       # float32 [M, 1]  1 = there was a sample, warm, with a forecast for it
    won: tf.Tensor          # float32 [M, 3]  1 at the horizon that gave the surprise
    expected: tf.Tensor     # float64 [M, 1]  NaN where not judged; as the next three
    lower: tf.Tensor
    upper: tf.Tensor
    deviation: tf.Tensor
    trust: tf.Tensor        # float32 [M, 1]  1 = a trusted sample, 0.5 = a suspicious one, 0 = none
    errors: tf.Tensor       # float32 [M, 2]  the last two errors


class Network(keras.Model):
    """Two LSTMs and a linear layer; the spread head serves the likelihood in training only."""

    def __init__(self, units=UNITS, seed=0):
        super().__init__()
        self.units = tuple(units)
        self.lstms = recurrent.stack(units, steps.INPUTS, seed)
        self.middle = keras.layers.Dense(HORIZONS, kernel_initializer='zeros')
        self.spread = keras.layers.Dense(HORIZONS, kernel_initializer='zeros')
        self.middle.build((None, None, units[-1]))
        self.spread.build((None, None, units[-1]))
        self.built = True

    def call(self, inputs, state):
        """A window of steps: float32 [M, T, 12], [M, 2·sum(units)] -> forecast [M, T, 3], log-spread of it, the state after it."""
        hidden, after = recurrent.carried(self.lstms, inputs, state)
        return self.middle(hidden), self.spread(hidden), after


def step(network, value, season, step_seconds, learn, threshold, scale, ring, lstm):
    """One step of N entities with F features, the whole of the contract.

    network    Network, or None for the same rule without an LSTM (the forecast is "no change"): what the network is compared with
    the rest   as promlstm.engine.bundle says; scale, ring, lstm are the states [N, F, S]
    returns    {output name: tensor}
    """
    shape = tf.shape(value)
    rows = shape[0] * shape[1]
    flat = lambda x, width: tf.reshape(x, [rows, width])                          # noqa: E731
    each = lambda x: tf.reshape(tf.repeat(x, shape[1]), [rows, 1])                # noqa: E731
    observed = steps.observe(flat(value, 1), flat(season, 4), step_seconds, each(learn), flat(scale, steps.WIDTH))
    keep = tf.cast(1 - steps.new_normal(each(learn)), tf.float32)      # after a new normal, forecasts and references of the old one are void
    memory = Ring(*tf.split(flat(ring, WIDTH), COLUMNS, axis=1))
    verdict = _judge(flat(value, 1), observed, step_seconds, each(threshold), memory)
    mu, lstm_next = _forecast(network, observed.inputs, keep * flat(lstm, lstm.shape[-1]), steps.slowness(step_seconds))
    seen = tf.cast(tf.minimum(observed.count, 1), tf.float32)      # an entity without a sample so far keeps a blank state
    made = tf.cast(tf.clip_by_value(observed.scale, TINY, 1 / TINY), tf.float32)
    back = lambda x: tf.reshape(x, [shape[0], shape[1], x.shape[-1]])             # noqa: E731
    column = lambda x: tf.reshape(x, shape)                                       # noqa: E731
    combined = combine(column(verdict.surprise), column(verdict.judged), shape[1])
    return {
        **combined,
        'view': views(combined['contribution'], tf.reshape(tf.transpose(verdict.won), [HORIZONS, shape[0], shape[1]])),
        **{name: column(getattr(verdict, name)) for name in ('expected', 'lower', 'upper', 'deviation')},
        'season_next': column(observed.season_next),
        'state_scale_next': back(observed.state),
        'state_ring_next': back(seen * memory.pushed(mu, made, verdict.trust, verdict.errors, keep)),
        'state_lstm_next': back(seen * lstm_next),
    }


def _forecast(network, inputs, state, slow):
    if network is None:
        return tf.zeros_like(inputs[:, :HORIZONS]), state
    middle, _, after = network(inputs[:, None, :], state)
    return (FORECAST_SHARE[0] + (FORECAST_SHARE[1] - FORECAST_SHARE[0]) * slow) * middle[:, 0], after


def _judge(value, observed, step_seconds, threshold, memory):
    """Surprise of each series by the forecasts that were made for now, and the band in which it would not have come to `threshold`."""
    mu = tf.concat([memory.mu1_due, memory.mu5_due, memory.mu15_due], 1)
    scale = tf.cast(tf.maximum(tf.concat([memory.s1_due, memory.s5_due, memory.s15_due], 1), TINY), tf.float64)
    error = tf.minimum(tf.abs(steps.ratio(observed.difference, scale) - mu), LARGEST)
    usable = steps.usable(tf.concat([memory.trust[:, 0:1], memory.trust[:, 4:5], memory.trust15], 1))
    present = 1 - tf.cast(tf.math.is_nan(value), tf.float32)
    judged = present * observed.warm * tf.reduce_max(usable, 1, keepdims=True)
    masked = error * usable + usable - 1                                          # -1 where not usable
    m = tf.maximum(tf.reduce_max(masked, 1, keepdims=True), 0)
    won = _first(masked, m)
    slow = steps.slowness(step_seconds)
    apart = 0.3 * tf.reduce_sum(tf.minimum(steps.asinh(observed.apart), LARGEST), 1, keepdims=True)
    earlier = tf.reduce_sum(memory.errors, 1, keepdims=True)
    surprise = (1 - slow) * tf.maximum((m + earlier) / 3, 0.8 * m) + slow * (0.6 * m + apart)
    expected, lower, upper = _band(mu, scale, observed.past, won, _reach(threshold, slow, apart), judged)
    trust = present * (1 - 0.5 * judged * tf.cast(surprise >= SUSPICIOUS, tf.float32))
    errors = memory.errors + judged * (tf.concat([m, memory.errors[:, :1]], 1) - memory.errors)
    return Verdict(surprise, judged, won, expected, lower, upper, observed.x - expected, trust, errors)


def _band(mu, scale, past, won, reach, judged):
    """Expectation and band of the horizon that won, each float64 [M, 1]."""
    centre = tf.reduce_sum(won * mu, 1, keepdims=True)
    width = tf.reduce_sum(tf.cast(won, tf.float64) * scale, 1, keepdims=True)
    base = tf.reduce_sum(tf.cast(won, tf.float64) * past, 1, keepdims=True) + tf.cast(steps.nan_unless(judged), tf.float64)
    y = tf.sinh(tf.clip_by_value(tf.concat([centre, centre - reach, centre + reach], 1), -40.0, 40.0))
    return tf.split(base + width * tf.cast(y, tf.float64), 3, axis=1)


def _first(masked, largest):
    """1 at the first of the largest of each row, else 0; [M, 3]."""
    at = tf.cast(masked >= largest, tf.float32)
    one, five = at[:, :1], at[:, 1:2] * (1 - at[:, :1])
    return tf.concat([one, five, 1 - one - five], 1)


def _reach(threshold, slow, apart):
    """The error m at which this sample alone brings the surprise to `threshold`; float32 [M, 1].

    Beyond the band the score is 1 or more. The converse does not hold: three smaller errors in a row can add up to as much. A band that
    took them into account would become so narrow during an incident that no series could return into it.
    """
    return tf.maximum((threshold - slow * apart) / (0.8 * (1 - slow) + 0.6 * slow), 0.05)


def combine(surprise, judged, features):
    """From the features of an entity to the entity: the mean of the largest one, two or three."""
    counted = surprise * judged
    any_judged = tf.reduce_max(judged, 1)
    gap = steps.nan_unless(any_judged)
    total = tf.reduce_sum(counted, 1, keepdims=True)
    share = (counted + 1e-9 * judged) / tf.maximum(total + 1e-9 * tf.reduce_sum(judged, 1, keepdims=True), 1e-12)
    klass = sum(tf.cast(features >= many, tf.int64) for many in CLASSES)
    return {
        'surprise': largest(counted, features) + gap,
        'contribution': share + gap[:, None],
        'class': tf.zeros_like(surprise[:, 0], tf.int64) + klass,
    }


def views(contribution, won):
    """Share of each view in the surprise of an entity, float32 [N, V].

    contribution  float32 [N, F]     NaN = not judged
    won           float32 [V, N, F]  1 = the view with the largest answer; the features last: a sum over the middle axis takes four times as long
    """
    return tf.transpose(tf.reduce_sum(contribution * won, 2))


def largest(counted, features):
    """The mean of the largest one, two or three of an entity's features, float32 [N]."""
    count = 1 + sum(tf.cast(features >= many, tf.int32) for many in MANY)
    return tf.reduce_sum(tf.math.top_k(counted, count).values, 1) / tf.cast(count, tf.float32)
