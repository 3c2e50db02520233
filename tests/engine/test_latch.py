"""The latch: how long an alarm lasts, what it is judged by and explained with, and how it ends."""

import numpy as np
import pytest
import tiny_model
from hypothesis import given
from hypothesis import strategies as st
from latched import LEVEL, REACH, STEP, latched

from promlstm.engine import advance, session
from promlstm.engine.columns import Frame
from promlstm.engine.latch import CALM_SAMPLES, RETURN_SECONDS, Latch
from promlstm.engine.memory import blank
from promlstm.engine.score import Policy, score

nan, inf = np.nan, np.inf


class Entity:
    """One entity and its latch; a step is given the sample, what the model expects now, and perhaps another score than their distance."""

    def __init__(self, policy=None, reach=REACH):
        self.reach = reach
        self.policy, self.latch, self.time = policy or Policy(hold_seconds=600), Latch.blank(1, 1), 0.0

    def step(self, observed, expected=LEVEL, given_score=None):
        raw = [abs(observed - expected) / self.reach if given_score is None else given_score]
        self.held = self.latch.holds(self.time, self.policy)  # while this sample is judged
        scored, self.latch, _ = latched(self.latch, self.policy, self.time, raw, [[observed]], [[expected]], reach=self.reach)
        self.time += STEP
        return float(scored[0])


def test_a_lasting_shift_is_an_alarm_until_the_hold_time_ends():
    """Although the forecaster expects the new level; after the hold time it is the normal one."""
    entity = Entity(Policy(hold_seconds=600))
    assert entity.step(20) == 5
    scores = [entity.step(20, expected=20) for _ in range(12)]
    assert scores == [5.0] * 9 + [0.0] * 3
    assert not entity.held[0] and not entity.latch.held[0]


def test_a_spike_is_over_at_once():
    """Inside the band the score is below 1 at the very next sample."""
    entity = Entity()
    assert [entity.step(x) for x in (10, 20, 10.5, 10, 10)] == [0, 5, 0.25, 0, 0]


def test_an_alarm_ends_after_three_calm_samples():
    """It is held for three samples inside the band; from the fourth on the model learns again."""
    entity = Entity()
    entity.step(20)
    held = []
    for _ in range(5):
        entity.step(10)
        held.append(bool(entity.held[0]))
    assert held == [True] * CALM_SAMPLES + [False] * 2


def test_calm_samples_must_come_in_a_row():
    """After a sample outside, three more are needed."""
    entity = Entity()
    entity.step(20)
    for x in (10, 10, 20, 10, 10):
        entity.step(x)
    assert entity.latch.held[0]
    entity.step(10)
    assert not entity.latch.held[0]


def test_the_held_distance_is_no_higher_than_the_peak():
    """Holding never gives a higher score than the alarm had."""
    entity = Entity()
    assert entity.step(14) == 2
    assert entity.step(30, expected=30) == 2
    assert entity.step(30, expected=20) == 5
    assert entity.step(30, expected=30) == 5


def test_a_higher_current_score_counts_at_once():
    """The score is the larger of the held and the current one."""
    entity = Entity()
    entity.step(14)
    assert entity.step(20, expected=10) == 5


def test_missing_samples_neither_end_an_alarm_nor_score():
    """Without a sample there is no score, and the alarm keeps its state, including its calm samples so far."""
    entity = Entity()
    for x in (20, 10, 10):
        entity.step(x)
    assert all(np.isnan(entity.step(nan)) for _ in range(3))
    assert entity.latch.held[0] and entity.latch.calm[0] == 2
    entity.step(10)
    assert not entity.latch.held[0]


def test_missing_samples_do_not_prolong_an_alarm():
    """The hold time goes on without samples."""
    entity = Entity(Policy(hold_seconds=600))
    entity.step(20)
    for _ in range(10):
        entity.step(nan)
    assert not entity.latch.held[0]
    assert entity.step(20, expected=20) == 0


def test_after_the_hold_time_a_new_alarm_can_begin():
    """The sample that ends the alarm is the new normal level; a later anomaly begins an alarm against the new expectation."""
    entity = Entity(Policy(hold_seconds=120))
    entity.step(20)
    assert [entity.step(30, expected=20) for _ in range(3)] == [5, 0, 5]
    assert entity.latch.since[0] == 180 and entity.latch.expected[0, 0] == 20


