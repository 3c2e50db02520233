"""Whatever stands in a value, the chart renders what Kubernetes and promlstm take, or says which value it is that cannot be.

Each value is set to null, to nothing, and to what is of another kind, where all that reads it is switched on. `make test` tries null in
a sixth of the places and a few of the rest, `make accept` all of it.
"""

import copy
import functools
import json
import re
import zlib

import pytest
import yaml
from chart import CHART, FOREIGN, VALUES, WORKLOADS, command_line, template, template_of
from requirements import is_accept

from convert import recipe
from promlstm import config as configuration

pytestmark = pytest.mark.usefixtures('helms')

KUBERNETES = '1.37'
ODD = (None, True, -1, 0, 1e21, 'text', '', [], [''], [None], {}, {'a': None}, {'a': {'b': []}}, ' ', 'a: b\nc', '{{ .x }}')
# Where a value is read: the variants that have it on, if those for all others have not. The files of rules/ are long to read.
ON = {
    'podMonitor': ('podmonitor',), 'serviceMonitor': ('servicemonitor',), 'models.fetch': ('fetch',), 'models.inline': ('inline',),
    'networkPolicy.fetch': ('fetch',), 'storage.existingClaim': ('storage',), 'storage': ('statefulset',),
    'forecast': ('scaled',), 'rules': ('annotations',), 'dashboards': ('operator',),
}  # fmt: skip
OTHERWISE = ('extra', 'retraining')


def paths(values, above=''):
    """Every key, of groups and of values in them."""
    for key, value in values.items():
        yield f'{above}{key}'
        if isinstance(value, dict):
            yield from paths(value, f'{above}{key}.')


TRIED = [
    (path, value)
    for path in paths(VALUES)
    for value in ODD
    if is_accept() or zlib.crc32(f'{path} {value}'.encode()) % (6 if value is None else 40) == 0
]


def rendering(folder, path, value):
    """The done process with one value set, after those of the variants."""
    tree = value
    for key in reversed(path.split('.')):
        tree = {key: tree}
    return rendering_of(folder, path, tree)


def rendering_of(folder, path, tree):
    """The same of a tree of values, of which that path is looked at."""
    (folder / 'odd.json').write_text(json.dumps(tree))
    on = next((found for start, found in ON.items() if path.startswith(start)), OTHERWISE)
    files = [f'--values={CHART}/ci/{variant}-values.yaml' for variant in on]
    if on == OTHERWISE:
        (folder / 'short.json').write_text('{"rules": {"configMap": false}}')
        files.append(f'--values={folder}/short.json')
    return template('helm4', f'--kube-version={KUBERNETES}', *files, f'--values={folder}/odd.json', check=False)


