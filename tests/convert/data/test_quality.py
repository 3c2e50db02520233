"""What is wrong with data is reported before training, with what was done about it."""

import msgspec
import numpy as np
import pytest

from convert.data import quality, spans, store
from convert.data.dataset import Dataset, DatasetError
from convert.data.spans import Exclusion

STEP, STEPS = 60, 2000
PARTS = spans.Parts(train=((60000, 60000 + STEP * 1500),), test=((60000 + STEP * 1500, 60000 + STEP * STEPS),))


def healthy(seed):
    """Samples of one entity, STEPS long."""
    return 10 + np.random.default_rng(seed).normal(size=STEPS)


def dataset(root, series, *, parts=PARTS, exclusions=(), expr='x', **chunk):
    """A Dataset of {host: samples}."""
    about = store.About(detector='cpu', source='p', queries={'': expr}, by=(), step_seconds=STEP, delay_seconds=10, coarse_seconds=1800)
    place = store.Store(root, about)
    place.prepare()
    place.put('fine', 1000, [f'{{"host":"{host}"}}'.encode() for host in series], np.stack(list(series.values()), 1)[..., None], **chunk)
    return Dataset(place, parts, 0, tuple(exclusions))


def found(data, **options):
    """{check: Finding}, and the hosts that were dropped."""
    report, dropped = quality.inspect(data, **options)
    return {each.check: each for each in report.findings}, sorted(msgspec.json.decode(name)['host'] for name in dropped)


def test_healthy_data_is_only_short(tmp_path):
    """Nothing is found where nothing is wrong; a day and a half is no fortnight."""
    findings, dropped = found(dataset(tmp_path, {'a': healthy(1), 'b': healthy(2)}))
    assert set(findings) == {'short'} and dropped == [] and findings['short'].entities == 0
    assert 'reach over 1.0 days' in findings['short'].problem


def test_each_trouble_is_found_with_its_entity(tmp_path):
    """And with nobody else's."""
    gaps, short = healthy(3), np.where(np.arange(STEPS) > 1100, healthy(4), np.nan)
    gaps[200:400] = np.nan
    counter = np.cumsum(np.abs(healthy(5)))
    counter[900:] -= counter[900]
    series = {
        'a': healthy(1), 'b': healthy(2), 'constant': np.full(STEPS, 7.0), 'counter': counter, 'gaps': gaps, 'short': short, 'twin': healthy(1)
    }  # fmt: skip
    findings, dropped = found(dataset(tmp_path, series))
    assert dropped == ['constant', 'short', 'twin']
    # Of a kind of trouble there may be one about the spans, too; by name the last one is kept.
    named = {check: each.examples for check, each in findings.items() if each.examples}
    assert named == {
        'constant': ('{host="constant"}',), 'duplicated': ('{host="twin"}',), 'gaps': ('{host="gaps"}',), 'counter': ('{host="counter"}',)
    }  # fmt: skip
    assert 'up to 13% of the samples missing, the longest hole 12060 s' in findings['gaps'].problem
    assert all(each.action.split()[0] in ('kept', 'kept:', 'kept;', 'dropped') for each in findings.values())


def test_time_without_any_sample_is_named(tmp_path):
    """A span that begins before the source's retention, or a night in which it was down: of each part, with its times."""
    series = {'a': healthy(1), 'b': healthy(2)}
    for x in series.values():
        x[:300] = x[1600:1700] = np.nan
    series['b'][900:1000] = np.nan
    problems = [each.problem for each in quality.inspect(dataset(tmp_path, series))[0].findings if each.check == 'gaps' and not each.entities]
    assert problems == [
        'spans.train: no sample of any entity in 5.0 h: 1970-01-01T16:40:00Z to 1970-01-01T21:40:00Z',
        'spans.test: no sample of any entity in 1.7 h: 1970-01-02T19:20:00Z to 1970-01-02T21:00:00Z',
    ]


@pytest.mark.parametrize(
    ('x', 'is_counter'),
    [
        (np.arange(2000.0), True),
        (np.r_[np.arange(1000.0), np.arange(1000.0)], True),
        (np.arange(2000.0)[::-1], False),
        (np.arange(2000.0) % 50, False),
        (np.full(2000, 3.0), False),
        (np.arange(2000.0) - 500, False),
        (np.random.default_rng(1).normal(size=2000) + 10, False),
    ],
    ids=['grows', 'reset', 'falls', 'sawtooth', 'constant', 'negative', 'noise'],
)
def test_a_counter_is_distinguished_from_a_gauge(x, is_counter):
    """It grows nearly always, and falls to nearly nothing where it falls."""
    assert quality._counter(x) == is_counter


