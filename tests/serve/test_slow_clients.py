"""Many clients, slow clients, and clients that send several requests: none of them keeps others from their answers."""

import contextlib
import itertools
import logging
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from servers import wait_until
from serving import BLOCK, LIMIT, Errors, Exporter

from promlstm.serve.site import Site


def test_concurrent_scrapes_are_all_answered(exporter):
    """Forty at a time, all with the complete page."""
    with ThreadPoolExecutor(40) as pool:
        pages = list(pool.map(lambda _: exporter.get().text, range(80)))
    assert len(set(pages)) == 1 and BLOCK.decode() in pages[0]


def test_silent_clients_block_no_others(exporter):
    """Connections with half a request, or with none, do not keep others waiting."""
    silent = [socket.create_connection(('127.0.0.1', exporter.port)) for _ in range(20)]
    try:
        for connection in silent[::2]:
            connection.sendall(b'GET /metrics HTTP/1.1\r\nHost: ')
        assert exporter.get().status_code == 200
    finally:
        for connection in silent:
            connection.close()


def test_a_client_that_does_not_read_blocks_no_others():
    """A page larger than all buffers is served to others while one client does not read it."""
    with Exporter() as exporter:
        exporter.gauges.publish('big', {'promlstm_observed': [b'promlstm_observed{detector="big"} 1\n' * 500_000]}, expires=1)
        slow = [socket.create_connection(('127.0.0.1', exporter.port)) for _ in range(3)]
        try:
            for connection in slow:
                connection.sendall(b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
                assert connection.recv(12) == b'HTTP/1.1 200'
            assert len(exporter.get().content) > 17_000_000
        finally:
            for connection in slow:
                connection.close()


@pytest.mark.parametrize('said', [b'', b'GET /metrics HTTP/1.1\r\nHost: '])
def test_a_request_has_to_be_complete_in_time(said):
    """A connection that says nothing is closed, and half a request gets a 408."""
    with Exporter(request_seconds=0.05) as exporter, exporter.connect() as connection:
        connection.sendall(said)
        answer = b''.join(iter(lambda: connection.recv(65536), b''))
    assert answer.startswith(b'HTTP/1.1 408 ') if said else answer == b''


def test_a_byte_now_and_then_is_no_request():
    """The time for a request is for the whole of it, however often something arrives."""
    with Exporter(request_seconds=0.3) as exporter, exporter.connect() as connection:
        connection.settimeout(0.02)
        answer = b''
        for byte in itertools.cycle(b'X'):
            try:
                connection.sendall(bytes([byte]))
                answer = connection.recv(100)
            except TimeoutError:
                continue
            except ConnectionError:
                break
            break
        assert answer[:13] in (b'', b'HTTP/1.1 408 ')


def test_a_connection_that_rests_is_closed():
    """After its answer it is kept for a while, and no longer."""
    with Exporter(idle_seconds=0.05) as exporter, exporter.connect() as connection:
        connection.sendall(b'HEAD /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n')
        assert b''.join(iter(lambda: connection.recv(65536), b'')).startswith(b'HTTP/1.1 200 ')


def test_an_answer_that_is_not_read_is_given_up():
    """Whoever stops reading is closed, and what is left of the answer is not sent."""
    with Exporter(stalled_seconds=0.1) as exporter, exporter.connect() as connection:
        exporter.gauges.publish('big', {'promlstm_observed': [b'promlstm_observed{detector="big"} 1\n' * 500_000]}, expires=1)
        connection.sendall(b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
        received = len(connection.recv(1))  # the answer has begun: before, there may be no connection yet that could be closed
        wait_until(lambda: not exporter.server.open_connections, LIMIT, 'the connection to be closed')
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(1 << 20):
                received += len(data)
        assert received < 17_000_000


@pytest.mark.parametrize('kind', ['idle', 'kept', 'drip', 'slow'])
@pytest.mark.parametrize('path', ['/-/healthy', '/metrics'])
def test_whoever_does_nothing_gives_way_to_a_scrape(kind, path):
    """More connections than there are places that say nothing, are kept after an answer, never end a request or never read: a scrape is served.

    They have the address of the scraper, and their own time-out does not come in this test: those that never read give way while they wait
    for their turn, and the scrape has its turn when those before it are given up.
    """
    with Exporter(connections=4, per_client=4, request_seconds=10 * LIMIT, stalled_seconds=2) as exporter, ExitStack() as stack:
        exporter.gauges.publish('big', {'promlstm_observed': [b'promlstm_observed{detector="big"} 1\n' * 500_000]}, expires=1)
        for _ in range(9):
            connection = stack.enter_context(exporter.connect())
            if kind == 'kept':
                connection.sendall(b'HEAD /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n')
                assert connection.recv(12) == b'HTTP/1.1 200'
            elif kind != 'idle':
                connection.sendall(b'GET /metrics HTTP/1.1\r\nHost: x\r\n' + (b'\r\n' if kind == 'slow' else b''))
        assert exporter.get(path).status_code == 200


def test_it_stops_while_all_places_are_taken():
    """Open connections do not keep the exporter from stopping."""
    with Exporter(connections=2, per_client=2) as exporter, exporter.connect(), exporter.connect(), exporter.connect():
        stopping = threading.Thread(target=exporter.server.stop)
        stopping.start()
        stopping.join(LIMIT)
        assert not stopping.is_alive()
    with pytest.raises(OSError):
        exporter.get('/-/healthy')


def test_an_answer_that_has_begun_is_finished_at_the_end():
    """The server stops when the client has read it all, and says that the connection ends."""
    with Exporter(stop_seconds=LIMIT) as exporter, exporter.connect() as connection:
        exporter.gauges.publish('big', {'promlstm_observed': [b'promlstm_observed{detector="big"} 1\n' * 500_000]}, expires=1)
        connection.sendall(b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
        head = connection.recv(12)
        stopping = threading.Thread(target=exporter.server.stop)
        stopping.start()
        answer = head + b''.join(iter(lambda: connection.recv(1 << 20), b''))
        stopping.join(LIMIT)
        assert not stopping.is_alive() and len(answer) > 17_000_000


# -- requests one after the other


def test_requests_that_are_sent_at_once_are_answered_in_their_order(exporter):
    """Pipelining: whatever pieces they arrive in, the answers come in the order of the requests, and a body is no request."""
    got = exporter.send(
        b'GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n'
        b'POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 24\r\n\r\nGET /none HTTP/1.1\r\n\r\n\r\n'
        b'HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n'
        b'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'
        b'GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
        b'GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n'
    )
    assert re.findall(rb'HTTP/1.1 (\d+)', got) == [b'200', b'405', b'200', b'405', b'404']


@pytest.mark.parametrize(
    ('head', 'status'),
    [
        (b'Content-Length: 70000\r\n', b'413'),
        (b'Content-Length: 5\r\nExpect: 100-continue\r\n', b'405'),
        (b'Content-Length: 5\r\nContent-Length: 6\r\n', b'400'),
        (b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', b'400'),
        (b'Transfer-Encoding: gzip\r\n', b'501'),
        (b'Host: y\r\n', b'400'),
    ],
)
def test_a_body_that_is_not_read_ends_the_connection(exporter, head, status):
    """Whatever follows it is no request: nobody can hide one in a body."""
    got = exporter.send(b'POST /metrics HTTP/1.1\r\nHost: x\r\n' + head + b'\r\n0\r\n\r\nGET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n')
    assert re.findall(rb'HTTP/1.1 (\d+)', got)[:1] == [status] and b'HTTP/1.1 200' not in got


@pytest.mark.parametrize(
    ('request_', 'status'),
    [
        (b'HEAD /' + b'x' * 9000 + b' HTTP/1.1\r\nHost: x\r\n', b'414'),
        (b'HEAD / HTTP/1.1\r\nHost: x\r\n' + b'A: b\r\n' * 200, b'431'),
        (b'HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n', b'413'),
        (b'HEAD / HTTP/2.0\r\nHost: x\r\n', b'505'),
        (b'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n', b'405'),
        (b'GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n', b'200'),
        (b'OPTIONS * HTTP/1.1\r\nHost: x\r\n', b'405'),
        (b'GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n', b'400'),
        (b'GET /metrics HTTP/1.1\r\nHost : x\r\n', b'400'),
        (b'GET /metrics HTTP/1.1\r\nHost: x\r\n folded: y\r\n', b'200'),
    ],
)
def test_requests_that_are_rare(exporter, request_, status):
    """Each has its status and nothing is logged as an error; a HEAD has no body either way."""
    errors = Errors()
    logging.getLogger('promlstm.server').addHandler(errors)
    try:
        got = exporter.send(request_ + b'\r\n')
    finally:
        logging.getLogger('promlstm.server').removeHandler(errors)
    assert got.startswith(b'HTTP/1.1 %b ' % status) and errors.records == []
    assert not request_.startswith(b'HEAD') or got.endswith(b'\r\n\r\n')


def test_a_client_that_sends_many_requests_at_once_holds_up_nobody(monkeypatch):
    """Between two of its requests others have their turn."""
    asked, answer = [], Site.answer

    async def noted(site, request):
        asked.append(request.path)
        return await answer(site, request)

    monkeypatch.setattr(Site, 'answer', noted)
    with Exporter() as exporter, exporter.connect() as greedy, exporter.connect() as other:
        for connection in (other, greedy):
            connection.sendall(b'GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n')
            assert connection.recv(12) == b'HTTP/1.1 200'
        greedy.sendall(b'GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n' * 300)
        other.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        wait_until(lambda: len(asked) == 303, LIMIT, 'all requests')
    assert asked.index('/') < 302


def test_http_1_0_gets_its_answer_and_the_end(exporter):
    """Without a Host header, as that version has none."""
    assert exporter.send(b'GET /-/healthy HTTP/1.0\r\n\r\n').endswith(b'\r\n\r\npromlstm is healthy.\n')
