"""The command line where it needs no Prometheus: check-model, check-config, help and usage errors."""

import logging
import re
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import servers
import tiny_model
import wire
import yaml
from authority import Authority
from http_target import serving

import promlstm
from promlstm import check, presets
from promlstm import config as configuration
from promlstm.__main__ import main
from promlstm.engine import bundle, session

FILES = Path(__file__).with_name('config')
DEFAULT = session.resolve('builtin:default')

# command: its flags, as its help must name them
FLAGS = {
    'run': {
        '--config.file', '--preset', '--preset.without', '--prometheus.url', '--web.listen-address', '--web.config.file', '--web.external-url',
        '--web.route-prefix', '--web.ui', '--web.enable-lifecycle', '--web.enable-actions', '--web.grafana-url', '--web.runbook-url',
        '--web.max-connections', '--web.max-connections-per-client',
        '--storage.path', '--storage.checkpoint-interval', '--shard', '--shard.replicas', '--shard.previous',
        '--log.level', '--log.format',
    },
    'demo': {'--web.listen-address', '--log.level', '--log.format'},
    'presets': {'--log.level', '--log.format'},
    'check-config': {'FILE', '--preset', '--preset.without', '--prometheus.url', '--offline', '--shards', '--log.level', '--log.format'},
    'check-web-config': {'FILE', '--log.level', '--log.format'},
    'check-model': {'FILE', '--sha256', '--log.level', '--log.format'},
    'backtest': {
        '--config.file',
        '--preset',
        '--preset.without',
        '--prometheus.url',
        '--from',
        '--to',
        '--detector',
        '--format',
        '--incidents',
        '--output',
        '--log.level',
        '--log.format',
    },
}


@pytest.fixture
def run(capsys, monkeypatch):
    """A command, run in this process: (exit status, standard output, standard error). Standard output is no terminal."""
    monkeypatch.delenv('COLUMNS', raising=False)
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


# -- the web configuration


def test_a_web_configuration_is_checked_with_its_files(run, tmp_path):
    """Status 0 and what it configures; else status 1 and the file, key and reason."""
    cert, key = Authority(tmp_path).sign('server')
    file = tmp_path / 'web.yml'
    file.write_text(f'tls_server_config: {{cert_file: {cert.name}, key_file: {key.name}}}\nbasic_auth_users: {{a: $2y$10${"a" * 53}}}\n')
    assert run('check-web-config', file) == (0, f'{file}: OK: TLS, 1 user\n', '')
    key.unlink()
    assert run('check-web-config', file) == (1, '', f'promlstm: {file}: tls_server_config.key_file: {key} is not a file\n')
    file.write_text('')
    assert run('check-web-config', file) == (0, f'{file}: OK: no TLS, no users\n', '')
    assert run('check-web-config', tmp_path / 'none') == (1, '', f'promlstm: {tmp_path / "none"}: cannot be read: No such file or directory\n')


@pytest.mark.parametrize('number', ['7', '65537', '-1', 'many', '1e3', '٣٢'])
def test_a_number_of_connections_that_cannot_be(run, number):
    """A usage error that says what is possible."""
    status, _, err = run('run', f'--web.max-connections={number}')
    assert status == 2 and f'expected a number from 8 to 65536, got {number!r}' in err


# -- usage


@pytest.mark.parametrize(
    ('flags', 'says'),
    [
        (['--shard=5/5'], "expected NUMBER/SHARDS such as 0/5 to 4/5, or auto/5, up to 1000 shards, got '5/5'"),
        (['--shard=x'], 'expected NUMBER/SHARDS'),
        (['--shard.previous=3'], '--shard.previous is for --shard only'),
        (['--shard.replicas=2'], '--shard.replicas is for --shard only'),
        (['--shard=0/2', '--shard.replicas=2'], '--shard.replicas is for --shard=auto/SHARDS only'),
        (['--shard=auto/2', '--shard.replicas=0'], 'expected a number from 1 to 1000'),
    ],
)
def test_flags_that_name_no_shard_are_wrong_usage(run, flags, says):
    """Before anything is read."""
    status, _, err = run('run', *flags)
    assert status == 2 and says in ' '.join(err.split())


