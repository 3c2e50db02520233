"""One step of a detector, and the replay of many: the only file that knows the order of the stages.

    query     the newest sample of every series            promlstm.query, entities.py
    place     the row of each series; new entities         entities.py
    advance   recall, judge, score, remember               advance.py, which changes nothing
    commit    all memory at once                           the caller, after it has used the columns

`step` changes nothing: it returns columns and the memory as it would be afterwards. `commit` cannot fail half-way. So memory stays as it was
if a stage fails, or if the caller cannot render the columns. Live steps, warm start, catch-up after a gap and backtest all go through
`advance`; a replay commits each of its steps itself, because they are not rendered.

An entity that appears while the detector runs has no history: otherwise the step before would have returned it. So history is queried at the
start and after a gap only, for all entities at once, and never because one pod is new.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from promlstm.engine import budget, coarse, history, snapshot
from promlstm.engine.advance import Settings, advance, no_stage
from promlstm.engine.bundle import Tensor
from promlstm.engine.columns import MISSING, Bools, Floats, Frame, Ints, Tensors, Verdicts
from promlstm.engine.entities import Entities, Placement
from promlstm.engine.interfaces import DetectorConfig, RunQueries, Source, Stage, Vector
from promlstm.engine.memory import Memory, blank
from promlstm.engine.presence import Presence
from promlstm.engine.session import Session
from promlstm.engine.snapshot import Snapshot, Specs
from promlstm.engine.tally import Tally
from promlstm.errors import BundleError, StageError

Progress = tuple[int, int, Verdicts | None]  # of a replay: steps done, steps in all, verdicts of the step if it was judged


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A step that was computed but not committed.

    verdicts    of N entities
    missing     bool [N]: entities whose absence is worth an alert
    identities  N label sets, as labels.identity gives them
    memory      after the step
    placement   rows of the series, and new entities
    infinite    number of ±Inf samples, which count as missing
    sampled     bool [N]: entities with a sample in the answer
    """

    verdicts: Verdicts
    missing: Bools
    identities: list[bytes]
    memory: Memory
    placement: Placement
    infinite: int
    sampled: Bools


