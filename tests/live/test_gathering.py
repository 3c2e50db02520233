"""Incidents beside the steps: they are on the page while they last, over restarts and changes of the configuration, and harm no step."""

import re
import shutil

import pytest
from fakes import noisy, raw
from running import SPEED, START, Running, logged, running
from servers import wait_until

from promlstm import config as configuration
from promlstm.errors import SourceUnavailable
from promlstm.incidents.graph import Graph
from promlstm.live.clock import Clock
from promlstm.serve.api import Asked

STRUCK = START - 600  # when the fault began: within the history that a start replays
LABELS = {'service': 'shop', 'pod': 'p-0'}


def lasting():
    """The keys of a detector for which the fault is not normal after a while, and noise is none."""
    return {'model': 'builtin:forecaster', 'hold': '1d', 'min_deviation': 50}


def struck(begin=STRUCK, **keys):
    """A Running in which one of three series jumps at an instant, for both detectors."""
    subject = Running(**dict.fromkeys('ab', lasting()) | keys)
    subject.source.series = {raw(service='calm', pod=f'p-{i}'): noisy(i) for i in (1, 2)}
    subject.source.series[raw(**LABELS)] = noisy(0, struck=lambda time: 500.0 * (time >= begin))
    return subject


def lines(subject, family):
    """{labels: value} of a family on the page."""
    found = re.findall(rf'^promlstm_incident_{family}{{(.*)}} (\S+)$', subject.page.decode(), re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def ids(subject):
    """The ids of the incidents on the page."""
    return sorted(re.findall(r'incident="(.*?)"', ' '.join(lines(subject, 'entities'))))


def of_both(subject):
    """Whether an incident has both detectors now."""
    return list(lines(subject, 'detectors').values()) == [2]


def test_a_fault_that_two_detectors_see_is_one_incident_on_the_page():
    """Found in the replay of the start, with the onset of the samples; its gauges name what is anomalous and what is to blame."""
    with running(struck()) as subject:
        wait_until(lambda: of_both(subject), 60, 'both detectors in the incident')
        (identifier,) = ids(subject)
        own = f'instance="",job="",pod="p-0",service="shop",incident="{identifier}"'
        assert lines(subject, 'member') == {f'detector="{name}",{own}': 1 for name in 'ab'}
        assert lines(subject, 'entities') == {f'incident="{identifier}"': 2}
        ((start, began),) = lines(subject, 'start_timestamp_seconds').items()
        assert start == f'incident="{identifier}"' and STRUCK <= began <= STRUCK + 120
        ((cause, score),) = lines(subject, 'cause_score').items()
        assert cause in (f'detector="a",{own}', f'detector="b",{own}') and 0 < score <= 1
        found, after = subject.incidents.listing(Asked(state='open'))
        assert [(each.id, each.end, each.detectors) for each in found] == [(identifier, None, ['a', 'b'])] and after is None
        assert subject.incidents.listing(Asked(state='closed')) == ([], None)
        assert [dict(member.labels) for member in found[0].members] == [LABELS, LABELS]


def test_the_listing_goes_on_where_the_answer_before_ended():
    """With a limit of one, two incidents come one after the other."""
    subject = struck()
    subject.source.series[raw(service='other')] = noisy(5, struck=lambda time: 500.0 * (time >= STRUCK + 300))
    with running(subject):
        wait_until(lambda: len(ids(subject)) == 2 and sum(lines(subject, 'entities').values()) == 4, 60, 'two incidents')
        first, after = subject.incidents.listing(Asked(limit=1))
        second, end = subject.incidents.listing(Asked(limit=1, after=after))
    assert [each.id for each in first + second] == sorted((each.id for each in first + second), reverse=True) and end is None
    assert first[0].id != second[0].id


@pytest.mark.slow
def test_an_incident_that_is_over_leaves_the_page():
    """Ten calm minutes after the fault its gauges are gone, and the listing has it with an end."""
    subject = struck()
    subject.source.series[raw(**LABELS)] = noisy(0, struck=lambda time: 500.0 * (STRUCK <= time < START + 9000))
    with running(subject):
        wait_until(lambda: of_both(subject), 60, 'both detectors in the incident')
        (identifier,) = ids(subject)
        wait_until(lambda: identifier not in ids(subject), 60, 'the incident to leave')
        (incident,) = [each for each in subject.incidents.listing(Asked(limit=100))[0] if each.id == identifier]
        assert START + 8000 < incident.end <= START + 9600 and incident.anomalous == 0


def test_a_detector_that_fails_does_not_end_the_incident():
    """Its members leave the page after two steps, like its scores; the incident stays, with the same id and start."""
    with running(struck()) as subject:
        wait_until(lambda: of_both(subject), 60, 'both detectors in the incident')
        before, start = ids(subject), lines(subject, 'start_timestamp_seconds')
        subject.source.errors = dict.fromkeys('ab', SourceUnavailable('gone'))
        wait_until(lambda: not lines(subject, 'member'), 60, 'the members to leave')
        assert list(lines(subject, 'entities').values()) == [0]
        assert (ids(subject), lines(subject, 'start_timestamp_seconds')) == (before, start)
        subject.source.errors.clear()
        wait_until(lambda: of_both(subject), 60, 'both detectors again')
        assert (ids(subject), lines(subject, 'start_timestamp_seconds')) == (before, start)


def later(subject, gap_seconds=0.0):
    """The clock of a process that is started so long after another one has ended."""
    return Clock(start=subject.ended + gap_seconds, speed=SPEED)


@pytest.fixture(scope='module')
def before(tmp_path_factory):
    """(a Running that had an incident and stopped; the gauges of its incident; its folder)."""
    folder = tmp_path_factory.mktemp('before')
    with running(struck(storage=folder)) as subject:
        subject.incidents.graph = Graph().observed(START, [(('service', 'shop'), ('service', 'db'))], 'calls')
        wait_until(lambda: of_both(subject), 60, 'both detectors in the incident')
        gauges = lines(subject, 'start_timestamp_seconds')
    return subject, gauges, folder


@pytest.mark.slow
def test_a_restart_keeps_id_and_start(before, tmp_path):
    """Even where the detectors begin anew, and by what they see now it began later: the file of the incidents knows."""
    subject, gauges, folder = before
    shutil.copy(folder / 'incidents.checkpoint', tmp_path)
    with logged('promlstm.storage') as records, running(struck(storage=tmp_path, clock=later(subject, 30.0), begin=STRUCK + 300)) as again:
        wait_until(lambda: of_both(again), 60, 'both detectors in the incident')
        assert lines(again, 'start_timestamp_seconds') == gauges
        assert len(again.incidents.graph) == 1
    assert [record.getMessage() for record in records].count('incidents restored') == 1


@pytest.mark.slow
@pytest.mark.parametrize('damage', [lambda data: data[:-9], lambda data: data[:200] + b'x' + data[201:], lambda _: b''])
def test_a_damaged_file_is_refused(before, tmp_path, damage):
    """The incidents begin anew, which is logged; scores and incidents come all the same."""
    subject, _, folder = before
    (tmp_path / 'incidents.checkpoint').write_bytes(damage((folder / 'incidents.checkpoint').read_bytes()))
    with logged('promlstm.storage') as records, running(struck(subject.ended - 600, storage=tmp_path, clock=later(subject, 30.0))) as again:
        wait_until(lambda: of_both(again), 60, 'the incident')
    assert [record.getMessage() for record in records].count('incidents file is not used, incidents start empty') == 1


def test_a_file_of_a_detector_is_not_one_of_the_incidents(before, tmp_path):
    """Renamed by hand: it is refused before a column is read."""
    subject, _, folder = before
    (one, *_) = sorted(folder.glob('a-*.checkpoint'))
    shutil.copy(one, tmp_path / 'incidents.checkpoint')
    with logged('promlstm.storage') as records, running(struck(subject.ended - 600, storage=tmp_path, clock=later(subject, 30.0))) as again:
        wait_until(lambda: of_both(again), 60, 'the incident')
    assert [record.facts['reason'] for record in records if 'incidents start empty' in record.getMessage()] == ["it belongs to the detector 'a'"]


def configured(**keys):
    """A Config of these detectors, {name: keys}."""
    detectors = [{'name': name, 'expr': name, 'delay': '0s', 'history': '0s', **lasting()} | more for name, more in keys.items()]
    return configuration.parse(str({'prometheus': {'url': 'http://localhost:9090'}, 'detectors': detectors}))


def test_a_reload_keeps_incidents_and_ends_what_is_removed():
    """A detector that has changed goes on in its incident; when all that saw it are removed, it is over."""
    with running(struck()) as subject:
        wait_until(lambda: of_both(subject), 60, 'both detectors in the incident')
        before = lines(subject, 'start_timestamp_seconds')
        subject.source.series[raw(service='c')] = noisy(9)
        subject.scheduler.apply(configured(b={'direction': 'above'}, c={'range': [-1e9, 1e9], 'direction': 'below'}), {'prometheus': subject.source})
        wait_until(lambda: [each.config.direction for each in subject.scheduler.runners if each.config.name == 'b'] == ['above'], 60, 'the new b')
        wait_until(lambda: subject.on_page('c') and list(lines(subject, 'detectors').values()) == [1], 60, 'b alone in the incident')
        assert lines(subject, 'start_timestamp_seconds') == before
        subject.scheduler.apply(configured(c={'range': [-1e9, 1e9], 'direction': 'below'}), {'prometheus': subject.source})
        wait_until(lambda: not ids(subject), 60, 'the incident to be over')
        (incident,), _ = subject.incidents.listing(Asked())
        assert incident.end is not None


def test_what_fails_in_the_incidents_harms_no_step():
    """It is counted and logged once; scores come, and no step is repeated."""
    subject = struck()

    def fail(*_):
        raise RuntimeError('no room')

    subject.incidents._table.observe = fail
    with logged('promlstm.incidents') as records, running(subject):
        wait_until(lambda: subject.on_page('a') and subject.metric('promlstm_detector_steps_total', detector='a') > 100, 60, 'a on the page')
        wait_until(lambda: len([time for name, time in subject.watched if name == 'a']) > 3, 60, 'live steps')
        assert subject.metric('promlstm_incident_failures_total', stage='observe') > 3
        assert subject.metric('promlstm_detector_failures_total', detector='a', stage='judge') == 0
    times = [time for name, time in subject.watched if name == 'a']
    assert len(times) == len(set(times))
    assert len(records) == 1 and records[0].exc_info
