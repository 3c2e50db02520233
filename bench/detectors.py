"""The cost of a step if the same entities are divided among many detectors: CPU time per entity, and the duration of a step of a detector.

The exporter as in `promlstm run`, without its web server: scheduler, page, telemetry, incidents, checkpoints. Its clock jumps to the next step as soon
as all detectors have finished the last one; requests are spread as usual. The server that answers is another process.

Then the CPU time of 100 × 100 by stage, and the floor: what the libraries need for the same work in the same process.

    request   the same number of requests of http.client over one connection, their answers read
    decode    msgspec on the same bytes, the values left as text
    judge     ONNX Runtime on the same number of rows, sixteen detectors at once
    render    compression of each detector's text on the page as one piece

`between` is the time outside of all stages: threads, locks, telemetry, the rest of the runner, garbage collection.
"""

import logging
import multiprocessing
import tempfile
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from statistics import median
from time import process_time, sleep, thread_time

import numpy as np

from bench import answers, warmed
from bench.step import Watched, decoded, feeds
from promlstm import config as configuration
from promlstm.engine import session as sessions
from promlstm.live import relay, storage
from promlstm.live.clock import Clock
from promlstm.live.incidents import Gathering
from promlstm.live.scheduler import TOGETHER, Scheduler
from promlstm.query.sources import Sources
from promlstm.serve.page import OF_INCIDENTS, Page, compressed
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
DIVIDED = (100, 100, Together)  # of which each stage is told
STAGES = ('request', 'decode', 'place', 'recall', 'judge', 'score', 'remember', 'render', 'publish', 'incidents')
TIMES = 5  # that a floor is measured


def main():
    """Print a row per size, with its CPU time relative to one detector; then the stages of DIVIDED. Returns the rows."""
    session = sessions.load(sessions.resolve(MODEL), prove=False)
    remembered = warmed.memory(answers.config('http://localhost').detectors[0], session)
    print('  detectors  entities of each  judged      CPU µs an entity  × of one detector  ms of a step of one  seconds that requests are spread over')
    rows = []
    for detectors, entities, scheduler in SIZES:
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as own:
            row = own.submit(measure, detectors, entities, MODEL, remembered, scheduler).result()
        rows.append({'detectors': detectors, 'entities_of_each': entities, 'judged': scheduler.judged} | row)
        each = row['cpu_seconds'] / (detectors * entities) * 1e6
        cells = f'{detectors:9}{entities:18}  {scheduler.judged:10}{each:18.1f}{row["cpu_seconds"] / rows[0]["cpu_seconds"]:19.2f}'
        print(f'  {cells}{row["step_seconds"] * 1e3:21.1f}{row["spread_seconds"]:39.1f}', flush=True)
    share = waiting(WAITING)
    print(f'  {WAITING} detectors that wait for their next step: CPU time of {share * 60 * 1e3 / WAITING:.2f} ms a minute, each', flush=True)
    _print_stages(rows[SIZES.index(DIVIDED)])
    return {'model': MODEL, 'sizes': rows, 'waiting_cpu_seconds_a_minute': share * 60 / WAITING}


def _print_stages(row):
    print(f'  a step of {row["detectors"]} × {row["entities_of_each"]}, CPU ms    floor')
    for name, seconds in row['stage_cpu_seconds'].items():
        floor = row['floor_cpu_seconds'].get(name)
        print(f'    {name:18}{seconds * 1e3:10.1f}' + (f'{floor * 1e3:9.1f}' if floor else ''), flush=True)


def waiting(detectors, seconds=WAIT_SECONDS):
    """CPU time per second of a number of detectors between two steps."""
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

    And, by stage, stage_cpu_seconds and floor_cpu_seconds of a step of all detectors.

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
        time, given = _checkpoints(folder, config, session, entities, remembered)
        clock, spent = _Leaping(start=time + 1), _Spent()
        telemetry, page, watched = Telemetry(), Page(clock.now, clock.steady), _Watched(detectors, lambda: clock.leap(step), spent)
        sources = Sources(config.named_sources)
        sources['prometheus']._send = spent.around('request', sources['prometheus']._send)
        gathering = Gathering(config.root_cause, clock, telemetry, partial(page.publish, OF_INCIDENTS))
        gathering.observe = spent.around('incidents', gathering.observe)
        timed, relay.timed = relay.timed, spent.beside(relay.timed)
        store = storage.Storage(folder, 1e6, names, telemetry, clock.stopping, now=clock.now)
        scheduler = scheduler_of(
            config, sources, clock=clock, telemetry=telemetry, publish=spent.around('publish', page.publish), withdraw=page.withdraw, storage=store,
            incidents=gathering, watch=watched.step,
        )  # fmt: skip
        scheduler.start()
        try:
            if not watched.done.wait(LIMIT_SECONDS):
                raise TimeoutError(f'{detectors} detectors made no {FIRST + STEPS} steps within {LIMIT_SECONDS} s')
            text = b''.join(page.parts())
        finally:
            scheduler.stop(LIMIT_SECONDS)
            relay.timed = timed
            store.stop(LIMIT_SECONDS)       # it writes into the folder until then
        floors = _floors(url, session, given, text, detectors, time)
    took = [telemetry.registry.get_sample_value('promlstm_detector_last_step_duration_seconds', {'detector': name}) for name in names]
    return {
        'cpu_seconds': watched.cpu_seconds(), 'step_seconds': median(took), 'spread_seconds': scheduler.spread_seconds(step),
        'scores': text.count(b'promlstm_anomaly_score{'), 'stage_cpu_seconds': watched.stages(), 'floor_cpu_seconds': floors,
    }  # fmt: skip


