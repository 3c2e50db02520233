"""A comparison in a process of its own: what eats time or memory there harms only that process.

    parent: python -m promlstm.ui.rerun        standard input: an Order as one line of JSON, then nothing until it is to end
                                               standard output: lines of JSON, each a Said; the last one has the outcome or the problem

Who calls it: jobs. The process ends when its standard input does, so it outlives neither its job nor the exporter, however that ends. It has the
lowest priority but one, writes no file, and takes no more memory than the order says. Expressions and addresses come through the pipe and not on
the command line, where every user of the machine could read them.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

import msgspec

from promlstm import config as configuration
from promlstm.engine import trial
from promlstm.engine.session import load, resolve
from promlstm.errors import PromlstmError, describe
from promlstm.query.sources import Sources
from promlstm.query.victorialogs import asked_every
from promlstm.ui.comparison import Comparison, compare

NICE = 10
SAID_SECONDS = 0.2  # between two times that it says how far it is
OUT_OF_MEMORY = 'it ran out of memory'


class Order(msgspec.Struct, frozen=True):
    """What is to be compared.

    before, after  YAML of a configuration with one detector; relative paths start at `root`
    start, end     unix seconds
    most           entities that are replayed
    memory_bytes   beyond what the process has when it begins; seconds of CPU time
    """

    before: str
    after: str
    root: str
    start: float
    end: float
    most: int
    memory_bytes: int
    seconds: int


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far it is (steps done and to do, those of the warm-up included), or what came of it."""

    done: int = 0
    total: int = 0
    problem: str = ''
    outcome: Comparison | None = None


def carried_out(order: Order, progress: Callable[[int, int], None]) -> Comparison:
    """The Comparison of an order; raises PromlstmError."""
    configs = [configuration.parse(text, source='what if', root=order.root) for text in (order.before, order.after)]
    settings = [config.detectors[0] for config in configs]
    sessions = [load(resolve(settings[0].model, order.root), sha256=settings[0].sha256, threads=1)] * 2
    if (settings[1].model, settings[1].sha256) != (settings[0].model, settings[0].sha256):
        sessions[1] = load(resolve(settings[1].model, order.root), sha256=settings[1].sha256, threads=1)
    sources = Sources(configs[0].named_sources, root=order.root)
    source = asked_every(sources[configs[0].source_name(settings[0])], settings[0].step)
    return compare(source, settings[0], settings[1], (sessions[0], sessions[1]), order.start, order.end, most=order.most, progress=progress)


def said_of(order: Order, progress: Callable[[int, int], None]) -> Said:
    """What came of an order, whatever happens."""
    try:
        return Said(outcome=carried_out(order, progress))
    except MemoryError:
        return Said(problem=OUT_OF_MEMORY)
    except PromlstmError as error:
        return Said(problem=OUT_OF_MEMORY if 'alloc' in str(error.__cause__) else str(error))
    except Exception as error:  # noqa: BLE001 (whoever waits is told; ONNX Runtime has no class for memory that it does not get)
        return Said(problem=OUT_OF_MEMORY if 'alloc' in str(error) else describe(error))


def main(orders: BinaryIO, out: int) -> None:
    """Carry out the order that comes, and say on the descriptor `out` what came of it."""
    order = msgspec.json.decode(orders.readline(), type=Order)
    threading.Thread(target=_end_with, args=(orders.fileno(),), daemon=True).start()
    with contextlib.suppress(OSError):
        os.nice(NICE)
    trial.limit(order.memory_bytes, order.seconds)
    said = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > SAID_SECONDS:
            said = time.monotonic()
            _say(out, Said(done, total))

    _say(out, said_of(order, progress))


def _end_with(descriptor: int) -> None:
    """Wait for the end of standard input, and end then. It holds no lock of Python's, which would be missed at a regular end."""
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1):
            pass
    os._exit(1)


def _say(out: int, said: Said) -> None:
    line = msgspec.json.encode(said) + b'\n'
    while line:
        line = line[os.write(out, line) :]


if __name__ == '__main__':
    answers = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # ONNX Runtime may print
        os.dup2(nothing, descriptor)
    main(sys.stdin.buffer, answers)
