"""When training stops: where the loss on validation data has stopped falling, and at once where it diverges."""

import numpy as np
import pytest
from recipes import CLASSIFIER, GOOD, convert_here

from convert.families.stopping import Best


class Network:
    """A network whose weights are one number."""

    def __init__(self):
        self.weights = [0.0]

    def get_weights(self):
        return list(self.weights)

    def set_weights(self, weights):
        self.weights = list(weights)


def looked(losses, patience=2):
    network = Network()
    best = Best(network, patience)
    for number, loss in enumerate(losses, 1):
        network.weights = [float(number)]
        if best.look(loss):
            break
    best.restore()
    return number, network.weights, best


def test_the_weights_of_the_lowest_loss_are_kept():
    """Training stops after a few looks without a lower one, and a later fall is not waited for."""
    number, weights, best = looked([3.0, 2.0, 2.5, 2.1, 0.1])
    assert (number, weights, best.loss, best.at) == (4, [2.0], 2.0, 2)
    assert best.figures() == {'validation_loss': 2.0, 'validation_looks': 4.0, 'validation_best_look': 2.0}


def test_a_loss_that_falls_goes_on_to_the_end():
    """And a loss that is no number is never the lowest."""
    assert looked([3.0, 2.0, 1.0, 0.5])[:2] == (4, [4.0])
    assert looked([np.nan, 2.0, np.nan])[:2] == (3, [2.0])
    assert looked([np.nan])[1] == [1.0]


@pytest.mark.train
@pytest.mark.parametrize(('family', 'rate'), [('forecaster', 1), ('autoencoder', 10), ('classifier', 10)])
def test_a_training_that_diverges_says_so(tmp_path, family, rate):
    """With what to change; no weights are left that a later stage would blame ONNX for."""
    recipe = tmp_path / 'wild.yml'
    text = CLASSIFIER if family == 'classifier' else GOOD.replace('seed: 3', f'family: {family}\nseed: 3')
    recipe.write_text(text.replace('epochs: 1', f'epochs: 2\n  learning_rate: {rate}').replace('window_steps: 64', 'window_steps: 32'))
    done = convert_here('train', recipe, '--work', tmp_path / 'work')
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith('convert: training diverged: the loss is ')
    assert f'take a smaller learning_rate (it is {rate}); no weights were saved' in last
    assert not (tmp_path / 'work/weights.weights.h5').exists()


@pytest.mark.train
def test_a_high_loss_at_the_beginning_may_pass():
    """Only a loss that stays high, or is high at the end, is a training that diverges."""
    from convert.families.learning import TrainingError, Watch

    watch = Watch(0.3, 0.5)
    for number in range(20):
        watch.look(9.0 if number in (1, 2, 3, 7) else 0.2, 0.4, 'now', last=number == 19)
    with pytest.raises(TrainingError, match=r'diverged: the loss is 9 at the end, that of a network that has learnt nothing 0\.4: take a smaller'):
        watch.look(9.0, 0.4, 'at the end', last=True)


@pytest.mark.train
def test_validation_data_decides_which_weights_a_forecaster_keeps():
    """Without it the weights are those of the end; with data that nothing can be learnt for, those of an earlier moment."""
    from convert.data import synthesis
    from convert.families import training

    kept = {}
    example = training.examples(synthesis.batch(1, step_seconds=60, steps=256, entities=16))
    data = training.together([example])
    rng = np.random.default_rng(0)
    unlike = [data[0], rng.normal(0, 5, data[1].shape).astype(np.float32), data[2]]
    lines = []
    for name, validation in (('none', None), ('same', data), ('unlike', unlike), ('nothing', [*data[:2], np.zeros_like(data[2])])):
        options = {'epochs': 10, 'batch_series': 8, 'window_steps': 64, 'learning_rate': 0.01, 'seed': 1, 'units': (8, 4)}
        network, figures, share = training.fit(data, **options, log=lines.append, validation=validation)
        kept[name] = (np.concatenate([array.ravel() for array in network.get_weights()]), figures, share)
    assert np.array_equal(kept['none'][0], kept['nothing'][0]) and kept['nothing'][1] == {} and kept['none'][2] == 1
    assert not np.array_equal(kept['none'][0], kept['unlike'][0]) and kept['unlike'][2] < 1
    assert kept['unlike'][1]['validation_best_look'] < kept['unlike'][1]['validation_looks']
    assert 'validation' in ' '.join(lines) and '  stopped early: the loss on validation data has not fallen for 4 looks' in lines
