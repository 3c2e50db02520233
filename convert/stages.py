"""From a recipe to a model file: the stages, in order. Each leaves its results in a work folder, so that the next can be run alone.

    fetch      data/                     the team's own telemetry, where the recipe has a data section, and a report of its quality
    train      weights.weights.h5, training.json, learning.json, training.log
    export     graph.onnx                the bare graph, its operators checked
    verify     proof.json                TensorFlow = ONNX Runtime
    calibrate  calibration.json          the file replayed over healthy telemetry
    evaluate   evaluation.json           injected faults, and labelled telemetry where a folder is given
               report.txt .json .html    the benchmark: beside baselines and the model in service, with the verdict of the gates
    release    NAME.onnx                 one file, read back, where the gates let it pass

`all` skips a stage whose recipe, data and tools have not changed since it ran (resume.py); a stage that is named is always run.

Seeds: the recipe's for training, others derived from it for calibration and evaluation, so that nothing is measured on training data.
"""

import functools
import hashlib
import importlib.metadata
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import keras
import msgspec
import numpy as np
import onnx
import tensorflow as tf

from convert import calibrate, export, files, progress, recipe, release, resume, verify
from convert.data import collect, quality, synthesis
from convert.errors import ConvertError
from convert.evaluation import evaluate, gates, report, review
from convert.families import forecaster
from convert.families.registry import FAMILIES
from convert.families.steps import WARMUP
from promlstm.engine import bundle
from promlstm.engine.session import resolve

CALIBRATION_SEED, EVALUATION_SEED = 1_000_003, 2_000_003     # added to the recipe's
REPLAY_STEPS = 400
STEP_SECONDS = (1, 86400)   # that a model may run at
OWN_SHARE = 2               # own history is at most this part of the synthetic series, so that the model does not overfit a small fleet
TOOLS = ('tensorflow-cpu', 'tensorflow', 'keras', 'tf2onnx', 'onnx', 'onnxruntime', 'numpy')
NO_SERVICE, DEFAULT = 'none', 'builtin:default'
UNCALIBRATED = bundle.Calibration(status='none')


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

    @property
    def in_service(self):
        """The file that the new model is compared with; None = there is none."""
        if self.service == NO_SERVICE:
            return None
        if self.service:
            return resolve(self.service)
        return self.out if self.out.exists() else resolve(DEFAULT)


def run_fetch(job):
    """The recipe's data section: history, incidents, quality."""
    collect.stage(job.path, job.recipe.data, job.work, log=job.log)


def run_train(job):
    """Weights from synthetic telemetry and, where the recipe has a data section, from the team's own beside it."""
    keras.utils.set_random_seed(job.recipe.seed)
    tf.config.experimental.enable_op_determinism()
    settings, digest, started = job.recipe.training, hashlib.sha256(), time.monotonic()
    family, rng = FAMILIES[job.recipe.family], np.random.default_rng(job.recipe.seed)
    elapsed = lambda: f'{time.monotonic() - started:.0f} s'     # noqa: E731 (twice below)
    examples = []
    telemetry = progress.track(enumerate(settings.telemetry), 'synthetic batches', total=len(settings.telemetry), log=job.log)
    for number, each in telemetry:
        batch = synthesis.batch(
            [job.recipe.seed, number],
            step_seconds=each.step_seconds,
            steps=each.steps,
            entities=each.entities,
            features=each.features,
            faults_per_1000=settings.faults_per_1000,
            history_days=(7, 1, 0)[number % 3],
        )
        digest.update(batch.values.tobytes())
        examples.append(family.examples(batch, settings, rng))
        job.log(f'  synthesised {batch.values.size} samples at {each.step_seconds:g} s, {elapsed()}')
    for dataset in collect.load(job.path, job.recipe.data, job.work / 'data') if job.recipe.data else ():
        digest.update(dataset.digest().encode())
        own, samples = _own_examples(job, dataset, rng)
        examples += own
        job.log(f'  own history of {dataset.detector}: {samples} samples to learn from, {elapsed()}')
    lines = []
    trained = family.fit(examples, settings, job.recipe.seed, lambda line: (lines.append(line), job.log(line)))
    with files.atomically(job.work / 'weights.weights.h5') as draft:
        trained.network.save_weights(draft)
    with files.atomically(job.work / 'training.log') as draft:
        draft.write_text('\n'.join(lines) + '\n')
    _write(job.work / 'learning.json', trained.figures)
    _write(
        job.work / 'training.json',
        bundle.Training(
            data=_data_text(job),
            digest=digest.hexdigest(),
            recipe=recipe.digest(job.path),
            seed=job.recipe.seed,
            entity_steps=trained.entity_steps,
            seconds=round(time.monotonic() - started, 1),
        ),
    )


