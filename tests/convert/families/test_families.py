"""What every family promises alike, a model that was wrapped among them; and all of them served by one exporter."""

import functools
import time

import numpy as np
import pytest
import requests
import small_models
from exporter import Exporter
from servers import wait_until

from promlstm.demo import fleet
from promlstm.demo.source import Source
from promlstm.engine import advance
from promlstm.engine.columns import Frame
from promlstm.engine.memory import blank

pytestmark = pytest.mark.train

OURS = ('autoencoder', 'classifier')
FOREIGN = ('wrapped-probability', 'wrapped-reconstruction', 'wrapped-forecast')
every = pytest.mark.parametrize('name', [*OURS, *FOREIGN])
banded = pytest.mark.parametrize('name', ['autoencoder', 'wrapped-reconstruction', 'wrapped-forecast'])
bandless = pytest.mark.parametrize('name', ['classifier', 'wrapped-probability'])


def replayed(name, values, times=None, *, learn=None, settings=None):
    """[(Verdicts, Memory)] of every step, through the very code that serves."""
    session = small_models.session(name)
    settings = settings or advance.Settings(step_seconds=60)
    times = 1_700_000_000 + 60.0 * np.arange(len(values)) if times is None else times
    memory = blank(session, settings.zone, *values.shape[1:])
    return list(advance.replay(session, settings, memory, (Frame(float(t), row) for t, row in zip(times, values, strict=True))))


def surprises(name, values):
    return np.stack([verdicts.surprise for verdicts, _ in replayed(name, values)])


@every
def test_tensorflow_and_onnx_agree_over_hundreds_of_carried_steps(name):
    """Missing samples, huge values, rows that do not learn and one with a new normal among them."""
    from convert import verify

    one = small_models.any_of(name)
    assert max(verify.verify(one.step, one.model, one.form, steps=200).values()) < 5e-5


@every
def test_census(name):
    """Real LSTMs, nothing that loops, a Where at each door."""
    from convert import export

    one = small_models.any_of(name)
    count = export.census(one.model, one.form)
    assert count['LSTM'] >= 1 and not count['Loop'] and count['Where'] == (1 if name in FOREIGN else 2)


@every
def test_the_first_surprise_comes_after_the_warm_up(name):
    """As many samples as the manifest says, and no earlier."""
    form = small_models.any_of(name).form
    _, values = small_models.telemetry(name, 1)
    found = surprises(name, np.nan_to_num(values, nan=float(np.nanmean(values))))
    assert np.isnan(found[: form.warmup_steps]).all() and np.isfinite(found[form.warmup_steps :]).all()


@every
def test_a_missing_sample_is_not_judged_and_spoils_nothing(name):
    _, values = small_models.telemetry(name, 2, steps=130)
    values[100:104] = np.nan
    steps = replayed(name, values)
    assert all(np.isnan(steps[t][0].surprise).all() for t in range(100, 104)) and np.isfinite(steps[129][0].surprise).any()
    assert all(np.isfinite(array).all() for array in steps[129][1].state.values())


@every
def test_order_and_number_of_entities_do_not_matter(name):
    """Bit for bit; but for a probability, whose sigmoid ONNX Runtime computes otherwise in the last rows of a chunk, in the last bit."""
    same = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5 if name == 'wrapped-probability' else 0, equal_nan=True)
    _, values = small_models.telemetry(name, 3, steps=80)
    whole, order = surprises(name, values), [3, 0, 5, 1, 4, 2]
    same(surprises(name, values[:, order]), whole[:, order])
    same(surprises(name, values[:, 2:3]), whole[:, 2:3])
    last = small_models.any_of(name).form.warmup_steps + 5
    many = np.tile(values[:last, :1], (1, 1100, 1))
    many[:, 1:] *= 1e6
    same(surprises(name, many)[:, :1], whole[:last, :1])


@every
def test_the_future_cannot_change_the_past(name):
    _, values = small_models.telemetry(name, 4)
    other = values.copy()
    other[90:] = -1e6
    assert np.array_equal(surprises(name, values)[:90], surprises(name, other)[:90], equal_nan=True)


@every
def test_who_is_judged_only_teaches_nothing(name):
    """learn = 0: scales, usual errors and season stand still; only what was seen last moves on."""
    inputs = small_models.inputs_of(name)
    inputs['learn'][120:] = 0
    steps = small_models.carried(name, inputs)
    for state in {'state_scale', 'state_error'} & set(steps[0][1]):
        columns = slice(None, -15) if state == 'state_scale' else slice(None)       # the last columns of a scale are past values
        assert np.array_equal(steps[119][1][state][..., columns], steps[139][1][state][..., columns]), state
    assert np.isnan(steps[139][0]['season_next']).all() or name in OURS
    assert np.isfinite(steps[139][0]['surprise']).any()


@banded
def test_a_shift_that_is_declared_normal_is_normal(name):
    """learn = 2 at the new level: what follows is as little surprising as what came before."""
    inputs = small_models.inputs_of(name, steps=160)
    inputs['value'] = np.where(np.isnan(inputs['value']), np.nanmean(inputs['value'], (0, 1)), inputs['value'])
    spread = np.std(inputs['value'], (0, 1))
    inputs['value'][120:] += 30 * spread
    declared = {**inputs, 'learn': inputs['learn'].copy()}
    declared['learn'][120] = 2
    before, after = (np.stack([out['surprise'] for out, _ in small_models.carried(name, each)]) for each in (inputs, declared))
    if name == 'autoencoder':
        assert np.nanmean(after[121:126]) < np.nanmean(before[121:126])
    assert np.isfinite(after[121:]).all()
    ring = small_models.carried(name, {key: array[:121] for key, array in declared.items()})[-1][1]['state_ring'][..., : small_models.WIDTH]
    assert np.array_equal(ring, np.repeat(ring[..., -1:], small_models.WIDTH, -1))


