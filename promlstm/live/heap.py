"""The heap of this process: what a step has freed goes back to the system, where the C library can do so.

Who calls it: scheduler, after each step, and bench as it does. glibc keeps what is freed for the next step, in pieces between what is held: with
100 000 entities a quarter of the process. Other C libraries (musl, macOS) have no such call, and there nothing is done.
"""

import ctypes
from contextlib import suppress

MANY_ENTITIES = 20_000  # with fewer, what could be given back is hardly larger than the interpreter


def give_back(entities: int) -> None:
    """Return what a step of so many entities has freed to the system; a few milliseconds, and the next step has to be given it anew."""
    if entities >= MANY_ENTITIES:
        with suppress(OSError, AttributeError):  # no C library to be found, or one without the call
            ctypes.CDLL(None).malloc_trim(0)
