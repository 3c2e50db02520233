"""Telemetry of a small fleet with injected, labelled faults: what the demo watches, and what convert.data.synthesis builds on.

    fleet = Fleet(seed=1, start=now, hosts=12)
    fleet.series                       # tuple of Series(metric, labels): row i of every array below
    fleet.values(times)                # float64 [T, S], in the unit of the metric: any times, in any order, past or future
    fleet.value(i, times)              # float64 [T], one of them
    fleet.faults(begin, end)           # tuple of Fault(kind, metric, labels, start, end) that touch [begin, end)

A value is a pure function of (seed, series, time): noise comes from a hash of the tick's number, so a value never depends on which range
is asked for, in what order or how often. Before `start` the fleet is healthy (history for a warm start and the seasonal memory); from
`start + first_fault_seconds` on one fault follows another for ever, kind by kind in the order of KINDS, with quiet between them. Faults
are as large as in an incident: everybody would see them in a graph.

Who calls it: source (the demo's Prometheus-compatible API), tests, convert.data.synthesis. Pure numpy; reads no clock, keeps no state.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from promlstm.engine.columns import Floats

DAY = 86400
WEEK = 7 * DAY
TICK_SECONDS = 5            # within a tick the noise of a value does not change
GIB = 2.0**30

Healthy = Callable[[int, Floats, float], Floats]  # (key, times [T], size of the host or service) -> [T]
Change = Callable[[Floats, Floats], Floats]  # (healthy [T], progress of the fault in 0…1 [T]) -> [T]


@dataclass(frozen=True)
class Series:
    """A time series' identity: metric name and labels (all strings)."""

    metric: str
    labels: dict[str, str]


@dataclass(frozen=True)
class Fault:
    """One injected fault: the label of one series in [start, end), unix seconds."""

    kind: str
    metric: str
    labels: dict[str, str]
    start: float
    end: float


def key(*parts: object) -> int:
    """A 64-bit key of anything that prints, the same on every machine.

    >>> key(1, 'cpu') == key(1, 'cpu') != key(2, 'cpu')
    True
    """
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), 'little')


def gaussian(key: int, index: npt.ArrayLike) -> Floats:
    """Standard normal noise number `index` of a stream, by hashing (splitmix64, Steele et al. 2014) and Box-Muller.

    key    int          the stream
    index  int [...]    any integers
    returns float64 [...]
    """
    place = np.asarray(index, np.int64).astype(np.uint64)
    with np.errstate(over='ignore'):
        first = _mix(np.uint64(key) + place * np.uint64(0x9E3779B97F4A7C15))
        second = _mix(first + np.uint64(0xD1B54A32D192ED03))
    radius: Floats = np.sqrt(-2 * np.log((first >> np.uint64(11)) * 2.0**-53 + 2.0**-54))
    angle: Floats = (second >> np.uint64(11)).astype(np.float64) * (2 * np.pi * 2.0**-53)
    return radius * np.cos(angle)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def jitter(key: int, time: npt.ArrayLike, seconds: float = TICK_SECONDS) -> Floats:
    """White noise of unit variance that changes every `seconds`; float64 [T]."""
    return gaussian(key, np.floor(np.asarray(time) / seconds))


def wander(key: int, time: npt.ArrayLike, seconds: float) -> Floats:
    """Smooth noise of unit variance with a correlation time of about `seconds`; float64 [T]."""
    place = np.asarray(time, np.float64) / seconds
    cell = np.floor(place)
    share = place - cell
    share = share * share * (3 - 2 * share)
    mixed: Floats = (1 - share) * gaussian(key, cell) + share * gaussian(key, cell + 1)
    return mixed / np.hypot(share, 1 - share)


