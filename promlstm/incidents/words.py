"""Why a thing of an incident is blamed, in words that a person on call can check. Pure.

Who calls it: the incident table, for the few things that it shows. What flows through: Evidence, Ranking and edges; out come short phrases.
"""

from collections.abc import Callable, Sequence

import numpy as np

from promlstm.engine.columns import Ints
from promlstm.incidents import kinds
from promlstm.incidents.ranking import Evidence, Ranking

SERIES = 2  # that are told of each thing
NAMED = 2  # neighbours, at most
UNSURE = ', too close to tell which was first'
LABELS = {
    kinds.SATURATION: 'saturation', kinds.HEADROOM: 'headroom', kinds.ERRORS: 'errors', kinds.SUCCESS: 'success rate', kinds.RESTARTS: 'restarts',
    kinds.LATENCY: 'latency', kinds.TRAFFIC: 'traffic', kinds.OTHER: 'value',
}  # fmt: skip


def reasons(
    evidence: Evidence, ranking: Ranking, edges: Ints, thing: int, series: Callable[[int], str] | Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> list[str]:
    """Phrases about one thing of an incident, the weightiest first.

    series   the name of each series by its number in the evidence, or None: the kind is named
    names    of the things, or None: their numbers are told

    >>> evidence = Evidence(np.array([0, 1]), np.array([240., 60.]), np.array([60., 60.]), np.float32([1.5, 2.4]), np.int8([1, 1]),
    ...     np.int8([kinds.LATENCY, kinds.ERRORS]), np.zeros(2, bool), np.float32([0.3, 0.2]))
    >>> from promlstm.incidents.ranking import rank
    >>> edges = np.array([[0, 1]])
    >>> reasons(evidence, rank(evidence, 2, edges), edges, 1)
    ['errors above what was expected, score 2.4', 'left its band 3 min before what depends on it', 'thing 0, which depends on it, is anomalous']
    """
    return [*_series(evidence, ranking, thing, series), *_order(evidence, ranking, edges, thing), *_neighbours(evidence, ranking, edges, thing, names)]


def _series(evidence: Evidence, ranking: Ranking, thing: int, series: Callable[[int], str] | Sequence[str] | None) -> list[str]:
    mine = np.flatnonzero((evidence.thing == thing) & (ranking.weight > 0))
    out = []
    for number in mine[np.argsort(-ranking.weight[mine], kind='stable')][:SERIES].tolist():
        kind = LABELS[int(evidence.kind[number])]
        name = kind if series is None else series(number) if callable(series) else series[number]
        if evidence.missing[number]:
            out.append(f'{name} went missing')
            continue
        where = {1: 'above what was expected', -1: 'below what was expected', 0: 'not as expected'}[int(np.sign(evidence.direction[number]))]
        leans = '' if evidence.score[number] >= 1 else ', no alarm'
        out.append(f'{name} {where}, score {evidence.score[number]:.1f}{leans}')
    return out or ['no series of it is anomalous']


def _order(evidence: Evidence, ranking: Ranking, edges: Ints, thing: int) -> list[str]:
    if np.isnan(ranking.end[thing]):
        return []
    mine = (evidence.thing == thing) & (ranking.weight > 0)
    began = 'went missing' if evidence.missing[mine].all() else 'left its band'
    dependants = _anomalous(ranking, _dependants(edges, thing))
    others = dependants if len(dependants) else _anomalous(ranking, np.flatnonzero(np.arange(len(ranking.end)) != thing))
    if not len(others):
        return []
    first = others[np.argmin(ranking.end[others])]
    lead = float(ranking.end[first] - ranking.end[thing])
    if lead > 0:
        unsure = '' if np.all(ranking.begin[others] >= ranking.end[thing]) else UNSURE
        return [f'{began} {_minutes(lead)} before {"what depends on it" if len(dependants) else "all others"}{unsure}']
    if not len(dependants):
        return []
    if lead < 0:
        return [f'{began} {_minutes(-lead)} after the first that depends on it{"" if ranking.begin[thing] >= ranking.end[first] else UNSURE}']
    return [f'{began} at the same time as what depends on it']


def _neighbours(evidence: Evidence, ranking: Ranking, edges: Ints, thing: int, names: Sequence[str] | None) -> list[str]:
    dependants, dependencies = _dependants(edges, thing), np.unique(edges[(edges[:, 0] == thing) & (edges[:, 1] != thing), 1])
    found = [(dependants, 'depends on it', 'depend on it'), (dependencies, 'it depends on', 'it depends on')]
    out = [_share(_names(_anomalous(ranking, each), names), len(each), one, many) for each, one, many in found if len(each)]
    if len(_anomalous(ranking, dependencies)) and _is_busy(evidence, ranking, thing):
        out[-1] += ', and its traffic goes there'
    return out


def _is_busy(evidence: Evidence, ranking: Ranking, thing: int) -> bool:
    """Whether more traffic is what says most of a thing: then what it depends on suffers from it, and not the other way round."""
    mine = np.flatnonzero((evidence.thing == thing) & (ranking.weight > 0))
    if not len(mine):
        return False
    most = mine[np.argmax(ranking.weight[mine])]
    return bool(evidence.kind[most] == kinds.TRAFFIC and evidence.direction[most] > 0)


def _names(things: Ints, names: Sequence[str] | None) -> list[str]:
    return [names[thing] if names is not None else f'thing {thing}' for thing in things.tolist()]


def _dependants(edges: Ints, thing: int) -> Ints:
    return np.unique(edges[(edges[:, 1] == thing) & (edges[:, 0] != thing), 0])


def _anomalous(ranking: Ranking, things: Ints) -> Ints:
    return things[~np.isnan(ranking.end[things])]


def _share(anomalous: Sequence[str], of: int, one: str, many: str) -> str:
    """Which of so many neighbours are anomalous; of a few the names.

    >>> [_share(names, 3, 'depends on it', 'depend on it') for names in ([], ['a'], ['a', 'b', 'c'])]
    ['nothing that depends on it is anomalous', '1 of the 3 things that depend on it is anomalous: a', 'all 3 things that depend on it are anomalous']
    >>> [_share(names, len(names), 'depends on it', 'depend on it') for names in (['a'], ['a', 'b'])]
    ['a, which depends on it, is anomalous', 'a and b, which depend on it, are anomalous']
    """
    count, who = len(anomalous), ' and '.join(anomalous)
    if not count:
        return f'nothing that {one} is anomalous'
    if count < of:
        return f'{count} of the {of} things that {many} {"is" if count == 1 else "are"} anomalous{f": {who}" if count <= NAMED else ""}'
    if count > NAMED:
        return f'all {of} things that {many} are anomalous'
    return f'{who}, which {one}, is anomalous' if count == 1 else f'{who}, which {many}, are anomalous'


def _minutes(seconds: float) -> str:
    """A time as people say it.

    >>> _minutes(45), _minutes(200), _minutes(7300)
    ('45 s', '3 min', '2 h')
    """
    return f'{seconds:.0f} s' if seconds < 90 else f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.0f} h'
