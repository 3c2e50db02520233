"""What each query for edges returns, and what that is worth for incidents: lines of `check-config`.

Who calls it: check. What flows through: a Config and the names that entities have; out come lines for people, and what is wrong. Each query is
asked once.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from promlstm.config import Config
from promlstm.engine import labels
from promlstm.errors import PromlstmError, QueryRejected, SourceRefused
from promlstm.incidents import edges, learnt
from promlstm.incidents.edges import Found, Query
from promlstm.incidents.graph import Graph, Name
from promlstm.query.sources import Sources
from promlstm.query.victorialogs import asked_every

SHOWN = 3  # names that a line gives as examples
FEW = 10  # entities of a detector from which on one value for all of them is odd


@dataclass(slots=True)
class Report:
    """Lines for people, and those among them that are errors."""

    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Add a line that begins with `warning`."""
        self.lines.append(f'warning: root_cause: {text}')


def carried(identities: Iterable[bytes], linking: Collection[str]) -> dict[str, set[str]]:
    """{linking label: its values among entities}.

    >>> carried([b'{"pod":"a","job":"x"}', b'{"pod":"b"}'], ['pod', 'node']) == {'pod': {'a', 'b'}}
    True
    """
    found: dict[str, set[str]] = {}
    for identity in identities:
        for label, value in labels.pairs(identity):
            if label in linking:
                found.setdefault(label, set()).add(value)
    return found


def report(config: Config, sources: Sources, online: Mapping[str, bool], entities: Mapping[str, tuple[int, Mapping[str, set[str]]]]) -> Report:
    """What is to be said of a configuration.

    online    whether each source can be asked
    entities  by detector: how many there are, and the values that they have of each linking label; without those that were not asked
    """
    out, graph, queries = Report(), Graph(), edges.queries(config)
    known = {(label, value) for _, values in entities.values() for label, several in values.items() for value in several}
    for query in queries:
        if online.get(query.source):
            graph = _asked(config, query, sources, graph, known if entities else None, out)
    graph = _read(config, graph, known if entities else None, out)
    count, cycle = graph.cycles()
    if count:
        way = ' -> '.join([*map(_text, cycle[:SHOWN]), '…' if len(cycle) > SHOWN else _text(cycle[0])])
        out.lines.append(
            f'note: root_cause: {count} names are in cycles, such as {way}: edges alone do not tell which of them is to blame, the order of their '
            'alarms may'
        )
    for detector, (number, values) in entities.items():
        for label, value in sorted((label, value) for label, several in values.items() if len(several) == 1 and number >= FEW for value in several):
            out.warn(
                f'all {number} entities of {detector} that have the label {label} have {_text((label, value))}, so their alarms belong together: is '
                'it the exporter that is meant? Then aggregate the label away'
            )
    return out


def _asked(config: Config, query: Query, sources: Sources, graph: Graph, known: Collection[Name] | None, out: Report) -> Graph:
    """The graph with the edges of a query, too; what it returns is told."""
    try:
        now = time.time()
        vector = asked_every(sources[query.source], config.root_cause.interval).instant(query.expr, now)
    except (QueryRejected, SourceRefused) as error:
        out.errors.append(f'error: root_cause: {query.name}: {error}')
        return graph
    except PromlstmError as error:
        out.warn(f'{query.name}: not asked for: {error}')
        return graph
    found = edges.found(query, vector.keys, config.root_cause.within)
    names = {label for pair in query.names for label in pair}
    return _told(query.name, found, names, graph, known, [f'the query API warns: {text}' for text in vector.warnings], out)


def _read(config: Config, graph: Graph, known: Collection[Name] | None, out: Report) -> Graph:
    """The same with the edges of the file."""
    path = learnt.path_of(config)
    if path is None:
        return graph
    try:
        content, found, _ = learnt.configured(config, path)
    except PromlstmError as error:
        out.errors.append(f'error: root_cause: {learnt.NAME}: {error}')
        return graph
    return _told(learnt.NAME, found, set(content.labels), graph, known, [], out)


def _told(
    name: str, found: Found, wanted: Collection[str], graph: Graph, known: Collection[Name] | None, doubts: Iterable[str], out: Report
) -> Graph:
    """The graph with some edges, too; what they are worth is told.

    wanted  labels of entities that the names are values of
    known   names that entities have; None = no entity is known
    doubts  more to be told, in words
    """
    own = Graph().observed(0, found.edges, name, found.within)
    for text in (*found.odd, *own.messages, *doubts):
        out.warn(f'{name}: {text}')
    if not len(own):
        return graph
    unknown, names = own.unknown(known or ()), len(own.unknown(()))
    of_entities = '' if known is None else f', of which {names - len(unknown)} are names of entities'
    out.lines.append(f'edges: {name}: {len(own)} between {names} names{of_entities}')
    if known is not None and len(unknown) == names:
        examples = ', '.join(map(_text, sorted(unknown)[:SHOWN]))
        why = f'no entity has one of these names, such as {examples}'
        if not set(wanted) & {label for label, _ in known}:
            why = f'no entity has the label {" or ".join(sorted(wanted))}'
        hint = '' if name == learnt.NAME else '; `label` says which label of entities has these names'
        out.warn(f'{name}: {why}, so these edges link none{hint}')
    return graph.observed(0, found.edges, name, found.within)


def _text(name: Name) -> str:
    """A name as PromQL has it.

    >>> _text(('service', 'shop'))
    'service="shop"'
    """
    return labels.selector([name])[1:-1]
