"""How many bytes of answers are held at once, however many queries are under way.

Who calls it: http, for each piece of an answer that arrives; prometheus holds an answer until it is decoded. What flows through: numbers of bytes.

    what fits into a piece      is never waited for: a connection holds as much anyway
    up to a share of the pool   beside others, while the pool has room
    more                        one answer at a time, up to max_response, in the order in which they asked

An answer waits only for one that waits for nothing: the one that is larger than a share can always grow to its end. So they never wait for each
other, and one that hangs holds none but those that are larger than a share, or for which the others left nothing.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from promlstm.query.connection import PIECE_BYTES, Deadline

SHARES = 4  # of the pool


class Answer:
    """The bytes that one answer holds; InFlight.answer makes it."""

    def __init__(self, all_answers: 'InFlight') -> None:
        self._all = all_answers
        self.pooled_bytes = 0

    def grow(self, size_bytes: int, deadline: Deadline) -> None:
        """Hold so many bytes from now on; TimeoutError where there is no room for them before the deadline."""
        if size_bytes > PIECE_BYTES:
            self._all.grow(self, size_bytes, deadline)


class InFlight:
    """All answers that are held at once: one of any size, and beside it the pool.

    pool_bytes  what all others may hold together, beside a piece each
    """

    def __init__(self, pool_bytes: int) -> None:
        self._pool_bytes, self._share_bytes = pool_bytes, pool_bytes // SHARES
        self._pooled_bytes = 0
        self._largest: Answer | None = None  # the one that may grow without the pool
        self._waiting: deque[Answer] = deque()
        self._changed = threading.Condition()

    def resize(self, pool_bytes: int) -> None:
        """Another size of the pool from now on; what is held already stays."""
        with self._changed:
            self._pool_bytes, self._share_bytes = pool_bytes, pool_bytes // SHARES
            self._changed.notify_all()

    @contextmanager
    def answer(self) -> Iterator[Answer]:
        """An Answer, and nothing of it at the end."""
        answer = Answer(self)
        try:
            yield answer
        finally:
            with self._changed:
                self._pool(answer, 0)
                if self._largest is answer:
                    self._largest = None
                self._changed.notify_all()

    def grow(self, answer: Answer, size_bytes: int, deadline: Deadline) -> None:
        """As Answer.grow."""
        with self._changed:
            if self._fits(answer, size_bytes):
                return
            self._waiting.append(answer)
            try:
                while not self._fits(answer, size_bytes):
                    self._changed.wait(deadline.left())
            finally:
                self._waiting.remove(answer)
                self._changed.notify_all()

    def _fits(self, answer: Answer, size_bytes: int) -> bool:
        """Whether an answer has room to grow, which it then has taken."""
        if self._largest is answer:
            return True
        if size_bytes <= self._share_bytes and self._pooled_bytes - answer.pooled_bytes + size_bytes <= self._pool_bytes:
            self._pool(answer, size_bytes)
            return True
        if self._largest or (self._waiting and self._waiting[0] is not answer):
            return False
        self._largest = answer
        self._pool(answer, 0)
        self._changed.notify_all()
        return True

    def _pool(self, answer: Answer, size_bytes: int) -> None:
        self._pooled_bytes += size_bytes - answer.pooled_bytes
        answer.pooled_bytes = size_bytes
