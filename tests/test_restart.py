"""The real program, killed at any moment: it always starts again, and its scores are those of a process that was never killed.

An exporter that lives through the whole test writes a checkpoint; a second one goes on from a copy of it and is killed again and again (SIGKILL).
Both ask the same server, so whatever the restarts do to memory shows as a difference of their pages at the same step.
"""

import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import requests
from exporter import Exporter
from servers import wait_until

from promlstm.demo.source import Source

ENTITIES = 1000
STEP = 5
DETECTORS = [{'name': 'load', 'expr': 'load', 'step': f'{STEP}s', 'delay': '1s', 'history': '1d'}]


@dataclass
class Series:
    """What the source serves."""

    metric: str
    labels: dict


class Noise:
    """A daily rhythm with noise for each entity that depends on the instant alone; some rise for good at a known time, one is new then."""

    def __init__(self, struck):
        self.struck = struck
        self.series = tuple(Series('load', {'instance': f'i{i}'}) for i in range(ENTITIES))
        self._phase = np.arange(ENTITIES) / 7

    def values(self, times):
        """float64 [T, ENTITIES]."""
        times = np.asarray(times, float)[:, None]
        noise = np.sin(times * (1.7 + self._phase % 3)) + np.cos(times * (0.9 + self._phase % 5))
        values = 10 + np.sin(2 * np.pi * times / 86400 + self._phase) + 0.1 * noise
        values[:, :10] += 5.0 * (times >= self.struck)
        values[:, 10] = np.where(times[:, 0] >= self.struck, values[:, 10], np.nan)
        values[:, 11] = np.where(np.round(times[:, 0]) % 7 < 2, np.nan, values[:, 11])
        return values

    def value(self, i, times):
        """float64 [T]."""
        return self.values(times)[:, i]


def gauges(exporter):
    """(the step that the page is of, its lines about entities) as a scrape gets them; (None, '') where it has none."""
    page = requests.get(exporter.url + '/metrics', timeout=10).text
    step = re.search(r'^promlstm_detector_last_step_timestamp_seconds{detector="load"} (\S+)$', page, re.MULTILINE)
    lines = [line for line in page.splitlines() if line.startswith('promlstm_') and 'instance="' in line]
    return (float(step[1]), lines) if step and lines else (None, [])


def same_step(one, other):
    """The lines of two exporters at one step."""

    def look():
        (first, ours), (second, theirs) = gauges(one), gauges(other)
        return (ours, theirs) if first == second is not None else None

    return wait_until(look, 120, 'both pages to be of one step')


def metric(exporter, name):
    """The value of one of the exporter's own metrics, None = it is not on the page."""
    found = re.search(rf'^{name}{{detector="load"}} (\S+)$', requests.get(exporter.url + '/metrics', timeout=10).text, re.MULTILINE)
    return found and float(found[1])


def kill_some_time(exporter, folder, rng):
    """Start it and kill it: while it starts, in the middle of a write, or somewhere between two steps; which one it was."""
    (draft,) = [path.with_name(path.name + '.draft') for path in folder.glob('load-*.checkpoint')]
    kind = rng.choice(['start', 'write', 'step'], p=[0.35, 0.4, 0.25])
    if kind == 'start':
        exporter.ready = lambda: True
        exporter.start()
        time.sleep(rng.uniform(0, 3))  # any moment of a start is meant
    else:
        exporter.ready = lambda: gauges(exporter)[0] is not None
        if kind == 'step':
            exporter.start()
            time.sleep(rng.uniform(0, STEP))
        else:
            exporter.ready = lambda: True
            exporter.start()
            wait_for_draft(draft, 30)
            time.sleep(rng.uniform(0, 0.004))
    exporter.kill()
    return str(kind), draft.exists()


