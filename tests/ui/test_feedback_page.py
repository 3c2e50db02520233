"""The page `feedback`: a silence of a real Alertmanager that promlstm understands, or the line that makes it, whatever labels hold."""

import re
import shutil
import time
from urllib.parse import urlencode

import exporter
import numpy as np
import pytest
import servers
import yaml
from credentials import PASSWORD
from html_pages import read as parse
from logs_server import QUERY, Lines
from serving import hashed
from standings import HOSTILE, Pages, identity, standing

from promlstm.engine import labels
from promlstm.query.silences import parse as silences_of
from promlstm.serve.handling import BadQuery
from promlstm.ui import silencing
from promlstm.ui.actions import Actions

LIMIT = 60
ME = (b'me', PASSWORD.encode())
ODD = [*HOSTILE, "it's `id` $(id) ${HOME} \\ !x", 'a\nb', 'tab\tand \x1b[31mred', '\u202eright to left', '-n --duration=9d', '"', "'", '\\"', 'é ✓']


def listed(alertmanager):
    found, problems = silences_of(servers.http.get(alertmanager.url + '/api/v2/silences', timeout=LIMIT).content)
    assert not problems
    return found


@pytest.mark.real
def test_the_button_ends_an_alarm(tmp_path):
    """The real program and a real Alertmanager: who says false alarm is the author, the entity is normal, and its alarm is back when it is expired."""
    now = time.time()
    per_second = lambda rate, start, end: np.arange(start, end, 1 / rate)  # noqa: E731
    lines = Lines([(float(at), level) for level in ('info', 'debug') for at in per_second(10, now - 900, now + 300)])
    detector = {'name': 'logs', 'source': 'logs', 'expr': QUERY, 'step': '1s', 'delay': '250ms', 'history': '0s', 'hold': '1h'}
    web = tmp_path / 'web.yml'
    web.write_text(yaml.safe_dump({'basic_auth_users': {'me': hashed()}}))
    with servers.Alertmanager(tmp_path / 'alertmanager') as alertmanager, lines.serve() as wire:
        running = exporter.Exporter(tmp_path, 'http://127.0.0.1:1', [detector], f'--web.config.file={web}', '--web.enable-actions')
        tree = yaml.safe_load(running.config.read_text())
        del tree['prometheus']
        tree |= {
            'sources': {'logs': {'kind': 'victorialogs', 'url': wire.url}}, 'alertmanager': {'url': alertmanager.url, 'interval': '500ms'},
        }  # fmt: skip
        running.config.write_text(yaml.safe_dump(tree))

        def ask(path, method='GET', auth=ME, data=None, **headers):
            return servers.http.request(method, f'{running.url}/{path}', auth=auth, data=data, headers=headers, timeout=LIMIT, allow_redirects=False)

        def score(level):
            found = re.search(rf'^promlstm_anomaly_score\{{.*level="{level}".*\}} (\S+)$', ask('metrics').text, re.MULTILINE)
            return float(found[1]) if found else None

        with running:
            servers.wait_until(lambda: score('info') is not None and score('info') < 1, LIMIT, 'a calm score')
            lines.lines += [(float(at), level) for level in ('info', 'debug') for at in per_second(200, time.time() - 0.5, time.time() + 200)]
            servers.wait_until(lambda: (score('info') or 0) >= 1 and (score('debug') or 0) >= 1, LIMIT, 'two anomalies')
            entity = '{alertname="PromlstmAnomaly",level="info",severity="warning"}'  # as a link of an alert has it
            form = {'detector': 'logs', 'entity': entity, 'reason': 'a deploy', 'duration': '1h'}
            assert ask('feedback', 'POST', auth=None, data=form).status_code == 401
            assert ask('feedback', 'POST', data=form, Origin='https://evil.example').status_code == 403
            assert ask('api/v1/silences', 'POST', data={**form, 'duration': '9y'}).status_code == 400
            assert ask('api/v1/silences', 'POST', data={**form, 'entity': '{level="none"}'}).status_code == 404
            assert listed(alertmanager) == []

            page = parse(ask(f'feedback?{urlencode(form)}').text)
            (shown,) = page.all('form', action='feedback')
            values = {each.attributes['name']: each.attributes.get('value', '') for each in shown.all('input')} | {'duration': '1h'}
            assert shown.attributes['method'] == 'post' and values['reason'] == 'a deploy' and values['entity'] == '{level="info"}'
            answer = ask('feedback', 'POST', data=values, Origin=running.url)
            assert answer.status_code == 303
            (made,) = listed(alertmanager)
            (author,) = [each['createdBy'] for each in servers.http.get(alertmanager.url + '/api/v2/silences', timeout=LIMIT).json()]
            assert (author, made.comment, made.state) == ('me', 'false alarm: a deploy', 'active') and made.end - made.start == pytest.approx(3600, abs=1)
            assert {(each.label, each.operator, each.value) for each in made.matchers} == {('detector', '=', 'logs'), ('level', '=', 'info')}
            follows = parse(ask(answer.headers['Location']).text)
            assert made.id in follows.text and 'When it expires' in follows.text
            assert follows.one('a', href=f'{alertmanager.url}/#/silences/{made.id}')

            servers.wait_until(lambda: score('info') is not None and score('info') < 1, LIMIT, 'what was silenced to be normal')
            assert score('debug') >= 1
            assert 'msg="created a silence for a false alarm"' in running.log.read_text()
            servers.amtool(f'--alertmanager.url={alertmanager.url}', 'silence', 'expire', made.id)
            servers.wait_until(lambda: (score('info') or 0) >= 1, LIMIT, 'the anomaly again')
            assert ask('api/v1/silences', 'POST', data=form).json()['data']['silenceID'] != made.id

            alertmanager.kill()
            answer = ask('feedback', 'POST', data=values)
            assert answer.status_code == 502 and 'Connection refused' in parse(answer.text).text


