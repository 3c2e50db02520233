"""What Grafana, the Prometheus operator and KEDA say of our files: by their own types and schemas, a key that they do not know is an error.

TypeScript refuses an undeclared key only in a literal, so JSON is put into a program as one, with the type that it is to have.
"""

import copy
import json
import os
import re
import shutil
import subprocess

import pytest
import servers
import yaml
from chart import CHART, FOREIGN, VARIANTS, template
from requirements import absent

pytestmark = pytest.mark.usefixtures('helms')

SOURCES = servers.ROOT / '.ci/node'
TOOLS = servers.ROOT / '.cache/node-tools'
NODE = TOOLS / 'bin/node'
BOARDS = {path.stem: json.loads(path.read_text()) for path in (servers.ROOT / 'rules/dashboards').glob('*.json')}
BOARD = ('./dashboard', 'Board')
PACKAGES = {'monitoring.coreos.com': 'prometheus-operator', 'keda.sh': 'keda'}  # group of an object: who brings its schema
GONE = object()


@pytest.fixture(scope='module')
def bench(tmp_path_factory):
    """A folder with our sources beside the packages that they import."""
    if not (os.access(NODE, os.X_OK) and (TOOLS / 'node_modules').is_dir()):
        absent('no Node, no schemas of Grafana, the operator and KEDA in .cache/node-tools: make test fetches them (or .ci/install-node-tools)')
    folder = tmp_path_factory.mktemp('bench')
    (folder / 'node_modules').symlink_to(TOOLS / 'node_modules')
    for name in ('dashboard.ts', 'objects.mjs'):
        shutil.copy(SOURCES / name, folder)
    return folder


def node(bench, *args, **options):
    """The done process of a program of Node in that folder."""
    return subprocess.run([NODE, *args], cwd=bench, capture_output=True, text=True, check=False, timeout=300, **options)


def complaints_of_types(bench, literals):
    """{name: [complaint, …]} of {name: ((module, type), value)}, by the TypeScript compiler in one run; only those that have any."""
    for old in bench.glob('literal-*.ts'):
        old.unlink()
    names = dict(enumerate(literals))
    for number, name in names.items():
        (module, kind), value = literals[name]
        text = f"import type {{ {kind} }} from '{module}';\nexport const value: {kind} = {json.dumps(value, indent=1)};\n"
        (bench / f'literal-{number}.ts').write_text(text)
    options = ('--strict', '--noEmit', '--noErrorTruncation', '--module', 'preserve', '--pretty', 'false')
    files = [f'literal-{number}.ts' for number in names]
    done = node(bench, 'node_modules/typescript/bin/tsc', *options, *files)
    told = {}
    for line in re.split(r'\n(?! )', done.stdout.strip()):
        found = re.match(r'literal-(\d+)\.ts\(\d+,\d+\): (.*)', line, re.DOTALL)
        # A complaint of our own sources, or of the packages, would make all that is said of the literals worthless.
        assert found or not line, line
        if found:
            told.setdefault(names[int(found[1])], []).append(found[2])
    assert (done.returncode == 0) == (not told), done.stdout + done.stderr
    return told


def changed(tree, path, value):
    """A copy with one value put in, or taken out if it is GONE. path: keys and indexes, or the kind of a panel for the first such."""
    tree = here = copy.deepcopy(tree)
    *way, last = path
    for key in way:
        here = next(one for one in here['panels'] if one['type'] == key) if key in ('stat', 'table', 'timeseries') else here[key]
    if value is GONE:
        del here[last]
    else:
        here[last] = value
    return tree


def option(kind, *path):
    return 'overview', (kind, 'options', *path)


def custom(*path):
    return 'overview', ('timeseries', 'fieldConfig', 'defaults', 'custom', *path)


