"""The first load of a model file in a process of its own: whatever the file does there, this process says why it is refused, and goes on."""

import os
import signal
import subprocess
import sys
import threading

import greedy_model
import pytest
import tiny_model
from servers import ROOT, wait_until

from promlstm.engine import session, trial
from promlstm.engine.trial import Trials
from promlstm.errors import BundleError, BundleFormatError, ProofError

LIMIT_SECONDS = 60


@pytest.fixture
def path(tmp_path):
    return tiny_model.write(tmp_path / 'x.onnx')


def refused(path, trials, error=BundleFormatError):
    with pytest.raises(BundleError) as caught:
        session.load(path, trial=trials)
    assert type(caught.value) is error
    return str(caught.value).removeprefix(f'{path}: ')


def written(folder, data):
    (folder / 'x.onnx').write_bytes(data)
    return folder / 'x.onnx'


def program(folder, text):
    """A program in the place of Python: what a process may do that was taken over."""
    file = folder / 'python'
    file.write_text(f'#!/bin/sh\n{text}\n')
    file.chmod(0o755)
    return str(file)


NO_PROCESS = 'no process can be started to try it: No such file or directory'


@pytest.fixture
def no_process(monkeypatch):
    """From now on no process can be started, so whatever works needed none."""
    return lambda: monkeypatch.setattr('sys.executable', '/nowhere/python')


def test_a_good_model_is_tried_once(path, no_process):
    """Its proof has held then; the same bytes again, under any name, cost nothing."""
    trials = Trials()
    assert session.load(path, trial=trials).bundle.manifest.name == 'tiny'
    no_process()
    (path.parent / 'again.onnx').write_bytes(path.read_bytes())
    session.load(path.parent / 'again.onnx', trial=trials)
    assert refused(tiny_model.write(path, manifest={'name': 'other'}), trials, BundleError) == NO_PROCESS


def test_where_no_process_can_be_started_a_model_is_not_loaded(path, no_process, monkeypatch):
    """It is no fault of the file, so it is tried as soon as processes can be had again."""
    trials = Trials()
    with monkeypatch.context() as context:
        context.setattr('sys.executable', '/nowhere/python')
        assert refused(path, trials, BundleError) == NO_PROCESS
    session.load(path, trial=trials)


def test_a_shipped_model_is_not_tried(tmp_path, no_process):
    """It is known by its digest, wherever a copy of it lies."""
    no_process()
    copy = tmp_path / 'copy.onnx'
    copy.write_bytes(session.resolve('builtin:forecaster').read_bytes())
    for each in (copy, session.resolve('builtin:default')):
        session.load(each, prove=False, trial=Trials())


def test_a_model_that_takes_all_memory(tmp_path):
    """8 GiB out of a small file: the limit is met in the process that tries it."""
    says = refused(written(tmp_path, greedy_model.large()), Trials())
    assert says.startswith('refused: the process that tried it ran out of memory; it had 256 MiB and 30 s: ')


def test_a_model_that_does_not_end(tmp_path):
    """Hours of arithmetic, without any loop."""
    assert refused(written(tmp_path, greedy_model.endless()), Trials(seconds=2)) == 'refused: the process that tried it did not end within 2 s'


@pytest.mark.parametrize(('does', 'says'), [
    ('kill -SEGV $$', 'refused: the process that tried it ended with SIGSEGV; it had 256 MiB and 30 s'),
    ('kill -ABRT $$', 'refused: the process that tried it ended with SIGABRT; it had 256 MiB and 30 s'),
    ('exit 3', 'refused: the process that tried it ended with status 3; it had 256 MiB and 30 s'),
    ('exec yes', 'refused: the process that tried it ended with SIGKILL; it had 256 MiB and 30 s'),
    ("cat > /dev/null; echo '{'", 'refused: the process that tried it ended with status 0; it had 256 MiB and 30 s'),
    ("""cat > /dev/null; echo '{"kind": "SystemExit", "why": "it says so"}'""", 'it says so'),
])  # fmt: skip
def test_a_process_that_crashes_or_says_nonsense(path, tmp_path, monkeypatch, does, says):
    """Before it has read the file or after; it cannot make this process hold what it says, or do anything but refuse."""
    monkeypatch.setattr('sys.executable', program(tmp_path, does))
    assert refused(path, Trials()) == says


