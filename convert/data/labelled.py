"""Labelled telemetry of others, to measure on and never to train on: read from a folder, never copied.

    DIR/SET/ENTITY.npz with t int64 [T] unix seconds, x float [T, F] (NaN = none), y 0/1 [T], split = first index that is tested

Entities of one step are put on one clock by shifting them by whole weeks, so that they can be replayed together and keep their seasons.
Long ones are cut: a piece begins WARM_WEEKS before the part of it that counts, many times the half-life of the scales.
"""

import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from convert.data.spans import DataError
from promlstm.engine.season import WEEK

EXPECTED = 'expected labelled telemetry, DIR/SET/ENTITY.npz'
# of public sets, as docs/how-to/benchmark.md has them; said in the card of a model that was calibrated on them, or has learnt from them
LICENCES = {'AIOPS': 'MIT', 'ASD': 'MIT', 'MSCloud': 'MIT', 'NAB': 'MIT', 'SMD': 'MIT', 'WSD': 'no licence stated'}
WARM_WEEKS = 3
PIECE_STEPS = 40_000        # that count, in one piece


@dataclass(frozen=True, eq=False)
class Recording:
    """One entity, or a piece of it, on a regular grid; only its own samples are scored, not the gaps of the grid."""

    name: str
    step_seconds: float
    start: float                # unix seconds
    values: np.ndarray          # float64 [T, F]
    place: np.ndarray           # int [n]     where on the grid the tested samples are
    labels: np.ndarray          # bool [n]    of the tested samples
    note: str
    times: np.ndarray           # float64 [n] unix seconds of the tested samples as the file has them, which may lie beside the grid


class LabelledError(DataError):
    """A folder has no labelled telemetry, or a file of it is damaged."""


def sets(folder):
    """The folders DIR/SET of labelled telemetry, sorted; LabelledError where there are none."""
    folder = Path(folder)
    if not folder.exists():
        raise LabelledError(f'{folder}: no such folder: {EXPECTED}')
    if not folder.is_dir():
        raise LabelledError(f'{folder}: a file, not a folder: {EXPECTED}')
    found = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith('.'))
    if not found:
        raise LabelledError(f'{folder}: no set in it: {EXPECTED}')
    return found


def with_licences(names):
    """Names of sets in words, each with its licence where it is known.

    >>> with_licences(['MSCloud', 'WSD', 'own'])
    'MSCloud (MIT), WSD (no licence stated), own'
    """
    return ', '.join(f'{name} ({LICENCES[name]})' if name in LICENCES else name for name in names)


def check(folder, only=()):
    """LabelledError where what `sets` and `read` will read is not there or cannot be read; called before anything takes minutes.

    only  names of sets; empty = all
    """
    for each in sets(folder):
        if not only or each.name in only:
            read(each)


def read(folder):
    """All recordings of a set, by name; LabelledError where there are none, or one is damaged."""
    if not Path(folder).is_dir():
        raise LabelledError(f'{folder}: no such folder, expected one with ENTITY.npz in it')
    files = sorted(Path(folder).glob('*.npz'))
    if not files:
        raise LabelledError(f'{folder}: no .npz file in it: {EXPECTED}')
    return [_checked(file) for file in files]


def _checked(file):
    try:
        return _recording(file)
    except KeyError as error:
        raise LabelledError(f'{file}: it has no array {error}: expected t, x, y, split and note') from error
    except (OSError, ValueError, IndexError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise LabelledError(f'{file}: cannot be read as labelled telemetry: {error}') from error


def _recording(file):
    with np.load(file, allow_pickle=False) as data:
        times, values, labels, split = (data[name] for name in ('t', 'x', 'y', 'split'))
        note = str(data['note'])
    values, labels, split = values.astype(np.float64), labels.astype(bool), int(split)
    if not len(times) == len(values) == len(labels) >= 2 or values.ndim != 2 or not 0 <= split < len(times):
        raise ValueError(f't {list(times.shape)}, x {list(values.shape)}, y {list(labels.shape)}, split {split}: expected [T], [T, F], [T], 0 to T - 1')
    if not (np.diff(times) >= 0).all():
        raise ValueError('t is not in ascending order')
    step = float(np.median(np.diff(times)))
    if not step > 0:
        raise ValueError('t has duplicates: more than half of its times')
    place = np.round((times - times[0]) / step).astype(int)
    grid = np.full((place[-1] + 1, values.shape[1]), np.nan)
    grid[place] = values
    return Recording(file.stem, step, float(times[0]), grid, place[split:], labels[split:], note, times[split:].astype(np.float64))


def pieces(recording):
    """Cut a long recording: each piece is tested where the one before ended."""
    warm = int(WARM_WEEKS * WEEK / recording.step_seconds)
    count = max(1, round(len(recording.labels) / PIECE_STEPS))
    out = []
    cut = (np.array_split(each, count) for each in (recording.place, recording.labels, recording.times))
    for place, labels, times in zip(*cut, strict=True):
        first = max(0, place[0] - warm)
        start = recording.start + first * recording.step_seconds
        values = recording.values[first : place[-1] + 1]
        out.append(replace(recording, start=start, values=values, place=place - first, labels=labels, times=times))
    return out


def together(recordings):
    """Recordings of one step and width on one clock, which is as short as the weeks that they are moved by allow.

    returns  times float64 [T], values float64 [T, N, F], first index of each int [N]
    """
    step, features = recordings[0].step_seconds, recordings[0].values.shape[1]
    offsets, lengths = np.array([round(r.start % WEEK / step) for r in recordings]), np.array([len(r.values) for r in recordings])
    week = max(1, round(WEEK / step))
    totals = {int(first): int(((offsets - first) % week + lengths).max()) for first in np.unique(offsets)}
    first = min(totals, key=totals.get)
    begin = (offsets - first) % week
    values = np.full((totals[first], len(recordings), features), np.nan)
    for n, r in enumerate(recordings):
        values[begin[n] : begin[n] + lengths[n], n] = r.values
    return step * (first + np.arange(len(values), dtype=np.float64)), values, begin


def culprits(recording, features):
    """Which features each tested sample's incident shows in, by the recording's note: bool [n, F]."""
    out = np.zeros((len(recording.labels), features), bool)
    for line in recording.note.replace(';', '\n').split():
        span, channels = line.split(':')
        first, last = (int(end) for end in span.split('-'))
        out[first : last + 1, [int(channel) - 1 for channel in channels.split(',')]] = True
    return out
