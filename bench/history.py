"""A complete start from history in a real Prometheus: seconds until the first score, CPU time of both, queries, peak memory.

A Prometheus of `.ci/install-tools` is filled by remote write: a sample every half hour of the week before, from which a start takes what is usual at
each time, and one a minute of the last hours, which it replays. Then `promlstm run` is started as a user would. Both run on this machine, so each
has the other's work beside its own: CPU time says what either needs.
"""

import contextlib
import os
import re
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import requests
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'tests/support')]

import servers  # noqa: E402

from bench import arguments, machine  # noqa: E402
from promlstm.engine.session import load, resolve  # noqa: E402

STEP, SLOT, WEEK = 60, 1800, 8 * 86400
GROUP, SAMPLES_AT_ONCE = 5_000, 300_000  # series and samples of one request that writes
PATIENCE_SECONDS = 3600
METRIC, SERIES, MODEL = 'level', 100_000, 'builtin:default'


def add_options(parser):
    """Add the options of `main`."""
    parser.add_argument('--series', metavar='N', type=arguments.at_least(1), default=SERIES, help='series in Prometheus, each an entity (default %(default)s)')
    parser.add_argument('--model', metavar='MODEL', default=MODEL, help=arguments.MODEL)
    parser.add_argument('--plain', action='store_true', help='use `enable_compression: false`')


def main(series=SERIES, model=MODEL, plain=False):
    """Fill, start, print; returns the figures."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ('--web.enable-remote-write-receiver', '--storage.tsdb.min-block-duration=20d', '--query.max-samples=200000000')
        with servers.Prometheus(folder, scrape_configs=[], args=flags) as prometheus:
            steps = load(resolve(model), prove=False).bundle.manifest.steps_of_replay(STEP, series)
            began = time.monotonic()
            samples = _fill(prometheus.url, series, steps)
            print(f'  {series} series, {steps} steps are replayed; {samples} samples written in {time.monotonic() - began:.0f} s', flush=True)
            return {'series': series, 'model': model, 'plain': plain} | _start(Path(folder), prometheus, model, plain=plain)


def _fill(url, series, steps):
    """Write the samples that a start queries, up to the present and a little beyond; returns their number."""
    now = int(time.time()) // STEP * STEP
    recent = now - (steps + 15) * STEP
    coarse = np.arange((recent - WEEK) // SLOT * SLOT - STEP, recent, SLOT)
    fine = np.arange(recent, now + 30 * STEP, STEP)
    times = np.concatenate([coarse, fine])
    at_once = max(1, SAMPLES_AT_ONCE // GROUP)
    writers = [Writer(range(first, min(first + GROUP, series))) for first in range(0, series, GROUP)]
    for first in range(0, len(times), at_once):
        for writer in writers:
            writer.send(url, times[first : first + at_once])
    return series * len(times)


class Writer:
    """Remote write of some series of the fleet: all messages have the same length, so only the numbers in it are replaced."""

    def __init__(self, numbers):
        self._numbers = np.array(numbers)
        self._labels = [_labels(f'10.{n >> 16:03}.{n >> 8 & 255:03}.{n & 255:03}:9100', f'team-{n % 50:02}', f'service-{n % 500:03}-{n:06x}') for n in numbers]

    def send(self, url, times):
        """A sample of each series at each of these times (unix seconds)."""
        samples = np.zeros((len(self._labels), len(times)), np.dtype([('head', 'V3'), ('value', '<f8'), ('key', 'u1'), ('time', 'u1', 6)]))
        samples['head'], samples['key'] = np.void(b'\x12\x10\x09'), 0x10
        noise = np.random.default_rng(int(times[0])).normal(size=samples.shape)
        samples['value'] = np.round(100 + self._numbers[:, None] % 7 + 10 * np.sin(2 * np.pi * times / 86400) + noise, 3)
        samples['time'] = np.array([list(_varint(1000 * int(each))) for each in times], np.uint8)
        size = len(self._labels[0]) + samples[0].nbytes
        head = np.frombuffer(b'\x0a' + _varint(size), np.uint8)
        rows = [np.tile(head, (len(samples), 1)), np.frombuffer(b''.join(self._labels), np.uint8).reshape(len(samples), -1)]
        message = np.hstack([*rows, samples.view(np.uint8).reshape(len(samples), -1)]).tobytes()
        headers = {'Content-Encoding': 'snappy', 'X-Prometheus-Remote-Write-Version': '0.1.0'}
        requests.post(url + '/api/v1/write', _snappy(message), headers=headers, timeout=600).raise_for_status()


def _labels(instance, namespace, pod):
    pairs = {'__name__': METRIC, 'instance': instance, 'job': 'node', 'namespace': namespace, 'pod': pod, 'zone': 'eu'}
    return b''.join(b'\x0a' + _sized(b'\x0a' + _sized(name.encode()) + b'\x12' + _sized(value.encode())) for name, value in pairs.items())


def _sized(text):
    return _varint(len(text)) + text


def _varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _snappy(message):
    """A snappy block with one literal, without compression."""
    return _varint(len(message)) + b'\xfc' + struct.pack('<I', len(message) - 1) + message


def _start(folder, prometheus, model, *, plain):
    """Start the program, wait for scores, print; returns the figures."""
    port = servers.free_port()
    source = {'url': prometheus.url, 'enable_compression': not plain}
    tree = {'prometheus': source, 'detectors': [{'name': 'bench', 'expr': METRIC, 'model': model}]}
    (folder / 'promlstm.yml').write_text(yaml.safe_dump(tree))
    flags = ('run', f'--config.file={folder / "promlstm.yml"}', f'--web.listen-address=127.0.0.1:{port}')
    used, asked = _cpu(prometheus.child.pid), _asked(prometheus.url)
    began = time.monotonic()
    url = f'http://127.0.0.1:{port}/metrics'
    with servers.Process(servers.promlstm(*flags), lambda: _scored(url), log=folder / 'promlstm.log', limit_seconds=PATIENCE_SECONDS) as exporter:
        took = time.monotonic() - began
        pid = exporter.child.pid
        own, theirs, peak = _cpu(pid), _cpu(prometheus.child.pid) - used, machine.peak_bytes(pid)
    asked = _asked(prometheus.url) - asked
    print(
        f'  first score after {took:.1f} s; CPU time {own:.1f} s, of Prometheus {theirs:.1f} s; {peak / 1e6:.0f} MB at the peak; '
        f'{asked} requests for ranges', flush=True,
    )  # fmt: skip
    return {'first_score_seconds': took, 'cpu_seconds': own, 'prometheus_cpu_seconds': theirs, 'peak_bytes': peak, 'range_requests': asked}


def _asked(url):
    """The number of range queries that a Prometheus has answered."""
    text = requests.get(url + '/metrics', timeout=30).text
    found = re.search(r'^prometheus_http_requests_total\{code="200",handler="/api/v1/query_range"\} (\S+)$', text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def _scored(url):
    with contextlib.suppress(requests.RequestException):
        return 'promlstm_anomaly_score{' in requests.get(url, timeout=30).text
    return False


def _cpu(pid):
    """CPU time of a process, seconds."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
