"""What a step costs where the same entities are divided among many detectors: CPU time an entity, and how long the step of a detector takes.

The exporter as `promlstm run` has it, without its web server: scheduler, page, telemetry, incidents, checkpoints to go on from. Its clock leaps to the
next step as soon as all detectors have made the last one; requests are spread as they always are. The server that answers is another process.
"""

import logging
import multiprocessing
import tempfile
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import median
from time import process_time, sleep

from bench import answers, warmed
from promlstm import config as configuration
from promlstm.engine import session as sessions
from promlstm.live import storage
from promlstm.live.clock import Clock
from promlstm.live.incidents import Gathering
from promlstm.live.scheduler import Scheduler
from promlstm.query.sources import Sources
from promlstm.serve.page import OF_INCIDENTS, Page
from promlstm.serve.telemetry import Telemetry

MODEL = 'builtin:default'
STEPS, FIRST = 5, 2  # those that are measured, after the first, which build tables and labels
LIMIT_SECONDS = 300
WAITING, WAIT_SECONDS = 100, 20.0  # detectors that wait for their next step, and how long they are watched


class Together(Scheduler):
    """As `promlstm run` has it."""

    judged = 'together'


class Alone(Scheduler):
    """Where no detector waits for another."""

    judged = 'alone'

    def wait_seconds(self, step):
        return 0.0


# Detectors, entities of each, and how they are judged.
SIZES = ((1, 10_000, Alone), (100, 100, Alone), (100, 100, Together), (500, 20, Alone), (500, 20, Together))


def main():
    """Print a row per size, and how many times the CPU time of one detector it takes."""
    session = sessions.load(sessions.resolve(MODEL), prove=False)
    remembered = warmed.memory(answers.config('http://localhost').detectors[0], session)
    print('  detectors  entities of each  judged      CPU µs an entity  × of one detector  ms of a step of one  seconds that requests are spread over')
    one = None
    for detectors, entities, scheduler in SIZES:
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as own:
            row = own.submit(measure, detectors, entities, MODEL, remembered, scheduler).result()
        one = one or row['cpu_seconds']
        each = row['cpu_seconds'] / (detectors * entities) * 1e6
        cells = f'{detectors:9}{entities:18}  {scheduler.judged:10}{each:18.1f}{row["cpu_seconds"] / one:19.2f}'
        print(f'  {cells}{row["step_seconds"] * 1e3:21.1f}{row["spread_seconds"]:39.1f}', flush=True)
    print(f'  {WAITING} detectors that wait for their next step: CPU time of {waiting(WAITING) * 60 * 1e3 / WAITING:.2f} ms a minute, each')


def waiting(detectors, seconds=WAIT_SECONDS):
    """CPU time a second of so many detectors between two steps."""
    clock = Clock()
    forks = [clock.fork() for _ in range(detectors)]
    threads = [threading.Thread(target=fork.wait, args=(clock.now() + LIMIT_SECONDS,)) for fork in forks]
    for thread in threads:
        thread.start()
    before = process_time()
    sleep(seconds)
    took = process_time() - before
    for fork in forks:
        fork.stopping.set()
    for thread in threads:
        thread.join()
    return took / seconds


def measure(detectors, entities, model, remembered, scheduler_of=Together):
    """{cpu_seconds: of a step of all detectors, step_seconds: of a step of one, spread_seconds: that requests are sent apart by, scores: on the page}.

    remembered  of warmed.memory with the same model
    """
    logging.getLogger('promlstm').setLevel(logging.ERROR)  # that the clock was set ahead is no news
    session = sessions.load(sessions.resolve(model), prove=False)
    with answers.Answers(entities) as url, tempfile.TemporaryDirectory() as folder:
        names = [f'd{number:03}' for number in range(detectors)]
        config = configuration.parse(
            str({'prometheus': {'url': url}, 'detectors': [{'name': name, 'expr': 'x', 'model': model} for name in names]})
        )
        step = config.detectors[0].step
        clock = _Leaping(start=_checkpoints(folder, config, session, entities, remembered) + 1)
        telemetry, page, watched = Telemetry(), Page(clock.now, clock.steady), _Watched(detectors, lambda: clock.leap(step))
        store = storage.Storage(folder, 1e6, names, telemetry, clock.stopping, now=clock.now)
        scheduler = scheduler_of(
            config, Sources(config.named_sources), clock=clock, telemetry=telemetry, publish=page.publish, withdraw=page.withdraw, storage=store,
            incidents=Gathering(config.root_cause, clock, telemetry, partial(page.publish, OF_INCIDENTS)), watch=watched.step,
        )  # fmt: skip
        scheduler.start()
        try:
            if not watched.done.wait(LIMIT_SECONDS):
                raise TimeoutError(f'{detectors} detectors made no {FIRST + STEPS} steps within {LIMIT_SECONDS} s')
            scores = sum(part.count(b'promlstm_anomaly_score{') for part in page.parts())
        finally:
            scheduler.stop(LIMIT_SECONDS)
            store.stop(LIMIT_SECONDS)       # it writes into the folder until then
    took = [telemetry.registry.get_sample_value('promlstm_detector_last_step_duration_seconds', {'detector': name}) for name in names]
    return {
        'cpu_seconds': watched.cpu_seconds(), 'step_seconds': median(took), 'spread_seconds': scheduler.spread_seconds(step), 'scores': scores,
    }  # fmt: skip


def _checkpoints(folder, config, session, entities, remembered):
    """Write those of all detectors, each of as many entities that have scores; the instant of their last step."""
    subject, time = warmed.detector(config.detectors[0], session, warmed.Past(entities), entities, remembered)
    subject.commit(step := subject.step(time))
    writer, snapshot = storage.Storage(folder, 1e6, (), Telemetry(), threading.Event()), subject.snapshot(step.verdicts)
    for each in config.detectors:
        writer.part(each.name, (storage.settings(each, config.prometheus), snapshot))
    writer.stop(LIMIT_SECONDS)
    return time


class _Leaping(Clock):
    """The time of a clock that is set ahead."""

    _ahead = 0.0

    def now(self):
        return super().now() + self._ahead

    def leap(self, step):
        """To the next aligned step."""
        self._ahead += step - self.now() % step


class _Watched:
    """CPU time of this process whenever all detectors have made a step; then the next may begin."""

    def __init__(self, detectors, leap):
        self._detectors, self._leap, self._seen, self._lock, self._cpu = detectors, leap, Counter(), threading.Lock(), []
        self.done = threading.Event()

    def step(self, detector, verdicts, missing):
        """As Watch."""
        with self._lock:
            self._seen[verdicts.time] += 1
            if self._seen[verdicts.time] < self._detectors:
                return
            self._cpu.append(process_time())
            if len(self._cpu) > FIRST + STEPS:
                self.done.set()
        self._leap()

    def cpu_seconds(self):
        """Median of the steps."""
        return median(after - before for before, after in zip(self._cpu[FIRST:], self._cpu[FIRST + 1 :], strict=False))
