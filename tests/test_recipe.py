"""A recipe is strict: one mistake, one message that names the file and the key."""

import pytest

from convert import recipe

GOOD = """\
name: tiny
description: as small as it gets
seed: 3
training:
  telemetry:
    - {step_seconds: 60, steps: 256, entities: 24}
  window_steps: 64
  batch_series: 16
  epochs: 1
calibration:
  class_features: [1, 3]
  ranges:
    - {low: 1, high: 600, telemetry: {step_seconds: 300, steps: 700, entities: 64}}
    - {low: 600, high: 86401, telemetry: {step_seconds: 3600, steps: 700, entities: 64}}
evaluation:
  telemetry:
    - {step_seconds: 300, steps: 1200, entities: 32}
"""


def test_the_default_recipe_is_one(request):
    told = recipe.load(request.config.rootpath / 'convert/recipes/default.yml')
    assert told.name == 'default' and told.calibration.class_features[0] == 1


def test_a_small_one_is_read(tmp_path):
    path = tmp_path / 'tiny.yml'
    path.write_text(GOOD)
    assert recipe.load(path).training.epochs == 1 and len(recipe.digest(path)) == 64


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('seed: 3', 'sead: 3', 'Object contains unknown field `sead`'),
        ('seed: 3', 'seed: many', 'Expected `int`, got `str` - at `$.seed`'),
        ('seed: 3', '', 'Object missing required field `seed`'),
        ('name: tiny', 'name: A name', "Expected `str` matching regex '^[a-z][a-z0-9_-]*$' - at `$.name`"),
        ('epochs: 1', 'epochs: 0', 'Expected `int` >= 1 - at `$.training.epochs`'),
        ('low: 600', 'low: 900', '$.calibration.ranges[1]: begins at 900 s, expected 600 s, where the one before ended'),
        ('86401', '86400', '$.calibration.ranges: end at 86400 s, expected beyond 86400 s'),
        ('step_seconds: 3600', 'step_seconds: 60', '$.calibration.ranges[1]: measured at 60 s, expected a step within 600 to 86401 s'),
        ('window_steps: 64', 'window_steps: 512', '$.training.window_steps: got 512, expected at most the 256 steps there are'),
        ('batch_series: 16', 'batch_series: 99', '$.training.batch_series: got 99, expected at most the 24 series there are'),
        ('{step_seconds: 60, steps: 256, entities: 24}', '[', 'while parsing a flow '),
    ],
)
def test_a_mistake_is_named(tmp_path, old, new, message):
    path = tmp_path / 'bad.yml'
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load(path)
    assert str(error.value).startswith(f'{path}: ') and message in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(recipe.RecipeError, match=r'none\.yml: cannot be read: No such file'):
        recipe.load(tmp_path / 'none.yml')
