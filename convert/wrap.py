"""Make a model file of a Keras model that was trained elsewhere: its scaling, its window and the meaning of its output go into the graph.

    python -m convert wrap their.keras --scaling scaling.yml --step 60s --out their.onnx

It takes a `.keras` file or a SavedModel folder with one input [batch, window, features] and one output:

    probability     [batch, 1] or [batch]          of an anomaly in the window; surprise is its logit, clipped and moved to begin at 0
    reconstruction  [batch, window, features]      surprise is the error of the newest sample, in usual errors of that feature
    forecast        [batch, features]              of the next step, compared with it when it comes; surprise likewise

The graph keeps the last samples of an entity, scaled, as its memory; a missing sample is replaced by the one before. What cannot be wrapped
is refused with the reason. No code in the model's file is run: no pickle, no Lambda, no class that is not Keras' own; of a SavedModel, which
is a program, no operation that reads or writes anything but tensors.

The result is verified against Keras like any other graph, and calibrated by replay: on synthetic telemetry in the model's own unit, which
shows how often it alarms where nothing is wrong but not how features depend on each other; or, better, on labelled telemetry.
"""

import functools
import hashlib
from pathlib import Path

import msgspec
import numpy as np
import tensorflow as tf

from convert import calibrate, export, job, progress, release, stages, verify
from convert.data import labelled, synthesis
from convert.evaluation import replay
from convert.evaluation.measures import DAY
from convert.external import OUTPUTS, REMEDY, WrapError, read, scaling
from convert.families import forecaster, steps, window
from promlstm.engine import bundle

__all__ = ['WrapError', 'read', 'scaling', 'step', 'wrap']

MEANINGS = {
    'probability': 'surprise is the logit of the probability, clipped to -6 and 8, plus 6; nothing is expected, so there is no band and no latch',
    'reconstruction': 'expected is the reconstruction of the newest sample from a window that contains it; surprise is its error in usual errors',
    'forecast': 'expected is the forecast made one step before; surprise is its error in usual errors',
}
LARGEST = 1e6               # of a scaled sample
LARGEST_BYTES = 64_000_000
ENTITIES, STEPS = 128, 2000             # replayed for a calibration on synthetic telemetry


def step(model, value, ring, count, step_seconds=None, learn=None, threshold=None, error=None):
    """One step of N entities with F features, the whole of the contract; ring float32 [N, F, W] of scaled samples, count and error [N, F, S]."""
    shift, factor = (np.array([getattr(scale, name) for scale in model.scaling.values()], np.float64) for name in ('shift', 'factor'))
    features, width = len(shift), model.width
    rows = tf.shape(value)[0] * features
    flat = lambda x, size=1: tf.reshape(x, [rows, size])                            # noqa: E731
    back = lambda x: tf.reshape(x, [-1, features, x.shape[-1]])                     # noqa: E731
    column = lambda x: tf.reshape(x, [-1, features])                                # noqa: E731
    each = lambda x: flat(tf.repeat(x, features))                                   # noqa: E731
    present = 1 - tf.cast(tf.math.is_nan(value), tf.float32)
    scaled = tf.cast(tf.clip_by_value((tf.where(tf.math.is_nan(value), tf.zeros_like(value) + shift, value) - shift) / factor, -LARGEST, LARGEST), tf.float32)
    sample = present * scaled + (1 - present) * ring[:, :, -1]
    full = tf.cast(tf.reduce_min(count[:, :, 0], 1, keepdims=True) >= width, tf.float32)      # before this sample
    after = tf.minimum(flat(count) + flat(present), 1e6)
    reset = tf.cast(steps.new_normal(each(learn)), tf.float32) if learn is not None else tf.zeros_like(after)
    moved = window.rolled(flat(ring, width), flat(sample), reset)
    none = tf.zeros_like(value) * np.nan
    out = {'season_next': none, 'state_ring_next': back(moved), 'state_count_next': back(after)}
    if model.output == 'probability':
        judged = full * tf.reduce_max(present, 1, keepdims=True)
        surprise = window.odds(window.logit(tf.reshape(_called(model, back(moved)), [-1, 1]))) + steps.nan_unless(judged)
        share = tf.cast(none, tf.float32)
        return {**out, 'surprise': surprise[:, 0], 'contribution': share, 'expected': none, 'lower': none, 'upper': none, 'deviation': none}
    made = flat(_called(model, back(moved) if model.output == 'reconstruction' else ring))
    usual, whole = flat(error, 2), flat(present * full)
    off = flat(sample) - made
    judged = column(whole * window.enough_errors(usual))
    reach = window.error_at(each(threshold), usual)
    gap = tf.cast(steps.nan_unless(judged), tf.float64)
    expected, lower, upper = (shift + factor * tf.cast(column(y), tf.float64) + gap for y in (made, made - reach, made + reach))
    combined = forecaster.combine(column(window.surprise(off, usual)), judged, features)
    return {
        **out, 'surprise': combined['surprise'], 'contribution': combined['contribution'], 'expected': expected, 'lower': lower, 'upper': upper,
        'deviation': shift + factor * tf.cast(sample, tf.float64) - expected,
        'state_error_next': back(window.updated_error(off, usual, whole * tf.minimum(each(learn), 1), step_seconds)),
    }  # fmt: skip


def _called(model, ring):
    """The output of the model for the windows in a ring [N, F, W]; of a reconstruction the newest step."""
    found = tf.cast(model.call(tf.transpose(ring, [0, 2, 1])), tf.float32)
    return found[:, -1] if model.output == 'reconstruction' else found


