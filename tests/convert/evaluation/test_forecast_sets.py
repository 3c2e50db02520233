"""What is forecast, and from when: healthy time with enough history, every sixth hour; and what follows hourly series."""

import labelled_sets
import numpy as np
import pytest

from convert.__main__ import main
from convert.data.labelled import LabelledError
from convert.evaluation import forecast_sets
from convert.evaluation.forecast_sets import ForecastSetError

HOUR, DAY = 3600, 86400


def weeks(folder, name='e', *, days=30, step=HOUR, faults=(), split=0, features=1, **more):
    """A healthy entity but for the steps that are named."""
    steps = days * DAY // step
    labels = np.zeros(steps)
    labels[list(faults)] = 1
    return labelled_sets.write(folder, name, labelled_sets.quiet(steps, features), labels, step=step, split=split, **more)


def hourly(folder, name, train, test):
    np.savez(folder / f'{name}_hourly.npz', **{f'{s}_train': np.asarray(v, float) for s, v in train.items()}, **{f'{s}_test': v for s, v in test.items()})


def only(folder, name='set'):
    (part,) = forecast_sets.parts(folder, name)
    return part


def test_healthy_time_is_forecast_from_every_sixth_hour_after_a_week_and_the_horizon(tmp_path):
    weeks(tmp_path / 'set')
    part = only(tmp_path)
    assert part.name == 'set at 1h' and part.ahead.tolist() == [HOUR, 6 * HOUR, DAY, 7 * DAY] and list(part.horizons) == ['1h', '6h', '1d', '7d']
    assert set(np.diff(part.origins)) == {6} and set(part.times[part.origins] % (6 * HOUR)) == {0}
    first, last = ([int(part.origins[np.flatnonzero(part.counted[:, 0, j])[end]]) for j in range(4)] for end in (0, -1))
    assert first == [198, 198, 216, 360], 'steps: eight days and the horizon, then the next sixth hour'
    assert all(719 - 6 < origin + k <= 719 for origin, k in zip(last, part.steps_ahead, strict=True))
    o, k = part.origins[5], 24
    assert part.actual[5, 0, 2] == part.values[o + k, 0]


def test_forecasts_are_made_at_all_minutes_of_these_hours(tmp_path):
    """What jobs do when an hour begins says little of the rest of it."""
    weeks(tmp_path / 'set', days=40, step=300)
    part = only(tmp_path)
    hour, minute = np.divmod(part.times[part.origins] % (6 * HOUR), HOUR)
    assert set(hour) == {0} and np.bincount((minute / 300).astype(int), minlength=12).min() > 2


def test_what_is_labelled_or_missing_or_not_tested_does_not_count(tmp_path):
    """A label an hour before an origin, one at a target, a target without a sample; and nothing before the split."""
    folder = weeks(tmp_path / 'set', faults=[401, 444], split=300)
    data = dict(np.load(folder / 'e.npz'))
    data['x'][480 + 6], data['x'][498] = np.nan, np.inf
    np.savez(folder / 'e.npz', **data)
    part = only(tmp_path)
    at = {int(origin): n for n, origin in enumerate(part.origins)}
    assert min(at) == 300
    assert 402 not in at, 'a label within six hours before: nothing counts'
    assert part.counted[at[408], 0, :2].tolist() == [True, True]
    assert part.counted[at[420], 0].tolist() == [True, True, False, True], 'the value of a day later is labelled'
    assert part.counted[at[480], 0].tolist() == [True, False, True, True], 'there is none six hours later'
    assert 498 not in at, 'an entity without a sample has no forecast'


def test_features_of_an_entity_are_series_of_one_entity_and_each_step_is_a_part(tmp_path):
    weeks(tmp_path / 'set', 'a', features=3)
    weeks(tmp_path / 'set', 'b', features=3)
    weeks(tmp_path / 'set', 'c', step=300, days=12)
    fine, coarse = forecast_sets.parts(tmp_path, 'set')
    assert coarse.entity.tolist() == [0, 0, 0, 1, 1, 1] and fine.name == 'set at 5m' and fine.ahead[0] == 300
    assert fine.counted.any(axis=(0, 1)).tolist() == [True, True, True, True, False], 'twelve days are too short for a week ahead'


def test_few_of_many_origins_are_drawn_at_all_times_of_day(tmp_path):
    weeks(tmp_path / 'set', days=150)
    part = only(tmp_path)
    assert len(part.origins) == forecast_sets.MOST_ORIGINS and (np.diff(part.origins) > 0).all()
    assert np.bincount(part.origins // 6 % 4).min() > 10


def test_hourly_series_are_forecast_once_for_all_that_follows(tmp_path):
    """Series of two lengths end together."""
    hourly(tmp_path, 'made', {'a': np.arange(300), 'b': np.arange(500)}, {'a': np.arange(300, 348), 'b': np.arange(500, 548)})
    part = only(tmp_path, 'made_hourly')
    assert part.origins.tolist() == [499] and part.counted.all() and part.values.shape == (548, 2)
    assert part.actual[0, 0].tolist() == list(range(300, 348)) and part.actual[0, 1].tolist() == list(range(500, 548))
    assert np.isnan(part.values[199, 0]) and part.values[200, 0] == 0
    assert {name: (places[0], places[-1]) for name, places in part.horizons.items()} == {
        '1h to 6h': (0, 5), '7h to 24h': (6, 23), '25h to 48h': (24, 47), '1h to 48h': (0, 47),
    }  # fmt: skip


def test_a_folder_may_hold_both_and_is_looked_at_as_a_whole_first(tmp_path):
    weeks(tmp_path / 'set')
    hourly(tmp_path, 'made', {'a': np.arange(300)}, {'a': np.arange(48)})
    assert forecast_sets.check(tmp_path) == ['set', 'made_hourly'] and forecast_sets.check(tmp_path, ['made_hourly']) == ['made_hourly']
    with pytest.raises(ForecastSetError, match=r'--sets SET: no such set in .*: there is set, made_hourly'):
        forecast_sets.check(tmp_path, ['SET'])
    (tmp_path / 'set/bad.npz').write_bytes(b'PK')
    with pytest.raises(LabelledError, match=r'bad\.npz: cannot be read'):
        forecast_sets.check(tmp_path)


def test_what_is_no_folder_of_series_is_said_so(tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'empty').mkdir()
    for name, why in (('none', 'no such folder'), ('file', 'a file, not a folder'), ('empty', 'nothing to forecast in it')):
        assert main(['benchmark', '--forecast', str(tmp_path / name)]) == 1
        assert capsys.readouterr().err == f'convert: {tmp_path / name}: {why}: {forecast_sets.EXPECTED}\n'


@pytest.mark.parametrize(
    ('arrays', 'why'),
    [
        ({'a_train': np.arange(9.0)}, 'no a_test in it'),
        ({'x': np.arange(9.0)}, 'no SERIES_train in it'),
        ({'a_train': np.arange(9.0), 'a_test': np.empty(0)}, 'a: expected samples of one series, float [n], in a_train and a_test'),
        (None, 'not a numpy file'),
    ],
)
def test_a_damaged_hourly_file_is_named(tmp_path, arrays, why):
    path = tmp_path / 'bad_hourly.npz'
    if arrays is None:
        path.write_bytes(b'PK')
    else:
        np.savez(path, **arrays)
    with pytest.raises(ForecastSetError) as error:
        forecast_sets.check(tmp_path)
    assert str(error.value).startswith(f'{path}: {why}')
