r"""A checkpoint: one file with all that a detector remembers, or all that incidents do. How it is written, and why one is refused.

    promlstm checkpoint 1\n           format
    uint32, little endian             length of the header
    header                            JSON, see Header
    sha256 of all that is before      32 bytes
    columns                           one after the other as the header lists them: numpy's bytes, C order, no gaps
    sha256 of all that is before      32 bytes

Why an own format: a reader must be able to refuse a file by its first bytes, and to check every size against the detector before it reads or
allocates anything; pickle runs what it reads, and .npz has neither a checksum over all of it nor a place for what it is a checkpoint of.

Who calls it: storage. What flows through: a Snapshot or a Record, or its columns by name. A file appears whole or not at all: it is written beside its
place, flushed to the disk, and renamed.
"""

import hashlib
import math
import os
import stat
import time as clock
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
import numpy as np

from promlstm.engine.columns import Tensors
from promlstm.engine.snapshot import Specs
from promlstm.errors import CheckpointError

FORMAT = 1
BEGIN, END = b'promlstm checkpoint ', b'\n'
MAGIC = BEGIN + str(FORMAT).encode() + END
DRAFT = '.draft'  # ends the name of a file that is being written
LARGEST_HEADER_BYTES = 4 << 20
PIECE_BYTES = 8 << 20  # between two looks whether to go on
DIGEST_BYTES = hashlib.sha256().digest_size


class Abandoned(Exception):
    """There is no time left to write the file."""


class Content(Protocol):
    """What is written: a Snapshot of a detector, or a Record of the incidents, which is of no detector and no model."""

    @property
    def time(self) -> float:
        """Unix seconds of the newest step in it."""

    @property
    def model(self) -> str:
        """sha256 of the model file."""

    def __len__(self) -> int:
        """How many entities, or members of incidents, it has."""

    def columns(self) -> Tensors:
        """All of it but time and model, by name."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a checkpoint is of.

    time     of the step after which it was taken, unix seconds
    detector, model  its name, and the sha256 of its model file; both empty = it is of the incidents
    settings those that memory depends on, see storage.settings
    last     it was taken at a clean stop: no later step was on the page
    columns  (name, dtype, shape) in the order of the file
    """

    promlstm: str  # version that wrote it
    written: float  # unix seconds
    detector: str
    model: str
    settings: dict[str, str]
    time: float
    last: bool
    entities: int
    columns: list[tuple[str, str, tuple[int, ...]]]

    @property
    def specs(self) -> Specs:
        """{name: (dtype, shape)}."""
        return {name: (dtype, shape) for name, dtype, shape in self.columns}


def write(
    path: Path, snapshot: Content, *, version: str, detector: str, settings: Mapping[str, str], last: bool = False,
    now: Callable[[], float] = clock.time, go_on: Callable[[], bool] = lambda: True,
) -> int:  # fmt: skip
    """Write a checkpoint in the place of the one before; returns its size in bytes.

    go_on   asked now and then: False = give up
    raises  OSError, Abandoned; the file is then what it was, and nothing is left behind
    """
    columns = {name: np.ascontiguousarray(column) for name, column in snapshot.columns().items()}
    header = Header(
        promlstm=version, written=now(), detector=detector, model=snapshot.model, settings=dict(settings), time=snapshot.time, last=last,
        entities=len(snapshot), columns=[(name, column.dtype.str, column.shape) for name, column in columns.items()],
    )  # fmt: skip
    draft = path.with_name(path.name + DRAFT)
    with suppress(FileNotFoundError):
        draft.unlink()
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, 'wb') as file:
            size = _write(file, msgspec.json.encode(header), columns, go_on)
            file.flush()
            os.fsync(file.fileno())
        if not go_on():
            raise Abandoned
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    sync(path.parent)
    return size


