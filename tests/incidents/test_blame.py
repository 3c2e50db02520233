"""What an incident's members say of its cause: through the graph, through the labels of one entity, and beside what leans."""

from alarms import NOW, Fleet, table

from promlstm.incidents import listing
from promlstm.incidents.blame import MOST_EVIDENCE
from promlstm.incidents.graph import Graph


def calls(*pairs, label='service', at=NOW - 60):
    """A graph of calls, such as 'shop cart'."""
    return Graph().observed(at, [tuple((label, name) for name in pair.split()) for pair in pairs], 'calls')


def causes(incidents, now):
    """{thing: probability} of the only incident, the likeliest first; and its Incident."""
    view, rankings = incidents.view(now), listing.Rankings()
    (key,) = listing.keys(view)
    found = listing.incident(view, key, rankings.of(view, key.number), view.active())
    return {cause.thing: cause.probability for cause in found.cause}, found


def pods(*services, each=1, **more):
    """Entities with service and pod, by the name of the pod."""
    return {f'{name}-{number}': {'service': name, 'pod': f'{name}-{number}', **more} for name in services for number in range(each)}


def test_what_all_suffer_from_is_blamed():
    """The database at the end of the calls, not the shop that is loudest: with a probability, reasons, and the labels of its entity."""
    incidents = table()
    incidents.graph = calls('shop cart', 'cart db')
    fleet = Fleet(incidents, 'latency', pods('shop', 'cart', 'db'))
    for k in range(4):
        fleet.step(NOW + 60 * k, *['db-0', 'cart-0', 'shop-0'][: k + 1], scores={'shop-0': 3.0} if k > 1 else {})
    found, incident = causes(incidents, NOW + 180)
    assert next(iter(found)) == 'pod=db-0' and found['pod=db-0'] > 0.5 and sum(found.values()) <= 1
    assert incident.cause[0].labels == {'service': 'db', 'pod': 'db-0'} and incident.cause[0].detector == 'latency'
    assert any('before' in reason for reason in incident.cause[0].reasons)


def test_several_pods_of_a_service_are_blamed_together():
    """All pods of the database at once: the service as a whole, without a detector of its own. One of them alone: that pod."""
    for ill, blamed in ((['db-0', 'db-1', 'db-2', 'db-3'], 'service=db'), (['db-2'], 'pod=db-2')):
        incidents = table()
        incidents.graph = calls('shop db', 'cart db')
        fleet = Fleet(incidents, 'latency', {**pods('db', each=4), **pods('shop', 'cart')})
        for k in range(3):
            fleet.step(NOW + 60 * k, *ill, *(['shop-0', 'cart-0'] if k else []))
        found, incident = causes(incidents, NOW + 120)
        assert next(iter(found)) == blamed, found
        assert incident.cause[0].detector == (None if 'service' in blamed else 'latency')
        assert incident.cause[0].labels == ({'service': 'db'} if 'service' in blamed else {'service': 'db', 'pod': 'db-2'})


def test_pods_suffer_from_the_node_that_their_labels_name():
    """The node's own series began first: it is blamed for the pods of two services that run on it and share nothing else."""
    incidents = table()
    incidents.graph = Graph().observed(NOW - 60, [(('pod', f'{name}-0'), ('node', 'n1')) for name in ('a', 'b', 'c')], 'pods')
    services = Fleet(incidents, 'latency', pods('a', 'b', 'c', node='n1'))
    nodes = Fleet(incidents, 'node_cpu', {'n1': {'node': 'n1', 'instance': 'n1:9100'}})
    for k in range(3):
        nodes.step(NOW + 60 * k, 'n1')
        services.step(NOW + 60 * k, *(['a-0', 'b-0', 'c-0'] if k else []))
    found, _ = causes(incidents, NOW + 120)
    assert next(iter(found)) == 'node=n1' and found['node=n1'] > 0.5