def _own_examples(job, dataset, rng):
    """(examples, samples learnt from) of one detector's own history."""
    settings, family = job.recipe.training, FAMILIES[job.recipe.family]
    series = sum(each.entities * each.features for each in settings.telemetry) // OWN_SHARE
    examples, samples = [], 0
    batches = dataset.batches('train', steps=settings.telemetry[0].steps, series=series, seed=job.recipe.seed)
    for batch in progress.track(batches, f'batches of {dataset.detector}', log=job.log):
        examples.append(family.examples(batch, settings, rng))
        samples += int((~np.isnan(batch.values) & ~batch.faulty).sum())
    return examples, samples


def _data_text(job):
    """The training data in words, for the model card; what was excluded among them."""
    synthetic = 'synthetic telemetry (convert/data/synthesis.py)'
    if not job.recipe.data:
        return f'{synthetic}, nothing else'
    return f'{synthetic} and own history of ' + '; '.join(map(_history_text, collect.reports_of(job.work / 'data')))


def _history_text(report):
    """One detector's history, and what of it was excluded from training."""
    excluded = ', '.join(f'{each.samples} samples by {each.source} ({each.why})' for each in report.excluded)
    return f'{report.detector} ({report.samples["train"]} samples, excluded: {excluded or "none"})'


def run_export(job):
    """The graph in ONNX, under the contract's names."""
    model = export.export(_step(job), _form(job))
    with files.atomically(job.work / 'graph.onnx') as draft:
        onnx.save(model, draft)
    count = export.census(model, _form(job))
    job.log(f'  {sum(count.values())} nodes, {count["LSTM"]} × LSTM, no Loop, {model.ByteSize()} bytes')


def run_verify(job):
    """TensorFlow = ONNX Runtime; the proof."""
    worst = verify.verify(_step(job), onnx.load(job.work / 'graph.onnx'), _form(job))
    ranges = [(each.low, each.high) for each in job.recipe.calibration.ranges]
    _write(job.work / 'proof.json', verify.proof_of(_step(job), _form(job), cases=verify.cases_of(*STEP_SECONDS, ranges)))
    job.log(f'  {verify.STEPS} carried steps, largest difference {max(worst.values()):.1g}, tolerance {verify.TOLERANCE:g}')


def run_calibrate(job):
    """Alarms per entity-week for each surprise."""
    table = calibrate.calibrate(bare(job), job.recipe.calibration, seed=job.recipe.seed + CALIBRATION_SEED, log=job.log)
    _write(job.work / 'calibration.json', table)


def run_evaluate(job):
    """What the model finds, beside the model in service and baselines."""
    session = _released(job, _read(job.work / 'calibration.json', bundle.Calibration), {}, job.work / 'calibrated.onnx')
    without = without_lstm(job)
    compared = without if job.recipe.family == 'forecaster' else None
    results = review.review(job, session, compared, files.digest(job.work / 'graph.onnx'), seed=job.recipe.seed + EVALUATION_SEED)
    _write(job.work / 'evaluation.json', figures(session, without, job, results))


