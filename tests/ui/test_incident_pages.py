"""The pages of incidents, from the columns to the HTML; what a browser makes of them is in test_browser."""

import asyncio
import json
import re
from html import unescape
from itertools import pairwise
from urllib.parse import quote

import pytest
from alarms import NOW, Fleet, table
from html_pages import read
from html_pages import rows as rows_of
from standings import identity, standing

from promlstm import config
from promlstm.incidents import listing
from promlstm.incidents.graph import Graph
from promlstm.incidents.surroundings import Node, Surroundings
from promlstm.live.clock import Clock
from promlstm.live.incidents import Gathering
from promlstm.serve.messages import Request
from promlstm.serve.telemetry import Telemetry
from promlstm.settings import RootCause
from promlstm.ui import incidents
from promlstm.ui.board import Board
from promlstm.ui.context import Context
from promlstm.ui.site import Ui
from promlstm.ui.templates import Templates

CHAIN = ('frontend', 'shop', 'database')


class Site:
    """The pages over incidents that a test makes, as of NOW."""

    def __init__(self, incidents, now=NOW):
        clock = Clock(start=now, speed=1, monotonic=lambda: 0.0)
        gathering = Gathering(RootCause(), clock, Telemetry(process=False), lambda *_: None, incidents)
        self.ui = Ui(Context(Board(clock.now), dict, lambda: None, gathering, clock.now, Templates()))

    def get(self, path, query=''):
        """(status, text) of a page."""
        answer = asyncio.run(self.ui.answer(Request('GET', path, {}, '127.0.0.1', query=query)))
        return answer.status, b''.join(answer.parts).decode()

    def ids(self, query=''):
        """The ids that the page of all incidents links to, in its order."""
        status, page = self.get('/incidents', query)
        assert status == 200
        return list(dict.fromkeys(re.findall(r'href="incident\?id=([^"&]+)"', page)))


