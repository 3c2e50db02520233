"""Presets: each can be used as it is, returns series on what it says it was tested on, and leaves healthy minutes alone."""

import os
import random
import re
import threading
import time
from contextlib import contextmanager, suppress

import pytest
import servers
import services
import yaml
from exporter import Exporter
from http_target import serving
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from promlstm import presets
from promlstm.__main__ import main
from promlstm.errors import ConfigError

NAMES = presets.names()
RECORDED = {path.stem: path for path in sorted((servers.ROOT / 'tests/recorded').glob('*.prom'))}
LIVE = [name for name in NAMES if name not in RECORDED and name not in services.STARTS]  # and test_services.py has the others


def expressions(name):
    """(detector and feature or limit, expression) of a preset."""
    detectors = presets.read(name).detectors
    found = [(f'{one["name"]} {feature}'.strip(), expr) for one in detectors for feature, expr in (one.get('features') or {'': one['expr']}).items()]
    limits = [(one['name'], one['forecast'].get('limit_expr')) for one in detectors if 'forecast' in one]
    return found + [(f'{name} limit', expr) for name, expr in limits if expr]


@pytest.mark.parametrize('name', NAMES)
def test_a_preset_is_a_configuration(name):
    """`check-config` accepts it as it is."""
    assert main(['check-config', f'--preset={name}', '--offline']) == 0


def test_all_presets_go_together():
    """Detectors of different presets that have the same name are the same, so that any of them can be used at once; such a one is there once."""
    config = presets.config(NAMES, 'http://prometheus:9090')
    assert config.prometheus.url == 'http://prometheus:9090'
    detectors = {one['name']: one for name in NAMES for one in presets.read(name).detectors}
    assert [detector.name for detector in config.detectors] == list(detectors)
    for name in NAMES:
        assert all(detectors[one['name']] == one for one in presets.read(name).detectors), name
    assert len(presets.config(['node', 'node-health', 'node'], without=['node_temperature']).detectors) == len(
        {one['name'] for name in ('node', 'node-health') for one in presets.read(name).detectors} - {'node_temperature'}
    )


def test_the_list_says_how_each_was_tested(capsys):
    """`promlstm presets` names every preset, its detectors and what it was tested on."""
    assert main(['presets']) == 0
    out = capsys.readouterr().out
    for name in NAMES:
        preset = presets.read(name)
        assert f'{name}\n  {preset.about}\n  needs:     {preset.needs}\n  tested:    {preset.tested}\n' in out
        assert all(one['name'] in out for one in preset.detectors)


def test_an_unknown_preset_is_refused_with_the_names_that_there_are():
    """Exact text."""
    with pytest.raises(ConfigError, match=re.escape(f'--preset=nodes: no such preset; presets: {", ".join(NAMES)}')):
        presets.config(['nodes'])


@pytest.mark.parametrize('name', NAMES)
def test_what_a_preset_says_of_its_test_is_what_was_done(name):
    """Live means that it is tried on a live one; the others are held to a page that names its source, and say whether it was recorded."""
    tested = presets.read(name).tested
    if name not in RECORDED:
        assert tested.startswith('live against ')
        return
    source = RECORDED[name].read_text().splitlines()[0]
    assert (
        source.startswith('# Source: recorded from ')
        if tested.startswith('on a page that ')
        else source.startswith('# Source: not recorded.')
    )
    assert tested.startswith(('on a page that ', 'not against '))
    for version in re.findall(r'\d+\.[\d.]+\d', tested):
        assert version in source


@pytest.mark.parametrize('name', NAMES)
def test_identities_survive_a_pod(name):
    """No entity is told apart by the name of a pod."""
    for _, expr in expressions(name):
        assert 'pod' not in {label for by in re.findall(r'\b(?:by|on)\s*\(([^()]*)\)', expr) for label in re.findall(r'\w+', by)}
        if name == 'kubernetes':
            assert re.search(r'\bby \(', expr)


FAST = 1000  # a rate over five minutes is small while only seconds of them are there


def growing(text):
    """A recorded page whose every number grows from scrape to scrape, so that counters have rates."""
    scrapes = 0

    def page():
        nonlocal scrapes
        scrapes += 1
        return re.sub(r'(?m)^(\w.*\s)([-+.eE\d]+|NaN)$', lambda match: f'{match[1]}{float(match[2]) * scrapes * FAST}', text).encode()

    return page


@pytest.mark.real
@pytest.mark.parametrize('name', RECORDED)
def test_every_expression_returns_series_of_the_recorded_page(name, tmp_path):
    """On a real Prometheus that scrapes the page as it was recorded, or as the documents have it."""
    with serving(growing(RECORDED[name].read_text())) as address:
        scrape = [{'job_name': name, 'static_configs': [{'targets': [address]}]}]
        with servers.Prometheus(tmp_path / 'prometheus', scrape) as prometheus:
            for detector, expr in expressions(name):
                series = prometheus.wait_for(expr)
                assert series, detector


@contextmanager
def instrumented():
    """A service as prometheus_client makes it, and customers; its address."""
    registry, stop, chance = CollectorRegistry(), threading.Event(), random.Random(1)
    requests = Counter('http_requests', '', ['code'], registry=registry)
    seconds = Histogram('http_request_duration_seconds', '', registry=registry)

    def work():
        while not stop.wait(0.05):
            requests.labels('500' if chance.random() < 0.01 else '200').inc()
            seconds.observe(chance.gammavariate(4, 0.005))

    threading.Thread(target=work, daemon=True).start()
    try:
        with serving(lambda: generate_latest(registry)) as address:
            yield address
    finally:
        stop.set()


