"""Healthy shops around a start: smooth slopes of an hour in the morning and in the evening, on every day.

`make accept` starts at six hours of the day and looks at the day after each, `make test` starts in a slope and looks until after the next one.

A start in the midst of a slope knows half of it. The shipped model at the default budget of one alarm per entity-week.
"""

from dataclasses import replace

import numpy as np
import pytest
from fakes import Samples, raw, stepped
from requirements import is_accept

from promlstm import config as configuration
from promlstm.engine import advance, detector, memory
from promlstm.engine import session as sessions
from promlstm.engine.columns import Frame

pytestmark = pytest.mark.slow  # days of a model are replayed

MIDNIGHT, HOUR, DAY = 1_760_313_600, 3600, 86400  # a Monday in UTC
SHOPS = 12
LOOKED_AT = DAY if is_accept() else 12 * HOUR
(CONFIG,) = configuration.parse("{prometheus: {url: 'http://localhost:9090'}, detectors: [{name: d, expr: x, delay: 0s}]}").detectors


@pytest.fixture(scope='module')
def session():
    return sessions.load(sessions.resolve('builtin:default'), threads=1, prove=False)


def shop(number, time):
    """Open from eight to six, with a noise of 1 % that depends on the minute alone."""
    hour = time % DAY / HOUR - 0.05 * number
    opened = np.clip(hour - 7.5, 0, 1) - np.clip(hour - 17.5, 0, 1)
    return (20 + 200 * opened) * (1 + 0.01 * np.random.default_rng([number, int(time)]).normal())


@pytest.mark.parametrize('hour', (2, 6, 8, 12, 16, 18) if is_accept() else (8,))
def test_a_start_is_as_good_as_none(session, hour):
    """Of twelve entities one alarms in the first day at most, where its budget has 1.7. The present is reached with all that a start reads."""
    samples = Samples({raw(shop=str(n)): lambda time, n=n: shop(n, time) for n in range(SHOPS)})
    subject, start = detector.Detector(CONFIG, session, samples), MIDNIGHT + 7 * DAY + hour * HOUR
    for _ in subject.warm(lambda: start):
        pass
    alarms = 0
    for time in range(start + 60, start + LOOKED_AT, 60):
        verdicts, _ = stepped(subject, time)
        alarms += np.count_nonzero(verdicts.since == time)
    assert alarms <= 1


@pytest.mark.accept
def test_a_rhythm_is_normal_from_its_third_day_on(session):
    """Without any history, and on the day on which the seasonal memory turns from yesterday to the week before too."""
    begins, end = MIDNIGHT + 18 * HOUR, MIDNIGHT + 10 * DAY
    settings = replace(advance.Settings.of(CONFIG), alarms_per_week=1.0)
    times = range(begins, end, 60)
    frames = (Frame(float(time), np.array([[shop(n, time)] for n in range(SHOPS)])) for time in times)
    begun = []
    for verdicts, _ in advance.replay(session, settings, memory.blank(session, settings.zone, SHOPS, 1), frames):
        begun += [verdicts.time] * np.count_nonzero(verdicts.since == verdicts.time)
    later = [time for time in begun if time >= begins + 2 * DAY]
    assert begun and len(later) <= 1, [(time - MIDNIGHT) / DAY for time in later]
