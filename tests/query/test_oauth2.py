"""OAuth2 client credentials against a real token endpoint: one token for all, renewed in time, and what happens where there is none."""

import base64
import json
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from wire import LIMIT_SECONDS, Wire, certificate, replying

from promlstm import config
from promlstm.errors import ConfigError, ResponseError, SourceError, SourceRefused, SourceUnavailable
from promlstm.query.connection import Deadline
from promlstm.query.http import Http
from promlstm.query.oauth2 import AGAIN_SECONDS, Tokens
from promlstm.query.prometheus import Prometheus

SECRET = 'hunter2 + more:ü'
IN_BASIC = base64.b64encode(b'me%2Fhere:hunter2+%2B+more%3A%C3%BC').decode()  # application/x-www-form-urlencoded, RFC 6749, section 2.3.1
ONE = json.dumps({'status': 'success', 'data': {'resultType': 'vector', 'result': [{'metric': {}, 'value': [0, '1']}]}}).encode()


def grant(token='t0ken', **more):
    return json.dumps({'access_token': token, 'token_type': 'bearer', 'expires_in': 3600, **more}).encode()


class Grants:
    """A token endpoint that gives out T1, T2, …; `accepts` says which of them the query API beside it takes."""

    def __init__(self, **more):
        self.more, self.issued, self.accepts, self.lock = more, [], lambda token: True, threading.Lock()

    def endpoint(self, request):
        with self.lock:
            self.issued.append(f'T{len(self.issued) + 1}')
            return grant(self.issued[-1], **self.more)

    def api(self, request):
        return ONE if self.accepts(request.headers['Authorization'].removeprefix('Bearer ')) else (401, b'')


@pytest.fixture
def secret(tmp_path):
    (tmp_path / 'secret').write_text(f'{SECRET}\n')
    return tmp_path


def client(api, endpoint, root, timeout=LIMIT_SECONDS, path='/oauth/token', concurrency=4, **settings):
    keys = {'client_id': 'me/here', 'client_secret_file': 'secret', 'token_url': endpoint.url + path, **settings}
    source = config.Source(url=api.url, timeout=config.Duration(timeout), concurrency=concurrency, oauth2=config.OAuth2(**keys))
    return Prometheus(source, root=root)


def ask(prometheus):
    return prometheus.instant('up', 0).values.tolist()


def headers(wire):
    return [request.headers.get('Authorization') for request in wire.requests]


def test_a_token_is_asked_for_once_and_sent_with_each_query(secret):
    """As RFC 6749 has it: HTTP Basic, and a form with grant, scopes and parameters. The query API's headers stay with it."""
    grants = Grants()
    with Wire(replying(grants.endpoint)) as endpoint, Wire(replying(grants.api)) as api:
        subject = client(api, endpoint, secret, path='/oauth/token?api=2', scopes=('read', 'api/.default'), endpoint_params={'audience': 'x'})
        assert [ask(subject) for _ in range(3)] == [[1.0]] * 3
        (request,) = endpoint.requests
        assert request.target == '/oauth/token?api=2'
        assert request.headers['Authorization'] == f'Basic {IN_BASIC}'
        assert request.form == {'grant_type': 'client_credentials', 'scope': 'read api/.default', 'audience': 'x'}
        assert headers(api) == ['Bearer T1'] * 3


def test_an_endpoint_that_wants_the_secret_in_the_form(secret):
    """It is found out once."""
    grants = Grants(expires_in=1e-9)
    refusing = replying(lambda request: (401, b'{"error":"invalid_client"}') if 'client_secret' not in request.form else grants.endpoint(request))
    with Wire(refusing) as endpoint, Wire(replying(grants.api)) as api:
        subject = client(api, endpoint, secret)
        assert [ask(subject) for _ in range(2)] == [[1.0]] * 2
        assert [request.form.get('client_secret') for request in endpoint.requests] == [None, SECRET, SECRET]
        assert {request.form.get('client_id') for request in endpoint.requests[1:]} == {'me/here'}
        assert headers(endpoint)[1:] == [None, None]


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def tokens(grants, clock, secret=lambda: SECRET):
    """Tokens of `grants`, whose answers are taken without a socket."""
    settings = config.OAuth2(client_id='me', client_secret_file='-', token_url='http://x/t')

    class Reply:
        status, headers = 200, {}

        def __init__(self):
            self.body = bytearray(grants.endpoint(None))

    return Tokens(settings, secret, lambda *_: Reply(), now=clock)


