"""The image's recipe: what the files say of it. That it builds and runs is shown by test_image.py."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import servers
from dockerfile import LOCK, LOCKED, STAGES, TEXT, plain
from requirements import absent


def test_hadolint_finds_nothing():
    """By all of its default rules."""
    found = shutil.which('hadolint', path=str(Path(sys.executable).parent))
    if not found:
        absent('no hadolint: make test installs it')
    done = subprocess.run([found, '--no-color', servers.ROOT / 'Dockerfile'], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, '')


def test_the_exporter_is_what_is_built_by_default():
    """Two targets and what both are made of; the last is the exporter."""
    assert list(STAGES) == ['wheels', 'train', 'runtime']


@pytest.mark.parametrize('target', ['train', 'runtime'])
def test_both_run_as_nobody_and_say_what_they_are(target):
    """The chart's uid, set by number so that Kubernetes can see that it is not root; labels; nothing becomes root again."""
    assert re.findall(r'^USER (.*)', STAGES[target], re.MULTILINE) == ['65532:65532']
    assert STAGES[target].index('USER') > max(STAGES[target].rfind(word) for word in ('RUN', 'COPY'))
    for label in ('title', 'description', 'licenses'):
        assert f'org.opencontainers.image.{label}=' in STAGES[target]


@pytest.mark.parametrize('target', ['train', 'runtime'])
def test_nothing_is_told_to_anybody(target):
    """ONNX Runtime reports its use to Microsoft where this is not set before it begins."""
    assert re.search(r'^ENV .*\bORT_DISABLE_TELEMETRY=1\b', STAGES[target], re.MULTILINE)


def test_the_exporter_gets_its_packages_and_nothing_else():
    """One folder out of the first stage: no wheelhouse, no source, nothing run on top, no TensorFlow in the list."""
    assert re.findall(r'^COPY (.*)', STAGES['runtime'], re.MULTILINE) == ['--from=wheels /opt/promlstm /opt/promlstm']
    assert 'RUN' not in STAGES['runtime']
    assert not {'tensorflow', 'tensorflow-cpu', 'onnx', 'tf2onnx', 'keras'} & {name for name, *_ in LOCKED}
    assert not re.search(r'\b(apt|apk|gcc|build-essential|curl|wget)\b', TEXT)


def test_every_package_is_pinned_by_hash_in_the_version_of_the_tests():
    """`.ci/lock-image` makes the list; with each package that the wheel asks for, and no version that was not tested."""
    assert len(LOCKED) == len(re.findall('==', LOCK)) > 0
    pins = dict(line.split('==') for line in (servers.ROOT / '.ci/constraints.txt').read_text().splitlines() if '==' in line)
    pins = {plain(name): version for name, version in pins.items()}
    assert {name: version for name, version, _ in LOCKED}.items() <= pins.items()
    setup = configparser.ConfigParser()
    setup.read(servers.ROOT / 'setup.cfg')
    assert {plain(name) for name in setup['options']['install_requires'].split()} <= {name for name, *_ in LOCKED}


def test_hashes_are_asked_for_and_nothing_is_compiled():
    """A file that is not in the list ends the build; what is installed comes from the checked folder only."""
    download = next(line for line in STAGES['wheels'].splitlines() if 'pip download' in line)
    assert '--require-hashes' in download and '--only-binary :all:' in download
    assert '--no-index --no-deps /wheels/*.whl' in STAGES['wheels']


def test_what_is_copied_gets_past_the_ignore_file():
    """Everything is left out but what a COPY names."""
    copied = {
        word.rstrip('/')
        for line in re.findall(r'^COPY (?!--from)(.*)', TEXT, re.MULTILINE)
        for word in line.split()[:-1]
    }  # fmt: skip
    first, *lines = (servers.ROOT / '.dockerignore').read_text().splitlines()
    assert first == '*'
    assert copied == {line.removeprefix('!').rstrip('/') for line in lines if line.startswith('!')}
    assert all((servers.ROOT / name).exists() for name in copied)
