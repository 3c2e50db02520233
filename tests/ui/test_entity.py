"""The page of an entity, /api/v1/entity and /api/v1/history: whom a link means, what is said of it, and that none of it is believed to be more than text."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import msgspec
import numpy as np
import pytest
import yaml
from html_pages import read
from servers import wait_until
from standings import HOSTILE, NOW, Pages, identity, standing

from promlstm import arguments
from promlstm import config as configuration
from promlstm.demo.fleet import Fleet
from promlstm.demo.source import Source
from promlstm.engine import labels
from promlstm.ui import elsewhere, present, window
from promlstm.ui.subject import Subject

CONFIG = """
prometheus: {url: http://127.0.0.1:9}
alertmanager: {url: http://127.0.0.1:9}
detectors:
  - {name: traffic, expr: 'sum by (service) (rate(http_requests_total[5m]))'}
  - {name: disk, expr: node_filesystem_avail_bytes}
  - {name: odd, expr: 'up{job="<i>"}'}
  - {name: silent, expr: up}
"""
TRAFFIC = [
    identity(service='web', job='node'), identity(service='shop', job='node'), identity(service='shop', job='node', zone='a'),
    identity(service='calm', job='node'), identity(detector='x', service='web', job='node'),
]  # fmt: skip


def steps(detectors):
    return [
        standing(detectors['traffic'], TRAFFIC, [2.0, 1.5, 0.5, 0.25, 0.125], since=np.array([NOW - 300, NOW - 360, NOW, NOW, NOW])),
        standing(detectors['disk'], [identity(instance='a', job='node'), identity(instance='b', job='other')], [np.nan, 1.25], missing=[0], since=NOW - 86400),
        standing(detectors['odd'], [identity(text=text) for text in HOSTILE], np.full(len(HOSTILE), 1.5)),
    ]


@pytest.fixture(scope='module')
def pages():
    with Pages(CONFIG, steps) as running:
        yield running


def asked(detector, /, **entity):
    return urlencode({'detector': detector, 'entity': labels.selector(tuple(entity.items()))})


def api(pages, detector, /, path='entity', **entity):
    return pages.get(f'/api/v1/{path}?{asked(detector, **entity)}')


@pytest.mark.parametrize(
    ('given', 'means'),
    [
        ({'service': 'web', 'job': 'node'}, 0), ({'job': 'node', 'service': 'web'}, 0),
        ({'service': 'web', 'job': 'node', 'alertname': 'Hot', 'severity': 'warning'}, 0),
        ({'detector': 'traffic', 'service': 'web', 'job': 'node', 'promlstm_replica': 'one', 'cluster': 'eu'}, 0),
        ({'service': 'shop', 'job': 'node'}, 1), ({'service': 'shop', 'job': 'node', 'zone': 'a'}, 2), ({'service': 'shop', 'job': 'node', 'zone': 'b'}, 1),
        ({'detector': 'traffic', 'exported_detector': 'x', 'service': 'web', 'job': 'node'}, 4), ({'detector': 'x', 'service': 'web', 'job': 'node'}, 4),
    ],
)  # fmt: skip
def test_a_link_finds_the_entity_whose_labels_are_all_among_those_of_the_link(pages, given, means):
    """In any order, with what alerts and agents add, and under the names that our gauges have them."""
    got = api(pages, 'traffic', **given)
    assert got.status_code == 200 and got.json()['data']['labels'] == msgspec.json.decode(TRAFFIC[means])


@pytest.mark.parametrize('number', range(len(HOSTILE)))
def test_any_label_finds_its_entity_and_is_text_on_its_page(pages, number):
    text = HOSTILE[number]
    got = pages.get(f'/entity?{asked("odd", text=text)}')
    page = read(got.text)
    assert got.status_code == 200 and api(pages, 'odd', text=text).json()['data']['labels'] == {'text': text}
    assert all(each.attributes.get('src', '').startswith('static/') and not each.text for each in page.all('script')) and not page.all('img', src='x')
    assert text.split()[0] in page.text


def test_what_is_known_now_is_said_in_the_unit_of_the_metric(pages):
    found = api(pages, 'traffic', service='web', job='node').json()['data']
    (value,) = found['values']
    assert (found['state'], found['score'], found['since']) == ('anomalous', 2.0, NOW - 300)
    assert (value['observed'], value['expected'], value['lower'], value['upper'], value['unit']) == (10.0, 4.0, 2.0, 6.0, 'per second')
    text = read(pages.get(f'/entity?{asked("traffic", service="web", job="node")}').text).text
    assert '10/s, above the band (to 6/s); expected 4/s; rose to a higher level.' in text and 'for 5m' in text


def test_entities_that_share_labels_and_began_about_then_are_neighbours(pages):
    """What began yesterday is none, nor what shares no label."""
    found = api(pages, 'traffic', service='web', job='node').json()['data']['neighbours']
    assert [(each['detector'], each['labels'].get('service', each['labels'].get('instance'))) for each in found] == [('traffic', 'shop'), ('disk', 'a')]


def test_an_entity_that_is_gone_has_a_page_that_says_so(pages):
    """404 with what to do, and the labels that are its own."""
    got = pages.get(f'/entity?{asked("traffic", service="old", job="node", alertname="Hot")}')
    text = read(got.text).text
    assert got.status_code == 404 and 'traffic has no such entity now.' in text and 'alertname' not in text
    refused = api(pages, 'traffic', service='old', job='node')
    assert (refused.status_code, refused.json()['errorType']) == (404, 'not_found')


def test_a_detector_that_makes_no_steps_has_pages_that_say_so(pages):
    got = pages.get(f'/entity?{asked("silent", instance="a")}')
    assert got.status_code == 200 and 'silent does not score now' in read(got.text).text
    assert api(pages, 'silent', instance='a').json()['data']['state'] == 'unknown'


@pytest.mark.parametrize(
    ('query', 'status', 'why'),
    [
        ('detector=nobody&entity={}', 404, "no detector 'nobody'; detectors: traffic, disk, odd, silent"), ('', 404, 'detector: missing'),
        ('detector=traffic&entity={a=~"b"}', 400, 'each with ='), ('detector=traffic&entity=sum(up)', 400, 'expected labels such as'),
        ('detector=traffic&entity={service="web",job="node"}&range=6 hours', 400, 'expected a duration'),
        ('detector=traffic&entity={service="web",job="node"}&range=1y', 400, 'expected 1m to 35d'),
        ('detector=traffic&entity={service="web",job="node"}&end=yesterday', 400, 'expected unix seconds'),
    ],
)
@pytest.mark.parametrize('path', ['/entity', '/api/v1/history'])
def test_what_cannot_be_asked_for_is_refused_with_what_can(pages, path, query, status, why):
    got = pages.get(f'{path}?{quote(query, safe="=&")}')
    said = got.json()['error'] if path.startswith('/api') else read(got.text).text
    assert got.status_code == status and why in said


@pytest.mark.parametrize(
    'text', ['', '{}', '[[1]]', '[["traffic"]]', 'null', '[' * 1500, json.dumps([['traffic', '{a="b"}', '']] * 51), '[["traffic","sum(up)",""]]']
)
def test_a_list_of_entities_that_is_none_is_refused(pages, text):
    got = pages.get(f'/api/v1/history?{urlencode({"of": text})}')
    assert (got.status_code, got.json()['errorType']) == (400, 'bad_data')


def test_servers_that_are_gone_are_sentences_on_the_page(pages):
    """Prometheus and Alertmanager refuse the connection: the page is there, and says what it lacks."""
    got = pages.get(f'/entity?{asked("traffic", service="web", job="node")}')
    text = read(got.text).text
    assert got.status_code == 200 and 'prometheus did not answer, so history cannot be shown' in text and 'Silences are not shown' in text
    found = api(pages, 'traffic', path='history', service='web', job='node').json()['data']
    assert (found['origin'], len(found['notes'])) == ('none', 2)
    lines = pages.get(f'/api/v1/history?{urlencode({"of": json.dumps([["traffic", labels.selector(labels.pairs(TRAFFIC[0])), ""]])})}').json()['data']
    assert lines['series'][0]['observed'] == [] and 'prometheus did not answer' in lines['notes'][0]


def test_what_is_strange_now_is_marked_since_it_began_where_no_gauge_tells_of_it(pages):
    """An alarm and a missing entity, up to now; of a span that ended before it nothing is marked; a normal one has none."""
    past = lambda detector, end='', **entity: pages.get(  # noqa: E731
        f'/api/v1/history?{asked(detector, **entity)}&range=1h&end={end}'
    ).json()['data']
    ends = lambda runs: [(run['start'], run['end'], run['peak']) for run in runs]  # noqa: E731
    hot = past('traffic', service='web', job='node')
    assert ends(hot['alarms']) == [(NOW - 300, hot['end'], 2.0)] and hot['missing'] == []
    gone = past('disk', instance='a', job='node')
    assert ends(gone['missing']) == [(NOW - 120, gone['end'], None)] and gone['alarms'] == []
    assert past('traffic', end=str(NOW - 600), service='web', job='node')['alarms'] == [] == past('traffic', service='calm', job='node')['alarms']


def test_what_tells_an_entity_from_others_leads_its_heading_and_its_title(pages):
    """As in lists: what all share comes last, and is not in the title."""
    page = read(pages.get(f'/entity?{asked("traffic", service="calm", job="node")}').text)
    assert page.one('h1').text == 'service= calm job= node' and page.one('title').text == 'normal: service=calm · traffic · promlstm'


@pytest.mark.parametrize(('entity', 'offered'), [('web', True), ('calm', False)])
def test_of_what_is_strange_one_can_say_that_it_is_a_false_alarm(pages, entity, offered):
    links = [each.attributes['href'] for each in read(pages.get(f'/entity?{asked("traffic", service=entity, job="node")}').text).all('a')]
    assert len([each for each in links if each.startswith('feedback?detector=traffic&entity=')]) == offered


def test_a_prometheus_that_hangs_holds_up_no_other_page():
    """An entity's page comes without its past and says so; the first page does not wait for it, however many look at entities."""
    go = threading.Event()
    with Source(Fleet(1, NOW - 3600, hosts=2), lambda: NOW) as source:
        source.refuse = lambda asked: go.wait(60) and None
        with Pages(CONFIG.replace('http://127.0.0.1:9', source.url, 1), steps) as pages, ThreadPoolExecutor(12) as many:
            looking = [many.submit(api, pages, 'traffic', path='history', service='web', job='node', number=str(number)) for number in range(12)]
            wait_until(lambda: source.asked, 20, 'a query')
            assert pages.get('/').status_code == 200 and not any(each.done() for each in looking)
            go.set()
            assert {each.result().status_code for each in looking} == {200}
            go.clear()
            late = many.submit(pages.get, f'/entity?{asked("traffic", service="shop", job="node")}')
            assert 'The charts appear when Prometheus has answered' in read(late.result(60).text).text
            go.set()


def test_the_promql_to_copy_is_about_this_entity(pages):
    """The expression of its detector, our score, and a rule to begin with, each with a link to Prometheus."""
    found = api(pages, 'odd', text='a\'b"c\\d\ne').json()['data']
    expression, score, rule = (each['text'] for each in found['promql'])
    quoted = '"a\'b\\"c\\\\d\\ne"'
    assert expression == f'up{{job="<i>",text={quoted}}}'
    assert score == f'max without (promlstm_replica) (promlstm_anomaly_score{{detector="odd",text={quoted}}})'
    gauge = f'promlstm_anomaly_score{{detector="odd",text={quoted}}}'
    assert yaml.safe_load(rule)[0]['expr'] == f'max without (promlstm_replica) (max_over_time({gauge}[2m])) >= 1'
    assert found['promql'][0]['url'].startswith('http://127.0.0.1:9/graph?g0.expr=up%7Bjob')
    assert [each['title'] for each in found['links']] == ['Prometheus: observed', 'Prometheus: score', 'Alertmanager: alerts']


@pytest.mark.parametrize(
    ('kind', 'expr', 'shown'),
    [
        ('prometheus', 'node_load1', 'node_load1{job="a|b"}'),
        ('loki', 'sum by (job) (rate({env="x"}[5m]))', 'sum by (job) (rate({env="x"}[5m]))'),
    ],
)
def test_grafana_is_asked_for_what_its_data_source_understands(kind, expr, shown):
    """PromQL of the one entity, LogQL as it stands; the dashboard is narrowed to labels whatever divides a filter in Grafana."""
    text = f'sources: {{s: {{kind: {kind}, url: "http://s"}}}}\ndetectors: [{{name: d, source: s, expr: {json.dumps(expr)}}}]'
    config = configuration.parse(text)
    subject = Subject(config, config.detectors[0], (('job', 'a|b'),), ('job',))
    context = SimpleNamespace(in_force=lambda: (config, {}), grafana_url='http://g', runbook_url='')
    now = present.present(subject.detector, subject.entity, None, None)
    found = elsewhere.of(subject, (('detector', 'd'), *subject.entity), now, window.window(3600, None, NOW, 60), context)
    links = {each.title: parse_qs(urlsplit(each.url).query) for each in found.links}
    assert json.loads(links['Grafana: Explore']['panes'][0])['promlstm']['queries'] == [{'refId': 'A', 'expr': shown}]
    assert links['Grafana: dashboard']['var-filter'] == ['job|=|a__gfp__b'] and ('Prometheus: observed' in links) == (kind == 'prometheus')


@pytest.mark.parametrize('flag', ['--web.grafana-url', '--web.runbook-url'])
@pytest.mark.parametrize('url', ['javascript:alert(1)', 'grafana', 'https://me:secret@grafana', 'https://grafana?x=1', 'https://grafana#x', 'http://[', ''])
def test_an_address_that_no_link_should_have_is_a_usage_error(flag, url, capsys):
    commands = ('run', 'demo', 'presets', 'check-config', 'check-web-config', 'check-model', 'backtest')
    with pytest.raises(SystemExit):
        arguments.parse(['run', f'{flag}={url}'], dict.fromkeys(commands, print))
    assert 'expected http://HOST/PATH or https://HOST/PATH' in capsys.readouterr().err
