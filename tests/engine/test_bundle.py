"""The model contract: what a model file must contain, and the messages for wrong files."""

import hashlib
import json
import re
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest
import servers
import tiny_model

from promlstm.engine import bundle, session
from promlstm.errors import BudgetError, BundleFormatError

GOLDEN = servers.ROOT / 'tests/golden'


def parse(metadata=None, inputs=None, outputs=None):
    ins, outs = tiny_model.tensors()
    return bundle.parse(metadata or tiny_model.metadata(), inputs or ins, outputs or outs, source='x.onnx')


def refusal(**given):
    with pytest.raises(BundleFormatError) as caught:
        parse(**given)
    return str(caught.value)


# -- what is right


def test_what_is_written_reads_back_the_same():
    """parse reads what metadata writes: every field of manifest, calibration and proof survives."""
    views, classes = ('above', 'below'), True
    manifest = msgspec.structs.replace(tiny_model.MANIFEST, features=('cpu', 'µ "x"'), views=views)
    calibration, proof = tiny_model.CALIBRATION, tiny_model.proven(views=views, classes=classes)
    written = bundle.metadata(manifest, calibration, proof)
    got = bundle.parse(
        written, *tiny_model.tensors(features=manifest.features, views=views, classes=classes), source='x.onnx', sha256='abc', size_bytes=7
    )
    named = msgspec.structs.replace(proof, calibration=bundle.digest(written['promlstm.calibration'].encode()))
    assert (got.manifest, got.calibration, got.proof) == (manifest, calibration, named)
    assert (got.source, got.sha256, got.size_bytes) == ('x.onnx', 'abc', 7)
    assert set(written) == {'promlstm.manifest', 'promlstm.calibration', 'promlstm.proof'}


def test_the_class_of_a_row_is_named_class_in_the_file():
    """The Python name `klass` does not appear in the format."""
    (row,) = json.loads(tiny_model.metadata()['promlstm.calibration'])['rows']
    assert row['class'] == 0


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'int64'])
def test_arrays_survive_base64_bit_by_bit(dtype):
    """An array of the proof keeps every bit, also of NaN, Inf and -0, and is little-endian in the file."""
    special = [0, 1, -7] if dtype == 'int64' else [0.0, -0.0, np.nan, np.inf, -np.inf, 0.1, 1e-40]
    array = np.array([special, special[::-1]], dtype)
    packed = bundle.Array.of(array)
    assert packed.numpy().tobytes() == array.tobytes()
    assert bundle.Array.of(array.astype(array.dtype.newbyteorder('>'))) == packed
    assert bundle.Array.of(array[:, ::2]).numpy().tobytes() == np.ascontiguousarray(array[:, ::2]).tobytes()


def test_memory_of_an_entity_follows_the_states():
    """state_bytes counts each state in its dtype, states per feature for each feature; season_bytes is four bytes per slot."""
    got = parse()
    assert got.state_bytes(1) == 2 * 8 + 4
    assert got.state_bytes(5) == 5 * 2 * 8 + 4
    assert got.season_bytes(5) == 5 * 24 * 4


def test_digest_is_that_of_sha256sum():
    """The pinned digest is the one that the usual tools compute."""
    assert bundle.digest(b'abc') == hashlib.sha256(b'abc').hexdigest()


# -- what is wrong, each in its own words


@dataclass(frozen=True)
class Mistake:
    """One thing wrong with an otherwise good file, and the message it gives."""

    says: str
    manifest: dict = field(default_factory=dict)
    calibration: dict = field(default_factory=dict)
    row: dict = field(default_factory=dict)
    raw: dict = field(default_factory=dict)  # section: function of its JSON text

    def metadata(self):
        sections = {name: json.loads(text) for name, text in tiny_model.metadata().items()}
        sections['promlstm.manifest'] |= self.manifest
        sections['promlstm.calibration'] |= self.calibration
        if self.row:
            sections['promlstm.calibration']['rows'][0] |= self.row
        texts = {name: json.dumps(tree) for name, tree in sections.items()}
        for name, change in self.raw.items():
            changed = change(texts.pop('promlstm.' + name))
            texts |= {} if changed is None else {'promlstm.' + name: changed}
        return texts


