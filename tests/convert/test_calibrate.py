"""Calibration counts what an operator would count, never rises, and ends where it knows nothing."""

import numpy as np
import pytest

from promlstm.engine import bundle

pytestmark = pytest.mark.train      # convert.families.forecaster, whose rule for features it follows, imports TensorFlow


@pytest.fixture
def calibrate():
    from convert import calibrate

    return calibrate


def made(calibrate, scores):
    return calibrate.row(calibrate.table(scores, 60), klass=0, step_seconds=60, low=1, high=86401)


def test_the_table_says_how_many_alarms_there_were(calibrate):
    """Twenty lone peaks above 3 and two hundred above 2 in ten series of a week: 2 and 22 alarms per entity-week."""
    scores = np.full((10080, 10), 0.5, np.float32) + 0.01 * np.random.default_rng(0).random((10080, 10), np.float32)
    for n in range(10):
        scores[50 + 400 * np.arange(20), n] = 2 + 0.05 * np.arange(20)
        scores[250 + 4000 * np.arange(2), n] = 3 + 0.05 * n
    table = bundle.Calibration(status='measured', rows=(made(calibrate, scores),))
    assert table.threshold(2.0, step_seconds=60) == pytest.approx(3.0, abs=0.06)
    assert 2.0 < table.threshold(12, step_seconds=60) < 2.9


def test_alarms_of_one_incident_are_one(calibrate):
    """Scores that come and go within half an hour are one alarm, not thirty."""
    rng = np.random.default_rng(0)
    calm = 0.5 + 0.1 * rng.random((10080, 20)).astype(np.float32)
    flapping = calm.copy()
    for n in range(20):
        for start in range(500, 10000, 1000):
            flapping[start : start + 60 : 3, n] = 3 + rng.random()
    row = made(calibrate, flapping)
    table = bundle.Calibration(status='measured', rows=(row,))
    assert table.threshold(9.5, step_seconds=60) <= 3.1


def test_tables_fall_and_are_never_extrapolated(calibrate):
    scores = np.random.default_rng(0).exponential(size=(5000, 50)).astype(np.float32)
    row = made(calibrate, scores)
    assert (np.diff(row.surprise) > 0).all() and (np.diff(row.alarms_per_entity_week) < 0).all()
    assert row.alarms_per_entity_week[0] <= calibrate.HIGHEST_PER_WEEK
    weeks = scores.size * 60 / 604800
    assert row.alarms_per_entity_week[-1] >= calibrate.LEAST / weeks * 0.999


def test_an_alarm_that_outlasts_its_event_is_not_false(calibrate):
    """Counted as the benchmark counts: the end of an incident is no healthy alarm, and one that stands for hours counts again."""
    from convert.evaluation import events, measures

    rng = np.random.default_rng(0)
    scores, labels = rng.exponential(0.2, (10080, 40)).astype(np.float32), np.zeros((10080, 40), bool)
    for n in range(40):
        for start in range(300, 9000, 1000):
            labels[start : start + 30, n] = True
            scores[start : start + 60, n] = 3 + 0.3 * rng.random()  # half an hour longer than its label
        scores[rng.integers(9500, 10000), n] = 3.5 + rng.random()
    scores[9100:9400, 0] = 4                                        # five hours
    entities = [measures.Entity(scores[:, n], labels[:, n], 60) for n in range(40)]
    found, field = calibrate.counted([entities]), events.Field(entities)
    assert found == [(threshold, pytest.approx(field.count(threshold).false.sum() / 40)) for threshold, _ in found]
    assert max(rate for threshold, rate in found if threshold > 2.9) == pytest.approx(41 / 40, abs=0.1)
    ends = [measures.Entity(np.where(labels[:, n], np.nan, scores[:, n]), np.zeros(10080, bool), 60) for n in range(40)]
    assert max(rate for threshold, rate in calibrate.counted([ends]) if threshold > 2.9) > 9


def test_a_large_set_does_not_drown_another(calibrate):
    """Each of two sets of 100 weeks or more counts for half, however large; one of few weeks counts by its weeks."""
    from convert.evaluation import events, measures

    def made_of(many, peaks, rng):
        scores = rng.exponential(0.2, (10080, many)).astype(np.float32)
        for column in scores.T:
            column[100 + 900 * np.arange(peaks)] = 3.5 + rng.random(peaks)
        return [measures.Entity(column, np.zeros(10080, bool), 60) for column in scores.T]

    rng = np.random.default_rng(0)
    sets = [made_of(400, 1, rng), made_of(100, 9, rng), made_of(10, 3, rng)]
    threshold, rate = next(each for each in reversed(calibrate.counted(sets)) if each[0] > 3.3)
    seen = [events.Field(each).count(threshold).false.sum() / len(each) for each in sets]
    assert rate == pytest.approx((100 * seen[0] + 100 * seen[1] + 10 * seen[2]) / 210)


def test_an_hourly_table_reaches_one_alarm_a_day(calibrate):
    """One sample in twenty or more has to alarm for that; where alarms run together the table begins."""
    scores = np.random.default_rng(0).exponential(size=(2000, 100)).astype(np.float32)
    row = calibrate.row(calibrate.table(scores, 3600), klass=0, step_seconds=3600, low=1, high=86401)
    table = bundle.Calibration(status='measured', rows=(row,))
    assert row.alarms_per_entity_week[0] > 7
    threshold = table.threshold(7, step_seconds=3600)
    from convert.evaluation import measures

    fresh = np.random.default_rng(1).exponential(size=(2000, 100)).astype(np.float32)
    assert sum(len(measures.alarms(column >= threshold, 3)) for column in fresh.T) * 168 / fresh.size == pytest.approx(7, rel=0.1)


