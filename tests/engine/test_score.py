"""From surprise to a score that people alert on: the budget, what matters to the owner, and the latch."""

import numpy as np
import pytest
import tiny_model
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from promlstm.engine import detector, session
from promlstm.engine.columns import Frame
from promlstm.engine.memory import blank
from promlstm.engine.score import CALM_SAMPLES, OUTSIDE_RANGE, Alarm, Latch, Policy, apply_latch, apply_policy, score

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


def test_what_was_not_judged_has_no_score():
    """NaN stays NaN: zeros are never faked."""
    np.testing.assert_array_equal(score(np.float32([nan, 2]), np.float32([2, 2])), np.float32([nan, 1]))


# -- what matters


def adjusted(scores, policy, deviation, contribution=None, observed=None, expected=10.0):
    deviation = np.atleast_2d(np.float64(deviation))
    expected = np.broadcast_to(np.float64(expected), deviation.shape)
    contribution = np.full(deviation.shape, 1 / deviation.shape[1]) if contribution is None else np.atleast_2d(contribution)
    observed = expected + deviation if observed is None else np.atleast_2d(observed)
    told = {'observed': observed, 'expected': expected, 'deviation': deviation, 'contribution': np.float32(contribution)}
    return apply_policy(np.float32(np.atleast_1d(scores)), policy, **told)


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
    """Direction and least deviation take the others to 0; a view without direction (NaN) always counts. Expected is 10."""
    got = adjusted([3] * 5, policy, [[-3], [-1.5], [1.5], [3], [nan]])
    assert got.tolist() == [3.0 if counted else 0.0 for counted in counts]


def test_a_deviation_of_just_the_least_one_counts():
    """Ignored is what is smaller."""
    assert adjusted(2, Policy(min_deviation=2, min_relative_deviation=0.2), [[2]], expected=10) == 2


def test_relative_deviations_are_relative_to_the_size():
    """A level below zero is as large as one above."""
    assert adjusted([2, 2], Policy(min_relative_deviation=0.5), [[4], [6]], expected=-10).tolist() == [0, 2]


def test_of_several_features_only_the_share_that_matters_counts():
    """A score of 4, three quarters of it upwards, is 3 for who asks for upwards."""
    assert adjusted(4, Policy(direction='above'), [5, -5], contribution=[0.75, 0.25]) == 3


def test_without_contributions_all_features_share_alike():
    """A model that does not tell who is to blame blames all."""
    assert adjusted(4, Policy(direction='above'), [5, -5], contribution=[nan, nan]) == 2


@pytest.mark.parametrize('policy', [Policy(), Policy(valid_range=(0, 100))])
def test_a_score_that_is_none_stays_none(policy):
    """Where nothing was judged there is no score, whatever the policy says of the deviation."""
    assert np.isnan(adjusted(nan, policy, [[nan]], observed=[[50]]))
    assert np.isnan(adjusted(nan, policy, [[nan]], observed=[[nan]]))


@pytest.mark.parametrize('value', [-0.01, 1.01, -inf, inf])
@pytest.mark.parametrize('judged', [nan, 0, 0.9])
def test_outside_the_range_is_always_anomalous(value, judged):
    """Warming up, expected or ignored by direction: a value that cannot be scores 1.01."""
    policy = Policy(valid_range=(0, 1), direction='above', min_deviation=1000)
    assert adjusted(judged, policy, [[nan if np.isnan(judged) else 0.1]], observed=[[value]]) == OUTSIDE_RANGE == np.float32(1.01)


@pytest.mark.parametrize('value', [0, 0.5, 1])
def test_the_borders_of_the_range_are_inside(value):
    """A ratio of exactly 0 or 1 is a good ratio."""
    assert adjusted(0.5, Policy(valid_range=(0, 1)), [[0.1]], observed=[[value]]) == 0.5


def test_outside_the_range_a_higher_score_stays():
    """1.01 is the least, not the most."""
    assert adjusted(7, Policy(valid_range=(0, 1)), [[5]], observed=[[6]]) == 7


def test_one_feature_outside_is_enough():
    """The range holds for every feature of the entity."""
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
    """Heeding gives between 0 and the score that was, or NaN where that was, or at least 1.01 outside the range."""
    contribution = np.eye(3)[blamed]
    (got,) = adjusted(given_score, policy, deviation, contribution=contribution)
    outside = policy.valid_range and (np.abs(10 + np.nan_to_num(deviation)) > 50).any()
    if outside:
        assert got >= OUTSIDE_RANGE
    elif np.isnan(given_score):
        assert np.isnan(got)
    else:
        assert got in (0, np.float32(given_score))


