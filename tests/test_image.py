"""The image, built from the Dockerfile as it is and run as the chart renders it: as nobody, with nothing, in a network of its own.

Its base is a stand-in (`.ci/image-base` says for what); what the Dockerfile adds is what is shown.
"""

import json
import os
import re
from contextlib import ExitStack
from types import SimpleNamespace

import oci
import pytest
import real
import yaml
from conftest import absent
from test_chart import config_of, objects, template
from test_recipe import GOOD

import promlstm

pytestmark = [pytest.mark.accept, pytest.mark.real, pytest.mark.timeout(1800)]

# One that has a score 40 steps after the start, beside the presets that everybody gets.
LIVE = {'name': 'live', 'expr': 'rate(prometheus_tsdb_head_samples_appended_total[10s])', 'step': '1s', 'delay': '1s', 'history': '0s'}
SCRAPED = {'prometheus': 9090, 'node': 9100, 'promlstm': 19855}
NAMES = '127.0.0.1 localhost prometheus.monitoring promlstm\n'
COMPILERS = re.compile(r'(cc|c\+\+|cpp|gcc|g\+\+|clang|ld|as|make|cmake|rustc|go)(-[\d.]+)?')


@pytest.fixture(scope='module', autouse=True)
def tools():
    """All that it takes, or the reason why not."""
    if reason := oci.reason_against():
        absent(reason)


@pytest.fixture(scope='module')
def runtime(tmp_path_factory):
    """The exporter's image."""
    options = ('--build-arg', f'VERSION={promlstm.__version__}', '--build-arg', 'REVISION=abc')
    return oci.build('runtime', 'promlstm', tmp_path_factory.mktemp('image') / 'runtime', *options)


def pod_of(text, kind, container=0):
    """(pod spec, container) of what a rendering runs."""
    (found,) = objects(text, kind)
    spec = found['spec'] if kind == 'Pod' else found['spec']['template']['spec']
    return spec, spec['containers'][container]


@pytest.fixture(scope='module')
def lived(runtime, tmp_path_factory):
    """A whole life of the exporter: started, scraped, tested by `helm test`, asked to end; and what was seen of it."""
    folder = tmp_path_factory.mktemp('life')
    text = template('helm4', '--set=prometheus.url=http://prometheus.monitoring:9090', f'--set-json=detectors={json.dumps([LIVE])}').stdout
    (folder / 'config').mkdir()
    (folder / 'config/promlstm.yml').write_text(config_of(text))
    (folder / 'hosts').write_text(NAMES)
    (folder / 'config').chmod(0o755)
    scrapes = [{'job_name': job, 'honor_labels': True, 'static_configs': [{'targets': [f'127.0.0.1:{port}']}]} for job, port in SCRAPED.items()]
    settings = {'global': {'scrape_interval': '1s', 'scrape_timeout': '1s'}, 'scrape_configs': scrapes}
    (folder / 'prometheus.yml').write_text(yaml.safe_dump(settings))
    command = [real.TOOLS / 'prometheus', f'--config.file={folder}/prometheus.yml', f'--storage.tsdb.path={folder}/data', '--web.listen-address=127.0.0.1:9090']
    names = {'/etc/hosts': (folder / 'hosts', 'ro')}
    seen = SimpleNamespace()
    with ExitStack() as stack:
        # The network is that of Prometheus' process, and gone with it.
        server = real.Process(oci.in_new_network(*command), lambda: answers('http://127.0.0.1:9090/-/ready'), log=folder / 'prometheus.log')

        def answers(url):
            return oci.page(server.child.pid, url)

        stack.enter_context(server)
        network = server.child.pid
        node = oci.in_network(network, real.TOOLS / 'prometheus-node-exporter', '--web.listen-address=127.0.0.1:9100')
        stack.enter_context(real.Process(node, lambda: answers('http://127.0.0.1:9100/'), log=folder / 'node.log'))
        bundle, tester = (stack.enter_context(runtime.unpacked()) for _ in range(2))
        seen.config = bundle.made
        seen.shells = oci.shells(bundle.root)
        before = bundle.files()
        mounts = {mount['mountPath']: (folder / mount['name'], 'ro') for mount in pod_of(text, 'Deployment')[1]['volumeMounts']}
        bundle.settle(*pod_of(text, 'Deployment'), mounts | names, network)
        url = 'http://promlstm:19855'.replace('promlstm', '127.0.0.1')
        process = stack.enter_context(bundle.process(lambda: answers(url + '/-/healthy'), log=folder / 'promlstm.log'))
        pid = bundle.pid()
        seen.status = dict(line.split(':\t') for line in open(f'/proc/{pid}/status').read().splitlines())
        seen.command = open(f'/proc/{pid}/cmdline').read().split('\0')
        seen.mounts = [line.split() for line in open(f'/proc/{pid}/mountinfo')]
        seen.networks = [os.readlink(f'/proc/{each}/ns/net') for each in (pid, network, os.getpid())]
        seen.interfaces = [line.split(':')[0].strip() for line in open(f'/proc/{pid}/net/dev').readlines()[2:]]
        tester.settle(*pod_of(text, 'Pod'), names, network)
        seen.test = tester.finish()
        seen.page = answers(url + '/metrics')
        wanted = 'http://127.0.0.1:9090/api/v1/query?query=promlstm_anomaly_score'
        real.wait_until(lambda: json.loads(answers(wanted))['data']['result'], 60, 'Prometheus to have a score')
        seen.scraped = json.loads(answers(wanted))['data']['result']
        seen.ended = process.stop()
        seen.log = (folder / 'promlstm.log').read_text()
        seen.changed = {path for path, state in bundle.files().items() if before.get(path) != state}
    return seen


def test_the_exporter_answers_and_helm_test_finds_a_score(lived):
    """`/metrics` as the chart's own program asks for it, a real score of a real Prometheus, and Prometheus scrapes it back."""
    assert lived.test.returncode == 0, lived.test.stderr + lived.log
    assert lived.test.stdout.startswith('promlstm_anomaly_score{')
    assert re.search(r'^promlstm_anomaly_score\{detector="live"', lived.page, re.MULTILINE)
    assert {each['metric']['detector'] for each in lived.scraped} == {'live'}
