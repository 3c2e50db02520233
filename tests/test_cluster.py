"""The chart on a real API server: what both helms install, upgrade, roll back and uninstall there, and that nothing is left behind.

There is etcd and kube-apiserver, but no kubelet and no controller: no pod runs, and what is shown is what the server takes and stores.
`make cluster-check` finds or builds the two and runs this; without them it skips.
"""

import contextlib
import os
import re
import secrets
import shutil
import subprocess

import pytest
import real
import requests
import yaml
from test_chart import CHART, HELMS, URL, VARIANTS, template_of

ETCD = os.environ.get('ETCD')
KUBE_APISERVER = os.environ.get('KUBE_APISERVER')
pytestmark = pytest.mark.skipif(not (ETCD and KUBE_APISERVER), reason='needs a kube-apiserver and some minutes: make cluster-check')

NAMESPACE = 'monitoring'
OPERATOR = 'monitoring.coreos.com'
PODS = f'api/v1/namespaces/{NAMESPACE}/pods'


class Cluster:
    """An API server that listens, and the way to it for us and for helm; `folder` holds all it needs, its data too."""

    def __init__(self, folder):
        self.folder = folder
        self.url = f'https://127.0.0.1:{real.free_port()}'
        self.token = secrets.token_hex()
        self.key, self.certificate = folder / 'tls.key', folder / 'tls.crt'
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.verify = str(self.certificate)
        self.http.headers['Authorization'] = f'Bearer {self.token}'
        self.kinds = {}

    @contextlib.contextmanager
    def run(self):
        command = ('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=promlstm')
        files = ('-keyout', self.key, '-out', self.certificate)
        subprocess.run([*command, '-addext', 'subjectAltName=IP:127.0.0.1', *files], check=True, capture_output=True)
        (self.folder / 'tokens.csv').write_text(f'{self.token},admin,admin,system:masters\n')
        store = f'http://127.0.0.1:{real.free_port()}'
        etcd = [
            ETCD,
            f'--data-dir={self.folder}/etcd',
            f'--listen-client-urls={store}',
            f'--advertise-client-urls={store}',
            '--listen-peer-urls=http://127.0.0.1:0',
        ]
        server = [
            KUBE_APISERVER,
            f'--etcd-servers={store}',
            '--bind-address=127.0.0.1',
            '--advertise-address=127.0.0.1',
            '--endpoint-reconciler-type=none',
            f'--secure-port={self.url.rpartition(":")[2]}',
            f'--tls-cert-file={self.certificate}',
            f'--tls-private-key-file={self.key}',
            f'--token-auth-file={self.folder}/tokens.csv',
            '--authorization-mode=RBAC',
            '--service-cluster-ip-range=10.0.0.0/24',
            '--service-account-issuer=https://kubernetes.default.svc',
            f'--service-account-key-file={self.key}',
            f'--service-account-signing-key-file={self.key}',
        ]
        with (
            real.Process(etcd, real.answers(f'{store}/health'), log=self.folder / 'etcd.log'),
            real.Process(server, lambda: self.http.get(f'{self.url}/readyz', timeout=5).ok, log=self.folder / 'kube-apiserver.log'),
        ):
            self.name = f'Kubernetes {self.get("version")["gitVersion"]}'
            self.version = tuple(map(int, re.search(r'v(\d+)\.(\d+)', self.name).groups()))
            self.discover()
            yield

    def ask(self, method, path, body=None, **parameters) -> dict:
        """The server's answer; HTTPError with it where it is a refusal."""
        answer = self.http.request(method, f'{self.url}/{path}', json=body, params=parameters, timeout=real.READY_SECONDS)
        if not answer.ok:
            raise requests.HTTPError(f'{method} {path}: {answer.status_code} {answer.text}')
        return answer.json()

    def get(self, path) -> dict:
        return self.ask('GET', path)

    def discover(self):
        """Reads {(apiVersion, kind): path of its list, with {} for the namespace} of all that the server stores, as it says itself."""
        self.kinds = {}
        roots = [f'apis/{version["groupVersion"]}' for group in self.get('apis')['groups'] for version in group['versions']]
        for root in ['api/v1', *roots]:
            for found in self.get(root)['resources']:
                if 'list' in found['verbs'] and found['name'] != 'componentstatuses':  # asks for a scheduler, and stores nothing
                    self.kinds[root.partition('/')[2], found['kind']] = (root, found['name'])

    def everything(self) -> dict:
        """{(kind, namespace, name): its uid and version} of every object of every kind."""
        found = {}
        for (_, kind), path in self.kinds.items():
            for meta in (item['metadata'] for item in self.get('/'.join(path))['items']):
                found[kind, meta.get('namespace'), meta['name']] = meta['uid'], meta['resourceVersion']
        return found

    def stored(self, rendered) -> dict:
        root, plural = self.kinds[rendered['apiVersion'], rendered['kind']]
        return self.get(f'{root}/namespaces/{NAMESPACE}/{plural}/{rendered["metadata"]["name"]}')

    def helm(self, name, *args, check=True):
        """helm's answer, as text; with check=False what it complains of instead."""
        homes = {f'HELM_{home}_HOME': str(self.folder / home) for home in ('CACHE', 'CONFIG', 'DATA')}
        told = {**os.environ, **homes, 'KUBECONFIG': str(self.folder / 'kubeconfig'), 'HELM_NAMESPACE': NAMESPACE}
        done = real.run_tool(name, *args, check=check, env=told)
        assert check or done.returncode != 0, done.stdout
        return done.stdout if check else done.stderr

    def release(self, helm, *args) -> dict:
        """{(kind, name): object as stored} of what the release rendered; the server has every field of it."""
        found = {}
        for rendered in yaml.safe_load_all(self.helm(helm, 'get', 'manifest', 'promlstm', *args)):
            stored = self.stored(rendered)
            assert lost(rendered, stored) == []
            kept = {key: value for key, value in stored['metadata'].items() if key in ('name', 'labels', 'annotations')}
            found[rendered['kind'], kept['name']] = {**stored, 'metadata': kept, 'status': None}
        return found


