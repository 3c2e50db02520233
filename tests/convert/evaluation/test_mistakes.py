"""What is missed and where it cries wolf, by entity, with size and duration; and its pictures."""

import re

import numpy as np
import pytest
from test_scorecard import judged, series

from convert.evaluation import mistakes, scorecard, sheets
from convert.evaluation.scorecard import Method

pytestmark = pytest.mark.train


@pytest.fixture
def found():
    """Two entities: the first has one event that is seen and one that is not, the second three false alarms, one of which stands, and many small ones."""
    labels = np.zeros(6000, bool)
    labels[500:504] = labels[2000] = True
    values, scores = np.random.default_rng(0).normal(size=(2, 6000, 1)), np.zeros((2, 6000))
    values[0, 500:504] += 40
    values[0, 2000] -= 20
    values[1, 700] += 30
    scores[0, 500:504], scores[0, 2000] = 6, 1
    scores[1, 3000::100] = 2
    scores[1, [700, 1500]] = 5
    scores[1, 2000:2100] = 4
    entities = [series('a', labels)._replace(values=values[0]), series('b', labels & False)._replace(values=values[1])]
    own = [judged(each, lower=np.full((6000, 1), -9.0), upper=np.full((6000, 1), 9.0)) for each in scores]
    again = [np.array([False, True]), np.zeros(0, bool)]
    _, (card,), field = scorecard.cards('set', entities, again, [Method('m', 'model', own)], 14_400.0)
    return card, mistakes.mistakes(card, entities, again, field), entities, own


def test_missed_events_have_size_and_duration(found):
    """Only the one below the threshold: a single sample, far down, that recurs."""
    card, both, _, _ = found
    (missed,) = both.missed
    assert card.threshold == 4 and (missed.entity, missed.first, missed.steps, missed.kind, missed.recurs) == ('a', 2000, 1, 'single down', True)
    assert missed.peak == 0.25 and 10 < missed.size < 30


def test_false_alarms_say_how_often_they_count(found):
    """A hundred samples at 300 s are eight hours and twenty minutes: once, and twice more."""
    _, both, _, _ = found
    assert [(each.entity, each.first, each.steps, each.counts) for each in both.false] == [('b', 700, 1, 1), ('b', 1500, 1, 1), ('b', 2000, 100, 3)]


def test_who_eats_the_budget_comes_first(found):
    card, _, _, _ = found
    assert mistakes.shares(card) == [('b', 5, 1)]


def test_every_mistake_is_drawn_with_its_band_and_its_label(found):
    """Labels behind the values of what was missed, another colour behind a false alarm, and the line at which it alarms."""
    card, both, entities, own = found
    by_name = {each.name: each for each in entities}, {each.name: said for each, said in zip(entities, own, strict=True)}
    missed, false = sheets.sheet(both.missed, *by_name, card.threshold), sheets.sheet(both.false, *by_name, card.threshold, false=True)
    assert (missed.count('<figure>'), false.count('<figure>')) == (1, 3)
    assert missed.count(sheets.LABEL) == 1 and sheets.FALSE not in missed and false.count(sheets.FALSE) == 3 and sheets.LABEL not in false
    assert missed.count('<polygon') == 1 and 'single down, 1 steps' in missed and 'recurs' in missed and 'counts 3 times' in false


def test_many_mistakes_are_thinned(found):
    card, both, entities, own = found
    names = {each.name: each for each in entities}, {each.name: said for each, said in zip(entities, own, strict=True)}
    assert sheets.sheet(both.missed * 500, *names, card.threshold).count('<figure>') == sheets.MOST
    assert sheets.sheet([], *names, card.threshold) == ''


def test_a_picture_has_gaps_where_there_is_nothing():
    """A missing sample breaks the line, and no number of the picture is one that cannot be drawn."""
    values = np.array([1, 2, np.nan, 3, np.nan])
    svg = sheets.picture(values, np.array([0, np.nan, 9, 1, 0]), [(4, 5, sheets.FALSE)], np.full(5, np.nan), np.full(5, np.nan))
    assert 'nan' not in svg and 'inf' not in svg
    line = re.search(rf'd="([^"]+)" stroke="{re.escape(sheets.VALUE)}"', svg)[1]
    assert line.count('M') == 2 and '<polygon' not in svg
    assert 'nan' not in sheets.picture(np.full(3, np.nan), np.full(3, np.nan), [])
    open_below = sheets.picture(np.arange(3.0), np.zeros(3), [], np.full(3, -np.inf), np.full(3, 1.0))
    assert '<polygon' in open_below and 'inf' not in open_below


def test_the_feature_that_moves_is_the_one_that_counts():
    values = np.random.default_rng(0).normal(size=(200, 3))
    values[100:105, 1] -= 50
    far = mistakes.moves(values, 100, 105)
    assert np.argmax(np.abs(far)) == 1 and far[1] < 0 and mistakes.movement(values, 100, 105)[1] == 'down'
    assert np.isfinite(mistakes.moves(np.full((50, 2), 3.0), 10, 12)).all()
