"""The web server: /metrics, /-/healthy, /-/ready, a landing page. A scrape only reads text that was rendered before.

Who calls it: `run` and `demo`. What flows through: bytes. This is a small server with a limit of connections, because the server of
prometheus_client answers every path with metrics, has no time-outs, and compresses on every scrape. The registry, the metric families and
the content negotiation are those of prometheus_client.
"""

import html
import logging
import math
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client import exposition as text_format

from promlstm import __version__
from promlstm.errors import ConfigError
from promlstm.logs import event
from promlstm.serve.connections import Connections
from promlstm.serve.page import Page, compressed
from promlstm.serve.telemetry import Telemetry

log = logging.getLogger('promlstm.server')
IDLE_SECONDS = 30.0  # a connection that sends nothing for this long is closed
PAUSE_SECONDS = 0.2  # after a connection that could not be accepted
REPEAT_SECONDS = 60.0  # that is logged again after this
CONNECTIONS = 64  # served at once; a further one takes the place of one that is silent, see connections.py
_QUALITY_0 = re.compile(r'q=0(\.0*)?\Z')
_TEXT = 'text/plain; charset=utf-8'


def address(text: str) -> tuple[str, int]:
    """(host, port) of a listen address in the syntax of Prometheus: `:9855`, `0.0.0.0:9855`, `[::1]:9855`.

    >>> address(':9855'), address('[::1]:80')
    (('', 9855), ('::1', 80))
    """
    host, colon, port = text.rpartition(':')
    if not (colon and port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(f'--web.listen-address: expected HOST:PORT or :PORT, got {text!r}')
    return host.strip('[]'), int(port)


class Server(HTTPServer):
    """Serves one exporter; every connection in a thread, at most CONNECTIONS of them.

    statuses  gives {detector: status}, where str(status) is for people
    ready     whether /-/ready answers 200
    """

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        listen: str,
        *,
        page: Page,
        telemetry: Telemetry,
        statuses: Callable[[], Mapping[str, object]],
        ready: Callable[[], bool],
    ) -> None:
        host, port = address(listen)
        ipv6 = ':' in host or (not host and socket.has_dualstack_ipv6())
        self.address_family = socket.AF_INET6 if ipv6 else socket.AF_INET
        any_host = '::' if ipv6 else '0.0.0.0'
        self.page, self.telemetry, self.statuses, self.ready = page, telemetry, statuses, ready
        self.connections, self._stopping = Connections(CONNECTIONS), threading.Event()
        self._refused = -math.inf  # when it was logged last that no connection could be accepted
        try:
            super().__init__((host or any_host, port), Handler)
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded for the resolver
            raise ConfigError(f'--web.listen-address={listen}: cannot listen: {error}') from error
        self._thread = threading.Thread(target=self.serve_forever, kwargs={'poll_interval': 0.2}, name='promlstm-web', daemon=True)

    def server_bind(self) -> None:
        """Bind the socket; IPv6 sockets accept IPv4 too."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = 'promlstm', self.server_address[1]

    @property
    def url(self) -> str:
        """The URL for a browser on this machine."""
        host = str(self.server_address[0])
        host = 'localhost' if host in ('::', '0.0.0.0') else f'[{host}]' if ':' in host else host
        return f'http://{host}:{self.server_port}'

    def start(self) -> None:
        """Serve in a new thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and close the socket."""
        self._stopping.set()
        self.shutdown()
        self.server_close()
        self._thread.join(5)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection. Where none can be accepted, as without a free file descriptor, it is tried again a little later and not at once."""
        try:
            return super().get_request()
        except OSError as error:
            now = time.monotonic()
            if now - self._refused > REPEAT_SECONDS:
                self._refused = now
                event(log, 'error', 'connections cannot be accepted, nobody is served meanwhile', err=str(error))
            self._stopping.wait(PAUSE_SECONDS)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong before a connection had its thread."""
        event(log, 'error', 'connection failed', client=client_address[0], exc_info=sys.exception())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, once there are fewer than CONNECTIONS."""
        if not self.connections.enter(request, self._stopping):
            self.shutdown_request(request)
            return
        try:
            threading.Thread(target=self._serve, args=(request, client_address), daemon=True).start()
        except RuntimeError:
            self.connections.leave(request)
            raise

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # the client went away
        except Exception as error:  # noqa: BLE001 (a request that fails must release its slot)
            event(log, 'error', 'request failed', client=client_address[0], exc_info=error)
        finally:
            self.connections.leave(request)
            self.shutdown_request(request)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    server_version, sys_version, protocol_version = f'promlstm/{__version__}', '', 'HTTP/1.1'
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True  # else the body waits 40 ms for the client's delayed acknowledgement of the headers

    def do_GET(self) -> None:
        """Answer one request by its path."""
        pages = {'/metrics': self._metrics, '/-/healthy': self._healthy, '/-/ready': self._ready, '/': self._landing}
        page = pages.get(_path(self.path))
        self.server.connections.answers(self.connection)
        if page:
            page()
        else:
            self._send(404, _TEXT, [b'Not found. There are /, /metrics, /-/healthy and /-/ready.\n'])
        self.server.connections.waits(self.connection)

    do_HEAD = do_GET

    def _metrics(self) -> None:
        encoder, content_type = _encoder(self.headers.get('Accept', ''))
        own = encoder(self.server.telemetry.registry)
        gzip = _accepts_gzip(self.headers.get('Accept-Encoding', ''))
        # In OpenMetrics the exporter's own part ends with `# EOF`, so it comes last.
        parts = [*self.server.page.parts(gzip=gzip), compressed(own) if gzip else own]
        self._send(200, content_type, parts, {'Content-Encoding': 'gzip'} if gzip else {})

    def _healthy(self) -> None:
        self._send(200, _TEXT, [b'promlstm is healthy.\n'])

    def _ready(self) -> None:
        ready = self.server.ready()
        lines = [f'promlstm is {"" if ready else "not "}ready.\n']
        lines += [f'{name}: {status}\n' for name, status in self.server.statuses().items()]
        self._send(200 if ready else 503, _TEXT, [line.encode() for line in lines])

    def _landing(self) -> None:
        statuses = self.server.statuses()
        rows = ''.join(f'<tr><td>{html.escape(name)}</td><td>{html.escape(str(status))}</td></tr>' for name, status in statuses.items())
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>promlstm</title>'
            '<style>body{font:16px/1.5 sans-serif;max-width:50em;margin:3em auto;padding:0 1em}td,th{text-align:left;padding:.2em 1.5em .2em 0}</style>'
            f'<h1>promlstm</h1><p>Anomaly gauges for Prometheus, version {__version__}.</p>'
            '<p><a href="/metrics">Metrics</a> · <a href="/-/ready">Readiness</a> · <a href="/-/healthy">Health</a></p>'
            f'<table><tr><th>Detector</th><th>State</th></tr>{rows}</table></html>\n'
        )
        policy = {'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'"}
        self._send(200, 'text/html; charset=utf-8', [page.encode()], policy)

    def _send(self, status: int, content_type: str, parts: Sequence[bytes], headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header('Content-Type', content_type)
        self.send_header('Content-Length', str(sum(map(len, parts))))
        self.send_header('X-Content-Type-Options', 'nosniff')
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != 'HEAD':
            for part in parts:
                self.wfile.write(part)

    def log_message(self, format: str, *args: Any) -> None:
        """Log requests at level debug only."""
        event(log, 'debug', format % args, client=self.client_address[0])


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """(encoder, content type) for an Accept header; the classic text format if the library cannot parse it."""
    try:
        return text_format.choose_encoder(accept)
    except (TypeError, ValueError):
        return text_format.choose_encoder('')


def _accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header has gzip; a quality of 0 forbids it (RFC 9110, section 12.4.2).

    >>> _accepts_gzip('deflate, gzip;q=0.5'), _accepts_gzip('gzip;q=0'), _accepts_gzip('')
    (True, False, False)
    """
    for part in accept_encoding.lower().replace(' ', '').split(','):
        name, *options = part.split(';')
        if name == 'gzip':
            return not any(_QUALITY_0.match(option) for option in options)
    return False


def _path(target: str) -> str:
    """The path of a request target; empty if it is not a URL."""
    try:
        return urlsplit(target).path
    except ValueError:
        return ''
