"""Where a disk is full, read-only or another place than was meant: one sentence with the path and what to do, at once, and nothing is left behind."""

import os
import resource
import signal
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from recipes import GOOD, TALKATIVE, convert_here
from servers import ROOT, wait_until

from convert import files, lock, places
from convert.__main__ import main
from convert.data import labelled
from promlstm.engine import session

LIMIT = 16_384      # bytes of a file, which is a full disk for whoever writes more


def limited(*arguments):
    """As `convert`, with files of LIMIT bytes at most; it keeps no bytecode, which Python would leave cut off for whoever comes after."""
    small = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))     # noqa: E731 (a callback)
    command = [sys.executable, '-B', '-m', 'convert', *map(str, arguments)]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=300, preexec_fn=small)


def one_sentence(done, *words):
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and 'Traceback' not in done.stderr, done.stderr
    assert last.startswith('convert: ') and all(str(word) in last for word in words), last


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / 'tiny.yml'
    path.write_text(GOOD)
    return path


@pytest.fixture
def made(tmp_path):
    """What the stages before a release leave, out of the shipped model."""
    import onnx

    work = tmp_path / 'made'
    work.mkdir()
    model = onnx.load(session.resolve('builtin:default'))
    parts = {each.key.removeprefix('promlstm.'): each.value for each in model.metadata_props}
    (work / 'training.json').write_bytes(msgspec.json.encode(msgspec.json.decode(parts['manifest'])['training']))
    for name, text in (('calibration', parts['calibration']), ('proof', parts['proof']), ('evaluation', '{}'), ('report', '{"verdicts": []}')):
        (work / f'{name}.json').write_text(text)
    del model.metadata_props[:]
    (work / 'graph.onnx').write_bytes(model.SerializeToString())
    return work


@pytest.mark.train
def test_a_full_disk_in_training(tmp_path, tiny):
    """No signal, no draft, and the name of the file of weights."""
    one_sentence(limited('train', tiny, f'--work={tmp_path}/work'), tmp_path / 'work/weights.weights.h5', 'cannot be written', 'run the same command again')
    assert os.listdir(tmp_path / 'work') == ['.lock']


@pytest.mark.train
def test_a_full_disk_at_a_release_keeps_the_old_file(tmp_path, tiny, made):
    """The draft of the new one is removed."""
    out = tmp_path / 'out.onnx'
    out.write_bytes(b'old')
    one_sentence(limited('release', tiny, f'--work={made}', f'--out={out}'), out, 'cannot be written', 'what was there before is whole')
    assert out.read_bytes() == b'old' and not list(tmp_path.rglob('.draft.*'))


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='this system has no /dev/full')
def test_a_full_disk_under_the_output_of_a_command():
    """As a shell makes it: `convert figures FILE > report.md`."""
    command = [sys.executable, '-m', 'convert', 'figures', 'builtin:default']
    with open('/dev/full', 'w') as full:
        done = subprocess.run(command, check=False, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    one_sentence(done, 'the output of the command', 'No space left on device', 'free some space')


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='this system has no /dev/full')
def test_a_log_that_cannot_be_written_ends_nothing(tmp_path):
    """The disk of the log is full: the line is lost, and the command does what it was asked for."""
    code = 'from convert import progress; progress.say("lost"); print("done")'
    with open('/dev/full', 'w') as full:
        done = subprocess.run([sys.executable, '-c', code], check=False, cwd=ROOT, stdout=subprocess.PIPE, stderr=full, text=True, timeout=60)
    assert done.stdout == 'done\n'


PLACES = {
    'work is a file': (['--work={0}/file'], '{0}/file: cannot be written: File exists: a file or a dangling link is where a folder is expected'),
    'work is below a file': (['--work={0}/file/work'], '{0}/file/work: cannot be written: Not a directory: a file is where a folder is expected'),
    'work is a dangling link': (['--work={0}/dangling'], '{0}/dangling: cannot be written: File exists: a file or a dangling link'),
    'out is a folder': (['--out={0}/folder'], '{0}/folder: is a folder, expected the name of a file to write'),
    'out is below a file': (['--out={0}/file/x.onnx'], '{0}/file: cannot be written: File exists: a file'),
    'out is below a dangling link': (['--out={0}/dangling/x.onnx'], '{0}/dangling: cannot be written: File exists: a file or a dangling link'),
    'data is not there': (['--data={0}/none'], '{0}/none: no such folder: expected labelled telemetry, DIR/SET/ENTITY.npz'),
    'data is a file': (['--data={0}/file'], '{0}/file: a file, not a folder: expected labelled telemetry'),
    'data is a dangling link': (['--data={0}/dangling'], '{0}/dangling: no such folder: expected labelled telemetry'),
    'data is empty': (['--data={0}/folder'], '{0}/folder: no set in it: expected labelled telemetry'),
    'data has an empty set': (['--data={0}'], '{0}/folder: no .npz file in it: expected labelled telemetry'),
    'the model in service is damaged': (['--service={0}/file'], '{0}/file: not an ONNX file, or a damaged one: '),
}  # fmt: skip