# Values with all that can be below them, for null to be put in each place.
WITHIN = {
    'prometheus': {
        'url': 'http://prometheus:9090',
        'headers': {'X-Scope-OrgID': 'team'},
        'params': {'dedup': 'true'},
        'basic_auth': {'username': 'a', 'password_secret': {'name': 'a', 'key': 'b'}},
        'tls_config': {name: {'name': 'tls', 'key': name} for name in ('ca_secret', 'cert_secret', 'key_secret')},
    },
    'detectors': [
        {'name': 'one', 'expr': 'up', 'step': '30s', 'delay': '10s', 'hold': '1h', 'forget': '1d', 'history': '1d', 'missing': 'ignore',
         'false_alarms': '1/day each', 'direction': 'above', 'min_deviation': 1, 'min_relative_deviation': 1e-05, 'range': [0, 1e21],
         'max_entities': 10, 'export': 'anomalous', 'max_exported': 9, 'timezone': 'UTC', 'model': 'builtin:default', 'sha256': 'a' * 64,
         'forecast': {'horizons': ['5m', '1h'], 'limit': 1e-05, 'approach': 'falling', 'model': 'builtin:forecast', 'sha256': 'a' * 64}},
        {'name': 'two', 'features': {'a': 'up', 'b': 'up'}, 'by': ['job', 'instance']},
    ],
    'root_cause': {
        'within': ['cluster'], 'labels': ['pod'], 'window': '5m', 'interval': '30s', 'source': 'prometheus',
        'graph_file': '/models/g', 'graph_sha256': 'a' * 64,
        'edges': [{'expr': 'x', 'from': 'pod', 'to': 'node', 'label': 'host', 'source': 'prometheus'}, {'preset': 'tempo', 'label': 'app'}],
    },
    'retraining': {
        'detectors': ['two'],
        'exclude': {
            'by_hand': [{'span': ['2026-01-01', '2026-01-02'], 'match': '{job="a"}', 'why': 'a test'}],
            'silences': {'alertmanager': 'http://a', 'margin': '5m', 'headers': {'X': 'y'},
                         'authorization': {'type': 'Bearer', 'credentials_secret': {'name': 'login', 'key': 'token'}}},
        },
        'gates': {'recall_margin': 1e-05, 'alarms_ratio': 2, 'baselines': ['ewma']},
    },
    'serviceMonitor': {
        'enabled': True, 'interval': '15s', 'scrapeTimeout': '10s', 'tlsConfig': {'insecureSkipVerify': True}, 'labels': {'a': 'b'},
        'basicAuth': {'username': {'name': 'a', 'key': 'b'}, 'password': {'name': 'a', 'key': 'b'}},
        'relabelings': [{'sourceLabels': ['a'], 'targetLabel': 'b', 'regex': '(.*)', 'replacement': 'c', 'action': 'replace'}],
        'targetLabels': ['team'], 'podTargetLabels': ['team'],
    },
    'forecast': {
        'scaledObjects': [
            {'name': 'web', 'namespace': 'shop', 'target': {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'name': 'web'}, 'detector': 'one',
             'match': {'service': 'web'}, 'horizon': '5m', 'observed': 'sum(x)', 'threshold': 1e-05, 'minReplicas': 1, 'maxReplicas': 3000000,
             'fallback': {'failureThreshold': 3, 'replicas': 1000000, 'behavior': 'static'}, 'behavior': {'scaleUp': {'stabilizationWindowSeconds': 0}},
             'serverAddress': 'http://a', 'authenticationRef': {'name': 'a', 'kind': 'TriggerAuthentication'}, 'metadata': {'authModes': 'bearer'},
             'labels': {'a': 'b'}, 'annotations': {'a': 'b'}},
        ],
    },
    'networkPolicy': {
        'scrapeFrom': [{'podSelector': {'matchLabels': {'a': 'b'}}, 'namespaceSelector': {}}, {'ipBlock': {'cidr': '10.0.0.0/8', 'except': ['10.1.0.0/16']}}],
    },
    'dnsConfig': {'nameservers': ['10.0.0.1'], 'searches': ['a.b'], 'options': [{'name': 'ndots', 'value': '2'}]},
    'tolerations': [{'key': 'a', 'operator': 'Equal', 'value': 'b', 'effect': 'NoExecute', 'tolerationSeconds': 5}],
    'extraEnv': [{'name': 'A', 'value': 'a'}, {'name': 'B', 'valueFrom': {'fieldRef': {'fieldPath': 'metadata.name'}}},
                 {'name': 'C', 'valueFrom': {'secretKeyRef': {'name': 'a', 'key': 'b'}}}],
    'extraVolumes': [{'name': 'authority', 'configMap': {'name': 'authority', 'items': [{'key': 'a', 'path': 'b'}]}}],
    'extraVolumeMounts': [{'name': 'authority', 'mountPath': '/authority', 'readOnly': True}],
    'extraContainers': [{'name': 'signer', 'image': 'signer', 'args': ['a'], 'securityContext': {'capabilities': {'drop': ['ALL']}}}],
    'extraObjects': [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'more'}}],
    'image': {'pullSecrets': [{'name': 'registry'}]},
    'podLabels': {'a': 'b'}, 'podAnnotations': {'a': 'b'}, 'commonLabels': {'c': 'd'}, 'nodeSelector': {'a': 'b'},
}  # fmt: skip
# What Kubernetes alone knows to be needed.
OF_KUBERNETES = ('extraVolumes',)


