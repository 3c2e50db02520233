"""A benchmark's report is one page that loads nothing from elsewhere, JSON that can be read back, and text; its numbers are right."""

import dataclasses
import json
import re

import browser
import html_pages
import msgspec
import numpy as np
import pytest
import tiny_model
from benchmark_results import benchmark_set, entity, result

from convert.evaluation import baselines, benchmark, charts, gates, plots, report
from convert.evaluation.measures import Entity
from promlstm.engine import session


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """A running mean, calibrated for a step of up to an hour."""
    return session.load(tiny_model.write(tmp_path_factory.mktemp('model') / 'tiny.onnx'))


@pytest.fixture(scope='module')
def found(model):
    """The running mean compared with itself: Results, Scored."""
    methods = [benchmark.Method('new', 'model', model), benchmark.Method('old', 'in service', model)]
    return benchmark.measure_all(methods, [benchmark_set(), benchmark_set(seed=1, name='test_cpu_faults')], lambda line: None)


@pytest.fixture
def whole(found):
    results, _ = found
    learning = report.learning(['  1/2 windows, loss 1.5, 1 s', '  2/2 windows, loss 1.2, 2 s'])
    return report.Report(
        model='new', family='forecaster', sha256='a' * 64, service='b' * 64, budget_per_week=1.0, results=results,
        verdicts=gates.judge(results, gates.Gates()), learning=learning,
    )  # fmt: skip


@pytest.mark.train
def test_every_method_is_measured_on_the_same_telemetry(found):
    """The model, the model in service (here the same, so the same figures), and the baselines that the documents name."""
    results, scored = found
    rows = {each.method: each for each in results if each.benchmark_set == 'injected_300s'}
    assert set(rows) == {'new', 'old', *baselines.PLAIN, *baselines.NAMES}
    assert rows['new'].equal == rows['old'].equal and rows['new'].equal.event_recall == 1
    assert rows['robust_z'].equal.event_recall > 0.9 and set(rows['new'].by_kind) == {'up', 'down'}
    assert rows['new'].equal.false_alarms_per_week <= 1 and [each.benchmark_set.name for each in scored] == ['injected_300s', 'test_cpu_faults']


@pytest.mark.train
def test_the_threshold_as_it_runs_is_the_calibrated_one(found, model):
    """No hindsight: alarms at each budget are counted at the threshold that the file promises for it."""
    first = found[0][0]
    assert first.run.threshold == 1.0 and set(first.alarms) == {'1/month', '1/week', '1/day'}
    subject = benchmark_set()
    scores, _ = benchmark.surprises(model, subject)
    threshold = model.bundle.calibration.threshold(1.0, step_seconds=300)
    scores = np.where(subject.counted, scores, np.nan)
    healthy = [Entity(scores[:, n], subject.labels[:, n], 300.0) for n in range(12)]
    assert first.alarms['1/week'] == pytest.approx(benchmark.points(healthy, threshold).false_alarms_per_week)


@pytest.mark.train
def test_without_labels_only_alarms_are_counted(model):
    """A test span that nobody labelled: no recall, no gate on recall, alarms beside the promise."""
    span = dataclasses.replace(benchmark_set(name='test_cpu'), labels=None, kinds=None)
    (first, *_), _ = benchmark.measure_all([benchmark.Method('new', 'model', model)], [span], lambda line: None)
    assert first.equal is None and first.tally is None and first.alarms['1/week'] > 0 and not first.by_kind
    assert not [v for v in gates.judge([first, result('robust_z', 'baseline', [1], benchmark_set='test_cpu')], gates.Gates()) if v.what == 'recall']


@pytest.mark.train
def test_the_page_is_well_formed_and_loads_nothing(whole, found):
    """Every tag is closed, nothing is loaded from anywhere, what comes from telemetry is escaped, every coordinate is a number."""
    text = report.page(whole, found[1])
    page = html_pages.read(text)
    assert not [each for each in page.all() if each.attributes.keys() & {'src', 'href', 'action'}] and not re.search('https?:|url\\(', text)
    assert [each.attributes['type'] for each in page.all('script')] == ['application/json', 'importmap', 'module']
    assert 'host=&quot;&lt;0&gt;&quot;' in text and not re.search(r'[" ,M L:\[](nan|inf|NaN|Infinity)\b', text)
    assert len(page.all('svg')) == 1 + 2 * 3 and 'Best detections' in page.text and 'May be released' in page.text
    assert len([each for each in page.all('div') if 'data-chart' in each.attributes]) == 2 * 12


@pytest.mark.train
def test_a_chart_of_an_event_has_what_an_operator_would_see(found):
    """Around the jump: its samples, the band in which the model expected them, the labelled fault, the alarm at its highest score."""
    first = found[1][0]
    score, entity, begin, end = report.strongest_events(first)[0]
    drawn, step = json.loads(msgspec.json.encode(charts.event(first, entity, begin, end))), first.benchmark_set.step_seconds
    times, (feature,) = first.benchmark_set.times, drawn['features']
    assert (drawn['faults'][0]['start'], drawn['faults'][0]['end']) == (times[begin], times[end - 1])
    assert drawn['start'] == times[begin] - charts.AROUND * step and max(each['peak'] for each in drawn['alarms']) == pytest.approx(score)
    at = drawn['times'].index(times[begin])
    assert feature['observed'][at] == pytest.approx(first.benchmark_set.values[begin, entity, 0])
    assert feature['lower'][at] < feature['expected'][at] < feature['upper'][at] and abs(feature['observed'][at]) > abs(feature['upper'][at])