def test_a_bare_counter_is_seen_in_the_expression(tmp_path):
    """Its name says so before its samples do."""
    findings, _ = found(dataset(tmp_path, {'a': healthy(1)}, expr='http_requests_total{job="web"}'))
    assert findings['counter'].problem == 'expr is the bare counter http_requests_total' and 'rate(' in findings['counter'].action


def test_spans_in_the_wrong_order_are_leakage(tmp_path):
    """To learn from the future of what is tested flatters the figures."""
    parts = spans.Parts(train=PARTS.test, test=PARTS.train)
    findings, _ = found(dataset(tmp_path, {'a': healthy(1)}, parts=parts))
    assert 'spans.train reaches beyond the beginning of spans.test' in findings['leakage'].problem


def test_what_is_excluded_is_counted_for_the_model_card(tmp_path):
    """By source and reason, with time, entities and samples; too much of an entity is a finding."""
    start = PARTS.train[0][0]
    alert = Exclusion(source='alert', why='alert Hot', start=start, end=start + 60 * 800, matchers=(('alertname', '=', 'Hot'), ('host', '=', 'a')), shared=True)
    hand = Exclusion(source='by hand', why='move', start=PARTS.test[0][0], end=PARTS.test[0][0] + 600)
    nobody = Exclusion(source='by hand', why='nobody', start=start, end=start + 60, matchers=(('host', '=', 'z'),))
    report, _ = quality.inspect(dataset(tmp_path, {'a': healthy(1), 'b': healthy(2)}, exclusions=[hand, alert, nobody]))
    assert [(each.source, each.why, each.entities, each.samples) for each in report.excluded] == [('alert', 'alert Hot', 1, 800), ('by hand', 'move', 2, 20)]
    assert report.excluded_samples == {'train': 800, 'test': 20}
    (finding,) = [each for each in report.findings if each.check == 'excluded']
    assert finding.examples == ('{host="a"}',)
    text = quality.table([report])
    assert '1970-01-01T16:40:00Z to 1970-01-02T06:00:00Z, 1 entities: alert: alert Hot' in text and 'excluded from test: 20 entity-steps' in text


def test_warnings_of_the_source_are_passed_on(tmp_path):
    """Infinite samples, warnings of partial data, more entities than the exporter has room for."""
    data = dataset(tmp_path, {'a': healthy(1), 'b': healthy(2)}, infinite=3, warnings=['a store is down'])
    findings, _ = found(data, max_entities=1)
    assert findings['infinite'].problem == '3 infinite samples' and findings['partial'].problem == 'the source warned: a store is down'
    assert findings['many'].problem == '2 entities, more than max_entities (1)'


@pytest.mark.parametrize('series', [{'a': np.full(STEPS, np.nan)}, {'a': np.r_[healthy(1)[:1500], np.full(500, np.nan)]}], ids=['all', 'test'])
def test_a_part_without_samples_is_an_error(tmp_path, series):
    """It names detector, part and time."""
    part = 'train' if np.isnan(series['a']).all() else 'test'
    with pytest.raises(DatasetError, match=rf"detector 'cpu': spans\.{part}, 1970-01-0\S+ to 1970-01-0\S+: no samples"):
        quality.inspect(dataset(tmp_path, series))


def test_nothing_left_to_learn_from_is_an_error(tmp_path):
    """Every entity is constant, or too short."""
    with pytest.raises(DatasetError, match='every entity is constant'):
        quality.inspect(dataset(tmp_path, {'a': np.ones(STEPS), 'b': np.zeros(STEPS)}))


def test_the_report_is_json_and_text(tmp_path):
    """The same for machines and people."""
    report, _ = quality.inspect(dataset(tmp_path, {'a': healthy(1), 'twin': healthy(1), 'b': healthy(2)}))
    assert msgspec.json.decode(msgspec.json.encode([report]), type=list[quality.Report]) == [report]
    text = quality.table([report])
    assert text.splitlines()[0] == 'detector cpu, every 60 s: train 2 entities and 4500 samples, test 3 entities and 1500 samples'
    assert '  duplicated: 1 entities: the same samples as another entity\n      dropped from training' in text and 'such as {host="twin"}' in text
