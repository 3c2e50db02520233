"""What if: the past of a detector, replayed with changed settings; the page `what-if`, and /api/v1/what-if.

A run takes time and queries, so it needs `--web.enable-actions`. Without, the page still checks the values, and shows the YAML and the command line.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlencode

import msgspec

from promlstm import terminal
from promlstm.config import Config, Detector
from promlstm.logs import event
from promlstm.serve.handling import BadQuery, Conflict, NotFound, Routes, Unavailable, allow, form, json, link, wants_gzip
from promlstm.serve.messages import Answer, Request, text
from promlstm.ui import window, written
from promlstm.ui.actions import NOT_ENABLED
from promlstm.ui.comparison import Comparison
from promlstm.ui.context import Context
from promlstm.ui.jobs import Busy, Job, NoRoom
from promlstm.ui.proposal import FROM, SETTINGS, TO, Proposal, choices, in_force, proposal
from promlstm.ui.rerun import Order
from promlstm.ui.timeline import pictured
from promlstm.ui.wording import unit_of

log = logging.getLogger('promlstm.ui')
PATH, API = '/what-if', '/api/v1/what-if'
FIELDS = (*SETTINGS, 'from', 'to')


class Told(msgspec.Struct, frozen=True):
    """A job as JSON. Times are unix seconds; None = it runs, or there is none yet.

    done, total  steps, those of the warm-up included; 0 done: coarse history is being read
    """

    id: str
    detector: str
    state: str
    began: float
    ended: float | None
    done: int
    total: int
    problem: str
    outcome: Comparison | None


def told(job: Job) -> Told:
    """A job as JSON has it."""
    return Told(job.id, job.asked['detector'], job.state, job.began, job.ended, job.done, job.total, job.problem, job.outcome)


def routes(context: Context) -> Routes:
    """The pages of this group."""
    actions = context.actions

    def asked(given: Mapping[str, str], config: Config) -> Proposal:
        allow(given, 'detector', *FIELDS)
        return proposal(config, _detector(config, given.get('detector', '')), given, context.now())

    def begin(request: Request, given: Mapping[str, str]) -> Job:
        actions.permit(request)
        config, _ = context.in_force()
        wanted = asked(given, config)

        def order(most: int, memory_bytes: int, seconds: int) -> Order:
            before, after = (written.alone(config, each) for each in (wanted.before, wanted.after))
            return Order(before, after, config.root, wanted.start, wanted.end, most, memory_bytes, seconds)

        try:
            job = actions.jobs.begin(order, actions.who(request), {'detector': wanted.before.name, **wanted.values})
        except Busy as busy:
            raise Conflict(_busy(busy.job)) from busy
        except NoRoom as error:
            raise Unavailable(str(error)) from error
        event(log, 'info', 'a what-if replay began', detector=wanted.before.name, by=job.who)
        return job

    def found(number: str) -> Job:
        if not (job := actions.jobs.find(number)):
            if not number:
                raise BadQuery('id: missing; give the id of the run')
            raise NotFound(f'id: no run {number[:100]!r}: results are kept for 30 minutes at most, and not over a restart; start it again')
        return job

    def page(request: Request, given: Mapping[str, str]) -> Answer:
        shown = {name: value for name, value in given.items() if name not in ('job', 'entity')}
        problem, job = '', actions.jobs.find(given['job']) if 'job' in given else None
        if 'job' in given and not job:
            problem = 'The result of this run is no longer kept. Run it again.'
        return drawn(request, shown, job, problem, entity=given.get('entity', ''))

    def drawn(request: Request, given: Mapping[str, str], job: Job | None = None, problem: str = '', status: int = 200, entity: str = '') -> Answer:
        config, _ = context.in_force()
        names = [detector.name for detector in config.detectors]
        if not given.get('detector'):
            return context.templates.page('what_if_choice', status=status, gzip=wants_gzip(request), names=names, problem=problem)
        detector, wanted = _detector(config, given['detector']), None
        try:
            wanted = asked(given, config)
        except NotFound:
            raise
        except BadQuery as error:
            problem, status = problem or str(error), 400
        usual = {**in_force(detector), 'from': FROM, 'to': TO}
        running = actions.jobs.running
        return context.templates.page(
            'what_if', status=status, gzip=wants_gzip(request), names=names, detector=detector, usual=usual, choices=choices(config),
            values=usual | {name: given[name] for name in FIELDS if name in given}, wrong=problem.partition(':')[0], problem=problem, wanted=wanted, job=job,
            outcome=job.outcome if job else None, bars=pictured(job.outcome) if job and job.outcome else None,
            may_run=actions.enabled, not_enabled=NOT_ENABLED, busy=_busy(running) if running and running is not job else '',
            entity=entity, unit=lambda feature: unit_of(detector.queries.get(feature, '')),
            entity_link=partial(_entity_link, detector.name, context.now()),
            limit=terminal.duration(actions.jobs.seconds), most=actions.jobs.most,
        )  # fmt: skip

    def run(request: Request, _: Mapping[str, str]) -> Answer:
        sent = form(request)
        entity = sent.get('entity', '')
        given = {name: value for name, value in sent.items() if name != 'entity'}
        if number := given.get('cancel'):
            actions.permit(request)
            job = found(number)
            actions.jobs.cancel(number)
            return _see(f'what-if?{_link(job, entity)}')
        try:
            job = begin(request, given)
        except BadQuery as error:
            if error.status in (403, 404) or not given.get('detector'):
                raise
            return drawn(request, given, problem=str(error), status=error.status, entity=entity)
        return _see(f'what-if?{_link(job, entity)}')

    def api_begin(request: Request, _: Mapping[str, str]) -> Answer:
        return json(request, told(begin(request, form(request))))

    def api_tell(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'id')
        return json(request, told(found(given.get('id', ''))))

    def api_cancel(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'id')
        actions.permit(request)
        job = found(given.get('id', ''))
        actions.jobs.cancel(job.id)
        return json(request, {'id': job.id})

    return {
        ('GET', PATH): page, ('POST', PATH): run, ('POST', API): api_begin, ('GET', API): api_tell, ('DELETE', API): api_cancel,
    }  # fmt: skip


def _detector(config: Config, name: str) -> Detector:
    detector = next((each for each in config.detectors if each.name == name), None)
    if not name:
        raise BadQuery('detector: missing; give the name of a detector')
    if not detector:
        raise NotFound(f'detector: no detector {name[:100]!r} in the configuration')
    return detector


def _busy(job: Job) -> str:
    since = datetime.fromtimestamp(job.began, UTC).strftime('%H:%M:%S')
    return f'{job.who} started a run of detector {job.asked["detector"]} at {since} UTC, and one runs at a time: wait until it ends, or cancel it'


def _link(job: Job, entity: str) -> str:
    return urlencode({**job.asked, 'job': job.id} | ({'entity': entity} if entity else {}))


def _entity_link(detector: str, now: float, entity: str, start: float | None = None, end: float | None = None) -> str:
    """The page of an entity, as of an alarm where one is given."""
    span = {} if start is None or end is None else window.about(start, end, now)
    return link('entity', detector=detector, entity=entity, **span)


def _see(where: str) -> Answer:
    return text(303, f'See {where}\n', {'Location': where})
