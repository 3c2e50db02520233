"""What a configuration holds: typed settings with their defaults as values, and the quantities in them.

Who calls it: config, which reads them from YAML, and through it everyone else. Secrets are never in them: only the names of the files that hold
them, read when they are used.
"""

import re
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import msgspec

from promlstm import split
from promlstm.durations import seconds

DAY_SECONDS = 86400.0
WEEK_SECONDS = 7 * DAY_SECONDS
DEFAULT_SOURCE = 'prometheus'  # the source that the section of this name describes, which detectors ask that name none
SHA256 = '^[0-9a-fA-F]{64}$'
_SIZE = re.compile(r'(\d{1,12}(?:\.\d+)?)(B|KB|MB|GB)\Z')
_BUDGET = re.compile(r'(\d{1,12}(?:\.\d+)?)/(minute|hour|day|week|month|year) (each|in all)\Z')
_PERIODS = {'minute': 60.0, 'hour': 3600.0, 'day': 86400.0, 'week': WEEK_SECONDS, 'month': 30 * 86400.0, 'year': 365 * 86400.0}


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

    alarms_per_week: float
    shared: bool

    def __new__(cls, text: object) -> Self:
        """Raises ValueError where the text is no budget."""
        match = _BUDGET.match(text) if isinstance(text, str) else None
        if not match or float(match[1]) <= 0:
            raise ValueError(f'expected a budget such as "1/week each" or "5/day in all", got {text!r}')
        self = super().__new__(cls, match[0])
        self.alarms_per_week = float(match[1]) * WEEK_SECONDS / _PERIODS[match[2]]
        self.shared = match[3] == 'in all'
        return self

    def per_entity_week(self, entities: int) -> float:
        """Alarms per entity-week when that many entities share the budget."""
        return self.alarms_per_week / (max(1, entities) if self.shared else 1)


def parsed(kind: type, value: Any) -> object:
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


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class BasicAuth(Strict, frozen=True):
    """User name and the file that holds the password."""

    username: str
    password_file: str


class Authorization(Strict, frozen=True):
    """An Authorization header and the file that holds its credentials."""

    credentials_file: str
    type: str = 'Bearer'


class TLS(Strict, frozen=True):
    """How to trust the server, and who we are."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure_skip_verify: bool = False


class OAuth2(Strict, frozen=True):
    """A client that gets its tokens from a token endpoint, with the grant of client credentials."""

    client_id: str
    client_secret_file: str
    token_url: str
    scopes: tuple[str, ...] = ()
    endpoint_params: dict[str, str] = {}  # such as audience
    tls_config: TLS | None = None  # of the token endpoint, which shares nothing with the query API
    proxy_url: str | None = None


class Access(Strict, frozen=True, kw_only=True):
    """How a server is asked: as whom, what is trusted, and by which way."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    oauth2: OAuth2 | None = None
    tls_config: TLS | None = None
    headers: dict[str, str] = {}  # such as X-Scope-OrgID
    proxy_url: str | None = None  # the environment's proxies are not used

    def to(self, url: str, **others: Any) -> 'Source':
        """The Source of a URL that is asked in the same way."""
        return Source(url=url, **{name: getattr(self, name) for name in Access.__struct_fields__}, **others)


class Source(Access, frozen=True, kw_only=True):
    """A query API to ask."""

    url: str
    kind: Literal['prometheus', 'loki', 'victorialogs'] = 'prometheus'  # which API it is
    timeout: Duration = Duration(30)  # whole answer, from the request to the last byte
    params: dict[str, str] = {}  # added to the URL of every query, such as dedup, partial_response, namespace
    method: Literal['auto', 'GET', 'POST'] = 'auto'  # of queries; auto: POST, and GET where the server does not take it
    enable_compression: bool = True  # of answers, as in a scrape_config of Prometheus
    max_response: Size | None = None  # None: 200MB, or a twelfth of the control group's memory limit (query/http.py)
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4  # queries in flight


class Alertmanager(Access, frozen=True, kw_only=True):
    """The Alertmanager whose silences say what is a false alarm."""

    url: str
    interval: Duration = Duration(30)
    timeout: Duration = Duration(10)

    @property
    def source(self) -> Source:
        """How it is to be reached."""
        return self.to(self.url, timeout=self.timeout)


class Forecast(Strict, frozen=True):
    """What is forecast of a detector's series, and the limit that they must not reach."""

    horizons: tuple[Duration, ...] = (Duration(3600), Duration(DAY_SECONDS), Duration(WEEK_SECONDS))
    limit: float | None = None
    limit_expr: str | None = None  # PromQL of the limit of each entity
    approach: Literal['falling', 'rising'] = 'falling'  # from which side the limit is met
    model: str = 'builtin:forecast'
    sha256: Annotated[str, msgspec.Meta(pattern=SHA256)] | None = None

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self.limit is not None or self.limit_expr is not None


