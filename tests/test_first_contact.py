"""What goes wrong between promlstm and its Prometheus at first contact: each in words of its own, from a real server, before `run` meets it."""

import contextlib
import json
import socket
import ssl
import subprocess
import time

import pytest
import yaml
from requirements import absent
from wire import Wire, certificate, replying

from promlstm import config as configuration
from promlstm.check import check

VECTOR = json.dumps({'status': 'success', 'data': {'resultType': 'vector', 'result': []}}).encode()


def expired(folder):
    """(certificate that ended yesterday, ssl.SSLContext of a server that has it)."""
    key, request, file = folder / 'key', folder / 'request', folder / 'expired.pem'
    new = ('openssl', 'req', '-new', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1')
    subprocess.run([*new, '-keyout', key, '-out', request], check=True, capture_output=True)
    sign = ('openssl', 'x509', '-req', '-days', '-1', '-copy_extensions', 'copy')
    subprocess.run([*sign, '-in', request, '-signkey', key, '-out', file], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context


@pytest.fixture(scope='module')
def certificates(tmp_path_factory):
    """{kind: (file, ssl.SSLContext)}."""
    folder = tmp_path_factory.mktemp('certificates')
    try:
        return {'own': certificate(folder), 'other name': certificate(folder, name='127.0.0.2'), 'expired': expired(folder)}
    except FileNotFoundError:
        absent('no openssl here to make certificates with')


def told(url, **source):
    """(whether check-config succeeds, what it says) of a Prometheus at a URL."""
    text = yaml.safe_dump({'prometheus': {'url': url, **source}, 'detectors': [{'name': 'd', 'expr': 'up'}]})
    lines = []
    return check(configuration.parse(text), online=True, say=lines.append), '\n'.join(lines)


def redirecting(peer, _number):
    while peer.request():
        peer.answer(b'', 302, b'Location: https://login.example/\r\n')


def silent(peer, _number):
    peer.request()
    peer.wire.left.wait(30)


REFUSING = {
    'unauthorised': (replying(lambda request: (401, b'Unauthorized')), 'answered 401: not allowed; check basic_auth, authorization or oauth2'),
    'forbidden': (replying(lambda request: (403, b'forbidden')), 'answered 403: not allowed; check basic_auth, authorization or oauth2'),
    'redirect': (redirecting, 'redirects to https://login.example/: set its url to the address that answers'),
    'no such path': (replying(lambda request: (404, b'404 page not found')), 'answered 404: there is no api/v1/query below it'),
    'a login page': (replying(lambda request: b'<!doctype html><title>Sign in'), "not a query result (JSON is malformed: invalid character (byte 0)); it "
                     "begins with '<!doctype html><title>Sign in'"),
    'TLS expected by the server': (replying(lambda request: (400, b'Client sent an HTTP request to an HTTPS server.')), 'Client sent an HTTP request'),
}  # fmt: skip


@pytest.mark.parametrize('kind', REFUSING)
def test_an_answer_that_says_no_fails_the_check(kind):
    """Status 1: `run` would never read a sample."""
    script, says = REFUSING[kind]
    with Wire(script) as wire:
        good, text = told(wire.url)
    assert not good and f'error: prometheus: {wire.url}' in text and says in text and text.count('error: ') == 1


@pytest.mark.parametrize(
    ('kind', 'says'),
    [
        ('own', 'its certificate is not trusted (self-signed certificate); set tls_config.ca_file to the certificate of its authority'),
        ('expired', 'its certificate is not trusted (certificate has expired); renew it, or check the clock of this machine'),
        ('other name', "its certificate is not trusted (IP address mismatch, certificate is not valid for '127.0.0.1'); "
         'use the name in the certificate as the host of its url'),
    ],
)  # fmt: skip
def test_a_certificate_that_is_not_trusted_fails_the_check(certificates, monkeypatch, kind, says):
    """With the reason, and what to do about this one."""
    for name in ('SSL_CERT_FILE', 'SSL_CERT_DIR', 'REQUESTS_CA_BUNDLE'):
        monkeypatch.delenv(name, raising=False)
    file, context = certificates[kind]
    with Wire(replying(lambda request: VECTOR), context=context) as wire:
        good, text = told(wire.url, **({} if kind == 'own' else {'tls_config': {'ca_file': str(file)}}))
    assert not good and f'error: prometheus: {wire.url} cannot be reached: {says}' in text.replace('self signed', 'self-signed')


def test_https_in_the_url_of_a_server_without_tls_fails_the_check():
    """It says which word to change."""
    with Wire(lambda peer, number: (peer.sock.recv(1000), peer.answer(b'bad request', 400))) as wire:
        good, text = told(wire.url.replace('http:', 'https:'))
    assert not good and 'the server does not use TLS at this port: write http:// in its url' in text


def refused():
    """A port that nobody listens on."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        return f'http://127.0.0.1:{listener.getsockname()[1]}'


@pytest.mark.parametrize(
    ('url', 'says'),
    [
        (refused, 'cannot be reached: Connection refused'),
        (lambda: 'http://prometheus.invalid:9090', 'cannot be reached: '),
    ],
    ids=['refused', 'unknown name'],
)
def test_a_server_that_is_not_there_is_reported_and_no_error(url, says):
    """It may come: the configuration can be checked where its Prometheus is not."""
    good, text = told(url(), timeout='5s')
    assert good and f'prometheus: {url()[:12]}' in text and says in text and 'expressions are not checked' in text


def test_a_server_that_does_not_answer_is_told_from_one_that_is_not_there():
    """By the time-out, which has its own words."""
    with Wire(silent) as wire:
        good, text = told(wire.url, timeout='500ms')
    assert good and f'prometheus: {wire.url} did not answer within the timeout of 0.5 s; expressions are not checked' in text


def test_a_clock_that_is_not_ours_is_told_with_its_size():
    """Where the server's Date is an hour ahead: each query asks for its past."""

    def hour_ahead(peer, _number):
        while request := peer.request():
            date = time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime(time.time() + 3600))
            body = VECTOR.replace(b'vector', b'matrix') if 'range' in request.target else VECTOR
            peer.answer(body, 200, b'Date: %b\r\n' % date.encode())

    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(Wire(hour_ahead))
        _, text = told(wire.url)
    assert 'warning: prometheus: the clock of the query API is ' in text and 'ahead of ours' in text
