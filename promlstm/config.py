"""The configuration: YAML, strict, typed, with the defaults as values. Reading it opens no connection and no model.

Who calls it: `run`, `check-config`, `backtest`, convert (one truth for detectors). What flows through: a file's text; out comes one
frozen Config, whose parts settings.py describes.

Every message names file, detector and key: `promlstm.yml: detectors[1] (node_cpu): step: expected a duration such as 30s, got '30 sec'`.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
import yaml

from promlstm import split, strict_yaml
from promlstm.durations import seconds as seconds
from promlstm.errors import ConfigError
from promlstm.settings import DEFAULT_SOURCE, Strict, parsed
from promlstm.settings import TLS as TLS
from promlstm.settings import WEEK_SECONDS as WEEK_SECONDS
from promlstm.settings import Access as Access
from promlstm.settings import Alertmanager as Alertmanager
from promlstm.settings import Authorization as Authorization
from promlstm.settings import BasicAuth as BasicAuth
from promlstm.settings import Budget as Budget
from promlstm.settings import Config as Config
from promlstm.settings import Detector as Detector
from promlstm.settings import Duration as Duration
from promlstm.settings import Edges as Edges
from promlstm.settings import Forecast as Forecast
from promlstm.settings import OAuth2 as OAuth2
from promlstm.settings import RootCause as RootCause
from promlstm.settings import Size as Size
from promlstm.settings import Source as Source
from promlstm.settings import Zone as Zone

LARGEST_CHARACTERS = 10_000_000  # tens of thousands of detectors; what is larger is another file, or a device without an end
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


def load(path: str | Path) -> Config:
    """The Config of a file; ConfigError names file, place and key."""
    try:
        with Path(path).open(encoding='utf-8') as file:
            text = file.read(LARGEST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path}: cannot be read: {getattr(error, "strerror", None) or error}') from error
    if len(text) > LARGEST_CHARACTERS:
        raise ConfigError(f'{path}: longer than {LARGEST_CHARACTERS} characters: not a configuration')
    return parse(text, source=str(path), root=str(Path(path).parent))


def parse(text: str, *, source: str = 'config', root: str = '.') -> Config:
    """The Config of a YAML text.

    >>> parse('prometheus: {url: http://localhost:9090}\\ndetectors: [{name: up, expr: up, stepp: 30s}]')
    Traceback (most recent call last):
    promlstm.errors.ConfigError: config: detectors[0] (up): stepp: unknown key; known: absent, by, delay, direction, export, expr, \
false_alarms, features, forecast, forget, history, hold, max_entities, max_exported, min_deviation, \
min_relative_deviation, missing, model, name, noisy, range, sha256, source, split_by, split_until, step, timezone
    """
    try:
        tree = strict_yaml.load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f'{source}: not valid YAML: {_problem(error)}') from error
    if not isinstance(tree, dict):
        got = 'nothing' if tree is None else f'a {type(tree).__name__}'
        raise ConfigError(f'{source}: expected the keys prometheus and detectors, got {got}')
    if '-root' in tree:
        raise ConfigError(f'{source}: -root: unknown key; known: {_known(Config)}')
    try:
        _check_sources(tree.get('sources'))
        config: Config = msgspec.convert({**tree, '-root': root}, Config, dec_hook=parsed)
    except msgspec.ValidationError as error:
        raise ConfigError(f'{source}: {_explain(str(error), tree)}') from error
    _check(config, source)
    return config


def changes(old: Config, new: Config) -> list[str]:
    """What differs between two Configs of one file, list of words; the order of detectors is none.

    >>> one, two = (parse(f'prometheus: {{url: http://x}}\\ndetectors: [{{name: up, expr: {expr}}}]') for expr in ('up', 'down'))
    >>> changes(one, one), changes(one, two)
    ([], ['detector up'])
    """
    sources = _differing(old.named_sources, new.named_sources)
    names = _differing(*({detector.name: detector for detector in config.detectors} for config in (old, new)))
    others = [name for name in ('alertmanager', 'root_cause') if getattr(old, name) != getattr(new, name)]
    return [name if name == DEFAULT_SOURCE else f'source {name}' for name in sources] + others + [f'detector {name}' for name in names]


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _check_sources(section: object) -> None:
    """ValidationError where one of the sources has a wrong key or type, with its name: msgspec says none of the keys of a mapping."""
    for name, source in section.items() if isinstance(section, dict) else ():
        try:
            msgspec.convert(source, Source, dec_hook=parsed)
        except msgspec.ValidationError as error:
            what, at, path = str(error).partition(' - at `')
            place = path.removesuffix('`').replace('$', f'$.sources.{name}', 1) if at else f'$.sources.{name}'
            raise msgspec.ValidationError(f'{what} - at `{place}`') from error


def _problem(error: Exception) -> str:
    """What is wrong with a YAML text and where, without the text itself, which may hold what is nobody's business."""
    mark = getattr(error, 'problem_mark', None)
    where = f'line {mark.line + 1}, column {mark.column + 1}: ' if mark else ''
    return where + ' '.join(str(getattr(error, 'problem', None) or error).split())


