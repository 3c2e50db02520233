"""How large a detector makes the page, for `check-config`: some of its entities are rendered as a step would render them.

Who calls it: check. What flows through: a detector of the configuration and the label sets of its entities; out come bytes and a warning.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from promlstm import terminal
from promlstm.config import Detector
from promlstm.engine.columns import READY, Verdicts
from promlstm.serve.exposition import Labels, render, render_forecasts
from promlstm.serve.selection import select

SAMPLED = 200  # entities whose text stands for that of all
LARGE_BYTES = 100_000_000  # what a scrape of a second or two can bring, and Prometheus parse, beside others
NUMBER = 1234.5678901234567  # has as many digits as numbers have


def size_bytes(config: Detector, identities: Sequence[bytes], views: tuple[str, ...] = ()) -> int:
    """Text of a step at which no entity is anomalous, before compression; identities as labels.identity gives them."""
    some = list(identities[:: max(1, len(identities) // SAMPLED)])
    if not some:
        return 0
    rows, features = len(some), len(config.queries)
    numbers, of_row = np.full((rows, features), NUMBER), np.full(rows, np.float32(0.5123457))
    nothing = np.full(rows, np.nan)
    verdicts = Verdicts(
        time=0.0, status=np.full(rows, READY, np.int8), score=of_row, surprise=of_row, observed=numbers, expected=numbers, lower=numbers, upper=numbers,
        usual_lower=numbers, usual_upper=numbers, deviation=numbers, contribution=np.full((rows, features), np.float32(0.5123457)),
        view=np.zeros((rows, len(views)), np.float32), since=nothing, recurring=np.zeros(rows, np.float32),
    )  # fmt: skip
    missing = np.zeros(rows, np.bool_)
    text = Labels(config.name, tuple(config.queries), views).of(some)
    blocks = render(verdicts, text, missing=missing, selection=select(config.export, rows, verdicts, missing))
    if config.forecast:
        horizons = [terminal.duration(seconds) for seconds in config.forecast.horizons]
        limit, seconds_to = (np.full(rows, NUMBER), np.full((rows, 2), NUMBER)) if config.forecast.limited else (None, None)
        blocks |= render_forecasts(text, horizons, np.full((rows, features, len(horizons), 3), NUMBER), limit, seconds_to)
    size = sum(len(piece) for block in blocks.values() for piece in block)
    return round(size / rows * min(len(identities), config.max_exported))


def warnings(config: Detector, identities: Sequence[bytes], size: int) -> list[str]:
    """What to choose where a detector makes a large page: list of sentences."""
    if size <= LARGE_BYTES:
        return []
    said = f'its gauges are {terminal.quantity(size, "size_bytes")} of text at each step (compressed about a seventh of it)'
    if config.export == 'all':
        smaller = size_bytes(msgspec.structs.replace(config, export='anomalous'), identities)
        said += f': set export: anomalous, with which they are {terminal.quantity(smaller, "size_bytes")}, aggregate the expression'
    else:
        said += ': aggregate the expression'
    return [said + ', or divide the detector among several exporters']