@pytest.mark.parametrize('name', PLACES)
def test_a_wrong_place_is_found_before_anything_takes_minutes(tmp_path, tiny, monkeypatch, capsys, name):
    """TensorFlow is not even asked for, and no work folder is begun elsewhere."""
    (tmp_path / 'file').write_text('a file, not a folder\n')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'dangling').symlink_to(tmp_path / 'gone')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('convert.__main__._need_tensorflow', lambda: pytest.fail('it went on to TensorFlow'))
    options, says = PLACES[name]
    assert main(['all', str(tiny), *(option.format(tmp_path) for option in options)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f'convert: {says.format(tmp_path)}') and error.count('\n') == 1


@pytest.mark.skipif(os.geteuid() == 0 and not os.path.isdir('/sys/kernel'), reason='the administrator may write everywhere, and there is no /sys')
def test_a_read_only_place(tmp_path, tiny, capsys):
    """A folder without permission; for the administrator, whom permissions do not hold, a file system that takes no files."""
    folder = tmp_path / 'shut'
    folder.mkdir(mode=0o500)
    shut = folder if os.geteuid() else '/sys/kernel'
    for option in (f'--work={shut}/work', f'--out={shut}/x.onnx'):
        assert main(['all', str(tiny), '--work', str(tmp_path / 'work'), option]) == 1
        assert 'cannot be written: ' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('command', 'option'), [('wrap', '--out={0}/file/x.onnx'), ('quantize', '--out={0}/file/x.onnx'), ('compare', '--html={0}/file/x.html')]
)
def test_the_other_commands_look_first_too(tmp_path, tiny, monkeypatch, capsys, command, option):
    """What they write at their end is tried at their beginning."""
    (tmp_path / 'file').write_text('')
    monkeypatch.setattr('convert.__main__._need_tensorflow', lambda: pytest.fail('it went on to TensorFlow'))
    arguments = {
        'wrap': ['wrap', str(tiny), '--feature', 'x: {mean: 0, std: 1}', '--step', '60s'], 'quantize': ['quantize', 'builtin:default', str(tiny)],
        'compare': ['compare', 'builtin:default', 'builtin:default'],
    }[command]  # fmt: skip
    if command == 'quantize':
        arguments[1] = str(session.resolve('builtin:default'))
    assert main([*arguments, option.format(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f'convert: {tmp_path}/file: cannot be written: ')


# -- labelled telemetry


def arrays(**changed):
    t = 1_700_000_000 + 60 * np.arange(50)
    return {'t': t, 'x': np.ones((50, 1)), 'y': np.zeros(50), 'split': 20, 'note': ''} | changed


DAMAGED = {
    'an array is missing': (arrays() | {'y': None}, "it has no array 'y"),
    'lengths differ': (arrays(y=np.zeros(49)), 'y [49]'),
    'one axis': (arrays(x=np.ones(50)), 'x [50]'),
    'nothing is tested': (arrays(split=50), 'split 50'),
    'time goes back': (arrays(t=np.r_[np.arange(49), 3]), 't is not in ascending order'),
    'objects': (arrays(note=np.array([{}])), 'cannot be read as labelled telemetry'),
}  # fmt: skip


@pytest.mark.parametrize('name', DAMAGED)
def test_damaged_labelled_telemetry_is_named(tmp_path, name):
    """The file, and what is wrong in it."""
    content, says = DAMAGED[name]
    (tmp_path / 'set').mkdir()
    np.savez(tmp_path / 'set/host.npz', **{key: value for key, value in content.items() if value is not None})
    with pytest.raises(labelled.LabelledError) as caught:
        places.labelled_sets(tmp_path)
    assert f'{tmp_path}/set/host.npz: ' in str(caught.value) and says in str(caught.value)


def test_files_beside_the_sets_are_no_sets(tmp_path):
    """A README or a hidden folder may lie beside them."""
    (tmp_path / 'set').mkdir()
    (tmp_path / '.git').mkdir()
    (tmp_path / 'README').write_text('what this is')
    np.savez(tmp_path / 'set/host.npz', **arrays())
    places.labelled_sets(tmp_path)
    assert labelled.sets(tmp_path) == [tmp_path / 'set']
    (tmp_path / 'set/cut.npz').write_bytes((tmp_path / 'set/host.npz').read_bytes()[:300])
    with pytest.raises(labelled.LabelledError, match=r'cut\.npz: cannot be read as labelled telemetry'):
        places.labelled_sets(tmp_path)


# -- two runs, and an end


HOLD = 'import sys; from convert import lock\nwith lock.held(sys.argv[1]):\n    print("held", flush=True); sys.stdin.read()'


def test_two_runs_in_a_work_folder_exclude_each_other(tmp_path, tiny, capsys):
    """The second is told which process works there; a lock ends with its process, also by kill −9."""
    work = tmp_path / 'work'
    with subprocess.Popen([sys.executable, '-c', HOLD, str(work)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == 'held\n'
        for command in ('train', 'all', 'fetch'):
            assert main([command, str(tiny), f'--work={work}']) == 1
            says = f'convert: {work}: another process is writing here (process {other.pid}): wait until it ends, or name another folder\n'
            assert capsys.readouterr().err == says
        other.kill()
    with lock.held(work):
        assert (work / '.lock').read_text() == f'{os.getpid()}\n'


def test_drafts_of_a_killed_run_are_removed(tmp_path, tiny, monkeypatch):
    """They take the room that the next run needs."""
    work = tmp_path / 'work'
    work.mkdir()
    (work / '.draft.weights.weights.h5').write_bytes(bytes(1000))

    class EnoughError(Exception):
        pass

    def enough():
        raise EnoughError

    monkeypatch.setattr('convert.__main__._need_tensorflow', enough)
    with pytest.raises(EnoughError):
        main(['train', str(tiny), f'--work={work}'])
    assert os.listdir(work) == ['.lock']


@pytest.mark.train
def test_sigterm_ends_a_training_as_ctrl_c_does(tmp_path):
    """One line, status 143, no draft: a CronJob that is stopped goes on the next time."""
    recipe = tmp_path / 'long.yml'
    recipe.write_text(GOOD.replace('epochs: 1', 'epochs: 3000'))
    with open(tmp_path / 'log', 'w') as log:
        child = subprocess.Popen([sys.executable, *TALKATIVE, 'train', recipe, f'--work={tmp_path}/work'], cwd=ROOT, stderr=log)
    wait_until(lambda: 'windows' in (tmp_path / 'log').read_text(), 120, 'a training that has begun')
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 143
    text = (tmp_path / 'log').read_text()
    assert text.endswith('\nconvert: stopped; the same command goes on\n') and 'Traceback' not in text
    assert os.listdir(tmp_path / 'work') == ['.lock']


@pytest.mark.train
def test_a_damaged_file_of_weights_says_which_stage_to_run(tmp_path, tiny):
    """Cut off, of another network, or in the layout of an older version."""
    import h5py

    from convert import weights
    from convert.families.registry import FAMILIES

    network = FAMILIES['forecaster'].network(64, (16, 8))
    path = tmp_path / 'weights.weights.h5'
    weights.save(network, path)
    again = FAMILIES['forecaster'].network(64, (16, 8))
    again.set_weights([array + 1 for array in again.get_weights()])
    weights.load(again, path)
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), network.get_weights(), strict=True))
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    one_sentence(convert_here('export', tiny, f'--work={tmp_path}'), path, 'run train again')
    with h5py.File(path, 'w') as file:
        file.create_group('layers')
    with pytest.raises(weights.WeightsError, match='run train again'):
        weights.load(again, path)
    path.write_bytes(whole)
    with pytest.raises(weights.WeightsError, match='run train again'):
        weights.load(FAMILIES['forecaster'].network(64, (32, 8)), path)


def test_a_folder_is_tried_with_a_file(tmp_path):
    """Nothing is left of the trial."""
    files.folder(tmp_path / 'a/b')
    assert os.listdir(tmp_path / 'a/b') == []
