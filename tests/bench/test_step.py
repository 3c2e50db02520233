"""`bench step`: what is measured are entities with scores, and the command prints and writes what it measured."""

import json
import subprocess
import sys

import pytest

from bench import __main__ as bench
from bench import step, warmed
from bench.answers import config
from promlstm.engine import session

MODEL = 'builtin:forecaster'  # the one that warms up in a second
SCORED = ('anomaly_score', 'observed', 'expected', 'expected_lower', 'expected_upper')


@pytest.fixture(scope='module')
def remembered():
    loaded = session.load(session.resolve(MODEL), prove=False)
    return warmed.memory(config('http://localhost').detectors[0], loaded)


def test_what_is_measured_has_scores_on_its_page(remembered):
    """Every entity has a line in the families of a score, and one in a thousand is anomalous, from the first step measured to the last."""
    row = step.measure(2000, MODEL, remembered, rounds=2)
    assert {row['lines'][f'promlstm_{family}'] for family in SCORED} == {2000}
    assert row['anomalous'] == row['lines']['promlstm_anomaly_start_timestamp_seconds'] == 2
    assert set(row['seconds']) == {*step.STAGES, 'columns', 'own time'}
    assert set(row['floors']) == set(step.FLOORS)


@pytest.mark.slow
def test_the_file_says_on_what_it_was_measured(tmp_path):
    """The command in full: a row for each size, in the table and in the file."""
    file = tmp_path / 'step.json'
    command = [sys.executable, '-m', 'bench', '--entities=10,1000', f'--json={file}', f'--model={MODEL}']
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout
    said = json.loads(file.read_text())
    assert [row['entities'] for row in said['sizes']] == [10, 1000]
    assert said['model'] == MODEL
    assert {'date', 'machine', 'load', 'load_after', 'versions'} <= said.keys()
    assert all(stage in printed for stage in step.STAGES)
    pages = [page for row in said['sizes'] for page in row['exports'].values()]
    assert len(pages) == 6 and all(page['page_bytes'] > page['page_gzip_bytes'] > 0 for page in pages)
    assert all(row['exports']['all']['page_bytes'] > 5 * row['exports']['anomalous']['page_bytes'] for row in said['sizes'])


@pytest.mark.slow
def test_without_names_all_that_is_usual_is_measured(tmp_path, monkeypatch, capsys):
    """One after the other; the file has what was printed, and the figures of the step as its own file has them."""
    monkeypatch.setattr(bench, 'USUAL', ('step', 'footprint'))
    monkeypatch.setattr(step, 'SIZES', (10,))
    monkeypatch.setattr(step, 'MODEL', MODEL)
    file = tmp_path / 'all.json'
    assert bench.main([f'--json={file}']) == 0
    said, printed = json.loads(file.read_text()), capsys.readouterr().out
    assert [row['entities'] for row in said['sizes']] == [10] and list(said['printed']) == ['step', 'footprint']
    assert all(line in printed.splitlines() for lines in said['printed'].values() for line in lines)


def test_what_is_usual_is_what_there_is():
    """And all of it is short but the churn."""
    assert set(bench.USUAL) <= {*bench.NAMES, 'churn'}


@pytest.mark.parametrize('arguments', [['--entities=0'], ['--entities=many'], ['--entities='], ['--entities=1000,x']])
def test_a_size_that_is_none_is_refused(arguments, capsys):
    """Before anything is measured, and by the name of the option."""
    with pytest.raises(SystemExit):
        bench.main(arguments)
    assert 'argument --entities' in capsys.readouterr().err


def test_a_measurement_that_there_is_not(capsys):
    """It is named, with those that there are."""
    assert bench.main(['steps']) == 2
    assert "no measurement 'steps'" in capsys.readouterr().err
