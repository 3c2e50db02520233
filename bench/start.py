"""From empty memory to the first score, by replaying history from the embedded source; seconds. Then the cost of a replayed step, on one thread."""

from dataclasses import dataclass, field
from time import perf_counter, process_time

import numpy as np

from bench import warmed
from bench.answers import config
from promlstm.demo.source import Source
from promlstm.engine import session as sessions
from promlstm.engine.detector import Detector
from promlstm.live.clock import Clock
from promlstm.query.prometheus import Prometheus

SIZES = (100, 1_000, 10_000)
REPLAYED, TIMES = (4_096, 100_000), 5
NOW = 1_750_000_200.0


@dataclass
class Series:
    """What the source serves."""

    metric: str
    labels: dict


@dataclass
class Rhythm:
    """Telemetry of any number of entities with a daily rhythm, cheap to generate."""

    entities: int
    series: tuple = field(init=False)

    def __post_init__(self):
        self.series = tuple(Series('load', {'instance': f'10.0.{i >> 8}.{i & 255}:9100', 'job': 'node'}) for i in range(self.entities))

    def values(self, times):
        """float64 [T, entities]."""
        times = np.asarray(times, float)
        phase = np.arange(self.entities) / 7
        return 10 + np.sin(2 * np.pi * times[:, None] / 86400 + phase) + 0.1 * np.sin(times[:, None] * (1 + phase % 3))

    def value(self, i, times):
        """float64 [T]."""
        return self.values(times)[:, i]


def main():
    """Print a row per size: the embedded source's own time is in it. Then one for a step of a group of entities, and one for a step of all of them.

    Returns the seconds of each.
    """
    starts, steps = [], []
    session = sessions.load(sessions.resolve('builtin:default'))
    for entities in SIZES:
        with Source(Rhythm(entities), Clock(start=NOW).now) as source:
            settings = config(source.url, expr='load')
            subject = Detector(settings.detectors[0], session, Prometheus(settings.prometheus))
            start = perf_counter()
            for _ in subject.warm(lambda: NOW):
                pass
            starts.append({'entities': entities, 'seconds': perf_counter() - start})
            print(f'  {entities:6} entities: {starts[-1]["seconds"]:6.2f}', flush=True)
    session = sessions.load(sessions.resolve('builtin:default'), threads=1)
    remembered = warmed.memory(config('http://localhost').detectors[0], session)
    for entities in REPLAYED:
        step, taken = warmed.replayed(session, remembered, entities), []
        for _ in range(TIMES):
            began = process_time()
            step()
            taken.append(process_time() - began)
        steps.append({'entities': entities, 'cpu_seconds': min(taken)})
        print(f'  a replayed step of {entities:6} entities: {min(taken) / entities * 1e6:6.2f} µs of CPU time an entity', flush=True)
    return {'until_the_first_score': starts, 'replayed_steps': steps}
