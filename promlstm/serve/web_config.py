"""The web configuration file, in the format of the Prometheus ecosystem: that of prometheus/exporter-toolkit.

Who calls it: web (reads it again and again), `check-web-config`. What flows through: a file's text; out comes a frozen WebConfig. It opens
no certificate and checks no password.

A key that Python's ssl cannot honour is refused, never ignored: whoever writes it relies on it. Messages never show a hash or a key.
"""

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from promlstm import strict_yaml
from promlstm.durations import seconds
from promlstm.errors import ConfigError

LARGEST_CHARACTERS = 1_000_000
LARGEST_COST = 18  # of a hash: some ten seconds
HEADERS = ('Content-Security-Policy', 'X-Frame-Options', 'X-Content-Type-Options', 'X-XSS-Protection', 'Strict-Transport-Security')
_FRAME_OPTIONS = ('deny', 'sameorigin')
_HASH = re.compile(r'\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}\Z')
_HEADER_VALUE = re.compile(r'[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?\Z')
# client_auth_type: whether a certificate is asked for, and whether a client without one is let in.
CLIENT_AUTH = ('NoClientCert', 'VerifyClientCertIfGiven', 'RequireAndVerifyClientCert')
_UNVERIFIED = ('RequestClientCert', 'RequireClientCert', 'RequireAnyClientCert')
VERSIONS = ('TLS12', 'TLS13')
_OLD_VERSIONS = ('TLS10', 'TLS11')
# The names of Go, which are those of IANA, and those of OpenSSL. TLS 1.3 has its own, which are always offered, there as here.
CIPHERS = {
    'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256': 'ECDHE-ECDSA-AES128-GCM-SHA256',
    'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256': 'ECDHE-RSA-AES128-GCM-SHA256',
    'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384': 'ECDHE-ECDSA-AES256-GCM-SHA384',
    'TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384': 'ECDHE-RSA-AES256-GCM-SHA384',
    'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256': 'ECDHE-ECDSA-CHACHA20-POLY1305',
    'TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256': 'ECDHE-RSA-CHACHA20-POLY1305',
    'TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA': 'ECDHE-ECDSA-AES128-SHA',
    'TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA': 'ECDHE-RSA-AES128-SHA',
    'TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA': 'ECDHE-ECDSA-AES256-SHA',
    'TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA': 'ECDHE-RSA-AES256-SHA',
    'TLS_RSA_WITH_AES_128_GCM_SHA256': 'AES128-GCM-SHA256',
    'TLS_RSA_WITH_AES_256_GCM_SHA384': 'AES256-GCM-SHA384',
    'TLS_RSA_WITH_AES_128_CBC_SHA': 'AES128-SHA',
    'TLS_RSA_WITH_AES_256_CBC_SHA': 'AES256-SHA',
    'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305': 'ECDHE-ECDSA-CHACHA20-POLY1305',
    'TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305': 'ECDHE-RSA-CHACHA20-POLY1305',
}
CIPHERS_13 = ('TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256')
CURVES = {'CurveP256': 'prime256v1', 'CurveP384': 'secp384r1', 'CurveP521': 'secp521r1', 'X25519': 'X25519'}


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class TLS(_Strict, frozen=True):
    """tls_server_config. Certificates and keys come from a file or stand in the text itself."""

    cert: str = ''
    key: str = ''
    client_ca: str = ''
    cert_file: str = ''
    key_file: str = ''
    client_ca_file: str = ''
    client_auth_type: str = ''
    client_allowed_sans: list[str] | None = None
    min_version: str = 'TLS12'
    max_version: str = 'TLS13'
    cipher_suites: list[str] | None = None
    prefer_server_cipher_suites: bool = True
    curve_preferences: list[str] | None = None

    @property
    def enabled(self) -> bool:
        """Whether anything in it asks for TLS."""
        return any((self.cert, self.key, self.client_ca, self.cert_file, self.key_file, self.client_ca_file, self.client_auth_type))


class Http(_Strict, frozen=True):
    """http_server_config. http2 is taken and without effect: HTTP/1.1 is what is offered, and clients settle for it."""

    http2: bool = True
    headers: dict[str, str] | None = None


class RateLimit(_Strict, frozen=True):
    """rate_limit: requests of all clients together."""

    interval: str | int = '0s'
    burst: int = 0


