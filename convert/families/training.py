"""Train the forecaster: inputs come from the same graph function that serves, then Keras learns from windows of them.

Scales, levels, the seasonal memory and the state of the LSTM are carried over the whole series, as live. The target is the asinh of the
change in the series' own scale; its likelihood is Student's t, because a squared error would chase outliers. Injected faults are masked:
they must not become what is expected.
"""

import time
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import keras
import numpy as np
import tensorflow as tf

from convert import progress
from convert.errors import ConvertError
from convert.families import forecaster, steps
from promlstm.engine.season import WEEK, Season

FREEDOM = 4.0           # degrees of freedom of the likelihood


class TrainingError(ConvertError):
    """Training failed: the message says when and what to change."""


def finite(loss, when, learning_rate):
    """The loss; TrainingError where it is NaN or infinite, since no later step repairs such weights."""
    if not np.isfinite(loss):
        raise TrainingError(f'training: the loss is {loss:g} {when}: no weights were saved; take a smaller learning_rate (it is {learning_rate:g})')
    return loss


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs and targets of whole series: float32 [B, T, 12], [B, T, 3], weight [B, T, 3] (0 = not learnt from)."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class Observations:
    """What the graph makes of whole series.

    x       float64 [S, T]      the sample; the one before where there is none
    inputs  float32 [S, T, 12]  what the LSTM sees
    scale   float64 [S, T, 3]   of each horizon
    """

    x: np.ndarray
    inputs: np.ndarray
    scale: np.ndarray


def observations(batch):
    """Observations of a synthesis.Batch, each feature a series of its own."""
    values = batch.values.reshape(len(batch.times), -1)
    rows = values.shape[1]
    season = Season.blank(rows, 1, period_seconds=WEEK, slots=WEEK // steps.SLOT_SECONDS, zone=ZoneInfo('UTC'))
    season = season.fill(batch.history_times, batch.history.reshape(-1, rows, 1))
    observe = tf.function(steps.observe, autograph=False, reduce_retracing=True)
    state, learn = np.zeros((rows, steps.WIDTH)), np.ones((rows, 1), np.float32)
    x = np.empty(values.shape[::-1])
    inputs = np.empty((rows, len(values), steps.INPUTS), np.float32)
    scales = np.empty((rows, len(values), 3))
    for t, instant in enumerate(batch.times):
        recalled = season.recall(instant, steps.HORIZONS, batch.step_seconds)
        observed = observe(values[t][:, None], recalled[:, 0], np.float32(batch.step_seconds), learn, state)
        x[:, t], inputs[:, t], scales[:, t], state = observed.x[:, 0], observed.inputs, observed.scale, observed.state
        season = season.remember(instant, observed.season_next.numpy(), recalled[..., 0])
    return Observations(x, inputs, scales)


def examples(batch):
    """What the forecaster learns from a synthesis.Batch."""
    seen = observations(batch)
    values, faulty = (array.reshape(len(batch.times), -1).T for array in (batch.values, batch.faulty))
    return Examples(seen.inputs, *_targets(values, faulty, seen.scale))


def _targets(x, faulty, scales):
    """The change to each horizon in its scale, and where it can be learnt; [B, T, 3] each."""
    targets, weights = np.zeros(scales.shape, np.float32), np.zeros(scales.shape, np.float32)
    good = ~np.isnan(x) & ~faulty
    good[:, : steps.WARMUP] = False
    x = np.nan_to_num(x)
    for k, h in enumerate(steps.HORIZONS):
        change = (x[:, h:] - x[:, :-h]) / scales[:, :-h, k]
        targets[:, :-h, k] = np.arcsinh(np.clip(change, -1e9, 1e9))
        weights[:, :-h, k] = good[:, h:] & good[:, :-h]
    return targets, weights


def together(parts):
    """Examples of all series: (inputs, targets, weights), float32 [S, T, …]; all must be equally long."""
    return [np.concatenate([getattr(part, name) for part in parts]) for name in ('inputs', 'targets', 'weights')]


def loss(targets, weights, middle, spread):
    """Negative log-likelihood of Student's t (scale from the spread head, which training alone uses), averaged by weight."""
    spread = tf.clip_by_value(spread, -5.0, 5.0)
    error = (targets - middle) * tf.exp(-spread)
    each = spread + (FREEDOM + 1) / 2 * tf.math.log1p(error * error / FREEDOM)
    return tf.reduce_sum(each * weights) / (tf.reduce_sum(weights) + 1)


def fit(data, *, epochs, batch_series, window_steps, learning_rate, seed, log, units=forecaster.UNITS):
    """A trained Network.

    data          together(): whole series; a batch of them is trained window by window, the state of the LSTM carried on, as live
    window_steps  how far back a gradient reaches
    log           function of a line of text
    """
    network = forecaster.Network(units, seed)
    series, steps_each = data[0].shape[:2]
    spans = [slice(at, at + window_steps) for at in range(0, steps_each - window_steps + 1, window_steps)]
    total = epochs * (series // batch_series) * len(spans)
    update = _update(network, _optimizer(network, learning_rate, total))
    started, recent = time.monotonic(), []
    windows = _windows(series, batch_series, spans, epochs, np.random.default_rng(seed))
    for done, (rows, span) in enumerate(progress.track(windows, 'training windows', total=total, log=log), 1):
        if span.start == 0:
            state = np.zeros((batch_series, 2 * sum(network.units)), np.float32)
        value, state = update(*[part[rows, span] for part in data], state)
        recent.append(finite(float(value), f'after {done} of {total} windows', learning_rate))
        if done % max(1, total // 10) == 0:
            log(f'  {done}/{total} windows, loss {np.mean(recent):.4f}, {time.monotonic() - started:.0f} s')
            recent.clear()
    return network


def _windows(series, batch_series, spans, epochs, rng):
    """(rows of a batch, span of its steps): each batch window by window in time order, the batches of an epoch drawn at random."""
    for _ in range(epochs):
        order = rng.permutation(series)
        for at in range(0, series - batch_series + 1, batch_series):
            rows = np.sort(order[at : at + batch_series])
            for span in spans:
                yield rows, span


def _optimizer(network, learning_rate, total):
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate / 10, total, warmup_target=learning_rate, warmup_steps=total // 20)
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
    optimizer.build(network.trainable_variables)
    return optimizer


def _update(network, optimizer):
    """One step of learning as a tf.function: inputs, targets, weights, state -> loss, the state after the window."""

    def update(inputs, targets, weights, state):
        with tf.GradientTape() as tape:
            middle, spread, after = network(inputs, state)
            value = loss(targets, weights, middle, spread)
        optimizer.apply(tape.gradient(value, network.trainable_variables))
        return value, after

    return tf.function(update, autograph=False)
