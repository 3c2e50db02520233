"""The dashboards as code: `python rules/dashboards/make.py` writes the JSON beside it, for Grafana 9.4 and newer to import.

A panel is a title, a PromQL expression or several, and how to show them; the grid is filled row by row. The expressions read recording.yml.
Standard library only.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).parent
COLUMNS = 24
DATASOURCE = {'type': 'prometheus', 'uid': '${datasource}'}
WORST = 'and ignoring (feature) topk(3, max without (promlstm_replica) (promlstm_anomaly_score{detector="$detector"}))'


def target(number, expr, legend, *, table=False):
    """One query of a panel."""
    shape = {'format': 'table', 'instant': True, 'range': False} if table else {'format': 'time_series', 'instant': False, 'range': True}
    return {
        'refId': chr(ord('A') + number),
        'datasource': DATASOURCE,
        'editorMode': 'code',
        'expr': expr,
        'legendFormat': legend,
        **shape,
    }


def panel(kind, title, *queries, width=12, height=8, unit='none', what='', steps=None, lines=None):
    """A panel.

    queries  (expression, legend), …
    unit     Grafana's name of a unit
    steps    [(from, colour), …] of values; the first from None
    lines    {legend: properties}, how single series are drawn
    """
    table, stat = kind == 'table', kind == 'stat'
    defaults = {
        'unit': unit,
        'thresholds': {'mode': 'absolute', 'steps': [{'value': v, 'color': c} for v, c in steps or [(None, 'green')]]},
    }
    if kind == 'timeseries':
        defaults['custom'] = {'drawStyle': 'line', 'lineWidth': 1, 'fillOpacity': 0, 'showPoints': 'never', 'spanNulls': False}
        if steps:
            defaults['custom']['thresholdsStyle'] = {'mode': 'line'}
    options = {
        'timeseries': {
            'legend': {'displayMode': 'list', 'placement': 'bottom', 'showLegend': True, 'calcs': []},
            'tooltip': {'mode': 'multi', 'sort': 'desc'},
        },
        'stat': {'reduceOptions': {'calcs': ['lastNotNull'], 'fields': '', 'values': False}, 'colorMode': 'value', 'graphMode': 'area'},
        'table': {'showHeader': True, 'sortBy': [{'displayName': 'Value', 'desc': True}]},
    }[kind]
    return {
        'type': kind,
        'title': title,
        'description': what,
        'datasource': DATASOURCE,
        'gridPos': {'x': 0, 'y': 0, 'w': width, 'h': 4 if stat else height},
        'targets': [target(number, *query, table=table) for number, query in enumerate(queries)],
        'fieldConfig': {
            'defaults': defaults,
            'overrides': [
                {
                    'matcher': {'id': 'byRegexp', 'options': f'/^{name}/'},
                    'properties': [{'id': key, 'value': value} for key, value in drawn.items()],
                }
                for name, drawn in (lines or {}).items()
            ],
        },
        'options': options,
        **({'transformations': [{'id': 'organize', 'options': {'excludeByName': {'Time': True, '__name__': True}}}]} if table else {}),
    }


def laid_out(panels):
    """The panels with their place in the grid: from left to right, a new row where one is full."""
    x = y = deepest = 0
    for number, one in enumerate(panels, 1):
        place = one['gridPos']
        if x + place['w'] > COLUMNS:
            x, y, deepest = 0, y + deepest, 0
        place['x'], place['y'] = x, y
        x, deepest = x + place['w'], max(deepest, place['h'])
        one['id'] = number
    return panels


def variables(*, several):
    """The data source, and which detector."""
    detector = {
        'name': 'detector',
        'label': 'Detector',
        'type': 'query',
        'datasource': DATASOURCE,
        'refresh': 2,
        'sort': 1,
        'multi': several,
        'includeAll': several,
        'definition': 'label_values(promlstm_detector_step_seconds, detector)',
        'query': {'query': 'label_values(promlstm_detector_step_seconds, detector)', 'refId': 'detector'},
        'current': {},
    }
    if several:
        detector['allValue'] = '.*'
        detector['current'] = {'selected': True, 'text': ['All'], 'value': ['$__all']}
    source = {'name': 'datasource', 'label': 'Prometheus', 'type': 'datasource', 'query': 'prometheus', 'refresh': 1, 'current': {}}
    return [source, detector]


def dashboard(uid, title, what, panels, *, several, more=()):
    """A whole dashboard; `uid` is what the alerts' links name."""
    links = [
        {
            'title': other,
            'type': 'link',
            'url': f'/d/promlstm-{other}',
            'keepTime': True,
            'includeVars': False,
            'targetBlank': False,
            'icon': 'dashboard',
        }
        for other in ('overview', 'detector', 'exporter')
        if other not in uid
    ]
    return {
        'uid': uid,
        'title': title,
        'description': what,
        'tags': ['promlstm'],
        'schemaVersion': 38,
        'version': 1,
        'editable': True,
        'graphTooltip': 1,
        'refresh': '30s',
        'time': {'from': 'now-3h', 'to': 'now'},
        'timezone': 'browser',
        'links': links,
        'annotations': {
            'list': [
                {
                    'name': 'Anomalies',
                    'enable': True,
                    'datasource': DATASOURCE,
                    'iconColor': 'red',
                    'expr': 'ALERTS{alertname=~"Promlstm.+",alertstate="firing"}',
                    'titleFormat': '{{alertname}}',
                    'textFormat': '{{detector}} {{promlstm_entity}}',
                }
            ]
        },
        'templating': {'list': [*variables(several=several), *more]},
        'panels': laid_out(panels),
    }


