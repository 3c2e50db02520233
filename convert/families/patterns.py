"""Train the ensemble's LSTM: to tell injected faults from healthy telemetry, whole faults and whole hours at a time.

The inputs are the answers of the views (views.py), from the same graph function that serves. A fault counts once, by its most suspicious
sample, and so does each stretch of healthy time: that is how alarms are counted. A fault that the views find anyway is left out: the LSTM is
there for what they overlook.

Who calls it: registry. `examples` makes what there is to learn from a batch of telemetry, `fit` learns.
"""

import time
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import tensorflow as tf

from convert import progress
from convert.families import ensemble, stopping, training, views
from promlstm.engine import season as seasonal
from promlstm.engine.season import WEEK, Season
from promlstm.engine.tables import Tables

STRETCH = 64            # steps of healthy time that count as one
HEALTHY = 1.5           # weight of a stretch of healthy time against a fault
FOUND = 2.4             # surprise from which on the views find a fault by themselves
LATE = 10               # steps after a fault that are neither healthy nor part of it
NONE, FAULT, LEFT_OUT = 0, 1, -1
LOW = -30.0             # a logit that counts for nothing
UTC = ZoneInfo('UTC')


@dataclass(frozen=True, eq=False)
class Examples:
    """Whole series, and what their samples are.

    inputs  float32 [S, T, INPUTS]
    marks   int8 [S, T]     FAULT, NONE (healthy) or LEFT_OUT
    """

    inputs: np.ndarray
    marks: np.ndarray


