"""The configuration: YAML, strict, typed, with the defaults as values. Reading it opens no connection and no model.

Who calls it: `run`, `check-config`, `backtest`, convert (one truth for detectors). What flows through: a file's text; out comes one
frozen Config. Secrets are never in it: only the names of the files that hold them, read when they are used.

Every message names file, detector and key: `promlstm.yml: detectors[1] (node_cpu): step: expected a duration such as 30s, got '30 sec'`.
"""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
import yaml

from promlstm.errors import ConfigError
from promlstm.labels import LABEL_NAME

WEEK_SECONDS = 7 * 86400.0
_UNITS = {'ms': 0.001, 's': 1.0, 'm': 60.0, 'h': 3600.0, 'd': 86400.0, 'w': WEEK_SECONDS, 'y': 365 * 86400.0}
_DURATION = re.compile(r'(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?\Z')
_SIZE = re.compile(r'(\d+(?:\.\d+)?)(B|KB|MB|GB)\Z')
_BUDGET = re.compile(r'(\d+(?:\.\d+)?)/(minute|hour|day|week|month|year) (each|in all)\Z')
_PERIODS = {'minute': 60.0, 'hour': 3600.0, 'day': 86400.0, 'week': WEEK_SECONDS, 'month': 30 * 86400.0, 'year': 365 * 86400.0}


def seconds(text):
    """A duration as Prometheus writes it, in seconds.

    >>> seconds('1h30m'), seconds('500ms'), seconds('1w')
    (5400.0, 0.5, 604800.0)
    """
    match = _DURATION.match(text) if isinstance(text, str) and text else None
    if text == '0':
        return 0.0
    if not match:
        raise ValueError(f'expected a duration such as 30s, 5m or 1h30m, got {text!r}')
    return float(
        sum(int(count) * unit for count, unit in zip(match.groups(), (_UNITS[u] for u in ['y', 'w', 'd', 'h', 'm', 's', 'ms']), strict=True) if count)
    )


class Duration(float):
    """Seconds, written in the file as Prometheus writes a duration."""


class Size(int):
    """Bytes, written in the file as 64MB."""


class Zone(str):
    """The name of a time zone that this machine knows."""


class Budget(str):
    """False alarms that a detector may raise, as the file has it: `1/week each` (entity) or `5/day in all`.

    >>> Budget('5/day in all').per_entity_week(70)
    0.5
    """

    def __new__(cls, text):
        """Raises ValueError where the text is no budget."""
        match = _BUDGET.match(text) if isinstance(text, str) else None
        if not match or float(match[1]) <= 0:
            raise ValueError(f'expected a budget such as "1/week each" or "5/day in all", got {text!r}')
        self = super().__new__(cls, text)
        self.alarms_per_week = float(match[1]) * WEEK_SECONDS / _PERIODS[match[2]]
        self.shared = match[3] == 'in all'
        return self

    def per_entity_week(self, entities):
        """Alarms per entity-week when that many entities share the budget."""
        return self.alarms_per_week / (max(1, entities) if self.shared else 1)


def _parse(kind, value):
    """msgspec asks here for the types that are written as text."""
    if kind is Duration:
        return Duration(seconds(value))
    if kind is Size:
        match = _SIZE.match(value) if isinstance(value, str) else None
        if not match:
            raise ValueError(f'expected a size such as 64MB, got {value!r}')
        return Size(float(match[1]) * 1000 ** ('B', 'KB', 'MB', 'GB').index(match[2]))
    if kind is Zone:
        try:
            return Zone(ZoneInfo(value).key)
        except Exception as error:  # ZoneInfo raises KeyError, ValueError or OSError, by what the name looks like
            raise ValueError(f'unknown time zone {value!r}; names are as in Europe/Berlin') from error
    if kind is Budget:
        return Budget(value)
    raise NotImplementedError(kind)


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class BasicAuth(_Strict, frozen=True):
    """User name and the file that holds the password."""

    username: str
    password_file: str


class Authorization(_Strict, frozen=True):
    """An Authorization header and the file that holds its credentials."""

    credentials_file: str
    type: str = 'Bearer'


class TLS(_Strict, frozen=True):
    """How to trust the server, and who we are."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure_skip_verify: bool = False


class Source(_Strict, frozen=True):
    """The Prometheus query API to ask."""

    url: str
    timeout: Duration = Duration(30)  # whole answer, from the request to the last byte
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tls_config: TLS | None = None
    headers: dict[str, str] = {}  # such as X-Scope-OrgID
    params: dict[str, str] = {}  # added to every query, such as dedup, partial_response
    proxy_url: str | None = None  # the environment's proxies are not used
    max_response: Size = Size(512_000_000)
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4  # queries in flight


class Detector(_Strict, frozen=True):
    """One detector: what to watch, with which model, and what matters to its owner."""

    name: str
    expr: str | None = None
    features: dict[str, str] = {}
    by: tuple[str, ...] = ()
    step: Duration = Duration(60)
    delay: Duration = Duration(10)  # evaluated at the aligned step minus this: late samples are in by then
    model: str = 'builtin:default'
    sha256: Annotated[str, msgspec.Meta(pattern='^[0-9a-fA-F]{64}$')] | None = None
    timezone: Zone = Zone('UTC')
    false_alarms: Budget = Budget('1/week each')
    direction: Literal['above', 'below', 'both'] = 'both'
    min_deviation: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    min_relative_deviation: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    range: tuple[float, float] | None = None
    hold: Duration = Duration(3600)
    missing: Literal['alert', 'ignore'] = 'alert'
    forget: Duration = Duration(86400)  # an absent entity is forgotten after this, younger ones sooner
    history: Duration = Duration(8 * 86400)  # coarse history for the seasonal memory at a warm start; 0 = none
    max_entities: Annotated[int, msgspec.Meta(ge=1)] = 1_000_000

    @property
    def queries(self):
        """{feature name: expression}; a detector of one expression has one feature without a name."""
        return self.features or {'': self.expr}


class Config(_Strict, frozen=True):
    """The whole file."""

    prometheus: Source
    detectors: tuple[Detector, ...]
    root: str = msgspec.field(default='.', name='-root')  # the file's folder: relative paths start there; not a key


def load(path):
    """The Config of a file; ConfigError names file, place and key."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path}: cannot be read: {getattr(error, "strerror", None) or error}') from error
    return parse(text, source=str(path), root=str(Path(path).parent))