def lost(rendered, stored, where=''):
    """Paths of what was rendered and is not as it was; what the server adds is its own affair.

    >>> lost({'a': [{'b': 1}], 'c': 2}, {'a': [{'b': 1, 'added': 0}]})
    ['.c: 2 became None']
    """
    if isinstance(rendered, dict) and isinstance(stored, dict):
        return [text for key, value in rendered.items() for text in lost(value, stored.get(key), f'{where}.{key}')]
    if isinstance(rendered, list) and isinstance(stored, list) and len(rendered) == len(stored):
        return [text for i, pair in enumerate(zip(rendered, stored, strict=True)) for text in lost(*pair, f'{where}[{i}]')]
    return [] if rendered == stored else [f'{where}: {rendered!r} became {stored!r}']


@pytest.fixture(scope='module')
def cluster(tmp_path_factory):
    """An empty one, with the namespace `monitoring` under the restricted Pod Security."""
    cluster = Cluster(tmp_path_factory.mktemp('cluster'))
    kubeconfig = {
        'apiVersion': 'v1',
        'kind': 'Config',
        'current-context': 'only',
        'contexts': [{'name': 'only', 'context': {'cluster': 'only', 'user': 'only'}}],
        'clusters': [{'name': 'only', 'cluster': {'server': cluster.url, 'certificate-authority': str(cluster.certificate)}}],
        'users': [{'name': 'only', 'user': {'token': cluster.token}}],
    }
    (cluster.folder / 'kubeconfig').write_text(yaml.safe_dump(kubeconfig))
    (cluster.folder / 'kubeconfig').chmod(0o600)
    with cluster.run():
        labels = {'pod-security.kubernetes.io/enforce': 'restricted'}
        cluster.ask('POST', 'api/v1/namespaces', {'metadata': {'name': NAMESPACE, 'labels': labels}})
        # The first is a controller's to make, the other the variant's to find.
        cluster.ask('POST', f'api/v1/namespaces/{NAMESPACE}/serviceaccounts', {'metadata': {'name': 'default'}})
        cluster.ask('POST', 'apis/scheduling.k8s.io/v1/priorityclasses', {'metadata': {'name': 'monitoring'}, 'value': 1})
        yield cluster