@pytest.mark.parametrize(('expires_in', 'lasts'), [(3600, 3590), ('3600', 3590), (20, 15), (0.4, 0.3)])
def test_a_token_is_renewed_before_it_expires(expires_in, lasts):
    """Ten seconds before, or a quarter of its life."""
    grants, clock = Grants(expires_in=expires_in), Clock()
    subject = tokens(grants, clock)
    subject.newest(Deadline(LIMIT_SECONDS))
    for age, count in ((lasts * 0.999, 1), (lasts, 2)):
        clock.seconds = 1000 + age
        subject.newest(Deadline(LIMIT_SECONDS))
        assert len(grants.issued) == count


@pytest.mark.parametrize('expires_in', [None, 0, -5, 'inf'])
def test_a_token_without_a_life_is_used_until_it_is_refused(expires_in):
    """`expires_in` is not required."""
    grants, clock = Grants(expires_in=expires_in), Clock()
    subject = tokens(grants, clock)
    first = subject.newest(Deadline(LIMIT_SECONDS))
    clock.seconds += 1e9
    assert subject.newest(Deadline(LIMIT_SECONDS)) is first
    assert subject.instead_of(first, Deadline(LIMIT_SECONDS)).header == 'Bearer T2'


def test_the_secret_is_read_for_each_token(secret):
    """A rotated file is used at the next renewal."""
    grants = Grants(expires_in=1e-9)
    with Wire(replying(grants.endpoint)) as endpoint, Wire(replying(grants.api)) as api:
        subject = client(api, endpoint, secret)
        for word in ('one', 'two'):
            (secret / 'secret').write_text(word)
            ask(subject)
        assert headers(endpoint) == [f'Basic {base64.b64encode(f"me%2Fhere:{word}".encode()).decode()}' for word in ('one', 'two')]


# -- a token that is refused before it expires


def test_a_refused_token_is_renewed_at_once_for_all_detectors_together(secret):
    """Many queries meet the 401 at the same time: one of them renews, and each is answered within the same query."""
    grants, many = Grants(), 12
    together = threading.Barrier(many)

    def api_of(request):
        token = request.headers['Authorization'].removeprefix('Bearer ')
        if token == 'T1' and grants.accepts is None:
            together.wait(LIMIT_SECONDS)
            return 401, b''
        return ONE

    with Wire(replying(grants.endpoint)) as endpoint, Wire(replying(api_of)) as api:
        source = client(api, endpoint, secret, concurrency=many)  # so that all meet at the barrier
        assert ask(source) == [1.0]
        grants.accepts = None
        with ThreadPoolExecutor(many) as pool:
            assert list(pool.map(lambda _: ask(source), range(many))) == [[1.0]] * many
        assert grants.issued == ['T1', 'T2']
        assert ask(source) == [1.0] and headers(api)[-1] == 'Bearer T2'


def test_a_fresh_token_that_is_refused_too_is_told(secret):
    """401 twice: what the query API says reaches the operator. Nobody asks for token after token that it would not take either."""
    grants = Grants()
    with Wire(replying(grants.endpoint)) as endpoint, Wire(replying(grants.api)) as api:
        subject = client(api, endpoint, secret)
        assert ask(subject) == [1.0]
        grants.accepts = lambda token: False
        for _ in range(3):
            with pytest.raises(SourceRefused, match='answered 401: not allowed; check basic_auth, authorization or oauth2'):
                ask(subject)
        assert headers(api) == ['Bearer T1', 'Bearer T1', 'Bearer T2', 'Bearer T2', 'Bearer T2'] and len(endpoint.requests) == 2


def test_a_token_that_was_never_taken_is_renewed_after_a_while():
    """The query API may learn of new keys later; then all is well again without a restart."""
    grants, clock = Grants(), Clock()
    subject = tokens(grants, clock)
    first = subject.newest(Deadline(LIMIT_SECONDS))
    assert subject.instead_of(first, Deadline(LIMIT_SECONDS)) is None
    clock.seconds += AGAIN_SECONDS
    assert subject.instead_of(first, Deadline(LIMIT_SECONDS)).header == 'Bearer T2'
    assert subject.instead_of(first, Deadline(LIMIT_SECONDS)).header == 'Bearer T2'  # who comes late takes what there is


def test_a_403_renews_nothing(secret):
    """The token is good, and its scope too small (RFC 6750, section 3.1)."""
    grants = Grants()
    with Wire(replying(grants.endpoint)) as endpoint, Wire(replying(lambda request: (403, b'no'))) as api:
        with pytest.raises(SourceRefused):
            ask(client(api, endpoint, secret))
        assert len(endpoint.requests) == 1


# -- no token

