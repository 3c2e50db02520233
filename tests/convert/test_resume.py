"""What was made from the same before is not made again; what is written is whole or not there."""

import os
import re
import subprocess
import sys
import time

import pytest
from recipes import GOOD, convert_here
from servers import ROOT, wait_until

from convert import files, resume
from promlstm.engine import session

TINY = GOOD.replace('epochs: 1', 'epochs: 1\n  units: [8, 4]').replace('seed: 3', 'family: forecaster\nseed: 3')


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    """A writer that fails leaves the old file and no draft; its suffix is the one that libraries choose a format by."""
    path = tmp_path / 'a.h5'
    path.write_bytes(b'old')
    says = r'a\.h5: cannot be written: No space left on device; what was there before is whole: free some space'
    with pytest.raises(files.WriteError, match=says), files.atomically(path) as draft:
        draft.write_bytes(b'ne')
        assert draft.suffix == '.h5'
        raise OSError(28, 'No space left on device')
    assert path.read_bytes() == b'old' and os.listdir(tmp_path) == ['a.h5']
    with files.atomically(path) as draft:
        draft.write_bytes(b'new')
    assert path.read_bytes() == b'new'


def test_a_record_holds_while_key_and_files_are_the_same(tmp_path):
    """Another recipe, a changed file or a missing one: the stage is run again."""
    (tmp_path / 'out').write_bytes(b'1')
    resume.record(tmp_path, 'train', 'key', ['out', 'not left'])
    assert resume.unchanged(tmp_path, 'train', 'key')
    assert not resume.unchanged(tmp_path, 'train', 'other') and not resume.unchanged(tmp_path, 'export', 'key')
    (tmp_path / 'out').write_bytes(b'2')
    assert not resume.unchanged(tmp_path, 'train', 'key')


@pytest.mark.parametrize('text', ['', '{', '{"train": 1}', '[]'])
def test_a_broken_record_is_none(tmp_path, text):
    """Work is done again."""
    (tmp_path / resume.FILE).write_text(text)
    assert not resume.unchanged(tmp_path, 'train', 'key')


def test_a_folder_has_a_digest_of_names_and_content(tmp_path):
    (tmp_path / 'a').write_text('1')
    first = files.digest(tmp_path)
    (tmp_path / 'a').rename(tmp_path / 'b')
    assert len(first) == 64 and files.digest(tmp_path) != first and files.digest(tmp_path / 'none') == ''


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A work folder whose first run was killed in the middle, and the process of the second one."""
    folder = tmp_path_factory.mktemp('resume')
    (folder / 'tiny.yml').write_text(TINY)
    with open(folder / 'log', 'wb') as log:
        process = subprocess.Popen([sys.executable, '-m', 'convert', *arguments(folder)], cwd=ROOT, stderr=log)
    try:
        wait_until(lambda: b'verify: TensorFlow' in (folder / 'log').read_bytes(), 120, 'the third stage')
        time.sleep(0.5)
    finally:
        process.kill()
        process.wait()
    return folder, convert_here(*arguments(folder))


def arguments(folder):
    return ['all', folder / 'tiny.yml', '--work', folder / 'work', '--service', 'none']


@pytest.mark.train
def test_killed_in_the_middle_it_continues_where_it_was(made):
    """What was done is not done again, what was begun is; the model is whole, its evaluation is a report in three forms."""
    folder, done = made
    assert done.returncode == 0, done.stderr
    assert 'train: ' not in done.stderr and 'export: ' not in done.stderr and 'verify: ' in done.stderr
    assert session.load(folder / 'work/tiny.onnx').bundle.calibration.status == 'measured'
    assert all((folder / f'work/report.{kind}').stat().st_size > 1000 for kind in ('txt', 'json', 'html'))
    assert not list((folder / 'work').glob('.draft*'))


@pytest.mark.train
def test_a_recipe_says_how_large(made):
    """Smaller LSTMs, less memory of an entity; the file is proven and served like any other."""
    folder, _ = made
    assert session.load(folder / 'work/tiny.onnx').bundle.states['state_lstm'].shape[-1] == 24


@pytest.mark.train
def test_the_same_again_changes_nothing_and_says_so(made):
    """Within seconds, with the digest of the file."""
    folder, _ = made
    before = files.digest(folder / 'work/tiny.onnx')
    done = convert_here(*arguments(folder))
    assert done.returncode == 0 and done.stderr.splitlines()[-1] == f'tiny: nothing changed: {folder}/work/tiny.onnx, sha256 {before}'
    assert files.digest(folder / 'work/tiny.onnx') == before


@pytest.mark.train
def test_a_worse_model_is_refused_and_the_one_in_service_stays(made, capsys):
    """By a status of its own, or 0 where a timer should not take it for a failure; --force releases all the same. Nothing is trained again for it."""
    from convert.__main__ import REFUSED, main

    folder, _ = made
    out, judged = folder / 'serving/tiny.onnx', (folder / 'work/report.json').read_text()
    stage = ['release', str(folder / 'tiny.yml'), f'--work={folder}/work', f'--out={out}']
    bad = '{"benchmark_set":"injected_300s","rival":"old","role":"in service","what":"recall","ours":0.1,"theirs":0.9,"low":-0.9,"high":-0.7,"passed":false}'
    (folder / 'work/report.json').write_text(f'{{"verdicts":[{bad}]}}')
    try:
        for more, status in (([], REFUSED), (['--keep-on-refusal'], 0)):
            assert main([*stage, *more]) == status
            assert re.search(r'not released.*\n  worse than it may be on injected_300s: 0\.100 of the events', capsys.readouterr().err)
            assert not out.exists()
        assert main([*stage, '--force']) == 0
        assert session.load(out).bundle.manifest.name == 'tiny' and 'released by force: ' in capsys.readouterr().err
    finally:
        (folder / 'work/report.json').write_text(judged)
