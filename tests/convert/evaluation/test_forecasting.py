"""The benchmark of forecasts, from files to table: all methods at the same values, and no figure for what was not forecast."""

import json
import re

import labelled_sets
import msgspec
import numpy as np
import pytest

from convert.__main__ import main
from convert.evaluation import forecast_board, forecast_packages, forecast_sets, forecasting
from convert.evaluation.forecast_baselines import NAIVE
from convert.evaluation.forecasting import ForecastError, Options

HOUR, DAY = 3600, 86400


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Two sets of healthy hours with a wave of the day, and hourly series with what follows."""
    out, rng = tmp_path_factory.mktemp('series'), np.random.default_rng(0)
    hours = np.arange(30 * 24)
    for name, many in (('one', 3), ('other', 1)):
        for n in range(many):
            wave = 10 + n + 3 * np.sin(2 * np.pi * hours / 24) + rng.normal(0, 0.3, len(hours))
            labelled_sets.write(out / name, f'e{n}', wave, np.zeros(len(hours)), step=HOUR, split=0)
    wave = 10 + 3 * np.sin(2 * np.pi * np.arange(548) / 24) + rng.normal(0, 0.3, 548)
    np.savez(out / 'made_hourly.npz', a_train=wave[:500], a_test=wave[500:], b_train=2 * wave[:500], b_test=2 * wave[500:] + 6)
    return out


def oracle(times, values, origins, ahead):
    """What came, within an interval of nothing: a cheat, which the figures must show as perfect."""
    at = np.asarray(origins)[:, None] + np.round(np.asarray(ahead) / HOUR).astype(int)
    found = values[np.minimum(at, len(values) - 1)].swapaxes(1, 2)
    return np.repeat(found[..., None], 3, axis=3)


def silent_at_night(times, values, origins, ahead):
    """The seasonal naive at noon and at six; nothing at midnight."""
    out = forecasting.forecast_baselines.Baseline(forecasting.forecast_baselines.POINTS[NAIVE])(times, values, origins, ahead)
    out[np.flatnonzero(times[np.asarray(origins)] % DAY == 0)] = np.nan
    return out


def row_of(horizon, method):
    """Its Figures."""
    return next(each for each in horizon.figures if each.method == method)


def run(folder, forecasters=(), **options):
    told = []
    board = forecasting.run(Options(folder, sample=0, **options), told.append, lambda line: None, forecasters)
    return board, told


@pytest.mark.slow
def test_all_methods_are_measured_at_the_same_values_and_compared_with_the_first(folder):
    """The file's own figures hold for the naive: 1 as a share of its own; an oracle has no error, and is all within its interval."""
    board, told = run(folder, {'oracle': oracle, 'silent at night': silent_at_night})
    assert board.against == 'oracle' and [one.name for one in board.sets] == ['one at 1h', 'other at 1h', 'made_hourly']
    for one in board.sets:
        for horizon in one.horizons:
            rows = {each.method: each for each in horizon.figures}
            assert len({(each.series, each.values) for each in rows.values()}) == 1, 'the same values'
            assert rows[NAIVE].mase_of_naive == rows[NAIVE].wql_of_naive == 1
            assert (rows['oracle'].mase, rows['oracle'].wql, rows['oracle'].coverage, rows['oracle'].mase_of_naive) == pytest.approx((0, 0, 1, 0.01))
            assert rows['oracle'].mase_ratio is None and rows[NAIVE].mase_ratio == pytest.approx([100, 100, 100]), 'as far as a share goes'
            assert 0.6 < rows['ridge on lags'].mase_of_naive < 0.95 or one.name == 'made_hourly'
            silent = rows['silent at night']
            assert (silent.mase, silent.wql, silent.coverage) == (rows[NAIVE].mase, rows[NAIVE].wql, rows[NAIVE].coverage), 'the naive counts instead'
    assert '  silent at night: it forecast 7' in told[0] and told[0].count('it forecast') == 2
    assert told[0].startswith('one at 1h\n\n  1h ahead, ') and 'of oracle' in told[0]
    assert '  predict_linear [1h]: no row for 1h, 6h, 1d, 7d: it forecast less than half of the values' in told[0] and '\n  predict_linear [1h] ' not in told[0]
    assert msgspec.json.decode(forecast_board.encoded(board), type=forecast_board.Board) == board


def test_the_figures_of_hourly_series_are_those_of_the_competition(folder):
    """M4's definition, written apart: mean |error| over the 48 hours by mean |x_t - x_(t-24)| of what comes before, averaged over series."""
    data, expected = np.load(folder / 'made_hourly.npz'), []
    for name in 'ab':
        past, came = data[f'{name}_train'], data[f'{name}_test']
        expected.append(np.abs(np.tile(past[-24:], 2) - came).mean() / np.abs(past[24:] - past[:-24]).mean())
    board, _ = run(folder, sets=('made_hourly',))
    naive = row_of(board.sets[0].horizons[-1], NAIVE)
    assert board.sets[0].horizons[-1].name == '1h to 48h' and naive.mase == pytest.approx(np.mean(expected), rel=1e-12)
    assert board.summaries == [], 'one set needs no summary'


