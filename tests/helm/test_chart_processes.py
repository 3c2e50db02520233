"""What the chart's containers do as processes: they trust the authority that a variable names, and end when they are told to."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys

import exporter
import pytest
import servers
from chart import CHART, config_of, objects, run_container, template
from requirements import absent
from wire import Wire, certificate, replying

pytestmark = pytest.mark.usefixtures('helms')

LIMIT_SECONDS = 60


@pytest.fixture(scope='module')
def authority(tmp_path_factory):
    """(certificate file, ssl.SSLContext of a server that has it)."""
    try:
        return certificate(tmp_path_factory.mktemp('authority'))
    except FileNotFoundError:
        absent('no openssl here to make a certificate with')


def nothing(request):
    """Prometheus' answer where there are no series."""
    kind = 'matrix' if 'query_range' in request.target else 'vector'
    return json.dumps({'status': 'success', 'data': {'resultType': kind, 'result': []}}).encode()


def container_of(text, name):
    """A container of the Deployment, of those that begin as well."""
    (found,) = objects(text, 'Deployment')
    pod = found['spec']['template']['spec']
    return next(one for one in [*pod.get('initContainers', []), *pod['containers']] if one['name'] == name)


def rendered_with(variable, *settings):
    """The chart with a variable that names a certificate in a mounted volume."""
    volume, mount = (
        {'name': 'authority', 'configMap': {'name': 'authority'}},
        {'name': 'authority', 'mountPath': '/authority', 'readOnly': True},
    )
    return template(
        'helm4',
        *settings,
        f'--set-json=extraEnv=[{{"name":"{variable}","value":"/authority/ca.crt"}}]',
        f'--set-json=extraVolumes=[{json.dumps(volume)}]',
        f'--set-json=extraVolumeMounts=[{json.dumps(mount)}]',
    ).stdout


def environment(container, file):
    """The variables that the container is given, the volume being where the test has it; nothing else of the test's own is inherited."""
    given = {one['name']: one['value'].replace('/authority/ca.crt', str(file)) for one in container.get('env', [])}
    return {'PATH': os.environ['PATH'], 'NO_PROXY': '*', **given}


@pytest.mark.parametrize('variable', ['SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE'])
def test_the_exporter_trusts_the_authority_of_a_variable(authority, variable, tmp_path):
    """The program with the rendered configuration and the container's variables reaches a Prometheus of that authority; without them it does not."""
    file, context = authority
    with Wire(replying(nothing), context=context) as wire:
        text = rendered_with(variable, f'--set=prometheus.url={wire.url}', '--set-json=presets=["prometheus"]')
        (tmp_path / 'promlstm.yml').write_text(config_of(text))
        container = container_of(text, 'promlstm')
        command = [exporter.RUNTIME, '-m', 'promlstm', 'check-config', tmp_path / 'promlstm.yml']
        for variables, trusted in ((environment(container, file), True), ({'PATH': os.environ['PATH']}, False)):
            done = subprocess.run(
                command, env=variables, cwd=servers.ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
            )
            said = done.stdout + done.stderr
            assert ('certificate is not trusted' in said) != trusted, said
            assert ('error: prometheus: ' in said) != trusted, said
        assert wire.requests


def test_what_fetches_models_trusts_it_too(authority, tmp_path):
    """The rendered program, run with and without the variable."""
    file, context = authority
    models = [{'name': 'a.onnx', 'sha256': hashlib.sha256(b'model').hexdigest()}]
    with Wire(replying(lambda request: b'model'), context=context) as wire:
        models[0]['url'] = f'{wire.url}/a.onnx'
        text = rendered_with('SSL_CERT_FILE', '--set=prometheus.url=http://a', f'--set-json=models.fetch={json.dumps(models)}')
        container = container_of(text, 'fetch-models')
        for variable, status in ((str(file), 0), ('/nowhere', 1)):
            done = run_container(container, FOLDER=str(tmp_path), SSL_CERT_FILE=variable)
            assert done.returncode == status, done.stderr
    assert (tmp_path / 'a.onnx').read_bytes() == b'model' and 'CERTIFICATE_VERIFY_FAILED' in done.stderr


def test_what_fetches_models_ends_when_the_pod_does(tmp_path):
    """As process 1, for which a signal without a handler has no effect; the server never answers."""
    apart = ['unshare', '--user', '--map-root-user', '--pid', '--fork', '--kill-child']
    with contextlib.suppress(FileNotFoundError):
        if not subprocess.run([*apart, 'true'], capture_output=True, check=False).returncode:
            text = template('helm4', f'--values={CHART}/ci/fetch-values.yaml').stdout
            _, _, code = container_of(text, 'fetch-models')['command']
            with Wire(lambda peer, number: peer.request() and peer.wire.left.wait(LIMIT_SECONDS)) as wire:
                models = json.dumps([{'name': 'a', 'url': wire.url, 'sha256': '0' * 64}])
                variables = {'PATH': os.environ['PATH'], 'NO_PROXY': '*', 'FOLDER': str(tmp_path), 'MODELS': models}
                child = subprocess.Popen([*apart, sys.executable, '-c', code], env=variables, stderr=subprocess.PIPE, text=True)
                servers.wait_until(lambda: wire.requests, LIMIT_SECONDS, 'the request for the model')
                children = subprocess.run(['pgrep', '-P', str(child.pid)], capture_output=True, text=True, check=True)
                os.kill(int(children.stdout), signal.SIGTERM)
                _, said = child.communicate(timeout=LIMIT_SECONDS)
            assert child.returncode == 1 and said == 'stopped by SIGTERM\n'
            return
    pytest.skip('a process namespace cannot be made here')
