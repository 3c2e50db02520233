"""Ways to ask: what proxies, gateways for tenants and hosted services want of a client, and what they say where it is refused."""

import json

import pytest
from wire import Wire, replying

from promlstm import config
from promlstm.errors import QueryRejected, ResponseError, SourceUnavailable
from promlstm.query.prometheus import Prometheus

VECTOR = json.dumps({'status': 'success', 'data': {'resultType': 'vector', 'result': [{'metric': {}, 'value': [0, '1']}]}}).encode()
PARSE = json.dumps({'status': 'error', 'errorType': 'bad_data', 'error': 'parse error'}).encode()


def client(wire, **settings):
    return Prometheus(config.Source(url=wire.url + settings.pop('path', ''), **settings))


def test_parameters_are_in_the_url():
    """Where a gateway looks for the tenant; the question is in the body, and no parameter is sent twice."""
    with Wire(replying(lambda request: VECTOR if request.url.get('namespace') == 'shop' else (400, b'Bad Request'))) as wire:
        subject = client(wire, params={'namespace': 'shop', 'extra_filters[]': '{team="a b"}'})
        assert subject.instant('up{a="&"}', 0).values.tolist() == [1.0]
        (request,) = wire.requests
        assert (request.method, request.url) == ('POST', {'namespace': 'shop', 'extra_filters[]': '{team="a b"}'})
        assert request.form == {'query': 'up{a="&"}', 'time': '0.000', 'timeout': '30s'}


# Thanos 0.37, pkg/store/proxy_merge.go, and its page on the component query: what a store did not answer is a warning, where partial answers are allowed
THANOS = json.dumps({
    'status': 'success', 'data': {'resultType': 'vector', 'result': [{'metric': {}, 'value': [0, '1']}]},
    'warnings': ['receive series from Addr: store-b:10901 LabelSets: {} MinTime: 0 MaxTime: 1: rpc error: code = Unavailable'],
    'infos': ['PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "x" (1:6)'],
}).encode()  # fmt: skip


def test_thanos_may_answer_in_part():
    """The parameter is sent with every query; what is lacking is told, and what is said of the expression is something else."""
    with Wire(replying(lambda request: THANOS if request.url.get('partial_response') == 'true' else (422, PARSE))) as wire:
        got = client(wire, params={'partial_response': 'true', 'dedup': 'true'}).instant('rate(x[5m])', 0)
    assert got.partial and len(got.warnings) == len(got.hints) == 1 and 'store-b' in got.warnings[0] and 'counter' in got.hints[0]


def test_mimir_wants_a_tenant():
    """Without the header it answers 401 `no org id` (Mimir and Cortex: dskit, user.ErrNoOrgID); with it, below its prefix, it is asked by POST."""
    with Wire(replying(lambda request: VECTOR if request.headers.get('X-Scope-OrgID') == 'shop' else (401, b'no org id'))) as wire:
        assert client(wire, path='/prometheus', headers={'X-Scope-OrgID': 'shop'}).instant('up', 0).values.tolist() == [1.0]
        assert wire.requests[0].target == '/prometheus/api/v1/query'
        with pytest.raises(SourceUnavailable, match=r'answered 401: not allowed.*no org id'):
            client(wire, path='/prometheus').instant('up', 0)


REFUSALS = {
    '405': (405, b'method not allowed'),
    '501': (501, b'Unsupported method'),
    '415': (415, b'no forms here'),
    'a proxy in words': (403, b'{"message":"HTTP method POST is not allowed"}'),
    'Kubernetes': (403, b'User "promlstm" cannot create resource "services/proxy" in API group ""'),
}


@pytest.mark.parametrize('why', REFUSALS)
def test_get_where_post_is_not_taken(why):
    """The first query finds it out, all others are sent as GET, with the same question, parameters and path."""
    with Wire(replying(lambda request: VECTOR if request.method == 'GET' else REFUSALS[why])) as wire:
        subject = client(wire, path='/prom', params={'dedup': 'true'})
        for time in (0, 0, 0):
            assert subject.instant('up', time).values.tolist() == [1.0]
        assert [request.method for request in wire.requests] == ['POST', 'GET', 'GET', 'GET']
        assert wire.requests[-1].target.startswith('/prom/api/v1/query?') and wire.requests[-1].body == b''
        assert wire.requests[-1].url == {'dedup': 'true', 'query': 'up', 'time': '0.000', 'timeout': '30s'}


