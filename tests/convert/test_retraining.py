"""From history in a real Prometheus to a model that the exporter serves: one command, and the same command again."""

import re
import time

import fleet_history
import pytest
import requests
import yaml
from exporter import Exporter
from fleet_history import DAYS, DETECTOR, SERIES
from recipes import SMALL, convert_here
from servers import wait_until

from promlstm.engine import session

pytestmark = [pytest.mark.real, pytest.mark.train]

RECIPE = """\
name: mine
description: load of our fleet
seed: 1
data:
  config: promlstm.yml
  spans:
    train: [[{a:.0f}, {b:.0f}]]
    test: [[{b:.0f}, {c:.0f}]]
  exclude:
    by_hand: [{{span: [{d:.0f}, {e:.0f}], match: '{{zone="a"}}', why: load test}}]
"""
@pytest.fixture(scope='module')
def prometheus(tmp_path_factory):
    """A real one with days of the past, and two hours of what comes, so that there is something to score however long training takes."""
    directory = tmp_path_factory.mktemp('retraining')
    times, values, _ = fleet_history.telemetry(SERIES, DAYS, time.time() // 300 * 300 + 7200, faulty_each=1)
    with fleet_history.prometheus(directory, times, values) as server:
        yield server


@pytest.fixture(scope='module')
def recipe(prometheus, accept, tmp_path_factory):
    """Ten lines, and the exporter's own configuration beside them."""
    folder, day = tmp_path_factory.mktemp('recipe'), time.time() // 86400 * 86400
    (folder / 'promlstm.yml').write_text(yaml.safe_dump({'prometheus': {'url': prometheus.url}, 'detectors': [DETECTOR]}))
    ten = RECIPE.format(a=day - 5 * 86400, b=day - 3 * 86400, c=day - (1 if accept else 2) * 86400, d=day - 4 * 86400, e=day - 4 * 86400 + 7200)
    assert len(ten.splitlines()) == 10
    (folder / 'mine.yml').write_text(ten + ('' if accept else yaml.safe_dump(SMALL | {'family': 'forecaster'})))
    return folder / 'mine.yml'


def convert(recipe, *arguments, out):
    return convert_here('all', recipe, '--work', recipe.parent / 'work', '--out', out, *arguments)


def forced(recipe):
    """A model that was trained for seconds is no better than a baseline: the gate would be right to refuse it."""
    return ['--force'] if 'training' in yaml.safe_load(recipe.read_text()) else []


@pytest.fixture(scope='module')
def made(recipe):
    """The released file and what was printed while it was made."""
    out, began = recipe.parent / 'mine.onnx', time.monotonic()
    done = convert(recipe, *forced(recipe), out=out)
    print(f'history to model: {time.monotonic() - began:.0f} s')
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return out, done.stdout + done.stderr


@pytest.mark.timeout(1800)
def test_one_command_makes_a_model_of_own_history(made):
    """The card says what was learnt from, how much, and what was excluded."""
    out, printed = made
    training = session.load(out).bundle.manifest.training
    assert 'own history of load' in training.data and 'load test' in training.data
    assert re.search(r'own history of load: [1-9]\d* samples to learn from', printed)


def test_the_report_judges_it_beside_baselines(made):
    """As text, JSON and a page that needs nothing else."""
    work = made[0].parent / 'work'
    assert all((work / f'report.{kind}').stat().st_size > 500 for kind in ('txt', 'json', 'html'))
    page = (work / 'report.html').read_text()
    assert '<svg' in page and not re.search(r'(src|href)="https?://', page)


def test_the_same_command_again_changes_nothing(made, recipe):
    """Nothing is fetched, trained or written twice."""
    out, _ = made
    before, stamp = out.read_bytes(), out.stat().st_mtime_ns
    done = convert(recipe, *forced(recipe), out=out)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'nothing changed' in done.stdout + done.stderr
    assert out.read_bytes() == before and out.stat().st_mtime_ns == stamp


def test_the_exporter_serves_it(made, prometheus, tmp_path):
    """The released file scores every series of that Prometheus."""
    out, _ = made
    digest = session.load(out).bundle.sha256
    with Exporter(tmp_path, prometheus.url, [DETECTOR | {'model': str(out), 'false_alarms': '1/day each'}]) as exporter:
        page = lambda: requests.get(exporter.url + '/metrics', timeout=30).text  # noqa: E731
        wait_until(lambda: page().count('\npromlstm_anomaly_score{') >= SERIES - 1, 120, 'all scores')
        assert f'sha256="{digest}"' in page()
