"""What depends on what: edges are remembered, bounded, limited to where they are known from, and found again between any names."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promlstm.errors import CheckpointError
from promlstm.incidents.graph import CROWD, MOST_EDGES, MOST_PATHS, REMEMBERED_SECONDS, Graph

NOW = 1_750_000_000.0


def service(name):
    return ('service', str(name))


def chain(*names):
    """Edges of services that each call the next one."""
    return [(service(one), service(other)) for one, other in itertools.pairwise(names)]


def told(graph, names='abcdefgh'):
    """The edges between services as text."""
    return {f'{names[one]}{names[other]}' for one, other in graph.between([service(name) for name in names]).tolist()}


def test_an_edge_is_remembered_for_a_day_after_it_was_last_seen():
    """A fault takes edges with it; they count until a day later, and one that is seen again from then on."""
    graph = Graph().observed(NOW, chain('a', 'b', 'c'), 'calls').observed(NOW + 3600, chain('a', 'b'), 'calls').observed(NOW + 7200, [], 'calls')
    assert told(graph) == {'ab', 'bc'}
    later = graph.observed(NOW + REMEMBERED_SECONDS + 1, [], 'calls')
    assert told(later) == {'ab'} and told(graph) == {'ab', 'bc'}  # the graph of before is what it was
    assert told(later.observed(NOW + REMEMBERED_SECONDS + 3601, [], 'calls')) == set()
    assert told(graph.before(NOW + REMEMBERED_SECONDS + 1)) == {'ab'} and graph.before(NOW) is graph


def test_an_answer_from_before_takes_nothing_back():
    """Answers may come in any order: an edge was seen last when it was seen last."""
    graph = Graph().observed(NOW + 60, chain('a', 'b'), 'calls').observed(NOW, chain('a', 'b'), 'calls')
    assert graph.seen.tolist() == [NOW + 60]


def test_who_is_no_longer_asked_is_forgotten():
    """A query that was wrong leaves nothing behind; an edge that another one tells of too stays."""
    graph = Graph().observed(NOW, chain('a', 'b', 'c'), 'wrong').observed(NOW, chain('a', 'b'), 'right').observed(NOW, chain('d', 'd'), 'wrong')
    assert told(graph.only(['right'])) == {'ab'} and graph.messages and not graph.only(['right']).messages
    assert graph.only(['right', 'wrong', 'other']) is graph


def test_edges_are_of_their_own_cluster():
    """The same names stand for other things elsewhere; an edge without a cluster is of all, one with is of those that say nothing else."""
    eu, us = (('cluster', 'eu'),), (('cluster', 'us'),)
    graph = Graph().observed(NOW, [*chain('a', 'b'), *chain('b', 'c'), *chain('c', 'd')], 'calls', [eu, us, ()])
    names = [service(name) for name in 'abcd']
    assert graph.between(names, eu).tolist() == [[0, 1], [2, 3]]
    assert graph.between(names, (('cluster', 'us'), ('namespace', 'shop'))).tolist() == [[1, 2], [2, 3]]
    assert len(graph.between(names, (('namespace', 'shop'),))) == len(graph.between(names)) == 3
    assert graph.near(names, 1, (('cluster', 'asia'),)).tolist() == [[2, 3]]


def test_self_loops_and_nameless_ends_are_left_out():
    """With a message; an empty label value names nothing."""
    graph = Graph().observed(NOW, [*chain('a', 'a'), *chain('b', 'b'), (service(''), service('a')), (service('a'), service('')), *chain('a', 'b')], 'calls')
    assert told(graph) == {'ab'} and graph.messages == ('edges that lead to where they begin, left out: 2 (such as of service a)',)
    assert graph.observed(NOW, chain('a', 'b'), 'calls').messages == ()


def test_cycles_are_found_and_harm_nobody():
    """Of two that call each other, and of a longer round; what hangs on a cycle is in none."""
    graph = Graph().observed(NOW, [*chain('a', 'b', 'c', 'a'), *chain('c', 'd', 'e'), *chain('f', 'a')], 'calls')
    assert graph.cycles() == (3, [service('a'), service('b'), service('c')])
    assert told(graph) == {'ab', 'bc', 'ca', 'cd', 'de', 'fa'}
    assert Graph().observed(NOW, chain('a', 'b', 'c'), 'calls').cycles() == (0, [])


def test_a_path_through_somebody_else_is_an_edge():
    """One name in between, which is not asked for; two are too far, and who is asked for is no shortcut."""
    graph = Graph().observed(NOW, chain('a', 'b', 'c', 'd'), 'calls')
    assert graph.between([service('a'), service('c'), service('d')]).tolist() == [[0, 1], [1, 2]]
    assert graph.between([service('a'), service('d')]).tolist() == []
    assert graph.near([service('a'), service('d')]).tolist() == [] and graph.near([service('c'), service('a')]).tolist() == [[0, 1]]
    assert graph.between([service('x'), service('a')]).tolist() == graph.between([]).tolist() == Graph().near([service('a')]).tolist() == []


def _dependants(graph):
    names = list(graph.names)
    return {names[number] for number in graph.dependant.tolist()}


def test_no_more_edges_than_are_allowed():
    """Those seen last stay, and of those seen at once always the same, whatever their order."""
    many = [(('pod', f'{number:06}'), ('node', f'{number % 100}')) for number in range(MOST_EDGES + 10)]
    graph = Graph().observed(NOW, many, 'pods')
    assert len(graph) == MOST_EDGES and f'more than {MOST_EDGES}' in graph.messages[0]
    other = Graph().observed(NOW, many[::-1], 'pods')
    kept, same = (_dependants(one) for one in (graph, other))
    assert kept == same and len(kept) == MOST_EDGES and ('pod', f'{MOST_EDGES + 9:06}') not in kept
    newer = graph.observed(NOW + 60, chain('a', 'b'), 'calls')
    assert len(newer) == MOST_EDGES and told(newer) == {'ab'}
    days = newer
    for day in range(1, 4):  # names that no edge has any more go, too
        days = days.observed(NOW + day * 2 * REMEMBERED_SECONDS, chain(f'x{day}', f'y{day}'), 'calls')
    assert len(days) == 1 and len(days.names) == 2


def test_a_hub_is_no_clique():
    """Thousands on one node hang together without millions of pairs, and paths through the largest hubs alone are given up."""
    pods = [('pod', f'{number:04}') for number in range(5000)]
    graph = Graph().observed(NOW, [(pod, ('node', 'a')) for pod in pods], 'pods')
    pairs = graph.near(pods)
    assert pairs.tolist() == [[0, number] for number in range(1, 5000)]
    few = graph.near(pods[:CROWD])
    assert len(few) == CROWD * (CROWD - 1) // 2
    hub = [(pod, ('node', 'a')) for pod in pods[:2500]] + [(('node', 'a'), pod) for pod in pods[2500:]] + [*chain('a', 'b', 'c')]
    between = Graph().observed(NOW, hub, 'both').between([*pods, service('a'), service('c')])
    assert MOST_PATHS < 2500 * 2500 and between.tolist() == [[5000, 5001]]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=25), st.sets(st.integers(0, 7)))
@settings(deadline=None)
def test_pairs_are_those_of_a_plain_search(edges, asked):
    """Beside loops over sets: between, near and cycles, for any edges and any names asked for."""
    edges = {(one, other) for one, other in edges if one != other}
    graph = Graph().observed(NOW, [(service(one), service(other)) for one, other in edges], 'calls')
    asked = sorted(asked)
    after = {one: {other for by, other in edges if by == one} for one in range(8)}
    around = {one: after[one] | {by for by, other in edges if other == one} for one in range(8)}
    wanted = {(one, other) for one in asked for other in asked if one != other and (
        other in after[one] or any(other in after[middle] for middle in after[one] - set(asked)))}  # fmt: skip
    names = [service(one) for one in asked]
    assert {(asked[one], asked[other]) for one, other in graph.between(names).tolist()} == wanted
    close = {(one, other) for one in asked for other in asked if one < other and (other in around[one] or around[one] & around[other])}
    assert {(asked[one], asked[other]) for one, other in graph.near(names).tolist()} == close
    reach = {one: set(after[one]) for one in range(8)}
    for _ in range(8):
        reach = {one: reach[one] | {far for near in reach[one] for far in reach[near]} for one in range(8)}
    circular = {one for one in range(8) if one in reach[one]}
    between = {one for one in range(8) if reach[one] & circular and any(one in reach[other] for other in circular)}
    count, cycle = graph.cycles()
    assert count == len(circular | between)
    assert all(int(other[1]) in after[int(one[1])] for one, other in zip(cycle, [*cycle[1:], *cycle[:1]], strict=True))


def test_names_that_nobody_has():
    """Edges that lead to nothing known are told."""
    graph = Graph().observed(NOW, chain('a', 'b', 'c'), 'calls')
    assert graph.unknown([service('a'), service('b'), ('pod', 'c')]) == {service('c')}


def test_a_graph_survives_a_restart():
    """Its columns give the same graph again, which goes on as if nothing had been; text of all of UTF-8 included."""
    graph = Graph().observed(NOW, chain('a', 'b', 'ü"\n'), 'calls', [(), (('cluster', 'eu'),)]).observed(NOW, chain('a', 'b'), 'others')
    again = Graph.restored({name: column.copy() for name, column in graph.stored().items()})
    one, other = graph.observed(NOW + 1, chain('b', 'c'), 'calls'), again.observed(NOW + 1, chain('b', 'c'), 'calls')
    assert all(np.array_equal(column, other.stored()[name]) for name, column in one.stored().items())
    assert len(Graph.restored(Graph().stored())) == 0


def spoilt(name):
    """Stored columns with one fault."""
    columns = Graph().observed(NOW, chain('a', 'b', 'c'), 'calls').stored()
    column = columns[name].copy()
    if name == 'seen':
        column[0] = np.nan
    elif name == 'texts':
        column[0] = 0
    else:
        column[0] = 99
    return columns | {name: column}


@pytest.mark.parametrize('columns', [
    *[spoilt(name) for name in ('texts', 'dependant', 'dependency', 'scope', 'source', 'seen')],
    {**spoilt('seen'), 'seen': np.array([NOW])}, {name: column for name, column in spoilt('seen').items() if name != 'source'},
    {**spoilt('seen'), 'dependant': np.array([0.0, 1.0])},
])  # fmt: skip
def test_columns_that_are_no_graph_are_refused(columns):
    """With an error of the tree, not with an index that is out of range later."""
    with pytest.raises(CheckpointError, match='its graph'):
        Graph.restored(columns)


def test_hops_that_nobody_looks_at():
    """More than two is a mistake of the caller."""
    with pytest.raises(ValueError, match='3 hops'):
        Graph().near([], 3)
