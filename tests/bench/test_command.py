"""The command `python -m bench`: its help says what there is, what makes no sense is refused, what is measured is printed and written."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import servers

from bench import __main__ as bench
from bench import step

MODEL = 'builtin:forecaster'  # the one that warms up in a second


def run(*arguments):
    """The command in a process of its own."""
    return subprocess.run([sys.executable, '-m', 'bench', *arguments], cwd=servers.ROOT, capture_output=True, text=True, check=False, timeout=280)


@pytest.mark.slow
def test_the_file_says_on_what_it_was_measured(tmp_path):
    """The command in full: a row for each size, in the table and in the file."""
    file = tmp_path / 'step.json'
    printed = run('--entities=10,1_000', f'--json={file}', f'--model={MODEL}').stdout
    said = json.loads(file.read_text())
    found = said['figures']['step']
    assert [row['entities'] for row in found['sizes']] == [10, 1000]
    assert found['model'] == MODEL
    assert {'date', 'machine', 'load', 'load_after', 'versions'} <= said.keys()
    assert all(stage in printed for stage in step.STAGES)
    pages = [page for row in found['sizes'] for page in row['exports'].values()]
    assert len(pages) == 6 and all(page['page_bytes'] > page['page_gzip_bytes'] > 0 for page in pages)
    assert all(row['exports']['all']['page_bytes'] > 5 * row['exports']['anomalous']['page_bytes'] for row in found['sizes'])


@pytest.mark.slow
def test_without_names_all_that_is_usual_is_measured(tmp_path, monkeypatch, capsys):
    """One after the other; the file has the figures of each, and what was printed."""
    monkeypatch.setattr(bench, 'USUAL', ('step', 'footprint'))
    monkeypatch.setattr(step, 'SIZES', (10,))
    monkeypatch.setattr(step, 'MODEL', MODEL)
    file = tmp_path / 'all.json'
    assert bench.main([f'--json={file}']) == 0
    said, printed = json.loads(file.read_text()), capsys.readouterr().out
    assert [row['entities'] for row in said['figures']['step']['sizes']] == [10] and list(said['printed']) == ['step', 'footprint']
    assert all(line in printed.splitlines() for lines in said['printed'].values() for line in lines)


def test_its_help_lists_every_measurement(capsys):
    """Each module that measures, with the first words of what it says of itself, and those that are usual are marked."""
    measuring = {path.stem for path in Path(bench.__file__).parent.glob('*.py') if '\ndef main(' in path.read_text()} - {'__main__'}
    assert measuring == {*bench.NAMES, *bench.LONG} and len({*bench.NAMES, *bench.LONG}) == len(bench.NAMES + bench.LONG)
    with pytest.raises(SystemExit) as end:
        bench.main(['--help'])
    lines = capsys.readouterr().out.splitlines()
    assert end.value.code == 0
    for name in measuring:
        (line,) = [line for line in lines if line[4:15].strip() == name and line[:2] == '  ']
        assert (line[2] == '*') == (name in bench.USUAL) and len(line) > 40


@pytest.mark.parametrize('name', [*bench.NAMES, *bench.LONG])
def test_each_measurement_has_a_help(name, capsys):
    """It says what is measured and how."""
    with pytest.raises(SystemExit) as end:
        bench.main([name, '--help'])
    said = ' '.join(capsys.readouterr().out.split())
    assert end.value.code == 0 and f'usage: python -m bench {name} ' in said and '--json FILE' in said
    assert ' '.join(importlib.import_module(f'bench.{name}').__doc__.split()) in said


def test_what_is_usual_is_what_there_is():
    """And all of it is short but the churn."""
    assert set(bench.USUAL) <= {*bench.NAMES, 'churn'}


@pytest.mark.parametrize(
    ('arguments', 'told'),
    [
        (['--entities=0'], 'argument --entities: expected a whole number of at least 2, got 0'),
        (['--entities=many'], "argument --entities: expected a whole number, got 'many'"),
        (['--entities='], "argument --entities: expected a whole number, got ''"),
        (['--entities=1000,x'], "argument --entities: expected a whole number, got 'x'"),
        (['memory', '--entities=1'], 'argument --entities: expected a whole number of at least 2, got 1'),
        (['history', '--series=0'], 'argument --series: expected a whole number of at least 1, got 0'),
        (['queries', '--series=3'], 'argument --series: expected a whole number of at least 12, got 3'),
        (['guard', '--entities=10'], 'unrecognized arguments: --entities=10'),
        (['--json=/nonexistent/x'], 'argument --json: /nonexistent/x: cannot be written'),
        (['scrape', '--json=.'], 'argument --json: .: is a folder'),
        (['scrape', 'step', '--json=/nonexistent/x'], 'argument --json: /nonexistent/x: cannot be written'),
    ],
)
def test_options_that_mean_nothing_are_refused(arguments, told, capsys):
    """Before anything is measured, and by the name of the option."""
    with pytest.raises(SystemExit) as end:
        bench.main(arguments)
    printed = capsys.readouterr()
    assert end.value.code == 2 and told in printed.err.splitlines()[-1] and not printed.out


@pytest.mark.parametrize(
    ('arguments', 'told'),
    [
        (['steps'], "unknown measurement 'steps'; expected one of footprint, "),
        (['memory', '1000'], "unknown measurement '1000'"),
        (['step', 'all'], "unknown measurement 'all'"),
        (['scrape', 'step', '--entities=10'], '--entities=10: options need the name of one measurement before them'),
    ],
)
def test_names_that_there_are_not_are_refused_in_one_line(arguments, told, capsys):
    """With those that there are."""
    assert bench.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'bench: {told}')