REFUSALS = {
    'no': ((401, b'{"error":"invalid_client","error_description":"%b is wrong\\n"}' % SECRET.encode()), SourceRefused,
           r'gives no token \(401 invalid_client: <secret> is wrong\); check client_id, client_secret_file and scopes$'),
    'no page': ((404, b'<html>'), ResponseError, r'gives no token \(404\); check token_url$'),
    'busy': ((503, b''), SourceUnavailable, r'gives no token \(503\)$'),
    'garbage': ((200, b'\xff\xfe t0ken'), ResponseError, 'answered 200 with something that is not a token; check token_url$'),
    'a deep one': ((200, b'[' * 100_000), ResponseError, 'with something that is not a token'),
    'another shape': ((200, b'{"access_token": {"t0ken": 1}}'), ResponseError, 'with something that is not a token'),
    'no token': ((200, b'{}'), ResponseError, 'with something that is not a token'),
    'an empty one': ((200, grant('')), ResponseError, 'a token that cannot be sent'),
    'a line feed': ((200, grant('t0ken\r\nX-Evil: 1')), ResponseError, 'a token that cannot be sent'),
    'not ASCII': ((200, grant('t0kén')), ResponseError, 'a token that cannot be sent'),
    'an odd type': ((200, grant(token_type='a b')), ResponseError, 'a token that cannot be sent'),
    'an odd life': ((200, grant(expires_in='soon')), ResponseError, 'a token whose expires_in is not a number'),
    'a redirect': ((302, b''), ResponseError, r'no token: http://[\d.:]+/oauth/token redirects to http://evil/'),
    'too much': ((200, b' ' * 1_000_001), ResponseError, 'no token: .* answered with more than 1000000 bytes$'),
}  # fmt: skip


@pytest.mark.parametrize('why', REFUSALS)
def test_an_endpoint_that_gives_no_token(why, secret):
    """A clear error of the source, as any other; nothing is sent to the query API, and neither secret nor token is in what is printed."""
    (status, body), kind, says = REFUSALS[why]

    def script(peer, _number):
        while peer.request():
            peer.answer(body, status, b'Location: http://evil/\r\n' if status == 302 else b'')

    with Wire(script) as endpoint, Wire(replying(lambda request: ONE)) as api:
        with pytest.raises(SourceError, match=f'^oauth2: .*{says}') as caught:
            ask(client(api, endpoint, secret))
        assert type(caught.value) is kind
        assert not api.requests
        text = ''.join(traceback.format_exception(caught.value))
        assert SECRET not in text and 't0k' not in text


def test_an_endpoint_that_asks_to_wait_is_obeyed(secret):
    """Retry-After reaches who asks again."""
    with Wire(lambda peer, number: (peer.request(), peer.answer(b'', 429, b'Retry-After: 7\r\n'))) as endpoint, Wire(replying(lambda _: ONE)) as api:
        with pytest.raises(SourceUnavailable) as caught:
            ask(client(api, endpoint, secret))
        assert caught.value.retry_after_seconds == 7


@pytest.mark.parametrize('where', ['in the head', 'in the body', 'never'])
def test_a_slow_endpoint_obeys_the_deadline_of_the_exchange(where, secret):
    """A byte now and then, or nothing: the query fails when its time is over, and so do all that wait with it."""

    def script(peer, _number):
        if peer.request() and where != 'never':
            peer.send(b'HTTP/1.1 200 OK\r\n' + b'Content-Length: 1000\r\n\r\n' * (where == 'in the body'))
            peer.drip(b'a: b\r\n' if where == 'in the head' else b' ')
        peer.gone()

    with Wire(script) as endpoint, Wire(replying(lambda request: ONE)) as api, ThreadPoolExecutor(3) as pool:
        subject = client(api, endpoint, secret, timeout=0.3)
        for asked in [pool.submit(ask, subject) for _ in range(3)]:
            with pytest.raises(SourceUnavailable, match=r'^oauth2: no token'):
                asked.result(LIMIT_SECONDS)
        assert not api.requests


def test_a_failure_is_not_remembered(secret):
    """The next query asks the endpoint again."""
    grants, fails = Grants(), [True, True, False]
    endpoint_of = replying(lambda request: (500, b'') if fails.pop(0) else grants.endpoint(request))
    with Wire(endpoint_of) as endpoint, Wire(replying(grants.api)) as api:
        subject = client(api, endpoint, secret)
        for _ in range(2):
            with pytest.raises(SourceUnavailable, match=r'\(500\)'):
                ask(subject)
        assert ask(subject) == [1.0]


