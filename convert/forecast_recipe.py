"""The recipe of a forecast model: what to synthesise, how long to train, what it has to be better than. Strict YAML; unknown keys are refused.

    recipe = forecast_recipe.load('convert/recipes/forecast.yml')

Like other recipes it may have a section `data`, a team's own history, and leave out seed, training, evaluation and gates: it then has those that ship.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from convert import recipe
from convert.recipe import Count, Seconds
from promlstm import strict_yaml

FAMILY = 'forecast'
SHIPPED = Path(__file__).with_name('recipes') / 'forecast.yml'
BORROWED = ('seed', 'training', 'evaluation', 'gates')
Ratio = Annotated[float, msgspec.Meta(gt=0)]


class Telemetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One batch of synthetic telemetry (convert.forecasts.telemetry.batch), and from how many instants each series is forecast."""

    step_seconds: Seconds
    days: Annotated[float, msgspec.Meta(ge=3)]
    series: Annotated[int, msgspec.Meta(ge=10)]
    instants: Count


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the weights are learnt."""

    telemetry: tuple[Telemetry, ...]
    sets: tuple[str, ...] = ()          # labelled sets whose healthy time is learnt from as well, where a folder has them: every other entity
    set_instants: Count = 100           # of each of their series
    epochs: Count = 8
    batch_rows: Count = 512
    learning_rate: Ratio = 0.003


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Synthetic telemetry of another seed, each series forecast from so many instants."""

    telemetry: tuple[Telemetry, ...]


class Gates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a model must keep to be released: on telemetry it has not learnt from, at each horizon that is judged."""

    error_ratio: Ratio = 0.95           # of the better of "the same as a day ago" and "no change", mean absolute error
    coverage_ratio: tuple[float, float] = (0.7, 0.9)


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of it."""

    name: Annotated[str, msgspec.Meta(pattern='^[a-z][a-z0-9_-]*$')]
    family: Literal['forecast']
    description: str = ''
    seed: Annotated[int, msgspec.Meta(ge=0)]
    data: recipe.Data | None = None
    training: Training
    evaluation: Evaluation
    gates: Gates = Gates()


def load(path):
    """The Recipe in a file; RecipeError says what is wrong and where."""
    found = recipe.read(path, lambda tree: msgspec.convert(_completed(tree), Recipe, dec_hook=recipe.written))
    recipe.check_data(path, found.data)
    return found


def _completed(tree):
    """The tree with what the shipped recipe has, where it has none."""
    if not isinstance(tree, dict):
        return tree
    shipped = strict_yaml.load(SHIPPED.read_bytes())
    return {key: shipped[key] for key in BORROWED if key in shipped} | tree
