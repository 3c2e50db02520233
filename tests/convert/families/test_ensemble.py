"""What the LSTM adds to the views."""

import numpy as np
import pytest

pytestmark = pytest.mark.train


@pytest.mark.parametrize('bias', [1e6, -1e6])
def test_the_lstm_says_that_something_is_there_and_not_how_large(bias):
    """However sure it is, its surprise ends where the views alone say more: an alert that asks for a higher score asks the views."""
    import tensorflow as tf
    from test_views import noise, observed

    from convert.families import ensemble, views

    network = ensemble.Network(units=(2,))
    network.logit.bias.assign([bias])
    seen = observed(100 + noise(60, 3))[-1]
    blank = tf.zeros((len(ensemble.USUAL), 3))
    surprise, _, _ = ensemble._pattern(network, seen, tf.zeros((3, 4)), blank, seen.judged, tf.constant(60.0))
    assert surprise.shape == (1, 3)
    assert ensemble.WEEKLY < ensemble.LOUDEST < views.LARGEST
    np.testing.assert_array_equal(surprise, ensemble.LOUDEST if bias > 0 else 0.0)
