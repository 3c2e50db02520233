"""The example for Alertmanager on the real amtool and a real Alertmanager: who is told, who is not, and with which words."""

import html
import json
import re
import subprocess
import sys
import urllib.parse
from contextlib import contextmanager

import http_target
import pytest
import servers
import yaml
from rule_files import ALERTS

FOLDER = servers.ROOT / 'rules/alertmanager'
CONFIG = yaml.safe_load((FOLDER / 'alertmanager.yml').read_text())
NAMES = {rule['alert'] for rule in ALERTS}


robot = servers.module(FOLDER / 'robot.py')


@pytest.mark.real
def test_amtool_accepts_the_example():
    """As it is, its templates included."""
    assert '1 templates' in servers.amtool('check-config', FOLDER / 'alertmanager.yml').stdout


@pytest.mark.real
@pytest.mark.parametrize('rule', ALERTS, ids=lambda rule: f'{rule["alert"]}-{rule["labels"]["severity"]}')
def test_every_alert_reaches_who_is_meant(rule):
    """Its owners what is wrong with promlstm, the pager what is critical, the chat the rest."""
    labels = {'alertname': rule['alert'], 'severity': rule['labels']['severity'], 'promlstm_scope': rule['labels']['promlstm_scope']}
    receiver = 'owners' if labels['promlstm_scope'] == 'exporter' else {'critical': 'pager', 'warning': 'chat'}[labels['severity']]
    told = (f'{name}={value}' for name, value in labels.items())
    servers.amtool('config', 'routes', 'test', f'--config.file={FOLDER / "alertmanager.yml"}', f'--verify.receivers={receiver}', *told)


@pytest.mark.real
def test_alerts_of_others_are_left_to_the_routes_of_others():
    """An alert that is not ours falls through to the root."""
    told = servers.amtool(
        'config', 'routes', 'test', f'--config.file={FOLDER / "alertmanager.yml"}', 'alertname=HighLoad', 'severity=critical'
    )
    assert told.stdout.strip() == 'chat'


def test_inhibition_names_only_alerts_that_exist():
    """Each name in a matcher is an alert of the rules."""
    matchers = [matcher for rule in CONFIG['inhibit_rules'] for matcher in rule['source_matchers'] + rule['target_matchers']]
    named = {name for matcher in matchers if matcher.startswith('alertname') for name in re.findall(r'\w+', matcher.partition('"')[2])}
    assert named >= {'PromlstmDown', 'PromlstmAnomaly'} and named <= {*NAMES, 'Promlstm'}


def alert(name, severity='critical', **labels):
    """An alert of the rules, as Prometheus would send it."""
    rule = next(rule for rule in ALERTS if rule['alert'] == name)
    labels = {'alertname': name, 'severity': severity, 'promlstm_scope': rule['labels']['promlstm_scope'], **labels}
    return {'labels': labels, 'annotations': {'summary': f'{name} of {labels}'}}


