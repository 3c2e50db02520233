"""Which features an alarm is blamed on, from its beginning on."""

import numpy as np
import pytest
from latched import LEVEL, STEP, latched

from promlstm.engine.latch import CALM_SAMPLES, RETURN_SECONDS, Latch
from promlstm.engine.score import Policy

nan = np.nan


class Features:
    """One entity of three features, and its latch: what each sample's contribution says, and what the alarm says of it."""

    def __init__(self, **policy):
        self.policy, self.latch, self.time = Policy(hold_seconds=6000, **policy), Latch.blank(1, 3), 0.0

    def step(self, observed, contribution, score=2.0):
        expected = np.full((1, 3), LEVEL)
        _, self.latch, _ = latched(self.latch, self.policy, self.time, [score], [observed], expected, weight=[contribution])
        self.time += STEP
        return self.latch.blame()[0]


def test_who_has_been_far_away_and_surprising_is_to_blame():
    """A feature that only surprised for one sample is not, nor one that moved away without surprise."""
    entity = Features()
    assert entity.step([14, 10, 10], [0.5, 0.5, 0]) == pytest.approx([1, 0, 0])  # 2 widths away; what did not move is not to blame
    assert entity.step([14, 18, 10], [0.2, 0.8, 0], score=3) == pytest.approx([2 / 11.6, 9.6 / 11.6, 0])  # 2 * 1.0 and 4 * 2.4
    slowly = entity.step([14, 18, 30], [0.5, 0.5, 0], score=1)
    assert slowly == pytest.approx([2 / 11.6, 9.6 / 11.6, 0])  # the third is far by now, and never surprised
    assert entity.step([10, 10, 10], [1, 0, 0], score=0.5) == pytest.approx(slowly)  # it stays with the alarm


def test_a_new_alarm_has_a_blame_of_its_own():
    """What was far away in the last one is forgotten."""
    entity = Features()
    entity.step([30, 10, 10], [1, 0, 0])
    for _ in range(CALM_SAMPLES):
        entity.step([10, 10, 10], [1, 0, 0], score=0)
    assert not entity.latch.held[0]
    entity.time += RETURN_SECONDS
    assert entity.step([10, 14, 10], [0, 1, 0]) == pytest.approx([0, 1, 0])


def test_what_the_policy_excludes_is_not_to_blame():
    """A feature that is far in the direction that nobody asked for."""
    entity = Features(direction='above')
    assert entity.step([14, 2, 10], [0.5, 0.5, 0]) == pytest.approx([1, 0, 0])


@pytest.mark.parametrize('gone', [nan, 1e300])
def test_blame_stays_a_share_for_any_sample(gone):
    """A feature without a sample is as it was; one that is absurdly far away counts a hundred widths."""
    entity = Features()
    entity.step([14, 14, 10], [0.5, 0.5, 0])
    blame = entity.step([gone, 14, 10], [0.4, 0.6, 0])
    assert np.isfinite(blame).all() and blame.sum() == pytest.approx(1) and blame[1] > 0


def test_one_feature_needs_no_memory_for_blame():
    assert Latch.blank(4, 1).farthest.shape == (4, 0) and Latch.blank(4, 1).blame().shape == (4, 1)
