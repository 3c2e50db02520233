"""The chart on a real API server: what both helms install, upgrade, roll back and uninstall there, and that nothing is left behind.

There is etcd and kube-apiserver, but no kubelet and no controller: no pod runs, and what is shown is what the server takes and stores.
`make cluster-check` finds or builds the two and runs this; without them it skips.
"""

import contextlib
import os
import re
import shutil
import tempfile

import pytest
import requests
import servers
import yaml
from chart import CHART, HELMS, URL, VARIANTS, template_of
from cluster import NAMESPACE, Cluster, lost

ETCD = os.environ.get('ETCD')
KUBE_APISERVER = os.environ.get('KUBE_APISERVER')
pytestmark = pytest.mark.skipif(not (ETCD and KUBE_APISERVER), reason='needs a kube-apiserver and some minutes: make cluster-check')

OPERATOR = 'monitoring.coreos.com'
# group: its version, and the kinds of it that the chart makes
FOREIGN_KINDS = {OPERATOR: ('v1', ('ServiceMonitor', 'PodMonitor', 'PrometheusRule')), 'keda.sh': ('v1alpha1', ('ScaledObject',))}
PODS = f'api/v1/namespaces/{NAMESPACE}/pods'


@pytest.fixture(scope='module')
def cluster():
    """An empty one, with the namespace `monitoring` under the restricted Pod Security, and those that monitors and ScaledObjects may be in."""
    with tempfile.TemporaryDirectory(prefix='promlstm-cluster-') as folder, Cluster(folder, ETCD, KUBE_APISERVER).run() as cluster:
        labels = {'pod-security.kubernetes.io/enforce': 'restricted'}
        cluster.ask('POST', 'api/v1/namespaces', {'metadata': {'name': NAMESPACE, 'labels': labels}})
        for name in ('scraping', 'shop'):
            cluster.ask('POST', 'api/v1/namespaces', {'metadata': {'name': name}})
        # The first is a controller's to make, the other the variant's to find.
        cluster.ask('POST', f'api/v1/namespaces/{NAMESPACE}/serviceaccounts', {'metadata': {'name': 'default'}})
        cluster.ask('POST', 'apis/scheduling.k8s.io/v1/priorityclasses', {'metadata': {'name': 'monitoring'}, 'value': 1})
        yield cluster


