"""The pages in a real browser, of a real exporter on a real Prometheus with faults planted: what every page does, and what a user does with them."""

import re
from urllib.parse import quote

import pytest
from browser import NARROW, axe, valid
from estate_bench import HOSTILE, Bench
from servers import wait_until

from promlstm.engine import labels
from promlstm.ui import site

pytestmark = [pytest.mark.real, pytest.mark.slow]

DOWN = ('ERR_CONNECTION_REFUSED', 'ERR_CONNECTION_RESET', 'ERR_EMPTY_RESPONSE', 'ERR_SOCKET_NOT_CONNECTED')
REFUSED = (r'status of (400|404)',)
# name: (path, the page that it is a state of). {incident}, {hostile} and {entity} are filled in.
PAGES = {
    'now': './',
    'now, filtered': './?detector=visits&state=anomalous',
    'now, nothing': './?q=nothing+has+this',
    'incidents': 'incidents',
    'incident': 'incident?id={incident}',
    'incident with hostile labels': 'incident?id={hostile}',
    'detectors': 'detectors',
    'detector': 'detectors?detector=cpu',
    'entity': 'entity?detector=service_latency&entity={entity}',
    'entity with hostile labels': 'entity?detector=visits&entity={hostile_entity}',
    'what if': 'what-if?detector=cpu',
    'false alarm': 'feedback?detector=service_latency&entity={entity}',
}
WRONG = {'incident?id=20200101-000000-0000': 404, 'detectors?detector=none': 404, 'nowhere': 404, './?state=x': 400}


@pytest.fixture(scope='module')
def bench(tmp_path_factory):
    with Bench(tmp_path_factory.mktemp('pages')) as running:
        yield running


@pytest.fixture(scope='module')
def filled(bench):
    """What the paths are filled in with."""
    incidents = bench.incidents('open')
    evil = next(each['entity'] for each in bench.anomalies()['anomalies'] if '<script>' in each['entity'])
    return {
        'incident': next(each['id'] for each in incidents if each['entities'] > 3),
        'hostile': next(each['id'] for each in incidents if '<script>' in str(each['members'])),
        'entity': quote('{namespace="shop",service="database"}'),
        'hostile_entity': quote(evil),
    }


@pytest.fixture(params=PAGES)
def url(request, bench, filled):
    """Each page in turn."""
    return f'{bench.exporter.url}/{PAGES[request.param].format(**filled)}'


def checked(look):
    """The page that is shown is valid and accessible, in light and dark, wide and narrow."""
    valid(look.source)
    assert look.page.title().endswith('promlstm') and look.page.locator('h1').count() == 1
    assert look.overflowing() == [], 'wide'
    axe(look.page)
    with look.dark():
        axe(look.page)
    with look.narrow():
        assert look.overflowing() == [], 'narrow'
        axe(look.page)


def test_each_page_is_valid_and_accessible(look, url):
    """Nothing is asked of another server, and nothing breaks the page's own policy."""
    response = look.open(url)
    assert response.status == 200 and "default-src 'none'" in response.headers['content-security-policy']
    checked(look)


@pytest.mark.parametrize('path', WRONG)
def test_what_is_wrong_is_a_page_too(bench, look, path):
    """It says what there is, and leads back."""
    with look.tolerating(*REFUSED):
        assert look.open(f'{bench.exporter.url}/{path}').status == WRONG[path]
        checked(look)
    look.page.locator('main a[href="./"]').click()
    look.page.wait_for_selector('h1:has-text("Now")')


@pytest.mark.parametrize('path', ['./?match=x', 'detectors?detector=cpu&match=x'])
def test_a_filter_that_is_wrong_is_mended_where_it_stands(bench, look, path):
    with look.tolerating(*REFUSED):
        assert look.open(f'{bench.exporter.url}/{path}').status == 400
        checked(look)
    look.page.get_by_label('Labels').fill('instance="host-03:9100"')
    look.page.get_by_label('Labels').press('Enter')
    look.page.wait_for_selector('#entities-title ~ * tbody tr, #entities-title ~ table tbody tr')
    assert 'host-03:9100' in look.page.locator('tbody tr').first.inner_text() and not look.page.locator('#problem').count()


