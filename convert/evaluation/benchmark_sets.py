"""Telemetry that models are measured on, each set in the same form: synthetic with injected faults, a team's own test span, both together.

    injected_60s          synthetic, two faults of one kind in each entity
    linked_60s            synthetic entities of several features that move together, until one of them does not
    test_DETECTOR         the test span as it was, without labels: how often it alarms in healthy time
    test_DETECTOR_faults  the test span with the same faults injected into what is healthy of it
    test_DETECTOR_linked  the test span of several features, one of which goes the other way for a while
    SET                   labelled telemetry of others (labelled.py)

Who calls it: review and compare. Pure, but for what a Dataset and labelled read; nothing here knows a model.
"""

from dataclasses import dataclass

import numpy as np

from convert.data import faults, labelled, synthesis

SETTLED = 600           # steps of a synthetic series before a fault may be injected
FAULTS_EACH = 2         # a series
LINKED_FEATURES = 4
ENTITIES = 256          # of an own span or a labelled set, at most: evenly chosen
LINKED = 'broken_link'


@dataclass(frozen=True, eq=False)
class BenchmarkSet:
    """One set on one clock.

    values    float64 [T, N, F], NaN = none
    labels    bool [T, N]  a fault is there; None = not labelled
    counted   bool [T, N]  scored: not warming up, not excluded
    kinds     N names of what was injected, or None
    history   (times [H], values [H, N, F]) of the coarse past
    names     N
    """

    name: str
    step_seconds: float
    times: np.ndarray
    values: np.ndarray
    labels: np.ndarray | None
    counted: np.ndarray
    kinds: tuple | None
    history: tuple
    names: tuple

    @property
    def first_counted(self):
        """First step that counts for any entity."""
        return int(np.argmax(self.counted.any(1)))


def injected(telemetry, seed):
    """Faults of every kind, in turn, in synthetic telemetry (a recipe.Telemetry)."""
    step = telemetry.step_seconds
    batch = synthesis.batch(seed, step_seconds=step, steps=telemetry.steps, entities=telemetry.entities)
    values, labels, kinds = _with_faults(batch.values, np.ones(batch.values.shape[:2], bool), SETTLED, step, seed)
    return _synthetic(f'injected_{step:g}s', batch, values, labels, kinds, (batch.history_times, batch.history))


