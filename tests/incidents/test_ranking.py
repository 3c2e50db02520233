"""The cause is what explains the incident: deeper before shallower, earlier before later, related before loud; and odd input does no harm."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promlstm.incidents import kinds, ranking
from promlstm.incidents.ranking import Evidence, rank

NO_EDGES = np.empty((0, 2), np.int64)
NOW = 1_760_000_000.0


def evidence(*rows, uncertainty=90.0):
    """Evidence of rows (thing, score) or (thing, score, {what is not as usual}): latency above its band, all at once, calm before."""
    rows = [(*row, {})[:3] for row in rows]

    def column(name, usual, dtype):
        return np.array([more.get(name, usual) for _, _, more in rows], dtype)

    return Evidence(
        thing=np.array([thing for thing, _, _ in rows], np.int64), score=np.array([score for _, score, _ in rows], np.float32),
        onset=column('onset', NOW, float), uncertainty=column('uncertainty', uncertainty, float), direction=column('direction', 1, np.int8),
        kind=column('kind', kinds.LATENCY, np.int8), missing=column('missing', False, bool), before=column('before', 0.2, np.float32),
    )  # fmt: skip


def edges(*pairs):
    return np.array(pairs, np.int64).reshape(-1, 2)


def test_doctests():
    assert doctest.testmod(ranking).failed == 0


def test_the_deepest_of_a_chain_is_blamed():
    """Front calls middle calls database, and all three are slow since the same step."""
    found = rank(evidence((0, 2), (1, 2), (2, 2)), 3, edges((0, 1), (1, 2)))
    assert found.order.tolist() == [2, 1, 0] and found.cause[2] > 0.5


def test_what_two_callers_share_is_blamed():
    """And not one of the many other things that each of them calls."""
    found = rank(evidence((0, 2), (1, 2), (2, 2)), 6, edges((0, 2), (1, 2), (0, 3), (0, 4), (1, 5)))
    assert found.order[0] == 2 and found.explained[2] == pytest.approx(0.8)


def test_noise_below_the_cause_is_not_followed():
    """A callee that barely left its band explains less than the hop to it costs."""
    found = rank(evidence((0, 2.5), (1, 2.8), (2, 1.0, {'before': 0.9})), 3, edges((0, 1), (1, 2)))
    assert found.order[0] == 1


@pytest.mark.parametrize('target', [None, 0])
def test_something_unrelated_and_louder_in_the_same_minute_is_not_blamed(target):
    found = rank(evidence((0, 1.6), (1, 1.6), (2, 1.7), (3, 3.2)), 4, edges((0, 1), (1, 2)), target)
    assert found.order[0] == 2 and found.cause[2] > 3 * found.cause[3]


def test_a_thing_that_nobody_measures_can_be_suspected_but_not_with_confidence():
    """Three callers of a bank without series are slow."""
    found = rank(evidence((0, 2), (1, 2), (2, 2)), 4, edges((0, 3), (1, 3), (2, 3)))
    assert 0 < found.cause[3] < 0.8 and np.isnan(found.end[3])


def test_the_alert_that_is_looked_at_decides_between_two_chains():
    found = evidence((0, 2), (1, 2), (2, 2.2), (3, 2.2)), 4, edges((0, 1), (2, 3))
    assert rank(*found).order[0] == 3
    assert rank(*found, target=0).order[0] == 1


def test_what_is_like_the_alert_counts_more():
    """Of two callees of the alert's service, the one that fails, where the alert is about failures."""
    found = evidence((0, 1.5), (1, 2.0), (2, 1.6, {'kind': kinds.SUCCESS, 'direction': -1, 'before': 0.7})), 3, edges((0, 1), (0, 2)), 0
    assert rank(*found, alert=kinds.LATENCY).order[0] == 1
    assert rank(*found, alert=kinds.ERRORS).order[0] == 2


def test_who_began_surely_later_is_not_the_cause():
    """Without a graph the earlier of two is blamed, the more the surer it is; with the same onset, neither."""
    found = [rank(evidence((0, 2, {'onset': NOW + later}), (1, 2)), 2, NO_EDGES).cause for later in (0, 30, 60, 90, 600)]
    preference = [float(cause[1] / cause[0]) for cause in found]
    assert preference[0] == 1 and (np.diff(preference[:4]) > 0).all() and preference[4] == pytest.approx(preference[3])


def test_without_a_graph_a_resource_is_blamed_before_what_waits_for_it():
    rows = [(thing, 2.0) for thing in range(4)]
    found = rank(evidence(*rows, (4, 2.0, {'kind': kinds.SATURATION})), 5, NO_EDGES)
    assert found.order[0] == 4


def test_a_surge_of_traffic_is_blamed_on_where_it_arrives():
    """Who is called more calls more: the database below is busy, and is an effect."""
    traffic = {'kind': kinds.TRAFFIC}
    busy = {'kind': kinds.SATURATION}
    found = rank(evidence((0, 2.2, traffic), (1, 2.2, traffic), (2, 2.2, traffic), (2, 1.5, busy)), 3, edges((0, 1), (1, 2)))
    assert found.order[0] == 0
    drop = {'kind': kinds.TRAFFIC, 'direction': -1}
    found = rank(evidence((0, 2.2, drop), (1, 2.2, drop), (2, 2.2, busy)), 3, edges((0, 1), (1, 2)))
    assert found.order[0] == 2, 'less traffic makes nothing busy'


