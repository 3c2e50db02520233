"""The folder of `--storage.path`: checkpoints of the detectors and of the incidents, written beside the steps now and then, and read at the start.

Who calls it: scheduler (start, stop), runner (restore), live.incidents (restore_incidents). What flows through: snapshots of detectors and a record
of the incidents, to and from files. It never computes a score, and no step waits for it: one thread of its own opens the folder, reads and writes.
A disk that is full, read-only or silent costs the checkpoint, which is counted and logged, and neither a score nor the file from before.

One process has the folder: it holds a lock, which the system releases however the process ends. Another one goes without, says so, and writes
once the folder is free.
"""

import fcntl
import hashlib
import logging
import math
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promlstm import __version__
from promlstm.config import Detector as DetectorConfig
from promlstm.config import Source
from promlstm.engine.columns import Tensors, Verdicts
from promlstm.engine.detector import Detector
from promlstm.errors import CheckpointError
from promlstm.live import checkpoint
from promlstm.live.checkpoint import Abandoned, Content, Header
from promlstm.logs import Level, event
from promlstm.serve.page import OF_INCIDENTS
from promlstm.serve.telemetry import Telemetry
from promlstm.terminal import duration

log = logging.getLogger('promlstm.storage')

SUFFIX = '.checkpoint'
LOCK = '.lock'
LOOK_SECONDS = 0.5  # between two looks whether a checkpoint is due
SILENT_SECONDS = 30.0  # a checkpoint of 100 000 entities is read in one or two; after this the disk does not answer
AHEAD_SECONDS = 60.0  # a step of a clock that is corrected by less is not from the future
WAIT_SECONDS = 0.2  # who waits for the disk looks this often whether the exporter stops
REPEAT_SECONDS = 300.0  # the same failure is logged again after this
KEPT_SECONDS = 8 * 86400.0  # how long the checkpoint of a detector that is no longer configured is kept
# What memory does not depend on: who a detector is, where its model lies (its digest is compared), whom it reports and shows, how long it waits and reads.
# How it is divided stands in its expression: a shard with another part than before begins from history.
UNRELATED = {'name', 'source', 'model', 'sha256', 'missing', 'forget', 'history', 'max_entities', 'export', 'max_exported', 'split_by', 'split_until'}

LATER = {'absent': 'missing', 'noisy': 'alert', 'forecast': 'none'}  # keys that came later: at their default, memory is as it was before there was the key

Settings = Mapping[str, str]  # that memory depends on, as `settings` gives them
Kept = tuple[Settings, Content]  # what is written of a detector, or of the incidents
Snapshots = Callable[[], Mapping[str, Kept]]


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """How a detector goes on.

    verdicts  of the last step in its memory
    last      the process before was stopped after that step, and did not just end
    """

    verdicts: Verdicts
    last: bool


@dataclass(slots=True, eq=False)
class _Request:
    """A checkpoint that somebody waits for."""

    path: Path
    accept: Callable[[Header], None]
    done: threading.Event = field(default_factory=threading.Event)
    found: tuple[Header, Tensors] | Exception | None = None


