"""One step and many: judge first, then learn, commit at once; a replay gives the same as live steps."""

from contextlib import contextmanager

import numpy as np
import pytest
from fakes import Samples, noisy, raw, stepped

from promlstm import backtest
from promlstm import config as configuration
from promlstm.engine import session as sessions
from promlstm.engine.columns import MISSING, READY, WARMING
from promlstm.engine.detector import Detector
from promlstm.errors import BudgetError, BundleError, SeriesError, StageError

START = 1_750_000_200.0  # a multiple of 60
STAGES = ('query', 'place', 'recall', 'judge', 'score', 'remember', 'render')


@pytest.fixture(scope='module')
def session():
    return sessions.load(sessions.resolve('builtin:forecaster'))


def detector(session, samples, **keys):
    keys = {'name': 'd', 'expr': 'x', 'delay': '0s', 'history': '0s'} | keys
    if 'features' in keys:
        del keys['expr']
    tree = {'prometheus': {'url': 'http://localhost:9090'}, 'detectors': [keys]}
    (settings,) = configuration.parse(str(tree)).detectors
    return Detector(settings, session, samples)


def live(subject, steps, start=START):
    """Run live steps; returns the verdicts of each."""
    return [stepped(subject, start + 60 * i)[0] for i in range(steps)]


def warm(subject, until):
    """Warm up to an instant; returns the last verdicts."""
    last = None
    for _, _, verdicts in subject.warm(lambda: until):
        last = verdicts or last
    return last


def same_memory(a, b):
    """Whether two memories are equal, bit for bit."""
    states = all(np.array_equal(a.state[name], b.state[name]) for name in a.state)
    latches = all(np.array_equal(getattr(a.latch, name), getattr(b.latch, name), equal_nan=True) for name in a.latch.__dataclass_fields__)
    everything = slice(None)
    recalled = [np.stack([season.fill([], []).take(everything)._at(slot) for slot in range(336)]) for season in (a.season, b.season)]
    return states and latches and np.array_equal(*recalled, equal_nan=True) and np.array_equal(a.klass, b.klass)


def same_verdicts(a, b, rows=slice(None)):
    names = ('score', 'surprise', 'expected', 'lower', 'upper', 'deviation', 'contribution', 'status')
    return all(np.array_equal(getattr(a, name)[rows], getattr(b, name)[rows], equal_nan=True) for name in names)


def fleet(count=5, **keys):
    return Samples({raw(instance=f'i{i}'): noisy(i, 10.0 * (i + 1), **keys) for i in range(count)})


