"""One detector on its clock: warm up, step, catch up, publish; whatever fails is reported and tried again.

Who calls it: scheduler, one thread each. What flows through: aligned instants; out go blocks of text to the page and numbers to
telemetry. It renders the columns of a step before it commits the step, so that a step that cannot be shown has changed nothing. It never computes a
score and never answers a scrape.

A step that fails takes its detector's gauges off the page at once and is counted; the steps missed meanwhile are replayed from history
before the next one, so that an outage of the source leaves no hole in the memory. The broad `except` of the project is here.
"""

import logging
import time
import zlib
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain

import numpy as np

from promlstm.engine.columns import MISSING, READY, WARMING
from promlstm.engine.detector import Detector, describe
from promlstm.engine.history import aligned
from promlstm.errors import PromlstmError, StageError
from promlstm.logs import event
from promlstm.serve import exposition

log = logging.getLogger('promlstm.runner')
SPREAD_SECONDS = 2.0  # requests of different detectors are sent apart by up to this, or a tenth of a step
PROGRESS_SECONDS = 5.0
REPEAT_SECONDS = 300.0  # the same condition is logged again after this
BACKWARDS_STEPS = 10  # a clock that moved back further than this starts the memory anew


class Stopping(Exception):
    """The exporter was asked to stop while a replay was going on."""


@dataclass(slots=True)
class Status:
    """What a detector says of itself: has it computed a step since the start, has it scored, and if not, why not."""

    stepped: bool = False
    scored: bool = False
    reason: str = ''

    def __str__(self):
        return self.reason or ('scoring' if self.scored else 'starting')


