"""The page Now and /api/v1/anomalies: what they list, in which order, and which part of it one can ask for."""

import json
import re
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest
from html_pages import read, rows
from standings import HOSTILE, NOW, Pages, identity, standing

from promlstm.live.status import Status


def api(pages, query=''):
    got = pages.get(f'/api/v1/anomalies?{query}')
    assert got.status_code == 200, got.text
    return got.json()['data']


def page(pages, query='', path='/'):
    got = pages.get(f'{path}?{query}')
    assert got.status_code == 200, got.text
    return read(got.text)


def test_the_highest_score_comes_first_and_missing_ones_last(pages):
    """60 of `traffic`, one per hostile label, one missing."""
    found = api(pages, 'limit=500')
    scores = [each['score'] for each in found['anomalies']]
    assert scores[:-1] == sorted(scores[:-1], reverse=True) and scores[-1] is None
    assert (found['total'], found['counts'], found['next']) == (69, {'anomalous': 68, 'missing': 1}, None)
    assert found['anomalies'][-1]['reason'] == 'no sample, which is unusual at this time of day'


def test_an_anomaly_says_since_when_and_why_in_the_unit_of_its_metric(pages):
    """The sentence has observed, band and expected value; the view of the model is told in words."""
    first = api(pages, 'detector=traffic&limit=1')['anomalies'][0]
    assert first['reason'] == '10/s, above the band (to 6/s); expected 4/s; rose to a higher level'
    assert (first['entity'], first['unit']) == ('{job="web",service="s059",zone="a"}', 'per second')
    assert first['labels'] == {'job': 'web', 'service': 's059', 'zone': 'a'}
    assert first['since'] == 1_750_000_000 - 59 * 60


def test_the_newest_can_come_first(pages):
    """sort=since."""
    since = [each['since'] for each in api(pages, 'sort=since&detector=traffic&limit=500')['anomalies']]
    assert since == sorted(since, reverse=True) and len(since) == 60


@pytest.mark.parametrize(
    ('query', 'total'),
    [
        ('detector=disk', 1), ('state=missing', 1), ('state=anomalous', 68), ('q=S01', 10), ('q=service=s01', 10),
        ('q=web', 60), ('q=%22', 2), ('q=nothing', 0),
        ('match=zone%3D%22a%22', 30), ('match=zone%3D%22%22', 39), ('match={service%3D~%22s00[1-3]|s010%22}', 4), ('match=service!~%22s.*%22', 9),
        ('match=job%3D%22web%22,zone!%3D%22a%22', 30), ('match=zone%3D%22a%22&q=s01', 5), ('match=', 69), ('match=service%3D~%22s.%22', 0),
    ],
)  # fmt: skip
def test_a_part_can_be_asked_for(pages, query, total):
    """By detector, by state, by a text in a label, by matchers as PromQL has them."""
    assert api(pages, query)['total'] == total


def test_counts_do_not_depend_on_the_state_that_is_asked_for(pages):
    """So that a reader sees how many there are of the other."""
    assert api(pages, 'state=missing')['counts'] == {'anomalous': 68, 'missing': 1}


def test_pages_follow_each_other(pages):
    """`next` leads on until there is nothing more; nothing is left out and nothing comes twice."""
    found, offset = [], 0
    while offset is not None:
        data = api(pages, f'limit=25&offset={offset}')
        found, offset = found + [(each['detector'], each['entity']) for each in data['anomalies']], data['next']
    assert len(found) == len(set(found)) == 69


REFUSED = {
    'limit=501': (400, "limit: expected a number from 1 to 500, got '501'"),
    'offset=-1': (400, "offset: expected a number from 0 to 10000000, got '-1'"),
    'state=normal': (400, "state: expected one of all, anomalous, missing, got 'normal'"),
    'sort=': (400, "sort: expected one of score, since, got ''"),
    'detectors=x': (400, 'detectors: unknown parameter; known: detector, limit, match, offset, q, sort, state'),
    'q=a&q=b': (400, 'q: appears twice'),
    'detector=x': (404, "detector: there is no 'x'; expected one of: traffic, disk, <b>\"odd\"</b>, broken"),
    'match=a': (400, 'match: expected matchers such as instance="a:9100", job=~"node|web": unexpected \'a\' in label matching, expected label="value": a'),
    'q=' + 'x' * 2001: (400, 'q: longer than 2000 characters'),
    'match=a%3D~%22(a)\\\\1%22': (400, 'match: a=~: not a regular expression of RE2, which has no look-around and no back-references'),
    'match=' + ','.join(['a%3D%22b%22'] * 21): (400, 'match: more than 20 matchers'),
}


