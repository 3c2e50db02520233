"""The bytes of an ONNX file, looked at before ONNX Runtime gets them: a small reader of its wire format, which refuses what no model needs.

An ONNX file is a protobuf message (https://protobuf.dev/programming-guides/encoding/) of the shape that onnx.proto gives it
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). MESSAGES names the fields that a model may have; every other one is refused, also
where other readers would skip it. So no message stands in itself, and none is deeper than that table.

Refused are

    what reads other files      external data
    what may run without end    If, Loop, Scan and whatever else has a graph as an attribute
    what is not plain ONNX      operators of other domains (but for the one of int8 LSTMs), functions in the file, training
    what other readers stumble on  text that is not UTF-8, wire data that is cut off or malformed, too many bytes or fields

Who calls it: session.load, for each model file; digest, to read metadata. Pure; it needs no ONNX library.
"""

import re
from collections.abc import Callable, Iterator

from promlstm.errors import BundleFormatError

LARGEST_BYTES = 64_000_000  # what `python -m convert wrap` writes at most
MOST_FIELDS = 1_000_000  # the shipped model has 12 thousand; a million take a second or two
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protobuf
DOMAINS = ('', 'ai.onnx')  # of operators
CONTRIBUTED = {('com.microsoft', 'DynamicQuantizeLSTM')}  # of ONNX Runtime's own operators what `python -m convert quantize` writes
IMPORTED = (*DOMAINS, 'ai.onnx.ml', 'com.microsoft')  # operator sets that may be named; some exporters name all that they know
CONTROL_FLOW = ('If', 'Loop', 'Scan', 'SequenceMap')
GRAPHS = (5, 10)  # AttributeProto.AttributeType: GRAPH, GRAPHS
EXTERNAL = 1  # TensorProto.DataLocation

# {message: {number of a field: (its name, its kind)}}. A kind is another message, or one of the scalars; packed_… may also come one by one.
# After a "!" stands why the field is refused.
_SCALARS = {'varint': VARINT, 'fixed64': FIXED64, 'fixed32': FIXED32}
_METADATA = ('metadata_props', 'entry')
_SPARSE = '!a sparse tensor'
MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    'model': {
        1: ('ir_version', 'varint'), 2: ('producer_name', 'text'), 3: ('producer_version', 'text'), 4: ('domain', 'text'),
        5: ('model_version', 'varint'), 6: ('doc_string', 'text'), 7: ('graph', 'graph'), 8: ('opset_import', 'opset'), 14: _METADATA,
        20: ('training_info', '!training'), 25: ('functions', '!functions'), 26: ('configuration', '!a division among devices'),
    },
    'opset': {1: ('domain', 'text'), 2: ('version', 'varint')},
    'entry': {1: ('key', 'text'), 2: ('value', 'text')},
    'graph': {
        1: ('node', 'node'), 2: ('name', 'text'), 5: ('initializer', 'tensor'), 10: ('doc_string', 'text'), 11: ('input', 'value'),
        12: ('output', 'value'), 13: ('value_info', 'value'), 14: ('quantization_annotation', 'annotation'),
        15: ('sparse_initializer', _SPARSE), 16: _METADATA,
    },
    'annotation': {1: ('tensor_name', 'text'), 2: ('quant_parameter_tensor_names', 'entry')},
    'node': {
        1: ('input', 'text'), 2: ('output', 'text'), 3: ('name', 'text'), 4: ('op_type', 'text'), 5: ('attribute', 'attribute'),
        6: ('doc_string', 'text'), 7: ('domain', 'text'), 8: ('overload', 'text'), 9: _METADATA,
        10: ('device_configurations', '!a division among devices'),
    },
    'attribute': {
        1: ('name', 'text'), 2: ('f', 'fixed32'), 3: ('i', 'varint'), 4: ('s', 'text'), 5: ('t', 'tensor'), 6: ('g', '!a graph'),
        7: ('floats', 'packed_fixed32'), 8: ('ints', 'packed_varint'), 9: ('strings', 'text'), 10: ('tensors', 'tensor'), 11: ('graphs', '!graphs'),
        13: ('doc_string', 'text'), 14: ('tp', 'type'), 15: ('type_protos', 'type'), 20: ('type', 'varint'), 21: ('ref_attr_name', 'text'),
        22: ('sparse_tensor', _SPARSE), 23: ('sparse_tensors', _SPARSE),
    },
    'tensor': {
        1: ('dims', 'packed_varint'), 2: ('data_type', 'varint'), 3: ('segment', '!a part of a tensor'), 4: ('float_data', 'packed_fixed32'),
        5: ('int32_data', 'packed_varint'), 6: ('string_data', 'bytes'), 7: ('int64_data', 'packed_varint'), 8: ('name', 'text'),
        9: ('raw_data', 'bytes'), 10: ('double_data', 'packed_fixed64'), 11: ('uint64_data', 'packed_varint'), 12: ('doc_string', 'text'),
        13: ('external_data', '!external data'), 14: ('data_location', 'varint'), 16: _METADATA,
    },
    'value': {1: ('name', 'text'), 2: ('type', 'type'), 3: ('doc_string', 'text'), 4: _METADATA},
    'type': {
        1: ('tensor_type', 'tensor_type'), 4: ('sequence_type', '!a type other than a tensor'), 5: ('map_type', '!a type other than a tensor'),
        6: ('denotation', 'text'), 7: ('opaque_type', '!a type other than a tensor'), 8: ('sparse_tensor_type', _SPARSE),
        9: ('optional_type', '!a type other than a tensor'),
    },
    'tensor_type': {1: ('elem_type', 'varint'), 2: ('shape', 'shape')},
    'shape': {1: ('dim', 'dimension')},
    'dimension': {1: ('dim_value', 'varint'), 2: ('dim_param', 'text'), 3: ('denotation', 'text')},
}  # fmt: skip


