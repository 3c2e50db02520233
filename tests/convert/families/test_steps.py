"""A series' own scales: floors, winsorising, gaps, gates, and huge numbers, checked one rule at a time."""

import numpy as np
import pytest

pytestmark = pytest.mark.train


@pytest.fixture(scope='module')
def observe():
    import tensorflow as tf

    from convert.families import steps

    function = tf.function(steps.observe, autograph=False, reduce_retracing=True)

    def carried(values, *, step_seconds=60, learn=None, season=None):
        """Observation of every step of a series, and the state after it."""
        state, seen = np.zeros((1, steps.WIDTH)), []
        for t, x in enumerate(values):
            known = np.full((1, 4), np.nan) if season is None else np.float64(season[t]).reshape(1, 4)
            gate = np.float32([[1 if learn is None else learn[t]]])
            observed = function(np.float64([[x]]), known, np.float32(step_seconds), gate, state)
            state = observed.state.numpy()
            seen.append(observed._replace(**{name: value.numpy() for name, value in observed._asdict().items()}))
        return seen

    return carried


def noise(count, seed=0):
    return np.random.default_rng(seed).normal(size=count)


def test_scale_is_the_root_of_the_second_moment(observe):
    """In a stretch without outliers s_1 is the root mean square of the changes so far: bias-corrected from the first sample."""
    x = 100 + noise(200)
    scale = observe(x)[-1].scale[0, 0]
    assert scale == pytest.approx(np.sqrt(np.mean(np.diff(x) ** 2)), rel=0.05)


def test_an_outlier_hardly_moves_the_scale_and_a_flat_series_can_leave_zero(observe):
    """Winsorised at six scales; but where the scale is zero it must not stay zero for ever."""
    x = noise(300)
    x[250] = 1e6
    before, after = (observe(x)[t].scale[0, 0] for t in (249, 250))
    assert after < 0.3 * 1e6 and before < 2
    flat = np.zeros(200)
    flat[100:] = noise(100, 1)
    assert observe(flat)[-1].scale[0, 0] > 0.1


def test_a_nearly_constant_series_has_a_floor(observe):
    """A quarter of its usual change, however seldom it changes."""
    x = np.zeros(400)
    x[::100] = 1
    assert observe(x)[-1].scale[0, 0] >= 0.25 * 0.99


def test_missing_samples_and_held_learning_change_no_scale(observe):
    x = noise(100)
    held = observe(x, learn=[1] * 80 + [0] * 20)
    gaps = x.copy()
    gaps[80:] = np.nan
    for seen in (held, observe(gaps)):
        assert np.array_equal(seen[79].scale, seen[99].scale)


def test_a_missing_sample_stands_still(observe):
    """It is taken for the last one, so that differences are zero and nothing is NaN but what says so."""
    x = np.r_[noise(60), [np.nan] * 20]
    seen = observe(x)
    assert seen[79].x[0, 0] == x[59] and np.isfinite(seen[79].inputs).all() and np.isfinite(seen[79].state).all()
    assert np.isnan(seen[79].season_next).all()


def test_a_terabyte_keeps_its_bytes(observe):
    """Differences are taken in double precision."""
    x = 2e12 + np.arange(100) % 7
    assert observe(x)[-1].difference[0, 0] in (1, -6)


@pytest.mark.parametrize('size', [0.0, 1e-300, 1e300, 1.7e308])
def test_every_finite_input_stays_finite(observe, size):
    """No value, however odd, may poison a state."""
    seen = observe(size * noise(60).clip(-1, 1))
    assert np.isfinite(seen[-1].state).all() and np.isfinite(seen[-1].inputs).all()


def test_the_season_moves_half_way_in_half_an_hour(observe):
    """A slot of 30 minutes that is 1 below all samples of its visit has come half of the way when it is left."""
    season = np.zeros((300, 4))
    x = 1 + 0.3 * noise(300)
    for t in range(30):
        season[t, 0] = 0.0
    moved = 0.0
    seen = observe(x, season=season)
    for t in range(250, 280):
        moved += (1 - moved) * (seen[t].season_next[0, 0] / x[t])
    assert moved == pytest.approx(0.5, abs=0.02)


def test_an_unknown_season_takes_the_sample(observe):
    assert observe([3.0, 4.0])[1].season_next[0, 0] == 4.0


def test_distance_is_judged_by_what_was_known_before(observe):
    """The scale that a sample is held against must not contain it."""
    x = np.r_[noise(200), 50.0]
    assert observe(x)[-1].apart[0, 0] > 30


def test_hyperbolic_functions_without_their_slow_operators():
    import tensorflow as tf

    from convert.families import steps

    far = np.float32([0, 1e-30, 1e-8, 1e-3, 0.1, 1, 30, 1e9, 1e18])
    np.testing.assert_allclose(steps.asinh(tf.constant(far)), np.arcsinh(far.astype(np.float64)), rtol=3e-7, atol=1.2e-7)
    near = np.float32([0.1, 0.3, 1, 8, 80])
    np.testing.assert_allclose(steps.sinh(tf.constant(near)), np.sinh(near.astype(np.float64)), rtol=2e-6)


def test_a_ratio_is_odd_and_bounded(observe):
    from convert.families import steps

    a = np.float64([-1e30, -3, -1e-9, 0, 1e-9, 3, 1e30])
    np.testing.assert_array_equal(steps.ratio(a, 1.0), -steps.ratio(-a, 1.0).numpy())
    np.testing.assert_allclose(steps.ratio(a, 1.0), np.arcsinh(np.clip(a, -1e9, 1e9)), rtol=3e-7, atol=1.2e-7)
