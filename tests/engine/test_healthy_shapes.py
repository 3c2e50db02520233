"""False alarms of `builtin:default` on healthy metrics of many shapes, as the budget counts them: `python -m convert healthy builtin:default`.

`make test` replays a few entities of each shape for four days, `make accept` more of them for a month.
"""

import numpy as np
import pytest
from requirements import is_accept

from convert.evaluation import healthy
from convert.evaluation.shapes import SHAPES
from promlstm.engine.session import load, resolve

pytestmark = pytest.mark.slow  # days of a model are replayed

DAYS, ENTITIES = (30, 12) if is_accept() else (4, 3)
MOST = 1.5      # false alarms of an entity in a week, once it is known


@pytest.fixture(scope='module')
def counts():
    return healthy.count(load(resolve('builtin:default'), threads=1, prove=False), days=DAYS, entities=ENTITIES, seed=7)


@pytest.mark.parametrize('shape', SHAPES)
def test_a_healthy_shape_keeps_the_budget_once_it_is_known(counts, shape):
    """Within two standard deviations of a Poisson count."""
    (mine,) = [each for each in counts.shapes if each.name == shape]
    most = MOST * counts.weeks(healthy.KNOWN)
    assert counts.a_week(mine, healthy.KNOWN) * counts.weeks(healthy.KNOWN) <= most + 2 * np.sqrt(most), np.floor(mine.starts / healthy.DAY)


def mean(counts, first, last=None):
    return np.mean([counts.a_week(each, first, last) for each in counts.shapes])


def test_all_shapes_together_keep_the_budget(counts):
    """One a week, each shape counting alike; and after a start no more than later, within chance."""
    assert mean(counts, healthy.KNOWN) < 1
    assert mean(counts, *healthy.STARTED) < 1.5


def test_a_series_without_any_history_makes_no_flood(counts):
    """In its first two days an event that came twice is ordinary."""
    assert mean(counts, *healthy.NEW) < 3
    assert max(counts.a_week(each, *healthy.NEW) for each in counts.shapes) < 30


def test_the_table_has_a_line_for_each_shape_and_counts_alerts(counts):
    lines = healthy.text(counts).splitlines()
    assert [line[: len(name)] for line, name in zip(lines[1:], SHAPES, strict=False)] == list(SHAPES)
    assert 'warnings and' in lines[-1] and lines[-1].endswith(' pages a week.')
