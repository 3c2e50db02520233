"""The connections that are served at once: no more than a limit, and whoever waits has the place of the one that has done nothing for longest.

Who calls it: server. What flows through: sockets. Idle ones, ones whose request never ends and ones that do not read their answer would otherwise
keep Prometheus from the page for as long as they like.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from promlstm.logs import event

log = logging.getLogger('promlstm.server')
SILENT_SECONDS = 1.0  # a connection may be closed for another if its request is not complete after this
READING_SECONDS = 5.0  # and after this if it has not read its answer
POLL_SECONDS = 0.05
REPEAT_SECONDS = 60.0  # that is logged again after this


class Connections:
    """Places for connections. clock: monotonic seconds."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._ends: dict[socket.socket, float] = {}  # when each may be closed for another
        self._changed, self._logged = threading.Condition(), float('-inf')

    def enter(self, connection: socket.socket, stopping: threading.Event) -> bool:
        """Wait for a place and take it; False = the server stops."""
        with self._changed:
            while len(self._ends) >= self._limit:
                if stopping.is_set():
                    return False
                self._close_longest()
                self._changed.wait(POLL_SECONDS)
            self._ends[connection] = self._clock() + SILENT_SECONDS
            return True

    def leave(self, connection: socket.socket) -> None:
        """Give the place back."""
        with self._changed:
            self._ends.pop(connection, None)
            self._changed.notify()

    def waits(self, connection: socket.socket) -> None:
        """From now on it has to send a request."""
        self._set(connection, SILENT_SECONDS)

    def answers(self, connection: socket.socket) -> None:
        """From now on it has to read an answer."""
        self._set(connection, READING_SECONDS)

    def _set(self, connection: socket.socket, seconds: float) -> None:
        with self._changed:
            if self._ends.get(connection, float('inf')) != float('inf'):
                self._ends[connection] = self._clock() + seconds

    def _close_longest(self) -> None:
        """Close the connection that could have been closed first; its thread notices and leaves."""
        now = self._clock()
        connection = min(self._ends, key=self._ends.__getitem__)
        if self._ends[connection] > now:
            return
        self._ends[connection] = float('inf')  # it is on its way
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        if now - self._logged > REPEAT_SECONDS:
            self._logged = now
            event(log, 'warn', 'too many connections, those that send or read nothing are closed for others', limit=self._limit)
