"""Telemetry on disk: compressed columns in chunks of time, one folder for each detector and what its series came from.

    DETECTOR-1a2b3c4d/manifest.json         what is there: the truth; a file that it does not name is not there
    DETECTOR-1a2b3c4d/fine-27345600-4096.npz     grid, first step (number since 1970), steps

A chunk is an npz without pickle: `identities` (uint8: sorted, one a line) and blocks `0`, `1`, … of BLOCK entities each, float64 [T, n, F],
NaN = no sample. Two grids: `fine` at the detector's step, `coarse` for the seasonal memory. Chunks never overlap, have any length, and
are written whole or not at all. The digest is one of content: of the samples of a stretch of time, in whatever chunks and order they came.

Who calls it: fetch and tables put, dataset reads by groups of entities, so that memory grows only with the number of labels.
"""

import bisect
import contextlib
import functools
import hashlib
import io
import threading
import zipfile
import zlib
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np

from convert import files, lock
from convert.data.spans import DataError, union

FORMAT = 1
BLOCK = 64              # entities that are compressed together
GROUP = 256             # entities that are read together


class StoreError(DataError):
    """A folder of telemetry is damaged, in use, or cannot be written."""


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """One file: steps first … first + steps of a grid."""

    grid: str
    first: int
    steps: int
    entities: int
    samples: int                    # that are there, of all features
    infinite: int                   # ±Inf that became NaN
    bytes: int
    sha256: str                     # of the file
    warnings: tuple[str, ...] = ()  # of the source, such as partial data

    @property
    def file(self):
        """Its name."""
        return f'{self.grid}-{self.first}-{self.steps}.npz'


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder holds; all of it is part of its name, so that other queries get another folder."""

    detector: str
    source: str                     # the URL, or `files`
    queries: dict[str, str]
    by: tuple[str, ...]
    step_seconds: float
    delay_seconds: float
    coarse_seconds: float
    asked: dict[str, str] = {}      # headers and parameters of each query; or {file: sha256}

    def folder(self):
        """NAME-SIGNATURE."""
        signature = hashlib.sha256(msgspec.json.encode(self, order='sorted')).hexdigest()
        return f'{quote(self.detector, safe="")}-{signature[:8]}'


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is there."""

    format: int
    about: About
    chunks: tuple[Chunk, ...] = ()