_PLACES: dict[str, type[Strict]] = {
    '': Config,
    'prometheus': Source,
    'alertmanager': Alertmanager,
    'alertmanager.basic_auth': BasicAuth,
    'alertmanager.authorization': Authorization,
    'alertmanager.oauth2': OAuth2,
    'alertmanager.oauth2.tls_config': TLS,
    'alertmanager.tls_config': TLS,
    'detectors[…]': Detector,
    'detectors[…].forecast': Forecast,
    'prometheus.basic_auth': BasicAuth,
    'prometheus.authorization': Authorization,
    'prometheus.oauth2': OAuth2,
    'prometheus.oauth2.tls_config': TLS,
    'prometheus.tls_config': TLS,
    'root_cause': RootCause,
    'root_cause.edges[…]': Edges,
}
_WORDS = {
    'array': 'a list', 'object': 'a mapping', 'str': 'text', 'int': 'a whole number', 'float': 'a number', 'bool': 'true or false',
    'null': 'nothing',
}  # fmt: skip


def _explain(message: str, tree: dict[str, Any]) -> str:
    """msgspec's message in our words: place, key, what was got, what was expected."""
    what, _, path = message.partition(' - at `')
    is_key, path = path.startswith('key` in `'), path.removeprefix('key` in `').removeprefix('$').rstrip('`').lstrip('.')
    unknown = re.match(r'Object contains unknown field `(.*)`', what)
    missing = re.match(r'Object missing required field `(.*)`', what)
    choice = re.match(r'Invalid enum value (.*)', what)
    kind = _PLACES.get(re.sub(r'\[\d+\]', '[…]', re.sub(r'^sources\.[^.]*', 'prometheus', path.rpartition('.')[0] if choice else path)))
    if is_key:
        return f'{_place(path, tree)}a key is not text: put it in quotes'
    if unknown and kind:
        return f'{_place(path, tree)}{unknown[1]}: unknown key; known: {_known(kind)}'
    if missing:
        return f'{_place(path, tree)}{missing[1]}: missing'
    if choice and kind:
        hint = get_type_hints(kind)[path.rpartition('.')[2]]
        choices = get_args(next((each for each in get_args(hint) if get_origin(each) is Literal), hint))  # of `Literal[…] | None`, too
        return f'{_place(path, tree)}expected one of {", ".join(choices)}, got {choice[1]}'
    return f'{_place(path, tree)}{re.sub("`([a-z |]+)`", _worded, what[0].lower() + what[1:])}'


def _known(kind: type[Strict]) -> str:
    """The keys of a section, without those that are not in a file."""
    return ', '.join(sorted(name for name in kind.__struct_encode_fields__ if not name.startswith('-')))


def _worded(match: re.Match[str]) -> str:
    names = match[1].split(' | ')
    return ' or '.join(_WORDS.get(name, name) for name in names if name != 'null' or len(names) == 1)


