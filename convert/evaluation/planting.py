"""Faults of known kinds planted into the healthy time of recorded telemetry, about one in two and a half days of an entity. Pure.

Who calls it: scoring, which replays the planted telemetry beside the telemetry as it was.
"""

from typing import NamedTuple

import numpy as np

from convert.data import faults
from convert.evaluation import measures

APART_SECONDS = 7200.0      # from every event, at least
EVERY_SECONDS = 2.5 * 86400
MOST = 12                   # in one piece
SIZES = (2.0, 1.1)          # in spreads: from 2, over so many powers of ten


class Fault(NamedTuple):
    """A fault in one feature: its kind, first step on the grid of its recording, length in steps, and size.

    size    the largest change of a sample against what is usual: half of the range of the central 99 % of the values, or of the changes, of the day
            before, whichever is smaller; NaN = not known
    """

    kind: str
    first: int
    steps: int
    size: float = float('nan')


def plant(recording, rng):
    """(values float64 [T, F] with faults, [Fault]) of a labelled.Recording; in its tested part only, near no event, where there are samples."""
    values, step = recording.values.copy(), recording.step_seconds
    begin, end = int(recording.place[0]), int(recording.place[-1]) + 1
    taken = np.zeros((len(values), 1), bool)
    apart = int(np.ceil(APART_SECONDS / step))
    for first, last in measures.runs(recording.labels):
        taken[max(0, recording.place[first] - apart) : recording.place[last - 1] + 1 + apart] = True
    wanted, out = int(np.clip((end - begin) * step / EVERY_SECONDS, 1, MOST)), []
    for _ in range(3 * wanted):
        kind = list(faults.KINDS)[rng.integers(len(faults.KINDS))]
        at, feature = int(rng.integers(begin, max(begin + 1, end - 20))), int(rng.integers(values.shape[1]))
        size = SIZES[0] * 10 ** rng.uniform(0, SIZES[1])
        before = values[max(0, at - 300) : at, feature]
        if len(out) == wanted:
            break
        if len(before) < 300 or np.isnan(before).mean() > 0.2 or np.isnan(values[at, feature]):
            continue
        if steps := faults.inject(values[:, feature : feature + 1], taken, at, 0, kind, step_seconds=step, size=size, rng=rng):
            change = faults.change_in_usual_ranges(values[:, feature], recording.values[:, feature], at, steps, step)
            out.append(Fault(kind, at, steps, change))
    return values, out
