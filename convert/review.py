"""The contest of one model that was just made: its rivals, its telemetry, its report in the work folder.

    report.txt, report.json, report.html

Who calls it: make (evaluate), before anything is released.
"""

from convert import contest, gates, gather, report, resume, trial
from promlstm import session
from promlstm.errors import BundleError


def review(job, model, without_lstm, sha256, *, seed):
    """Hold a model against its rivals, write the report, and return the contest.Results.

    job           make.Job
    model         promlstm.session.Session, calibrated
    without_lstm  Session of its rule without the network, or None
    sha256        digest of its graph
    """
    service, rivals = in_service(job), [contest.Contestant(job.recipe.name, 'model', model)]
    if service:
        rivals.append(contest.Contestant(service.bundle.manifest.name, 'in service', service))
    if without_lstm:
        rivals.append(contest.Contestant('without_lstm', 'without LSTM', without_lstm))
    results, sights = contest.held(rivals, trials(job, seed), job.log)
    log = job.work / 'training.log'
    told = report.Report(
        model=job.recipe.name, family=job.recipe.family, sha256=sha256, service=service.bundle.sha256 if service else '',
        budget_per_week=contest.BUDGET, results=results, verdicts=gates.judge(results, job.recipe.gates),
        learning=report.learning(log.read_text().splitlines() if log.exists() else ()),
    )  # fmt: skip
    for name, data in (('json', report.encoded(told)), ('txt', report.text(told).encode()), ('html', report.page(told, sights).encode())):
        with resume.atomically(job.work / f'report.{name}') as draft:
            draft.write_bytes(data)
    for each in gates.weak(told.verdicts):
        job.log(f'  {each}')
    job.log(f'  {job.work}/report.html; ' + '; '.join(gates.refusals(told.verdicts) or ['the gates let it pass']))
    return results


def trials(job, seed):
    """What models are held against each other on: the recipe's evaluation, its data's test spans, labelled sets."""
    for each in job.recipe.evaluation.telemetry:
        yield (trial.linked if each.features > 1 else trial.injected)(each, seed)
    for dataset in gather.load(job.path, job.recipe.data, job.work / 'data') if job.recipe.data else ():
        yield from trial.own(dataset, seed)
    for folder in sorted(job.data.iterdir()) if job.data else ():
        yield from trial.recorded(folder)


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
