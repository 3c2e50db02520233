"""Edges are asked for again and again: what fails stays as it was known and is told once, and a changed configuration takes nothing else away."""

import json
import logging
import re
import threading
from types import SimpleNamespace

import pytest
import servers
from http_target import serving
from wire import Wire

from promlstm import config as configuration
from promlstm.incidents import learnt
from promlstm.incidents.graph import MOST_EDGES, REMEMBERED_SECONDS, Graph
from promlstm.live.clock import Clock
from promlstm.live.dependencies import Dependencies
from promlstm.query.sources import Sources
from promlstm.serve.telemetry import Telemetry

CALLS = {'expr': 'calls', 'from': 'client', 'to': 'server', 'label': 'service'}
PODS = {'expr': 'pods', 'from': 'pod', 'to': 'node'}
RECORDED = {path.stem: path.read_text() for path in sorted((servers.ROOT / 'tests/recorded/edges').glob('*.prom'))}


def vector(*series, kind='vector'):
    result = [{'metric': labels, 'value': [1e9, '1']} for labels in series] if kind == 'vector' else [1e9, '1']
    return json.dumps({'status': 'success', 'data': {'resultType': kind, 'result': result}}).encode()


def refusal(text):
    return json.dumps({'status': 'error', 'errorType': 'bad_data', 'error': text}).encode()


class Asked:
    """Dependencies of a configuration, with a server that answers by expression, and what was logged and counted."""

    def __init__(self):
        self.answers = {'calls': (200, vector({'client': 'shop', 'server': 'cart'})), 'pods': (200, vector({'pod': 'a', 'node': 'x'}))}
        self.holder, self.telemetry, self.clock = SimpleNamespace(graph=Graph()), Telemetry(process=False), Clock()
        self.subject, self.said = Dependencies(self.holder, self.telemetry, self.clock), []
        self.handler = SimpleNamespace(level=logging.DEBUG, handle=lambda record: self.said.append((record.levelname, record.msg, record.facts)))

    def script(self, peer, number):
        while request := peer.request():
            status, body = self.answers[request.form['query']]
            peer.answer(body.replace(b'1000000000.0', request.form['time'].encode()), status)

    def use(self, *edges, **others):
        tree = {'prometheus': {'url': self.wire.url}, 'root_cause': {'edges': list(edges), **others}, 'detectors': [{'name': 'x', 'expr': 'x'}]}
        config = configuration.parse(json.dumps(tree))
        self.subject.use(config, Sources(config.named_sources))

    def look(self, **answers):
        self.answers |= answers
        self.subject.look()

    @property
    def edges(self):
        names, graph = list(self.holder.graph.names), self.holder.graph
        pairs = zip(graph.dependant.tolist(), graph.dependency.tolist(), strict=True)
        return {f'{names[one][1]}>{names[other][1]}' for one, other in pairs}

    def number(self, name, edges=None):
        return self.telemetry.registry.get_sample_value(f'promlstm_dependency_{name}', {'edges': edges} if edges else {})


@pytest.fixture
def asked():
    subject = Asked()
    log = logging.getLogger('promlstm.dependencies')
    log.addHandler(subject.handler)
    log.setLevel(logging.INFO)
    with Wire(subject.script) as subject.wire:
        yield subject
        subject.clock.stopping.set()
    log.removeHandler(subject.handler)


