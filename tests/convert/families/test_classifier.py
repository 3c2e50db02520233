"""The classifier: the textbook network, what its labels are, what its surprise says, and a model of it from nothing in one command."""

import numpy as np
import pytest
import small_models
from recipes import CLASSIFIER, convert_here, forced

pytestmark = pytest.mark.train
@pytest.mark.accept  # `make test` makes one of labels: tests/convert/test_own_history.py
def test_all_makes_a_classifier_from_nothing(tmp_path):
    """Its labels are injected faults; the accuracy on series held out is in the card and in the log."""
    done, bundle = forced(tmp_path, CLASSIFIER)
    assert (bundle.manifest.family, bundle.calibration.status, bundle.manifest.warmup_steps) == ('classifier', 'measured', 40)
    assert 'logit' in bundle.manifest.description
    assert 0.5 < bundle.manifest.evaluation['training']['accuracy_held_out'] <= 1 and 'accuracy on' in done.stderr


def test_without_labels_it_says_so(tmp_path):
    recipe = tmp_path / 'tiny.yml'
    recipe.write_text(CLASSIFIER.replace('faults_per_1000: 3', 'faults_per_1000: 0'))
    done = convert_here('train', recipe, '--work', tmp_path / 'work')
    assert done.returncode == 1 and 'windows, all healthy: expected both; inject faults (faults_per_1000) or give labels' in done.stderr


def test_it_is_the_textbook_network():
    from convert.families import classifier

    network = classifier.network(small_models.WIDTH)
    assert [(type(layer).__name__, layer.units) for layer in network.layers] == [('LSTM', 128), ('LSTM', 64), ('Dense', 1)]
    assert network.layers[0].return_sequences and not network.layers[1].return_sequences
    assert network.layers[2].activation.__name__ == 'sigmoid'


def test_the_surprise_is_the_clipped_logit():
    """Of the probability that Keras gives for the window in the ring."""
    one, inputs = small_models.family('classifier'), small_models.inputs_of('classifier', steps=70)
    out, state = small_models.carried('classifier', inputs)[-1]
    ring = state['state_ring'].reshape(-1, small_models.WIDTH, 12)
    p = one.network(ring).numpy().astype(np.float64).reshape(-1, 2)
    wanted = np.clip(np.log(p / (1 - p)), -6, 8) + 6
    judged = ~np.isnan(inputs['value'][-1])
    assert np.allclose(np.where(judged, wanted, 0).max(1), out['surprise'], atol=2e-3)


def test_labels_are_those_of_the_newest_sample():
    from convert.data import synthesis
    from convert.families import classifier, training

    batch = synthesis.batch(1, step_seconds=60, steps=600, entities=16, faults_per_1000=4, history_days=1)
    faulty = batch.faulty[..., 0].T
    seen = training.observations(batch)
    seen.inputs[..., 0] = faulty
    inputs, labels, out = classifier.examples(seen, faulty, small_models.WIDTH, np.random.default_rng(0))
    assert inputs.shape[1:] == (small_models.WIDTH, 12) and np.array_equal(inputs[:, -1, 0], labels)
    assert 0.1 < labels.mean() < 0.6 and 0 < out.mean() < 0.3


def test_faults_are_injected_into_recorded_telemetry_but_not_where_it_is_excluded():
    """What is excluded is neither healthy nor anomalous."""
    from convert.data import faults, synthesis
    from convert.families import classifier

    batch = synthesis.batch(2, step_seconds=60, steps=900, entities=8, history_days=1)
    batch.faulty[500:] = True
    injected, labels = faults.into(batch, 10, tuple(faults.KINDS), np.random.default_rng(0))
    changed = ~((injected.values == batch.values) | np.isnan(batch.values))
    assert labels.any() and not labels[500:].any() and not (changed & ~labels).any()

    class Seen:
        inputs = np.zeros((8, 900, 12), np.float32)

    Seen.inputs[..., 0] = np.arange(900)
    inputs, found, _ = classifier.examples(Seen, labels[..., 0].T, small_models.WIDTH, np.random.default_rng(0), batch.faulty[..., 0].T)
    assert inputs[:, -1, 0].max() < 500 and set(found) == {0, 1}


def test_given_labels_are_learnt_in_place_of_injected_faults():
    """A team that knows its incidents labels them: nothing is injected, and what is excluded is still left out."""
    from dataclasses import fields

    from convert.data import dataset, synthesis
    from convert.families.registry import FAMILIES
    from convert.recipe import Telemetry, Training

    settings = Training(telemetry=(Telemetry(step_seconds=60, steps=900, entities=8),), window_steps=small_models.WIDTH, faults_per_1000=50)
    plain = synthesis.batch(2, step_seconds=60, steps=900, entities=8, history_days=1)
    labels = np.zeros(plain.faulty.shape, bool)
    labels[600:620, 3] = True
    recorded = {each.name: getattr(plain, each.name) for each in fields(plain)} | {'faulty': labels.copy()}
    batch = dataset.Recorded(**recorded, identities=tuple(range(8)), scored=np.ones(900, bool), labels=labels)
    _, found, _ = FAMILIES['classifier'].examples(batch, settings, np.random.default_rng(0))
    assert found.sum() == 20


def test_a_loss_that_is_no_number_ends_training_with_the_reason(tmp_path):
    """Nothing is left that a later stage could take for weights."""
    recipe = tmp_path / 'tiny.yml'
    given = 'learning_rate: 1.0e+38'
    recipe.write_text(CLASSIFIER.replace('training:', f'training:\n  {given}'))
    done = convert_here('train', recipe, '--work', tmp_path / 'work')
    assert done.returncode == 1, done.stderr
    assert 'training diverged: the loss is' in done.stderr and 'take a smaller learning_rate' in done.stderr
    assert not (tmp_path / 'work/weights.weights.h5').exists()
