"""The gauges of entities and incidents on /metrics now: blocks of text per detector, replaced as a whole; stale blocks are left out.

Who calls it: runner (publish, withdraw), live.incidents (publish), server (parts). What flows through: finished bytes. A scrape only joins
them: text is rendered once per step and compressed once per step, however many scrapers there are. Compressed blocks can be joined because a gzip stream may
consist of several members (RFC 1952, section 2.2).
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from isal import isal_zlib

from promlstm.serve.exposition import FAMILIES, FORECASTS, INCIDENTS, Block, header

OF_INCIDENTS = ''  # what the incidents are called where detectors have names: no detector has this one


def compressed(data: bytes) -> bytes:
    """The data as one gzip member; ISA-L needs a quarter of the time that zlib takes at its fastest level, and makes it no larger."""
    return isal_zlib.compress(data, 1, 31)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The newest text of one detector: {family: text}, and the same as gzip members."""

    plain: Mapping[str, Block]
    gzipped: Mapping[str, Block]
    expires: float
    expires_steady: float


class Page:
    """The entity gauges of all detectors.

    now     gives unix seconds, of the same clock as `expires`
    steady  gives seconds that go on however the clock is set (Clock.steady), so that no old page comes back with it; None = `now` is never set
    """

    def __init__(self, now: Callable[[], float], steady: Callable[[], float] | None = None) -> None:
        self._now, self._steady, self._lock = now, steady or now, threading.Lock()
        self._detectors: dict[tuple[str, str], _Blocks] = {}  # by name and part
        self._headers = {family: (header(family), compressed(header(family))) for family in (*FAMILIES, *FORECASTS, *INCIDENTS)}

    def publish(self, detector: str, blocks: Mapping[str, Block], expires: float, part: str = '') -> None:
        """Replace a detector's blocks {family: text}. They are on the page until `expires`, unix seconds.

        part  what is made less often than the scores has a name of its own, and is rendered and compressed no more often
        """
        expires_steady = self._steady() + expires - self._now()
        gzipped = {family: [compressed(piece) for piece in block] for family, block in blocks.items()}
        newest = _Blocks(blocks, gzipped, expires, expires_steady)
        with self._lock:
            self._detectors[detector, part] = newest

    def withdraw(self, detector: str, part: str | None = None) -> None:
        """Take a detector's blocks off the page: all of them, or one part."""
        with self._lock:
            for key in [key for key in self._detectors if key[0] == detector and part in (None, key[1])]:
                del self._detectors[key]

    def parts(self, *, gzip: bool = False) -> list[bytes]:
        """The page in parts, to be sent one after the other: all families, each with its header and the blocks of all detectors."""
        with self._lock:
            detectors = [self._detectors[name] for name in sorted(self._detectors)]
        now, steady = self._now(), self._steady()
        parts: list[bytes] = []
        fresh = [each.gzipped if gzip else each.plain for each in detectors if each.expires > now and each.expires_steady > steady]
        for family, (plain_header, gzipped_header) in self._headers.items():
            pieces = [piece for blocks in fresh for piece in blocks.get(family, ())]
            if pieces:
                parts += [gzipped_header if gzip else plain_header, *pieces]
        return parts