def spread(incidents, begin=NOW - 240, chain=CHAIN, **labels):
    """A fault that travels up a chain of services, a minute each."""
    incidents.graph = Graph().observed(begin - 60, [(('service', a), ('service', b)) for a, b in pairwise(chain)], 'calls')
    fleet = Fleet(incidents, 'latency', {name: {'service': name, **labels} for name in chain}, queries=(('', 'latency_seconds'),))
    for k in range(int((NOW - begin) // 60) + 1):
        fleet.step(begin + 60 * k, *chain[::-1][: k + 1])
    return incidents


def rows(page, name):
    """The cells of the table of a class, as text."""
    (found,) = re.findall(rf'<table class="cards {name}".*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    cells = [re.findall(r'<td.*?</td>', row, re.DOTALL) for row in re.findall(r'<tr.*?</tr>', found, re.DOTALL)]
    return [[' '.join(unescape(re.sub(r'<[^>]+>', ' ', cell)).split()) for cell in row] for row in cells]


def test_an_incident_is_told_with_its_cause_its_evidence_and_its_onsets():
    """In a sentence, as a ranking, as a graph, and as members in the order in which they began."""
    site = Site(spread(table()))
    (name,) = site.ids()
    status, page = site.get('/incident', f'id={name}')
    text = ' '.join(unescape(re.sub(r'<[^>]+>', ' ', page)).split())
    assert status == 200 and 'Incident: service=database' in text
    assert 'None of its detectors scores, so it is not known what is anomalous now. So far 3 entities.' in text  # the board of this test is empty
    assert re.search(r'The likely cause is service=database \( \d[\d.]* % : .+\)\.', text), text
    probability, what, evidence = rows(page, 'causes')[0]
    assert what == 'service=database' and float(probability.removesuffix(' %')) > 50 and 'before what depends on it' in evidence
    began = [(row[1], row[0].rpartition(' ')[2]) for row in rows(page, 'members')]
    assert began == [('service= database latency', 'first'), ('service= shop latency', '+1m'), ('service= frontend latency', '+2m')]
    bars = [tuple(map(int, each)) for each in re.findall(r'<rect class="alarm" x="(\d+)" width="(\d+)"', page)]
    assert bars[0] == (0, 1000) and bars[0] < bars[1] < bars[2] and all(left + width == 1000 for left, width in bars)
    assert re.findall(r'<li><bdi>(.*?)</bdi> depends on <bdi>(.*?)</bdi></li>', page) == [
        ('service=shop', 'service=database'), ('service=frontend', 'service=shop'),
    ]  # fmt: skip
    assert page.count('<path class="line"') == 2 and page.count('class="box anomalous') == 3
    assert 'style=' not in page


def test_links_lead_to_the_entities():
    """Of the cause and of each member: by detector and labels; names in the graph to all that has them."""
    site = Site(spread(table()))
    _, page = site.get('/incident', f'id={site.ids()[0]}')
    wanted = 'entity?detector=latency&amp;entity=%7Bservice%3D%22{}%22%7D'
    assert all(f'href="{wanted.format(name)}"' in page for name in CHAIN)
    assert 'href="./?match=service%3D%22database%22"' in page


def test_the_api_has_the_same_with_the_graph():
    site = Site(spread(table()))
    (name,) = site.ids()
    status, text = site.get('/api/v1/incident', f'id={name}')
    data = json.loads(text)['data']
    assert status == 200 and data['incident']['id'] == name and data['incident']['cause'][0]['thing'] == 'service=database'
    nodes = [f'{node["label"]}={node["value"]}' for node in data['graph']['nodes']]
    assert [(nodes[a], nodes[b]) for a, b in data['graph']['edges']] == [('service=shop', 'service=database'), ('service=frontend', 'service=shop')]
    assert data['graph']['nodes'][0]['probability'] == data['incident']['cause'][0]['probability']


def test_the_graph_of_what_is_over_shows_what_was():
    """Nothing of it is drawn as if it were anomalous now; of one that goes on, only what is."""
    site = Site(spread(table()), now=NOW + 7200)
    (name,) = site.ids('state=closed')
    _, page = site.get('/incident', f'id={name}')
    assert page.count('class="box was') == 3 and 'box anomalous' not in page and 'class="anomalous"' not in page
    assert page.count(', was anomalous, ') == 3 and 'Dashed red border: was anomalous.' in page
    member = listing.Member('latency', {'service': 'shop'}, NOW, None, 2.0, 2.0, 'above', None, None, False)
    nodes = [Node('service', name, 0.5, onset) for name, onset in (('shop', NOW), ('database', NOW), ('mail', None))]
    _, boxes = incidents.graph(Surroundings(nodes, [(0, 1), (1, 2)]), [member])
    assert [box.state for box in boxes] == ['anomalous', 'was', '']


def test_members_have_pictures_of_the_last_hours_or_of_how_it_began():
    """Of the feature of their alarm; of what is long over the hours around its beginning."""
    spreading = spread(table())
    pictures = lambda page: re.findall(r'<span class="sparkline"( data-end="\d+")? data-detector="latency" data-entity="([^"]+)" data-feature=""', page)  # noqa: E731
    for later, end in ((0, ''), (86400, f' data-end="{int(NOW - 240 + 4.5 * 3600)}"')):
        site = Site(spreading, now=NOW + later)
        _, page = site.get('/incident', f'id={site.ids()[0]}')
        assert pictures(page) == [(end, f'{{service=&#34;{name}&#34;}}') for name in CHAIN[::-1]]


def test_what_cannot_be_told_is_not_told():
    """Two pods of one node without edges at the same instant: no cause is named in the title, and no graph is drawn."""
    incidents = table()
    Fleet(incidents, 'latency', {name: {'pod': name, 'node': 'n'} for name in 'ab'}).step(NOW - 60, 'a', 'b').step(NOW, 'a', 'b')
    site = Site(incidents)
    _, page = site.get('/incident', f'id={site.ids()[0]}')
    assert '<h1>Incident: <bdi>2 entities of latency</bdi></h1>' in page and 'promlstm cannot tell the cause.' in page
    assert 'Dependencies' not in page and '<svg class="graph"' not in page


def test_a_large_graph_is_listed_and_not_drawn():
    """Beyond what one can read."""
    chain = tuple(f's{number}' for number in range(60))
    incidents = table(window='2h')
    incidents.graph = Graph().observed(NOW - 600, [(('service', a), ('service', 'db')) for a in chain], 'calls')
    fleet = Fleet(incidents, 'latency', {name: {'service': name} for name in ('db', *chain)})
    fleet.step(NOW - 120, 'db').step(NOW - 60, 'db', *chain).step(NOW, 'db', *chain)
    site = Site(incidents)
    _, page = site.get('/incident', f'id={site.ids()[0]}')
    assert '<svg class="graph"' not in page and 'The graph has 61 nodes. It is drawn only up to 40.' in page
    assert page.count('</bdi> depends on <bdi>') == 60
    assert page.count('<svg class="onset"') == 50 and 'rel="next"' in page
    _, page = site.get('/incident', f'id={site.ids()[0]}&offset=50')
    assert page.count('<svg class="onset"') == 11 and 'rel="prev"' in page


def test_an_incident_that_is_over_says_when():
    incidents = table()
    fleet = Fleet(incidents, 'latency', {'a': {'service': 'a'}})
    for k in range(40):
        fleet.step(NOW - 3600 + 60 * k, *(['a'] if k < 10 else []))
    site = Site(incidents, now=NOW - 3600 + 60 * 39)
    _, page = site.get('/incident', f'id={site.ids()[0]}')
    text = ' '.join(unescape(re.sub(r'<[^>]+>', ' ', page)).split())
    assert '1 entity of 1 detector was anomalous or missing.' in text and 'Lasted 9m, until' in text
    assert site.ids('state=open') == [] and len(site.ids('state=closed')) == 1


@pytest.mark.parametrize(('hours', 'span'), [(1, ''), (24, f'&amp;range=6h&amp;end={int(NOW) - 3060 + 5400}')])
def test_links_of_what_is_long_over_lead_to_that_time(hours, span):
    """The page of an entity shows the last hours, unless it is told which."""
    incidents = table()
    fleet = Fleet(incidents, 'latency', {'a': {'service': 'a'}})
    for k in range(40):
        fleet.step(NOW - 3600 + 60 * k, *(['a'] if k < 10 else []))
    site = Site(incidents, now=NOW - 3600 + 3600 * hours)
    _, page = site.get('/incident', f'id={site.ids()[0]}')
    links = re.findall(r'href="entity\?detector=latency&amp;entity=%7Bservice%3D%22a%22%7D([^"]*)"', page)
    assert len(links) >= 2 and set(links) == {span}


def test_an_id_that_is_not_known_is_404_and_says_how_long_incidents_are_kept():
    """A link in an old notification leads to an explanation."""
    status, page = Site(table()).get('/incident', 'id=20200101-000000-%3Cb%3E')
    assert status == 404 and 'keeps the newest 1,000 incidents' in page and '--storage.path' in page and '<b>' not in page
    status, text = Site(table()).get('/api/v1/incident', 'id=x')
    assert status == 404 and json.loads(text)['errorType'] == 'not_found'


@pytest.mark.parametrize(
    ('path', 'query', 'told'),
    [
        ('/incident', '', 'id: missing'),
        ('/incident', 'id=', 'id: missing'),
        ('/incident', 'id=x&offset=-1', 'offset: expected a number'),
        ('/incident', 'id=x&what=1', 'what: unknown parameter; known: id, offset'),
        ('/incidents', 'state=half', 'state: expected one of open, closed, all'),
        ('/incidents', 'after=x', 'after: expected the value of `next`'),
        ('/incidents', 'limit=5', 'limit: unknown parameter; known: after, detector, match, q, state'),
    ],
)
def test_what_cannot_be_asked_for_is_told(path, query, told):
    status, page = Site(table()).get(path, query)
    assert status == 400 and told in unescape(page)


def test_pages_of_incidents_follow_each_other():
    """Each incident stands on one of them, the open ones and the newest first."""
    incidents = table(window='1m', within=['team'])
    fleet = Fleet(incidents, 'latency', {str(n): {'service': f's{n}', 'team': f't{n}'} for n in range(120)})
    fleet.step(NOW - 60, *map(str, range(120))).step(NOW, *map(str, range(120)))
    site, query, seen = Site(incidents), '', []
    for _ in range(3):
        seen += site.ids(query)
        more = re.search(r'rel="next" href="incidents\?([^"]+)"', site.get('/incidents', query)[1])
        query = unescape(more[1]) if more else None
    assert query is None and len(seen) == len(set(seen)) == 120
    assert 'There are no older incidents' in site.get('/incidents', 'after=closed:19700101-000000-0000')[1]


@pytest.mark.parametrize(
    ('query', 'found'),
    [
        ('', 3), ('match=service="s1"', 1), ('match=service=~"s[12]",team!="t2"', 1), ('q=S2', 1), ('q=s2&match=service="s1"', 0),
        ('q=s2&state=closed', 0), ('q=s2&state=open', 1),
    ],
)  # fmt: skip
def test_incidents_are_found_by_what_is_in_them(query, found):
    """What one asks for is in the address, and in the form."""
    incidents = table(window='1m', within=['team'])
    names = [str(n) for n in range(3)]
    Fleet(incidents, 'latency', {n: {'service': f's{n}', 'team': f't{n}'} for n in names}).step(NOW - 60, *names).step(NOW, *names)
    site = Site(incidents)
    assert len(site.ids(quote(query, safe='=&'))) == found
    if found == 0:
        assert 'incident has an entity that matches.' in site.get('/incidents', quote(query, safe='=&'))[1]


def test_pages_of_found_incidents_follow_each_other():
    """The link to older ones has the filter."""
    incidents = table(window='1m', within=['team'])
    fleet = Fleet(incidents, 'latency', {str(n): {'service': f's{n}', 'team': f't{n}'} for n in range(120)})
    fleet.step(NOW - 60, *map(str, range(120))).step(NOW, *map(str, range(120)))
    site = Site(incidents)
    more = re.search(r'rel="next" href="incidents\?([^"]+)"', site.get('/incidents', 'match=service%3D~%22s%5B0-9%5D%7B1,2%7D%22')[1])
    query = unescape(more[1])
    assert 'match=service' in query and 'after=' in query and len(site.ids(query)) == 50
    assert len(site.ids(re.sub('after=[^&]*', '', query).strip('&'))) == 50


def test_a_detector_is_chosen_among_those_that_are_configured(pages):
    """An incident has an entity of it, among others; what is none is refused where it stands."""
    shown = read(pages.get('/incidents?detector=disk').text)
    assert rows_of(shown) and all('disk' in row['Detectors'] for row in rows_of(shown))
    assert 'No incident has an entity that matches.' in read(pages.get('/incidents?detector=broken').text).text
    assert shown.one('option', value='disk').attributes.keys() >= {'selected'} and pages.get('/incidents?detector=none').status_code == 404
    wrong = pages.get('/incidents?match=x')
    assert wrong.status_code == 400 and read(wrong.text).one('p', id='problem').text.startswith('match: expected matchers')
    assert read(wrong.text).one('input', id='match').attributes['value'] == 'x'


def test_what_tells_an_entity_from_others_leads_its_name():
    """As in lists and headings; a name that is no entity stays."""
    (detector,) = config.parse('prometheus: {url: http://p}\ndetectors: [{name: visits, expr: visits}]').detectors
    known = standing(detector, [identity(job='web', page='/'), identity(job='web', page='/a')], [2.0, 2.0])
    thing = incidents.named([known], Templates().shared)
    said = [
        thing(listing.Cause(name, {'job': 'web', 'page': '/'}, text, 0.9, []))
        for name, text in (('visits', 'job=web, page=/'), ('visits', 'service=shop'), ('other', 'job=web, page=/'), (None, 'job=web'))
    ]
    assert said == ['page=/, job=web', 'service=shop', 'job=web, page=/', 'job=web']


def test_without_any_incident_the_page_says_what_will_come():
    assert 'There are no incidents.' in Site(table()).get('/incidents')[1]
    assert 'No incident is open.' in Site(table()).get('/incidents', 'state=open')[1]


def test_labels_are_text():
    """In the title, the sentence, the table, the graph and the list."""
    evil = '"></title><script>alert(1)</script>'
    site = Site(spread(table(), chain=('a', evil)))
    for _, page in (site.get('/incident', f'id={site.ids()[0]}'), site.get('/incidents')):
        assert '<script>alert' not in page and '&lt;script&gt;alert(1)' in page
