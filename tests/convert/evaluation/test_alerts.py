"""Alerts of the shipped rules, counted from scores: by hand, and against promtool with the rules themselves."""

import json
import re

import numpy as np
import pytest
import servers
import yaml
from rule_files import RULES

from convert.evaluation import alerts
from convert.evaluation.alerts import Alarm, Alarms, Rules, incidents

NONE = np.nan


def of_scores(*rows, step_seconds=60.0):
    """Alarms of some entities from their scores, step by step; the exporter's beginning is that of each run."""
    made, scores = Alarms(len(rows)), np.array(rows, float)
    since = np.full(len(rows), NONE)
    for step, score in enumerate(scores.T):
        since = np.where(score >= 1, np.where(np.isnan(since), step * step_seconds, since), NONE)
        made.add(step * step_seconds, score, since)
    return made.found


def warnings(*rows, step_seconds=60.0):
    return len(Rules(of_scores(*rows, step_seconds=step_seconds), np.arange(len(rows)), step_seconds).warnings())


@pytest.mark.parametrize(
    ('scores', 'count'),
    [
        ([2] * 5 + [0] * 9, 0),
        ([2] * 6 + [0] * 9, 1),
        ([1] * 6, 1),
        ([1.2] * 90, 1),
        ([1.6] * 8 + [0] * 3 + [1.6] * 8, 2),
        ([1.6] * 8 + [0] + [1.6] * 2, 1),
    ],
)
def test_a_warning_begins_after_five_steps_and_is_kept_through_a_pause(scores, count):
    """At a step of a minute. What begins anew within five minutes of its end has never ended."""
    assert warnings(scores) == count


def test_a_warning_of_an_hourly_detector_begins_at_once():
    assert warnings([1.3, 0.9], [0.9, 0.9], step_seconds=3600.0) == 1


def test_the_beginning_of_the_exporter_holds_after_calm_samples():
    """A score that comes back within its alarm is as old as the alarm."""
    made = Alarms(1)
    for step, score in enumerate([2, 2, 2, 0.5, 2, 2, 2, 2]):
        made.add(60.0 * step, np.array([score]), np.array([0.0 if score >= 1 else NONE]))
    assert [(alarm.onset, len(alarm.times)) for alarm in made.found] == [(0.0, 7)]
    assert Rules(made.found, np.array([0]), 60.0).warnings() == [300.0]


def test_a_score_without_a_beginning_begins_when_it_is_seen_and_goes_on_while_it_lasts():
    made = Alarms(1)
    for step in range(8):
        made.add(60.0 * step, np.array([1.01]), np.array([NONE]))
    assert [(alarm.onset, len(alarm.times)) for alarm in made.found] == [(0.0, 8)]


ODD = [0] * 10 + [1.3] * 20
HERE, APART = np.array([0, 0]), np.array([0, 1])


def pages(rows, host, detector=None, job=None):
    detector = np.arange(len(rows)) if detector is None else detector
    return len(Rules(of_scores(*rows), detector, 60.0).pages(np.array(host), np.array(host) if job is None else job))


@pytest.mark.parametrize(
    ('rows', 'host', 'detector', 'count'),
    [
        ([ODD], [0], None, 0),
        ([ODD, ODD], [0, 0], None, 1),
        ([ODD, ODD], [0, 1], None, 0),
        ([ODD, ODD], [0, 0], np.array([0, 0]), 0),
        ([ODD, [0] * 12 + [1.3] * 4 + [0] * 14], [0, 0], None, 0),
        ([ODD * 2, [0] * 40 + [1.3] * 20], [0, 0], None, 1),
        ([[0] * 10 + [1.3] * 50, [0] * 45 + [1.3] * 15], [0, 0], None, 0),
    ],
)
def test_a_page_is_two_detectors_that_agree_on_a_host(rows, host, detector, count):
    """At once, each for as long as a warning takes, begun within the window of each other."""
    assert pages(rows, host, detector) == count