def _floors(url, session, given, text, detectors, time):
    """{stage: the minimum of CPU seconds that the libraries need for a step of all detectors}.

    given  what the session was given for a detector
    text   of the page
    """
    connection, size = HTTPConnection(url.removeprefix('http://')), -(-len(text) // detectors)
    many = min(TOGETHER, detectors)
    runtime = session._runtime
    rows = feeds(runtime, {name: np.concatenate([array] * many) if np.ndim(array) else array for name, array in given.items()})

    def request():
        connection.request('POST', '/api/v1/query', f'query=x&time={time}', {'Content-Type': 'application/x-www-form-urlencoded'})
        return connection.getresponse().read()

    body = request()
    floors = {
        'request': lambda: [request() for _ in range(detectors)],
        'decode': lambda: [decoded(body) for _ in range(detectors)],
        'judge': lambda: [runtime.run(None, rows) for _ in range(0, detectors, many)],
        'render': lambda: [compressed(text[start : start + size]) for start in range(0, len(text), size)],
    }
    return {name: min(_cpu_seconds(work) for _ in range(TIMES)) for name, work in floors.items()}


def _cpu_seconds(work):
    began = process_time()
    work()
    return process_time() - began


def _checkpoints(folder, config, session, entities, remembered):
    """Write the checkpoints of all detectors, each with a number of scored entities; (time of their last step, inputs of the session at it)."""
    subject, time = warmed.detector(config.detectors[0], session, warmed.Past(entities), entities, remembered)
    subject.session = Watched(session)
    subject.commit(step := subject.step(time))
    writer, snapshot = storage.Storage(folder, 1e6, (), Telemetry(), threading.Event()), subject.snapshot(step.verdicts)
    for each in config.detectors:
        writer.part(each.name, (storage.settings(each, config.prometheus), snapshot))
    writer.stop(LIMIT_SECONDS)
    return time, subject.session.given


class _Leaping(Clock):
    """The time of a clock that runs ahead."""

    _ahead = 0.0

    def now(self):
        return super().now() + self._ahead

    def leap(self, step):
        """To the next aligned step."""
        self._ahead += step - self.now() % step


class _Spent:
    """CPU seconds of threads by stage: seconds = {stage: sum}."""

    def __init__(self):
        self._seconds, self._lock = Counter(), threading.Lock()

    @property
    def seconds(self):
        """As it is now."""
        with self._lock:
            return Counter(self._seconds)

    @contextmanager
    def stage(self, name):
        """What is done in it counts to that stage."""
        began = thread_time()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[name] += thread_time() - began

    def around(self, name, call):
        """The same call, in a stage."""

        def timed(*args):
            with self.stage(name):
                return call(*args)

        return timed

    def beside(self, timed):
        """What measures the stages of the exporter, and these seconds as well."""

        @contextmanager
        def both(count, detector, name):
            with self.stage(name), timed(count, detector, name):
                yield

        return both


class _Watched:
    """The CPU time of this process each time that all detectors have made a step; then the next step may begin."""

    def __init__(self, detectors, leap, spent):
        self._detectors, self._leap, self._seen, self._lock, self._cpu = detectors, leap, Counter(), threading.Lock(), []
        self._spent, self._stages = spent, []
        self.done = threading.Event()

    def step(self, detector, verdicts, missing):
        """As Watch."""
        with self._lock:
            self._seen[verdicts.time] += 1
            if self._seen[verdicts.time] < self._detectors:
                return
            self._cpu.append(process_time())
            self._stages.append(self._spent.seconds)
            if len(self._cpu) > FIRST + STEPS:
                self.done.set()
        self._leap()

    def cpu_seconds(self):
        """Median of the steps."""
        return median(after - before for before, after in zip(self._cpu[FIRST:], self._cpu[FIRST + 1 :], strict=False))

    def stages(self):
        """{stage: CPU seconds}, means of the steps; and what is none of them: threads, locks, telemetry, garbage."""
        last = FIRST + STEPS
        found = {name: (self._stages[last][name] - self._stages[FIRST][name]) / STEPS for name in (*STAGES, 'query')}
        found['decode'] = found.pop('query') - found['request']  # the answer is read within the query
        whole = (self._cpu[last] - self._cpu[FIRST]) / STEPS
        return found | {'between': whole - sum(found.values()), 'all': whole}