def rhythm(time: npt.ArrayLike, peak_hour: float = 15.0) -> Floats:
    """Daily and weekly load: 0 at night to 1 at the peak hour, a third less at weekends; float64 [T].

    >>> rhythm(np.array([4 * DAY + 15 * 3600, 4 * DAY + 3 * 3600])).round(2) + 0.0      # a Monday
    array([1., 0.])
    """
    time = np.asarray(time, np.float64)
    daily: Floats = 0.5 + 0.5 * np.cos(2 * np.pi * (time / DAY - peak_hour / 24))
    day = (time / DAY + 3) % 7                          # from Monday; 1970-01-01 was a Thursday
    weekend = np.interp(day, [0, 0.15, 4.85, 5.15, 6.85, 7], [0.5, 0, 0, 1, 1, 0.5])
    return daily**1.5 * (1 - weekend / 3)


def _cpu(k: int, t: Floats, size: float) -> Floats:
    busy = 0.08 + 0.12 * size + 0.3 * size * rhythm(t) + 0.012 * jitter(k, t, 30) + 0.02 * wander(k + 1, t, 1800)
    return np.clip(busy, 0.01, 1)


def _memory(k: int, t: Floats, size: float) -> Floats:
    return 32 * GIB * (0.3 + 0.15 * size + 0.03 * rhythm(t) + 0.01 * wander(k, t, 7200) + 0.001 * jitter(k + 1, t, 15))


def _disk_io(k: int, t: Floats, size: float) -> Floats:
    return np.clip(0.05 * size * np.exp(0.25 * jitter(k, t, 30) + 0.35 * wander(k + 1, t, 900)), 0, 1)


def _network(k: int, t: Floats, size: float) -> Floats:
    return 4e6 * size * (0.3 + rhythm(t)) * np.exp(0.06 * jitter(k, t, 30) + 0.06 * wander(k + 1, t, 1200))


def _free(k: int, t: Floats, size: float) -> Floats:
    return 500 * GIB * (0.4 + 0.2 * size - 0.02 * (t % WEEK) / WEEK) + 0.05 * GIB * jitter(k, t, 60)


def requests(most: float, night: float, noise: float) -> Healthy:
    """Requests per second of a service; night: what is left of the rhythm at its lowest."""
    return lambda k, t, size: most * size * (night + rhythm(t, 20)) * np.exp(noise * jitter(k, t, 15) + 0.04 * wander(k + 1, t, 1800))


def errors(share: float) -> Healthy:
    """Share of the requests that fail."""
    return lambda k, t, size: np.clip(share * size * np.exp(0.3 * jitter(k, t, 30) + 0.2 * wander(k + 1, t, 1800)), 0, 1)


def latency(seconds: float, busy: float, noise: float) -> Healthy:
    """Seconds that a request takes; busy: by how much of itself it is longer at the busiest hour."""
    return lambda k, t, size: seconds * size * (1 + busy * rhythm(t, 20)) * np.exp(noise * jitter(k, t, 15) + 0.05 * wander(k + 1, t, 1200))


HOST_METRICS: dict[str, Healthy] = {
    'node_cpu_busy_ratio': _cpu,
    'node_memory_used_bytes': _memory,
    'node_disk_io_busy_ratio': _disk_io,
    'node_network_receive_bytes_per_second': _network,
    'node_filesystem_free_bytes': _free,
}
SERVICE_METRICS: dict[str, Healthy] = {
    'web_requests_per_second': requests(900, night=0.15, noise=0.025),
    'web_error_ratio': errors(0.004),
    'web_latency_seconds': latency(0.08, busy=0.4, noise=0.05),
}
SERVICES = ('shop', 'search')

# kind: (metric that is labelled, {metric of the same host or service: how the fault changes it})
KINDS: dict[str, tuple[str, dict[str, Change]]] = {
    'cpu_burn': ('node_cpu_busy_ratio', {'node_cpu_busy_ratio': lambda x, p: np.minimum(1, 0.96 + 0.03 * x)}),
    'traffic_stop': ('web_requests_per_second', {'web_requests_per_second': lambda x, p: 0.01 * x}),
    'disk_io_storm': (
        'node_disk_io_busy_ratio',
        {'node_disk_io_busy_ratio': lambda x, p: np.minimum(1, 0.9 + x), 'node_cpu_busy_ratio': lambda x, p: np.minimum(1, x + 0.1)},
    ),
    'error_burst': ('web_error_ratio', {'web_error_ratio': lambda x, p: np.minimum(1, 0.2 + 10 * x)}),
    'memory_leak': ('node_memory_used_bytes', {'node_memory_used_bytes': lambda x, p: x + p * (31 * GIB - x)}),
    'latency_shift': ('web_latency_seconds', {'web_latency_seconds': lambda x, p: 5 * x}),
    'disk_leak': ('node_filesystem_free_bytes', {'node_filesystem_free_bytes': lambda x, p: x * (1 - 0.95 * p)}),
}


