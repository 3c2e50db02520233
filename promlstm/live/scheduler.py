"""All detectors of a configuration: their threads, what they share, whether they are ready.

Who calls it: `run` and `demo`. What flows through: a Config; the rest is runner.py. It knows no stage and no series.
"""

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from promlstm.engine import session as sessions
from promlstm.errors import BundleError
from promlstm.live.runner import Runner

COLLECT_SECONDS = 60.0


class Scheduler:
    """All detectors of a configuration, each on its own clock.

    publish   publish(detector, blocks, expires): blocks = {family: text}, expires = instant of the clock after which they are stale
    withdraw  withdraw(detector)
    watch     watch(detector, verdicts), after each step; for the demo
    """

    def __init__(self, config, source, *, clock, telemetry, publish, withdraw, watch=None):
        self.clock, self.telemetry = clock, telemetry
        self._pool = ThreadPoolExecutor(config.prometheus.concurrency, 'promlstm-query')
        self._sessions, self._lock = {}, threading.Lock()
        self.runners = [
            Runner(detector, source, self, partial(publish, detector.name), partial(withdraw, detector.name), watch, config.root)
            for detector in config.detectors
        ]
        self._threads = [threading.Thread(target=runner.run, name=f'promlstm-{runner.config.name}', daemon=True) for runner in self.runners]
        self._collected = time.monotonic()

    def start(self):
        """Start all clocks."""
        gc.freeze()
        gc.disable()  # columns make no cycles worth a pause in a step; `collect_garbage` takes what errors leave behind
        for thread in self._threads:
            thread.start()

    def stop(self, limit_seconds):
        """Ask all detectors to stop at their next chunk; True = they all did within the limit."""
        self.clock.stopping.set()
        until = time.monotonic() + limit_seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._pool.shutdown(wait=False, cancel_futures=True)
        gc.enable()
        return not any(thread.is_alive() for thread in self._threads)

    def statuses(self):
        """{detector: Status}."""
        return {runner.config.name: runner.status for runner in self.runners}

    def ready(self):
        """True once every detector has scored or has said why not, and one at least has computed a step.

        Once true it stays so: what fails later is told by the detectors' gauges and alerts, and is no reason to hide the page. Where
        nothing was ever computed, a rollout must not replace what works.
        """
        statuses = [runner.status for runner in self.runners]
        return all(status.scored or status.reason for status in statuses) and any(status.stepped for status in statuses)

    def run_queries(self, function, items):
        """Run the queries of a detector, those of several features at once."""
        items = list(items)
        return self._pool.map(function, items) if len(items) > 1 else map(function, items)

    def session(self, config, root):
        """The session of a detector's model file as it lies now; detectors of the same file share one. A file, good or bad, is read once.

        raises  BundleError  what is wrong with the file
        """
        path = sessions.resolve(config.model, root)
        with self._lock:
            key, stamp = (path, config.sha256), sessions.stamp(path)
            if key not in self._sessions or self._sessions[key][0] != stamp:
                self._sessions[key] = (stamp, *_loaded(path, config.sha256))
            _, session, error = self._sessions[key]
        if error:
            raise error.with_traceback(None)
        return session

    def collect_garbage(self):
        """Take the cyclic garbage that exceptions leave, once a minute and never within a step."""
        with self._lock:
            if time.monotonic() - self._collected < COLLECT_SECONDS:
                return
            self._collected = time.monotonic()
        gc.collect()


def _loaded(path, sha256):
    """(Session, None), or (None, what is wrong with the file)."""
    try:
        return sessions.load(path, sha256=sha256), None
    except BundleError as error:
        return None, error
