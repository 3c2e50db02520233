"""The pieces of a drawing: text of elements, numbers as a person reads them, round ticks. Pure."""

import math
import string
from datetime import UTC, datetime
from html import escape
from itertools import pairwise

MONO = 'ui-monospace,SFMono-Regular,Menlo,Consolas,&quot;DejaVu Sans Mono&quot;,monospace'
SANS = 'system-ui,-apple-system,&quot;Segoe UI&quot;,&quot;DejaVu Sans&quot;,sans-serif'
NARROW, WIDE = 'ijlt.,:;|!()[] ', 'mwMW%'  # letters
UNITS = {  # Grafana's name: (factors from large to small, their names)
    'bytes': ((2.0**30, 2.0**20, 2.0**10, 1), ('GiB', 'MiB', 'KiB', 'B')),
    'short': ((1e9, 1e6, 1e3, 1), ('G', 'M', 'K', '')),
    's': ((86400 * 365, 86400, 3600, 60, 1, 1e-3, 1e-6), ('years', 'days', 'h', 'min', 's', 'ms', 'µs')),
}


def element(name, content='', **attributes):
    """An element; an underscore in a name of an attribute is a hyphen, and None leaves it out.

    >>> element('rect', x=1.25, stroke_width=2), element('g', 'x', id=None)
    ('<rect x="1.2" stroke-width="2"/>', '<g>x</g>')
    """
    words = ''.join(f' {key.rstrip("_").replace("_", "-")}="{_number(value)}"' for key, value in attributes.items() if value is not None)
    return f'<{name}{words}>{content}</{name}>' if content else f'<{name}{words}/>'


def _number(value):
    return f'{value:.1f}'.removesuffix('.0') if isinstance(value, float) else value


def text(x, y, words, **attributes):
    """A line of text at its baseline.

    >>> text(3, 4, 'a < b', class_='dim')
    '<text x="3" y="4" class="dim">a &lt; b</text>'
    """
    return element('text', escape(words), x=x, y=y, **attributes) if words else ''


def document(width, height, title, style, parts):
    """A whole file. title: what a screen reader says."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img">'
    return '\n'.join([head, element('title', escape(title)), f'<style>{style}</style>', *(part for part in parts if part), '</svg>']) + '\n'


def quantity(value, unit):
    """A number in one of Grafana's units.

    >>> quantity(0.031, 'percentunit'), quantity(3 * 2**20, 'bytes'), quantity(5400, 's'), quantity(0.25, 'ops'), quantity(7.0, 'none')
    ('3.1%', '3 MiB', '1.5 h', '0.25 /s', '7')
    >>> quantity(float('nan'), 'none'), quantity(0.0, 's'), quantity(1_772_445_600_000, 'dateTimeAsLocal')
    ('–', '0 s', '2026-03-02 10:00:00')
    """
    if not math.isfinite(value):
        return '–'
    if unit == 'percentunit':
        return f'{_digits(100 * value)}%'
    if unit == 'ops':
        return f'{_digits(value)} /s'
    if unit == 'dateTimeAsLocal':
        return f'{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M:%S}'
    factors, names = UNITS.get(unit, ((1,), ('',)))
    nearest = names.index('s') if unit == 's' else len(names) - 1
    place = next((k for k, factor in enumerate(factors) if abs(value) >= factor), len(factors) - 1) if value else nearest
    return f'{_digits(value / factors[place])} {names[place]}'.strip()


def _digits(value):
    return f'{value:.0f}' if abs(value) >= 1000 or not value else f'{float(f"{value:.3g}"):g}'


def ticks(low, high, about, unit='none'):
    """Numbers within [low, high], about so many, that are round in a unit.

    >>> ticks(0, 1.04, 4), ticks(0, 3 * 2**20, 3, 'bytes'), ticks(0, 130, 4, 's')
    ([0.0, 0.5, 1.0], [0.0, 1048576.0, 2097152.0, 3145728.0], [0.0, 60.0, 120.0])
    """
    if unit in ('bytes', 's'):
        factors, reach = UNITS[unit][0], max(abs(low), abs(high))
        scale = next((factor for factor in factors if reach >= factor), factors[-1])
        return [tick * scale for tick in ticks(low / scale, high / scale, about)]
    raw = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(raw))
    step = unit * next(m for m in (1, 2, 5, 10) if unit * m >= raw * 0.999999)
    return [round(k * step, 12) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def text_width(words, size):
    """About how wide a text is in a font without serifs, pixels; rather too wide.

    >>> text_width('ab1', 10), text_width('il', 10)
    (18.4, 6.0)
    """
    widths = (NARROW, 0.3), (WIDE, 0.95), (string.digits, 0.64), (string.ascii_uppercase, 0.7)
    return round(size * sum(next((wide for letters, wide in widths if letter in letters), 0.6) for letter in words), 1)


def clipped(words, width, size):
    """A text that is no wider than so many pixels.

    >>> clipped('abcdefgh', 30, 10), clipped('abc', 30, 10)
    ('abcd…', 'abc')
    """
    if text_width(words, size) <= width:
        return words
    while words and text_width(words + '…', size) > width:
        words = words[:-1]
    return words + '…'


def thinned(points):
    """Points of a line without those that lie on a straight line between their neighbours, [(x, y)]; to a tenth of a pixel.

    >>> thinned([(0, 0), (1, 0), (2, 0), (3, 5)])
    [(0, 0), (2, 0), (3, 5)]
    """
    if len(points) < 3:
        return points
    kept = [points[0]]
    for here, after in pairwise(points[1:]):
        (x0, y0), (x1, y1), (x2, y2) = kept[-1], here, after
        if abs(y0 + (y2 - y0) * (x1 - x0) / (x2 - x0) - y1) > 0.1:
            kept.append(here)
    return [*kept, points[-1]]
