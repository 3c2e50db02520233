"""Figures of a set that are known by construction: recall in both readings, intervals, promises beside what was seen, blame."""

import numpy as np
import pytest
import tiny_model

from convert.data.faults import KINDS
from convert.evaluation import scorecard
from convert.evaluation.planting import Fault
from convert.evaluation.scorecard import Method
from promlstm.engine.bundle import Calibration

# scoring imports the simple detectors, which import TensorFlow: here only what it gives is needed.
pytestmark = pytest.mark.train


def series(name, labels, *, step=300.0, planted=(), culprits=None, windows=False, kind='', features=1):
    from convert.evaluation.scoring import Series

    labels = np.asarray(labels, bool)
    values, times = np.zeros((len(labels), features)), step * np.arange(len(labels))
    return Series(name, step, [(0, np.arange(len(labels)))], times, values, labels, culprits, kind, list(planted), windows)


def judged(scores, *, peaks=(), **more):
    from convert.evaluation.scoring import Judged

    return Judged(np.asarray(scores, np.float32), np.asarray(peaks, np.float32), more.pop('blame', None), **more)


def pair(found):
    """Ten entities with two events each, all of which the first method finds, and as many of the second as said."""
    labels = np.zeros(3000, bool)
    labels[500:505] = labels[1500:1505] = True
    entities = [series(f'e{n}', labels) for n in range(10)]
    perfect = [judged(np.where(labels, 5.0, 0)) for _ in entities]
    other = [judged(np.where(labels & (np.arange(3000) < (0, 1000, 3000)[found[n]]), 5.0, 0)) for n in range(10)]
    return entities, Method('first', 'model', perfect), Method('second', 'baseline', other)


def cards(entities, *methods, recurring=None, standing=14_400.0):
    again = recurring or [np.zeros(2, bool)] * len(entities)
    return scorecard.cards('set', entities, again, list(methods), standing)[1]


def test_identical_methods_differ_by_nothing():
    """The interval is [0, 0], as it is for another method that finds the same."""
    entities, first, _ = pair([0] * 10)
    same = first._replace(name='same')
    assert cards(entities, first, same)[1].gain == (0, 0) == cards(entities, first, same)[1].gain_new
    assert cards(entities, first, same)[0].gain == ()


def test_a_plain_difference_is_significant():
    """Where the other misses half of the events everywhere, the interval is the difference itself; where it differs by entity it is around it."""
    assert cards(*pair([1] * 10))[1].gain == (0.5, 0.5)
    low, high = cards(*pair([2, 0] * 5))[1].gain
    assert 0 < low < 0.5 < high < 1


def test_both_readings_of_what_recurs():
    """The second event of each entity recurs, and only it is missed: recall is a half of all, and all of what does not recur."""
    entities, first, second = pair([1] * 10)
    one, other = cards(entities, first, second, recurring=[np.array([False, True])] * 10)
    assert (one.week.share, one.new.share, other.week.share, other.new.share) == (1, 1, 0.5, 1)
    assert other.gain == (0.5, 0.5) and other.gain_new == (0, 0) and other.new.events == 10


def test_a_standing_alarm_counts_again():
    """A day of alarm at 300 s: once, and once more for each four hours."""
    labels = np.zeros(4000, bool)
    labels[3900] = True
    scores = np.where((np.arange(4000) >= 1000) & (np.arange(4000) < 1288), 2.0, 0) + 5.0 * labels
    for standing, counts in ((0, 1), (14_400.0, 7)):
        _, (card,), field = scorecard.cards('set', [series('a', labels)], [np.zeros(1, bool)], [Method('m', 'model', [judged(scores)])], standing)
        assert field.count(2).false.tolist() == [counts] and card.week.share == 1


def test_promises_stand_beside_what_was_seen():
    """Four weeks with eight short alarms above the surprise that is promised for one a week: two were seen, and the interval is that of eight."""
    scores = np.zeros(4 * 2016)
    scores[500::1000] = 2.5
    (card,) = cards([series('a', scores < 0)], Method('m', 'model', [judged(scores)], tiny_model.CALIBRATION), recurring=[np.zeros(0, bool)])
    kept = card.kept['1/week']
    assert (kept.promised, kept.seen) == (1, 2) and (kept.low, kept.high) == pytest.approx((3.981 / 4, 14.435 / 4), abs=1e-3)
    assert '1/month' in card.kept and card.kept['1/month'].seen <= kept.seen <= card.kept['1/day'].seen