@pytest.mark.parametrize('query', REFUSED)
def test_what_cannot_be_asked_for_is_explained(pages, query):
    """To a program in the form of the Prometheus API, to a reader on a page."""
    status, why = REFUSED[query]
    got = pages.get(f'/api/v1/anomalies?{query}')
    assert (got.status_code, got.json()) == (status, {'status': 'error', 'errorType': 'bad_data' if status == 400 else 'not_found', 'error': why})
    if query not in ('limit=501', 'detectors=x'):
        shown = pages.get(f'/?{query}')
        assert (shown.status_code, read(shown.text).one('p', class_='notice error').text) == (status, ' '.join(why.split()))


def test_the_page_shows_what_the_api_gives(pages):
    """In the same order, with the values in the unit of the metric."""
    shown, found = rows(page(pages)), api(pages)['anomalies']
    assert len(shown) == len(found) == 50
    for row, each in zip(shown, found, strict=True):
        assert each['detector'] in row['Entity'] and row['Why'] == each['brief']
    assert shown[0]['Observed'] == '10/s expected 4/s · band 2/s to 6/s'


def test_each_link_of_an_entity_leads_to_its_page(pages):
    """By its detector and its labels, whatever they are."""
    links = [link.attributes['href'] for link in page(pages, f'detector={quote("<b>")}%22odd%22{quote("</b>")}').all('a', class_='labels')]
    asked = [parse_qs(urlsplit(link).query) for link in links]
    assert [urlsplit(link).path for link in links] == ['entity'] * len(HOSTILE)
    found = api(pages, 'limit=500')['anomalies']
    assert {each['entity'][0] for each in asked} == {each['entity'] for each in found if 'text' in each['labels']}


def test_hostile_labels_stay_text(pages):
    """No element, no attribute and no script comes of a label or of a name."""
    got = page(pages, f'q=text&detector={quote("<b>")}%22odd%22{quote("</b>")}')
    assert not got.all('b') and not [each for each in got.all('img') if 'onerror' in each.attributes]
    assert all(script.attributes.get('src', '').startswith('static/') and not script.text for script in got.all('script'))
    for text in HOSTILE:
        assert any(' '.join(text[:117].split()) in label.text for label in got.all('span', class_='label')), text


def test_labels_that_all_entities_share_are_muted(pages):
    """`job` says nothing of `traffic`; a label that stands on some only does."""
    links = page(pages, 'detector=traffic').all('a', class_='labels')
    assert {each.text for link in links for each in link.all('span', class_='label common')} == {'job= web'}
    assert links[0].all('span', class_='label')[0].text.startswith('service=')


def test_a_filter_is_a_link(pages):
    """What is asked for stands in the form, and the pager keeps it."""
    got = page(pages, 'detector=traffic&match=job%3D%22web%22&sort=since')
    assert got.one('input', id='match').attributes['value'] == 'job="web"'
    assert [each.text for each in got.one('select', id='detector').all('option') if 'selected' in each.attributes] == ['traffic']
    (following,) = [urlsplit(each.attributes['href']) for each in got.all('a', rel='next')]
    assert parse_qs(following.query) == {'detector': ['traffic'], 'match': ['job="web"'], 'sort': ['since'], 'offset': ['50']}
    assert len(rows(page(pages, following.query))) == 10


def test_a_detector_that_does_not_score_is_named_with_its_reason(pages):
    """At the top, whatever the filter."""
    assert 'broken : query: <no> & route to host' in page(pages, 'state=missing').one('section', class_='notice warning').text


def test_open_incidents_stand_above(pages):
    """With what is likely the cause."""
    cards = page(pages).all('li', class_='card')
    assert cards and all(parse_qs(urlsplit(card.all('a')[0].attributes['href']).query)['id'] for card in cards)


def test_what_changes_by_itself_is_said_once(pages):
    """A region for screen readers outside of what is replaced."""
    got = page(pages)
    assert got.one(role='status').attributes['aria-live'] == 'polite'
    assert not [part for part in got.all() if 'data-live' in part.attributes and part.all(role='status')]


