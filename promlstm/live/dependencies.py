"""What depends on what, asked again and again: the queries of `root_cause.edges`, and the file that was learnt from history.

Who calls it: run starts Dependencies, which has a thread of its own, beside the detectors. What flows through: queries out, edges into the graph of
whoever holds it. What cannot be asked for stays as it was last known, for a day; it is logged once and counted. A query that hangs keeps only
those back that ask the same source.
"""

import logging
import re
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from promlstm.config import Config
from promlstm.engine.interfaces import Source, Sources
from promlstm.engine.session import stamp
from promlstm.errors import PromlstmError
from promlstm.incidents import edges, learnt
from promlstm.incidents.edges import Found, Query
from promlstm.incidents.graph import Graph
from promlstm.live.clock import Clock
from promlstm.logs import event
from promlstm.query.victorialogs import asked_every
from promlstm.serve.telemetry import Telemetry

log = logging.getLogger('promlstm.dependencies')
POLL_SECONDS = 1.0
SAME_SECONDS = 600.0  # for so long the same answer is not taken in again; edges are remembered for a day
SERIES = ('promlstm_dependency_edges', 'promlstm_dependency_last_success_timestamp_seconds', 'promlstm_dependency_failures')
_NUMBER = re.compile(r'\d+')


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
        self._asking: dict[str, threading.Thread] = {}  # by source: who asks it
        self._said: dict[str, str] = {}  # by name of a query: what was said of it last
        self._answers: dict[str, tuple[Query, int, float]] = {}  # by name of a query: that query, the answer that was taken in last, and when
        self._file: tuple[object, Found, str] | None = None  # what was read last: of which file and settings, its edges, and who tells of them

    def use(self, config: Config, sources: Sources) -> None:
        """Ask what this configuration says from now on. What others told of is forgotten; what the same queries told of stays."""
        queries = edges.queries(config)
        with self._lock:
            gone = self._names() - {query.name for query in queries} - {learnt.NAME if config.root_cause.graph_file else ''}
            for name in SERIES:
                for each in gone:
                    self._telemetry.drop(name, each)
            self._config, self._queries, self._sources, self._answers = config, queries, sources, {}
            for name in self._names():
                self._telemetry.count('promlstm_dependency_failures', (name,), 0)
            self._file = self._file if config.root_cause.graph_file else None
            self._said = {name: text for name, text in self._said.items() if name not in gone}
            self._hold(self._holder.graph)
        self._changed.set()

    def _names(self) -> set[str]:
        """Of all that tells of edges."""
        file = {learnt.NAME} if self._config and self._config.root_cause.graph_file else set()
        return {query.name for query in self._queries} | file

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._run, name='promlstm-dependencies', daemon=True).start()

    def _run(self) -> None:
        while not self._clock.stopping.is_set():
            self.look()
            until = self._clock.steady() + self._interval()
            while not self._changed.is_set() and (left := until - self._clock.steady()) > 0:
                if self._clock.stopping.wait(min(left / self._clock.speed, POLL_SECONDS)):
                    return

    def look(self) -> None:
        """Ask all queries once, and look at the file. Those of one source are asked one after the other, the sources at once.

        A source that takes longer than the interval is not waited for, and not asked again before it has answered.
        """
        self._changed.clear()
        with self._lock:
            self._hold(self._holder.graph)
        self._look_at_file()
        with self._lock:
            queries, sources = self._queries, self._sources
        by_source: dict[str, list[Query]] = {}
        for query in queries:
            by_source.setdefault(query.source, []).append(query)
        # No pool: its threads would be waited for when the exporter ends.
        self._asking = {name: thread for name, thread in self._asking.items() if thread.is_alive()}
        for name in by_source.keys() - self._asking.keys():
            self._asking[name] = threading.Thread(target=self._ask_all, args=(by_source[name], sources[name]), daemon=True)
            self._asking[name].start()
        until = time.monotonic() + self._interval() / self._clock.speed
        for thread in self._asking.values():
            while thread.is_alive() and not self._changed.is_set() and (left := until - time.monotonic()) > 0:
                thread.join(min(left, POLL_SECONDS))

    def _interval(self) -> float:
        return self._config.root_cause.interval if self._config else 0.0

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
            answer = hash(tuple(vector.keys))
            if self._is_known(query, answer, now):
                return
            found = edges.found(query, vector.keys, config.root_cause.within)
        except PromlstmError as error:
            with self._lock:
                if query in self._queries:
                    self._failed(query.name, 'edges cannot be queried, known edges stay in use', error)
            return
        with self._lock:
            if query not in self._queries:
                return  # another configuration is in force
            self._add(query.name, query.identity, found, now, vector.warnings)
            self._answers[query.name] = query, answer, now

    def _is_known(self, query: Query, answer: int, now: float) -> bool:
        """Whether an answer is the one before, which was taken in not long ago: to read 100 000 label sets again costs half a second."""
        with self._lock:
            known = self._answers.get(query.name)
            same = known is not None and known[:2] == (query, answer) and 0 <= now - known[2] < SAME_SECONDS
            if same and query.identity in self._holder.graph.sources:
                self._telemetry.set('promlstm_dependency_last_success_timestamp_seconds', now, query.name)
                return True
            return False

    def _look_at_file(self) -> None:
        """Read the file, if it has changed; its edges do not grow old."""
        with self._lock:
            config = self._config
            path = learnt.path_of(config) if config else None
            if not config or path is None:
                return
            known = stamp(path), path, config.root_cause
            try:
                if not self._file or self._file[0] != known:
                    _, found, sha256 = learnt.configured(config, path)
                    self._file = known, found, f'{learnt.NAME} {sha256}'
            except PromlstmError as error:
                self._failed(learnt.NAME, 'the graph cannot be used, the previous one stays in use', error)
            if self._file:
                self._add(learnt.NAME, self._file[2], self._file[1], self._clock.now(), good=self._file[0] == known)

    def _failed(self, name: str, message: str, error: Exception) -> None:
        self._answers.pop(name, None)
        self._telemetry.count('promlstm_dependency_failures', (name,))
        self._say(name, message, str(error))

    def _add(self, name: str, identity: str, found: Found, now: float, warnings: Sequence[str] = (), *, good: bool = True) -> None:
        graph = self._holder.graph.observed(now, found.edges, identity, found.within)
        self._hold(graph)
        self._telemetry.set('promlstm_dependency_edges', len(found.edges), name)
        if good:
            self._telemetry.set('promlstm_dependency_last_success_timestamp_seconds', now, name)
            self._say(name, 'some edges cannot be used', '; '.join((*found.odd, *graph.odd[identity], *warnings)))

    def _hold(self, graph: Graph) -> None:
        sources = {query.identity for query in self._queries} | ({self._file[2]} if self._file else set())
        graph = graph.only(sources)  # a restart brings back what others told of, at any time
        if graph is not self._holder.graph:
            self._holder.graph = graph
        self._telemetry.set('promlstm_dependency_remembered_edges', len(graph))

    def _say(self, name: str, message: str, problem: str) -> None:
        """Log a problem once, and when it is over; how many series it is about makes no other problem."""
        kind = _NUMBER.sub('', problem)
        if kind == self._said.get(name, ''):
            return
        self._said[name] = kind
        if problem:
            event(log, 'warn', message, edges=name, err=problem)
        else:
            event(log, 'info', 'edges can be used again', edges=name)