class WebConfig(_Strict, frozen=True):
    """The file. basic_auth_users: {user: bcrypt hash}; empty = no password is asked for."""

    tls_server_config: TLS | None = None
    http_server_config: Http | None = None
    basic_auth_users: dict[str, str] | None = None
    rate_limit: RateLimit | None = None

    @property
    def users(self) -> dict[str, str]:
        """The users, by name."""
        return self.basic_auth_users or {}

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every answer; one without a value is not set."""
        http = self.http_server_config or Http()
        return {name: value for name, value in (http.headers or {}).items() if value}


def parse(text: str, name: str, *, may_be_empty: bool = True) -> WebConfig:
    """The configuration that a text holds; an empty one configures nothing.

    name          of the file, for messages
    may_be_empty  False = a text without a key is an error, unless it is {}
    raises        ConfigError

    >>> parse('', 'web.yml') == WebConfig()
    True
    """
    if len(text) > LARGEST_CHARACTERS:
        raise ConfigError(f'{name}: more than {LARGEST_CHARACTERS} characters: this is not a web configuration')
    try:
        tree = strict_yaml.load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f'{name}: {_without_content(error)}') from None  # what yaml quotes of the text may be a hash
    if tree is None and not may_be_empty:
        raise ConfigError(f'{name}: the file is empty; to serve without TLS and passwords, write {{}} into it')
    try:
        config = msgspec.convert({} if tree is None else tree, WebConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f'{name}: {_explain(str(error))}') from None
    _check_users(config.users, name)
    _check_headers(config.http_server_config or Http(), name)
    if config.rate_limit:
        _check_rate(config.rate_limit, name)
    if config.tls_server_config:
        _check_tls(config.tls_server_config, f'{name}: tls_server_config')
    return config


def read(path: Path, *, may_be_empty: bool = True) -> WebConfig:
    """The configuration in a file; raises ConfigError."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f'{path}: is not a file')  # a pipe would be waited for, and could be read once only
        with path.open('rb') as file:
            data = file.read(LARGEST_CHARACTERS + 1)
    except OSError as error:
        raise ConfigError(f'{path}: cannot be read: {error.strerror}') from error
    try:
        return parse(data.decode(), str(path), may_be_empty=may_be_empty)
    except UnicodeDecodeError as error:
        raise ConfigError(f'{path}: not UTF-8 text') from error


def interval_seconds(limit: RateLimit) -> float:
    """Seconds between two requests; 0 = no limit."""
    return 0.0 if limit.interval in (0, '0', '') else seconds(limit.interval)


def _without_content(error: yaml.YAMLError) -> str:
    mark = getattr(error, 'problem_mark', None)
    where = f'line {mark.line + 1}, column {mark.column + 1}: ' if mark else ''
    problem = str(getattr(error, 'problem', None) or 'not YAML')
    return where + re.sub(r"'[^']*\$2[^']*'", '<secret>', problem)


def _explain(message: str) -> str:
    what, _, path = message.partition(' - at `')
    place = path.rstrip('`').removeprefix('$').lstrip('.').replace('[...]', '')
    if unknown := re.match(r'Object contains unknown field `(.*)`', what):
        known: Any = {'': WebConfig, 'tls_server_config': TLS, 'http_server_config': Http, 'rate_limit': RateLimit}.get(place)
        names = ', '.join(sorted(known.__struct_fields__)) if known else ''
        return f'{place + ": " if place else ""}{unknown[1]}: unknown key' + (f'; known: {names}' if names else '')
    words = {'str': 'text', 'int': 'a whole number', 'bool': 'true or false', 'array': 'a list', 'object': 'a mapping', 'null': 'nothing'}
    said = re.sub(r'`([a-z |]+)`', lambda match: ' or '.join(words.get(word, word) for word in match[1].split(' | ')), what)
    return (f'{place}: ' if place else '') + said[:1].lower() + said[1:]


def _check_users(users: dict[str, str], name: str) -> None:
    for user, hashed in users.items():
        if not user or ':' in user:
            raise ConfigError(f'{name}: basic_auth_users: {user!r}: expected a name without a colon')
        if not _HASH.match(hashed):
            raise ConfigError(
                f'{name}: basic_auth_users: {user}: expected a bcrypt hash, which begins with $2a$, $2b$ or $2y$ and has 60 characters; '
                'htpasswd -nBC 10 "" makes one'
            )
        if int(hashed[4:6]) > LARGEST_COST:
            raise ConfigError(f'{name}: basic_auth_users: {user}: a cost of {hashed[4:6]} takes longer than a request may; 10 is enough')


