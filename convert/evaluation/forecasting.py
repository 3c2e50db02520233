"""How good forecasts are: a model and simple forecasts on series whose future is known, in one run.

    python -m convert benchmark --forecast DIR

A forecaster is a function

    forecast(times float64 [T], values float64 [T, N], origins int [O], ahead float64 [H] seconds) -> float64 [O, N, H, 3]

low, middle and high of what each series will be `ahead` after each origin, 80 % of what comes between low and high; NaN = no forecast. Times
are unix seconds in even steps, gaps of values are NaN. `values` goes on after an origin, for that of later ones: only what lies up to and
including the origin may be used. An attribute `seconds`, where it has one, says how long the forecasts of the last call took by themselves.
All are measured at the same values. Where one gives no forecast, that of the seasonal naive of the day counts in its place.
"""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convert import files
from convert.errors import ConvertError
from convert.evaluation import forecast_baselines, forecast_board, forecast_measures, forecast_packages, forecast_sets
from convert.evaluation.forecast_baselines import NAIVE
from convert.evaluation.forecast_board import Board, Figures, Horizon, Set
from convert.evaluation.forecast_ridge import Ridge
from convert.forecasts import forecaster
from promlstm import config, terminal
from promlstm.engine import session

SAMPLE = 5                          # series of a set that slow methods forecast
SAMPLE_ORIGINS = 3                  # of each
LEAST_ANSWERED = 0.5                # share of the values of a horizon, or a method has no row there
RIDGE = 'ridge on lags'


class ForecastError(ConvertError):
    """What was asked for cannot be measured: no row of that name, or forecasts of another shape."""


class Options(NamedTuple):
    """What the command line asks for; see arguments.py."""

    folder: Path
    models: tuple = ()
    sets: tuple = ()                # of names; empty = all there are
    against: str | None = None      # the row that others are compared with; None = the first model, or else the seasonal naive of the day
    sample: int = SAMPLE            # 0 = without slow methods
    json: Path | None = None        # a file for all figures, written anew after each set


class Answer(NamedTuple):
    """What one method gave on a Part."""

    losses: forecast_measures.Losses
    asked: np.ndarray               # bool [O, N, H]
    answered: np.ndarray            # bool [O, N, H]: what it gave a forecast for
    microseconds: float
    least: int                      # values of a series, or it has no figure


class Compared(NamedTuple):
    """One method at one horizon of one Part, series by series: what summaries are made of. NaN where a series has no figure."""

    of_naive: np.ndarray            # float [2, N] logarithms of MASE and WQL as a share of the seasonal naive's
    ratio: np.ndarray               # of that of the row that is compared with
    coverage: np.ndarray
    entity: np.ndarray
    microseconds: float


def forecaster_of(model):
    """The forecaster of a model file, or of builtin:NAME; BundleFormatError where it does not forecast."""
    return forecaster.of(session.resolve(model))


def run(options, say, log, forecasters=()):
    """Measure, and give the text of each set to `say` when it is finished, then the summaries; returns the Board.

    forecasters  {name: forecaster} beside those of options.models
    raises       ForecastError, ForecastSetError, LabelledError, BundleFormatError
    """
    names = forecast_sets.check(options.folder, options.sets)
    own = {**dict(forecasters), **{model: forecaster_of(model) for model in dict.fromkeys(options.models)}}
    slow, missing = forecast_packages.installed() if options.sample else ({}, [])
    rows = [*own, *forecast_baselines.POINTS, RIDGE, *slow]
    against = options.against or rows[0]
    if against not in rows:
        raise ForecastError(f'--against {against}: no such row: there is {", ".join(rows)}')
    fast = own | {name: forecast_baselines.Baseline(point) for name, point in forecast_baselines.POINTS.items()} | {RIDGE: Ridge()}
    board, found = Board(against=against, sets=[], summaries=[]), {}
    for name in names:
        for part in forecast_sets.parts(options.folder, name):
            answers = _answers(part, fast, slow, options.sample, log)
            one, compared = measured(part, answers, against, missing)
            board.sets.append(one)
            found |= {(name, part.step_seconds, *key): each for key, each in compared.items() if part.least > 1}
            say(forecast_board.text(one, against))
            _write(options.json, board)
    board.summaries.extend(summaries(found, rows))
    for one in board.summaries:
        say(forecast_board.text(one, against))
    _write(options.json, board)
    return board


