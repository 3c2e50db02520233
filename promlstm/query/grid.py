"""Which row of a grid each sample of a range answer belongs to. Pure.

Who calls it: prometheus, for every range answer, so that warm start, catch-up, backtest and training data are laid on their grid by this code alone.

A server need not answer at the instants that were asked for: VictoriaMetrics, and the query front ends of Thanos and Mimir, move start and
end to multiples of the step; others have an offset or a rounding of their own. A row takes the sample at or just before its instant.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

TOLERANCE_SECONDS = 0.002  # start and step are sent, and times come back, in milliseconds


def rows(times: npt.NDArray[np.float64], start: float, step: float, count: int) -> npt.NDArray[np.int64]:
    """The row of each sample: that of the first instant at or after it.

    times    float64 [n]  unix seconds of all samples of an answer, in time order within each series
    start    float        the instant of row 0
    step     float        seconds between rows
    count    int          how many rows there are
    returns  int64 [n]    -1 = before the first row or after the last one

    All samples of an answer lie on one grid, the server's, but for some jitter. They move together, by what brings the latest of them to
    its instant: so no two samples of neighbouring steps fall on one row because one was a little early and the other a little late.
    Without a grid (jitter of more than half a step) each sample goes by itself.

    >>> rows(np.array([940., 1000., 1060.]), 990., 60., 3)  # on multiples of the step, ten seconds late or fifty early
    array([0, 1, 2])
    >>> rows(np.array([990., 1050.001, 1110.]), 990., 60., 3)
    array([0, 1, 2])
    """
    places = (times - start) / step
    near = (places > -2) & (places < count + 1)  # what lies elsewhere says nothing of the grid
    out = np.full(len(places), -1, np.int64)
    tolerance = TOLERANCE_SECONDS / step + count * abs(1 - round(step, 3) / step)  # a step that is no whole millisecond drifts
    found = _found(places[near], tolerance)
    out[near] = np.where((found >= 0) & (found < count), found, -1)
    return out


def _found(places: npt.NDArray[np.float64], tolerance: float) -> npt.NDArray[Any]:
    """The rows of samples at `places` (in steps after row 0)."""
    nearest: npt.NDArray[Any] = np.rint(places)
    if (np.abs(places - nearest) <= tolerance).all():
        return nearest
    phases = np.unique(places % 1)
    gaps = np.diff(phases, append=phases[0] + 1)
    widest = int(gaps.argmax())  # the grid is the arc of phases that the widest gap leaves
    spread = 1 - gaps[widest]
    latest = tolerance - (tolerance - phases[widest]) % 1  # where the latest of a step lies, at or before its instant
    return np.asarray(np.ceil(places - tolerance) if spread >= 0.5 else np.rint(places - (latest - spread / 2)))
