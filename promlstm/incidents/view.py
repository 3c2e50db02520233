"""All incidents as of an instant, for readers: columns that nobody changes any more.

Who calls it: table makes it; blame and listing read it. Pure: the instant is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from promlstm.engine.columns import Bools, Floats
from promlstm.incidents.graph import Graph
from promlstm.incidents.grouping import Linking, Names
from promlstm.incidents.members import WAITING, Members, Origin
from promlstm.incidents.rises import Rises
from promlstm.incidents.spans import Spans

UNKNOWN_SECONDS = 3600.0  # an alarm of a detector that makes no steps goes on for so long, for nothing is known of it


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """All incidents as of an instant, for readers.

    window       seconds between two onsets in one incident, at most
    rises        by number of the detector: what rose lately, and whose scores these are
    steps, times  float64 [D]  by number of the detector: seconds of a step, unix seconds of the newest one
    removed       bool [D]     no longer configured
    """

    now: float
    members: Members
    spans: Spans
    names: Names
    linking: Linking
    origins: Sequence[Origin]
    steps: Floats
    times: Floats
    removed: Bools
    graph: Graph
    window: float
    rises: Sequence[tuple[Rises, Sequence[bytes]]]

    def active(self) -> Bools:
        """bool [M]: members that are anomalous or missing at the newest step of their detector, if that is no older than two steps."""
        members = self.members
        fresh = ~self.removed & (self.now < self.times + 2 * self.steps)
        time = self.times[members.detector]
        active: Bools = fresh[members.detector] & ((members.last == time) | (members.gone == time)) & (members.incident != WAITING)
        return active

    def open(self) -> Bools:
        """bool [I]: incidents that are not over. What a detector does not say for a while lasts; what it does not say for an hour is over."""
        members = self.members
        rows = np.flatnonzero(members.incident != WAITING)
        incident, detector = members.incident[rows], members.detector[rows]
        quiet, time = self.spans.quiet[incident], self.times[detector]
        lasts = (members.last[rows] >= time - quiet) & (time > self.now - np.maximum(UNKNOWN_SECONDS, quiet)) & ~self.removed[detector]
        found = np.zeros(len(self.spans), bool)
        found[incident[lasts]] = True
        return found
