"""/api/v1/incidents: what it takes, what it gives, what it refuses, and who may ask."""

import json
import threading

import pytest
from credentials import PASSWORD
from hypothesis import given
from hypothesis import strategies as st
from servers import wait_until
from serving import LIMIT, Exporter, Served, hashed

from promlstm.serve import api
from promlstm.serve.api import Asked

IDS = [f'20250615-15100{number}-abcd' for number in range(5)]


def incidents(asked):
    """Five incidents, the newest two of which are open, as a Gathering gives them."""
    keys = sorted(((number >= 3, identifier) for number, identifier in enumerate(IDS)), reverse=True)
    keys = [key for key in keys if asked.state == 'all' or key[0] == (asked.state == 'open')]
    keys = [key for key in keys if asked.after is None or key < asked.after]
    found = [{'id': identifier, 'end': None if lasts else 1.5} for lasts, identifier in keys[: asked.limit]]
    return found, keys[asked.limit - 1] if len(keys) > asked.limit else None


@pytest.fixture(scope='module')
def exporter():
    with Exporter(site={'incidents': incidents}) as running:
        yield running


def test_incidents_have_the_form_of_the_prometheus_api(exporter):
    """JSON with status and data; no parameter is needed."""
    got = exporter.get('/api/v1/incidents')
    assert (got.status_code, got.headers['Content-Type']) == (200, 'application/json; charset=utf-8')
    assert got.json() == {'status': 'success', 'data': {'incidents': incidents(Asked())[0], 'next': None}}


@pytest.mark.parametrize('limit', [1, 2, 3, 5])
def test_pages_follow_each_other(exporter, limit):
    """`next` of an answer gives what follows it, until there is nothing more; nothing is left out and nothing comes twice."""
    found, after = [], ''
    while after is not None:
        data = exporter.get(f'/api/v1/incidents?limit={limit}{after and f"&after={after}"}').json()['data']
        assert 0 < len(data['incidents']) <= limit
        found, after = found + [each['id'] for each in data['incidents']], data['next']
    assert found == [IDS[number] for number in (4, 3, 2, 1, 0)]


def test_a_state_can_be_asked_for(exporter):
    """Open ones, closed ones, or all."""
    counts = {state: len(exporter.get(f'/api/v1/incidents?state={state}').json()['data']['incidents']) for state in ('open', 'closed', 'all')}
    assert counts == {'open': 2, 'closed': 3, 'all': 5}


REFUSED = {
    'limit=1000': "limit: expected a number from 1 to 100, got '1000'",
    'limit=0': "limit: expected a number from 1 to 100, got '0'",
    'limit=-1': "limit: expected a number from 1 to 100, got '-1'",
    'limit=٣': "limit: expected a number from 1 to 100, got '٣'",
    'limit=': "limit: expected a number from 1 to 100, got ''",
    'state=ended': "state: expected one of open, closed, all, got 'ended'",
    'state=open&state=all': 'state: appears twice',
    'after=x': "after: expected the value of `next` in another answer, got 'x'",
    'stat=open': 'stat: unknown parameter; known: after, limit, state',
}


@pytest.mark.parametrize('query', REFUSED)
def test_what_cannot_be_asked_for_is_explained(exporter, query):
    """A 400 in the form of the Prometheus API says what is expected."""
    got = exporter.get(f'/api/v1/incidents?{query}')
    assert (got.status_code, got.json()) == (400, {'status': 'error', 'errorType': 'bad_data', 'error': REFUSED[query]})


@given(st.text(max_size=300))
def test_any_query_is_taken_or_explained(query):
    """Whatever stands behind the question mark."""
    try:
        found = api.asked(query)
    except api.BadQuery as error:
        assert len(str(error)) < 500
    else:
        assert 1 <= found.limit <= api.MOST


def test_it_only_reads(exporter):
    """POST is refused as on every other page, HEAD has no body, and no other site may read it."""
    assert exporter.get('/api/v1/incidents', method='POST').status_code == 405
    head = exporter.get('/api/v1/incidents', method='HEAD')
    assert (head.status_code, head.content) == (200, b'')
    assert 'Access-Control-Allow-Origin' not in head.headers


def test_it_is_compressed_for_who_takes_it(exporter):
    """As /metrics is."""
    got = exporter.get('/api/v1/incidents', **{'Accept-Encoding': 'gzip'})
    assert got.headers['Content-Encoding'] == 'gzip'
    assert exporter.get('/api/v1/incidents').json() == got.json()


def test_the_landing_page_links_to_it(exporter):
    """Relative, so that a sub-path works; where there are no incidents there is no link and no page."""
    assert '<a href="api/v1/incidents">Incidents</a>' in exporter.get('/').text
    with Exporter() as other:
        assert 'incidents' not in other.get('/').text and other.get('/api/v1/incidents').status_code == 404


def test_below_a_route_prefix():
    """As all paths."""
    with Exporter(site={'incidents': incidents, 'prefix': '/p'}) as running:
        assert running.get('/p/api/v1/incidents?state=open').status_code == 200
        assert running.get('/api/v1/incidents').status_code == 404


def test_other_paths_are_as_they_were(exporter):
    """Nothing else answers below /api."""
    for path in ('/api', '/api/v1', '/api/v1/incidents/', '/api/v1/incidents/x', '/api/v2/incidents'):
        assert exporter.get(path).status_code == 404, path


def test_a_slow_answer_keeps_nobody_waiting():
    """While incidents are gathered, scrapes are answered."""
    held, begun = threading.Event(), threading.Event()

    def slow(asked):
        begun.set()
        assert held.wait(LIMIT)
        return incidents(asked)

    with Exporter(site={'incidents': slow}) as running:
        thread = threading.Thread(target=running.get, args=('/api/v1/incidents',))
        thread.start()
        wait_until(begun.is_set, LIMIT, 'the question')
        assert running.get().status_code == 200
        held.set()
        thread.join(LIMIT)
        assert not thread.is_alive()


def test_it_asks_for_the_password(tmp_path):
    """The password of the web configuration guards it as it does /metrics."""
    with Served(tmp_path, site={'incidents': incidents}, basic_auth_users={'anna': hashed()}) as running:
        assert running.curl('/api/v1/incidents')[1] == 401
        _, status, body = running.curl('/api/v1/incidents', '--user', f'anna:{PASSWORD}')
        assert status == 200 and json.loads(body)['status'] == 'success'
