"""A detector of any number of entities that have scores, one in a thousand of them anomalous: what a step is measured with.

Some entities are warmed up from history by the code that serves. The others get a copy of their memory, so that a million take no longer; from
then on each has samples of its own.
"""

import numpy as np

from bench import answers
from promlstm.engine.advance import advance
from promlstm.engine.columns import Frame
from promlstm.engine.detector import Detector
from promlstm.query.prometheus import POINTS_PER_ANSWER, Matrix, Vector

NOW = 1_750_000_200.0


class Past:
    """The history of the first entities of the fleet of answers.py, with the interface of Prometheus (instant, range)."""

    def __init__(self, entities):
        self._keys = answers.keys(entities)

    def instant(self, expr, time):
        """As Prometheus.instant."""
        return Vector(self._keys, answers.samples(len(self._keys), time))

    def range(self, expr, start, end, step, series=1):
        """As Prometheus.range."""
        steps, at_once = round((end - start) / step) + 1, max(1, POINTS_PER_ANSWER // series)
        for first in range(0, steps, at_once):
            times = start + step * np.arange(first, min(first + at_once, steps))
            yield Matrix(times, self._keys, np.stack([answers.samples(len(self._keys), time) for time in times]))


def memory(config, session):
    """(Memory of the first entities of the fleet, which have two days of history; unix seconds of its last step), for `detector`."""
    warm = Detector(config, session, Past(answers.DISTINCT))
    for _ in warm.warm(lambda: NOW):
        pass
    return warm.memory, warm.time


def detector(config, session, source, entities, remembered, **keys):
    """(Detector of a number of entities of the fleet, unix seconds of its next step).

    source      has the samples of answers.py
    remembered  what `memory` gave
    keys        as those of Detector
    """
    part, time = remembered
    subject = Detector(config, session, Past(entities), **keys)
    subject.commit(subject.step(time))
    subject.memory, subject.source = part.take(np.arange(entities) % len(part)), source
    return subject, time + config.step


def replayed(session, remembered, entities):
    """A function that judges a step of a number of entities as a replay does, and returns verdicts and memory without a change."""
    part, time = remembered
    subject = Detector(answers.config('http://localhost').detectors[0], session, None)
    at = time + subject.config.step
    frame, memory = Frame(at, answers.samples(entities, at)[:, None]), part.take(np.arange(entities) % len(part))
    return lambda: advance(session, subject.settings(entities), memory, frame)
