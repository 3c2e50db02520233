"""All that a detector remembers at one instant, as columns by name, and the way back.

Who calls it: detector (takes one after a step, or begins with one), live.checkpoint (which writes the columns and reads them). It knows no file.

To take one costs no copy: columns of memory and of the entity table are replaced at each step and never changed, and the list of identities
only grows. So another thread may write a snapshot down while the steps go on; as long as it does, the columns of that instant stay in memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from promlstm.engine import labels
from promlstm.engine.columns import Tensors, Verdicts
from promlstm.engine.entities import Entities
from promlstm.engine.memory import Memory
from promlstm.errors import CheckpointError

Specs = Mapping[str, tuple[str, tuple[int, ...]]]  # by name: dtype as numpy writes it, and shape of a column

# Columns that are as long as they were when they were written last.
_SLOTS = ('season.', 'table.', 'recent.half.', 'recent.quarter.', 'presence.present.', 'presence.absent.')
_TEXT = ('identities', 'identity_lengths')


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What a detector remembers after a step.

    time        of the step, unix seconds
    model       sha256 of the model file whose states these are
    memory      of N entities
    entities    gives the columns of the entity table: nobody needs their names until they are written
    identities  of the table, at least N; those after the first N came later
    verdicts    of the step, so that they can be shown again before the next one
    """

    time: float
    model: str
    memory: Memory
    entities: Callable[[], Tensors]
    identities: list[bytes]
    verdicts: Verdicts

    def __len__(self) -> int:
        return len(self.memory)

    def columns(self) -> Tensors:
        """All of it but time and model, by name."""
        identities = self.identities[: len(self)]
        columns = {f'memory.{name}': column for name, column in self.memory.stored().items()}
        columns |= {f'entities.{name}': column for name, column in self.entities().items()}
        columns |= {f'verdicts.{name}': getattr(self.verdicts, name) for name in _verdict_columns()}
        columns['verdicts.partial'] = np.array([self.verdicts.partial])
        columns['identities'], columns['identity_lengths'] = labels.stored(identities)
        return columns


def check(specs: Specs, entities: int, memory: Memory, table: Entities, verdicts: Verdicts) -> None:
    """CheckpointError unless columns of these dtypes and shapes can be a snapshot of so many entities.

    memory, table, verdicts  of a detector like the one that the snapshot is for, with no or few entities
    """
    like = Snapshot(0.0, '', memory, table.stored(), table.identities, verdicts).columns()
    if unlike := sorted(like.keys() ^ specs.keys()):
        raise CheckpointError(f'its columns differ from those of this detector: {unlike[0]}')
    for name, column in like.items():
        dtype, shape = specs[name]
        if dtype != column.dtype.str or len(shape) != column.ndim or shape[1:] != column.shape[1:]:
            raise CheckpointError(f'its column {name} is {dtype} {list(shape)}, not as this detector has it: {column.dtype.str} [N, …]')
        if not _suits(name, shape[0], entities):
            raise CheckpointError(f'its column {name} has {shape[0]} rows, for {entities} entities')


def _suits(name: str, rows: int, entities: int) -> bool:
    """Whether a column may have so many rows."""
    if name == 'identities':
        return rows >= 0
    if name in ('verdicts.partial', 'entities.presence.newest', 'memory.recent.number'):
        return rows in (0, 1)
    is_slot = name.split('.', 1)[-1].startswith(_SLOTS) and not name.endswith('.anchor')
    return 0 <= rows <= entities if is_slot else rows == entities


def restored(columns: Tensors, time: float, memory: Memory, table: Entities) -> tuple[Memory, Entities, Verdicts]:
    """The memory, the entity table and the verdicts of a snapshot whose columns passed `check`.

    memory, table  those of a detector like the one that the snapshot is for
    raises         CheckpointError where the identities are not those of as many different entities
    """
    identities = labels.restored(columns['identities'], columns['identity_lengths'])
    if len(set(identities)) != len(identities):
        raise CheckpointError('two of its entities have the same identity')
    parts: dict[str, Tensors] = {'memory': {}, 'entities': {}, 'verdicts': {}}
    for name, column in columns.items():
        if name not in _TEXT:
            part, _, rest = name.partition('.')
            parts[part][rest] = column
    partial = bool(parts['verdicts'].pop('partial').any())
    return memory.restored(parts['memory']), table.restored(identities, parts['entities']), Verdicts(time=time, partial=partial, **parts['verdicts'])


def _verdict_columns() -> list[str]:
    return [field.name for field in fields(Verdicts) if field.name not in ('time', 'partial')]
