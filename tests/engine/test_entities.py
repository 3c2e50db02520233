"""The table of entities: which entity has which row, whatever the answers look like."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import raw
from hypothesis import given
from hypothesis import strategies as st

from promlstm.engine import entities, labels
from promlstm.engine.entities import DAY, Entities
from promlstm.errors import ResponseError, SeriesError

HOSTS = [raw(instance=name, job='node') for name in 'abcdef']


def step(table, *answers):
    """One answer per feature, {raw: value}; returns {identity: values} after it was committed."""
    placement = table.place([list(answer) for answer in answers])
    frame = table.scatter(placement, [np.array(list(answer.values()), np.float64) for answer in answers])
    table.commit(placement, 0.0)
    return {identity: tuple(row) for identity, row in zip(table.identities, frame, strict=True)}


def test_new_entities_get_the_next_rows():
    """Known entities keep their rows; the row of an entity without a sample is NaN."""
    table = Entities()
    step(table, {HOSTS[0]: 1, HOSTS[1]: 2})
    placement = table.place([[HOSTS[2], HOSTS[1]]])
    assert (placement.arrivals, placement.rows[0].tolist()) == ([HOSTS[2]], [2, 1])
    np.testing.assert_array_equal(table.scatter(placement, [np.array([5.0, 4.0])]), [[np.nan], [4], [5]])


def test_names_and_empty_labels_do_not_matter():
    """A series keeps its row when its name or empty labels change."""
    table = Entities()
    step(table, {b'{"__name__":"up","instance":"a","zone":""}': 1})
    assert step(table, {b'{ "instance": "a" }': 2}) == {b'{"instance":"a"}': (2,)}


def test_features_are_joined_by_their_labels():
    """With by, series of several answers are one entity; a feature that an entity does not have is NaN."""
    table = Entities(features=2, by=('instance',))
    got = step(
        table, {raw(instance='a', device='sda'): 1, raw(instance='b'): 2}, {raw(instance='c', job='x'): 4, raw(instance='b', job='x'): 3}
    )
    np.testing.assert_array_equal(list(got.values()), [[1, np.nan], [2, 3], [np.nan, 4]])
    assert list(got) == [raw(instance=name) for name in 'abc']


ANSWERS = st.lists(st.permutations(HOSTS).flatmap(lambda hosts: st.integers(0, 6).map(lambda n: hosts[:n])), min_size=1, max_size=5)


@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_order_of_series_does_not_matter(answers, random):
    """In whatever order an answer comes, every entity gets its own sample."""
    one, other = Entities(), Entities()
    for number, keys in enumerate(answers):
        answer = {key: 10.0 * number + HOSTS.index(key) for key in keys}
        shuffled = dict(random.sample(list(answer.items()), len(answer)))
        a, b = step(one, answer), step(other, shuffled)
        assert {key: values for key, (values,) in a.items() if values == values} == answer
        assert {key: values for key, (values,) in b.items() if values == values} == answer
    assert len(one) == len(other) == len({key for keys in answers for key in keys})


@given(ANSWERS, ANSWERS)
def test_place_changes_nothing(past, future):
    """However often it is called before a commit, the same answer is placed the same way."""
    table, other = Entities(), Entities()
    for keys in past:
        step(table, dict.fromkeys(keys, 1.0))
        step(other, dict.fromkeys(keys, 1.0))
    for keys in future:
        table.place([keys])
    assert len(table) == len(other) and table.identities == other.identities
    for keys in (*past, *future):
        a, b = table.place([keys]), other.place([keys])
        assert (a.rows[0].tolist(), a.arrivals, a.aliases, a.dropped) == (b.rows[0].tolist(), b.arrivals, b.aliases, b.dropped)


# -- duplicates


def test_series_that_differ_only_in_their_name_are_rejected():
    """They would be the same entity; the message names both and the remedy."""
    one, other = b'{"__name__":"node_load1","instance":"a"}', b'{"__name__":"node_load5","instance":"a"}'
    with pytest.raises(SeriesError) as caught:
        Entities().place([[one, other]])
    assert str(caught.value) == (
        'two series would be the same entity {instance="a"}: {"__name__":"node_load1","instance":"a"} and '
        '{"__name__":"node_load5","instance":"a"}; aggregate the expression, such as `sum by (instance) (…)`, or keep the name in a label: '
        'label_replace(EXPR, "metric", "$1", "__name__", "(.+)")'
    )


def test_series_that_by_makes_equal_are_rejected():
    """With by the message says which labels to aggregate by."""
    answer = [raw(instance='a', device='sda'), raw(instance='b'), raw(instance='a', device='sdb')]
    with pytest.raises(SeriesError) as caught:
        Entities(features=2, by=('instance', 'zone')).place([[], answer])
    assert str(caught.value) == (
        'two series would be the same entity {instance="a"}: {"device":"sda","instance":"a"} and {"device":"sdb","instance":"a"}; '
        'aggregate it by (instance, zone), or add the label that tells them apart to `by`'
    )


def test_known_series_that_become_duplicates_are_rejected():
    """Two series of the same entity may follow each other, but not come together."""
    table = Entities(by=('instance',))
    one, other = raw(instance='a', pod='x'), raw(instance='a', pod='y')
    assert step(table, {one: 1}) and step(table, {other: 2}) == {raw(instance='a'): (2,)}
    with pytest.raises(SeriesError, match='two series would be the same entity'):
        table.place([[one, other]])
    assert step(table, {one: 3}) == {raw(instance='a'): (3,)}


BROKEN = [b'{"instance":"\xff\xfe"}', b'{"instance":null}', b'{"instance":"\\ud83d"}', b'{"instance":5}', b'[]', b'nonsense']


@pytest.mark.parametrize('broken', BROKEN)
def test_a_series_with_unreadable_labels_is_left_out_and_counted(broken):
    """One bad byte, a null or half a surrogate pair in a label costs that series its row, at every step, and the others nothing."""
    table = Entities()
    for _ in range(2):
        placement = table.place([[HOSTS[0], broken, HOSTS[1]]])
        assert (placement.rows[0].tolist(), placement.unread, placement.dropped) == ([0, -1, 1], 1, 0)
        table.commit(placement, 0.0)
    placement = table.place([[broken, HOSTS[1], HOSTS[0]]])
    assert (placement.rows[0].tolist(), placement.unread, table.identities) == ([-1, 1, 0], 1, HOSTS[:2])


def test_an_answer_of_unreadable_labels_only_is_an_error():
    """Where no series can be read the reason is told, and the table stays as it was."""
    table = Entities()
    step(table, {HOSTS[0]: 1})
    with pytest.raises(ResponseError, match='labels of a series are not a JSON object of strings'):
        table.place([BROKEN])
    assert table.identities == HOSTS[:1]


def test_series_without_labels_may_be_null():
    """Some servers write null for an empty label set."""
    assert Entities().place([[b'null']]).arrivals == [b'{}']


def test_entities_are_joined_by_any_label_name():
    """Names of OpenTelemetry and of Prometheus 3 with dots or beyond ASCII, and those that a scrape renamed."""
    by = ('exported_job', 'k8s.pod', 'größe')
    series = {'exported_job': 'a', 'größe': 'L', 'k8s.pod': 'p', 'k8s_pod': 'q', '__name__': 'x'}
    table = Entities(2, by)
    placement = table.place([[json.dumps(series).encode()], [json.dumps(series | {'k8s_pod': 'r', '__name__': 'y'}).encode()]])
    assert [dict(labels.pairs(identity)) for identity in placement.arrivals] == [{name: series[name] for name in by}]
    assert b'U__k8s_2e_pod="p"' in labels.text(labels.exported(labels.pairs(placement.arrivals[0]), {'detector'}))


# -- partial answers


def test_a_partial_answer_makes_nobody_absent():
    """Who is there is there; who lacks was absent before or is not known to be; a whole answer decides."""
    table = Entities()
    step(table, dict.fromkeys(HOSTS[:3], 1))
    here = np.array([True, False, True])
    table.mark_seen(here, 60.0)
    assert table.absent.tolist() == [False, True, False]
    table.mark_seen(np.array([False, False, True]), 120.0, partial=True)
    assert table.absent.tolist() == [False, True, False]
    table.mark_seen(np.array([False, True, False]), 180.0, partial=True)
    assert table.absent.tolist() == [False, False, False]
    table.mark_seen(np.array([False, True, True]), 240.0)
    assert table.absent.tolist() == [True, False, False]
    assert table.keep(np.array([2, 0])).absent.tolist() == [False, True]


# -- the limit


def test_entities_over_the_limit_are_dropped_and_counted():
    """The first ones get rows; the count is of entities."""
    table = Entities(limit=2)
    placement = table.place([HOSTS[:5]])
    assert (placement.rows[0].tolist(), placement.dropped) == ([0, 1, -1, -1, -1], 3)
    assert table.scatter(placement, [np.arange(5.0)]).ravel().tolist() == [0, 1]


def test_entities_over_the_limit_are_counted_at_every_step():
    """Also if the answer has the same series in the same order as before, which is not looked up again."""
    table = Entities(features=2, by=('instance',), limit=2)
    answers = [HOSTS[:4], HOSTS[1:5]]
    for _ in range(3):
        placement = table.place(answers)
        table.commit(placement, 0.0)
        assert placement.dropped == 3
    assert table.place([HOSTS[:2], HOSTS[1:2]]).dropped == 0


def test_forgotten_entities_make_room():
    """The limit is about the entities in the table, not about all that ever were."""
    table = Entities(limit=2)
    step(table, dict.fromkeys(HOSTS[:3], 1.0))
    kept = table.keep(np.array([1]))
    assert step(kept, {HOSTS[1]: 1.0, HOSTS[2]: 2.0}) == {HOSTS[1]: (1,), HOSTS[2]: (2,)}


def test_aliases_of_an_entity_are_bounded(monkeypatch):
    """Labels outside by change with every rollout: old label sets are dropped, and the rows stay."""
    monkeypatch.setattr(entities, 'SPARE_ALIASES', 10)
    table = Entities(by=('instance',))
    for version in range(200):
        got = step(table, {raw(instance='a', version=str(version)): version, raw(instance='b'): -1})
        assert got == {raw(instance='a'): (version,), raw(instance='b'): (-1,)}
    assert sum(map(len, table._index)) <= 2 * 2 + 10


# -- presence


def lived(*spans):
    """A table of entities that had samples from first to last, unix seconds."""
    table = Entities()
    step(table, dict.fromkeys(HOSTS[: len(spans)], 1.0))
    for row, (first, last) in enumerate(spans):
        present = np.arange(len(spans)) == row
        for time in (first, last):
            table.mark_seen(present, time)
    return table


def test_an_entity_is_established_after_a_day():
    """There must be a day or more between the first sample and the last."""
    assert lived((0, DAY - 1), (0, DAY), (DAY, 2 * DAY)).established().tolist() == [False, True, True]


def test_the_first_sample_stays_the_first():
    """An entity is known from its first sample to its last, whatever lies between."""
    table = lived((100, 200))
    table.mark_seen(np.array([False]), 300)
    table.mark_seen(np.array([True]), 400)
    assert (table.first_seen.tolist(), table.last_seen.tolist()) == ([100], [400])


@pytest.mark.parametrize(
    ('known', 'absent', 'forgotten'),
    [(0, 600, False), (0, 601, True), (3000, 3000, False), (3000, 3001, True), (30 * DAY, DAY, False), (30 * DAY, DAY + 1, True)],
)
def test_an_entity_is_forgotten_after_as_long_as_it_was_known(known, absent, forgotten):
    """But after ten minutes at the earliest, and after `forget` at the latest."""
    table = lived((1000, 1000 + known))
    assert table.forgettable(1000 + known + absent, forget_seconds=DAY).tolist() == [forgotten]


def test_an_entity_that_never_had_a_sample_is_forgotten_after_a_day():
    """A series of nothing but NaN gives no alert, and does not stay in the table for ever."""
    table = Entities()
    step(table, {HOSTS[0]: np.nan})
    assert (table.established().tolist(), table.forgettable(DAY - 1, DAY).tolist()) == ([False], [False])
    assert table.forgettable(DAY + 1, DAY).tolist() == [True]


@given(st.lists(st.integers(0, 5), unique=True, max_size=6))
def test_keep_renumbers_in_the_order_asked_for(rows):
    """The kept entities have their samples, times and aliases in their new rows; the others are new when they return."""
    table = lived(*((row, 10.0 * row + 1) for row in range(6)))
    kept = table.keep(np.array(rows, int))
    assert kept.identities == [HOSTS[row] for row in rows]
    assert kept.first_seen.tolist() == rows
    got = step(kept, {key: float(number) for number, key in enumerate(HOSTS)})
    assert list(got) == [HOSTS[row] for row in rows] + [HOSTS[row] for row in range(6) if row not in rows]
    assert got == {key: (number,) for number, key in enumerate(HOSTS)}
    assert len(table) == 6


def test_identities_are_those_of_labels():
    """labels.pairs can read what is in the table."""
    table = Entities()
    step(table, {b'{"job":"node","__name__":"up","instance":"a"}': 1})
    assert labels.pairs(table.identities[0]) == (('instance', 'a'), ('job', 'node'))


def test_when_a_missing_entity_was_lost():
    """At the first step without a sample, however much later that is asked; a part-time one when it should have been back."""
    table, both = Entities(), np.ones(2, bool)
    step(table, {HOSTS[0]: 1, HOSTS[1]: 2})
    for time in (0.0, 1.5 * DAY):
        table.mark_seen(both, time)
    for time in (1.5 * DAY + 60, 1.5 * DAY + 120):
        present = np.array([True, False])
        assert table.missing(present, time, partial=False).tolist() == [False, True]
        table.mark_seen(present, time)
    assert table.lost_since(60.0)[1] == 1.5 * DAY + 60
    table.presence = replace(table.presence, part_time=both, overdue=np.array([np.nan, 1.5 * DAY + 90]))
    assert table.lost_since(60.0)[1] == 1.5 * DAY + 90


def test_equal_labels_are_held_once():
    """Whatever the next answer has: labels that are in canonical form are no aliases, and an answer like the last one leaves its texts to be freed."""
    table, raws = Entities(), [b'{"a":"1"}', b'{"__name__":"up","a":"2"}']
    table.commit(table.place([raws]), 0.0)
    assert table._index == [{raws[1]: 1}] and table.identities[0] is raws[0]
    again = table.place([[bytes(bytearray(raw)) for raw in raws]])
    assert again.keys[0] is table._last[0][0] and again.rows[0].tolist() == [0, 1]
    other_order = table.place([raws[::-1]])
    assert other_order.rows[0].tolist() == [1, 0] and not other_order.arrivals and other_order.aliases == [{}]