def linked(telemetry, seed):
    """Entities of LINKED_FEATURES features that follow one series, each in a unit of its own; then one of them goes the other way.

    A detector that looks at each feature alone has little to see: the feature keeps its range and its variance.
    """
    step, many = telemetry.step_seconds, max(8, telemetry.entities // LINKED_FEATURES)
    batch = synthesis.batch([seed, 2], step_seconds=step, steps=telemetry.steps, entities=many)
    rng = np.random.default_rng([seed, 3])
    gain, shift = 10 ** rng.uniform(-2, 3, (2, many, LINKED_FEATURES))
    noise = 0.1 * np.nanstd(np.diff(batch.values, axis=0), axis=0)[None]
    follow = lambda x: gain * (x + shift * np.abs(np.nanmean(batch.values, 0)) / gain)  # noqa: E731 (twice below)
    values = follow(batch.values + noise * rng.normal(size=(*batch.values.shape[:2], LINKED_FEATURES)))
    values, labels = _mirrored(values, np.ones(values.shape[:2], bool), SETTLED, rng)
    return _synthetic(f'linked_{step:g}s', batch, values, labels, (LINKED,) * many, (batch.history_times, follow(batch.history)))


def own(dataset, seed, part='test'):
    """(the spans of a part of a dataset.Dataset as they were, the same with injected faults); nothing where it has none."""
    chosen = dataset.entities(part)
    chosen = [chosen[n] for n in np.unique(np.linspace(0, len(chosen) - 1, ENTITIES).astype(int))] if chosen else []
    for number, batch in enumerate(dataset.batches(part, entities=chosen) if chosen else ()):
        healthy, name = ~batch.faulty.any(2), f'{part}_{dataset.detector}' + (f'_{number + 1}' if number else '')
        names = tuple(identity.decode() for identity in batch.identities)
        history = (batch.history_times, batch.history)
        yield BenchmarkSet(name, batch.step_seconds, batch.times, batch.values, None, healthy, None, history, names)
        first = int(np.argmax(batch.scored))
        values, labels, kinds = _with_faults(batch.values, healthy, max(first, 300), batch.step_seconds, [seed, number, 5])
        yield BenchmarkSet(f'{name}_faults', batch.step_seconds, batch.times, values, labels, healthy, kinds, history, names)
        if values.shape[2] > 1:
            values, labels = _mirrored(batch.values, healthy, max(first, 300), np.random.default_rng([seed, number, 6]))
            yield BenchmarkSet(f'{name}_linked', batch.step_seconds, batch.times, values, labels, healthy, (LINKED,) * len(names), history, names)


def recorded(folder):
    """Labelled sets of others, one BenchmarkSet for each step there is in the folder."""
    recordings = labelled.read(folder)
    recordings = [recordings[n] for n in np.unique(np.linspace(0, len(recordings) - 1, ENTITIES).astype(int))]
    for step in sorted({r.step_seconds for r in recordings}):
        group = [piece for r in recordings if r.step_seconds == step for piece in labelled.pieces(r)]
        times, values, first = labelled.together(group)
        labels, counted = np.zeros(values.shape[:2], bool), np.zeros(values.shape[:2], bool)
        for n, r in enumerate(group):
            labels[first[n] + r.place, n], counted[first[n] + r.place, n] = r.labels, True
        names = tuple(r.name for r in group)
        yield BenchmarkSet(f'{folder.name}_{step:g}s', step, times, values, labels, counted, None, (np.empty(0), np.empty((0, *values.shape[1:]))), names)


def _synthetic(name, batch, values, labels, kinds, history):
    counted = np.zeros(labels.shape, bool)
    counted[SETTLED:] = True
    names = tuple(f'entity="{n}"' for n in range(labels.shape[1]))
    return BenchmarkSet(name, batch.step_seconds, batch.times, values, labels, counted, kinds, history, names)


def _mirrored(values, healthy, first, rng):
    """(values with one feature mirrored at its mean for a while, labels [T, N]); nothing changes where time is excluded or samples are missing."""
    values, labels = values.copy(), np.zeros(values.shape[:2], bool)
    for n in np.repeat(np.arange(values.shape[1]), FAULTS_EACH):
        at = int(rng.integers(first, max(first + 1, len(values) - 100)))
        steps = int(rng.integers(30, 100))
        column = values[at : at + steps, n, rng.integers(values.shape[2])]
        far_from_others = not labels[max(0, at - 20) : at + steps + 20, n].any()
        if healthy[at : at + steps, n].all() and far_from_others and np.isfinite(column).any():
            column[:] = 2 * np.nanmean(column) - column
            labels[at : at + steps, n] = True
    return values, labels


def _with_faults(values, healthy, first, step_seconds, seed):
    """(values with faults, labels [T, N], kinds): kinds in turn over the entities, in one feature of each; none in time that is excluded."""
    values, rng = values.copy(), np.random.default_rng([*np.atleast_1d(seed), 1])
    total, many, features = values.shape
    labels = np.zeros((total, many), bool)
    kinds = tuple(tuple(faults.KINDS)[n % len(faults.KINDS)] for n in range(many))
    for n, kind in enumerate(kinds):
        column = values[:, n, int(rng.integers(features))][:, None]
        for _ in range(FAULTS_EACH):
            at = int(rng.integers(first, max(first + 1, total - 100)))
            size = 3 * 10 ** rng.uniform(0, 1)
            if healthy[at : at + 300, n].all() and not np.isnan(column[max(0, at - 300) : at]).all():
                faults.inject(column, labels[:, n : n + 1], at, 0, kind, step_seconds=step_seconds, size=size, rng=rng)
    return values, labels, kinds
