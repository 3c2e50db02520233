"""The autoencoder's rule: what is reconstructed, what it learns from, and a model of it from nothing in one command."""

import numpy as np
import pytest
import small_models
from recipes import GOOD, forced

pytestmark = pytest.mark.train
TINY = (
    GOOD.replace('seed: 3', 'family: autoencoder\nseed: 3').replace('window_steps: 64', 'window_steps: 8')
    .replace('epochs: 1', 'epochs: 3').replace('entities: 32', 'entities: 16')
)  # fmt: skip


@pytest.mark.accept  # `make test` fits one below, and exports, verifies and serves one in test_families.py
def test_all_makes_an_autoencoder_from_nothing(tmp_path):
    """Trained, exported, verified, calibrated, evaluated beside the rule without LSTM, released; it loads and says what it is."""
    _, bundle = forced(tmp_path, TINY)
    assert (bundle.manifest.family, bundle.calibration.status, bundle.manifest.warmup_steps) == ('autoencoder', 'measured', 60)
    assert 'reconstruction' in bundle.manifest.description and bundle.manifest.views == ()
    assert bundle.manifest.evaluation['training']['windows'] == 24 * 16
    assert bundle.manifest.evaluation['injected_300s'].keys() >= {'shift_recall_at_1_per_week', 'shift_recall_at_1_per_week_best_baseline'}
    assert bundle.states['state_ring'].shape == ('N', 'F', 9) and bundle.size_bytes < 500_000


def test_the_decoder_writes_the_newest_sample_first():
    """Serving runs one step of it; training runs all; they are the same number."""
    import tensorflow as tf

    from convert.families import autoencoder

    network = small_models.network('autoencoder')
    seen = np.random.default_rng(0).normal(size=(5, small_models.WIDTH)).astype(np.float32)
    whole = network(seen[..., None])
    assert whole.shape == (5, small_models.WIDTH, 1)
    assert np.allclose(autoencoder.newest(network, tf.constant(seen)), whole[:, 0], atol=1e-6)


def test_a_window_is_normalised_by_what_came_before_the_newest_sample():
    from convert.families import autoencoder

    ring = np.float64([[1e9 + 1, 1e9 + 3, 1e9 + 8]])
    seen, centre = autoencoder.normalised(ring, np.float64([[2.0]]))
    assert centre[0, 0] == 1e9 + 2 and np.allclose(seen[0], np.arcsinh([-0.5, 0.5, 3]))


def test_windows_with_a_fault_in_them_are_not_learnt():
    from convert.data import synthesis
    from convert.families import autoencoder, training

    batch = synthesis.batch(1, step_seconds=60, steps=500, entities=12, faults_per_1000=6, history_days=1)
    seen, faulty = training.observations(batch), batch.faulty[..., 0].T
    assert faulty.any(1).sum() > 3
    seen.x[faulty] = 1e30
    windows = autoencoder.examples(seen, faulty, small_models.WIDTH, np.random.default_rng(0))
    assert windows.shape[1] == small_models.WIDTH and len(windows) > 100 and np.abs(windows).max() < 30


def test_training_damages_only_the_newest_samples():
    """And asks for the undamaged ones back."""
    from convert.families import autoencoder

    windows = np.zeros((1000, small_models.WIDTH), np.float32)
    damaged = autoencoder.damaged(windows, np.random.default_rng(0))
    assert (damaged[:, : -autoencoder.DAMAGED] == 0).all() and 0.3 < (damaged[:, -1] != 0).mean() < 0.7


def test_it_learns():
    """After a little training a healthy window is reconstructed better than by a constant, and a spike is not."""
    from convert import recipe
    from convert.families import autoencoder

    rng = np.random.default_rng(0)
    at = rng.uniform(0, 6, (3000, 1)) + 0.5 * np.arange(small_models.WIDTH)
    windows = np.float32(np.sin(at))
    settings = recipe.Training(telemetry=(), batch_series=64, epochs=4, learning_rate=0.01)
    network, figures = autoencoder.fit(windows, settings, 1, lambda text: None)
    damaged = windows.copy()
    damaged[:, -1] += 4
    healthy, moved = (np.abs(x[:, -1] - autoencoder.newest(network, x).numpy()[:, 0]) for x in (windows, damaged))
    assert figures['windows'] == 3000 and np.median(healthy) < 0.4 and np.median(moved) > 2
