"""The recipe of a model: what to synthesise, how long to train, what to measure it on. Strict YAML; unknown keys are refused.

    recipe = recipe.load('convert/recipes/default.yml')

A recipe may leave out seed, training, calibration and evaluation: it then has those of the shipped recipe of its family. What is left are
ten lines: a name, and where the data is.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml

from convert.data import faults, incidents, spans
from convert.errors import ConvertError
from convert.evaluation.gates import Gates
from promlstm import strict_yaml
from promlstm.config import Duration, seconds

SHIPPED = {family: Path(__file__).with_name('recipes') / f'{name}.yml' for family, name in
           (('ensemble', 'default'), ('forecaster', 'forecaster'), ('autoencoder', 'autoencoder'), ('classifier', 'classifier'))}  # fmt: skip
LAYERS = {'ensemble': 1, 'forecaster': 2, 'autoencoder': 1, 'classifier': 2}     # LSTMs whose size a recipe sets; the two of an autoencoder have the same
BORROWED = {'seed', 'training', 'calibration', 'evaluation'}      # what a recipe may leave out

FAULT_KINDS = ('spike', 'shift', 'ramp', 'drop_to_zero', 'flat_line', 'drift', 'lost_season', 'variance')      # that a recipe injects where it names none

CLASS_FEATURES = (1, 4, 9, 20, 40)      # of an entity of each class: 1 feature, 2-4, 5-9, 10-24, more (families.forecaster.CLASSES)

Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Seconds = Annotated[float, msgspec.Meta(ge=1, le=86400)]


class RecipeError(ConvertError):
    """The recipe cannot be used as it stands: the message names the file and the key."""


class Telemetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One batch of synthetic telemetry (convert.data.synthesis.batch)."""

    step_seconds: Seconds
    steps: Count
    entities: Count
    features: Count = 1


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the weights are learnt."""

    telemetry: tuple[Telemetry, ...]    # all of equally many steps
    faults_per_1000: Share = 0.3        # injected per 1000 samples: masked, but for a classifier, whose labels they are
    fault_kinds: tuple[Literal[tuple(faults.KINDS)], ...] = FAULT_KINDS
    fault_ranges: tuple[Positive, Positive] | None = None       # least and most size, in usual ranges of the day before; none = any (data/faults.py)
    window_steps: Annotated[int, msgspec.Meta(ge=8)] = 128      # how far back a gradient reaches; of an autoencoder or classifier: its window
    units: tuple[Count, ...] = ()       # of each LSTM; none = those of the family (docs/explanation/families.md)
    batch_series: Count = 96
    epochs: Count = 2
    learning_rate: Positive = 0.003


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Steps from `low` (included) to `high` (not) share the calibration that was measured at `telemetry.step_seconds`."""

    low: Seconds
    high: Annotated[float, msgspec.Meta(gt=1)]
    telemetry: Telemetry
    sets: tuple[str, ...] = ()      # labelled sets whose healthy time is replayed in place of synthetic telemetry, where a folder has them


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is replayed to count the alarms of a healthy fleet; samples are those of all features together."""

    ranges: tuple[Range, ...]
    class_features: tuple[Count, ...] = CLASS_FEATURES      # features of an entity in each class; those that are left out are of this list


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Injected faults: that many of each kind, at each step."""

    telemetry: tuple[Telemetry, ...]


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A team's own telemetry (docs/reference/recipe.md): the exporter's detectors, absolute spans of time, what is excluded from training."""

    config: str                                     # the exporter's own configuration, relative to the recipe
    detectors: tuple[str, ...] = ()                 # names; none = all
    spans: spans.Parts
    files: dict[str, tuple[str, ...]] = {}          # detector: CSV or Parquet, relative to the recipe, in place of Prometheus
    exclude: incidents.Exclude = incidents.Exclude()
    labels: tuple[incidents.ByHand, ...] = ()       # known incidents: the labels of a classifier; other families do not train on them


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of it."""

    name: Annotated[str, msgspec.Meta(pattern='^[a-z][a-z0-9_-]*$')]
    description: str = ''
    family: Literal['ensemble', 'forecaster', 'autoencoder', 'classifier'] = 'ensemble'       # docs/explanation/families.md compares them
    seed: Annotated[int, msgspec.Meta(ge=0)]
    data: Data | None = None
    training: Training
    calibration: Calibration
    evaluation: Evaluation
    gates: Gates = Gates()


def load(path):
    """The Recipe in a file; RecipeError says what is wrong and where."""
    def made(tree):
        tree = _completed(tree)
        return _fitting(msgspec.convert(tree, Recipe, dec_hook=written), tree)

    recipe = read(path, made)
    check_data(path, recipe.data)
    _check_training(path, recipe.family, recipe.training)
    _check_ranges(path, recipe.calibration.ranges)
    return recipe


