"""Figures of forecasts as text and JSON. Data only; it measures nothing.

Who calls it: forecasting makes a Board, the command line writes it.
"""

import msgspec

from convert.evaluation.forecast_baselines import NAIVE
from promlstm import terminal

FORMAT = 1                          # of the JSON


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One method at one horizon of one set.

    mase, wql     mean and median over series; None in a summary
    *_of_naive    geometric mean over series, as a share of the seasonal naive's of the day at the same values
    *_ratio       the same as a share of that of the row that is compared with: [ratio, 95 % interval]; None of that row itself
    """

    method: str
    series: int
    values: int
    mase: float | None
    mase_of_naive: float | None
    mase_ratio: list[float] | None
    wql: float | None
    wql_of_naive: float | None
    wql_ratio: list[float] | None
    coverage: float | None
    microseconds: float             # of an entity and a forecast, all horizons together


class Horizon(msgspec.Struct, frozen=True, kw_only=True):
    """All methods at one horizon; of a set, or of several that count alike."""

    name: str
    figures: list[Figures]


class Set(msgspec.Struct, frozen=True, kw_only=True):
    """One set at one step, or a summary of sets."""

    name: str
    horizons: list[Horizon]
    notes: list[str]


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of a whole run."""

    format: int = FORMAT
    against: str
    sets: list[Set]
    summaries: list[Set]


def text(one, against):
    """One Set for a terminal; against: the row that others are compared with."""
    lines = [one.name]
    ratio = [] if against == NAIVE else [f'of {terminal.shortened(against, 24)}']    # the share of the naive is there anyway
    for horizon in one.horizons:
        most = max(each.values for each in horizon.figures)
        lines += ['', f'  {horizon.name} ahead' + (f', {most} values' if most else '')]
        plain = any(each.mase is not None for each in horizon.figures)      # not in a summary
        head = [['MASE', 'of naive', *ratio, '95 %'], ['WQL', 'of naive', *ratio, '95 %']]
        if not plain:
            head = [[f'MASE {head[0][1]}', *head[0][2:]], [f'WQL {head[1][1]}', *head[1][2:]]]
        rows = [['', 'series', *head[0], *head[1], 'coverage', 'µs'], *(_row(each, plain, bool(ratio)) for each in horizon.figures)]
        lines += [f'  {line}' for line in terminal.columns(rows, right=True)]
    return '\n'.join([*lines, *(['', *(f'  {note}' for note in one.notes)] if one.notes else []), ''])


def _row(f, plain, shows_ratio):
    cells = [f.method, str(f.series)]
    for value, share, ratio in ((f.mase, f.mase_of_naive, f.mase_ratio), (f.wql, f.wql_of_naive, f.wql_ratio)):
        middle, low, high = map(_number, ratio or (None, None, None))
        cells += [*([_number(value)] if plain else []), _number(share), *([middle] if shows_ratio else []), f'[{low}, {high}]' if ratio else '']
    return [*cells, '' if f.coverage is None else f'{f.coverage:.0%}', _time(f.microseconds)]


def _number(value):
    if value is None:
        return ''
    return f'{value:.0f}' if value >= 99.5 else f'{value:.1f}' if value >= 9.95 else f'{value:.2f}' if value >= 0.0995 else f'{value:.2g}'


def _time(microseconds):
    if microseconds >= 99_500:
        return f'{microseconds / 1e6:.1f} s'
    return f'{microseconds:.1f}' if microseconds < 9.95 else f'{microseconds:.0f}'


def encoded(board):
    """A Board as JSON bytes."""
    return msgspec.json.format(msgspec.json.encode(board), indent=1) + b'\n'
