"""`bench scaling`: shortage and pod-hours by hand, what forecasts may see, and the command on the shop and on a folder."""

import numpy as np
import pytest

from bench import __main__ as bench
from bench import scaling, traffic
from bench.scaling import MORE, ORACLE, REACTIVE, Result, Setting, simulated

STEP = 60
# 100 requests/s, which 20 pods serve, so one serves 5; at the 102nd sample of the simulated ones there are 200.
JUMP = np.concatenate([np.full(102, 100.0), np.full(8, 200.0)])
SETTING = Setting(startup_seconds=30, target=0.8, pods=20)


def source(*columns, counted=10):
    """Traffic of columns of samples, of which the last ones are simulated."""
    values = np.stack(columns, axis=1)
    return traffic.Traffic('made', tuple('abc')[: values.shape[1]], STEP * np.arange(len(values), dtype=float), values, counts(values, counted))


def counts(values, many):
    """bool, the shape of values: the last ones."""
    return np.repeat((np.arange(len(values)) >= len(values) - many)[:, None], values.shape[1], axis=1)


def test_shortage_and_pods_by_hand():
    """The load rises 100, 125, 150, 175, 200 from sync 4 to sync 8, and the autoscaler sees it three syncs later.

    It aims at 4 requests/s a pod: 25 pods, and 125/4 = 32, 150/4 = 38, 175/4 = 44, 200/4 = 50 at syncs 8 to 11, which serve two syncs later.
    So 125, 160 and 190 requests/s are served at syncs up to 9, 10 and 11, where 150, 175, 200, 200, 200 and 200 come from sync 6 on.
    """
    found = simulated(source(JUMP), {}, SETTING)[REACTIVE]
    assert found.short_seconds.tolist() == [6 * 15]
    assert found.missed == pytest.approx((25 + 50 + 75 + 75 + 40 + 10) / 5 * 15)
    assert found.load == pytest.approx((5 * 100 + 125 + 150 + 175 + 32 * 200) / 5 * 15)
    assert found.pod_hours == pytest.approx((8 * 25 + 32 + 38 + 44 + 29 * 50) * 15 / 3600)
    assert found.days == pytest.approx(10 / 1440)


def test_more_pods_for_a_lower_target():
    """4 / 1.1 requests/s a pod: 100 need 28 pods, which serve 140."""
    found = simulated(source(JUMP), {}, SETTING)
    assert found[MORE].short_seconds < found[REACTIVE].short_seconds
    assert found[MORE].pod_hours > found[REACTIVE].pod_hours


def test_the_oracle_orders_when_the_pods_will_be_needed():
    """Two syncs of start and one until the next order: 32, 38, 44 and 50 pods at syncs 2 to 5, and it is never short."""
    found = simulated(source(JUMP), {}, SETTING)[ORACLE]
    assert found.short_seconds.tolist() == [0]
    assert found.pod_hours == pytest.approx((2 * 25 + 32 + 38 + 44 + 35 * 50) * 15 / 3600)


def test_a_forecast_counts_where_it_is_more_than_the_load():
    """None at all, or less, is the load; twice the load at once is twice the pods."""
    said = {
        'none': lambda times, values, origins, ahead: np.full((len(origins), values.shape[1], 1, 3), np.nan),
        'infinite': lambda times, values, origins, ahead: np.full((len(origins), values.shape[1], 1, 3), np.inf),
        'little': lambda times, values, origins, ahead: np.zeros((len(origins), values.shape[1], 1, 3)),
        'double': lambda times, values, origins, ahead: 2 * np.repeat(values[origins][..., None, None], 3, axis=3),
    }
    found = simulated(source(np.full(110, 100.0)), said, SETTING)
    for name in ('none', 'infinite', 'little'):
        assert all((a == b).all() for a, b in zip(found[f'{name}, upper'], found[REACTIVE], strict=True)), name
    assert found['double, upper'].pod_hours == pytest.approx(40 * 50 * 15 / 3600)


def test_the_upper_bound_and_the_middle_are_scaled_by_each():
    """150 and 200 where 100 is the load."""

    def forecast(times, values, origins, ahead):
        return values[origins][..., None, None] * np.array([0.5, 1.5, 2])

    found = simulated(source(np.full(110, 100.0)), {'told': forecast}, SETTING)
    assert found['told, middle'].pod_hours == pytest.approx(40 * 38 * 15 / 3600)
    assert found['told, upper'].pod_hours == pytest.approx(40 * 50 * 15 / 3600)


