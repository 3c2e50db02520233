"""What is wrong with a configuration whose types are right. Pure.

Who calls it: config, with every part of a file that has become settings; out come its problems, one line each, without the name of the file.
A URL may hold a password where it is not yet known to be one, so that is looked for first, and then nothing of it is printed.
"""

import math
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from promlstm import split
from promlstm.settings import DEFAULT_SOURCE, TLS, Alertmanager, Config, Detector, Edges, Forecast, OAuth2, RootCause, Source

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_HEADER_VALUE = re.compile(r'[\x21-\x7e\xa0-\xff](?:[\t\x20-\x7e\xa0-\xff]*[\x21-\x7e\xa0-\xff])?\Z')
_PLACEHOLDER = re.compile(r'\{\{.*?\}\}|\$\{.*?\}|\$\(.*?\)|\$[A-Za-z_]\w*|<.*?>|[{}<>]')  # of Helm, shells, Kubernetes, manuals
# What a URL ends in that was copied out of a browser, a manual or another tool: the API itself, or a page for people.
_TOO_LONG = re.compile(r'(/(loki/)?api/v1(/query|/query_range)?|(/classic)?/graph|(/select)?/vmui|/select/logsql(/\w+)?|/-/(ready|healthy))/*\Z')
_SOURCE_NAME = re.compile(r'[A-Za-z0-9_-]+\Z')
_QUESTION = ('query', 'time', 'start', 'end', 'step', 'timeout')  # parameters that are ours
# What the exchange itself needs; as Prometheus reserves them in its own http_headers.
_RESERVED_HEADERS = {
    'accept-encoding', 'connection', 'content-encoding', 'content-length', 'content-type', 'expect', 'host', 'keep-alive', 'proxy-authenticate',
    'proxy-authorization', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'www-authenticate',
}  # fmt: skip
_SCOPE = re.compile(r'[\x21\x23-\x5b\x5d-\x7e]+\Z')  # RFC 6749, section 3.3


def of_names(config: Config) -> Iterator[str]:
    """Sources and detectors as a whole: that there are some, and what they are called."""
    if not config.named_sources:
        yield 'prometheus: missing'
    if config.prometheus and DEFAULT_SOURCE in config.sources:
        yield f'sources.{DEFAULT_SOURCE}: appears twice: the section {DEFAULT_SOURCE} is its short form'
    for name in config.sources:
        if not _SOURCE_NAME.match(name):
            yield f'sources: {name!r} is not a valid name of a source: letters, digits, _ and -'
    if not config.detectors:
        yield 'detectors: none; give at least one with name and expr'
    seen = set[str]()
    for number, name in enumerate(detector.name for detector in config.detectors):
        if not name or name in seen:
            yield f'detectors[{number}] ({name}): name: {"appears twice" if name else "empty"}'
        seen.add(name)


def of_part(part: object, where: str, config: Config | None) -> Iterator[str]:
    """Problems of one part.

    where   its place, which each of them begins with
    config  the names of the sources that it may ask; None = they are not known
    """
    match part:
        case Source():
            if where == DEFAULT_SOURCE and part.kind != 'prometheus':
                yield f'{where}.kind: {part.kind}: this section is for Prometheus; give the source a name under sources'
            yield from _source(part, where)
        case Alertmanager():
            yield from _source(part.source, where)
            if part.interval <= 0:
                yield f'{where}.interval: expected more than 0'
        case OAuth2():
            yield from _oauth2(part, where)
        case RootCause():
            yield from _root_cause(part, where)
            if config and config.named_sources:
                yield from _sources_of_edges(part, where, config)
        case Edges():
            yield from _edges(part, where)
        case Detector():
            if config and config.named_sources and config.source_name(part) not in config.named_sources:
                problem = 'missing' if part.source is None else f'{part.source!r} is not a source'
                yield f'{where}: source: {problem}; sources: {", ".join(config.named_sources)}'
            yield from _detector(part, where)