def test_a_pod_without_a_number_is_told(run, tmp_path, monkeypatch):
    """With its name, and not with a part that is somebody else's."""
    monkeypatch.setenv('POD_NAME', 'promlstm-7d4f9-x2k')
    status, _, err = run('run', f'--config.file={config(tmp_path)}', '--shard=auto/5')
    assert status == 1 and 'promlstm-7d4f9-x2k does not end in a number' in err


def test_without_a_command_it_lists_the_commands(run):
    """The help names every command, and the status is that of a usage error."""
    status, out, err = run()
    assert (status, err) == (2, '') and all(f'\n    {command} ' in out or f'\n    {command}\n' in out for command in FLAGS)


@pytest.mark.parametrize('command', FLAGS)
def test_help_names_every_flag(run, command):
    """`COMMAND --help` names the flags of the command and no others, and ends with examples of it."""
    status, out, err = run(command, '--help')
    assert (status, err) == (0, '')
    listed = {word.split('=')[0].strip(',') for line in out.splitlines() for word in line.split()[:2] if line.startswith('  ')}
    flags = {word for word in listed if word.startswith('--') and word != '--help'}
    wanted = {flag for flag in FLAGS[command] if flag.startswith('--')}
    assert wanted <= flags if command == 'demo' else wanted == flags
    assert all(f'\n  {name} ' in out for name in FLAGS[command] - wanted)
    examples = out.split('\nexamples:\n')[1].splitlines()
    assert examples and all(line.startswith('  promlstm ') for line in examples) and any(command in line for line in examples)


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
    """The problem is named after the usage, on standard error."""
    status, out, err = run(*args)
    assert (status, out) == (2, '') and err.startswith('usage: promlstm') and says in err.splitlines()[-1]


def test_the_version(run):
    """The version of the program that runs."""
    assert run('--version') == (0, f'promlstm {promlstm.__version__}\n', '')


def test_it_runs_as_a_module():
    """`python -m promlstm` is the same program, with its own exit status."""
    done = subprocess.run(
        [sys.executable, '-m', 'promlstm', 'check-model', 'none'], cwd=servers.ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, '', 'promlstm: none: cannot be read: No such file or directory\n')


# -- check-model


def card(run, *args):
    """({row of the identity block: text}, [the tables below it: [lines]])."""
    status, out, err = run('check-model', *args)
    assert (status, err) == (0, '')
    identity, *tables = out.rstrip('\n').split('\n\n')
    return {line[:12].strip(): line[13:] for line in identity.splitlines()}, [table.splitlines() for table in tables]


def cells(line):
    """The cells of a table's line: they are at least two blanks apart."""
    return re.split(r' {2,}', line.strip())


def test_the_card_of_the_default_model(run):
    """The card says which file it is, what the model costs, what it was made from, and that it computes the right numbers here."""
    read, _ = card(run, 'builtin:default')
    loaded = session.load(DEFAULT).bundle
    assert read['model'] == 'default' and read['family'] == 'ensemble'
    assert read['sha256'] == bundle.digest(DEFAULT.read_bytes())
    assert read['file'].startswith(str(DEFAULT))
    memory = f'{loaded.state_bytes(1)} bytes of state and {loaded.season_bytes(1)} bytes of seasonal memory per entity and feature'
    assert read['memory'] == memory
    assert read['warm-up'].startswith(f'{loaded.manifest.warmup_steps} samples before the first score; ')
    assert f'reads {loaded.manifest.replay_steps} steps' in read['warm-up']
    assert read['calibration'].startswith('measured: ')
    assert read['proof'].startswith('verified on this machine: ')
    assert {'description', 'created', 'features', 'steps', 'season', 'views', 'trained on', 'made with'} <= set(read)


