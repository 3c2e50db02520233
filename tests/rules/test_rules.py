"""The rules on the real promtool: valid, silent where they must be silent, and about nothing that does not exist."""

import re

import pytest
import servers
import yaml
from rule_files import (
    ALERTS,
    COMPAT,
    FILES,
    LABELS,
    OF_EXPORTER,
    OF_FORECASTS,
    OF_INCIDENTS,
    OF_TARGETS,
    ORDER,
    OURS,
    RECORDED,
    RULES,
    RUNBOOK,
    SILENT,
    TESTS,
    asked_of_others,
    expressions,
    foreign,
    grouped,
    recorded,
    rules,
    selectors,
    short_forms,
    written_forms,
)

from promlstm.serve import exposition

WATCHED = [rule for name in ('alerts', 'forecast') for rule in rules(RULES / f'{name}.yml') if 'alert' in rule]  # the others are of promlstm itself


@pytest.mark.real
def test_promtool_accepts_the_rules():
    """Valid for the oldest Prometheus that is promised, without a lint."""
    servers.promtool('check', 'rules', '--lint=all', '--lint-fatal', *FILES, *COMPAT)


@pytest.mark.real
@pytest.mark.parametrize('path', TESTS, ids=lambda path: path.stem)
def test_promtool_passes_the_unit_tests(path, tmp_path):
    """Each case fires what it must, and nothing else: in its first hours, at full length to its end."""
    servers.promtool('test', 'rules', *written_forms(path, tmp_path))


@pytest.mark.parametrize('path', TESTS, ids=lambda path: path.stem)
def test_the_short_form_has_every_case_and_every_alert_that_fires(path):
    """What `make test` leaves out is time, evaluations, and the alerts of promlstm itself where a case names none of them."""
    whole, short = ([case for text in texts for case in yaml.safe_load(text)['tests']] for texts in ([path.read_text()], short_forms(path)))
    assert sorted(case['name'] for case in short) == sorted(case['name'] for case in whole)
    assert told(short) == told(whole)


def told(cases):
    """Names of the alerts that some question of a case expects to fire, or to be read."""
    asked = [each for case in cases for each in case.get('promql_expr_test', []) if each.get('exp_samples')]
    read = {each['alertname'] for case in cases for each in case.get('alert_rule_test', []) if each.get('exp_alerts')}
    return read | set(re.findall(r'alertname="(\w+)"', str([each['exp_samples'] for each in asked])))


def test_more_cases_stay_silent_than_fire():
    """Over the logic of the alerts, a case that asks that nothing fires at any time outnumbers those that fire; texts are apart."""
    cases = [case for path in TESTS if path.stem not in ('annotations', 'compat') for case in yaml.safe_load(path.read_text())['tests']]
    silent = [case for case in cases if case['promql_expr_test'][0]['expr'].startswith(SILENT)]
    assert all('exp_samples' not in case['promql_expr_test'][0] for case in silent)
    assert len(silent) > len(cases) - len(silent) >= len({rule['alert'] for rule in ALERTS}), (len(silent), len(cases))
    assert len({case['name'] for case in cases}) == len(cases)


def test_every_alert_has_a_case_that_fires_and_a_text_that_was_read():
    """No alert is shipped that was never seen to fire, nor one whose words nobody read."""
    logic = ''.join(path.read_text() for path in TESTS if path.stem != 'annotations')
    texts = [case['alert_rule_test'][0] for case in yaml.safe_load((RULES / 'tests/annotations.yml').read_text())['tests']]
    for name in {rule['alert'] for rule in ALERTS}:
        assert f'alertname="{name}"' in logic, name
        assert any(text['alertname'] == name and text['exp_alerts'] for text in texts), name
    assert '<error' not in str(texts) and '%!' not in str(texts)  # what Prometheus makes of a template that fails


@pytest.mark.parametrize('path', [*FILES, *COMPAT], ids=lambda path: path.stem)
def test_rules_read_only_what_is_exported(path):
    """Every metric and label of an expression or of an annotation's query is one that the code exports, a rule records, or a recorded page has."""
    others = recorded(path)
    labels = LABELS.union(*others.values())
    for rule in rules(path):
        asked = expressions(rule)
        assert not foreign(asked), rule
        assert grouped(asked) <= labels, rule
        assert {metric for metric, _ in asked_of_others(asked)} <= set(others), rule
    assert others.keys() <= {metric for rule in rules(path) for metric, _ in asked_of_others(expressions(rule))}


@pytest.mark.parametrize('name', ['node-health', 'retraining'])
def test_foreign_metrics_of_rules_are_asked_for_labels_that_they_have(name):
    """The selectors of what other exporters give, label by label."""
    path = RULES / f'{name}.yml'
    found = [one for rule in rules(path) for one in asked_of_others(expressions(rule)) if one[1]]
    assert found and all(labels <= recorded(path)[metric] for metric, labels in found)


