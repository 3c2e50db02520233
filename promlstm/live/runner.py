"""One detector in its thread: warm up, step, catch up, publish; whatever fails is reported and tried again.

Who calls it: scheduler, one thread each. What flows through: aligned instants; out go blocks of text to the page and numbers to
telemetry. It renders the columns of a step before it commits the step, so that a step that cannot be rendered has changed nothing. It
never computes a score and never answers a scrape.

A step that fails takes its detector's gauges off the page at once and is counted; the steps missed meanwhile are replayed from history
before the next one, so that an outage of the source leaves no hole in the memory. The broad `except` of the project is here.
"""

import logging
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, Protocol

import numpy as np

from promlstm.config import Detector as DetectorConfig
from promlstm.engine.columns import READY, WARMING, Bools, Ints, Verdicts
from promlstm.engine.detector import Detector, Tally, describe
from promlstm.engine.history import aligned
from promlstm.engine.interfaces import RunQueries, Source
from promlstm.engine.session import Session
from promlstm.errors import PromlstmError, ResponseError, SourceUnavailable, StageError
from promlstm.live.clock import Clock
from promlstm.logs import Level, event
from promlstm.serve import exposition
from promlstm.serve.telemetry import Telemetry

log = logging.getLogger('promlstm.runner')
SPREAD_SECONDS = 2.0  # requests of different detectors are sent apart by up to this, or a tenth of a step
PROGRESS_SECONDS = 5.0
RETRY_SECONDS, RETRY_SECONDS_MAX = 1.0, 60.0  # a failed query is asked again after this, then after twice as long, up to the second
REPEAT_SECONDS = 300.0  # the same condition is logged again after this
COUNTERS = (
    'alarms', 'steps', 'missed_steps', 'empty_results', 'nonfinite_samples', 'query_warnings', 'partial_answers', 'unread_series', 'mistimed_answers',
    'clock_backwards',
)  # fmt: skip
CLOCK_SECONDS = 1.0  # a clock that is corrected by less than this has not moved back
# Values of the label `reason`, beside the stages in which a step may fail.
STARTING, CLOCK, WARMING_UP, NEVER_WARM, NOT_A_NUMBER, EMPTY, RESTING = (
    'starting',
    'clock',
    'warming',
    'never_warm',
    'nan',
    'empty',
    'resting',
)
BACKWARDS_STEPS = 10  # if the clock moved back further than this, memory is rebuilt from history

Blocks = dict[str, bytes]  # {family: text}
Watch = Callable[[Detector, Verdicts], None]


class Stopping(Exception):
    """The exporter was asked to stop during a replay."""


class Shared(Protocol):
    """What the detectors of a configuration share; Scheduler is one."""

    clock: Clock
    telemetry: Telemetry

    @property
    def run_queries(self) -> RunQueries:
        """Runs the queries of several features at once."""

    def session(self, config: DetectorConfig, root: str) -> Session:
        """The session of a detector's model file in its present version; BundleError where it cannot be used."""

    def collect_garbage(self) -> None:
        """Called after each step."""


@dataclass(slots=True)
class Status:
    """State of a detector since the start: has it computed a step, has it scored an entity, and if not, why not."""

    stepped: bool = False
    scored: bool = False
    reason: str = ''

    def __str__(self) -> str:
        return self.reason or ('scoring' if self.scored else 'starting')


