"""The command line as far as it needs no Prometheus: check-model, check-config, help and mistakes."""

import logging
import signal
import subprocess
import sys
from pathlib import Path

import exporter
import msgspec
import numpy as np
import pytest
import servers
import tiny_model
import yaml

import promlstm
from promlstm.__main__ import main
from promlstm.engine import bundle, session

FILES = Path(__file__).with_name('config')
DEFAULT = session.resolve('builtin:default')

# command: its flags, as its help must name them
FLAGS = {
    'run': {'--config.file', '--preset', '--prometheus.url', '--web.listen-address', '--log.level', '--log.format'},
    'demo': {'--web.listen-address', '--log.level', '--log.format'},
    'presets': {'--log.level', '--log.format'},
    'check-config': {'FILE', '--preset', '--prometheus.url', '--offline', '--log.level', '--log.format'},
    'check-model': {'FILE', '--sha256', '--log.level', '--log.format'},
    'backtest': {
        '--config.file',
        '--preset',
        '--prometheus.url',
        '--from',
        '--to',
        '--detector',
        '--format',
        '--output',
        '--log.level',
        '--log.format',
    },
}


@pytest.fixture
def run(capsys):
    """A command, run in this process: (exit status, standard output, standard error)."""
    logger = logging.getLogger('promlstm')
    before = logger.handlers[:], logger.level, logger.propagate

    def command(*args):
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as left:
            status = left.code
        return (status, *capsys.readouterr())

    yield command
    logger.handlers[:], logger.level, logger.propagate = before


# -- usage


def test_without_a_command_it_says_which_there_are(run):
    """The help names every command, and the status is that of a usage error."""
    status, out, err = run()
    assert (status, err) == (2, '') and all(f'\n    {command} ' in out or f'\n    {command}\n' in out for command in FLAGS)


@pytest.mark.parametrize('command', FLAGS)
def test_help_names_every_flag(run, command):
    """`COMMAND --help` teaches the command: its flags, no others, and all those with a default say it."""
    status, out, err = run(command, '--help')
    assert (status, err) == (0, '')
    listed = {word.split('=')[0].strip(',') for line in out.splitlines() for word in line.split()[:2] if line.startswith('  ')}
    flags = {word for word in listed if word.startswith('--') and word != '--help'}
    wanted = {flag for flag in FLAGS[command] if flag.startswith('--')}
    assert wanted <= flags if command == 'demo' else wanted == flags
    assert all(f'\n  {name} ' in out for name in FLAGS[command] - wanted)


@pytest.mark.parametrize(
    ('args', 'says'),
    [
        (['serve'], "argument COMMAND: invalid choice: 'serve'"),
        (['run', '--config', 'x', '--bogus'], 'unrecognized arguments: --bogus'),
        (['run', '--log.level=loud'], "argument --log.level: invalid choice: 'loud'"),
        (['check-model'], 'the following arguments are required: FILE'),
        (['backtest', '--format=xml'], "argument --format: invalid choice: 'xml'"),
    ],
)
def test_a_usage_error_is_status_2(run, args, says):
    """What is wrong with the command line is said after the usage, on standard error."""
    status, out, err = run(*args)
    assert (status, out) == (2, '') and err.startswith('usage: promlstm') and says in err.splitlines()[-1]


def test_the_version(run):
    """Of the program that runs."""
    assert run('--version') == (0, f'promlstm {promlstm.__version__}\n', '')


def test_it_runs_as_a_module():
    """`python -m promlstm` is the same program, with its own exit status."""
    done = subprocess.run(
        [sys.executable, '-m', 'promlstm', 'check-model', 'none'], cwd=servers.ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, '', 'promlstm: none: cannot be read: No such file or directory\n')


# -- check-model


def card(run, *args):
    """{row: text} of the card."""
    status, out, err = run('check-model', *args)
    assert (status, err) == (0, '')
    return {line[:12].strip(): line[13:] for line in out.splitlines()}


def test_the_card_of_the_default_model(run):
    """Whoever gets a model sees which file it is, what it costs, what it was made from, and that it computes right here."""
    read = card(run, 'builtin:default')
    loaded = session.load(DEFAULT).bundle
    assert read['model'] == 'default' and read['family'] == 'forecaster'
    assert read['sha256'] == bundle.digest(DEFAULT.read_bytes())
    assert read['file'].startswith(str(DEFAULT))
    assert read['memory'] == f'{loaded.state_bytes(1)} bytes of state, {loaded.season_bytes(1)} of season, per entity and feature'
    assert read['warm-up'].startswith(f'{loaded.manifest.warmup_steps} samples; {loaded.manifest.replay_steps} steps')
    assert read['calibration'].startswith('measured: ')
    assert read['proof'].startswith('verified here: ')
    assert {'what', 'created', 'features', 'steps', 'season', 'views', 'trained on', 'made with'} <= set(read)


