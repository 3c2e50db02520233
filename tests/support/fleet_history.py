"""Four days of a fleet's past for a real Prometheus: healthy series, and some with a fault of a known kind at a known time.

Numbers come from the demo's own telemetry functions (promlstm.demo.fleet), so that nobody tunes a detector to this file.
"""

from dataclasses import dataclass

import numpy as np
import servers

from promlstm.demo.fleet import gaussian, key

# For retraining: days of history, how many series, and the detector that watches them.
DAYS, SERIES = 9, 24
DETECTOR = {'name': 'load', 'expr': 'past_load', 'step': '5m', 'delay': '0s', 'history': '2d'}
DAY = 86400
STEP = 60
KINDS = ('spike', 'shift', 'drop', 'ramp', 'drop-out', 'lost season', 'flat line')


@dataclass(frozen=True)
class Fault:
    """One injected fault; times in unix seconds."""

    kind: str
    series: int
    start: float
    end: float


def telemetry(series, days, end, faulty_each=3):
    """times [T], values [series, T] (NaN = no sample), and the injected faults: `faulty_each` series for each kind.

    A series has a daily rhythm of its own height, correlated noise, and a level; series of four are steady (no rhythm).
    Values depend on how long before `end` they are, not on the clock: a test that ends now sees the same at every hour.
    """
    before = np.arange(-days * DAY, 1, STEP)
    index = before // STEP
    times = int(end) + before
    values = np.empty((series, len(times)))
    for i in range(series):
        k = key('past', i)
        noise = gaussian(k, index)
        smooth = np.convolve(gaussian(key('past', i, 'slow'), index), np.ones(30) / np.sqrt(30), 'same')
        level, height = 50 + 40 * (i % 7), 0 if i % 4 == 3 else 10 + 5 * (i % 5)
        values[i] = level + height * np.sin(2 * np.pi * (before / DAY + i / 50)) + noise + smooth
    return times, values, [_inject(values, times, kind, faulty_each * n + j) for n, kind in enumerate(KINDS) for j in range(faulty_each)]


def _inject(values, times, kind, i):
    """Each in the last day, hours apart from the ends, at a time of its own."""
    start = len(times) - DAY // STEP + 120 + 37 * i % 900
    length = {'spike': 3, 'shift': 120, 'drop': 60, 'ramp': 180, 'drop-out': 60, 'lost season': 200, 'flat line': 200}[kind]
    span = slice(start, start + length)
    x = values[i]
    if kind == 'spike':
        x[span] += 40
    elif kind == 'shift':
        x[span] -= 30
    elif kind == 'drop':
        x[span] = 0
    elif kind == 'ramp':
        x[span] += np.linspace(0, 40, length)
    elif kind == 'drop-out':
        x[span] = np.nan
    elif kind == 'lost season':
        x[span] = x[span].mean() + gaussian(key('lost', i), np.arange(length))
    else:
        x[span] = x[start]
    return Fault(kind, i, float(times[start]), float(times[min(start + length, len(times) - 1)]))


def write_openmetrics(path, times, values, metric='past_load'):
    """The series as an OpenMetrics file with timestamps, for promtool."""
    stamps = [f' {time}' for time in times.tolist()]
    with open(path, 'w') as out:
        out.write(f'# HELP {metric} Load of the past.\n# TYPE {metric} gauge\n')
        for i, row in enumerate(values):
            head = f'{metric}{{instance="host-{i:04}:9100",job="past",zone="{"abc"[i % 3]}"}} '
            out.write('\n'.join(head + f'{value:.4f}' + stamp for value, stamp in zip(row.tolist(), stamps, strict=True) if value == value))
            out.write('\n')
        out.write('# EOF\n')


def prometheus(directory, times, values, scrape_configs=(), **options):
    """A servers.Prometheus in this directory, to be started, whose past the series are; scrape_configs and options are its own."""
    server = servers.Prometheus(directory / 'prometheus', scrape_configs, **options)
    server.data.mkdir(parents=True)
    write_openmetrics(directory / 'past.om', times, values)
    servers.backfill(server.data, directory / 'past.om')
    (directory / 'past.om').unlink()
    return server
