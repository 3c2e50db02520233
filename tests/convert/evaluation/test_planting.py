"""Faults are planted into healthy time that counts, far from events, and nothing else is changed."""

import numpy as np
import pytest

from convert.data import faults, labelled
from convert.evaluation import planting


@pytest.fixture
def recording():
    rng = np.random.default_rng(0)
    labels = np.zeros(20_000, bool)
    labels[3000:3050] = labels[9000:9600] = True
    values = 50 + rng.normal(size=(30_000, 2))
    values[15_000:15_040] = np.nan
    return labelled.Recording('a', 60.0, 0.0, values, np.arange(10_000, 30_000), labels, '', 60.0 * np.arange(10_000, 30_000))


def test_only_healthy_time_that_counts_is_changed(recording):
    values, found = planting.plant(recording, np.random.default_rng(1))
    changed = ~np.isclose(values, recording.values, equal_nan=True).all(1)
    inside = np.zeros(len(values), bool)
    for fault in found:
        inside[fault.first : fault.first + fault.steps] = True
    assert changed.any() and not (changed & ~inside).any() and not inside[:10_000].any()
    event = np.flatnonzero(recording.labels) + 10_000
    assert np.abs(np.flatnonzero(inside)[:, None] - event).min() * 60 >= planting.APART_SECONDS - 60


def test_one_in_two_and_a_half_days_of_every_kind(recording):
    """As many as the time allows, in one feature each; over many seeds all kinds."""
    kinds, counts = set(), []
    for seed in range(30):
        values, found = planting.plant(recording, np.random.default_rng(seed))
        kinds |= {fault.kind for fault in found}
        counts.append(len(found))
        for fault in found:
            span = slice(fault.first, fault.first + fault.steps)
            assert (~np.isclose(values[span], recording.values[span], equal_nan=True)).any(0).sum() <= 1
    assert kinds == set(faults.KINDS) and 3 <= np.mean(counts) <= 5


def test_missing_samples_stay_missing(recording):
    values, _ = planting.plant(recording, np.random.default_rng(3))
    assert np.array_equal(np.isnan(values), np.isnan(recording.values))


def test_there_is_room_for_none(recording):
    """A recording too short to know its spread."""
    from dataclasses import replace

    short = replace(recording, values=recording.values[:200], place=np.arange(100, 200), labels=recording.labels[:100])
    assert planting.plant(short, np.random.default_rng(0))[1] == []


def test_the_size_of_a_fault_is_told_in_usual_ranges_of_the_day_before(recording):
    """Noise of variance 1: half of its central 99 % is 2.58 for the values; a change of a random walk is smaller than its values are wide."""
    for seed in range(10):
        values, found = planting.plant(recording, np.random.default_rng(seed))
        for fault in found:
            span = slice(fault.first, fault.first + fault.steps)
            assert fault.size == pytest.approx(np.nanmax(np.abs(values[span] - recording.values[span])) / 2.58, rel=0.2)
    walk = np.random.default_rng(0).normal(size=5000).cumsum()
    assert faults.usual_range(walk) == pytest.approx(2.58, rel=0.1)
    assert faults.usual_range(np.full(300, 5.0)) == 0
