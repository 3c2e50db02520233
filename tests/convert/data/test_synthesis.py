"""Synthetic telemetry is a pure function of its seed, broad, finite but for its gaps, and its faults are where the labels say."""

import numpy as np
import pytest

from convert.data import faults, synthesis
from convert.evaluation import measures


def small(seed=1, **more):
    return synthesis.batch(seed, **{'step_seconds': 60, 'steps': 600, 'entities': 40, **more})


def test_the_same_seed_gives_the_same_and_another_another():
    a, b, c = small(1), small(1), small(2)
    assert np.array_equal(a.values, b.values, equal_nan=True) and np.array_equal(a.history, b.history)
    assert not np.array_equal(a.values, c.values, equal_nan=True)


@pytest.mark.parametrize('step_seconds', [1, 10, 300, 3600, 86400])
def test_values_are_finite_but_for_a_few_gaps_at_every_step(step_seconds):
    values = small(step_seconds=step_seconds).values
    assert not np.isinf(values).any() and np.isnan(values).mean() < 0.02


def test_history_comes_before_and_looks_like_what_follows():
    batch = small(step_seconds=300, steps=2000)
    assert batch.history_times.max() < batch.times.min() and np.isfinite(batch.history).all()
    level, before = np.nanmedian(batch.values, 0), np.median(batch.history, 0)
    assert np.mean(np.abs(np.log((level + 1e-12) / (before + 1e-12))) < 1) > 0.6


def test_healthy_is_not_labelled_and_injected_is():
    assert not small().faulty.any()
    assert 0.005 < small(faults_per_1000=1.0).faulty.mean() < 0.5


def test_features_have_an_axis_of_their_own():
    assert small(features=3).values.shape == (600, 40, 3)


@pytest.mark.parametrize('kind', faults.KINDS)
def test_a_fault_changes_the_labelled_stretch_and_nothing_else(kind):
    rng = np.random.default_rng(0)
    values = 10 + np.sin(np.arange(3000) / 200)[:, None] + 0.1 * rng.normal(size=(3000, 2))
    before, labels = values.copy(), np.zeros(values.shape, bool)
    steps = faults.inject(values, labels, 1000, 1, kind, step_seconds=60, size=10.0, rng=rng)
    assert steps > 0 and labels[:, 1].sum() == steps and labels[1000, 1] and not labels[:, 0].any()
    assert np.array_equal(values[~labels], before[~labels]) and not np.array_equal(values[labels], before[labels])


def test_faults_of_a_wanted_size_and_no_others():
    """Between one and three usual ranges, flat lines aside; what was drawn and not taken leaves the samples as they were."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4000, 40)) + rng.uniform(-50, 50, 40)
    clean, labels = values.copy(), np.zeros(values.shape, bool)
    kinds = tuple(kind for kind in faults.KINDS if kind != 'flat_line')
    faults.scatter(values, labels, 3, kinds, step_seconds=60, rng=rng, ranges=(1, 3))
    assert np.array_equal(values[~labels], clean[~labels])
    sizes = []
    for entity in range(40):
        for first, end in measures.runs(labels[:, entity]):
            sizes.append(faults.change_in_usual_ranges(values[:, entity], clean[:, entity], first, end - first, 60))
    assert len(sizes) > 100 and min(sizes) >= 1 and max(sizes) <= 3


def test_faults_do_not_overlap_and_keep_gaps():
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(1000, 1)), np.zeros((1000, 1), bool)
    values[510] = np.nan
    assert faults.inject(values, labels, 500, 0, 'shift', step_seconds=60, size=5, rng=rng)
    assert np.isnan(values[510, 0])
    assert faults.inject(values, labels, 505, 0, 'shift', step_seconds=60, size=5, rng=rng) == 0
    assert faults.inject(values, labels, 990, 0, 'drift', step_seconds=60, size=5, rng=rng) == 0
