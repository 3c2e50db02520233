"""The reasons for blaming a thing can be read, and say what the evidence says."""

import doctest

import numpy as np
from test_ranking import NOW, edges, evidence

from promlstm.incidents import kinds, words
from promlstm.incidents.ranking import rank

CALLS = edges((0, 2), (1, 2), (2, 3))


NAMES = ['shop', 'cart', 'api', 'database']


def told(rows, pairs, thing, series=None):
    things = 1 + max([*rows.thing.tolist(), *pairs.ravel().tolist()])
    return words.reasons(rows, rank(rows, things, pairs), pairs, thing, series, NAMES)


def test_doctests():
    assert doctest.testmod(words).failed == 0


def test_a_cause_is_told_by_its_series_its_lead_and_its_neighbours():
    rows = evidence((0, 1.5), (1, 1.6), (2, 2.4, {'onset': NOW - 180, 'kind': kinds.ERRORS}), (2, 1.2, {'onset': NOW - 120}))
    assert told(rows, CALLS, 2) == [
        'errors above what was expected, score 2.4',
        'latency above what was expected, score 1.2',
        'left its band 3 min before what depends on it',
        'shop and cart, which depend on it, are anomalous',
        'nothing that it depends on is anomalous',
    ]


def test_an_effect_is_told_as_one():
    rows = evidence((0, 1.5), (2, 2.0, {'onset': NOW + 120, 'direction': -1, 'kind': kinds.SUCCESS}), (3, 1.2))
    assert told(rows, CALLS, 2) == [
        'success rate below what was expected, score 2.0',
        'left its band 2 min after the first that depends on it',
        '1 of the 2 things that depend on it is anomalous: shop',
        'database, which it depends on, is anomalous',
    ]


def test_a_lead_that_is_less_than_what_is_known_of_the_onsets_says_so():
    rows = evidence((0, 1.5), (2, 2.0, {'onset': NOW - 60}), uncertainty=300)
    assert told(rows, edges((0, 2)), 2)[1] == 'left its band 60 s before what depends on it, too close to tell which was first'
    assert told(evidence((0, 1.5), (2, 2.0)), edges((0, 2)), 2)[1] == 'left its band at the same time as what depends on it'
    rows = evidence((0, 1.5), (2, 2.0, {'onset': NOW + 60}), uncertainty=300)
    assert told(rows, edges((0, 2)), 2)[1] == 'left its band 60 s after the first that depends on it, too close to tell which was first'


def test_without_a_graph_the_first_of_all_is_told():
    rows = evidence((0, 2, {'onset': NOW - 600}), (1, 2), (2, 2))
    assert told(rows, edges(), 0)[-1] == 'left its band 10 min before all others'
    assert told(rows, edges(), 1) == ['latency above what was expected, score 2.0']


def test_what_is_missing_leans_or_shows_nothing_is_told_so():
    rows = evidence((0, np.nan, {'missing': True}), (1, 0.7, {'direction': 0}))
    assert told(rows, edges(), 0, ['up of database', 'requests of shop'])[0] == 'up of database went missing'
    assert told(rows, edges(), 1, lambda number: f'series {number}') == ['series 1 not as expected, score 0.7, no alarm']
    assert told(rows, edges((0, 2)), 2)[0] == 'no series of it is anomalous'
    gone = evidence((0, 1.5), (2, np.nan, {'missing': True, 'onset': NOW - 600}))
    assert told(gone, edges((0, 2)), 2)[1] == 'went missing 10 min before what depends on it'


def test_what_more_traffic_reaches_is_no_evidence_against_where_it_arrives():
    rows = evidence((0, 2.0, {'kind': kinds.TRAFFIC}), (2, 1.5))
    assert told(rows, edges((0, 2)), 0)[-1] == 'api, which it depends on, is anomalous, and its traffic goes there'
    less = evidence((0, 2.0, {'kind': kinds.TRAFFIC, 'direction': -1}), (2, 1.5))
    assert told(less, edges((0, 2)), 0)[-1] == 'api, which it depends on, is anomalous'
