"""One exporter with its reader; and, behind a proxy, a trial: strike, look where the reason stands, heal, see the scores come back."""

import re
import time
from contextlib import suppress
from itertools import groupby

import yaml
from exporter import RUNTIME, Exporter

from torture import pages
from torture.proxy import Proxy
from torture.rows import Attempt

STEPS = {'struck_2s': 2, 'struck_5s': 5, 'calm_2s': 2, 'calm_5s': 5}
STRUCK, CALM = ('struck_2s', 'struck_5s'), ('calm_2s', 'calm_5s')
DELAY_SECONDS = 2  # so that all that a step asks for was scraped
FIRST_SECONDS = 90  # until the first scores, on a busy machine
REASON_SECONDS = 30  # until a reason has to stand everywhere
BACK_SECONDS = 60  # after which it is given up to wait for a recovery
AFTER_STEPS = 2  # that are compared with the twin after a recovery, of the shortest step


def detectors(model=None):
    """The detectors of a lane."""
    keys = {'history': '0s', 'delay': f'{DELAY_SECONDS}s', 'false_alarms': '1/day each', **({'model': str(model)} if model else {})}
    return [{'name': name, 'expr': name.split('_')[0], 'step': f'{step}s', **keys} for name, step in STEPS.items()]


class Exporting:
    """`promlstm run` with the detectors, ready when entered with the first scores of all, and a reader of its pages.

    source      keys of `prometheus` in its configuration, beside the URL
    wrap        a command line that runs it, such as prlimit's
    """

    def __init__(self, world, name, url, *, source=None, wrap=(), environment=None, model=None, patience=FIRST_SECONDS):
        self.world, self.name, self.patience = world, name, patience
        # A wrapper may start a process of its own for it; none of ours outlives the run.
        self.process = Exporter(world.away(name), url, detectors(model), prometheus=source or {}, environment=environment)
        self.process.args = [*map(str, wrap), *self.process.args]
        self.reader = None

    @property
    def address(self):
        return self.process.address

    @property
    def pid(self):
        return self.process.child.pid

    @property
    def alive(self):
        return self.process.child.poll() is None

    def __enter__(self):
        self.start()
        return self

    def start(self):
        """Start it, again after it was stopped, and wait for scores of all detectors."""
        self.process.start()
        if self.reader:
            self.reader.stop()
        self.reader = pages.Reader(self.address, STEPS, DELAY_SECONDS)
        self.reader.start()
        try:
            self.world.until(lambda: self.reader.pages and self.reader.pages[-1].seen.keys() == STEPS.keys(), self.patience, 'first scores')
        except BaseException as error:
            error.add_note(self.process.tail())
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.reader:
            self.reader.stop()
        if self.process.child and self.alive:
            with suppress(ProcessLookupError):
                self.process.stop()

    def ready(self):
        """The text of /-/ready."""
        return pages.get(self.address, '/-/ready')[1]

    def metric(self, family, detector, default=0.0):
        """The sum of the series of one of the exporter's own metrics of a detector."""
        rows = pages.samples(pages.get(self.address)[1]).get(family, {}).get(detector)
        return default if rows is None else sum(rows.values())

    def logged(self, since=0):
        """The log from a position on; its size is the position."""
        with self.process.log.open('rb') as log:
            log.seek(since)
            return log.read().decode(errors='replace')

    def log_size(self):
        return self.process.log.stat().st_size

    def status(self, field):
        """A number of /proc/PID/status, kB for memory."""
        with open(f'/proc/{self.pid}/status') as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith(field))

    def config(self):
        return yaml.safe_load(self.process.config.read_text())


class Lane(Exporting):
    """An exporter behind a proxy of its own."""

    def __init__(self, world, name, *, context=None, named='127.0.0.1', **options):
        self.proxy = Proxy(world.prometheus.port, context=context, name=named).start()
        options['source'] = {'timeout': '2s', **(options.get('source') or {})}
        super().__init__(world, name, self.proxy.url, **options)

    def __exit__(self, *error):
        super().__exit__(*error)
        self.proxy.heal()
        self.proxy.refuse()


