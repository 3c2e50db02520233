"""What depends on what: edges between names, remembered for a day after they were last seen.

A fault takes edges with it: a service that is down is called by nobody. So a graph is what was known before an incident, not what the last
answer had. It is a value: `observed` gives a new one, and whoever holds the old one is not disturbed.

Who calls it: live.dependencies (what queries answer), table (which alarms can share an incident), ranking (what suffers from what). What flows
through: names, (label, value) such as ('service', 'checkout'); out come pairs of their places. Pure; columns inside, one row for an edge.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from promlstm.engine.columns import Bools, Floats, Ints, Tensors
from promlstm.errors import CheckpointError

Name = tuple[str, str]  # (label, value)
Scope = tuple[tuple[str, str], ...]  # labels that nothing is compared across, and their values: an edge is of these alone; () = of all

REMEMBERED_SECONDS = 86400.0
MOST_EDGES = 100_000
MOST_PATHS = 100_000  # through names that are not asked for
CROWD = 64  # neighbours of one name that are told pair by pair


def _none() -> Ints:
    return np.empty(0, np.int64)


class _Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the columns of a stored graph count through."""

    names: list[Name]
    scopes: list[Scope]
    sources: list[str]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Edges between names: what is dependant suffers from its dependency.

    names       {name: its number}
    scopes      what edges are limited to, by number
    sources     who told of edges, by number
    dependant, dependency, scope, source  int64 [E]
    seen        float64 [E]  unix seconds, when the edge was last there
    odd         {source: what was odd in its last answer, in words}
    """

    names: Mapping[Name, int] = field(default_factory=dict)
    scopes: tuple[Scope, ...] = ()
    sources: tuple[str, ...] = ()
    dependant: Ints = field(default_factory=_none)
    dependency: Ints = field(default_factory=_none)
    scope: Ints = field(default_factory=_none)
    source: Ints = field(default_factory=_none)
    seen: Floats = field(default_factory=lambda: np.empty(0))
    odd: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.seen)

    @property
    def messages(self) -> tuple[str, ...]:
        """What was odd in the last answers."""
        return tuple(dict.fromkeys(text for texts in self.odd.values() for text in texts))

    def observed(self, time: float, edges: Iterable[tuple[Name, Name]], source: str, within: Sequence[Scope] | None = None) -> 'Graph':
        """A graph with these edges, too, and without those that were last seen more than a day before.

        time    unix seconds
        edges   (dependant, dependency) each; one from a name to itself is left out, so is one whose name has an empty value
        source  who tells of them
        within  as long as edges: what each is limited to; None = they are of all

        >>> graph = Graph().observed(0, [(('pod', 'a'), ('node', 'x')), (('pod', 'b'), ('node', 'x')), (('pod', 'b'), ('pod', 'b'))], 'pods')
        >>> len(graph), graph.messages
        (2, ('edges that lead to where they begin, left out: 1 (such as of pod b)',))
        >>> graph.near([('pod', 'a'), ('pod', 'b')]).tolist()
        [[0, 1]]
        >>> len(graph.observed(86400, [], 'pods')), len(graph.observed(86401, [], 'pods'))
        (2, 0)
        """
        names, scopes = dict(self.names), {scope: number for number, scope in enumerate(self.scopes)}
        columns: tuple[list[int], list[int], list[int]] = ([], [], [])
        loops: list[Name] = []
        scoped = ((*edge, ()) for edge in edges) if within is None else ((*edge, scope) for edge, scope in zip(edges, within, strict=True))
        for dependant, dependency, scope in scoped:
            if dependant == dependency:
                loops.append(dependant)
            elif dependant[1] and dependency[1]:
                columns[0].append(names.setdefault(dependant, len(names)))
                columns[1].append(names.setdefault(dependency, len(names)))
                columns[2].append(scopes.setdefault(scope, len(scopes)))
        odd = _loops(loops)
        sources = self.sources if source in self.sources else (*self.sources, source)
        fresh = [np.array(column, np.int64) for column in columns]
        told = [np.concatenate(pair) for pair in zip((self.dependant, self.dependency, self.scope), fresh, strict=True)]
        by = np.concatenate([self.source, np.full(len(fresh[0]), sources.index(source), np.int64)])
        seen = np.concatenate([self.seen, np.full(len(fresh[0]), float(time))])
        order = np.lexsort([*told, by])
        rows = np.stack([*told, by])[:, order]
        begins = np.flatnonzero(np.concatenate([np.ones(min(1, len(order)), bool), (rows[:, 1:] != rows[:, :-1]).any(0)]))
        first, seen = order[begins], np.maximum.reduceat(seen[order], begins) if len(order) else seen
        graph = replace(
            self, names=names, scopes=tuple(scopes), sources=sources, dependant=told[0][first], dependency=told[1][first], scope=told[2][first],
            source=by[first], seen=seen,
        )  # fmt: skip
        graph = graph._where(graph.seen >= time - REMEMBERED_SECONDS)
        if len(graph) > MOST_EDGES:
            odd.append(f'{len(graph)} edges are more than {MOST_EDGES}: those seen last are kept; ask for fewer')
            graph = graph._where(graph._newest())
        return replace(graph._compact(), odd={**self.odd, source: tuple(odd)})

    def before(self, time: float) -> 'Graph':
        """What was known at an instant (unix seconds): without the edges that were last seen more than a day before."""
        recent = self.seen >= time - REMEMBERED_SECONDS
        return self if recent.all() else self._where(recent)

    def only(self, sources: Collection[str]) -> 'Graph':
        """Without the edges that others told of: what is no longer asked for is not remembered."""
        if set(self.sources) <= set(sources):
            return self
        kept = np.array([source in sources for source in self.sources], bool)
        return replace(self._where(kept[self.source])._compact(), odd={source: texts for source, texts in self.odd.items() if source in sources})

    def between(self, names: Sequence[Name], within: Scope = ()) -> Ints:
        """The edges between some names; a path through one name that is not among them is an edge, too.

        names    all different
        within   what they share: edges that are limited to something else do not count
        returns  int64 [E, 2]  (dependant, dependency) by their places, all different, sorted. Where names that are not among them have too many
                 neighbours, the paths through the largest of these are left out

        >>> shop, cart, stock = ('service', 'shop'), ('service', 'cart'), ('service', 'stock')
        >>> graph = Graph().observed(0, [(shop, cart), (cart, stock)], 'calls')
        >>> graph.between([shop, cart, stock]).tolist(), graph.between([stock, shop]).tolist()
        ([[0, 1], [1, 2]], [[1, 0]])
        """
        dependant, dependency = self._ends(within)
        place = self._places(names)
        first, last = place[dependant], place[dependency]
        inside, leaving, entering = (first >= 0) & (last >= 0), (first >= 0) & (last < 0), (first < 0) & (last >= 0)
        begins, ends = _through(first[leaving], dependency[leaving], dependant[entering], last[entering])
        return _pairs(np.concatenate([first[inside], begins]), np.concatenate([last[inside], ends]), len(names))

    def near(self, names: Sequence[Name], hops: int = 2, within: Scope = ()) -> Ints:
        """Which of some names are close to each other, in either direction.

        names    all different
        hops     how many edges lie between them at most, 1 or 2; the name in the middle need not be among them
        within   as of `between`
        returns  int64 [P, 2]  pairs of places, the smaller one first, all different, sorted. Of more than CROWD that are next to one name, each is
                 paired with the first alone, so that all hang together
        raises   ValueError  of other hops

        >>> pods = [('pod', str(number)) for number in range(3)]
        >>> graph = Graph().observed(0, [(pod, ('node', 'a')) for pod in pods], 'pods')
        >>> graph.near(pods).tolist(), graph.near(pods, hops=1).tolist()
        ([[0, 1], [0, 2], [1, 2]], [])
        """
        if hops not in (1, 2):
            raise ValueError(f'{hops} hops: 1 or 2 are looked at')
        dependant, dependency = self._ends(within)
        place = self._places(names)
        first, last = place[dependant], place[dependency]
        both = (first >= 0) & (last >= 0)
        left, right = first[both], last[both]
        if hops == 2:
            middles = np.concatenate([dependency[first >= 0], dependant[last >= 0]])
            around = _around(middles, np.concatenate([first[first >= 0], last[last >= 0]]), len(names))
            left, right = np.concatenate([left, around[0]]), np.concatenate([right, around[1]])
        return _pairs(np.minimum(left, right), np.maximum(left, right), len(names))

    def cycles(self) -> tuple[int, list[Name]]:
        """(how many names are in a cycle or between two, the names of one cycle); (0, []) where there is none.

        >>> Graph().observed(0, [(('a', '1'), ('a', '2')), (('a', '2'), ('a', '1')), (('a', '2'), ('a', '3'))], 'x').cycles()
        (2, [('a', '1'), ('a', '2')])
        """
        edges = set(zip(self.dependant.tolist(), self.dependency.tolist(), strict=True))
        after = _circular(edges)
        if not after:
            return 0, []
        walked, at = dict[int, int](), min(after)
        while at not in walked:
            walked[at] = len(walked)
            at = min(after[at])
        names = list(self.names)
        return len(after), [names[number] for number, step in walked.items() if step >= walked[at]]

    def unknown(self, known: Collection[Name]) -> set[Name]:
        """The names of edges that are not among those known."""
        names = list(self.names)
        return {names[number] for number in np.unique(np.concatenate([self.dependant, self.dependency])).tolist()} - set(known)

    def stored(self) -> Tensors:
        """All that has to be remembered, as columns by name."""
        texts = msgspec.json.encode(_Texts(list(self.names), list(self.scopes), list(self.sources)))
        return {'texts': np.frombuffer(texts, np.uint8), **{name: getattr(self, name) for name in _COLUMNS}, 'seen': self.seen}

    @classmethod
    def restored(cls, columns: Tensors) -> 'Graph':
        """The graph of stored columns; CheckpointError where they are none."""
        try:
            texts = msgspec.json.decode(columns['texts'].tobytes(), type=_Texts)
            names = {name: number for number, name in enumerate(texts.names)}
            limits = (len(names), len(names), len(texts.scopes), len(texts.sources))
            numbers = [columns[name] for name in _COLUMNS]
            seen = columns['seen']
        except (KeyError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CheckpointError(f'its graph cannot be read: {error}') from error
        fits = len(names) == len(texts.names) and seen.dtype == np.float64 and seen.ndim == 1 and bool(np.isfinite(seen).all())
        for column, limit in zip(numbers, limits, strict=True):
            fits = fits and column.dtype == np.int64 and column.shape == seen.shape and bool(((column >= 0) & (column < limit)).all())
        if not fits or len(seen) > MOST_EDGES:
            raise CheckpointError('its graph has edges between names that are not in the file')
        dependant, dependency, scope, source = numbers
        return cls(names, tuple(texts.scopes), tuple(texts.sources), dependant, dependency, scope, source, seen)

    def _where(self, rows: Bools) -> 'Graph':
        columns: Tensors = {name: getattr(self, name)[rows] for name in (*_COLUMNS, 'seen')}
        return replace(self, **columns)  # type: ignore[arg-type]  # the other fields stay

    def _newest(self) -> Bools:
        """Which edges to keep of too many: those seen last; of those seen at once the first by their names, so that it is always the same ones."""
        rank = np.empty(len(self.names), np.int64)
        rank[[self.names[name] for name in sorted(self.names)]] = np.arange(len(rank))
        kept = np.zeros(len(self), bool)
        kept[np.lexsort([rank[self.dependency], rank[self.dependant], -self.seen])[:MOST_EDGES]] = True
        return kept

    def _compact(self) -> 'Graph':
        """Without the names, scopes and sources that no edge has any more, where these are many."""
        used = np.unique(np.concatenate([self.dependant, self.dependency]))
        if 2 * len(used) >= len(self.names):
            return self
        names, scopes, sources = list(self.names), np.unique(self.scope), np.unique(self.source)
        return replace(
            self,
            names={names[number]: place for place, number in enumerate(used.tolist())},
            scopes=tuple(self.scopes[number] for number in scopes),
            sources=tuple(self.sources[number] for number in sources),
            dependant=np.searchsorted(used, self.dependant),
            dependency=np.searchsorted(used, self.dependency),
            scope=np.searchsorted(scopes, self.scope),
            source=np.searchsorted(sources, self.source),
        )

    def _places(self, names: Sequence[Name]) -> Ints:
        """By number: the place among some names, int64; -1 = not among them."""
        place = np.full(len(self.names), -1, np.int64)
        for number, name in enumerate(names):
            if (known := self.names.get(name)) is not None:
                place[known] = number
        return place

    def _ends(self, within: Scope) -> tuple[Ints, Ints]:
        """(dependant, dependency) of the edges that count within something."""
        values = dict(within)
        counts = np.array([all(values.get(label, value) == value for label, value in scope) for scope in self.scopes], bool)
        if counts.all():
            return self.dependant, self.dependency
        rows = counts[self.scope]
        return self.dependant[rows], self.dependency[rows]


_COLUMNS = ('dependant', 'dependency', 'scope', 'source')


def _loops(names: Sequence[Name]) -> list[str]:
    return [f'edges that lead to where they begin, left out: {len(names)} (such as of {" ".join(min(names))})'] if names else []


def _pairs(left: Ints, right: Ints, count: int) -> Ints:
    """Pairs of places below `count`, int64 [P, 2]: each once, sorted, none of a place with itself."""
    keys = np.unique((left * max(1, count) + right)[left != right])
    return np.stack([keys // max(1, count), keys % max(1, count)], axis=1)


def _spread(counts: Ints) -> tuple[Ints, Ints]:
    """For rows with so many partners each: (the row, which of its partners) of each pair."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)


