"""`promlstm backtest --incidents`: the incidents of the past with their causes, as text and as JSON, over a real query API."""

import json
import time

import pytest
from alarms import NOW, Fleet, table

from promlstm import past_incidents
from promlstm.__main__ import main
from promlstm.config import parse
from promlstm.demo import fleet as fleets
from promlstm.demo.source import Source
from promlstm.errors import SourceUnavailable
from promlstm.incidents import learnt, listing
from promlstm.incidents.graph import Graph

DETECTORS = [
    {'name': name, 'expr': expr, 'history': '0s', 'model': 'builtin:forecaster'}
    for name, expr in (('cpu', 'node_cpu_busy_ratio'), ('disk', 'node_disk_io_busy_ratio'))
]


@pytest.fixture(scope='module')
def configured(tmp_path_factory):
    """(path of a configuration whose source has six hours with faults, the fleet)."""
    subject = fleets.Fleet(1, time.time() - 6 * 3600, hosts=6)
    with Source(subject, time.time) as source:
        path = tmp_path_factory.mktemp('past') / 'promlstm.yml'
        path.write_text(json.dumps({'prometheus': {'url': source.url}, 'detectors': DETECTORS}))
        yield path, subject


def test_the_incidents_of_the_past_are_listed(configured, capfdbinary):
    """JSON has the reports as before and the incidents beside them; every alarm is a member of one, and the text names each with its causes."""
    path, _ = configured
    assert main(['backtest', f'--config.file={path}', '--from=-5h', '--incidents', '--format=json']) == 0
    found = json.loads(capfdbinary.readouterr().out)
    assert [report['detector'] for report in found['detectors']] == ['cpu', 'disk']
    starts = {(report['detector'], round(alarm['start'])) for report in found['detectors'] for alarm in report['anomalies']}
    members = {(member['detector'], round(member['onset'])) for each in found['incidents'] for member in each['members']}
    assert starts and {name for name, _ in members} == {name for name, _ in starts}
    assert {(name, onset) for name, onset in members if (name, onset) not in starts} == set()
    assert all(each['cause'][0]['reasons'] and each['id'] for each in found['incidents'])
    assert main(['backtest', f'--config.file={path}', '--from=-5h', '--incidents']) == 0
    text = capfdbinary.readouterr().out.decode()
    assert f'{len(found["incidents"])} incident' in text and 'detector cpu: ' in text


def test_incidents_in_openmetrics_are_refused(capsys):
    """A usage error that says where they can be had."""
    with pytest.raises(SystemExit):
        main(['backtest', '--incidents', '--format=openmetrics'])
    assert '--incidents is for --format=table, json and html' in capsys.readouterr().err


def test_the_text_tells_span_entities_and_causes():
    """Three causes with probability and reasons; an end on the same day has no date."""
    incidents = table()
    incidents.graph = Graph().observed(NOW - 60, [(('service', 'shop'), ('service', 'db'))], 'calls')
    fleet = Fleet(incidents, 'latency', {name: {'service': name} for name in ('shop', 'db')}, step=60.0)
    for k in range(20):
        fleet.step(NOW + 60 * k, *(['db'] if k < 3 else []), *(['shop'] if 1 <= k < 3 else []))
    view = incidents.view(NOW + 1200)
    (key,) = listing.keys(view)
    text = past_incidents.table([listing.incident(view, key, listing.Rankings().of(view, key.number), view.active())])
    first, _, head, cause, *others = text.splitlines()
    assert first == '1 incident' and head == f'incident {key.id}: 2025-06-15 15:10:00 to 15:12:00 UTC, 2 entities of latency'
    assert 'service=db: latency above what was expected, score 2.0; left its band' in cause and len(others) == 1


class Calls:
    """A source whose edges change at noon, and which fails one query."""

    def instant(self, expr, time):
        """As Prometheus.instant."""
        if expr == 'fails':
            raise SourceUnavailable('gone')
        server = 'old' if time < NOW + 43200 else 'new'
        return Answer([b'{"client":"shop","server":"%s"}' % server.encode()])


class Answer:
    """A vector of keys alone."""

    warnings = ()

    def __init__(self, keys):
        self.keys = keys


def test_edges_are_those_of_their_time():
    """They are asked for at instants of the span; what cannot be asked for is told once, and the rest goes on."""
    edges = [{'expr': expr, 'from': 'client', 'to': 'server', 'label': 'service'} for expr in ('calls', 'fails')]
    config = parse(str({'prometheus': {'url': 'http://x'}, 'root_cause': {'edges': edges}, 'detectors': [{'name': 'a', 'expr': 'a'}]}))
    failed = []
    known = list(past_incidents.graphs(config, {'prometheus': Calls()}, NOW, NOW + 86400, failed.append))
    assert len(failed) == 1 and 'gone' in failed[0]
    names = [('service', name) for name in ('shop', 'old', 'new')]
    told = {round((time - NOW) / 3600): graph.between(names).tolist() for time, graph in known}
    assert told[0] == told[6] == [[0, 1]] and told[12] == told[24] == [[0, 1], [0, 2]]


@pytest.mark.parametrize(('hours', 'interval', 'times'), [(0.01, 60, 1), (1, 60, 25), (24, 60, 25), (240, 60, 41), (1, 1200, 4)])
def test_edges_of_a_short_span_are_asked_for_more_often(hours, interval, times):
    """A day is no reason to ask each minute, and an hour none to ask only at its start; never more often than the exporter does."""
    edges = [{'expr': 'calls', 'from': 'client', 'to': 'server', 'label': 'service'}]
    cause = {'edges': edges, 'interval': f'{interval}s'}
    config = parse(str({'prometheus': {'url': 'http://x'}, 'root_cause': cause, 'detectors': [{'name': 'a', 'expr': 'a'}]}))
    asked = [time for time, _ in past_incidents.graphs(config, {'prometheus': Calls()}, NOW, NOW + 3600 * hours, pytest.fail)]
    assert len(asked) == times and asked[0] == NOW


def test_learnt_edges_are_known_all_the_time(tmp_path):
    """A file of learnt edges applies to the whole past; one that cannot be used is told, and nothing else is harmed."""
    edge = learnt.Edge(('service', 'shop'), ('service', 'db'), {}, 0.5, 60.0)
    file = learnt.Learnt(
        format=learnt.FORMAT, promlstm='1', start=NOW, end=NOW + 1, step_seconds=60.0, within=(), labels=('service',), detectors={'a': 'f' * 64}, names=2,
        edges=(edge,),
    )  # fmt: skip
    (tmp_path / 'graph.json').write_bytes(learnt.encoded(file))
    tree = {'prometheus': {'url': 'http://x'}, 'detectors': [{'name': 'a', 'expr': 'a'}]}
    for name, count in (('graph.json', 1), ('none.json', 0)):
        config, failed = parse(str(tree | {'root_cause': {'graph_file': str(tmp_path / name)}})), []
        known = list(past_incidents.graphs(config, {}, NOW, NOW + 2 * 86400, failed.append))
        assert {len(graph) for _, graph in known} == ({1} if count else set()) and len(failed) == 1 - count