class Runner:
    """One detector in its thread.

    publish   publish(blocks, expires): blocks = {family: text}, expires = instant of the clock after which they are stale
    withdraw  takes the detector's blocks off the page
    watch     called with the Detector and the Verdicts of each step, or None
    root      folder that the path of the model is relative to
    """

    def __init__(
        self,
        config: DetectorConfig,
        source: Source,
        shared: Shared,
        publish: Callable[[Blocks, float], None],
        withdraw: Callable[[], None],
        watch: Watch | None,
        root: str,
    ) -> None:
        self.config, self.status = config, Status()
        self._source, self._shared, self._root = source, shared, root
        self._publish, self._withdraw, self._watch = publish, withdraw, watch
        self._clock, self._telemetry = shared.clock, shared.telemetry
        self._detector: Detector | None = None  # until its model is loaded
        self._labels = exposition.Labels(config.name, tuple(config.queries))  # the text of the entities' labels
        self._logged_at: dict[str, float] = {}  # condition: when it was logged last
        self._failures = 0  # in a row
        self._attempted = -np.inf  # the last aligned step that was tried
        self._failed_step, self._retries = -np.inf, 0  # the last aligned step that failed, and how often it was tried again
        self._slow = False
        self._unready = 0  # live steps in a row at which no entity had a score, while some had samples
        self._reason = ''  # label of the gauge that says why no entity has a score
        self._refused = ''  # why the present model file is not the one in use
        name = config.name
        self._telemetry.set('promlstm_detector_step_seconds', config.step, name)
        self._telemetry.set('promlstm_detector_up', 0, name)
        self._explain(STARTING, '')
        for counter in COUNTERS:
            self._telemetry.count(f'promlstm_detector_{counter}', (name,), 0)
        self._telemetry.count('promlstm_model_reload_failures', (name,), 0)
        for stage in ('load', 'warm', 'query', 'judge'):
            self._telemetry.count('promlstm_detector_failures', (name, stage), 0)

    def run(self) -> None:
        """Step until the clock is stopped. A failed step is reported; a failed query is asked again within the step."""
        spread = min(SPREAD_SECONDS, self.config.step / 10) * (zlib.crc32(self.config.name.encode()) % 1000) / 1000
        due = aligned(self._clock.now(), self.config.step)
        at = due + spread
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
                self._shared.collect_garbage()
            following = self._next()
            at = following + spread
            if retry_seconds is not None and self._clock.now() + retry_seconds < at:
                at = self._clock.now() + retry_seconds
            else:
                due = following

    def _next(self) -> float:
        """The next aligned step: the one after the last, or the present one if that has long passed."""
        step, now = self.config.step, self._clock.now()
        behind = self._attempted - now
        if behind > CLOCK_SECONDS:
            self._clock_moved_back(behind)
        return max(self._attempted + step, aligned(now, step))

    def _clock_moved_back(self, by_seconds: float) -> None:
        """What is on the page is of the future now, so it goes. A small jump is waited for; after a large one memory is rebuilt from history."""
        name, far = self.config.name, by_seconds > BACKWARDS_STEPS * self.config.step
        self._telemetry.count('promlstm_detector_clock_backwards', (name,))
        self._telemetry.set('promlstm_detector_up', 0, name)
        self._withdraw()
        self._explain(CLOCK, f'the clock moved back by {duration_text(by_seconds)}')
        outcome = 'memory is rebuilt from history' if far else 'steps wait for it'
        event(log, 'warn', f'clock moved back, {outcome}', detector=name, by_seconds=by_seconds)
        if far:
            self._attempted = -np.inf
            if self._detector:
                self._detector.forget_all()

    def _cycle(self, due: float) -> None:
        detector = self._load() if self._detector is None else self._reload(self._detector)
        if detector.time is None or due - detector.time > detector.session.bundle.manifest.replay_steps * self.config.step:
            self._warm(detector)
        elif due > detector.time:
            self._catch_up(detector, due - detector.time, due)
            self._step(detector, due)
        self._recovered()

    def _load(self) -> Detector:
        try:
            session = self._shared.session(self.config, self._root)
            stage = partial(self._telemetry.stage, self.config.name)
            detector = self._detector = Detector(self.config, session, self._source, stage, self._shared.run_queries)
        except Exception as error:
            raise StageError(self.config.name, 'load', error) from error
        self._report_model(detector, 'model loaded and verified')
        return detector

    def _reload(self, detector: Detector) -> Detector:
        """The detector with the model file if that has changed since the last step; if it cannot be used, the detector as it is."""
        name, running = self.config.name, detector.session.bundle.sha256
        try:
            session = self._shared.session(self.config, self._root)
            if session.bundle.sha256 != running:
                detector = self._detector = detector.with_session(session)
                memory = 'kept' if detector.time is not None else 'rebuilt: the models remember different things'
                self._report_model(detector, 'model file has changed, new model loaded and verified', memory=memory)
            elif self._refused:
                event(log, 'info', 'model file is again the one in use', detector=name, sha256=running[:12])
        except PromlstmError as error:
            if str(error) != self._refused:
                self._refused = str(error)
                self._telemetry.set('promlstm_model_reload_successful', 0, name)
                self._telemetry.count('promlstm_model_reload_failures', (name,))
                message = 'model file has changed and cannot be used, the old model is kept'
                event(log, 'error', message, detector=name, sha256=running[:12], err=str(error))
            return detector
        self._refused = ''
        self._telemetry.set('promlstm_model_reload_successful', 1, name)
        return detector

    def _report_model(self, detector: Detector, message: str, **facts: Any) -> None:
        """Report the model in use from now on. Its views decide which labels of the entities collide with ours."""
        name, bundle = self.config.name, detector.session.bundle
        manifest = bundle.manifest
        self._labels = exposition.Labels(name, tuple(self.config.queries), manifest.views)
        self._telemetry.set('promlstm_model_created_timestamp_seconds', datetime.fromisoformat(manifest.created).timestamp(), name)
        self._telemetry.drop('promlstm_model_info', name)
        self._telemetry.set('promlstm_model_info', 1, name, manifest.name, manifest.family, bundle.sha256)
        self._telemetry.set('promlstm_model_reload_successful', 1, name)
        event(log, 'info', message, detector=name, model=manifest.name, family=manifest.family, sha256=bundle.sha256[:12], **facts)

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
        event(log, 'info', 'warmed up', detector=self.config.name, entities=len(detector.memory), seconds=time.monotonic() - began)
        if verdicts is not None:
            blocks = self._rendered(verdicts, detector.entities.identities, detector.missing(verdicts))
            self._publish_step(detector, verdicts, blocks, time.monotonic() - began)

    def _catch_up(self, detector: Detector, behind_seconds: float, due: float) -> None:
        missed = round(behind_seconds / self.config.step) - 1
        if missed and self._slow:  # too slow to keep up: a replay would only add to the delay
            self._telemetry.count('promlstm_detector_missed_steps', (self.config.name,), missed)
            self._slow = False  # if the next step fails, it is the source that is slow, and the steps that it lacks are replayed
            return
        if missed:
            try:
                replay = detector.catch_up(due)
                first = next(replay, None)  # while the source is away, only its failure is logged
                if first:
                    event(log, 'info', 'catching up', detector=self.config.name, steps=missed)
                    self._run_replay(detector, chain([first], replay), 'catching up')
                    event(log, 'info', 'caught up', detector=self.config.name, steps=missed)
            except Stopping:
                raise
            except Exception as error:
                raise StageError(self.config.name, 'query', error) from error

    def _run_replay(self, detector: Detector, replay: Iterable[tuple[int, int, Verdicts | None]], what: str) -> Verdicts | None:
        """Run a replay, stop between two of its steps if asked to, and log its progress; returns its last verdicts."""
        logged, verdicts = time.monotonic(), None
        for done, total, newest in replay:
            verdicts = newest or verdicts
            self._telemetry.count('promlstm_detector_steps', (self.config.name,), newest is not None)
            if self._clock.stopping.is_set():
                raise Stopping
            if time.monotonic() - logged > PROGRESS_SECONDS:
                logged = time.monotonic()
                entities = len(detector.entities)
                self._telemetry.set('promlstm_detector_entities', entities, self.config.name, 'warming')
                event(log, 'info', what, detector=self.config.name, entities=entities, step=f'{done}/{total}')
        return verdicts

    def _step(self, detector: Detector, due: float) -> None:
        began = time.monotonic()
        step = detector.step(due)
        with detector.in_stage('render'):
            blocks = self._rendered(step.verdicts, step.identities, step.missing)
        detector.commit(step)
        took = time.monotonic() - began
        self._slow = took > self.config.step / self._clock.speed
        self._telemetry.count('promlstm_detector_steps', (self.config.name,))
        self._publish_step(detector, step.verdicts, blocks, took)
        if forgotten := detector.forget():
            event(log, 'info', 'forgot entities that have been absent for long', detector=self.config.name, entities=forgotten)

    def _rendered(self, verdicts: Verdicts, identities: list[bytes], missing: Bools) -> Blocks:
        """{family: text block}; the text of the entities' labels is kept for the next step."""
        self._labels = self._labels.of(identities)
        return exposition.render(verdicts, self._labels, missing=missing)

    def _publish_step(self, detector: Detector, verdicts: Verdicts, blocks: Blocks, took: float) -> None:
        """Publish a step and its numbers in telemetry."""
        name = self.config.name
        self._publish(blocks, verdicts.time + 2 * self.config.step)
        counts = {status: int((verdicts.status == code).sum()) for code, status in ((READY, 'ready'), (WARMING, 'warming'))}
        counts['missing'] = int(detector.absent(verdicts).sum())
        counts['dropped'] = detector.tally.dropped
        for state, count in counts.items():
            self._telemetry.set('promlstm_detector_entities', count, name, state)
        gauges = {
            'up': 1, 'anomalous_entities': int((verdicts.score >= 1).sum()), 'last_step_timestamp_seconds': verdicts.time,
            'last_step_duration_seconds': took, 'memory_bytes': detector.memory.nbytes(),
            'budget_alarms_per_entity_week': detector.settings(counts['ready'] + counts['warming']).alarms_per_week or 0.0,
        }  # fmt: skip
        for gauge, value in gauges.items():
            self._telemetry.set(f'promlstm_detector_{gauge}', value, name)
        self._telemetry.count('promlstm_detector_alarms', (name,), int((verdicts.since == verdicts.time).sum()))
        self._update_reason(detector, verdicts, counts['ready'], counts['warming'])
        self._report_odd_samples(detector.tally, counts['dropped'])
        if self._watch:
            self._watch(detector, verdicts)

    def _update_reason(self, detector: Detector, verdicts: Verdicts, ready: int, warming: int) -> None:
        """The reason, if there is nothing to score."""
        self.status.stepped = True
        self.status.scored = self.status.scored or ready > 0
        self._unready = self._unready + 1 if warming and not ready else 0
        if ready:
            self._explain('', '')
        elif warming:
            rows = np.flatnonzero(verdicts.status == WARMING)
            never = self._unready > detector.session.bundle.manifest.warmup_steps
            self._explain(NEVER_WARM if never else WARMING_UP, f'warming: {self._warmup_progress(detector, rows, never=never)}')
        else:
            series = detector.tally.series
            text = _not_numbers(detector.tally) if series else 'the expression returns no series' + self._delay_note()
            label = NOT_A_NUMBER if series else EMPTY
            self._explain(RESTING if self.config.missing == 'ignore' else label, text)
            if not series:
                self._telemetry.count('promlstm_detector_empty_results', (self.config.name,))
            self._log_repeatedly(text if series else f'empty result: {text}')

    def _explain(self, reason: str, text: str) -> None:
        """Say why no entity has a score: a word for rules in telemetry, a sentence for people in the status; nothing of both where one has."""
        self.status.reason = text
        if reason != self._reason:
            self._telemetry.drop('promlstm_detector_unscored', self.config.name)
            if reason:
                self._telemetry.set('promlstm_detector_unscored', 1, self.config.name, reason)
            self._reason = reason

    def _delay_note(self) -> str:
        delay = self.config.delay
        return f' at now - delay ({delay:g} s ago): a Prometheus that has just started has too few samples' if delay else ''

    def _warmup_progress(self, detector: Detector, rows: Ints, *, never: bool) -> str:
        """How far the first of some entities is on its way to a score. Samples are not counted, so a gap is known only once it shows.

        never  whether there were entities for as long as a warm-up takes, and none got through it
        """
        step, needed = self.config.step, detector.session.bundle.manifest.warmup_steps
        entities = detector.entities
        age = round(float((entities.last_seen[rows] - entities.first_seen[rows]).max()) / step) + 1
        if age > needed:
            return f'no entity has {needed} samples at a step of {step:g} s yet, because of gaps'
        if never:
            return (
                f'no entity has been there for {needed} steps of {step:g} s, the longest for {age}: aggregate away the label that changes'
            )
        left = (needed - age + 1) * step  # the sample after the last of these is the first that is judged
        return f'{age} of {needed} steps of {step:g} s since the first sample, about {duration_text(left)} more if none is missing'

    def _report_odd_samples(self, tally: Tally, dropped: int) -> None:
        if tally.infinite or tally.nan:
            self._telemetry.count('promlstm_detector_nonfinite_samples', (self.config.name,), tally.infinite + tally.nan)
        if tally.infinite:
            self._log_repeatedly('samples of ±Inf are treated as missing: check the expression for a division by zero')
        if tally.warnings:
            self._telemetry.count('promlstm_detector_query_warnings', (self.config.name,), tally.warnings)
            self._log_repeatedly(f'the query API warns, data may be partial: {tally.last_warning}')
        if tally.partial:
            self._telemetry.count('promlstm_detector_partial_answers', (self.config.name,), tally.partial)
            self._log_repeatedly('answers may be partial: entities that they lack are not reported as missing')
        if tally.unread:
            self._telemetry.count('promlstm_detector_unread_series', (self.config.name,), tally.unread)
            self._log_repeatedly(
                'series were left out: their labels or samples cannot be read, or they are native histograms', series=tally.unread
            )
        if tally.offset_seconds:
            self._telemetry.count('promlstm_detector_mistimed_answers', (self.config.name,))
            self._log_repeatedly(
                'the samples are not of the instant that was asked for: look for a cache between promlstm and the query API',
                key='mistimed', off_by_seconds=tally.offset_seconds,
            )  # fmt: skip
        tally.infinite = tally.nan = tally.warnings = tally.partial = tally.unread = 0
        tally.offset_seconds = 0.0
        if dropped:
            self._log_repeatedly(f'{dropped} entities over max_entities ({self.config.max_entities}) are not watched')

    def _failed(self, due: float, error: Exception) -> float | None:
        """Report a failed step; the seconds after which it is tried again, or None where a query in the same step would not help.

        The wait doubles from a second up to a quarter of the step and a minute at most: an hourly detector must not lose an hour to one
        failed query. A server that answers with Retry-After is given that time.
        """
        stage = error.stage if isinstance(error, StageError) else 'schedule'
        cause = error.cause if isinstance(error, StageError) else error
        self._withdraw()
        self._telemetry.set('promlstm_detector_up', 0, self.config.name)
        for gauge in ('entities', 'anomalous_entities', 'last_step_duration_seconds'):
            self._telemetry.drop(f'promlstm_detector_{gauge}', self.config.name)
        if due != self._failed_step:
            self._failed_step, self._retries = due, 0
            self._telemetry.count('promlstm_detector_failures', (self.config.name, stage))
            self._failures += 1
        self._explain(stage, f'{stage}: {describe(cause)}')
        expected = describe(cause) == str(cause)
        self._log_repeatedly(
            'step failed', level='error', key=self.status.reason, exc_info=None if expected else cause, stage=stage, err=describe(cause)
        )
        if not isinstance(cause, (SourceUnavailable, ResponseError)):
            return None
        wait = min(RETRY_SECONDS * 2.0**self._retries, RETRY_SECONDS_MAX)
        self._retries += 1
        asked = (isinstance(cause, SourceUnavailable) and cause.retry_after_seconds) or 0.0
        return max(min(wait * self._clock.speed, self.config.step / 4), asked)

    def _recovered(self) -> None:
        if self._failures:
            event(log, 'info', 'recovered', detector=self.config.name, failed_steps=self._failures)
            self._failures = 0
            self._logged_at.clear()

    def _log_repeatedly(
        self, message: str, *, level: Level = 'warn', key: str | None = None, exc_info: Exception | None = None, **facts: object
    ) -> None:
        """Log a condition when it begins, and every few minutes while it lasts."""
        key, now = key or message, time.monotonic()
        if now - self._logged_at.get(key, -REPEAT_SECONDS) >= REPEAT_SECONDS:
            self._logged_at[key] = now
            event(log, level, message, detector=self.config.name, exc_info=exc_info, **facts)


def _not_numbers(tally: Tally) -> str:
    """What is said of series of which none has a sample that is a number."""
    samples = 'NaN' if not tally.infinite else 'NaN or ±Inf' if tally.nan else '±Inf'
    return f'{tally.series} series, all samples {samples}: look for a division by zero'


def duration_text(seconds: float) -> str:
    """A duration in its two largest units.

    >>> duration_text(140), duration_text(40 * 3600), duration_text(7200), duration_text(0.4)
    ('2 min 20 s', '1 d 16 h', '2 h', '1 s')
    """
    units = {'d': 86400, 'h': 3600, 'min': 60, 's': 1}
    rest, words = max(1, round(seconds)), []
    for unit, size in units.items():
        count, rest = divmod(rest, size)
        words.append(f'{count} {unit}' if count else '')
    first = next(i for i, word in enumerate(words) if word)
    return ' '.join(filter(None, words[first : first + 2]))
