"""How much data is enough: growing parts of the recipe's data, each measured on the same telemetry, the newest always among them."""


import msgspec
import pytest
from benchmark_results import benchmark_set
from recipes import GOOD, fake_variants, job

pytestmark = pytest.mark.train


def test_a_curve_is_text_json_and_a_plot(monkeypatch, tmp_path):
    """One point for each share; the smallest that is as good as all is named as enough."""
    from convert import learning_curve

    made = fake_variants(monkeypatch, tmp_path, [benchmark_set()])
    points = learning_curve.run(job(tmp_path), (0.25, 1.0))
    assert [name for name, _ in made] == ['curve/0.25', 'curve/1'] and [p.data for p in points] == ['6 synthetic entities', '24 synthetic entities']
    assert points[0].event_recall == 1 and points[0].loss == 0.5 and points[0].low == points[0].high == 0
    assert 'enough: 6 synthetic entities' in (tmp_path / 'curve.txt').read_text()
    assert len(msgspec.json.decode((tmp_path / 'curve.json').read_bytes())) == 2 and '<svg' in (tmp_path / 'curve.html').read_text()


def test_own_history_is_shortened_from_its_beginning(tmp_path):
    """Weeks, not entities: the test span stays what it is."""
    from convert import learning_curve, recipe

    path = tmp_path / 'own.yml'
    spans = '{train: [[2026-01-01, 2026-01-11], [2026-01-21, 2026-01-31]], test: [[2026-02-01, 2026-02-08]]}'
    path.write_text(GOOD + f'data: {{config: p.yml, spans: {spans}}}\n')
    whole = recipe.load(path)
    half = learning_curve.shortened(whole, 0.75)
    assert half.data.spans.test == whole.data.spans.test and half.training == whole.training
    first, second = half.data.spans.train
    assert second == whole.data.spans.train[1] and first[1] - first[0] == pytest.approx(5 * 86400) and first[1] == whole.data.spans.train[0][1]


def test_a_part_of_few_series_has_smaller_batches(tmp_path):
    """A recipe with fewer series than a batch is refused: the part's batch is as large as it can be."""
    from convert import learning_curve

    part = learning_curve.shortened(job(tmp_path).recipe, 0.1)
    assert part.training.batch_series == part.training.telemetry[0].entities == 2
