"""The two values that flow: a Frame goes into a detector, Verdicts come out. Columns of N entities, never one object per entity.

Row i is the same entity everywhere: in the entity table, in every array of memory, in the frame, in the verdicts.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

# Types of arrays by their dtype. Docstrings give the shapes, which the type checker does not know.
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
SmallInts = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]
# Inputs, outputs or states of a graph by name. Their dtypes differ: bundle.parse checks each against the model contract.
Tensors = dict[str, npt.NDArray[Any]]

READY, WARMING, MISSING = 0, 1, 2  # codes of Verdicts.status
STATUS_NAMES = ('ready', 'warming', 'missing')


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The newest samples of all entities of one detector.

    time    float            unix seconds: the aligned step (the query was evaluated at time - delay)
    values  float64 [N, F]   in the user's unit; NaN = no sample at this step
    partial bool             the answer may lack series: NaN may also mean that a sample was left out
    """

    time: float
    values: Floats
    partial: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What one step says about the rows of a frame.

    time          float            unix seconds of the frame
    status        int8 [N]         READY, WARMING (no surprise yet) or MISSING (no sample at this step)
    score         float32 [N]      >= 1 anomalous; NaN unless READY, or outside the valid range while WARMING
    surprise      float32 [N]      as the model gave it; NaN = not judged
    observed      float64 [N, F]   the frame's values, ±Inf replaced by NaN
    expected, lower, upper  float64 [N, F]   what was expected before the sample was seen; NaN = none
    deviation     float64 [N, F]   observed - expected, signed
    usual_lower, usual_upper  float64 [N, F]   the range of nearly all healthy samples; NaN = not known
    contribution  float32 [N, F]   share of each feature in the surprise, or in the alarm that is held; rows sum to 1, or are NaN
    view          float32 [N, V]   share of each view of the model; V may be 0
    since         float64 [N]      unix seconds of the first sample of the alarm; NaN = no alarm now
    recurring     float32 [N]      1 = it would be an anomaly, if the like had not come at this time on other days
    partial       bool             that of the frame: a MISSING entity may have a sample
    """

    time: float
    status: SmallInts
    score: Floats32
    surprise: Floats32
    observed: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    usual_lower: Floats
    usual_upper: Floats
    deviation: Floats
    contribution: Floats32
    view: Floats32
    since: Floats
    recurring: Floats32
    partial: bool = False

    def main_features(self, rows: Ints) -> tuple[Ints, SmallInts]:
        """Of some rows (int64 [n]) the feature that contributes most, int64 [n], and int8 [n]: 1 above what was expected, -1 below, 0 = not known."""
        if not len(rows):
            return rows, np.empty(0, np.int8)
        main = np.nan_to_num(self.contribution[rows]).argmax(axis=1)
        deviation = np.take_along_axis(self.deviation[rows], main[:, None], axis=1)[:, 0]
        return main, np.sign(np.nan_to_num(deviation)).astype(np.int8)

    @classmethod
    def blank(cls, features: int, views: int) -> Self:
        """Verdicts on no entity at all, for their dtypes and shapes."""
        none, row = np.empty(0), np.empty((0, features))
        none32, row32 = none.astype(np.float32), row.astype(np.float32)
        return cls(
            time=0.0, status=np.empty(0, np.int8), score=none32, surprise=none32, observed=row, expected=row, lower=row, upper=row, usual_lower=row,
            usual_upper=row, deviation=row, contribution=row32, view=np.empty((0, views), np.float32), since=none, recurring=none32,
        )  # fmt: skip