@pytest.fixture(scope='module')
def operator(cluster):
    """The operator's kinds, without its schemas, of which no package has the CRDs: any spec is taken, and kept whole."""
    kinds = ('ServiceMonitor', 'PodMonitor', 'PrometheusRule')
    for kind in kinds:
        names = {'kind': kind, 'plural': f'{kind.lower()}s', 'singular': kind.lower(), 'listKind': f'{kind}List'}
        schema = {'type': 'object', 'properties': {'spec': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}}}
        versions = [{'name': 'v1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': schema}}]
        spec = {'group': OPERATOR, 'scope': 'Namespaced', 'names': names, 'versions': versions}
        body = {'metadata': {'name': f'{names["plural"]}.{OPERATOR}'}, 'spec': spec}
        cluster.ask('POST', 'apis/apiextensions.k8s.io/v1/customresourcedefinitions', body)

    def served():
        cluster.discover()
        return {(f'{OPERATOR}/v1', kind) for kind in kinds} <= cluster.kinds.keys() and cluster.everything()

    real.wait_until(served, real.READY_SECONDS, "the server to serve the operator's kinds")


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
    cluster.helm(helm, 'install', 'promlstm', *args)
    try:
        yield
    finally:
        cluster.helm(helm, 'uninstall', 'promlstm')
    assert cluster.everything().keys() - before.keys() == set()


@pytest.mark.parametrize('helm', HELMS)
def test_a_cluster_that_is_too_old_is_refused(cluster, helm):
    """With the reason, and nothing is stored."""
    if cluster.version >= oldest():
        pytest.skip('this server is not too old')
    before = cluster.everything()
    assert 'chart requires kubeVersion' in cluster.helm(helm, 'install', 'promlstm', CHART, f'--set={URL}', check=False)
    assert cluster.everything() == before


@pytest.mark.parametrize('helm', HELMS)
def test_monitors_without_the_operator_are_refused(cluster, chart, helm):
    """With the reason, before anything is stored."""
    # Before the tests that bring the operator's kinds.
    assert (f'{OPERATOR}/v1', 'ServiceMonitor') not in cluster.kinds
    before = cluster.everything()
    complaint = cluster.helm(helm, 'install', 'promlstm', chart, f'--set={URL},serviceMonitor.enabled=true', check=False)
    assert 'no matches for kind "ServiceMonitor"' in complaint
    assert cluster.everything() == before


@pytest.mark.parametrize('helm', HELMS)
def test_a_release_from_its_install_to_its_end(cluster, chart, helm):
    """Upgraded with other detectors, rolled back to the first state, uninstalled: in no kind of object is anything left of it."""
    before = cluster.everything()
    cluster.helm(helm, 'install', 'promlstm', chart, f'--set={URL}')
    first = cluster.release(helm)

    cluster.helm(helm, 'upgrade', 'promlstm', chart, f'--set={URL}', '--set-json=detectors=[{"name":"mine","expr":"up"}]')
    second = cluster.release(helm)
    changed = [kind for (kind, name) in first if first[kind, name] != second[kind, name]]
    assert changed == ['ConfigMap', 'Deployment'] and first.keys() == second.keys()
    assert 'name: mine' in second['ConfigMap', 'promlstm']['data']['promlstm.yml']
    checksums = [
        state['Deployment', 'promlstm']['spec']['template']['metadata']['annotations']['checksum/config'] for state in (first, second)
    ]
    assert checksums[0] != checksums[1]

    cluster.helm(helm, 'rollback', 'promlstm', '1')
    assert cluster.release(helm) == first

    added = cluster.everything().keys() - before.keys()
    assert {(kind, NAMESPACE, name) for kind, name in first} < added
    assert sum(kind == 'Secret' for kind, _, _ in added) == 3, 'one of each revision'
    cluster.helm(helm, 'uninstall', 'promlstm')
    assert cluster.everything().keys() - before.keys() == set()


@pytest.mark.parametrize('helm', HELMS)
def test_a_refused_upgrade_leaves_the_release_as_it_was(cluster, chart, helm):
    """Not a version of an object is another, and there is no revision of it. What only the server refuses is undone by a rollback."""
    with installed(cluster, helm, chart, f'--set={URL}'):
        before, first = cluster.everything(), cluster.release(helm)
        for settings, message in (('replica=2', 'replica'), ('podDisruptionBudget=true', 'is for two replicas or more')):
            assert message in cluster.helm(helm, 'upgrade', 'promlstm', chart, f'--set={URL},{settings}', check=False)
            assert cluster.everything() == before
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
    rendered = list(yaml.safe_load_all(real.run_tool(helm, 'template', 'promlstm', chart, values).stdout))
    if unknown := sorted(' '.join(kind) for kind in {(found['apiVersion'], found['kind']) for found in rendered} - cluster.kinds.keys()):
        assert cluster.version < oldest()
        pytest.skip(f'left out: {cluster.name} has no {", ".join(unknown)}')
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
