"""The clock of one process is set forward and back, by libfaketime; the waits of the process keep their length."""

import re
import time
from contextlib import contextmanager, suppress

from servers import ROOT

from torture.faults import Fault, Impossible, Subject
from torture.lane import CALM, STEPS, STRUCK, Exporting, recover
from torture.rows import Attempt

LIBRARY = ROOT / '.cache/faketime/libfaketime.so.1'
ALL = (*STRUCK, *CALM)
SAID_SECONDS = 40
GONE_SECONDS = 3


@contextmanager
def opened(world, name):
    """An exporter whose clock is what `lane.offset` holds."""
    if not LIBRARY.exists():
        raise Impossible('no libfaketime (.ci/install-faketime)')
    offset = world.away(f'{name}-clock') / 'offset'
    offset.write_text('+0')
    environment = {
        'LD_PRELOAD': str(LIBRARY), 'FAKETIME_TIMESTAMP_FILE': str(offset), 'FAKETIME_NO_CACHE': '1', 'DONT_FAKE_MONOTONIC': '1',
        'FAKETIME_DONT_FAKE_MONOTONIC': '1',
    }  # fmt: skip
    with Exporting(world, name, world.prometheus.url, source={'timeout': '2s'}, environment=environment) as lane:
        lane.offset = offset
        yield lane


def set_to(lane, seconds):
    """In place and at once, for the file is read at every look at the clock."""
    lane.offset.write_text(f'{seconds:+d}')


def moved(name, seconds, log, metric):
    """The clock goes away by so many seconds, and comes back: no score of another time stands on a page, log and metric say what happened."""

    def attempt(lane):
        tried, position = Attempt(), lane.log_size()
        lane.reader.relaxed.set()
        before = {each: lane.metric(metric, each) for each in ALL}
        set_to(lane, seconds)
        moved_at = time.time()

        def places():
            said = lane.logged(position)
            return {
                'log': all(re.search(rf'detector={each}\b', said) for each in ALL) and re.search(log, said) is not None,
                'metric': all(lane.metric(metric, each) > before[each] for each in ALL),
            }

        with suppress(TimeoutError):
            lane.world.until(lambda: all(places().values()), SAID_SECONDS, 'the reason')
        tried.seen = places()
        if not all(tried.seen.values()):
            tried.problems.append(f'/-/ready says {lane.ready().splitlines()[1:3]}, the log {lane.logged(position).splitlines()[:2]}')
        # A page is of the step before the clock moved for as long as that step lasts.
        late = [page for page in lane.reader.since(moved_at + 2 * max(STEPS.values()) + GONE_SECONDS) if page.seen]
        frozen = [age for page in late for name, age in page.seen.items() if age > 2 * STEPS[name] + 10]
        tried.problems += [f'scores of samples that are {max(frozen):.0f} s old'] if frozen else []
        set_to(lane, 0)
        healed = time.time()
        tried.survived = lane.alive
        recover(lane, tried, ALL, healed)
        lane.reader.relaxed.clear()
        return tried

    return Fault(name, attempt, (1, 3))


BACK = ('clock moved back', 'promlstm_detector_clock_backwards_total')

SUBJECT = Subject(
    'clock',
    opened,
    (
        moved('clock 3 s back', -3, *BACK),
        moved('clock 40 s back', -40, *BACK),
        moved('clock an hour back', -3600, *BACK),
        moved('clock an hour ahead, and back', 3600, '.', 'promlstm_detector_failures_total'),
    ),
)
