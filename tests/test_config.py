"""The configuration: the words in which each mistake is refused, and what a good one means."""

import math
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promlstm import config
from promlstm.errors import ConfigError

FILES = Path(__file__).with_name('config')
INVALID = sorted(FILES.glob('invalid-*.yml'))


@pytest.mark.parametrize('path', INVALID, ids=lambda path: path.stem.removeprefix('invalid-'))
def test_mistakes_are_named_in_these_very_words(path):
    """Each file begins with the messages that a user is to read after the file's name, one for each mistake in it."""
    says = [line.removeprefix('# ') for line in path.read_text().splitlines() if line.startswith('# ')]
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert list(caught.value.problems) == [f'{path}: {each}' for each in says]


def test_no_message_tells_a_secret():
    """Whatever is wrong with a file, its password is not printed (hunter2 in these files)."""
    secret = [path for path in INVALID if 'hunter2' in path.read_text()]
    assert len(secret) >= 8
    for path in secret:
        with pytest.raises(ConfigError) as caught:
            config.load(path)
        assert 'hunter2' not in '\n'.join(caught.value.problems)


def test_a_file_that_is_not_there(tmp_path):
    """A missing file is named, with the reason of the operating system."""
    with pytest.raises(ConfigError, match=f'^{re.escape(str(tmp_path))}/no.yml: cannot be read: No such file or directory$'):
        config.load(tmp_path / 'no.yml')


def test_a_file_that_is_no_text(tmp_path):
    """A binary file, or text in another encoding, is refused as unreadable."""
    (tmp_path / 'x.yml').write_bytes(b'\x89PNG\r\n')
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path / 'x.yml')
    assert str(caught.value) == f"{tmp_path}/x.yml: cannot be read: 'utf-8' codec can't decode byte 0x89 in position 0: invalid start byte"


@pytest.mark.slow
@given(st.text() | st.text(alphabet='{}[]:,-#&*!|>?%@` \n\t\'"0x1a', max_size=40))
@example('[' * 5000)
@example('when: 2026-13-45')
@example('0: 0x_')
@example('? {a: b}\n: c')
@example('prometheus: {url: "\\ud800"}')
@example('a: &a [*a]')
@example('<<: 5')
@settings(deadline=None)
def test_no_text_escapes_the_exception_tree(text):
    """Any text at all is a configuration or a ConfigError that can be printed."""
    with pytest.raises(ConfigError) as caught:
        config.parse(text)
    assert str(caught.value).encode()


# -- what is right


def test_five_lines_are_enough():
    """All else has a default; these are the defaults that the documentation promises."""
    got = config.load(FILES / 'valid-least.yml')
    expr = '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))'
    assert got.root == str(FILES)
    assert msgspec.structs.asdict(got.prometheus) == {
        'url': 'http://localhost:9090', 'kind': 'prometheus', 'timeout': 30, 'basic_auth': None, 'authorization': None, 'oauth2': None,
        'tls_config': None, 'headers': {}, 'params': {}, 'method': 'auto', 'proxy_url': None, 'enable_compression': True, 'max_response': None,
        'concurrency': 4,
    }  # fmt: skip
    (detector,) = got.detectors
    assert msgspec.structs.asdict(detector) == {
        'name': 'node_cpu', 'expr': expr, 'features': {}, 'by': (), 'split_by': None, 'split_until': ':', 'source': None, 'step': 60, 'delay': 10,
            'model': 'builtin:default', 'sha256': None,
        'timezone': 'UTC', 'false_alarms': '1/week each', 'direction': 'both', 'min_deviation': 0, 'min_relative_deviation': 0,
        'range': None, 'hold': None, 'absent': 'missing', 'missing': 'alert', 'noisy': 'alert', 'forecast': None, 'forget': 86400, 'history': 8 * 86400,
        'max_entities': 1_000_000, 'export': 'all', 'max_exported': 1_000_000,
    }  # fmt: skip
    assert detector.queries == {'': expr}


