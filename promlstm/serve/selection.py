"""Which entities of a detector are on the page, and of which of them there is more than the score. Pure.

Who calls it: runner and backtest, before a step is rendered. What flows through: Verdicts and two keys of the configuration; out come two columns.

Rules count entities by their scores, and tell who is there by scores and samples. So a score is always shown, and the sample where there is no score.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from promlstm.engine.columns import Bools, Verdicts

Export = Literal['all', 'anomalous', 'score']


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Rows of a step.

    shown     bool [N]: the entity is on the page
    detailed  bool [N]: with its sample, what was expected, and what else explains its score
    left_out  how many would be on the page, if there were no limit
    """

    shown: Bools
    detailed: Bools
    left_out: int = 0


def select(export: Export, most: int, verdicts: Verdicts, missing: Bools) -> Selection:
    """The Selection of a step of N entities.

    export   whose score is explained: that of all, of anomalous entities, or none
    most     entities on the page; of more, those that are anomalous or missing go first, then those that came first
    missing  bool [N]: entities that are reported as missing

    >>> from promlstm.engine.columns import Verdicts
    >>> blank = Verdicts.blank(1, 0)
    >>> select('all', 10, blank, np.zeros(0, bool)).left_out
    0
    """
    scored, anomalous = ~np.isnan(verdicts.score), verdicts.score >= 1
    shown = scored | ~np.isnan(verdicts.observed).all(axis=1) | missing
    left_out = max(0, int(shown.sum()) - most)
    if left_out:
        first = anomalous | missing
        rows = np.concatenate([np.flatnonzero(shown & first), np.flatnonzero(shown & ~first)])
        shown[rows[most:]] = False
    detailed = shown if export == 'all' else shown & anomalous if export == 'anomalous' else np.zeros(len(shown), np.bool_)
    return Selection(shown, detailed, left_out)
