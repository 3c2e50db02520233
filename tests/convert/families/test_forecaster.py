"""The forecaster's rule: which horizon wins, what the band means, how features make an entity."""

import functools

import numpy as np
import pytest

pytestmark = pytest.mark.train


@pytest.fixture(scope='module')
def judge():
    """The rule without LSTM ("no change"), so that every number can be computed by hand."""
    from convert import export, verify
    from convert.families import forecaster

    function = export.traced(functools.partial(forecaster.step, None))

    def carried(values, *, step_seconds=60, threshold=2.4, learn=1.0, season=None):
        values = np.asarray(values, np.float64)
        t, n, f = values.shape
        inputs = {
            'value': values, 'season': np.full((t, n, f, 4), np.nan) if season is None else season,
            'learn': np.full((t, n), learn, np.float32), 'threshold': np.full((t, n), threshold, np.float32),
        }  # fmt: skip
        return verify.run_tensorflow(function, inputs, step_seconds)

    return carried


def walk(steps, entities=1, features=1, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, entities, features))


def test_nothing_is_scored_before_the_warm_up_nor_without_a_sample(judge):
    x = walk(80)
    x[60] = np.nan
    out = judge(x)
    assert np.isnan(out['surprise'][:40]).all() and np.isfinite(out['surprise'][41:60]).all()
    assert np.isnan(out['surprise'][60]) and np.isfinite(out['surprise'][61:]).all()
    for name in ('expected', 'lower', 'upper', 'deviation', 'contribution', 'view'):
        assert np.isnan(out[name][60]).all() and np.isnan(out[name][20]).all()


@pytest.mark.parametrize('step_seconds', [10, 60, 700, 3600])
@pytest.mark.parametrize('threshold', [1.5, 2.4])
def test_outside_the_band_is_surprising(judge, step_seconds, threshold):
    """A sample outside [lower, upper] has a surprise of the threshold or more; inside, only several in a row come to as much."""
    x = walk(600, 4, seed=1) * (1 + 30 * (np.random.default_rng(2).random((600, 4, 1)) < 0.03))
    out = judge(x, step_seconds=step_seconds, threshold=threshold)
    surprise = out['surprise'][41:]
    outside = ((x < out['lower']) | (x > out['upper']))[41:, :, 0]
    narrow = (out['upper'] - out['lower'])[41:, :, 0] < 0.11 * np.nanmax(np.abs(x))         # at the least width all that is left to say is "surprising"
    clear = (np.abs(surprise - threshold) > 1e-4) & ~narrow
    surprising = surprise >= threshold
    assert surprising[clear & outside].all() and (clear & outside).sum() > 3
    assert (surprising & ~outside)[clear].sum() <= 2 * (surprising & outside)[clear].sum()
    assert surprising.sum() < surprise.size / 2 and clear.mean() > 0.6


def test_deviation_is_observed_less_expected_and_the_band_holds_the_expectation(judge):
    x = walk(100)
    out = judge(x)
    assert np.allclose(out['deviation'][41:], (x - out['expected'])[41:])
    assert (out['lower'] < out['expected'])[41:].all() and (out['expected'] < out['upper'])[41:].all()


def test_the_recovery_from_a_spike_is_no_second_incident(judge):
    """A sample that set out from a surprising one is not judged by it."""
    x = 0.3 * walk(200)
    x[150:152] += 30
    surprise = judge(x)['surprise'][:, 0]
    assert surprise[150] > 3 and surprise[151] > 3
    view = judge(x)['view'][:, 0]
    assert view[152, 0] == 0            # not by the step from the spike back


@pytest.mark.parametrize(('features', 'worst'), [(2, 1), (4, 1), (5, 2), (9, 2), (10, 3), (12, 3)])
def test_an_entity_is_the_mean_of_its_worst_features(judge, features, worst):
    """Of a few the very worst, so that one culprit is enough; of many the mean of three."""
    x = 0.1 * walk(100, 1, features, seed=3)
    x[90, 0, :2] += 50
    many = judge(x)
    single = [judge(x[:, :, [k]])['surprise'][90, 0] for k in range(features)]
    assert many['surprise'][90, 0] == pytest.approx(np.sort(single)[-worst:].mean(), rel=1e-5)
    shares = many['contribution'][90, 0]
    assert set(np.argsort(shares)[-2:]) == {0, 1} and shares.sum() == pytest.approx(1)


def test_a_missing_feature_counts_as_calm_and_only_all_missing_is_missing(judge):
    x = walk(100, 2, 2, seed=4)
    x[80, 0, 0] = np.nan
    x[80, 1] = np.nan
    out = judge(x)
    assert np.isfinite(out['surprise'][80, 0]) and np.isnan(out['surprise'][80, 1])
    assert out['contribution'][80, 0, 0] == 0 and out['contribution'][80, 0, 1] == 1


@pytest.mark.parametrize(('features', 'klass'), [(1, 0), (2, 1), (4, 1), (5, 2), (9, 2), (10, 3), (24, 3), (25, 4)])
def test_the_class_is_how_many_features(judge, features, klass):
    assert (judge(walk(2, 3, features))['class'] == klass).all()


def test_a_long_gap_is_followed_by_one_unjudged_sample(judge):
    """After more than 15 missing samples there is no forecast to judge by; one step later there is."""
    x = walk(120)
    x[60:80] = np.nan
    surprise = judge(x)['surprise'][:, 0]
    assert np.isnan(surprise[60:81]).all() and np.isfinite(surprise[81:]).all()


def test_hourly_steps_mind_level_and_season(judge):
    """Half an hour and more: distance to the level adds to the surprise; a minute: it does not."""
    x = 0.1 * walk(400, seed=5)
    x[300:] += 5
    fast, slow = (judge(x, step_seconds=step)['surprise'][330, 0] for step in (60, 3600))
    assert slow > fast + 0.3
