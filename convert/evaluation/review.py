"""The stage `evaluate` for the model that was just made: what it is compared with, on which telemetry, and the report in the work folder.

    report.txt, report.json, report.html

Who calls it: stages (evaluate), before anything is released.
"""

import functools
import math

from convert import files
from convert.data import collect, labelled
from convert.evaluation import benchmark, benchmark_sets, gates, report
from promlstm.engine import session
from promlstm.errors import BundleError


def review(job, model, without_lstm, sha256, *, seed, portions):
    """Compare a model with the other methods, write the report where all is there, and return the benchmark.Results.

    job           stages.Job
    model         promlstm.engine.session.Session, calibrated
    without_lstm  Session of its rule without the network, or None
    portions      portions.Portions: what is measured here
    sha256        digest of its graph
    """
    service = in_service(job)
    methods = [benchmark.Method(job.recipe.name, 'model', model)]
    if service:
        methods.append(benchmark.Method(service.bundle.manifest.name, 'in service', service))
    if without_lstm:
        methods.append(benchmark.Method('without_lstm', 'without LSTM', without_lstm))
    results, scored = [], []
    for number, each in enumerate(sets(job, seed)):
        found = portions.measured(number, each, functools.partial(benchmark.measure_set, methods, each, job.log))
        results, scored = results + found[0], scored + found[1]
    portions.check()
    if not portions.whole:
        return results
    log = job.work / 'training.log'
    found = report.Report(
        model=job.recipe.name,
        family=job.recipe.family,
        sha256=sha256,
        service=service.bundle.sha256 if service else '',
        budget_per_week=benchmark.BUDGET,
        results=results,
        verdicts=gates.judge(results, job.recipe.gates),
        learning=report.learning(log.read_text().splitlines() if log.exists() else ()),
    )
    _write(job, found, scored)
    return results


def _write(job, found, scored):
    """The report in its three forms, and what the gates say to the log."""
    for suffix, content in (('json', report.encoded(found)), ('txt', report.text(found).encode()), ('html', report.page(found, scored).encode())):
        with files.atomically(job.work / f'report.{suffix}') as draft:
            draft.write_bytes(content)
    for each in gates.weak(found.verdicts):
        job.log(f'  {each}')
    job.log(f'  {job.work}/report.html; ' + '; '.join(gates.refusals(found.verdicts) or ['the gates let it pass']))


def sets(job, seed):
    """The BenchmarkSets that judge the finished model: synthetic telemetry, the test spans of its own data, labelled sets.

    Synthetic telemetry whose step is far from those of its own data is left out: what a model does there is no reason to refuse it.
    """
    yield from _of_recipe(job, seed, 'test')
    for folder in labelled.sets(job.data) if job.data else ():
        yield from benchmark_sets.recorded(folder)


def sets_to_choose_by(job, seed):
    """[BenchmarkSet] that sizes, families and amounts of data are compared on: nothing of it judges the finished model.

    seed  another than that of `sets`: other synthetic entities with other faults; of the own data the spans `validate`
    """
    data = job.recipe.data
    if data and data.spans.validate:
        job.log('  compared on spans.validate and on synthetic telemetry that does not judge the finished model')
    elif data:
        job.log('  compared on synthetic telemetry alone: the recipe has no spans.validate, and spans.test judges the finished model')
    return list(_of_recipe(job, seed, 'validate'))


def _of_recipe(job, seed, part):
    """Synthetic sets of a recipe, and those of its own data in the spans of a part."""
    own = collect.load(job.path, job.recipe.data, job.work / 'data') if job.recipe.data else []
    for each in near(job.recipe.evaluation.telemetry, [dataset.step_seconds for dataset in own]):
        yield (benchmark_sets.linked if each.features > 1 else benchmark_sets.injected)(each, seed)
    for dataset in own:
        yield from benchmark_sets.own(dataset, seed, part)


def near(telemetry, steps):
    """Of synthetic telemetry what is as near as any to one of the steps; all where there are none.

    >>> from convert.recipe import Telemetry
    >>> minute, hour = (Telemetry(step_seconds=step, steps=9, entities=1) for step in (60, 3600))
    >>> near([minute, hour], [300, 30]) == [minute], near([minute, hour], [60, 1800]) == [minute, hour], near([hour], []) == [hour]
    (True, True, True)
    """
    def distance(each, step):
        return abs(math.log(each.step_seconds / step))

    least = {step: min(distance(each, step) for each in telemetry) for step in steps}
    return [each for each in telemetry if not steps or any(distance(each, step) == least[step] for step in steps)]


def in_service(job):
    """The Session of the model in service, or None. A file that cannot be loaded counts as none, but is an error where it was named."""
    path = job.in_service
    if not path:
        job.log('  in service: none, as was asked for: compared with baselines only')
        return None
    try:
        found = session.load(path)
    except BundleError as error:
        if job.service:
            raise
        job.log(f'  in service: none: {error}')
        return None
    job.log(f'  in service: {path}, sha256 {found.bundle.sha256[:12]}')
    return found
