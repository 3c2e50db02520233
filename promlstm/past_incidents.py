"""The incidents of the past: those that the detectors of a backtest would have told of together.

Who calls it: `promlstm backtest --incidents`. What flows through: the verdicts of every replayed step of one detector after the other, and what
depended on what at some instants of the span; out come incidents with causes, as text or as values for JSON.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from promlstm.config import Config
from promlstm.engine.columns import Bools, Verdicts
from promlstm.engine.detector import Detector
from promlstm.engine.interfaces import Sources
from promlstm.errors import PromlstmError
from promlstm.incidents import edges, learnt, listing
from promlstm.incidents.blame import blame
from promlstm.incidents.edges import Found
from promlstm.incidents.graph import Graph
from promlstm.incidents.leaning import Leaning
from promlstm.incidents.listing import Incident
from promlstm.incidents.members import Origin
from promlstm.incidents.table import Incidents
from promlstm.query.victorialogs import asked_every
from promlstm.settings import RootCause

ASKED_SECONDS, ASKED_TIMES = 6 * 3600.0, 24  # between two instants of the past at which edges are asked for, at most; how often, at least
MOST_CAUSES = 3

Graphs = Sequence[tuple[float, Graph]]  # what was known from an instant on, in the order of time


def graphs(config: Config, sources: Sources, start: float, end: float, failed: Callable[[str], None]) -> Iterator[tuple[float, Graph]]:
    """What depended on what in a span (unix seconds); `failed` is called with what cannot be asked for, once for each query."""
    graph, silent = Graph(), set[str]()
    queries, of_file = edges.queries(config), _of_file(config, failed)
    # What was first seen after the start, such as where a server keeps less than the span, is known a little later.
    interval = min(ASKED_SECONDS, max(config.root_cause.interval, (end - start) / ASKED_TIMES))
    while (queries or of_file) and start <= end:
        if of_file:
            graph = graph.observed(start, of_file.edges, learnt.NAME, of_file.within)
        for query in queries:
            if query.name in silent:
                continue
            try:
                vector = asked_every(sources[query.source], interval).instant(query.expr, start)
                found = edges.found(query, vector.keys, config.root_cause.within)
            except PromlstmError as error:
                silent.add(query.name)
                failed(f'edges {query.name}: {error}')
                continue
            graph = graph.observed(start, found.edges, query.identity, found.within)
        yield start, graph
        start += interval


def _of_file(config: Config, failed: Callable[[str], None]) -> Found | None:
    """The edges of the file that was learnt from history, if one is configured and can be used."""
    path = learnt.path_of(config)
    try:
        return learnt.configured(config, path)[1] if path else None
    except PromlstmError as error:
        failed(str(error))
        return None


class PastIncidents:
    """The incidents of a span.

    known  what depended on what
    """

    def __init__(self, settings: RootCause, known: Graphs) -> None:
        self._table, self._known, self._since = Incidents(settings, past=True), known, [since for since, _ in known]
        self._end = 0.0

    def observe(self, detector: Detector, verdicts: Verdicts, missing: Bools) -> None:
        """Take in a replayed step of a detector; missing: bool [N]."""
        self._end = max(self._end, verdicts.time)
        self._table.graph = self._graph(verdicts.time)
        origin = Origin.of(detector.config, detector.session.bundle.manifest.views)
        self._table.observe(origin, verdicts, detector.lost(missing), detector.entities.identities)

    def _graph(self, time: float) -> Graph:
        place = bisect_right(self._since, time)
        return self._known[max(0, place - 1)][1] if self._known else Graph()

    def found(self) -> list[Incident]:
        """All incidents, the oldest first."""
        self._table.finish()
        view = self._table.view(self._end)
        active, out = view.active(), []
        for key in listing.keys(view):
            then = replace(view, graph=self._graph(float(view.spans.start[key.number])))
            out.append(listing.incident(then, key, blame(then, key.number, Leaning.of(then)), active))
        return sorted(out, key=lambda incident: (incident.start, incident.id))


def table(incidents: Sequence[Incident]) -> str:
    """Incidents as text for a terminal, each with its three likeliest causes."""
    lines = [f'{len(incidents)} incident{"s" * (len(incidents) != 1)}']
    for each in incidents:
        start, end = _instant(each.start), 'now' if each.end is None else _instant(each.end)
        same = start[:10] == end[:10]
        count = f'{each.entities} {"entity" if each.entities == 1 else "entities"}'
        lines += ['', f'incident {each.id}: {start} to {end[11:] if same else end} UTC, {count} of {", ".join(each.detectors)}']
        for cause in each.cause[:MOST_CAUSES]:
            lines.append(f'  {cause.probability:4.0%}  {cause.thing or "all"}: {"; ".join(cause.reasons)}')
    return '\n'.join(lines) + '\n'


def tree(incidents: Sequence[Incident]) -> list[dict[str, Any]]:
    """Incidents as values for JSON, in the form of /api/v1/incidents."""
    return [asdict(each) for each in incidents]


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%d %H:%M:%S')
