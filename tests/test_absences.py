"""Nightly jobs beside hosts, through a whole detector: from history, live and in a backtest."""

import numpy as np
import pytest
from fakes import Samples, noisy, raw, stepped
from running import Running, running
from servers import wait_until

from promlstm import backtest, config
from promlstm.engine import session as sessions
from promlstm.engine.detector import Detector

MINUTE, HOUR, DAY = 60, 3600, 86400
TODAY = 20_500 * DAY  # midnight, UTC
JOBS = [f'export-{i}' for i in range(3)]


def nightly(seed, *, ran=lambda time: True):
    """A job that exports its series from 2:00 to 2:20, if it runs."""
    steady = noisy(seed, 1000.0)
    return lambda time: steady(time) if 2 * HOUR <= time % DAY < 2 * HOUR + 20 * MINUTE and ran(time) else np.nan


def detector(**series):
    jobs = {raw(instance=name): nightly(i) for i, name in enumerate(JOBS)}
    hosts = {raw(instance=f'h{i}'): noisy(10 + i) for i in range(5)}
    tree = {'prometheus': {'url': 'http://localhost:9090'}, 'detectors': [{'name': 'd', 'expr': 'x', 'delay': '0s', 'step': '10m'}]}
    more = {raw(instance=name): function for name, function in series.items()}
    (settings,) = config.parse(str(tree)).detectors
    return Detector(settings, sessions.load(sessions.resolve('builtin:forecaster')), Samples(jobs | hosts | more))


def reported(blocks):
    """Instances whose gauge says that they are missing."""
    return {line.split('instance="')[1].split('"')[0] for line in blocks.get('promlstm_entity_missing', b'').decode().splitlines()}


@pytest.fixture(scope='module')
def morning():
    """Who is reported at each step from ten in the evening until four in the morning, after a warm start; and the detector."""
    gone, late = TODAY - HOUR, TODAY + 3 * HOUR
    subject = detector(h0=noisy(7, gone=gone), failing=nightly(8, ran=lambda time: time < TODAY))
    for _ in subject.warm(lambda: TODAY - 2 * HOUR):
        pass
    told, part_time = {}, {}
    for time in range(TODAY - 2 * HOUR + 10 * MINUTE, late + HOUR, 10 * MINUTE):
        verdicts, blocks = stepped(subject, time)
        told[time], part_time[time] = reported(blocks), subject.count_part_time(verdicts)
        subject.forget()
    return told, part_time, subject, gone, late


def test_a_host_is_reported_at_once_and_no_job_before_it_is_due(morning):
    """The job that did not run is reported from three o'clock on, beside the host."""
    told, _, _, gone, late = morning
    assert told == {time: ({'h0'} if time >= gone else set()) | ({'failing'} if time >= late else set()) for time in told}


def test_part_time_entities_are_counted_while_they_are_there_or_missing(morning):
    """The rules subtract them from the number of entities."""
    _, part_time, _, _, late = morning
    visit = range(TODAY + 2 * HOUR, TODAY + 2 * HOUR + 20 * MINUTE, 10 * MINUTE)
    assert part_time == {time: 3 if time in visit else int(time >= late) for time in part_time}


def test_no_job_is_forgotten_between_its_runs(morning):
    """Each has its row, with all that was learnt of it."""
    _, _, subject, _, _ = morning
    assert len(subject.entities) == 9


def test_a_backtest_lists_who_was_missing_and_no_job_that_ran():
    """The same over three days, in the table of `promlstm backtest`."""
    skipped = TODAY - DAY
    subject = detector(h0=noisy(7, gone=TODAY - 5 * HOUR), failing=nightly(8, ran=lambda time: not skipped <= time < skipped + DAY))
    report = backtest.run(subject, TODAY - 3 * DAY, TODAY)
    spans = {(each.entity, each.start, each.end) for each in report.missing}
    assert spans == {('{instance="h0"}', TODAY - 5 * HOUR, TODAY), ('{instance="failing"}', skipped + 3 * HOUR, TODAY)}
    lines = backtest.table([report]).splitlines()
    assert sum('{instance="failing"}' in line for line in lines) == 1 and not any('export' in line for line in lines)


def test_the_exporter_counts_them_and_their_memory():
    """The gauge is there as 0, too, and what is known of times of presence is part of the memory."""
    with running(Running()) as subject:
        wait_until(lambda: subject.on_page('a'), 60, 'a on the page')
        assert subject.metric('promlstm_detector_part_time_entities', detector='a') == 0
