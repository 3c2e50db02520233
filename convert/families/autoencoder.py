"""The autoencoder's graph: an LSTM encodes the last W samples into a few numbers, another decodes them; the surprise is the reconstruction error.

Encoder and decoder of Malhotra et al. 2016 (EncDec-AD, https://arxiv.org/abs/1607.00148): the decoder writes the newest sample first, so
that serving runs it for one step only. It learns to undo damage to the newest samples (denoising: Vincent et al. 2008), since a network
that merely copies them would find every sample as expected.

`expected` is the reconstruction of the newest sample. Unlike a forecast it is made from a window that contains the sample.

Each feature is a series of its own, as in the forecaster. A window is normalised by the mean of what came before the newest sample and by
the series' own scale over 15 steps (steps.py), as it was before the sample.

It fails where a long lasting shift has filled the window: the shift is found at its beginning, and the latch keeps the alarm. Called by
train, export and verify through registry.py.
"""

import keras
import numpy as np
import tensorflow as tf

from convert import progress
from convert.families import forecaster, learning, steps, stopping, window

UNITS = (24,)
FLOOR = 0.5             # of the usual error: with less, series that are reconstructed well dominate the others (recall 0.44 against 0.40)
STATES = {'scale': ('float64', steps.WIDTH), 'error': ('float32', 2)}       # and the window: W samples and their scale
DAMAGED = 5             # newest samples that training damages, at most
DAMAGE = 2.0            # its spread, on the logarithmic scale of normalised samples
WINDOWS_EACH = 16       # windows learnt from each series


def states(width):
    """{name: (dtype, columns)} of a window of that many steps."""
    return {**STATES, 'ring': ('float64', width + 1)}


def warmup_steps(width):
    """Samples of an entity before its first surprise."""
    return max(steps.WARMUP, width) + window.ERRORS


def network(width, units=UNITS, seed=0):
    """The untrained Keras model: float32 [B, W, 1] normalised, oldest first -> its reconstruction, newest first."""
    started = [keras.initializers.GlorotUniform(seed=seed + k) for k in range(3)]
    turned = [keras.initializers.Orthogonal(seed=seed + 10 + k) for k in range(2)]
    return keras.Sequential(
        [
            keras.Input((width, 1)),
            keras.layers.LSTM(units[0], kernel_initializer=started[0], recurrent_initializer=turned[0]),
            keras.layers.RepeatVector(width),
            keras.layers.LSTM(units[0], return_sequences=True, kernel_initializer=started[1], recurrent_initializer=turned[1]),
            keras.layers.Dense(1, kernel_initializer=started[2]),
        ]
    )


def normalised(ring, scale):
    """(window float32 [M, W] on a logarithmic scale, its centre float64 [M, 1]); the newest sample has no part in the centre."""
    centre = tf.reduce_mean(ring[:, :-1], 1, keepdims=True)
    return steps.ratio(ring - centre, tf.maximum(scale, steps.TINY)), centre


def step(network, value, season, step_seconds, learn, threshold, scale, error, ring):
    """One step of N entities with F features, the whole of the contract (see forecaster.step)."""
    shape, width = tf.shape(value), ring.shape[-1] - 1
    rows = shape[0] * shape[1]
    flat = lambda x, size: tf.reshape(x, [rows, size])                            # noqa: E731
    each = lambda x: tf.reshape(tf.repeat(x, shape[1]), [rows, 1])                # noqa: E731
    usual, memory = flat(error, 2), flat(ring, width + 1)
    observed = steps.observe(flat(value, 1), flat(season, 4), step_seconds, each(learn), flat(scale, steps.WIDTH))
    samples = window.rolled(memory[:, :width], observed.x, steps.new_normal(each(learn)))
    spread = memory[:, width:]
    seen, centre = normalised(samples, spread)
    made = newest(network, seen)
    off = seen[:, -1:] - made
    present = 1 - tf.cast(tf.math.is_nan(flat(value, 1)), tf.float32)
    whole = present * observed.warm * tf.cast(observed.count > width, tf.float32)
    judged = whole * window.enough_errors(usual)
    expected, lower, upper = _band(made, window.error_at(each(threshold), usual, FLOOR), centre, spread, judged)
    known = tf.minimum(observed.count, 1)          # an entity without a sample so far keeps a blank state
    back = lambda x: tf.reshape(x, [shape[0], shape[1], x.shape[-1]])             # noqa: E731
    column = lambda x: tf.reshape(x, shape)                                       # noqa: E731
    combined = forecaster.combine(column(window.surprise(off, usual, FLOOR)), column(judged), shape[1])
    return {
        **combined, 'expected': column(expected), 'lower': column(lower), 'upper': column(upper), 'deviation': column(observed.x - expected),
        'season_next': column(observed.season_next), 'state_scale_next': back(observed.state),
        'state_error_next': back(window.updated_error(off, usual, whole * tf.minimum(each(learn), 1), step_seconds, FLOOR)),
        'state_ring_next': back(known * tf.concat([samples, observed.scale[:, 2:]], 1)),
    }  # fmt: skip


