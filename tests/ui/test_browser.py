"""The pages in a real browser, of a real exporter on a real Prometheus with faults planted: what every page does, and what a user does with them."""

import pytest
from browser import NARROW, axe, valid
from estate_bench import Bench

pytestmark = [pytest.mark.real, pytest.mark.slow]

PAGES = {'now': './'}


@pytest.fixture(scope='module')
def bench(tmp_path_factory):
    with Bench(tmp_path_factory.mktemp('pages')) as running:
        yield running


@pytest.fixture(params=PAGES)
def path(request):
    """The path of each page in turn."""
    return PAGES[request.param]


def test_each_page_is_valid_and_accessible(bench, look, path):
    """In light and dark, wide and narrow; nothing is asked of another server, and nothing breaks the page's own policy."""
    response = look.open(f'{bench.exporter.url}/{path}')
    assert response.status == 200 and "default-src 'none'" in response.headers['content-security-policy']
    assert look.page.title().endswith('promlstm') and look.page.locator('h1').count() == 1
    valid(look.source)
    axe(look.page)
    with look.dark():
        axe(look.page)
    with look.narrow():
        assert look.overflowing() == [], NARROW
        axe(look.page)


def test_each_page_can_be_read_without_scripts(bench, chromium, path):
    """All that is on it without them is on it with them, too."""
    context = chromium.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(f'{bench.exporter.url}/{path}')
        assert page.locator('main').inner_text().strip()
    finally:
        context.close()
