"""What a size, a family or an amount of data is chosen by never judges the finished model: other spans, other entities, other faults."""

import csv
import json

import msgspec
import numpy as np
import pytest
from recipes import GOOD

from convert import recipe
from convert.__main__ import main

pytestmark = pytest.mark.train
DAY, END, STEP = 86400, 1_764_000_000 // 86400 * 86400, 300
SPANS = {'train': [[END - 4 * DAY, END - 2 * DAY]], 'validate': [[END - 2 * DAY, END - DAY]], 'test': [[END - DAY, END]]}


@pytest.fixture(scope='module')
def own(tmp_path_factory):
    """The path of a recipe on three hosts and four days in a file; `NAME.yml` beside it has no spans.validate."""
    folder, rng = tmp_path_factory.mktemp('own'), np.random.default_rng(0)
    times = np.arange(END - 5 * DAY, END, STEP)
    with open(folder / 'past.csv', 'w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['time', 'host', 'value'])
        for host in 'abc':
            rows.writerows(zip(times, [host] * len(times), 50 + 10 * np.sin(times / DAY * 2 * np.pi) + rng.normal(size=len(times)), strict=True))
    (folder / 'promlstm.yml').write_text('{prometheus: {url: "http://not-asked"}, detectors: [{name: load, expr: x, step: 5m, history: 1d}]}')
    for name, spans in (('own', SPANS), ('bare', {part: SPANS[part] for part in ('train', 'test')})):
        data = {'config': 'promlstm.yml', 'files': {'load': ['past.csv']}, 'exclude': {'alerts': None}, 'spans': spans}
        (folder / f'{name}.yml').write_text(GOOD.replace('name: tiny', f'name: {name}') + f'data: {json.dumps(data)}\n')
        assert main(['fetch', str(folder / f'{name}.yml'), f'--work={folder}/{name}']) == 0
    return folder


def job(folder, name, lines=None):
    from convert import stages

    path = folder / f'{name}.yml'
    return stages.Job(path, recipe.load(path), folder / name, folder / f'{name}.onnx', None, (lines if lines is not None else []).append)


def test_what_is_chosen_by_does_not_judge(own):
    """No sample of the test span, and no synthetic series or fault in common, though the recipe's evaluation is the same."""
    from convert import stages
    from convert.evaluation import review

    made, lines = job(own, 'own'), []
    judges = list(review.sets(made, made.recipe.seed + stages.EVALUATION_SEED))
    chosen_by = review.sets_to_choose_by(job(own, 'own', lines), made.recipe.seed + stages.CHOICE_SEED)
    assert [each.name for each in judges] == ['injected_300s', 'test_load', 'test_load_faults']
    assert [each.name for each in chosen_by] == ['injected_300s', 'validate_load', 'validate_load_faults']
    assert lines == ['  compared on spans.validate and on synthetic telemetry that does not judge the finished model']
    synthetic, other = judges[0], chosen_by[0]
    columns = [{column.tobytes() for column in each.values[..., 0].T} for each in (synthetic, other)]
    assert not columns[0] & columns[1] and not np.array_equal(synthetic.labels, other.labels)
    for each in chosen_by[1:]:
        counted = each.times[each.counted.any(1)]
        assert counted.min() >= END - 2 * DAY and counted.max() < END - DAY and each.times.max() < END - DAY
    for each in judges[1:]:
        counted = each.times[each.counted.any(1)]
        assert counted.min() >= END - DAY and counted.max() < END


def test_without_a_validation_span_the_test_span_is_still_not_touched(own):
    """What is left is synthetic telemetry, and the log says so."""
    from convert import stages
    from convert.evaluation import review

    lines = []
    made = job(own, 'bare', lines)
    assert [each.name for each in review.sets_to_choose_by(made, made.recipe.seed + stages.CHOICE_SEED)] == ['injected_300s']
    assert lines == ['  compared on synthetic telemetry alone: the recipe has no spans.validate, and spans.test judges the finished model']


def test_the_sets_of_a_search_and_of_a_curve_are_those(own, monkeypatch):
    """Neither asks for the sets that judge."""
    from convert import learning_curve, search, stages
    from convert.evaluation import benchmark, review

    class EnoughError(Exception):
        pass

    def measured(methods, sets, *_, **__):
        seen.append([each.name for each in sets])
        raise EnoughError

    seen = []
    monkeypatch.setattr(benchmark, 'measure_all', measured)
    monkeypatch.setattr(learning_curve, 'make_variant', lambda job, name, recipe: job)
    monkeypatch.setattr(stages, 'bare', lambda job: None)
    monkeypatch.setattr(review, 'sets', lambda *_: pytest.fail('it asked for the sets that judge'))
    for choose in (search.run, learning_curve.run):
        with pytest.raises(EnoughError):
            choose(job(own, 'own'))
    assert seen == [['injected_300s', 'validate_load', 'validate_load_faults']] * 2


@pytest.mark.parametrize('option', ['--search', '--learning-curve'])
def test_labelled_sets_have_no_part_in_a_choice(own, capsys, option):
    """They judge the finished model: refused, and not ignored."""
    assert main(['evaluate', str(own / 'own.yml'), f'--work={own}/own', f'--data={own}', option]) == 1
    assert 'it is for the finished model, not for --learning-curve and --search: leave it out' in capsys.readouterr().err


def test_all_seeds_differ():
    """Training, calibration, the evaluation that judges, a choice, a comparison and the cost of int8 are on different telemetry."""
    from convert import compare, quantize, stages

    seeds = [0, stages.CALIBRATION_SEED, stages.EVALUATION_SEED, stages.CHOICE_SEED, compare.SEED, quantize.SEED]
    assert len(set(seeds)) == len(seeds)


def test_training_depends_on_its_own_spans_alone(own):
    """Another span to validate on is another training; another span to test on is another evaluation, and the same training."""
    from convert import stages

    def keys(**spans):
        made = job(own, 'own')
        parts = msgspec.structs.replace(made.recipe.data.spans, **spans)
        changed = msgspec.structs.replace(made.recipe, data=msgspec.structs.replace(made.recipe.data, spans=parts))
        changed = msgspec.structs.replace(changed, gates=made.recipe.gates)
        other = stages.Job(made.path, changed, made.work, made.out, None, made.log)
        return [stages._made_from(other, stage) for stage in ('train', 'evaluate')]

    train, evaluate = keys()
    assert keys() == [train, evaluate]
    shorter = lambda days: ((END - days * DAY, END - days * DAY + DAY / 2),)      # noqa: E731 (twice below)
    assert keys(validate=shorter(2))[0] != train
    tested = keys(test=shorter(1))
    assert tested[0] == train and tested[1] != evaluate
