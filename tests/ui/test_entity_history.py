"""The past of an entity as real servers have it, whatever the detector's expression and whatever its labels."""

import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from requirements import absent
from servers import TOOLS, Prometheus, Server, backfill, free_port, http, wait_until

from promlstm import config as configuration
from promlstm.demo.fleet import Fleet
from promlstm.demo.source import Source
from promlstm.engine import labels
from promlstm.ui import promql
from promlstm.ui.asking import Asking, Busy
from promlstm.ui.clients import Clients
from promlstm.ui.history import History
from promlstm.ui.past import Feature, Past
from promlstm.ui.sparklines import Sparklines, Wanted
from promlstm.ui.subject import Subject
from promlstm.ui.window import window

END = 1_750_000_200
START = END - 3 * 3600
SCORED = END - 3600  # our gauges begin
ALARM, ALARM_END = END - 1800, END - 1200
GONE, GONE_END = END - 900, END - 600
SPIKE = END - 2820  # one step, and not one on a grid of five minutes that ends at END
STEP = 60
LOOKBACK = 300  # a sample from a file has no end, so the server gives it for so long
HOSTILE = ['say "hi"', 'back\\slash', 'a$1b', 'one\ntwo', '"} or vector(1) or up{a="', 'ä☃', '.*', "it's", '{{ 7 }}', '`tick`']


def value(time, entity):
    """What is observed of entity number 0, 1, …: different for each."""
    return 10.0 * (entity + 1) + (time - START) / 3600


def samples():
    """(series, time, value) of telemetry over three hours, and of gauges over the last one, of two replicas."""
    for time in range(START, END + 1, STEP):
        for number, name in enumerate(['a', 'b', *HOSTILE]):
            text = labels.selector((('host', name), ('job', 'x')))
            yield f'load_bytes{text}', time, value(time, number)
            yield f'requests_total{text}', time, (number + 1) * (time - START)
            yield f'parts_total{labels.selector((("host", name), ("job", "x"), ("part", "1")))}', time, (number + 1) * (time - START)
        yield 'load_bytes{host="a",job="x",zone="z"}', time, 500.0
        if time < SCORED:
            continue
        for replica, plus in (('one', 0.0), ('two', 0.25)):
            of = f'detector="load",host="a",job="x",promlstm_replica="{replica}"'
            score = 2.0 + plus if ALARM <= time <= ALARM_END or time == SPIKE else 0.25
            observed = 1000.0 if time == SPIKE else value(time, 0)
            if not GONE <= time <= GONE_END:
                yield f'promlstm_anomaly_score{{{of}}}', time, score
                yield f'promlstm_observed{{{of}}}', time, observed
                yield f'promlstm_expected{{{of}}}', time, 10.0
                yield f'promlstm_expected_upper{{{of}}}', time, 20.0
                if score >= 1:
                    yield f'promlstm_view{{{of},view="spike"}}', time, 0.75
            else:
                yield f'promlstm_entity_missing{{{of}}}', time, 1
            for number, bound in enumerate(('lower', 'middle', 'upper')):
                yield f'promlstm_forecast{{{of},horizon="1h",bound="{bound}"}}', time, 10.0 + number
        yield 'promlstm_observed{detector="load",host="a",job="x",zone="z"}', time, 500.0
        for feature, share in (('cpu', 0.75), ('disk', 0.25)):
            yield f'promlstm_observed{{detector="several",host="a",job="x",feature="{feature}"}}', time, 100 * share
            yield f'promlstm_contribution{{detector="several",host="a",job="x",feature="{feature}"}}', time, share


