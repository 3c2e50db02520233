"""From a recipe to a model file: the stages, in order, each leaving what it made in a work folder so that the next can be run alone.

    fetch      data/                     the team's own telemetry, where the recipe has a data section, and its quality
    train      weights.weights.h5, training.json, learning.json
    export     graph.onnx                the bare graph, operators counted
    verify     proof.json                TensorFlow = ONNX Runtime
    calibrate  calibration.json          the file replayed over healthy telemetry
    evaluate   evaluation.json           injected faults, and labelled telemetry where a folder is given
               report.txt .json .html    the contest: beside baselines and the model in service (convert/evaluation/benchmark.py), and what the gates say
    release    NAME.onnx                 one file, read back, where the gates let it pass

`all` leaves out what was made from the same recipe, data and tools before (convert/resume.py); a stage that is named is always run.

Seeds: the recipe's for training, others derived from it for calibration and evaluation, so that nothing is measured on what was learnt.
"""

import functools
import hashlib
import importlib.metadata
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import keras
import msgspec
import numpy as np
import onnx
import tensorflow as tf

from convert import calibrate, export, files, recipe, release, resume, verify
from convert.data import collect, synthesis
from convert.evaluation import evaluate, gates, report, review
from convert.families import forecaster
from convert.families.registry import FAMILIES
from convert.families.steps import WARMUP
from promlstm.engine import bundle
from promlstm.engine.session import resolve

CALIBRATION_SEED, EVALUATION_SEED = 1_000_003, 2_000_003     # added to the recipe's
REPLAY_STEPS = 400
OWN_SHARE = 2               # own history is at most this part of the synthetic series, so that a small fleet is not learnt by heart
TOOLS = ('tensorflow-cpu', 'tensorflow', 'keras', 'tf2onnx', 'onnx', 'onnxruntime', 'numpy')
NOBODY, DEFAULT = 'none', 'builtin:default'
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
    service: str | None = None  # the model in service, a file or builtin:NAME; NOBODY; None = what lies at `out`, else the default model
    force: bool = False         # release whatever the gates say

    @property
    def in_service(self):
        """The file that what is made is compared with; None = there is none."""
        if self.service == NOBODY:
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
    for each in collect.load(job.path, job.recipe.data, job.work / 'data') if job.recipe.data else ():
        digest.update(each.digest().encode())
        samples = 0
        series = sum(one.entities * one.features for one in told.telemetry) // OWN_SHARE
        for batch in each.batches('train', steps=told.telemetry[0].steps, series=series, seed=job.recipe.seed):
            parts.append(family.examples(batch, told, rng))
            samples += int((~np.isnan(batch.values) & ~batch.faulty).sum())
        job.log(f'  own history of {each.detector}: {samples} samples to learn from, {time.monotonic() - started:.0f} s')
    said = []
    learnt = family.fit(parts, told, job.recipe.seed, lambda line: (said.append(line), job.log(line)))
    with files.atomically(job.work / 'weights.weights.h5') as draft:
        learnt.network.save_weights(draft)
    (job.work / 'training.log').write_text('\n'.join(said) + '\n')
    _write(job.work / 'learning.json', learnt.figures)
    training = bundle.Training(
        data=_learnt_from(job), digest=digest.hexdigest(), recipe=recipe.digest(job.path),
        seed=job.recipe.seed, entity_steps=learnt.entity_steps, seconds=round(time.monotonic() - started, 1),
    )  # fmt: skip
    _write(job.work / 'training.json', training)


def _learnt_from(job):
    """The data in words, for the model card; what was excluded among them."""
    if not job.recipe.data:
        return 'synthetic telemetry (convert/synthesis.py), nothing else'
    return 'synthetic telemetry (convert/synthesis.py) and own history of ' + '; '.join(map(_told, collect.reports_of(job.work / 'data')))


def _told(quality):
    """One detector's history, and what of it did not teach."""
    out = [f'{each.samples} samples by {each.source} ({each.why})' for each in quality.excluded]
    return f'{quality.detector} ({quality.samples["train"]} samples, excluded: {", ".join(out) or "none"})'


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
    _write(job.work / 'proof.json', verify.proof_of(_step(job), _form(job)))
    job.log(f'  {verify.STEPS} carried steps, largest difference {max(worst.values()):.1g}, tolerance {verify.TOLERANCE:g}')


def run_calibrate(job):
    """Alarms per entity-week for each surprise."""
    session = _released(job, UNCALIBRATED, {}, job.work / 'uncalibrated.onnx')
    _write(job.work / 'calibration.json', calibrate.calibrate(session, job.recipe.calibration, seed=job.recipe.seed + CALIBRATION_SEED, log=job.log))


def run_evaluate(job):
    """What it finds."""
    session = _released(job, _read(job.work / 'calibration.json', bundle.Calibration), {}, job.work / 'calibrated.onnx')
    rival = without_lstm(job)
    same = rival if job.recipe.family == 'forecaster' else None
    results = review.review(job, session, same, files.digest(job.work / 'graph.onnx'), seed=job.recipe.seed + EVALUATION_SEED)
    _write(job.work / 'evaluation.json', measured(session, rival, job, results))


