"""The web server: its answers, and that no client can keep it from answering others."""

import errno
import gzip
import logging
import os
import re
import socket
from contextlib import closing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from servers import http
from serving import BLOCK, LIMIT, Errors, Exporter

from promlstm import __version__
from promlstm.errors import ConfigError
from promlstm.serve import server, site

PROMETHEUS_2 = 'application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3'
PROMETHEUS_3 = (
    'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,'
    'text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2'
)


# -- pages


def test_the_page_has_entity_gauges_and_own_metrics(exporter):
    """Gauges of the detectors first, then the metrics of the exporter, by default in the classic format."""
    got = exporter.get()
    assert (got.status_code, got.headers['Content-Type']) == (200, 'text/plain; version=0.0.4; charset=utf-8')
    assert BLOCK.decode() in got.text
    assert {family.name for family in parse_text(got.text)} >= {'promlstm_anomaly_score', 'promlstm_build_info'}


@pytest.mark.parametrize('accept', [PROMETHEUS_2, PROMETHEUS_3])
def test_prometheus_gets_openmetrics(exporter, accept):
    """The page is in the format that Prometheus prefers, complete, with # EOF as its last line."""
    got = exporter.get(Accept=accept)
    assert got.headers['Content-Type'].startswith('application/openmetrics-text; version=1.0.0')
    assert got.text.endswith('\n# EOF\n') and got.text.count('# EOF') == 1
    assert 'promlstm_anomaly_score' in {family.name for family in parse_openmetrics(got.text)}


@pytest.mark.parametrize(
    'accept', ['', '*/*', 'text/html', 'application/openmetrics-text; version=a.b', ';;,=', 'application/openmetrics-text; version=']
)
def test_any_accept_header_gets_a_page(exporter, accept):
    """A malformed header gets the page in a format that its content type names."""
    got = exporter.get(Accept=accept)
    parse = parse_openmetrics if 'openmetrics' in got.headers['Content-Type'] else parse_text
    assert got.status_code == 200 and 'promlstm_anomaly_score' in {family.name for family in parse(got.text)}


@pytest.mark.parametrize('accept', ['', PROMETHEUS_3])
@pytest.mark.parametrize(
    ('encoding', 'packed'),
    [
        ('gzip', True), ('deflate, gzip;q=1.0, *;q=0.5', True), ('GZIP', True),
        ('identity', False), ('gzip;q=0', False), ('gzip; q=0.0', False), ('xgzip', False),
    ],
)  # fmt: skip
def test_the_page_is_compressed_on_request(exporter, accept, encoding, packed):
    """The text is the same either way, also for a reader that decompresses one gzip member after the other."""
    got = http.get(f'{exporter.url}/metrics', headers={'Accept': accept, 'Accept-Encoding': encoding}, timeout=LIMIT, stream=True)
    body = got.raw.read(decode_content=False)
    assert (got.headers.get('Content-Encoding') == 'gzip') == packed
    assert int(got.headers['Content-Length']) == len(body)
    assert (gzip.decompress(body) if packed else body).decode() == exporter.get(Accept=accept).text


def test_healthy(exporter):
    """Liveness is about the process, not about Prometheus."""
    got = exporter.get('/-/healthy')
    assert (got.status_code, got.text) == (200, 'promlstm is healthy.\n')


def test_ready_lists_the_detectors(exporter):
    """Not ready is a 503; either way the answer has the status of each detector."""
    got = exporter.get('/-/ready')
    assert (got.status_code, got.text) == (200, 'promlstm is ready.\ncpu: scoring\n<b>"disk"</b>: query: no & route\n')
    exporter.ready = False
    try:
        got = exporter.get('/-/ready')
    finally:
        exporter.ready = True
    assert got.status_code == 503 and got.text.startswith('promlstm is not ready.\n')
    assert got.headers['Content-Type'] == 'text/plain; charset=utf-8'


def test_the_landing_page_is_safe(exporter):
    """Names and reasons come from outside: they are escaped, and the page forbids scripts."""
    got = exporter.get('/')
    assert (got.status_code, got.headers['Content-Type']) == (200, 'text/html; charset=utf-8')
    assert '&lt;b&gt;&quot;disk&quot;&lt;/b&gt;' in got.text and '<b>' not in got.text and 'no &amp; route' in got.text
    assert got.headers['Content-Security-Policy'].startswith("default-src 'none'") and got.headers['X-Content-Type-Options'] == 'nosniff'
    assert __version__ in got.text and 'href="metrics"' in got.text


