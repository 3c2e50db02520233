"""`bench detectors`: where the CPU time of many small detectors goes, beside the least that the libraries need."""

import pytest

from bench import detectors, warmed
from bench.answers import config
from promlstm.engine import session
from promlstm.live import clock

MODEL = 'builtin:forecaster'  # the one that warms up in a second


@pytest.mark.slow
def test_the_stages_of_a_step_are_all_of_it(monkeypatch):
    """Every stage takes time, they add up, and no floor is above the stage that it is of."""
    loaded = session.load(session.resolve(MODEL), prove=False)
    remembered = warmed.memory(config('http://localhost').detectors[0], loaded)
    monkeypatch.setattr(clock, 'SLICE_SECONDS', 0.1)  # the clock leaps
    row = detectors.measure(20, 30, MODEL, remembered)
    stages = dict(row['stage_cpu_seconds'])
    assert row['scores'] == 20 * 30
    assert stages.pop('all') == pytest.approx(sum(stages.values()))
    assert set(detectors.STAGES) == stages.keys() - {'between'} and all(stages[name] > 0 for name in detectors.STAGES)
    assert all(0 < floor < 1.5 * stages[name] for name, floor in row['floor_cpu_seconds'].items())