NOT_OURS = 'in the file: not made by `python -m convert` (`python -m convert wrap` wraps a plain ONNX file)'
HOLE = 'calibration: class {} has a gap: no row for a step of {} s, the manifest says up to 3600 s'

MISTAKES = {
    'no manifest': Mistake(f'no promlstm.manifest {NOT_OURS}', raw={'manifest': lambda _: None}),
    'no calibration': Mistake(f'no promlstm.calibration {NOT_OURS}', raw={'calibration': lambda _: None}),
    'no proof': Mistake(f'no promlstm.proof {NOT_OURS}', raw={'proof': lambda _: None}),
    'a later format': Mistake('format 3, expected 1 or 2: made for another version of promlstm', {'format': 3}),
    'a later format with unknown keys': Mistake(
        'format 3, expected 1 or 2: made for another version of promlstm', {'format': 3, 'rhythm': []}
    ),
    'format as text': Mistake("format '1', expected 1 or 2: made for another version of promlstm", {'format': '1'}),
    'no format': Mistake('format None, expected 1 or 2: made for another version of promlstm', raw={'manifest': lambda _: '{}'}),
    'manifest is no JSON': Mistake(
        'promlstm.manifest: not a JSON object: JSON is malformed: invalid character (byte 0)', raw={'manifest': lambda _: 'x'}
    ),
    'manifest is cut off': Mistake(
        'promlstm.manifest: not a JSON object: Input data was truncated', raw={'manifest': lambda text: text[:40]}
    ),
    'manifest is a list': Mistake('promlstm.manifest: not a JSON object: got list', raw={'manifest': lambda _: '[]'}),
    'calibration is cut off': Mistake('promlstm.calibration: Input data was truncated', raw={'calibration': lambda text: text[:40]}),
    'unknown key in the manifest': Mistake(
        'promlstm.manifest: Object contains unknown field `rhythm`', {'rhythm': 1}
    ),
    'unknown key in training': Mistake(
        'promlstm.manifest: Object contains unknown field `mood` - at `$.training`',
        {'training': {'data': '', 'digest': '', 'recipe': '', 'seed': 1, 'entity_steps': 1, 'seconds': 1, 'mood': 1}},
    ),
    'unknown key in the calibration': Mistake('promlstm.calibration: Object contains unknown field `luck`', calibration={'luck': 1}),
    'unknown key in a row': Mistake('promlstm.calibration: Object contains unknown field `klass` - at `$.rows[0]`', row={'klass': 1}),
    'unknown key in the proof': Mistake(
        'promlstm.proof: Object contains unknown field `lemma`', raw={'proof': lambda text: text.replace('{', '{"lemma":1,', 1)}
    ),
    'unknown key in an array of the proof': Mistake(
        'promlstm.proof: Object contains unknown field `order` - at `$.cases[0].inputs[...]`',
        raw={'proof': lambda text: text.replace('"dtype"', '"order": "C", "dtype"', 1)},
    ),
    'family of another kind': Mistake("promlstm.manifest: Invalid enum value 'oracle' - at `$.family`", {'family': 'oracle'}),
    'a count as text': Mistake('promlstm.manifest: Expected `int`, got `str` - at `$.warmup_steps`', {'warmup_steps': '3'}),
    'steps the wrong way round': Mistake('manifest: step_seconds: got 60 to 30, expected 0 < low <= high', {'step_seconds': [60, 30]}),
    'steps from zero': Mistake('manifest: step_seconds: got 0 to 30, expected 0 < low <= high', {'step_seconds': [0, 30]}),
    'made at no time': Mistake(
        "manifest: created: got 'yesterday', expected a time such as 2026-01-31T12:00:00Z", {'created': 'yesterday'}
    ),
    'made at a time of no zone': Mistake("manifest: created: '2026-01-31T12:00:00' has no time zone", {'created': '2026-01-31T12:00:00'}),
    'a feature twice': Mistake('manifest: features: a name occurs twice', {'features': ['cpu', 'cpu']}),
    'no feature': Mistake('manifest: features: none; expected names, or null for any number', {'features': []}),
    'no warm-up': Mistake('manifest: replay_steps: got 20, expected at least warmup_steps (0 >= 1)', {'warmup_steps': 0}),
    'replay shorter than the warm-up': Mistake(
        'manifest: replay_steps: got 2, expected at least warmup_steps (3 >= 1)', {'replay_steps': 2}
    ),
    'slots without a period': Mistake(
        'manifest: season_slots: got 24, expected 1 to 336, or 0 together with the period', {'season_period_seconds': 0}
    ),
    'a period without slots': Mistake('manifest: season_slots: got 0, expected 1 to 336, or 0 together with the period', {'season_slots': 0}),
    'too many slots': Mistake('manifest: season_slots: got 337, expected 1 to 336, or 0 together with the period', {'season_slots': 337}),
    'a period of neither a day nor a week': Mistake(
        'manifest: season_period_seconds: got 3600, expected 86400 (a day) or 604800 (a week)', {'season_period_seconds': 3600}
    ),
    'a week that its slots do not cut into days': Mistake(
        'manifest: season_slots: got 100, expected as many for every day of the week', {'season_period_seconds': 604800, 'season_slots': 100}
    ),
    'a horizon of now': Mistake('manifest: season_horizons_steps: got [0], expected positive steps', {'season_horizons_steps': [0]}),
    'rows without a measurement': Mistake('calibration: status is "none" but there are rows', calibration={'status': 'none'}),
    'one alarm more than surprises': Mistake(
        'calibration: row 0: 2 surprises for 3 alarms, expected equally many, at least 2', row={'surprise': [1, 2]}
    ),
    'a single point': Mistake(
        'calibration: row 0: 1 surprises for 1 alarms, expected equally many, at least 2',
        row={'surprise': [1], 'alarms_per_entity_week': [1]},
    ),
    'surprise that does not increase': Mistake(
        'calibration: row 0: surprise is not strictly increasing from above 0', row={'surprise': [1, 1, 3]}
    ),
    'surprise from zero': Mistake('calibration: row 0: surprise is not strictly increasing from above 0', row={'surprise': [0, 1, 3]}),
    'more alarms at more surprise': Mistake(
        'calibration: row 0: alarms_per_entity_week is not monotone: it must never rise with surprise, and stay above 0',
        row={'alarms_per_entity_week': [10, 11, 1]},
    ),
    'no alarms at all': Mistake(
        'calibration: row 0: alarms_per_entity_week is not monotone: it must never rise with surprise, and stay above 0',
        row={'alarms_per_entity_week': [10, 1, 0]},
    ),
    'measured, and no rows': Mistake(HOLE.format(0, 1), calibration={'rows': []}),
    'a hole at the end': Mistake(HOLE.format(0, 3600), row={'step_seconds': [1, 3600]}),
    'a hole at the beginning': Mistake(HOLE.format(0, 1), row={'step_seconds': [2, 3601]}),
    'only a class that is not the first': Mistake(HOLE.format(0, 1), row={'class': 1}),
}  # fmt: skip