CONFIG = """
prometheus: {url: %s}
detectors:
  - {name: load, expr: load_bytes, forecast: {horizons: [1h]}}
  - {name: plain, expr: 'load_bytes{job=~".+"}'}
  - {name: rate, expr: 'rate(requests_total[5m])  # per second'}
  - {name: summed, expr: 'sum by (host, job) (rate(parts_total[5m]))'}
  - {name: renamed, expr: 'label_replace(load_bytes{zone=""}, "server", "$1", "host", "(?s)(.*)") * on () group_left () vector(2)'}
  - {name: joined, by: [host], features: {cpu: 'load_bytes{zone=""}', disk: 'sum by (host) (requests_total)'}}
  - {name: several, by: [host, job], features: {cpu: 'load_bytes{zone=""}', disk: 'sum by (host, job) (requests_total)'}}
  - {name: quiet, expr: nothing_at_all}
  - {name: total, expr: sum(load_bytes)}
  - {name: wrong, expr: 'sum(('}
"""


class Victoria(Server):
    """A VictoriaMetrics, which keeps samples however old."""

    query, ask = Prometheus.query, Prometheus.ask

    def __init__(self, directory):
        if not os.access(TOOLS / 'victoria-metrics', os.X_OK):
            absent('no victoria-metrics in .cache/tools/bin: .ci/install-tools fetches it')
        port = free_port()
        command = (TOOLS / 'victoria-metrics', f'-httpListenAddr=127.0.0.1:{port}', f'-storageDataPath={directory / "data"}', '-retentionPeriod=100y')
        super().__init__(command, '/health', port=port)


@pytest.fixture(scope='module', params=['prometheus', 'victoria-metrics'])
def prometheus(request, tmp_path_factory):
    """Each server that speaks PromQL and is at hand, with the samples."""
    directory = tmp_path_factory.mktemp('history')
    listed = sorted(samples(), key=lambda sample: sample[0].partition('{')[0])
    if request.param == 'victoria-metrics':
        with Victoria(directory) as server:
            text = ''.join(f'{series} {number!r} {time * 1000}\n' for series, time, number in listed)
            http.post(f'{server.url}/api/v1/import/prometheus', data=text.encode(), timeout=60).raise_for_status()
            http.get(f'{server.url}/internal/force_flush', timeout=60).raise_for_status()
            wait_until(lambda: server.query('count(load_bytes)', END), 60, 'the samples')
            yield server
        return
    text = ''.join(f'{series} {number!r} {time}\n' for series, time, number in listed)
    (directory / 'all.om').write_text(text + '# EOF\n')
    server = Prometheus(directory, scrape_configs=[], retention='10y')
    server.data.mkdir(parents=True)
    backfill(server.data, directory / 'all.om')
    with server:
        yield server


def subject(url, detector, others=(), entities=1, text=CONFIG, **entity):
    config = configuration.parse(text % url)
    settings = next(each for each in config.detectors if each.name == detector)
    return Subject(config, settings, tuple(sorted(entity.items())), others, entities)


def past(of, span=3600, end=END, points=600, history=None):
    return (history or History(Clients())).past(of, window(span, end, END, STEP, points))


@pytest.mark.real
def test_our_gauges_say_what_was_observed_and_expected_and_how_it_was_scored(prometheus):
    """Of two replicas the higher value counts; what is of another entity with the same labels and more is not of this one."""
    found = past(subject(prometheus.url, 'load', ('host', 'job', 'zone'), host='a', job='x'))
    (feature,) = found.features
    there = ~((found.times >= GONE) & (found.times <= GONE_END) | (found.times == SPIKE))
    assert found.origin == 'gauges' and found.notes == [] and len(found.times) == 61 and feature.unit == 'bytes'
    np.testing.assert_allclose(feature.observed[there], value(found.times[there], 0))
    assert np.nanmax(feature.expected) == 10 and np.nanmax(feature.upper) == 20 and np.isnan(feature.lower).all()
    assert found.score[found.times == ALARM] == 2.25
    assert [(run.start, run.end, run.peak) for run in found.alarms] == [(SPIKE, SPIKE, 2.25), (ALARM, ALARM_END, 2.25)]
    (missing,) = found.missing
    assert missing.start == GONE and GONE_END <= missing.end <= GONE_END + LOOKBACK
    assert np.nanmax(found.views['spike']) == 0.75 and found.tree()['view_words']['spike'] == 'a sudden spike'