def _root_cause(cause: RootCause, where: str) -> Iterator[str]:
    for key in ('within', 'labels'):
        names: tuple[str, ...] = getattr(cause, key)
        for name in dict.fromkeys(names):
            yield from _label(name, f'{where}.{key}')
            if names.count(name) > 1:
                yield f'{where}.{key}: {name}: appears twice'
    for key in ('window', 'interval'):
        if getattr(cause, key) <= 0:
            yield f'{where}.{key}: expected more than 0'
    if cause.graph_sha256 and not cause.graph_file:
        yield f'{where}.graph_sha256: without graph_file'
    for number, edges in enumerate(cause.edges):
        yield from _edges(edges, f'{where}.edges[{number}]')
    linking = {*cause.labels, *(name for edges in cause.edges for name in ((edges.label,) if edges.label else (edges.from_, edges.to)))}
    for name in dict.fromkeys(cause.within):
        if name in linking:
            yield f'{where}.within: {name}: it links entities, too (labels, or from, to or label of edges), and nothing is compared across it'


def _sources_of_edges(cause: RootCause, where: str, config: Config) -> Iterator[str]:
    known = f'sources: {", ".join(config.named_sources)}'
    for place, name in [(where, cause.source), *((f'{where}.edges[{number}]', edges.source) for number, edges in enumerate(cause.edges))]:
        if name is not None and name not in config.named_sources:
            yield f'{place}.source: {name!r} is not a source; {known}'
    for number, edges in enumerate(cause.edges):
        if edges.source is None and cause.source is None and config.source_of_edges(edges) not in config.named_sources:
            yield f'{where}.edges[{number}].source: missing; {known}'


def _edges(edges: Edges, where: str) -> Iterator[str]:
    if (edges.expr is None) == (edges.preset is None):
        yield f'{where}: expected either expr with from and to, or preset'
        return
    for key, name in (('from', edges.from_), ('to', edges.to), ('label', edges.label)):
        if name is not None:
            yield from _label(name, f'{where}.{key}')
        if edges.preset and name is not None and (key != 'label' or edges.preset == 'kubernetes'):
            yield f'{where}.{key}: the preset {edges.preset} has its own; leave it out'
        if not edges.preset and name is None and key != 'label':
            yield f'{where}.{key}: missing'
    if edges.expr is not None and not edges.expr.strip():
        yield f'{where}.expr: empty'
    if edges.from_ and edges.from_ == edges.to:
        yield f'{where}.to: {edges.to}: the same label as from, so each edge would connect a name with itself'


def _label(name: str, where: str) -> Iterator[str]:
    if name in ('', '__name__'):
        yield f'{where}: {name!r} is not a label of an entity'


def _source(source: Source, where: str) -> Iterator[str]:
    if problem := _url(source.url, 'use basic_auth with password_file'):
        yield f'{where}.url: {problem}'
    elif ending := _TOO_LONG.search(source.url):
        yield f'{where}.url: it ends in {ending[1]}, and promlstm adds the path of the API itself: write {source.url[: ending.start()]}'
    yield from _proxy(source.proxy_url, where)
    for name in ('timeout', 'max_response'):
        value = getattr(source, name)
        if value is not None and value <= 0:
            yield f'{where}.{name}: expected more than 0'
    for name, value in source.headers.items():
        if not _HEADER_NAME.match(name) or not _HEADER_VALUE.match(value):
            yield f'{where}.headers: {name!r} is not a header name, or its value not one line of Latin-1 text'
        elif name.lower() == 'authorization':
            yield f'{where}.headers: {name}: no secrets here; use authorization with credentials_file'
        elif name.lower() in _RESERVED_HEADERS:
            yield f'{where}.headers: {name}: promlstm sets it itself; leave it out'
    for name in source.params:
        if name.strip() in _QUESTION:
            yield f'{where}.params: {name}: promlstm sets it for every query; here it would replace the query of a detector'
    if source.authorization and not _HEADER_NAME.match(source.authorization.type):
        yield f'{where}.authorization.type: expected one word such as Bearer, got {source.authorization.type!r}'
    given = [name for name in ('basic_auth', 'authorization', 'oauth2') if getattr(source, name)]
    if len(given) > 1:
        yield f'{where}: {" and ".join(given)}: only one of them'
    yield from _tls(source.tls_config, where)
    if source.oauth2:
        yield from _oauth2(source.oauth2, f'{where}.oauth2')


def _tls(tls: TLS | None, where: str) -> Iterator[str]:
    if tls and tls.key_file and not tls.cert_file:
        yield f'{where}.tls_config: key_file without cert_file'


