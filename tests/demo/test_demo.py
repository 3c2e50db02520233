"""`promlstm demo` runs the whole exporter in a minute, reports the result, and its exit status agrees with the report."""

import argparse
import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace

import numpy as np
import pytest
import requests
import servers

from promlstm import config
from promlstm.demo import answers
from promlstm.demo import run as demo
from promlstm.demo.fleet import Fleet

EVENT = re.compile(r'\d\d:\d\d:\d\d  (injected|found|incident|MISSED|FALSE ALARM)')
SPREADS = re.compile(r'^\d\d:\d\d:\d\d  incident     incident (\S+): (\d+) entities, cause: (\w+) \((\d+) %\): (.+)$', re.M)


def arguments(*flags):
    """What `main` gets from the command line."""
    parser = argparse.ArgumentParser()
    parser.set_defaults(log_level='error', log_format='logfmt')
    demo.arguments(parser)
    return parser.parse_args(['--web.listen-address=127.0.0.1:0', *flags])


def run(*flags, prepare=lambda source: None):
    """(exit status, what was written) of a demo in this process."""
    out = io.StringIO()
    status = demo.main(arguments(*flags), out=out, prepare=prepare)
    return status, out.getvalue()


@pytest.fixture
def child():
    """Starts `promlstm demo` as a child process; none outlives its test."""
    children = []

    def start(*flags, **options):
        children.append(subprocess.Popen(servers.promlstm('demo', '--web.listen-address=127.0.0.1:0', *flags), cwd=servers.ROOT, **options))
        return children[-1]

    yield start
    for process in children:
        process.kill()
        process.wait()


def summary(text):
    """The summary's rows: {name: value}."""
    return dict(re.findall(r'^  (entities scored|faults that spread|faults|will be full|false alarms|failed stages|skipped steps) +(.*)$', text, re.M))


