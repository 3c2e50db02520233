"""Memory over a restart: who goes on from a checkpoint, who is refused it and why, and what a disk may do without harm."""

import os
import re
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tiny_model
from fakes import noisy, raw
from running import SPEED, START, FaultySamples, Running, logged, running
from servers import wait_until

from promlstm.errors import SourceUnavailable
from promlstm.live import checkpoint, storage
from promlstm.live.clock import Clock


def files(folder, suffix='.checkpoint'):
    """The names of the detectors' checkpoints in a folder; that of incidents is there once there was an alarm."""
    return sorted(name for name in os.listdir(folder) if name.endswith(suffix) and not name.startswith('incidents'))


# A checkpoint that is older than the twenty minutes that a start reads is not used: those are two seconds at SPEED, in which a busy machine starts nothing.
SLOW = SPEED / 10


def later(subject, *, gap_seconds=0.0, speed=SPEED):
    """The clock of a process that is started so long after another one has ended."""
    return Clock(start=getattr(subject, 'ended', subject.clock.now()) + gap_seconds, speed=speed)


@cache
def model():
    """The path of a model that needs little history, so that a start is quick."""
    return str(tiny_model.write(Path(tempfile.mkdtemp(prefix='promlstm-made-')) / 'tiny.onnx'))


def quick(*args, **keys):
    """A Running whose detectors have that model."""
    return Running(*args, **keys | {name: {'model': model()} | keys.get(name, {}) for name in 'ab'})


@pytest.fixture(scope='module')
def before(tmp_path_factory):
    """(a Running that has scored, written and stopped; its folder)."""
    folder = tmp_path_factory.mktemp('before')
    return lived(folder), folder


@pytest.fixture
def first(before, tmp_path):
    """That Running; its folder is in `tmp_path` now."""
    shutil.copytree(before[1], tmp_path, dirs_exist_ok=True)
    return before[0]


def lived(folder, **keys):
    """A Running that has scored, written, and stopped."""
    with running(quick(storage=folder, **keys)) as subject:
        wait_until(lambda: subject.on_page('a') and subject.on_page('b'), 60, 'both on the page')
        wait_until(lambda: all(subject.metric('promlstm_checkpoint_size_bytes', detector=name) for name in 'ab'), 30, 'two checkpoints')
    return subject


def restored(subject):
    """Which of its detectors went on from their checkpoints."""
    return {name: subject.metric('promlstm_detector_restored', detector=name) for name in 'ab'}


def test_a_restart_asks_for_the_gap_alone(first, tmp_path):
    """Each range that is asked for begins after the last step before the restart; without storage it is history, and no gauge says otherwise."""
    last = max(time for name, time in first.watched if name == 'a')
    with logged('promlstm.storage') as records, running(quick(later(first, gap_seconds=600, speed=SLOW), storage=tmp_path)) as subject:
        wait_until(lambda: any(name == 'a' for name, _ in subject.watched), 60, 'a step')
    assert min(start for start, _ in subject.source.asked) >= last
    assert restored(subject) == {'a': 1, 'b': 1}
    assert [record.getMessage() for record in records].count('memory restored from its checkpoint') == 2
    assert subject.metric('promlstm_detector_steps_total', detector='a') >= 10
    with running(quick(later(subject))) as without:
        wait_until(lambda: without.on_page('a'), 60, 'a on the page')
    assert restored(without) == {'a': None, 'b': None}


class Struck(FaultySamples):
    """Samples of which i0 rises for good at an instant, and i1 at another."""

    def __init__(self, series):
        super().__init__(series)
        self.struck = {'i0': np.inf, 'i1': np.inf}
        for i, name in enumerate(('i0', 'i1')):
            self.series[raw(instance=name)] = noisy(i, struck=lambda time, name=name: 40.0 * (time >= self.struck[name]))


def starts(subject, name):
    """When the alarm of an entity of detector a began, as the page says; None = there is none."""
    pattern = rf'promlstm_anomaly_start_timestamp_seconds{{detector="a",instance="{name}",job=""}} (\S+)'
    found = re.search(pattern, subject.page.decode())
    return found and float(found[1])