def _oauth2(oauth2: OAuth2, where: str) -> Iterator[str]:
    if problem := _url(oauth2.token_url, 'use client_id and client_secret_file', query=True):
        yield f'{where}.token_url: {problem}'
    yield from _proxy(oauth2.proxy_url, where)
    yield from _tls(oauth2.tls_config, where)
    for name in ('client_id', 'client_secret', 'scope'):
        if name in oauth2.endpoint_params:
            key = {'client_secret': 'client_secret_file', 'scope': 'scopes'}.get(name, name)
            yield f'{where}.endpoint_params: {name}: not here; use {key}'
    if not oauth2.client_id:
        yield f'{where}.client_id: empty'
    for scope in oauth2.scopes:
        if not _SCOPE.match(scope):
            yield f'{where}.scopes: expected words of printable ASCII, got {scope!r}'


def _proxy(url: str | None, where: str) -> Iterator[str]:
    if url is not None and (problem := _url(url, 'use a proxy that needs none')):
        yield f'{where}.proxy_url: {problem}'


def _url(text: str, instead: str, *, query: bool = False) -> str:
    """What is wrong with a URL; empty = nothing."""
    if '@' in text:
        return f'no user name and password here, they would end up in logs; {instead}'
    if placeholder := _PLACEHOLDER.search(text):
        return (
            f'{placeholder[0]!r} was not replaced by its value: templates and variables are not read here; write the address itself, '
            f'such as http://prometheus:9090'
        )
    try:
        url = urlsplit(text)
        good = url.scheme in ('http', 'https') and url.hostname and url.port != 0
    except ValueError:
        good = False
    if not good:
        return f'expected http://HOST:PORT or https://…, got {text!r}'
    if (url.query and not query) or url.fragment:
        return 'expected nothing after the path; set parameters of every query under params'
    return ''


def _detector(detector: Detector, where: str) -> Iterator[str]:
    if bool(detector.expr) == bool(detector.features):
        yield f'{where}: expected either expr, or features with by'
    else:
        if bool(detector.features) != bool(detector.by):
            yield f'{where}: by: features are joined into entities by labels: give both or neither'
        for name, expr in detector.queries.items():
            if not expr.strip():
                yield f'{where}: {f"features.{name}" if name else "expr"}: empty'
        if problem := split.problem(detector.features or {'': detector.expr or ''}, detector.split_by, detector.split_until):
            yield f'{where}: {problem}'
    if '' in detector.features:
        yield f'{where}: features: a name is empty'
    if '__name__' in detector.by:
        yield f'{where}: by: an entity has no __name__; keep it in a label: label_replace(EXPR, "metric", "$1", "__name__", "(.+)")'
    if '' in detector.by:  # else any text: Prometheus 3 and OpenTelemetry have dots and all of UTF-8 in names
        yield f"{where}: by: '' is not a label name"
    if detector.step <= 0:
        yield f'{where}: step: expected more than 0'
    for name in ('min_deviation', 'min_relative_deviation'):
        if getattr(detector, name) == math.inf:
            yield f'{where}: {name}: no deviation is that large, so nothing could ever alarm; expected a number'
    if detector.range and not detector.range[0] < detector.range[1]:
        yield f'{where}: range: expected [low, high] with low below high, got {list(detector.range)}'
    if detector.forecast:
        yield from _forecast(detector, detector.forecast, f'{where}: forecast')


def _forecast(detector: Detector, forecast: Forecast, where: str) -> Iterator[str]:
    if not forecast.horizons:
        yield f'{where}.horizons: none; expected durations such as [1h, 1d, 7d]'
    for horizon in dict.fromkeys(forecast.horizons):
        if horizon < detector.step:
            yield f'{where}.horizons: expected no less than a step, {detector.step:g} s, got {horizon:g} s'
        if forecast.horizons.count(horizon) > 1:
            yield f'{where}.horizons: {horizon:g} s appears twice'
    if forecast.limit is not None and forecast.limit_expr is not None:
        yield f'{where}: limit and limit_expr: only one of them'
    if forecast.limit_expr is not None and not forecast.limit_expr.strip():
        yield f'{where}.limit_expr: empty'
    if forecast.limit is not None and not math.isfinite(forecast.limit):
        yield f'{where}.limit: expected a number, got {forecast.limit}'
    if forecast.limited and len(detector.queries) > 1:
        yield f'{where}.limit: a detector with several features has no single limit; use a separate detector for the feature that has one'