def run_release(job):
    """One file, if the gates let it pass."""
    verdicts = _read(job.work / 'report.json', report.Verdicts).verdicts
    if reasons := gates.refusals(verdicts):
        if not job.force:
            raise gates.Refused('\n  '.join(['not released (--force releases it all the same):', *reasons]))
        job.log('  released by force: ' + '; '.join(reasons))
    evaluation = _read(job.work / 'evaluation.json', dict[str, dict[str, float]])
    released = _released(job, _read(job.work / 'calibration.json', bundle.Calibration), evaluation, job.out)
    job.log(f'  {job.out}: {released.bundle.size_bytes} bytes, sha256 {released.bundle.sha256}')


class Stage(NamedTuple):
    """A stage: its function, the files of the work folder that it needs, and those that it leaves."""

    run: Callable
    needs: tuple[str, ...]
    leaves: tuple[str, ...]


TRAINED, EXPORTED, VERIFIED, CALIBRATED = 'training.json', 'graph.onnx', 'proof.json', 'calibration.json'
WEIGHTS = 'weights.weights.h5'
STAGES = {
    'fetch': Stage(run_fetch, (), ('data/quality.json',)),
    'train': Stage(run_train, (), (WEIGHTS, TRAINED, 'learning.json', 'training.log')),
    'export': Stage(run_export, (WEIGHTS,), (EXPORTED,)),
    'verify': Stage(run_verify, (WEIGHTS, EXPORTED), (VERIFIED,)),
    'calibrate': Stage(run_calibrate, (TRAINED, EXPORTED, VERIFIED), (CALIBRATED,)),
    'evaluate': Stage(
        run_evaluate, (TRAINED, EXPORTED, VERIFIED, CALIBRATED), ('evaluation.json', 'report.json', 'report.txt', 'report.html')
    ),
    'release': Stage(run_release, (TRAINED, EXPORTED, VERIFIED, CALIBRATED, 'evaluation.json', 'report.json'), ()),
}


def run(job, names):
    """Run stages in their order, and say how long each took; StageMissing where one has nothing to build on."""
    job.work.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for name in names:
        stage = STAGES[name]
        if missing := [need for need in stage.needs if not (job.work / need).exists()]:
            raise StageMissing(f'{name}: {job.work / missing[0]} is not there yet: run the stages before this one first')
        begun = time.monotonic()
        job.log(f'{name}: {stage.run.__doc__}')
        stage.run(job)
        job.log(f'{name}: {time.monotonic() - begun:.0f} s')
    if len(names) > 1:
        job.log(f'{job.recipe.name}: {time.monotonic() - started:.0f} s in all')


def run_all(job, names=None):
    """Run all stages (or those named, in their order), but skip those that are up to date; says so where nothing changed."""
    job.work.mkdir(parents=True, exist_ok=True)
    ran = []
    for name in names or STAGES:
        made_from = _made_from(job, name)
        compared_with = _digest_in_service(job) if name == 'evaluate' else ''
        if resume.unchanged(job.work, name, made_from) and _same_service(job, name):
            continue
        run(job, (name,))
        ran.append(name)
        note = files.digest(job.out) if name == 'release' else compared_with
        resume.record(job.work, name, _made_from(job, name), STAGES[name].leaves, note)
    if not ran and not names:
        job.log(f'{job.recipe.name}: nothing changed: {job.out}, sha256 {files.digest(job.out)}')
    return ran


def _same_service(job, stage):
    """Whether the model in service is the one that the evaluation compared with, or the one that was released after it."""
    if stage not in ('evaluate', 'release'):
        return True
    evaluated, released = (resume.recorded(job.work, name) for name in ('evaluate', 'release'))
    if stage == 'release':
        return bool(released) and released.note == files.digest(job.out)
    return _digest_in_service(job) in {evaluated.note, released.note if released else evaluated.note}


def _digest_in_service(job):
    return files.digest(job.in_service) if job.in_service else ''


