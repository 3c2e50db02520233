"""From a recipe to a model file that forecasts: the parts, in order.

    fetch      data/                    a team's own telemetry, where the recipe has a data section
    train      forecast.weights.h5      from synthetic telemetry, recorded sets and own history; then the factors of the widths, from other such examples
    export     the graph in ONNX, its operators checked; TensorFlow = ONNX Runtime on the cases of the proof
    evaluate   beside "the same as a day ago" and "no change", on telemetry that was not learnt from
    release    the file, where the gates let it pass
"""

import hashlib
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from convert import files, forecast_file, job, progress, weights
from convert import recipe as recipes
from convert.data import collect, labelled
from convert.evaluation.gates import Refused
from convert.forecasts import contract, measure, network, recorded, telemetry, training, widths
from convert.forecasts.examples import examples, joined
from convert.forecasts.forecaster import Forecaster
from promlstm.engine import bundle
from promlstm.forecasts import model as model_file

WEIGHTS = 'forecast.weights.h5'
JUDGED_SECONDS = (3600, 86400)              # horizons that the gates look at
HORIZONS_SECONDS = (300, 3600, 6 * 3600, 86400, 7 * 86400)
LEAST_SERIES = 20           # of telemetry that the gates judge: of fewer, chance decides
EVALUATION_SEED, WIDTHS_SEED = 2_000_003, 3_000_017         # added to the recipe's
SHARE_OF_WIDTHS = 4         # of the synthetic series of the recipe, one in so many measures how wide the intervals have to be
OWN_SERIES = 400            # of own history that are learnt from, of each detector


class Order(NamedTuple):
    """What is made, from what and where to."""

    path: Path              # of the recipe
    recipe: object          # forecast_recipe.Recipe
    work: Path
    out: Path
    data: Path | None
    log: object             # function of a line of text
    force: bool = False


def make(order):
    """Write the model file of a recipe; Refused where the gates do not let it pass."""
    files.folder(order.work)
    chosen, begun = order.recipe, time.monotonic()
    if chosen.data:
        collect.stage(order.path, chosen.data, order.work, log=order.log)
    keras.utils.set_random_seed(chosen.seed)
    tf.config.experimental.enable_op_determinism()
    data, words, digest = _learnt_from(order)
    rows = len(data['target'])
    order.log(f'{rows} examples of {data["target"].shape[1]} horizons, {time.monotonic() - begun:.0f} s')
    settings = chosen.training
    net = training.fit(
        data, epochs=settings.epochs, batch_rows=settings.batch_rows, learning_rate=settings.learning_rate, seed=chosen.seed, log=order.log
    )
    net.factors.assign(_factors(order, net))
    weights.save(net, order.work / WEIGHTS)
    learnt = bundle.Training(
        data=words, digest=digest, recipe=recipes.digest(order.path), seed=chosen.seed, entity_steps=rows * settings.epochs,
        seconds=round(time.monotonic() - begun, 1),
    )  # fmt: skip
    _finish(order, net, learnt)


def _learnt_from(order):
    """(examples, what they are in words, sha256 of them)."""
    settings = order.recipe.training
    synthetic, others = _examples(order, order.recipe.seed)
    words = ['synthetic telemetry (convert/forecasts/telemetry.py, Apache-2.0)']
    if order.data and settings.sets:
        words.append(f'healthy time of every other entity of {labelled.with_licences(settings.sets)}')
    if order.recipe.data:
        words.append('own history of ' + ', '.join(each.detector for each in collect.load(order.path, order.recipe.data, order.work / 'data')))
    data = joined([synthetic, *others])
    digest = hashlib.sha256()
    for name in sorted(data):
        digest.update(data[name].tobytes())
    return data, ' and '.join(words), digest.hexdigest()


def _factors(order, net):
    """widths.fitted on examples that were not learnt from."""
    out = widths.fitted(net, *_examples(order, order.recipe.seed + WIDTHS_SEED, SHARE_OF_WIDTHS))
    for name, column in zip(('low', 'high'), np.exp(out).T, strict=True):
        of = ', '.join(f'{factor:.2f} at {_hours(seconds)}' for factor, seconds in zip(column, network.KNOTS_SECONDS, strict=True))
        order.log(f'the distance of {name} from the middle times {of}')
    return out


