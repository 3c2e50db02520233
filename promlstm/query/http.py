"""One HTTP API as a configuration describes it: TLS, credentials, proxy, headers, parameters, limits.

Who calls it: prometheus, and convert for what an Alertmanager knows. What flows through: a path and a form; out come a status and the bytes
of the body. It never follows a redirect nor reads its body (it would lose the form, and could take credentials elsewhere), keeps no cookie,
never reads an answer beyond its limit, never waits longer than its time-out, whatever it waits for, and never puts a secret into a message.

Connections are kept and used again. One that the other side has closed meanwhile costs nothing: where no byte of an answer has come, the
request is sent once more on a fresh one. What is asked with a form is read-only, so asking twice does no harm; what has a body of its own is sent once.
"""

import base64
import os
import re
import ssl
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from promlstm import __version__, limits
from promlstm.errors import ConfigError, ResponseError, SourceRefused, SourceUnavailable
from promlstm.query import oauth2
from promlstm.query.connection import PIECE_BYTES, Connection, Deadline, ProtocolError, Unanswered
from promlstm.query.in_flight import Answer, InFlight
from promlstm.query.interfaces import OAuth2, Source
from promlstm.query.oauth2 import Tokens
from promlstm.query.slots import Slots

REDIRECTS = (301, 302, 303, 307, 308)
MAX_RESPONSE_BYTES = 200_000_000  # a million series
MEMORY_SHARE = 12  # of the memory limit one answer takes at most this part, for what is made of it while it is decoded takes five times as much
UNPACKED_BYTES = PIECE_BYTES  # of a piece, so that a bomb is noticed before it is in memory
SHOWN = 200  # characters of what a server says, in a message
_PATH = "/%:@!$&'()*+,;=~-._"  # characters of a path that stay as they are


Request = tuple[str, str, Mapping[str, str], bytes | None]


class Reply(NamedTuple):
    """An answer: `headers` is an email.message.Message, `body` a bytearray."""

    status: int
    headers: Message
    body: bytearray


