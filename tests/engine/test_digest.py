"""A model file is what was released: any byte that was changed, cut off or added is refused before ONNX Runtime sees the file."""

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import servers
import tiny_model
from onnx import numpy_helper

from promlstm.engine import bundle, digest, session
from promlstm.errors import BundleFormatError, ProofError

DEFAULT = session.resolve('builtin:default')
REMEDY = 'copy it again from where it was released, or make it again with `python -m convert`'


@pytest.fixture
def never_seen(monkeypatch):
    """ONNX Runtime must not get the bytes of a damaged file."""

    def seen(*_, **__):
        raise AssertionError('ONNX Runtime got the bytes of a damaged file')

    monkeypatch.setattr(onnxruntime, 'InferenceSession', seen)


def refused(path, data):
    path.write_bytes(data)
    with pytest.raises(BundleFormatError) as caught:
        session.load(path)
    assert str(caught.value).startswith(f'{path}: ')
    return str(caught.value).removeprefix(f'{path}: ')


def flipped(data, bit):
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def test_no_bit_of_the_shipped_file_can_be_flipped(tmp_path, never_seen):
    """Wherever it lies: graph, weights, manifest, calibration, proof, digest. The message names the file and what to do."""
    data, rng = DEFAULT.read_bytes(), np.random.default_rng(5)
    bits = {*rng.integers(0, 8 * len(data), 300).tolist(), 0, 8 * len(data) - 1}
    for key in ('manifest', 'calibration', 'proof', 'digest'):
        start = 8 * data.index(f'promlstm.{key}'.encode())
        bits |= {start + int(bit) for bit in rng.integers(-64, 900, 10) if start + bit < 8 * len(data)}
    for bit in bits:
        assert REMEDY in refused(tmp_path / 'x.onnx', flipped(data, bit)), bit


def test_no_bit_of_a_small_file_can_be_flipped():
    """Each of them, of every byte of the digest and of the bytes before it."""
    data = tiny_model.build()
    digest.check(data, 'x.onnx')
    last = 8 * (len(data) - digest.LENGTH - 200)
    for bit in (*range(0, last, 97), *range(last, 8 * len(data))):
        with pytest.raises(BundleFormatError, match=r'^x\.onnx: '):
            digest.check(flipped(data, bit), 'x.onnx')


@pytest.mark.parametrize('cut', [1, 2, 40, digest.LENGTH - 1, digest.LENGTH, digest.LENGTH + 1, 500, 9000])
def test_a_file_that_ends_too_early_is_refused(tmp_path, never_seen, cut):
    """Also where exactly the digest is missing."""
    assert refused(tmp_path / 'x.onnx', tiny_model.build()[:-cut])


@pytest.mark.parametrize('more', [b'\0', b'\n', b'x' * 300, digest.appended(b''), tiny_model.build()], ids=len)
def test_bytes_that_were_added_are_refused(tmp_path, never_seen, more):
    """At the end or at the beginning; a second file behind the first as well, which protobuf would read as one."""
    data = tiny_model.build()
    assert refused(tmp_path / 'x.onnx', data + more)
    assert refused(tmp_path / 'y.onnx', more + data) if more != data else True


def test_the_reasons(tmp_path, never_seen):
    """What is wrong, and what to do."""
    data, path = tiny_model.build(), tmp_path / 'x.onnx'
    assert refused(path, flipped(data, 8000)) == (
        f'it was changed or damaged: its content does not match the digest at its end: {REMEDY}'
    )
    assert refused(path, data[: -digest.LENGTH]) == (
        f'no digest at the end of the file: something was cut off, added or changed there: {REMEDY}'
    )
    assert refused(path, data[:3000]) == f'not an ONNX file, or a damaged one: it ends within a field, after 3000 bytes: {REMEDY}'


def test_other_readers_of_onnx_read_the_file_as_before():
    """The digest is one more property for them, and what it covers is the model."""
    data = tiny_model.build()
    model = onnx.load_from_string(data)
    assert model.metadata_props[-1].key == 'promlstm.digest'
    onnx.checker.check_model(model)
    assert digest.properties(data) == {each.key: each.value for each in model.metadata_props}


def test_a_file_of_format_1_has_no_digest_and_is_still_read(tmp_path):
    """Files from before the digest go on working; one of format 2 cannot pass for one of them by losing its end."""
    golden = servers.ROOT / 'tests/golden/tiny-1.onnx'
    assert session.load(golden).bundle.manifest.format == 1
    assert digest.KEY not in digest.properties(golden.read_bytes())
    assert refused(tmp_path / 'x.onnx', golden.read_bytes() + digest.appended(golden.read_bytes())[-digest.LENGTH :][:-1] + b'g')


def resealed(model):
    del model.metadata_props[-1]
    return digest.appended(model.SerializeToString(deterministic=True))


@pytest.mark.parametrize('step_seconds', [60, *(pytest.param(other, marks=pytest.mark.slow) for other in (10, 300, 900, 3600))])
def test_the_proof_covers_each_class_of_step(tmp_path, step_seconds):
    """Of the shipped model: wrong numbers at one class of step alone are refused, too, and the message says at which."""
    model = onnx.load(DEFAULT)
    parts = {each.key: each for each in model.metadata_props}
    proof = msgspec.json.decode(parts['promlstm.proof'].value, type=bundle.Proof)
    cases = [each if each.step_seconds != step_seconds else moved(each) for each in proof.cases]
    parts['promlstm.proof'].value = msgspec.json.encode(msgspec.structs.replace(proof, cases=tuple(cases))).decode()
    (tmp_path / 'x.onnx').write_bytes(resealed(model))
    with pytest.raises(ProofError, match=f'the proof at steps of {step_seconds} s fails: surprise at step 45, entity 0: '):
        session.load(tmp_path / 'x.onnx')


def moved(case):
    surprise = case.outputs['surprise'].numpy()
    surprise[45] += 0.01
    return msgspec.structs.replace(case, outputs=case.outputs | {'surprise': bundle.Array.of(surprise)})


@pytest.mark.slow
def test_a_weight_that_was_changed_under_a_good_digest_is_refused(tmp_path):
    """What the digest cannot tell, since somebody wrote a new one, the proof does: here the sign of one weight, in each matrix of the graph."""
    matrices = [each for each in onnx.load(DEFAULT).graph.initializer if np.prod(each.dims) > 90]
    assert len(matrices) == 4
    for number, each in enumerate(matrices):
        model = onnx.load(DEFAULT)
        (tensor,) = (other for other in model.graph.initializer if other.name == each.name)
        weights = numpy_helper.to_array(tensor).copy()
        weights.reshape(-1)[np.abs(weights).argmax()] *= -1
        tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
        (tmp_path / f'{number}.onnx').write_bytes(resealed(model))
        with pytest.raises(ProofError):
            session.load(tmp_path / f'{number}.onnx')
