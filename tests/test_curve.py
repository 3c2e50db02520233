"""How much data is enough: growing parts of the recipe's data, each measured on the same telemetry, the newest always among them."""

from dataclasses import replace

import msgspec
import pytest
import tiny
from contests import trial
from test_recipe import GOOD

pytestmark = pytest.mark.train


def job(folder):
    """The job of the tiny recipe."""
    from convert import make, recipe

    path = folder / 'tiny.yml'
    path.write_text(GOOD)
    return make.Job(path, recipe.load(path), folder, folder / 'tiny.onnx', None, lambda line: None)


def standing_in(monkeypatch, folder, trials):
    """Parts are not trained: all are the running mean of tiny.py. Returns the list that names them and their windows."""
    from convert import curve, make, review
    from promlstm import session

    model, made = session.load(tiny.write(folder / 'mean.onnx')), []

    def variant(job, name, recipe):
        made.append((name, recipe.training.window_steps))
        work = folder / name
        work.mkdir(parents=True)
        (work / 'training.log').write_text('  1/1 windows, loss 0.5, 1 s\n')
        return replace(job, recipe=recipe, work=work)

    monkeypatch.setattr(curve, 'variant', variant)
    monkeypatch.setattr(make, 'bare', lambda part: model)
    monkeypatch.setattr(make, 'training_of', lambda part: tiny.MANIFEST.training)
    monkeypatch.setattr(review, 'trials', lambda job, seed: trials)
    return made


def test_a_curve_is_text_json_and_a_plot(monkeypatch, tmp_path):
    """One point for each share; the smallest that is as good as all is said to be enough."""
    from convert import curve

    made = standing_in(monkeypatch, tmp_path, [trial()])
    points = curve.curve(job(tmp_path), (0.25, 1.0))
    assert [name for name, _ in made] == ['curve/0.25', 'curve/1'] and [p.data for p in points] == ['6 synthetic entities', '24 synthetic entities']
    assert points[0].event_recall == 1 and points[0].loss == 0.5 and points[0].low == points[0].high == 0
    assert 'enough: 6 synthetic entities' in (tmp_path / 'curve.txt').read_text()
    assert len(msgspec.json.decode((tmp_path / 'curve.json').read_bytes())) == 2 and '<svg' in (tmp_path / 'curve.html').read_text()


def test_own_history_is_shortened_from_its_beginning(tmp_path):
    """Weeks, not entities: the test span stays what it is."""
    from convert import curve, recipe

    path = tmp_path / 'own.yml'
    spans = '{train: [[2026-01-01, 2026-01-11], [2026-01-21, 2026-01-31]], test: [[2026-02-01, 2026-02-08]]}'
    path.write_text(GOOD + f'data: {{config: p.yml, spans: {spans}}}\n')
    told = recipe.load(path)
    half = curve.shortened(told, 0.75)
    assert half.data.spans.test == told.data.spans.test and half.training == told.training
    first, second = half.data.spans.train
    assert second == told.data.spans.train[1] and first[1] - first[0] == pytest.approx(5 * 86400) and first[1] == told.data.spans.train[0][1]


def test_a_part_of_few_series_has_smaller_batches(tmp_path):
    """A recipe with fewer series than a batch is refused: the part's batch is as large as it can be."""
    from convert import curve

    part = curve.shortened(job(tmp_path).recipe, 0.1)
    assert part.training.batch_series == part.training.telemetry[0].entities == 2
