"""One detector in its thread: warm up, step, catch up, publish; whatever fails is reported and tried again.

Who calls it: scheduler, one thread each. What flows through: aligned instants; out go blocks of text to the page and numbers to
telemetry. It renders the columns of a step before it commits the step, so that a step that cannot be rendered has changed nothing. It
never computes a score and never answers a scrape.

A step that fails takes its detector's gauges off the page at once and is counted; the steps missed meanwhile are replayed from history
before the next one, so that an outage of the source leaves no hole in the memory. The broad `except` of the project is here.
"""

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain
from typing import Any, Protocol

import numpy as np

from promlstm.config import Detector as DetectorConfig
from promlstm.config import Forecast
from promlstm.engine.columns import Bools, Verdicts
from promlstm.engine.detector import Detector
from promlstm.engine.history import aligned
from promlstm.engine.interfaces import RunQueries, Source
from promlstm.engine.session import Session
from promlstm.engine.snapshot import Snapshot
from promlstm.errors import PromlstmError, ResponseError, SourceUnavailable, StageError, describe
from promlstm.forecasts.model import Model
from promlstm.incidents.members import Origin
from promlstm.live.clock import SET_SECONDS, Clock, Stopping
from promlstm.live.facts import Server
from promlstm.live.feedback import Acceptance, Feedback
from promlstm.live.forecasts import PART, Forecasts
from promlstm.live.incidents import Gathering
from promlstm.live.relay import Blocks, Relay
from promlstm.live.report import Report
from promlstm.live.status import Status
from promlstm.live.storage import Restored, Storage
from promlstm.query.newest import last_returned
from promlstm.serve import exposition
from promlstm.serve.page import pack, text_bytes
from promlstm.serve.selection import select
from promlstm.terminal import duration

PROGRESS_SECONDS = 5.0
RETRY_SECONDS, RETRY_SECONDS_MAX = 1.0, 60.0  # a failed query is asked again after this, then after twice as long, up to the second
CORRECTED_STEPS = 1 / 60  # one that is set back by less than this share of a step leaves the scores where they are
AHEAD_SECONDS = 60.0  # a clock that is set ahead by less than this is not worth a line
FREED_STEPS = 2  # page, snapshot and watchers keep the rows that a step forgets until the step after it has taken its place
BACKWARDS_STEPS = 10  # if the clock moved back further than this, memory is rebuilt from history

Watch = Callable[[Detector, Verdicts, Bools], None]  # with which entities are missing, bool [N]


class Shared(Protocol):
    """What the detectors of a configuration share; Scheduler is one."""

    feedback: Feedback | None  # what silences say
    storage: Storage | None  # where memory is kept over a restart
    incidents: Gathering | None  # what alarms of all detectors belong together; None = nobody looks

    @property
    def run_queries(self) -> RunQueries:
        """Runs the queries of several features at once."""

    def session(self, config: DetectorConfig, root: str) -> Session:
        """The newest session of a detector's model file; BundleError where it cannot be used, Stopping where none was read before the end."""

    def forecaster(self, settings: Forecast, root: str) -> Model:
        """The newest model that forecasts for a detector; raises as `session`."""

    def spread_seconds(self, step: float) -> float:
        """Over how much of a step the requests of different detectors are sent apart."""

    def wait_seconds(self, step: float) -> float:
        """How long a detector of few entities waits for others, to be judged with them."""

    def collect_garbage(self, entities: int) -> None:
        """Called after each step, with the most entities that the detector had lately: those that it has just forgotten count, too."""


