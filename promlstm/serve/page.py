"""The entity gauges on /metrics now: blocks of text per detector, replaced as a whole, stale ones left out.

Who calls it: runner (publish, withdraw), server (parts). What flows through: finished bytes. A scrape only joins them: text is rendered
once per step and compressed once per step, however many scrapers there are. Compressed blocks can be joined because a gzip stream may
consist of several members (RFC 1952, section 2.2).
"""

import threading
import zlib
from dataclasses import dataclass

from promlstm.serve.exposition import FAMILIES, header


def compressed(data):
    """One gzip member, fast rather than small."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, 31)
    return deflate.compress(data) + deflate.flush()


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The newest text of one detector: {family: text}, and the same as gzip members."""

    plain: dict
    gzipped: dict
    expires: float


class Page:
    """The entity gauges of all detectors.

    now  callable, unix seconds of the same clock that `expires` is of
    """

    def __init__(self, now):
        self._now, self._lock, self._detectors = now, threading.Lock(), {}
        self._headers = {family: (header(family), compressed(header(family))) for family in FAMILIES}

    def publish(self, detector, blocks, expires):
        """Replace a detector's blocks {family: text}. They leave the page by themselves at `expires`, unix seconds."""
        newest = _Blocks(blocks, {family: compressed(block) for family, block in blocks.items()}, expires)
        with self._lock:
            self._detectors[detector] = newest

    def withdraw(self, detector):
        """Take a detector's blocks off the page."""
        with self._lock:
            self._detectors.pop(detector, None)

    def parts(self, *, gzip=False):
        """All families, each in one block with its header; a list of bytes to be sent one after the other."""
        with self._lock:
            detectors = [self._detectors[name] for name in sorted(self._detectors)]
        now, parts = self._now(), []
        fresh = [each.gzipped if gzip else each.plain for each in detectors if each.expires > now]
        for family, heads in self._headers.items():
            blocks = [blocks[family] for blocks in fresh if family in blocks]
            if blocks:
                parts += [heads[gzip], *blocks]
        return parts
