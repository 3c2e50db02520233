"""From surprise to a score that people can alert on: the budget, the policy, and when an alarm began."""

import numpy as np
import pytest
import tiny_model
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from promlstm.engine import advance, session
from promlstm.engine.columns import Frame
from promlstm.engine.memory import blank
from promlstm.engine.score import OUTSIDE_RANGE, Alarm, Policy, apply_policy, score

nan, inf = np.nan, np.inf
SCORES = st.floats(0, 1e6, width=32) | st.just(nan) | st.just(inf)


# -- the budget


@given(st.floats(0, 1e6, width=32), st.floats(0.0625, 1e3, width=32))
def test_the_score_is_one_exactly_where_the_budget_is_reached(surprise, threshold):
    """At the threshold the score is 1, above it more, below it less, for every scale."""
    (got,) = score(np.float32([surprise]), np.float32([threshold]))
    assert got.dtype == np.float32
    assert (got >= 1) == (surprise >= threshold)
    assert got == pytest.approx(surprise / threshold, rel=1e-6)


def test_without_surprise_there_is_no_score():
    """NaN stays NaN: there is no fake 0."""
    np.testing.assert_array_equal(score(np.float32([nan, 2]), np.float32([2, 2])), np.float32([nan, 1]))


# -- what matters


def adjusted(scores, policy, deviation, contribution=None, observed=None, expected=10.0):
    deviation = np.atleast_2d(np.float64(deviation))
    expected = np.broadcast_to(np.float64(expected), deviation.shape)
    contribution = np.full(deviation.shape, 1 / deviation.shape[1]) if contribution is None else np.atleast_2d(contribution)
    observed = expected + deviation if observed is None else np.atleast_2d(observed)
    columns = {'observed': observed, 'expected': expected, 'deviation': deviation, 'contribution': np.float32(contribution)}
    return apply_policy(np.float32(np.atleast_1d(scores)), policy, **columns)


@pytest.mark.parametrize(
    ('policy', 'counts'),
    [
        (Policy(), [True, True, True, True, True]),
        (Policy(direction='above'), [False, False, True, True, True]),
        (Policy(direction='below'), [True, True, False, False, True]),
        (Policy(min_deviation=2), [True, False, False, True, True]),
        (Policy(min_deviation=2, direction='above'), [False, False, False, True, True]),
        (Policy(min_relative_deviation=0.2), [True, False, False, True, True]),
        (Policy(min_deviation=3.001), [False, False, False, False, True]),
    ],
    ids=str,
)
def test_only_deviations_that_matter_keep_their_score(policy, counts):
    """Wrong direction or too small a deviation gives 0; a view without direction (NaN) always counts. Expected is 10."""
    got = adjusted([3] * 5, policy, [[-3], [-1.5], [1.5], [3], [nan]])
    assert got.tolist() == [3.0 if counted else 0.0 for counted in counts]


def test_a_deviation_equal_to_the_minimum_counts():
    """Only smaller ones are ignored."""
    assert adjusted(2, Policy(min_deviation=2, min_relative_deviation=0.2), [[2]], expected=10) == 2


def test_relative_deviations_are_relative_to_the_size():
    """The sign of the expected value does not matter."""
    assert adjusted([2, 2], Policy(min_relative_deviation=0.5), [[4], [6]], expected=-10).tolist() == [0, 2]


def test_of_several_features_only_the_share_that_matters_counts():
    """A score of 4 with three quarters of it upwards is 3 for the direction above."""
    assert adjusted(4, Policy(direction='above'), [5, -5], contribution=[0.75, 0.25]) == 3


def test_without_contributions_features_have_equal_shares():
    """A model need not have contributions."""
    assert adjusted(4, Policy(direction='above'), [5, -5], contribution=[nan, nan]) == 2


@pytest.mark.parametrize('policy', [Policy(), Policy(valid_range=(0, 100))])
def test_a_nan_score_stays_nan(policy):
    """Where nothing was judged there is no score, whatever the policy."""
    assert np.isnan(adjusted(nan, policy, [[nan]], observed=[[50]]))
    assert np.isnan(adjusted(nan, policy, [[nan]], observed=[[nan]]))


@pytest.mark.parametrize('value', [-0.01, 1.01, -inf, inf])
@pytest.mark.parametrize('judged', [nan, 0, 0.9])
def test_outside_the_range_is_always_anomalous(value, judged):
    """While warming up, expected, or of the other direction: an impossible value scores 1.01."""
    policy = Policy(valid_range=(0, 1), direction='above', min_deviation=1000)
    assert adjusted(judged, policy, [[nan if np.isnan(judged) else 0.1]], observed=[[value]]) == OUTSIDE_RANGE == np.float32(1.01)


