"""What is anomalous or missing now, ranked: as rows for people and programs.

Who calls it: now, entities. What flows through: the newest steps of all detectors, N entities each, and what is asked for; only the rows that are
shown become objects.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from promlstm.engine import labels
from promlstm.engine.columns import MISSING, WARMING, Floats, Ints, SmallInts
from promlstm.serve import exposition
from promlstm.ui import wording
from promlstm.ui.board import Standing
from promlstm.ui.filtering import Wanted, chosen

LIMIT, MOST = 50, 500
FARTHEST = 10_000_000  # offset
STATES = ('normal', 'anomalous', 'missing', 'warming', 'absent')  # by code, see `states`
SORTS = ('score', 'since')


class Asked(msgspec.Struct, frozen=True):
    """Which rows are wanted: of one detector ('' = all), by labels, in a state (all, anomalous, missing), from a place on."""

    detector: str = ''
    wanted: Wanted = Wanted()
    state: str = 'all'
    sort: str = 'score'
    offset: int = 0
    limit: int = LIMIT


class Row(msgspec.Struct, frozen=True):
    """An entity. Times are unix seconds; None = not known.

    entity    its labels as PromQL has them
    state     one of STATES
    since     first sample of its alarm, or the first step without a sample; None = neither
    score     None = it has none
    feature   that contributes most; '' where the detector has one only
    view      of the model that says most; '' = not known
    unit      of the values, from the names of the metrics; '' = not known
    reason    in words, with values in their units; '' where it is neither anomalous nor missing
    brief     the same without the values
    """

    detector: str
    entity: str
    labels: dict[str, str]
    state: str
    since: float | None
    score: float | None
    feature: str
    observed: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    view: str
    unit: str
    reason: str
    brief: str


class Listing(msgspec.Struct, frozen=True):
    """Rows from `offset` on, how many there are in all, and in each state whatever the state that is asked for; next: the offset that follows, or None."""

    rows: list[Row]
    total: int
    counts: dict[str, int]
    offset: int
    next: int | None

    def tree(self, name: str) -> dict[str, object]:
        """What JSON has of it; name: what the rows are."""
        return {name: self.rows, 'total': self.total, 'counts': self.counts, 'offset': self.offset, 'next': self.next}


def listing(standings: Sequence[Standing], asked: Asked) -> Listing:
    """The rows that are asked for, the highest score first and missing entities after them, or the newest first.

    raises  BadQuery  where an expression among the matchers is none
    """
    found = [(standing, _rows(standing, asked)) for standing in standings if asked.detector in ('', standing.config.name)]
    counts = {
        'anomalous': sum(int((~standing.missing[rows]).sum()) for standing, rows in found),
        'missing': sum(int(standing.missing[rows].sum()) for standing, rows in found),
    }
    if asked.state != 'all':
        found = [(standing, rows[standing.missing[rows] == (asked.state == 'missing')]) for standing, rows in found]
    which = np.repeat(np.arange(len(found)), [len(rows) for _, rows in found])
    rows = np.concatenate([np.empty(0, np.int64), *(rows for _, rows in found)])
    ranks = np.concatenate([np.empty(0), *((since if asked.sort == 'since' else _rank)(standing, rows) for standing, rows in found)])
    order = np.argsort(-np.nan_to_num(ranks), kind='stable')[asked.offset : asked.offset + asked.limit]
    shown = [row(found[place][0], number) for place, number in zip(which[order].tolist(), rows[order].tolist(), strict=True)]
    return Listing(shown, len(rows), counts, asked.offset, following(asked.offset, asked.limit, len(rows)))


def following(offset: int, limit: int, total: int) -> int | None:
    """The offset of the next rows; None = there are none.

    >>> following(0, 50, 51), following(50, 50, 51)
    (50, None)
    """
    return offset + limit if offset + limit < total else None


def _rows(standing: Standing, asked: Asked) -> Ints:
    """The rows that are anomalous or missing and wanted, int64 [n]."""
    return chosen(asked.wanted, standing.identities, np.flatnonzero((standing.verdicts.score >= 1) | standing.missing))


def _rank(standing: Standing, rows: Ints) -> Floats:
    return np.where(standing.missing[rows], 0.0, standing.verdicts.score[rows].astype(np.float64))


def since(standing: Standing, rows: Ints) -> Floats:
    """Since when some rows are anomalous or missing, float64 [n]: unix seconds, NaN = not known, or neither."""
    return np.where(standing.missing[rows], standing.lost[rows], standing.verdicts.since[rows])


def states(standing: Standing) -> SmallInts:
    """The state of each row, int8 [N]: its place in STATES."""
    status = standing.verdicts.status
    found = np.where(status == MISSING, STATES.index('absent'), np.where(status == WARMING, STATES.index('warming'), STATES.index('normal')))
    found = np.where(standing.verdicts.score >= 1, STATES.index('anomalous'), found)
    return np.where(standing.missing, STATES.index('missing'), found).astype(np.int8)


def row(standing: Standing, number: int) -> Row:
    """The entity of one row of a step."""
    verdicts, config = standing.verdicts, standing.config
    pairs, at = labels.pairs(standing.identities[number]), np.array([number])
    missing, anomalous, names = bool(standing.missing[number]), bool(verdicts.score[number] >= 1), tuple(config.queries)
    (main,), _ = verdicts.main_features(at)
    values = [_known(column[number, main]) for column in (verdicts.observed, verdicts.expected, verdicts.lower, verdicts.upper)]
    observed, expected, lower, upper = values
    if math.isnan(verdicts.score[number]):  # what was expected of a sample that is not judged says nothing
        expected = lower = upper = None
    shares = np.nan_to_num(verdicts.view[number])
    view = standing.views[int(shares.argmax())] if len(shares) and shares.any() and anomalous and not missing else ''
    unit = wording.unit_of(config.queries[names[main]])
    state = 'missing' if missing else 'anomalous' if anomalous else STATES[(0, 3, 4)[int(verdicts.status[number])]]
    told = ('', '')
    if missing or anomalous:
        told = wording.reason(
            observed=observed, expected=expected, lower=lower, upper=upper, unit=unit, feature=names[main], view=view, missing=missing,
            allowed=config.range,
        )  # fmt: skip
    return Row(
        config.name, labels.selector(pairs), dict(pairs), state, _known(since(standing, at)[0]), _known(verdicts.score[number]), names[main],
        observed, expected, lower, upper, view, unit, *told,
    )  # fmt: skip


def _known(value: float) -> float | None:
    """A number as JSON has it; None = there is none. An expected value that is a rounding error is 0."""
    legible = float(exposition.legible(np.array(value, np.float64)))
    return legible if math.isfinite(legible) else None
