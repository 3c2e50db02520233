"""A shop of services in tiers, with faults that travel from what breaks to what depends on it: the ground of root-cause figures and the demo.

    shop = Shop(seed=1, start=now)
    shop.series                        # tuple of Series(metric, labels): row i of every array below
    shop.values(times)                 # float64 [T, S], in the unit of the metric: any times, in any order, past or future
    shop.faults(begin, end)            # tuple of Fault(kind, cause, start, end) that touch [begin, end)
    shop.value(i, times)               # float64 [T], one of them
    shop.affects(fault, thing)         # whether the fault shows in a service, pod or node
    shop.passes(fault)                 # unix seconds: when it has left them all
    shop.edges                         # ((dependant, dependency), …) of names (label, value): services, pods, nodes

A value is a pure function of (seed, series, time), as in fleet. Before `start` the shop is healthy; from `start + first_fault_seconds` on one
fault follows another for ever, kind by kind in the order of KINDS, with quiet between them. A fault begins at its cause, reaches each
dependant a few seconds to a minute later, hop by hop, and is damped on the way by the share of the calls that go there: an overloaded
database slows the shop, not the other way round. A surge of traffic travels down instead, from who is called to whom it calls. In every other
fault something that has nothing to do with it becomes loud in the same minute, and is no fault of the shop.

Who calls it: `convert benchmark --root-cause`, estate (the demo), tests. Pure numpy; reads no clock, keeps no state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from promlstm.demo.fleet import Series, errors, gaussian, jitter, key, latency, requests, rhythm, wander
from promlstm.engine.columns import Floats

Name = tuple[str, str]  # a label and its value

# service: what it calls, with the share of its work that waits for it
CALLS: dict[str, dict[str, float]] = {
    'frontend': {'checkout': 0.5, 'catalog': 0.7, 'search': 0.5, 'account': 0.4},
    'checkout': {'cart': 0.6, 'payment': 0.7, 'stock': 0.6},
    'catalog': {'catalog-db': 0.8, 'images': 0.5},
    'search': {'search-index': 0.8, 'catalog': 0.4},
    'account': {'account-db': 0.8, 'mail': 0.3},
    'cart': {'cart-cache': 0.8},
    'payment': {'bank': 0.7, 'payment-db': 0.7},
    'stock': {'stock-db': 0.8},
    'catalog-db': {}, 'images': {}, 'search-index': {}, 'account-db': {}, 'mail': {}, 'cart-cache': {}, 'bank': {}, 'payment-db': {}, 'stock-db': {},
    'reports': {'reports-db': 0.8}, 'reports-db': {}, 'backup': {},
}  # fmt: skip
APART = ('reports', 'backup')  # nothing of the shop depends on these: who is loud in the minute of another fault
ENTRIES = ('frontend', 'checkout', 'account')  # where a surge of traffic arrives
PODS_EACH = 2
NODES = 8

# kind: the label of its cause
KINDS = {
    'overload': 'service', 'bad_release': 'service', 'slow_dependency': 'service', 'node_pressure': 'node', 'pod_crash': 'pod', 'surge': 'service',
}  # fmt: skip
POD_SHARE = 0.6  # of a service's trouble that one of its two pods makes
NODE_SHARE = 0.9  # of a pod's trouble that its node makes
SLOWEST_SECONDS = 300  # after this a fault has reached all that it reaches, and after its end has left it


@dataclass(frozen=True)
class Fault:
    """One injected fault: what broke, in [start, end), unix seconds; `loud` is what else was loud meanwhile, or None."""

    kind: str
    cause: Name
    start: float
    end: float
    loud: Name | None


@dataclass(frozen=True)
class _Effect:
    """How a fault shows in one thing: how much of the fault arrives there, and how many seconds after its start."""

    size: float
    delay: float


class Shop:
    """Services, their pods and nodes over time; see the top of the file.

    calls   service: what it calls, with the share of its work that waits for it
    kinds   of faults, of KINDS, in the order in which they come
    causes  services that break; empty = all that are no frontend
    """

    def __init__(
        self,
        seed: int,
        start: float,
        *,
        first_fault_seconds: float = 600,
        fault_seconds: float = 900,
        quiet_seconds: float = 2700,
        calls: Mapping[str, Mapping[str, float]] = CALLS,
        kinds: Sequence[str] = tuple(KINDS),
        causes: Sequence[str] = (),
    ) -> None:
        self.seed, self.start = seed, float(start)
        self.first_fault_seconds, self.fault_seconds, self.quiet_seconds = first_fault_seconds, fault_seconds, quiet_seconds
        self._kinds, self._apart = tuple(kinds), [service for service in APART if service in calls]
        inside = [service for service in calls if service not in APART and service != 'reports-db']
        self._causes = causes or [service for service in inside if service != 'frontend']
        self.pods = {f'{service}-{n}': service for service in calls for n in range(PODS_EACH)}
        self._effects = lru_cache(16)(self._spread)
        self._inside = [pod for pod, service in self.pods.items() if service in inside]
        self.node_of = {pod: f'node-{key(seed, "node", pod) % NODES + 1}' for pod in self.pods}
        called = tuple((('service', a), ('service', b)) for a, each in calls.items() for b in each)
        pods = tuple((('service', service), ('pod', pod)) for pod, service in self.pods.items())
        nodes = tuple((('pod', pod), ('node', node)) for pod, node in self.node_of.items())
        self.edges: tuple[tuple[Name, Name], ...] = called + pods + nodes
        self._share = {
            **{edge: calls[edge[0][1]][edge[1][1]] for edge in called}, **dict.fromkeys(pods, POD_SHARE), **dict.fromkeys(nodes, NODE_SHARE)
        }  # fmt: skip
        services = [{'service': service} for service in calls]
        pods_labels = [{'service': service, 'pod': pod, 'node': self.node_of[pod]} for pod, service in self.pods.items()]
        node_labels = [{'node': f'node-{n + 1}'} for n in range(NODES)]
        self.series = tuple(
            Series(metric, labels)
            for owners, metrics in ((services, _SERVICE), (pods_labels, _POD), (node_labels, _NODE))
            for metric in metrics
            for labels in owners
        )

    def thing(self, series: Series) -> Name:
        """The most specific thing that a series belongs to: its pod, else its service or node."""
        label = next(label for label in ('pod', 'service', 'node') if label in series.labels)
        return label, series.labels[label]

    def values(self, times: npt.ArrayLike) -> Floats:
        """All series at these times: float64 [T, S], in the unit of the metric's name, never NaN."""
        return np.stack([self.value(i, times) for i in range(len(self.series))], axis=-1)

    def value(self, i: int, times: npt.ArrayLike) -> Floats:
        """Series i at these times (unix seconds, [T], any order): float64 [T]."""
        at, series = np.asarray(times, np.float64), self.series[i]
        x = self._healthy(series, at)
        if at.size:
            for fault in self.faults(float(at.min()) - SLOWEST_SECONDS, float(at.max()) + 1):
                x = self._with_fault(x, series, at, fault)
        return x

    def affects(self, fault: Fault, thing: Name) -> bool:
        """Whether a fault, or what is loud meanwhile, shows in a thing."""
        return thing in self._effects(fault) or thing == fault.loud

    def passes(self, fault: Fault) -> float:
        """When a fault has left all that it reached, unix seconds."""
        return fault.end + max(effect.delay for effect in self._effects(fault).values())

    def faults(self, begin: float, end: float) -> tuple[Fault, ...]:
        """The faults that touch [begin, end), in time order."""
        period, first = self.fault_seconds + self.quiet_seconds, self.start + self.first_fault_seconds
        numbers = range(max(0, int((begin - first) // period)), max(0, int((end - first) // period) + 1))
        found = (self._fault(number) for number in numbers)
        return tuple(fault for fault in found if fault.start < end and fault.end > begin)

    def _fault(self, number: int) -> Fault:
        kind = self._kinds[number % len(self._kinds)]
        owners = {
            'service': ENTRIES if kind == 'surge' else self._causes,
            'pod': self._inside,
            'node': [f'node-{n + 1}' for n in range(NODES)],
        }[KINDS[kind]]
        cause = KINDS[kind], owners[key(self.seed, 'cause', number) % len(owners)]
        loud = ('service', self._apart[key(self.seed, 'apart', number) % len(self._apart)]) if self._apart and number % 2 else None
        start = self.start + self.first_fault_seconds + number * (self.fault_seconds + self.quiet_seconds)
        start += 60 * (key(self.seed, 'offset', number) % 1000) / 1000  # in any second of a step
        return Fault(kind, cause, start, start + self.fault_seconds, loud)

    def _healthy(self, series: Series, times: Floats) -> Floats:
        owner = key(self.seed, self.thing(series))
        size = float(np.exp(0.3 * np.clip(gaussian(owner, 0), -1.5, 1.5)))
        return {**_SERVICE, **_POD, **_NODE}[series.metric](key(self.seed, series.metric, self.thing(series)), times, size)

    def _with_fault(self, x: Floats, series: Series, times: Floats, fault: Fault) -> Floats:
        thing = self.thing(series)
        effect = self._effects(fault).get(thing)
        if effect is not None:
            level = effect.size * _risen(times, fault.start + effect.delay, fault.end + effect.delay)
            x = _changed(x, series.metric, level, fault.kind, at_cause=thing == fault.cause)
        if fault.loud == thing:
            level = _risen(times, fault.start, fault.end)
            x = {'service_requests_per_second': x * (1 + 9 * level), 'service_latency_seconds': x * (1 + 5 * level)}.get(series.metric, x)
        return x

    def _spread(self, fault: Fault) -> dict[Name, _Effect]:
        """What a fault does to each thing, by the way on which most of it arrives."""
        found = {fault.cause: _Effect(1.0, 0.0)}
        border = [fault.cause]
        while border:
            reached = []
            for near in border:
                for far, share in self._next(near, fault.kind):
                    size = found[near].size * share
                    if size > 0.1 and size > (found[far].size if far in found else 0):
                        found[far] = _Effect(size, found[near].delay + 5 + 40 * (key(self.seed, fault.start, near, far) % 1000) / 1000)
                        reached.append(far)
            border = reached
        return found

    def _next(self, thing: Name, kind: str) -> list[tuple[Name, float]]:
        """Who is affected next, and by how much: what depends on the thing; or where traffic goes, what it calls and its pods."""
        if kind == 'surge':
            return [(b, 1.0) for a, b in self.edges if a == thing and b[0] != 'node']
        return [(a, self._share[a, b]) for a, b in self.edges if b == thing]


def _risen(times: Floats, start: float, end: float) -> Floats:
    """0 before the start, 1 a minute later, 0 again from the end on."""
    return np.where(times < end, np.clip((times - start) / 60, 0, 1), 0)


def _changed(x: Floats, metric: str, level: Floats, kind: str, *, at_cause: bool) -> Floats:
    """A series under so much (0 to 1, [T]) of a fault. Only the cause shows what broke; the others show that they wait, or fail."""
    slow = {'overload': 5.0, 'slow_dependency': 4.0, 'node_pressure': 2.5, 'pod_crash': 0.8, 'bad_release': 0.3, 'surge': 0.15}[kind]
    fails = {'overload': 0.02, 'bad_release': 0.15, 'pod_crash': 0.06, 'slow_dependency': 0.0, 'node_pressure': 0.0, 'surge': 0.0}[kind]
    surge = 1.5 * level if kind == 'surge' else 0 * level
    broken = at_cause or kind in ('surge', 'node_pressure')
    if metric == 'service_latency_seconds':
        return x * (1 + slow * level)
    if metric == 'service_error_ratio':
        return np.minimum(1, x + fails * level)
    if metric == 'service_requests_per_second':
        return x * (1 + surge - (0.25 * level if kind in ('overload', 'bad_release') else 0))
    if metric == 'service_pool_busy_ratio':  # of the cause, what ran out; of its callers, the calls that wait
        return x + (0.99 - x) * level * (1.0 if kind == 'overload' and at_cause else 0.1 * min(slow, 3))
    if metric == 'pod_cpu_saturation_ratio':
        return np.minimum(1, x + (0.2 * surge if kind == 'surge' else (1 - x) * 0.9 * level if broken else 0))
    if metric == 'pod_restarts_per_hour':
        return x + np.round(4 * level) if kind == 'pod_crash' and at_cause else x
    if metric == 'node_cpu_busy_ratio':
        return x + (0.98 - x) * level if kind == 'node_pressure' else x
    return x


def _saturation(k: int, t: Floats, size: float) -> Floats:
    return np.clip(0.1 + 0.1 * size + 0.2 * size * rhythm(t, 20) + 0.015 * jitter(k, t, 30) + 0.02 * wander(k + 1, t, 1800), 0.01, 1)


def _restarts(k: int, t: Floats, size: float) -> Floats:
    return np.where(gaussian(k, np.floor(t / 3600)) > 3.3, 1.0, 0.0)


def _memory(k: int, t: Floats, size: float) -> Floats:
    return np.clip(0.35 + 0.1 * size + 0.02 * rhythm(t, 20) + 0.01 * wander(k, t, 7200) + 0.002 * jitter(k + 1, t, 15), 0, 1)


_SERVICE = {
    'service_requests_per_second': requests(400, night=0.2, noise=0.03), 'service_error_ratio': errors(0.003),
    'service_latency_seconds': latency(0.06, busy=0.3, noise=0.06),
    'service_pool_busy_ratio': _saturation,
}  # fmt: skip
_POD = {'pod_cpu_saturation_ratio': _saturation, 'pod_restarts_per_hour': _restarts}
_NODE = {'node_cpu_busy_ratio': _saturation, 'node_memory_used_ratio': _memory}
