"""Answers of the query API: good ones exactly, and whatever else comes as one of our own exceptions that says what it is."""

import gzip
import json
import re
import socket
import threading
import warnings
from contextlib import closing

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from promlstm import config
from promlstm.errors import ConfigError, PromlstmError, QueryRejected, ResponseError, SourceRefused, SourceUnavailable
from promlstm.query.prometheus import Prometheus

LIMIT = 20  # of every wait, in seconds; what is waited for takes milliseconds


class Answering:
    """A server that answers every request with the bytes it was told, head and all, and hangs up."""

    def __enter__(self):
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=64)
        self.url = f'http://127.0.0.1:{self.listener.getsockname()[1]}'
        self.raw, self.asked = b'', []
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with closing(connection):
                connection.settimeout(LIMIT)
                try:
                    self.asked.append(self._request(connection))
                    connection.sendall(self.raw)
                except OSError:
                    continue

    @staticmethod
    def _request(connection):
        """(head, form) of one request, read to its end, so that closing does not reset the connection."""
        data = b''
        while b'\r\n\r\n' not in data:
            if not (part := connection.recv(65536)):
                return data, b''
            data += part
        head, _, body = data.partition(b'\r\n\r\n')
        length = re.search(rb'(?i)content-length: *(\d+)', head)
        while length and len(body) < int(length[1]):
            body += connection.recv(65536)
        return head, body

    def say(self, body, status=200, headers=b''):
        self.raw = b'HTTP/1.1 %d Said\r\nContent-Length: %d\r\nConnection: close\r\n%b\r\n' % (status, len(body), headers) + body

    def client(self, **options):
        return Prometheus(config.Source(url=self.url, **{'timeout': config.Duration(LIMIT), **options}))


@pytest.fixture(scope='module')
def server():
    with Answering() as answering:
        yield answering


def instant(server):
    return server.client().instant('up', 1000)


def between(server):
    return list(server.client().range('up', 1000, 1300, 60))


def build(server):
    return server.client().build()


ASK = pytest.mark.parametrize('ask', [instant, between, build])


def vector(*series, **more):
    return {'status': 'success', 'data': {'resultType': 'vector', 'result': list(series)}, **more}


def matrix(*series):
    return {'status': 'success', 'data': {'resultType': 'matrix', 'result': list(series)}}


GOOD = [
    vector({'metric': {'__name__': 'up', 'instance': 'é'}, 'value': [1000, '1']}, {'metric': {}, 'value': [1000.5, 'NaN']}),
    matrix({'metric': {'instance': 'a'}, 'values': [[1000, '1'], [1060, '+Inf']]}),
    {'status': 'success', 'data': {'resultType': 'scalar', 'result': [1000, '1.5']}},
    {'status': 'error', 'errorType': 'bad_data', 'error': 'parse error'},
    {'status': 'success', 'data': {'version': '3.0.1'}},
]


def said(server, tree, ask=instant, **options):
    """What comes of an answer that is this JSON."""
    server.say(json.dumps(tree, ensure_ascii=False).encode() if not isinstance(tree, bytes) else tree, **options)
    return ask(server)


def refused(error, server, tree, ask=instant, **options):
    with pytest.raises(error) as caught:
        said(server, tree, ask, **options)
    assert type(caught.value) is error
    return str(caught.value).removeprefix(server.url)


# -- good answers


def test_an_instant_answer_becomes_columns(server):
    """Raw labels and doubles, NaN and infinities as Prometheus writes them, warnings along; unknown keys are no trouble."""
    series = [{'metric': {'a': str(i)}, 'value': [1000, text]} for i, text in enumerate(['1', '-0.5e-7', 'NaN', '+Inf', '-Inf', '0'])]
    got = said(server, vector(*series, warnings=['partial', 'data'], infos=['x'], stats={'y': 1}))
    np.testing.assert_array_equal(got.values, [1, -0.5e-7, np.nan, np.inf, -np.inf, 0])
    assert got.values.dtype == np.float64 and got.warnings == ('partial', 'data')
    assert [json.loads(key) for key in got.keys] == [{'a': str(i)} for i in range(6)] and {type(key) for key in got.keys} == {bytes}


def test_an_empty_answer_is_no_error(server):
    """No series are no series."""
    got = said(server, vector())
    assert (got.keys, got.values.shape, said(server, matrix(), between)[0].values.shape) == ([], (0,), (6, 0))


def test_a_scalar_is_one_entity_without_labels(server):
    """scalar(up) can be watched, too."""
    got = said(server, {'status': 'success', 'data': {'resultType': 'scalar', 'result': [1000, '1.5']}})
    assert (got.keys, got.values.tolist()) == ([b'{}'], [1.5])


