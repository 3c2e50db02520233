"""One step of a detector, and the replay of many: the only file that knows the order of the stages.

    query     the newest sample of every series            promlstm.query, entities.py
    place     which row each belongs to; who arrives       entities.py
    recall    what the season says of this instant         season.py
    judge     the graph: surprise first, then learning     session.py
    score     budget, policy, latch                        score.py
    remember  the season's slot                            season.py
    commit    all memory at once                           the caller, when it has done with the columns what it has to do

`step` changes nothing: it returns columns and what memory would be. `commit` cannot fail half-way. So a stage that raises leaves memory as
it was, and so does a caller that fails to render the columns. Live steps, warm start, catch-up after a gap and backtest all go through
`advance`; a replay commits each of its steps itself, since nobody renders them.

An entity that arrives while the detector runs has no past to ask for: the step before would have returned it. So history is asked at the
start and after a gap only, for all at once, and never for 100 000 entities because one pod is new.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from zoneinfo import ZoneInfo

import numpy as np

from promlstm.engine import history
from promlstm.engine import score as scoring
from promlstm.engine import season as seasonal
from promlstm.engine.columns import MISSING, READY, WARMING, Frame, Verdicts
from promlstm.engine.entities import Entities
from promlstm.engine.memory import Memory, blank
from promlstm.errors import BundleError, PromlstmError, StageError

HOLD_SECONDS, HOLD_STEPS = 3600.0, 15  # how long an alarm is held, whichever is longer: an hour would be one step of an hourly detector
SAMPLES_PER_SLOT = 6  # of coarse history, where the fleet is small enough
COARSE_POINTS = 4_000_000  # asked for at a warm start, at most; one sample per slot is always asked for
UTC = ZoneInfo('UTC')
EVERYTHING = scoring.Policy()
NOMINAL_THRESHOLD = np.float32(2.4)  # about one alarm a week on labelled telemetry: borders the band where no budget is asked for


@dataclass(frozen=True, slots=True)
class Settings:
    """What stays the same from step to step.

    alarms_per_week  budget of one entity; None = surprise only: no score, no latch
    threshold        surprise that counts as anomalous, instead of a budget
    """

    step_seconds: float
    zone: ZoneInfo = UTC
    policy: scoring.Policy = EVERYTHING
    alarms_per_week: float | None = None
    threshold: float | None = None

    @classmethod
    def of(cls, config):
        """The settings of a configured detector, but for the budget, which may be shared among its entities."""
        hold = max(HOLD_SECONDS, HOLD_STEPS * config.step) if config.hold is None else config.hold
        policy = scoring.Policy(config.direction, config.min_deviation, config.min_relative_deviation, config.range, hold)
        return cls(config.step, ZoneInfo(config.timezone), policy)

    def thresholds(self, calibration, classes):
        """float32 [N]: the surprise at which each entity's score is 1; BudgetError where the calibration does not say."""
        if self.alarms_per_week is None:
            return np.full(len(classes), self.threshold or NOMINAL_THRESHOLD, np.float32)
        out = np.empty(len(classes), np.float32)
        for klass in np.unique(classes):
            out[classes == klass] = calibration.threshold(self.alarms_per_week, step_seconds=self.step_seconds, klass=int(klass))
        return out


@contextmanager
def _no_stage(_stage):
    yield


