r"""Regular expressions that whoever asks may write, over many texts at once. Pure.

Who calls it: filtering. They are those of RE2, as in Prometheus: time grows with the length of a text and no faster, whatever the expression. Python's
own would let one request stand still for hours, and with it all steps and scrapes, for they hold the interpreter's lock. ONNX Runtime has RE2 inside,
as the operator RegexFullMatch (https://onnx.ai/onnx/operators/onnx__RegexFullMatch.html), so the expression becomes a graph of one node.
"""

import re
import warnings
from collections.abc import Sequence

import numpy as np
import onnxruntime

from promlstm.engine.columns import Bools

LONGEST = 500  # characters of an expression
_STRING, _BOOL, _TEXT_ATTRIBUTE = 8, 9, 3  # of onnx.proto
_CONTROL = re.compile(r'[\x00-\x1f\x7f]')  # ONNX Runtime writes an expression that it refuses to standard error, as it is


class BadPattern(ValueError):
    """No regular expression of RE2."""


def full_match(pattern: str, texts: Sequence[str]) -> Bools:
    """Which texts an expression matches from end to end, bool [N]; a dot takes line feeds, as in Prometheus.

    raises  BadPattern

    >>> full_match('a.*|b', ['a', 'xa', 'b']).tolist()
    [True, False, True]
    """
    if len(pattern) > LONGEST:
        raise BadPattern(f'longer than {LONGEST} characters')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            re.compile(pattern)  # says what is wrong, and refuses most of what ONNX Runtime would complain about on standard error
    except (re.error, RecursionError, OverflowError) as error:
        raise BadPattern(str(error)) from error
    safe = _CONTROL.sub(lambda found: rf'\x{ord(found[0]):02x}', pattern)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads, options.inter_op_num_threads = 4, 1, 1
    try:
        session = onnxruntime.InferenceSession(_graph(f'(?s:{safe})'.encode()), options, providers=['CPUExecutionProvider'])
    except Exception as error:  # those of ONNX Runtime have no base of their own
        raise BadPattern('not a regular expression of RE2, which has no look-around and no back-references') from error
    found: Bools = session.run(None, {'x': np.array(texts, object)})[0] if len(texts) else np.zeros(0, bool)
    return found


def _graph(pattern: bytes) -> bytes:
    """An ONNX file: bool [N] y = RegexFullMatch(string [N] x)."""
    attribute = _bytes(1, b'pattern') + _bytes(4, pattern) + _number(20, _TEXT_ATTRIBUTE)
    node = _bytes(1, b'x') + _bytes(2, b'y') + _bytes(4, b'RegexFullMatch') + _bytes(5, attribute)
    graph = _bytes(1, node) + _bytes(2, b'match') + _bytes(11, _column(b'x', _STRING)) + _bytes(12, _column(b'y', _BOOL))
    return _number(1, 9) + _bytes(7, graph) + _bytes(8, _number(2, 20))


def _column(name: bytes, kind: int) -> bytes:
    shape = _bytes(1, _bytes(2, b'N'))
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, shape)))


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
