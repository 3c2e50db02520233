"""The latch on columns that a test writes down: entities with one level and a band around it."""

import numpy as np

from promlstm.engine.latch import apply_latch
from promlstm.engine.score import apply_policy

LEVEL, REACH, STEP = 10.0, 2.0, 60.0


def latched(latch, policy, time, raw, observed, expected, *, weight=None, reach=REACH):
    """`apply_latch` on columns of entities whose band is `reach` wide to either side; (scores, Latch, judged by the latch)."""
    observed, expected = np.asarray(observed, np.float64), np.asarray(expected, np.float64)
    columns = {'observed': observed, 'expected': expected, 'deviation': observed - expected}
    columns['contribution'] = np.ones(observed.shape, np.float32) if weight is None else np.float32(weight)
    raw = np.float32(raw)
    scores = apply_policy(raw, policy, **columns)
    view = np.empty((len(raw), 0), np.float32)
    return apply_latch(latch, policy, time, scores, raw=raw, lower=expected - reach, upper=expected + reach, view=view, **columns)
