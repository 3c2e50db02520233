"""Incidents: all of them, and one with its causes, the order of its onsets and the graph around it; /api/v1/incident."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promlstm.engine import labels
from promlstm.incidents.listing import Cause, Incident, Member
from promlstm.incidents.surroundings import Node, Surroundings
from promlstm.incidents.table import MOST_INCIDENTS
from promlstm.serve import api
from promlstm.serve.handling import BadQuery, NotFound, Routes, allow, json, number, wants_gzip
from promlstm.serve.messages import Answer, Request
from promlstm.ui import anomalies, layers, onsets, window
from promlstm.ui.anomalies import Row
from promlstm.ui.board import Standing
from promlstm.ui.context import Context

SHOWN = 50  # incidents, and members of one, on a page
SURE = 0.5  # a cause that is less likely is none that could be told; as in the alerts
LIKELY = 0.01  # what is less likely is not worth a row
STATES = ('all', 'open', 'closed')
EDGES = 200  # that are listed


@dataclass(frozen=True, slots=True)
class Line:
    """A member as the page shows it.

    after   seconds after the first onset of the incident
    bar     (left, width) of its alarm on the axis of onsets
    now     what is known of the entity at the newest step; None = its detector has made none
    """

    detector: str
    entity: str
    labels: dict[str, str]
    member: Member
    after: float
    bar: tuple[int, int]
    now: Row | None


@dataclass(frozen=True, slots=True)
class Box:
    """A name of the graph as it is drawn; lines of it are cut where they are too long."""

    node: Node
    left: float
    top: float
    value: str
    match: str


def title(found: Incident) -> str:
    """What an incident is called: what is likely its cause, else what it is about."""
    if found.cause and found.cause[0].probability >= SURE:
        return cut(found.cause[0].thing, 120)
    return f'{found.entities} {"entity" if found.entities == 1 else "entities"} of {cut(", ".join(found.detectors), 120)}'


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
    newest = _newest(members, standings)
    made = []
    for member in members:
        entity, now = labels.selector(member.labels.items()), newest.get((member.detector, _identity(member)))
        made.append(Line(member.detector, entity, member.labels, member, member.onset - found.start, axis.bar(member), now))
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


def graph(around: Surroundings) -> tuple[layers.Drawing, list[Box]] | None:
    """The graph as it is drawn; None = there is none, or it is too large to be read."""
    if not around.edges or len(around.nodes) > layers.MOST:
        return None
    drawn = layers.drawing(len(around.nodes), around.edges)
    boxes = [
        Box(node, left, top, cut(node.value, 24), matcher(node.label, node.value)) for node, (left, top) in zip(around.nodes, drawn.boxes, strict=True)
    ]
    return drawn, boxes


def target(cause: Cause, found: Incident, now: float) -> dict[str, str]:
    """Where the link of a cause leads, as parameters: to an entity as of its incident, or to the list of all that has its name."""
    if cause.detector is not None:
        span = {} if found.end is None else window.about(found.start, found.end, now)
        return {'detector': cause.detector, 'entity': labels.selector(cause.labels.items()), **span}
    return {'match': ', '.join(matcher(label, value) for label, value in cause.labels.items())}


def routes(context: Context) -> Routes:
    """The pages of this group."""

    def page_of_all(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'state', 'after')
        asked = api.asked(request.query)
        found, after = context.incidents.listing(api.Asked(asked.state, SHOWN, asked.after))
        return context.templates.page(
            'incidents', gzip=wants_gzip(request), incidents=found, state=asked.state, states=STATES, given=given, next=api.token(after), now=context.now(),
            title=title, sure=SURE,
        )  # fmt: skip

    def known(given: Mapping[str, str]) -> tuple[Incident, Surroundings]:
        name = given.get('id', '')
        if not name:
            raise BadQuery('id: missing; it is that of an incident, such as 20260303-100330-9c1f')
        if found := context.incidents.one(name):
            return found
        raise NotFound(f'id: no incident {name[:100]!r} is known')

    def page_of_one(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'id', 'offset')
        gzip, offset = wants_gzip(request), number(given, 'offset', 0, 0, anomalies.FARTHEST)
        try:
            found, around = known(given)
        except NotFound:
            return context.templates.page('gone', status=404, gzip=gzip, id=given['id'], kept=MOST_INCIDENTS)
        now, standings = context.now(), context.board.present(context.statuses())
        members = found.members[offset : offset + SHOWN]
        axis = onsets.axis(found, members, now)
        return context.templates.page(
            'incident', gzip=gzip, incident=found, title=title(found), sure=SURE, now=now, axis=axis, given=given, offset=offset, shown=SHOWN,
            members=lines(found, members, axis, standings), standings={standing.config.name: standing for standing in standings},
            target=target, about=window.about,
            around=around, graph=graph(around), most_drawn=layers.MOST, edges=around.edges[:EDGES], width=onsets.WIDTH, box=layers, matcher=matcher,
            next=anomalies.following(offset, SHOWN, len(found.members)),
            causes=[cause for place, cause in enumerate(found.cause) if cause.probability >= LIKELY or not place],
        )  # fmt: skip

    def one_api(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'id')
        found, around = known(given)
        return json(request, {'incident': found, 'graph': around})

    return {('GET', '/incidents'): page_of_all, ('GET', '/incident'): page_of_one, ('GET', '/api/v1/incident'): one_api}
