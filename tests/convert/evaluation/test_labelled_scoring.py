"""Scores of a running mean over small labelled sets: each entity gets its own samples' scores, planted faults their peaks, events their culprits."""

import numpy as np
import pytest
import tiny_model
from labelled_sets import jumps, quiet, write

from convert.data import labelled
from convert.recipe import Telemetry

pytestmark = pytest.mark.train


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    return str(tiny_model.write(tmp_path_factory.mktemp('model') / 'tiny.onnx'))


def scored(part, path='', **options):
    from convert.evaluation import scoring

    prepared = scoring.prepare(part)
    return prepared.series, scoring.score(scoring.Source('m', 'model', path, **options), part, prepared)


def test_scores_are_those_of_the_tested_samples(tmp_path, tiny):
    """Whatever clock the others are on: the running mean of each entity alone, from its first sample."""
    from convert.evaluation import scoring

    folder = jumps(tmp_path / 'set')
    write(folder, 'later', quiet(900), np.zeros(900), start=1_700_000_000 + 86_400, split=300)
    (part,) = scoring.parts(folder)
    series, found = scored(part, tiny, drawn=True)
    assert [each.name for each in series] == ['e0', 'e1', 'e2', 'later']
    for each in series:
        recording = next(r for r in labelled.read(folder) if r.name == each.name)
        alone = tiny_model.reference(recording.values[:, None])
        got = found.methods['m'][each.name]
        assert np.allclose(got.scores, alone['surprise'][recording.place, 0], atol=1e-4) and np.array_equal(each.labels, recording.labels)
        assert np.allclose(got.upper - got.lower, 2 * 2.4 * tiny_model.SCALE, atol=1e-3)


def test_the_largest_view_and_the_time_of_each_sample_are_kept(tmp_path):
    """Only for what is drawn, as a small number; the time is that of the file, wherever the replay put it."""
    from convert.evaluation import scoring

    views = str(tiny_model.write(tmp_path / 'views.onnx', views=('above', 'below')))
    folder = jumps(tmp_path / 'set', many=1)
    t = 1_750_000_000 + 300 * np.arange(900) + 40 * (np.arange(900) % 50 == 0)
    np.savez(folder / 'later.npz', t=t, x=quiet(900), y=np.zeros(900, int), split=300, note='')
    (part,) = scoring.parts(folder)
    series, found = scored(part, views, drawn=True)
    one = found.methods['m']['e0']
    assert one.view.dtype == np.int8 and one.view.shape == one.scores.shape and set(one.view.tolist()) <= {-1, 0, 1}
    above = np.nonzero(one.scores > 5)[0]
    assert len(above) and (one.view[above] == 0).all()
    assert scored(part, views)[1].methods['m']['e0'].view is None
    assert np.array_equal(series[1].times, t[300:])


def test_the_band_is_measured_on_healthy_samples(tmp_path, tiny):
    """The running mean, 4.8 to either side: noise of size 1 is inside, and the events of 40 are not counted."""
    from convert.evaluation import scoring

    (part,) = scoring.parts(jumps(tmp_path / 'set', many=1))
    _, found = scored(part, tiny)
    inside, known, width = found.methods['m']['e0'].band
    assert known == 1800 - 2 * (2 + 6 + 3) and inside / known > 0.99 and width == pytest.approx(9.6 / 5.15, rel=0.1)


def test_the_culprits_are_found_by_what_they_add(tmp_path, tiny):
    """Feature 2 jumps, as the note says; then feature 3 does, and the note says 1."""
    from convert.evaluation import scoring

    values, labels = quiet(1500, features=3), np.zeros(1500)
    for at, feature in ((700, 1), (1100, 2)):
        values[at : at + 20, feature] += 500
        labels[at : at + 20] = 1
    write(tmp_path / 'set', 'a', values, labels, note='500-519:2\n900-919:1')
    (part,) = scoring.parts(tmp_path / 'set')
    _, found = scored(part, tiny)
    assert found.methods['m']['a'].blame.tolist() == [[1, 1], [0, 0]]
    _, simple = scored(part)
    assert simple.methods['largest']['a'].blame.tolist() == [[1, 1], [0, 0]] and simple.methods['pca']['a'].blame is None