ENTITY = {'detector': 'cpu', 'instance': 'a', 'job': 'node', 'promlstm_entity': 'instance=a, job=node'}
OTHER = {**ENTITY, 'instance': 'b', 'promlstm_entity': 'instance=b, job=node'}
SAME_INSTANCE = {**ENTITY, 'device': 'x', 'promlstm_entity': 'device=x, instance=a, job=node'}
LOAD = {**ENTITY, 'detector': 'node_load'}
NOWHERE = {'detector': 'lag', 'topic': 'a', 'promlstm_entity': 'topic=a'}
NOWHERE_ELSE = {'detector': 'lag', 'topic': 'b', 'promlstm_entity': 'topic=b'}
INHIBITIONS = [
    (alert('PromlstmDown', 'warning'), alert('PromlstmAnomaly', **ENTITY), True),
    (alert('PromlstmDown', 'warning'), alert('PromlstmReplicaDown', 'warning', instance='p', job='promlstm'), True),
    (alert('PromlstmDetectorNotScoring', 'warning', detector='cpu'), alert('PromlstmEntityMissing', 'warning', **ENTITY), True),
    (alert('PromlstmDetectorNotScoring', 'warning', detector='disk'), alert('PromlstmAnomaly', **ENTITY), False),
    (alert('PromlstmModelLoadFailed', 'warning', detector='cpu'), alert('PromlstmDetectorNotScoring', 'warning', detector='cpu'), True),
    (alert('PromlstmDetectorSilent', detector='cpu'), alert('PromlstmEntitiesMissing', detector='cpu'), True),
    (alert('PromlstmEntitiesMissing', detector='cpu'), alert('PromlstmAnomalyInDetector', detector='cpu'), True),
    (alert('PromlstmEntityMissing', 'warning', **ENTITY), alert('PromlstmAnomaly', **ENTITY), True),
    (alert('PromlstmInstanceMissing', job='node', instance='a'), alert('PromlstmEntityMissing', 'warning', **SAME_INSTANCE), True),
    (alert('PromlstmInstanceMissing', job='node', instance='a'), alert('PromlstmEntityMissing', 'warning', **OTHER), False),
    (alert('PromlstmInstanceMissing', job='node', instance='a'), alert('PromlstmIncident', incident='i'), False),
    (alert('PromlstmInstanceMissing', job='mq', instance='a'), alert('PromlstmAnomaly', detector='connections', job='mq'), True),
    (alert('PromlstmInstanceMissing', job='mq', instance='a'), alert('PromlstmAnomaly', **OTHER), False),
    (alert('PromlstmInstanceMissing', instance='a'), alert('PromlstmAnomaly', **NOWHERE), False),
    (alert('PromlstmJobMissing', job='node'), alert('PromlstmInstanceMissing', job='node', instance='a'), True),
    (alert('PromlstmJobMissing', job='shop'), alert('PromlstmEntityMissing', 'warning', detector='cpu', promlstm_entity='all'), False),
    (alert('PromlstmEntityMissing', 'warning', **ENTITY), alert('PromlstmAnomaly', **SAME_INSTANCE), False),
    (alert('PromlstmIncident', incident='i'), alert('PromlstmAnomaly', 'warning', incident='i', **ENTITY), True),
    (alert('PromlstmIncident', incident='i'), alert('PromlstmAnomaly', incident='i', **NOWHERE), True),
    (alert('PromlstmIncident', incident='i'), alert('PromlstmAnomaly', 'warning', incident='j', **ENTITY), False),
    (alert('PromlstmIncident', incident='i'), alert('PromlstmAnomaly', 'warning', **ENTITY), False),
    (alert('PromlstmIncident', incident='i'), alert('PromlstmIncident', incident='j'), False),
    (alert('PromlstmIncident', incident='i'), alert('PromlstmEntityMissing', 'warning', **ENTITY), False),
    (alert('PromlstmDown', 'warning'), alert('PromlstmIncident', incident='i'), True),
    (alert('PromlstmLimitNear', **ENTITY), alert('PromlstmLimitNear', 'warning', **ENTITY), True),
    (alert('PromlstmLimitNear', **ENTITY), alert('PromlstmLimitNear', 'warning', **OTHER), False),
    (alert('PromlstmLimitNear', **ENTITY), alert('PromlstmAnomaly', 'warning', **ENTITY), False),
    (alert('PromlstmServerFailureRisk', 'warning', host='a'), alert('PromlstmHardwareSign', 'warning', host='a', part='sda'), True),
    (alert('PromlstmServerFailureRisk', 'warning', host='a'), alert('PromlstmHardwareSign', 'warning', host='b', part='sda'), False),
    (alert('PromlstmServerFailureRisk', 'warning', host='a'), alert('PromlstmHardwareSign', 'warning', host='a', cluster='x', part='sda'), False),
    (alert('PromlstmAnomalyInJob', job='node'), alert('PromlstmAnomaly', 'warning', incident='i', **ENTITY), True),
    (alert('PromlstmAnomalyInJob', job='shop'), alert('PromlstmAnomaly', detector='cpu', promlstm_entity='all'), False),
    (alert('PromlstmAnomalyInDetector', detector='cpu'), alert('PromlstmAnomaly', **ENTITY), True),
    (alert('PromlstmAnomaly', **ENTITY), alert('PromlstmAnomaly', 'warning', **ENTITY), True),
    (alert('PromlstmAnomaly', **ENTITY), alert('PromlstmAnomaly', 'warning', **SAME_INSTANCE), True),
    (alert('PromlstmAnomaly', **ENTITY), alert('PromlstmAnomaly', 'warning', **OTHER), False),
    (alert('PromlstmAnomaly', **ENTITY), alert('PromlstmAnomaly', **SAME_INSTANCE), False),
    (alert('PromlstmAnomaly', **NOWHERE), alert('PromlstmAnomaly', 'warning', **NOWHERE_ELSE), False),
    (alert('PromlstmAnomaly', **ENTITY), alert('PromlstmEntityMissing', 'warning', **ENTITY), False),
    (alert('PromlstmAnomaly', 'warning', **{**ENTITY, 'detector': 'node_cpu'}), alert('PromlstmAnomaly', 'warning', **LOAD), True),
    (alert('PromlstmAnomaly', 'warning', **{**ENTITY, 'detector': 'node_cpu'}), alert('PromlstmAnomaly', **LOAD), False),
]


