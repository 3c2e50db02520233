"""SIGHUP to the real program: the file comes into force as a whole, or the log and a gauge say why it does not."""

import signal
import time

import exporter
import servers


def reread(running, facts):
    """Send SIGHUP and wait for a line of the log with all of these texts; returns the value of the gauge then."""
    before = running.log.read_text().count('\n')
    running.child.send_signal(signal.SIGHUP)
    found = lambda: [line for line in running.log.read_text().splitlines()[before:] if all(fact in line for fact in facts)]  # noqa: E731
    servers.wait_until(found, 30, f'{facts} in the log')
    gauge = 'promlstm_config_last_reload_successful '
    page = servers.http.get(running.url + '/metrics', timeout=10).text.splitlines()
    return next(line.removeprefix(gauge) for line in page if line.startswith(gauge))


def test_sighup_takes_the_file_into_force_or_says_why_not(tmp_path):
    """All of it or nothing: the log and a gauge say which. A file that is in force again is no failure any more."""
    detectors = [{'name': 'cpu', 'expr': 'up'}, {'name': 'disk', 'expr': 'down'}]
    with exporter.Exporter(tmp_path, 'http://127.0.0.1:1', detectors) as running:
        path = running.config
        text = path.read_text()
        assert reread(running, ['level=info', 'configuration file equals the configuration in force', str(path)]) == '1.0'
        path.write_text('# only a comment\n' + text)
        assert reread(running, ['configuration file equals the configuration in force']) == '1.0'
        path.write_text(text.replace('expr: up', 'exprr: up'))
        assert reread(running, ['level=error', 'not valid', f'err="{path}: detectors[0] (cpu): exprr: unknown key']) == '0.0'
        path.write_text(text.replace('model: builtin:forecaster', 'model: missing.onnx', 1))
        assert reread(running, ['level=error', 'not valid', 'detector cpu: ', 'missing.onnx: cannot be read']) == '0.0'
        path.write_text('')
        assert reread(running, ['level=error', 'expected the keys prometheus and detectors, got nothing']) == '0.0'
        path.write_text(text.replace('expr: up', 'expr: up == 1').replace('127.0.0.1:1', '127.0.0.1:2'))
        assert reread(running, ['level=info', 'has changed and is in force', 'changed="prometheus, detector cpu"']) == '1.0'
        path.unlink()
        assert reread(running, ['level=error', 'cannot be read']) == '0.0'
        path.write_text(text)
        assert reread(running, ['level=info', 'has changed and is in force', 'changed="prometheus, detector cpu"']) == '1.0'
        path.write_text(text.replace('name: disk', 'name: other'))
        assert reread(running, ['level=info', 'changed="detector disk, detector other"']) == '1.0'
        ready = servers.http.get(running.url + '/-/ready', timeout=10).text
        assert 'other' in ready and 'disk' not in ready
        assert running.stop() == 0
    assert 'signal=SIGTERM' in running.log.read_text()


def test_a_file_that_is_still_written_is_read_when_it_is_whole(tmp_path):
    """Half a list of detectors is a valid file: it is taken only once it has stopped changing."""
    detectors = [{'name': name, 'expr': 'up'} for name in ('one', 'two', 'three')]
    with exporter.Exporter(tmp_path, 'http://127.0.0.1:1', detectors) as running:
        text = running.config.read_text()
        half = text[: text.index('- expr: up', text.index('name: one'))]
        running.config.write_text(half)
        before = running.log.read_text().count('\n')
        running.child.send_signal(signal.SIGHUP)
        for _ in range(10):
            time.sleep(0.05)  # no longer than the program takes for a pause of the writer
            running.config.write_text(half)
        running.config.write_text(text + '# whole\n')
        said = lambda: [line for line in running.log.read_text().splitlines()[before:] if 'configuration file' in line]  # noqa: E731
        servers.wait_until(said, 30, 'the file to be read')
        assert len(said()) == 1 and 'equals the configuration in force' in said()[0]


def test_sighup_with_presets_says_that_there_is_no_file(tmp_path):
    """Presets come with the program; there is nothing to read again."""
    with exporter.Exporter(tmp_path, 'http://127.0.0.1:1', [], '--preset=prometheus', '--prometheus.url=http://127.0.0.1:1') as running:
        assert reread(running, ['level=info', 'there is no file to reload']) == '1.0'
        assert running.stop() == 0
