"""The window of time that a page or the API shows, and how fine. Pure.

Who calls it: entity, history. What flows through: parameters of a URL, `range=6h&end=1750000200`; out comes a Window. Its end lies on a step of the
detector, so that all who look within a step ask for the same.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from promlstm.durations import seconds
from promlstm.serve.handling import BadQuery, number
from promlstm.terminal import duration

USUAL = '6h'
OFFERED = ('1h', '6h', '1d', '7d')
LEAST_SECONDS, MOST_SECONDS = 60.0, 35 * 86400.0
POINTS, LEAST_POINTS, MOST_POINTS = 600, 20, 1000
_INSTANT = re.compile(r'[0-9]{1,11}(\.[0-9]{1,6})?\Z')


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time as it is asked of a server.

    start, end   unix seconds, both on the grid
    resolution   seconds between two points: the step of the detector or a multiple of it
    live         it ends at the present
    asked        seconds that were asked for: start and end lie on the grid
    """

    start: float
    end: float
    resolution: float
    live: bool
    asked: float

    @property
    def points(self) -> int:
        """How many there are."""
        return round((self.end - self.start) / self.resolution) + 1

    @property
    def coarse_milliseconds(self) -> int:
        """The resolution in milliseconds, as a range in PromQL has it."""
        return round(self.resolution * 1000)

    @property
    def name(self) -> str:
        """How long it was to be, such as 6h."""
        return duration(self.asked)


def window(span_seconds: float, end: float | None, now: float, step: float, points: int = POINTS) -> Window:
    """The window of a span that ends at an instant, or at the present where that is None.

    >>> window(3600, None, 1_750_000_225.0, 60.0)
    Window(start=1749996600.0, end=1750000200.0, resolution=60.0, live=True, asked=3600)
    >>> round(window(7 * 86400, None, 1_750_000_225.0, 60.0).resolution / 60)  # of a week each 17th step
    17
    """
    last = math.floor(min(now if end is None else end, now) / step) * step
    resolution = step * max(1, math.ceil(span_seconds / step / points - 1e-9))
    count = max(1, round(span_seconds / resolution))
    return Window(last - count * resolution, last, resolution, end is None or end >= now - step, span_seconds)


def about(start: float, end: float, now: float) -> dict[str, str]:
    """The parameters of the page of an entity that show an alarm of the past; none where the page shows it without.

    >>> about(1_750_000_000.0, 1_750_003_600.0, 1_750_086_400.0), about(1_750_000_000.0, 1_750_003_600.0, 1_750_007_200.0)
    ({'range': '6h', 'end': '1750009000'}, {})
    >>> about(1_750_000_000.0, 1_750_050_000.0, 1_750_086_400.0)
    {'range': '1d', 'end': '1750071600'}
    """
    if start > now - 5 / 6 * seconds(USUAL):
        return {}
    name = next((name for name in OFFERED[1:] if seconds(name) >= 1.5 * (end - start)), OFFERED[-1])
    return {'range': name, 'end': str(math.floor(min(end + seconds(name) / 4, now)))}


def span_of(given: Mapping[str, str]) -> float:
    """The seconds that the parameter `range` says; BadQuery where it says none."""
    said = given.get('range', USUAL)
    try:
        span = seconds(said)
    except ValueError as error:
        raise BadQuery(f'range: expected a duration such as 6h, got {said[:100]!r}') from error
    if not LEAST_SECONDS <= span <= MOST_SECONDS:
        raise BadQuery(f'range: expected {duration(LEAST_SECONDS)} to {duration(MOST_SECONDS)}, got {said[:100]!r}')
    return span


def end_of(given: Mapping[str, str]) -> float | None:
    """The instant that the parameter `end` says, unix seconds; None = the present."""
    said = given.get('end', '')
    if said in ('', 'now'):
        return None
    if not _INSTANT.match(said):
        raise BadQuery(f'end: expected unix seconds, or now, got {said[:100]!r}')
    return float(said)


def asked(given: Mapping[str, str], now: float, step: float) -> Window:
    """The window that parameters ask for."""
    return window(span_of(given), end_of(given), now, step, number(given, 'points', POINTS, LEAST_POINTS, MOST_POINTS))