@pytest.fixture(scope='module')
def alertmanager(tmp_path_factory):
    """A real one with the example's inhibition, telling nobody."""
    quiet = {'inhibit_rules': CONFIG['inhibit_rules'], 'route': {'receiver': 'nobody'}, 'receivers': [{'name': 'nobody'}]}
    with servers.Alertmanager(tmp_path_factory.mktemp('alertmanager'), quiet) as server:
        yield server


@pytest.mark.real
@pytest.mark.parametrize(
    'case', range(len(INHIBITIONS)), ids=lambda case: '-'.join(INHIBITIONS[case][side]['labels']['alertname'] for side in (0, 1))
)
def test_the_wider_inhibits_the_narrower_and_nothing_else(alertmanager, case):
    """A real Alertmanager suppresses the second alert while the first one fires, where it should, and leaves it where not."""
    source, target, inhibited = INHIBITIONS[case]
    # The cases share one Alertmanager: a value of its own in what has to be equal keeps each to itself; PromlstmDown has none, so it ends.
    ours = [mine(source, case), mine(target, case)]
    try:
        for one in ours:  # the first is known before the second is looked at
            post(alertmanager, [one])
            servers.wait_until(lambda one=one: status(alertmanager, one), 60, 'the alert to be looked at')
        if inhibited:  # what inhibits is learnt beside the alerts
            servers.wait_until(lambda: status(alertmanager, ours[1])['state'] == 'suppressed', 60, 'the alert to be suppressed')
        else:
            assert status(alertmanager, ours[1])['state'] == 'active'
    finally:
        post(alertmanager, [{**one, 'endsAt': '2020-01-01T00:00:00Z', 'startsAt': '2019-01-01T00:00:00Z'} for one in ours])
        servers.wait_until(lambda: not any(status(alertmanager, one) for one in ours), 60, 'the alerts to be over')


def mine(alert, case):
    matchers = [matcher for rule in CONFIG['inhibit_rules'] for matcher in rule['source_matchers'] + rule['target_matchers']]
    named = {name for matcher in matchers if matcher.startswith('detector') for name in re.findall(r'\w+', matcher.partition('"')[2])}
    labels = {
        name: f'{value} {case}' if name in ('detector', 'job', 'instance', 'incident', 'promlstm_entity', 'host') and value not in named else value
        for name, value in alert['labels'].items()
    }
    return {**alert, 'labels': labels}


def post(alertmanager, alerts):
    servers.http.post(alertmanager.url + '/api/v2/alerts', json=alerts, timeout=10).raise_for_status()


def status(alertmanager, alert):
    """The status of an alert, once Alertmanager has routed it."""
    return next(
        (
            held['status']
            for held in alertmanager.alerts()
            if held['labels'] == alert['labels'] and held['status']['state'] != 'unprocessed'
        ),
        None,
    )


