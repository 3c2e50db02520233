"""The configuration file, read again: when SIGHUP or a request asks for it, and when the file has changed.

Who calls it: `run`. What flows through: a path; out comes a Config that the scheduler takes as a whole or not at all. One thread does it, so
whoever asks meanwhile gets the result of one more reading. What a changed file says of detectors is the scheduler's business.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from promlstm import config as configuration
from promlstm.config import Config
from promlstm.engine.session import stamp
from promlstm.errors import ConfigError
from promlstm.live.clock import Stopping
from promlstm.logs import event
from promlstm.serve.telemetry import Telemetry

log = logging.getLogger('promlstm.main')
WATCH_SECONDS = 5.0  # between two looks at the file: a poll works on every file system, and where the system has no watches left
SETTLE_SECONDS, SETTLE_LOOKS = 0.25, 40  # a file that changes within this time is read again, so often at most
DOUBTED_LOOKS = 4  # a file that is not valid has to stay as it is for so many times that long: it may be half written
PRESETS = 'the configuration consists of presets, there is no file to reload'


class Reload:
    """Reads a configuration file again.

    path   None = the configuration consists of presets
    apply  takes a Config into force and gives what has changed, in words; ConfigError where it cannot, and nothing has changed
    said   called with each Config that has come into force and is another one than before
    seen   the engine.session.stamp of the file from before it was read for the configuration in force: a change since then is found
    """

    def __init__(
        self, path: str | None, apply: Callable[[Config], list[str]], telemetry: Telemetry, said: Callable[[Config], None], *,
        seen: tuple[int, ...] | None, watch_seconds: float = WATCH_SECONDS,
    ) -> None:  # fmt: skip
        self._path, self._apply, self._telemetry, self._said, self._watch_seconds = path, apply, telemetry, said, watch_seconds
        self._lock, self._wanted = threading.Lock(), threading.Event()
        self._asked: list[Future[str]] = []
        self._seen = seen
        self._succeeded()

    def start(self) -> None:
        """Begin to read and to watch."""
        threading.Thread(target=self._run, name='promlstm-reload', daemon=True).start()

    def ask(self) -> 'Future[str]':
        """Read the file once more; the result is empty, or says why the configuration in force is kept."""
        future: Future[str] = Future()
        with self._lock:
            self._asked.append(future)
        self._wanted.set()
        return future

    def _run(self) -> None:
        while True:
            if not self._wanted.wait(self._watch_seconds) and (not self._path or stamp(self._path) == self._seen):
                continue
            self._wanted.clear()
            with self._lock:
                # Running, a future cannot be cancelled any more: a request that is given up must not end this thread.
                asked, self._asked = [future for future in self._asked if future.set_running_or_notify_cancel()], []
            stopping = False
            try:
                problem = self._read()
            except Stopping:
                problem, stopping = 'promlstm is stopping', True
            except Exception as error:  # noqa: BLE001 (the next change must find the thread)
                problem = f'{type(error).__name__}: {error}'
                event(log, 'error', 'reload failed', exc_info=error)
            for future in asked:
                future.set_result(problem)
            if stopping:
                return

    def _read(self) -> str:
        """Read the file and run what it says, all of it or nothing; what is wrong with it, empty = nothing."""
        if not self._path:
            event(log, 'info', PRESETS)
            return PRESETS
        try:
            config = self._settled(self._path)
            changes = self._apply(config)
        except ConfigError as error:
            self._telemetry.set('promlstm_config_last_reload_successful', 0)
            event(log, 'error', 'configuration file is not valid, the configuration in force is kept', err=str(error))
            return str(error)
        self._succeeded()
        if changes:
            event(log, 'info', 'configuration file has changed and is in force', config=self._path, changed=', '.join(changes))
            self._said(config)
        else:
            event(log, 'info', 'configuration file equals the configuration in force', config=self._path)
        return ''

    def _succeeded(self) -> None:
        self._telemetry.set('promlstm_config_last_reload_successful', 1)
        self._telemetry.set('promlstm_config_last_reload_success_timestamp_seconds', time.time())

    def _settled(self, path: str) -> Config:
        """The Config of a file that has stopped changing: half a list of detectors is a valid file, too. ConfigError as of the last version."""
        config, error, calm = None, None, 0
        for _ in range(SETTLE_LOOKS):
            if not calm:
                self._seen = stamp(path)
                try:
                    config, error = configuration.load(path), None
                except ConfigError as found:
                    config, error = None, found
            if not os.path.isfile(path):
                break
            time.sleep(SETTLE_SECONDS)
            calm = calm + 1 if stamp(path) == self._seen else 0
            if calm >= (DOUBTED_LOOKS if error else 1):
                break
        if config is None:
            assert error
            raise error
        return config
