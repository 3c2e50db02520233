"""Which events recur: they came at the same time of day, and as large, on two of the seven days before.

A nightly job is marked as an anomaly each night by some labelled sets; people call it normal after the third time. So recall is read in
both ways: of all events, and of those that do not recur. The size is that of a simple detector (baselines, `largest`), the same for all
methods that are measured. Pure.
"""

import numpy as np

DAY = 86400.0
TABLE = 'habit'             # of a model's tables of the time of day: the one that holds what came on the days before
DAYS, TIMES = 7, 2
SHIFT_SECONDS = 900.0       # by which the time of day may differ
MARGIN = 0.4                # of the size, which is an asinh of robust units
ORDINARY = 2.3              # what every day has, whatever its size, recurs in no sense


def recurring(sizes, spans, step_seconds):
    """bool [events] of one series.

    sizes  float [T], NaN = none: how far each sample is out of the ordinary
    spans  [(first, one past the last)] of the events on the same grid

    >>> sizes = np.where(np.arange(24 * 9) % 24 == 3, 5.0, 0.5)
    >>> recurring(sizes, [(27, 28), (75, 76), (80, 81)], 3600)
    array([False,  True, False])
    """
    sizes, out = np.nan_to_num(sizes, nan=0.0), np.zeros(len(spans), bool)
    day, shift = DAY / step_seconds, max(1, round(SHIFT_SECONDS / step_seconds))
    if day < 4 * shift:         # a step of hours has no time of day
        return out
    for k, (first, end) in enumerate(spans):
        peak = first + int(np.argmax(sizes[first:end]))
        least, same = max(sizes[peak] - MARGIN, ORDINARY), 0
        for back in range(1, DAYS + 1):
            at = round(peak - back * day)
            same += sizes[max(0, at - shift) : max(0, at + shift + 1)].max(initial=0) > least
        out[k] = same >= TIMES
    return out
