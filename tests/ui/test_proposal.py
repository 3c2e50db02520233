"""Settings out of a form: what people paste is what was tried, and no value is anything but a value."""

from urllib.parse import parse_qsl

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st

from promlstm import config, presets
from promlstm.serve.handling import BadQuery
from promlstm.ui import written
from promlstm.ui.proposal import proposal

NOW = 1_750_000_000.0
CONFIG = config.parse('prometheus: {url: http://a}\ndetectors: [{name: up, expr: up, range: [0, 1]}, {name: own, expr: x, model: own.onnx}]')
UP = CONFIG.detectors[0]
ALL = presets.config(sorted(path.stem for path in presets.FOLDER.glob('*.yml')), 'http://a', ())


def parsed(text):
    return config.parse(f'prometheus: {{url: http://a}}\n{text}').detectors[0]


@pytest.mark.parametrize('detector', ALL.detectors, ids=lambda each: each.name)
def test_what_is_written_is_read_as_the_same(detector):
    """All detectors of the presets, with their source."""
    assert config.parse(written.alone(ALL, detector)).detectors == (detector,)


TEXT = st.text(st.characters(codec='utf-8', exclude_characters='\x00'), min_size=1, max_size=40).filter(str.strip)


@hypothesis.given(
    name=TEXT, expr=TEXT, features=st.dictionaries(TEXT, TEXT, max_size=2), seconds=st.integers(1, 10**8), low=st.floats(-1e9, 0), high=st.floats(0.5, 1e300),
    budget=st.sampled_from(['1/week each', '0.5/day in all']), deviation=st.floats(0, 1e300),
)  # fmt: skip
def test_any_detector_survives_being_written(name, expr, features, seconds, low, high, budget, deviation):
    """Whatever its texts hold: quotes, colons, templates, lines, what YAML takes for a number."""
    keys = {'features': features, 'by': ['a']} if features else {'expr': expr}
    tree = {'name': name, **keys, 'hold': f'{seconds}ms', 'range': [low, high], 'false_alarms': budget, 'min_deviation': deviation}
    try:
        (detector,) = config.parse(yaml.safe_dump({'prometheus': {'url': 'http://a'}, 'detectors': [tree]}, allow_unicode=True)).detectors
    except config.ConfigError:
        hypothesis.reject()
    assert parsed(written.text({'detectors': [written.tree(detector)]})) == detector


def test_a_source_with_files_is_written_without_secrets(tmp_path):
    """The names of files are there, and nothing that stands in them."""
    (tmp_path / 'password').write_text('hidden-word')
    text = 'sources: {a: {url: http://a, basic_auth: {username: me, password_file: password}, max_response: 5MB, timeout: 90s}, b: {url: http://b}}\n'
    read = config.parse(text + 'detectors: [{name: up, expr: up, source: a}]', root=str(tmp_path))
    alone = written.alone(read, read.detectors[0])
    again = config.parse(alone, root=str(tmp_path))
    assert again.sources == {'a': read.sources['a']} and again.detectors == read.detectors and 'hidden-word' not in alone


@pytest.mark.parametrize(
    ('given', 'key', 'value'),
    [
        ({'false_alarms': '5/day in all'}, 'false_alarms', '5/day in all'),
        ({'direction': 'above'}, 'direction', 'above'),
        ({'min_deviation': ' 0.5 '}, 'min_deviation', 0.5),
        ({'low': '', 'high': ''}, 'range', None),
        ({'low': '-1'}, 'range', (-1.0, 1.0)),
        ({'high': ''}, 'range', (0.0, float('inf'))),
        ({'hold': '2h'}, 'hold', 7200.0),
        ({'noisy': 'tolerate'}, 'noisy', 'tolerate'),
        ({'model': 'own.onnx'}, 'model', 'own.onnx'),
    ],
)
def test_one_value_changes_one_key(given, key, value):
    """In the detector that is tried, in the YAML, and in the link."""
    found = proposal(CONFIG, UP, given, NOW)
    assert getattr(found.after, key) == value and found.before == UP
    assert parsed(found.yaml) == found.after
    again = dict(parse_qsl(found.link, keep_blank_values=True))
    assert again.pop('detector') == 'up' and proposal(CONFIG, UP, again, NOW) == found
    assert len(found.changes) >= 1


def test_nothing_is_changed_by_the_values_in_force():
    found = proposal(CONFIG, UP, {'false_alarms': '1/week each', 'low': '0', 'from': '-3d'}, NOW)
    assert found.after == UP and found.changes == [] and found.link == 'detector=up' and found.end - found.start == 3 * 86400


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ({'false_alarms': '0/week each'}, 'false_alarms: expected a budget such as'),
        ({'false_alarms': '1/week each\nname: x'}, 'false_alarms: expected at most 200 printable characters'),
        ({'direction': '{{ .Values }}'}, 'direction: expected one of above, below, both'),
        ({'min_deviation': 'nan'}, 'min_deviation: expected'),
        ({'min_deviation': 'inf'}, 'min_deviation: no deviation is that large'),
        ({'min_relative_deviation': '-1'}, 'min_relative_deviation: expected'),
        ({'min_deviation': '[1]'}, 'min_deviation: expected a number'),
        ({'low': '2'}, 'range: expected [low, high]'),
        ({'low': 'nan'}, 'range: expected'),
        ({'hold': 'an hour'}, 'hold: expected a duration'),
        ({'direction': 'up', 'low': '2'}, "direction: expected one of above, below, both, got 'up'"),
        ({'min_deviation': 'inf', 'low': '2'}, 'min_deviation: no deviation is that large, so nothing could ever alarm; expected a number; range: expected'),
        ({'model': '/etc/passwd'}, 'model: expected one of builtin:default'),
        ({'model': '../own.onnx'}, 'model: expected one of'),
        ({'from': 'yesterday'}, 'from: expected -2d'),
        ({'from': '-1h', 'to': '-2h'}, 'from: expected a time before `to`'),
        ({'to': '2200-01-01'}, 'to: expected a time that is not in the future'),
        ({'from': '-1y'}, 'from: expected a span of at most 31d'),
        ({'from': '9' * 150}, 'from: '),
        ({'hold': 'x' * 201}, 'hold: expected at most 200 printable characters'),
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_its_field(given, said):
    with pytest.raises(BadQuery) as error:
        proposal(CONFIG, UP, given, NOW)
    assert str(error.value).startswith(said)


def test_the_command_line_quotes_what_was_typed():
    hostile = config.parse(str({'prometheus': {'url': 'http://a'}, 'detectors': [{'name': 'a b; rm -rf /', 'expr': 'up'}]}))
    lines = proposal(hostile, hostile.detectors[0], {'from': '2025-06-01 00:00'}, NOW).command.splitlines()
    assert lines == [
        f"promlstm backtest --config.file={name} --detector='a b; rm -rf /' --from='2025-06-01 00:00' --to=now" for name in ('promlstm.yml', 'what-if.yml')
    ]