class Storage:
    """The checkpoints of the detectors of a configuration.

    interval_seconds  between two checkpoints of a detector
    detectors         names of those that are configured
    stopping          set when the exporter stops
    limit_bytes       a larger checkpoint is not read; None = no limit
    now, monotonic    unix seconds, and seconds that only grow
    """

    def __init__(
        self, folder: str | Path, interval_seconds: float, detectors: Iterable[str], telemetry: Telemetry, stopping: threading.Event, *,
        limit_bytes: int | None = None, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._folder, self._interval, self._telemetry, self._stopping = Path(folder), interval_seconds, telemetry, stopping
        self._limit, self._now, self._monotonic = limit_bytes, now, monotonic
        self._ours = {self._path(name).name for name in (*detectors, OF_INCIDENTS)}  # files that are not swept
        self._lock: int | None = None  # descriptor; None = the folder is not ours
        self._requests: queue.SimpleQueue[_Request | tuple[str, Kept] | None] = queue.SimpleQueue()
        self._snapshots: Snapshots = dict
        self._written: dict[str, tuple[float, bool]] = {}  # detector: time of the step that its file has, and whether that was the last one
        self._due: dict[str, float] = {}  # detector: when the next one is due
        self._until = math.inf  # when a write is given up
        self._began: float | None = monotonic()  # what the thread does with the disk goes on since then; None = it waits
        self._said: dict[tuple[str, str], float] = {}  # failure: when it was logged last
        self._thread = threading.Thread(target=self._work, name='promlstm-storage', daemon=True)
        self._thread.start()

    def start(self, snapshots: Snapshots) -> None:
        """Write from now on what this gives: {detector: its settings and newest snapshot}."""
        self._snapshots = snapshots

    def stop(self, limit_seconds: float) -> bool:
        """Write what was not written yet, once no step is made any more; False = not all of it was written within the limit.

        True as well where the folder could not be used at all: that was logged when it was tried.
        """
        self._until = self._monotonic() + limit_seconds
        self._requests.put(None)
        self._thread.join(limit_seconds)
        if self._thread.is_alive():
            return False
        kept = self._snapshots() if self._lock is not None else {}
        return all(self._written.get(name) == (snapshot.time, True) for name, (_, snapshot) in kept.items())

    def part(self, name: str, kept: Kept) -> None:
        """Write what a detector that is no longer configured remembers, for the case that it comes back."""
        self._requests.put((name, kept))

    def restore(self, detector: Detector, ours: Settings) -> Restored | None:
        """Let a detector with these settings go on from its checkpoint; None = there is none that can be used, and why is logged.

        It waits for the disk, but not for ever, nor once the exporter stops.
        """
        name, path = detector.config.name, self._path(detector.config.name)
        self._telemetry.count('promlstm_checkpoint_failures', (name,), 0)
        self._telemetry.set('promlstm_detector_restored', 0, name)
        try:
            if (found := self._read(path, lambda header: self._accept(header, detector, ours))) is None:
                return None
            header, columns = found
            verdicts = detector.restore(columns, header.time)
        except FileNotFoundError:
            event(log, 'info', 'no checkpoint, memory is built from history', detector=name)
            return None
        except (CheckpointError, OSError, MemoryError) as error:
            self._refused(name, path, _text(error))
            return None
        self._telemetry.set('promlstm_detector_restored', 1, name)
        age = duration(max(0, round(self._now() - header.time)), units=2)
        event(log, 'info', 'memory restored from its checkpoint', detector=name, entities=header.entities, age=age)
        return Restored(verdicts, header.last)

    def restore_incidents(self, restore: Callable[[Tensors], None]) -> None:
        """Let incidents go on from their file, if there is one that can be used; else why is logged. `restore` raises CheckpointError.

        It waits for the disk as `restore` does.
        """
        path = self._path(OF_INCIDENTS)
        try:
            if found := self._read(path, self._accept_incidents):
                restore(found[1])
                event(log, 'info', 'incidents restored', members=found[0].entities)
        except FileNotFoundError:
            pass
        except (CheckpointError, OSError, MemoryError) as error:
            event(log, 'warn', 'incidents file is not used, incidents start empty', file=str(path), reason=_text(error))

    def _accept_incidents(self, header: Header) -> None:
        now = self._now()
        if header.detector != OF_INCIDENTS:
            raise CheckpointError(f'it belongs to the detector {header.detector!r}')
        if not -math.inf < header.time <= now + AHEAD_SECONDS:
            raise CheckpointError(f'its last step is {duration(round(header.time - now), units=2)} ahead of the clock')

    def _read(self, path: Path, accept: Callable[[Header], None]) -> tuple[Header, Tensors] | None:
        """What checkpoint.read gives, once the thread has read it; None = the folder cannot be had. CheckpointError where that takes too long."""
        request = _Request(path, accept)
        self._requests.put(request)
        while not request.done.wait(WAIT_SECONDS):
            began = self._began
            silent_seconds = self._monotonic() - began if began is not None else 0.0
            if silent_seconds > SILENT_SECONDS:
                raise CheckpointError(f'its disk has not answered for {silent_seconds:.0f} s')
            if self._stopping.is_set():
                raise CheckpointError('stopping')
        if isinstance(request.found, Exception):
            raise request.found
        return request.found

    def _refused(self, name: str, path: Path, reason: str) -> None:
        event(log, 'warn', 'checkpoint is not used, memory is built from history', detector=name, file=str(path), reason=reason)

    def _accept(self, header: Header, detector: Detector, ours: Settings) -> None:
        """CheckpointError where a detector cannot go on from a checkpoint with this header."""
        config, now = detector.config, self._now()
        if header.detector != config.name:
            raise CheckpointError(f'it belongs to the detector {header.detector!r}')
        if header.model != (running := detector.session.bundle.sha256):
            raise CheckpointError(f'it belongs to another model: sha256 {header.model[:12]}, the detector runs {running[:12]}')
        if differs := sorted(key for key in ours.keys() | header.settings.keys() if ours.get(key) != header.settings.get(key)):
            raise CheckpointError(_difference(differs[0], header.settings, ours))
        if not -math.inf < header.time <= now + config.step:
            raise CheckpointError(f'its last step is {duration(round(header.time - now), units=2)} ahead of the clock')
        replayed = detector.session.bundle.manifest.steps_of_replay(config.step, header.entities) * config.step
        if now - header.time > replayed:
            old, most = duration(round(now - header.time), units=2), duration(replayed, units=2)
            raise CheckpointError(f'it is {old} old, and a start reads {most} of history: the history is used instead')
        if header.entities > config.max_entities:
            raise CheckpointError(f'it has {header.entities} entities, max_entities is {config.max_entities}')
        detector.check(header.specs, header.entities)

    def _path(self, name: str) -> Path:
        if name == OF_INCIDENTS:
            return self._folder / f'incidents{SUFFIX}'  # those of detectors have a digest
        digest = hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()
        return self._folder / f'{re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:60]}-{digest[:12]}{SUFFIX}'

    # From here on: the thread.

    def _work(self) -> None:
        self._open()
        look = min(LOOK_SECONDS, self._interval / 4)
        while True:
            self._began = None
            try:
                request = self._requests.get(timeout=look)
            except queue.Empty:
                self._write_due()
                continue
            self._began = self._monotonic()
            if request is None:
                break
            if isinstance(request, tuple):
                self._write(*request, last=True)
                continue
            try:
                request.found = checkpoint.read(request.path, request.accept, limit_bytes=self._limit) if self._lock is not None else None
            except Exception as error:  # noqa: BLE001 (a thread hands back its failure)
                request.found = error
            if isinstance(request.found, tuple):
                header = request.found[0]  # the first step after it is written soon: until then a second restart would count its alarms again
                self._written[header.detector] = header.time, header.last
            request.done.set()
        for name, kept in self._snapshots().items():
            if self._written.get(name) != (kept[1].time, True):
                self._write(name, kept, last=True)
        if self._lock is not None:
            os.close(self._lock)

    def _write_due(self) -> None:
        now = self._monotonic()
        for name, kept in self._snapshots().items():
            if now >= self._due.get(name, now) and self._written.get(name, (None,))[0] != kept[1].time:
                self._due[name] = now + self._interval
                self._write(name, kept)

    def _write(self, name: str, kept: Kept, *, last: bool = False) -> None:
        path, (ours, snapshot) = self._path(name), kept
        self._began = began = self._monotonic()
        try:
            if self._lock is None and not self._open():
                self._count_failure(name)
                return
            size = checkpoint.write(
                path, snapshot, version=__version__, detector=name, settings=ours, last=last, now=self._now,
                go_on=lambda: self._monotonic() < self._until,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 (whatever it is, the next one may succeed, and scores go on)
            self._count_failure(name)
            of = {} if name == OF_INCIDENTS else {'detector': name}
            self._say('error', 'checkpoint not written, the previous one is kept', **of, file=str(path), err=_text(error))
            return
        took, self._written[name] = self._monotonic() - began, (snapshot.time, last)
        if name == OF_INCIDENTS:
            event(log, 'debug', 'incidents written', members=len(snapshot), bytes=size, seconds=took)
            return
        if name not in self._snapshots():  # it has parted: nothing of it is on the page
            return
        for metric, value in (('last_success_timestamp_seconds', self._now()), ('duration_seconds', took), ('size_bytes', size)):
            self._telemetry.set(f'promlstm_checkpoint_{metric}', value, name)
        event(log, 'debug', 'checkpoint written', detector=name, entities=len(snapshot), bytes=size, seconds=took)

    def _count_failure(self, name: str) -> None:
        if name == OF_INCIDENTS:
            self._telemetry.count('promlstm_incident_failures', ('write',))
        elif name in self._snapshots():
            self._telemetry.count('promlstm_checkpoint_failures', (name,))

    def _open(self) -> bool:
        """Take the folder, if no other process has it; False = it cannot be had, which is logged."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as error:
            self._say('error', 'storage folder cannot be used, memory is not kept', path=str(self._folder), err=_text(error))
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            reason = 'another process uses it' if isinstance(error, BlockingIOError) else f'its file system has no locks: {_text(error)}'
            self._say('warn', 'storage folder cannot be used, memory is not kept', path=str(self._folder), err=reason)
            return False
        self._lock = handle
        self._sweep()
        return True

    def _sweep(self) -> None:
        """Remove what a killed process was writing, and checkpoints of detectors that are gone for long."""
        with suppress(OSError):
            for entry in list(os.scandir(self._folder)):
                if not entry.is_file(follow_symlinks=False):
                    continue
                gone = entry.name.endswith(SUFFIX) and entry.name not in self._ours and self._now() - entry.stat().st_mtime > KEPT_SECONDS
                if gone or entry.name.endswith(SUFFIX + checkpoint.DRAFT):
                    os.unlink(entry)

    def _say(self, level: Level, message: str, **facts: Any) -> None:
        key, now = (message, str(facts)), self._monotonic()
        if now - self._said.get(key, -math.inf) >= REPEAT_SECONDS:
            self._said[key] = now
            event(log, level, message, **facts)


def settings(config: DetectorConfig, source: Source) -> dict[str, str]:
    """What memory depends on beside the model, as texts that are compared: what is asked, of whom, when, and what counts as a deviation."""
    texts = {name: _written(getattr(config, name)) for name in config.__struct_fields__ if name not in UNRELATED}
    texts['forecast'] = 'none' if config.forecast is None else 'remembered'  # horizons and limits need no other memory
    for key, default in LATER.items():
        if texts[key] == default:
            del texts[key]
    kind = () if source.kind == 'prometheus' else (source.kind,)
    asked = repr((source.url.rstrip('/'), sorted(source.params.items()), sorted(source.headers.items()), *kind))
    return texts | {'prometheus': hashlib.sha256(asked.encode('utf-8', 'surrogatepass')).hexdigest()}


def _written(value: Any) -> str:
    """A setting as text, whatever class it has.

    >>> from promlstm.config import Duration
    >>> _written(Duration(60)), _written((0.0, math.inf)), _written({'cpu': 'up'}), _written(None), _written('up')
    ('60.0', '[0.0, inf]', '{cpu: up}', 'none', 'up')
    """
    if isinstance(value, dict):
        return '{' + ', '.join(f'{key}: {_written(each)}' for key, each in value.items()) + '}'
    if isinstance(value, tuple):
        return '[' + ', '.join(map(_written, value)) + ']'
    return 'none' if value is None else str(float(value)) if isinstance(value, float) else str(value)


def _difference(key: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    if key == 'prometheus':
        return 'it was made from another Prometheus: url, params or headers have changed'
    return f'its {key} is {theirs.get(key, "not set")[:200]}, the configuration says {ours.get(key, "nothing")[:200]}'


def _text(error: BaseException) -> str:
    if isinstance(error, Abandoned):
        return 'no time was left'
    return getattr(error, 'strerror', None) or str(error) or type(error).__name__
