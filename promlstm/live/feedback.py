"""Feedback by silences: what a silence with the comment `false alarm …` silences is accepted as normal, and what is expired early is taken back.

Who calls it: run starts Feedback, which reads the silences of an Alertmanager in a thread of its own; each runner has an Acceptance and asks it
before each step. What flows through: Silences in; out go rows of a detector, whose latch opens so that the next sample is the new normal.

Entities are compared with silences when these change, and new entities when they come: never at each step. What was remembered of an entity
before it was accepted is kept as long as the silence, and put back where somebody expires that before its time. Editing is no such end, for the
new silence covers the same entities. A restart forgets what was before: then what was accepted stays.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from promlstm.config import Alertmanager
from promlstm.engine import labels
from promlstm.engine.columns import Bools
from promlstm.engine.detector import Detector
from promlstm.engine.memory import Memory
from promlstm.errors import PromlstmError
from promlstm.logs import event
from promlstm.query import silences
from promlstm.query.http import Http
from promlstm.query.silences import Silence
from promlstm.serve.exposition import OURS
from promlstm.serve.telemetry import Telemetry

log = logging.getLogger('promlstm.feedback')


@dataclass(frozen=True, slots=True)
class Known:
    """What was read last of the silences that say false alarm: its number, those in force, and all."""

    number: int = 0
    active: tuple[Silence, ...] = ()
    every: tuple[Silence, ...] = ()


class Feedback:
    """The silences of an Alertmanager, read again and again.

    telemetry  says whether they could be read
    stopping   ends the thread
    """

    def __init__(self, telemetry: Telemetry, stopping: threading.Event) -> None:
        self._telemetry, self._stopping = telemetry, stopping
        self._lock, self._changed = threading.Lock(), threading.Event()
        self._settings: Alertmanager | None = None
        self._http: Http | None = None
        self._problem = ''
        self.known = Known()  # replaced, never changed

    def use(self, settings: Alertmanager | None, root: str | Path) -> None:
        """Ask this Alertmanager from now on, or none: then nothing is accepted any more."""
        with self._lock:
            if self._settings:
                self._telemetry.drop('promlstm_alertmanager_last_read_successful', self._settings.source.url)
            self._settings, self._http = settings, Http(settings.source, root=root, where='alertmanager') if settings else None
            if settings is None:
                self.known = Known(self.known.number + 1)
        self._changed.set()

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._run, name='promlstm-feedback', daemon=True).start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._changed.clear()
            self.look()
            with self._lock:
                interval = self._settings.interval if self._settings else 1.0
            while interval > 0 and not self._stopping.wait(min(interval, 1.0)) and not self._changed.is_set():
                interval -= 1.0

    def look(self) -> None:
        """Read the silences once; where that fails, those that are known stay in force."""
        with self._lock:
            settings, http = self._settings, self._http
        if not settings or not http:
            return
        try:
            found, problems = silences.read(http, settings.timeout)
        except PromlstmError as error:
            self._say_problem(str(error), settings, good=False)
            return
        self._say_problem('; '.join(problems), settings, good=True)
        with self._lock:
            every = tuple(silence for silence in found if silence.is_false_alarm)
            if settings is self._settings and every != self.known.every:
                self.known = Known(self.known.number + 1, silences.false_alarms(every), every)

    def _say_problem(self, problem: str, settings: Alertmanager, *, good: bool) -> None:
        self._telemetry.set('promlstm_alertmanager_last_read_successful', good, settings.source.url)
        if problem != self._problem:
            self._problem = problem
            if problem:
                event(log, 'warn', 'silences cannot be used' if good else 'silences cannot be read, known ones stay in force', err=problem)
            else:
                event(log, 'info', 'silences can be read again')


@dataclass(frozen=True, slots=True, eq=False)
class _Before:
    """What was remembered of some entities before a silence let them be accepted."""

    silence: str
    identities: list[bytes]
    memory: Memory


class Acceptance:
    """What silences mean for one detector.

    count  count(name of a counter of the detector, how many)
    say    say(level, message, **facts)
    """

    def __init__(self, name: str, count: Callable[[str, float], None], say: Callable[..., None]) -> None:
        self._name, self._count, self._say = name, count, say
        self._known, self._identities = Known(-1), list[bytes]()
        self._covered: list[tuple[Silence, Bools]] = []  # rows of each silence in force, as far as they were compared
        self._told: set[str] = set()  # ids of the silences that were told of
        self._before: list[_Before] = []

    def heed(self, detector: Detector, known: Known) -> None:
        """Accept what silences in force cover and a latch holds, and take back what was accepted by one that was expired early."""
        identities = detector.entities.identities
        if known.number != self._known.number or identities is not self._identities:
            changed, self._known, self._identities = known.number != self._known.number, known, identities
            self._covered = [(silence, np.zeros(0, bool)) for silence in known.active]
            self._compare(identities)
            if changed and known.number:
                for counter in ('accepted_alarms', 'restored_alarms'):  # so that the first one is an increase
                    self._count(counter, 0)
            if changed and self._before:
                self._take_back(detector)
        elif self._covered and len(identities) > len(self._covered[0][1]):
            self._compare(identities)
        for silence, rows in self._covered:
            held = np.flatnonzero(rows & detector.memory.latch.alarms)
            if len(held):
                self._remember(silence, [identities[row] for row in held], detector.accept(held))
                self._count('accepted_alarms', len(held))
                self._say('info', 'a silence calls it a false alarm: accepted as normal', entities=len(held), silence=silence.id)

    def _remember(self, silence: Silence, identities: list[bytes], memory: Memory) -> None:
        """Keep what was before; of an entity that is accepted again while that is kept, what was before the first time."""
        kept = {identity for each in self._before for identity in each.identities}
        new = np.array([place for place, identity in enumerate(identities) if identity not in kept], np.int64)
        if len(new):
            self._before.append(_Before(silence.id, [identities[place] for place in new], memory.take(new)))

    def _compare(self, identities: list[bytes]) -> None:
        """Which of the entities that were not compared yet each silence in force is about."""
        begin = len(self._covered[0][1]) if self._covered else 0
        found = [self._labels(identity) for identity in identities[begin:]] if self._covered else []
        covered = []
        for silence, rows in self._covered:
            about = [each for each in found if silence.concerns(each)]
            narrow = np.fromiter((silence.concerns(each) and silence.singles_out(each) for each in found), bool, len(found))
            if about and silence.id not in self._told:
                self._told.add(silence.id)
                if narrow.any():
                    self._say('info', 'a silence for a false alarm applies', entities=int(narrow.sum()), silence=silence.id)
                else:
                    what = 'a silence for a false alarm selects no subset of the entities and is ignored: use a matcher such as instance="…"'
                    self._say('warn', what, entities=len(about), silence=silence.id)
            covered.append((silence, np.concatenate([rows, narrow])))
        self._covered = covered

    def _labels(self, identity: bytes) -> dict[str, str]:
        """The labels of an entity as its alerts have them, and as it has them."""
        own = labels.pairs(identity)
        return {**dict(own), **dict(labels.exported(own, OURS)), 'detector': self._name}

    def _take_back(self, detector: Detector) -> None:
        """Put back what was before an early end, but where another silence in force covers the entity."""
        by_id = {silence.id: silence for silence in self._known.every}
        active = {silence.id for silence in self._known.active}
        kept: list[_Before] = []
        for each in self._before:
            if each.silence in active:
                kept.append(each)
            elif each.silence in by_id and by_id[each.silence].ended_early:
                kept += self._restored(detector, each)
        self._before = kept

    def _restored(self, detector: Detector, each: _Before) -> Sequence[_Before]:
        rows = detector.entities.rows_of(each.identities)
        covering = [next((silence.id for silence, mask in self._covered if row >= 0 and mask[row]), '') for row in rows]
        back = np.array([place for place, row in enumerate(rows) if row >= 0 and not covering[place]], np.int64)
        if not detector.memory.is_like(each.memory):  # another model has come, which remembers other things
            return []
        if len(back):
            detector.undo(np.array(rows, np.int64)[back], each.memory.take(back))
            self._count('restored_alarms', len(back))
            self._say('info', 'a silence was expired early: the previous normal levels are restored', entities=len(back), silence=each.silence)
        out = []
        for heir in dict.fromkeys(filter(None, covering)):
            places = np.array([place for place, name in enumerate(covering) if name == heir], np.int64)
            out.append(replace(each, silence=heir, identities=[each.identities[place] for place in places], memory=each.memory.take(places)))
        return out