def test_too_little_telemetry_is_refused(calibrate):
    with pytest.raises(calibrate.CalibrationError, match='expected more telemetry'):
        made(calibrate, np.full((50, 2), np.nan, np.float32) * 0 + np.float32([[0.1, 0.2]]))


def test_series_that_were_judged_at_other_times_do_not_count_as_calm(calibrate):
    """Recordings on one clock hardly overlap. Up to four features the largest surprise is the entity's, so it alarms as often as they do together."""
    rng = np.random.default_rng(0)
    scores = np.full((40_000, 20), np.nan, np.float32)
    for n in range(20):
        scores[1500 * n : 1500 * n + 8000, n] = rng.exponential(0.3, 8000)
    single = calibrate.table(scores, 300)
    four = calibrate.several(single, calibrate.correlated.typical(4)._replace(many=0.0), scores, 300, seed=0)
    together = {threshold: rate for threshold, rate in four if 0.5 < rate < 5}
    assert len(together) > 5
    for threshold, rate in single:
        assert threshold not in together or together[threshold] == pytest.approx(4 * rate, rel=0.25)


@pytest.mark.parametrize('features', [4, 9, 20, 40])
def test_rare_large_surprises_of_features_that_share_nothing_are_in_the_budget(calibrate, features):
    """One is enough for an entity of many features; a law that was measured where surprises are small does not see that."""
    from convert import correlated

    rng, law = np.random.default_rng(1), correlated.typical(features)
    scores = rng.exponential(0.25, (8064, 80)).astype(np.float32)
    scores[rng.integers(8064, size=200), rng.integers(80, size=200)] += 6
    table = calibrate.several(calibrate.table(scores, 300), law, scores, 300, seed=0)
    calibration = bundle.Calibration(status='measured', rows=(calibrate.row(table, klass=0, step_seconds=300, low=1, high=86401),))
    fresh = [np.stack([np.roll(scores[:, rng.integers(80)], rng.integers(8064)) for _ in range(features)], 1) for _ in range(60)]
    found = correlated.per_week([correlated.fused(each) for each in fresh], [calibration.threshold(1.0, step_seconds=300)], merge=12, step_seconds=300)
    assert found[0] <= 1.25


def test_how_features_move_together_is_learnt_from_recorded_entities(calibrate):
    """Of the range that has most of them, for all ranges; without any it is as usual. Classes that a recipe leaves out are calibrated all the same."""
    from convert import correlated, recipe

    telemetry = [recipe.Telemetry(step_seconds=step, steps=100, entities=1) for step in (60, 300)]
    ranges = tuple(recipe.Range(low=low, high=high, telemetry=each) for low, high, each in zip((1, 100), (100, 86401), telemetry, strict=True))
    chosen = recipe.Calibration(class_features=(1, 3), ranges=ranges)
    scores = np.random.default_rng(0).exponential(0.3, (6000, 24)).astype(np.float32)
    groups = tuple(np.split(scores, 4, axis=1))
    single, recorded = calibrate.Replayed(scores, (), ''), calibrate.Replayed(scores, groups, '')
    laws, said = calibrate.laws_of(chosen, [single, recorded], seed=0)
    assert [law.features for law in laws] == [1, 3, 9, 20, 40] and said == 'measured on 4 entities of up to 6 features at 300 s'
    assert laws == correlated.measure(groups, (1, 3, 9, 20, 40), merge=12, step_seconds=300, seed=0)
    assert calibrate.laws_of(chosen, [single, single], seed=0)[0] == tuple(map(correlated.typical, (1, 3, 9, 20, 40)))


def test_the_first_days_of_a_series_are_not_counted(calibrate, monkeypatch):
    """A model may judge with reserve what it hardly knows; of a short series the later half counts."""
    from convert.recipe import Telemetry

    monkeypatch.setattr(calibrate.replay, 'surprises', lambda _, times, values, **__: np.ones(values.shape[:2], np.float32))
    for steps, first in ((2400, 1152), (400, 200)):
        scores = calibrate.healthy_surprises(None, Telemetry(step_seconds=300, steps=steps, entities=2), 0)
        assert np.isnan(scores[:first]).all() and (scores[first:] == 1).all()


@pytest.mark.parametrize('model', ['default', 'forecaster'])
def test_the_card_of_a_shipped_model_says_what_recorded_telemetry_it_knows_and_under_which_licence(model):
    """Each set that alarms were counted on has its licence, and no weight comes from it."""
    from convert.data import labelled
    from promlstm.engine import session as sessions

    loaded = sessions.load(sessions.resolve(f'builtin:{model}'), prove=False).bundle
    source, named = loaded.calibration.source, [name for name in labelled.LICENCES if name in loaded.calibration.source]
    assert bool(named) == (model == 'default') and all(f'{name} ({labelled.LICENCES[name]})' in source for name in named)
    assert loaded.manifest.training.data.startswith('synthetic telemetry (') and loaded.manifest.training.data.endswith('nothing else')
