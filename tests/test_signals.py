"""SIGTERM while something long goes on: a large or endless configuration at the start and at SIGHUP, and as process 1 of a container."""

import os
import signal
import subprocess

import exporter
import pytest
import servers

from promlstm import signals

LIMIT_SECONDS = 60  # what is waited for takes a second; without it, minutes
LARGE = 'prometheus: {url: "http://127.0.0.1:1"}\ndetectors:\n' + ''.join(f'- {{name: d{i}, expr: up, step: 1m, delay: 10s}}\n' for i in range(60_000))


def pipe(path):
    """A configuration file that is read as it is written."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def write(path, text):
    """Write into a pipe; returns when its reader has opened it and taken all of the text, and keeps it open if there is no text."""
    with path.open('w') as file:
        file.write(text)


def start(path, *before, **options):
    """`promlstm run` with a file."""
    command = [*before, exporter.RUNTIME, '-m', 'promlstm', 'run', f'--config.file={path}', f'--web.listen-address=127.0.0.1:{servers.free_port()}']
    return subprocess.Popen(list(map(str, command)), cwd=servers.ROOT, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_a_large_configuration_is_parsed_ends_the_start(tmp_path, number):
    """Status 0 and one line that says so, not a traceback, and not after minutes."""
    path = pipe(tmp_path / 'promlstm.yml')
    child = start(path)
    write(path, LARGE)
    child.send_signal(signal.SIGHUP)  # it is kept, and no reason to end
    child.send_signal(number)
    _, err = child.communicate(timeout=LIMIT_SECONDS)
    assert child.returncode == 0 and err.count('\n') == 1 and f'stopping before the start is complete" signal={number.name}' in err


def test_a_sighup_before_it_serves_is_kept(tmp_path):
    """The file may have changed after it was read: it is read again as soon as it can be."""
    path = pipe(tmp_path / 'promlstm.yml')
    child = start(path)
    with path.open('w') as file:  # it is being read
        child.send_signal(signal.SIGHUP)
        child.send_signal(signal.SIGHUP)
        path.unlink()
        path.write_text('prometheus: {url: "http://127.0.0.1:1"}\ndetectors: [{name: new, expr: up}]\n')
        file.write('prometheus: {url: "http://127.0.0.1:1"}\ndetectors: [{name: old, expr: up}]\n')
    said = []
    for line in child.stderr:
        said.append(line)
        if 'configuration file' in line:
            break
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=LIMIT_SECONDS)
    assert 'has changed and is in force' in said[-1] and 'changed="detector new, detector old"' in said[-1]


def test_a_signal_while_a_configuration_does_not_come_ends_the_start(tmp_path):
    """A pipe that nobody writes to, as a mount that does not answer."""
    path = pipe(tmp_path / 'promlstm.yml')
    child = start(path)
    with path.open('w'):
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=LIMIT_SECONDS)
    assert child.returncode == 0


def test_a_signal_reaches_process_1_during_the_start(tmp_path):
    """The system does nothing with SIGTERM for process 1 of a container unless the program has a handler."""
    if subprocess.run(['unshare', '--pid', '--fork', 'true'], capture_output=True, check=False).returncode:
        pytest.skip('a process namespace cannot be made here')
    path = pipe(tmp_path / 'promlstm.yml')
    child = start(path, 'unshare', '--pid', '--fork', '--kill-child')
    write(path, LARGE)
    first = int(subprocess.run(['pgrep', '-P', str(child.pid)], capture_output=True, text=True, check=True).stdout)
    os.kill(first, signal.SIGTERM)
    child.communicate(timeout=LIMIT_SECONDS)
    assert child.returncode == 0


@pytest.mark.parametrize('text', [LARGE, ''], ids=['parsed', 'read'])
def test_sigterm_does_not_wait_for_the_file_of_a_sighup(tmp_path, text):
    """The comparison goes on beside it, and is given up."""
    with exporter.Exporter(tmp_path, 'http://127.0.0.1:1', [{'name': 'cpu', 'expr': 'up'}]) as running:
        pipe(running.config)
        running.child.send_signal(signal.SIGHUP)
        if text:
            write(running.config, text)
        else:
            held = running.config.open('w')
        assert running.stop() == 0
        if not text:
            held.close()


def test_an_endless_configuration_is_refused():
    """A device, or the wrong file: named before it fills the memory."""
    child = start('/dev/zero')
    _, err = child.communicate(timeout=LIMIT_SECONDS)
    assert child.returncode == 1 and err == 'promlstm: /dev/zero: longer than 10000000 characters: not a configuration\n'


def test_handlers_are_as_before_after_a_failed_start():
    """`run` that is refused leaves nothing behind in the process."""
    before = [signal.getsignal(number) for number in (*signals.STOP, signal.SIGHUP)]
    with pytest.raises(ValueError, match='refused'), signals.ending_at_once():
        assert [signal.getsignal(number) for number in signals.STOP] != before[:2]
        raise ValueError('refused')
    assert [signal.getsignal(number) for number in (*signals.STOP, signal.SIGHUP)] == before


@pytest.mark.parametrize('made_of_it', [ImportError('initialization failed'), None], ids=['another exception', 'none'])
def test_an_end_that_a_library_hides_is_the_end_all_the_same(made_of_it):
    """A module in C that is being imported makes an ImportError of SystemExit."""
    with pytest.raises(SystemExit, match='0'), signals.ending_at_once():
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit as end:
            if made_of_it:
                raise made_of_it from end


def test_sighup_reads_the_web_configuration_too(tmp_path):
    """The exporter serves by the flag's file, and a signal reads it again at once, whether it has changed or not."""
    config, web = tmp_path / 'promlstm.yml', tmp_path / 'web.yml'
    config.write_text('prometheus: {url: "http://127.0.0.1:9"}\ndetectors: [{name: a, expr: up, step: 1h}]\n')
    web.write_text('basic_auth_users: {}')
    port = servers.free_port()
    command = [exporter.RUNTIME, '-m', 'promlstm', 'run', f'--config.file={config}', f'--web.listen-address=127.0.0.1:{port}', f'--web.config.file={web}']
    url = f'http://127.0.0.1:{port}'
    with servers.Process(command, servers.answers(url + '/-/healthy'), log=tmp_path / 'log') as process:
        assert servers.http.get(url, timeout=LIMIT_SECONDS).status_code == 200
        os.kill(process.child.pid, signal.SIGHUP)
        servers.wait_until(lambda: 'web configuration reloaded' in process.log.read_text(), LIMIT_SECONDS, 'the signal to act')
        web.write_text('a: 1')
        os.kill(process.child.pid, signal.SIGHUP)
        servers.wait_until(lambda: 'web configuration cannot be used' in process.log.read_text(), LIMIT_SECONDS, 'the bad file to be noticed')
        page = servers.http.get(url + '/metrics', timeout=LIMIT_SECONDS).text
        assert 'promlstm_web_config_last_reload_successful 0.0' in page
        assert process.stop() == 0