def test_what_has_no_series_may_be_blamed():
    """Three pods of one node that no detector watches: the node is named, by what the graph says of it, though without certainty."""
    incidents = table()
    incidents.graph = Graph().observed(NOW - 60, [(('pod', f'{name}-0'), ('node', 'n1')) for name in ('a', 'b', 'c')], 'pods')
    Fleet(incidents, 'latency', pods('a', 'b', 'c')).step(NOW, 'a-0', 'b-0', 'c-0')
    _, incident = causes(incidents, NOW)
    (node,) = [cause for cause in incident.cause if cause.thing == 'node=n1']
    assert node.detector is None and node.labels == {'node': 'n1'} and 0 < node.probability < 0.8
    assert node.reasons[0] == 'no series of it is anomalous'


def test_edges_are_those_from_before_the_onset():
    """The call has vanished with the fault; an edge that was last seen two days before does not count."""
    for age_seconds, blamed in ((3600, True), (3 * 86400, False)):
        incidents = table(labels=['service', 'team'])
        incidents.graph = calls('shop db', at=NOW - age_seconds)
        fleet = Fleet(incidents, 'latency', {name: {'service': name, 'team': 'x'} for name in ('shop', 'db')})
        fleet.step(NOW, 'shop').step(NOW + 60, 'shop', 'db')
        incidents.graph = incidents.graph.observed(NOW + 120, [], 'calls') if blamed else incidents.graph
        _, incident = causes(incidents, NOW + 60)
        told = ' '.join(reason for cause in incident.cause for reason in cause.reasons)
        assert ('depend' in told) == blamed


def test_without_a_graph_what_began_first_is_ahead():
    """Nothing is known of what depends on what: the order decides, and nobody is sure."""
    incidents = table()
    fleet = Fleet(incidents, 'latency', pods('shop', each=3), uncertainty=60.0)
    fleet.step(NOW, 'shop-1').step(NOW + 180, 'shop-1', 'shop-0').step(NOW + 360, 'shop-0', 'shop-1', 'shop-2')
    found, _ = causes(incidents, NOW + 360)
    assert next(iter(found)) == 'pod=shop-1' and found['pod=shop-1'] < 0.8


def test_what_leans_is_a_clue():
    """A database whose score rose below the alarm, just before its callers alarmed, is named, and told as no alarm; far from the incident it is not."""
    incidents = table()
    incidents.graph = calls('shop db', 'cart db')
    fleet = Fleet(incidents, 'errors', {name: {'service': name} for name in ('shop', 'cart', 'db', 'far')})
    fleet.step(NOW - 60).step(NOW, scores={'db': 0.9, 'far': 0.9})
    fleet.step(NOW + 60, 'shop', 'cart', scores={'db': 0.95, 'far': 0.9})
    found, incident = causes(incidents, NOW + 60)
    assert 'service=db' in found and 'service=far' not in found
    (database,) = [cause for cause in incident.cause if cause.thing == 'service=db']
    assert database.detector == 'errors' and ', no alarm' in database.reasons[0]
    assert {member.labels['service'] for member in incident.members} == {'shop', 'cart'}


def test_a_flood_is_ranked_from_a_part_of_it():
    """Thousands of members: those that began first are looked at, and their graph."""
    incidents = table()
    incidents.graph = calls(*(f's{number} db' for number in range(3000)))
    fleet = Fleet(incidents, 'latency', {str(number): {'service': f's{number}'} for number in range(3000)} | {'db': {'service': 'db'}})
    fleet.step(NOW, 'db').step(NOW + 60, 'db', *map(str, range(3000)))
    view = incidents.view(NOW + 60)
    (key,) = listing.keys(view)
    found = listing.Rankings().of(view, key.number)
    assert len(found.evidence.thing) <= MOST_EVIDENCE
    assert listing.causes(found)[0].thing == 'service=db'


def test_a_ranking_is_made_once_for_each_change():
    """The same members give the same object; a new one, or another graph, gives another."""
    incidents = table()
    fleet = Fleet(incidents, 'latency', pods('db', each=2)).step(NOW, 'db-0')
    rankings = listing.Rankings()
    first = rankings.of(incidents.view(NOW), 0)
    assert rankings.of(incidents.view(NOW + 5), 0) is first
    fleet.step(NOW + 60, 'db-0', 'db-1')
    second = rankings.of(incidents.view(NOW + 60), 0)
    assert second is not first and len(second.who) == 2
    incidents.graph = calls('shop db')
    assert rankings.of(incidents.view(NOW + 60), 0) is not second
