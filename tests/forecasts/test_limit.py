"""When a forecast reaches a limit."""

import numpy as np
import pytest

from promlstm.forecasts.limit import LOOKS, looks, of_entities, seconds_to

HOURS = [3600.0, 7200.0, 10800.0]


def to(limit, value, *middles, width=0.0, rising=False):
    """[middle, pessimistic] in hours, of one entity."""
    forecast = np.array(middles, float)[None, :, None] + np.array([-width, 0, width])
    return (seconds_to(np.array([limit]), np.array([value], float), forecast, HOURS[: len(middles)], rising=rising)[0] / 3600).tolist()


def test_a_straight_way_down():
    assert to(0.0, 3.0, 2, 1, 0) == [3.0, 3.0]
    assert to(0.0, 3.0, 2, 1, 0, width=0.5)[1] == pytest.approx(1 + 1.5 / 1, abs=1e-9)
    assert to(0.0, 10.0, 2, -6) == [1.25, 1.25], 'between two horizons'


def test_a_limit_that_is_met_from_below():
    assert to(100.0, 90.0, 95, 100, 105, rising=True) == [2.0, 2.0]
    assert to(100.0, 90.0, 92, 94, 96, width=8, rising=True) == [np.inf, 1.0]


def test_crossed_is_0_and_never_is_infinite():
    assert to(0.0, 0.0, 1, 2, 3) == [0.0, 0.0]
    assert to(0.0, -1.0, 1, 2, 3) == [0.0, 0.0]
    assert to(100.0, 120.0, 80, 80, 80, rising=True) == [0.0, 0.0]
    assert to(0.0, 5.0, 5, 5, 5) == [np.inf, np.inf]


def test_a_rotated_log_turns_back_before_the_limit():
    assert to(0.0, 3.0, 1, 4, 2) == [np.inf, np.inf]
    assert to(0.0, 3.0, -1, 4, 2)[0] == pytest.approx(0.75), 'the first time counts'


def test_no_limit_no_sample_and_no_forecast_are_nothing():
    assert np.isnan(to(np.nan, 3.0, 2, 1, 0)).all()
    assert np.isnan(to(0.0, np.nan, 2, 1, 0)).all()
    assert np.isnan(to(0.0, 3.0, 2, np.nan, 0)).all()


def test_the_way_is_looked_at_often_enough_for_a_daily_peak():
    """A peak of a share that is above the limit for four hours a day lies between the horizons of a day and two."""
    ahead = np.array(looks(2 * 86400.0))
    middle = 50 + 49 * (np.abs((ahead / 3600 % 24) - 14) < 2)
    forecast = np.repeat(middle[None, :, None], 3, 2)
    assert seconds_to(np.array([95.0]), np.array([50.0]), forecast, ahead, rising=True)[0, 0] < 86400
    assert looks(86400.0)[-1] == 86400.0 and looks(604800.0)[-1] == 604800.0 and sorted(LOOKS) == list(LOOKS)


def test_limits_of_entities():
    entities = [b'{"device":"a","instance":"x"}', b'{"device":"b","instance":"x"}', b'{"instance":"y"}']
    assert of_entities(entities, [b'{"instance":"x"}'], np.array([1.0])).tolist()[:2] == [1.0, 1.0]
    assert np.isnan(of_entities(entities, [b'{"instance":"x"}'], np.array([1.0]))[2])
    assert of_entities(entities, [b'{}', b'{"device":"b","instance":"x"}'], np.array([7.0, 8.0])).tolist() == [7.0, 8.0, 7.0]
    assert np.isnan(of_entities(entities, [], np.array([]))).all() and not len(of_entities([], [b'{}'], np.array([1.0])))
    assert np.isnan(of_entities(entities, [b'{"zone":"1"}'], np.array([1.0]))).all(), 'a label that they do not have'
