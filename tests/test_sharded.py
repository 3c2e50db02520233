"""Three processes share a configuration on one real Prometheus: together they score every entity once, each reads its own part only, and when
one is killed the others go on and an alert tells which is not there.
"""

import random

import pytest
import servers
import yaml
from exporter import Exporter
from http_target import serving
from servers import wait_until

from promlstm import config as configuration
from promlstm import split
from promlstm.check import check
from promlstm.live.shards import Shard, part

pytestmark = pytest.mark.real

RULES = servers.ROOT / 'rules'
SHARDS = 3
# One entity lacks the label, one is empty to Prometheus, which is the same; the rest is spelt as people spell names.
PODS = ['Zürich', 'straße-ß', 'a:9100', ':9100', 'x:', *(f'web-{number}' for number in range(20)), *(f'10.0.0.{number}:9100' for number in range(20))]
LATER = ['web-late-x2k9p', 'späť', '10.0.9.9:9100']
KEYS = {'step': '1s', 'delay': '1s', 'history': '0s', 'model': 'builtin:forecaster'}
DETECTORS = [
    {'name': 'pods', 'expr': 'sum by (pod) (level{job="source", $shard})', 'split_by': 'pod', **KEYS},
    *({'name': f'whole{number}', 'expr': 'sum(level)', **KEYS} for number in range(4)),
]


class Fleet:
    """What Prometheus scrapes."""

    def __init__(self):
        self.pods = list(PODS)

    def page(self):
        lines = [f'level{{pod="{pod}"}} {random.uniform(20, 21)}' for pod in self.pods] + [f'level {random.uniform(20, 21)}']
        return ('\n'.join(lines) + '\n').encode()


@pytest.fixture(scope='module')
def sharded(tmp_path_factory):
    """(Fleet, Prometheus, the three exporters)."""
    directory, fleet = tmp_path_factory.mktemp('sharded'), Fleet()
    (directory / 'shards.yml').write_text(yaml.safe_dump({'groups': [{'name': 'shards', 'rules': rules()}]}))
    with (
        serving(fleet.page) as address,
        servers.Prometheus(directory / 'prometheus', rule_files=[directory / 'shards.yml']) as prometheus,
        Exporter(directory / '0', prometheus.url, DETECTORS, f'--shard=0/{SHARDS}') as zero,
        Exporter(directory / '1', prometheus.url, DETECTORS, f'--shard=auto/{SHARDS}', environment={'POD_NAME': 'promlstm-1'}) as one,
        Exporter(directory / '2', prometheus.url, DETECTORS, f'--shard=2/{SHARDS}') as two,
    ):
        job = zero.scrape_config()
        job['static_configs'][0]['targets'] += [one.address, two.address]
        prometheus.scrape_configs = [job, {'job_name': 'source', 'static_configs': [{'targets': [address]}]}]
        prometheus.reload()
        yield fleet, prometheus, [zero, one, two]


def rules():
    """The alerts on shards of rules/self.yml, with seconds for minutes."""
    found = [rule for group in yaml.safe_load((RULES / 'self.yml').read_text())['groups'] for rule in group['rules']]
    text = yaml.safe_dump([{**rule, 'for': '5s'} for rule in found if rule['alert'].startswith('PromlstmShard')])
    return yaml.safe_load(text.replace('[5m]', '[3s]'))


def scored(prometheus):
    """{pod: how many exporters score it}, '' = the entity without the label."""
    return {
        one['metric'].get('pod', ''): int(one['value'][1])
        for one in prometheus.query('count by (pod) (last_over_time(promlstm_anomaly_score{detector="pods"}[5s]))')
    }


def test_every_entity_is_scored_once(sharded):
    """Whole detectors, parts, what has no label, and what comes later."""
    fleet, prometheus, _ = sharded
    wait_until(lambda: scored(prometheus) == dict.fromkeys(['', *PODS], 1), 180, 'a score of every pod, once')
    found = prometheus.wait_for('count by (detector) (promlstm_detector_step_seconds)', lambda result: len(result) == len(DETECTORS))
    counts = {one['metric']['detector']: int(one['value'][1]) for one in found}
    assert counts == {'pods': SHARDS, **{f'whole{number}': 1 for number in range(4)}}
    fleet.pods += LATER
    prometheus.wait_for(f'count(count by (pod) (promlstm_observed{{detector="pods"}})) == {len(PODS) + 1 + len(LATER)}')
    assert prometheus.query('max(count by (pod) (promlstm_observed{detector="pods"}))')[0]['value'][1] == '1'


def test_each_reads_its_part_only(sharded):
    """As Prometheus counts the samples of the query: those of all parts together are those of the whole."""
    _, prometheus, _ = sharded
    config = configuration.parse(yaml.safe_dump({'prometheus': {'url': prometheus.url}, 'detectors': DETECTORS}))
    time = float(prometheus.query('vector(time())')[0]['value'][1]) - 2
    parts = [part(config, Shard(number, SHARDS)).detectors for number in range(SHARDS)]
    exprs = [next(each.queries[''] for each in detectors if each.name == 'pods') for detectors in parts]
    (whole,) = config.detectors[0].queries.values()
    assert split.PLACEHOLDER not in whole
    stats = [prometheus.ask('query', query=expr, time=time, stats='all')['stats'] for expr in [*exprs, whole]]
    *read, everything = (one['samples']['totalQueryableSamples'] for one in stats)
    assert sum(read) == everything and max(read) < 0.6 * everything