@pytest.mark.real
def test_an_entity_with_fewer_labels_is_told_apart_even_where_nobody_knows_of_the_others(prometheus):
    found = past(subject(prometheus.url, 'load', host='a', job='x'))
    assert np.nanmax(found.features[0].observed) == 1000.0 and found.score[found.times == ALARM] == 2.25


@pytest.mark.real
def test_what_lasts_for_one_step_is_seen_where_points_are_further_apart(prometheus):
    found = past(subject(prometheus.url, 'load', ('host', 'job', 'zone'), host='a', job='x'), points=12)
    (feature,) = found.features
    assert found.resolution == 300 and not (found.times == SPIKE).any()
    assert np.nanmax(feature.observed) < 1000 and np.nanmax(feature.high) == 1000
    assert [run.peak for run in found.alarms] == [2.25, 2.25] and found.missing


@pytest.mark.real
def test_before_our_gauges_the_expression_says_what_was_observed(prometheus):
    found = past(subject(prometheus.url, 'load', ('host', 'job', 'zone'), host='a', job='x'), span=3 * 3600)
    observed, early = found.features[0].observed, found.times < SCORED
    np.testing.assert_allclose(observed[early], value(found.times[early], 0))
    assert np.isnan(found.score[early]).all() and 'only observed values are known' in found.remarks[0] and not found.notes


@pytest.mark.real
def test_the_newest_forecast_stands_ahead(prometheus):
    found = past(subject(prometheus.url, 'load', ('host', 'job', 'zone'), host='a', job='x'))
    assert found.forecast.values == [{'feature': '', 'horizon': '1h', 'seconds': 3600.0, 'lower': 10.0, 'middle': 11.0, 'upper': 12.0}]


@pytest.mark.real
def test_each_feature_has_its_own_columns(prometheus):
    found = past(subject(prometheus.url, 'several', ('host', 'job'), host='a', job='x'))
    assert [(each.name, np.nanmax(each.observed), np.nanmax(each.contribution)) for each in found.features] == [('cpu', 75, 0.75), ('disk', 25, 0.25)]


@pytest.mark.real
@pytest.mark.parametrize('name', ['b', *HOSTILE])
@pytest.mark.parametrize('detector', ['plain', 'rate', 'summed', 'renamed', 'joined'])
def test_without_gauges_the_expression_is_asked_for_this_entity_alone(prometheus, detector, name):
    """The expression for one entity gives what the whole expression gives for it, and no other series."""
    number = ['a', 'b', *HOSTILE].index(name)
    entity = {'plain': {'host': name, 'job': 'x'}, 'renamed': {'host': name, 'job': 'x', 'server': name}, 'joined': {'host': name}}.get(
        detector, {'host': name, 'job': 'x'}
    )
    others = {'plain': ('host', 'job', 'zone')}.get(detector, tuple(entity))
    of = subject(prometheus.url, detector, others, **entity)
    found = past(of, span=1800)
    expected = {'plain': value(END, number), 'renamed': 2 * value(END, number), 'joined': value(END, number)}.get(detector, number + 1)
    assert found.origin == 'expression' and found.features[0].observed[-1] == pytest.approx(expected, rel=0.02), found.notes
    assert 'honor_labels' in found.notes[0]
    for expr in of.detector.queries.values():
        (series,) = prometheus.query(promql.restricted(expr, of.entity, of.others), END)
        assert {key: series['metric'][key] for key in entity} == entity


@pytest.mark.real
def test_a_detector_that_has_just_begun_has_no_gauges_yet(prometheus):
    """Where it is too early to say that nobody scrapes promlstm, nobody is told to change that."""
    of = subject(prometheus.url, 'plain', ('host', 'job', 'zone'), host='b', job='x')
    for new, told in ((True, 'yet. It has them once it has scraped promlstm a few times.'), (False, 'To see score, band and expected value')):
        found = past(replace(of, new=new), span=1800)
        (note,) = found.remarks if new else found.notes  # of what is as usual nobody is warned
        assert note.startswith(f'Only observed values are shown: prometheus ({prometheus.url}) has no gauges') and told in note