def test_each_group_of_pages_is_looked_at(bench):
    """A page that is added has to be added here."""
    groups = {path for group in site.GROUPS for method, path in group(_Anything()) if method == 'GET' and not path.startswith('/api/')}
    looked_at = {'/' + re.sub(r'^\./', '', path).partition('?')[0] for path in PAGES.values()}
    assert groups == looked_at


class _Anything:
    """Stands for a context whose pages are not asked for."""

    def __getattr__(self, name):
        return self

    def __call__(self, *_, **__):
        return self


def test_each_page_can_be_read_without_scripts(chromium, url):
    """The headings are the same, and there is something under them."""
    titles = []
    for scripts in (True, False):
        context = chromium.new_context(java_script_enabled=scripts)
        try:
            page = context.new_page()
            page.goto(url)
            titles.append([text for text in page.locator('h1, h2').all_inner_texts() if text])
            assert len(page.locator('main').inner_text()) > 40
        finally:
            context.close()
    assert set(titles[1]) <= set(titles[0]) and titles[1]


def test_on_a_phone_the_filter_is_on_the_first_screen(bench, look):
    """However many incidents are open."""
    with look.narrow():
        look.open(f'{bench.exporter.url}/')
        assert look.page.locator('.card').count() == 4
        box = look.page.get_by_label('Text in a label').bounding_box()
        assert box['y'] + box['height'] < NARROW['height']


def test_charts_say_what_the_reason_says(bench, look, filled):
    """What the model saw is in the same words; what goes on is marked, also where Prometheus has no gauges of it."""
    look.open(f'{bench.exporter.url}/{PAGES["entity"].format(**filled)}')
    look.page.wait_for_selector('canvas')
    words = look.page.locator('[data-now=reason]').inner_text().rpartition('; ')[2].rstrip('.')
    assert words in look.page.locator('figure.chart', has_text='What the model saw').inner_text()
    assert 'anomalous' in look.page.locator('ul.key').inner_text()


def test_from_the_first_page_to_an_entity_with_the_keyboard(bench, look):
    """The first stop is the link over the head of the page; from the list, Enter opens the entity."""
    look.open(f'{bench.exporter.url}/')
    look.page.keyboard.press('Tab')
    assert look.page.evaluate('document.activeElement.className') == 'skip'
    look.page.keyboard.press('Enter')
    for _ in range(60):
        look.page.keyboard.press('Tab')
        if look.page.evaluate("document.activeElement.matches('#rows tbody a.labels')"):
            break
    else:
        pytest.fail('the first row is not reached with 60 tabs')
    outline = look.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != 'none'
    wanted = look.page.evaluate("document.activeElement.querySelector('.v').textContent")
    look.page.keyboard.press('Enter')
    look.page.wait_for_url('**/entity?*')
    assert wanted in look.page.locator('h1').inner_text()


def test_the_back_button_leads_to_the_same_filter(bench, look):
    """What one filters by is in the address, and in the form."""
    look.open(f'{bench.exporter.url}/')
    look.page.get_by_label('Detector', exact=True).select_option('visits')
    look.page.get_by_label('Text in a label').fill('日本語')
    look.page.get_by_role('button', name='Filter').click()
    look.page.wait_for_url('**detector=visits**')
    rows = look.page.locator('#rows tbody tr')
    assert rows.count() == 1
    rows.locator('a.labels').click()
    look.page.wait_for_url('**/entity?*')
    look.page.go_back()
    look.page.wait_for_url('**detector=visits**')
    assert rows.count() == 1 and look.page.get_by_label('Detector', exact=True).input_value() == 'visits'
    assert look.page.get_by_label('Text in a label').input_value() == '日本語'


