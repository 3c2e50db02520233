"""The file of a checkpoint: it appears whole or not at all, and what is none is refused without being read."""

import hashlib
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tiny_model
from fakes import Samples, noisy, raw, stepped
from servers import ROOT

from promlstm import config as configuration
from promlstm.engine.detector import Detector
from promlstm.engine.session import load
from promlstm.errors import CheckpointError
from promlstm.live import checkpoint

T0 = 1_750_000_200.0


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    """A Detector with a memory of some entities."""
    session = load(tiny_model.write(tmp_path_factory.mktemp('model') / 'tiny.onnx'), prove=False)
    (config,) = configuration.parse(str({'prometheus': {'url': 'http://x'}, 'detectors': [{'name': 'a', 'expr': 'x', 'delay': '0s'}]})).detectors
    subject = Detector(config, session, Samples({raw(instance=f'i{i}'): noisy(i) for i in range(50)}))
    for _ in subject.warm(lambda: T0):
        pass
    return subject


@pytest.fixture(scope='module')
def snapshot(detector):
    """What it remembers after a step."""
    verdicts, _ = stepped(detector, T0 + 60)
    return detector.snapshot(verdicts)


def written(path, snapshot, **options):
    """A checkpoint of a snapshot at `path`; its bytes."""
    size = checkpoint.write(path, snapshot, version='1', detector='a', settings={'expr': 'x'}, **options)
    assert size == path.stat().st_size
    return path.read_bytes()


def read(path):
    """As checkpoint.read, by somebody who accepts everything."""
    return checkpoint.read(path, lambda header: None)


def refused(path, message):
    """Whether a file is refused with a message, without any column having been asked for."""
    with pytest.raises(CheckpointError, match=message):
        read(path)
    return True


def test_what_is_read_is_what_was_written(tmp_path, snapshot):
    """Every column to the last bit, in an array of its own that can be written to; the folder has that file alone, for its owner alone."""
    path = tmp_path / 'a.checkpoint'
    written(path, snapshot, last=True)
    header, columns = read(path)
    assert (header.time, header.entities, header.last, header.model) == (T0 + 60, 50, True, snapshot.model)
    wanted = snapshot.columns()
    assert list(columns) == list(wanted)
    for name, column in wanted.items():
        assert columns[name].dtype == column.dtype and columns[name].shape == column.shape and columns[name].tobytes() == column.tobytes(), name
        assert columns[name].flags.owndata and columns[name].flags.writeable
    assert [entry.name for entry in tmp_path.iterdir()] == ['a.checkpoint'] and path.stat().st_mode & 0o777 == 0o600


def test_the_format_is_what_its_docstring_says(tmp_path, snapshot):
    """Read by hand with numpy and hashlib alone."""
    data = written(tmp_path / 'a.checkpoint', snapshot)
    begin = b'promlstm checkpoint 1\n'
    assert data.startswith(begin)
    length = int.from_bytes(data[len(begin) : len(begin) + 4], 'little')
    end = len(begin) + 4 + length
    header = msgspec.json.decode(data[len(begin) + 4 : end])
    assert data[end : end + 32] == hashlib.sha256(data[:end]).digest()
    assert data[-32:] == hashlib.sha256(data[:-32]).digest()
    at = end + 32
    for name, dtype, shape in header['columns']:
        column = np.frombuffer(data, dtype, int(np.prod(shape)), at).reshape(shape)
        if name == 'entities.last_seen':
            assert (column == T0 + 60).all()
        at += column.nbytes
    assert at == len(data) - 32


@pytest.mark.parametrize('seed', range(40))
def test_any_changed_byte_and_any_other_length_is_refused(tmp_path, snapshot, seed):
    """A byte anywhere, a cut anywhere, something added: never an exception of another kind, never a wrong number."""
    rng = np.random.default_rng(seed)
    data = bytearray(written(path := tmp_path / 'a.checkpoint', snapshot))
    at = int(rng.integers(len(data) if seed % 2 else 6000))
    changed = data.copy()
    changed[at] ^= 1 << int(rng.integers(8))
    path.write_bytes(changed)
    assert refused(path, 'damaged|checksum|no checkpoint|format|bytes long')
    path.write_bytes(data[:at])
    assert refused(path, 'cut off|damaged|no checkpoint|empty')
    path.write_bytes(data + bytes(rng.bytes(int(rng.integers(1, 100)))))
    assert refused(path, 'added to')


def test_another_format_is_named(tmp_path, snapshot):
    """The message says which format the file has and which one is read."""
    data = written(path := tmp_path / 'a.checkpoint', snapshot)
    path.write_bytes(data.replace(b'checkpoint 1\n', b'checkpoint 7\n', 1))
    assert refused(path, 'it has format 7, and this version of promlstm reads format 1')


def test_what_is_no_regular_file_is_not_read(tmp_path):
    """A pipe without a writer, a socket, a folder, a device without an end, and eight gigabytes of nothing: refused at once."""
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'device').symlink_to('/dev/zero')
    with open(tmp_path / 'sparse', 'wb') as file:
        file.truncate(8 << 30)
    for name in ('pipe', 'folder', 'device'):
        assert refused(tmp_path / name, 'not a regular file')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / 'socket'))
        with pytest.raises(OSError, match='No such device or address'):
            read(tmp_path / 'socket')
    assert refused(tmp_path / 'sparse', 'not a checkpoint')
    with pytest.raises(FileNotFoundError):
        read(tmp_path / 'nothing')