def test_what_changed_for_the_better_or_was_loud_already_says_little():
    better = evidence((0, 2), (1, 3, {'direction': -1}), (2, 3, {'kind': kinds.HEADROOM}))
    assert rank(better, 3, NO_EDGES).order[0] == 0
    assert rank(evidence((0, 2), (1, 3, {'before': 2.9})), 2, NO_EDGES).order[0] == 0
    assert rank(evidence((0, 2), (1, 3, {'uncertainty': 86400})), 2, NO_EDGES).order[0] == 0


def test_what_went_missing_may_be_the_cause():
    """Without a score."""
    found = rank(evidence((0, 1.8), (1, np.nan, {'missing': True, 'direction': 0})), 2, edges((0, 1)))
    assert found.order[0] == 1 and found.strength[1] > 0


def test_an_incident_of_one_and_of_none():
    alone = rank(evidence((0, 2)), 1, NO_EDGES)
    assert alone.order.tolist() == [0] and 0 < alone.cause[0] < 1
    nothing = rank(evidence(), 3, edges((0, 1)), target=2)
    assert nothing.order.tolist() == [0, 1, 2] and not nothing.strength.any() and not nothing.cause.any()
    assert rank(evidence(), 0, NO_EDGES).order.tolist() == []


def test_ties_are_in_the_order_of_the_things():
    found = rank(evidence((2, 2), (0, 2), (1, 2)), 3, NO_EDGES)
    assert len(set(found.cause.tolist())) == 1 and found.order.tolist() == [0, 1, 2]


def test_edges_that_name_nothing_do_no_harm():
    """Self-loops, repeated edges and numbers that are no thing."""
    rows = evidence((0, 2), (1, 2.2), (2, 2.4))
    plain = rank(rows, 3, edges((0, 1), (1, 2)))
    odd = rank(rows, 3, edges((0, 1), (1, 2), (1, 2), (2, 2), (0, 7), (-1, 0), (9, 9)))
    assert np.array_equal(plain.cause, odd.cause) and np.array_equal(plain.order, odd.order)
    assert np.array_equal(rank(rows, 3, edges((1, 1), (5, 0))).cause, rank(rows, 3, NO_EDGES).cause)
    assert np.array_equal(rank(rows, 3, edges((0, 1)), target=-1).cause, rank(rows, 3, edges((0, 1)), target=99).cause)


def test_a_cycle_shares_the_blame():
    found = rank(evidence((0, 2), (1, 2), (2, 2)), 3, edges((0, 1), (1, 2), (2, 0)))
    assert found.cause == pytest.approx(found.cause[0])


def test_a_hundred_thousand_edges_between_as_many_things():
    """A tree of calls, with the root and one way down to a leaf anomalous: the leaf is named, and the table of candidates stays bounded."""
    things = 100_000
    tree = np.stack([(np.arange(1, things) - 1) // 10, np.arange(1, things)], axis=1)
    way = [12_345]
    while way[-1]:
        way.append((way[-1] - 1) // 10)
    rows = evidence(*((thing, 2.0) for thing in way))
    assert len(way) > 4 and rank(rows, things, tree).order[0] == 12_345
    flood = evidence(*((thing, 2.0) for thing in range(0, things, 20)))
    found = rank(flood, things, tree)
    assert np.isfinite(found.cause).all() and np.count_nonzero(found.explained) <= ranking.FEWEST + 4


@st.composite
def incidents(draw):
    """Any evidence of up to 12 series of up to 6 things, and any edges."""
    many, things = draw(st.integers(0, 12)), draw(st.integers(1, 6))

    def column(values, dtype):
        return np.array(draw(st.lists(values, min_size=many, max_size=many)), dtype)

    finite = st.floats(0, 1e4, width=32)
    return Evidence(
        thing=column(st.integers(0, things - 1), np.int64), onset=NOW + column(st.floats(-1e6, 1e6), float),
        uncertainty=column(st.one_of(st.floats(0, 1e5), st.just(np.inf)), float), score=column(st.one_of(finite, st.just(np.nan)), np.float32),
        direction=column(st.integers(-1, 1), np.int8), kind=column(st.integers(0, 7), np.int8), missing=column(st.booleans(), bool),
        before=column(st.one_of(finite, st.just(np.nan)), np.float32),
    ), things, edges(*draw(st.lists(st.tuples(st.integers(-1, 7), st.integers(-1, 7)), max_size=12)))  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(incidents(), st.one_of(st.none(), st.integers(-1, 8)), st.randoms(use_true_random=False))
def test_probabilities_are_probabilities_and_the_order_of_series_is_nothing(incident, target, random):
    rows, things, pairs = incident
    found = rank(rows, things, pairs, target)
    assert sorted(found.order.tolist()) == list(range(things))
    assert (found.cause >= 0).all() and found.cause.sum() < 1 and (found.explained <= 1 + 1e-9).all()
    assert (np.diff(found.cause[found.order]) <= 0).all()
    shuffled = random.sample(range(len(rows.thing)), len(rows.thing))
    again = rank(Evidence(*(getattr(rows, name)[shuffled] for name in rows.__dataclass_fields__)), things, pairs[::-1], target)
    assert np.array_equal(found.cause, again.cause) and np.array_equal(found.order, again.order)