def test_the_labels_that_rules_rely_on_are_exported():
    """The words in LABELS are not made up: each is a label of a table in the code, or one that every scrape gives."""
    exported = {label for _, labels in exposition.FAMILIES.values() for label in labels}.union(
        *OF_EXPORTER.values(), *OF_INCIDENTS.values(), *OF_FORECASTS.values()
    )
    assert not LABELS - OURS - exported - OF_TARGETS


def test_every_recorded_threshold_can_be_overridden_and_is_explained():
    """The runbook's table has each override that the rules read, and no other."""
    read = {metric for path in FILES for rule in rules(path) for metric, _ in selectors(rule['expr']) if metric.endswith(':override')}
    assert read and read == set(re.findall(r'^\| `(promlstm:\w+:override)`', RUNBOOK, re.MULTILINE))


def test_every_recorded_series_is_read():
    """Nothing is recorded for nobody."""
    read = ' '.join(expressions(rule) for path in FILES for rule in rules(path)) + RUNBOOK
    assert {name for name in RECORDED if len(re.findall(rf'{name}(?![\w:])', read)) < 1} == set()


def test_labels_do_not_change_while_an_alert_fires():
    """A label's value is fixed, or made of the series' own labels: a number in it would be a new alert at each evaluation."""
    for rule in ALERTS:
        for value in rule['labels'].values():
            own = value.replace('range $name, $value := $labels', '').replace('{{ $name }}={{ $value }}', '')
            assert '$value' not in own and 'query' not in own and '.Value' not in own, rule


def test_every_alert_has_what_people_and_routes_need():
    """Severity and scope for the routes; for people what is the matter, the reason, a graph, a dashboard, the runbook's section, and the page that shows it."""
    for rule in ALERTS:
        assert rule['labels']['severity'] in ('warning', 'critical')
        assert rule['labels']['promlstm_scope'] in ('incident', 'entity', 'instance', 'job', 'detector', 'exporter')
        shown = rule in WATCHED and rule['labels']['promlstm_scope'] != 'exporter'
        assert {'summary', 'description', 'graph', 'dashboard', 'runbook_url', *(['promlstm_url'] if shown else [])} == set(rule['annotations'])
        assert rule['annotations']['runbook_url'] == f'runbook.md#{rule["alert"].lower()}'


def test_the_runbook_has_a_section_for_each_alert_and_no_other():
    """In the order of the files, each with its five parts."""
    sections = re.split(r'^## ', RUNBOOK, flags=re.MULTILINE)[1:]
    names = list(
        dict.fromkeys(rule['alert'] for path in (RULES / f'{name}.yml' for name in ORDER) for rule in rules(path) if 'alert' in rule)
    )
    assert [section.split('\n')[0] for section in sections] == [*names, 'Tuning']
    for section in sections[:-1]:
        parts = re.findall(r'^\*\*(Meaning|Impact|Look at|Do|Silence)\b', section, re.MULTILINE)
        assert parts == ['Meaning', 'Impact', 'Look at', 'Do', 'Silence'], section.split('\n')[0]
        assert '```promql' in section, section.split('\n')[0]


@pytest.mark.real
def test_the_queries_of_the_runbook_are_valid_and_ask_for_what_exists(tmp_path):
    """Each can be pasted into Prometheus, and so can the rules that it tells people to write."""
    queries = re.findall(r'```promql\n(.*?)\n```', RUNBOOK, re.DOTALL)
    (shown,) = re.findall(r'```yaml\n(.*?)```', RUNBOOK, re.DOTALL)
    pasted = {'groups': [{'name': 'pasted', 'rules': [{'record': f'q:{number}', 'expr': query} for number, query in enumerate(queries)]}]}
    (tmp_path / 'queries.yml').write_text(yaml.safe_dump(pasted))
    (tmp_path / 'mine.yml').write_text(shown)
    servers.promtool('check', 'rules', tmp_path / 'queries.yml', tmp_path / 'mine.yml')
    assert not [wrong for query in queries for wrong in foreign(query)]
    assert not [wrong for rule in rules(tmp_path / 'mine.yml') for wrong in [*foreign(rule['expr']), *foreign(rule['record'])]]


@pytest.mark.real
def test_the_overrides_that_the_runbook_shows_are_rules(tmp_path):
    """Copied as they stand, promtool takes them without a lint."""
    (shown,) = re.findall(r'```yaml\n(.*?)```', RUNBOOK, re.DOTALL)
    (tmp_path / 'mine.yml').write_text(shown)
    servers.promtool('check', 'rules', '--lint=all', '--lint-fatal', tmp_path / 'mine.yml')