@pytest.fixture(scope='module')
def twenty_seconds():
    """(exit status, standard output, standard error) of `promlstm demo --for=20s --plain`."""
    command = servers.promlstm('demo', '--for=20s', '--plain', '--web.listen-address=127.0.0.1:0')
    done = subprocess.run(command, cwd=servers.ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def test_twenty_seconds_score_all_and_find_what_was_injected(twenty_seconds):
    """In twenty seconds every entity is scored, several faults are injected and found, nothing is missed, nothing fails: status 0."""
    status, out, err = twenty_seconds
    rows = summary(out)
    assert rows['entities scored'] == '96 of 96'
    injected, found, missed, _ = map(int, re.findall(r'\d+', rows['faults']))
    assert injected >= 4 and found >= 3 and missed == 0
    assert rows['failed stages'] == 'none'
    assert (status, err) == (0, '') and '\nOK' in out
    assert re.search(r'found +\w+ on [\w:-]+ after \d+ steps? by \w+: score [\d.]+, .+ observed, .+ expected \(.+ … .+\)', out)


def test_a_fault_that_spreads_is_one_incident_with_the_right_culprit_on_top(twenty_seconds):
    """Two faults spread in the shop in twenty seconds: for each there is one incident, which names what broke, how sure it is and why."""
    out = twenty_seconds[1]
    broken = re.findall(r'injected +(?:overload|slow_dependency) on (\w+)$', out, re.M)
    incidents = {name: (cause, reasons) for name, _, cause, _, reasons in SPREADS.findall(out)}
    assert len(broken) == 2 and [cause for cause, _ in incidents.values()] == broken
    assert all('above what was expected, score' in reasons and 'depends on it' in reasons for _, reasons in incidents.values())
    assert summary(out)['faults that spread'] == '2, the culprit is on top in 2'
    last = re.findall(r'^ +\S+ \w+ on (\w+): incident (\S+): (\d+) entities, cause: (\w+) ', out, re.M)
    assert [(cause, name) for cause, name, _, _ in last] == list(zip(broken, incidents, strict=True))
    assert all(int(entities) >= 4 and cause == blamed for cause, _, entities, blamed in last)


def test_the_volume_that_fills_up_is_told_and_the_one_that_is_rotated_is_not(twenty_seconds):
    """It is full three hours after the start of the demo, and the first scrape says about when."""
    told = re.findall(r'^10:0\d:\d\d +forecast +(.*)$', twenty_seconds[1], re.M)
    assert len(told) == 1 and told[0].startswith('disk_free on host-01:9100 /data: full in ')
    assert summary(twenty_seconds[1])['will be full'] == told[0]


def test_the_summary_says_where_the_metrics_were_and_what_to_try_next(twenty_seconds):
    """The last lines name the URL and the next commands."""
    begin, end = twenty_seconds[1][:300], twenty_seconds[1][-900:]
    assert re.search(r'; pages: (http://127\.0\.0\.1:\d+/) metrics: \1metrics', begin)
    assert re.search(r'http://127\.0\.0\.1:\d+/metrics', end)
    assert '--print-config > promlstm.yml' in end and 'promlstm run --config.file=promlstm.yml' in end


def events(text):
    """The lines of what happened."""
    return [line for line in text.splitlines() if EVENT.match(line)]


@pytest.fixture(scope='module')
def one_step_fails():
    """(exit status, what was written) of a demo of another seed, in which the query of one step fails."""

    def fault(selection):
        affected = selection.instant and selection.series[0]['__name__'] == 'web_error_ratio' and 60 <= selection.times[0] - demo.BEGIN < 75
        return answers.unavailable(selection) if affected else selection

    return run('--for=3s', '--plain', '--seed=2', prepare=lambda source: source.faults.hold(fault))


def test_another_seed_is_another_demo(twenty_seconds, one_step_fails):
    """It prints other events."""
    first, other = events(twenty_seconds[1]), events(one_step_fails[1])
    assert other and other != first[: len(other)]


def test_scores_are_on_the_page_within_a_minute_and_ctrl_c_ends_with_the_summary(child, twenty_seconds):
    """/metrics has a score of each entity within 60 s after the start; SIGINT then ends the demo at once, with summary and status 0.

    It has the seed of the demo of twenty seconds, and so printed the same events until then.
    """
    began = time.monotonic()
    process = child('--plain', stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    url = re.search(r'http://\S+/metrics', process.stdout.readline())[0]
    page = servers.wait_until(
        lambda: 'promlstm_anomaly_score' in requests.get(url, timeout=5).text and requests.get(url, timeout=5).text, 60, 'scores'
    )
    assert time.monotonic() - began < 60
    servers.wait_until(lambda: requests.get(url, timeout=5).text.count('\npromlstm_anomaly_score{') == 96, 60, 'the scores of all entities')
    assert '# TYPE promlstm_anomaly_score gauge' in page
    printed = ''
    while len(events(printed)) < 3:
        printed += process.stdout.readline()
    stopped = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - stopped < 10
    assert (process.returncode, err) == (0, '')
    assert summary(out)['entities scored'] == '96 of 96'
    same = events(printed + out)
    assert same == events(twenty_seconds[1])[: len(same)]


def test_ctrl_c_before_the_first_score_is_no_failure(child):
    """It ends with the summary, which says what was not scored, and status 0, as that of `promlstm run`."""
    process = child('--plain', stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert 'warming up' in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, '') and 'FAILED' not in out and 'entities scored' in summary(out)


def test_a_terminal_gets_a_live_table_and_its_screen_back():
    """On a terminal the demo draws entities with score, band, the incident and events on the alternate screen, fits the size, and leaves it at the end."""
    process, terminal = pty.fork()
    if not process:
        environment = {name: value for name, value in os.environ.items() if name not in ('COLUMNS', 'LINES')}
        os.execve(sys.executable, servers.promlstm('demo', '--for=6s', '--web.listen-address=127.0.0.1:0'), environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 120, 0, 0))
    text = _read_all(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    page, after = text.split('\x1b[?1049h')[1].split('\x1b[?1049l')
    frame = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', page.split('\x1b[H')[-1]).splitlines()
    assert len(frame) < 30 and max(map(len, frame)) <= 120
    assert re.fullmatch(r'promlstm demo   10:\d\d:\d\d × 60   96 of 96 entities scored   Ctrl-C ends', frame[0]) and len(frame[0]) <= 80
    assert re.fullmatch(r'\d+ faults: \d+ found, \d+ missed, \d+ false alarms   http://127\.0\.0\.1:\d+/', frame[1]) and len(frame[1]) <= 80
    assert frame[3].split() == [
        'detector',
        'entity',
        'score',
        'observed',
        'expected',
        'band',
        'metric',
    ]
    assert any('cpu_burn' in line for line in frame)
    [incident] = [number for number, line in enumerate(frame) if line.startswith('incident ')]
    assert re.fullmatch(r'incident \S+: \d+ entities, cause: database \(\d+ %\)', frame[incident])
    assert 'above what was expected, score' in frame[incident + 1] and 'incident' in frame[-1] + frame[-2]
    assert '\nOK' in after.replace('\r', '')


def _read_all(terminal):
    parts = []
    try:
        while part := os.read(terminal, 65536):
            parts.append(part)
    except OSError:  # how Linux says that the other side is gone
        pass
    return b''.join(parts).decode()


def test_a_dead_source_is_status_1_with_the_reason(monkeypatch):
    """Where Prometheus only ever answers 503, no entity is scored; the status is 1 and the reasons hold the message of the source."""
    monkeypatch.setattr(demo, 'WARM_LIMIT_SECONDS', 20.0)
    status, out = run('--for=1s', '--plain', prepare=lambda source: source.faults.hold(answers.unavailable))
    assert status == 1
    assert summary(out)['entities scored'] == '0 of 96'
    assert 'FAILED:' in out
    assert re.search(r'cpu: 12 entities were never scored \(warm: .*503 unavailable: Service Unavailable', out)
    assert re.search(r'cpu: stage warm failed \d+ time', out)
    assert re.search(r'incidents: stage client -> server failed \d+ time', out)
    assert summary(out)['faults that spread'] == 'none yet'


def test_one_failed_step_is_status_1(one_step_fails):
    """All is scored and found, but the query of one step failed: the status is 1 and names detector and stage."""
    status, out = one_step_fails
    assert (status, summary(out)['failed stages']) == (1, 'errors query × 1')
    assert summary(out)['entities scored'] == '96 of 96'
    assert 'errors: stage query failed 1 time\n' in out


def test_a_hidden_fault_is_missed_and_status_1():
    """Where the source hides what was injected, the demo says MISSED and which fault, and the status is 1."""
    healthy = Fleet(1, demo.BEGIN, hosts=demo.HOSTS, first_fault_seconds=10**9)
    rows = {(series.metric, series.labels['instance']): i for i, series in enumerate(healthy.series)}

    def hidden(selection):
        if 'instance' not in selection.series[0]:
            return selection  # of the shop
        columns = [healthy.value(rows[series['__name__'], series['instance']], selection.times) for series in selection.series]
        return replace(selection, values=np.stack(columns, axis=-1))

    status, out = run('--for=6s', '--plain', prepare=lambda source: source.faults.hold(hidden))
    assert status == 1
    assert re.search(r'MISSED +cpu_burn on ', out)
    assert re.search(r'FAILED:\n  cpu_burn on \S+ was missed', out)


def test_whoever_is_blamed_wrongly_is_counted():
    """Where the service graph says the opposite of what is so, the database is not on top, and the last line says so: the edges are asked for."""

    def turned(selection):
        series = [{**each, 'client': each['server'], 'server': each['client']} if 'client' in each else each for each in selection.series]
        return replace(selection, series=series)

    status, out = run('--for=8s', '--plain', prepare=lambda source: source.faults.hold(turned))
    *_, (_, _, blamed, _, _) = SPREADS.findall(out)
    assert blamed != 'database' and summary(out)['faults that spread'] == '1, the culprit is on top in 0'
    assert status == 0 and '\nOK, with 1 wrong cause.\n' in out


def test_the_printed_configuration_is_the_one_that_runs():
    """--print-config prints a configuration that the strict parser takes, with detectors of one and of several features, and nothing else."""
    status, out = run('--print-config')
    printed = config.parse(out)
    assert status == 0
    assert printed.detectors == config.parse(demo.CONFIG.format(url='http://x', model='builtin:forecaster')).detectors
    assert {len(detector.queries) > 1 for detector in printed.detectors} == {True, False}
    assert all(detector.step == printed.detectors[0].step for detector in printed.detectors)


@pytest.mark.parametrize(
    ('flag', 'words'), [('--for=30', 'expected a duration such as 30s'), ('--speed=0', 'expected 1 to 1000'), ('--speed=x', "got 'x'")]
)
def test_a_wrong_value_of_a_flag_is_explained(capsys, flag, words):
    """A wrong value ends with the usage and what was expected."""
    with pytest.raises(SystemExit) as raised:
        arguments(flag)
    assert raised.value.code == 2 and words in capsys.readouterr().err


def test_a_taken_port_is_named(child):
    """A second demo on the same port names the address that is taken, with status 1 and no traceback."""
    first = child('--plain', stdout=subprocess.PIPE, text=True)
    address = re.search(r'http://(\S+)/metrics', first.stdout.readline())[1]
    done = subprocess.run(
        servers.promlstm('demo', f'--web.listen-address={address}'), cwd=servers.ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f'promlstm: --web.listen-address={address}: cannot listen')
