"""Time for the scheduler: an instant, a wait that can be interrupted, and the same for a demo that runs faster.

Who calls it: runner, `run`, `demo`. It is the only place that reads the wall clock on behalf of a detector.
"""

import threading
import time
from collections.abc import Callable

SLICE_SECONDS = 5.0  # a wait looks at the clock this often, so that a clock that is set is noticed; each look wakes a thread, of each detector
SET_SECONDS = 1.0  # a clock that is corrected by less than this was not set


class Stopping(Exception):
    """The exporter was asked to stop while something was waited for or replayed."""


class Clock:
    """Time for the scheduler: wall-clock time, or the time of a demo, which starts at `start` and runs `speed` times faster."""

    def __init__(
        self,
        *,
        start: float | None = None,
        speed: float = 1.0,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stopping = threading.Event()
        self.speed = speed
        self._start, self._wall, self._monotonic, self._began = start, wall, monotonic, monotonic()

    def now(self) -> float:
        """Unix seconds."""
        return self._wall() if self._start is None else self._start + (self._monotonic() - self._began) * self.speed

    def steady(self) -> float:
        """Seconds of this clock since it began, which go on however it is set. They stand still while the machine sleeps."""
        return (self._monotonic() - self._began) * self.speed

    def drift(self) -> float:
        """How far `now` is ahead of `steady`: it changes by what the clock is set by, and by how long the machine sleeps."""
        return self.now() - self.steady()

    def fork(self) -> 'Clock':
        """A clock of the same time that can be stopped by itself."""
        return _Fork(self)

    def wait(self, until: float) -> bool:
        """Wait for an instant of this clock, or until the clock is set back; False = the exporter is stopping."""
        drift = self.drift()
        while (left := until - self.now()) > 0:
            if self.stopping.wait(min(left / self.speed, SLICE_SECONDS)):
                return False
            if self.drift() <= drift - SET_SECONDS:
                break
        return not self.stopping.is_set()


class _Fork(Clock):
    """The time of another clock, with an end of its own."""

    def __init__(self, of: Clock) -> None:
        self._of, self.speed, self.stopping = of, of.speed, threading.Event()

    def now(self) -> float:
        return self._of.now()

    def steady(self) -> float:
        return self._of.steady()

    def drift(self) -> float:
        return self._of.drift()