@pytest.mark.real
def test_an_incident_is_one_message_to_each_who_is_told(tmp_path):
    """Its page and what single detectors told before are in one group, whoever sends them, and another incident is in another."""
    config = {**CONFIG, 'templates': [], 'inhibit_rules': [], 'receivers': [{'name': receiver['name']} for receiver in CONFIG['receivers']]}
    told = [
        alert('PromlstmIncident', incident='i'),
        alert('PromlstmAnomaly', incident='i', **ENTITY),
        alert('PromlstmAnomaly', incident='i', **NOWHERE),
        alert('PromlstmAnomaly', 'warning', incident='i', **OTHER),
        alert('PromlstmIncident', incident='j'),
        alert('PromlstmAnomaly', 'warning', **ENTITY),
    ]
    with servers.Alertmanager(tmp_path, config) as server:
        for prometheus in ('http://one', 'http://other'):
            post(server, [{**one, 'generatorURL': f'{prometheus}/graph'} for one in told])
        groups = servers.wait_until(lambda: grouped(server, len(told)), 30, 'the alerts to be grouped')
    assert groups == {
        ('pager', 'incident=i'): ['PromlstmAnomaly', 'PromlstmAnomaly', 'PromlstmIncident'],
        ('chat', 'incident=i'): ['PromlstmAnomaly'],
        ('pager', 'incident=j'): ['PromlstmIncident'],
        ('chat', 'job=node'): ['PromlstmAnomaly'],
    }


def grouped(server, count):
    """{(receiver, labels of the group): names of its alerts} once all alerts are in one."""
    groups = servers.http.get(server.url + '/api/v2/alerts/groups', timeout=10).json()
    found = {
        (group['receiver']['name'], ', '.join(f'{name}={value}' for name, value in sorted(group['labels'].items()))): sorted(
            one['labels']['alertname'] for one in group['alerts']
        )
        for group in groups
    }
    return found if sum(map(len, found.values())) == count else None


MESSAGE = {
    'status': 'firing', 'receiver': 'chat', 'groupLabels': {'job': 'node'}, 'commonLabels': {'severity': 'critical'}, 'commonAnnotations': {},
    'externalURL': 'http://alertmanager:9093',
    'alerts': [
        {
            'status': 'firing', 'startsAt': '2026-03-03T10:00:00Z', 'endsAt': '0001-01-01T00:00:00Z', 'fingerprint': 'a',
            'generatorURL': 'http://prometheus:9090/graph?g0.expr=x&g0.tab=1',
            'labels': {'alertname': 'PromlstmAnomaly', 'severity': 'critical', 'detector': 'cpu', 'instance': 'web-3:9100'},
            'annotations': {
                'summary': 'cpu of instance=web-3:9100 is anomalous: 0.93 observed, 0.21 expected',
                'description': '0.93 observed, above the 0.21 expected (normal is 0.12 to 0.35).\nScore 4.2 & <more>.',
                'graph': '/graph?g0.expr=promlstm_observed', 'dashboard': '/d/promlstm-detector?var-detector=cpu',
                'runbook_url': 'runbook.md#promlstmanomaly', 'promlstm_url': 'https://p.example/entity?detector=cpu&entity=%7B%7D',
            },
        },
        {
            'status': 'resolved', 'startsAt': '2026-03-03T09:00:00Z', 'endsAt': '2026-03-03T09:30:00Z', 'fingerprint': 'b', 'generatorURL': '',
            'labels': {'alertname': 'PromlstmAnomaly', 'severity': 'critical', 'detector': 'disk', 'instance': 'web-4:9100'},
            'annotations': {'summary': 'disk of instance=web-4:9100 is anomalous', 'description': 'old'},
        },
    ],
}  # fmt: skip


def rendered(tmp_path, template, message=MESSAGE, kind='text'):
    """What Alertmanager makes of a message by one of the templates; amtool reads the names of the Go structure, which the JSON has too."""
    (tmp_path / 'data.json').write_text(json.dumps(message))
    args = (f'--template.glob={FOLDER / "promlstm.tmpl"}', f'--template.text={{{{ template "{template}" . }}}}', f'--template.type={kind}')
    return servers.amtool('template', 'render', *args, f'--template.data={tmp_path / "data.json"}').stdout


