"""Statistics over the samples before each one: exact, and forgetful."""

import numpy as np
import pytest

pytestmark = pytest.mark.train

def test_sliding_moments_are_exact():
    """Those of numpy over each window; and a huge value that has left the window has left nothing behind."""
    from convert.evaluation import trailing

    x = np.random.default_rng(0).normal(size=(60, 2))
    x[5, 0], x[7:20, 1], x[30] = np.nan, np.nan, 1e15
    mean, deviation = trailing.moments(x, 7)
    for t in (*range(6, 13), *range(20, 30), *range(37, 60)):
        window = x[t - 6 : t + 1]
        there = ~np.isnan(window).all(0)
        assert np.allclose(mean[t, there], np.nanmean(window[:, there], 0), atol=1e-9)
        assert np.allclose(deviation[t, there], np.nanstd(window[:, there], 0), atol=1e-7)
    assert np.isnan(mean[14, 1])
