"""How many entities alarm at a time, over a span, as a picture in SVG. Pure.

Who calls it: comparison (spells become counts), what_if and backtest_report (counts become bars). A picture has no style of its own: its parts have
classes, and the stylesheet gives these colours.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec
import numpy as np

from promlstm.backtest import instant
from promlstm.engine.columns import Ints
from promlstm.engine.history import aligned

BINS = 120  # of a span, at most
WIDE, HIGH = 960, 56  # of a row of bars


class Bar(msgspec.Struct, frozen=True):
    """One bar, in the units of the picture; `title` says it in words."""

    x: float
    y: float
    width: float
    height: float
    title: str


def steps(start: float, end: float, step_seconds: float) -> int:
    """How many aligned steps there are after `start` up to `end`, unix seconds.

    >>> steps(30, 150, 60)
    2
    """
    return max(0, round((aligned(end, step_seconds) - aligned(start, step_seconds)) / step_seconds))


def bins(start: float, end: float, step_seconds: float) -> int:
    """How many bins a span has: no more than steps.

    >>> bins(0, 3600, 60), bins(0, 86400 * 7, 60)
    (61, 120)
    """
    return max(1, min(BINS, round((end - start) / step_seconds) + 1))


def counts(spells: Iterable[tuple[float, float]], start: float, end: float, number: int) -> Ints:
    """int64 [number]: how many spells (first and last instant, unix seconds) lie in each of so many equal parts of a span, or touch it.

    >>> counts([(0, 10), (8, 30), (95, 100)], 0, 100, 10).tolist()
    [2, 2, 1, 1, 0, 0, 0, 0, 0, 1]
    """
    changes = np.zeros(number + 1, np.int64)
    width = max(end - start, 1e-9) / number
    for first, last in spells:
        changes[min(number - 1, max(0, int((first - start) / width)))] += 1
        changes[min(number - 1, max(0, int((last - start) / width))) + 1] -= 1
    return np.cumsum(changes)[:-1]


def bars(row: Sequence[int], most: int, titles: Sequence[str]) -> list[Bar]:
    """The bars of a row of counts, none where there is nothing; `most` is as high as the row."""
    width = WIDE / max(1, len(row))
    out = []
    for place, (count, title) in enumerate(zip(row, titles, strict=True)):
        if count:
            height = max(3.0, HIGH * count / max(1, most))
            out.append(Bar(round(place * width, 2), round(HIGH - height, 2), round(max(1.0, width - 1), 2), round(height, 2), title))
    return out


class Spanned(Protocol):
    """What has a timeline: parts of a span, and in each how many entities alarm, in each of some rows."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def timeline(self) -> Sequence[Sequence[int]]: ...


class Picture(msgspec.Struct, frozen=True):
    """Rows of bars on one scale. ticks: (place, instant in unix seconds)."""

    rows: list[list[Bar]]
    most: int
    width: int
    height: int
    ticks: list[tuple[float, float]]


def pictured(spanned: Spanned) -> Picture:
    """The picture of a timeline, one row of bars for each of its counts."""
    parts, begin = spanned.timeline, spanned.start
    width = (spanned.end - spanned.start) / max(1, len(parts))
    rows = list(zip(*parts, strict=True))
    most = max((max(row, default=0) for row in rows), default=0)
    times = [instant(begin + place * width) for place in range(len(parts))]
    titles = [[f'{time}: {count} anomalous' for time, count in zip(times, row, strict=True)] for row in rows]
    places = [WIDE * k / 6 for k in range(7)]
    return Picture(
        [bars(row, most, said) for row, said in zip(rows, titles, strict=True)], most, WIDE, HIGH,
        [(place, begin + place / WIDE * (spanned.end - begin)) for place in places],
    )  # fmt: skip
