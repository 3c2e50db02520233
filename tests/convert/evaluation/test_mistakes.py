"""Missed events and false alarms by entity, with size and duration; and its pictures."""

import re

import msgspec
import numpy as np
import pytest
from test_scorecard import judged, series

from convert.evaluation import mistakes, scoreboard, scorecard, sheets
from convert.evaluation.events import Field
from convert.evaluation.measures import Entity
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
    view = np.zeros((2, 6000), np.int8)
    view[0, 2000], view[1, 1500] = 1, -1        # of the missed event; of no view
    bands = np.full((2, 6000, 1), 9.0)
    own = [judged(each, lower=-band, upper=band, view=seen) for each, band, seen in zip(scores, bands, view, strict=True)]
    again = [np.array([False, True]), np.zeros(0, bool)]
    _, (card,), field = scorecard.cards('set', entities, again, [Method('m', 'model', own)], 14_400.0)
    return card, mistakes.mistakes(card, entities, again, field, own, ('spike', 'ramp')), entities, own


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


def test_mistakes_say_which_view_cried(found):
    """The one with the largest share at the peak; nothing where no view has a share, or where the method has none."""
    card, both, entities, own = found
    assert [each.view for each in both.missed] == ['ramp'] and [each.view for each in both.false] == ['spike', '', 'spike']
    field = Field([Entity(each.scores, of.labels, of.step_seconds) for of, each in zip(entities, own, strict=True)])
    without = mistakes.mistakes(card, entities, [np.array([False, True]), np.zeros(0, bool)], field)
    assert {each.view for each in (*without.missed, *without.false)} == {''}


def test_a_missed_event_has_the_view_of_its_peak_after_its_end():
    """Its peak counts for a few samples after its end: the view is that of the same sample. Without a judged sample there is none."""
    labels, scores = np.zeros(100, bool), np.zeros(100)
    labels[50:52], scores[53] = True, 0.5
    labels[80], scores[70:] = True, np.nan
    field = Field([Entity(np.zeros(10), np.zeros(10, bool), 300), Entity(scores, labels, 300)])
    assert field.peak_places().tolist() == [53, -1]


def test_long_names_are_shortened_in_the_middle(found):
    """Two that differ at one end stay apart, a mark shows that something is missing, and a pointer shows the whole."""
    card, both, entities, own = found
    names = ['x' * 50 + '/a', 'y' + 'x' * 49 + '/a', 'x' * 49 + '/ab']
    assert len({mistakes.short(name, 36) for name in names}) == 3 and all(len(mistakes.short(name, 36)) == 36 for name in names)
    renamed = [msgspec.structs.replace(each, entity=names[0]) for each in both.missed]
    drawn = sheets.sheet(renamed, {names[0]: entities[0]}, {names[0]: own[0]}, card.threshold)
    assert f'<title>{names[0]}</title>' in drawn and 'x…x' in drawn


def test_mistakes_are_listed_by_frequency_and_none_is_said(found):
    """Most frequent kinds and views first; each with the place and time that find it in its file."""
    _, both, _, _ = found
    listed = '\n'.join(scoreboard._listed('false alarms', both.false))
    assert 'false alarms: 2 single' in listed and 'by view: 2 spike' in listed
    assert re.search(r'b +1970-01-03 10:20 +700 +single up +1 +\S+ +1\.25 spike', listed) and 'counts 3 times' in listed
    assert scoreboard._listed('missed', []) == ['', '  missed: none']


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
    assert missed.count('<polygon') == 1 and 'recurs' in missed and 'counts 3 times' in false
    assert 'a, Wed 1970-01-07 22:40, sample 2000: single down, 1 step, size' in missed and 'view ramp, recurs' in missed and ', 100 steps,' in false


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
