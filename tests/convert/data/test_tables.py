"""Tables from elsewhere become the same store, whatever their layout and order."""

import csv
import json
from datetime import UTC, datetime

import numpy as np
import pytest

from convert.data import collect, spans, store, tables
from convert.data.tables import TableError
from convert.recipe import Data
from promlstm import config as configuration

START = 1_764_000_000 // 86400 * 86400
HOSTS = ('a', 'b')


def detector(**keys):
    """A Detector at 60 s."""
    detector = keys or {'name': 'cpu', 'expr': 'x'}
    return configuration.parse(json.dumps({'prometheus': {'url': 'http://localhost:9'}, 'detectors': [detector]})).detectors[0]


ONE = detector()
TWO = detector(name='host', by=['host'], features={'cpu': 'x', 'memory': 'y'})


def numbers(steps=3000, features=1):
    """Samples of two hosts: float64 [T, 2, F]; a few missing."""
    rng = np.random.default_rng(1)
    out = rng.normal(size=(steps, 2, features))
    out[rng.random(out.shape) < 0.01] = np.nan
    return out


def write(path, rows):
    """A CSV file; NaN is left empty."""
    with path.open('w', newline='') as file:
        csv.writer(file).writerows([['' if value != value else value for value in row] for row in rows])
    return path


def wide(x, names, order=None):
    """Rows of a wide table, header first."""
    rows = [[START + 60 * t, host, *x[t, i].tolist()] for t in range(len(x)) for i, host in enumerate(HOSTS)]
    if order is not None:
        rows = [rows[i] for i in np.random.default_rng(order).permutation(len(rows))]
    return [['time', 'host', *names], *rows]


def read(place, x, grid='fine', step=60):
    """The samples in the store at the same times."""
    first = START // step
    return place.read(grid, first, first + len(x), [b'{"host":"a"}', b'{"host":"b"}'])


def quiet(text):
    """A log for nobody."""


def test_wide_in_any_order_over_several_files(tmp_path):
    """Every sample arrives, once, at its step; and the coarse history with it."""
    x = numbers()
    header, *rows = wide(x, ['value'], order=3)
    paths = [write(tmp_path / 'one.csv', [header, *rows[:2500]]), write(tmp_path / 'two.csv', [header, *rows[2500:]])]
    place = tables.read(ONE, paths, tmp_path / 'data', log=quiet)
    np.testing.assert_array_equal(read(place, x), x)
    np.testing.assert_array_equal(read(place, x[::30], 'coarse', 1800), x[::30])