@pytest.mark.slow
def test_an_alarm_outlives_the_restart_and_is_counted_once(tmp_path):
    """It keeps its start, its score and its labels, and does not count as one that begins. One that begins meanwhile is counted, with its start."""
    first = Running(kind=Struck, storage=tmp_path)
    alarms = lambda subject: subject.metric('promlstm_detector_alarms_total', detector='a')  # noqa: E731
    with running(first):
        wait_until(lambda: first.on_page('a'), 60, 'a on the page')
        first.source.struck = {'i0': (begun := first.clock.now() // 60 * 60 + 120), 'i1': np.inf}
        wait_until(lambda: starts(first, 'i0'), 60, 'an alarm')
        wait_until(lambda: first.clock.now() > begun + 400 and starts(first, 'i0') == begun, 60, 'the latch to hold it')
    before = alarms(first)
    ended = first.clock.now()
    second = Running(later(first, gap_seconds=300), kind=Struck, storage=tmp_path)
    second.source.struck = first.source.struck | {'i1': (meanwhile := ended // 60 * 60 + 180)}
    with running(second):
        wait_until(lambda: starts(second, 'i1'), 60, 'both alarms')
        assert starts(second, 'i0') == begun and starts(second, 'i1') == meanwhile
        assert re.search(r'promlstm_anomaly_score{detector="a",instance="i0",job=""} [1-9]', second.page.decode())
    assert restored(second) == {'a': 1, 'b': 1} and before >= 1
    assert alarms(second) == 1


def test_scores_are_on_the_page_before_the_first_step(tmp_path):
    """An hourly detector that is restarted within the hour shows what it showed, at once, and computes no step until the next hour."""
    hourly = {'a': {'step': '1h'}, 'b': {'step': '1h'}}
    first = quick(Clock(start=START, speed=1.0), storage=tmp_path, **hourly)
    with running(first):
        wait_until(lambda: first.on_page('a') and first.on_page('b'), 60, 'the warm start')
        page = first.page
    second = quick(later(first, speed=1.0), storage=tmp_path, **hourly)
    second.source.errors = {'a': SourceUnavailable('gone'), 'b': SourceUnavailable('gone')}
    with running(second):
        wait_until(lambda: second.page == page, 30, 'the same page')
        assert second.scheduler.ready() and not second.source.attempts
        assert second.metric('promlstm_detector_alarms_total', detector='a') == 0


def another(key, value):
    """A restart with another value of a key of detector a."""
    return lambda *_: {'a': {key: value}}


def other_model(path):
    """The path of a model with views."""
    return str(tiny_model.write(path / 'tiny.onnx', views=('above', 'below')))


REFUSED = {
    'expr': (another('expr', 'other'), 'its expr is a, the configuration says other'),
    'step': (another('step', '30s'), r'its step is 60\.0, the configuration says 30\.0'),
    'delay': (another('delay', '1s'), r'its delay is 0\.0, the configuration says 1\.0'),
    'timezone': (another('timezone', 'Europe/Berlin'), 'its timezone is UTC, the configuration says Europe/Berlin'),
    'range': (another('range', [0, 100]), r'its range is none, the configuration says \[0\.0, 100\.0\]'),
    'false_alarms': (another('false_alarms', '2/week each'), 'its false_alarms is 1/week each, the configuration says 2/week each'),
    'noisy': (another('noisy', 'tolerate'), 'its noisy is not set, the configuration says tolerate'),
    'max_entities': (another('max_entities', 2), 'it has 3 entities, max_entities is 2'),
    'model': (lambda _, path: {'a': {'model': other_model(path)}}, 'it belongs to another model: sha256 [0-9a-f]{12}, '),
    'the future': (lambda *_: {'clock': Clock(start=START - 90000, speed=SPEED)}, 'its last step is 1d'),
    'the past': (lambda first, _: {'clock': later(first, gap_seconds=3 * 86400)}, 'it is 3d.* old, and a start reads 20m of history'),
}  # fmt: skip


@pytest.mark.parametrize('what', REFUSED)
def test_another_memory_is_refused(first, tmp_path, what):
    """The detector says why and begins from history, alone where it alone has changed."""
    change, reason = REFUSED[what]
    changed = {'clock': later(first)} | change(first, tmp_path)
    with logged('promlstm.storage') as records, running(quick(storage=tmp_path, **changed)) as subject:
        wait_until(lambda: subject.on_page('a') and subject.on_page('b'), 60, 'both on the page')
    said = {record.facts['detector']: record.facts['reason'] for record in records if 'reason' in record.facts}
    assert re.search(reason, said['a']), said
    both = what in ('the future', 'the past')
    assert restored(subject) == {'a': 0, 'b': 0 if both else 1} and ('b' in said) == both


def test_another_prometheus_is_another_memory(first, tmp_path):
    """The same expression asked of another server is about other entities; how the message says so gives nothing of its headers away."""
    with logged('promlstm.storage') as records, running(quick(later(first), storage=tmp_path, url='http://other:9090')) as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
    assert 'it was made from another Prometheus: url, params or headers have changed' in {record.facts.get('reason') for record in records}


def test_settings_that_memory_does_not_depend_on_may_change(first, tmp_path):
    """Whom a detector reports as missing, how long it keeps the absent and what it reads at a start from nothing."""
    changed = {'missing': 'ignore', 'forget': '2d', 'history': '1d', 'max_entities': 1000}
    with running(quick(later(first), storage=tmp_path, a=changed)) as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
    assert restored(subject) == {'a': 1, 'b': 1}


@pytest.mark.parametrize('damage', ['cut', 'changed', 'empty', 'foreign', 'folder', 'pipe'])
def test_a_damaged_file_costs_its_detector_its_memory_alone(first, tmp_path, damage):
    """Warm-up takes over, the other goes on from its own, and the next checkpoint takes the place of the file where it can."""
    path = tmp_path / next(name for name in files(tmp_path) if name.startswith('a-'))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    if damage == 'folder':
        path.mkdir()
    elif damage == 'pipe':
        os.mkfifo(path)
    else:
        path.write_bytes({'cut': data[:-100], 'changed': data, 'empty': b'', 'foreign': b'{}' * 1000}[damage])
    with logged('promlstm.storage') as records, running(quick(later(first), storage=tmp_path)) as subject:
        wait_until(lambda: subject.on_page('a') and subject.on_page('b'), 60, 'both on the page')
        if damage == 'folder':
            wait_until(lambda: subject.metric('promlstm_checkpoint_failures_total', detector='a') > 0, 30, 'a failure')
        else:
            wait_until(lambda: subject.metric('promlstm_checkpoint_last_success_timestamp_seconds', detector='a'), 30, 'a checkpoint')
    assert restored(subject) == {'a': 0, 'b': 1}
    reasons = [record.facts['reason'] for record in records if 'reason' in record.facts]
    assert len(reasons) == 1 and re.search('cut off|checksum|empty|not a checkpoint|regular file', reasons[0])
    assert (damage == 'folder') == path.is_dir()


def test_a_second_process_goes_without_and_says_so_and_takes_over(tmp_path):
    """It neither reads nor writes while the first one lives; from then on the folder is its own."""
    with running(quick(storage=tmp_path)) as first:
        wait_until(lambda: len(files(tmp_path)) == 2, 60, 'two checkpoints')
        with logged('promlstm.storage') as records, running(quick(later(first), storage=tmp_path, interval=0.1)) as second:
            wait_until(lambda: second.on_page('a') and second.on_page('b'), 60, 'both on the page')
            wait_until(lambda: second.metric('promlstm_checkpoint_failures_total', detector='a') > 0, 30, 'a checkpoint that is not written')
            said = [(record.getMessage(), record.facts.get('err')) for record in records]
            assert said == [('storage folder cannot be used, memory is not kept', 'another process uses it')]
            assert second.metric('promlstm_checkpoint_last_success_timestamp_seconds', detector='a') is None
            assert restored(second) == {'a': 0, 'b': 0} and second.scheduler.ready()
            first.scheduler.stop(20)
            first.storage.stop(20)
            wait_until(lambda: second.metric('promlstm_checkpoint_last_success_timestamp_seconds', detector='a'), 30, 'the folder to be free')
    assert len(files(tmp_path)) == 2


def test_a_folder_that_cannot_be_used_harms_no_score(tmp_path):
    """A file is in its place: counted at each checkpoint, logged once, and when it is gone memory is written."""
    (place := tmp_path / 'storage').write_text('no folder')
    with logged('promlstm.storage') as records, running(quick(storage=place)) as subject:
        wait_until(lambda: subject.on_page('a') and subject.on_page('b'), 60, 'both on the page')
        wait_until(lambda: subject.metric('promlstm_checkpoint_failures_total', detector='a') > 3, 30, 'failures')
        assert subject.metric('promlstm_detector_up', detector='a') == 1
        assert [record.facts['err'] for record in records] == ['File exists']
        place.unlink()
        wait_until(lambda: subject.metric('promlstm_checkpoint_size_bytes', detector='a'), 30, 'a checkpoint')
    assert subject.metric('promlstm_checkpoint_duration_seconds', detector='a') > 0
    assert subject.metric('promlstm_checkpoint_size_bytes', detector='a') == sum(
        (place / name).stat().st_size for name in files(place) if name.startswith('a-')
    )


def test_a_write_that_fails_keeps_the_file_from_before(first, tmp_path, monkeypatch):
    """The disk fails in the middle of every write: counted and logged, nothing is left over, and the next start has the old memory."""
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    real = os.fsync
    with running(quick(later(first, speed=SLOW), storage=tmp_path)) as subject:
        wait_until(lambda: restored(subject) == {'a': 1, 'b': 1}, 30, 'memory')
        monkeypatch.setattr(os, 'fsync', lambda handle: (_ for _ in ()).throw(OSError(28, 'No space left on device')))
        wait_until(lambda: subject.metric('promlstm_checkpoint_failures_total', detector='a') > 2, 60, 'failures')
        steps = subject.metric('promlstm_detector_steps_total', detector='a')
        wait_until(lambda: subject.metric('promlstm_detector_steps_total', detector='a') > steps + 3, 60, 'steps')
        now = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    monkeypatch.setattr(os, 'fsync', real)
    assert now.keys() == before.keys()
    with running(quick(later(subject, speed=SLOW), storage=tmp_path)) as third:
        wait_until(lambda: third.on_page('a'), 60, 'a on the page')
    assert restored(third) == {'a': 1, 'b': 1} and files(tmp_path, '.draft') == []


def test_what_was_left_over_is_swept(tmp_path):
    """Drafts of killed processes, and checkpoints of detectors that are gone for more than a week; a detector that is back earlier has its memory."""
    for name in ('a-0.checkpoint.draft', 'gone-1.checkpoint', 'back-2.checkpoint', 'other.txt'):
        (tmp_path / name).write_bytes(b'x')
    os.utime(tmp_path / 'gone-1.checkpoint', (START - 9 * 86400,) * 2)
    os.utime(tmp_path / 'back-2.checkpoint', (START - 6 * 86400,) * 2)
    lived(tmp_path)
    assert set(os.listdir(tmp_path)) - set(files(tmp_path)) == {'other.txt', '.lock'}
    assert 'back-2.checkpoint' in files(tmp_path) and 'gone-1.checkpoint' not in files(tmp_path)


def test_a_disk_that_does_not_answer_holds_nobody_up(first, tmp_path, monkeypatch):
    """The detector begins from history after a while; the thread that waits for the disk is nobody's."""
    monkeypatch.setattr(storage, 'SILENT_SECONDS', 1.0)
    answered = []
    monkeypatch.setattr(checkpoint, 'read', lambda *_, **__: wait_until(lambda: answered, 60, 'the disk'))
    with logged('promlstm.storage') as records, running(quick(later(first), storage=tmp_path)) as subject:
        wait_until(lambda: subject.on_page('a') and subject.on_page('b'), 60, 'both on the page')
        reasons = {record.facts.get('reason') for record in records}
        answered.append(True)
    assert reasons == {'its disk has not answered for 1 s'}


def test_a_checkpoint_is_written_no_more_often_than_it_should_be(tmp_path):
    """The first one soon, the next after the interval, and one at the stop, of the last step."""
    with running(quick(storage=tmp_path, interval=3600.0)) as subject:
        wait_until(lambda: len(files(tmp_path)) == 2, 60, 'two checkpoints')
        at = {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)}
        steps = len(subject.watched)
        wait_until(lambda: len(subject.watched) > steps + 20, 60, 'more steps')
        assert {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)} == at
    for name in 'ab':
        path = tmp_path / next(file for file in files(tmp_path) if file.startswith(f'{name}-'))
        header, _ = checkpoint.read(path, lambda header: None)
        assert header.last and header.time == max(time for each, time in subject.watched if each == name)


def test_names_of_detectors_are_no_paths(tmp_path):
    """Whatever a name holds, its file lies in the folder, and two names never share one."""
    began = time.monotonic()
    subject = Running(storage=tmp_path)
    names = ['a', 'A', '../a', '/etc/passwd', 'a b', 'a/b', 'ä', 'x' * 300, '.', '']
    paths = [subject.storage._path(name) for name in names]
    assert len({str(path).lower() for path in paths}) == len(names) and {path.parent for path in paths} == {tmp_path}
    assert all(len(path.name) < 100 and path.name.isascii() for path in paths)
    subject.clock.stopping.set()
    assert subject.storage.stop(10) and time.monotonic() - began < 60
