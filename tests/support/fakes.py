"""A source of samples at the seam that detectors know: `instant` and `range`, over functions of time."""

import numpy as np

from promlstm.query.prometheus import Matrix, Vector
from promlstm.serve import exposition


class Samples:
    """series: {raw label bytes: function of unix seconds}; a function gives NaN where the series has no sample."""

    def __init__(self, series):
        self.series = series
        self.asked = []  # (first, last) of every range that was asked for

    def instant(self, expr, time):
        """As Prometheus.instant."""
        values = {raw: float(function(time)) for raw, function in self.series.items()}
        here = {raw: value for raw, value in values.items() if value == value}
        return Vector(list(here), np.array(list(here.values()), np.float64))

    def range(self, expr, start, end, step, series=1):
        """As Prometheus.range, in pieces of 100 steps."""
        self.asked.append((start, end))
        times = start + step * np.arange(round((end - start) / step) + 1)
        for first in range(0, len(times), 100):
            part = times[first : first + 100]
            columns = {raw: np.array([float(function(time)) for time in part]) for raw, function in self.series.items()}
            met = {raw: column for raw, column in columns.items() if not np.isnan(column).all()}
            yield Matrix(part, list(met), np.array(list(met.values())).T.reshape(len(part), len(met)))


def noisy(seed, level=10.0, *, born=-np.inf, gone=np.inf, struck=lambda time: 0.0):
    """A function of time for Samples: level, noise that depends on the instant alone, a span of life, something added."""

    def value(time):
        if not born <= time < gone:
            return np.nan
        return level + np.random.default_rng([seed, round(time)]).normal() + struck(time)

    return value


def raw(**labels):
    """Raw label bytes, sorted as Prometheus has them."""
    return ('{' + ','.join(f'"{name}":"{value}"' for name, value in sorted(labels.items())) + '}').encode()


def stepped(subject, time):
    """One live step of a Detector as a runner makes it: judge, render, commit; (Verdicts, {family: text})."""
    step = subject.step(time)
    text = exposition.Labels(subject.config.name, tuple(subject.config.queries), subject.session.bundle.manifest.views)
    with subject.in_stage('render'):
        blocks = exposition.render(step.verdicts, text.of(step.identities), missing=step.missing)
    subject.commit(step)
    return step.verdicts, {family: b''.join(block) for family, block in blocks.items()}
