"""The web server: listens, and holds every connection in one event loop, in a thread of its own.

Who calls it: `run` and `demo`. What flows through: sockets. What is said on a connection is in conversation.py, who gets a place in
connections.py, and what is answered in site.py; the server knows nothing of detectors.
"""

import asyncio
import logging
import math
import resource
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from promlstm.errors import ConfigError
from promlstm.logs import event
from promlstm.serve.connections import Connections, Limits, State, client_of
from promlstm.serve.conversation import Application, Conversation
from promlstm.serve.door import Door
from promlstm.serve.web import Web

log = logging.getLogger('promlstm.server')
PAUSE_SECONDS = 0.2  # after a connection that could not be accepted
REPEAT_SECONDS = 60.0  # that is logged again after this
BACKLOG = 1024  # connections that the system holds until they are accepted
ACCEPTED_AT_ONCE = 8  # between two looks at those that are open: a flood of new ones must not hold up what has begun
OTHER_FILES = 128  # open files of this process that are no connections of clients
# Of each connection, in the system: requests are small, and an answer must not be held in memory for a client that does not read it.
RECEIVE_BYTES, SEND_BYTES = 64 << 10, 512 << 10


def address(text: str) -> tuple[str, int]:
    """(host, port) of a listen address in the syntax of Prometheus: `:9855`, `0.0.0.0:9855`, `[::1]:9855`.

    >>> address(':9855'), address('[::1]:80')
    (('', 9855), ('::1', 80))
    """
    host, colon, port = text.rpartition(':')
    if not (colon and port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(f'--web.listen-address: expected HOST:PORT or :PORT, got {text!r}')
    return host.strip('[]'), int(port)


def limits_of(connections: int, per_client: int | None) -> Limits:
    """The limits for that many connections in all and of one client (None: half of them), as far as this process may have files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft < wanted and soft != resource.RLIM_INFINITY:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted:
            connections = max(2, soft - OTHER_FILES)
            event(log, 'warn', 'the limit of open files allows fewer connections', limit=soft, connections=connections)
    return Limits(connections, max(2, min(per_client or connections // 2, connections)))


class Server:
    """Serves an application on one address. It is bound at once, and serves from `start` on.

    web  what is configured of TLS, passwords and headers; None = nothing
    """

    def __init__(self, listen: str, application: Application, limits: Limits | None = None, web: Web | None = None) -> None:
        self._application, self._limits, self._web = application, limits or Limits(), web
        if web:
            self._application = Door(application, users=lambda: web.users, headers=lambda: web.headers, bucket=lambda: web.bucket)
        self._socket = _bound(listen)
        self._host, self.server_port = self._socket.getsockname()[:2]
        self._loop = asyncio.new_event_loop()
        self._connections = Connections(self._limits)
        self._held: dict[asyncio.Task[None], Conversation] = {}
        self._refused = -math.inf  # when it was logged last that no connection could be accepted
        self._thread = threading.Thread(target=self._run, name='promlstm-web', daemon=True)
        self._stopping = asyncio.Event()

    @property
    def url(self) -> str:
        """The URL for a browser on this machine."""
        host = 'localhost' if self._host in ('::', '0.0.0.0') else f'[{self._host}]' if ':' in self._host else self._host
        return f'http{"s" if self._web and self._web.tls else ""}://{host}:{self.server_port}'

    @property
    def open_connections(self) -> int:
        """How many connections have a place now."""
        return len(self._connections)

    def start(self) -> None:
        """Serve in a new thread."""
        self._thread.start()
        if self._web:
            self._web.watch(self._renew)

    def stop(self) -> None:
        """Accept no more connections, finish the answers that have begun, and close everything."""
        if self._web:
            self._web.stop()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(2 * self._limits.stop_seconds)
        self._socket.close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection."""
        return self._socket.accept()

    # -- in the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(_log_error)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._accept)
        await self._stopping.wait()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._end_connections()
        if self._held:
            _, late = await asyncio.wait(self._held, timeout=self._limits.stop_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _end_connections(self) -> None:
        """Close connections: those to which an answer is due after it, all others at once."""
        for conversation in self._held.values():
            conversation.last = True
        for place in self._connections.by_state(State.READING, State.RESTING):
            place.close()

    def _renew(self) -> None:
        """Connections that were made with other certificates end: what was trusted then may not be trusted now."""
        with suppress(RuntimeError):  # the server has stopped meanwhile
            self._loop.call_soon_threadsafe(self._end_connections)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, peer = self.get_request()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # such as no free file descriptor: tried again a little later and not at once
                self._pause(error)
                return
            self._hold(connection, peer[0])

    def _pause(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._refused > REPEAT_SECONDS:
            self._refused = now
            event(log, 'error', 'connections cannot be accepted', err=str(error))
        self._loop.remove_reader(self._socket)
        self._loop.call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        if not self._stopping.is_set():
            self._loop.add_reader(self._socket, self._accept)

    def _hold(self, connection: socket.socket, peer: str) -> None:
        connection.setblocking(False)
        conversation = Conversation(
            connection, peer, application=self._application, connections=self._connections, limits=self._limits, **self._tls()
        )
        place = self._connections.enter(client_of(peer))
        task = self._loop.create_task(conversation.hold(place))
        place.close = task.cancel
        self._held[task] = conversation
        task.add_done_callback(self._left)

    def _tls(self) -> dict[str, Any]:
        return {'context': self._web.tls, 'welcome': self._web.lets_in} if self._web else {}

    def _left(self, task: asyncio.Task[None]) -> None:
        conversation = self._held.pop(task)
        if task.cancelled():
            conversation.abort()  # it may not have begun
        elif (error := task.exception()):
            event(log, 'error', 'connection failed', exc_info=error)


def _log_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get('exception')
    if not isinstance(error, OSError):  # what happens to a connection is its client's business
        event(log, 'error', 'server failed', err=context['message'], exc_info=error or sys.exception())


def _bound(listen: str) -> socket.socket:
    """A listening socket; one on all interfaces, or on an IPv6 address, accepts IPv4 too."""
    host, port = address(listen)
    ipv6 = ':' in host or (not host and socket.has_dualstack_ipv6())
    bound = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET)
    try:
        if ipv6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        bound.bind((host or ('::' if ipv6 else '0.0.0.0'), port))
        bound.listen(BACKLOG)
    except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded for the resolver
        bound.close()
        raise ConfigError(f'--web.listen-address={listen}: cannot listen: {error}') from error
    return bound
