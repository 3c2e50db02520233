"""The guard of docs/how-to/scaling.md on promtool: one finite number for a scaler, whatever happens to the forecast; and the recipes around it."""

import re

import pytest
import servers
import yaml
from chart import URL, objects, template

pytestmark = [pytest.mark.real, pytest.mark.usefixtures('helms')]

PAGE = (servers.ROOT / 'docs/how-to/scaling.md').read_text()
(GUARD,) = re.findall(r'```promql\n(.*?)```', PAGE, re.DOTALL)
FORECAST = 'promlstm_forecast{detector="shop_requests",service="web",horizon="5m",bound="upper",promlstm_replica="%s"}'
LOAD = 'http_requests_total{service="web",pod="a"}'
AT = 1200  # seconds: when KEDA asks; a sample is 15 s
LAST = AT // 15
STEADY = {LOAD: f'0+1500x{LAST}'}  # 100/s


def yaml_block(key):
    """The YAML of the page that has a key at its top."""
    (found,) = [tree for text in re.findall(r'```yaml\n(.*?)```', PAGE, re.DOTALL) if key in (tree := yaml.safe_load(text))]
    return found


def forecast(values, replica='a'):
    """Input of one replica's forecast."""
    return {FORECAST % replica: values}


def always(value):
    """The same sample at every step up to AT; promtool has no `NaNx80`."""
    return ' '.join([str(value)] * (LAST + 1))


def until(value, seconds, then='_'):
    """A series that had a value up to so many seconds before AT, and something else at each step since."""
    after = seconds // 15
    return ' '.join([str(value)] * (LAST + 1 - after) + [then] * after)


# case: (series beside the load, what the guard is)
FELL_BACK = {
    'no forecast': {},
    'forecast of another bound': {FORECAST.replace('upper', 'lower') % 'a': always(250)},
    'forecast of another horizon': {FORECAST.replace('5m', '1h') % 'a': always(250)},
    'forecast of another entity': {FORECAST.replace('web', 'cart') % 'a': always(250)},
    'forecast gone': forecast(until(250, 15, 'stale')),
    'forecast not scraped for three minutes': forecast(until(250, 180)),
    'NaN': forecast(until(250, 15, 'NaN')),
    'infinite': forecast(until(250, 15, 'Inf')),
    'minus infinite': forecast(until(250, 15, '-Inf')),
    'NaN of both replicas': forecast(always('NaN')) | forecast(always('NaN'), 'b'),
}
FORESEEN = {
    'one replica': forecast(always(250)),
    'less than the load': forecast(always(250)) | {LOAD: f'0+15000x{LAST}'},
    'two replicas': forecast(always(240)) | forecast(always(250), 'b'),
    'one replica without a forecast': forecast(until(300, 300, 'stale')) | forecast(always(250), 'b'),
    'NaN of one replica': forecast(always('NaN')) | forecast(always(250), 'b'),
    'infinite of one replica': forecast(always('Inf')) | forecast(always(250), 'b'),
    'a lost scrape': forecast(until(250, 60)),
    'no load known': {LOAD: '_', **forecast(always(250))},
}
# the load alone, without a forecast: what both queries are
LOADED = {
    'two pods': ({LOAD: f'0+1500x{LAST}', LOAD.replace('"a"', '"b"'): f'0+750x{LAST}'}, 150),
    'no load': ({LOAD: always(300)}, 0),
    'not measured for four minutes': ({LOAD: f'0+1500x{LAST - 16} stale'}, 100),
    'NaN': ({LOAD: f'0+1500x{LAST - 16} ' + ' '.join(['NaN'] * 16)}, 100),
    'gone for a quarter of an hour': ({LOAD: f'0+1500x{LAST - 60} stale'}, None),
    'never there': ({LOAD: '_'}, None),
}


def asked(folder, cases, query, rules=()):
    """promtool's test of {name: (series, the one value or None)} by a query; RuntimeError with its words where one is another."""
    tests = [
        {
            'name': name, 'interval': '15s', 'input_series': [{'series': each, 'values': values} for each, values in series.items()],
            'promql_expr_test': [
                {'expr': query, 'eval_time': f'{AT}s', 'exp_samples': [] if value is None else [{'labels': '{}', 'value': value}]}
            ],
        }
        for name, (series, value) in cases.items()
    ]  # fmt: skip
    (folder / 'cases.yml').write_text(yaml.safe_dump({'rule_files': list(map(str, rules)), 'evaluation_interval': '15s', 'tests': tests}))
    return servers.promtool('test', 'rules', folder / 'cases.yml')


def guarded():
    """All cases of the guard."""
    cases = {f'fell back: {name}': (STEADY | series, 100) for name, series in FELL_BACK.items()}
    cases |= {f'foreseen: {name}': (STEADY | series, 250) for name, series in FORESEEN.items()}
    return cases | {f'load: {name}': case for name, case in LOADED.items()}


