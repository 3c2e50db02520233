"""One HTTP API as a configuration describes it: TLS, credentials, proxy, headers, limits.

Who calls it: prometheus, and convert for what an Alertmanager knows. What flows through: a path and a form; out come a status and the bytes
of the body. It never follows a redirect (it would lose the form, and could take credentials elsewhere), never reads an answer beyond its
limit, never waits longer than it was told, and never puts a secret into a message.
"""

import re
import time as clock
from pathlib import Path

import requests

from promlstm import __version__
from promlstm.errors import ConfigError, ResponseError, SourceUnavailable

_CHUNK_BYTES = 1 << 20

urllib3 = requests.packages.urllib3.exceptions  # what reading a body raises: requests translates only what it reads itself


class Http:
    """What `source` (config.Source) leads to; files that it names are relative to `root`."""

    def __init__(self, source, *, root='.'):
        self._source = source
        self.url = source.url.rstrip('/')
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.headers = {
            'User-Agent': f'promlstm/{__version__}',
            'Accept': 'application/json',
            'Accept-Encoding': 'gzip',
            **source.headers,
        }
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=source.concurrency, pool_block=True)
        self._http.mount('http://', adapter)
        self._http.mount('https://', adapter)
        self._root = Path(root)
        if source.proxy_url:
            self._http.proxies = {'http': source.proxy_url, 'https': source.proxy_url}
        if source.tls_config:
            self._use_tls(source.tls_config)

    def _use_tls(self, tls):
        self._http.verify = not tls.insecure_skip_verify and (str(self._root / tls.ca_file) if tls.ca_file else True)
        if tls.cert_file:
            files = [str(self._root / file) for file in (tls.cert_file, tls.key_file) if file]
            self._http.cert = tuple(files) if tls.key_file else files[0]

    def _check_tls(self):
        """Looked at for each query, as certificates are rotated; the library tells a missing one from a broken connection by no class."""
        tls = self._source.tls_config
        for name in ('ca_file', 'cert_file', 'key_file') if tls else ():
            file = getattr(tls, name)
            if file and not (self._root / file).is_file():
                raise ConfigError(f'{self._root / file}: tls_config.{name} is no file')

    def _headers(self):
        """Credentials are read anew for each query, so that a rotated file is used at once; they are never kept."""
        if self._source.authorization:
            secret = self._secret(self._source.authorization.credentials_file, 'printable ASCII')
            return {'Authorization': f'{self._source.authorization.type} {secret}'}
        return {}

    def _basic_auth(self):
        auth = self._source.basic_auth
        return (auth.username.encode(), self._secret(auth.password_file, 'printable text').encode()) if auth else _no_auth

    def _secret(self, name, kind):
        """What stands in a file, which no message may show: an HTTP library would print a header that it refuses."""
        try:
            secret = (self._root / name).read_text(encoding='utf-8').strip()
        except OSError as error:
            raise ConfigError(f'{self._root / name}: secret cannot be read: {error.strerror}') from error
        except UnicodeDecodeError:
            secret = ''
        if not secret.isprintable() or not secret or ('ASCII' in kind and not secret.isascii()):
            raise ConfigError(f'{self._root / name}: expected a secret of one line of {kind}')
        return secret

    def send(self, method, path, form, timeout):
        """(status, body) of a path below the URL.

        form     {key: text} to be sent in the body; none if empty
        timeout  seconds for the whole answer, from the request to the last byte
        raises   SourceUnavailable, ResponseError; ConfigError where a secret or certificate cannot be read
        """
        url = f'{self.url}/{path}'
        self._check_tls()
        until = clock.monotonic() + timeout
        try:
            with self._http.request(
                method, url, data=form or None, stream=True, timeout=(min(5.0, timeout), timeout), headers=self._headers(), allow_redirects=False,
                auth=self._basic_auth(),
            ) as response:  # fmt: skip
                if response.is_redirect:
                    raise ResponseError(
                        f'{url} redirects to {response.headers["Location"]}: put the address that answers in the place of its url'
                    )
                return response.status_code, self._body(response, until)
        except (requests.ReadTimeout, urllib3.ReadTimeoutError) as error:
            raise self._too_slow() from error
        except urllib3.DecodeError as error:
            raise ResponseError(f'{self.url} gave an answer that cannot be decompressed: {_reason(error)}') from error
        except urllib3.HTTPError as error:
            raise SourceUnavailable(f'{self.url} broke off in the middle of an answer: {_reason(error)}') from error
        except OSError as error:  # every exception of requests is one
            raise SourceUnavailable(f'{self.url} cannot be reached: {_reason(error)}') from error
        except ValueError as error:  # requests follows a Location in thought, and lets through what parsing it raises
            raise ResponseError(f'{self.url} gave an answer with headers that make no sense: {error}') from error

    def _body(self, response, until):
        """The whole body. Read as it comes: to wait for a full buffer would let a server that drips hold us for ever."""
        parts, total = [], 0
        while part := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            parts.append(part)
            total += len(part)
            if total > self._source.max_response:
                raise ResponseError(
                    f'{self.url} answered with more than max_response ({self._source.max_response} bytes): aggregate the expression'
                )
            if clock.monotonic() > until:
                raise self._too_slow()
        return b''.join(parts)

    def _too_slow(self):
        return SourceUnavailable(f'{self.url} was slower than the timeout of {self._source.timeout:g} s')


def _no_auth(request):
    """Keeps requests from looking for credentials of its own."""
    return request


def _reason(error):
    """The innermost message of a chain of connection errors: what a person can act on."""
    while getattr(error, 'args', None) and isinstance(error.args[0], BaseException):
        error = error.args[0]
    error = getattr(error, 'reason', None) or error
    text = error.args[0] if len(error.args) > 1 and isinstance(error.args[0], str) else str(error)
    return re.sub(r'^(<[^>]*>|HTTPS?Connection\([^)]*\)): ', '', text)