def test_an_endpoint_that_fails_when_a_token_was_refused(secret):
    """The failure is told as the endpoint's, and the refused token is not tried again: the next query has a new one or none."""
    grants, works = Grants(), [True]
    with Wire(replying(lambda request: grants.endpoint(request) if works[0] else (500, b''))) as endpoint, Wire(replying(grants.api)) as api:
        subject = client(api, endpoint, secret)
        assert ask(subject) == [1.0]
        grants.accepts, works[0] = lambda token: token != 'T1', False
        for _ in range(2):
            with pytest.raises(SourceUnavailable, match=r'^oauth2: .* gives no token \(500\)$'):
                ask(subject)
        works[0] = True
        assert ask(subject) == [1.0]
        assert headers(api) == ['Bearer T1', 'Bearer T1', 'Bearer T2']


def test_a_thread_that_is_ended_while_it_asks_frees_the_others():
    """Whatever ends it: who comes next asks anew."""

    class Ended(BaseException):
        pass

    def secret():
        raise Ended

    subject = tokens(Grants(), Clock(), secret)
    for _ in range(2):
        with pytest.raises(Ended):
            subject.newest(Deadline(LIMIT_SECONDS))


def test_an_endpoint_that_nobody_is_at(secret):
    """It is named, not the query API."""
    with Wire(replying(lambda request: b'')) as endpoint, Wire(replying(lambda request: ONE)) as api:
        endpoint.stop_listening()
        with pytest.raises(SourceUnavailable, match=f'^oauth2: no token: {endpoint.url} cannot be reached: Connection refused'):
            ask(client(api, endpoint, secret))


# -- who gets what


def test_the_endpoint_has_certificates_of_its_own(secret):
    """`oauth2.tls_config` holds for the token endpoint alone, and that of the query API does not."""
    file, context = certificate(secret)
    grants = Grants()
    with Wire(replying(grants.endpoint), context=context) as endpoint, Wire(replying(grants.api)) as api:
        assert ask(client(api, endpoint, secret, tls_config=config.TLS(ca_file=str(file)))) == [1.0]
        with pytest.raises(SourceRefused, match=r'oauth2: no token: .* its certificate is not trusted'):
            ask(client(api, endpoint, secret))


def test_the_endpoint_has_a_proxy_of_its_own(secret):
    """`oauth2.proxy_url` is asked for tokens, and for nothing else."""
    grants = Grants()
    with Wire(replying(grants.endpoint)) as proxy, Wire(replying(grants.api)) as api:
        assert ask(client(api, proxy, secret, token_url='http://login.example/t', proxy_url=proxy.url)) == [1.0]
        assert [request.target for request in proxy.requests] == ['http://login.example/t'] and len(api.requests) == 1


def test_a_redirect_of_the_query_api_takes_no_token_along(secret):
    """Whoever stands there gets nothing."""
    grants = Grants()

    def moved(peer, _number):
        while peer.request():
            peer.answer(b'', 307, b'Location: %b/x\r\n' % elsewhere.url.encode())

    with Wire(replying(grants.endpoint)) as endpoint, Wire(replying(lambda request: ONE)) as elsewhere, Wire(moved) as api:
        with pytest.raises(ResponseError, match='redirects to'):
            ask(client(api, endpoint, secret))
        assert not elsewhere.requests


@pytest.mark.parametrize(('file', 'keys', 'says'), [
    ('none', {}, 'none: secret cannot be read: No such file or directory'),
    ('secret', {'tls_config': config.TLS(ca_file='none.pem')}, 'none.pem: tls_config.ca_file is not a file'),
])  # fmt: skip
def test_files_are_checked(secret, file, keys, says):
    """`check-config` and a query name the file that cannot be used."""
    with Wire(replying(lambda request: ONE)) as endpoint, Wire(replying(lambda request: ONE)) as api:
        subject = client(api, endpoint, secret, client_secret_file=file, **keys)
        for look in (subject.check_files, lambda: ask(subject)):
            with pytest.raises(ConfigError, match=says):
                look()


def test_what_is_not_a_query_has_the_token_too(secret):
    """Every request of an Http, such as for an Alertmanager's silences."""
    grants = Grants()
    with Wire(replying(grants.endpoint)) as endpoint, Wire(replying(grants.api)) as api:
        keys = config.OAuth2(client_id='me', client_secret_file='secret', token_url=endpoint.url)
        assert Http(config.Source(url=api.url, oauth2=keys), root=secret).send('GET', 'api/v2/silences', {}, LIMIT_SECONDS).body == ONE
        assert (endpoint.requests[0].target, headers(api)) == ('/', ['Bearer T1'])