def test_every_key_can_be_set():
    """Every key is read, in its own unit, and the file that shows it has no default left in it."""
    got = config.load(FILES / 'valid-everything.yml')
    source, (detector,) = got.prometheus, got.detectors
    assert (source.timeout, source.max_response, source.concurrency) == (10, 1_500_000, 2)
    assert (source.headers, source.params, source.proxy_url) == ({'X-Scope-OrgID': '7'}, {'dedup': 'true'}, 'http://proxy:3128')
    assert (detector.step, detector.delay, detector.hold, detector.forget, detector.history) == (90, 0.5, 0, 604800, 216000)
    assert (detector.range, detector.by, list(detector.queries)) == ((0, math.inf), ('instance', 'job'), ['cpu', 'load'])
    for struct in (source, source.tls_config, source.oauth2, source.oauth2.tls_config, detector, got.root_cause, got.root_cause.edges[0]):
        default = {field.name: field.default for field in msgspec.structs.fields(struct)}
        unset = [name for name, value in msgspec.structs.asdict(struct).items() if value == default[name]]
        assert unset in ([], ['basic_auth', 'authorization', 'kind'], ['expr'], ['preset'])  # the other ways; of the section prometheus the kind is given


def test_a_forecast_has_defaults_and_every_key_can_be_set():
    """`forecast: {}` is enough."""
    text = 'prometheus: {url: http://a}\ndetectors: [{name: m, expr: up, forecast: %s}]'
    plain = config.parse(text % '{}').detectors[0].forecast
    assert plain.horizons == (3600, 86400, 604800) and not plain.limited and plain.model == 'builtin:forecast'
    digest = '0123456789abcdef' * 4
    given = config.parse(text % f'{{horizons: [5m], limit_expr: size, approach: rising, model: m.onnx, sha256: {digest}}}').detectors[0].forecast
    assert (given.horizons, given.limit_expr, given.approach, given.model, given.sha256) == ((300,), 'size', 'rising', 'm.onnx', digest)
    assert given.limited and config.parse(text % '{limit: 0}').detectors[0].forecast.limited


def test_detectors_name_their_source():
    """One that names none asks the section prometheus, or the only source; each knows its own settings."""
    text = 'prometheus: {url: http://a}\nsources: {logs: {kind: loki, url: http://b}}\ndetectors: [{name: m, expr: up}, {name: l, expr: x, source: logs}]'
    got = config.parse(text)
    assert list(got.named_sources) == ['prometheus', 'logs']
    assert [(got.source_name(each), got.source_of(each).url) for each in got.detectors] == [('prometheus', 'http://a'), ('logs', 'http://b')]
    assert [[each.name for each in got.detectors_of(name)] for name in ('prometheus', 'logs', 'other')] == [['m'], ['l'], []]
    alone = config.parse('sources: {victoria: {url: http://a}}\ndetectors: [{name: m, expr: up}]')
    assert alone.source_name(alone.detectors[0]) == 'victoria'
    long = config.parse('sources: {logs: {kind: loki, url: http://b}, prometheus: {url: http://a}}\ndetectors: [{name: m, expr: up}]')
    assert long.source_of(long.detectors[0]).url == 'http://a'


def test_a_changed_source_is_named():
    """By the place where it stands, added and removed ones too; the short form is the same source as the long one."""
    def parsed(sources):
        return config.parse(f'{sources}\ndetectors: [{{name: m, expr: up, source: prometheus}}]')

    short = parsed('prometheus: {url: http://a}')
    assert config.changes(short, parsed('sources: {prometheus: {url: http://a}}')) == []
    assert config.changes(short, parsed('prometheus: {url: http://b}\nsources: {logs: {kind: loki, url: http://b}}')) == ['source logs', 'prometheus']


URL = 'prometheus: {{url: "{}", params: {}}}\ndetectors: [{{name: up, expr: up}}]'


@pytest.mark.parametrize('name', ['query', 'time', 'start', 'end', 'step', 'timeout'])
def test_parameters_cannot_replace_the_question(name):
    """What a detector asks, when, and for how long it waits is no parameter of the source; those that tenants and replicas need are."""
    with pytest.raises(ConfigError, match=f'prometheus.params: {name}: promlstm sets it'):
        config.parse(URL.format('http://localhost:9090', f'{{{name}: "1"}}'))
    given = '{dedup: "true", namespace: shop, "extra_filters[]": "{a=\'b\'}", max_source_resolution: 5m, lookback_delta: 2m}'
    assert len(config.parse(URL.format('http://localhost:9090', given)).prometheus.params) == 5


