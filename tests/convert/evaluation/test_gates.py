"""A worse model is not released, an equal one is, and a difference within noise passes."""

import re

import msgspec
import numpy as np
import pytest
from benchmark_results import result

from convert import recipe
from convert.evaluation import gates

GOOD, BAD = [2] * 40, [2, 0] * 20


def reasons(*results, **rules):
    return gates.refusals(gates.judge(results, gates.Gates(**rules)))


def test_a_model_that_finds_less_than_the_one_in_service_is_refused_with_the_reason():
    """Set, both figures and the interval are in it."""
    (reason,) = reasons(result('new', 'model', BAD), result('old', 'in service', GOOD))
    assert reason.startswith('worse than it may be on injected_300s: 0.500 of the events at equal false alarms, the model in service 1.000 (difference -0.')


@pytest.mark.parametrize('rival', ['robust_z', 'pca'])
def test_a_model_that_finds_less_than_a_baseline_is_refused(rival):
    assert f'baseline {rival} 1.000' in reasons(result('new', 'model', BAD), result(rival, 'baseline', GOOD))[0]


def test_only_the_recipes_baselines_are_rivals():
    """All are reported; which of them close the gate is the recipe's choice."""
    pair = result('new', 'model', BAD), result('robust_z', 'baseline', GOOD)
    assert not reasons(*pair, baselines=('ewma_band',)) and not reasons(*pair, baselines=())


@pytest.mark.parametrize('benchmark_set', ['linked_60s', 'test_host_linked'])
def test_a_broken_link_is_a_gate_where_the_recipe_says_so(benchmark_set):
    """The model in service is a rival there in any case."""
    new, pca, old = (
        result(name, role, found, benchmark_set=benchmark_set)
        for name, role, found in (('new', 'model', BAD), ('pca', 'baseline', GOOD), ('old', 'in service', GOOD))
    )
    assert not reasons(new, pca) and reasons(new, pca, links=True) and reasons(new, old)
    assert reasons(*(msgspec.structs.replace(each, benchmark_set='test_linked_list') for each in (new, pca)))


def test_an_equal_or_better_model_passes():
    assert not reasons(result('new', 'model', GOOD, false=[1] * 40), result('old', 'in service', BAD, false=[1] * 40), result('robust_z', 'baseline', GOOD))


def test_a_difference_within_noise_passes():
    """Two entities of six go one way and one the other: that is not significant."""
    assert not reasons(result('new', 'model', [2, 2, 0, 0, 2, 1]), result('old', 'in service', [2, 2, 2, 2, 0, 1]))


def test_a_significant_difference_within_the_margin_passes():
    """One event of a hundred less, everywhere: less than it may be."""
    new, old = result('new', 'model', [98] * 30, events=100), result('old', 'in service', [99] * 30, events=100)
    assert not reasons(new, old) and reasons(new, old, recall_margin=0.005)


def test_a_model_that_alarms_more_often_in_healthy_time_is_refused():
    """However much it finds."""
    often = result('new', 'model', GOOD, false=[3] * 40), result('old', 'in service', BAD, false=[1] * 40)
    assert 'alarms per entity-week in healthy time, the model in service 1.000' in reasons(*often)[0]
    assert not reasons(*often, alarms_ratio=4)


def test_unlabelled_test_spans_count_alarms_only():
    """It is unknown what was to be found there."""
    new, old = (result(name, role, [0] * 40, false=[1] * 40, events=0, benchmark_set='test_cpu') for name, role in (('new', 'model'), ('old', 'in service')))
    assert [verdict.what for verdict in gates.judge([new, old], gates.Gates())] == ['alarms']


@pytest.mark.parametrize(('limit', 'refused'), [(1.0, False), (0.5, False), (0.1, True)])
def test_a_labelled_set_of_which_one_entity_makes_too_many_false_alarms_is_refused(limit, refused):
    """Its pieces count together; the reason has its name and both shares."""
    one = result('new', 'model', GOOD)
    false = [4.0, 4.0] + [1.0] * 12 + [0.0] * 26
    named = ['wild', 'wild', *(f'e{n}' for n in range(38))]
    one = msgspec.structs.replace(one, names=named, tally=msgspec.structs.replace(one.tally, false=false))
    found = reasons(one, most_by_one_entity=limit)
    assert found == (['worse than it may be on injected_300s: wild alone makes 40% of the false alarms, 10% is allowed'] if refused else [])
    assert reasons(msgspec.structs.replace(one, names=[]), most_by_one_entity=limit) == []


def test_sets_are_not_mixed():
    """A rival on another set is no rival."""
    assert not reasons(result('new', 'model', BAD, benchmark_set='a'), result('old', 'in service', GOOD, benchmark_set='b'))


def test_the_interval_of_a_paired_difference_covers_it():
    """Nine times of ten, where entities are hard or easy for both alike."""
    rng, covered = np.random.default_rng(1), 0
    for seed in range(200):
        ease = rng.random(60)
        a, b = (rng.binomial(4, np.clip(ease + gain, 0, 1)) for gain in (0.1, 0.0))
        truth = np.mean(np.clip(np.linspace(0, 1, 10001) + 0.1, 0, 1) - np.linspace(0, 1, 10001))
        _, _, low, high = gates.paired((a, [4] * 60), (b, [4] * 60), confidence=0.9, seed=seed)
        covered += low <= truth <= high
    assert 165 <= covered <= 195


def test_the_documented_gates_are_the_defaults(request):
    """docs/how-to/retraining.md shows every key with its default."""
    (shown,) = re.findall(r'```yaml\n(gates:.*?)```', (request.config.rootpath / 'docs/how-to/retraining.md').read_text(), re.DOTALL)
    assert msgspec.yaml.decode(shown, type=dict[str, gates.Gates]) == {'gates': gates.Gates()}


def test_a_recipe_has_gates(tmp_path):
    """Strict like the rest of it."""
    from recipes import GOOD

    path = tmp_path / 'tiny.yml'
    path.write_text(GOOD + 'gates: {recall_margin: 0.1, baselines: [pca]}\n')
    assert recipe.load(path).gates == gates.Gates(recall_margin=0.1, baselines=('pca',))
    path.write_text(GOOD + 'gates: {recall_margin: 2}\n')
    with pytest.raises(recipe.RecipeError, match=r'Expected `float` <= 1.* - at `\$.gates.recall_margin`'):
        recipe.load(path)


def test_few_events_are_reported():
    """Where hardly any difference is significant everything passes, and the reader is warned."""
    few = gates.judge([result('new', 'model', [1] * 5), result('old', 'in service', [2] * 5)], gates.Gates())
    assert gates.weak(few) == ['injected_300s has 10 events: what is worse by less than half passes; give it more (evaluation, spans.test)']
    assert gates.weak(gates.judge([result('new', 'model', [1] * 50), result('old', 'in service', [1] * 50)], gates.Gates())) == []


def test_the_rule_without_its_lstm_is_a_rival_where_it_is_named():
    """As a baseline that the recipe names; otherwise it is only reported."""
    pair = [result('new', 'model', [1] * 50), result('without_lstm', 'without LSTM', [2] * 50)]
    assert gates.judge(pair, gates.Gates()) == []
    (verdict,) = gates.judge(pair, gates.Gates(baselines=('without_lstm',)))
    assert not verdict.passed