def run_release(job):
    """One file, if the gates let it pass."""
    found = _read(job.work / 'report.json', report.Judged)
    if reasons := gates.refusals(found.verdicts):
        if not job.force:
            raise gates.Refused('\n  '.join(['not released (--force releases it all the same):', *reasons]))
        job.log('  released by force: ' + '; '.join(reasons))
    figures = _read(job.work / 'evaluation.json', dict[str, dict[str, float]])
    released = _released(job, _read(job.work / 'calibration.json', bundle.Calibration), figures, job.out)
    job.log(f'  {job.out}: {released.bundle.size_bytes} bytes, sha256 {released.bundle.sha256}')


# name: (function, what the ones before must have left)
STAGES = {
    'fetch': (run_fetch, ()),
    'train': (run_train, ()),
    'export': (run_export, ('weights.weights.h5',)),
    'verify': (run_verify, ('weights.weights.h5', 'graph.onnx')),
    'calibrate': (run_calibrate, ('training.json', 'graph.onnx', 'proof.json')),
    'evaluate': (run_evaluate, ('training.json', 'graph.onnx', 'proof.json', 'calibration.json')),
    'release': (run_release, ('training.json', 'graph.onnx', 'proof.json', 'calibration.json', 'evaluation.json', 'report.json')),
}
LEFT = {
    'fetch': ('data/quality.json',), 'train': ('weights.weights.h5', 'training.json', 'learning.json', 'training.log'), 'export': ('graph.onnx',),
    'verify': ('proof.json',), 'calibrate': ('calibration.json',), 'evaluate': ('evaluation.json', 'report.json', 'report.txt', 'report.html'), 'release': (),
}  # fmt: skip


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


def run_all(job, stages=None):
    """All stages (or those named, in their order), but for those that were made from the same before; says so where nothing changed."""
    job.work.mkdir(parents=True, exist_ok=True)
    ran = []
    for name in stages or STAGES:
        made_from, note = _made_from(job, name), _digest_in_service(job) if name == 'evaluate' else ''
        if resume.unchanged(job.work, name, made_from) and _serves_the_same(job, name):
            continue
        run(job, (name,))
        ran.append(name)
        resume.record(job.work, name, _made_from(job, name), LEFT[name], files.digest(job.out) if name == 'release' else note)
    if not ran and not stages:
        job.log(f'{job.recipe.name}: nothing changed: {job.out}, sha256 {files.digest(job.out)}')
    return ran


def _serves_the_same(job, stage):
    """Whether what is in service is what the evaluation was held against, or what was released after it."""
    if stage not in ('evaluate', 'release'):
        return True
    held, released = (resume.recorded(job.work, name) for name in ('evaluate', 'release'))
    if stage == 'release':
        return bool(released) and released.note == files.digest(job.out)
    return _digest_in_service(job) in {held.note, released.note if released else held.note}


def _digest_in_service(job):
    return files.digest(job.in_service) if job.in_service else ''


def _made_from(job, stage):
    """Digest of all that a stage is made from: its part of the recipe, the files of the stages before, data, tools."""
    told, own = job.recipe, ''
    if stage in ('fetch', 'train') and told.data:
        fetched = () if stage == 'fetch' else collect.load(job.path, told.data, job.work / 'data')
        own = [each.digest() for each in fetched] or files.digest(job.path.parent / told.data.config)
    parts = {
        'fetch': (told.data, own), 'train': (told.training, own), 'export': (), 'verify': (), 'calibrate': (told.calibration,),
        'evaluate': (told.evaluation, told.gates, told.data, job.service or str(job.out), files.digest(job.data) if job.data else ''),
        'release': (told.name, told.description, str(job.out), job.force),
    }  # fmt: skip
    needs = {name: files.digest(job.work / name) for name in STAGES[stage][1]}
    return resume.key(stage, told.family, told.seed, parts[stage], needs, tools() if stage != 'fetch' else {})


def measured(session, rival, job, results):
    """All figures of a model: {set: {measure: figure}}; rival is a Session without LSTM, results are those of the contest."""
    learnt = _read(job.work / 'learning.json', dict[str, float]) if (job.work / 'learning.json').exists() else {}
    out = {'training': {name: round(figure, 4) for name, figure in learnt.items()}} if learnt else {}
    out |= evaluate.injected(results)
    for folder in sorted(job.data.iterdir()) if job.data else ():
        job.log(f'  {folder.name}:')
        measure = evaluate.recorded if evaluate.univariate(folder) else evaluate.several
        out[folder.name] = measure(session, rival, folder, log=job.log)
    return out


def bare(job):
    """The Session of a job's graph before its calibration: surprise without score."""
    return _released(job, UNCALIBRATED, {}, job.work / 'uncalibrated.onnx')


def training_of(job):
    """bundle.Training that a job left."""
    return _read(job.work / 'training.json', bundle.Training)


def without_lstm(job):
    """A Session of the forecaster's rule with "no change" for a forecast."""
    step = functools.partial(forecaster.step, None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'without_lstm.onnx'
        return release.release(export.export(step, lstms=0), manifest(job, {}, 'forecaster'), UNCALIBRATED, verify.proof_of(step), path)


def manifest(job, evaluation, family=None):
    """bundle.Manifest of the recipe's family, or of another by name."""
    family = family or job.recipe.family
    form = FAMILIES[family].form(*_size(job, family))
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
    return FAMILIES[job.recipe.family].form(*_size(job))


def _size(job, family=None):
    """(window, units) of the recipe's family, or of another by name, which then has its own units."""
    told, family = job.recipe.training, family or job.recipe.family
    return told.window_steps, told.units if told.units and family == job.recipe.family else FAMILIES[family].units


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
    return msgspec.json.decode(path.read_bytes(), type=kind)
