"""Tolerance: how far alarms of an entity raise its own threshold, for how long, and what that does to score, band and latch."""

from functools import cache

import numpy as np
import pytest
import tiny_model
from requirements import is_accept

from convert.evaluation.shapes import SHAPES
from promlstm.engine import advance, session
from promlstm.engine.columns import Frame
from promlstm.engine.memory import blank
from promlstm.engine.score import Alarm, Policy, same_alarm
from promlstm.engine.tolerance import BYTES, HALF_SECONDS, MOST, RAISE, REACHABLE, Tolerance

STEP, DAY = 60.0, 86400.0
OVER = 32 * STEP  # after the last sample of an alarm; one step less is the same alarm
LEVEL, THRESHOLD = 10.0, 2.0  # of the tiny model at a budget of one alarm a week; its unit is SCALE
NOTHING_HELD = np.zeros(1, bool)
HELD = ~NOTHING_HELD


def alarms(last, since=None):
    """The Alarm of one entity."""
    return Alarm(np.array([last if since is None else since]), np.array([last]))


def test_an_alarm_counts_once_when_it_is_over():
    assert not same_alarm(np.array([OVER]), STEP)[0] and same_alarm(np.array([OVER - STEP]), STEP)[0]
    before = Tolerance.blank(1)
    assert before.after(1000.0, Alarm.blank(1), NOTHING_HELD, STEP) is before
    assert before.after(1000.0 + OVER - STEP, alarms(1000.0), NOTHING_HELD, STEP) is before
    once = before.after(1000.0 + OVER, alarms(1000.0), NOTHING_HELD, STEP)
    assert (once.share[0], once.ended[0]) == (np.float32(RAISE), 1000.0)
    assert once.after(1060.0 + OVER, alarms(1000.0), NOTHING_HELD, STEP) is once


def test_it_waits_until_the_latch_lets_go():
    before = Tolerance.blank(1)
    assert before.after(1000.0 + DAY, alarms(1000.0), HELD, STEP) is before
    assert before.after(1060.0 + DAY, alarms(1000.0), NOTHING_HELD, STEP).share[0] == np.float32(RAISE)


def test_half_is_left_after_two_days():
    once = Tolerance.blank(1).after(OVER, alarms(0.0), NOTHING_HELD, STEP)
    left = [float(once.at(days * DAY)[0]) for days in (0, 1, 2, 4, 20)]
    assert left == pytest.approx([RAISE, RAISE * 0.5**0.5, RAISE / 2, RAISE / 4, RAISE / 1024])
    assert HALF_SECONDS == 2 * DAY
    assert once.at(-DAY)[0] == np.float32(RAISE), 'a clock that is set back raises nothing'


def test_raises_add_up_to_a_bound():
    tolerance, shares = Tolerance.blank(1), []
    for day in range(40):
        tolerance = tolerance.after(day * DAY + OVER, alarms(day * DAY), NOTHING_HELD, STEP)
        shares.append(float(tolerance.share[0]))
    fade = 0.5**0.5
    assert shares[:3] == pytest.approx([RAISE, RAISE * (1 + fade), RAISE * (1 + fade + fade**2)])
    assert max(shares) == pytest.approx(RAISE / (1 - fade)), 'one a day'
    for hour in range(10):
        time = 50 * DAY + 3600 * hour
        tolerance = tolerance.after(time + OVER, alarms(time), NOTHING_HELD, STEP)
    assert tolerance.share[0] == np.float32(MOST)


def test_a_raised_threshold_stays_within_what_the_model_can_give():
    tolerance = Tolerance(np.float32([0, MOST, MOST, MOST]), np.array([np.nan, 0, 0, 0]))
    raised = tolerance.raised(np.float32([2, 2, 6, 7.5]), 0.0, 8.0)
    assert raised.dtype == np.float32
    assert raised.tolist() == pytest.approx([2, 3, 8 * REACHABLE, 7.5]), 'a threshold that is higher already stays'


def test_its_bytes_are_as_check_config_counts_them():
    columns = Tolerance.blank(7)
    assert columns.share.nbytes + columns.ended.nbytes == 7 * BYTES


# -- in a detector whose model can be computed on paper: the mean of what it learnt


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp('model')
    return {
        features: session.load(tiny_model.write(folder / f'{len(features)}.onnx', features=features), prove=False)
        for features in (('a',), ('a', 'b'))
    }  # fmt: skip


@cache
def calm(model, features, tolerant):
    """(Memory of an entity, time after its last step): so many samples of LEVEL that a few others hardly move the mean."""
    settings, steps = advance.Settings(STEP, alarms_per_week=1), 2000
    memory = blank(model, advance.UTC, 1, features, tolerant=tolerant)
    for k in range(steps):
        _, memory = advance.advance(model, settings, memory, Frame(STEP * k, np.full((1, features), LEVEL)))
    return memory, STEP * steps


