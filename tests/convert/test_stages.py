"""From a recipe to a file that serves, in one command; and what the shipped file promises."""

import os

import numpy as np
import pytest
import servers
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import GOOD, convert, convert_here
from requirements import is_accept

from convert.evaluation import replay
from promlstm.engine import session

ROOT = str(servers.ROOT)
MODEL = session.resolve('builtin:default')


@pytest.mark.train
@pytest.mark.parametrize('family', ['forecaster', pytest.param('ensemble', marks=pytest.mark.accept)])  # whose graph takes four times as long to export
def test_all_makes_a_model_from_nothing(tmp_path, family):
    """Synthesis, training, export, verification, calibration, evaluation, release: a file that the exporter loads, and its card."""
    recipe, out = tmp_path / 'tiny.yml', tmp_path / 'out/tiny.onnx'
    recipe.write_text(GOOD.replace('seed: 3', f'family: {family}\nseed: 3'))
    done = convert_here('all', recipe, '--work', tmp_path / 'work', '--out', out, '--service', 'none')
    assert done.returncode == 0, done.stderr
    loaded = session.load(out)
    manifest = loaded.bundle.manifest
    assert (manifest.name, manifest.training.seed, loaded.bundle.calibration.status) == ('tiny', 3, 'measured')
    assert manifest.evaluation['injected_300s'].keys() >= {'spike_recall_at_1_per_week', 'spike_recall_at_1_per_week_without_lstm'}
    assert os.listdir(out.parent) == ['tiny.onnx']
    again = convert_here('release', recipe, '--work', tmp_path / 'work', '--out', tmp_path / 'again.onnx')
    assert again.returncode == 0 and session.load(tmp_path / 'again.onnx').bundle.calibration == loaded.bundle.calibration


@pytest.mark.train
def test_a_stage_says_which_comes_before_it(tmp_path):
    recipe = tmp_path / 'tiny.yml'
    recipe.write_text(GOOD)
    done = convert_here('verify', recipe, '--work', tmp_path)
    assert done.returncode == 1 and f'verify: {tmp_path}/weights.weights.h5 is not there yet: run the stages before this one first' in done.stderr


def test_a_bad_recipe_fails_in_one_line(tmp_path):
    """Before TensorFlow is even imported."""
    done = convert('train', tmp_path / 'none.yml')
    assert (done.returncode, done.stderr) == (1, f'convert: {tmp_path / "none.yml"}: cannot be read: No such file or directory\n')


@pytest.mark.train
def test_release_leaves_the_old_file_where_the_new_one_is_wrong(tmp_path):
    """A proof that does not hold: no file is touched."""
    import msgspec
    import onnx

    from convert import release
    from promlstm.engine import bundle
    from promlstm.errors import ProofError

    good = session.load(MODEL).bundle
    case, *others = good.proof.cases
    moved = bundle.Array.of(case.outputs['surprise'].numpy() + np.float32(1))
    case = msgspec.structs.replace(case, outputs=case.outputs | {'surprise': moved})
    wrong = msgspec.structs.replace(good.proof, cases=(case, *others))
    path = tmp_path / 'model.onnx'
    path.write_bytes(b'the old one')
    with pytest.raises(ProofError):
        release.release(onnx.load(MODEL), good.manifest, good.calibration, wrong, path)
    assert path.read_bytes() == b'the old one' and os.listdir(tmp_path) == ['model.onnx']


@pytest.fixture(scope='module')
def shipped():
    return session.load(MODEL, threads=2)


def telemetry(seed, steps=70, entities=6, features=2):
    rng = np.random.default_rng(seed)
    values = 10 ** rng.uniform(-3, 9, (1, entities, features)) * (3 + rng.normal(size=(steps, entities, features)))
    values[rng.random(values.shape) < 0.05] = np.nan
    return 1_700_000_000 + 60.0 * np.arange(steps), values


def test_the_shipped_model_is_small_and_calibrated_for_what_it_promises(shipped):
    """From 1/month to 1/day for every class at every step; under two megabytes; about a kilobyte an entity."""
    assert shipped.bundle.size_bytes < 2_000_000 and shipped.bundle.state_bytes(1) < 1400
    assert shipped.bundle.calibration.status == 'measured'
    for klass in range(5):
        for step_seconds in (1, 29, 30, 60, 300, 900, 3600, 86400):
            week, month = (shipped.bundle.calibration.threshold(a, step_seconds=step_seconds, klass=klass) for a in (1, 7 / 30))
            assert 0.8 < week < month < 8
    for low, high, budget in ((1.5, 2.3, 7.0), (2.0, 2.9, 1.0)):
        assert low < shipped.bundle.calibration.threshold(budget, step_seconds=60) < high


