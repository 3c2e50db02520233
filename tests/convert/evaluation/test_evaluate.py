"""The measures agree with the project's reference implementation, and labelled telemetry is put on one clock without moving its week."""

import os
from pathlib import Path

import numpy as np
import pytest
import servers

from convert.data import labelled
from convert.evaluation import measures


@pytest.fixture(scope='module')
def reference(request):
    """operating_point.py of the shared material."""
    shared = Path(os.environ.get('PROMLSTM_SHARED', request.config.rootpath.parent / 'shared'))
    file = shared / 'accuracy/operating_point.py'
    if not file.exists():
        pytest.skip(f'{file} is not there: set PROMLSTM_SHARED')
    return servers.module(file)


@pytest.mark.parametrize('step_seconds', [60, 300, 3600])
@pytest.mark.parametrize('seed', range(3))
def test_operating_points_are_the_references(reference, step_seconds, seed):
    rng = np.random.default_rng(seed)
    entities = []
    for _ in range(4):
        labels = np.zeros(3000, bool)
        for at in rng.integers(0, 2900, 8):
            labels[at : at + rng.integers(1, 40)] = True
        scores = rng.exponential(size=3000) + 3 * labels * rng.random(3000)
        scores[rng.random(3000) < 0.05] = np.nan
        entities.append(measures.Entity(scores, labels, step_seconds))
    ours = measures.operating_points(entities)
    theirs = reference.evaluate([(e.scores, e.labels, 86400 / step_seconds) for e in entities])
    assert ours['recall_at_1_per_week'] == pytest.approx(theirs['recall@1/week'])
    assert ours['recall_at_1_per_day'] == pytest.approx(theirs['recall@1/day'])
    assert ours['best_event_f1'] == pytest.approx(theirs['best_event_f1'])
    assert ours['events'] == theirs['events'] and ours['entity_weeks'] * 7 == pytest.approx(theirs['entity_days'], abs=0.06)


def test_delay_is_counted_from_the_start_of_the_event():
    scores, labels = np.zeros(1000), np.zeros(1000, bool)
    labels[500:520], scores[504] = True, 5
    assert measures.outcome(measures.Entity(scores, labels, 60), 4) == ([4], 0)


def test_nothing_judged_is_an_error():
    with pytest.raises(ValueError, match='no score was judged'):
        measures.operating_points([measures.Entity(np.full(10, np.nan), np.zeros(10, bool), 60)])


@pytest.fixture
def folder(tmp_path):
    """Two entities, one a week and an hour after the other, one with a hole and a doubled sample."""
    start = 1_700_000_000 // labelled.WEEK * labelled.WEEK
    for name, first in (('a', start), ('b', start + labelled.WEEK + 3600)):
        t = first + 300 * np.arange(400)
        t = np.delete(t, slice(100, 110)) if name == 'b' else t
        x, y = np.arange(len(t), dtype=np.float32)[:, None], np.arange(len(t)) % 50 == 0
        np.savez(tmp_path / f'{name}.npz', t=t, x=x, y=y.astype(int), split=200, note='')
    return tmp_path


def test_recordings_share_a_clock_by_whole_weeks(folder):
    times, values, first = labelled.together(labelled.read(folder))
    assert first.tolist() == [0, 12] and values.shape == (412, 2, 1)
    assert np.isnan(values[12 + 100 : 12 + 110, 1]).all() and values[12, 1, 0] == 0
    assert (times[1] - times[0], times[0] % labelled.WEEK) == (300, 0)


@pytest.mark.parametrize('step', [300, 7 * 86400, 400_000])
def test_the_clock_is_as_short_as_can_be(step):
    """One that begins on a Sunday and one of the Monday after it are a day apart, not six; the hour of the week is kept, at any step."""
    starts = {'sunday': 6 * 86_400.0, 'monday': float(labelled.WEEK)}
    recordings = [
        labelled.Recording(name, step, start, np.full((50, 1), k + 1.0), np.arange(50), np.zeros(50, bool), '', start + step * np.arange(50))
        for k, (name, start) in enumerate(starts.items())
    ]
    times, values, first = labelled.together(recordings)
    assert len(times) == len(values) <= 50 + max(1, 86_400 // step)
    for n, recording in enumerate(recordings):
        assert (values[first[n] : first[n] + 50, n] == n + 1).all() and np.isnan(np.delete(values[:, n], np.s_[first[n] : first[n] + 50])).all()
        if step == 300:
            assert times[first[n]] % labelled.WEEK == recording.start % labelled.WEEK


def test_what_is_judged_are_the_recordings_own_samples(folder):
    a, b = labelled.read(folder)
    assert len(a.labels) == len(a.place) == 200 and len(b.labels) == 190
    assert b.values[b.place[0], 0] == 200


def test_pieces_test_every_sample_once(folder, monkeypatch):
    monkeypatch.setattr(labelled, 'PIECE_STEPS', 60)
    monkeypatch.setattr(labelled, 'WARM_WEEKS', 0.02)
    recording = labelled.read(folder)[0]
    pieces = labelled.pieces(recording)
    assert len(pieces) == 3 and np.array_equal(np.concatenate([p.labels for p in pieces]), recording.labels)
    for piece in pieces:
        assert np.array_equal(piece.values[piece.place, 0] % 50 == 0, piece.labels)
        assert (piece.start - recording.start) % 300 == 0


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(labelled.LabelledError, match=r'no \.npz file in it'):
        labelled.read(tmp_path)


@pytest.mark.train
def test_baselines_see_a_jump_and_do_not_look_ahead():
    from convert.evaluation import baselines

    x = np.random.default_rng(0).normal(size=(400, 2))
    x[300:, 0] += 20
    x[50] = np.nan
    scores = baselines.scores(x, 60)
    assert all(found[300:303, 0].max() > 2 > np.nanmedian(found[100:300, 0]) for found in scores.values())
    assert np.isnan(scores['largest'][50]).all() and np.isnan(scores['largest'][:40]).all()
    changed = x.copy()
    changed[350:] = 7
    for name, found in baselines.scores(changed, 60).items():
        assert np.array_equal(found[:350], scores[name][:350], equal_nan=True), name


def test_culprits_are_read_from_the_note(folder):
    from dataclasses import replace

    recording = replace(labelled.read(folder)[0], note='3-4:1,3\n7-7:2')
    found = labelled.culprits(recording, 3)
    assert np.argwhere(found).tolist() == [[3, 0], [3, 2], [4, 0], [4, 2], [7, 1]]
