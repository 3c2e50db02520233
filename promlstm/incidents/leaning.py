"""Entities that lean: their scores rose lately without an alarm. Beside an incident that is a clue, alone it is nothing.

Who calls it: listing, once for all incidents of a view. What flows through: the rises of each detector; out come the largest of those that lean,
with the names that link them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Bools, Floats, Floats32, Ints, SmallInts, Tensors
from promlstm.incidents.graph import Graph, Name, Scope
from promlstm.incidents.grouping import OWN, Names
from promlstm.incidents.view import View

MOST = 1_000  # entities that are looked at: those whose scores rose most


@dataclass(frozen=True, slots=True, eq=False)
class Leaning:
    """L entities that lean.

    detector     int64 [L]    number of the detector
    identities   of L
    within       of L: values of the within labels
    names        of L: the names that link each
    onset        float64 [L]  unix seconds of the rise
    uncertainty  float64 [L]  seconds by which what happened may lie before the onset
    before, peak float32 [L]  the score before the rise, and the highest since then
    direction    int8 [L]     at the rise: 1 above what was expected, -1 below, 0 = not known
    """

    detector: Ints
    identities: Sequence[bytes]
    within: Sequence[tuple[str, ...]]
    names: Sequence[tuple[Name, ...]]
    onset: Floats
    uncertainty: Floats
    before: Floats32
    peak: Floats32
    direction: SmallInts

    @property
    def rise(self) -> Floats32:
        """float32 [L]: by how much each score rose."""
        return self.peak - np.nan_to_num(self.before, nan=0.0)

    @classmethod
    def of(cls, view: View) -> 'Leaning':
        """Those of a view."""
        detectors, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        since = float(view.spans.start[view.open()].min(initial=view.now)) - view.window
        for number, (rises, _) in enumerate(view.rises):
            found = np.flatnonzero(~rises.alarm & ~np.isnan(rises.onset) & (rises.onset >= since))
            detectors.append(np.full(len(found), number))
            rows.append(found)
        detector, row = np.concatenate(detectors), np.concatenate(rows)
        columns: Tensors = {name: _gathered(view, name, detector, row) for name in ('onset', 'gap', 'before', 'peak', 'direction')}
        size = columns['peak'] - np.nan_to_num(columns['before'], nan=0.0)
        chosen = np.sort(np.argsort(-size, kind='stable')[:MOST])
        detector, row = detector[chosen], row[chosen]
        columns = {name: column[chosen] for name, column in columns.items()}
        identities = [view.rises[number][1][place] for number, place in zip(detector.tolist(), row.tolist(), strict=True)]
        known = Names()
        within, things = known.of(view.linking, identities)
        linked = [tuple(known.things[number][1] for number in each[each >= 0].tolist()) for each in things]
        looks = np.array([origin.uncertainty_seconds - origin.step_seconds for origin in view.origins])
        return cls(
            detector, identities, [known.withins[number] for number in within.tolist()], linked, columns['onset'],
            columns['gap'] + (looks[detector] if len(looks) else 0.0), columns['before'], columns['peak'], columns['direction'],
        )  # fmt: skip

    def beside(self, names: Sequence[Name], within: tuple[str, ...], scope: Scope, graph: Graph, start: float, end: float) -> Bools:
        """bool [L]: those that rose between two instants (unix seconds) and share or are near one of an incident's names."""
        time = (self.onset >= start) & (self.onset <= end)
        rows = [row for row in np.flatnonzero(time).tolist() if self.within[row] == within and self.names[row][0][0] != OWN]
        near, ours = set(names), [name for name in names if name in graph.names]
        if ours:
            asked = list(dict.fromkeys([*ours, *(name for row in rows for name in self.names[row] if name in graph.names)]))
            pairs = graph.near(asked, within=scope)
            near |= {asked[place] for place in pairs[(pairs[:, 0] < len(ours)) & (pairs[:, 1] >= len(ours)), 1].tolist()}
        found = np.zeros(len(self.onset), bool)
        found[[row for row in rows if not near.isdisjoint(self.names[row])]] = True
        return found


def _gathered(view: View, name: str, detector: Ints, row: Ints) -> npt.NDArray[Any]:
    """A column of the rises of some rows (int64 [n]) of some detectors (int64 [n])."""
    out = np.empty(len(row), getattr(view.rises[0][0], name).dtype if view.rises else np.float64)
    for number in np.unique(detector).tolist():
        mine = detector == number
        out[mine] = getattr(view.rises[number][0], name)[row[mine]]
    return out