def test_a_range_answer_lies_on_its_grid(server):
    """Samples go to the steps they belong to, missing ones are NaN, and what lies beyond the grid is left out."""
    got = said(
        server,
        matrix({'metric': {}, 'values': [[940, '9'], [1000, '1'], [1120.001, '3'], [1300, '6'], [1e300, '7'], [-1e300, '7']]}),
        between,
    )
    np.testing.assert_array_equal(got[0].values[:, 0], [1, np.nan, 3, np.nan, np.nan, 6])
    assert got[0].times.tolist() == [1000, 1060, 1120, 1180, 1240, 1300]


def test_a_compressed_answer(server):
    """gzip is asked for and understood."""
    assert said(server, gzip.compress(json.dumps(vector()).encode()), headers=b'Content-Encoding: gzip\r\n').keys == []
    assert b'Accept-Encoding: gzip' in server.asked[-1][0]


def test_an_answer_that_shall_not_be_compressed(server):
    """A server compresses nothing then; one that does it all the same is understood."""
    body = json.dumps(vector()).encode()
    for answer, headers in ((body, b''), (gzip.compress(body), b'Content-Encoding: gzip\r\n')):
        server.say(answer, headers=headers)
        assert server.client(enable_compression=False).instant('up', 0).keys == []
        assert b'Accept-Encoding: identity' in server.asked[-1][0]


@pytest.mark.parametrize(
    ('tree', 'is_'),
    [
        ({'status': 'success', 'data': {'version': '3.0.1'}}, {'version': '3.0.1'}),
        ({}, {}),
        ([], {}),
        ({'data': 5}, {}),
        ({'data': [1]}, {}),
        (b'<html>', {}),
    ],
)
def test_who_does_not_say_what_it_is_is_nobody_in_particular(server, tree, is_):
    """Build information is a dict, empty where the server has none to give."""
    assert said(server, tree, build) == is_


# -- what the query API refuses

PARSE = {'status': 'error', 'errorType': 'bad_data', 'error': '1:3: parse error: unexpected end'}


@pytest.mark.parametrize(
    ('status', 'tree', 'error', 'says'),
    [
        (400, PARSE, QueryRejected, ' rejects the expression (400 bad_data: 1:3: parse error: unexpected end): up'),
        (
            422,
            {'status': 'error', 'errorType': 'execution', 'error': 'many-to-many'},
            QueryRejected,
            ' rejects the expression (422 execution: many-to-many): up',
        ),
        (
            503,
            {'status': 'error', 'errorType': 'timeout', 'error': 'query timed out'},
            SourceUnavailable,
            ' could not answer (503 timeout: query timed out)',
        ),
        (429, b'slow down\n', SourceUnavailable, " answered 429: 'slow down'"),
        (502, b'<html>\n<h1>Bad\n Gateway', SourceUnavailable, " answered 502: '<html> <h1>Bad Gateway'"),
        (401, b'who are you', SourceRefused, " answered 401: not allowed; check basic_auth, authorization or oauth2: 'who are you'"),
        (200, {'status': 'success'}, ResponseError, ' answered 200 with a success without data'),
        (200, {'status': 'error'}, SourceUnavailable, ' could not answer (200 200: no reason given)'),
    ],
)
def test_a_refusal_says_who_refuses_what_and_why(server, status, tree, error, says):
    """A wrong expression is never retried, a busy server is: two exceptions, with the server's own words."""
    assert refused(error, server, tree, status=status) == says


def test_a_login_page_is_no_answer(server):
    """Something between us and Prometheus that answers 200 with a page: the message shows how it begins."""
    text = refused(ResponseError, server, b'<!doctype html>' + b'<p>' * 500)
    assert text.startswith(' answered 200 with something that is not a query result (') and text.endswith("<p>'")
    assert "it begins with '<!doctype html><p>" in text and len(text) < 300


HISTOGRAM = {'metric': {'a': 'b'}, 'histogram': [1000, {'count': '1', 'sum': '1', 'buckets': [[0, '1', '2', '1']]}]}


@pytest.mark.parametrize(
    ('tree', 'error', 'says'),
    [
        (
            matrix({'metric': {}, 'values': [[1, '1']]}),
            QueryRejected,
            'the expression gives a matrix, expected a vector (one value per series): up',
        ),
        (
            {'status': 'success', 'data': {'resultType': 'string', 'result': [1, 'x']}},
            QueryRejected,
            'the expression gives a string, expected a vector (one value per series): up',
        ),
        (
            vector(HISTOGRAM),
            QueryRejected,
            'the expression gives native histograms, expected numbers (use histogram_quantile or histogram_count): up',
        ),
        (vector({'metric': {}, 'value': [1, 'one']}), ResponseError, "a sample is not a number: 'one'"),
        (
            vector({'metric': {}, 'value': [1, 1]}),
            ResponseError,
            'the result of a query has an unknown shape: Expected `str`, got `int` - at `$[0].value[1]`',
        ),
        (
            vector({'value': [1, '1']}),
            ResponseError,
            'the result of a query has an unknown shape: Object missing required field `metric` - at `$[0]`',
        ),
    ],
)
def test_a_result_of_another_kind_is_named(server, tree, error, says):
    """What kind of result came, what was expected, and for which expression."""
    assert refused(error, server, tree) == says


