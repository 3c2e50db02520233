"""Our own gauges in the demo's source, as a Prometheus has them that scrapes promlstm: what a step showed, until it is stale.

Who calls it: exporter (observe, after each step), source (select, for queries). What flows through: verdicts; out come series of the gauges that the page of an
entity asks for.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from promlstm.engine import labels
from promlstm.engine.columns import Bools, Floats, Verdicts
from promlstm.engine.detector import Detector
from promlstm.query.selector import Matcher, matches
from promlstm.serve.exposition import OURS
from promlstm.ui.history import MISSING, PER_FEATURE, SCORE, VIEW

KEPT = 6_000  # steps of a detector: a day at 15 seconds
STALE_STEPS = 2.0
_OF_FAMILIES = ('__name__', 'feature', 'view')

Series = tuple[dict[str, str], Floats]  # labels, and values float64 [T]


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    verdicts: Verdicts
    missing: Bools


class Scraped:
    """What the steps of a demo showed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: dict[str, deque[_Step]] = {}
        self._detectors: dict[str, Detector] = {}

    def observe(self, detector: Detector, verdicts: Verdicts, missing: Bools) -> None:
        """Take in a step that is on /metrics."""
        name = detector.config.name
        with self._lock:
            self._detectors[name] = detector
            self._steps.setdefault(name, deque(maxlen=KEPT)).append(_Step(verdicts, missing))

    def select(self, matchers: Sequence[Matcher], times: Floats) -> list[Series]:
        """The series that meet all matchers, at some instants in order; NaN = none."""
        if not any(matcher.label == '__name__' and matcher(family) for matcher in matchers for family in (*PER_FEATURE.values(), SCORE, MISSING, VIEW)):
            return []
        of_entity = [matcher for matcher in matchers if matcher.label not in _OF_FAMILIES]
        with self._lock:
            known = [(detector, list(self._steps[name])) for name, detector in self._detectors.items()]
        found: list[Series] = []
        for detector, steps in known:
            instants = np.array([each.verdicts.time for each in steps])
            places = np.searchsorted(instants, times, 'right') - 1
            fresh = (places >= 0) & (times - instants[places] < STALE_STEPS * detector.config.step)
            used, at = np.unique(places[fresh], return_inverse=True)
            shown = [steps[place] for place in used.tolist()]
            for row, identity in enumerate(detector.entities.identities):
                entity = {'detector': detector.config.name, **dict(labels.exported(labels.pairs(identity), OURS))}
                if shown and matches(of_entity, entity):
                    for own, column in _families(detector, shown, row):
                        if matches(matchers, {**entity, **own}):
                            values = np.full(len(times), np.nan)
                            values[fresh] = column[at]
                            found.append(({**entity, **own}, values))
        return found


def _families(detector: Detector, steps: Sequence[_Step], row: int) -> Iterator[Series]:
    """What the steps say of a row, as exposition renders it: labels beside those of the entity, and values float64 [steps]."""
    score = np.array([each.verdicts.score[row] if row < len(each.verdicts.score) else np.nan for each in steps], np.float64)
    yield {'__name__': SCORE}, score
    yield {'__name__': MISSING}, np.array([1.0 if row < len(each.missing) and each.missing[row] else np.nan for each in steps])
    several = len(detector.config.queries) > 1
    for family, column in ((family, column) for column, family in PER_FEATURE.items() if several or column != 'contribution'):
        for place, name in enumerate(detector.config.queries):
            values = _column(steps, column, row, place)
            yield {'__name__': family, **({'feature': name} if several else {})}, values if column == 'observed' else np.where(np.isnan(score), np.nan, values)
    for place, name in enumerate(detector.session.bundle.manifest.views):
        yield {'__name__': VIEW, 'view': name}, np.where(score >= 1, _column(steps, 'view', row, place), np.nan)


def _column(steps: Sequence[_Step], name: str, row: int, place: int) -> Floats:
    columns = [getattr(each.verdicts, name) for each in steps]
    return np.array([column[row, place] if row < len(column) else np.nan for column in columns], np.float64)
