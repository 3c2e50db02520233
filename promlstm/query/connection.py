"""One HTTP/1.1 connection, whose every wait ends at one deadline: name look-up, connect, TLS handshake, request, head, chunk lines, body.

Who calls it: http. What flows through: the bytes of a request; out come the status, the headers and the pieces of the body as they arrive.
It never follows a redirect, keeps no cookie, holds no more than a piece at a time, and has no pool: who owns it decides whether it is kept.

The standard library has the pieces, and a time-out for each read; one for the whole it has not, and a server that sends a byte a second
would hold a client for hours. So a request is written and an answer read here.
"""

import io
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from email import message_from_string
from email.message import Message
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

PIECE_BYTES = 1 << 18
BUFFER_BYTES = 1 << 16
LINE_BYTES = 1 << 16
HEADER_LINES = 100
CONNECT_SECONDS = 5.0  # for one address: where a name has several, a dead one must not use up all the time
PORTS = {'http': 80, 'https': 443}
_PLAIN = re.compile(rb'[!-9;-~]+:[^\r\n]*\r?\n')  # a header line as nearly all are

T = TypeVar('T')


class Deadline:
    """The instant at which all of an exchange must be over."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left, more than 0; TimeoutError where none are."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError('deadline')
        return left


class ProtocolError(Exception):
    """What arrives is not HTTP."""


class Unanswered(OSError):
    """A connection that had served before ended before a byte of this answer came: the request may be sent again on a fresh one."""


class Connection:
    """A connection to the host of a URL, made by way of a proxy if there is one.

    url       of the server; only scheme, host and port are looked at
    proxy     URL of an HTTP proxy, or None
    context   ssl.SSLContext, where TLS is spoken
    deadline  Deadline by which it must stand; that of the first request
    raises    OSError, ssl.SSLError among them; TimeoutError at the deadline; ProtocolError where a proxy answers nonsense
    """

    def __init__(self, url: str, *, proxy: str | None = None, context: ssl.SSLContext | None = None, deadline: Deadline) -> None:
        server = urlsplit(url)
        self._absolute = bool(proxy) and server.scheme == 'http'
        hop = urlsplit(proxy) if proxy else server
        self._bytes = _Bytes(_connected(hop.hostname, hop.port or PORTS[hop.scheme], deadline), deadline)
        try:
            if hop.scheme == 'https':
                self._bytes.encrypt(context, hop.hostname)
            if proxy and server.scheme == 'https':
                self._tunnel(server)
                self._bytes.encrypt(context, server.hostname)
        except BaseException:
            self.close()
            raise
        self._served = 0
        self._keeps = self._ended = True
        self._length: int | str | None = 0

    def _tunnel(self, server: SplitResult) -> None:
        name = _authority(server, always_port=True)
        self._bytes.send(f'CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n'.encode())
        status, _, _ = self._head()
        if status != 200:
            raise ConnectionError(f'the proxy refuses a tunnel to {name} with status {status}')

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> tuple[int, Message]:
        """Send a request and read the head of its answer: (status, headers as an email.message.Message).

        url      str, with path and query, percent-encoded
        headers  {name: value}, Latin-1; Host and Content-Length are added
        body     bytes, or None for none
        raises   Unanswered, OSError, ProtocolError; the connection is of no use then
        """
        parts = urlsplit(url)
        target = url if self._absolute else (parts.path or '/') + (f'?{parts.query}' if parts.query else '')
        lines = [f'{method} {target} HTTP/1.1', f'Host: {_authority(parts)}', *(f'{name}: {value}' for name, value in headers.items())]
        if body is not None:
            lines.append(f'Content-Length: {len(body)}')
        self._bytes.begin(deadline)
        self._ended = False
        try:
            self._bytes.send('\r\n'.join([*lines, '', '']).encode('latin-1') + (body or b''))
            status, version, answered = self._head()
        except TimeoutError:
            raise
        except (OSError, EOFError) as error:
            if self._served and not self._bytes.received:
                raise Unanswered(f'a kept connection was closed: {error}') from error
            raise error if isinstance(error, OSError) else ConnectionError(str(error)) from error
        if status == 408 and self._served:  # what balancers say to a connection that was idle for long, in the moment in which we use it
            raise Unanswered('a kept connection was closed with status 408')
        self._served += 1
        kept = answered.get('Connection', 'close' if version == 'HTTP/1.0' else '').lower()
        self._keeps = 'close' not in kept
        self._length = _framing(status, answered)
        return status, answered

    def _head(self) -> tuple[int, str, Message]:
        while True:
            line = self._line()
            try:
                version, code, *_ = line.decode('latin-1').split(None, 2)
                status = int(code)
            except ValueError as error:
                raise ProtocolError(f'the answer begins with {line[:60]!r}') from error
            if not version.startswith('HTTP/1.') or not 100 <= status <= 999:
                raise ProtocolError(f'the answer begins with {line[:60]!r}')
            headers = self._headers()
            if status >= 200:
                return status, version, headers

    def _headers(self) -> Message:
        """The header lines of an answer. Folded and broken ones are left to the parser of `email`, which takes fifteen times as long."""
        lines: list[bytes] = []
        while (line := self._bytes.file.readline(LINE_BYTES + 1)) not in (b'\r\n', b'\n', b''):
            lines.append(line)
            if len(line) > LINE_BYTES or len(lines) > HEADER_LINES:
                raise ProtocolError(f'header lines: more than {HEADER_LINES}, or one without an end')
        if not all(map(_PLAIN.fullmatch, lines)):
            return message_from_string(b''.join(lines).decode('latin-1'))
        headers = Message()
        for line in lines:
            name, _, value = line.decode('latin-1').partition(':')
            headers[name] = value.strip()
        return headers

    def _line(self) -> bytes:
        line = self._bytes.file.readline(LINE_BYTES + 1)
        if not line:
            raise EOFError('the connection was closed without an answer')
        if len(line) > LINE_BYTES:
            raise ProtocolError('a line without an end')
        return line

    def pieces(self) -> Iterator[bytes]:
        """The body in pieces of bytes, as they arrive; OSError where it ends too early, ProtocolError where its frame is broken."""
        try:
            yield from self._chunks() if isinstance(self._length, str) else self._sized(self._length)
        except EOFError as error:
            raise ConnectionError('the connection was closed') from error
        self._ended = True

    def _sized(self, length: int | None) -> Iterator[bytes]:
        while length is None or length:
            piece = self._bytes.file.read1(PIECE_BYTES if length is None else min(length, PIECE_BYTES))
            if not piece:
                if length is None:
                    self._keeps = False
                    return
                raise EOFError
            length = None if length is None else length - len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := _chunk_size(self._line()):
            yield from self._sized(size)
            if self._line() not in (b'\r\n', b'\n'):
                raise ProtocolError('a chunk that does not end where it should')
        while self._line() not in (b'\r\n', b'\n'):
            pass  # trailers

    def reusable(self) -> bool:
        """Whether the answer has come to its end, and both sides keep the connection."""
        return self._ended and self._keeps

    def idle(self) -> bool:
        """True while nothing has arrived on a kept connection: neither its end nor what nobody asked for."""
        return self._bytes.idle()

    def close(self) -> None:
        """Close it; it may be closed already."""
        self._bytes.close()


def _framing(status: int, headers: Message) -> int | str | None:
    """How a body ends: 'chunked', after so many bytes, or None = with the connection (RFC 9112, section 6.3)."""
    if status in (204, 304):
        return 0
    if coding := headers.get('Transfer-Encoding'):
        if coding.strip().lower() != 'chunked':
            raise ProtocolError(f'Transfer-Encoding is {coding[:60]!r}')
        return 'chunked'
    lengths = {length.strip() for value in headers.get_all('Content-Length', []) for length in value.split(',')}
    if len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths):
        raise ProtocolError(f'Content-Length is {", ".join(sorted(lengths))[:60]!r}')
    return int(lengths.pop()) if lengths else None


def _chunk_size(line: bytes) -> int:
    text = line.split(b';')[0].strip()
    if not text or text.strip(b'0123456789abcdefABCDEF') or len(text) > 16:
        raise ProtocolError(f'a chunk begins with {line[:60]!r}')
    return int(text, 16)


def _authority(parts: SplitResult, *, always_port: bool = False) -> str:
    name = parts.hostname or ''
    host = f'[{name}]' if ':' in name else name.encode('idna').decode()
    port = parts.port or PORTS[parts.scheme]
    return f'{host}:{port}' if always_port or port != PORTS[parts.scheme] else host


def _connected(host: str | None, port: int, deadline: Deadline) -> socket.socket:
    """A connected socket: the addresses of the host one after the other."""
    problem: OSError | None = None
    for family, kind, protocol, _, address in _looked_up(host, port, deadline):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(min(CONNECT_SECONDS, deadline.left()))
            sock.connect(address)
        except TimeoutError as error:
            sock.close()
            deadline.left()
            problem = problem or ConnectionError(f'no connection within {CONNECT_SECONDS:g} s')
            problem.__cause__ = error
        except OSError as error:
            sock.close()
            problem = error
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise problem or ConnectionError(f'{host} has no address')


def _looked_up(host: str | None, port: int, deadline: Deadline) -> Any:
    """The addresses of a host. The system's look-up takes no time-out, so it runs in a thread that is left alone when the time is over."""
    with suppress(socket.gaierror):  # an address needs none
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found: list[Any] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)
        done.set()

    threading.Thread(target=look_up, name='promlstm-look-up', daemon=True).start()
    if not done.wait(deadline.left()):
        raise TimeoutError(f'the look-up of {host}')
    if isinstance(found[0], OSError):
        raise found[0]
    if isinstance(found[0], UnicodeError):
        raise ConnectionError(f'{host!r} is not a host name') from found[0]
    return found[0]


