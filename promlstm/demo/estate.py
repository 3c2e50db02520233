"""What the demo watches: a fleet, and beside it a small shop whose services call each other, in which faults spread.

    estate = Estate(Fleet(seed, start), Shop(seed, start, calls=CALLS, kinds=KINDS, causes=CAUSES))
    estate.series, estate.values(times), estate.value(i, times), estate.faults(begin, end)  # as of the fleet
    estate.affects(fault, metric, labels)

Two volumes of a host have a fate of their own: one fills up, one is rotated.
Of the shop there are the series of its services, in a namespace of their own, and its service graph as tracing would count it: a counter of
calls for each pair of a caller and whom it calls.

Who calls it: run, scoring. Pure numpy; reads no clock, keeps no state.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from promlstm.demo import fleet, shop, volumes
from promlstm.engine.columns import Floats

NAMESPACE = 'shop'
# service: what it calls, with the share of its work that waits for it
CALLS: dict[str, dict[str, float]] = {
    'frontend': {'checkout': 0.7, 'catalog': 0.7},
    'checkout': {'cart': 0.7, 'stock': 0.8},
    'catalog': {'database': 0.8},
    'cart': {'cache': 0.8},
    'stock': {'database': 0.8},
    'database': {},
    'cache': {},
    'backup': {},  # nothing of the shop calls it: it is loud beside every other fault, and not to blame
}
CAUSES = ('database', 'cache')  # they call nobody, so whatever breaks has a way to go
KINDS = ('overload', 'slow_dependency')
GRAPH, CALLS_PER_SECOND = 'traces_service_graph_request_total', 20.0

Fault = fleet.Fault | shop.Fault


class Estate:
    """A fleet and a shop over time; see the top of the file."""

    def __init__(self, telemetry: fleet.Fleet, services: shop.Shop) -> None:
        self.fleet, self.shop = telemetry, services
        self._rows = [i for i, series in enumerate(services.series) if set(series.labels) == {'service'}]
        shown = [services.series[i] for i in self._rows]
        self._metrics = {series.metric for series in shown}
        graph = [{'client': a, 'server': b} for (label, a), (other, b) in services.edges if label == other == 'service']
        self.series = (
            *telemetry.series,
            *volumes.series(),
            *(fleet.Series(series.metric, {'namespace': NAMESPACE, **series.labels}) for series in shown),
            *(fleet.Series(GRAPH, {'namespace': NAMESPACE, **pair}) for pair in graph),
        )

    def values(self, times: npt.ArrayLike) -> Floats:
        """All series at these times: float64 [T, S], in the unit of the metric's name, never NaN."""
        return np.stack([self.value(i, times) for i in range(len(self.series))], axis=-1)

    def value(self, i: int, times: npt.ArrayLike) -> Floats:
        """Series i at these times (unix seconds, [T], any order): float64 [T]."""
        if i < len(self.fleet.series):
            return self.fleet.value(i, times)
        i -= len(self.fleet.series)
        if i < len(volumes.VOLUMES):
            return volumes.free(list(volumes.VOLUMES)[i], np.asarray(times, np.float64), self.fleet.start)
        i -= len(volumes.VOLUMES)
        if i < len(self._rows):
            return self.shop.value(self._rows[i], times)
        calls: Floats = np.floor(CALLS_PER_SECOND * (np.asarray(times, np.float64) % fleet.WEEK))
        return calls

    def faults(self, begin: float, end: float) -> tuple[Fault, ...]:
        """The faults that touch [begin, end), in time order; one of the shop ends when it has left all that it reached."""
        spread = (replace(fault, end=self.shop.passes(fault)) for fault in self.shop.faults(begin - shop.SLOWEST_SECONDS, end))
        found: tuple[Fault, ...] = (*self.fleet.faults(begin, end), *(fault for fault in spread if fault.end > begin))
        return tuple(sorted(found, key=lambda fault: fault.start))

    def affects(self, fault: Fault, metric: str, labels: Mapping[str, str]) -> bool:
        """Whether a fault changes a series of this metric that has these labels."""
        if isinstance(fault, fleet.Fault):
            return self.fleet.affects(fault, metric, labels)
        return metric in self._metrics and self.shop.affects(fault, ('service', labels.get('service', '')))
