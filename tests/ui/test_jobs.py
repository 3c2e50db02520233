"""A comparison in a child process: one at a time, within its limits, and never longer than its job or the exporter."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from servers import ROOT, wait_until

from promlstm.demo.fleet import Fleet
from promlstm.demo.source import Source
from promlstm.ui.jobs import Busy, Jobs, NoRoom
from promlstm.ui.rerun import Order

LIMIT = 90  # seconds, of every wait
CONFIG = 'prometheus: {{url: "{}"}}\ndetectors: [{{name: d, expr: node_cpu_busy_ratio, model: builtin:forecaster, history: 0s, min_deviation: {}}}]'


def order(url, hours=0.5):
    """What Jobs.begin asks for: an Order with its limits."""
    now = time.time()
    return lambda most, memory, seconds: Order(CONFIG.format(url, 0), CONFIG.format(url, 1), '.', now - hours * 3600, now, most, memory, seconds)


@pytest.fixture
def fleet():
    """A source of samples of two hosts."""
    with Source(Fleet(1, time.time() - 7200, hosts=2), time.time) as source:
        yield source.url


@pytest.fixture
def silent():
    """The URL of a server that takes connections, and never says a word."""
    with closing(socket.create_server(('127.0.0.1', 0))) as listening:
        yield f'http://127.0.0.1:{listening.getsockname()[1]}'


@pytest.fixture
def kept():
    """Makes Jobs that are stopped at the end."""
    made = []

    def make(**settings):
        made.append(Jobs(**settings))
        return made[-1]

    yield make
    for jobs in made:
        jobs.stop()


def over(job):
    wait_until(lambda: not job.runs, LIMIT, 'the end of a job')
    return job


def process(jobs):
    return jobs._running[1].process


def gone(pid):
    """Whether a process has ended, and is no zombie either."""
    return not Path(f'/proc/{pid}').exists()


def test_a_job_is_done_and_kept(fleet, kept):
    jobs = kept()
    job = jobs.begin(order(fleet), 'me', {'detector': 'd'})
    assert over(job).state == 'done', job.problem
    assert job.outcome.entities == 2 and job.outcome.before.judged_entity_weeks > 0 and job.ended >= job.began
    assert jobs.find(job.id) is job and jobs.running is None


def test_one_at_a_time(silent, kept):
    """The second is told whose the first is; when that is cancelled its process ends and there is room."""
    jobs = kept()
    job = jobs.begin(order(silent), 'alice', {})
    child = process(jobs)
    with pytest.raises(Busy) as busy:
        jobs.begin(order(silent), 'bob', {})
    assert busy.value.job is job and jobs.running.who == 'alice'
    assert not jobs.cancel('another') and jobs.cancel(job.id)
    assert over(job).state == 'cancelled' and gone(child.pid)
    assert not jobs.cancel(job.id)
    assert jobs.begin(order(silent), 'bob', {}).runs


def test_time_is_limited(silent, kept):
    job = kept(seconds=1.0).begin(order(silent), 'me', {})
    assert over(job).state == 'failed' and job.problem == 'it took longer than 1s: choose a shorter span'


def test_memory_is_limited(kept):
    """Two thousand hosts do not fit. The child says so, or a library in it crashes where it gets none; this process goes on, and says what the child had."""
    with Source(Fleet(1, time.time() - 7200, hosts=2000), time.time) as source:
        jobs = kept(memory_bytes=lambda: 40 << 20)
        job = jobs.begin(order(source.url, 2), 'me', {})
        assert over(job).state == 'failed' and job.outcome is None
        assert re.match('(it ran out of memory|its process ended with SIG[A-Z]+); its limits were 40 MiB and 10m: ', job.problem), job.problem
        assert jobs.running is None


def test_without_room_nothing_begins(fleet, kept):
    with pytest.raises(NoRoom, match='MiB, and the memory limit of promlstm leaves less'):
        kept(memory_bytes=lambda: 0).begin(order(fleet), 'me', {})


def test_a_child_that_is_killed_is_told_of(silent, kept):
    jobs = kept()
    job = jobs.begin(order(silent), 'me', {})
    process(jobs).kill()
    assert over(job).state == 'failed' and job.problem.startswith('its process ended with SIGKILL; its limits were ')


def test_a_source_that_refuses_is_told_in_its_words(kept):
    job = kept().begin(order('http://127.0.0.1:1'), 'me', {})
    assert over(job).state == 'failed' and 'cannot be reached: Connection refused' in job.problem


def test_stopping_ends_what_runs(silent, kept):
    jobs = kept()
    job = jobs.begin(order(silent), 'me', {})
    child = process(jobs)
    jobs.stop()
    assert over(job).problem == 'promlstm was stopped' and gone(child.pid)
    with pytest.raises(NoRoom):
        jobs.begin(order(silent), 'me', {})


def test_jobs_that_are_over_are_forgotten(silent, kept):
    """After a while, and the oldest of many at once; never the one that runs."""
    now = [0.0]
    jobs = kept(now=lambda: now[0])
    ids = []
    for _ in range(11):
        job = jobs.begin(order(silent), 'me', {})
        jobs.cancel(job.id)
        ids.append(over(job).id)
    running = jobs.begin(order(silent), 'me', {})
    assert [number for number in ids if jobs.find(number)] == ids[-8:]
    now[0] += 3600
    assert jobs.find(ids[-1]) is None and jobs.find(running.id) is running


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_the_child_ends_with_whoever_began_it(silent, number):
    """However that ends: nothing but the pipe ties them."""
    program = (
        'import sys, time\nfrom test_jobs import order\nfrom promlstm.ui.jobs import Jobs\njobs = Jobs()\n'
        f'jobs.begin(order("{silent}"), "me", {{}})\nprint(jobs._running[1].process.pid, flush=True)\nsys.stdin.read()'
    )
    path = os.pathsep.join(map(str, (ROOT, ROOT / 'tests/support', ROOT / 'tests/ui')))
    parent = subprocess.Popen(
        [sys.executable, '-c', program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, 'PYTHONPATH': path}
    )
    child = int(parent.stdout.readline())
    assert not gone(child)
    parent.send_signal(number)
    with parent:
        parent.wait(LIMIT)
    wait_until(lambda: not running(child), LIMIT, 'the end of the child')


def running(pid):
    """Whether a process runs; one that nobody waits for any more may be a zombie for a moment."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except OSError:
        return False


