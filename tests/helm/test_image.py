"""The image, built from the Dockerfile as it is and run as the chart renders it: as nobody, with nothing, in a network of its own.

Its base is a stand-in (`.ci/image-base` says for what); what the Dockerfile adds is what is shown.
"""

import contextlib
import json
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

import fleet_history
import image
import jsonschema
import pytest
import servers
import yaml
from chart import objects, template, template_of
from dockerfile import LOCKED
from fleet_history import DAYS, DETECTOR, SERIES
from recipes import SMALL
from referencing import Registry, Resource
from requirements import absent

import promlstm
from promlstm.engine import session

pytestmark = [pytest.mark.accept, pytest.mark.real, pytest.mark.timeout(1800)]

# It has a score 40 seconds after the start; everybody's presets are asked beside it.
LIVE = {'name': 'live', 'expr': 'rate(prometheus_tsdb_head_samples_appended_total[10s])', 'step': '1s', 'delay': '1s', 'history': '0s'}
PROMETHEUS, NODE, EXPORTER = (f'http://127.0.0.1:{port}' for port in (9090, 9100, 19855))
# Those that the chart renders, where the pods share one network.
HOSTS = '127.0.0.1 localhost prometheus.monitoring promlstm\n'
SETTINGS = '--set=prometheus.url=http://prometheus.monitoring:9090'
PROGRAMS = ('usr/bin', 'usr/sbin', 'usr/local/bin', 'opt/promlstm/bin')
COMPILERS = re.compile(r'(cc|c\+\+|cpp|gcc|g\+\+|clang|ld|as|make|cmake|rustc|cargo|go)(-[\d.]+)?')


@pytest.fixture(scope='module', autouse=True)
def tools():
    """All that it takes, or the reason why not."""
    if reason := image.reason_against():
        absent(reason)


@pytest.fixture(scope='module')
def runtime():
    """The exporter's image, built and unpacked."""
    with image.built('runtime', 'promlstm', f'--build-arg=VERSION={promlstm.__version__}', '--build-arg=REVISION=abc') as bundle:
        yield bundle


@pytest.fixture(scope='module')
def train():
    """The image that makes models."""
    with image.built('train', 'promlstm-train') as bundle:
        yield bundle


@contextlib.contextmanager
def prometheus_alone(folder, targets):
    """A Prometheus in a network that it holds the only end of; its process id, by which others join."""
    scrapes = [
        {'job_name': job, 'honor_labels': True, 'static_configs': [{'targets': [url.removeprefix('http://')]}]}
        for job, url in targets.items()
    ]
    (folder / 'prometheus.yml').write_text(
        yaml.safe_dump({'global': {'scrape_interval': '1s', 'scrape_timeout': '1s'}, 'scrape_configs': scrapes})
    )
    options = (f'--config.file={folder}/prometheus.yml', f'--storage.tsdb.path={folder}/data', '--storage.tsdb.retention.time=30d')
    command = image.in_new_network(servers.TOOLS / 'prometheus', *options, f'--web.listen-address={PROMETHEUS.removeprefix("http://")}')
    server = servers.Process(command, lambda: image.page(server.child.pid, PROMETHEUS + '/-/ready'), log=folder / 'prometheus.log')
    with server:
        yield server.child.pid


def rendered(folder, *settings):
    """{kind of what runs: (pod, container, mounts)} of a rendering whose volumes are made below `folder`."""
    text = template('helm4', SETTINGS, *settings).stdout
    maps = {found['metadata']['name']: found['data'] for found in objects(text, 'ConfigMap')}
    (folder / 'hosts').write_text(HOSTS)
    pods = {found['kind']: template_of(found)['spec'] for found in objects(text) if template_of(found)}
    return {
        kind: (pod, pod['containers'][0], {'/etc/hosts': (folder / 'hosts', 'ro'), **image.volumes(pod, maps, folder)})
        for kind, pod in pods.items()
    }


