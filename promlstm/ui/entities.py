"""All entities of one detector, also those that are normal: found by their labels, page by page, and counted by state.

Who calls it: detectors. What flows through: the newest step of a detector, N entities; only the rows that are shown become objects.
"""

import msgspec
import numpy as np

from promlstm.engine.columns import SmallInts
from promlstm.ui.anomalies import LIMIT, STATES, Listing, following, row, states
from promlstm.ui.board import Standing
from promlstm.ui.filtering import Wanted, chosen

SORTS = ('score', 'name')


class Asked(msgspec.Struct, frozen=True):
    """Which entities are wanted: by labels, in a state (all, or one of STATES), from a place on; in the order of scores, or as they came."""

    wanted: Wanted = Wanted()
    state: str = 'all'
    sort: str = 'score'
    offset: int = 0
    limit: int = LIMIT


def found(standing: Standing, asked: Asked) -> Listing:
    """The entities that are asked for.

    raises  BadQuery  where an expression among the matchers is none
    """
    rows, codes = chosen(asked.wanted, standing.identities, np.arange(len(standing))), states(standing)
    counts = counted(codes[rows])
    if asked.state != 'all':
        rows = rows[codes[rows] == STATES.index(asked.state)]
    total, wanted = len(rows), slice(asked.offset, asked.offset + asked.limit)
    if asked.sort == 'name':
        names = standing.identities
        rows = np.array(sorted(rows.tolist(), key=names.__getitem__), np.int64)[wanted]
    else:
        ranks = np.nan_to_num(standing.verdicts.score[rows], nan=-1.0)
        rows = rows[np.argsort(-ranks, kind='stable')[wanted]]
    return Listing([row(standing, number) for number in rows.tolist()], total, counts, asked.offset, following(asked.offset, asked.limit, total))


def count(standing: Standing) -> dict[str, int]:
    """How many entities are in each state."""
    return counted(states(standing))


def counted(codes: SmallInts) -> dict[str, int]:
    """How often each state occurs among codes (int8 [n], places in STATES).

    >>> counted(np.int8([0, 1, 1]))
    {'normal': 1, 'anomalous': 2, 'missing': 0, 'warming': 0, 'absent': 0}
    """
    return dict(zip(STATES, np.bincount(codes, minlength=len(STATES)).tolist(), strict=True))
