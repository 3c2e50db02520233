"""Logs: the answers of Loki and VictoriaLogs as their documents show them, and windows that are the same live and in history."""

import numpy as np
import pytest
from logs_server import QUERY, Lines
from wire import Wire, replying

from promlstm import config
from promlstm.errors import QueryRejected, ResponseError, SourceUnavailable
from promlstm.query.newest import last_returned
from promlstm.query.prometheus import Prometheus
from promlstm.query.victorialogs import asked_every

# https://grafana.com/docs/loki/latest/reference/loki-http-api/#query-logs-at-a-single-point-in-time, the second example, without `...`
LOKI_VECTOR = b"""{"status": "success", "data": {"resultType": "vector", "result": [
  {"metric": {}, "value": [1588889221, "1267.1266666666666"]},
  {"metric": {"level": "warn"}, "value": [1588889221, "37.77166666666667"]},
  {"metric": {"level": "info"}, "value": [1588889221, "37.69"]}], "stats": {"summary": {"bytesProcessedPerSecond": 1}}}}"""
# The same document, #query-logs-within-a-range-of-time
LOKI_MATRIX = b"""{"status": "success", "data": {"resultType": "matrix", "result": [
  {"metric": {"level": "info"}, "values": [[1588889221, "137.95"], [1588889281, "467.115"], [1588889341, "658.8516666666667"]]},
  {"metric": {"level": "warn"}, "values": [[1588889221, "137.27833333333334"], [1588889281, "467.69"]]}], "stats": {}}}"""
LOKI_STREAMS = b"""{"status": "success", "data": {"resultType": "streams", "result": [
  {"stream": {"filename": "/var/log/myproject.log", "job": "varlogs", "level": "info"},
   "values": [["1568234281726420425", "foo"], ["1568234269716526880", "bar"]]}], "stats": {}}}"""
LOKI_BUILD = b'{"version":"3.4.2","revision":"4c6d8f0","branch":"HEAD","buildDate":"","buildUser":"","goVersion":""}'

# https://docs.victoriametrics.com/victorialogs/querying/#querying-log-stats and #querying-log-range-stats
VL_VECTOR = b"""{"status": "success", "data": {"resultType": "vector", "result": [
  {"metric": {"__name__": "count(*)", "level": "info"}, "value": [1704153600, "20395342"]},
  {"metric": {"__name__": "count(*)", "level": "warn"}, "value": [1704153600, "1239222"]},
  {"metric": {"__name__": "count(*)", "level": "error"}, "value": [1704153600, "832"]}]}}"""
VL_MATRIX = b"""{"status": "success", "data": {"resultType": "matrix", "result": [
  {"metric": {"__name__": "count(*)", "level": "info"},
   "values": [[1704067200, "103125"], [1704088800, "102500"], [1704110400, "103125"], [1704132000, "102500"]]},
  {"metric": {"__name__": "count(*)", "level": "error"}, "values": [[1704067200, "31"], [1704088800, "25"], [1704110400, "31"]]}]}}"""


def api(wire, kind, **settings):
    return Prometheus(config.Source(url=wire.url, kind=kind, **settings))


def test_loki_is_asked_and_read_as_its_document_has_it():
    """Times in seconds with a point, which it tells from nanoseconds by; no parameter that it does not know; the tenant in a header."""
    answers = {'query': LOKI_VECTOR, 'query_range': LOKI_MATRIX, 'buildinfo': LOKI_BUILD}
    with Wire(replying(lambda request: answers[request.target.rpartition('/')[2]])) as wire:
        subject = api(wire, 'loki', headers={'X-Scope-OrgID': 'Tenant1|Tenant2'})
        vector = subject.instant('sum by (level) (rate({job="varlogs"}[10m]))', 1588889221)
        assert vector.values.tolist() == [1267.1266666666666, 37.77166666666667, 37.69] and vector.offset_seconds == 0 and not vector.partial
        (matrix,) = subject.range('x', 1588889221, 1588889341, 60)
        np.testing.assert_array_equal(matrix.values, [[137.95, 137.27833333333334], [467.115, 467.69], [658.8516666666667, np.nan]])
        assert subject.build() == {'version': '3.4.2'} and subject.retention_seconds() is None
    first, second, _ = wire.requests
    assert (first.target, first.form) == (
        '/loki/api/v1/query', {'query': 'sum by (level) (rate({job="varlogs"}[10m]))', 'time': '1588889221.000'},
    )  # fmt: skip
    assert second.target == '/loki/api/v1/query_range' and second.form['step'] == '60.000' and '.' in second.form['start']
    assert {request.headers['X-Scope-OrgID'] for request in wire.requests} == {'Tenant1|Tenant2'}


@pytest.mark.parametrize(
    'said', [b'parse error at line 1, col 5: syntax error: unexpected IDENTIFIER', b'maximum number of series (500) reached for a single query']
)
def test_loki_says_what_is_wrong_in_plain_text(said):
    """A wrong expression is told as such, in its words, and is not tried again; a busy server is."""
    with Wire(replying(lambda request: (400, said))) as wire, pytest.raises(QueryRejected, match='rejects the expression') as caught:
        api(wire, 'loki').instant('x', 0)
    assert said.decode()[:30] in str(caught.value)
    with Wire(replying(lambda request: (429, b'too many outstanding requests'))) as wire, pytest.raises(SourceUnavailable, match='answered 429'):
        api(wire, 'loki').instant('x', 0)


