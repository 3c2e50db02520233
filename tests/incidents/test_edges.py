"""Queries for edges and what their answers mean: names of labels, odd answers, presets."""

import json
import re
from typing import get_args, get_type_hints

import pytest

from promlstm import config as configuration
from promlstm.incidents import edges
from promlstm.incidents.edges import PRESETS, Query
from promlstm.settings import Edges, RootCause

CALLS = Query('client -> server', 'x', 'prometheus', 'client', 'server', (('service', 'service'),))


def queries(root_cause):
    """Of a configuration with two sources."""
    tree = {'prometheus': {'url': 'http://a'}, 'sources': {'b': {'url': 'http://b'}}, 'root_cause': root_cause, 'detectors': [{'name': 'x', 'expr': 'x'}]}
    return edges.queries(configuration.parse(json.dumps(tree)))


def found(*series, query=CALLS, within=()):
    return edges.found(query, [each if isinstance(each, bytes) else json.dumps(each).encode() for each in series], within)


def test_presets_are_those_that_the_configuration_takes():
    """Each name has queries, and each query names its two labels and has a place for those of `within`."""
    (choices, _) = get_args(get_type_hints(Edges)['preset'])
    assert sorted(PRESETS) == sorted(get_args(choices))
    for expr, dependant, dependency, _ in (query for several in PRESETS.values() for query in several):
        assert re.match(r'(sum|max) by \(%BY%, \w+, \w+\)', expr) and {dependant, dependency} <= set(re.findall(r'\w+', expr))


def test_labels_that_nothing_is_compared_across_are_asked_for():
    """Those of all of UTF-8 in quotes; without any, nothing is left of the place."""
    exprs = [query.expr for query in queries({'within': ['cluster', 'k8s.cluster'], 'edges': [{'preset': 'kubernetes'}]})]
    assert all(re.match(r'max by \(cluster, "k8s.cluster", \w+, \w+\)', expr) for expr in exprs) and len(exprs) == 4
    assert queries({'edges': [{'preset': 'kubernetes'}]})[0].expr == 'max by (pod, node) (kube_pod_info{node!=""})'


def test_queries_have_names_of_their_own_and_the_source_that_is_said():
    """Twice the same labels are counted; what makes a query the same after a reload is not its name."""
    one = {'expr': 'x', 'from': 'a', 'to': 'b'}
    got = queries({'source': 'b', 'edges': [one, one | {'source': 'prometheus'}, one | {'expr': 'y', 'label': 'c'}]})
    assert [(query.name, query.source, query.names) for query in got] == [
        ('a -> b (1)', 'b', (('a', 'b'),)), ('a -> b (2)', 'prometheus', (('a', 'b'),)), ('a -> b (3)', 'b', (('c', 'c'),)),
    ]  # fmt: skip
    assert len({query.identity for query in got}) == 3
    assert queries({'edges': [one]})[0].identity == queries({'edges': [{'preset': 'tempo'}, one]})[-1].identity


def test_workloads_have_the_names_that_entities_have():
    """A deployment is found by the label `deployment` and by the label `workload`."""
    query = queries({'edges': [{'preset': 'kubernetes'}]})[1]
    got = found({'deployment': 'shop', 'pod': 'shop-1', 'namespace': 'prod'}, query=query, within=('namespace',))
    assert got.edges == [(('deployment', 'shop'), ('pod', 'shop-1')), (('workload', 'shop'), ('pod', 'shop-1'))]
    assert got.within == [(('namespace', 'prod'),)] * 2 and got.odd == ()
    assert set(edges.linking(RootCause(labels=(), edges=(Edges(preset='istio', label='app'), Edges(preset='tempo'))))) == {'app', 'service'}


@pytest.mark.parametrize('series, odd', [
    ((), ('no series',)),
    (({},), ('one number without labels, expected a series for each edge',)),  # of a scalar, too
    (({'__name__': 'up'},), ('one number without labels, expected a series for each edge',)),
    (({'caller': 'a', 'server': 'b', '__name__': 'x'},) * 2, ('no series has the label client; there are caller, server',)),
    (({'client': 'a', 'server': 'b'}, {'client': '', 'server': 'b'}, {'server': 'b'}), ('no label client in 2 of 3 series',)),
    (({'client': 'a', 'server': 'b'}, {'client': 'a'}), ('no label server in 1 of 2 series',)),
    (({'client': 'a', 'server': 'b'}, b'{"client":7}', b'\xff'), ('2 series with unreadable labels',)),
])  # fmt: skip
def test_what_is_odd_is_told_and_costs_itself_alone(series, odd):
    """Labels that are not there, empty values, labels that cannot be read, a number instead of series."""
    got = found(*series)
    assert got.odd == odd
    good = [each for each in series if isinstance(each, dict) and each.get('client') and each.get('server')]
    assert len(got.edges) == len(got.within) == len(good)


def test_where_a_preset_has_nothing_of_a_kind_nothing_is_odd():
    """A cluster without a StatefulSet; without any pod something is."""
    pods, *others = queries({'edges': [{'preset': 'kubernetes'}]})
    assert found(query=pods).odd == ('no series',) and all(found(query=query).odd == () for query in others)
