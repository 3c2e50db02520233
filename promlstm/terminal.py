"""Numbers and rows for a terminal: quantities in the unit that a metric's name tells, bars, columns. Pure; plain ANSI, no library.

Who calls it: demo. What flows through: readings and text. It never prints.
"""

import math
import re

BAR = 12  # cells of a score's bar; half of them are the way to 1
RED, GREEN, YELLOW, BOLD, DIM, PLAIN = '\x1b[31m', '\x1b[32m', '\x1b[33m', '\x1b[1m', '\x1b[2m', '\x1b[0m'
_ESCAPE = re.compile(r'\x1b\[[0-9;]*m')
_UNITS = (  # end of the name: (unit, factor to it, between prefixes)
    ('_bytes_per_second', 'B/s', 1, 1024),
    ('_per_second', '/s', 1, 1000),
    ('_ratio', '%', 100, None),
    ('_bytes', 'B', 1, 1024),
    ('_seconds', 's', 1, 1000),
)


def quantity(value, metric):
    """A number as people say it, by the unit in its metric's name.

    >>> quantity(0.973, 'node_cpu_busy_ratio'), quantity(13.1 * 2**30, 'node_memory_used_bytes'), quantity(0.0813, 'web_latency_seconds')
    ('97.3 %', '13.1 GiB', '81.3 ms')
    >>> quantity(1234.0, 'web_requests_per_second'), quantity(math.nan, 'up'), quantity(7.0, 'up')
    ('1.23 k/s', '–', '7')
    """
    if math.isnan(value):
        return '–'
    unit, factor, base = next(((unit, factor, base) for end, unit, factor, base in _UNITS if metric.endswith(end)), ('', 1, None))
    value *= factor
    if base is None or not value:
        return f'{_digits(value)} {unit}'.strip()
    power = max(-2 if base == 1000 else 0, min(4, math.floor(math.log(abs(value), base))))
    prefix = ('', 'k' if base == 1000 else 'K', 'M', 'G', 'T', 'µ', 'm')[power]
    return f'{_digits(value / base**power)} {prefix}{"i" if prefix and base == 1024 else ""}{unit}'


def _digits(value):
    """Three of them, and no exponent.

    >>> _digits(1234.5), _digits(0.0512), _digits(-12.34)
    ('1234', '0.0512', '-12.3')
    """
    return f'{value:.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def bar(score):
    """A score as a bar: full at 2, half at the border of 1.

    >>> bar(0.5), bar(9)
    ('███         ', '████████████')
    """
    cells = 0 if math.isnan(score) else max(0, min(BAR, round(score * BAR / 2)))
    return ('█' * cells).ljust(BAR)


def columns(rows, *, gap=2):
    """Rows of texts as aligned lines; colours have no width.

    >>> columns([('a', 'bcd'), ('efg', 'h')])
    ['a    bcd', 'efg  h']
    """
    widths = [max(_width(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    return [(' ' * gap).join(text + ' ' * (width - _width(text)) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _width(text):
    return len(_ESCAPE.sub('', text))


def clipped(line, width):
    r"""A line that fits a terminal; colours have no width.

    >>> clipped('\x1b[1mabcdef', 3)
    '\x1b[1mabc\x1b[0m'
    """
    out, room = [], width
    for part in re.split(r'(\x1b\[[0-9;]*m)', line):
        if part.startswith('\x1b'):
            out.append(part)
        else:
            out.append(part[:room])
            room -= len(out[-1])
    return ''.join(out) + (PLAIN if len(out) > 1 else '')