@pytest.mark.slow
@settings(max_examples=10 if is_accept() else 5, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 100))
def test_order_and_number_of_entities_do_not_matter(shipped, order, seed):
    """Bit for bit."""
    times, values = telemetry(seed)
    whole = replay.surprises(shipped, times, values, step_seconds=60)
    assert np.array_equal(replay.surprises(shipped, times, values[:, order], step_seconds=60), whole[:, order], equal_nan=True)
    alone = replay.surprises(shipped, times, values[:, order[:1]], step_seconds=60)
    assert np.array_equal(alone, whole[:, order[:1]], equal_nan=True)


@pytest.mark.slow
@settings(max_examples=10 if is_accept() else 5, deadline=None)
@given(st.integers(45, 69), st.integers(0, 100))
def test_the_future_cannot_change_the_past(shipped, at, seed):
    """Judge first, then learn: verdicts before a sample are the same whatever it is, and the verdict on it does not contain it."""
    times, values = telemetry(seed)
    other = values.copy()
    other[at:] = -1e6
    a, b = (replay.surprises(shipped, times, x, step_seconds=60) for x in (values, other))
    assert np.array_equal(a[:at], b[:at], equal_nan=True)


def test_an_unmistakable_fault_is_found_and_its_culprit_named(shipped):
    times, values = telemetry(3, steps=200)
    values = np.nan_to_num(values, nan=float(np.nanmean(values)))
    values[:, 0] = 10 + np.random.default_rng(0).normal(size=(200, 2))
    values[150:, 0, 1] = 100
    scores, shares = replay.surprises(shipped, times, values, step_seconds=60, contributions=True)
    threshold = shipped.bundle.calibration.threshold(1.0, step_seconds=60, klass=1)
    assert scores[150, 0] >= threshold and shares[150, 0, 1] > 0.7


def test_the_documents_figures_are_the_files(shipped):
    """docs/explanation/accuracy.md holds the very tables that the file gives; after a release print them again (the command is given there)."""
    from convert.evaluation import figures

    with open(os.path.join(ROOT, 'docs/explanation/accuracy.md'), encoding='utf-8') as file:
        assert figures.markdown(shipped.bundle) in file.read()


@pytest.mark.train
@pytest.mark.parametrize(
    ('named', 'message'),
    [
        ('nope.onnx', 'convert: --service nope.onnx: no such file'),
        ('builtin:nope', 'convert: builtin:nope: no such model comes with promlstm; there is builtin:default, builtin:forecast, builtin:forecaster'),
    ],
)
def test_a_model_in_service_that_is_not_there_is_an_error(tmp_path, named, message):
    """A mistake in its name must not disable the gate."""
    recipe = tmp_path / 'tiny.yml'
    recipe.write_text(GOOD)
    done = convert_here('all', recipe, '--work', tmp_path, '--service', named)
    assert done.returncode == 1 and message in done.stderr.splitlines()
    assert not (tmp_path / 'weights.weights.h5').exists()


@pytest.mark.train
def test_which_model_is_in_service(tmp_path):
    """The one that was named; else the file that is to be replaced; else the default model."""
    from convert import stages

    job = lambda service=None: stages.Job(tmp_path / 'r.yml', None, tmp_path, tmp_path / 'own.onnx', None, print, service)  # noqa: E731
    assert job().in_service == MODEL and job('none').in_service is None and job('other.onnx').in_service.name == 'other.onnx'
    (tmp_path / 'own.onnx').write_bytes(b'')
    assert job().in_service == tmp_path / 'own.onnx'


@pytest.mark.train
def test_a_file_of_another_version_is_reported(tmp_path):
    """A report that an older version wrote has other keys: which stage to run again, not a traceback."""
    from recipes import job

    from convert import stages

    made = job(tmp_path)
    for name in stages.STAGES['release'].needs:
        (made.work / name).write_text('{}')
    (made.work / 'report.json').write_text('{"verdicts": [{"trial": "injected_60s"}]}')
    with pytest.raises(stages.StageMissing, match=r'report\.json: .*benchmark_set.*: run the stage that made it again'):
        stages.run(made, ('release',))
