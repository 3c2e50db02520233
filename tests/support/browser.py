"""Pages in a real browser, Debian's chromium driven by Playwright, and what is checked of each.

    def test_it(look):                       # the fixture of tests/conftest.py: a Look
        look.open(exporter.url + '/')        # looks at a page as a user does
        axe(look.page)                       # no serious or critical finding, in the scheme of colours that is shown
        valid(look.source)                   # the HTML that the server sent

When the test ends, the Look fails it for whatever no page of ours may do: ask anything of another server, break its own Content-Security-Policy, or
write an error to the console. What a test provokes on purpose it says before, `with look.tolerating('ERR_CONNECTION_REFUSED')`.
"""

import importlib.util
import json
import os
import re
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import servers
from requirements import absent

CHROMIUM = servers.ROOT / '.cache/browser/bin/chromium'
NODE_TOOLS = servers.ROOT / '.cache/node-tools'
NODE = NODE_TOOLS / 'bin/node'
AXE = NODE_TOOLS / 'node_modules/axe-core/axe.min.js'
VALIDATOR = NODE_TOOLS / 'node_modules/html-validate/bin/html-validate.mjs'
RULES = {
    'root': True,
    'extends': ['html-validate:standard', 'html-validate:a11y'],
    'rules': {'no-inline-style': 'error', 'no-implicit-button-type': 'off'},  # a button of a form submits it, as the standard says
}
WIDE, NARROW = {'width': 1280, 'height': 800}, {'width': 390, 'height': 844}
LIMIT_MILLISECONDS = 30_000  # for what a page is to do; only a broken one pays it


def need_browser():
    """Skip, or fail in CI, where there is no browser or nothing to judge pages with."""
    if importlib.util.find_spec('playwright') is None:
        absent("playwright is not installed: pip install '.[test]'")
    if not os.access(CHROMIUM, os.X_OK):
        absent('no chromium in .cache/browser/bin: make test fetches it (or .ci/install-browser)')
    if not (os.access(NODE, os.X_OK) and AXE.exists() and VALIDATOR.exists()):
        absent('no Node, axe-core and html-validate in .cache/node-tools: make test fetches them (or .ci/install-node-tools)')