def test_hostile_labels_are_text_everywhere(bench, look, filled):
    """Each stands on the pages as it is, and runs nothing; links with them lead to what they are of."""
    look.page.on('dialog', lambda dialog: look.wrong.append(f'a label ran: {dialog.message}') or dialog.dismiss())
    look.open(f'{bench.exporter.url}/?detector=visits')
    rows = look.page.locator('#rows tbody tr')
    assert rows.count() == len(HOSTILE)
    assert look.page.locator('main script, main img, main iframe').count() == 0
    for text in HOSTILE:
        look.open(f'{bench.exporter.url}/?detector=visits&match={quote(labels.selector([("page", text)])[1:-1])}')
        assert rows.count() == 1, text[:50]
        shown = rows.locator('.label .v').first.inner_text().rstrip('…')
        assert ''.join(shown.split())[:50] == ''.join(text.split())[:50]
        rows.locator('a.labels').click()
        look.page.wait_for_url('**/entity?*')
        heading = ''.join(look.page.locator('h1').inner_text().split())
        assert ''.join(text.split())[:30] in heading, heading[:200]
        assert look.page.locator('main script, main img, main iframe').count() == 0
    for each in bench.incidents('open'):
        look.open(f'{bench.exporter.url}/incident?id={each["id"]}')
        assert look.page.locator('main script, main img, main iframe').count() == 0


def test_a_page_renews_itself_and_keeps_still_while_one_reads(bench, look):
    """The list is replaced by newer steps, and not while text in it is selected."""
    fresh, mark = "!document.querySelector('#rows').dataset.old", "document.querySelector('#rows').dataset.old = 'yes'"
    look.open(f'{bench.exporter.url}/')
    look.page.evaluate(mark)
    look.wait_for(fresh, 'a newer list')
    look.page.evaluate(f"{mark}; getSelection().selectAllChildren(document.querySelector('#rows'))")
    look.wait_for("document.querySelector('#updated').textContent.includes('text is selected')", 'the page to say that it waits')
    assert not look.page.evaluate(fresh)
    look.page.evaluate('getSelection().removeAllRanges()')
    look.wait_for(fresh, 'a newer list')


@pytest.mark.parametrize('path', ['./', 'incident?id={incident}'])
def test_an_exporter_that_restarts_is_told_of_and_the_page_goes_on_by_itself(bench, look, filled, path):
    """What was last known stays; once the exporter is back the page has what it says now, without a reload."""
    look.open(f'{bench.exporter.url}/{path.format(**filled)}')
    shown = look.page.locator('main').inner_text()
    with look.tolerating(*DOWN):
        assert bench.exporter.stop() == 0
        try:
            look.wait_for("document.querySelector('#updated').textContent.includes('cannot be reached')", 'the page to say that nobody answers')
            assert shown.splitlines()[0] in look.page.locator('main').inner_text()
        finally:
            bench.exporter.start()
        bench.wait_ready()
        look.wait_for("document.querySelector('#updated').textContent.includes('updated')", 'the page to go on')
    assert look.page.locator('#rows tbody tr').count()


def test_a_prometheus_that_is_gone_is_told_of(bench, look, filled):
    """In the place of what it would have answered; of an incident it is not said that it is over. When Prometheus is back, so is the past."""
    address, entity = bench.exporter.url, f'entity?detector=service_latency&entity={filled["entity"]}'

    def says(path, text):
        look.open(f'{address}/{path}')
        return re.search(text, look.page.locator('main').inner_text())

    assert not says(entity, 'did not answer')
    look.page.wait_for_selector('canvas')
    bench.prometheus.stop()
    try:
        with look.tolerating('status of 50[0-9]'):
            wait_until(lambda: says(entity, 'did not answer, so history cannot be shown'), 90, 'the page of an entity to say that Prometheus is gone')
            assert 'database' in look.page.locator('h1').inner_text()
            axe(look.page)
            wait_until(lambda: says('', 'cpu, disk_free, .*: query: .*refused'), 90, 'the first page to say which detectors do not score, and why')
            wait_until(lambda: says('', '– anomalous · – missing · 0 of 8 detectors score'), 90, 'all detectors to be told of')
            assert 'unknown now' in look.page.locator('#above').inner_text()
            assert says(f'incident?id={filled["incident"]}', 'it is not known what is anomalous now')
    finally:
        bench.prometheus.start()
    bench.wait_ready()
    wait_until(lambda: not says(entity, 'did not answer'), 90, 'the past to be back')
    look.page.wait_for_selector('canvas')
