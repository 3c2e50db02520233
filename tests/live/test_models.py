"""Model files are read and proven beside the steps: whatever a file or its disk does, no step waits for it."""

import threading
from contextlib import contextmanager

import pytest
import tiny_model
from running import Running, running
from servers import wait_until

from promlstm.engine import session
from promlstm.engine.session import load
from promlstm.errors import BundleError
from promlstm.live import models
from promlstm.live.clock import Stopping
from promlstm.live.models import Model


@pytest.fixture
def path(tmp_path):
    return tiny_model.write(tmp_path / 'model.onnx', manifest={'name': 'first'})


class Disk:
    """Reads model files; it can be held up, and fail as ordered."""

    def __init__(self):
        self.answers, self.asked, self.reads, self.error = threading.Event(), threading.Event(), 0, None
        self.answers.set()

    def load(self, path, sha256, trial=None):
        """As session.load."""
        self.reads += 1
        self.asked.set()
        assert self.answers.wait(60)
        if self.error:
            raise self.error
        return load(path, sha256=sha256)


@contextmanager
def watched(path, disk, now=None):
    """A Model of a path on a disk, stopped at the end."""
    stopping = threading.Event()
    try:
        yield Model(path, None, stopping, load=disk.load, **({'now': now} if now else {}))
    finally:
        stopping.set()
        disk.answers.set()


def test_a_new_version_is_read_while_the_old_one_is_in_use(path):
    """The old session is given at once, however long the new one takes; the new one as soon as it is proven."""
    disk = Disk()
    with watched(path, disk) as model:
        first = model.newest()
        disk.answers.clear()
        disk.asked.clear()
        tiny_model.write(path, manifest={'name': 'second'})
        assert disk.asked.wait(20)
        assert model.newest() is first
        disk.answers.set()
        wait_until(lambda: model.newest().bundle.manifest.name == 'second', 20, 'the new version')


def test_a_version_that_stays_is_read_once(path, monkeypatch):
    monkeypatch.setattr(models, 'LOOK_SECONDS', 0.01)
    disk, looks = Disk(), threading.Semaphore(0)
    stopping = threading.Event()
    model = Model(path, None, stopping, load=disk.load, stamp=lambda _: looks.release() or 'the same')
    for _ in range(20):
        assert looks.acquire(timeout=20)
    stopping.set()
    assert model.newest() and disk.reads == 1


@pytest.mark.parametrize('error', [OSError(24, 'Too many open files'), MemoryError(), BundleError('cannot be read')], ids=repr)
def test_a_version_that_could_not_be_read_is_read_again(path, monkeypatch, error):
    """For memory, descriptors and disks come back, and the file does not change by that."""
    monkeypatch.setattr(models, 'AGAIN_SECONDS', 0.0)
    disk = Disk()
    disk.error = error
    with watched(path, disk) as model:
        with pytest.raises((BundleError, OSError)):
            model.newest()
        disk.error = None
        wait_until(lambda: usable(model), 20, 'the file')


def usable(model):
    """Whether a model's file can be used."""
    try:
        return bool(model.newest())
    except (BundleError, OSError):
        return False


@pytest.mark.parametrize('first', [True, False], ids=['at the start', 'later'])
def test_a_disk_that_does_not_answer_is_named(path, first):
    """Whether it stops before the first version was read or after; once it answers, the version that was read is given."""
    disk, seconds = Disk(), [0.0]
    if first:
        disk.answers.clear()
    with watched(path, disk, now=lambda: seconds[0]) as model:
        if not first:
            model.newest()
            disk.answers.clear()
            disk.asked.clear()
            tiny_model.write(path, manifest={'name': 'second'})
        assert disk.asked.wait(20)
        seconds[0] = models.SILENT_SECONDS + 1
        with pytest.raises(BundleError, match=r'not read and verified within 60 s: its disk does not answer, or no CPU is available$'):
            model.newest()
        disk.answers.set()
        wait_until(lambda: usable(model), 20, 'the disk to answer')


def test_who_waits_for_a_disk_at_the_start_is_let_go_when_the_exporter_stops(path):
    disk, stopping = Disk(), threading.Event()
    disk.answers.clear()
    model = Model(path, None, stopping, load=disk.load)
    stopping.set()
    with pytest.raises(Stopping):
        model.newest()
    disk.answers.set()


def test_steps_go_on_while_a_new_model_is_read(path, monkeypatch):
    """A detector publishes its steps with the old model, and is none behind, for as long as the new one is being read and proven."""
    disk = Disk()
    monkeypatch.setattr(session, 'load', disk.load)
    subject = Running(a={'model': str(path)}, b={'model': str(path)})
    with running(subject):
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        disk.answers.clear()
        disk.asked.clear()
        tiny_model.write(path, manifest={'name': 'second'})
        assert disk.asked.wait(20)
        seen = len(subject.watched)
        wait_until(lambda: sum(name == 'a' for name, _ in subject.watched[seen:]) > 5, 60, 'more steps')
        assert subject.metric('promlstm_model_reload_successful', detector='a') == 1
        disk.answers.set()
        wait_until(lambda: {runner._detector.session.bundle.manifest.name for runner in subject.scheduler.runners} == {'second'}, 60, 'the new model')
        assert subject.metric('promlstm_detector_failures_total', detector='a', stage='load') == 0


def test_the_exporter_has_not_stopped_while_a_file_is_read(path, monkeypatch):
    """For ONNX Runtime in a thread does not survive the end of the interpreter; a disk that hangs is reported, so that the process ends otherwise."""
    disk = Disk()
    disk.answers.clear()
    monkeypatch.setattr(session, 'load', disk.load)
    subject = Running(a={'model': str(path)}, b={'model': str(path)})
    subject.scheduler.start()
    assert disk.asked.wait(20)
    assert not subject.scheduler.stop(0.5)
    disk.answers.set()
    assert subject.scheduler.stop(20)
