"""The pages over 100 000 entities, in a real browser, of a real exporter: first pages stay small, lists come in pages, one entity is found among all."""

import time
from contextlib import contextmanager

import numpy as np
import pytest
import servers
import tiny_model
from browser import axe, valid
from exporter import Exporter

from promlstm.demo.fleet import Series
from promlstm.demo.source import Source

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.accept]

ENTITIES, ONE_IN = 100_000, 1_000
RISEN = ENTITIES // ONE_IN
MOST_BYTES = 200_000  # of the first page with all that it loads, nothing cached
STEP_SECONDS, REPLAYED = 10, 6
FOUND = '10.1.2.3:9100'  # 66 051st of all, and normal


class Telemetry:
    """A series for each instance, of which one in a thousand rises at an instant, unix seconds."""

    def __init__(self, rise):
        self.series = [
            Series('load', {'instance': address(i), 'job': 'node', 'namespace': f'team-{i % 50}', 'pod': f'service-{i:06}'}) for i in range(ENTITIES)
        ]
        self._rise = rise

    def values(self, times):
        return self._values(np.arange(ENTITIES), np.asarray(times)[:, None])

    def value(self, i, times):
        return self._values(np.array(i), np.asarray(times))

    def _values(self, rows, times):
        return 100 + np.sin(rows) + np.where((rows % ONE_IN == 0) & (times >= self._rise), 900, 0)


def address(i):
    return f'10.{i >> 16}.{i >> 8 & 255}.{i & 255}:9100'


@pytest.fixture(scope='module')
def url(tmp_path_factory):
    """That of an exporter which finds 100 of its entities anomalous."""
    directory = tmp_path_factory.mktemp('many')
    model = tiny_model.write(directory / 'tiny.onnx', views=('above', 'below'), manifest={'replay_steps': REPLAYED})
    detector = {'name': 'load', 'expr': 'load', 'model': str(model), 'step': f'{STEP_SECONDS}s', 'delay': '0s', 'history': '0s'}
    with Source(Telemetry(time.time()), time.time) as source, Exporter(directory, source.url, [detector]) as exporter:
        servers.wait_until(lambda: counts(exporter.url) == {'normal': ENTITIES - RISEN, 'anomalous': RISEN}, 180, 'the scores of all entities')
        yield exporter.url


def counts(url):
    """How many entities are in each state, as the API has it."""
    found = servers.http.get(f'{url}/api/v1/entities?detector=load&limit=1', timeout=60).json()['data']['counts']
    return {state: count for state, count in found.items() if count}


@contextmanager
def weighed(page):
    """A list that gets the bytes of each answer, head and body, as they come over the wire."""
    finished, sizes = [], []
    page.on('requestfinished', lambda request: finished.append(request))  # noqa: PLW0108 (playwright cannot wrap a method of a list)
    yield sizes
    for request in finished:
        size = request.sizes()
        sizes.append(size['responseHeadersSize'] + size['responseBodySize'])


def checked(look):
    valid(look.source)
    axe(look.page)


def test_the_first_page_is_small_and_lists_some(url, look):
    """All that it loads counts: styles, scripts, small pictures. What is more than a page is on the next one."""
    with weighed(look.page) as sizes:
        look.open(f'{url}/')
        look.page.wait_for_selector('.sparkline svg')
    assert len(sizes) >= 5 and sum(sizes) <= MOST_BYTES, sizes
    rows = look.page.locator('#rows tbody tr')
    assert rows.count() == 50 and look.page.locator('.pager').inner_text().startswith('1 to 50 of 100')
    assert look.page.locator('#counts').inner_text().startswith('100 anomalous')
    checked(look)
    first = rows.first.inner_text()
    look.page.get_by_role('link', name='Next').click()
    look.page.wait_for_url('**offset=50**')
    assert rows.count() == 50 and rows.first.inner_text() != first and look.page.get_by_role('link', name='Next').count() == 0


def test_one_is_found_among_all(url, look):
    """From the detectors to the list of all, by its labels to one of them, and to its page with what Prometheus knows of it."""
    look.open(f'{url}/detectors')
    checked(look)
    look.page.locator('main a', has_text='load').first.click()
    look.page.wait_for_url('**detector=load**')
    rows = look.page.locator('main tbody tr')
    assert rows.count() == 50 and '1 to 50 of 100000' in look.page.locator('.pager').inner_text()
    checked(look)
    look.page.get_by_label('Labels').fill(f'instance="{FOUND}"')
    look.page.get_by_role('button', name='Find').click()
    look.page.wait_for_url('**match=**')
    assert rows.count() == 1 and FOUND in rows.first.inner_text() and look.page.locator('.pager').count() == 0
    rows.locator('a.labels').click()
    look.page.wait_for_url('**/entity?*')
    look.page.wait_for_selector('canvas')
    assert FOUND in look.page.locator('h1').inner_text() and look.page.locator('.badge.good').first.inner_text() == 'normal'
    checked(look)


def test_a_filter_finds_one_anomaly(url, look):
    """By a text in a label, among those that are anomalous."""
    look.open(f'{url}/')
    look.page.get_by_label('Text in a label').fill(f'service-{66 * ONE_IN:06}')
    look.page.get_by_role('button', name='Filter').click()
    look.page.wait_for_url('**q=service**')
    rows = look.page.locator('#rows tbody tr')
    assert rows.count() == 1 and address(66 * ONE_IN) in rows.first.inner_text()
    checked(look)
