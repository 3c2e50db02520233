"""OAuth2 client credentials (RFC 6749, section 4.4): an access token, kept, renewed before it expires, and asked for once by all who need it.

Who calls it: http, which sends the token with each request and says when one was refused. What flows through: the settings of `oauth2`; out
comes the value of an Authorization header. How a token endpoint is reached is http's business: `send` is given.

Clients show themselves with HTTP Basic (section 2.3.1), and in the form where the endpoint refuses that, as Prometheus does: see
https://pkg.go.dev/golang.org/x/oauth2#AuthStyle. Neither the secret nor a token is ever part of a message.
"""

import base64
import copy
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from email.message import Message
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

import msgspec

from promlstm.errors import PromlstmError, ResponseError, SourceRefused, SourceUnavailable
from promlstm.query.connection import Deadline
from promlstm.query.interfaces import TLS, OAuth2

EARLY_SECONDS = 10.0  # before a token expires it is renewed; a quarter of its life where that is less
AGAIN_SECONDS = 30.0  # a token that nobody has accepted yet is not renewed sooner for being refused: the next one would be refused as well
LARGEST_BYTES = 1_000_000
_PATH = "/%:@!$&'()*+,;=~-._"  # characters of a path that stay as they are
_TOKEN = re.compile(r'[\x21-\x7e]+\Z')
_SCHEME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Reply(Protocol):
    """What an endpoint answered; http.Reply is one."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Message: ...
    @property
    def body(self) -> bytearray: ...


# send(path, form, seconds, headers) gives the Reply of the token endpoint, or raises a SourceError.
Send = Callable[[str, Mapping[str, str], float, Mapping[str, str]], Reply]


class Endpoint(NamedTuple):
    """The host of a token endpoint, as interfaces.Source."""

    url: str
    params: Mapping[str, str]
    tls_config: TLS | None
    proxy_url: str | None
    headers: Mapping[str, str] = {}
    enable_compression: bool = True
    max_response: int | None = LARGEST_BYTES
    concurrency: int = 1
    basic_auth: None = None
    authorization: None = None
    oauth2: None = None


def endpoint(settings: OAuth2) -> Endpoint:
    """Where to ask for tokens; the path of the URL is asked for with each request."""
    parts = urlsplit(settings.token_url)
    return Endpoint(f'{parts.scheme}://{parts.netloc}', dict(parse_qsl(parts.query)), settings.tls_config, settings.proxy_url)


class _Grant(msgspec.Struct, gc=False):
    """A successful answer (section 5.1)."""

    access_token: str
    token_type: str | None = None
    expires_in: float | str | None = None


class _Refusal(msgspec.Struct, gc=False):
    """An answer that says no (section 5.2)."""

    error: str = ''
    error_description: str | None = None


class Token:
    """An access token: `header` is the value of Authorization, `until` and `issued` are seconds of `now`."""

    __slots__ = ('accepted', 'header', 'issued', 'until')

    def __init__(self, header: str, issued: float, until: float) -> None:
        self.header, self.issued, self.until, self.accepted = header, issued, until, False


class _Flight:
    """A token that is being asked for, and what came of it."""

    token: Token | None = None
    error: PromlstmError | None = None


class Tokens:
    """The newest token of a client, for all threads.

    secret  gives the client's secret, as its file has it now; ConfigError where it cannot be read
    send    the way to the token endpoint
    now     seconds that only grow
    """

    def __init__(self, settings: OAuth2, secret: Callable[[], str], send: Send, *, now: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._secret, self._send, self._now = settings, secret, send, now
        parts = urlsplit(settings.token_url)
        self._path = quote(parts.path, safe=_PATH).removeprefix('/')
        self._url = f'{parts.scheme}://{parts.netloc}/{self._path}'
        self._in_form: bool | None = None  # how this endpoint wants the secret: not known before the first success
        self._changed = threading.Condition()
        self._token: Token | None = None
        self._flight: _Flight | None = None

    def newest(self, deadline: Deadline) -> Token:
        """The token to send.

        raises  SourceUnavailable, SourceRefused, ResponseError where there is none; ConfigError where the secret cannot be read
        """
        with self._changed:
            if self._token and self._now() < self._token.until:
                return self._token
            flight, mine = self._flight or _Flight(), self._flight is None
            self._flight = flight
        if mine:
            self._fly(flight, deadline)
        return self._landed(flight, deadline)

    def instead_of(self, refused: Token, deadline: Deadline) -> Token | None:
        """The token to send after one was refused; None where a new one would be refused as well. It raises as `newest`."""
        with self._changed:
            if self._token is refused:
                if not refused.accepted and self._now() - refused.issued < AGAIN_SECONDS:
                    return None
                self._token = None
        return self.newest(deadline)

    def _fly(self, flight: _Flight, deadline: Deadline) -> None:
        try:
            flight.token = self._asked(deadline)
        except TimeoutError:
            flight.error = self._too_slow()
        except PromlstmError as error:
            flight.error = error
        finally:
            with self._changed:
                if flight.token is None and flight.error is None:  # this thread is being ended
                    flight.error = SourceUnavailable(f'oauth2: no token from {self._url}: given up')
                self._token, self._flight = flight.token, None
                self._changed.notify_all()

    def _landed(self, flight: _Flight, deadline: Deadline) -> Token:
        """What came of a flight, for each who waited: its token, or its error."""
        with self._changed:
            while flight.token is None and flight.error is None:
                try:
                    self._changed.wait(deadline.left())
                except TimeoutError as error:
                    raise self._too_slow() from error
        if flight.error is not None:
            raise copy.copy(flight.error)  # a traceback belongs to one thread
        assert flight.token is not None
        return flight.token

    def _too_slow(self) -> SourceUnavailable:
        return SourceUnavailable(f'oauth2: no token from {self._url} within the timeout')

    def _asked(self, deadline: Deadline) -> Token:
        """A new token. Where it is not known how the endpoint wants the secret, both ways are tried."""
        secret, began = self._secret(), self._now()
        in_form = bool(self._in_form)
        reply = self._request(secret, deadline, in_form=in_form)
        if self._in_form is None and reply.status in (400, 401, 403):
            in_form = True
            reply = self._request(secret, deadline, in_form=in_form)
        if not 200 <= reply.status < 300:
            raise self._refusal(reply, secret)
        token = self._granted(reply, began)
        self._in_form = in_form
        return token

    def _request(self, secret: str, deadline: Deadline, *, in_form: bool) -> Reply:
        settings = self._settings
        form = {'grant_type': 'client_credentials', **dict(settings.endpoint_params)}
        if settings.scopes:
            form['scope'] = ' '.join(settings.scopes)
        headers = {}
        if in_form:
            form |= {'client_id': settings.client_id, 'client_secret': secret}
        else:
            both = f'{quote_plus(settings.client_id)}:{quote_plus(secret)}'
            headers['Authorization'] = f'Basic {base64.b64encode(both.encode()).decode()}'
        try:
            return self._send(self._path, form, deadline.left(), headers)
        except SourceUnavailable as error:
            raise _with_wait(type(error)(f'oauth2: no token: {error}'), error.retry_after_seconds) from error
        except ResponseError as error:
            raise ResponseError(f'oauth2: no token: {error}') from error

    def _granted(self, reply: Reply, began: float) -> Token:
        """The Token of a successful answer. What stands in it is shown nowhere."""
        try:
            grant = msgspec.json.decode(reply.body, type=_Grant)
            life = float(grant.expires_in or 0)
        except _NO_JSON as error:
            raise ResponseError(f'oauth2: {self._url} answered {reply.status} with something that is not a token; check token_url') from error
        except ValueError as error:
            raise ResponseError(f'oauth2: {self._url} gave a token whose expires_in is not a number') from error
        kind = grant.token_type or 'Bearer'
        if not _TOKEN.match(grant.access_token) or not _SCHEME.match(kind):
            raise ResponseError(f'oauth2: {self._url} gave a token that cannot be sent: it is empty, or not of printable ASCII')
        # Without a life that makes sense a token is used until it is refused.
        until = began + life - min(EARLY_SECONDS, life / 4) if 0 < life < math.inf else math.inf
        return Token(f'{"Bearer" if kind.lower() == "bearer" else kind} {grant.access_token}', self._now(), until)

    def _refusal(self, reply: Reply, secret: str) -> SourceUnavailable | ResponseError:
        said = _said(reply.body, secret)
        what = f'oauth2: {self._url} gives no token ({reply.status}{said and " " + said})'
        if reply.status in (400, 401, 403):
            return SourceRefused(f'{what}; check client_id, client_secret_file and scopes')
        if reply.status == 429 or reply.status >= 500:
            wait = reply.headers.get('Retry-After', '').strip()
            return _with_wait(SourceUnavailable(what), float(wait[:9]) if wait.isascii() and wait.isdigit() else None)
        return ResponseError(f'{what}; check token_url')


def _with_wait(error: SourceUnavailable, seconds: float | None) -> SourceUnavailable:
    error.retry_after_seconds = seconds
    return error


def _said(body: bytearray, secret: str) -> str:
    """Why an endpoint refuses, in its words, on one line; the secret, should it repeat it, is left out.

    >>> _said(bytearray(b'{"error": "invalid_client", "error_description": "hunter2 is wrong"}'), 'hunter2')
    'invalid_client: <secret> is wrong'
    """
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except _NO_JSON:
        return ''
    text = ': '.join(filter(None, (refusal.error, refusal.error_description)))
    for spelled in (secret, quote_plus(secret)):
        text = text.replace(spelled, '<secret>')
    return ''.join(character if character.isprintable() else '?' for character in ' '.join(text[:200].split()))
