"""Learn window by window: the loop of the families whose LSTM carries its state over whole series, as live.

Who calls it: training.fit and patterns.fit, which say what the loss is; the other families take the watch over divergence and the optimizer.
"""

import time

import keras
import numpy as np
import tensorflow as tf

from convert import progress
from convert.errors import ConvertError
from convert.families import stopping

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


class Stacked:
    """Arrays [s, T, …], each of some series, as one of all series [S, T, …]: rows are copied as they are taken, for twice the examples do not fit into memory.

    >>> Stacked([np.array([[1, 2], [3, 4]]), np.array([[5, 6]])])[np.array([1, 2]), :1].tolist()
    [[3], [5]]
    """

    def __init__(self, arrays):
        if len({array.shape[1:] for array in arrays}) > 1:
            raise ValueError(f'series of different length: {[array.shape for array in arrays]}')
        self._arrays, self._ends = arrays, np.cumsum([len(array) for array in arrays])
        self.shape = int(self._ends[-1]), *arrays[0].shape[1:]

    def __getitem__(self, place):
        """Rows (int [n], ascending) in a span of steps."""
        rows, span = place
        parts = np.split(rows, np.searchsorted(rows, self._ends[:-1]))
        starts = self._ends - [len(array) for array in self._arrays]
        return np.concatenate([array[part - start, span] for array, part, start in zip(self._arrays, parts, starts, strict=True)])


def fit(network, data, *, loss, untrained, epochs, batch_series, window_steps, learning_rate, seed, log, validation=None):
    """Train the network in place: (figures, the share of the windows that it has seen); TrainingError where the training diverges.

    data          arrays [S, T, …] of whole series, or Stacked ones; a batch of them is trained window by window, the state of the LSTM carried on, as live
    loss          network, a window of each array, state -> the loss, its weight among others, the state after the window
    untrained     a window of each array -> the loss of a network that has learnt nothing
    window_steps  how far back a gradient reaches
    log           function of a line of text
    validation    arrays as data, of series that are not learnt from: where their loss has stopped falling, training stops, and the weights of its
                  lowest value are kept; None = the weights of the end
    """
    series, steps = data[0].shape[:2]
    spans = [slice(at, at + window_steps) for at in range(0, steps - window_steps + 1, window_steps)]
    total = epochs * (series // batch_series) * len(spans)
    update = _update(network, loss, optimizer(network, learning_rate, total))
    started, shown, recent = time.monotonic(), [], []
    drawn = _windows(series, batch_series, spans, epochs, np.random.default_rng(seed))
    judge = None if validation is None else _loss_of(network, loss, validation, spans)
    best, watch = stopping.Best(network), Watch(learning_rate, DIVERGED)
    for done, (rows, span) in enumerate(progress.track(drawn, 'training windows', total=total, log=log), 1):
        if span.start == 0:
            state = _blank(network, batch_series)
        batch = [part[rows, span] for part in data]
        value, state = update(batch, state)
        when, last = f'after {done} of {total} windows', done == total
        recent.append((finite(float(value), when, learning_rate), untrained(*batch)))
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
    return best.figures(), done / total


def _blank(network, series):
    return np.zeros((series, 2 * sum(network.units)), np.float32)


def _loss_of(network, loss, data, spans):
    """A function of nothing that gives the mean loss over whole series."""
    measure = tf.function(lambda batch, state: loss(network, *batch, state), autograph=False)

    def judge():
        state, total, count = _blank(network, len(data[0])), 0.0, 0.0
        for span in spans:
            value, weight, state = measure([part[:, span] for part in data], state)
            total, count = total + float(value * weight), count + float(weight)
        return total / count

    return judge


def _windows(series, batch_series, spans, epochs, rng):
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


def _update(network, loss, optimizer):
    """One step of learning as a tf.function: a window of each array, state -> loss, the state after the window."""

    def update(batch, state):
        with tf.GradientTape() as tape:
            value, _, after = loss(network, *batch, state)
        optimizer.apply(tape.gradient(value, network.trainable_variables))
        return value, after

    return tf.function(update, autograph=False)
