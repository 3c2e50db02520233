"""A session: which files are rejected at load and why, and that the results of a row do not depend on other rows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest
import servers
import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from promlstm.engine import bundle, session
from promlstm.errors import BundleFormatError, ProofError

HERE = f'this machine or ONNX Runtime {onnxruntime.__version__} computes other numbers than the model was made with; it is not served'
DEFAULT = session.resolve('builtin:default')


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp('model') / 'tiny.onnx', views=('above', 'below'), classes=True)


# -- at load


def refused(error, path, **options):
    with pytest.raises(error) as caught:
        session.load(path, **options)
    assert type(caught.value) is error
    return str(caught.value).removeprefix(f'{path}: ')


def test_a_missing_file(tmp_path):
    """The message has the reason of the operating system."""
    assert refused(BundleFormatError, tmp_path / 'none.onnx') == 'cannot be read: No such file or directory'


def test_a_folder_is_not_a_model(tmp_path):
    """The message has the reason of the operating system."""
    assert refused(BundleFormatError, tmp_path) == 'not a regular file'


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no named pipes')
def test_a_pipe_is_not_a_model(tmp_path):
    """Nobody writes to it, so whoever opened it would wait for ever."""
    os.mkfifo(tmp_path / 'pipe.onnx')
    assert refused(BundleFormatError, tmp_path / 'pipe.onnx') == 'not a regular file'


@pytest.mark.parametrize('cut', [0.05, 0.3, 0.6, 0.99])
def test_a_truncated_file(tmp_path, model, cut):
    """A file that ends too early is rejected, wherever it ends."""
    data = model.read_bytes()
    (tmp_path / 'cut.onnx').write_bytes(data[: int(len(data) * cut)])
    assert refused(BundleFormatError, tmp_path / 'cut.onnx').startswith('not an ONNX file, or a damaged one: it ends within a field, after ')


@pytest.mark.parametrize('data', [b'', b'\x00', b'<!doctype html>', b'PK\x03\x04' + bytes(100), np.random.default_rng(1).bytes(5000)])
def test_a_file_that_is_not_onnx(tmp_path, data):
    """An empty file, a web page, a Keras archive or noise is rejected with the reason."""
    (tmp_path / 'x.onnx').write_bytes(data)
    message = refused(BundleFormatError, tmp_path / 'x.onnx')
    assert message.startswith(('not an ONNX file, or a damaged one: ', 'no promlstm.manifest in the file: '))


def test_a_plain_onnx_file_is_rejected(tmp_path):
    """The message names the command that makes a model file of it."""
    path = tiny_model.write(tmp_path / 'bare.onnx', edit=lambda metadata: {})
    assert refused(BundleFormatError, path) == (
        'no promlstm.manifest in the file: not made by `python -m convert` (`python -m convert wrap` wraps a plain ONNX file)'
    )


def test_a_graph_that_cannot_be_run(tmp_path):
    """A whole file whose graph ONNX Runtime refuses: the message has its version and its reason."""
    path = tiny_model.write(tmp_path / 'x.onnx', without=['expected'], extra=[('output', bundle.Tensor('wind', 'int64', ('N',)))])
    message = refused(BundleFormatError, path)
    assert message.startswith(f'not an ONNX file that this ONNX Runtime ({onnxruntime.__version__}) can run: ')


def test_the_pinned_digest(model):
    """A file with another digest is rejected, and the message has both; upper and lower case are equal."""
    found = bundle.digest(model.read_bytes())
    assert session.load(model, sha256=found.upper()).bundle.sha256 == found
    assert refused(BundleFormatError, model, sha256='0' * 64) == (
        f'sha256 is {found}, the configuration pins {"0" * 64}: this is another file'
    )


BROKEN = {
    'single precision': ({'retype': {'value': 'float32'}}, "graph: input value is float32 ['N', 'F'], expected float64 ['N', 'F']"),
    'double surprise': ({'retype': {'surprise': 'float64'}}, "graph: output surprise is float64 ['N'], expected float32 ['N']"),
    'another axis': (
        {'reshape': {'expected': ('N', 'G')}},
        "graph: output expected is float64 ['N', 'G'], expected float64 ['N', 'F']",
    ),
    'features fixed in the manifest alone': (
        {'manifest': {'features': ('a', 'b')}},
        "graph: input value is float64 ['N', 'F'], expected float64 ['N', 2]",
    ),
    'no band': ({'without': ['lower']}, "graph: output 'lower' is missing"),
    'no state after the step': (
        {'without': ['state_mean_next']},
        "graph: every state_NAME needs a state_NAME_next and vice versa; without counterpart: ['state_mean_next']",
    ),
    'an unknown input': (
        {'extra': [('input', bundle.Tensor('wind', 'float32', ('N',)))]},
        "graph: unknown input 'wind'; known: value, season, table, local_seconds, clock, step_seconds, learn, threshold, state_NAME",
    ),
    'an unknown output': (
        {'extra': [('output', bundle.Tensor('mood', 'float32', ('N',)))]},
        "graph: unknown output 'mood'; known: surprise, expected, lower, upper, usual_lower, usual_upper, deviation, contribution, "
        'season_next, table_next, view, recurring, class, forecast, state_NAME',
    ),
    'a later format': ({'manifest': {'format': 3}}, 'format 3, expected 1 or 2: made for another version of promlstm'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_the_graph_is_checked_against_the_contract(tmp_path, name):
    """Types, axes and names come from the file itself, through ONNX Runtime."""
    options, says = BROKEN[name]
    assert refused(BundleFormatError, tiny_model.write(tmp_path / 'x.onnx', **options)) == says


@pytest.mark.parametrize(
    'options',
    [{}, {'features': ('cpu',)}, {'features': ('cpu', 'memory', 'disk')}, {'views': ('a', 'b')}, {'classes': True}],
    ids=str,
)
def test_every_kind_of_valid_file_loads(tmp_path, options):
    """Any number of features or a fixed one, with the optional outputs or without."""
    loaded = session.load(tiny_model.write(tmp_path / 'x.onnx', **options))
    assert loaded.bundle.manifest.features == options.get('features')
    assert ('view' in loaded.bundle.outputs, 'class' in loaded.bundle.outputs) == ('views' in options, 'classes' in options)


# -- the proof


def outputs():
    (case,) = tiny_model.proven().cases
    return case.outputs


def wrong(name, *where, by=1.0):
    array = outputs()[name].numpy()
    array[where] += by
    return tiny_model.proven(outputs={name: array})


def test_a_machine_that_computes_other_numbers_does_not_serve(tmp_path):
    """If the proof fails, the message has the first output, step and entity that differ, both numbers and the tolerance."""
    path = tiny_model.write(tmp_path / 'x.onnx', proof=wrong('expected', 6, 2, 1))
    got = outputs()['expected'].numpy()[6, 2, 1]
    assert refused(ProofError, path) == (
        f'the proof at steps of 60 s fails: expected at step 6, entity 2: got {got:.9g}, expected {got + 1:.9g} '
        f'(relative tolerance 1e-06, absolute 1e-09): {HERE}'
    )


def test_nan_in_the_proof_equals_only_nan(tmp_path):
    """A number in its place fails the proof."""
    array = outputs()['surprise'].numpy()
    array[9, 2] = np.nan
    path = tiny_model.write(tmp_path / 'x.onnx', proof=tiny_model.proven(outputs={'surprise': array}))
    assert refused(ProofError, path).startswith('the proof at steps of 60 s fails: surprise at step 9, entity 2: got 19.4683895, expected nan (')


def test_the_tolerance_is_that_of_the_file(tmp_path):
    """A difference within the tolerance of the proof passes."""
    lax = msgspec.structs.replace(wrong('expected', 6, 2, 1, by=1e-3), absolute_tolerance=1e-2)
    assert session.load(tiny_model.write(tmp_path / 'x.onnx', proof=lax)).bundle.proof.absolute_tolerance == 1e-2


def test_a_proof_must_contain_missing_samples(tmp_path):
    """Runtimes differ in how they treat them."""
    values = np.nan_to_num(tiny_model.samples()['value'], nan=10.0)
    path = tiny_model.write(tmp_path / 'x.onnx', proof=tiny_model.proven(inputs={'value': values}))
    assert refused(ProofError, path) == 'the proof has no missing sample, so it does not verify what the model does with one'


def test_a_proof_must_contain_every_output(tmp_path):
    """An output without proof would not be verified."""
    path = tiny_model.write(tmp_path / 'x.onnx', proof=tiny_model.proven(outputs={'upper': None}))
    assert refused(ProofError, path) == 'the proof has no output upper'


def test_the_proof_can_be_skipped(tmp_path):
    """With prove=False a file with a wrong proof loads: convert needs that to measure how wrong it is."""
    path = tiny_model.write(tmp_path / 'x.onnx', proof=wrong('expected', 6, 2, 1))
    loaded = session.load(path, prove=False)
    with pytest.raises(ProofError, match=re.escape('expected at step 6, entity 2')):
        loaded.prove()


# -- rows

FEATURES = 2


def inputs(rows, features, manifest, seed=0):
    """Something of everything: levels of a millionth and a terabyte, missing samples, seasons not known, entities that do not learn."""
    random, horizons = np.random.default_rng(seed), len(manifest.season_horizons_steps)
    tables = [random.integers(0, 2**table.bits, (rows, features, len(table.reads))) for table in manifest.tables]
    level = 10.0 ** random.integers(-6, 13, (rows, features))
    value = level * (1 + 0.1 * random.standard_normal((rows, features)))
    value[random.random(value.shape) < 0.1] = np.nan
    season = (level * (1 + 0.1 * random.standard_normal((rows, features))))[..., None] * np.ones(1 + horizons)
    season[random.random(season.shape) < 0.3] = np.nan
    return {
        'table': np.concatenate([np.empty((rows, features, 0)), *tables], 2), 'local_seconds': np.full(rows, 1.76e9 + 60 * seed),
        'value': value, 'season': season, 'clock': np.tile(np.float32([0, 1, 0, 1]), (rows, 1)), 'step_seconds': np.float32(60),
        'learn': (random.random(rows) < 0.9).astype(np.float32), 'threshold': np.full(rows, 2.4, np.float32),
    }  # fmt: skip


def taken(arrays, rows):
    return {name: array[rows] if np.ndim(array) else array for name, array in arrays.items()}


def bits(arrays):
    return {name: array.tobytes() for name, array in arrays.items()}


class Experience:
    """A loaded model with entities that have lived through a while, and one more step of theirs."""

    def __init__(self, path, rows=64, steps=45):
        self.rows, self.path = rows, path
        self.session = session.load(path, threads=1)
        manifest = self.session.bundle.manifest
        self.state = self.session.blank(rows, FEATURES)
        for seed in range(steps):
            _, self.state = self.session.run(inputs(rows, FEATURES, manifest, seed), self.state)
        self.inputs = inputs(rows, FEATURES, manifest, seed=steps)
        self.out, self.after = self.session.run(self.inputs, self.state)
        assert np.isfinite(self.out['surprise']).any()


@pytest.fixture(scope='module', params=['tiny', 'default', 'forecaster'])
def lived(request, model):
    return Experience(model if request.param == 'tiny' else session.resolve(f'builtin:{request.param}'))


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_rows_do_not_depend_on_order_and_on_other_rows(lived, data):
    """Any selection of rows, in any order, gives the same bits as a run of all rows."""
    rows = np.array(data.draw(st.lists(st.integers(0, lived.rows - 1), min_size=1, max_size=lived.rows, unique=True)))
    out, after = lived.session.run(taken(lived.inputs, rows), taken(lived.state, rows))
    assert bits(out) == bits(taken(lived.out, rows))
    assert bits(after) == bits(taken(lived.after, rows))


@pytest.mark.parametrize('name', ['default', 'forecaster'])
def test_rows_of_one_feature_do_not_depend_on_how_many_there_are(name):
    """From the first step on: matrix products take four rows at a time, and the ones that are left over must not be others."""
    subject = session.load(session.resolve(f'builtin:{name}'), threads=1, prove=False)
    given = [inputs(16, 1, subject.bundle.manifest, seed) for seed in range(6)]
    states = [subject.blank(16, 1)]
    for each in given:
        states.append(subject.run(each, states[-1])[1])
    for rows in (np.arange(count) for count in range(1, 16)):
        for each, state, after in zip(given, states, states[1:], strict=False):
            assert bits(subject.run(taken(each, rows), taken(state, rows))[1]) == bits(taken(after, rows)), len(rows)


@given(chunk=st.integers(1, 140), threads=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_rows_do_not_depend_on_chunks_and_threads(lived, chunk, threads):
    """However the rows are split and shared among threads, the results are the same bits."""
    other = session.load(lived.path, threads=threads, prove=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, 'CHUNK', chunk)
        out, after = other.run(lived.inputs, lived.state)
    assert (bits(out), bits(after)) == (bits(lived.out), bits(lived.after))


def test_default_chunks_in_several_threads(lived):
    """With chunks of the default size, the last one not full, the results are the same bits."""
    rows = np.arange(2 * session.CHUNK + 1) % lived.rows
    out, after = session.load(lived.path, threads=3, prove=False).run(taken(lived.inputs, rows), taken(lived.state, rows))
    assert (bits(out), bits(after)) == (bits(taken(lived.out, rows)), bits(taken(lived.after, rows)))


@pytest.mark.parametrize('rows', [1, 2, 5])
def test_the_arguments_are_not_changed(lived, rows):
    """Inputs and states belong to the caller: a step that fails later can be repeated."""
    given, state = taken(lived.inputs, np.arange(rows)), taken(lived.state, np.arange(rows))
    before = bits(given), bits(state)
    for array in (*given.values(), *state.values()):
        np.asarray(array).flags.writeable = False
    lived.session.run(given, state)
    assert (bits(given), bits(state)) == before


def test_the_state_after_shares_no_memory_with_the_state_before(lived):
    """Old and new states must exist side by side until the commit."""
    assert not any(np.shares_memory(lived.after[name], lived.state[name]) for name in lived.state)


def test_a_step_without_entities(lived):
    """It gives columns without rows."""
    none = np.arange(0)
    out, after = lived.session.run(taken(lived.inputs, none), taken(lived.state, none))
    assert {len(array) for array in (*out.values(), *after.values())} == {0}


def test_a_missing_input_is_named(lived):
    left = {name: array for name, array in lived.inputs.items() if name != 'season'}
    with pytest.raises(ValueError, match='the graph needs season as well'):
        lived.session.run(left, lived.state)


def test_arrays_in_any_layout(lived):
    """Views, other dtypes and other memory orders give the same results."""
    odd = {name: np.asfortranarray(array.astype(np.float64)) if np.ndim(array) else float(array) for name, array in lived.inputs.items()}
    state = {name: np.repeat(array, 2, axis=0)[::2] for name, array in lived.state.items()}
    out, after = lived.session.run(odd, state)
    assert (bits(out), bits(after)) == (bits(lived.out), bits(lived.after))


def test_the_graph_agrees_with_a_reference_in_numpy(model):
    """Over many carried steps, ONNX Runtime gives the same as a few lines of numpy for the tiny model."""
    loaded, random = session.load(model), np.random.default_rng(7)
    values = 900 + 60 * random.standard_normal((60, 5, 3))
    values[random.random(values.shape) < 0.2] = np.nan
    learn = (random.random((60, 5)) < 0.8).astype(np.float32)
    threshold = random.uniform(1, 3, (60, 5)).astype(np.float32)
    expected = tiny_model.reference(values, learn, threshold, views=('above', 'below'), classes=True)
    state = loaded.blank(5, 3)
    for t in range(60):
        given = {'value': values[t], 'learn': learn[t], 'threshold': threshold[t], 'season': np.full((5, 3, 2), np.nan)}
        out, state = loaded.run(given | {'clock': np.zeros((5, 4)), 'step_seconds': 60}, state)
        for name, wanted in expected.items():
            np.testing.assert_allclose(out[name], wanted[t], rtol=1e-6, atol=1e-9, err_msg=f'{name} at step {t}')


# In a process of its own, whose memory nothing else moves. 2 000 rows first, so that buffers have their size.
SIZES = """
import os
import numpy as np
from promlstm.engine import session

