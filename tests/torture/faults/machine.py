"""What the machine runs out of: descriptors, disk, room in the log's pipe, time on a processor."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

from exporter import RUNTIME

from torture import pages
from torture.faults import Fault, Subject
from torture.faults.processes import ended
from torture.faults.readers import connect
from torture.lane import CALM, STEPS, STRUCK, Lane, held, recover
from torture.rows import Attempt

ALL = (*STRUCK, *CALM)
DESCRIPTORS = 40
SECONDS = 10
BUSY_CORES = 0.5  # a loop that spins takes a whole one, or what the machine has left of it
STOPPED_SECONDS = 12
FILLING = 400  # requests, each of which the log has at debug


@contextmanager
def opened(world, name):
    """Makes lanes: each fault has another machine."""
    numbers = iter(range(1_000_000))
    yield lambda **options: Lane(world, f'{name}-{next(numbers)}', **options)


def processor_seconds(pid):
    """That a process has used."""
    with open(f'/proc/{pid}/stat') as file:
        fields = file.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def descriptors(lane_of):
    """More connections than there are descriptors: steps go on, nothing spins, the log has it, and afterwards the pages are back."""
    lane = lane_of(wrap=['prlimit', f'--nofile={DESCRIPTORS}'])
    with lane:
        tried, odd, position = Attempt(), len(lane.reader.odd), lane.log_size()
        lane.reader.relaxed.set()
        used, began, connections = processor_seconds(lane.pid), time.time(), []
        try:
            for _ in range(3 * DESCRIPTORS):
                with suppress(OSError):
                    connections.append(connect(lane))
            lane.world.pause(SECONDS)
            cores = (processor_seconds(lane.pid) - used) / (time.time() - began)
        finally:
            for connection in connections:
                connection.close()
        healed = time.time()
        tried.survived = lane.alive
        tried.seen = {'log': 'msg="too many connections' in lane.logged(position)}
        if cores > BUSY_CORES:
            tried.problems.append(f'it uses {cores:.2f} processors')
        recover(lane, tried, tuple(STEPS), healed)
        lane.reader.relaxed.clear()
        held(lane, tried, (), healed, odd)
        tried.compared = lane.world.compared(lane.reader, healed, time.time())
        return tried


def full_log(lane_of):
    """Standard error is a full disk."""
    lane = lane_of()
    lane.process.args = ['sh', '-c', 'exec "$@" 2>/dev/full', 'sh', *lane.process.args]
    with lane:
        began, odd = time.time(), len(lane.reader.odd)
        lane.world.pause(2 * max(STEPS.values()))
        tried = Attempt(survived=lane.alive)
        held(lane, tried, ALL, began, odd)
        tried.compared = lane.world.compared(lane.reader, began, time.time())
        tried.problems += ended(lane, lane.process.child).problems
        return tried


def log_that_nobody_reads(lane_of):
    """The log goes into a pipe that is full, at debug: pages and steps go on, and SIGTERM ends it."""
    lane = lane_of()
    pipe = lane.process.log.with_name('pipe')
    pipe.parent.mkdir(exist_ok=True)
    os.mkfifo(pipe)
    held_open = os.open(pipe, os.O_RDWR)  # never read
    lane.process.args = ['sh', '-c', 'exec "$@" --log.level=debug 2>"$0"', str(pipe), *lane.process.args]
    try:
        with lane:
            began, odd, tried = time.time(), len(lane.reader.odd), Attempt()
            answers = sum(pages.get(lane.address, '/-/healthy', 3)[0] == 200 for _ in range(FILLING))
            if answers < FILLING:
                tried.problems.append(f'{FILLING - answers} of {FILLING} requests had no answer')
            recover(lane, tried, tuple(STEPS), began)
            tried.survived = lane.alive
            held(lane, tried, ALL, began, odd)
            tried.problems += ended(lane, lane.process.child).problems
            return tried
    finally:
        os.close(held_open)


def stopped(lane_of):
    """SIGSTOP for a while, as a suspended machine: no old scores afterwards, and the steps in between are made up for."""
    with lane_of() as lane:
        odd = len(lane.reader.odd)
        lane.reader.relaxed.set()
        lane.process.child.send_signal(signal.SIGSTOP)
        try:
            lane.world.pause(STOPPED_SECONDS)
        finally:
            lane.process.child.send_signal(signal.SIGCONT)
        healed, tried = time.time(), Attempt()
        lane.world.until(lambda: lane.reader.pages[-1].there, 30, 'a page')
        lane.reader.relaxed.clear()
        recover(lane, tried, tuple(STEPS), healed)
        tried.survived = lane.alive
        held(lane, tried, (), healed, odd)
        tried.compared = lane.world.compared(lane.reader, healed, time.time())
        return tried


def full_backtest(lane_of):
    """The result of a backtest is written to a full disk."""
    lane = lane_of()
    python = RUNTIME if RUNTIME.exists() else sys.executable
    command = [python, '-m', 'promlstm', 'backtest', f'--config.file={lane.process.config}', '--from=-2m', '--output=/dev/full']
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=120, check=False)
    lane.proxy.refuse()
    tried = Attempt(survived=done.returncode == 1, seen={'message': '/dev/full' in done.stderr and 'No space left' in done.stderr})
    if 'Traceback' in done.stderr:
        tried.problems.append('a traceback')
    if not tried.survived or not all(tried.seen.values()):
        tried.problems.append(f'status {done.returncode}: {done.stderr[-200:]!r}')
    return tried


SUBJECT = Subject(
    'machine',
    opened,
    (
        Fault('out of descriptors', descriptors, (1, 3)),
        Fault('log on a full disk', full_log, (1, 3)),
        Fault('log that nobody reads', log_that_nobody_reads, (1, 3)),
        Fault('backtest on a full disk', full_backtest, (1, 1)),
        Fault('stopped for a while', stopped, (1, 3)),
    ),
)
