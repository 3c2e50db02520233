"""What tests share: the real servers, and who skips where.

A test that needs a real server, TensorFlow or hours says so with a marker (`real`, `train`, `accept`). On a user's machine
what is not there skips with the reason; in CI, where everything is to be there, it fails.
"""

import importlib.util
import os

import chart
import pytest
import real

import promlstm as promlstm  # before any test loads ONNX Runtime, which it keeps from reporting


def pytest_configure(config):
    """Adds the doctests of convert to a run of everything, where TensorFlow, which convert imports, is installed."""
    convert = real.ROOT / 'convert'
    if config.args_source is config.ArgsSource.TESTPATHS and has_tensorflow() and convert.exists():
        config.args.append(str(convert))


def pytest_collection_modifyitems(items):
    if not is_accept():
        skip = pytest.mark.skip(reason='full length only: make accept')
        for item in items:
            if item.get_closest_marker('accept'):
                item.add_marker(skip)


def pytest_runtest_setup(item):
    if item.get_closest_marker('real'):
        need_tools()
    if item.get_closest_marker('train') and not has_tensorflow():
        absent('TensorFlow is not installed: make test')


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Servers held by a fixture know nothing of the test's failure: their logs join its report here."""
    report = (yield).get_result()
    if report.failed:
        report.sections += [(process.name, process.tail()) for process in real.running]


def absent(reason):
    """Skips the test, or fails it where everything must be there."""
    if os.environ.get('CI', '').lower() in ('1', 'true') or os.environ.get('PROMLSTM_REQUIRE_TOOLS') == '1':
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def need_tools():
    missing = real.missing_tools()
    if missing:
        absent(f'no {", ".join(missing)} in .cache/tools/bin: make test fetches them (or .ci/install-tools)')


def has_tensorflow() -> bool:
    return importlib.util.find_spec('tensorflow') is not None


def is_accept() -> bool:
    return os.environ.get('PROMLSTM_ACCEPT') == '1'


@pytest.fixture(scope='session')
def accept():
    """Whether this is the full-length run, for tests that only choose how much they do."""
    return is_accept()


@pytest.fixture
def tools():
    """The directory with prometheus, promtool, alertmanager, amtool and prometheus-node-exporter."""
    need_tools()
    return real.TOOLS


@pytest.fixture
def prometheus(tools, tmp_path):
    """A fresh Prometheus that scrapes itself every second."""
    with real.Prometheus(tmp_path / 'prometheus') as server:
        yield server


@pytest.fixture
def node_exporter(tools):
    with real.NodeExporter() as server:
        yield server


@pytest.fixture(scope='session')
def helms():
    """Both, or the reason why not."""
    if missing := [name for name in chart.HELMS if not os.access(real.TOOLS / name, os.X_OK)]:
        absent(f'no {", ".join(missing)} in .cache/tools/bin: make test fetches them (or .ci/install-tools)')


@pytest.fixture(scope='session')
def rendered(helms):
    """{(helm, variant): text} of all variants of the chart."""
    files = {variant: chart.CHART / f'ci/{variant}-values.yaml' for variant in chart.VARIANTS}
    return {(helm, variant): chart.template(helm, f'--values={path}').stdout for helm in chart.HELMS for variant, path in files.items()}
