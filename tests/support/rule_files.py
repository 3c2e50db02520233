"""The files in rules/, and what they ask of promlstm."""

import re
from pathlib import Path

import servers
import yaml
from prometheus_client.parser import text_string_to_metric_families
from requirements import is_accept

from promlstm.serve import exposition, telemetry

RULES = servers.ROOT / 'rules'
ORDER = ('alerts', 'forecast', 'node-health', 'self', 'retraining')
FILES = sorted(RULES.glob('*.yml'))
COMPAT = sorted(RULES.glob('compat/*.yml'))
TESTS = sorted(RULES.glob('tests/*.yml'))
RUNBOOK = (RULES / 'runbook.md').read_text()
# {gauge: labels beside those of an entity} of the incidents.
OF_INCIDENTS = {
    'promlstm_incident_member': {'incident', 'detector'},
    'promlstm_incident_cause_score': {'incident', 'detector'},
    'promlstm_incident_entities': {'incident'},
    'promlstm_incident_detectors': {'incident'},
    'promlstm_incident_start_timestamp_seconds': {'incident'},
}
# The same of forecasts, and of their quality.
OF_FORECASTS = {
    'promlstm_forecast': {'horizon', 'bound'},
    'promlstm_forecast_limit': set(),
    'promlstm_time_to_limit_seconds': {'bound'},
    'promlstm_forecast_error_ratio': {'detector', 'horizon'},
    'promlstm_forecast_coverage_ratio': {'detector', 'horizon'},
}
OF_ENTITIES = set(exposition.FAMILIES) | set(OF_INCIDENTS) | set(OF_FORECASTS)
OF_EXPORTER = {
    name + ('_total' if kind == 'counter' else ''): {*labels, 'job', 'instance'} for name, (kind, _, labels) in telemetry.METRICS.items()
}
# What the rules and the scrape add to what the code exports.
OF_HOSTS = {'cluster', 'host', 'part', 'sign', 'found_by'}
OURS = {'promlstm_replica', 'promlstm_scope', 'promlstm_entity', *OF_HOSTS}


def rules(path):
    """The rules of a file, in order."""
    return [rule for group in yaml.safe_load(path.read_text())['groups'] for rule in group['rules']]


RECORDED = {rule['record'] for path in FILES for rule in rules(path) if 'record' in rule}
RECORDED_BY_USERS = {f'{name}:override' for name in RECORDED} | {
    'promlstm:score_threshold:of_entity',
    'promlstm:missing_expected:of_entity',
    'promlstm:same_number:override',
}
ALERTS = [rule for path in FILES for rule in rules(path) if 'alert' in rule]
FILE_OF = {rule['alert']: path.stem for path in FILES for rule in rules(path) if 'alert' in rule}


SILENT = 'count by (alertname) (count_over_time(ALERTS'  # how the question begins whether anything fired at any time
LOOKED_AT = 6 * 60  # minutes of a case in `make test`
# How often rules are evaluated where that is less often than a file says, and all its cases end alike but for those which count minutes.
EVALUATED_EACH = {
    **dict.fromkeys(('annotations', 'missing'), '5m'),
    **dict.fromkeys(('self', 'shards', 'shared'), '4m'),
    **dict.fromkeys(('many', 'anomaly', 'incidents', 'forecast'), '2m'),
}
OF_ANOMALIES = ('many', 'anomaly', 'incidents')  # not of promlstm itself: that its alerts are silent there is asked in `make accept`
EACH_MINUTE = {
    'five of ten fire one alert as soon as an entity would, and no entity fires beside it',
    'many entities of two detectors agree, and are critical in both',
    'entity that goes missing, until it is there again',
    'sustained anomaly of one entity fires after five steps, and goes',
    'flapping alert fires without a break once it has begun',
    'hold of 0s and values out of range while warming up have no beginning, and are sustained all the same',
    'two detectors agree: one page, when the second has lasted, and what belongs to it says so',
    'scrape gap of three minutes changes no label: no alert begins anew',
    'job of which one detector is ahead of the others is told as its incident at once, and not before it',
    'detectors of which one is ahead of the other are told as their incident at once, and not before it',
    'anomaly of an exporter that knows no incidents is told after half an hour, but for single entities',
    'nobody is there',
    'one of two replicas is down',
    'configuration is refused',
    'web configuration is refused',
    'model file that is wrong',
    'shard that is not there',
    'entity of one number, with neighbours',
    'entity whose label values need quoting, in bytes',
    'entity of several features',
    'entity without labels, two replicas',
    'job',
    'detector of one number',
    'detector of several features',
    'entity of one number with labels of its own that are called as ours',
}


