"""The graph of the family ensemble, the default: statistical views of a series, and an LSTM that has learnt from injected faults what they overlook.

Each feature is a series of its own (weights are shared). The views (views.py) answer simple questions in the series' own scales; their
largest answer is the surprise of the sample, after what is usual at this time of day is taken off. The LSTM reads all answers at every
step and gives one number, how much the last samples look like a fault; it has a threshold of its own, so that it adds a small share of
false alarms. The surprise of the series is the larger of both.

Surprises of an entity's features are combined at the end, see `together`.

Called by train (Network), export (step, as a tf.function) and verify. See promlstm.engine.bundle for the tensors.
"""

import itertools
import math

import keras
import tensorflow as tf

from convert.families import daytime, forecaster, recurrent, scales, steps, views
from convert.families.choices import f64, first, if_, is_

UNITS = (32,)
HIDDEN = 16
BEGINNING = -3.0        # the logit of a network that has learnt nothing: faults are rare
VIEWS = (*views.VIEWS, 'season', 'missing_event', 'pattern')
# The LSTM's logit as surprise. It makes a fifth of the false alarms at a budget of one a week, and a twentieth at a minute, where the views leave it
# little: on labelled public telemetry its logit comes to LOGITS once in five weeks, and in twenty (by seconds of the step, interpolated), where the surprise
# of the views comes to WEEKLY once in a week.
LOGITS = ((60.0, 4.8), (300.0, 1.6), (3600.0, -1.1))
WEEKLY, SLOPE = 2.26, 0.3
LOUDEST = 3.0           # surprise of the LSTM at most: it knows that something small is there; how large what is there is, the views say
# What is usual for the series: its LSTM's largest logit of a day, in the median, or in its first days of a quarter of an hour, in the 90 % quantile.
MARGIN = 3.0            # a logit is above what is usual from there on: by less it is what a series with many events makes in any week
ABOVE, MOST = 12.0, 24.0        # logits are held as logit + ABOVE, 0 to MOST
NEW = 3                 # days
MOST_A_DAY = 4.0        # by which one of the first days moves the median
HIGH, HIGH_RATE = 0.9, 0.3      # the quantile moves by so much a slot
USUAL = ('top', 'usual', 'days', 'slot', 'high')
# Where an entity has as many features as forecaster.MANY begins with, what is beyond an ordinary surprise lasts, with this half-life in steps: one cause
# shows in some features a little later than in others.
LASTING = 12.0
LEAST_BLAME = 0.05      # of a feature that is at its level, or has not moved
CONSTANT = (0.8, 0.9)   # share of steps without change from which on the LSTM counts less, and not at all


def states(units=UNITS):
    """{name: (dtype, columns)} with LSTMs of those sizes."""
    return {**views.STATES, 'lstm': ('float32', 2 * sum(units)), 'logits': ('float32', len(USUAL)), 'lasting': ('float32', 1)}


class Network(keras.Model):
    """An LSTM over the answers of the views, and a small dense network that turns its state into one logit."""

    def __init__(self, units=UNITS, seed=0):
        super().__init__()
        self.units = tuple(units)
        self.lstms = recurrent.stack(units, views.INPUTS, seed)
        self.hidden = keras.layers.Dense(HIDDEN, activation='relu', kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 20))
        last = keras.initializers.GlorotUniform(seed=seed + 21)
        self.logit = keras.layers.Dense(1, kernel_initializer=last, bias_initializer=keras.initializers.Constant(BEGINNING))
        self.hidden.build((None, None, units[-1]))
        self.logit.build((None, None, HIDDEN))
        self.built = True

    def call(self, inputs, state):
        """A window of steps: float32 [M, T, INPUTS], [M, 2·sum(units)] -> logit [M, T, 1], the state after it."""
        hidden, after = recurrent.carried(self.lstms, inputs, state)
        rows = tf.reshape(hidden, [-1, hidden.shape[-1]])       # two axes: ONNX Runtime fuses the product with the bias
        return tf.reshape(self.logit(self.hidden(rows)), [-1, inputs.shape[1] or tf.shape(inputs)[1], 1]), after