def _check_headers(http: Http, name: str) -> None:
    where = f'{name}: http_server_config.headers'
    headers = http.headers or {}
    for header, value in headers.items():
        if header not in HEADERS:
            raise ConfigError(f'{where}: {header}: it cannot be set; these can: {", ".join(HEADERS)}')
        if value and not _HEADER_VALUE.match(value):
            raise ConfigError(f'{where}: {header}: expected one line of printable ASCII')
    if (frame := headers.get('X-Frame-Options')) and frame.lower() not in _FRAME_OPTIONS:
        raise ConfigError(f'{where}: X-Frame-Options: expected deny or sameorigin, got {frame!r}')
    if (sniff := headers.get('X-Content-Type-Options')) and sniff.lower() != 'nosniff':
        raise ConfigError(f'{where}: X-Content-Type-Options: expected nosniff, got {sniff!r}')


def _check_rate(limit: RateLimit, name: str) -> None:
    try:
        interval = interval_seconds(limit)
    except ValueError as error:
        raise ConfigError(f'{name}: rate_limit.interval: {error}') from error
    if interval < 0 or limit.burst < 0 or (interval and not limit.burst):
        raise ConfigError(f'{name}: rate_limit: expected an interval and a burst of 1 or more, else no request would be answered')


def _check_tls(tls: TLS, where: str) -> None:
    for kind in ('cert', 'key', 'client_ca'):
        if getattr(tls, kind) and getattr(tls, f'{kind}_file'):
            raise ConfigError(f'{where}: {kind} and {kind}_file: only one of them')
    if tls.enabled:
        for kind in ('cert', 'key'):
            if not getattr(tls, kind) and not getattr(tls, f'{kind}_file'):
                raise ConfigError(f'{where}: missing one of {kind} or {kind}_file')
    _check_client_auth(tls, where)
    for key in ('min_version', 'max_version'):
        version = getattr(tls, key)
        if version in _OLD_VERSIONS:
            raise ConfigError(f'{where}.{key}: {version} is not supported: it is insecure (RFC 8996); expected {" or ".join(VERSIONS)}')
        if version not in VERSIONS:
            raise ConfigError(f'{where}.{key}: expected {" or ".join(VERSIONS)}, got {version!r}')
    if tls.min_version > tls.max_version:
        raise ConfigError(f'{where}: min_version {tls.min_version} is above max_version {tls.max_version}')
    ciphers, curves = tls.cipher_suites or [], tls.curve_preferences or []
    for cipher in ciphers:
        if cipher not in CIPHERS and cipher not in CIPHERS_13:
            raise ConfigError(f'{where}.cipher_suites: {cipher!r} is not offered; these are: {", ".join((*CIPHERS, *CIPHERS_13))}')
    if ciphers and tls.max_version == 'TLS12' and not set(ciphers) & set(CIPHERS):
        raise ConfigError(f'{where}.cipher_suites: none of them is for TLS12, and max_version allows no other')
    for curve in curves:
        if curve not in CURVES:
            raise ConfigError(f'{where}.curve_preferences: expected one of {", ".join(CURVES)}, got {curve!r}')
    if len(curves) > 1:
        raise ConfigError(f"{where}.curve_preferences: Python's ssl supports one curve or its own choice: name one, or leave the key out")


def _check_client_auth(tls: TLS, where: str) -> None:
    auth = tls.client_auth_type or 'NoClientCert'
    if auth in _UNVERIFIED:
        raise ConfigError(
            f"{where}.client_auth_type: {auth}: Python's ssl asks for a certificate only where it verifies it; expected one of {', '.join(CLIENT_AUTH)}"
        )
    if auth not in CLIENT_AUTH:
        raise ConfigError(f'{where}.client_auth_type: expected one of {", ".join(CLIENT_AUTH)}, got {auth!r}')
    has_authority = bool(tls.client_ca or tls.client_ca_file)
    if has_authority and auth == 'NoClientCert':
        raise ConfigError(f'{where}: client_ca_file needs client_auth_type: otherwise no certificate is requested')
    if not has_authority and auth != 'NoClientCert':
        raise ConfigError(f'{where}.client_auth_type: {auth} without client_ca_file: no certificate could be verified')
    if tls.client_allowed_sans is not None and auth != 'RequireAndVerifyClientCert':
        raise ConfigError(f'{where}: client_allowed_sans needs client_auth_type RequireAndVerifyClientCert')
