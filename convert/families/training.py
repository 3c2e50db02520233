"""Learn the forecaster's weights: inputs by the very graph that will serve them, then windows through Keras.

Scales, levels, the seasonal memory and the LSTM's own are carried over the whole series, as live. The target is the asinh of the change
in the series' own scale; its likelihood is Student's, because a squared error would chase outliers. Planted faults are masked: they must
not become what is expected.
"""

import time
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import keras
import numpy as np
import tensorflow as tf

from convert.families import forecaster, steps
from promlstm.engine.season import WEEK, Season

FREEDOM = 4.0           # degrees of freedom of the likelihood


class TrainingError(Exception):
    """Nothing was learnt: the message says when it broke and what to change."""


def finite(loss, when, learning_rate):
    """The loss; TrainingError where it is NaN or infinite: such weights are worth nothing, and no later step mends them."""
    if not np.isfinite(loss):
        raise TrainingError(f'training: the loss is {loss:g} {when}: nothing was kept; take a smaller learning_rate (it is {learning_rate:g})')
    return loss


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs and targets of whole series: float32 [B, T, 12], [B, T, 3], weight [B, T, 3] (0 = not to be learnt)."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class Sights:
    """What the graph made of whole series: the sample float64 [S, T] (holes stand still), inputs float32 [S, T, 12], scales float64 [S, T, 3]."""

    x: np.ndarray
    inputs: np.ndarray
    scale: np.ndarray


def sights(batch):
    """Sights of a synthesis.Batch, each feature a series of its own."""
    values = batch.values.reshape(len(batch.times), -1)
    rows = values.shape[1]
    season = Season.blank(rows, 1, period_seconds=WEEK, slots=WEEK // steps.SLOT_SECONDS, zone=ZoneInfo('UTC'))
    season = season.fill(batch.history_times, batch.history.reshape(-1, rows, 1))
    observe = tf.function(steps.observe, autograph=False, reduce_retracing=True)
    state, learn = np.zeros((rows, steps.WIDTH)), np.ones((rows, 1), np.float32)
    x, inputs, scales = np.empty(values.shape[::-1]), np.empty((rows, len(values), steps.INPUTS), np.float32), np.empty((rows, len(values), 3))
    for t, instant in enumerate(batch.times):
        recalled = season.recall(instant, steps.HORIZONS, batch.step_seconds)
        sight = observe(values[t][:, None], recalled[:, 0], np.float32(batch.step_seconds), learn, state)
        x[:, t], inputs[:, t], scales[:, t], state = sight.x[:, 0], sight.inputs, sight.scale, sight.state
        season = season.remember(instant, sight.season_next.numpy(), recalled[..., 0])
    return Sights(x, inputs, scales)


def examples(batch):
    """What the forecaster learns from a synthesis.Batch."""
    seen = sights(batch)
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

    data          together(): whole series; a batch of them is gone through window by window with the LSTM's memory carried on, as live
    window_steps  how far back a gradient reaches
    log           function of a line of text
    """
    network = forecaster.Network(units, seed)
    series, steps_each = data[0].shape[:2]
    spans = [slice(at, at + window_steps) for at in range(0, steps_each - window_steps + 1, window_steps)]
    total = epochs * (series // batch_series) * len(spans)
    update = _update(network, _optimizer(network, learning_rate, total))
    rng, started, recent, done = np.random.default_rng(seed), time.monotonic(), [], 0
    for _ in range(epochs):
        order = rng.permutation(series)
        for at in range(0, series - batch_series + 1, batch_series):
            rows, state = np.sort(order[at : at + batch_series]), np.zeros((batch_series, 2 * sum(network.units)), np.float32)
            for span in spans:
                value, state = update(*[part[rows, span] for part in data], state)
                done += 1
                recent.append(finite(float(value), f'after {done} of {total} windows', learning_rate))
                if done % max(1, total // 10) == 0:
                    log(f'  {done}/{total} windows, loss {np.mean(recent):.4f}, {time.monotonic() - started:.0f} s')
                    recent.clear()
    return network


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
