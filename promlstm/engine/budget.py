"""Which budgets of false alarms a detector can have: those that the calibration was measured for, in the classes that its entities can have.

Who calls it: detector, `check-config`. One feature and many features alarm at different surprises, so the calibration has rows by class. The
graph itself says the class, in its output `class`, so it is asked: it runs for some rows with as many features as the detector has. Where
these rows get different classes, the class depends on the samples, and any class of the calibration may come.

A budget below the tables is refused, for they are not extrapolated. One above them is judged as the largest that they have.
"""

import math
from collections.abc import Iterable

import numpy as np

from promlstm.engine.bundle import Calibration
from promlstm.engine.columns import Tensors
from promlstm.engine.session import Session
from promlstm.errors import BudgetError

SAMPLES = (np.nan, 0.0, 1.0, -1e12, 1e12)  # one row each
STEPS = 3  # a class may follow from what is remembered


def possible_classes(session: Session, features: int) -> frozenset[int]:
    """The classes that an entity with this many features can have; {0} where the model does not say."""
    bundle = session.bundle
    if 'class' not in bundle.outputs:
        return frozenset({0})
    rows, manifest = len(SAMPLES), bundle.manifest
    inputs: Tensors = {
        'value': np.repeat(np.array(SAMPLES)[:, None], features, axis=1),
        'season': np.full((rows, features, 1 + len(manifest.season_horizons_steps)), np.nan),
        'clock': np.zeros((rows, 4), np.float32),
        'step_seconds': np.array(manifest.step_seconds[0], np.float32),
        'learn': np.ones(rows, np.float32),
        'threshold': np.ones(rows, np.float32),
    }
    state, found = session.blank(rows, features), frozenset[int]()
    for _ in range(STEPS):
        out, state = session.run(inputs, state)
        found |= frozenset(np.unique(out['class']).tolist())
    return found if len(found) == 1 else found | {row.klass for row in bundle.calibration.rows}


def floor(calibration: Calibration, step_seconds: float, classes: Iterable[int]) -> float:
    """The lowest budget, in alarms per entity-week, that was measured at a step for each of these classes.

    Class 0 is always among them: it is that of an entity before the first output of the graph.
    """
    return max(calibration.row(klass, step_seconds).alarms_per_entity_week[-1] for klass in {0, *classes})


def ceiling(calibration: Calibration, step_seconds: float, classes: Iterable[int]) -> float:
    """The largest budget, likewise, that the tables of these classes have. Whatever is larger has the same threshold."""
    return max(calibration.row(klass, step_seconds).alarms_per_entity_week[0] for klass in classes)


def check(calibration: Calibration, alarms_per_week: float, step_seconds: float, classes: Iterable[int]) -> None:
    """BudgetError if a budget is below what was measured for one of these classes; it names the one floor that holds for all of them."""
    lowest = floor(calibration, step_seconds, classes)
    if alarms_per_week < lowest:
        raise BudgetError(
            f'a budget of {alarms_per_week:.3g} alarms per entity-week is below what the calibration was measured for: '
            f'the floor is {rounded_up(lowest)} per entity-week at a step of {step_seconds:g} s'
        )


def rounded_up(number: float) -> str:
    """Three digits that are no less than the number: whoever takes the floor that a message names must not be refused again.

    >>> rounded_up(0.11451), rounded_up(0.1), rounded_up(20.0), rounded_up(0.00067)
    ('0.115', '0.1', '20', '0.00067')
    """
    digits = 2 - math.floor(math.log10(number))
    return f'{math.ceil(number * 10**digits - 1e-9) / 10**digits:.3g}'
