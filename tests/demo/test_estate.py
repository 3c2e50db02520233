"""The demo's estate is the fleet and a shop beside it: neither changes the other, and the service graph is there to be asked for."""

import numpy as np
import pytest

from promlstm import config
from promlstm.demo import estate, fleet, run, shop
from promlstm.demo.source import Source
from promlstm.incidents import edges
from promlstm.query.prometheus import Prometheus

BEGIN = run.BEGIN


@pytest.fixture(scope='module')
def watched():
    return run.estate(1)


def columns(watched, metric):
    return [i for i, series in enumerate(watched.series) if series.metric == metric]


def test_values_are_those_of_the_fleet_and_of_the_shop_in_whatever_way_they_are_asked_for(watched):
    times = BEGIN + np.array([-86400.0, 0, 100, 260, 400, 1200])
    whole = watched.values(times)
    assert np.array_equal(whole[:, : len(watched.fleet.series)], watched.fleet.values(times))
    assert np.isfinite(whole).all() and whole.shape == (6, len(watched.series))
    for i in range(len(watched.series)):
        assert np.array_equal(watched.value(i, times[3:4]), whole[3:4, i])
    latency = columns(watched, 'service_latency_seconds')
    assert [watched.series[i].labels for i in latency] == [{'namespace': 'shop', 'service': name} for name in estate.CALLS]


def test_faults_of_both_come_in_the_order_of_time_and_all_of_them_stay_what_they_are(watched):
    found = watched.faults(BEGIN, BEGIN + 1500)
    assert [fault.start for fault in found] == sorted(fault.start for fault in found)
    assert [fault for fault in found if isinstance(fault, fleet.Fault)] == list(watched.fleet.faults(BEGIN, BEGIN + 1500))
    assert [fault.kind for fault in found if isinstance(fault, shop.Fault)] == ['overload', 'slow_dependency']
    assert all(fault.cause[1] in estate.CAUSES for fault in found if isinstance(fault, shop.Fault))
    for fault in found:
        assert fault in watched.faults(fault.end - 1, fault.end) and fault not in watched.faults(fault.end, fault.end + 1)


def test_a_fault_of_the_shop_changes_what_it_affects_until_its_end_and_nothing_else(watched):
    """So an alarm is explained as long as the trouble lasts, and an alarm of anything else is false."""
    healthy = estate.Estate(
        fleet.Fleet(1, BEGIN, first_fault_seconds=1e9), shop.Shop(1, BEGIN, calls=estate.CALLS, first_fault_seconds=1e9)
    )  # fmt: skip
    faults = [fault for fault in watched.faults(BEGIN, BEGIN + 1500) if isinstance(fault, shop.Fault)]
    assert [fault.loud for fault in faults] == [None, ('service', 'backup')]
    for fault in faults:
        changed = set()
        for i in columns(watched, 'service_latency_seconds'):
            series, times = watched.series[i], np.arange(fault.start - 60, fault.end + 120, 5.0)
            differs = watched.value(i, times) != healthy.value(i, times)
            assert not differs[(times < fault.start) | (times >= fault.end)].any()
            assert watched.affects(fault, series.metric, series.labels) == differs.any()
            changed |= {series.labels['service']} if differs.any() else set()
        assert len(changed) >= 4 and 'frontend' in changed and ('backup' in changed) == (fault.loud is not None)
        assert not watched.affects(fault, 'web_latency_seconds', {'service': 'shop'})
        assert not watched.affects(fault, 'service_latency_seconds', {'instance': 'shop:8080'})


def test_the_edges_of_the_configuration_are_the_calls_of_the_shop(watched):
    """The query for edges that the demo runs with, asked of its source, tells who calls whom, within the namespace of the shop."""
    with Source(watched, lambda: BEGIN) as source:
        settings = config.parse(run.CONFIG.format(url=source.url, model=run.MODEL))
        [query] = edges.queries(settings)
        found = edges.found(query, Prometheus(settings.prometheus).instant(query.expr, BEGIN).keys, settings.root_cause.within)
    assert found.odd == ()
    assert set(found.edges) == {(('service', client), ('service', server)) for client, called in estate.CALLS.items() for server in called}
    assert set(found.within) == {(('namespace', 'shop'),)}


def test_the_counters_of_calls_rise(watched):
    for i in columns(watched, estate.GRAPH):
        assert (np.diff(watched.value(i, BEGIN + 15.0 * np.arange(100))) > 0).all()
