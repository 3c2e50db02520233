"""The part of a configuration that one of several processes runs."""

import pytest

from promlstm import config as configuration
from promlstm.config import Budget
from promlstm.errors import ConfigError
from promlstm.live.shards import Shard, ordinal, parsed, part
from promlstm.live.storage import settings
from promlstm.query.selector import matches, selector

PODS = ['', 'web-1', 'web-2', 'web-x7k9p', 'Ü', *(f'10.0.0.{number}:9100' for number in range(60))]
WHOLE = [{'name': f'd{number}', 'expr': 'up'} for number in range(40)]
DIVIDED = {'name': 'pods', 'expr': 'level{job="a", $shard}', 'split_by': 'pod', 'false_alarms': '6/day in all'}


def configured(*detectors):
    return configuration.parse(str({'prometheus': {'url': 'http://localhost:9090'}, 'detectors': list(detectors)}))


def scored(config, shard):
    """What a shard scores: names of whole detectors, and pods of the divided one."""
    found = set()
    for detector in part(config, shard).detectors:
        if detector.name == 'pods':
            (expr,) = detector.queries.values()
            found |= {pod for pod in PODS if matches(selector(expr), {'__name__': 'level', 'job': 'a', 'pod': pod})}
        else:
            found.add(detector.name)
    return found


EVERYTHING = {*PODS, *(one['name'] for one in WHOLE)}


@pytest.mark.parametrize('shards', [1, 2, 5, 8])
def test_all_shards_together_have_everything_once(shards):
    """Whole detectors and parts."""
    found = [each for number in range(shards) for each in scored(configured(*WHOLE, DIVIDED), Shard(number, shards))]
    assert sorted(found) == sorted(EVERYTHING)


def test_a_further_shard_takes_from_the_others():
    """What stays where it was is nearly everything else."""
    config = configured(*WHOLE, DIVIDED)
    before, after = ([scored(config, Shard(number, shards)) for number in range(shards)] for shards in (5, 6))
    assert all(after[number] <= before[number] for number in range(5))
    assert set.union(*before) - set.union(*after[:5]) == after[5] != set()


@pytest.mark.parametrize(('few', 'many'), [(1, 2), (5, 6), (2, 5)])
def test_while_there_are_fewer_soon_nothing_is_without_a_home(few, many):
    """With --shard.previous: those that stay have both parts before those that go are gone, and nobody else's."""
    config = configured(*WHOLE, DIVIDED)
    for number in range(many):
        both = scored(config, Shard(number, few, previous=many))
        assert both == scored(config, Shard(number, few)) | scored(config, Shard(number, many))
    assert set.union(*(scored(config, Shard(number, few, previous=many)) for number in range(few))) == EVERYTHING


def test_a_process_beyond_the_number_has_nothing():
    """A pod that a StatefulSet has too many."""
    assert scored(configured(*WHOLE, DIVIDED), Shard(5, 5)) == set()
    assert part(configured(DIVIDED), Shard(5, 5)).detectors == ()


def test_memory_of_another_part_is_not_used():
    """It lacks entities that came, and has others that are no longer here: those would be missing."""
    config = configured(DIVIDED)
    texts = [settings(each.detectors[0], each.prometheus)['expr'] for each in (part(config, Shard(0, shards)) for shards in (1, 2, 3, 3))]
    assert len(set(texts)) == 3 and texts[2] == texts[3]


def test_a_detector_that_cannot_be_divided_goes_to_one_shard():
    """Its split_by has no place."""
    config = configured({'name': 'pods', 'expr': 'up', 'split_by': 'pod'})
    assert sum(len(part(config, Shard(number, 3)).detectors) for number in range(3)) == 1


def test_a_budget_in_all_is_divided():
    """Each shard has about as many entities; that of each entity stays."""
    config = part(configured(DIVIDED, {**DIVIDED, 'name': 'b', 'false_alarms': '1/week each'}), Shard(1, 4))
    one, other = (detector.false_alarms for detector in config.detectors)
    assert 4 * one.per_entity_week(10) == pytest.approx(Budget('6/day in all').per_entity_week(10))
    assert other == '1/week each'


@pytest.mark.parametrize(('names', 'number'), [({'POD_NAME': 'a-3', 'HOSTNAME': 'b-4'}, 3), ({'HOSTNAME': 'promlstm-0'}, 0), ({'POD_NAME': 'a-b-12'}, 12)])
def test_the_ordinal_stands_at_the_end_of_the_pods_name(names, number):
    """POD_NAME before HOSTNAME."""
    assert ordinal(names) == number


@pytest.mark.parametrize('name', ['promlstm-7d4f9-x2k', 'promlstm', '7', 'a-'])
def test_a_name_without_an_ordinal_is_told(name):
    """With the name and what to do."""
    with pytest.raises(ConfigError, match=f'{name} does not end in a number.*StatefulSet.*--shard=0/5'):
        Shard.parse('auto/5', environment={'HOSTNAME': name})


def test_replicas_of_a_shard_keep_their_number_when_there_are_more():
    """Neighbours have the same part; those that are added have the new one."""
    for shards in (5, 6):
        numbers = [Shard.parse(f'auto/{shards}', replicas=2, environment={'POD_NAME': f'p-{ordinal}'}).number for ordinal in range(10)]
        assert numbers == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize('text', ['5/5', '1', '-1/5', '0/0', 'auto', 'auto/', '1/5/2', ' 1/5', '1/1001', '٣/5', '0/5\n'])
def test_what_names_no_shard_is_refused(text):
    """Numbers begin with 0."""
    with pytest.raises(ValueError, match='expected NUMBER/SHARDS'):
        parsed(text)
