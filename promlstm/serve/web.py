"""The web configuration in force: read at the start, and again whenever one of its files has changed. All of a new one counts, or nothing.

Who calls it: `run` (load, watch, SIGHUP), server and door (what is in force now). What flows through: the file, and the certificates, keys
and authorities that it names. They are looked at by a thread of its own, since a disk may be slow, and read when they have stopped changing.

A new configuration that cannot be used leaves the old one in force: one line in the log, and a gauge. That is so too while only one of a
certificate and its key is new. A file that has become empty is not taken for one that asks for no password: it may be half written.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext, SSLObject

from promlstm.errors import ConfigError
from promlstm.logs import event
from promlstm.serve.door import Bucket
from promlstm.serve.telemetry import Telemetry
from promlstm.serve.tls import context, let_in
from promlstm.serve.web_config import TLS, WebConfig, interval_seconds, read

log = logging.getLogger('promlstm.server')
POLL_SECONDS = 1.0
STOP_SECONDS = 5.0  # waited for a look at the files that is under way: a disk may be slow
_Stamp = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class InForce:
    """A configuration, and what was made of it. stamps: of the certificates, keys and authorities."""

    config: WebConfig
    tls: SSLContext | None = None
    stamps: _Stamp = ()
    bucket: Bucket | None = None


class Web:
    """The web configuration of one server.

    path     of the file; None = nothing is configured
    raises   ConfigError, where it cannot be used at the start
    """

    def __init__(self, path: str | Path | None, telemetry: Telemetry) -> None:
        self._path, self._telemetry = Path(path) if path else None, telemetry
        self._changed: Callable[[], object] = lambda: None
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._watch, name='promlstm-web-config', daemon=True)
        self._complaint, self._latest = '', WebConfig()  # the configuration that was read last, in force or not: its files are looked at
        self._seen: _Stamp = ()
        self._now = self._read(None) if self._path else InForce(WebConfig())
        self._succeeded()

    @property
    def tls(self) -> SSLContext | None:
        """What connections are made with; None = they are plain."""
        return self._now.tls

    @property
    def users(self) -> Mapping[str, str]:
        """{user: bcrypt hash}; empty = no password is asked for."""
        return self._now.config.users

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of every answer."""
        return self._now.config.headers

    @property
    def bucket(self) -> Bucket | None:
        """What limits requests."""
        return self._now.bucket

    def lets_in(self, connection: SSLObject) -> bool:
        """Whether the client of a TLS connection may stay."""
        tls = self._now.config.tls_server_config
        return let_in(connection, tls.client_allowed_sans if tls else None)

    def watch(self, changed: Callable[[], object]) -> None:
        """Look for changes from now on. changed: called in another thread when connections have to be made anew."""
        self._changed = changed
        if self._path:
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def reread(self) -> None:
        """Read the files again now, whether they have changed or not."""
        if self._path:
            with self._lock:
                self._reread(self._stamp(self._latest))

    def _watch(self) -> None:
        before = self._seen
        while not self._stop.wait(POLL_SECONDS):
            with self._lock:
                stamp = self._stamp(self._latest)
                if stamp != self._seen and stamp == before:  # it has stopped changing
                    self._reread(stamp)
                before = stamp

    def _reread(self, stamp: _Stamp) -> None:
        self._seen = stamp
        try:
            fresh = self._read(self._now)
        except ConfigError as error:
            self._telemetry.set('promlstm_web_config_last_reload_successful', 0)
            if str(error) != self._complaint:
                self._complaint = str(error)
                event(log, 'error', 'web configuration cannot be used, the previous one stays in force', err=str(error))
            return
        old, self._now, self._complaint = self._now, fresh, ''
        self._succeeded()
        event(log, 'info', 'web configuration reloaded', config=self._path, tls=bool(fresh.tls), users=len(fresh.config.users))
        if old.tls is not fresh.tls or _sans(old.config) != _sans(fresh.config):
            self._changed()

    def _succeeded(self) -> None:
        self._telemetry.set('promlstm_web_config_last_reload_successful', 1)
        self._telemetry.set('promlstm_web_config_last_reload_success_timestamp_seconds', time.time())

    def _read(self, old: InForce | None) -> InForce:
        """What is in the files now; raises ConfigError."""
        assert self._path
        stamp = self._stamp(WebConfig())  # all stamps are taken before the file is read: what changes in between is read again
        config = read(self._path, may_be_empty=not old or old.config == WebConfig())
        self._latest = config
        tls, stamps, made = config.tls_server_config, self._stamp(config)[1:], None
        self._seen = stamp + stamps
        if tls and tls.enabled:
            same = old and old.config.tls_server_config == tls and old.stamps == stamps
            made = old.tls if old and same else context(tls, self._path.parent, str(self._path))
        limit = config.rate_limit
        seconds = interval_seconds(limit) if limit else 0.0
        bucket = Bucket(seconds, limit.burst) if limit and seconds else None
        return InForce(config, made, stamps, old.bucket if old and old.config.rate_limit == limit else bucket)

    def _stamp(self, config: WebConfig) -> _Stamp:
        """What tells a file from what it was: of the configuration and of all that it names."""
        if not self._path:
            return ()
        tls = config.tls_server_config or TLS()
        files = [self._path, *(self._path.parent / name for name in (tls.cert_file, tls.key_file, tls.client_ca_file) if name)]
        return tuple(map(_stamp_of, files))


def _sans(config: WebConfig) -> list[str] | None:
    return config.tls_server_config.client_allowed_sans if config.tls_server_config else None


def _stamp_of(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
