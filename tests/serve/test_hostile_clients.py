"""All at once: clients that read nothing, that write a byte now and then, that come in hundreds, that flood the server with nonsense. A real
Prometheus goes on scraping, and probes are answered, from the same address as all of them.
"""

import contextlib
import subprocess
import sys
import time
import warnings

import bcrypt
import pytest
import requests
from authority import Authority
from exporter import RUNTIME
from servers import READY_SECONDS, ROOT, Process, Prometheus, free_port, wait_until

SERVER = '''
import signal, sys, time
from promlstm import logs
from promlstm.serve.page import Page
from promlstm.serve.server import Server
from promlstm.serve.site import Site
from promlstm.serve.telemetry import Telemetry
from promlstm.serve.web import Web
logs.setup()
page = Page(lambda: 0.0)
lines = b''.join(b'promlstm_anomaly_score{detector="cpu",instance="%d",job=""} 0.5\\n' % n for n in range(100_000))
page.publish('cpu', {'promlstm_anomaly_score': [lines]}, expires=1)
telemetry = Telemetry()
web = Web(*sys.argv[2:], telemetry) if sys.argv[2:] else None
server = Server(sys.argv[1], Site(page=page, telemetry=telemetry, statuses=dict, ready=lambda: True), web=web)
server.start()
signal.sigwait([signal.SIGTERM])
server.stop()
'''
# Each is a process, so that it has an interpreter of its own. It opens its connections, says so, and goes on until it is ended.
CLIENTS = '''
import contextlib, itertools, socket, sys, time
kind, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
request = b'GET /metrics HTTP/1.1\\r\\nHost: x\\r\\n'

def opened():
    while True:
        with contextlib.suppress(OSError):
            connection = socket.create_connection(('127.0.0.1', port), timeout=5)
            if kind == 'reads-nothing':
                connection.sendall(request + b'\\r\\n')
            elif kind == 'writes-slowly':
                connection.sendall(request)
            elif kind == 'rests':
                connection.sendall(b'HEAD /-/healthy HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
            connection.setblocking(False)
            return connection

def flood():
    brew = b'BREW /metrics HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'
    nonsense = itertools.cycle([b'nonsense\\r\\n\\r\\n', b'GET /' + b'x' * 9000, b'\\x16\\x03\\x01' * 50, brew, b''])
    print('opened', flush=True)
    while True:
        with contextlib.suppress(OSError):
            connection = socket.create_connection(('127.0.0.1', port), timeout=1)
            connection.sendall(next(nonsense))
            connection.close()

if kind == 'nonsense':
    flood()
held = [opened() for _ in range(count)]
print('opened', flush=True)
while True:
    for n, connection in enumerate(held):
        try:
            if kind == 'writes-slowly':
                connection.send(b'X')
            elif kind != 'reads-nothing' and not connection.recv(1000):
                raise ConnectionResetError
        except BlockingIOError:
            pass
        except OSError:
            connection.close()
            held[n] = opened()
    time.sleep(0.05)
'''


def attackers(stack, port):
    """All kinds at once; returns when each of them has its connections."""
    for kind, count in (('silent', 300), ('writes-slowly', 300), ('rests', 200), ('reads-nothing', 200), *[('nonsense', 0)] * 2):
        child = stack.enter_context(subprocess.Popen([sys.executable, '-c', CLIENTS, kind, str(port), str(count)], stdout=subprocess.PIPE))
        stack.callback(child.kill)
        assert child.stdout.readline() == b'opened\n'


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize('scheme', [pytest.param('http', marks=pytest.mark.accept), 'https'])  # each alone: test_slow_clients.py
def test_a_scrape_goes_on_whoever_else_is_there(tmp_path, scheme, accept):
    """Not one scrape of three (`make accept`: six) fails, and each probe is answered, while a thousand connections of all kinds are held and a flood goes on.

    With TLS what these send is no handshake, or half of one, and the scraper shows a password.
    """
    address = f'127.0.0.1:{free_port()}'
    url, port = f'{scheme}://{address}', int(address.rpartition(':')[2])
    command = [RUNTIME if RUNTIME.exists() else sys.executable, '-c', SERVER, address]
    job = {'job_name': 'promlstm', 'static_configs': [{'targets': [address]}], 'scrape_interval': '5s', 'scrape_timeout': '5s'}
    if scheme == 'https':
        authority, password = Authority(tmp_path / 'ca'), bcrypt.hashpw(b'secret', bcrypt.gensalt(10)).decode()
        cert, key = authority.sign('server')
        file = tmp_path / 'web.yml'
        file.write_text(f'tls_server_config: {{cert_file: {cert}, key_file: {key}}}\nbasic_auth_users: {{alice: {password}}}\n')
        command.append(file)
        job |= {'scheme': 'https', 'tls_config': {'ca_file': str(authority.file)}, 'basic_auth': {'username': 'alice', 'password': 'secret'}}
    with Process(command, lambda: probe(url, '/-/healthy'), cwd=ROOT) as server, Prometheus(tmp_path, [job]) as prometheus:
        prometheus.wait_for('up{job="promlstm"} == 1')
        with contextlib.ExitStack() as stack:
            attackers(stack, port)
            began = time.time()
            probes, scrapes = 0, 6 if accept else 3

            def scraped():
                nonlocal probes
                assert probe(url, '/-/healthy') and probe(url, '/-/ready')
                probes += 1
                return probes > 10 and len(up_since(prometheus, began)) >= scrapes

            wait_until(scraped, 2 * READY_SECONDS, f'more than ten probes and {scrapes} scrapes')
            values = up_since(prometheus, began)
        assert set(values) == {1.0}, values
        assert 'Traceback' not in server.log.read_text()


def probe(url, path):
    """Whether a probe succeeds: over a fresh connection, without a look at the certificate, as a kubelet asks."""
    with requests.Session() as fresh, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        fresh.trust_env = False
        return fresh.get(url + path, timeout=READY_SECONDS, verify=False).ok


def up_since(prometheus, began):
    """The samples of `up` since a time, one of each scrape."""
    found = prometheus.query(f'up{{job="promlstm"}}[{max(1, int(time.time() - began))}s]')
    return [float(value) for series in found for _, value in series['values']]
