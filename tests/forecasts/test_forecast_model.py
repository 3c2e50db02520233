"""The model file that forecasts: what is accepted, what is refused, and that its proof is replayed."""

import numpy as np
import onnx
import pytest
import tiny_forecast
import tiny_model

from promlstm.card import forecast_card
from promlstm.engine import digest
from promlstm.engine.trial import Trials
from promlstm.errors import BundleFormatError, ProofError
from promlstm.forecasts import model, trial


@pytest.fixture
def path(tmp_path):
    return tiny_forecast.write(tmp_path / 'forecast.onnx')


def test_it_computes_what_its_graph_says(path):
    loaded, inputs = model.load(path), tiny_forecast.example(rows=500, horizons=7, seed=3)
    np.testing.assert_array_equal(loaded.run(inputs), tiny_forecast.reference(inputs))
    assert loaded.about.name == 'tiny' and len(loaded.sha256) == 64
    assert loaded.run(tiny_forecast.example(rows=0)).shape == (0, 2, 3)


def test_a_file_that_computes_otherwise_is_refused(tmp_path):
    with pytest.raises(ProofError, match=r'forecast.onnx: case 0 of the proof fails at row 1, horizon 0: got .*, expected '):
        model.load(tiny_forecast.write(tmp_path / 'forecast.onnx', wrong=0.01))


def test_a_trial_in_a_process_of_its_own(path, tmp_path):
    trials = Trials(module=trial.MODULE)
    assert model.load(path, trial=trials).about.name == 'tiny'
    with pytest.raises(ProofError, match='of the proof fails'):
        model.load(tiny_forecast.write(tmp_path / 'wrong.onnx', wrong=0.01), trial=trials)


def test_a_changed_byte_is_refused(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleFormatError, match='does not match the digest'):
        model.load(path)


def test_files_of_another_kind_are_refused(path, tmp_path):
    with pytest.raises(BundleFormatError, match=r'no promlstm.forecast in the file: it scores, and does not forecast'):
        model.load(tiny_model.write(tmp_path / 'tiny.onnx'))
    with pytest.raises(BundleFormatError, match=r'format 7 of promlstm\.forecast, expected 1'):
        model.load(tiny_forecast.write(tmp_path / 'later.onnx', edit={'format': 7}))
    with pytest.raises(BundleFormatError, match='the configuration pins'):
        model.load(path, sha256='0' * 64)


def test_other_inputs_or_outputs_are_refused(path, tmp_path):
    proto = onnx.load(path)
    del proto.metadata_props[-1:]  # the digest
    proto.graph.input[0].name = 'level'
    for node in proto.graph.node:
        node.input[:] = ['level' if name == 'levels' else name for name in node.input]
    other = tmp_path / 'other.onnx'
    other.write_bytes(digest.appended(proto.SerializeToString()))
    with pytest.raises(BundleFormatError, match='has other inputs than a forecast model: level'):
        model.load(other)


def test_the_proof_has_to_fit(path):
    loaded = model.load(path)
    case = loaded.proof.cases[0]
    loaded.proof = model.msgspec.structs.replace(loaded.proof, cases=())
    with pytest.raises(BundleFormatError, match='has no case'):
        loaded.prove()
    fewer = {name: array for name, array in case.inputs.items() if name != 'noise'}
    loaded.proof = model.msgspec.structs.replace(loaded.proof, cases=(model.msgspec.structs.replace(case, inputs=fewer),))
    with pytest.raises(BundleFormatError, match="case 0 of the proof: input 'noise' is missing or unknown"):
        loaded.prove()


def test_the_card_says_how_good_it_is_in_one_table(tmp_path):
    """A row for each telemetry and horizon; a model that was not evaluated has none."""
    measured = {'ASD at 300 s, 24h': {'error_ratio': 0.82, 'coverage': 0.79, 'series': 52}, 'ASD at 300 s, 1h': {'error_ratio': 0.69}}
    lines = forecast_card(model.load(tiny_forecast.write(tmp_path / 'measured.onnx', edit={'evaluation': measured})))
    assert [line.split() for line in lines[-2:]] == [['ASD', 'at', '300', 's', '1h', '0.69'], ['1d', '0.82', '79%', '52']]
    assert any('from 5m to 7d ahead; 80% of what comes' in line for line in lines)
    assert forecast_card(model.load(tiny_forecast.write(tmp_path / 'plain.onnx')))[0].split() == ['model', 'tiny']