def _write(path, board):
    if path:
        with files.atomically(path) as draft:
            draft.write_bytes(forecast_board.encoded(board))


def _answers(part, fast, slow, sample, log):
    """{method: Answer}"""
    scales = forecast_measures.scale(part.values, part.origins, round(forecast_sets.DAY / part.step_seconds))
    actual, instead, out = part.actual, None, {}
    for name in (NAIVE, *(each for each in fast if each != NAIVE)):
        begin = time.perf_counter()
        forecast = fast[name](part.times, part.values, part.origins, part.ahead)
        if forecast.shape != (expected := (*part.counted.shape, 3)):
            raise ForecastError(f'{name}: forecasts of {part.name} are {list(forecast.shape)}, expected {list(expected)}')
        seconds = getattr(fast[name], 'seconds', time.perf_counter() - begin)
        instead = forecast if instead is None else instead
        each = seconds / (len(part.origins) * part.values.shape[1])
        out[name] = _answer(forecast, instead, actual, scales, part.counted, part.counted, each, part.least)
        log(f'  {part.name}: {name}: {time.perf_counter() - begin:.0f} s')
    chosen = _sample(part, sample) if slow else []
    for name, slowly in slow.items():
        begin, forecast = time.perf_counter(), np.full(instead.shape, np.nan)
        asked = np.zeros(part.counted.shape, bool)
        for o, n in chosen:
            forecast[o, n] = slowly(part.times, part.values[:, n : n + 1], part.origins[o : o + 1], part.ahead)[0, 0]
            asked[o, n] = part.counted[o, n]
        each = (time.perf_counter() - begin) / max(1, len(chosen))
        out[name] = _answer(forecast, instead, actual, scales, part.counted, asked, each, 1)
        log(f'  {part.name}: {name}: {time.perf_counter() - begin:.0f} s')
    return {name: out[name] for name in (*fast, *slow)}


def _answer(forecast, instead, actual, scales, counted, asked, seconds, least):
    known = ~np.isnan(forecast).any(axis=-1)
    found = forecast_measures.losses(actual, np.where(known[..., None], forecast, instead), scales, counted)
    return Answer(found, asked, known, 1e6 * seconds, least)


def _sample(part, many):
    """[(place of the origin, series)] of so many series, each at SAMPLE_ORIGINS: where most horizons count, else drawn."""
    rng, worth = np.random.default_rng(0), part.counted.sum(axis=2)
    usable = rng.permutation(np.flatnonzero(worth.any(axis=0)))[:many]
    out = []
    for n in sorted(usable.tolist()):
        order = rng.permutation(len(part.origins))
        best = order[np.argsort(-worth[order, n], kind='stable')][:SAMPLE_ORIGINS]
        out += [(int(o), n) for o in sorted(best.tolist()) if worth[o, n]]
    return out


def measured(part, answers, against, notes=()):
    """(Set, {(horizon, method): Compared}) of the Answers on a Part."""
    horizons, compared, silent = [], {}, {}
    for horizon, places in part.horizons.items():
        where = np.zeros(part.counted.shape, bool)
        where[..., places] = True
        found, kept = {}, {}
        for name, answer in answers.items():
            if (asked := where & answer.asked).any():
                if answer.answered[asked].mean() < LEAST_ANSWERED:
                    silent.setdefault(name, []).append(horizon)
                else:
                    kept[name] = answer
        for name, answer in kept.items():
            figures, each = _figures(name, answer, answers[NAIVE], kept.get(against) if name != against else None, where, part.entity)
            if figures.series:
                found[name] = figures
                compared[horizon, name] = each
        if found:
            horizons.append(Horizon(name=horizon, figures=list(found.values())))
    said = [f'{name}: no row for {", ".join(where)}: it forecast less than half of the values' for name, where in silent.items()]
    shares = {name: each.answered[each.asked].mean() for name, each in answers.items() if name not in silent and each.asked.any()}
    said += [f'{name}: it forecast {share:.1%} of the values; of the others that of {NAIVE} counts' for name, share in shares.items() if share < 1]
    return Set(name=part.name, horizons=horizons, notes=[*said, *notes]), compared