class Fleet:
    """Hosts and services over time; see the top of the file."""

    def __init__(
        self,
        seed: int,
        start: float,
        *,
        hosts: int = 12,
        first_fault_seconds: float = 300,
        fault_seconds: float = 600,
        quiet_seconds: float = 600,
    ) -> None:
        self.seed, self.start = seed, float(start)
        self.first_fault_seconds, self.fault_seconds, self.quiet_seconds = first_fault_seconds, fault_seconds, quiet_seconds
        self._hosts = [{'instance': f'host-{i + 1:02}:9100', 'job': 'node'} for i in range(hosts)]
        self._services = [{'instance': f'{name}:8080', 'job': 'web', 'service': name} for name in SERVICES]
        self.series = tuple(
            Series(metric, labels)
            for metrics, owners in ((HOST_METRICS, self._hosts), (SERVICE_METRICS, self._services))
            for metric in metrics
            for labels in owners
        )

    def values(self, times: npt.ArrayLike) -> Floats:
        """All series at these times: float64 [T, S], in the unit of the metric's name, never NaN."""
        return np.stack([self.value(i, times) for i in range(len(self.series))], axis=-1)

    def value(self, i: int, times: npt.ArrayLike) -> Floats:
        """Series i at these times (unix seconds, [T], any order): float64 [T]."""
        at = np.asarray(times, np.float64)
        series = self.series[i]
        healthy = {**HOST_METRICS, **SERVICE_METRICS}[series.metric]
        owner = key(self.seed, series.labels['instance'])
        size = float(np.exp(0.35 * np.clip(gaussian(owner, 0), -1.5, 1.5)))
        x = healthy(key(self.seed, series.metric, series.labels['instance']), at, size)
        if at.size:
            for number in self._numbers(float(at.min()), float(at.max())):
                x = self._with_fault(x, series, at, self._fault(number))
        return x

    def _with_fault(self, x: Floats, series: Series, times: Floats, fault: Fault) -> Floats:
        change = KINDS[fault.kind][1].get(series.metric)
        if change is None or fault.labels['instance'] != series.labels['instance']:
            return x
        progress = (times - fault.start) / (fault.end - fault.start)
        return np.where((progress >= 0) & (progress < 1), change(x, np.clip(progress, 0, 1)), x)

    def faults(self, begin: float, end: float) -> tuple[Fault, ...]:
        """The faults that touch [begin, end), in time order."""
        found = (self._fault(number) for number in self._numbers(begin, end))
        return tuple(fault for fault in found if fault.start < end and fault.end > begin)

    def affects(self, fault: Fault, metric: str, labels: Mapping[str, str]) -> bool:
        """Whether a fault changes a series of this metric that has these labels."""
        return metric in KINDS[fault.kind][1] and labels.items() <= fault.labels.items()

    def _numbers(self, first: float, last: float) -> range:
        """The numbers of the faults that may touch [first, last]."""
        period = self.fault_seconds + self.quiet_seconds
        begin = self.start + self.first_fault_seconds
        return range(max(0, int((first - begin) // period)), max(0, int((last - begin) // period) + 1))

    def _fault(self, number: int) -> Fault:
        kind = tuple(KINDS)[number % len(KINDS)]
        metric = KINDS[kind][0]
        owners = self._hosts if metric in HOST_METRICS else self._services
        labels = owners[key(self.seed, 'fault', number) % len(owners)]
        start = self.start + self.first_fault_seconds + number * (self.fault_seconds + self.quiet_seconds)
        return Fault(kind, metric, labels, start, start + self.fault_seconds)