@pytest.mark.parametrize('path', ['/metrics/', '/favicon.ico', '/-/reload/', '/../etc/passwd', '/%2e%2e/'])
def test_other_paths_are_not_found(exporter, path):
    """Any other path is a 404 that lists the valid paths."""
    got = exporter.send(f'GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'.encode())
    assert got.startswith(b'HTTP/1.1 404 ') and got.endswith(b'Not found. There are /, /metrics, /-/healthy and /-/ready.\n')


def test_all_paths_begin_with_the_prefix():
    """Probes too; the bare host and the prefix without a slash lead to the landing page, whose links are relative."""
    with Exporter() as exporter:
        exporter.site._prefix = '/tools/promlstm'
        got = exporter.get('/')
        assert got.url == f'{exporter.url}/tools/promlstm/' and got.ok and 'href="-/ready"' in got.text
        assert exporter.get('/tools/promlstm').url == got.url
        for path in ('/metrics', '/-/healthy', '/-/ready'):
            assert exporter.get('/tools/promlstm' + path).ok and exporter.get(path).status_code == 404
        for path in ('/tools', '/tools/promlstmetrics', '/tools/promlstm//metrics', '/other/tools/promlstm/metrics'):
            assert exporter.get(path).status_code == 404
        assert '/tools/promlstm/-/ready.' in exporter.get('/none').text


@pytest.mark.parametrize('url', ['', 'host', 'ftp://host', 'http://', 'http://a:b@host/', 'http://host/?a', 'http://host/#a', 'http://[', '/path'])
def test_invalid_external_urls(url):
    """The message has the flag and what is expected, and not the password that may stand in the URL."""
    with pytest.raises(ConfigError) as caught:
        site.prefix_of(url, None)
    assert str(caught.value) == '--web.external-url: expected http://HOST/PATH or https://HOST/PATH, without a user, a query and a fragment'


@pytest.mark.parametrize('prefix', ['/a b', '/a//b', '/../a', '/a?b', '/ä', '/a\r\nb: c', 'a%2fb'])
def test_invalid_prefixes(prefix):
    """What no client would ask for as it is written, or what means another path."""
    with pytest.raises(ConfigError, match=r'^--web\.route-prefix: expected a path such as /promlstm, got '):
        site.prefix_of(None, prefix)


def test_a_query_string_changes_nothing(exporter):
    """The `params` of a scrape configuration are ignored."""
    assert exporter.get('/metrics?x=1').text == exporter.get('/metrics').text


@pytest.mark.parametrize('path', ['/metrics', '/-/healthy', '/-/ready', '/', '/none'])
def test_head_is_get_without_the_body(exporter, path):
    """Status and headers are those of GET, including the length, and the connection stays open."""
    with closing(http):
        got, whole = exporter.get(path, method='HEAD'), exporter.get(path)
    assert (got.status_code, got.content) == (whole.status_code, b'')
    assert {name: value for name, value in got.headers.items() if name != 'Date'} == {
        name: value for name, value in whole.headers.items() if name != 'Date'
    }


@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])
def test_other_methods_are_rejected(exporter, method):
    """The server only reads; the answer says what it takes."""
    got = exporter.get('/metrics', method=method)
    assert (got.status_code, got.headers['Allow']) == (405, 'GET, HEAD')


def test_an_unknown_method_is_rejected(exporter):
    """No page has it."""
    assert exporter.get('/metrics', method='BREW').status_code == 501


def test_a_connection_is_reused(exporter):
    """Several requests over one connection, as Prometheus sends them."""
    with exporter.connect() as connection, connection.makefile('rb') as answers:
        for _ in range(3):
            connection.sendall(b'GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n')
            assert answers.readline().startswith(b'HTTP/1.1 200')
            length = next(int(line.split()[1]) for line in answers if line.lower().startswith(b'content-length'))
            while answers.readline() != b'\r\n':
                pass
            assert answers.read(length) == b'promlstm is healthy.\n'


# -- malformed requests


