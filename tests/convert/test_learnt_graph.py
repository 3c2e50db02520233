"""A graph learnt from history: it finds who follows whom where that can be seen, nothing where it cannot, and its file is read by the exporter."""

import subprocess
import sys

import numpy as np
import pytest
from fakes import Samples, raw

from convert import graph
from convert.evaluation import spreading
from promlstm import config as configuration
from promlstm.errors import ConfigError
from promlstm.incidents import learnt


def surprises(seed, delays, *, names=12, steps=8000, linked=True):
    """(float32 [T, M], edges) as a model would see a fleet: small in healthy time, large while something happens."""
    fleet = spreading.fleet(seed, delays=delays or (1,), services=names, days=steps * spreading.STEP_SECONDS / spreading.DAY, linked=linked)
    level = fleet.latency[:, :, 0] / np.median(fleet.latency[:, :, 0], axis=0)
    return np.log1p(5 * np.abs(level - 1)).astype(np.float32), fleet.edges


def found(columns):
    return {(way.dependant, way.dependency): way.lag for way in graph.learn(columns)}


def test_links_are_found_with_their_direction_and_delay():
    """Nearly all that is found is right, and most is found, where faults take a step or two."""
    right = wrong = missed = 0
    for seed in range(4):
        columns, edges = surprises(seed, (1, 2))
        got = found(columns)
        right += sum(edges.get(pair) == lag for pair, lag in got.items())
        wrong += sum(pair not in edges for pair in got)
        missed += sum(pair not in got for pair in edges)
    assert right / (right + wrong) >= 0.9 and right / (right + missed) >= 0.6


@pytest.mark.parametrize('seed', range(3))
def test_where_nothing_can_be_known_nothing_is_said(seed):
    """Neither of faults that are everywhere within a step, nor of services that have nothing to do with each other."""
    assert len(found(surprises(seed, (0,))[0])) <= 1
    assert found(surprises(seed, (1,), linked=False)[0]) == {}


def test_missing_samples_and_constant_names_do_no_harm():
    """A name that is never judged, or always the same, has no edge; gaps cost no other."""
    columns, _ = surprises(1, (1, 2))
    columns[:, -1] = np.nan
    columns[::7, :-1] = np.nan
    columns = np.concatenate([columns, np.full((len(columns), 1), 2.5, np.float32)], axis=1)
    got = found(columns)
    assert got and not {columns.shape[1] - 1, columns.shape[1] - 2} & {end for pair in got for end in pair}


def test_too_little_history_is_refused():
    """With what is needed."""
    with pytest.raises(graph.GraphError, match='1999 steps of history: at least 2000 are needed'):
        graph.learn(np.zeros((1999, 3), np.float32))


# -- the whole way, from samples to the file that the exporter reads

DAYS, SERVICES = 3, 6
TREE = {
    'prometheus': {'url': 'http://x'}, 'root_cause': {'labels': ['service']},
    'detectors': [{'name': 'latency', 'expr': 'x', 'delay': '0s', 'history': '0s', 'model': 'builtin:forecaster'}],
}  # fmt: skip


@pytest.fixture(scope='module')
def past():
    """A fleet as a source of samples, and when it ends."""
    fleet = spreading.fleet(5, delays=(1, 2), services=SERVICES, days=DAYS, hours=3)
    end = float(fleet.times[-1])

    def of(column):
        return lambda time: float(column[min(len(column) - 1, max(0, round((time - spreading.BEGAN) / spreading.STEP_SECONDS)))])

    series = {raw(service=f's{number}', job='x'): of(fleet.latency[:, number, 0]) for number in range(SERVICES)}
    return {'prometheus': Samples(series)}, end, fleet.edges


def made(past, tmp_path, tree=TREE, **options):
    sources, end, _ = past
    settings = {'detectors': [], 'wanted': [], 'days': DAYS - 1, 'now': end, 'out': tmp_path / 'graph.json', 'say': lambda line: None}
    return graph.make(configuration.parse(str(tree)), sources=sources, **settings | options)


@pytest.mark.slow
def test_history_becomes_a_file_that_is_read(past, tmp_path):
    """Its edges are those of the fleet; what it was made from stands in it, and the digest that is printed is the file's."""
    lines = made(past, tmp_path)
    content, sha256 = learnt.load(tmp_path / 'graph.json')
    true = {(f's{one}', f's{other}') for one, other in past[2]}
    got = {(edge.dependant[1], edge.dependency[1]) for edge in content.edges}
    assert len(got) >= 2 and len(got & true) >= 0.8 * len(got)
    assert (content.names, content.labels, content.step_seconds, list(content.detectors)) == (SERVICES, ('service',), 60.0, ['latency'])
    assert lines[-1].endswith(f'sha256 {sha256}') and len(lines) == len(got) + 1 and ' suffers from {service="s' in lines[0]
    assert learnt.edges_for(content, (), ('service',), 'x').edges[0][0][0] == 'service'


@pytest.mark.parametrize('options, says', [
    ({'detectors': ['cpu']}, '--detector cpu: no such detector; detectors: latency'),
    ({'wanted': ['job']}, '--label job: links no entities; root_cause.labels and edges have service'),
    pytest.param(
        {'tree': {**TREE, 'root_cause': {'labels': ['pod']}}, 'days': 1.5}, '0 names: entities of these detectors have none of the labels pod',
        marks=pytest.mark.slow,
    ),
    ({'days': 1}, '1440 steps of history: at least 2000 are needed'),
])  # fmt: skip
def test_what_cannot_be_learnt_is_refused(past, tmp_path, options, says):
    """In words, and nothing is written."""
    with pytest.raises((graph.GraphError, ConfigError)) as caught:
        made(past, tmp_path, **options)
    assert says in str(caught.value) and not (tmp_path / 'graph.json').exists()


def test_the_command_needs_a_configuration():
    """Or to be told that fleets are to be made up."""
    done = subprocess.run([sys.executable, '-m', 'convert', 'graph'], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and 'CONFIG: missing; give it, or --simulated N' in done.stderr
