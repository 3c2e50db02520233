"""The guard against a step that costs more than it did: it passes now, and each of its bounds can be broken."""

import copy

import pytest

from bench import guard


@pytest.fixture(scope='module')
def rows():
    return guard.measured()


@pytest.mark.slow
def test_a_step_costs_no_more_than_it_did(rows):
    """Ratios to what the libraries need, growth with the number of entities, memory and page: the best of some rounds."""
    found = guard.figures(rows)
    assert not guard.beyond(found), found


def grown(row, name, factor):
    """What a row would be, if one of the figures were so many times as large."""
    for stage in ('decode', 'judge', 'render'):
        if name.startswith(stage):
            row['floors'][stage]['best'] /= factor
    if name.startswith('an entity of') and row['entities'] == guard.LARGE:
        row['seconds']['own time']['best'] *= factor
    for start, where, key in (
        ('resident', row, 'bytes_an_entity'), ('bytes an entity at the peak', row, 'peak_bytes_an_entity'), ('bytes of memory', row, 'memory_bytes'),
    ):
        if name.startswith(start):
            where[key] *= factor
    if 'on the page' in name:
        row['exports']['all']['page_gzip_bytes' if 'compressed' in name else 'page_bytes'] *= factor


@pytest.mark.slow
@pytest.mark.parametrize('name', guard.BOUNDS)
def test_each_bound_is_broken_by_what_costs_three_times_as_much(rows, name):
    """That one, and no other."""
    worse = copy.deepcopy(rows)
    for row in (row for found in worse.values() for row in found):
        grown(row, name, 3)
    assert guard.beyond(guard.figures(worse)) == {name}
