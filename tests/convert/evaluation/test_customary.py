"""What people run today, as rows of the benchmark: each finds what it is made for, knows nothing of later samples, and is silent while it warms up."""

import importlib.util

import numpy as np
import pytest

pytestmark = pytest.mark.train
DAY, WEEK = 24, 168     # samples an hour apart


@pytest.fixture(scope='module')
def rhythm():
    """Four and a half weeks of two entities, busy by day and quiet at the weekend, the second from its second day on; a missing sample."""
    hour = np.arange(4 * WEEK + 80)
    values = 100 + 30 * np.sin(hour * 2 * np.pi / DAY) * (hour // DAY % 7 < 5)
    values = values[:, None] + np.random.default_rng(0).normal(size=(len(hour), 2))
    values[:30, 1] = values[650] = np.nan
    return values


def judged(values, history=None, step=3600):
    from convert.evaluation import customary

    found = customary.scores(values, step, history)
    assert set(found) == set(customary.NAMES)
    return found


def forest(values, tested):
    from convert.evaluation import isolation_forest

    return isolation_forest.scores(values, 3600, tested)


def test_each_finds_a_spike_and_does_not_look_ahead(rhythm):
    """What comes after cannot change what came before, to the last bit; a missing sample is not judged."""
    spiked = rhythm.copy()
    spiked[700, 0] += 120
    found, changed = judged(spiked), spiked.copy()
    changed[720:] = 7
    for name, scores in judged(changed).items():
        assert scores.shape == spiked.shape and scores.dtype == np.float32
        assert found[name][700, 0] > max(1, np.nanmax(found[name][500:690, 0])), name
        assert np.array_equal(scores[:720], found[name][:720], equal_nan=True) and np.isnan(scores[650]).all(), name


def test_weeks_know_the_weekend(rhythm):
    """A weekday's noon on a Sunday is within the range of all days and of no Sunday; on a Monday it is as expected."""
    values = rhythm.copy()
    sunday = 4 * WEEK - DAY + 6
    values[sunday] += 30
    scores = judged(values)['promql_week'][:, 0]
    assert scores[sunday] > 2 * scores[sunday + DAY] and scores[sunday] == np.nanmax(scores[3 * WEEK : 4 * WEEK])


def test_weeks_are_corrected_for_growth():
    """A level that is the same for weeks after it grew is expected, whatever it was three weeks ago; by what PromQL gives: nothing before a day."""
    values = np.r_[np.full(WEEK, 100.0), np.full(4 * WEEK, 300.0)][:, None] + np.random.default_rng(0).normal(size=(5 * WEEK, 1))
    scores = judged(values)['promql_week'][:, 0]
    assert scores[WEEK + 3] > 2 and np.nanmax(scores[3 * WEEK :]) < 2
    assert np.isnan(scores[:40]).all() and not np.isnan(scores[40:]).any()


def test_bands_are_those_of_the_rules():
    """1 at the border: half of the mean where nothing moves; a day after a wide hour the band is as wide once more."""
    values = np.full((10 * 288, 1), 100.0)
    values[1000:1012, 0] = [100, 1000] * 6
    values[2000], values[2001] = 150, 40
    values[1000 + 288 : 1012 + 288] = 700
    scores = np.sinh(judged(values, step=300)['promql_bands'][:, 0])
    assert scores[2000] == pytest.approx(1, rel=0.01) and scores[2001] == pytest.approx(64 / 52, rel=0.02)
    assert scores[1001] > 10 and scores[1006 + 288] < 1


def test_smoothing_learns_the_day_and_sees_a_level_shift():
    """Not before a whole day of each series is known; once the level has followed, it is silent again."""
    hour = np.arange(700)
    values = 100 + 30 * np.sin(hour * 2 * np.pi / DAY)[:, None] + np.random.default_rng(0).normal(size=(700, 2))
    values[:30, 1] = np.nan
    values[600:, 0] += 40
    scores = judged(values)['holt_winters']
    assert np.isnan(scores[:40]).all() and np.isnan(scores[: 30 + DAY, 1]).all() and not np.isnan(scores[30 + DAY :, 1]).any()
    assert scores[600, 0] > 3 > np.nanmax(scores[300:600, 0]) and np.max(scores[660:, 0]) < 3


def test_the_past_of_a_series_counts(rhythm):
    """With the weeks before it, the first samples are judged as they would be without a beginning."""
    at, begin = np.arange(-3 * WEEK, 0), 3 * WEEK
    fresh, known = judged(rhythm[begin:, :1]), judged(rhythm[begin:, :1], (at, rhythm[:begin, :1]))
    whole = judged(rhythm[:, :1])
    assert np.isnan(fresh['holt_winters'][:DAY]).all()
    for name in ('promql_week', 'promql_bands'):
        same = np.isclose(known[name][60:], whole[name][begin + 60 :], rtol=0.3, equal_nan=True)
        assert same.mean() > 0.8, name
    assert not np.isnan(known['holt_winters'][40:]).all()


def test_short_series_are_no_error():
    """Less than a day: nothing to say by season, and nothing that fails."""
    found = judged(np.random.default_rng(0).normal(size=(10, 1)), step=60)
    assert all(np.isnan(scores).all() for scores in found.values())


@pytest.mark.skipif(not importlib.util.find_spec('sklearn'), reason='scikit-learn is not installed: pip install scikit-learn')
def test_a_forest_sees_what_no_day_before_had(rhythm):
    """Fitted on what lies before the tested time alone: later samples change nothing of it; not judged there."""
    values = np.stack([rhythm, rhythm[::-1] * 2], axis=2)
    values[700, 0, 0] = 300
    (found,), changed = forest(values, np.array([600, 640])).values(), values.copy()
    changed[720:] = 7
    (again,) = forest(changed, np.array([600, 640])).values()
    assert np.array_equal(found[:720], again[:720], equal_nan=True)
    assert np.isnan(found[:600, 0]).all() and np.isnan(found[:640, 1]).all() and np.isfinite(found[641:650]).all()
    assert found[700, 0] == np.nanmax(found[:, 0])


@pytest.mark.skipif(not importlib.util.find_spec('prophet'), reason='Prophet is not installed: pip install prophet')
@pytest.mark.slow
def test_prophet_is_fitted_each_day_on_the_days_before(rhythm):
    """Later samples change nothing of a day; a day of which too little lies before is not judged, and history counts as what lies before."""
    from convert.evaluation import prophet_daily

    values, none = rhythm.copy(), (np.arange(0), np.empty((0, 2)))
    values[700, 0] = 300
    (found,), changed = prophet_daily.scores(values, 3600, np.array([600, 24]), none).values(), values.copy()
    changed[720:] = 7
    (again,) = prophet_daily.scores(changed, 3600, np.array([600, 24]), none).values()
    assert np.array_equal(found[:720], again[:720], equal_nan=True)
    assert np.flatnonzero(np.isfinite(found[:, 0])).tolist() == [t for t in range(600, len(values)) if t != 650]
    assert found[700, 0] == np.nanmax(found[:720, 0])
    begins = 96     # the first day that two days of the second entity lie before, which begins at 30
    assert np.isnan(found[:begins, 1]).all() and np.isfinite(found[begins:650, 1]).all()
    past = (np.arange(-72, 0), values[100:172])
    (known,) = prophet_daily.scores(values[:48], 3600, np.array([24, 24]), past).values()
    assert np.isfinite(known[24:, 0]).all()


def test_without_prophet_there_is_no_row(rhythm, monkeypatch):
    from convert.evaluation import prophet_daily

    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    assert prophet_daily.scores(rhythm, 3600, np.array([600]), (np.arange(0), np.empty((0, 1)))) == {}
    assert prophet_daily.missing() == ['prophet: not installed: pip install prophet']


def test_without_scikit_learn_there_is_no_forest(rhythm, monkeypatch):
    """A sentence says how to get the row."""
    from convert.evaluation import isolation_forest

    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    assert forest(rhythm[..., None], np.array([600, 640])) == {}
    assert isolation_forest.missing() == ['isolation_forest: not installed: pip install scikit-learn']