def _examples(order, seed, share=1):
    """(examples of synthetic telemetry, a list of those of each recorded set and of own history); share: one series in so many."""
    settings, synthetic, rng = order.recipe.training, [], np.random.default_rng(seed)
    for number, each in enumerate(progress.track(settings.telemetry, 'synthetic batches', log=order.log)):
        series = max(min(each.series, LEAST_SERIES), each.series // share)
        times, values = telemetry.batch([seed, number], step_seconds=each.step_seconds, days=each.days, series=series)
        synthetic.append(examples(times, values, rng, instants=each.instants))
    instants = settings.set_instants        # of all series, for there are few
    sets = settings.sets if order.data else ()
    others = [joined(found) for name in sets if (found := recorded.of_sets(order.data, [name], rng, instants=instants))]
    if order.recipe.data:
        found = collect.load(order.path, order.recipe.data, order.work / 'data')
        if own := recorded.of_history(found, 'train', rng, instants=instants, series=OWN_SERIES):
            others.append(joined(own))
    return joined(synthetic), others


def _finish(order, net, learnt):
    """Export, prove, evaluate, release."""
    model = forecast_file.export(net)
    proof, worst = forecast_file.proof_of(net, model)
    order.log(f'{len(model.graph.node)} nodes, {model.ByteSize()} bytes; TensorFlow and ONNX Runtime differ by {worst:.2g} of the tolerance at most')
    figures = evaluated(order, Forecaster(forecast_file.runner(model)))
    evaluation = {f'{name}, {_hours(seconds)}': _rounded(each) for name, found in figures.items() for seconds, each in found.items()}
    reasons = refusals(figures, order.recipe.gates)
    if reasons and not order.force:
        raise Refused('\n  '.join(['not released (--force releases it all the same):', *reasons]))
    facts = model_file.About(
        format=model_file.FORMAT, name=order.recipe.name, description=order.recipe.description, created=job.now(), coverage=contract.COVERAGE,
        horizons_seconds=contract.HORIZON_SECONDS, step_seconds=contract.STEP_SECONDS, training=learnt, tools=job.tools(), evaluation=evaluation,
    )  # fmt: skip
    data = forecast_file.released(model, facts, proof, str(order.out))
    files.folder(order.out.parent)
    with files.atomically(order.out) as draft:
        draft.write_bytes(data)
    order.log(f'{order.out}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}')


def evaluated(order, forecaster):
    """{telemetry: {seconds ahead: measure.Figures}} on synthetic telemetry, recorded sets and own history that were not learnt from; logged as a table."""
    out = {}
    for each in order.recipe.evaluation.telemetry:
        seed = [order.recipe.seed + EVALUATION_SEED]
        times, values = telemetry.batch(seed, step_seconds=each.step_seconds, days=each.days, series=each.series)
        out[f'synthetic at {each.step_seconds:g} s'] = measure.measured(forecaster, times, values, HORIZONS_SECONDS, instants=each.instants)
    for name in order.recipe.training.sets if order.data else ():
        out |= recorded.measured(forecaster, order.data, name, HORIZONS_SECONDS)
    for dataset in collect.load(order.path, order.recipe.data, order.work / 'data') if order.recipe.data else ():
        if dataset.parts.test:
            out |= recorded.measured_history(forecaster, dataset, HORIZONS_SECONDS)
    for line in table(out):
        order.log(line)
    return out


def table(figures):
    """Lines of text."""
    lines = [f'{"telemetry":32} {"ahead":>6} {"error":>6} {"loss":>6} {"no change":>9} {"within":>6} {"series":>6}']
    for name, found in figures.items():
        for seconds, each in found.items():
            shares = f'{each.error_ratio:6.3f} {each.loss_ratio:6.3f} {each.unchanged_ratio:9.3f} {each.coverage:6.2f}'
            lines.append(f'{name:32} {_hours(seconds):>6} {shares} {each.series:6}')
    return lines


def refusals(figures, gates):
    """Why the gates do not let a model pass, list of lines; empty = they do.

    >>> from convert import forecast_recipe
    >>> poor = measure.Figures(1.1, 0.8, 0.8, 0.9, 40)
    >>> refusals({'own': {3600.0: poor}}, forecast_recipe.Gates())
    ['own, 1h: error 1.100 of "the same as a day ago", expected at most 0.855: 0.95 of the better of that and "no change"']
    """
    low, high = gates.coverage_ratio
    out = []
    for name, found in figures.items():
        for seconds, each in found.items():
            if seconds not in JUDGED_SECONDS or each.series < LEAST_SERIES:
                continue
            most = gates.error_ratio * min(1.0, each.unchanged_ratio)
            where = f'{name}, {_hours(seconds)}'
            if each.error_ratio > most:
                out.append(
                    f'{where}: error {each.error_ratio:.3f} of "the same as a day ago", expected at most {most:.3f}: '
                    f'{gates.error_ratio:g} of the better of that and "no change"'
                )
            if not low <= each.coverage <= high:
                out.append(f'{where}: {each.coverage:.2f} of the values come between low and high, expected {low:g} to {high:g}')
    return out


def _hours(seconds):
    return f'{seconds / 60:g}m' if seconds < 3600 else f'{seconds / 3600:g}h'


def _rounded(figures):
    return {name: round(float(figure), 4) for name, figure in figures._asdict().items()}
