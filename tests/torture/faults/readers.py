"""Those who read promlstm's own pages: storms of them, idle ones, slow ones, and those who send nonsense. A scrape beside them gets its page."""

import random
import socket
import threading
import time
from contextlib import closing, suppress

from torture.faults import Fault, Subject
from torture.lane import CALM, STEPS, STRUCK, Lane, held, recover
from torture.rows import Attempt

ALL = (*STRUCK, *CALM)
SECONDS = 10
THREADS = 16
IDLE = 100  # more connections than are served at once
NONSENSE = (
    b'GET /../../etc/passwd?%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    b'GET /metrics HTTP/1.0\r\n\r\n',
    b'GET /metrics\r\n',
    b'GET /metrics HTTP/1.1\r\nX: ' + b'a' * 70_000 + b'\r\n\r\n',
    b'GET /metrics HTTP/1.1\r\n' + b'X: a\r\n' * 200 + b'\r\n',
    b'GET /' + b'a' * 70_000 + b' HTTP/1.1\r\n\r\n',
    b'BREW /metrics HTTP/1.1\r\nHost: x\r\n\r\n',
    b'POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello',
    b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(range(200)) + b'\r\n\r\n',
    b'GET http://[::1 HTTP/1.1\r\n\r\n',
    b'GET / HTTP/9.9\r\n\r\n',
    b'GET /\x00 HTTP/1.1\r\n\r\n',
    b'GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=\xff;q=zz\r\nAccept-Encoding: ;;,gzip;q=\r\nConnection: close\r\n\r\n',
    b'',
)
PLAIN = b'GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n'


def connect(lane):
    host, port = lane.address.split(':')
    connection = socket.create_connection((host, int(port)), timeout=5)
    connection.settimeout(5)
    return connection


def once(lane, data):
    """Send something and read what comes, until the other side closes or time is up."""
    with suppress(OSError), closing(connect(lane)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


def crowd(lane, choose):
    """Many at once, for SECONDS."""
    over = threading.Event()

    def one():
        while not over.is_set():
            once(lane, choose())

    threads = [threading.Thread(target=one, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        lane.world.pause(SECONDS)
    finally:
        over.set()
        for thread in threads:
            thread.join(10)


def idle(lane):
    """Connections that say nothing."""
    held_open = []
    try:
        for _ in range(IDLE):
            with suppress(OSError):
                held_open.append(connect(lane))
        lane.world.pause(SECONDS)
    finally:
        for connection in held_open:
            connection.close()


def dripping(lane):
    """Requests that come a byte at a time and never end."""
    held_open, ends = [], time.monotonic() + SECONDS
    try:
        for _ in range(IDLE):
            with suppress(OSError):
                held_open.append(connect(lane))
        while time.monotonic() < ends:
            for connection in held_open:
                with suppress(OSError):
                    connection.send(b'G')
            lane.world.pause(0.5)
    finally:
        for connection in held_open:
            connection.close()


def slow(lane):
    """Readers that take a byte of the page in half a second."""
    held_open, ends = [], time.monotonic() + SECONDS
    try:
        for _ in range(IDLE):
            with suppress(OSError):
                connection = connect(lane)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                connection.sendall(b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n' * 20)
                held_open.append(connection)
        while time.monotonic() < ends:
            for connection in held_open:
                with suppress(OSError):
                    connection.recv(1)
            lane.world.pause(0.5)
    finally:
        for connection in held_open:
            connection.close()


def beside(name, what):
    """Readers of a kind; the steps go on, and a scrape beside them has its page but for a moment."""

    def attempt(lane):
        tried, began, odd = Attempt(), time.time(), len(lane.reader.odd)
        missed = {each: lane.metric('promlstm_detector_missed_steps_total', each) for each in ALL}
        lane.reader.relaxed.set()
        what(lane)
        lane.reader.relaxed.clear()
        healed = time.time()
        tried.survived = lane.alive
        during = [page for page in lane.reader.since(began) if page.at < healed]
        if not any(page.there for page in during):
            tried.problems.append(f'no scrape of {len(during)} had its page')
        recover(lane, tried, tuple(STEPS), healed)
        held(lane, tried, (), healed, odd)
        more = {each: lane.metric('promlstm_detector_missed_steps_total', each) - missed[each] for each in ALL}
        tried.problems += [f'{each}: {count:g} steps were missed' for each, count in more.items() if count]
        tried.problems += ['a traceback in the log'] if 'Traceback' in lane.logged() else []
        tried.compared = lane.world.compared(lane.reader, began, time.time())
        return tried

    return Fault(name, attempt, (1, 3))


SUBJECT = Subject(
    'readers',
    Lane,
    (
        beside('a storm of scrapes', lambda lane: crowd(lane, lambda: PLAIN)),
        beside('a storm of nonsense', lambda lane: crowd(lane, lambda: random.choice(NONSENSE))),
        beside(f'{IDLE} idle connections', idle),
        beside(f'{IDLE} requests that drip', dripping),
        beside(f'{IDLE} readers that are slow', slow),
    ),
)
