"""`bench step`: what is measured are entities with scores."""

import importlib.util

import pytest

from bench import step, warmed
from bench.answers import config
from promlstm.engine import session

MODEL = 'builtin:forecaster'  # the one that warms up in a second
SCORED = ('anomaly_score', 'observed', 'expected', 'expected_lower', 'expected_upper')


@pytest.fixture(scope='module')
def remembered():
    loaded = session.load(session.resolve(MODEL), prove=False)
    return warmed.memory(config('http://localhost').detectors[0], loaded)


@pytest.mark.slow
def test_what_is_measured_has_scores_on_its_page(remembered):
    """Every entity has a line in the families of a score, and one in a thousand is anomalous, from the first step measured to the last."""
    row = step.measure(2000, MODEL, remembered, rounds=2)
    assert {row['lines'][f'promlstm_{family}'] for family in SCORED} == {2000}
    assert row['anomalous'] == row['lines']['promlstm_anomaly_start_timestamp_seconds'] == 2
    assert set(row['seconds']) == {*step.STAGES, 'columns', 'own time'}
    known = {'products'} if importlib.util.find_spec('onnx') else set()
    assert set(row['floors']) == set(step.FLOORS) - {'products'} | known
    assert 150 < row['answer_bytes'] / 2000 < 200 and 20 < row['answer_compressed_bytes'] / 2000 < 40
