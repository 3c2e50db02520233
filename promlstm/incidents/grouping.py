"""Which members form one incident: what they share, what is near in the graph, and what a flood makes one.

Who calls it: table. What flows through: labels of an entity, once when its alarm begins; numbers of the names in them; out come the members that
hang together. Pure numpy, but for the reading of labels.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import repeat
from operator import attrgetter
from typing import TypeVar

import msgspec
import numpy as np

from promlstm.engine.columns import Ints
from promlstm.incidents.graph import Name

Key = TypeVar('Key')
POD, TOLD_BY = 'pod', 'instance'  # of a pod, the instance is who tells of it (kubelet, kube-state-metrics): one for all pods
OWN = ''  # label of the name of an entity that has no linking label: its value is the identity


@dataclass(frozen=True, slots=True)
class Linking:
    """Which labels of an entity matter: within, across whose values nothing is compared, and those by whose values entities are linked."""

    within: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def links(self) -> int:
        """How many names an entity can have: one for each label, and its own where it has none of them."""
        return len(self.labels) + 1


@dataclass(slots=True)
class Names:
    """Names by number, and the values of the within labels by number: two entities are linked if they have a number in common.

    things   (number of the within values, (label, value)) by number
    withins  values of the within labels, by number
    """

    things: list[tuple[int, Name]] = field(default_factory=list)
    withins: list[tuple[str, ...]] = field(default_factory=list)
    _thing: dict[tuple[int, Name], int] = field(default_factory=dict)
    _within: dict[tuple[str, ...], int] = field(default_factory=dict)

    def of(self, linking: Linking, identities: Sequence[bytes]) -> tuple[Ints, Ints]:
        """(int64 [n] numbers of the within values, int64 [n, K] numbers of the names, -1 = none) of some entities; what is new gets a number.

        >>> names = Names()
        >>> within, things = names.of(Linking(('cluster',), ('service', 'pod')), [b'{"cluster":"a","pod":"p"}', b'{"cluster":"a","team":"x"}'])
        >>> within.tolist(), things.tolist(), names.withins
        ([0, 0], [[-1, 0, -1], [-1, -1, 1]], [('a',)])
        >>> names.things
        [(0, ('pod', 'p')), (0, ('', '{"cluster":"a","team":"x"}'))]
        """
        columns = _columns((*linking.within, *linking.labels), identities)
        values, names = columns[: len(linking.within)], columns[len(linking.within) :]
        within = _numbers(list(zip(*values, strict=True)) if values else [()] * len(identities), self._within, self.withins)
        things = np.full((len(identities), linking.links), -1, np.int64)
        groups = within.tolist()
        for place, (label, column) in enumerate(zip(linking.labels, names, strict=True)):
            rows = [row for row, value in enumerate(column) if value]
            things[rows, place] = _numbers([(groups[row], (label, column[row])) for row in rows], self._thing, self.things)
        if {TOLD_BY, POD} <= set(linking.labels):
            told_by, pod = (linking.labels.index(label) for label in (TOLD_BY, POD))
            things[things[:, pod] >= 0, told_by] = -1
        alone = np.flatnonzero((things < 0).all(axis=1)).tolist()
        texts = [(groups[row], (OWN, identities[row].decode('utf-8', 'replace'))) for row in alone]
        things[alone, -1] = _numbers(texts, self._thing, self.things)
        return within, things

    def kept(self, within: Ints, things: Ints) -> tuple['Names', Ints, Ints]:
        """Those that some columns have, and the columns (int64 [n], [n, K]) with their new numbers."""
        new, used, groups = Names(), np.unique(things[things >= 0]), np.unique(within)
        _numbers([self.withins[number] for number in groups.tolist()], new._within, new.withins)
        place = dict(zip(groups.tolist(), range(len(groups)), strict=True))
        _numbers([(place[group], name) for group, name in (self.things[number] for number in used.tolist())], new._thing, new.things)
        return new, np.searchsorted(groups, within), np.where(things >= 0, np.searchsorted(used, things), -1)


def _columns(names: tuple[str, ...], identities: Sequence[bytes]) -> list[list[str]]:
    """The values of some labels, a list for each; empty = an entity has not the label."""
    labels = _decoder(names).decode(b'[' + b','.join(identities) + b']')
    return [list(map(attrgetter(f'label_{place}'), labels)) for place in range(len(names))]


@cache
def _decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[list[msgspec.Struct]]:
    """Reads some labels, and makes nothing of the others."""
    fields = [(f'label_{place}', str, '') for place in range(len(names))]
    kind = msgspec.defstruct('Labels', fields, rename={field[0]: name for field, name in zip(fields, names, strict=True)}, gc=False)
    return msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]  # made above


def _numbers(keys: list[Key], index: dict[Key, int], known: list[Key]) -> Ints:
    """int64 [n]: the numbers of some keys; those that are new get one, and are added."""
    found = np.fromiter(map(index.get, keys, repeat(-1)), np.int64, len(keys))
    if (found >= 0).all():
        return found
    for key in keys:
        if key not in index:
            index[key] = len(known)
            known.append(key)
    return np.fromiter(map(index.__getitem__, keys), np.int64, len(keys))


def components(nodes: int, pairs: Ints) -> Ints:
    """Which nodes hang together: int64 [nodes], for each the smallest of those that it hangs together with.

    pairs  int64 [P, 2]

    >>> components(6, np.array([[4, 5], [1, 2], [2, 4]])).tolist()
    [0, 1, 1, 3, 1, 1]
    """
    root = np.arange(nodes)
    while True:
        ends = root[pairs]
        pairs = pairs[ends[:, 0] != ends[:, 1]]
        if not len(pairs):
            return root
        ends = root[pairs]
        np.minimum.at(root, ends.max(axis=1), ends.min(axis=1))
        while (root != (up := root[root])).any():
            root = up


def together(things: Ints, flood: Ints, incident: Ints, near: Ints) -> Ints:
    """Which of n members belong together: int64 [n], equal numbers for those that do.

    things    int64 [n, K]  numbers of their names; -1 = none
    flood     int64 [n]     equal numbers for those that belong together whatever they share; below 0 = none
    incident  int64 [n]     the incident of each; below 0 = none
    near      int64 [P, 2]  names that are near each other in the graph

    >>> things = np.array([[0, -1], [1, 0], [2, -1], [3, -1]])
    >>> together(things, np.full(4, -1), np.full(4, -1), np.array([[1, 2]])).tolist()
    [0, 0, 0, 3]
    >>> none = np.empty((0, 2), np.int64)
    >>> together(things, np.full(4, -1), np.array([-1, 7, -1, 7]), none).tolist(), together(things, np.array([5, -1, 5, -1]), np.full(4, -1), none).tolist()
    ([0, 0, 2, 0], [0, 0, 0, 3])
    """
    rows = len(things)
    used, place = np.unique(np.concatenate([things.ravel(), near.ravel()]), return_inverse=True)
    place = place + rows
    row, column = np.nonzero(things >= 0)
    pairs = [np.stack([row, place[: things.size].reshape(things.shape)[row, column]], axis=1), place[things.size :].reshape(-1, 2)]
    nodes = rows + len(used)
    for numbers in (incident, flood):
        members = np.flatnonzero(numbers >= 0)
        groups, group = np.unique(numbers[members], return_inverse=True)
        pairs.append(np.stack([members, group + nodes], axis=1))
        nodes += len(groups)
    return components(nodes, np.concatenate(pairs))[:rows]


def by_within(names: Names, things: Iterable[int], known: Container[Name]) -> dict[int, dict[Name, int]]:
    """{number of the within values: {name: its number}} of those names that are known."""
    found: dict[int, dict[Name, int]] = {}
    for number in things:
        within, name = names.things[number]
        if name in known:
            found.setdefault(within, {})[name] = number
    return found