def test_the_child_is_humble_and_its_command_line_says_nothing(silent, kept):
    """Ten below its parent in priority, first to go where memory is short, no room to write files, and no address among its arguments."""
    jobs = kept()
    jobs.begin(order(silent), 'me', {})
    folder = Path(f'/proc/{process(jobs).pid}')
    wait_until(lambda: (folder / 'oom_score_adj').read_text().strip() == '1000', LIMIT, 'the child to limit itself')
    wait_until(lambda: ' 0 ' in next(line for line in limits(folder) if line.startswith('Max file size')), LIMIT, 'no file to be written')
    assert int((folder / 'stat').read_text().rpartition(')')[2].split()[16]) == min(os.nice(0) + 10, 19)
    assert silent.encode() not in (folder / 'cmdline').read_bytes() and silent.encode() not in (folder / 'environ').read_bytes()


def limits(folder):
    return (folder / 'limits').read_text().splitlines()


def test_what_a_child_says_that_is_no_line_of_ours_ends_it(kept, monkeypatch):
    """Garbage is no outcome."""
    garbage = [sys.executable, '-c', 'import sys; sys.stdin.readline(); print("{]"); sys.stdin.read()']
    started = lambda *_, **__: subprocess.Popen(garbage, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: E731
    monkeypatch.setattr('promlstm.engine.trial.started', started)
    job = kept().begin(order('http://127.0.0.1:1'), 'me', {})
    assert over(job).state == 'failed' and job.outcome is None


def test_an_order_survives_the_pipe():
    made = order('http://é"\n')(1, 2, 3)
    line = msgspec.json.encode(made)
    assert b'\n' not in line and msgspec.json.decode(line, type=Order) == made
