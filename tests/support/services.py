"""Real databases and queues for tests, each with a little steady work and with the exporter that watches it.

What is started is what `.ci/install-services` has unpacked. Each is a context manager; where it listens is its own temporary directory or a
free loopback port:

    with STARTS['redis']() as redis, Prometheus(tmp_path, [redis.exporter.scrape_config('redis')]) as prometheus:
        prometheus.wait_for('redis_up == 1')
        redis.work.stop()
"""

import os
import random
import socket
import subprocess
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from servers import ROOT, STOP_SECONDS, Process, Server, free_port

SERVICES = ROOT / '.cache/services'
BIN = SERVICES / 'bin'
PROGRAMS = (
    'redis-server', 'redis-cli', 'prometheus-redis-exporter',
    'initdb', 'postgres', 'psql', 'prometheus-postgres-exporter',
    'mariadb-install-db', 'mariadbd', 'mariadb', 'prometheus-mysqld-exporter',
    'epmd', 'rabbitmq-server', 'amqp-declare-queue', 'amqp-publish', 'amqp-consume',
)  # fmt: skip

# Databases refuse to run as root. Who is root becomes nobody, who may still come to a clone and a directory that are root's alone.
NOBODY = 'setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all,+dac_override --ambient-caps=-all,+dac_override'
ANYBODY = NOBODY.split() if os.geteuid() == 0 else []

PAUSE_SECONDS = 0.05


def missing() -> list[str]:
    """Names of the programs that are not there."""
    return [name for name in PROGRAMS if not os.access(BIN / name, os.X_OK)]


class Work:
    """A client that is given one piece of work after the other, twenty a second, until it is stopped."""

    def __init__(self, args, lines):
        self.args = [str(arg) for arg in args]
        self.lines = lines
        self.stopped = threading.Event()

    def __enter__(self):
        self.child = subprocess.Popen(self.args, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0)
        self.feeder = threading.Thread(target=self._feed, daemon=True)
        self.feeder.start()
        return self

    def _feed(self):
        with suppress(BrokenPipeError), self.child.stdin as pipe:
            for line in self.lines:
                pipe.write(f'{line}\n'.encode())
                if self.stopped.wait(PAUSE_SECONDS):
                    return

    def is_under_way(self):
        return self.feeder.is_alive() and self.child.poll() is None

    def stop(self):
        self.stopped.set()
        self.feeder.join(STOP_SECONDS)
        try:
            self.child.wait(STOP_SECONDS)
        finally:
            self.child.kill()

    def __exit__(self, *_):
        self.stop()


class Service(NamedTuple):
    server: Process
    exporter: Server
    work: Work


def listens(address):
    """A `ready` for Process: true once somebody takes connections at a port, or at a path."""

    def ready():
        with socket.socket(socket.AF_INET if isinstance(address, int) else socket.AF_UNIX) as sock:
            sock.connect(('127.0.0.1', address) if isinstance(address, int) else str(address))
            return True

    return ready


def exporter(name, *args, **options):
    port = free_port()
    return Server([BIN / name, f'--web.listen-address=127.0.0.1:{port}', *args], '/', port=port, **options)


def stock(seed, *setup):
    """Lines of SQL: a table is made, then its rows are read and changed."""
    chance = random.Random(seed)
    yield ' '.join(setup)
    while True:
        item = chance.randint(1, 1000)
        yield f'SELECT pieces FROM stock WHERE item = {item}; UPDATE stock SET pieces = pieces - 1 WHERE item = {item};'


@contextmanager
def redis():
    """Keys are set, and asked for one in six times in vain."""

    def lines():
        chance = random.Random(1)
        while True:
            yield '\n'.join([f'SET {chance.randrange(100)} {chance.random()}', *(f'GET {chance.randrange(120)}' for _ in range(4))])

    with ExitStack() as held:
        directory, port = held.enter_context(tempfile.TemporaryDirectory(prefix='promlstm-redis-')), free_port()
        options = f'--bind 127.0.0.1 --port {port} --save --dir {directory}'
        server = held.enter_context(Process([BIN / 'redis-server', *options.split()], listens(port)))
        watcher = held.enter_context(exporter('prometheus-redis-exporter', f'--redis.addr=redis://127.0.0.1:{port}'))
        work = held.enter_context(Work([BIN / 'redis-cli', '-p', port], lines()))
        yield Service(server, watcher, work)


