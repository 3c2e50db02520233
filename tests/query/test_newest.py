"""When an expression last returned series, said where it returns none now."""

import numpy as np
import pytest
from fakes import Samples, raw

from promlstm.errors import QueryRejected
from promlstm.query.newest import last_returned

NOW = 1_760_000_000.0


class Rejecting:
    """A source that takes no functions, as some gateways."""

    def range(self, *_):
        raise QueryRejected('unknown function count')


@pytest.mark.parametrize(
    ('until', 'says'),
    [
        (NOW - 3600, 'it last returned series 1h ago'),
        (NOW - 20, 'it last returned series 1m ago'),
        (NOW + 1800, 'it returns series of the next 30m: a clock is ahead, of the server or of what it scrapes'),
        (NOW - 86400, ''),
    ],
)
def test_the_last_instant_with_series_within_six_hours(until, says):
    """To the minute; nothing where there was none."""
    source = Samples({raw(instance='a'): lambda time: 1.0 if time <= until else np.nan})
    assert last_returned(source, 'x', NOW) == says
    assert source.asked == [(NOW - 21600, NOW + 21600)]


@pytest.mark.parametrize(
    ('until', 'says'),
    [
        (NOW, 'all its samples are newer than that: wait, or set a shorter delay'),
        (NOW + 1800, 'it returns series of the next 2h30m: a clock is ahead, of the server or of what it scrapes'),
        (NOW - 10800, 'it last returned series 1h ago'),
    ],
)
def test_samples_that_are_younger_than_the_delay_are_no_matter_of_clocks(until, says):
    """Two hours of delay, on a server that began an hour ago."""
    source = Samples({raw(instance='a'): lambda time: 1.0 if (NOW - 3600 if until >= NOW else 0) <= time <= until else np.nan})
    assert last_returned(source, 'x', NOW, 7200.0) == says


def test_what_cannot_be_asked_is_not_known():
    """The reason is given without it."""
    assert last_returned(Rejecting(), 'x', NOW) == ''
