"""Runs of several detectors as one: the same bits as each alone, and an error of one is no other's."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from promlstm.engine import together
from promlstm.engine.session import load, resolve
from promlstm.engine.together import ENOUGH_ROWS, FEW_ROWS, Together

LONG = 3600.0  # seconds that no test waits


@pytest.fixture(scope='module', params=['default', 'forecaster'])
def session(request):
    return load(resolve(f'builtin:{request.param}'), prove=False, threads=1)


class Counted:
    """A session's `run`, and of how many rows each run was."""

    def __init__(self, session):
        self.session, self.rows = session, []

    def __call__(self, inputs, state):
        self.rows.append(len(inputs['value']))
        return self.session.run(inputs, state)


def inputs(session, rows, number, step_seconds=60.0):
    """A step of so many entities, of which no two are alike."""
    rng = np.random.default_rng(1000 * rows + number)
    shapes = {'value': (rows, 1), 'season': (rows, 1, 1 + len(session.bundle.manifest.season_horizons_steps)), 'clock': (rows, 4), 'learn': rows,
              'threshold': rows, 'local_seconds': rows, 'table': (rows, 1, sum(len(each.reads) for each in session.bundle.manifest.tables))}  # fmt: skip
    drawn = {name: rng.normal(10, 1, shape) for name, shape in shapes.items()}
    return drawn | {'learn': np.ones(rows), 'threshold': np.full(rows, 2.4), 'step_seconds': np.float32(step_seconds)}


def same(one, other):
    """Whether two results have the same bits."""
    return all(np.array_equal(a[name], b[name], equal_nan=True) for a, b in zip(one, other, strict=True) for name in (*a, *b))


def test_each_gets_what_it_would_get_alone_to_the_last_bit(session):
    """Detectors of 1, 2, 7, 100 and as many entities as make it enough, over some steps with the states of the ones before."""
    sizes, counted = (1, 2, 7, 100, FEW_ROWS, FEW_ROWS, FEW_ROWS, ENOUGH_ROWS - 3 * FEW_ROWS - 110), Counted(session)
    joint, alone = Together(counted), [session.blank(rows, 1) for rows in sizes]
    states = list(alone)
    with ThreadPoolExecutor(len(sizes)) as pool:
        for step in range(4):
            asked = [inputs(session, rows, 10 * step + number) for number, rows in enumerate(sizes)]
            wanted = [session.run(each, state) for each, state in zip(asked, alone, strict=True)]
            got = list(pool.map(lambda each, state: joint.run(each, state, LONG), asked, states))
            assert all(same(one, other) for one, other in zip(wanted, got, strict=True))
            alone, states = [after for _, after in wanted], [after for _, after in got]
    assert counted.rows == [ENOUGH_ROWS] * 4
    assert all(array.base is None for _, after in got for array in after.values())  # what one remembers keeps nothing of the others


def test_detectors_of_other_steps_are_run_apart(session):
    """The step is one number for all rows of a run."""
    counted, half = Counted(session), FEW_ROWS
    joint = Together(counted)
    steps = (60.0, 60.0, 300.0, 300.0)
    asked = [inputs(session, half, number, step) for number, step in enumerate(steps)]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda each: joint.run(each, session.blank(half, 1), 5.0), asked))
    assert sorted(counted.rows) == [2 * half] * 2
    assert all(same(session.run(each, session.blank(half, 1)), result) for each, result in zip(asked, got, strict=True))


def test_an_error_is_raised_where_it_belongs(session):
    """One lacks an input: it hears so, and the others have their results."""
    joint, rows = Together(session.run), ENOUGH_ROWS // 4
    asked = [inputs(session, rows, number) for number in range(4)]
    short = {name: array for name, array in session.blank(rows, 1).items() if name != next(iter(session.blank(1, 1)))}
    states = [session.blank(rows, 1)] * 3 + [short]
    with ThreadPoolExecutor(4) as pool:
        coming = [pool.submit(joint.run, each, state, LONG) for each, state in zip(asked, states, strict=True)]
        assert all(same(session.run(each, states[0]), one.result()) for each, one in zip(asked[:3], coming, strict=False))
        with pytest.raises(ValueError, match='the graph needs'):
            coming[3].result()


def test_who_has_many_rows_or_no_time_waits_for_nobody(session):
    """A large detector, and one among few."""
    joint = Together(session.run)
    joint._lock = None  # there is nothing to wait on
    for rows, wait in ((FEW_ROWS + 1, LONG), (3, 0.0)):
        assert same(joint.run(inputs(session, rows, 1), session.blank(rows, 1), wait), session.run(inputs(session, rows, 1), session.blank(rows, 1)))


def test_who_is_alone_runs_when_the_time_is_over(session):
    """It does not wait for company that does not come."""
    joint = Together(session.run)
    assert same(joint.run(inputs(session, 3, 1), session.blank(3, 1), 0.001), session.run(inputs(session, 3, 1), session.blank(3, 1)))
    assert not joint._waiting and together.ENOUGH_ROWS > together.FEW_ROWS
