"""What was observed of an entity, by the expression of its detector: where no Prometheus has our own gauges of it.

Who calls it: history. What flows through: a Past whose gaps are filled; out come sentences on what is shown. An expression that is no selector is evaluated
for all entities before one of them is picked, so of many entities fewer points are asked for.
"""

import numpy as np

from promlstm.config import Config
from promlstm.engine.columns import Floats, Ints
from promlstm.errors import PromlstmError
from promlstm.query.prometheus import Matrix, Prometheus
from promlstm.ui import promql
from promlstm.ui.past import Past
from promlstm.ui.subject import Subject
from promlstm.ui.window import Window

EVALUATED = 4_000_000  # samples that an expression may be evaluated to for one picture
LEAST_POINTS = 30  # with fewer a picture says nothing
WAY = 'To see score, band and expected value, let this Prometheus scrape promlstm with honor_labels: true.'


def fill(past: Past, api: Prometheus, name: str, subject: Subject, window: Window, since: float) -> list[str]:
    """Fill in what was observed before an instant, unix seconds or inf; what is to be said of it. What is as usual becomes a remark of the past.

    name  of the source
    """
    if api.dialect.windowed:
        return [f'{name} is a log source and keeps no history of an entity. Let a Prometheus scrape promlstm, and add that Prometheus under sources.']
    apart = spread(subject, window.points)
    if apart is None:
        return [f'The expression of this detector returns {subject.entities} series, too many to query their history. {WAY}']
    filled, scored = False, since < np.inf
    for feature in past.features:
        expr = promql.restricted(subject.detector.queries[feature.name], subject.entity, subject.others)
        try:
            matrices = list(api.range(expr, window.start, min(window.end, since), window.resolution * apart, 1))
        except PromlstmError as error:
            return [unanswered(name, subject.config, error)]
        for matrix in matrices:
            rows = np.rint((matrix.times - window.start) / window.resolution).astype(np.int64)
            values = highest(matrix)
            filled |= bool(np.isfinite(values).any())
            feature.fill(*_between(rows, np.nan_to_num(values) if subject.detector.absent == 'zero' else values, apart))
    if not scored:
        past.origin = 'expression' if filled else 'none'
    if not filled:
        return [] if scored else [f'{called(name, subject.config)} has no samples of this entity in this range. Choose another range.']
    thinned = f' Only one point in {apart} is queried, because the expression returns {subject.entities} series.' if apart > 1 else ''
    if scored:
        past.remarks.append(f'The gauges of promlstm in {name} begin within this range; before, only observed values are known.{thinned}')
        return []
    lacking = f'Only observed values are shown: {called(name, subject.config)} has no gauges of promlstm for this entity and range'
    if subject.new:
        past.remarks.append(f'{lacking} yet. It has them once it has scraped promlstm a few times.{thinned}')
        return []
    return [f'{lacking}. {WAY}{thinned}']


def spread(subject: Subject, points: int) -> int | None:
    """How many points of a picture one that is asked for stands for; None = it would be too costly.

    points  of the picture
    """
    if all(map(promql.is_selector, subject.detector.queries.values())):
        return 1
    affordable = min(points, EVALUATED // max(1, subject.entities))
    return -(-points // affordable) if affordable >= min(points, LEAST_POINTS) else None


def highest(matrix: Matrix) -> Floats:
    """float64 [T]: the highest of all series; NaN = none."""
    return np.asarray(np.fmax.reduce(matrix.values, axis=1), np.float64) if matrix.keys else np.full(len(matrix.times), np.nan)


def _between(rows: Ints, values: Floats, apart: int) -> tuple[Ints, Floats]:
    """The points between those that were asked for, on a straight line from one to the next."""
    if apart == 1 or not len(rows):
        return rows, values
    every = np.arange(rows[0], rows[-1] + 1)
    return every, np.interp(every, rows, values)


def called(name: str, config: Config) -> str:
    """A source by its name and its URL, which holds no secrets: the configuration takes none with a password or a query."""
    return f'{name} ({config.named_sources[name].url})'


def unanswered(name: str, config: Config, error: PromlstmError) -> str:
    """What is said where a server does not answer; most errors begin with its URL."""
    named = name if config.named_sources[name].url.rstrip('/') in str(error) else called(name, config)
    return f'{named} did not answer, so history cannot be shown: {error}. Try again when it answers.'