def test_what_cannot_be_asked_stays_as_it_was_known(asked):
    """Each query by itself; a failure is counted each time, logged once, and so is its end."""
    asked.use(CALLS, PODS)
    asked.look()
    assert asked.edges == {'shop>cart', 'a>x'} and asked.said == []
    assert (asked.number('edges', 'client -> server'), asked.number('remembered_edges'), asked.number('failures_total', 'pod -> node')) == (1, 2, 0)
    success = asked.number('last_success_timestamp_seconds', 'client -> server')
    for _ in range(3):
        asked.look(calls=(400, refusal('no such function')), pods=(200, vector({'pod': 'b', 'node': 'x'})))
    assert asked.edges == {'shop>cart', 'a>x', 'b>x'}
    assert (asked.number('failures_total', 'client -> server'), asked.number('edges', 'pod -> node'), asked.number('remembered_edges')) == (3, 1, 3)
    assert asked.number('last_success_timestamp_seconds', 'client -> server') == success
    ((level, message, facts),) = asked.said
    assert (level, message) == ('WARNING', 'edges cannot be queried, known edges stay in use')
    assert facts['edges'] == 'client -> server' and 'no such function' in facts['err']
    asked.look(calls=(200, vector({'client': 'shop', 'server': 'cart'})))
    assert asked.said[-1][:2] == ('INFO', 'edges can be used again') and len(asked.said) == 2


@pytest.mark.parametrize('answer, says', [
    ((503, b'no'), 'answered 503'),
    ((200, b'<html>'), 'not a query result'),
    ((200, vector(kind='string')), 'gives a string, expected a vector'),
    ((200, vector(kind='scalar')), 'one number without labels'),
    ((200, vector()), 'no series'),
    ((200, vector({'from': 'a', 'server': 'b'})), 'no series has the label client; there are from, server'),
    ((200, vector({'client': 'a', 'server': 'a'})), 'edges that lead to where they begin, left out: 1 (such as of service a)'),
    ((200, vector({'client': '', 'server': 'a'}, {'client': 'a', 'server': 'b'})), 'no label client in 1 of 2 series'),
])  # fmt: skip
def test_every_odd_answer_is_told_and_harms_no_other(asked, answer, says):
    """In words, once; the edges of the other query are there."""
    asked.use(CALLS, PODS)
    asked.look(calls=answer)
    asked.look()
    ((_, _, facts),) = asked.said
    assert says in facts['err'] and 'a>x' in asked.edges


def test_the_same_oddness_of_more_series_is_no_news(asked):
    """A count in the text changes every minute; another label is news."""
    asked.use(CALLS)
    for count in (1, 2, 3):
        asked.look(calls=(200, vector({'client': 'a', 'server': 'b'}, *[{'client': str(number)} for number in range(count)])))
    asked.look(calls=(200, vector({'client': 'a', 'server': 'b'}, {'server': 'a'})))
    assert [facts['err'] for _, _, facts in asked.said] == ['no label server in 1 of 2 series', 'no label client in 1 of 2 series']


@pytest.mark.slow
def test_an_answer_of_more_edges_than_are_kept(asked):
    """As many as are kept are there, and a line says so; the edges of the other query are among them."""
    asked.use(CALLS, PODS)
    asked.look(calls=(200, vector(*({'client': f'c{number}', 'server': f's{number % 100}'} for number in range(MOST_EDGES + 10)))))
    asked.look(pods=(200, vector({'pod': 'b', 'node': 'x'})))
    assert asked.number('remembered_edges') == MOST_EDGES and 'b>x' in asked.edges
    assert asked.said[0][2]['err'] == f'{MOST_EDGES + 10} edges are more than {MOST_EDGES}: those seen last are kept; ask for fewer'


def test_the_same_answer_is_taken_in_once_in_ten_minutes(asked):
    """The graph stays the same one meanwhile, so nobody has to look at it again; another answer is taken in at once, and the time of success is told."""
    asked.use(CALLS)
    asked.look()
    first, begun = asked.holder.graph, asked.clock.now()
    asked.clock.now = lambda: begun + 300
    asked.look()
    assert asked.holder.graph is first and asked.number('last_success_timestamp_seconds', 'client -> server') == begun + 300
    asked.look(calls=(200, vector({'client': 'shop', 'server': 'stock'})))
    assert asked.edges == {'shop>cart', 'shop>stock'}
    second = asked.holder.graph
    asked.clock.now = lambda: begun + 1000
    asked.look()
    assert asked.holder.graph is not second and asked.holder.graph.seen.max() == begun + 1000