def overview():
    """What is wrong now, worst first."""
    chosen = '{detector=~"$detector"}'
    bad = [(None, 'green'), (1, 'red')]
    return dashboard(
        'promlstm-overview',
        'promlstm: anomalies',
        'What is wrong now, ranked.',
        [
            panel('stat', 'Anomalous entities', (f'count(promlstm:anomaly_score:anomalous{chosen}) or vector(0)', ''), width=6, steps=bad),
            panel('stat', 'Missing entities', (f'count(promlstm:entity_missing{chosen}) or vector(0)', ''), width=6, steps=bad),
            panel('stat', 'Detectors scoring', (f'sum(max by (detector) (promlstm_detector_up{chosen}))', ''), width=6),
            panel(
                'stat', 'Alerts firing', ('count(ALERTS{alertname=~"Promlstm.+",alertstate="firing"}) or vector(0)', ''), width=6, steps=bad
            ),
            panel(
                'table',
                'Anomalous now, worst first',
                (f'sort_desc(topk(50, promlstm:anomaly_score:anomalous{chosen}))', ''),
                width=24,
                what='The score: 1 and above is anomalous at the budget of the detector.',
            ),
            panel(
                'table',
                'For how many steps',
                (f'sort_desc(topk(50, promlstm:anomaly_steps{chosen}))', ''),
                what='Told of from promlstm:steps_threshold on.',
            ),
            panel('table', 'Alerts', ('ALERTS{alertname=~"Promlstm.+",alertstate="firing"}', '')),
            panel(
                'timeseries',
                'Highest scores',
                (f'topk(10, max by (detector) (promlstm_anomaly_score{chosen}))', '{{detector}}'),
                steps=[(None, 'transparent'), (1, 'red')],
            ),
            panel(
                'timeseries',
                'Share of entities anomalous',
                (
                    f'count by (detector) (promlstm:anomaly_score:anomalous{chosen}) / on (detector) promlstm:scored_entities',
                    '{{detector}}',
                ),
                unit='percentunit',
            ),
            panel(
                'timeseries',
                'Anomalies by instance',
                (f'topk(10, count by (instance) (promlstm:anomaly_score:anomalous{chosen}))', '{{instance}}'),
            ),
            panel(
                'timeseries',
                'Alarms of the last day',
                (f'max by (detector) (increase(promlstm_detector_alarms_total{chosen}[1d]))', '{{detector}}'),
            ),
        ],
        several=True,
    )


def detector():
    """One detector: what its worst entities gave, and what was expected of them."""
    chosen = '{detector="$detector"}'
    gauge = lambda name: f'max without (promlstm_replica) ({name}{chosen}) {WORST}'  # noqa: E731
    band = {
        'upper': {'custom.lineWidth': 0},
        'lower': {'custom.lineWidth': 0, 'custom.fillBelowTo': 'upper'},
        'expected': {'custom.lineStyle': {'dash': [6, 4], 'fill': 'dash'}},
    }
    return dashboard(
        'promlstm-detector',
        'promlstm: one detector',
        'Observed, expected and band of the three worst entities; narrow them by the filter.',
        [
            panel(
                'timeseries',
                'Observed, and what was expected',
                (gauge('promlstm_observed'), 'observed {{instance}} {{feature}}'),
                (gauge('promlstm_expected'), 'expected {{instance}} {{feature}}'),
                (gauge('promlstm_expected_lower'), 'lower {{instance}} {{feature}}'),
                (gauge('promlstm_expected_upper'), 'upper {{instance}} {{feature}}'),
                width=24,
                height=10,
                unit='short',
                lines=band,
            ),
            panel(
                'timeseries',
                'Score',
                (gauge('promlstm_anomaly_score'), '{{instance}}'),
                (f'promlstm:score_threshold{chosen}', 'threshold'),
                steps=[(None, 'transparent'), (1, 'red')],
            ),
            panel(
                'timeseries',
                'Who is to blame',
                (gauge('promlstm_contribution'), '{{instance}} {{feature}}'),
                unit='percentunit',
                what='Only of detectors with several features.',
            ),
            panel(
                'timeseries',
                'Which view saw it',
                (f'max without (promlstm_replica) (promlstm_view{chosen})', '{{instance}} {{view}}'),
                unit='percentunit',
                what='Only of anomalous entities.',
            ),
            panel('timeseries', 'Entities', (f'max by (state) (promlstm_detector_entities{chosen})', '{{state}}')),
            panel(
                'table', 'Anomalous now, since', (f'promlstm:anomaly_since_timestamp_seconds{chosen} * 1000', ''), unit='dateTimeAsLocal'
            ),
            panel('table', 'Missing now', (f'promlstm:entity_missing{chosen}', '')),
            panel(
                'timeseries',
                'How many are many',
                (f'count(promlstm:anomaly_steps:confirmed{chosen}) or vector(0)', 'anomalous'),
                (f'promlstm:many_threshold{chosen}', 'many'),
            ),
            panel(
                'timeseries',
                'Alarms of a week, and what the budget promised',
                (f'max(increase(promlstm_detector_alarms_total{chosen}[7d]))', 'alarms'),
                (f'promlstm:promised_alarms{chosen}', 'budget'),
                (f'promlstm:alarms_threshold{chosen}', 'more than chance'),
            ),
        ],
        several=False,
        more=[{'name': 'filter', 'label': 'Filter', 'type': 'adhoc', 'datasource': DATASOURCE, 'filters': []}],
    )