def test_the_incident_with_the_most_entities_stands_first():
    """Whichever began last: the page has room for few."""
    names = [*(identity(service='database', pod=f'p{number}') for number in range(3)), *(identity(service=f's{number}') for number in range(5))]
    since = NOW - np.array([3000, 3000, 3000, 600, 610, 620, 630, 640])
    with Pages(CALM, lambda each: [standing(each['up'], names, np.full(8, 2.0), since=since)]) as running:
        running.raise_alarms()
        cards = page(running).all('li', class_='card')
        newest = running.get('/api/v1/incidents?state=open').json()['data']['incidents']
        assert [each['entities'] for each in newest] == [1, 1, 1, 1, 1, 3]
        assert ['of 3 entities' in card.text for card in cards] == [True, False, False, False]
        shown = [parse_qs(urlsplit(card.all('a')[0].attributes['href']).query)['id'][0] for card in cards]
        assert shown == [each['id'] for each in (newest[-1], *newest[:3])] and page(running).all('a', href='incidents?state=open')


@pytest.mark.parametrize('path', ['/?detector=disk&state=missing', '/detectors?detector=disk'])
@pytest.mark.parametrize(('field', 'text'), [('match', 'zone='), ('match', 'a=~"("'), ('q', 'x' * 2001)])
def test_a_filter_that_is_wrong_can_be_mended_where_it_stands(pages, path, field, text):
    """The form is there as it was filled in, with what is wrong beside it and nothing that could be taken for an answer."""
    got = pages.get(f'{path}&{field}={quote(text)}')
    shown = read(got.text)
    assert got.status_code == 400 and shown.one('p', id='problem').text.startswith(f'{field}: ') and not shown.all('tbody')
    assert shown.one('input', id=field).attributes.items() >= {'value': text, 'aria-invalid': 'true', 'aria-describedby': 'problem'}.items()
    assert shown.one('form', class_='filters') and ('missing' not in path or '1 missing' in shown.one('p', id='counts').text)


def test_no_line_breaks_before_a_unit(pages):
    """Neither in a value, nor in a band, nor in a sentence."""
    shown = pages.get('/entity?detector=disk&entity={instance="a:9100"}').text
    assert '4\xa0B' in shown and '2\xa0B to 6\xa0B' in shown and not re.search(r'[0-9] (B|%)', shown)


CALM = 'prometheus: {url: http://localhost:9090}\ndetectors: [{name: up, expr: up}]'


@pytest.mark.parametrize(
    ('score', 'status', 'query', 'said'),
    [
        (0.5, Status(scored=True), '', 'No entity is anomalous or missing.'),
        (0.5, Status(scored=True), 'q=x', 'No anomalous or missing entity matches.'),
        (np.nan, Status(reason='warming: 3 of 40 steps'), '', 'No detector scores yet.'),
        (np.nan, Status(stepped=True, scored=True, reason='query: gone'), '', 'No detector scores now.'),
    ],
)
def test_an_empty_page_says_what_to_do(score, status, query, said):
    """Nothing wrong, nothing found, nothing known: each has its own words."""
    with Pages(CALM, lambda each: [standing(each['up'], [identity(a='b')], [score], status=np.isnan(score))], {'up': status}) as running:
        assert page(running, query).one('div', class_='empty').one('strong').text == said


def test_a_step_that_is_not_the_present_is_not_shown():
    """As on /metrics, a step is the present for two steps."""
    with Pages(CALM, lambda each: [standing(each['up'], [identity(a='b')], [2.0], time=NOW - 120)], {'up': Status(reason='query: gone')}) as running:
        assert api(running)['total'] == 0 and 'query: gone' in page(running).text


@pytest.mark.parametrize(
    ('score', 'ago', 'status', 'said'),
    [
        (2.0, 200, Status(stepped=True, scored=True), 'One detector does not score: up : late: its last step is 3m21s old'),
        (np.nan, 0, Status(stepped=True, scored=True), 'One detector does not score: up : no entity has a score now'),
        (2.0, 200, Status(stepped=True, scored=True, reason='query: gone'), 'One detector does not score: up : query: gone'),
        (2.0, 200, Status(), 'One detector does not score yet: up : starting'),
    ],
)
def test_why_a_detector_does_not_score_is_told(score, ago, status, said):
    """Its own reason, or what can be seen of its steps; "yet" only where none has scored since the start."""
    with Pages(CALM, lambda each: [standing(each['up'], [identity(a='b')], [score], status=np.isnan(score), time=NOW - ago)], {'up': status}) as running:
        assert page(running).one('section', class_='notice warning').text == said


