"""CSV and Parquet from elsewhere into the store, for detectors whose history no Prometheus has.

A file is a table with a header. `time` is the instant (unix seconds, ISO 8601, or Parquet's own timestamps; UTC where no zone is given);
columns of values are, and all others are labels of the entity:

    wide   time,instance,cpu,memory          the columns named like the detector's features; `value` for one without a name
           1767225600,web-1,0.25,0.5
    long   time,instance,feature,value       one line for each value, where the detector has features and the header has `feature`
           1767225600,web-1,cpu,0.25

Rows come in any order. A row counts at the first aligned step at or after its time; of several at one step the newest counts, as in a
query. An empty value or NaN is no sample; so is ±Inf. Who calls it: collect. Rows are sorted into chunks through temporary files, so that
memory does not grow with the table.
"""

import csv
import hashlib
import shutil
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import numpy as np

from convert import files, progress
from convert.data import spans, store
from convert.data.spans import DataError

CHUNK_STEPS = 1024
AT_ONCE = 200_000       # rows in memory
MOST_TIME = 1e11        # seconds; larger ones are in milliseconds
_ROW = np.dtype([('cell', '<i8'), ('step', '<i8'), ('entity', '<i4'), ('feature', '<i4'), ('time', '<f8'), ('value', '<f8')])
GRIDS = ('fine', 'coarse')


class TableError(DataError):
    """A file is not a table of telemetry: the message names the file, and the line where there is one."""


def about(detector, paths):
    """What the folder of files holds (store.About); other content makes another folder."""
    return store.About(
        detector=detector.name,
        source='files',
        queries=dict(detector.queries),
        by=detector.by,
        step_seconds=float(detector.step),
        delay_seconds=0,
        coarse_seconds=spans.coarse_seconds(detector.step),
        asked={path.name: _sha256(path) for path in paths},
    )


def _sha256(path):
    try:
        with path.open('rb') as file:
            return hashlib.file_digest(file, 'sha256').hexdigest()
    except OSError as error:
        raise TableError(f'{path}: cannot be read: {error.strerror}') from error


def read(detector, paths, root, *, log):
    """The Store with all rows of some files in it; files that are in it already are not read again.

    detector  promlstm.config.Detector: its name, features and step count, its expressions do not
    paths     *.csv (also *.tsv), *.parquet
    raises    TableError, StoreError
    """
    target = store.Store(root, about(detector, paths))
    done = target.folder / 'complete'
    if done.exists():
        log(f'  detector {detector.name!r}: {", ".join(path.name for path in paths)} are there already')
        return target
    if target.chunks:    # a run was killed in the middle: which rows are missing is unknown
        for file in target.folder.iterdir():
            file.unlink()
        target = store.Store(root, target.about)
    target.prepare()
    for left in Path(root).glob('.import-*'):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=target.folder.parent, prefix='.import-') as folder:
        sorter = _Sorter(detector, Path(folder))
        for path in progress.track(paths, 'files', log=log):
            sorter.take(path)
        sorter.write(target)
        log(f'  detector {detector.name!r}: {sorter.rows} rows, {len(sorter.identities)} entities, {sorter.infinite} infinite values dropped')
    store.write(done, b'')
    return target


