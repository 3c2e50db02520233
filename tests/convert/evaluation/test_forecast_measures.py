"""MASE, weighted quantile loss, coverage and their comparison, on numbers that are computed by hand."""

import doctest

import numpy as np
import pytest

from convert.evaluation import forecast_measures
from convert.evaluation.forecast_measures import Losses

EVERYWHERE = np.ones((2, 1, 1), bool)


def test_doctests():
    assert doctest.testmod(forecast_measures).failed == 0


def measured(actual, forecast, scales, counted=EVERYWHERE, least=1):
    """OfSeries of one series at two origins and one horizon."""
    shape = (2, 1, 1)
    found = forecast_measures.losses(
        np.reshape(actual, shape).astype(float), np.reshape(forecast, (*shape, 3)).astype(float), np.reshape(scales, (2, 1)), counted
    )
    return forecast_measures.of_series(found, EVERYWHERE, least)


def test_figures_of_a_series_are_those_of_the_definition():
    """Values 10 and 20; errors 1 and 4 of the middle in scales 2 and 4; the first is within its interval, the second above it.

    Quantile losses: (2·.1·(10-8) + 2·.5·1 + 2·.1·(13-10)) / 3 = 2/3, and (2·.1·(20-12) + 2·.5·4 + 2·.9·(20-18)) / 3 = 9.2/3.
    """
    found = measured([10, 20], [[8, 11, 13], [12, 16, 18]], [2.0, 4.0])
    assert found.mase == pytest.approx([(1 / 2 + 4 / 4) / 2])
    assert found.wql == pytest.approx([(2 / 3 + 9.2 / 3) / 30])
    assert found.coverage == pytest.approx([0.5])


def test_an_end_of_the_interval_is_within_it():
    assert measured([8, 13], [[8, 11, 13]] * 2, [1.0, 1.0]).coverage == [1]


def test_what_does_not_count_changes_nothing():
    """Neither a value that is not counted, nor one without a scale: the series never differed from the day before."""
    counted = np.array([True, False]).reshape(2, 1, 1)
    for found in (
        measured([10, np.nan], [[8, 11, 13], [0, 0, 0]], [2.0, 4.0], counted), measured([10, 1e9], [[8, 11, 13], [0, 0, 0]], [2.0, 0.0])
    ):  # fmt: skip
        assert (found.mase, found.wql, found.coverage) == ([0.5], pytest.approx([2 / 30]), [1])
    assert np.isnan(measured([10, np.nan], [[8, 11, 13]] * 2, [2.0, 4.0], counted, least=2)).all()


def test_the_scale_is_of_the_past_alone_and_passes_over_gaps():
    """A period of two steps: differences 3 and 7; the one with a missing sample is not there."""
    values = np.array([0, 1, 3, np.nan, 10, 1e6])[:, None]
    found = forecast_measures.scale(values, [1, 2, 3, 4], 2)
    assert np.isnan(found[0]) and found[1:, 0].tolist() == [3, 3, 5]


def test_the_geometric_mean_gives_sets_the_same_weight_and_draws_entities_whole():
    """Three series of one entity and none of chance in it; a set of one series weighs as much as one of three."""
    three = (np.log([2.0, 2.0, 2.0]), np.array([7, 7, 7]))
    one = (np.log([0.5, np.nan]), np.array([0, 1]))
    assert forecast_measures.pooled([three, one]) == pytest.approx((1, 1, 1))
    apart = forecast_measures.pooled([(np.log([0.5, 2.0]), np.array([0, 1]))])
    assert apart == pytest.approx((1, 0.5, 2))
    assert forecast_measures.pooled([(np.array([np.nan]), np.array([0]))]) is None


def test_a_difference_of_chance_has_an_interval_around_one_and_a_real_one_has_not():
    rng = np.random.default_rng(0)
    chance, real = (forecast_measures.pooled([(logs, np.arange(50))]) for logs in (rng.normal(0, 0.3, 50), rng.normal(-0.3, 0.3, 50)))
    assert chance.low < 1 < chance.high and real.high < 1 and real.ratio == pytest.approx(np.exp(-0.3), rel=0.15)


def test_losses_have_no_number_where_nothing_is_counted():
    found = forecast_measures.losses(np.ones((1, 1, 1)), np.ones((1, 1, 1, 3)), np.ones((1, 1)), np.zeros((1, 1, 1), bool))
    assert isinstance(found, Losses) and all(np.isnan(each).all() for each in found)


def test_a_ratio_that_is_swapped_is_negated():
    """Also where one or both make no error at all: neither side may gain by how few values a sample has."""
    mine, theirs = np.array([1.0, 0, 3, 0, 1e-9]), np.array([2.0, 2, 0, 0, 5])
    assert forecast_measures.ratios(mine, theirs) == pytest.approx(-forecast_measures.ratios(theirs, mine))
