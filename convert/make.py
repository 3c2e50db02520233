"""From a recipe to a model file: the stages, in order, each leaving what it made in a work folder so that the next can be run alone.

    fetch      data/                     the team's own telemetry, where the recipe has a data section, and its quality
    train      weights.weights.h5, training.json, learning.json
    export     graph.onnx                the bare graph, operators counted
    verify     proof.json                TensorFlow = ONNX Runtime
    calibrate  calibration.json          the file replayed over healthy telemetry
    evaluate   evaluation.json           injected faults, and labelled telemetry where a folder is given
    release    NAME.onnx                 one file, read back

Seeds: the recipe's for training, others derived from it for calibration and evaluation, so that nothing is measured on what was learnt.
"""

import functools
import hashlib
import importlib.metadata
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import keras
import msgspec
import numpy as np
import onnx
import tensorflow as tf

from convert import calibrate, evaluate, export, forecaster, gather, recipe, release, synthesis, verify
from convert.family import FAMILIES
from convert.steps import WARMUP
from promlstm import bundle

CALIBRATION_SEED, EVALUATION_SEED = 1_000_003, 2_000_003     # added to the recipe's
REPLAY_STEPS = 400
TOOLS = ('tensorflow-cpu', 'tensorflow', 'keras', 'tf2onnx', 'onnx', 'onnxruntime', 'numpy')
UNCALIBRATED = bundle.Calibration(status='none')


@dataclass(frozen=True)
class Job:
    """What is made, from what, where to, and whom to tell."""

    path: Path                  # of the recipe
    recipe: recipe.Recipe
    work: Path
    out: Path
    data: Path | None           # labelled sets to evaluate on
    log: object                 # function of a line of text


def run_fetch(job):
    """The recipe's data section: history, incidents, quality."""
    gather.stage(job.path, job.recipe.data, job.work, log=job.log)


def run_train(job):
    """Weights from synthetic telemetry alone."""
    keras.utils.set_random_seed(job.recipe.seed)
    tf.config.experimental.enable_op_determinism()
    told, digest, parts, started = job.recipe.training, hashlib.sha256(), [], time.monotonic()
    family, rng = FAMILIES[job.recipe.family], np.random.default_rng(job.recipe.seed)
    for number, each in enumerate(told.telemetry):
        batch = synthesis.batch(
            [job.recipe.seed, number], step_seconds=each.step_seconds, steps=each.steps, entities=each.entities, features=each.features,
            faults_per_1000=told.faults_per_1000, history_days=(7, 1, 0)[number % 3],
        )  # fmt: skip
        digest.update(batch.values.tobytes())
        parts.append(family.examples(batch, told, rng))
        job.log(f'  synthesised {batch.values.size} samples at {each.step_seconds:g} s, {time.monotonic() - started:.0f} s')
    learnt = family.fit(parts, told, job.recipe.seed, job.log)
    learnt.network.save_weights(job.work / 'weights.weights.h5')
    _write(job.work / 'learning.json', learnt.figures)
    training = bundle.Training(
        data='synthetic telemetry (convert/synthesis.py), nothing else', digest=digest.hexdigest(), recipe=recipe.digest(job.path),
        seed=job.recipe.seed, entity_steps=learnt.entity_steps, seconds=round(time.monotonic() - started, 1),
    )  # fmt: skip
    _write(job.work / 'training.json', training)


def run_export(job):
    """The graph in ONNX, under the contract's names."""
    model = export.export(_step(job), _form(job))
    onnx.save(model, job.work / 'graph.onnx')
    count = export.census(model, _form(job))
    job.log(f'  {sum(count.values())} nodes, {count["LSTM"]} × LSTM, no Loop, {model.ByteSize()} bytes')


def run_verify(job):
    """TensorFlow = ONNX Runtime; the proof."""
    worst = verify.verify(_step(job), onnx.load(job.work / 'graph.onnx'), _form(job))
    _write(job.work / 'proof.json', verify.proof_of(_step(job), _form(job)))
    job.log(f'  {verify.STEPS} carried steps, largest difference {max(worst.values()):.1g}, tolerance {verify.TOLERANCE:g}')


def run_calibrate(job):
    """Alarms per entity-week for each surprise."""
    session = _released(job, UNCALIBRATED, {}, job.work / 'uncalibrated.onnx')
    _write(job.work / 'calibration.json', calibrate.calibrate(session, job.recipe.calibration, seed=job.recipe.seed + CALIBRATION_SEED, log=job.log))


def run_evaluate(job):
    """What it finds."""
    session = _released(job, _read(job.work / 'calibration.json', bundle.Calibration), {}, job.work / 'calibrated.onnx')
    _write(job.work / 'evaluation.json', measured(session, job))


