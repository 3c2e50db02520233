"""Events and false alarms of many entities at once: as measures counts them one by one, and a standing alarm counts again."""

import numpy as np
import pytest

from convert.evaluation import events, measures
from convert.evaluation.measures import Entity


def entities(seed, step_seconds=60, many=5):
    """Noise with events that are found more or less, gaps, and one entity that alarms for long."""
    rng, out = np.random.default_rng(seed), []
    for n in range(many):
        labels = np.zeros(3000, bool)
        for at in rng.integers(0, 2900, 8):
            labels[at : at + rng.integers(1, 40)] = True
        scores = rng.exponential(size=3000) + 3 * labels * rng.random(3000)
        scores[rng.random(3000) < 0.05] = np.nan
        if n == 0:
            scores[500:1100] += 4
        out.append(Entity(scores, labels, step_seconds))
    return out


def slowly(entity, threshold, standing_seconds):
    """(events found, false alarms) of one entity by the words of the definition, a sample at a time."""
    tolerance, merge = measures.windows(entity.step_seconds)
    hit, near = [bool(score >= threshold) for score in entity.scores], [False] * len(entity.scores)
    found = 0
    for first, end in measures.runs(entity.labels):
        found += any(hit[first : end + tolerance])
        for t in range(max(0, first - 2), min(end + tolerance, len(near))):
            near[t] = True
    groups, last = [], None
    for t, is_hit in enumerate(hit):
        if is_hit:
            if last is None or t - last - 1 > merge:
                groups.append([])
            groups[-1].append(t)
            last = t
    false = 0
    for group in groups:
        false += not any(near[t] for t in group)
        if standing_seconds:
            false += sum(not near[t] for t in group) // int(standing_seconds / entity.step_seconds)
    return found, false


@pytest.mark.parametrize('standing_seconds', [0, 3600, events.FOUR_HOURS])
@pytest.mark.parametrize('step_seconds', [60, 300, 3600])
def test_counts_are_those_of_the_definition(step_seconds, standing_seconds):
    """Entity by entity, at thresholds that nearly everything and nearly nothing reaches."""
    some = entities(step_seconds, step_seconds)
    field = events.Field(some, standing_seconds)
    for threshold in (0.5, 2, 4, 6, 100):
        counted = field.count(threshold)
        found = np.bincount(field.event_entity, counted.found, minlength=len(some))
        assert list(zip(found, counted.false, strict=True)) == [slowly(e, np.float32(threshold), standing_seconds) for e in some]
        assert sum(alarm.counts for alarm in field.false_alarms(threshold)) == counted.false.sum()


def test_a_standing_alarm_counts_again_every_four_hours():
    """An alarm of nine hours outside of every label is three; within a label it is none, however long."""
    scores = np.zeros(3000)
    scores[1000:1540] = 5
    labels = np.zeros(3000, bool)
    assert events.Field([Entity(scores, labels, 60)]).count(2).false.tolist() == [3]
    assert events.Field([Entity(scores, labels, 60)], 0).count(2).false.tolist() == [1]
    labels[1000:1540] = True
    assert events.Field([Entity(scores, labels, 60)]).count(2).false.tolist() == [0]


def test_alarms_of_neighbouring_entities_are_not_one():
    """The end of one and the beginning of the next lie side by side in memory."""
    a, b = np.zeros(100), np.zeros(100)
    a[-1] = b[0] = 5
    field = events.Field([Entity(each, np.zeros(100, bool), 60) for each in (a, b)])
    assert field.count(2).false.tolist() == [1, 1] and [(x.entity, x.first, x.end) for x in field.false_alarms(2)] == [(0, 99, 100), (1, 0, 1)]


def test_each_entity_may_have_its_own_threshold():
    """And one without any never alarms."""
    field = events.Field([Entity(np.array([0, 3.0, 0]), np.zeros(3, bool), 60) for _ in range(3)])
    assert field.count(np.array([2, 4, np.nan])).false.tolist() == [1, 0, 0]


@pytest.mark.parametrize('seed', range(3))
def test_the_threshold_is_the_lowest_that_keeps_the_budget(seed):
    """Exact: it keeps to it, and the next lower score does not."""
    some = entities(seed, step_seconds=3600)
    field = events.Field(some)
    points, _ = events.operating(field, {'day': 7.0})
    threshold, counted = points['day']
    below = np.unique(field.scores[field.scores < threshold])[-1]
    assert field.per_week(counted) <= 7 < field.per_week(field.count(below)) and counted.found.any()


def test_an_endless_alarm_is_no_way_round_the_budget():
    """Counted once it would be nearly free and find everything; the threshold is sought from above, where it is still dear."""
    labels = np.zeros(20_000, bool)
    labels[5000:5010] = True
    endless = [Entity(np.full(20_000, 1.0), labels, 60)]
    assert events.operating(events.Field(endless, 0), {'week': 1.0})[0]['week'].counted.found.all()
    point = events.operating(events.Field(endless), {'week': 1.0})[0]['week']
    assert point.threshold == np.inf and not point.counted.found.any()


@pytest.mark.parametrize('seed', range(3))
def test_without_standing_alarms_the_figures_are_those_of_the_reference_scorer(seed):
    """measures.operating_points, which is compared with it in test_evaluate.py."""
    some = entities(seed, step_seconds=300)
    points, best_f1 = events.operating(events.Field(some, 0), {'per_week': 1.0, 'per_day': 7.0})
    theirs = measures.operating_points(some)
    for name, point in points.items():
        assert point.counted.found.mean() == pytest.approx(theirs[f'recall_at_1_{name}'])
    assert best_f1 == pytest.approx(theirs['best_event_f1'])


def test_what_was_not_judged_never_alarms():
    field = events.Field([Entity(np.full(10, np.nan), np.ones(10, bool), 60)])
    points, best_f1 = events.operating(field, {'week': 1.0})
    assert not points['week'].counted.found.any() and np.isnan(best_f1) and field.peaks().tolist() == [-np.inf]