def step(network, value, season, table, local_seconds, step_seconds, learn, threshold, **states):
    """One step of N entities with F features, the whole of the contract.

    network    Network, or None for the views alone: what the network is compared with
    states     {name: [N, F, columns]}
    the rest   as promlstm.engine.tensors says
    returns    {output name: tensor}
    """
    shape = tf.shape(value)
    rows = shape[0] * shape[1]
    flat = lambda x: tf.reshape(x, [rows, x.shape[-1]])                          # noqa: E731
    columns = lambda x: tf.reshape(tf.transpose(flat(x)), [x.shape[-1], rows])    # noqa: E731   without the reshape ONNX Runtime undoes it
    each = lambda x: tf.reshape(tf.repeat(x, shape[1]), [1, rows])                # noqa: E731
    widths = [len(table.reads) for table in daytime.TABLES.values()]
    tables = dict(zip(daytime.TABLES, tf.split(columns(table), widths, axis=0), strict=True))
    seen = views.observe(
        tf.reshape(value, [1, rows]), columns(season), tables, tf.reduce_max(local_seconds), step_seconds,
        each(learn), each(threshold), {name: columns(states[name]) for name in views.STATES},
    )  # fmt: skip
    echoes = is_(seen.state['ratios'][views.JUDGED : views.JUDGED + 1] <= daytime.ECHO)
    teaches = seen.judged * tf.minimum(each(learn), 1.0) * (1 - echoes)
    pattern, lstm_next, logits_next = _pattern(network, seen, flat(states['lstm']), columns(states['logits']), teaches, step_seconds)
    still = seen.state['ratios'][views.STILL : views.STILL + 1]
    pattern = tf.maximum(pattern - seen.reserved, 0.0) * tf.cast(seen.quiet < 0.5, tf.float32)
    pattern *= tf.clip_by_value((CONSTANT[1] - still) / (CONSTANT[1] - CONSTANT[0]), 0.0, 1.0)
    surprise = tf.maximum(seen.surprise, pattern)
    absent = 2 * seen.absent * tf.cast(seen.absent >= seen.surprise, tf.float32)
    parts = tf.concat([seen.parts, seen.seasonal, absent, 4 * scales.LARGEST * tf.cast(pattern > seen.surprise, tf.float32)], 0)
    won = first(parts)
    lasting, lasting_next = _lasting(surprise * seen.judged, columns(states['lasting']), each(learn), shape[1])
    blame = tf.sqrt((tf.minimum(surprise, daytime.ORDINARY) + lasting) * tf.sqrt(LEAST_BLAME + seen.away)) * (LEAST_BLAME + seen.stirred)
    lower, upper = (_natural(seen, border) for border in (seen.centre - seen.reach, seen.centre + seen.reach))
    usual = _natural(seen, seen.usual)
    gap = tf.cast(steps.nan_unless(seen.judged), tf.float64)
    alarming = seen.judged * tf.cast(surprise >= each(threshold), tf.float32)
    unbanded, undirected = (tf.cast(steps.nan_unless(1 - alarming * lacks), tf.float64) for lacks in _lacking(seen, won))
    back = lambda x: tf.reshape(tf.transpose(x), [shape[0], shape[1], x.shape[0]])       # noqa: E731
    column = lambda x: tf.reshape(x, shape)                                       # noqa: E731
    combined = forecaster.combine(column(blame), column(seen.judged), shape[1])
    return {
        **combined,
        'view': forecaster.views(combined['contribution'], tf.reshape(won, [len(VIEWS), shape[0], shape[1]])),
        'surprise': together(column(surprise), column(lasting), column(seen.judged), shape[1]),
        'expected': column(seen.expected + gap),
        'lower': column(lower + gap + unbanded),
        'upper': column(upper + gap + unbanded),
        'usual_lower': column(usual[:1] + gap),
        'usual_upper': column(usual[1:] + gap),
        'recurring': tf.reduce_max(column(seen.recurring), 1),
        'deviation': column(seen.x - seen.expected + gap + undirected),
        'season_next': column(seen.season_next),
        'table_next': back(tf.concat([seen.tables[name] for name in daytime.TABLES], 0)),
        **{f'state_{name}_next': back(state) for name, state in seen.state.items()},
        'state_lasting_next': back(lasting_next * seen.blank),
        'state_logits_next': back(logits_next * seen.blank),
        'state_lstm_next': column(seen.blank)[:, :, None] * tf.reshape(lstm_next, [shape[0], shape[1], lstm_next.shape[-1]]),
    }