def run_release(job):
    """One file."""
    figures = _read(job.work / 'evaluation.json', dict[str, dict[str, float]])
    session = _released(job, _read(job.work / 'calibration.json', bundle.Calibration), figures, job.out)
    job.log(f'  {job.out}: {session.bundle.size_bytes} bytes, sha256 {session.bundle.sha256}')


# name: (function, what the ones before must have left)
STAGES = {
    'fetch': (run_fetch, ()),
    'train': (run_train, ()),
    'export': (run_export, ('weights.weights.h5',)),
    'verify': (run_verify, ('weights.weights.h5', 'graph.onnx')),
    'calibrate': (run_calibrate, ('training.json', 'graph.onnx', 'proof.json')),
    'evaluate': (run_evaluate, ('training.json', 'graph.onnx', 'proof.json', 'calibration.json')),
    'release': (run_release, ('training.json', 'graph.onnx', 'proof.json', 'calibration.json', 'evaluation.json')),
}


class StageMissing(Exception):
    """A stage was asked for before the ones that it builds on."""


def run(job, stages):
    """Run stages in their order, and say how long each took; StageMissing where one has nothing to build on."""
    job.work.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for name in stages:
        stage, needs = STAGES[name]
        if missing := [need for need in needs if not (job.work / need).exists()]:
            raise StageMissing(f'{name}: {job.work / missing[0]} is not there yet: run the stages before this one first')
        begun = time.monotonic()
        job.log(f'{name}: {stage.__doc__}')
        stage(job)
        job.log(f'{name}: {time.monotonic() - begun:.0f} s')
    if len(stages) > 1:
        job.log(f'{job.recipe.name}: {time.monotonic() - started:.0f} s in all')


def measured(session, job):
    """All figures of a model: {set: {measure: figure}}."""
    plain = functools.partial(release.release, manifest=manifest(job, {}, 'forecaster'), calibration=UNCALIBRATED)
    rival = evaluate.without_lstm(lambda model, path: plain(model, proof=verify.proof_of(functools.partial(forecaster.step, None)), path=path))
    learnt = _read(job.work / 'learning.json', dict[str, float]) if (job.work / 'learning.json').exists() else {}
    out = {'training': {name: round(figure, 4) for name, figure in learnt.items()}} if learnt else {}
    for each in job.recipe.evaluation.telemetry:
        name = f'injected_{each.step_seconds:g}s'
        job.log(f'  {name}: recall at one false alarm per entity-week')
        out[name] = evaluate.injected(session, rival, each, seed=job.recipe.seed + EVALUATION_SEED, log=job.log)
    for folder in sorted(job.data.iterdir()) if job.data else ():
        job.log(f'  {folder.name}:')
        measure = evaluate.recorded if evaluate.univariate(folder) else evaluate.several
        out[folder.name] = measure(session, rival, folder, log=job.log)
    return out


def manifest(job, evaluation, family=None):
    """bundle.Manifest of the recipe's family, or of another by name."""
    family = family or job.recipe.family
    form = FAMILIES[family].form(job.recipe.training.window_steps)
    training = _read(job.work / 'training.json', bundle.Training)
    return bundle.Manifest(
        format=bundle.FORMAT, name=job.recipe.name, family=family, description='; '.join(filter(None, (job.recipe.description, FAMILIES[family].says))),
        created=now(), features=form.features, views=form.views, step_seconds=(1, 86400),
        warmup_steps=form.warmup_steps, replay_steps=REPLAY_STEPS + form.warmup_steps - WARMUP, season_period_seconds=form.season_period_seconds,
        season_slots=form.season_slots, season_horizons_steps=form.season_horizons_steps, forecast_horizons_seconds=(), training=training,
        tools=tools(), evaluation=evaluation,
    )  # fmt: skip


def now():
    """The present as a manifest has it."""
    return datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')


def tools():
    """{package: version} of what makes a model."""
    return {name: importlib.metadata.version(name) for name in TOOLS if _installed(name)}


def _released(job, calibration, evaluation, path):
    proof = _read(job.work / 'proof.json', bundle.Proof)
    return release.release(onnx.load(job.work / 'graph.onnx'), manifest(job, evaluation), calibration, proof, path)


def _form(job):
    return FAMILIES[job.recipe.family].form(job.recipe.training.window_steps)


def _step(job):
    family = FAMILIES[job.recipe.family]
    network = family.network(job.recipe.training.window_steps)
    network.load_weights(job.work / 'weights.weights.h5')
    return functools.partial(family.step, network)


def _installed(name):
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


def _write(path, value):
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b'\n')


def _read(path, kind):
    return msgspec.json.decode(path.read_bytes(), type=kind)
