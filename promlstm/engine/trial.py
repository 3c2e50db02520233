"""The first load of a model file, in a process of its own: what crashes, hangs or eats memory in ONNX Runtime harms only that process.

    parent: python -m promlstm.engine.trial NAME MEMORY SECONDS < the file's bytes        child: one line of JSON, or none

Who calls it: session.load, where it is given a Trials; live.models keeps one for the exporter, and the commands that check files have their own.
The child has the bytes that the parent has checked (digest, wire), loads them and replays the proof; the parent loads them only then. So whoever
replaces the file in between gains nothing. What was tried is known by its SHA-256 and not tried again; the models that come with promlstm are
not tried at all.

The memory limit leaves the control group room: where it is overrun the kernel may end all of its processes. Systems without
`resource` (Windows) have the time limit alone.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from promlstm import errors, limits
from promlstm.engine import bundle, session
from promlstm.errors import BundleError, BundleFormatError, ProofError

try:
    import resource
except ImportError:  # pragma: no cover (Windows)
    resource = None  # type: ignore[assignment]

SECONDS = 30.0  # of a trial; the shipped model takes about one
AGAIN_SECONDS = 600.0  # a file that was refused is tried again after this: memory may be back
MEMORY_BYTES = 256 << 20  # what a trial may take beyond what the interpreter has, and
MEMORY_PER_BYTE = 8  # so much for each byte of the file: it is parsed, and its weights are copied and packed
LEAST_MEMORY_BYTES = 64 << 20  # a small model passes even where a control group leaves less
INTERPRETER_BYTES = 50 << 20  # what the child has before it reads the file
ADDRESSES_BYTES = 256 << 20  # addresses that are reserved and not used, beyond the memory
ANSWER_BYTES = 1 << 16


class Answer(msgspec.Struct):
    """What came of a trial: no `kind` if all was well, else the name of an error and its message."""

    kind: str = ''
    why: str = ''


class Trials:
    """Which files were tried, by digest, and what came of it.

    seconds  limit of one trial
    memory   memory(size_bytes) gives how many bytes a trial of so large a file may take
    now      seconds that only grow
    module   that the child runs: this one, or one that tries another kind of model
    """

    def __init__(
        self, *, seconds: float = SECONDS, memory: Callable[[int], int] | None = None, now: Callable[[], float] = time.monotonic,
        module: str = __spec__.name,
    ) -> None:
        self._module = module
        self._seconds, self._memory, self._now = seconds, memory or memory_bytes, now
        self._lock = threading.Lock()
        self._shipped: set[str] | None = None
        self._good: set[str] = set()
        self._refused: dict[str, tuple[float, BundleError]] = {}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def __call__(self, data: bytes, sha256: str, source: str) -> bool:
        """Try a file unless it was tried: True = its proof held here; False = it came with promlstm, and was not tried.

        raises  BundleError  why it is refused, or cannot be tried
        """
        with self._lock:
            self._shipped = _shipped() if self._shipped is None else self._shipped
            if sha256 in self._shipped:
                return False
            if sha256 in self._good:
                return True
            again, error = self._refused.get(sha256, (0.0, None))
        if error and self._now() < again:
            raise type(error)(str(error))
        try:
            self._try(data, source)
        except (BundleFormatError, ProofError) as refused:
            with self._lock:
                self._refused[sha256] = self._now() + AGAIN_SECONDS, refused
            raise
        with self._lock:
            self._good.add(sha256)
        return True

    def stop(self) -> None:
        """End what is being tried, and try nothing any more."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                child.kill()

    def _try(self, data: bytes, source: str) -> None:
        memory = self._memory(len(data))
        with self._child(source, memory) as child:
            late = threading.Event()

            def end() -> None:
                late.set()
                child.kill()

            timer = threading.Timer(self._seconds, end)
            timer.start()
            try:
                said = _exchange(child, data)
            finally:
                timer.cancel()
        had = f'{memory >> 20} MiB and {self._seconds:g} s'
        if self._stopped:
            raise BundleError(f'{source}: not tried to the end, because promlstm is stopping')
        if late.is_set():
            raise BundleFormatError(f'{source}: refused: the process that tried it did not end within {self._seconds:g} s')
        try:
            answer = msgspec.json.decode(said, type=Answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BundleFormatError(f'{source}: refused: the process that tried it ended with {ending(child.returncode)}; it had {had}') from error
        if answer.kind == MemoryError.__name__:
            raise BundleFormatError(f'{source}: refused: the process that tried it ran out of memory; it had {had}: {answer.why.removeprefix(f"{source}: ")}')
        if answer.kind:
            kind = getattr(errors, answer.kind, BundleFormatError)
            raise (kind if isinstance(kind, type) and issubclass(kind, BundleError) else BundleFormatError)(answer.why)

    @contextlib.contextmanager
    def _child(self, source: str, memory: int) -> Iterator[subprocess.Popen[bytes]]:
        """The process of a trial; it has ended when the block has."""
        with self._lock:
            if self._stopped:
                raise BundleError(f'{source}: not tried, because promlstm is stopping')
            try:
                child = started(self._module, source, str(memory), str(int(self._seconds) + 1))
            except OSError as error:
                raise BundleError(f'{source}: no process can be started to try it: {error.strerror}') from error
            self._running.add(child)
        try:
            with child:
                try:
                    yield child
                finally:
                    child.kill()
        finally:
            with self._lock:
                self._running.discard(child)


def started(module: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """A process that runs a module of ours, with pipes as its standard input and output; OSError where there can be none."""
    # -P and PYTHONPATH: it imports what this process imports, and nothing from the folder that it happens to run in.
    path = os.pathsep.join(os.path.abspath(each) for each in sys.path)
    own = {'PYTHONPATH': path, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', **environment}
    # A session of its own: Ctrl-C at a terminal is for this process.
    return subprocess.Popen(
        [sys.executable, '-P', '-m', module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, **own}, start_new_session=True,
    )  # fmt: skip


def _exchange(child: subprocess.Popen[bytes], data: bytes) -> bytes:
    """Give a child its bytes and read what it says; it has ended then."""
    assert child.stdin
    assert child.stdout
    with contextlib.suppress(OSError):  # it ended before it had read all
        child.stdin.write(data)
    with contextlib.suppress(OSError):
        child.stdin.close()
    said = child.stdout.read(ANSWER_BYTES)
    if len(said) == ANSWER_BYTES:
        child.kill()
    child.wait()
    return said


def ending(status: int) -> str:
    """How a process ended, by its return code.

    >>> ending(1), ending(-11)
    ('status 1', 'SIGSEGV')
    """
    try:
        return f'status {status}' if status >= 0 else signal.Signals(-status).name
    except ValueError:
        return f'signal {-status}'


def _shipped() -> set[str]:
    """The digests of the models that come with promlstm."""
    return {bundle.digest(path.read_bytes()) for path in session.SHIPPED.glob('*.onnx')}


def memory_bytes(size_bytes: int, limit_bytes: int | None = None) -> int:
    """How much a trial of a file may take: what is enough, and no more than the control group leaves."""
    limit_bytes = limits.memory_bytes() if limit_bytes is None else limit_bytes
    wanted = MEMORY_BYTES + MEMORY_PER_BYTE * size_bytes
    if limit_bytes is None:
        return wanted
    return max(LEAST_MEMORY_BYTES, min(wanted, limit_bytes - resident_bytes() - INTERPRETER_BYTES))


def resident_bytes() -> int:
    """Memory that this process has; 0 where the system does not tell."""
    try:
        return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except (OSError, ValueError):
        return 0


# -- in the child


def limit(memory: int, seconds: int) -> None:
    """Let this process have so much memory beyond what it has, so many seconds of CPU time, and write no file."""
    if not resource:  # pragma: no cover
        return
    with contextlib.suppress(OSError):
        Path('/proc/self/oom_score_adj').write_text('1000')  # if memory gets short all the same, this process is the one to end
    sizes = {'VmSize': 0, 'VmData': 0}
    with contextlib.suppress(OSError):
        for line in Path('/proc/self/status').read_text().splitlines():
            name, _, size = line.partition(':')
            if name in sizes:
                sizes[name] = int(size.split()[0]) << 10
    for kind, value in (
        (resource.RLIMIT_DATA, sizes['VmData'] + memory), (resource.RLIMIT_AS, sizes['VmSize'] + memory + ADDRESSES_BYTES),
        (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        hard = resource.getrlimit(kind)[1]
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (value, value) if hard == resource.RLIM_INFINITY else (min(value, hard), min(value, hard)))


def _tried(source: str, data: bytes, prove: Callable[[bytes, str], None]) -> Answer:
    try:
        prove(data, source)
    except MemoryError as error:
        return Answer('MemoryError', str(error) or 'memory')
    except BundleError as error:
        kind = 'MemoryError' if 'alloc' in str(error.__cause__) else type(error).__name__  # ONNX Runtime has no class for it
        return Answer(kind, str(error)[:2000].encode(errors='replace').decode())
    return Answer()


def main(source: str, memory: int, seconds: int, data: IO[bytes], out: int, prove: Callable[[bytes, str], None]) -> None:
    """Try a file: its bytes come from `data`, and the Answer goes to the descriptor `out`. prove(bytes, source) loads it and replays its proof."""
    read = data.read()
    limit(memory, seconds)
    os.write(out, msgspec.json.encode(_tried(source, read, prove)))


def run(prove: Callable[[bytes, str], None]) -> None:
    """What the child does, with the arguments that the parent gave it."""
    answers = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # ONNX Runtime may print
        os.dup2(nothing, descriptor)
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.stdin.buffer, answers, prove)


def prove(data: bytes, source: str) -> None:
    """Load a model file and replay its proof."""
    session.of(data, source, threads=1).prove()


if __name__ == '__main__':
    run(prove)
