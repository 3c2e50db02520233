"""A command takes the options that it uses and no other, and its help shows them with what it reads and leaves, and an example."""

import re
import shlex
import subprocess
import sys

import pytest
from recipes import GOOD, convert
from servers import ROOT

from convert import arguments
from convert.__main__ import main

OWN = ('wrap', 'quantize', 'compare', 'benchmark', 'figures', 'healthy', 'graph')
COMMANDS = (*arguments.STAGES, *OWN)
RECIPE = 'convert/recipes/default.yml'
HEAVY = 'import sys; from convert.__main__ import main; status = main(sys.argv[1:]); print(sorted({"tensorflow", "keras", "onnx"} & set(sys.modules)))'


def help_of(capsys, *command):
    """What --help prints."""
    with pytest.raises(SystemExit) as end:
        main([*command, '--help'])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_list_names_every_command_in_order(capsys):
    """One line each, with what it is for."""
    listed = re.findall(r'^    (\w+)  +\w.*$', help_of(capsys).split('examples:')[0], re.MULTILINE)
    assert tuple(listed) == COMMANDS


@pytest.mark.train
def test_the_stages_are_the_stages():
    """The same names in the same order as they are run, and what each leaves is in its help."""
    from convert import stages

    assert tuple(arguments.STAGES) == (*stages.STAGES, 'all')
    for name, stage in stages.STAGES.items():
        for file in stage.leaves:
            assert file.removeprefix('data/') in arguments.STAGES[name].description, (name, file)
    assert all('eave' in stage.description and 'Reads' in stage.description for stage in arguments.STAGES.values())


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_shows_an_example_that_parses(command, capsys):
    """Each line of a help that shows a command can be copied as it is."""
    text = help_of(capsys, command)
    shown = re.findall(r'^  python -m convert (.*)$', text, re.MULTILINE)
    assert shown and any(line.startswith(f'{command} ') for line in shown)
    for line in (*shown, *re.findall(r'^  python -m convert (.*?)(?:  .*)?$', arguments.EPILOG, re.MULTILINE)):
        assert arguments.parse(shlex.split(line)).command in COMMANDS, line


@pytest.mark.parametrize(
    ('command', 'options'),
    [
        ('fetch', '--work --until --part'),
        ('train', '--work --until'),
        ('export', '--work'),
        ('verify', '--work'),
        ('calibrate', '--work --data'),
        ('evaluate', '--work --out --data --service --until --part --learning-curve --search'),
        ('release', '--work --out --force --keep-on-refusal'),
        ('all', '--work --out --data --service --until --force --keep-on-refusal'),
        ('wrap', '--scaling --feature --step --slowest-step --window --output --name --description --healthy --out'),
        ('quantize', '--out'),
        ('compare', '--recipe --data --html --json'),
        (
            'benchmark', '--data --root-cause --forecast --against --sample --sets --out --json --errors --recurring-counts --standing '
            '--most-by-one-entity --processes',
        ),
        ('figures', ''),
        ('healthy', '--days --entities'),
        ('graph', '--days --detector --label --out --simulated'),
    ],
)
def test_the_help_of_a_command_has_its_options_only(command, options, capsys):
    """And so has what it takes: the rest is refused with the usage of that command."""
    listed = re.findall(r'^  (--[\w-]+)', help_of(capsys, command), re.MULTILINE)
    assert set(listed) == set(options.split())
    needed = {'wrap': ['x', '--scaling=y', '--step=60s', '--out=z'], 'quantize': ['x', 'y', '--out=z'], 'compare': ['x', 'y'], 'benchmark': ['x', '--data=D']}
    required = needed.get(command, ['x'])
    for other in ('--learning-curve', '--force', '--data=DIR', '--until=today', '--json'):
        if other.split('=')[0] in listed:
            continue
        with pytest.raises(SystemExit) as end:
            main([command, *required, other])
        error = capsys.readouterr().err
        assert end.value.code == 2 and error.startswith(f'usage: python -m convert {command} ') and error.endswith(f'unrecognized arguments: {other}\n')


@pytest.mark.parametrize(
    'line',
    [
        'all convert/recipes/default.yml --out promlstm/models/default.onnx',
        'all own.yml --service none --data DIR --force --work build/own',
        'all own.yml --until today --keep-on-refusal',
        'evaluate own.yml --learning-curve',
        'evaluate own.yml --search --service=builtin:default',
        'release own.yml --out own.onnx --force',
        'fetch own.yml --until 2026-01-31',
    ],
)
def test_options_come_in_any_order(line):
    """After the command, before or after the recipe."""
    command, recipe, *rest = line.split()
    assert arguments.parse([command, recipe, *rest]) == arguments.parse([command, *rest, recipe])


@pytest.mark.parametrize(
    ('line', 'status', 'message'),
    [
        ('train none.yml', 1, 'convert: none.yml: cannot be read: No such file or directory\n'),
        ('evaluate none.yml --learning-curve', 1, 'convert: none.yml: cannot be read: No such file or directory\n'),
        ('quantize none.onnx recipe.yml --out x.onnx', 1, 'convert: none.onnx: no such file\n'),
        ('wrap none.keras --scaling x --step 60s --out x.onnx', 1, 'convert: none.keras: no such file\n'),
        (f'quantize promlstm/models/default.onnx {RECIPE}x --out x.onnx', 1, f'convert: {RECIPE}x: cannot be read: No such file or directory\n'),
        ('benchmark none.onnx --data none', 1, 'convert: none: no such folder: expected labelled telemetry, DIR/SET/ENTITY.npz\n'),
        ('figures none.onnx', 1, 'convert: none.onnx: cannot be read: No such file or directory\n'),
        ('figures builtin:default', 0, ''),
    ],
)
def test_a_mistake_is_reported_before_tensorflow_is_imported(line, status, message):
    """In one line, at once."""
    code = HEAVY + '; sys.exit(status)'
    done = subprocess.run([sys.executable, '-c', code, *line.split()], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1]) == (status, message, '[]')


def test_figures_prints_the_tables_of_the_documents(capsys):
    """Those of the shipped model."""
    assert main(['figures', 'builtin:default']) == 0
    assert '### Surprise at a budget of false alarms' in capsys.readouterr().out


def test_what_the_disk_refuses_is_one_line(tmp_path, capsys):
    """Not a traceback: a work folder that is a file."""
    (tmp_path / 'tiny.yml').write_text(GOOD + 'data: {config: p.yml, spans: {train: [[0, 86400]]}}\n')
    (tmp_path / 'p.yml').write_text('{prometheus: {url: "http://127.0.0.1:1"}, detectors: [{name: x, expr: x}]}')
    (tmp_path / 'work').write_text('')
    assert main(['fetch', str(tmp_path / 'tiny.yml'), f'--work={tmp_path}/work']) == 1
    error = capsys.readouterr().err
    assert error.startswith('convert: ') and error.count('\n') == 1 and 'a file or a dangling link is where a folder is expected' in error


def test_without_a_command_the_usage_is_shown():
    done = convert()
    assert done.returncode == 2 and done.stderr.startswith('usage: python -m convert')
