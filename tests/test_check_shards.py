"""What check-config says of shards: whether a detector can be divided, how evenly, and what would divide it better."""

import numpy as np
import pytest

from promlstm import advice, check_shards
from promlstm import config as configuration
from promlstm.query.prometheus import Vector
from promlstm.query.selector import matches, selector

HOSTS = [f'web{number}.example.com:9100' for number in range(200)]


class Level:
    """A server with a series `level` of each instance; `sum(…)` adds up what a selector finds."""

    def __init__(self, instances, label='instance'):
        self.series = {f'{{"__name__":"level","{label}":"{one}"}}'.encode(): {'__name__': 'level', label: one} for one in instances}

    def instant(self, expr, time):
        """The answer as Prometheus gives it."""
        asked = selector(expr.removeprefix('sum(').removesuffix(')'))
        found = [key for key, labels in self.series.items() if matches(asked, labels)]
        if expr.startswith('sum('):
            return Vector([b'{}'] if found else [], np.array([float(len(found))] * bool(found)))
        return Vector(found, np.arange(float(len(found))) * 0 + 1)


def detector(expr='level{$shard}', **keys):
    """A divided detector."""
    one = {'name': 'levels', 'expr': expr, 'split_by': 'instance', **keys}
    return configuration.parse(str({'prometheus': {'url': 'http://localhost:9090'}, 'detectors': [one]})).detectors[0]


def parts(config, source, shards):
    """Parts, as check has them."""
    (expr,) = config.queries.values()
    return check_shards.parts(config, source.instant(expr, 0), source, 0, shards)


@pytest.mark.parametrize('shards', [None, 1, 3, 8])
def test_parts_that_are_the_whole(shards):
    """Nothing is said of them; how many each shard has is known."""
    found = parts(detector(), Level([f'10.0.0.{number}:9100' for number in range(240)]), shards)
    assert not found.errors and not found.warnings
    assert len(found.entities) == (shards or 2) and sum(found.entities) == 240


def test_sums_over_what_divides_are_refused():
    """Each shard would score a part of the sum, under one name."""
    found = parts(detector('sum(level{$shard})'), Level(HOSTS, 'pod'), 3)
    assert not found.errors  # all have no label `instance`, so one shard has all of it
    found = parts(detector('sum(level{$shard})', split_until=':.'), Level(HOSTS), 3)
    (error,) = found.errors
    assert 'of 1 series 1 are in several parts, 0 in none, and 3 have another value' in error and 'aggregates over instance' in error


def test_hosts_of_one_domain_divide_by_their_names():
    """Which is said, and is true."""
    (warning,) = parts(detector(), Level(HOSTS), 5).warnings
    assert '200 of 200 entities, 5.0 times its share; with split_until: ":."' in warning
    assert not parts(detector(split_until=':.'), Level(HOSTS), 5).warnings


@pytest.mark.parametrize(
    ('instances', 'label', 'says'),
    [
        (HOSTS, 'pod', 'none has that label; divide by another label'),
        ([f'node-{number}-prod' for number in range(200)], 'instance', 'too many values end alike; divide by another label, or by one that a hashmod'),
    ],
)
def test_what_does_not_divide_needs_another_label(instances, label, says):
    """Without the label, or with the same end everywhere."""
    (warning,) = parts(detector(), Level(instances, label), 5).warnings
    assert says in warning


def test_a_few_entities_are_never_even():
    """And need no words."""
    assert not parts(detector(), Level(['web1', 'web2', 'web3']), 5).warnings


def test_the_table_has_every_detector_once():
    """Whole ones with all of their entities, divided ones by part; a shard that has much more than its share is told, and why."""
    whole = [detector('level', name=f'whole{number}') for number in range(4)]
    found = [check_shards.Known(one, 1000 if one.name == 'whole0' else 10, 5000, 3 * 2**20, 2**20) for one in whole]
    parts = [(count, count * 2**20, count * 2**17) for count in (10, 20, 30)]
    found.append(check_shards.Known(detector(), 60, 600, 60 * 2**20, 60 * 2**17, parts))
    every = check_shards.shares(found, 3)
    lines = check_shards.report(found, every, None)
    rows = [line.split() for line in lines[2:5]]
    assert [int(row[0]) for row in rows] == [0, 1, 2] and sum(int(row[1]) for row in rows) == 4 and [row[2] for row in rows] == ['1'] * 3
    assert sum(int(row[3]) for row in rows) == 1000 + 3 * 10 + 60
    assert [float(row[-2]) for row in rows] == [10 * (number + 1) + 3 * int(row[1]) for number, row in enumerate(rows)] and lines[1].endswith('PAGE')
    (alone,) = check_shards.shares(found, 1)
    assert (alone.whole, alone.parts, alone.entities, alone.page_bytes) == (5, 0, 1090, 72 * 2**20)  # nobody divides it
    assert 'times its share; whole0 is the largest that is not divided (1000 entities): give it split_by' in lines[-1]


def test_a_label_without_a_place_is_told():
    """At the start and by check-config."""
    assert any('no $shard in the expression, so one shard has all entities' in text for text in advice.of_settings(detector('level')))
    assert not any('$shard' in text for text in advice.of_settings(detector()))
