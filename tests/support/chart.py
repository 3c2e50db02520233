"""The chart, as tests see it: renderings by helm 3 and helm 4, what is in them, and the programs that they carry, run.

A test file that renders uses the fixture `helms` of conftest.py, which skips it where they are not there.
"""

import collections
import functools
import json
import re
import subprocess
import sys

import servers
import yaml
from wire import certificate

from promlstm import arguments

CHART = servers.ROOT / 'helm/promlstm'
VARIANTS = sorted(path.name.removesuffix('-values.yaml') for path in CHART.glob('ci/*-values.yaml'))
HELMS = ('helm3', 'helm4')
WORKLOADS = ('Deployment', 'StatefulSet')  # what runs the exporter
FOREIGN = ('monitoring.coreos.com/', 'keda.sh/')  # apiVersions that Kubernetes' own schemas do not know
LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)  # the rules are long, and the other one takes ten times as long
URL = 'prometheus.url=http://prometheus.monitoring:9090'


def resolved(schema, whole):
    """A schema with what it refers to, elsewhere in the whole one, in the places.

    >>> resolved({'items': {'$ref': '#/definitions/port'}}, {'definitions': {'port': {'minimum': 1}}})
    {'items': {'minimum': 1}}
    """
    if isinstance(schema, list):
        return [resolved(each, whole) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if '$ref' in schema:
        return resolved(functools.reduce(lambda tree, key: tree[key], schema['$ref'].split('/')[1:], whole), whole)
    return {key: resolved(value, whole) for key, value in schema.items() if key != 'definitions'}


SCHEMA = resolved(schema := json.loads((CHART / 'values.schema.json').read_text()), schema)
VALUES = yaml.safe_load((CHART / 'values.yaml').read_text())
NEEDED = ('recording.yml', 'alerts.yml', 'self.yml', 'forecast.yml')
PUSHED = '--set=image.repository=registry.example.org/promlstm'
RETRAINED = f'--values={CHART}/ci/retraining-values.yaml'


def template(helm, *args, check=True):
    """The done process of one rendering into the namespace monitoring."""
    return servers.run_tool(helm, 'template', 'promlstm', CHART, '--namespace=monitoring', *args, check=check)


class Renderings(dict):
    """{(helm, variant): text}, made when it is asked for."""

    def __missing__(self, key):
        helm, variant = key
        text = self[key] = template(helm, f'--values={CHART}/ci/{variant}-values.yaml').stdout
        return text


def objects(text, kind=None):
    """The objects of a rendering; with `kind`, or several, only those."""
    kinds = (kind,) if isinstance(kind, str) else kind
    return [found for found in yaml.load_all(text, LOADER) if found and (kinds is None or found['kind'] in kinds)]


def pods(text):
    """(name, pod spec) of whatever runs."""
    return [(found['metadata']['name'], template['spec']) for found in objects(text) if (template := template_of(found))]


def template_of(found):
    """{metadata, spec} of the pods that an object makes, or None."""
    inner = found.get('spec', {})
    job = inner.get('jobTemplate', {}).get('spec', {}).get('template')
    return {'Pod': found, 'CronJob': job, **dict.fromkeys(WORKLOADS, inner.get('template'))}.get(found['kind'])


def deployment(*settings):
    """The Deployment of some --set's."""
    (found,) = objects(template('helm4', f'--set={URL}', *settings).stdout, 'Deployment')
    return found


def config_of(text):
    """The promlstm.yml of a rendering."""
    return next(found['data']['promlstm.yml'] for found in objects(text, 'ConfigMap') if 'promlstm.yml' in found['data'])


def recipe_of(text):
    """The recipe.yml of a rendering."""
    return next(found['data']['recipe.yml'] for found in objects(text, 'ConfigMap') if 'recipe.yml' in found['data'])


def as_in_the_pod(config, folder):
    """A configuration with the files that its pod has: the default model where retraining begins with it, and secrets where they are mounted."""
    secret = folder / 'secret'
    secret.write_text('what the Secret holds\n')
    config = config.replace('/models/retrained.onnx', str(servers.ROOT / 'promlstm/models/default.onnx'))
    config = re.sub(r'/secrets/[\w.-]+/(?:password|token|secret)\b', str(secret), config)
    if '.crt' in config:
        config = re.sub(r'/secrets/[\w.-]+/[\w.-]+\.(?:crt|key)\b', str(certificate(folder)[0]), config)
    return config


def command_line():
    """The parser of promlstm's arguments."""
    return arguments._parser(collections.defaultdict(lambda: print), demo=False)


def run_container(container, **environment):
    """Runs the Python that a container's command holds, as it was rendered."""
    program, flag, code = container['command']
    assert (program, flag) == ('python', '-c')
    told = {'NO_PROXY': '*', **{item['name']: item['value'] for item in container['env']}, **environment}
    return subprocess.run([sys.executable, '-c', code], env=told, capture_output=True, text=True, check=False, timeout=180)
