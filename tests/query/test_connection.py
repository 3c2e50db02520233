"""Connections: a kept one that was closed costs nothing, and one deadline and one size limit hold for all of an exchange."""

import gc
import gzip
import json
import socket
import ssl
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from requirements import absent
from servers import wait_until
from wire import LIMIT_SECONDS, Wire, certificate, replying

from promlstm import config
from promlstm.errors import ResponseError, SourceError, SourceUnavailable
from promlstm.query.connection import Deadline
from promlstm.query.http import Http
from promlstm.query.prometheus import Prometheus
from promlstm.query.slots import HANGING, Slots

SHORT = 0.3  # a time-out that is to pass
TO_ASK = 2.0  # one that is to pass after the request was sent, by a busy machine too
ONE = json.dumps({'status': 'success', 'data': {'resultType': 'vector', 'result': [{'metric': {}, 'value': [0, '1']}]}}).encode()


def client(wire, timeout=LIMIT_SECONDS, **settings):
    return Prometheus(config.Source(url=wire.url, timeout=config.Duration(timeout), **settings))


def ask(prometheus):
    """The value of a query; 1.0 where ONE was answered."""
    return prometheus.instant('up', 0).values.tolist()


# -- kept connections


def test_queries_share_a_connection():
    """One after the other takes the same connection."""
    with Wire(replying(lambda request: ONE)) as wire:
        subject = client(wire)
        assert [ask(subject) for _ in range(5)] == [[1.0]] * 5
        assert {request.connection for request in wire.requests} == {0}


@pytest.mark.parametrize('how', ['closed', 'reset', 'status 408'])
def test_a_kept_connection_that_ends_in_the_moment_of_a_query_costs_nothing(how):
    """A balancer's idle time-out passes as the query arrives: it is sent once more on a fresh connection, and nobody notices."""

    def script(peer, number):
        peer.request()
        peer.answer(ONE)
        if peer.request():
            if how == 'reset':
                peer.reset()
            elif how == 'status 408':
                peer.answer(b'Request Timeout', 408, b'Connection: close\r\n')

    with Wire(script) as wire:
        subject = client(wire)
        assert [ask(subject) for _ in range(4)] == [[1.0]] * 4
        assert [request.connection for request in wire.requests] == [0, 0, 1, 1, 2, 2, 3]


def test_what_changes_something_is_sent_once_on_a_fresh_connection():
    """Such as a silence: where the connection ends without an answer, nobody knows whether it was made, and it is not made twice."""

    def script(peer, number):
        peer.request()
        if number == 0:
            peer.answer(b'{}')
            peer.request()  # the kept connection waits for another one, which does not come
        else:
            peer.reset()

    with Wire(script) as wire:
        subject = Http(config.Source(url=wire.url), where='alertmanager')
        subject.send('GET', 'api', {}, 5)
        with pytest.raises(SourceUnavailable):
            subject.send('POST', 'api', {}, 5, json=b'{"a":1}')
        assert [request.connection for request in wire.requests] == [0, 1]
        assert b'{"a":1}' in bytes(wire.requests[1].body)


def test_a_connection_that_was_closed_meanwhile_is_not_used():
    """Its end is seen before a query is sent on it."""

    def script(peer, number):
        peer.request()
        peer.answer(ONE)

    with Wire(script) as wire:
        subject = client(wire)
        for _ in range(3):
            assert ask(subject) == [1.0]
            assert wire.closed.acquire(timeout=LIMIT_SECONDS)
        assert [request.connection for request in wire.requests] == [0, 1, 2]


def test_what_nobody_asked_for_is_no_answer():
    """A second answer to one query is not taken for that of the next."""

    def script(peer, number):
        while peer.request():
            peer.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b' % (len(ONE), ONE) + b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull')

    with Wire(script) as wire:
        subject = client(wire)
        assert [ask(subject) for _ in range(3)] == [[1.0]] * 3
        assert [request.connection for request in wire.requests] == [0, 1, 2]


