"""How much wider the intervals have to be, by horizon, so that as many values come within them as is promised: split-conformal factors.

A network knows the series that it has learnt from better than any others, and short horizons least of all. So its intervals are measured on
synthetic telemetry that it has not learnt from and on recorded telemetry, and stretched: the factor of low is that with which a tenth of the
values come below it, less a margin, the factor of high likewise.
"""

import numpy as np
import tensorflow as tf

from convert.forecasts import contract, network, training

ROWS = 4096             # of one run of the network
LEAST = 300             # forecasts near a horizon of telemetry that counts there
SMALLEST, LARGEST = 0.5, 3.0    # factors
MARGIN = 0.01           # on either side: telemetry of a kind that was not learnt from at all is forecast worse than what is measured here


def fitted(net, synthetic, recorded=()):
    """float32 [K, 2] logarithms of the factors of low and high at network.KNOTS_SECONDS.

    synthetic  examples (convert.forecasts.examples); recorded: a list of such. The first counts as much as all others together. Only series of
               which eight days are known count, for younger ones differ too much.
    """
    parts = [(synthetic, 1.0), *((each, 1 / len(recorded)) for each in recorded)]
    found = [(*_shares(net, data), weight) for data, weight in parts]
    knots = np.log(network.KNOTS_SECONDS)
    out = np.zeros((len(knots), 2))
    for k in range(len(knots)):
        for side in (0, 1):
            shares, weights = [], []
            for both, ahead, known, weight in found:
                near = _near(np.log(ahead), knots, k) * known
                if (near > 0).sum() >= LEAST:
                    shares.append(both[..., side][near > 0])
                    weights.append(near[near > 0] * weight / near.sum())
            if shares:
                out[k, side] = _quantile(np.concatenate(shares), np.concatenate(weights), contract.QUANTILES[-1] + MARGIN)
    return np.log(np.clip(np.where(out > 0, out, 1), SMALLEST, LARGEST)).astype(np.float32)


def _shares(net, data):
    """(how far each target is beyond the middle as a share of the width of that side [E, H, 2], seconds ahead [E, H], bool [E, H] what counts)."""
    run = tf.function(lambda batch: net(training.seen(batch)), reduce_retracing=True)
    starts = range(0, len(data['target']), ROWS)
    quantiles = np.concatenate([run({name: tf.constant(column[at : at + ROWS]) for name, column in data.items()}).numpy() for at in starts])
    apart = (data['target'] - quantiles[..., 1])[..., None] * np.float32([-1, 1])
    width = np.abs(quantiles[..., [0, 2]] - quantiles[..., 1:2])
    known = (data['weight'] > 0) & (data['quarters_known'].min(1) > 0)[:, None]
    return apart / np.maximum(width, 1e-9), data['ahead'], known


def _near(place, knots, k):
    """How near places are to a knot: 1 there, 0 at the next ones and beyond."""
    before, after = (knots[other] if 0 <= other < len(knots) else knots[k] + sign for other, sign in ((k - 1, -1), (k + 1, 1)))
    return np.clip(np.minimum((place - before) / (knots[k] - before), (after - place) / (after - knots[k])), 0, None)


def _quantile(values, weights, level):
    """Of values that count with weights.

    >>> float(_quantile(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 8.0]), 0.5))
    2.0
    """
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return values[order][min(np.searchsorted(total, level * total[-1]), len(order) - 1)]