@pytest.mark.parametrize('name', MISTAKES)
def test_every_mistake_has_its_own_message(name):
    """It has the file, the key, what was got and what was expected."""
    assert refusal(metadata=MISTAKES[name].metadata()) == f'x.onnx: {MISTAKES[name].says}'


def test_a_gap_in_the_middle_is_found_in_any_order_of_rows():
    """Rows are sorted by their steps, not by their order in the file."""
    rows = [msgspec.structs.replace(tiny_model.ROW, step_seconds=span) for span in ((600, 3601), (1, 60))]
    calibration = msgspec.structs.replace(tiny_model.CALIBRATION, rows=tuple(rows))
    assert refusal(metadata=tiny_model.metadata(calibration=calibration)) == 'x.onnx: ' + HOLE.format(0, 60)
    closed = msgspec.structs.replace(tiny_model.CALIBRATION, rows=(*rows, msgspec.structs.replace(tiny_model.ROW, step_seconds=(60, 600))))
    proof = tiny_model.proven()
    cases = tuple(msgspec.structs.replace(proof.cases[0], step_seconds=step) for step in (30, 60, 900))
    assert parse(metadata=tiny_model.metadata(calibration=closed, proof=msgspec.structs.replace(proof, cases=cases))).calibration == closed


def test_an_uncalibrated_file_can_be_read():
    """Status none is an intermediate state of convert, valid for replay."""
    assert parse(metadata=tiny_model.metadata(calibration=bundle.Calibration(status='none'))).calibration.status == 'none'