def largest_response(memory_limit_bytes: int | None, apis: int = 1) -> int:
    """The default of `max_response`, bytes: an answer, and what is made of it, must leave room for all else in the control group.

    apis  how many are asked at once; each has its own room, so that none waits for another

    >>> largest_response(None), largest_response(300 * 2**20), largest_response(300 * 2**20, apis=2)
    (200000000, 26214400, 13107200)
    """
    return MAX_RESPONSE_BYTES if memory_limit_bytes is None else min(MAX_RESPONSE_BYTES, memory_limit_bytes // MEMORY_SHARE // apis)


class Http:
    """What `source` (config.Source) leads to; files that it names are relative to `root`. `where` names it in messages about its files.

    max_response  bytes of an answer, at most
    """

    def __init__(
        self, source: Source, *, root: str | Path = '.', environment: Mapping[str, str] = os.environ, where: str = 'prometheus'
    ) -> None:
        self._source, self._root, self._environment, self._where = source, Path(root), environment, where
        self.url = source.url.rstrip('/')
        parts = urlsplit(self.url)
        self._base = f'{parts.scheme}://{parts.netloc}{quote(parts.path, safe=_PATH)}'
        self._slots = Slots(source.concurrency)
        self._kept: list[Connection] = []
        self._lock = threading.Lock()
        self._trusted: tuple[list[Any], ssl.SSLContext] | None = None  # when the certificates were made, and the ssl.SSLContext that holds them
        self._coding = 'gzip' if source.enable_compression else 'identity'
        ours = {'User-Agent': f'promlstm/{__version__}', 'Accept': 'application/json', 'Accept-Encoding': self._coding, 'Connection': 'keep-alive'}
        largest = largest_response(limits.memory_bytes())
        self.max_response = source.max_response or largest
        self._in_flight = InFlight(largest // 2)
        theirs = {name.lower() for name in source.headers}
        self._headers = {name: value for name, value in ours.items() if name.lower() not in theirs} | dict(source.headers)
        self._is_source = where.partition('.')[0] in ('prometheus', 'sources') and not where.endswith('.oauth2')
        self._endpoint: Http | None = None
        self._tokens: Tokens | None = None
        if source.oauth2:
            self._endpoint, self._tokens = self._oauth2(source.oauth2)

    def _oauth2(self, settings: OAuth2) -> tuple['Http', Tokens]:
        """The way to the token endpoint, which shares nothing with this one, and the tokens that come from there."""
        there = Http(oauth2.endpoint(settings), root=self._root, environment=self._environment, where=f'{self._where}.oauth2')

        def send(path: str, form: Mapping[str, str], timeout: float, headers: Mapping[str, str]) -> Reply:
            return there.send('POST', path, form, timeout, headers=headers)

        return there, Tokens(settings, lambda: self._secret(settings.client_secret_file, 'printable text'), send)

    def share_memory(self, apis: int) -> None:
        """Take no more memory from now on than is left where so many HTTP APIs are asked at once."""
        largest = largest_response(limits.memory_bytes(), apis)
        self.max_response = self._source.max_response or largest
        self._in_flight.resize(largest // 2)

    def answer(self) -> AbstractContextManager[Answer]:
        """The room of an answer among all that are in flight; whoever decodes one keeps it for as long as he holds its bytes."""
        return self._in_flight.answer()

    def send(
        self, method: str, path: str, form: Mapping[str, str], timeout: float, room: Answer | None = None, headers: Mapping[str, str] | None = None,
        json: bytes | None = None,
    ) -> Reply:
        """The Reply of a path below the URL.

        method   POST: the form is sent in the body; GET: in the URL
        form     {key: text}
        timeout  seconds for the whole exchange: a token, waiting for its turn, connecting, sending, and every byte of the answer
        room     what `answer` gave; None = it is given back as soon as the answer is here
        headers  of this request alone
        json     the body in the place of the form, which is in the URL then
        raises   SourceUnavailable, ResponseError; ConfigError where a secret or certificate cannot be read
        """
        deadline = Deadline(timeout)

        def reply(credentials: Mapping[str, str]) -> Reply:
            with self._explained(f'{self.url}/{path}', timeout), self._slots.one(deadline), nullcontext(room) if room else self.answer() as held:
                return self._exchange(self._request(method, path, form, {**credentials, **(headers or {})}, json), deadline, held, once=json is not None)

        return self._with_token(reply, self._tokens, deadline) if self._tokens else reply(self._credentials())

    def _with_token(self, reply: Callable[[Mapping[str, str]], Reply], tokens: Tokens, deadline: Deadline) -> Reply:
        """The Reply with the newest token, once more where that is refused (RFC 6750, section 3.1: 401) and there is another."""
        token = tokens.newest(deadline)
        answered = reply({'Authorization': token.header})
        if answered.status == 401 and (other := tokens.instead_of(token, deadline)):
            token, answered = other, reply({'Authorization': other.header})
        token.accepted = token.accepted or answered.status != 401
        return answered

    def _request(self, method: str, path: str, form: Mapping[str, str], more: Mapping[str, str], json: bytes | None) -> Request:
        url, headers, query = f'{self._base}/{path}', self._headers | dict(more), dict(self._source.params)
        if json is not None:
            headers['Content-Type'] = 'application/json'
            query |= dict(form)
        elif method == 'POST':
            headers['Content-Type'] = 'application/x-www-form-urlencoded'
        else:
            query |= dict(form)
        body = json if json is not None else urlencode(form).encode() if method == 'POST' else None
        return method, f'{url}?{urlencode(query)}' if query else url, headers, body

    def check_files(self) -> None:
        """Read the secrets and certificates as a query would; ConfigError names the file that cannot be used."""
        self._credentials()
        try:
            self._context()
        except ssl.SSLError as error:
            raise ConfigError(f'{self._where}.tls_config: a certificate or key cannot be used: {_tls_reason(error)}') from error
        except OSError as error:
            raise ConfigError(f'{self._where}.tls_config: a certificate or key cannot be read: {error.strerror or error}') from error
        if self._source.oauth2 and self._endpoint:
            self._secret(self._source.oauth2.client_secret_file, 'printable text')
            self._endpoint.check_files()

    def _exchange(self, request: Request, deadline: Deadline, room: Answer, *, once: bool) -> Reply:
        context = self._context()  # before a kept connection is taken: a certificate that is gone is told at once
        if not once and (kept := self._idle()):
            try:
                return self._ask(kept, request, deadline, room)
            except Unanswered:
                pass
        fresh = Connection(self.url, proxy=self._source.proxy_url, context=context, deadline=deadline)
        return self._ask(fresh, request, deadline, room)

    def _idle(self) -> Connection | None:
        """A kept connection on which nothing has happened since, or None."""
        while True:
            with self._lock:
                if not self._kept:
                    return None
                connection = self._kept.pop()
            if connection.idle():
                return connection
            connection.close()

    def _ask(self, connection: Connection, request: Request, deadline: Deadline, room: Answer) -> Reply:
        try:
            status, headers = connection.request(*request, deadline)
            if status in REDIRECTS and headers.get('Location'):
                raise _Redirected(headers['Location'])
            encoding = headers.get('Content-Encoding', 'identity').strip().lower()
            body = self._body(_until_broken(connection.pieces()), encoding, deadline, room)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            kept = connection.reusable() and len(self._kept) < self._source.concurrency
            if kept:
                self._kept.append(connection)
        if not kept:
            connection.close()
        return Reply(status, headers, body)

    def _body(self, pieces: Iterable[bytes], encoding: str, deadline: Deadline, room: Answer) -> bytearray:
        """The whole body, unpacked as it comes, so that neither a bomb nor a second copy is ever held."""
        body, limit = bytearray(), self.max_response
        if encoding not in ('identity', 'gzip', 'x-gzip'):
            raise ResponseError(f'{self.url} returned an answer that cannot be decompressed: its encoding is {printable(encoding)}, not {self._coding}')
        for piece in pieces if encoding == 'identity' else _unpacked(pieces):
            size = len(body) + len(piece)
            if size > limit:
                remedy = f'max_response ({limit} bytes): aggregate the expression' if self._is_source else f'{limit} bytes'
                raise ResponseError(f'{self.url} answered with more than {remedy}')
            try:
                room.grow(size, deadline)
            except TimeoutError as error:
                raise SourceUnavailable(
                    f'{self.url} returned an answer of {size} bytes or more, for which other answers left no memory within the timeout: '
                    'aggregate the expressions, or raise the memory limit'
                ) from error
            body += piece
        return body

    @contextmanager
    def _explained(self, url: str, timeout: float) -> Iterator[None]:
        """Whatever goes wrong, in words."""
        try:
            yield
        except _Redirected as error:
            raise ResponseError(
                f'{url} redirects to {printable(str(error))}: set its url to the address that answers'
            ) from error
        except TimeoutError as error:
            raise SourceUnavailable(f'{self.url} did not answer within the timeout of {timeout:g} s') from error
        except ssl.SSLCertVerificationError as error:
            what = f'its certificate is not trusted ({error.verify_message.rstrip(".")}); {_remedy(error.verify_code)}'
            raise SourceRefused(f'{self.url} cannot be reached: {what}') from error
        except ssl.SSLError as error:
            raise SourceRefused(f'{self.url} cannot be reached: TLS: {_tls_reason(error)}') from error
        except _Broken as error:
            raise SourceUnavailable(f'{self.url} ended the connection during an answer: {error}') from error
        except OSError as error:
            raise SourceUnavailable(f'{self.url} cannot be reached: {error.strerror or error}') from error
        except zlib.error as error:
            raise ResponseError(f'{self.url} returned an answer that cannot be decompressed: {error}') from error
        except (ProtocolError, ValueError) as error:
            raise ResponseError(f'{self.url} returned an answer that is not HTTP: {printable(str(error))}') from error

    def _context(self) -> ssl.SSLContext | None:
        """The ssl.SSLContext; the files are looked at for each query, as certificates are rotated."""
        tls, files = self._source.tls_config, dict[str, Path]()
        for name in ('ca_file', 'cert_file', 'key_file') if tls else ():
            if file := getattr(tls, name):
                files[name] = path = self._root / file
                if not path.is_file():
                    raise ConfigError(f'{path}: tls_config.{name} is not a file')
        if not any(url and url.startswith('https:') for url in (self._source.url, self._source.proxy_url)):
            return None
        stamp = [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in files.values()]
        if not self._trusted or self._trusted[0] != stamp:
            self._trusted = stamp, self._made_context(files)
        return self._trusted[1]

    def _made_context(self, files: Mapping[str, Path]) -> ssl.SSLContext:
        # Without a file of its own the authorities of the system are trusted, those of SSL_CERT_FILE and SSL_CERT_DIR in their place (OpenSSL
        # reads these), and besides what REQUESTS_CA_BUNDLE names, which many images and charts set.
        context = ssl.create_default_context(cafile=files.get('ca_file'))
        bundle = self._environment.get('REQUESTS_CA_BUNDLE')
        if bundle and 'ca_file' not in files:
            folder = Path(bundle).is_dir()
            context.load_verify_locations(None if folder else bundle, bundle if folder else None)
        if self._source.tls_config and self._source.tls_config.insecure_skip_verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if 'cert_file' in files:
            context.load_cert_chain(files['cert_file'], files.get('key_file'))
        return context

    def _credentials(self) -> dict[str, str]:
        """Credentials are read for each query, so that a rotated file is used at once; they are never kept."""
        source = self._source
        if source.authorization:
            return {'Authorization': f'{source.authorization.type} {self._secret(source.authorization.credentials_file, "printable ASCII")}'}
        if source.basic_auth:
            both = f'{source.basic_auth.username}:{self._secret(source.basic_auth.password_file, "printable text")}'
            return {'Authorization': f'Basic {base64.b64encode(both.encode()).decode()}'}
        return {}

    def _secret(self, name: str, kind: str) -> str:
        """What stands in a file, which no message may show."""
        try:
            secret = (self._root / name).read_text(encoding='utf-8').strip()
        except OSError as error:
            raise ConfigError(f'{self._root / name}: secret cannot be read: {error.strerror}') from error
        except UnicodeDecodeError:
            secret = ''
        if not secret.isprintable() or not secret or ('ASCII' in kind and not secret.isascii()):
            raise ConfigError(f'{self._root / name}: expected a secret of one line of {kind}')
        return secret


class _Redirected(Exception):
    """An answer that names another place."""


class _Broken(OSError):
    """An answer that ended too early."""


def _until_broken(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces; what goes wrong on the way to them is told from what goes wrong before."""
    try:
        yield from pieces
    except TimeoutError:
        raise
    except OSError as error:
        raise _Broken(error.strerror or str(error)) from error


def _unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of gzip unpacked, each of a bounded size; several members may follow each other."""
    unpacker = None
    for piece in pieces:
        while piece:
            unpacker = unpacker or zlib.decompressobj(zlib.MAX_WBITS | 16)
            yield unpacker.decompress(piece, UNPACKED_BYTES)
            piece = unpacker.unconsumed_tail
            if unpacker.eof:
                piece, unpacker = unpacker.unused_data, None
    if unpacker:
        raise zlib.error('it ends too early')


def printable(text: str) -> str:
    """What a server said, short and on one line, for a message.

    >>> printable('no such\\n  tenant\\x00')
    'no such tenant?'
    """
    return ''.join(character if character.isprintable() else '?' for character in ' '.join(text[:SHOWN].split()))


def _remedy(verify_code: int) -> str:
    """What to do about a certificate that is not trusted, by OpenSSL's number of the reason (x509_vfy.h)."""
    if verify_code in (9, 10):
        return 'renew it, or check the clock of this machine'
    if verify_code in (62, 64):
        return 'use the name in the certificate as the host of its url'
    return 'set tls_config.ca_file to the certificate of its authority'


def _tls_reason(error: ssl.SSLError) -> str:
    if error.reason in ('WRONG_VERSION_NUMBER', 'HTTP_REQUEST'):
        return 'the server does not use TLS at this port: write http:// in its url'
    return re.sub(r'^\[[^\]]*\] | \(_ssl\.c:\d+\)$', '', str(error))