def advance(session, settings, memory, frame, stage=_no_stage):
    """One step: judge first, then learn.

    frame    Frame of N entities; memory has as many rows
    stage    called with the name of each stage, gives a context manager to run it in
    returns  (Verdicts, Memory after the step)
    """
    observed = frame.values
    with stage('recall'):
        horizons = session.bundle.manifest.season_horizons_steps
        recalled = memory.season.recall(frame.time, horizons, settings.step_seconds)
    with stage('judge'):
        threshold = settings.thresholds(session.bundle.calibration, memory.klass)
        accepted = memory.latch.expires(frame.time, settings.policy, observed)
        inputs = {
            'value': observed, 'season': recalled, 'clock': np.tile(seasonal.clock(frame.time, settings.zone), (len(observed), 1)),
            'step_seconds': np.float32(settings.step_seconds), 'learn': np.where(accepted, np.float32(2), ~memory.latch.held), 'threshold': threshold,
        }  # fmt: skip
        out, state = _run(session, inputs, memory.state, settings.policy.invalid(observed))
    with stage('score'):
        scores, latch = _score(settings, memory.latch, frame, threshold, out)
        alarm = memory.alarm.after(frame.time, scores, settings.step_seconds)
    with stage('remember'):
        season = memory.season.remember(frame.time, out['season_next'], recalled[..., 0], accepted)
    none = np.isnan(observed).all(axis=1)
    verdicts = Verdicts(
        time=frame.time, status=np.where(none, MISSING, np.where(np.isnan(out['surprise']), WARMING, READY)).astype(np.int8), score=scores,
        surprise=out['surprise'], observed=observed, expected=out['expected'], lower=out['lower'], upper=out['upper'], deviation=out['deviation'],
        contribution=out['contribution'], view=out.get('view', np.empty((len(observed), 0), np.float32)),
        since=np.where(scores >= 1, alarm.since, np.nan),
    )  # fmt: skip
    return verdicts, Memory(state, season, latch, alarm, out.get('class', memory.klass))


def _run(session, inputs, state, invalid):
    """Outputs and next state of the graph, which judges every sample and learns from those inside the valid range only.

    invalid  bool [N, F]: samples outside the valid range. To the memory they are missing samples: a model that judges without learning still
             keeps the sample among its last ones. So their rows are judged once more as they are, and that state is dropped.
    """
    if not invalid.any():
        return session.run(inputs, state)
    out, after = session.run(inputs | {'value': np.where(invalid, np.nan, inputs['value'])}, state)
    rows = np.flatnonzero(invalid.any(axis=1))
    some = {name: array[rows] if np.ndim(array) else array for name, array in inputs.items()}
    judged, _ = session.run(some, {name: array[rows] for name, array in state.items()})
    for name in judged.keys() - {'season_next', 'class'}:
        out[name][rows] = judged[name]
    return out, after


def _score(settings, latch, frame, threshold, out):
    if settings.alarms_per_week is None and settings.threshold is None:
        return np.full(len(threshold), np.nan, np.float32), latch
    common = {name: out[name] for name in ('expected', 'contribution')} | {'observed': frame.values}
    scores = scoring.apply_policy(scoring.score(out['surprise'], threshold), settings.policy, deviation=out['deviation'], **common)
    return scoring.apply_latch(latch, settings.policy, frame.time, scores, lower=out['lower'], upper=out['upper'], **common)


