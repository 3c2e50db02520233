"""The dashboards: made, well-formed, about nothing that does not exist, and never empty on a real Prometheus."""

import json
import random
import re
import threading

import pytest
import servers
from exporter import Exporter
from http_target import serving
from rule_files import ALERTS, LABELS, foreign, grouped

FOLDER = servers.ROOT / 'rules/dashboards'
make = servers.module(FOLDER / 'make.py')
NAMES = list(make.DASHBOARDS)
BOARDS = {name: json.loads((FOLDER / f'{name}.json').read_text()) for name in NAMES}
# Empty is what they should be: nothing fires here, so that its table has no row.
EMPTY_WHEN_ALL_IS_WELL = {'Alerts'}


@pytest.mark.parametrize('name', NAMES)
def test_the_json_is_what_the_code_makes(name):
    """Made, not kept: `python rules/dashboards/make.py`."""
    assert (FOLDER / f'{name}.json').read_text() == make.text(name)


def test_no_dashboard_is_left_out():
    """Each file is made by the code."""
    assert {path.stem for path in FOLDER.glob('*.json')} == set(NAMES)


@pytest.mark.parametrize('name', NAMES)
def test_the_structure_is_one_that_grafana_takes(name):
    """What its importer reads: ids, a grid without overlaps, queries with a letter each, variables that are defined before they are used."""
    board = BOARDS[name]
    assert board['uid'] == f'promlstm-{name}' and len(board['uid']) <= 40 and board['schemaVersion'] >= 38
    assert 'id' not in board and '__inputs' not in board
    panels = board['panels']
    assert [one['id'] for one in panels] == list(range(1, len(panels) + 1))
    taken = set()
    for one in panels:
        place = one['gridPos']
        cells = {(x, y) for x in range(place['x'], place['x'] + place['w']) for y in range(place['y'], place['y'] + place['h'])}
        assert place['x'] + place['w'] <= 24 and not cells & taken
        taken |= cells
        assert one['type'] in ('timeseries', 'stat', 'table') and one['title'] and one['targets']
        assert [query['refId'] for query in one['targets']] == [chr(65 + number) for number in range(len(one['targets']))]
        assert {str(query['datasource']) for query in one['targets']} == {str(one['datasource'])} == {str(make.DATASOURCE)}
        steps = one['fieldConfig']['defaults']['thresholds']['steps']
        assert steps[0]['value'] is None and [step['value'] for step in steps[1:]] == sorted(step['value'] for step in steps[1:])
    assert all({'asDropdown', 'tags', 'tooltip', 'icon', 'includeVars', 'keepTime', 'targetBlank'} <= set(link) for link in board['links'])
    defined = {variable['name'] for variable in board['templating']['list']}
    assert set(re.findall(r'\$\{?(\w+)', json.dumps([panels, board['annotations']]))) <= defined
    assert len({one['title'] for one in panels}) == len(panels)


@pytest.mark.parametrize('name', NAMES)
def test_dashboards_ask_only_for_what_is_exported_or_recorded(name):
    """Every metric and label of a panel, its legend's among them."""
    for one in BOARDS[name]['panels']:
        for query in one['targets']:
            assert not foreign(query['expr']), one['title']
            assert grouped(query['expr']) <= LABELS, one['title']
            assert set(re.findall(r'\{\{(\w+)\}\}', query['legendFormat'])) <= LABELS, one['title']


def test_the_links_of_the_alerts_lead_to_these():
    """Each alert names a dashboard that there is, and a variable that it has."""
    for rule in ALERTS:
        uid, _, query = rule['annotations']['dashboard'].removeprefix('/d/').partition('?')
        board = BOARDS[uid.removeprefix('promlstm-')]
        assert {part.partition('=')[0] for part in query.split('&') if part} <= {
            f'var-{one["name"]}' for one in board['templating']['list']
        }


@pytest.fixture(scope='module')
def running(tmp_path_factory):
    """Prometheus with our rules and an exporter, one of whose detectors has an alarm that lasts; and an entity that is reported as missing."""
    directory, shifted = tmp_path_factory.mktemp('dashboards'), threading.Event()

    def page():
        level = random.uniform(99, 101) + 10_000 * shifted.is_set()
        return b'promlstm_entity_missing{detector="always",instance="gone",job="gone"} 1\nlevel %f\n' % level

    always = {'name': 'always', 'by': ['job', 'instance'], 'features': {'level': 'level', 'samples': 'scrape_samples_scraped'}}
    detectors = [{**one, 'step': '1s', 'delay': '1s', 'history': '0s'} for one in (always, {'name': 'up', 'expr': 'up'})]
    rules = [servers.ROOT / 'rules' / f'{name}.yml' for name in ('recording', 'alerts', 'self')]
    with (
        serving(page) as address,
        servers.Prometheus(directory / 'prometheus', rule_files=rules) as prometheus,
        Exporter(directory / 'promlstm', prometheus.url, detectors) as exporter,
    ):
        gone = {'job_name': 'gone', 'honor_labels': True, 'static_configs': [{'targets': [address]}]}
        prometheus.scrape_configs += [exporter.scrape_config(), gone]
        prometheus.reload()
        prometheus.wait_for('promlstm_anomaly_score{detector="always",job="gone"}', limit_seconds=180)
        shifted.set()
        prometheus.wait_for('promlstm_view{detector="always"}', limit_seconds=60)
        yield prometheus


@pytest.mark.real
@pytest.mark.parametrize('name', NAMES)
def test_every_panel_shows_something(name, running):
    """Each expression is run on a real Prometheus and returns data, the variables filled in as Grafana would."""
    chosen = 'always' if name == 'detector' else '.*'
    for one in BOARDS[name]['panels']:
        for query in one['targets']:
            expr = query['expr'].replace('$detector', chosen)
            result = running.query(expr) if one['title'] in EMPTY_WHEN_ALL_IS_WELL else running.wait_for(expr, limit_seconds=30)
            assert result or one['title'] in EMPTY_WHEN_ALL_IS_WELL, (one['title'], expr)
