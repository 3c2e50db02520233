"""Telemetry whose samples say when they were made: series that are struck, series that are left alone, and the same ones in the past.

The whole part of a value is the signal, the thousandths are the second it was made in, so whoever reads a sample on a page knows its age.
"""

import math
import random
from contextlib import contextmanager

from http_target import serving

NAMES = ('struck', 'calm')  # the proxy strikes queries for the first
SERIES = 20
SECONDS = 1000  # after which the mark of a sample comes again


def value(name, number, second):
    """A sample of series `number` at a unix second: a wave with noise, whole, and the second's mark behind the point.

    >>> value('calm', 3, 1_750_000_123)
    6589.123
    """
    noise = random.Random(f'{name} {number} {second}').gauss(0, 60)
    level = 5000 + 100 * number + 300 * math.sin(second / 200 + number) + 1000 * NAMES.index(name)
    return round(level + noise) + second % SECONDS / SECONDS


def age(sample, now):
    """Seconds since a sample was made; it is told from one of the future up to half of SECONDS.

    >>> age(6589.123, 1_750_000_125.5), age(6589.123, 1_750_000_121)
    (2.5, -2)
    """
    passed = (now - round(sample % 1 * SECONDS)) % SECONDS
    return passed if passed < SECONDS / 2 else passed - SECONDS


def page(second):
    """What a scrape gets, in bytes."""
    lines = []
    for name in NAMES:
        lines.append(f'# TYPE {name} gauge')
        lines += [f'{name}{{instance="i{number:02d}"}} {value(name, number, second)!r}' for number in range(SERIES)]
    return ('\n'.join(lines) + '\n').encode()


def write_past(path, start, end):
    """The samples of each second from `start` up to `end` as OpenMetrics, for promtool."""
    with open(path, 'w') as out:
        for name in NAMES:
            out.write(f'# TYPE {name} gauge\n')
            for number in range(SERIES):
                labels = f'{name}{{instance="i{number:02d}",job="source"}}'
                out.writelines(f'{labels} {value(name, number, second)!r} {second}\n' for second in range(start, end))
        out.write('# EOF\n')


@contextmanager
def scraped(clock):
    """The page on a loopback port; gives the entry of `scrape_configs`. `clock` gives unix seconds."""
    with serving(lambda: page(int(clock()))) as address:
        # The label `instance` is the series' own.
        yield {'job_name': 'source', 'honor_labels': True, 'static_configs': [{'targets': [address]}]}