@pytest.mark.real
def test_one_selector_takes_all_of_several_entities_whatever_their_labels_hold(prometheus):
    found = prometheus.query(promql.selector_of_any('load_bytes', [(('host', name), ('job', 'x')) for name in HOSTILE]), END)
    assert sorted(series['metric']['host'] for series in found) == sorted(HOSTILE)


@pytest.mark.real
def test_an_entity_without_labels_is_the_expression_itself(prometheus):
    found = past(subject(prometheus.url, 'total'), span=1800)
    assert found.origin == 'expression' and found.features[0].observed[-1] == pytest.approx(sum(value(END, number) for number in range(12)) + 500)


@pytest.mark.real
@pytest.mark.parametrize('names', [('b',), ('b', *HOSTILE)])
@pytest.mark.parametrize('detector', ['plain', 'rate', 'summed'])
def test_the_last_hours_of_many_entities_come_by_their_expression(prometheus, detector, names):
    wanted = [Wanted(subject(prometheus.url, detector, ('host', 'job', 'zone'), host=name, job='x'), '') for name in names]
    answer = Sparklines(Clients()).of(wanted, END)
    expected = [value(END, number) if detector == 'plain' else number + 1 for number in range(1, len(names) + 1)]
    assert answer['notes'] == [] and [series['observed'][-1] for series in answer['series']] == pytest.approx(expected, rel=0.02)


@pytest.mark.real
def test_the_last_hours_of_many_entities_come_by_our_gauges_where_they_are(prometheus):
    wanted = [
        Wanted(subject(prometheus.url, 'load', ('host', 'job', 'zone'), host='a', job='x'), ''),
        Wanted(subject(prometheus.url, 'several', ('host', 'job'), host='a', job='x'), 'disk'),
    ]
    answer = Sparklines(Clients()).of(wanted, END)
    assert [series['observed'][-1] for series in answer['series']] == [value(END, 0), 25.0]


@pytest.mark.real
def test_what_there_is_not_is_said(prometheus):
    found = past(subject(prometheus.url, 'quiet', host='a'))
    assert found.origin == 'none' and found.notes == [f'prometheus ({prometheus.url}) has no samples of this entity in this range. Choose another range.']


@pytest.mark.real
def test_an_expression_that_is_wrong_is_said(prometheus):
    found = past(subject(prometheus.url, 'wrong', host='a'))
    assert found.origin == 'none' and 'rejects the expression' in found.notes[0]


def test_a_server_that_is_gone_is_said():
    found = past(subject('http://127.0.0.1:9', 'load', host='a'))
    assert found.origin == 'none' and len(found.notes) == 1 and found.notes[0].startswith('prometheus did not answer') and len(found.times) == 61


def test_a_server_that_knows_selectors_only_says_what_was_observed():
    """The one of the demo is such a server."""
    fleet = Fleet(1, START, hosts=2)
    first = fleet.series[0]
    text = f'prometheus: {{url: %s}}\ndetectors: [{{name: one, expr: {first.metric}}}]'
    with Source(fleet, lambda: END) as source:
        found = past(subject(source.url, 'one', text=text, **first.labels), points=10)
    assert found.origin == 'expression' and np.isfinite(found.features[0].observed).all(), found.notes


@pytest.mark.parametrize(
    ('observed', 'words'),
    [([9, 1], 'rose within 5 steps'), ([1, 0], 'fell within 5 steps'), ([9, 0], 'a jump within 5 steps'), ([9, np.nan], 'rose within 5 steps')],
)  # fmt: skip
def test_what_the_model_saw_is_said_as_in_the_reason(observed, words):
    """With the direction in which the feature that contributes most went, where that was one."""
    blank, column = np.full(2, np.nan), lambda *values: np.array(values, float)
    features = [
        Feature(name, '', column(*values), column(5, 0.5), *(blank,) * 4, column(*share), blank, blank)
        for name, values, share in (('cpu', observed, (0.9, 0.8)), ('disk', [0, 9], (0.1, np.nan)))
    ]
    past = Past(0.0, 60.0, 60.0, False, 'gauges', column(0, 60), features, column(2, 2), {'steps_5': column(1, 1)}, [], [], None)
    assert past.tree()['view_words'] == {'steps_5': words}


