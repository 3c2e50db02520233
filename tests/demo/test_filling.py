"""The demo's two volumes: the one that fills up is told of, the one that is rotated is not."""

import numpy as np

from promlstm.demo import volumes
from promlstm.demo.filling import Filling

START, HOUR = 1_772_532_000.0, 3600.0


def line(mountpoint, bound, seconds, instance='host-01:9100'):
    return f'promlstm_time_to_limit_seconds{{detector="disk_free",instance="{instance}",mountpoint="{mountpoint}",bound="{bound}"}} {seconds}\n'


def test_one_volume_fills_up_and_stays_full_the_other_comes_back():
    times = START + HOUR * np.arange(-48, 6)
    leaking, logs = (volumes.free(mountpoint, times, START) for mountpoint in volumes.VOLUMES)
    assert (np.diff(leaking[:51]) < 0).all() and (leaking[51:] == 0).all(), 'full three hours after the start'
    assert logs.min() > 0 and (np.diff(logs) > 0).sum() == 2, 'rotated twice in two days'
    assert (np.diff(logs)[np.diff(logs) < 0] < 0).all()


def test_what_is_forecast_is_told_once_with_what_was_said_first():
    said = [line('/data', 'middle', 10000) + line('/data', 'pessimistic', 9000) + line('/var/log', 'middle', '+Inf')]
    filling = Filling(lambda: said[0])
    assert [str(told) for told in filling.told(START)] == ['disk_free on host-01:9100 /data: full in 2h46m, at the earliest in 2h30m']
    said[0] = line('/data', 'middle', 60) + line('/data', 'pessimistic', 30)
    assert [told.middle for told in filling.told(START + 60)] == [10000]
    said[0] = ''
    assert len(filling.told(START + 120)) == 1
