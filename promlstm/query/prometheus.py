"""The HTTP API of Prometheus (and of those that speak it): instant and range queries, as columns.

Who calls it: detector (instant, every step), warm start and backtest (range, in chunks), `check-config`. What flows through: an
expression and times; out come raw label bytes and float64 columns. It never retries by itself (the clock comes round again).

Labels stay the raw bytes of the answer: parsing 100 000 label sets costs more than all the rest of a step.
"""

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from promlstm.errors import QueryRejected, ResponseError, SourceUnavailable
from promlstm.query.http import Http

POINTS_PER_SERIES = 11_000  # Prometheus refuses a range query beyond
POINTS_PER_ANSWER = 400_000  # what we ask for at once: about 10 MB of JSON


class _Series(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = []
    histogram: Any = None
    histograms: Any = None


class _Data(msgspec.Struct, gc=False):
    resultType: str
    result: msgspec.Raw


class _Answer(msgspec.Struct, gc=False):
    status: str
    data: _Data | None = None
    errorType: str = ''
    error: str = ''
    warnings: list[str] = []


class _Build(msgspec.Struct, gc=False):
    data: dict[str, str] = {}


# What msgspec raises of bytes that are no answer; nested too deep is one way.
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_series = msgspec.json.Decoder(list[_Series]).decode
_decode_scalar = msgspec.json.Decoder(tuple[float, str]).decode


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """An instant answer: raw label bytes of n series and their values (float64 [n]; NaN and ±Inf as Prometheus has them)."""

    keys: list
    values: np.ndarray
    warnings: tuple = ()


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A range answer on its grid: times [T], raw label bytes of n series, values float64 [T, n], NaN = no sample."""

    times: np.ndarray
    keys: list
    values: np.ndarray
    warnings: tuple = ()


class Prometheus:
    """One query API, as the configuration describes it."""

    def __init__(self, source, *, root='.'):
        self._source = source
        self._http = Http(source, root=root)
        self._url = self._http.url

    def instant(self, expr, time):
        """The value of an expression at an instant (unix seconds), as a Vector."""
        data, warnings = self._ask('query', {'query': expr, 'time': f'{time:.3f}'}, self._source.timeout)
        if data.resultType == 'scalar':
            return Vector([b'{}'], np.array([_number(_typed(_decode_scalar, data.result)[1])]), warnings)
        if data.resultType != 'vector':
            raise QueryRejected(f'the expression gives a {data.resultType}, expected a vector (one value per series): {expr}')
        series = _typed(_decode_series, data.result)
        if any(item.value is None for item in series):
            raise QueryRejected(
                f'the expression gives native histograms, expected numbers (use histogram_quantile or histogram_count): {expr}'
            )
        values = np.fromiter((_number(item.value[1]) for item in series), np.float64, len(series))
        return Vector([bytes(item.metric) for item in series], values, warnings)

    def range(self, expr, start, end, step, series=1):
        """The values of an expression at start, start + step, … end (unix seconds), as Matrices in time order.

        series   how many are expected: decides how many steps are asked for at once
        returns  iterator of Matrix; together they cover the grid, each with the series that it met
        """
        steps = math.floor((end - start) / step + 1e-6) + 1
        at_once = max(1, min(POINTS_PER_SERIES - 1, POINTS_PER_ANSWER // max(1, series)))
        for first in range(0, steps, at_once):
            count = min(at_once, steps - first)
            yield self._range(expr, start + first * step, count, step)

    def _range(self, expr, start, count, step):
        times = start + step * np.arange(count)
        form = {'query': expr, 'start': f'{start:.3f}', 'end': f'{times[-1]:.3f}', 'step': f'{step:.3f}'}
        data, warnings = self._ask('query_range', form, self._source.timeout)
        if data.resultType != 'matrix':
            raise ResponseError(f'query_range gave a {data.resultType}, expected a matrix: {expr}')
        series = _typed(_decode_series, data.result)
        values = np.full((count, len(series)), np.nan)
        for column, item in enumerate(series):
            rows = np.rint((np.fromiter((sample[0] for sample in item.values), np.float64, len(item.values)) - start) / step)
            kept = (rows >= 0) & (rows < count)
            found = np.fromiter((_number(sample[1]) for sample in item.values), np.float64, len(item.values))
            values[rows[kept].astype(np.int64), column] = found[kept]
        return Matrix(times, [bytes(item.metric) for item in series], values, warnings)

    def build(self):
        """What the server says of itself: a dict, empty where it does not say (Prometheus has `version`)."""
        _, body = self._http.send('GET', 'api/v1/status/buildinfo', {}, min(10.0, self._source.timeout))
        try:
            return msgspec.json.decode(body, type=_Build).data
        except _NO_JSON:
            return {}

    def _ask(self, what, form, timeout):
        form = {**form, 'timeout': f'{max(1, round(timeout))}s', **self._source.params}
        status, body = self._http.send('POST', f'api/v1/{what}', form, timeout)
        try:
            answer = _decode_answer(body)
        except _NO_JSON as error:
            raise self._not_json(status, body, error) from error
        if answer.status == 'success':
            if answer.data is None:
                raise ResponseError(f'{self._url} answered {status} with a success without data')
            return answer.data, tuple(answer.warnings)
        said = f'{answer.errorType or status}: {answer.error or "no reason given"}'
        if status in (400, 422):
            raise QueryRejected(f'{self._url} rejects the expression ({status} {said}): {form["query"]}')
        raise SourceUnavailable(f'{self._url} could not answer ({status} {said})')

    def _not_json(self, status, body, error):
        start = ' '.join(body[:120].decode(errors='replace').split())
        if status == 429 or status >= 500:
            return SourceUnavailable(f'{self._url} answered {status}: {start!r}')
        if status in (401, 403):
            return SourceUnavailable(f'{self._url} answered {status}: not allowed; check basic_auth or authorization: {start!r}')
        return ResponseError(f'{self._url} answered {status} with something that is not a query result ({error}); it begins with {start!r}')


def _typed(decode, raw):
    try:
        return decode(raw)
    except _NO_JSON as error:
        raise ResponseError(f'the result of a query has an unknown shape: {error}') from error


def _number(text):
    try:
        return float(text)
    except ValueError as error:
        raise ResponseError(f'a sample is not a number: {text[:40]!r}') from error
