"""One connection: requests are read, each within a deadline, and answered one after the other, as fast as the client reads.

Who calls it: server. What flows through: bytes of a socket, by way of h11, which knows HTTP/1.1 and does no I/O; in between a Request and
its Answer. What is not HTTP, too large or too late never gets beyond this file.
"""

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

import h11

from promlstm.logs import event
from promlstm.serve.connections import Connections, Limits, Place, State
from promlstm.serve.messages import Answer, Request, path_and_query, text

log = logging.getLogger('promlstm.server')
PIECE_BYTES = 64 << 10  # of an answer, that is copied for one connection at a time
READ_BYTES = 16 << 10
LINGER_SECONDS, LINGER_BYTES = 1.0, 1 << 20
# Of every answer, unless the page or the web configuration has its own: nothing of ours is to be framed, guessed at, or told to others.
SECURITY_HEADERS = {
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
    'Referrer-Policy': 'no-referrer',
}


class Application(Protocol):
    """What answers requests."""

    def is_probe(self, path: str) -> bool:
        """Whether a path is answered without waiting for others."""

    def headers(self) -> Mapping[str, str]:
        """Headers of every answer, in the place of those that a page has."""

    async def answer(self, request: Request) -> Answer:
        """The answer to a request."""


class _Refused(Exception):
    """A request that cannot be read to its end: it is answered with a status, and the connection is closed."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Conversation:
    """What is said on one connection.

    context  for TLS; None = plain
    welcome  called with the TLS object after the handshake; False = the client is not let in
    """

    def __init__(
        self,
        connection: socket.socket,
        client: str,
        *,
        application: Application,
        connections: Connections,
        limits: Limits,
        context: ssl.SSLContext | None = None,
        welcome: Callable[[ssl.SSLObject], bool] = lambda _: True,
    ) -> None:
        self._socket, self._client, self._application, self._limits = connection, client, application, limits
        self._connections, self._context, self._welcome = connections, context, welcome
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._reader = asyncio.StreamReader(limit=READ_BYTES)
        self._writer: asyncio.StreamWriter
        self._place: Place
        self._deadline = 0.0  # of the request that has begun, in the time of the event loop; 0 = none has
        self._head_only = False  # whether the request that is being read asks for no body
        self.last = False  # whether the connection is to be closed after the answer

    async def hold(self, place: Place) -> None:
        """From the handshake to the end; the socket is closed when it returns, however it ends."""
        self._place = place
        try:
            await self._open()
            with suppress(_Refused):
                while await self._exchange() and not self.last:
                    pass
            await self._end()
        except (OSError, TimeoutError) as error:  # the client went away, was too slow, or speaks no TLS
            event(log, 'debug', 'connection ended', client=self._client, err=str(error) or type(error).__name__)
            self.abort()
        except BaseException:
            self.abort()
            raise
        finally:
            self._connections.leave(place)

    async def _open(self) -> None:
        loop, protocol = asyncio.get_running_loop(), asyncio.StreamReaderProtocol(self._reader)
        tls = {'ssl_handshake_timeout': self._limits.request_seconds, 'ssl_shutdown_timeout': self._limits.stalled_seconds} if self._context else {}
        self._deadline = loop.time() + self._limits.request_seconds
        async with asyncio.timeout_at(self._deadline):
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, self._socket, ssl=self._context, **tls)
        # So that draining means that the client made room for all. Not 0, at which TLS would pause with nothing to write, and for good.
        transport.set_write_buffer_limits(high=1, low=0)
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)
        if self._context and not self._welcome(transport.get_extra_info('ssl_object')):
            raise ConnectionAbortedError('not let in')

    async def _end(self) -> None:
        """Close the connection when the client has taken all, or after a while; until then it has its place, and gives way to others."""
        self._connections.move(self._place, State.READING)
        self._writer.close()
        async with asyncio.timeout(self._limits.stalled_seconds):
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Close the socket at once, without what the client has not taken yet."""
        if hasattr(self, '_writer'):
            self._writer.transport.abort()
        else:
            self._socket.close()  # a transport that never came to be

    async def _exchange(self) -> bool:
        """One request and its answer; False = no other one follows."""
        await asyncio.sleep(0)  # others have their turn, whatever this client has sent already
        try:
            if not (asked := await self._request()):
                return False
        except _Refused as refused:
            await self._refuse(refused.status)
            raise
        request, unread = asked
        self._connections.move(self._place, State.WAITING)
        probe = self._application.is_probe(request.path)
        answer = await self._answer(request)
        if not probe:
            try:
                async with asyncio.timeout(self._limits.request_seconds):
                    await self._connections.turn(self._place)
            except TimeoutError:
                answer = text(503, 'All connections are in use.\n', {'Retry-After': '1'})
        close = self.last or unread
        await self._send(answer, request.method == 'HEAD', close=close)
        event(log, 'debug', 'answered', client=self._client, method=request.method, path=request.path, status=answer.status)
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            if unread or not self._context:
                await self._linger()
            return False
        self._http.start_next_cycle()
        return True

    async def _answer(self, request: Request) -> Answer:
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                return await self._application.answer(request)
        except TimeoutError:
            return text(503, 'No answer in time.\n', {'Retry-After': '1'})
        except Exception as error:  # noqa: BLE001 (a request that fails must not take the connection, nor its reason, to the client)
            event(log, 'error', 'request failed', client=self._client, path=request.path, exc_info=error)
            return text(500, 'Internal error, see the log.\n')

    # -- reading

    async def _request(self) -> tuple[Request, bool] | None:
        """The next request, and whether a part of it is left unread; None where the client ends the connection before one begins."""
        head = self._next()
        if head is h11.NEED_DATA and self._http.states[h11.SERVER] is h11.IDLE and not self._http.trailing_data[0]:
            if self._deadline:
                self._connections.move(self._place, State.READING)
            else:
                self._connections.move(self._place, State.RESTING)
                async with asyncio.timeout(self._limits.idle_seconds):
                    self._http.receive_data(await self._reader.read(READ_BYTES))
                self._connections.move(self._place, State.READING)
                head = self._next()
        else:
            self._connections.move(self._place, State.READING)
        deadline, self._deadline = self._deadline or asyncio.get_running_loop().time() + self._limits.request_seconds, 0.0
        try:
            async with asyncio.timeout_at(deadline):
                while head is h11.NEED_DATA:
                    head = await self._more()
                if not isinstance(head, h11.Request):
                    return None
                request, body = self._read(head), await self._body(head)
                return (request, True) if body is None else (replace(request, body=body), False)
        except TimeoutError as error:
            if not self._http.trailing_data[0] and head is h11.NEED_DATA:
                return None
            raise _Refused(408) from error

    async def _more(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        self._http.receive_data(await self._reader.read(READ_BYTES))
        return self._next()

    def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            too_long = error.error_status_hint == 431 and b'\n' not in self._http.trailing_data[0]
            raise _Refused(414 if too_long else error.error_status_hint) from error

    def _read(self, head: h11.Request) -> Request:
        limits, self._head_only = self._limits, head.method == b'HEAD'
        if len(head.target) > limits.target_bytes:
            raise _Refused(414)
        if len(head.headers) > limits.headers or sum(len(name) + len(value) + 4 for name, value in head.headers) > limits.head_bytes:
            raise _Refused(431)
        if not re.match(rb'1\.\d', head.http_version):
            raise _Refused(505)
        headers: dict[str, str] = {}
        for raw_name, raw_value in head.headers:
            name, value = raw_name.decode('latin-1'), raw_value.decode('latin-1')
            headers[name] = f'{headers[name]}, {value}' if name in headers else value
        if {'content-length', 'transfer-encoding'} <= headers.keys():  # whoever stands in between may have believed the other one
            raise _Refused(400)
        target = head.target.decode('latin-1')
        path, query = path_and_query(target)
        return Request(head.method.decode('latin-1'), path, headers, self._client, query=query)

    async def _body(self, head: h11.Request) -> bytes | None:
        """The body; None = it is left unread, because the client waits to be asked for it."""
        if self._http.they_are_waiting_for_100_continue:
            return None
        length, body = dict(head.headers).get(b'content-length', b'0'), bytearray()
        while len(body) <= self._limits.body_bytes and int(length) <= self._limits.body_bytes:
            got = self._next()
            while got is h11.NEED_DATA:
                got = await self._more()
            if isinstance(got, h11.EndOfMessage):
                return bytes(body)
            body += got.data if isinstance(got, h11.Data) else b''
        raise _Refused(413)

    # -- writing

    async def _refuse(self, status: int) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self._send(text(status, f'{HTTPStatus(status).phrase}.\n'), self._head_only, close=True)
            await self._linger()

    async def _send(self, answer: Answer, head_only: bool, *, close: bool) -> None:
        headers = {
            'Server': 'promlstm', 'Date': formatdate(usegmt=True), 'Content-Type': answer.content_type,
            'Content-Length': str(answer.size_bytes()), **SECURITY_HEADERS, **answer.headers, **self._application.headers(),
        }  # fmt: skip
        if close:
            headers['Connection'] = 'close'
        response = h11.Response(status_code=answer.status, headers=list(headers.items()), reason=HTTPStatus(answer.status).phrase)
        piece = bytearray(self._http.send(response) or b'')
        async with asyncio.timeout(self._limits.answer_seconds):
            for part in () if head_only else answer.body():
                self._http.send_with_data_passthrough(h11.Data(data=part))
                view = memoryview(part)
                while len(view):
                    room = PIECE_BYTES - len(piece)
                    piece += view[:room]
                    view = view[room:]
                    if len(piece) == PIECE_BYTES:
                        await self._write(piece)
                        piece = bytearray()
            self._http.send(h11.EndOfMessage())
            await self._write(piece)

    async def _write(self, piece: bytearray) -> None:
        """Hand a piece to the system; it takes it as the client makes room."""
        self._writer.write(piece)
        async with asyncio.timeout(self._limits.stalled_seconds):
            await self._writer.drain()
        await asyncio.sleep(0)  # others have their turn, and a connection that is lost is noticed

    async def _linger(self) -> None:
        """Read what is still being sent, for a moment: closing before would take the answer from the client (RFC 9112, section 9.6)."""
        self._connections.move(self._place, State.READING)
        with suppress(OSError, TimeoutError):
            if not self._context:
                self._writer.write_eof()
            async with asyncio.timeout(LINGER_SECONDS):
                size = 0
                while size < LINGER_BYTES and (data := await self._reader.read(READ_BYTES)):
                    size += len(data)


