"""Recorded telemetry to learn forecasts from, and to measure them on: healthy time of labelled sets, and a team's own history.

Of each labelled set every other entity is learnt from, so that the others can be measured on.
"""

from pathlib import Path

import numpy as np

from convert.data import labelled
from convert.forecasts.examples import examples
from convert.forecasts.measure import measured as figures_of

LEARNT, MEASURED = 0, 1         # entities of a set by their place in it, two after two
FASTER_THAN_SECONDS = 1800      # steps that are thinned out as well, so that there are more steps to learn from
THINNED = {60: 5, 300: 3}
LATE = 0.15                     # share of series that are made to begin late


def of_sets(folder, names, rng, *, instants, which=LEARNT):
    """Examples of the healthy time of labelled sets, each series as it is or upside down; list of dicts, as `examples` makes them."""
    out = []
    for name in names:
        for recording in labelled.read(Path(folder) / name)[which::2]:
            times, values, bad = _healthy(recording)
            many = instants if values.shape[1] < 5 else max(1, instants // 3)
            for each in sorted({1, THINNED.get(int(recording.step_seconds), 1)}):
                part = slice(int(rng.integers(each)), None, each)
                found = examples(times[part], _varied(rng, values[part]), rng, instants=many, bad=bad[part])
                out += [found] if found else []
    return out


def of_history(datasets, part, rng, *, instants, series):
    """Examples of a team's own history (convert.data.dataset.Dataset) in the spans of a part; what is excluded is neither learnt nor forecast."""
    out = []
    for dataset in datasets:
        for batch in dataset.batches(part, lead_steps=0, series=series):
            values, bad = (x.reshape(len(batch.times), -1) for x in (batch.values, batch.faulty))
            found = examples(batch.times, values, rng, instants=instants, bad=bad)
            out += [found] if found else []
    return out


def measured(forecaster, folder, name, horizons):
    """{'SET at STEP s': {seconds ahead: measure.Figures}} of the entities of a set that are not learnt from."""
    out = {}
    groups = {}
    for recording in labelled.read(Path(folder) / name)[MEASURED::2]:
        groups.setdefault((recording.step_seconds, recording.values.shape[1]), []).append(recording)
    for (step, _), group in groups.items():
        times, values, begin = labelled.together(group)
        bad = np.zeros(values.shape[:2], bool)
        for number, recording in enumerate(group):
            bad[begin[number] + recording.place, number] = recording.labels
        bad = np.repeat(bad, values.shape[2], 1)
        found = figures_of(forecaster, times, values.reshape(len(times), -1), horizons, instants=96, bad=bad)
        out |= {f'{name} at {step:g} s': found} if found else {}
    return out


def measured_history(forecaster, dataset, horizons):
    """The same of a team's own history in the spans `test`; each with its weeks before, which the memory is filled from."""
    out = {}
    lead = int(8 * 86400 / dataset.step_seconds)
    for batch in dataset.batches('test', lead_steps=lead):
        values, bad = (x.reshape(len(batch.times), -1) for x in (batch.values, batch.faulty))
        found = figures_of(forecaster, batch.times, values, horizons, bad=bad)
        out |= {f'{dataset.detector} ({len(batch.identities)} entities)': found} if found else {}
    return out


def _healthy(recording):
    """(times [T], values [T, N] of the series that change, bad [T, N])."""
    times = recording.start + recording.step_seconds * np.arange(len(recording.values))
    bad = np.zeros(len(times), bool)
    bad[recording.place] = recording.labels
    known = ~np.isnan(recording.values)
    moving = np.array([len(np.unique(column[here])) > 1 for column, here in zip(recording.values.T, known.T, strict=True)])
    values = recording.values[:, moving]
    return times, values, np.broadcast_to(bad[:, None], values.shape)


def _varied(rng, values):
    steps, count = values.shape
    begin = np.where(rng.random(count) < LATE, rng.integers(0, max(1, steps * 3 // 5), count), 0)
    return np.where(np.arange(steps)[:, None] < begin, np.nan, values * rng.choice([-1, 1], count))
