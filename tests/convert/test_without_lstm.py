"""A model file's rule without its LSTM: a file of its own that judges by the same rule, or a reason why there is none."""

import numpy as np
import onnx
import pytest
import tiny_model

from promlstm.engine import session

pytestmark = pytest.mark.train


def test_a_shipped_model_has_a_rule_without_its_lstm(tmp_path):
    """No LSTM in the graph, no calibration that would promise something, other surprises, the same warm-up."""
    from convert import without_lstm
    from convert.evaluation import replay

    whole = session.load(session.resolve('builtin:forecaster'))
    without = without_lstm.make(whole.bundle, tmp_path / 'without.onnx')
    assert not [node for node in onnx.load(tmp_path / 'without.onnx').graph.node if node.op_type == 'LSTM']
    assert without.bundle.calibration.status == 'none' and without.bundle.manifest.name == f'{whole.bundle.manifest.name}_without_lstm'
    values = 50 + np.random.default_rng(0).normal(size=(200, 3, 1))
    a, b = (replay.surprises(each, 1.7e9 + 60.0 * np.arange(200), values, step_seconds=60) for each in (whole, without))
    assert np.array_equal(np.isnan(a), np.isnan(b)) and not np.allclose(np.nan_to_num(a), np.nan_to_num(b))


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        ({'family': 'classifier'}, 'the family classifier is nothing without its LSTM'),
        ({}, 'the file was made by another version of the family forecaster: other states'),
    ],
)
def test_a_file_without_such_a_rule_says_why(options, reason, tmp_path):
    """Another family, or tensors that this version's code does not have."""
    from convert import without_lstm

    bundle = session.load(tiny_model.write(tmp_path / 'tiny.onnx', manifest=options)).bundle
    with pytest.raises(without_lstm.NoRule, match=reason):
        without_lstm.make(bundle, tmp_path / 'without.onnx')
    assert not (tmp_path / 'without.onnx').exists()
