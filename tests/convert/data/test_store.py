"""Telemetry on disk is whole or not there, and its digest is one of content."""

import itertools
import json
import threading

import numpy as np
import pytest

from convert.data import store
from convert.data.store import About, Store, StoreError

ABOUT = About(detector='cpu', source='http://p', queries={'a': 'x', 'b': 'y'}, by=('host',), step_seconds=60, delay_seconds=10, coarse_seconds=1800)


def name(i):
    return f'{{"host":"{i:04}"}}'.encode()


@pytest.fixture
def values():
    """200 steps of 150 entities with two features; some samples missing, the last entity born late."""
    rng = np.random.default_rng(1)
    out = rng.normal(size=(200, 150, 2)) * 1e12
    out[rng.random(out.shape) < 0.05] = np.nan
    out[:120, -1] = np.nan
    return out


def filled(root, values, edges, order=None):
    """A Store of them, cut at the edges, rows and chunks in any order."""
    place = Store(root, ABOUT)
    place.prepare()
    pieces = list(itertools.pairwise(edges))
    rows = np.arange(values.shape[1]) if order is None else np.random.default_rng(order).permutation(values.shape[1])
    for first, end in pieces if order is None else reversed(pieces):
        place.put('fine', 1000 + first, [name(i) for i in rows], values[first:end, rows])
    return place


def test_what_is_read_is_what_was_written(tmp_path, values):
    """Any stretch of time, any group of entities, every bit; beyond it NaN."""
    filled(tmp_path, values, [0, 64, 70, 200])
    place = Store(tmp_path, ABOUT)
    assert place.identities('fine', 1000, 1200) == [name(i) for i in range(150)]
    assert place.identities('fine', 1000, 1070) == [name(i) for i in range(149)]
    for group in (range(150), range(60, 70), range(149, 150), [0, 63, 64, 128, 149]):
        np.testing.assert_array_equal(place.read('fine', 1050, 1150, [name(i) for i in group]), values[50:150, list(group)])
    assert np.isnan(place.read('fine', 1200, 1210, [name(0)])).all() and np.isnan(place.read('fine', 1000, 1010, [b'{}'])).all()
    assert place.covered('fine') == [(1000, 1200)] and place.covered('coarse') == []


def test_the_digest_knows_content_alone(tmp_path, values):
    """Not the cutting, not the order of series or chunks, not the NaN's bits; but every sample, label, and stretch of time."""
    wanted = {'fine': [(1000, 1200)]}
    digest = filled(tmp_path / 'a', values, [0, 200]).digest(wanted)
    odd = values.copy()
    odd[np.isnan(odd)] = np.frombuffer(b'\x01\x00\x00\x00\x00\x00\xf8\x7f')[0]
    assert filled(tmp_path / 'b', odd, [0, 7, 64, 128, 200], order=3).digest(wanted) == digest
    assert Store(tmp_path / 'b', ABOUT).digest({'fine': [(1000, 1199)]}) != digest
    other = values.copy()
    other[77, 5, 1] = np.nextafter(other[77, 5, 1], np.inf)
    assert filled(tmp_path / 'c', other, [0, 200]).digest(wanted) != digest
    swapped = values[:, [1, 0, *range(2, 150)]]
    assert filled(tmp_path / 'd', swapped, [0, 200]).digest(wanted) != digest


def test_a_file_is_the_same_for_the_same_content(tmp_path, values):
    """No time of day in it, no pickle."""
    first, second = (filled(tmp_path / folder, values, [0, 200]) for folder in 'ab')
    assert first.chunks == second.chunks and len(first.chunks[0].sha256) == 64
    with np.load(first.folder / first.chunks[0].file, allow_pickle=False) as file:
        assert file['0'].shape == (200, store.BLOCK, 2) and file['identities'].tobytes().startswith(b'{"host":"0000"}\n')


def test_an_empty_chunk_is_knowledge_too(tmp_path):
    """That there was no series in it need not be asked again."""
    place = Store(tmp_path, ABOUT)
    place.prepare()
    place.put('fine', 0, [name(1)], np.full((5, 1, 2), np.nan))
    assert place.covered('fine') == [(0, 5)] and place.identities('fine', 0, 5) == []
    assert np.isnan(place.read('fine', 0, 5, [name(1)])).all()