class Store:
    """The telemetry of one detector; `put` may be called from several threads of the process that holds the lock."""

    def __init__(self, root, about):
        """Opens root/NAME-SIGNATURE, which need not be there yet; StoreError where it is damaged."""
        self.folder, self.about = Path(root) / about.folder(), about
        self._lock, self._checked, self._manifest = threading.Lock(), set(), self._load()
        self._identities_of = functools.lru_cache(maxsize=4)(self._load_identities)

    def _load(self):
        path = self.folder / 'manifest.json'
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except FileNotFoundError:
            return Manifest(format=FORMAT, about=self.about)
        except (OSError, msgspec.DecodeError) as error:
            raise StoreError(f'{path}: cannot be read: {error}: remove the folder and fetch again') from error
        if found.format != FORMAT or found.about != self.about:
            raise StoreError(f'{path}: of format {found.format} for {found.about.detector!r}, expected {FORMAT} for {self.about.detector!r}')
        return msgspec.structs.replace(found, chunks=tuple(chunk for chunk in found.chunks if (self.folder / chunk.file).exists()))

    @property
    def features(self):
        """How many values an entity has."""
        return len(self.about.queries)

    @property
    def chunks(self):
        """Those that are there, sorted."""
        return self._manifest.chunks

    def step_seconds(self, grid):
        """Of `fine` or `coarse`."""
        return self.about.step_seconds if grid == 'fine' else self.about.coarse_seconds

    def covered(self, grid):
        """The steps that are there: sorted (first, end)."""
        return union((chunk.first, chunk.first + chunk.steps) for chunk in self.chunks if chunk.grid == grid)

    def prepare(self):
        """Make the folder, and remove drafts of a killed run; only for the process that holds the lock."""
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for draft in self.folder.glob(f'{files.DRAFT}*'):
                draft.unlink()

    def put(self, grid, first, identities, values, *, infinite=0, warnings=()):
        """Write one chunk, whole or not at all.

        first       number of its first step
        identities  of N entities, bytes, in any order, each once
        values      float64 [T, N, F]; NaN = no sample
        raises      StoreError  where the disk does not take it; what was there before is still there
        """
        there = ~np.isnan(values)
        order = sorted((i for i in range(len(identities)) if there[:, i].any()), key=identities.__getitem__)
        content = _pack([identities[i] for i in order], np.where(there, values, np.nan)[:, order])
        chunk = Chunk(
            grid=grid, first=first, steps=len(values), entities=len(order), samples=int(there.sum()), infinite=infinite,
            bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), warnings=tuple(sorted(set(warnings))),
        )  # fmt: skip
        self._add(chunk, content)
        return chunk

    def _add(self, chunk, content):
        """Write a file, and then that it is there."""
        write(self.folder / chunk.file, content)
        with self._lock:
            chunks = sorted((*self.chunks, chunk), key=lambda each: (each.grid, each.first))
            manifest = Manifest(format=FORMAT, about=self.about, chunks=tuple(chunks))
            write(self.folder / 'manifest.json', msgspec.json.format(msgspec.json.encode(manifest), indent=1))
            self._manifest = manifest

    def take(self, other):
        """Take over the chunks of another Store of the same detector, but those of steps that are here; each is checked as it is read."""
        for chunk in other.chunks:
            if not self._between(chunk.grid, chunk.first, chunk.first + chunk.steps):
                other._check(chunk)
                self._add(chunk, (other.folder / chunk.file).read_bytes())

    def identities(self, grid, first, end):
        """All that have a sample in the chunks of these steps; sorted."""
        found = set()
        for chunk in self._between(grid, first, end):
            found.update(self._identities_of(chunk))
        return sorted(found)

    def read(self, grid, first, end, identities):
        """The samples of some entities (sorted): float64 [end - first, n, F]; NaN = no sample, or nothing stored."""
        out = np.full((end - first, len(identities), self.features), np.nan)
        for chunk in self._between(grid, first, end) if identities else ():
            wanted, columns, values = self._select(chunk, identities)
            begin, finish = max(first, chunk.first), min(end, chunk.first + chunk.steps)
            if wanted:
                out[begin - first : finish - first, wanted] = values[begin - chunk.first : finish - chunk.first, columns]
        return out

    def digest(self, wanted):
        """sha256 of the samples of these steps ({grid: [(first, end)]}): the same for any chunks, order or time of fetching."""
        about = {name: getattr(self.about, name) for name in ('detector', 'queries', 'by', 'step_seconds', 'delay_seconds', 'coarse_seconds')}
        digest = hashlib.sha256(msgspec.json.encode(about, order='sorted'))
        for grid, pieces in sorted(wanted.items()):
            for first, end in pieces:
                digest.update(f'{grid} {first} {end}'.encode())
                for group in groups(self.identities(grid, first, end), GROUP):
                    values = self.read(grid, first, end, group)
                    for column in np.flatnonzero(~np.isnan(values).all((0, 2))):
                        digest.update(group[column] + b'\n' + np.ascontiguousarray(values[:, column]).tobytes())
        return digest.hexdigest()

    def _between(self, grid, first, end):
        return [chunk for chunk in self.chunks if chunk.grid == grid and chunk.first < end and chunk.first + chunk.steps > first]

    def _check(self, chunk):
        """Check once that a file is the one that was written."""
        if chunk not in self._checked:
            try:
                with (self.folder / chunk.file).open('rb') as file:
                    found = hashlib.file_digest(file, 'sha256').hexdigest()
            except OSError as error:
                raise self._damaged(chunk, error.strerror) from error
            if found != chunk.sha256:
                raise self._damaged(chunk, 'its sha256 is another')
            self._checked.add(chunk)

    def _select(self, chunk, identities):
        """Of the entities that a chunk has: (columns of `identities`, columns of the values, values float64 [T, n, F])."""
        names = self._identities_of(chunk)
        low, high = bisect.bisect_left(names, identities[0]), bisect.bisect_right(names, identities[-1])
        first = low // BLOCK
        column_of = {name: at for at, name in enumerate(names[low:high], low - first * BLOCK)}
        wanted = [column for column, name in enumerate(identities) if name in column_of]
        if not wanted:
            return [], [], None
        blocks = [self._member(chunk, str(number)) for number in range(first, (high - 1) // BLOCK + 1)]
        return wanted, [column_of[identities[column]] for column in wanted], np.concatenate(blocks, 1)

    def _load_identities(self, chunk):
        lines = self._member(chunk, 'identities').tobytes()
        return lines.split(b'\n') if lines else []

    def _member(self, chunk, name):
        self._check(chunk)
        path = self.folder / chunk.file
        try:
            with zipfile.ZipFile(path) as archive, archive.open(f'{name}.npy') as member:
                return np.lib.format.read_array(io.BytesIO(member.read()), allow_pickle=False)
        except (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError) as error:
            raise self._damaged(chunk, error) from error

    def _damaged(self, chunk, why):
        return StoreError(f'{self.folder / chunk.file}: damaged: {why}: remove the file and fetch again')


def groups(identities, size):
    """Lists of so many, in order."""
    return [identities[at : at + size] for at in range(0, len(identities), size)]


@contextlib.contextmanager
def locked(root):
    """Hold the lock of a folder (made if need be); StoreError where another process holds it."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock.held(root))
        except (lock.LockError, files.WriteError) as error:
            raise StoreError(str(error)) from error
        yield


def write(path, content):
    """Write bytes into a file, whole or not at all; StoreError with the disk's reason."""
    with _writing(path), files.atomically(path) as draft:
        draft.write_bytes(content)


@contextlib.contextmanager
def _writing(path):
    try:
        yield
    except files.WriteError as error:
        raise StoreError(str(error)) from error
    except OSError as error:
        raise StoreError(f'{path}: cannot be written: {files.reason(error)}') from error


def _pack(identities, values):
    """The bytes of a chunk; the same for the same content."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _add(archive, 'identities', np.frombuffer(b'\n'.join(identities), np.uint8))
        for number, at in enumerate(range(0, len(identities), BLOCK)):
            _add(archive, str(number), np.ascontiguousarray(values[:, at : at + BLOCK]))
    return out.getvalue()


def _add(archive, name, array):
    """Without the time of day, which would be in the bytes."""
    member = io.BytesIO()
    np.lib.format.write_array(member, array, allow_pickle=False)
    info = zipfile.ZipInfo(f'{name}.npy')
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, member.getvalue(), compresslevel=1)