def test_a_vector_is_no_range(server):
    """A range query that is answered with an instant vector comes from something that is not Prometheus."""
    assert refused(ResponseError, server, vector(), between) == 'query_range gave a vector, expected a matrix: up'


# -- what comes over the wire


def test_the_largest_answer_fits_the_memory_limit(server, monkeypatch):
    """In a container of 48 MiB an answer of 5 MB is refused by default, and the client goes on; a setting of one's own holds."""
    monkeypatch.setattr('promlstm.limits.memory_bytes', lambda: 48 * 2**20)
    server.say(gzip.compress(b' ' * 5_000_000, mtime=0), headers=b'Content-Encoding: gzip\r\n')
    with pytest.raises(ResponseError, match=r'more than max_response \(4194304 bytes\)'):
        server.client().instant('up', 0)
    with pytest.raises(ResponseError, match='is not a query result'):
        server.client(max_response=config.Size(6_000_000)).instant('up', 0)


@ASK
def test_an_answer_that_is_too_large_is_not_read_to_its_end(server, ask):
    """Beyond max_response reading stops, compressed answers are measured unpacked, and the message says what to do."""
    server.say(gzip.compress(b' ' * 5_000_000, mtime=0), headers=b'Content-Encoding: gzip\r\n')
    small = server.client(max_response=config.Size(1_000_000))
    with pytest.raises(ResponseError) as caught:
        {instant: lambda: small.instant('up', 0), between: lambda: list(small.range('up', 0, 60, 60)), build: small.build}[ask]()
    assert str(caught.value) == f'{server.url} answered with more than max_response (1000000 bytes): aggregate the expression'


@ASK
@pytest.mark.parametrize(
    'raw',
    [
        b'',
        b'nonsense',
        b'\x16\x03\x01\x00',
        b'HTTP/1.1 200 OK\r\n',
        b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"status":',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"sta',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n\r\n',
        b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip at all',
        b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n' + gzip.compress(b'{}' * 500, mtime=0)[:20],
        b'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n',
        b'HTTP/1.1 200 OK\r\nContent-Length: 5, 7\r\n\r\n',
        b'HTTP/1.1 200 OK\r\n' + b'A: b\r\n' * 300 + b'\r\n',
        b'HTTP/1.1 200 OK\r\nA: ' + b'b' * 70000 + b'\r\n\r\n',
        b'HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n',
        b'HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\n\r\n',
        b'HTTP/1.1 302 Found\r\n\r\n',
        b'HTTP/1.1 999 ?\r\n\r\n',
        b'HTTP/1.1 204 None\r\n\r\n',
        b'HTTP/1.1 200 OK\r\nSet-Cookie: =;;==\xff\r\n\r\n{}',
        b'HTTP/1.1 100 Continue\r\n\r\n',
    ],
)
def test_a_broken_transfer_is_an_error_of_the_source(server, raw, ask):
    """Whatever happens on the wire is a SourceError in one line, or, for build information, nothing known."""
    server.raw = raw
    try:
        assert ask(server) == {} and ask is build
    except (SourceUnavailable, ResponseError) as error:
        assert str(error).isprintable() and server.url in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just('1') | st.just('success'),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(['status', 'data', 'resultType', 'result', 'metric', 'value', 'values', 'a']), inner, max_size=4)
    ),
    max_leaves=8,
)


@st.composite
def mutated(draw):
    """A good answer after something happened to it: a part replaced by another JSON, or some bytes by others."""
    tree = json.loads(json.dumps(draw(st.sampled_from(GOOD))))
    if draw(st.booleans()):
        place = tree
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            place[key] = draw(JSON)
            break
        return json.dumps(tree).encode('utf-8', 'surrogatepass')
    data = bytearray(json.dumps(tree).encode())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 4))] = draw(
            st.binary(max_size=4) | st.sampled_from([b'"', b'\\', b'\x00', b'1e999', b'\xff', b'\\ud800'])
        )
    return bytes(data)


DEEP = b'[' * 100_000


