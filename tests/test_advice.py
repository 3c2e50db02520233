"""Settings that switch detection off, or do not mean what people write them for: each has a sentence, and good ones have none."""

import math

import numpy as np
import pytest
import yaml

from promlstm import advice, presets
from promlstm import config as configuration
from promlstm.engine import budget
from promlstm.engine.session import load, resolve
from promlstm.errors import ConfigError

DAY = 86400.0


@pytest.fixture(scope='module')
def session():
    return load(resolve('builtin:forecaster'), threads=1)


def parsed(source='', **keys):
    """A Config with one detector of these keys; `source` is more YAML of the section prometheus."""
    detector = yaml.safe_dump({'name': 'd', **({} if 'features' in keys else {'expr': 'x'}), **keys}, default_flow_style=True).strip()
    return configuration.parse(f'prometheus: {{url: "http://x"{source}}}\ndetectors: [{detector}]')


def detector(**keys):
    return parsed(**keys).detectors[0]


@pytest.mark.parametrize(
    ('keys', 'says'),
    [
        ({'min_relative_deviation': 20}, 'no rise below 21 times the expected value; it is a share: did you mean 0.2 for 20 %?'),
        ({'min_relative_deviation': 1}, 'a fall to nothing is 1, so hardly any fall alarms'),
        ({'min_relative_deviation': 1.1, 'direction': 'below'}, 'no fall of a positive series alarms'),
        ({'min_relative_deviation': 30, 'direction': 'above'}, 'no rise below 31 times the expected value alarms; it is a share: did you mean 0.3'),
        ({'min_deviation': 1, 'range': [0, 1]}, 'no two samples inside of the range [0.0, 1.0] are that far apart'),
        ({'range': [-math.inf, math.inf]}, 'every sample is inside of it'),
        ({'delay': '1y'}, 'each alarm comes that much late, for the sample judged at a step is 365d old'),
        ({'delay': '2h'}, 'delay of 2h: each alarm comes that much late'),
        ({'delay': '25h', 'step': '1d'}, 'delay of 1d1h: each alarm comes that much late'),
        ({'hold': '1y'}, 'a lasting shift stays an alarm for that long, and nothing is learnt of its entity meanwhile'),
        ({'hold': '30s'}, 'shorter than the step of 1m, so an alarm of a lasting shift is over after one sample'),
        ({'forget': '0s'}, 'forgotten before promlstm_entity_missing can alert of it; take at least 10m, or missing: ignore'),
        ({'forget': '1m'}, 'take at least 10m'),
        ({'forget': '30m', 'step': '1h'}, 'take at least 1h'),
        ({'forget': '0s', 'missing': 'ignore'}, 'one missing sample makes an entity new, and it warms up again'),
        ({'forget': '1y'}, 'is reported as missing, and keeps its memory, for that long'),
        ({'max_entities': 1}, 'only the first entity is scored'),
    ],
)
def test_a_setting_that_switches_something_off_has_its_sentence(keys, says):
    """It names the key and the value, and says what cannot alarm, or what else it means."""
    (sentence,) = advice.of_settings(detector(**keys))
    assert says in sentence and any(sentence.startswith(f'{key} of ') for key in keys)


@pytest.mark.parametrize(
    'keys',
    [
        {}, {'min_relative_deviation': 0.2}, {'min_relative_deviation': 1, 'direction': 'above'}, {'min_deviation': 0.1, 'range': [0, 1]},
        {'range': [0, math.inf]}, {'delay': '10m'}, {'delay': '1h', 'step': '1d'}, {'hold': '0s'}, {'hold': '3d'}, {'hold': '15d', 'step': '1d'},
        {'forget': '10m'}, {'forget': '5m', 'missing': 'ignore'}, {'history': '0s'}, {'step': '1s'}, {'step': '1d'}, {'max_entities': 50},
    ],
)  # fmt: skip
def test_settings_that_mean_what_they_say_have_none(keys):
    """Also at the ends of what is usual."""
    assert advice.of_settings(detector(**keys)) == []


@pytest.mark.parametrize(
    ('keys', 'says'),
    [
        ({'min_deviation': math.inf}, 'min_deviation: no deviation is that large'),
        ({'min_relative_deviation': math.inf}, 'min_relative_deviation: no deviation is that large'),
        ({'range': [-math.inf, -math.inf]}, 'range: expected'),
        ({'max_entities': 0}, 'max_entities: expected'),
    ],
)
def test_a_setting_with_which_nothing_can_ever_alarm_is_refused(keys, says):
    """Where the value alone says so, whatever the series are."""
    with pytest.raises(ConfigError, match=says):
        detector(**keys)


@pytest.mark.parametrize('name', presets.names())
def test_presets_need_no_advice(name, session):
    """What comes with promlstm means what it says."""
    config = presets.config([name])
    assert advice.of_source(config.prometheus, config.detectors) == []
    for each in config.detectors:
        classes = budget.possible_classes(session, len(each.queries))
        assert advice.of_settings(each) == []
        assert advice.of_budget(each, session.bundle.calibration, classes, largest_surprise=8.0, entities=10) == []
        assert advice.of_history(each, session.bundle.manifest, 15 * DAY) == []