def test_what_silences_many_detectors_is_told_once():
    """With their names; and where none scores nothing is counted, for nothing is known."""
    config = f'{CALM[:-1]}, {{name: a, expr: up}}, {{name: b, expr: up}}]'
    gone = {name: Status(stepped=True, scored=True, reason='query: gone') for name in ('up', 'a', 'b')}
    for statuses, told, counts in (
        (gone, ['up , a , b : query: gone'], '– anomalous · – missing · 0 of 3 detectors score'),
        ({'a': gone['a']}, ['a : query: gone', 'b : waiting for the next step'], '0 anomalous · 0 missing · 1 of 3 detectors score'),
    ):
        with Pages(config, lambda each: [standing(each['up'], [identity(a='b')], [0.5])] if 'up' not in statuses else [], statuses) as running:  # noqa: B023
            shown = page(running)
            assert [each.text for each in shown.one('section', class_='notice warning').all('li')] == told and shown.one('p', id='counts').text == counts
            assert ('no detector scores' in shown.one('title').text) == ('up' in statuses)


def test_what_is_missing_is_counted_where_nothing_has_a_score():
    with Pages(CALM, lambda each: [standing(each['up'], [identity(a='b')], [np.nan], missing=[0])]) as running:
        shown = page(running)
        assert shown.one('p', id='counts').text == '0 anomalous · 1 missing · 0 of 1 detectors score' and len(rows(shown)) == 1


def test_without_pages_there_is_the_landing_page_alone(tmp_path):
    """Site without pages, as with --web.ui=false: no /api/v1 but incidents."""
    from serving import Exporter

    with Exporter(site={'incidents': lambda asked: ([], None)}) as plain:
        assert 'Anomaly gauges for Prometheus' in plain.get('/').text
        assert plain.get('/api/v1/incidents').status_code == 200
        assert [plain.get(path).status_code for path in ('/api/v1/anomalies', '/api/v1/openapi.yml', '/detectors')] == [404] * 3


def test_json_and_pages_come_compressed_where_that_is_wanted(pages):
    """And say so."""
    for path in ('/', '/api/v1/anomalies', '/nothing'):
        got = pages.get(path, **{'Accept-Encoding': 'gzip'})
        assert got.headers['Content-Encoding'] == 'gzip' and (json.loads(got.text) if 'api' in path else read(got.text))


def test_a_page_that_is_not_there_is_a_page(pages):
    """404 as HTML for readers, as JSON below /api."""
    got = pages.get('/nothing')
    assert (got.status_code, got.headers['Content-Type']) == (404, 'text/html; charset=utf-8') and read(got.text).one('h1').text == 'Not found'
    got = pages.get('/api/v1/nothing')
    assert (got.status_code, got.json()['errorType']) == (404, 'not_found')
    assert pages.get('/', 'POST').status_code == 405


PREFIX = '/tools/promlstm'


def test_pages_hold_below_a_prefix():
    """Links and files are relative, the policy lets nothing come from elsewhere, and files may be kept for ever."""
    with Pages(CALM, lambda each: [standing(each['up'], [identity(a='b')], [2.0])], site={'prefix': PREFIX}) as running:
        got = running.get(f'{PREFIX}/')
        shown, policy = read(got.text), got.headers['Content-Security-Policy']
        assert "default-src 'none'" in policy and 'unsafe' not in policy and not shown.all('style')
        links = {each.attributes.get('href') or each.attributes.get('src') for tag in ('a', 'link', 'script', 'img') for each in shown.all(tag)}
        assert links and not [link for link in links if link.startswith('/') or '//' in link]
        assert not [each for each in shown.all() if 'style' in each.attributes or any(name.startswith('on') for name in each.attributes)]
        for name in ('style.css', 'icon.svg', 'times.js', 'forms.js', 'now.js'):
            (path,) = [link for link in links if link.endswith(f'/{name}')]
            file = running.get(f'{PREFIX}/{path}')
            assert (file.status_code, file.headers['Cache-Control']) == (200, 'public, max-age=31536000, immutable')
        assert running.get(f'{PREFIX}/static/0123456789abcdef/style.css').status_code == 404
        assert running.get('/detectors').status_code == 404 and running.get(f'{PREFIX}/detectors').status_code == 200
