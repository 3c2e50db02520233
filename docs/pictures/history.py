"""Three hours of the real exporter, in a real Prometheus: what the dashboards are drawn from.

    fleet        the demo's: 12 hosts and 2 services that do not exist, with faults planted
    exporter     the real one, a process of its own, on a clock SPEED times faster than life; its page is read twice in a minute of the fleet
    Prometheus   gets these pages by `promtool tsdb create-blocks-from openmetrics`
    rules        rules/recording.yml, evaluated by that Prometheus over these hours (`promtool tsdb create-blocks-from rules`)
    alerts       the expressions of rules/alerts.yml and rules/self.yml, asked of that Prometheus; what `for` and `keep_firing_for` make of
                 them, which promtool leaves out, is counted here

Prometheus scrapes in real time only, and nobody wants to wait three hours for a picture.
"""

import itertools
import json
import re
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import servers
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pictures.exporter import clock
from promlstm.config import seconds
from promlstm.demo import answers
from promlstm.demo.fleet import Fleet
from promlstm.demo.source import Source

BEGIN = datetime(2027, 1, 5, 8, tzinfo=UTC).timestamp()  # the left edge of the panels: a Tuesday, later than the model was made
SHOWN_SECONDS = 3 * 3600
BEFORE_SECONDS = 30 * 60  # for the exporter to warm up, and rates to have a past
SPEED = 80
SCRAPE_SECONDS = 30
RULES_SECONDS = 30
ROUNDS = 60  # of evaluating rules that read each other; about 20 are needed
# A file of samples has no markers for series that end: without this they would go on for five minutes. Three scrapes and a bit.
LOOKBACK = '--query.lookback-delta=95s'
SEED = 1
FLEET = {'hosts': 12, 'first_fault_seconds': 85 * 60, 'fault_seconds': 30 * 60, 'quiet_seconds': 40 * 60}
GONE, GONE_SECONDS = 'instance="search:8080"', 2.5 * 3600  # a service that is lost, and when; the requests to the other one stop soon after
OUTAGE_SECONDS = 1.25 * 3600, 1.25 * 3600 + 90  # the fleet's API is out of order, from and to
DETECTOR = 'services'  # of the dashboard of one detector
TARGET = {'job': 'promlstm', 'instance': 'promlstm:19855'}

CONFIG = """\
prometheus:
  url: {url}
detectors:
  - {{name: cpu, expr: node_cpu_busy_ratio, step: 1m, direction: above, min_deviation: 0.05, range: [0, 1]}}
  - {{name: memory, expr: node_memory_used_bytes, step: 1m, direction: above, min_relative_deviation: 0.05}}
  - {{name: disk_io, expr: node_disk_io_busy_ratio, step: 1m, direction: above, min_deviation: 0.1}}
  - {{name: requests, expr: web_requests_per_second, step: 1m, direction: below, range: [0, .inf]}}
  - {{name: errors, expr: web_error_ratio, step: 1m, direction: above, min_deviation: 0.01}}
  - {{name: latency, expr: web_latency_seconds, step: 1m, direction: above}}
  - name: services
    by: [instance]
    features: {{requests: web_requests_per_second, errors: web_error_ratio, latency: web_latency_seconds}}
    step: 1m
"""


@contextmanager
def prometheus(directory, say):
    """A servers.Prometheus that holds all of it; takes about three minutes. say: function of a line of text."""
    say(f'running the exporter over {(SHOWN_SECONDS + BEFORE_SECONDS) / 3600:.1f} h of the fleet, {SPEED} times faster than life')
    samples = directory / 'samples.om'
    _record(directory, samples)
    say('filling Prometheus')
    server = servers.Prometheus(directory / 'prometheus', scrape_configs=[], retention='100y', args=[LOOKBACK])
    server.data.mkdir(parents=True)
    servers.backfill(server.data, samples)
    ordered, entangled = levels(yaml.safe_load((servers.ROOT / 'rules/recording.yml').read_text()))
    for level in ordered:
        say(f'recording: {", ".join(rule["record"] for rule in level)}')
        with server:
            blocks = _evaluated(server, directory, level)
        _taken_in(server, blocks)
    if entangled:
        say(f'recording, until it stays the same: {", ".join(rule["record"] for rule in entangled)}')
        _settle(server, directory, entangled)
    say('alerts')
    with server:
        lines = list(alerts(server))
    if lines:
        samples.write_text('\n'.join([*lines, '# EOF', '']))
        servers.backfill(server.data, samples)
    with server:
        yield server


def end():
    """The right edge of the panels, unix seconds."""
    return BEGIN + SHOWN_SECONDS


def _record(directory, path):
    """Write what the exporter's page gave to an OpenMetrics file."""
    start, began = BEGIN - BEFORE_SECONDS, time.monotonic()
    now = clock(start, began, SPEED).now
    with Source(Fleet(SEED, BEGIN, **FLEET), now) as source, path.open('w') as out:
        config, address = directory / 'promlstm.yml', f'127.0.0.1:{servers.free_port()}'
        config.write_text(CONFIG.format(url=source.url))
        command = [sys.executable, '-m', 'pictures.exporter', config, address, start, began, SPEED]
        source.faults.hold(answers.vanish(f'{{{GONE}}}', since=BEGIN + GONE_SECONDS))
        out_of_order = lambda: OUTAGE_SECONDS[0] <= now() - BEGIN < OUTAGE_SECONDS[1]  # noqa: E731
        source.faults.hold(lambda selection: answers.unavailable(selection) if out_of_order() else selection)
        options = {'environment': {'PYTHONPATH': ':'.join(filter(None, sys.path))}, 'log': directory / 'exporter.log'}
        with servers.Process(command, servers.answers(f'http://{address}/-/healthy'), **options):
            _scrape(f'http://{address}/metrics', now, out)
        out.write('# EOF\n')


