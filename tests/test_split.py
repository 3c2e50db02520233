"""The parts of a detector: together they are everything, none overlaps another, and a further shard moves its own share only."""

import json
import re
import string
from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import ROOT

from promlstm import split
from promlstm.query.selector import selector

SHARDS = (1, 2, 5, 6, 7, 12)
UNTIL = (':', '', ':.', ']^-\\"')
ODD = [
    '',
    ':',
    ':9100',
    'a:',
    '7',
    'node-7',
    '10.0.3.27:9100',
    '[fe80::1]:9100',
    'Zürich',
    'straße-ß',
    '٣',
    'a\n',
    '\nb',
    'a\nb1',
    ' ',
    'x\u2028y',
    'é7',
    '-',
    'A:b:c',
]


@cache
def parts(name, shards, until):
    """The matchers of all shards, as the reader of selectors has them; one shard has none, and everything."""
    owners = split.owners(name, shards)
    if shards == 1:
        assert split.matcher('pod', owners, until=until) == ''
        return [lambda value: True]
    written = [split.matcher('pod', [each for each, owner in owners.items() if owner == shard], until=until) for shard in range(shards)]
    return [next(each for each in selector('up{' + one + '}') if each.label == 'pod') for one in written]


def check(value, name, shards, until):
    """A value is in one part, the one that `owners` says."""
    found = [shard for shard, matcher in enumerate(parts(name, shards, until)) if matcher(value)]
    assert found == [split.owners(name, shards)[split.class_of(value, until=until)]], (value, found)


@pytest.mark.parametrize('until', UNTIL)
@pytest.mark.parametrize('shards', SHARDS)
def test_odd_values_have_one_part_each(shards, until):
    """Without the label, empty, of other alphabets, of several lines, addresses, lone characters."""
    for value in ODD + [first + last for first in ('', '-', 'a', '5', 'Q', ':') for last in string.printable]:
        check(value, 'pods', shards, until)


@given(st.text(max_size=12), st.sampled_from(['', 'pods', 'ü']), st.sampled_from(SHARDS), st.sampled_from(UNTIL))
@settings(max_examples=150, deadline=None)
def test_every_value_has_one_part(value, name, shards, until):
    """Whatever the text of the label and the name of the detector."""
    check(value, name, shards, until)


@given(st.text(max_size=8), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_one_shard_more_moves_its_own_share_only(name, shards):
    """Of classes, of all that has none, and of whole detectors."""
    before, after = split.owners(name, shards), split.owners(name, shards + 1)
    moved = [each for each in before if before[each] != after[each]]
    assert {after[each] for each in moved} <= {shards}
    assert len(moved) <= 1.6 * len(before) / (shards + 1)
    assert split.highest(name, shards + 1) in (split.highest(name, shards), shards)


def test_whole_detectors_are_spread():
    """Of many names each of five shards has about a fifth, and a sixth takes about a sixth."""
    names = [f'detector {number}' for number in range(2000)]
    counts = Counter(split.highest(name, 5) for name in names)
    assert set(counts) == set(range(5)) and max(counts.values()) < 1.15 * len(names) / 5
    moved = sum(split.highest(name, 5) != split.highest(name, 6) for name in names)
    assert 0.85 < moved / (len(names) / 6) < 1.15


@pytest.mark.parametrize(
    ('values', 'most'),
    [
        ([f'node-{number}' for number in range(5000)], 1.01),
        ([f'10.0.{number // 250}.{number % 250}:9100' for number in range(5000)], 1.01),
        ([f'{number * 2654435761 % 2**32:08x}' for number in range(5000)], 1.4),
        ([f'web-{a}{b}' for a in 'bcdfghjklmnpqrstvwxz2456789' for b in 'bcdfghjklmnpqrstvwxz2456789'], 1.2),
    ],
    ids=['numbers', 'addresses', 'hexadecimal', 'pods'],
)
def test_what_people_have_is_divided_evenly(values, most):
    """The largest of five parts, as a multiple of a fifth."""
    for name in ('pods', 'node_cpu', 'x'):
        owners = split.owners(name, 5)
        counts = Counter(owners[split.class_of(value)] for value in values)
        assert len(counts) == 5 and max(counts.values()) <= most * len(values) / 5


def test_the_division_stays_as_it_is():
    """Shards of two versions agree while a new one is rolled out: no change of the code may move what is written down here."""
    found = {
        f'{name}/{shards}': ''.join(f'{owner:x}' for owner in split.owners(name, shards).values())
        for name in ('pods', '')
        for shards in (3, 8)
    }
    assert found == json.loads((ROOT / 'tests/golden/split.json').read_text())


def test_placeholders_in_text_and_comments_stay():
    """Only in a selector it is a place."""
    expr = 'up{job="$shard", pod!="{$shard}", $shard} # {$shard}\n + up{$shard, a=`$shard`} + {__name__="up",$shard_name=""}'
    put = split.put(expr, 'X')
    assert put == 'up{job="$shard", pod!="{$shard}", X} # {$shard}\n + up{X, a=`$shard`} + {__name__="up",$shard_name=""}'


def test_labels_of_any_name_can_divide():
    """Prometheus 3 has labels that are no identifiers."""
    assert selector('up{' + split.matcher('k8s.pod "a"', [(0, 'a')]) + '}')[1].label == 'k8s.pod "a"'


@pytest.mark.parametrize('shards', SHARDS)
def test_the_expressions_are_short(shards):
    """A server evaluates them on every value, and they stand in its query log."""
    for part in parts('pods', shards, ':') if shards > 1 else ():
        assert len(part.value) < (100 if shards <= split.COARSE else 320)
        assert re.compile(part.value)