def hardware(directory):
    """What a machine with sensors, fans, memory that corrects errors and a processor that throttles has under /sys, for a node_exporter to read."""
    for path, text in {
        'class/hwmon/hwmon0/name': 'nct6775',
        'class/hwmon/hwmon0/temp1_input': '47000',
        'class/hwmon/hwmon0/fan1_input': '4200',
        'class/hwmon/hwmon0/in0_input': '1210',
        **{f'devices/system/edac/mc/mc0/{name}_count': '3' for name in ('ce', 'ue', 'ce_noinfo', 'ue_noinfo')},
        'class/net/eth0/speed': '1000',
        'devices/system/cpu/cpu0/topology/physical_package_id': '0',
        'devices/system/cpu/cpu0/topology/core_id': '0',
        **{f'devices/system/cpu/cpu0/thermal_throttle/{name}_throttle_count': '5' for name in ('core', 'package')},
    }.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text + '\n')
    collectors = (f'--collector.{name}' for name in ('hwmon', 'edac', 'cpu', 'netclass', 'netdev'))
    return ['--collector.disable-defaults', *collectors, f'--path.sysfs={directory}']


@pytest.fixture(scope='module')
def live(tmp_path_factory):
    """A Prometheus that scrapes itself, this machine, a machine with sensors, pages as other exporters document them, and a service."""
    directory = tmp_path_factory.mktemp('presets')
    pages = [(servers.ROOT / f'tests/recorded/{name}.prom').read_bytes() for name in ('rules/node-health', 'presets/capacity')]
    (directory / 'rules.yml').write_text('groups: [{name: one, rules: [{record: one, expr: vector(1)}]}]')
    with (
        servers.NodeExporter() as node,
        servers.NodeExporter(hardware(directory / 'sys')) as sensors,
        serving(lambda: b''.join(pages)) as others,
        instrumented() as address,
    ):
        scrape = [node.scrape_config('node'), sensors.scrape_config('sensors')]
        scrape.append({'job_name': 'others', 'static_configs': [{'targets': [others]}]})
        scrape.append({'job_name': 'shop', 'static_configs': [{'targets': [address], 'labels': {'namespace': 'prod'}}]})
        with servers.Prometheus(directory / 'prometheus', scrape, [directory / 'rules.yml']) as prometheus:
            prometheus.scrape_configs.append(prometheus.scrape_config('prometheus'))
            prometheus.reload()
            yield prometheus


def busy(directory):
    """Lets a disk work a little: an idle one has no latency."""
    with (directory / 'busy').open('wb') as file:
        file.write(os.urandom(65536))
        os.fsync(file.fileno())


@pytest.mark.real
@pytest.mark.parametrize('name', LIVE)
def test_every_expression_returns_series_of_the_real_thing(name, live, tmp_path):
    """On the exporters themselves, as the preset says."""
    for detector, expr in expressions(name):
        seen = live.wait_for(expr, lambda result: busy(tmp_path) or result)
        assert seen, detector


@pytest.mark.real
def test_the_exporter_takes_presets_instead_of_a_file(live, capsys, monkeypatch):
    """`check-config --preset` tries the expressions on the Prometheus that is named."""
    live.wait_for('rate(http_requests_total[5m] offset 12s)')  # check-config queries at now - delay, ten seconds ago
    monkeypatch.delenv('COLUMNS', raising=False)
    assert main(['check-config', '--preset=http', '--preset=prometheus', f'--prometheus.url={live.url}']) == 0
    out = capsys.readouterr().out
    assert re.search(r'^http_requests +1 .* [1-9]\d* +[\d.]+ KiB$', out, re.M)
    assert out.endswith('--preset=http --preset=prometheus: OK\n')


@pytest.mark.real
@pytest.mark.accept
@pytest.mark.timeout(1500)
def test_ten_healthy_minutes_raise_no_page(live, tmp_path):
    """At a step of five seconds, with the rules as shipped: nothing critical fires, whatever this machine does besides."""
    step = {'step': '5s', 'delay': '2s', 'history': '0s'}
    each = {one['name']: one for name in LIVE for one in presets.read(name).detectors}  # two of them share some
    detectors = [{**yaml.safe_load(yaml.safe_dump(one).replace('[5m]', '[1m]').replace('[15m]', '[1m]')), **step} for one in each.values()]
    with Exporter(tmp_path / 'promlstm', live.url, detectors) as exporter:
        live.scrape_configs.append(exporter.scrape_config())
        live.rule_files += [servers.ROOT / 'rules' / f'{name}.yml' for name in ('recording', 'alerts', 'self')]
        live.reload()
        live.wait_for('count(count by (detector) (promlstm_anomaly_score)) >= 25', limit_seconds=400)
        began = time.time()
        with suppress(TimeoutError):
            live.wait_for('ALERTS{alertstate="firing",severity="critical",alertname=~"Promlstm.*"}', limit_seconds=600)
        fired = f'count_over_time(ALERTS{{alertstate="firing"}}[{time.time() - began:.0f}s])'
        fired_alerts = live.query(f'count by (alertname, severity, detector, job, instance) ({fired})')
        print(f'\nfired in {time.time() - began:.0f} s:', [one['metric'] for one in fired_alerts])
        assert not [one for one in fired_alerts if one['metric']['severity'] == 'critical']