@pytest.mark.slow
def test_sets_count_alike_in_the_summary(folder):
    """Three series in one set, one in the other: the mean of the two logarithms."""
    board, told = run(folder)
    ridge = [row_of(one.horizons[0], 'ridge on lags').mase_of_naive for one in board.sets[:2]]
    for one in board.summaries:
        row = row_of(one.horizons[0], 'ridge on lags')
        assert row.mase_of_naive == pytest.approx(np.sqrt(np.prod(ridge))) and row.series == 4 and row.mase is None
        ratio, low, high = row.mase_ratio
        assert low <= ratio <= high and ratio == pytest.approx(row.mase_of_naive), 'the row that is compared with is the naive'
    assert [one.name.split(' (')[0] for one in board.summaries] == ['SUMMARY of 1h steps', 'SUMMARY of all steps']
    assert told[-1].startswith('SUMMARY of all steps (one, other; each set counts the same)') and 'MASE of naive' in told[-1]


def test_others_are_compared_with_the_row_that_is_named(folder):
    """The ratio of two rows is that of their shares, where both are at the same values."""
    board, told = run(folder, sets=('one',), against='drift')
    for horizon in board.sets[0].horizons:
        drift, ridge = row_of(horizon, 'drift'), row_of(horizon, 'ridge on lags')
        assert drift.mase_ratio is None and ridge.mase_ratio[0] == pytest.approx(ridge.mase_of_naive / drift.mase_of_naive)
        assert ridge.wql_ratio[1] <= ridge.wql_ratio[0] <= ridge.wql_ratio[2]
    assert told[0].splitlines()[3].split()[:6] == ['series', 'MASE', 'of', 'naive', 'of', 'drift']


def test_a_forecaster_says_how_long_its_forecasts_took(folder):
    """Where it does not, the whole call counts; an entity and a forecast is one of [O, N]."""

    class Quick:
        seconds = 0.003

        def __call__(self, *given):
            return oracle(*given)

    board, _ = run(folder, {'quick': Quick()}, sets=('made_hourly',))
    assert board.sets[0].horizons[0].figures[0].microseconds == pytest.approx(1500)


def test_a_forecaster_has_no_row_where_it_does_not_forecast(folder):
    """One that ends at six hours; the others keep their rows at all horizons."""

    def near(times, values, origins, ahead):
        return np.where(np.asarray(ahead)[:, None] <= 6 * HOUR, oracle(times, values, origins, ahead), np.nan)

    board, told = run(folder, {'near': near}, sets=('one',), against=NAIVE)
    rows = {horizon.name: {each.method for each in horizon.figures} for horizon in board.sets[0].horizons}
    assert {name for name, found in rows.items() if 'near' in found} == {'1h', '6h'} and all(NAIVE in found for found in rows.values())
    assert '  near: no row for 1d, 7d: it forecast less than half of the values' in told[0]


def test_forecasts_of_another_shape_are_refused(folder):
    with pytest.raises(ForecastError, match=r'flat: forecasts of one at 1h are \[2\], expected \[\d+, 3, 4, 3\]'):
        run(folder, {'flat': lambda *given: np.zeros(2)})


def test_slow_methods_forecast_a_sample_and_are_compared_at_the_values_of_it(folder, monkeypatch):
    """Two series at three origins each; the share is that of the naive at these values, so what repeats the day is level with it."""
    asked = []

    def repeats(samples, apart, season, ahead):
        asked.append((len(samples), apart, season, ahead))
        return np.repeat(np.resize(samples[-season:], ahead)[:, None], 3, axis=1)

    monkeypatch.setattr(forecast_packages, 'installed', lambda: ({'slow': forecast_packages.Refitted(repeats)}, ['gone: not installed: pip install gone']))
    told = []
    board = forecasting.run(Options(folder, sets=('one',), sample=2), told.append, lambda line: None)
    rows = {each.method: each for each in board.sets[0].horizons[1].figures}
    assert rows['slow'].series == 2 and rows['slow'].values == 6 and rows['slow'].mase_of_naive == pytest.approx(1) and rows[NAIVE].series == 3
    assert len(asked) == 6 and {(apart, season, ahead) for _, apart, season, ahead in asked} == {(HOUR, 24, 168)}
    assert '  gone: not installed: pip install gone' in told[0]


