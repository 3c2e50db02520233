"""SIGTERM in every phase of a life, and the end without one: it ends with status 0 and no traceback, and a new start has scores again."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress

from torture.faults import Fault, Impossible, Subject
from torture.faults.transfers import hole
from torture.lane import Lane
from torture.rows import Attempt

END_SECONDS = 30  # what Kubernetes gives by default
SERVING = 'serving'


@contextmanager
def opened(world, name):
    """Makes lanes: each try has a process of its own."""
    numbers = iter(range(1_000_000))

    def lane(**options):
        return Lane(world, f'{name}-{next(numbers)}', **options)

    yield lane


@contextmanager
def spawned(lane):
    """The process of a lane, started and waited for by nobody."""
    process = lane.process
    with process.log.open('ab') as log:
        process.child = subprocess.Popen(
            process.args, env=process.environment, cwd=process.cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process.child
    finally:
        process.child.kill()
        process.child.wait()
        lane.proxy.heal()
        lane.proxy.refuse()


def ended(lane, child, number=signal.SIGTERM, *, allowed=(0,), to=None):
    """Signal it and say how it ended; `to` is the pid that is signalled, where it is not the child's."""
    tried = Attempt()
    os.kill(to or child.pid, number)
    try:
        lane.world.until(lambda: child.poll() is not None, END_SECONDS, 'the end')
    except TimeoutError:
        tried.survived = False
        tried.problems.append(f'it lives {END_SECONDS} s after the signal')
        return tried
    if child.returncode not in allowed:
        tried.survived = False
        tried.problems.append(f'status {child.returncode}')
    if 'Traceback' in lane.logged():
        tried.problems.append('a traceback in the log')
    return tried


def at(name, seconds):
    """SIGTERM so many seconds after the start, when nothing may stand yet that would catch it."""

    def attempt(lane_of):
        lane = lane_of()
        with spawned(lane) as child:
            lane.world.pause(seconds)
            return ended(lane, child, allowed=(0, -signal.SIGTERM))

    return Fault(name, attempt, (1, 3))


def at_start(lane_of):
    """SIGINT once its code runs; what Python does with one before that is its own."""
    lane = lane_of()
    with spawned(lane) as child:
        lane.world.until(lambda: listening(lane, child.pid), 30, 'a handler')
        return ended(lane, child, signal.SIGINT, allowed=(0, 130))


def serving(lane):
    lane.world.until(lambda: SERVING in lane.logged(), 60, 'the first log line')


def in_warm_up(lane_of):
    """While history is asked for and does not come."""
    lane = lane_of()
    lane.proxy.word = ''
    lane.proxy.begin(hole)
    with spawned(lane) as child:
        serving(lane)
        lane.world.until(lambda: lane.proxy.struck, 30, 'a query of the warm-up')
        return ended(lane, child)


def scoring(lane_of, number=signal.SIGTERM, before=lambda lane, child: None):
    """While it scores; `before` is done first."""
    lane = lane_of()
    with lane:
        before(lane, lane.process.child)
        tried = ended(lane, lane.process.child, number)
        if tried.survived:
            tried.seen = {'log': f'stopping signal={number.name}' in lane.logged()}
        return tried


def hung(lane, _child):
    """A query of a step is under way, and will not be answered."""
    lane.proxy.begin(hole)
    lane.world.until(lambda: lane.proxy.struck, 30, 'a query')


def hang_ups(_lane, child):
    """Many SIGHUPs, so that it is comparing its file."""
    for _ in range(50):
        child.send_signal(signal.SIGHUP)


def twice(_lane, child):
    child.send_signal(signal.SIGTERM)


def first_process(lane_of, ready):
    """As PID 1, for which a signal without a handler has no effect; `ready(lane, pid)` says when it is sent."""
    wrapper = ['unshare', '--user', '--map-root-user', '--pid', '--fork', '--kill-child']
    if not shutil.which('unshare') or subprocess.run([*wrapper, 'true'], capture_output=True, check=False).returncode:
        raise Impossible('this machine gives no process namespace')
    lane = lane_of(wrap=wrapper)
    with spawned(lane) as child:
        inner = lane.world.until(lambda: children(child.pid), 30, 'the first process')[0]
        lane.world.until(lambda: ready(lane, inner), 60, 'the moment of the signal')
        return ended(lane, child, to=inner, allowed=(0, 143, -15))


def listening(_lane, pid):
    """A handler of SIGTERM stands, so that from now on it counts."""
    return caught(pid) >> (signal.SIGTERM - 1) & 1


def children(pid):
    """The processes that a process started."""
    with suppress(OSError), open(f'/proc/{pid}/task/{pid}/children') as file:
        return [int(each) for each in file.read().split()]
    return []


def caught(pid):
    """The signals that a process handles, as a bit mask."""
    with suppress(OSError), open(f'/proc/{pid}/status') as lines:
        return next(int(line.split()[1], 16) for line in lines if line.startswith('SigCgt'))
    return 0


def killed(lane_of):
    """SIGKILL; started again it has scores at once, out of history."""
    lane = lane_of()
    with lane:
        lane.process.kill()
        began, tried = time.time(), Attempt()
        lane.start()
        tried.steps = [(time.time() - began) / 5]  # of the longer step
        tried.survived = lane.alive
        return tried


SUBJECT = Subject(
    'processes',
    opened,
    (
        at('SIGTERM at 0.05 s', 0.05),
        at('SIGTERM at 0.3 s', 0.3),
        at('SIGTERM at 0.8 s', 0.8),
        at('SIGTERM at 1.5 s', 1.5),
        at('SIGTERM at 3 s', 3),
        Fault('SIGINT at the start', at_start, (1, 3)),
        Fault('SIGINT while it scores', lambda lane_of: scoring(lane_of, signal.SIGINT), (1, 3)),
        Fault('SIGTERM as PID 1, at the start', lambda lane_of: first_process(lane_of, listening), (1, 3)),
        Fault('SIGTERM as PID 1, once it serves', lambda lane_of: first_process(lane_of, lambda lane, _: SERVING in lane.logged()), (1, 3)),
        Fault('SIGTERM in the warm-up', in_warm_up, (1, 3)),
        Fault('SIGTERM while it scores', scoring, (1, 3)),
        Fault('SIGTERM in a query that hangs', lambda lane_of: scoring(lane_of, before=hung), (1, 3)),
        Fault('SIGTERM twice', lambda lane_of: scoring(lane_of, before=twice), (1, 3)),
        Fault('SIGTERM after 50 SIGHUPs', lambda lane_of: scoring(lane_of, before=hang_ups), (1, 3)),
        Fault('SIGKILL and a new start', killed, (1, 3)),
    ),
    lanes=2,
)