@pytest.mark.real
def test_the_chat_message_says_what_was_seen_and_expected_and_where_to_look(tmp_path):
    """Entity, reason, links; and what is over in a line of its own."""
    assert rendered(tmp_path, 'promlstm.slack').strip() == (
        '*cpu of instance=web-3:9100 is anomalous: 0.93 observed, 0.21 expected*\n'
        '0.93 observed, above the 0.21 expected (normal is 0.12 to 0.35).\nScore 4.2 & <more>.\n'
        '<https://p.example/entity?detector=cpu&entity=%7B%7D|promlstm> · <http://prometheus:9090/graph?g0.expr=promlstm_observed|graph> · '
        '<http://grafana.example.org/d/promlstm-detector?var-detector=cpu|dashboard> · '
        '<http://wiki.example.org/promlstm/runbook.md#promlstmanomaly|runbook>\n'
        'Resolved: disk of instance=web-4:9100 is anomalous'
    )


@pytest.mark.real
@pytest.mark.parametrize('template', ['promlstm.slack', 'promlstm.text', 'promlstm.html'])
def test_a_page_of_promlstm_is_linked_where_it_is_known(tmp_path, template):
    """First of all links; without --web.external-url, whose annotation is empty or not there, there is no link to nowhere."""
    kind = 'html' if template == 'promlstm.html' else 'text'
    address = 'https://p.example/entity?detector=cpu&entity=%7B%7D'
    page = html.unescape(rendered(tmp_path, template, kind=kind))
    assert 0 < page.index(address) < page.index('prometheus:9090') and address in str(robot.wecom(MESSAGE, {}))
    alert = MESSAGE['alerts'][0]
    for notes in ({**alert['annotations'], 'promlstm_url': ''}, {name: text for name, text in alert['annotations'].items() if name != 'promlstm_url'}):
        without = {**MESSAGE, 'alerts': [{**alert, 'annotations': notes}]}
        page = rendered(tmp_path, template, without, kind=kind)
        assert '|promlstm>' not in page and '>promlstm<' not in page and 'promlstm: ' not in page and 'graph' in page.lower()
        assert '[promlstm]' not in str(robot.wecom(without, {}))


@pytest.mark.real
def test_the_title_is_that_of_the_first_alert_and_tells_how_many_there_are(tmp_path):
    """Whoever reads only the title knows which entity, and what was seen."""
    twice = {**MESSAGE, 'alerts': [MESSAGE['alerts'][0]] * 2}
    assert rendered(tmp_path, 'promlstm.title') == '[critical] cpu of instance=web-3:9100 is anomalous: 0.93 observed, 0.21 expected'
    assert rendered(tmp_path, 'promlstm.title', twice).endswith('0.21 expected (1 of 2)')
    assert rendered(tmp_path, 'promlstm.title', {**MESSAGE, 'alerts': MESSAGE['alerts'][1:]}).startswith('[resolved] disk of')


@pytest.mark.real
@pytest.mark.parametrize('template', ['promlstm.title', 'promlstm.slack', 'promlstm.text'])
def test_every_message_of_an_incident_names_its_likely_cause_and_how_sure_that_is(tmp_path, template):
    """However long the labels are. The summary is that of rules/tests/annotations.yml."""
    cases = yaml.safe_load((FOLDER.parent / 'tests/annotations.yml').read_text())['tests']
    (summary,) = [
        case['alert_rule_test'][0]['exp_alerts'][0]['exp_annotations']['summary'] for case in cases if case['name'].startswith('incident whose cause is likely')
    ]
    notes = {**MESSAGE['alerts'][0]['annotations'], 'summary': summary.replace('instance=h1', f'instance={"h" * 2000}')}
    message = {**MESSAGE, 'alerts': [{**MESSAGE['alerts'][0], 'annotations': notes}]}
    assert 'incident: likely cause (82%) is memory of instance=h' in rendered(tmp_path, template, message)
    for shape in (robot.wecom, robot.dingtalk):
        assert 'likely cause (82%) is memory' in str(shape(message, {}))


@pytest.mark.real
def test_the_mail_has_the_reason_as_html_and_as_text(tmp_path):
    """What is seen in a label cannot become markup."""
    page = rendered(tmp_path, 'promlstm.html', kind='html')
    assert '0.93 observed, above the 0.21 expected' in page and 'Score 4.2 &amp; &lt;more&gt;.' in page
    assert 'href="http://wiki.example.org/promlstm/runbook.md#promlstmanomaly"' in page and 'to 2026-03-03 09:30:00 UTC' in page
    assert 'Graph: http://prometheus:9090/graph?g0.expr=promlstm_observed\n' in rendered(tmp_path, 'promlstm.text')


