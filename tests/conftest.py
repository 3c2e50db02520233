"""What tests share: the real servers, and who skips where.

A test that needs a real server, TensorFlow or hours says so with a marker (`real`, `train`, `accept`). On a user's machine
what is not there skips with the reason; in CI, where everything is to be there, it fails.
"""

import gc
import os
import time
import zlib

import browser
import chart
import credentials
import hypothesis
import pytest
import servers
from requirements import absent, has_tensorflow, is_accept, need_tools

import promlstm as promlstm  # before any test loads ONNX Runtime, which it keeps from reporting
from promlstm.engine import budget, bundle, session, trial, wire

# What the children of tests inherit: programs in Go collect garbage less often, which is a fifth of the time of promtool and a quarter of
# helm's, and tf2onnx copies no graph before each of its passes, a quarter of an export; a pass that fails is an error, and no warning.
os.environ.setdefault('GOGC', '400')
os.environ.setdefault('TF2ONNX_CATCH_ERRORS', 'FALSE')


def once(module, name, key):
    """What a function gives for a model that comes with promlstm is kept by a key that begins with its digest: it is always the same."""
    function, shipped, kept = getattr(module, name), trial._shipped(), {}

    def kept_or_new(*arguments, **more):
        digest, *others = key(*arguments, **more)
        if digest not in shipped:
            return function(*arguments, **more)
        if (digest, *others) not in kept:
            kept[digest, *others] = function(*arguments, **more)
        return kept[digest, *others]

    setattr(module, name, kept_or_new)


# Its bytes are checked, its graph is built and its proof is replayed once in a process, and not once for each test that loads it.
once(wire, 'check', lambda data, source: [bundle.digest(data)])
once(session, 'opened', lambda data, source: [bundle.digest(data)])
once(session.Session, 'prove', lambda loaded: [loaded.bundle.sha256])
once(budget, 'largest_surprise', lambda loaded, features, step_seconds: [loaded.bundle.sha256, features, step_seconds])
once(budget, 'possible_classes', lambda loaded, features: [loaded.bundle.sha256, features, loaded.bundle.calibration])

NO_UNIT = {'real', 'train', 'slow', 'accept'}  # the markers of what `make check` leaves out
TRAINS = '\npytestmark = pytest.mark.train\n'
UNIT_CPU_SECONDS = 2.0  # twice what a unit test should take: the counters of CPU are coarse on a busy machine

# A busy machine is no failure: examples have no time limit. There are fewer of them in `make test`, where a test does not say how many.
hypothesis.settings.register_profile('untimed', deadline=None, max_examples=100 if is_accept() else 30)
hypothesis.settings.load_profile('untimed')


gc.disable()  # while thousands of tests are collected, of which nothing is garbage: a fifth of that time


def pytest_ignore_collect(collection_path, config):
    """True for a file of which no test is asked for, since all of them train: it imports TensorFlow, which takes each worker three seconds of CPU."""
    trains = 'not train' in config.option.markexpr and collection_path.suffix == '.py' and TRAINS in collection_path.read_text(encoding='utf-8')
    return trains or None


def pytest_collection_finish():
    gc.enable(), gc.freeze()


def pytest_configure(config):
    """Adds the doctests of convert to a run of everything, where TensorFlow, which convert imports, is installed."""
    convert = servers.ROOT / 'convert'
    if config.args_source is config.ArgsSource.TESTPATHS and has_tensorflow() and convert.exists():
        config.args.append(str(convert))


def pytest_collection_modifyitems(items):
    """Skips what is for the full length; and files that train or start servers come first, in any order, so that no long one is left to one worker."""
    file = lambda item: item.nodeid.partition('::')[0]  # noqa: E731
    long = {file(item) for item in items if any(map(item.get_closest_marker, ('train', 'real', 'slow')))}
    items.sort(key=lambda item: (file(item) not in long, zlib.crc32(file(item).encode())))
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
def pytest_runtest_call(item):
    began = time.process_time()
    yield
    item.user_properties.append(('cpu_seconds', time.process_time() - began))


def pytest_terminal_summary(terminalreporter):
    """Names the tests that make `make check` slow, which is no failure: how long a test takes depends on the machine."""
    passed = [report for report in terminalreporter.stats.get('passed', ()) if not NO_UNIT & report.keywords.keys()]
    found = {
        report.nodeid: seconds for report in passed if (seconds := dict(report.user_properties).get('cpu_seconds', 0)) > UNIT_CPU_SECONDS
    }
    if found:
        terminalreporter.section(f'more than {UNIT_CPU_SECONDS:g} s of CPU: no unit tests, mark them slow')
        for name, seconds in sorted(found.items(), key=lambda each: -each[1]):
            terminalreporter.line(f'{seconds:.1f} s  {name}')


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Servers held by a fixture know nothing of the test's failure: their logs join its report here."""
    report = (yield).get_result()
    if report.when == 'call' and report.passed and (shown := [name for name, text in report.sections if credentials.shown_in(text)]):
        report.outcome, report.longrepr = 'failed', f'a password or token is in the output of this test: {", ".join(shown)}'
    if report.failed:
        report.sections += [(process.name, process.tail()) for process in servers.running]


@pytest.fixture(scope='session')
def accept():
    """Whether this is the full-length run, for tests that only choose how much they do."""
    return is_accept()


@pytest.fixture
def tools():
    """The directory with prometheus, promtool, alertmanager, amtool and prometheus-node-exporter."""
    need_tools()
    return servers.TOOLS


@pytest.fixture
def prometheus(tools, tmp_path):
    """A fresh Prometheus that scrapes itself every second."""
    with servers.Prometheus(tmp_path / 'prometheus') as server:
        yield server


@pytest.fixture
def node_exporter(tools):
    with servers.NodeExporter() as server:
        yield server


@pytest.fixture(scope='module')
def chromium():
    """A browser; it is gone before the next file, whose tests may have event loops of their own."""
    browser.need_browser()
    with browser.chromium() as running:
        yield running


@pytest.fixture
def look(chromium):
    """A tab of it, which fails the test for what no page of ours may do."""
    tab = browser.Look(chromium)
    try:
        yield tab
        tab.check()
    finally:
        tab.close()


@pytest.fixture(scope='session')
def helms():
    """Both, or the reason why not."""
    if missing := [name for name in chart.HELMS if not os.access(servers.TOOLS / name, os.X_OK)]:
        absent(f'no {", ".join(missing)} in .cache/tools/bin: make test fetches them (or .ci/install-tools)')


@pytest.fixture(scope='session')
def rendered(helms):
    """{(helm, variant): text} of the variants of the chart, each rendered when it is looked at."""
    return chart.Renderings()