def _through(begin: Ints, entered: Ints, left: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Paths begin → entered = left → end: (begins, ends). Of more than MOST_PATHS those through the fewest."""
    order = np.argsort(left, kind='stable')
    left, end = left[order], end[order]
    start = np.searchsorted(left, entered, 'left')
    counts = np.searchsorted(left, entered, 'right') - start
    if counts.sum() > MOST_PATHS:
        middles, place = np.unique(entered, return_inverse=True)
        paths = np.bincount(place, weights=counts, minlength=len(middles))
        smallest = np.argsort(paths, kind='stable')
        small = np.zeros(len(middles), bool)
        small[smallest[np.cumsum(paths[smallest]) <= MOST_PATHS]] = True
        counts = np.where(small[place], counts, 0)
    rows, nth = _spread(counts)
    return begin[rows], end[start[rows] + nth]


def _around(middle: Ints, place: Ints, count: int) -> tuple[Ints, Ints]:
    """Pairs of places that are next to the same middle."""
    keys = np.unique(middle * max(1, count) + place)
    middle, place = keys // max(1, count), keys % max(1, count)
    first = np.searchsorted(middle, middle, 'left')
    size = np.searchsorted(middle, middle, 'right') - first
    position = np.arange(len(middle)) - first
    counts = np.where(size > CROWD, np.where(position == 0, size - 1, 0), size - 1 - position)
    rows, nth = _spread(counts)
    return place[rows], place[rows + 1 + nth]


def _circular(edges: Collection[tuple[int, int]]) -> dict[int, set[int]]:
    """{number: those after it} of what leads to a cycle and comes from one."""
    after: dict[int, set[int]] = {}
    for to, by in _leading_on([(to, by) for by, to in _leading_on(edges)]):
        after.setdefault(by, set()).add(to)
    return after


def _leading_on(edges: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
    """The edges between numbers from which one can go on for ever."""
    ways, before = Counter(by for by, _ in edges), dict[int, list[int]]()
    for by, to in edges:
        before.setdefault(to, []).append(by)
    ends = [to for to in before if not ways[to]]
    while ends:
        for by in before.get(ends.pop(), ()):
            ways[by] -= 1
            if not ways[by]:
                ends.append(by)
    return [(by, to) for by, to in edges if ways[by] and ways[to]]
