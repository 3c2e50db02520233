"""Incidents: all of them, and one with its causes, the order of its onsets and the graph around it; /api/v1/incident."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from promlstm.engine import labels
from promlstm.engine.columns import Bools
from promlstm.incidents.listing import Cause, Incident, Member
from promlstm.incidents.members import WAITING
from promlstm.incidents.surroundings import Node, Surroundings
from promlstm.incidents.table import MOST_INCIDENTS
from promlstm.incidents.view import View
from promlstm.serve import api
from promlstm.serve.handling import BadQuery, NotFound, Routes, allow, json, number, one_of, wants_gzip
from promlstm.serve.messages import Answer, Request
from promlstm.ui import anomalies, filtering, layers, naming, onsets, window
from promlstm.ui.anomalies import Row
from promlstm.ui.board import Standing
from promlstm.ui.context import Context
from promlstm.ui.sparklines import SPAN_SECONDS
from promlstm.ui.wording import unit_of

SHOWN = 50  # incidents, and members of one, on a page
SURE = 0.5  # a cause that is less likely is none that could be told; as in the alerts
LIKELY = 0.01  # what is less likely is not worth a row
EDGES = 200  # that are listed
BEGINNING = 0.75  # of a small picture of what is over that lies behind its beginning


@dataclass(frozen=True, slots=True)
class Line:
    """A member as the page shows it.

    feature, unit  what is drawn of it
    after   seconds after the first onset of the incident
    bar     (left, width) of its alarm on the axis of onsets
    now     what is known of the entity at the newest step; None = its detector has made none
    """

    detector: str
    entity: str
    labels: dict[str, str]
    feature: str
    unit: str
    member: Member
    after: float
    bar: tuple[int, int]
    now: Row | None


@dataclass(frozen=True, slots=True)
class Box:
    """A name of the graph as it is drawn; lines of it are cut where they are too long.

    state  anomalous: some entity of this name is now; was: it was in this incident; '' = neither
    """

    node: Node
    state: str
    left: float
    top: float
    value: str
    match: str


def title(found: Incident, thing: Callable[[Cause], str]) -> str:
    """What an incident is called: what is likely its cause, else what it is about. thing: what a cause is called."""
    if found.cause and found.cause[0].probability >= SURE:
        return cut(thing(found.cause[0]), 120)
    return f'{found.entities} {"entity" if found.entities == 1 else "entities"} of {cut(", ".join(found.detectors), 120)}'


def named(standings: Sequence[Standing], shared: Callable[[Standing], Container[str]]) -> Callable[[Cause], str]:
    """What a cause is called: of one that is an entity, the labels that tell it from others come first.

    shared  the labels that all entities of a detector share
    """
    known = {standing.config.name: standing for standing in standings}

    def thing(cause: Cause) -> str:
        standing = known.get(cause.detector or '')
        is_entity = cause.thing == ', '.join(f'{name}={value}' for name, value in cause.labels.items())
        return naming.ordered(cause.labels, shared(standing)) if standing and is_entity else cause.thing

    return thing


def among(detector: str, wanted: filtering.Wanted) -> Callable[[View], Bools] | None:
    """Finds the incidents of which an entity is wanted, bool [I]; None = all are. detector: '' = any."""
    if not detector and not wanted:
        return None

    def found(view: View) -> Bools:
        members = view.members
        asked = np.array([detector in ('', origin.name) for origin in view.origins], bool)
        rows = np.flatnonzero(members.incident != WAITING)
        rows = filtering.chosen(wanted, members.identities, rows[asked[members.detector[rows]]])
        chosen = np.zeros(len(view.spans), bool)
        chosen[members.incident[rows]] = True
        return chosen

    return found


def matcher(label: str, value: str) -> str:
    """A name as a matcher of PromQL.

    >>> matcher('service', 'a"b')
    'service="a\\\\"b"'
    """
    return labels.selector([(label, value)])[1:-1]


def cut(text: str, most: int) -> str:
    """A text that is not longer than so many characters.

    >>> cut('abcdef', 4), cut('abcd', 4)
    ('abc…', 'abcd')
    """
    return text if len(text) <= most else f'{text[: most - 1]}…'


def lines(found: Incident, members: Sequence[Member], axis: onsets.Axis, standings: Sequence[Standing]) -> list[Line]:
    """Members with what is known of them at the newest step of their detector."""
    newest, queries = _newest(members, standings), {standing.config.name: standing.config.queries for standing in standings}
    made = []
    for member in members:
        entity, now = labels.selector(member.labels.items()), newest.get((member.detector, _identity(member)))
        feature = member.feature or ''
        unit = unit_of(queries.get(member.detector, {}).get(feature, ''))
        made.append(Line(member.detector, entity, member.labels, feature, unit, member, member.onset - found.start, axis.bar(member), now))
    return made


def _newest(members: Sequence[Member], standings: Sequence[Standing]) -> dict[tuple[str, bytes], Row]:
    """{(detector, identity): its entity now} of some members."""
    found = dict[tuple[str, bytes], Row]()
    for standing in standings:
        name = standing.config.name
        rows = standing.rows_of({_identity(member) for member in members if member.detector == name})
        found |= {(name, identity): anomalies.row(standing, row) for identity, row in rows.items()}
    return found


def _identity(member: Member) -> bytes:
    return labels.identity_of(tuple(member.labels.items()))


def graph(around: Surroundings, members: Sequence[Member]) -> tuple[layers.Drawing, list[Box]] | None:
    """The graph of an incident with these members as it is drawn; None = there is none, or it is too large to be read."""
    if not around.edges or len(around.nodes) > layers.MOST:
        return None
    drawn = layers.drawing(len(around.nodes), around.edges)
    anomalous = {name for member in members if member.end is None for name in member.labels.items()}
    boxes = []
    for node, (left, top) in zip(around.nodes, drawn.boxes, strict=True):
        state = '' if node.onset is None else 'anomalous' if (node.label, node.value) in anomalous else 'was'
        boxes.append(Box(node, state, left, top, cut(node.value, 24), matcher(node.label, node.value)))
    return drawn, boxes


def target(cause: Cause, found: Incident, now: float) -> dict[str, str]:
    """Where the link of a cause leads, as parameters: to an entity as of its incident, or to the list of all that has its name."""
    if cause.detector is not None:
        span = {} if found.end is None else window.about(found.start, found.end, now)
        return {'detector': cause.detector, 'entity': labels.selector(cause.labels.items()), **span}
    return {'match': ', '.join(matcher(label, value) for label, value in cause.labels.items())}


def drawn_to(found: Incident, now: float) -> int | None:
    """When the pictures beside the members end, unix seconds: of what is long over they show how it began. None = now."""
    return int(min(now, found.start + BEGINNING * SPAN_SECONDS)) if found.end is not None and window.about(found.start, found.end, now) else None


def routes(context: Context) -> Routes:
    """The pages of this group."""

    def page_of_all(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'state', 'after', 'detector', 'match', 'q')
        asked, detector, problem = api.read(given), one_of(given, 'detector', context.statuses()), ''
        try:
            wanted = among(detector, filtering.wanted(given.get('q', ''), given.get('match', '')))
            found, after = context.incidents.listing(api.Asked(asked.state, SHOWN, asked.after), wanted)
        except BadQuery as error:
            problem, found, after = str(error), [], None
        thing = named(standings(), context.templates.shared)
        return context.templates.page(
            'incidents', status=400 if problem else 200, problem=problem, gzip=wants_gzip(request), incidents=found, state=asked.state, given=given,
            next=api.token(after), now=context.now(), detector=detector, detectors=list(context.statuses()), thing=thing, title=partial(title, thing=thing),
            sure=SURE,
        )  # fmt: skip

    def standings() -> list[Standing]:
        return context.board.present(context.statuses())

    def known(given: Mapping[str, str]) -> tuple[Incident, Surroundings]:
        name = given.get('id', '')
        if not name:
            raise BadQuery('id: missing; give the id of an incident, such as 20260303-100330-9c1f')
        if found := context.incidents.one(name):
            return found
        raise NotFound(f'id: no incident {name[:100]!r}')

    def page_of_one(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'id', 'offset')
        gzip, offset = wants_gzip(request), number(given, 'offset', 0, 0, anomalies.FARTHEST)
        try:
            found, around = known(given)
        except NotFound:
            return context.templates.page('gone', status=404, gzip=gzip, id=given['id'], kept=MOST_INCIDENTS)
        now, present = context.now(), standings()
        thing = named(present, context.templates.shared)
        members = found.members[offset : offset + SHOWN]
        axis = onsets.axis(found, members, now)
        return context.templates.page(
            'incident', gzip=gzip, incident=found, thing=thing, title=title(found, thing), sure=SURE, now=now, axis=axis, given=given, offset=offset,
            shown=SHOWN, drawn_to=drawn_to(found, now),
            members=lines(found, members, axis, present), standings={standing.config.name: standing for standing in present},
            target=target, about=window.about,
            around=around, graph=graph(around, found.members), most_drawn=layers.MOST, edges=around.edges[:EDGES],
            width=onsets.WIDTH, box=layers, matcher=matcher,
            next=anomalies.following(offset, SHOWN, len(found.members)),
            causes=[cause for place, cause in enumerate(found.cause) if cause.probability >= LIKELY or not place],
        )  # fmt: skip

    def one_api(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'id')
        found, around = known(given)
        return json(request, {'incident': found, 'graph': around})

    return {('GET', '/incidents'): page_of_all, ('GET', '/incident'): page_of_one, ('GET', '/api/v1/incident'): one_api}
