"""When the alarms of an incident began and ended, as bars beside each other. Pure.

Who calls it: incidents. What flows through: members; out come places on one axis, from 0 to WIDTH.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from promlstm.incidents.listing import Incident, Member

WIDTH = 1000
LEAST_SECONDS = 120.0  # that the axis is long
SLIVER = 8  # that a bar is wide at least


@dataclass(frozen=True, slots=True)
class Axis:
    """From `start` to `end`, unix seconds: all onsets with a little after the last, so that one sees which came first."""

    start: float
    end: float

    def bar(self, member: Member) -> tuple[int, int]:
        """(left, width) of an alarm.

        >>> Axis(0, 100).bar(Member('cpu', {}, 50, 200, 1.5, 1.2, None, None, None, False))
        (500, 500)
        """
        left = self._place(member.onset)
        right = WIDTH if member.end is None else self._place(member.end)
        left = min(left, WIDTH - SLIVER)
        return left, max(SLIVER, right - left)

    def _place(self, seconds: float) -> int:
        return round(WIDTH * min(1.0, max(0.0, (seconds - self.start) / (self.end - self.start))))


def axis(incident: Incident, members: Sequence[Member], now: float) -> Axis:
    """The axis of some members of an incident; `now`: unix seconds.

    >>> from promlstm.incidents.listing import Member
    >>> said = [Member('cpu', {}, onset, None, 1.5, 1.2, None, None, None, False) for onset in (1000.0, 1300.0)]
    >>> axis(Incident('x', 1000.0, None, 2, 2, ['cpu'], {}, [], said), said, 9000.0)
    Axis(start=1000.0, end=1400.0)
    """
    latest = max((member.onset for member in members), default=incident.start)
    wanted = incident.start + max(LEAST_SECONDS, (latest - incident.start) * 4 / 3)
    over = now if incident.end is None else incident.end
    return Axis(incident.start, max(min(wanted, over), latest, incident.start + 1))
