"""The series of an answer as columns, read a part at a time.

Who calls it: prometheus, for each answer. What flows through: the bytes of the list of series; out come raw label bytes, times and values.

Of each series there are half a dozen objects until its columns are made. For all series of an answer at once they are many times what the processor's
cache holds, and memory that the allocator keeps for the next step; other threads would wait for all of it. So the list is cut between two series where
the text says that one ends and another begins: `},{"metric":{` cannot stand within a string, whose quotes are escaped. A cut in a wrong place leaves
brackets without their counterpart, which no decoder takes.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PART_BYTES = 1 << 17  # about 700 series
_BETWEEN = re.compile(rb'\},\{"metric":\{')

Columns = tuple[list[bytes], list[float], Floats, int]  # raw labels, the times that samples have, values float64 [n], how many series were left out


# Of a range: raw labels, how many samples each series has, times and values float64 of all samples, how many series were left out.
Spans = tuple[list[bytes], npt.NDArray[np.int64], Floats, Floats, int]


class _Series(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    value: tuple[float, str]


class _Span(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    values: msgspec.Raw


_decode = msgspec.json.Decoder(list[_Series]).decode
_decode_spans = msgspec.json.Decoder(list[_Span]).decode
_decode_pairs = msgspec.json.Decoder(list[tuple[float, str]]).decode
_decode_numbers = msgspec.json.Decoder(list[float]).decode


def read(result: bytes | msgspec.Raw) -> Columns | None:
    """The Columns of a list of series; None where one of them is no series with a number.

    >>> read(b'[{"metric":{"a":"b"},"value":[1750000200.5,"-0"]},{"metric":{},"value":[1750000200.5,"+Inf"]}]')
    ([b'{"a":"b"}', b'{}'], [1750000200.5], array([-0., inf]), 0)
    >>> read(b'[{"metric":{},"value":[1,"one"]}]')
    """
    keys: list[bytes] = []
    times: dict[float, None] = {}  # in the order in which they come
    values: list[Floats] = [np.empty(0)]
    try:
        for part in _parts(memoryview(result)):
            series = _decode(part)
            keys += [bytes(each.metric) for each in series]
            samples = [each.value for each in series]
            times |= dict.fromkeys([time for time, _ in samples])
            values.append(_numbers([text for _, text in samples]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    return keys, list(times), np.concatenate(values), 0


def read_spans(result: bytes | msgspec.Raw) -> Spans | None:
    """The Spans of a list of series of a range answer; None where one of them is no series with numbers.

    >>> read_spans(b'[{"metric":{"a":"b"},"values":[[60,"1"],[120,"-0"]]},{"metric":{},"values":[[60.5,"NaN"]]}]')
    ([b'{"a":"b"}', b'{}'], array([2, 1]), array([ 60. , 120. ,  60.5]), array([ 1., -0., nan]), 0)
    >>> read_spans(b'[{"metric":{},"values":[[1,"one"]]}]')
    """
    keys: list[bytes] = []
    counts: list[int] = []
    samples: list[Floats] = [np.empty((0, 2))]
    try:
        for part in _parts(memoryview(result)):
            series = _decode_spans(part)
            keys += [bytes(each.metric) for each in series]
            texts = [bytes(each.values) for each in series]
            counts += [text.count(b'"') // 2 for text in texts]
            samples.append(_pairs(texts, sum(counts[-len(texts) :])))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    times, values = np.concatenate(samples).T
    return keys, np.array(counts, np.int64), times, values, 0


def _pairs(texts: Sequence[bytes], count: int) -> Floats:
    """float64 [count, 2]: times and values of lists of [time, "value"], the values as float() reads them. Without quotes all is one list of numbers."""
    text = b','.join(texts)
    bare = text.translate(None, b'"[]')
    if len(text) - len(bare) == 4 * count + 2 * len(texts):
        with suppress(msgspec.DecodeError):  # NaN, infinity, what is odd
            numbers = np.fromiter(_decode_numbers(b'[' + bare + b']'), np.float64)
            negative_zeros = b'"-0' in text and not numbers[1::2].all()  # the decoder takes -0 for 0
            if len(numbers) == 2 * count and not negative_zeros:
                return numbers.reshape(count, 2)
    pairs = [(time, float(value)) for each in texts for time, value in _decode_pairs(each)]
    return np.array(pairs, np.float64).reshape(count, 2)


def _parts(result: memoryview) -> Iterator[bytes]:
    """The list in parts that are lists themselves."""
    if bytes(result[:1]) != b'[':
        yield bytes(result)
        return
    start, end = 1, len(result) - 1
    while start < end:
        found = _BETWEEN.search(result, min(start + PART_BYTES, end), end)
        stop = found.start() + 1 if found else end
        yield b''.join((b'[', result[start:stop], b']'))
        start = stop + 1


def _numbers(texts: Sequence[str]) -> Floats:
    """float64 [n] of texts, as float() reads them. A decoder of JSON is faster, but for NaN, infinity and what is odd.

    >>> _numbers(['0.1', '1e-9', '7']), _numbers(['NaN', ' 1 ', '1_0'])
    (array([1.e-01, 1.e-09, 7.e+00]), array([nan,  1., 10.]))
    >>> _numbers(['1,2', '3']).tolist()
    Traceback (most recent call last):
    ValueError: could not convert string to float: '1,2'
    """
    try:
        numbers = np.array(_decode_numbers('[' + ','.join(texts) + ']'), np.float64)
    except msgspec.DecodeError:
        numbers = np.empty(0)
    if len(numbers) != len(texts):  # a text that is no number, or several
        return np.array([float(text) for text in texts])
    for row in np.flatnonzero(numbers == 0).tolist():
        numbers[row] = float(texts[row])  # the decoder takes -0 for 0
    return numbers
