"""What is carried from step to step for all entities of a detector: one value that is replaced as a whole and never changed.

Who calls it: advance, detector (commit, forget), convert.evaluation.replay. It knows what a step leaves, not how a step is computed.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Ints, Tensors
from promlstm.engine.latch import Latch
from promlstm.engine.recent import Recent
from promlstm.engine.score import Alarm
from promlstm.engine.season import Season
from promlstm.engine.session import Session
from promlstm.engine.tables import Tables
from promlstm.engine.tolerance import Tolerance

_Columns = TypeVar('_Columns', Latch, Alarm, Tolerance)


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """The memory of N entities.

    state   {name: [N, …]}  the states of the graph
    season  Season
    tables  Tables
    latch   Latch
    alarm   Alarm
    klass   int64 [N]       which calibration rows apply, from the last output `class` of the graph
    tolerance  Tolerance    None = alarms raise no threshold
    recent  Recent          None = nothing is forecast
    """

    state: Tensors
    season: Season
    tables: Tables
    latch: Latch
    alarm: Alarm
    klass: Ints
    tolerance: Tolerance | None = None
    recent: Recent | None = None

    def __len__(self) -> int:
        return len(self.klass)

    def nbytes(self) -> int:
        """Size of all columns in bytes."""
        columns = [*_columns(self.latch), *_columns(self.alarm), self.season.anchor, *self.season.columns, *self.state.values(), self.klass]
        columns += _columns(self.tolerance) if self.tolerance else []
        recent = self.recent.nbytes() if self.recent else 0
        size: int = sum(map(attrgetter('nbytes'), columns))
        return size + self.tables.nbytes() + recent

    def grown(self, session: Session, rows: int) -> 'Memory':
        """The same with blank memory for new entities, so that it has as many rows as asked for."""
        if rows == len(self):
            return self
        new = blank(session, self.season.zone, rows - len(self), self.season.anchor.shape[1], tolerant=self.tolerance is not None)
        return Memory(
            {name: np.concatenate([array, new.state[name]]) for name, array in self.state.items()},
            self.season.grown(rows),
            self.tables.grown(rows),
            _map_columns(_joined, self.latch, new.latch),
            _map_columns(_joined, self.alarm, new.alarm),
            np.concatenate([self.klass, new.klass]),
            _map_columns(_joined, self.tolerance, new.tolerance) if self.tolerance and new.tolerance else None,
            self.recent.grown(rows) if self.recent else None,
        )

    def stored(self) -> Tensors:
        """All columns by name. Those of slots (`season.0`, `table.0.0`) may have fewer rows than the others."""
        columns = {f'state.{name}': array for name, array in self.state.items()} | {'season.anchor': self.season.anchor, 'class': self.klass}
        columns |= {f'season.{k}': column for k, column in enumerate(self.season.columns)}
        columns |= {f'table.{i}.{k}': column for i, slots in enumerate(self.tables.columns) for k, column in enumerate(slots)}
        for name, part in (('latch', self.latch), ('alarm', self.alarm), ('tolerance', self.tolerance)):
            columns |= {f'{name}.{field.name}': getattr(part, field.name) for field in fields(part)} if part else {}
        columns |= {f'recent.{name}': column for name, column in self.recent.stored().items()} if self.recent else {}
        return columns

    def restored(self, columns: Tensors) -> 'Memory':
        """The same memory with other columns, as `stored` names them."""
        season, tables = self.season, self.tables
        slots = tuple(columns[f'season.{k}'] for k in range(len(season.columns)))
        stored = tuple(tuple(columns[f'table.{i}.{k}'] for k in range(len(each))) for i, each in enumerate(tables.columns))
        return Memory(
            {name: columns[f'state.{name}'] for name in self.state},
            replace(season, anchor=columns['season.anchor'], columns=slots),
            replace(tables, columns=stored, shape=(len(columns['class']), tables.shape[1])),
            Latch(**{field.name: columns[f'latch.{field.name}'] for field in fields(self.latch)}),
            Alarm(**{field.name: columns[f'alarm.{field.name}'] for field in fields(self.alarm)}),
            columns['class'],
            Tolerance(**{field.name: columns[f'tolerance.{field.name}'] for field in fields(self.tolerance)}) if self.tolerance else None,
            self.recent.restored({name: columns[f'recent.{name}'] for name in self.recent.stored()}) if self.recent else None,
        )

    def take(self, rows: Ints) -> 'Memory':
        """The memory of some rows only (int [n])."""
        return Memory(
            {name: array[rows] for name, array in self.state.items()},
            self.season.take(rows),
            self.tables.take(rows),
            _map_columns(lambda column: column[rows], self.latch),
            _map_columns(lambda column: column[rows], self.alarm),
            self.klass[rows],
            _map_columns(lambda column: column[rows], self.tolerance) if self.tolerance else None,
            self.recent.take(rows) if self.recent else None,
        )

    def is_like(self, other: 'Memory') -> bool:
        """Whether the columns of both are of the same kind, so that rows of one can be put into the other."""
        mine, theirs = ({name: (array.dtype, array.shape[1:]) for name, array in each.state.items()} for each in (self, other))
        view = self.latch.view.shape[1:] == other.latch.view.shape[1:]
        parts = all((getattr(self, name) is None) == (getattr(other, name) is None) for name in ('tolerance', 'recent'))
        return mine == theirs and view and parts and len(self.season.columns) == len(other.season.columns)

    def put(self, rows: Ints, part: 'Memory') -> 'Memory':
        """The same with the memory of some rows (int [n]) replaced by that of `part`, but for the tables of the time of day."""

        def replaced(column: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
            out = column.copy()
            out[rows] = new
            return out

        return Memory(
            {name: replaced(array, part.state[name]) for name, array in self.state.items()},
            self.season.put(rows, part.season),
            self.tables,
            _map_columns(replaced, self.latch, part.latch),
            _map_columns(replaced, self.alarm, part.alarm),
            replaced(self.klass, part.klass),
            _map_columns(replaced, self.tolerance, part.tolerance) if self.tolerance and part.tolerance else None,
            self.recent.put(rows, part.recent) if self.recent and part.recent else None,
        )


def blank(session: Session, zone: ZoneInfo, rows: int, features: int, *, tolerant: bool = False, forecast: bool = False) -> Memory:
    """The memory of entities that were never seen, for a model and the time zone of its seasonal memory.

    tolerant  alarms of an entity raise its threshold
    forecast  what forecasts need is remembered
    """
    manifest = session.bundle.manifest
    return Memory(
        session.blank(rows, features),
        Season.blank(rows, features, period_seconds=manifest.season_period_seconds, slots=manifest.season_slots, zone=zone),
        Tables.blank(rows, features, manifest.tables),
        Latch.blank(rows, features, len(manifest.views)),
        Alarm.blank(rows),
        np.zeros(rows, np.int64),
        Tolerance.blank(rows) if tolerant else None,
        Recent.blank(rows, features, zone) if forecast else None,
    )


def _columns(part: Latch | Alarm | Tolerance) -> list[npt.NDArray[Any]]:
    """All columns of a dataclass of columns."""
    return [getattr(part, field.name) for field in fields(part)]


def _map_columns(function: Callable[..., npt.NDArray[Any]], *parts: _Columns) -> _Columns:
    """One dataclass of columns made of others of its type: the function is called with each of their columns."""
    return type(parts[0])(*map(function, *map(_columns, parts)))


def _joined(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([first, second])
