"""Feedback: "this was a false alarm", as a silence in Alertmanager; the page `feedback`, and /api/v1/silences.

Making one needs `--web.enable-actions` and an `alertmanager` in the configuration. Otherwise the page has the `amtool` line that does the same. Only an
entity that promlstm scores now can be silenced by way of this page: it is no way to silence whatever one likes.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from promlstm import terminal
from promlstm.config import Config
from promlstm.engine import labels
from promlstm.engine.labels import Pairs
from promlstm.errors import PromlstmError
from promlstm.logs import event
from promlstm.query import silences
from promlstm.query.http import Http
from promlstm.query.silences import Silence
from promlstm.serve.handling import BadQuery, NotFound, Routes, Unreachable, allow, choice, form, json, link, wants_gzip
from promlstm.serve.messages import Answer, Request, text
from promlstm.ui import links, silencing
from promlstm.ui.actions import NOT_ENABLED
from promlstm.ui.context import Context
from promlstm.ui.shapes import found, parsed

log = logging.getLogger('promlstm.ui')
ANSWER_SECONDS = 8.0  # of the Alertmanager, at most: the page itself has to answer within ten
ANY_URL = 'http://alertmanager:9093'  # where the configuration names none


@dataclass(frozen=True, slots=True)
class Offer:
    """What templates/feedback.html shows of an entity.

    entity    its labels as PromQL has them
    line      that makes the silence on a command line
    may_make  whether a button does
    why_not   in words, for the line that stands in its place; '' if it does
    read      how often promlstm reads silences; '' = it reads none
    """

    detector: str
    entity: str
    line: str
    may_make: bool
    why_not: str
    read: str
    reason: str = ''
    duration: str = silencing.USUAL
    durations: Collection[str] = tuple(silencing.DURATIONS)


def offer(context: Context, detector: str, entity: Pairs, others: Collection[str], *, reason: str = '', duration: str = silencing.USUAL) -> Offer:
    """What can be done about a false alarm of an entity.

    others  names of labels of the other entities of its detector
    """
    settings = context.in_force()[0].alertmanager
    made = silencing.silence(detector, entity, others, reason, 0.0, silencing.DURATIONS[duration])
    line = silencing.amtool(settings.url if settings else ANY_URL, made)
    why_not = '' if context.actions.enabled else NOT_ENABLED
    if not settings:
        why_not = 'the configuration has no alertmanager, so promlstm cannot create or read silences'
    read = terminal.duration(settings.interval) if settings else ''
    return Offer(detector, labels.selector(entity), line, not why_not, why_not, read, reason, duration)


def routes(context: Context) -> Routes:
    """The pages of this group."""
    shapes, actions = context.shapes, context.actions

    def meant(given: Mapping[str, str]) -> tuple[str, Pairs, Collection[str]]:
        """The detector, the entity, and the names of labels of the others."""
        name = given.get('detector', '')
        standing = context.board.present_of(name)
        if not standing or name not in context.statuses():
            raise NotFound(f'detector: {name[:100]!r} does not exist, or has no scores now')
        names = shapes.of(name, standing.identities)
        row = found(parsed(given.get('entity', '')), names, standing.identities[: len(standing)])
        if row is None:
            raise NotFound(f'entity: {name} has no entity with these labels now')
        return name, labels.pairs(standing.identities[row]), {label for each in names for label in each}

    def make(request: Request, given: Mapping[str, str]) -> tuple[str, Pairs, str]:
        """(Detector, entity, id of the silence)."""
        actions.permit(request)
        allow(given, 'detector', 'entity', 'reason', 'duration')
        config, _ = context.in_force()
        reason, seconds = silencing.reason_of(given.get('reason', '')), silencing.DURATIONS[_duration(given)]
        name, entity, others = meant(given)
        author = actions.who(request) if actions.users() else f'promlstm, for {request.client}'
        number = _created(config, silencing.silence(name, entity, others, reason, context.now(), seconds), author)
        event(log, 'info', 'created a silence for a false alarm', detector=name, entity=labels.selector(entity), silence=number, by=author)
        return name, entity, number

    def page(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'detector', 'entity', 'reason', 'duration', 'silence')
        name, entity, others = meant(given)
        reason, problem = given.get('reason', ''), ''
        try:
            reason, duration = silencing.reason_of(reason), _duration(given)
        except BadQuery as error:
            reason, duration, problem = '', silencing.USUAL, str(error)
        offered = offer(context, name, entity, others, reason=reason, duration=duration)
        return drawn(request, offered, given.get('silence', ''), problem, 400 if problem else 200)

    def drawn(request: Request, offered: Offer, made: str = '', problem: str = '', status: int = 200) -> Answer:
        settings = context.in_force()[0].alertmanager
        place = links.silence(settings.url, made) if settings and made.replace('-', '').isalnum() and made.isascii() else ''
        return context.templates.page(
            'feedback_page', status=status, gzip=wants_gzip(request), offer=offered, made=made if place else '', place=place, problem=problem,
            entity_link=link('entity', detector=offered.detector, entity=offered.entity),
        )  # fmt: skip

    def post(request: Request, _: Mapping[str, str]) -> Answer:
        given = form(request)
        try:
            name, entity, number = make(request, given)
        except Unreachable as error:
            name, entity, others = meant(given)
            return drawn(request, offer(context, name, entity, others), problem=str(error), status=error.status)
        return text(303, 'The silence was created.\n', {'Location': link('feedback', detector=name, entity=labels.selector(entity), silence=number)})

    def api(request: Request, _: Mapping[str, str]) -> Answer:
        return json(request, {'silenceID': make(request, form(request))[2]})

    return {('GET', '/feedback'): page, ('POST', '/feedback'): post, ('POST', '/api/v1/silences'): api}


def _duration(given: Mapping[str, str]) -> str:
    return choice(given, 'duration', tuple(silencing.DURATIONS), silencing.USUAL)


def _created(config: Config, made: Silence, author: str) -> str:
    settings = config.alertmanager
    if not settings:
        raise BadQuery('the configuration has no alertmanager: set one to create silences')
    try:
        return silences.create(Http(settings.source, root=config.root, where='alertmanager'), made, author, min(settings.timeout, ANSWER_SECONDS))
    except PromlstmError as error:
        raise Unreachable(str(error)) from error
