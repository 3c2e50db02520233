"""One comparison at a time, in a child process that is held to its limits, and what came of the last ones.

Who calls it: what_if; run stops it. What flows through: an Order in; a Job tells how far it is, and at last its outcome or the problem. A job ends when
it is done, when somebody cancels it, when its time is over, and when the exporter stops; its process ends with it in each case.
"""

import contextlib
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from promlstm import limits, terminal
from promlstm.engine import trial
from promlstm.ui.comparison import Comparison
from promlstm.ui.rerun import OUT_OF_MEMORY, Order, Said

SECONDS = 600.0  # of one job
MOST_ENTITIES = 2000
MEMORY_BYTES = 1 << 30  # beyond what the interpreter and its libraries have
LEAST_MEMORY_BYTES = 96 << 20
INTERPRETER_BYTES = 90 << 20  # what the child has before it begins
KEPT_SECONDS, KEPT = 1800.0, 8  # of jobs that are over
LINE_BYTES = 16 << 20  # of what the child says


class Busy(Exception):
    """Another job runs, which has to end first."""

    def __init__(self, job: 'Job') -> None:
        super().__init__(job.id)
        self.job = job


class NoRoom(Exception):
    """The memory limit of this process leaves too little for a child; its text says how much there would have to be."""


@dataclass(slots=True)
class Job:
    """One comparison.

    who          began it: a user, or the address of a client
    asked        the values of the form
    began, ended unix seconds; None = it runs
    state        running, done, failed, cancelled
    done, total  steps, those of the warm-up included; 0 done: coarse history is being read
    problem      why it failed
    """

    id: str
    who: str
    asked: Mapping[str, str]
    began: float
    state: str = 'running'
    done: int = 0
    total: int = 0
    problem: str = ''
    outcome: Comparison | None = None
    ended: float | None = None

    @property
    def runs(self) -> bool:
        """Whether it is not over."""
        return self.ended is None


@dataclass(slots=True)
class _Child:
    """The process of a job, and why it was ended."""

    process: subprocess.Popen[bytes]
    why: str = field(default='')

    def end(self, why: str) -> None:
        self.why = self.why or why
        self.process.kill()


class Jobs:
    """The job that runs, and the last ones.

    seconds       limit of one job
    memory_bytes  gives what a child may take; 0 = there is no room for one
    most          entities that are replayed
    now           gives unix seconds
    """

    def __init__(
        self, *, seconds: float = SECONDS, memory_bytes: Callable[[], int] | None = None, most: int = MOST_ENTITIES,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.seconds, self.most = seconds, most
        self._memory_bytes, self._now = memory_bytes or memory_left, now
        self._lock, self._jobs = threading.Lock(), dict[str, Job]()
        self._running: tuple[Job, _Child] | None = None
        self._stopped = False

    def begin(self, order: Callable[[int, int, int], Order], who: str, asked: Mapping[str, str]) -> Job:
        """Begin a job; `order` is given the entities, the memory in bytes and the seconds that it may take.

        raises  Busy, NoRoom
        """
        with self._lock:
            if self._stopped:
                raise NoRoom('promlstm is stopping')
            if self._running:
                raise Busy(self._running[0])
            if not (memory := self._memory_bytes()):
                least = LEAST_MEMORY_BYTES + INTERPRETER_BYTES >> 20
                raise NoRoom(f'the run needs at least {least} MiB, and the memory limit of promlstm leaves less: raise the limit')
            line = msgspec.json.encode(order(self.most, memory, int(self.seconds) + 1)) + b'\n'
            job = Job(secrets.token_urlsafe(9), who, asked, self._now())
            try:
                child = _Child(trial.started('promlstm.ui.rerun', MALLOC_ARENA_MAX='2'))
            except OSError as error:
                raise NoRoom(f'the process of the run cannot be started: {error.strerror}') from error
            self._forget()
            self._jobs[job.id], self._running = job, (job, child)
            threading.Thread(target=self._follow, args=(job, child, line, memory), name='promlstm-what-if', daemon=True).start()
        return job

    def find(self, number: str) -> Job | None:
        """A job by its id; None = there is none, or it is forgotten."""
        with self._lock:
            self._forget()
            return self._jobs.get(number)

    @property
    def running(self) -> Job | None:
        """The job that runs."""
        running = self._running
        return running[0] if running else None

    def cancel(self, number: str) -> bool:
        """End a job; False where it does not run."""
        with self._lock:
            running = self._running
            if not running or running[0].id != number:
                return False
            running[1].end('cancelled')
        return True

    def stop(self) -> None:
        """End the job that runs, and begin none any more."""
        with self._lock:
            self._stopped = True
            if self._running:
                self._running[1].end('promlstm was stopped')

    def _forget(self) -> None:
        over = [job for job in self._jobs.values() if job.ended is not None]
        old = [job for job in over if job.ended is not None and job.ended < self._now() - KEPT_SECONDS]
        for job in {job.id: job for job in (*old, *over[: max(0, len(over) - KEPT)])}.values():
            del self._jobs[job.id]

    def _follow(self, job: Job, child: _Child, line: bytes, memory: int) -> None:
        """Read what the child says until it ends."""
        timer = threading.Timer(self.seconds, child.end, ('late',))
        timer.start()
        last = Said()
        try:
            last = self._read(job, child, line)
        finally:
            timer.cancel()
            child.process.kill()
            child.process.wait()
            with self._lock:
                self._conclude(job, child, last, memory)

    def _read(self, job: Job, child: _Child, line: bytes) -> Said:
        process, last = child.process, Said()
        assert process.stdin
        assert process.stdout
        with process.stdout, contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            # Standard input stays open for as long as the job runs: the child ends when it ends.
            with contextlib.suppress(OSError):
                process.stdin.write(line)
                process.stdin.flush()
            while (text := process.stdout.readline(LINE_BYTES)).endswith(b'\n'):
                last = msgspec.json.decode(text, type=Said)
                if last.outcome or last.problem:
                    break
                job.done, job.total = last.done, last.total
        with contextlib.suppress(OSError):
            process.stdin.close()
        return last

    def _conclude(self, job: Job, child: _Child, last: Said, memory: int) -> None:
        had = f'its limits were {memory >> 20} MiB and {terminal.duration(self.seconds)}'
        if last.outcome and not child.why:
            job.state, job.outcome = 'done', last.outcome
        elif child.why == 'cancelled':
            job.state = 'cancelled'
        else:
            job.state = 'failed'
            if child.why == 'late':
                job.problem = f'it took longer than {terminal.duration(self.seconds)}: choose a shorter span'
            elif child.why:
                job.problem = child.why
            elif last.problem == OUT_OF_MEMORY:
                job.problem = f'{OUT_OF_MEMORY}; {had}: choose a shorter span, or a detector with fewer entities'
            else:
                ended = f'its process ended with {trial.ending(child.process.returncode)}; {had}: if it ran out of memory, choose a shorter span'
                job.problem = last.problem or ended
        job.ended, self._running = self._now(), None


def memory_left() -> int:
    """How many bytes a child may take beyond its libraries: what is enough, and no more than the control group leaves; 0 = too little."""
    limit = limits.memory_bytes()
    left = MEMORY_BYTES if limit is None else min(MEMORY_BYTES, limit - trial.resident_bytes() - INTERPRETER_BYTES)
    return left if left >= LEAST_MEMORY_BYTES else 0
