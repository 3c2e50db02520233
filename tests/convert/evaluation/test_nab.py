"""NAB's score: 100 for a detector that fires once at the beginning of each window, 0 for one that never does, and what its rules say between."""

import math

import numpy as np
import pytest

from convert.evaluation import nab


def labels(total, *windows):
    out = np.zeros(total, bool)
    for first, end in windows:
        out[first:end] = True
    return out


FILES = [labels(400, (100, 140), (300, 330)), labels(300), labels(500, (450, 500))]


def test_a_perfect_detector_has_100():
    """At the first sample of each window, and nowhere else."""
    assert nab.score([(each & ~np.r_[False, each[:-1]], each) for each in FILES]) == pytest.approx(100)


@pytest.mark.parametrize('value', [0.0, np.nan])
def test_a_null_detector_has_0(value):
    """One that says the same everywhere, or nothing at all."""
    assert nab.score([(np.full(len(each), value), each) for each in FILES]) == 0


def test_a_file_without_windows_can_only_cost():
    quiet = [(each & ~np.r_[False, each[:-1]], each) for each in FILES]
    noisy = [quiet[0], (np.arange(300) == 50, FILES[1]), quiet[2]]
    assert nab.score(quiet) - nab.score(noisy) == pytest.approx(100 * nab.FALSE / (2 * 3))


def by_the_rules(files, threshold):
    """The sum for one threshold, a sample at a time: Lavin and Ahmad 2015, section 2.B."""
    scaled = lambda y: 2 / (1 + math.exp(5 * y)) - 1     # noqa: E731
    total, windows = 0.0, 0
    for scores, marks in files:
        begins = [t for t in range(len(marks)) if marks[t] and (t == 0 or not marks[t - 1])]
        spans = [(t, next((k for k in range(t, len(marks)) if not marks[k]), len(marks))) for t in begins]
        windows += len(spans)
        best = dict.fromkeys(spans, -1.0)
        for t in np.flatnonzero(scores >= threshold).tolist():
            inside = next((span for span in spans if span[0] <= t < span[1]), None)
            if inside:
                best[inside] = max(best[inside], scaled(-(inside[1] - t) / (inside[1] - inside[0])) / scaled(-1))
                continue
            before = [span for span in spans if span[1] <= t]
            far = (t - (before[-1][1] - 1)) / (before[-1][1] - before[-1][0] - 1) if before else 9.0
            total += 0.11 * (scaled(far) if far <= 3 else -1.0)
        total += sum(best.values())
    return 100 * (total + windows) / (2 * windows)


@pytest.mark.parametrize('seed', range(5))
def test_between_them_it_is_what_the_rules_say(seed):
    """The best of all thresholds."""
    rng = np.random.default_rng(seed)
    files = [(np.round(rng.exponential(size=len(each)) + 2 * each * rng.random(len(each)), 1), each) for each in FILES]
    best = max(0.0, *(by_the_rules(files, threshold) for threshold in np.unique(np.concatenate([scores for scores, _ in files]))))
    assert nab.score(files) == pytest.approx(best)


def test_without_windows_there_is_nothing_to_say():
    assert np.isnan(nab.score([(np.arange(300), FILES[1])]))
