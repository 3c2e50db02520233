"""The chart as others get it, by helm 3 and helm 4: packed, signed and carried by a real registry, it is what is in the repository."""

import io
import os
import subprocess
import tarfile

import pytest
import servers
from chart import CHART, HELMS, NEEDED, URL, template
from requirements import absent

from promlstm import presets

pytestmark = pytest.mark.usefixtures('helms')

TOOLS = servers.ROOT / '.cache/chart-tools/bin'
VALUES = f'--values={CHART}/ci/operator-values.yaml'


@pytest.fixture(scope='module', autouse=True)
def homes(tmp_path_factory):
    """Caches and logins of helm that are not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        for what in ('CACHE', 'CONFIG', 'DATA'):
            patch.setenv(f'HELM_{what}_HOME', str(tmp_path_factory.mktemp(what)))
        yield


@pytest.fixture(scope='module', params=HELMS)
def helm(request):
    return request.param


def need(name):
    """The path of one of the tools."""
    if not os.access(TOOLS / name, os.X_OK):
        absent(f'no {name} in .cache/chart-tools/bin: make test fetches it (or .ci/install-chart-tools)')
    return TOOLS / name


def packed(helm, folder, *args):
    """The path of the package that helm makes of the chart."""
    servers.run_tool(helm, 'package', CHART, '--destination', folder, *args)
    (path,) = folder.glob('*.tgz')
    return path


def files(path):
    """{name: bytes} of a package."""
    with tarfile.open(path) as archive:
        return {item.name.removeprefix('promlstm/'): archive.extractfile(item).read() for item in archive if item.isfile()}


def test_a_package_holds_the_same_bytes(helm, tmp_path):
    """The links of the repository become files; what the chart does not read stays out; it renders as the folder does."""
    path = packed(helm, tmp_path)
    found = files(path)
    sources = [*(f'rules/{name}' for name in NEEDED), *(str(path.relative_to(servers.ROOT)) for path in servers.ROOT.glob('rules/compat/*.yml'))]
    for name in [*sources, *(str(path.relative_to(servers.ROOT)) for path in servers.ROOT.glob('rules/dashboards/*.json'))]:
        assert found[name] == (servers.ROOT / name).read_bytes()
    for name in presets.names():
        assert found[f'presets/{name}.yml'] == (presets.FOLDER / f'{name}.yml').read_bytes()
    assert not [name for name in found if name.startswith(('ci/', 'rules/tests', 'rules/alertmanager')) or name.endswith(('.py', '.pyc'))]
    assert servers.run_tool(helm, 'template', 'promlstm', path, '--namespace=monitoring', VALUES).stdout == template(helm, VALUES).stdout


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    """A folder with the keyrings of somebody who releases, and one with those of a stranger."""
    folders = []
    for name in ('releaser', 'stranger'):
        folders.append(tmp_path_factory.mktemp(name))
        told = f'Key-Type: RSA\nKey-Length: 2048\nName-Real: {name}\nName-Email: {name}@example.org\nExpire-Date: 1d\n%commit\n'
        # GnuPG 1 would certify its key with SHA-1, which no one should take any more.
        command = [need('gpg1'), '--homedir', folders[-1], '--batch', '--cert-digest-algo', 'SHA256', '--gen-key']
        done = subprocess.run(command, input=told, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folders


@pytest.fixture(scope='module')
def signed(helm, keys, tmp_path_factory):
    """The path of a signed package; the signature is beside it."""
    return packed(helm, tmp_path_factory.mktemp(helm), '--sign', '--key=releaser', f'--keyring={keys[0]}/secring.gpg')


@pytest.fixture
def altered(signed, tmp_path):
    """The path of a package with another image in its values, beside the signature of the right one."""
    path = tmp_path / signed.name
    with tarfile.open(signed) as old, tarfile.open(path, 'w:gz') as new:
        for item in old:
            content = old.extractfile(item).read()
            if item.name == 'promlstm/values.yaml':
                content = content.replace(b'repository: promlstm', b'repository: somebody')
                assert b'somebody' in content
            item.size = len(content)
            new.addfile(item, io.BytesIO(content))
    path.with_name(path.name + '.prov').write_bytes(signed.with_name(signed.name + '.prov').read_bytes())
    return path


def test_a_signed_package_is_verified(helm, signed, keys):
    """By the key that signed it, and by no other."""
    assert 'Signed by: releaser' in servers.run_tool(helm, 'verify', signed, f'--keyring={keys[0]}/pubring.gpg').stdout
    done = servers.run_tool(helm, 'verify', signed, f'--keyring={keys[1]}/pubring.gpg', check=False)
    assert done.returncode != 0 and 'signature made by unknown entity' in done.stderr


def test_an_altered_package_is_refused(helm, altered, keys):
    """Though its signature is a right one, it is not the one of this archive."""
    done = servers.run_tool(helm, 'verify', altered, f'--keyring={keys[0]}/pubring.gpg', check=False)
    assert done.returncode != 0 and 'sha256 sum does not match' in done.stderr


@pytest.fixture(scope='module')
def registry(tmp_path_factory):
    """The host and port of a registry that is empty at first."""
    folder = tmp_path_factory.mktemp('registry')
    address = f'127.0.0.1:{servers.free_port()}'
    (folder / 'config.yml').write_text(
        f'version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp: {{addr: "{address}"}}\n'
    )
    command = [need('docker-registry'), 'serve', folder / 'config.yml']
    with servers.Process(command, servers.answers(f'http://{address}/v2/'), log=folder / 'log'):
        yield address


def test_a_registry_gives_what_it_was_given(helm, signed, keys, registry, tmp_path):
    """Pushed by one helm, pulled and verified by both, the package and its signature are the same bytes, and render as the folder does."""
    place = f'oci://{registry}/{helm}'
    options = (f'{place}/promlstm', '--plain-http', '--verify', f'--keyring={keys[0]}/pubring.gpg')
    servers.run_tool(helm, 'push', signed, place, '--plain-http')
    for other in HELMS:
        (tmp_path / other).mkdir()
        servers.run_tool(other, 'pull', *options, '--destination', tmp_path / other)
        pulled, pushed = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (tmp_path / other, signed.parent))
        assert pulled == pushed
        text = servers.run_tool(other, 'template', 'promlstm', *options, '--namespace=monitoring', VALUES).stdout
        assert text == template(other, VALUES).stdout


def test_an_altered_package_is_refused_from_a_registry(helm, altered, keys, registry, tmp_path):
    """Whoever can write to the registry cannot sign: nothing is rendered of it."""
    place = f'oci://{registry}/altered-{helm}'
    (tmp_path / 'pulled').mkdir()
    servers.run_tool(helm, 'push', altered, place, '--plain-http')
    options = (f'{place}/promlstm', '--plain-http', '--verify', f'--keyring={keys[0]}/pubring.gpg')
    for other in HELMS:
        for command in (['pull', f'--destination={tmp_path}/pulled'], ['template', VALUES]):
            done = servers.run_tool(other, *command, *options, check=False)
            assert done.returncode != 0 and 'sha256 sum does not match' in done.stderr
            assert 'kind:' not in done.stdout


def test_the_url_of_a_registry_is_installed_like_the_folder(helm, signed, registry):
    """`helm install promlstm oci://…` as far as it goes without a cluster. Helm 3 asks one even for this, so it is helm 4 that shows it."""
    servers.run_tool(helm, 'push', signed, f'oci://{registry}/installed', '--plain-http')
    options = ('--dry-run=client', f'--set={URL}', '--namespace=monitoring')
    there, here = (
        servers.run_tool('helm4', 'install', 'promlstm', *chart, *options).stdout.split('\nHOOKS:\n')[1]
        for chart in ((f'oci://{registry}/installed/promlstm', '--plain-http'), (CHART,))
    )
    assert there == here and 'kind: Deployment' in there
