"""check-config says what each query for edges returns, what of it names entities, and what is wrong."""

import json
import time

import pytest
from wire import Wire

from promlstm import config as configuration
from promlstm.check import check
from promlstm.incidents import learnt

CALLS = {'expr': 'calls', 'from': 'client', 'to': 'server', 'label': 'service'}


def checked(answers, *edges, detectors=('up',), **root_cause):
    """(whether it can run, lines about edges) where the server answers expressions with these label sets, or refuses those with a text."""

    def script(peer, number):
        while request := peer.request():
            expr, now = request.form.get('query', ''), f'{time.time():.0f}'
            if 'status' in request.target:
                peer.answer(b'{"data":{"version":"3.1"}}')
            elif isinstance(series := answers.get(expr, [{'instance': 'a'}]), str):
                peer.answer(json.dumps({'status': 'error', 'errorType': 'bad_data', 'error': series}).encode(), 400)
            elif 'range' in request.target:
                peer.answer(json.dumps({'status': 'success', 'data': {'resultType': 'matrix', 'result': []}}).encode())
            else:
                result = [{'metric': labels, 'value': [float(now), '1']} for labels in series]
                peer.answer(json.dumps({'status': 'success', 'data': {'resultType': 'vector', 'result': result}}).encode())

    lines = []
    with Wire(script) as wire:
        tree = {
            'prometheus': {'url': wire.url}, 'root_cause': {'edges': edges, **root_cause},
            'detectors': [{'name': expr, 'expr': expr, 'model': 'builtin:forecaster'} for expr in detectors],
        }  # fmt: skip
        status = check(configuration.parse(json.dumps(tree)), online=True, say=lines.append)
    return status, [line for line in lines if 'edges:' in line or 'root_cause' in line]


SERVICES = [{'service': 'shop'}, {'service': 'cart'}]
EDGES = [{'client': 'shop', 'server': 'cart'}, {'client': 'cart', 'server': 'stock'}]


def test_what_a_query_returns():
    """How many edges, between how many names, and how many of these are entities'."""
    assert checked({'calls': EDGES, 'up': SERVICES}, CALLS) == (True, ['edges: client -> server: 2 between 3 names, of which 2 are names of entities'])


@pytest.mark.parametrize('answers, says', [
    ({'calls': []}, 'warning: root_cause: client -> server: no series'),
    ({'calls': [{'caller': 'a'}]}, 'warning: root_cause: client -> server: no series has the label client; there are caller'),
    ({'calls': [{}]}, 'warning: root_cause: client -> server: one number without labels, expected a series for each edge'),
    ({'calls': [*EDGES, {'client': 'a', 'server': 'a'}]},
     'warning: root_cause: client -> server: edges that lead to where they begin, left out: 1 (such as of service a)'),
    ({'calls': EDGES, 'up': [{'pod': 'a'}]},
     'warning: root_cause: client -> server: no entity has the label service, so these edges link none; `label` says which label of entities has these names'),
    ({'calls': EDGES, 'up': [{'service': 'Shop'}]},
     'warning: root_cause: client -> server: no entity has one of these names, such as service="cart", service="shop", service="stock", so these edges '
     'link none; `label` says which label of entities has these names'),
    ({'calls': [*EDGES, {'client': 'cart', 'server': 'shop'}], 'up': SERVICES},
     'note: root_cause: 2 names are in cycles, such as service="shop" -> service="cart" -> service="shop": edges alone do not tell which of them is to '
     'blame, the order of their alarms may'),
    ({'calls': EDGES, 'up': [{'service': 'shop', 'pod': str(number)} for number in range(12)]},
     'warning: root_cause: all 12 entities of up that have the label service have service="shop", so their alarms belong together: is it the exporter '
     'that is meant? Then aggregate the label away'),
])  # fmt: skip
def test_what_may_not_be_meant_is_told(answers, says):
    """And the exporter can run all the same, for incidents go on with what is left."""
    status, lines = checked({'up': SERVICES, **answers}, CALLS)
    assert status and says in lines


def test_an_expression_that_is_refused_is_an_error():
    """As one of a detector is; the others are asked."""
    status, lines = checked({'calls': 'unknown function', 'pods': [{'pod': 'a', 'node': 'x'}]}, CALLS, {'expr': 'pods', 'from': 'pod', 'to': 'node'})
    assert not status and any(line.startswith('edges: pod -> node: 1 between 2 names') for line in lines)
    (error,) = [line for line in lines if line.startswith('error')]
    assert error.startswith('error: root_cause: client -> server: ') and 'unknown function' in error


def test_nothing_is_said_where_nothing_is_configured():
    """Incidents without edges are the default."""
    assert checked({'up': SERVICES}) == (True, [])


def test_a_source_of_edges_alone_is_asked_by_somebody():
    """No warning that nobody asks it; where it is away, the edges are not asked for."""
    lines = []
    tree = {
        'prometheus': {'url': 'http://127.0.0.1:1'}, 'sources': {'traces': {'url': 'http://127.0.0.1:1'}},
        'root_cause': {'edges': [{**CALLS, 'source': 'traces'}]}, 'detectors': [{'name': 'up', 'expr': 'up'}],
    }  # fmt: skip
    assert check(configuration.parse(json.dumps(tree)), online=True, say=lines.append)
    assert not any('no detector uses it' in line for line in lines)


@pytest.mark.parametrize('labels, says', [
    (['service'], 'edges: graph_file: 1 between 2 names, of which 2 are names of entities'),
    (['pod'], 'error: root_cause: graph_file: {path}: its names are values of the label service, which links no entities: add it to root_cause.labels'),
])  # fmt: skip
def test_a_graph_of_history_is_read(tmp_path, labels, says):
    """And an error where it does not fit, as a model file that does not."""
    path = tmp_path / 'graph.json'
    edge = learnt.Edge(('service', 'shop'), ('service', 'cart'), {}, 0.5, 60.0)
    path.write_bytes(learnt.encoded(learnt.Learnt(
        format=1, promlstm='1', start=0.0, end=1.0, step_seconds=60.0, within=(), labels=('service',), detectors={}, names=2, edges=(edge,),
    )))  # fmt: skip
    status, lines = checked({'up': SERVICES}, graph_file=str(path), labels=labels)
    assert (status, says.format(path=path) in lines) == (says.startswith('edges'), True)
