"""The autoscaler of `bench scaling` by hand-computed values: proportion, tolerance, limits, stabilisation, and pods that come late."""

import numpy as np
import pytest

from bench.autoscaler import Rules, run

TARGET = 100
NOW = Rules(startup_seconds=15)         # a pod serves at the next sync


def pods(*loads, rules=NOW, there=None, alive=None):
    """(pods there are, pods that serve) after each sync, of one workload: of one metric, or of several with the same syncs."""
    metrics = np.array(loads if isinstance(loads[0], list) else [list(loads)], float)[..., None]
    found = run(metrics, TARGET, rules, None if alive is None else np.array(alive)[:, None])
    return found.there[:, 0].tolist(), found.ready[:, 0].tolist()


@pytest.mark.parametrize(
    ('load', 'wanted'),
    [
        (549, 5),       # 1.098: within the tolerance
        (550, 5),       # 1.1, not beyond it
        (551, 6),       # ceil(5.51)
        (600.001, 7),   # ceil(6.00001)
        (600, 6),       # ceil(6) is 6
        (450, 5),       # 0.9
        (700.0000001, 7),   # less than a thousandth is nothing to Kubernetes
    ],
)
def test_pods_are_the_proportion_rounded_up_beyond_the_tolerance(load, wanted):
    """From 5 pods: ceil(5 × load / 500)."""
    assert pods(500, load)[0] == [5, wanted]


def test_upwards_at_most_as_many_again_or_four():
    """1 → 5 (four more) → 10 (twice) → 20 → 40 → 50."""
    assert pods(100, 5000, 5000, 5000, 5000, 5000)[0] == [1, 5, 10, 20, 40, 50]


def test_downwards_to_the_most_that_was_wanted_in_five_minutes():
    """10 pods are wanted until sync 1; at 15 s a sync, 300 s are 20 syncs: from sync 21 on the window holds the wishes of syncs 2 to 21 only."""
    loads = [1000, 1000] + [300] * 5 + [600] * 25 + [300] * 30
    there = pods(*loads)[0]
    assert there[:21] == [10] * 21              # 10 was wanted at sync 1, up to 285 s before sync 20
    assert there[21:51] == [6] * 30             # 6 from sync 7 on, the last time at sync 31: in the window until sync 50
    assert there[51:] == [3] * (len(loads) - 51)


def test_a_dip_of_less_than_the_window_takes_nothing_away():
    """19 syncs of no load."""
    assert set(pods(*[1000] * 3, *[0] * 19, *[1000] * 3)[0]) == {10}


def test_between_the_least_and_the_most():
    """Whatever is wanted."""
    rules = Rules(startup_seconds=15, least=2, most=7, down_seconds=15)
    assert pods(500, 5000, 0, 0, rules=rules)[0] == [5, 7, 2, 2]


def test_pods_serve_after_their_start():
    """Ordered at sync 1, with 60 s to start: they serve at sync 5, of four syncs each."""
    there, ready = pods(200, *[400] * 6, rules=Rules(startup_seconds=60))
    assert there == [2, 4, 4, 4, 4, 4, 4]
    assert ready == [2, 2, 2, 2, 2, 4, 4]


def test_a_start_that_is_no_whole_number_of_syncs_ends_at_the_next():
    """50 s are four syncs."""
    assert pods(200, *[400] * 5, rules=Rules(startup_seconds=50))[1] == [2, 2, 2, 2, 2, 4]


def test_the_newest_are_taken_away_first():
    """Those that do not serve yet: 2 serve throughout, 4 are ordered at sync 1 and 2 at sync 2, of which 3 go at sync 3."""
    rules = Rules(startup_seconds=60, down_seconds=15)
    there, ready = pods(200, 600, 800, 500, 500, 500, 500, rules=rules)
    assert there == [2, 6, 8, 5, 5, 5, 5]
    assert ready == [2, 2, 2, 2, 2, 5, 5]       # the 3 that are left of the 4


def test_those_that_serve_go_last():
    """All that start are gone, and one more."""
    there, ready = pods(300, 500, 200, 200, rules=Rules(startup_seconds=60, down_seconds=15))
    assert (there, ready) == ([3, 5, 2, 2], [3, 3, 2, 2])


def test_of_several_metrics_the_most_counts():
    """The load is the floor of a forecast, and the other way round."""
    assert pods([300, 300, 900], [300, 600, 300])[0] == [3, 6, 9]


def test_a_metric_without_a_value_takes_nothing_away():
    """It may be that one that asks for the most; upwards the others count, and with none of them all stays as it is."""
    nan, rules = np.nan, Rules(startup_seconds=15, down_seconds=15)
    assert pods([500, 200, 200, 900], [500, nan, 200, nan], rules=rules)[0] == [5, 5, 2, 6]
    assert pods([500, nan, nan], [500, nan, nan], rules=rules)[0] == [5, 5, 5]


def test_a_workload_begins_with_what_it_needs_and_ends():
    """Before and after it there are no pods, and what was before does not count."""
    there, ready = pods(900, 900, 300, 300, 300, 900, alive=[False, False, True, True, True, False])
    assert there == [0, 0, 3, 3, 3, 0] and ready == [0, 0, 3, 3, 3, 0]


def test_workloads_do_not_touch_each_other():
    """Two together are as each alone."""
    rng = np.random.default_rng(1)
    loads = rng.uniform(0, 3000, (1, 200, 6))
    rules = Rules(startup_seconds=95)
    together = run(loads, TARGET, rules)
    for n in range(6):
        alone = run(loads[..., [n]], TARGET, rules)
        assert (together.there[:, n] == alone.there[:, 0]).all() and (together.ready[:, n] == alone.ready[:, 0]).all()
    assert (together.ready >= 0).all() and (together.ready <= together.there).all()
