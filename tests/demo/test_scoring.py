"""How the demo scores itself: what counts as found, missed or false, step by step."""

from types import SimpleNamespace

import numpy as np
import orjson
import pytest

from promlstm import config
from promlstm.demo import scoring
from promlstm.demo.fleet import Fleet

BEGIN, STEP, GRACE = 1_772_532_000.0, 15.0, 60.0
CONFIG = config.parse(
    'prometheus: {url: http://localhost}\n'
    'detectors:\n'
    '  - {name: cpu, expr: node_cpu_busy_ratio, step: 15s, delay: 0s}\n'
    '  - {name: host, by: [instance], step: 15s, delay: 0s, features: {cpu: node_cpu_busy_ratio, memory: node_memory_used_bytes}}\n'
)


@pytest.fixture
def fleet():
    return Fleet(1, BEGIN, hosts=2, first_fault_seconds=90, fault_seconds=150, quiet_seconds=150)


@pytest.fixture
def results(fleet):
    return scoring.Scoring(CONFIG, fleet, BEGIN, grace_seconds=GRACE)


def steps(results, detector, scores, *, first=0, instance='host-01:9100'):
    """Let a detector give these scores of one host, step by step from BEGIN + first."""
    labels = {'instance': instance} if detector == 'host' else {'instance': instance, 'job': 'node'}
    features = 2 if detector == 'host' else 1
    entities = SimpleNamespace(identities=[orjson.dumps(labels)])
    detector_like = SimpleNamespace(config=SimpleNamespace(name=detector), entities=entities)
    column = np.ones((1, features))
    for number, score in enumerate(scores):
        time = BEGIN + first + number * STEP
        verdicts = SimpleNamespace(
            time=time, score=np.float32([score]), contribution=column / features, observed=column, expected=column, lower=column, upper=column
        )  # fmt: skip
        results.record(detector_like, verdicts)


def states(results, now):
    return [state for _, state, _ in results.findings(BEGIN + now)]


def hosts(fleet):
    """The host of the first fault, a cpu_burn from second 90 to 240, and the other one."""
    there = fleet.faults(BEGIN, BEGIN + 100)[0].labels['instance']
    return there, 'host-02:9100' if there == 'host-01:9100' else 'host-01:9100'


def test_the_entities_to_score_are_known_from_the_start(results):
    """They come from the configuration and the fleet: one per series, or one per `by` label set with a metric for each feature."""
    assert [(entity.detector, str(entity), len(entity.metrics)) for entity in results.entities] == [
        ('cpu', 'host-01:9100', 1),
        ('cpu', 'host-02:9100', 1),
        ('host', 'host-01:9100', 2),
        ('host', 'host-02:9100', 2),
    ]
    steps(results, 'cpu', [np.nan, 0.5])
    assert [str(entity) for entity in results.unscored() if entity.detector == 'cpu'] == ['host-02:9100']


def test_an_alarm_within_a_fault_finds_it_and_says_after_how_many_samples(results, fleet):
    """The third sample of the fault raises the alarm: found after 3 steps, by that detector, and nothing is false."""
    steps(results, 'cpu', [0.1, 0.2, 1.5, 3], first=90, instance=hosts(fleet)[0])
    [(fault, state, [alarm])] = results.findings(BEGIN + 150)
    assert (fault.kind, state, alarm.entity.detector, results.steps_until(alarm)) == ('cpu_burn', 'found', 'cpu', 3)
    assert results.false_alarms() == []


def test_the_earliest_alarm_counts_whichever_is_recorded_first(results, fleet):
    """Detectors race: the alarm of the earliest step counts, and within a step that of the detector that is configured first."""
    there = hosts(fleet)[0]
    steps(results, 'host', [0, 2], first=90, instance=there)
    steps(results, 'cpu', [0, 2], first=90, instance=there)
    [(_, _, alarms)] = results.findings(BEGIN + 120)
    assert [alarm.entity.detector for alarm in alarms] == ['cpu', 'host']


def test_an_alarm_elsewhere_is_false_and_finds_nothing(results, fleet):
    """The other host alarms during the fault: a false alarm, and the fault stays open."""
    steps(results, 'cpu', [2, 2, 0], first=90, instance=hosts(fleet)[1])
    assert states(results, 150) == ['open']
    assert len(results.false_alarms()) == 1


def test_an_alarm_a_little_after_the_end_still_counts_and_later_is_false(results, fleet):
    """Within the grace period after its end an alarm finds the fault; after it the alarm is false."""
    there = hosts(fleet)[0]
    steps(results, 'cpu', [2], first=240 + GRACE - STEP, instance=there)
    assert (states(results, 300), results.false_alarms()) == (['found'], [])
    steps(results, 'cpu', [0, 2], first=240 + GRACE, instance=there)
    assert len(results.false_alarms()) == 1


def test_an_alarm_that_does_not_end_with_its_fault_is_false_from_then_on(results, fleet):
    """One alarm during fault and grace period finds it once; beyond that it is one false alarm, not one per step."""
    steps(results, 'cpu', [2] * 20, first=90, instance=hosts(fleet)[0])
    assert states(results, 400)[0] == 'found'
    [alarm] = results.false_alarms()
    assert alarm.reading.time == BEGIN + 240 + GRACE


def test_an_alarm_that_is_always_on_finds_nothing(results, fleet):
    """It was on before the fault began, so it is a false alarm and the fault is missed."""
    there = hosts(fleet)[0]
    steps(results, 'cpu', [2] * 22, first=0, instance=there)
    steps(results, 'host', [0] * 22, first=0, instance=there)
    assert states(results, 310)[0] == 'missed'
    assert len(results.false_alarms()) == 1


def test_a_fault_is_missed_only_when_all_detectors_that_could_find_it_are_past_it(results, fleet):
    """While one of the two detectors has not reached its end, the fault is not missed yet."""
    there = hosts(fleet)[0]
    steps(results, 'cpu', [0] * 22, instance=there)
    assert states(results, 310)[0] == 'open'
    steps(results, 'host', [0] * 21, instance=there)
    assert states(results, 310)[0] == 'missed'


def test_a_fault_whose_steps_were_skipped_is_not_missed(results, fleet):
    """Where the machine was too slow for each detector that could have found it; where one of them judged all of it, it is missed."""
    there = hosts(fleet)[0]
    for detector in ('cpu', 'host'):
        steps(results, detector, [0] * 10, instance=there)
        steps(results, detector, [0], first=330, instance=there)
    assert states(results, 310)[0] == 'skipped'
    steps(results, 'host', [0] * 12, first=150, instance=there)
    assert states(results, 310)[0] == 'missed'


def test_missing_samples_do_not_end_an_alarm(results, fleet):
    """Missing samples in the middle of an alarm leave it one alarm."""
    steps(results, 'cpu', [2, np.nan, np.nan, 2, 0], first=0, instance=hosts(fleet)[1])
    assert len(results.false_alarms()) == 1
