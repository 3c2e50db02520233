"""How large a detector makes the page, for `check-config`: some of its entities are rendered as a step would render them.

Who calls it: check. What flows through: a detector of the configuration and the label sets of its entities; out come bytes, a warning, and
how many entities fit where a scraper takes less.
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
VMAGENT_BYTES = 16 * 2**20  # the default of its -promscrape.maxScrapeSize; Prometheus has no limit unless body_size_limit is set
NEAR = 4  # of a page of less than one such part of it nothing is said
LARGE_BYTES = 100_000_000  # what a scrape of a second or two can bring, and Prometheus parse, beside others
NUMBER = 1234.5678901234567  # has as many digits as numbers have


def size_bytes(config: Detector, identities: Sequence[bytes], views: tuple[str, ...] = ()) -> int:
    """Text of a step at which no entity is anomalous, before compression; identities as labels.identity gives them."""
    return of_entities(config, entity_bytes(config, identities, views), len(identities))


def of_entities(config: Detector, entity_bytes: float, entities: int) -> int:
    """The same of so many entities, or of as many of them as are exported."""
    return round(entity_bytes * min(entities, config.max_exported))


def entity_bytes(config: Detector, identities: Sequence[bytes], views: tuple[str, ...] = ()) -> float:
    """The mean of an entity that is exported; 0 where there is none."""
    some = list(identities[:: max(1, len(identities) // SAMPLED)])
    if not some:
        return 0.0
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
    return sum(len(piece) for block in blocks.values() for piece in block) / rows


def smaller(config: Detector) -> Detector:
    """The detector with less on the page, and all of its alarms: as it is, where that is set already."""
    return msgspec.structs.replace(config, export='anomalous') if config.export == 'all' else config


def warnings(config: Detector, identities: Sequence[bytes], pages: Sequence[int]) -> list[str]:
    """What to choose where a detector makes a large page: list of sentences.

    pages  bytes of the detector on the page of each shard that has a part of it; one number where it is not divided
    """
    if (size := max(pages, default=0)) <= LARGE_BYTES:
        return []
    share = size / sum(pages)
    where = f' of shard {pages.index(size)}' if len(pages) > 1 else ''
    said = f'its gauges{where} are {terminal.quantity(size, "size_bytes")} of text at each step (compressed about a seventh of it)'
    if config.export == 'all':
        less = share * size_bytes(smaller(config), identities)
        said += f': set export: anomalous, with which they are {terminal.quantity(less, "size_bytes")}, aggregate the expression'
    else:
        said += ': aggregate the expression'
    return [said + f', or divide the detector among {"more" if len(pages) > 1 else "several"} exporters']


def fits(page_bytes: int, entities: int, smaller_bytes: int) -> list[str]:
    """How many entities a scraper takes that has a limit unless told otherwise, as vmagent: list of lines, none of a page that is far below it.

    page_bytes     of the largest page that a process would have
    entities       that are on it
    smaller_bytes  of the same page where each detector has `export: anomalous`

    >>> fits(20 * 2**20, 20_000, 3 * 2**20)[0].partition(': ')[2]
    'vmagent refuses one of more than 16 MiB, about 16000 such entities: set max_scrape_size in its scrape config, or export: anomalous (3 MiB)'
    >>> fits(8 * 2**20, 8_000, 2**20)
    ['page of 8 MiB: vmagent refuses one of more than 16 MiB, about 16000 such entities, unless max_scrape_size in its scrape config allows more']
    >>> fits(2**20, 1000, 2**17)
    []
    """
    if page_bytes * NEAR < VMAGENT_BYTES:
        return []
    page, limit, less = (terminal.quantity(size, 'size_bytes') for size in (page_bytes, VMAGENT_BYTES, smaller_bytes))
    said = f'page of {page}: vmagent refuses one of more than {limit}, about {entities * VMAGENT_BYTES // page_bytes} such entities'
    if page_bytes <= VMAGENT_BYTES:
        return [f'{said}, unless max_scrape_size in its scrape config allows more']
    return [f'{said}: set max_scrape_size in its scrape config' + (f', or export: anomalous ({less})' if smaller_bytes < page_bytes else '')]
