"""The servers that pages ask, each by a client of its own: what people look at takes neither turns nor memory from the steps of detectors.

Who calls it: history. What flows through: a configuration and the name of a source; out comes its client, with limits that suit one who waits for a page.
"""

import threading

import msgspec

from promlstm.config import Config, Detector, Source, source_place
from promlstm.query.prometheus import Prometheus
from promlstm.settings import Duration, Size

WAIT_SECONDS = 10.0  # of a query
ANSWER_BYTES = 24_000_000
AT_ONCE = 4  # queries in flight, of each server
MOST = 3  # servers that are asked for our gauges


class Clients:
    """The clients of the configuration in force; one whose settings have changed is made anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Source, str, Prometheus]] = {}
        self._gauges_in: dict[str, str] = {}  # by source of a detector: the one that had our gauges last

    def of(self, config: Config, name: str) -> Prometheus:
        """The client of a source."""
        settings = config.named_sources[name]
        with self._lock:
            known = self._known.get(name)
            if known is None or known[:2] != (settings, config.root):
                ours = msgspec.structs.replace(
                    settings, timeout=Duration(min(settings.timeout, WAIT_SECONDS)), concurrency=min(settings.concurrency, AT_ONCE),
                    max_response=Size(min(settings.max_response or ANSWER_BYTES, ANSWER_BYTES)),
                )  # fmt: skip
                known = self._known[name] = settings, config.root, Prometheus(ours, root=config.root, where=source_place(config, name))
            return known[2]

    def with_gauges(self, config: Config, detector: Detector) -> list[str]:
        """The names of the sources that may have our gauges: that of the detector first, unless another was found to have them."""
        own = config.source_name(detector)
        named = config.named_sources
        with self._lock:
            first = self._gauges_in.get(own, own)
        order = sorted(named, key=lambda name: (name != first, name != own))
        return [name for name in order if named[name].kind == 'prometheus'][:MOST]

    def remember(self, config: Config, detector: Detector, name: str) -> None:
        """Note that a source has our gauges of a detector."""
        with self._lock:
            self._gauges_in[config.source_name(detector)] = name
