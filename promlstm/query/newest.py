"""When an expression returned series last, where it returns none now.

Who calls it: live.report and `check-config`, so that a reason can say whether samples stopped, are late, or lie in the future because a clock
is wrong. It asks one range query, for the number of series alone.
"""

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from promlstm.errors import PromlstmError
from promlstm.query.prometheus import Floats
from promlstm.query.victorialogs import VictoriaLogs
from promlstm.terminal import duration

AROUND_SECONDS = 6 * 3600.0
RESOLUTION_SECONDS = 60.0
LOOK_BACK_SECONDS = 300.0  # for so long after its last sample an instant query returns a series


class _Matrix(Protocol):
    @property
    def times(self) -> Floats: ...
    @property
    def values(self) -> Floats: ...


class Ranges(Protocol):
    """What answers range queries; Prometheus is one."""

    def range(self, expr: str, start: float, end: float, step: float, series: int) -> Iterable[_Matrix]:
        """The values of an expression at start, start + step, … end."""


def last_returned(source: Ranges, expr: str, now: float, delay: float = 0.0) -> str:
    """When an expression last returned series, within six hours around now - delay, in words; '' where it did not, or cannot be asked."""
    if isinstance(source, VictoriaLogs):  # its expressions cannot be counted, nor asked at each minute of half a day
        return ''
    asked = now - delay
    try:
        matrices = list(source.range(f'count(\n{expr}\n)', asked - AROUND_SECONDS, asked + AROUND_SECONDS, RESOLUTION_SECONDS, 1))
    except PromlstmError:
        return ''
    instants = [matrix.times[~np.isnan(matrix.values).all(axis=1)] for matrix in matrices if matrix.values.size]
    return when(float(np.concatenate(instants).max()) - asked, delay) if any(len(each) for each in instants) else ''


def when(seconds: float, delay: float = 0.0) -> str:
    """What is said of the last instant with series, so many seconds after now - delay.

    >>> when(-3600), when(1800)
    ('it last returned series 1h ago', 'it returns series of the next 30m: a clock is ahead, of the server or of what it scrapes')
    >>> when(7440, 7200)
    'all its samples are newer than that: wait, or set a shorter delay'
    """
    if RESOLUTION_SECONDS < seconds <= delay + LOOK_BACK_SECONDS and delay:
        return 'all its samples are newer than that: wait, or set a shorter delay'
    if seconds > RESOLUTION_SECONDS:
        return f'it returns series of the next {duration(round(seconds), units=2)}: a clock is ahead, of the server or of what it scrapes'
    return f'it last returned series {duration(max(RESOLUTION_SECONDS, round(-seconds)), units=2)} ago'
