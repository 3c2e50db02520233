"""The families of models: what each graph takes and gives, how it learns, and what its numbers mean. One table, FAMILIES.

Who calls it: make (which family a recipe asks for), export and verify (the Form of a graph), wrap (a Form of its own). A new family is a
file with `states`, `network`, `step`, `examples`, `fit` and one row here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from convert.data import dataset, faults
from convert.families import autoencoder, classifier, daytime, ensemble, forecaster, patterns, scales, steps, training
from promlstm.engine import season
from promlstm.engine.bundle import Table


@dataclass(frozen=True)
class Form:
    """Which tensors a graph has, beside those that every graph has, and what is counted in it."""

    states: dict[str, tuple[str, int]]                      # name: (dtype, columns); each is [N, F, columns]
    warmup_steps: int                                       # samples of an entity before its first surprise
    lstms: int | None                                       # None: at least one
    wheres: int = 2                                         # missing samples, unknown seasons
    features: tuple[str, ...] | None = None                 # None: any number
    views: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ('value', 'season', 'step_seconds', 'learn', 'threshold')      # no clock: the seasonal memory tells the hour
    season_period_seconds: int = season.WEEK                # 0: no seasonal memory
    season_slots: int = season.WEEK // steps.SLOT_SECONDS
    season_horizons_steps: tuple[int, ...] = steps.HORIZONS
    tables: tuple[Table, ...] = ()                          # of the time of day
    replay_seconds: float = 0
    unit: tuple = field(default=(0.0, 1.0))                 # of the values that it is verified with: (shift, factor), each a number or one per feature

    @property
    def sizes(self):
        """{axis letter of bundle.INPUTS and OUTPUTS: size, None = any}."""
        return {
            'N': None, 'F': None if self.features is None else len(self.features), 'K': 1 + len(self.season_horizons_steps),
            'T': sum(len(table.reads) for table in self.tables), 'U': len(self.tables), 'V': len(self.views), '3': 3, '4': 4,
        }  # fmt: skip


class Trained(NamedTuple):
    """A trained network, the samples it saw in all epochs, and what was measured of it while it learnt."""

    network: Any
    entity_steps: int
    figures: dict[str, float]


@dataclass(frozen=True)
class Family:
    """How one family is made. `width` and `units` are the recipe's training.window_steps and training.units."""

    units: tuple            # of its LSTMs where a recipe says nothing
    form: Callable          # width, units -> Form
    network: Callable       # width, units -> the untrained network
    step: Callable          # network and the contract's inputs -> {output: tensor}
    examples: Callable      # synthesis.Batch, recipe.Training, generator of random numbers -> what there is to learn in it
    fit: Callable           # list of those, recipe.Training, seed, log, list of those that are not learnt from but say when to stop -> Trained
    meaning: str               # what its surprise and its expectation are, for the manifest


def _forecaster_fit(parts, settings, seed, log, validation=()):
    data, validated = training.together(parts), training.together(validation) if validation else None
    learning = {name: getattr(settings, name) for name in ('epochs', 'batch_series', 'window_steps', 'learning_rate')}
    network, figures, seen = training.fit(data, **learning, units=settings.units or forecaster.UNITS, seed=seed, log=log, validation=validated)
    return Trained(network, int(seen * settings.epochs * data[0].shape[0] * data[0].shape[1]), figures)


def _ensemble_fit(parts, settings, seed, log, validation=()):
    learning = {name: getattr(settings, name) for name in ('epochs', 'batch_series', 'window_steps', 'learning_rate')}
    network, figures, seen = patterns.fit(parts, **learning, units=settings.units or ensemble.UNITS, seed=seed, log=log, validation=validation)
    return Trained(network, int(seen * settings.epochs * sum(part.marks.size for part in parts)), figures)


def _by_series(mask):
    """bool [T, N, F] -> [S, T]."""
    return mask.reshape(len(mask), -1).T


def _autoencoder_examples(batch, settings, rng):
    return autoencoder.examples(training.observations(batch), _by_series(batch.faulty), settings.window_steps, rng)


