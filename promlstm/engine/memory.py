"""What is carried from step to step, for all entities of a detector: one value, replaced whole and never changed.

Who calls it: detector (advance, commit, forget), and whoever replays. It knows what a step leaves, not how a step is made.
"""

from dataclasses import dataclass

import numpy as np

from promlstm.engine.score import Alarm, Latch
from promlstm.engine.season import Season


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """Of N entities.

    state   {name: [N, …]}  the graph's own
    season  Season
    latch   Latch
    alarm   Alarm
    klass   int64 [N]       which calibration rows hold, as the graph said last
    """

    state: dict
    season: Season
    latch: Latch
    alarm: Alarm
    klass: np.ndarray

    def __len__(self):
        return len(self.klass)

    def nbytes(self):
        """Size of all columns in bytes."""
        columns = [getattr(part, name) for part in (self.latch, self.alarm) for name in part.__dataclass_fields__]
        columns += [self.season.anchor, *self.season.columns, *self.state.values(), self.klass]
        return sum(column.nbytes for column in columns)

    def grown(self, session, rows):
        """The same with blank memory for the entities up to `rows`."""
        if rows == len(self):
            return self
        new = blank(session, self.season.zone, rows - len(self), self.season.anchor.shape[1])
        return Memory(
            {name: np.concatenate([array, new.state[name]]) for name, array in self.state.items()},
            self.season.grown(rows),
            _each(lambda mine, yours: np.concatenate([mine, yours]), self.latch, new.latch),
            _each(lambda mine, yours: np.concatenate([mine, yours]), self.alarm, new.alarm),
            np.concatenate([self.klass, new.klass]),
        )

    def take(self, rows):
        """The memory of some rows only (int [n])."""
        state = {name: array[rows] for name, array in self.state.items()}
        latch, alarm = (_each(lambda column: column[rows], part) for part in (self.latch, self.alarm))
        return Memory(state, self.season.take(rows), latch, alarm, self.klass[rows])


def blank(session, zone, rows, features):
    """The Memory of entities that were never seen, for a model (Session) and the time zone of its seasons (ZoneInfo)."""
    manifest = session.bundle.manifest
    return Memory(
        session.blank(rows, features),
        Season.blank(rows, features, period_seconds=manifest.season_period_seconds, slots=manifest.season_slots, zone=zone),
        Latch.blank(rows, features),
        Alarm.blank(rows),
        np.zeros(rows, np.int64),
    )


def _each(change, *parts):
    """Dataclasses of columns as one of their kind, column by column."""
    return type(parts[0])(*(change(*(getattr(part, name) for part in parts)) for name in parts[0].__dataclass_fields__))