def test_packages_see_samples_an_hour_apart_up_to_the_origin_and_none_after():
    """Of minutes: the six weeks before in hours with a season, for whole hours; the day before in five minutes without one, for the rest."""
    seen, times = [], 60.0 * np.arange(50 * 1440)

    def fit(samples, apart, season, ahead):
        seen.append((samples, apart, season, ahead))
        return np.repeat(1000 * season + np.arange(1.0, ahead + 1)[:, None], 3, axis=1)

    found = forecast_packages.Refitted(fit)(times, np.arange(50.0 * 1440)[:, None], [70_000], [300.0, HOUR, DAY])
    assert found[0, 0, :, 1].tolist() == [1001, 24001, 24024]
    (hours, apart, season, ahead), (minutes, near, none, steps) = seen
    assert (apart, season, ahead, near, none, steps) == (HOUR, 24, 24, 300, 1, 1)
    assert hours.tolist() == list(range(70_000 - 60 * (42 * 24 - 1), 70_001, 60)) and minutes.tolist() == list(range(70_000 - 5 * 287, 70_001, 5))


def test_packages_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert forecast_packages.installed() == ({}, [
        'AutoETS: not installed: pip install statsforecast', 'AutoTheta: not installed: pip install statsforecast',
        'Prophet: not installed: pip install prophet',
    ])  # fmt: skip


@pytest.mark.parametrize('name', forecast_packages.PACKAGES)
def test_packages_forecast_a_wave(name):
    """Where they are installed."""
    pytest.importorskip(forecast_packages.PACKAGES[name].module)
    hours = np.arange(20 * 24)
    values = (10 + 3 * np.sin(2 * np.pi * hours / 24) + np.random.default_rng(0).normal(0, 0.1, len(hours)))[:, None]
    found = forecast_packages.installed()[0][name](HOUR * hours.astype(float), values, [450], [6.0 * HOUR])[0, 0, 0]
    assert found[0] < found[1] < found[2] and found[1] == pytest.approx(values[456, 0], abs=0.5)


def test_a_file_that_does_not_forecast_is_refused(folder, capsys):
    assert main(['benchmark', 'builtin:default', '--forecast', str(folder), '--sample', '0']) == 1
    assert re.search(r'default\.onnx: no promlstm\.forecast in the file: it scores, and does not forecast\n$', capsys.readouterr().err)


def test_a_row_that_is_not_there_is_refused(folder):
    with pytest.raises(ForecastError, match='--against Prophecy: no such row: there is seasonal naive, day, '):
        run(folder, against='Prophecy')


def test_the_command_prints_the_tables_and_writes_the_figures(folder, tmp_path, capsys):
    assert main(['benchmark', '--forecast', str(folder), '--sets', 'other', '--sample', '0', '--against', 'drift', '--json', str(tmp_path / 'f.json')]) == 0
    said = capsys.readouterr()
    assert said.out.startswith('other at 1h\n\n  1h ahead, ') and 'of drift' in said.out and 'ridge on lags' in said.err
    written = json.loads((tmp_path / 'f.json').read_text())
    assert written['against'] == 'drift' and [one['name'] for one in written['sets']] == ['other at 1h']


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('--forecast D --data E --errors', 'argument --forecast: not allowed with --data, --errors'),
        ('--forecast D --root-cause E', 'argument --root-cause: not allowed with --forecast'),
        ('x.onnx --data D --sample 3', 'argument --sample: only allowed with --forecast'),
        ('x.onnx --data D --against drift', 'argument --against: only allowed with --forecast'),
        ('--forecast D --sample few', "argument --sample: got 'few', expected a whole number"),
    ],
)
def test_what_does_not_go_together_is_refused(line, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(['benchmark', *line.split()])
    assert end.value.code == 2 and capsys.readouterr().err.endswith(f'error: {message}\n')


def test_nothing_to_count_in_a_set_is_no_error(tmp_path):
    """Ten days of which nine are history: no horizon has values enough."""
    labelled_sets.write(tmp_path / 'short', 'e', labelled_sets.quiet(8 * 24), np.zeros(8 * 24), step=HOUR, split=0)
    assert list(forecast_sets.parts(tmp_path, 'short')) == []
    board, told = run(tmp_path)
    assert board.sets == [] and told == []


def test_a_sampled_row_and_the_naive_are_each_others_inverse(folder, monkeypatch):
    """Both are compared at the sampled values of the same series."""
    flat = forecast_packages.Refitted(lambda samples, apart, season, ahead: np.full((ahead, 3), samples.mean()))
    monkeypatch.setattr(forecast_packages, 'installed', lambda: ({'flat': flat}, []))
    board = forecasting.run(Options(folder, sets=('one',), sample=2, against='flat'), lambda text: None, lambda line: None)
    for horizon in board.sets[0].horizons:
        assert row_of(horizon, NAIVE).mase_ratio[0] * row_of(horizon, 'flat').mase_of_naive == pytest.approx(1)