class Runner:
    """One detector on its clock."""

    def __init__(self, config, source, scheduler, publish, withdraw, watch, root):
        self.config, self.status = config, Status()
        self._source, self._scheduler, self._publish, self._withdraw, self._watch, self._root = (
            source,
            scheduler,
            publish,
            withdraw,
            watch,
            root,
        )
        self._clock, self._telemetry = scheduler.clock, scheduler.telemetry
        self._detector = None
        self._labels = None  # the text of the entities' labels, made with the detector
        self._logged_at = {}  # condition: when it was logged last
        self._failures = 0  # in a row
        self._attempted = -np.inf  # the last aligned step that was tried
        self._slow = False
        self._refused = ''  # why the model file as it lies now is not the one that runs
        name = config.name
        self._telemetry.set('promlstm_detector_step_seconds', config.step, name)
        self._telemetry.set('promlstm_detector_up', 0, name)
        for counter in ('alarms', 'steps', 'missed_steps', 'empty_results', 'nonfinite_samples', 'query_warnings', 'clock_backwards'):
            self._telemetry.count(f'promlstm_detector_{counter}', (name,), 0)
        self._telemetry.count('promlstm_model_reload_failures', (name,), 0)
        for stage in ('load', 'warm', 'query', 'judge'):
            self._telemetry.count('promlstm_detector_failures', (name, stage), 0)

    def run(self):
        """Step until the clock is stopped; whatever fails is reported and tried again at the next step."""
        spread = min(SPREAD_SECONDS, self.config.step / 10) * (zlib.crc32(self.config.name.encode()) % 1000) / 1000
        due = aligned(self._clock.now(), self.config.step)
        while self._clock.wait(due + spread):
            if self._clock.now() >= due:
                try:
                    self._cycle(due)
                except Stopping:
                    return
                except Exception as error:  # noqa: BLE001 (the one broad catch: a detector never takes the exporter down)
                    self._failed(error)
                self._attempted = max(due, self._detector.time if self._detector and self._detector.time else due)
                self._scheduler.collect_garbage()
            due = self._next()

    def _next(self):
        """The next aligned step: the one after the last, or the present one where that has long passed."""
        step, now = self.config.step, self._clock.now()
        after = self._attempted + step
        if after > now + BACKWARDS_STEPS * step:
            self._telemetry.count('promlstm_detector_clock_backwards', (self.config.name,))
            event(log, 'warn', 'clock moved back, memory is made anew', detector=self.config.name, by_seconds=after - now)
            self._withdraw()
            if self._detector:
                self._detector.forget_all()
            return aligned(now, step)
        return max(after, aligned(now, step))

    def _cycle(self, due):
        if self._detector is None:
            self._load()
        else:
            self._reload()
        detector, limit = self._detector, self._detector.session.bundle.manifest.replay_steps
        if detector.time is None or due - detector.time > limit * self.config.step:
            self._warm()
        elif due > detector.time:
            self._catch_up(due)
            self._step(due)
        self._recovered()

    def _load(self):
        try:
            session = self._scheduler.session(self.config, self._root)
            name = self.config.name
            self._detector = Detector(self.config, session, self._source, partial(self._telemetry.stage, name), self._scheduler.run_queries)
        except Exception as error:
            raise StageError(self.config.name, 'load', error) from error
        self._report_model('model loaded and proven')

    def _reload(self):
        """Take the model file that has changed since the last step; where it is no good the one that runs goes on."""
        name, running = self.config.name, self._detector.session.bundle.sha256
        try:
            session = self._scheduler.session(self.config, self._root)
            if session.bundle.sha256 != running:
                self._detector = self._detector.with_session(session)
                memory = 'kept' if self._detector.time is not None else 'made anew: the models remember different things'
                self._report_model('model file changed, new one loaded and proven', memory=memory)
            elif self._refused:
                event(log, 'info', 'model file is again the one that runs', detector=name, sha256=running[:12])
        except PromlstmError as error:
            if str(error) != self._refused:
                self._refused = str(error)
                self._telemetry.set('promlstm_model_reload_successful', 0, name)
                self._telemetry.count('promlstm_model_reload_failures', (name,))
                event(log, 'error', 'model file changed and cannot be taken, the old one goes on', detector=name, sha256=running[:12], err=str(error))
            return
        self._refused = ''
        self._telemetry.set('promlstm_model_reload_successful', 1, name)

    def _report_model(self, message, **facts):
        """Report the model that runs from now on; its views decide which labels of the entities collide with ours."""
        name, bundle = self.config.name, self._detector.session.bundle
        manifest = bundle.manifest
        self._labels = exposition.Labels(name, tuple(self.config.queries), manifest.views)
        self._telemetry.set('promlstm_model_created_timestamp_seconds', datetime.fromisoformat(manifest.created).timestamp(), name)
        self._telemetry.drop('promlstm_model_info', name)
        self._telemetry.set('promlstm_model_info', 1, name, manifest.name, manifest.family, bundle.sha256)
        self._telemetry.set('promlstm_model_reload_successful', 1, name)
        event(log, 'info', message, detector=name, model=manifest.name, family=manifest.family, sha256=bundle.sha256[:12], **facts)

    def _warm(self):
        """Start from history; what comes out of its last step is published at once."""
        detector, began, verdicts = self._detector, time.monotonic(), None
        try:
            verdicts = self._run_replay(detector.warm(self._clock.now), 'warming up from history')
        except Stopping:
            raise
        except Exception as error:
            detector.forget_all()
            raise StageError(self.config.name, 'warm', error) from error
        event(log, 'info', 'warm', detector=self.config.name, entities=len(detector.memory), seconds=time.monotonic() - began)
        if verdicts is not None:
            blocks = self._rendered(verdicts, detector.entities.identities, detector.missing(verdicts))
            self._publish_step(verdicts, blocks, time.monotonic() - began)

    def _catch_up(self, due):
        detector = self._detector
        missed = round((due - detector.time) / self.config.step) - 1
        if missed and self._slow:  # too slow to keep up: replaying would only make it later
            self._telemetry.count('promlstm_detector_missed_steps', (self.config.name,), missed)
            self._slow = False  # told once: if the step that comes now fails, it is the source that is slow, and what it lacks is made up for
            return
        if missed:
            try:
                replay = detector.catch_up(due)
                first = next(replay, None)  # while the source is away there is nothing to tell but the failure
                if first:
                    event(log, 'info', 'catching up', detector=self.config.name, steps=missed)
                    self._run_replay(chain([first], replay), 'catching up')
                    event(log, 'info', 'caught up', detector=self.config.name, steps=missed)
            except Stopping:
                raise
            except Exception as error:
                raise StageError(self.config.name, 'query', error) from error

    def _run_replay(self, replay, what):
        """Run a replay, stop between two of its steps if asked to, and tell how far it is; returns its last verdicts."""
        logged, verdicts = time.monotonic(), None
        for done, total, newest in replay:
            verdicts = newest or verdicts
            self._telemetry.count('promlstm_detector_steps', (self.config.name,), newest is not None)
            if self._clock.stopping.is_set():
                raise Stopping
            if time.monotonic() - logged > PROGRESS_SECONDS:
                logged = time.monotonic()
                entities = len(self._detector.entities)
                self._telemetry.set('promlstm_detector_entities', entities, self.config.name, 'warming')
                event(log, 'info', what, detector=self.config.name, entities=entities, step=f'{done}/{total}')
        return verdicts

    def _step(self, due):
        began = time.monotonic()
        step = self._detector.step(due)
        with self._detector.in_stage('render'):
            blocks = self._rendered(step.verdicts, step.identities, step.missing)
        self._detector.commit(step)
        took = time.monotonic() - began
        self._slow = took > self.config.step / self._clock.speed
        self._telemetry.count('promlstm_detector_steps', (self.config.name,))
        self._publish_step(step.verdicts, blocks, took)
        if forgotten := self._detector.forget():
            event(log, 'info', 'forgot entities that are long gone', detector=self.config.name, entities=forgotten)

    def _rendered(self, verdicts, identities, missing):
        """{family: text block}; the text of the entities' labels is kept for the next step."""
        self._labels = self._labels.of(identities)
        return exposition.render(verdicts, self._labels, missing=missing)

    def _publish_step(self, verdicts, blocks, took):
        """Publish a step and what telemetry says of it."""
        name, detector = self.config.name, self._detector
        self._publish(blocks, verdicts.time + 2 * self.config.step)
        counts = {status: int((verdicts.status == code).sum()) for code, status in ((READY, 'ready'), (WARMING, 'warming'))}
        counts['missing'] = int(((verdicts.status == MISSING) & ~detector.forgettable(verdicts.time)).sum())
        counts['dropped'] = detector.tally.dropped
        for state, count in counts.items():
            self._telemetry.set('promlstm_detector_entities', count, name, state)
        gauges = {
            'up': 1, 'anomalous_entities': int((verdicts.score >= 1).sum()), 'last_step_timestamp_seconds': verdicts.time,
            'last_step_duration_seconds': took, 'memory_bytes': detector.memory.nbytes(),
            'budget_alarms_per_entity_week': detector.settings(counts['ready'] + counts['warming']).alarms_per_week,
        }  # fmt: skip
        for gauge, value in gauges.items():
            self._telemetry.set(f'promlstm_detector_{gauge}', value, name)
        self._telemetry.count('promlstm_detector_alarms', (name,), int((verdicts.since == verdicts.time).sum()))
        self._report_odd_samples(detector.tally, counts)
        self._update_reason(counts, verdicts)
        if self._watch:
            self._watch(detector, verdicts)

    def _update_reason(self, counts, verdicts):
        """The reason, where there is nothing to score."""
        self.status.stepped = True
        self.status.scored = self.status.scored or counts['ready'] > 0
        reason = ''
        if not counts['ready'] + counts['warming']:
            reason = 'the expression returns no series'
            self._telemetry.count('promlstm_detector_empty_results', (self.config.name,))
            self._log_repeatedly(f'empty result: {reason}')
        elif not counts['ready']:
            reason = f'warming: {self._warmup_progress(np.flatnonzero(verdicts.status == WARMING))}'
        self.status.reason = reason

    def _warmup_progress(self, rows):
        """How far the first of some entities is on its way to a score. Samples are not counted, so a gap is known only once it shows."""
        step, needed = self.config.step, self._detector.session.bundle.manifest.warmup_steps
        entities = self._detector.entities
        age = round(float((entities.last_seen[rows] - entities.first_seen[rows]).max()) / step) + 1
        if age > needed:
            return f'no entity has {needed} samples at a step of {step:g} s yet, for there are gaps'
        left = (needed - age + 1) * step  # the sample after the last of these is the first that is judged
        return f'{age} of {needed} steps of {step:g} s since the first sample, about {duration_text(left)} more if none is missing'

    def _report_odd_samples(self, tally, counts):
        for counter, attribute in (('nonfinite_samples', 'infinite'), ('query_warnings', 'warnings')):
            if amount := getattr(tally, attribute):
                self._telemetry.count(f'promlstm_detector_{counter}', (self.config.name,), amount)
                setattr(tally, attribute, 0)
                if counter == 'query_warnings':
                    self._log_repeatedly(f'the query API warns, data may be partial: {tally.last_warning}')
                else:
                    self._log_repeatedly('samples of ±Inf are taken as missing: look for a division by zero in the expression')
        if counts['dropped']:
            self._log_repeatedly(f'{counts["dropped"]} entities over max_entities ({self.config.max_entities}) are not watched')

    def _failed(self, error):
        stage = error.stage if isinstance(error, StageError) else 'schedule'
        cause = error.cause if isinstance(error, StageError) else error
        self._withdraw()
        self._telemetry.set('promlstm_detector_up', 0, self.config.name)
        for gauge in ('entities', 'anomalous_entities', 'last_step_duration_seconds'):
            self._telemetry.drop(f'promlstm_detector_{gauge}', self.config.name)
        self._telemetry.count('promlstm_detector_failures', (self.config.name, stage))
        self.status.reason = f'{stage}: {describe(cause)}'
        self._failures += 1
        expected = describe(cause) == str(cause)
        self._log_repeatedly(
            'step failed', level='error', key=self.status.reason, exc_info=None if expected else cause, stage=stage, err=describe(cause)
        )

    def _recovered(self):
        if self._failures:
            event(log, 'info', 'in order again', detector=self.config.name, failed_steps=self._failures)
            self._failures = 0
            self._logged_at.clear()

    def _log_repeatedly(self, message, *, level='warn', key=None, exc_info=None, **facts):
        """Log a condition when it begins, and every few minutes while it lasts."""
        key, now = key or message, time.monotonic()
        if now - self._logged_at.get(key, -REPEAT_SECONDS) >= REPEAT_SECONDS:
            self._logged_at[key] = now
            event(log, level, message, detector=self.config.name, exc_info=exc_info, **facts)


def duration_text(seconds):
    """A time as people say it, in its two largest units.

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
