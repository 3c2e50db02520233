"""Spans are absolute, never share a sample, and what is excluded is excluded for whom it concerns."""

import itertools
from datetime import UTC, date, datetime

import numpy as np
import pytest

from convert import recipe
from convert.data import spans
from convert.data.spans import Exclusion, Parts, SpanError

DAY = 86400


@pytest.mark.parametrize(
    'written', ['2026-01-31', '2026-01-31T00:00:00Z', '2026-01-31T02:00:00+02:00', 1769817600, date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)]
)  # fmt: skip
def test_an_instant_is_the_same_however_it_is_written(written):
    """ISO 8601 with or without a zone, unix seconds, or what YAML makes of it."""
    assert spans.instant(written) == 1769817600


@pytest.mark.parametrize('written', ['now', '-2d', '', True, None, float('nan'), float('inf'), [1]])
def test_what_is_no_absolute_instant_is_refused(written):
    """A recipe that is read next month must mean the same."""
    with pytest.raises(ValueError, match='expected an instant such as'):
        spans.instant(written)


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        ({'train': ()}, 'spans.train: none'),
        ({'train': ((0, 0),)}, 'spans.train[0]: 1970-01-01T00:00:00Z is not before'),
        ({'train': ((0, 9), (20, 10))}, 'spans.train[1]: 1970-01-01T00:00:20Z is not before 1970-01-01T00:00:10Z'),
        ({'train': ((0, 9), (8, 10))}, 'spans.train[0] and spans.train[1] overlap'),
        ({'train': ((0, 9),), 'validate': ((9, 12),), 'test': ((10, 14),)}, 'spans.validate[0] and spans.test[0] overlap'),
        ({'train': ((0, 100),), 'test': ((10, 14),)}, 'what is tested must not be learnt'),
    ],
)
def test_spans_that_share_time_are_refused(parts, message):
    """Each pair is looked at, within a part too; the message names both and the time."""
    with pytest.raises(SpanError) as error:
        spans.check(Parts(**parts))
    assert message in str(error.value)


def test_neighbours_and_gaps_are_in_order():
    """The end of a span is not in it."""
    spans.check(Parts(train=((0, 60), (120, 180)), validate=((60, 120),), test=((180, 240),)))
    assert spans.steps((0, 60), 60) == (0, 1) and spans.steps((60, 120), 60) == (1, 2)


@pytest.mark.parametrize('step', [0.1, 0.3, 7, 15])
def test_an_instant_on_a_step_is_on_it(step):
    """Whatever a float makes of it: spans that meet neither share a step nor leave one out."""
    first = 17_640_000_000
    assert spans.steps((first * step, (first + 600) * step), step) == (first, first + 600)


@pytest.mark.parametrize('seed', range(5))
def test_without_and_union_agree_with_counting(seed):
    """Spans as sets of whole numbers, by the set's own arithmetic."""
    rng = np.random.default_rng(seed)
    first, second = ([tuple(sorted(rng.integers(0, 60, 2).tolist())) for _ in range(6)] for _ in range(2))
    whole = lambda pieces: {i for start, end in pieces for i in range(start, end)}  # noqa: E731
    assert whole(spans.union(first)) == whole(first)
    assert whole(spans.without(first, second)) == whole(first) - whole(second)
    merged = spans.union(first)
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(merged))


def test_what_is_read_holds_the_lead_and_the_history():
    """400 steps before each span at the detector's step; all of the history and the spans at the coarse one."""
    wanted = spans.wanted(Parts(train=((10 * DAY, 11 * DAY),), test=((20 * DAY, 21 * DAY),)), 60, 7 * DAY)
    assert wanted['fine'] == [(14400 - 400, 15840), (28800 - 400, 30240)]
    assert wanted['coarse'] == [(3 * 48, 11 * 48), (13 * 48, 21 * 48)]


