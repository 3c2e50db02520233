"""A model file that is replaced is loaded at the next step, or refused while the old model is kept."""

import os

import greedy_model
import pytest
import tiny_model
from running import running
from servers import wait_until

from promlstm.engine.session import load, resolve


@pytest.fixture
def path(tmp_path):
    return tiny_model.write(tmp_path / 'model.onnx', manifest={'name': 'first'})


def replace(path, data):
    """As a release does it: written beside the file, then moved."""
    draft = path.with_name('draft')
    draft.write_bytes(data)
    os.replace(draft, path)


def wait_for_steps(subject, name='a', times=3):
    """Wait until a detector has published more steps."""
    seen = len(subject.watched)
    wait_until(lambda: sum(each == name for each, _ in subject.watched[seen:]) >= times, 60, f'{times} steps of {name}')


def info(subject, detector='a'):
    """The models that the metrics name for a detector: [(name, sha256)]."""
    (family,) = [family for family in subject.telemetry.registry.collect() if family.name == 'promlstm_model_info']
    return [(s.labels['model'], s.labels['sha256']) for s in family.samples if s.labels['detector'] == detector]


def test_a_new_model_is_used_at_the_next_step_and_memory_is_kept(path):
    """Its hash is reported, no entity warms up again, no step is skipped, the other detector is not affected."""
    with running(a={'model': str(path)}) as subject:
        wait_for_steps(subject)
        before = subject.scheduler.runners[0]._detector
        assert subject.metric('promlstm_model_reload_successful', detector='a') == 1
        replace(path, tiny_model.build(manifest={'name': 'second'}))
        wait_until(lambda: info(subject) == [('second', load(path).bundle.sha256)], 20, 'the new model')
        wait_for_steps(subject)
        assert subject.metric('promlstm_detector_entities', detector='a', state='ready') == 3
        wait_until(lambda: [name for name, _ in info(subject, 'b')] == ['forecaster'], 60, 'the other detector, whose model has a longer proof')
    after = subject.scheduler.runners[0]._detector
    learnt = after.memory.state['state_samples'] - before.memory.state['state_samples']
    assert after is not before and (learnt == (after.time - before.time) / 60).all()


def test_a_model_with_other_memory_starts_from_history(path):
    """A graph never gets the memory of a different graph."""
    with running(a={'model': str(path)}) as subject:
        wait_for_steps(subject)
        subject.source.asked.clear()
        replace(path, resolve('builtin:forecaster').read_bytes())
        wait_until(lambda: info(subject)[0][0] == 'forecaster', 20, 'the new model')
        wait_for_steps(subject)
        wait_until(lambda: subject.on_page('a'), 20, 'a on the page')
        assert subject.source.asked


@pytest.mark.parametrize(
    'bad',
    [
        b'half a file',
        tiny_model.build()[:-100],
        tiny_model.build(proof=tiny_model.proven(outputs={'surprise': tiny_model.samples()['learn'] * 7})),
        tiny_model.build(features=('cpu', 'memory')),
        tiny_model.build(calibration=tiny_model.bundle.Calibration(status='none')),
        greedy_model.large(),
    ],
    ids=['no model', 'truncated', 'proof fails', 'other features', 'not calibrated', 'takes all memory'],
)
def test_a_bad_file_is_refused_once_and_the_old_model_is_kept(path, bad):
    """It is reported, counted once however many steps pass, and over as soon as the file is a good one again."""
    good = path.read_bytes()
    with running(a={'model': str(path)}) as subject:
        wait_for_steps(subject)
        replace(path, bad)
        wait_until(lambda: subject.metric('promlstm_model_reload_successful', detector='a') == 0, 20, 'the refusal')
        wait_for_steps(subject, times=5)
        assert subject.metric('promlstm_model_reload_failures_total', detector='a') == 1
        wait_until(lambda: subject.on_page('a'), 20, 'a on the page')
        assert info(subject)[0][0] == 'first' and subject.metric('promlstm_detector_up', detector='a') == 1
        replace(path, good)
        wait_until(lambda: subject.metric('promlstm_model_reload_successful', detector='a') == 1, 20, 'the good file')


def test_a_file_that_goes_away_stops_nothing(path):
    with running(a={'model': str(path)}) as subject:
        wait_for_steps(subject)
        path.unlink()
        wait_until(lambda: subject.metric('promlstm_model_reload_failures_total', detector='a') == 1, 20, 'the refusal')
        wait_for_steps(subject)
        wait_until(lambda: subject.on_page('a'), 20, 'a on the page')


def test_two_detectors_of_one_file_share_the_new_one(path):
    """It is loaded once."""
    with running(a={'model': str(path)}, b={'model': str(path)}) as subject:
        wait_for_steps(subject), wait_for_steps(subject, 'b')
        replace(path, tiny_model.build(manifest={'name': 'second'}))
        wait_until(lambda: info(subject)[0][0] == info(subject, 'b')[0][0] == 'second', 20, 'both')
        assert len({id(runner._detector.session) for runner in subject.scheduler.runners}) == 1


def test_a_file_that_is_only_touched_changes_nothing(path):
    with running(a={'model': str(path)}) as subject:
        wait_for_steps(subject)
        before = subject.scheduler.runners[0]._detector
        os.utime(path)
        wait_for_steps(subject)
        assert subject.scheduler.runners[0]._detector is before


def test_a_pinned_model_is_not_replaced(path):
    """`sha256:` in the configuration means this file and no other."""
    with running(a={'model': str(path), 'sha256': load(path).bundle.sha256}) as subject:
        wait_for_steps(subject)
        replace(path, tiny_model.build(manifest={'name': 'second'}))
        wait_until(lambda: subject.metric('promlstm_model_reload_failures_total', detector='a') == 1, 20, 'the refusal')
        assert info(subject)[0][0] == 'first'


def test_a_file_that_does_not_fit_into_memory_is_refused_and_the_old_model_is_kept(path):
    """However large it is: a sparse file of four terabytes."""
    good = path.read_bytes()
    with running(a={'model': str(path)}) as subject:
        wait_for_steps(subject)
        draft = path.with_name('draft')
        with draft.open('wb') as file:
            file.truncate(2**42)
        os.replace(draft, path)
        wait_until(lambda: subject.metric('promlstm_model_reload_successful', detector='a') == 0, 20, 'the refusal')
        wait_for_steps(subject)
        wait_until(lambda: subject.on_page('a'), 20, 'a on the page')
        assert info(subject)[0][0] == 'first' and subject.metric('promlstm_detector_up', detector='a') == 1
        replace(path, good)
        wait_until(lambda: subject.metric('promlstm_model_reload_successful', detector='a') == 1, 20, 'the good file')