def _lasting(surprise, before, learn, features):
    """What is beyond an ordinary surprise and lasts, float32 [1, M], and the state after it.

    surprise    of samples; 0 = not judged
    """
    renewed = tf.clip_by_value(learn - 1, 0.0, 1.0)
    excess = tf.maximum(surprise - daytime.ORDINARY, 0.0)
    several = tf.cast(features >= forecaster.MANY[0], tf.float32)
    lasting = tf.maximum(excess, several * (1 - renewed) * (1 - scales.share(LASTING)) * before)
    return lasting, (1 - renewed) * lasting


def together(surprise, lasting, judged, features):
    """The surprise of an entity, float32 [N]; NaN = no feature was judged.

    surprise, lasting, judged  float32 [N, F]   of its features: of the sample, what lasts of it and of those before, 1 = judged

    What is beyond an ordinary surprise decides, alone: ordinary surprises of the other features say nothing.
    """
    beyond = forecaster.largest(lasting * judged, features)
    ordinary = forecaster.largest(tf.minimum(surprise, daytime.ORDINARY) * judged, features)
    return beyond + tf.minimum(ordinary + 2 * beyond, daytime.ORDINARY) + steps.nan_unless(tf.reduce_max(judged, 1))


def _pattern(network, seen, state, logits, teaches, step_seconds):
    """The surprise of the LSTM, float32 [1, M], and the next states of it and of what is usual for its logit.

    seen      views.Observation
    teaches   float32 [1, M]    1 = the sample says what is usual
    """
    if network is None:
        return tf.zeros_like(seen.surprise), state, logits
    logit, after = network(tf.transpose(seen.inputs)[:, None, :], state)
    most, at = LOGITS[0][1], tf.math.log(tf.cast(step_seconds, tf.float32))
    for (low, before), (high, after_) in itertools.pairwise(LOGITS):
        most += (after_ - before) * tf.clip_by_value((at - math.log(low)) / math.log(high / low), 0.0, 1.0)
    logit = tf.clip_by_value(logit[None, :, 0, 0] + ABOVE, 0.0, MOST)
    usual, logits = _usual_logit(dict(zip(USUAL, tf.split(logits, len(USUAL), axis=0), strict=True)), logit, teaches, seen)
    return tf.clip_by_value(WEEKLY + SLOPE * (logit - tf.maximum(most + ABOVE, usual + MARGIN)), 0.0, LOUDEST), after, logits


def _usual_logit(s, logit, teaches, seen):
    """The largest logit that is usual, before this one: float32 [1, M], and the state after it, float32 [len(USUAL), M]."""
    s['usual'] = if_(seen.day_ended, daytime.usual_top(s['usual'], s['top'], s['days'], MOST_A_DAY), s['usual'])
    s['days'] = tf.minimum(s['days'] + seen.day_ended, 1e6)
    ended = seen.slot_begins * is_(s['slot'] > 0)
    high = s['high'] + HIGH_RATE * (is_(s['slot'] > s['high']) - (1 - HIGH))
    s['high'] = if_(ended, if_(is_(s['high'] > 0), high, s['slot']), s['high'])
    usual = if_(is_(s['days'] >= NEW), s['usual'], s['high'])
    s['top'] = tf.maximum((1 - seen.day_ended) * s['top'], teaches * logit)
    s['slot'] = tf.maximum((1 - seen.slot_begins) * s['slot'], teaches * logit)
    return usual, tf.concat([s[name] for name in USUAL], 0)


def _lacking(seen, won):
    """Where there is no band to return to, and where there is no direction: float32 [1, M] each, 1 = so.

    seen  views.Observation
    won   float32 [len(VIEWS), M]   1 = the view with the largest answer

    A value that stands still has neither, nor has an event that does not come. What the LSTM finds has no band, since the border of an alarm is
    not of this sample alone; beyond the usual range it has a direction.
    """
    neither, pattern = won[3:4] + won[5:6], won[6:]
    beyond = is_(seen.x < seen.usual[:1]) + is_(seen.x > seen.usual[1:])
    return neither + pattern, neither + (1 - beyond) * pattern


def _natural(seen, border):
    """Borders float64 [n, M] within those of the series: never below 0 where it has never been negative, never above 1 where it has not been there."""
    negative, above = (f64(seen.state['ratios'][at : at + 1]) for at in (views.SIGNED, views.ABOVE_ONE))
    border = (1 - negative) * tf.maximum(border, 0) + negative * border
    return (1 - above) * tf.minimum(border, 1) + above * border