def test_fifty_entities_cost_few_queries():
    """One for our gauges, and where there are none one for each detector, but no more than three."""
    fleet = Fleet(1, START, hosts=12)
    names = sorted({each.metric for each in fleet.series})[:5]
    text = 'prometheus: {url: %s}\ndetectors:\n' + ''.join(f'  - {{name: {name}, expr: {name}}}\n' for name in names)
    with Source(fleet, lambda: END) as source:
        source.asked.clear()
        listed = [each for each in fleet.series if each.metric in names][:50]
        wanted = [Wanted(subject(source.url, each.metric, text=text, **each.labels), '') for each in listed]
        answer = Sparklines(Clients()).of(wanted, END)
        assert len(listed) > 20 and len(source.asked) <= 8  # each in two ways, as this server knows selectors only
        drawn = [each['detector'] for each in answer['series'] if any(each['observed'])]
        assert len(set(drawn)) == 3 and len(drawn) == sum(each.metric in drawn for each in listed)


def test_an_expression_of_many_series_is_asked_for_fewer_points_or_not_at_all():
    """A plain selector is never too costly: it is narrowed to one series."""
    from promlstm.ui import observed

    rate = [observed.spread(subject('http://p', 'rate', entities=many, host='a'), 600) for many in (1, 6_000, 20_000, 1_000_000)]
    assert rate == [1, 1, 3, None]
    assert observed.spread(subject('http://p', 'plain', entities=1_000_000, host='a'), 600) == 1


def test_an_answer_is_asked_for_once_by_all_who_want_it_and_kept_for_a_while():
    now, asked, begun, go = [0.0], [], threading.Event(), threading.Event()

    def ask():
        asked.append(1)
        begun.set()
        go.wait(20)
        return len(asked)

    asking, answers = Asking(now=lambda: now[0]), []
    threads = [threading.Thread(target=lambda: answers.append(asking.answer('key', ask, keep_seconds=5, wait_seconds=20))) for _ in range(10)]
    for thread in threads:
        thread.start()
    assert begun.wait(20)
    go.set()
    for thread in threads:
        thread.join(20)
    assert answers == [1] * 10
    assert asking.answer('key', ask, keep_seconds=5, wait_seconds=20) == 1
    now[0] = 5.0
    assert asking.answer('key', ask, keep_seconds=5, wait_seconds=20) == 2


def test_no_more_than_four_questions_are_asked_at_once_and_a_slow_one_is_not_waited_for():
    most, running, lock, go = [0], [0], threading.Lock(), threading.Event()

    def ask():
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        go.wait(20)
        with lock:
            running[0] -= 1
        return 'done'

    asking = Asking()
    for key in range(32):
        with pytest.raises(Busy, match='No answer within 0 s'):
            asking.answer(key, ask, keep_seconds=60, wait_seconds=0)
    with pytest.raises(Busy, match='Too many history queries'):
        asking.answer('one more', ask, keep_seconds=60, wait_seconds=0)
    go.set()
    assert [asking.answer(key, ask, keep_seconds=60, wait_seconds=20) for key in range(32)] == ['done'] * 32
    assert most[0] == 4


def test_an_error_reaches_all_who_wait_and_is_kept_as_short():
    def ask():
        raise TimeoutError('of the question itself')

    asking = Asking()
    for _ in range(2):
        with pytest.raises(TimeoutError, match='of the question itself'):
            asking.answer('key', ask, keep_seconds=60, wait_seconds=20)
