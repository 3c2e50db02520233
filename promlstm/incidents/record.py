"""All that incidents have to remember, as columns by name, and the way back.

Who calls it: table (makes one, or goes on from one), live.storage (which writes the columns). It knows no file. To make one costs no copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from promlstm.engine.columns import Bools, Floats, Tensors
from promlstm.errors import CheckpointError
from promlstm.incidents import spans
from promlstm.incidents.graph import Graph
from promlstm.incidents.grouping import Linking, Names
from promlstm.incidents.members import WAITING, Members, Origin
from promlstm.incidents.spans import Spans


class _Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the columns count through."""

    ids: list[str]
    origins: list[Origin]


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """The incidents of D detectors.

    times    float64 [D]  unix seconds of the newest step
    removed  bool [D]     no longer configured
    """

    members: Members
    spans: Spans
    origins: Sequence[Origin]
    times: Floats
    removed: Bools
    graph: Graph
    model: str = ''  # it is of no model

    def __len__(self) -> int:
        return len(self.members)

    @property
    def time(self) -> float:
        """Unix seconds of the newest step; 0 = there was none."""
        return float(self.times[np.isfinite(self.times)].max(initial=0.0))

    def columns(self) -> Tensors:
        """All of it by name."""
        texts = msgspec.json.encode(_Texts(list(self.spans.ids), list(self.origins)))
        columns = {f'members.{name}': column for name, column in self.members.stored().items()}
        columns |= {f'incidents.{name}': getattr(self.spans, name) for name in spans.COLUMNS}
        columns |= {f'graph.{name}': column for name, column in self.graph.stored().items()}
        return columns | {'texts': np.frombuffer(texts, np.uint8), 'times': self.times, 'removed': self.removed}


def restored(columns: Tensors, linking: Linking) -> tuple[Record, Names]:
    """What the columns of a Record say, and the names in it; CheckpointError where they are none."""
    parts: dict[str, Tensors] = {'members': {}, 'incidents': {}, 'graph': {}, '': {}}
    for name, column in columns.items():
        part, _, rest = name.rpartition('.')
        parts.setdefault(part, {})[rest] = column
    try:
        texts = msgspec.json.decode(parts['']['texts'].tobytes(), type=_Texts)
        members = Members.restored(parts['members'], linking.links)
        found = Spans(tuple(texts.ids), **{name: parts['incidents'][name] for name in spans.COLUMNS})
        times, removed = parts['']['times'], parts['']['removed']
        names = Names()
        within, things = names.of(linking, members.identities)
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f'its incidents cannot be read: {error}') from error
    _check(members, found, times, removed, len(texts.origins))
    return Record(replace(members, within=within, things=things), found, texts.origins, times, removed, Graph.restored(parts['graph'])), names


def _check(members: Members, incidents: Spans, times: Floats, removed: Bools, origins: int) -> None:
    """CheckpointError where columns do not fit each other."""
    like = Spans.blank()
    fits = all(getattr(incidents, name).shape == (len(incidents),) and getattr(incidents, name).dtype == getattr(like, name).dtype for name in spans.COLUMNS)
    fits = fits and times.shape == removed.shape == (origins,) and times.dtype == np.float64 and removed.dtype == bool
    fits = fits and bool(((members.detector >= 0) & (members.detector < origins)).all())
    fits = fits and bool(((members.incident >= WAITING) & (members.incident < len(incidents))).all())
    if not fits:
        raise CheckpointError('its incidents refer to members that are not in the file')