@pytest.mark.parametrize(
    ('data', 'status'),
    [
        (b'nonsense\r\n\r\n', b'400'),
        (b'GET /metrics HTTP/x\r\n\r\n', b'400'),
        (b'GET /metrics HTTP/2.0\r\n\r\n', b'505'),
        (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \x00 \r\n\r\n', b'400'),
        (b'GET /' + b'x' * 65532, b'414'),
        (b'GET / HTTP/1.1\r\nHost: x\r\n' + b'A: b\r\n' * 200 + b'\r\n', b'431'),
        (b'GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n', b'404'),
    ],
)
def test_a_malformed_request_is_rejected(exporter, data, status):
    """It gets a 4xx or 505, without headers if it names no version that has them, and the connection is closed."""
    assert re.search(rb'^HTTP/1.1 %b |^<!DOCTYPE[^$]*Error code: %b<' % (status, status), exporter.send(data))


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b'GET ' + data + b' HTTP/1.1\r\nHost: x\r\nAccept: ' + data + b'\r\n\r\n'))
@example(b'GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n')
@example(b'GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text; version=\xff\r\n\r\n')
@settings(max_examples=60, deadline=None)
def test_no_bytes_break_the_server(exporter, data):
    """Whatever a client sends, the server logs no error and answers the next request."""
    errors = Errors()
    logging.getLogger('promlstm.server').addHandler(errors)
    try:
        exporter.send(data)
        assert exporter.get('/-/healthy').status_code == 200
    finally:
        logging.getLogger('promlstm.server').removeHandler(errors)
    assert errors.records == []


# -- addresses


@pytest.mark.parametrize('text', ['', 'localhost', '9855', 'localhost:', ':http', ':-1', ':65536', ':1.5', 'a:²', '[::1]', ': 80', ':80 '])
def test_invalid_listen_addresses(text):
    """The message has the flag, what was got, and what is expected."""
    with pytest.raises(ConfigError) as caught:
        server.address(text)
    assert str(caught.value) == f'--web.listen-address: expected HOST:PORT or :PORT, got {text!r}'


@pytest.mark.parametrize(
    ('text', 'is_'),
    [(':9855', ('', 9855)), ('0.0.0.0:0', ('0.0.0.0', 0)), ('[::1]:80', ('::1', 80)), ('example.org:65535', ('example.org', 65535))],
)
def test_listen_addresses_have_the_syntax_of_prometheus(text, is_):
    """All interfaces, one of them, IPv6 in brackets, a name."""
    assert server.address(text) == is_


@pytest.mark.parametrize('listen', ['no-such-host.invalid:0', 'a..b:0', 'x' * 80 + ':0', '203.0.113.1:0', '1::2::3:0'])
def test_an_address_that_cannot_be_bound(listen):
    """An unknown host, or one that is not this machine, is a mistake in the command line, whatever the resolver raises."""
    with pytest.raises(ConfigError, match=f'^--web.listen-address={re.escape(listen)}: cannot listen: .'):
        Exporter(listen)


def test_a_port_in_use(exporter):
    """The message names the address and the reason."""
    with pytest.raises(ConfigError) as caught:
        Exporter(f'127.0.0.1:{exporter.port}')
    in_use = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    assert str(caught.value) == f'--web.listen-address=127.0.0.1:{exporter.port}: cannot listen: {in_use}'


def test_a_port_can_be_bound_again_at_once():
    """A restart need not wait until the old connections have timed out."""
    with Exporter() as first:
        first.get()
        port = first.port
    with Exporter(f'127.0.0.1:{port}') as second:
        assert second.get('/-/healthy').status_code == 200


def can_bind(host):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not can_bind('::1'), reason='this machine has no IPv6')
def test_ipv6(exporter):
    """One IPv6 address; the URL has it in brackets."""
    with Exporter('[::1]:0') as running:
        assert running.url == f'http://[::1]:{running.port}' and running.get('/-/healthy').status_code == 200


def test_without_a_host_it_listens_on_all_interfaces():
    """Over IPv4, and over IPv6 if the machine has it."""
    with Exporter(':0') as running:
        assert running.url == f'http://localhost:{running.port}'
        for host in ['127.0.0.1', *(['[::1]'] if can_bind('::1') else [])]:
            assert http.get(f'http://{host}:{running.port}/-/healthy', timeout=LIMIT).status_code == 200
