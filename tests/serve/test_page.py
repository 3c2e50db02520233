"""What is on the page: the newest blocks of each detector, complete, and nothing that is stale."""

import gzip
import threading

import pytest

from promlstm.serve.exposition import FAMILIES
from promlstm.serve.page import Page, compressed

SCORE, OBSERVED = 'promlstm_anomaly_score', 'promlstm_observed'


class Time:
    """A clock that the test sets."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def subject(time):
    return Page(time)


def lines(subject, *, gzip_too=True):
    """The samples on the page, which are the same on the compressed page."""
    plain = b''.join(subject.parts())
    if gzip_too:
        assert gzip.decompress(b''.join(subject.parts(gzip=True)) or compressed(b'')) == plain
    return [line for line in plain.decode().splitlines() if not line.startswith('#')]


def test_without_blocks_the_page_is_empty(subject):
    """There are no headers either."""
    assert lines(subject) == []


def test_blocks_leave_the_page_when_they_expire(subject, time):
    """At the instant of expiry a detector's gauges are off the page; those of others stay."""
    subject.publish('early', {SCORE: [b'a 1\n']}, expires=1060)
    subject.publish('late', {SCORE: [b'b 1\n']}, expires=1120)
    time.now = 1059.9
    assert lines(subject) == ['a 1', 'b 1']
    time.now = 1060
    assert lines(subject) == ['b 1']
    time.now = 1120
    assert lines(subject) == []


def test_withdrawn_blocks_are_gone_at_once(subject):
    """A failed step takes its detector's gauges off the page; withdrawing twice is no error."""
    subject.publish('one', {SCORE: [b'a 1\n'], OBSERVED: [b'c 1\n']}, expires=2000)
    subject.publish('other', {SCORE: [b'b 1\n']}, expires=2000)
    subject.withdraw('one')
    subject.withdraw('one')
    assert lines(subject) == ['b 1']


def test_a_new_step_replaces_all_families_of_the_last(subject):
    """A family that the new step does not have is gone, and the newest expiry counts."""
    subject.publish('one', {SCORE: [b'a 1\n'], OBSERVED: [b'c 1\n']}, expires=1001)
    subject.publish('one', {SCORE: [b'a 2\n']}, expires=2000)
    assert lines(subject) == ['a 2']


def test_families_and_detectors_have_a_fixed_order(subject):
    """Families in the order of FAMILIES, detectors by name, whatever was published first."""
    subject.publish('z', {OBSERVED: [b'z o\n'], SCORE: [b'z s\n']}, expires=2000)
    subject.publish('a', {OBSERVED: [b'a o\n'], SCORE: [b'a s\n']}, expires=2000)
    assert lines(subject) == ['a s', 'z s', 'a o', 'z o']
    assert list(FAMILIES).index(SCORE) < list(FAMILIES).index(OBSERVED)


def test_a_scrape_renders_and_compresses_nothing(subject, monkeypatch):
    """The bytes of a page are those that were made when the step was published."""
    subject.publish('one', {SCORE: [b'a 1\n' * 1000]}, expires=2000)
    first = subject.parts(gzip=True)
    monkeypatch.setattr('promlstm.serve.page.compressed', None)  # would raise if it were called
    assert [id(part) for part in subject.parts(gzip=True)] == [id(part) for part in first]


def test_a_page_never_mixes_two_steps():
    """Threads that read while steps are published see each step completely or not at all."""
    subject, done, torn = Page(lambda: 0.0), threading.Event(), []

    def read():
        while not done.is_set():
            for packed in (False, True):
                page = b''.join(subject.parts(gzip=packed))
                text = gzip.decompress(page) if packed and page else page
                seen = {line for line in text.splitlines() if not line.startswith(b'#')}
                if len(seen) > 1:
                    torn.append(seen)

    names = [SCORE, OBSERVED, 'promlstm_view']
    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for step in range(300):
        subject.publish('one', dict.fromkeys(names, (b'%d\n' % step,)), expires=1)
        if step % 10 == 9:
            subject.withdraw('one')
    done.set()
    for reader in readers:
        reader.join(30)
        assert not reader.is_alive()
    assert torn == []


@pytest.mark.parametrize(('clock', 'steady'), [(1060.0, 1059.9), (1059.9, 1060.0), (1000.0, 1060.0), (1060.0, 1000.0)])
def test_a_block_leaves_the_page_by_whichever_clock_comes_first(clock, steady):
    """At the very instant of one of them: a clock that is set back brings no old page back, one that is set ahead lets none stay."""
    wall, going = Time(), Time()
    page = Page(wall, going)
    page.publish('a', {SCORE: [b'promlstm_anomaly_score{detector="a"} 1\n']}, expires=1060.0)
    wall.now, going.now = 1059.9, 1059.9
    assert len(lines(page)) == 1
    wall.now, going.now = clock, steady
    assert lines(page) == []
