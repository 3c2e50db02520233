"""What became of the planted faults: found, missed or too young to tell; and which alarms were false. No I/O, reads no clock.

An alarm begins when an entity's score reaches 1. It is a find if the sample that raised it lies between the start of a fault that touches
the entity and a little after its end; if there is none, the alarm is false, and so is one that is still on when its fault is long over.
One that is on when a fault begins does not find it: an alarm that is always on finds nothing. A fault is missed once all detectors that
could have seen it are past its end.

Who calls it: demo. What flows through: Verdicts, from the threads of the detectors; out come words and counts.
"""

import threading
from dataclasses import dataclass

import numpy as np

from promlstm.demo import fleet
from promlstm.engine import labels
from promlstm.query.selector import matches, selector


@dataclass(frozen=True, slots=True)
class Watched:
    """An entity that a detector is to score: what the configuration and the fleet say, not what came out.

    metrics  names of the metrics, one per feature
    """

    detector: str
    pairs: tuple
    metrics: tuple

    def touched_by(self, fault):
        """Whether a planted fault changes what this entity shows."""
        changed = fleet.KINDS[fault.kind][1]
        return any(metric in changed for metric in self.metrics) and set(self.pairs) <= set(fault.labels.items())

    def __str__(self):
        return dict(self.pairs).get('instance', labels.selector(self.pairs))


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest verdict on an entity, of the feature that contributes most.

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
    """An entity whose score reached 1: the reading that did it, and the fault that explains it, or None."""

    entity: Watched
    reading: Reading
    fault: fleet.Fault | None


def watched(config, telemetry):
    """All entities that the detectors of a configuration are to find in a telemetry, tuple of Watched."""
    found = {}
    for detector in config.detectors:
        for expr in detector.queries.values():
            matchers = selector(expr)
            for series in telemetry.series:
                if matches(matchers, {**series.labels, '__name__': series.metric}):
                    pairs = tuple(sorted((name, value) for name, value in series.labels.items() if not detector.by or name in detector.by))
                    found.setdefault((detector.name, pairs), []).append(series.metric)
    return tuple(Watched(name, pairs, tuple(metrics)) for (name, pairs), metrics in found.items())


class Scoring:
    """Keeps the readings, the alarms and the faults of one demo.

    begin          unix seconds: faults from here on count
    grace_seconds  how long after its end an alarm is still put down to a fault
    """

    def __init__(self, config, telemetry, begin, *, grace_seconds):
        self.entities = watched(config, telemetry)
        self.readings, self.alarms, self.scored = {}, [], set()
        self._config = {detector.name: detector for detector in config.detectors}
        self._known = {(entity.detector, entity.pairs): entity for entity in self.entities}
        self._telemetry, self._begin, self._grace, self._lock = telemetry, begin, grace_seconds, threading.Lock()
        self._on, self._reached = {}, dict.fromkeys(self._config, -np.inf)

    def note(self, detector, verdicts):
        """Take down one step of a detector; called from its thread."""
        name = detector.config.name
        with self._lock:
            for row, identity in enumerate(detector.entities.identities[: len(verdicts.score)]):
                entity = self._known.get((name, labels.pairs(identity)))
                if entity:
                    self._read(entity, _reading(verdicts, row, entity))
            self._reached[name] = verdicts.time

    def _read(self, entity, reading):
        self.readings[entity] = reading
        if np.isnan(reading.score):
            return
        self.scored.add(entity)
        if reading.score < 1:
            self._on.pop(entity, None)
            return
        fault = self._fault_near(entity, reading.time)
        if entity not in self._on or (fault is None and self._on[entity].fault):
            self._on[entity] = Alarm(entity, reading, fault)
            self.alarms.append(self._on[entity])

    def _fault_near(self, entity, time):
        sampled = time - self._config[entity.detector].delay
        near = self._telemetry.faults(sampled - self._grace, np.nextafter(sampled, np.inf))
        return next((fault for fault in near[::-1] if entity.touched_by(fault)), None)

    def findings(self, now):
        """What became of the faults that began before `now`: list of (Fault, `found`, `missed` or `on`, alarms)."""
        with self._lock:
            return [self._finding(fault) for fault in self._telemetry.faults(self._begin, now)]

    def _finding(self, fault):
        alarms = sorted((alarm for alarm in self.alarms if alarm.fault == fault), key=self._order)
        return fault, 'found' if alarms else 'missed' if self._passed(fault) else 'on', alarms

    def _order(self, alarm):
        """By time; of the same step, as the configuration has the detectors, whose threads race."""
        return alarm.reading.time, self.entities.index(alarm.entity)

    def _passed(self, fault):
        """Whether all detectors that could have seen a fault are past its end."""
        seers = {entity.detector for entity in self.entities if entity.touched_by(fault)}
        return all(self._reached[name] >= fault.end + self._grace + self._config[name].delay for name in seers)

    def steps_until(self, alarm):
        """How many samples of its fault the detector had seen when it alarmed; 1 = the very first raised it."""
        detector = self._config[alarm.entity.detector]
        first = np.ceil((alarm.fault.start + detector.delay) / detector.step) * detector.step
        return round((alarm.reading.time - first) / detector.step) + 1

    def false_alarms(self):
        """Alarms that no fault explains, oldest first."""
        with self._lock:
            return [alarm for alarm in self.alarms if alarm.fault is None]

    def unscored(self):
        """Entities that never had a score."""
        with self._lock:
            return [entity for entity in self.entities if entity not in self.scored]

    def newest(self):
        """A copy of the newest readings: {Watched: Reading}."""
        with self._lock:
            return dict(self.readings)


def _reading(verdicts, row, entity):
    share = verdicts.contribution[row]
    feature = int(np.nanargmax(share)) if np.isfinite(share).any() else 0
    columns = (verdicts.observed, verdicts.expected, verdicts.lower, verdicts.upper)
    return Reading(verdicts.time, float(verdicts.score[row]), entity.metrics[feature], *(float(column[row, feature]) for column in columns))