def test_hold_0_holds_nothing():
    """Without a hold time the scores stay as they are."""
    entity = Entity(Policy(hold_seconds=0))
    assert [entity.step(20), entity.step(20, expected=20)] == [5, 0]
    assert not entity.latch.held[0]


def test_nothing_is_held_without_a_band():
    """While warming up there is no expectation: an impossible value is reported but not held."""
    entity = Entity()
    assert entity.step(200, expected=nan, given_score=1.01) == pytest.approx(1.01)
    assert not entity.latch.held[0]


def test_a_band_without_width_is_left_by_any_deviation():
    """Any deviation of a series that never moved is far outside its band, and is held."""
    latch, policy = Latch.blank(1, 1), Policy(hold_seconds=600)
    for time, value, raw, wanted in ((0, 11.0, 4, 4), (60, 11.0, 0, 4), (120, 10.0, 0, 0)):
        scored, latch, _ = latched(latch, policy, float(time), [raw], [[value]], [[LEVEL]], reach=0)
        assert scored[0] == wanted


def test_a_deviation_that_the_policy_ignores_is_not_held():
    """An alarm upwards is over when the value has fallen, even far below the band."""
    entity = Entity(Policy(direction='above', hold_seconds=600))
    entity.step(20)
    assert entity.step(0, given_score=0) == 0
    for _ in range(2):
        entity.step(0, given_score=0)
    assert not entity.latch.held[0]


# -- several features


def play(samples, blame, expected=(10.0, 10.0), first=4.0):
    """An alarm of one entity with two features, then samples that do not surprise the model; [score], [still held]."""
    policy, latch, scores, held = Policy(hold_seconds=3600), Latch.blank(1, 2), [], []
    for number, sample in enumerate(samples):
        raw = [nan if np.isnan(sample).all() else 0 if number else first]
        scored, latch, _ = latched(latch, policy, 60.0 * number, raw, [sample], [expected], weight=[blame])
        scores.append(float(scored[0]))
        held.append(bool(latch.held[0]))
    return scores, held


def test_the_main_feature_must_return():
    """Three samples with the main feature inside its band end the alarm, in spite of a small deviation of the other feature."""
    scores, held = play([(20, 10), (20, 10), (10, 11), (10, 11), (10, 11)], blame=(0.9, 0.1))
    assert scores == pytest.approx([4, 4, 0.05, 0.05, 0.05])
    assert held == [True, True, True, True, False]


def test_the_return_of_another_feature_ends_nothing():
    """While the main feature stays outside, the alarm goes on."""
    scores, held = play([(20, 10)] * 8, blame=(0.9, 0.1))
    assert min(scores) == 4 and all(held)


def test_samples_without_the_main_feature_do_not_count():
    """They do not show whether it returned, so they count neither as calm nor as anomalous."""
    _, held = play([(20, 10)] + [(nan, 10)] * 6, blame=(0.9, 0.1))
    assert all(held)
    _, held = play([(20, 10), (10, 10), (nan, 10), (10, 10), (nan, 10), (10, 10)], blame=(0.9, 0.1))
    assert held == [True, True, True, True, True, False]


def test_the_main_feature_alone_can_end_an_alarm():
    """Another feature may be missing."""
    _, held = play([(20, 10)] + [(10, nan)] * 3, blame=(0.9, 0.1))
    assert held == [True, True, True, False]


# -- together

STEPS = st.lists(st.tuples(st.sampled_from([8.0, 10, 12.5, 20, 40, nan]), st.sampled_from([10.0, 20, 40])), max_size=30)


@given(STEPS)
def test_while_held_a_score_of_1_means_outside_the_held_band(steps):
    """Outside it the score is at least the model's and at most the highest of the alarm, inside it the distance; NaN without a sample."""
    entity, peak = Entity(), 0.0
    for observed, expected in steps:
        before, model = entity.latch, abs(observed - expected) / REACH
        got = entity.step(observed, expected)
        if np.isnan(observed):
            assert np.isnan(got)
        elif entity.held[0]:
            distance = abs(observed - before.expected[0, 0]) / REACH
            peak = max(peak, model) if distance >= 1 else peak
            assert (got >= 1) == (distance >= 1) and got <= peak + 1e-6
            assert got >= model - 1e-6 if distance >= 1 else got == pytest.approx(distance)
        else:
            assert got in (pytest.approx(model), 0)
            peak = model


