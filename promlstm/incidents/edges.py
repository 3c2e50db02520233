"""Which queries tell what depends on what, and what their answers mean: settings in, queries out; series in, edges out. Pure.

Who calls it: live.dependencies, which asks them again and again, and check, which asks once. Each series of an answer is an edge, whatever its
value: the names are in its labels.

Where the label names of the presets come from
    tempo       a producer does not suffer from who reads its messages, but the reader from the producer:
                https://grafana.com/docs/tempo/latest/metrics-from-traces/service_graphs/. The connector `servicegraph` of the OpenTelemetry
                collector and Grafana Beyla write the same metric
    istio       https://istio.io/latest/docs/reference/config/metrics/: `unknown` is who is not in the mesh
    kubernetes  https://github.com/kubernetes/kube-state-metrics, the page on metrics of pods; a Deployment owns ReplicaSets,
                which own pods, as the rules of https://github.com/kubernetes-monitoring/kubernetes-mixin join them
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from promlstm.engine import labels
from promlstm.errors import ResponseError
from promlstm.incidents.graph import Name, Scope
from promlstm.settings import Config, Edges, RootCause

_PLAIN = re.compile(r'[a-zA-Z_][a-zA-Z0-9_]*\Z')
_OWNED = 'max by (%BY%, {kind}, pod) (label_replace({owned}, "{kind}", "$1", "owner_name", "(.+)"))'
_BY_REPLICASET = (
    'label_replace(kube_pod_owner{owner_kind="ReplicaSet"}, "replicaset", "$1", "owner_name", "(.+)") * on (namespace, replicaset) '
    'group_left (owner_name) max by (namespace, replicaset, owner_name) (kube_replicaset_owner{owner_kind="Deployment"})'
)


@dataclass(frozen=True, slots=True)
class Query:
    """A query whose series are edges.

    name       for people and for metrics
    expr       what is asked
    source     the name of the source that is asked
    dependant, dependency  the labels of a series that name who suffers, and from whom
    names      labels of entities that have these names, a pair for each edge that a series stands for
    optional   one of several of a preset: where there is nothing of its kind, nothing is odd
    """

    name: str
    expr: str
    source: str
    dependant: str
    dependency: str
    names: tuple[tuple[str, str], ...]
    optional: bool = False

    @property
    def identity(self) -> str:
        """What makes it the same query after a change of the configuration."""
        return repr((self.source, self.expr, self.dependant, self.dependency, self.names))


@dataclass(frozen=True, slots=True)
class Found:
    """The edges of an answer: as Graph.observed takes them, and what was odd, in words."""

    edges: list[tuple[Name, Name]]
    within: list[Scope]
    odd: tuple[str, ...]


def _kubernetes(kind: str, owned: str) -> tuple[str, str, str, tuple[str, ...]]:
    return _OWNED.format(kind=kind, owned=owned), kind, 'pod', (kind, 'workload')


def _calls(metric: str, selector: str, client: str, server: str) -> str:
    return f'sum by (%BY%, {client}, {server}) (rate({metric}{{{selector}}}[5m])) > 0'


_ENTITIES = ('pod', 'node')  # labels of answers that entities have themselves
# {preset: (expression, label of who suffers, label of from whom, labels of entities that have the name of who suffers)}. %BY% stands for the
# labels of `within`. What the first tells of is there wherever the preset is of use; the others may have nothing to tell.
_MESH, _TRACES = 'source_workload!="unknown", destination_workload!="unknown"', 'traces_service_graph_request_total'
PRESETS: dict[str, tuple[tuple[str, str, str, tuple[str, ...]], ...]] = {
    'istio': tuple(
        (_calls(metric, _MESH, 'source_workload', 'destination_workload'), 'source_workload', 'destination_workload', ('workload',))
        for metric in ('istio_requests_total', 'istio_tcp_sent_bytes_total')
    ),
    'kubernetes': (
        ('max by (%BY%, pod, node) (kube_pod_info{node!=""})', 'pod', 'node', ('pod',)),
        _kubernetes('deployment', _BY_REPLICASET),
        *(_kubernetes(kind.lower(), f'kube_pod_owner{{owner_kind="{kind}"}}') for kind in ('StatefulSet', 'DaemonSet')),
    ),
    'tempo': (
        (_calls(_TRACES, 'connection_type!="messaging_system"', 'client', 'server'), 'client', 'server', ('service',)),
        (_calls(_TRACES, 'connection_type="messaging_system"', 'client', 'server'), 'server', 'client', ('service',)),
    ),
}


def queries(config: Config) -> list[Query]:
    """The queries of a configuration, each with a name of its own.

    >>> from promlstm.settings import Detector, Source
    >>> cause = RootCause(edges=(Edges(preset='tempo', label='app'),), within=('cluster',))
    >>> found = queries(Config(prometheus=Source(url='http://x'), root_cause=cause, detectors=(Detector(name='up', expr='up'),)))
    >>> [(query.name, query.names, query.optional) for query in found]
    [('client -> server', (('app', 'app'),), False), ('server -> client', (('app', 'app'),), True)]
    >>> found[0].expr
    'sum by (cluster, client, server) (rate(traces_service_graph_request_total{connection_type!="messaging_system"}[5m])) > 0'
    """
    found = [query for edges in config.root_cause.edges for query in _queries(edges, config.root_cause.within, config.source_of_edges(edges))]
    names = [query.name for query in found]
    return [
        query if names.count(query.name) == 1 else replace(query, name=f'{query.name} ({names[:place].count(query.name) + 1})')
        for place, query in enumerate(found)
    ]


def _queries(edges: Edges, within: Sequence[str], source: str) -> list[Query]:
    if edges.preset is None:
        dependant, dependency = edges.from_ or '', edges.to or ''
        pair = (edges.label, edges.label) if edges.label else (dependant, dependency)
        return [Query(f'{dependant} -> {dependency}', edges.expr or '', source, dependant, dependency, (pair,))]
    by = ', '.join(name if _PLAIN.match(name) else f'"{labels.escape(name)}"' for name in within)
    out = list[Query]()
    for expr, dependant, dependency, kinds in PRESETS[edges.preset]:
        own = dependency if dependency in _ENTITIES else None
        has = ((edges.label, edges.label),) if edges.label else tuple((kind, own or kind) for kind in kinds)
        expr = expr.replace('%BY%, ', by and f'{by}, ')
        out.append(Query(f'{dependant} -> {dependency}', expr, source, dependant, dependency, has, optional=bool(out)))
    return out


def linking(cause: RootCause) -> tuple[str, ...]:
    """The labels of entities by whose values these are linked: `labels`, and those of the edges.

    >>> linking(RootCause(labels=('instance',), edges=(Edges(preset='kubernetes'), Edges(expr='x', from_='a', to='b', label='app'))))
    ('instance', 'pod', 'node', 'deployment', 'workload', 'statefulset', 'daemonset', 'app')
    """
    named = [name for edges in cause.edges for query in _queries(edges, (), '') for pair in query.names for name in pair]
    return tuple(dict.fromkeys([*cause.labels, *named]))


def found(query: Query, keys: Sequence[bytes], within: Sequence[str]) -> Found:
    """The edges in the answer to a query.

    keys    raw labels of its series
    within  labels that nothing is compared across: an edge is limited to what its series says of them

    >>> query = Query('client -> server', 'x', 'prometheus', 'client', 'server', (('service', 'service'),))
    >>> found(query, [b'{"client":"shop","server":"cart","cluster":"eu"}', b'{"client":"shop"}'], ('cluster',))
    Found(edges=[(('service', 'shop'), ('service', 'cart'))], within=[(('cluster', 'eu'),)], odd=('no label server in 1 of 2 series',))
    """
    edges, scopes, met = list[tuple[Name, Name]](), list[Scope](), set[str]()
    lacking, unread = {query.dependant: 0, query.dependency: 0}, 0
    for key in keys:
        try:
            series = labels.decoded(key)
        except ResponseError:
            unread += 1
            continue
        met.update(series)
        dependant, dependency = series.get(query.dependant), series.get(query.dependency)
        if dependant and dependency:
            scope = tuple((label, series[label]) for label in within if series.get(label))
            for kind, other in query.names:
                edges.append(((kind, dependant), (other, dependency)))
                scopes.append(scope)
        lacking[query.dependant] += not dependant
        lacking[query.dependency] += not dependency
    return Found(edges, scopes, _odd(query, len(keys) - unread, lacking, met) + (f'{unread} series with unreadable labels',) * bool(unread))


def _odd(query: Query, series: int, lacking: dict[str, int], met: set[str]) -> tuple[str, ...]:
    if not series:
        return () if query.optional else ('no series',)
    if met <= {'__name__'}:
        return ('one number without labels, expected a series for each edge',)
    there = ', '.join(sorted(met - {'__name__'}))
    return tuple(
        f'no series has the label {label}; there are {there}' if count == series
        else f'no label {label} in {count} of {series} series'
        for label, count in lacking.items() if count
    )  # fmt: skip
