"""What is said of one detector: its numbers in telemetry, its status, its log lines.

Who calls it: runner, with what happened. It decides nothing and keeps no samples: it turns a step, an answer that is odd, a failure or a clock that
was set into words for people and numbers for rules. A condition that lasts is logged when it begins and every few minutes.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np

from promlstm.config import Detector as DetectorConfig
from promlstm.engine.bundle import Bundle
from promlstm.engine.columns import READY, WARMING, Ints, Verdicts
from promlstm.engine.detector import Detector
from promlstm.engine.tally import Tally
from promlstm.errors import PromlstmError, describe
from promlstm.live.facts import Server
from promlstm.live.relay import Relay
from promlstm.live.status import CLOCK, EMPTY, NEVER_WARM, NOT_A_NUMBER, RESTING, STARTING, WARMING_UP, Status
from promlstm.logs import Level, event
from promlstm.terminal import duration

log = logging.getLogger('promlstm.runner')
GROWS_SECONDS = 900.0  # memory grows between slots of the day, and not oftener
REPEAT_SECONDS = 300.0  # the same condition is logged again after this
COUNTERS = (
    'alarms', 'steps', 'missed_steps', 'empty_results', 'nonfinite_samples', 'query_warnings', 'partial_answers', 'unread_series', 'mistimed_answers',
    'clock_backwards',
)  # fmt: skip


class Report:
    """The report of one detector.

    server         what is known of the query API
    last_returned  asked with an expression that returns nothing: when it last did, in words, or ''
    """

    def __init__(self, config: DetectorConfig, telemetry: Relay, server: Server, last_returned: Callable[[str], str]) -> None:
        self.config, self.status, self.telemetry, self.server = config, Status(), telemetry, server
        self._last_returned = last_returned
        self._logged_at: dict[str, float] = {}  # condition: when it was logged last
        self._failures = 0  # steps in a row
        self._unready = 0  # live steps in a row at which no entity had a score, while some had samples
        self._reason = ''  # label of the gauge that says why no entity has a score
        self._sized: tuple[tuple[int, float], int] = (-1, 0.0), 0  # rows and time, and the size of memory
        self._last = ''  # when the expression last returned series
        telemetry.set('promlstm_detector_step_seconds', config.step, config.name)
        for end, value in zip(('lower', 'upper'), config.range or (), strict=False):
            if np.isfinite(value):
                telemetry.set(f'promlstm_detector_range_{end}', value, config.name)
        telemetry.set('promlstm_detector_up', 0, config.name)
        self.explain(STARTING, '')
        for counter in COUNTERS:
            self.count(counter, 0)
        telemetry.count('promlstm_model_reload_failures', (config.name,), 0)
        if config.forecast:
            telemetry.count('promlstm_forecast_failures', (config.name,), 0)
        for stage in ('load', 'warm', 'query', 'judge'):
            telemetry.count('promlstm_detector_failures', (config.name, stage), 0)

    def count(self, counter: str, amount: float = 1) -> None:
        """Add to a counter of the detector."""
        self.telemetry.count(f'promlstm_detector_{counter}', (self.config.name,), amount)

    def log(self, level: Level, message: str, **facts: Any) -> None:
        """Log an event of the detector."""
        event(log, level, message, detector=self.config.name, **facts)

    def log_repeatedly(
        self, message: str, *, level: Level = 'warn', key: str | None = None, exc_info: Exception | None = None, **facts: object
    ) -> bool:
        """Log a condition when it begins, and every few minutes while it lasts; returns whether it was logged."""
        key, now = key or message, time.monotonic()
        if now - self._logged_at.get(key, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        self._logged_at[key] = now
        event(log, level, message, detector=self.config.name, exc_info=exc_info, **facts)
        return True

    def explain(self, reason: str, text: str) -> None:
        """Say why no entity has a score: a word for rules in telemetry, a sentence for people in the status; nothing of both where one has."""
        self.status.reason = text
        if reason != self._reason:
            self.telemetry.drop('promlstm_detector_unscored', self.config.name)
            if reason:
                self.telemetry.set('promlstm_detector_unscored', 1, self.config.name, reason)
            self._reason = reason

    def progress(self, what: str, entities: int, step: str, read: int) -> None:
        """Tell how far a replay is, in the log and in the status; before its steps come slots of coarse history, of which `read` are there."""
        self.status.note = f'replay of history at step {step}, {entities} entities' + (f', after {read} slots of older history' if read else '')
        self.log('info', what, entities=entities, step=step, slots=read)

    def model(self, bundle: Bundle, message: str, **facts: Any) -> None:
        """The model in use from now on."""
        name, manifest = self.config.name, bundle.manifest
        self.telemetry.set('promlstm_model_created_timestamp_seconds', datetime.fromisoformat(manifest.created).timestamp(), name)
        self.telemetry.drop('promlstm_model_info', name)
        self.telemetry.set('promlstm_model_info', 1, name, manifest.name, manifest.family, bundle.sha256)
        self.telemetry.set('promlstm_model_reload_successful', 1, name)
        self.log('info', message, model=manifest.name, family=manifest.family, sha256=bundle.sha256[:12], **facts)

    def model_refused(self, running: str, error: Exception) -> None:
        """A changed model file that is not used; `running` is the digest of the model that is kept."""
        self.telemetry.set('promlstm_model_reload_successful', 0, self.config.name)
        self.telemetry.count('promlstm_model_reload_failures', (self.config.name,))
        message = 'model file has changed and cannot be used, the old model is kept'
        self.log('error', message, sha256=running[:12], err=describe(error))

    def published(self, size_bytes: int, part: str) -> None:
        """Text that is on the page from now on; part as the page names it."""
        self.telemetry.set('promlstm_detector_page_bytes', size_bytes, self.config.name, part or 'scores')

    def withdrawn(self) -> None:
        """Nothing of the detector is on the page."""
        self.telemetry.drop('promlstm_detector_page_bytes', self.config.name)

    def unexported(self, entities: int) -> None:
        """How many entities are left out of what is rendered."""
        self.telemetry.set('promlstm_detector_unexported_entities', entities, self.config.name)
        if entities:
            self.log_repeatedly('more entities than max_exported: some are not exported', entities=entities, max_exported=self.config.max_exported)

    def alarms(self, verdicts: Verdicts) -> None:
        """Count the alarms that began with a step."""
        self.count('alarms', int((verdicts.since == verdicts.time).sum()))

    def step(self, detector: Detector, verdicts: Verdicts, took_seconds: float, *, counted: bool = False) -> None:
        """A step that is on the page; counted = the process before has counted its alarms."""
        name, telemetry = self.config.name, self.telemetry
        counts = {status: int((verdicts.status == code).sum()) for code, status in ((READY, 'ready'), (WARMING, 'warming'))}
        counts['missing'] = int(detector.absent(verdicts).sum())
        counts['dropped'] = detector.tally.dropped
        for state, count in counts.items():
            telemetry.set('promlstm_detector_entities', count, name, state)
        gauges = {
            'up': 1, 'anomalous_entities': int((verdicts.score >= 1).sum()), 'last_step_timestamp_seconds': verdicts.time,
            'last_step_duration_seconds': took_seconds, 'memory_bytes': self._memory_bytes(detector, verdicts.time),
            'part_time_entities': detector.count_part_time(verdicts),
            'budget_alarms_per_entity_week': detector.alarms_per_entity_week(counts['ready'] + counts['warming']),
        }  # fmt: skip
        for gauge, value in gauges.items():
            telemetry.set(f'promlstm_detector_{gauge}', value, name)
        if not counted:
            self.alarms(verdicts)
        self._update_reason(detector, verdicts, counts['ready'], counts['warming'])
        self._update_note(detector.tally)
        self._odd_samples(detector.tally, counts['dropped'])

    def _memory_bytes(self, detector: Detector, time: float) -> int:
        """Size of all that is remembered. To count a thousand columns takes a while, and they grow with new entities and half-hours alone."""
        like = len(detector.memory), time // GROWS_SECONDS
        if like != self._sized[0]:
            self._sized = like, detector.memory.nbytes() + detector.entities.presence.nbytes()
        return self._sized[1]

    def _update_reason(self, detector: Detector, verdicts: Verdicts, ready: int, warming: int) -> None:
        """The reason, if there is nothing to score."""
        self.status.stepped = True
        self.status.scored = self.status.scored or ready > 0
        self._unready = self._unready + 1 if warming and not ready else 0
        if ready:
            self._last = ''
            self.explain('', '')
        elif warming:
            rows = np.flatnonzero(verdicts.status == WARMING)
            never = self._unready > detector.session.bundle.manifest.warmup_steps
            text = f'warming: {self._warmup_progress(detector, rows, never=never)}{self._retention_note(detector)}'
            self.explain(NEVER_WARM if never else WARMING_UP, text)
        elif series := detector.tally.series:
            text = _not_numbers(series, detector.tally)
            self.explain(RESTING if self.config.missing == 'ignore' else NOT_A_NUMBER, text)
            self.log_repeatedly(text)
        else:
            self._empty()

    def _empty(self) -> None:
        self.count('empty_results')
        text = 'the expression returns no series'
        if self.log_repeatedly(f'empty result: {text}'):
            self._last = self._last_returned(next(iter(self.config.queries.values())))
            if self._last:
                self.log('info', f'empty result: {self._last}')
        self.explain(RESTING if self.config.missing == 'ignore' else EMPTY, f'{text}{self._delay_note()}{self._last and f"; {self._last}"}')

    def _delay_note(self) -> str:
        delay = self.config.delay
        return f' at now - delay ({delay:g} s ago): a name is misspelt, or Prometheus has just started and has too few samples' if delay else ''

    def _warmup_progress(self, detector: Detector, rows: Ints, *, never: bool) -> str:
        """How far the first of some entities is on its way to a score. Samples are not counted, so a gap is known only once it shows.

        never  whether there were entities for as long as a warm-up takes, and none got through it
        """
        step, needed = self.config.step, detector.session.bundle.manifest.warmup_steps
        entities = detector.entities
        age = round(float((entities.last_seen[rows] - entities.first_seen[rows]).max()) / step) + 1
        if age > needed:
            text = f'no entity has {needed} samples at a step of {step:g} s yet, because of gaps'
            if not self.config.range:
                return text
            low, high = self.config.range
            return f'{text}, or of samples outside range [{low:g}, {high:g}], which are not learnt'
        if never:
            return f'no entity has existed for {needed} steps of {step:g} s, the longest for {age}: aggregate away the label that changes'
        left = (needed - age + 1) * step  # the sample after the last of these is the first that is judged
        return f'{age} of {needed} steps of {step:g} s since the first sample, about {duration(left, units=2)} more if no sample is missing'

    def _retention_note(self, detector: Detector) -> str:
        kept, takes = self.server.retention_seconds(), detector.session.bundle.manifest.warmup_steps * self.config.step
        if kept is None or kept >= takes:
            return ''
        note = f'the server keeps samples for {duration(kept)} only, so each start begins the warm-up again, which takes {duration(takes)}'
        self.log_repeatedly(f'the warm-up takes longer than the server keeps samples: {note}', key='retention')
        return f'; {note}'

    def _update_note(self, tally: Tally) -> None:
        """What is odd about the time of the answers, although they are judged."""
        notes = [self.server.skew()]
        if tally.offset_seconds:
            off = duration(abs(tally.offset_seconds), units=2)
            notes.append(f'the samples are {off} {"after" if tally.offset_seconds > 0 else "before"} the requested time')
        self.status.note = '; '.join(filter(None, notes))

    def _odd_samples(self, tally: Tally, dropped: int) -> None:
        if tally.infinite or tally.nan:
            self.count('nonfinite_samples', tally.infinite + tally.nan)
        if tally.infinite:
            self.log_repeatedly('samples of ±Inf are treated as missing: check the expression for a division by zero')
        if tally.warnings:
            self.count('query_warnings', tally.warnings)
            self.log_repeatedly(f'the query API warns, data may be partial: {tally.last_warning}')
        if tally.hint:
            self.log_repeatedly(f'the query API says of the expression: {tally.hint}', level='info', key='hint')
        if tally.partial:
            self.count('partial_answers', tally.partial)
            self.log_repeatedly('answers may be partial: absent entities are not reported as missing')
        if tally.unread:
            self.count('unread_series', tally.unread)
            self.log_repeatedly('series were left out: their labels or samples cannot be read, or they are native histograms', series=tally.unread)
        if tally.offset_seconds:
            self.count('mistimed_answers')
            self.log_repeatedly(
                'the samples are not from the requested time: check for a cache between promlstm and the query API',
                key='mistimed', off_by_seconds=tally.offset_seconds,
            )  # fmt: skip
        tally.infinite = tally.nan = tally.warnings = tally.partial = tally.unread = 0
        tally.offset_seconds = 0.0
        if dropped:
            self.log_repeatedly(f'{dropped} entities over max_entities ({self.config.max_entities}) are not scored')

    def failed(self, stage: str, cause: Exception, *, again: bool) -> None:
        """A step that failed; again = at another try of the same step, which is counted once."""
        name = self.config.name
        self.telemetry.set('promlstm_detector_up', 0, name)
        for gauge in ('entities', 'anomalous_entities', 'last_step_duration_seconds'):
            self.telemetry.drop(f'promlstm_detector_{gauge}', name)
        if not again:
            self.telemetry.count('promlstm_detector_failures', (name, stage))
            self._failures += 1
        self.explain(stage, f'{stage}: {describe(cause)}')
        self.status.note = self.server.skew()
        expected = describe(cause) == str(cause)
        self.log_repeatedly(
            'step failed', level='error', key=self.status.reason, exc_info=None if expected else cause, stage=stage, err=describe(cause)
        )

    def forecast_failed(self, error: Exception) -> None:
        """A forecast that could not be made."""
        self.telemetry.count('promlstm_forecast_failures', (self.config.name,))
        expected = isinstance(error, PromlstmError)
        self.log_repeatedly(
            'no forecast, scores continue', level='error', key=f'forecast: {type(error).__name__}', exc_info=None if expected else error, err=describe(error)
        )

    def recovered(self) -> None:
        """A step succeeded; after failures that is logged."""
        if self._failures:
            self.log('info', 'recovered', failed_steps=self._failures)
            self._failures = 0
            self._logged_at.clear()

    def clock_moved_back(self, by_seconds: float, *, withdrawn: bool, rebuilt: bool) -> None:
        """The clock was set back by so many seconds; whether the scores went off the page, and whether memory is built again from history."""
        self.count('clock_backwards')
        if withdrawn:
            self.telemetry.set('promlstm_detector_up', 0, self.config.name)
            self.explain(CLOCK, f'the clock moved back by {duration(by_seconds, units=2)}')
        outcome = 'memory is rebuilt from history' if rebuilt else 'steps wait for it'
        self.log('warn', f'clock moved back, {outcome}', by_seconds=by_seconds)

    def clock_moved_ahead(self, by_seconds: float) -> None:
        """The clock was set ahead, or the machine slept."""
        self.log('warn', 'clock moved ahead: it was set, or this machine slept', by_seconds=by_seconds)


def _not_numbers(series: int, tally: Tally) -> str:
    """What is said of series of which none has a sample that is a number."""
    samples = 'NaN' if not tally.infinite else 'NaN or ±Inf' if tally.nan else '±Inf'
    return f'{series} series, all samples {samples}: check for a division by zero'