@banded
def test_the_band_is_the_border_of_the_threshold(name):
    """A feature outside its band is one whose surprise is beyond the threshold; seen where only one feature has a sample."""
    inputs = small_models.inputs_of(name, steps=400)
    inputs['value'] = np.where(np.isnan(inputs['value']), np.nanmean(inputs['value'], (0, 1)), inputs['value'])
    inputs['value'][100:, :, 1] = np.nan
    rng, spread = np.random.default_rng(0), np.nanstd(inputs['value'], (0, 1))
    inputs['value'][100:, :, 0] += spread[0] * 40 * (rng.random((300, 6)) < 0.15) * rng.normal(size=(300, 6))
    inputs['threshold'][:], outside, inside = 1.5, 0, 0
    for t, (out, _) in list(enumerate(small_models.carried(name, inputs)))[100:]:
        x, lower, upper = inputs['value'][t, :, 0], out['lower'][:, 0], out['upper'][:, 0]
        beyond = (x < lower) | (x > upper)
        assert np.array_equal(beyond, out['surprise'] > np.float32(1.5)), t
        outside, inside = outside + beyond.sum(), inside + (~beyond).sum()
    assert outside > 20 and inside > 100


@banded
def test_an_unmistakable_fault_is_found_and_its_culprit_named(name):
    _, values = small_models.telemetry(name, 5, steps=140)
    values = np.where(np.isnan(values), np.nanmean(values, (0, 1)), values)
    values[130, 0, 1] += 200 * np.std(values[:, 0, 1])
    steps = replayed(name, values)
    scores = np.stack([verdicts.surprise for verdicts, _ in steps])
    assert scores[130, 0] > 1.5 * np.nanquantile(scores[:130], 0.95) and steps[130][0].contribution[0, 1] > 0.6


@bandless
def test_without_a_band_nothing_is_held(name):
    """Scores of 1 and more, but no latch: there is no band to come back into; every direction counts, since none is known."""
    from promlstm.engine.score import Policy

    _, values = small_models.telemetry(name, 6)
    settings = advance.Settings(step_seconds=60, threshold=0.001, policy=Policy(direction='above', min_deviation=5))
    steps = replayed(name, values, settings=settings)
    last = steps[-1][0]
    assert any((verdicts.score >= 1).any() for verdicts, _ in steps)
    assert np.isnan(last.expected).all() and np.isnan(last.lower).all() and np.isnan(last.upper).all() and np.isnan(last.deviation).all()
    assert not steps[-1][1].latch.held.any() and np.isfinite(last.since[last.score >= 1]).all() and (last.score >= 1).any()


@banded
def test_with_a_band_an_alarm_is_held(name):
    _, values = small_models.telemetry(name, 7, steps=140)
    values = np.where(np.isnan(values), np.nanmean(values, (0, 1)), values)
    values[120:, 0] += 200 * np.std(values[:, 0], 0)
    steps = replayed(name, values, settings=advance.Settings(step_seconds=60, threshold=2.4))
    assert all(verdicts.score[0] >= 1 for verdicts, _ in steps[120:]) and steps[-1][1].latch.held[0]


def test_the_table_is_what_a_recipe_may_name():
    from typing import get_args, get_type_hints

    from convert import recipe
    from convert.families.registry import FAMILIES

    assert set(get_args(get_type_hints(recipe.Recipe)['family'])) == set(FAMILIES)


def test_weights_of_another_family_are_not_loaded(tmp_path):
    """A recipe whose family was changed since it was trained."""
    from recipes import GOOD, convert_here

    recipe = tmp_path / 'tiny.yml'
    recipe.write_text(GOOD.replace('seed: 3', 'family: autoencoder\nseed: 3'))
    small_models.network('classifier').save_weights(tmp_path / 'weights.weights.h5')
    done = convert_here('export', recipe, '--work', tmp_path)
    assert done.returncode == 1 and 'of another network than the recipe names' in done.stderr


@pytest.fixture
def source(tmp_path):
    with Source(fleet.Fleet(1, time.time() - 7200, hosts=3), time.time) as serving:
        yield serving


def test_all_families_and_a_wrapped_model_are_served_by_one_exporter(source, tmp_path):
    """One process, four detectors, four kinds of model; each has scores, and the band that its family has."""
    names = ('forecaster', 'autoencoder', 'classifier', 'wrapped-reconstruction')
    watched = {'expr': 'node_cpu_busy_ratio', 'step': '1s', 'delay': '1s'}
    both = {'by': ['instance'], 'features': {'cpu': 'node_cpu_busy_ratio', 'memory': 'node_memory_used_bytes'}, 'step': '1s', 'delay': '1s'}
    for name in names:
        small_models.session(name)
    files = {name: str(small_models.FOLDER / f'{name}.onnx') for name in names}
    detectors = [{'name': name, 'model': files[name], **(both if name.startswith('wrapped') else watched)} for name in names]
    with Exporter(tmp_path / 'promlstm', source.url, detectors) as exporter:

        def page():
            return requests.get(exporter.url + '/metrics', timeout=10).text

        def scored():
            lines = page().splitlines()
            return {name: sum(f'promlstm_anomaly_score{{detector="{name}"' in line for line in lines) for name in names}

        wait_until(lambda: min(scored().values()) == 3, 120, 'scores of all')
        text = page()
        assert all(f'family="{family}"' in text for family in ('forecaster', 'autoencoder', 'classifier'))
        assert 'promlstm_expected{detector="autoencoder"' in text and 'promlstm_expected{detector="wrapped-reconstruction"' in text
        assert 'promlstm_expected{detector="classifier"' not in text and 'promlstm_observed{detector="classifier"' in text
