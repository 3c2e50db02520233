"""What depends on what, asked again and again: the queries of `root_cause.edges`, and the file that was learnt from history.

Who calls it: run starts Dependencies, which has a thread of its own, beside the detectors. What flows through: queries out, edges into the graph of
whoever holds it (incidents.table.Incidents does). What cannot be asked for stays as it was last known, for a day; it is logged once and counted.
A query that hangs keeps only those back that ask the same source.
"""

import logging
import re
import threading
from collections.abc import Sequence
from typing import Protocol

from promlstm.config import Config
from promlstm.engine.interfaces import Source
from promlstm.errors import PromlstmError
from promlstm.incidents import edges
from promlstm.incidents.edges import Query
from promlstm.incidents.graph import Graph
from promlstm.live.clock import Clock
from promlstm.logs import event
from promlstm.query.victorialogs import asked_every
from promlstm.serve.telemetry import Telemetry

log = logging.getLogger('promlstm.dependencies')
POLL_SECONDS = 1.0
SERIES = ('promlstm_dependency_edges', 'promlstm_dependency_last_success_timestamp_seconds', 'promlstm_dependency_failures')
_NUMBER = re.compile(r'\d+')


class Sources(Protocol):
    """Where edges come from, by the name of the source; promlstm.query.sources.Sources is one."""

    def __getitem__(self, name: str) -> Source: ...


class Holder(Protocol):
    """Who holds the graph, which is replaced and never changed."""

    graph: Graph


class Dependencies:
    """The queries for edges, asked every interval of a clock.

    holder     whose graph they go into; what that has already, of a restart, is kept
    telemetry  says how many there are, and what failed
    """

    def __init__(self, holder: Holder, telemetry: Telemetry, clock: Clock) -> None:
        self._holder, self._telemetry, self._clock = holder, telemetry, clock
        self._lock, self._changed = threading.Lock(), threading.Event()
        self._config: Config | None = None
        self._queries: list[Query] = []
        self._sources: Sources = {}
        self._said: dict[str, str] = {}  # by name of a query: what was said of it last

    def use(self, config: Config, sources: Sources) -> None:
        """Ask what this configuration says from now on. What others told of is forgotten; what the same queries told of stays."""
        queries = edges.queries(config)
        with self._lock:
            gone = {query.name for query in self._queries} - {query.name for query in queries}
            for name in SERIES:
                for each in gone:
                    self._telemetry.drop(name, each)
            for query in queries:
                self._telemetry.count('promlstm_dependency_failures', (query.name,), 0)
            self._config, self._queries, self._sources = config, queries, sources
            self._said = {name: text for name, text in self._said.items() if name not in gone}
            self._hold(self._holder.graph.only({query.identity for query in queries}))
        self._changed.set()

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._run, name='promlstm-dependencies', daemon=True).start()

    def _run(self) -> None:
        while not self._clock.stopping.is_set():
            self._changed.clear()
            self.look()
            until = self._clock.steady() + (self._config.root_cause.interval if self._config else 0.0)
            while not self._changed.is_set() and (left := until - self._clock.steady()) > 0:
                if self._clock.stopping.wait(min(left / self._clock.speed, POLL_SECONDS)):
                    return

    def look(self) -> None:
        """Ask all queries once: those of one source one after the other, the sources at once."""
        with self._lock:
            queries, sources = self._queries, self._sources
        by_source: dict[str, list[Query]] = {}
        for query in queries:
            by_source.setdefault(query.source, []).append(query)
        # No pool: its threads would be waited for when the exporter ends.
        threads = [threading.Thread(target=self._ask_all, args=(each, sources[name]), daemon=True) for name, each in by_source.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask_all(self, queries: Sequence[Query], source: Source) -> None:
        for query in queries:
            if not self._clock.stopping.is_set():
                self._ask(query, source)

    def _ask(self, query: Query, source: Source) -> None:
        with self._lock:
            config = self._config
        assert config
        now = self._clock.now()
        try:
            vector = asked_every(source, config.root_cause.interval).instant(query.expr, now)
            found = edges.found(query, vector.keys, config.root_cause.within)
        except PromlstmError as error:
            with self._lock:
                if query in self._queries:
                    self._telemetry.count('promlstm_dependency_failures', (query.name,))
                    self._say(query, 'edges cannot be asked for, those that are known stay', str(error))
            return
        with self._lock:
            if query not in self._queries:
                return  # another configuration is in force
            graph = self._holder.graph.observed(now, found.edges, query.identity, found.within)
            self._hold(graph)
            self._telemetry.set('promlstm_dependency_edges', len(found.edges), query.name)
            self._telemetry.set('promlstm_dependency_last_success_timestamp_seconds', now, query.name)
            odd = (*found.odd, *graph.odd[query.identity], *vector.warnings)
            self._say(query, 'some edges are not of use', '; '.join(odd))

    def _hold(self, graph: Graph) -> None:
        self._holder.graph = graph
        self._telemetry.set('promlstm_dependency_remembered_edges', len(graph))

    def _say(self, query: Query, message: str, problem: str) -> None:
        """Log a problem once, and when it is over; how many series it is about makes no other problem."""
        kind = _NUMBER.sub('', problem)
        if kind == self._said.get(query.name, ''):
            return
        self._said[query.name] = kind
        if problem:
            event(log, 'warn', message, edges=query.name, err=problem)
        else:
            event(log, 'info', 'edges are as they should be again', edges=query.name)