OVERRIDES = ('timeseries', 'fieldConfig', 'overrides')
# what is wrong: where, the value, and what the complaint names
WRONG_BOARDS = {
    'unknown key': ('overview', ('refreshes',), '30s', 'refreshes'),
    'key missing': ('overview', ('schemaVersion',), GONE, 'schemaVersion'),
    'value of another enum': ('overview', ('graphTooltip',), 7, '7'),
    'text for a number': ('overview', ('stat', 'gridPos', 'w'), '6', 'string'),
    'unknown kind of panel': ('overview', ('stat', 'type'), 'stats', 'stats'),
    'unknown key of a panel': ('overview', ('stat', 'titles'), '', 'titles'),
    'unknown key of a query': ('overview', ('stat', 'targets', 0, 'expression'), 'up', 'expression'),
    'unknown format of a query': ('overview', ('stat', 'targets', 0, 'format'), 'timeseries', 'timeseries'),
    'unknown option of stat': (*option('stat', 'colourMode'), 'value', 'colourMode'),
    'unknown value of stat': (*option('stat', 'colorMode'), 'values', 'values'),
    'unknown option of table': (*option('table', 'sortedBy'), [], 'sortedBy'),
    'unknown key of a sort': (*option('table', 'sortBy', 0, 'descending'), True, 'descending'),
    'option of another panel': (*option('table', 'colorMode'), 'value', 'colorMode'),
    'unknown value of a legend': (*option('timeseries', 'legend', 'displayMode'), 'lists', 'lists'),
    'unknown way to draw': (*custom('drawStyle'), 'lines', 'lines'),
    'unknown key of drawing': (*custom('lineWeight'), 1, 'lineWeight'),
    'unknown mode of thresholds': ('overview', ('stat', 'fieldConfig', 'defaults', 'thresholds', 'mode'), 'abs', 'abs'),
    'unknown property of an override': ('detector', (*OVERRIDES, 0, 'properties', 0, 'id'), 'custom.lineWeight', 'custom.lineWeight'),
    'wrong value of an override': ('detector', (*OVERRIDES, 0, 'properties', 0, 'value'), 'thick', 'string'),
    'unknown type of a variable': ('overview', ('templating', 'list', 0, 'type'), 'datasources', 'datasources'),
    'unknown order of a variable': ('overview', ('templating', 'list', 1, 'sort'), 12, '12'),
    'unknown key of an annotation': ('overview', ('annotations', 'list', 0, 'colour'), 'red', 'colour'),
    'unknown key of a link': ('overview', ('links', 0, 'href'), '/', 'href'),
}


@pytest.fixture(scope='module')
def board_complaints(bench):
    """Of the dashboards as they are and of the wrong ones: the compiler takes seconds to start, and no longer for all than for one."""
    wrong = {case: changed(BOARDS[name], path, value) for case, (name, path, value, _) in WRONG_BOARDS.items()}
    return complaints_of_types(bench, {name: (BOARD, board) for name, board in (BOARDS | wrong).items()})


@pytest.mark.parametrize('name', BOARDS)
def test_grafana_knows_all_of_each_dashboard(board_complaints, name):
    """By the types of Grafana 13.2: the dashboard, its variables, and the options, fields and queries of each kind of panel."""
    assert board_complaints.get(name, []) == []


@pytest.mark.parametrize('case', WRONG_BOARDS)
def test_a_dashboard_with_a_fault_is_refused(board_complaints, case):
    """One fault each, at every place where Grafana has a type; the complaint names it."""
    assert re.search(rf'\b{re.escape(WRONG_BOARDS[case][-1])}\b', ' '.join(board_complaints.get(case, [])))


def complaints_of_owners(bench, objects):
    """{name: [complaint, …]} of {name: object}: their owners' schemas refuse wrong values and what is missing, their types unknown keys."""
    module = {name: f'@kubernetes-models/{PACKAGES[one["apiVersion"].split("/")[0]]}/{one["apiVersion"]}' for name, one in objects.items()}
    told = complaints_of_types(bench, {name: ((module[name], f'I{one["kind"]}'), one) for name, one in objects.items()})
    done = node(bench, 'objects.mjs', input=json.dumps(list(objects.values())))
    assert done.returncode == 0, done.stderr
    for name, found in zip(objects, json.loads(done.stdout), strict=True):
        if found:
            told.setdefault(name, []).extend(found)
    return told


@pytest.fixture(scope='module')
def custom_objects():
    """{(variant, kind, name): object} of the operator's and KEDA's, in all variants."""
    objects = {}
    for variant in VARIANTS:
        for one in yaml.safe_load_all(template('helm4', f'--values={CHART}/ci/{variant}-values.yaml').stdout):
            if one and one['apiVersion'].startswith(FOREIGN):
                objects[variant, one['kind'], one['metadata']['name']] = one
    return objects