def test_a_long_event_is_drawn_with_fewer_points_and_a_large_set_without_the_band(monkeypatch):
    monkeypatch.setattr(charts, 'POINTS', 50)
    subject = benchmark_set()
    scored = benchmark.Scored(subject, np.zeros(subject.labels.shape))
    drawn = charts.event(scored, 0, 400, 420)
    assert 40 <= len(drawn['times']) <= 50 and drawn['resolution_seconds'] == np.diff(drawn['times'])[0] > subject.step_seconds
    assert drawn['features'][0]['lower'] == [] and drawn['features'][0]['observed']


@pytest.mark.slow
@pytest.mark.train
def test_it_opens_from_disk(whole, found, chromium, tmp_path):
    (tmp_path / 'report.html').write_text(report.page(whole, found[1]))
    browser.opened_from_disk(chromium, tmp_path / 'report.html')


@pytest.mark.train
def test_json_is_read_back_as_it_was(whole):
    """Programs get all that the page shows; what is not there is null."""
    data = report.encoded(whole)
    again = msgspec.json.decode(data)
    assert again['results'][0]['equal']['event_recall'] == 1.0 and b'NaN' not in data
    assert len(msgspec.json.decode(data, type=report.Report).verdicts) == len(whole.verdicts)


@pytest.mark.train
def test_the_text_names_every_method_and_the_gates(whole):
    text = report.text(whole)
    assert all(name in text for name in ('model, as it runs', 'in service', 'seasonal_naive', '1/week promised:', 'gates: ', 'AUC-PR'))


def test_a_refusal_is_on_the_page():
    results = [result('new', 'model', [0] * 30), result('old', 'in service', [2] * 30)]
    refused = report.Report(
        model='new', family='forecaster', sha256='a', service='b', budget_per_week=1, results=results,
        verdicts=gates.judge(results, gates.Gates()), learning=report.learning(()),
    )  # fmt: skip
    assert 'Not to be released' in report.page(refused, []) and '1 against a release' in report.text(refused)


def test_events_are_ranked_by_their_highest_score():
    """Best first; an event found within the tolerance after its end counts."""
    subject = benchmark_set()
    scores = np.zeros(subject.labels.shape)
    for n in range(12):
        scores[np.argmax(subject.labels[:, n]) + n, n] = n
    ranked = report.strongest_events(benchmark.Scored(subject, scores))
    assert [n for _, n, _, _ in ranked] == list(range(11, -1, -1)) and ranked[0][0] == 11


def test_points_and_events_are_counted():
    """Accuracy, precision, recall, F1 of samples and events; delay in steps; by arithmetic on paper."""
    scores, labels = np.zeros(2016), np.zeros(2016)
    labels[100:104], labels[500:504], scores[101:103], scores[1000] = 1, 1, 3, 3
    found = benchmark.points([entity(scores, labels)], 2)
    assert (found.precision, found.recall, found.event_recall, found.event_precision, found.delay_steps) == (2 / 3, 0.25, 0.5, 0.5, 1)
    assert found.f1 == pytest.approx(4 / 11) and found.accuracy == pytest.approx(1 - 7 / 2016) and found.false_alarms_per_week == pytest.approx(1)


def test_the_lowest_threshold_within_the_budget_is_found():
    """One false alarm a week may be: the second highest is left out."""
    scores = np.zeros(2016)
    scores[[200, 900, 1500]] = 9, 7, 5
    threshold = benchmark.threshold_at([entity(scores, np.zeros(2016))], 1.0)
    assert 7 < threshold <= 9


@pytest.mark.train
def test_plain_baselines_see_a_jump_and_do_not_look_ahead():
    """A jump scores high; what comes after cannot change what came before; a missing sample is not judged."""
    x = np.random.default_rng(0).normal(size=(700, 2))
    x[500, 0] += 30
    x[450] = np.nan
    scores = baselines.plain(x, 3600)
    assert set(scores) == set(baselines.PLAIN)
    changed = x.copy()
    changed[600:] = 7
    for name, found in baselines.plain(changed, 3600).items():
        assert scores[name][500, 0] > 2 > np.nanmedian(scores[name][100:450]), name
        assert np.array_equal(found[:600], scores[name][:600], equal_nan=True) and np.isnan(scores[name][450]).all(), name


@pytest.mark.train
def test_principal_components_see_a_broken_link():
    """Two features that moved together go apart, each within its range."""
    rng = np.random.default_rng(0)
    driver = np.cumsum(rng.normal(size=600)) % 7
    x = (driver[:, None] * [1, 5, 100] + 0.05 * rng.normal(size=(600, 3)) * [1, 5, 100])[:, None]
    x[500:520, 0, 1] = 35 - x[500:520, 0, 1]
    scores = baselines.pca(x, 300)
    assert np.median(scores[500:520]) > 2 * np.median(scores[300:500]) and np.isnan(scores[:300]).all()


def test_plots_leave_out_what_is_no_number():
    """And say so where nothing is left."""
    drawn = plots.lines({'a': ([1, 2, 3], [1, float('nan'), 3]), 'b': ([1], [float('inf')])}, x='x', y='y')
    assert drawn.count('<circle') == 2 and 'nan' not in drawn
    assert 'nothing to draw' in plots.lines({}, x='', y='') and 'nothing to draw' in plots.bars({'a': {'b': float('nan')}}, y='')
