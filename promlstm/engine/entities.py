"""Which entity has which row; which entities are new, missing or forgotten. Pure: no I/O, no clock.

Who calls it: detector (place before the graph, commit after it), its warm start (the same, for history). What flows through: the raw
label bytes of a query's series, in any order, and their values; the result is rows. On the hot path a series costs one dictionary look-up
of its raw bytes, and none if the answer has the same series in the same order as last time.

`place` changes nothing. `commit` changes the table and cannot fail half-way, so a step that fails in between leaves it as it was.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Self

import numpy as np

from promlstm.engine import labels
from promlstm.engine.columns import Bools, Floats, Ints, Tensors
from promlstm.engine.presence import KEPT_SECONDS, Presence
from promlstm.errors import ResponseError, SeriesError

DAY = 86400.0
SPARE_ALIASES = 10_000  # raw label sets that are kept beyond twice those of the last answer

_Dropped = frozenset[bytes] | set[bytes]  # identities over the limit


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where the series of one answer belong.

    rows           per feature: int64 [n]  row of each series, -1 = over the limit, or its labels cannot be read
    arrivals       identities not seen before, in the order of their rows
    aliases        per feature: {raw label bytes not seen before, other than the identity: row}
    keys           per feature: the answer's raw label bytes; those of the last answer where they are the same
    over_limit     per feature: identities that get no row because of the detector's limit
    unread_labels  per feature: number of series whose labels cannot be read
    """

    rows: list[Ints]
    arrivals: list[bytes]
    aliases: list[dict[bytes, int]]
    keys: list[list[bytes]]
    over_limit: list[_Dropped]
    unread_labels: list[int]

    @property
    def unread(self) -> int:
        """How many series were left out because their labels cannot be read."""
        return sum(self.unread_labels)

    @property
    def dropped(self) -> int:
        """How many entities get no row."""
        return len(frozenset[bytes]().union(*self.over_limit))


