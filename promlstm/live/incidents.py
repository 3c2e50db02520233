"""Incidents beside the steps: what runners say is taken in, and one thread puts the gauges of incidents on the page.

Who calls it: runner (observe, through its relay; rewind), scheduler (start, use, forget, kept), site and ui (listing,
open_with). What flows through: verdicts of committed steps in; blocks of text and lists for the API out. Whatever fails here is logged and counted, and
no step and no score suffers from it.

At the start the file of the storage is read before the first step is taken in. The gauges are made once for all detectors whose steps come
together, in a thread, so that no step waits for a ranking.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

import numpy as np

from promlstm.config import RootCause
from promlstm.engine import labels
from promlstm.engine.columns import Bools, Ints, Verdicts
from promlstm.engine.detector import Detector
from promlstm.incidents import listing
from promlstm.incidents.blame import Blame
from promlstm.incidents.graph import Graph
from promlstm.incidents.listing import Incident, Key, Rankings
from promlstm.incidents.members import WAITING, Origin
from promlstm.incidents.record import Record
from promlstm.incidents.surroundings import Surroundings, surroundings
from promlstm.incidents.table import Incidents
from promlstm.incidents.view import View
from promlstm.live.clock import Clock
from promlstm.live.storage import Storage
from promlstm.logs import event
from promlstm.serve.api import Asked
from promlstm.serve.exposition import Block, prefix
from promlstm.serve.incidents import Gauges, render
from promlstm.serve.telemetry import Telemetry

log = logging.getLogger('promlstm.incidents')

MOST_SHOWN = 100  # incidents on the page
LOOK_SECONDS = 5.0  # the page is made anew after this, even if no step came: incidents end, and detectors fall silent
KEPT_SECONDS = 60.0  # the gauges leave the page so long after they were made: only if the thread does not go on
PAUSE_SECONDS, PAUSE_SHARE = 0.1, 4.0  # between two pages, and as a multiple of the time that the last one took
WAIT_SECONDS = 0.2
REPEAT_SECONDS = 300.0  # the same failure is logged again after this


class Gathering:
    """The incidents of a running exporter.

    publish  publish(blocks, expires): {family: text}, instant of the clock after which they are stale
    table    where they are; None = a new one. The demo has one of its own
    """

    def __init__(
        self,
        settings: RootCause,
        clock: Clock,
        telemetry: Telemetry,
        publish: Callable[[Mapping[str, Block], float], None],
        table: Incidents | None = None,
    ) -> None:
        self._clock, self._telemetry, self._publish = clock, telemetry, publish
        self._table, self._rankings = Incidents(settings) if table is None else table, Rankings()
        self._changed, self._ready, self._ranking = threading.Event(), threading.Event(), threading.Lock()
        self._prefixes: dict[tuple[str, bytes], bytes] = {}
        self._said: dict[str, float] = {}
        self._ready.set()
        for stage in ('observe', 'show', 'write'):
            telemetry.count('promlstm_incident_failures', (stage,), 0)

    @property
    def graph(self) -> Graph:
        """What depends on what, once the storage was read; whoever learns more sets a new one."""
        self.wait()
        return self._table.graph

    @graph.setter
    def graph(self, graph: Graph) -> None:
        self._table.graph = graph
        self._changed.set()

    def start(self, storage: Storage | None) -> None:
        """Go on from the file of the storage, and begin to publish."""
        self._ready.clear()
        threading.Thread(target=self._run, args=(storage,), name='promlstm-incidents', daemon=True).start()

    def wait(self) -> bool:
        """Wait until the storage was read; False = the exporter is stopping."""
        while not self._ready.wait(WAIT_SECONDS):
            if self._clock.stopping.is_set():
                return False
        return True

    def observe(self, origin: Origin, detector: Detector, verdicts: Verdicts, missing: Bools | None = None) -> None:
        """Take in a committed step of a detector, live or replayed. missing: bool [N]; None = it is asked for."""
        try:
            lost = detector.lost(detector.missing(verdicts) if missing is None else missing)
            self._table.observe(origin, verdicts, lost, detector.entities.identities)
        except Exception as error:  # noqa: BLE001 (a step is not harmed)
            self._failed('observe', error, detector=origin.name)
        self._changed.set()

    def rewind(self, detector: str) -> None:
        """The clock was set back."""
        self._table.rewind(detector, self._clock.now())
        self._changed.set()

    def forget(self, detector: str) -> None:
        """A detector is no longer configured."""
        self._table.forget(detector)
        self._changed.set()

    def use(self, settings: RootCause) -> None:
        """Go by other settings from now on; incidents stay."""
        self._table.use(settings)
        self._changed.set()

    def kept(self) -> Record | None:
        """What the storage writes; None = it was not read yet, or there is nothing to write."""
        record = self._table.record() if self._ready.is_set() else None
        return record if record and record.time else None

    def listing(self, asked: Asked, among: Callable[[View], Bools] | None = None) -> tuple[list[Incident], tuple[bool, str] | None]:
        """The incidents that are asked for, and (open, id) of the last one if there are more.

        among  gives those that count, bool [I]; None = all do
        """
        view = self._table.view(self._clock.now())
        keys = [key for key in listing.keys(view) if asked.state == 'all' or key.open == (asked.state == 'open')]
        if among:
            wanted = among(view)
            keys = [key for key in keys if wanted[key.number]]
        if asked.after is not None:
            keys = [key for key in keys if key.order < asked.after]
        active = view.active()
        found = [listing.incident(view, key, self._blame(view, key), active) for key in keys[: asked.limit]]
        return found, keys[asked.limit - 1].order if len(keys) > asked.limit else None

    def gravest(self, most: int) -> tuple[list[Incident], bool]:
        """The open incidents that concern the most entities, and whether there are more open ones."""
        view = self._table.view(self._clock.now())
        keys, active = listing.gravest(view, most + 1), view.active()
        return [listing.incident(view, key, self._blame(view, key), active) for key in keys[:most]], len(keys) > most

    def open_with(self, detector: str, identity: bytes) -> tuple[str, list[tuple[str, bytes]]] | None:
        """The open incident of an entity; None = there is none.

        returns  (its id, (detector, identity) of those that are anomalous or missing now, the first ones first)
        """
        view = self._table.view(self._clock.now())
        members = view.members
        mine = [row for row, each in enumerate(members.identities) if each == identity and view.origins[members.detector[row]].name == detector]
        opened = view.open()
        for number in members.incident[mine].tolist():
            if number != WAITING and opened[number] and view.spans.ids[number]:
                rows = np.flatnonzero(view.active() & (members.incident == number))
                return view.spans.ids[number], [(view.origins[members.detector[row]].name, members.identities[row]) for row in listing.shown(view, rows)]
        return None

    def one(self, name: str) -> tuple[Incident, Surroundings] | None:
        """The incident of an id with the graph around it; None = it is not known, or not any more."""
        view = self._table.view(self._clock.now())
        key = next((key for key in listing.keys(view) if key.id == name), None)
        if key is None:
            return None
        found = self._blame(view, key)
        return listing.incident(view, key, found, view.active()), surroundings(found)

    # From here on: the thread, and what it shares with the API.

    def _run(self, storage: Storage | None) -> None:
        try:
            if storage:
                storage.restore_incidents(self._table.restore)
        except Exception as error:  # noqa: BLE001 (the steps wait for it)
            self._failed('observe', error)
        finally:
            self._ready.set()
        while not self._clock.stopping.is_set():
            began = time.monotonic()
            self._changed.clear()
            try:
                self._show()
            except Exception as error:  # noqa: BLE001 (the next step may have better ones)
                self._failed('show', error)
            if self._clock.stopping.wait(max(PAUSE_SECONDS, PAUSE_SHARE * (time.monotonic() - began))):
                return
            looks = int(LOOK_SECONDS)
            while looks and not self._changed.wait(1.0) and not self._clock.stopping.is_set():
                looks -= 1

    def _show(self) -> None:
        """Put the open incidents on the page."""
        now = self._clock.now()
        view = self._table.view(now)
        keys = [key for key in listing.keys(view)[:MOST_SHOWN] if key.open]
        active, used = view.active(), dict[tuple[str, bytes], bytes]()
        shown = [self._gauges(view, key, np.flatnonzero(active & (view.members.incident == key.number)), used) for key in keys]
        self._prefixes = used
        with self._ranking:
            self._rankings.keep(key.id for key in keys)
        self._publish(render(shown), now + KEPT_SECONDS * self._clock.speed)

    def _gauges(self, view: View, key: Key, rows: Ints, used: dict[tuple[str, bytes], bytes]) -> Gauges:
        members = view.members

        def text(detector: str, identity: bytes) -> bytes:
            of = detector, identity
            if of not in used:
                used[of] = self._prefixes.get(of) or prefix(detector, labels.pairs(identity))
            return used[of]

        found = self._blame(view, key)
        causes = [
            (text(*who) if who else prefix('', (found.things[thing],)), probability) for thing, who, probability in found.causes(listing.MOST_CAUSES)
        ]
        lines = [text(view.origins[members.detector[row]].name, members.identities[row]) for row in listing.shown(view, rows)]
        return Gauges(key.id, float(view.spans.start[key.number]), len(rows), len(np.unique(members.detector[rows])), lines, causes)

    def _blame(self, view: View, key: Key) -> Blame:
        with self._ranking:
            return self._rankings.of(view, key.number)

    def _failed(self, stage: str, error: Exception, **facts: str) -> None:
        self._telemetry.count('promlstm_incident_failures', (stage,))
        key, now = f'{stage}: {type(error).__name__}', time.monotonic()
        if now - self._said.get(key, -np.inf) >= REPEAT_SECONDS:
            self._said[key] = now
            event(log, 'error', 'incidents failed and are incomplete, scores continue', exc_info=error, stage=stage, **facts)
