"""Figures of rankings of causes: exact on small answers, and from files to table on a small folder, scored by the shipped model."""

import doctest
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import recorded_incidents
from recorded_incidents import START

from convert.__main__ import main
from convert.evaluation import root_cause, root_cause_cases, root_cause_rankings
from convert.evaluation.root_cause import Answer
from promlstm.engine import session as sessions
from promlstm.incidents.ranking import Evidence


@pytest.fixture(scope='module')
def session():
    return sessions.load(sessions.resolve('builtin:default'), threads=1)


@pytest.fixture
def folder(tmp_path):
    """Two scenarios, one without healthy time of its own, with three incidents."""
    recorded_incidents.scenario(tmp_path, 'quiet')
    recorded_incidents.scenario(tmp_path, 'busy', level=4)
    recorded_incidents.scenario(tmp_path, 'strange', steps=0)
    recorded_incidents.issue(tmp_path, 'quiet__1', 'database')
    recorded_incidents.issue(tmp_path, 'quiet__2', 'middle')
    recorded_incidents.issue(tmp_path, 'strange__1', 'database', level=4)
    return tmp_path


@pytest.mark.parametrize('module', [root_cause, root_cause_cases, root_cause_rankings])
def test_doctests(module):
    assert doctest.testmod(module).failed == 0


def test_figures_are_those_of_the_ranks():
    ranks = [1, 1, 2, 5, 9]
    found = root_cause.figures('x', [Answer('x', '', rank, 0.002) for rank in ranks])
    assert (found.ac1, found.ac3, found.mean_rank, found.milliseconds) == pytest.approx((0.4, 0.6, 3.6, 2))
    assert found.avg5 == pytest.approx(np.mean([0.4, 0.6, 0.6, 0.6, 0.8]))
    assert found.ac1_interval == pytest.approx((0, 0.8)) and found.ac1_interval[1] > found.ac1 > found.ac1_interval[0]


def test_reliability_counts_what_was_said():
    """A probability at a border belongs to the level above it."""
    said = [(0.8, True), (0.95, False), (0.79, True), (0.0, False)]
    found = root_cause.reliability([Answer('', '', 1, 0, probability, right) for probability, right in said])
    assert [level[:3] for level in found] == [[0.0, 1, 0], [0.6, 1, 1], [0.8, 2, 1]]


@pytest.mark.slow
def test_the_cause_is_found_in_every_incident_and_the_loud_one_is_not_blamed(session, folder):
    """Replayed by the code that serves the model, from files; the loudest thing has nothing to do with the incident."""
    told = []
    board = root_cause.run(session, 'builtin:default', folder, told.append, lambda line: None, seeds=())
    (one,) = board.sets
    figures = {each.method: each for each in one.figures}
    assert figures['promlstm'].ac1 == figures['promlstm, no alert'].ac1 == 1 and figures['promlstm'].incidents == 3
    assert figures['robust deviation (BARO)'].ac1 == 0
    assert list(one.groups) == ['quiet', 'strange'] and one.misses == []
    assert one.examples[0][0] == 'quiet__1' and one.examples[0][1].startswith('database, 0.')
    assert 'latency Average above what was expected' in {why.split(',')[0] for why in one.examples[0]}
    assert any(why.endswith(', which depends on it, is anomalous') for why in one.examples[0])
    assert told[0].startswith('recorded: 3 incidents, of 2 kinds') and 'promlstm, no graph' in told[0] and 'published' not in told[0]
    assert msgspec.json.decode(root_cause.encoded([board]), type=list[root_cause.Board]) == [board]


@pytest.mark.slow
def test_the_shipped_model_finds_the_causes_of_a_simulated_shop(session):
    """Faults of six kinds, something louder beside every other one: all but one first, and none far down, as a surge was whose direction nobody knew."""
    telemetry, ranks = root_cause_cases.simulated(2), {}
    for incident, evidence, _ in root_cause.evidences(session, telemetry):
        order = root_cause_rankings.blamed(telemetry, incident, evidence, graph=True, alert=True).order
        ranks[incident.name] = 1 + int(np.flatnonzero(order == incident.cause)[0])
    assert len(ranks) == len({name.split()[1] for name in ranks}) * 4 == 24
    assert sum(rank > 1 for rank in ranks.values()) <= 1 and max(ranks.values()) <= 3, ranks


def test_a_miss_is_told():
    evidence = Evidence(*(np.empty(0, dtype) for dtype in (int, float, float, 'f4', 'i1', 'i1', bool, 'f4')))
    telemetry = SimpleNamespace(things=('a', 'b'), edges=np.empty((0, 2), int), thing=np.array([0, 1]), times=np.arange(60.0), values=np.zeros((60, 2)))
    incident = root_cause_cases.Incident('night', 'kind', 50.0, 59.0, 0, (0,), None, 1)
    misses = []
    answers = root_cause.asked(telemetry, incident, evidence, misses)
    assert misses == ['night: b is number 1.5 (0.00); first is a (0.00)']
    assert {answer.rank for answer in answers} <= {1.0, 1.5, 2.0} and len(answers) == 8