def _scrape(url, now, out):
    due = now()
    while due <= end():
        time.sleep(max(0.0, (due - now()) / SPEED))
        at = now()
        page = servers.http.get(url, headers={'Accept-Encoding': 'identity'}, timeout=10).text
        out.writelines(f'{line} {at:.3f}\n' for line in scraped(page))
        due = max(due + SCRAPE_SECONDS, now())


def scraped(page):
    """The samples of a page as Prometheus takes them from a target with `honor_labels`: list of lines.

    >>> scraped('up{job="a"} 1\\n')
    ['up{job="a",instance="promlstm:19855"} 1']
    """
    return [line(sample.name, sample.labels | {key: value for key, value in TARGET.items() if key not in sample.labels}, sample.value)
            for family in text_string_to_metric_families(page) for sample in family.samples]  # fmt: skip


def line(name, labels, value):
    """A sample of the text format."""
    return f'{name}{{{",".join(f"{key}={json.dumps(text, ensure_ascii=False)}" for key, text in labels.items() if text)}}} {value}'


def levels(rules):
    """(recording rules in groups, where what a rule reads has been recorded by those before; the rules that read each other, and who reads them).

    promtool evaluates each rule against what is in Prometheus already. A rule that reads itself reads nothing.

    >>> a, b, c = [{'record': name, 'expr': expr} for name, expr in (('a:a', 'up'), ('b:b', 'a:a + b:b'), ('c:c', 'd:d'))]
    >>> d = {'record': 'd:d', 'expr': 'c:c offset 1h'}
    >>> levels({'groups': [{'rules': [b, a, c, d]}]}) == ([[a], [b]], [c, d])
    True
    """
    left, out = [rule for group in rules['groups'] for rule in group['rules'] if 'record' in rule], []
    while left:
        names = {rule['record'] for rule in left}
        reads = lambda rule: set(re.findall(r'[a-z_]+(?::\w+)+', rule['expr'])) & names - {rule['record']}  # noqa: B023, E731
        ready = [rule for rule in left if not reads(rule)]
        if not ready:
            break
        out.append(ready)
        left = [rule for rule in left if rule not in ready]
    return out, left


def _evaluated(server, directory, rules):
    """A folder of blocks with what the rules give over the time that is recorded."""
    folder = Path(tempfile.mkdtemp(dir=directory))
    (folder / 'rules.yml').write_text(yaml.safe_dump({'groups': [{'name': 'level', 'rules': rules}]}))
    (folder / 'blocks').mkdir()
    span = [f'--start={BEGIN - BEFORE_SECONDS:.0f}', f'--end={end():.0f}', f'--eval-interval={RULES_SECONDS}s']
    servers.promtool(
        'tsdb', 'create-blocks-from', 'rules', *span, f'--url={server.url}', f'--output-dir={folder / "blocks"}', folder / 'rules.yml'
    )
    return folder / 'blocks'


def _taken_in(server, blocks):
    """Move blocks into the data of a Prometheus that is not running; returns where they are."""
    return [shutil.move(block, server.data / block.name) for block in blocks.iterdir()]


def _settle(server, directory, rules):
    """Record rules that read what others have recorded before, by evaluating all of them again until nothing changes.

    What a rule gives at an instant follows from what lies before, so each round is right for longer than the last.
    """
    before, present = None, []
    for _ in range(ROUNDS):
        with server:
            found = [server.query_range(rule['record'], BEGIN, end(), RULES_SECONDS) for rule in rules]
            if found == before:
                return
            blocks = _evaluated(server, directory, rules)
        for block in present:
            shutil.rmtree(block)
        before, present = found, _taken_in(server, blocks)
    raise RuntimeError(f'recording rules do not settle in {ROUNDS} rounds: {", ".join(rule["record"] for rule in rules)}')


def alerts(server):
    """ALERTS of all of our alerts, lines of the text format."""
    groups = [group for name in ('alerts', 'self') for group in yaml.safe_load((servers.ROOT / f'rules/{name}.yml').read_text())['groups']]
    for rule in (rule for group in groups for rule in group['rules'] if 'alert' in rule):
        own = {'alertname': rule['alert'], **{key: text for key, text in rule.get('labels', {}).items() if '{{' not in text}}
        spans = [seconds(rule.get(key, '0s')) if key in rule else 0 for key in ('for', 'keep_firing_for')]
        for found in server.query_range(rule['expr'], BEGIN, end(), RULES_SECONDS):
            labels = {key: text for key, text in found['metric'].items() if key != '__name__'} | own
            for at, state in states([at for at, _ in found['values']], *spans):
                yield f'{line("ALERTS", {**labels, "alertstate": state}, 1)} {at}'


def states(times, wait_seconds, keep_seconds, *, step=RULES_SECONDS, last=None):
    """What an alert is whose expression gave something at these times: [(time, 'pending' or 'firing')].

    >>> states([0, 30, 60], 30, 30, last=120)
    [(0, 'pending'), (30, 'firing'), (60, 'firing'), (90, 'firing')]
    """
    out, since, true = [], None, set(times)
    newest, last = None, end() if last is None else last
    for at in itertools.takewhile(lambda t: t <= last, itertools.count(times[0], step)) if times else ():
        if at in true:
            since, newest = at if since is None else since, at
        firing = since is not None and newest - since >= wait_seconds
        if at not in true and (not firing or at - newest > keep_seconds):
            since = None
        if since is not None:
            out.append((at, 'firing' if firing else 'pending'))
    return out