@pytest.fixture(scope='module')
def lived(runtime, tmp_path_factory):
    """A whole life of the exporter: started, scraped, tested by `helm test`, asked to end; and what was seen of it."""
    folder, seen = tmp_path_factory.mktemp('life'), SimpleNamespace()
    pods = rendered(folder, f'--set-json=detectors={json.dumps([LIVE])}')
    targets = {'prometheus': PROMETHEUS, 'node': NODE, 'promlstm': EXPORTER}
    with prometheus_alone(folder, targets) as network, runtime.layout.unpacked() as bundle:
        node = image.in_network(network, servers.TOOLS / 'prometheus-node-exporter', f'--web.listen-address={NODE.removeprefix("http://")}')
        seen.shells = image.without_shells(bundle.root)
        bundle.settle(*pods['Deployment'], network)
        runtime.settle(*pods['Pod'], network)
        before = bundle.files()
        healthy = lambda: image.page(network, EXPORTER + '/-/healthy')  # noqa: E731
        with (
            servers.Process(node, lambda: image.page(network, NODE), log=folder / 'node.log'),
            bundle.process(healthy, log=folder / 'promlstm.log') as process,
        ):
            kernel = Path(f'/proc/{bundle.pid()}')
            seen.status = dict(line.split(':\t') for line in (kernel / 'status').read_text().splitlines())
            seen.command = (kernel / 'cmdline').read_text().split('\0')
            seen.mounts = [line.split() for line in (kernel / 'mountinfo').read_text().splitlines()]
            seen.networks = [os.readlink(f'/proc/{each}/ns/net') for each in (kernel.name, network, 'self')]
            seen.interfaces = [line.split(':')[0].strip() for line in (kernel / 'net/dev').read_text().splitlines()[2:]]
            seen.test = runtime.finish()
            seen.page = image.page(network, EXPORTER + '/metrics')
            scores = lambda: image.page(network, PROMETHEUS + '/federate?match[]=promlstm_anomaly_score')  # noqa: E731
            seen.scraped = servers.wait_until(scores, 60, 'Prometheus to have a score')
            seen.ended = process.stop()
        seen.log = (folder / 'promlstm.log').read_text()
        seen.changed = {path for path, state in bundle.files().items() if before.get(path) != state}
    return seen


def test_the_exporter_answers_and_helm_test_finds_a_score(lived):
    """`/metrics` as the chart's own program asks for it, a score of what a real Prometheus has, and Prometheus scrapes it back."""
    assert lived.test.returncode == 0, lived.test.stderr + lived.log
    assert lived.test.stdout.startswith('promlstm_anomaly_score{')
    assert re.search(r'^promlstm_anomaly_score\{detector="live"', lived.page, re.MULTILINE)
    assert 'promlstm_anomaly_score{detector="live"' in lived.scraped


def test_it_runs_as_nobody_with_nothing(lived):
    """As the kernel says of the process itself: user, groups, capabilities, no way to more, filtered system calls, its own network."""
    status = lived.status
    assert status['Uid'].split() == status['Gid'].split() == ['65532'] * 4 and status['Groups'].split() == ['65532']
    assert {int(status[f'Cap{kind}'], 16) for kind in ('Inh', 'Prm', 'Eff', 'Bnd', 'Amb')} == {0}
    assert (status['NoNewPrivs'], status['Seccomp']) == ('1', '2')
    mine, of_prometheus, ours = lived.networks
    assert mine == of_prometheus != ours and lived.interfaces == ['lo']


def test_nothing_is_written_into_its_root(lived):
    """It is read-only, and every file in it is as it was unpacked."""
    (options,) = [mount[5] for mount in lived.mounts if mount[4] == '/']
    assert 'ro' in options.split(',')
    assert lived.changed == set()


def test_it_needs_no_shell(lived):
    """It lived without one: all were taken out of its root."""
    assert {path.name for path in lived.shells} >= {'sh', 'bash'}
    assert lived.command[:3] == ['/opt/promlstm/bin/python', '/opt/promlstm/bin/promlstm', 'run']


def test_it_ends_when_asked(lived):
    """SIGTERM to the first process: status 0, and the log says why."""
    assert lived.ended == 0
    assert 'msg=stopping signal=SIGTERM' in lived.log and 'Traceback' not in lived.log


def test_the_image_says_what_it_is(runtime):
    """User and entry point without the chart's help, and the labels that a build is told."""
    config = runtime.layout.config['config']
    assert config['User'] == '65532:65532'
    assert config['Entrypoint'] == ['promlstm'] and config['Cmd'] == ['run', '--config.file=/etc/promlstm/promlstm.yml']
    labels = {name.removeprefix('org.opencontainers.image.'): text for name, text in config['Labels'].items()}
    assert (labels['title'], labels['version'], labels['revision']) == ('promlstm', promlstm.__version__, 'abc')


