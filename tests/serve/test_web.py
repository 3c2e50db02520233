"""Passwords, with curl and requests as clients; what is read again when it changes; and a real scrape with all of it."""

import contextlib
import logging
import os
import random
import shutil
import socket
import ssl
import struct
import threading

import pytest
import yaml
from servers import READY_SECONDS, Prometheus, http, wait_until
from serving import PASSWORD, Served, hashed, tls

from promlstm import logs
from promlstm.serve.connections import Limits
from promlstm.serve.telemetry import Telemetry
from promlstm.serve.web import Web

# -- passwords


def test_a_password_is_asked_for(tmp_path):
    """Nothing but the right one helps, and the answer says what is missing."""
    with Served(tmp_path, basic_auth_users={'alice': hashed(), 'bob': hashed('b')}) as served:
        for path in ('/metrics', '/', '/none'):
            assert served.curl(path, '--user', f'alice:{PASSWORD}')[1] == (404 if path == '/none' else 200)
            for wrong in ('alice:', f'ALICE:{PASSWORD}', f'bob:{PASSWORD}', 'nobody:x', ':', f'alice:{PASSWORD}x', 'alice:' + 'x' * 100):
                assert served.curl(path, '--user', wrong)[1] == 401
            got = http.get(served.url + path, timeout=READY_SECONDS)
            assert (got.status_code, got.text) == (401, 'Unauthorized.\n') and got.headers['WWW-Authenticate'].startswith('Basic ')
        for header in ('Bearer x', 'Basic', 'Basic !', 'Basic YWxpY2U='):
            assert http.get(served.url, headers={'Authorization': header}, timeout=READY_SECONDS).status_code == 401


def test_probes_need_no_password_and_tell_nothing_without(tmp_path):
    """Neither names of detectors nor a version; with the password readiness lists the detectors, and a wrong one does no harm."""
    with Served(tmp_path, basic_auth_users={'alice': hashed()}) as served:
        for wrong in ((), ('--user', 'alice:x')):
            assert served.curl('/-/healthy', *wrong)[1:] == (200, 'promlstm is healthy.\n')
            assert served.curl('/-/ready', *wrong)[1:] == (200, 'promlstm is ready.\n')
        assert served.curl('/-/ready', '--user', f'alice:{PASSWORD}')[2] == 'promlstm is ready.\ncpu: scoring\n'
        got = http.get(served.url + '/-/healthy', timeout=READY_SECONDS)
        assert got.headers['Server'] == 'promlstm'


def test_headers_of_every_answer(tmp_path):
    """Those of the file in the place of ours, on answers of all kinds."""
    with Served(tmp_path, basic_auth_users={'alice': hashed()}, http_server_config={'headers': {'X-Frame-Options': 'sameorigin'}}) as served:
        for path, user in (('/metrics', None), ('/none', ('alice', PASSWORD.encode())), ('/', ('alice', PASSWORD.encode())), ('/-/healthy', None)):
            got = http.get(served.url + path, auth=user, timeout=READY_SECONDS)
            assert got.headers['X-Frame-Options'] == 'sameorigin' and got.headers['X-Content-Type-Options'] == 'nosniff'
            assert got.headers['Content-Security-Policy'].startswith("default-src 'none'") and got.headers['Referrer-Policy'] == 'no-referrer'


def test_a_rate_limit_is_for_all_but_probes(tmp_path):
    """Beyond the burst there is a 429."""
    with Served(tmp_path, rate_limit={'interval': '1h', 'burst': 2}) as served:
        assert [http.get(served.url, timeout=READY_SECONDS).status_code for _ in range(3)] == [200, 200, 429]
        assert http.get(served.url + '/-/ready', timeout=READY_SECONDS).status_code == 200


