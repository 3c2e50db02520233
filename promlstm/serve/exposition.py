"""Renders columns as text, one block per family and detector, once per step. Pure.

Who calls it: runner and backtest (render), page (header). What flows through: Verdicts and the cached label text of each entity; the result
is text that is valid in both the Prometheus and the OpenMetrics format (they write gauges alike). There is never an explicit timestamp: a gauge
that is not on the page is stale.

A block is a list of pieces of some hundred lines each. orjson writes the numbers of a piece at once, and one join makes its lines. So what is worked
on stays in the processor's cache: with all lines of a million entities at once it takes four times as long, and the memory for them besides. `lines`
says which there are, and each piece is written when it is asked for, in any thread: a page never holds its whole text, see page.pack.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson

from promlstm.engine import labels as label_sets
from promlstm.engine.columns import Bools, Floats, Floats32, Ints, Verdicts
from promlstm.serve.selection import Selection

# family: (help, labels in addition to `detector` and those of the entity). The page has this order.
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    'promlstm_anomaly_score': ('How anomalous the newest sample is: 0 to 1 normal, 1 and above anomalous at the false-alarm budget.', ()),
    'promlstm_observed': ('The newest sample, in its own unit.', ('feature',)),
    'promlstm_expected': ('The value that was expected before the sample was seen.', ('feature',)),
    'promlstm_expected_lower': ('Lower border of the expected band: below it the score is 1 or more.', ('feature',)),
    'promlstm_expected_upper': ('Upper border of the expected band: above it the score is 1 or more.', ('feature',)),
    'promlstm_usual_lower': ('Lower border of the usual range: 99 % of the healthy samples are between this and promlstm_usual_upper.', ('feature',)),
    'promlstm_usual_upper': ('Upper border of the usual range, see promlstm_usual_lower.', ('feature',)),
    'promlstm_contribution': ('Share of each feature in the surprise, or in the alarm that is held, 0 to 1.', ('feature',)),
    'promlstm_view': ('Share of each view of the model in the surprise, 0 to 1; only for anomalous entities.', ('view',)),
    'promlstm_anomaly_start_timestamp_seconds': ('When the current anomaly of the entity began, unix seconds.', ()),
    'promlstm_recurring': ('1 = the sample is normal only because similar ones came at this time on other days.', ()),
    'promlstm_entity_missing': ('1 = an entity that had samples for a day or more has none now, which is unusual at this time of the day.', ()),
}
# The same of forecasts, where a detector makes them.
FORECASTS: dict[str, tuple[str, tuple[str, ...]]] = {
    'promlstm_forecast': (
        'Forecast of the value one horizon ahead; 80 % of the values should be between lower and upper.', ('feature', 'horizon', 'bound'),
    ),
    'promlstm_forecast_limit': ('The limit that the series must not reach, in its own unit.', ()),
    'promlstm_time_to_limit_seconds': (
        'Seconds until the forecast reaches the limit: 0 = reached, +Inf = not within the longest horizon; by the middle or the pessimistic bound.', ('bound',),
    ),
}  # fmt: skip
# The same of incidents, of all detectors together. Two of them have the labels of an entity, too.
INCIDENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    'promlstm_incident_start_timestamp_seconds': ('When the first alarm of an open incident began, unix seconds.', ('incident',)),
    'promlstm_incident_entities': ('Entities of an open incident that are anomalous or missing now.', ('incident',)),
    'promlstm_incident_detectors': ('Detectors of the entities of an open incident that are anomalous or missing now.', ('incident',)),
    'promlstm_incident_member': ('Always 1: an entity of an open incident that is anomalous or missing now; up to 1000 of each.', ('incident', 'detector')),
    'promlstm_incident_cause_score': (
        'How likely it is, 0 to 1, that this entity is the cause of an open incident; the ten likeliest of each.', ('incident', 'detector'),
    ),
}  # fmt: skip
# Labels that entities have under another name, exported_…: those of the families, and those that the scrape and rules/ add, by which they
# tell replicas and entities apart. The same for all detectors, so that no rule has to know which detector has several features.
OURS = frozenset(
    {'detector', 'promlstm_replica', 'promlstm_scope', 'promlstm_entity'}.union(*(labels for _, labels in (FAMILIES | FORECASTS | INCIDENTS).values()))
)
RESIDUE = 1e-18  # an expected value below this is a rounding error of 0: no unit is that small
ROWS = 1024  # of a piece of text: about 150 KB
MOST_ROWS, ENOUGH_PIECES = 3072, 32  # a piece is larger, up to that, where a family has so many pieces all the same

Block = Sequence[bytes]  # pieces of text, whole lines each


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The exposition text of the labels of a detector's entities, cached from step to step; replaced, never changed.

    identities  by row, as labels.identity gives them
    prefixes    by row, such as `{detector="cpu",instance="a",job=""`: without the closing brace, so that a family can add its label
    """

    detector: str
    features: tuple[str, ...]
    views: tuple[str, ...] = ()
    identities: list[bytes] = field(default_factory=list)
    prefixes: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.prefixes)

    def of(self, identities: list[bytes]) -> 'Labels':
        """The text for these entities. Only new rows at the end are rendered, unless rows were dropped or renumbered: then all are."""
        known = len(self) if identities[: len(self)] == self.identities else 0
        if known == len(self) == len(identities):
            return self
        new = [prefix(self.detector, label_sets.pairs(identity)) for identity in identities[known:]]
        return Labels(self.detector, self.features, self.views, list(identities), self.prefixes[:known] + new)


