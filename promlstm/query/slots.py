"""How many exchanges run at once: a limit that spares the server, and that no exchange which hangs can use up.

Who calls it: http, around each exchange. An exchange counts for its first second only: by then most are over, and one that is not waits for
a server that is busy or gone, so that others must not wait for it as well. Only a few times as many may hang, or a busy server would be
asked by every detector at once: each asks for its next step when it has done with the last one, but there may be hundreds of them.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from promlstm.query.connection import Deadline

COUNTED_SECONDS = 1.0
HANGING = 8  # times as many exchanges, at most, with those that hang


class Slots:
    """`count` exchanges at once, and HANGING times as many with those that have taken longer than `counted_seconds`."""

    def __init__(self, count: int, *, counted_seconds: float = COUNTED_SECONDS, now: Callable[[], float] = time.monotonic) -> None:
        self._count, self._counted_seconds, self._now = count, counted_seconds, now
        self._began: dict[object, float] = {}
        self._changed = threading.Condition()

    @contextmanager
    def one(self, deadline: Deadline) -> Iterator[None]:
        """Run an exchange in a slot; TimeoutError where none gets free before the deadline."""
        exchange = object()
        with self._changed:
            while (wait := self._seconds_to_wait()) > 0:
                self._changed.wait(min(wait, deadline.left()))
            self._began[exchange] = self._now()
        try:
            yield
        finally:
            with self._changed:
                del self._began[exchange]
                self._changed.notify()

    def _seconds_to_wait(self) -> float:
        """Until a slot gets free by itself; 0 = there is one, infinite = only the end of an exchange makes one."""
        if len(self._began) >= HANGING * self._count:
            return math.inf
        counted = sorted(began for began in self._began.values() if self._now() - began < self._counted_seconds)
        return 0.0 if len(counted) < self._count else counted[-self._count] + self._counted_seconds - self._now()
