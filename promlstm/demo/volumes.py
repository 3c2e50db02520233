"""Two volumes of the demo beside the fleet's: one that fills up in some hours, and one whose logs are rotated every night.

Who calls it: estate. Pure numpy; reads no clock, keeps no state.
"""

from collections.abc import Callable

import numpy as np

from promlstm.demo.fleet import DAY, GIB, Series, jitter
from promlstm.engine.columns import Floats

METRIC = 'node_filesystem_free_bytes'
HOST = 'host-01:9100'
FULL_SECONDS = 3 * 3600.0  # after the start, the leaking volume has no room left
LEAKED_A_DAY = 60 * GIB
LOGS, LOGGED_A_DAY = 40 * GIB, 36 * GIB


def _leaking(since: Floats, _time: Floats) -> Floats:
    return LEAKED_A_DAY * (FULL_SECONDS - since) / DAY


def _rotated(_since: Floats, time: Floats) -> Floats:
    return LOGS - LOGGED_A_DAY * (time % DAY) / DAY


VOLUMES: dict[str, Callable[[Floats, Floats], Floats]] = {'/data': _leaking, '/var/log': _rotated}


def series(host: str = HOST) -> tuple[Series, ...]:
    """What there is of them."""
    return tuple(Series(METRIC, {'instance': host, 'job': 'node', 'mountpoint': mountpoint}) for mountpoint in VOLUMES)


def free(mountpoint: str, times: Floats, start: float) -> Floats:
    """Free bytes of a volume at these times (unix seconds, [T]): float64 [T]; start: when the demo begins."""
    exact = VOLUMES[mountpoint](times - start, times)
    noise = 0.01 * GIB * jitter(sum(map(ord, mountpoint)), times, 60)
    left: Floats = np.maximum(exact + np.where(exact > 0, noise, 0), 0)
    return left
