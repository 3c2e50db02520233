"""What the bytes of a model file may be: all that the project makes, and nothing that reads, runs or hides more than a model needs.

That every family and every wrapped model is accepted is shown in tests/convert, where each is read back by session.load.
"""

import random

import onnx
import pytest
import servers
import tiny_model
from onnx import TensorProto, helper
from requirements import is_accept

from promlstm.engine import digest, session, wire
from promlstm.errors import BundleError, BundleFormatError

GOLDEN = servers.ROOT / 'tests/golden/tiny-2.onnx'
MUTATIONS = 20_000 if is_accept() else 1_000


@pytest.mark.parametrize('path', [*session.SHIPPED.glob('*.onnx'), *GOLDEN.parent.glob('*.onnx')], ids=lambda path: path.stem)
def test_a_released_model_is_accepted(path):
    """The shipped ones, and those of each format."""
    wire.check(path.read_bytes(), path.name)


def changed(edit):
    """The bytes of a small model after `edit(ModelProto)`."""
    model = onnx.load_from_string(tiny_model.build())
    edit(model)
    return model.SerializeToString()


def refused(data):
    with pytest.raises(BundleFormatError) as caught:
        wire.check(data, 'x.onnx')
    prefix = 'x.onnx: not a model file that is accepted: '
    assert str(caught.value).startswith(prefix)
    return str(caught.value).removeprefix(prefix)


def branch():
    return helper.make_graph([helper.make_node('Identity', ['value'], ['y'])], 'branch', [], [])


def control(operator, **attributes):
    return lambda model: model.graph.node.insert(2, helper.make_node(operator, ['value'], ['z'], **attributes))


def external(model):
    tensor = model.graph.initializer[1]
    tensor.external_data.add(key='location', value='/etc/passwd')


def located(model):
    model.graph.initializer[1].data_location = TensorProto.EXTERNAL


def function(model):
    model.functions.append(helper.make_function('promlstm', 'f', ['a'], ['b'], [], []))


def sparse(model):
    model.graph.sparse_initializer.add()


def trained(model):
    model.training_info.add()


def sequence(model):
    model.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = 1


EDITS = {
    'if': (control('If', then_branch=branch(), else_branch=branch()), r'graph.node[2].op_type: the operator If, which runs graphs of its own, is refused'),
    'loop': (control('Loop', body=branch()), 'graph.node[2].op_type: the operator Loop, which runs graphs of its own, is refused'),
    'scan': (control('Scan', body=branch(), num_scan_inputs=1), 'graph.node[2].op_type: the operator Scan, which runs graphs of its own, is refused'),
    'a graph elsewhere': (control('Identity', body=branch()), 'graph.node[2].attribute[0].g: a graph is refused'),
    'graphs': (control('Identity', bodies=[branch()]), 'graph.node[2].attribute[0].graphs: graphs are refused'),
    'another domain': (control('LSTM', domain='com.microsoft'), "graph.node[2]: the operator LSTM of the domain 'com.microsoft' is refused"),
    'an operator of nobody': (control('DynamicQuantizeLSTM', domain='x'), "graph.node[2]: the operator DynamicQuantizeLSTM of the domain 'x' is refused"),
    'another operator set': (
        lambda model: model.opset_import.append(helper.make_opsetid('example.org', 1)),
        "opset_import[1].domain: operators of the domain 'example.org' are refused",
    ),
    'external data': (external, 'graph.initializer[1].external_data: external data is refused'),
    'located elsewhere': (located, 'graph.initializer[1].data_location: external data is refused'),
    'in an attribute': (
        control('Constant', value=TensorProto(data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)),
        'graph.node[2].attribute[0].t.data_location: external data is refused',
    ),
    'functions': (function, 'functions: functions are refused'),
    'sparse': (sparse, 'graph.sparse_initializer: a sparse tensor is refused'),
    'training': (trained, 'training_info: training is refused'),
    'sequences': (sequence, 'graph.input[0].type.sequence_type: a type other than a tensor is refused'),
}  # fmt: skip


@pytest.mark.parametrize('what', EDITS)
def test_what_no_model_needs_is_refused(what):
    """The message has the place and the reason."""
    edit, says = EDITS[what]
    assert says in refused(changed(edit))


def test_a_field_that_stands_twice_hides_nothing():
    """The last one counts for protobuf: both are looked at."""
    node = b'\x22\x13DynamicQuantizeLSTM' + b'\x3a\x0dcom.microsoft'
    whole = lambda node: b'\x3a' + varint(len(node) + 2) + b'\x0a' + varint(len(node)) + node  # noqa: E731
    wire.check(whole(node), 'x.onnx')
    for more in (b'\x22\x04LSTM', b'\x3a\x01x'):
        assert refused(whole(node + more)).startswith('graph.node[0]: the operator DynamicQuantizeLSTM of the domain ')
        assert refused(whole(more + node)).startswith('graph.node[0]: the operator ')


