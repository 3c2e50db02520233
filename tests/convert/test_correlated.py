"""Entities whose features share causes keep the budget that their features keep, and so do those whose features share none."""

import numpy as np
import pytest

from promlstm.engine import bundle

pytestmark = pytest.mark.train      # convert.families.forecaster, whose rule for features it follows, imports TensorFlow

STEP, MERGE, FEATURES = 300, 12, 20
STEPS = 8 * 7 * 288     # eight weeks of five minutes


@pytest.fixture
def correlated():
    from convert import correlated

    return correlated


def entity(rng, shared, steps=STEPS):
    """Surprises float32 [T, 20] of features that are surprised equally often, by causes of their own and by those that `shared` of them have in common.

    A cause moves features by about as much, for one to four samples. Each feature is moved nine times a week, by six causes that it may share
    with others and by those of its own.
    """
    out = rng.exponential(0.25, (steps, FEATURES)).astype(np.float32)
    common = rng.poisson(6 * steps / 2016) if shared else 0
    for _ in range(common):
        at, size, struck = rng.integers(steps - 4), 1 + rng.exponential(0.5), rng.random(FEATURES) < shared
        long = rng.integers(1, 5)
        out[at : at + long, struck] += (size * rng.uniform(0.8, 1.2, struck.sum())).astype(np.float32)
    for feature in range(FEATURES):
        for _ in range(rng.poisson((9 - 6 * shared) * steps / 2016)):
            at = rng.integers(steps - 4)
            out[at : at + rng.integers(1, 5), feature] += np.float32((1 + rng.exponential(0.5)) * rng.uniform(0.8, 1.2))
    return out


def calibration(entities, laws):
    """bundle.Calibration of single features of entities and Laws."""
    from convert import calibrate

    scores = np.concatenate(entities, 1)
    single = calibrate.table(scores, STEP)
    found = [calibrate.several(single, law, scores, STEP, 0) for law in laws]
    rows = [calibrate.row(each, klass=k, step_seconds=STEP, low=1, high=86401) for k, each in enumerate(found)]
    return bundle.Calibration(status='measured', rows=tuple(rows))


def seen(scores, threshold):
    """Alarms per week and column of [T, N]."""
    from convert.evaluation import measures

    judged = np.count_nonzero(~np.isnan(scores))
    return sum(len(measures.alarms(column >= threshold, MERGE)) for column in scores.T) * 2016 / judged


def test_features_that_move_together_keep_the_budget(correlated):
    """Measured on some entities and counted on others: within a quarter of the promise. Taken for strangers they break it twice over."""
    rng = np.random.default_rng(0)
    mine, others = ([entity(rng, 0.6) for _ in range(12)] for _ in range(2))
    laws = correlated.measure(mine, (1, FEATURES), merge=MERGE, step_seconds=STEP, seed=0)
    table = calibration(mine, laws)
    scores = np.stack([correlated.fused(each) for each in others], 1)
    for budget in (1.0, 7.0):
        assert seen(np.concatenate(others, 1), table.threshold(budget, step_seconds=STEP)) == pytest.approx(budget, rel=0.15)
        assert seen(scores, table.threshold(budget, step_seconds=STEP, klass=1)) == pytest.approx(budget, rel=0.25)
    strangers = [np.stack([np.roll(feature, rng.integers(STEPS)) for feature in each.T], 1) for each in mine]
    wrong = calibration(mine, (laws[0], *correlated.measure(strangers, (FEATURES,), merge=MERGE, step_seconds=STEP, seed=0)))
    assert seen(scores, wrong.threshold(1.0, step_seconds=STEP, klass=1)) > 2


