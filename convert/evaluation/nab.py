"""The score of the Numenta Anomaly Benchmark, by its published rules (Lavin and Ahmad 2015, arXiv:1510.03336), standard profile.

A detection within a window earns up to 1, the more the earlier; only the best one of a window counts. A detection outside costs, less
just behind a window. A missed window costs. One threshold for all files, the best in hindsight, as NAB does. Pure.
"""

import numpy as np

from convert.evaluation import measures

FALSE, MISSED = 0.11, 1.0       # weights of the standard profile


def score(files):
    """100 = each window is detected at its first sample and nothing else is, 0 = nothing is detected.

    files  [(scores float [T], labels bool [T] that are true inside windows)]; a sample that was not judged (NaN) is no detection

    >>> labels = np.arange(200) // 20 == 5
    >>> score([(np.arange(200) == 100, labels)]), score([(np.zeros(200), labels)])
    (100.0, 0.0)
    """
    scores, gains, windows = [], [], 0
    for its_scores, labels in files:
        its_scores = np.nan_to_num(np.asarray(its_scores, float), nan=-np.inf)
        gain, many = _gains(its_scores, np.asarray(labels, bool))
        scores.append(its_scores)
        gains.append(gain)
        windows += many
    if not windows:
        return float('nan')
    scores, gains = np.concatenate(scores), np.concatenate(gains)
    order = np.argsort(-scores, kind='stable')
    falling = scores[order]
    last = np.flatnonzero(np.r_[falling[1:] != falling[:-1], True] & (falling > -np.inf))       # of each group of equal scores
    best = np.cumsum(gains[order])[last].max(initial=0)
    return float(100 * best / (windows * (1 + MISSED)))


def _gains(scores, labels):
    """What each sample adds to the sum when the threshold falls to its score, float [T], and the number of windows."""
    gains, at, windows = np.full(len(labels), -FALSE), np.arange(len(labels)), measures.runs(labels)
    for k, (first, end) in enumerate(windows):
        following = windows[k + 1][0] if k + 1 < len(windows) else len(labels)
        width = end - first
        gains[end:following] = FALSE * _sigmoid((at[end:following] - (end - 1)) / max(width - 1, 1))
        reward = _sigmoid((at[first:end] - end) / width) / _sigmoid(-1.0)
        falling = np.argsort(-scores[first:end], kind='stable')
        so_far = np.maximum.accumulate(reward[falling])
        gains[first:end][falling] = np.diff(so_far, prepend=-MISSED)
    return gains, len(windows)


def _sigmoid(position):
    """From 1 long before the end of a window to -1 long behind it, in widths of the window."""
    return np.where(np.asarray(position) > 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(position, 3.0))) - 1)
