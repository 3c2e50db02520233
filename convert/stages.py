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
import time
from collections.abc import Callable
from typing import NamedTuple

import google.protobuf.message
import onnx

from convert import calibrate, export, files, release, resume, train, verify, weights
from convert.data import collect, labelled, quality
from convert.evaluation import evaluate, gates, portions, report, review
from convert.families import ensemble, forecaster
from convert.families.registry import FAMILIES
from convert.job import STEP_SECONDS, TRAINED, WEIGHTS, Job, StageMissing, form, manifest, read, step, tools, training_of, write
from promlstm.engine import bundle

CALIBRATION_SEED, EVALUATION_SEED, CHOICE_SEED = 1_000_003, 2_000_003, 5_000_011     # added to the recipe's
JUDGED = {'train': train.PARTS, 'evaluate': ('test',)}        # stage: parts of the own data that it depends on
UNCALIBRATED = bundle.Calibration(status='none')
WITHOUT_LSTM = {'ensemble': ensemble.step, 'forecaster': forecaster.step}      # a rule that still judges when its network is left out
__all__ = ['CALIBRATION_SEED', 'CHOICE_SEED', 'EVALUATION_SEED', 'STAGES', 'UNCALIBRATED', 'Job', 'StageMissing', 'bare', 'run', 'run_all', 'training_of']


def run_fetch(job):
    """The recipe's data section: history, incidents, quality."""
    collect.stage(job.path, job.recipe.data, job.work, log=job.log)


def run_train(job):
    """Weights from synthetic telemetry and, where the recipe has a data section, from the team's own beside it."""
    train.train(job)


def run_export(job):
    """The graph in ONNX, under the contract's names."""
    model = export.export(step(job), form(job))
    with files.atomically(job.work / EXPORTED) as draft:
        draft.write_bytes(model.SerializeToString(deterministic=True))
    count = export.census(model, form(job))
    job.log(f'  {sum(count.values())} nodes, {count["LSTM"]} × LSTM, no Loop, {model.ByteSize()} bytes')


def run_verify(job):
    """TensorFlow = ONNX Runtime; the proof."""
    function = export.traced(step(job), form(job))
    worst = verify.verify(function, _graph(job), form(job))
    ranges = [(each.low, each.high) for each in job.recipe.calibration.ranges]
    write(job.work / 'proof.json', verify.proof_of(function, form(job), cases=verify.cases_of(*STEP_SECONDS, ranges)))
    job.log(f'  {verify.STEPS} carried steps, largest difference {max(worst.values()):.1g}, tolerance {verify.TOLERANCE:g}')


def run_calibrate(job):
    """Alarms per entity-week for each surprise."""
    table = calibrate.calibrate(bare(job), job.recipe.calibration, seed=job.recipe.seed + CALIBRATION_SEED, log=job.log, folder=job.data)
    write(job.work / 'calibration.json', table)


def run_evaluate(job):
    """What the model finds, beside the model in service and baselines."""
    session = _released(job, read(job.work / 'calibration.json', bundle.Calibration), {}, job.scratch / 'calibrated.onnx')
    without = without_lstm(job)
    compared = without if job.recipe.family in WITHOUT_LSTM else None
    key = resume.key(_made_from(job, 'evaluate'), _digest_in_service(job)) if job.part else ''
    shared = portions.Portions(job.work / 'parts' / key, job.part)
    sha256 = files.digest(job.work / 'graph.onnx')
    results = review.review(job, session, compared, sha256, seed=job.recipe.seed + EVALUATION_SEED, portions=shared)
    found = figures(session, without, job, results, shared)
    shared.check()
    if shared.whole:
        write(job.work / 'evaluation.json', found)


def run_release(job):
    """One file, if the gates let it pass."""
    verdicts = read(job.work / 'report.json', report.Verdicts).verdicts
    if reasons := gates.refusals(verdicts):
        if not job.force:
            raise gates.Refused('\n  '.join(['not released (--force releases it all the same):', *reasons]))
        job.log('  released by force: ' + '; '.join(reasons))
    evaluation = read(job.work / 'evaluation.json', dict[str, dict[str, float]])
    released = _released(job, read(job.work / 'calibration.json', bundle.Calibration), evaluation, job.out)
    job.log(f'  {job.out}: {released.bundle.size_bytes} bytes, sha256 {released.bundle.sha256}')