def test_check_config_says_how_they_are_spread(sharded):
    """By asking for each part; it refuses what has no parts."""
    _, prometheus, _ = sharded
    for expr, good in (('max by (pod) (level{$shard})', True), ('sum by (job) (level{$shard})', False)):
        lines, detectors = [], [{**DETECTORS[0], 'expr': expr}, *DETECTORS[1:]]
        text = yaml.safe_dump({'prometheus': {'url': prometheus.url}, 'detectors': detectors})
        assert check(configuration.parse(text), online=True, say=lines.append, shards=SHARDS) == good
        assert good != any('split_by: the parts are not the whole' in line for line in lines)
        header = next(number for number, line in enumerate(lines) if line.startswith('SHARD '))
        rows = [line.split() for line in lines[header + 1 :] if line[:1].isdigit()]
        assert len(rows) == SHARDS and lines[header].split()[-2:] == ['MEMORY', 'PAGE']
        assert (sum(int(row[3]) for row in rows) > len(PODS) and all(float(row[-2]) > 0 for row in rows)) == good


def test_one_that_is_killed_is_told_and_the_others_go_on(sharded):
    """The alert names those that are there, and ends when it is back."""
    _, prometheus, exporters = sharded
    prometheus.wait_for('count(promlstm_shard_info) == 3')
    assert 'split_by' not in exporters[0].log.read_text()
    prometheus.wait_for('absent(ALERTS{alertname=~"PromlstmShard.*"})')
    exporters[1].kill()
    (alert,) = prometheus.wait_for('ALERTS{alertname="PromlstmShardMissing",alertstate="firing"}')
    assert alert['metric']['job'] == 'promlstm'
    alerts = servers.http.get(f'{prometheus.url}/api/v1/alerts', timeout=servers.READY_SECONDS).json()['data']['alerts']
    (shown,) = [one for one in alerts if one['labels']['alertname'] == 'PromlstmShardMissing']
    assert 'of its 3 shards' in shown['annotations']['summary'] and 'Shards that are present: 0, 2.' in shown['annotations']['description']
    steps = 'sum by (instance) (promlstm_detector_steps_total)'
    before = {one['metric']['instance']: float(one['value'][1]) for one in prometheus.query(steps)}
    for other in (exporters[0], exporters[2]):
        prometheus.wait_for(f'{steps.replace("_total", f"_total{{instance={chr(34)}{other.address}{chr(34)}}}")} > {before[other.address] + 3}')
    exporters[1].start()
    prometheus.wait_for('absent(ALERTS{alertname="PromlstmShardMissing"})')
    wait_until(lambda: {1} == set(scored(prometheus).values()) and len(scored(prometheus)) == len(PODS) + 1 + len(LATER), 180, 'all pods, once')


def restarted(exporter, *flags):
    """Stop it and start it with other flags for its shard."""
    exporter.stop()
    exporter.args = [arg for arg in exporter.args if not arg.startswith('--shard')] + list(flags)
    exporter.start()


@pytest.mark.slow
def test_another_number_of_shards_raises_no_alarm(sharded):
    """From three to two in two steps, and back: what moves is scored twice until its old shard is restarted, and once afterwards; nothing alarms."""
    fleet, prometheus, (zero, one, two) = sharded
    began = float(prometheus.query('vector(time())')[0]['value'][1])
    everything = dict.fromkeys(['', *fleet.pods], 1)
    third = {pod for pod in everything if split.owners('pods', SHARDS)[split.class_of(pod)] == 2}
    assert 0 < len(third) < len(everything)
    twice = everything | dict.fromkeys(third, 2)

    restarted(zero, '--shard=0/2', '--shard.previous=3')
    restarted(one, '--shard=auto/2', '--shard.previous=3')
    wait_until(lambda: scored(prometheus) == twice, 60, 'the last shard to keep its part, beside those that take over')
    two.stop()
    restarted(zero, '--shard=0/2')
    restarted(one, '--shard=auto/2')
    wait_until(lambda: scored(prometheus) == everything, 60, 'every pod once, by two shards')

    restarted(two, '--shard=2/3')
    wait_until(lambda: scored(prometheus) == twice, 60, 'the new shard to take its part at once')
    restarted(zero, '--shard=0/3')
    restarted(one, '--shard=auto/3')
    wait_until(lambda: scored(prometheus) == everything, 60, 'every pod once, by three shards')
    over = float(prometheus.query('vector(time())')[0]['value'][1])
    span = f'[{round(over - began) + 5}s'
    (most,) = prometheus.query(f'max(max_over_time(promlstm_anomaly_score{{detector="pods"}}{span}]))')
    assert float(most['value'][1]) < 1
    (alarms,) = prometheus.query(f'max(max_over_time(promlstm_detector_alarms_total{{detector="pods"}}{span}]))')
    assert alarms['value'][1] == '0'
    (times,) = prometheus.query(f'max(max_over_time(count by (pod) (promlstm_anomaly_score{{detector="pods"}}){span}:1s]))')
    assert times['value'][1] == '2'  # never by three