def test_other_queries_have_another_folder(tmp_path):
    """A changed expression, step or tenant never meets the samples of the one before."""
    changed = [
        {'queries': {'a': 'x', 'b': 'z'}}, {'step_seconds': 30.0}, {'delay_seconds': 0.0}, {'source': 'http://q'}, {'asked': {'X-Scope-OrgID': '1'}},
    ]  # fmt: skip
    folders = {About(**{**{f: getattr(ABOUT, f) for f in ABOUT.__struct_fields__}, **each}).folder() for each in [{}, *changed]}
    assert len(folders) == 6 and all(folder.startswith('cpu-') for folder in folders)
    assert About(**{**{f: getattr(ABOUT, f) for f in ABOUT.__struct_fields__}, 'detector': '../x/y'}).folder().startswith('..%2Fx%2Fy-')


@pytest.mark.parametrize('damage', [lambda content: content[:-40], lambda content: content[:90] + b'\xff' * 9 + content[99:], lambda _: b''])
def test_a_damaged_file_is_named(tmp_path, values, damage):
    """Truncated, a few bytes changed, or empty: never other numbers. Once it is removed, only it is fetched again."""
    place = filled(tmp_path, values, [0, 200])
    path = place.folder / place.chunks[0].file
    path.write_bytes(damage(path.read_bytes()))
    for identity in (name(0), name(149)):
        with pytest.raises(StoreError, match=rf'{path.name}: damaged: its sha256 is another: remove the file and fetch again'):
            Store(tmp_path, ABOUT).read('fine', 1000, 1200, [identity])
    path.unlink()
    assert Store(tmp_path, ABOUT).covered('fine') == []
    with pytest.raises(StoreError, match=rf'{path.name}: damaged: No such file'):
        place.digest({'fine': [(1000, 1200)]})


@pytest.mark.parametrize('text', ['', '{', '{"format": 2}', json.dumps({'format': 9, 'about': json.loads('{}'), 'chunks': []})])
def test_a_damaged_manifest_is_named(tmp_path, values, text):
    """And nothing is guessed from the files beside it."""
    place = filled(tmp_path, values, [0, 200])
    (place.folder / 'manifest.json').write_text(text)
    with pytest.raises(StoreError, match=r'manifest\.json: '):
        Store(tmp_path, ABOUT)


def test_left_overs_of_a_killed_run_are_not_there(tmp_path, values):
    """A chunk that the manifest does not name does not count; half a file is removed."""
    place = filled(tmp_path, values, [0, 200])
    (place.folder / 'fine-1200-50.npz').write_bytes(b'whole, but the manifest was not written')
    (place.folder / '.draft.fine-1250-50.npz').write_bytes(b'half')
    again = Store(tmp_path, ABOUT)
    again.prepare()
    assert again.covered('fine') == [(1000, 1200)] and not list(place.folder.glob('.draft.*'))
    again.put('fine', 1200, [name(0)], np.zeros((50, 1, 2)))
    assert Store(tmp_path, ABOUT).covered('fine') == [(1000, 1250)]


def test_only_one_process_writes(tmp_path):
    """A second one fails at once, and succeeds when the first has left."""
    with store.locked(tmp_path / 'data'), pytest.raises(StoreError, match='another process is writing here'), store.locked(tmp_path / 'data'):
        pass
    with store.locked(tmp_path / 'data'):
        pass


def test_threads_may_put_at_once(tmp_path, values):
    """No chunk is lost from the manifest."""
    place = Store(tmp_path, ABOUT)
    place.prepare()
    puts = [threading.Thread(target=place.put, args=('fine', 10 * i, [name(1)], values[:10, :1])) for i in range(8)]
    for each in puts:
        each.start()
    for each in puts:
        each.join(30)
    assert Store(tmp_path, ABOUT).covered('fine') == [(0, 80)]
    assert len(Store(tmp_path, ABOUT).chunks) == 8


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """A file stands where the folder should be."""
    (tmp_path / 'data').write_text('')
    with pytest.raises(StoreError, match='data: cannot be written: '), store.locked(tmp_path / 'data'):
        pass
