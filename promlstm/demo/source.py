"""A small Prometheus-compatible HTTP API over generated telemetry: what the demo watches, and a test's server, with faults on purpose.

    with Source(fleet, clock.now) as source:
        Prometheus(config_with(source.url)).instant('up', clock.now())
        source.faults.next(2, answers.unavailable)  # the next two answers are a 503
        source.faults.hold(answers.vanish('up{instance="a"}', since=clock.now()))
        source.refuse = lambda asked: answers.failure(405, 'bad_data', 'no POST') if asked.method == 'POST' else None
        source.grid = multiples                 # range answers lie on multiples of the step, whatever start was asked for
        source.stop()                           # connections are refused, until source.start() on the same port

It answers /api/v1/query, /api/v1/query_range (GET and POST), /api/v1/status/buildinfo, /-/ready, and /metrics, so that a real Prometheus
can scrape the same telemetry. It understands selectors only; anything else gets the 400 that Prometheus gives for a bad expression. It
never returns a sample from the future of the clock that it is given.

Who calls it: demo, tests, bench. What flows through: columns of values, straight to bytes; 20 000 series by 400 steps take seconds. Not
for the open network: it asks nobody for a password and lets regular expressions run as long as they like.
"""

import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import orjson

from promlstm import __version__
from promlstm.config import seconds
from promlstm.demo.answers import JSON, TEXT, Faults, Reply, Selection, failure, texts
from promlstm.engine import labels
from promlstm.engine.columns import Floats
from promlstm.errors import QueryRejected
from promlstm.query.selector import Matcher, matches, rejected, selector

POINTS = 11_000  # more steps than this after the first are refused, as by Prometheus
HANG_SECONDS = 300.0  # a hanging answer ends when the client leaves, at the latest after this
REMEMBERED = 10_000  # requests kept in `asked`


