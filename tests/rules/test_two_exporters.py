"""Two exporters with the same detectors, outside the chart: on a real Prometheus with README's scrape job their series are apart, and the
rules count an entity once; without it, Prometheus tells that nothing keeps them apart.
"""

import copy
import random

import pytest
import servers
import yaml
from exporter import Exporter
from http_target import serving

pytestmark = pytest.mark.real

RULES = servers.ROOT / 'rules'
# An entity with an instance of its own, one with other labels, and one without any.
DETECTORS = [
    {'name': 'level', 'expr': 'level'},
    {'name': 'rooms', 'expr': 'max without (job, instance) (room_level)'},
    {'name': 'all', 'expr': 'sum(room_level)'},
]
ENTITIES = 1 + 2 + 1


def page():
    lines = [f'level {random.uniform(20, 21)}', *(f'room_level{{room="{room}"}} {random.uniform(20, 21)}' for room in 'ab')]
    return ('\n'.join(lines) + '\n').encode()


@pytest.fixture(scope='module')
def both(tmp_path_factory):
    """(Prometheus, README's job for both exporters); they have different budgets, so that their scores are not the same."""
    directory = tmp_path_factory.mktemp('two')
    budgets = ('1/week each', '1/day each')
    detectors = [[{**one, 'step': '1s', 'delay': '1s', 'history': '0s', 'false_alarms': budget} for one in DETECTORS] for budget in budgets]
    with (
        serving(page) as address,
        servers.Prometheus(directory / 'prometheus', rule_files=[RULES / 'recording.yml', directory / 'shared.yml']) as prometheus,
        Exporter(directory / 'one', prometheus.url, detectors[0]) as one,
        Exporter(directory / 'other', prometheus.url, detectors[1]) as other,
    ):
        job = one.scrape_config()
        job['static_configs'][0]['targets'].append(other.address)
        (directory / 'shared.yml').write_text(yaml.safe_dump({'groups': [{'name': 'shared', 'rules': [alert()]}]}))
        prometheus.scrape_configs = [job, {'job_name': 'source', 'static_configs': [{'targets': [address]}]}]
        prometheus.reload()
        yield prometheus, job


def alert():
    """The alert of rules/self.yml, without its quarter of an hour."""
    found = [rule for group in yaml.safe_load((RULES / 'self.yml').read_text())['groups'] for rule in group['rules']]
    (one,) = [rule for rule in found if rule['alert'] == 'PromlstmSeriesShared']
    return {**one, 'for': '0s'}


def count(prometheus, expr):
    return int(prometheus.query(f'count({expr}) or vector(0)')[0]['value'][1])


def test_each_has_series_of_its_own(both):
    """Of every family and every entity, whether it has an instance, other labels or none."""
    prometheus, _ = both
    prometheus.wait_for(f'count(promlstm_anomaly_score) == {2 * ENTITIES}', limit_seconds=180)
    for family in (
        'promlstm_anomaly_score',
        'promlstm_observed',
        'promlstm_expected',
        'promlstm_expected_lower',
        'promlstm_expected_upper',
    ):
        assert count(prometheus, family) == 2 * ENTITIES
        assert count(prometheus, f'count without (promlstm_replica) ({family})') == ENTITIES
    # Each has the band of one exporter: that of the larger budget is narrower.
    upper = 'without (promlstm_replica) (promlstm_expected_upper)'
    prometheus.wait_for(f'count(max {upper} > min {upper}) == {ENTITIES}')


def test_the_rules_count_an_entity_once(both):
    """Present, scored and anomalous."""
    prometheus, _ = both
    prometheus.wait_for(f'count(promlstm_anomaly_score) == {2 * ENTITIES}', limit_seconds=180)
    for recorded in ('promlstm:scored_entities', 'promlstm:present_entities'):
        prometheus.wait_for(f'sum({recorded}) == {ENTITIES}')
    assert count(prometheus, 'max without (promlstm_replica) (promlstm_anomaly_score)') == ENTITIES
    assert count(prometheus, 'ALERTS{alertname="PromlstmSeriesShared"}') == 0


def test_series_that_are_shared_are_told(both):
    """Without the relabelling, each detector of both is named, with its exporters; it ends when the relabelling is there."""
    prometheus, job = both
    prometheus.wait_for(f'count(promlstm_anomaly_score) == {2 * ENTITIES}', limit_seconds=180)
    bare = copy.deepcopy(job)
    del bare['relabel_configs']
    prometheus.scrape_configs[0] = bare
    prometheus.reload()
    prometheus.wait_for(f'count(ALERTS{{alertname="PromlstmSeriesShared",alertstate="firing"}}) == {len(DETECTORS)}')
    prometheus.wait_for(f'count(promlstm_anomaly_score) == {ENTITIES}')
    prometheus.scrape_configs[0] = job
    prometheus.reload()
    prometheus.wait_for('absent(ALERTS{alertname="PromlstmSeriesShared"})')