def test_a_valid_beginning_does_not_make_gigabytes_be_read(tmp_path, snapshot):
    """The header says how long the file is: a file that was blown up is refused by its length."""
    written(path := tmp_path / 'a.checkpoint', snapshot)
    os.truncate(path, 8 << 30)
    assert refused(path, '8589934592 bytes long, and [0-9]+ were written: it was added to')


def forged(path, **keys):
    """A file that is right in all but what its header says, as somebody would make it on purpose."""
    plain = {
        'promlstm': '1', 'written': T0, 'detector': 'a', 'model': 'x', 'settings': {}, 'time': T0, 'last': False, 'entities': 1, 'columns': [],
    } | keys  # fmt: skip
    text = msgspec.json.encode(plain)
    data = checkpoint.MAGIC + len(text).to_bytes(4, 'little') + text
    data += hashlib.sha256(data).digest()
    path.write_bytes(data + hashlib.sha256(data).digest())
    return path


@pytest.mark.parametrize('column', [
    ['a', '|O', [1]], ['a', '<f8', [-1]], ['a', 'no dtype', [1]], ['a', '<f8', [2**62, 2**62]], ['a', '', [1]], ['a', '|V0', [9]], ['a', '<f8,|O', [1]],
])  # fmt: skip
def test_a_header_that_asks_for_the_impossible_is_refused(tmp_path, column):
    """No object is made of the bytes of a file, and nothing is allocated that the file cannot hold."""
    assert refused(forged(tmp_path / 'a.checkpoint', columns=[column]), 'cannot be read|bytes long')


def test_a_file_larger_than_the_memory_of_the_process_is_not_read(tmp_path, snapshot):
    """It would end the process, at every start anew."""
    size = len(written(path := tmp_path / 'a.checkpoint', snapshot))
    with pytest.raises(CheckpointError, match=f'it has {size} bytes, more than this process may use'):
        checkpoint.read(path, lambda header: None, limit_bytes=size - 1)
    checkpoint.read(path, lambda header: None, limit_bytes=size)


def test_whoever_does_not_accept_the_header_reads_no_column(tmp_path, snapshot):
    """The message of the one who refuses comes through, also where the columns are damaged."""
    data = bytearray(written(path := tmp_path / 'a.checkpoint', snapshot))
    data[-1] ^= 1
    path.write_bytes(data)

    def refuse(header):
        raise CheckpointError(f'it is of {header.detector}')

    with pytest.raises(CheckpointError, match='it is of a'):
        checkpoint.read(path, refuse)


def test_a_write_that_is_given_up_leaves_the_file_from_before(tmp_path, snapshot):
    """At whichever look the time is over: the old file is whole, and no draft lies beside it."""
    before = written(path := tmp_path / 'a.checkpoint', snapshot)
    looks = 0

    def go_on():
        nonlocal looks
        looks += 1
        return looks < stop

    for stop in (1, 2, 50, 10_000):
        looks = 0
        if stop < 10_000:
            with pytest.raises(checkpoint.Abandoned):
                written(path, snapshot, go_on=go_on)
        else:
            written(path, snapshot, go_on=go_on)
            assert looks > 100
        assert [entry.name for entry in tmp_path.iterdir()] == ['a.checkpoint']
        assert stop == 10_000 or path.read_bytes() == before


def test_a_disk_that_is_full_costs_only_the_new_file(tmp_path, snapshot):
    """A limit on the size of files stands for it: the error is the system's own, from the middle of a write."""
    before = written(path := tmp_path / 'a.checkpoint', snapshot)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, old[1]))
        with pytest.raises(OSError, match='File too large'):
            written(path, snapshot)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ['a.checkpoint']


def test_a_draft_of_a_killed_process_is_in_nobodys_way(tmp_path, snapshot):
    """It is replaced, be it a link that points elsewhere, which is not followed."""
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.write_text('mine')
    (tmp_path / 'a.checkpoint.draft').symlink_to(elsewhere)
    written(tmp_path / 'a.checkpoint', snapshot)
    assert elsewhere.read_text() == 'mine' and not (tmp_path / 'a.checkpoint.draft').is_symlink()


def test_what_is_renamed_was_flushed_to_the_disk_before(tmp_path):
    """The draft is flushed, then renamed, then the folder is flushed. A power cut in between leaves the old file."""
    code = f"""
import os, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests/support')!r}]
calls, real = [], os.fsync
def fsync(handle):
    calls.append('flush ' + os.readlink(f'/proc/self/fd/{{handle}}').rsplit('/', 1)[-1])
    real(handle)
os.fsync = fsync
sys.addaudithook(lambda event, args: calls.append('rename') if event == 'os.rename' else None)
from pathlib import Path
from promlstm.live import checkpoint
class Nothing:
    time, model = 0.0, 'x'
    def __len__(self): return 0
    def columns(self): return {{}}
checkpoint.write(Path({str(tmp_path)!r}) / 'a.checkpoint', Nothing(), version='1', detector='a', settings={{}})
print(calls)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(['flush a.checkpoint.draft', 'rename', f'flush {Path(tmp_path).name}'])
