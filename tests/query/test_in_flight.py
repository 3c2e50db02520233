"""Answers in flight together stay within the memory: what finds no room waits, is refused with the reason, and is never waited for in a circle."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import ROOT
from wire import LIMIT_SECONDS, Wire

from promlstm import config
from promlstm.errors import SourceUnavailable
from promlstm.query.connection import PIECE_BYTES, Deadline
from promlstm.query.http import Http
from promlstm.query.in_flight import SHARES, InFlight

SHORT = 0.3  # a time-out that is to pass
PIECE, POOL = PIECE_BYTES, 64 * PIECE_BYTES
SHARE = POOL // SHARES
LIMIT_BYTES = 300 * 2**20


@pytest.fixture
def answers():
    """answers() begins an answer of a pool; all end with the test."""
    all_answers = InFlight(POOL)
    with ExitStack() as stack:
        yield lambda: stack.enter_context(all_answers.answer())


def fits(answer, size, seconds=SHORT):
    """Whether an answer can grow within some time."""
    try:
        answer.grow(size, Deadline(seconds))
    except TimeoutError:
        return False
    return True


def test_small_answers_never_wait(answers):
    """However much the others hold."""
    assert fits(answers(), 100 * POOL)
    assert all(fits(answers(), SHARE) for _ in range(SHARES))
    assert not fits(answers(), PIECE + 1)
    assert all(fits(answers(), PIECE) for _ in range(100))


def test_one_answer_of_any_size_has_room(answers):
    """Beside all that the pool holds; a second one has not."""
    assert all(fits(answers(), SHARE) for _ in range(SHARES))
    large = answers()
    assert all(fits(large, size) for size in (SHARE, 2 * SHARE, 100 * POOL))
    assert not fits(answers(), SHARE + 1)


def test_the_end_of_an_answer_is_room_for_those_that_wait_in_their_order():
    """Whether it ended well or not."""
    all_answers, got = InFlight(POOL), []
    waits = [threading.Event() for _ in range(3)]

    class Waiting(Deadline):
        """Says that somebody has begun to wait."""

        def __init__(self, number):
            super().__init__(LIMIT_SECONDS)
            self.number = number

        def left(self):
            """As Deadline.left."""
            waits[self.number].set()
            return super().left()

    def large(number):
        with all_answers.answer() as answer:
            answer.grow(2 * SHARE, Waiting(number))
            got.append(number)

    with ThreadPoolExecutor(3) as pool:
        with pytest.raises(ZeroDivisionError), all_answers.answer() as first:
            first.grow(2 * SHARE, Deadline(LIMIT_SECONDS))
            running = []
            for number in range(3):
                running.append(pool.submit(large, number))
                assert waits[number].wait(LIMIT_SECONDS)
            assert not got
            raise ZeroDivisionError
        for each in running:
            each.result(LIMIT_SECONDS)
    assert got == [0, 1, 2]


class Now(Deadline):
    """A deadline that has passed: what does not fit at once is refused."""

    def __init__(self):
        super().__init__(-1)


@given(seed=st.integers(0, 2**32), largest=st.sampled_from([SHARE // 2, 2 * SHARE, 3 * POOL]))
def test_what_is_held_together_is_bounded_and_somebody_can_always_go_on(seed, largest):
    """Whoever grows or ends when: never more than the pool, one of the largest size and a piece each; and never do all wait for the others."""
    random, all_answers = Random(seed), InFlight(POOL)
    held = {}  # {ExitStack of an answer: [answer, bytes]}

    def grow(stack):
        answer, size = held[stack]
        try:
            answer.grow(min(largest, size + SHARE // 3), Now())
        except TimeoutError:
            return False
        held[stack][1] = min(largest, size + SHARE // 3)
        return True

    for _ in range(200):
        if len(held) < 20 and random.random() < 0.3:
            stack = ExitStack()
            held[stack] = [stack.enter_context(all_answers.answer()), 0]
        elif held and random.random() < 0.1:
            stack = random.choice(list(held))
            stack.close()
            del held[stack]
        elif held:
            grow(random.choice(list(held)))
        assert sum(size for _, size in held.values()) <= POOL + largest + len(held) * PIECE
    assert not held or any(grow(stack) for stack in list(held))


def test_answers_of_all_sizes_come_to_their_end():
    """Forty that grow at once in threads of their own: each gets all the room that it asks for."""
    all_answers, together = InFlight(POOL), threading.Barrier(40)

    def ask(number):
        end = [PIECE, SHARE // 2, SHARE, 2 * SHARE, 3 * POOL][number % 5]
        together.wait(LIMIT_SECONDS)
        with all_answers.answer() as answer:
            for size in range(PIECE // 2, end + 1, PIECE // 2):
                answer.grow(size, Deadline(LIMIT_SECONDS))
        return True

    with ThreadPoolExecutor(40) as pool:
        assert all(pool.map(ask, range(40)))


# -- over HTTP


def test_a_query_whose_answer_finds_no_room_waits_or_says_so(monkeypatch):
    """Beside a large answer that hangs: a second one is refused with the reason at its time-out, or waits; one of ordinary size is not held."""
    monkeypatch.setattr('promlstm.limits.memory_bytes', lambda: LIMIT_BYTES)
    hangs, begun = threading.Event(), threading.Event()

    def script(peer, number):
        query = peer.request().form['query']
        size = 2_000_000 if query == 'small' else 20_000_000
        peer.send(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b' % (size, bytes(size - 1)))
        if query == 'first':
            begun.set()  # most of it was read, for the buffers of a socket hold less
            hangs.wait(LIMIT_SECONDS)
        peer.send(b'.')

    with Wire(script) as wire, ThreadPoolExecutor(2) as pool:
        subject = Http(config.Source(url=wire.url, concurrency=20))

        def size(query, seconds=LIMIT_SECONDS):
            return len(subject.send('POST', 'api/v1/query', {'query': query}, seconds).body)

        first = pool.submit(size, 'first')
        assert begun.wait(LIMIT_SECONDS)
        with pytest.raises(SourceUnavailable, match=r'bytes or more, for which other answers left no memory within the timeout: aggregate'):
            size('large', 2.0)
        second = pool.submit(size, 'large')
        assert [size('small') for _ in range(3)] == [2_000_000] * 3
        assert not first.done() and not second.done()
        hangs.set()
        assert first.result(LIMIT_SECONDS) == second.result(LIMIT_SECONDS) == 20_000_000


MEASURE = """
import gc, sys, threading
from concurrent.futures import ThreadPoolExecutor
sys.path.insert(0, 'tests/support')
from wire import Wire
from promlstm import config, limits
from promlstm.query.http import largest_response
from promlstm.query.prometheus import Prometheus

