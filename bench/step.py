"""One live step of a detector over loopback HTTP by stage, and for each stage the floor: the least that its libraries need.

Every entity has a score, one in a thousand is anomalous (warmed.py). Each size runs in a process of its own. Steps and floors are measured in turn,
since other work on the machine slows both; the table has the best of some rounds, the file their medians, too. Floors:

    decode    msgspec on the same bytes, the values left as text
    judge     ONNX Runtime on the same chunks by the same number of threads, inputs and outputs bound before
    columns   (place, recall, score, remember, commit) a copy of the columns that they make
    render    compression of the page's text as one piece, by one thread
    products  matrix products of numpy (SGEMM) of as many rows, 4 096 at a time, with the weights of the graph's LSTM and dense layers: what of `judge`
              is multiplication by learnt weights, and nothing else of what the graph does. Only where the package `onnx` is there to read them

Below them, render and the page with each value of the key `export`.
"""

import gc
import multiprocessing
import re
import zlib
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from statistics import median
from time import perf_counter
from typing import get_args

import msgspec
import numpy as np
import requests

from bench import arguments, machine, warmed
from bench.answers import Answers, config
from promlstm.engine import session as sessions
from promlstm.engine.bundle import NEXT
from promlstm.engine.detector import Detector
from promlstm.live import heap
from promlstm.query.prometheus import Prometheus
from promlstm.serve import exposition
from promlstm.serve.page import Page, compressed, pack
from promlstm.serve.selection import Export, select

SIZES = (1_000, 10_000, 100_000, 1_000_000)
MODEL = 'builtin:default'
ROUNDS, LARGE, ROUNDS_OF_LARGE = 7, 300_000, 3
COLUMNS = ('place', 'recall', 'score', 'remember', 'commit')
TYPES = {'tensor(float)': np.float32, 'tensor(double)': np.float64, 'tensor(int64)': np.int64}
STAGES = ('decode', *COLUMNS, 'judge', 'render')
FLOORS = ('decode', 'columns', 'judge', 'render', 'products')


def add_options(parser):
    """Add the options of `main`."""
    parser.add_argument('--entities', metavar='N[,N…]', type=arguments.sizes, default=SIZES, help='number of entities; several numbers are measured in turn')
    parser.add_argument('--model', metavar='MODEL', default=MODEL, help=arguments.MODEL)


def main(entities=None, model=None):
    """Print a table; returns its rows and the model."""
    sizes, model = entities or SIZES, model or MODEL
    session = sessions.load(sessions.resolve(model), prove=False)
    remembered = warmed.memory(config('http://localhost').detectors[0], session)
    rows = []
    print('  entities  stage      seconds   µs/entity     floor   × floor')
    for size in sizes:
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as own:  # so that its memory is its own
            rows.append(own.submit(measure, size, model, remembered).result())
        _print(rows[-1])
    return {'model': model, 'sizes': rows}


def _print(row):
    entities = row['entities']
    for name in (*STAGES, 'columns', 'own time'):
        seconds, floor = row['seconds'][name]['best'], row['floors'].get(name, {}).get('best')
        beside = f'{floor:10.4f}{seconds / floor:10.2f}' if floor else ''
        print(f'  {entities:8}  {name:8}{seconds:10.4f}{seconds / entities * 1e6:12.2f}{beside}')
    if products := row['floors'].get('products'):
        print(f'  {entities:8}  products of numpy with the weights of the graph {products["best"]:.4f}')
    sizes = {name: row[f'answer_{name}'] / entities for name in ('bytes', 'compressed_bytes')}
    print(f'  {entities:8}  answer {sizes["bytes"]:.0f} bytes an entity, compressed by zlib at level 1 {sizes["compressed_bytes"]:.0f}')
    print(f'  {entities:8}  peak {row["peak_bytes"] / 1e6:.0f} MB, {row["bytes_an_entity"]:.0f} bytes an entity between steps')
    for name, each in row['exports'].items():
        sizes = f'page {each["page_bytes"] / 1e6:.1f} MB, compressed {each["page_gzip_bytes"] / 1e6:.1f} MB'
        print(f'  {entities:8}  export: {name:9}  render {each["render"]:.4f}, {sizes}', flush=True)


