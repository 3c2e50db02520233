"""Odd but legal answers, and what an answer says of itself: each server's way is understood, and one bad series costs only itself."""

import json

import numpy as np
import pytest
from wire import Wire, replying

from promlstm import config
from promlstm.engine.entities import Entities
from promlstm.errors import QueryRejected, ResponseError
from promlstm.query.prometheus import Prometheus

HISTOGRAM = {'count': '1', 'sum': '1', 'buckets': [[0, '1', '2', '1']]}


@pytest.fixture(scope='module')
def ask():
    """A function of an answer and what is asked, that gives what becomes of it."""
    said = {}
    with Wire(replying(lambda request: said['body'])) as wire:
        prometheus = Prometheus(config.Source(url=wire.url))

        def ask(tree, what=lambda prometheus: prometheus.instant('up', 1000)):
            said['body'] = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
            return what(prometheus)

        yield ask


def between(prometheus):
    (matrix,) = prometheus.range('up', 1000, 1120, 60)
    return matrix


def answer(*result, kind='vector', **more):
    return {'status': 'success', 'data': {'resultType': kind, 'result': list(result)}, **more}


def one(value='1', **labels):
    return {'metric': labels, 'value': [1000, value]}


# -- nothing


@pytest.mark.parametrize(
    'tree',
    [
        {'status': 'success', 'data': None},
        {'status': 'success', 'data': {'resultType': 'vector', 'result': None}},
        {'status': 'success', 'data': {'resultType': 'vector'}},
        {'status': 'success', 'data': {'resultType': 'vector', 'result': []}, 'warnings': None, 'infos': None, 'isPartial': None},
    ],
)
def test_null_is_an_empty_result(ask, tree):
    """A nil slice of Go is null in JSON."""
    vector = ask(tree)
    assert (vector.keys, vector.values.shape, vector.partial) == ([], (0,), False)
    if tree['data']:
        tree['data']['resultType'] = 'matrix'
    matrix = ask(tree, between)
    assert (matrix.keys, matrix.values.shape, matrix.times.tolist()) == ([], (3, 0), [1000, 1060, 1120])


def test_series_without_samples_are_none(ask):
    """A series with null or no values, or with values of another time only, is not met."""
    series = [{'metric': {'a': '1'}, 'values': None}, {'metric': {'a': '2'}, 'values': []}, {'metric': {'a': '3'}}]
    far = {'metric': {'a': '4'}, 'values': [[5, '1'], [1e9, '1']]}
    near = {'metric': {'a': '5'}, 'values': [[1060, '7']]}
    matrix = ask(answer(*series, far, near, kind='matrix'), between)
    assert [json.loads(key) for key in matrix.keys] == [{'a': '5'}]
    np.testing.assert_array_equal(matrix.values[:, 0], [np.nan, 7, np.nan])


# -- one bad series among good ones


ODD = {
    'a native histogram': {'metric': {'a': 'x'}, 'histogram': [1000, HISTOGRAM]},
    'no value': {'metric': {'a': 'x'}},
    'a value that is no number': one('one', a='x'),
    'a value that is null': one(None, a='x'),
    'a bare number': one(1.5, a='x'),
    'a value without a time': {'metric': {'a': 'x'}, 'value': ['1']},
}


@pytest.mark.parametrize('what', ODD)
def test_a_series_that_cannot_be_read_is_left_out_and_counted(ask, what):
    """The others keep their values."""
    vector = ask(answer(one('1', a='1'), ODD[what], one('2', a='2')))
    assert [json.loads(key) for key in vector.keys] == [{'a': '1'}, {'a': '2'}]
    assert (vector.values.tolist(), vector.unread) == ([1, 2], 1)


@pytest.mark.parametrize(
    'odd',
    [
        {'histograms': [[1000, HISTOGRAM]]},
        {'values': [[1000, '1'], [1060, 'x']]},
        {'values': [[1000, 1]]},
        {'values': [['1000', '1']]},
    ],
)
def test_a_series_of_a_range_that_cannot_be_read_is_left_out_and_counted(ask, odd):
    """As in an instant answer."""
    matrix = ask(answer({'metric': {'a': '1'}, 'values': [[1000, '1']]}, {'metric': {'a': 'x'}, **odd}, kind='matrix'), between)
    assert ([json.loads(key) for key in matrix.keys], matrix.unread) == ([{'a': '1'}], 1)