@pytest.fixture(scope='module')
def operator(cluster):
    """The kinds of the operator and of KEDA, without their schemas, for no package brings their CRDs: any spec is taken, and kept whole."""
    kinds = [(group, version, kind) for group, (version, kinds) in FOREIGN_KINDS.items() for kind in kinds]
    for group, version, kind in kinds:
        names = {'kind': kind, 'plural': f'{kind.lower()}s', 'singular': kind.lower(), 'listKind': f'{kind}List'}
        schema = {'type': 'object', 'properties': {'spec': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}}}
        versions = [{'name': version, 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': schema}}]
        spec = {'group': group, 'scope': 'Namespaced', 'names': names, 'versions': versions}
        body = {'metadata': {'name': f'{names["plural"]}.{group}'}, 'spec': spec}
        cluster.ask('POST', 'apis/apiextensions.k8s.io/v1/customresourcedefinitions', body)

    def served():
        cluster.discover()
        return {(f'{group}/{version}', kind) for group, version, kind in kinds} <= cluster.kinds.keys() and cluster.everything()

    servers.wait_until(served, servers.READY_SECONDS, "the server to serve the kinds of others")


@pytest.fixture(scope='module')
def chart(cluster, tmp_path_factory):
    """The chart; where the server is older than it takes, a copy that does not ask for the version."""
    if cluster.version >= oldest():
        return CHART
    copy = tmp_path_factory.mktemp('chart') / 'promlstm'
    shutil.copytree(CHART, copy)
    (copy / 'Chart.yaml').write_text(re.sub('kubeVersion:.*\n', '', (copy / 'Chart.yaml').read_text()))
    return copy


def oldest() -> tuple:
    """The version of Kubernetes from which on the chart is meant to work."""
    return tuple(int(number) for number in re.search(r'kubeVersion: ">=(\d+)\.(\d+)', (CHART / 'Chart.yaml').read_text()).groups())


@contextlib.contextmanager
def installed(cluster, helm, *args):
    """An installed release; uninstalled, and with nothing left of it, at the end."""
    before = cluster.everything()
    try:
        cluster.helm(helm, 'install', 'promlstm', *args)
        yield
    finally:
        cluster.helm(helm, 'uninstall', 'promlstm', '--ignore-not-found')
    assert cluster.everything().keys() - before.keys() == set()


@pytest.mark.parametrize('helm', HELMS)
def test_a_cluster_that_is_too_old_is_refused(cluster, helm):
    """With the reason, and nothing is stored."""
    if cluster.version >= oldest():
        pytest.skip('this server is not too old')
    before = cluster.ours()
    assert 'chart requires kubeVersion' in cluster.helm(helm, 'install', 'promlstm', CHART, f'--set={URL}', check=False)
    assert cluster.ours() == before


@pytest.mark.parametrize('helm', HELMS)
def test_monitors_without_the_operator_are_refused(cluster, chart, helm):
    """With the reason, before anything is stored."""
    # Before the tests that bring the operator's kinds.
    assert (f'{OPERATOR}/v1', 'ServiceMonitor') not in cluster.kinds
    before = cluster.ours()
    complaint = cluster.helm(helm, 'install', 'promlstm', chart, f'--set={URL},serviceMonitor.enabled=true', check=False)
    assert 'no matches for kind "ServiceMonitor"' in complaint
    assert cluster.ours() == before


@pytest.mark.parametrize('helm', HELMS)
def test_a_release_from_its_install_to_its_end(cluster, chart, helm):
    """Upgraded with other detectors, rolled back to the first state, uninstalled: in no kind of object is anything left of it."""
    before = cluster.everything()
    with installed(cluster, helm, chart, f'--set={URL}'):
        first = cluster.release(helm)

        cluster.helm(helm, 'upgrade', 'promlstm', chart, f'--set={URL}', '--set-json=detectors=[{"name":"mine","expr":"up"}]')
        second = cluster.release(helm)
        assert first.keys() == second.keys()
        # The pods stay: the program takes a changed file by itself.
        assert {kind for kind, name in first if first[kind, name] != second[kind, name]} == {'ConfigMap'}
        assert 'name: mine' in second['ConfigMap', 'promlstm']['data']['promlstm.yml']

        cluster.helm(helm, 'rollback', 'promlstm', '1')
        assert cluster.release(helm) == first

        # That there is something to be left behind, of each revision too.
        added = cluster.everything().keys() - before.keys()
        assert {(kind, NAMESPACE, name) for kind, name in first} < added
        assert sum(kind == 'Secret' for kind, _, _ in added) == 3


@pytest.mark.parametrize('helm', HELMS)
def test_a_refused_upgrade_leaves_the_release_as_it_was(cluster, chart, helm):
    """Not a version of an object is another, and there is no revision of it. What only the server refuses is undone by a rollback."""
    with installed(cluster, helm, chart, f'--set={URL}'):
        before, first = cluster.ours(), cluster.release(helm)
        for settings, message in (('replica=2', 'replica'), ('podDisruptionBudget=true', 'is for two replicas or more')):
            assert message in cluster.helm(helm, 'upgrade', 'promlstm', chart, f'--set={URL},{settings}', check=False)
            assert cluster.ours() == before
        complaint = cluster.helm(helm, 'upgrade', 'promlstm', chart, f'--set={URL},resources.limits.cpu=1m', check=False)
        assert 'must be less than or equal to cpu limit' in complaint
        assert cluster.release(helm, '--revision=1') == first
        cluster.helm(helm, 'rollback', 'promlstm', '1')
        assert cluster.release(helm) == first


@pytest.mark.usefixtures('operator')
@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('helm', HELMS)
def test_the_server_takes_every_variant_whole(cluster, chart, helm, variant):
    """No field is lost, the pods of it are admitted, and nothing is left after the uninstallation."""
    values = f'--values={CHART}/ci/{variant}-values.yaml'
    rendered = list(yaml.safe_load_all(servers.run_tool(helm, 'template', 'promlstm', chart, values).stdout))
    if unknown := sorted(' '.join(kind) for kind in {(found['apiVersion'], found['kind']) for found in rendered} - cluster.kinds.keys()):
        told = f'{cluster.name} has no {", ".join(unknown)}'
        assert cluster.version < oldest(), told
        pytest.skip(f'{variant} is left out: {told}')
    with installed(cluster, helm, chart, values):
        made = [template_of(found) for found in cluster.release(helm).values()]
        for template in filter(None, made):
            cluster.ask('POST', PODS, {**template, 'metadata': {**template['metadata'], 'name': 'made'}}, dryRun='All')
        for found in yaml.safe_load_all(cluster.helm(helm, 'get', 'hooks', 'promlstm')):
            assert lost(found, cluster.ask('POST', PODS, found, dryRun='All')) == []


def test_the_namespace_refuses_pods_that_are_not_restricted(cluster):
    """Or that the variants' pods were admitted would say nothing of the restricted Pod Security."""
    if cluster.version < (1, 25):
        pytest.skip(f'{cluster.name} has no Pod Security admission: that the pods are restricted is not shown here')
    pod = {'metadata': {'name': 'root'}, 'spec': {'containers': [{'name': 'root', 'image': 'root'}]}}
    with pytest.raises(requests.HTTPError, match='violates PodSecurity "restricted'):
        cluster.ask('POST', PODS, pod, dryRun='All')
