"""Frames and verdicts: the columns of a step have the shapes, types and values that columns.py documents."""

import dataclasses

import numpy as np
import pytest
import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from requirements import is_accept

from promlstm.engine import advance, session
from promlstm.engine.columns import MISSING, READY, STATUS_NAMES, WARMING, Frame, Verdicts
from promlstm.engine.memory import blank
from promlstm.engine.score import Policy

SINGLE, DOUBLE = np.float32, np.float64
SHAPES = {
    'status': (np.int8, 'N'), 'score': (SINGLE, 'N'), 'surprise': (SINGLE, 'N'), 'observed': (DOUBLE, 'NF'), 'expected': (DOUBLE, 'NF'),
    'lower': (DOUBLE, 'NF'), 'upper': (DOUBLE, 'NF'), 'usual_lower': (DOUBLE, 'NF'), 'usual_upper': (DOUBLE, 'NF'),
    'deviation': (DOUBLE, 'NF'), 'contribution': (SINGLE, 'NF'), 'view': (SINGLE, 'NV'),
    'since': (DOUBLE, 'N'), 'recurring': (SINGLE, 'N'),
}  # fmt: skip


@pytest.fixture(scope='module', params=['tiny', 'tiny with views', 'default'])
def loaded(request, tmp_path_factory):
    if request.param == 'default':
        return session.load(session.resolve('builtin:default'))
    views = ('above', 'below') if 'views' in request.param else ()
    return session.load(tiny_model.write(tmp_path_factory.mktemp('model') / 'tiny.onnx', views=views))


def steps(loaded, blocks, policy=None, tolerant=False):
    """The Verdicts for frames with these values, [T, N, F]."""
    settings_ = advance.Settings(60, policy=policy or Policy(), alarms_per_week=1)
    memory = blank(loaded, settings_.zone, *blocks.shape[1:], tolerant=tolerant)
    frames = (Frame(60.0 * number, values) for number, values in enumerate(blocks))
    return [verdicts for verdicts, _ in advance.replay(loaded, settings_, memory, frames)]


def check(loaded, values, verdicts, policy):
    """Check everything that columns.Verdicts documents."""
    sizes = {'N': values.shape[0], 'F': values.shape[1], 'V': len(loaded.bundle.manifest.views)}
    for name, (dtype, axes) in SHAPES.items():
        column = getattr(verdicts, name)
        assert (column.dtype, column.shape) == (dtype, tuple(sizes[axis] for axis in axes)), name
        open_side = {'lower': -np.inf, 'upper': np.inf}.get(name)  # of a direction that cannot alarm
        assert not (np.isinf(column) & (column != open_side)).any(), name
    missing = np.isnan(values).all(1)
    np.testing.assert_array_equal(verdicts.status == MISSING, missing)
    np.testing.assert_array_equal(verdicts.status == READY, ~missing & ~np.isnan(verdicts.surprise))
    assert set(verdicts.status) <= {READY, WARMING, MISSING} == set(range(len(STATUS_NAMES)))
    np.testing.assert_array_equal(verdicts.observed, values)
    ready = verdicts.status == READY
    outside = np.zeros(len(values), bool)
    if policy.valid_range:
        low, high = policy.valid_range
        outside = ((values < low) | (values > high)).any(1)
    np.testing.assert_array_equal(np.isnan(verdicts.score), ~(ready | outside))
    assert (verdicts.score[ready] >= 0).all() and (verdicts.surprise[ready] >= 0).all() and (verdicts.score[outside] > 1).all()
    for shares in (verdicts.contribution, verdicts.view):
        known = shares[~np.isnan(shares).any(1)]
        assert ((known >= -1e-6) & (known <= 1 + 1e-6)).all()  # shares are rounded to float32
        np.testing.assert_allclose(known.sum(1), 1 if shares.shape[1] else 0, atol=1e-5)
        assert (np.isnan(shares).all(1) | ~np.isnan(shares).any(1)).all()
    known = ~np.isnan(verdicts.expected)
    assert (verdicts.lower[known] <= verdicts.expected[known]).all() and (verdicts.expected[known] <= verdicts.upper[known]).all()


VALUES = st.floats(-1e15, 1e15) | st.floats(-1, 1) | st.just(np.nan) | st.just(5.0)


@given(
    blocks=arrays.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3)), elements=VALUES),
    policy=st.sampled_from([Policy(), Policy(valid_range=(0, 1)), Policy(direction='above', min_deviation=1, hold_seconds=120)]),
    tolerant=st.booleans(),
)
@settings(max_examples=40 if is_accept() else 12, deadline=None)
def test_a_step_gives_columns_as_documented(loaded, blocks, policy, tolerant):
    """Shapes, types and the meaning of NaN hold after a warm-up too, for values of any size and any missing samples."""
    calm = np.random.default_rng(1).normal(5, 1, (loaded.bundle.manifest.warmup_steps + 2, *blocks.shape[1:]))
    whole = np.concatenate([calm, blocks])
    for values, verdicts in zip(whole, steps(loaded, whole, policy, tolerant), strict=True):
        check(loaded, values, verdicts, policy)


def test_after_the_warm_up_entities_are_ready(loaded):
    """There is a score after the number of samples that the manifest names, and not before."""
    warmup = loaded.bundle.manifest.warmup_steps
    results = steps(loaded, np.random.default_rng(2).normal(5, 1, (warmup + 1, 2, 1)))
    assert [set(verdicts.status) for verdicts in results] == [{WARMING}] * warmup + [{READY}]


@pytest.mark.parametrize('kind', [Frame, Verdicts])
def test_columns_are_replaced_and_never_changed(kind):
    """Frames and verdicts are frozen, and have no other fields than those checked here."""
    made = kind(*(0.0 for _ in dataclasses.fields(kind)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.time = 1.0
    assert kind is Frame or {field.name for field in dataclasses.fields(kind)} == {'time', 'partial', *SHAPES}
