"""What a control group leaves to the process, from the files of version 1 and 2, wherever the own group is."""

import math
import os

import pytest

from promlstm import limits

V2 = '30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw'
V1 = '33 31 0:30 {top} /sys/fs/cgroup/{name} rw,nosuid - cgroup cgroup rw,{name}'


def system(root, files, *, groups='0::/', mounts=V2):
    """A file system with the files of control groups below /sys/fs/cgroup, and what /proc says of this process."""
    described = {f'sys/fs/cgroup/{name}': text for name, text in files.items()}
    for name, text in (described | {'proc/self/cgroup': groups, 'proc/self/mountinfo': mounts}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + '\n')
    return root


@pytest.mark.parametrize(
    ('files', 'groups', 'mounts', 'expected'),
    [
        pytest.param({'cpu.max': '150000 100000', 'memory.max': '536870912'}, '0::/', V2, (1.5, 2**29), id='version 2 in a container'),
        pytest.param({'cpu.max': 'max 100000', 'memory.max': 'max'}, '0::/', V2, (math.inf, None), id='version 2 without a limit'),
        pytest.param(
            {'system.slice/promlstm.service/cpu.max': '100000 100000', 'system.slice/promlstm.service/memory.max': '1000'},
            '0::/system.slice/promlstm.service', V2, (1, 1000), id='systemd unit',
        ),
        pytest.param(
            {'a/b/c/cpu.max': '400000 100000', 'a/cpu.max': '200000 100000', 'a/b/memory.max': '7000', 'a/b/c/memory.max': 'max'},
            '0::/a/b/c', V2, (2, 7000), id='a group above has less',
        ),
        pytest.param(
            {'cpu/pod/cpu.cfs_quota_us': '50000', 'cpu/pod/cpu.cfs_period_us': '100000', 'memory/pod/memory.limit_in_bytes': '9000',
             'memory/memory.limit_in_bytes': '9223372036854771712'},
            '4:memory:/pod\n1:cpu:/pod', '\n'.join(V1.format(top='/', name=name) for name in ('cpu', 'memory')), (0.5, 9000), id='version 1',
        ),
        pytest.param(
            {'cpu/cpu.cfs_quota_us': '300000', 'cpu/cpu.cfs_period_us': '100000', 'memory/memory.limit_in_bytes': '8000'},
            '4:memory:/docker/abc\n1:cpu:/docker/abc', '\n'.join(V1.format(top='/docker/abc', name=name) for name in ('cpu', 'memory')),
            (3, 8000), id='version 1 in a container, named as the host names it',
        ),
        pytest.param({'memory/memory.limit_in_bytes': '9223372036854771712'}, '4:memory:/', V1.format(top='/', name='memory'), (math.inf, None),
                     id='version 1 without a limit of memory'),
        pytest.param({'cpu,cpuacct/cpu.cfs_quota_us': '-1', 'cpu,cpuacct/cpu.cfs_period_us': '100000'}, '1:cpu,cpuacct:/', '', (math.inf, None),
                     id='version 1 without a limit'),
        pytest.param({'cpu,cpuacct/cpu.cfs_quota_us': '100000', 'cpu,cpuacct/cpu.cfs_period_us': '100000'}, '', '', (1, None),
                     id='mounts that are not described'),
        pytest.param({'cpu.max': '200000 100000'}, '0::/../../outside', V2, (2, None), id='own group outside of the container'),
        pytest.param({'cpu.max': 'no number', 'memory.max': ''}, '0', 'x', (math.inf, None), id='nonsense'),
    ],
)  # fmt: skip
def test_the_smallest_limit_on_the_way_to_the_root_holds(tmp_path, files, groups, mounts, expected):
    """Version 1 and 2, in a container and in a unit of systemd, nested groups."""
    root = system(tmp_path, files, groups=groups, mounts=mounts)
    assert (limits.cpus(root), limits.memory_bytes(root)) == expected


@pytest.mark.parametrize(('quota', 'expected'), [('50000', 1), ('150000', 1), ('299999', 2), ('300000', 3), ('900000', 4), ('max', 4)])
def test_threads_never_exceed_the_quota(tmp_path, monkeypatch, quota, expected):
    """A part of a processor is none, but one thread there is; nor are there more than the process is bound to."""
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1, 2, 3}, raising=False)
    assert limits.threads(system(tmp_path, {'cpu.max': f'{quota} 100000'})) == expected


def test_without_control_groups_all_processors_count(tmp_path, monkeypatch):
    """A machine of another kind has no such files."""
    monkeypatch.setattr(os, 'cpu_count', lambda: 5)
    monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
    assert (limits.threads(tmp_path), limits.memory_bytes(tmp_path)) == (5, None)


def test_this_machine_is_read_without_an_error():
    """Whatever it has, there is a thread at least, and no more than the kernel counts."""
    assert 1 <= limits.threads() <= os.cpu_count()
    assert (limits.memory_bytes() or 1) > 0
