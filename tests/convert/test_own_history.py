"""Own history out of a file, with incidents that a team has labelled: a classifier learns them, and the curve says how much of it is enough."""

import csv
import json
import re

import fleet_history
import pytest
from recipes import CLASSIFIER, convert, convert_here

from convert import learning_curve
from promlstm.engine import session

pytestmark = pytest.mark.train
END = 1_764_000_000 // fleet_history.DAY * fleet_history.DAY
STEP = 300


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
    """A recipe on a CSV of five days; no faults are injected, so only labels show what an anomaly is."""
    folder = tmp_path_factory.mktemp('own')
    times, values, faults = fleet_history.telemetry(16, 5, END, faulty_each=2)
    with open(folder / 'past.csv', 'w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['time', 'host', 'value'])
        rows.writerows((time, f'h{i}', value) for i, row in enumerate(values) for time, value in zip(times[::5], row[::5], strict=True) if value == value)
    detector = {'name': 'load', 'expr': 'past_load', 'step': '5m', 'delay': '0s', 'history': '1d'}
    (folder / 'promlstm.yml').write_text(json.dumps({'prometheus': {'url': 'http://not-asked'}, 'detectors': [detector]}))
    turn = END - fleet_history.DAY // 2
    data = {
        'config': 'promlstm.yml', 'files': {'load': ['past.csv']}, 'spans': {'train': [[END - 4 * fleet_history.DAY, turn]], 'test': [[turn, END]]},
        'labels': [{'span': [each.start, each.end], 'match': f'{{host="h{each.series}"}}', 'why': each.kind} for each in faults],
    }  # fmt: skip
    path = folder / 'own.yml'
    path.write_text(CLASSIFIER.replace('faults_per_1000: 3', 'faults_per_1000: 0') + f'data: {json.dumps(data)}\n')
    return path


def test_labels_teach_a_classifier(recipe):
    """From the file to a released model that was compared with baselines on its own test span; without the labels there is nothing to learn."""
    done = convert_here('all', recipe, '--work', recipe.parent / 'work', '--force')
    assert done.returncode == 0, done.stderr
    bundle = session.load(recipe.parent / 'work/tiny.onnx').bundle
    assert (bundle.manifest.family, bundle.calibration.status, bundle.manifest.warmup_steps) == ('classifier', 'measured', 40)
    assert 'logit' in bundle.manifest.description and 0.5 < bundle.manifest.evaluation['training']['accuracy_held_out'] <= 1
    assert re.search(r'own history of load: [1-9]\d* samples to learn from', done.stderr)
    assert 'test_load_faults' in (recipe.parent / 'work/report.txt').read_text()
    bare = recipe.with_name('bare.yml')
    bare.write_text(re.sub(r'"labels": \[.*\]', '"labels": []', recipe.read_text()))
    done = convert_here('train', bare, '--work', recipe.parent / 'work')
    assert done.returncode == 1 and 'windows, all healthy: expected both; inject faults (faults_per_1000) or give labels' in done.stderr


@pytest.mark.accept
def test_the_curve_is_of_own_weeks(recipe):
    """Days, not entities: each part is trained and measured on the same test span. As many series are drawn from each."""
    assert convert('fetch', recipe, '--work', recipe.parent / 'curve').returncode == 0
    done = convert('evaluate', recipe, '--work', recipe.parent / 'curve', '--learning-curve')
    assert done.returncode == 0, done.stderr
    points = json.loads((recipe.parent / 'curve/curve.json').read_text())
    assert [each['data'] for each in points] == [f'{3.5 * share:.3g} days' for share in learning_curve.SHARES]
    assert max(each['entity_steps'] for each in points) < 1.1 * min(each['entity_steps'] for each in points)
    assert 'enough: ' in (recipe.parent / 'curve/curve.txt').read_text()