def parse(text, *, source='config', root='.'):
    """The Config of a YAML text.

    >>> parse('prometheus: {url: http://localhost:9090}\\ndetectors: [{name: up, expr: up, stepp: 30s}]')
    Traceback (most recent call last):
    promlstm.errors.ConfigError: config: detectors[0] (up): stepp: unknown key; known: by, delay, direction, expr, false_alarms, \
features, forget, history, hold, max_entities, min_deviation, min_relative_deviation, missing, model, name, range, sha256, step, timezone
    """
    try:
        tree = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f'{source}: not valid YAML: {" ".join(str(error).split())}') from error
    if not isinstance(tree, dict):
        raise ConfigError(f'{source}: expected the keys prometheus and detectors, got {type(tree).__name__}')
    if '-root' in tree:
        raise ConfigError(f'{source}: -root: unknown key; known: detectors, prometheus')
    try:
        config = msgspec.convert({**tree, '-root': root}, Config, dec_hook=_parse)
    except msgspec.ValidationError as error:
        raise ConfigError(f'{source}: {_explain(str(error), tree)}') from error
    _check(config, source)
    return config


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f'key {twice!r} stands twice', node.start_mark)
        return super().construct_mapping(node, deep)


_PLACES = {
    '': Config,
    'prometheus': Source,
    'detectors[…]': Detector,
    'prometheus.basic_auth': BasicAuth,
    'prometheus.authorization': Authorization,
    'prometheus.tls_config': TLS,
}


def _explain(message, tree):
    """msgspec's message in our words: place, key, what was got, what was expected."""
    what, _, path = message.partition(' - at `$')
    path = path.rstrip('`').lstrip('.')
    unknown = re.match(r'Object contains unknown field `(.*)`', what)
    missing = re.match(r'Object missing required field `(.*)`', what)
    if unknown:
        kind = _PLACES[re.sub(r'\[\d+\]', '[…]', path)]
        known = ', '.join(sorted(name for name in kind.__struct_encode_fields__ if name != '-root'))
        return f'{_place(path, tree)}{unknown[1]}: unknown key; known: {known}'
    if missing:
        return f'{_place(path, tree)}{missing[1]}: missing'
    what = what[0].lower() + what[1:]
    return f'{_place(path, tree)}{what}'


def _place(path, tree):
    match = re.match(r'detectors\[(\d+)\]\.?(.*)', path)
    if not match:
        return f'{path}: ' if path else ''
    detector = tree['detectors'][int(match[1])]
    name = detector.get('name') if isinstance(detector, dict) else None
    return f'detectors[{match[1]}]' + (f' ({name})' if name else '') + (f': {match[2]}: ' if match[2] else ': ')


def _check(config, source):
    """What types cannot say."""
    url = urlsplit(config.prometheus.url)
    if url.scheme not in ('http', 'https') or not url.hostname:
        raise ConfigError(f'{source}: prometheus: url: expected http://HOST:PORT or https://…, got {config.prometheus.url!r}')
    if url.username or url.password:
        raise ConfigError(
            f'{source}: prometheus: url: no user name and password here, they would end up in logs; use basic_auth with password_file'
        )
    if config.prometheus.basic_auth and config.prometheus.authorization:
        raise ConfigError(f'{source}: prometheus: basic_auth and authorization: only one of them')
    if not config.detectors:
        raise ConfigError(f'{source}: detectors: none; give at least one with name and expr')
    names = [detector.name for detector in config.detectors]
    for number, detector in enumerate(config.detectors):
        where = f'{source}: detectors[{number}] ({detector.name})'
        if not detector.name or names.index(detector.name) != number:
            raise ConfigError(f'{where}: name: {"empty" if not detector.name else "stands twice"}')
        _check_detector(detector, where)


def _check_detector(detector, where):
    if bool(detector.expr) == bool(detector.features):
        raise ConfigError(f'{where}: expected either expr, or features with by')
    if bool(detector.features) != bool(detector.by):
        raise ConfigError(f'{where}: by: features are joined into entities by labels: give both or neither')
    for name, expr in detector.queries.items():
        if not expr.strip():
            raise ConfigError(f'{where}: {f"features.{name}" if name else "expr"}: empty')
    if bad := next((label for label in detector.by if not LABEL_NAME.match(label)), None):
        raise ConfigError(f'{where}: by: {bad!r} is not a label name')
    if detector.step <= 0:
        raise ConfigError(f'{where}: step: expected more than 0')
    if detector.range and not detector.range[0] < detector.range[1]:
        raise ConfigError(f'{where}: range: expected [low, high] with low below high, got {list(detector.range)}')
