"""The pages: /metrics, /api/v1/incidents, /-/healthy, /-/ready, /-/reload and the landing page. A scrape only hands out text that was rendered before.

Who calls it: server (through door). What flows through: a Request; out comes an Answer. The registry, the metric families and the content
negotiation are those of prometheus_client.
"""

import asyncio
import html
import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client import exposition as text_format

from promlstm import __version__
from promlstm.errors import ConfigError
from promlstm.serve import api
from promlstm.serve.messages import Answer, Request, accepts_gzip, text
from promlstm.serve.page import Page, compressed
from promlstm.serve.telemetry import Telemetry

HEALTHY, READY, RELOAD = '/-/healthy', '/-/ready', '/-/reload'
OWN = ('/metrics', api.INCIDENTS, HEALTHY, READY, RELOAD)
METHODS = ('GET', 'HEAD')
WRITING = ('POST', 'PUT')
KNOWN_METHODS = ('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'CONNECT')  # RFC 9110 and 5789
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# What answers the paths that are not the site's own: called with a Request whose path has no prefix; None = there is no such page.
Pages = Callable[[Request], Awaitable[Answer | None]]
_Encoder = Callable[[CollectorRegistry], bytes]


class Site:
    """The pages of one exporter.

    statuses  gives {detector: status}, where str(status) is for people
    ready     whether /-/ready answers 200
    prefix    that all paths begin with, as `prefix_of` gives it
    reload    reads the configuration again: the result is empty, or says why the current one is kept; None = nobody may ask for it
    host      name under which browsers reach it, beside addresses and localhost
    sources   gives {detector: name of its source}
    incidents gives what /api/v1/incidents has; None = there is no such page
    pages     answers all other paths, the first page among them; None = there is a landing page only
    """

    def __init__(
        self,
        *,
        page: Page,
        telemetry: Telemetry,
        statuses: Callable[[], Mapping[str, object]],
        ready: Callable[[], bool],
        prefix: str = '',
        reload: 'Callable[[], Future[str]] | None' = None,
        host: str = '',
        sources: Callable[[], Mapping[str, str]] = dict,
        incidents: api.Incidents | None = None,
        pages: Pages | None = None,
    ) -> None:
        self._page, self._statuses, self._ready, self._prefix, self._sources = page, statuses, ready, prefix, sources
        self._own, self._reload, self._host = _Own(telemetry), reload, host
        self._pages, self._incidents, self._thread = pages, incidents, ThreadPoolExecutor(1, 'promlstm-api')

    def is_probe(self, path: str) -> bool:
        """Whether a path says nothing but whether promlstm is healthy and ready to whoever is not trusted."""
        return path in (self._prefix + HEALTHY, self._prefix + READY)

    def headers(self) -> Mapping[str, str]:
        """Headers of every answer, in the place of those that a page has: none."""
        return {}

    async def answer(self, request: Request) -> Answer:
        """The answer to a request."""
        if request.method not in KNOWN_METHODS:
            return text(501, 'Unknown method.\n')
        if request.path == self._prefix + RELOAD:
            return await self._reloaded(request)
        below = request.path.removeprefix(self._prefix) if request.path.startswith(self._prefix + '/') else ''
        if self._pages and below and below not in OWN and (found := await self._pages(replace(request, path=below))):
            return found
        if request.method not in METHODS:
            return text(405, f'Method not allowed. Allowed: {", ".join(METHODS)}.\n', {'Allow': ', '.join(METHODS)})
        if self._prefix and request.path in ('/', self._prefix):
            # Relative, as a proxy in between may have another name and path. Only the landing page has links.
            start = self._prefix[1:] if request.path == '/' else self._prefix.rpartition('/')[2]
            return text(302, f'See {self._prefix}/.\n', {'Location': f'{start}/'})
        match below:
            case '/metrics':
                return await self._metrics(request)
            case api.INCIDENTS if self._incidents:
                return await asyncio.get_running_loop().run_in_executor(self._thread, api.answer, request, self._incidents)
            case '/-/healthy':
                return text(200, 'promlstm is healthy.\n')
            case '/-/ready':
                return self._readiness(request.trusted)
            case '/':
                return self._landing()
        at = self._prefix
        return text(404, f'Not found. There are {at}/, {at}/metrics, {at}/-/healthy and {at}/-/ready.\n')

    async def _reloaded(self, request: Request) -> Answer:
        if request.method not in WRITING:
            return text(405, f'Method not allowed. Allowed: {", ".join(WRITING)}.\n', {'Allow': ', '.join(WRITING)})
        if self._reload is None:
            return text(403, 'Reload is disabled: promlstm runs without --web.enable-lifecycle.\n')
        if not own_page(request.headers, self._host):
            return text(403, 'Refused: the request comes from a page of another site.\n')
        problem = await asyncio.wrap_future(self._reload())
        return text(500, f'{problem}\n') if problem else text(200, 'The configuration file is in force.\n')

    async def _metrics(self, request: Request) -> Answer:
        encoder, content_type = _encoder(request.header('accept'))
        gzip = accepts_gzip(request.header('accept-encoding'))
        own = await self._own.member(encoder, content_type)
        # In OpenMetrics the exporter's own part ends with `# EOF`, so it comes last.
        return Answer(200, content_type, [*self._page.parts(gzip=True), own], {'Content-Encoding': 'gzip'} if gzip else {}, unpacks=not gzip)

    def _readiness(self, trusted: bool) -> Answer:
        ready = self._ready()
        lines = [f'promlstm is {"" if ready else "not "}ready.\n']
        if trusted:
            lines += [f'{name}: {status}\n' for name, status in self._statuses().items()]
        return text(200 if ready else 503, ''.join(lines))

    def _landing(self) -> Answer:
        statuses = self._statuses()
        sources = self._sources()
        several = len(set(sources.values())) > 1
        cells = [(name, *[sources.get(name, '')] * several, str(status)) for name, status in statuses.items()]
        incidents = f' <a href="{api.INCIDENTS[1:]}">Incidents</a> ·' if self._incidents else ''
        rows = ''.join(f'<tr>{"".join(f"<td>{html.escape(cell)}</td>" for cell in row)}</tr>' for row in cells)
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>promlstm</title>'
            '<style>body{font:16px/1.5 sans-serif;max-width:50em;margin:3em auto;padding:0 1em}td,th{text-align:left;padding:.2em 1.5em .2em 0}</style>'
            f'<h1>promlstm</h1><p>Anomaly gauges for Prometheus, version {__version__}.</p>'
            f'<p><a href="metrics">Metrics</a> ·{incidents} <a href="-/ready">Readiness</a> · <a href="-/healthy">Health</a></p>'
            f'<table><tr><th>Detector</th>{"<th>Source</th>" * several}<th>State</th></tr>{rows}</table></html>\n'
        )
        return Answer(200, 'text/html; charset=utf-8', [page.encode()], {'Content-Security-Policy': _POLICY})


