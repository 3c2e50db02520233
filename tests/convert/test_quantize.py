"""The int8 variant: independent rows, a proof and calibration of its own, its costs reported, and never in the place of the model."""


import numpy as np
import pytest
import servers
import small_models
from recipes import GOOD

from promlstm.engine import session

pytestmark = pytest.mark.train
DEFAULT = session.resolve('builtin:forecaster')


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
    from convert import recipe

    path = tmp_path_factory.mktemp('recipe') / 'tiny.yml'
    text = GOOD.replace('seed: 3', 'family: forecaster\nseed: 3')
    path.write_text(text.replace('class_features: [1, 3]', 'class_features: [1]').replace('entities: 64', 'entities: 48'))
    return recipe.load(path)


@pytest.fixture(scope='module')
def small(recipe, tmp_path_factory):
    """(Session of the default model's int8 variant, what was logged)."""
    from convert import quantize

    lines = []
    out = tmp_path_factory.mktemp('int8') / 'default-int8.onnx'
    return quantize.quantize(DEFAULT, recipe, out, lines.append), '\n'.join(lines)


def test_its_lstms_are_int8_and_its_proof_is_its_own(small):
    import onnx

    bundle, original = small[0].bundle, session.load(DEFAULT).bundle
    operators = [node.op_type for node in onnx.load(bundle.source.replace('.draft.', '')).graph.node]
    assert operators.count('DynamicQuantizeLSTM') == 2 and 'LSTM' not in operators
    assert all(a.outputs['surprise'] != b.outputs['surprise'] for a, b in zip(bundle.proof.cases, original.proof.cases, strict=True))
    assert 'int8' in bundle.proof.reason
    assert bundle.calibration.status == 'measured' and bundle.calibration != original.calibration
    assert bundle.manifest.name == 'forecaster-int8' and f'int8 variant of forecaster ({original.sha256[:12]})' in bundle.manifest.description


def test_it_says_nearly_what_the_model_says(small):
    """A surprise moves by little; where none is judged, none is judged."""
    from convert.evaluation import replay

    rng = np.random.default_rng(0)
    values, times = 10 + rng.normal(size=(120, 20, 1)), 1_700_000_000 + 60.0 * np.arange(120)
    values[rng.random(values.shape) < 0.05] = np.nan
    whole, int8 = (replay.surprises(each, times, values, step_seconds=60) for each in (session.load(DEFAULT), small[0]))
    assert np.array_equal(np.isnan(whole), np.isnan(int8)) and 0 < np.nanmax(np.abs(whole - int8)) < 0.2


def test_a_wild_row_does_not_change_other_rows(small):
    """Exactly: ranges are fixed, so that the score of one entity does not depend on the others. Without the added row it does."""
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    from convert import quantize, release

    assert quantize.batch_influence(small[0]) == 0 and small[0].bundle.manifest.evaluation['int8']['batch_changes_surprise_by'] == 0
    plain = small_models.FOLDER / 'plain.onnx'
    model = onnx.load(DEFAULT)
    del model.metadata_props[:]
    quantize_dynamic(model, plain, op_types_to_quantize=['LSTM'])
    bundle, model = small[0].bundle, onnx.load(plain)
    proof = quantize.proof_of(model, bundle)
    loose = release.release(model, bundle.manifest, bundle.calibration, proof, small_models.FOLDER / 'loose.onnx')
    assert quantize.batch_influence(loose) > 1e-3


def test_its_cost_is_reported(small):
    figures, text = small[0].bundle.manifest.evaluation['int8'], small[1]
    assert figures.keys() >= {'recall_at_1_per_week', 'recall_at_1_per_week_float32', 'entity_steps_per_second', 'entity_steps_per_second_float32'}
    assert abs(figures['best_event_f1'] - figures['best_event_f1_float32']) < 0.15
    assert all(part in text for part in ('recall_at_1_per_week: ', 'times that of float32', 'bytes, in float32', 'is independent of the others in its batch'))


def test_a_window_cannot_be_fenced_and_the_manifest_says_so(recipe, tmp_path, monkeypatch):
    """Hidden states within a window have ranges of their own: what they move is measured, printed and kept."""
    from convert import quantize

    lines, table = [], small_models.session('autoencoder').bundle.calibration
    monkeypatch.setattr('convert.calibrate.calibrate', lambda *_, **__: table)
    loaded = quantize.quantize(small_models.FOLDER / 'autoencoder.onnx', recipe, tmp_path / 'int8.onnx', lines.append)
    assert 'NOT INDEPENDENT: the surprise of an entity changes by up to' in loaded.bundle.manifest.description
    assert any('an entity is NOT independent of the others in its batch' in line for line in lines)


def test_what_cannot_be_quantised_is_refused(recipe, tmp_path):
    import onnx

    from convert import quantize
    from convert.__main__ import main

    small_models.session('wrapped-forecast')
    with pytest.raises(quantize.QuantizeError, match='made for its own features'):
        quantize.quantize(small_models.FOLDER / 'wrapped-forecast.onnx', recipe, tmp_path / 'a.onnx')
    with pytest.raises(quantize.QuantizeError, match='no LSTM in float32'):
        quantize.quantized(onnx.load(servers.ROOT / 'tests/golden/tiny-1.onnx'))
    path = tmp_path / 'same.onnx'
    path.write_bytes(DEFAULT.read_bytes())
    assert main(['quantize', str(path), 'recipe.yml', '--out', str(path)]) == 1 and path.read_bytes() == DEFAULT.read_bytes()


def test_a_model_with_tables_is_refused(recipe, tmp_path):
    from convert import quantize

    with pytest.raises(quantize.QuantizeError, match=r'default\.onnx: has tables of the time of day'):
        quantize.quantize(session.resolve('builtin:default'), recipe, tmp_path / 'int8.onnx')
