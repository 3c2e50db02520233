"""Text for a terminal: quantities with units, durations, bars, aligned columns. Pure; plain ANSI, no library.

Who calls it: check, card, demo, convert.evaluation.report. What flows through: numbers and rows of texts; out come lines. It never prints.
"""

import math
import re
import textwrap
from collections.abc import Collection, Sequence

BAR = 12  # cells of a score's bar; half of them are a score of 1
CUT = 8  # a text that is too long for its column keeps at least this many characters
RED, GREEN, YELLOW, BOLD, DIM, PLAIN = '\x1b[31m', '\x1b[32m', '\x1b[33m', '\x1b[1m', '\x1b[2m', '\x1b[0m'
_ESCAPE = re.compile(r'\x1b\[[0-9;]*m')
_UNITS: tuple[tuple[str, str, int, int | None], ...] = (  # end of the name: (unit, factor to it, between prefixes)
    ('_bytes_per_second', 'B/s', 1, 1024),
    ('_per_second', '/s', 1, 1000),
    ('_ratio', '%', 100, None),
    ('_bytes', 'B', 1, 1024),
    ('_seconds', 's', 1, 1000),
)
_PERIODS = (('d', 86_400_000), ('h', 3_600_000), ('m', 60_000), ('s', 1000), ('ms', 1))  # milliseconds


def quantity(value: float, metric: str) -> str:
    """A number with the unit that the name of its metric ends with.

    >>> quantity(0.973, 'node_cpu_busy_ratio'), quantity(13.1 * 2**30, 'node_memory_used_bytes'), quantity(0.0813, 'web_latency_seconds')
    ('97.3 %', '13.1 GiB', '81.3 ms')
    >>> quantity(1234.0, 'web_requests_per_second'), quantity(math.nan, 'up'), quantity(7.0, 'up')
    ('1.23 k/s', '–', '7')
    >>> quantity(-math.inf, 'node_memory_used_bytes')  # a band without a lower border
    '-∞'
    """
    if math.isnan(value):
        return '–'
    if math.isinf(value):
        return '∞' if value > 0 else '-∞'
    unit, factor, base = next(((unit, factor, base) for end, unit, factor, base in _UNITS if metric.endswith(end)), ('', 1, None))
    value *= factor
    if base is None or not value:
        return f'{_digits(value)} {unit}'.strip()
    power = max(-2 if base == 1000 else 0, min(4, math.floor(math.log(abs(value), base))))
    prefix = ('', 'k' if base == 1000 else 'K', 'M', 'G', 'T', 'µ', 'm')[power]
    return f'{_digits(value / base**power)} {prefix}{"i" if prefix and base == 1024 else ""}{unit}'


def _digits(value: float) -> str:
    """Three significant digits, without an exponent.

    >>> _digits(1234.5), _digits(0.0512), _digits(-12.34)
    ('1234', '0.0512', '-12.3')
    """
    return f'{value:.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def duration(seconds: float, units: int | None = None) -> str:
    """A duration as Prometheus writes it, exact to the millisecond, or in so many of its largest units.

    >>> duration(60), duration(24000), duration(86400 * 8), duration(0.5), duration(0)
    ('1m', '6h40m', '8d', '500ms', '0s')
    >>> duration(140.2, units=2), duration(147_720, units=2)
    ('2m20s', '1d17h')
    """
    rest, parts = round(seconds * 1000), []
    for unit, size in _PERIODS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f'{count}{unit}')
    return ''.join(parts[:units]) or '0s'


def bar(score: float) -> str:
    """A score as a bar: half full at 1, full at 2.

    >>> bar(0.5), bar(9)
    ('███         ', '████████████')
    """
    cells = 0 if math.isnan(score) else max(0, min(BAR, round(score * BAR / 2)))
    return ('█' * cells).ljust(BAR)


def columns(rows: Sequence[Sequence[str]], *, gap: int = 2, right: bool | Collection[int] = False) -> list[str]:
    """Rows of texts as aligned lines; colours have no width.

    right  columns that are aligned at their right end, as numbers should be; True = all but the first

    >>> columns([('a', 'bcd'), ('efg', 'h')]), columns([('', 'F1'), ('model', '0.9')], gap=1, right=True)
    (['a    bcd', 'efg  h'], ['       F1', 'model 0.9'])
    """
    if not rows:
        return []
    places = range(len(rows[0]))
    aligned_right = set(places[1:] if right is True else right or ())
    widths = [max(_width(row[place]) for row in rows) for place in places]
    out = []
    for row in rows:
        blanks = [' ' * (width - _width(text)) for text, width in zip(row, widths, strict=True)]
        cells = [blank + text if place in aligned_right else text + blank for place, text, blank in zip(places, row, blanks, strict=True)]
        out.append((' ' * gap).join(cells).rstrip())
    return out


def table(rows: Sequence[Sequence[str]], width: int | None, *, right: bool | Collection[int] = False) -> list[str]:
    """As `columns`, in lines no wider than a terminal. Where they are, the gaps shrink, then texts in the first column are cut.

    width  columns of the terminal; None = there is no limit

    >>> table([('NAME', 'N'), ('kafka_under_replicated', '1')], 18, right=True)
    ['NAME             N', 'kafka_under_rep… 1']
    """
    lines = columns(rows, right=right)
    if width is None or _widest(lines) <= width:
        return lines
    excess = max(0, least_width(rows) - width)
    room = max(CUT, max(_width(row[0]) for row in rows) - excess)
    return columns([(shortened(row[0], room), *row[1:]) for row in rows], gap=1, right=right)


def least_width(rows: Sequence[Sequence[str]]) -> int:
    """How wide a table of these rows is with the least gap and no text cut."""
    return _widest(columns(rows, gap=1))


def shortened(text: str, width: int) -> str:
    """A text without colours that has at most this many characters; the end is cut off.

    >>> shortened('abcdef', 4), shortened('abcd', 4)
    ('abc…', 'abcd')
    """
    return text if len(text) <= width else text[: width - 1] + '…'


def wrapped(text: str, width: int | None, *, indent: int = 2) -> list[str]:
    """A text as lines no wider than a terminal; all but the first begin with blanks. Words are never cut: they may be paths or expressions.

    width  columns of the terminal; None = one line

    >>> wrapped('error: cpu: no such file', 16, indent=2)
    ['error: cpu: no', '  such file']
    """
    if width is None:
        return [text]
    return textwrap.wrap(text, width, subsequent_indent=' ' * indent, break_long_words=False, break_on_hyphens=False) or ['']


def _widest(lines: Sequence[str]) -> int:
    return max(map(_width, lines), default=0)


def _width(text: str) -> int:
    return len(_ESCAPE.sub('', text))


def clipped(line: str, width: int) -> str:
    r"""A line cut at the width of a terminal; colours have no width.

    >>> clipped('\x1b[1mabcdef', 3)
    '\x1b[1mabc\x1b[0m'
    """
    out: list[str] = []
    room = width
    for part in re.split(r'(\x1b\[[0-9;]*m)', line):
        if part.startswith('\x1b'):
            out.append(part)
        else:
            out.append(part[:room])
            room -= len(out[-1])
    return ''.join(out) + (PLAIN if len(out) > 1 else '')
