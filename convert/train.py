"""Learn the forecaster's weights: inputs by the very graph that will serve them, then windows through Keras.

The scales, levels and the seasonal memory are carried over the whole series, as live; the LSTM starts anew in every window, which was
measured to cost nothing against carrying it. The target is the asinh of the change in the series' own scale; its likelihood is Student's,
because a squared error would chase outliers. Planted faults are masked: they must not become what is expected.
"""

import time
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import keras
import numpy as np
import tensorflow as tf

from convert import forecaster, steps
from promlstm.season import WEEK, Season

FREEDOM = 4.0           # degrees of freedom of the likelihood
SETTLE = 8              # steps of a window before its forecasts count


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs and targets of whole series: float32 [B, T, 12], [B, T, 3], weight [B, T, 3] (0 = not to be learnt)."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def examples(batch):
    """What the graph makes of a synthesis.Batch, each feature a series of its own."""
    values = batch.values.reshape(len(batch.times), -1)
    rows = values.shape[1]
    season = Season.blank(rows, 1, period_seconds=WEEK, slots=WEEK // steps.SLOT_SECONDS, zone=ZoneInfo('UTC'))
    season = season.fill(batch.history_times, batch.history.reshape(-1, rows, 1))
    observe = tf.function(steps.observe, autograph=False, reduce_retracing=True)
    state, learn = np.zeros((rows, steps.WIDTH)), np.ones((rows, 1), np.float32)
    inputs, scales = np.empty((rows, len(values), steps.INPUTS), np.float32), np.empty((rows, len(values), 3))
    for t, instant in enumerate(batch.times):
        recalled = season.recall(instant, steps.HORIZONS, batch.step_seconds)
        sight = observe(values[t][:, None], recalled[:, 0], np.float32(batch.step_seconds), learn, state)
        inputs[:, t], scales[:, t], state = sight.inputs, sight.scale, sight.state
        season = season.remember(instant, sight.season_next.numpy(), recalled[..., 0])
    faulty = batch.faulty.reshape(values.shape).T
    return Examples(inputs, *_targets(values.T, faulty, scales))


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


def windows(parts, steps_each, rng):
    """The examples cut into windows in random order: (inputs, targets, weights), float32 [W, steps_each, …]."""
    cut = lambda a: a[:, : a.shape[1] // steps_each * steps_each].reshape(-1, steps_each, a.shape[2])      # noqa: E731
    whole = [np.concatenate([cut(getattr(part, name)) for part in parts]) for name in ('inputs', 'targets', 'weights')]
    whole[2][:, :SETTLE] = 0
    order = rng.permutation(len(whole[0]))
    return [a[order] for a in whole]


def loss(targets, weights, middle, spread):
    """Negative log-likelihood of Student's t (scale from the spread head, which training alone uses), averaged by weight."""
    spread = tf.clip_by_value(spread, -5.0, 5.0)
    error = (targets - middle) * tf.exp(-spread)
    each = spread + (FREEDOM + 1) / 2 * tf.math.log1p(error * error / FREEDOM)
    return tf.reduce_sum(each * weights) / (tf.reduce_sum(weights) + 1)


def fit(data, *, epochs, batch_windows, learning_rate, seed, log):
    """A trained Network.

    data  windows(): (inputs, targets, weights)
    log   function of a line of text
    """
    network = forecaster.Network(seed=seed)
    total = epochs * (len(data[0]) // batch_windows)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate / 10, total, warmup_target=learning_rate, warmup_steps=total // 20)
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
    optimizer.build(network.trainable_variables)

    def update(inputs, targets, weights):
        with tf.GradientTape() as tape:
            value = loss(targets, weights, *network(inputs))
        optimizer.apply(tape.gradient(value, network.trainable_variables))
        return value

    update = tf.function(update, autograph=False)
    rng, started, recent, done = np.random.default_rng(seed), time.monotonic(), [], 0
    for _ in range(epochs):
        order = rng.permutation(len(data[0]))
        for at in range(0, len(order) - batch_windows + 1, batch_windows):
            recent.append(float(update(*[part[order[at : at + batch_windows]] for part in data])))
            done += 1
            if done % max(1, total // 10) == 0:
                log(f'  {done}/{total} batches, likelihood {np.mean(recent):.4f}, {time.monotonic() - started:.0f} s')
                recent.clear()
    return network