def test_a_changed_configuration_loses_nothing_else(asked):
    """The same query at another place keeps its edges, though the server has none any more; one that is gone leaves graph and page."""
    asked.use(CALLS, PODS)
    asked.look()
    asked.look(calls=(200, vector()))
    asked.use({**PODS, 'label': 'host'}, CALLS)
    assert asked.edges == {'shop>cart'} and asked.number('edges', 'pod -> node') == 1
    asked.use(CALLS)
    assert asked.edges == {'shop>cart'} and asked.number('edges', 'pod -> node') is None and asked.number('failures_total', 'pod -> node') is None
    asked.use()
    assert asked.edges == set() and asked.number('remembered_edges') == 0


def test_edges_of_a_restart_are_kept(asked):
    """What the holder knew from before counts as if nothing had been."""
    asked.use(CALLS)
    asked.look()
    before = asked.holder.graph.stored()
    asked.holder.graph = Graph.restored(before)
    asked.use(CALLS)
    asked.look(calls=(200, vector({'client': 'cart', 'server': 'stock'})))
    assert asked.edges == {'shop>cart', 'cart>stock'}


def test_edges_of_a_restart_that_nobody_tells_of_now_are_forgotten(asked):
    """The storage may be read after the configuration, and hold what an earlier one asked for; where nothing is asked, too."""
    asked.use(CALLS)
    asked.look()
    before = asked.holder.graph
    asked.use()
    asked.holder.graph = before
    asked.look()
    assert asked.edges == set() and asked.number('remembered_edges') == 0


def test_it_is_asked_every_interval_until_the_end(asked):
    """By the clock, which may run faster; a new configuration is asked at once, and an end is one, whatever the interval."""
    asked.clock.speed = 1000.0
    asked.use(CALLS, interval='1m')
    asked.subject.start()
    servers.wait_until(lambda: len(asked.wire.requests) >= 3, 20, 'a third question')
    asked.clock.speed = 1.0
    asked.use(PODS, interval='1h')
    servers.wait_until(lambda: 'a>x' in asked.edges, 20, 'the new question')
    (thread,) = [thread for thread in threading.enumerate() if thread.name == 'promlstm-dependencies']
    asked.clock.stopping.set()
    thread.join(20)
    assert not thread.is_alive()


def test_a_source_that_hangs_keeps_no_other_back(asked):
    """Its queries wait; those of another source are answered meanwhile, again and again, and it is asked once."""
    released = threading.Event()

    def hanging(peer, number):
        peer.request()
        released.wait(20)

    with Wire(hanging) as slow:
        tree = {
            'sources': {'slow': {'url': slow.url}, 'fast': {'url': asked.wire.url}},
            'root_cause': {'source': 'fast', 'interval': '1s', 'edges': [{**CALLS, 'source': 'slow'}, PODS]},
            'detectors': [{'name': 'x', 'expr': 'x', 'source': 'fast'}],
        }  # fmt: skip
        config = configuration.parse(json.dumps(tree))
        asked.subject.use(config, Sources(config.named_sources))
        asked.subject.start()
        servers.wait_until(lambda: len(asked.wire.requests) >= 3, 20, 'the fast one to be asked again')
        assert asked.edges == {'a>x'} and len(slow.requests) == 1
        released.set()


def test_a_day_later_what_was_not_seen_again_is_gone(asked):
    """By the clock of the exporter."""
    asked.use(CALLS, PODS)
    asked.look()
    now = asked.clock.now()
    asked.clock.now = lambda: now + REMEMBERED_SECONDS + 1
    asked.look(calls=(400, refusal('no')))
    assert asked.edges == {'a>x'}


def graph_of(*pairs, **keys):
    """The bytes of a learnt graph with these edges between services."""
    edges = tuple(learnt.Edge(('service', one), ('service', other), {}, 0.5, 60.0) for one, other in pairs)
    settings = {'within': (), 'labels': ('service',), 'detectors': {}, 'names': 2}
    return learnt.encoded(learnt.Learnt(format=1, promlstm='1', start=0.0, end=1.0, step_seconds=60.0, edges=edges, **settings | keys))


