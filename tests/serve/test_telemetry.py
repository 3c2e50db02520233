"""The exporter's own metrics: the table is what is registered, no more and no less, and none of it grows with the series."""

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import promlstm
from promlstm.serve.exposition import FAMILIES
from promlstm.serve.telemetry import METRICS, Telemetry

OWN_LABELS = {'detector', 'stage', 'state', 'model', 'family', 'sha256', 'version'}


@pytest.fixture
def telemetry():
    return Telemetry(process=False)


def used(telemetry):
    """With one child of every metric."""
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
        assert family.name not in found, f'{family.name} begins twice'
        found[family.name] = (family.type, family.documentation, labels, len(family.samples))
    return found


@pytest.mark.parametrize('parse', [parse_text, parse_openmetrics])
def test_the_table_is_what_is_exported(telemetry, parse):
    """Names, kinds, helps and labels on the page are those of the table in both formats, one sample a child and no _created."""
    generate = generate_latest if parse is parse_text else generate_openmetrics
    got = families(parse, generate(used(telemetry).registry).decode())
    assert got == {name: (kind, text, set(labels), 1) for name, (kind, text, labels) in METRICS.items()}


def test_nothing_is_registered_globally(telemetry):
    """Two exporters in one process do not meet: each has a registry of its own."""
    telemetry.count('promlstm_detector_steps', ('cpu',))
    other = Telemetry(process=False)
    assert other.registry.get_sample_value('promlstm_detector_steps_total', {'detector': 'cpu'}) is None
    assert telemetry.registry.get_sample_value('promlstm_detector_steps_total', {'detector': 'cpu'}) == 1


def test_the_process_is_there_if_asked_for():
    """CPU, memory and files of the process under the names that every dashboard knows."""
    names = set(families(parse_text, generate_latest(Telemetry().registry).decode()))
    assert {'process_cpu_seconds', 'process_resident_memory_bytes', 'process_open_fds', 'python_info'} <= names


def test_no_metric_is_labelled_by_series():
    """Own metrics are of detectors, stages and models; the labels of an entity are none of them."""
    assert {label for _, _, labels in METRICS.values() for label in labels} <= OWN_LABELS


@pytest.mark.parametrize('name', METRICS)
def test_names_follow_the_conventions(name):
    """One prefix, base units, no _total of our own (the library adds it), a help of one sentence, and no gauge family twice."""
    kind, text, _ = METRICS[name]
    assert name.startswith('promlstm_') and name not in FAMILIES
    assert kind in ('gauge', 'counter') and not name.endswith(('_total', '_ms', '_count', '_created'))
    assert text[0].isupper() or text[0] == '1'
    assert text.endswith('.') and '\n' not in text and len(text) < 120


def test_the_version_is_told(telemetry):
    """Build info is there from the start."""
    assert telemetry.registry.get_sample_value('promlstm_build_info', {'version': promlstm.__version__}) == 1


def test_a_counter_can_appear_at_zero(telemetry):
    """Counted with 0 it is on the page, so that the first failure is an increase."""
    telemetry.count('promlstm_detector_failures', ('cpu', 'query'), 0)
    value = lambda: telemetry.registry.get_sample_value('promlstm_detector_failures_total', {'detector': 'cpu', 'stage': 'query'})  # noqa: E731
    assert value() == 0
    telemetry.count('promlstm_detector_failures', ('cpu', 'query'))
    assert value() == 1


def test_a_stage_that_fails_is_timed_too(telemetry):
    """The time of a stage counts whether it worked or not, and its error comes through."""
    stage = lambda: telemetry.registry.get_sample_value('promlstm_detector_stage_seconds_total', {'detector': 'cpu', 'stage': 'query'})  # noqa: E731
    with telemetry.stage('cpu', 'query'):
        pass
    first = stage()
    with pytest.raises(ZeroDivisionError), telemetry.stage('cpu', 'query'):
        raise ZeroDivisionError
    assert 0 < first < stage() < 1


def test_what_is_no_more_is_dropped(telemetry):
    """A detector's gauges of the past leave the page, all states at once; another's stay, and to drop what is not there is no error."""
    for detector in ('cpu', 'disk'):
        for state in ('ready', 'missing'):
            telemetry.set('promlstm_detector_entities', 1, detector, state)
    telemetry.drop('promlstm_detector_entities', 'cpu')
    telemetry.drop('promlstm_detector_entities', 'cpu')
    (family,) = [family for family in telemetry.registry.collect() if family.name == 'promlstm_detector_entities']
    assert {sample.labels['detector'] for sample in family.samples} == {'disk'}


@pytest.mark.parametrize('name', ['promlstm_detector_up', 'promlstm_detector_steps'])
def test_a_label_too_many_is_our_mistake(telemetry, name):
    """Metric names and labels are known before anything runs: a wrong one raises at once."""
    with pytest.raises(ValueError, match='Incorrect label count'):
        telemetry.set(name, 1, 'cpu', 'instance') if 'up' in name else telemetry.count(name, ('cpu', 'instance'))
