"""A graph in layers, from left to right: boxes for names, lines between them. Pure.

Who calls it: incidents. What flows through: edges (dependant, dependency) between places; out come pixels for an SVG. Whoever depends on something
stands to the left of it, so that what may be the cause is on the right. An edge against that order, as in a cycle, is drawn backwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

BOX_WIDTH, BOX_HEIGHT = 176, 46
GAP_WIDTH, GAP_HEIGHT = 56, 16
MARGIN = 8
BEND = GAP_WIDTH * 0.55  # how far a line goes straight on before it bends
SWEEPS = 6
MOST = 40  # nodes that are drawn; a list is easier to read then

Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Drawing:
    """Pixels.

    boxes  (left, top) of each node, in the order of the nodes
    lines  a path for each edge, in the order of the edges, from its dependant to its dependency
    """

    width: int
    height: int
    boxes: list[tuple[float, float]]
    lines: list[str]


def drawing(count: int, edges: Sequence[Edge]) -> Drawing:
    """Where so many nodes and the edges between them are drawn.

    >>> found = drawing(3, [(0, 1), (1, 2), (0, 2)])
    >>> [left for left, _ in found.boxes], found.width
    ([8, 240, 472], 656)
    >>> drawing(0, []).boxes
    []
    """
    ahead = _acyclic(count, edges)
    layer = _layers(count, ahead)
    chains, total = _chains(count, ahead, layer)
    rows = _ordered(layer, chains, total)
    depth = max((len(row) for row in rows), default=0)
    place: dict[int, tuple[float, float]] = {}
    for column, row in enumerate(rows):
        top = MARGIN + (depth - len(row)) * (BOX_HEIGHT + GAP_HEIGHT) / 2
        for number, node in enumerate(row):
            place[node] = MARGIN + column * (BOX_WIDTH + GAP_WIDTH), top + number * (BOX_HEIGHT + GAP_HEIGHT)
    width = 2 * MARGIN + len(rows) * BOX_WIDTH + max(0, len(rows) - 1) * GAP_WIDTH
    height = 2 * MARGIN + depth * BOX_HEIGHT + max(0, depth - 1) * GAP_HEIGHT
    lines = [_line([place[node] for node in chain], backwards=edge != turned) for edge, turned, chain in zip(edges, ahead, chains, strict=True)]
    return Drawing(width, height, [place[node] for node in range(count)], lines)


def _acyclic(count: int, edges: Sequence[Edge]) -> list[Edge]:
    """The edges, those turned round that close a circle."""
    after: list[list[int]] = [[] for _ in range(count)]
    for dependant, dependency in edges:
        after[dependant].append(dependency)
    state, back = [0] * count, set[Edge]()  # 0 = not seen, 1 = on the way, 2 = done
    # Who is depended on by nobody first, so that fewer edges have to turn.
    targets = {dependency for _, dependency in edges}
    for start in sorted(range(count), key=lambda node: node in targets):
        walk = [(start, iter(after[start]))] if not state[start] else []
        state[start] = state[start] or 1
        while walk:
            node, rest = walk[-1]
            following = next(rest, None)
            if following is None:
                state[node] = 2
                walk.pop()
            elif state[following] == 1:
                back.add((node, following))
            elif not state[following]:
                state[following] = 1
                walk.append((following, iter(after[following])))
    return [(b, a) if (a, b) in back else (a, b) for a, b in edges]


def _layers(count: int, edges: Sequence[Edge]) -> list[int]:
    """The layer of each node: one more than that of any that depends on it."""
    layer, waiting = [0] * count, [0] * count
    after: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        after[a].append(b)
        waiting[b] += 1
    free = [node for node in range(count) if not waiting[node]]
    while free:
        node = free.pop()
        for following in after[node]:
            layer[following] = max(layer[following], layer[node] + 1)
            waiting[following] -= 1
            if not waiting[following]:
                free.append(following)
    return layer


def _chains(count: int, edges: Sequence[Edge], layer: list[int]) -> tuple[list[list[int]], int]:
    """Each edge as a chain from layer to layer, through places of its own where it is longer; and how many places there are. `layer` gets theirs."""
    chains, total = [], count
    for a, b in edges:
        between = range(layer[a] + 1, layer[b])
        chains.append([a, *range(total, total + len(between)), b])
        layer.extend(between)
        total += len(between)
    return chains, total


def _ordered(layer: Sequence[int], chains: Sequence[Sequence[int]], total: int) -> list[list[int]]:
    """The places of each layer, in an order in which few lines cross: each near the middle of its neighbours, from both sides in turn."""
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for node in range(total):
        rows[layer[node]].append(node)
    before: list[list[int]] = [[] for _ in range(total)]
    after: list[list[int]] = [[] for _ in range(total)]
    for chain in chains:
        for a, b in pairwise(chain):
            after[a].append(b)
            before[b].append(a)
    for sweep in range(SWEEPS):
        forwards = sweep % 2 == 0
        neighbours = before if forwards else after
        for column in range(len(rows)) if forwards else range(len(rows) - 1, -1, -1):
            at = {node: number - (len(row) - 1) / 2 for row in rows for number, node in enumerate(row)}
            middle = {node: sum(at[each] for each in neighbours[node]) / len(neighbours[node]) if neighbours[node] else at[node] for node in rows[column]}
            rows[column].sort(key=lambda node: middle[node])
    return rows


def _line(places: Sequence[tuple[float, float]], *, backwards: bool) -> str:
    """A path from the right edge of the first box to the left edge of the last; through each place between, straight on."""
    half = BOX_HEIGHT / 2
    points = [(places[0][0] + BOX_WIDTH, places[0][1] + half)]
    for left, top in places[1:-1]:
        points += [(left, top + half), (left + BOX_WIDTH, top + half)]
    points.append((places[-1][0], places[-1][1] + half))
    if backwards:
        points.reverse()
    bend = -BEND if backwards else BEND
    parts = [f'M{points[0][0]:.0f} {points[0][1]:.0f}']
    for number in range(1, len(points)):
        (x0, y0), (x1, y1) = points[number - 1], points[number]
        straight = number % 2 == 0
        parts.append(f'L{x1:.0f} {y1:.0f}' if straight else f'C{x0 + bend:.0f} {y0:.0f} {x1 - bend:.0f} {y1:.0f} {x1:.0f} {y1:.0f}')
    return ''.join(parts)