def test_the_card_of_a_model_with_fixed_features(run, tmp_path):
    """Features by name, memory for all of them."""
    read = card(run, tiny_model.write(tmp_path / 'x.onnx', features=('cpu', 'memory'), views=('above', 'below')))
    assert (read['features'], read['views'], read['season']) == ('cpu, memory', 'above, below', '24 slots of 1 days')
    assert read['memory'] == f'{2 * 16 + 4} bytes of state, {2 * 24 * 4} of season, per entity'
    assert read['evaluation'] == 'none: f1 0.5'


def refused(run, *args):
    status, out, err = run(*args)
    assert (status, out) == (1, '') and err.startswith('promlstm: ') and err.count('\n') == 1
    return err.removeprefix('promlstm: ').strip()


@pytest.mark.parametrize('share', [0, 0.01, 0.5, 0.999])
def test_a_truncated_model_is_one_line(run, tmp_path, share):
    """Refused with status 1 and one line that names the file."""
    data = DEFAULT.read_bytes()
    (tmp_path / 'cut.onnx').write_bytes(data[: int(len(data) * share)])
    assert refused(run, 'check-model', tmp_path / 'cut.onnx').startswith(f'{tmp_path}/cut.onnx: ')


def test_another_model_than_the_pinned_one(run):
    """--sha256 is compared before anything in the file is believed."""
    assert refused(run, 'check-model', 'builtin:default', '--sha256', '0' * 64).endswith(
        f'the configuration pins {"0" * 64}: not the file that was meant'
    )


def test_a_model_that_computes_other_numbers_here(run, tmp_path):
    """A failed proof is status 1 and says what differs."""
    surprise = tiny_model.proven().outputs['surprise'].numpy() + np.float32(1)
    path = tiny_model.write(tmp_path / 'x.onnx', proof=tiny_model.proven(outputs={'surprise': surprise}))
    assert refused(run, 'check-model', path).startswith(f'{path}: the proof fails: surprise at step 3, entity 0: got ')


def test_a_model_that_is_not_shipped(run):
    """builtin: with another name is told with those that there are."""
    assert refused(run, 'check-model', 'builtin:none') == 'builtin:none: no such model comes with promlstm; there is builtin:default'


# -- check-config


def test_a_good_configuration(run):
    """What it watches, what that costs, and status 0; offline, Prometheus is not asked."""
    path = FILES / 'valid-least.yml'
    status, out, err = run('check-config', '--offline', path)
    digest = bundle.digest(DEFAULT.read_bytes())[:12]
    lines = out.splitlines()
    assert (status, err) == (0, '')
    assert lines[0] == f'node_cpu: 1 query every 60 s, model default ({digest})'
    assert lines[1].startswith('  memory: ') and lines[2].startswith('  budget: 1/week each; the calibration reaches down to ')
    assert lines[3:] == [f'{path}: in order']


@pytest.mark.parametrize('name', ['step-zero', 'url-password', 'yaml-tab', 'unknown-detector'])
def test_a_bad_configuration(run, name):
    """The one line that the reader of configurations gives, and status 1."""
    path = FILES / f'invalid-{name}.yml'
    assert refused(run, 'check-config', path) == f'{path}: {path.read_text().splitlines()[0].removeprefix("# ")}'


def config(tmp_path, url='http://127.0.0.1:1', **detector):
    path = tmp_path / 'promlstm.yml'
    path.write_text(yaml.safe_dump({'prometheus': {'url': url}, 'detectors': [{'name': 'cpu', 'expr': 'up', **detector}]}))
    return path


