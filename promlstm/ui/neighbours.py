"""What else is strange at the same time as an entity: what is in the same incident, else what shares labels and began about then.

Who calls it: entity. What flows through: the newest steps of all detectors and the incidents; out come a few rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from promlstm.engine import labels
from promlstm.engine.labels import Pairs
from promlstm.live.incidents import Gathering
from promlstm.ui import anomalies
from promlstm.ui.anomalies import Row
from promlstm.ui.board import Standing

SHOWN = 12
LOOKED_AT = 2_000  # rows of a detector whose labels are compared
AROUND_SECONDS, AROUND_STEPS = 300.0, 3.0  # between the beginnings of two alarms


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Entities that are strange at the same time. incident: the id of the one that they share, None = there is none; more: how many are not listed."""

    rows: list[Row]
    incident: str | None = None
    more: int = 0


def of(standings: Sequence[Standing], detector: str, entity: Pairs, since: float | None, incidents: Gathering) -> Neighbours:
    """Those of an entity.

    since  when its alarm began, or its samples ended; None = it is not strange now: then whatever shares its labels counts
    """
    if found := _of_incident(standings, detector, entity, incidents):
        return found
    shared: list[tuple[int, float, Standing, int]] = []
    mine = dict(entity)
    for standing in standings:
        began = np.where(standing.missing, standing.lost, standing.verdicts.since)
        near = np.full(len(began), True) if since is None else np.abs(began - since) <= max(AROUND_SECONDS, AROUND_STEPS * standing.config.step)
        rows = np.flatnonzero(((standing.verdicts.score >= 1) | standing.missing) & near)[:LOOKED_AT]
        scores = np.nan_to_num(standing.verdicts.score[rows]).tolist()
        for row, score in zip(rows.tolist(), scores, strict=True):
            theirs = labels.pairs(standing.identities[row])
            if (standing.config.name, theirs) == (detector, entity):
                continue
            if count := sum(mine.get(name) == value for name, value in theirs):
                shared.append((count, score, standing, row))
    shared.sort(key=lambda each: (-each[0], -each[1]))
    return Neighbours([anomalies.row(standing, row) for _, _, standing, row in shared[:SHOWN]], None, max(0, len(shared) - SHOWN))


def _of_incident(standings: Sequence[Standing], detector: str, entity: Pairs, incidents: Gathering) -> Neighbours | None:
    mine = labels.identity_of(entity)
    found = incidents.open_with(detector, mine)
    if found is None:
        return None
    name, members = found
    others = [each for each in members if each != (detector, mine)]
    places: dict[tuple[str, bytes], tuple[Standing, int]] = {}
    for standing in standings:
        other = standing.config.name
        rows = standing.rows_of({identity for each, identity in others if each == other})
        places |= {
            (other, identity): (standing, row) for identity, row in rows.items() if standing.verdicts.score[row] >= 1 or standing.missing[row]
        }  # fmt: skip
    shown = [anomalies.row(*places[each]) for each in others if each in places][:SHOWN]
    return Neighbours(shown, name, max(0, len(members) - 1 - len(shown)))
