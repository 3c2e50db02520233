"""Time for the scheduler: an instant, a wait that can be interrupted, and the same for a demo that runs faster.

Who calls it: runner, `run`, `demo`. It is the only place that reads the wall clock on behalf of a detector.
"""

import threading
import time


class Clock:
    """Time for the scheduler: wall-clock time, or a demo's that starts elsewhere and runs faster."""

    def __init__(self, *, start=None, speed=1.0, wall=time.time, monotonic=time.monotonic):
        self.stopping = threading.Event()
        self.speed = speed
        self._start, self._wall, self._monotonic, self._began = start, wall, monotonic, monotonic()

    def now(self):
        """Unix seconds."""
        return self._wall() if self._start is None else self._start + (self._monotonic() - self._began) * self.speed

    def wait(self, until):
        """Wait for an instant of this clock, or until the clock is set back; False = the exporter is stopping."""
        before = self.now()
        while before < until:
            if self.stopping.wait(min((until - before) / self.speed, 1.0)):  # in slices, so that a clock that is set is noticed
                return False
            now = self.now()
            if now < before:
                break
            before = now
        return not self.stopping.is_set()