# -- the latch

LEVEL, REACH, STEP = 10.0, 2.0, 60.0


class Entity:
    """One entity and its latch; a step is given the sample, what is expected now, and perhaps another score than their distance."""

    def __init__(self, policy=None):
        self.policy, self.latch, self.time = policy or Policy(hold_seconds=600), Latch.blank(1, 1), 0.0

    def step(self, observed, expected=LEVEL, given_score=None):
        observed, expected = np.array([[observed]], np.float64), np.array([[expected]], np.float64)
        now = np.abs(observed - expected)[:, 0] / REACH if given_score is None else np.array([given_score])
        self.held = self.latch.held & (self.time - self.latch.since < self.policy.hold_seconds)  # while this sample is judged
        scored, self.latch = apply_latch(
            self.latch, self.policy, self.time, now.astype(np.float32), observed=observed, expected=expected, lower=expected - REACH,
            upper=expected + REACH, contribution=np.float32([[1]]),
        )  # fmt: skip
        self.time += STEP
        return float(scored[0])


def test_a_lasting_shift_stays_an_alarm_until_hold():
    """A forecaster that has got used to the new level is overruled until the hold time is over, then it is the normal one."""
    entity = Entity(Policy(hold_seconds=600))
    assert entity.step(20) == 5
    scores = [entity.step(20, expected=20) for _ in range(12)]
    assert scores == [5.0] * 9 + [0.0] * 3
    assert not entity.held[0] and not entity.latch.held[0]


def test_a_spike_is_over_at_once():
    """Back inside the band the score is below 1 at the very next sample."""
    entity = Entity()
    assert [entity.step(x) for x in (10, 20, 10.5, 10, 10)] == [0, 5, 0.25, 0, 0]


def test_an_alarm_ends_after_three_calm_samples():
    """Held for three samples inside the band; the fourth is free and learns again."""
    entity = Entity()
    entity.step(20)
    held = []
    for _ in range(5):
        entity.step(10)
        held.append(bool(entity.held[0]))
    assert held == [True] * CALM_SAMPLES + [False] * 2


def test_calm_samples_must_come_in_a_row():
    """One sample outside in between, and the three begin anew."""
    entity = Entity()
    entity.step(20)
    for x in (10, 10, 20, 10, 10):
        entity.step(x)
    assert entity.latch.held[0]
    entity.step(10)
    assert not entity.latch.held[0]


def test_the_held_distance_is_no_higher_than_the_peak():
    """What is held is the alarm that was, not one that nobody saw: the score never exceeds the alarm's peak by being held."""
    entity = Entity()
    assert entity.step(14) == 2
    assert entity.step(30, expected=30) == 2
    assert entity.step(30, expected=20) == 5
    assert entity.step(30, expected=30) == 5


def test_a_worse_score_now_counts_at_once():
    """Held and current score: the larger one."""
    entity = Entity()
    entity.step(14)
    assert entity.step(20, expected=10) == 5


def test_missing_samples_neither_end_an_alarm_nor_score():
    """While nothing comes there is no score, and the alarm stays what it was, calm samples so far included."""
    entity = Entity()
    for x in (20, 10, 10):
        entity.step(x)
    assert all(np.isnan(entity.step(nan)) for _ in range(3))
    assert entity.latch.held[0] and entity.latch.calm[0] == 2
    entity.step(10)
    assert not entity.latch.held[0]


def test_missing_samples_do_not_prolong_an_alarm():
    """The hold time runs on while nothing comes."""
    entity = Entity(Policy(hold_seconds=600))
    entity.step(20)
    for _ in range(10):
        entity.step(nan)
    assert not entity.latch.held[0]
    assert entity.step(20, expected=20) == 0


def test_a_new_alarm_after_the_hold_time_is_held_anew():
    """The sample that ends it is the new normal; what is anomalous after that begins a new alarm, against the new expectation."""
    entity = Entity(Policy(hold_seconds=120))
    entity.step(20)
    assert [entity.step(30, expected=20) for _ in range(3)] == [5, 0, 5]
    assert entity.latch.since[0] == 180 and entity.latch.expected[0, 0] == 20


def test_hold_0_holds_nothing():
    """Who wants no latch gets the scores as they are."""
    entity = Entity(Policy(hold_seconds=0))
    assert [entity.step(20), entity.step(20, expected=20)] == [5, 0]
    assert not entity.latch.held[0]


