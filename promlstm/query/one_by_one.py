"""The series of an answer one after the other, for answers in which some cannot be read: these are left out and counted, the others are of use.

Who calls it: prometheus, where samples.py could not read an answer as columns. What flows through: the bytes of the list of series; out come the same
columns, or the error that says what is wrong with it.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from promlstm.errors import QueryRejected, ResponseError
from promlstm.query.samples import Columns, Spans

# What msgspec raises of bytes that are no answer; nested too deep is one way.
NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Series(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    value: tuple[float, str] = None  # type: ignore[assignment]  # of a native histogram
    values: list[tuple[float, str]] | None = None
    histogram: Any = None
    histograms: Any = None


_decode_series = msgspec.json.Decoder(list[_Series] | None).decode
_decode_each = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_one = msgspec.json.Decoder(_Series).decode


def _found(raw: msgspec.Raw) -> tuple[list[_Series], int]:
    """(list of _Series, how many were left out for they cannot be read); ResponseError where none can."""
    try:
        return _decode_series(raw) or [], 0
    except NO_JSON as error:
        found, count = _readable(raw)
        if not found:
            raise ResponseError(f'the result of a query has an unknown shape: {error}') from error
    return found, count - len(found)


def _readable(raw: msgspec.Raw) -> tuple[list[_Series], int]:
    """(the series that can be read, how many there are), one after the other."""
    found, each = [], []
    with suppress(*NO_JSON):
        each = _decode_each(raw)
    for one in each:
        with suppress(*NO_JSON):
            found.append(_decode_one(one))
    return found, len(each)


def _without_histograms(series: list[_Series], has_numbers: Callable[[_Series], object], expr: str) -> list[_Series]:
    """The series that have numbers; QueryRejected where there are none but native histograms."""
    kept = [item for item in series if has_numbers(item)]
    if series and not kept:
        raise QueryRejected(f'the expression gives native histograms, expected numbers (use histogram_quantile or histogram_count): {expr}')
    return kept


def columns(result: msgspec.Raw, expr: str) -> Columns:
    """As samples.read, of the series that have a number; an error where there are series and none has one."""
    found, unread = _found(result)
    series = _without_histograms(found, lambda item: item.value is not None, expr)
    readable = [item for item in series if _is_number(item.value[1])]
    if series and not readable:
        number(series[0].value[1])
    values = np.array([float(item.value[1]) for item in readable], np.float64)
    return [bytes(item.metric) for item in readable], [item.value[0] for item in readable], values, unread + len(found) - len(readable)


def spans(result: msgspec.Raw, expr: str) -> Spans:
    """As samples.read_spans, of the series that have numbers; an error where there are series and none has some."""
    found, unread = _found(result)
    read: list[tuple[bytes, Sequence[tuple[float, str]]]] = []
    problem = ''
    for item in _without_histograms(found, lambda item: item.values or not item.histograms, expr):
        pairs = item.values or []
        if wrong := next((text for _, text in pairs if not _is_number(text)), None):
            problem = wrong
        else:
            read.append((bytes(item.metric), pairs))
    if problem and not read:
        number(problem)
    every = [pair for _, pairs in read for pair in pairs]
    times, values = (np.array(column, np.float64) for column in ([time for time, _ in every], [float(text) for _, text in every]))
    counts = np.array([len(pairs) for _, pairs in read], np.int64)
    return [key for key, _ in read], counts, times, values, unread + len(found) - len(read)


def number(text: str) -> float:
    """A sample as float() reads it; ResponseError where it is no number."""
    try:
        return float(text)
    except ValueError as error:
        raise ResponseError(f'a sample is not a number: {text[:40]!r}') from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
