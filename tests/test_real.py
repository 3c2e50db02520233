"""The real servers are really there: a test that talks to one may trust what tests/real.py says of it."""

import os
import time

import pytest
import requests
import servers
from servers import Alertmanager, NodeExporter, Process, Prometheus, answers, backfill, free_port, promtool, run_tool, wait_until

pytestmark = pytest.mark.real

DAY_SECONDS = 86_400

ALWAYS_FIRING = """
groups:
  - name: test
    rules:
      - alert: Always
        expr: vector(1)
"""


def test_every_tool_runs_and_its_version_is_recorded(tools):
    """Each tool says its version, and versions.txt names the same one."""
    recorded = {line.split()[0]: line.split()[1] for line in (tools.parent / 'versions.txt').read_text().splitlines()}
    assert set(recorded) == {*servers.TOOL_NAMES, 'victoria-metrics', 'helm3', 'helm4'}
    run_tool('victoria-metrics', '-version')  # which prints nothing in Debian's build
    for name, version in recorded.items() - {('victoria-metrics', recorded['victoria-metrics'])}:
        helm = name.startswith('helm')
        said = run_tool(name, *(('version', '--short') if helm else ('--version',)))
        assert (version if helm else f'version {version}') in said.stdout + said.stderr


def test_a_fresh_prometheus_scrapes_itself(prometheus):
    """The fixture's Prometheus has its own samples within the limit."""
    [series] = prometheus.wait_for('up == 1')
    assert series['metric'] == {'__name__': 'up', 'job': 'prometheus', 'instance': prometheus.address}


def test_prometheus_scrapes_node_exporter(node_exporter, tmp_path):
    """Metrics of this machine reach Prometheus under the job that the scrape config names."""
    with Prometheus(tmp_path, scrape_configs=[node_exporter.scrape_config('node')]) as prometheus:
        prometheus.wait_for('node_cpu_seconds_total{job="node"}')


def test_reload_reads_what_a_test_has_changed(prometheus, node_exporter):
    """A scrape target added to a running Prometheus is scraped after reload()."""
    prometheus.scrape_configs.append(node_exporter.scrape_config('node'))
    prometheus.reload()
    prometheus.wait_for('up{job="node"} == 1')


def test_a_refused_configuration_raises_with_the_reason(prometheus):
    """reload() of a configuration that Prometheus refuses raises, in Prometheus' own words."""
    prometheus.scrape_configs.append({'job_name': 'prometheus'})
    with pytest.raises(RuntimeError, match='multiple scrape configs with job name "prometheus"'):
        prometheus.reload()


def test_an_alert_reaches_alertmanager(tools, tmp_path):
    """A rule file given to Prometheus is evaluated, and its alert arrives at the Alertmanager given."""
    rules = tmp_path / 'rules.yml'
    rules.write_text(ALWAYS_FIRING)
    with (
        Alertmanager(tmp_path) as alertmanager,
        Prometheus(tmp_path, scrape_configs=[], rule_files=[rules], alertmanagers=[alertmanager.address]),
    ):
        [alert] = wait_until(alertmanager.alerts, 60, 'the alert in Alertmanager')
    assert alert['labels'] == {'alertname': 'Always'}


def test_backfilled_history_can_be_queried(tools, tmp_path):
    """Two days of samples from an OpenMetrics file come back, each at its time with its value, without the last hours lost."""
    end = int(time.time()) // 60 * 60 - DAY_SECONDS
    start = end - 2 * DAY_SECONDS
    samples = [(second, (second - start) / 600) for second in range(start, end + 1, 600)]
    text = tmp_path / 'history.txt'
    text.write_text('# TYPE history gauge\n' + ''.join(f'history{{host="a"}} {value} {second}\n' for second, value in samples) + '# EOF\n')

    prometheus = Prometheus(tmp_path, scrape_configs=[])
    backfill(prometheus.data, text)
    with prometheus:
        [series] = prometheus.query_range('history', start, end, 600)
        [latest] = prometheus.query('history', time=end)

    assert series['metric'] == {'__name__': 'history', 'host': 'a'}
    assert [(second, float(value)) for second, value in series['values']] == samples
    assert float(latest['value'][1]) == samples[-1][1]


def test_promtool_failing_raises_with_its_words(tools, tmp_path):
    """A file that promtool refuses gives an exception that carries promtool's reason."""
    rules = tmp_path / 'rules.yml'
    rules.write_text(ALWAYS_FIRING.replace('vector(1)', 'vector('))
    with pytest.raises(RuntimeError, match='could not parse expression'):
        promtool('check', 'rules', rules)


def test_a_server_that_cannot_start_says_why(tools):
    """A process that ends before it is ready fails the start, with the end of its log, and is not left running."""
    with pytest.raises(RuntimeError, match='before it was ready') as error, NodeExporter(args=['--no-such-flag']):
        pass
    assert "unknown long flag '--no-such-flag'" in error.value.__notes__[0]
    assert servers.running == []


def test_a_process_gets_its_environment_and_gives_its_exit_status(tmp_path):
    """A process sees the environment given on top of the test's, writes its log where told, and stop() returns its status."""
    log = tmp_path / 'log'
    script = 'trap "exit 7" TERM; echo "hello $GREETED" >&2; while :; do sleep 0.05; done'
    process = Process(
        ['bash', '-c', script], ready=lambda: 'hello' in log.read_text(), environment={'GREETED': 'world'}, log=log
    ).start()
    assert process.stop() == 7
    assert log.read_text() == 'hello world\n'


def test_leaving_a_server_leaves_nothing(tools):
    """After its block a server's process is gone and its port free."""
    with NodeExporter() as node:
        pid = node.child.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(requests.ConnectionError):
        answers(node.url)()


def test_a_wait_has_its_limit():
    """A predicate that only ever raises a connection error ends in a TimeoutError that names what was awaited and the error."""
    nobody = f'http://127.0.0.1:{free_port()}'
    with pytest.raises(TimeoutError, match=r'waited 0\.2 s for nobody; last seen: ConnectionError'):
        wait_until(answers(nobody), limit_seconds=0.2, what='nobody')
