"""The heap of this process: pages of the usual size, and what a step has freed goes back to the system, where the C library can do so.

Who calls it: scheduler, at its start and after each step, and bench as it does. glibc keeps what is freed for the next step, in pieces between what is
held: with 100 000 entities a quarter of the process. Other C libraries (musl, macOS) have no such call, and there nothing is done.

A step gives its memory back and the next one is given it anew. Where that is done by huge pages, which numpy asks for and which some systems always
give, the kernel writes 2 MB of zeros for each few kilobytes that are needed: at a million entities a third of the time in the graph.
"""

import ctypes
from contextlib import suppress

PR_SET_THP_DISABLE, PR_GET_THP_DISABLE = 41, 42  # prctl(2)
MANY_ENTITIES = 20_000  # with fewer, what could be given back is hardly larger than the interpreter


def use_huge_pages(use: bool) -> bool:
    """Let the kernel of Linux give huge pages to this process, as is its setting, or never; of what was given before nothing changes.

    returns  whether it could give them before
    """
    used = True
    with suppress(OSError, AttributeError):  # as below; a sandbox that forbids the call gives an error number, and all stays as it is
        prctl = ctypes.CDLL(None).prctl
        used = prctl(PR_GET_THP_DISABLE, *map(ctypes.c_ulong, (0, 0, 0, 0))) != 1
        prctl(PR_SET_THP_DISABLE, *map(ctypes.c_ulong, (not use, 0, 0, 0)))
    return used


def give_back(entities: int) -> None:
    """Return what a step of so many entities has freed to the system; a few milliseconds, and the next step has to be given it anew."""
    if entities >= MANY_ENTITIES:
        with suppress(OSError, AttributeError):  # no C library to be found, or one without the call
            ctypes.CDLL(None).malloc_trim(0)