def test_a_refused_expression_is_not_a_refused_method():
    """What is wrong with the question is told at once, and POST remains."""
    with Wire(replying(lambda request: (400, PARSE))) as wire:
        subject = client(wire)
        for _ in range(2):
            with pytest.raises(QueryRejected, match='parse error'):
                subject.instant('up up', 0)
        assert [request.method for request in wire.requests] == ['POST', 'POST']


def test_whom_nobody_lets_in_is_told_what_was_said_first():
    """A 403 for both methods is a matter of credentials."""
    with Wire(replying(lambda request: (403, b'your role cannot create or get queries' if request.method == 'POST' else b'no'))) as wire:
        with pytest.raises(SourceUnavailable, match=r'answered 403: not allowed; check basic_auth, authorization or oauth2: .your role'):
            client(wire).instant('up', 0)
        assert [request.method for request in wire.requests] == ['POST', 'GET']


def test_a_403_that_names_no_method_is_final():
    """It is not asked again with another method."""
    with Wire(replying(lambda request: (403, b'forbidden'))) as wire, pytest.raises(SourceUnavailable, match='not allowed'):
        client(wire).instant('up', 0)
    assert len(wire.requests) == 1


def test_a_server_that_changes_its_mind():
    """What is behind the URL may be replaced: GET is given up for POST again where it is refused, as for a question too long for a URL."""
    taken = ['GET']
    with Wire(replying(lambda request: VECTOR if request.method == taken[0] else (405 if request.method == 'POST' else 414, b''))) as wire:
        subject = client(wire)
        subject.instant('up', 0)
        taken[0] = 'POST'
        subject.instant('up', 0), subject.instant('up', 0)
        assert [request.method for request in wire.requests] == ['POST', 'GET', 'GET', 'POST', 'POST']


@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_the_method_of_the_configuration_is_the_only_one(method):
    """Where it is not taken the error names the key."""
    with Wire(replying(lambda request: (405, b'no'))) as wire:
        with pytest.raises(ResponseError, match=f'answered 405: it takes another method than {method}; check its key method'):
            client(wire, method=method).instant('up', 0)
        assert [request.method for request in wire.requests] == [method]


def test_an_expression_that_is_too_long_for_a_url_says_so():
    """Where only GET may be used the error names the key."""
    with Wire(replying(lambda request: (414, b'too long'))) as wire, pytest.raises(ResponseError, match=r'too long for a URL; set its key method'):
        client(wire, method='GET').instant('up', 0)


@pytest.mark.parametrize('path', ['', '/', '//', '/prom', '/select/0/prometheus/', '/ä b'])
def test_a_path_prefix_stays(path):
    """Slashes at its end are none, and what is no URL character is escaped."""
    with Wire(replying(lambda request: VECTOR)) as wire:
        client(wire, path=path).instant('up', 0)
        assert wire.requests[0].target == path.rstrip('/').replace('ä', '%C3%A4').replace(' ', '%20') + '/api/v1/query'


def test_a_wrong_path_is_told_apart():
    """404 without an answer of the API: the URL, not the expression, is to be looked at."""
    says = 'answered 404: there is no api/v1/query below it; check the path of its url'
    with Wire(replying(lambda request: (404, b'404 page not found'))) as wire, pytest.raises(ResponseError, match=says):
        client(wire).instant('up', 0)


@pytest.mark.parametrize(('status', 'header', 'seconds'), [(503, b'7', 7.0), (429, b'120', 120.0), (503, b'Fri, 31 Dec 1999', None), (500, b'', None)])
def test_when_to_come_back_is_part_of_the_error(status, header, seconds):
    """Retry-After in seconds; a date or none at all is not known."""

    def script(peer, number):
        peer.request()
        peer.answer(b'busy', status, b'Retry-After: %b\r\n' % header)

    with Wire(script) as wire, pytest.raises(SourceUnavailable) as caught:
        client(wire).instant('up', 0)
    assert caught.value.retry_after_seconds == seconds