def test_an_exclusion_concerns_whom_its_matchers_name():
    """By hand all matchers hold; an alert is about those that have its labels, as far as they have them."""
    times = np.arange(0, 600, 60.0)
    identities = [b'{"instance":"a","mode":"user"}', b'{"instance":"b","mode":"user"}', b'{"job":"web"}']
    hand = Exclusion(source='by hand', why='', start=60, end=180, matchers=(('instance', '=~', 'a|c'),))
    alert = Exclusion(source='alert', why='', start=300, end=360, matchers=(('alertname', '=', 'Hot'), ('instance', '=', 'b')), shared=True)
    every = Exclusion(source='by hand', why='', start=540, end=1e9)
    ours = Exclusion(source='silence', why='', start=420, end=480, matchers=(('detector', '=', 'cpu'), ('mode', '=', 'user')), shared=True)
    out = spans.excluded([hand, alert, every, ours], times, identities, 'cpu')
    assert [np.flatnonzero(column).tolist() for column in out.T] == [[1, 2, 7, 9], [5, 7, 9], [7, 9]]
    assert not spans.excluded([ours], times, identities[:2], 'memory').any()


def test_an_alert_without_a_label_of_the_entity_concerns_nobody():
    """A Watchdog that always fires must not stop all learning."""
    watchdog = Exclusion(source='alert', why='', start=0, end=1e9, matchers=(('alertname', '=', 'Watchdog'), ('severity', '=', 'none')), shared=True)
    assert not spans.excluded([watchdog], np.arange(9.0), [b'{"instance":"a"}'], 'cpu').any()


RECIPE = """\
name: own
description: of our own telemetry
seed: 1
data:
  config: promlstm.yml
  detectors: [cpu]
  spans:
    train: [[2026-01-01, 2026-02-01], [2026-02-03T12:00:00Z, 2026-03-01]]
    validate: [[2026-03-01, 2026-03-08]]
    test: [[1772928000, 1773532800]]
  exclude:
    by_hand:
      - {span: [2026-01-05, 2026-01-06], match: '{instance="a"}', why: load test}
    silences: {alertmanager: 'http://localhost:9093', margin: 5m}
    alerts: {match: '{severity="critical"}', margin: 10m}
training:
  telemetry: [{step_seconds: 60, steps: 256, entities: 24}]
  window_steps: 64
  batch_series: 16
calibration:
  ranges:
    - {low: 1, high: 86401, telemetry: {step_seconds: 300, steps: 700, entities: 64}}
evaluation:
  telemetry: [{step_seconds: 300, steps: 1200, entities: 32}]
"""


def test_a_recipe_says_it_all(tmp_path):
    """Dates as YAML has them, durations as Prometheus has them."""
    path = tmp_path / 'own.yml'
    path.write_text(RECIPE)
    data = recipe.load(path).data
    assert spans.text(data.spans.train[1][0]) == '2026-02-03T12:00:00Z' and data.spans.validate[0][0] == data.spans.train[1][1]
    assert data.exclude.alerts.margin == 600 and data.exclude.silences.margin == 300 and data.exclude.by_hand[0].why == 'load test'


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('2026-02-03T12:00:00Z', 'later', "expected an instant such as 2026-01-31, 2026-01-31T12:00:00Z or unix seconds, got 'later'"),
        ('[[1772928000', '[[1772841600', '$.data.spans.validate[0] and spans.test[0] overlap from 2026-03-07T00:00:00Z to 2026-03-08T00:00:00Z'),
        ('margin: 10m', 'margin: 10 minutes', 'expected a duration such as 30s'),
        ('{instance="a"}', '{instance}', '$.data.exclude.by_hand[0].match: '),
        ('[2026-01-05, 2026-01-06]', '[2026-01-06, 2026-01-05]', '$.data.exclude.by_hand[0]: 2026-01-06T00:00:00Z is not before'),
        ('config: promlstm.yml', 'config: promlstm.yml\n  url: x', 'Object contains unknown field `url`'),
    ],
)
def test_a_mistake_in_it_is_named(tmp_path, old, new, message):
    """File and key, before anything is asked of anybody."""
    path = tmp_path / 'own.yml'
    path.write_text(RECIPE.replace(old, new))
    with pytest.raises(recipe.RecipeError) as error:
        recipe.load(path)
    assert str(error.value).startswith(f'{path}: ') and message in str(error.value)