def measure(entities, model, remembered, rounds=None):
    """A row of the table: {name: figure}, as the file has it.

    remembered  of warmed.memory with the same model
    rounds      None = as many as take some seconds
    """
    rounds = rounds or (ROUNDS_OF_LARGE if entities > LARGE else ROUNDS)
    session = sessions.load(sessions.resolve(model), prove=False)
    at_rest = machine.resident_bytes()
    with Answers(entities) as url:
        steps = _Steps(url, session, entities, remembered)
        gc.freeze()
        gc.disable()  # as Scheduler
        heap.use_huge_pages(False)
        steps.run()
        steps.run()  # the first builds the table and the labels, the second allocates
        machine.forget_peak()
        steps.taken.clear()
        steps.run()
        peak, resident = machine.peak_bytes(), machine.resident_bytes()
        floors = _Floors(steps, url, model)
        for _ in range(rounds):
            steps.run()
            floors.run()
        exports = {name: min((steps.exported(name) for _ in range(rounds)), key=lambda each: each['render']) for name in get_args(Export)}
        gc.enable()
    taken = {name: {'best': min(times), 'median': median(times)} for name, times in steps.taken.items() if name in STAGES}
    sums = {'columns': COLUMNS, 'own time': STAGES}
    taken |= {name: {how: sum(taken[part][how] for part in parts) for how in ('best', 'median')} for name, parts in sums.items()}
    return {
        'entities': entities,
        **_on_page(b''.join(steps.page.parts())),
        'seconds': taken,
        'floors': {name: {'best': min(times), 'median': median(times)} for name, times in floors.taken.items()},
        'answer_bytes': len(floors.body),
        'answer_compressed_bytes': len(zlib.compress(floors.body, 1)),
        'peak_bytes': peak,
        'peak_bytes_an_entity': (peak - at_rest) / entities,
        'bytes_an_entity': (resident - at_rest) / entities,
        'memory_bytes': steps.subject.memory.nbytes(),
        'exports': exports,
    }


def _on_page(text):
    """The number of lines of each family, and of anomalous scores."""
    lines = defaultdict(int)
    for family in re.findall(rb'^(\w+)\{', text, re.MULTILINE):
        lines[family.decode()] += 1
    scores = [float(number) for number in re.findall(rb'^promlstm_anomaly_score\{.*\} (.*)$', text, re.MULTILINE)]
    return {'lines': dict(lines), 'anomalous': sum(number >= 1 for number in scores)}


class _Timed(Prometheus):
    """A Prometheus client that reports how long the answer took."""

    def __init__(self, *args, stage):
        super().__init__(*args)
        self._stage = stage

    def _send(self, *args):
        with self._stage('transfer'):
            return super()._send(*args)


class _Steps:
    """Steps of one detector as the runner makes them, with the duration of each stage: taken = {stage: [seconds]}."""

    def __init__(self, url, session, entities, remembered):
        self.taken = defaultdict(list)
        settings = config(url)
        source = _Timed(settings.prometheus, stage=self.stage)
        self.subject, self._next = warmed.detector(settings.detectors[0], session, source, entities, remembered, stage=self.stage)
        self._labels = exposition.Labels('bench', ('',), session.bundle.manifest.views)
        self.page, self._threads = Page(lambda: 0.0), session.threads

    @contextmanager
    def stage(self, name):
        start = perf_counter()
        yield
        self.taken[name].append(perf_counter() - start)

    def _rendered(self, verdicts, missing, export):
        selection = select(export, len(missing), verdicts, missing)
        return pack(exposition.lines(verdicts, self._labels, missing=missing, selection=selection), self._threads)

    def exported(self, export):
        """The last step with a choice of the key `export`: how large its page is, and the seconds to render it."""
        page, began = Page(lambda: 0.0), perf_counter()
        blocks = self._rendered(self.verdicts, self._missing, export)
        took = perf_counter() - began
        page.publish('bench', blocks, 1.0)
        sizes = {name: sum(map(len, page.parts(gzip=gzip))) for name, gzip in (('page_bytes', False), ('page_gzip_bytes', True))}
        return sizes | {'render': took}

    def run(self):
        """One step; the next is of the next instant."""
        step = self.subject.step(self._next)
        with self.stage('render'):
            self._labels = self._labels.of(step.identities)
            blocks = self._rendered(step.verdicts, step.missing, 'all')
        with self.stage('commit'):
            self.subject.commit(step)
        self.page.publish('bench', blocks, 1.0)
        self.taken['decode'].append(self.taken['query'][-1] - self.taken['transfer'][-1])
        self.verdicts, self._missing = step.verdicts, step.missing
        self._next += self.subject.config.step
        del step, blocks
        heap.give_back(len(self.subject.memory))  # as Scheduler, after each step


