"""The HTTP API of Prometheus (and of those that speak it): instant and range queries, as columns.

Who calls it: detector (instant, every step), warm start and backtest (range, in chunks), `check-config`. What flows through: an
expression and times; out come raw label bytes and float64 columns. A query that failed is not sent again (the clock comes round again).

What servers do differently is settled here: which method they take, on which grid they answer a range (grid.py), how they say that an
answer is partial, and what stands in an answer that is no number: that series is left out and counted, the others are of use.

Labels stay the raw bytes of the answer: parsing 100 000 label sets costs more than all the rest of a step.
"""

import math
import re
import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from promlstm.durations import seconds
from promlstm.errors import QueryRejected, ResponseError, SourceRefused, SourceUnavailable
from promlstm.query import grid, one_by_one, samples
from promlstm.query.ahead import ahead
from promlstm.query.dialect import DIALECTS
from promlstm.query.http import Http, Reply, printable
from promlstm.query.in_flight import Answer
from promlstm.query.interfaces import QuerySource
from promlstm.query.one_by_one import NO_JSON
from promlstm.query.skew import skew

Floats = npt.NDArray[np.float64]
T = TypeVar('T')

POINTS_PER_SERIES = 11_000  # Prometheus refuses a range query beyond
POINTS_PER_ANSWER = 400_000  # what we ask for at once: about 10 MB of JSON
LEAST_STEPS = 12  # of more series than that: each answer has their labels and a step more once, whatever its length
LABELS_BYTES, SAMPLE_BYTES = 300, 40  # of a series in an answer, on the safe side
SAME_SECONDS = 0.001  # times come in milliseconds
REST_SECONDS = 300.0  # at most; what a server says in Retry-After holds for all who ask it
CLOCK_SECONDS = 1.0  # a sample of an instant query may be this far from the requested time: times may come in whole seconds

# Where GET is worth a try after POST (405 and 501 as Prometheus' own clients do), and what a gateway says that allows by method:
# Kubernetes takes POST for `create` and GET for `get`.
_NO_POST = (405, 415, 501)
_SAYS_METHOD = re.compile(rb'(?i)\bmethod\b|\bPOST\b|\bcannot create\b')
_HINT = re.compile(r'PromQL (info|warning):')  # annotations of the engine on the expression, which 2.48 to 2.53 send among the warnings


# An escape in JSON; groups 1 and 2: one that there is not, as half of a surrogate pair is, and a bare control character.
_HEX = rb'[0-9a-fA-F]'
_ESCAPE = re.compile(
    rb'\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])' + _HEX + rb'{4}|u[dD][89abAB]' + _HEX + rb'{2}\\u[dD][c-fC-F]' + _HEX + rb'{2}|(.|\Z))'
    rb'|([\x00-\x08\x0b\x0c\x0e-\x1f])', re.S
)


class _Data(msgspec.Struct, gc=False):
    resultType: str
    result: msgspec.Raw = msgspec.Raw(b'null')


class _Answer(msgspec.Struct, gc=False):
    status: str
    data: _Data | msgspec.UnsetType | None = msgspec.UNSET
    errorType: Any = ''
    error: Any = ''
    warnings: list[str] | None = None
    infos: list[str] | None = None  # annotations of the engine on the expression, since 2.54
    isPartial: bool | None = None  # VictoriaMetrics


class _Build(msgspec.Struct, gc=False):
    data: dict[str, str] = {}
    version: str = ''  # Loki


class _RuntimeInfo(msgspec.Struct, gc=False):
    storageRetention: str = ''


