"""Answers to range queries as columns of one entity. Pure.

Who calls it: history. What flows through: Matrices, whose series are of several replicas, features and views; out comes one column for each, and runs of
instants in them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from promlstm.engine import labels
from promlstm.engine.columns import Bools, Floats
from promlstm.query.prometheus import Matrix

REPLICA = 'promlstm_replica'
_OF_FAMILIES = ('__name__', 'feature', 'view', 'bound', 'horizon', 'promlstm_of', REPLICA)
BRIDGED = 3  # points without a number within a run, as a scrape that failed leaves


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """What a family says of an entity: labels of the family beside it, and values float64 [T], NaN = none."""

    own: Mapping[str, str]
    values: Floats


def columns(matrices: Sequence[Matrix], entity: labels.Pairs) -> list[Column]:
    """A column for each family, feature and view of one entity: the highest of several replicas.

    Series may carry labels beside those of the entity, such as those of the scrape or of an agent. Where some have fewer of them than others, the others
    are of another entity, which has the same labels and more.

    entity  its exported labels
    """
    instants = np.concatenate([np.empty(0), *(matrix.times for matrix in matrices)])
    found: dict[tuple[tuple[str, str], ...], dict[int, Floats]] = {}
    place, known = 0, dict(entity)
    for matrix in matrices:
        rows = slice(place, place + len(matrix.times))
        for key, values in zip(matrix.keys, matrix.values.T, strict=True):
            metric = labels.decoded(key)
            own = tuple(sorted((name, metric[name]) for name in _OF_FAMILIES if name in metric and name != REPLICA and name not in known))
            extra = sum(name not in known and name not in _OF_FAMILIES for name in metric)
            column = found.setdefault(own, {}).setdefault(extra, np.full(len(instants), np.nan))
            column[rows] = np.fmax(column[rows], values)
        place = rows.stop
    least = min((extra for each in found.values() for extra in each), default=0)
    return [Column(dict(own), each[least]) for own, each in found.items() if least in each]


def one(found: Iterable[Column], family: str, length: int, **own: str) -> Floats:
    """The column of a family; all NaN where there is none."""
    for column in found:
        if family in (column.own.get('__name__'), column.own.get('promlstm_of')) and all(column.own.get(name, '') == value for name, value in own.items()):
            return column.values
    return np.full(length, np.nan)


def runs(holds: Bools, unknown: Bools) -> list[tuple[int, int]]:
    """(first, last) of each run of points where something holds; a few points of which nothing is known do not end it.

    >>> yes = np.array([0, 1, 1, 0, 1, 0, 0, 1], bool)
    >>> runs(yes, np.array([0, 0, 0, 1, 0, 0, 0, 0], bool))
    [(1, 4), (7, 7)]
    """
    found: list[tuple[int, int]] = []
    for place in np.flatnonzero(holds).tolist():
        between = slice(found[-1][1] + 1, place) if found else slice(0, 0)
        if found and (place == found[-1][1] + 1 or (between.stop - between.start <= BRIDGED and unknown[between].all())):
            found[-1] = found[-1][0], place
        else:
            found.append((place, place))
    return found
