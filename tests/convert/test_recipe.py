"""A recipe is strict: one mistake, one message that names the file and the key."""

import pytest
from recipes import GOOD

from convert import recipe
from convert.__main__ import main
from promlstm.engine import session
from promlstm.forecasts import model as forecasts


def test_the_default_recipe_is_one(request):
    loaded = recipe.load(request.config.rootpath / 'convert/recipes/default.yml')
    assert loaded.name == 'default' and loaded.calibration.class_features[0] == 1


@pytest.mark.parametrize('name', ['default', 'forecaster', 'forecast'])
def test_a_shipped_model_is_of_its_recipe_as_it_is_now(request, name):
    """Whoever changes one makes the other again; `make accept` makes the forecaster."""
    path = session.resolve(f'builtin:{name}')
    about = forecasts.load(path, prove=False).about if name == 'forecast' else session.load(path, prove=False).bundle.manifest
    assert about.training.recipe == recipe.digest(request.config.rootpath / f'convert/recipes/{name}.yml')


def test_a_small_one_is_read(tmp_path):
    path = tmp_path / 'tiny.yml'
    path.write_text(GOOD)
    assert recipe.load(path).training.epochs == 1 and len(recipe.digest(path)) == 64


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('seed: 3', 'sead: 3', 'Object contains unknown field `sead`'),
        ('seed: 3', 'seed: many', 'Expected `int`, got `str` - at `$.seed`'),
        ('name: tiny', 'name: A name', "Expected `str` matching regex '^[a-z][a-z0-9_-]*$' - at `$.name`"),
        ('epochs: 1', 'epochs: 0', 'Expected `int` >= 1 - at `$.training.epochs`'),
        ('low: 600', 'low: 900', '$.calibration.ranges[1]: begins at 900 s, expected 600 s: ranges follow one another from 1 s to beyond a day'),
        ('86401', '86400', '$.calibration.ranges: end at 86400 s, expected beyond 86400 s'),
        ('step_seconds: 3600', 'step_seconds: 60', '$.calibration.ranges[1]: measured at 60 s, expected a step within 600 to 86401 s'),
        ('window_steps: 64', 'window_steps: 512', '$.training.window_steps: got 512, expected at most the 256 steps there are'),
        ('epochs: 1', 'fault_ranges: [3, 1]', '$.training.fault_ranges: got 3 and 1, expected the smaller one first'),
        ('epochs: 1', 'units: [64, 32]', '$.training.units: got 2, expected 1 for the LSTMs of family ensemble'),
        ('batch_series: 16', 'batch_series: 99', '$.training.batch_series: got 99, expected at most the 24 series there are'),
        ('{step_seconds: 60, steps: 256, entities: 24}', '[', 'while parsing a flow '),
        ('seed: 3', 'seed: 3\nseed: 4', "key 'seed' appears twice"),
    ],
)
def test_a_mistake_is_named(tmp_path, old, new, message):
    path = tmp_path / 'bad.yml'
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load(path)
    assert str(error.value).startswith(f'{path}: ') and message in str(error.value)


@pytest.mark.parametrize('text', ['1e-05', '1E-5', '1.e-5', '.1e-4', '0.00001'])
def test_a_number_is_one_however_tools_write_it(tmp_path, text):
    """As in the configuration of promlstm: JSON and helm write 1e-05, which YAML 1.1 takes for text."""
    path = tmp_path / 'tiny.yml'
    path.write_text(GOOD.replace('epochs: 1', f'epochs: 1\n  learning_rate: {text}'))
    assert recipe.load(path).training.learning_rate == pytest.approx(1e-5)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(recipe.RecipeError, match=r'none\.yml: cannot be read: No such file'):
        recipe.load(tmp_path / 'none.yml')


def test_what_a_recipe_leaves_out_is_as_in_the_shipped_one(tmp_path):
    """A recipe of a name and data is a whole recipe: how to train, calibrate and evaluate stands in the shipped recipe of its family."""
    path = tmp_path / 'mine.yml'
    path.write_text('name: mine\n')
    shipped = recipe.load('convert/recipes/default.yml')
    ours = recipe.load(path)
    assert (ours.training, ours.calibration, ours.evaluation, ours.seed) == (shipped.training, shipped.calibration, shipped.evaluation, shipped.seed)
    path.write_text('name: mine\nfamily: classifier\nseed: 9\n')
    assert recipe.load(path).training == recipe.load('convert/recipes/classifier.yml').training and recipe.load(path).seed == 9


OWN = GOOD + 'data: {config: promlstm.yml, spans: {train: [[0, 25d]], test: [[25d, 28d]]}}\n'.replace('25d', str(25 * 86400)).replace('28d', str(28 * 86400))


def test_spans_move_to_where_they_are_wanted(tmp_path):
    """A job that runs every month passes `--until today` and never edits its recipe; the distances stay."""
    path = tmp_path / 'own.yml'
    path.write_text(OWN)
    loaded, noon = recipe.load(path), 20_000.5 * 86400
    for until in ('today', '2024-10-04'):
        parts = recipe.moved(loaded, until, noon).data.spans
        assert parts.train == ((19_972 * 86400, 19_997 * 86400),) and parts.test == ((19_997 * 86400, 20_000 * 86400),)


def test_spans_that_cannot_move_are_an_error(tmp_path, capsys):
    """No spans, or no day."""
    path = tmp_path / 'own.yml'
    for text, until, message in ((GOOD, 'today', 'the recipe has no data section'), (OWN, 'monday', "expected an instant such as 2026-01-31")):
        path.write_text(text)
        assert main(['fetch', str(path), f'--until={until}']) == 1
        assert f'convert: --until: {message}' in capsys.readouterr().err
