"""The digest at the end of a model file: whether its bytes are those that were released. Pure; it needs no ONNX library.

    file = what it covers | the last entry of metadata_props: promlstm.digest = sha256 of what it covers, 64 hexadecimal digits

An ONNX file is a protobuf message, in which an entry of a repeated field may be appended to the end (https://protobuf.dev/programming-guides/
encoding/). So every byte of the file is covered: graph, weights, manifest, calibration and proof by the digest, and the entry itself by being
the only one of its form. Other readers of ONNX see one more property.

Who calls it: session.load, before ONNX Runtime sees the bytes; convert.release, which appends it. Files of format 1 have none.
"""

import hashlib

from promlstm.engine import wire
from promlstm.engine.manifest import PREFIX, check_format
from promlstm.errors import BundleFormatError

KEY = PREFIX + 'digest'
METADATA_PROPS = 14  # number of the field in onnx.ModelProto
REMEDY = 'copy it again from where it was released, or make it again with `python -m convert`'


def _entry(sha256: str) -> bytes:
    """An entry of metadata_props as protobuf has it; none of its lengths needs a second byte."""
    key, value = KEY.encode(), sha256.encode()
    pair = bytes([1 << 3 | wire.BYTES, len(key)]) + key + bytes([2 << 3 | wire.BYTES, len(value)]) + value
    return bytes([METADATA_PROPS << 3 | wire.BYTES, len(pair)]) + pair


LENGTH = len(_entry('0' * 64))


def appended(data: bytes) -> bytes:
    """The bytes of an ONNX file with their digest at the end.

    >>> check(appended(b''), 'empty.onnx')
    """
    return data + _entry(hashlib.sha256(data).hexdigest())


def check(data: bytes, source: str) -> None:
    """Check that the bytes of a model file are those that were released.

    source  how to name the file in a message
    raises  BundleFormatError where a byte differs, is missing or was added; where there is no digest, but for a file of format 1
    """
    covered, last = data[:-LENGTH], data[-LENGTH:]
    wanted = _entry(hashlib.sha256(covered).hexdigest())
    if last == wanted:
        return
    if last[:-64] == wanted[:-64]:
        raise BundleFormatError(f'{source}: it was changed or damaged: its content does not match the digest at its end: {REMEDY}')
    try:
        found = properties(data)
    except ValueError as error:
        raise BundleFormatError(f'{source}: not an ONNX file, or a damaged one: {error}: {REMEDY}') from error
    manifest = found.get(PREFIX + 'manifest')
    if manifest is None:
        why = 'not made by `python -m convert` (`python -m convert wrap` wraps a plain ONNX file), or a damaged file'
        raise BundleFormatError(f'{source}: no {PREFIX}manifest in the file: {why}')
    try:
        version = check_format(manifest)
    except BundleFormatError as error:
        raise BundleFormatError(f'{source}: {error}') from error.__cause__
    if version > 1 or KEY in found:
        raise BundleFormatError(f'{source}: no digest at the end of the file: something was cut off, added or changed there: {REMEDY}')


def properties(data: bytes) -> dict[str, str]:
    """The metadata_props of an ONNX file, the first of each key; ValueError where its bytes are no whole protobuf message.

    >>> list(properties(appended(b'')))
    ['promlstm.digest']
    """
    out: dict[str, str] = {}
    for number, pair in wire.fields(data):
        if number == METADATA_PROPS:
            parts = dict(wire.fields(pair))
            out.setdefault(parts.get(1, b'').decode('utf-8', 'replace'), parts.get(2, b'').decode('utf-8', 'replace'))
    return out