@pytest.mark.parametrize(
    ('source', 'step', 'says'),
    [
        (', timeout: 20ms', '1m', 'timeout of 20ms: hardly any answer is that fast'),
        (', timeout: 10m', '1m', 'a query that hangs holds its detector for 10 steps of 1m'),
        (', timeout: 31s', '10s', 'a query that hangs holds its detector for 3.1 steps of 10s'),
        (', max_response: 2KB', '1m', 'answers of some hundred series are larger'),
        (', max_response: 70MB', '1m', 'does not fit into the memory limit of 300000000 bytes'),
        (', max_response: 200MB', '1m', 'does not fit into the memory limit of 300000000 bytes'),
        ('', '5s', ''),
        (', timeout: 1m', '1m', ''),
        (', timeout: 30m, max_response: 50MB', '1h', ''),
    ],
)
def test_the_section_prometheus(source, step, says):
    """Time-outs and sizes beside the shortest step and the memory limit."""
    config = parsed(source, step=step)
    found = advice.of_source(config.prometheus, config.detectors, memory_limit_bytes=300_000_000)
    assert [says in sentence for sentence in found] == [True] * bool(says)


@pytest.mark.parametrize(
    ('keys', 'entities', 'says'),
    [
        ({'false_alarms': '1000/minute each'}, None, 'it is judged by the largest of the calibration, 24.2 a week at a step of 1m'),
        ({'false_alarms': '5/day each', 'step': '1h'}, None, 'the largest of the calibration, 23.4 a week at a step of 1h'),
        ({'false_alarms': '10/day in all'}, 2, 'more than was measured'),
        ({'false_alarms': '10/day in all'}, None, ''),
        ({'false_alarms': '10/day in all'}, 40, ''),
        ({'false_alarms': '3/day each'}, None, ''),
        ({}, None, ''),
        ({'false_alarms': '1/year in all', 'step': '1h'}, 30, 'the model gives 7.2 at most, so nothing but a sample outside of the range can alarm'),
    ],
)
def test_budgets_beside_the_tables_of_the_model(session, keys, entities, says):
    """Above the largest that was measured the largest is used; near the lowest, no sample may be surprising enough."""
    one = detector(**keys)
    largest = budget.largest_surprise(session, 1, one.step)
    found = advice.of_budget(one, session.bundle.calibration, {0}, largest_surprise=largest, entities=entities)
    assert [says in sentence for sentence in found] == [True] * bool(says)


@pytest.mark.parametrize('step', [10, 60, 3600])
def test_no_sample_surprises_more_than_the_largest_surprise(session, step):
    """So a threshold above it is one that nothing reaches."""
    largest = budget.largest_surprise(session, 1, step)
    assert 7 < largest <= 8
    assert largest >= session.bundle.calibration.threshold(1.0, step_seconds=step)


@pytest.mark.parametrize(
    ('keys', 'values', 'says'),
    [
        ({'range': [0, 1]}, [37.0, 80.0], 'all 2 present samples are outside of it, from 37 to 80: each of them alarms and none is learnt'),
        ({'range': [0, 1]}, [0.2, 80.0], ''),
        ({'min_deviation': 50}, [0.5, 0.9], ''),  # errors, and none now
        ({'min_deviation': 50, 'direction': 'below'}, [30.0, 40.0], 'the largest present value is 40, so no fall is that deep'),
        ({'min_deviation': 50}, [30.0, 40.0], ''),
        ({'min_deviation': 50, 'direction': 'below'}, [-30.0, 40.0], ''),
        ({'min_deviation': 5}, [0.0, 0.0], ''),  # errors: mostly none
        ({'min_deviation': 5}, [np.nan, np.inf], ''),
        ({'min_deviation': 5}, [], ''),
    ],
)
def test_settings_beside_the_present_samples(keys, values, says):
    """Units are mistaken more often than anything else."""
    found = advice.of_answers(detector(**keys), [values])
    assert [says in sentence for sentence in found] == [True] * bool(says)


@pytest.mark.parametrize(
    ('keys', 'retention', 'reaches_back', 'says'),
    [
        ({'step': '1d'}, 15 * DAY, False, 'the first score takes 40 samples, 40d at a step of 1d, and the server keeps them for 15d: after each start '
         'at least 26d pass without a score; keep samples for 42d (--storage.tsdb.retention.time), or set a step of 8h or less'),
        ({'step': '9h'}, 15 * DAY, None, 'keep samples for 16d'),
        ({'step': '8h'}, 15 * DAY, None, ''),
        ({'step': '1m'}, 1800.0, None, 'and the server keeps them for 30m'),
        ({'step': '1d'}, 60 * DAY, None, ''),
        ({'step': '1d'}, 15 * DAY, True, ''),  # of a remote store
        ({'step': '1d'}, None, None, 'the retention of the server is unknown: Prometheus keeps 15d by default'),
        ({'step': '1d'}, None, True, ''),
        ({'step': '1h'}, None, None, ''),
        ({'history': '10y'}, 15 * DAY, None, 'history of 3650d: the server keeps samples for 15d'),
        ({}, 5 * DAY, None, ''),
        ({'delay': '1y'}, 15 * DAY, None, 'delay of 365d: the server keeps samples for 15d, so none is left by then'),
    ],
)  # fmt: skip
def test_what_the_server_keeps_beside_what_a_first_score_takes(session, keys, retention, reaches_back, says):
    """With the number of days, what to change, and silence where it is enough."""
    found = advice.of_history(detector(**keys), session.bundle.manifest, retention, reaches_back=reaches_back)
    assert [says in sentence for sentence in found] == [True] * bool(says)
