"""What the demo tells of incidents: those that spread, in the order of the steps, and once more when their cause is clear."""

import doctest
from itertools import permutations

import pytest
from alarms import NOW, Fleet

from promlstm.demo import spreading
from promlstm.demo.spreading import PATIENCE_SECONDS, Spreading
from promlstm.incidents.graph import Graph
from promlstm.settings import RootCause

STEP = 15.0
SHOP = {name: {'service': name} for name in ('shop', 'cart', 'database', 'backup')}
CALLS = [(('service', a), ('service', b)) for a, b in (('shop', 'cart'), ('cart', 'database'))]
RING = [*CALLS, (('service', 'database'), ('service', 'cart'))]


def watching(*detectors, edges=CALLS):
    """A table that knows these edges, and a fleet for each detector."""
    incidents = Spreading(RootCause(), detectors)
    incidents.graph = Graph().observed(NOW - 60, edges, 'calls')
    return incidents, [Fleet(incidents, name, SHOP, step=STEP) for name in detectors]


def said(told):
    return [(each.time - NOW, each.entities, each.cause.thing if each.cause else None) for each in told]


def test_doctests():
    assert doctest.testmod(spreading).failed == 0


def test_an_incident_is_told_of_when_it_spreads_and_the_newest_state_is_kept():
    """One strange service says nothing; when its caller is strange, too, there is an incident with the service to blame. Others are left out."""
    incidents, [latency] = watching('latency')
    latency.step(NOW, 'database', 'backup')
    assert incidents.told() == [] == incidents.latest()
    latency.step(NOW + 15, 'database', 'cart', 'backup')
    latency.step(NOW + 30, 'database', 'cart', 'shop')
    [told], [latest] = incidents.told(), incidents.latest()
    assert said([told, latest]) == [(15, 2, 'service=database'), (30, 3, 'service=database')]
    assert told.cause.probability >= spreading.CLEAR and told.blames(('service', 'database')) and not told.blames(('service', 'cart'))
    assert told.names == {('service', 'database'), ('service', 'cart')} and told.start == NOW
    assert 'left its band 15 s before what depends on it' in told.reasons
    assert latest.has((('service', 'cart'),), NOW + 15)
    assert not latest.has((('service', 'backup'),), NOW) and not latest.has((('service', 'cart'),), NOW - 900)


def test_a_cause_that_becomes_clear_is_told_of_once_more():
    """Two that call each other are slow at once: nobody can tell. When one has no way to blame the other any more, that is told, and then no more."""
    incidents, [latency] = watching('latency', edges=RING)
    latency.step(NOW, 'cart', 'database')
    incidents.graph = Graph().observed(NOW - 60, CALLS, 'calls')
    for step in range(1, 6):
        latency.step(NOW + 15 * step, 'cart', 'database', 'shop')
    first, clear = incidents.told()
    assert said([clear]) == [(15, 3, 'service=database')]
    assert first.time == NOW and first.cause.probability < spreading.CLEAR <= clear.cause.probability


@pytest.mark.parametrize('order', list(permutations(range(3))))
def test_the_order_in_which_threads_come_changes_nothing(order):
    """Each detector runs ahead of the others in turn: what is told, and when, is as if they had kept pace."""
    wanted, fleets = watching('errors', 'latency', 'pool')
    steps = [(fleet, NOW + STEP * k, names) for k, names in enumerate([(), ('database',), ('database', 'cart'), ('cart', 'shop')]) for fleet in (0, 1, 2)]
    for fleet, time, names in steps:
        fleets[fleet].step(time, *names)
    assert said(wanted.told()) == [(30, 6, 'service=database')]
    other, fleets = watching('errors', 'latency', 'pool')
    for fleet in order:
        for _, time, names in steps[::3]:
            fleets[fleet].step(time, *names)
    assert other.told() == wanted.told() and other.latest() == wanted.latest()


def test_a_detector_that_does_not_come_is_waited_for_a_minute():
    incidents, [latency, _] = watching('latency', 'pool')
    latency.step(NOW, 'database', 'cart')
    latency.step(NOW + PATIENCE_SECONDS - 1, 'database', 'cart')
    assert incidents.told() == []
    latency.step(NOW + PATIENCE_SECONDS, 'database', 'cart')
    assert said(incidents.told()) == [(0, 2, 'service=database')]
