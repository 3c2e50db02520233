"""What is on the page now: blocks of text per detector, swapped whole, stale ones left out.

Who calls it: runner (publish, withdraw), server (page). What flows through: finished bytes. A scrape only joins them: text is rendered
once per step and compressed once per step, whoever scrapes and however often. Compressed blocks can be joined because a gzip stream may
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
class _Post:
    plain: dict  # {family: text}
    packed: dict  # {family: the same as a gzip member}
    expires: float


class Board:
    """The entity gauges of all detectors.

    now  callable, unix seconds of the same clock that `expires` is of
    """

    def __init__(self, now):
        self._now, self._lock, self._posts = now, threading.Lock(), {}
        self._headers = {family: (header(family), compressed(header(family))) for family in FAMILIES}

    def publish(self, detector, blocks, expires):
        """Put a detector's newest blocks in the place of its last; they leave the page by themselves when they expire."""
        post = _Post(blocks, {family: compressed(block) for family, block in blocks.items()}, expires)
        with self._lock:
            self._posts[detector] = post

    def withdraw(self, detector):
        """Take a detector's blocks off the page."""
        with self._lock:
            self._posts.pop(detector, None)

    def page(self, *, gzip=False):
        """All families, each in one block with its header; a list of bytes to be sent one after the other."""
        with self._lock:
            posts = [self._posts[name] for name in sorted(self._posts)]
        now, parts = self._now(), []
        fresh = [post.packed if gzip else post.plain for post in posts if post.expires > now]
        for family, heads in self._headers.items():
            blocks = [blocks[family] for blocks in fresh if family in blocks]
            if blocks:
                parts += [heads[gzip], *blocks]
        return parts