# -- the graph


def changed(tensors, name, **replaced):
    return [msgspec.structs.replace(tensor, **replaced) if tensor.name == name else tensor for tensor in tensors]


KNOWN_INPUTS = 'value, season, table, local_seconds, clock, step_seconds, learn, threshold, state_NAME'
KNOWN_OUTPUTS = ', '.join([*bundle.OUTPUTS, 'state_NAME'])
INPUTS, OUTPUTS = tiny_model.tensors()

GRAPHS = {
    'value in single precision': (
        {'inputs': changed(INPUTS, 'value', dtype='float32')},
        "graph: input value is float32 ['N', 'F'], expected float64 ['N', 'F']",
    ),
    'another axis': (
        {'outputs': changed(OUTPUTS, 'expected', shape=('N', 'G'))},
        "graph: output expected is float64 ['N', 'G'], expected float64 ['N', 'F']",
    ),
    'an axis without a name': (
        {'inputs': changed(INPUTS, 'value', shape=(None, 'F'))},
        "graph: input value is float64 [None, 'F'], expected float64 ['N', 'F']",
    ),
    'an axis too few': (
        {'outputs': changed(OUTPUTS, 'surprise', shape=())},
        "graph: output surprise is float32 [], expected float32 ['N']",
    ),
    'features fixed where the manifest has any': (
        {'inputs': changed(INPUTS, 'value', shape=('N', 2))},
        "graph: input value is float64 ['N', 2], expected float64 ['N', 'F']",
    ),
    'another number of season horizons': (
        {'inputs': changed(INPUTS, 'season', shape=('N', 'F', 4))},
        "graph: input season is float64 ['N', 'F', 4], expected float64 ['N', 'F', 2]",
    ),
    'an unknown input': (
        {'inputs': [*INPUTS, bundle.Tensor('wind', 'float32', ('N',))]},
        f"graph: unknown input 'wind'; known: {KNOWN_INPUTS}",
    ),
    'an unknown output': (
        {'outputs': [*OUTPUTS, bundle.Tensor('mood', 'float32', ('N',))]},
        f"graph: unknown output 'mood'; known: {KNOWN_OUTPUTS}",
    ),
    'no value': ({'inputs': INPUTS[1:]}, "graph: input 'value' is missing"),
    'no band': ({'outputs': [tensor for tensor in OUTPUTS if tensor.name != 'upper']}, "graph: output 'upper' is missing"),
    'a state that is not carried on': (
        {'outputs': [tensor for tensor in OUTPUTS if tensor.name != 'state_mean_next']},
        "graph: every state_NAME needs a state_NAME_next and vice versa; without counterpart: ['state_mean_next']",
    ),
    'a state out of nowhere': (
        {'inputs': [tensor for tensor in INPUTS if tensor.name != 'state_samples']},
        "graph: every state_NAME needs a state_NAME_next and vice versa; without counterpart: ['state_samples_next']",
    ),
    'a state of integers': (
        {'inputs': changed(INPUTS, 'state_samples', dtype='int64'), 'outputs': changed(OUTPUTS, 'state_samples_next', dtype='int64')},
        "graph: state_samples is int64 ['N', 1], expected float32 or float64 [N, S] or [N, F, S]",
    ),
    'a state of unknown size': (
        {'inputs': changed(INPUTS, 'state_samples', shape=('N', 'S'))},
        "graph: state_samples is float32 ['N', 'S'], expected float32 or float64 [N, S] or [N, F, S]",
    ),
    'a state of no entity': (
        {'inputs': changed(INPUTS, 'state_samples', shape=())},
        'graph: state_samples is float32 [], expected float32 or float64 [N, S] or [N, F, S]',
    ),
    'a state that changes its type': (
        {'outputs': changed(OUTPUTS, 'state_mean_next', dtype='float32')},
        "graph: state_mean_next is float32 ['N', 'F', 2], expected as state_mean: float64 ['N', 'F', 2]",
    ),
    'views without names': (
        {'outputs': [*OUTPUTS, bundle.Tensor('view', 'float32', ('N', 0))]},
        'graph: view is an output, but the manifest names 0 views',
    ),
    'names without views': (
        {'metadata': tiny_model.metadata(views=('above', 'below'))},
        'graph: view is not an output, but the manifest names 2 views',
    ),
    'horizons without a forecast': (
        {'metadata': tiny_model.metadata(manifest={'forecast_horizons_seconds': (300,)})},
        'graph: forecast is not an output, but the manifest names 1 forecast horizons',
    ),
}


