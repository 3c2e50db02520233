"""Memory comes in pages of the usual size, and goes back to the system after steps of many entities."""

import ctypes
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from fakes import noisy, raw
from running import START, Running, running
from servers import wait_until

from promlstm import config as configuration
from promlstm.live import heap
from promlstm.live.clock import Clock
from promlstm.live.scheduler import Scheduler
from promlstm.serve.telemetry import Telemetry

CHILD = """
from bench.machine import resident_bytes
from promlstm.live import heap
pieces = [bytearray(4000) for _ in range(50_000)]
held = pieces[::50]
before = resident_bytes()
del pieces
freed = resident_bytes()
heap.give_back(heap.MANY_ENTITIES)
print(before - freed, before - resident_bytes())
"""

HUGE = """
from pathlib import Path
from promlstm.live import heap
for use in (False, False, True):
    print(heap.use_huge_pages(use))
    print(*(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('THP_enabled')))
"""
STATUS = Path('/proc/self/status')


@pytest.mark.skipif(not STATUS.exists() or 'THP_enabled' not in STATUS.read_text(), reason='no kernel that says whether it gives huge pages')
def test_the_kernel_gives_no_huge_pages_while_it_is_told_so():
    """Whatever the setting of the system; a process of its own, since it counts for all of it."""
    text = subprocess.run([sys.executable, '-c', HUGE], capture_output=True, text=True, check=True).stdout
    assert text.split() == ['True', 'THP_enabled:', '0', 'False', 'THP_enabled:', '0', 'False', 'THP_enabled:', '1']


@pytest.mark.parametrize('used', [True, False])
def test_there_are_none_while_detectors_run(monkeypatch, used):
    """From the start to the end; a process that was started with none has none afterwards."""
    told = []

    def use_huge_pages(use):
        told.append(use)
        return used

    monkeypatch.setattr(heap, 'use_huge_pages', use_huge_pages)
    with running(Running(a={})):
        assert told == [False]
    assert told == [False, used]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'malloc_trim'), reason='not glibc')
def test_what_lies_free_between_what_is_held_goes_back_to_the_system():
    """Of 200 MB in small pieces, one in fifty of which is held, the allocator keeps nearly all until it is told."""
    text = subprocess.run([sys.executable, '-c', CHILD], capture_output=True, text=True, check=True).stdout
    by_itself, in_all = map(int, text.split())
    assert by_itself < 50e6 < 150e6 < in_all


def test_a_library_without_the_call_is_left_alone(monkeypatch):
    """Such as musl, or where no C library is found."""
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: object())
    heap.give_back(heap.MANY_ENTITIES)
    heap.use_huge_pages(False)

    def none(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, 'CDLL', none)
    heap.give_back(heap.MANY_ENTITIES)
    heap.use_huge_pages(False)


def test_it_is_told_after_steps_of_many_entities_only(monkeypatch):
    """A step of few leaves hardly anything, and there may be hundreds of such detectors."""
    told = []

    class Library:
        def malloc_trim(self, pad):
            told.append(pad)

    monkeypatch.setattr(ctypes, 'CDLL', lambda name: Library())
    config = configuration.parse(str({'prometheus': {'url': 'http://localhost:9090'}, 'detectors': [{'name': 'd', 'expr': 'up'}]}))
    scheduler = Scheduler(config, {'prometheus': None}, clock=Clock(), telemetry=Telemetry(process=False), publish=print, withdraw=print)
    scheduler.collect_garbage(100)
    assert not told
    scheduler.collect_garbage(100_000)
    assert told == [0]


@pytest.mark.slow
def test_what_a_burst_of_entities_has_left_goes_back_when_they_are_forgotten(monkeypatch):
    """The step that forgets them, and the next one, which puts another page in place of theirs, count as steps of all of them."""
    told = []

    def collect_garbage(self, entities):
        if threading.current_thread().name == 'promlstm-a':
            told.append((len(self.runners[0]._detector.memory), entities))

    monkeypatch.setattr(Scheduler, 'collect_garbage', collect_garbage)
    subject = Running(a={'forget': '3m'})
    subject.source.series |= {raw(instance=f'burst{number}'): noisy(number, gone=START + 120) for number in range(20)}
    with running(subject):
        wait_until(lambda: (3, 3) in told, 60, 'the burst to be forgotten, and its memory to be given back')
    assert Counter(told)[3, 23] == 2
