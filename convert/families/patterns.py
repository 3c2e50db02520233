"""Train the ensemble's LSTM: to tell injected faults from healthy telemetry, whole faults and whole hours at a time.

The inputs are the answers of the views (views.py), from the same graph function that serves. A fault counts once, by its most suspicious
sample, and so does each stretch of healthy time: that is how alarms are counted. A fault that the views find anyway is left out: the LSTM is
there for what they overlook.

Who calls it: registry. `examples` makes what there is to learn from a batch of telemetry, `fit` learns.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import tensorflow as tf

from convert.families import daytime, ensemble, learning, views
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
ARRAYS = ('inputs', 'marks')


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
    specs = tuple(daytime.TABLES.values())
    tables, widths = Tables.blank(rows, 1, specs), [len(table.reads) for table in specs]
    observe = tf.function(views.observe, autograph=False, reduce_retracing=True)
    state = {name: np.zeros((width, rows), dtype) for name, (dtype, width) in views.STATES.items()}
    learn, threshold = np.ones((1, rows), np.float32), np.full((1, rows), FOUND, np.float32)
    inputs = np.empty((rows, len(values), views.INPUTS), np.float32)
    surprise = np.full((rows, len(values)), np.nan, np.float32)
    for t, instant in enumerate(batch.times):
        recalled, local = season.recall(instant, (), batch.step_seconds), seasonal.local_seconds(instant, UTC)
        parts = np.split(tables.recall(local)[:, 0].T.astype(np.float64), np.cumsum(widths)[:-1])
        seen = observe(
            values[t][None], recalled[:, 0].T, dict(zip(daytime.TABLES, parts, strict=True)), np.float64(local), np.float32(batch.step_seconds),
            learn, threshold, state,
        )  # fmt: skip
        inputs[:, t], state = tf.transpose(seen.inputs), seen.state
        surprise[:, t] = np.where(seen.judged[0] > 0, seen.surprise[0], np.nan)
        season = season.remember(instant, seen.season_next.numpy().T, recalled[..., 0])
        tables = tables.remember(local, np.stack([seen.tables[name].numpy().T for name in daytime.TABLES], -1))
    return inputs, surprise


def examples(batch, faulty, left_out=None):
    """What there is to learn in a synthesis.Batch.

    faulty    bool [S, T]: faults, injected or known
    left_out  bool [S, T]: samples that are neither healthy nor a fault; None = none
    """
    inputs, surprise = observations(batch)
    marks = _marks(faulty, surprise)
    return Examples(inputs, marks if left_out is None else np.where(left_out, np.int8(LEFT_OUT), marks))


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


def fit(parts, *, seed, units, validation=(), **settings):
    """(a trained Network, figures, the share of the windows that it has seen); TrainingError where the training diverges.

    parts, validation  Examples of equally long series
    settings           as of learning.fit
    """
    network = ensemble.Network(units, seed)
    data = [learning.Stacked([getattr(part, name) for part in parts]) for name in ARRAYS]
    judged = [np.concatenate([getattr(part, name) for part in validation]) for name in ARRAYS] if validation else None
    return network, *learning.fit(network, data, loss=_window_loss, untrained=_untrained_loss, seed=seed, validation=judged, **settings)


def _window_loss(network, inputs, marks, state):
    logit, after = network(inputs, state)
    return loss(logit[..., 0], marks), tf.constant(1.0), after


def _untrained_loss(_inputs, marks):
    """The loss of a network that gives each sample the logit it begins with: float."""
    return float(loss(tf.fill(marks.shape, ensemble.BEGINNING), marks))
