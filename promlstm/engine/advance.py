"""One step as a pure function: what memory and samples give, judged first and learnt then.

    recall    the seasonal memory for this instant         season.py
    judge     the graph: surprise first, then learning     session.py
    score     budget, policy, latch                        score.py, latch.py
    remember  the slot of the seasonal memory              season.py

Who calls it: detector (live steps, replays), coarse, convert.evaluation. What flows through: a Frame and a Memory in, Verdicts and the Memory after
the step out; nothing that is given is changed. It asks nobody for samples and knows no labels.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np

from promlstm.engine import score as scoring
from promlstm.engine import season as seasonal
from promlstm.engine.bundle import Calibration
from promlstm.engine.columns import MISSING, READY, WARMING, Bools, Floats32, Frame, Ints, Tensors, Verdicts
from promlstm.engine.interfaces import DetectorConfig, Stage
from promlstm.engine.latch import Latch, apply_latch
from promlstm.engine.memory import Memory
from promlstm.engine.score import Policy
from promlstm.engine.session import Session

SETTLE_STEPS = 20  # a model looks back 15 steps at most; until then the end of an incident surprises it
HOLD_SECONDS, HOLD_STEPS = 3600.0, 15  # default hold time, whichever is longer: an hour is only one step of an hourly detector
UTC = ZoneInfo('UTC')
DEFAULT_POLICY = Policy()
NOMINAL_THRESHOLD = np.float32(2.4)  # about one alarm a week on labelled telemetry: gives the band if there is no budget


@dataclass(frozen=True, slots=True)
class Settings:
    """What stays the same from step to step.

    zone             for the clock and the seasonal memory
    alarms_per_week  budget of one entity; None = no budget: `threshold` gives the score, without it there is only surprise
    threshold        the surprise at which the score is 1, instead of a budget
    largest_surprise that the model can give: bounds what alarms add to a threshold
    """

    step_seconds: float
    zone: ZoneInfo = UTC
    policy: Policy = DEFAULT_POLICY
    alarms_per_week: float | None = None
    threshold: float | None = None
    largest_surprise: float = math.inf

    @classmethod
    def of(cls, config: DetectorConfig) -> Self:
        """The settings of a configured detector, without the budget, which may be shared among its entities."""
        hold = max(HOLD_SECONDS, HOLD_STEPS * config.step) if config.hold is None else config.hold
        settle = SETTLE_STEPS * config.step
        policy = Policy(config.direction, config.min_deviation, config.min_relative_deviation, config.range, hold, settle)
        return cls(config.step, ZoneInfo(config.timezone), policy)

    def thresholds(self, calibration: Calibration, classes: Ints) -> Floats32:
        """float32 [N]: the surprise at which each entity's score is 1; BudgetError if it is not in the calibration."""
        if self.alarms_per_week is None:
            return np.full(len(classes), self.threshold or NOMINAL_THRESHOLD, np.float32)
        out, missing = np.empty(len(classes), np.float32), np.ones(len(classes), np.bool_)
        while missing.any():  # once, as a rule: entities of a detector have as many features
            klass = classes[missing.argmax()]
            out[classes == klass] = calibration.threshold(self.alarms_per_week, step_seconds=self.step_seconds, klass=int(klass))
            missing &= classes != klass
        return out


@contextmanager
def no_stage(_name: str) -> Iterator[None]:
    """A stage that nobody watches."""
    yield


