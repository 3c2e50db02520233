"""What the names of an incident depend on: the graph that its ranking went by, for who draws it.

Who calls it: live.incidents, for the one incident that is asked for. What flows through: a Blame; only names that have an edge become objects.
"""

import math
from dataclasses import dataclass

import numpy as np

from promlstm.incidents.blame import Blame


@dataclass(frozen=True, slots=True)
class Node:
    """A name in the graph.

    probability  to be the cause, 0 to 1
    onset        unix seconds of the last instant at which its alarm may have begun; None = it is not anomalous
    """

    label: str
    value: str
    probability: float
    onset: float | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Names and edges between them; both are empty where nothing is known of dependencies.

    edges  (dependant, dependency) by place among the nodes: the first suffers from the second
    """

    nodes: list[Node]
    edges: list[tuple[int, int]]


def surroundings(found: Blame) -> Surroundings:
    """The names of an incident that have an edge, the likeliest cause first."""
    edges = found.edges[found.edges[:, 0] != found.edges[:, 1]]
    linked = np.zeros(len(found.things), bool)
    linked[edges.ravel()] = True
    chosen = [thing for thing in found.ranking.order.tolist() if linked[thing]]
    place = {thing: number for number, thing in enumerate(chosen)}
    cause, end = found.ranking.cause, found.ranking.end
    nodes = [
        Node(label, value, round(float(cause[thing]), 4), _known(float(end[thing])))
        for thing, (label, value) in ((thing, found.things[thing]) for thing in chosen)
    ]
    return Surroundings(nodes, sorted({(place[dependant], place[dependency]) for dependant, dependency in edges.tolist()}))


def _known(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
