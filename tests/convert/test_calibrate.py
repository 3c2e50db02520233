"""Calibration counts what an operator would count, never rises, and ends where it knows nothing."""

import numpy as np
import pytest

from promlstm.engine import bundle

pytestmark = pytest.mark.train      # convert.families.forecaster, whose rule for features it follows, imports TensorFlow


@pytest.fixture
def calibrate():
    from convert import calibrate

    return calibrate


def made(calibrate, scores, features=1):
    return calibrate.row(scores, klass=0, features=features, step_seconds=60, low=1, high=86401)


def test_the_table_says_how_many_alarms_there_were(calibrate):
    """Twenty lone peaks above 3 and two hundred above 2 in ten series of a week: 2 and 22 alarms per entity-week."""
    scores = np.full((10080, 10), 0.5, np.float32) + 0.01 * np.random.default_rng(0).random((10080, 10), np.float32)
    for n in range(10):
        scores[50 + 400 * np.arange(20), n] = 2 + 0.05 * np.arange(20)
        scores[250 + 4000 * np.arange(2), n] = 3 + 0.05 * n
    table = bundle.Calibration(status='measured', rows=(made(calibrate, scores),))
    assert table.threshold(2.0, step_seconds=60) == pytest.approx(3.0, abs=0.06)
    assert 2.0 < table.threshold(12, step_seconds=60) < 2.9


def test_alarms_of_one_incident_are_one(calibrate):
    """Scores that come and go within half an hour are one alarm, not thirty."""
    rng = np.random.default_rng(0)
    calm = 0.5 + 0.1 * rng.random((10080, 20)).astype(np.float32)
    flapping = calm.copy()
    for n in range(20):
        for start in range(500, 10000, 1000):
            flapping[start : start + 60 : 3, n] = 3 + rng.random()
    row = made(calibrate, flapping)
    table = bundle.Calibration(status='measured', rows=(row,))
    assert table.threshold(9.5, step_seconds=60) <= 3.1


def test_tables_fall_and_are_never_extrapolated(calibrate):
    scores = np.random.default_rng(0).exponential(size=(5000, 50)).astype(np.float32)
    row = made(calibrate, scores)
    assert (np.diff(row.surprise) > 0).all() and (np.diff(row.alarms_per_entity_week) < 0).all()
    assert row.alarms_per_entity_week[0] <= calibrate.HIGHEST_PER_WEEK
    weeks = scores.size * 60 / 604800
    assert row.alarms_per_entity_week[-1] >= calibrate.LEAST / weeks * 0.999


def test_too_little_telemetry_is_refused(calibrate):
    with pytest.raises(calibrate.CalibrationError, match='expected more telemetry'):
        made(calibrate, np.full((50, 2), np.nan, np.float32) * 0 + np.float32([[0.1, 0.2]]))


def test_grouped_series_are_what_the_graph_makes_of_features(calibrate):
    """The mean of the largest two of eight, as promised in forecaster; missing ones count as calm; all missing is missing."""
    scores = np.random.default_rng(0).random((20, 8)).astype(np.float32)
    scores[3] = np.nan
    scores[5, :4] = np.nan
    groups = calibrate.grouped(scores, 8, seed=0)       # of eight out of eight: all entities are alike
    assert np.isnan(groups[3]).all() and np.allclose(groups[4], np.sort(scores[4])[-2:].mean())
    assert np.allclose(groups[5], np.sort(scores[5, 4:])[-2:].mean())