class _Runtime(msgspec.Struct, gc=False):
    data: _RuntimeInfo = msgspec.field(default_factory=_RuntimeInfo)


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_scalar = msgspec.json.Decoder(tuple[float, str]).decode


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """An instant answer.

    keys      list of bytes, n: raw labels
    values    float64 [n]; NaN and ±Inf as Prometheus has them
    warnings  why the answer may be partial, in the server's words
    partial   the server says that series may be lacking: nobody is missing because of it
    unread    series that were left out, for they hold a native histogram or no number
    hints     what the server says of the expression, which is no reason to doubt the answer
    offset_seconds  how far the samples are from the requested time: more than a second comes out of a cache, or of a
              parameter that was replaced on the way; 0 = within a second
    """

    keys: list[bytes]
    values: Floats
    warnings: tuple[str, ...] = ()
    partial: bool = False
    unread: int = 0
    offset_seconds: float = 0.0
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A range answer on its grid: times [T], and as Vector with values float64 [T, n], NaN = no sample."""

    times: Floats
    keys: list[bytes]
    values: Floats
    warnings: tuple[str, ...] = ()
    partial: bool = False
    unread: int = 0
    hints: tuple[str, ...] = ()


class _Said(NamedTuple):
    """What a successful answer holds: its data or None, why it may be partial, and what it says of the expression."""

    data: _Data | None
    warnings: tuple[str, ...]
    hints: tuple[str, ...]


class Prometheus:
    """One query API, as the configuration describes it.

    dialect             what is its own about its kind
    concurrency         queries in flight
    clock_skew_seconds  how far its clock was ahead of ours at the last answer, see skew.py; NaN = not known, for it has no Date
    """

    def __init__(
        self, source: QuerySource, *, root: str | Path = '.', where: str = 'prometheus', now: Callable[[], float] = clock.time,
        steady: Callable[[], float] = clock.monotonic,
    ) -> None:  # fmt: skip
        self._steady = steady
        self._source, self._now, self.dialect, self.concurrency = source, now, DIALECTS[source.kind], source.concurrency
        self._http = Http(source, root=root, where=where)
        self._url = self._http.url
        self._method: str = 'POST' if source.method == 'auto' else source.method
        self.clock_skew_seconds = math.nan
        self._rests_until = -math.inf  # of the steady clock
        self._instants: dict[str, tuple[float, float]] = {}  # by expression: the last instant that was asked for, and that of its samples

    def instant(self, expr: str, time: float) -> Vector:
        """The value of an expression at an instant (unix seconds), as a Vector."""
        return self.vector(expr, time, {})

    def vector(self, expr: str, time: float, more: Mapping[str, str]) -> Vector:
        """As `instant`, with more parameters in the question: {name: text}."""
        with self._http.answer() as room:
            form = {'query': expr, 'time': f'{time:.3f}', **more}
            return self._vector(expr, time, self._ask(self.dialect.instant, form, self._source.timeout, room))

    def _vector(self, expr: str, time: float, said: _Said) -> Vector:
        data, warnings, hints = said
        if data is None:
            return Vector([], np.empty(0), warnings, bool(warnings), hints=hints)
        if data.resultType == 'scalar':
            return Vector([b'{}'], np.array([one_by_one.number(_typed(_decode_scalar, data.result)[1])]), warnings, bool(warnings), hints=hints)
        if data.resultType != 'vector':
            raise QueryRejected(f'the expression gives a {data.resultType}, expected a vector (one value per series): {expr}')
        keys, times, values, unread = samples.read(data.result) or one_by_one.columns(data.result, expr)
        offset = _offset(times, time)
        self._refuse_repeated(expr, time, offset)
        return Vector(keys, values, warnings, bool(warnings), unread, offset, hints)

    def _refuse_repeated(self, expr: str, time: float, offset: float) -> None:
        """ResponseError where the samples are those of the answer to an earlier question: judged as new ones they would freeze the scores.

        A server that answers for another instant, as VictoriaMetrics for one a little earlier, moves on with the question.
        """
        asked, answered = self._instants.get(expr, (math.inf, math.inf))
        if offset and time > asked + CLOCK_SECONDS and abs(time + offset - answered) < SAME_SECONDS:
            raise ResponseError(
                f'{self._url} answers for an instant {abs(offset):.3g} s {"before" if offset < 0 else "after"} the one that was asked for, as it did '
                f'{time - asked:.3g} s ago: a cache, or something that replaces the time of a query, stands in between'
            )
        self._instants[expr] = time, time + offset

    def range(self, expr: str, start: float, end: float, step: float, series: int = 1) -> Iterator[Matrix]:
        """The values of an expression at start, start + step, … end (unix seconds), as Matrices in time order.

        series   how many are expected: decides how many steps are asked for at once
        returns  iterator of Matrix, each asked for while the one before is in use; together they cover the grid, each with the series that it
                 met. A row has the sample at or just before its instant, on whatever grid the server answers
        """
        steps = math.floor((end - start) / step + 1e-6) + 1
        yield from ahead(self._ranges(expr, start, steps, step, max(1, series)))

    def _ranges(self, expr: str, start: float, steps: int, step: float, series: int) -> Iterator[Matrix]:
        """As `range`. A server that does not answer a question about LEAST_STEPS is asked for less from there on."""
        first, few = 0, max(1, min(POINTS_PER_SERIES - 2, POINTS_PER_ANSWER // series))
        affordable = (self._http.max_response // 2 // series - LABELS_BYTES) // SAMPLE_BYTES  # in half of the largest answer
        many = max(few, min(LEAST_STEPS, affordable))
        while first < steps:
            count = min(many, steps - first)
            try:
                found = self._range(expr, start + first * step, count, step)
            except (SourceUnavailable, ResponseError):
                if count <= few:
                    raise
                many = few
                continue
            first += count
            yield found

    def _range(self, expr: str, start: float, count: int, step: float) -> Matrix:
        """One Matrix. A step more is asked for, before the first: where the server's grid is another, row 0 has its sample there.

        The end is later by what a sample may be late, so that the last row does not lose one that is.
        """
        times = start + step * np.arange(count, dtype=np.float64)
        form = {'start': f'{start - step:.3f}', 'end': f'{times[-1] + grid.TOLERANCE_SECONDS:.3f}', 'step': f'{step:.3f}'}
        return self.matrix(expr, times, step, form)

    def matrix(self, expr: str, times: Floats, step: float, form: Mapping[str, str], *, shift_seconds: float | None = None) -> Matrix:
        """The Matrix of a question in so many words, on these instants, which are a step apart.

        shift_seconds  what the times in the answer are early by, where they have to lie on the instants then
        """
        with self._http.answer() as room:
            return self._matrix(expr, times, step, self._ask(self.dialect.ranged, {'query': expr, **form}, self._source.timeout, room), shift_seconds)

    def _matrix(self, expr: str, times: Floats, step: float, said: _Said, shift_seconds: float | None) -> Matrix:
        count, (data, warnings, hints) = len(times), said
        if data is None:
            return Matrix(times, [], np.empty((count, 0)), warnings, bool(warnings), hints=hints)
        if data.resultType != 'matrix':
            raise ResponseError(f'query_range gave a {data.resultType}, expected a matrix: {expr}')
        keys, counts, instants, found, unread = samples.read_spans(data.result) or one_by_one.spans(data.result, expr)
        if shift_seconds is not None:
            instants = instants + shift_seconds
            self._refuse_other_buckets(instants, float(times[0]), step)
        rows, columns = grid.rows(instants, float(times[0]), step, count), np.repeat(np.arange(len(keys)), counts)
        on_grid = rows >= 0
        rows, columns, found = rows[on_grid], columns[on_grid], found[on_grid]
        met = np.bincount(columns, minlength=len(keys)) > 0
        values = np.full((count, int(met.sum())), np.nan)
        values[rows, (np.cumsum(met) - 1)[columns]] = found
        return Matrix(times, list(compress(keys, met)), values, warnings, bool(warnings), unread, hints)

    def _refuse_other_buckets(self, instants: Floats, start: float, step: float) -> None:
        """ResponseError where samples are of other windows than was asked for: those of history would not be those of live steps."""
        places = (instants - start) / step
        if len(places) and float(np.abs(places - np.rint(places)).max()) * step > grid.TOLERANCE_SECONDS:
            raise ResponseError(
                f'{self._url} answers for other windows of time than was asked for: it does not know the parameter offset. Take a newer version, or '
                'say delay: 0s, or a delay of whole steps'
            )

    def share_memory(self, apis: int) -> None:
        """As Http.share_memory."""
        self._http.share_memory(apis)

    def check_files(self) -> None:
        """Look at the secrets and certificates that queries need; ConfigError names the file that cannot be used."""
        self._http.check_files()

    def build(self) -> dict[str, str]:
        """What the server says of itself: a dict, empty where it does not say (Prometheus has `version`)."""
        if not self.dialect.build:
            return {}
        _, _, body = self._http.send('GET', self.dialect.build, {}, min(10.0, self._source.timeout))
        try:
            said = msgspec.json.decode(body, type=_Build)
        except NO_JSON:
            return {}
        return said.data or ({'version': said.version} if said.version else {})

    def retention_seconds(self) -> float | None:
        """How long the server keeps samples; None where it does not say, as Thanos, Mimir and VictoriaMetrics, or limits their size only."""
        if not self.dialect.keeps:
            return None
        try:
            _, _, body = self._http.send('GET', self.dialect.keeps, {}, min(10.0, self._source.timeout))
            return seconds(msgspec.json.decode(body, type=_Runtime).data.storageRetention.split(' or ')[0])
        except (*NO_JSON, SourceUnavailable, ResponseError, ValueError):
            return None

    def _ask(self, path: str, form: Mapping[str, str], timeout: float, room: Answer) -> _Said:
        """What a successful answer says. A server that asked for rest is not asked meanwhile, whoever it said that to."""
        if (rest := self._rests_until - self._steady()) > 0:
            raise _resting(f'{self._url} asked for a pause (Retry-After): no queries for another {rest:.0f} s', rest)
        if self.dialect.takes_timeout:
            form = {**form, 'timeout': f'{max(1, round(timeout))}s'}
        sent = self._now()
        status, headers, body = self._send(path, form, timeout, room)
        if status in (429, 503) and (wait := _retry_after(headers)):
            self._rests_until = self._steady() + min(wait, REST_SECONDS)
        self.clock_skew_seconds = skew(headers, sent, self._now())
        if status == 400 and self.dialect.refuses_in_text and not body.lstrip().startswith(b'{'):
            raise QueryRejected(f'{self._url} rejects the expression ({printable(body[:2000].decode(errors="replace"))}): {form["query"]}')
        answer = self._answer(status, headers, body)
        if answer.status == 'success':
            if answer.data is msgspec.UNSET:
                raise ResponseError(f'{self._url} answered {status} with a success without data')
            return _Said(answer.data, _partial(answer), _hints(answer))
        said = f'{_text(answer.errorType) or status}: {_text(answer.error) or "no reason given"}'
        if status in (400, 422):
            raise QueryRejected(f'{self._url} rejects the expression ({status} {said}): {form["query"]}')
        if status in (401, 403):
            raise SourceRefused(f'{self._url} answered {status}: not allowed; check basic_auth, authorization or oauth2: {said}')
        raise _unavailable(f'{self._url} could not answer ({status} {said})', headers)

    def _answer(self, status: int, headers: Message, body: bytearray) -> _Answer:
        # No exception is kept in a variable here and below: its traceback would hold the body until the next garbage collection.
        try:
            return _decode_answer(body)
        except NO_JSON as error:
            if not _confined(body):
                raise self._not_json(status, headers, body, error) from error
        try:
            return _decode_answer(body)
        except NO_JSON as error:
            raise self._not_json(status, headers, body, error) from error

    def _send(self, path: str, form: Mapping[str, str], timeout: float, room: Answer) -> Reply:
        """The Reply to a query, by the method that this server takes: found out once, where the configuration does not name it."""
        began = clock.monotonic()
        reply = self._http.send(self._method, path, form, timeout, room)
        if self._source.method != 'auto' or not _refuses_method(reply):
            return reply
        other = 'GET' if self._method == 'POST' else 'POST'
        again = self._http.send(other, path, form, max(0.001, timeout - (clock.monotonic() - began)), room)
        if again.status in (401, 403, 404) or _refuses_method(again):
            return reply
        self._method = other
        return again

    def _not_json(self, status: int, headers: Message, body: bytearray, error: Exception) -> ResponseError | SourceUnavailable:
        start = repr(' '.join(bytes(body[:120]).decode(errors='replace').split()))
        if status == 429 or status >= 500:
            return _unavailable(f'{self._url} answered {status}: {start}', headers)
        if status in (401, 403):
            return SourceRefused(f'{self._url} answered {status}: not allowed; check basic_auth, authorization or oauth2: {start}')
        if status == 404:
            return ResponseError(f'{self._url} answered 404: there is no {self.dialect.instant} below it; check the path of its url: {start}')
        if status in _NO_POST:
            return ResponseError(f'{self._url} answered {status}: it takes another method than {self._method}; check its key method: {start}')
        if status == 414:
            return ResponseError(f'{self._url} answered 414: the expression is too long for a URL; set its key method to POST: {start}')
        return ResponseError(f'{self._url} answered {status} with something that is not a query result ({error}); it begins with {start}')


def _confined(body: bytearray) -> bool:
    """Whether the body has escapes or characters that JSON has not. Each becomes a bad byte, so that only its own series is unreadable."""
    bad = [match.span() for match in _ESCAPE.finditer(body) if match.lastindex]
    for start, end in bad:
        body[start:end] = b'\xff' * (end - start)
    return bool(bad)


def _refuses_method(reply: Reply) -> bool:
    return reply.status in (*_NO_POST, 414) or (reply.status == 403 and _SAYS_METHOD.search(reply.body[:4096]) is not None)


def _unavailable(text: str, headers: Message) -> SourceUnavailable:
    return _resting(text, _retry_after(headers))


def _resting(text: str, seconds: float | None) -> SourceUnavailable:
    """The error of a server that asks to be left alone for so long; None = it does not say."""
    error = SourceUnavailable(text)
    error.retry_after_seconds = seconds
    return error


def _retry_after(headers: Message) -> float | None:
    """Seconds; a date is not read, for it needs a clock that agrees."""
    wait = headers.get('Retry-After', '').strip()
    return float(wait[:9]) if wait.isascii() and wait.isdigit() else None


def _partial(answer: _Answer) -> tuple[str, ...]:
    """Why an answer may be partial: warnings that are not hints on the expression, and what VictoriaMetrics says."""
    warnings = tuple(printable(text) for text in answer.warnings or () if not _HINT.match(text))
    return warnings + (('the server says that the answer is partial (isPartial)',) if answer.isPartial else ())


def _hints(answer: _Answer) -> tuple[str, ...]:
    """What is said of the expression: infos, and the warnings that are hints."""
    texts = (*(answer.infos or ()), *(text for text in answer.warnings or () if _HINT.match(text)))
    return tuple(printable(text) for text in texts)


def _text(said: Any) -> str:
    return said if isinstance(said, str) else '' if said is None else msgspec.json.encode(said)[:300].decode(errors='replace')


def _offset(times: Sequence[float], time: float) -> float:
    """How far the samples of an instant answer are from the requested time, by the one that is furthest off."""
    offsets = np.array(times, np.float64) - time
    furthest = float(offsets[np.abs(offsets).argmax()]) if len(offsets) else 0.0
    return furthest if abs(furthest) > CLOCK_SECONDS else 0.0


def _typed(decode: Callable[[msgspec.Raw], T], raw: msgspec.Raw) -> T:
    try:
        return decode(raw)
    except NO_JSON as error:
        raise ResponseError(f'the result of a query has an unknown shape: {error}') from error
