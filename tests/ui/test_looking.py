"""What the tests of pages find wrong: a page is served that does it, and each of the checks says so."""

import http_target
import pytest
from browser import Look, axe, valid

pytestmark = pytest.mark.slow

HEAD = '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title></head><body><main><h1>A page</h1>{}</main></body></html>'
POLICY = {'Content-Type': 'text/html; charset=utf-8', 'Content-Security-Policy': "default-src 'none'; img-src 'self' https://elsewhere.example"}


def opened(chromium, body):
    """A Look at a page with this body, closed; what was wrong with it."""
    look = Look(chromium)
    try:
        with http_target.serving(HEAD.format(body).encode, headers=POLICY) as address:
            look.open(f'http://{address}/')
        return look.wrong
    finally:
        look.close()


@pytest.mark.parametrize(
    ('body', 'told'),
    [
        ('<img src="https://elsewhere.example/a.png" alt="a">', 'asks another server for https://elsewhere.example/a.png'),
        ('<script>document.title = "changed"</script>', 'Content Security Policy'),
        ('<p style="color: red">red</p>', 'Content Security Policy'),
        ('<form action="https://elsewhere.example/"></form><link rel="stylesheet" href="https://elsewhere.example/a.css">', 'elsewhere.example/a.css'),
    ],
)
def test_what_no_page_may_do_is_told(chromium, body, told):
    assert told in '\n'.join(opened(chromium, body))


def test_what_is_provoked_on_purpose_is_not(chromium, look):
    with look.tolerating('Content Security Policy'), http_target.serving(HEAD.format('<p style="color: red">red</p>').encode, headers=POLICY) as address:
        look.open(f'http://{address}/')


@pytest.mark.parametrize(
    ('body', 'told'),
    [('<p><button></button></p>', 'discernible text'), ('<img src="data:,">', 'alternative text'), ('<p style="color:#bbb">pale</p>', 'contrast')],
)
def test_what_a_screen_reader_cannot_tell_is_found(look, body, told):
    look.page.set_content(HEAD.format(body))
    with pytest.raises(AssertionError, match=told):
        axe(look.page)


@pytest.mark.parametrize(
    ('body', 'told'),
    [('<p><a href="a">a</p>', 'close-order'), ('<p style="color: red">red</p>', 'no-inline-style'), ('<p id="a">a<i id="a">b</i></p>', 'no-dup-id')],
)
def test_html_that_is_not_valid_is_told_with_its_line(chromium, body, told):
    valid(HEAD.format('<p>fine</p>'))
    with pytest.raises(AssertionError, match=rf'1: .*{told}'):
        valid(HEAD.format(body))


def test_what_is_wider_than_a_phone_is_told(look):
    with look.narrow():
        look.page.set_content(HEAD.format(f'<p>{"x" * 1000}</p>'))
        assert any(each.startswith('p.') for each in look.overflowing())
        look.page.set_content(HEAD.format('<p>short</p>'))
        assert look.overflowing() == []
