"""What all lanes of a run share: a real Prometheus with a past, the undisturbed twin, a folder, and the wish to stop."""

import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import servers

from torture import source
from torture.lane import STEPS, Exporting

PAST_SECONDS = 400  # enough for scores; and so little that every start reads all of it, and two exporters remember the same
COMPARED_SECONDS = 300  # whoever starts later than this after the twin may read less than the twin did
SETTLED_SECONDS = 10


class Stopped(Exception):
    """The run was interrupted."""


class World:
    """Give the lanes what they need; `until` is the one way to wait in a lane."""

    def __init__(self, folder, *, long=False):
        self.folder, self.long = Path(folder), long
        self.stopping = threading.Event()
        self.prometheus = self.twin = self.scrape_config = None

    def until(self, predicate, limit_seconds, what):
        """Wait for something true and return it; TimeoutError after the limit, Stopped where the run is over."""

        def holds():
            if self.stopping.is_set():
                raise Stopped
            return predicate()

        return servers.wait_until(holds, limit_seconds, what)

    def pause(self, seconds):
        """Let time pass, where time itself is what is tried."""
        if self.stopping.wait(seconds):
            raise Stopped

    def away(self, name):
        """A new folder of the run."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def prometheus_with_past(self, name):
        """A Prometheus, not yet started, that scrapes the source and has the samples of the last minutes."""
        prometheus = servers.Prometheus(self.folder / name, [self.scrape_config])
        prometheus.data.mkdir(parents=True)
        now = int(time.time())
        source.write_past(self.folder / f'{name}.om', now - PAST_SECONDS, now)
        servers.backfill(prometheus.data, self.folder / f'{name}.om')
        (self.folder / f'{name}.om').unlink()
        return prometheus

    @contextmanager
    def opened(self):
        """Everything runs, and the twin has scores."""
        with ExitStack() as stack:
            self.scrape_config = stack.enter_context(source.scraped(time.time))
            self.prometheus = stack.enter_context(self.prometheus_with_past('prometheus'))
            # The samples of before end where the first scrape begins, some seconds later: until that hole is behind every step.
            self.prometheus.wait_for(f'min(count_over_time({source.NAMES[0]}[{SETTLED_SECONDS}s])) >= {SETTLED_SECONDS - 1}')
            self.twin = stack.enter_context(Exporting(self, 'twin', self.prometheus.url))
            yield self

    def compared(self, reader, begin, end, names=tuple(STEPS)):
        """(pairs, largest difference) of the scores of a reader and those of the twin, of samples made in between; None where it began too late."""
        if reader.began > self.twin.reader.began + COMPARED_SECONDS:
            return None
        theirs, pairs, worst = dict(self.twin.reader.scores), 0, 0.0
        for key, score in list(reader.scores.items()):
            if begin <= key[2] <= end and key[0] in names and key in theirs:
                pairs += 1
                worst = max(worst, abs(score - theirs[key]))
        return pairs, worst