def test_healthy_time_ends_within_a_day_before_the_issue_at_its_time_of_day(folder):
    telemetry = next(root_cause_cases.recorded(folder))
    (incident,) = telemetry.incidents
    past = telemetry.times[:300]
    assert 0 < incident.first - past[-1] <= 86400 and (past[0] - START) % 86400 == 0
    assert np.array_equal(telemetry.values[300:], np.load(folder / 'quiet__1.npz')['x'])


def test_a_scenario_without_healthy_time_takes_that_whose_level_fits(folder):
    """Level four, like the busy one."""
    telemetry = list(root_cause_cases.recorded(folder))[-1]
    assert telemetry.incidents[0].name == 'strange__1'
    assert np.array_equal(telemetry.seasonal[1], np.load(folder / 'busy__healthy.npz')['x'])


@pytest.mark.parametrize(
    ('file', 'message'),
    [
        ({'cause_node': 'nobody'}, 'bad__1.npz: nobody: no node of it has this name'),
        ({'edges': None, 'stat': None}, f'bad__1.npz: no stat, edges in it: {root_cause_cases.EXPECTED}'),
        ({'x': np.zeros((6, 2))}, 'bad__1.npz: x is (6, 2), expected (6, 12): samples of t, series of node'),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, file, message):
    recorded_incidents.scenario(tmp_path, 'bad')
    recorded_incidents.issue(tmp_path, 'bad__1', 'middle', **file)
    with pytest.raises(root_cause_cases.CaseError) as error:
        list(root_cause_cases.recorded(tmp_path))
    assert str(error.value) == f'{tmp_path}/{message}'


def test_what_is_no_folder_of_incidents_is_said_so(tmp_path, capsys):
    """Before a model is loaded, in one line."""
    (tmp_path / 'file').write_text('')
    (tmp_path / 'empty').mkdir()
    for name, why in (('none', 'no such folder'), ('file', 'a file, not a folder'), ('empty', 'no incident in it')):
        assert main(['benchmark', '--root-cause', str(tmp_path / name)]) == 1
        assert capsys.readouterr().err == f'convert: {tmp_path / name}: {why}: {root_cause_cases.EXPECTED}\n'
    (tmp_path / 'empty/a__1.npz').write_bytes(b'PK')
    with pytest.raises(root_cause_cases.CaseError, match='no healthy time in it'):
        next(root_cause_cases.recorded(tmp_path / 'empty'))
    recorded_incidents.scenario(tmp_path / 'empty', 'a')
    with pytest.raises(root_cause_cases.CaseError, match=r'a__1\.npz: not a numpy file'):
        next(root_cause_cases.recorded(tmp_path / 'empty'))


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('', 'the following arguments are required: MODEL, --data'),
        ('x.onnx', 'the following arguments are required: --data'),
        ('--root-cause D --data E --errors', 'argument --root-cause: not allowed with --data, --errors'),
    ],
)
def test_labelled_telemetry_or_incidents_are_asked_for(line, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(['benchmark', *line.split()])
    assert end.value.code == 2 and capsys.readouterr().err.endswith(f'error: {message}\n')


def test_the_simulated_shop_has_an_incident_for_each_fault():
    telemetry = root_cause_cases.simulated(1, faults=2)
    first, second = telemetry.incidents
    assert first.group == 'overload' and second.group == 'bad_release' and first.last < second.first
    assert telemetry.things[first.target] == 'service=frontend' and telemetry.things[first.cause].startswith('service=')
    assert telemetry.values.shape == (len(telemetry.times), len(telemetry.thing)) and telemetry.times[0] % 60 == 0
    assert telemetry.times[0] < first.first < second.last < telemetry.times[-1]


def test_simple_rankings_do_what_their_names_say():
    """Two things: a thing that follows the alert, and one that is loud."""
    rng = np.random.default_rng(0)
    times, alert = np.arange(100.0), rng.normal(size=100)
    alert[90:] += 5
    values = np.stack([alert, 3 * alert + 0.1 * rng.normal(size=100), np.where(times == 95, 1e4, rng.normal(size=100))], axis=1)
    telemetry = SimpleNamespace(things=('front', 'callee', 'loud'), edges=np.array([[0, 1]]), thing=np.arange(3), times=times, values=values)
    incident = root_cause_cases.Incident('x', 'y', 90.0, 99.0, 0, (0,), None, 1)
    seen = {name: function(telemetry, incident, None) for name, function in list(root_cause_rankings.OTHERS.items())[2:]}
    assert [int(scores.argmax()) for scores in seen.values()] == [2, 1, 1]
    scores = np.float32([1.2, 2.0, 0.9])
    evidence = Evidence(np.arange(3), np.array([60.0, 120, 0]), np.full(3, 60.0), scores, np.ones(3, 'i1'), np.zeros(3, 'i1'), np.zeros(3, bool), scores)
    assert root_cause_rankings.largest(telemetry, incident, evidence).argmax() == 1
    assert root_cause_rankings.earliest(telemetry, incident, evidence).tolist() == [2, 1, 0], 'what leans is no alarm'
