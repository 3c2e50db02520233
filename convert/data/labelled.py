"""Labelled telemetry of others, to measure on and never to train on: read from a folder, never copied.

    DIR/SET/ENTITY.npz with t int64 [T] unix seconds, x float [T, F] (NaN = none), y 0/1 [T], split = first index that is tested

Entities of one step are put on one clock by shifting them by whole weeks, so that they can be replayed together and keep their seasons.
Long ones are cut: a piece begins WARM_WEEKS before the part of it that counts, many times the half-life of the scales.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from promlstm.engine.season import WEEK

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


def read(folder):
    """All recordings of a set, by name; FileNotFoundError where there are none."""
    files = sorted(Path(folder).glob('*.npz'))
    if not files:
        raise FileNotFoundError(f'{folder}: no .npz file in it')
    return [_recording(file) for file in files]


def _recording(file):
    with np.load(file) as data:
        times, values, labels, split = data['t'], data['x'].astype(np.float64), data['y'].astype(bool), int(data['split'])
        note = str(data['note'])
    step = float(np.median(np.diff(times)))
    place = np.round((times - times[0]) / step).astype(int)
    grid = np.full((place[-1] + 1, values.shape[1]), np.nan)
    grid[place] = values
    return Recording(file.stem, step, float(times[0]), grid, place[split:], labels[split:], note)


def pieces(recording):
    """Cut a long recording: each piece is tested where the one before ended."""
    warm = int(WARM_WEEKS * WEEK / recording.step_seconds)
    count = max(1, round(len(recording.labels) / PIECE_STEPS))
    out = []
    for place, labels in zip(np.array_split(recording.place, count), np.array_split(recording.labels, count), strict=True):
        first = max(0, place[0] - warm)
        start = recording.start + first * recording.step_seconds
        values = recording.values[first : place[-1] + 1]
        out.append(replace(recording, start=start, values=values, place=place - first, labels=labels))
    return out


def together(recordings):
    """Recordings of one step and width on one clock.

    returns  times float64 [T], values float64 [T, N, F], first index of each int [N]
    """
    step, features = recordings[0].step_seconds, recordings[0].values.shape[1]
    offsets = [round(r.start % WEEK / step) for r in recordings]
    first = min(offsets)
    total = max(offset - first + len(r.values) for offset, r in zip(offsets, recordings, strict=True))
    values = np.full((total, len(recordings), features), np.nan)
    for n, (offset, r) in enumerate(zip(offsets, recordings, strict=True)):
        values[offset - first : offset - first + len(r.values), n] = r.values
    return step * (first + np.arange(total, dtype=np.float64)), values, np.array(offsets) - first


def culprits(recording, features):
    """Which features each tested sample's incident shows in, by the recording's note: bool [n, F]."""
    out = np.zeros((len(recording.labels), features), bool)
    for line in recording.note.replace(';', '\n').split():
        span, channels = line.split(':')
        first, last = (int(end) for end in span.split('-'))
        out[first : last + 1, [int(channel) - 1 for channel in channels.split(',')]] = True
    return out
