"""The classifier's graph: LSTM(128) → LSTM(64) → Dense(1, sigmoid) over the last W steps says how likely the newest sample is an anomaly.

The textbook network of the field, supervised: for those who have labels; without any, faults injected into healthy telemetry serve as
labels. Binary cross-entropy; the accuracy on series that were held out is reported, and has to be read beside the share of anomalies.

The surprise is the logit of that probability, clipped and moved to begin at 0 (window.odds). There is no expectation, so expected, lower,
upper and deviation are NaN: a direction or a minimal deviation cannot be judged (every surprise counts), and no alarm is latched, since
there is no band to return into. The calibration, not the probability, says what a surprise means for alarms: in training anomalies are far
more frequent than in production.

Each feature is a series of its own, as in the forecaster. A step's inputs are the 12 numbers that the forecaster sees (steps.py).
Called by train, export and verify through registry.py.
"""

import keras
import numpy as np
import tensorflow as tf

from convert import progress
from convert.errors import ConvertError
from convert.families import forecaster, learning, steps, stopping, window

UNITS = (128, 64)
STATES = {'scale': ('float64', steps.WIDTH)}                # and the window: W × 12 inputs
WINDOWS_EACH = 24       # healthy windows learnt from each series; of labelled ones as many, where there are
HELD_OUT = 8            # one series of so many is held out for the accuracy


def states(width):
    """{name: (dtype, columns)} of a window of that many steps."""
    return {**STATES, 'ring': ('float32', width * steps.INPUTS)}


def warmup_steps(width):
    """Samples of an entity before its first surprise."""
    return max(steps.WARMUP, width)


def network(width, units=UNITS, seed=0):
    """The untrained Keras model: float32 [B, W, 12], oldest first -> probability [B, 1]."""
    started = [keras.initializers.GlorotUniform(seed=seed + k) for k in range(3)]
    turned = [keras.initializers.Orthogonal(seed=seed + 10 + k) for k in range(2)]
    return keras.Sequential(
        [
            keras.Input((width, steps.INPUTS)),
            keras.layers.LSTM(units[0], return_sequences=True, kernel_initializer=started[0], recurrent_initializer=turned[0]),
            keras.layers.LSTM(units[1], kernel_initializer=started[1], recurrent_initializer=turned[1]),
            keras.layers.Dense(1, activation='sigmoid', kernel_initializer=started[2]),
        ]
    )


def step(network, value, season, step_seconds, learn, threshold, scale, ring):
    """One step of N entities with F features, the whole of the contract (see forecaster.step); `threshold` is not used: there is no band."""
    shape, width = tf.shape(value), ring.shape[-1] // steps.INPUTS
    rows = shape[0] * shape[1]
    flat = lambda x, size: tf.reshape(x, [rows, size])                            # noqa: E731
    each = lambda x: tf.reshape(tf.repeat(x, shape[1]), [rows, 1])                # noqa: E731
    observed = steps.observe(flat(value, 1), flat(season, 4), step_seconds, each(learn), flat(scale, steps.WIDTH))
    reset = tf.cast(steps.new_normal(each(learn)), tf.float32)
    inputs = window.rolled(flat(ring, ring.shape[-1]), observed.inputs, reset)
    odds = window.odds(logit(network, tf.reshape(inputs, [rows, width, steps.INPUTS])))
    present = 1 - tf.cast(tf.math.is_nan(flat(value, 1)), tf.float32)
    judged = present * observed.warm * tf.cast(observed.count > width, tf.float32)
    back = lambda x: tf.reshape(x, [shape[0], shape[1], x.shape[-1]])             # noqa: E731
    column = lambda x: tf.reshape(x, shape)                                       # noqa: E731
    combined = forecaster.combine(column(odds), column(judged), shape[1])
    blame = forecaster.combine(column(odds * odds), column(judged), shape[1])
    none = column(observed.x) * np.nan
    known = tf.cast(tf.minimum(observed.count, 1), tf.float32)     # an entity without a sample so far keeps a blank state
    return {
        'surprise': combined['surprise'], 'class': combined['class'], 'contribution': blame['contribution'],
        'expected': none, 'lower': none, 'upper': none, 'deviation': none,
        'season_next': column(observed.season_next), 'state_scale_next': back(observed.state), 'state_ring_next': back(known * inputs),
    }  # fmt: skip


