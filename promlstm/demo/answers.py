"""Answers of the embedded source, and what can go wrong with them on purpose: from columns to bytes, by way of faults.

A fault is a function of a Selection that returns another Selection, or a Reply. The usual ones have a name here; for any other a test
writes a function of its own.

Who calls it: source (Faults.apply), tests and whoever wants to see promlstm fail (Faults.next, Faults.hold). It opens no connection.
"""

import gzip
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import orjson

from promlstm.engine.columns import Bools, Floats
from promlstm.query.selector import Matcher, matches, selector

JSON, TEXT, HTML = 'application/json', 'text/plain; charset=utf-8', 'text/html; charset=utf-8'
NUMBERS = 100_000  # turned into text at once: one call for many series, without a second copy of everything


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The series that a query found, before they become bytes.

    times    float64 [T]  unix seconds, one for an instant query
    series   list of dict, `__name__` included
    values   float64 [T, n]
    present  bool [T, n]  False = no sample; a value of NaN that is present is a sample
    instant  whether it answers an instant query
    warnings, partial  what the answer says of itself: as Prometheus and Thanos, and as VictoriaMetrics (isPartial)
    """

    times: Floats
    series: list[dict[str, str]]
    values: Floats
    present: Bools
    instant: bool
    warnings: tuple[str, ...] = ()
    partial: bool = False

    def reply(self) -> 'Reply':
        """The answer, as Prometheus would write it."""
        kind, form = (b'vector', b'"value":%b') if self.instant else (b'matrix', b'"values":[%b]')
        found = [
            b'{"metric":%b,%b}' % (orjson.dumps(series, option=orjson.OPT_SORT_KEYS), form % samples)
            for series, samples in zip(self.series, self._samples(), strict=True)
            if samples
        ]
        data = b'{"resultType":"%b","result":[%b]}' % (kind, b','.join(found))
        warnings = b',"warnings":' + orjson.dumps(self.warnings) if self.warnings else b''
        partial = b',"isPartial":true' if self.partial else b''
        return Reply(200, JSON, b'{"status":"success","data":%b%b%b}' % (data, warnings, partial))

    def _samples(self) -> Iterator[bytes]:
        """`[time,"value"],…` of one series after the other; empty where it has no sample."""
        opened = [b'"],[' + _time(t) + b',"' for t in self.times]
        steps = len(opened)
        at_once = max(1, NUMBERS // steps)
        for first in range(0, len(self.series), at_once):
            numbers = texts(self.values[:, first : first + at_once].T.ravel())
            for i, present in enumerate(self.present[:, first : first + at_once].T):
                yield _interleaved(opened, numbers[i * steps : (i + 1) * steps], present)


def _interleaved(opened: list[bytes], numbers: list[bytes], present: Bools) -> bytes:
    if not present.all():
        rows = np.flatnonzero(present)
        opened, numbers = [opened[row] for row in rows], [numbers[row] for row in rows]
    pieces = [b''] * (2 * len(numbers))
    pieces[0::2], pieces[1::2] = opened, numbers
    return b''.join(pieces)[3:] + b'"]' if pieces else b''


def texts(values: Floats) -> list[bytes]:
    """Numbers as Prometheus writes them, list of bytes.

    >>> texts(np.array([0.25, np.nan, -np.inf]))
    [b'0.25', b'NaN', b'-Inf']
    """
    out = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b',')
    for row in np.flatnonzero(~np.isfinite(values)):
        out[row] = b'NaN' if np.isnan(values[row]) else b'+Inf' if values[row] > 0 else b'-Inf'
    return out


def _time(time: float) -> bytes:
    return f'{time:.3f}'.rstrip('0').rstrip('.').encode()


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes over the wire, and how: `whole`, `cut` (closed half-way), `drip` (a byte a time), `hang` (nothing at all) or `gone` (closed)."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    manner: str = 'whole'


def failure(status: int, kind: str, why: str) -> Reply:
    """An error in the form that Prometheus gives it."""
    return Reply(status, JSON, orjson.dumps({'status': 'error', 'errorType': kind, 'error': why}))


Fault = Callable[[Selection], Selection | Reply]


class Faults:
    """The faults of the answers to queries, in the order in which they were given. A query that is rejected uses none up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[Fault] = []
        self._next: deque[Fault] = deque()

    def next(self, count: int, fault: Fault) -> None:
        """Apply a fault to the next `count` answers, after those given before."""
        with self._lock:
            self._next.extend([fault] * count)

    def hold(self, fault: Fault) -> None:
        """Apply a fault to every answer from now on."""
        with self._lock:
            self._held.append(fault)

    def clear(self) -> None:
        """No faults any more."""
        with self._lock:
            self._held.clear()
            self._next.clear()

    def apply(self, selection: Selection) -> Reply:
        """The Reply to a query, after all its faults."""
        with self._lock:
            faults = [*self._held, *([self._next.popleft()] if self._next else [])]
        for fault in faults:
            changed = fault(selection)
            if isinstance(changed, Reply):
                return changed
            selection = changed
        return selection.reply()


