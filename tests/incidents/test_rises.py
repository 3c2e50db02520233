"""What a score was before it rose, and which rise without an alarm."""

from dataclasses import replace

import numpy as np
import pytest

from promlstm.engine.columns import Verdicts
from promlstm.incidents.rises import LEAN_SECONDS, Rises

STEP, NONE = 60.0, np.nan


def verdicts(time, scores, since=None, deviation=None):
    """Verdicts of one step, with one feature."""
    scores = np.array(scores, np.float32)
    column = np.array([[1.0]] * len(scores)) if deviation is None else np.array(deviation, float).reshape(len(scores), -1)
    contribution = np.full(column.shape, 0.1, np.float32)
    contribution[:, 0] = 0.9
    since = np.array([NONE] * len(scores) if since is None else since, float)
    return replace(Verdicts.blank(column.shape[1], 0), time=time, score=scores, deviation=column, contribution=contribution, since=since)


def after(*scores, times=None):
    """Rises of one entity after these scores, one each step; an alarm is one run of scores of 1 and more."""
    rises, since = Rises.blank(1), NONE
    for n, score in enumerate(scores):
        time = STEP * (n + 1) if times is None else times[n]
        since = (time if np.isnan(since) else since) if score >= 1 else NONE
        rises = rises.after(verdicts(time, [score], [since]), STEP)
    return rises


def test_an_alarm_remembers_what_was_before_it():
    rises = after(0.3, 0.4, 1.2, 1.9, 1.5)
    assert rises.alarm[0] and rises.onset[0] == 3 * STEP and rises.gap[0] == STEP
    assert rises.before[0] == np.float32(0.3) and rises.peak[0] == np.float32(1.9) and rises.direction[0] == 1


def test_a_rise_without_an_alarm_is_remembered_for_a_while():
    rises = after(0.0, 0.0, 0.7, 0.4)
    assert not rises.alarm[0] and rises.onset[0] == 3 * STEP and rises.peak[0] == np.float32(0.7) and rises.before[0] == 0
    later = after(0.0, 0.0, 0.7, *[0.2] * 40, 0.7, 0.95)
    assert later.onset[0] - 3 * STEP > LEAN_SECONDS and later.peak[0] == np.float32(0.95)


def test_a_score_that_is_always_so_or_climbs_slowly_does_not_lean():
    assert np.isnan(after(0.8, 0.9, 0.8, 0.9).onset[0])
    assert np.isnan(after(*np.linspace(0.1, 0.95, 12)).onset[0])


def test_a_rise_that_becomes_an_alarm_is_one():
    rises = after(0.1, 0.1, 0.8, 1.4)
    assert rises.alarm[0] and rises.onset[0] == 4 * STEP and rises.before[0] == np.float32(0.1)


def test_after_a_gap_nothing_is_known_of_before():
    """The onset lies anywhere in the gap; and the first sample of all may have begun at any time."""
    rises = after(0.3, 0.3, 1.5, times=[60.0, 120.0, 7320.0])
    assert np.isnan(rises.before[0]) and rises.gap[0] == 7200
    assert np.isinf(after(1.5).gap[0]) and np.isnan(after(1.5).before[0])


def test_samples_that_are_not_judged_are_passed_over():
    rises = after(0.3, NONE, 1.5, NONE)
    assert rises.before[0] == np.float32(0.3) and rises.gap[0] == 2 * STEP and rises.peak[0] == np.float32(1.5)


@pytest.mark.parametrize(('deviation', 'direction'), [([[-3.0, 9.0]], -1), ([[NONE, 9.0]], 0)])
def test_the_direction_is_that_of_the_feature_that_contributed_most(deviation, direction):
    rises = Rises.blank(1).after(verdicts(60.0, [1.5], [60.0], deviation), STEP)
    assert rises.direction[0] == direction


def test_new_entities_are_added_and_nothing_old_is_changed():
    first = Rises.blank(0).after(verdicts(60.0, [0.2]), STEP)
    second = first.after(verdicts(120.0, [1.4, 0.3], [120.0, NONE]), STEP)
    assert len(first.onset) == 1 and np.isnan(first.onset[0])
    assert second.onset.tolist()[0] == 120 and len(second.last) == 2