@pytest.mark.parametrize(
    'url',
    [
        'http://localhost:9090/',
        'http://localhost:9090/prometheus',
        'http://localhost:8481/select/0/prometheus',
        'https://kubernetes/api/v1/namespaces/monitoring/services/prometheus:9090/proxy',
        'https://gateway.example/api/metrics/v1/shop',
        'https://gateway.example/graphs',
        'http://prometheus.monitoring.svc.cluster.local.:9090',
        'http://[::1]:9090',
    ],
)
def test_a_path_before_the_api_is_no_mistake(url):
    """Prefixes of proxies, tenants and clusters are part of the URL, also where they look like a part of the API."""
    assert config.parse(URL.format(url, '{}')).prometheus.url == url


@pytest.mark.parametrize('label', ['k8s.pod', 'http.response.status_code', 'Größe', 'a label', '__tenant_id__', 'exported_job', 'exported_detector'])
def test_whatever_prometheus_calls_a_label_can_be_joined_by(label):
    """Dots and all of UTF-8, as Prometheus 3 and OpenTelemetry have them, what federation adds, and what a scrape renamed."""
    text = f'prometheus: {{url: http://x}}\ndetectors: [{{name: a, features: {{u: up, d: down}}, by: ["{label}"]}}]'
    assert config.parse(text).detectors[0].by == (label,)


@pytest.mark.parametrize(('text', 'number'), [('1e-05', 1e-5), ('2e9', 2e9), ('2.5E+3', 2500.0), ('.5e1', 5.0), ('3.e2', 300.0)])
def test_a_number_with_an_exponent_is_one(text, number):
    """As JSON, helm and YAML 1.2 write it, without a point or a sign."""
    (one,) = config.parse(f'prometheus: {{url: http://a}}\ndetectors: [{{name: a, expr: up, min_deviation: {text}}}]').detectors
    assert one.min_deviation == number


@pytest.mark.parametrize('text', ['1e', 'e5', '1e5x', '"1e5"', '1_e5'])
def test_text_that_looks_like_a_number_with_an_exponent_is_none(text):
    with pytest.raises(ConfigError, match='min_deviation: expected a number, got text'):
        config.parse(f'prometheus: {{url: http://a}}\ndetectors: [{{name: a, expr: up, min_deviation: {text}}}]')


def test_what_is_read_cannot_be_changed():
    """A Config is frozen: whoever holds it holds what the file said."""
    got = config.load(FILES / 'valid-least.yml')
    for struct, name in ((got, 'detectors'), (got.prometheus, 'url'), (got.detectors[0], 'step')):
        with pytest.raises(AttributeError, match='immutable'):
            setattr(struct, name, None)


@pytest.mark.parametrize(
    ('text', 'alone', 'among_ten'),
    [
        ('1/week each', 1, 1),
        ('2/day each', 14, 14),
        ('5/day in all', 35, 3.5),
        ('1/hour in all', 168, 16.8),
        ('1.5/week in all', 1.5, 0.15),
        ('30/month each', 7, 7),
        ('365/year each', 7, 7),
        ('1/minute each', 10080, 10080),
    ],
)
def test_a_budget_is_alarms_of_one_entity_in_a_week(text, alone, among_ten):
    """`each` is a promise to every entity, `in all` one that the entities share; of none, as if there were one."""
    budget = config.Budget(text)
    assert budget.per_entity_week(1) == budget.per_entity_week(0) == pytest.approx(alone)
    assert budget.per_entity_week(10) == pytest.approx(among_ten)


UNITS = {'y': 365 * 86400, 'w': 7 * 86400, 'd': 86400, 'h': 3600, 'm': 60, 's': 1, 'ms': 0.001}


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 10**6), min_size=1))
def test_a_duration_is_what_prometheus_would_read(parts):
    """Any of Prometheus' units, each once, from the largest to the smallest."""
    text = ''.join(f'{parts[unit]}{unit}' for unit in UNITS if unit in parts)
    assert config.seconds(text) == pytest.approx(sum(count * UNITS[unit] for unit, count in parts.items()))


@pytest.mark.parametrize('text', ['0', 0])
def test_nothing_needs_no_unit(text):
    """Prometheus takes a bare 0, which YAML reads as a number."""
    assert config.seconds(text) == 0


@pytest.mark.parametrize('text', ['', ' 1s', '1s ', '1.5h', '1S', '1 s', 's', '-1s', '1s\n', None, 30, 1.5, False, True, [], '1m1m'])
def test_what_is_no_duration(text):
    """Anything else is refused with what was got."""
    with pytest.raises(ValueError, match=re.escape(f'expected a duration such as 30s, 5m or 1h30m, got {text!r}')):
        config.seconds(text)