@contextmanager
def chromium():
    """A Browser of Playwright's. While it is there no test of this process may run an event loop of its own: Playwright's is running."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Of a container's /dev/shm there is little.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--disable-dev-shm-usage'])
        try:
            yield browser
        finally:
            browser.close()


class Look:
    """One tab of a browser, which remembers what its pages did wrong.

    page      Playwright's page
    wrong     what is wrong, in words
    answers   {URL: the newest Response of it} of pages, files and data
    """

    def __init__(self, browser, **options):
        self.context = browser.new_context(viewport=WIDE, locale='en-GB', timezone_id='Europe/Berlin', **options)
        self.context.set_default_timeout(LIMIT_MILLISECONDS)
        self.page = self.context.new_page()
        self.wrong, self.answers, self._tolerated = [], {}, []
        self.page.on('request', self._asked)
        self.page.on('response', lambda response: self.answers.__setitem__(response.url, response))
        self.page.on('console', lambda message: self._said(message.text) if message.type == 'error' else None)
        self.page.on('pageerror', lambda error: self._said(f'exception: {error}'))

    def _said(self, text):
        if not any(re.search(pattern, text) for pattern in self._tolerated):
            self.wrong.append(f'{self.page.url}: {text}')

    def _asked(self, request):
        """A page may ask its own server alone; a user may follow a link to another one of this machine."""
        to = urlsplit(request.url)
        if to.scheme in ('data', 'blob'):
            return
        own = urlsplit(request.frame.url if not request.is_navigation_request() else request.url)
        if to.netloc != own.netloc or to.hostname not in ('127.0.0.1', 'localhost'):
            self.wrong.append(f'{self.page.url}: asks another server for {request.url}')

    @contextmanager
    def tolerating(self, *patterns):
        """Errors in the console that the test provokes, as regular expressions."""
        self._tolerated += patterns
        try:
            yield
        finally:
            del self._tolerated[-len(patterns) :]

    def open(self, url):
        """Go to a page, and wait until it and what it asks for are there; its Response."""
        response = self.page.goto(url, wait_until='load')
        self.page.wait_for_load_state('networkidle')
        return response

    @property
    def source(self):
        """The HTML of the page that is shown, as the server sent it."""
        return self.answers[self.page.url.partition('#')[0]].text()

    @contextmanager
    def dark(self):
        """Shown as to someone who prefers dark colours."""
        self.page.emulate_media(color_scheme='dark')
        try:
            yield
        finally:
            self.page.emulate_media(color_scheme='light')

    @contextmanager
    def narrow(self):
        """Shown on a phone."""
        self.page.set_viewport_size(NARROW)
        try:
            yield
        finally:
            self.page.set_viewport_size(WIDE)

    def wait_for(self, condition, what):
        """Wait until an expression of JavaScript is true; by way of the debugger, for the page's own policy forbids to evaluate text."""
        return servers.wait_until(lambda: self.page.evaluate(condition), 2 * LIMIT_MILLISECONDS / 1000, what)

    def overflowing(self):
        """What reaches beyond the right edge of the window, in words; scrolling boxes of their own are none of it."""
        return self.page.evaluate("""() => {
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            return [...document.body.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().left + e.scrollWidth > width + 1)
                .map((e) => `${e.tagName.toLowerCase()}.${e.className}: ${e.textContent.trim().slice(0, 60)}`).slice(0, 10);
        }""")

    def close(self):
        """End it."""
        self.context.close()

    def check(self):
        """Fail for what was wrong."""
        assert not self.wrong, '\n'.join(self.wrong)


def opened_from_disk(browser, path):
    """Open a report, a file with charts in it, and look at each: they are drawn, axe finds nothing serious in either scheme, and nothing is asked for."""
    tab = Look(browser)
    try:
        asked = []
        tab.page.on('request', lambda request: asked.append(request.url))
        tab.page.goto(path.as_uri())
        charts = tab.page.locator('[data-chart]')
        for number in range(charts.count()):
            charts.nth(number).scroll_into_view_if_needed()
            charts.nth(number).locator('canvas').first.wait_for()
        assert charts.count() and tab.overflowing() == []
        axe(tab.page)
        with tab.dark():
            axe(tab.page)
        assert asked == [path.as_uri()]
        assert [each for each in tab.wrong if 'asks another server' not in each] == []
    finally:
        tab.close()


def axe(page, *, impacts=('serious', 'critical')):
    """Fail where axe finds something serious or critical in a page as it is shown now."""
    # By way of the debugger, which the page's own policy does not concern.
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")['violations']
    told = [
        f'{one["impact"]}: {one["help"]}: {node["html"][:200]} ({node["failureSummary"]})'
        for one in found
        if one['impact'] in impacts
        for node in one['nodes'][:3]
    ]
    assert not told, f'axe of {page.url}:\n' + '\n'.join(told)


def valid(html):
    """Fail where the HTML is not, or has a style within it."""
    with tempfile.TemporaryDirectory(prefix='promlstm-html-') as directory:
        rules, page = Path(directory) / 'rules.json', Path(directory) / 'page.html'
        rules.write_text(json.dumps(RULES))
        page.write_text(html)
        done = subprocess.run([NODE, VALIDATOR, '--config', rules, '--formatter', 'json', page], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout, done.stderr
    lines = html.splitlines()
    told = [
        f'{each["line"]}: {each["message"]} ({each["ruleId"]}): {lines[each["line"] - 1][:200]}'
        for file in json.loads(done.stdout)
        for each in file['messages']
    ]
    assert not told, '\n'.join(told)