def test_a_note_that_cannot_be_read_names_its_file(tmp_path):
    from convert.evaluation import scoring

    write(tmp_path / 'set', 'a', quiet(900, features=2), np.zeros(900), note='1-2:7')
    (part,) = scoring.parts(tmp_path / 'set')
    with pytest.raises(labelled.LabelledError, match=r'set/a\.npz: note: .*expected lines of from-to:feature'):
        scoring.prepare(part)


def test_planted_faults_have_the_peaks_of_their_own_copies(tmp_path, tiny):
    """And what is measured on the entity itself knows nothing of them."""
    from convert.evaluation import scoring

    (part,) = scoring.parts(jumps(tmp_path / 'set', many=6))
    series, found = scored(part, tiny)
    prepared = scoring.prepare(part)
    planted = [(each.name, column, fault) for each in series for column, fault in each.planted]
    assert planted and all(column >= prepared.entities for _, column, _ in planted)
    for name, column, fault in planted:
        own = tiny_model.reference(prepared.values[:, column : column + 1])['surprise'][:, 0]
        peak = np.nanmax(own[fault.first : fault.first + fault.steps + 3])
        assert np.isclose(found.methods['m'][name].peaks, peak, atol=1e-4).any()


def test_events_of_every_day_recur(tmp_path):
    """An event at the same time of each day: the first two do not recur, the others do."""
    from convert.evaluation import scoring

    values, labels = quiet(288 * 9), np.zeros(288 * 9)
    for day in range(2, 9):
        values[288 * day + 100 : 288 * day + 104] += 40
        labels[288 * day + 100 : 288 * day + 104] = 1
    write(tmp_path / 'set', 'a', values, labels, split=288)
    (part,) = scoring.parts(tmp_path / 'set')
    _, found = scored(part)
    assert found.recurring['a'].tolist() == [False, False, True, True, True, True, True]


def test_each_step_and_width_is_a_part(tmp_path):
    """They cannot be replayed together."""
    from convert.evaluation import scoring

    for name, step, features in (('a', 60, 1), ('b', 300, 1), ('c', 300, 2), ('d', 60, 1)):
        write(tmp_path / 'set', name, quiet(900, features), np.zeros(900), step=step)
    parts = scoring.parts(tmp_path / 'set')
    assert [(part.step_seconds, part.features) for part in parts] == [(60, 1), (300, 1), (300, 2)]
    assert [[each.name for each in scoring.prepare(part).series] for part in parts] == [['a', 'd'], ['b'], ['c']]


def test_synthetic_telemetry_has_faults_of_known_kinds(tiny):
    from convert.evaluation import scoring

    part = scoring.synthetic(Telemetry(step_seconds=300, steps=1200, entities=11))
    series, found = scored(part, tiny)
    assert part.name == 'injected_300s' and len({each.kind for each in series}) == 11 and not any(each.planted for each in series)
    assert all(len(found.methods['m'][each.name].scores) == 600 for each in series)


def test_a_model_that_does_not_fit_says_why(tmp_path):
    """Of other features, or for other steps."""
    from convert.evaluation import scoring
    from promlstm.engine import session

    bundle = session.load(tiny_model.write(tmp_path / 'two.onnx', features=('cpu', 'memory'))).bundle
    assert scoring.unfit(bundle, scoring.Part('set', 60, 2)) == ''
    assert scoring.unfit(bundle, scoring.Part('set', 60, 1)) == 'it judges entities of 2 features (cpu, memory), these have 1'
    assert scoring.unfit(bundle, scoring.Part('set', 86_400, 2)) == 'it was made for steps of 1 to 3600 s, these have 86400 s'
