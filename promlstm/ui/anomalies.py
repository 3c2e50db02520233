"""What is anomalous or missing now, ranked: as rows for people and programs.

Who calls it: now. What flows through: the newest steps of all detectors, N entities each, and what is asked for; only the rows that are
shown become objects.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from promlstm.engine import labels
from promlstm.engine.columns import Floats, Ints
from promlstm.serve import exposition
from promlstm.ui import wording
from promlstm.ui.board import Standing

LIMIT, MOST = 50, 500


class Asked(msgspec.Struct, frozen=True):
    """Which rows are wanted: of one detector, with a text in their labels, from a place on; state is anomalous, missing or both ('')."""

    detector: str = ''
    text: str = ''
    state: str = ''
    offset: int = 0
    limit: int = LIMIT


class Row(msgspec.Struct, frozen=True):
    """An entity that is anomalous or missing. Times are unix seconds; None = not known.

    entity    its labels as PromQL has them
    score     None = it is missing
    feature   that contributes most; '' where the detector has one only
    kind      the view of the model that says most
    reason    in words, with values in their units
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
    kind: str
    unit: str
    reason: str


class Listing(msgspec.Struct, frozen=True):
    """Rows from `offset` on, and how many there are in all."""

    rows: list[Row]
    total: int
    offset: int


def listing(standings: Sequence[Standing], asked: Asked) -> Listing:
    """The rows that are asked for, the highest score first, missing entities after them."""
    found = [(standing, _chosen(standing, asked)) for standing in standings if asked.detector in ('', standing.config.name)]
    which = np.repeat(np.arange(len(found)), [len(rows) for _, rows in found])
    rows = np.concatenate([np.empty(0, np.int64), *(rows for _, rows in found)])
    scores = np.concatenate([np.empty(0), *(_rank(standing, rows) for standing, rows in found)])
    order = np.argsort(-scores, kind='stable')[asked.offset : asked.offset + asked.limit]
    shown = [row(found[place][0], number) for place, number in zip(which[order].tolist(), rows[order].tolist(), strict=True)]
    return Listing(shown, len(rows), asked.offset)


def _chosen(standing: Standing, asked: Asked) -> Ints:
    anomalous, missing = standing.verdicts.score >= 1, standing.missing
    wanted = {'anomalous': anomalous, 'missing': missing}.get(asked.state, anomalous | missing)
    rows = np.flatnonzero(wanted)
    if not asked.text:
        return rows
    text = asked.text.lower().encode()
    return np.array([number for number in rows.tolist() if text in standing.identities[number].lower()], np.int64)


def _rank(standing: Standing, rows: Ints) -> Floats:
    scores = np.nan_to_num(standing.verdicts.score[rows].astype(np.float64))
    return np.where(standing.missing[rows], 0.0, scores)


def row(standing: Standing, number: int) -> Row:
    """The entity of one row of a step."""
    verdicts, config = standing.verdicts, standing.config
    pairs = labels.pairs(standing.identities[number])
    missing, names = bool(standing.missing[number]), tuple(config.queries)
    (main,), _ = verdicts.main_features(np.array([number]))
    since = standing.lost[number] if missing else verdicts.since[number]
    values = [_known(column[number, main]) for column in (verdicts.observed, verdicts.expected, verdicts.lower, verdicts.upper)]
    observed, expected, lower, upper = values
    views = np.nan_to_num(verdicts.view[number])
    kind = standing.views[int(views.argmax())] if len(views) and views.any() and not missing else ''
    unit = wording.unit_of(config.queries[names[main]])
    return Row(
        config.name, labels.selector(pairs), dict(pairs), 'missing' if missing else 'anomalous', _known(since), _known(verdicts.score[number]),
        names[main], observed, expected, lower, upper, kind, unit,
        wording.reason(observed=observed, expected=expected, lower=lower, upper=upper, unit=unit, feature=names[main], kind=kind, missing=missing),
    )  # fmt: skip


def _known(value: float) -> float | None:
    """A number as JSON has it; None = there is none. An expected value that is a rounding error is 0."""
    legible = float(exposition.legible(np.array(value, np.float64)))
    return legible if math.isfinite(legible) else None
