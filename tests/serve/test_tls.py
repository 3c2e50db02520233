"""TLS and client certificates, with curl and ssl as clients."""

import shutil
import socket
import ssl

import pytest
from authority import Authority, openssl
from servers import READY_SECONDS, wait_until
from serving import BLOCK, Served, tls

from promlstm.errors import ConfigError
from promlstm.serve.connections import Limits


@pytest.mark.parametrize(('low', 'high', 'spoken'), [('TLS12', 'TLS13', {'1.2', '1.3'}), ('TLS13', 'TLS13', {'1.3'}), ('TLS12', 'TLS12', {'1.2'})])
def test_the_versions_that_are_allowed_are_spoken(tmp_path, authority, low, high, spoken):
    """And no others; both HTTP/1.1 in ALPN."""
    with Served(tmp_path, tls_server_config=tls(authority.sign('server'), min_version=low, max_version=high)) as served:
        assert served.url.startswith('https://')
        for version in ('1.2', '1.3'):
            code, status, body = served.curl('/metrics', '--cacert', authority.file, f'--tlsv{version}', '--tls-max', version)
            assert (code == 0) == (version in spoken)
            assert not code or status == 0
            assert code or (status == 200 and BLOCK.decode() in body)
        context = ssl.create_default_context(cafile=authority.file)
        context.set_alpn_protocols(['h2', 'http/1.1'])
        with socket.create_connection(('127.0.0.1', served.port)) as plain, context.wrap_socket(plain, server_hostname='127.0.0.1') as wrapped:
            assert wrapped.selected_alpn_protocol() == 'http/1.1'


def test_ciphers_and_curves(tmp_path, authority):
    """Only what the file names is agreed on."""
    settings = tls(authority.sign('server'), max_version='TLS12', cipher_suites=['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384'], curve_preferences=['CurveP384'])
    with Served(tmp_path, tls_server_config=settings) as served:
        context = ssl.create_default_context(cafile=authority.file)
        with socket.create_connection(('127.0.0.1', served.port)) as plain, context.wrap_socket(plain, server_hostname='127.0.0.1') as wrapped:
            assert wrapped.cipher()[0] == 'ECDHE-ECDSA-AES256-GCM-SHA384'
        context.set_ciphers('ECDHE-ECDSA-AES128-GCM-SHA256')
        with socket.create_connection(('127.0.0.1', served.port)) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname='127.0.0.1')


@pytest.mark.parametrize('kept', [True, False])
def test_a_large_page_comes_as_a_whole(tmp_path, authority, kept):
    """However much larger it is than all buffers, and also to a client that stops for a moment before it reads the end."""
    block = b'promlstm_observed{detector="big"} 1\n' * 500_000
    with Served(tmp_path, tls_server_config=tls(authority.sign('server'))) as served:
        served.page.publish('big', {'promlstm_observed': [block]}, expires=1)
        context = ssl.create_default_context(cafile=authority.file)
        plain = socket.create_connection(('127.0.0.1', served.port), timeout=READY_SECONDS)
        with context.wrap_socket(plain, server_hostname='127.0.0.1') as client:
            for _ in range(1 + kept):
                client.sendall(b'GET /metrics HTTP/1.1\r\nHost: x\r\n' + (b'' if kept else b'Connection: close\r\n') + b'\r\n')
                head, _, body = client.recv(1000).partition(b'\r\n\r\n')
                length = int(head.lower().partition(b'content-length: ')[2].split(b'\r\n')[0])
                pieces, size = [body], len(body)
                while size < length:
                    pieces.append(client.recv(1 << 20))
                    assert pieces[-1]
                    size += len(pieces[-1])
                assert size == length and block in b''.join(pieces)
            assert kept or client.recv(1) == b''


