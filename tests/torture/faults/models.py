"""A model file that is replaced by something bad while it is in use: the old model goes on, no page is lost, and log and metric say so."""

import os
import shutil
import time
from contextlib import contextmanager, suppress

from exporter import LIGHT

from promlstm.engine import session as sessions
from torture.faults import Fault, Subject
from torture.lane import CALM, STEPS, STRUCK, Lane, held, recover
from torture.rows import Attempt

SHIPPED = sessions.resolve(LIGHT)  # that of the twin
KEPT = 'model file has changed and cannot be used, the old model is kept'
SAID_SECONDS = 30
SPARSE_BYTES = 8_000_000_000
ALL = (*STRUCK, *CALM)


@contextmanager
def opened(world, name):
    """A lane whose detectors read a model file of its own, `lane.file`."""
    folder = world.away(f'{name}-model')
    file = folder / 'model.onnx'
    shutil.copy(SHIPPED, file)
    with Lane(world, name, model=file, wrap=['prlimit', '--as=6000000000']) as lane:
        lane.file, lane.good = file, SHIPPED.read_bytes()
        yield lane


def replace(lane, data):
    """As one should: a new file, renamed."""
    new = lane.file.with_suffix('.new')
    new.write_bytes(data)
    new.replace(lane.file)


def linked(lane, target):
    new = lane.file.with_suffix('.link')
    new.symlink_to(target)
    new.replace(lane.file)


def folder(lane):
    lane.file.unlink()
    lane.file.mkdir()


def sparse(lane):
    new = lane.file.with_suffix('.new')
    with new.open('wb') as out:
        out.truncate(SPARSE_BYTES)
    new.replace(lane.file)


def pipe(lane):
    new = lane.file.with_suffix('.new')
    os.mkfifo(new)
    new.replace(lane.file)


def restore(lane):
    """The good one, whatever is there now."""
    if lane.file.is_dir() and not lane.file.is_symlink():
        lane.file.rmdir()
    if lane.file.is_fifo():  # whoever opened it waits for a writer
        with suppress(OSError):
            os.close(os.open(lane.file, os.O_WRONLY | os.O_NONBLOCK))
    replace(lane, lane.good)


def bad(name, change):
    """A fault of the file: refused by each detector, none of which loses a page or a score."""

    def attempt(lane):
        tried, began, odd, position = Attempt(), time.time(), len(lane.reader.odd), lane.log_size()
        before = {each: lane.metric('promlstm_model_reload_failures_total', each) for each in ALL}
        change(lane)

        def places():
            log = lane.logged(position)
            return {
                'log': all(any(KEPT in line and f'detector={each} ' in line for line in log.splitlines()) for each in ALL),
                'metric': all(
                    lane.metric('promlstm_model_reload_failures_total', each) > before[each]
                    and lane.metric('promlstm_model_reload_successful', each, 1.0) == 0
                    for each in ALL
                ),
            }

        try:
            lane.world.until(lambda: all(places().values()), SAID_SECONDS, 'the reason')
        except TimeoutError:
            tried.problems.append(f'the log says {lane.logged(position).splitlines()[:2]}')
        tried.seen = places()
        healed = time.time()
        restore(lane)
        loaded = lambda: all(lane.metric('promlstm_model_reload_successful', each) == 1 for each in ALL)  # noqa: E731
        try:
            lane.world.until(loaded, SAID_SECONDS, 'the good model in use')
        except TimeoutError:
            tried.problems.append('the good model was put back and is not in use')
        tried.survived = lane.alive
        recover(lane, tried, tuple(STEPS), healed)
        held(lane, tried, ALL, began, odd)
        tried.compared = lane.world.compared(lane.reader, began, time.time())
        return tried

    return Fault(f'model file {name}', attempt, (1, 3))


SUBJECT = Subject(
    'models',
    opened,
    (
        bad('overwritten with noise', lambda lane: lane.file.write_bytes(os.urandom(300_000))),
        bad('empty', lambda lane: lane.file.write_bytes(b'')),
        bad('half copied', lambda lane: lane.file.write_bytes(lane.good[: len(lane.good) // 2])),
        bad('without its last byte', lambda lane: replace(lane, lane.good[:-1])),
        bad('with a bit flipped', lambda lane: replace(lane, lane.good[:60_000] + bytes([lane.good[60_000] ^ 64]) + lane.good[60_001:])),
        bad('removed', lambda lane: lane.file.unlink()),
        bad('a folder', folder),
        bad('a link to nothing', lambda lane: linked(lane, '/nowhere/at/all')),
        bad('a link to itself', lambda lane: linked(lane, lane.file)),
        bad('of 8 GB', sparse),
        bad('a pipe nobody writes to', pipe),
    ),
    lanes=2,
)