@given(STEPS)
def test_an_alarm_is_never_held_longer_than_the_hold_time(steps):
    """The first sample after the hold time is judged by the current expectation."""
    entity = Entity(Policy(hold_seconds=300))
    for observed, expected in steps:
        entity.step(observed, expected)
        assert not entity.held[0] or entity.time - STEP - entity.latch.since[0] < 300 or np.isnan(entity.latch.since[0])


@given(st.lists(STEPS.map(lambda steps: (steps + [(10.0, 10.0)] * 30)[:30]), min_size=1, max_size=4))
def test_entities_are_independent(everyone):
    """Several entities give the same as each of them alone."""
    alone = []
    for steps in everyone:
        entity = Entity()
        alone.append([entity.step(*step) for step in steps])
    latch, policy = Latch.blank(len(everyone), 1), Policy(hold_seconds=600)
    for number in range(30):
        observed, expected = (np.array([[steps[number][i]] for steps in everyone]) for i in (0, 1))
        before = [getattr(latch, name).copy() for name in latch.__dataclass_fields__]
        old, raw = latch, (np.abs(observed - expected)[:, 0] / REACH).astype(np.float32)
        scored, latch, _ = latched(latch, policy, STEP * number, raw, observed, expected)
        np.testing.assert_array_equal(scored, np.float32([scores[number] for scores in alone]))
        for name, array in zip(old.__dataclass_fields__, before, strict=True):
            np.testing.assert_array_equal(getattr(old, name), array)


def test_while_an_alarm_is_held_the_model_does_not_learn(tmp_path):
    """The graph judges with learn = 0 from the sample after the one that raised the alarm, until three calm ones."""
    loaded = session.load(tiny_model.write(tmp_path / 'tiny.onnx'))
    settings = advance.Settings(60, alarms_per_week=1)  # a threshold of 2, so a reach of 4
    memory = blank(loaded, settings.zone, 1, 1)
    counts = []
    for number, value in enumerate([10] * 9 + [30, 30, 30, 10, 10, 10, 10]):
        _, memory = advance.advance(loaded, settings, memory, Frame(60.0 * number, np.array([[float(value)]])))
        counts.append(memory.state['state_mean'][0, 0, 0])
    assert counts == [*range(1, 10), 10, 10, 10, 10, 10, 10, 11]


# -- the way back

BOTH = [('rise', 20.0), ('fall', 0.0)]


@pytest.mark.parametrize(('name', 'level'), BOTH)
def test_an_alarm_ends_with_its_incident(name, level):
    """Inside the held band nothing is an alarm, even while the return to it surprises the model for 15 steps."""
    entity = Entity(Policy(hold_seconds=3600, settle_seconds=1200))
    assert all(entity.step(level, expected=level if number else LEVEL) >= 1 for number in range(30))
    after = [entity.step(LEVEL, expected=level) for _ in range(15)]
    assert max(after) < 1 and not entity.latch.held[0]


@pytest.mark.parametrize(('direction', 'level'), [('below', 20.0), ('above', 0.0)])
@pytest.mark.parametrize('steps', [10, 58])
def test_the_end_of_an_excluded_shift_is_no_alarm(direction, level, steps):
    """With a direction set, a shift in the other direction scores 0 and so does its end, however long it lasted."""
    entity = Entity(Policy(direction=direction, hold_seconds=3600))
    shift = [entity.step(level, expected=LEVEL if number < 15 else level) for number in range(steps)]
    back = [entity.step(LEVEL, expected=level) for _ in range(15)]
    assert max(shift) == 0 and max(back) < 1


def test_a_rollback_after_the_hold_time_is_no_alarm_for_a_day():
    """A shift became the new normal level; the return to the old level within a day is no second alarm, later it is."""
    for hours, wanted in ((3, 0), (30, 5)):
        entity = Entity(Policy(hold_seconds=3600))
        for number in range(60 * hours):
            entity.step(20, expected=LEVEL if number < 15 else 20)
        assert RETURN_SECONDS == 86400 and entity.step(LEVEL, expected=20) == wanted