class AsWritten(yaml.SafeDumper):
    """Of what BaseLoader read: numbers as they stood there, `0x60` among them, which is 61 samples and no number."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012


def short_forms(path):
    """A file of promtool tests as `make test` runs it, as texts: every case, its first hours and fewer evaluations where they are enough.

    That nothing fired until the end is asked earlier; other questions are left out where they come long after the first of their case. Cases
    that only read what an alert says are run with the rules of its file alone, and with what is recorded; those of anomalies without the alerts
    of promlstm itself, but where they expect one.
    """
    tests = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    alike = {}  # (interval, rule files): cases
    for case in tests['tests']:
        for kind in {'promql_expr_test', 'alert_rule_test'} & case.keys():
            questions = [_earlier(each) for each in case[kind]]
            last = max(LOOKED_AT, 60 + min(minutes(each['eval_time']) for each in questions))
            case[kind] = [each for each in questions if minutes(each['eval_time']) <= last]
        interval = EVALUATED_EACH.get(path.stem) if case['name'] not in EACH_MINUTE else None
        names = _needed(case, tests['rule_files'], of_itself=path.stem not in OF_ANOMALIES)
        alike.setdefault((interval or tests['evaluation_interval'], names), []).append(case)
    for (interval, names), cases in alike.items():
        files = [str((path.parent / name).resolve()) for name in names]
        yield yaml.dump({**tests, 'evaluation_interval': interval, 'rule_files': files, 'tests': cases}, Dumper=AsWritten, sort_keys=False)


def written_forms(path, folder):
    """The files for one run of promtool: the file itself at full length, and its short forms, written into a folder, in `make test`."""
    if is_accept():
        return [path]
    files = []
    for number, text in enumerate(short_forms(path)):
        files.append(folder / f'{number}.yml')
        files[-1].write_text(text)
    return files


def _needed(case, names, *, of_itself):
    """Those of the rule files on which the answers to a case depend; of_itself: the alerts of promlstm itself too, where the case names none of them."""
    if 'promql_expr_test' in case:
        asked = of_itself or any(f'"{name}"' in str(case) for name, file in FILE_OF.items() if file == 'self')
        return tuple(name for name in names if asked or Path(name).stem != 'self')
    read = {FILE_OF[each['alertname']] for each in case['alert_rule_test']} | {'recording'}
    return tuple(name for name in names if Path(name).stem in read)


def _earlier(question):
    """The question, and where it is whether anything fired at all, at LOOKED_AT minutes at the latest: what was silent later was silent then."""
    silent = question.get('expr', '').startswith(SILENT) and 'exp_samples' not in question
    return {**question, 'eval_time': f'{LOOKED_AT}m'} if silent and minutes(question['eval_time']) > LOOKED_AT else question


def minutes(duration):
    """A duration of PromQL in minutes.

    >>> minutes('1d2h30m'), minutes('90s'), minutes('0')
    (1590.0, 1.5, 0.0)
    """
    seconds = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}
    return sum(int(number) * seconds[unit] for number, unit in re.findall(r'(\d+)([smhdw])', str(duration))) / 60


def selectors(text):
    """(metric, set of labels in its braces) of all selectors of ours in a text; `promlstm_(a|b)` are two metrics."""
    text = re.sub(r'promlstm_\(([\w|]+)\)', lambda match: ' '.join(f'promlstm_{name}' for name in match[1].split('|')), text)
    for match in re.finditer(r'(?<![\w:/$.])(promlstm[_:][\w:]*)(\{[^{}]*\})?', text):
        if match[1] not in OURS:
            yield match[1], set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)', match[2] or ''))


def expressions(rule):
    """The PromQL of a rule, that of its annotations' queries included."""
    asked = ' '.join(line for text in rule.get('annotations', {}).values() for line in re.findall(r'(?:query|graphLink) (.*?)\}\}', text))
    return rule['expr'] + ' ' + asked


def foreign(text):
    """What a text asks of promlstm that neither the code exports nor the rules record: list of words."""
    wrong = []
    for metric, labels in selectors(text):
        if metric in OF_EXPORTER:
            wrong += [f'{metric}{{{label}}}' for label in labels - OF_EXPORTER[metric]]
        elif metric not in OF_ENTITIES | RECORDED | RECORDED_BY_USERS:
            wrong.append(metric)
    return wrong


def grouped(text):
    """The labels that a text aggregates by or matches on."""
    return {label for names in re.findall(r'\b(?:by|on|without|ignoring)\s*\(([^()]*)\)', text) for label in re.findall(r'\w+', names)}


OTHERS = re.compile(r'\b((?:kube|node|smartctl|smartmon|nvme|ipmi)_\w+)(?:\{([^{}]*)\})?')  # metrics of other exporters


def asked_of_others(text):
    """[(metric, set of labels in its braces)] of all selectors of metrics of others in a text; what is in quotes is no metric."""
    text = re.sub(r'\{[^{}]*\}', lambda braces: '{' + ' '.join(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)', braces[0])) + '}', text)
    return [(found[1], set((found[2] or '').split())) for found in OTHERS.finditer(re.sub(r'"[^"]*"', '', text))]


OF_TARGETS = {'job', 'instance', 'namespace', 'pod', 'container', 'service', 'endpoint', 'node'}  # those that scrapes in a cluster give
OF_OURS = {'horizon', 'bound', 'reason', 'detector', 'incident', 'promlstm_replica', 'feature', 'view', 'state', 'stage', 'edges', 'shard'}
LABELS = OF_TARGETS | OF_HOSTS | OF_OURS


def recorded(path):
    """{metric: labels} of others that a rule file may read, as their recorded page has them."""
    page = servers.ROOT / f'tests/recorded/rules/{path.stem}.prom'
    text = page.read_text() if page.exists() else ''
    return {sample.name: set(sample.labels) for family in text_string_to_metric_families(text) for sample in family.samples}