def test_numbers_of_a_mixed_series_are_kept(ask):
    """A series that became a native histogram half-way has its numbers until then."""
    mixed = {'metric': {}, 'values': [[1000, '1']], 'histograms': [[1060, HISTOGRAM]]}
    matrix = ask(answer(mixed, kind='matrix'), between)
    np.testing.assert_array_equal(matrix.values[:, 0], [1, np.nan, np.nan])
    assert matrix.unread == 0


def test_only_unreadable_series_are_an_error(ask):
    """Where there is nothing else the reason is told."""
    with pytest.raises(QueryRejected, match='native histograms, expected numbers'):
        ask(answer({'metric': {'a': 'x'}, 'histograms': [[1000, HISTOGRAM]]}, kind='matrix'), between)
    with pytest.raises(ResponseError, match="a sample is not a number: 'x'"):
        ask(answer({'metric': {}, 'values': [[1000, 'x']]}, kind='matrix'), between)


BAD_LABELS = [b'"/\xff\xfe"', b'null', b'"\\ud83d"', b'"\\udc00x"', b'"\\x41"', b'"\x01"', b'5']


@pytest.mark.parametrize('value', BAD_LABELS)
@pytest.mark.parametrize('kind', ['vector', 'matrix'])
def test_a_broken_label_costs_one_series(ask, value, kind):
    """A bad byte, half a surrogate pair, an escape that there is not, a control character, a null: an answer with it is of use all the same."""
    sample = b'"value":[1000,"1"]' if kind == 'vector' else b'"values":[[1000,"1"]]'
    series = b','.join(b'{"metric":{"path":%b},%b}' % (label, sample) for label in (b'"/a\\\\"', value, b'"\\ud83d\\ude00\\u00e9\\/"'))
    got = ask(b'{"status":"success","data":{"resultType":"%b","result":[%b]}}' % (kind.encode(), series), *([] if kind == 'vector' else [between]))
    table = Entities()
    placement = table.place([got.keys])
    assert [json.loads(identity) for identity in placement.arrivals] == [{'path': '/a\\'}, {'path': '\U0001f600é/'}]
    assert placement.unread == 1 and table.scatter(placement, [got.values if kind == 'vector' else got.values[0]]).tolist() == [[1], [1]]


def test_error_texts_of_gateways(ask):
    """Some hosted services put an object where the text of an error is expected."""
    with pytest.raises(Exception, match=r'could not answer \(200 bad: {"code":403,"message":"no access"}\)'):
        ask({'status': 'error', 'errorType': 'bad', 'error': {'code': 403, 'message': 'no access'}})


# -- what an answer says of itself


@pytest.mark.parametrize('what', [lambda prometheus: prometheus.instant('up', 1000), between], ids=['instant', 'range'])
@pytest.mark.parametrize(
    ('more', 'partial'),
    [
        ({'infos': ['PromQL info: metric might not be a counter, name does not end in _total: "jobs_done" (1:6)']}, False),
        ({'warnings': ['PromQL info: metric might not be a counter, name does not end in _total: "jobs_done" (1:6)']}, False),
        ({'warnings': ['PromQL warning: quantile value should be between 0 and 1, got 90 (1:20)']}, False),
        ({'isPartial': False}, False),
        ({'isPartial': True}, True),
        ({'warnings': ['receive series from Addr: store-b:10901: context deadline exceeded']}, True),
        ({'warnings': ['PromQL info: a', 'results truncated due to limit']}, True),
        ({'warnings': ['remote_read: remote server unreachable'], 'infos': ['b']}, True),
    ],
)
def test_hints_on_the_expression_are_no_partial_data(ask, what, more, partial):
    """Annotations of the engine, under whatever key, say nothing of the data; all other warnings and VictoriaMetrics' mark do."""
    kind = 'matrix' if what is between else 'vector'
    got = ask(answer(kind=kind, **more), what)
    assert (got.partial, bool(got.warnings)) == (partial, partial) and not any('PromQL' in text for text in got.warnings)
    hints = [text for text in more.get('warnings', ()) if 'PromQL' in text] + more.get('infos', [])
    assert sorted(got.hints) == sorted(hints)
    expected = [text for text in more.get('warnings') or () if 'PromQL' in text] + (more.get('infos') or [])
    assert sorted(got.hints) == sorted(expected)


def test_samples_of_another_instant_are_told(ask):
    """Out of a cache, or because a parameter was replaced on the way: by how much is part of the answer. Whole seconds are no other instant."""
    late = ask(answer(one(a='1'), {'metric': {'a': '2'}, 'value': [940, '1']}))
    assert late.offset_seconds == -60.0
    assert ask(answer(one()), lambda prometheus: prometheus.instant('up', 1000.7)).offset_seconds == 0.0
    assert ask(answer()).offset_seconds == 0.0
