"""An alarm is the same thing for everyone who counts alarms: the live counter, a backtest, the calibration, the report and the benchmark."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert import calibrate
from convert.evaluation import measures
from promlstm import backtest
from promlstm.engine import score as scoring

pytestmark = pytest.mark.train

START = 1_750_000_000.0
STEPS = [1, 60, 77, 300, 1200, 3600, 86400]  # at those of measures.WINDOWS and between


def columns(anomalous):
    """Scores float32 [T, 1]."""
    return np.where(np.array(anomalous, bool), np.float32(2), np.float32(0.5))[:, None]


def live(scores, step):
    """As promlstm_detector_alarms_total counts them: an alarm is counted at the sample that it begins with."""
    alarm, count = scoring.Alarm.blank(1), 0
    for number, row in enumerate(scores):
        time = START + number * step
        alarm = alarm.after(time, row, step)
        count += int((np.where(row >= 1, alarm.since, np.nan) == time).sum())
    return count


class Row:
    """What Alarms reads of a step's verdicts."""

    def __init__(self, time, score):
        self.time, self.score = time, score
        self.observed = self.expected = self.contribution = np.zeros((1, 1))


def replayed(scores, step):
    """As `promlstm backtest` lists them."""
    alarms, found = backtest.Alarms(lambda gaps: scoring.same_alarm(gaps, step), 1), []
    for number, row in enumerate(scores):
        found += alarms.add(Row(START + number * step, row), row >= 1)
    return len(found + alarms.close())


def calibrated(scores, step):
    """As the calibration counts them, at a threshold of 1."""
    return len(measures.alarms(scores[:, 0] >= 1, calibrate.merge_steps(step)))


@given(st.lists(st.booleans(), max_size=200), st.sampled_from(STEPS))
def test_whoever_counts_alarms_counts_the_same(anomalous, step):
    """The live counter, a backtest and the calibration, of any scores at any step."""
    scores = columns(anomalous)
    assert live(scores, step) == replayed(scores, step) == calibrated(scores, step)


@pytest.mark.parametrize('step', STEPS)
def test_the_border_between_one_alarm_and_two_is_the_same(step):
    """Two samples with ever more steps between them: one alarm up to the same distance, for all who count."""
    borders = set()
    for count in (live, replayed, calibrated):
        counts = [count(columns([True, *[False] * quiet, True]), step) for quiet in range(60)]
        assert counts == sorted(counts) and set(counts) == {1, 2}
        borders.add(counts.index(2))
    assert len(borders) == 1


@pytest.mark.parametrize('step', list(measures.WINDOWS))
def test_report_and_benchmark_merge_as_the_calibration_does(step):
    """At the steps of the benchmark sets."""
    assert measures.windows(step)[1] == pytest.approx(calibrate.merge_steps(step)) == pytest.approx(scoring.merge_seconds(step) / step)
