"""Incidents as people read them: open ones first, newest first, with members, causes and reasons.

Who calls it: live.incidents (for the page and the API), backtest. What flows through: a View; only what is asked for becomes objects.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from promlstm.engine import labels
from promlstm.engine.columns import Bools, Ints
from promlstm.incidents.blame import Blame, blame, feature_name
from promlstm.incidents.leaning import Leaning
from promlstm.incidents.members import WAITING
from promlstm.incidents.view import View

MOST_CAUSES, MOST_MEMBERS = 10, 1_000
DIRECTIONS = {1: 'above', -1: 'below', 0: None}


@dataclass(frozen=True, slots=True)
class Cause:
    """What may be the cause: a name, and the entity whose series say most of it.

    detector, labels  of the entity; where it is a whole or no series is of it, None and the name alone
    thing             as label=value; the labels of the entity where it has no linking label
    probability       0 to 1
    """

    detector: str | None
    labels: dict[str, str]
    thing: str
    probability: float
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Member:
    """An entity of an incident. Times are unix seconds.

    onset      first sample of its alarm, or the first step without a sample
    end        its last anomalous sample; None = it is anomalous or missing now
    peak       the highest score; None = it was missing only
    score      at its newest anomalous sample
    direction  above or below what was expected, at the peak; None = not known
    """

    detector: str
    labels: dict[str, str]
    onset: float
    end: float | None
    peak: float | None
    score: float | None
    direction: str | None
    view: str | None
    feature: str | None
    missing: bool


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident. Times are unix seconds.

    end        the last sample of a member that was anomalous; None = it is open
    entities   how many members it has; `members` lists MOST_MEMBERS of them
    anomalous  how many of them are anomalous or missing now
    detectors  their names
    within     what all members share
    """

    id: str
    start: float
    end: float | None
    entities: int
    anomalous: int
    detectors: list[str]
    within: dict[str, str]
    cause: list[Cause]
    members: list[Member]


@dataclass(frozen=True, slots=True)
class Key:
    """The place of an incident in the listing: open ones first, newest first."""

    number: int
    open: bool
    id: str

    @property
    def order(self) -> tuple[bool, str]:
        """Falls along the listing."""
        return self.open, self.id


class Rankings:
    """The rankings of incidents, made anew only where their members have changed, or the graph has more edges or fewer."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int, Blame]] = {}
        self._leaning: tuple[View, Leaning] | None = None

    def of(self, view: View, number: int) -> Blame:
        """The ranking of an incident that has an id."""
        name, changed = view.spans.ids[number], int(view.spans.changed[number])
        known = self._known.get(name)
        if known is None or known[:2] != (changed, len(view.graph)):
            known = self._known[name] = changed, len(view.graph), blame(view, number, self._leans(view))
        return known[2]

    def _leans(self, view: View) -> Leaning:
        if self._leaning is None or self._leaning[0] is not view:
            self._leaning = view, Leaning.of(view)
        return self._leaning[1]

    def keep(self, ids: Iterable[str]) -> None:
        """Drop all others."""
        self._known = {name: self._known[name] for name in ids if name in self._known}
        self._leaning = None


def keys(view: View) -> list[Key]:
    """All incidents that have an id and members, in the order of the listing."""
    lasts = view.open()
    found = [Key(number, bool(lasts[number]), name) for number, name in enumerate(view.spans.ids) if name and np.isfinite(view.spans.start[number])]
    return sorted(found, key=lambda key: key.order, reverse=True)


def gravest(view: View, most: int) -> list[Key]:
    """So many open incidents: those with the most entities that are anomalous or missing now, then with the most of all, then the newest.

    Of as many entities, those of more detectors come first.
    """
    members, active, incidents = view.members, view.active(), len(view.spans)
    rows = np.flatnonzero(members.incident != WAITING)
    concerned = np.zeros((incidents, len(view.origins)), bool)
    concerned[members.incident[rows], members.detector[rows]] = True
    now, ever = (np.bincount(members.incident[each], minlength=incidents) for each in (active, rows))
    detectors = concerned.sum(axis=1)
    opened = [key for key in keys(view) if key.open]
    return sorted(opened, key=lambda key: (-now[key.number], -ever[key.number], -detectors[key.number]))[:most]  # in other respects as in the listing


def incident(view: View, key: Key, found: Blame, active: Bools) -> Incident:
    """One incident; `active` as of View.active."""
    members, rows = view.members, np.flatnonzero(view.members.incident == key.number)
    detectors = sorted({view.origins[detector].name for detector in np.unique(members.detector[rows]).tolist()})
    within = dict(zip(view.linking.within, view.names.withins[int(members.within[rows[0]])], strict=True))
    return Incident(
        key.id, float(view.spans.start[key.number]), None if key.open else float(view.spans.last[key.number]), len(rows), int(active[rows].sum()),
        detectors, {name: value for name, value in within.items() if value}, causes(found),
        [_member(view, row, bool(active[row])) for row in shown(view, rows)],
    )  # fmt: skip


def shown(view: View, rows: Ints) -> list[int]:
    """MOST_MEMBERS of some members (int64 [n]): those that began first, of these the highest."""
    order = np.lexsort((rows, -np.nan_to_num(view.members.peak[rows], nan=0.0), view.members.onset[rows]))
    found: list[int] = rows[order[:MOST_MEMBERS]].tolist()
    return found


def causes(found: Blame, most: int = MOST_CAUSES) -> list[Cause]:
    """The likeliest causes, with reasons."""
    out = []
    for thing, who, probability in found.causes(most):
        label, value = found.things[thing]
        of = dict(labels.pairs(who[1])) if who else {label: value}
        name = f'{label}={value}' if label else ', '.join(f'{label}={value}' for label, value in of.items())
        detector = who[0] if who else None
        out.append(Cause(detector, of, name, round(probability, 4), found.reasons(thing)))
    return out


def _member(view: View, row: int, active: bool) -> Member:
    members, origin = view.members, view.origins[view.members.detector[row]]
    ends = np.nan_to_num([members.last[row], members.gone[row]], nan=-np.inf)
    place, feature = int(members.view[row]), feature_name(origin, int(members.feature[row]))
    return Member(
        detector=origin.name,
        labels=dict(labels.pairs(members.identities[row])),
        onset=float(members.onset[row]),
        end=None if active else float(ends.max()),
        peak=_known(members.peak[row]),
        score=_known(members.score[row]),
        direction=DIRECTIONS[int(members.direction[row])],
        view=origin.views[place] if 0 <= place < len(origin.views) else None,
        feature=feature or None,
        missing=bool(~np.isnan(members.gone[row])),
    )


def _known(score: np.float32) -> float | None:
    return None if np.isnan(score) else float(score)
