"""POST /-/reload: only where it is allowed, never for the page of another site, and the answer says what came of it."""

from concurrent.futures import Future

import pytest
from serving import Exporter


class Reload:
    """What `run` gives the site: counts who asks, and answers with a problem."""

    def __init__(self, problem=''):
        self.problem, self.asked = problem, 0

    def __call__(self):
        self.asked += 1
        future = Future()
        future.set_result(self.problem)
        return future


@pytest.mark.parametrize('method', ['POST', 'PUT'])
def test_it_says_that_the_file_is_in_force(method):
    reload = Reload()
    with Exporter(site={'reload': reload}) as exporter:
        got = exporter.get('/-/reload', method)
    assert (got.status_code, got.text, reload.asked) == (200, 'The configuration file is in force.\n', 1)


def test_it_says_why_the_file_is_not():
    with Exporter(site={'reload': Reload('promlstm.yml: detectors[0]: exprr: unknown key')}) as exporter:
        got = exporter.get('/-/reload', 'POST')
    assert (got.status_code, got.text) == (500, 'promlstm.yml: detectors[0]: exprr: unknown key\n')


def test_nobody_may_ask_unless_it_is_allowed(exporter):
    got = exporter.get('/-/reload', 'POST')
    assert got.status_code == 403 and '--web.enable-lifecycle' in got.text


@pytest.mark.parametrize('method', ['GET', 'HEAD', 'DELETE'])
def test_a_link_or_a_picture_asks_for_nothing(method):
    reload = Reload()
    with Exporter(site={'reload': reload}) as exporter:
        got = exporter.get('/-/reload', method)
    assert (got.status_code, got.headers['Allow'], reload.asked) == (405, 'POST, PUT', 0)


@pytest.mark.parametrize(
    ('origin', 'host', 'status'),
    [
        ('http://evil.example', '127.0.0.1:19855', 403),  # another site
        ('http://evil.example:19855', 'evil.example:19855', 403),  # its name, made to point here
        ('null', '127.0.0.1:19855', 403),  # a file, or a frame in a sandbox
        ('http://127.0.0.1:1', '127.0.0.1:19855', 403),  # another port is another site
        ('http://[', '127.0.0.1:19855', 403),
        ('http://127.0.0.1:19855', '127.0.0.1:19855', 200),
        ('http://localhost:19855', 'localhost:19855', 200),
        ('https://prom.example', 'prom.example', 200),  # the external URL
    ],
)
def test_no_page_of_another_site_may_ask(origin, host, status):
    reload = Reload()
    with Exporter(site={'reload': reload, 'host': 'prom.example'}) as exporter:
        got = exporter.get('/-/reload', 'POST', Origin=origin, Host=host)
    assert (got.status_code, reload.asked) == (status, int(status == 200))


def test_a_browser_that_says_no_origin_may_say_that_it_is_another_site():
    """Sec-Fetch-Site; a program that is no browser says neither."""
    reload = Reload()
    with Exporter(site={'reload': reload}) as exporter:
        found = [exporter.get('/-/reload', 'POST', **{'Sec-Fetch-Site': said}).status_code for said in ('cross-site', 'same-site', 'same-origin', 'none')]
    assert (found, reload.asked) == ([403, 403, 200, 200], 2)
