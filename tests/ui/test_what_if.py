"""The page `what-if` of the real program on a real Prometheus: what it finds, who may ask, and what is left when it is stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import browser
import fleet_history
import jsonschema
import pytest
import yaml
from credentials import PASSWORD
from exporter import Exporter
from servers import ROOT, http, wait_until
from serving import hashed

from promlstm import config

pytestmark = pytest.mark.real

LIMIT = 120  # seconds, of every wait
DETECTOR = {'name': 'past', 'expr': 'past_load', 'history': '6h'}
HOSTILE = {'name': '"><script>alert(1)</script>', 'expr': 'past_load{instance="</textarea>"}', 'history': '0s'}
LONG = {'from': '-20h', 'model': 'builtin:default'}  # takes long enough to be looked at
ME, OTHER = (b'me', PASSWORD.encode()), (b'other', PASSWORD.encode())


@pytest.fixture(scope='module')
def prometheus(tmp_path_factory):
    """Two days of 24 series, some with faults."""
    directory = tmp_path_factory.mktemp('history')
    times, values, _ = fleet_history.telemetry(24, 2, time.time() // 60 * 60)
    with fleet_history.prometheus(directory, times, values, None) as server:
        yield server


def start(directory, prometheus, *args, users=True):
    directory.mkdir(parents=True, exist_ok=True)
    web = directory / 'web.yml'
    web.write_text(yaml.safe_dump({'basic_auth_users': {'me': hashed(), 'other': hashed()}} if users else {}))
    return Exporter(directory, prometheus.url, [DETECTOR, HOSTILE], f'--web.config.file={web}', *args)


@pytest.fixture(scope='module')
def exporter(prometheus, tmp_path_factory):
    with start(tmp_path_factory.mktemp('exporter'), prometheus, '--web.enable-actions') as running:
        yield running


def ask(exporter, path, method='GET', auth=ME, data=None, **headers):
    return http.request(method, f'{exporter.url}/{path}', auth=auth, data=data, headers=headers, timeout=LIMIT, allow_redirects=False)


def begin(exporter, **values):
    answer = ask(exporter, 'api/v1/what-if', 'POST', data={'detector': 'past', **values})
    assert answer.status_code == 200, answer.text
    return answer.json()['data']['id']


def tell(exporter, number):
    return ask(exporter, f'api/v1/what-if?id={number}').json()['data']


def documented(tree):
    """What the API says of a run, once it is as openapi.yml says."""
    jsonschema.Draft202012Validator({**yaml.safe_load((ROOT / 'promlstm/ui/openapi.yml').read_text()), '$ref': '#/components/schemas/Run'}).validate(tree)
    return tree


def over(exporter, number):
    return wait_until(lambda: (told := tell(exporter, number))['state'] != 'running' and told, LIMIT, 'the end of a run')


def cancelled(exporter, number):
    assert ask(exporter, f'api/v1/what-if?id={number}', 'DELETE').status_code == 200
    return over(exporter, number)


def children(pid):
    """The processes that a process has begun and not waited for."""
    return [int(number) for path in Path(f'/proc/{pid}/task').glob('*/children') for number in path.read_text().split()]


def backtest(prometheus, directory, span, **keys):
    """The report of `promlstm backtest` for the same settings."""
    path = directory / 'alone.yml'
    path.write_text(yaml.safe_dump({'prometheus': {'url': prometheus.url}, 'detectors': [{'model': 'builtin:forecaster', **DETECTOR, **keys}]}))
    command = [sys.executable, '-m', 'promlstm', 'backtest', f'--config.file={path}', '--format=json', f'--from={span[0]}', f'--to={span[1]}']
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    (report,) = json.loads(done.stdout)
    return report


def queries(prometheus):
    """How many range queries it has answered."""
    text = http.get(prometheus.url + '/metrics', timeout=LIMIT).text
    return sum(float(count) for count in re.findall(r'^prometheus_http_requests_total\{.*handler="/api/v1/query_range".*\} (\S+)$', text, re.MULTILINE))


class Words(HTMLParser):
    """The text of a page, the values of its form, and which tags it has."""

    def __init__(self, page):
        super().__init__()
        self.text, self.tags, self.values, self._select = [], [], {}, ''
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag == 'input' and 'name' in attrs:
            self.values[attrs['name']] = attrs.get('value', '')
        self._select = attrs.get('name', '') if tag == 'select' else self._select
        self._selected = tag == 'option' and 'selected' in attrs

    def handle_data(self, data):
        self.text.append(data)
        if self._select and self._selected:
            self.values[self._select] = data
            self._selected = False

    def __str__(self):
        return ' '.join(' '.join(self.text).split())


def test_both_are_what_backtest_says_and_samples_are_asked_for_once(exporter, prometheus, tmp_path):
    """Alarms, rates and budget of either side; no more queries than a backtest of one takes."""
    now = int(time.time()) // 60 * 60
    span = (now - 12 * 3600, now - 3600)

    wait_until(lambda: http.get(exporter.url + '/-/ready', timeout=LIMIT).ok, LIMIT, 'the exporter to have read its own history')
    before = queries(prometheus)
    old = backtest(prometheus, tmp_path, span)
    of_one = queries(prometheus) - before
    new = backtest(prometheus, tmp_path, span, false_alarms='1/day each', min_deviation=0.5)
    before = queries(prometheus)
    given = {'false_alarms': '1/day each', 'min_deviation': '0.5', 'from': str(span[0]), 'to': str(span[1])}
    outcome = documented(over(exporter, begin(exporter, **given)))['outcome']
    for side, report in ((outcome['before'], old), (outcome['after'], new)):
        assert side['alarms'] == len(report['anomalies']) and side['missing'] == len(report['missing'])
        assert side['alarms_per_entity_week'] == pytest.approx(report['alarms_per_entity_week'])
        assert side['budget_alarms_per_entity_week'] == pytest.approx(report['budget_alarms_per_entity_week'])
    spells = [{(each['entity'], each['start'], each['end']) for each in report['anomalies']} for report in (old, new)]
    assert outcome['come_total'] > 0 and {(each['entity'], each['start'], each['end']) for each in outcome['come']} <= spells[1] - spells[0]
    assert queries(prometheus) - before == of_one > 0


def test_a_form_without_javascript(exporter):
    """Post, redirect to a page that says how far it is and loads itself again, then the outcome with the YAML to paste."""
    entity = '{instance="a"}'
    shown = Words(ask(exporter, f'what-if?{urlencode({"detector": "past", "entity": entity})}').text)
    assert shown.values['false_alarms'] == '1/week each' and shown.values['direction'] == 'both'
    assert shown.values['from'] == '-3d' and shown.values['entity'] == entity
    form = {**shown.values, 'from': '-3h', 'direction': 'above', 'hold': '2h'}
    answer = ask(exporter, 'what-if', 'POST', data=form, Origin=exporter.url)
    assert answer.status_code == 303
    where = answer.headers['Location']
    assert not urlsplit(where).scheme and where.startswith('what-if?')
    given = dict(parse_qsl(urlsplit(where).query))
    number, back = given['job'], f'entity?{urlencode({"detector": "past", "entity": entity})}'
    assert given['entity'] == entity
    page = ask(exporter, where).text
    if 'data-id=' in page:
        assert '<noscript><meta http-equiv="refresh"' in page and '<progress' in page
    assert over(exporter, number)['state'] == 'done'
    page = Words(ask(exporter, where).text)
    assert 'Alarms per entity-week' in str(page) and page.values['direction'] == 'above' and page.values['hold'] == '2h'
    assert ('a', {'href': back}) in page.tags
    written = next(text for text in page.text if text.startswith('detectors:'))
    detector = config.parse(f'prometheus: {{url: http://a}}\n{written}').detectors[0]
    assert (detector.name, detector.direction, detector.hold) == ('past', 'above', 7200.0)
    assert not [tag for tag, attrs in page.tags if (tag == 'script' and 'src' not in attrs) or 'style' in attrs]


def test_a_link_is_a_state(exporter):
    """Its values are in the form, and nothing runs."""
    page = Words(ask(exporter, 'what-if?detector=past&false_alarms=3%2Fday+each&low=0&from=-6h').text)
    assert (page.values['false_alarms'], page.values['low'], page.values['from']) == ('3/day each', '0', '-6h')
    assert any(tag == 'a' and attrs.get('href') == 'what-if?detector=past&false_alarms=3%2Fday+each&low=0&from=-6h' for tag, attrs in page.tags)
    assert children(exporter.child.pid) == []


def test_a_second_run_is_told_who_has_the_first(exporter):
    """409 for programs; for people the form with their values, and when that began. Then it is cancelled by whoever likes."""
    number = begin(exporter, **LONG)
    (child,) = children(exporter.child.pid)
    answer = ask(exporter, 'api/v1/what-if', 'POST', auth=OTHER, data={'detector': 'past'})
    assert answer.status_code == 409 and answer.json()['errorType'] == 'conflict'
    assert re.search(r'me started a run of detector past at \d\d:\d\d:\d\d UTC', answer.text)
    answer = ask(exporter, 'what-if', 'POST', auth=OTHER, data={'detector': 'past', 'hold': '3h'})
    page = Words(answer.text)
    assert answer.status_code == 409 and 'me started a run of detector past at' in str(page) and page.values['hold'] == '3h'
    answer = ask(exporter, 'what-if', 'POST', auth=OTHER, data={'cancel': number})
    assert answer.status_code == 303
    assert over(exporter, number)['state'] == 'cancelled' and not Path(f'/proc/{child}').exists()
    assert 'Cancelled.' in str(Words(ask(exporter, answer.headers['Location']).text))


def test_a_run_whose_process_is_killed_has_failed(exporter):
    """As by the kernel where memory is short; the exporter goes on, and the next run begins."""
    number = begin(exporter, **LONG)
    (child,) = children(exporter.child.pid)
    os.kill(child, signal.SIGKILL)
    told = documented(over(exporter, number))
    assert told['state'] == 'failed' and 'SIGKILL' in told['problem']
    assert 'SIGKILL' in ask(exporter, f'what-if?detector=past&job={number}').text
    assert cancelled(exporter, begin(exporter, **LONG))['state'] == 'cancelled'


@pytest.mark.parametrize(
    ('headers', 'status'),
    [
        ({}, 200), ({'Origin': 'URL'}, 200), ({'Origin': 'https://evil.example'}, 403), ({'Origin': 'null'}, 403),
        ({'Origin': 'http://evil.example', 'Host': 'evil.example'}, 403), ({'Sec-Fetch-Site': 'cross-site'}, 403),
    ],
)  # fmt: skip
def test_no_page_of_another_site_begins_or_ends_one(exporter, headers, status):
    headers = {name: exporter.url if value == 'URL' else value for name, value in headers.items()}
    answer = ask(exporter, 'api/v1/what-if', 'POST', data={'detector': 'past', **LONG}, **headers)
    assert answer.status_code == status, answer.text
    if status == 200:
        cancelled(exporter, answer.json()['data']['id'])
    number = begin(exporter, **LONG)
    assert ask(exporter, f'api/v1/what-if?id={number}', 'DELETE', **headers).status_code == status
    if status == 200:
        assert over(exporter, number)['state'] == 'cancelled'
    else:
        assert tell(exporter, number)['state'] == 'running'
        cancelled(exporter, number)


def test_a_browser_says_that_our_own_page_is_ours(exporter):
    """The pages let it: without a referrer it would send `Origin: null` with forms."""
    assert ask(exporter, 'what-if?detector=past').headers['Referrer-Policy'] == 'same-origin'


def test_nobody_without_the_password(exporter):
    for method, path in (('POST', 'api/v1/what-if'), ('POST', 'what-if'), ('GET', 'what-if'), ('DELETE', 'api/v1/what-if?id=x')):
        assert ask(exporter, path, method, auth=None, data={'detector': 'past'}).status_code == 401
    assert children(exporter.child.pid) == []


@pytest.mark.parametrize(
    ('values', 'status'),
    [
        ({'detector': 'past', 'hold': '<b>"\''}, 400), ({'detector': 'past', 'model': '/etc/passwd'}, 400), ({'detector': 'past', 'x': '1'}, 400),
        ({'detector': 'nobody'}, 404), ({'hold': '1h'}, 400),
        ({'detector': 'past', 'from': '2020-01-01'}, 400), ({'detector': 'past', 'hold': '\x00\u202e'}, 400),
    ],
)  # fmt: skip
def test_hostile_values_begin_nothing(exporter, values, status):
    """And come back as text only."""
    answer = ask(exporter, 'api/v1/what-if', 'POST', data=values)
    assert answer.status_code == status and answer.json()['status'] == 'error'
    page = ask(exporter, 'what-if', 'POST', data=values)
    assert page.status_code == status and '<b>' not in page.text
    assert children(exporter.child.pid) == []


def test_what_is_no_form_begins_nothing(exporter):
    answer = ask(exporter, 'api/v1/what-if', 'POST', data='detector=past', **{'Content-Type': 'text/plain'})
    assert answer.status_code == 400 and 'expected a form' in answer.text


def test_names_are_text(exporter):
    """A detector whose name is markup."""
    page = Words(ask(exporter, f'what-if?detector={HOSTILE["name"]}').text)
    assert HOSTILE['name'] in str(page) and all('src' in attrs for tag, attrs in page.tags if tag == 'script')
    assert page.values['detector'] == HOSTILE['name']


def test_an_unknown_run_is_told(exporter):
    assert ask(exporter, 'api/v1/what-if?id=none').status_code == 404
    assert 'Run it again' in ask(exporter, 'what-if?detector=past&job=none').text


def test_without_the_flag_it_is_a_command_line(prometheus, tmp_path):
    """Nothing runs; the page checks the values, and says how to do it oneself: with the same numbers."""
    with start(tmp_path / 'exporter', prometheus, users=False) as exporter:
        answer = ask(exporter, 'api/v1/what-if', 'POST', data={'detector': 'past'})
        assert answer.status_code == 403 and '--web.enable-actions' in answer.json()['error']
        page = Words(ask(exporter, 'what-if?detector=past&min_deviation=3&from=-2h').text)
        assert '--web.enable-actions' in str(page)
        commands = next(text for text in page.text if text.startswith('promlstm backtest'))
        yaml_text = next(text for text in page.text if text.startswith('detectors:'))
        assert ask(exporter, 'what-if?detector=past&min_deviation=x').status_code == 400
    (tmp_path / 'promlstm.yml').write_text((tmp_path / 'exporter/promlstm.yml').read_text())
    (tmp_path / 'what-if.yml').write_text(f'prometheus: {{url: "{prometheus.url}"}}\n{yaml_text}')
    program = f'promlstm() {{ "{sys.executable}" -P -m promlstm "$@"; }}\nset -e\n'
    done = subprocess.run(['bash', '-c', program + commands], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count('detector past: ') == 2


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_no_run_outlives_the_exporter(prometheus, tmp_path, number):
    with start(tmp_path / 'exporter', prometheus, '--web.enable-actions') as exporter:
        begin(exporter, **LONG)
        (child,) = children(exporter.child.pid)
        os.kill(exporter.child.pid, number)
        exporter.child.wait(LIMIT)
        wait_until(lambda: not Path(f'/proc/{child}').exists() or 'Z' in Path(f'/proc/{child}/stat').read_text().split()[2], LIMIT, 'the end of the child')


def test_in_a_browser(prometheus, tmp_path, look):
    """A form that is filled in, progress without loading, the outcome, the address as a link, back again; axe and the validator at each."""
    with start(tmp_path / 'exporter', prometheus, '--web.enable-actions', users=False) as exporter:
        page = look.page
        look.open(f'{exporter.url}/detectors')
        look.open(f'{exporter.url}/what-if')
        browser.valid(look.source)
        page.get_by_label('Detector').select_option('past')
        page.get_by_role('button', name='Continue').click()
        page.wait_for_url('**/what-if?detector=past')
        page.get_by_label('False-alarm budget').fill('2/day each')
        page.get_by_label('Direction').select_option('above')
        page.get_by_label('From', exact=True).fill('-10h')
        page.get_by_role('button', name='Run').click()
        page.wait_for_selector('#job, #outcome')
        if page.locator('#job').count():  # it may be done by now
            browser.axe(page)
        page.wait_for_selector('#outcome', timeout=1000 * LIMIT)
        browser.axe(page)
        with look.dark():
            browser.axe(page)
        assert page.get_by_label('False-alarm budget').input_value() == '2/day each' and page.get_by_label('Direction').input_value() == 'above'
        assert page.locator('figure.timeline svg').is_visible() and 'false_alarms: 2/day each' in page.locator('#yaml').inner_text()
        browser.valid(look.source)
        spans = [page.locator(place).inner_text() for place in ('#outcome time >> nth=0', '#outcome time >> nth=1', '.axis time >> nth=-1')]
        assert all(re.search('[A-Z][a-z]{2}', text) for text in spans), 'of what is past the day is said, today as well'
        address = page.url
        page.set_viewport_size(browser.NARROW)
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
        page.get_by_role('link', name='Back to the current settings').click()
        page.wait_for_url('**/what-if?detector=past')
        assert page.get_by_label('False-alarm budget').input_value() == '1/week each'
        page.go_back()
        page.wait_for_selector('#outcome')
        assert page.url == address
        look.open(f'{exporter.url}/what-if?detector=past')
        page.get_by_label('Hold').fill('an hour')
        with look.tolerating('400'):
            page.get_by_role('button', name='Run').click()
            page.wait_for_selector('[role=alert]')
        assert page.get_by_label('Hold').get_attribute('aria-invalid') == 'true' and page.get_by_label('Hold').input_value() == 'an hour'
        browser.axe(page)


def test_cancelled_in_a_browser(prometheus, tmp_path, look):
    """The bar grows without loading the page, and the button ends the run."""
    with start(tmp_path / 'exporter', prometheus, '--web.enable-actions', users=False) as exporter:
        answer = ask(exporter, 'what-if', 'POST', auth=None, data={'detector': 'past', **LONG})
        look.open(f'{exporter.url}/{answer.headers["Location"]}')
        wait_until(lambda: look.page.locator('#progress').evaluate('bar => bar.value') > 0, LIMIT, 'the bar to grow')
        look.page.get_by_role('button', name='Cancel').click()
        look.page.wait_for_url('**job=*')
        look.page.get_by_text('Cancelled.', exact=True).wait_for(timeout=1000 * LIMIT)
        assert children(exporter.child.pid) == []
