"""The fleet is a pure function of seed, series and time, and its faults are where its labels say."""

import doctest

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from promlstm.demo import fleet

START = 1_750_000_000


def small(seed=1):
    return fleet.Fleet(seed, START, hosts=3)


def test_doctests():
    assert doctest.testmod(fleet).failed == 0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(START - 10**6, START + 10**5), min_size=1, max_size=20))
def test_a_value_does_not_depend_on_what_else_was_asked(times):
    whole = small().values(np.array(times))
    for t, row in zip(times, whole, strict=True):
        assert np.array_equal(small().values(np.array([t]))[0], row)


def test_seeds_differ_and_repeat():
    times = START + 30.0 * np.arange(50)
    assert np.array_equal(small(1).values(times), small(1).values(times))
    assert not np.array_equal(small(1).values(times), small(2).values(times))


def test_history_is_healthy_and_every_kind_comes_round():
    assert small().faults(START - 10**7, START) == ()
    assert {fault.kind for fault in small().faults(START, START + 7 * 1200 + 300)} == set(fleet.KINDS)


def test_a_fault_changes_the_series_it_names_within_its_time_and_nothing_before():
    watched = small()
    for fault in watched.faults(START, START + 7 * 1200 + 300):
        i = watched.series.index(fleet.Series(fault.metric, fault.labels))
        before = watched.value(i, fault.start - 5.0 * np.arange(1, 100))
        during = watched.value(i, np.linspace(fault.start + 0.9 * (fault.end - fault.start), fault.end - 1, 20))
        assert abs(during.mean() - before.mean()) > 5 * before.std()


def test_noise_is_standard():
    noise = fleet.gaussian(7, np.arange(20000))
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.03
    smooth = fleet.wander(7, np.arange(200000), 10.0)
    assert abs(smooth.mean()) < 0.05 and abs(smooth.std() - 1) < 0.05


def test_values_are_finite_and_shares_stay_shares():
    watched = small()
    values = watched.values(START + 60.0 * np.arange(-2000, 500))
    assert np.isfinite(values).all()
    for i, series in enumerate(watched.series):
        assert values[:, i].min() >= 0
        assert not series.metric.endswith('_ratio') or values[:, i].max() <= 1