def own_page(headers: Mapping[str, str], name: str) -> bool:
    """Whether a request that changes something may be served: none that a browser makes for another site's page.

    A browser says the Origin; a page that has made its own name point here (DNS rebinding) has a Host that equals it, so a name must be known.

    headers  of the request, names in lower case
    name     the known name

    >>> own_page({'host': 'a:1'}, ''), own_page({'origin': 'https://p.example', 'host': 'p.example'}, 'p.example')
    (True, True)
    >>> own_page({'origin': 'http://evil.example', 'host': 'evil.example'}, ''), own_page({'sec-fetch-site': 'cross-site'}, '')
    (False, False)
    """
    origin = headers.get('origin', '')
    if headers.get('sec-fetch-site') in ('cross-site', 'same-site'):
        return False
    if not origin:
        return True
    try:
        parts = urlsplit(origin)
        address = parts.hostname or ''
        known = bool(address) and (address in ('localhost', name) or bool(ipaddress.ip_address(address)))
    except ValueError:
        return False
    return known and parts.netloc == headers.get('host')


def host_of(external_url: str | None) -> str:
    """The host name of the URL under which promlstm is reached from outside; empty = not known.

    >>> host_of('https://p.example:8443/a'), host_of(None)
    ('p.example', '')
    """
    return urlsplit(external_url or '').hostname or ''


def prefix_of(external_url: str | None, route_prefix: str | None) -> str:
    """What all paths begin with: the route prefix, else the path of the URL under which promlstm is reached from outside; empty = nothing.

    raises  ConfigError

    >>> prefix_of('https://example.org/tools/promlstm/', None), prefix_of('https://example.org/promlstm', '/'), prefix_of(None, 'a/')
    ('/tools/promlstm', '', '/a')
    """
    if external_url is not None:
        try:
            parts = urlsplit(external_url)
        except ValueError:
            parts = urlsplit('')
        if parts.scheme not in ('http', 'https') or not parts.hostname or parts.query or parts.fragment or parts.username is not None:
            raise ConfigError('--web.external-url: expected http://HOST/PATH or https://HOST/PATH, without a user, a query and a fragment')
        route_prefix = parts.path if route_prefix is None else route_prefix
    prefix = (route_prefix or '').strip('/')
    if not re.fullmatch(r'[A-Za-z0-9._~/-]*', prefix) or '//' in prefix or {'.', '..'} & set(prefix.split('/')):
        raise ConfigError(f'--web.route-prefix: expected a path such as /promlstm, got {route_prefix!r}')
    return f'/{prefix}' if prefix else ''


class _Own:
    """The exporter's own metrics as a gzip member.

    They are rendered in a thread beside the event loop, and for all scrapers at once that came before a rendering began: it takes
    milliseconds with hundreds of detectors, and a flood of scrapes must not keep a probe waiting.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry, self._thread = telemetry, ThreadPoolExecutor(1, 'promlstm-own-metrics')
        self._coming: dict[str, asyncio.Future[bytes]] = {}

    async def member(self, encoder: _Encoder, content_type: str) -> bytes:
        """The text in the format of the encoder."""
        if not (coming := self._coming.get(content_type)):
            self._coming[content_type] = coming = asyncio.ensure_future(self._rendered(content_type, encoder))
        return await asyncio.shield(coming)

    async def _rendered(self, content_type: str, encoder: _Encoder) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._render, content_type, encoder)

    def _render(self, content_type: str, encoder: _Encoder) -> bytes:
        self._coming.pop(content_type, None)  # before the first number is read: whoever comes later gets newer ones
        return compressed(encoder(self._telemetry.registry))


def _encoder(accept: str) -> tuple[_Encoder, str]:
    """(encoder, content type) for an Accept header; the classic text format if the library cannot parse it."""
    try:
        return text_format.choose_encoder(accept)
    except (TypeError, ValueError):
        return text_format.choose_encoder('')
