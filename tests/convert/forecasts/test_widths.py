"""The widths of intervals: factors after training."""

import numpy as np
import pytest

pytestmark = pytest.mark.train


def test_widths_are_stretched_by_horizon():
    """At a knot by its factor, between two by their mean in logarithms, beyond the ends as at the ends; the middle stays."""
    import tensorflow as tf

    from convert.forecasts import network

    factors = np.log(np.float32([[2, 1], [4, 1], [1, 3], [1, 1], [1, 1], [1, 5]]))
    ahead = tf.constant([200.0, 300, np.sqrt(300 * 900), 900, 3600, 700_000])
    quantiles = tf.constant(np.tile(np.float32([1, 2, 4]), (3, 6, 1)))
    low, middle, high = np.moveaxis(network.widened(quantiles, ahead, factors).numpy(), -1, 0)
    assert (middle == 2).all() and 2 - low[0] == pytest.approx([2, 2, np.sqrt(8), 4, 1, 1], rel=1e-4)
    assert high[0] - 2 == pytest.approx([2, 2, 2, 2, 6, 10], rel=1e-4)


def test_as_many_values_come_within_as_is_promised():
    """Of a network that knows nothing: by its factors four fifths of the values come within, at each horizon; recorded telemetry counts as synthetic."""
    import keras
    import tensorflow as tf

    from convert.forecasts import network, telemetry, training, widths
    from convert.forecasts.examples import examples

    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    synthetic, recorded = (
        examples(*telemetry.batch(seed, step_seconds=300, days=20, series=60), rng, instants=20) for seed in (1, 2)
    )
    net = network.Network()
    net(training.seen({name: tf.constant(column[:2]) for name, column in synthetic.items()}))
    factors = widths.fitted(net, synthetic, [recorded])
    assert factors.shape == (6, 2) and np.abs(factors).max() > 0.1
    for data in (synthetic, recorded):
        known = (data['weight'] > 0) & (data['quarters_known'].min(1) > 0)[:, None]
        raw = net(training.seen({name: tf.constant(column) for name, column in data.items()})).numpy()
        for low, high in ((250, 500), (2000, 6000), (50_000, 150_000)):
            chosen = known & (data['ahead'] >= low) & (data['ahead'] < high)
            rows, horizons = np.nonzero(chosen)
            ahead, came = tf.constant(data['ahead'][rows, horizons]), data['target'][rows, horizons]
            stretched = network.widened(tf.tile([[[-1.0, 0.0, 1.0]]], [1, len(rows), 1]), ahead, factors).numpy()[0]
            middle = raw[rows, horizons, 1:2]
            found = middle + np.abs(stretched) * (raw[rows, horizons] - middle)
            assert 0.7 < ((came >= found[:, 0]) & (came <= found[:, 2])).mean() < 0.9, (low, high)
    assert (widths.fitted(net, {name: column[:5] for name, column in synthetic.items()}) == 0).all(), 'too few to tell'
