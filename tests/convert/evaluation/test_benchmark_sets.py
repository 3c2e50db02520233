"""What models are held against each other on: faults lie where labels say, in what is healthy, and nowhere else."""

import numpy as np
import pytest

from convert import recipe
from convert.data import faults
from convert.data.dataset import Recorded
from convert.evaluation import benchmark_sets

TELEMETRY = recipe.Telemetry(step_seconds=300, steps=1500, entities=16)


class Own:
    """A Dataset of one detector with one test span, of which a day is excluded for one entity."""

    detector, features = 'cpu', 1

    def entities(self, part):
        return [b'{host="a"}', b'{host="b"}'] if part == 'test' else []

    def batches(self, part, entities):
        times = 1.7e9 + 300.0 * np.arange(1800)
        values = np.random.default_rng(0).normal(size=(1800, 2, self.features))
        scored, faulty = np.arange(1800) >= 400, np.zeros(values.shape, bool)
        faulty[:400] = faulty[900:1188, 0] = True
        yield Recorded(300.0, times, values, faulty, times[:0], values[:0], tuple(entities), scored)


def test_every_kind_is_injected_and_labelled():
    """Twice in an entity at most; what is not labelled is as it was without faults; the same seed gives the same."""
    found, again = benchmark_sets.injected(TELEMETRY, 1), benchmark_sets.injected(TELEMETRY, 1)
    assert set(found.kinds) == set(faults.KINDS) and np.array_equal(found.values, again.values, equal_nan=True)
    assert found.first_counted == benchmark_sets.SETTLED and not found.labels[: benchmark_sets.SETTLED].any() and found.labels.any(0).sum() > 12
    from convert.data import synthesis

    plain = synthesis.batch(1, step_seconds=300, steps=1500, entities=16).values[..., 0]
    changed = ~np.isclose(plain, found.values[..., 0], equal_nan=True)
    assert changed.any() and not (changed & ~found.labels).any()


def test_linked_features_move_together_until_one_does_not():
    """Correlation between features is nearly 1 where nothing is labelled; where something is, one of them is against the others."""
    found = benchmark_sets.linked(TELEMETRY, 1)
    apart = []
    for n in range(found.values.shape[1]):
        change = np.diff(np.nan_to_num(found.values[:, n]), axis=0)
        calm = ~found.labels[1:, n] & ~found.labels[:-1, n] & ~np.isnan(found.values[1:, n]).any(1) & ~np.isnan(found.values[:-1, n]).any(1)
        assert np.corrcoef(change[calm].T).min() > 0.8
        if found.labels[1:-1, n].any():
            apart.append(np.corrcoef(change[found.labels[1:, n] & found.labels[:-1, n]].T).min())
    assert np.nanmedian(apart) < -0.5


def test_an_own_test_span_is_used_as_it_was_and_with_faults():
    """As it was: no labels. With faults: none in what was excluded, none in the lead, which is not counted either."""
    plain, faulty = benchmark_sets.own(Own(), 1)
    assert (plain.name, faulty.name) == ('test_cpu', 'test_cpu_faults') and plain.labels is None and plain.names == ('{host="a"}', '{host="b"}')
    assert not plain.counted[:400].any() and not plain.counted[900:1188, 0].any() and plain.counted[900:1188, 1].all()
    assert faulty.labels.any() and not faulty.labels[:400].any() and not (faulty.labels & ~faulty.counted)[:, 0].any()
    assert np.array_equal(plain.values[~faulty.labels], faulty.values[~faulty.labels])


def test_an_own_test_span_of_several_features_loses_their_link():
    own = Own()
    own.features = 3
    plain, _, linked = benchmark_sets.own(own, 1)
    assert linked.name == 'test_cpu_linked' and linked.labels.any() and not (linked.labels & ~linked.counted).any()
    changed = ~np.isclose(plain.values, linked.values)
    assert changed.any() and changed.sum(2).max() == 1 and not (changed.any(2) & ~linked.labels).any()


def test_no_test_span_gives_no_trial():
    own = Own()
    own.entities = lambda part: []
    assert list(benchmark_sets.own(own, 1)) == []


def test_labelled_sets_are_tested_where_they_say(tmp_path):
    """From `split` on, at their own step."""
    for name, step in (('a', 60), ('b', 300)):
        y = np.zeros(900, int)
        y[700:710] = 1
        np.savez(tmp_path / f'{name}.npz', t=1_700_000_000 + step * np.arange(900), x=np.zeros((900, 1)), y=y, split=450, note='')
    found = list(benchmark_sets.recorded(tmp_path))
    assert [each.step_seconds for each in found] == [60, 300]
    assert all(each.counted.sum() == 450 and each.labels.sum() == 10 and each.kinds is None for each in found)


@pytest.mark.parametrize('entities', [1, 1000])
def test_many_entities_are_thinned(entities, tmp_path, monkeypatch):
    """An own fleet of any size costs no more than ENTITIES."""
    own, asked = Own(), []
    own.entities = lambda part: [f'{n:04}'.encode() for n in range(entities)]
    own.batches = lambda part, entities: asked.extend(entities) or iter(())
    list(benchmark_sets.own(own, 1))
    assert len(asked) == min(entities, benchmark_sets.ENTITIES) and asked[0] == b'0000'