def observations(batch):
    """What the views make of a synthesis.Batch, each feature a series of its own: inputs float32 [S, T, INPUTS], surprise float32 [S, T], NaN = not judged."""
    values = batch.values.reshape(len(batch.times), -1)
    rows = values.shape[1]
    season = Season.blank(rows, 1, period_seconds=WEEK, slots=WEEK // 1800, zone=UTC)
    season = season.fill(batch.history_times, batch.history.reshape(-1, rows, 1))
    specs = tuple(views.TABLES.values())
    tables, widths = Tables.blank(rows, 1, specs), [len(table.reads) for table in specs]
    observe = tf.function(views.observe, autograph=False, reduce_retracing=True)
    state = {name: np.zeros((width, rows), dtype) for name, (dtype, width) in views.STATES.items()}
    learn, threshold = np.ones((1, rows), np.float32), np.full((1, rows), FOUND, np.float32)
    inputs = np.empty((rows, len(values), views.INPUTS), np.float32)
    surprise = np.full((rows, len(values)), np.nan, np.float32)
    for t, instant in enumerate(batch.times):
        recalled, local = season.recall(instant, (), batch.step_seconds), seasonal.local_seconds(instant, UTC)
        parts = np.split(tables.recall(local)[:, 0].T, np.cumsum(widths)[:-1])
        seen = observe(
            values[t][None], recalled[:, 0].T, dict(zip(views.TABLES, parts, strict=True)), np.float64(local), np.float32(batch.step_seconds),
            learn, threshold, state,
        )  # fmt: skip
        inputs[:, t], state = tf.transpose(seen.inputs), seen.state
        surprise[:, t] = np.where(seen.judged[0] > 0, seen.surprise[0], np.nan)
        season = season.remember(instant, seen.season_next.numpy().T, recalled[..., 0])
        tables = tables.remember(local, np.stack([seen.tables[name].numpy().T for name in views.TABLES], -1))
    return inputs, surprise


def examples(batch, settings, rng):
    """What there is to learn in a synthesis.Batch."""
    inputs, surprise = observations(batch)
    faulty = batch.faulty.reshape(len(batch.times), -1).T
    return Examples(inputs, _marks(faulty, surprise))


def _marks(faulty, surprise):
    """int8 [S, T]: what each sample is; a fault that the views find, and what was not judged, are left out."""
    marks = np.where(np.isnan(surprise), LEFT_OUT, np.where(faulty, FAULT, NONE)).astype(np.int8)
    for series, mine in enumerate(faulty):
        edges = np.flatnonzero(np.diff(np.r_[0, mine.astype(np.int8), 0]))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            marks[series, end : end + LATE] = LEFT_OUT
            if np.nanmax(np.r_[0, surprise[series, start : end + LATE]]) >= FOUND:
                marks[series, start:end] = LEFT_OUT
    return marks


def loss(logit, marks):
    """Softplus of the most suspicious sample of each stretch of healthy time, and of minus that of each stretch of a fault.

    logit  float32 [B, T], T a multiple of STRETCH; marks  int8 [B, T]
    """
    shape = [tf.shape(logit)[0], -1, STRETCH]
    highest = lambda kept, size: tf.reduce_max(tf.reshape(tf.where(kept, logit, LOW), size), 2)       # noqa: E731
    healthy = highest(marks == NONE, shape)
    some = tf.cast(healthy > LOW, tf.float32)
    quiet = tf.reduce_sum(some * tf.nn.softplus(healthy)) / (tf.reduce_sum(some) + 1)
    faulty = highest(marks == FAULT, [tf.shape(logit)[0], 1, -1])
    there = tf.cast(faulty > LOW, tf.float32)
    return tf.reduce_sum(there * tf.nn.softplus(-faulty)) / (tf.reduce_sum(there) + 1) + HEALTHY * quiet


def fit(parts, *, epochs, batch_series, window_steps, learning_rate, seed, log, units, validation=()):
    """(a trained Network, figures, the share of the epochs that was needed); the arguments are those of training.fit."""
    inputs, marks = (np.concatenate([getattr(part, name) for part in parts]) for name in ('inputs', 'marks'))
    network = ensemble.Network(units, seed)
    spans = [slice(at, at + window_steps) for at in range(0, inputs.shape[1] - window_steps + 1, window_steps)]
    total = epochs * (len(inputs) // batch_series) * len(spans)
    update = _update(network, training.optimizer(network, learning_rate, total))
    started, recent = time.monotonic(), []
    windows = training.windows(len(inputs), batch_series, spans, epochs, np.random.default_rng(seed))
    best, judge = stopping.Best(network), _loss_of(network, validation, window_steps)
    for done, (rows, span) in enumerate(progress.track(windows, 'training windows', total=total, log=log), 1):
        if span.start == 0:
            state = np.zeros((batch_series, 2 * sum(network.units)), np.float32)
        value, state = update(inputs[rows, span], marks[rows, span], state)
        when = f'after {done} of {total} windows'
        recent.append(training.finite(float(value), when, learning_rate))
        if done % max(1, total // training.LOOKS) and done != total:
            continue
        validated = judge() if judge else None
        log(f'  {done}/{total} windows, loss {np.mean(recent):.4f}{f", validation {validated:.4f}" if judge else ""}, {time.monotonic() - started:.0f} s')
        recent.clear()
        if judge and best.look(validated):
            break
    best.restore()
    return network, best.figures(), done / total


def _update(network, optimizer):
    """One step of learning as a tf.function: inputs, marks, state -> loss, the state after the window."""

    def update(inputs, marks, state):
        with tf.GradientTape() as tape:
            logit, after = network(inputs, state)
            value = loss(logit[..., 0], marks)
        optimizer.apply(tape.gradient(value, network.trainable_variables))
        return value, after

    return tf.function(update, autograph=False)


def _loss_of(network, parts, window_steps):
    """A function of nothing that gives the mean loss over whole series, or None where there are none."""
    if not parts:
        return None
    inputs, marks = (np.concatenate([getattr(part, name) for part in parts]) for name in ('inputs', 'marks'))
    measure = tf.function(network, autograph=False)

    def judge():
        state, losses = np.zeros((len(inputs), 2 * sum(network.units)), np.float32), []
        for at in range(0, inputs.shape[1] - window_steps + 1, window_steps):
            logit, state = measure(inputs[:, at : at + window_steps], state)
            losses.append(float(loss(logit[..., 0], marks[:, at : at + window_steps])))
        return float(np.mean(losses))

    return judge
