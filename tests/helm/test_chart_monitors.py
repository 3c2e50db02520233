"""ServiceMonitor and PodMonitor: what the operator's users set, and what none of it may cost, the labels of entities and a step's scores."""

import json

import pytest
from chart import HELMS, SCHEMA, URL, VALUES, objects, template

from promlstm import config as configuration
from promlstm import presets

pytestmark = pytest.mark.usefixtures('helms')

KINDS = {'serviceMonitor': ('ServiceMonitor', 'endpoints'), 'podMonitor': ('PodMonitor', 'podMetricsEndpoints')}
# value: (where it is found in the spec of a monitor, what it is set to)
OF_ENDPOINT = {
    'interval': '45s', 'scrapeTimeout': '10s', 'scheme': 'https', 'tlsConfig': {'insecureSkipVerify': True},
    'basicAuth': {'username': {'name': 'a', 'key': 'b'}, 'password': {'name': 'a', 'key': 'c'}},
    'metricRelabelings': [{'action': 'drop', 'sourceLabels': ['__name__'], 'regex': 'python_.+'}],
}  # fmt: skip
OF_SPEC = {
    'jobLabel': 'app', 'podTargetLabels': ['zone'], 'sampleLimit': 1_000_000, 'targetLimit': 5, 'labelLimit': 30, 'labelNameLengthLimit': 200,
    'labelValueLengthLimit': 2_000_000,
}  # fmt: skip
SERVICE_ONLY = {'targetLabels': ['team']}


def monitor(key, values, *settings, helm='helm4'):
    """(the monitor, its endpoint) of some of its values."""
    done = template(helm, f'--set={URL}', f'--set-json={key}={json.dumps({"enabled": True, **values})}', *settings)
    kind, place = KINDS[key]
    (found,) = objects(done.stdout, kind)
    (endpoint,) = found['spec'][place]
    return found, endpoint


def complaint(key, values, *settings):
    """What helm says of values that are refused."""
    done = template('helm4', f'--set={URL}', f'--set-json={key}={json.dumps({"enabled": True, **values})}', *settings, check=False)
    assert done.returncode != 0
    return done.stderr


@pytest.mark.parametrize('helm', HELMS)
@pytest.mark.parametrize('key', KINDS)
def test_what_is_set_is_in_the_monitor(key, helm):
    """Under the operator's own names; big numbers as whole numbers."""
    spec = OF_SPEC | (SERVICE_ONLY if key == 'serviceMonitor' else {})
    values = OF_ENDPOINT | spec | {'namespace': 'scraping', 'labels': {'release': 'stack'}, 'annotations': {'team': 'sre'}}
    found, endpoint = monitor(key, values, helm=helm)
    assert {name: endpoint[name] for name in OF_ENDPOINT} == OF_ENDPOINT
    assert {name: found['spec'][name] for name in spec} == spec
    meta = found['metadata']
    assert (meta['namespace'], meta['labels']['release'], meta['annotations']) == ('scraping', 'stack', {'team': 'sre'})
    # The pods are where the release is, wherever the monitor is.
    assert found['spec']['namespaceSelector'] == {'matchNames': ['monitoring']}
    assert endpoint['honorLabels'] is True


@pytest.mark.parametrize('key', KINDS)
def test_every_value_of_a_monitor_was_set(key):
    """And both have the same, but for the labels that only a Service has."""
    known = OF_ENDPOINT.keys() | OF_SPEC.keys() | {'enabled', 'namespace', 'labels', 'annotations', 'relabelings'}
    assert set(SCHEMA['properties'][key]['properties']) == set(VALUES[key]) == known | (SERVICE_ONLY if key == 'serviceMonitor' else {}).keys()


@pytest.mark.parametrize('key', KINDS)
def test_what_is_not_set_is_not_in_the_monitor(key):
    """Prometheus' own defaults hold then."""
    found, endpoint = monitor(key, {})
    assert set(found['spec']) == {'namespaceSelector', 'selector', KINDS[key][1]}
    assert set(endpoint) == {'port', 'path', 'interval', 'honorLabels', 'relabelings'} and 'annotations' not in found['metadata']