def read(path, made):
    """What `made` gives of the YAML in a file; RecipeError where it cannot be read, or is no such thing."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise RecipeError(f'{path}: cannot be read: {error.strerror}') from error
    try:
        return made(strict_yaml.load(data))
    except (msgspec.DecodeError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f'{path}: {" ".join(str(error).split())}') from error


def family_of(path):
    """The family that a recipe names, as it is written; None where it names none or cannot be read, of which `load` says more."""
    try:
        tree = strict_yaml.load(Path(path).read_bytes())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return tree.get('family') if isinstance(tree, dict) else None


def _completed(tree):
    """The parsed YAML of a recipe, with the sections that it leaves out from the shipped recipe of its family."""
    if not isinstance(tree, dict) or BORROWED.issubset(tree):
        return tree
    shipped = SHIPPED.get(tree.get('family', 'ensemble'))
    base = strict_yaml.load(shipped.read_bytes()) if shipped else {}
    return {key: base[key] for key in BORROWED if key in base} | tree


def _fitting(recipe, tree):
    """The recipe with batches no larger than its number of series, where it does not set batch_series."""
    if 'batch_series' in tree.get('training', {}):
        return recipe
    training = recipe.training
    most = min(training.batch_series, sum(each.entities * each.features for each in training.telemetry))
    return msgspec.structs.replace(recipe, training=msgspec.structs.replace(training, batch_series=max(1, most)))


def written(kind, value):
    """Decode the types that msgspec does not know."""
    if kind is spans.Instant:
        return spans.instant(value)
    if kind is Duration:
        return Duration(seconds(value))
    raise NotImplementedError(kind)


def check_data(path, data):
    """RecipeError where the section on history has spans or labels that cannot be; data: a Data or None."""
    if not data:
        return
    try:
        spans.check(data.spans)
        incidents.by_hand(data.exclude.by_hand)
        incidents.by_hand(data.labels, 'labels')
    except spans.DataError as error:
        raise RecipeError(f'{path}: $.data.{error}') from error


def _check_training(path, family, training):
    if training.units and len(training.units) != LAYERS[family]:
        raise RecipeError(f'{path}: $.training.units: got {len(training.units)}, expected {LAYERS[family]} for the LSTMs of family {family}')
    if training.fault_ranges and training.fault_ranges[0] >= training.fault_ranges[1]:
        low, high = training.fault_ranges
        raise RecipeError(f'{path}: $.training.fault_ranges: got {low:g} and {high:g}, expected the smaller one first')
    lengths = {each.steps for each in training.telemetry}
    if len(lengths) != 1:
        raise RecipeError(f'{path}: $.training.telemetry: steps are {sorted(lengths)}, expected equally many everywhere')
    if max(lengths) < training.window_steps:
        raise RecipeError(f'{path}: $.training.window_steps: got {training.window_steps}, expected at most the {max(lengths)} steps there are')
    series = sum(each.entities * each.features for each in training.telemetry)
    if series < training.batch_series:
        raise RecipeError(f'{path}: $.training.batch_series: got {training.batch_series}, expected at most the {series} series there are')


def _check_ranges(path, ranges):
    """RecipeError where the ranges do not cover all steps from a second to a day, one after the other."""
    reached, rule = 1.0, 'ranges follow one another from 1 s to beyond a day'
    for number, each in enumerate(ranges):
        where = f'{path}: $.calibration.ranges[{number}]'
        if each.low != reached:
            raise RecipeError(f'{where}: begins at {each.low:g} s, expected {reached:g} s: {rule}')
        if not each.low <= each.telemetry.step_seconds < each.high:
            raise RecipeError(f'{where}: measured at {each.telemetry.step_seconds:g} s, expected a step within {each.low:g} to {each.high:g} s')
        reached = each.high
    if not reached > 86400:
        raise RecipeError(f'{path}: $.calibration.ranges: end at {reached:g} s, expected beyond 86400 s: {rule}')


def moved(recipe, until, now):
    """A Recipe whose spans are moved so that the last ends at `until` (spans.day); exclusions and labels stay where they were."""
    if not recipe.data:
        raise RecipeError('--until: the recipe has no data section, so it has no spans to move')
    try:
        parts = spans.moved(recipe.data.spans, spans.day(until, now))
    except ValueError as error:
        raise RecipeError(f'--until: {error}') from error
    return msgspec.structs.replace(recipe, data=msgspec.structs.replace(recipe.data, spans=parts))


def digest(path):
    """sha256 of the file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
