"""Which injected faults were found or missed, and which alarms were false. No I/O, reads no clock.

An alarm begins when an entity's score reaches 1. It finds a fault if the sample that raised it lies between the start of a fault that
affects the entity and the end of its grace period. If there is no such fault the alarm is false, and so is one that still lasts when the
grace period is over. An alarm that was there before the fault began does not find it: an alarm that is always on finds nothing. Once all
detectors that could have found a fault are past its grace period, it is missed; where none of them showed all of its steps, for the machine
was too slow, it is skipped.

Who calls it: demo. What flows through: Verdicts, from the threads of the detectors; out come findings and counts.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from promlstm.config import Config
from promlstm.config import Detector as Settings
from promlstm.demo.estate import Fault
from promlstm.demo.fleet import Series
from promlstm.engine import labels
from promlstm.engine.columns import Bools, Verdicts
from promlstm.engine.detector import Detector
from promlstm.query.selector import matches, selector

State = Literal['found', 'missed', 'skipped', 'open']  # open = none of these yet


class Telemetry(Protocol):
    """What is watched, and the faults in it; Estate is one."""

    @property
    def series(self) -> Sequence[Series]: ...

    def faults(self, begin: float, end: float) -> Sequence[Fault]:
        """The faults that touch [begin, end), in time order."""

    def affects(self, fault: Fault, metric: str, labels: Mapping[str, str]) -> bool:
        """Whether a fault changes a series of this metric that has these labels."""


@dataclass(frozen=True, slots=True)
class Watched:
    """An entity that a detector has to score, known from the configuration and the fleet, not from results.

    pairs    labels, (name, value) sorted by name
    metrics  names of the metrics, one per feature
    """

    detector: str
    pairs: tuple[tuple[str, str], ...]
    metrics: tuple[str, ...]

    def __str__(self) -> str:
        named = dict(self.pairs)
        return named.get('instance') or named.get('service') or labels.selector(self.pairs)


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest verdict on an entity, for the feature that contributes most.

    time   unix seconds of the step
    score  NaN = not scored
    """

    time: float
    score: float
    metric: str
    observed: float
    expected: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """An entity whose score reached 1: the reading that raised the alarm, and the fault that explains it, or None."""

    entity: Watched
    reading: Reading
    fault: Fault | None


Finding = tuple[Fault, State, list[Alarm]]


