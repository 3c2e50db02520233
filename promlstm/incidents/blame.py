"""What an incident's members say of its cause: evidence and edges made of them, ranked.

Who calls it: listing, for each incident whose members have changed. What flows through: columns of members and the graph; out come a few causes.

Where the graph tells of the names in an incident, series count for each of their names that it tells of, and the labels of one entity say more: a
service consists of its pods, and suffers from each of them; they run on a node, and suffer from it. What several parts of a whole suffer from
may be the whole. Where the graph tells of none, a series counts for its most specific name alone, and the order of onsets decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from promlstm.engine.columns import Bools, Ints, SmallInts
from promlstm.incidents import kinds, words
from promlstm.incidents.graph import Name
from promlstm.incidents.grouping import OWN
from promlstm.incidents.members import Origin
from promlstm.incidents.ranking import Evidence, Ranking, rank
from promlstm.incidents.view import View

MOST_EVIDENCE = 500  # members that are looked at: those that began first, of these the highest
WHOLES = ('service', 'workload', 'deployment', 'pod', 'instance', 'container')  # each consists of the next; labels of other names come before
GROUND = ('node', 'host')  # what all these run on


@dataclass(frozen=True, slots=True, eq=False)
class Blame:
    """A ranked incident.

    rows      int64 [n]  members, a row for each series of the evidence; one that counts for several names stands several times
    own       bool [n]   whether a series belongs to the name that it counts for, and not to a part of it
    things    names, by number
    edges     int64 [E, 2]  (dependant, dependency) by number of the things
    series    what each series is called, by number of the evidence
    """

    rows: Ints
    own: Bools
    things: Sequence[Name]
    edges: Ints
    evidence: Evidence
    ranking: Ranking
    series: Sequence[str]

    def causes(self, most: int) -> list[tuple[int, int, float]]:
        """(number of the thing, the member that says most of it, probability) of the likeliest; the member is -1 where none is of it."""
        found = []
        for thing in self.ranking.order[:most].tolist():
            if not self.ranking.cause[thing] > 0:
                break
            own = np.flatnonzero((self.evidence.thing == thing) & self.own)
            row = int(self.rows[own[np.argmax(self.ranking.weight[own])]]) if len(own) else -1
            found.append((thing, row, float(self.ranking.cause[thing])))
        return found

    def reasons(self, thing: int) -> list[str]:
        """Why a thing is blamed, or what there is of it."""
        return words.reasons(self.evidence, self.ranking, self.edges, thing, self.series)


def blame(view: View, incident: int) -> Blame:
    """The ranking of an incident."""
    members = view.members
    rows = np.flatnonzero(members.incident == incident)
    if len(rows) > MOST_EVIDENCE:
        rows = np.sort(rows[np.lexsort((-np.nan_to_num(members.peak[rows], nan=0.0), members.onset[rows]))[:MOST_EVIDENCE]])
    numbers = np.unique(members.things[rows][members.things[rows] >= 0])
    names = [view.names.things[number][1] for number in numbers.tolist()]
    scope = tuple(zip(view.linking.within, view.names.withins[int(members.within[rows[0]])], strict=True))
    edges = view.graph.before(float(view.spans.start[incident])).between(names, within=scope) if len(view.graph) else np.empty((0, 2), np.int64)
    own: list[list[int]] = [np.searchsorted(numbers, each[each >= 0]).tolist() for each in members.things[rows]]
    smallest, same = [specific(names, each) for each in own], list(range(len(names)))
    counts = [[place] for place in smallest]
    if len(edges):
        known, parts = set(np.unique(edges).tolist()), _parts(names, own)
        same = _same(len(names), own, parts)
        counts = [sorted({least, *(same[place] for place in each if place in known)}) for least, each in zip(smallest, own, strict=True)]
        edges = np.unique(np.array(same)[np.concatenate([edges, _composed(names, own, parts)])], axis=0)
    row = np.repeat(rows, [len(each) for each in counts])
    evidence = Evidence(
        thing=np.array([place for each in counts for place in each], np.int64), onset=members.onset[row], uncertainty=members.uncertainty[row],
        score=members.peak[row], direction=members.direction[row], kind=_kinds(view, row),
        missing=~np.isnan(members.gone[row]), before=members.before[row],
    )  # fmt: skip
    series = [series_name(view.origins[members.detector[each]], int(members.feature[each])) for each in row.tolist()]
    belongs = np.repeat(smallest, [len(each) for each in counts]) == evidence.thing
    return Blame(row, belongs, names, edges, evidence, rank(evidence, len(names), edges), series)


def series_name(origin: Origin, feature: int) -> str:
    """What a series is called: its detector, and the feature if there are several."""
    name = origin.queries[feature][0] if 0 <= feature < len(origin.queries) else ''
    return f'{origin.name} {name}' if name else origin.name


def specific(names: Sequence[Name], own: Sequence[int]) -> int:
    """Which of an entity's names it belongs to: the smallest part of a service, or the machine where it is of none.

    >>> names = [('service', 'shop'), ('instance', '10.0.0.1:80'), ('node', 'n'), ('pod', 'shop-1')]
    >>> specific(names, [0, 1, 2]), specific(names, [0, 1, 2, 3]), specific(names, [1, 2]), specific(names, [1])
    (1, 3, 2, 1)
    """
    labels = {names[place][0]: place for place in own}
    whole = any(label not in ('instance', 'container', *GROUND) for label in labels)
    order = ('pod', 'container', 'instance', *WHOLES[2::-1]) if whole else ('container', *GROUND, 'instance')
    return next((labels[label] for label in order if label in labels), own[0])


def _chain(names: Sequence[Name], own: Sequence[int]) -> list[int]:
    """The names of an entity, wholes before their parts, without its ground."""
    return sorted((place for place in own if names[place][0] not in (*GROUND, OWN)), key=lambda place: _depth(names[place][0]))


def _parts(names: Sequence[Name], own: Sequence[Sequence[int]]) -> dict[int, set[int]]:
    """{whole: its parts} as the labels of entities say."""
    found: dict[int, set[int]] = {}
    for chain in (_chain(names, each) for each in own):
        for whole, part in pairwise(chain):
            found.setdefault(whole, set()).add(part)
    return found


def _same(count: int, own: Sequence[Sequence[int]], parts: dict[int, set[int]]) -> list[int]:
    """By number of a name: its only part, if nothing else is known of it, as of a service with one pod; else itself."""
    of = [0] * count
    for each in own:
        for place in each:
            of[place] += 1
    same = list(range(count))
    for whole, found in parts.items():
        part = next(iter(found))
        if len(found) == 1 and of[whole] == of[part]:
            same[whole] = part
    for place in range(count):
        while same[place] != same[same[place]]:
            same[place] = same[same[place]]
    return same


def _composed(names: Sequence[Name], own: Sequence[Sequence[int]], parts: dict[int, set[int]]) -> Ints:
    """int64 [E, 2]: wholes suffer from their parts, parts from a whole that has several in the incident, all from their ground."""
    edges = {(whole, part) for whole, found in parts.items() for part in found}
    edges |= {(part, whole) for whole, found in parts.items() if len(found) > 1 for part in found}
    for each in own:
        if chain := _chain(names, each):
            edges |= {(chain[-1], place) for place in each if names[place][0] in GROUND}
    return np.array(sorted(edges), np.int64).reshape(-1, 2)


def _depth(label: str) -> int:
    return WHOLES.index(label) if label in WHOLES else -1


def _kinds(view: View, rows: Ints) -> SmallInts:
    """int8 [n]: what the names of the series of some members say."""
    features = zip(view.members.detector[rows].tolist(), view.members.feature[rows].tolist(), strict=True)
    found: dict[tuple[int, int], int] = {}
    return np.array([found[key] if key in found else found.setdefault(key, _kind(view.origins[key[0]], key[1])) for key in features], np.int8)


def _kind(origin: Origin, feature: int) -> int:
    return kinds.of(*(origin.queries[feature] if 0 <= feature < len(origin.queries) else ()), origin.name)
