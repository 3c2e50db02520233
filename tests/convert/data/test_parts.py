"""Several processes share a fetch: together they have what one process has, each asks for its own part, and a part that is missing is named."""

import json
import os
import subprocess
import sys
import time

import fleet_history
import pytest
import servers
import yaml

from convert.data import parts, spans, store
from convert.data.spans import DataError

DAY = 86400
SERIES, DAYS, OF = 20, 6, 3


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
    """The recipe on a real Prometheus with six days of two detectors, and that server."""
    folder = tmp_path_factory.mktemp('parts')
    end = time.time() // DAY * DAY
    times, values, _ = fleet_history.telemetry(SERIES, DAYS, end, faulty_each=1)
    prometheus = fleet_history.prometheus(folder, times, values)
    common = {'step': '60s', 'delay': '0s', 'history': '2d'}
    detectors = [{'name': 'load', 'expr': 'past_load', **common}, {'name': 'twice', 'expr': '2 * past_load', **common}]
    with prometheus:
        (folder / 'promlstm.yml').write_text(json.dumps({'prometheus': {'url': prometheus.url}, 'detectors': detectors}))
        whole = yaml.safe_load((servers.ROOT / 'convert/recipes/default.yml').read_text())
        span = lambda first, last: [[spans.text(end - first * DAY), spans.text(end - last * DAY)]]  # noqa: E731
        whole |= {'name': 'own', 'data': {'config': 'promlstm.yml', 'spans': {'train': span(4, 1.25), 'test': span(1, 0)}}}
        (folder / 'own.yml').write_text(yaml.safe_dump(whole))
        yield folder / 'own.yml'


def started(recipe, work, *options, **environment):
    """A process that fetches."""
    command = [sys.executable, '-m', 'convert', 'fetch', str(recipe), '--work', str(work), *options]
    return subprocess.Popen(command, cwd=servers.ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})


def ended(child):
    """(Its exit status, what it said)."""
    text = child.communicate(timeout=300)[1]
    return child.returncode, text


def digests(text):
    """The lines with the SHA-256 of what is there."""
    return [line for line in text.splitlines() if 'sha256' in line]


def chunks(folder):
    """(detector, grid, first, steps) of all that stores below a folder have."""
    found = [json.loads(file.read_text()) for file in folder.rglob('manifest.json')]
    return {(one['about']['detector'], each['grid'], each['first'], each['steps']) for one in found for each in one['chunks']}


@pytest.mark.slow
def test_parts_are_the_whole(recipe, tmp_path):
    """Three processes at once on one folder, one of which is killed: it is named, and nothing is put together before it was run again."""
    status, alone = ended(started(recipe, tmp_path / 'alone'))
    assert status == 0 and len(digests(alone)) == 2
    work = tmp_path / 'work'
    first, second = started(recipe, work, '--part=auto/3', JOB_COMPLETION_INDEX='0'), started(recipe, work, '--part', '1/3')
    killed = started(recipe, work, '--part', '2/3')
    servers.wait_until(lambda: list(work.glob('data/parts/2-of-3/.lock')), 60, 'the last part to have begun')
    killed.kill()
    killed.communicate()
    assert ended(first)[0] == ended(second)[0] == 0
    status, text = ended(started(recipe, work, '--part', 'all/3'))
    assert status == 1 and '1 of 3 parts are not completely fetched' in text and '\n  part 2 of 3: load, twice' in text
    assert not list(work.glob('data/*/manifest.json'))

    own = [chunks(work / f'data/parts/{number}-of-3') for number in range(OF)]
    assert ended(started(recipe, work, '--part', '2/3'))[0] == 0
    own[2] = chunks(work / 'data/parts/2-of-3')
    assert all(own) and not own[0] & own[1] and not own[0] & own[2] and not own[1] & own[2]
    status, text = ended(started(recipe, work, '--part', 'all/3'))
    assert status == 0 and '  3 parts put together\n' in text and '  0 chunks to fetch' in text
    assert digests(text) == digests(alone)
    assert chunks(work / 'data') == own[0] | own[1] | own[2] and not list(work.glob('data/parts/*/*/'))

    status, text = ended(started(recipe, work, '--part', '0/3'))  # what is there is fetched by nobody again
    assert status == 0 and '  0 chunks to fetch' in text


@pytest.mark.slow
def test_the_number_comes_from_the_job(recipe, tmp_path):
    """Outside of one it is said, with the usage."""
    environment = {name: value for name, value in os.environ.items() if name != parts.INDEX}
    command = [sys.executable, '-m', 'convert', 'fetch', str(recipe), '--work', str(tmp_path), '--part', 'auto/3']
    done = subprocess.run(command, cwd=servers.ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2 and 'auto/3: expected the number in JOB_COMPLETION_INDEX' in done.stderr


@pytest.mark.parametrize('text', ['', '1', '3/3', '-1/3', '0/0', '0/1001', 'all', 'auto/', '1/3 ', '٣/5', 'all/all'])
def test_what_is_no_part_is_refused(text):
    """Whatever is written instead."""
    with pytest.raises(ValueError, match='expected'):
        parts.parse(text, {parts.INDEX: '0'})


@pytest.mark.parametrize('step', [1, 60, 3600, 86400, 604800])
@pytest.mark.parametrize('of', [1, 2, 5, 50])
def test_every_step_is_of_one_part(step, of):
    """Of either grid, and none is left out."""
    for grid in parts.UNIT_SECONDS:
        pieces = [(12_345, 13_000), (20_000, 20_001), (30_000, 60_000)]
        own = [part.pieces('load', grid, step, pieces) for part in parts.Part(None, of).all()]
        steps = [number for some in own for first, end in some for number in range(first, end)]
        assert sorted(steps) == [number for first, end in pieces for number in range(first, end)]


def test_what_is_damaged_on_the_way_is_noticed(tmp_path):
    """The digest of each file is looked at before it is taken over."""
    about = store.About(detector='load', source='x', queries={'': 'x'}, by=(), step_seconds=60.0, delay_seconds=0.0, coarse_seconds=1800.0)
    theirs, ours = store.Store(tmp_path / 'part', about), store.Store(tmp_path / 'whole', about)
    for each in (theirs, ours):
        each.prepare()
    chunk = theirs.put('fine', 0, [b'a'], [[[1.0]]])
    (theirs.folder / chunk.file).write_bytes(b'other')
    with pytest.raises(DataError, match='damaged: its sha256 is another'):
        ours.take(theirs)
    assert not ours.chunks