@ASK
@given(body=st.binary(max_size=100) | mutated(), status=st.sampled_from([200, 400, 404, 500]))
@example(body=DEEP, status=200)
@example(body=b'{"status":"success","data":{"resultType":"vector","result":' + DEEP, status=200)
@example(body=b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":' + DEEP + b'}]}}', status=200)
@example(body=b'{"status":"success","data":{"version":' + DEEP, status=200)
@example(
    body=b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1e308,"1"],[-1e308,"1"]]}]}}', status=200
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_answer_escapes_the_exception_tree(server, ask, body, status):
    """Any bytes at all, and good answers that were damaged, are a result or one of our exceptions, in one printable line."""
    server.say(body, status)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        try:
            ask(server)
        except PromlstmError as error:
            assert str(error).encode()


# -- files


@pytest.mark.parametrize('name', ['ca_file', 'cert_file'])
@ASK
def test_a_tls_file_that_is_not_there_is_a_mistake_of_the_configuration(tmp_path, name, ask):
    """The file is named; without one nothing is asked."""
    source = config.Source(url='https://127.0.0.1:1', tls_config=config.TLS(**{name: 'none.pem'}), timeout=config.Duration(LIMIT))
    client = Prometheus(source, root=tmp_path)
    with pytest.raises(ConfigError, match=f'^{re.escape(str(tmp_path))}/none.pem: tls_config.{name} is not a file$'):
        {instant: lambda: client.instant('up', 0), between: lambda: list(client.range('up', 0, 60, 60)), build: client.build}[ask]()


@pytest.mark.parametrize('files', [('cert_file',), ('cert_file', 'key_file'), ('ca_file',)])
@ASK
def test_a_tls_file_that_holds_something_else_is_an_error_of_the_source(server, tmp_path, files, ask):
    """A certificate alone, with its key, or an authority that cannot be read: no connection, and no traceback."""
    (tmp_path / 'x.pem').write_text('nothing')
    tls = config.TLS(**dict.fromkeys(files, 'x.pem'))
    client = Prometheus(
        config.Source(url=server.url.replace('http', 'https'), tls_config=tls, timeout=config.Duration(LIMIT)), root=tmp_path
    )
    with pytest.raises(SourceUnavailable, match=r'cannot be reached: .*(PEM|certificate|TLS|SSL)'):
        {instant: lambda: client.instant('up', 0), between: lambda: list(client.range('up', 0, 60, 60)), build: client.build}[ask]()


def authorized(server, tmp_path, data, kind):
    (tmp_path / 'secret').write_bytes(data)
    login = {'authorization': config.Authorization(credentials_file='secret')}
    if kind == 'basic_auth':
        login = {'basic_auth': config.BasicAuth(username='me', password_file='secret')}
    source = config.Source(url=server.url, timeout=config.Duration(LIMIT), **login)
    server.say(json.dumps(vector()).encode())
    Prometheus(source, root=tmp_path).instant('up', 0)
    return server.asked[-1][0]


def test_credentials_are_read_anew_for_every_query(server, tmp_path):
    """A rotated file is used at once; the line feed at its end is no part of the secret."""
    assert b'Authorization: Bearer one\r\n' in authorized(server, tmp_path, b'one\n', 'authorization') + b'\r\n'
    assert b'Authorization: Bearer two\r\n' in authorized(server, tmp_path, b'two', 'authorization') + b'\r\n'
    assert b'Authorization: Basic bWU6b25l\r\n' in authorized(server, tmp_path, b'one\n', 'basic_auth') + b'\r\n'


def test_a_password_is_sent_in_utf_8(server, tmp_path):
    """As Prometheus reads it (RFC 7617, section 2.1)."""
    assert b'Authorization: Basic bWU6w7w=\r\n' in authorized(server, tmp_path, 'ü\n'.encode(), 'basic_auth') + b'\r\n'


@pytest.mark.parametrize('kind', ['authorization', 'basic_auth'])
@pytest.mark.parametrize(
    'data', [b'', b'\n', b'hunter2\nhunter2\n', b'hunter2\r\nX-Other: 1', b'hunter2\x00', b'hunter2\xff\xfe', b'hunter2\x1b']
)
def test_a_secret_that_cannot_be_sent_is_not_printed(server, tmp_path, data, kind):
    """A file of several lines, of none or of no text is refused by its name, and what is in it stays in it."""
    with pytest.raises(ConfigError) as caught:
        authorized(server, tmp_path, data, kind)
    assert (
        str(caught.value) == f'{tmp_path}/secret: expected a secret of one line of printable {"text" if kind == "basic_auth" else "ASCII"}'
    )
    assert 'hunter2' not in str(caught.value)


def test_a_secret_that_is_not_there(server, tmp_path):
    """The file is named, with the reason of the operating system."""
    source = config.Source(url=server.url, authorization=config.Authorization(credentials_file='none'))
    with pytest.raises(ConfigError) as caught:
        Prometheus(source, root=tmp_path).instant('up', 0)
    assert str(caught.value) == f'{tmp_path}/none: secret cannot be read: No such file or directory'