class Stage(NamedTuple):
    """A stage: its function, the files of the work folder that it needs, and those that it leaves."""

    run: Callable
    needs: tuple[str, ...]
    leaves: tuple[str, ...]


EXPORTED, VERIFIED, CALIBRATED = 'graph.onnx', 'proof.json', 'calibration.json'
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
    files.folder(job.work)
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
    files.folder(job.work)
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
    if stage == 'fetch' and chosen.data:
        own = files.digest(job.path.parent / chosen.data.config)
    elif stage in JUDGED and chosen.data:
        own = [each.digest(JUDGED[stage]) for each in collect.load(job.path, chosen.data, job.work / 'data')]
    recorded = files.digest(job.data) if job.data else ''
    service = job.service or str(job.out)
    parts = {
        'fetch': (quality.FORMAT, chosen.data, own),
        'train': (weights.FORMAT, chosen.training, own),
        'export': (),
        'verify': (bundle.FORMAT, [(each.low, each.high) for each in chosen.calibration.ranges]),
        'calibrate': (chosen.calibration, recorded if any(each.sets for each in chosen.calibration.ranges) else ''),
        'evaluate': (report.FORMAT, chosen.evaluation, chosen.gates, chosen.data, own, service, recorded),
        'release': (bundle.FORMAT, chosen.name, chosen.description, str(job.out), job.force),
    }
    needs = {name: files.digest(job.work / name) for name in STAGES[stage].needs}
    return resume.key(stage, chosen.family, chosen.seed, parts[stage], needs, tools() if stage != 'fetch' else {})


def figures(session, without, job, results, shared):
    """The figures of a model for its manifest: {set: {measure: figure}}.

    without  Session of the rule without LSTM
    results  benchmark.Results
    shared   portions.Portions: what is measured here
    """
    learning = job.work / 'learning.json'
    learnt = read(learning, dict[str, float]) if learning.exists() else {}
    out = {'training': {name: round(figure, 4) for name, figure in learnt.items()}} if learnt else {}
    out |= evaluate.injected(results)
    for number, folder in enumerate(labelled.sets(job.data) if job.data else ()):
        job.log(f'  {folder.name}:')
        measure = evaluate.recorded if evaluate.univariate(folder) else evaluate.several
        out[folder.name] = shared.figures(number, folder.name, functools.partial(measure, session, without, folder, log=job.log))
    return out


def bare(job):
    """The Session of a job's graph before its calibration: surprise without score."""
    return _released(job, UNCALIBRATED, {}, job.work / 'uncalibrated.onnx')


def without_lstm(job):
    """A Session of the family's rule without its LSTM; of a family that is nothing without it, the forecaster's, which forecasts "no change"."""
    family = job.recipe.family if job.recipe.family in WITHOUT_LSTM else 'forecaster'
    return rule(manifest(job, {}, family), job.scratch / 'without_lstm.onnx')


def rule(named, path):
    """Write the rule without its LSTM of the family that a manifest names, as a file with that manifest; its Session."""
    form = FAMILIES[named.family].form(None, FAMILIES[named.family].units)
    function = export.traced(functools.partial(WITHOUT_LSTM[named.family], None), form)
    return release.release(export.export(function, form, lstms=0), named, UNCALIBRATED, verify.proof_of(function, form), path)


def _graph(job):
    path = job.work / EXPORTED
    try:
        return onnx.load_from_string(path.read_bytes())
    except google.protobuf.message.DecodeError as error:
        raise StageMissing(f'{path}: damaged: {error}: run export again') from error


def _released(job, calibration, evaluation, path):
    proof = read(job.work / 'proof.json', bundle.Proof)
    return release.release(_graph(job), manifest(job, evaluation), calibration, proof, path)