def _place(path: str, tree: dict[str, Any]) -> str:
    match = re.match(r'detectors\[(\d+)\]\.?(.*)', path)
    if not match:
        return f'{path}: ' if path else ''
    detector = tree['detectors'][int(match[1])]
    name = detector.get('name') if isinstance(detector, dict) else None
    return f'detectors[{match[1]}]' + (f' ({name})' if name else '') + (f': {match[2]}: ' if match[2] else ': ')


def _check(config: Config, source: str) -> None:
    """What types cannot say."""
    if not config.named_sources:
        raise ConfigError(f'{source}: prometheus: missing')
    if config.prometheus and config.prometheus.kind != 'prometheus':
        raise ConfigError(f'{source}: prometheus.kind: {config.prometheus.kind}: this section is for Prometheus; give the source a name under sources')
    if config.prometheus and DEFAULT_SOURCE in config.sources:
        raise ConfigError(f'{source}: sources.{DEFAULT_SOURCE}: stands twice: the section {DEFAULT_SOURCE} is its short form')
    for name, each in config.named_sources.items():
        if not _SOURCE_NAME.match(name):
            raise ConfigError(f'{source}: sources: {name!r} is no name of a source: letters, digits, _ and -')
        _check_source(each, f'{source}: {source_place(config, name)}')
    if config.alertmanager:
        _check_source(config.alertmanager.source, f'{source}: alertmanager')
        if config.alertmanager.interval <= 0:
            raise ConfigError(f'{source}: alertmanager.interval: expected more than 0')
    _check_root_cause(config, f'{source}: root_cause')
    if not config.detectors:
        raise ConfigError(f'{source}: detectors: none; give at least one with name and expr')
    names = [detector.name for detector in config.detectors]
    for number, detector in enumerate(config.detectors):
        where = f'{source}: detectors[{number}] ({detector.name})'
        if not detector.name or names.index(detector.name) != number:
            raise ConfigError(f'{where}: name: {"empty" if not detector.name else "stands twice"}')
        if config.source_name(detector) not in config.named_sources:
            problem = 'missing' if detector.source is None else f'{detector.source!r} is no source'
            raise ConfigError(f'{where}: source: {problem}; there are {", ".join(config.named_sources)}')
        _check_detector(detector, where)


def source_place(config: Config, name: str) -> str:
    """Where a source stands in the file.

    >>> config = parse('prometheus: {url: http://a}\\nsources: {logs: {url: http://b}}\\ndetectors: [{name: up, expr: up}]')
    >>> [source_place(config, name) for name in config.named_sources]
    ['prometheus', 'sources.logs']
    """
    return f'sources.{name}' if name in config.sources else DEFAULT_SOURCE


def _check_root_cause(config: Config, where: str) -> None:
    cause = config.root_cause
    for key in ('within', 'labels'):
        for name in (names := getattr(cause, key)):
            _check_label(name, f'{where}.{key}')
            if names.count(name) > 1:
                raise ConfigError(f'{where}.{key}: {name}: stands twice')
    for key in ('window', 'interval'):
        if getattr(cause, key) <= 0:
            raise ConfigError(f'{where}.{key}: expected more than 0')
    if cause.graph_sha256 and not cause.graph_file:
        raise ConfigError(f'{where}.graph_sha256: without graph_file')
    for number, edges in enumerate(cause.edges):
        _check_edges(edges, f'{where}.edges[{number}]')
    linking = {*cause.labels, *(name for edges in cause.edges for name in ((edges.label,) if edges.label else (edges.from_, edges.to)))}
    for name in cause.within:
        if name in linking:
            raise ConfigError(f'{where}.within: {name}: it links entities, too (labels, or from, to or label of edges), and nothing is compared across it')
    for place, name in [(where, cause.source), *((f'{where}.edges[{number}]', edges.source) for number, edges in enumerate(cause.edges))]:
        if name is not None and name not in config.named_sources:
            raise ConfigError(f'{place}.source: {name!r} is no source; there are {", ".join(config.named_sources)}')
    for number, edges in enumerate(cause.edges):
        if config.source_of_edges(edges) not in config.named_sources:
            raise ConfigError(f'{where}.edges[{number}].source: missing; there are {", ".join(config.named_sources)}')


