"""A dashboard's JSON and what Prometheus answers, as a drawing: the panels at their places in the grid, with their titles, units and legends.

It draws what this project's dashboards use of Grafana: time series, stats and tables. `ask` is all it needs of a Prometheus:

    ask(expr, None)    an instant query at the right edge: [{'metric': labels, 'value': [time, text]}]
    ask(expr, step)    a range query over the span: [{'metric': labels, 'values': [[time, text], …]}]

Pure but for `ask`.
"""

import itertools
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from pictures import legend, svg

UNIT, ROW, GAP = 50, 30, 8  # pixels of a column and of a row of the grid, and between panels
HEAD, FOOT = 64, 34
STEP_SECONDS = 60
TEXT, TITLE, CELL = 12, 13, 11  # sizes of the font, pixels
COLOURS, FIXED = 10, {'blue': 0}
NOTE = 'Drawn by docs/pictures from the panels of rules/dashboards and the answers of a real Prometheus, not by Grafana.'
STYLE = f""":root{{color-scheme:light dark}}
svg{{--paper:#f4f5f7;--panel:#fff;--edge:#dfe2e7;--ink:#1f2933;--dim:#616e7c;--grid:#e8ebef;--red:#c81e1e;--green:#2f8132;
--c0:#2b6cb8;--c1:#d1620f;--c2:#3d8b40;--c3:#8e44ad;--c4:#0b8a8a;--c5:#9a7209;--c6:#c2378a;--c7:#55606e;--c8:#6d8f00;--c9:#1e3f8f}}
@media(prefers-color-scheme:dark){{svg{{--paper:#111418;--panel:#1a1e24;--edge:#323942;--ink:#e3e7ec;--dim:#9aa5b1;--grid:#2a3038;--red:#ff6b64;
--green:#6cc570;--c0:#6aa9f0;--c1:#ff9a4d;--c2:#7ccb7f;--c3:#c68ae0;--c4:#4fc9c9;--c5:#e0b84a;--c6:#f07fc0;--c7:#aab4c0;--c8:#b5d14a;--c9:#8ea2ff}}}}
text{{font:{TEXT}px {svg.SANS};fill:var(--ink)}}.paper{{fill:var(--paper)}}.panel{{fill:var(--panel);stroke:var(--edge)}}
.name{{font-size:19px;font-weight:600}}.title{{font-size:{TITLE}px;font-weight:600}}.dim,.tick{{fill:var(--dim)}}.tick{{font-size:11px}}.cell{{font-size:{CELL}px}}.end{{text-anchor:end}}
.middle{{text-anchor:middle}}.big{{font-size:38px;font-weight:600;text-anchor:middle}}.grid{{stroke:var(--grid)}}.line{{fill:none;stroke-width:1.6;stroke-linejoin:round}}
.red{{fill:var(--red)}}.green{{fill:var(--green)}}.limit{{stroke:var(--red);stroke-width:1.2;stroke-dasharray:6 4}}.firing{{fill:var(--red);opacity:.09}}
.head{{font-weight:600;fill:var(--dim)}}"""


