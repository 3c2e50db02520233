"""What the command `benchmark` found, for people and programs: text for a terminal, JSON, and one HTML page. It measures nothing. Pure.

In come scorecard.About and Cards, mistakes.Mistakes; out comes text. Who calls it: convert.benchmark, after each set.
"""

from datetime import UTC, datetime
from html import escape

import msgspec
import numpy as np

from convert.evaluation import mistakes, report, sheets
from convert.evaluation.document import document
from convert.evaluation.mistakes import Mistakes
from convert.evaluation.scorecard import About, Card

FORMAT = 1              # of the JSON
EATERS = 5              # entities that are named
NAME = 36               # characters of an entity's name in a list
LISTED = 30             # mistakes in words, of each kind


class Set(msgspec.Struct, frozen=True, kw_only=True):
    """One set: what it is, the Cards of all methods (the first is compared with the others), the Mistakes of the first, what was left out."""

    about: About
    cards: list[Card]
    mistakes: Mistakes | None
    notes: list[str]


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of a whole run: models {name: sha256}, and how standing alarms were counted (0 = once)."""

    format: int = FORMAT
    models: dict[str, str]
    standing_seconds: float
    notes: list[str]
    sets: list[Set]


def encoded(board):
    """A Board as bytes; numbers that are not there are null."""
    return msgspec.json.format(msgspec.json.encode(board), indent=1) + b'\n'


def text(one):
    """One Set for a terminal."""
    a = one.about
    steps = ', '.join(f'{step:g} s' for step in a.steps_seconds)
    features = '' if a.features == [1] else f' of {", ".join(map(str, a.features))} features'
    recur = f', of which {a.recurring} recur' if a.recurring else ''
    lines = [f'{a.name}: {a.entities} entities{features} at {steps}, {a.entity_weeks:.3g} entity-weeks, {a.events} events{recur}', *one.notes]
    lines += report.table(main_rows(one))
    for title, rows in _tables(one):
        lines += ['', f'  {title}', *report.table(rows)]
    eaters = mistakes.shares(one.cards[0])[:EATERS]
    if eaters:
        named = ', '.join(f'{name} {count:g} ({share:.0%})' for name, count, share in eaters)
        lines += ['', f'  most of the {sum(one.cards[0].false.values()):g} false alarms of {one.cards[0].method}: {named}']
    if one.mistakes:
        lines += [*_listed('missed', one.mistakes.missed), *_listed('false alarms', one.mistakes.false)]
    return '\n'.join([*lines, ''])


COLUMNS = ('1/week', '1/day', 'not recurring', 'best F1', 'delay', 'in alarm', 'AUC-PR', 'VUS-PR', 'Hit@5', 'Hit@end', 'NAB', 'gain', 'gain, not recurring')
HEADING = (
    'Recall at one false alarm per entity-week, per entity-day, and at 1/week of events that do not recur; delay in steps; gain: recall at 1/week '
    'of the first method less this one, 90 % interval, and likewise of planted faults.'
)


def main_rows(one):
    """The table of all methods; columns that no method fills are left out."""
    rows = [
        [
            c.method, share(c.week), share(c.day), share(c.new), number(c.best_f1), number(c.delay_steps, 0), percent(c.in_alarm), number(c.auc_pr),
            number(c.vus_pr), number(c.hit_early), number(c.hit_end), number(c.nab, 1), interval(c.gain), interval(c.gain_new),
        ]
        for c in one.cards
    ]  # fmt: skip
    return _filled([['', *COLUMNS], *rows])


def kept_rows(one):
    """What calibrated thresholds promise, beside what was seen."""
    rows = [['promised', '1/month', 'seen', '1/week', 'seen', '1/day', 'seen']]
    for card in one.cards:
        if card.kept:
            cells = [(f'{k.promised:.3g}', f'{k.seen:.2f} [{k.low:.2f}, {k.high:.2f}]') for k in map(card.kept.get, ('1/month', '1/week', '1/day')) if k]
            rows.append([card.method, *(cell for pair in cells for cell in pair)])
    return [row + [''] * (7 - len(row)) for row in rows]


def band_rows(one):
    """How wide bands are, and how much of what is healthy lies inside."""
    rows = [[c.method, percent(c.inside), number(c.width, 2)] for c in one.cards if percent(c.inside)]
    return [['', 'healthy samples inside', 'width / 99 % range'], *rows]


def kind_rows(one):
    """Recall of faults by kind, and how many there are of each."""
    return _recall_rows(one, 'kinds')


def size_rows(one):
    """Recall of planted faults by size, and how many there are of each."""
    return _recall_rows(one, 'sizes')


def _recall_rows(one, field):
    parts = list(getattr(one.cards[0], field))
    rows = [
        [c.method, share(c.planted), *(share(getattr(c, field).get(part)) for part in parts), interval(c.gain_planted)]
        for c in one.cards if getattr(c, field)
    ]  # fmt: skip
    counts = ['of', str(one.cards[0].planted.events), *(str(getattr(one.cards[0], field)[part].events) for part in parts), '']
    return _filled([['', 'all', *(part.replace('_', ' ') for part in parts), 'gain'], counts, *rows]) if rows else []


def share(recall):
    """A scorecard.Recall as a cell."""
    return f'{recall.share:.3f}' if recall and recall.events else ''


def number(value, digits=3):
    """A number as a cell; empty where there is none."""
    return f'{value:.{digits}f}' if value is not None and np.isfinite(value) else ''


def percent(value):
    """A share as a cell in percent."""
    return f'{100 * value:.2f} %' if value is not None and np.isfinite(value) else ''


def interval(ends):
    """An interval as a cell.

    >>> interval((-0.0104, 0.02)), interval(())
    ('[-0.010, +0.020]', '')
    """
    return f'[{ends[0]:+.3f}, {ends[1]:+.3f}]' if len(ends) else ''


def _tables(one):
    """[(title, rows)] of what there is beside the main table."""
    found = {
        'false alarms per entity-week at calibrated thresholds, with the Poisson interval': kept_rows(one),
        'the band at a score of about 1': band_rows(one),
        'planted faults found at 1/week, by kind': kind_rows(one),
        'planted faults found at 1/week, by size in usual ranges (half of the central 99 % of a day)': size_rows(one),
    }
    return [(title, rows) for title, rows in found.items() if len(rows) > 1]


def _filled(rows):
    """Rows without the columns that have a title only."""
    keep = [n for n in range(len(rows[0])) if n == 0 or any(row[n] for row in rows[1:])]
    return [[row[n] for n in keep] for row in rows]


def _listed(title, found):
    """Mistakes in words: how many of each kind and view, then the first of them."""
    if not found:
        return ['', f'  {title}: none']
    rows = [['', 'entity', 'time (UTC)', 'sample', 'kind', 'steps', 'size', 'peak', 'view', '']]
    for each in found[:LISTED]:
        note = 'recurs' if each.recurs else f'counts {each.counts} times' if each.counts > 1 else ''
        when = datetime.fromtimestamp(each.time, UTC).strftime('%Y-%m-%d %H:%M')
        figures = [str(each.steps), f'{each.size:.3g}', number(each.peak, 2)]
        rows.append(['', mistakes.short(each.entity, NAME), when, str(each.first), each.kind, *figures, each.view, note])
    views = mistakes.counted(each.view for each in found if each.view)
    more = [f'    and {len(found) - LISTED} more'] if len(found) > LISTED else []
    summary = [f'  {title}: {mistakes.counted(each.kind for each in found)}', *([f'    by view: {views}'] if views else [])]
    return ['', *summary, *report.table(_filled(rows)), *more]


def page(board, drawn):
    """The whole run as one HTML page that loads nothing.

    drawn  {set: HTML of its contact sheets}
    """
    title = f'Benchmark of {", ".join(board.models)}'
    notes = ''.join(f'<p class="note">{escape(note)}</p>' for note in preface(board))
    parts = [f'<h1>{escape(title)}</h1>{notes}', *(_section(one, drawn.get(one.about.name, '')) for one in board.sets)]
    return document(title, parts, sheets.STYLE)


def preface(board):
    """What a reader of any form has to know first: sentences."""
    once = 'once, however long it stands'
    again = f'again for each {board.standing_seconds / 3600:g} h that it stands'
    counting = f'One threshold for all entities of a set, found in hindsight. A false alarm counts {again if board.standing_seconds else once}.'
    return [counting, HEADING, *board.notes]


def _section(one, drawn):
    heading = text(one).split('\n')[0]
    parts = [f'<h2>{escape(one.about.name)}</h2><p>{escape(heading)}</p>', *(f'<p class="note">{escape(note)}</p>' for note in one.notes)]
    parts.append(_table(main_rows(one), first=one.cards[0].method))
    parts += [f'<h3>{title}</h3>{_table(rows)}' for title, rows in _tables(one)]
    if eaters := mistakes.shares(one.cards[0]):
        rows = [['entity', 'false alarms', 'share'], *([name, f'{count:g}', f'{part:.0%}'] for name, count, part in eaters[: 2 * EATERS])]
        parts.append(f'<h3>Who eats the budget of {escape(one.cards[0].method)}</h3>{_table(rows)}')
    return ''.join(parts) + drawn


def _table(rows, first=None):
    head = ''.join(f'<th>{escape(cell)}</th>' for cell in rows[0])
    body = ''.join(f'<tr class="{"model" if row[0] == first else ""}">{"".join(f"<td>{escape(cell)}</td>" for cell in row)}</tr>' for row in rows[1:])
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