def test_edges_of_history_are_there_from_the_first_look_on(asked, tmp_path):
    """And do not grow old; a file that is replaced takes its edges along, and one that is damaged leaves what is known."""
    path = tmp_path / 'graph.json'
    path.write_bytes(graph_of(('shop', 'cart')))
    asked.use(PODS, graph_file=str(path), labels=['service'])
    asked.look()
    assert asked.edges == {'shop>cart', 'a>x'} and asked.number('edges', 'graph_file') == 1 and asked.number('failures_total', 'graph_file') == 0
    now = asked.clock.now()
    asked.clock.now = lambda: now + 2 * REMEMBERED_SECONDS
    asked.look()
    assert asked.edges == {'shop>cart', 'a>x'}
    success = asked.number('last_success_timestamp_seconds', 'graph_file')
    for damage in (b'', graph_of(('x', 'y'), within=('cluster',)), None):
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
        asked.look()
        assert asked.edges == {'shop>cart', 'a>x'}
    assert asked.number('failures_total', 'graph_file') == 3 and asked.number('last_success_timestamp_seconds', 'graph_file') == success
    assert [facts['edges'] for _, _, facts in asked.said] == ['graph_file'] * 3 and 'was learnt within cluster' in asked.said[1][2]['err']
    path.write_bytes(graph_of(('cart', 'stock')))
    asked.look()
    assert asked.edges == {'cart>stock', 'a>x'}
    asked.use(PODS)
    assert asked.edges == {'a>x'} and asked.number('edges', 'graph_file') is None


WANTED = {
    'tempo': {'shop>checkout', 'checkout>postgres', 'user>shop', 'mailer>checkout'},  # who reads messages suffers from who writes them
    'istio': {'productpage-v1>reviews-v1', 'reviews-v1>mongodb-v1'},
    'kubernetes': {
        'shop-7d9f-abcde>worker-1', 'db-0>worker-2', 'agent-x1>worker-2', 'shop>shop-7d9f-abcde', 'shop>shop-7d9f-fghij', 'db>db-0', 'agent>agent-x1',
    },
}  # fmt: skip


@pytest.mark.real
def test_presets_find_the_edges_of_what_is_documented(asked, tmp_path):
    """On a real Prometheus that scrapes pages as the documents have them, with labels of a cluster that nothing is compared across."""
    scrapes = 0

    def page():
        nonlocal scrapes
        scrapes += 1
        return re.sub(r'(?m)^(\w.*\s)(\d+)$', lambda match: f'{match[1]}{float(match[2]) * scrapes * 1000}', '\n'.join(RECORDED.values())).encode()

    assert sorted(WANTED) == sorted(RECORDED)
    with serving(page) as address:
        scrape = [{'job_name': 'edges', 'static_configs': [{'targets': [address], 'labels': {'cluster': 'eu'}}]}]
        with servers.Prometheus(tmp_path / 'prometheus', scrape) as prometheus:
            prometheus.wait_for('rate(istio_tcp_sent_bytes_total[5m]) > 0')
            for preset, wanted in WANTED.items():
                tree = {
                    'prometheus': {'url': prometheus.url}, 'root_cause': {'within': ['cluster', 'namespace'], 'edges': [{'preset': preset}]},
                    'detectors': [{'name': 'x', 'expr': 'x'}],
                }  # fmt: skip
                config = configuration.parse(json.dumps(tree))
                asked.subject.use(config, Sources(config.named_sources))
                asked.subject.look()
                assert asked.edges == wanted and asked.said == []
                assert {dict(scope)['cluster'] for scope in asked.holder.graph.scopes} == {'eu'}
                assert preset != 'kubernetes' or {dict(scope).get('namespace') for scope in asked.holder.graph.scopes} == {'prod'}
