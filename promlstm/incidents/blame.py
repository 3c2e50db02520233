"""What an incident's members say of its cause: evidence and edges made of them, ranked.

Who calls it: listing, for each incident whose members have changed. What flows through: columns of members and the graph; out come a few causes.

Where the graph tells of the names in an incident, series count for each of their names that it tells of, and the labels of one entity say more: a
service consists of its pods, and suffers from each of them; they run on a node, and suffer from it. What several parts of a whole suffer from
may be the whole. Where the graph tells of none, a series counts for its most specific name alone, and the order of onsets decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Bools, Ints, SmallInts
from promlstm.incidents import kinds, words
from promlstm.incidents.graph import Graph, Name
from promlstm.incidents.grouping import OWN
from promlstm.incidents.leaning import Leaning
from promlstm.incidents.members import Origin
from promlstm.incidents.ranking import Evidence, Ranking, rank
from promlstm.incidents.view import View

MOST_EVIDENCE = 1_000  # members that are looked at: those that began first, of these the highest
MOST_BESIDE = 200  # entities that lean beside them: those whose scores rose most
MOST_SHARED = 50  # names without series that are looked at, those that most depend on
WHOLES = ('service', 'workload', 'deployment', 'pod', 'instance', 'container')  # each consists of the next; labels of other names come before
GROUND = ('node', 'host')  # what all these run on


@dataclass(frozen=True, slots=True, eq=False)
class Blame:
    """A ranked incident.

    who       (name of the detector, identity) of each series of the evidence; one that counts for several names stands several times
    own       bool [n]  whether a series belongs to the name that it counts for, and not to a part of it
    things    names, by number
    edges     int64 [E, 2]  (dependant, dependency) by number of the things
    series    what each series is called, by number of the evidence
    """

    who: Sequence[tuple[str, bytes]]
    own: Bools
    things: Sequence[Name]
    edges: Ints
    evidence: Evidence
    ranking: Ranking
    series: Sequence[str]

    def causes(self, most: int) -> list[tuple[int, tuple[str, bytes] | None, float]]:
        """(number of the thing, the detector and entity that say most of it, probability) of the likeliest; None where no series is of it."""
        found = []
        for thing in self.ranking.order[:most].tolist():
            if not self.ranking.cause[thing] > 0:
                break
            own = np.flatnonzero((self.evidence.thing == thing) & self.own)
            who = self.who[int(own[np.argmax(self.ranking.weight[own])])] if len(own) else None
            found.append((thing, who, float(self.ranking.cause[thing])))
        return found

    def reasons(self, thing: int) -> list[str]:
        """Why a thing is blamed, or what there is of it."""
        names = [f'{label}={value}' for label, value in self.things]
        return words.reasons(self.evidence, self.ranking, self.edges, thing, self.series, names)


def blame(view: View, incident: int, leaning: Leaning) -> Blame:
    """The ranking of an incident; `leaning`: what leans in the whole view."""
    members, start = view.members, float(view.spans.start[incident])
    rows = np.flatnonzero(members.incident == incident)
    if len(rows) > MOST_EVIDENCE:
        rows = np.sort(rows[np.lexsort((-np.nan_to_num(members.peak[rows], nan=0.0), members.onset[rows]))[:MOST_EVIDENCE]])
    graph, within = view.graph.before(start), view.names.withins[int(members.within[rows[0]])]
    scope = tuple(zip(view.linking.within, within, strict=True))
    own_names = [[view.names.things[number][1] for number in each[each >= 0].tolist()] for each in members.things[rows]]
    found = list(dict.fromkeys(name for each in own_names for name in each))
    inside = {(int(members.detector[row]), members.identities[row]) for row in rows.tolist()}
    beside = leaning.beside(found, within, scope, graph, start - view.window, float(view.spans.latest[incident]) + view.window)
    leans = [row for row in np.flatnonzero(beside).tolist() if (int(leaning.detector[row]), leaning.identities[row]) not in inside]
    leans = sorted(leans, key=lambda row: (-leaning.rise[row], row))[:MOST_BESIDE]
    own_names += [list(leaning.names[row]) for row in leans]
    found = list(dict.fromkeys(name for each in own_names for name in each))
    names = [*found, *_shared(graph, found)]
    place = {name: number for number, name in enumerate(names)}
    own = [[place[name] for name in each] for each in own_names]
    edges = graph.between(names, within=scope) if len(graph) else np.empty((0, 2), np.int64)
    counts, edges, smallest = _counts(names, own, edges)
    names, counts, edges, smallest = _used(names, counts, edges, smallest)
    series = np.repeat(np.arange(len(own)), [len(each) for each in counts])

    def column(of_members: npt.NDArray[Any], of_leaning: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.concatenate([of_members[rows], of_leaning[leans]])[series]

    main = [0 if len(view.origins[number].queries) == 1 else -1 for number in leaning.detector[leans].tolist()]  # -1 = it was not noted
    features = np.concatenate([members.feature[rows], np.array(main, np.int16)])[series]
    origins = [view.origins[number] for number in column(members.detector, leaning.detector).tolist()]
    identities = [*(members.identities[row] for row in rows.tolist()), *(leaning.identities[row] for row in leans)]
    evidence = Evidence(
        thing=np.array([number for each in counts for number in each], np.int64), onset=column(members.onset, leaning.onset),
        uncertainty=column(members.uncertainty, leaning.uncertainty), score=column(members.peak, leaning.peak),
        direction=column(members.direction, leaning.direction), kind=_kinds(origins, features.tolist()),
        missing=column(~np.isnan(members.gone), np.zeros(len(leaning.onset), bool)), before=column(members.before, leaning.before),
    )  # fmt: skip
    belongs = np.array(smallest, np.int64)[series] == evidence.thing
    who = [(origin.name, identities[number]) for origin, number in zip(origins, series.tolist(), strict=True)]
    called = [f'{each.name} {feature_name(each, number)}'.strip() for each, number in zip(origins, features.tolist(), strict=True)]
    return Blame(who, belongs, names, edges, evidence, rank(evidence, len(names), edges), called)


def _used(names: list[Name], counts: list[list[int]], edges: Ints, smallest: list[int]) -> tuple[list[Name], list[list[int]], Ints, list[int]]:
    """The same without names that no series counts for and no edge leads to, and with the others numbered anew."""
    used = np.unique(np.concatenate([np.array([place for each in counts for place in each], np.int64), edges.ravel()])).tolist()
    place = {number: new for new, number in enumerate(used)}
    kept = np.array([[place[number] for number in edge] for edge in edges.tolist()], np.int64).reshape(-1, 2)
    return [names[number] for number in used], [[place[number] for number in each] for each in counts], kept, [place[number] for number in smallest]


def _shared(graph: Graph, names: Sequence[Name]) -> list[Name]:
    """What several of these names depend on and is not among them, such as a node without series: it may be blamed, too."""
    numbers = [number for name in names if (number := graph.names.get(name)) is not None]
    leads = np.isin(graph.dependant, numbers) & ~np.isin(graph.dependency, numbers)
    pairs = np.unique(np.stack([graph.dependency[leads], graph.dependant[leads]], axis=1), axis=0)
    shared, counts = np.unique(pairs[:, 0], return_counts=True)
    shared, counts = shared[counts > 1], counts[counts > 1]
    chosen = shared[np.argsort(-counts, kind='stable')[:MOST_SHARED]]
    known = list(graph.names) if len(chosen) else []
    return [known[number] for number in chosen.tolist()]


def _counts(names: Sequence[Name], own: Sequence[Sequence[int]], edges: Ints) -> tuple[list[list[int]], Ints, list[int]]:
    """(the names that each series counts for, the edges with those that labels say, the name that each series belongs to)."""
    smallest = [specific(names, each) for each in own]
    if not len(edges):
        return [[place] for place in smallest], edges, smallest
    known, parts = set(np.unique(edges).tolist()), _parts(names, own)
    same = _same(len(names), own, parts)
    counts = [sorted({least, *(same[place] for place in each if place in known)}) for least, each in zip(smallest, own, strict=True)]
    return counts, np.unique(np.array(same)[np.concatenate([edges, _composed(names, own, parts)])], axis=0), smallest


def feature_name(origin: Origin, feature: int) -> str:
    """The name of a feature by its number; empty where the detector has but one, or it is not known."""
    return origin.queries[feature][0] if 0 <= feature < len(origin.queries) else ''


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


def _kinds(origins: Sequence[Origin], features: Sequence[int]) -> SmallInts:
    """int8 [n]: what the names of series say; of each series its detector and the number of the feature."""
    found: dict[tuple[str, int], int] = {}
    for origin, feature in zip(origins, features, strict=True):
        if (origin.name, feature) not in found:
            query = origin.queries[feature] if 0 <= feature < len(origin.queries) else ()
            found[origin.name, feature] = kinds.of(*query, origin.name)
    return np.array([found[origin.name, feature] for origin, feature in zip(origins, features, strict=True)], np.int8)