def exporter():
    """promlstm itself."""
    chosen = '{detector=~"$detector"}'
    itself = 'and on (job, instance) promlstm_build_info'
    return dashboard(
        'promlstm-exporter',
        'promlstm: the exporter',
        'Whether it keeps up, what fails, what it costs.',
        [
            panel('stat', 'Exporters', ('count(promlstm_build_info)', ''), width=6, steps=[(None, 'red'), (1, 'green')]),
            panel(
                'stat',
                'Detectors that fail',
                (f'sum(1 - max by (detector) (promlstm_detector_up{chosen}))', ''),
                width=6,
                steps=[(None, 'green'), (1, 'red')],
            ),
            panel('stat', 'Entities', (f'sum(max by (detector, state) (promlstm_detector_entities{chosen}))', ''), width=6),
            panel(
                'stat',
                'Configuration in force',
                ('min(promlstm_config_last_reload_successful)', ''),
                width=6,
                steps=[(None, 'red'), (1, 'green')],
            ),
            panel(
                'timeseries',
                'A step took, as a share of the step',
                (
                    f'max by (detector) (promlstm_detector_last_step_duration_seconds{chosen}) / on (detector) promlstm:step_seconds',
                    '{{detector}}',
                ),
                unit='percentunit',
                steps=[(None, 'transparent'), (1, 'red')],
            ),
            panel(
                'timeseries',
                'Since the last step',
                (f'time() - max by (detector) (promlstm_detector_last_step_timestamp_seconds{chosen})', '{{detector}}'),
                unit='s',
            ),
            panel(
                'timeseries',
                'Where the time goes',
                (f'sum by (stage) (rate(promlstm_detector_stage_seconds_total{chosen}[5m]))', '{{stage}}'),
                unit='s',
            ),
            panel(
                'timeseries',
                'Steps that failed',
                (f'sum by (detector, stage) (rate(promlstm_detector_failures_total{chosen}[5m]))', '{{detector}} {{stage}}'),
                unit='ops',
            ),
            panel(
                'timeseries',
                'Steps',
                (f'sum by (detector) (rate(promlstm_detector_steps_total{chosen}[5m]))', '{{detector}}'),
                (f'sum by (detector) (rate(promlstm_detector_missed_steps_total{chosen}[5m]))', '{{detector}} missed'),
                unit='ops',
            ),
            panel(
                'timeseries',
                'Odd data',
                (f'sum by (detector) (rate(promlstm_detector_empty_results_total{chosen}[5m]))', '{{detector}} empty'),
                (f'sum by (detector) (rate(promlstm_detector_nonfinite_samples_total{chosen}[5m]))', '{{detector}} infinite'),
                (f'sum by (detector) (rate(promlstm_detector_query_warnings_total{chosen}[5m]))', '{{detector}} warnings'),
                unit='ops',
            ),
            panel(
                'timeseries',
                'Memory of the entities',
                (f'max by (detector) (promlstm_detector_memory_bytes{chosen})', '{{detector}}'),
                unit='bytes',
            ),
            panel('timeseries', 'Memory of the process', (f'process_resident_memory_bytes {itself}', '{{instance}}'), unit='bytes'),
            panel('timeseries', 'CPU', (f'rate(process_cpu_seconds_total[5m]) {itself}', '{{instance}}')),
            panel('table', 'Models', (f'promlstm_model_info{chosen}', '')),
            panel(
                'table',
                'Age of the models',
                (f'time() - max by (detector) (promlstm_model_created_timestamp_seconds{chosen})', ''),
                unit='s',
            ),
        ],
        several=True,
    )


DASHBOARDS = {'overview': overview, 'detector': detector, 'exporter': exporter}


def text(name):
    """The JSON of a dashboard, as it is written."""
    return json.dumps(DASHBOARDS[name](), indent=1) + '\n'


if __name__ == '__main__':
    for made in DASHBOARDS:
        (FOLDER / f'{made}.json').write_text(text(made))
