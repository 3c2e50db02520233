"""What a user installs: one light wheel with its models in it, in versions that are the same everywhere."""

import configparser
import email
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import servers

import promlstm

DATA = ('models/*.onnx', 'presets/*.yml', 'ui/templates/*.html', 'ui/static/*', 'ui/openapi.yml')


@pytest.fixture(scope='module')
def setup():
    setup = configparser.ConfigParser()
    setup.read(servers.ROOT / 'setup.cfg')
    return setup


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel, built from a copy without left-overs of earlier builds, with one planted file for each kind of package data."""
    source = tmp_path_factory.mktemp('source')
    unbuilt = shutil.ignore_patterns('__pycache__', '*.egg-info', 'build', 'dist')
    for name in ('promlstm', 'convert', 'tests', 'setup.cfg', 'pyproject.toml', 'LICENSE', 'README.md'):
        original = servers.ROOT / name
        if original.is_dir():
            shutil.copytree(original, source / name, ignore=unbuilt)
        elif original.exists():
            shutil.copy(original, source)
    for pattern in DATA:
        planted = source / 'promlstm' / pattern.replace('*', 'planted')
        planted.parent.mkdir(exist_ok=True)
        planted.write_text('planted')
    # Not isolated: .venv-test has the pinned setuptools, and a test should need no network.
    command = [sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir', source / 'dist', source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (source / 'dist').glob('*.whl')
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_is_promlstm_with_its_data_and_nothing_else(wheel):
    """Every module, model and preset of promlstm is in the wheel; convert, tests and the rest of the repository are not."""
    package = servers.ROOT / 'promlstm'
    expected = {str(path.relative_to(servers.ROOT)) for pattern in ('*.py', *DATA) for path in package.rglob(pattern)}
    expected |= {'promlstm/' + pattern.replace('*', 'planted') for pattern in DATA}
    assert {name for name in wheel.namelist() if '.dist-info/' not in name} == expected


def test_the_default_model_is_in_the_wheel(wheel):
    """`model: builtin:default` works from an installed wheel."""
    assert 'promlstm/models/default.onnx' in wheel.namelist()


def test_the_wheel_says_what_it_is(wheel):
    """Name, the version that promlstm itself reports, licence, the Python it needs and its command are in the wheel's metadata."""
    [info] = {name.split('/')[0] for name in wheel.namelist() if '.dist-info/' in name}
    metadata = email.message_from_bytes(wheel.read(f'{info}/METADATA'))
    assert (metadata['Name'], metadata['Version']) == ('promlstm', promlstm.__version__)
    assert (metadata['License-Expression'], metadata['Requires-Python']) == ('Apache-2.0 AND MIT', '>=3.11')
    assert {f'{info}/licenses/{name}' for name in ('LICENSE', 'promlstm/ui/static/uplot.LICENSE')} <= set(wheel.namelist())
    assert 'promlstm = promlstm.__main__:main' in wheel.read(f'{info}/entry_points.txt').decode()


def test_metadata_stands_in_setup_cfg_alone():
    """pyproject.toml has no [project] table: setuptools fails where both files carry metadata."""
    assert set(tomllib.loads((servers.ROOT / 'pyproject.toml').read_text())) == {'build-system', 'tool'}


def test_every_requirement_is_pinned(setup):
    """Each package of setup.cfg, with those of its extras, has an exact version in .ci/constraints.txt, and nothing there is looser."""
    lines = (servers.ROOT / '.ci' / 'constraints.txt').read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith('#')]
    assert [line for line in pins if not re.fullmatch(r'[\w.-]+==[\w.]+', line)] == []

    sections = [setup['options']['install_requires'], *setup['options.extras_require'].values()]
    required = {normal(name) for section in sections for name in re.findall(r'^[A-Za-z][\w-]*', section, re.MULTILINE)}
    assert required - {normal(line.split('==')[0]) for line in pins} == set()


def normal(name: str) -> str:
    """One spelling of a package's name, as PEP 503 has it."""
    return re.sub(r'[-_.]+', '-', name).lower()


def test_the_runtime_environment_is_light():
    """The environment that `make demo` makes has none of the training or test packages."""
    packages = list((servers.ROOT / '.venv' / 'lib').glob('python*/site-packages'))
    if not packages:
        pytest.skip('no .venv here: make test makes it')
    present = {normal(path.name.split('-')[0]) for path in packages[0].glob('*.dist-info')}
    assert {'promlstm', 'onnxruntime'} <= present
    assert present & {'tensorflow', 'tensorflow-cpu', 'keras', 'onnx', 'tf2onnx', 'pandas', 'scipy', 'scikit-learn', 'pytest'} == set()
