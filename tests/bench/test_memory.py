"""`bench memory`: what holds bytes is found, whoever allocated them."""

import pytest

from bench import memory, warmed
from bench.answers import config
from promlstm.engine.detector import Detector
from promlstm.engine.session import load, resolve


@pytest.mark.parametrize('entities', [4, 5000])
def test_the_state_of_the_graph_is_counted_whoever_allocated_it(entities):
    """Of few entities the graph allocates it itself, of many it is bound to arrays of ours."""
    session = load(resolve('builtin:forecaster'), prove=False)
    subject = Detector(config('http://localhost').detectors[0], session, warmed.Past(entities))
    subject.commit(subject.step(warmed.NOW))
    state = subject.memory.state
    size = sum(array.nbytes for array in state.values())
    assert size <= memory._held(state, set()) < size + 4096


@pytest.mark.slow
def test_what_is_held_is_what_the_process_has_grown_by(capsys):
    """But for what allocators keep; a name of each part, and of each stage of a step."""
    found = memory.main(entities=5000, model='builtin:forecaster')
    assert all(size > 0 for size in found['held_bytes'].values())
    assert sum(found['held_bytes'].values()) < found['grown_bytes']
    assert {'query', 'judge', 'render', 'publish'} <= found['stage_peak_bytes'].keys()
    assert 'bytes an entity between steps, 5000 entities with scores' in capsys.readouterr().out
