"""The incidents of all detectors: alarms that began close together and can reach each other, found as the steps come.

Who calls it: live.incidents and backtest (observe, forget, rewind), whoever shows them (view). What flows through: verdicts of committed steps in;
out go columns of members and incidents. It has no clock and no thread; a lock is held while a step is taken in. What readers get is never changed
afterwards.

A detector that replays its past and one that is in the present may be mixed: all rules look at the times of the samples, not at when they came. A
step of a detector that was seen before is left out.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat

import numpy as np

from promlstm.engine.columns import READY, Bools, Floats, Floats32, Ints, Tensors, Verdicts
from promlstm.incidents import grouping, record, spans
from promlstm.incidents.edges import linking
from promlstm.incidents.graph import Graph
from promlstm.incidents.grouping import Linking, Names
from promlstm.incidents.members import WAITING, Members, Origin, Seen, seen
from promlstm.incidents.record import Record
from promlstm.incidents.rises import Rises
from promlstm.incidents.spans import Spans
from promlstm.incidents.view import View
from promlstm.settings import RootCause

MOST_MEMBERS, MOST_INCIDENTS, MOST_OPEN = 100_000, 1_000, 500
SPARE = 0.9  # what is left of a limit after the oldest have gone
LEAST_FLOOD, FLOOD_SHARE = 20, 0.05
MOST_LINKED = 10_000  # members of a flood whose neighbours in the graph are looked at, too
SPENT = 256  # missing entities that nothing came of, and incidents that became part of others, are dropped when they are so many


class Incidents:
    """The incidents of all detectors.

    graph  what depends on what; it is replaced from outside
    past   the detectors replay their past one after the other: incidents get their ids from `finish`
    """

    def __init__(self, settings: RootCause, *, past: bool = False) -> None:
        self._lock, self.graph, self._past = threading.Lock(), Graph(), past
        self._linking, self._window = _linking(settings), float(settings.window)
        self._members, self._spans, self._names = Members.blank(self._linking.links), Spans.blank(), Names()
        self._origins: list[Origin] = []
        self._index: list[dict[bytes, int]] = []  # by number of the detector: the newest member of each entity
        self._rises: list[tuple[Rises, Sequence[bytes]]] = []  # by number of the detector: what rose lately, and whose scores these are
        self._steps, self._times, self._scored, self._removed = np.empty(0), np.empty(0), np.empty(0, np.int64), np.empty(0, bool)
        self._number = 0

    def use(self, settings: RootCause) -> None:
        """Link members by other labels from now on; incidents stay as they are."""
        with self._lock:
            self._window = float(settings.window)
            if _linking(settings) != self._linking:
                self._linking = _linking(settings)
                self._link()

    def observe(self, origin: Origin, verdicts: Verdicts, gone: Floats, identities: Sequence[bytes]) -> None:
        """Take in a committed step of a detector.

        gone        float64 [N]  unix seconds: the first step without a sample of an entity that is missing; NaN = it is not
        identities  N label sets, as labels.identity gives them
        """
        found = seen(verdicts, gone)
        names = [identities[row] for row in found.rows.tolist()]
        with self._lock:
            detector = self._detector(origin)
            if not verdicts.time > self._times[detector]:
                return
            self._times[detector] = verdicts.time
            self._scored[detector] = int((verdicts.status == READY).sum())
            self._rise(detector, verdicts, identities)
            if names:
                self._take_in(detector, verdicts.time, found, names)
            if not self._past:
                self._settle()

    def forget(self, detector: str) -> None:
        """A detector is no longer configured: its alarms are over."""
        with self._lock:
            for number, origin in enumerate(self._origins):
                if origin.name == detector:
                    self._removed[number], self._index[number], self._rises[number] = True, {}, _NOTHING

    def rewind(self, detector: str, now: float) -> None:
        """The clock was set back to an instant: what a detector has said of later ones was said of that one."""
        with self._lock:
            for number, origin in enumerate(self._origins):
                if origin.name == detector and self._times[number] > now:
                    self._times[number] = now
                    rows = np.flatnonzero(self._members.detector == number)
                    columns = {name: getattr(self._members, name).copy() for name in ('onset', 'since', 'last', 'gone')}
                    for column in columns.values():
                        column[rows] = np.minimum(column[rows], now)
                    self._members = replace(self._members, **columns)
                    self._tell(np.unique(self._members.incident[rows]))

    def finish(self) -> None:
        """All of the past was seen: incidents get their ids."""
        with self._lock:
            self._past = False
            self._settle()

    def view(self, now: float) -> View:
        """All of it as of an instant, unix seconds."""
        with self._lock:
            return View(
                now, self._members, self._spans, self._names, self._linking, tuple(self._origins), self._steps.copy(), self._times.copy(),
                self._removed.copy(), self.graph, self._window, tuple(self._rises),
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self._spans)

    # From here on: with the lock.

    def _detector(self, origin: Origin) -> int:
        """The number of a detector, which is told how it is now."""
        number = next((number for number, each in enumerate(self._origins) if each.name == origin.name), len(self._origins))
        if number == len(self._origins):
            self._origins.append(origin)
            self._index.append({})
            self._rises.append(_NOTHING)
            self._steps, self._times = np.append(self._steps, origin.step_seconds), np.append(self._times, -np.inf)
            self._scored, self._removed = np.append(self._scored, 0), np.append(self._removed, False)
        self._origins[number], self._steps[number], self._removed[number] = origin, origin.step_seconds, False
        return number

    def _take_in(self, detector: int, time: float, found: Seen, names: list[bytes]) -> None:
        if len(self._members) + len(names) > MOST_MEMBERS:
            self._drop(len(names))
        members, index = self._members, self._index[detector]
        rows = np.fromiter(map(index.get, names, repeat(-1)), np.int64, len(names))
        known = np.flatnonzero(rows >= 0)
        known = known[self._goes_on(rows[known], time, found.anomalous[known], found.begun[known])]
        if len(known):
            self._go_on(rows[known], time, found, known)
        new = np.ones(len(names), bool)
        new[known] = False
        placed = rows[known][found.anomalous[known] & (members.incident[rows[known]] == WAITING)]
        more = self._kept(np.flatnonzero(new), found)
        if len(more):
            placed = np.concatenate([placed, self._begin(detector, time, found, more, [names[row] for row in more.tolist()])])
        for onset in np.unique(self._members.onset[placed]):
            self._place(placed[self._members.onset[placed] == onset], time)
        self._drop()

    def _goes_on(self, rows: Ints, time: float, anomalous: Bools, begun: Floats) -> Bools:
        """Whether what is seen of some members is the same alarm or absence, or is within the same incident."""
        members, incident = self._members, self._members.incident[rows]
        same = np.where(anomalous, members.since[rows] == begun, members.gone[rows] >= begun)
        lasts = np.zeros(len(rows), bool)
        inside = incident != WAITING
        lasts[inside] = time - self._spans.last[incident[inside]] <= self._spans.quiet[incident[inside]]
        waits = ~inside & (begun - members.gone[rows] <= spans.QUIET_SECONDS) & (begun - members.onset[rows] <= self._window)
        goes_on: Bools = same | lasts | (waits & anomalous)
        return goes_on

    def _go_on(self, rows: Ints, time: float, found: Seen, known: Ints) -> None:
        """Members (int64 [n]) that are anomalous or missing still, as rows of what is seen (int64 [n])."""
        members, anomalous = self._members, found.anomalous[known]
        alarmed, lost = rows[anomalous], rows[~anomalous]
        columns = {name: getattr(members, name).copy() for name in ('since', 'last', 'gone', 'peak', 'score', 'direction', 'feature', 'view')}
        columns['gone'][lost] = time
        columns['last'][alarmed], columns['since'][alarmed], columns['score'][alarmed] = time, found.begun[known][anomalous], found.score[known][anomalous]
        higher = anomalous & ~(found.score[known] <= members.peak[rows])
        for name, column in (('peak', found.score), ('direction', found.direction), ('feature', found.feature), ('view', found.view)):
            columns[name][rows[higher]] = column[known][higher]
        self._members = replace(members, **columns)
        self._number += 1
        of = members.incident[alarmed]
        changed = members.incident[np.concatenate([rows[higher], lost[np.isnan(members.gone[lost])]])]
        self._spans = self._spans.seen(of[of != WAITING], time, changed[changed != WAITING], self._number)

    def _kept(self, rows: Ints, found: Seen) -> Ints:
        """Which rows of what is seen become members: all, or the highest scores where there is no room for more."""
        room = max(0, MOST_MEMBERS - len(self._members))
        if len(rows) <= room:
            return rows
        return np.sort(rows[np.argsort(-np.nan_to_num(found.score[rows], nan=0.0), kind='stable')[:room]])

    def _begin(self, detector: int, time: float, found: Seen, rows: Ints, names: list[bytes]) -> Ints:
        """New members of what is seen (rows: int64 [n]), which wait for an incident; returns their rows."""
        count, anomalous = len(rows), found.anomalous[rows]
        within, things = self._names.of(self._linking, names)
        begun, nothing = found.begun[rows], np.full(count, np.nan)
        score = np.where(anomalous, found.score[rows], np.float32(np.nan))
        more = Members(
            names, np.full(count, detector), np.full(count, WAITING), within, things, begun,
            np.full(count, self._origins[detector].uncertainty_seconds), np.where(anomalous, begun, nothing), np.where(anomalous, time, nothing),
            np.where(anomalous, nothing, time), score, self._before(detector, found.rows[rows], begun), score, found.direction[rows] * anomalous,
            found.feature[rows], found.view[rows],
        )  # fmt: skip
        first = len(self._members)
        self._members = self._members.joined(more)
        self._index[detector].update(zip(names, range(first, first + count), strict=True))
        return np.arange(first, first + count)

    def _rise(self, detector: int, verdicts: Verdicts, identities: Sequence[bytes]) -> None:
        """Note what rose; from nothing, where the entities have other rows than before."""
        rises, known = self._rises[detector]
        if known is not identities and known[: len(rises.onset)] != identities[: len(rises.onset)]:
            rises = Rises.blank(0)
        self._rises[detector] = rises.after(verdicts, self._steps[detector]), identities

    def _before(self, detector: int, rows: Ints, begun: Floats) -> Floats32:
        """float32 [n]: the scores of some rows of a detector's step just before their alarms began; NaN = not known."""
        rises, _ = self._rises[detector]
        return np.where(rises.onset[rows] == begun, rises.before[rows], np.float32(np.nan))

    def _place(self, rows: Ints, time: float) -> None:
        """Find the incident of some members with one onset, which wait (int64 [n]); those that are missing wait on where there is none."""
        members, window = self._members, self._window
        onset, uncertainty = float(members.onset[rows[0]]), float(members.uncertainty[rows[0]])
        takes = self._spans.takes(onset, uncertainty, window)
        waits = members.incident == WAITING
        inside = ~waits
        inside[inside] = takes[members.incident[inside]]
        detector = int(members.detector[rows[0]])
        alone, everywhere = self._is_flood(detector, onset)
        flood = alone or everywhere
        if flood:
            inside &= np.isin(members.within, members.within[rows])
        elif not len(self.graph):
            inside[inside] = np.isin(members.things[inside], np.setdiff1d(members.things[waits], [-1])).any(axis=1)
        chosen = inside | (waits & (np.abs(members.onset - onset) <= window + uncertainty))
        chosen[rows] = True
        pool = np.flatnonzero(chosen)
        own, things, within, incident = np.isin(pool, rows), members.things[pool], members.within[pool], members.incident[pool]
        near = np.empty((0, 2), np.int64) if flood and len(pool) > MOST_LINKED else self._near(things)
        recent = (members.onset[pool] >= onset - window - uncertainty) & (everywhere | (members.detector[pool] == detector))
        groups = grouping.together(things, np.where(flood & recent, within, -1), incident, near)
        if not flood and len(np.unique(groups[own])) + self._count_open() > MOST_OPEN:
            groups = grouping.together(things, within, incident, near)
        order = np.argsort(groups, kind='stable')
        parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
        new: list[int] = []
        touched, place = set[int](), members.incident.copy()
        for part in parts:
            if not own[part].any():
                continue
            found = np.unique(incident[part])
            found = found[found != WAITING]
            if not len(found):
                if np.isnan(members.last[pool[part]]).all() or len(self._spans) + len(new) >= MOST_INCIDENTS:
                    continue
                target = len(self._spans) + len(new)
                new.append(target)
            else:
                target = self._spans.oldest(found.tolist())
                place[np.isin(place, found)] = target
            place[pool[part]] = target
            touched |= {target, *found.tolist()}
        if touched:
            self._members = replace(members, incident=place)
            self._spans = self._spans.joined(Spans.blank(len(new), time))
            self._tell(np.array(sorted(touched)))

    def _is_flood(self, detector: int, onset: float) -> tuple[bool, bool]:
        """Whether so many alarms began within the window before an onset that they are told as one: of a detector, and of all together."""
        members = self._members
        recent = (members.onset <= onset) & (members.onset > onset - self._window) & ~np.isnan(members.last)
        counts = int((recent & (members.detector == detector)).sum()), int(recent.sum())
        scored = int(self._scored[detector]), int(self._scored[~self._removed].sum())
        alone, everywhere = (count > max(LEAST_FLOOD, FLOOD_SHARE * of) for count, of in zip(counts, scored, strict=True))
        return alone, everywhere

    def _near(self, things: Ints) -> Ints:
        """int64 [P, 2]: which of the names are close to each other in the graph."""
        pairs = [np.empty((0, 2), np.int64)]
        if len(self.graph):
            for within, numbers in grouping.by_within(self._names, np.unique(things[things >= 0]).tolist(), self.graph.names).items():
                if len(numbers) > 1:
                    scope = tuple(zip(self._linking.within, self._names.withins[within], strict=True))
                    pairs.append(np.array(list(numbers.values()))[self.graph.near(list(numbers), within=scope)].reshape(-1, 2))
        return np.concatenate(pairs)

    def _tell(self, touched: Ints) -> None:
        """Let some incidents (int64 [n]) be as their members are."""
        self._number += 1
        self._spans = self._spans.told(self._members, touched[touched != WAITING], self._steps, self._number)

    def _count_open(self) -> int:
        """How many incidents are not over by the newest step of any detector."""
        return int((self._spans.last + self._spans.quiet >= self._times.max()).sum())

    def _settle(self) -> None:
        """Give an id to incidents whose first member is known: all detectors have made their step of that instant, or one has made a later one."""
        for number in [number for number, known in enumerate(self._spans.ids) if not known]:
            born = self._spans.born[number]
            makes = ~self._removed & (self._times > born - 3 * self._steps)
            if np.isfinite(self._spans.start[number]) and (self._times.max() > born or not (self._times + self._steps <= born)[makes].any()):
                self._spans = self._spans.named(self._members, number, [origin.name for origin in self._origins])

    def _drop(self, wanted: int = 0) -> None:
        """Drop what is over, the oldest first, where there is too much, or room for more is wanted; and the missing that nothing came of."""
        members, incidents = self._members, self._spans
        now = float(self._times.max())
        lasting = members.incident != WAITING
        horizon = self._window + float(members.uncertainty.max(initial=0.0))
        expired = ~lasting & (members.onset < self._times[members.detector] - horizon)
        gone = np.bincount(members.incident[lasting], minlength=len(incidents)) == 0  # they have become part of others
        total = len(members) + wanted
        if total > MOST_MEMBERS or len(incidents) >= MOST_INCIDENTS:
            sizes = np.bincount(members.incident[lasting], minlength=len(incidents))
            over = np.flatnonzero(incidents.last + incidents.quiet < now)
            for number in over[np.argsort(incidents.last[over], kind='stable')].tolist():
                if total <= SPARE * MOST_MEMBERS and (~gone).sum() <= SPARE * MOST_INCIDENTS:
                    break
                total, gone[number] = total - sizes[number], True
        elif gone.sum() + expired.sum() < SPENT:
            return
        kept = ~expired
        kept[lasting] &= ~gone[members.incident[lasting]]
        self._keep(np.flatnonzero(kept), np.flatnonzero(~gone))

    def _keep(self, rows: Ints, incidents: Ints) -> None:
        """Keep some members and some incidents (int64 each), and number them anew."""
        number = np.full(len(self._spans) + 1, WAITING)  # the last one is that of WAITING
        number[incidents] = np.arange(len(incidents))
        members = self._members.take(rows)
        self._names, within, things = self._names.kept(members.within, members.things)
        self._members = replace(members, incident=number[members.incident], within=within, things=things)
        self._spans = self._spans.take(incidents)
        self._count()

    def _count(self) -> None:
        """Find the newest member of each entity anew."""
        self._index = [{} for _ in self._origins]
        for row, (detector, identity) in enumerate(zip(self._members.detector.tolist(), self._members.identities, strict=True)):
            if not self._removed[detector]:
                self._index[detector][identity] = row

    def _link(self) -> None:
        """Read the labels of all members anew."""
        self._names = Names()
        within, things = self._names.of(self._linking, self._members.identities)
        self._members = replace(self._members, within=within, things=things)

    # Over a restart.

    def record(self) -> Record:
        """All that has to be remembered."""
        with self._lock:
            return Record(self._members, self._spans, tuple(self._origins), self._times.copy(), self._removed.copy(), self.graph)

    def restore(self, columns: Tensors) -> None:
        """Go on from the columns of a Record; CheckpointError where they are none, and then nothing has changed."""
        with self._lock:
            found, self._names = record.restored(columns, self._linking)
            self._members, self._spans, self._origins, self.graph = found.members, found.spans, list(found.origins), found.graph
            self._times, self._removed, self._number = found.times, found.removed, int(found.spans.changed.max(initial=0))
            self._steps = np.array([origin.step_seconds for origin in found.origins])
            self._scored, self._rises = np.zeros(len(found.times), np.int64), [_NOTHING] * len(found.times)
            self._count()


_NOTHING: tuple[Rises, Sequence[bytes]] = Rises.blank(0), ()


def _linking(settings: RootCause) -> Linking:
    return Linking(settings.within, linking(settings))