def places(tree, above=()):
    """The way to everything below, by keys and indexes."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield (*above, key)
        yield from places(value, (*above, key))


NULLS = [way for way in places(WITHIN) if len(way) > 1 and (is_accept() or zlib.crc32(str(way).encode()) % 8 == 0)]


class Once(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):
    """YAML in which no key stands twice: parsers do not agree on which one counts."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(set(keys)) == len(keys), f'{node.start_mark}: {keys}'
        return super().construct_mapping(node, deep)


def nothings(tree, where=''):
    """Paths of what is null: an API server takes it out, and whoever compares finds a difference."""
    if tree is None:
        return [where]
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [found for key, value in inner for found in nothings(value, f'{where}.{key}')]


@functools.cache
def check_object(text):
    """AssertionError, or the complaint of whoever reads it, where an object is none that works; most are as they were a value ago."""
    from kubernetes_validate import validate

    found = yaml.load(text, Once)
    assert nothings(found) == []
    if not found['apiVersion'].startswith(FOREIGN):
        validate(found, KUBERNETES, strict=True)
    return found


def check(text, folder):
    """The same of a whole rendering; what is in its files is read by whom it is for."""
    assert '<nil>' not in text and '%!' not in text and '<no value>' not in text
    for part in re.split('^---$', text, flags=re.MULTILINE)[1:]:
        found = check_object(part)
        for name, content in found.get('data', {}).items() if found['kind'] == 'ConfigMap' else ():
            (folder / name).write_text(content)
        if found['kind'] in WORKLOADS:
            command_line().parse_args(template_of(found)['spec']['containers'][0]['args'])
    configuration.load(folder / 'promlstm.yml')
    if (folder / 'recipe.yml').exists():
        recipe.load(folder / 'recipe.yml')


@pytest.mark.parametrize(('path', 'value'), TRIED, ids=lambda part: part if isinstance(part, str) and len(part) > 4 else json.dumps(part))
def test_a_value_is_taken_or_named(path, value, tmp_path):
    """Null, too: it is the default, or nothing."""
    pytest.importorskip('kubernetes_validate')
    done = rendering(tmp_path, path, value)
    if done.returncode == 0:
        check(done.stdout, tmp_path)
    else:
        assert path.rpartition('.')[2] in done.stderr
        assert 'executing "' not in done.stderr and 'runtime error' not in done.stderr and 'parse error' not in done.stderr


def with_null(way):
    """WITHIN with null in one place."""
    tree = here = copy.deepcopy(WITHIN)
    for key in way[:-1]:
        here = here[key]
    here[way[-1]] = None
    return tree


@pytest.mark.parametrize('way', NULLS, ids=lambda way: '.'.join(map(str, way)))
def test_null_within_a_value_is_nothing_or_named(way, tmp_path):
    """Below lists, and below maps that are the user's: it is as if it were not there, or the one who wrote it is told where it stands."""
    pytest.importorskip('kubernetes_validate')
    done = rendering_of(tmp_path, 'within', with_null(way))
    if done.returncode == 0 and way[0] not in OF_KUBERNETES:
        check(done.stdout, tmp_path)
    elif done.returncode:
        assert str(way[-1]) in done.stderr or f'[{way[-1]}] is null' in done.stderr
        assert 'executing "' not in done.stderr and 'runtime error' not in done.stderr and 'parse error' not in done.stderr


def test_values_with_all_that_can_be_below_them_are_taken(tmp_path):
    """So that a null in one place is what made the difference."""
    pytest.importorskip('kubernetes_validate')
    done = rendering_of(tmp_path, 'within', WITHIN)
    assert done.returncode == 0, done.stderr
    check(done.stdout, tmp_path)
