"""Several query APIs in the chart: the configuration, the Secrets, and who may be asked."""

import re

import pytest
from chart import CHART, SCHEMA, config_of, objects, template

from promlstm import config as configuration

SOURCES = f'--values={CHART}/ci/sources-values.yaml'


def test_the_configuration_has_each_source_with_files_for_its_secrets():
    """Read by the program; each detector asks its own."""
    text = template('helm4', SOURCES).stdout
    config = configuration.parse(config_of(text), source='rendered')
    assert {name: source.kind for name, source in config.named_sources.items()} == {'prometheus': 'prometheus', 'logs': 'loki'}
    assert config.sources['logs'].basic_auth.password_file == '/secrets/loki-login/password'
    assert [config.source_name(detector) for detector in config.detectors] == ['prometheus', 'logs']
    (pod,) = [found['spec']['template']['spec'] for found in objects(text, 'Deployment')]
    (mount,) = [each for each in pod['containers'][0]['volumeMounts'] if each['mountPath'] == '/secrets/loki-login']
    (volume,) = [each for each in pod['volumes'] if each['name'] == mount['name']]
    assert volume['secret'] == {'secretName': 'loki-login', 'defaultMode': 288, 'items': [{'key': 'password', 'path': 'password'}]}


def test_a_network_policy_lets_out_to_each():
    """And to nobody else but DNS."""
    (policy,) = objects(template('helm4', SOURCES).stdout, 'NetworkPolicy')
    assert [[port['port'] for port in rule['ports']] for rule in policy['spec']['egress']] == [[9090], [3100], [53, 53], [9093]]


def test_without_prometheus_the_only_source_is_everybodys():
    """The section prometheus is then not there, and nothing of it is needed."""
    text = template('helm4', '--set=prometheus.url=', '--set-json=sources={"vm":{"url":"http://vm:8428","timeout":null}}').stdout
    config = configuration.parse(config_of(text), source='rendered')
    assert config.prometheus is None and {config.source_name(detector) for detector in config.detectors} == {'vm'}


def test_the_alertmanager_whose_silences_are_read():
    """With the file of its password; without the value nobody is asked."""
    text = template('helm4', SOURCES).stdout
    found = configuration.parse(config_of(text), source='rendered').alertmanager
    assert (found.url, found.basic_auth.password_file, found.interval) == ('http://alertmanager:9093', '/secrets/alertmanager-login/password', 30)
    none = template('helm4', SOURCES, '--set-json=alertmanager=null').stdout
    assert configuration.parse(config_of(none), source='rendered').alertmanager is None
    known = set(SCHEMA['properties']['alertmanager']['properties'])
    assert {re.sub('_secret$', '', key) for key in known} == set(configuration.Alertmanager.__struct_encode_fields__)


REFUSED = {
    'no way to the alertmanager': (['--set-json=networkPolicy.alertmanager.to=[]'], 'networkPolicy.alertmanager.to is empty: the silences'),
    'alertmanager in a template': (['--set-literal=alertmanager.url=http://${A}'], 'alertmanager.url: ${A} was not replaced'),
    'alertmanager without a url': (['--set-json=alertmanager={"url":null,"interval":"30s"}'], 'alertmanager.url is not set'),
    'source without a url': (['--set-json=sources.more={"url":null}'], 'sources.more'),
    'unknown': (['--set-json=detectors=[{"name":"a","expr":"up","source":"b"}]'], 'detectors: a: source: b is not a source; sources: logs, prometheus'),
    'twice': (['--set=sources.prometheus.url=http://a'], 'sources.prometheus and prometheus.url are both set'),
    'none for presets': (
        ['--set=prometheus.url=', '--set-json=sources.b={"url":"http://b"}', '--set-json=presets=["node"]', '--set-json=detectors=[]'],
        'source: missing; sources: b, logs',
    ),
    'path': (['--set=sources.logs.url=http://a/loki/api/v1/query'], 'sources.logs.url: it ends in /loki/api/v1/query'),
    'template': (['--set-literal=sources.logs.url=http://${A}'], 'sources.logs.url: ${A} was not replaced'),
    'header': (['--set=sources.logs.headers.Host=a'], 'sources.logs.headers: Host: this header belongs to the connection'),
    'parameter': (['--set=sources.logs.params.query=a'], 'sources.logs.params: query: promlstm sets it'),
    'two ways in': (
        ['--set-json=sources.logs.authorization={"credentials_secret":{"name":"a","key":"a"}}'],
        'sources.logs: basic_auth and authorization are both set',
    ),
    'no way out': (['--set-json=networkPolicy.sources=[]'], 'networkPolicy.sources is empty'),
    'no url': (['--set-json=sources.more={"kind":"loki"}'], 'url'),
    'unknown kind': (['--set=sources.logs.kind=elastic'], 'kind'),
    'name': (['--set-json=sources={"a b":{"url":"http://a"}}'], 'a b'),
}  # fmt: skip


@pytest.mark.parametrize('why', REFUSED)
def test_what_cannot_work_is_refused(why):
    """Before it is in the cluster, with the place."""
    args, says = REFUSED[why]
    done = template('helm4', SOURCES, *args, check=False)
    assert done.returncode != 0 and says in done.stderr