def test_guesses_starve_no_scrape(tmp_path):
    """While many guess at a cost that keeps the hash busy, a scrape that was let in before is answered, and so is a probe."""
    with Served(tmp_path, basic_auth_users={'alice': hashed(cost=10)}) as served:
        right = ('alice', PASSWORD.encode())
        assert http.get(served.url, auth=right, timeout=READY_SECONDS).status_code == 200
        done = threading.Event()

        def guess(name):
            n = 0
            while not done.is_set():
                n += 1
                http.get(served.url, auth=(name, f'{name}{n}'), timeout=READY_SECONDS)

        guessing = [threading.Thread(target=guess, args=(name,)) for name in ('alice', 'bob', 'carol') * 4]
        for thread in guessing:
            thread.start()
        try:
            for _ in range(20):
                assert http.get(served.url + '/metrics', auth=right, timeout=READY_SECONDS).status_code == 200
                assert http.get(served.url + '/-/healthy', timeout=READY_SECONDS).status_code == 200
        finally:
            done.set()
            for thread in guessing:
                thread.join(READY_SECONDS)


# -- read again


def test_a_changed_password_counts_at_once(tmp_path):
    """The old one is over, on kept connections too."""
    with Served(tmp_path, basic_auth_users={'alice': hashed('old')}) as served:
        assert http.get(served.url, auth=('alice', 'old'), timeout=READY_SECONDS).status_code == 200
        served.write({'basic_auth_users': {'alice': hashed('new')}})
        wait_until(lambda: http.get(served.url, auth=('alice', 'new'), timeout=READY_SECONDS).ok, READY_SECONDS, 'the new password')
        assert http.get(served.url, auth=('alice', 'old'), timeout=READY_SECONDS).status_code == 401


def test_a_pair_is_replaced_when_both_files_are(tmp_path, authority, caplog, monkeypatch):
    """While only one of them is new the old pair serves, and a gauge and one line of the log say so."""
    monkeypatch.setattr(logging.getLogger('promlstm'), 'propagate', True)
    first, second = authority.sign('first'), authority.sign('second')
    mine = tmp_path / 'a.crt', tmp_path / 'a.key'
    for source, target in zip(first, mine, strict=True):
        shutil.copy(source, target)

    def shown(served):
        with socket.create_connection(('127.0.0.1', served.port)) as plain:
            context = ssl.create_default_context(cafile=authority.file)
            with context.wrap_socket(plain, server_hostname='127.0.0.1') as wrapped:
                return dict(pair[0] for pair in wrapped.getpeercert()['subject'])['commonName'], wrapped.selected_alpn_protocol()

    with Served(tmp_path, tls_server_config=tls(mine)) as served:
        assert shown(served)[0] == 'first' and served.successful() == 1
        os.replace(shutil.copy(second[0], tmp_path / 'new.crt'), mine[0])
        wait_until(lambda: served.successful() == 0, READY_SECONDS, 'the half pair to be noticed')
        assert shown(served)[0] == 'first'
        os.replace(shutil.copy(second[1], tmp_path / 'new.key'), mine[1])
        wait_until(lambda: shown(served)[0] == 'second', READY_SECONDS, 'the new pair')
        assert served.successful() == 1
    records = dict.fromkeys(caplog.records)  # where a test before has set up the log, each is caught by two loggers
    said = [record.facts['err'] for record in records if 'the previous one stays in force' in record.message]
    assert said == [f'{served.file}: tls_server_config: cert_file and key_file cannot be used: they belong to different pairs']


