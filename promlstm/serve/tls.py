"""TLS of the web server: an ssl.SSLContext from tls_server_config, and whether the certificate of a client is one that is let in.

Who calls it: web. What flows through: files with certificates and keys. A context is made anew for each change and never changed, so that a
certificate, a key and the authorities of clients are of one moment, and an authority that is gone is not trusted any more.
"""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promlstm.errors import ConfigError
from promlstm.serve.web_config import CIPHERS, CURVES, TLS

_VERSIONS = {'TLS12': ssl.TLSVersion.TLSv1_2, 'TLS13': ssl.TLSVersion.TLSv1_3}
_MODES = {
    '': ssl.CERT_NONE, 'NoClientCert': ssl.CERT_NONE, 'VerifyClientCertIfGiven': ssl.CERT_OPTIONAL,
    'RequireAndVerifyClientCert': ssl.CERT_REQUIRED,
}  # fmt: skip
_NAMES = {'DNS', 'email', 'IP Address', 'URI'}  # kinds of alternative names, as ssl writes them
LARGEST_BYTES = 4_000_000  # of a certificate, a key or a list of authorities


def context(tls: TLS, root: Path, name: str) -> ssl.SSLContext:
    """The ssl.SSLContext of a server.

    root    what file names are relative to
    name    of the configuration file, for messages
    raises  ConfigError, which names the file that cannot be used
    """
    where = f'{name}: tls_server_config'
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version, made.maximum_version = _VERSIONS[tls.min_version], _VERSIONS[tls.max_version]
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_IGNORE_UNEXPECTED_EOF
    made.set_alpn_protocols(['http/1.1'])
    if not tls.prefer_server_cipher_suites:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if tls.cipher_suites:
        suites = [CIPHERS[suite] for suite in tls.cipher_suites if suite in CIPHERS]
        if suites:
            try:
                made.set_ciphers(':'.join(suites))
            except ssl.SSLError as error:
                raise ConfigError(f'{where}.cipher_suites: this OpenSSL supports none of them: {", ".join(tls.cipher_suites)}') from error
        else:
            made.minimum_version = ssl.TLSVersion.TLSv1_3
    for curve in tls.curve_preferences or []:
        made.set_ecdh_curve(CURVES[curve])
    pem = {kind: _pem(tls, kind, root, where) for kind in ('cert', 'key', 'client_ca')}
    _load_pair(made, pem['cert'], pem['key'], where)
    made.verify_mode = _MODES[tls.client_auth_type]
    if made.verify_mode != ssl.CERT_NONE:
        try:
            made.load_verify_locations(cadata=pem['client_ca'].decode('ascii', 'ignore'))  # names of authorities may stand above them
        except ssl.SSLError as error:
            raise ConfigError(f'{where}.client_ca_file: no certificates in PEM format') from error
    return made


def _pem(tls: TLS, kind: str, root: Path, where: str) -> bytes:
    """What stands in a file or in the configuration itself; empty = neither is there."""
    if inline := getattr(tls, kind):
        return str(inline).encode()
    if not (file := getattr(tls, f'{kind}_file')):
        return b''
    path = root / file
    try:
        if not path.is_file():
            raise ConfigError(f'{where}.{kind}_file: {path} is not a file')
        with path.open('rb') as opened:
            data: bytes = opened.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f'{where}.{kind}_file: {path} cannot be read: {error.strerror}') from error
    if not data.strip() or len(data) > LARGEST_BYTES:
        raise ConfigError(f'{where}.{kind}_file: {path} is {"empty" if not data.strip() else "too large"}')
    return data


def _load_pair(made: ssl.SSLContext, cert: bytes, key: bytes, where: str) -> None:
    """Load a certificate and its key, as they were read at one moment.

    ssl takes names of files only; between two looks at them by name they may change, so it is given copies that nobody else can read.
    """
    with _named(cert) as cert_name, _named(key) as key_name:
        try:
            made.load_cert_chain(cert_name, key_name, password=_no_password)
        except ssl.SSLError as error:
            reason = {'KEY_VALUES_MISMATCH': 'they belong to different pairs'}.get(error.reason or '', 'no certificate or no key in PEM format')
            raise ConfigError(f'{where}: cert_file and key_file cannot be used: {reason}') from error
        except _Encrypted as error:
            raise ConfigError(f'{where}.key_file: the key is encrypted, and its password cannot be asked for') from error


@contextmanager
def _named(data: bytes) -> Iterator[str]:
    """A file name under which the data can be read, in memory where the system has such files: no key is written to a disk."""
    if hasattr(os, 'memfd_create'):
        with open(os.memfd_create('promlstm'), 'wb') as file:
            file.write(data)
            file.flush()
            yield f'/proc/self/fd/{file.fileno()}'
    else:
        with tempfile.NamedTemporaryFile() as named:
            named.write(data)
            named.flush()
            yield named.name


class _Encrypted(Exception):
    """A key that needs a password."""


def _no_password() -> str:
    raise _Encrypted  # else OpenSSL would ask on the terminal


def let_in(connection: ssl.SSLObject, allowed: list[str] | None) -> bool:
    """Whether the certificate that a client has shown has one of the allowed alternative names; None = any verified one has."""
    if allowed is None:
        return True
    shown: Any = connection.getpeercert() or {}
    names = {value for kind, value in shown.get('subjectAltName', ()) if kind in _NAMES}
    return not names.isdisjoint(allowed)