class Detector(Strict, frozen=True):
    """One detector: what to watch, with which model, and what matters to its owner."""

    name: str
    expr: str | None = None
    features: dict[str, str] = {}
    by: tuple[str, ...] = ()
    split_by: str | None = None  # label whose values divide the entities among shards, in the place of `$shard`; None: one shard has them all
    split_until: str = split.UNTIL  # what follows the first of these characters in a value does not count
    source: str | None = None  # None: `prometheus`, or the only one that there is
    step: Duration = Duration(60)
    delay: Duration = Duration(10)  # evaluated at the aligned step minus this: late samples are in by then
    model: str = 'builtin:default'
    sha256: Annotated[str, msgspec.Meta(pattern=SHA256)] | None = None
    timezone: Zone = Zone('UTC')
    false_alarms: Budget = Budget('1/week each')
    direction: Literal['above', 'below', 'both'] = 'both'
    min_deviation: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    min_relative_deviation: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    range: tuple[float, float] | None = None
    hold: Duration | None = None  # None: an hour, or 15 steps where that is longer (advance.py)
    absent: Literal['missing', 'zero'] = 'missing'  # what it means that an entity is not in the answer; zero: as counts have it
    missing: Literal['alert', 'ignore'] = 'alert'
    noisy: Literal['alert', 'tolerate'] = 'alert'  # an entity that alarms again and again; tolerate: each alarm raises its threshold (tolerance.py)
    forecast: Forecast | None = None  # None: nothing is forecast
    forget: Duration = Duration(86400)  # an absent entity is forgotten after this, younger ones sooner
    history: Duration = Duration(8 * 86400)  # coarse history for the seasonal memory at a warm start; 0 = none
    max_entities: Annotated[int, msgspec.Meta(ge=1)] = 1_000_000
    export: Literal['all', 'anomalous', 'score'] = 'all'  # whose score is explained on the page
    max_exported: Annotated[int, msgspec.Meta(ge=1)] = 1_000_000  # entities on the page

    @property
    def queries(self) -> dict[str, str]:
        """{feature name: expression}, of all parts where it is divided; a detector of one expression has one feature without a name."""
        asked = self.features or {'': self.expr or ''}
        return {name: split.put(expr, '') for name, expr in asked.items()} if self.split_by else asked

    @property
    def is_divided(self) -> bool:
        """Whether shards can have a part of it each: there is a place for the matcher in every expression."""
        return self.split_by is not None and all(split.places(expr)[0] for expr in (self.features or {'': self.expr or ''}).values())


class Edges(Strict, frozen=True):
    """A query whose series say what depends on what: what `from` names suffers from what `to` names."""

    preset: Literal['istio', 'kubernetes', 'tempo'] | None = None  # ready queries; incidents/edges.py has them
    expr: str | None = None
    from_: str | None = msgspec.field(default=None, name='from')  # labels of the answer
    to: str | None = None
    label: str | None = None  # the label of entities that has these names; None: they have the labels `from` and `to` themselves
    source: str | None = None  # None: that of root_cause


class RootCause(Strict, frozen=True):
    """How alarms become incidents, and what is known of what depends on what."""

    within: tuple[str, ...] = ()  # labels; entities are never compared across them
    labels: tuple[str, ...] = ('service', 'workload', 'deployment', 'pod', 'node', 'instance', 'host')  # entities that share a value belong together
    window: Duration = Duration(900)  # an alarm joins an incident this long after the last one
    edges: tuple[Edges, ...] = ()
    interval: Duration = Duration(60)  # between two times that the edges are asked for
    source: str | None = None  # of the edges; None: `prometheus`, or the only one that there is
    graph_file: str | None = None  # edges learnt from history
    graph_sha256: Annotated[str, msgspec.Meta(pattern=SHA256)] | None = None


class Config(Strict, frozen=True, kw_only=True):
    """The whole file."""

    prometheus: Source | None = None  # the short form of sources.prometheus
    sources: dict[str, Source] = {}
    alertmanager: Alertmanager | None = None  # None: nobody is asked for silences
    root_cause: RootCause = RootCause()
    detectors: tuple[Detector, ...]
    root: str = msgspec.field(default='.', name='-root')  # the file's folder: relative paths start there; not a key

    @property
    def named_sources(self) -> dict[str, Source]:
        """{name: Source} of all that there are."""
        return ({DEFAULT_SOURCE: self.prometheus} if self.prometheus else {}) | self.sources

    def source_name(self, detector: Detector) -> str:
        """The name of the source that a detector asks."""
        return detector.source if detector.source is not None else self._usual_source

    @property
    def _usual_source(self) -> str:
        named = self.named_sources
        return next(iter(named)) if len(named) == 1 else DEFAULT_SOURCE

    def source_of_edges(self, edges: Edges) -> str:
        """The name of the source that is asked for edges."""
        return next((name for name in (edges.source, self.root_cause.source) if name is not None), self._usual_source)

    def source_of(self, detector: Detector) -> Source:
        """The source that a detector asks."""
        return self.named_sources[self.source_name(detector)]

    def asks_for_edges(self, name: str) -> bool:
        """Whether a source is asked for edges."""
        return any(self.source_of_edges(edges) == name for edges in self.root_cause.edges)

    def detectors_of(self, name: str) -> tuple[Detector, ...]:
        """The detectors that ask a source."""
        return tuple(detector for detector in self.detectors if self.source_name(detector) == name)