def test_a_replaced_authority_is_trusted_no_more(tmp_path, authority, other):
    """Not on new connections, and those that were made under it end."""
    trusted = tmp_path / 'clients.crt'
    shutil.copy(authority.file, trusted)
    settings = tls(authority.sign('server'), client_ca_file='clients.crt', client_auth_type='RequireAndVerifyClientCert')
    old, new = authority.sign('client'), other.sign('client')
    with Served(tmp_path, tls_server_config=settings) as served:
        context = ssl.create_default_context(cafile=authority.file)
        context.load_cert_chain(*old)
        plain = socket.create_connection(('127.0.0.1', served.port), timeout=READY_SECONDS)
        with context.wrap_socket(plain, server_hostname='127.0.0.1') as kept:
            kept.sendall(b'HEAD /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n')
            assert kept.recv(12) == b'HTTP/1.1 200'
            os.replace(shutil.copy(other.file, tmp_path / 'next'), trusted)
            wait_until(
                lambda: served.curl('/', '--cacert', authority.file, '--cert', new[0], '--key', new[1])[0] == 0, READY_SECONDS, 'the new authority'
            )
            assert served.curl('/', '--cacert', authority.file, '--cert', old[0], '--key', old[1])[0] != 0
            rest = b''.join(iter(lambda: kept.recv(10_000), b''))
            assert rest.endswith(b'\r\n\r\n')


@pytest.mark.parametrize('bad', ['tls_server_config: {', 'a: 1', 'basic_auth_users: {alice: secret-password}', '', '# nothing\n', None])
def test_a_bad_new_file_keeps_the_old_in_force(tmp_path, bad):
    """Also one that is empty or gone; with the good one back the failure is over."""
    known = hashed()
    with Served(tmp_path, basic_auth_users={'alice': known}) as served:
        good = served.file.read_text()
        served.file.write_text(bad) if bad is not None else served.file.unlink()
        wait_until(lambda: served.successful() == 0, READY_SECONDS, 'the bad file to be noticed')
        assert http.get(served.url, timeout=READY_SECONDS).status_code == 401
        assert http.get(served.url, auth=('alice', PASSWORD.encode()), timeout=READY_SECONDS).status_code == 200
        served.file.write_text(good)
        wait_until(lambda: served.successful() == 1, READY_SECONDS, 'the good file to be noticed')


def test_the_links_of_kubernetes(tmp_path):
    """A mounted Secret is a link to a folder that is replaced as a whole."""
    for version, password in (('1', 'old'), ('2', 'new')):
        (tmp_path / version).mkdir()
        (tmp_path / version / 'web.yml').write_text(yaml.safe_dump({'basic_auth_users': {'alice': hashed(password)}}))
    (tmp_path / '..data').symlink_to('1')
    (tmp_path / 'mount').mkdir()
    with Served(tmp_path / 'mount') as served:
        served.server.stop()
    os.remove(tmp_path / 'mount' / 'web.yml')
    (tmp_path / 'mount' / 'web.yml').symlink_to('../..data/web.yml')
    telemetry = Telemetry(process=False)
    web = Web(tmp_path / 'mount' / 'web.yml', telemetry)
    before = dict(web.users)
    web.watch(lambda: None)
    (tmp_path / '..next').symlink_to('2')
    os.replace(tmp_path / '..next', tmp_path / '..data')
    wait_until(lambda: dict(web.users) != before, READY_SECONDS, 'the new Secret')
    web.stop()


def test_tls_comes_and_goes_without_a_restart(tmp_path, authority):
    """An explicit empty configuration takes it away."""
    with Served(tmp_path) as served:
        assert served.curl('/')[:2] == (0, 200)
        served.write({'tls_server_config': tls(authority.sign('server'))})
        wait_until(lambda: served.server.url.startswith('https:'), READY_SECONDS, 'TLS')
        served.url = served.server.url
        assert served.curl('/', '--cacert', authority.file)[:2] == (0, 200)
        served.write({})
        wait_until(lambda: served.server.url.startswith('http:'), READY_SECONDS, 'no TLS')


# -- a real scrape, and what is told to nobody


