"""The four alerts of README.md, as a reader copies them, on the real promtool."""

import re
import shutil

import pytest
import servers
import yaml
from rule_files import written_forms

CASES = servers.ROOT / 'tests/rules/four_alerts/cases.yml'


@pytest.fixture
def alerts(tmp_path):
    """The block of README.md as a file."""
    blocks = re.findall(r'```yaml\n(.*?)```', (servers.ROOT / 'README.md').read_text(), re.DOTALL)
    (block,) = [block for block in blocks if 'alert:' in block]
    (tmp_path / 'alerts.yml').write_text(block)
    return tmp_path / 'alerts.yml'


@pytest.mark.real
def test_promtool_accepts_the_four_alerts(alerts):
    """For the oldest Prometheus that is promised, without a lint."""
    servers.promtool('check', 'rules', '--lint=all', '--lint-fatal', alerts)


@pytest.mark.real
def test_the_four_alerts_fire_and_stay_silent_as_they_should(alerts):
    """Rollouts, nightly jobs and failed scrapes are silent; a lost host is told as long as it is away; no entity costs another its alert."""
    shutil.copy(CASES, alerts.parent)
    servers.promtool('test', 'rules', *written_forms(alerts.parent / CASES.name, alerts.parent))


def test_more_cases_are_silent_than_fire_and_each_alert_fires_in_one():
    """A case that asks for nothing at all asks it of the whole time."""
    cases = yaml.safe_load(CASES.read_text())['tests']
    silent = [case for case in cases if all('exp_samples' not in test for test in case['promql_expr_test'])]
    assert len(silent) > len(cases) - len(silent), len(silent)
    assert all('count_over_time(ALERTS' in test['expr'] for case in silent for test in case['promql_expr_test'])
    fired = {name for case in cases if case not in silent for name in re.findall(r'alertname="(\w+)"', str(case['promql_expr_test']))}
    assert fired == {'Anomaly', 'EntityMissing', 'DetectorNotScoring', 'PromlstmDown'}
