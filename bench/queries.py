"""What a real Prometheus is queried for, and how a start from history spends its time.

It fills a Prometheus of `.ci/install-tools` with a sample per minute of many pods, and prints

    a step          samples that Prometheus reads for an instant query, and for the window of 60 steps that others query again at every step
    shards          the same for the parts of a divided detector, and the time that their matchers take
    start           seconds, one answer after the other and with the next one fetched while one is judged; and what the first of them does
"""

import random
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'tests/support')]

import numpy as np  # noqa: E402
import servers  # noqa: E402

from bench import arguments  # noqa: E402
from promlstm import config as configuration  # noqa: E402
from promlstm import split  # noqa: E402
from promlstm.engine import detector as engine  # noqa: E402
from promlstm.engine.session import load, resolve  # noqa: E402
from promlstm.query import prometheus as querying  # noqa: E402

STEP, SAMPLES, WINDOW, SHARDS, SERIES = 60, 420, 60, (5, 12), 4000
LETTERS = 'bcdfghjklmnpqrstvwxz2456789'  # what Kubernetes ends names of pods in


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `main`."""
    parser.add_argument('--series', metavar='N', type=arguments.at_least(max(SHARDS)), default=SERIES, help='series in Prometheus (default %(default)s)')


def main(series: int = SERIES) -> None:
    """Fill, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        last = int(time.time()) // STEP * STEP - 2 * STEP
        _fill(Path(folder), series, last)
        with servers.Prometheus(folder, scrape_configs=[]) as prometheus:
            _queries(prometheus, last)
            _start(prometheus, last)


def _fill(folder: Path, series: int, last: int) -> None:
    """A sample a minute of each pod, up to `last` (unix seconds)."""
    rng = random.Random(1)
    with (folder / 'history.om').open('w') as file:
        file.write('# TYPE level gauge\n')
        for number in range(series):
            pod = f'web-{number % 40}-{rng.getrandbits(40):010x}-' + ''.join(rng.choices(LETTERS, k=5))
            for sample in range(SAMPLES, -1, -1):
                file.write(f'level{{job="web",namespace="shop",pod="{pod}"}} {20 + rng.random():.6f} {last - sample * STEP}\n')
        file.write('# EOF\n')
    servers.backfill(folder / 'data', folder / 'history.om')


def _asked(prometheus: servers.Prometheus, endpoint: str, **form: Any) -> tuple[int, float]:
    """(samples read, the minimum of seconds of three tries)."""
    stats = [prometheus.ask(endpoint, stats='all', **form)['stats'] for _ in range(3)]
    return stats[0]['samples']['totalQueryableSamples'], min(one['timings']['evalTotalTime'] for one in stats)


def _queries(prometheus: servers.Prometheus, last: int) -> None:
    rows = [('an instant, as promlstm asks', _asked(prometheus, 'query', query='level', time=last))]
    span = {'start': last - (WINDOW - 1) * STEP, 'end': last, 'step': STEP}
    rows.append((f'the window of {WINDOW} steps, at every step', _asked(prometheus, 'query_range', query='level', **span)))
    for shards in SHARDS:
        owners, read, seconds = split.owners('pods', shards), [], []
        for number in range(shards):
            matcher = split.matcher('pod', [each for each, owner in owners.items() if owner == number])
            one = _asked(prometheus, 'query', query=f'level{{{matcher}}}', time=last)
            read.append(one[0])
            seconds.append(one[1])
        assert sum(read) == rows[0][1][0]
        rows.append((f'{shards} shards, the largest part', (max(read), max(seconds))))
        rows.append((f'{shards} shards, all parts', (sum(read), sum(seconds))))
    for name, (read_in_all, took) in rows:
        print(f'  {name:44} {read_in_all:>10} samples {1000 * took:>8.1f} ms')


def _start(prometheus: servers.Prometheus, last: int) -> None:
    """A start from history with sequential queries, and with the next query in advance; both give the same numbers."""
    text = {'prometheus': {'url': prometheus.url}, 'detectors': [{'name': 'level', 'expr': 'level', 'step': '60s', 'delay': '0s', 'history': '0s'}]}
    config = configuration.parse(str(text)).detectors[0]
    session = load(resolve('builtin:forecaster'), threads=2)
    scores, usual = [], querying.ahead
    for name, way in (('one after the other', iter), ('one answer ahead', usual)):
        querying.ahead = way  # type: ignore[assignment]
        source = querying.Prometheus(configuration.Source(url=prometheus.url))
        spent = {'_ask': 0.0, '_matrix': 0.0}
        for method in spent:
            setattr(source, method, _timed(spent, method, getattr(source, method)))
        subject, began, verdicts = engine.Detector(config, session, source), time.perf_counter(), None
        for _, _, newest in subject.warm(lambda: last):
            verdicts = newest or verdicts
        took = time.perf_counter() - began
        assert verdicts
        scores.append(verdicts.surprise)
        waiting, decoding = spent.values()
        parts = f': waiting {waiting:.2f}, decoding {decoding:.2f}, judging {took - waiting - decoding:.2f}' if way is iter else ''
        print(f'  start, {name:22} {took:6.2f} s{parts}', flush=True)
    querying.ahead = usual
    assert np.array_equal(scores[0], scores[1], equal_nan=True)


def _timed(spent: dict[str, float], name: str, method: Any) -> Any:
    def call(*args: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*args)
        finally:
            spent[name] += time.perf_counter() - began

    return call