def test_the_card_has_every_figure_beside_what_it_is_compared_with(run):
    """One table per evaluation set, one row per measure or kind of fault: the model, without LSTM, the best baseline."""
    evaluation = session.load(DEFAULT).bundle.manifest.evaluation
    _, (_, *tables) = card(run, 'builtin:default')
    assert [re.match(r'Evaluation on (\w+)', table[0])[1] for table in tables] == sorted(evaluation)
    found = {re.match(r'Evaluation on (\w+)', table[0])[1]: [cells(line) for line in table[1:]] for table in tables}
    for name, rows in found.items():
        figures = evaluation[name]
        assert sum(len(row) - 1 for row in rows[1:]) == len(figures)
        for suffix, column in (('', 'MODEL'), ('_without_lstm', 'WITHOUT LSTM'), ('_best_baseline', 'BEST BASELINE')):
            key = next((key for key in ('auc_pr', 'best_event_f1', 'spike_recall_at_1_per_week') if key + suffix in figures), None)
            if key:
                title = {'auc_pr': 'AUC-PR', 'best_event_f1': 'best event F1'}.get(key, 'spike')
                (row,) = [row for row in rows if row[0] == title]
                assert row[rows[0].index(column)] == f'{figures[key + suffix]:.3f}'
    assert {row[0] for row in found['injected_60s'][1:]} == {
        'spike', 'shift', 'ramp', 'drop to zero', 'flat line', 'drift', 'lost season', 'variance', 'dip', 'bump', 'burst'
    }  # fmt: skip


def test_the_card_has_the_calibration_as_a_table(run):
    """One row per step range and class: the surprise that each budget allows, and the lowest budget that was measured."""
    calibration = session.load(DEFAULT).bundle.calibration
    _, ((_, header, *rows), *_) = card(run, 'builtin:default')
    assert cells(header) == ['STEP', 'CLASS', '1/MONTH', '1/WEEK', '1/DAY', 'FLOOR'] and len(rows) == len(calibration.rows)
    minute = next(i for i, row in enumerate(calibration.rows) if row.step_seconds == (30, 150) and row.klass == 0)
    expected = [calibration.threshold(alarms, step_seconds=60) for alarms in (7 / 30, 1, 7)]
    floor = calibration.rows[minute].alarms_per_entity_week[-1]
    assert cells(rows[minute]) == ['30s to 2m30s', '0', *(f'{surprise:.2f}' for surprise in expected), f'{floor:.3g}']


def test_the_card_of_a_model_with_fixed_features(run, tmp_path):
    """Features by name, memory for all of them, and a measure of any name."""
    read, tables = card(run, tiny_model.write(tmp_path / 'x.onnx', features=('cpu', 'memory'), views=('above', 'below')))
    assert (read['features'], read['views'], read['season']) == ('cpu, memory', 'above, below', '24 slots in 1d')
    assert read['memory'] == f'{2 * 16 + 4} bytes of state and {2 * 24 * 4} bytes of seasonal memory per entity'
    assert tables[-1] == ['Evaluation on none', '  MEASURE  MODEL', '  f1       0.500']


def test_a_model_that_is_not_calibrated_says_so_on_its_card(run, tmp_path):
    """There is no table of surprise then."""
    read, tables = card(run, tiny_model.write(tmp_path / 'x.onnx', calibration=bundle.Calibration(status='none')))
    assert read['calibration'] == 'none: the model gives surprise but no score'
    assert [table[0] for table in tables] == ['Evaluation on none']


@pytest.mark.parametrize('width', [80, 120])
def test_the_card_fits_the_terminal(run, monkeypatch, width):
    """Long texts are wrapped under their row; no line is wider than the terminal."""
    monkeypatch.setenv('COLUMNS', str(width))
    _, out, _ = run('check-model', 'builtin:default')
    assert max(map(len, out.splitlines())) <= width
    assert any(line.startswith(' ' * 13) for line in out.splitlines())


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
    """--sha256 is compared before anything in the file is used."""
    assert refused(run, 'check-model', 'builtin:default', '--sha256', '0' * 64).endswith(
        f'the configuration pins {"0" * 64}: this is another file'
    )


