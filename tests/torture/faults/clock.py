"""The clock of one process is set forward and back; the waits of the process keep their length."""

import re
import time
from contextlib import contextmanager, suppress

from servers import ROOT

from torture.faults import Fault, Subject
from torture.lane import CALM, STEPS, STRUCK, Exporting, recover
from torture.rows import Attempt

ALL = (*STRUCK, *CALM)
SAID_SECONDS = 40
GONE_SECONDS = 3


@contextmanager
def opened(world, name):
    """An exporter whose clock is ahead by what stands in `lane.offset`."""
    offset = world.away(f'{name}-clock') / 'offset'
    offset.write_text('0')
    lane = Exporting(world, name, world.prometheus.url, source={'timeout': '2s'})
    python, _, _, *rest = lane.process.args  # python -m promlstm run …
    lane.process.args = [python, str(ROOT / 'tests/torture/shifted.py'), str(offset), *rest]
    lane.process.environment['PYTHONPATH'] = str(ROOT)  # which `-m` has of itself
    with lane:
        lane.offset = offset
        yield lane


def set_to(lane, seconds):
    """Set the clock."""
    lane.offset.write_text(str(seconds))


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
        moved('clock 8 s back', -8, *BACK),
        moved('clock 40 s back', -40, *BACK),
        moved('clock an hour back', -3600, *BACK),
        moved('clock an hour ahead', 3600, 'clock', 'promlstm_detector_empty_results_total'),
    ),
)
