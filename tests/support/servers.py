"""Real servers for tests: Prometheus, node_exporter, Alertmanager and any other process, on free loopback ports.

Each is a context manager that is ready when entered and gone when left:

    with NodeExporter() as node, Prometheus(tmp_path, scrape_configs=[node.scrape_config('node')]) as prometheus:
        prometheus.wait_for('up{job="node"} == 1')

Nothing sleeps for a fixed time: what is awaited is polled until a generous limit, and a wait that fails says what it waited
for, what it last saw, and how the log of the process ends. The binaries are those of `.ci/install-tools`. Import it from a
test as `from real import Prometheus`.
"""

from __future__ import annotations

import atexit
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path

import credentials
import requests
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / '.cache' / 'tools' / 'bin'
TOOL_NAMES = ('prometheus', 'promtool', 'alertmanager', 'amtool', 'prometheus-node-exporter')

# A busy machine may take long for what takes milliseconds on an idle one; only a broken one pays the limit.
READY_SECONDS = 60
STOP_SECONDS = 30
POLL_SECONDS = 0.05

# A proxy named in the environment must not stand between a test and its own loopback.
http = requests.Session()
http.trust_env = False

# For the tail of their logs in the report of a failed test, and so that none outlives the test run.
running: list[Process] = []


def missing_tools() -> list[str]:
    """Names of the tools that are not there."""
    return [name for name in TOOL_NAMES if not os.access(TOOLS / name, os.X_OK)]


def wait_until(predicate, limit_seconds, what):
    """Polls until `predicate()` gives something true, and returns that; a refused connection or an HTTP error is a no.

    raises TimeoutError  after the limit, naming `what` and the last answer or error

    >>> wait_until(lambda: 'ready', limit_seconds=1, what='nothing at all')
    'ready'
    >>> wait_until(lambda: 0, limit_seconds=0, what='a miracle')
    Traceback (most recent call last):
    TimeoutError: waited 0 s for a miracle; last seen: 0
    """
    deadline = time.monotonic() + limit_seconds
    while True:
        try:
            last = predicate()
        except OSError as error:  # every exception of requests is one
            last = None
            seen = repr(error)
        else:
            seen = repr(last)
        if last:
            return last
        if time.monotonic() >= deadline:
            raise TimeoutError(f'waited {limit_seconds} s for {what}; last seen: {seen}')
        time.sleep(POLL_SECONDS)


def _port_block():
    """The ports that this process may use, from a place of its own on: below the kernel's range, so that no outgoing connection has one,
    and in a block for each worker of a parallel run, so that no two of them take the same one at the same time.
    """
    worker = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))
    block = range(20_000 + 1_000 * (worker % 10), 21_000 + 1_000 * (worker % 10))
    first = os.getpid() % len(block)
    return itertools.cycle([*block[first:], *block[:first]])


_ports = _port_block()


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    for port in itertools.islice(_ports, 1_000):
        with socket.socket() as sock:
            try:
                sock.bind(('127.0.0.1', port))
            except OSError:
                continue
            return port
    raise OSError('no free port between 20000 and 30000')


def answers(url):
    """A `ready` for Process: true once the URL answers with a status below 400."""
    return lambda: http.get(url, timeout=5).ok


