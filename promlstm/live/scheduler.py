"""All detectors of a configuration: their threads, what they share, whether they are ready.

Who calls it: `run` and `demo`. What flows through: a Config; runner.py does the rest. It knows no stage and no series.
"""

import gc
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from promlstm.config import Config
from promlstm.config import Detector as DetectorConfig
from promlstm.engine.interfaces import Source
from promlstm.engine.session import Session
from promlstm.live.clock import Clock
from promlstm.live.facts import Facts, Server
from promlstm.live.models import Models
from promlstm.live.runner import Blocks, Runner, Watch
from promlstm.live.status import Status
from promlstm.live.storage import Storage
from promlstm.serve.telemetry import Telemetry

COLLECT_SECONDS = 60.0

Item = TypeVar('Item')
Result = TypeVar('Result')


class Scheduler:
    """All detectors of a configuration, each in its own thread.

    publish   publish(detector, blocks, expires): blocks = {family: text}, expires = instant of the clock after which they are stale
    withdraw  withdraw(detector)
    watch     watch(detector, verdicts), after each step; for the demo
    facts     what the query API says of itself; None = it is no server
    storage   where memory is kept over a restart; None = nowhere
    """

    def __init__(
        self,
        config: Config,
        source: Source,
        *,
        clock: Clock,
        telemetry: Telemetry,
        publish: Callable[[str, Blocks, float], None],
        withdraw: Callable[[str], None],
        watch: Watch | None = None,
        facts: Facts | None = None,
        storage: Storage | None = None,
    ) -> None:
        self.clock, self.telemetry, self.server = clock, telemetry, Server(facts)
        self.storage = storage
        self._models = Models(clock.stopping)
        self._lock = threading.Lock()
        self.runners = [
            Runner(detector, source, self, partial(publish, detector.name), partial(withdraw, detector.name), watch, config.root)
            for detector in config.detectors
        ]
        self._threads = [threading.Thread(target=runner.run, name=f'promlstm-{runner.config.name}', daemon=True) for runner in self.runners]
        self._collected = time.monotonic()

    def start(self) -> None:
        """Start the threads."""
        gc.freeze()
        gc.disable()  # a step leaves few cycles, not worth a pause in it; `collect_garbage` frees what errors leave behind
        if self.storage:
            self.storage.start(lambda: {runner.config.name: runner.snapshot for runner in self.runners})
        for thread in self._threads:
            thread.start()

    def stop(self, limit_seconds: float) -> bool:
        """Ask all detectors to stop after the chunk of work at hand; True = they all did within the limit."""
        self.clock.stopping.set()
        until = time.monotonic() + limit_seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        read = self._models.ended(max(0.0, until - time.monotonic()))
        gc.enable()
        return read and not any(thread.is_alive() for thread in self._threads)

    def statuses(self) -> dict[str, Status]:
        """{detector: Status}."""
        return {runner.config.name: runner.status for runner in self.runners}

    def ready(self) -> bool:
        """True once every detector has scored or has reported why not, and at least one has computed a step.

        It then stays true: later failures are reported by the gauges and alerts of the detectors, and are no reason to take /metrics out
        of service. Where no step was ever computed, a rollout must not replace what works.
        """
        statuses = [runner.status for runner in self.runners]
        return all(status.scored or status.reason for status in statuses) and any(status.stepped for status in statuses)

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

    def collect_garbage(self) -> None:
        """Free the cyclic garbage that exceptions leave, at most once a minute and never within a step."""
        with self._lock:
            if time.monotonic() - self._collected < COLLECT_SECONDS:
                return
            self._collected = time.monotonic()
        gc.collect()
