"""What was silenced or alerted about does not teach: from a real Alertmanager and a real Prometheus, and kept when they forget."""

import json
import time
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
import requests
import servers
from wire import Wire, replying

from convert.data import incidents, spans
from convert.data.incidents import Alerts, ByHand, Exclude, IncidentError, Silences
from promlstm import config as configuration
from promlstm.query.prometheus import Prometheus

DAY = 86400
RULES = """\
groups:
  - name: real
    rules:
      - {alert: Hot, expr: 'label_replace(vector(1), "instance", "a:9100", "", "")', labels: {severity: critical}}
      - {alert: PromlstmAnomaly, expr: 'label_replace(vector(1), "instance", "b:9100", "", "")'}
"""
IDENTITIES = [b'{"instance":"a:9100"}', b'{"instance":"b:9100"}', b'{"job":"node"}']


def stamp(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%S.000Z')


def silence(url, start, end, comment='disk swap', **matchers):
    """Post a silence as a person would; its id."""
    matching = [
        {'name': name, 'value': value.lstrip('~!'), 'isRegex': '~' in value, 'isEqual': '!' not in value} for name, value in matchers.items()
    ]  # fmt: skip
    body = {'matchers': matching, 'startsAt': stamp(start), 'endsAt': stamp(end), 'createdBy': 'tests', 'comment': comment}
    answer = requests.post(url + '/api/v2/silences', json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()['silenceID']


@pytest.mark.real
def test_a_real_silence_excludes_what_it_matches(tmp_path):
    """Its time and its matchers, of the labels that an entity has; one that was ended early counts until then; one forgotten is kept."""
    now = time.time()
    with servers.Alertmanager(tmp_path / 'alertmanager') as server:
        first = silence(server.url, now + 1, now + 3600, alertname='DiskFull', instance='~a:.*|c:.*')
        silence(server.url, now + 1, now + 600, alertname='Watchdog')
        silence(server.url, now + 1, now + 600, comment='not b', instance='!b:9100')
        source = Silences(alertmanager=server.url, margin=300)
        servers.wait_until(lambda: time.time() > now + 1.5, 10, 'the silence to begin')
        found = incidents.silences(source, tmp_path)
        incidents.save(tmp_path / 'incidents.json', found)
        times = np.arange(now - 600, now + 4000, 60.0)
        out = spans.excluded(incidents.applied(Exclude(silences=source), found), times, IDENTITIES, 'cpu')
        assert out.any(0).tolist() == [True, False, False]
        assert times[out[:, 0]][0] == pytest.approx(now - 300, abs=61) and times[out[:, 0]][-1] == pytest.approx(now + 3600, abs=61)
        assert {each.why for each in found} >= {f'silence {first}: disk swap'}
        requests.delete(f'{server.url}/api/v2/silence/{first}', timeout=30).raise_for_status()
        incidents.save(tmp_path / 'incidents.json', incidents.silences(source, tmp_path))
    kept = incidents.load(tmp_path / 'incidents.json')
    (ended,) = [each for each in kept if first in each.why]
    assert ended.end < now + 60 and len(kept) == 3
    incidents.save(tmp_path / 'incidents.json', [])
    assert incidents.load(tmp_path / 'incidents.json') == kept


@pytest.mark.real
def test_what_a_silence_calls_a_false_alarm_teaches(tmp_path):
    """Also where an alert fired for it, whose margin before counts with it; an edit changes nothing, an early end makes it an incident."""
    now = time.time()
    with servers.Alertmanager(tmp_path / 'alertmanager') as server:
        deploy = silence(server.url, now + 1, now + 3600, 'False alarm: a deploy', alertname='PromlstmAnomaly', detector='cpu', instance='a:9100')
        silence(server.url, now + 1, now + 600, 'disk swap', alertname='DiskFull', instance='b:9100')
        servers.wait_until(lambda: time.time() > now + 1.5, 10, 'the silences to begin')
        alert = [
            spans.Exclusion(source='alert', why='', start=now - 100, end=now + 900, matchers=(('instance', '=', host),), shared=True)
            for host in ('a:9100', 'b:9100')
        ]
        wanted, times = Exclude(silences=Silences(alertmanager=server.url), alerts=Alerts(margin=300)), np.arange(now - 600, now + 4000, 60.0)

        def excluded(detector='cpu'):
            incidents.save(tmp_path / 'incidents.json', [*incidents.silences(wanted.silences, tmp_path), *alert])
            known = incidents.applied(wanted, incidents.load(tmp_path / 'incidents.json'))
            return spans.excluded(known, times, IDENTITIES, detector).sum(0).tolist()

        lifted, other, node = excluded()
        assert (lifted, node) == (0, 0) and other > 15 and excluded('disk')[0] > 15
        body = {
            'id': deploy, 'startsAt': stamp(now + 1), 'endsAt': stamp(now + 7200), 'createdBy': 'tests', 'comment': 'false alarm: edited',
            'matchers': [
                {'name': name, 'value': value, 'isRegex': False, 'isEqual': True}
                for name, value in (('instance', 'a:9100'), ('alertname', 'PromlstmAnomaly'), ('detector', 'cpu'))
            ],
        }  # fmt: skip
        edited = requests.post(server.url + '/api/v2/silences', json=body, timeout=30).json()['silenceID']
        assert edited != deploy and excluded()[0] == 0
        requests.delete(f'{server.url}/api/v2/silence/{edited}', timeout=30).raise_for_status()
        assert excluded()[0] > 15


@pytest.mark.real
def test_an_alertmanager_that_asks_for_a_password_is_given_one(tmp_path):
    """Out of a file beside the recipe, as for Prometheus; a wrong one is reported without showing it."""
    hashed = '$2b$04$RpKTDKW3vw9hBgI9yAFIxuFIN7O/BqLCeQfDKfDMtEsi/3X3nglJG'
    (tmp_path / 'web.yml').write_text(json.dumps({'basic_auth_users': {'promlstm': hashed}}))
    server = servers.Alertmanager(tmp_path / 'alertmanager', args=[f'--web.config.file={tmp_path}/web.yml'])
    server.ready = lambda: requests.get(server.url, timeout=5).status_code == 401
    source = Silences(alertmanager=server.url, basic_auth=configuration.BasicAuth(username='promlstm', password_file='password'))
    with server:
        (tmp_path / 'password').write_text('hunter2\n')
        assert incidents.silences(source, tmp_path) == []
        (tmp_path / 'password').write_text('hunter3\n')
        with pytest.raises(IncidentError, match=r'/api/v2/silences: answered 401: ') as caught:
            incidents.silences(source, tmp_path)
    assert 'hunter' not in str(caught.value)


def test_an_alertmanager_behind_tokens_is_asked_with_one(tmp_path):
    """OAuth2, as for Prometheus."""
    (tmp_path / 'secret').write_text('hunter2\n')
    with Wire(replying(lambda _: b'{"access_token": "t0ken"}')) as endpoint, Wire(replying(lambda _: b'[]')) as alertmanager:
        keys = configuration.OAuth2(client_id='promlstm', client_secret_file='secret', token_url=endpoint.url)
        assert incidents.silences(Silences(alertmanager=alertmanager.url, oauth2=keys), tmp_path) == []
        assert alertmanager.requests[0].headers['Authorization'] == 'Bearer t0ken'


@pytest.mark.real
def test_real_alerts_of_the_past_and_of_a_rule_exclude_their_entities(tmp_path):
    """ALERTS that were backfilled, in two runs, and those that a rule of this Prometheus writes; promlstm's own only where asked for."""
    end = time.time() // 60 * 60
    fired = [end - 7200 + 60 * i for i in (*range(10), *range(40, 45))]
    lines = [f'ALERTS{{alertname="DiskFull",alertstate="firing",instance="a:9100",job="node",severity="page"}} 1 {at}' for at in fired]
    pending = f'ALERTS{{alertname="DiskFull",alertstate="pending",instance="b:9100"}} 1 {end - 7200}'
    (tmp_path / 'alerts.om').write_text('\n'.join(['# TYPE ALERTS gauge', *lines, pending, '# EOF', '']))
    (tmp_path / 'rules.yml').write_text(RULES)
    prometheus = servers.Prometheus(tmp_path / 'prometheus', [], rule_files=[tmp_path / 'rules.yml'])
    prometheus.data.mkdir(parents=True)
    servers.backfill(prometheus.data, tmp_path / 'alerts.om')
    with prometheus:
        prometheus.wait_for('ALERTS{alertname="PromlstmAnomaly"}')
        prometheus.wait_for('ALERTS{alertname="Hot"}')
        source = Prometheus(configuration.parse(json.dumps(minimal(prometheus.url))).prometheus)
        parts = spans.Parts(train=((end - 3 * 3600, end + 120),))
        every = incidents.alerts(Alerts(match=''), parts, 0, source)
        found = incidents.alerts(Alerts(), parts, 0, source)
    assert {each.why for each in every} == {'alert DiskFull', 'alert Hot', 'alert PromlstmAnomaly'}
    assert {each.why for each in found} == {'alert DiskFull', 'alert Hot'}
    runs = sorted((each for each in found if each.why == 'alert DiskFull'), key=lambda each: each.start)
    assert [each.start for each in runs] == [fired[0], fired[10]]
    # The look-back of Prometheus adds five minutes after the last sample.
    assert all(0 < each.end - last <= 420 for each, last in zip(runs, (fired[9], fired[14]), strict=True))
    for known, given, who in ((every, Alerts(match='{severity="page"}', margin=0), [True, False, True]), (every, Alerts(margin=0), [True, False, True])):
        out = spans.excluded(incidents.applied(Exclude(alerts=given), known), np.array(fired), IDENTITIES, 'cpu')
        assert out.all(0).tolist() == who and out.any(0).tolist() == who
    early = incidents.applied(Exclude(alerts=Alerts(margin=900)), found)
    assert min(each.start for each in early) == fired[0] - 900


def minimal(url):
    return {'prometheus': {'url': url}, 'detectors': [{'name': 'x', 'expr': 'x'}]}


def test_a_file_of_silences_will_do(tmp_path):
    """As `curl …/api/v2/silences` leaves it, for an Alertmanager that cannot be reached from here; old ones have no isEqual."""
    given = {
        'id': 'x', 'comment': 'move', 'startsAt': '2026-01-05T10:00:00.123Z', 'endsAt': '2026-01-05T12:00:00+01:00',
        'matchers': [{'name': 'instance', 'value': 'a.*', 'isRegex': True}],
    }  # fmt: skip
    (tmp_path / 'silences.json').write_text(json.dumps([given]))
    (found,) = incidents.silences(Silences(file='silences.json'), tmp_path)
    assert (found.start, found.end) == (pytest.approx(spans.instant('2026-01-05T10:00:00Z'), abs=0.2), spans.instant('2026-01-05T11:00:00Z'))
    assert found.matchers == (('instance', '=~', 'a.*'),) and found.why == 'silence x: move' and found.shared


WHEN = '"startsAt": "2026-01-05T10:00:00Z", "endsAt": "2026-01-05T11:00:00Z"'


@pytest.mark.parametrize(
    'content',
    [
        '', '{}x', '{"status": "error"}', '[{}]', f'[{{"id": "x", {WHEN.replace("2026-01-05T11:00:00Z", "soon")}, "matchers": []}}]',
        f'[{{"id": "x", {WHEN}, "matchers": [{{"name": "a", "value": "(", "isRegex": true}}]}}]',
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_named(tmp_path, content):
    """Not an exception of a parser."""
    (tmp_path / 'silences.json').write_text(content)
    with pytest.raises(IncidentError, match=r'silences\.json: not a list of silences as api/v2/silences has it: '):
        incidents.silences(Silences(file='silences.json'), tmp_path)


def test_by_hand_concerns_all_or_those_that_match():
    """A selector without a name; `detector` is a label too."""
    given = (ByHand(span=(0, 60), why='move'), ByHand(span=(60, 120), why='test', match='{job="node",detector=~"cpu|memory"}'))
    out = spans.excluded(incidents.by_hand(given), np.array([30.0, 90.0]), IDENTITIES, 'cpu')
    assert out.tolist() == [[True, True, True], [False, False, True]]
    assert not spans.excluded(incidents.by_hand(given), np.array([90.0]), IDENTITIES, 'disk').any()


def test_what_is_no_selector_is_refused():
    """A name in front would be ignored, and is therefore a mistake."""
    with pytest.raises(IncidentError, match=r'exclude\.by_hand\[1\]\.match: expected a selector such as \{instance="a"\}, got \'up\''):
        incidents.by_hand((ByHand(span=(0, 60), why='', match='{a!="b"}'), ByHand(span=(0, 60), why='', match='up')))


def test_the_same_alert_of_two_runs_is_one():
    """Runs overlap when spans do."""
    one = spans.Exclusion(source='alert', why='alert X', start=0, end=60, matchers=(('a', '=', 'b'),), shared=True)
    more, other = msgspec.structs.replace(one, start=60, end=90), msgspec.structs.replace(one, matchers=())
    assert incidents.merged([more, other, one, one]) == [other, msgspec.structs.replace(one, end=90)]