def test_the_image_holds_the_packages_and_nothing_else(runtime):
    """What the Dockerfile adds lies in /opt/promlstm, and is promlstm and what .ci/image.txt lists: no compiler, no TensorFlow."""
    added, programs = runtime.layout.added(), {path.name for folder in PROGRAMS for path in runtime.root.glob(f'{folder}/*')}
    assert {name for name in added if not name.startswith('opt/promlstm/')} == {'opt', 'opt/promlstm', 'etc', 'etc/promlstm'}
    ours = image.python_packages(runtime.root / 'opt')
    assert ours == {(name, version) for name, version, _ in LOCKED} | {('promlstm', promlstm.__version__)}
    assert not set(dict(image.python_packages(runtime.root))) & {'tensorflow', 'tensorflow-cpu', 'keras', 'onnx', 'tf2onnx'}
    assert 'python3.11' in programs and not [name for name in programs if COMPILERS.fullmatch(name)]
    print(f'runtime adds {runtime.layout.added_bytes() / 1e6:.0f} MB compressed, {sum(added.values()) / 1e6:.0f} MB on disk')


@pytest.mark.parametrize('name', ['runtime', 'train'])
def test_the_bill_of_materials_names_every_package(name, request):
    """Of Debian and of Python, each in the version that is installed, and no other; valid by CycloneDX's schema."""
    bundle = request.getfixturevalue(name)
    bill = json.loads(image.run(servers.ROOT / '.ci/sbom', f'oci-dir:{bundle.layout.folder}'))
    schemas = {path.name: json.loads(path.read_text()) for path in image.SCHEMAS.glob('*.SNAPSHOT.schema.json')}
    known = [(f'http://cyclonedx.org/schema/{file}', Resource.from_contents(schemas[file])) for file in schemas if 'bom' not in file]
    jsonschema.Draft7Validator(schemas['bom-1.6.SNAPSHOT.schema.json'], registry=Registry().with_resources(known)).validate(bill)
    listed = {(each['purl'].split('/')[0], each['name'], each['version']) for each in bill['components'] if 'purl' in each}
    debian, python = image.debian_packages(bundle.root), image.python_packages(bundle.root)
    assert {(package, version) for kind, package, version in listed if kind == 'pkg:deb'} == debian
    assert {(image.plain(package), version) for kind, package, version in listed if kind == 'pkg:pypi'} == python
    assert ('promlstm', promlstm.__version__) in python and 'libc6' in dict(debian)


def test_convert_says_how_to_use_it(train, tmp_path):
    """The image for training, as it comes: its help, as nobody in a read-only root."""
    pod, container, mounts = rendered(tmp_path)['Deployment']
    train.settle(pod, {**container, 'args': ['--help']}, mounts)
    done = train.finish()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('usage: python -m convert')
    added = train.layout.added()
    print(f'train adds {train.layout.added_bytes() / 1e6:.0f} MB compressed, {sum(added.values()) / 1e6:.0f} MB on disk')


def test_the_job_of_the_chart_makes_a_model(train, tmp_path):
    """Its arguments and its volumes, with a recipe cut small: history of a real Prometheus becomes a model file on the claim."""
    times, values, _ = fleet_history.telemetry(SERIES, DAYS, time.time() // 300 * 300, faulty_each=1)
    fleet_history.write_openmetrics(tmp_path / 'past.om', times, values)
    (tmp_path / 'data').mkdir()
    servers.backfill(tmp_path / 'data', tmp_path / 'past.om')
    # Who learnt for seconds is worse than a baseline, and would be refused.
    retraining = {'enabled': True, 'days': {'train': 5, 'test': 2}, 'gates': {'recall_margin': 1}}
    settings = {'presets': [], 'detectors': [DETECTOR], 'models': {'existingClaim': 'models'}, 'retraining': retraining}
    (tmp_path / 'values.yaml').write_text(yaml.safe_dump(settings))
    pod, container, mounts = rendered(tmp_path, f'--values={tmp_path}/values.yaml')['CronJob']
    recipe = mounts['/etc/promlstm'][0] / 'recipe.yml'
    recipe.write_text(recipe.read_text() + '\n' + yaml.safe_dump(SMALL))
    with prometheus_alone(tmp_path, {}) as network:
        train.settle(pod, container, mounts, network)
        before, began = train.files(), time.monotonic()
        done = train.finish()
        print(f'history to model: {time.monotonic() - began:.0f} s')
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert train.files() == before
    made = mounts['/models'][0] / 'retrained.onnx'
    assert made.exists(), done.stderr[-4000:]
    assert 'own history of load' in session.load(made).bundle.manifest.training.data
    assert (made.stat().st_uid, made.stat().st_gid) == (65532, 65532)
    # ONNX Runtime keeps there what it would tell Microsoft.
    assert [path.name for path in mounts['/tmp'][0].rglob('*onnxruntime*')] == []