def test_features_that_share_nothing_keep_it_too(correlated):
    """The promise is not to alarm more often: these alarm less."""
    rng = np.random.default_rng(1)
    mine, strangers = [entity(rng, 0.6) for _ in range(8)], [entity(rng, 0.0) for _ in range(8)]
    table = calibration(mine, correlated.measure(mine, (1, FEATURES), merge=MERGE, step_seconds=STEP, seed=0))
    scores = np.stack([correlated.fused(each) for each in strangers], 1)
    for budget in (1.0, 7.0):
        assert seen(scores, table.threshold(budget, step_seconds=STEP, klass=1)) <= 1.1 * budget


def test_time_in_which_nothing_was_judged_counts_for_nothing(correlated):
    """Recordings lie on one clock, each with its own beginning and end: what is not judged of one says nothing of the others."""
    rng = np.random.default_rng(2)
    entities = [entity(rng, 0.6, STEPS // 4) for _ in range(6)]
    padded = []
    for number, each in enumerate(entities):
        whole = np.full((STEPS * 2, FEATURES), np.nan, np.float32)
        whole[2000 * number : 2000 * number + len(each)] = each
        padded.append(whole)
    features = (1, 4, 9, FEATURES, 40)
    wanted, got = (correlated.measure(each, features, merge=MERGE, step_seconds=STEP, seed=0) for each in (entities, padded))
    assert got == wanted


def test_an_entity_of_few_features_alarms_no_more_seldom_than_one_of_them(correlated):
    """Up to four features the largest surprise is the entity's, so its threshold cannot be lower; nor is it higher than that of all features in turn."""
    rng = np.random.default_rng(3)
    mine = [entity(rng, 0.6) for _ in range(6)]
    laws = correlated.measure(mine, (1, 2, 4), merge=MERGE, step_seconds=STEP, seed=0)
    rates = np.geomspace(0.05, 20, 30)
    for law in laws:
        assert (law.alarms(rates) >= 0.99 * rates).all() and (law.alarms(rates) <= 1.001 * law.features * rates).all()


def test_without_recorded_entities_there_is_a_typical_law(correlated):
    """Of too few alarms none is measured."""
    nothing = [np.zeros((300, FEATURES), np.float32)]
    assert correlated.measure(nothing, (1, 20, 30), merge=MERGE, step_seconds=STEP, seed=0) == tuple(map(correlated.typical, (1, 20, 30)))
    assert correlated.typical(30).many == correlated.typical(40).many > correlated.typical(20).many
    assert correlated.typical(500)._replace(features=40) == correlated.typical(40)


def test_fused_features_are_what_the_graph_makes_of_them(correlated):
    """The mean of the largest two of eight, as promised in forecaster; missing ones count as calm; all missing is missing."""
    scores = np.random.default_rng(0).random((20, 8)).astype(np.float32)
    scores[3] = np.nan
    scores[5, :4] = np.nan
    out = correlated.fused(scores)
    assert np.isnan(out[3]) and np.allclose(out[4], np.sort(scores[4])[-2:].mean())
    assert np.allclose(out[5], np.sort(scores[5, 4:])[-2:].mean())


def test_fused_features_last_as_in_the_shipped_model(correlated):
    """Its entities of six features, and their features as entities of their own, through the code that serves."""
    from convert.data import synthesis
    from convert.evaluation import replay
    from promlstm.engine.session import load, resolve

    session = load(resolve('builtin:default'), threads=1, prove=False)
    batch = synthesis.batch(4, step_seconds=300, steps=700, entities=24)
    values = batch.values.reshape(700, 4, 6)
    values[400:403, :, 0] *= 3
    values[404:406, :, 1] *= 3
    values[420:430, 1:, 2] = np.nan
    values[425, 3] = np.nan
    whole, single = (replay.surprises(session, batch.times, each, step_seconds=300) for each in (values, values.reshape(700, 24, 1)))
    for number, features in enumerate(np.split(single, 4, axis=1)):
        assert np.allclose(correlated.fused(features, lasts=True), whole[:, number], atol=1e-4, equal_nan=True)
    assert np.nanmax(whole) > 2
