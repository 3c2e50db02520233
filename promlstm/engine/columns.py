"""The two nouns that flow: a Frame goes into a detector, Verdicts come out. Columns of N entities, never objects.

Row i is the same entity everywhere: in the entity table, in every array of memory, in the frame, in the verdicts.
"""

from dataclasses import dataclass

import numpy as np

READY, WARMING, MISSING = 0, 1, 2  # codes of Verdicts.status
STATUS_NAMES = ('ready', 'warming', 'missing')


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The newest samples of all entities of one detector.

    time    float            unix seconds: the aligned step (the query was evaluated at time - delay)
    values  float64 [N, F]   in the user's unit; NaN = no sample at this step
    """

    time: float
    values: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What one step says of the same rows.

    time          float            unix seconds of the frame
    status        int8 [N]         READY, WARMING (no surprise yet) or MISSING (no sample at this step)
    score         float32 [N]      >= 1 anomalous; NaN unless READY, or outside the valid range while WARMING
    surprise      float32 [N]      as the model gave it; NaN = not judged
    observed      float64 [N, F]   the frame's values, ±Inf replaced by NaN
    expected, lower, upper  float64 [N, F]   what was expected before the sample was seen; NaN = none
    deviation     float64 [N, F]   observed - expected, signed
    contribution  float32 [N, F]   rows sum to 1, or are NaN
    view          float32 [N, V]   share of each view of the model; V may be 0
    since         float64 [N]      unix seconds of the first sample of the alarm; NaN = no alarm now
    """

    time: float
    status: np.ndarray
    score: np.ndarray
    surprise: np.ndarray
    observed: np.ndarray
    expected: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    deviation: np.ndarray
    contribution: np.ndarray
    view: np.ndarray
    since: np.ndarray