@pytest.mark.parametrize('status', [429, 503])
def test_a_server_that_asks_for_rest_is_left_alone(status):
    """By every query, not only by the one that was answered so; whoever asks is told how long it still wants."""
    with Wire(replying(lambda request: (status, b'busy', b'Retry-After: 60\r\n'))) as wire:
        asked = client(wire)
        for expr in ('a', 'b'):
            with pytest.raises(SourceUnavailable) as caught:
                asked.instant(expr, 0)
            assert 50 < caught.value.retry_after_seconds <= 60
        with pytest.raises(SourceUnavailable, match='asked for a pause'):
            next(asked.range('a', 0, 60, 60))
    assert len(wire.requests) == 1


def test_no_rest_is_longer_than_five_minutes():
    """A wrong Retry-After does not end the scores for a day; where there is none, the next query is sent."""
    replies, now = [(429, b'busy', b'Retry-After: 86400\r\n'), (503, b'busy'), VECTOR], [1000.0]
    with Wire(replying(lambda request: replies.pop(0))) as wire:
        asked = Prometheus(config.Source(url=wire.url), steady=lambda: now[0])
        for _ in range(2):
            with pytest.raises(SourceUnavailable):
                asked.instant('a', 0)
            now[0] += 301
        assert len(asked.instant('a', 0).keys) == 1
    assert len(wire.requests) == 3


def test_how_far_the_clock_of_the_server_is_from_ours():
    """By its Date header, at every answer; not known where there is none."""
    dates = [b'Date: Thu, 01 Jan 1970 00:02:00 GMT\r\n', b'Date: yesterday\r\n', b'']

    def script(peer, number):
        while peer.request():
            peer.answer(VECTOR, headers=dates.pop(0))

    with Wire(script) as wire:
        subject, skews = Prometheus(config.Source(url=wire.url), now=lambda: 150.0), []
        for _ in range(3):
            subject.instant('up', 0)
            skews.append(subject.clock_skew_seconds)
        assert skews[0] == -29.0 and all(skew != skew for skew in skews[1:])


@pytest.mark.parametrize(
    ('series', 'max_response', 'expected'),
    [
        (1, '200MB', [1000]),
        (1000, '200MB', [400, 400, 200]),  # 400 000 samples
        (100_000, '200MB', [12] * 83 + [4]),  # labels of 100 000 series in each answer: no fewer steps than twelve
        (100_000, '100MB', [5] * 200),  # of which twelve would be more than half of the largest answer
        (1_000_000, '200MB', [1] * 1000),
    ],
)  # fmt: skip
def test_a_range_is_asked_for_in_parts_that_fit(series, max_response, expected):
    """In few of them, each no more than half of what an answer may be; together they have every step once."""
    empty = json.dumps({'status': 'success', 'data': {'resultType': 'matrix', 'result': []}}).encode()
    with Wire(replying(lambda request: empty)) as wire:
        matrices = list(client(wire, max_response=config.Size(int(max_response[:-2]) * 1_000_000)).range('x', 0, 59_940, 60, series))
    assert [len(matrix.times) for matrix in matrices] == expected
    assert [time for matrix in matrices for time in matrix.times] == [60.0 * number for number in range(1000)]


def test_a_server_for_which_a_part_is_too_much_is_asked_for_less():
    """For the rest of the range; what it cannot answer, either, is an error."""
    most, asked = [4 * 60], []
    empty = json.dumps({'status': 'success', 'data': {'resultType': 'matrix', 'result': []}}).encode()

    def answer(request):
        asked.append(round(float(request.form['end']) - float(request.form['start'])) // 60)  # one more than the steps, which is before the first
        return empty if asked[-1] * 60 <= most[0] else (503, b'')

    with Wire(replying(answer)) as wire:
        subject = client(wire)
        matrices = list(subject.range('x', 0, 59 * 60, 60, 100_000))
        assert [len(matrix.times) for matrix in matrices] == [4] * 15 and asked == [12] + [4] * 15
        most[0] = 0
        with pytest.raises(SourceUnavailable):
            list(subject.range('x', 0, 59 * 60, 60, 100_000))
        assert asked[16:] == [12, 4]
