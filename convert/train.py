"""The stage `train`: weights from synthetic telemetry and, where the recipe has a data section, from the team's own beside it.

The spans `validate` of the own data are not learnt from: where the loss on them has stopped falling, training stops, and the weights of its
lowest value are kept. Without them the weights are those of the end.

    weights.weights.h5, training.json, learning.json, training.log
"""

import hashlib
import time

import keras
import numpy as np
import tensorflow as tf

from convert import files, progress, recipe, weights
from convert.data import collect, synthesis
from convert.families.registry import FAMILIES
from convert.job import TRAINED, WEIGHTS, write
from promlstm.engine import bundle

OWN_SHARE = 2               # own history is at most this part of the synthetic series, so that the model does not overfit a small fleet
VALIDATED = 128             # series of validation data at most, of each detector: it is looked at many times
PARTS = ('train', 'validate')       # of the own data that training depends on


def train(job):
    """Weights from synthetic telemetry and, where the recipe has a data section, from the team's own beside it."""
    keras.utils.set_random_seed(job.recipe.seed)
    tf.config.experimental.enable_op_determinism()
    settings, digest, started = job.recipe.training, hashlib.sha256(), time.monotonic()
    family, rng = FAMILIES[job.recipe.family], np.random.default_rng(job.recipe.seed)
    elapsed = lambda: f'{time.monotonic() - started:.0f} s'     # noqa: E731 (twice below)
    examples, validation = [], []
    telemetry = progress.track(enumerate(settings.telemetry), 'synthetic batches', total=len(settings.telemetry), log=job.log)
    for number, each in telemetry:
        batch = synthesis.batch(
            [job.recipe.seed, number],
            step_seconds=each.step_seconds,
            steps=each.steps,
            entities=each.entities,
            features=each.features,
            faults_per_1000=settings.faults_per_1000,
            fault_kinds=settings.fault_kinds,
            fault_ranges=settings.fault_ranges,
            history_days=(7, 1, 0)[number % 3],
        )
        digest.update(batch.values.tobytes())
        examples.append(family.examples(batch, settings, rng))
        job.log(f'  synthesised {batch.values.size} samples at {each.step_seconds:g} s, {elapsed()}')
    for dataset in collect.load(job.path, job.recipe.data, job.work / 'data') if job.recipe.data else ():
        digest.update(dataset.digest(PARTS).encode())
        series = sum(each.entities * each.features for each in settings.telemetry) // OWN_SHARE
        own, samples = _own_examples(job, dataset, 'train', series, rng)
        examples += own
        job.log(f'  own history of {dataset.detector}: {samples} samples to learn from, {elapsed()}')
        if dataset.parts.validate:
            held, samples = _own_examples(job, dataset, 'validate', VALIDATED, np.random.default_rng([job.recipe.seed, 1]))
            validation += held
            job.log(f'  own history of {dataset.detector}: {samples} samples of spans.validate say when to stop, {elapsed()}')
    lines = []
    trained = family.fit(examples, settings, job.recipe.seed, lambda line: (lines.append(line), job.log(line)), validation)
    weights.save(trained.network, job.work / WEIGHTS)
    with files.atomically(job.work / 'training.log') as draft:
        draft.write_text('\n'.join(lines) + '\n')
    write(job.work / 'learning.json', trained.figures)
    write(
        job.work / TRAINED,
        bundle.Training(
            data=_data_text(job),
            digest=digest.hexdigest(),
            recipe=recipe.digest(job.path),
            seed=job.recipe.seed,
            entity_steps=trained.entity_steps,
            seconds=round(time.monotonic() - started, 1),
        ),
    )


def _own_examples(job, dataset, part, series, rng):
    """(examples, samples in them that count) of one detector's own history in the spans of a part."""
    settings, family = job.recipe.training, FAMILIES[job.recipe.family]
    examples, samples = [], 0
    batches = dataset.batches(part, steps=settings.telemetry[0].steps, series=series, seed=job.recipe.seed)
    for batch in progress.track(batches, f'batches of {dataset.detector}', log=job.log):
        examples.append(family.examples(batch, settings, rng))
        samples += int((~np.isnan(batch.values) & ~batch.faulty).sum())
    return examples, samples


def _data_text(job):
    """The training data in words, for the model card; what was excluded among them."""
    synthetic = 'synthetic telemetry (convert/data/synthesis.py, Apache-2.0)'
    if not job.recipe.data:
        return f'{synthetic}, nothing else'
    return f'{synthetic} and own history of ' + '; '.join(map(_history_text, collect.reports_of(job.work / 'data')))


def _history_text(report):
    """One detector's history, and what of it was excluded from training."""
    excluded = ', '.join(f'{each.samples} samples by {each.source} ({each.why})' for each in report.excluded)
    return f'{report.detector} ({report.samples["train"]} samples, excluded: {excluded or "none"})'
