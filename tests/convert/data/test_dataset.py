"""Recorded telemetry is yielded as synthesis yields its own: by spans, in order, in bounded memory, and without what must not teach."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from fakes import Samples, noisy, raw

from convert.data import collect, spans, store
from convert.data.dataset import Dataset, DatasetError
from convert.data.spans import Exclusion
from convert.recipe import Data

STEP, FIRST, STEPS = 60, 30_000, 3000
START = FIRST * STEP


def dataset(root, values, parts, *, history=86400, exclusions=(), dropped=(), features=('',)):
    """A Dataset of float64 [T, N, F] from step FIRST on, with a coarse history that is its hour number."""
    queries = dict.fromkeys(features, 'x')
    about = store.About(detector='cpu', source='p', queries=queries, by=(), step_seconds=STEP, delay_seconds=10, coarse_seconds=1800)
    place = store.Store(root, about)
    if not place.chunks:
        place.prepare()
        names = [name(i) for i in range(values.shape[1])]
        for at in range(0, len(values), 1000):
            place.put('fine', FIRST + at, names, values[at : at + 1000])
        coarse = np.arange(FIRST // 30 - 48, (FIRST + len(values)) // 30)
        place.put('coarse', int(coarse[0]), names, np.broadcast_to(coarse[:, None, None], (len(coarse), *values.shape[1:])).astype(np.float64))
    return Dataset(place, parts, history, tuple(exclusions), frozenset(name(i) for i in dropped))


def name(i):
    return f'{{"host":"{i:04}"}}'.encode()


def span(first, end):
    """A span of steps after FIRST."""
    return (START + first * STEP, START + end * STEP)


@pytest.fixture
def values():
    """3 000 steps of five entities; a few samples missing."""
    rng = np.random.default_rng(1)
    out = rng.normal(size=(STEPS, 5, 1))
    out[rng.random(out.shape) < 0.01] = np.nan
    return out


PARTS = spans.Parts(train=(span(1500, 2000), span(500, 1200)), validate=(span(2000, 2300),), test=(span(2300, 3000),))


def test_a_span_is_one_batch_with_its_lead(tmp_path, values):
    """In time order, every sample in its place; the lead is read, and is neither learnt nor scored."""
    first, second = dataset(tmp_path, values, PARTS).batches('train')
    for batch, (begin, end) in ((first, (500, 1200)), (second, (1500, 2000))):
        np.testing.assert_array_equal(batch.values, values[begin - 400 : end])
        np.testing.assert_array_equal(batch.times, (FIRST + np.arange(begin - 400, end)) * STEP)
        assert batch.scored.tolist() == [False] * 400 + [True] * (end - begin)
        assert (batch.faulty[..., 0] == ~batch.scored[:, None]).all() and batch.step_seconds == STEP
        assert batch.identities == tuple(name(i) for i in range(5))


def test_history_is_the_coarse_past_before_a_batch(tmp_path, values):
    """Up to its first sample, and no further: what comes after would be known from itself."""
    (batch,) = dataset(tmp_path, values, PARTS).batches('test')
    assert batch.history_times[-1] < batch.times[0] <= batch.history_times[-1] + 1800
    assert batch.history_times[0] >= batch.times[0] - 86400 and len(batch.history_times) == 48
    np.testing.assert_array_equal(batch.history[:, 2, 0], batch.history_times / 1800)


def test_windows_teach_every_sample_once(tmp_path, values):
    """All are equally long, as training wants them; each warms up on the end of the one before; the last is padded."""
    data = dataset(tmp_path, values, PARTS)
    batches = list(data.batches('train', steps=512, lead_steps=200))
    assert {len(batch.times) for batch in batches} == {512}
    taught = np.concatenate([batch.times[~batch.faulty[:, 0, 0]] for batch in batches])
    expected = np.concatenate([FIRST + np.arange(500, 1200), FIRST + np.arange(1500, 2000)]) * STEP
    np.testing.assert_array_equal(taught, expected)
    padding = batches[2]
    assert np.isnan(padding.values[~padding.scored][200:]).all() and padding.faulty[~padding.scored].all()
    with pytest.raises(DatasetError, match='windows of 200 steps are too short for a lead of 200'):
        list(data.batches('train', steps=200, lead_steps=200))


def test_no_part_teaches_or_scores_a_sample_of_another(tmp_path, values):
    """Whatever the windows; warming up may read it."""
    data = dataset(tmp_path, values, PARTS)
    for steps in (None, 512):
        used = {part: {t for b in data.batches(part, steps=steps) for t in b.times[b.scored].tolist()} for part in ('train', 'validate', 'test')}
        assert not used['train'] & used['validate'] and not (used['train'] | used['validate']) & used['test']
        assert sum(map(len, used.values())) == 500 + 700 + 300 + 700


def test_incidents_do_not_teach(tmp_path, values):
    """Excluded samples are faulty, for their entities and no others, and are missing from the history."""
    hand = Exclusion(source='by hand', why='', start=span(600, 0)[0], end=span(700, 0)[0], matchers=(('host', '=', '0001'),))
    matchers = (('host', '=~', '000[34]'), ('severity', '=', 'x'))
    past = Exclusion(source='alert', why='', start=span(-400, 0)[0], end=span(-200, 0)[0], matchers=matchers, shared=True)
    first, _ = dataset(tmp_path, values, PARTS, exclusions=[hand, past]).batches('train')
    learnt = ~first.faulty[400:, :, 0]
    assert (~learnt[100:200, 1]).all() and learnt.sum() == 700 * 5 - 100
    assert not np.isnan(first.values[500:600, 1]).all()
    hole = np.isnan(first.history[..., 0])
    assert not hole[:, :3].any() and hole[:, 3].sum() == hole[:, 4].sum() == 7 and hole[:, 3].sum() < len(hole)


@pytest.mark.parametrize('steps', [None, 700])
def test_no_series_means_zero_where_the_detector_says_so(tmp_path, values, steps):
    """As it judges them: from the first sample on, whatever window it is in, for so long as it is not forgotten, and not where nothing is stored."""
    values[:] = np.nan
    values[:, 0] = 5.0
    values[100, 1] = values[1600, 1] = values[2200, 1] = 2.0       # a rare one: known since before the spans
    values[1700, 2] = 2.0       # known since then
    base = dataset(tmp_path, values, spans.Parts(train=(span(1500, 2900),)))
    zeros = replace(base, zero_seconds=1700.0 * STEP)
    plain, filled = ({b.times[0]: b for b in each.batches('train', steps=steps)} for each in (base, zeros))
    assert plain.keys() <= filled.keys() and base.digest() != zeros.digest()
    for start, batch in filled.items():
        number = (batch.times / STEP).astype(int) - FIRST
        stored = (number >= 0) & (number < STEPS)
        for identity, (first, last) in ((name(1), (100, 2200 + 1700)), (name(2), (1700, 1700 + 1700))):
            if identity in batch.identities:
                got = batch.values[:, batch.identities.index(identity), 0]
                known = stored & (number >= first) & (number <= last)
                assert np.isnan(got[~known]).all() and set(got[known].tolist()) <= {0.0, 2.0}
        assert start not in plain or set(plain[start].identities) <= set(batch.identities)
    assert sum(name(1) in batch.identities for batch in filled.values()) >= sum(name(1) in batch.identities for batch in plain.values()) > 0


def test_groups_are_the_whole(tmp_path, monkeypatch, values):
    """Entities come in order, each once a span, however many are read together; those dropped, or without samples there, do not come."""
    values[2300:, 4] = np.nan
    data = dataset(tmp_path, values, PARTS, dropped=[1])
    monkeypatch.setattr(store, 'GROUP', 2)
    batches = list(data.batches('train'))
    assert [batch.identities for batch in batches] == [(name(0), name(2))] * 2 + [(name(3), name(4))] * 2
    assert [batch.identities for batch in data.batches('test')] == [(name(0), name(2)), (name(3),)]


def test_a_draw_is_no_larger_than_asked(tmp_path):
    """Windows from all over, the same for the same seed, in order; all of them where there are no more."""
    x = np.random.default_rng(1).normal(size=(STEPS, 40, 1))
    data = dataset(tmp_path, x, spans.Parts(train=(span(500, 2900),)))
    everything = list(data.batches('train', steps=700, series=10**6))
    assert len(everything) == 3 * 8 and sum(len(batch.identities) for batch in everything) == 40 * 8
    drawn = {seed: [(b.times[0], b.identities) for b in data.batches('train', steps=700, series=100, seed=seed)] for seed in (1, 2)}
    assert 100 <= sum(len(identities) for _, identities in drawn[1]) < 116 and drawn[1] != drawn[2]
    assert drawn[1] == [(b.times[0], b.identities) for b in data.batches('train', steps=700, series=100, seed=1)]


def test_features_stay_together(tmp_path):
    """One entity, several values a step."""
    x = np.random.default_rng(1).normal(size=(STEPS, 3, 2))
    (batch,) = dataset(tmp_path, x, PARTS, features=('cpu', 'memory')).batches('validate', lead_steps=0)
    np.testing.assert_array_equal(batch.values, x[2000:2300])
    assert batch.faulty.shape == batch.values.shape and not batch.faulty.any()


def test_the_digest_knows_all_that_batches_depend_on(tmp_path, values):
    """Samples, spans, exclusions within them, dropped entities; and nothing else."""
    hand = Exclusion(source='by hand', why='', start=span(600, 0)[0], end=span(700, 0)[0])
    far = Exclusion(source='by hand', why='', start=9e9, end=9.1e9)
    same = [dataset(tmp_path / 'a', values, PARTS), dataset(tmp_path / 'b', values[:, ::1], PARTS), dataset(tmp_path / 'a', values, PARTS, exclusions=[far])]
    changed = values.copy()
    changed[700, 2] += 1e-9
    others = [
        dataset(tmp_path / 'c', changed, PARTS), dataset(tmp_path / 'a', values, PARTS, exclusions=[hand]), dataset(tmp_path / 'a', values, PARTS, dropped=[2]),
        dataset(tmp_path / 'a', values, spans.Parts(train=PARTS.train)), dataset(tmp_path / 'a', values, PARTS, history=3600),
    ]  # fmt: skip
    digests = [each.digest() for each in (*same, *others)]
    assert len(set(digests[:3])) == 1 and len(set(digests)) == 6


def test_memory_does_not_grow_with_the_number_of_series(tmp_path):
    """Four times the entities, the same peak: they are read by groups."""
    peaks = []
    for count in (512, 2048):
        x = np.broadcast_to(np.random.default_rng(1).normal(size=(1000, 1, 1)), (1000, count, 1))
        data = dataset(tmp_path / str(count), x, spans.Parts(train=(span(0, 1000),)), history=0)
        tracemalloc.start()
        total = sum(batch.values.shape[1] for batch in data.batches('train', lead_steps=0))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert total == count
    assert peaks[1] < 1.3 * peaks[0], peaks


@pytest.mark.train
def test_training_takes_them(tmp_path):
    """train.examples makes inputs of them as of synthesis; what is excluded, lead, padding or missing weighs nothing."""
    from convert.families import training

    x = 10 + np.random.default_rng(1).normal(size=(STEPS, 3, 1))
    x[700:710, 0] = np.nan
    hand = Exclusion(source='by hand', why='', start=span(600, 0)[0], end=span(650, 0)[0])
    data = dataset(tmp_path, x, spans.Parts(train=(span(500, 800),)), exclusions=[hand])
    (batch,) = data.batches('train', steps=512, lead_steps=100)
    made = training.examples(batch)
    assert made.inputs.shape[:2] == made.weights.shape[:2] == (3, 512) and np.isfinite(made.inputs).all() and np.isfinite(made.targets).all()
    learnt = made.weights[..., 0] > 0           # a step and the next one are both good
    good = np.zeros((3, 512), bool)
    good[:, 100:400] = True
    good[:, 200:250] = False
    good[0, 300:310] = False
    np.testing.assert_array_equal(learnt[:, :-1], good[:, 1:] & good[:, :-1])


def test_collected_and_loaded_are_the_same(tmp_path):
    """What `fetch` leaves is all that training needs: nobody is asked again."""
    (tmp_path / 'promlstm.yml').write_text(json.dumps({'prometheus': {'url': 'http://x'}, 'detectors': [{'name': 'cpu', 'expr': 'load', 'history': '2h'}]}))
    born = START + 2500 * STEP
    source = Samples({raw(host='b'): noisy(1), raw(host='a'): noisy(2), raw(host='c'): noisy(3, born=born), raw(host='d'): lambda time: 5.0})
    data = Data(config='promlstm.yml', spans=spans.Parts(train=(span(500, 1500),), test=(span(2300, 3000),)))
    (made,) = collect.collect(tmp_path / 'own.yml', data, tmp_path / 'data', log=lambda text: None, sources={'prometheus': source})
    (loaded,) = collect.load(tmp_path / 'own.yml', data, tmp_path / 'data')
    assert made.digest() == loaded.digest() and made.entities('train') == [raw(host='a'), raw(host='b')]
    assert loaded.entities('test') == [raw(host=each) for each in 'abc']
    for one, other in zip(made.batches('test'), loaded.batches('test'), strict=True):
        np.testing.assert_array_equal(one.values, other.values)
    (report,) = collect.reports_of(tmp_path / 'data')
    assert 'constant' in {each.check for each in report.findings} and (tmp_path / 'data/quality.txt').read_text().startswith('detector cpu, every 60 s')


def test_chance_leaves_no_labelled_incident_out(tmp_path, values):
    """However few series are drawn, those with the incident are among them, whatever the seed."""
    from dataclasses import replace

    label = Exclusion(source='by hand', why='outage', start=START + 1500 * STEP, end=START + 1510 * STEP, matchers=(('host', '=', '0001'),))
    data = replace(dataset(tmp_path, values, spans.Parts(train=(span(500, 2000),))), labelled=(label,))
    for seed in range(5):
        (batch,) = data.batches('train', steps=500, series=1, seed=seed)
        assert batch.labels.sum() == 10


def test_labelled_incidents_are_kept_apart_from_exclusions(tmp_path, values):
    """A label is an anomaly to learn from for a classifier, and nothing to expect for anybody: faulty, missing from history, in the digest."""
    from dataclasses import replace

    from convert.data.spans import Parts

    about = {'source': 'by hand', 'why': 'outage', 'matchers': (('host', '=', '0001'),)}
    label = Exclusion(start=START + 1000 * STEP, end=START + 1060 * STEP, **about)
    out = Exclusion(start=START + 1030 * STEP, end=START + 1200 * STEP, **about)
    plain = dataset(tmp_path, values, Parts(train=(span(500, 2000),)), exclusions=(out,))
    known = replace(plain, labelled=(label,))
    (before,), (batch,) = plain.batches('train'), known.batches('train')
    row, number = batch.identities.index(name(1)), np.arange(len(batch.times)) + 500 - 400
    assert before.labels is None and plain.digest() != known.digest()
    assert np.array_equal(number[batch.labels[:, row, 0]], np.arange(1000, 1030)) and batch.labels.sum() == 30
    assert np.array_equal(number[(batch.faulty & batch.scored[:, None, None])[:, row, 0]], np.arange(1000, 1200))