def _figures(name, answer, naive, other, where, entity):
    """(Figures, Compared); `other` is the Answer that it is compared with, None = it is itself, or has no row here."""
    errs = forecast_measures.of_series(naive.losses, where & naive.asked, naive.least)
    where = where & answer.asked & naive.asked
    own, base = (forecast_measures.of_series(each.losses, where, answer.least) for each in (answer, naive))
    of_naive = _logs(own, base)
    judged = ~np.isnan(of_naive).any(axis=0) & (errs.mase > 0) & (errs.wql > 0)     # the same series in all columns
    ratio = np.full(of_naive.shape, np.nan)
    if other is not None:
        least = min(answer.least, other.least)
        ratio = _logs(*(forecast_measures.of_series(each.losses, where & other.asked, least) for each in (answer, other)))
    hidden = np.where(judged, 0, np.nan)
    compared = Compared(of_naive + hidden, ratio + hidden, own.coverage + hidden, entity, answer.microseconds)
    values = int((where & ~np.isnan(answer.losses.error))[:, judged].sum())
    mean = (float(own.mase[judged].mean()), float(np.median(own.wql[judged]))) if judged.any() else (None, None)
    return _row(name, [compared], values, *mean), compared


def _logs(figures, others):
    """float [2, N]: of MASE and of WQL."""
    return np.stack([forecast_measures.ratios(getattr(figures, key), getattr(others, key)) for key in ('mase', 'wql')])


def _row(name, compared, values, mase=None, wql=None):
    """Figures of one method over sets that count alike; compared: a Compared of each."""
    shares, ratios = ([forecast_measures.pooled([(getattr(each, key)[n], each.entity) for each in compared]) for n in (0, 1)] for key in ('of_naive', 'ratio'))
    covered = [known.mean() for each in compared if len(known := each.coverage[~np.isnan(each.coverage)])]
    return Figures(
        method=name, series=sum(int((~np.isnan(each.coverage)).sum()) for each in compared), values=values, mase=mase, wql=wql,
        mase_of_naive=shares[0] and shares[0].ratio, wql_of_naive=shares[1] and shares[1].ratio, mase_ratio=ratios[0] and list(ratios[0]),
        wql_ratio=ratios[1] and list(ratios[1]), coverage=float(np.mean(covered)) if covered else None,
        microseconds=float(np.mean([each.microseconds for each in compared])),
    )  # fmt: skip


def summaries(found, rows):
    """A Set for each step that several sets have, and one for all, in which each set counts the same, whatever the number of its series.

    found   {(set, step, horizon, method): Compared}
    """
    out = []
    for step in (*sorted({key[1] for key in found}), None):
        chosen = {key: each for key, each in found.items() if step in (key[1], None)}
        if len({key[0] for key in chosen}) < 2:
            continue
        horizons = []
        for horizon in sorted({key[2] for key in chosen}, key=config.seconds):
            sets = {name: _by_set({key: each for key, each in chosen.items() if key[2:] == (horizon, name)}) for name in rows}
            figures = [_row(name, each, 0) for name, each in sets.items() if each]
            horizons.append(Horizon(name=horizon, figures=[each for each in figures if each.series]))
        names = ', '.join(dict.fromkeys(key[0] for key in chosen))
        at = 'all steps' if step is None else f'{terminal.duration(step)} steps'
        out.append(Set(name=f'SUMMARY of {at} ({names}; each set counts the same)', horizons=horizons, notes=[]))
    return out


def _by_set(chosen):
    """Compared of each set, those of its steps put together."""
    out = {}
    for key, each in chosen.items():
        before = out.get(key[0])
        out[key[0]] = each if before is None else Compared(
            np.concatenate([before.of_naive, each.of_naive], axis=1), np.concatenate([before.ratio, each.ratio], axis=1),
            np.concatenate([before.coverage, each.coverage]), np.concatenate([before.entity, each.entity + before.entity.max() + 1]),
            (before.microseconds + each.microseconds) / 2,
        )  # fmt: skip
    return list(out.values())