def test_the_guard_is_one_finite_number(tmp_path):
    """The upper forecast where there is one, else the load, else the highest of the last minutes; nothing only where nothing is known."""
    asked(tmp_path, guarded(), GUARD)


WEAKENED = {
    'not finite': lambda guard: guard.replace(' > -Inf < +Inf', ''),
    'frozen': lambda guard: guard.replace('time() - 120', 'time() - 600'),
    'doubled': lambda guard: guard.replace('max((promlstm', 'sum((promlstm'),
    'without the load': lambda guard: guard[: guard.index('\nor ')],
    'without the last minutes': lambda guard: guard[: guard.rindex('\nor ')],
    'zero for nothing': lambda guard: f'{guard}or vector(0)',
}


@pytest.mark.parametrize('weakness', WEAKENED)
def test_each_part_of_the_guard_is_needed(weakness, tmp_path):
    """With less, or with more, some case is another."""
    query = WEAKENED[weakness](GUARD)
    assert query != GUARD
    with pytest.raises(RuntimeError, match=r'(?s)FAILED.*got:') as told:
        asked(tmp_path, guarded(), query)
    assert 'parse error' not in str(told.value)


def words(query):
    """A query in one line."""
    return ' '.join(query.split())


def scaled_queries(tmp_path):
    """{trigger: query} of the ScaledObject that the page's values make."""
    (tmp_path / 'values.yml').write_text(yaml.safe_dump({'forecast': yaml_block('forecast')['forecast']}))
    detectors = '--set-json=detectors=[{"name":"shop_requests","expr":"sum by (service) (rate(http_requests_total[2m]))","forecast":{"horizons":["5m"]}}]'
    (found,) = objects(template('helm4', f'--set={URL}', detectors, f'--values={tmp_path}/values.yml').stdout, 'ScaledObject')
    assert found['metadata']['namespace'] == 'shop'
    return {each['name']: each['metadata']['query'] for each in found['spec']['triggers']}


def test_the_chart_and_the_rules_have_the_guard_that_was_tested(tmp_path):
    """The query of the page is what the chart renders of the page's values, and what its rules record."""
    queries = scaled_queries(tmp_path)
    recorded = {rule['record']: rule['expr'] for rule in yaml_block('rules')['rules']}
    assert words(queries['forecast']) == words(recorded['workload:requests:forecast']) == words(GUARD)
    assert words(queries['observed']) == words(recorded['workload:requests:observed'])
    assert words(GUARD).endswith(words(queries['observed']))


def test_the_query_of_the_load_is_one_number_too(tmp_path):
    """Whatever the forecast says: it is the second trigger."""
    cases = {name: (series | forecast(always('NaN')), value) for name, (series, value) in LOADED.items()}
    asked(tmp_path, cases | {'foreseen': (STEADY | forecast(always(250)), 100)}, scaled_queries(tmp_path)['observed'])


def test_the_adapter_gives_the_autoscaler_what_was_recorded(tmp_path):
    """Its query over the recorded series, with the labels that the autoscaler asks for, is one number; the rules are as promtool has them."""
    group, (rule,), autoscaler = yaml_block('rules'), yaml_block('externalRules')['externalRules'], yaml_block('spec')
    (tmp_path / 'rules.yml').write_text(yaml.safe_dump({'groups': [group]}))
    servers.promtool('check', 'rules', '--lint=all', '--lint-fatal', tmp_path / 'rules.yml')
    asked_for = [metric['external']['metric'] for metric in autoscaler['spec']['metrics']]
    labels = {'namespace': autoscaler['metadata']['namespace']}
    ((namespace, kind),) = rule['resources']['overrides'].items()
    assert (namespace, kind) == ('namespace', {'resource': 'namespace'})
    for name, expected in (('forecast', 250), ('observed', 100)):
        series = f'workload:requests:{name}'
        shown = re.sub(rule['name']['matches'], rule['name']['as'].replace('${1}', r'\1'), series)
        (metric,) = [each for each in asked_for if each['name'] == shown]
        matchers = ','.join(f'{label}="{value}"' for label, value in (labels | metric['selector']['matchLabels']).items())
        query = rule['metricsQuery'].replace('<<.Series>>', series).replace('<<.LabelMatchers>>', matchers)
        series = STEADY | forecast(always(250)) | forecast(always(240), 'b')
        asked(tmp_path, {name: (series, expected)}, query, [tmp_path / 'rules.yml'])
        asked(tmp_path, {name: ({LOAD: '_'}, None)}, query, [tmp_path / 'rules.yml'])
    assert len(asked_for) == 2


def test_the_autoscaler_is_one_that_kubernetes_takes():
    """By the schemas of the oldest and of the newest; each load is divided by the pods."""
    validate = pytest.importorskip('kubernetes_validate').validate
    autoscaler = yaml_block('spec')
    for version in ('1.25', '1.37'):
        validate(autoscaler, version, strict=True)
    assert {metric['external']['target']['type'] for metric in autoscaler['spec']['metrics']} == {'AverageValue'}
