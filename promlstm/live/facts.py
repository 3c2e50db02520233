"""What is known of the server itself, beside its samples: how far its clock is from ours, and how long it keeps samples.

Who calls it: runner, after steps that were answered. promlstm.query.prometheus.Prometheus is a Facts; a source that is no server has none. One
Server is shared by all detectors of a source, so that what is wrong with it is logged once and not by each of them.
"""

import logging
import math
import threading
from typing import Protocol

from promlstm.logs import event
from promlstm.terminal import duration

log = logging.getLogger('promlstm.source')
SKEW_SECONDS = 3.0  # clocks that differ by less agree: a Date is in whole seconds, and answers take their time


class Facts(Protocol):
    """What a query API says of itself."""

    @property
    def clock_skew_seconds(self) -> float:
        """How far its clock is ahead of ours; NaN = not known."""

    def retention_seconds(self) -> float | None:
        """How long it keeps samples; None = not known."""


class Server:
    """The facts of a server, asked for once, and logged when they change.

    name  of the source
    """

    def __init__(self, facts: Facts | None, name: str = 'prometheus') -> None:
        self._name, self._facts, self._lock = name, facts, threading.Lock()
        self._logged_skew = 0.0
        self._retention: list[float | None] = []

    def skew(self) -> str:
        """Which clock is ahead of which and by how much; '' where they agree, or nothing is known. A change is logged."""
        found = self._facts.clock_skew_seconds if self._facts else math.nan
        with self._lock:
            if math.isnan(found):
                return skew_text(self._logged_skew)
            if not skew_text(found):
                found = 0.0
            if abs(found - self._logged_skew) > max(SKEW_SECONDS, abs(self._logged_skew) / 10) or (not found and self._logged_skew):
                self._logged_skew = found
                what = f'{skew_text(found)}: samples are scored that much late, or do not exist yet' if found else 'the clocks agree again'
                event(log, 'warn' if found else 'info', what, source=self._name, skew_seconds=found)
            return skew_text(self._logged_skew)

    def retention_seconds(self) -> float | None:
        """How long it keeps samples; None = not known. It is asked once."""
        with self._lock:
            if not self._retention:
                self._retention.append(self._facts.retention_seconds() if self._facts else None)
            return self._retention[0]


def skew_text(seconds: float) -> str:
    """A skew in words; '' where it is small or not known.

    >>> skew_text(3602.4), skew_text(-75), skew_text(2.5), skew_text(math.nan)
    ('the clock of the query API is 1h2s ahead of ours', 'the clock of the query API is 1m15s behind ours', '', '')
    """
    if not abs(seconds) > SKEW_SECONDS:
        return ''
    return f'the clock of the query API is {duration(round(abs(seconds)), units=2)} {"ahead of" if seconds > 0 else "behind"} ours'
