"""Healthy entities on hosts, and the alerts of the shipped rules."""

import numpy as np

from convert.evaluation import healthy
from convert.evaluation.alerts import Alarm
from convert.evaluation.shapes import DAY, SHAPES


def minutes(row, first, count):
    return Alarm(row, 60.0 * first, [60.0 * (first + k) for k in range(count)])


def test_entities_of_a_shape_are_never_on_one_host():
    """All entities of one shape at once, whoever is beside whom: nobody agrees with them."""
    warnings, pages = healthy.told([minutes(row, 100, 10) for row in range(4)], 4, 60.0, 0, np.random.default_rng(1))
    assert (warnings, pages) == (4, 0)


def test_pages_are_the_mean_over_who_is_beside_whom():
    """Two entities of two shapes meet on a host with a chance of 3 in 31 that the shapes are of one kind, and one in three that they are the two."""
    warnings, pages = healthy.told([minutes(0, 100, 10), minutes(3, 102, 10)], 3, 60.0, 0, np.random.default_rng(1))
    assert warnings == 2 and 0 < pages < 0.2


def test_what_began_before_it_counts_is_not_counted():
    """The first days, in which a model learns what is normal."""
    alarms = [minutes(0, 100, 10), minutes(0, DAY / 60, 10)]
    assert healthy.told(alarms, 1, 60.0, DAY, np.random.default_rng(1)) == (1, 0)
    assert healthy.told(alarms, 1, 60.0, 0, np.random.default_rng(1)) == (2, 0)


def test_the_text_tells_warnings_and_pages_for_a_thousand_entities():
    shapes = [healthy.Count(name, np.zeros(0)) for name in SHAPES]
    weeks = len(SHAPES) * 4 * 7 / 7
    text = healthy.text(healthy.Counts(shapes, 4, 10, warnings=weeks / 10, pages=weeks / 1000))
    assert text.endswith('With the shipped rules 1000 of these entities, on hosts with 4 detectors each, make 100 warnings and 1.0 pages a week.\n')
