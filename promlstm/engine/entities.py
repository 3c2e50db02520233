"""Which entity sits in which row; who arrives, who is missing, who is forgotten. Pure: no I/O, no clock.

Who calls it: detector (place before the graph, commit after it), its warm start (the same, for history). What flows through: the raw
label bytes of a query's series, in any order, and their values; out come rows. On the hot path a series costs one dictionary look-up of
its raw bytes, and none when the answer names the same series in the same order as last time.

`place` only proposes: the table changes in `commit`, which cannot fail half-way, so a step that breaks in between has changed nothing.
"""

from dataclasses import dataclass, field

import numpy as np

from promlstm.engine import labels
from promlstm.errors import SeriesError

DAY = 86400.0
SPELLINGS = 10_000  # label sets kept beyond twice those of the last answer


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where the series of one answer belong.

    rows      per feature: int64 [n]  row of each series, -1 = over the limit
    arrivals  identities not seen before, in the order of their rows
    aliases   per feature: {raw label bytes not seen before: row}
    keys      per feature: the answer's raw label bytes
    over      per feature: identities that found no room under the detector's limit
    """

    rows: list
    arrivals: list
    aliases: list
    keys: list
    over: list

    @property
    def dropped(self):
        """How many entities found no room."""
        return len(set().union(*self.over))


@dataclass(slots=True)
class Entities:
    """The table of one detector's entities.

    by     None: all labels but `__name__` make the identity; else only these (detectors of several features)
    limit  entities beyond this many find no room
    """

    features: int = 1
    by: tuple[str, ...] | None = None
    limit: int = 2**31
    identities: list = field(default_factory=list)  # by row: bytes, see labels.identity
    arrived: np.ndarray = field(default_factory=lambda: np.empty(0))  # float64 [N], unix seconds: when it got its row
    first_seen: np.ndarray = field(default_factory=lambda: np.empty(0))  # float64 [N], unix seconds
    last_seen: np.ndarray = field(default_factory=lambda: np.empty(0))
    _row_of: dict = field(default_factory=dict)  # identity: row
    _index: list = None  # per feature: {raw label bytes: row}
    _last: list = None  # per feature: (keys, rows, identities without room) of the last answer

    def __post_init__(self):
        self._index = [{} for _ in range(self.features)]
        self._last = [([], np.empty(0, np.int64), frozenset()) for _ in range(self.features)]

    def __len__(self):
        return len(self.identities)

    def place(self, answers):
        """Rows for the series of one answer per feature; nothing is changed yet.

        answers  per feature: list of raw label bytes
        raises   SeriesError  where two series of a feature would be the same entity
        """
        placement, new = Placement([], [], [{} for _ in range(self.features)], answers, []), {}
        for feature, keys in enumerate(answers):
            last_keys, rows, over = self._last[feature]
            if keys != last_keys:
                rows, over = self._look_up(feature, keys, new, placement.aliases[feature])
                self._refuse_twins(rows, keys)
            placement.rows.append(rows)
            placement.over.append(over)
        placement.arrivals.extend(new)
        return placement

    def _look_up(self, feature, keys, new, aliases):
        found = map(self._index[feature].get, keys, [-1] * len(keys))
        rows, over = np.fromiter(found, np.int64, len(keys)), set()
        for i in np.flatnonzero(rows < 0):
            identity = labels.identity(keys[i], self.by)
            row = self._row_of.get(identity)
            if row is None:
                row = new.get(identity)
            if row is None and len(self) + len(new) < self.limit:
                row = new[identity] = len(self) + len(new)
            if row is None:
                over.add(identity)
                continue
            rows[i] = aliases[keys[i]] = row
        return rows, over

    def _refuse_twins(self, rows, keys):
        counts = np.bincount(rows[rows >= 0], minlength=1)
        if counts.max() < 2:
            return
        row = int(counts.argmax())
        twins = [keys[i].decode(errors='replace') for i in np.flatnonzero(rows == row)[:2]]
        identity = labels.selector(labels.pairs(labels.identity(keys[np.flatnonzero(rows == row)[0]], self.by)))
        how = (
            'aggregate the expression, such as `sum by (instance) (…)`, or keep the name in a label: '
            'label_replace(EXPR, "metric", "$1", "__name__", "(.+)")'
            if self.by is None
            else f'aggregate it by ({", ".join(self.by)}), or add the label that tells them apart to `by`'
        )
        raise SeriesError(f'two series would be the same entity {identity}: {twins[0]} and {twins[1]}; {how}')

    def scatter(self, placement, values):
        """The values of an answer in the table's rows, arrivals included; float64 [N, F], NaN = no sample.

        values  per feature: float64 [n] in the order of the answer's series
        """
        out = np.full((len(self) + len(placement.arrivals), self.features), np.nan)
        for feature, (rows, column) in enumerate(zip(placement.rows, values, strict=True)):
            kept = rows >= 0
            out[rows[kept], feature] = column[kept]
        return out

    def commit(self, placement, time):
        """Give the arrivals their rows, as of an instant, and remember the order of this answer."""
        for identity in placement.arrivals:
            self._row_of[identity] = len(self.identities)
            self.identities.append(identity)
        if placement.arrivals:
            unseen = np.full(len(placement.arrivals), np.nan)
            self.arrived = np.r_[self.arrived, np.full(len(placement.arrivals), time)]
            self.first_seen, self.last_seen = np.r_[self.first_seen, unseen], np.r_[self.last_seen, unseen]
        self._last = list(zip(placement.keys, placement.rows, placement.over, strict=True))
        for feature, (index, aliases) in enumerate(zip(self._index, placement.aliases, strict=True)):
            index.update(aliases)
            keys, rows, _ = self._last[feature]
            if len(index) > 2 * len(keys) + SPELLINGS:  # labels outside `by` change with every rollout
                self._index[feature] = {key: row for key, row in zip(keys, rows.tolist(), strict=True) if row >= 0}

    def seen(self, present, time):
        """Note who had a sample at an instant (present: bool [N])."""
        self.first_seen[present & np.isnan(self.first_seen)] = time
        self.last_seen[present] = time

    def established(self):
        """bool [N]: known for a day or more, so that its absence is worth an alert and not just a rollout."""
        return self.last_seen - self.first_seen >= DAY

    def forgettable(self, now, forget_seconds, least_seconds=600.0):
        """bool [N]: absent for as long as it had been known, at least `least_seconds` and at most `forget_seconds`.

        A pod that lived for ten minutes is gone after ten more; a host is looked for a whole day, and so is what was only ever NaN.
        """
        never = np.isnan(self.last_seen)
        absent = now - np.where(never, self.arrived, self.last_seen)
        known = np.where(np.isnan(self.first_seen), 0, self.last_seen - self.first_seen)
        return absent > np.where(never, forget_seconds, np.clip(known, least_seconds, forget_seconds))

    def keep(self, rows):
        """The table with only these rows, renumbered in their order (rows: int [n])."""
        kept = Entities(self.features, self.by, self.limit)
        kept.identities = [self.identities[row] for row in rows]
        kept.arrived, kept.first_seen, kept.last_seen = self.arrived[rows], self.first_seen[rows], self.last_seen[rows]
        kept._row_of = {identity: row for row, identity in enumerate(kept.identities)}
        renumbered = dict(zip(map(int, rows), range(len(rows)), strict=True))
        kept._index = [{key: renumbered[row] for key, row in index.items() if row in renumbered} for index in self._index]
        return kept
