"""The page Detectors, and the search over all entities of one, /api/v1/detectors and /api/v1/entities."""

from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest
from html_pages import read, rows
from running import Running, running
from servers import wait_until
from serving import Exporter
from standings import NOW

from promlstm.errors import SourceUnavailable
from promlstm.ui.context import Context
from promlstm.ui.site import Ui
from promlstm.ui.templates import Templates

ODD = quote('<b>"odd"</b>')


def api(pages, path, query=''):
    got = pages.get(f'/api/v1/{path}?{query}')
    assert got.status_code == 200, got.text
    return got.json()['data']


def page(pages, query=''):
    got = pages.get(f'/detectors?{query}')
    assert got.status_code == 200, got.text
    return read(got.text)


def test_a_detector_says_what_it_does(pages):
    """Its state, its entities by state, its step, model, budget, source and expressions."""
    first, *others = api(pages, 'detectors')['detectors']
    assert first == {
        'name': 'traffic', 'scores': True, 'status': 'scoring', 'last_step': NOW, 'step_seconds': 60.0, 'delay_seconds': 10.0, 'model': 'default',
        'entities': {'normal': 120, 'anomalous': 60, 'missing': 0, 'warming': 0, 'absent': 0, 'dropped': 7}, 'model_file': 'builtin:default',
        'budget': '1/week each', 'direction': 'both', 'source': 'prometheus', 'queries': {'': 'sum by (service) (rate(http_requests_total[5m]))'},
    }  # fmt: skip
    assert [each['name'] for each in others] == ['disk', '<b>"odd"</b>', 'broken']
    assert (others[-1]['scores'], others[-1]['status'], others[-1]['entities']) == (False, 'query: <no> & route to host', None)


def test_detectors_come_page_by_page(pages):
    """As all lists do."""
    data = api(pages, 'detectors', 'limit=3')
    assert (len(data['detectors']), data['total'], data['next']) == (3, 4, 3)
    assert [each['name'] for each in api(pages, 'detectors', 'offset=3')['detectors']] == ['broken']
    assert [each['name'] for each in api(pages, 'detectors', 'detector=disk')['detectors']] == ['disk']


def test_the_page_lists_all_of_them_with_their_reasons(pages):
    """One that does not score says why; the counts lead to what is anomalous or missing."""
    shown = rows(page(pages))
    assert [row['Detector'].split()[0] for row in shown] == ['traffic', 'disk', '<b>"odd"</b>', 'broken']
    assert shown[-1]['State'] == 'not scoring query: <no> & route to host'
    assert (shown[0]['Anomalous'], shown[1]['Missing'], shown[0]['Warming up']) == ('60', '1', '0 7 over max_entities')
    links = [parse_qs(urlsplit(link.attributes['href']).query) for link in page(pages).all('a', class_='anomalous-text')]
    assert {'detector': ['traffic'], 'state': ['anomalous']} in links


@pytest.mark.parametrize(
    ('query', 'total'),
    [
        ('', 180), ('state=normal', 120), ('state=anomalous', 60), ('state=missing', 0), ('q=s17', 10), ('match=service%3D%22s100%22', 1),
        ('match=service%3D~%22s1..%22&state=normal', 80), ('q=nothing', 0), ('q=S10&sort=name', 10),
    ],
)  # fmt: skip
def test_any_entity_can_be_found(pages, query, total):
    """Also one that is normal; the page has what the API gives."""
    data = api(pages, 'entities', f'detector=traffic&{query}')
    assert data['total'] == total and len(data['entities']) == min(total, 50)
    got = page(pages, f'detector=traffic&{query}')
    assert len(rows(got)) == min(total, 50) if total else got.all('div', class_='empty')


def test_states_are_those_of_the_step(pages):
    """An entity that is normal has a score and no reason; one that is missing has neither score nor value."""
    normal, gone = api(pages, 'entities', 'detector=disk&sort=name')['entities']
    assert (normal['state'], normal['reason'], normal['since'], round(normal['score'], 3)) == ('normal', '', None, 0.2)
    assert (gone['state'], gone['score'], gone['observed'], gone['since']) == ('missing', None, None, NOW - 120)


@pytest.mark.parametrize('sort', ['score', 'name'])
def test_pages_of_entities_follow_each_other(pages, sort):
    """Nothing is left out and nothing comes twice."""
    found, offset = [], 0
    while offset is not None:
        data = api(pages, 'entities', f'detector=traffic&limit=50&offset={offset}&sort={sort}')
        found, offset = found + data['entities'], data['next']
    assert len({each['entity'] for each in found}) == len(found) == 180
    keys = [each['entity'] if sort == 'name' else -each['score'] for each in found]
    assert keys == sorted(keys)


def test_a_detector_without_a_step_has_no_entities_and_says_why(pages):
    """Not an error: it may score again at the next step."""
    assert api(pages, 'entities', 'detector=broken')['total'] == 0
    got = page(pages, 'detector=broken')
    assert got.one('p', class_='notice warning').text == 'query: <no> & route to host' and got.one('div', class_='empty').text


def test_an_unknown_detector_is_none(pages):
    """404, with the names that there are; a search needs one."""
    for path in ('/api/v1/entities', '/api/v1/detectors', '/detectors'):
        assert pages.get(f'{path}?detector=cpu').status_code == 404
    assert pages.get('/api/v1/entities').json()['error'].startswith('detector: missing; detectors: traffic, disk')


def test_hostile_names_stay_text(pages):
    """The name of a detector is text in a heading, a form and links."""
    got = page(pages, f'detector={ODD}')
    assert got.one('h1').text == '<b>"odd"</b>' and not got.all('b') and not got.all('i')
    assert got.one('input', name='detector').attributes['value'] == '<b>"odd"</b>'


def test_a_detector_that_fails_leaves_the_pages_as_it_leaves_the_gauges():
    """What is on /metrics and what is on the pages is the same: nothing of a step that failed, until the next one that does not."""
    subject = Running()
    context = Context(
        board=subject.board, statuses=subject.scheduler.statuses, in_force=subject.scheduler.in_force, incidents=subject.incidents, now=subject.clock.now,
        templates=Templates(),
    )  # fmt: skip
    with running(subject), Exporter(site={'pages': Ui(context).answer}) as served:
        wait_until(lambda: all(each['entities'] for each in api(served, 'detectors')['detectors']), 30, 'a step of each')
        subject.source.errors['a'] = SourceUnavailable('gone')
        wait_until(lambda: not subject.on_page('a'), 30, 'its gauges go')
        failing = api(served, 'detectors')['detectors']
        assert (failing[0]['entities'], failing[0]['status']) == (None, 'query: gone') and failing[1]['entities']
        del subject.source.errors['a']
        wait_until(lambda: api(served, 'detectors')['detectors'][0]['entities'], 30, 'it is back')
        assert np.isfinite(api(served, 'entities', 'detector=a')['entities'][0]['observed'])