class Watched:
    """A session that keeps its last inputs."""

    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run_together(self, inputs, state, wait_seconds):
        """As Session.run_together."""
        self.given = inputs | state
        return self._session.run_together(inputs, state, wait_seconds)


class _Floors:
    """The minimum of time that the libraries need for a step: taken = {name: [seconds]}."""

    def __init__(self, steps, url, model):
        self._steps, self.taken = steps, defaultdict(list)
        subject: Detector = steps.subject
        self.body = requests.post(url + '/api/v1/query', data={'time': str(warmed.NOW)}, timeout=600).content
        subject.session = Watched(subject.session)
        path = sessions.resolve(model)
        self._runtime, _ = sessions.opened(path.read_bytes(), str(path))
        self._pool, self._weights = ThreadPoolExecutor(subject.session.threads), _weights(path)

    def run(self):
        """All of them once, of the step before."""
        page = b''.join(self._steps.page.parts())
        columns = [getattr(self._steps.verdicts, field.name) for field in fields(self._steps.verdicts)]
        memory = self._steps.subject.memory
        columns += [getattr(part, field.name) for part in (memory.latch, memory.alarm) for field in fields(part)]
        columns = [column for column in columns if isinstance(column, np.ndarray)]
        bindings = self._bindings()
        floors = {
            'decode': lambda: decoded(self.body),
            'columns': lambda: [column.copy() for column in columns],
            'judge': lambda: list(self._pool.map(self._runtime.run_with_iobinding, bindings)),
            'render': lambda: compressed(page),
        }
        if self._weights:
            floors['products'] = lambda: self._multiply(len(memory))
        for name in floors:
            start = perf_counter()
            floors[name]()
            self.taken[name].append(perf_counter() - start)

    def _multiply(self, rows):
        """By each of the weights, as many rows at a time as the graph takes."""
        blocks = [np.ones((min(rows, sessions.CHUNK), len(weight)), np.float32) for weight in self._weights]
        for _ in range(0, rows, sessions.CHUNK):
            for block, weight in zip(blocks, self._weights, strict=True):
                np.matmul(block, weight)

    def _bindings(self):
        """Those of the chunks of the last step."""
        given, session = self._steps.subject.session.given, self._steps.subject.session
        rows, features = given['value'].shape
        self._feeds = feeds(self._runtime, given)  # kept: bindings hold addresses
        blank, _ = session.run({name: array[:2] if array.ndim else array for name, array in self._feeds.items() if name not in session.bundle.states},
                               {name: self._feeds[name][:2] for name in session.bundle.states})  # fmt: skip
        shapes = {name: (array.dtype, array.shape[1:]) for name, array in blank.items()}
        shapes |= {name + NEXT: (self._feeds[name].dtype, self._feeds[name].shape[1:]) for name in session.bundle.states}
        self._results = {node.name: np.empty((rows, *shapes[node.name][1]), shapes[node.name][0]) for node in self._runtime.get_outputs()}
        bindings = []
        for start, stop in sessions.chunks(rows, features, session.threads):
            binding = self._runtime.io_binding()
            for bind, arrays in ((binding.bind_input, self._feeds), (binding.bind_output, self._results)):
                for name, array in arrays.items():
                    part = array[start:stop] if array.ndim else array
                    bind(name, 'cpu', 0, part.dtype, part.shape, part.ctypes.data)
            bindings.append(binding)
        return bindings


def _weights(path):
    """The weight matrices of a model, float32 [inputs, outputs] each; none where `onnx` is not installed."""
    try:
        import onnx
    except ImportError:
        return []
    graph, found = onnx.load(path).graph, []
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == 'LSTM':  # [1, 4 × units, inputs] of the input, and of what it remembers
            found += [np.ascontiguousarray(stored[name][0].T) for name in node.input[1:3]]
        elif node.op_type == 'MatMul' and node.input[1] in stored:
            found.append(stored[node.input[1]])
    return found


def feeds(runtime, given):
    """{input of the graph: array as it expects it}, from the inputs of a session."""
    wanted = {node.name: TYPES[node.type] for node in runtime.get_inputs()}
    return {name: np.ascontiguousarray(given[name], dtype) if np.ndim(given[name]) else np.asarray(given[name], dtype) for name, dtype in wanted.items()}


class _Series(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    value: tuple[float, str]


class _Data(msgspec.Struct, gc=False):
    result: list[_Series]


class _Answer(msgspec.Struct, gc=False):
    data: _Data


decoded = msgspec.json.Decoder(_Answer).decode  # an answer of Prometheus, the values left as text
