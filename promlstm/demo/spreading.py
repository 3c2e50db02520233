"""What the exporter's incidents say of alarms that spread, step by step: when an incident opened, and when its cause was clear.

Who calls it: exporter (as the table of its incidents), display. What flows through: verdicts of committed steps in; out comes what was told, once
all detectors have made a step. Nothing is ranked here: it is what /api/v1/incidents tells at that moment.

The threads of the detectors race, so steps are taken in by their time. So the same seed gives the same incidents on a slow machine and on a fast one.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from promlstm.engine.columns import Floats, Verdicts
from promlstm.incidents import listing
from promlstm.incidents.listing import Cause, Key, Rankings
from promlstm.incidents.members import Origin
from promlstm.incidents.table import Incidents
from promlstm.incidents.view import View
from promlstm.settings import RootCause

PATIENCE_SECONDS = 60.0  # a detector that is further behind the others is not waited for
CLEAR = 0.7  # a cause is told of when it is as likely as this


@dataclass(frozen=True, slots=True)
class Told:
    """What was said of an incident after a step, unix seconds.

    start     of the incident, unix seconds
    names     (label, value) of what its entities belong to
    entities  how many it has
    cause     the likeliest; None = cannot tell
    """

    time: float
    incident: str
    start: float
    names: frozenset[tuple[str, str]]
    entities: int
    cause: Cause | None

    def __str__(self) -> str:
        """In words, without the reasons.

        >>> str(Told(0, '20260303-100330-9c1f', 0, frozenset(), 4, Cause(None, {}, 'service=database', 0.82, [])))
        'incident 20260303-100330-9c1f: 4 entities, cause: database (82 %)'
        """
        cause = f'cause: {self.cause.thing.partition("=")[2]} ({100 * self.cause.probability:.0f} %)' if self.cause else 'cannot tell the cause'
        return f'incident {self.incident}: {self.entities} entities, {cause}'

    @property
    def reasons(self) -> str:
        """Why the cause is blamed; empty where there is none."""
        return '; '.join(self.cause.reasons) if self.cause else ''

    def has(self, pairs: Sequence[tuple[str, str]], time: float) -> bool:
        """Whether an alarm of an entity with these labels is in it, which began at an instant."""
        return self.start <= time <= self.time and bool(self.names & set(pairs))

    def blames(self, name: tuple[str, str]) -> bool:
        """Whether this name is the likeliest cause."""
        return self.cause is not None and self.cause.thing == '='.join(name)


class Spreading(Incidents):
    """The incidents of an exporter, and what was told of those that spread to more than one thing.

    detectors  names of all that say something
    """

    def __init__(self, settings: RootCause, detectors: Sequence[str]) -> None:
        super().__init__(settings)
        self._ordering, self._newest = threading.Lock(), dict.fromkeys(detectors, -np.inf)
        self._waiting: list[tuple[float, str, tuple[Origin, Verdicts, Floats, Sequence[bytes]]]] = []
        self._ranked = Rankings()
        self._told: list[Told] = []
        self._latest: dict[str, Told] = {}  # by incident
        self._clear: dict[str, str] = {}  # by incident: the cause that was told of as clear

    def observe(self, origin: Origin, verdicts: Verdicts, gone: Floats, identities: Sequence[bytes]) -> None:
        """Take in a step, once those before it are there."""
        with self._ordering:
            self._waiting.append((verdicts.time, origin.name, (origin, verdicts, gone, identities)))
            self._newest[origin.name] = verdicts.time
            until = max(min(self._newest.values()), max(self._newest.values()) - PATIENCE_SECONDS)
            due = sorted((step for step in self._waiting if step[0] <= until), key=lambda step: step[:2])
            self._waiting = [step for step in self._waiting if step[0] > until]
            for time, steps in groupby(due, key=lambda step: step[0]):
                for _, _, step in steps:
                    super().observe(*step)
                self._look(time)

    def told(self) -> list[Told]:
        """What there was to tell, oldest first: of each incident when it spread, and when its cause was clear."""
        with self._ordering:
            return list(self._told)

    def latest(self) -> list[Told]:
        """The newest of each incident that spread, in the order in which they did."""
        with self._ordering:
            return list(self._latest.values())

    def _look(self, time: float) -> None:
        view = self.view(time)
        for key in reversed(listing.keys(view)):
            if key.open and (told := self._said(view, key)):
                before, cause = self._latest.get(told.incident), told.cause
                self._latest[told.incident] = told
                clear = cause is not None and cause.probability >= CLEAR and self._clear.get(told.incident) != cause.thing
                if before is None or clear:
                    self._told.append(told)
                if clear and cause:
                    self._clear[told.incident] = cause.thing
        self._ranked.keep(key.id for key in listing.keys(view) if key.open)

    def _said(self, view: View, key: Key) -> Told | None:
        """What there is to say of an incident; None = all its alarms are of one thing."""
        rows = np.flatnonzero(view.members.incident == key.number)
        things = np.unique(view.members.things[rows], axis=0)
        if len(things) < 2:
            return None
        names = frozenset(view.names.things[thing][1] for thing in things[things >= 0].tolist())
        causes = listing.causes(self._ranked.of(view, key.number), 1)
        return Told(view.now, key.id, float(view.spans.start[key.number]), names, len(rows), causes[0] if causes else None)
