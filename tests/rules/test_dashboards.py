"""The dashboards: made, well-formed, about nothing that does not exist, and never empty on a real Prometheus."""

import json
import random
import re
import sys
import threading
import time

import pytest
import servers
from exporter import Exporter
from http_target import serving
from rule_files import ALERTS, LABELS, foreign, grouped

from promlstm.engine import labels

sys.path.append(str(servers.ROOT / 'docs'))

from pictures import legend

FOLDER = servers.ROOT / 'rules/dashboards'
make = servers.module(FOLDER / 'make.py')
NAMES = list(make.DASHBOARDS)
BOARDS = {name: json.loads((FOLDER / f'{name}.json').read_text()) for name in NAMES}
GRAFANAS_OWN = {'__range'}  # variables
# Empty is what they may be: nothing fires here, an incident is over soon, and there are neither forecasts nor hardware.
EMPTY_WHEN_ALL_IS_WELL = {
    'Alerts', 'Open incidents', 'Likely causes', 'Approaching limits', 'Servers that may fail', 'Signs of hardware failure',
}  # fmt: skip


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
    assert set(re.findall(r'\$\{?(\w+)', json.dumps([panels, board['annotations']]))) <= defined | GRAFANAS_OWN
    assert len({one['title'] for one in panels}) == len(panels)


@pytest.mark.parametrize('name', NAMES)
def test_dashboards_ask_only_for_what_is_exported_or_recorded(name):
    """Every metric and label of a panel, its legend's among them."""
    for one in BOARDS[name]['panels']:
        for query in one['targets']:
            assert not foreign(query['expr']), one['title']
            assert grouped(query['expr']) - {'by'} <= LABELS, one['title']  # that of the variable $by
            assert set(re.findall(r'\{\{(\w+)\}\}', query['legendFormat'])) <= LABELS, one['title']


def test_the_links_of_the_alerts_lead_to_these():
    """Each alert names a dashboard that there is, and a variable that it has."""
    for rule in ALERTS:
        uid, _, query = rule['annotations']['dashboard'].removeprefix('/d/').partition('?')
        board = BOARDS[uid.removeprefix('promlstm-')]
        assert {part.partition('=')[0] for part in query.split('&') if part} <= {
            f'var-{one["name"]}' for one in board['templating']['list']
        }


# Entities of all kinds: of several features, with the usual labels, with other ones, with some of our own words, and without any.
DETECTORS = [
    {'name': 'always', 'by': ['job', 'instance'], 'features': {'level': 'level', 'samples': 'scrape_samples_scraped'}},
    {'name': 'up', 'expr': 'up'},
    {'name': 'rooms', 'expr': 'max without (job, instance) (room_level)'},
    {'name': 'all', 'expr': 'sum(room_level)', 'direction': 'above'},
]
ROOMS = [
    {'floor': '1', 'side': 'a b'},
    {'floor': '1', 'side': 'b'},
    {'floor': '1', 'side': 'b', 'feature': 'x'},
    {'floor': '1', 'side': 'b', 'view': 'x', 'promlstm_line': 'upper'},
    {'side': '{{b}}'},
]


def forecast_before(server, path, entity):
    """The server, not yet started, with forecasts that an exporter of an hour and of a day ago made of an entity: from 8 to 12, 10 in the middle."""
    now = int(time.time())
    series = [(f'{{detector="always",{entity},feature="level",horizon="{horizon}",bound="{bound}"}} {value}', ago)
              for bound, value in (('lower', 8), ('middle', 10), ('upper', 12)) for horizon, ago in (('1h', 3600), ('1d', 86400))]  # fmt: skip
    lines = [f'promlstm_forecast{text} {now - ago + k}\n' for text, ago in series for k in range(-300, 1800, 30)]
    path.write_text(''.join(['# TYPE promlstm_forecast gauge\n', *lines, '# EOF\n']))
    servers.backfill(server.data, path)
    return server


@pytest.fixture(scope='module')
def running(tmp_path_factory):
    """Prometheus with our rules and two exporters, one of whose detectors has an alarm that lasts; and an entity that is reported as missing."""
    directory, shifted = tmp_path_factory.mktemp('dashboards'), threading.Event()

    def page():
        level = random.uniform(99, 101) + 10_000 * shifted.is_set()
        rooms = [f'room_level{labels.text(tuple(room.items())).decode()} {random.uniform(20, 21)}\n' for room in ROOMS]
        own = f'promlstm_entity_missing{{detector="always",instance="gone",job="gone"}} 1\nlevel {level}\n'
        return ''.join([own, *rooms]).encode()

    detectors = [{**one, 'step': '1s', 'delay': '1s', 'history': '0s'} for one in DETECTORS]
    rules = [servers.ROOT / 'rules' / f'{name}.yml' for name in ('recording', 'alerts', 'self', 'forecast')]
    server = servers.Prometheus(directory / 'prometheus', rule_files=rules)
    with (
        serving(page) as address,
        forecast_before(server, directory / 'past.om', f'instance="{address}",job="gone"') as prometheus,
        Exporter(directory / 'one', prometheus.url, detectors) as one,
        Exporter(directory / 'other', prometheus.url, detectors) as other,
    ):
        gone = {'job_name': 'gone', 'honor_labels': True, 'static_configs': [{'targets': [address]}]}
        job = one.scrape_config()
        job['static_configs'][0]['targets'].append(other.address)
        prometheus.scrape_configs += [job, gone]
        prometheus.reload()
        for name in ('always', 'rooms', 'all'):
            prometheus.wait_for(f'promlstm_anomaly_score{{detector="{name}"}}', limit_seconds=180)
        shifted.set()
        prometheus.wait_for('promlstm_view{detector="always"}', limit_seconds=60)
        prometheus.wait_for('promlstm:anomaly_score:anomalous{detector="always"} offset 1m', limit_seconds=120)
        yield prometheus


