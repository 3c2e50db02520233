"""What is made, from what and where to, and what a job leaves in its work folder: the parts that several stages share.

Who calls it: stages, train, wrap and quantize (for what they put into a manifest). It runs no stage.
"""

import functools
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from convert import files, recipe, weights
from convert.data.parts import Part
from convert.errors import ConvertError
from convert.families.registry import FAMILIES
from convert.families.steps import WARMUP
from promlstm.engine import bundle
from promlstm.engine.session import resolve

REPLAY_STEPS = 400
STEP_SECONDS = (1, 86400)   # that a model may run at
TOOLS = ('tensorflow-cpu', 'tensorflow', 'keras', 'tf2onnx', 'onnx', 'onnxruntime', 'numpy')
NO_SERVICE, DEFAULT = 'none', 'builtin:default'
TRAINED, WEIGHTS = 'training.json', 'weights.weights.h5'


class StageMissing(ConvertError):
    """A stage was asked for before the ones that it builds on, or their files are of another recipe or version."""


@dataclass(frozen=True)
class Job:
    """What is made, from what and where to."""

    path: Path                  # of the recipe
    recipe: recipe.Recipe
    work: Path
    out: Path
    data: Path | None           # labelled sets to evaluate on
    log: Callable               # function of a line of text
    service: str | None = None  # the model in service, a file or builtin:NAME; NO_SERVICE; None = the file at `out`, else the default model
    force: bool = False         # release whatever the gates say
    part: Part | None = None    # of the evaluation, where several processes share it

    @property
    def in_service(self):
        """The file that the new model is compared with; None = there is none."""
        if self.service == NO_SERVICE:
            return None
        if self.service:
            return resolve(self.service)
        return self.out if self.out.exists() else resolve(DEFAULT)

    @property
    def scratch(self):
        """Folder for files that no other stage needs; each of several processes has its own."""
        return self.work if self.part is None or self.part.number is None else self.part.folder(self.work)


def training_of(job):
    """bundle.Training that a job left."""
    return read(job.work / TRAINED, bundle.Training)


def manifest(job, evaluation, family=None):
    """bundle.Manifest of the recipe's family, or of another by name."""
    family = family or job.recipe.family
    made = FAMILIES[family].form(*size(job, family))
    return bundle.Manifest(
        format=bundle.FORMAT,
        name=job.recipe.name,
        family=family,
        description='; '.join(filter(None, (job.recipe.description, FAMILIES[family].meaning))),
        created=now(),
        features=made.features,
        views=made.views,
        step_seconds=STEP_SECONDS,
        warmup_steps=made.warmup_steps,
        replay_steps=REPLAY_STEPS + made.warmup_steps - WARMUP,
        season_period_seconds=made.season_period_seconds,
        season_slots=made.season_slots,
        season_horizons_steps=made.season_horizons_steps,
        tables=made.tables,
        replay_seconds=made.replay_seconds,
        forecast_horizons_seconds=(),
        training=training_of(job),
        tools=tools(),
        evaluation=evaluation,
    )


def now():
    """The current time as a manifest has it."""
    return datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')


def tools():
    """{package: version} of what makes a model."""
    return {name: importlib.metadata.version(name) for name in TOOLS if _installed(name)}


def form(job):
    """The Form of a job's graph."""
    return FAMILIES[job.recipe.family].form(*size(job))


def size(job, family=None):
    """(window, units) of the recipe's family, or of another by name, which then has its own units."""
    settings, family = job.recipe.training, family or job.recipe.family
    own = settings.units and family == job.recipe.family
    return settings.window_steps, settings.units if own else FAMILIES[family].units


def step(job):
    """The step function of a job's trained network."""
    family = FAMILIES[job.recipe.family]
    network = family.network(*size(job))
    try:
        weights.load(network, job.work / WEIGHTS)
    except weights.WeightsError as error:
        raise StageMissing(str(error)) from error
    return functools.partial(family.step, network)


def _installed(name):
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


def write(path, value):
    """Write a value as JSON, whole or not at all."""
    with files.atomically(path) as draft:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b'\n')


def read(path, kind):
    """A value of a type out of a file; StageMissing where the file is of another version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise StageMissing(f'{path}: {error}: run the stage that made it again') from error
