"""Whatever stands in a value, the chart renders what Kubernetes and promlstm take, or says which value it is that cannot be.

Each value is set to null, to nothing, and to what is of another kind, where all that reads it is switched on. `make test` tries null
everywhere and some of the rest, `make accept` all of it.
"""

import functools
import json
import re
import zlib

import pytest
import yaml
from chart import CHART, VALUES, template, template_of
from requirements import is_accept

from convert import recipe
from promlstm import config as configuration
from promlstm.__main__ import _parser

pytestmark = pytest.mark.usefixtures('helms')

KUBERNETES = '1.37'
ODD = (None, True, -1, 0, 1e21, 'text', '', [], [''], [None], {}, {'a': None}, {'a': {'b': []}}, ' ', 'a: b\nc', '{{ .x }}')
# Where a value is read: the variants that have it on, if those for all others have not. The files of rules/ are long to read.
ON = {
    'podMonitor': ('podmonitor',), 'serviceMonitor': ('servicemonitor',), 'models.fetch': ('fetch',), 'models.inline': ('inline',),
    'networkPolicy.fetch': ('fetch',), 'rules': ('annotations',), 'dashboards': ('operator',),
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
    if value is None or is_accept() or zlib.crc32(f'{path} {value}'.encode()) % 20 == 0
]


def rendering(folder, path, value):
    """The done process with one value set, after those of the variants."""
    tree = value
    for key in reversed(path.split('.')):
        tree = {key: tree}
    (folder / 'odd.json').write_text(json.dumps(tree))
    on = next((found for start, found in ON.items() if path.startswith(start)), OTHERWISE)
    files = [f'--values={CHART}/ci/{variant}-values.yaml' for variant in on]
    if on == OTHERWISE:
        (folder / 'short.json').write_text('{"rules": {"configMap": false}}')
        files.append(f'--values={folder}/short.json')
    return template('helm4', f'--kube-version={KUBERNETES}', *files, f'--values={folder}/odd.json', check=False)


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
    if not found['apiVersion'].startswith('monitoring.coreos.com/'):
        validate(found, KUBERNETES, strict=True)
    return found


def check(text, folder):
    """The same of a whole rendering; what is in its files is read by whom it is for."""
    assert '<nil>' not in text and '%!' not in text and '<no value>' not in text
    for part in re.split('^---$', text, flags=re.MULTILINE)[1:]:
        found = check_object(part)
        for name, content in found.get('data', {}).items() if found['kind'] == 'ConfigMap' else ():
            (folder / name).write_text(content)
        if found['kind'] == 'Deployment':
            _parser(demo=False).parse_args(template_of(found)['spec']['containers'][0]['args'])
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
