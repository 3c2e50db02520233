"""The newest step of each detector, for whoever looks.

Who calls it: runner, by way of the scheduler's `watch` (observe) and `withdraw` (beside); the pages and the API (all others). What flows through:
references to columns that are replaced at each step and never changed, so a step costs nothing, and a view has one instant of all columns.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from promlstm.engine.columns import Bools, Floats, Verdicts
from promlstm.engine.detector import Detector
from promlstm.engine.interfaces import DetectorConfig

NEW_SECONDS = 180.0  # three of Prometheus's default scrape intervals, a minute
STEPS_SHOWN = 2  # a step that is older than so many steps is not the present any more, as on /metrics


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """The newest step of a detector, N entities.

    missing     bool [N]     entities that are reported as missing
    lost        float64 [N]  unix seconds of the first step without a sample of those; NaN = it is not missing
    identities  by row, see labels.identity; the list may have grown since
    views       of the model
    model       its name
    dropped     how many entities have no row because of the detector's limit
    """

    config: DetectorConfig
    verdicts: Verdicts
    missing: Bools
    lost: Floats
    identities: list[bytes]
    views: tuple[str, ...] = ()
    model: str = ''
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.verdicts.status)

    def rows_of(self, wanted: Collection[bytes]) -> dict[bytes, int]:
        """{identity: row} of those of some identities that the step has: one look at all, which costs less than one for each."""
        return {identity: row for row, identity in enumerate(self.identities[: len(self)]) if identity in wanted} if wanted else {}

    def is_fresh(self, now: float) -> bool:
        """Whether the step is the present at an instant, unix seconds."""
        return now < self.verdicts.time + STEPS_SHOWN * self.config.step


class Board:
    """The newest step of each detector that has made one.

    now  gives unix seconds, of the same clock as the steps
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._lock = now, threading.Lock()
        self._standings: dict[str, Standing] = {}
        self._first: dict[str, float] = {}  # when each detector made its first step, of time.monotonic

    def observe(self, detector: Detector, verdicts: Verdicts, missing: Bools) -> None:
        """Take in a step that is on /metrics."""
        manifest, identities = detector.session.bundle.manifest, detector.entities.identities
        newest = Standing(
            detector.config, verdicts, missing, detector.lost(missing), identities, manifest.views, manifest.name, detector.tally.dropped
        )  # fmt: skip
        with self._lock:
            self._standings[detector.config.name] = newest
            self._first.setdefault(detector.config.name, time.monotonic())

    def beside(self, withdraw: Callable[..., None]) -> Callable[..., None]:
        """What takes the gauges of a detector off their page (serve.page.Page.withdraw) and its step off this board, so that both say the same."""

        def both(detector: str, part: str | None = None) -> None:
            withdraw(detector, part)
            if part is None:  # a part, such as forecasts, is not the scores
                with self._lock:
                    self._standings.pop(detector, None)

        return both

    def present(self, names: Iterable[str]) -> list[Standing]:
        """The newest steps of some detectors, those that are the present, in the order of the names."""
        now = self._now()
        with self._lock:
            found = [self._standings.get(name) for name in names]
        return [standing for standing in found if standing and standing.is_fresh(now)]

    def present_of(self, name: str) -> Standing | None:
        """The newest step of a detector, if it is the present."""
        return next(iter(self.present([name])), None)

    def newest(self, name: str) -> Standing | None:
        """The newest step of a detector, however old; None = it has made none."""
        with self._lock:
            return self._standings.get(name)

    def is_new(self, name: str) -> bool:
        """Whether a detector has made its first step so lately that a Prometheus need not have scraped it."""
        with self._lock:
            first = self._first.get(name)
        return first is None or time.monotonic() < first + NEW_SECONDS