def test_a_model_that_computes_other_numbers_here(run, tmp_path):
    """A failed proof is status 1 and says what differs."""
    surprise = tiny_model.proven().cases[0].outputs['surprise'].numpy() + np.float32(1)
    path = tiny_model.write(tmp_path / 'x.onnx', proof=tiny_model.proven(outputs={'surprise': surprise}))
    assert refused(run, 'check-model', path).startswith(f'{path}: the proof at steps of 60 s fails: surprise at step 3, entity 0: got ')


def test_a_model_that_is_not_shipped(run):
    """builtin: with an unknown name is refused, and the message lists the known ones."""
    known = 'builtin:default, builtin:forecast, builtin:forecaster'
    assert refused(run, 'check-model', 'builtin:none') == f'builtin:none: no such model comes with promlstm; there is {known}'


# -- check-config


def checked(out):
    """What check-config printed: ({detector: {column: cell}}, [lines of warnings and errors], last line)."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith('DETECTOR'))
    rows = [cells(line) for line in lines[start : lines.index('', start)]]
    detectors = {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[1:]}
    return detectors, [line for line in lines if line.startswith(('warning: ', 'error: '))], lines[-1]


def test_a_good_configuration(run):
    """One line a detector with its cost, the model, the totals, and status 0; offline, Prometheus is not queried."""
    path = FILES / 'valid-least.yml'
    status, out, err = run('check-config', '--offline', path)
    digest, floor = bundle.digest(DEFAULT.read_bytes())[:12], session.load(DEFAULT).bundle.calibration.row(0, 60).alarms_per_entity_week[-1]
    detectors, problems, last = checked(out)
    assert (status, err, problems, last) == (0, '', [], f'{path}: OK')
    memory = detectors['node_cpu'].pop('PER ENTITY')
    assert detectors == {'node_cpu': {'QUERIES': '1', 'STEP': '1m', 'MODEL': 'default', 'BUDGET': '1/week each', 'FLOOR': f'{floor:.3g}'}}
    assert re.fullmatch(r'\d+\.\d+ KiB', memory)
    assert [cells(line) for line in out.splitlines()[3:5]] == [
        ['MODEL', 'SHA256', 'STEP', 'FIRST SCORE AFTER', 'HISTORY READ AT START'],
        ['default', digest, '1m', '40m', '2d, 8d coarse'],
    ]
    assert '\ntotal: 1 detector, 1 queries a minute, 0 warnings, 0 errors\n' in out


MANY = [f'--preset={name}' for name in ('node', 'kafka', 'redis')]


@pytest.mark.parametrize('width', [80, 100, 140])
def test_many_detectors_are_one_line_each_and_fit_the_terminal(run, monkeypatch, width):
    """No line is wider than the terminal, each detector has one line and its full name."""
    monkeypatch.setenv('COLUMNS', str(width))
    status, out, _ = run('check-config', '--offline', *MANY)
    names = [detector.name for detector in presets.config(['node', 'kafka', 'redis']).detectors]
    lines = out.splitlines()
    assert status == 0 and len(names) >= 12 and [line.split()[0] for line in lines[1 : 1 + len(names)]] == names
    assert max(map(len, lines[:-1])) <= width and '\x1b' not in out and '…' not in out


def test_a_table_that_is_too_wide_gives_up_columns_and_says_so(run, monkeypatch):
    """First what is the same for all detectors, which is said once below; then what the totals tell as well."""
    monkeypatch.setenv('COLUMNS', '60')
    _, out, _ = run('check-config', '--offline', *MANY)
    assert out.split('\n')[0].split() == ['DETECTOR', 'QUERIES', 'PER', 'ENTITY', 'BUDGET', 'FLOOR'] and '…' not in out
    assert '\nall detectors: model default, step 1m\n' in out
    monkeypatch.setenv('COLUMNS', '40')
    _, out, _ = run('check-config', '--offline', *MANY)
    assert out.split('\n')[0].split() == ['DETECTOR', 'PER', 'ENTITY']
    assert '\nnot shown in a terminal this narrow: floor, queries\n' in out.replace('\n  ', ' ') and '…' not in out


@pytest.mark.parametrize('name', ['step-zero', 'url-password', 'yaml-tab', 'unknown-detector'])
def test_a_bad_configuration(run, name):
    """The one line that the reader of configurations gives, and status 1."""
    path = FILES / f'invalid-{name}.yml'
    assert refused(run, 'check-config', path) == f'{path}: {path.read_text().splitlines()[0].removeprefix("# ")}'


@pytest.mark.parametrize('command', [['check-config'], ['run', '--web.listen-address=127.0.0.1:0'], ['backtest']])
def test_a_configuration_with_several_mistakes(run, command):
    """All of them at once, one line each, whichever command reads the file."""
    path = FILES / 'invalid-several.yml'
    file = [path] if command == ['check-config'] else [f'--config.file={path}']
    status, out, err = run(*command, *file)
    says = [line.removeprefix('# ') for line in path.read_text().splitlines() if line.startswith('# ')]
    assert (status, out, err.splitlines()) == (1, '', [f'promlstm: {path}: {each}' for each in says])


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
            f'{DEFAULT}: sha256 is {bundle.digest(DEFAULT.read_bytes())}, the configuration pins {"0" * 64}: this is another file',
        ),
        ({'step': '2d'}, 'the model has no calibration for class 0 at a step of 172800 s'),
        ({'model': 'tiny.onnx', 'step': '500ms'}, 'the model has no calibration for class 0 at a step of 0.5 s'),
        (
            {'model': 'tiny.onnx', 'false_alarms': '1/year each'},
            'a budget of 0.0192 alarms per entity-week is below what the calibration was measured for: the floor is 0.1 per entity-week at a step of 60 s; '
            'set at least 0.1/week each',
        ),
        (
            {'model': 'bare.onnx'},
            'the model is not calibrated (status "none"): it gives surprise, no score; finish `python -m convert calibrate`',
        ),
        (
            {'model': 'classes.onnx', 'false_alarms': '1/week each'},
            'a budget of 1 alarms per entity-week is below what the calibration was measured for: '
            'the floor is 20 per entity-week at a step of 60 s; set at least 20/week each',
        ),
        ({'model': 'two.onnx'}, 'model tiny is made for the features cpu, memory, the detector has 1'),
    ],
)
def test_a_model_that_does_not_fit_is_named(run, tmp_path, detector, says):
    """The error names the detector, the others are checked all the same, and the status is 1."""
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
    detectors, problems, last = checked(out)
    assert (status, problems) == (1, ['error: cpu: ' + says.format(folder=tmp_path)])
    assert detectors['other']['STEP'] == '1m' and detectors['cpu']['QUERIES'] == '1'
    assert ', 1 error\n' in out and last == f'{path}: FAILED, see the errors above'


def test_the_file_of_run_is_checked_unless_another_is_named(run, tmp_path, monkeypatch):
    """promlstm.yml, as for run and backtest."""
    monkeypatch.chdir(tmp_path)
    assert refused(run, 'check-config') == 'promlstm.yml: cannot be read: No such file or directory'
    config(tmp_path)
    status, out, _ = run('check-config', '--offline')
    assert (status, out.splitlines()[-1]) == (0, 'promlstm.yml: OK')


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
    """The exporter can run with it, so the status is 0; but a value that only grows cannot be predicted."""
    status, out, _ = run('check-config', '--offline', config(tmp_path, **detector))
    assert status == 0 and checked(out)[1] == [f'warning: cpu: {text}' for text in says]


@pytest.mark.real
def test_an_expression_without_series_is_warned_of(run, tmp_path, prometheus):
    """Prometheus accepts it and has nothing: the warning names detector, expression, instant and possible reasons, and the status is 0."""
    prometheus.wait_for('up')
    features = {'up': 'up', 'none': 'nothing_of_that_name'}
    status, out, _ = run('check-config', config(tmp_path, prometheus.url, delay='0s', expr=None, by=['job'], features=features))
    detectors, (warning,), _ = checked(out)
    assert (status, detectors['cpu']['ENTITIES']) == (0, '1')
    assert warning.startswith('warning: cpu: features.none returned no series at now - delay (0s ago): this feature would be missing')
    status, out, _ = run('check-config', config(tmp_path, prometheus.url, delay='0s', expr='nothing_of_that_name'))
    detectors, (warning,), _ = checked(out)
    assert (status, detectors['cpu']['ENTITIES'], detectors['cpu']['MEMORY']) == (0, '0', '0 B')
    assert warning.startswith('warning: cpu: expr returned no series at now - delay (0s ago): nothing would be scored')
    (note,) = [line for line in out.splitlines() if line.startswith('note: ')]
    assert all(reason in note for reason in ('just started', '`delay`', 'look-back'))
    status, out, _ = run('check-config', config(tmp_path, prometheus.url, delay='0s'))
    detectors, problems, _ = checked(out)
    assert (status, problems) == (0, []) and detectors['cpu']['MEMORY'].endswith('KiB')
    assert '1 entity, ' + detectors['cpu']['MEMORY'] + ' of memory' in out


@pytest.mark.real
def test_when_the_first_score_comes_is_said_beside_what_the_server_keeps(run, tmp_path):
    """A daily detector on a Prometheus as it comes: days that are lacking, and what to do; one of a second needs less than there is."""
    with servers.Prometheus(tmp_path, retention='15d') as prometheus:
        prometheus.wait_for('up')
        status, out, _ = run('check-config', config(tmp_path, prometheus.url, delay='0s', step='1d'))
        _, (warning,), _ = checked(out)
        assert status == 0 and 'keeps samples for 15d' in out.splitlines()[0]
        assert warning == (
            'warning: cpu: the first score takes 40 samples, 40d at a step of 1d, and the server keeps them for 15d: after each start at least '
            '26d pass without a score; keep samples for 41d (--storage.tsdb.retention.time), or set a step of 8h or less'
        )
        assert 'first scores: up to 41d after the first sample, for there is less history: cpu (the server keeps 15d)\n' in out
        path = config(tmp_path, prometheus.url, delay='0s', step='1s')
        prometheus.wait_for('count_over_time(up[2m]) > 41', limit_seconds=120)  # of a sample each second
        servers.wait_until(lambda: 'first scores: soon after the start' in run('check-config', path)[1], 90, 'history of 41 seconds')
        assert checked(run('check-config', path)[1])[1] == []


def test_a_server_that_does_not_say_how_long_it_keeps_samples(run, tmp_path):
    """As Thanos, Mimir and VictoriaMetrics: a daily detector is warned of what Prometheus keeps by default."""
    answer = '{"status":"success","data":{"resultType":"%s","result":[%s]}}'
    sample = f'{{"metric":{{}},"value":[{time.time():.0f},"1"]}}'

    def page(peer, number):
        while request := peer.request():
            old = float(request.form.get('time', 0)) < time.time() - 86400
            body = answer % (('matrix', '') if 'range' in request.target else ('vector', '' if old else sample))
            peer.answer(b'not found', 404) if 'status' in request.target else peer.answer(body.encode())

    with wire.Wire(page) as server:
        status, out, _ = run('check-config', config(tmp_path, server.url, step='1d'))
    assert status == 0 and 'its retention is unknown' in out.splitlines()[0]
    assert 'the retention of the server is unknown: Prometheus keeps 15d by default' in out


@pytest.mark.parametrize(
    ('limit', 'lines'),
    [
        (None, []),
        (2**29, ['memory limit of this container or unit: 512 MiB, room for about 96370 entities']),
        (10**8, ['memory limit of this container or unit: 95.4 MiB, room for about 2156 entities',
                 'warning: memory: about 181 MiB are needed now, the limit is 95.4 MiB: raise the limit, aggregate the expressions, or set max_entities']),
    ],
)  # fmt: skip
def test_what_fits_into_the_memory_limit_is_said(limit, lines):
    """Of a container or a unit of systemd: the entities that fit, and a warning where those that there are now do not."""
    (detector,) = configuration.parse('prometheus: {url: http://x}\ndetectors: [{name: d, expr: up}]').detectors
    assert check._memory([check.Checked(detector, per_entity_bytes=4637, entities=21_500)], limit) == lines


@pytest.mark.real
def test_entities_beyond_the_limit_and_a_shared_budget_below_the_floor_are_warned_of(run, tmp_path, prometheus):
    """Both can run, and both mean that less is watched, or more alarms come, than was asked for."""
    prometheus.wait_for('count(prometheus_http_requests_total) > 2')
    limited = config(tmp_path, prometheus.url, delay='0s', expr='prometheus_http_requests_total > -1', max_entities=1, false_alarms='0.002/week in all')
    status, out, _ = run('check-config', limited)
    one, beyond, budget = checked(out)[1]
    assert one == 'warning: cpu: max_entities of 1: only the first entity is scored'
    assert status == 0 and re.fullmatch(r'warning: cpu: [1-9]\d* entities beyond max_entities \(1\) would not be scored', beyond)
    assert budget.startswith('warning: cpu: the budget, shared among 1 entities, is 0.002 per entity-week, below the floor of ')


@pytest.mark.real
def test_a_label_to_group_by_that_no_series_has_is_warned_of(run, tmp_path, prometheus):
    """All series become one without labels. Where that is meant, nothing is said."""
    prometheus.wait_for('up')
    expected = 'warning: cpu: by (instence): the answer is one series without labels, so all series are one entity; check the spelling'
    for expr, warned in (
        ('sum by (instence) (up)', True), ('sum(up) by (instence)', True), ('sum by (instance) (up)', False), ('sum(up)', False),
        ('count(sum by (instance) (up))', False),
    ):  # fmt: skip
        _, out, _ = run('check-config', config(tmp_path, prometheus.url, delay='0s', expr=expr))
        assert checked(out)[1] == ([expected] if warned else [])


@pytest.mark.real
def test_features_that_do_not_join_are_warned_of(run, tmp_path, prometheus):
    """A label that no series has, and features that have no entity in common: each entity would be judged by one of them alone."""
    prometheus.wait_for('up')
    features = {'up': 'up', 'other': 'label_replace(up, "instance", "elsewhere", "", "")'}
    _, out, _ = run('check-config', config(tmp_path, prometheus.url, delay='0s', expr=None, by=['instence'], features={'up': 'up', 'twice': 'up * 2'}))
    (warning,) = checked(out)[1]
    assert warning == 'warning: cpu: by: no series has the label instence, so it tells no entities apart; look at its spelling'
    _, out, _ = run('check-config', config(tmp_path, prometheus.url, delay='0s', expr=None, by=['instance'], features=features))
    (warning,) = checked(out)[1]
    assert warning.startswith('warning: cpu: by: no entity has all features')
    _, out, _ = run('check-config', config(tmp_path, prometheus.url, delay='0s', expr=None, by=['instance'], features={'up': 'up', 'twice': 'up * 2'}))
    assert checked(out)[1] == []


@pytest.mark.real
def test_a_rejected_expression_is_an_error(run, tmp_path, prometheus):
    """The message is that of Prometheus, after the name of the detector, and the status is 1."""
    path = config(tmp_path, prometheus.url, expr='sum(')
    status, out, _ = run('check-config', path)
    detectors, (error,), last = checked(out)
    assert (status, last) == (1, f'{path}: FAILED, see the errors above') and detectors['cpu']['ENTITIES'] == '–'
    assert error.startswith('error: cpu: ') and 'rejects the expression' in error and 'sum(' in error


def test_an_unreachable_prometheus_is_reported_and_no_error(run, tmp_path):
    """A configuration can be checked where its Prometheus is not; the output says that expressions were not tried."""
    path = config(tmp_path)
    status, out, _ = run('check-config', path)
    assert status == 0 and checked(out)[2] == f'{path}: OK' and 'ENTITIES' not in out
    assert re.match(r'prometheus: http://127\.0\.0\.1:1 cannot be reached: .+; expressions are not checked\n', out)


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
def test_a_mistake_is_reported_before_anything_runs(run, args, says):
    """One line, status 1."""
    assert refused(run, *args) == says


# -- flags and answers that say no


@pytest.mark.parametrize(
    ('args', 'says'),
    [
        (['run', '--config.file='], '--config.file: is empty; expected the path of a configuration file'),
        (['check-config', ''], 'FILE: is empty; expected the path of a configuration file'),
        (['run', '--preset=node', '--config.file=mine.yml'], '--preset and the configuration file mine.yml: give one of them'),
        (['check-config', 'mine.yml', '--preset=node'], '--preset and the configuration file mine.yml: give one of them'),
        (['run', '--prometheus.url=http://x:9090'], '--prometheus.url is for --preset only'),
        (['backtest', '--config.file=mine.yml', '--preset.without=node_cpu'], '--preset.without is for --preset only'),
    ],
)
def test_flags_that_would_have_no_effect_are_refused(capsys, args, says):
    """A flag beside another that makes it useless is a usage error, not silence."""
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 2 and says in capsys.readouterr().err


def test_a_detector_of_a_preset_can_be_left_out(run):
    """One that a fleet has no use for; a name that no preset has is an error with those that there are."""
    status, out, _ = run('check-config', '--preset=kafka', '--preset.without=kafka_lag', '--offline')
    assert status == 0 and 'kafka_brokers' in out and 'kafka_lag' not in out
    status, _, err = run('check-config', '--preset=kafka', '--preset.without=lag', '--offline')
    assert status == 1 and '--preset.without=lag: no such detector; the presets have kafka_messages, kafka_lag' in err


@pytest.mark.parametrize(
    ('answer', 'says'),
    [
        ((401, b'Unauthorized'), 'answered 401: not allowed; check basic_auth, authorization or oauth2'),
        ((403, b'{"status":"error","error":"forbidden"}'), 'answered 403: not allowed; check basic_auth, authorization or oauth2: 403: forbidden'),
        ((302, b'', {'Location': 'http://login.example/'}), 'redirects to http://login.example/'),
        ((404, b'nothing here'), 'answered 404: there is no api/v1/query below it'),
        ((200, b'<html>'), 'with something that is not a query result'),
    ],
)
def test_an_answer_that_says_no_fails_the_check(run, tmp_path, answer, says):
    """`run` would never read a sample: status 1, with the reason; nothing is called reachable."""
    status, body, *headers = answer
    with serving(lambda: body, status=status, headers=headers[0] if headers else None) as address:
        url = f'http://{address}'
        (tmp_path / 'promlstm.yml').write_text(f'prometheus: {{url: "{url}"}}\ndetectors: [{{name: d, expr: up}}]\n')
        status, out, _ = run('check-config', str(tmp_path / 'promlstm.yml'))
    assert status == 1 and f'error: prometheus: {url}' in out and says in out and 'reachable,' not in out


@pytest.mark.parametrize('offline', [[], ['--offline']], ids=['online', 'offline'])
@pytest.mark.parametrize(
    ('keys', 'says'),
    [
        ('basic_auth: {username: me, password_file: none.txt}', 'none.txt: secret cannot be read: No such file or directory'),
        (
            'oauth2: {client_id: me, client_secret_file: none.txt, token_url: "http://127.0.0.1:1/"}',
            'none.txt: secret cannot be read: No such file or directory',
        ),
        (
            'oauth2: {client_id: me, client_secret_file: secret, token_url: "https://127.0.0.1:1/", tls_config: {ca_file: promlstm.yml}}',
            'prometheus.oauth2.tls_config: a certificate or key cannot be used: ',
        ),
        ('tls_config: {ca_file: none.pem}', 'none.pem: tls_config.ca_file is not a file'),
        ('tls_config: {ca_file: promlstm.yml}', 'prometheus.tls_config: a certificate or key cannot be used'),
    ],
)
def test_a_secret_or_certificate_that_cannot_be_used_fails_the_check(run, tmp_path, keys, says, offline):
    """With --offline as well: the files are here."""
    (tmp_path / 'secret').write_text('hunter2')
    (tmp_path / 'promlstm.yml').write_text(f'prometheus: {{url: "https://127.0.0.1:1", {keys}}}\ndetectors: [{{name: d, expr: up}}]\n')
    status, out, _ = run('check-config', str(tmp_path / 'promlstm.yml'), *offline)
    assert status == 1 and 'error: prometheus: ' in out and says in out and 'hunter2' not in out