def test_a_robot_message_has_the_reason_and_keeps_to_its_limit():
    """In the shape of WeCom and of DingTalk; beyond the limit what is left out is counted, and no character is cut in two."""
    links = {'grafana': 'http://g', 'runbooks': 'http://r'}
    told = robot.wecom(MESSAGE, links)
    assert told['msgtype'] == 'markdown' and '0.93 observed, above the 0.21 expected' in told['markdown']['content']
    assert '[runbook](http://r/runbook.md#promlstmanomaly)' in told['markdown']['content']
    many = {**MESSAGE, 'alerts': [{**MESSAGE['alerts'][0], 'annotations': {'summary': '异常' * 50, 'description': '预期'}}] * 100}
    content = robot.wecom(many, links)['markdown']['content']
    assert len(content.encode()) <= 4096 and re.search(r'\n\nand \d+ more$', content)
    assert robot.dingtalk(many, links)['markdown']['title'].endswith('(1 of 100)')


LONG = {
    'plain': 'a' * 2048,
    'Chinese': '中文标签' * 512,
    'emoji': '🔥👩‍🚀' * 200,
    'quotes and markup': '"\\\'<b>*_`|&>' * 150,
    'lines': 'one\ntwo\r\nthree\t' * 100,
    'right to left and marks': 'שָׁלוֹם\u202e\u0301' * 100,
}


def hostile(value, count, resolved=0):
    """A message of many alerts whose texts hold a label's value."""

    def one(number, status):
        notes = {
            'summary': f'cpu{number} of pod={value} is anomalous: 0.93 observed, 0.21 expected',
            'description': f'0.93 observed, above the 0.21 expected.\n{value}\nScore 4.2.',
            'graph': '/graph?g0.expr=' + urllib.parse.quote(value),
            'dashboard': '/d/promlstm-detector?var-detector=cpu',
            'runbook_url': 'runbook.md#promlstmanomaly',
        }
        return {**MESSAGE['alerts'][0], 'status': status, 'labels': {**MESSAGE['alerts'][0]['labels'], 'pod': value}, 'annotations': notes}

    return {**MESSAGE, 'alerts': [*(one(n, 'firing') for n in range(count)), *(one(count + n, 'resolved') for n in range(resolved))]}


