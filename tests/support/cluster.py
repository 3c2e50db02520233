"""A real kube-apiserver on its etcd for tests, on the loopback, without kubelet and controllers: it takes and stores, and runs nothing.

with tempfile.TemporaryDirectory() as folder:
    with Cluster(folder, etcd, kube_apiserver).run() as cluster:
        cluster.helm('helm4', 'install', …)
"""

import contextlib
import os
import re
import secrets
import subprocess
from pathlib import Path

import requests
import servers
import yaml

NAMESPACE = 'monitoring'


class Cluster:
    """An API server that listens, and the way to it for us and for helm; `folder` holds all it needs, its data too."""

    def __init__(self, folder, etcd, kube_apiserver):
        self.folder = Path(folder)
        self.etcd, self.kube_apiserver = etcd, kube_apiserver
        self.url = f'https://127.0.0.1:{servers.free_port()}'
        self.token = secrets.token_hex()
        self.key, self.certificate = self.folder / 'tls.key', self.folder / 'tls.crt'
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.verify = str(self.certificate)
        self.http.headers['Authorization'] = f'Bearer {self.token}'
        self.kinds = {}

    def write_credentials(self):
        """A certificate for the server, which signs the tokens of service accounts too, and one token for us."""
        command = ('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=promlstm')
        files = ('-keyout', self.key, '-out', self.certificate)
        subprocess.run([*command, '-addext', 'subjectAltName=IP:127.0.0.1', *files], check=True, capture_output=True)
        (self.folder / 'tokens.csv').write_text(f'{self.token},admin,admin,system:masters\n')
        kubeconfig = {
            'apiVersion': 'v1',
            'kind': 'Config',
            'current-context': 'only',
            'contexts': [{'name': 'only', 'context': {'cluster': 'only', 'user': 'only'}}],
            'clusters': [{'name': 'only', 'cluster': {'server': self.url, 'certificate-authority': str(self.certificate)}}],
            'users': [{'name': 'only', 'user': {'token': self.token}}],
        }
        # helm warns of one that others may read.
        (self.folder / 'kubeconfig').touch(0o600)
        (self.folder / 'kubeconfig').write_text(yaml.safe_dump(kubeconfig))

    @contextlib.contextmanager
    def run(self):
        self.write_credentials()
        store = f'http://127.0.0.1:{servers.free_port()}'
        etcd = [
            self.etcd,
            f'--data-dir={self.folder}/etcd',
            f'--listen-client-urls={store}',
            f'--advertise-client-urls={store}',
            '--listen-peer-urls=http://127.0.0.1:0',
        ]
        server = [
            self.kube_apiserver,
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
            servers.Process(etcd, servers.answers(f'{store}/health'), log=self.folder / 'etcd.log'),
            servers.Process(server, lambda: self.http.get(f'{self.url}/readyz', timeout=5).ok, log=self.folder / 'kube-apiserver.log'),
        ):
            self.name = f'Kubernetes {self.get("version")["gitVersion"]}'
            self.version = tuple(map(int, re.search(r'v(\d+)\.(\d+)', self.name).groups()))
            self.discover()
            yield self

    def ask(self, method, path, body=None, **parameters) -> dict:
        """The server's answer; HTTPError with it where it is a refusal."""
        answer = self.http.request(method, f'{self.url}/{path}', json=body, params=parameters, timeout=servers.READY_SECONDS)
        if not answer.ok:
            raise requests.HTTPError(f'{method} {path}: {answer.status_code} {answer.text}')
        return answer.json()

    def get(self, path) -> dict:
        return self.ask('GET', path)

    def discover(self):
        """Asks the server what it stores: {(apiVersion, kind): (root of the API, plural)}."""
        self.kinds = {}
        roots = [f'apis/{version["groupVersion"]}' for group in self.get('apis')['groups'] for version in group['versions']]
        for root in ['api/v1', *roots]:
            for found in self.get(root)['resources']:
                if 'list' in found['verbs'] and found['name'] != 'componentstatuses':  # asks for a scheduler, and stores nothing
                    self.kinds[root.partition('/')[2], found['kind']] = (root, found['name'])

    def everything(self) -> dict:
        """{(kind, namespace, name): version} of every object of every kind."""
        found = {}
        for (_, kind), path in self.kinds.items():
            for meta in (item['metadata'] for item in self.get('/'.join(path))['items']):
                found[kind, meta.get('namespace'), meta['name']] = meta['resourceVersion']
        return found

    def ours(self) -> dict:
        """The same of the one namespace, for in the others the server itself goes on writing."""
        return {key: version for key, version in self.everything().items() if key[1] == NAMESPACE}

    def stored(self, rendered) -> dict:
        root, plural = self.kinds[rendered['apiVersion'], rendered['kind']]
        namespace = rendered['metadata'].get('namespace', NAMESPACE)
        return self.get(f'{root}/namespaces/{namespace}/{plural}/{rendered["metadata"]["name"]}')

    def helm(self, name, *args, check=True):
        """helm's answer, as text; with check=False what it complains of instead."""
        homes = {f'HELM_{home}_HOME': str(self.folder / home) for home in ('CACHE', 'CONFIG', 'DATA')}
        # What helm is told of the caller's own clusters must not be heard here.
        kept = {key: value for key, value in os.environ.items() if not key.startswith(('HELM_', 'KUBE'))}
        told = {**kept, **homes, 'KUBECONFIG': str(self.folder / 'kubeconfig'), 'HELM_NAMESPACE': NAMESPACE}
        done = servers.run_tool(name, *args, check=check, env=told)
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