@dataclass(slots=True)
class Detector:
    """A configured detector with its memory. One thread at a time may call it.

    stage        called with the name of each stage, gives a context manager to run it in, such as one that measures its time
    run_queries  runs the queries of several features: the `map` of a thread pool, or `map` for one after the other
    time         the last committed step, unix seconds; None = blank memory
    """

    config: DetectorConfig
    session: Session
    source: Source
    stage: Stage = no_stage
    run_queries: RunQueries = map
    tally: Tally = field(default_factory=Tally)
    entities: Entities = field(init=False)
    memory: Memory = field(init=False)
    time: float | None = field(init=False, default=None)
    _partial: bool = field(init=False, default=False)  # the last step, live or replayed
    _settings: Settings = field(init=False)
    _classes: frozenset[int] = field(init=False)  # of the calibration, that the entities can have

    def __post_init__(self) -> None:
        config, manifest = self.config, self.session.bundle.manifest
        low, high = manifest.step_seconds
        if not low <= config.step <= high:
            raise BundleError(f'model {manifest.name} is made for steps of {low:g} to {high:g} s, the detector has {config.step:g} s')
        if manifest.features is not None and len(config.queries) != len(manifest.features):
            raise BundleError(
                f'model {manifest.name} is made for the features {", ".join(manifest.features)}, the detector has {len(config.queries)}'
            )
        self._settings = Settings.of(config)
        if config.noisy == 'tolerate':
            self._settings = replace(self._settings, largest_surprise=budget.largest_surprise(self.session, len(config.queries), config.step))
        self._classes = budget.possible_classes(self.session, len(config.queries))
        budget.check(self.session.bundle.calibration, self.alarms_per_entity_week(1), config.step, self._classes)
        self.forget_all()

    def forget_all(self) -> None:
        """Make the memory blank, as at the start."""
        self.entities = self._table()
        self.memory = self._blank(0)
        self.time = None

    def _blank(self, rows: int) -> Memory:
        """The memory of so many entities that were never seen."""
        config = self.config
        return blank(self.session, self._settings.zone, rows, len(config.queries), tolerant=config.noisy == 'tolerate', forecast=config.forecast is not None)

    def _table(self) -> Entities:
        """A table without entities."""
        config = self.config
        presence = Presence.blank(self._settings.zone, config.step)
        return Entities(len(config.queries), config.by or None, config.max_entities, presence)

    def snapshot(self, verdicts: Verdicts) -> Snapshot:
        """What is remembered after a committed step, with the verdicts of that step; it costs no copy."""
        assert self.time == verdicts.time
        entities = self.entities
        return Snapshot(verdicts.time, self.session.bundle.sha256, self.memory, entities.stored(), entities.identities, verdicts)

    def check(self, specs: Specs, entities: int) -> None:
        """CheckpointError unless columns of these dtypes and shapes can be what this detector remembers of so many entities."""
        features, manifest = len(self.config.queries), self.session.bundle.manifest
        snapshot.check(specs, entities, self._blank(0), self._table(), Verdicts.blank(features, len(manifest.views)))

    def restore(self, columns: Tensors, time: float) -> Verdicts:
        """Go on from the columns of a snapshot that passed `check`; gives the verdicts of its step.

        raises  CheckpointError, and then nothing has changed
        """
        self.memory, self.entities, verdicts = snapshot.restored(columns, time, self._blank(0), self._table())
        self.time, self._partial = time, verdicts.partial
        return verdicts

    def with_session(self, session: Session) -> 'Detector':
        """A detector with another model. It has the same memory if the models have the same states, blank memory otherwise.

        raises  BundleError  if the model does not suit the configuration
        """
        new = Detector(self.config, session, self.source, self.stage, self.run_queries, tally=self.tally)
        if _memory_layout(self.session) == _memory_layout(session):
            new.entities, new.memory, new.time = self.entities, self.memory, self.time
        return new

    def alarms_per_entity_week(self, entities: int) -> float:
        """The budget of one entity that is judged by: no more than the largest of the calibration. A shared one is no less than its lowest."""
        asked, calibration, step = self.config.false_alarms, self.session.bundle.calibration, self.config.step
        wanted = min(asked.per_entity_week(entities), calibration.ceiling(step, self._classes))
        return max(wanted, budget.floor(calibration, step, self._classes)) if asked.shared else wanted

    def settings(self, entities: int) -> Settings:
        """The settings when so many entities share the budget."""
        return replace(self._settings, alarms_per_week=self.alarms_per_entity_week(entities))

    def step(self, time: float, wait_seconds: float = 0.0) -> Step:
        """Query and judge the step at an aligned instant; nothing is changed until `commit` is called with it.

        wait_seconds  for other detectors, see advance
        raises  StageError
        """
        with self.in_stage('query'):
            answers = self._query(time)
        with self.in_stage('place'):
            placement = self.entities.place([vector.keys for vector in answers])
            values = self.entities.scatter(placement, [vector.values for vector in answers])
            infinite = int(np.isinf(values).sum())
            partial = any(vector.partial for vector in answers)
            del answers  # the labels of a million series are a few hundred megabytes, and the table has them
            frame, sampled = self._completed(Frame(time, np.where(np.isinf(values), np.nan, values) if infinite else values, partial))
            memory = self.memory.grown(self.session, len(values))
        verdicts, memory = advance(self.session, self.settings(_count_present(frame)), memory, frame, self.in_stage, wait_seconds)
        known = self.entities.identities
        identities = known + placement.arrivals if placement.arrivals else known
        return Step(verdicts, self.missing(verdicts), identities, memory, placement, infinite, sampled)

    def commit(self, step: Step) -> None:
        """Take over the memory of a step."""
        verdicts = step.verdicts
        self.entities.commit(step.placement, verdicts.time)
        self.memory, self.time = step.memory, verdicts.time
        self.entities.mark_seen(step.sampled, verdicts.time, partial=verdicts.partial)
        self._partial = verdicts.partial
        self.tally.unread += step.placement.unread
        self.tally.infinite += step.infinite
        self.tally.dropped = step.placement.dropped

    @contextmanager
    def in_stage(self, name: str) -> Iterator[None]:
        """Run a stage; any exception in it becomes a StageError with the name of the stage."""
        try:
            with self.stage(name):
                yield
        except Exception as error:
            raise StageError(self.config.name, name, error) from error

    def _query(self, time: float) -> list[Vector]:
        at = time - self.config.delay
        answers = list(self.run_queries(lambda expr: self.source.instant(expr, at), self.config.queries.values()))
        self.tally.note(answers)
        self.tally.series = max(len(vector.keys) for vector in answers)
        self.tally.nan += sum(int(np.isnan(vector.values).sum()) for vector in answers)
        self.tally.offset_seconds = max((vector.offset_seconds for vector in answers), key=abs, default=0.0)
        return answers

    def missing(self, verdicts: Verdicts) -> Bools:
        """bool [N]: entities to report as missing. New entities, which have no row in the table yet, are never missing."""
        missing = np.zeros(len(verdicts.status), bool)
        if self.config.missing == 'alert':
            present = verdicts.status[: len(self.entities)] != MISSING
            unusual = self.entities.missing(present, verdicts.time, partial=verdicts.partial)
            missing[: len(self.entities)] = unusual & ~self.forgettable(verdicts.time) if unusual.any() else unusual
        return missing

    def lost(self, missing: Bools) -> Floats:
        """float64 [N]: unix seconds of the first step without a sample of entities that are missing (bool [N]), after the commit; NaN = it is not."""
        return np.where(missing, self.entities.lost_since(self.config.step)[: len(missing)], np.nan)

    def count_part_time(self, verdicts: Verdicts) -> int:
        """How many of the table are absent at some time of most days, and are present now or reported as missing."""
        rows, part_time = len(self.entities), self.entities.presence.part_time
        if not part_time.any():
            return 0
        counted = (verdicts.status[:rows] != MISSING) | self.missing(verdicts)[:rows]
        return int((counted & part_time).sum())

    def absent(self, verdicts: Verdicts) -> Bools:
        """bool [N] of the table: entities without a sample that are not forgotten yet. A partial answer adds none, because it may lack series."""
        present = verdicts.status[: len(self.entities)] != MISSING
        absent = self.entities.absent_after(present, partial=verdicts.partial)
        return absent & ~self.forgettable(verdicts.time) if absent.any() else absent

    def forgettable(self, time: float) -> Bools:
        """bool [N]: entities that have been absent for long enough to be forgotten, see Entities.forgettable."""
        least = self.config.forget if self.config.absent == 'zero' else 3 * self.config.step  # a rare one is away for longer than it is there
        return self.entities.forgettable(time, self.config.forget, least)

    def warm(self, now: Callable[[], float]) -> Iterator[Progress]:
        """Start from history: fill the seasonal memory, then replay until the present; one step or request at a time.

        now      unix seconds: the present moves on during the replay; where the clock is set far ahead meanwhile it ends, and the next
                 start begins there: nobody waits for the years between
        raises   SourceError, SeriesError; the caller then makes the memory blank with `forget_all`
        """
        self.forget_all()
        config, manifest = self.config, self.session.bundle.manifest
        end = history.aligned(now(), config.step)
        count = self.tally.series = len(self.source.instant(next(iter(config.queries.values())), end - config.delay).keys)
        steps = manifest.steps_of_replay(config.step, count)
        start = end - (steps - 1) * config.step
        filled = self.memory
        for filled in self._filled(start, count):  # noqa: B007 (the last one is used)
            yield 0, steps, None
        rows = len(self.entities)
        recent = filled.recent and filled.recent.grown(rows)
        self.memory = replace(self._blank(rows), season=filled.season.grown(rows), tables=filled.tables.grown(rows), recent=recent)
        yield from self._replay(start, now, count, most=2 * steps, idle=True)

    def replay(self, start: float, end: float) -> Iterator[tuple[int, int, Verdicts]]:
        """Replay the steps from start to end (aligned, both included), one step at a time."""
        for done, total, verdicts in self._replay(start, lambda: end, len(self.entities), most=math.inf):
            assert verdicts is not None
            yield done, total, verdicts

    def _filled(self, end: float, series: int) -> Iterator[Memory]:
        """The memory after each slot of coarse history up to `end`; none where the model or the detector has no use for it."""
        config, manifest = self.config, self.session.bundle.manifest
        if not manifest.season_period_seconds or not config.history:
            return
        slot = manifest.season_period_seconds / manifest.season_slots
        every = coarse.interval(slot, config, series)
        first, last = history.aligned(end - config.history, slot), history.aligned(end - 1, every)
        past = history.frames(self.source, config, self.entities, first, last, step=every, rows=series, note=self.tally.note)
        yield from coarse.fill(self.session, self._settings, self.memory, (frame for frame, _ in past), every, self._seen)

    def _replay(self, start: float, now: Callable[[], float], series: int, *, most: float, idle: bool = False) -> Iterator[Progress]:
        """Replay from `start` until the present is reached, or is more than `most` steps away.

        idle  steps before the first sample of all, which change nothing, are not judged: a young server has minutes of history, and not days
        """
        step = self.config.step
        while (end := history.aligned(now(), step)) >= start - step / 2:
            total = round((end - start) / step) + 1
            if total > most:
                return
            frames = history.frames(self.source, self.config, self.entities, start, end, rows=series, note=self.tally.note)
            for done, (frame, infinite) in enumerate(frames):
                frame, verdicts = self._seen(frame), None
                idle = idle and bool(np.isnan(self.entities.first_seen).all())
                if not idle:
                    memory = self.memory.grown(self.session, len(frame.values))
                    verdicts, self.memory = advance(self.session, self.settings(_count_present(frame)), memory, frame)
                self.time = frame.time
                self.tally.infinite += infinite
                yield done + 1, total, verdicts
            start = end + step

    def _completed(self, frame: Frame) -> tuple[Frame, Bools]:
        """(a frame of an answer as it is judged, bool [N]: entities with a sample in the answer); this changes nothing.

        Where no series means zero, an entity that is known has a zero instead of no sample, from its first sample on until it is forgotten: a
        rule that looks at nothing but the samples up to the instant, so that live steps and replays agree. A partial answer lacks series that
        may be there, so its gaps stay.
        """
        sampled: Bools = np.asarray(~np.isnan(frame.values).all(axis=1))
        if self.config.absent != 'zero' or frame.partial:
            return frame, sampled
        known, rows = sampled.copy(), min(len(self.entities), len(sampled))
        known[:rows] |= (~np.isnan(self.entities.first_seen) & ~self.forgettable(frame.time))[:rows]
        return replace(frame, values=np.where(np.isnan(frame.values) & known[:, None], 0.0, frame.values)), sampled

    def _seen(self, frame: Frame) -> Frame:
        """A replayed frame as it is judged; who has a sample in it is noted."""
        completed, sampled = self._completed(frame)
        present = np.zeros(len(self.entities), bool)
        present[: len(sampled)] = sampled
        self.entities.mark_seen(present, frame.time, partial=frame.partial)
        self._partial = frame.partial
        return completed

    def catch_up(self, time: float) -> Iterator[tuple[int, int, Verdicts]]:
        """Replay the steps that were missed before an aligned instant, one at a time; each is committed."""
        if self.time is not None and time - self.time > 1.5 * self.config.step:
            yield from self.replay(self.time + self.config.step, time - self.config.step)

    def accept(self, rows: Ints) -> Memory:
        """Let the next sample of some entities (int [n]) be their new normal level; returns what was remembered of them, for `undo`."""
        before = self.memory.take(rows)
        self.memory = replace(self.memory, latch=self.memory.latch.opened(rows))
        return before

    def undo(self, rows: Ints, before: Memory) -> None:
        """Remember of some entities (int [n]) what `accept` returned: what was held then is held again."""
        self.memory = self.memory.put(rows, before)

    def forget(self) -> int:
        """Drop the rows of entities that have been absent for long; returns how many. It copies the memory, so not for a few rows."""
        if self.time is None or self._partial:  # entities that a partial answer lacks may still be there
            return 0
        gone = self.forgettable(self.time)
        if gone.sum() < max(1, len(gone) // 8):
            return 0
        kept = np.flatnonzero(~gone)
        self.entities, self.memory = self.entities.keep(kept), self.memory.take(kept)
        return int(gone.sum())


def _memory_layout(session: Session) -> tuple[str, dict[str, Tensor], int, int]:
    """What decides whether two models can use the same memory."""
    manifest = session.bundle.manifest
    return manifest.family, session.bundle.states, manifest.season_period_seconds, manifest.season_slots


def _count_present(frame: Frame) -> int:
    """How many entities have a sample."""
    return int((~np.isnan(frame.values).all(axis=1)).sum())