def test_an_excluded_shift_hides_no_alarm():
    """While a rise is held for a detector of falls, a fall below the band from before it is an alarm that begins with its own sample."""
    entity = Entity(Policy(direction='below', hold_seconds=3600))
    for number in range(10):
        entity.step(20, expected=LEVEL if number < 5 else 20)
    began = entity.time
    assert entity.step(2, expected=20) == 9 and entity.latch.since[0] == began and entity.latch.expected[0, 0] == LEVEL
    assert entity.step(2, expected=2) == 4  # the distance from the expectation that is held, 4 bands away


def test_a_new_incident_soon_after_an_alarm_is_an_alarm():
    """After an alarm, only samples inside its band score 0."""
    entity = Entity(Policy(hold_seconds=3600, settle_seconds=1200))
    for number in range(10):
        entity.step(20, expected=LEVEL if number < 5 else 20)
    for _ in range(CALM_SAMPLES):
        entity.step(LEVEL, expected=20)
    assert not entity.latch.held[0]
    assert entity.step(4, expected=LEVEL) == 3


def test_a_wide_band_hides_no_incident_that_follows():
    """Band of 2 to 18 around 10: traffic that rises, returns, and then stops at 3 is two incidents, in and after the hold of the first."""
    for calm in (1, 6):
        entity = Entity(Policy(hold_seconds=3600, settle_seconds=1200), reach=8)
        for number in range(10):
            entity.step(20, expected=LEVEL if number < 5 else 20)
        assert max(entity.step(LEVEL, expected=20) for _ in range(calm)) < 1
        assert entity.step(3, expected=LEVEL, given_score=3) == 3


# -- the explanation


def test_a_held_alarm_is_explained_by_its_beginning(tmp_path):
    """Expected value, band, deviation and contribution are those from before the alarm, as long as they give the score."""
    loaded = session.load(tiny_model.write(tmp_path / 'tiny.onnx'))
    settings = advance.Settings(60, alarms_per_week=1)
    memory, shown = blank(loaded, settings.zone, 1, 1), []
    for number, value in enumerate([10] * 9 + [30, 31, 32, 10, 10, 10, 10, 10]):
        verdicts, memory = advance.advance(loaded, settings, memory, Frame(60.0 * number, np.array([[float(value)]])))
        shown.append(verdicts)
    for verdicts in shown[9:15]:
        assert verdicts.expected[0, 0] == shown[8].expected[0, 0] == 10
        assert verdicts.deviation[0, 0] == verdicts.observed[0, 0] - 10
        assert (verdicts.score[0] >= 1) == (verdicts.observed[0, 0] > verdicts.upper[0, 0])


@pytest.mark.parametrize(
    ('policy', 'lower', 'upper'),
    [
        (Policy(), 8, 12),
        (Policy(direction='above'), -inf, 12),
        (Policy(direction='below'), 8, inf),
        (Policy(min_deviation=5), 5, 15),
        (Policy(min_relative_deviation=0.4, direction='above'), -inf, 14),
        (Policy(valid_range=(9, 100)), 9, 12),
        (Policy(direction='above', valid_range=(0, 11)), 0, 11),
    ],
    ids=['both', 'above', 'below', 'min_deviation', 'min_relative_deviation', 'range', 'range and above'],
)
def test_the_band_is_the_border_of_score_1_after_the_policy(policy, lower, upper):
    """Every sample outside it scores 1 or more, every sample inside it less; a side that cannot alarm is infinite."""
    expected = np.array([[LEVEL]])
    assert [float(side[0, 0]) for side in policy.band(expected, expected - REACH, expected + REACH)] == [lower, upper]
    for observed in np.linspace(-20, 120, 1401):
        if min(abs(observed - lower), abs(observed - upper)) < 1e-6:
            continue
        got, _, _ = latched(Latch.blank(1, 1), policy, 0.0, score(np.float32([abs(observed - LEVEL)]), np.float32([REACH])), [[observed]], expected)
        assert (got[0] >= 1) == (not lower < observed < upper), observed


def test_while_warming_up_the_band_is_the_valid_range():
    """The model has no expectation yet."""
    none = np.full((1, 1), nan)
    assert [float(side[0, 0]) for side in Policy(valid_range=(0, 1)).band(none, none, none)] == [0, 1]
    assert all(np.isnan(side).all() for side in Policy(direction='above').band(none, none, none))