def test_nothing_is_held_without_a_band():
    """While warming up there is no expectation to hold: an impossible value is reported and not latched."""
    entity = Entity()
    assert entity.step(200, expected=nan, given_score=1.01) == pytest.approx(1.01)
    assert not entity.latch.held[0]


def test_a_band_without_width_is_left_by_any_deviation():
    """A series that never moved has a band of no width: what left it is far, and stays held."""
    entity = Entity()
    same = {'lower': np.array([[LEVEL]]), 'upper': np.array([[LEVEL]]), 'contribution': np.float32([[1]])}
    told = same | {'expected': np.array([[LEVEL]])}
    _, latch = apply_latch(entity.latch, entity.policy, 0.0, np.float32([4]), observed=np.array([[11.0]]), **told)
    for time, value, wanted in ((60, 11.0, 4), (120, 10.0, 0)):
        scored, latch = apply_latch(latch, entity.policy, float(time), np.float32([0]), observed=np.array([[value]]), **told)
        assert scored[0] == wanted


def test_what_does_not_matter_to_the_owner_is_not_held():
    """An alarm upwards is over when the value has fallen, even far below the band."""
    entity = Entity(Policy(direction='above', hold_seconds=600))
    entity.step(20)
    assert entity.step(0, given_score=0) == 0
    for _ in range(2):
        entity.step(0, given_score=0)
    assert not entity.latch.held[0]


# -- when it began


def began(scores, step_seconds=60.0):
    """[since] of an alarm after each score, as steps; None = there was none."""
    alarm, out = Alarm.blank(1), []
    for number, each in enumerate(scores):
        alarm = alarm.after(number * step_seconds, np.float32([each]), step_seconds)
        out.append(None if np.isnan(alarm.since[0]) else int(alarm.since[0] / step_seconds))
    return out


def test_an_alarm_began_with_its_first_sample():
    """Whether anything holds it or not; a sample that is missing in between ends nothing."""
    assert began([0, 0.9, 1, 2, nan, 2, 0]) == [None, None, 2, 2, 2, 2, 2]


def test_alarms_close_together_are_one_as_the_budget_counts():
    """30 steps at a minute, 3 at an hour: closer than that it is the same."""
    for step_seconds, steps in ((60.0, 30), (3600.0, 3)):
        assert began([1, *[0] * (steps - 2), 1], step_seconds)[-1] == 0
        assert began([1, *[0] * (steps - 1), 1], step_seconds)[-1] == steps


def test_an_alarm_that_nothing_holds_is_told_and_counted(tmp_path):
    """With `hold: 0s` too there is a time at which it began, once, and none when it is over."""
    loaded = session.load(tiny_model.write(tmp_path / 'tiny.onnx'))
    settings = detector.Settings(60, alarms_per_week=1, policy=Policy(hold_seconds=0, valid_range=(0, 50.5)))
    memory, told = blank(loaded, settings.zone, 1, 1), []
    for number, value in enumerate([50, 50, 50.6, 50.7, 50, 50]):
        verdicts, memory = detector.advance(loaded, settings, memory, Frame(60.0 * number, np.array([[float(value)]])))
        told.append(float(verdicts.since[0]))
    assert told == pytest.approx([nan, nan, 120, 120, nan, nan], nan_ok=True)


# -- several features


def play(samples, blame, expected=(10.0, 10.0), first=4.0):
    """An alarm of one entity with two features, then samples the forecaster finds in order; [score], [still held]."""
    wanted = np.array([expected])
    band = {'expected': wanted, 'lower': wanted - REACH, 'upper': wanted + REACH, 'contribution': np.float32([blame])}
    policy, latch, scores, held = Policy(hold_seconds=3600), Latch.blank(1, 2), [], []
    for number, sample in enumerate(samples):
        now = np.float32([0 if number else first])
        if np.isnan(sample).all():
            now[:] = nan
        scored, latch = apply_latch(latch, policy, 60.0 * number, now, observed=np.array([sample], np.float64), **band)
        scores.append(float(scored[0]))
        held.append(bool(latch.held[0]))
    return scores, held


def test_the_culprit_must_come_back():
    """Three samples with the blamed feature inside its band end the alarm, whatever the other one does little wrong."""
    scores, held = play([(20, 10), (20, 10), (10, 11), (10, 11), (10, 11)], blame=(0.9, 0.1))
    assert scores == pytest.approx([4, 4, 0.05, 0.05, 0.05])
    assert held == [True, True, True, True, False]