def newest(network, seen):
    """The reconstruction of the newest sample alone, float32 [M, 1]: the decoder's first step."""
    encoder, _, decoder, dense = network.layers
    return dense(decoder(encoder(seen[:, :, None])[:, None, :]))[:, 0]


def _band(made, reach, centre, spread, judged):
    """Reconstruction and the border of the threshold, each float64 [M, 1]; NaN where not judged."""
    y = tf.sinh(tf.clip_by_value(tf.concat([made, made - reach, made + reach], 1), -window.REACH, window.REACH))
    gap = tf.cast(steps.nan_unless(judged), tf.float64)
    return tf.split(centre + gap + tf.maximum(spread, steps.TINY) * tf.cast(y, tf.float64), 3, axis=1)


def examples(observations, faulty, width, rng):
    """Windows to learn from, normalised as in the graph, none with an injected fault in it: float32 [n, W].

    observations  training.Observations of S series;  faulty  bool [S, T]
    """
    x, spread = observations.x, observations.scale[..., 2]
    count = np.cumsum(np.pad(faulty, ((0, 0), (width, 0))), axis=1)
    clean = count[:, width:] == count[:, :-width]
    places = []
    for series in range(len(x)):
        free = np.flatnonzero(clean[series, steps.WARMUP + width :]) + steps.WARMUP + width
        places += [(series, last) for last in rng.choice(free, min(WINDOWS_EACH, len(free)), replace=False)]
    places = np.array(places).reshape(-1, 2)
    ring = window.cut(x[..., None], places, width)[..., 0]
    return normalised(ring, spread[places[:, 0], places[:, 1] - 1][:, None])[0].numpy()


def fit(windows, settings, seed, log, validation=None):
    """(Keras model, figures) trained on windows.

    windows     float32 [n, W], as `examples` gives them
    settings    recipe.Training
    log         function of a line of text
    validation  as windows, not learnt from: they say which epoch was the best; None or none of them = the last one
    """
    model, rng = network(windows.shape[1], settings.units or UNITS, seed), np.random.default_rng(seed)
    model.compile(keras.optimizers.Adam(float(settings.learning_rate), global_clipnorm=1.0), keras.losses.Huber())
    best, seen = stopping.Best(model), validation is not None and len(validation)
    judged = (damaged(validation, np.random.default_rng([seed, 1]))[..., None], validation[:, ::-1, None]) if seen else None
    untrained = float(np.mean(np.asarray(keras.losses.huber(windows[..., None], np.zeros_like(windows)[..., None]))))
    watch = learning.Watch(settings.learning_rate, untrained, strikes=2)
    for epoch in progress.track(range(settings.epochs), 'epochs', log=log):
        given, wanted = damaged(windows, rng)[..., None], windows[:, ::-1, None]
        loss = model.fit(given, wanted, batch_size=settings.batch_series, verbose=0).history['loss'][-1]
        when = f'in epoch {epoch + 1} of {settings.epochs}'
        watch.look(learning.finite(loss, when, settings.learning_rate), untrained, when, epoch + 1 == settings.epochs)
        validated = model.evaluate(*judged, verbose=0) if seen else None
        log(f'  epoch {epoch + 1}/{settings.epochs}: {len(windows)} windows, loss {loss:.4f}' + (f', validation {validated:.4f}' if seen else ''))
        if seen and best.look(validated):
            break
    best.restore()
    return model, {'windows': float(len(windows)), 'loss': float(loss), **best.figures()}


def damaged(windows, rng):
    """The same, the newest few samples of every second one moved at random."""
    moved = rng.integers(1, DAMAGED + 1, (len(windows), 1)) * (rng.random((len(windows), 1)) < 0.5)
    where = np.arange(windows.shape[1]) >= windows.shape[1] - moved
    return (windows + where * DAMAGE * rng.normal(size=(len(windows), 1)) * (0.5 + rng.random(windows.shape))).astype(np.float32)
