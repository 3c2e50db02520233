"""Incidents: what begins close together and can reach each other is one, with an id that stays."""

from itertools import pairwise

import numpy as np
import pytest
from alarms import NOW, Fleet, identity, members_of, origin, table, verdicts
from hypothesis import given
from hypothesis import strategies as st

from promlstm.errors import CheckpointError
from promlstm.incidents import listing
from promlstm.incidents.graph import Graph
from promlstm.incidents.spans import identifier
from promlstm.incidents.table import MOST_INCIDENTS, MOST_MEMBERS
from promlstm.settings import RootCause

SHOP = {name: {'service': name} for name in ('shop', 'cart', 'db', 'ads')}
CALLS = [(('service', 'shop'), ('service', 'cart')), (('service', 'cart'), ('service', 'db'))]


def told(incidents, now):
    """All incidents as people read them."""
    view, rankings = incidents.view(now), listing.Rankings()
    return [listing.incident(view, key, rankings.of(view, key.number), view.active()) for key in listing.keys(view)]


def services(incident):
    """The names of the services in an incident."""
    return sorted({member.labels['service'] for member in incident.members})


def test_a_lone_alarm_is_an_incident_until_it_has_been_calm_for_long():
    """It is open through ten calm minutes, and then over, with the time of its last anomalous sample as its end."""
    incidents = table()
    fleet = Fleet(incidents, 'cpu', SHOP)
    for k in range(14):
        fleet.step(NOW + 60 * k, *(['db'] if k < 3 else []))
        (incident,) = told(incidents, NOW + 60 * k)
        assert incident.end == (None if k <= 12 else NOW + 120), k
        assert incident.anomalous == (k < 3)
    assert incident.start == NOW and incident.id.startswith('20250615-151000-')


def test_detectors_of_different_steps_feed_one_incident():
    """An alarm of a detector of five minutes joins that of a detector of one, which began four minutes earlier, by the label that they share."""
    incidents = table()
    fast, slow = Fleet(incidents, 'latency', SHOP), Fleet(incidents, 'memory', SHOP, step=300.0)
    slow.step(NOW)
    for k in range(1, 6):
        fast.step(NOW + 60 * k, 'cart')
    (before,) = told(incidents, NOW + 301)
    slow.step(NOW + 300, 'cart')
    (incident,) = told(incidents, NOW + 301)
    assert incident.id == before.id and incident.detectors == ['latency', 'memory'] and incident.entities == 2
    assert incident.start == NOW + 60


def test_what_nothing_connects_are_two_incidents_at_once():
    """No label and no edge in common: two incidents. With an edge between them, within two hops: one."""
    for edges, wanted in (([], [['ads'], ['shop']]), (CALLS, [['ads'], ['shop']]), ([*CALLS, (('service', 'ads'), ('service', 'cart'))], [['ads', 'shop']])):
        incidents = table()
        incidents.graph = Graph().observed(NOW - 60, edges, 'calls')
        Fleet(incidents, 'latency', SHOP).step(NOW, 'shop', 'ads')
        assert sorted(map(services, told(incidents, NOW))) == wanted


def test_values_of_within_labels_keep_apart():
    """The same service in two namespaces is two things, where the configuration says that nothing is compared across namespaces."""
    entities = {name: {'service': 'db', 'namespace': name} for name in 'ab'}
    for settings, count in (({}, 1), ({'within': ['namespace']}, 2)):
        incidents = table(**settings)
        Fleet(incidents, 'latency', entities).step(NOW, 'a', 'b')
        assert len(told(incidents, NOW)) == count
    assert {tuple(incident.within.items()) for incident in told(incidents, NOW)} == {(('namespace', 'a'),), (('namespace', 'b'),)}


