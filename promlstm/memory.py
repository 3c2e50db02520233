"""What is carried from step to step, for all entities of a detector: one value, replaced whole and never changed.

Who calls it: detector (advance, commit, forget), and whoever replays. It knows what a step leaves, not how a step is made.
"""

from dataclasses import dataclass

import numpy as np

from promlstm.score import Latch
from promlstm.season import Season


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """Of N entities.

    state   {name: [N, …]}  the graph's own
    season  Season
    latch   Latch
    klass   int64 [N]       which calibration rows hold, as the graph said last
    """

    state: dict
    season: Season
    latch: Latch
    klass: np.ndarray

    def __len__(self):
        return len(self.klass)

    def nbytes(self):
        """Size of all columns in bytes."""
        latch = sum(getattr(self.latch, name).nbytes for name in self.latch.__dataclass_fields__)
        season = self.season.anchor.nbytes + sum(column.nbytes for column in self.season.columns)
        return sum(array.nbytes for array in self.state.values()) + latch + season + self.klass.nbytes

    def grown(self, session, rows):
        """The same with blank memory for the entities up to `rows`."""
        if rows == len(self):
            return self
        new = blank(session, self.season.zone, rows - len(self), self.season.anchor.shape[1])
        return Memory(
            {name: np.concatenate([array, new.state[name]]) for name, array in self.state.items()},
            self.season.grown(rows),
            _columns(lambda name: np.concatenate([getattr(self.latch, name), getattr(new.latch, name)])),
            np.concatenate([self.klass, new.klass]),
        )

    def take(self, rows):
        """The memory of some rows only (int [n])."""
        state = {name: array[rows] for name, array in self.state.items()}
        return Memory(state, self.season.take(rows), _columns(lambda name: getattr(self.latch, name)[rows]), self.klass[rows])


def blank(session, zone, rows, features):
    """The Memory of entities that were never seen, for a model (Session) and the time zone of its seasons (ZoneInfo)."""
    manifest = session.bundle.manifest
    return Memory(
        session.blank(rows, features),
        Season.blank(rows, features, period_seconds=manifest.season_period_seconds, slots=manifest.season_slots, zone=zone),
        Latch.blank(rows, features),
        np.zeros(rows, np.int64),
    )


def _columns(column):
    return Latch(*(column(name) for name in Latch.__dataclass_fields__))