def _check_edges(edges: Edges, where: str) -> None:
    if (edges.expr is None) == (edges.preset is None):
        raise ConfigError(f'{where}: expected either expr with from and to, or preset')
    for key, name in (('from', edges.from_), ('to', edges.to), ('label', edges.label)):
        if name is not None:
            _check_label(name, f'{where}.{key}')
        if edges.preset and name is not None and (key != 'label' or edges.preset == 'kubernetes'):
            raise ConfigError(f'{where}.{key}: the preset {edges.preset} has its own; leave it out')
        if not edges.preset and name is None and key != 'label':
            raise ConfigError(f'{where}.{key}: missing')
    if edges.expr is not None and not edges.expr.strip():
        raise ConfigError(f'{where}.expr: empty')
    if edges.from_ and edges.from_ == edges.to:
        raise ConfigError(f'{where}.to: {edges.to}: the same label as from, so each edge would lead to where it begins')


def _check_label(name: str, where: str) -> None:
    if name in ('', '__name__'):
        raise ConfigError(f'{where}: {name!r} is no label of an entity')


def _check_source(source: Source, where: str) -> None:
    _check_url(source.url, f'{where}.url', 'use basic_auth with password_file')
    if ending := _TOO_LONG.search(source.url):
        raise ConfigError(
            f'{where}.url: it ends in {ending[1]}, and promlstm adds the path of the API itself: write {source.url[: ending.start()]}'
        )
    if source.proxy_url is not None:
        _check_url(source.proxy_url, f'{where}.proxy_url', 'use a proxy that needs none')
    for name in ('timeout', 'max_response'):
        value = getattr(source, name)
        if value is not None and value <= 0:
            raise ConfigError(f'{where}.{name}: expected more than 0')
    for name, value in source.headers.items():
        if not _HEADER_NAME.match(name) or not _HEADER_VALUE.match(value):
            raise ConfigError(f'{where}.headers: {name!r} is not a header name, or its value not one line of Latin-1 text')
        if name.lower() == 'authorization':
            raise ConfigError(f'{where}.headers: {name}: no secrets here; use authorization with credentials_file')
        if name.lower() in _RESERVED_HEADERS:
            raise ConfigError(f'{where}.headers: {name}: it belongs to the exchange itself and cannot be set')
    for name in source.params:
        if name.strip() in _QUESTION:
            raise ConfigError(f'{where}.params: {name}: promlstm sets it for every query; here it would replace what a detector asks')
    if source.authorization and not _HEADER_NAME.match(source.authorization.type):
        raise ConfigError(f'{where}.authorization.type: expected one word such as Bearer, got {source.authorization.type!r}')
    given = [name for name in ('basic_auth', 'authorization', 'oauth2') if getattr(source, name)]
    if len(given) > 1:
        raise ConfigError(f'{where}: {" and ".join(given)}: only one of them')
    _check_tls(source.tls_config, where)
    if source.oauth2:
        _check_oauth2(source.oauth2, f'{where}.oauth2')


def _check_tls(tls: TLS | None, where: str) -> None:
    if tls and tls.key_file and not tls.cert_file:
        raise ConfigError(f'{where}.tls_config: key_file without cert_file')


def _check_oauth2(oauth2: OAuth2, where: str) -> None:
    _check_url(oauth2.token_url, f'{where}.token_url', 'use client_id and client_secret_file', query=True)
    if oauth2.proxy_url is not None:
        _check_url(oauth2.proxy_url, f'{where}.proxy_url', 'use a proxy that needs none')
    _check_tls(oauth2.tls_config, where)
    for name in ('client_id', 'client_secret', 'scope'):
        if name in oauth2.endpoint_params:
            key = {'client_secret': 'client_secret_file', 'scope': 'scopes'}.get(name, name)
            raise ConfigError(f'{where}.endpoint_params: {name}: not here; use {key}')
    if not oauth2.client_id:
        raise ConfigError(f'{where}.client_id: empty')
    for scope in oauth2.scopes:
        if not _SCOPE.match(scope):
            raise ConfigError(f'{where}.scopes: expected words of printable ASCII, got {scope!r}')