def test_two_incidents_that_a_new_alarm_joins_become_the_older_one():
    """The cart links the shop and what is three calls further: what was two is one, under the older id, which also stays afterwards."""
    incidents = table()
    names = [('service', name) for name in ('shop', 'a', 'cart', 'b', 'db')]
    incidents.graph = Graph().observed(NOW - 60, pairwise(names), 'calls')
    fleet = Fleet(incidents, 'latency', SHOP).step(NOW, 'shop')
    (first,) = told(incidents, NOW)
    fleet.step(NOW + 60, 'shop', 'db')
    assert sorted(map(services, told(incidents, NOW + 60))) == [['db'], ['shop']]
    for k in (2, 3):
        fleet.step(NOW + 60 * k, 'shop', 'db', 'cart')
        (incident,) = told(incidents, NOW + 60 * k)
        assert incident.id == first.id and services(incident) == ['cart', 'db', 'shop'] and incident.start == NOW


def test_what_begins_after_the_window_is_another_incident():
    """A quarter of an hour and what is uncertain after the last alarm that joined, the incident takes no more, although it lasts."""
    for minutes, count in ((15, 1), (17, 1), (18, 2)):  # an onset may be 130 s earlier than its first sample
        incidents = table()
        fleet = Fleet(incidents, 'latency', {'a': {'service': 'db', 'pod': 'a'}, 'b': {'service': 'db', 'pod': 'b'}})
        for k in range(minutes):
            fleet.step(NOW + 60 * k, 'a')
        fleet.step(NOW + 60 * minutes, 'a', 'b')
        assert len(told(incidents, NOW + 60 * minutes)) == count, minutes


def test_an_entity_that_alarms_again_stays_one_member():
    """It returns, and alarms again within the incident: one member with the first onset, in the same incident."""
    incidents = table()
    fleet = Fleet(incidents, 'latency', SHOP)
    for k in range(12):
        fleet.step(NOW + 60 * k, 'db', *(['cart'] if k not in (4, 5, 6) else []), scores={'cart': 5.0} if k == 8 else {})
    found = {member.labels['service']: member for incident in told(incidents, NOW + 660) for member in incident.members}
    assert sum(incident.entities for incident in told(incidents, NOW + 660)) == 2
    assert found['cart'].onset == NOW and found['cart'].end is None and found['cart'].peak == 5 and found['cart'].score == 2


def test_an_alarm_after_the_incident_is_over_is_another_one():
    """Calm for more than ten minutes: the next alarm of the same entity has a new id, and the old one stays in the listing, closed."""
    incidents = table()
    fleet = Fleet(incidents, 'latency', SHOP)
    for k in range(40):
        fleet.step(NOW + 60 * k, *(['db'] if k < 2 or k > 30 else []))
    new, old = told(incidents, NOW + 60 * 39)
    assert (new.start, new.end, old.start, old.end) == (NOW + 60 * 31, None, NOW, NOW + 60)
    assert new.id != old.id


def test_the_same_alarm_goes_on_in_its_incident():
    """Where the engine counts a pause as part of one alarm, the incident goes on, too, even if it seemed over."""
    incidents = table()
    since = np.array([NOW])
    for minutes in (0, 25):
        incidents.observe(origin(), verdicts(NOW + 60 * minutes, [2.0], since), np.array([np.nan]), [identity(service='db')])
        for k in range(1, 15):
            incidents.observe(origin(), verdicts(NOW + 60 * (minutes + k), [0.1], since), np.array([np.nan]), [identity(service='db')])
    (incident,) = told(incidents, NOW + 60 * 39)
    assert incident.entities == 1 and incident.end == NOW + 60 * 25


