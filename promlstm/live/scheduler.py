"""All detectors of a configuration: their threads, what they share, whether they are ready, and how one configuration follows another.

Who calls it: `run` and `demo`. What flows through: a Config; runner.py does the rest. It knows no stage and no series.

A new configuration is taken as a whole or not at all. A detector that is the same goes on and does not notice. One that has changed warms up
beside the old one, which stays in service until the new one has something to show. One that is gone leaves the page at once; its memory is
written, if there is a storage, for the case that it comes back.
"""

import gc
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from promlstm import config as configuration
from promlstm.config import Config, Forecast
from promlstm.config import Detector as DetectorConfig
from promlstm.engine.detector import Detector
from promlstm.engine.interfaces import Sources
from promlstm.engine.session import Session
from promlstm.errors import BundleError, ConfigError
from promlstm.forecasts.model import Model
from promlstm.live import heap
from promlstm.live import storage as storages
from promlstm.live.clock import Clock
from promlstm.live.facts import Facts, Server
from promlstm.live.feedback import Feedback
from promlstm.live.forecasts import METRIC, PART
from promlstm.live.incidents import Gathering
from promlstm.live.models import Models
from promlstm.live.relay import Relay
from promlstm.live.runner import Runner, Watch
from promlstm.live.status import Status
from promlstm.live.storage import Kept, Storage
from promlstm.query.victorialogs import asked_every
from promlstm.serve.page import OF_INCIDENTS
from promlstm.serve.telemetry import Telemetry

COLLECT_SECONDS = 60.0
SPREAD_SECONDS, SPREAD_SHARE = 2.0, 1 / 10  # requests of different detectors are sent apart by up to this, or this share of a step
EACH_SECONDS, MANY_SHARE = 0.03, 1 / 4  # where they are many: so much for each of them, up to this share
TOGETHER = 16  # that many are judged together then

Item = TypeVar('Item')
Result = TypeVar('Result')


@dataclass(slots=True, eq=False)
class _Running:
    """A runner and what ends it."""

    runner: Runner
    relay: Relay
    clock: Clock
    thread: threading.Thread

    def end(self) -> None:
        """Let it say nothing any more, and stop after the chunk of work at hand."""
        self.relay.close()
        self.clock.stopping.set()


