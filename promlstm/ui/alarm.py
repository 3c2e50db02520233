"""An alarm of the past, as pages and JSON have it. Pure.

Who calls it: comparison, backtest_report. What flows through: what a replay found; out come plain values, None where there is no number.
"""

import math

import msgspec

from promlstm.backtest import Anomaly, main_feature


class Alarm(msgspec.Struct, frozen=True):
    """An alarm of an entity. Times are unix seconds; None = there is no such value.

    feature  that contributed most at the peak; '' where the detector has one only
    """

    entity: str
    start: float
    end: float
    peak_time: float
    peak_score: float
    feature: str
    observed: float | None
    expected: float | None


def alarm(found: Anomaly) -> Alarm:
    """The alarm, with the values of its main feature."""
    feature = main_feature(found)
    observed, expected = (value if math.isfinite(value) else None for value in (found.observed[feature], found.expected[feature]))
    return Alarm(found.entity, found.start, found.end, found.peak_time, found.peak_score, feature, observed, expected)
