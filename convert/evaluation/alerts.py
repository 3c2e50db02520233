"""What the alerts of rules/recording.yml and alerts.yml make of recorded scores, by their defaults: warnings, and pages.

Called by healthy, which replays a model, and by the table of causes in docs. Scores of one number are entities of one detector. Which entities
are on one host is the caller's word: a page needs two detectors that are anomalous there at once, and the incidents are formed as
promlstm forms them where entities share an instance and there is no graph.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from promlstm.config import RootCause
from promlstm.incidents.members import SCRAPE_SECONDS
from promlstm.incidents.spans import QUIET_SECONDS, QUIET_STEPS

MINUTE = 60.0
KEPT = 5 * MINUTE               # keep_firing_for
WINDOW = float(RootCause().window)
LOOKBACK = 5 * MINUTE + SCRAPE_SECONDS      # an onset is uncertain by a step and by this: rate(…[5m]) and a scrape interval
SHARE, FEW, MANY = 0.3, 5, 50   # of a detector's entities, or a job's, that are many
WITNESSES, OF_JOB = 2, 3        # detectors that have to agree: on an incident, or on several detectors with many; on a job


@dataclass(slots=True)
class Alarm:
    """One alarm of one entity.

    row    of the entity
    onset  unix seconds of its first sample
    times  unix seconds of the anomalous samples
    """

    row: int
    onset: float
    times: list[float] = field(default_factory=list)

    def after(self, seconds):
        """The times of it that are so long after its onset, or longer."""
        return [time for time in self.times if time - self.onset >= seconds]


class Alarms:
    """Collects alarms step by step; `found` is a list of Alarm in the order in which they began."""

    def __init__(self, rows):
        self.found, self._onset, self._open = [], np.full(rows, np.nan), {}

    def add(self, time, score, since):
        """One step: score float [N], NaN = none; since float [N], as in promlstm.engine.columns.Verdicts.

        As promlstm:anomaly_since_timestamp_seconds: an anomaly keeps its beginning while it goes on; after calm samples the exporter's holds.
        """
        hot = score >= 1
        begun = np.where(np.isnan(since), time, since)
        self._onset = np.where(hot, np.where(np.isnan(self._onset), begun, self._onset), np.nan)
        for row in np.flatnonzero(hot).tolist():
            alarm = self._open.get(row)
            if alarm is None or alarm.onset != self._onset[row]:
                alarm = self._open[row] = Alarm(row, float(self._onset[row]))
                self.found.append(alarm)
            alarm.times.append(time)


def beginnings(times, kept=KEPT):
    """When an alert begins to fire whose condition holds at these times.

    >>> beginnings([60, 120, 480, 1200])
    [60, 1200]
    """
    times = sorted(times)
    return [time for before, time in zip([-np.inf, *times], times, strict=False) if time - before > kept + MINUTE]


class Rules:
    """The rules over alarms."""

    def __init__(self, alarms, detector, step_seconds):
        """Make them.

        alarms        list of Alarm
        detector      int [rows], the detector of each entity
        step_seconds  of all detectors
        """
        self.alarms, self.detector, self.step_seconds = alarms, detector, step_seconds
        long, confirmed = min(1800 // step_seconds, 5), min(1800 // step_seconds, 2)
        self._sustained = [alarm.after(long * step_seconds) for alarm in alarms]
        self._confirmed = [alarm.after(confirmed * step_seconds) for alarm in alarms]
        self._many = self._groups(detector)

    def many(self):
        """{detector: times at which many of its entities are anomalous, one of them for long}: PromlstmAnomalyInDetector."""
        return self._many

    def warnings(self):
        """When each warning begins: those of single entities, which stand back where many are anomalous, and those of whole detectors."""
        many, of_entity = {detector: set(times) for detector, times in self._many.items()}, defaultdict(list)
        for alarm, sustained in zip(self.alarms, self._sustained, strict=True):
            told = many.get(self.detector[alarm.row], ())
            of_entity[alarm.row] += [time for time in sustained if time not in told]
        return sorted(time for times in [*of_entity.values(), *self._many.values()] for time in beginnings(times))

    def pages(self, host, job):
        """When each page begins: of incidents, of jobs, and where many entities of several detectors are anomalous at once.

        host, job  int [rows], where each entity is. What the wider alert tells too is counted, so these are rather too many than too few.
        """
        count = Counter(time for times in self._many.values() for time in times)
        several = beginnings([time for time, detectors in count.items() if detectors >= WITNESSES])
        jobs = [time for times in self._groups(job, OF_JOB).values() for time in beginnings(times)]
        return sorted([*self._of_incidents(host), *jobs, *several])

    def _of_incidents(self, host):
        of_host = defaultdict(list)
        for number, alarm in enumerate(self.alarms):
            of_host[host[alarm.row]].append(number)
        return [
            time for numbers in of_host.values() if len(numbers) > 1
            for members in incidents([self.alarms[number] for number in numbers], self.step_seconds)
            for time in beginnings(self._agreed([numbers[member] for member in members]))
        ]  # fmt: skip

    def _agreed(self, members):
        """The times at which several detectors have an alarm for long."""
        who = defaultdict(set)
        for number in members:
            for time in self._sustained[number]:
                who[time].add(self.detector[self.alarms[number].row])
        return [time for time, detectors in who.items() if len(detectors) >= WITNESSES]

    def _groups(self, group, several=1):
        """{group: times at which many of its entities are anomalous, in so many detectors, one of them for long}; group int [rows]."""
        sizes, count, detectors, lasting = Counter(group.tolist()), Counter(), defaultdict(set), set()
        for alarm, confirmed, sustained in zip(self.alarms, self._confirmed, self._sustained, strict=True):
            own = int(group[alarm.row])
            lasting.update((own, time) for time in sustained)
            for time in confirmed:
                count[own, time] += 1
                detectors[own, time].add(self.detector[alarm.row])
        found = defaultdict(list)
        for (own, time), entities in count.items():
            many = entities >= np.clip(SHARE * sizes[own], FEW, MANY) and len(detectors[own, time]) >= several
            if many and (own, time) in lasting:
                found[own].append(time)
        return found


def incidents(alarms, step_seconds):
    """The incidents that alarms which share a thing form: lists of indices of alarms, in the order in which they began.

    An alarm belongs to an incident that is not over, if it began no more than a window after the last one of it.

    >>> first, late, again = Alarm(0, 0.0, [0.0, 60.0]), Alarm(1, 540.0, [540.0]), Alarm(2, 5000.0, [5000.0])
    >>> incidents([again, first, late], 60.0)
    [[1, 2], [0]]
    """
    found = []
    for number in sorted(range(len(alarms)), key=lambda number: alarms[number].onset):
        onset = alarms[number].onset
        for members in found:
            last = max(alarms[member].onset for member in members)
            calm = onset - max(time for member in members for time in alarms[member].times if time <= onset)
            if onset - step_seconds - LOOKBACK - last <= WINDOW and calm <= max(QUIET_SECONDS, QUIET_STEPS * step_seconds):
                members.append(number)
                break
        else:
            found.append([number])
    return found