def _check_url(text: str, where: str, instead: str, *, query: bool = False) -> None:
    """A URL may hold a password where it is not yet known to be one, so it is looked for first and never printed."""
    if '@' in text:
        raise ConfigError(f'{where}: no user name and password here, they would end up in logs; {instead}')
    if placeholder := _PLACEHOLDER.search(text):
        raise ConfigError(
            f'{where}: {placeholder[0]!r} was not replaced by its value: templates and variables are not read here; write the address itself, '
            f'such as http://prometheus:9090'
        )
    try:
        url = urlsplit(text)
        good = url.scheme in ('http', 'https') and url.hostname and url.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f'{where}: expected http://HOST:PORT or https://…, got {text!r}')
    if (url.query and not query) or url.fragment:
        raise ConfigError(f'{where}: nothing is expected after the path: what belongs to every query goes into params')


def _check_detector(detector: Detector, where: str) -> None:
    if bool(detector.expr) == bool(detector.features):
        raise ConfigError(f'{where}: expected either expr, or features with by')
    if bool(detector.features) != bool(detector.by):
        raise ConfigError(f'{where}: by: features are joined into entities by labels: give both or neither')
    for name, expr in detector.queries.items():
        if not expr.strip():
            raise ConfigError(f'{where}: {f"features.{name}" if name else "expr"}: empty')
    if '' in detector.features:
        raise ConfigError(f'{where}: features: a name is empty')
    if '__name__' in detector.by:
        raise ConfigError(
            f'{where}: by: an entity has no __name__; keep it in a label: label_replace(EXPR, "metric", "$1", "__name__", "(.+)")'
        )
    if '' in detector.by:  # else any text: Prometheus 3 and OpenTelemetry have dots and all of UTF-8 in names
        raise ConfigError(f"{where}: by: '' is not a label name")
    if problem := split.problem(detector.features or {'': detector.expr or ''}, detector.split_by, detector.split_until):
        raise ConfigError(f'{where}: {problem}')
    if detector.step <= 0:
        raise ConfigError(f'{where}: step: expected more than 0')
    for name in ('min_deviation', 'min_relative_deviation'):
        if getattr(detector, name) == math.inf:
            raise ConfigError(f'{where}: {name}: no deviation is that large, so nothing could ever alarm; expected a number')
    if detector.range and not detector.range[0] < detector.range[1]:
        raise ConfigError(f'{where}: range: expected [low, high] with low below high, got {list(detector.range)}')
    if detector.forecast:
        _check_forecast(detector, detector.forecast, f'{where}: forecast')


def _check_forecast(detector: Detector, forecast: Forecast, where: str) -> None:
    if not forecast.horizons:
        raise ConfigError(f'{where}.horizons: none; expected durations such as [1h, 1d, 7d]')
    for horizon in forecast.horizons:
        if horizon < detector.step:
            raise ConfigError(f'{where}.horizons: expected no less than a step, {detector.step:g} s, got {horizon:g} s')
        if forecast.horizons.count(horizon) > 1:
            raise ConfigError(f'{where}.horizons: {horizon:g} s stands twice')
    if forecast.limit is not None and forecast.limit_expr is not None:
        raise ConfigError(f'{where}: limit and limit_expr: only one of them')
    if forecast.limit_expr is not None and not forecast.limit_expr.strip():
        raise ConfigError(f'{where}.limit_expr: empty')
    if forecast.limit is not None and not math.isfinite(forecast.limit):
        raise ConfigError(f'{where}.limit: expected a number, got {forecast.limit}')
    if forecast.limited and len(detector.queries) > 1:
        raise ConfigError(f'{where}.limit: a detector of several features has no single limit; make a detector of the feature that has one')