def test_without_a_calibration_nothing_is_promised():
    entities, first, _ = pair([0] * 10)
    assert cards(entities, first._replace(calibration=Calibration(status='none')))[0].kept == {} == cards(entities, first)[0].kept


@pytest.mark.parametrize(('count', 'low', 'high'), [(0, 0, 2.996), (1, 0.0513, 4.744), (5, 1.970, 10.513), (100, 84.14, 118.08)])
def test_the_poisson_interval_is_that_of_the_tables(count, low, high):
    """Garwood's, 90 %."""
    assert scorecard.poisson(count) == pytest.approx((low, high), rel=2e-3, abs=1e-3)


def test_planted_faults_are_counted_at_the_same_threshold():
    """By kind; a peak below the threshold of the labelled events is a miss."""
    entities, first, _ = pair([0] * 10)
    kinds = list(KINDS)[:2]
    planted = [each._replace(planted=[(0, Fault(kind, 0, 5)) for kind in kinds]) for each in entities]
    method = first._replace(judged=[each._replace(peaks=np.float32([9, 1])) for each in first.judged])
    (card,) = cards(planted, method)
    assert (card.planted.found, card.planted.events) == (10, 20) and [card.kinds[kind].share for kind in kinds] == [1, 0]


def test_the_gain_on_planted_faults_has_an_interval():
    """Two faults of each entity, of which the other finds one in each, or both in every second entity; without planted faults there is none."""
    entities, first, second = pair([1] * 10)
    planted = [each._replace(planted=[(0, Fault('spike', 0, 5)), (0, Fault('dip', 0, 5))]) for each in entities]

    def finding(method, found):
        peaks = [np.float32([9] * n + [1] * (2 - n)) for n in found]
        return method._replace(judged=[each._replace(peaks=mine) for each, mine in zip(method.judged, peaks, strict=True)])

    ours = finding(first, [2] * 10)
    for found, low, high in (([1] * 10, 0.5, 0.5), ([2, 0] * 5, 0.1, 0.9)):
        gain = cards(planted, ours, finding(second, found))[1].gain_planted
        assert low <= gain[0] <= 0.5 <= gain[1] <= high
    assert cards(planted, ours)[0].gain_planted == () == cards(entities, first, second)[1].gain_planted


def test_planted_faults_are_counted_by_size():
    """In ranges of their size; one whose size is not known is in none of them."""
    entities, first, _ = pair([0] * 10)
    planted = [each._replace(planted=[(0, Fault('spike', 0, 5, size)) for size in (0.5, 3.0, np.nan)]) for each in entities]
    method = first._replace(judged=[each._replace(peaks=np.float32([1, 9, 9])) for each in first.judged])
    (card,) = cards(planted, method)
    assert {name: (recall.found, recall.events) for name, recall in card.sizes.items()} == {'below 1': (0, 10), '3 to 5': (10, 10)}


def test_events_of_known_kinds_are_counted_by_kind():
    """In synthetic telemetry each entity has faults of one kind."""
    entities, _, second = pair([2] * 5 + [0] * 5)
    named = [each._replace(kind='spike' if n < 5 else 'drift') for n, each in enumerate(entities)]
    (card,) = cards(named, second)
    assert (card.kinds['spike'].share, card.kinds['drift'].share, card.planted.events) == (1, 0, 20)


def test_nab_is_scored_where_labels_are_windows():
    labels = np.zeros(1000, bool)
    labels[500:600] = True
    perfect = np.where(np.arange(1000) == 500, 1.0, 0)
    for windows, wanted in ((True, 100), (False, np.nan)):
        (card,) = cards([series('a', labels, windows=windows)], Method('m', 'model', [judged(perfect)]), recurring=[np.zeros(1, bool)])
        assert card.nab == pytest.approx(wanted, nan_ok=True)


def test_blame_is_the_mean_over_events():
    entities, first, _ = pair([0] * 10)
    method = first._replace(judged=[each._replace(blame=np.array([[1.0, 0.5], [np.nan, np.nan]])) for each in first.judged])
    (card,) = cards(entities, method)
    assert (card.hit_early, card.hit_end) == (1, 0.5)


def test_a_set_without_events_has_false_alarms_only():
    """Nothing is divided by nothing."""
    quiet = np.zeros(3000, bool)
    _, (one, other), _ = scorecard.cards('set', [series('a', quiet)], [np.zeros(0, bool)], [Method(n, 'model', [judged(quiet * 1.0)]) for n in 'ab'], 0)
    assert np.isnan(one.week.share) and np.isnan(one.best_f1) and other.gain == () and one.kinds == {}