@pytest.mark.parametrize(
    ('detector', 'says'),
    [
        ({'model': 'none.onnx'}, '{folder}/none.onnx: cannot be read: No such file or directory'),
        (
            {'sha256': '0' * 64},
            f'{DEFAULT}: sha256 is {bundle.digest(DEFAULT.read_bytes())}, the configuration pins {"0" * 64}: not the file that was meant',
        ),
        ({'step': '2d'}, 'the model has no calibration for class 0 at a step of 172800 s'),
        ({'model': 'tiny.onnx', 'step': '500ms'}, 'the model has no calibration for class 0 at a step of 0.5 s'),
        (
            {'model': 'tiny.onnx', 'false_alarms': '1/year each'},
            'a budget of 0.0192 alarms per entity-week is below what the calibration was measured for: the floor is 0.1 per entity-week at a step of 60 s',
        ),
        (
            {'model': 'bare.onnx'},
            'the model is not calibrated (status "none"): it gives surprise, no score; finish `python -m convert calibrate`',
        ),
        (
            {'model': 'classes.onnx', 'false_alarms': '1/week each'},
            'a budget of 1 alarms per entity-week is below what the calibration was measured for: '
            'the floor is 20 per entity-week at a step of 60 s',
        ),
        ({'model': 'two.onnx'}, 'model tiny is made for the features cpu, memory, the detector has 1'),
    ],
)
def test_a_model_that_does_not_fit_is_named(run, tmp_path, detector, says):
    """Each detector says what is wrong with it, the others are checked all the same, and the status is 1."""
    tiny_model.write(tmp_path / 'tiny.onnx')
    tiny_model.write(tmp_path / 'two.onnx', features=('cpu', 'memory'))
    worse = msgspec.structs.replace(tiny_model.ROW, klass=1, alarms_per_entity_week=(100, 50, 20))
    classes = msgspec.structs.replace(tiny_model.CALIBRATION, rows=(tiny_model.ROW, worse))
    tiny_model.write(tmp_path / 'classes.onnx', classes=True, calibration=classes)
    tiny_model.write(tmp_path / 'bare.onnx', calibration=bundle.Calibration(status='none'))
    path = config(tmp_path, **detector)
    tree = yaml.safe_load(path.read_text())
    tree['detectors'].append({'name': 'other', 'expr': 'up'})
    path.write_text(yaml.safe_dump(tree))
    status, out, _ = run('check-config', '--offline', path)
    lines = out.splitlines()
    assert (status, lines[0]) == (1, 'cpu: ' + says.format(folder=tmp_path))
    assert lines[1].startswith('other: 1 query every 60 s') and lines[-1] == f'{path}: NOT in order, see above'


def test_the_file_of_run_is_checked_unless_another_is_named(run, tmp_path, monkeypatch):
    """promlstm.yml, as for run and backtest."""
    monkeypatch.chdir(tmp_path)
    assert refused(run, 'check-config') == 'promlstm.yml: cannot be read: No such file or directory'
    config(tmp_path)
    status, out, _ = run('check-config', '--offline')
    assert (status, out.splitlines()[-1]) == (0, 'promlstm.yml: in order')


@pytest.mark.parametrize(
    ('detector', 'says'),
    [
        ({'expr': 'http_requests_total{job="web"}'}, ['expr looks like a counter (http_requests_total without rate): ask for rate(…)']),
        (
            {'expr': None, 'by': ['job'], 'features': {'up': 'up', 'seen': 'x_seconds_count'}},
            ['features.seen looks like a counter (x_seconds_count without rate): ask for rate(…)'],
        ),
        ({'expr': 'rate(http_requests_total[5m])'}, []),
        ({'expr': 'node_load1'}, []),
    ],
)
def test_a_bare_counter_is_warned_of(run, tmp_path, detector, says):
    """It can run, so the status is 0; but what only grows cannot be expected."""
    status, out, _ = run('check-config', '--offline', config(tmp_path, **detector))
    assert status == 0 and [line for line in out.splitlines() if 'warning' in line] == [f'  warning: {text}' for text in says]


@pytest.mark.real
def test_an_expression_without_series_is_warned_of(run, tmp_path, prometheus):
    """Prometheus takes it and has nothing: that is told of the very expression, and the status is 0."""
    prometheus.wait_for('up')
    features = {'up': 'up', 'none': 'nothing_of_that_name'}
    status, out, _ = run('check-config', config(tmp_path, prometheus.url, delay='0s', expr=None, by=['job'], features=features))
    assert status == 0 and '  warning: features.none returns no series now: nothing of it would be scored\n  now: 1 entities' in out
    status, out, _ = run('check-config', config(tmp_path, prometheus.url, delay='0s', expr='nothing_of_that_name'))
    assert status == 0 and '  warning: expr returns no series now: nothing would be scored\n  now: 0 entities' in out
    status, out, _ = run('check-config', config(tmp_path, prometheus.url, delay='0s'))
    assert status == 0 and 'warning' not in out