def test_lines_are_no_samples():
    """A selector without a metric query gives streams, which is said."""
    with Wire(replying(lambda request: LOKI_STREAMS)) as wire, pytest.raises(QueryRejected, match='gives a streams, expected a vector'):
        api(wire, 'loki').instant('{job="varlogs"}', 0)


def test_victorialogs_is_read_as_its_document_has_it():
    """A bucket is named by its start, and is the sample of its end; the window of a live query is a step; the tenant is in headers."""
    with Wire(replying(lambda request: VL_MATRIX if 'range' in request.target else VL_VECTOR)) as wire:
        subject = asked_every(api(wire, 'victorialogs', headers={'AccountID': '12', 'ProjectID': '34'}), 6 * 3600.0)
        assert subject.instant('* | stats by (level) count(*)', 1704153600).values.tolist() == [20395342, 1239222, 832]
        (matrix,) = subject.range('* | stats by (level) count(*)', 1704067200 + 6 * 3600, 1704153600, 6 * 3600)
    np.testing.assert_array_equal(matrix.values, [[103125, 31], [102500, 25], [103125, 31], [102500, np.nan]])
    first, second = wire.requests
    assert first.target == '/select/logsql/stats_query'
    assert first.form == {
        'query': '* | stats by (level) count(*)', 'time': '1704153600.000', 'start': '1704132000.000', 'end': '1704153600.000', 'timeout': '30s',
    }  # fmt: skip
    assert second.target == '/select/logsql/stats_query_range' and (first.headers['AccountID'], first.headers['ProjectID']) == ('12', '34')
    assert {key: second.form[key] for key in ('start', 'end', 'step')} == {'start': '1704067200.000', 'end': '1704153600.000', 'step': '21600s'}


NOW = 1_750_000_020.0
LINES = [
    (float(time), level)
    for level, rate, seed in (('info', 0.5, 1), ('error', 0.02, 2))
    for time in NOW - 7200 + np.cumsum(np.random.default_rng(seed).exponential(1 / rate, int(7200 * rate)))
]


@pytest.mark.parametrize('delay', [0.0, 10.0, 60.0, 0.25])
@pytest.mark.parametrize('step', [60.0, 300.0, 7.5])
def test_history_is_what_live_queries_would_have_said(step, delay):
    """Window by window, for a delay that moves the buckets too, and for instants that are further apart than a window."""
    end = NOW // step * step - delay
    with Lines(LINES).serve() as wire:
        subject = asked_every(api(wire, 'victorialogs'), step)
        for apart in (step, 5 * step, 900.0):
            (matrix,) = subject.range(QUERY, end - 12 * apart if apart * 12 < 7200 else end - 5 * apart, end, apart)
            live = [subject.instant(QUERY, float(time)) for time in matrix.times]
            for row, vector in zip(matrix.values, live, strict=True):
                found = dict(zip(vector.keys, vector.values.tolist(), strict=True))
                assert [found.get(key) for key in matrix.keys] == [None if np.isnan(value) else value for value in row]
    assert np.nansum(matrix.values) > 0


def test_buckets_of_an_older_server_are_refused():
    """It knows no offset: what it would count is something else than live steps do. With whole steps of delay it is right."""
    with Lines(LINES, offset_known=False).serve() as wire:
        subject = asked_every(api(wire, 'victorialogs'), 60.0)
        whole = NOW // 60 * 60
        with pytest.raises(ResponseError, match='does not know the parameter offset'):
            list(subject.range(QUERY, whole - 610, whole - 10, 60.0))
        (matrix,) = subject.range(QUERY, whole - 660, whole - 60, 60.0)
        assert len(matrix.times) == 11 and np.nansum(matrix.values) > 0


def test_a_wrong_expression_is_told():
    """In the words of the server; when it last returned something is not asked of it."""
    with Lines([]).serve() as wire:
        subject = asked_every(api(wire, 'victorialogs'), 60.0)
        with pytest.raises(QueryRejected, match='cannot parse query'):
            subject.instant('up', NOW)
        assert subject.instant(QUERY, NOW).keys == []
        asked = len(wire.requests)
        assert last_returned(subject, QUERY, NOW) == '' and len(wire.requests) == asked


def test_other_kinds_are_asked_as_they_are():
    """A window is of VictoriaLogs alone."""
    with Wire(replying(lambda request: LOKI_VECTOR)) as wire:
        loki = api(wire, 'loki')
        assert asked_every(loki, 60.0) is loki


def test_a_server_that_hangs_is_not_asked_for_all_windows():
    """The first failure ends it: nobody waits for each of some hundred time-outs."""
    def script(peer, number):
        if peer.request() and number == 0:
            peer.answer(b'busy', 503)
        peer.gone()

    with Wire(script) as wire:
        subject = asked_every(api(wire, 'victorialogs', timeout=1.0), 60.0)
        with pytest.raises(SourceUnavailable):
            list(subject.range(QUERY, NOW - 64 * 300, NOW, 300.0))
        assert len(wire.requests) < 20
