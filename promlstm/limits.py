"""What a control group leaves to this process: processors and memory. Containers, Kubernetes and systemd set both that way.

Who calls it: session (how many threads), check (whether the entities fit), http (default of `max_response`). It reads files below a root
that is a parameter, and nothing else.

    version 2   cpu.max, memory.max                                            (Linux: Documentation/admin-guide/cgroup-v2.rst)
    version 1   cpu.cfs_quota_us with cpu.cfs_period_us, memory.limit_in_bytes  (cgroup-v1/cpusets, scheduler/sched-bwc.rst, memory.rst)

A group is limited by all groups above it, so the smallest limit on the way to the root holds. /proc/self/cgroup names the own group, and
/proc/self/mountinfo where the hierarchies are mounted; a container often sees its own group as the root.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

UNLIMITED_BYTES = 2**60  # version 1 writes no limit as a number near 2^63
# Where distributions mount the hierarchies, for a container whose mountinfo does not say.
USUAL_MOUNTS = tuple(Path('/sys/fs/cgroup', name) for name in ('', 'cpu', 'cpu,cpuacct', 'memory', 'unified'))


def threads(root: Path = Path('/')) -> int:
    """How many threads can run at once: the processors that this process is bound to, and no more than the quota pays for; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return max(1, math.floor(min(cores, cpus(root))))


def cpus(root: Path = Path('/')) -> float:
    """Processors that the control group may use, such as 1.5; infinite where there is no limit."""
    return min((quota for folder in _groups(root) for quota in _cpu_quotas(folder)), default=math.inf)


def memory_bytes(root: Path = Path('/')) -> int | None:
    """Memory that the control group may use, in bytes; None where there is no limit."""
    found = [_number(folder / name) for folder in _groups(root) for name in ('memory.max', 'memory.limit_in_bytes')]
    return min((int(limit) for limit in found if limit and 0 < limit < UNLIMITED_BYTES), default=None)


def _cpu_quotas(folder: Path) -> Iterator[float]:
    quota, _, period = _text(folder / 'cpu.max').partition(' ')
    if quota.isdigit() and period.isdigit() and int(period):
        yield int(quota) / int(period)
    old_quota, old_period = _number(folder / 'cpu.cfs_quota_us'), _number(folder / 'cpu.cfs_period_us')
    if old_quota and old_period and old_quota > 0:  # -1: no limit
        yield old_quota / old_period


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the own group and of all above it, in every hierarchy that is mounted."""
    own = {line.split(':', 2)[2] for line in _text(root / 'proc/self/cgroup').splitlines() if line.count(':') >= 2}
    for mount, top in _mounts(root):
        for path in {top, *own}:
            group = _below(path, top)
            yield from (mount / folder for folder in (group, *group.parents))


def _below(path: str, top: str) -> PurePosixPath:
    """Where a group lies below the top of a mount; the top itself where the group is outside of what this container sees."""
    try:
        group = PurePosixPath(path).relative_to(top)
    except ValueError:
        return PurePosixPath()
    return PurePosixPath() if '..' in group.parts else group


def _mounts(root: Path) -> list[tuple[Path, str]]:
    """(where a hierarchy is mounted, which of its groups is the top there)."""
    found = {(root / mount.relative_to('/'), '/') for mount in USUAL_MOUNTS}
    for line in _text(root / 'proc/self/mountinfo').splitlines():
        mounted, _, described = line.partition(' - ')
        fields = mounted.split(' ')
        if described.startswith(('cgroup ', 'cgroup2 ')) and len(fields) > 4:
            found.add((root / fields[4].lstrip('/'), fields[3]))
    return sorted(found)


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:  # "max", or nothing
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace').strip()
    except OSError:
        return ''