def test_a_forecast_is_made_of_what_was_known():
    """At a sync the newest origin is a sample that is DELAY_SECONDS old; the horizon reaches past the start of a pod."""
    asked = {}

    def forecast(times, values, origins, ahead):
        asked.update(times=times, origins=origins, ahead=ahead, values=values)
        return np.repeat(values[origins][..., None, None], 3, axis=3)

    made = source(JUMP)
    simulated(made, {'asked': forecast}, SETTING)
    clock = scaling.Clock(made, 15)
    assert (made.times[clock.newest(45)] <= clock.times - 45).all()
    assert asked['origins'].tolist() == list(range(99, 110)) and asked['times'] is made.times
    assert asked['ahead'].tolist() == [300]
    assert asked['values'][0] == pytest.approx(100 / 5 * scaling.POD)


def test_the_horizon_is_start_up_and_all_delays_in_whole_minutes():
    """300 + 15 + 45 + 60 s are seven minutes, and with a step of half an hour it is 36."""
    assert scaling.horizon(Setting(startup_seconds=300), 60) == 420
    assert scaling.horizon(Setting(startup_seconds=300), 1800) == 2160


def test_the_load_goes_straight_over_a_gap():
    """One sample is missing: its time is as far as between its neighbours."""
    values = np.array([100.0, 100, np.nan, 200, 200, 200])
    clock = scaling.Clock(source(values, counted=5), 15)
    assert clock.at(values[:, None], 0)[:9, 0].tolist() == [100, 112.5, 125, 137.5, 150, 162.5, 175, 187.5, 200]


def test_days_that_do_not_count_have_no_pods():
    """Two workloads on one clock, of which one ends earlier."""
    values = np.stack([np.full(110, 100.0), np.full(110, 100.0)], axis=1)
    counted = counts(values, 10)
    counted[105:, 1] = False
    made = traffic.Traffic('made', ('a', 'b'), STEP * np.arange(110.0), values, counted)
    found = simulated(made, {}, SETTING)[REACTIVE]
    assert found.pod_hours.tolist() == pytest.approx([40 * 25 * 15 / 3600, 20 * 25 * 15 / 3600])
    assert found.load.tolist() == pytest.approx([40 * 20 * 15, 20 * 20 * 15])


def test_shares_are_of_sums_and_their_intervals_of_workloads():
    """60 of 200 seconds; the interval is that of two workloads drawn again, and none where there is nothing to compare with."""
    ones = np.ones(2)
    ours, theirs = (Result(ones, np.array(short), ones, ones, ones) for short in ([10.0, 50], [100.0, 100]))
    assert scaling.ratio(ours, theirs, 'short_seconds', np.random.default_rng(1)) == pytest.approx((0.3, 0.1, 0.5))
    nothing = Result(ones, np.zeros(2), ones, ones, ones)
    assert np.isnan(scaling.ratio(ours, nothing, 'short_seconds', np.random.default_rng(1))).all()


def daily(days, step=300, noise=0.0):
    """Whole numbers with a daily rhythm, 40 to 160."""
    times = np.arange(round(days * 86400 / step)) * step
    return np.round(100 + 60 * np.sin(2 * np.pi * times / 86400) + noise * np.random.default_rng(1).standard_normal(len(times)))


def with_gaps(values, every):
    """NaN at every so many."""
    values = values.copy()
    values[::every] = np.nan
    return values


RATE = 'api-rate-1'
# (name, values, step): traffic or not
RULE = {
    'counts with a rhythm': ('a', daily(10), 300, True),
    'a rate by its name': (RATE, daily(10) + 0.5, 300, True),
    'named alike': ('strategy', daily(10) + 0.5, 300, False),
    'neither whole nor a rate': ('a', daily(10) + 0.5, 300, False),
    'the same all day': ('a', np.full(2880, 100.0), 300, False),
    'hardly more at noon': ('a', np.round(daily(10) / 8) + 100, 300, False),
    'another each day': ('a', np.repeat(np.random.default_rng(1).integers(10, 200, 240), 12).astype(float), 300, False),
    'below zero': (RATE, daily(10) - 50, 300, False),
    'a few gaps': ('a', with_gaps(daily(10), 30), 300, True),
    'many gaps': ('a', with_gaps(daily(10), 10), 300, False),
    'steps of an hour': ('a', daily(30, 3600), 3600, False),
    'two days': ('a', daily(2), 300, False),
}


@pytest.mark.parametrize('case', RULE)
def test_what_is_traffic(case):
    """By the rule at the top of the module, each part of which decides one case."""
    name, values, step, expected = RULE[case]
    assert traffic.is_traffic(name, values, step) is expected