def _operator(name: str) -> str:
    return f'the operator {name}, which runs graphs of its own, is refused' if name in CONTROL_FLOW else ''


def _imported(name: str) -> str:
    return '' if name in IMPORTED else f'operators of the domain {name!r} are refused'


# {(message, field): why a text or a number there is refused, or nothing}
_TEXTS: dict[tuple[str, str], Callable[[str], str]] = {('node', 'op_type'): _operator, ('opset', 'domain'): _imported}
_NUMBERS: dict[tuple[str, str], Callable[[int], str]] = {
    ('attribute', 'type'): lambda number: 'a graph is refused' if number in GRAPHS else '',
    ('tensor', 'data_location'): lambda number: 'external data is refused' if number == EXTERNAL else '',
}
_ENDLESS = re.compile(rb'[\x80-\xff]{10}')  # no varint has more than ten bytes, of which the last is below 0x80


class _Refused(Exception):
    """Why bytes are refused, and the fields that lead there, the innermost first."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.way: list[str] = []


def check(data: bytes, source: str) -> None:
    """Look at all of a model file.

    source  how to name the file in a message
    raises  BundleFormatError with the place and the reason
    """
    if len(data) > LARGEST_BYTES:
        raise BundleFormatError(too_large(source))
    try:
        _Walk(data).message('model', 0, len(data))
    except _Refused as error:
        where = f'{".".join(reversed(error.way))}: ' if error.way else ''
        raise BundleFormatError(f'{source}: not a model file that is accepted: {where}{error}') from error.__cause__


def too_large(source: str) -> str:
    """What to say of a file with more than LARGEST_BYTES."""
    return f'{source}: larger than {LARGEST_BYTES} bytes: not a model file that is accepted'


class _Walk:
    """One pass over the bytes of a file."""

    def __init__(self, data: bytes) -> None:
        self._data, self._fields = data, 0

    def message(self, kind: str, start: int, end: int) -> None:
        """Look at a message between two positions."""
        known, counts, texts = MESSAGES[kind], dict[str, int](), dict[str, list[str]]()
        for number, wire_type, value, at in _positions(self._data, start, end):
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise _Refused(f'more than {MOST_FIELDS} fields')
            if number not in known:
                raise _Refused(f'field {number} is not one of ONNX')
            name, of = known[number]
            counts[name] = counts.get(name, -1) + 1
            try:
                self._field(kind, name, of, wire_type, value, at)
                if kind == 'node' and name in ('op_type', 'domain'):
                    texts.setdefault(name, []).append(self._data[at:value].decode())
            except _Refused as error:
                error.way.append(f'{name}[{counts[name]}]' if name in _REPEATED.get(kind, ()) else name)
                raise

        if 'domain' in texts:
            _check_domain(texts['domain'], texts.get('op_type', ['']))

    def _field(self, kind: str, name: str, of: str, wire_type: int, value: int, at: int) -> None:
        """Look at a field. `value` is a number, or where its content ends, which begins at `at`."""
        if of[0] == '!':
            raise _Refused(f'{of[1:]} is refused' if of[-1] != 's' else f'{of[1:]} are refused')
        if of.startswith('packed_') and wire_type == BYTES:
            self._packed(of, at, value)
            return
        wanted = _SCALARS.get(of.removeprefix('packed_'), BYTES)
        if wire_type != wanted:
            raise _Refused(f'malformed: wire type {wire_type}, expected {wanted}')
        if of == 'text':
            self._text(_TEXTS.get((kind, name)), at, value)
        elif of in MESSAGES:
            self.message(of, at, value)
        elif of == 'varint' and (why := _NUMBERS.get((kind, name), _fine)(value)):
            raise _Refused(why)

    def _text(self, check: Callable[[str], str] | None, start: int, end: int) -> None:
        try:
            text = self._data[start:end].decode()
        except UnicodeDecodeError as error:
            raise _Refused(f'not UTF-8: {self._data[start:end][:40]!r}') from error
        if check and (why := check(text[:100])):
            raise _Refused(why)

    def _packed(self, of: str, start: int, end: int) -> None:
        size = {'packed_fixed32': 4, 'packed_fixed64': 8}.get(of, 1)
        content = self._data[start:end]
        if (end - start) % size or (of == 'packed_varint' and content and (content[-1] > 0x7F or _ENDLESS.search(content))):
            raise _Refused('malformed: a list of numbers that ends within one')


def _check_domain(domains: list[str], operators: list[str]) -> None:
    """Of a field that appears twice one reader takes the first and another the last, so each of them has to be fine."""
    for domain in domains:
        if domain not in DOMAINS and not all((domain, operator) in CONTRIBUTED for operator in operators):
            raise _Refused(f'the operator {operators[0][:40]} of the domain {domain[:40]!r} is refused')


def _fine(_number: int) -> str:
    return ''


_REPEATED = {
    'model': ('opset_import', 'metadata_props'), 'node': ('input', 'output', 'attribute'), 'shape': ('dim',),
    'graph': ('node', 'initializer', 'input', 'output', 'value_info', 'quantization_annotation'),
}  # fmt: skip


def fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, content) of the fields of a protobuf message; of those that are no bytes the content is empty.

    raises  ValueError  where its bytes are no whole message
    """
    try:
        for number, wire_type, value, at in _positions(data, 0, len(data)):
            yield number, data[at:value] if wire_type == BYTES else b''
    except _Refused as error:
        raise ValueError(str(error)) from error


def _positions(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, wire type, value, position) of the fields between two positions: value is a number, or where the content ends."""
    at = start
    while at < end:
        key, at = _varint(data, at, end)
        number, wire_type = key >> 3, key & 7
        if wire_type not in (VARINT, FIXED64, BYTES, FIXED32) or not number:
            raise _Refused(f'byte {at} begins no field')
        if wire_type == VARINT:
            value, at = _varint(data, at, end)
            yield number, wire_type, value, at
            continue
        length = 8 if wire_type == FIXED64 else 4
        if wire_type == BYTES:
            length, at = _varint(data, at, end)
        if at + length > end:
            raise _Refused(f'it ends within a field, after {end} bytes')
        yield number, wire_type, at + length, at
        at += length


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(number, where the next byte is)."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise _Refused(f'it ends within a field, after {end} bytes')
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _Refused(f'byte {at} begins no field')