def _made_from(job, stage):
    """Digest of all that a stage depends on: its part of the recipe, the files of earlier stages, data, tools."""
    chosen, own = job.recipe, ''
    if stage in ('fetch', 'train') and chosen.data:
        fetched = () if stage == 'fetch' else collect.load(job.path, chosen.data, job.work / 'data')
        own = [each.digest() for each in fetched] or files.digest(job.path.parent / chosen.data.config)
    labelled = files.digest(job.data) if job.data else ''
    service = job.service or str(job.out)
    parts = {
        'fetch': (quality.FORMAT, chosen.data, own),
        'train': (chosen.training, own),
        'export': (),
        'verify': (bundle.FORMAT, [(each.low, each.high) for each in chosen.calibration.ranges]),
        'calibrate': (chosen.calibration,),
        'evaluate': (report.FORMAT, chosen.evaluation, chosen.gates, chosen.data, service, labelled),
        'release': (bundle.FORMAT, chosen.name, chosen.description, str(job.out), job.force),
    }
    needs = {name: files.digest(job.work / name) for name in STAGES[stage].needs}
    return resume.key(stage, chosen.family, chosen.seed, parts[stage], needs, tools() if stage != 'fetch' else {})


def figures(session, without, job, results):
    """The figures of a model for its manifest: {set: {measure: figure}}.

    without  Session of the rule without LSTM
    results  benchmark.Results
    """
    learning = job.work / 'learning.json'
    learnt = _read(learning, dict[str, float]) if learning.exists() else {}
    out = {'training': {name: round(figure, 4) for name, figure in learnt.items()}} if learnt else {}
    out |= evaluate.injected(results)
    for folder in sorted(job.data.iterdir()) if job.data else ():
        job.log(f'  {folder.name}:')
        measure = evaluate.recorded if evaluate.univariate(folder) else evaluate.several
        out[folder.name] = measure(session, without, folder, log=job.log)
    return out


def bare(job):
    """The Session of a job's graph before its calibration: surprise without score."""
    return _released(job, UNCALIBRATED, {}, job.work / 'uncalibrated.onnx')


def training_of(job):
    """bundle.Training that a job left."""
    return _read(job.work / 'training.json', bundle.Training)


def without_lstm(job):
    """A Session of the forecaster's rule that forecasts "no change"."""
    step = functools.partial(forecaster.step, None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'without_lstm.onnx'
        return release.release(export.export(step, lstms=0), manifest(job, {}, 'forecaster'), UNCALIBRATED, verify.proof_of(step), path)


def manifest(job, evaluation, family=None):
    """bundle.Manifest of the recipe's family, or of another by name."""
    family = family or job.recipe.family
    form = FAMILIES[family].form(*_size(job, family))
    return bundle.Manifest(
        format=bundle.FORMAT,
        name=job.recipe.name,
        family=family,
        description='; '.join(filter(None, (job.recipe.description, FAMILIES[family].meaning))),
        created=now(),
        features=form.features,
        views=form.views,
        step_seconds=STEP_SECONDS,
        warmup_steps=form.warmup_steps,
        replay_steps=REPLAY_STEPS + form.warmup_steps - WARMUP,
        season_period_seconds=form.season_period_seconds,
        season_slots=form.season_slots,
        season_horizons_steps=form.season_horizons_steps,
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


def _released(job, calibration, evaluation, path):
    proof = _read(job.work / 'proof.json', bundle.Proof)
    return release.release(onnx.load(job.work / 'graph.onnx'), manifest(job, evaluation), calibration, proof, path)


def _form(job):
    return FAMILIES[job.recipe.family].form(*_size(job))


def _size(job, family=None):
    """(window, units) of the recipe's family, or of another by name, which then has its own units."""
    settings, family = job.recipe.training, family or job.recipe.family
    own = settings.units and family == job.recipe.family
    return settings.window_steps, settings.units if own else FAMILIES[family].units


def _step(job):
    family = FAMILIES[job.recipe.family]
    network = family.network(*_size(job))
    weights = job.work / 'weights.weights.h5'
    try:
        network.load_weights(weights)
    except ValueError as error:     # as many layers or other shapes
        raise StageMissing(f'{weights} is of another network than the recipe names (its family, window or units have changed): run train again') from error
    return functools.partial(family.step, network)


def _installed(name):
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


def _write(path, value):
    with files.atomically(path) as draft:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b'\n')


def _read(path, kind):
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise StageMissing(f'{path}: {error}: run the stage that made it again') from error