class _Sorter:
    """Rows into one temporary file for each chunk."""

    def __init__(self, detector, folder):
        self.rows, self.infinite, self.identities = 0, 0, {}
        self._detector, self._folder = detector, folder
        self._features = list(detector.queries)
        self._steps = {'fine': detector.step, 'coarse': spans.coarse_seconds(detector.step)}
        self._pending = []

    def take(self, path):
        """All rows of a file."""
        reader = _parquet if path.suffix == '.parquet' else _csv
        layout = None
        for line, row in reader(path):
            layout = layout or _Layout(path, row, self._features)
            try:
                time, identity, values = layout.split(row)
            except (ValueError, TypeError, OverflowError) as error:
                raise TableError(f'{path}: line {line}: {error}') from error
            entity = self.identities.setdefault(identity, len(self.identities))
            self.rows += 1
            self._pending += [(time, entity, feature, value) for feature, value in values]
            if len(self._pending) >= AT_ONCE:
                self._spill()
        self._spill()

    def _spill(self):
        if not self._pending:
            return
        columns = np.array(self._pending)
        self._pending = []
        infinite = np.isinf(columns[:, 3])
        self.infinite += int(infinite.sum())
        columns = columns[~infinite & ~np.isnan(columns[:, 3])]
        for number, grid in enumerate(GRIDS):
            step = np.ceil(columns[:, 0] / self._steps[grid] - spans.GRAIN).astype(np.int64)
            near = step * self._steps[grid] - columns[:, 0] < self._steps['fine'] * (1 - spans.GRAIN)    # the newest at that instant, not older
            rows = np.empty(int(near.sum()), _ROW)
            rows['cell'], rows['step'] = step[near] // CHUNK_STEPS, step[near]
            for name, column in zip(('time', 'entity', 'feature', 'value'), columns[near].T, strict=True):
                rows[name] = column
            for cell in np.unique(rows['cell']):
                self._append((number, int(cell)), rows[rows['cell'] == cell])

    def _append(self, key, rows):
        try:
            # Opened for each piece: a year at 10 s has more chunks than a process may have files open.
            with (self._folder / f'{key[0]}.{key[1]}').open('ab') as file:
                file.write(rows.tobytes())
        except OSError as error:
            raise store.StoreError(f'{self._folder}: cannot be written: {files.reason(error)}') from error

    def write(self, target):
        """Each temporary file as a chunk."""
        identities = list(self.identities)
        for path in sorted(self._folder.iterdir()):
            number, cell = map(int, path.name.split('.'))
            rows = np.fromfile(path, _ROW)
            rows = rows[np.argsort(rows['time'], kind='stable')]
            met, columns = np.unique(rows['entity'], return_inverse=True)
            values = np.full((CHUNK_STEPS, len(met), len(self._features)), np.nan)
            values[rows['step'] - cell * CHUNK_STEPS, columns, rows['feature']] = rows['value']
            target.put(GRIDS[number], cell * CHUNK_STEPS, [identities[entity] for entity in met], values)
            path.unlink()


class _Layout:
    """What each column is, by the header."""

    def __init__(self, path, row, features):
        self._features = {name or 'value': number for number, name in enumerate(features)}
        self._long = features != [''] and {'feature', 'value'} <= set(row)
        columns = {'feature', 'value'} if self._long else set(self._features)
        if missing := sorted(({'time'} | columns) - set(row)):
            raise TableError(f'{path}: no column {", ".join(missing)}; it has {", ".join(map(str, row))}')
        self._labels = [name for name in row if name not in {'time'} | columns]

    def split(self, row):
        """(time, identity, [(feature, value)]) of a row."""
        labels = {name: str(row[name]) for name in self._labels if row[name] not in (None, '')}
        identity = msgspec.json.encode(labels, order='sorted')
        if self._long:
            if row['feature'] not in self._features:
                raise ValueError(f'feature {row["feature"]!r} is none of {", ".join(self._features)}')
            found = [(self._features[row['feature']], _number(row['value']))]
        else:
            found = [(number, _number(row[name])) for name, number in self._features.items()]
        return _time(row['time']), identity, found


def _number(value):
    return float('nan') if value in (None, '') else float(value)


def _time(value):
    """Unix seconds.

    >>> _time('1767225600'), _time('2026-01-01T00:00:00Z')
    (1767225600.0, 1767225600.0)
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if not abs(float(value)) < MOST_TIME:
        raise ValueError(f'time {value} is not in unix seconds (perhaps milliseconds)')
    return float(value)


def _csv(path):
    """(line number, row as a dict) of each."""
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file, delimiter='\t' if path.suffix == '.tsv' else ',', strict=True)
            for row in reader:
                if None in row or None in row.values():
                    raise TableError(f'{path}: line {reader.line_num}: expected {len(reader.fieldnames)} columns as in the header')
                yield reader.line_num, row
    except OSError as error:
        raise TableError(f'{path}: cannot be read: {error.strerror}') from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise TableError(f'{path}: not CSV in UTF-8: {error}') from error


def _parquet(path):
    """(row number, row as a dict) of each."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise TableError(f'{path}: reading Parquet needs pyarrow: pip install pyarrow') from error
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=AT_ONCE // 4):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        raise TableError(f'{path}: not Parquet: {error}') from error
