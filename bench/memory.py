"""Which objects hold the memory of an entity between steps, and the peak in each stage of a step.

A detector of entities with scores, one in a thousand anomalous (warmed.py), takes steps over loopback HTTP as the runner makes them, in a process
of its own. What holds bytes is counted object by object: columns by their dtype, objects of Python as their allocator rounds them. What the process has
grown by and nothing holds is memory that the allocators keep for the next step. Peaks are those of the process, as Linux tells them.
"""

import gc
import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from types import FunctionType, MethodType, ModuleType

import numpy as np

from bench import arguments, machine, warmed
from bench.answers import Answers, config
from promlstm.engine.session import load, resolve
from promlstm.live import heap
from promlstm.query.prometheus import Prometheus
from promlstm.serve import exposition
from promlstm.serve.page import Page, pack

ENTITIES = 100_000
MODEL = 'builtin:default'
STEPS = 3  # the first builds the table and the labels, the second allocates
_COUNTED = (np.ndarray, bytes, bytearray, memoryview)  # whose own bytes those of an array over them are
_NOT_OURS = (type, ModuleType, FunctionType, MethodType)  # they lead to all that the process has


def add_options(parser):
    """Add the options of `main`."""
    parser.add_argument('--entities', metavar='N', type=arguments.at_least(2), default=ENTITIES, help='number of entities (default %(default)s)')
    parser.add_argument('--model', metavar='MODEL', default=MODEL, help=arguments.MODEL)


def main(entities=ENTITIES, model=MODEL):
    """Print bytes per entity; returns the total bytes."""
    remembered = warmed.memory(config('http://localhost').detectors[0], load(resolve(model), prove=False))
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as own:  # so that its memory is its own
        held, peaks, grown, at_rest = own.submit(measure, entities, remembered, model).result()
    print(f'  bytes an entity between steps, {entities} entities with scores')
    for name, size in {**held, 'kept by allocators': grown - sum(held.values()), 'all': grown}.items():
        print(f'    {name:34}{size / entities:8.0f}')
    print('  bytes an entity at the peak of each stage')
    for name, size in peaks.items():
        print(f'    {name:34}{size / entities:8.0f}')
    print(f'  the whole process at its peak: {(at_rest + max(peaks.values())) / 1e6:.0f} MB')
    return {'entities': entities, 'model': model, 'held_bytes': held, 'grown_bytes': grown, 'stage_peak_bytes': peaks, 'at_rest_bytes': at_rest}


def measure(entities, remembered, model):
    """({what holds them: bytes between steps}, {stage: bytes at its peak}, bytes between steps, bytes at rest); all but the last beyond those at rest.

    remembered  of warmed.memory with the same model
    """
    session = load(resolve(model), prove=False)
    at_rest, peaks = machine.resident_bytes(), defaultdict(int)

    @contextmanager
    def stage(name):
        machine.forget_peak()
        yield
        peaks[name] = machine.peak_bytes() - at_rest

    with Answers(entities) as url:
        settings = config(url)
        subject, at = warmed.detector(settings.detectors[0], session, Prometheus(settings.prometheus), entities, remembered, stage=stage)
        labels, page = exposition.Labels('bench', ('',), session.bundle.manifest.views), Page(lambda: 0.0)
        gc.collect()
        gc.freeze()
        gc.disable()  # as Scheduler
        heap.use_huge_pages(False)
        for each in range(STEPS):
            step = subject.step(at + each * settings.detectors[0].step)
            with stage('render'):
                labels = labels.of(step.identities)
                blocks = pack(exposition.lines(step.verdicts, labels, missing=step.missing), session.threads)
            with stage('commit'):
                subject.commit(step)
            with stage('publish'):
                page.publish('bench', blocks, 1.0)
            verdicts = step.verdicts  # pages and the storage hold them
            del step, blocks
            heap.give_back(entities)  # as Scheduler, after each step
        grown, seen = machine.resident_bytes() - at_rest, set()
        memory, table = subject.memory, subject.entities
        owners = {
            'state of the graph': memory.state,
            'seasonal memory': memory.season,
            'tables of the time of day': memory.tables,
            'latch, alarm, class': (memory.latch, memory.alarm, memory.klass),
            'presence': table.presence,
            'first and last sample': table.stored()(),
            'identities': table.identities,
            'rows by labels': (table._row_of, table._index),
            'the last answer': table._last,
            'labels as text': labels,
            'verdicts': verdicts,
            'page': page,
        }
        held = {name: _held(owner, seen) for name, owner in owners.items()}
    return held, dict(peaks), grown, at_rest


def _held(owner, seen):
    """Bytes of all objects that an object refers to, except those already seen."""
    total, waiting = 0, [owner]
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, _NOT_OURS) or id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            if isinstance(thing.base, _COUNTED):
                waiting.append(thing.base)
            elif id(thing.base) not in seen:  # its own, or those of a library, as what the graph gives for few entities
                total += thing.nbytes
                seen |= {id(thing.base)} - {id(None)}
            continue
        total += -(-sys.getsizeof(thing) // 16) * 16
        waiting += [*thing, *thing.values()] if isinstance(thing, Mapping) else gc.get_referents(thing)
    return total
