"""Web servers that could serve the page: the effect of slow clients on each, the time to the first byte, and what each installs.

It measures those that are installed, for instance after `pip install uvicorn hypercorn granian cheroot`; promlstm needs none of them.
"""

import contextlib
import importlib.metadata
import re
import socket
import subprocess
import sys
import threading
import time

PATIENCE_SECONDS = 25  # a connection that is still open after this counts as kept for good
HALF_OPEN = 70
HALF = b'GET /metrics HTTP/1.1\r\nHost: x\r\nX: '
REQUESTS = 300
PAGE = "PAGE = b''.join(b'promlstm_anomaly_score{detector=\"cpu\",instance=\"%d\",job=\"\"} 0.5\\n' % n for n in range(100_000))\n"
ASGI = (
    PAGE
    + '''
async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        while True:
            kind = (await receive())['type']
            await send({'type': kind + '.complete'})
            if kind == 'lifespan.shutdown':
                return
    body = PAGE if scope['path'] == '/metrics' else b'healthy'
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'%d' % len(body))]})
    await send({'type': 'http.response.body', 'body': body})
'''
)
WSGI = (
    PAGE
    + '''
from cheroot.wsgi import Server
def app(environ, start):
    body = PAGE if environ['PATH_INFO'] == '/metrics' else b'healthy'
    start('200 OK', [('Content-Length', str(len(body)))])
    return [body]
Server(('127.0.0.1', PORT), app).start()
'''
)
OURS = (
    PAGE
    + '''
import signal
from promlstm.serve.page import Page
from promlstm.serve.server import Server
from promlstm.serve.site import Site
from promlstm.serve.telemetry import Telemetry
page = Page(lambda: 0.0)
page.publish('cpu', {'promlstm_anomaly_score': [PAGE]}, expires=1)
Server(f'127.0.0.1:{PORT}', Site(page=page, telemetry=Telemetry(process=False), statuses=dict, ready=lambda: True)).start()
signal.pause()
'''
)
# name: (package, program)
CANDIDATES = {
    'uvicorn': ('uvicorn', ASGI + "import uvicorn\nuvicorn.run(app, host='127.0.0.1', port=PORT, log_level='critical')\n"),
    'hypercorn': (
        'hypercorn',
        ASGI + 'import asyncio\nfrom hypercorn.asyncio import serve\nfrom hypercorn.config import Config\nconfig = Config()\n'
        "config.bind = [f'127.0.0.1:{PORT}']\nasyncio.run(serve(app, config))\n",
    ),
    'granian': (
        'granian',
        ASGI + 'import asyncio\nfrom granian.constants import Interfaces\nfrom granian.server.embed import Server\n'
        "asyncio.run(Server(app, address='127.0.0.1', port=PORT, interface=Interfaces.ASGI, log_enabled=False).serve())\n",
    ),
    'cheroot': ('cheroot', WSGI),
    'asyncio + h11 (promlstm)': ('h11', OURS),
}


def main():
    """Print a row for each candidate."""
    heads = ('half a request', 'unread answer', f'probe beside {HALF_OPEN}', 'first byte p50', 'p99', 'installs')
    print(f'  {"":26}' + ''.join(f'{head:>18}' for head in heads))
    for name, (package, program) in CANDIDATES.items():
        try:
            size = sum(_sizes(package).values())
        except importlib.metadata.PackageNotFoundError:
            print(f'  {name:26}{"not installed":>18}')
            continue
        print(f'  {name:26}' + ''.join(f'{cell:>18}' for cell in (*measure(program), f'{size / 1e6:.1f} MB')), flush=True)


def measure(program):
    """The cells of one server."""
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    child = subprocess.Popen([sys.executable, '-c', f'PORT = {port}\n{program}'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until_open(port)
        times = sorted(_first_byte(port) for _ in range(REQUESTS))
        half, waits = _opened(port, HALF), {}
        watched = [
            threading.Thread(target=lambda: waits.update(half=_closed(half, b'X'))),
            threading.Thread(target=lambda: waits.update(unread=_unread(port))),
        ]
        for thread in watched:
            thread.start()
        time.sleep(1)
        held = [_opened(port, HALF) for _ in range(HALF_OPEN)]
        dripping = threading.Thread(target=_drip, args=(held, done := threading.Event()))
        dripping.start()
        probe = _probe(port)
        for thread in watched:
            thread.join()
        done.set()
        dripping.join()
    finally:
        child.kill()
        child.wait()
    return waits['half'], waits['unread'], probe, f'{times[REQUESTS // 2] * 1e3:.1f} ms', f'{times[int(REQUESTS * 0.99)] * 1e3:.1f} ms'


def _opened(port, data):
    connection = socket.create_connection(('127.0.0.1', port), timeout=PATIENCE_SECONDS)
    connection.sendall(data)
    return connection


def _until_open(port):
    while True:
        try:
            return _opened(port, b'').close()
        except OSError:
            time.sleep(0.1)


def _first_byte(port):
    start = time.perf_counter()
    with _opened(port, b'GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n') as connection:
        connection.recv(1)
        taken = time.perf_counter() - start
        while connection.recv(1 << 20):
            pass
    return taken


def _probe(port):
    start = time.perf_counter()
    try:
        with _opened(port, b'GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n') as connection:
            connection.recv(1)
    except OSError:
        return 'no answer'
    return f'{(time.perf_counter() - start) * 1e3:.0f} ms'


def _drip(held, done):
    while not done.wait(0.5):
        for connection in held:
            with contextlib.suppress(OSError):
                connection.send(b'X')


def _closed(connection, byte):
    """When the server ends a connection that sends a byte now and then."""
    start = time.monotonic()
    connection.settimeout(0.5)
    while time.monotonic() - start < PATIENCE_SECONDS:
        try:
            connection.send(byte)
            if not connection.recv(1000):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        return 'kept'
    return f'ends after {time.monotonic() - start:.0f} s'


def _unread(port):
    """When the server ends an answer that is not read: the kernel no longer lists its connection."""
    start = time.monotonic()
    with _opened(port, b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n') as connection:
        mine = f'127.0.0.1:{connection.getsockname()[1]}'
        while time.monotonic() - start < PATIENCE_SECONDS:
            time.sleep(0.5)
            listed = subprocess.run(['ss', '-tnH', f'sport = :{port}'], capture_output=True, text=True, check=True).stdout
            if not re.search(rf'ESTAB.* {mine}\b', listed):
                return f'ends after {time.monotonic() - start:.0f} s'
    return 'kept'


def _sizes(package):
    """{package: bytes on disk}, including its dependencies."""
    found, wanted = {}, [package]
    while wanted:
        name = re.split(r'[^A-Za-z0-9_.-]', wanted.pop())[0].lower()
        if name not in found:
            distribution = importlib.metadata.distribution(name)
            found[name] = sum(file.locate().stat().st_size for file in distribution.files or () if file.locate().is_file())
            wanted += [need for need in distribution.requires or () if 'extra ==' not in need and 'python_version' not in need and 'sys_platform' not in need]
    return found
