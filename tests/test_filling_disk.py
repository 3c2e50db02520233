"""A disk that really fills, and one that is rotated, all real: tmpfs, node_exporter, Prometheus with our rules, promlstm.

Both have lost room all day long. The one has been losing it for two days, the other is emptied each day, an hour and a half from now. A straight
line through the last hours says that both are full before the six hours of the alert are over. Their past is written into Prometheus, their present
is what node_exporter says of two mounted file systems. The exporter reads the default history, eight days: after two, the forecast does not trust
the rotation yet, and whether its pessimistic bound warns depends on the minute of the half-hour.
"""

import os
import subprocess
import threading
import time

import pytest
import servers
from exporter import Exporter
from paging import shortened
from requirements import absent

pytestmark = pytest.mark.real

MIB, DAY = 1 << 20, 86400.0
PAST, FALLING = 9 * DAY, 2 * DAY
SIZE = 64 * MIB
LEFT = {'fills': 2 * MIB, 'rotated': 5 * MIB}  # when the test begins
LOST_A_DAY = 30 * MIB
EMPTIED_IN = 5400.0
DETECTOR = {
    'name': 'disk', 'step': '5s', 'delay': '1s', 'direction': 'below',
    'forecast': {'horizons': ['5m', '1h', '6h', '1d'], 'limit': 0},
}  # fmt: skip
RULES = ('recording', 'forecast')


def mounted(path):
    """A tmpfs of SIZE. Who may mount none is told so: that is a matter of rights, and no program that could be fetched."""
    path.mkdir()
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={SIZE}', 'tmpfs', path], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f'no tmpfs can be mounted here: {done.stderr.strip()}')
    return path


class Writer(threading.Thread):
    """Fills a file system up to what is to be left, at once, then by LOST_A_DAY from `since` on, however busy the machine is."""

    def __init__(self, path, left):
        super().__init__(daemon=True)
        self.path, self.ended = path / 'log', threading.Event()
        free = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize
        self.path.write_bytes(b'x' * int(free - left))
        self.since = time.time()

    def run(self):
        written = 0
        while not self.ended.wait(1.0):
            due = int((time.time() - self.since) * LOST_A_DAY / DAY)
            self.write(due - written)
            written = due

    def write(self, size):
        """So many bytes more; a full disk takes as many as there is room for."""
        try:
            with self.path.open('ab') as file:
                file.write(b'x' * int(size))
        except OSError:
            self.ended.set()


def past(series, now):
    """OpenMetrics of PAST, a sample each minute, of {labels: free bytes so many seconds ago}."""
    yield '# TYPE node_filesystem_avail_bytes gauge\n'
    for labels, free in series.items():
        for at in range(int(now - PAST) // 60 * 60, int(now) - 30, 60):
            yield f'node_filesystem_avail_bytes{{{labels}}} {free(now - at):.0f} {at}\n'
    yield '# EOF\n'


def falling(ago):
    return LEFT['fills'] + LOST_A_DAY * min(ago, FALLING) / DAY


def rotated(ago):
    """Emptied 22 and a half hours ago, and each day before that."""
    return LEFT['rotated'] + LOST_A_DAY * ((ago + EMPTIED_IN) % DAY - EMPTIED_IN) / DAY


@pytest.fixture(scope='module')
def disks(tmp_path_factory):
    """(Prometheus, exporter, writer of the disk that fills, {name: mount point}), once both disks have a forecast."""
    if missing := [name for name in ('prometheus', 'prometheus-node-exporter', 'promtool') if not os.access(servers.TOOLS / name, os.X_OK)]:
        absent(f'no {", ".join(missing)} in .cache/tools/bin: make test fetches them (or .ci/install-tools)')
    directory, paths, writers = tmp_path_factory.mktemp('disks'), {}, []
    try:
        for name in LEFT:
            paths[name] = mounted(directory / name)
            writers.append(Writer(paths[name], LEFT[name]))
        free = f'node_filesystem_avail_bytes{{job="node",mountpoint=~"{"|".join(map(str, paths.values()))}"}}'
        with servers.NodeExporter(['--collector.disable-defaults', '--collector.filesystem']) as node:
            job = {'job_name': 'node', 'static_configs': [{'targets': [node.address], 'labels': {'instance': 'host'}}]}
            history, now = _history(node, paths), time.time()
            for writer in writers:
                writer.since = now
                writer.start()
            (directory / 'past.txt').write_text(''.join(past(history, now)))
            servers.backfill(directory / 'prometheus/data', directory / 'past.txt')
            for name in RULES:
                (directory / f'{name}.yml').write_text(shortened((servers.ROOT / f'rules/{name}.yml').read_text()))
            rules = [directory / f'{name}.yml' for name in RULES]
            with servers.Prometheus(directory / 'prometheus', [job], rules) as prometheus:
                prometheus.wait_for(f'count({free}) == 2')
                with Exporter(directory / 'promlstm', prometheus.url, [{**DETECTOR, 'expr': free}]) as exporter:
                    prometheus.scrape_configs.append(exporter.scrape_config())
                    prometheus.reload()
                    prometheus.wait_for('count(promlstm_time_to_limit_seconds) == 4', limit_seconds=180)
                    yield prometheus, exporter, writers[0], paths
    finally:
        for writer in writers:
            writer.ended.set()
        for path in paths.values():
            subprocess.run(['umount', '-l', path], check=False)


def _history(node, paths):
    """{labels as node_exporter and the scrape write them: free bytes of the past}."""
    page = servers.http.get(f'http://{node.address}/metrics', timeout=10).text
    lines = [line for line in page.splitlines() if line.startswith('node_filesystem_avail_bytes{')]
    found = {}
    for name, free in (('fills', falling), ('rotated', rotated)):
        (line,) = [line for line in lines if f'mountpoint="{paths[name]}"' in line]
        found[line.split('{')[1].split('}')[0] + ',instance="host",job="node"'] = free
    return found


def seconds(prometheus, path, bound='middle'):
    """The time to the limit of a disk."""
    (found,) = prometheus.query(f'promlstm_time_to_limit_seconds{{mountpoint="{path}",bound="{bound}"}}')
    return float(found['value'][1])


def test_the_disk_that_fills_is_told_of_and_the_rotated_one_is_not(disks):
    """It is full in about an hour and a half. The other one would be in four hours, if it were not emptied before."""
    prometheus, _, _, paths = disks
    alerts = prometheus.wait_for('ALERTS{alertname="PromlstmLimitNear",alertstate="firing"}', limit_seconds=120)
    assert {alert['metric']['mountpoint'] for alert in alerts} == {str(paths['fills'])}
    until_full = LEFT['fills'] / LOST_A_DAY * DAY
    assert until_full / 2 < seconds(prometheus, paths['fills']) < 2 * until_full
    assert seconds(prometheus, paths['rotated']) > 6 * 3600


def test_a_full_disk_is_0_seconds_away(disks):
    """Whoever fills it at once is told at the next forecast."""
    prometheus, _, writer, paths = disks
    writer.write(SIZE)
    prometheus.wait_for(f'promlstm_time_to_limit_seconds{{mountpoint="{paths["fills"]}",bound="middle"}} == 0', limit_seconds=180)
    prometheus.wait_for('ALERTS{alertname="PromlstmLimitNear",alertstate="firing",severity="critical"}', limit_seconds=60)