class Process:
    """A child process: ready when entered, stopped when left; its log is shown if the test failed in between.

    args          the command line, e.g. [sys.executable, '-m', 'promlstm', 'run', '--config', path]
    ready         called until it gives something true, e.g. answers(url); an OSError counts as not yet
    environment   on top of the test's own
    log           file for stdout and stderr together; a temporary one if not given
    """

    def __init__(self, args, ready, *, environment=None, cwd=ROOT, log=None, limit_seconds=READY_SECONDS):
        self.args = [str(arg) for arg in args]
        self.ready = ready
        self.environment = {**os.environ, **(environment or {})}
        self.cwd = cwd
        self.limit_seconds = limit_seconds
        self.log = Path(log) if log else self._temporary_directory() / 'log'
        self.child = None

    def _temporary_directory(self) -> Path:
        path = tempfile.mkdtemp(prefix='promlstm-test-')
        weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        return Path(path)

    @property
    def name(self) -> str:
        return ' '.join(Path(arg).name for arg in self.args[:4])

    def start(self):
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open('ab') as log:
            self.child = subprocess.Popen(
                self.args, env=self.environment, cwd=self.cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        running.append(self)
        try:
            wait_until(self._ready_or_dead, self.limit_seconds, f'{self.name} to be ready')
            if self.child.poll() is not None:
                raise RuntimeError(f'{self.name} ended with status {self.child.returncode} before it was ready')
        except BaseException as error:
            self.kill()
            error.add_note(self.tail())
            raise
        return self

    def _ready_or_dead(self):
        return self.child.poll() is not None or self.ready()

    def stop(self) -> int:
        """Asks it to end (SIGTERM), kills it if it does not, and returns its exit status: negative is a signal's number."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return self.kill()
        finally:
            self._forget()

    def kill(self) -> int:
        """Ends it as a crash would (SIGKILL), for tests of what is left behind."""
        self.child.kill()
        self._forget()
        return self.child.wait()

    def _forget(self):
        if self in running:
            running.remove(self)
        if self.log.exists() and credentials.shown_in(self.log.read_text(errors='replace')):
            raise AssertionError(f'{self.name} shows a password or token in {self.log}')

    def tail(self, lines=30) -> str:
        text = self.log.read_text(errors='replace').splitlines()[-lines:]
        return '\n'.join([f'--- the end of {self.log} ({self.name}):', *text])

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, error, trace):
        if error is not None:
            error.add_note(self.tail())
        self.stop()


@atexit.register
def stop_all():
    while running:
        running[-1].kill()


class Server(Process):
    """A process that serves HTTP on `port` of the loopback."""

    def __init__(self, args, ready_path, *, port, **options):
        self.port = port
        self.address = f'127.0.0.1:{port}'
        self.url = f'http://{self.address}'
        super().__init__(args, answers(self.url + ready_path), **options)

    def scrape_config(self, job, **settings) -> dict:
        """What Prometheus needs to scrape it, as an entry of `scrape_configs`."""
        return {'job_name': job, 'static_configs': [{'targets': [self.address]}], **settings}


class Prometheus(Server):
    """A Prometheus that keeps its configuration and data in `directory` (made if need be), which survives it.

    scrape_configs, rule_files and alertmanagers (addresses) are read again at `reload()`: a test may change these lists
    in between. Where no scrape_configs are given it scrapes itself, as job "prometheus".
    """

    def __init__(
        self, directory, scrape_configs=None, rule_files=(), retention='30d', args=(), *, alertmanagers=(), interval='1s', **options
    ):
        directory = Path(directory)
        self.data = directory / 'data'
        self.config = directory / 'prometheus.yml'
        port = free_port()
        command = [
            TOOLS / 'prometheus',
            f'--config.file={self.config}',
            f'--storage.tsdb.path={self.data}',
            f'--storage.tsdb.retention.time={retention}',
            f'--web.listen-address=127.0.0.1:{port}',
            '--web.enable-lifecycle',
            # An alert that fires before Prometheus has looked up its Alertmanagers (5 s) is lost until it is sent again.
            '--rules.alert.resend-delay=1s',
            *args,
        ]
        super().__init__(command, '/-/ready', port=port, log=directory / 'prometheus.log', **options)
        self.scrape_configs = [self.scrape_config('prometheus')] if scrape_configs is None else list(scrape_configs)
        self.rule_files = list(rule_files)
        self.alertmanagers = list(alertmanagers)
        self.interval = interval

    def start(self):
        self.data.mkdir(parents=True, exist_ok=True)
        self.write_config()
        return super().start()

    def write_config(self):
        config = {
            'global': {'scrape_interval': self.interval, 'scrape_timeout': self.interval, 'evaluation_interval': self.interval},
            'scrape_configs': self.scrape_configs,
            'rule_files': [str(path) for path in self.rule_files],
            'alerting': {'alertmanagers': [{'static_configs': [{'targets': self.alertmanagers}]}]},
        }
        self.config.write_text(yaml.safe_dump(config, sort_keys=False))

    def reload(self):
        """Writes the configuration anew and has it read; RuntimeError with Prometheus' own words where it refuses."""
        self.write_config()
        response = http.post(self.url + '/-/reload', timeout=READY_SECONDS)
        if not response.ok:
            raise RuntimeError(f'{response.text.strip()}\n{self.tail()}')

    def query(self, expr, time=None) -> list:
        """The `result` of an instant query: a list of {"metric": …, "value": [seconds, text]}."""
        return self.ask('query', query=expr, time=time)['result']

    def query_range(self, expr, start, end, step) -> list:
        """The `result` of a range query: a list of {"metric": …, "values": [[seconds, text], …]}."""
        return self.ask('query_range', query=expr, start=start, end=end, step=step)['result']

    def ask(self, endpoint, **parameters):
        """The `data` of one endpoint of the HTTP API; RuntimeError with the answer where it is not a success."""
        response = http.post(f'{self.url}/api/v1/{endpoint}', data=parameters, timeout=READY_SECONDS)
        if not response.ok:
            raise RuntimeError(f'{endpoint} {parameters}: {response.status_code} {response.text}')
        return response.json()['data']

    def wait_for(self, expr, predicate=bool, limit_seconds=READY_SECONDS) -> list:
        """Repeats an instant query until `predicate(result)` holds (it has any series, if none is given); returns the result."""
        last = []

        def holds():
            last[:] = self.query(expr)
            return predicate(last)

        try:
            wait_until(holds, limit_seconds, f'the result of {expr}')
        except TimeoutError as error:
            error.add_note(f'its last result: {last}')
            raise
        return last


class NodeExporter(Server):
    """A node_exporter watching this machine."""

    def __init__(self, args=(), **options):
        port = free_port()
        super().__init__([TOOLS / 'prometheus-node-exporter', f'--web.listen-address=127.0.0.1:{port}', *args], '/', port=port, **options)


class Alertmanager(Server):
    """An Alertmanager; `config` is its configuration as a dict, and without one it only collects alerts."""

    def __init__(self, directory, config=None, args=(), **options):
        directory = Path(directory)
        self.config = directory / 'alertmanager.yml'
        self.settings = config or {'route': {'receiver': 'nobody'}, 'receivers': [{'name': 'nobody'}]}
        port = free_port()
        command = [
            TOOLS / 'alertmanager',
            f'--config.file={self.config}',
            f'--storage.path={directory / "alertmanager"}',
            f'--web.listen-address=127.0.0.1:{port}',
            '--cluster.listen-address=',  # no gossip: its port would be the same in every instance
            *args,
        ]
        super().__init__(command, '/-/ready', port=port, log=directory / 'alertmanager.log', **options)

    def start(self):
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(yaml.safe_dump(self.settings, sort_keys=False))
        return super().start()

    def alerts(self) -> list:
        """The alerts it holds, as in its API: each with labels, annotations, status."""
        response = http.get(self.url + '/api/v2/alerts', timeout=READY_SECONDS)
        response.raise_for_status()
        return response.json()


def module(path):
    """A Python file that is no part of a package, as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def run_tool(name, *args, check=True, **options) -> subprocess.CompletedProcess:
    """Runs one of the tools to its end; with `check`, RuntimeError with all it printed where it fails."""
    done = subprocess.run([TOOLS / name, *map(str, args)], capture_output=True, text=True, check=False, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f'{name} {" ".join(map(str, args))}: status {done.returncode}\n{done.stdout}{done.stderr}')
    return done


def promtool(*args, **options) -> subprocess.CompletedProcess:
    return run_tool('promtool', *args, **options)


def amtool(*args, **options) -> subprocess.CompletedProcess:
    return run_tool('amtool', *args, **options)


def backfill(prometheus_data_directory, openmetrics_text_path):
    """Puts the samples of an OpenMetrics file (with timestamps, ending in `# EOF`) into the data of a Prometheus not yet started.

    A running one would see them only at its next look for new blocks, a minute later; and those older than its retention go.
    """
    # One pass over the text for each block: with blocks of 2 h a month is 360 passes. The flag is not in promtool's help.
    options = ('--quiet', '--max-block-duration=24h')
    promtool('tsdb', 'create-blocks-from', *options, 'openmetrics', openmetrics_text_path, prometheus_data_directory)


def promlstm(*args) -> list:
    """The command line of promlstm from this tree, for Process: promlstm('run', '--config', path)."""
    return [sys.executable, '-m', 'promlstm', *args]