@pytest.mark.parametrize('name', GRAPHS)
def test_a_graph_that_differs_from_the_contract_is_rejected(name):
    """Names, types and axes of the graph are compared with the contract; the message has the first difference."""
    given, says = GRAPHS[name]
    assert refusal(**given) == f'x.onnx: {says}'


def test_optional_tensors_may_be_left_out():
    """A graph with only the required inputs is valid."""
    inputs = [tensor for tensor in INPUTS if tensor.name in ('value', 'state_mean', 'state_samples')]
    got = parse(inputs=inputs)
    assert got.inputs == {'value', 'state_mean', 'state_samples'}


# -- the proof

PROOFS = {
    'an input that the graph wants is not there': ({'inputs': {'season': None}}, "proof at steps of 60 s: input 'season' is missing"),
    'no samples': ({'inputs': {'value': None}}, "proof at steps of 60 s: input 'value' is missing"),
    'an input that no graph has': (
        {'inputs': {'wind': np.zeros((12, 3))}},
        "proof at steps of 60 s: unknown input 'wind'; known: clock, learn, local_seconds, season, table, threshold, value",
    ),
    'an output that the graph has not': (
        {'outputs': {'view': np.zeros((12, 3, 2))}},
        "proof at steps of 60 s: unknown output 'view'; known: contribution, deviation, expected, lower, season_next, surprise, upper",
    ),
    'samples without features': (
        {'inputs': {'value': np.zeros((12, 3))}},
        'proof at steps of 60 s: input value is [12, 3], expected [steps, entities, features], none of them 0',
    ),
    'no steps': (
        {'inputs': {'value': np.zeros((0, 3, 2))}},
        'proof at steps of 60 s: input value is [0, 3, 2], expected [steps, entities, features], none of them 0',
    ),
    'an input of fewer steps': ({'inputs': {'learn': np.ones((11, 3))}}, 'proof at steps of 60 s: input learn is [11, 3], expected [12, 3]'),
    'an output of another axis': ({'outputs': {'surprise': np.ones((12, 3, 1))}}, 'proof at steps of 60 s: output surprise is [12, 3, 1], expected [12, 3]'),
}


