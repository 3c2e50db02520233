"""The contest of one model that was just made: its rivals, its telemetry, its report in the work folder.

    report.txt, report.json, report.html

Who calls it: make (evaluate), before anything is released.
"""

import math

from convert import files
from convert.data import collect
from convert.evaluation import benchmark, benchmark_sets, gates, report
from promlstm.engine import session
from promlstm.errors import BundleError


def review(job, model, without_lstm, sha256, *, seed):
    """Hold a model against its rivals, write the report, and return the contest.Results.

    job           make.Job
    model         promlstm.engine.session.Session, calibrated
    without_lstm  Session of its rule without the network, or None
    sha256        digest of its graph
    """
    service, rivals = in_service(job), [benchmark.Contestant(job.recipe.name, 'model', model)]
    if service:
        rivals.append(benchmark.Contestant(service.bundle.manifest.name, 'in service', service))
    if without_lstm:
        rivals.append(benchmark.Contestant('without_lstm', 'without LSTM', without_lstm))
    results, sights = benchmark.held(rivals, trials(job, seed), job.log)
    log = job.work / 'training.log'
    told = report.Report(
        model=job.recipe.name, family=job.recipe.family, sha256=sha256, service=service.bundle.sha256 if service else '',
        budget_per_week=benchmark.BUDGET, results=results, verdicts=gates.judge(results, job.recipe.gates),
        learning=report.learning(log.read_text().splitlines() if log.exists() else ()),
    )  # fmt: skip
    for name, data in (('json', report.encoded(told)), ('txt', report.text(told).encode()), ('html', report.page(told, sights).encode())):
        with files.atomically(job.work / f'report.{name}') as draft:
            draft.write_bytes(data)
    for each in gates.weak(told.verdicts):
        job.log(f'  {each}')
    job.log(f'  {job.work}/report.html; ' + '; '.join(gates.refusals(told.verdicts) or ['the gates let it pass']))
    return results


def trials(job, seed):
    """What models are held against each other on: the recipe's evaluation, its data's test spans, labelled sets.

    A model of one's own is for the detectors that it learnt from: what it finds at steps that are far from theirs closes no gate.
    """
    own = collect.load(job.path, job.recipe.data, job.work / 'data') if job.recipe.data else []
    for each in near(job.recipe.evaluation.telemetry, [dataset.step_seconds for dataset in own]):
        yield (benchmark_sets.linked if each.features > 1 else benchmark_sets.injected)(each, seed)
    for dataset in own:
        yield from benchmark_sets.own(dataset, seed)
    for folder in sorted(job.data.iterdir()) if job.data else ():
        yield from benchmark_sets.recorded(folder)


def near(telemetry, steps):
    """Of synthetic telemetry what is as near as any to one of the steps; all where there are none.

    >>> from convert.recipe import Telemetry
    >>> minute, hour = (Telemetry(step_seconds=step, steps=9, entities=1) for step in (60, 3600))
    >>> near([minute, hour], [300, 30]) == [minute], near([minute, hour], [60, 1800]) == [minute, hour], near([hour], []) == [hour]
    (True, True, True)
    """
    far = lambda each, step: abs(math.log(each.step_seconds / step))      # noqa: E731 (twice below)
    return [each for each in telemetry if not steps or any(far(each, step) == min(far(other, step) for other in telemetry) for step in steps)]


def in_service(job):
    """The Session of the model in service, or None; a file that cannot be loaded serves nobody, and is an error where it was named."""
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
