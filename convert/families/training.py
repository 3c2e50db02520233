"""Train the forecaster: inputs come from the same graph function that serves, then Keras learns from windows of them.

Scales, levels, the seasonal memory and the state of the LSTM are carried over the whole series, as live. The target is the asinh of the
change in the series' own scale; its likelihood is Student's t, because a squared error would chase outliers. Injected faults are masked:
they must not become what is expected.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import tensorflow as tf

from convert.families import forecaster, learning, steps
from promlstm.engine.season import WEEK, Season

FREEDOM = 4.0           # degrees of freedom of the likelihood


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


def fit(data, *, seed, units=forecaster.UNITS, validation=None, **settings):
    """(a trained Network, figures, the share of the windows that it has seen); TrainingError where the training diverges.

    data, validation  together(): whole series
    settings          as of learning.fit
    """
    network = forecaster.Network(units, seed)
    judged = validation if validation is not None and validation[2].any() else None
    return network, *learning.fit(network, data, loss=_window_loss, untrained=_untrained_loss, seed=seed, validation=judged, **settings)


def _window_loss(network, inputs, targets, weights, state):
    middle, spread, after = network(inputs, state)
    return loss(targets, weights, middle, spread), tf.reduce_sum(weights) + 1, after


def _untrained_loss(_inputs, targets, weights):
    """The loss of a network that forecasts no change, in its unit spread: float."""
    each = (FREEDOM + 1) / 2 * np.log1p(np.square(targets) / FREEDOM)
    return float((each * weights).sum() / (weights.sum() + 1))