@pytest.mark.real
@pytest.mark.parametrize('count', [1, 3, 60])
@pytest.mark.parametrize('kind', LONG)
def test_long_and_hostile_labels_fit_the_chat_and_the_mail(tmp_path, kind, count):
    """The head of the first alert arrives and what finds no room is counted: title, chat text, subject line and mail."""
    message = hostile(LONG[kind], count, resolved=count // 3)
    title = rendered(tmp_path, 'promlstm.title', message)
    assert title.startswith('[critical] cpu0 of pod=') and '\n' not in title and len(title) <= 300 and len(title.encode()) <= 998
    text = rendered(tmp_path, 'promlstm.slack', message).strip()
    assert len(text.encode()) <= 3000 and text.startswith('*cpu0 of pod=')
    shown = len(re.findall(r'^(?:\*|Resolved: )cpu\d+ of pod=', text, re.MULTILINE))
    left = re.search(r'\nand (\d+) more$', text)
    assert shown + (int(left[1]) if left else 0) == len(message['alerts'])
    for template in ('promlstm.text', 'promlstm.html'):
        kind_of_body = 'html' if template.endswith('html') else 'text'
        mail = rendered(tmp_path, template, message, kind=kind_of_body)
        # Teams takes 28 KB, mail readers clip HTML at 102 KB; escaped markup is up to five times as long.
        assert 'cpu0 of pod=' in mail and len(mail.encode()) <= {'text': 28_000, 'html': 102_000}[kind_of_body]


@pytest.mark.parametrize('count', [1, 3, 60])
@pytest.mark.parametrize('kind', LONG)
def test_long_and_hostile_labels_fit_the_robots(kind, count):
    """In bytes of UTF-8; summaries go before reasons, and the head of the first is never cut off."""
    message = hostile(LONG[kind], count, resolved=count // 3)
    for shape, limit in ((robot.wecom, robot.WECOM_BYTES), (robot.dingtalk, robot.DINGTALK_BYTES)):
        body = shape(message, {'grafana': 'http://g', 'runbooks': 'http://r'})['markdown']
        content = body.get('content') or body['text']
        assert len(content.encode()) <= limit and content.startswith('**[critical] cpu0 of pod=')
        shown = len(re.findall(r'^\*\*\[(?:critical|resolved)\] cpu\d+ of pod=.*\*\*$', content, re.MULTILINE))
        left = re.search(r'\n\nand (\d+) more$', content)
        assert shown + (int(left[1]) if left else 0) == len(message['alerts'])
        assert 'title' not in body or len(body['title'].encode()) < 500


def test_a_robot_shows_reasons_as_far_as_there_is_room():
    """A short message is whole; a long first reason does not take the room of the second summary."""
    assert '> Score 4.2.\n> [graph]' in robot.wecom(hostile('a', 2), {})['markdown']['content']
    content = robot.wecom(hostile('a' * 3000, 2), {})['markdown']['content']
    assert '> 0.93 observed' in content and '\n\n**[critical] cpu1 of pod=' in content


@contextmanager
def receiver(answers):
    """A loopback HTTP server that keeps what is posted and answers from a list: (path, body) pairs, and its address."""
    posted = []

    def keep(path, body):
        posted.append((path, body))
        return answers.pop(0) if answers else {'errcode': 0}

    with http_target.receiving(keep) as address:
        yield posted, f'http://{address}'


@pytest.mark.real
def test_a_real_alertmanager_tells_both_robots_through_the_bridge(tmp_path):
    """What Alertmanager posts becomes the robots' message; a refusal is tried again, and no URL with its key gets into the log."""
    port = servers.free_port()
    with receiver([{'errcode': 45009, 'errmsg': 'too often'}]) as (posted, url):
        (tmp_path / 'wecom').write_text(url + '/cgi-bin/webhook/send?key=SECRET\n')
        (tmp_path / 'dingtalk').write_text(url + '/robot/send?access_token=SECRET\n')
        (tmp_path / 'key').write_text('SECsign')
        flags = [
            f'--wecom={tmp_path}/wecom',
            f'--dingtalk={tmp_path}/dingtalk',
            f'--dingtalk.secret={tmp_path}/key',
            f'--listen=127.0.0.1:{port}',
        ]
        bridge = servers.Process([sys.executable, FOLDER / 'robot.py', *flags], listening(port))
        hooks = [{'url': f'http://127.0.0.1:{port}/{name}'} for name in ('wecom', 'dingtalk')]
        config = {'route': {'receiver': 'robots', 'group_wait': '0s'}, 'receivers': [{'name': 'robots', 'webhook_configs': hooks}]}
        with bridge, servers.Alertmanager(tmp_path / 'alertmanager', config) as server:
            post(server, [{'labels': MESSAGE['alerts'][0]['labels'], 'annotations': MESSAGE['alerts'][0]['annotations']}])
            servers.wait_until(lambda: len(posted) >= 3, 60, 'both robots, and one of them again')
        assert 'SECRET' not in bridge.log.read_text() and 'errcode 45009' in bridge.log.read_text()
    (to_wecom,) = {json.dumps(body) for path, body in posted if path.startswith('/cgi-bin')}
    ((path, to_dingtalk),) = [(path, body) for path, body in posted if path.startswith('/robot')][-1:]
    assert '0.93 observed, above the 0.21 expected' in json.loads(to_wecom)['markdown']['content']
    assert to_dingtalk['markdown']['title'].startswith('[critical] cpu of') and re.search(r'&timestamp=\d{13}&sign=[\w%]', path)


def listening(port):
    """Ready once it refuses what it does not know."""
    return lambda: servers.http.post(f'http://127.0.0.1:{port}/', timeout=5).status_code == 404


def test_the_bridge_holds_what_its_docstrings_say():
    """Its examples run; it needs nothing but Python."""
    done = subprocess.run([sys.executable, '-I', '-m', 'doctest', FOLDER / 'robot.py'], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
