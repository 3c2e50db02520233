"""The detectors: what each does and does not, and how to find any of its entities. The page, /api/v1/detectors and /api/v1/entities."""

from collections.abc import Mapping

import msgspec

from promlstm.config import Config, Detector
from promlstm.live.status import Status
from promlstm.serve.handling import BadQuery, NotFound, Routes, allow, choice, json, number, one_of, wants_gzip
from promlstm.serve.messages import Answer, Request
from promlstm.terminal import duration
from promlstm.ui import anomalies, entities, filtering
from promlstm.ui.board import Standing
from promlstm.ui.context import Context

SHOWN = 50  # detectors on a page; one that is asked for by name stands alone
ENTITY_STATES = ('all', *anomalies.STATES)


class Described(msgspec.Struct, frozen=True):
    """A detector. Times are unix seconds; None = there was no step, or it is not the present any more.

    scores      whether some entity has a score now
    status      in words: scoring, or why not
    entities    {state: how many}; those over max_entities are `dropped`
    model       name from the model file; None = no step so far
    model_file  as the configuration has it
    queries     {feature: expression}; a detector of one expression has one feature without a name
    """

    name: str
    scores: bool
    status: str
    entities: dict[str, int] | None
    last_step: float | None
    step_seconds: float
    delay_seconds: float
    model: str | None
    model_file: str
    budget: str
    direction: str
    source: str
    queries: dict[str, str]


def described(detector: Detector, config: Config, status: Status, newest: Standing | None, now: float) -> Described:
    """A detector of the configuration, with its newest step, as of an instant in unix seconds."""
    standing = newest if newest and newest.is_fresh(now) else None
    counts, time, model = None, None, None
    if standing:
        counts, time, model = entities.count(standing) | {'dropped': standing.dropped}, standing.verdicts.time, standing.model
    scores = bool(counts and counts['normal'] + counts['anomalous'])
    said = str(status) if scores or not status.scores else _why_not(newest, now)
    return Described(
        detector.name, scores, said, counts, time, float(detector.step),
        float(detector.delay), model, detector.model, str(detector.false_alarms), detector.direction, config.source_name(detector), detector.queries,
    )  # fmt: skip


def _why_not(newest: Standing | None, now: float) -> str:
    """Why a detector has no scores although nothing failed."""
    if newest is None:
        return 'waiting for the next step'
    if newest.is_fresh(now):
        return 'no entity has a score now'
    return f'late: its last step is {duration(round(now - newest.verdicts.time), units=2)} old'


def all_of(context: Context, names: list[str] | None = None) -> list[Described]:
    """The configured detectors, or those of some names, in the order of the configuration."""
    config, statuses = context.in_force()[0], context.statuses()
    wanted = [each for each in config.detectors if names is None or each.name in names]
    now = context.now()
    return [described(each, config, statuses.get(each.name, Status()), context.board.newest(each.name), now) for each in wanted]


def routes(context: Context) -> Routes:
    """The pages of this group."""

    def listed(given: Mapping[str, str], limit: int) -> tuple[list[Described], dict[str, int | None]]:
        names = list(context.statuses())
        if only := one_of(given, 'detector', names):
            names = [only]
        offset = number(given, 'offset', 0, 0, anomalies.FARTHEST)
        found = all_of(context, names[offset : offset + limit])
        return found, {'total': len(names), 'offset': offset, 'next': anomalies.following(offset, limit, len(names))}

    def searched(name: str, given: Mapping[str, str], limit: int) -> tuple[entities.Asked, anomalies.Listing, Standing | None]:
        asked = entities.Asked(
            filtering.wanted(given.get('q', ''), given.get('match', '')), choice(given, 'state', ENTITY_STATES), choice(given, 'sort', entities.SORTS),
            number(given, 'offset', 0, 0, anomalies.FARTHEST), limit,
        )  # fmt: skip
        standing = context.board.present_of(name)
        found = entities.found(standing, asked) if standing else anomalies.Listing([], 0, dict.fromkeys(anomalies.STATES, 0), asked.offset, None)
        return asked, found, standing

    def page(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'detector', 'match', 'q', 'state', 'sort', 'offset')
        gzip = wants_gzip(request)
        if not (name := one_of(given, 'detector', context.statuses())):
            found, pages = listed(given, SHOWN)
            return context.templates.page('detectors', detectors=found, pages=pages, limit=SHOWN, given=given, gzip=gzip)
        problem = ''
        try:
            asked, rows, standing = searched(name, given, anomalies.LIMIT)
        except BadQuery as error:
            problem = str(error)
            asked, rows, standing = searched(name, filtering.without(given), 0)
        detector = next(iter(all_of(context, [name])), None)
        if detector is None:
            raise NotFound(f'detector: {name} is no longer configured')
        return context.templates.page(
            'detector', status=400 if problem else 200, problem=problem, gzip=gzip, detector=detector, asked=asked, found=rows,
            standing=standing, states=ENTITY_STATES, given=given,
        )  # fmt: skip

    def detectors_api(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'detector', 'offset', 'limit')
        found, pages = listed(given, number(given, 'limit', anomalies.LIMIT, 1, anomalies.MOST))
        return json(request, {'detectors': found, **pages})

    def entities_api(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'detector', 'match', 'q', 'state', 'sort', 'offset', 'limit')
        name = one_of(given, 'detector', context.statuses())
        if not name:
            raise BadQuery(f'detector: missing; detectors: {", ".join(list(context.statuses())[:20])}')
        _, found, _ = searched(name, given, number(given, 'limit', anomalies.LIMIT, 1, anomalies.MOST))
        return json(request, found.tree('entities'))

    return {('GET', '/detectors'): page, ('GET', '/api/v1/detectors'): detectors_api, ('GET', '/api/v1/entities'): entities_api}