def watched(config: Config, telemetry: Telemetry) -> tuple[Watched, ...]:
    """All entities of a fleet that the detectors of a configuration have to score."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
    for detector in config.detectors:
        for expr in detector.queries.values():
            matchers = selector(expr)
            for series in telemetry.series:
                if matches(matchers, {**series.labels, '__name__': series.metric}):
                    pairs = tuple(sorted((name, value) for name, value in series.labels.items() if not detector.by or name in detector.by))
                    found.setdefault((detector.name, pairs), []).append(series.metric)
    return tuple(Watched(name, pairs, tuple(metrics)) for (name, pairs), metrics in found.items())


class Scoring:
    """The readings, the alarms and the faults of one demo.

    begin          unix seconds: faults from here on count
    grace_seconds  an alarm up to this long after the end of a fault still counts as finding it
    """

    def __init__(self, config: Config, telemetry: Telemetry, begin: float, *, grace_seconds: float) -> None:
        self.entities = watched(config, telemetry)
        self.readings: dict[Watched, Reading] = {}
        self.alarms: list[Alarm] = []
        self.scored: set[Watched] = set()
        self._config = {detector.name: detector for detector in config.detectors}
        self._known = {(entity.detector, entity.pairs): entity for entity in self.entities}
        self._telemetry, self._begin, self._grace, self._lock = telemetry, begin, grace_seconds, threading.Lock()
        self._open: dict[Watched, Alarm] = {}  # alarms that last now
        self._steps: dict[str, set[float]] = {name: set() for name in self._config}  # that each detector has shown

    def record(self, detector: Detector, verdicts: Verdicts, _missing: Bools | None = None) -> None:
        """Record one step of a detector; called from its thread."""
        name = detector.config.name
        with self._lock:
            for row, identity in enumerate(detector.entities.identities[: len(verdicts.score)]):
                entity = self._known.get((name, labels.pairs(identity)))
                if entity:
                    self._read(entity, _reading(verdicts, row, entity))
            self._steps[name].add(verdicts.time)

    def _read(self, entity: Watched, reading: Reading) -> None:
        self.readings[entity] = reading
        if np.isnan(reading.score):
            return
        self.scored.add(entity)
        if reading.score < 1:
            self._open.pop(entity, None)
            return
        fault = self._fault_at(entity, reading.time)
        if entity not in self._open or (fault is None and self._open[entity].fault):
            self._open[entity] = Alarm(entity, reading, fault)
            self.alarms.append(self._open[entity])

    def _fault_at(self, entity: Watched, time: float) -> Fault | None:
        """The fault that affects an entity at an instant, grace period included."""
        sampled = time - self._config[entity.detector].delay
        near = self._telemetry.faults(sampled - self._grace, float(np.nextafter(sampled, np.inf)))
        return next((fault for fault in near[::-1] if self._affects(fault, entity)), None)

    def _affects(self, fault: Fault, entity: Watched) -> bool:
        """Whether a fault changes a metric of an entity."""
        return any(self._telemetry.affects(fault, metric, dict(entity.pairs)) for metric in entity.metrics)

    def findings(self, now: float) -> list[Finding]:
        """The faults that began before `now`: (Fault, State, alarms that found it)."""
        with self._lock:
            return [self._finding(fault) for fault in self._telemetry.faults(self._begin, now)]

    def _finding(self, fault: Fault) -> Finding:
        alarms = sorted((alarm for alarm in self.alarms if alarm.fault == fault), key=self._order)
        return fault, 'found' if alarms else self._without_alarm(fault), alarms

    def _order(self, alarm: Alarm) -> tuple[float, int]:
        """By time; within a step in the order of the configuration, because the threads of the detectors race."""
        return alarm.reading.time, self.entities.index(alarm.entity)

    def _without_alarm(self, fault: Fault) -> State:
        """The state of a fault that no alarm has found."""
        able = {entity.detector: self._config[entity.detector] for entity in self.entities if self._affects(fault, entity)}
        if any(max(self._steps[name], default=-np.inf) < fault.end + self._grace + detector.delay for name, detector in able.items()):
            return 'open'
        return 'missed' if any(self._steps[name] >= _steps_of(fault, detector) for name, detector in able.items()) else 'skipped'

    def steps_until(self, alarm: Alarm) -> int:
        """After how many samples of its fault the detector raised an alarm that found one; 1 = at the very first."""
        assert alarm.fault is not None
        detector = self._config[alarm.entity.detector]
        return round((alarm.reading.time - min(_steps_of(alarm.fault, detector))) / detector.step) + 1

    def false_alarms(self) -> list[Alarm]:
        """Alarms that no fault explains, oldest first."""
        with self._lock:
            return [alarm for alarm in self.alarms if alarm.fault is None]

    def unscored(self) -> list[Watched]:
        """Entities that never had a score."""
        with self._lock:
            return [entity for entity in self.entities if entity not in self.scored]

    def newest(self) -> Mapping[Watched, Reading]:
        """A copy of the newest readings."""
        with self._lock:
            return dict(self.readings)


def _steps_of(fault: Fault, detector: Settings) -> set[float]:
    """The instants of a detector whose samples lie in a fault, unix seconds."""
    first, last = math.ceil((fault.start + detector.delay) / detector.step), math.floor((fault.end + detector.delay) / detector.step)
    return {number * detector.step for number in range(first, last + 1)}


def _reading(verdicts: Verdicts, row: int, entity: Watched) -> Reading:
    share = verdicts.contribution[row]
    feature = int(np.nanargmax(share)) if np.isfinite(share).any() else 0
    columns = (verdicts.observed, verdicts.expected, verdicts.lower, verdicts.upper)
    return Reading(verdicts.time, float(verdicts.score[row]), entity.metrics[feature], *(float(column[row, feature]) for column in columns))