def resident():
    return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6

subject = session.load(session.resolve('builtin:default'), threads=1)
manifest = subject.bundle.manifest
horizons, slots = len(manifest.season_horizons_steps), sum(len(table.reads) for table in manifest.tables)

def step(rows):
    inputs = {'value': np.ones((rows, 1)), 'season': np.zeros((rows, 1, horizons + 1)), 'table': np.zeros((rows, 1, slots)), 'step_seconds': 60}
    inputs |= {'clock': np.zeros((rows, 4)), 'local_seconds': np.zeros(rows)}
    subject.run(inputs | {'learn': np.ones(rows), 'threshold': np.ones(rows)}, subject.blank(rows, 1))

for rows in (2000,) * 20:
    step(rows)
before = resident()
for rows in range(1000, 1500):
    step(rows)
print(resident() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='resident memory is read from /proc')
def test_changing_fleet_sizes_take_no_more_memory():
    """500 numbers of entities, as autoscaling causes them, take under 12 MB more; with a memory plan for each size it would be 25 MB and more."""
    done = subprocess.run([sys.executable, '-c', SIZES], check=True, capture_output=True, text=True, cwd=servers.ROOT, timeout=300)
    assert float(done.stdout) < 12


@pytest.mark.parametrize(('system', 'cores'), [('Linux', 3), ('macOS', 5)])
def test_as_many_threads_as_cores(model, monkeypatch, system, cores):
    """Cores that this process may not use do not count, where the operating system can tell."""
    monkeypatch.setattr(os, 'cpu_count', lambda: 5)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1, 2}, raising=False)
    if system == 'macOS':
        monkeypatch.delattr(os, 'sched_getaffinity')
    assert session.load(model, prove=False).threads == cores


# -- which file


def test_an_unknown_builtin_model():
    """The message lists those that exist."""
    known = 'builtin:default, builtin:forecast, builtin:forecaster'
    with pytest.raises(BundleFormatError, match=f'builtin:defualt: no such model comes with promlstm; there is {known}'):
        session.resolve('builtin:defualt')


def test_a_model_is_a_path_or_shipped(tmp_path):
    """`builtin:` names a file of the package; anything else is a path relative to the folder of the configuration."""
    assert DEFAULT.exists()
    assert session.resolve('models/mine.onnx', tmp_path) == tmp_path / 'models/mine.onnx'
    assert session.resolve('/srv/mine.onnx', tmp_path) == Path('/srv/mine.onnx')


def test_no_telemetry_is_sent(tmp_path):
    """ONNX Runtime stores reports in the user's cache before it sends them; after loading and running a model there are none."""
    code = f'from promlstm.engine import session; session.load({str(DEFAULT)!r})'
    environment = {'HOME': str(tmp_path), 'PATH': '/usr/bin:/bin'}
    subprocess.run([sys.executable, '-c', code], check=True, env=environment, cwd=servers.ROOT, timeout=60)
    assert list(tmp_path.rglob('*')) == []
