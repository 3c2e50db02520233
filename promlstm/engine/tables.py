"""Tables of the time of day: small integers of every entity for each slot of a day or an hour, such as how surprising it usually is then.

Who calls it: advance (recall before the graph, remember after it). The graph decides what the integers mean: it gets those of the present slot
and of its neighbours, as the manifest asks, and returns what to store for the present slot. 0 = nothing is stored. Pure numpy.

A table is never changed: `remember` returns a new one that shares all slots but one. So a step costs a copy of one slot, and a step that
fails leaves the memory as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Floats, Ints
from promlstm.engine.manifest import Table
from promlstm.engine.season import padded

_DTYPES = {8: np.uint8, 32: np.uint32}
_Column = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """The tables of N entities with F features.

    specs    what each holds, from the manifest
    columns  for each table its slots: uint8 or uint32 [n, F], n <= N; rows beyond n are 0
    shape    (N, F)
    """

    specs: tuple[Table, ...]
    columns: tuple[tuple[_Column, ...], ...]
    shape: tuple[int, int]

    @classmethod
    def blank(cls, rows: int, features: int, specs: Sequence[Table]) -> Self:
        """Nothing is stored."""
        empty = [np.zeros((0, features), _DTYPES[spec.bits]) for spec in specs]
        return cls(tuple(specs), tuple((column,) * spec.slots for column, spec in zip(empty, specs, strict=True)), (rows, features))

    def nbytes(self) -> int:
        """Size of all slots in bytes."""
        return sum(column.nbytes for slots in self.columns for column in slots)

    def grown(self, rows: int) -> Self:
        """The same with blank rows for more entities."""
        return replace(self, shape=(rows, self.shape[1]))

    def recall(self, local_seconds: float) -> _Column:
        """What is stored for the slots that the manifest asks for, around an instant of local time: uint32 [N, F, slots read]."""
        out = np.zeros((*self.shape, sum(len(spec.reads) for spec in self.specs)), np.uint32)
        k = 0
        for spec, slots in zip(self.specs, self.columns, strict=True):
            at = _slot(spec, local_seconds)
            for offset in spec.reads:
                column = slots[(at + offset) % spec.slots]
                out[: len(column), :, k] = column
                k += 1
        return out

    def remember(self, local_seconds: float, stored: Floats) -> Self:
        """The tables after a step.

        stored  float64 [N, F, tables]  what the present slot is to hold, rounded here
        """
        columns = []
        for k, (spec, slots) in enumerate(zip(self.specs, self.columns, strict=True)):
            at = _slot(spec, local_seconds)
            columns.append((*slots[:at], np.rint(stored[..., k]).astype(_DTYPES[spec.bits]), *slots[at + 1 :]))
        return replace(self, columns=tuple(columns))

    def of_coarse_history(self) -> Self:
        """The same without the tables that history of longer steps does not tell of."""
        empty = self.blank(*self.shape, self.specs).columns
        return replace(self, columns=tuple(full if spec.coarse else none for spec, full, none in zip(self.specs, self.columns, empty, strict=True)))

    def take(self, rows: Ints) -> Self:
        """The tables of some rows only."""
        taken = tuple(tuple(padded(column, self.shape[0], 0)[rows] if len(column) else column for column in slots) for slots in self.columns)
        return replace(self, columns=taken, shape=(len(rows), self.shape[1]))


def _slot(spec: Table, local_seconds: float) -> int:
    return int(local_seconds % spec.period_seconds / spec.period_seconds * spec.slots)