@dataclass(frozen=True, slots=True)
class Span:
    """What is shown: from, to (unix seconds)."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Box:
    """A place on the paper."""

    x: float
    y: float
    width: float
    height: float


@dataclass(slots=True)
class Line:
    """A series of a panel: its name in the legend, points [(time, value)], how it is drawn."""

    name: str
    points: list
    properties: dict
    colour: int = 0


def drawn(board, ask, span, variables):
    """The SVG of a dashboard. variables: {name: (value in expressions, text shown)}; what is typed in has its default."""
    panels = board['panels']
    rows = max(one['gridPos']['y'] + one['gridPos']['h'] for one in panels)
    width, height = 24 * UNIT + 2 * GAP, HEAD + rows * ROW + FOOT
    typed = {one['name']: (one['query'], one['query']) for one in board['templating']['list'] if one['type'] == 'textbox'}
    variables = {'__range': (f'{span.end - span.begin:.0f}s', ''), **typed, **variables}
    said = [f'{one["label"]}: {variables[one["name"]][1]}' for one in board['templating']['list'] if one['name'] in variables]
    said.append(f'{datetime.fromtimestamp(span.begin, UTC):%Y-%m-%d %H:%M} to {datetime.fromtimestamp(span.end, UTC):%H:%M}')
    put = lambda expr: re.sub(r'\$\{?(\w+)\}?', lambda found: variables[found[1]][0], expr)  # noqa: E731
    firing = [spans(times(series), STEP_SECONDS) for note in board['annotations']['list'] for series in ask(note['expr'], STEP_SECONDS)]
    parts = [
        svg.element('rect', width=width, height=height, class_='paper'),
        svg.text(GAP + 6, 27, board['title'], class_='name'),
        svg.text(GAP + 6, 48, board['description'], class_='dim'),
        svg.text(width - GAP - 6, 27, '  ·  '.join(said), class_='end'),
        *([svg.text(width - GAP - 6, 48, 'shaded: an alert of promlstm was firing', class_='dim end')] if firing else []),
        svg.text(GAP + 6, height - 12, NOTE, class_='dim'),
    ]
    shaded = merged([stretch for each in firing for stretch in each])
    for one in panels:
        place = one['gridPos']
        box = Box(GAP + place['x'] * UNIT + GAP / 2, HEAD + place['y'] * ROW + GAP / 2, place['w'] * UNIT - GAP, place['h'] * ROW - GAP)
        parts += panel(one, box, lambda expr, step: ask(put(expr), step), span, shaded)
    return svg.document(width, height, f'{board["title"]}: {board["description"]}', STYLE, parts)


def panel(one, box, ask, span, shaded):
    """One panel in its box: list of elements."""
    parts = [svg.element('rect', x=box.x, y=box.y, width=box.width, height=box.height, rx=4, class_='panel')]
    parts.append(svg.text(box.x + 10, box.y + 20, one['title'], class_='title'))
    about = one.get('description') or ''
    beside = 24 + 1.08 * svg.text_width(one['title'], TITLE)  # bold
    if about and beside + svg.text_width(about, TEXT) < box.width - 10:
        parts.append(svg.text(box.x + beside, box.y + 20, about, class_='dim'))
    inner = Box(box.x + 10, box.y + 30, box.width - 20, box.height - 38)
    draw = {'timeseries': timeseries, 'stat': stat, 'table': table}[one['type']]
    return parts + (draw(one, inner, ask, span, shaded) or nothing(inner, about))


def nothing(box, about=''):
    """What a panel without data shows, and why that may be."""
    middle = box.x + box.width / 2
    return [
        svg.text(middle, box.y + box.height / 2, 'No data', class_='dim middle'),
        svg.text(middle, box.y + box.height / 2 + 18, about, class_='dim middle'),
    ]


def times(series):
    """When a series of a range query has a sample."""
    return [float(at) for at, _ in series['values']]


def spans(at, step):
    """Stretches without a gap, [(first, last)].

    >>> spans([0, 60, 300], 60)
    [(0, 60), (300, 300)]
    """
    out = []
    for time in at:
        if out and time - out[-1][1] <= 1.5 * step:
            out[-1] = (out[-1][0], time)
        else:
            out.append((time, time))
    return out


def merged(stretches):
    """The union of stretches.

    >>> merged([(5, 9), (0, 3), (2, 4)])
    [(0, 4), (5, 9)]
    """
    out = []
    for first, last in sorted(stretches):
        if out and first <= out[-1][1]:
            out[-1] = (out[-1][0], max(last, out[-1][1]))
        else:
            out.append((first, last))
    return out


def _lines(one, ask):
    """The series of a panel as Lines, in the order of its queries."""
    found = [(target, series) for target in one['targets'] for series in ask(target['expr'], STEP_SECONDS)]
    names = legend.names([(target['expr'], target['legendFormat'], series['metric']) for target, series in found])
    out = []
    for name, (_, series) in zip(names, found, strict=True):
        points = [(float(at), float(text)) for at, text in series['values']]
        out.append(Line(name, [point for point in points if not math.isnan(point[1])], legend.properties(one, name)))
    lines = [each for each in out if each.points]
    if len({each.name for each in lines}) < len(lines):
        raise ValueError(f'{one["title"]}: series of one name, among {", ".join(each.name for each in lines)}')
    free = itertools.cycle(range(1, COLOURS) if any('color' in each.properties for each in lines) else range(COLOURS))
    for each in lines:
        each.colour = FIXED[each.properties['color']['fixedColor']] if 'color' in each.properties else next(free)
    return lines


def timeseries(one, box, ask, span, shaded):
    """Lines over time, with axes and a legend."""
    lines = _lines(one, ask)
    values = [value for each in lines for _, value in each.points if math.isfinite(value)]
    if not values:
        return []
    seen = [each for each in lines if each.properties.get('custom.lineWidth') != 0]
    defaults = one['fieldConfig']['defaults']
    unit, limits = defaults['unit'], [step['value'] for step in defaults['thresholds']['steps'] if step['value'] is not None]
    limits = limits if defaults['custom'].get('thresholdsStyle', {}).get('mode') == 'line' else []
    named, deep = _legend(seen, box)
    plot = Box(box.x + 62, box.y + 6, box.width - 68, box.height - 26 - deep)
    bounds = _bounds(values + limits)
    x = lambda at: plot.x + (at - span.begin) / (span.end - span.begin) * plot.width  # noqa: E731
    # A band that is open on one side ends at the edge.
    y = lambda value: plot.y + plot.height * (1 - min(1, max(0, (value - bounds[0]) / (bounds[1] - bounds[0]))))  # noqa: E731
    parts = _axes(plot, span, bounds, unit, x, y)
    for first, last in shaded:
        left, right = x(max(first, span.begin)), x(min(last, span.end))
        parts.append(svg.element('rect', x=left, y=plot.y, width=max(right - left, 1.5), height=plot.height, class_='firing'))
    parts += _bands(lines, x, y)
    parts += [svg.element('line', x1=plot.x, x2=plot.x + plot.width, y1=y(limit), y2=y(limit), class_='limit') for limit in limits]
    for each in seen:
        dash = '6 4' if 'custom.lineStyle' in each.properties else None
        parts += _stroke(each, x, y, dash)
    return parts + named


def _bounds(values):
    """Lowest and highest of an axis: from zero where zero is near, never the same.

    >>> _bounds([0.2, 0.9]), _bounds([5.0, 5.0])
    ((0.0, 0.945), (4.5, 5.5))
    """
    low, high = min(values), max(values)
    if low == high:
        room = abs(high) * 0.1 or 1.0
        return (0.0 if low == 0 else low - room), high + room
    if low >= 0 and low < 0.6 * high:
        return 0.0, round(high * 1.05, 12)
    return low - (high - low) * 0.05, high + (high - low) * 0.05


def _axes(plot, span, bounds, unit, x, y):
    parts = []
    for value in svg.ticks(*bounds, 4, unit):
        parts.append(svg.element('line', x1=plot.x, x2=plot.x + plot.width, y1=y(value), y2=y(value), class_='grid'))
        parts.append(svg.text(plot.x - 6, y(value) + 4, svg.quantity(value, unit), class_='tick end'))
    apart = 1800 if plot.width / (span.end - span.begin) * 1800 > 50 else 3600
    first = math.ceil(span.begin / apart) * apart
    for at in range(int(first), int(span.end) + 1, apart):
        where = 'end' if span.end - at < 1 else 'middle'  # the last one stays within the panel
        parts.append(svg.element('line', x1=x(at), x2=x(at), y1=plot.y, y2=plot.y + plot.height, class_='grid'))
        parts.append(svg.text(x(at), plot.y + plot.height + 15, f'{datetime.fromtimestamp(at, UTC):%H:%M}', class_=f'tick {where}'))
    return parts


def _stroke(each, x, y, dash):
    """A line that breaks where there is no sample; a sample alone is a dot."""
    colour, pieces, parts = f'var(--c{each.colour})', [], []
    finite = [point for point in each.points if math.isfinite(point[1])]
    for first, last in spans([at for at, _ in finite], STEP_SECONDS):
        points = [(x(at), y(value)) for at, value in finite if first <= at <= last]
        if len(points) == 1:
            parts.append(svg.element('circle', cx=points[0][0], cy=points[0][1], r=1.6, style=f'fill:{colour}'))
        else:
            pieces.append(_path(svg.thinned(points)))
    if pieces:
        parts.append(svg.element('path', d=''.join(pieces), class_='line', style=f'stroke:{colour}', stroke_dasharray=dash))
    return parts


def _path(points, pen='M'):
    return pen + 'L'.join(f'{u:.1f} {v:.1f}' for u, v in points)


def _bands(lines, x, y):
    """The areas between two lines, where both are there."""
    parts = []
    for one, other in legend.bands([(each.name, each.properties) for each in lines]):
        beyond = dict(lines[other].points)
        both = [(at, value, beyond[at]) for at, value in lines[one].points if at in beyond]
        for first, last in spans([at for at, *_ in both], STEP_SECONDS):
            part = [point for point in both if first <= point[0] <= last]
            edges = [svg.thinned([(x(at), y(values[edge])) for at, *values in part]) for edge in (0, 1)]
            area = _path(edges[0]) + _path(edges[1][::-1], 'L') + 'Z'
            parts.append(svg.element('path', d=area, style=f'fill:var(--c{lines[one].colour});opacity:.1'))
    return parts


def _legend(lines, box):
    """(elements, height) of the legend at the bottom of a box; what does not fit into two rows is counted."""
    places, left, row = [], 0.0, 0
    for each in lines:
        wide = 36 + svg.text_width(each.name, TEXT)
        if left and left + wide > box.width - 70:
            left, row = 0.0, row + 1
        places.append((each, left, row))
        left += wide
    rows = min(row + 1, 2)
    shown = [place for place in places if place[2] < rows]
    bottom = box.y + box.height - 2
    parts = []
    for each, left, row in shown:
        y = bottom - (rows - 1 - row) * 17
        dash = '5 3' if 'custom.lineStyle' in each.properties else None
        style = f'stroke:var(--c{each.colour});stroke-width:3'
        parts.append(svg.element('path', d=f'M{box.x + left:.1f} {y - 4:.1f}h16', class_='line', stroke_dasharray=dash, style=style))
        parts.append(svg.text(box.x + left + 21, y, each.name))
    if len(shown) < len(places):
        parts.append(svg.text(box.x + box.width, bottom, f'and {len(places) - len(shown)} more', class_='dim end'))
    return parts, rows * 17


def stat(one, box, ask, span, _shaded):
    """The newest value in large, coloured by its threshold, over its past."""
    lines = _lines(one, ask)
    if not lines:
        return []
    value, defaults = lines[0].points[-1][1], one['fieldConfig']['defaults']
    colour = [step['color'] for step in defaults['thresholds']['steps'] if step['value'] is None or value >= step['value']][-1]
    low, high = min(0.0, *(v for _, v in lines[0].points)), max(1e-9, *(v for _, v in lines[0].points))
    x = lambda at: box.x - 9 + (at - span.begin) / (span.end - span.begin) * (box.width + 18)  # noqa: E731
    floor, tall = box.y + box.height + 7, 26
    points = svg.thinned([(x(at), floor - (v - low) / (high - low) * tall) for at, v in lines[0].points])
    area = _path(points) + f'V{floor:.1f}H{points[0][0]:.1f}Z'
    return [
        svg.element('path', d=area, class_=colour, opacity=0.18),
        svg.text(box.x + box.width / 2, box.y + box.height / 2 + 6, svg.quantity(value, defaults['unit']), class_=f'big {colour}'),
    ]


def table(one, box, ask, _span, _shaded):
    """The answer of an instant query: a column for each label and one for the value, the highest first."""
    found = [(series['metric'], float(series['value'][1])) for target in one['targets'] for series in ask(target['expr'], None)]
    if not found:
        return []
    found.sort(key=lambda row: -row[1])
    names = sorted({name for labels, _ in found for name in labels} - {'__name__'})
    unit = one['fieldConfig']['defaults']['unit']
    rows = [[*names, 'Value'], *([*(labels.get(name, '') for name in names), svg.quantity(value, unit)] for labels, value in found)]
    room = int((box.height - 4) // 21)
    more = len(rows) - room
    if more > 0:
        rows = rows[: room - 1]
        more = len(found) - len(rows) + 1
    widths = _widths([max(svg.text_width(row[k], CELL) for row in rows) for k in range(len(rows[0]))], box.width)
    parts = []
    for number, row in enumerate(rows):
        y, left = box.y + 16 + 21 * number, box.x
        if number:
            parts.append(svg.element('line', x1=box.x, x2=box.x + box.width, y1=y - 15, y2=y - 15, class_='grid'))
        for word, width in zip(row, widths, strict=True):
            parts.append(svg.text(left, y, svg.clipped(word, width - 8, CELL), class_='cell' if number else 'cell head'))
            left += width
    if more > 0:
        parts.append(svg.text(box.x, box.y + 16 + 21 * len(rows), f'and {more} more', class_='dim'))
    return parts


def _widths(texts, room):
    """Widths of columns with texts of these widths: what they need, or less of the widest ones.

    >>> _widths([30, 20], 200), sum(_widths([150, 150, 150], 300)) <= 301
    ([100.0, 100.0], True)
    """
    needed = [max(width + 12, 40) for width in texts]
    spare = (room - sum(needed)) / len(needed)
    if spare >= 0:
        even = room / len(needed)
        return [even] * len(needed) if max(needed) <= even else [width + spare for width in needed]
    while sum(needed) - room > 0.5:
        # The first column, which says what a row is about, gives way last.
        which = [k for k in range(1, len(needed)) if needed[k] > 58] or range(len(needed))
        widest = max(needed[k] for k in which)
        for k in which:
            if needed[k] > widest - 1:
                needed[k] -= 1
    return needed
