"""The gauges of entities and incidents on /metrics now: blocks of text per detector, replaced as a whole; stale blocks are left out.

Who calls it: runner (pack, publish, withdraw), live.incidents (publish), server (parts). What flows through: finished bytes. A scrape only joins
them: text is rendered once per step and compressed once per step, however many scrapers there are. Compressed blocks can be joined because a gzip stream may
consist of several members (RFC 1952, section 2.2).

Only the compressed text is kept, an eighth of the whole: nearly all scrapers ask for it. For one that does not, each member is unpacked as it is sent.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from isal import isal_zlib

from promlstm.serve.exposition import FAMILIES, FORECASTS, INCIDENTS, Block, Lines, header

OF_INCIDENTS = ''  # what the incidents are called where detectors have names: no detector has this one
PIECES = 64  # fewer are packed in the thread that asks: to begin others takes as long


def compressed(data: bytes) -> bytes:
    """The data as one gzip member; ISA-L needs a quarter of the time that zlib takes at its fastest level, and makes it no larger."""
    return isal_zlib.compress(data, 1, 31)


def unpacked(member: bytes) -> bytes:
    """The data of one gzip member."""
    return isal_zlib.decompress(member, 31, unpacked_bytes(member))


def unpacked_bytes(member: bytes) -> int:
    """The size of the data of one gzip member, which it ends with (RFC 1952, section 2.3.1; of less than 4 GB).

    >>> unpacked_bytes(compressed(b'a' * 1000))
    1000
    """
    return int.from_bytes(member[-4:], 'little')


@dataclass(frozen=True, slots=True)
class Packed:
    """The text of a family as gzip members, one for each piece."""

    members: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, block: Block) -> 'Packed':
        """A block that is written already."""
        return cls([compressed(piece) for piece in block])


def text_bytes(block: Block | Packed) -> int:
    """The size of the text of a family, packed or not."""
    return sum(map(unpacked_bytes, block.members)) if isinstance(block, Packed) else sum(map(len, block))


def pack(lines: Sequence[Lines], threads: int = 1) -> dict[str, Packed]:
    """{family: Packed} of lines that are not written yet; a family without lines is left out.

    threads  how many write and compress at once. While one compresses, which leaves the interpreter to others, another writes

    >>> pack([])
    {}
    """
    places = [(each, number) for each in lines for number in range(each.pieces)]
    blocks = {each.family: Packed() for each, _ in places}

    def made(which: Sequence[tuple[Lines, int]]) -> list[bytes]:
        return [compressed(each.piece(number)) for each, number in which]

    if threads > 1 and len(places) >= PIECES:
        with ThreadPoolExecutor(threads - 1, 'promlstm-page') as pool:
            others = [pool.submit(made, places[first::threads]) for first in range(1, threads)]
            members = [made(places[::threads]), *(each.result() for each in others)]
        packed = [members[number % threads][number // threads] for number in range(len(places))]
    else:
        packed = made(places)
    for (each, _), member in zip(places, packed, strict=True):
        blocks[each.family].members.append(member)
    return blocks


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The newest text of one detector: {family: Packed}."""

    packed: Mapping[str, Packed]
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
        self._headers = {family: compressed(header(family)) for family in (*FAMILIES, *FORECASTS, *INCIDENTS)}

    def publish(self, detector: str, blocks: Mapping[str, Block | Packed], expires: float, part: str = '') -> None:
        """Replace a detector's blocks {family: text}, packed or not. They are on the page until `expires`, unix seconds.

        part  what is made less often than the scores has a name of its own, and is rendered and compressed no more often
        """
        expires_steady = self._steady() + expires - self._now()
        packed = {family: block if isinstance(block, Packed) else Packed.of(block) for family, block in blocks.items()}
        newest = _Blocks(packed, expires, expires_steady)
        with self._lock:
            self._detectors[detector, part] = newest

    def withdraw(self, detector: str, part: str | None = None) -> None:
        """Take a detector's blocks off the page: all of them, or one part."""
        with self._lock:
            for key in [key for key in self._detectors if key[0] == detector and part in (None, key[1])]:
                del self._detectors[key]

    def parts(self, *, gzip: bool = False) -> list[bytes]:
        """The page in parts, to be sent one after the other: all families, each with its header and the blocks of all detectors.

        gzip  True = as gzip members, which are there already; False = as text, all of it at once
        """
        with self._lock:
            detectors = [self._detectors[name] for name in sorted(self._detectors)]
        now, steady = self._now(), self._steady()
        parts: list[bytes] = []
        fresh = [each.packed for each in detectors if each.expires > now and each.expires_steady > steady]
        for family, packed_header in self._headers.items():
            members = [member for blocks in fresh if family in blocks for member in blocks[family].members]
            if members:
                parts += [packed_header, *members]
        return parts if gzip else [unpacked(member) for member in parts]