def test_warming_then_ready(session):
    """An entity has a score from the end of the warm-up on, and not before."""
    verdicts = live(detector(session, fleet()), 60)
    warmup = session.bundle.manifest.warmup_steps
    assert (verdicts[warmup // 2].status == WARMING).all() and np.isnan(verdicts[warmup // 2].score).all()
    assert (verdicts[-1].status == READY).all() and np.isfinite(verdicts[-1].score).all()


def test_a_spike_is_found_and_explained(session):
    """The score is 1 or more exactly at the fault; the verdicts have the observed value, the expected one and the band."""
    struck = START + 60 * 200
    samples = fleet()
    samples.series[raw(instance='i0')] = noisy(0, struck=lambda time: 40.0 if time == struck else 0.0)
    verdicts = live(detector(session, samples), 220)
    assert verdicts[200].score[0] >= 1 and (verdicts[200].score[1:] < 1).all()
    assert verdicts[200].observed[0, 0] > verdicts[200].upper[0, 0] > verdicts[200].expected[0, 0]
    assert verdicts[200].deviation[0, 0] == pytest.approx(40, abs=8)
    assert all(verdicts[i].score[0] < 1 for i in range(100, 200))


def test_the_score_is_one_at_the_border_of_the_band(session):
    """`score >= 1` and "outside the band" are the same, for every sample while no alarm is held."""
    samples = Samples({raw(instance=str(i)): noisy(i, struck=lambda time, i=i: 8.0 * i * (time % 5400 == 60.0 * i)) for i in range(60)})
    checked = 0
    for verdicts in live(detector(session, samples, hold='0s'), 250)[60:]:
        outside = ((verdicts.observed < verdicts.lower) | (verdicts.observed > verdicts.upper))[:, 0]
        clear = np.abs(verdicts.score - 1) > 1e-3
        assert (outside == (verdicts.score >= 1))[clear].all()
        checked += int((outside & clear).sum())
    assert checked >= 20


@pytest.mark.parametrize('stage', STAGES)
def test_a_failed_stage_changes_nothing(session, stage):
    """Whichever stage fails, memory, table and time stay as they were, and the next step gives the same as without the failure."""
    subject, other = (detector(session, fleet()) for _ in range(2))
    live(subject, 50), live(other, 50)
    memory, entities, time = subject.memory, list(subject.entities.identities), subject.time
    seen = subject.entities.last_seen.copy()

    @contextmanager
    def failing(name):
        yield
        if name == stage:
            raise RuntimeError('to order')

    subject.stage = failing
    subject.source.series[raw(instance='late')] = noisy(99)
    with pytest.raises(StageError, match=f"detector 'd': {stage}: to order") as caught:
        stepped(subject, START + 50 * 60)
    assert caught.value.stage == stage and isinstance(caught.value.cause, RuntimeError)
    assert subject.memory is memory and subject.time == time
    assert subject.entities.identities == entities and np.array_equal(subject.entities.last_seen, seen)
    subject.stage = other.stage
    del subject.source.series[raw(instance='late')]
    assert same_verdicts(stepped(subject, START + 50 * 60)[0], stepped(other, START + 50 * 60)[0])
    assert same_memory(subject.memory, other.memory)


def test_restart_equals_no_restart(session):
    """An exporter that starts now and replays the past has the same memory as one that ran all the time, bit for bit."""
    steps = session.bundle.manifest.replay_steps
    lived, restarted = (detector(session, fleet(born=START)) for _ in range(2))
    verdicts = live(lived, steps)[-1]
    assert same_verdicts(verdicts, warm(restarted, START + 60 * (steps - 1)))
    assert same_memory(lived.memory, restarted.memory)
    after = START + 60 * steps
    assert same_verdicts(stepped(lived, after)[0], stepped(restarted, after)[0])


def test_catching_up_equals_no_gap(session):
    """Missed steps are replayed from history: an outage of the source leaves no gap in the memory."""
    lived, gapped = (detector(session, fleet()) for _ in range(2))
    verdicts = live(lived, 90)[-1]
    live(gapped, 50)
    assert [verdicts.time for _, _, verdicts in gapped.catch_up(START + 89 * 60)] == [START + 60 * i for i in range(50, 89)]
    assert same_verdicts(stepped(gapped, START + 89 * 60)[0], verdicts)
    assert same_memory(gapped.memory, lived.memory)


def test_the_future_cannot_change_the_past(session):
    """Another sample at step n changes no verdict before n, and no expectation at n."""
    at = START + 60 * 80
    plain, struck = fleet(), fleet(struck=lambda time: 25.0 if time >= at else 0.0)
    ours, theirs = live(detector(session, plain), 90), live(detector(session, struck), 90)
    assert all(same_verdicts(a, b) for a, b in zip(ours[:80], theirs[:80], strict=True))
    assert not same_verdicts(ours[80], theirs[80])


def test_entities_are_independent(session):
    """The verdicts for an entity do not depend on the other entities, on their order, or on when they appeared."""
    alone = live(detector(session, Samples({raw(instance='i3'): noisy(3, 40.0)})), 70)
    many = fleet(8)
    many.series = dict(reversed(many.series.items()))
    together = live(detector(session, many), 70)
    row = [f'i{i}' for i in range(8)][::-1].index('i3')
    assert all(same_verdicts(a, b, rows) for a, b, rows in ((a, _row(b, row), slice(None)) for a, b in zip(alone, together, strict=True)))


def _row(verdicts, row):
    from dataclasses import fields

    return type(verdicts)(
        *(column if np.ndim(column) == 0 else column[row : row + 1] for column in (getattr(verdicts, f.name) for f in fields(verdicts)))
    )


def test_a_new_entity_warms_up_while_others_are_ready(session):
    """No history is queried for it, and the other entities are not disturbed."""
    samples = fleet(3)
    subject = detector(session, samples)
    live(subject, 50)
    samples.series[raw(instance='new')] = noisy(9)
    verdicts, blocks = stepped(subject, START + 50 * 60)
    assert list(verdicts.status) == [READY] * 3 + [WARMING]
    assert b'instance="new"' not in blocks['promlstm_anomaly_score'] and b'instance="new"' in blocks['promlstm_observed']
    assert samples.asked == []


def test_a_missing_entity_has_no_score(session):
    """It has its own gauge, if it had samples for a day; its score is neither frozen nor 0."""
    day = START + 86400
    old, young = noisy(1, gone=day + 600), noisy(2, born=day - 3600, gone=day + 600)
    subject = detector(session, Samples({raw(instance='old'): old, raw(instance='young'): young}), step='10m')
    for i in range(-5, 145):
        stepped(subject, START + 600 * i)
    verdicts, blocks = stepped(subject, day + 600)
    assert list(verdicts.status) == [MISSING, MISSING] and np.isnan(verdicts.score).all()
    assert blocks == {'promlstm_entity_missing': b'promlstm_entity_missing{detector="d",instance="old",job=""} 1.0\n'}


def test_absent_entities_are_forgotten(session):
    """An absent entity loses its row after as long as it had been known, and is new when it returns."""
    samples = fleet(4, gone=START + 60 * 50)
    samples.series[raw(instance='stays')] = noisy(77)
    subject = detector(session, samples)
    live(subject, 50)
    forgotten = [subject.forget() for i in range(50, 110) if stepped(subject, START + 60 * i)]
    assert sum(forgotten) == 4 and len(subject.entities) == len(subject.memory) == 1
    assert list(stepped(subject, START + 60 * 110)[0].status) == [READY]


def test_a_warm_start_knows_entities_that_are_gone(session):
    """An entity that vanished during a restart is reported as missing."""
    samples = fleet(2)
    samples.series[raw(instance='gone')] = noisy(5, gone=START - 60 * 100)
    subject = detector(session, samples, history='2d')
    verdicts = warm(subject, START)
    row = subject.entities.identities.index(raw(instance='gone'))
    assert verdicts.status[row] == MISSING and subject.missing(verdicts)[row]
    assert subject.missing(verdicts).sum() == 1


@pytest.mark.parametrize('model', ['builtin:forecaster', pytest.param('builtin:default', marks=pytest.mark.slow)])
def test_a_start_does_not_judge_the_time_before_the_first_sample(model):
    """A server that is an hour old: only steps from the first sample on are judged, and what is remembered is the same to the last bit."""
    session = sessions.load(sessions.resolve(model), prove=False)
    samples = fleet(2, born=START - 60 * 60)
    kept, whole = (detector(session, samples, history='2d') for _ in range(2))
    steps = [verdicts for done, _, verdicts in kept.warm(lambda: START) if done]
    assert sum(verdicts is not None for verdicts in steps) == 61 and len(steps) == session.bundle.manifest.steps_of_replay(60, 2) > 300
    _, total, last = list(whole.replay(START - 60 * (len(steps) - 1), START))[-1]
    assert total == len(steps) and same_verdicts(steps[-1], last)
    columns, others = (each.snapshot(verdicts).columns() for each, verdicts in ((kept, steps[-1]), (whole, last)))
    for name in columns.keys() | others.keys():
        few, many = sorted((columns[name], others[name]), key=len)      # a slot in which nothing was ever judged has no rows, or rows without anything
        assert few.tobytes() == many.tobytes() or (not len(few) and not np.nan_to_num(many).any()), name


def test_infinite_samples_are_missing_and_counted(session):
    """±Inf counts as no sample and does not spoil later steps."""
    samples = fleet(2)
    samples.series[raw(instance='i0')] = lambda time: np.inf if time == START + 60 * 50 else noisy(0)(time)
    subject = detector(session, samples)
    verdicts = live(subject, 120)
    assert verdicts[50].status[0] == MISSING and subject.tally.infinite == 1
    assert np.isfinite(verdicts[-1].score).all()


def test_duplicate_series_fail_the_step(session):
    """Two series that differ only in their name would be the same entity: the message has both and the remedy."""
    samples = Samples({raw(__name__='a', instance='x'): noisy(1), raw(__name__='b', instance='x'): noisy(2)})
    with pytest.raises(StageError) as caught:
        stepped(detector(session, samples), START)
    assert caught.value.stage == 'place' and isinstance(caught.value.cause, SeriesError)
    assert all(text in str(caught.value) for text in ('"__name__":"a"', '"__name__":"b"', 'label_replace'))


def test_entities_over_the_limit_are_dropped_and_counted(session):
    """`max_entities` limits memory when the number of series explodes."""
    subject = detector(session, fleet(5), max_entities=3)
    stepped(subject, START)
    assert len(subject.entities) == 3 and subject.tally.dropped == 2


def lasting(verdicts):
    """The steps at which the first entity's score is 1 or more."""
    return [i for i, verdict in enumerate(verdicts) if verdict.score[0] >= 1]


@pytest.mark.parametrize('size', [30.0, -300.0])
def test_a_lasting_shift_is_an_alarm_for_the_hold_time(session, size):
    """It is neither absorbed at once nor anomalous for ever: an hour of alarm, then the new level is normal."""
    struck = START + 60 * 100
    samples = Samples({raw(instance='a'): noisy(1, 500.0, struck=lambda time: size if time >= struck else 0.0)})
    alarms = lasting(live(detector(session, samples), 400))
    assert alarms[0] == 100 and set(range(100, 160)) == set(alarms)


def test_an_alarm_of_a_slow_detector_is_held_for_steps(session):
    """An hour would be a single step of an hourly detector, so its alarms are held for 15 steps."""
    struck = START + 3600 * 100
    samples = Samples({raw(instance='a'): noisy(1, 500.0, struck=lambda time: -200.0 if time >= struck else 0.0)})
    subject = detector(session, samples, step='1h')
    alarms = lasting([stepped(subject, START + 3600 * i)[0] for i in range(-100, 200)])
    assert [i for i in alarms if i >= 200] == list(range(200, 215))


@pytest.mark.slow
def test_a_shift_moves_the_whole_seasonal_memory(session):
    """After a shift of a series with a daily rhythm, the next daily rise is expected around the new level."""
    struck = START + 60 * 300
    rhythm = lambda time: 40 * np.sin(2 * np.pi * time / 86400) + (-60.0 if time >= struck else 0.0)  # noqa: E731
    subject = detector(session, Samples({raw(instance='a'): noisy(1, 500.0, struck=rhythm)}), history='8d')
    warm(subject, START)
    alarms = lasting([stepped(subject, START + 60 * i)[0] for i in range(1, 1200)])
    assert alarms[0] == 299 and len(alarms) <= 65


def test_a_constant_0_is_expected_at_0(session):
    """Page and backtest show neither the rounding errors of the model nor a band made of them."""
    struck = START + 60 * 100
    samples = Samples({raw(instance='a'): lambda time: 3.0 if time == struck else 0.0})
    subject = detector(session, samples)
    verdicts = live(subject, 100)[-1]
    assert 0 < verdicts.upper[0, 0] < 1e-18  # what the model says, and rightly
    _, blocks = stepped(subject, struck)
    for family in ('promlstm_expected', 'promlstm_expected_lower', 'promlstm_expected_upper'):
        assert blocks[family].decode() == f'{family}{{detector="d",instance="a",job=""}} 0.0\n'
    (anomaly,) = backtest.run(detector(session, samples, hold='0s'), struck - 600, struck + 60).anomalies
    assert (anomaly.observed, anomaly.expected) == ({'': 3.0}, {'': 0.0})


def test_a_row_without_samples_stays_blank(session):
    """An entity without any sample so far is judged like one that is new at its first sample."""
    subject = detector(session, fleet(2, born=START + 60 * 30))
    subject.entities.commit(subject.entities.place([[raw(instance='i0'), raw(instance='i1')]]), START)
    known, late = live(subject, 80)[-1], live(detector(session, fleet(2, born=START + 60 * 30)), 80)[-1]
    assert same_verdicts(known, late) and (known.status == READY).all()


class Features:
    """A source for several features, by expression."""

    def __init__(self, **samples):
        self._samples = samples

    def instant(self, expr, time):
        return self._samples[expr].instant(expr, time)


def test_features_are_joined_by_their_labels(session):
    """One entity per label set; an absent feature is missing, not 0, and the contribution shows which feature caused the alarm."""
    struck = START + 60 * 100
    cpu = Samples({raw(instance='a', mode='x'): noisy(1), raw(instance='b', mode='x'): noisy(2)})
    memory = Samples({raw(instance='a', job='n'): noisy(3, 500.0, struck=lambda time: 60.0 if time >= struck else 0.0)})
    source = Features(cpu=cpu, memory=memory)
    subject = detector(session, source, features={'cpu': 'cpu', 'memory': 'memory'}, by=['instance'])
    verdicts = live(subject, 101)[-1]
    assert subject.entities.identities == [raw(instance='a'), raw(instance='b')]
    assert verdicts.score[0] >= 1 > verdicts.score[1] and verdicts.contribution[0, 1] > 0.6
    assert np.isnan(verdicts.observed[1, 1]) and verdicts.status[1] == READY


def test_a_shared_budget_is_divided_by_the_entities(session):
    """`in all` gives each entity its share, but no less than the lowest budget of the calibration; `each` does not change."""
    shared, each = (detector(session, fleet(4), false_alarms=text) for text in ('8/week in all', '2/week each'))
    assert shared.settings(4).alarms_per_week == pytest.approx(2) == each.settings(4).alarms_per_week
    assert shared.settings(10**6).alarms_per_week == session.bundle.calibration.row(0, 60).alarms_per_entity_week[-1]
    assert each.settings(10**6).alarms_per_week == pytest.approx(2)


def test_a_budget_or_step_outside_the_model_is_rejected(session):
    """The calibration is not extrapolated, and a model runs only at the steps that it supports."""
    with pytest.raises(BudgetError, match='the floor is'):
        detector(session, fleet(), false_alarms='0.1/year each')
    with pytest.raises(BundleError, match='is made for steps of'):
        detector(session, fleet(), step='2w')


@pytest.mark.parametrize('wild', [2.0**63, 1e300, -5.0])
def test_a_sample_outside_the_valid_range_is_judged_and_never_learnt(session, wild):
    """It is an alarm with observed and expected value; for the memory it is a missing sample, bit for bit."""
    struck = START + 60 * 200

    def at(value):
        samples = Samples({raw(instance='a'): lambda time: value if time == struck else noisy(1, 50.0)(time)})
        return detector(session, samples, range=[0, 100], hold='0s')

    subject, twin = at(wild), at(np.nan)
    live(subject, 200), live(twin, 200)
    verdicts, _ = stepped(subject, struck)
    stepped(twin, struck)
    assert verdicts.observed[0, 0] == wild and verdicts.score[0] >= 1 and 45 < verdicts.expected[0, 0] < 55
    for name, array in subject.memory.state.items():
        assert np.array_equal(array, twin.memory.state[name], equal_nan=True), name
    later = [stepped(each, struck + 60)[0] for each in (subject, twin)]
    assert later[0].surprise == later[1].surprise and later[0].expected == later[1].expected


def test_after_a_sample_outside_the_valid_range_faults_are_found_as_before(session):
    """With the default hold time: a doubling an hour after a counter's glitch of 2^63 is an alarm."""
    glitch, doubled = START + 60 * 200, START + 60 * 260

    def value(time):
        return 2.0**63 if time == glitch else noisy(1, 40.0)(time) * (2 if time >= doubled else 1)

    subject = detector(session, Samples({raw(instance='a'): value}), range=[0, 100])
    scores = [verdicts.score[0] for verdicts in live(subject, 265)]
    assert scores[200] >= 1 and not any(score >= 1 for score in scores[206:260]) and max(scores[260:]) >= 1


def test_coarse_history_outside_the_valid_range_fills_no_season(session):
    """A warm start takes such samples as missing, as live steps do."""
    level = lambda time: 1e12 if time % 86400 < 7200 and time < START - 86400 else noisy(1, 50.0)(time)  # noqa: E731
    subject = detector(session, Samples({raw(instance='a'): level}), range=[0, 100], history='3d')
    warm(subject, START)
    known = subject.memory.season.anchor[0, 0] + np.array([column[0, 0] for column in subject.memory.season.columns if len(column)])
    assert np.nanmax(known) < 100


@pytest.mark.slow
@pytest.mark.parametrize('looks', [1, 2])
def test_a_clock_that_is_set_far_ahead_during_a_start_is_not_run_after(session, looks):
    """As on a machine that boots in 1970 and gets the time from the network: the years between are not replayed, the next start begins anew."""
    years, looked = 10 * 365 * 86400, iter(range(10**9))
    subject = detector(session, Samples({raw(instance='a'): noisy(1)}))
    steps = sum(1 for _ in subject.warm(lambda: START if next(looked) < looks else START + years))
    assert steps == (0 if looks == 1 else session.bundle.manifest.replay_steps)
    assert warm(subject, START + years).status.tolist() == [READY]