class Series(Protocol):
    """A series of a Telemetry."""

    @property
    def metric(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


class Telemetry(Protocol):
    """What is served: `series` and their values, in the same order. fleet.Fleet is one."""

    @property
    def series(self) -> Sequence[Series]: ...

    def values(self, times: Floats, /) -> Floats:
        """All series at these times (float64 [T], unix seconds): float64 [T, S]; NaN = no sample."""

    def value(self, i: int, times: Floats, /) -> Floats:
        """Series i at these times: float64 [T]."""


def exact(start: float, end: float, step: float) -> Floats:
    """The times of a range answer as Prometheus has them: where they were asked for."""
    return start + step * np.arange(int((end - start) / step + 1e-9) + 1, dtype=np.float64)


def multiples(start: float, end: float, step: float) -> Floats:
    """The times of a range answer as VictoriaMetrics and the query front ends of Thanos and Mimir have them: multiples of the step."""
    return exact(start // step * step, end // step * step, step)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came, for tests.

    form  all parameters; url those of them that were in the URL
    kept  whether its connection had served a request before
    """

    method: str
    path: str
    form: dict[str, str]
    headers: dict[str, str]
    url: dict[str, str]
    kept: bool


class Source:
    """Serves telemetry in a thread of its own while it is entered.

    telemetry  Telemetry
    now        unix seconds: there are no samples after it
    port       0 = a free one, the same again after stop() and start()
    grid       function of start, end and step that gives the times of a range answer
    refuse     function of Asked that gives a Reply in the place of an answer, or None
    scraped    function of matchers and times that gives more series, as labels and values float64 [T]: those of what is scraped
    """

    grid: Callable[[float, float, float], Floats]
    refuse: Callable[[Asked], Reply | None]
    scraped: Callable[[Sequence[Matcher], Floats], Sequence[tuple[dict[str, str], Floats]]]

    def __init__(self, telemetry: Telemetry, now: Callable[[], float], *, host: str = '127.0.0.1', port: int = 0) -> None:
        self.faults = Faults()
        self.asked: deque[Asked] = deque(maxlen=REMEMBERED)
        self.grid, self.refuse, self.scraped = exact, lambda asked: None, lambda matchers, times: []
        self._telemetry, self._now, self._address = telemetry, now, (host, port)
        self._listener: _Listener | None = None
        named = [{**series.labels, '__name__': series.metric} for series in telemetry.series]
        self._series = named
        self._rows_of: dict[str, list[int]] = {}
        for i in sorted(range(len(named)), key=lambda i: sorted(named[i].items())):
            self._rows_of.setdefault(named[i]['__name__'], []).append(i)

    @property
    def url(self) -> str:
        """Where it listens, or did before it was stopped."""
        return f'http://{self._address[0]}:{self._address[1]}'

    def start(self) -> Self:
        """Listen; OSError where the port is taken."""
        self._listener = _Listener(self._address, self)
        self._address = self._listener.bound
        threading.Thread(target=self._listener.serve_forever, kwargs={'poll_interval': 0.05}, name='promlstm-source', daemon=True).start()
        return self

    def stop(self) -> None:
        """Close the port and all connections: who asks now is refused."""
        if self._listener:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener.hang_up()
            self._listener = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def query(self, form: Mapping[str, str]) -> Selection:
        """The Selection of an instant query; QueryRejected where it is not understood."""
        time = _instant(form, 'time', self._now())
        return self._select(form.get('query', ''), np.array([time]), True)

    def query_range(self, form: Mapping[str, str]) -> Selection:
        """The Selection of a range query; QueryRejected where it is not understood or too long."""
        start, end, step = _instant(form, 'start'), _instant(form, 'end'), _step(form)
        if end < start:
            raise rejected('end', 'end timestamp must not be before start time')
        if (end - start) / step > POINTS:
            raise QueryRejected(
                f'exceeded maximum resolution of {POINTS:,} points per timeseries. Try decreasing the query resolution (?step=XX)'
            )
        return self._select(form.get('query', ''), self.grid(start, end, step), False)

    def _select(self, expr: str, times: Floats, instant: bool) -> Selection:
        matchers = selector(expr)
        names = [matcher for matcher in matchers if matcher.label == '__name__']
        rest = [matcher for matcher in matchers if matcher.label != '__name__']
        rows = [i for name, rows in self._rows_of.items() if all(matcher(name) for matcher in names) for i in rows]
        if rest:
            rows = [i for i in rows if matches(rest, self._series[i])]
        times = np.round(times, 3)  # milliseconds, so that an instant and a step of a range are the same time
        more = self.scraped(matchers, times)
        values = np.column_stack([self._values(rows, times), *(column for _, column in more)])
        named = [*(self._series[i] for i in rows), *(labelled for labelled, _ in more)]
        return Selection(times, named, values, ~np.isnan(values) & (times <= self._now())[:, None], instant)

    def _values(self, rows: list[int], times: Floats) -> Floats:
        if 4 * len(rows) > len(self._series):
            return self._telemetry.values(times)[:, rows]
        return np.stack([self._telemetry.value(i, times) for i in rows], axis=-1) if rows else np.empty((len(times), 0))

    def page(self) -> bytes:
        """All series at this moment in the text format."""
        series, lines = self._telemetry.series, []
        numbers = np.array([text.decode() for text in texts(self._telemetry.values(np.array([self._now()]))[0])], object)
        for name, rows in self._rows_of.items():
            lines.append(f'# HELP {name} Telemetry of a little fleet that does not exist.\n# TYPE {name} gauge\n')
            lines += [
                f'{name}{labels.selector(sorted(series[i].labels.items()))} {number}\n'
                for i, number in zip(rows, numbers[rows], strict=True)
                if number != 'NaN'
            ]
        return ''.join(lines).encode()


def _instant(form: Mapping[str, str], name: str, default: float | None = None) -> float:
    text = form.get(name)
    if text is None and default is not None:
        return default
    time: float | None
    try:
        time = float(text or '')
    except ValueError:
        time = _date(text or '')
    if time is None or not np.isfinite(time):
        raise rejected(name, f'cannot parse "{text or ""}" to a valid timestamp')
    return time


def _date(text: str) -> float | None:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return date.timestamp() if date.tzinfo else None


def _step(form: Mapping[str, str]) -> float:
    text = form.get('step', '')
    try:
        step = float(text)
    except ValueError:
        try:
            step = seconds(text)
        except ValueError as error:
            raise rejected('step', f'cannot parse "{text}" to a valid duration') from error
    if not 0.001 <= step < np.inf:
        raise rejected('step', 'zero or negative query resolution step widths are not accepted. Try a positive integer')
    return step


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], source: Source) -> None:
        self.source, self._lock = source, threading.Lock()
        self._open: set[Any] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without the look-up of this machine's name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.bound: tuple[str, int] = self.socket.getsockname()[:2]
        self.server_address = self.bound
        self.server_name, self.server_port = self.bound

    def process_request(self, request: Any, client_address: Any) -> None:
        """As the library does, and remember the connection."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """As the library does, and forget the connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep for their next request."""
        with self._lock:
            for request in self._open:
                with suppress(OSError):  # the client was faster
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    server_version, sys_version, protocol_version = f'promlstm-source/{__version__}', '', 'HTTP/1.1'
    served = 0  # requests on this connection
    _headers_buffer: list[bytes]

    def do_GET(self) -> None:
        """Answer one request by its path."""
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0)).decode(errors='replace')
        form = dict(parse_qsl(url.query) + parse_qsl(body))
        asked = Asked(self.command, url.path, form, dict(self.headers), dict(parse_qsl(url.query)), self.served > 0)
        self.served += 1
        self.server.source.asked.append(asked)
        self._send(self.server.source.refuse(asked) or self._reply(url.path, form))

    do_POST = do_GET

    def _reply(self, path: str, form: Mapping[str, str]) -> Reply:
        source = self.server.source
        queries = {'/api/v1/query': source.query, '/api/v1/query_range': source.query_range}
        if path in queries:
            try:
                selection = queries[path](form)
            except QueryRejected as error:
                return failure(400, 'bad_data', str(error))
            return source.faults.apply(selection)
        if path == '/api/v1/status/buildinfo':
            return Reply(200, JSON, orjson.dumps({'status': 'success', 'data': {'version': __version__, 'application': 'promlstm source'}}))
        if path == '/metrics':
            return Reply(200, 'text/plain; version=0.0.4; charset=utf-8', source.page())
        return Reply(200, TEXT, b'Ready.\n') if path == '/-/ready' else Reply(404, TEXT, b'404 page not found\n')

    def _send(self, reply: Reply) -> None:
        if reply.manner == 'gone':
            self.close_connection = True
            return
        if reply.manner == 'hang':
            self._wait(HANG_SECONDS)
            return
        self.send_response(reply.status)
        for name, value in {'Content-Type': reply.content_type, 'Content-Length': str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.send_header('Connection', 'keep-alive' if reply.manner == 'whole' else 'close')
        # In one piece with the head: a second small packet would wait for the acknowledgement of the first.
        head, self._headers_buffer = b''.join([*self._headers_buffer, b'\r\n']), []
        if reply.manner == 'whole':
            self.wfile.write(head + reply.body)
        else:
            self.wfile.write(head + reply.body[: len(reply.body) // 2])
            self.close_connection = True
        if reply.manner == 'drip':
            while not self._wait(0.1):
                self.wfile.write(b' ')

    def _wait(self, limit_seconds: float) -> bool:
        """Wait for the client to leave; True = it did. Its next request, which cannot be there yet, would count as that."""
        self.close_connection = True
        self.connection.settimeout(limit_seconds)
        try:
            return not self.connection.recv(1)
        except TimeoutError:
            return False

    def log_message(self, form: str, *args: object) -> None:
        """Requests are no news."""