@pytest.mark.parametrize('name', PROOFS)
def test_a_proof_that_cannot_be_replayed_is_rejected(name):
    """A proof whose arrays do not fit each other or the graph is a mistake of the file, so it is found before the replay."""
    given, says = PROOFS[name]
    assert refusal(metadata=tiny_model.metadata(proof=tiny_model.proven(**given))) == f'x.onnx: {says}'


def test_a_proof_of_another_number_of_features_is_rejected():
    """The proof of a model with fixed features has as many features."""
    metadata = tiny_model.metadata(features=('a',), proof=tiny_model.proven(features=2))
    with pytest.raises(BundleFormatError, match=r'^x: proof at steps of 60 s: input value is \[12, 3, 2\], expected \[12, 3, 1\]$'):
        bundle.parse(metadata, *tiny_model.tensors(features=('a',)), source='x')


ARRAYS = {
    'bytes too few': ({'data': 'AAAA'}, 'buffer size must be a multiple of element size'),
    'numbers too few': ({'shape': (2, 2)}, 'cannot reshape array of size 2 into shape (2,2)'),
    'an axis below zero': ({'shape': (-1,)}, 'an axis is below 0'),
    'no base64': ({'data': '!!!!'}, 'Only base64 data is allowed'),
    'cut off base64': ({'data': 'AAAAA'}, 'Invalid base64-encoded string: number of data characters (5) cannot be 1 more than a multiple of 4'),
}  # fmt: skip


@pytest.mark.parametrize('name', ARRAYS)
def test_an_array_that_does_not_fit_its_shape_is_rejected(name):
    """Bytes, dtype and shape of an array in the proof must agree."""
    given, says = ARRAYS[name]
    array = msgspec.structs.replace(bundle.Array.of(np.float32([1, 2])), **given)
    with pytest.raises(BundleFormatError) as caught:
        array.numpy()
    assert str(caught.value) == f'an array of the proof does not fit its dtype and shape (float32 {list(array.shape)}): {says}'


def test_a_proof_without_cases_is_rejected():
    """It would verify nothing."""
    proof = msgspec.structs.replace(tiny_model.proven(), cases=())
    assert refusal(metadata=tiny_model.metadata(proof=proof)) == 'x.onnx: proof: no cases, so it does not verify anything'


def test_a_proof_covers_each_range_of_steps():
    """A graph may compute otherwise at other steps: a range that has rows of its own needs a case of its own, if the model runs there."""
    rows = [msgspec.structs.replace(tiny_model.ROW, step_seconds=span) for span in ((1, 600), (600, 3601), (3601, 86401))]
    calibration = msgspec.structs.replace(tiny_model.CALIBRATION, rows=tuple(rows))
    assert refusal(metadata=tiny_model.metadata(calibration=calibration)) == (
        'x.onnx: proof: no case at steps of 600 s to 3601 s, which the calibration has a row for'
    )
    proof = tiny_model.proven()
    (case,) = proof.cases
    proof = msgspec.structs.replace(proof, cases=(case, msgspec.structs.replace(case, step_seconds=900)))
    assert len(parse(metadata=tiny_model.metadata(calibration=calibration, proof=proof)).proof.cases) == 2


def test_the_proof_is_of_the_calibration_beside_it():
    """A figure of the calibration that was changed after the release is refused, even where it is a possible one."""
    metadata = tiny_model.metadata()
    metadata['promlstm.calibration'] = metadata['promlstm.calibration'].replace('"surprise":[1', '"surprise":[1.5')
    assert '1.5' in metadata['promlstm.calibration']
    assert refusal(metadata=metadata) == (
        'x.onnx: calibration: does not match the proof: a row or number was changed'
    )


# -- the budget


def test_the_threshold_lies_on_the_measured_line():
    """It is the measured value at the points, and linear in the logarithm of the alarms between them."""
    table = tiny_model.CALIBRATION
    assert [table.threshold(alarms, step_seconds=60) for alarms in (10, 1, 0.1)] == pytest.approx([1, 2, 3])
    assert table.threshold(np.sqrt(10), step_seconds=60) == pytest.approx(1.5)