def wrap(model, path, *, step_seconds, name, description='', healthy='synthetic', log=print):
    """Write the model file; returns the promlstm.engine.session.Session that read it back.

    step_seconds  (lowest, highest) step that the model was made for
    healthy       what to calibrate on: 'synthetic', 'none', or a folder of labelled telemetry (labelled.py), whose healthy time counts
    raises        WrapError, export.ExportError, verify.VerifyError, calibrate.CalibrationError, ReleaseError, BundleError
    """
    recordings = [] if healthy in ('none', 'synthetic') else _recordings(model, Path(healthy), step_seconds)  # refused before minutes of work
    log(f'{model.source}: {model.output} from windows of {model.width} steps of {len(model.scaling)} features')
    made = export.traced(functools.partial(step, model), model.form)
    try:
        graph = export.export(made, model.form)
    except export.ExportError as error:
        raise WrapError(f'{model.source}: {error}: {REMEDY}') from error
    worst = verify.verify(made, graph, model.form)
    log(f'  {verify.STEPS} carried steps, largest difference from Keras {max(worst.values()):.1g}, tolerance {verify.TOLERANCE:g}')
    proof = verify.proof_of(made, model.form, cases=verify.cases_of(*step_seconds))
    manifest = _manifest(model, name, description, step_seconds)
    path = Path(path)
    write = functools.partial(release.release, graph, manifest, proof=proof, largest_bytes=LARGEST_BYTES)
    if healthy == 'none':
        loaded = write(calibration=stages.UNCALIBRATED, path=path)
        log('  not calibrated: a replay gives its surprise without a score, and `promlstm run` refuses the file')
        return loaded
    draft = path.with_name(f'.{path.name}.uncalibrated')
    try:
        table = calibrated(write(calibration=stages.UNCALIBRATED, path=draft), model, step_seconds, healthy, recordings, log)
    finally:
        draft.unlink(missing_ok=True)
    return write(calibration=table, path=path)


def _manifest(model, name, description, step_seconds):
    source, form = model.source, model.form
    files = sorted(file for file in source.rglob('*') if file.is_file()) if source.is_dir() else [source]
    digest = hashlib.sha256(b''.join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()
    training = bundle.Training(
        data=f'trained elsewhere, wrapped from {source.name}',
        digest=digest,
        recipe=hashlib.sha256(msgspec.json.encode(model.scaling)).hexdigest(),
        seed=0,
        entity_steps=0,
        seconds=0,
    )
    return bundle.Manifest(
        format=bundle.FORMAT,
        name=name,
        family=OUTPUTS[model.output],
        description='; '.join(filter(None, (description, MEANINGS[model.output]))),
        created=job.now(),
        features=form.features,
        views=(),
        step_seconds=step_seconds,
        warmup_steps=form.warmup_steps,
        replay_steps=form.warmup_steps + job.REPLAY_STEPS,
        season_period_seconds=0,
        season_slots=0,
        season_horizons_steps=(),
        forecast_horizons_seconds=(),
        training=training,
        tools=job.tools(),
        evaluation={},
    )


def calibrated(session, model, step_seconds, healthy, recordings, log):
    """bundle.Calibration by replay of the file over healthy telemetry in the model's own unit."""
    low, high = step_seconds
    replayed = float(np.sqrt(low * high))       # seconds
    if healthy == 'synthetic':
        scores, source = _synthetic(session, model, replayed, log), 'healthy synthetic telemetry in the unit of the model'
    else:
        scores, replayed, source = _labelled(session, recordings), recordings[0].step_seconds, f'what is not labelled in {Path(healthy).name}'
    row = calibrate.row(calibrate.table(scores, replayed), klass=0, step_seconds=replayed, low=low, high=high + 1)
    weeks = float(np.count_nonzero(~np.isnan(scores)) * replayed / (7 * DAY))
    first, last = row.alarms_per_entity_week[0], row.alarms_per_entity_week[-1]
    log(f'  calibrated on {weeks:.0f} entity-weeks of {source}: from {first:.3g} to {last:.3g} alarms a week')
    return bundle.Calibration(status='measured', source=f'{source}, replayed at a step of {replayed:g} s', entity_weeks=round(weeks, 1), rows=(row,))


def _synthetic(session, model, step_seconds, log):
    features = len(model.scaling)
    batch = synthesis.batch(stages.CALIBRATION_SEED, step_seconds=step_seconds, steps=STEPS, entities=ENTITIES, features=features)
    centre, spread = (np.array(each) for each in zip(*(scale.usual for scale in model.scaling.values()), strict=True))
    deviation = batch.values - np.nanmean(batch.values, 0)
    values = centre + spread * deviation / np.maximum(np.nanstd(deviation, 0), 1e-12)
    show = functools.partial(progress.track, what='steps replayed', total=STEPS, log=log)
    return replay.surprises(session, batch.times, values, step_seconds=step_seconds, progress=show)


def _recordings(model, folder, step_seconds):
    """The labelled.Recordings of a folder; WrapError where they are not of what the model was made for."""
    found, (low, high) = labelled.read(folder), step_seconds
    features, seconds = found[0].values.shape[1], found[0].step_seconds
    if features != len(model.scaling):
        raise WrapError(f'{folder}: {features} features, the model has {len(model.scaling)}')
    if not low <= seconds <= high:
        raise WrapError(f'{folder}: telemetry at steps of {seconds:g} s, the model is for {low:g} to {high:g} s')
    return found


def _labelled(session, recordings):
    """Scores of what is not labelled [T, N]."""
    times, values, first = labelled.together(recordings)
    scores = replay.surprises(session, times, values, step_seconds=recordings[0].step_seconds)
    healthy = np.full(scores.shape, np.nan, np.float32)
    for n, recording in enumerate(recordings):
        rows = first[n] + recording.place[~recording.labels]
        healthy[rows, n] = scores[rows, n]
    return healthy