def test_the_innocent_coming_back_ends_nothing():
    """While the blamed feature stays away the alarm goes on."""
    scores, held = play([(20, 10)] * 8, blame=(0.9, 0.1))
    assert min(scores) == 4 and all(held)


def test_without_the_culprit_nobody_knows():
    """Samples in which the blamed feature is missing are no sign that it came back, and count neither way."""
    _, held = play([(20, 10)] + [(nan, 10)] * 6, blame=(0.9, 0.1))
    assert all(held)
    _, held = play([(20, 10), (10, 10), (nan, 10), (10, 10), (nan, 10), (10, 10)], blame=(0.9, 0.1))
    assert held == [True, True, True, True, True, False]


def test_the_culprit_alone_tells():
    """That an innocent feature is missing does not keep an alarm."""
    _, held = play([(20, 10)] + [(10, nan)] * 3, blame=(0.9, 0.1))
    assert held == [True, True, True, False]


# -- together

STEPS = st.lists(st.tuples(st.sampled_from([8.0, 10, 12.5, 20, 40, nan]), st.sampled_from([10.0, 20, 40])), max_size=30)


@given(STEPS)
def test_the_latch_only_ever_raises_a_score(steps):
    """Held or not, the score is at least the current one, at most the highest of the alarm, and NaN where there is no sample.

    But for the sample that ends the hold time: it is the new normal.
    """
    entity, peak = Entity(), 0.0
    for observed, expected in steps:
        before = entity.latch.held[0]
        now, got = abs(observed - expected) / REACH, entity.step(observed, expected)
        if np.isnan(observed):
            assert np.isnan(got)
            continue
        if before and got == 0 and now >= 1:
            assert not entity.latch.held[0]
            continue
        peak = max(peak, now) if entity.held[0] or now >= 1 else now
        assert now - 1e-6 <= got <= peak + 1e-6


@given(STEPS)
def test_an_alarm_is_never_held_longer_than_the_hold_time(steps):
    """The first sample after the hold time is judged by what is expected now."""
    entity = Entity(Policy(hold_seconds=300))
    for observed, expected in steps:
        entity.step(observed, expected)
        assert not entity.held[0] or entity.time - STEP - entity.latch.since[0] < 300 or np.isnan(entity.latch.since[0])


@given(st.lists(STEPS.map(lambda steps: (steps + [(10.0, 10.0)] * 30)[:30]), min_size=1, max_size=4))
def test_entities_do_not_see_each_other(everyone):
    """A column of entities gives what each gives alone."""
    alone = []
    for steps in everyone:
        entity = Entity()
        alone.append([entity.step(*step) for step in steps])
    latch, policy = Latch.blank(len(everyone), 1), Policy(hold_seconds=600)
    for number in range(30):
        observed, expected = (np.array([[steps[number][i]] for steps in everyone]) for i in (0, 1))
        before = [getattr(latch, name).copy() for name in latch.__dataclass_fields__]
        old = latch
        scored, latch = apply_latch(
            latch, policy, STEP * number, (np.abs(observed - expected)[:, 0] / REACH).astype(np.float32), observed=observed,
            expected=expected, lower=expected - REACH, upper=expected + REACH, contribution=np.ones((len(everyone), 1), np.float32),
        )  # fmt: skip
        np.testing.assert_array_equal(scored, np.float32([scores[number] for scores in alone]))
        for name, array in zip(old.__dataclass_fields__, before, strict=True):
            np.testing.assert_array_equal(getattr(old, name), array)


def test_while_an_alarm_is_held_the_model_does_not_learn(tmp_path):
    """The graph judges with learn = 0 from the sample after the one that raised the alarm, until three calm ones."""
    loaded = session.load(tiny_model.write(tmp_path / 'tiny.onnx'))
    settings = detector.Settings(60, alarms_per_week=1)  # a threshold of 2, so a reach of 4
    memory = blank(loaded, settings.zone, 1, 1)
    counts = []
    for number, value in enumerate([10] * 9 + [30, 30, 30, 10, 10, 10, 10]):
        _, memory = detector.advance(loaded, settings, memory, Frame(60.0 * number, np.array([[float(value)]])))
        counts.append(memory.state['state_mean'][0, 0, 0])
    assert counts == [*range(1, 10), 10, 10, 10, 10, 10, 10, 11]