def replay(session, settings, memory, frames):
    """Many steps in time order; yields (Verdicts, Memory) after each. A frame may bring entities that the one before had not."""
    for frame in frames:
        verdicts, memory = advance(session, settings, memory.grown(session, len(frame.values)), frame)
        yield verdicts, memory


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A step that was computed and not committed.

    verdicts    Verdicts of N entities
    missing     bool [N]: entities whose absence is worth an alert
    identities  N label sets, as labels.identity gives them
    memory      Memory after the step; placement, infinite: what else `commit` needs
    """

    verdicts: Verdicts
    missing: np.ndarray
    identities: list
    memory: Memory
    placement: object
    infinite: int


@dataclass(slots=True)
class Tally:
    """What a detector counts until telemetry takes it, which sets warnings and infinite back to 0."""

    warnings: int = 0
    infinite: int = 0
    dropped: int = 0  # entities over the limit at the last step
    last_warning: str = ''


@dataclass(slots=True)
class Detector:
    """A configured detector with its memory. One thread at a time may call it.

    stage  called with the name of each stage, gives a context manager to run it in: times it, names it when it fails
    """

    config: object
    session: object
    source: object
    stage: object = _no_stage
    run_queries: object = map  # how to run the queries of several features: a pool's map, or one after the other
    entities: Entities = None
    memory: Memory = None
    time: float | None = None  # the last committed step
    tally: Tally = field(default_factory=Tally)
    _settings: Settings = None

    def __post_init__(self):
        config, manifest = self.config, self.session.bundle.manifest
        low, high = manifest.step_seconds
        if not low <= config.step <= high:
            raise BundleError(f'model {manifest.name} is made for steps of {low:g} to {high:g} s, the detector has {config.step:g} s')
        if manifest.features is not None and len(config.queries) != len(manifest.features):
            raise BundleError(
                f'model {manifest.name} is made for the features {", ".join(manifest.features)}, the detector has {len(config.queries)}'
            )
        self._settings = Settings.of(config)
        calibration = self.session.bundle.calibration
        for klass in sorted({row.klass for row in calibration.rows} | {0}):  # else the step at which an entity becomes of that class fails
            calibration.threshold(self.settings(1).alarms_per_week, step_seconds=config.step, klass=klass)
        self.forget_all()

    def forget_all(self):
        """Back to blank memory, as at the start."""
        config = self.config
        self.entities = Entities(len(config.queries), config.by or None, config.max_entities)
        self.memory = blank(self.session, self._settings.zone, 0, len(config.queries))
        self.time = None

    def with_session(self, session):
        """This detector with another model: with all that it remembers where the model remembers the same things, blank otherwise.

        raises  BundleError  where the model does not suit the detector; this one is not changed
        """
        new = Detector(self.config, session, self.source, self.stage, self.run_queries, tally=self.tally)
        if _memory_layout(self.session) == _memory_layout(session):
            new.entities, new.memory, new.time = self.entities, self.memory, self.time
        return new

    def settings(self, entities):
        """The settings with the budget of one entity; where a shared budget falls below the calibration's floor, the floor."""
        budget = self.config.false_alarms
        wanted = budget.per_entity_week(entities)
        if budget.shared:
            wanted = max(wanted, self.session.bundle.calibration.floor(self.config.step))
        return replace(self._settings, alarms_per_week=wanted)

    def step(self, time):
        """Query and judge the step at an aligned instant; nothing is changed until `commit` is called with it.

        returns  Step
        raises   StageError
        """
        with self.in_stage('query'):
            answers = self._query(time)
        with self.in_stage('place'):
            placement = self.entities.place([vector.keys for vector in answers])
            values = self.entities.scatter(placement, [vector.values for vector in answers])
            infinite = int(np.isinf(values).sum())
            frame = Frame(time, np.where(np.isinf(values), np.nan, values) if infinite else values)
            memory = self.memory.grown(self.session, len(values))
        verdicts, memory = advance(self.session, self.settings(_present(frame)), memory, frame, self.in_stage)
        known = self.entities.identities
        identities = known + placement.arrivals if placement.arrivals else known
        return Step(verdicts, self.missing(verdicts), identities, memory, placement, infinite)

    def commit(self, step):
        """Put what a step left in the place of what was there before."""
        verdicts = step.verdicts
        self.entities.commit(step.placement, verdicts.time)
        self.memory, self.time = step.memory, verdicts.time
        self.entities.mark_seen(verdicts.status != MISSING, verdicts.time)
        self.tally.infinite += step.infinite
        self.tally.dropped = step.placement.dropped

    @contextmanager
    def in_stage(self, name):
        """Run a stage; whatever it raises becomes a StageError that names it."""
        try:
            with self.stage(name):
                yield
        except Exception as error:
            raise StageError(self.config.name, name, error) from error

    def _query(self, time):
        at = time - self.config.delay
        answers = list(self.run_queries(lambda expr: self.source.instant(expr, at), self.config.queries.values()))
        self._warn([text for vector in answers for text in vector.warnings])
        return answers

    def _warn(self, warnings):
        self.tally.warnings += len(warnings)
        if warnings:
            self.tally.last_warning = warnings[0]

    def missing(self, verdicts):
        """bool [N]: entities to report as missing; arrivals, beyond the table's end, never are."""
        missing = np.zeros(len(verdicts.status), bool)
        if self.config.missing == 'alert':
            known = len(self.entities)
            missing[:known] = self.entities.established() & ~self.forgettable(verdicts.time) & (verdicts.status[:known] == MISSING)
        return missing

    def forgettable(self, time):
        """bool [N]: entities that have been absent for longer than `forget`."""
        return self.entities.forgettable(time, self.config.forget, 3 * self.config.step)

    def warm(self, now):
        """Start from history: fill the seasonal memory, then replay until the present; a generator, one step or request at a time.

        now      callable, unix seconds: the present moves on while the past is replayed
        yields   (steps done, steps to do, Verdicts of the step or None)
        raises   SourceError, SeriesError; the memory is blank then
        """
        self.forget_all()
        config, manifest = self.config, self.session.bundle.manifest
        end = history.aligned(now(), config.step)
        count = len(self.source.instant(next(iter(config.queries.values())), end - config.delay).keys)
        start = end - (manifest.replay_steps - 1) * config.step
        season = self.memory.season
        for season in self._fill(start, count):  # noqa: B007 (the last one is kept)
            yield 0, manifest.replay_steps, None
        known = blank(self.session, self._settings.zone, len(self.entities), self.entities.features)
        self.memory = replace(known, season=season.grown(len(self.entities)))
        yield from self._replay(start, now, count)

    def replay(self, start, end):
        """Replay the steps from start to end (aligned, both included); a generator as `warm`."""
        yield from self._replay(start, lambda: end, len(self.entities))

    def _fill(self, end, series):
        """The seasonal memory of the coarse past up to `end`, request by request."""
        config, manifest = self.config, self.session.bundle.manifest
        if not manifest.season_period_seconds or not config.history:
            return
        slot = manifest.season_period_seconds / manifest.season_slots
        coarse = max(config.step, slot / min(SAMPLES_PER_SLOT, max(1, COARSE_POINTS * slot // (config.history * max(1, series)))))
        first, last = history.aligned(end - config.history, slot), history.aligned(end - 1, coarse)
        past = history.frames(self.source, config, self.entities, first, last, step=coarse, rows=series, warn=self._warn)
        season = self.memory.season
        for _, visit in groupby((frame for frame, _ in past), key=lambda frame: season.slot(frame.time)):
            visit = list(visit)
            rows = len(visit[-1].values)
            for frame in visit:
                self._mark_seen(frame)
            values = np.stack([seasonal.padded(frame.values, rows) for frame in visit])
            valid = np.where(self._settings.policy.invalid(values), np.nan, values)
            season = season.grown(rows).fill([frame.time for frame in visit], valid)
            yield season

    def _replay(self, start, now, series):
        """Replay from `start` until the present has been reached."""
        step = self.config.step
        while (end := history.aligned(now(), step)) >= start - step / 2:
            total = round((end - start) / step) + 1
            for done, (frame, infinite) in enumerate(
                history.frames(self.source, self.config, self.entities, start, end, rows=series, warn=self._warn)
            ):
                memory = self.memory.grown(self.session, len(frame.values))
                verdicts, self.memory = advance(self.session, self.settings(_present(frame)), memory, frame)
                self.time = frame.time
                self._mark_seen(frame)
                self.tally.infinite += infinite
                yield done + 1, total, verdicts
            start = end + step

    def _mark_seen(self, frame):
        present = np.zeros(len(self.entities), bool)
        present[: len(frame.values)] = ~np.isnan(frame.values).all(axis=1)
        self.entities.mark_seen(present, frame.time)

    def catch_up(self, time):
        """Replay the steps that were missed before an aligned instant; a generator as `warm`. Each step is a commit of its own."""
        if self.time is not None and time - self.time > 1.5 * self.config.step:
            yield from self.replay(self.time + self.config.step, time - self.config.step)

    def forget(self):
        """Drop the rows of entities that have been absent for long; returns how many. Costs a copy, so not for a few."""
        gone = self.forgettable(self.time)
        if gone.sum() < max(1, len(gone) // 8):
            return 0
        kept = np.flatnonzero(~gone)
        self.entities, self.memory = self.entities.keep(kept), self.memory.take(kept)
        return int(gone.sum())


def _memory_layout(session):
    """What the memory of a model's entities is made of."""
    manifest = session.bundle.manifest
    return manifest.family, session.bundle.states, manifest.season_period_seconds, manifest.season_slots


def _present(frame):
    return int((~np.isnan(frame.values).all(axis=1)).sum())


def describe(error):
    """The cause of a failed step in one line, for logs and readiness."""
    return str(error) if isinstance(error, PromlstmError) else f'{type(error).__name__}: {error}'
