"""VUS-PR as its authors define it, compared with a plain implementation of their definition, threshold by threshold."""

import numpy as np
import pytest

from convert.evaluation import measures, volume


def plainly(scores, labels, buffers, many=250):
    """The mean over buffers of the area under precision and recall; everything is counted anew at each threshold."""
    areas = []
    for buffer in buffers:
        soft = labels.astype(float)
        spans = []
        for first, end in measures.runs(labels):
            for distance in range(1, buffer // 2 + 1):
                for t in (first - distance, end - 1 + distance):
                    if 0 <= t < len(soft):
                        soft[t] += (1 - distance / buffer) ** 0.5
            spans.append([first - buffer // 2, end + buffer // 2])
        soft = np.minimum(soft, 1)
        joined = [spans[0]]
        for span in spans[1:]:
            if joined[-1][1] > span[0]:
                joined[-1][1] = span[1]
            else:
                joined.append(span)
        recalls, precisions = [0.0], [1.0]
        for k in np.linspace(0, len(scores) - 1, many).astype(int):
            hit = scores >= np.sort(scores)[::-1][k]
            touched = np.mean([hit[max(0, a) : b].any() for a, b in joined])
            recalls.append(min(1, (soft * hit).sum() / ((labels.sum() + soft.sum()) / 2)) * touched)
            precisions.append((soft * hit).sum() / hit.sum())
        areas.append(sum((b - a) * (p + q) / 2 for a, b, p, q in zip(recalls, recalls[1:], precisions, precisions[1:], strict=False)))
    return float(np.mean(areas))


@pytest.mark.parametrize('seed', range(3))
def test_it_is_the_definition(seed):
    rng = np.random.default_rng(seed)
    labels = np.zeros(700, bool)
    for at in rng.integers(0, 690, 4):
        labels[at : at + rng.integers(1, 30)] = True
    scores = np.round(rng.exponential(size=700) + 2 * labels, 1)
    assert volume.vus_pr(scores, labels, longest=20) == pytest.approx(plainly(scores, labels, range(21)))


def test_a_near_miss_is_worth_more_than_a_far_one():
    labels = np.arange(500) // 10 == 20
    near, far = (volume.vus_pr((np.abs(np.arange(500) - at) < 5) * 1.0, labels) for at in (195, 100))
    assert near > 3 * far


def test_samples_that_were_not_judged_are_left_out():
    labels = np.arange(500) // 10 == 20
    scores = labels + np.random.default_rng(0).random(500) / 9
    holes = np.where(np.arange(500) < 100, np.nan, scores)
    assert volume.vus_pr(holes, labels) == volume.vus_pr(scores[100:], labels[100:])
    assert np.isnan(volume.vus_pr(scores, labels & False))
