"""What a runner says, passed on while its detector is its own: after a change of the configuration two runners may have the same name.

Who calls it: runner and report (they publish and count through it), scheduler (which decides whose word counts). What flows through: blocks of
text to the page, numbers to telemetry.

    waiting  warming up beside the one in service: gauges are kept back, nothing is on the page. The first publication asks to take over
    open     in service: everything is passed on
    closed   replaced or removed: whatever it still says is dropped
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from promlstm.serve.exposition import Block
from promlstm.serve.page import Packed
from promlstm.serve.telemetry import Telemetry, timed

Blocks = Mapping[str, Block | Packed]  # by family

WAITING, OPEN, CLOSED = 'waiting', 'open', 'closed'


class Publish(Protocol):
    """Puts blocks on the page until an instant of the clock; what is made less often than the scores is a part with a name of its own."""

    def __call__(self, blocks: Blocks, expires: float, part: str = ..., /) -> None: ...


class Withdraw(Protocol):
    """Takes blocks off the page: all of them, or one part."""

    def __call__(self, part: str | None = ..., /) -> None: ...


class Relay:
    """The way of one runner to the page and to telemetry.

    publish, withdraw  of its detector
    take_over          called before the first publication of one that waits, without a lock; the relay is open or closed when it returns
    """

    def __init__(
        self, telemetry: Telemetry, publish: Publish, withdraw: Withdraw, *, take_over: Callable[[], None] | None = None
    ) -> None:
        self._telemetry, self._publish, self._withdraw, self._take_over = telemetry, publish, withdraw, take_over
        self._lock = threading.RLock()
        self._held: list[Callable[[], None]] = []
        self._told: dict[tuple[str, ...], float] = {}  # the gauges as they were set last, by name and labels: most stay as they are
        self.state = WAITING if take_over else OPEN

    @property
    def waits(self) -> bool:
        """Whether another one is in service still."""
        return self.state == WAITING

    def open(self) -> None:
        """Pass everything on from now on, and what was kept back before it."""
        with self._lock:
            for say in self._held:
                say()
            self._held, self.state = [], OPEN

    def close(self) -> None:
        """Pass nothing on any more; a publication that has begun is over when this returns."""
        with self._lock:
            self._held, self.state = [], CLOSED

    def publish(self, blocks: Blocks, expires: float, part: str = '') -> None:
        """Put blocks on the page until an instant of the clock."""
        if self.waits and self._take_over:
            self._take_over()
        with self._lock:
            if self.state == OPEN:
                self._publish(blocks, expires, part)

    def withdraw(self, part: str | None = None) -> None:
        """Take the blocks off the page: all of them, or one part."""
        with self._lock:
            if self.state == OPEN:
                self._withdraw(part)

    def pass_on(self, say: Callable[[], None]) -> None:
        """Let something be said, if the detector is its own and in service."""
        with self._lock:
            if self.state == OPEN:
                say()

    def set(self, name: str, value: float, *labels: str) -> None:
        """As Telemetry.set."""
        with self._lock:
            if self.state != OPEN or self._told.get((name, *labels)) != value:
                self._say(lambda: self._telemetry.set(name, value, *labels))
                self._told[name, *labels] = value

    def drop(self, name: str, *labels: str) -> None:
        """As Telemetry.drop."""
        with self._lock:
            self._told = {key: value for key, value in self._told.items() if key[0] != name}
            self._say(lambda: self._telemetry.drop(name, *labels))

    def count(self, name: str, labels: Sequence[str], amount: float = 1) -> None:
        """As Telemetry.count; failures count while it waits, too."""
        with self._lock:
            if self.state != CLOSED:
                self._telemetry.count(name, labels, amount)

    def stage(self, detector: str, name: str) -> AbstractContextManager[None]:
        """As Telemetry.stage."""
        return timed(self.count, detector, name)

    def _say(self, say: Callable[[], None]) -> None:
        with self._lock:
            if self.state == OPEN:
                say()
            elif self.state == WAITING:
                self._held.append(say)