class Entity:
    """An entity whose samples are LEVEL plus so many units; it is past its warm-up."""

    def __init__(self, model, *, tolerant=True, policy=None, features=1):
        self.model, self.features = model, features
        self.settings = advance.Settings(STEP, policy=policy or Policy(hold_seconds=600), alarms_per_week=1)
        self.memory, self.time = calm(model, features, tolerant)

    def sample(self, units):
        """The Verdicts on a sample; units: from LEVEL, of all features or of each."""
        values = LEVEL + tiny_model.SCALE * np.broadcast_to(np.asarray(units, float), self.features)
        verdicts, self.memory = advance.advance(self.model, self.settings, self.memory, Frame(self.time, values[None]))
        self.time += STEP
        return verdicts

    def score(self, units):
        return float(self.sample(units).score[0])

    def quiet(self, steps, units=0.0):
        """Scores of so many samples."""
        return [self.score(units) for _ in range(steps)]

    def factor(self):
        """By how much the threshold is raised at the next step: by the band that the model gives, which nothing holds now."""
        verdicts = self.sample(0)
        return float(verdicts.upper[0, 0] - verdicts.expected[0, 0]) / tiny_model.SCALE / THRESHOLD


def left(seconds):
    """Of a raise."""
    return RAISE * 0.5 ** (seconds / HALF_SECONDS)


@pytest.mark.slow
def test_score_and_band_are_relative_to_the_raised_threshold(tiny):
    entity = Entity(tiny[('a',)])
    assert entity.factor() == 1 and entity.score(2.1) == pytest.approx(1.05)
    assert max(entity.quiet(40)) < 0.1
    after = 1 + left(41 * STEP)
    verdicts = entity.sample(2.1)
    assert verdicts.score[0] == pytest.approx(1.05 / after, rel=1e-3) and verdicts.score[0] < 1
    assert verdicts.upper[0, 0] - verdicts.expected[0, 0] == pytest.approx(THRESHOLD * after * tiny_model.SCALE, rel=1e-6)
    assert verdicts.surprise[0] == pytest.approx(2.1, rel=1e-2), 'the surprise is what the model gave'
    assert entity.score(THRESHOLD * after * 1.01) > 1 > entity.score(0)
    edge = Entity(tiny[('a',)])
    edge.score(3), edge.quiet(40)
    band = edge.sample(0).upper[0, 0]
    verdicts = edge.sample((band - LEVEL) / tiny_model.SCALE)
    assert verdicts.score[0] == pytest.approx(1, abs=1e-3), 'the band is where the score is 1'


def test_a_far_larger_deviation_still_alarms(tiny):
    entity = Entity(tiny[('a',)])
    for _ in range(12):
        entity.sample(9)
        entity.quiet(40)
    assert entity.factor() == pytest.approx(1 + MOST, abs=0.01)
    assert entity.score(2.1) < 1
    entity.quiet(3)
    assert entity.score(4) > 1


@pytest.mark.slow
@pytest.mark.parametrize('hold', [0.0, 3600.0])
def test_no_alarm_is_cut_short_by_its_own_raise(tiny, hold):
    """What stays just above the threshold scores as without tolerance for as long as it does, and raises it once it is over."""
    policy, scores = Policy(hold_seconds=hold), []
    for tolerant in (False, True):
        entity = Entity(tiny[('a',)], tolerant=tolerant, policy=policy)
        scores.append([entity.score(2.2 if k < 50 else 0) for k in range(120)])
    assert scores[0][:50] == scores[1][:50] and min(scores[1][:10]) > 1
    assert entity.memory.tolerance.share[0] == np.float32(RAISE)


def test_an_alarm_that_begins_when_one_is_over_counts_too(tiny):
    entity = Entity(tiny[('a',)])
    for _ in range(3):
        assert entity.score(9) > 1
        entity.quiet(31)
    expected = left(0) + left(32 * STEP) + left(64 * STEP)
    entity.sample(0)
    assert entity.memory.tolerance.share[0] == pytest.approx(expected)


def test_an_alarm_that_comes_and_goes_counts_once(tiny):
    entity = Entity(tiny[('a',)])
    for _ in range(5):
        entity.score(9), entity.quiet(20)
    entity.quiet(30)
    assert entity.memory.tolerance.share[0] == np.float32(RAISE)


def test_an_alarm_counts_while_there_are_no_samples(tiny):
    entity = Entity(tiny[('a',)], policy=Policy(hold_seconds=0))
    entity.score(9)
    assert np.isnan(entity.quiet(40, np.nan)).all()
    assert entity.memory.tolerance.share[0] == np.float32(RAISE)
    assert entity.factor() == pytest.approx(1 + left(41 * STEP))


