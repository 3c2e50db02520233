"""Questions that pages ask other servers: each once for all who want the answer at the same time, a few at once, and never for long.

Who calls it: history, silenced. What flows through: a key and a function that asks; out comes what it gave, or its error. Ten browsers that look at the same
entity cost as much as one, and a server that does not answer holds up its own pages alone.
"""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

T = TypeVar('T')

AT_ONCE = 4  # questions
WAITING = 32  # more are not taken on
KEPT = 128  # answers


class Busy(Exception):
    """There is no answer yet, or the question was not asked: too many are waiting. Its text is for people."""


@dataclass(slots=True, eq=False)
class _Asked:
    future: Future[Any]
    expires: float  # of the clock; while it is being asked, it does not


class Asking:
    """Answers that are kept for some seconds.

    now  gives seconds, of any clock that never goes back
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic, at_once: int = AT_ONCE) -> None:
        self._now, self._lock, self._asked = now, threading.Lock(), dict[Hashable, _Asked]()
        self._threads = ThreadPoolExecutor(at_once, 'promlstm-ui-asks')

    def answer(self, key: Hashable, ask: Callable[[], T], *, keep_seconds: float, wait_seconds: float) -> T:
        """What `ask` gave within the last `keep_seconds`, or gives now; what it raises, all who wait get.

        raises  Busy  where it takes longer than `wait_seconds`; it goes on, and the next one who asks may find it done
        """
        with self._lock:
            asked = self._asked.get(key)
            if asked is None or (asked.future.done() and self._now() >= asked.expires):
                if sum(not each.future.done() for each in self._asked.values()) >= WAITING:
                    raise Busy('Too many history queries are running. Try again in a few seconds.')
                self._make_room()
                asked = self._asked[key] = _Asked(self._threads.submit(ask), self._now() + keep_seconds)
                asked.future.add_done_callback(partial(self._done, asked, keep_seconds))
        try:
            found: T = asked.future.result(wait_seconds)
        except NotYet:
            if asked.future.done():  # it is the error of the question itself
                raise
            raise Busy(f'No answer within {wait_seconds:g} s.') from None
        return found

    def _done(self, asked: _Asked, keep_seconds: float, _future: Future[Any]) -> None:
        asked.expires = self._now() + keep_seconds

    def _make_room(self) -> None:
        now = self._now()
        for key in [key for key, each in self._asked.items() if each.future.done() and now >= each.expires]:
            del self._asked[key]
        while len(self._asked) >= KEPT and (oldest := next((key for key, each in self._asked.items() if each.future.done()), None)):
            del self._asked[oldest]
