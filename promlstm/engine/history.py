"""The past of a detector's entities, in blocks: what a warm start, a catch-up and a backtest replay.

Who calls it: detector. What flows through: expressions and a span of time; out come frames on the detector's own grid, each evaluated at
the aligned step minus the delay, as the live query is. It gives the entities it meets their rows, and changes no other memory.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from promlstm.engine.columns import Frame
from promlstm.engine.entities import Entities
from promlstm.engine.interfaces import DetectorConfig, Matrix, Source


def aligned(time: float, step: float) -> float:
    """The last aligned step at or before an instant, unix seconds.

    >>> aligned(125.0, 60.0)
    120.0
    """
    return math.floor(time / step + 1e-9) * step


def frames(
    source: Source,
    config: DetectorConfig,
    entities: Entities,
    start: float,
    end: float,
    *,
    step: float | None = None,
    rows: int | None = None,
    warn: Callable[[Sequence[str]], object] = lambda warnings: None,
    note: Callable[[Sequence[Matrix]], object] = lambda answers: None,
) -> Iterator[tuple[Frame, int]]:
    """Frames of the steps from start to end (aligned, both included), in time order.

    source    Prometheus, or anything with its `range`; on whatever grid the server answers, the Matrix is on the one that was asked for
    entities  the table: gains those that are met; a frame has a row for each known until then
    step      seconds between frames; None = the detector's own
    rows      how many series to expect, which decides the size of a request; None = those known
    warn      called with the warnings of the answers to the queries of a span
    note      called with the answers themselves, one Matrix per query
    yields    (Frame, number of ±Inf samples in it); a span without any series yields frames of NaN
    """
    step = step or config.step
    expected = rows if rows is not None else len(entities)
    spans = [source.range(expr, start - config.delay, end - config.delay, step, expected) for expr in config.queries.values()]
    for matrices in zip(*spans, strict=True):
        warn([text for matrix in matrices for text in matrix.warnings])
        note(matrices)
        placement = entities.place([matrix.keys for matrix in matrices])
        entities.commit(placement, start)
        block = np.full((len(matrices[0].times), len(entities), entities.features), np.nan)
        for feature, (matrix, where) in enumerate(zip(matrices, placement.rows, strict=True)):
            block[:, where[where >= 0], feature] = matrix.values[:, where >= 0]
        infinite = np.isinf(block).sum((1, 2))
        block[np.isinf(block)] = np.nan
        times = matrices[0].times + config.delay
        partial = any(matrix.partial for matrix in matrices)
        for time, values, count in zip(times, block, infinite, strict=True):
            yield Frame(float(time), values, partial), int(count)