class Scheduler:
    """All detectors of a configuration, each in its own thread.

    sources   by name, all that the configuration has
    publish   publish(detector, blocks, expires, part): blocks = {family: text}, expires = instant of the clock after which they are stale
    withdraw  withdraw(detector), withdraw(detector, part)
    watch     watch(detector, verdicts, missing), after each step
    facts     what the source of a name says of itself: facts(name); None = they are no servers
    storage   where memory is kept over a restart; None = nowhere
    feedback  what silences say; None = nobody is asked
    incidents what alarms belong together; None = nobody looks
    """

    def __init__(
        self,
        config: Config,
        sources: Sources,
        *,
        clock: Clock,
        telemetry: Telemetry,
        publish: Callable[..., None],
        withdraw: Callable[..., None],
        watch: Watch | None = None,
        facts: Callable[[str], Facts] | None = None,
        storage: Storage | None = None,
        feedback: Feedback | None = None,
        incidents: Gathering | None = None,
    ) -> None:
        self.clock, self.telemetry, self.storage, self.feedback, self.incidents = clock, telemetry, storage, feedback, incidents
        self._config, self._sources = config, sources
        self._servers = {name: Server(facts and facts(name), name) for name in config.named_sources}
        self._publish, self._withdraw, self._watch = publish, withdraw, watch
        self._models = Models(clock.stopping)
        self._lock = threading.RLock()  # who is in service, and who waits
        self._serving: dict[str, _Running] = {}
        self._waiting: dict[str, _Running] = {}
        self._threads: list[threading.Thread] = []
        self._started = self._was_ready = False
        self._huge_pages = True  # whether the kernel could give them before the start
        for detector in config.detectors:
            self._add(detector)
        self._collected = time.monotonic()

    @property
    def runners(self) -> list[Runner]:
        """Those in service, in the order of the configuration."""
        with self._lock:
            return [running.runner for running in self._serving.values()]

    def start(self) -> None:
        """Start the threads."""
        gc.freeze()
        gc.disable()  # a step leaves few cycles, not worth a pause in it; `collect_garbage` frees what errors leave behind
        self._huge_pages = heap.use_huge_pages(False)
        if self.storage:
            self.storage.start(self._kept)
        if self.incidents:
            self.incidents.start(self.storage)
        with self._lock:
            self._started = True
            for running in self._serving.values():
                running.thread.start()

    def stop(self, limit_seconds: float) -> bool:
        """Ask all detectors to stop after the chunk of work at hand; True = they all did within the limit."""
        self.clock.stopping.set()
        until = time.monotonic() + limit_seconds
        with self._lock:
            for running in (*self._serving.values(), *self._waiting.values()):
                running.clock.stopping.set()
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        read = self._models.ended(max(0.0, until - time.monotonic()))
        gc.enable()
        heap.use_huge_pages(self._huge_pages)
        return read and not any(thread.is_alive() for thread in threads)

    def apply(self, config: Config, sources: Sources, facts: Callable[[str], Facts] | None = None) -> list[str]:
        """Run another configuration from now on; returns what has changed, in words. A detector whose source has changed is another one.

        sources, facts  as of the start; what they have of a source that has not changed may be the same
        raises          ConfigError where a detector could not run, and then nothing has changed
        """
        self.ready()  # it stays so, although those that are added have not scored yet
        changed = configuration.changes(self._config, config)
        old = {detector.name: detector for detector in self._config.detectors}
        before, after = self._config.named_sources, config.named_sources
        elsewhere = {each.name for each in config.detectors if each.name in old and config.source_of(each) != self._config.source_of(old[each.name])}
        new = [detector for detector in config.detectors if detector.name in elsewhere or old.get(detector.name) != detector]
        try:
            for detector in new:
                self._prove(detector, config, sources)
        except ConfigError:
            self._models.keep(self._in_use(), config.root)
            raise
        with self._lock:
            if self.clock.stopping.is_set():
                return []
            self._config, self._sources = config, sources
            kept = {name: server for name, server in self._servers.items() if before.get(name) == after.get(name)}
            self._servers = {name: kept.get(name) or Server(facts and facts(name), name) for name in after}
            if self.incidents:
                self.incidents.use(config.root_cause)
            for name in self._serving.keys() - {detector.name for detector in config.detectors}:
                self._remove(name)
            for name in {detector.name for detector in config.detectors} & self._waiting.keys():
                self._waiting.pop(name).end()  # of a configuration that is no longer in force
            serving = {running.runner.config.name: running.runner.config for running in self._serving.values()}
            for detector in config.detectors:
                if detector.name in elsewhere or serving.get(detector.name) != detector:
                    self._add(detector)
            self._models.keep(self._in_use(), config.root)
        return changed

    def _prove(self, detector: DetectorConfig, config: Config, sources: Sources) -> None:
        """ConfigError where the model of a detector cannot be used with its settings."""
        try:
            Detector(detector, self.session(detector, config.root), asked_every(sources[config.source_name(detector)], detector.step))
            if detector.forecast:
                self.forecaster(detector.forecast, config.root).check(detector.step, detector.forecast.horizons)
        except BundleError as error:
            raise ConfigError(f'detector {detector.name}: {error}') from error

    def _in_use(self) -> list[DetectorConfig]:
        with self._lock:
            return [running.runner.config for running in (*self._serving.values(), *self._waiting.values())]

    def _add(self, detector: DetectorConfig) -> None:
        """Make a runner; beside one that is in service it waits. It is started, if the others are."""
        name, clock = detector.name, self.clock.fork()
        beside = name in self._serving
        relay = Relay(
            self.telemetry, partial(self._publish, name), partial(self._withdraw, name), take_over=partial(self._take_over, name) if beside else None
        )
        source, settings = self._config.source_name(detector), storages.settings(detector, self._config.source_of(detector))
        asked = asked_every(self._sources[source], detector.step)
        runner = Runner(detector, asked, self, clock, relay, settings, self._watch, self._config.root, server=self._servers[source])
        running = _Running(runner, relay, clock, threading.Thread(target=runner.run, name=f'promlstm-{name}', daemon=True))
        (self._waiting if beside else self._serving)[name] = running
        self._threads = [thread for thread in self._threads if thread.is_alive() or not self._started] + [running.thread]
        if self._started:
            running.thread.start()

    def _take_over(self, name: str) -> None:
        """Let the one that waits take the place of the one in service; called from its thread."""
        with self._lock:
            waiting = self._waiting.get(name)
            if waiting is None or waiting.thread is not threading.current_thread():
                return  # replaced in the meantime
            del self._waiting[name]
            self._serving[name].end()
            self._withdraw(name, PART)  # what the old one forecast would stay on the page for longer than its scores
            # So would the gauges of how good it was, by horizons that there may be no more. The new one has counted already.
            self.telemetry.forget(name, METRIC, ('gauge',) if waiting.runner.config.forecast else ('gauge', 'counter'))
            self._serving[name] = waiting
            waiting.relay.open()

    def _remove(self, name: str) -> None:
        running = self._serving.pop(name)
        running.end()
        if name in self._waiting:
            self._waiting.pop(name).end()
        self._withdraw(name)
        self.telemetry.forget(name)
        if self.incidents:
            self.incidents.forget(name)
        if self.storage and running.runner.snapshot:
            self.storage.part(name, (running.runner.settings, running.runner.snapshot))

    def _kept(self) -> dict[str, Kept]:
        """{detector: what the storage writes of it}, and that of the incidents."""
        kept: dict[str, Kept] = {runner.config.name: (runner.settings, snapshot) for runner in self.runners if (snapshot := runner.snapshot)}
        if self.incidents and (record := self.incidents.kept()):
            kept[OF_INCIDENTS] = {}, record
        return kept

    def statuses(self) -> dict[str, Status]:
        """{detector: Status of the one in service}; it notes what a changed one beside it waits for."""
        with self._lock:
            found = {name: running.runner.status for name, running in self._serving.items()}
            for name, waiting in self._waiting.items():
                found[name] = found[name].noted(f'with its previous settings, until the changed ones have scores: {waiting.runner.status}')
        return found

    def in_force(self) -> tuple[Config, Sources]:
        """The configuration that runs now, and its sources by name."""
        with self._lock:
            return self._config, self._sources

    def source_names(self) -> dict[str, str]:
        """{detector: name of the source that it asks}."""
        with self._lock:
            return {detector.name: self._config.source_name(detector) for detector in self._config.detectors}

    def ready(self) -> bool:
        """True once every detector has scored or has reported why not, and at least one has computed a step. A shard may have none at all.

        It then stays true: later failures are reported by the gauges and alerts of the detectors, and are no reason to take /metrics out
        of service. Where no step was ever computed, a rollout must not replace what works.
        """
        statuses = [runner.status for runner in self.runners]
        ready = all(status.scored or status.reason for status in statuses) and (not statuses or any(status.stepped for status in statuses))
        self._was_ready = self._was_ready or ready  # detectors that a new configuration adds begin from nothing
        return self._was_ready

    def run_queries(self, query: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        """Run the queries of a detector, those of several features at once."""
        items = list(items)
        if len(items) < 2:
            return map(query, items)
        with ThreadPoolExecutor(len(items), 'promlstm-query') as pool:  # of this step alone: no detector can use up the threads of another
            return list(pool.map(query, items))

    def session(self, config: DetectorConfig, root: str) -> Session:
        """The session of a detector's model file in the newest version that was read, as models.Model.session."""
        return self._models.session(config, root)

    def forecaster(self, settings: Forecast, root: str) -> Model:
        """The model that forecasts for a detector in the newest version that was read; raises as `session`."""
        return self._models.forecaster(settings, root)

    def spread_seconds(self, step: float) -> float:
        """Over how many seconds of a step the requests of all detectors are sent apart: 15 of a minute for 500 of them.

        Scores come later by as much, for they are of the same instant: a few detectors need no spread that one notices.
        """
        many = EACH_SECONDS * len(self._serving)
        return min(SPREAD_SECONDS, step * SPREAD_SHARE) if many <= SPREAD_SECONDS else min(many, step * MANY_SHARE)

    def wait_seconds(self, step: float) -> float:
        """For how long detectors wait for each other, to be judged together: until some have their samples; 0 where they are few.

        Half a second of a minute, for up to 500.
        """
        many = len(self._serving)
        return TOGETHER * self.spread_seconds(step) / many / self.clock.speed if EACH_SECONDS * many > SPREAD_SECONDS else 0.0

    def collect_garbage(self, entities: int) -> None:
        """Give back what a large step has freed; free the cyclic garbage that exceptions leave, at most once a minute and never within a step."""
        heap.give_back(entities)
        with self._lock:
            if time.monotonic() - self._collected < COLLECT_SECONDS:
                return
            self._collected = time.monotonic()
        gc.collect()
