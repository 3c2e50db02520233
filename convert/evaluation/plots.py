"""Plots as SVG text, so that a report is one file that opens anywhere and loads nothing. Pure.

A plot is WIDE by `height` with its axes inside; colours are named by what they mean. Numbers that are not finite are left out.
"""

from html import escape

import numpy as np

WIDE, LEFT, RIGHT, TOP, BOTTOM = 640, 62, 14, 10, 34
# Of the stylesheet, which has others for a dark scheme; behind each what stands where there is none.
COLOURS = ('var(--chart-1, #2563b0)', 'var(--chart-2, #c2410c)', 'var(--chart-3, #4d7c0f)', 'var(--chart-4, #7e22ce)', 'var(--chart-8, #64748b)')


def lines(series, *, x, y, height=200, log_x=False, marks=()):
    """A chart of lines: series {name: (xs, ys)}; x and y are titles; marks are horizontal lines {(value, name)}."""
    points = {name: _finite(*pair) for name, pair in series.items()}
    xs, ys = (np.concatenate([pair[k] for pair in points.values()] or [np.zeros(0)]) for k in (0, 1))
    if not len(xs):
        return '<p class="none">nothing to draw</p>'
    xs = np.log10(xs) if log_x else xs
    place = _Frame(xs, np.r_[ys, [value for value, _ in marks]], height)
    parts = [place.axes(x, y, log_x)]
    for value, name in marks:
        parts.append(f'<line x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{place.y(value):.1f}" y2="{place.y(value):.1f}" class="mark"/>')
        parts.append(f'<text x="{WIDE - RIGHT}" y="{place.y(value) - 3:.1f}" class="end">{escape(name)}</text>')
    for colour, (a, b) in zip(COLOURS * 9, points.values(), strict=False):
        a = np.log10(a) if log_x else a
        parts.append(f'<path d="{place.path(a, b)}" stroke="{colour}"/>')
        if len(a) < 30:
            parts += [f'<circle cx="{place.x(u):.1f}" cy="{place.y(v):.1f}" r="2.5" fill="{colour}"/>' for u, v in zip(a, b, strict=True)]
    return _legend(list(points)) + _svg(height, parts, f'{y} over {x}: {", ".join(points)}')


def bars(groups, *, y, height=200):
    """Bars side by side: groups {label: {name: value}}; every group has the same names."""
    names = list(next(iter(groups.values()), {}))
    values = np.array([[group.get(name, np.nan) for name in names] for group in groups.values()], float)
    if not np.isfinite(values).any():
        return '<p class="none">nothing to draw</p>'
    place = _Frame(np.array([0, len(groups)]), np.r_[0, values[np.isfinite(values)]], height)
    parts = [place.axes('', y, False, ticks=False)]
    width = (WIDE - LEFT - RIGHT) / len(groups)
    for g, (label, row) in enumerate(zip(groups, values, strict=True)):
        words = [f'<tspan x="{LEFT + (g + 0.5) * width:.1f}" dy="{10 if k else 0}">{escape(word)}</tspan>' for k, word in enumerate(label.split(' '))]
        parts.append(f'<text y="{height - BOTTOM + 11}" class="middle">{"".join(words)}</text>')
        for k, value in enumerate(row):
            if np.isfinite(value):
                left, top = LEFT + g * width + width * (0.1 + 0.8 * k / len(names)), place.y(value)
                size = f'width="{0.72 * width / len(names):.1f}" height="{max(0.5, height - BOTTOM - top):.1f}"'
                parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" {size} fill="{COLOURS[k % 5]}"><title>{escape(names[k])} {value:.3g}</title></rect>')
    return _legend(names) + _svg(height, parts, f'{y}, {" and ".join(names)}, for each of: {", ".join(groups)}')


def line(xs, ys):
    """Path data of a line through points in pixels, with gaps where a height is not finite."""
    out, pen = [], 'M'
    for x, y in zip(xs, ys, strict=True):
        if np.isfinite(y):
            out.append(f'{pen}{x:.1f} {y:.1f}')
        pen = 'L' if np.isfinite(y) else 'M'
    return ''.join(out)


class _Frame:
    """The axes of a plot: where a number lies in pixels."""

    def __init__(self, xs, ys, height):
        self.height = height
        self.x0, self.x1 = _range(xs)
        self.y0, self.y1 = _range(ys)

    def x(self, value):
        return LEFT + (value - self.x0) / (self.x1 - self.x0) * (WIDE - LEFT - RIGHT)

    def y(self, value):
        return self.height - BOTTOM - (value - self.y0) / (self.y1 - self.y0) * (self.height - TOP - BOTTOM)

    def path(self, xs, ys):
        """A line with gaps where there is no number."""
        return line(map(self.x, xs), map(self.y, ys))

    def axes(self, x, y, log_x, ticks=True):
        bottom = self.height - BOTTOM
        parts = [f'<path d="M{LEFT} {TOP}V{bottom}H{WIDE - RIGHT}" class="axis"/>']
        for value in _ticks(self.y0, self.y1, 4):
            parts.append(f'<text x="{LEFT - 5}" y="{self.y(value) + 4:.1f}" class="end">{value:.4g}</text>')
            parts.append(f'<line x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{self.y(value):.1f}" y2="{self.y(value):.1f}" class="grid"/>')
        for value in _ticks(self.x0, self.x1, 6) if ticks else ():
            label = f'{10**value:.2g}' if log_x else f'{value:.4g}'
            parts.append(f'<text x="{self.x(value):.1f}" y="{bottom + 13}" class="middle">{label}</text>')
        parts.append(f'<text x="{(LEFT + WIDE) / 2}" y="{self.height - 5}" class="middle title">{escape(x)}</text>')
        parts.append(f'<text transform="translate(11 {(TOP + bottom) / 2}) rotate(-90)" class="middle title">{escape(y)}</text>')
        return ''.join(parts)


def _range(values):
    """Lowest and highest value, never the same."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    room = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
    return (low if low == 0 else low - room), high + room


def _ticks(low, high, about):
    """Round numbers within a range.

    >>> _ticks(0, 1.04, 4)
    [0.0, 0.5, 1.0]
    """
    raw = (high - low) / about
    unit = 10.0 ** np.floor(np.log10(raw))
    step = unit * next(m for m in (1, 2, 5, 10) if unit * m >= raw)
    return [round(float(v), 12) for v in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step]


def _finite(xs, ys):
    xs, ys = np.asarray(xs, float), np.asarray(ys, float)
    finite = np.isfinite(xs) & np.isfinite(ys)
    return xs[finite], ys[finite]


def _legend(names):
    if len(names) < 2:
        return ''
    return '<p class="legend">' + ' '.join(f'<span><i style="background:{COLOURS[k % 5]}"></i>{escape(n)}</span>' for k, n in enumerate(names)) + '</p>'


def _svg(height, parts, said):
    return f'<svg viewBox="0 0 {WIDE} {height}" role="img" aria-label="{escape(said)}">{"".join(parts)}</svg>'