def wait_for_draft(draft, limit_seconds):
    """Wait for a file that is there for milliseconds."""
    deadline = time.monotonic() + limit_seconds
    while not draft.exists() and time.monotonic() < deadline:
        time.sleep(0.0002)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_any_moment_it_starts_again_with_the_scores_of_one_that_lived(tmp_path, accept):
    """Dozens of times, hundreds at full length: no start is broken, none begins from history, no score differs, no alarm loses its start."""
    rng, kills = np.random.default_rng(13), 240 if accept else 24
    told = []
    with Source(Noise(time.time() + 40), time.time) as source:
        folders = {name: tmp_path / name / 'storage' for name in ('lived', 'killed')}
        flags = {name: (f'--storage.path={folder}', '--storage.checkpoint-interval=200ms') for name, folder in folders.items()}
        with Exporter(tmp_path / 'lived', source.url, DETECTORS, *flags['lived']) as lived:
            wait_until(lambda: list(folders['lived'].glob('load-*.checkpoint')), 120, 'the first checkpoint')
            shutil.copytree(folders['lived'], folders['killed'], ignore=shutil.ignore_patterns('*.draft', '.lock'))
            killed = Exporter(tmp_path / 'killed', source.url, DETECTORS, *flags['killed'])
            ready = killed.ready
            for number in range(1, kills + 1):
                told.append(kill_some_time(killed, folders['killed'], rng))
                if number % (kills // 3) == 0:
                    killed.ready = ready
                    with killed:
                        ours, theirs = same_step(killed, lived)
                        assert ours == theirs
                        assert metric(killed, 'promlstm_detector_restored') == 1
                        assert metric(killed, 'promlstm_checkpoint_failures_total') == 0
            starts = [line for line in theirs if line.startswith('promlstm_anomaly_start_timestamp_seconds')]
            assert len(starts) >= 10 and metric(lived, 'promlstm_detector_missed_steps_total') == 0
    middle = sum(left for kind, left in told if kind == 'write')
    print(f'killed {len(told)} times: {[kind for kind, _ in told].count("write")} at a write, {middle} of them in the middle of one')
    assert middle >= 3
    log = killed.log.read_text()
    assert 'not used' not in log and 'level=error' not in log and 'Traceback' not in log
    assert log.count('memory restored from its checkpoint') >= kills // 3
    assert len(list(folders['killed'].iterdir())) == 3  # the lock, and the files of the detector and of the incidents


@pytest.mark.slow
def test_a_stop_writes_what_the_next_start_goes_on_from(tmp_path):
    """SIGTERM: the checkpoint is of the last step, status 0; the next start asks for nothing that the process before had."""
    with Source(Noise(np.inf), time.time) as source:
        flags = (f'--storage.path={tmp_path / "storage"}', '--storage.checkpoint-interval=1h')
        exporter = Exporter(tmp_path / 'run', source.url, DETECTORS, *flags)
        with exporter:
            wait_until(lambda: gauges(exporter)[0], 120, 'scores')
            first = gauges(exporter)[0]
            last = wait_until(lambda: (gauges(exporter)[0] or 0) > first and gauges(exporter)[0], 60, 'another step')
            assert exporter.stop() == 0
        source.asked.clear()
        with exporter:
            wait_until(lambda: gauges(exporter)[0], 120, 'scores')
            assert metric(exporter, 'promlstm_detector_restored') == 1
        spans = [float(asked.form['start']) for asked in source.asked if asked.path.endswith('query_range')]
        assert all(start >= last - 1 - STEP - 0.01 for start in spans)  # a step more is asked for, before the first


@pytest.mark.slow
def test_a_folder_that_is_read_only_costs_nothing_but_the_memory(tmp_path):
    """Read-only for root too: the file system of processes. It scores, counts the failures, and says why."""
    with Source(Noise(np.inf), time.time) as source, Exporter(tmp_path, source.url, DETECTORS, '--storage.path=/proc/promlstm') as exporter:
        wait_until(lambda: gauges(exporter)[0], 120, 'scores')
        wait_until(lambda: metric(exporter, 'promlstm_checkpoint_failures_total'), 60, 'a failure')
        assert metric(exporter, 'promlstm_detector_up') == 1 and metric(exporter, 'promlstm_detector_restored') == 0
    log = exporter.log.read_text()
    assert 'storage folder cannot be used, memory is not kept' in log and 'checkpoints were' not in log, 'at the stop there is nothing more to say'


@pytest.mark.slow
def test_flags_of_storage_that_mean_nothing_are_refused():
    """An interval without a folder, or one that is none."""
    for flags, message in (
        (['--storage.checkpoint-interval=5m'], '--storage.checkpoint-interval is for --storage.path only'),
        (['--storage.path=x', '--storage.checkpoint-interval=0s'], 'expected more than 0'),
        (['--storage.path=x', '--storage.checkpoint-interval=often'], 'expected a duration such as'),
    ):
        done = subprocess.run([sys.executable, '-m', 'promlstm', 'run', *flags], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and message in done.stderr
