"""Contact sheets: small pictures of mistakes, many to a page, as SVG text: value, band, labels, and the score below it. Pure.

Who calls it: scoreboard, for the page of `benchmark --errors`.
"""

from datetime import UTC, datetime
from html import escape

import numpy as np

from convert.evaluation import measures, mistakes, plots

MOST = 40               # pictures of one kind for a set, evenly chosen
BEFORE, AFTER = 180, 60 # samples drawn around a mistake
LONGEST = 400           # samples of the mistake itself that are drawn
WIDE, HIGH, SCORE = 250, 96, 26     # of a picture and of its lower part, in pixels
NAME = 40               # characters of an entity's name; a pointer over the picture shows the whole
HIGHEST = 2.0           # score that is drawn; 1 = alarm
STYLE = """.sheet{display:grid;grid-template-columns:repeat(4,1fr);gap:6px}.sheet figure{margin:0}.sheet figcaption{font-size:10px;line-height:1.2;
color:var(--muted);overflow-wrap:anywhere}.sheet svg{max-width:none}@media(max-width:800px){.sheet{grid-template-columns:1fr 1fr}}"""
VALUE, BAND, LABEL = 'var(--text, #1c2733)', 'var(--chart-band, #dbe7f5)', 'var(--missing-ground, #fde2c8)'
FALSE, LINE, MARK = 'var(--good-ground, #cfe3c3)', 'var(--chart-3, #4d7c0f)', 'var(--anomalous, #c81e1e)'


def sheet(found, series, judged, threshold, *, false=False):
    """A sheet of Mistakes of one set as HTML; '' where there are none.

    found      list of mistakes.Mistake
    series     {entity: scoring.Series}
    judged     {entity: scoring.Judged}, with borders where bands are wanted
    threshold  score at which it alarms
    false      whether these are false alarms
    """
    chosen = [found[n] for n in np.unique(np.linspace(0, len(found) - 1, MOST).astype(int))] if found else []
    figures = [_figure(each, series[each.entity], judged[each.entity], threshold, false) for each in chosen]
    return f'<div class="sheet">{"".join(figures)}</div>' if figures else ''


def _figure(mistake, series, judged, threshold, false):
    end = mistake.first + min(mistake.steps, LONGEST)
    feature = int(np.argmax(np.abs(mistakes.moves(series.values, mistake.first, end))))
    span = slice(max(0, mistake.first - BEFORE), min(end + AFTER, len(series.values)))
    borders = [border[span, feature] if border is not None else None for border in (judged.lower, judged.upper)]
    shaded = [(first, last, LABEL) for first, last in measures.runs(series.labels[span])]
    if false:
        shaded.append((mistake.first - span.start, end - span.start, FALSE))
    svg = picture(series.values[span, feature], judged.scores[span] / threshold, shaded, *borders, title=mistake.entity)
    when = datetime.fromtimestamp(mistake.time, UTC).strftime('%a %Y-%m-%d %H:%M')
    which = f' feature {feature + 1},' if series.values.shape[1] > 1 else ''
    notes = (', recurs' if mistake.recurs else '') + (f', counts {mistake.counts} times' if mistake.counts > 1 else '')
    steps = f'{mistake.steps} step{"s" if mistake.steps != 1 else ""}'
    view = f', view {mistake.view}' if mistake.view else ''
    where = f'{mistakes.short(mistake.entity, NAME)},{which} {when}, sample {mistake.first}'
    text = f'{where}: {mistake.kind}, {steps}, size {mistake.size:g}, peak {mistake.peak:.2f}{view}{notes}'
    return f'<figure>{svg}<figcaption>{escape(text)}</figcaption></figure>'


def picture(values, scores, shaded, lower=None, upper=None, title=''):
    """One stretch as SVG: values float [T] with the band behind them, scores [T] (1 = alarm) below.

    shaded  [(first, one past the last, colour)]
    title   what a pointer over it shows
    """
    bottom = HIGH - SCORE - 4
    x = np.linspace(1, WIDE - 1, max(len(values), 2))[: len(values)]
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    room = (high - low) * 0.3 or abs(high) * 0.1 or 1.0       # a band may be far wider than what is seen: it is cut
    y = lambda v: bottom - (np.clip(v, low - room, high + room) - low + room) / (high - low + 2 * room) * (bottom - 2)     # noqa: E731
    parts = []
    for first, end, colour in shaded:
        left, right = x[first], x[min(end, len(x)) - 1]
        parts.append(f'<rect x="{left - 0.7:.1f}" y="0" width="{right - left + 1.4:.1f}" height="{bottom}" fill="{colour}"/>')
    if lower is not None:
        parts.append(_band(x, y(lower), y(upper)))
    parts.append(f'<path d="{plots.line(x, y(values))}" stroke="{VALUE}"/>')
    score_y = HIGH - 1 - np.clip(scores, 0, HIGHEST) / HIGHEST * (SCORE - 2)
    alarm = HIGH - 1 - (SCORE - 2) / HIGHEST
    parts.append(f'<path d="M0 {alarm:.1f}H{WIDE}" stroke="{MARK}" stroke-dasharray="3 3"/><path d="{plots.line(x, score_y)}" stroke="{LINE}"/>')
    shown = f'<title>{escape(title)}</title>' if title else ''
    return f'<svg viewBox="0 0 {WIDE} {HIGH}" aria-hidden="true">{shown}{"".join(parts)}</svg>'


def _band(x, low, high):
    """Polygons where there is a band."""
    out = []
    for first, end in measures.runs(np.isfinite(low) & np.isfinite(high)):
        there = [f'{a:.1f} {b:.1f}' for a, b in zip(x[first:end], high[first:end], strict=True)]
        back = [f'{a:.1f} {b:.1f}' for a, b in zip(x[first:end][::-1], low[first:end][::-1], strict=True)]
        out.append(f'<polygon points="{" ".join(there + back)}" fill="{BAND}"/>')
    return ''.join(out)