@pytest.mark.slow
def test_each_feature_has_the_raised_band(tiny):
    entity = Entity(tiny[('a', 'b')], features=2)
    entity.sample([0, 9]), entity.quiet(40)
    verdicts = entity.sample(0)
    reach = (verdicts.upper - verdicts.expected)[0]
    assert reach == pytest.approx([THRESHOLD * (1 + left(41 * STEP)) * tiny_model.SCALE] * 2)


def test_entities_are_tolerated_each_by_its_own_alarms(tiny):
    model = tiny[('a',)]
    settings = advance.Settings(STEP, policy=Policy(hold_seconds=600), alarms_per_week=1)
    memory = blank(model, advance.UTC, 2, 1, tolerant=True)
    for k in range(200):
        verdicts, memory = advance.advance(model, settings, memory, Frame(STEP * k, np.array([[LEVEL + 30 * (k == 100)], [LEVEL]])))
    reach = (verdicts.upper - verdicts.expected)[:, 0]
    assert reach.tolist() == pytest.approx([2 * THRESHOLD * (1 + left(99 * STEP)), 2 * THRESHOLD])
    grown = memory.grown(model, 3)
    assert grown.tolerance.share.tolist() == [np.float32(RAISE), 0, 0]
    assert grown.take(np.array([2, 0])).tolerance.share.tolist() == [0, np.float32(RAISE)]
    put = grown.put(np.array([0]), grown.take(np.array([1])))
    assert put.tolerance.share.tolist() == [0, 0, 0] and np.isnan(put.tolerance.ended).all()
    plain = blank(model, advance.UTC, 2, 1)
    assert not grown.is_like(plain) and not plain.is_like(grown) and grown.is_like(memory)
    assert memory.nbytes() == memory.restored(memory.stored()).nbytes()
    assert blank(model, advance.UTC, 2, 1, tolerant=True).nbytes() == plain.nbytes() + 2 * BYTES


def test_without_it_nothing_is_remembered_and_nothing_changes(tiny):
    """What is stored has the columns of before; and tolerance changes nothing before the first alarm."""
    plain, tolerant = (Entity(tiny[('a',)], tolerant=tolerant) for tolerant in (False, True))
    assert plain.memory.tolerance is None and not any('tolerance' in name for name in plain.memory.stored())
    assert {name for name in tolerant.memory.stored() if 'tolerance' in name} == {'tolerance.share', 'tolerance.ended'}
    assert plain.quiet(50, 1.9) == tolerant.quiet(50, 1.9)


# -- and with the model that is shipped


def replayed(model, values, *, tolerant, step=300.0):
    """bool [T, N]: an alarm begins; bool [T, N]: the score is 1 or more."""
    settings = advance.Settings(step, policy=Policy(hold_seconds=15 * step, settle_seconds=20 * step), alarms_per_week=1, largest_surprise=8.0)
    memory = blank(model, advance.UTC, values.shape[1], 1, tolerant=tolerant)
    frames = (Frame(1_760_313_600 + step * k, row[:, None]) for k, row in enumerate(values))
    seen = [(verdicts.score >= 1, memory.alarm.since == verdicts.time) for verdicts, memory in advance.replay(model, settings, memory, frames)]
    anomalous, begins = map(np.stack, zip(*seen, strict=True))
    return begins, anomalous


@pytest.mark.slow
def test_a_noisy_healthy_series_alarms_less_and_a_large_fault_in_it_is_found():
    """Heavy tails, bursts at random times, and a latency with a Pareto tail: nothing in them is a fault."""
    model = session.load(session.resolve('builtin:default'), threads=1, prove=False)
    per, days, many = 288, 10 if is_accept() else 7, 4  # steps in a day, days, entities of each kind
    rng, steps = np.random.default_rng(3), days * per
    bursts = 10 + rng.standard_normal((steps, many))
    for column in bursts.T:
        for at in np.flatnonzero(rng.random(steps) < 2 / per):
            column[at : at + 4] += 8 * np.exp(0.4 * rng.standard_normal())
    times = 1_760_313_600 + 300.0 * np.arange(steps)
    pareto = SHAPES['latency of the slowest, Pareto'](times, many, rng)
    values = np.concatenate([bursts, rng.standard_t(2, (steps, many)), pareto / np.median(pareto)], axis=1)
    fault = slice((days - 1) * per, (days - 1) * per + 12)
    values[fault] += 300
    (plain, _), (tolerated, anomalous) = (replayed(model, values, tolerant=each) for each in (False, True))
    known, weeks = slice(3 * per, fault.start), (days - 4) / 7 * many
    before, after = (each[known].reshape(-1, 3, many).sum((0, 2)) / weeks for each in (plain, tolerated))
    assert before[:2].min() > 2.5, before
    assert (after < 0.8 * before)[:2].all() and after[2] <= before[2], (before, after)
    assert anomalous[fault].any(0).all()
