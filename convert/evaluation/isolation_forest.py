"""An isolation forest to compare a model with, as people use scikit-learn: Liu, Ting and Zhou, Isolation forest, ICDM 2008.

scikit-learn is no dependency of anything: there is a row where it can be imported. Who calls it: scoring; convert.benchmark says what is missing.
"""

import numpy as np

from convert.evaluation import baselines, optional, trailing
from promlstm.engine.season import DAY

NAME = 'isolation_forest'
LEAST = 300             # samples that it is fitted on, at least, as of baselines.pca
TREES = 50              # of the 100 that are usual: it takes as long as all other simple detectors together


def missing():
    """Sentences on what is not installed."""
    return optional.missing(NAME, 'sklearn', 'scikit-learn')


def scores(values, step_seconds, tested):
    """Score of a forest for each entity: float32 [T, N] for values float [T, N, F]; {} without scikit-learn, else {NAME: scores}.

    Its inputs are the values of all features and their differences from 1, 5 and 15 steps and a day ago. It has TREES of 256 samples,
    drawn from what lies before the tested time of its entity. NaN there, and where no feature has a sample.

    tested  int [N]: the first step of each entity that is tested; where less than LEAST samples lie before, it is fitted on its first LEAST
    """
    if missing():
        return {}
    from sklearn.ensemble import IsolationForest

    out = np.full(values.shape[:2], np.nan, np.float32)
    for n, first in enumerate(tested):
        present = np.flatnonzero(~np.isnan(values[:, n]).all(1))
        own = max(int(np.searchsorted(present, first)), min(LEAST, len(present) // 4))
        if own:
            inputs = _inputs(trailing.without_gaps(values[:, n]), round(DAY / step_seconds))
            forest = IsolationForest(n_estimators=TREES, random_state=0).fit(inputs[present[:own]])
            out[present[own:], n] = -forest.score_samples(inputs[present[own:]])
    return {NAME: out}


def _inputs(x, day):
    """float [T, 5 F]: values and differences; of what lies before the first sample the first counts."""
    number = np.arange(len(x))
    return np.concatenate([x, *(x - x[np.maximum(number - lag, 0)] for lag in (*baselines.LAGS, day))], axis=1)
