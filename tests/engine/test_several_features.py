"""What the model `builtin:default` makes of an entity of several features: surprises that follow each other count together, and blame goes to what is odd."""

import numpy as np
import pytest

from promlstm.engine import advance
from promlstm.engine.columns import Frame
from promlstm.engine.memory import blank
from promlstm.engine.score import Policy
from promlstm.engine.session import load, resolve

pytestmark = pytest.mark.slow  # days of a model are replayed

STEP, DAY = 300, 288  # seconds; steps in a day
START = 1_760_054_400  # a midnight in UTC
FEATURES, AT = 10, 3 * DAY


@pytest.fixture(scope='module')
def session():
    return load(resolve('builtin:default'), threads=1, prove=False)


def calm(steps, seed):
    """[steps, FEATURES] of noise."""
    return 100 + np.random.default_rng(seed).standard_normal((steps, FEATURES))


def judged(session, *entities, hold=3600):
    """Verdicts of each step for entities [T, F] at a budget of one alarm a week; a list."""
    values = np.stack(entities, 1)
    settings = advance.Settings(STEP, policy=Policy(hold_seconds=hold, settle_seconds=20 * STEP), alarms_per_week=1.0)
    memory = blank(session, advance.UTC, *values.shape[1:])
    frames = (Frame(START + STEP * t, row) for t, row in enumerate(values))
    return [verdicts for verdicts, _ in advance.replay(session, settings, memory, frames)]


def column(verdicts, name):
    return np.stack([getattr(each, name) for each in verdicts])


def spiked(apart, seed=0):
    """Noise in which three features have a spike each, so many steps after one another."""
    values = calm(AT + DAY + DAY // 2, seed)
    for feature in range(3):
        values[AT + apart * feature, feature] += 18
    return values


def test_features_that_are_surprised_one_after_the_other_count_together(session):
    at_once, soon, late = column(judged(session, spiked(0), spiked(3), spiked(200)), 'score')[AT:].max(0)
    assert at_once > soon > 1 > late


def test_what_lasts_is_over_when_a_new_level_is_normal(session):
    """A shift in all features is one alarm: the hold time ends it, although the surprise at its begin is not forgotten yet."""
    values = calm(AT + DAY, 1)
    values[AT:] += 40
    scores = column(judged(session, values), 'score')[AT : AT + 48, 0]
    assert (scores[:12] >= 1).all() and not (scores[12:] >= 1).any()


def test_of_features_that_surprise_the_one_that_is_far_from_where_it_is_all_day_is_blamed(session):
    """A feature that swings by day jumps as far as one that does not: in its day the jump is nothing."""
    values = calm(AT + DAY, 2)
    values[:, 1] += 40 * np.sin(2 * np.pi * np.arange(len(values)) / DAY)
    values[AT : AT + 5, :2] += 30
    verdicts = judged(session, values)
    blame, surprise = column(verdicts, 'contribution')[AT : AT + 5, 0], column(verdicts, 'surprise')[AT, 0]
    assert surprise > 2 and (blame[:, 0] > 2 * blame[:, 1]).all() and (blame[:, 1] > blame[:, 2:].max(1)).all()


def test_one_feature_is_judged_by_its_samples_alone(session):
    """Of few features nothing lasts: two of them are no more surprised, and no longer, than the more surprised one."""
    values = spiked(3)[: AT + DAY // 2, :2]
    together = column(judged(session, values, hold=0), 'surprise')[:, 0]
    alone = column(judged(session, values[:, :1], values[:, 1:], hold=0), 'surprise')
    assert np.allclose(together, np.fmax(*alone.T), atol=1e-5, equal_nan=True)