@contextmanager
def postgres():
    """Rows are read and changed."""
    lines = stock(2, 'CREATE TABLE stock AS SELECT generate_series(1, 1000) AS item, 100 AS pieces;')
    with ExitStack() as held:
        directory = held.enter_context(tempfile.TemporaryDirectory(prefix='promlstm-postgres-'))
        data = f'{directory}/data'
        initdb = [*ANYBODY, BIN / 'initdb', '--pgdata', data, '--username=postgres', '--auth=trust', '--no-sync']
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL)
        options = ['-D', data, '-c', f'unix_socket_directories={directory}', '-c', 'listen_addresses=', '-c', 'fsync=off']
        server = held.enter_context(Process([*ANYBODY, BIN / 'postgres', *options], listens(f'{directory}/.s.PGSQL.5432')))
        where = {'DATA_SOURCE_NAME': f'host={directory} user=postgres dbname=postgres sslmode=disable'}
        watcher = held.enter_context(exporter('prometheus-postgres-exporter', environment=where))
        work = held.enter_context(Work([BIN / 'psql', '--quiet', '-h', directory, '-U', 'postgres'], lines))
        yield Service(server, watcher, work)


@contextmanager
def mysql():
    """Rows are read and changed."""
    table = 'CREATE TABLE stock AS SELECT seq AS item, 100 AS pieces FROM seq_1_to_1000;'
    lines = stock(3, 'CREATE DATABASE shop;', 'USE shop;', table)
    with ExitStack() as held:
        directory = held.enter_context(tempfile.TemporaryDirectory(prefix='promlstm-mysql-'))
        place = ['--no-defaults', f'--basedir={SERVICES}/mysql/usr', f'--datadir={directory}/data']
        install = [*ANYBODY, BIN / 'mariadb-install-db', *place, '--auth-root-authentication-method=normal']
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
        options = [*place, f'--socket={directory}/sock', '--skip-networking']
        server = held.enter_context(Process([*ANYBODY, BIN / 'mariadbd', *options], listens(f'{directory}/sock')))
        where = {'DATA_SOURCE_NAME': f'root@unix({directory}/sock)/'}
        watcher = held.enter_context(exporter('prometheus-mysqld-exporter', environment=where))
        work = held.enter_context(Work([BIN / 'mariadb', '--no-defaults', f'--socket={directory}/sock', '--user=root'], lines))
        yield Service(server, watcher, work)


@contextmanager
def rabbitmq():
    """Messages are sent to a queue, and a consumer takes them."""

    def lines():
        chance = random.Random(4)
        while True:
            yield f'order {chance.random()}'

    with ExitStack() as held:
        directory = Path(held.enter_context(tempfile.TemporaryDirectory(prefix='promlstm-rabbitmq-')))
        port, names_port, nodes_port, watched_port = (free_port() for _ in range(4))
        # The broker looks for its names service, and would leave one running for good where there is none.
        names = {'ERL_EPMD_PORT': str(names_port), 'ERL_EPMD_ADDRESS': '127.0.0.1'}
        held.enter_context(Process([BIN / 'epmd'], listens(names_port), environment=names))
        (directory / 'rabbitmq.conf').write_text(
            f'listeners.tcp.default = 127.0.0.1:{port}\nprometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {watched_port}\n'
        )
        (directory / 'plugins').write_text('[rabbitmq_prometheus].')
        settings = {
            'HOME': str(directory),  # of the cookie
            'RUNNING_UNDER_SYSTEMD': 'true',  # the start script becomes the broker, which then gets our signals
            'RABBITMQ_NODENAME': 'rabbit@localhost',
            'RABBITMQ_DIST_PORT': str(nodes_port),
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': '-kernel inet_dist_use_interface {127,0,0,1}',
            'RABBITMQ_CONF_ENV_FILE': str(directory / 'none'),
            'RABBITMQ_CONFIG_FILE': str(directory / 'rabbitmq.conf'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(directory / 'plugins'),
            'RABBITMQ_MNESIA_BASE': str(directory),
            'RABBITMQ_LOGS': '-',
        }
        server = held.enter_context(Server([BIN / 'rabbitmq-server'], '/metrics', port=watched_port, environment={**names, **settings}))
        held.callback(server.kill)  # it would take seconds to end in order, for what nobody will read
        url = f'--url=amqp://guest:guest@127.0.0.1:{port}'
        subprocess.run([BIN / 'amqp-declare-queue', url, '--queue=orders'], check=True, stdout=subprocess.DEVNULL)
        held.enter_context(Process([BIN / 'amqp-consume', url, '--queue=orders', 'cat'], lambda: True))
        work = held.enter_context(Work([BIN / 'amqp-publish', url, '--routing-key=orders', '--line-buffered'], lines()))
        yield Service(server, server, work)


STARTS = {'mysql': mysql, 'postgres': postgres, 'rabbitmq': rabbitmq, 'redis': redis}