@pytest.mark.parametrize('tensor', ['value', 'surprise'])
def test_a_name_that_is_not_utf_8(tensor):
    """Of an input, an output, an operator's tensor: readers of ONNX stumble on it."""
    data = tiny_model.build()
    assert 'not UTF-8: b' in refused(data.replace(tensor.encode(), b'\xff' * len(tensor)))


@pytest.mark.parametrize(('data', 'says'), [
    (b'\x7a', 'it ends within a field, after 1 bytes'),
    (b'\x3a\xff\xff\xff\xff\x0f', 'it ends within a field, after 6 bytes'),
    (b'\x3a\x02\x0a\x7f', 'graph: it ends within a field, after 4 bytes'),  # a node that ends outside of its graph
    (b'\x08' + b'\xff' * 12, 'byte 11 begins no field'),
    (b'\x0b\x0c', 'byte 1 begins no field'),  # groups, which may stand in each other without end
    (b'\x02', 'byte 1 begins no field'),
    (b'\x9a\x06\x00', 'field 99 is not one of ONNX'),
    (b'\x38\x01', 'graph: malformed: wire type 0, expected 2'),
    (b'\x3a\x06\x2a\x04\x0a\x02\x80\x80', 'graph.initializer[0].dims: malformed: a list of numbers that ends within one'),
    (b'\x3a\x05\x2a\x03\x22\x01\x00', 'graph.initializer[0].float_data: malformed: a list of numbers that ends within one'),
])  # fmt: skip
def test_malformed_bytes(data, says):
    assert refused(data) == says


def test_a_graph_in_a_graph_without_end():
    """Ten thousand deep, a few hundred kilobytes: whoever descends runs out of stack."""
    inner = b''
    for number in (6, 5, 1) * 10_000:  # AttributeProto.g, NodeProto.attribute, GraphProto.node
        inner = bytes([number << 3 | 2]) + varint(len(inner)) + inner
    assert refused(b'\x3a' + varint(len(inner)) + inner) == 'graph.node[0].attribute[0].g: a graph is refused'


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def test_too_many_fields(monkeypatch):
    """Time is bounded by the number of fields, which a small file may have many of."""
    monkeypatch.setattr(wire, 'MOST_FIELDS', 1000)
    assert refused(b'\x3a\xd0\x0f' + b'\x0a\x00' * 1000) == 'graph: more than 1000 fields'


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    """Neither by session.load, which would hold it in memory, nor by the check."""
    monkeypatch.setattr(wire, 'LARGEST_BYTES', 10_000)
    (tmp_path / 'x.onnx').write_bytes(tiny_model.build())
    for look in (lambda: session.load(tmp_path / 'x.onnx'), lambda: wire.check(tiny_model.build(), str(tmp_path / 'x.onnx'))):
        with pytest.raises(BundleFormatError, match=r'x\.onnx: larger than 10000 bytes: not a model file that is accepted$'):
            look()


def mutated(rng, data):
    """Bytes with a few changes of every kind: bits, values that protobuf gives a meaning, cuts, insertions, pieces from elsewhere."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, source, length = rng.randrange(len(out)), rng.randrange(len(out)), rng.choice((1, 2, 8, 40))
        kind = rng.randrange(6)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = rng.randbytes(length)
        elif kind == 4:
            out[at:at] = out[source : source + length]
        else:
            out[at : at + length] = out[source : source + length]
    return bytes(out)


@pytest.mark.slow
def test_any_bytes_are_accepted_or_refused(tmp_path, capfd):
    """Damaged files, each under a good digest: no other exception, and nothing on the terminal, whatever ONNX Runtime thinks of it."""
    whole, path, outcomes = GOLDEN.read_bytes()[: -digest.LENGTH], tmp_path / 'x.onnx', {'accepted': 0, 'refused': 0}
    for seed in range(MUTATIONS):
        path.write_bytes(digest.appended(mutated(random.Random(seed), whole)))
        try:
            session.load(path, threads=1)
        except BundleError as error:
            assert str(error).startswith(f'{path}: '), seed
            outcomes['refused'] += 1
        else:
            outcomes['accepted'] += 1
        assert capfd.readouterr() == ('', ''), seed
    assert min(outcomes.values()) > MUTATIONS // 100, outcomes