def trial(exporting, strike, heal, *, reason, names=STRUCK, calm=CALM, compare=True, metric='promlstm_detector_failures_total', gone=True):
    """One fault: it lasts until its reason is seen everywhere, or until the limit; then it is healed and the scores have to come back.

    strike, heal   begin and end the fault
    reason         what has to stand in /-/ready and in the log of each detector that is struck
    names, calm    detectors that are struck, and those that must not notice
    compare        whether the scores afterwards have to be those of the twin
    metric         a counter that has to rise
    gone           whether the scores of the struck ones have to leave the page, and `up` to be 0
    """
    world, reader, attempt = exporting.world, exporting.reader, Attempt()
    position, before = exporting.log_size(), {name: exporting.metric(metric, name) for name in names}
    odd, began = len(reader.odd), time.time()
    strike()

    def places():
        """{place: whether the reason of every struck detector is there}."""
        ready, log = exporting.ready(), exporting.logged(position)
        return {
            'ready': all(re.search(rf'^{name}: .*{reason}', ready, re.MULTILINE) for name in names),
            'log': all(re.search(rf'detector={name}\b.*{reason}', log) for name in names),
            'metric': all(exporting.metric(metric, name) > before[name] for name in names)
            and (not gone or all(exporting.metric('promlstm_detector_up', name, 1.0) == 0 for name in names)),
        }

    with suppress(TimeoutError):
        world.until(lambda: not exporting.alive or all(places().values()), REASON_SECONDS, 'the reason')
    if exporting.alive:
        attempt.seen = places()
        if not all(attempt.seen.values()):
            attempt.problems.append(f'/-/ready says {exporting.ready().splitlines()[1:3]}')
        if gone:
            failed = time.time()
            world.pause(2 * reader_seconds())
            if any(name in page.seen for page in reader.since(failed) for name in names):
                attempt.problems.append('scores of a detector that fails are on the page')
    healed = time.time()
    heal()
    attempt.survived = exporting.alive
    if attempt.survived:
        recover(exporting, attempt, names, healed)
        held(exporting, attempt, calm, began, odd)
        if compare:
            attempt.compared = world.compared(reader, healed - DELAY_SECONDS, time.time(), names)
    attempt.problems += ['a traceback in the log'] if 'Traceback' in exporting.logged(position) else []
    return attempt


def reader_seconds():
    """Between two pages of a reader."""
    return pages.EVERY_SECONDS


def recover(exporting, attempt, names, healed):
    """Wait until each detector has fresh scores, and note after how many steps; then for what is compared."""
    world, reader = exporting.world, exporting.reader

    def back(name):
        """When a page had the scores of a step after the healing, but for the delay."""
        fresh = (page.at for page in reader.since(healed) if name in page.seen and page.at - page.seen[name] > healed - DELAY_SECONDS - 1.5)
        return next(fresh, None)

    for name in names:
        try:
            at = world.until(lambda name=name: back(name), BACK_SECONDS, f'scores of {name}')
            attempt.steps.append((at - healed) / STEPS[name])
        except TimeoutError:
            attempt.problems.append(f'{name} has no scores {BACK_SECONDS} s after the fault')
    world.pause(AFTER_STEPS * min(STEPS.values()))


def longest(there):
    """The longest run of pages that somebody is missing from.

    >>> longest([True, False, False, True, False])
    2
    """
    return max((len(list(pages)) for present, pages in groupby(there) if not present), default=0)


def held(exporting, attempt, calm, began, odd_before):
    """Note which detector that was not struck lost more than a step of its pages, and what was odd on any page."""
    read = exporting.reader.since(began)
    for name in calm:
        away = longest(name in page.seen for page in read) * reader_seconds()
        if away > STEPS[name]:
            attempt.problems.append(f'{name}, which was not struck, was off the page for {away:.1f} s')
    attempt.problems += list(dict.fromkeys(what for _, what in exporting.reader.odd[odd_before:]))[:3]


__all__ = ['CALM', 'RUNTIME', 'STEPS', 'STRUCK', 'Exporting', 'Lane', 'held', 'recover', 'trial']