def test_memory_does_not_grow_with_the_table(tmp_path, monkeypatch):
    """Spilled every few rows or all at once: the same digest."""
    x = numbers()
    path, wanted = write(tmp_path / 'one.csv', wide(x, ['value'], order=3)), {'fine': [(START // 60, START // 60 + 3000)]}
    digest = tables.read(ONE, [path], tmp_path / 'a', log=quiet).digest(wanted)
    monkeypatch.setattr(tables, 'AT_ONCE', 100)
    assert tables.read(ONE, [path], tmp_path / 'b', log=quiet).digest(wanted) == digest
    assert not list((tmp_path / 'b').glob('.import-*'))


@pytest.mark.train
def test_long_and_wide_and_parquet_are_the_same(tmp_path):
    """One digest for one content: features as columns, as rows, with times as text, and as Parquet."""
    import pyarrow
    from pyarrow import parquet

    x, wanted = numbers(features=2), {'fine': [(START // 60, START // 60 + 3000)]}
    table = wide(x, ['cpu', 'memory'])
    long = [['time', 'host', 'feature', 'value']]
    for time, host, *values in table[1:]:
        text = datetime.fromtimestamp(time, UTC).isoformat()
        long += [[text, host, name, value] for name, value in zip(('cpu', 'memory'), values, strict=True)]
    columns = dict(zip(table[0], map(list, zip(*table[1:], strict=True)), strict=True))
    columns['time'] = pyarrow.array(columns['time'], pyarrow.int64()).cast(pyarrow.timestamp('s', 'UTC'))
    parquet.write_table(pyarrow.table(columns), tmp_path / 'x.parquet')
    paths = [write(tmp_path / 'wide.csv', table), write(tmp_path / 'long.csv', long), tmp_path / 'x.parquet']
    places = [tables.read(TWO, [path], tmp_path / 'data', log=quiet) for path in paths]
    np.testing.assert_array_equal(read(places[0], x), x)
    assert len({place.digest(wanted) for place in places}) == 1 and len({place.folder for place in places}) == 3


def test_the_newest_row_at_a_step_counts(tmp_path):
    """A row between two steps belongs to the later one, as a query there would see it."""
    rows = [['time', 'host', 'value'], [START + 1, 'a', 1], [START + 60, 'a', 3], [START + 59, 'a', 2], [START + 61, 'a', 'NaN'], [START + 120, 'a', 'inf']]
    lines = []
    place = tables.read(ONE, [write(tmp_path / 'x.csv', rows)], tmp_path / 'data', log=lines.append)
    got = place.read('fine', START // 60, START // 60 + 4, [b'{"host":"a"}'])[:, 0, 0]
    np.testing.assert_array_equal(got, [np.nan, 3, np.nan, np.nan])
    assert lines == ["  detector 'cpu': 5 rows, 1 entities, 1 infinite values dropped"]


def test_what_is_there_is_not_read_again(tmp_path):
    """Unless the file has other content."""
    path, lines = write(tmp_path / 'x.csv', wide(numbers(50), ['value'])), []
    first = tables.read(ONE, [path], tmp_path / 'data', log=quiet)
    assert tables.read(ONE, [path], tmp_path / 'data', log=lines.append).chunks == first.chunks
    assert lines == ["  detector 'cpu': x.csv are there already"]
    write(path, wide(numbers(51), ['value']))
    assert tables.read(ONE, [path], tmp_path / 'data', log=quiet).folder != first.folder


def test_a_killed_import_starts_anew(tmp_path):
    """Which of its rows are missing is unknown."""
    x = numbers()
    path = write(tmp_path / 'x.csv', wide(x, ['value']))
    place = tables.read(ONE, [path], tmp_path / 'data', log=quiet)
    (place.folder / 'complete').unlink()
    (place.folder / place.chunks[0].file).unlink()
    (tmp_path / 'data/.import-left').mkdir()
    np.testing.assert_array_equal(read(tables.read(ONE, [path], tmp_path / 'data', log=quiet), x), x)
    assert not list((tmp_path / 'data').glob('.import-*'))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('host,value\na,1\n', 'x.csv: no column time; it has host, value'),
        ('time,host,cpu\n1,a,1\n', 'x.csv: no column value; it has time, host, cpu'),
        ('time,host,value\n1764000000,a,1\nsoon,a,1\n', "x.csv: line 3: Invalid isoformat string: 'soon'"),
        ('time,host,value\n1764000000000,a,1\n', 'x.csv: line 2: time 1764000000000.0 is not in unix seconds (perhaps milliseconds)'),
        ('time,host,value\n1764000000,a,many\n', "x.csv: line 2: could not convert string to float: 'many'"),
        ('time,host,value\n1764000000,a\n', 'x.csv: line 2: expected 3 columns as in the header'),
        ('time,host,value\n1764000000,a,1,2\n', 'x.csv: line 2: expected 3 columns as in the header'),
        ('time,host,value\n1764000000,"a,1\n', 'x.csv: not CSV in UTF-8: '),
        (b'time,host,value\n1764000000,\xff,1\n', 'x.csv: not CSV in UTF-8: '),
    ],
)
def test_a_table_that_is_none_is_named(tmp_path, content, message):
    """File, line, and what was expected; nothing stays of it."""
    path = tmp_path / 'x.csv'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TableError) as error:
        tables.read(ONE, [path], tmp_path / 'data', log=quiet)
    assert message in str(error.value)
    assert store.Store(tmp_path / 'data', tables.about(ONE, [path])).chunks == () and not list((tmp_path / 'data').glob('.import-*'))


@pytest.mark.train
def test_parquet_that_is_none_is_named(tmp_path):
    """Not an exception of a library."""
    (tmp_path / 'x.parquet').write_bytes(b'PAR1 not really')
    with pytest.raises(TableError, match=r'x\.parquet: not Parquet: '):
        tables.read(ONE, [tmp_path / 'x.parquet'], tmp_path / 'data', log=quiet)


def test_a_recipe_may_have_files_in_place_of_prometheus(tmp_path):
    """The detector is the exporter's own; nothing is asked of any server."""
    write(tmp_path / 'cpu.csv', wide(numbers(3000), ['value']))
    (tmp_path / 'promlstm.yml').write_text('prometheus: {url: http://127.0.0.1:1}\ndetectors: [{name: cpu, expr: x, history: 1d}]\n')
    parts = spans.Parts(train=((START, START + 60 * 2000),), test=((START + 60 * 2000, START + 60 * 3000),))
    data = Data(config='promlstm.yml', files={'cpu': ('cpu.csv',)}, spans=parts)
    (found,) = collect.collect(tmp_path / 'own.yml', data, tmp_path / 'data', log=quiet)
    assert found.entities('test') == [b'{"host":"a"}', b'{"host":"b"}'] and len(list(found.batches('test'))) == 1
    assert collect.load(tmp_path / 'own.yml', data, tmp_path / 'data')[0].digest() == found.digest()
