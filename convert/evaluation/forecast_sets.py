"""Series to be forecast, from when and how far: a folder of labelled telemetry, and of series that have a continuation. Data only.

    DIR/SET/ENTITY.npz     labelled telemetry, see convert.data.labelled: healthy time is forecast
    DIR/NAME_hourly.npz    pairs of arrays SERIES_train and SERIES_test, float [n]: samples of each hour, and the hours that follow

Labelled telemetry is forecast in every sixth hour, at a minute of it that is drawn, for much work begins with the hour and nobody asks for a
forecast then alone; where it has enough history, where nothing is labelled in the last hours and at the target, and where both have a sample.
An hourly file is forecast once, from the end of what comes first, for all hours that follow.
Who calls it: forecasting.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convert.data import labelled
from convert.errors import ConvertError
from promlstm import terminal

EXPECTED = 'expected labelled telemetry, DIR/SET/ENTITY.npz, or series with what follows, DIR/NAME_hourly.npz'
HOURLY, TRAIN, TEST = '_hourly', '_train', '_test'
HOUR, DAY = 3600, 86400
HORIZONS = (300, HOUR, 6 * HOUR, DAY, 7 * DAY)
EVERY_SECONDS = 6 * HOUR            # between two forecasts
RECENT_SECONDS = 6 * HOUR           # before a forecast, without a label
HISTORY_SECONDS = 8 * DAY           # and the horizon: a week to repeat, and a day of errors of what repeats it
MOST_ORIGINS = 96
LEAST = 4                           # values of a series, or it has no figure
SPANS = ((1, 6), (7, 24), (25, 48))  # hours of an hourly file that are reported by themselves


class ForecastSetError(ConvertError):
    """A folder has nothing to forecast, or a file of it is not as expected."""


class Part(NamedTuple):
    """Series on one clock, what is forecast, and what counts of it."""

    name: str
    step_seconds: float
    times: np.ndarray           # float64 [T]
    values: np.ndarray          # float64 [T, N], NaN = none; what is to be forecast is among them
    entity: np.ndarray          # int [N]: series of one entity are alike
    origins: np.ndarray         # int [O], in order
    ahead: np.ndarray           # float64 [H] seconds
    counted: np.ndarray         # bool [O, N, H]
    horizons: dict              # {what it is called: places in `ahead`}, reported by themselves
    least: int = LEAST

    @property
    def steps_ahead(self):
        """int [H]"""
        return np.round(self.ahead / self.step_seconds).astype(int)

    @property
    def actual(self):
        """What came: float64 [O, N, H]."""
        at = self.origins[:, None] + self.steps_ahead
        found = self.values[np.minimum(at, len(self.values) - 1)]
        return np.where((at < len(self.values))[..., None], found, np.nan).swapaxes(1, 2)


def check(folder, only=()):
    """Names of all that there is to forecast, in order; ForecastSetError or LabelledError where there is nothing, or not what `only` names."""
    files = _files(folder)
    found = [*(sets := _sets(folder)), *files]
    if not found:
        raise ForecastSetError(f'{folder}: nothing to forecast in it: {EXPECTED}')
    if unknown := [name for name in only if name not in found]:
        raise ForecastSetError(f'--sets {",".join(unknown)}: no such set in {folder}: there is {", ".join(found)}')
    for name in only or found:
        if name in files:
            _pairs(files[name])
        else:
            labelled.read(sets[name])
    return list(dict.fromkeys(only)) or found


def parts(folder, name):
    """The Parts of what has this name in the folder, one for each step that it has; see `check`."""
    files = _files(folder)
    return [_continued(name, _pairs(files[name]))] if name in files else list(_healthy(name, labelled.read(_sets(folder)[name])))


def _files(folder):
    folder = Path(folder)
    if not folder.is_dir():
        raise ForecastSetError(f'{folder}: {"a file, not a folder" if folder.exists() else "no such folder"}: {EXPECTED}')
    return {path.stem: path for path in sorted(folder.glob(f'*{HOURLY}.npz'))}


def _sets(folder):
    return {each.name: each for each in sorted(Path(folder).iterdir()) if each.is_dir() and not each.name.startswith('.')}


def _pairs(path):
    """[(what comes first, what follows)] of an hourly file."""
    try:
        with np.load(path, allow_pickle=False) as data:
            names = [name.removesuffix(TRAIN) for name in data.files if name.endswith(TRAIN)]
            if missing := [name + TEST for name in names if name + TEST not in data.files]:
                raise ForecastSetError(f'{path}: no {missing[0]} in it: {EXPECTED}')
            found = [(data[name + TRAIN].astype(float), data[name + TEST].astype(float)) for name in names]
            if unfit := [name for name, pair in zip(names, found, strict=True) if any(each.ndim != 1 or not len(each) for each in pair)]:
                raise ForecastSetError(f'{path}: {unfit[0]}: expected samples of one series, float [n], in {unfit[0] + TRAIN} and {unfit[0] + TEST}')
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ForecastSetError(f'{path}: not a numpy file: {error}') from error
    if not found:
        raise ForecastSetError(f'{path}: no SERIES{TRAIN} in it: {EXPECTED}')
    return found


def _continued(name, pairs):
    past, following = (max(len(pair[which]) for pair in pairs) for which in (0, 1))
    values = np.full((past + following, len(pairs)), np.nan)
    for n, (before, after) in enumerate(pairs):
        values[past - len(before) : past, n] = before
        values[past : past + len(after), n] = after
    values[np.isinf(values)] = np.nan
    hours = np.arange(1, following + 1)
    spans = [(first, min(last, following)) for first, last in SPANS if first <= following]
    horizons = {f'{first}h to {last}h': np.arange(first - 1, last) for first, last in [*spans, (1, following)]}
    counted = (~np.isnan(values[past:]).T & ~np.isnan(values[past - 1])[:, None])[None]
    return Part(
        name, float(HOUR), HOUR * np.arange(past + following, dtype=float), values, np.arange(len(pairs)), np.array([past - 1]),
        hours * float(HOUR), counted, horizons, 1,
    )  # fmt: skip


def _healthy(name, recordings):
    for step, features in sorted({(r.step_seconds, r.values.shape[1]) for r in recordings}):
        group = [r for r in recordings if (r.step_seconds, r.values.shape[1]) == (step, features)]
        ahead = np.array([h for h in HORIZONS if h >= step and not h % step], float)
        times, values, first = labelled.together(group)
        tested, bad = (np.zeros(values.shape[:2], bool) for _ in range(2))
        for n, r in enumerate(group):
            tested[first[n] + r.place, n] = True
            bad[first[n] + r.place, n] = r.labels
        entity = np.repeat(np.arange(len(group)), features)
        values = np.where(np.isfinite(values), values, np.nan).reshape(len(times), -1)
        origins = _origins(times, step)
        counted = _counted(values, tested[:, entity], bad[:, entity], origins, np.round(ahead / step).astype(int), step)
        some = counted.any(axis=(1, 2))
        kept, counted = _few(origins[some]), counted[some]
        if not len(kept):
            continue
        horizons = {terminal.duration(h): np.array([j]) for j, h in enumerate(ahead)}
        yield Part(
            f'{name} at {terminal.duration(step)}', step, times, values, entity, origins[some][kept], ahead, counted[kept], horizons
        )  # fmt: skip


def _origins(times, step):
    """A step drawn from each sixth hour; each step where it is as long."""
    if step >= EVERY_SECONDS:
        return np.arange(1, len(times))
    number = np.floor(times / EVERY_SECONDS)
    begins = np.flatnonzero(np.diff(number, prepend=number[0]) > 0)
    drawn = begins + np.random.default_rng(0).integers(max(1, round(HOUR / step)), size=len(begins))
    return drawn[drawn < len(times)]


def _few(origins):
    """Places of MOST_ORIGINS of them at most: one drawn from each of so many stretches, for each n-th would always be at the same time of day."""
    if len(origins) <= MOST_ORIGINS:
        return np.arange(len(origins))
    rng = np.random.default_rng(0)
    return np.array([rng.choice(stretch) for stretch in np.array_split(np.arange(len(origins)), MOST_ORIGINS)])


def _counted(values, tested, bad, origins, steps, step):
    """bool [O, N, H]"""
    total, recent = len(values), round(RECENT_SECONDS / step)
    first = np.argmax(~np.isnan(values), axis=0)
    faults = np.concatenate([np.zeros((1, bad.shape[1]), np.int32), np.cumsum(bad, axis=0, dtype=np.int32)])
    calm = faults[origins + 1] == faults[np.maximum(origins + 1 - recent, 0)]
    start = calm & tested[origins] & ~np.isnan(values[origins])
    out = np.zeros((*start.shape, len(steps)), bool)
    for j, k in enumerate(steps):
        enough = origins[:, None] - first >= round(HISTORY_SECONDS / step) + k
        at = np.minimum(origins + k, total - 1)
        out[..., j] = start & enough & (origins + k < total)[:, None] & ~np.isnan(values[at]) & ~bad[at] & tested[at]
    return out
