"""The shop is a pure function of seed, series and time; its faults begin at their cause and travel to what depends on it, later and smaller."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promlstm.demo import shop
from promlstm.demo.shop import CALLS, KINDS, Shop

START = 1_760_000_000
PERIOD = 3600


def effects(watched, fault):
    """{name: (size, delay)} of a fault."""
    return {name: (effect.size, effect.delay) for name, effect in watched._effects(fault).items()}


def columns(watched, thing, metric):
    return [n for n, series in enumerate(watched.series) if watched.thing(series) == thing and series.metric == metric]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(START - 10**6, START + 10**5), min_size=1, max_size=12))
def test_a_value_does_not_depend_on_what_else_was_asked(times):
    whole = Shop(1, START).values(np.array(times))
    for t, row in zip(times, whole, strict=True):
        assert np.array_equal(Shop(1, START).values(np.array([t]))[0], row)


def test_what_a_fault_does_later_lasts_longer_than_the_fault_whatever_was_asked():
    """A caller is slow until what it calls has been well again for as long as the trouble takes to come; a single query sees that, too."""
    watched = Shop(1, START)
    [fault] = watched.faults(START, START + PERIOD)
    size, delay = effects(watched, fault)['service', 'frontend']
    assert size > 0.1 and delay > 10
    (column,) = columns(watched, ('service', 'frontend'), 'service_latency_seconds')
    times = fault.end + np.array([-60.0, delay / 2, delay + 1])
    during, ending, after = watched.value(column, times)
    assert [watched.value(column, [t])[0] for t in times] == [during, ending, after]
    assert ending > during / 1.3 and after < during / 1.3


def test_a_shop_of_its_own_breaks_where_it_is_told_to():
    calls = {'frontend': {'cart': 0.7}, 'cart': {'database': 0.8}, 'database': {}, 'backup': {}}
    watched = Shop(1, START, calls=calls, kinds=('overload', 'bad_release'), causes=('database',))
    found = watched.faults(START, START + 4 * PERIOD)
    assert [(fault.kind, fault.cause, fault.loud) for fault in found] == [
        ('overload', ('service', 'database'), None), ('bad_release', ('service', 'database'), ('service', 'backup')),
    ] * 2  # fmt: skip
    assert {watched.thing(series)[1] for series in watched.series if series.metric == 'service_error_ratio'} == set(calls)
    assert [watched.affects(found[1], ('service', name)) for name in ('frontend', 'backup')] == [True, True]
    assert not watched.affects(found[0], ('service', 'backup'))


def test_values_are_finite_and_shares_stay_shares():
    watched = Shop(2, START)
    values = watched.values(START + 60.0 * np.arange(-500, 500))
    assert np.isfinite(values).all() and (values >= 0).all()
    ratios = [n for n, series in enumerate(watched.series) if series.metric.endswith('_ratio')]
    assert (values[:, ratios] <= 1).all()


def test_history_is_healthy_and_every_kind_comes_round():
    watched = Shop(1, START)
    assert watched.faults(START - 10**7, START) == ()
    found = watched.faults(START, START + 6 * PERIOD)
    assert [fault.kind for fault in found] == list(KINDS)
    assert [fault.loud is None for fault in found] == [True, False] * 3
    assert all(fault.cause[0] == KINDS[fault.kind] for fault in found)


def test_the_edges_are_the_calls_the_pods_and_their_nodes():
    watched = Shop(1, START)
    names = {watched.thing(series) for series in watched.series}
    assert {name for edge in watched.edges for name in edge} <= names
    assert (('service', 'stock'), ('service', 'stock-db')) in watched.edges and (('service', 'stock'), ('pod', 'stock-0')) in watched.edges
    assert len(watched.edges) == sum(map(len, CALLS.values())) + 2 * len(watched.pods)


@pytest.mark.parametrize('number', range(6))
def test_a_fault_changes_its_cause_first_and_most(number):
    """What it reaches later is smaller; and apart from what is loud nothing else changes."""
    watched = Shop(3, START)
    fault = watched.faults(START, START + 12 * PERIOD)[number]
    reached = effects(watched, fault)
    assert reached[fault.cause] == (1.0, 0.0)
    assert all(size <= 1 and 0 < delay < 300 for name, (size, delay) in reached.items() if name != fault.cause)
    times = np.arange(fault.start - 60, fault.end, 5.0)
    healthy = Shop(3, START, first_fault_seconds=10**7).values(times)
    changed = {watched.thing(watched.series[n]) for n in np.flatnonzero((watched.values(times) != healthy).any(axis=0))}
    assert fault.cause in changed and changed <= {*reached, fault.loud}


def test_an_overloaded_database_slows_the_shop_and_not_the_other_way_round():
    watched = Shop(1, START)
    below = shop.Fault('overload', ('service', 'stock-db'), START, START + 900, None)
    assert {'stock', 'checkout', 'frontend'} <= {name for label, name in effects(watched, below) if label == 'service'}
    above = shop.Fault('slow_dependency', ('service', 'checkout'), START, START + 900, None)
    assert {name for label, name in effects(watched, above) if label == 'service'} == {'checkout', 'frontend'}


def test_each_hop_comes_later():
    watched = Shop(1, START)
    reached = effects(watched, shop.Fault('overload', ('service', 'stock-db'), START, START + 900, None))
    delays = [reached['service', name][1] for name in ('stock-db', 'stock', 'checkout', 'frontend')]
    sizes = [reached['service', name][0] for name in ('stock-db', 'stock', 'checkout', 'frontend')]
    assert delays == sorted(delays) and sizes == sorted(sizes, reverse=True) and len(set(delays)) == 4


def test_a_surge_travels_down_to_what_is_called():
    watched = Shop(1, START)
    surge = next(fault for fault in watched.faults(START, START + 6 * PERIOD) if fault.kind == 'surge')
    called = {'service', 'pod'}
    assert {label for label, _ in effects(watched, surge)} == called
    times = np.array([surge.start - 120, surge.end - 120])
    for service in CALLS[surge.cause[1]]:
        (column,) = columns(watched, ('service', service), 'service_requests_per_second')
        before, during = watched.values(times)[:, column]
        assert during > 1.5 * before
