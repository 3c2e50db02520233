"""VUS-PR: the area under the precision-recall curve of soft labels, averaged over the width of their soft borders.

Paparrizos and others 2022, "Volume Under the Surface", PVLDB 15(11): a label fades out over half of a buffer on either side of its event,
recall is multiplied by the share of events that are touched, and the area is averaged over all buffers from 0 to `longest`. Pure.
"""

import numpy as np

from convert.evaluation import measures

LONGEST = 100       # of the buffers, in steps
THRESHOLDS = 250


def vus_pr(scores, labels, longest=LONGEST):
    """VUS-PR of the judged samples of one entity; NaN where none of them is labelled.

    >>> labels = np.arange(400) // 40 == 5
    >>> round(vus_pr(labels * 1.0, labels, longest=0), 3)
    1.0
    """
    judged = ~np.isnan(scores)
    scores, labels = np.asarray(scores, float)[judged], np.asarray(labels, bool)[judged]
    events = measures.runs(labels)
    if not events:
        return float('nan')
    order = np.argsort(-scores, kind='stable')
    falling = scores[order]
    tried = falling[np.linspace(0, len(scores) - 1, THRESHOLDS).astype(int)]
    predicted = np.searchsorted(-falling, -tried, side='right')
    return float(np.mean([_area(scores, labels, events, order, tried, predicted, buffer) for buffer in range(longest + 1)]))


def _area(scores, labels, events, order, tried, predicted, buffer):
    soft = softened(labels, events, buffer)
    touched = np.array([scores[first:end].max() for first, end in _joined(events, buffer // 2, len(scores))])
    true = np.cumsum(soft[order])[predicted - 1]
    positive = (labels.sum() + soft.sum()) / 2
    recall = np.minimum(true / positive, 1) * (touched[None] >= tried[:, None]).mean(1)
    recall, precision = np.r_[0, recall], np.r_[1, true / predicted]
    return float((np.diff(recall) * (precision[1:] + precision[:-1]) / 2).sum())


def softened(labels, events, buffer):
    """Labels that fade out on both sides of their events: float [T].

    >>> softened(np.array([0, 0, 1, 0, 0], bool), [(2, 3)], 2).round(2)
    array([0.  , 0.71, 1.  , 0.71, 0.  ])
    """
    soft, fade = labels.astype(float), np.sqrt(1 - np.arange(1, buffer // 2 + 1) / max(buffer, 1))
    for first, end in events:
        after = soft[end : end + buffer // 2]
        after += fade[: len(after)]
        before = soft[max(0, first - buffer // 2) : first][::-1]
        before += fade[: len(before)]
    return np.minimum(soft, 1)


def _joined(events, half, total):
    """Events with their buffers; those that touch are one."""
    out = []
    for first, end in events:
        if out and out[-1][1] + half > first - half:
            out[-1] = (out[-1][0], end)
        else:
            out.append((first, end))
    return [(max(0, first - half), min(end + half, total)) for first, end in out]
