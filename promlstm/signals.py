"""Signals of a program that runs until it is told to stop, also as process 1 of a container, where the system does nothing by itself.

Who calls it: `run`. Before it serves, a signal ends it where it stands. From then on signals are waited for, and nothing that takes long is done
by the thread that waits.
"""

import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from promlstm.logs import event

log = logging.getLogger('promlstm.main')
STOP = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def ending_at_once() -> Iterator[list[int]]:
    """Meanwhile SIGTERM and SIGINT end the process with status 0, whatever Python does at the time; SIGHUP is kept, in the list that this gives.

    They stay like that until `waiting` is called. Where an exception ends the block, they are as they were before. A library that is being imported
    may make another exception of the end, or none: it is the end all the same.
    """
    kept: list[int] = []
    ended: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        event(log, 'info', 'stopping before the start is complete', signal=signal.Signals(number).name)
        ended.append(number)
        raise SystemExit(0)

    before = {number: signal.signal(number, end) for number in STOP}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda number, _: kept.append(number))
    try:
        yield kept
        if ended:
            raise SystemExit(0)
    except BaseException:
        for number, handler in before.items():
            signal.signal(number, handler)
        if ended:
            raise SystemExit(0) from None
        raise


def waiting(kept: Sequence[int] = ()) -> Callable[[], signal.Signals]:
    """A function that waits for SIGTERM, SIGINT or SIGHUP and returns it; signals that arrive before the call count too, and so do those of `kept`.

    The handlers do nothing; the number comes through a socket. A handler that sets an event may wait for ever for a lock that its own
    thread holds.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in (*STOP, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    writer.send(bytes(kept[:1]))  # however often it came

    def wait(_keep: socket.socket = writer) -> signal.Signals:
        return signal.Signals(reader.recv(1)[0])

    return wait