def write(folder, name, values, step=300, start=1_760_000_100):
    """One file of labelled telemetry."""
    folder.mkdir(parents=True, exist_ok=True)
    values = values[:, None] if values.ndim == 1 else values
    arrays = {'t': start + step * np.arange(len(values)), 'x': values, 'y': np.zeros(len(values), np.uint8), 'split': 1, 'note': ''}
    np.savez(folder / f'{name}.npz', **arrays)


def test_a_set_is_one_clock_on_which_every_series_keeps_its_week(tmp_path):
    """The last days of each are simulated, after seven at least of history; several features, and what is short, are left out."""
    labelled = pytest.importorskip('convert.data.labelled')
    write(tmp_path, 'long', daily(50))
    write(tmp_path, 'late', daily(20), start=1_760_000_100 + 3 * 86400)
    write(tmp_path, 'brief', daily(11))
    write(tmp_path, 'short', daily(9))
    write(tmp_path, 'wide', np.stack([daily(20), daily(20)], axis=1))
    (found,) = traffic.of_recordings('set', labelled.read(tmp_path), 7)
    assert found.names == ('brief', 'late', 'long')
    assert found.counted.sum(0).tolist() == [4 * 288, 7 * 288, 7 * 288]
    starts = {'long': 1_760_000_100 + 15 * 86400, 'late': 1_760_000_100 + 3 * 86400, 'brief': 1_760_000_100}
    for n, name in enumerate(found.names):
        first = np.flatnonzero(~np.isnan(found.values[:, n]))[0]
        assert (found.times[first] - starts[name]) % (7 * 86400) == 0
        assert found.counted[~np.isnan(found.values[:, n]), n][-1]
    assert (np.diff(found.times) == 300).all()


def test_the_shop_is_traffic_for_all_who_are_called():
    """Its simulated days begin on a Monday, after three healthy weeks; what is loud beside it is left out."""
    found = traffic.of_shop(1)
    assert 'frontend' in found.names and not {'reports', 'backup'} & set(found.names)
    assert found.counted[:, 0].sum() == 1440 and (~found.counted[:, 0]).sum() == 21 * 1440
    assert traffic.START % 86400 == 0 and (traffic.START // 86400 + 3) % 7 == 0
    assert all(traffic.is_traffic('service_requests_per_second', column[~found.counted[:, 0]], 60) for column in found.values.T)


@pytest.mark.slow
def test_the_command_prints_each_set_and_all_of_them(tmp_path, capsys):
    """With the folder's traffic beside the shop."""
    pytest.importorskip('convert')
    write(tmp_path / 'set', 'a', daily(10, noise=5))
    assert bench.main(['scaling', '--data', str(tmp_path), '--days', '0.5', '--start-up', '2m', '--window', '30m', '--target', '0.7', '--pods', '10']) == 0
    out = capsys.readouterr().out
    assert 'pods start in 120 s, 10 of them serve the 99th percentile, aimed at 70%' in out
    for head in ('shop: 18 workloads, steps of 60 s, 9 days', 'set: 1 workloads, steps of 300 s', 'all: '):
        assert head in out
    rows = [line.split('  ')[1] for line in out.split('all: ')[1].splitlines()[2:]]
    assert rows == [REACTIVE, MORE, 'predict_linear [30m]', 'seasonal naive, day, middle', 'seasonal naive, day, upper', ORACLE]


@pytest.mark.parametrize(
    ('option', 'told'),
    [
        ('--start-up=0s', 'expected up to 1h, got 0s'),
        ('--start-up=3', "expected a duration such as 30s, 5m or 1h30m, got '3'"),
        ('--target=0', 'expected 0.1 to 1, got 0'),
        ('--target=nan', 'expected 0.1 to 1, got nan'),
        ('--pods=0', 'expected 1 to 1000, got 0'),
        ('--pods=2.5', "invalid int value: '2.5'"),
        ('--days=-1', 'expected 0.1 to 365, got -1'),
    ],
)
def test_options_that_mean_nothing_are_refused(option, told, capsys):
    """Before anything is measured."""
    with pytest.raises(SystemExit):
        bench.main(['scaling', option])
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ('arguments', 'told'),
    [
        (['--model', 'none.onnx'], 'bench: none.onnx: '),
        (['--data', 'none', '--days', '0.1'], 'bench: none: no such folder'),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(arguments, told):
    """Without a traceback: Python prints the text of such an exception, and ends with status 1."""
    with pytest.raises(SystemExit) as end:
        bench.main(['scaling', *arguments])
    assert end.value.code.startswith(told) and '\n' not in end.value.code