def filled_in(board, expr, chosen):
    """An expression with the values of variables, as Grafana puts them in."""
    typed = {one['name']: one['query'] for one in board['templating']['list'] if one['type'] == 'textbox'}
    return re.sub(r'\$(\w+)', lambda found: {'detector': chosen, '__range': '600s', **typed}[found[1]], expr)


@pytest.mark.real
@pytest.mark.parametrize('name', NAMES)
def test_every_panel_shows_something(name, running):
    """Each expression is run on a real Prometheus and returns data, the variables filled in as Grafana would."""
    chosen = 'always' if name == 'detector' else '.*'
    for one in BOARDS[name]['panels']:
        for query in one['targets']:
            expr = filled_in(BOARDS[name], query['expr'], chosen)
            result = running.query(expr) if one['title'] in EMPTY_WHEN_ALL_IS_WELL else running.wait_for(expr, limit_seconds=30)
            assert result or one['title'] in EMPTY_WHEN_ALL_IS_WELL, (one['title'], expr)


def lines(board, one, prometheus, chosen, now=None):
    """[(name, query, labels)] of the series of a panel over the minutes before `now`, as Grafana names them."""
    now = now or time.time()
    found = [
        (query, series['metric'])
        for query in one['targets']
        for series in prometheus.query_range(filled_in(board, query['expr'], chosen), now - 600, now, 5)
    ]
    names = legend.names([(query['expr'], query['legendFormat'], of) for query, of in found])
    return [(name, query, of) for name, (query, of) in zip(names, found, strict=True)]


@pytest.mark.real
@pytest.mark.parametrize(
    ('name', 'chosen'), [*((name, '.*') for name in NAMES if name != 'detector'), *(('detector', one['name']) for one in DETECTORS)]
)
def test_two_series_of_a_panel_have_two_names(name, chosen, running):
    """Whatever labels entities have, and of however many replicas."""
    several = set()
    for one in BOARDS[name]['panels']:
        if one['type'] == 'timeseries':
            names = [each for each, _, _ in lines(BOARDS[name], one, running, chosen)]
            assert len(set(names)) == len(names), (one['title'], names)
            several |= {one['title']} if len(names) > len(one['targets']) else set()
    assert several


@pytest.mark.real
@pytest.mark.parametrize('chosen', [one['name'] for one in DETECTORS])
def test_the_band_is_drawn_and_filled(chosen, running):
    """In each panel of a series: its two borders as lines, and filled in between; an open side has neither. Each panel has a series of its own."""
    board, shown, now = BOARDS['detector'], [], time.time()     # as in Grafana, all panels are of one instant: which series is first may change
    for one in board['panels'][:3]:
        found = lines(board, one, running, chosen, now)
        drawn = [(name, {**one['fieldConfig']['defaults']['custom'], **legend.properties(one, name)}) for name, _, _ in found]
        names = [name for name, _ in drawn]
        if not found:
            continue
        assert len({tuple(sorted(of.items())) for _, _, of in found}) == 1
        assert all(each['lineWidth'] > 0 for name, each in drawn if name in ('lower', 'upper'))
        assert [(names[a], names[b]) for a, b in legend.bands(drawn)] == ([] if chosen == 'all' else [('upper', 'lower')])
        assert names[1:] == (['expected', 'upper'] if chosen == 'all' else ['expected', 'lower', 'upper'])
        shown.append(names[0])
    (count,) = running.query(f'count(max without (promlstm_replica) (promlstm_expected{{detector="{chosen}"}}))', now)
    assert len(set(shown)) == len(shown) == min(3, int(count['value'][1]))


@pytest.mark.real
def test_an_entity_that_was_anomalous_is_shown_first(running):
    """That of the alarm, and of its features the one that rose."""
    (name, *_), *_ = lines(BOARDS['detector'], BOARDS['detector']['panels'][0], running, 'always')
    assert 'feature="level"' in name and 'job="gone"' in name


FORECAST = 'Forecast and observed: the worst'


@pytest.mark.real
def test_what_was_forecast_for_now_is_drawn_beside_what_came(running):
    """Of the same series, as a filled band and two lines; of a detector without forecasts what came alone."""
    board = BOARDS['detector']
    (one,) = (panel for panel in board['panels'] if panel['title'] == FORECAST)
    found = lines(board, one, running, 'always')
    names = [name for name, _, _ in found]
    assert 'feature="level"' in names[0] and names[1:] == ['an hour before', 'lower', 'upper', 'a day before']
    assert len({tuple(sorted((name, value) for name, value in of.items() if name != '__name__')) for _, _, of in found}) == 1
    drawn = [(name, {**one['fieldConfig']['defaults']['custom'], **legend.properties(one, name)}) for name in names]
    assert [(names[a], names[b]) for a, b in legend.bands(drawn)] == [('upper', 'lower')]
    expr = filled_in(board, one['targets'][1]['expr'], 'always')
    assert [series['value'][1] for series in running.query(expr)] == ['10']
    assert len(lines(board, one, running, 'rooms')) == 1