def test_a_large_page_that_is_not_read_is_given_up(tmp_path, authority):
    """With TLS as without."""
    with Served(tmp_path, tls_server_config=tls(authority.sign('server'))) as served:
        served.server._limits = Limits(stalled_seconds=0.2)
        served.page.publish('big', {'promlstm_observed': [b'promlstm_observed{detector="big"} 1\n' * 500_000]}, expires=1)
        context = ssl.create_default_context(cafile=authority.file)
        plain = socket.create_connection(('127.0.0.1', served.port), timeout=READY_SECONDS)
        with context.wrap_socket(plain, server_hostname='127.0.0.1', suppress_ragged_eofs=False) as client:
            client.sendall(b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
            wait_until(lambda: not served.server.open_connections, READY_SECONDS, 'the connection to be closed')


@pytest.mark.parametrize('kind', ['silent', 'nonsense', 'plain HTTP', 'half a handshake'])
def test_what_is_no_handshake_ends_in_time(tmp_path, authority, kind):
    """A handshake has the deadline of a request, and others are served meanwhile."""
    with Served(tmp_path, tls_server_config=tls(authority.sign('server'))) as served:
        served.server._limits = Limits(request_seconds=1)
        with socket.create_connection(('127.0.0.1', served.port), timeout=READY_SECONDS) as client:
            hello = b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'
            client.sendall({'silent': b'', 'nonsense': b'\0' * 50, 'plain HTTP': b'GET / HTTP/1.1\r\n\r\n', 'half a handshake': hello}[kind])
            assert served.curl('/-/healthy', '--cacert', authority.file)[:2] == (0, 200)
            try:
                rest = b''.join(iter(lambda: client.recv(1000), b''))
            except ConnectionError:
                rest = b''
            assert b'HTTP' not in rest


def test_an_expired_certificate_is_refused_by_clients(tmp_path, authority):
    """The server goes on: it is for clients to judge it, and a new one comes without a restart."""
    with Served(tmp_path, tls_server_config=tls(authority.sign('old', expired=True))) as served:
        assert served.curl('/metrics', '--cacert', authority.file)[0] == 60
        assert served.curl('/metrics', '--insecure')[:2] == (0, 200)


def test_client_certificates(tmp_path, authority, other):
    """Required: only those of the authority get an answer, not even a probe has one without. If given: it has to be right."""
    mine, theirs, expired = authority.sign('client'), other.sign('client'), authority.sign('late', expired=True)
    server = tls(authority.sign('server'), client_ca_file=str(authority.file))

    def with_pair(served, pair, path='/metrics'):
        return served.curl(path, '--cacert', authority.file, *(('--cert', pair[0], '--key', pair[1]) if pair else ()))

    with Served(tmp_path, tls_server_config=server | {'client_auth_type': 'RequireAndVerifyClientCert'}) as served:
        assert with_pair(served, mine)[:2] == (0, 200)
        for pair in (None, theirs, expired):
            assert with_pair(served, pair)[0] != 0 and with_pair(served, pair, '/-/healthy')[0] != 0
    with Served(tmp_path, tls_server_config=server | {'client_auth_type': 'VerifyClientCertIfGiven'}) as served:
        assert with_pair(served, mine)[:2] == with_pair(served, None)[:2] == (0, 200)
        assert with_pair(served, theirs)[0] != 0


@pytest.mark.parametrize('san', ['DNS:scraper.example', 'email:a@scraper.example', 'IP:10.1.2.3', 'URI:spiffe://example/scraper'])
def test_allowed_names_of_clients(tmp_path, authority, san):
    """A certificate of the authority with another name is not let in."""
    settings = tls(
        authority.sign('server'), client_ca_file=str(authority.file), client_auth_type='RequireAndVerifyClientCert',
        client_allowed_sans=['x', san.partition(':')[2]],
    )  # fmt: skip
    with Served(tmp_path, tls_server_config=settings) as served:
        for name, allowed in ((san, True), ('DNS:other.example', False)):
            cert, key = authority.sign('client', name)
            code, status, _ = served.curl('/metrics', '--cacert', authority.file, '--cert', cert, '--key', key)
            assert (code == 0 and status == 200) == allowed


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda pair: pair[0].unlink(), 'tls_server_config.cert_file: {0} is not a file'),
        (lambda pair: pair[1].write_text(''), 'tls_server_config.key_file: {1} is empty'),
        (lambda pair: pair[0].write_text('nonsense'), 'tls_server_config: cert_file and key_file cannot be used: no certificate or no key in PEM format'),
        (
            lambda pair: openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', pair[1]),
            'tls_server_config: cert_file and key_file cannot be used: they belong to different pairs',
        ),
        (
            lambda pair: openssl('ec', '-in', pair[1], '-out', pair[1], '-aes128', '-passout', 'pass:secret'),
            'tls_server_config.key_file: the key is encrypted, and its password cannot be asked for',
        ),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(tmp_path, change, message):
    """The message names the key and the file."""
    pair = Authority(tmp_path / 'own').sign('server')
    change(pair)
    with pytest.raises(ConfigError) as caught:
        Served(tmp_path, tls_server_config=tls(pair))
    assert str(caught.value) == f'{tmp_path / "web.yml"}: ' + message.format(*pair)


def test_relative_paths_are_relative_to_the_file(tmp_path, authority, monkeypatch):
    """Wherever the exporter was started; and inline certificates need no path."""
    monkeypatch.chdir('/')
    cert, key = authority.sign('server')
    shutil.copy(cert, tmp_path / 'a.crt')
    shutil.copy(key, tmp_path / 'a.key')
    for settings in ({'cert_file': 'a.crt', 'key_file': 'a.key'}, {'cert': cert.read_text(), 'key': key.read_text()}):
        with Served(tmp_path, tls_server_config=settings) as served:
            assert served.curl('/', '--cacert', authority.file)[:2] == (0, 200)