def unavailable(_selection: Selection) -> Reply:
    """503 in JSON: Prometheus while it starts."""
    return failure(503, 'unavailable', 'Service Unavailable: the head is being replayed')


def rejected(_selection: Selection) -> Reply:
    """422 in JSON: an expression that cannot be executed."""
    return failure(422, 'execution', 'found duplicate series for the match group')


def too_many(_selection: Selection) -> Reply:
    """429 in plain text: a limiter in between."""
    return Reply(429, TEXT, b'too many outstanding requests\n')


def unauthorized(_selection: Selection) -> Reply:
    """401 in plain text."""
    return Reply(401, TEXT, b'Unauthorized\n', {'WWW-Authenticate': 'Basic'})


def bad_gateway(_selection: Selection) -> Reply:
    """502 in HTML: a proxy whose Prometheus is gone."""
    return Reply(502, HTML, b'<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body></html>\r\n')


def not_json(_selection: Selection) -> Reply:
    """200 with the page of a login."""
    return Reply(200, HTML, b'<!doctype html><title>Sign in</title>')


def truncated(selection: Selection) -> Reply:
    """The first half of an answer, which the headers call the whole."""
    reply = selection.reply()
    return replace(reply, body=reply.body[: len(reply.body) // 2])


def cut_off(selection: Selection) -> Reply:
    """The connection ends in the middle of an answer."""
    return replace(selection.reply(), manner='cut')


def garbled(selection: Selection) -> Reply:
    """Said to be compressed, and is not."""
    return replace(selection.reply(), headers={'Content-Encoding': 'gzip'})


def compressed(selection: Selection) -> Reply:
    """No fault at all: compressed, as by Prometheus."""
    reply = selection.reply()
    return replace(reply, body=gzip.compress(reply.body), headers={'Content-Encoding': 'gzip'})


def gone(selection: Selection) -> Reply:
    """The connection ends without a byte of an answer."""
    return replace(selection.reply(), manner='gone')


def hang(selection: Selection) -> Reply:
    """Nothing, until the client gives up."""
    return replace(selection.reply(), manner='hang')


def drip(selection: Selection) -> Reply:
    """A byte now and then, for longer than anybody waits: no single read takes long."""
    reply = selection.reply()
    return replace(reply, body=reply.body + b' ' * 100_000, manner='drip')


def oversized(size_bytes: int) -> Fault:
    """An answer that is larger than this."""

    def fault(selection: Selection) -> Reply:
        reply = selection.reply()
        return replace(reply, body=reply.body + b' ' * size_bytes)

    return fault


def warn(text: str) -> Fault:
    """A whole answer with a warning beside it, as for partial data."""
    return lambda selection: replace(selection, warnings=(*selection.warnings, text))


def partial(expr: str) -> Fault:
    """The series of a selector are on a storage node that is away, as VictoriaMetrics says it: they lack, and the answer is marked."""
    return lambda selection: replace(_without(selection, selector(expr), np.ones(len(selection.times), bool)), partial=True)


def duplicated(selection: Selection) -> Selection:
    """Every series twice, as of two replicas that nobody merges."""
    values, present = np.tile(selection.values, 2), np.tile(selection.present, 2)
    return replace(selection, series=selection.series * 2, values=values, present=present)


def empty(selection: Selection) -> Selection:
    """No series at all."""
    return replace(selection, present=np.zeros_like(selection.present))


def nonfinite(selection: Selection) -> Selection:
    """The samples of the first three series are NaN, +Inf and -Inf."""
    values = selection.values.copy()
    values[:, :3] = [np.nan, np.inf, -np.inf][: values.shape[1]]
    return replace(selection, values=values, present=np.ones_like(selection.present))


def vanish(expr: str, since: float) -> Fault:
    """The series of a selector have no samples from `since` (unix seconds) on."""
    return lambda selection: _without(selection, selector(expr), selection.times >= since)


def appear(expr: str, since: float) -> Fault:
    """The series of a selector have no samples before `since` (unix seconds)."""
    return lambda selection: _without(selection, selector(expr), selection.times < since)


def _without(selection: Selection, matchers: Sequence[Matcher], when: Bools) -> Selection:
    which = np.array([matches(matchers, series) for series in selection.series], bool)
    return replace(selection, present=selection.present & ~(when[:, None] & which))
