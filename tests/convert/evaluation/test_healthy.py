"""Alerts of the shipped rules, counted from scores."""

import numpy as np
import pytest
import yaml
from rule_files import RULES

from convert.evaluation import healthy
from convert.evaluation.healthy import _Alerts


@pytest.mark.parametrize(
    ('scores', 'warnings', 'critical'),
    [
        ([2, 2, 2, 2, 0], 0, 0),
        ([1.2] * 5 + [0], 1, 0),
        ([1.6] * 5 + [0], 1, 1),
        ([1.1] * 29, 1, 0),
        ([1.3] * 30, 1, 1),
        ([1.1] * 40, 1, 0),
        ([1.6] * 5 + [0] + [1.6] * 5, 2, 2),
    ],
)
def test_an_alert_fires_as_the_rules_say(scores, warnings, critical):
    """At a step of a minute: five steps; critical from 1.5 on, or from 1.2 on after thirty."""
    alerts = _Alerts(1, 60.0)
    for score in scores:
        alerts.add(np.array([score]), counts=True)
    assert (alerts.warnings[0], alerts.critical[0]) == (warnings, critical)


def test_an_alert_of_an_hourly_detector_fires_at_once():
    alerts = _Alerts(2, 3600.0)
    alerts.add(np.array([1.3, 0.9]), counts=True)
    assert alerts.warnings.tolist() == alerts.critical.tolist() == [1, 0]


def test_what_began_before_it_counts_is_not_counted():
    alerts = _Alerts(1, 60.0)
    for step in range(10):
        alerts.add(np.array([1.6]), counts=step > 6)
    assert alerts.warnings[0] == 0


def test_the_thresholds_are_those_of_the_rules():
    """Whoever changes a default in recording.yml or alerts.yml is told that the count says something else."""
    recorded = {rule.get('record'): rule['expr'] for group in yaml.safe_load((RULES / 'recording.yml').read_text())['groups'] for rule in group['rules']}
    assert recorded['promlstm:critical_score_threshold'].endswith(f'+ {healthy.CRITICAL}')
    assert recorded['promlstm:steps_threshold'].endswith('clamp_max(floor(1800 / promlstm:step_seconds), 5)')
    assert recorded['promlstm:critical_steps_threshold'].endswith('clamp(floor(3000 / promlstm:step_seconds), 1, 30)')
    assert f'promlstm:critical_score_threshold / {healthy.LASTING})' in (RULES / 'alerts.yml').read_text()
