"""Model files as they are now: looked at, read and proven in a thread for each file, so that no step waits for one.

Who calls it: scheduler, with the detectors' configurations. What flows through: a path; out come sessions, or what is wrong with the file. A
runner takes the newest session between two steps, and waits only for the first. A disk that does not answer holds this file's thread alone:
detectors that have its model go on with it, and say so.
"""

import threading
import time
from collections.abc import Callable, Iterable, Set
from functools import cache
from pathlib import Path
from typing import Generic

from promlstm.config import Detector as DetectorConfig
from promlstm.config import Forecast
from promlstm.engine import session as sessions
from promlstm.engine.session import Loaded, Session
from promlstm.engine.trial import Trials
from promlstm.errors import BundleError
from promlstm.forecasts import model as forecasting
from promlstm.forecasts import trial
from promlstm.live.clock import Stopping

LOOK_SECONDS = 1.0  # a file is looked at this often
AGAIN_SECONDS = 30.0  # one that could not be used is read again after this: memory, descriptors or the disk may be back
SILENT_SECONDS = 60.0  # reading and proving a file takes seconds; after this its disk does not answer
STOP_SECONDS = 0.2  # who waits for the first version looks this often whether the exporter stops

Key = tuple[Path, str | None]  # of a model file: where it is, and the digest that the configuration pins it to
Stamp = Callable[[Path], object]


class Model(Generic[Loaded]):
    """One model file, with the digest that the configuration pins it to.

    stopping  set when the exporter stops
    load      load(path, sha256) gives what the file is loaded to, or raises BundleError
    stamp     stamp(path) changes when the file does
    now       seconds that only grow
    """

    def __init__(
        self, path: Path, sha256: str | None, stopping: threading.Event, *,
        load: Callable[[Path, str | None], Loaded], stamp: Stamp = sessions.stamp, now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._path, self._sha256, self._stopping = path, sha256, stopping
        self._load, self._stamp, self._now = load, stamp, now
        self._known: object = object()  # the stamp of the version that was read last: of none
        self._found: Loaded | Exception | None = None
        self._again = 0.0  # when a version that could not be used is read again
        self._began: float | None = now()  # the look that goes on; None = none does
        self._looked = threading.Event()  # the first look has ended
        self._dropped = False
        self._thread = threading.Thread(target=self._watch, name='promlstm-model', daemon=True)
        self._thread.start()

    def newest(self) -> Loaded:
        """The newest version that was read; waits for the first.

        raises  BundleError  what is wrong with the newest version, or with the disk it lies on
                Stopping     the exporter stops, and nothing was read
        """
        while not self._looked.wait(STOP_SECONDS) and not self._silent():
            if self._stopping.is_set():
                raise Stopping
        if self._silent():
            raise BundleError(f'{self._path}: not read and verified within {SILENT_SECONDS:g} s: its disk does not answer, or no CPU is available')
        assert self._found is not None
        if isinstance(self._found, Exception):
            raise self._found.with_traceback(None)
        return self._found

    def drop(self) -> None:
        """Look at the file no more: no detector has it."""
        self._dropped = True

    def ended(self, limit_seconds: float) -> bool:
        """Wait until the look that goes on has ended, once the exporter stops; False = it has not within the limit."""
        self._thread.join(limit_seconds)
        return not self._thread.is_alive()

    def _silent(self) -> bool:
        began = self._began
        return began is not None and self._now() - began > SILENT_SECONDS

    def _watch(self) -> None:
        while not self._stopping.is_set() and not self._dropped:
            self._began = self._now()
            self._look()
            self._began = None
            self._looked.set()
            self._stopping.wait(LOOK_SECONDS)

    def _look(self) -> None:
        """Read the file if it is not the version that was read last, or that one could not be used a while ago."""
        stamp = self._stamp(self._path)
        if stamp == self._known and (not isinstance(self._found, Exception) or self._now() < self._again):
            return
        try:
            self._found = self._load(self._path, self._sha256)
        except MemoryError:
            self._found = BundleError(f'{self._path}: it does not fit into the memory that there is')
        except Exception as error:  # noqa: BLE001 (a thread hands back its failure; the runner reports it)
            self._found = error
        self._known, self._again = stamp, self._now() + AGAIN_SECONDS


class _Files(Generic[Loaded]):
    """Files of one kind, by key; whoever asks holds the lock of Models.

    trials  of such files
    load    load(path, sha256=…, trial=…), as session.load
    """

    def __init__(self, stopping: threading.Event, trials: Trials, load: Callable[..., Loaded]) -> None:
        self._stopping, self.trials, self._load = stopping, trials, load
        self._models: dict[Key, Model[Loaded]] = {}

    def model(self, key: Key) -> Model[Loaded]:
        """The Model of a file, looked at from now on."""
        if key not in self._models:
            self._models[key] = Model(*key, self._stopping, load=lambda path, sha256: self._load(path, sha256=sha256, trial=self.trials))
        return self._models[key]

    def keep(self, keys: Set[Key]) -> None:
        """Look only at these files from now on."""
        for key in self._models.keys() - keys:
            self._models.pop(key).drop()

    def ends(self) -> list[Callable[[float], bool]]:
        """Model.ended of each."""
        return [model.ended for model in self._models.values()]


class Models:
    """The model files of a configuration; detectors with the same file share one Model, so each version is read once."""

    def __init__(self, stopping: threading.Event) -> None:
        self._lock = threading.Lock()
        self._scoring = _Files(stopping, Trials(), sessions.load)
        self._forecasting = _Files(stopping, Trials(module=trial.MODULE), forecasting.load)

    def keep(self, configs: Iterable[DetectorConfig], root: str) -> None:
        """Look only at the files of these detectors from now on."""
        configs = list(configs)
        with self._lock:
            self._scoring.keep({_key(config, root) for config in configs})
            self._forecasting.keep({_key(config.forecast, root) for config in configs if config.forecast})

    def session(self, config: DetectorConfig, root: str) -> Session:
        """The session of a detector's model file, as Model.newest."""
        with self._lock:
            model = self._scoring.model(_key(config, root))
        return model.newest()

    def forecaster(self, settings: Forecast, root: str) -> forecasting.Model:
        """The model that forecasts for a detector, as Model.newest."""
        with self._lock:
            model = self._forecasting.model(_key(settings, root))
        return model.newest()

    def ended(self, limit_seconds: float) -> bool:
        """Wait until no file is read any more, as Model.ended: the interpreter must not end while ONNX Runtime runs in a thread."""
        for trials in (self._scoring.trials, self._forecasting.trials):
            trials.stop()
        until = time.monotonic() + limit_seconds
        with self._lock:
            ends = [*self._scoring.ends(), *self._forecasting.ends()]
        return all(ended(max(0.0, until - time.monotonic())) for ended in ends)


def _key(settings: DetectorConfig | Forecast, root: str) -> Key:
    return _resolved(settings.model, root), settings.sha256


_resolved = cache(sessions.resolve)  # asked at every step, and no step looks at a disk