@pytest.mark.real
def test_prometheus_scrapes_with_certificate_and_password(tmp_path, authority):
    """One with the right ones does, one with a wrong password does not; and no password or hash is in a log or on a page."""
    stream, known = [], hashed()

    class Log:
        def write(self, text):
            stream.append(text)

        def flush(self):
            pass

    logs.setup('debug', stream=Log())
    client = authority.sign('client')
    settings = tls(authority.sign('server'), client_ca_file=str(authority.file), client_auth_type='RequireAndVerifyClientCert')
    secrets = {'right': tmp_path / 'right', 'wrong': tmp_path / 'wrong'}
    secrets['right'].write_text(PASSWORD)
    secrets['wrong'].write_text('wrong-password')
    try:
        with Served(tmp_path, tls_server_config=settings, basic_auth_users={'alice': known}) as served:
            jobs = [
                {
                    'job_name': name, 'scheme': 'https', 'static_configs': [{'targets': [f'127.0.0.1:{served.port}']}],
                    'tls_config': {'ca_file': str(authority.file), 'cert_file': str(client[0]), 'key_file': str(client[1])},
                    'basic_auth': {'username': 'alice', 'password_file': str(file)},
                }
                for name, file in secrets.items()
            ]  # fmt: skip
            with Prometheus(tmp_path / 'prometheus', jobs) as prometheus:
                prometheus.wait_for('promlstm_anomaly_score{job="right"} == 1.5')
                prometheus.wait_for('up{job="wrong"} == 0')
                assert not prometheus.query('{__name__=~"promlstm_.*",job="wrong"}')
            pages = [served.curl(path, '--cacert', authority.file, '--cert', client[0], '--key', client[1], '--user', f'alice:{PASSWORD}')[2]
                     for path in ('/', '/metrics', '/-/ready', '/none')]  # fmt: skip
            served.file.write_text(f'basic_auth_users: {{alice: {known}')
            wait_until(lambda: served.successful() == 0, READY_SECONDS, 'the bad file to be noticed')
    finally:
        logs.setup()
    told = ''.join(stream + pages)
    assert 'answered' in told and 'the previous one stays in force' in told
    for secret in (PASSWORD, 'wrong-password', known[7:], 'alice:', 'PRIVATE KEY'):
        assert secret not in told


@pytest.mark.parametrize('with_tls', [True, False])
def test_nothing_is_left_of_clients_that_come_and_go(tmp_path, authority, caplog, monkeypatch, with_tls):
    """However they leave, in whatever state: no connection, no open file, no error in the log, neither ours nor that of asyncio."""
    monkeypatch.setattr(logging.getLogger('promlstm'), 'propagate', True)
    asked = [
        b'', b'GET / HTTP/1.1\r\nHo', b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n', b'GET / HTTP/1.0\r\n\r\n', b'nonsense\r\n\r\n',
        b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc', b'HEAD /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n' * 5,
    ]  # fmt: skip
    settings = {'tls_server_config': tls(authority.sign('server'))} if with_tls else {}
    with Served(tmp_path, **settings) as served:
        served.page.publish('big', {'promlstm_observed': [b'promlstm_observed{detector="big"} 1\n' * 200_000]}, expires=1)
        served.server._limits = Limits(request_seconds=1, stalled_seconds=0.5, idle_seconds=0.5)
        context = ssl.create_default_context(cafile=authority.file)
        before = len(os.listdir('/proc/self/fd'))

        def come_and_go(seed):
            rng = random.Random(seed)
            for _ in range(40):
                with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                    client = stack.enter_context(socket.create_connection(('127.0.0.1', served.port), timeout=READY_SECONDS))
                    if with_tls and rng.random() < 0.7:
                        client = stack.enter_context(context.wrap_socket(client, server_hostname='127.0.0.1'))
                    if rng.random() < 0.5:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))  # it leaves with a reset
                    client.sendall(rng.choice(asked))
                    if rng.random() < 0.3:
                        client.recv(1000)

        clients = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(READY_SECONDS)
        wait_until(lambda: not served.server.open_connections and not served.server._held, READY_SECONDS, 'all connections to end')
        wait_until(lambda: len(os.listdir('/proc/self/fd')) <= before, READY_SECONDS, 'all files to be closed')
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