@pytest.mark.parametrize('value', [0, 0.5, 1])
def test_the_borders_of_the_range_are_inside(value):
    """A ratio of exactly 0 or 1 is valid."""
    assert adjusted(0.5, Policy(valid_range=(0, 1)), [[0.1]], observed=[[value]]) == 0.5


def test_outside_the_range_a_higher_score_stays():
    """1.01 is the minimum, not the maximum."""
    assert adjusted(7, Policy(valid_range=(0, 1)), [[5]], observed=[[6]]) == 7


def test_one_feature_outside_is_enough():
    """The range applies to every feature of the entity."""
    assert adjusted([0, 0], Policy(valid_range=(0, 1)), [[0, 0], [0, 0]], observed=[[0.5, 2], [0.5, nan]]).tolist() == [OUTSIDE_RANGE, 0]


POLICIES = st.builds(
    Policy,
    direction=st.sampled_from(['above', 'below', 'both']),
    min_deviation=st.floats(0, 20),
    min_relative_deviation=st.floats(0, 2),
    valid_range=st.none() | st.just((-50.0, 50.0)),
)


@given(SCORES, POLICIES, arrays.arrays(np.float64, 3, elements=st.floats(-100, 100) | st.just(nan)), st.integers(0, 2))
@example(inf, Policy(direction='above'), np.array([-1.0, -1, -1]), 0)
def test_a_policy_never_raises_a_score_but_for_the_range(given_score, policy, deviation, blamed):
    """The result is 0 or the score, NaN for NaN, and at least 1.01 outside the range."""
    contribution = np.eye(3)[blamed]
    (got,) = adjusted(given_score, policy, deviation, contribution=contribution)
    outside = policy.valid_range and (np.abs(10 + np.nan_to_num(deviation)) > 50).any()
    if outside:
        assert got >= OUTSIDE_RANGE
    elif np.isnan(given_score):
        assert np.isnan(got)
    else:
        assert got in (0, np.float32(given_score))


# -- when it began


def began(scores, step_seconds=60.0):
    """[since] of an alarm after each score, as steps; None = there was none."""
    alarm, out = Alarm.blank(1), []
    for number, each in enumerate(scores):
        alarm = alarm.after(number * step_seconds, np.float32([each]), step_seconds)
        out.append(None if np.isnan(alarm.since[0]) else int(alarm.since[0] / step_seconds))
    return out


def test_an_alarm_began_with_its_first_sample():
    """Whether a latch holds it or not; a missing sample in between does not end it."""
    assert began([0, 0.9, 1, 2, nan, 2, 0]) == [None, None, 2, 2, 2, 2, 2]


def test_alarms_close_together_count_as_one():
    """Up to 30 quiet steps in between at a minute, up to 3 at an hour: as in the calibration they belong to the same alarm."""
    for step_seconds, steps in ((60.0, 30), (3600.0, 3)):
        assert began([1, *[0] * steps, 1], step_seconds)[-1] == 0
        assert began([1, *[0] * (steps + 1), 1], step_seconds)[-1] == steps + 2


def test_an_alarm_without_latch_has_a_beginning(tmp_path):
    """With `hold: 0s` too an alarm has one time at which it began, and none when it is over."""
    loaded = session.load(tiny_model.write(tmp_path / 'tiny.onnx'))
    settings = advance.Settings(60, alarms_per_week=1, policy=Policy(hold_seconds=0, valid_range=(0, 50.5)))
    memory, columns = blank(loaded, settings.zone, 1, 1), []
    for number, value in enumerate([50, 50, 50.6, 50.7, 50, 50]):
        verdicts, memory = advance.advance(loaded, settings, memory, Frame(60.0 * number, np.array([[float(value)]])))
        columns.append(float(verdicts.since[0]))
    assert columns == pytest.approx([nan, nan, 120, 120, nan, nan], nan_ok=True)


@pytest.mark.parametrize(('direction', 'counted'), [('above', [False, True, True, True]), ('below', [True, True, True, False]), ('both', [True] * 4)])
def test_a_direction_is_the_sign_of_a_deviation_of_any_size(direction, counted):
    """A hundredth of a unit on the wrong side does not count, and none at all does."""
    deviation = np.array([-0.01, 0.0, nan, 0.01])
    matters, excluded = (getattr(Policy(direction=direction), each)(deviation, np.zeros(4)) for each in ('matters', 'excluded'))
    assert matters.tolist() == counted and excluded.tolist() == [not each for each in counted]
