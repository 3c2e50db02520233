"""Which budgets of false alarms a detector can have: those that the calibration was measured for, in the classes that its entities can have.

Who calls it: detector, `check-config`. One feature and many features alarm at different surprises, so the calibration has rows by class. The
graph itself says the class, in its output `class`, so it is asked: it runs for some rows with as many features as the detector has. Where
these rows get different classes, the class depends on the samples, and any class of the calibration may come.

A budget below the tables is refused, for they are not extrapolated. One above them is judged as the largest that they have.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from promlstm.engine.bundle import Calibration
from promlstm.engine.columns import Floats, Tensors
from promlstm.engine.session import Session

SAMPLES = (np.nan, 0.0, 1.0, -1e12, 1e12)  # one row each
STEPS = 3  # a class may follow from what is remembered
QUIET_STEPS, STRUCK_STEPS = 20, 15  # a surprise adds up over some steps in a row


def possible_classes(session: Session, features: int) -> frozenset[int]:
    """The classes that an entity with this many features can have; {0} where the model does not say."""
    bundle = session.bundle
    if 'class' not in bundle.outputs:
        return frozenset({0})
    rows, found = np.repeat(np.array(SAMPLES)[:, None], features, axis=1), frozenset[int]()
    for out in _outputs(session, np.repeat(rows[None], STEPS, axis=0), bundle.manifest.step_seconds[0]):
        found |= frozenset(np.unique(out['class']).tolist())
    return found if len(found) == 1 else found | {row.klass for row in bundle.calibration.rows}


def largest_surprise(session: Session, features: int, step_seconds: float) -> float:
    """The surprise of samples that no series has, ±1e12 after noise around 10: about the most that the model can give for anything."""
    quiet = 10 + np.random.default_rng(0).normal(size=(session.bundle.manifest.warmup_steps + QUIET_STEPS, 2, features))
    struck = np.broadcast_to(np.array([1e12, -1e12])[None, :, None], (STRUCK_STEPS, 2, features))
    surprises = [out['surprise'] for out in _outputs(session, np.concatenate([quiet, struck]), step_seconds, learning_steps=len(quiet))]
    return float(np.nanmax(surprises[len(quiet) :], initial=0.0))


def _outputs(session: Session, values: Floats, step_seconds: float, learning_steps: int | None = None) -> Iterator[Tensors]:
    """What a graph gives for samples of entities that it has never met: values float64 [T, N, F]; it learns from the first steps only (None = all)."""
    steps, rows, features = values.shape
    manifest, state = session.bundle.manifest, session.blank(rows, features)
    horizons, slots = len(manifest.season_horizons_steps), sum(len(table.reads) for table in manifest.tables)
    for step in range(steps):
        inputs: Tensors = {
            'value': values[step],
            'season': np.full((rows, features, 1 + horizons), np.nan),
            'table': np.zeros((rows, features, slots)),
            'local_seconds': np.full(rows, step * step_seconds),
            'clock': np.zeros((rows, 4), np.float32),
            'step_seconds': np.array(step_seconds, np.float32),
            'learn': np.full(rows, learning_steps is None or step < learning_steps, np.float32),
            'threshold': np.ones(rows, np.float32),
        }
        out, state = session.run(inputs, state)
        yield out


def floor(calibration: Calibration, step_seconds: float, classes: Iterable[int]) -> float:
    """The lowest budget, in alarms per entity-week, that was measured at a step for each of these classes.

    Class 0 is always among them: it is that of an entity before the first output of the graph.
    """
    return calibration.floor(step_seconds, {0, *classes})


def check(calibration: Calibration, alarms_per_week: float, step_seconds: float, classes: Iterable[int]) -> None:
    """BudgetError if a budget is below what was measured for one of these classes; it names the one floor that holds for all of them."""
    calibration.check_budget(alarms_per_week, step_seconds, {0, *classes})