def test_a_flood_is_one_incident():
    """Of 400 hosts that share nothing 20 are 20 incidents, 21 are one; the older id stays; where labels keep apart, one for each."""
    hosts = {str(number): {'instance': f'h{number}', 'zone': 'ab'[number % 2]} for number in range(400)}
    for settings, count in (({}, 1), ({'within': ['zone']}, 2)):
        incidents = table(**settings)
        fleet = Fleet(incidents, 'cpu', hosts)
        fleet.step(NOW, *map(str, range(20)))
        before = told(incidents, NOW)
        assert len(before) == 20
        fleet.step(NOW + 60, *map(str, range(22)))
        after = told(incidents, NOW + 60)
        assert sorted(each.entities for each in after) == [22 // count] * count
        assert {each.id for each in after} <= {each.id for each in before}


def test_what_comes_while_a_flood_lasts_joins_it():
    """Half a fleet at once, then more of it a few minutes later: still one."""
    incidents = table()
    fleet = Fleet(incidents, 'cpu', {str(number): {'instance': f'h{number}'} for number in range(400)})
    for k, count in enumerate((200, 200, 250, 390)):
        fleet.step(NOW + 60 * k, *map(str, range(count)))
    (incident,) = told(incidents, NOW + 180)
    assert incident.entities == 390 == incident.anomalous


def test_the_flood_of_one_detector_takes_no_alarm_of_another():
    """A detector that is always noisy is an incident of its own; what another sees joins it only by what they share, or where all together are a flood."""
    incidents = table()
    noisy = Fleet(incidents, 'noise', {str(number): {'instance': f'h{number}'} for number in range(60)})
    calm = Fleet(incidents, 'latency', {str(number): {'instance': f'c{number}'} for number in range(1000)} | {'same': {'instance': 'h1'}})
    calm.step(NOW)
    noisy.step(NOW, *map(str, range(30)))
    calm.step(NOW + 60, '5', 'same')
    noisy.step(NOW + 60, *map(str, range(40)))
    assert sorted((each.entities, each.detectors) for each in told(incidents, NOW + 60)) == [(1, ['latency']), (41, ['latency', 'noise'])]


def test_half_a_million_members_are_bounded():
    """They are one incident of the highest scores, as many as are kept; it is told, and it lets other incidents be once it is over."""
    count = 500_000
    incidents, nobody = table(), np.full(count, np.nan)
    identities = [b'{"instance":"%d"}' % number for number in range(count)]
    scores = 1 + np.arange(count, dtype=np.float32) / count
    for k in range(2):
        incidents.observe(origin(), verdicts(NOW + 60 * k, scores, np.full(count, NOW)), nobody, identities)
    (incident,) = told(incidents, NOW + 60)
    assert incident.entities == MOST_MEMBERS and len(incident.members) == 1000
    assert {member.labels['instance'] for member in incident.members} <= {str(number) for number in range(count - MOST_MEMBERS, count)}
    incidents.observe(origin(), verdicts(NOW + 3600, np.zeros(count), nobody), nobody, identities)
    incidents.observe(origin(), verdicts(NOW + 3660, np.r_[scores[:1] + 1, np.zeros(count - 1)], np.full(count, NOW + 3660)), nobody, identities)
    assert [each.entities for each in told(incidents, NOW + 3660)] == [1]


def test_old_incidents_leave():
    """No more than a thousand are kept, the newest; their members leave with them."""
    incidents = table()
    fleet = Fleet(incidents, 'cpu', SHOP)
    for k in range(MOST_INCIDENTS + 300):
        fleet.step(NOW + 7200 * k, 'db').step(NOW + 7200 * k + 3600)
    found = told(incidents, NOW + 7200 * k + 3600)
    assert 0.8 * MOST_INCIDENTS < len(found) <= MOST_INCIDENTS and found[0].start == NOW + 7200 * k
    assert len(incidents.view(NOW).members) == len(found)


def test_what_goes_missing_at_the_onset_is_a_member():
    """A database that vanishes a step before or after its caller alarms belongs to the incident, and may be its cause."""
    for gone, alarmed in ((0, 1), (1, 1), (2, 1)):
        incidents = table()
        incidents.graph = Graph().observed(NOW - 60, CALLS, 'calls')
        fleet = Fleet(incidents, 'latency', SHOP)
        for k in range(4):
            fleet.step(NOW + 60 * k, *(['cart'] if k >= alarmed else []), missing=['db'] if k >= gone else [])
        (incident,) = told(incidents, NOW + 180)
        assert services(incident) == ['cart', 'db'] and incident.anomalous == 2
        (lost,) = [member for member in incident.members if member.missing]
        assert lost.labels == {'service': 'db'} and lost.onset == NOW + 60 * gone and lost.end is None and lost.peak is None
        assert incident.cause[0].thing == 'service=db' and 'latency went missing' in incident.cause[0].reasons


def test_what_is_missing_alone_is_no_incident():
    """A rollout takes pods away, and nothing is anomalous: there is nothing to tell. Nor does what is missing keep an incident open."""
    incidents = table()
    fleet = Fleet(incidents, 'latency', SHOP)
    for k in range(3):
        fleet.step(NOW + 60 * k, missing=['db'])
    assert told(incidents, NOW + 120) == []
    for k in range(30):
        fleet.step(NOW + 180 + 60 * k, *(['db'] if k < 3 else []), missing=['cart', *(['db'] if k >= 3 else [])])
    (incident,) = told(incidents, NOW + 180 + 60 * 29)
    assert incident.end == NOW + 300 and [member.labels['service'] for member in incident.members if member.missing] == ['db']


def test_what_was_missing_long_before_is_not_blamed():
    """An entity that is missing for an hour is no part of what begins now, although it is known only since the exporter's start."""
    incidents = table()
    incidents.graph = Graph().observed(NOW - 60, CALLS, 'calls')
    names = [identity(service=name) for name in ('cart', 'db')]
    incidents.observe(origin(), verdicts(NOW, [2.0, 0.0], np.full(2, NOW), missing=[1]), np.array([np.nan, NOW - 3600]), names)
    (incident,) = told(incidents, NOW)
    assert services(incident) == ['cart']


def test_a_detector_that_fails_ends_nothing_at_once():
    """Its members are no longer told as anomalous, and its incident is open for an hour; then nothing is known of it, and it is over."""
    incidents = table()
    ill, well = Fleet(incidents, 'latency', SHOP), Fleet(incidents, 'memory', SHOP)
    for k in range(130):
        if k < 3:
            ill.step(NOW + 60 * k, 'db')
        well.step(NOW + 60 * k)
        (incident,) = told(incidents, NOW + 60 * k)
        assert incident.anomalous == (k < 4) and (incident.end is None) == (k < 62), k


def test_a_detector_that_is_removed_ends_its_incident():
    """Its alarms are over; the incident stays in the listing. Configured again under the same name, it begins anew."""
    incidents = table()
    fleet = Fleet(incidents, 'latency', SHOP).step(NOW, 'db').step(NOW + 60, 'db')
    incidents.forget('latency')
    (incident,) = told(incidents, NOW + 61)
    assert incident.end == NOW + 60 and incident.anomalous == 0
    fleet.step(NOW + 120, 'db')
    assert told(incidents, NOW + 121)[0].anomalous == 1


def test_steps_that_were_seen_before_change_nothing():
    """A detector that warms up once more replays its past."""
    incidents = table()
    fleet = Fleet(incidents, 'latency', SHOP)
    for k in range(20):
        fleet.step(NOW + 60 * k, *(['db'] if k > 17 else []))
    before = told(incidents, NOW + 1200)
    for k in range(20):
        fleet.step(NOW + 60 * k, 'cart', 'shop')
    assert told(incidents, NOW + 1200) == before


def test_detectors_that_replay_one_after_the_other_find_the_incidents_of_both():
    """The past of one detector after that of the other: the same incidents as in the order of time, closed ones among them."""
    def steps(fleet, name, offset):
        for k in range(120):
            yield fleet, NOW + 60 * k, [name] * (offset <= k < offset + 5 or 60 + offset <= k < 63 + offset)

    found = []
    for together in (False, True):
        incidents = table()
        entities = {'db': {'service': 'db'}}
        fleets = [Fleet(incidents, name, entities) for name in ('latency', 'memory')]
        both = [list(steps(fleet, 'db', offset)) for offset, fleet in enumerate(fleets)]
        for fleet, time, names in ([step for pair in zip(*both, strict=True) for step in pair] if together else both[0] + both[1]):
            fleet.step(time, *names)
        found.append([(each.start, each.end, each.detectors, each.entities) for each in told(incidents, NOW + 7200)])
    assert found[0] == found[1] == [(NOW + 3600, NOW + 3780, ['latency', 'memory'], 2), (NOW, NOW + 300, ['latency', 'memory'], 2)]


@pytest.mark.parametrize('back', [600, 86400])
def test_a_clock_that_is_set_back_loses_no_incident(back):
    """What was seen in a future that did not come was seen now; steps from there on count, and the id is the same."""
    incidents = table()
    fleet = Fleet(incidents, 'latency', SHOP).step(NOW, 'db').step(NOW + 60, 'db')
    (before,) = told(incidents, NOW + 60)
    now = NOW + 60 - back
    incidents.rewind('latency', now)
    (incident,) = told(incidents, now)
    assert incident.id == before.id and incident.end is None and incident.start == min(now, NOW)
    fleet.step(now + 60, 'db', 'cart')
    found = told(incidents, now + 60)
    assert before.id in {each.id for each in found} and sum(each.anomalous for each in found) == 2


@pytest.mark.parametrize('backwards', [False, True])
def test_replicas_give_the_same_id(backwards):
    """The detectors of an instant may come in any order: the id is that of the first member by time and name. Until all have come there is none."""
    incidents = table()
    fleets = [Fleet(incidents, name, SHOP) for name in ('latency', 'memory', 'errors')]
    for fleet in fleets:
        fleet.step(NOW)
    order = fleets[::-1] if backwards else fleets
    for fleet in order:
        assert told(incidents, NOW + 60) == []
        fleet.step(NOW + 60, 'db')
    (incident,) = told(incidents, NOW + 60)
    assert incident.id == identifier(NOW + 60, 'errors', identity(service='db'))


def test_an_id_does_not_wait_for_a_detector_that_fails():
    """One that makes no steps holds the id back until the others make their next."""
    incidents = table()
    fleets = [Fleet(incidents, name, SHOP).step(NOW) for name in ('latency', 'memory')]
    fleets[0].step(NOW + 60, 'db')
    assert told(incidents, NOW + 60) == []
    fleets[0].step(NOW + 120, 'db')
    assert len(told(incidents, NOW + 120)) == 1


def test_odd_labels():
    """Names and values beyond ASCII, quotes, empty sets, a label `incident`, labels that only look alike: each is itself."""
    entities = {
        'a': {'service': 'prüfung "x"\n'}, 'b': {'service': 'prüfung "x"\n', 'k8s.pod.name': 'ß'}, 'c': {}, 'd': {'incident': 'x', 'label_0': 'y'},
        'e': {'label_0': 'y'},
    }  # fmt: skip
    incidents = table(labels=['service', 'k8s.pod.name'])
    Fleet(incidents, 'cpu', entities).step(NOW, *entities)
    assert sorted(len(members) for members in members_of(incidents).values()) == [1, 1, 1, 2]
    things = {cause.thing for incident in told(incidents, NOW) for cause in incident.cause}
    assert {'incident=x, label_0=y', 'label_0=y', ''} < things


def test_an_exporter_that_tells_of_pods_links_none():
    """kube-state-metrics writes its own address into `instance` of every pod's series: that is nothing that the pods share."""
    entities = {name: {'pod': name, 'instance': 'ksm:8080'} for name in 'ab'}
    incidents = table()
    Fleet(incidents, 'restarts', entities).step(NOW, 'a', 'b')
    assert len(told(incidents, NOW)) == 2


def test_other_linking_labels_apply_to_what_is_there():
    """A changed configuration reads the labels of open members anew; incidents stay, and what comes joins by the new labels."""
    incidents = table()
    fleet = Fleet(incidents, 'cpu', {name: {'team': 'x', 'pod': name} for name in 'abc'}).step(NOW, 'a', 'b')
    before = {each.id for each in told(incidents, NOW)}
    incidents.use(RootCause(labels=('team',)))
    fleet.step(NOW + 60, 'a', 'b', 'c')
    (incident,) = told(incidents, NOW + 60)
    assert len(before) == 2 and incident.id == min(before) and incident.entities == 3


def test_a_restart_goes_on():
    """From its columns a table has the same incidents with ids, starts and members; the next step continues them."""
    incidents = table(within=['zone'])
    incidents.graph = Graph().observed(NOW - 60, CALLS, 'calls')
    fleet = Fleet(incidents, 'latency', {name: {**labels, 'zone': 'ä'} for name, labels in SHOP.items()}, views=('level',))
    fleet.step(NOW, 'db').step(NOW + 60, 'db', 'cart', missing=['shop'])
    record = incidents.record()
    again = table(within=['zone'])
    again.restore({name: column.copy() for name, column in record.columns().items()})
    assert record.time == NOW + 60 and len(record) == 3
    assert told(again, NOW + 60) == told(incidents, NOW + 60) != []
    for each in (incidents, again):
        fleet.incidents = each
        fleet.step(NOW + 120, 'db', 'cart', missing=['shop'])
    assert told(again, NOW + 120) == told(incidents, NOW + 120)
    assert told(again, NOW + 120)[0].entities == 3


def test_columns_that_are_none_are_refused():
    """Whatever is missing, shorter, of another type or out of range: an error that says so, and nothing has changed."""
    incidents = table()
    incidents.graph = Graph().observed(NOW - 60, CALLS, 'calls')
    Fleet(incidents, 'latency', SHOP).step(NOW, 'db', missing=['cart'])
    columns = incidents.record().columns()
    damaged = [{key: each for key, each in columns.items() if key != name} for name in columns]
    damaged += [columns | {name: column[:-1]} for name, column in columns.items()]
    damaged += [columns | {name: column.astype(np.complex64)} for name, column in columns.items() if name not in ('texts', 'graph.texts', 'members.identities')]
    damaged += [columns | {name: np.full_like(columns[name], value)} for name in ('members.detector', 'members.incident') for value in (77, -77)]
    damaged.append(columns | {'members.identities': np.full_like(columns['members.identities'], 34)})
    for each in damaged:
        subject = table()
        with pytest.raises(CheckpointError):
            subject.restore(each)
        assert len(subject) == 0 and len(subject.view(NOW).members) == 0


@given(
    schedule=st.lists(st.sets(st.sampled_from(sorted(SHOP))), min_size=1, max_size=40), order=st.permutations(sorted(SHOP)),
    edges=st.lists(st.tuples(st.sampled_from(sorted(SHOP)), st.sampled_from(sorted(SHOP))), max_size=4), calm=st.integers(0, 30),
)  # fmt: skip
def test_order_and_company_of_rows_do_not_matter(schedule, order, edges, calm):
    """The same alarms in other rows, among calm entities, are the same incidents with the same ids."""
    found = []
    for names, more in ((sorted(SHOP), 0), (order, calm)):
        incidents = table(window='3m')
        incidents.graph = Graph().observed(NOW - 60, [(('service', one), ('service', other)) for one, other in edges], 'calls')
        fleet = Fleet(incidents, 'cpu', {name: SHOP[name] for name in names} | {str(number): {'service': str(number)} for number in range(more)})
        for k, anomalous in enumerate(schedule):
            fleet.step(NOW + 120 * k, *anomalous)
        found.append((members_of(incidents), [(each.id, each.start, each.end) for each in told(incidents, NOW + 120 * len(schedule))]))
    assert found[0] == found[1]