@pytest.mark.parametrize('key', KINDS)
def test_honor_labels_is_nobodys_to_switch_off(key):
    """Entities would lose their own job and instance."""
    assert 'honorLabels' in complaint(key, {'honorLabels': False})


@pytest.mark.parametrize(
    ('detectors', 'interval'),
    [
        ([{'step': '5m'}], '30s'),
        ([{}], '30s'),
        ([{'step': '5m'}, {'step': '15s'}, {'step': '1h'}], '15s'),
        ([{'step': '500ms'}, {'step': '1s'}], '500ms'),
        ([{'step': '30s'}], '30s'),
    ],
)
@pytest.mark.parametrize('key', KINDS)
def test_the_interval_is_that_of_the_shortest_step(key, detectors, interval):
    """Where none is set: every step's scores are seen."""
    watched = json.dumps([{'name': f'd{number}', 'expr': 'up', **found} for number, found in enumerate(detectors)])
    assert monitor(key, {}, '--set-json=presets=[]', f'--set-json=detectors={watched}')[1]['interval'] == interval


def test_a_step_that_is_not_set_is_that_of_the_program():
    """Of which the chart has a copy; no preset is faster than what the chart scrapes at."""
    assert configuration.Detector(name='a', expr='up').step == 60
    assert min(detector.step for detector in presets.config(presets.names()).detectors) >= 30


@pytest.mark.parametrize('key', KINDS)
def test_a_longer_interval_than_a_step_is_refused(key):
    """With both of them; one that is as long is taken."""
    watched = '--set-json=detectors=[{"name":"a","expr":"up","step":"90s"},{"name":"b","expr":"up","step":"1m30s"}]'
    for interval, step, settings in (('91s', '90s', [watched, '--set-json=presets=[]']), ('1h', '60s', [])):
        told = complaint(key, {'interval': interval}, *settings)
        assert f'{key}.interval: {interval} is longer than the shortest step of the detectors, {step}' in told
    assert monitor(key, {'interval': '1m30s'}, watched, '--set-json=presets=[]')[1]['interval'] == '1m30s'
    # Nobody scrapes by a monitor that is not there.
    template('helm4', f'--set={URL},{key}.interval=1h')


@pytest.mark.parametrize('key', KINDS)
def test_a_longer_timeout_than_the_interval_is_refused(key):
    """The operator would reject the monitor, where nobody looks."""
    assert f'{key}.scrapeTimeout: 31s is longer than the interval, 30s' in complaint(key, {'scrapeTimeout': '31s'})
    assert f'{key}.scrapeTimeout: 1m is longer than the interval, 45s' in complaint(key, {'scrapeTimeout': '1m', 'interval': '45s'})
    assert monitor(key, {'scrapeTimeout': '30000ms'})[1]['scrapeTimeout'] == '30000ms'


@pytest.mark.parametrize('key', KINDS)
def test_a_limit_that_a_rollout_breaks_is_refused(key):
    """Prometheus scrapes none of the pods where there are more than the limit."""
    assert f'{key}.targetLimit: a rollout has 3 pods at a time' in complaint(key, {'targetLimit': 2}, '--set=replicas=2')
    assert monitor(key, {'targetLimit': 3}, '--set=replicas=2')[0]['spec']['targetLimit'] == 3


@pytest.mark.parametrize('key', KINDS)
@pytest.mark.parametrize('where', ['relabelings', 'metricRelabelings'])
def test_relabelings_have_the_keys_of_the_operator(key, where):
    """Those of prometheus.yml are taken by nobody; the action that is meant where there is none is written out."""
    assert 'source_labels' in complaint(key, {where: [{'source_labels': ['a'], 'target_label': 'b'}]})
    assert 'action' in complaint(key, {where: [{'action': 'dropp', 'regex': 'a'}]})
    assert monitor(key, {where: [{'targetLabel': 'a', 'replacement': 'b'}]})[1][where][-1] == {
        'action': 'replace', 'targetLabel': 'a', 'replacement': 'b',
    }  # fmt: skip