class Runner:
    """One detector in its thread.

    clock     its time; stopped when the detector is removed or replaced, or the exporter stops
    relay     its way to the page and to telemetry
    settings  that its memory depends on, see storage.settings
    watch     called with each step that is on the page, or None
    root      folder that the path of the model is relative to
    server    what is known of the source
    snapshot  of the last step, for the storage to write down; None = there is no storage, there was no step, or memory is being rebuilt
    """

    snapshot: Snapshot | None = None

    def __init__(
        self,
        config: DetectorConfig,
        source: Source,
        shared: Shared,
        clock: Clock,
        relay: Relay,
        settings: Mapping[str, str],
        watch: Watch | None,
        root: str,
        *,
        server: Server,
    ) -> None:
        self.config, self.settings, self._clock, self._telemetry = config, settings, clock, relay
        self._source, self._shared, self._root = source, shared, root
        self._relay, self._watch = relay, watch
        self._origin = Origin.of(config, ())
        self._report = Report(config, relay, server, self._last_returned)
        self._acceptance = Acceptance(config.name, self._report.count, self._report.log)
        self._forecasts = Forecasts(config, config.forecast, source, relay) if config.forecast else None
        self._detector: Detector | None = None  # until its model is loaded
        self._labels = exposition.Labels(config.name, tuple(config.queries))  # the text of the entities' labels
        self._rows: deque[int] = deque(maxlen=FREED_STEPS + 1)  # of memory after the last steps
        self._attempted = -np.inf  # the last aligned step that was tried
        self._failed_step, self._retries = -np.inf, 0  # the last aligned step that failed, and how often it was tried again
        # From 0 to 1; of many detectors, and of the parts of one on several shards, each has another.
        self._phase = zlib.crc32(repr((config.name, config.queries)).encode()) % 1000 / 1000
        self._slow = False
        self._drift = self._clock.drift()
        self._counted = -np.inf  # alarms that began up to this instant were counted by the process before
        self._refused = ''  # why the present model file is not the one in use

    @property
    def status(self) -> Status:
        """What the detector says of itself."""
        return self._report.status

    def _last_returned(self, expr: str) -> str:
        return last_returned(self._source, expr, self._clock.now(), self.config.delay)

    def run(self) -> None:
        """Step until the clock is stopped. A failed step is reported; a failed query is asked again within the step."""
        at = (due := aligned(self._clock.now(), self.config.step)) + self._spread()
        while self._clock.wait(at):
            retry_seconds = None
            if self._clock.now() >= due:
                try:
                    self._cycle(due)
                except Stopping:
                    return
                except Exception as error:  # noqa: BLE001 (the one broad catch: a detector never takes the exporter down)
                    retry_seconds = self._failed(due, error)
                self._attempted = max(due, self._detector.time if self._detector and self._detector.time else due)
                self._rows.append(len(self._detector.memory) if self._detector else 0)
                self._shared.collect_garbage(max(self._rows))
            following = self._next()
            at = following + self._spread()
            if retry_seconds is not None and self._clock.now() + retry_seconds < at:
                at = self._clock.now() + retry_seconds
            else:
                due = following

    def _spread(self) -> float:  # seconds after an aligned step at which its requests are sent; `time=` is the step all the same
        return self._shared.spread_seconds(self.config.step) * self._phase

    def _next(self) -> float:
        """The next aligned step: the one after the last, or the present one if that has long passed."""
        self._look_at_clock()
        step = self.config.step
        return max(self._attempted + step, aligned(self._clock.now(), step))

    def _look_at_clock(self) -> None:
        """Whether the clock was set since the last look, and what follows.

        A page of the future goes. So does one that would stay for longer than two steps, but not for a correction that is small beside the
        step. A jump of some steps is waited for; after a large one memory is rebuilt from history.
        """
        drift, step = self._clock.drift(), self.config.step
        moved, self._drift = drift - self._drift, drift
        ahead = self._attempted - self._clock.now()  # of the last step
        if moved > AHEAD_SECONDS:
            self._report.clock_moved_ahead(moved)
        if moved > -SET_SECONDS:
            return
        withdrawn, far = ahead > SET_SECONDS or -moved > CORRECTED_STEPS * step, ahead > BACKWARDS_STEPS * step
        if withdrawn:
            self._withdraw()
            if self._forecasts:
                self._forecasts.forget()
        if self._shared.incidents:
            self._shared.incidents.rewind(self.config.name)
        self._report.clock_moved_back(-moved, withdrawn=withdrawn, rebuilt=far)
        if far:
            self._attempted = -np.inf
            if self._detector:
                self._detector.forget_all()
                self.snapshot = None

    def _cycle(self, due: float) -> None:
        detector = self._load() if self._detector is None else self._reload(self._detector)
        if self._shared.feedback:
            self._acceptance.heed(detector, self._shared.feedback.known)
        replayed = detector.session.bundle.manifest.steps_of_replay(self.config.step, len(detector.entities)) * self.config.step
        if detector.time is None or due - detector.time > replayed:
            self._warm(detector)
        elif due > detector.time:
            self._catch_up(detector, due - detector.time, due)
            self._step(detector, due)
        self._report.recovered()

    def _load(self) -> Detector:
        try:
            session = self._shared.session(self.config, self._root)
            stage = partial(self._telemetry.stage, self.config.name)
            detector = self._detector = Detector(self.config, session, self._source, stage, self._shared.run_queries)
        except Stopping:
            raise
        except Exception as error:
            raise StageError(self.config.name, 'load', error) from error
        self._report_model(detector, 'model loaded and verified')
        if self._shared.storage and (restored := self._shared.storage.restore(detector, self.settings)):
            self._go_on(detector, restored)
        return detector

    def _go_on(self, detector: Detector, restored: Restored) -> None:
        """Show what was on the page before the restart, if it is still true; the steps since then are caught up on.

        Alarms that began before a checkpoint were counted. So were those of the steps between the checkpoint and the end of a process that was
        killed, and not those after it: in between lies this start.
        """
        verdicts = restored.verdicts
        self._counted = verdicts.time if restored.last else self._clock.now()
        expires = verdicts.time + 2 * self.config.step
        if self._clock.now() < expires and not self._telemetry.waits:  # the one in service has newer ones
            missing = detector.missing(verdicts)
            self._publish(self._rendered(verdicts, detector.entities.identities, missing, detector.session.threads), expires)
            self._show(detector, verdicts, missing)
            self._report.step(detector, verdicts, 0.0, counted=True)
        self._gather(detector, verdicts)
        self._keep(detector, verdicts)

    def _reload(self, detector: Detector) -> Detector:
        """The detector with the newest model that was read beside the steps; where that cannot be used, the detector as it is."""
        running = detector.session.bundle.sha256
        try:
            session = self._shared.session(self.config, self._root)
            if session.bundle.sha256 != running:
                detector = self._detector = detector.with_session(session)
                memory = 'kept' if detector.time is not None else 'rebuilt: the models remember different things'
                self._report_model(detector, 'model file has changed, new model loaded and verified', memory=memory)
            elif self._refused:
                self._report.log('info', 'model file is again the one in use', sha256=running[:12])
        except (PromlstmError, MemoryError) as error:  # there is a model that works
            if describe(error) != self._refused:
                self._refused = describe(error)
                self._report.model_refused(running, error)
            return detector
        self._refused = ''
        self._telemetry.set('promlstm_model_reload_successful', 1, self.config.name)
        return detector

    def _report_model(self, detector: Detector, message: str, **facts: Any) -> None:
        """Report the model in use from now on. Its views decide which labels of the entities collide with ours."""
        bundle = detector.session.bundle
        self._labels = exposition.Labels(self.config.name, tuple(self.config.queries), bundle.manifest.views)
        self._origin = Origin.of(self.config, bundle.manifest.views)
        first = duration(bundle.manifest.warmup_steps * self.config.step)
        self._report.model(bundle, message, first_score_after=first, **facts)

    def _warm(self, detector: Detector) -> None:
        """Start from history; the result of its last step is published at once."""
        began, verdicts = time.monotonic(), None
        try:
            verdicts = self._run_replay(detector, detector.warm(self._clock.now), 'warming up from history')
        except Stopping:
            raise
        except Exception as error:
            detector.forget_all()
            raise StageError(self.config.name, 'warm', error) from error
        self._report.log('info', 'warmed up', entities=len(detector.memory), seconds=time.monotonic() - began)
        if verdicts is not None:
            missing = detector.missing(verdicts)
            blocks = self._rendered(verdicts, detector.entities.identities, missing, detector.session.threads)
            self._publish_step(detector, verdicts, missing, time.monotonic() - began, blocks)
            self._keep(detector, verdicts)

    def _catch_up(self, detector: Detector, behind_seconds: float, due: float) -> None:
        missed = round(behind_seconds / self.config.step) - 1
        if missed and self._slow:  # too slow to keep up: a replay would only add to the delay
            self._report.count('missed_steps', missed)
            self._slow = False  # if the next step fails, it is the source that is slow, and the steps that it lacks are replayed
            return
        if missed:
            try:
                replay = detector.catch_up(due)
                first = next(replay, None)  # while the source is away, only its failure is logged
                if first:
                    self._report.log('info', 'catching up', steps=missed)
                    self._run_replay(detector, chain([first], replay), 'catching up', after=self._counted)
                    self._report.log('info', 'caught up', steps=missed)
            except Stopping:
                raise
            except Exception as error:
                raise StageError(self.config.name, 'query', error) from error

    def _run_replay(
        self, detector: Detector, replay: Iterable[tuple[int, int, Verdicts | None]], what: str, *, after: float = np.inf
    ) -> Verdicts | None:
        """Run a replay, stop between two of its steps if asked to, and tell its progress; returns its last verdicts.

        after  alarms that began later than this are counted
        """
        told, read, verdicts = time.monotonic(), 0, None
        for done, total, newest in replay:
            read += not done
            verdicts = newest or verdicts
            self._report.count('steps', newest is not None)
            if newest is not None and newest.time > after:
                self._report.alarms(newest)
            if newest is not None:
                self._gather(detector, newest)
            if self._clock.stopping.is_set():
                raise Stopping
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                entities = len(detector.entities)
                self._telemetry.set('promlstm_detector_entities', entities, self.config.name, 'warming')
                self._report.progress(what, entities, f'{done}/{total}', read)
        self._report.status.note = ''
        return verdicts

    def _step(self, detector: Detector, due: float) -> None:
        began = time.monotonic()
        step = detector.step(due, self._shared.wait_seconds(self.config.step))
        with detector.in_stage('render'):
            blocks = self._rendered(step.verdicts, step.identities, step.missing, detector.session.threads)
        detector.commit(step)
        took = time.monotonic() - began
        self._slow = took > self.config.step / self._clock.speed
        self._report.count('steps')
        self._publish_step(detector, step.verdicts, step.missing, took, blocks)
        self._keep(detector, step.verdicts)  # with all rows that the verdicts have
        if forgotten := detector.forget():
            self._report.log('info', 'forgot entities that have been absent for long', entities=forgotten)

    def _rendered(self, verdicts: Verdicts, identities: list[bytes], missing: Bools, threads: int) -> Blocks:
        """{family: text}, packed; the text of the entities' labels is kept for the next step."""
        self._labels = self._labels.of(identities)
        selection = select(self.config.export, self.config.max_exported, verdicts, missing)
        self._report.unexported(selection.left_out)
        return pack(exposition.lines(verdicts, self._labels, missing=missing, selection=selection), threads)

    def _publish(self, blocks: Blocks, expires: float, part: str = '') -> None:
        """Put blocks on the page, and say how large they are."""
        self._relay.publish(blocks, expires, part)
        self._report.published(sum(map(text_bytes, blocks.values())), part)

    def _withdraw(self) -> None:
        self._relay.withdraw()
        self._report.withdrawn()

    def _publish_step(self, detector: Detector, verdicts: Verdicts, missing: Bools, took: float, blocks: Blocks) -> None:
        """Publish a step and its numbers in telemetry, and let incidents know of it."""
        self._publish(blocks, verdicts.time + 2 * self.config.step)
        self._report.step(detector, verdicts, took)
        self._gather(detector, verdicts, missing)
        if self._forecasts:
            self._forecast(self._forecasts, detector, verdicts)
        self._show(detector, verdicts, missing)

    def _forecast(self, forecasts: Forecasts, detector: Detector, verdicts: Verdicts) -> None:
        """Put a new forecast on the page, if one is due. What fails there costs the forecast alone."""
        settings = self.config.forecast
        assert settings
        try:
            model, refused = forecasts.use(lambda: self._shared.forecaster(settings, self._root))
            if refused:
                self._report.log('error', 'the file of the forecast model has changed and cannot be used, the old model is kept', err=refused)
            blocks = forecasts.step(model, detector, verdicts, self._labels)
        except Stopping:
            raise
        except Exception as error:  # noqa: BLE001 (scores go on)
            forecasts.forget()
            self._relay.withdraw(PART)
            self._report.forecast_failed(error)
            return
        if blocks is not None:
            self._publish(blocks, verdicts.time + forecasts.expires_after, PART)

    def _gather(self, detector: Detector, verdicts: Verdicts, missing: Bools | None = None) -> None:
        """Let incidents know of a committed step, live or replayed, in the order of time."""
        if (incidents := self._shared.incidents) and incidents.wait():
            self._relay.pass_on(lambda: incidents.observe(self._origin, detector, verdicts, missing))

    def _show(self, detector: Detector, verdicts: Verdicts, missing: Bools) -> None:
        """Let whoever watches know of a step that is on the page."""
        if watch := self._watch:
            self._relay.pass_on(lambda: watch(detector, verdicts, missing))

    def _keep(self, detector: Detector, verdicts: Verdicts) -> None:
        if self._shared.storage:
            self.snapshot = detector.snapshot(verdicts)

    def _failed(self, due: float, error: Exception) -> float | None:
        """Report a failed step; the seconds after which it is tried again, or None where a query in the same step would not help.

        The wait doubles from a second up to a quarter of the step and a minute at most: an hourly detector must not lose an hour to one
        failed query. A server that answers with Retry-After is given that time.
        """
        stage = error.stage if isinstance(error, StageError) else 'schedule'
        cause = error.cause if isinstance(error, StageError) else error
        self._withdraw()
        if self._forecasts:
            self._forecasts.forget()
        again = due == self._failed_step
        if not again:
            self._failed_step, self._retries = due, 0
        self._report.failed(stage, cause, again=again)
        if not isinstance(cause, (SourceUnavailable, ResponseError)):
            return None
        wait = min(RETRY_SECONDS * 2.0**self._retries, RETRY_SECONDS_MAX)
        self._retries += 1
        asked = (isinstance(cause, SourceUnavailable) and cause.retry_after_seconds) or 0.0
        return max(min(wait * self._clock.speed, self.config.step / 4), asked * (1 + self._phase / 4))  # not all of them at the same instant
