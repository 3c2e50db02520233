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
from convert.families import forecaster, steps, stopping
from promlstm.engine.season import WEEK, Season

FREEDOM = 4.0           # degrees of freedom of the likelihood
DIVERGED = 0.5          # above the loss of a network that has learnt nothing
STRIKES = 5             # losses in a row that are that high
LOOKS = 10              # at the losses, in a training; at whether it diverges five times as many


class TrainingError(ConvertError):
    """Training failed: the message says when and what to change."""


def finite(loss, when, learning_rate):
    """The loss; TrainingError where it is NaN or infinite, since no later step repairs such weights."""
    if not np.isfinite(loss):
        raise TrainingError(f'training diverged: the loss is {loss:g} {when}: {_smaller(learning_rate)}')
    return loss


class Watch:
    """Whether a training diverges: its loss is, several times in a row or at its end, above that of a network that has learnt nothing."""

    def __init__(self, learning_rate, margin, strikes=STRIKES):
        """margin: how far above counts; strikes: how often in a row, since a high loss at the beginning may pass."""
        self._learning_rate, self._margin, self._strikes, self._high = learning_rate, margin, strikes, 0

    def look(self, loss, untrained, when, last):
        """TrainingError where the training diverges.

        loss, untrained  of the same samples: of the network as it is, and of one that has learnt nothing
        when             for the message
        last             whether this is the end of the training

        >>> Watch(0.003, 0.5).look(1.2, 1.0, 'after 3 of 10 windows', last=True)
        """
        self._high = self._high + 1 if loss > untrained + self._margin else 0
        if self._high >= self._strikes or (self._high and last):
            text = f'the loss is {loss:.3g} {when}, that of a network that has learnt nothing {untrained:.3g}'
            raise TrainingError(f'training diverged: {text}: {_smaller(self._learning_rate)}')


def _smaller(learning_rate):
    return f'take a smaller learning_rate (it is {learning_rate:g}); no weights were saved'


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


def untrained_loss(targets, weights):
    """The loss of a network that forecasts no change, in its unit spread: float. Arrays as of `loss`."""
    each = (FREEDOM + 1) / 2 * np.log1p(np.square(targets) / FREEDOM)
    return float((each * weights).sum() / (weights.sum() + 1))


def fit(data, *, epochs, batch_series, window_steps, learning_rate, seed, log, units=forecaster.UNITS, validation=None):
    """(a trained Network, figures, the share of the windows that it has seen); TrainingError where the training diverges.

    data          together(): whole series; a batch of them is trained window by window, the state of the LSTM carried on, as live
    window_steps  how far back a gradient reaches
    log           function of a line of text
    validation    as data, of series that are not learnt from: where their loss has stopped falling, training stops, and the weights of its
                  lowest value are kept; None = the weights of the end
    """
    network = forecaster.Network(units, seed)
    series, steps_each = data[0].shape[:2]
    spans = [slice(at, at + window_steps) for at in range(0, steps_each - window_steps + 1, window_steps)]
    total = epochs * (series // batch_series) * len(spans)
    update = _update(network, optimizer(network, learning_rate, total))
    started, shown, recent = time.monotonic(), [], []
    drawn = windows(series, batch_series, spans, epochs, np.random.default_rng(seed))
    best, judge, watch = stopping.Best(network), _loss_of(network, validation, window_steps), Watch(learning_rate, DIVERGED)
    for done, (rows, span) in enumerate(progress.track(drawn, 'training windows', total=total, log=log), 1):
        if span.start == 0:
            state = np.zeros((batch_series, 2 * sum(network.units)), np.float32)
        batch = [part[rows, span] for part in data]
        value, state = update(*batch, state)
        when, last = f'after {done} of {total} windows', done == total
        recent.append((finite(float(value), when, learning_rate), untrained_loss(*batch[1:])))
        if last or done % max(1, total // (5 * LOOKS)) == 0:
            watch.look(*np.mean(recent, axis=0), when, last)
            shown += recent
            recent.clear()
        if not last and done % max(1, total // LOOKS):
            continue
        validated = judge() if judge else None
        text = f', validation {validated:.4f}' if judge else ''
        log(f'  {done}/{total} windows, loss {np.mean([value for value, _ in [*shown, *recent]]):.4f}{text}, {time.monotonic() - started:.0f} s')
        shown.clear()
        if judge and best.look(validated):
            log(f'  stopped early: the loss on validation data has not fallen for {stopping.PATIENCE} looks')
            break
    best.restore()
    return network, best.figures(), done / total


def _loss_of(network, data, window_steps):
    """A function of nothing that gives the loss of the network on whole series, or None where there are none that can be judged."""
    if data is None or not data[2].any():
        return None
    measure = tf.function(lambda inputs, targets, weights, state: _summed(network, inputs, targets, weights, state), autograph=False)

    def judge():
        state, total, count = np.zeros((len(data[0]), 2 * sum(network.units)), np.float32), 0.0, 0.0
        for at in range(0, data[0].shape[1] - window_steps + 1, window_steps):
            summed, weight, state = measure(*[part[:, at : at + window_steps] for part in data], state)
            total, count = total + float(summed), count + float(weight)
        return total / max(count, 1.0)

    return judge


def _summed(network, inputs, targets, weights, state):
    middle, spread, after = network(inputs, state)
    count = tf.reduce_sum(weights)
    return loss(targets, weights, middle, spread) * (count + 1), count, after


def windows(series, batch_series, spans, epochs, rng):
    """(rows of a batch, span of its steps): each batch window by window in time order, the batches of an epoch drawn at random."""
    for _ in range(epochs):
        order = rng.permutation(series)
        for at in range(0, series - batch_series + 1, batch_series):
            rows = np.sort(order[at : at + batch_series])
            for span in spans:
                yield rows, span


def optimizer(network, learning_rate, total):
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate / 10, total, warmup_target=learning_rate, warmup_steps=total // 20)
    adam = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
    adam.build(network.trainable_variables)
    return adam


def _update(network, optimizer):
    """One step of learning as a tf.function: inputs, targets, weights, state -> loss, the state after the window."""

    def update(inputs, targets, weights, state):
        with tf.GradientTape() as tape:
            middle, spread, after = network(inputs, state)
            value = loss(targets, weights, middle, spread)
        optimizer.apply(tape.gradient(value, network.trainable_variables))
        return value, after

    return tf.function(update, autograph=False)