# what is wrong: kind, where, the value, and what the complaint names
WRONG_OBJECTS = {
    'unknown key': ('ServiceMonitor', ('specs',), {}, 'specs'),
    'unknown key of metadata': ('ServiceMonitor', ('metadata', 'label'), {}, 'label'),
    'unknown key of an endpoint': ('ServiceMonitor', ('spec', 'endpoints', 0, 'honourLabels'), True, 'honourLabels'),
    'text for a flag': ('ServiceMonitor', ('spec', 'endpoints', 0, 'honorLabels'), 'true', 'honorLabels'),
    'endpoints missing': ('ServiceMonitor', ('spec', 'endpoints'), GONE, 'endpoints'),
    'unknown action': ('PodMonitor', ('spec', 'podMetricsEndpoints', 0, 'relabelings', 0, 'action'), 'dropLabel', 'action'),
    'unknown key of relabeling': ('PodMonitor', ('spec', 'podMetricsEndpoints', 0, 'relabelings', 0, 'target_label'), 'a', 'target_label'),
    'no duration': ('PodMonitor', ('spec', 'podMetricsEndpoints', 0, 'interval'), '15 s', 'interval'),
    'selector missing': ('PodMonitor', ('spec', 'selector'), GONE, 'selector'),
    'unknown key of a rule': ('PrometheusRule', ('spec', 'groups', 0, 'rules', 0, 'keepFiringFor'), '5m', 'keepFiringFor'),
    'no time to wait': ('PrometheusRule', ('spec', 'groups', 0, 'rules', 0, 'for'), '5 minutes', 'for'),
    'number for a label': ('PrometheusRule', ('spec', 'groups', 0, 'rules', 0, 'labels'), {'level': 1}, 'level'),
    'expression missing': ('PrometheusRule', ('spec', 'groups', 0, 'rules', 0, 'expr'), GONE, 'expr'),
    'nameless group': ('PrometheusRule', ('spec', 'groups', 0, 'name'), GONE, 'name'),
    'unknown key of a scaler': ('ScaledObject', ('spec', 'minReplicas'), 1, 'minReplicas'),
    'text for a number of pods': ('ScaledObject', ('spec', 'maxReplicaCount'), '40', 'maxReplicaCount'),
    'target missing': ('ScaledObject', ('spec', 'scaleTargetRef'), GONE, 'scaleTargetRef'),
    'nameless target': ('ScaledObject', ('spec', 'scaleTargetRef', 'name'), GONE, 'name'),
    'triggers missing': ('ScaledObject', ('spec', 'triggers'), GONE, 'triggers'),
    'kind of trigger missing': ('ScaledObject', ('spec', 'triggers', 0, 'type'), GONE, 'type'),
    'flag for a text of a trigger': ('ScaledObject', ('spec', 'triggers', 0, 'metadata', 'ignoreNullValues'), False, 'ignoreNullValues'),
    'unknown key of a trigger': ('ScaledObject', ('spec', 'triggers', 0, 'query'), 'x', 'query'),
    'unknown behavior of a fallback': ('ScaledObject', ('spec', 'fallback', 'behavior'), 'current', 'behavior'),
    'unknown key of the autoscaler': (
        'ScaledObject', ('spec', 'advanced', 'horizontalPodAutoscalerConfig', 'behavior', 'scaleDown', 'window'), 600, 'window'
    ),
}


@pytest.fixture(scope='module')
def object_complaints(bench, custom_objects):
    """Of the objects as they are and of the wrong ones."""
    one_of = {kind: one for (_, kind, _), one in custom_objects.items()}
    wrong = {case: changed(one_of[kind], path, value) for case, (kind, path, value, _) in WRONG_OBJECTS.items()}
    return complaints_of_owners(bench, custom_objects | wrong)


def test_their_owners_know_all_of_each_object(object_complaints, custom_objects):
    """By the definitions of operator 0.90 and of KEDA 2, in whatever variants there are."""
    assert {kind for _, kind, _ in custom_objects} == {'ServiceMonitor', 'PodMonitor', 'PrometheusRule', 'ScaledObject'}
    assert {name: object_complaints[name] for name in custom_objects if name in object_complaints} == {}


@pytest.mark.parametrize('case', WRONG_OBJECTS)
def test_an_object_with_a_fault_is_refused(object_complaints, case):
    """One fault each; the complaint names it."""
    assert re.search(rf'\b{WRONG_OBJECTS[case][-1]}\b', ' '.join(object_complaints.get(case, [])))