@pytest.fixture(scope='module')
def alertmanager(tmp_path_factory):
    with servers.Alertmanager(tmp_path_factory.mktemp('alertmanager')) as running:
        yield running


@pytest.mark.real
@pytest.mark.parametrize('shell', ['bash', 'sh'])
def test_the_line_makes_what_the_button_makes(alertmanager, tmp_path, shell):
    """Any label, copied into a shell: the silence is about that entity, nothing else happens, and nothing invisible is copied."""
    for text in ODD if shell == 'bash' else [text for text in ODD if text.isprintable()]:
        pairs = (('path', text), ('with space', 'x'))
        made = silencing.silence('a "detector"', pairs, ('path', 'other'), f'because of {text if text.isprintable() else ""}', 0.0, 7200.0)
        line = silencing.amtool(alertmanager.url, made)
        assert line.isprintable()
        done = servers.subprocess.run(
            [shutil.which(shell), '-c', line], env={'PATH': str(servers.TOOLS), 'HOME': str(tmp_path)}, cwd=tmp_path,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (text, line, done.stderr)
        number = done.stdout.strip()
        (found,) = [each for each in listed(alertmanager) if each.id == number]
        assert {(each.label, each.value) for each in found.matchers} == {(each.label, each.value) for each in made.matchers}, line
        assert found.is_false_alarm and found.end - found.start == pytest.approx(7200, abs=1)
        assert list(tmp_path.iterdir()) == []


CONFIG = 'prometheus: {url: http://localhost:9090}\ndetectors: [{name: web, expr: up}]\n'


def pages(settings='', actions=None):
    """An exporter that shows an entity with each hostile label, and two of which one has a label more."""
    names = [*(identity(text=text) for text in HOSTILE), identity(instance='a'), identity(instance='a', cpu='0')]
    return Pages(
        CONFIG + settings, lambda detectors: [standing(detectors['web'], names, np.full(len(names), 1.5))], actions=actions
    )  # fmt: skip


def link(entity, **more):
    return f'/feedback?{urlencode({"detector": "web", "entity": entity, **more})}'


@pytest.mark.parametrize(
    ('settings', 'actions', 'why'),
    [
        ('', Actions(enabled=True), 'has no alertmanager'),
        ('alertmanager: {url: "http://am:9093/x"}', Actions(), '--web.enable-actions'),
        ('', Actions(), 'has no alertmanager'),
    ],
)
def test_where_nothing_may_be_made_there_is_the_line(settings, actions, why):
    """With the reason and the duration that were asked for, and why there is no button."""
    with pages(settings, actions) as running:
        page = parse(running.get(link('{instance="a"}', reason="it's fine", duration='8h')).text)
        refused = running.server and servers.http.post(running.url + '/api/v1/silences', data={'detector': 'web', 'entity': '{instance="a"}'}, timeout=LIMIT)
    assert ('At the next step' in page.text) == bool(settings) and ('promlstm ignores the silence' in page.text) != bool(settings)
    assert why in page.text and 'method' not in page.one('form', class_='feedback').attributes
    line = page.one('pre', id='amtool').text
    assert line.startswith('amtool --alertmanager.url=http://a') and "false alarm: it'\"'\"'s fine" in line and '--duration=8h' in line
    assert refused.status_code in (400, 403)


def test_it_is_about_one_entity_only():
    """Another one with the same labels and one more is excluded."""
    with pages() as running:
        line = parse(running.get(link('{instance="a"}')).text).one('pre', id='amtool').text
    assert line.endswith("""'detector="web"' 'instance="a"' 'cpu=""' 'text=""'""")


@pytest.mark.parametrize('text', HOSTILE)
def test_labels_are_text(text):
    with pages() as running:
        answer = running.get(link(labels.selector((('text', text),))))
    page = parse(answer.text)
    assert answer.status_code == 200
    assert page.one('form', class_='feedback').one('input', name='entity').attributes['value'] == labels.selector((('text', text),))
    assert all('src' in each.attributes for each in page.all('script')) and not page.all('img', src='x')


@pytest.mark.parametrize(('path', 'status'), [
    (link('{instance="nobody"}'), 404), (link('nonsense{'), 400), ('/feedback?detector=none&entity={}', 404), ('/feedback', 404),
    (link('{instance="a"}', duration='1y'), 400), (link('{instance="a"}', reason='x' * 301), 400), (link('{instance="a"}', more='1'), 400),
])  # fmt: skip
def test_what_cannot_be_is_told(path, status):
    with pages() as running:
        assert running.get(path).status_code == status


@pytest.mark.parametrize('reason', ['x' * 301, 'two\nlines', '\x1b[31m'])
def test_a_reason_is_a_line_of_text(reason):
    with pytest.raises(BadQuery, match='reason: '):
        silencing.reason_of(reason)
