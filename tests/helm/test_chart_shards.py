"""Shards in the chart: as many pods as there are parts and replicas of them, each with the part that its name gives, and none left out."""

import pytest
from chart import WORKLOADS, config_of, objects, template_of

from promlstm import __main__ as program
from promlstm import arguments
from promlstm import config as configuration
from promlstm.live.shards import Shard, part

pytestmark = pytest.mark.usefixtures('helms')

COMMANDS = {
    name: getattr(program, name.replace('-', '_'))
    for name in ('run', 'demo', 'presets', 'check-config', 'check-web-config', 'check-model', 'backtest')
}


def workload(text):
    """The StatefulSet."""
    (found,) = [each for each in objects(text) if each['kind'] in WORKLOADS]
    assert found['kind'] == 'StatefulSet'
    return found


def shards_of(found):
    """The Shard of each pod, by the flags of its container and its name."""
    (container,) = template_of(found)['spec']['containers']
    (name,) = [each for each in container['env'] if each['name'] == 'POD_NAME']
    assert name['valueFrom']['fieldRef']['fieldPath'] == 'metadata.name'
    args = arguments.parse(container['args'], COMMANDS)
    names = [f'{found["metadata"]["name"]}-{ordinal}' for ordinal in range(found['spec']['replicas'])]
    return [Shard.parse(args.shard, args.shard_replicas, args.shard_previous, {'POD_NAME': pod}) for pod in names]


def test_every_pod_has_its_part(rendered):
    """Three shards of two replicas: six pods, each with memory of its own; together they have every detector, the divided one in three parts."""
    text = rendered['helm4', 'shards']
    found = workload(text)
    shards = shards_of(found)
    assert [shard.number for shard in shards] == [0, 0, 1, 1, 2, 2]
    config = configuration.parse(config_of(text))
    names = [detector.name for shard in shards[::2] for detector in part(config, shard).detectors]
    assert names.count('pods') == 3 and sorted({*names}) == sorted(detector.name for detector in config.detectors)
    assert len(names) == len(config.detectors) + 2
    assert found['spec']['podManagementPolicy'] == 'Parallel' and found['spec']['volumeClaimTemplates'][0]['metadata']['name'] == 'storage'
    assert template_of(found)['spec']['topologySpreadConstraints'][0]['topologyKey'] == 'kubernetes.io/hostname'


def test_while_there_are_fewer_the_last_pod_stays(rendered):
    """It keeps its part, and those that stay have theirs of both numbers."""
    found = workload(rendered['helm4', 'fewer-shards'])
    assert shards_of(found) == [Shard(0, 2, 3), Shard(1, 2, 3), Shard(2, 2, 3)]
    assert 'volumeClaimTemplates' not in found['spec']
    assert {'name': 'storage', 'emptyDir': {}} in template_of(found)['spec']['volumes']
