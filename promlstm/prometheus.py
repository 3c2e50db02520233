"""The HTTP API of Prometheus (and of those that speak it): instant and range queries, as columns.

Who calls it: detector (instant, every step), warm start and backtest (range, in chunks), `check-config`. What flows through: an
expression and times; out come raw label bytes and float64 columns. It never retries by itself (the clock comes round again), never
follows a redirect (it would lose the form, and could take credentials elsewhere), and never reads an answer beyond its limit.

Labels stay the raw bytes of the answer: parsing 100 000 label sets costs more than all the rest of a step.
"""

import math
import re
import time as clock
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import requests

from promlstm import __version__
from promlstm.errors import ConfigError, QueryRejected, ResponseError, SourceUnavailable

POINTS_PER_SERIES = 11_000  # Prometheus refuses a range query beyond
POINTS_PER_ANSWER = 400_000  # what we ask for at once: about 10 MB of JSON
_CHUNK_BYTES = 1 << 20

urllib3 = requests.packages.urllib3.exceptions  # what reading a body raises: requests translates only what it reads itself


class _Series(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = []
    histogram: Any = None
    histograms: Any = None


class _Data(msgspec.Struct, gc=False):
    resultType: str
    result: msgspec.Raw


class _Answer(msgspec.Struct, gc=False):
    status: str
    data: _Data | None = None
    errorType: str = ''
    error: str = ''
    warnings: list[str] = []


class _Build(msgspec.Struct, gc=False):
    data: dict[str, str] = {}


# What msgspec raises of bytes that are no answer; nested too deep is one way.
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_series = msgspec.json.Decoder(list[_Series]).decode
_decode_scalar = msgspec.json.Decoder(tuple[float, str]).decode


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """An instant answer: raw label bytes of n series and their values (float64 [n]; NaN and ±Inf as Prometheus has them)."""

    keys: list
    values: np.ndarray
    warnings: tuple = ()


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A range answer on its grid: times [T], raw label bytes of n series, values float64 [T, n], NaN = no sample."""

    times: np.ndarray
    keys: list
    values: np.ndarray
    warnings: tuple = ()


class Prometheus:
    """One query API, as the configuration describes it."""

    def __init__(self, source, *, root='.'):
        self._source = source
        self._url = source.url.rstrip('/')
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

    def instant(self, expr, time):
        """The value of an expression at an instant (unix seconds), as a Vector."""
        data, warnings = self._ask('query', {'query': expr, 'time': f'{time:.3f}'}, self._source.timeout)
        if data.resultType == 'scalar':
            return Vector([b'{}'], np.array([_number(_typed(_decode_scalar, data.result)[1])]), warnings)
        if data.resultType != 'vector':
            raise QueryRejected(f'the expression gives a {data.resultType}, expected a vector (one value per series): {expr}')
        series = _typed(_decode_series, data.result)
        if any(item.value is None for item in series):
            raise QueryRejected(
                f'the expression gives native histograms, expected numbers (use histogram_quantile or histogram_count): {expr}'
            )
        values = np.fromiter((_number(item.value[1]) for item in series), np.float64, len(series))
        return Vector([bytes(item.metric) for item in series], values, warnings)

    def range(self, expr, start, end, step, series=1):
        """The values of an expression at start, start + step, … end (unix seconds), as Matrices in time order.

        series   how many are expected: decides how many steps are asked for at once
        returns  iterator of Matrix; together they cover the grid, each with the series that it met
        """
        steps = math.floor((end - start) / step + 1e-6) + 1
        at_once = max(1, min(POINTS_PER_SERIES - 1, POINTS_PER_ANSWER // max(1, series)))
        for first in range(0, steps, at_once):
            count = min(at_once, steps - first)
            yield self._range(expr, start + first * step, count, step)

    def _range(self, expr, start, count, step):
        times = start + step * np.arange(count)
        form = {'query': expr, 'start': f'{start:.3f}', 'end': f'{times[-1]:.3f}', 'step': f'{step:.3f}'}
        data, warnings = self._ask('query_range', form, self._source.timeout)
        if data.resultType != 'matrix':
            raise ResponseError(f'query_range gave a {data.resultType}, expected a matrix: {expr}')
        series = _typed(_decode_series, data.result)
        values = np.full((count, len(series)), np.nan)
        for column, item in enumerate(series):
            rows = np.rint((np.fromiter((sample[0] for sample in item.values), np.float64, len(item.values)) - start) / step)
            kept = (rows >= 0) & (rows < count)
            found = np.fromiter((_number(sample[1]) for sample in item.values), np.float64, len(item.values))
            values[rows[kept].astype(np.int64), column] = found[kept]
        return Matrix(times, [bytes(item.metric) for item in series], values, warnings)

    def build(self):
        """What the server says of itself: a dict, empty where it does not say (Prometheus has `version`)."""
        _, body = self._send('GET', 'status/buildinfo', {}, min(10.0, self._source.timeout))
        try:
            return msgspec.json.decode(body, type=_Build).data
        except _NO_JSON:
            return {}

    def _ask(self, what, form, timeout):
        form = {**form, 'timeout': f'{max(1, round(timeout))}s', **self._source.params}
        status, body = self._send('POST', what, form, timeout)
        try:
            answer = _decode_answer(body)
        except _NO_JSON as error:
            raise self._not_json(status, body, error) from error
        if answer.status == 'success':
            if answer.data is None:
                raise ResponseError(f'{self._url} answered {status} with a success without data')
            return answer.data, tuple(answer.warnings)
        said = f'{answer.errorType or status}: {answer.error or "no reason given"}'
        if status in (400, 422):
            raise QueryRejected(f'{self._url} rejects the expression ({status} {said}): {form["query"]}')
        raise SourceUnavailable(f'{self._url} could not answer ({status} {said})')

    def _not_json(self, status, body, error):
        start = ' '.join(body[:120].decode(errors='replace').split())
        if status == 429 or status >= 500:
            return SourceUnavailable(f'{self._url} answered {status}: {start!r}')
        if status in (401, 403):
            return SourceUnavailable(f'{self._url} answered {status}: not allowed; check basic_auth or authorization: {start!r}')
        return ResponseError(f'{self._url} answered {status} with something that is not a query result ({error}); it begins with {start!r}')

    def _send(self, method, what, form, timeout):
        url = f'{self._url}/api/v1/{what}'
        self._check_tls()
        until = clock.monotonic() + timeout
        try:
            with self._http.request(
                method, url, data=form or None, stream=True, timeout=(min(5.0, timeout), timeout), headers=self._headers(), allow_redirects=False,
                auth=self._basic_auth(),
            ) as response:  # fmt: skip
                if response.is_redirect:
                    raise ResponseError(
                        f'{url} redirects to {response.headers["Location"]}: put the address that answers into prometheus.url'
                    )
                return response.status_code, self._body(response, until)
        except (requests.ReadTimeout, urllib3.ReadTimeoutError) as error:
            raise self._too_slow() from error
        except urllib3.DecodeError as error:
            raise ResponseError(f'{self._url} gave an answer that cannot be decompressed: {_reason(error)}') from error
        except urllib3.HTTPError as error:
            raise SourceUnavailable(f'{self._url} broke off in the middle of an answer: {_reason(error)}') from error
        except OSError as error:  # every exception of requests is one
            raise SourceUnavailable(f'{self._url} cannot be reached: {_reason(error)}') from error
        except ValueError as error:  # requests follows a Location in thought, and lets through what parsing it raises
            raise ResponseError(f'{self._url} gave an answer with headers that make no sense: {error}') from error

    def _body(self, response, until):
        """The whole body. Read as it comes: to wait for a full buffer would let a server that drips hold us for ever."""
        parts, total = [], 0
        while part := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            parts.append(part)
            total += len(part)
            if total > self._source.max_response:
                raise ResponseError(
                    f'{self._url} answered with more than max_response ({self._source.max_response} bytes): aggregate the expression'
                )
            if clock.monotonic() > until:
                raise self._too_slow()
        return b''.join(parts)

    def _too_slow(self):
        return SourceUnavailable(f'{self._url} was slower than the timeout of {self._source.timeout:g} s')


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


def _typed(decode, raw):
    try:
        return decode(raw)
    except _NO_JSON as error:
        raise ResponseError(f'the result of a query has an unknown shape: {error}') from error


def _number(text):
    try:
        return float(text)
    except ValueError as error:
        raise ResponseError(f'a sample is not a number: {text[:40]!r}') from error