def test_a_budget_above_the_table_gives_its_first_surprise():
    """The calibration is not extrapolated."""
    assert tiny_model.CALIBRATION.threshold(1e6, step_seconds=60) == 1


def test_a_budget_below_the_table_names_the_floor():
    """The message has the wanted budget and the lowest that is possible."""
    with pytest.raises(BudgetError) as caught:
        tiny_model.CALIBRATION.threshold(0.0999, step_seconds=60)
    assert str(caught.value) == (
        'a budget of 0.0999 alarms per entity-week is below what the calibration was measured for: '
        'the floor is 0.1 per entity-week at a step of 60 s; set at least 0.1/week each'
    )


@pytest.mark.parametrize(
    ('klass', 'step', 'says'),
    [
        (3, 60, 'the model has no calibration for class 3 at a step of 60 s'),
        (0, 3601, 'the model has no calibration for class 0 at a step of 3601 s'),
        (0, 0.5, 'the model has no calibration for class 0 at a step of 0.5 s'),
    ],
)
def test_a_class_or_step_without_a_row_is_rejected(klass, step, says):
    """A row's lower end is included, its upper end is not."""
    with pytest.raises(BudgetError, match=f'^{re.escape(says)}$'):
        tiny_model.CALIBRATION.threshold(1, step_seconds=step, klass=klass)
    assert tiny_model.CALIBRATION.threshold(1, step_seconds=1) == 2


def test_an_uncalibrated_model_has_no_threshold():
    """The message says which command is missing."""
    with pytest.raises(BudgetError) as caught:
        bundle.Calibration(status='none').floor(60)
    assert str(caught.value) == (
        'the model is not calibrated (status "none"): it gives surprise, no score; finish `python -m convert calibrate`'
    )


def test_the_floor_is_that_of_the_worst_class():
    """A budget above the floor is possible for every entity, whatever its class."""
    worse = msgspec.structs.replace(tiny_model.ROW, klass=1, alarms_per_entity_week=(10, 1, 0.5))
    assert msgspec.structs.replace(tiny_model.CALIBRATION, rows=(tiny_model.ROW, worse)).floor(60) == 0.5


# -- for ever


@pytest.mark.parametrize('version', [1, bundle.FORMAT])
def test_the_golden_file_of_each_format_loads_and_gives_its_numbers(version):
    """A file of a format that was written once must load and compute the same for ever.

    Each was made, when its format was new, by `PYTHONPATH=. python tests/support/tiny_model.py tests/golden/tiny-VERSION.onnx`.
    """
    golden = session.load(GOLDEN / f'tiny-{version}.onnx')
    assert golden.bundle.manifest.format == version
    assert golden.bundle.manifest.views == ('above', 'below')
    state, results = golden.blank(1, 2), []
    for values in ([10, 2000], [12, 2002], [11, 2001], [11, 2001], [np.nan, 2011], [13, 2001]):
        given = {
            'value': np.array([values], np.float64), 'season': np.full((1, 2, 2), np.nan), 'clock': np.zeros((1, 4)), 'learn': np.ones(1),
            'threshold': np.full(1, 2), 'step_seconds': np.float32(60),
        }  # fmt: skip
        out, state = golden.run(given, state)
        results.append([out['surprise'].item(), *out['expected'][0], *out['upper'][0], *out['view'][0], out['class'].item()])
    nan = np.nan
    np.testing.assert_allclose(
        results,
        [
            [nan, nan, nan, nan, nan, nan, nan, 0],
            [nan, nan, nan, nan, nan, nan, nan, 1],
            [nan, nan, nan, nan, nan, nan, nan, 1],
            [0, 11, 2001, 15, 2005, 0, 1, 1],
            [5, 11, 2001, 15, 2005, 1, 0, 1],
            [1, 11, 2003, 15, 2007, 0.5, 0.5, 1],
        ],
    )