def test_a_proof_that_fails_there_is_told_as_here(tmp_path):
    """The message is the one of a load without a trial."""
    surprise = next(iter(tiny_model.proven().cases)).outputs['surprise'].numpy()
    surprise[9, 2] += 1
    path = tiny_model.write(tmp_path / 'x.onnx', proof=tiny_model.proven(outputs={'surprise': surprise}))
    with pytest.raises(ProofError) as here:
        session.load(path)
    with pytest.raises(ProofError) as there:
        session.load(path, trial=Trials())
    assert str(there.value) == str(here.value)


def test_a_refused_file_is_not_tried_again_and_again(tmp_path, no_process):
    """Nor does it cost a process each time that it is looked at; after a while it is, for memory may be back."""
    seconds = [0.0]
    trials, path = Trials(now=lambda: seconds[0]), written(tmp_path, greedy_model.large())
    says = refused(path, trials)
    no_process()
    assert refused(path, trials) == says
    seconds[0] = trial.AGAIN_SECONDS
    assert refused(path, trials, BundleError) == NO_PROCESS


def test_what_is_being_tried_ends_with_the_exporter(tmp_path):
    """At once, and nothing is tried any more."""
    trials, path, says = Trials(seconds=LIMIT_SECONDS), written(tmp_path, greedy_model.endless()), []
    thread = threading.Thread(target=lambda: says.append(refused(path, trials, BundleError)))
    thread.start()
    wait_until(lambda: trials._running, LIMIT_SECONDS, 'the process')
    (child,) = trials._running
    assert os.getsid(child.pid) != os.getsid(0)  # Ctrl-C at the terminal does not reach it
    trials.stop()
    thread.join(LIMIT_SECONDS)
    assert says == ['not tried to the end, because promlstm is stopping'] and child.returncode == -signal.SIGKILL
    assert refused(path, trials, BundleError) == 'not tried, because promlstm is stopping'


def test_the_folder_that_it_runs_in_has_no_say(path, tmp_path, monkeypatch):
    """What lies there is not imported."""
    (tmp_path / 'msgspec.py').write_text('raise SystemExit(7)')
    monkeypatch.chdir(tmp_path)
    session.load(path, trial=Trials())


def test_limits_of_the_process(tmp_path):
    """It may write no file and leaves no core; its memory is what it has and what it is given."""
    code = (
        'import resource as r; from promlstm.engine import trial; trial.limit(100 << 20, 7); '
        'print(*(r.getrlimit(each)[0] for each in (r.RLIMIT_FSIZE, r.RLIMIT_CORE, r.RLIMIT_CPU))); bytearray(90 << 20); bytearray(110 << 20)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout == '0 0 7\n' and done.stderr.endswith('MemoryError\n')


@pytest.mark.parametrize(('size', 'limit', 'share'), [
    (0, None, trial.MEMORY_BYTES),
    (10_000_000, None, trial.MEMORY_BYTES + 80_000_000),
    (0, 1 << 40, trial.MEMORY_BYTES),
    (0, 1 << 20, trial.LEAST_MEMORY_BYTES),
])  # fmt: skip
def test_memory_of_a_trial(size, limit, share):
    """More for a larger file, and no more than the control group leaves."""
    assert trial.memory_bytes(size, limit) == share


def test_a_small_control_group_leaves_less():
    """What this process has and what the other one has before it begins are not given away twice."""
    limit = trial.resident_bytes() + trial.INTERPRETER_BYTES + (100 << 20)
    assert abs(trial.memory_bytes(0, limit) - (100 << 20)) < 20 << 20
