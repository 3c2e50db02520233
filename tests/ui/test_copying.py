"""The buttons that copy, in a real browser."""

import numpy as np
import pytest
from browser import Look
from standings import Pages, identity, standing

pytestmark = pytest.mark.slow

CONFIG = 'prometheus: {url: http://127.0.0.1:9}\ndetectors: [{name: web, expr: up}]\n'
PATHS = ['entity', 'feedback', 'what-if']


@pytest.fixture(scope='module')
def pages():
    with Pages(CONFIG, lambda detectors: [standing(detectors['web'], [identity(instance='a')], np.full(1, 1.5))]) as running:
        yield running


@pytest.mark.parametrize('path', PATHS)
def test_a_button_copies_what_stands_below_it(look, pages, path):
    look.context.grant_permissions(['clipboard-read', 'clipboard-write'])
    look.open(f'{pages.url}/{path}?detector=web&entity={{instance="a"}}')
    button = look.page.locator('button[data-copy]').first
    text = look.page.locator(f'#{button.get_attribute("data-copy")}').text_content()
    button.click()
    look.page.get_by_role('button', name='Copied').wait_for()
    assert look.page.evaluate('navigator.clipboard.readText()') == text
    look.page.get_by_role('button', name='Copy', exact=True).first.wait_for()


@pytest.mark.parametrize('path', PATHS)
def test_without_a_clipboard_the_text_is_selected(chromium, pages, path):
    """As over plain HTTP from another machine."""
    look = Look(chromium)
    try:
        look.context.add_init_script('delete Navigator.prototype.clipboard')
        look.open(f'{pages.url}/{path}?detector=web&entity={{instance="a"}}')
        button = look.page.locator('button[data-copy]').first
        text = look.page.locator(f'#{button.get_attribute("data-copy")}').text_content()
        button.click()
        look.page.get_by_role('button', name='Press Ctrl+C').wait_for()
        assert look.page.evaluate('getSelection().toString()').strip() == text.strip()
        look.check()
    finally:
        look.close()
