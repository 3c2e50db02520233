"""Pages of the exporter in a real browser: over the telemetry of `promlstm demo`, while a fault spreads in its shop; what if over three days of hosts."""

import sys
import time
from contextlib import contextmanager
from urllib.parse import urlencode

import browser
import servers
from exporter import Exporter

from promlstm.demo.fleet import Fleet
from promlstm.demo.source import Source

SPEED = 5
LIMIT_SECONDS = 180
WIDTH, HEIGHTS = 1200, {'now': 860, 'incident': 1180, 'entity': 960, 'what-if': 1240}
DAYS, HOSTS = 3, 12
DETECTOR = {'name': 'cpu', 'expr': 'node_cpu_busy_ratio', 'step': '1m', 'delay': '0s', 'history': '0s'}
TRIED = {'Minimal deviation': '0.2', 'From': f'-{DAYS}d'}
ENTITIES = 5  # that the fault has reached when the pictures are made


def missing():
    """What is needed and is not here, in words; empty = nothing."""
    if not browser.CHROMIUM.exists():
        return f'no browser in {browser.CHROMIUM.parent}: make tools'
    try:
        import playwright  # noqa: F401 (whether it is there)
    except ImportError:
        return "playwright is missing: pip install '.[test]'"
    return ''


def pictures(directory, log):
    """{page: PNG bytes}. log: function of a line of text."""
    with browser.chromium() as chromium:
        return {'what-if': what_if(chromium, directory, log), **of_demo(chromium, log)}


def of_demo(chromium, log):
    """Those that show what goes on."""
    address = f'127.0.0.1:{servers.free_port()}'
    command = [sys.executable, '-m', 'promlstm', 'demo', '--plain', f'--speed={SPEED}', f'--web.listen-address={address}']
    log(f'running promlstm demo, {SPEED} times faster than life, until a fault has spread')
    with servers.Process(command, servers.answers(f'http://{address}/-/healthy')):
        incident = servers.wait_until(lambda: spread(address), LIMIT_SECONDS, 'a fault that has spread, and whose cause is clear')
        cause = incident['cause'][0]
        entity = {'detector': cause['detector'], 'entity': '{' + ','.join(f'{name}="{text}"' for name, text in cause['labels'].items()) + '}'}
        paths = {'now': '', 'incident': f'incident?id={incident["id"]}', 'entity': f'entity?{urlencode(entity)}&range=1h'}
        return {name: shot(chromium, f'http://{address}/{path}', HEIGHTS[name], log) for name, path in paths.items()}


def what_if(chromium, directory, log):
    """What a larger minimal deviation would have raised: the form, and what was found."""
    log(f'what if, over {DAYS} days of {HOSTS} hosts')
    begin = time.time() - DAYS * 86400
    with (
        Source(Fleet(1, begin, hosts=HOSTS), time.time) as source, Exporter(directory, source.url, [DETECTOR], '--web.enable-actions') as exporter,
        opened(chromium, f'{exporter.url}/what-if?detector=cpu', HEIGHTS['what-if']) as look,
    ):  # fmt: skip
        for label, text in TRIED.items():
            look.page.get_by_label(label, exact=True).fill(text)
        look.page.get_by_role('button', name='Run').click()
        look.page.wait_for_selector('#outcome', timeout=1000 * LIMIT_SECONDS)
        return look.page.screenshot()


def spread(address):
    """The open incident that has reached enough entities and whose cause is clear; None = there is none yet."""
    found = servers.http.get(f'http://{address}/api/v1/incidents?state=open', timeout=30).json()['data']['incidents']
    return next((one for one in found if one['entities'] >= ENTITIES and one['cause'] and one['cause'][0]['probability'] > 0.5), None)


def shot(chromium, url, height, log):
    """The first screen of a page as PNG bytes."""
    log(url)
    with opened(chromium, url, height) as look:
        return look.page.screenshot()


@contextmanager
def opened(chromium, url, height):
    """A Look at a page; RuntimeError where something is wrong with it."""
    look = browser.Look(chromium)
    try:
        look.page.set_viewport_size({'width': WIDTH, 'height': height})
        response = look.open(url)
        yield look
        if response.status != 200 or look.wrong:
            raise RuntimeError(f'{url}: status {response.status} {look.wrong}')
    finally:
        look.close()