def _classifier_examples(batch, settings, rng):
    """Labels: of synthetic telemetry its injected faults; of recorded telemetry the recipe's incidents, or faults that are injected here."""
    if not isinstance(batch, dataset.Recorded):
        labels, left_out = batch.faulty, None
    elif batch.labels is not None:
        labels, left_out = batch.labels, batch.faulty & ~batch.labels
    else:
        left_out = batch.faulty
        batch, labels = faults.into(batch, settings.faults_per_1000, tuple(faults.KINDS), rng, settings.fault_ranges)
    left_out = None if left_out is None else _by_series(left_out)
    return classifier.examples(training.observations(batch), _by_series(labels), settings.window_steps, rng, left_out)


def _ensemble_examples(batch, settings, rng):
    """Faults: of synthetic telemetry those that were injected; of recorded telemetry those that are injected here, and the recipe's incidents."""
    if not isinstance(batch, dataset.Recorded):
        return patterns.examples(batch, _by_series(batch.faulty))
    known = np.zeros(batch.faulty.shape, bool) if batch.labels is None else batch.labels
    left_out = batch.faulty & ~known
    batch, injected = faults.into(batch, settings.faults_per_1000, settings.fault_kinds, rng, settings.fault_ranges)
    return patterns.examples(batch, _by_series(injected | known), _by_series(left_out))


def _autoencoder_fit(parts, settings, seed, log, validation=()):
    validated = np.concatenate(validation) if validation else None
    network, figures = autoencoder.fit(np.concatenate(parts), settings, seed, log, validated)
    return Trained(network, int(settings.epochs * figures['windows'] * settings.window_steps), figures)


def _classifier_fit(parts, settings, seed, log, validation=()):
    joined, validated = ([np.concatenate(each) for each in zip(*some, strict=True)] for some in (parts, validation))
    network, figures = classifier.fit(joined, settings, seed, log, validated)
    return Trained(network, int(settings.epochs * figures['windows'] * settings.window_steps), figures)


FAMILIES = {
    'ensemble': Family(
        units=ensemble.UNITS,
        form=lambda width, units: Form(
            states=ensemble.states(units), warmup_steps=scales.WARMUP, views=ensemble.VIEWS, lstms=len(units), season_horizons_steps=(),
            tables=tuple(daytime.TABLES.values()), replay_seconds=2 * season.DAY,
            inputs=('value', 'season', 'table', 'local_seconds', 'step_seconds', 'learn', 'threshold'),
        ),
        network=lambda width, units: ensemble.Network(units),
        step=ensemble.step,
        examples=_ensemble_examples,
        fit=_ensemble_fit,
        meaning='surprise is the largest answer of simple views of the series in its own scales, or that of an LSTM that has learnt from injected faults',
    ),
    'forecaster': Family(
        units=forecaster.UNITS,
        form=lambda width, units: Form(states=forecaster.states(units), warmup_steps=steps.WARMUP, views=forecaster.VIEWS, lstms=len(units)),
        network=lambda width, units: forecaster.Network(units),
        step=forecaster.step,
        examples=lambda batch, settings, rng: training.examples(batch),
        fit=_forecaster_fit,
        meaning='',
    ),
    'autoencoder': Family(
        units=autoencoder.UNITS,
        form=lambda width, units: Form(states=autoencoder.states(width), warmup_steps=autoencoder.warmup_steps(width), lstms=2),
        network=autoencoder.network,
        step=autoencoder.step,
        examples=_autoencoder_examples,
        fit=_autoencoder_fit,
        meaning='expected is the reconstruction of the newest sample from a window that contains it; surprise is its error in usual errors of the series',
    ),
    'classifier': Family(
        units=classifier.UNITS,
        form=lambda width, units: Form(states=classifier.states(width), warmup_steps=classifier.warmup_steps(width), lstms=len(units)),
        network=classifier.network,
        step=classifier.step,
        examples=_classifier_examples,
        fit=_classifier_fit,
        meaning='surprise is the logit of the probability of an anomaly, clipped to -6 and 8, plus 6; nothing is expected, so there is no band and no latch',
    ),
}
FORECASTER = FAMILIES['forecaster'].form(None, forecaster.UNITS)