@pytest.mark.parametrize('kept', [False, True])
def test_an_answer_that_breaks_off_is_not_asked_for_again(kept):
    """Once a byte of an answer has come, and on a connection that never worked, there is no second try: the failure is told."""

    def script(peer, number):
        if kept:
            peer.request()
            peer.answer(ONE)
        if peer.request() and kept:
            peer.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{')

    with Wire(script) as wire:
        subject = client(wire)
        if kept:
            ask(subject)
        with pytest.raises(SourceUnavailable, match='ended the connection during an answer' if kept else 'cannot be reached: the connection was closed'):
            ask(subject)
        assert len(wire.requests) == 1 + kept


def test_a_server_that_is_gone_for_good_is_told_after_one_try():
    """A kept connection ends and nobody listens any more: one error, at once."""
    with Wire(lambda peer, number: (peer.request(), peer.answer(ONE), peer.request())) as wire:
        subject = client(wire)
        assert ask(subject) == [1.0]
        wire.stop_listening()
        with pytest.raises(SourceUnavailable, match='cannot be reached: Connection refused'):
            ask(subject)


def test_no_cookie_is_kept():
    """What one answer sets is not sent with the next query: no balancer's memory, and no session of somebody."""

    def script(peer, number):
        while peer.request():
            peer.answer(ONE, headers=b'Set-Cookie: session=1; Path=/\r\n')

    with Wire(script) as wire:
        subject = client(wire)
        ask(subject), ask(subject)
        assert len(wire.requests) == 2 and not any('Cookie' in request.headers for request in wire.requests)


def test_header_lines_of_any_form_are_read():
    """Plain ones, other cases, bare line feeds, odd characters; and what the parser of `email` is for: folded lines, and lines without a colon."""
    forms = (
        b'content-LENGTH:%d\r\n', b'X-A: \xe9\x0bb\nContent-Length:   %d  \n', b'X-A: one\r\n two\r\nContent-Length: %d\r\n',
        b'Content-Length: %d\r\nX\r\n',
    )  # fmt: skip

    def script(peer, number):
        for form in forms:
            peer.request()
            peer.send(HEAD + form % len(ONE) + b'\r\n' + ONE)

    with Wire(script) as wire:
        subject = client(wire)
        assert [ask(subject) for _ in forms] == [[1.0]] * len(forms)
        assert [request.connection for request in wire.requests] == [0] * len(forms)


def test_header_lines_have_a_limit():
    """A server that sends them for ever is told from one that answers."""
    endless = HEAD + b'X: y\r\n' * 101 + b'\r\n'
    with Wire(lambda peer, number: (peer.request(), peer.send(endless))) as wire, pytest.raises(ResponseError, match='header lines: more than 100'):
        ask(client(wire))


# -- one deadline


HEAD = b'HTTP/1.1 200 OK\r\n'
NEVER_DONE = {
    'nothing at all': lambda peer: peer.gone(),
    'status line': lambda peer: peer.drip(b'H'),
    'headers': lambda peer: (peer.send(HEAD), peer.drip(b'X: y\r\n')),
    'a header line': lambda peer: (peer.send(HEAD + b'X: '), peer.drip(b'y')),
    'informational answers': lambda peer: peer.drip(b'HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n'),
    'body': lambda peer: (peer.send(HEAD + b'Content-Length: 100000\r\n\r\n'), peer.drip()),
    'body without a length': lambda peer: (peer.send(HEAD + b'\r\n'), peer.drip()),
    'chunks': lambda peer: (peer.send(HEAD + b'Transfer-Encoding: chunked\r\n\r\n'), peer.drip(b'1\r\n \r\n')),
    'the line of a chunk': lambda peer: (peer.send(HEAD + b'Transfer-Encoding: chunked\r\n\r\n5'), peer.drip(b';x')),
    'trailers': lambda peer: (peer.send(HEAD + b'Transfer-Encoding: chunked\r\n\r\n0\r\n'), peer.drip(b'X: y\r\n')),
    'a packed body': lambda peer: (
        peer.send(HEAD + b'Content-Encoding: gzip\r\n\r\n' + gzip.compress(b' ')[:10]), peer.drip(b'\x00\x00\x00\xff\xff')
    ),
}  # fmt: skip


@pytest.mark.parametrize('what', NEVER_DONE)
@pytest.mark.parametrize('kept', [False, True], ids=['fresh', 'kept'])
def test_one_time_out_for_the_whole_of_an_exchange(what, kept):
    """Whatever part of an answer comes a little at a time, for ever: the query ends at its time-out, and is not sent again."""

    def script(peer, number):
        if kept:
            peer.request()
            peer.answer(ONE)
        peer.request()
        NEVER_DONE[what](peer)

    with Wire(script) as wire:
        subject = Http(config.Source(url=wire.url))
        if kept:
            subject.send('GET', 'x', {}, LIMIT_SECONDS)
        with pytest.raises(SourceUnavailable, match=f'did not answer within the timeout of {SHORT} s'):
            subject.send('GET', 'x', {}, SHORT)
        assert len(wire.requests) <= 1 + kept  # fewer where a busy server has not read the first by then


@pytest.mark.parametrize('byte_by_byte', [False, True])
def test_a_tls_handshake_is_inside_the_time_out(byte_by_byte):
    """A server that takes the connection and says nothing, or the beginning of a record again and again."""

    def script(peer, number):
        peer.drip(b'\x16\x03\x03\x40\x00' if not peer.sock.recv(1) else b'\x00') if byte_by_byte else peer.gone()

    with Wire(script) as wire:
        wire.url = wire.url.replace('http:', 'https:')
        with pytest.raises(SourceUnavailable, match=f'did not answer within the timeout of {SHORT} s|TLS: ') as caught:
            ask(client(wire, timeout=SHORT))
        assert byte_by_byte or 'did not answer within' in str(caught.value)


def test_a_proxy_is_inside_the_time_out():
    """A proxy that never says whether there is a tunnel."""
    with Wire(lambda peer, number: (peer.request(), peer.gone())) as wire:
        source = config.Source(url='https://prometheus.example', proxy_url=wire.url, timeout=config.Duration(TO_ASK))
        with pytest.raises(SourceUnavailable, match=f'did not answer within the timeout of {TO_ASK:g} s'):
            Prometheus(source).instant('up', 0)
        wait_until(lambda: wire.requests, LIMIT_SECONDS, 'the proxy to read the request')  # it may be slower than we are
        assert (wire.requests[0].method, wire.requests[0].target) == ('CONNECT', 'prometheus.example:443')


def test_a_name_server_is_inside_the_time_out(monkeypatch):
    """The look-up of a name that never ends is left alone."""
    looked_up, over, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def slow(host, *args, flags=0, **options):
        if flags:
            return real(host, *args, flags=flags, **options)
        looked_up.set()
        over.wait(LIMIT_SECONDS)
        return []

    monkeypatch.setattr('socket.getaddrinfo', slow)
    with pytest.raises(SourceUnavailable, match='did not answer within the timeout'):
        Prometheus(config.Source(url='http://prometheus.example', timeout=config.Duration(SHORT))).instant('up', 0)
    assert looked_up.is_set()
    over.set()


# -- how many at once


def test_queries_that_hang_hold_up_nobody():
    """With as many queries in flight as may be, none of which is answered, another one has its answer."""
    arrived = threading.Semaphore(0)

    def script(peer, number):
        while request := peer.request():
            if request.form['query'] == 'bad':
                arrived.release()
                peer.gone()
                return
            peer.answer(ONE)

    def hang(subject):
        with pytest.raises(SourceUnavailable):
            subject.instant('bad', 0)

    with Wire(script) as wire:
        subject = client(wire, concurrency=2)
        for _ in range(6):
            threading.Thread(target=hang, args=(subject,), daemon=True).start()
        assert all(arrived.acquire(timeout=LIMIT_SECONDS) for _ in range(6))
        assert [ask(subject) for _ in range(3)] == [[1.0]] * 3


def test_a_server_is_spared():
    """Of many quick queries no more than `concurrency` are in flight at once."""
    lock, now, most = threading.Lock(), [0], [0]
    both = threading.Barrier(2, timeout=LIMIT_SECONDS)

    def answer(request):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        both.wait()
        with lock:
            now[0] -= 1
        return ONE

    with Wire(replying(answer)) as wire, ThreadPoolExecutor(8) as pool:
        subject = client(wire, concurrency=2)
        subject._http._slots = Slots(2, counted_seconds=LIMIT_SECONDS)
        assert list(pool.map(lambda _: ask(subject), range(16))) == [[1.0]] * 16
        assert most == [2]


def test_only_so_many_may_hang():
    """They do not count after their first second, but hundreds of detectors must not ask a busy server at once."""
    slots = Slots(1, counted_seconds=0.0)
    with ExitStack() as hanging:
        for _ in range(HANGING):
            hanging.enter_context(slots.one(Deadline(LIMIT_SECONDS)))
        with pytest.raises(TimeoutError), slots.one(Deadline(0.05)):
            pass
    with slots.one(Deadline(0.05)):
        pass


def test_waiting_for_a_turn_is_inside_the_time_out():
    """And ends at it."""
    slots = Slots(1, counted_seconds=LIMIT_SECONDS)
    with slots.one(Deadline(LIMIT_SECONDS)), pytest.raises(TimeoutError), slots.one(Deadline(0.05)):
        pass
    with slots.one(Deadline(0.05)):
        pass


# -- one size limit


def test_a_redirect_is_refused_by_its_head():
    """Its body, which may have no end, is neither waited for nor unpacked, and the other place is not asked."""

    def script(peer, number):
        peer.request()
        peer.send(b'HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 1000000\r\nContent-Encoding: gzip\r\n\r\n')
        peer.gone()

    with Wire(script) as wire:
        with pytest.raises(ResponseError, match='/api/v1/query redirects to /login: set its url to the address that answers'):
            ask(client(wire))
        assert wire.closed.acquire(timeout=LIMIT_SECONDS) and len(wire.requests) == 1


def test_a_bomb_is_never_in_memory():
    """An answer that unpacks to a thousand times its size is refused at the limit, with no more than a few pieces of it in memory."""
    bomb = gzip.compress(bytes(200_000_000), 9)
    with Wire(lambda peer, number: (peer.request(), peer.answer(bomb, headers=b'Content-Encoding: gzip\r\n'))) as wire:
        subject = client(wire, max_response=config.Size(1_000_000))
        tracemalloc.start()
        try:
            with pytest.raises(ResponseError, match='more than max_response'):
                ask(subject)
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


def test_an_answer_is_in_memory_once():
    """Its parts and their whole are never held side by side: the limit of an answer is near to what the process needs for it."""
    size, piece = 50_000_000, b' ' * 1_000_000

    def script(peer, number):
        peer.request()
        peer.send(HEAD + b'Content-Length: %d\r\n\r\n%b' % (len(ONE) + size, ONE))
        for _ in range(size // len(piece)):
            peer.send(piece)

    with Wire(script) as wire:
        subject = client(wire)
        tracemalloc.start()
        try:
            assert ask(subject) == [1.0]
            assert tracemalloc.get_traced_memory()[1] < 1.3 * size  # a growing bytearray has an eighth in reserve
        finally:
            tracemalloc.stop()


REFUSED = {
    'no JSON': b'<html>',
    'an unknown shape': b'{"status":"success","data":{"resultType":"vector","result":[5]}}',
    'a wrong expression': b'{"status":"error","errorType":"bad_data","error":"x"}',
    'larger than max_response': b'{',
}


@pytest.mark.parametrize('why', REFUSED)
def test_a_refused_answer_is_not_kept(why):
    """With the collector of garbage off, as in a running exporter: what cannot be used is out of memory as soon as that is told."""
    size, piece = 20_000_000, b' ' * 1_000_000

    def script(peer, number):
        while peer.request():
            peer.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b' % (len(REFUSED[why]) + size, REFUSED[why]))
            for _ in range(size // len(piece)):
                peer.send(piece)

    with Wire(script) as wire:
        subject = client(wire, max_response=config.Size(size - 5_000_000 if 'larger' in why else size + 1000))
        gc.disable()
        tracemalloc.start()
        try:
            with pytest.raises(SourceError):
                ask(subject)
            assert tracemalloc.get_traced_memory()[0] < 1_000_000 and tracemalloc.get_traced_memory()[1] < 1.3 * size
        finally:
            tracemalloc.stop()
            gc.enable()


def test_packed_parts_are_joined():
    """Several members of gzip in one body, cut anywhere, are one answer."""
    body = gzip.compress(ONE[:20]) + gzip.compress(ONE[20:])

    def script(peer, number):
        peer.request()
        peer.send(HEAD + b'Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n')
        for byte in body:
            peer.send(b'1\r\n%c\r\n' % byte)
        peer.send(b'0\r\n\r\n')

    with Wire(script) as wire:
        assert ask(client(wire)) == [1.0]


# -- TLS and proxies


@pytest.fixture(scope='module')
def authority(tmp_path_factory):
    """(certificate file, ssl.SSLContext of a server)."""
    try:
        return certificate(tmp_path_factory.mktemp('authority'))
    except FileNotFoundError:
        absent('no openssl here to make a certificate with')


def test_a_private_authority_by_file_and_by_variable(authority, monkeypatch):
    """`ca_file`, or what OpenSSL and requests are told by SSL_CERT_FILE and REQUESTS_CA_BUNDLE; without one the reason is the certificate."""
    file, context = authority
    for name in ('SSL_CERT_FILE', 'SSL_CERT_DIR', 'REQUESTS_CA_BUNDLE'):
        monkeypatch.delenv(name, raising=False)
    with Wire(replying(lambda request: ONE), context=context) as wire:
        with pytest.raises(SourceUnavailable, match=r'cannot be reached: its certificate is not trusted \(self.signed certificate\); set tls_config.ca_file'):
            ask(client(wire))
        assert ask(client(wire, tls_config=config.TLS(ca_file=str(file)))) == [1.0]
        assert ask(client(wire, tls_config=config.TLS(insecure_skip_verify=True))) == [1.0]
        for name in ('SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE'):
            with monkeypatch.context() as patch:
                patch.setenv(name, str(file))
                assert ask(client(wire)) == [1.0]


def test_a_kept_tls_connection_that_was_closed_costs_nothing(authority):
    """The same as without TLS."""
    file, context = authority

    def script(peer, number):
        peer.request()
        peer.answer(ONE)
        peer.request()

    with Wire(script, context=context) as wire:
        subject = client(wire, tls_config=config.TLS(ca_file=str(file)))
        assert [ask(subject) for _ in range(3)] == [[1.0]] * 3
        assert [request.connection for request in wire.requests] == [0, 0, 1, 1, 2]


def test_plain_http_where_tls_is_expected_says_what_to_write():
    """https:// in the URL of a server without TLS."""
    with Wire(lambda peer, number: (peer.sock.recv(1000), peer.answer(b'bad request', 400))) as wire:
        wire.url = wire.url.replace('http:', 'https:')
        with pytest.raises(SourceUnavailable, match='TLS: the server does not use TLS at this port: write http:// in its url'):
            ask(client(wire))


def test_only_the_proxy_of_the_configuration_is_used(monkeypatch):
    """What the environment names is not asked; a proxy of http gets the whole URL."""
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.setenv(name, 'http://127.0.0.1:1')
    with Wire(replying(lambda request: ONE)) as wire:
        assert ask(client(wire)) == [1.0]
        source = config.Source(url='http://prometheus.example/prom', proxy_url=wire.url)
        assert Prometheus(source).instant('up', 0).values.tolist() == [1.0]
        assert [request.target for request in wire.requests] == ['/api/v1/query', 'http://prometheus.example/prom/api/v1/query']
        assert wire.requests[1].headers['Host'] == 'prometheus.example'


@pytest.mark.parametrize('secure', [False, True], ids=['http proxy', 'https proxy'])
def test_https_by_way_of_a_proxy(authority, secure):
    """A tunnel, and TLS inside of it; inside of the proxy's own TLS, where it has some."""
    file, context = authority

    def script(peer, number):
        peer.request()
        peer.send(b'HTTP/1.1 200 Connection established\r\n\r\n')
        if secure:
            serve_inside(peer)
        else:
            peer.wire.context = context
            peer.encrypt()
            replying(lambda request: ONE)(peer, number)

    def serve_inside(peer):
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(into, out, server_side=True)

        def run(function):
            while True:
                try:
                    done = function()
                    peer.send(out.read())
                    return done
                except ssl.SSLWantReadError:
                    peer.send(out.read())
                    into.write(peer.sock.recv(65536))

        run(tls.do_handshake)
        run(tls.read)
        run(lambda: tls.write(HEAD + b'Content-Length: %d\r\n\r\n%b' % (len(ONE), ONE)))
        peer.gone()

    with Wire(script, context=context if secure else None) as wire:
        source = config.Source(
            url='https://127.0.0.1:4443', proxy_url=wire.url, tls_config=config.TLS(ca_file=str(file)), timeout=config.Duration(LIMIT_SECONDS)
        )
        assert Prometheus(source).instant('up', 0).values.tolist() == [1.0]
        assert wire.requests[0].target == '127.0.0.1:4443'