def test_an_unreachable_prometheus_is_told_and_no_mistake(run, tmp_path):
    """A configuration can be checked where its Prometheus is not; that it was not asked is said."""
    path = config(tmp_path)
    status, out, _ = run('check-config', path)
    assert status == 0 and out.splitlines()[-1] == f'{path}: in order'
    begins = 'prometheus: http://127.0.0.1:1 cannot be reached: Failed to establish a new connection: '
    assert out.startswith(begins) and out.splitlines()[0].endswith('; expressions are not tried')


# -- before anything runs


@pytest.mark.parametrize(
    ('args', 'says'),
    [
        (['run', '--config.file', 'none.yml'], 'none.yml: cannot be read: No such file or directory'),
        (
            ['run', '--config.file', FILES / 'valid-least.yml', '--web.listen-address', 'x'],
            "--web.listen-address: expected HOST:PORT or :PORT, got 'x'",
        ),
        (
            ['backtest', '--config.file', FILES / 'valid-least.yml', '--from', 'yesterday'],
            '--from=yesterday: expected -2d, now, unix seconds or 2026-01-31T12:00:00Z',
        ),
        (
            ['backtest', '--config.file', FILES / 'valid-least.yml', '--from', '2026-02-30'],
            '--from=2026-02-30: expected -2d, now, unix seconds or 2026-01-31T12:00:00Z',
        ),
        (['backtest', '--config.file', FILES / 'valid-least.yml', '--from=5', '--to=5'], '--from=5 is not before --to=5'),
        (
            ['backtest', '--config.file', FILES / 'valid-least.yml', '--detector=x'],
            f'--detector=x: no such detector; {FILES}/valid-least.yml has node_cpu',
        ),
    ],
)
def test_a_mistake_is_told_before_anything_runs(run, args, says):
    """One line, status 1."""
    assert refused(run, *args) == says


# -- SIGHUP


def reread(running, facts):
    """Send SIGHUP and wait for a line of the log that holds all of these texts; returns what the gauge is then."""
    before = running.log.read_text().count('\n')
    running.child.send_signal(signal.SIGHUP)
    told = lambda: [line for line in running.log.read_text().splitlines()[before:] if all(fact in line for fact in facts)]  # noqa: E731
    servers.wait_until(told, 30, f'{facts} in the log')
    gauge = 'promlstm_config_last_reload_successful '
    page = servers.http.get(running.url + '/metrics', timeout=10).text.splitlines()
    return next(line.removeprefix(gauge) for line in page if line.startswith(gauge))


def test_sighup_compares_the_file_with_what_is_in_force(tmp_path):
    """It ends nothing and takes nothing into force: the log and a gauge tell whether the file is the one in force, and if not, why."""
    detectors = [{'name': 'cpu', 'expr': 'up'}, {'name': 'disk', 'expr': 'down'}]
    with exporter.Exporter(tmp_path, 'http://127.0.0.1:1', detectors) as running:
        path = running.config
        text = path.read_text()
        assert reread(running, ['level=info', 'configuration file is the one in force', str(path)]) == '1.0'
        path.write_text('# only a remark\n' + text)
        assert reread(running, ['configuration file is the one in force']) == '1.0'
        path.write_text(text.replace('expr: up', 'exprr: up'))
        assert reread(running, ['level=error', 'not valid', f'err="{path}: detectors[0] (cpu): exprr: unknown key']) == '0.0'
        path.write_text(text.replace('expr: up', 'expr: up == 1').replace('127.0.0.1:1', '127.0.0.1:2'))
        assert reread(running, ['level=warn', 'a restart takes it into force', 'changed="prometheus, detector cpu"']) == '0.0'
        path.unlink()
        assert reread(running, ['level=error', 'cannot be read']) == '0.0'
        path.write_text(text)
        assert reread(running, ['configuration file is the one in force']) == '1.0'
        assert running.stop() == 0
    assert 'signal=SIGTERM' in running.log.read_text()


def test_sighup_with_presets_says_that_there_is_no_file(tmp_path):
    """Presets come with the program; there is nothing to read again."""
    with exporter.Exporter(tmp_path, 'http://127.0.0.1:1', [], '--preset=prometheus', '--prometheus.url=http://127.0.0.1:1') as running:
        assert reread(running, ['level=info', 'there is no file to read again']) == '1.0'
        assert running.stop() == 0