limits.memory_bytes = lambda: int(sys.argv[1])
HEAD = b'{"status":"success","data":{"resultType":"vector","result":['

def script(peer, number):
    peer.request()
    peer.send(b'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\n' + HEAD)
    sent, number, parts = len(HEAD), 0, []
    while sent < largest_response(int(sys.argv[1])) - 200_000:
        piece = b','.join(b'{"metric":{"instance":"%d"},"value":[1700000000,"%d.5"]}' % (i, i) for i in range(number, number + 1000)) + b','
        peer.send(piece)
        sent, number = sent + len(piece), number + 1000
    peer.send(b'{"metric":{},"value":[1700000000,"1"]}]}}')

def memory(name):
    return int(open('/proc/self/status').read().split(name + ':')[1].split()[0]) * 1024

with Wire(script) as wire:
    client = Prometheus(config.Source(url=wire.url, timeout=config.Duration(300.0)))
    gc.disable()
    before = memory('VmRSS')
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(lambda _: len(client.instant('up', 1700000000.0).values), range(4)))
    print(min(sizes), memory('VmHWM') - before)
"""


@pytest.mark.slow
def test_the_largest_answers_that_are_let_in_fit_the_memory_limit():
    """Four at once, with labels so short that what is made of them is large beside them, leave to a container what an exporter has at rest."""
    out = subprocess.run([sys.executable, '-c', MEASURE, str(LIMIT_BYTES)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=500)
    series, peak = map(int, out.stdout.split())
    assert series > 300_000
    assert peak < LIMIT_BYTES - 90 * 2**20