class _Bytes(io.RawIOBase):
    """The bytes of a connection: what is read and written waits no longer than the deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._sock: socket.socket | _Inner = sock
        self._deadline: Deadline | None = deadline
        self.received = 0
        self.file = io.BufferedReader(self, BUFFER_BYTES)

    def encrypt(self, context: ssl.SSLContext | None, host: str | None) -> None:
        """Speak TLS from now on."""
        context = context or ssl.create_default_context()
        self._sock.settimeout(self._left())
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock = _Inner(self._sock, context, host)
        elif isinstance(self._sock, socket.socket):
            self._sock = context.wrap_socket(self._sock, server_hostname=host)

    def _left(self) -> float:
        return self._deadline.left() if self._deadline else 0.0

    def begin(self, deadline: Deadline) -> None:
        """A new exchange: its deadline, and nothing received of it."""
        self._deadline, self.received = deadline, 0

    def send(self, data: bytes) -> None:
        """Send all of some bytes."""
        view = memoryview(data)
        while view:  # in pieces, for a TLS socket counts its time-out anew with each
            self._sock.settimeout(self._left())
            view = view[self._sock.send(view[:BUFFER_BYTES]) :]

    def readable(self) -> bool:
        """For BufferedReader."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """For BufferedReader; without a deadline nothing is read."""
        if self._deadline is None:
            return None
        self._sock.settimeout(self._deadline.left())
        count = self._sock.recv_into(buffer)
        self.received += count
        return count

    def idle(self) -> bool:
        """Whether nothing is there to be read."""
        self._deadline = None
        try:
            poll = select.poll()
            poll.register(self._sock.fileno(), select.POLLIN)
            pending = isinstance(self._sock, (ssl.SSLSocket, _Inner)) and self._sock.pending()
            return not pending and not self.file.peek(1) and not poll.poll(0)
        except (OSError, ValueError):  # closed
            return False

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
        super().close()


class _Inner:
    """TLS inside of TLS: an https server by way of an https proxy. `ssl` itself wraps nothing but sockets of the system."""

    def __init__(self, sock: ssl.SSLSocket, context: ssl.SSLContext, host: str | None) -> None:
        self._sock, self._in, self._out = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        self._run(self._tls.do_handshake)
    def _run(self, function: Callable[..., T], *args: Any) -> T:
        while True:
            try:
                done = function(*args)
            except ssl.SSLWantReadError:
                self._flush()
                data = self._sock.recv(BUFFER_BYTES)
                self._in.write(data) if data else self._in.write_eof()
            else:
                self._flush()
                return done

    def _flush(self) -> None:
        if waiting := self._out.read():
            self._sock.sendall(waiting)

    def recv_into(self, buffer: Any) -> int:
        """As of a socket."""
        try:
            return int(self._run(self._tls.read, len(buffer), buffer))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return 0

    def send(self, data: Any) -> int:
        """As of a socket."""
        return self._run(self._tls.write, data)

    def pending(self) -> int:
        """As of a TLS socket."""
        return self._tls.pending()

    def settimeout(self, seconds: float) -> None:
        """As of a socket."""
        self._sock.settimeout(seconds)

    def fileno(self) -> int:
        """As of a socket."""
        return self._sock.fileno()

    def close(self) -> None:
        """As of a socket."""
        self._sock.close()
