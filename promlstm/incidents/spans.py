"""Incidents as columns: when each began, when an alarm joined it last, when it was anomalous last, and its id.

Who calls it: table. What flows through: the columns of the members; out come those of their incidents. Pure: no clock.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

import numpy as np

from promlstm.engine.columns import Bools, Floats, Ints
from promlstm.incidents.members import Members

QUIET_SECONDS, QUIET_STEPS = 600.0, 3  # an incident is over when nothing of it was anomalous for the longer of both


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """I incidents; columns that are replaced, never changed.

    ids      of I; empty = it has none yet
    start    float64 [I]  unix seconds: the first onset of its members
    latest   float64 [I]  unix seconds: the last onset of an alarm in it
    last     float64 [I]  unix seconds: the last sample of a member with a score of 1 or more
    quiet    float64 [I]  seconds without one after which it is over
    born     float64 [I]  unix seconds: the step at which it was found
    changed  int64 [I]    a number that is another one whenever its members have changed
    """

    ids: tuple[str, ...]
    start: Floats
    latest: Floats
    last: Floats
    quiet: Floats
    born: Floats
    changed: Ints

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def blank(cls, rows: int = 0, born: float = 0.0) -> Self:
        """So many incidents without members, found at a step."""
        inf = np.full(rows, np.inf)
        return cls(('',) * rows, inf, -inf, -inf, np.full(rows, QUIET_SECONDS), np.full(rows, born), np.zeros(rows, np.int64))

    def joined(self, more: Self) -> Self:
        """With more rows at the end."""
        columns = {name: np.concatenate([getattr(self, name), getattr(more, name)]) for name in COLUMNS}
        return type(self)(self.ids + more.ids, **columns)

    def take(self, rows: Ints) -> Self:
        """Some rows only (int64 [n])."""
        return type(self)(tuple(self.ids[row] for row in rows.tolist()), **{name: getattr(self, name)[rows] for name in COLUMNS})

    def told(self, members: Members, touched: Ints, steps: Floats, changed: int) -> Self:
        """The same with some incidents (int64 [n]) as their members say now.

        steps    float64 [D]  seconds of a step, by number of the detector
        changed  a number that was not used yet
        """
        rows = np.flatnonzero(np.isin(members.incident, touched))
        incident, onset, last = members.incident[rows], members.onset[rows], members.last[rows]
        alarmed = ~np.isnan(last)
        columns = {name: getattr(self, name).copy() for name in COLUMNS}
        for name, blank in (('start', np.inf), ('latest', -np.inf), ('last', -np.inf), ('quiet', QUIET_SECONDS)):
            columns[name][touched] = blank
        columns['changed'][touched] = changed
        np.minimum.at(columns['start'], incident, onset)
        np.maximum.at(columns['latest'], incident[alarmed], onset[alarmed])
        np.maximum.at(columns['last'], incident[alarmed], last[alarmed])
        np.maximum.at(columns['quiet'], incident, QUIET_STEPS * steps[members.detector[rows]])
        return replace(self, **columns)

    def seen(self, incidents: Ints, time: float, changed: Ints, number: int) -> Self:
        """The same after members of some incidents (int64 [n]) were anomalous at an instant; those in `changed` have a member whose peak is higher."""
        last, numbers = self.last.copy(), self.changed.copy()
        np.maximum.at(last, incidents, time)
        numbers[changed] = number
        return replace(self, last=last, changed=numbers)

    def takes(self, onset: float, uncertainty: float, window: float) -> Bools:
        """bool [I]: incidents that an alarm with this onset can join.

        It began no later than `window` after the alarm that joined last, and no earlier than that before the first; none of it was over then.
        """
        earliest = onset - uncertainty
        return (earliest <= self.latest + window) & (onset + window >= self.start) & (earliest <= self.last + self.quiet)

    def oldest(self, incidents: Sequence[int]) -> int:
        """Which of some incidents stays when they become one."""
        return min(incidents, key=lambda number: (not self.ids[number], self.ids[number], number))

    def named(self, members: Members, number: int, detectors: Sequence[str]) -> Self:
        """The same with an id for an incident, from its first member; detectors: names by number."""
        rows = np.flatnonzero(members.incident == number)
        first = float(members.onset[rows].min())
        who = min((detectors[members.detector[row]], members.identities[row]) for row in rows[members.onset[rows] == first].tolist())
        found = identifier(first, *who)
        again = 0
        while found in self.ids:  # one in some ten thousand of those that begin in the same second
            again += 1
            found = identifier(first, f'{who[0]}\0{again}', who[1])
        return replace(self, ids=(*self.ids[:number], found, *self.ids[number + 1 :]))


COLUMNS = ('start', 'latest', 'last', 'quiet', 'born', 'changed')


def identifier(start: float, detector: str, identity: bytes) -> str:
    """The id of an incident: its start in UTC, and four digits that its first member gives.

    >>> identifier(1_750_000_200.0, 'cpu', b'{"instance":"a"}')
    '20250615-151000-b001'
    """
    digest = hashlib.sha256(detector.encode('utf-8', 'surrogatepass') + b'\0' + identity).hexdigest()
    return f'{datetime.fromtimestamp(start, UTC):%Y%m%d-%H%M%S}-{digest[:4]}'