@dataclass(slots=True)
class Entities:
    """The table of one detector's entities.

    by          None: the identity is all labels but `__name__`; else only these labels (detectors of several features)
    limit       the largest number of entities; further ones get no row
    identities  by row, see labels.identity
    arrived     float64 [N], unix seconds: when the entity got its row
    absent      bool [N]: no sample in the last complete answer and since
    first_seen  float64 [N], unix seconds of the first sample; NaN = none so far
    last_seen   float64 [N], unix seconds of the last sample; NaN = none so far
    presence    at which times of the day each of them is there
    """

    features: int = 1
    by: tuple[str, ...] | None = None
    limit: int = 2**31
    presence: Presence = field(default_factory=Presence.blank)
    identities: list[bytes] = field(default_factory=list)
    arrived: Floats = field(default_factory=lambda: np.empty(0))
    first_seen: Floats = field(default_factory=lambda: np.empty(0))
    last_seen: Floats = field(default_factory=lambda: np.empty(0))
    absent: Bools = field(default_factory=lambda: np.empty(0, bool))
    _row_of: dict[bytes, int] = field(default_factory=dict)  # identity: row
    _index: list[dict[bytes, int]] = field(init=False)  # per feature: {raw label bytes other than the identity: row}
    # Per feature, of the last answer: keys, rows, over_limit, unread.
    _last: list[tuple[list[bytes], Ints, _Dropped, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._index = [{} for _ in range(self.features)]
        self._last = [([], np.empty(0, np.int64), frozenset(), 0) for _ in range(self.features)]

    def __len__(self) -> int:
        return len(self.identities)

    def rows_of(self, identities: Iterable[bytes]) -> list[int]:
        """The rows of some entities; -1 = it is not in the table."""
        return [self._row_of.get(identity, -1) for identity in identities]

    def place(self, answers: list[list[bytes]]) -> Placement:
        """Find the rows for the series of one answer per feature; this changes nothing.

        answers  per feature: raw label bytes
        raises   SeriesError  if two series of a feature would be the same entity
        """
        placement = Placement([], [], [{} for _ in range(self.features)], [], [], [])
        new: dict[bytes, int] = {}
        for feature, keys in enumerate(answers):
            last_keys, rows, over_limit, unread = self._last[feature]
            if keys == last_keys:
                keys = last_keys  # equal texts need not be held twice
            else:
                rows, over_limit, unread = self._look_up(feature, keys, new, placement.aliases[feature])
                self._reject_duplicates(rows, keys)
            placement.keys.append(keys)
            placement.rows.append(rows)
            placement.over_limit.append(over_limit)
            placement.unread_labels.append(unread)
        placement.arrivals.extend(new)
        return placement

    def _look_up(self, feature: int, keys: list[bytes], new: dict[bytes, int], aliases: dict[bytes, int]) -> tuple[Ints, _Dropped, int]:
        """(rows, identities over the limit, unreadable labels); what is not in the index yet is added to `new` and `aliases`."""
        rows = np.fromiter(map(self._row_of.get, keys, repeat(-1)), np.int64, len(keys))
        others = np.flatnonzero(rows < 0)
        aliased = map(self._index[feature].get, map(keys.__getitem__, others.tolist()), repeat(-1))
        rows[others] = np.fromiter(aliased, np.int64, len(others))
        over_limit = set()
        unread, problem = 0, ''
        for i in np.flatnonzero(rows < 0).tolist():
            try:
                identity = labels.identity(keys[i], self.by)
            except ResponseError as error:  # one series with a broken label must not cost all others their scores
                unread, problem = unread + 1, str(error)
                continue
            row = self._row_of.get(identity)
            if row is None:
                row = new.get(identity)
            if row is None and len(self) + len(new) < self.limit:
                row = new[identity] = len(self) + len(new)
            if row is None:
                over_limit.add(identity)
                continue
            rows[i] = row
            if keys[i] != identity:
                aliases[keys[i]] = row
        if problem and unread == len(keys):
            raise ResponseError(problem)
        return rows, over_limit, unread

    def _reject_duplicates(self, rows: Ints, keys: list[bytes]) -> None:
        counts = np.bincount(rows[rows >= 0], minlength=1)
        if counts.max() < 2:
            return
        row = int(counts.argmax())
        one, other = (keys[i] for i in np.flatnonzero(rows == row)[:2])
        entity = labels.selector(labels.pairs(labels.identity(one, self.by)))
        remedy = (
            'aggregate the expression, such as `sum by (instance) (…)`, or keep the name in a label: '
            'label_replace(EXPR, "metric", "$1", "__name__", "(.+)")'
            if self.by is None
            else f'aggregate it by ({", ".join(self.by)}), or add the label that tells them apart to `by`'
        )
        texts = ' and '.join(key.decode(errors='replace') for key in (one, other))
        raise SeriesError(f'two series would be the same entity {entity}: {texts}; {remedy}')

    def scatter(self, placement: Placement, values: Sequence[Floats]) -> Floats:
        """The values of an answer in the rows of the table, with new entities at the end; float64 [N, F], NaN = no sample.

        values  per feature: float64 [n] in the order of the answer's series
        """
        out = np.full((len(self) + len(placement.arrivals), self.features), np.nan)
        for feature, (rows, column) in enumerate(zip(placement.rows, values, strict=True)):
            kept = rows >= 0
            out[rows[kept], feature] = column[kept]
        return out

    def commit(self, placement: Placement, time: float) -> None:
        """Add the new entities to the table, as of an instant, and remember the order of this answer."""
        for identity in placement.arrivals:
            self._row_of[identity] = len(self.identities)
            self.identities.append(identity)
        if placement.arrivals:
            unseen = np.full(len(placement.arrivals), np.nan)
            self.arrived = np.r_[self.arrived, np.full(len(placement.arrivals), time)]
            self.first_seen, self.last_seen = np.r_[self.first_seen, unseen], np.r_[self.last_seen, unseen]
            self.absent = np.r_[self.absent, np.zeros(len(placement.arrivals), bool)]
            self.presence = self.presence.grown(len(self))
        self._last = list(zip(placement.keys, placement.rows, placement.over_limit, placement.unread_labels, strict=True))
        for feature, (index, aliases) in enumerate(zip(self._index, placement.aliases, strict=True)):
            index.update(aliases)
            keys, rows, *_ = self._last[feature]
            if len(index) > 2 * len(keys) + SPARE_ALIASES:  # labels outside `by` change with every rollout
                self._index[feature] = {key: row for key, row in zip(keys, rows.tolist(), strict=True) if row >= 0 and key not in self._row_of}

    def absent_after(self, present: Bools, *, partial: bool) -> Bools:
        """bool [N]: entities without a sample, after an answer. A partial answer shows which are present, but not which are absent.

        present  bool [N]: has a sample in the answer
        """
        return ~present & self.absent if partial else ~present

    def mark_seen(self, present: Bools, time: float, *, partial: bool = False) -> None:
        """Note which entities have a sample at an instant (present: bool [N])."""
        self.absent = self.absent_after(present, partial=partial)
        self.presence = self.presence.after(time, present, self.absent, self.last_seen)
        self.first_seen = np.where(present & np.isnan(self.first_seen), time, self.first_seen)  # a snapshot may hold the columns from before
        self.last_seen = np.where(present, time, self.last_seen)

    def stored(self) -> Callable[[], Tensors]:
        """What gives the columns of the table as they are now by name, but for the identities, which are a list that only grows."""
        columns, presence = {'arrived': self.arrived, 'first_seen': self.first_seen, 'last_seen': self.last_seen, 'absent': self.absent}, self.presence
        return lambda: columns | {f'presence.{name}': column for name, column in presence.stored().items()}

    def restored(self, identities: list[bytes], columns: Tensors) -> Self:
        """A table like this one, with the identities and columns of another."""
        presence = self.presence.restored({name.removeprefix('presence.'): column for name, column in columns.items()})
        table = type(self)(self.features, self.by, self.limit, presence, identities)
        table.arrived, table.first_seen, table.last_seen = columns['arrived'], columns['first_seen'], columns['last_seen']
        table.absent = columns['absent']
        table._row_of = {identity: row for row, identity in enumerate(identities)}
        return table

    def established(self) -> Bools:
        """bool [N]: known for a day or more, so that its absence is worth an alert; a shorter life may just be a rollout."""
        known: Floats = self.last_seen - self.first_seen
        return known >= DAY

    def missing(self, present: Bools, time: float, *, partial: bool) -> Bools:
        """bool [N]: established entities that are absent at an instant, and not as usual (present: bool [N]); this changes nothing."""
        absent = self.absent_after(present, partial=partial)
        if not absent.any():
            return absent
        return absent & self.established() & self.presence.after(time, present, absent, self.last_seen).expected(time)

    def lost_since(self, step_seconds: float) -> Floats:
        """float64 [N]: unix seconds of the first step without a sample of the entities that have none now; when it is overdue for a part-time one."""
        overdue = self.presence.overdue
        return np.where(self.presence.part_time & ~np.isnan(overdue), overdue, self.last_seen + step_seconds)

    def forgettable(self, now: float, forget_seconds: float, least_seconds: float = 600.0) -> Bools:
        """bool [N]: absent for longer than it had been known, but at least `least_seconds` and at most `forget_seconds`.

        With the defaults, a pod that lived for ten minutes is forgotten after ten more, a host after a whole day. An entity that never had
        a sample but NaN is forgotten after `forget_seconds`, too. For a part-time entity the time counts from when it should have been back;
        until then it is kept through its weekend.
        """
        never = np.isnan(self.last_seen)
        part_time, overdue = self.presence.part_time, self.presence.overdue
        late = part_time & ~np.isnan(overdue)
        absent = now - np.where(never, self.arrived, np.where(late, overdue, self.last_seen))
        known = np.where(np.isnan(self.first_seen), 0, self.last_seen - self.first_seen)
        limit = np.where(never, forget_seconds, np.clip(known, least_seconds, forget_seconds))
        return absent > np.where(part_time & ~late, max(forget_seconds, KEPT_SECONDS), limit)

    def keep(self, rows: Ints) -> Self:
        """A table of only these rows, numbered in their order (rows: int [n])."""
        kept = type(self)(self.features, self.by, self.limit, self.presence.take(rows))
        kept.identities = [self.identities[row] for row in rows]
        kept.arrived, kept.first_seen, kept.last_seen = self.arrived[rows], self.first_seen[rows], self.last_seen[rows]
        kept.absent = self.absent[rows]
        kept._row_of = {identity: row for row, identity in enumerate(kept.identities)}
        renumbered = dict(zip(map(int, rows), range(len(rows)), strict=True))
        kept._index = [{key: renumbered[row] for key, row in index.items() if row in renumbered} for index in self._index]
        return kept
