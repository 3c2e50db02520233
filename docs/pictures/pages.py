"""Pages of the exporter in a real browser, over the telemetry of `promlstm demo`, while a fault spreads in its shop."""

import sys
from urllib.parse import urlencode

import browser
import servers

SPEED = 5
LIMIT_SECONDS = 180
WIDTH, HEIGHTS = 1200, {'now': 860, 'incident': 1180, 'entity': 960}
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


def pictures(log):
    """{page: PNG bytes}. log: function of a line of text."""
    address = f'127.0.0.1:{servers.free_port()}'
    command = [sys.executable, '-m', 'promlstm', 'demo', '--plain', f'--speed={SPEED}', f'--web.listen-address={address}']
    log(f'running promlstm demo, {SPEED} times faster than life, until a fault has spread')
    with servers.Process(command, servers.answers(f'http://{address}/-/healthy')), browser.chromium() as chromium:
        incident = servers.wait_until(lambda: spread(address), LIMIT_SECONDS, 'a fault that has spread, and whose cause is clear')
        cause = incident['cause'][0]
        entity = {'detector': cause['detector'], 'entity': '{' + ','.join(f'{name}="{text}"' for name, text in cause['labels'].items()) + '}'}
        paths = {'now': '', 'incident': f'incident?id={incident["id"]}', 'entity': f'entity?{urlencode(entity)}&range=1h'}
        return {name: shot(chromium, f'http://{address}/{path}', HEIGHTS[name], log) for name, path in paths.items()}


def spread(address):
    """The open incident that has reached enough entities and whose cause is clear; None = there is none yet."""
    found = servers.http.get(f'http://{address}/api/v1/incidents?state=open', timeout=30).json()['data']['incidents']
    return next((one for one in found if one['entities'] >= ENTITIES and one['cause'] and one['cause'][0]['probability'] > 0.5), None)


def shot(chromium, url, height, log):
    """The first screen of a page as PNG bytes; RuntimeError where something is wrong with it."""
    log(url)
    look = browser.Look(chromium)
    try:
        look.page.set_viewport_size({'width': WIDTH, 'height': height})
        response = look.open(url)
        if response.status != 200 or look.wrong:
            raise RuntimeError(f'{url}: status {response.status} {look.wrong}')
        return look.page.screenshot()
    finally:
        look.close()