def prefix(detector: str, own: label_sets.Pairs) -> bytes:
    """The text of the labels of an entity, such as `{detector="cpu",instance="a",job=""`: without the closing brace."""
    return label_sets.text((('detector', detector), *label_sets.exported(own, OURS)))[:-1]


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The lines of a family for one value of its own label, in pieces that are written when they are asked for.

    prefixes  as those of Labels
    ending    of the labels of each line
    column    float [n], the numbers of the lines
    rows      int64 [n], whose numbers they are; None = of all
    """

    family: str
    prefixes: list[bytes]
    ending: bytes
    column: Floats | Floats32
    rows: Ints | None

    @classmethod
    def of(cls, family: str, prefixes: list[bytes], ending: bytes, column: Floats | Floats32) -> 'Lines':
        """Those of a column of all rows; a row whose number is NaN has no line."""
        shown = ~np.isnan(column)
        if shown.all():
            return cls(family, prefixes, ending, column, None)
        return cls(family, prefixes, ending, column[shown], np.flatnonzero(shown))

    @property
    def pieces(self) -> int:
        """How many pieces there are."""
        return math.ceil(len(self.column) / self._rows)

    @property
    def _rows(self) -> int:
        """Of a piece. Threads that write and compress in turn wait for each other at each of them; a larger one would not stay in the cache."""
        return min(max(ROWS, len(self.column) // ENOUGH_PIECES), MOST_ROWS)

    def piece(self, number: int) -> bytes:
        """The text of one of them, counted from 0."""
        span = slice(number * self._rows, (number + 1) * self._rows)
        prefixes = self.prefixes[span] if self.rows is None else [self.prefixes[row] for row in self.rows[span].tolist()]
        texts = [b'\n' + self.family.encode(), b'', self.ending, b''] * len(prefixes)
        texts[1::4], texts[3::4] = prefixes, _numbers(self.column[span])
        texts[0] = texts[0][1:]
        texts.append(b'\n')
        return b''.join(texts)


def render(verdicts: Verdicts, labels: Labels, *, missing: Bools, selection: Selection | None = None) -> dict[str, Block]:
    """{family: Block} of one step: all of `lines`, written.

    returns   lines that end with a line feed; a family without lines is left out

    >>> from promlstm.engine.columns import Verdicts
    >>> one, two = np.zeros((1, 1)), np.float32([[1]])
    >>> v = Verdicts(
    ...     0., np.zeros(1, np.int8), np.float32([1.5]), np.float32([3]), one + 9, one + 2, one + 1, one + 3, one, one, one, two, two[:, :0], one[0], two[0]
    ... )
    >>> blocks = render(v, Labels('cpu', ('',)).of([b'{"instance":"a"}']), missing=np.array([False]))
    >>> print(b''.join(blocks['promlstm_anomaly_score']).decode(), end='')
    promlstm_anomaly_score{detector="cpu",instance="a",job=""} 1.5
    >>> sorted(blocks)[2:5]
    ['promlstm_expected', 'promlstm_expected_lower', 'promlstm_expected_upper']
    """
    return _written(lines(verdicts, labels, missing=missing, selection=selection))


def lines(verdicts: Verdicts, labels: Labels, *, missing: Bools, selection: Selection | None = None) -> list[Lines]:
    """The lines of one step, those of a family one after the other.

    missing   bool [N]: entities that are reported as missing
    selection which of them are shown, and how much of each; None = all
    """
    shown = np.ones(len(missing), np.bool_) if selection is None else selection.shown
    detailed = shown if selection is None else selection.detailed
    scores = np.where(shown, verdicts.score, np.float32(np.nan))
    found = [Lines.of('promlstm_anomaly_score', labels.prefixes, b'} ', scores)]
    judged = (detailed & ~np.isnan(scores))[:, None]
    with_sample = (detailed | (shown & np.isnan(scores)))[:, None]
    per_feature: dict[str, Floats | Floats32] = {'promlstm_observed': np.where(with_sample, verdicts.observed, np.nan)}
    expectation = {
        'promlstm_expected': verdicts.expected,
        'promlstm_expected_lower': verdicts.lower,
        'promlstm_expected_upper': verdicts.upper,
        'promlstm_usual_lower': verdicts.usual_lower,
        'promlstm_usual_upper': verdicts.usual_upper,
    }
    for family, column in expectation.items():
        per_feature[family] = np.where(judged, legible(column), np.nan)
    if len(labels.features) > 1:
        per_feature['promlstm_contribution'] = np.where(judged, verdicts.contribution, np.float32(np.nan))
    for family, columns in per_feature.items():
        found += _lines(family, labels.prefixes, _endings('feature', labels.features), columns)
    anomalous = (detailed & (scores >= 1))[:, None]
    if anomalous.any():
        views = np.where(anomalous, verdicts.view, np.float32(np.nan))
        found += _lines('promlstm_view', labels.prefixes, _endings('view', labels.views), views)
    per_entity: dict[str, Floats | Floats32] = {
        'promlstm_anomaly_start_timestamp_seconds': np.where(shown, verdicts.since, np.nan),
        'promlstm_recurring': np.where(shown & (verdicts.recurring > 0), np.float32(1), np.float32(np.nan)),
        'promlstm_entity_missing': np.where(shown & missing, np.float32(1), np.float32(np.nan)),
    }
    return found + [Lines.of(family, labels.prefixes, b'} ', numbers) for family, numbers in per_entity.items()]


def render_forecasts(
    labels: Labels, horizons: Sequence[str], quantiles: Floats, limit: Floats | None = None, seconds_to: Floats | None = None
) -> dict[str, Block]:
    """{family: Block} of a forecast of N entities; a number that is NaN has no line.

    horizons    H texts of the label
    quantiles   float64 [N, F, H, 3]: lower, middle, upper
    limit       float64 [N]; None = no limit
    seconds_to  float64 [N, 2]: when it is reached, by the middle and by the pessimistic bound

    >>> blocks = render_forecasts(Labels('disk', ('',)).of([b'{"instance":"a"}']), ['1h'], np.array([[[[1, 2, 3.5]]]]))
    >>> print(b''.join(blocks['promlstm_forecast']).decode(), end='')
    promlstm_forecast{detector="disk",instance="a",job="",horizon="1h",bound="lower"} 1.0
    promlstm_forecast{detector="disk",instance="a",job="",horizon="1h",bound="middle"} 2.0
    promlstm_forecast{detector="disk",instance="a",job="",horizon="1h",bound="upper"} 3.5
    """
    endings = [
        f'{feature}horizon="{horizon}",bound="{bound}"}} '.encode()
        for feature in (ending.removesuffix(b'} ').decode() + ',' for ending in _endings('feature', labels.features))
        for horizon in horizons
        for bound in ('lower', 'middle', 'upper')
    ]
    found = _lines('promlstm_forecast', labels.prefixes, endings, quantiles.reshape(len(labels), len(endings)))
    if limit is not None:
        found.append(Lines.of('promlstm_forecast_limit', labels.prefixes, b'} ', limit))
    if seconds_to is not None:
        found += _lines('promlstm_time_to_limit_seconds', labels.prefixes, _endings('bound', ('middle', 'pessimistic')), seconds_to)
    return _written(found)


def legible(expected: Floats) -> Floats:
    """The expected values, with rounding errors of 0 replaced by 0.

    A series that was always 0 has only the model's smallest scale. The model expects it at -4.53e-34 within 1e-29, which is correct but
    useless to the reader of an alert. Samples are never changed.

    >>> legible(np.array([-4.53e-34, 1e-9, np.nan, -np.inf]))
    array([0.e+00, 1.e-09,    nan,   -inf])
    """
    return np.where(np.abs(expected) < RESIDUE, 0.0, expected)


def _endings(label: str, values: Sequence[str]) -> list[bytes]:
    """The end of a line's labels, by value of the family's own label; a single feature needs no label."""
    if label == 'feature' and len(values) == 1:
        return [b'} ']
    return [f',{label}="{label_sets.escape(value)}"}} '.encode() for value in values]


def _lines(family: str, prefixes: list[bytes], endings: list[bytes], columns: Floats | Floats32) -> list[Lines]:
    """Those of a family that has a label of its own: `endings` and `columns` [N, values] by value of the label."""
    return [Lines.of(family, prefixes, ending, column) for ending, column in zip(endings, columns.T, strict=True)]


def _written(found: Iterable[Lines]) -> dict[str, Block]:
    """{family: Block}; a family without lines is left out."""
    blocks: dict[str, list[bytes]] = {}
    for each in found:
        if each.pieces:
            blocks.setdefault(each.family, []).extend(map(each.piece, range(each.pieces)))
    return dict(blocks)


def _numbers(column: Floats | Floats32) -> list[bytes]:
    """Shortest text of each number; ±Inf, which JSON does not have, as the exposition formats write it.

    >>> _numbers(np.array([0.1, 1e-9, np.inf]))
    [b'0.1', b'1e-9', b'+Inf']
    """
    infinite = np.flatnonzero(np.isinf(column))
    numbers = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b',')
    for row in infinite:
        numbers[row] = b'+Inf' if column[row] > 0 else b'-Inf'
    return numbers


def header(family: str) -> bytes:
    """The lines before a family on the page."""
    return f'# HELP {family} {(FAMILIES | FORECASTS | INCIDENTS)[family][0]}\n# TYPE {family} gauge\n'.encode()
