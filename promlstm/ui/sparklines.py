"""The last hours of many entities at once, for small pictures beside a list: one query for all that a server knows, and few where it has no gauges of ours.

Who calls it: /api/v1/history with `of`. What flows through: up to MOST entities; out come a column of a few dozen points for each.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from promlstm.engine import labels
from promlstm.engine.columns import Floats
from promlstm.errors import PromlstmError, QueryRejected
from promlstm.query.prometheus import Matrix, Prometheus
from promlstm.ui import observed, promql
from promlstm.ui.clients import Clients
from promlstm.ui.history import PER_FEATURE
from promlstm.ui.past import column
from promlstm.ui.subject import Subject

MOST = 50  # entities
SPAN_SECONDS, POINTS = 6 * 3600.0, 72
EXPRESSIONS = 3  # that are asked at most, beside the query for our gauges


@dataclass(frozen=True, slots=True)
class Wanted:
    """An entity, and the feature that is drawn."""

    subject: Subject
    feature: str


class Sparklines:
    """The last hours, as the servers of a configuration know them."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def of(self, wanted: Sequence[Wanted], now: float) -> dict[str, Any]:
        """What was observed of some entities, on one grid that ends now; and sentences on what is lacking."""
        resolution = SPAN_SECONDS / POINTS
        end = now // 60 * 60
        times = end - resolution * np.arange(POINTS, -1, -1, dtype=np.float64)
        lines = [np.full(len(times), np.nan) for _ in wanted]
        notes = list[str]()
        sources: dict[str, list[int]] = {}
        for place, each in enumerate(wanted):
            first = next(iter(self._clients.with_gauges(each.subject.config, each.subject.detector)), '')
            sources.setdefault(first, []).append(place)
        for name, places in sources.items():
            if name:
                config = wanted[places[0]].subject.config
                notes += _filled([wanted[place] for place in places], [lines[place] for place in places], self._clients.of(config, name), name, times)
        lacking = [place for place, line in enumerate(lines) if not np.isfinite(line[: POINTS // 3]).any()]  # our gauges may be younger than the series
        if not notes:
            notes += self._by_expression([wanted[place] for place in lacking], [lines[place] for place in lacking], times)
        return {
            'start': float(times[0]), 'end': end, 'resolution_seconds': resolution, 'notes': notes,
            'series': [
                {'detector': each.subject.detector.name, 'entity': labels.selector(each.subject.entity), 'feature': each.feature, 'observed': column(line)}
                for each, line in zip(wanted, lines, strict=True)
            ],
        }  # fmt: skip

    def _by_expression(self, wanted: Sequence[Wanted], lines: Sequence[Floats], times: Floats) -> list[str]:
        groups: dict[tuple[str, str], list[int]] = {}
        for place, each in enumerate(wanted):
            groups.setdefault((each.subject.detector.name, each.feature), []).append(place)
        for (_, feature), places in list(groups.items())[:EXPRESSIONS]:
            subject = wanted[places[0]].subject
            name = subject.config.source_name(subject.detector)
            api = self._clients.of(subject.config, name)
            if api.dialect.windowed or observed.spread(subject, len(times)) != 1:
                continue
            entities = [wanted[place].subject.entity for place in places]
            text = subject.detector.queries[feature]
            exprs = [promql.restricted_to(text, entities, subject.others)]
            pairs = [(*entity, *((other, '') for other in sorted(set(subject.others) - dict(entity).keys()))) for entity in entities]
            if promql.is_selector(text) and text.strip().isidentifier():
                exprs.append(promql.selector_of_any(text.strip(), pairs))
            try:
                drawn = [np.full(len(times), np.nan) for _ in places]
                _place(_asked(api, exprs, times, len(places)), pairs, drawn)
            except PromlstmError as error:
                return [observed.unanswered(name, subject.config, error)]
            for place, line in zip(places, drawn, strict=True):
                lines[place][:] = np.where(np.isnan(lines[place]), line, lines[place])
        return []


def _filled(wanted: Sequence[Wanted], lines: Sequence[Floats], api: Prometheus, name: str, times: Floats) -> list[str]:
    """Fill lines with our gauges, by one query."""
    pairs = [(*each.subject.matchers, ('feature', each.feature)) if each.feature else each.subject.matchers for each in wanted]
    family, distinct = PER_FEATURE['observed'], list(dict.fromkeys(pairs))
    exprs = [' or '.join(promql.gauges([family], of) for of in distinct), promql.selector_of_any(family, distinct)]
    try:
        _place(_asked(api, exprs, times, 2 * len(pairs)), pairs, lines)
    except PromlstmError as error:
        return [observed.unanswered(name, wanted[0].subject.config, error)]
    return []


def _asked(api: Prometheus, exprs: Sequence[str], times: Floats, series: int) -> list[Matrix]:
    """The answer to the first of several ways to ask that the server understands."""
    for place, expr in enumerate(exprs):
        try:
            return list(api.range(expr, float(times[0]), float(times[-1]), float(times[1] - times[0]), series))
        except QueryRejected:
            if place == len(exprs) - 1:
                raise
    return []


def _place(matrices: Iterable[Matrix], pairs: Sequence[Sequence[tuple[str, str]]], lines: Sequence[Floats]) -> None:
    """Put each series into the line of the entity whose labels it has; of several replicas the highest counts."""
    row = 0
    for matrix in matrices:
        rows = slice(row, row + len(matrix.times))
        for key, values in zip(matrix.keys, matrix.values.T, strict=True):
            metric = labels.decoded(key)
            for of, line in zip(pairs, lines, strict=True):
                if all(metric.get(name, '') == value for name, value in of):
                    line[rows] = np.fmax(line[rows], values)
        row = rows.stop
