"""The embedded source answers as Prometheus does, and whatever is wrong with an answer reaches the operator in the right class and words."""

import math
import re
import time

import numpy as np
import orjson
import pytest
import requests
from servers import Prometheus as RealPrometheus
from servers import promtool

from promlstm import config, errors
from promlstm.demo import answers
from promlstm.demo.answers import Reply
from promlstm.demo.fleet import Fleet, Series
from promlstm.demo.source import Source, multiples
from promlstm.query.prometheus import Prometheus

NOW = 1_772_532_000.0
STEP = 30.0


class Sines:
    """A telemetry of a few sines; series 3 has no sample in odd minutes, and NOW is an even one."""

    def __init__(self, n=6):
        sines = [Series('sine', {'job': 'x' if i % 2 else 'y', 'instance': f'i{i}'}) for i in range(n)]
        self.series = (*sines, Series('other', {'A': '"q"\\'}))

    def values(self, times):
        values = np.sin(np.asarray(times)[:, None] / 1000 + np.arange(len(self.series)))
        values[np.asarray(times) // 60 % 2 == 1, 3] = np.nan
        return values

    def value(self, i, times):
        return self.values(times)[:, i]


@pytest.fixture
def source():
    with Source(Sines(), lambda: NOW) as source:
        yield source


def client(source, **settings):
    return Prometheus(config.Source(url=source.url, **{'timeout': config.Duration(1), **settings}))


def ask(source, what='query', **form):
    """(status, JSON) of a request without promlstm's own client."""
    response = requests.post(f'{source.url}/api/v1/{what}', data=form, timeout=5)
    return response.status_code, response.json()


# --- as other servers do


def test_range_answers_on_multiples_of_the_step(source):
    """The grid of VictoriaMetrics and of query front ends, on request: times are multiples, and start and end are rounded down."""
    source.grid = multiples
    _, said = ask(source, 'query_range', query='sine{instance="i0"}', start=NOW - 70, end=NOW - 10, step=STEP)
    assert [at for at, _ in said['data']['result'][0]['values']] == [NOW - 90, NOW - 60, NOW - 30]


def test_a_request_can_be_refused_before_it_is_answered(source):
    """By its method, its parameters, or whether its connection was used before."""
    source.refuse = lambda asked: answers.failure(405, 'bad_data', 'no POST') if asked.method == 'POST' else None
    assert ask(source, query='other')[0] == 405
    assert client(source).instant('other', NOW).values.tolist() == [pytest.approx(math.sin(NOW / 1000 + 6))]
    source.refuse = lambda asked: None if asked.url.get('tenant') == 'x' else answers.failure(400, 'bad_data', 'no tenant')
    assert len(client(source, params={'tenant': 'x'}).instant('sine', NOW).keys) == 6
    assert source.asked[-1].url == {'tenant': 'x'} and source.asked[-1].form['query'] == 'sine'
    source.refuse = lambda asked: Reply(200, answers.JSON, b'', manner='gone') if asked.kept else None
    prometheus = client(source)
    assert [len(prometheus.instant('sine', NOW).keys) for _ in range(3)] == [6, 6, 6]


def test_a_partial_answer_says_so(source):
    """Series of a storage node that is away are not in the answer, which is marked."""
    source.faults.next(1, answers.partial('sine{job="x"}'))
    vector = client(source).instant('sine', NOW)
    assert (len(vector.keys), vector.partial) == (3, True)


# --- as Prometheus does


def test_an_instant_answer_has_the_form_of_prometheus(source):
    """A vector holds sorted labels with the name among them, the time that was asked and the value as text."""
    response = requests.get(f'{source.url}/api/v1/query', params={'query': 'sine{instance="i1"}', 'time': str(NOW)}, timeout=5)
    assert response.headers['Content-Type'] == 'application/json'
    value = math.sin(NOW / 1000 + 1)
    assert response.json() == {
        'status': 'success',
        'data': {
            'resultType': 'vector',
            'result': [{'metric': {'__name__': 'sine', 'instance': 'i1', 'job': 'x'}, 'value': [NOW, pytest.approx(str(value))]}],
        },
    }
    assert b'{"__name__":"sine","instance":"i1","job":"x"}' in response.content


def test_values_of_an_instant_and_of_a_range_are_identical(source):
    """What a range says of a step is bit for bit what an instant query says at that time, and what the telemetry has."""
    prometheus = client(source)
    [matrix] = prometheus.range('sine', NOW - 20 * STEP, NOW, STEP)
    for row, at in enumerate(matrix.times):
        vector = prometheus.instant('sine', at)
        there = [matrix.keys.index(key) for key in vector.keys]
        assert np.array_equal(matrix.values[row, there], vector.values)
    assert np.array_equal(matrix.values, Sines().values(matrix.times)[:, :6], equal_nan=True)


def test_a_long_range_arrives_whole_though_in_parts(source):
    """More steps than one answer may hold are asked for in parts that join without a gap or an overlap."""
    matrices = list(client(source).range('sine{instance="i0"}', NOW - 25_000, NOW, 1))
    times = np.concatenate([matrix.times for matrix in matrices])
    values = np.concatenate([matrix.values[:, 0] for matrix in matrices])
    assert len(matrices) == 3
    assert np.array_equal(times, NOW - 25_000 + np.arange(25_001))
    assert np.array_equal(values, np.sin(times / 1000))


def test_more_points_than_prometheus_gives_are_refused(source):
    """A range of 11 000 steps is answered and one of 11 001 refused, in the words of Prometheus."""
    assert ask(source, 'query_range', query='sine', start=NOW - 11_000, end=NOW, step=1)[0] == 200
    status, said = ask(source, 'query_range', query='sine', start=NOW - 11_001, end=NOW, step='1s')
    assert (status, said['errorType']) == (400, 'bad_data')
    assert said['error'].startswith('exceeded maximum resolution of 11,000 points per timeseries')


def test_nothing_from_the_future(source):
    """Neither an instant nor a range gives a sample beyond the source's clock."""
    prometheus = client(source)
    assert prometheus.instant('sine', NOW + 0.001).keys == []
    [matrix] = prometheus.range('sine', NOW - STEP, NOW + 5 * STEP, STEP)
    assert np.isnan(matrix.values[2:]).all() and not np.isnan(matrix.values[1]).all()


def test_a_query_without_a_time_is_answered_at_the_present(source):
    """`time` left out means the source's own clock, and a time may be written as RFC 3339."""
    assert ask(source, query='other')[1]['data']['result'][0]['value'][0] == NOW
    assert ask(source, query='other', time='2026-03-03T10:00:00Z')[1]['data']['result'][0]['value'][0] == NOW


@pytest.mark.parametrize(
    ('expr', 'found'),
    [
        ('sine', 6),
        ('{__name__="sine"}', 6),
        ('{__name__=~"s.*|other"}', 7),
        ('sine{job="x"}', 3),
        ('sine{job!="x"}', 3),
        ('sine{instance=~"i[12]"}', 2),
        ('sine{instance=~"i"}', 0),
        ('sine{instance!~"i[12]", job=\'x\',}', 2),
        ('sine{absent=""}', 6),
        ('sine{absent!=""}', 0),
        ('other{A="\\"q\\"\\\\"}', 1),
        ('other{A=`"q"\\`}', 1),
        ('unknown', 0),
    ],
)
def test_selectors(source, expr, found):
    """Each operator, quote and corner of a selector finds the series that Prometheus would find."""
    assert len(client(source).instant(expr, NOW).keys) == found


@pytest.mark.parametrize(
    'expr', ['', 'rate(sine[5m])', 'sine[5m]', '1 - sine', 'sine{job}', 'sine{job="x"', 'sine{job=~"("}', '{}', '{a=""}', 'sine{a="\\d"}']
)
def test_anything_else_is_a_bad_expression(source, expr):
    """What is no selector gets a 400 of the type bad_data that says so, and the client takes it for a rejected expression."""
    status, said = ask(source, query=expr)
    assert (status, said['status'], said['errorType']) == (400, 'error', 'bad_data')
    assert said['error'].startswith('invalid parameter "query": ') and 'parse error' in said['error']
    with pytest.raises(errors.QueryRejected, match='rejects the expression'):
        client(source).instant(expr, NOW)


@pytest.mark.parametrize(
    ('form', 'why'),
    [
        ({'start': 'soon'}, 'invalid parameter "start": cannot parse "soon" to a valid timestamp'),
        ({'end': '1'}, 'invalid parameter "end": end timestamp must not be before start time'),
        ({'step': '0'}, 'invalid parameter "step": zero or negative query resolution step widths are not accepted'),
        ({'step': 'x'}, 'invalid parameter "step": cannot parse "x" to a valid duration'),
    ],
)
def test_bad_parameters_are_named(source, form, why):
    """A parameter that makes no sense gets a 400 in the words of Prometheus."""
    status, said = ask(source, 'query_range', **{'query': 'sine', 'start': '10', 'end': '20', 'step': '5', **form})
    assert status == 400 and said['error'].startswith(why)


def test_readiness_build_and_unknown_paths(source):
    """/-/ready says ready, buildinfo has a version, and anything else is not found."""
    assert requests.get(source.url + '/-/ready', timeout=5).status_code == 200
    assert client(source).build()['version']
    assert requests.get(source.url + '/api/v1/rules', timeout=5).status_code == 404


def test_requests_are_remembered(source):
    """A test can see what was asked, and with which headers."""
    client(source, headers={'X-Scope-OrgID': 'team'}).instant('sine', NOW)
    [asked] = source.asked
    assert (asked.method, asked.path, asked.form['query'], asked.headers['X-Scope-OrgID']) == ('POST', '/api/v1/query', 'sine', 'team')


def test_twenty_thousand_series_are_answered_in_seconds():
    """A benchmark's size, 20 000 series by 400 steps, leaves as JSON in seconds."""
    with Source(Sines(20_000), lambda: NOW) as source:
        began = time.monotonic()
        selection = source.query_range({'query': 'sine', 'start': str(NOW - 399 * 60), 'end': str(NOW), 'step': '60'})
        size = len(selection.reply().body)
    assert selection.values.shape == (400, 20_000) and size > 200e6
    assert time.monotonic() - began < 30


# --- the metrics page


def test_promtool_finds_nothing_wrong_with_the_metrics_page(tools):
    """The page of the fleet is in the text format, with help and type, and promtool's linter is content."""
    with Source(Fleet(1, NOW, hosts=2), lambda: NOW) as source:
        response = requests.get(source.url + '/metrics', timeout=5)
    assert response.headers['Content-Type'].startswith('text/plain; version=0.0.4')
    assert promtool('check', 'metrics', input=response.text).stdout == ''


@pytest.mark.real
def test_a_real_prometheus_scrapes_the_fleet(tools, tmp_path):
    """A Prometheus that scrapes the page with honor_labels holds the fleet's labels and the values that the API gives."""
    fleet = Fleet(1, NOW, hosts=3)
    with Source(fleet, lambda: NOW) as source:
        scrape = {'job_name': 'fleet', 'honor_labels': True, 'static_configs': [{'targets': [source.url.removeprefix('http://')]}]}
        with RealPrometheus(tmp_path, scrape_configs=[scrape]) as prometheus:
            result = prometheus.wait_for('node_cpu_busy_ratio', lambda result: len(result) == 3)
        vector = client(source).instant('node_cpu_busy_ratio', NOW)
    scraped = {orjson.dumps(series['metric'], option=orjson.OPT_SORT_KEYS): float(series['value'][1]) for series in result}
    assert scraped == dict(zip(vector.keys, vector.values.tolist(), strict=True))


# --- faults to order: each reaches the caller in its class, with its cause in words


FAULTS = [
    (answers.unavailable, errors.SourceUnavailable, '503 unavailable: Service Unavailable: the head is being replayed'),
    (answers.rejected, errors.QueryRejected, '422 execution: found duplicate series'),
    (answers.too_many, errors.SourceUnavailable, "429: 'too many outstanding requests'"),
    (answers.unauthorized, errors.SourceRefused, '401: not allowed; check basic_auth, authorization or oauth2'),
    (answers.bad_gateway, errors.SourceUnavailable, '502: .*502 Bad Gateway'),
    (answers.not_json, errors.ResponseError, 'something that is not a query result .*Sign in'),
    (answers.truncated, errors.ResponseError, 'answered 200 .*truncated'),
    (answers.cut_off, errors.SourceUnavailable, 'ended the connection during an answer'),
    (answers.garbled, errors.ResponseError, 'cannot be decompressed'),
    (answers.hang, errors.SourceUnavailable, 'did not answer within the timeout of 1 s'),
    (answers.drip, errors.SourceUnavailable, 'did not answer within the timeout of 1 s'),
    (answers.oversized(5_000_000), errors.ResponseError, r'max_response \(3000000 bytes\)'),
    (lambda _: Reply(200, answers.JSON, b'{"status":"success"}'), errors.ResponseError, 'without data'),
    (lambda _: Reply(200, answers.JSON, b'[]'), errors.ResponseError, 'not a query result'),
    (lambda _: Reply(200, answers.JSON, b''), errors.ResponseError, 'not a query result'),
    (lambda _: Reply(200, answers.JSON, b'\xff\xfe'), errors.ResponseError, 'not a query result'),
    (lambda _: Reply(500, answers.JSON, b'{"status":"error"}'), errors.SourceUnavailable, '500'),
    (lambda _: Reply(404, answers.TEXT, b'404 page not found\n'), errors.ResponseError, '404'),
    (lambda _: Reply(302, answers.TEXT, b'', {'Location': '/login'}), errors.ResponseError, 'redirects to /login: set'),
    (lambda _: Reply(200, answers.JSON, _body('string', b'[1,"x"]')), errors.QueryRejected, 'gives a string, expected a vector'),
    (
        lambda _: Reply(200, answers.JSON, _body('vector', b'[{"metric":{},"value":[1,"many"]}]')),
        errors.ResponseError,
        "not a number: 'many'",
    ),
    (lambda _: Reply(200, answers.JSON, _body('vector', b'[{"metric":{},"values":1}]')), errors.ResponseError, 'unknown shape'),
    (lambda _: Reply(200, answers.JSON, _body('vector', b'[{"metric":{},"histogram":[1,{}]}]')), errors.QueryRejected, 'native histograms'),
]


def _body(kind, result):
    return b'{"status":"success","data":{"resultType":"%b","result":%b}}' % (kind.encode(), result)


@pytest.mark.parametrize(('fault', 'error', 'words'), FAULTS, ids=lambda value: getattr(value, '__name__', ''))
def test_a_fault_is_an_error_that_names_its_cause(source, fault, error, words):
    """Whatever is wrong with an answer raises the class that says what an operator can do, names the url and the cause, and is over in time."""
    prometheus = client(source, max_response=config.Size(3_000_000))
    source.faults.next(1, fault)
    began = time.monotonic()
    with pytest.raises(errors.SourceError) as raised:
        prometheus.instant('sine', NOW)
    assert time.monotonic() - began < 5
    assert type(raised.value) is error
    assert re.search(words, str(raised.value)), str(raised.value)
    assert len(prometheus.instant('sine', NOW).keys) == 6


@pytest.mark.parametrize(
    'fault', [answers.unavailable, answers.truncated, answers.cut_off, answers.hang, answers.not_json], ids=lambda fault: fault.__name__
)
def test_a_range_fails_as_an_instant_does(source, fault):
    """The faults of answers strike range queries too, and a later part as well as the first; the one after the first is fetched with it."""
    prometheus = client(source)
    parts = prometheus.range('sine', NOW - 40_000, NOW, 1)
    next(parts)
    source.faults.next(1, fault)
    with pytest.raises(errors.SourceError):
        list(parts)


def test_ordered_faults_come_in_order_and_end(source):
    """Two unavailable answers, then one empty, then all is well."""
    prometheus = client(source)
    source.faults.next(2, answers.unavailable)
    source.faults.next(1, answers.empty)
    for _ in range(2):
        with pytest.raises(errors.SourceUnavailable):
            prometheus.instant('sine', NOW)
    assert prometheus.instant('sine', NOW).keys == []
    assert len(prometheus.instant('sine', NOW).keys) == 6


def test_a_refused_connection_is_unavailable_until_the_listener_is_back(source):
    """After stop() connections are refused, kept ones too; after start() the same client is answered on the same port."""
    prometheus = client(source)
    assert len(prometheus.instant('sine', NOW).keys) == 6
    source.stop()
    with pytest.raises(errors.SourceUnavailable, match='refused'):
        prometheus.instant('sine', NOW)
    source.start()
    assert len(prometheus.instant('sine', NOW).keys) == 6


def test_warnings_come_with_the_values(source):
    """A warning leaves the values as they are and is handed on, for instant and range alike."""
    prometheus = client(source)
    source.faults.hold(answers.warn('store gateway is gone'))
    vector = prometheus.instant('sine', NOW)
    [matrix] = prometheus.range('sine', NOW - STEP, NOW, STEP)
    assert len(vector.keys) == 6
    assert vector.warnings == matrix.warnings == ('store gateway is gone',)


def test_a_compressed_answer_is_the_same(source):
    """Values that come compressed are those that come plain."""
    prometheus = client(source)
    source.faults.next(1, answers.compressed)
    first, second = (prometheus.instant('sine', NOW) for _ in range(2))
    assert first.keys == second.keys and np.array_equal(first.values, second.values)


def test_what_is_not_finite_is_a_sample(source):
    """NaN, +Inf and -Inf arrive as such, in instants and ranges."""
    prometheus = client(source)
    source.faults.hold(answers.nonfinite)
    assert np.array_equal(prometheus.instant('sine', NOW).values[:3], [np.nan, np.inf, -np.inf], equal_nan=True)
    [matrix] = prometheus.range('sine', NOW - STEP, NOW, STEP)
    assert np.array_equal(matrix.values[:, 1:3], [[np.inf, -np.inf]] * 2)


def test_duplicated_series_arrive_twice(source):
    """Every series comes twice, for the entity table to refuse."""
    source.faults.next(1, answers.duplicated)
    keys = client(source).instant('sine', NOW).keys
    assert len(keys) == 12 and len(set(keys)) == 6


@pytest.mark.parametrize(('fault', 'before', 'after'), [(answers.vanish, 6, 3), (answers.appear, 3, 6)])
def test_series_come_and_go(source, fault, before, after):
    """From the given time on the series of a selector are gone, or there, in instants and ranges alike."""
    prometheus = client(source)
    source.faults.hold(fault('sine{job="x"}', since=NOW - 120))
    assert len(prometheus.instant('sine', NOW - 240).keys) == before
    assert len(prometheus.instant('sine', NOW).keys) == after
    [matrix] = prometheus.range('sine', NOW - 240, NOW, 120)
    assert (~np.isnan(matrix.values)).sum(axis=1).tolist() == [before, after, after]