def advance(
    session: Session, settings: Settings, memory: Memory, frame: Frame, stage: Stage = no_stage, wait_seconds: float = 0.0
) -> tuple[Verdicts, Memory]:
    """One step: judge first, then learn.

    frame    N entities; memory has as many rows
    stage    called with the name of each stage, gives a context manager to run it in
    wait_seconds  for other detectors, whose rows are run with these, see Session.run_together
    returns  (verdicts, memory after the step)
    """
    observed = frame.values
    with stage('recall'):
        horizons = session.bundle.manifest.season_horizons_steps
        recalled = memory.season.recall(frame.time, horizons, settings.step_seconds)
        local_seconds = seasonal.local_seconds(frame.time, settings.zone)
        table = memory.tables.recall(local_seconds)
    with stage('judge'):
        threshold, tolerance = settings.thresholds(session.bundle.calibration, memory.klass), memory.tolerance
        if tolerance is not None:
            tolerance = tolerance.after(frame.time, memory.alarm, memory.latch.alarms, settings.step_seconds)
            threshold = tolerance.raised(threshold, frame.time, settings.largest_surprise)
        accepted = memory.latch.expires(frame.time, settings.policy, observed)
        inputs: Tensors = {
            'value': observed,
            'season': recalled,
            'table': table,
            'local_seconds': np.broadcast_to(local_seconds, len(observed)),
            'clock': np.broadcast_to(seasonal.clock(frame.time, settings.zone), (len(observed), 4)),
            'step_seconds': np.array(settings.step_seconds, np.float32),
            'learn': np.where(accepted, np.float32(2), ~memory.latch.held),
            'threshold': threshold,
        }
        out, state = _run(session, inputs, memory.state, settings.policy.invalid(observed), wait_seconds)
        del inputs, table
    with stage('score'):
        scores, latch, shown = _score(settings, memory.latch, frame, threshold, out)
        alarm = memory.alarm.after(frame.time, scores, settings.step_seconds)
    with stage('remember'):
        season = memory.season.remember(frame.time, out['season_next'], recalled[..., 0], accepted)
        tables = memory.tables.remember(local_seconds, out['table_next']) if memory.tables.specs else memory.tables
        recent = memory.recent and memory.recent.after(frame.time, np.where(settings.policy.invalid(observed), np.nan, observed))
    judged = np.where(np.isnan(out['surprise']), WARMING, READY)
    verdicts = Verdicts(
        time=frame.time,
        status=np.where(np.isnan(observed).all(axis=1), MISSING, judged).astype(np.int8),
        score=scores,
        surprise=out['surprise'],
        observed=observed,
        since=np.where(scores >= 1, alarm.since, np.nan),
        recurring=out.get('recurring', np.zeros(len(observed), np.float32)),
        partial=frame.partial,
        **shown,
    )
    return verdicts, Memory(state, season, tables, latch, alarm, out.get('class', memory.klass), tolerance, recent)


def _run(session: Session, inputs: Tensors, state: Tensors, invalid: Bools, wait_seconds: float) -> tuple[Tensors, Tensors]:
    """Outputs and next states of the graph, which judges every sample but learns only from those inside the valid range.

    invalid  bool [N, F]: samples outside the valid range

    Even a model that judges without learning keeps the sample among its last ones. So the states come from a run in which the invalid samples
    are missing, and the outputs of their rows from a second run with the samples as they are, whose states are dropped.
    """
    if not invalid.any():
        return session.run_together(inputs, state, wait_seconds)
    out, after = session.run_together(inputs | {'value': np.where(invalid, np.nan, inputs['value'])}, state, wait_seconds)
    rows = np.flatnonzero(invalid.any(axis=1))
    of_rows = {name: array[rows] if array.ndim else array for name, array in inputs.items()}
    judged, _ = session.run(of_rows, {name: array[rows] for name, array in state.items()})
    for name in judged.keys() - {'season_next', 'table_next', 'class'}:
        out[name][rows] = judged[name]
    return out, after


def _score(settings: Settings, latch: Latch, frame: Frame, threshold: Floats32, out: Tensors) -> tuple[Floats32, Latch, Tensors]:
    """The score, the latch after the sample, and the columns of Verdicts that explain the score: {name: column}."""
    observed, policy = frame.values, settings.policy
    model = {name: out[name] for name in ('expected', 'lower', 'upper', 'deviation', 'contribution')}
    model['view'] = out.get('view', np.empty((len(observed), 0), np.float32))
    usual: Tensors = {name: out[name] if name in out else np.full(observed.shape, np.nan) for name in ('usual_lower', 'usual_upper')}
    if settings.alarms_per_week is None and settings.threshold is None:
        return np.full(len(threshold), np.nan, np.float32), latch, model | usual
    raw = scoring.score(out['surprise'], threshold)
    deviations = {name: model[name] for name in ('expected', 'deviation', 'contribution')}
    scores = scoring.apply_policy(raw, policy, observed=observed, **deviations)
    scores, after, by_latch = apply_latch(latch, policy, frame.time, scores, raw=raw, observed=observed, **model)
    return scores, after, latch.explained(frame.time, policy, observed, by_latch, model | usual, after.blame())


def replay(session: Session, settings: Settings, memory: Memory, frames: Iterable[Frame]) -> Iterator[tuple[Verdicts, Memory]]:
    """Many steps in time order; yields verdicts and memory after each. A frame may have more entities than the one before."""
    for frame in frames:
        verdicts, memory = advance(session, settings, memory.grown(session, len(frame.values)), frame)
        yield verdicts, memory
