"""Presets on the databases and queues themselves, all at once: they return what they promise, leave healthy minutes alone, and see a fault."""

import re
import signal
import time
from contextlib import ExitStack, suppress

import pytest
import servers
import services
import yaml
from exporter import Exporter
from requirements import absent

from promlstm import presets
from promlstm.__main__ import main

pytestmark = pytest.mark.real

NAMES = list(services.STARTS)
DETECTORS = [(name, one) for name in NAMES for one in presets.read(name).detectors]

# What each does less of when its clients go.
WORK = {'mysql': 'mysql_queries', 'postgres': 'postgres_transactions', 'rabbitmq': 'rabbitmq_received', 'redis': 'redis_commands'}


@pytest.fixture(scope='module')
def live(tmp_path_factory):
    """A Prometheus with our rules, and what it scrapes by the name of its preset."""
    if missing := services.missing():
        absent(f'no {", ".join(missing)} in .cache/services/bin: make test fetches them (or .ci/install-services)')
    with ExitStack() as held:
        running = {name: held.enter_context(start()) for name, start in services.STARTS.items()}
        scrape = [service.exporter.scrape_config(name) for name, service in running.items()]
        rules = [servers.ROOT / 'rules' / f'{name}.yml' for name in ('recording', 'alerts', 'self')]
        directory = tmp_path_factory.mktemp('services')
        prometheus = held.enter_context(servers.Prometheus(directory / 'prometheus', scrape, rules))
        yield prometheus, running


@pytest.fixture(scope='module')
def scored(live, accept, tmp_path_factory):
    """The same, and the exporter, which scores all presets at a quick step and is scraped as well."""
    prometheus, running = live
    step_seconds = 5 if accept else 1
    # As at the step of a minute that a preset has by itself: as many steps in a window, and as many between two false alarms.
    quick = {'step': f'{step_seconds}s', 'false_alarms': f'{60 // step_seconds}/week each', 'delay': '2s', 'history': '0s'}
    text = re.sub(r'\[(\d+)m\]', lambda minutes: f'[{int(minutes[1]) * step_seconds}s]', yaml.safe_dump([one for _, one in DETECTORS]))
    detectors = [{**one, **quick} for one in yaml.safe_load(text)]
    with Exporter(tmp_path_factory.mktemp('exporter') / 'promlstm', prometheus.url, detectors) as exporter:
        prometheus.scrape_configs.append(exporter.scrape_config())
        prometheus.reload()
        prometheus.wait_for(f'count(count by (detector) (promlstm_anomaly_score)) == {len(DETECTORS)}', limit_seconds=400)
        yield prometheus, running


@pytest.mark.parametrize(('preset', 'detector'), [pytest.param(name, one, id=one['name']) for name, one in DETECTORS])
def test_every_expression_returns_the_entities_that_it_names(preset, detector, live):
    """As it is written: with the labels that it aggregates by, or those of the target; the exporter adds one where it watches each database."""
    prometheus, _ = live
    series = prometheus.wait_for(detector['expr'])
    by = re.match(r'\w+ by \(([^)]*)\)', detector['expr'])
    promised = set(by[1].split(', ')) if by else {'job', 'instance'}
    for one in series:
        labels = {name: value for name, value in one['metric'].items() if name not in ('__name__', *(() if by else ('datname', 'server')))}
        assert set(labels) == promised and all(labels.values())
        assert labels['job'] == preset


@pytest.mark.parametrize('name', NAMES)
def test_what_a_preset_says_it_was_tried_on_is_what_runs(name, live):
    """The versions in `tested` are those that the service and its exporter tell of themselves."""
    prometheus, _ = live
    told = prometheus.wait_for(f'{{__name__=~".+_build_info|.+_instance_info|.+_version_info|pg_static",job="{name}"}}')
    versions = [value for one in told for label, value in one['metric'].items() if 'version' in label]
    said = re.findall(r'\d+\.[\d.]*\d|\b\d+\b', presets.read(name).tested)
    assert said and all(any(version.startswith(f'{one}.') or version == one for version in versions) for one in said), versions


def test_check_config_takes_the_presets(live, capsys):
    """`--preset` tries the expressions on the Prometheus that is named."""
    prometheus, _ = live
    for _, one in DETECTORS:
        prometheus.wait_for(f'last_over_time(({one["expr"]})[5s:1s] offset 12s)')  # it asks for what was there ten seconds ago
    assert main(['check-config', *(f'--preset={name}' for name in NAMES), f'--prometheus.url={prometheus.url}']) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r'^\S+ +\d+ .* [1-9]\d* +[\d.]+ KiB$', out, re.M)) == len(DETECTORS), out


@pytest.mark.timeout(1500)
def test_healthy_minutes_raise_no_page(scored, accept):
    """Every detector scores, and nothing critical fires: ten minutes at a step of five seconds, or a quarter of one at a step of one."""
    prometheus, running = scored
    began = time.time()
    with suppress(TimeoutError):
        prometheus.wait_for('ALERTS{alertstate="firing",severity="critical",alertname=~"Promlstm.*"}', limit_seconds=600 if accept else 15)
    fired = f'count_over_time(ALERTS{{alertstate="firing"}}[{time.time() - began:.0f}s])'
    told = [one['metric'] for one in prometheus.query(f'count by (alertname, severity, detector, job, instance) ({fired})')]
    print(f'\nfired in {time.time() - began:.0f} s:', told)
    assert [name for name, service in running.items() if not service.work.is_under_way()] == []
    assert [one for one in told if one['severity'] == 'critical'] == []
    failed = prometheus.query('promlstm_detector_up == 0 or increase(promlstm_detector_failures_total[10m]) > 0')
    assert failed == []


def test_lost_customers_are_seen(scored):
    """All clients go and the servers are well: the detector of the work that each did is anomalous, and an alert tells of it."""
    prometheus, running = scored
    for service in running.values():
        service.work.stop()
    for name, detector in WORK.items():
        fewer = f'promlstm_anomaly_score{{detector="{detector}",job="{name}"}} >= 1 and promlstm_observed < promlstm_expected_lower'
        alert = f'ALERTS{{alertname="PromlstmAnomaly",alertstate="firing",detector="{detector}"}}'
        for seen in (fewer, alert):
            prometheus.wait_for(f'present_over_time(({seen})[2m:1s])', limit_seconds=120)


@pytest.mark.parametrize('name', ['postgres', 'redis'])
def test_a_dead_server_is_missing_and_not_zero(name, scored):
    """The exporter beside it lives on without samples: no detector has a score or a value left, and each that minds tells what it lacks."""
    prometheus, running = scored
    running[name].server.child.send_signal(signal.SIGINT)  # at once, and without leaving shared memory behind, as a kill would
    lacking = [one['name'] for preset, one in DETECTORS if preset == name and one.get('missing') != 'ignore']
    entities = f'promlstm_detector_entities{{detector=~"{"|".join(lacking)}",state="missing"}}'
    prometheus.wait_for(f'count({entities} > 0) == {len(lacking)}', limit_seconds=120)
    prometheus.wait_for(f'absent({{__name__=~"promlstm_(anomaly_score|observed|expected)",detector=~"{name}_.*"}})', limit_seconds=120)