def test_many_entities_of_one_detector_are_one_warning_and_no_page():
    """Those of two detectors are a page."""
    rules = Rules(of_scores(*[ODD] * 6), np.zeros(6, int), 60.0)
    assert len(rules.warnings()) == 1 and not rules.pages(np.arange(6), np.zeros(6, int))
    rules = Rules(of_scores(*[ODD] * 12), np.arange(12) // 6, 60.0)
    assert len(rules.warnings()) == 2 and len(rules.pages(np.arange(12), np.arange(12))) == 1


def test_a_job_of_three_detectors_is_a_page():
    """If many of its entities are anomalous."""
    of_three = lambda rows: Rules(of_scores(*rows), np.arange(12) // 4, 60.0).pages(np.arange(12), np.zeros(12, int))  # noqa: E731
    assert len(of_three([ODD] * 12)) == 1
    assert not of_three([ODD] * 8 + [[0] * 30] * 4)


def test_an_incident_is_over_when_it_has_been_calm_for_ten_minutes():
    """Within the window, but after the calm, another one begins."""
    short = Alarm(0, 0.0, [0.0, 60.0])
    assert incidents([short, Alarm(1, 660.0, [660.0])], 60.0) == [[0, 1]]
    assert incidents([short, Alarm(1, 720.0, [720.0])], 60.0) == [[0], [1]]


def test_the_numbers_are_those_of_the_rules():
    """Whoever changes a default in rules/ is told that the count says something else."""
    recorded = {rule.get('record'): rule['expr'] for group in yaml.safe_load((RULES / 'recording.yml').read_text())['groups'] for rule in group['rules']}
    assert recorded['promlstm:steps_threshold'].endswith('clamp_max(floor(1800 / promlstm:step_seconds), 5)')
    assert recorded['promlstm:witnesses_threshold'].endswith(f'vector({alerts.WITNESSES})')
    assert recorded['promlstm:detectors_threshold'].endswith(f'vector({alerts.OF_JOB})')
    assert recorded['promlstm:share_threshold'].endswith(f'+ {alerts.SHARE}')
    assert recorded['promlstm:many_threshold'].endswith(f'promlstm:scored_entities, {alerts.FEW}, {alerts.MANY})')
    assert recorded['promlstm:page'].endswith('or 0 * promlstm:step_seconds')
    told = [rule for group in yaml.safe_load((RULES / 'alerts.yml').read_text())['groups'] for rule in group['rules']]
    kept = [rule['keep_firing_for'] for rule in told if 'Anomaly' in rule['alert'] or 'Incident' in rule['alert']]
    assert set(kept) == {f'{alerts.KEPT / 60:.0f}m'}


@pytest.mark.real
def test_promtool_finds_the_same_in_the_same_scores(tmp_path):
    """Random scores of three detectors on four hosts: warnings and pages of the shipped rules begin in the same minutes."""
    rng, steps = np.random.default_rng(5), 240
    detector, host = np.arange(12) // 4, np.arange(12) % 4
    scores = np.where(np.repeat(rng.random((12, steps // 12)) < 0.3, 12, axis=1), 1.3, 0.2)
    found = of_scores(*scores)
    rules = Rules(found, detector, 60.0)
    step = 'promlstm_detector_step_seconds{{job="promlstm",instance="p",detector="d{}"}}'
    series = [(step.format(number), np.full(steps, 60.0)) for number in range(3)]
    series += [(f'promlstm_anomaly_score{{detector="d{detector[row]}",instance="h{host[row]}"}}', scores[row]) for row in range(12)]
    for place in range(4):
        mine = [alarm for alarm in found if host[alarm.row] == place]
        for number, members in enumerate(incidents(mine, 60.0)):
            of = f'incident="{place}-{number}"'
            times = np.array(sorted({time for member in members for time in mine[member].times}))
            series.append((f'promlstm_incident_start_timestamp_seconds{{{of}}}', marked(times, steps, mine[members[0]].onset)))
            for row in {mine[member].row for member in members}:
                times = [time for member in members if mine[member].row == row for time in mine[member].times]
                series.append((f'promlstm_incident_member{{{of},detector="d{detector[row]}",instance="h{place}"}}', marked(np.array(times), steps, 1.0)))
    asked = {
        'warning': 'count by (detector, instance) (ALERTS{alertstate="firing",alertname=~"PromlstmAnomaly.*",severity="warning"})',
        'critical': 'count by (incident) (ALERTS{alertstate="firing",alertname="PromlstmIncident"})',
    }
    began = {severity: firing(series, expr, steps, tmp_path) for severity, expr in asked.items()}
    assert began['warning'] == [time / 60 for time in rules.warnings()]
    assert began['critical'] == sorted(time / 60 for time in rules._of_incidents(host))
    assert len(began['critical']) >= 3


def marked(times, steps, value):
    """A series that has a value in these minutes and is stale between them."""
    column = np.full(steps, NONE)
    column[(times / 60).astype(int)] = value
    return column


def firing(series, expr, steps, directory):
    """The minutes in which something of an expression that was not there before appears, in order; by the real promtool."""
    inputs = [{'series': name, 'values': ' '.join('stale' if value != value else repr(float(value)) for value in column)} for name, column in series]
    tests = [
        {'expr': f'{expr} and on () (vector({minute}) >= {minute})', 'eval_time': f'{minute}m', 'exp_samples': [{'labels': 'never{}', 'value': -1}]}
        for minute in range(steps)
    ]  # so that promtool prints what it got
    content = {
        'rule_files': [str(RULES / 'recording.yml'), str(RULES / 'alerts.yml')], 'evaluation_interval': '1m',
        'group_eval_order': ['promlstm.recording', 'promlstm.alerts'],
        'tests': [{'interval': '1m', 'input_series': inputs, 'promql_expr_test': tests}],
    }  # fmt: skip
    (directory / 'tests.yml').write_text(json.dumps(content))
    said = servers.run_tool('promtool', 'test', 'rules', directory / 'tests.yml', check=False)
    shown = re.findall(r'vector\((\d+)\) >= .*\n\s*exp:.*\n\s*got: ?(.*)', said.stdout + said.stderr)
    assert len(shown) == steps, (said.stdout + said.stderr)[:2000]
    before, began = set(), []
    for minute, got in shown:
        now = set(re.findall(r'\{[^}]*\}', got))
        began += [int(minute)] * len(now - before)
        before = now
    return began