def logit(network, windows):
    """The input of the last layer's sigmoid, float32 [M, 1]: it still differs where the probability itself has no digits left."""
    *lstms, dense = network.layers
    hidden = windows
    for lstm in lstms:
        hidden = lstm(hidden)
    return tf.matmul(hidden, dense.kernel) + dense.bias


def examples(observations, faulty, width, rng, left_out=None):
    """Windows and labels to learn from: (inputs float32 [n, W, 12], label float32 [n], held out bool [n]).

    observations    training.Observations of S series;  faulty  bool [S, T]: the labels, injected or given
    left_out  bool [S, T]: samples that are not learnt from, neither as healthy nor as anomalous; None = none
    """
    places = []
    for series, labels in enumerate(faulty):
        usable = np.ones(len(labels), bool) if left_out is None else ~left_out[series]
        usable[: steps.WARMUP + width] = False
        for kind in (True, False):
            found = np.flatnonzero(usable & (labels == kind))
            places += [(series, last) for last in rng.choice(found, min(WINDOWS_EACH, len(found)), replace=False)]
    places = np.array(places).reshape(-1, 2)
    labels = faulty[places[:, 0], places[:, 1]].astype(np.float32)
    return window.cut(observations.inputs, places, width), labels, places[:, 0] % HELD_OUT == 0


def fit(parts, settings, seed, log, validation=()):
    """(Keras model, figures) trained on windows; NoLabels where all are of one kind.

    parts       what `examples` gives, of all series
    settings    recipe.Training
    log         function of a line of text
    validation  as parts, not learnt from: they say which epoch was the best; none of them = the last one
    """
    inputs, labels, out = parts
    if len(np.unique(labels[~out])) < 2:
        kind = 'anomalous' if labels.max(initial=0) else 'healthy'
        raise NoLabels(f'{len(labels)} windows, all {kind}: expected both; inject faults (faults_per_1000) or give labels')
    model = network(inputs.shape[1], settings.units or UNITS, seed)
    model.compile(keras.optimizers.Adam(float(settings.learning_rate), global_clipnorm=1.0), 'binary_crossentropy', metrics=['accuracy'])
    best, seen = stopping.Best(model), bool(validation) and len(validation[0])
    share = float(np.clip(labels[~out].mean(), 1e-6, 1 - 1e-6))
    untrained = -float(share * np.log(share) + (1 - share) * np.log(1 - share))
    watch = learning.Watch(settings.learning_rate, untrained, strikes=2)
    for epoch in progress.track(range(settings.epochs), 'epochs', log=log):
        found = model.fit(inputs[~out], labels[~out], batch_size=settings.batch_series, verbose=0).history
        loss, when = found['loss'][-1], f'in epoch {epoch + 1} of {settings.epochs}'
        watch.look(learning.finite(loss, when, settings.learning_rate), untrained, when, epoch + 1 == settings.epochs)
        validated = model.evaluate(*validation[:2], verbose=0)[0] if seen else None
        shown = f', validation {validated:.4f}' if seen else ''
        log(
            f'  epoch {epoch + 1}/{settings.epochs}: {np.count_nonzero(~out)} windows, loss {loss:.4f}{shown}, accuracy {found["accuracy"][-1]:.3f}'
        )
        if seen and best.look(validated):
            break
    best.restore()
    figures = {'windows': float(np.count_nonzero(~out)), 'accuracy': float(found['accuracy'][-1]), **best.figures()}
    if out.any():
        held = model.evaluate(inputs[out], labels[out], verbose=0)[1]
        figures |= {'accuracy_held_out': float(held), 'anomalous_share_held_out': float(labels[out].mean())}
        log(f'  accuracy on {np.count_nonzero(out)} windows of series held out: {held:.3f} (always healthy: {1 - labels[out].mean():.3f})')
    return model, figures


class NoLabels(ConvertError):
    """Nothing to learn: all windows are of one kind."""