def _write(file: BinaryIO, header: bytes, columns: Tensors, go_on: Callable[[], bool]) -> int:
    digest, size = hashlib.sha256(), 0

    def put(data: bytes | memoryview) -> None:
        nonlocal size
        digest.update(data)
        file.write(data)
        size += len(data)

    put(MAGIC + len(header).to_bytes(4, 'little') + header)
    put(digest.digest())
    for column in columns.values():
        data = column.reshape(-1).view(np.uint8).data
        for start in range(0, len(data), PIECE_BYTES):
            if not go_on():
                raise Abandoned
            put(data[start : start + PIECE_BYTES])
    put(digest.digest())
    return size


def sync(folder: Path) -> None:
    """Make sure that the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path, accept: Callable[[Header], None], *, limit_bytes: int | None = None) -> tuple[Header, Tensors]:
    """The header and the columns of a checkpoint; each column is an array of its own.

    accept       called with the header before any column is read; raises CheckpointError where it is of another detector, model or time
    limit_bytes  a larger file is not read; None = no limit
    raises       CheckpointError with the reason, OSError (FileNotFoundError where there is none)
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe is opened at once, and not read
    size = os.fstat(handle).st_size
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise CheckpointError('it is not a regular file')
    with open(handle, 'rb') as file:
        digest = hashlib.sha256()
        header = _header(file, digest, size)
        wanted = file.tell() + sum(_bytes(dtype, shape) for _, dtype, shape in header.columns) + DIGEST_BYTES
        if size != wanted:
            raise CheckpointError(f'it is {size} bytes long, and {wanted} were written: it was {"cut off" if size < wanted else "added to"}')
        accept(header)
        if limit_bytes is not None and wanted > limit_bytes:
            raise CheckpointError(f'it has {wanted} bytes, more than this process may use ({limit_bytes})')
        columns: Tensors = {}
        for name, dtype, shape in header.columns:
            column = columns[name] = np.empty(shape, dtype)
            _fill(file, column.reshape(-1).view(np.uint8).data, digest)
        if file.read(DIGEST_BYTES) != digest.digest():
            raise CheckpointError('it is damaged: its content does not match the checksum at its end')
        return header, columns


def _header(file: BinaryIO, digest: Any, size: int) -> Header:
    """The header, once its checksum is right; `digest` has then seen all that is before the columns."""
    begin = file.read(len(MAGIC))
    if begin != MAGIC:
        if begin.startswith(BEGIN):
            version = begin.removeprefix(BEGIN).split(END)[0].decode(errors='replace')
            raise CheckpointError(f'it has format {version}, and this version of promlstm reads format {FORMAT}')
        raise CheckpointError('it is empty' if not size else 'it is not a checkpoint')
    length = int.from_bytes(raw := file.read(4), 'little')
    if length > min(LARGEST_HEADER_BYTES, size):
        raise CheckpointError('its header is damaged or cut off')
    text = file.read(length)
    digest.update(begin + raw + text)
    checksum = file.read(DIGEST_BYTES)
    if checksum != digest.digest():
        raise CheckpointError('its header is damaged or cut off')
    digest.update(checksum)
    try:
        header = msgspec.json.decode(text, type=Header)
        for _, dtype, shape in header.columns:
            _bytes(dtype, shape)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise CheckpointError(f'its header cannot be read: {error}') from error
    return header


def _bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Size of a column; ValueError or TypeError where it can have none."""
    kind = np.dtype(dtype)
    if kind.hasobject or not kind.itemsize or min(shape, default=0) < 0:
        raise ValueError(f'a column of {dtype} {list(shape)}')
    return kind.itemsize * math.prod(shape)


def _fill(file: BinaryIO, data: memoryview, digest: Any) -> None:
    for start in range(0, len(data), PIECE_BYTES):
        piece = data[start : start + PIECE_BYTES]
        if file.readinto(piece) != len(piece):  # type: ignore[attr-defined]
            raise CheckpointError('it was cut off while it was read')
        digest.update(piece)
