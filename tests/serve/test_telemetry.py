"""The exporter's own metrics: exactly those of METRICS are registered, and their number does not grow with the series."""

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import promlstm
from promlstm.serve.exposition import FAMILIES
from promlstm.serve.telemetry import METRICS, Telemetry

OWN_LABELS = {
    'reason', 'detector', 'stage', 'part', 'state', 'model', 'family', 'sha256', 'edges', 'version',
    'alertmanager', 'horizon', 'external_url', 'shard',
}  # fmt: skip


@pytest.fixture
def telemetry():
    return Telemetry(process=False)


def used(telemetry):
    """A Telemetry with one child of every metric."""
    for name, (kind, _, labels) in METRICS.items():
        if kind == 'counter':
            telemetry.count(name, tuple('x' for _ in labels), 2)
        elif name != 'promlstm_build_info':
            telemetry.set(name, 2, *('x' for _ in labels))
    return telemetry


def families(parse, text):
    """{name in the table: (kind, help, labels, number of samples)} of a page."""
    found = {}
    for family in parse(text):
        labels = {name for sample in family.samples for name in sample.labels}
        assert family.name not in found, f'{family.name} occurs twice'
        found[family.name] = (family.type, family.documentation, labels, len(family.samples))
    return found


@pytest.mark.parametrize('parse', [parse_text, parse_openmetrics])
def test_the_page_has_exactly_the_metrics_of_the_table(telemetry, parse):
    """Names, kinds, helps and labels are those of METRICS in both formats, with one sample per child and without _created."""
    generate = generate_latest if parse is parse_text else generate_openmetrics
    got = families(parse, generate(used(telemetry).registry).decode())
    assert got == {name: (kind, text, set(labels), 1) for name, (kind, text, labels) in METRICS.items()}


def test_nothing_is_registered_globally(telemetry):
    """Two exporters in one process are independent: each has its own registry."""
    telemetry.count('promlstm_detector_steps', ('cpu',))
    other = Telemetry(process=False)
    assert other.registry.get_sample_value('promlstm_detector_steps_total', {'detector': 'cpu'}) is None
    assert telemetry.registry.get_sample_value('promlstm_detector_steps_total', {'detector': 'cpu'}) == 1


def test_metrics_of_the_process_are_optional():
    """CPU, memory and files of the process have their usual names."""
    names = set(families(parse_text, generate_latest(Telemetry().registry).decode()))
    assert {'process_cpu_seconds', 'process_resident_memory_bytes', 'process_open_fds', 'python_info'} <= names


def test_no_metric_is_labelled_by_series():
    """Own metrics have labels for detectors, stages and models, never those of an entity."""
    assert {label for _, _, labels in METRICS.values() for label in labels} <= OWN_LABELS


@pytest.mark.parametrize('name', METRICS)
def test_names_follow_the_conventions(name):
    """One prefix, base units, no _total in the table (the library adds it), a help of one sentence, no name of an entity gauge."""
    kind, text, _ = METRICS[name]
    assert name.startswith('promlstm_') and name not in FAMILIES
    assert kind in ('gauge', 'counter') and not name.endswith(('_total', '_ms', '_count', '_created'))
    assert text[0].isupper() or text[0] == '1'
    assert text.endswith('.') and '\n' not in text and len(text) < 120


def test_the_version_is_exported(telemetry):
    """Build info is there from the start."""
    assert telemetry.registry.get_sample_value('promlstm_build_info', {'version': promlstm.__version__}) == 1


def test_a_counter_can_appear_at_zero(telemetry):
    """After adding 0 it is on the page, so that the first failure is an increase."""
    telemetry.count('promlstm_detector_failures', ('cpu', 'query'), 0)
    value = lambda: telemetry.registry.get_sample_value('promlstm_detector_failures_total', {'detector': 'cpu', 'stage': 'query'})  # noqa: E731
    assert value() == 0
    telemetry.count('promlstm_detector_failures', ('cpu', 'query'))
    assert value() == 1


def test_the_time_of_a_failed_stage_counts(telemetry):
    """The time of a stage is counted whether it fails or not, and its exception is raised."""
    stage = lambda: telemetry.registry.get_sample_value('promlstm_detector_stage_seconds_total', {'detector': 'cpu', 'stage': 'query'})  # noqa: E731
    with telemetry.stage('cpu', 'query'):
        pass
    first = stage()
    with pytest.raises(ZeroDivisionError), telemetry.stage('cpu', 'query'):
        raise ZeroDivisionError
    assert 0 < first < stage() < 1


def test_a_gauge_of_one_detector_can_be_dropped(telemetry):
    """All series of the detector leave the page, another detector's stay, and dropping twice is no error."""
    for detector in ('cpu', 'disk'):
        for state in ('ready', 'missing'):
            telemetry.set('promlstm_detector_entities', 1, detector, state)
    telemetry.drop('promlstm_detector_entities', 'cpu')
    telemetry.drop('promlstm_detector_entities', 'cpu')
    (family,) = [family for family in telemetry.registry.collect() if family.name == 'promlstm_detector_entities']
    assert {sample.labels['detector'] for sample in family.samples} == {'disk'}


@pytest.mark.parametrize('name', ['promlstm_detector_up', 'promlstm_detector_steps'])
def test_a_wrong_number_of_labels_raises(telemetry, name):
    """It is a programming error, so it is not ignored."""
    with pytest.raises(ValueError, match='Incorrect label count'):
        telemetry.set(name, 1, 'cpu', 'instance') if 'up' in name else telemetry.count(name, ('cpu', 'instance'))
