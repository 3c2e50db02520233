"""What the LSTM adds to the views."""

from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = pytest.mark.train


@pytest.mark.parametrize('bias', [1e6, -1e6])
def test_the_lstm_says_that_something_is_there_and_not_how_large(bias):
    """However sure it is, its surprise ends where the views alone say more: an alert that asks for a higher score asks the views."""
    import tensorflow as tf
    from test_views import SHOWN, noise, observed

    from convert.families import ensemble, scales

    network = ensemble.Network(units=(2,))
    network.logit.bias.assign([bias])
    steps = observed(100 + noise(60, 3))
    seen = SimpleNamespace(**{name: tf.constant(getattr(steps, name)[-1]) for name in SHOWN})
    blank = tf.zeros((len(ensemble.USUAL), 3))
    surprise, _, _ = ensemble._pattern(network, seen, tf.zeros((3, 4)), blank, seen.judged, tf.constant(60.0))
    assert surprise.shape == (1, 3)
    assert ensemble.WEEKLY < ensemble.LOUDEST < scales.LARGEST
    np.testing.assert_array_equal(surprise, ensemble.LOUDEST if bias > 0 else 0.0)


@pytest.mark.parametrize(('view', 'value', 'band', 'directed'), [
    ('level_shift', 5.0, True, True), ('flat_line', 5.0, False, False), ('missing_event', 5.0, False, False),
    ('pattern', 5.0, False, False), ('pattern', 9.0, False, True), ('pattern', 1.0, False, True),
])  # fmt: skip
def test_what_the_lstm_finds_has_a_direction_beyond_the_usual_range(view, value, band, directed):
    """The usual range is 4 to 6. A surge that the LSTM sees first is above what was expected; a rhythm that is lost is neither above nor below."""
    import tensorflow as tf

    from convert.families import ensemble

    seen = SimpleNamespace(x=tf.constant([[value]], tf.float64), usual=tf.constant([[4.0], [6.0]], tf.float64))
    won = tf.constant([[float(name == view)] for name in ensemble.VIEWS])
    unbanded, undirected = ensemble._lacking(seen, won)
    assert (unbanded.numpy().item(), undirected.numpy().item()) == (not band, not directed)
