"""Columns become text, one block per family and detector, rendered once per step. Pure.

Who calls it: runner and backtest (render), page (header). What flows through: Verdicts and the kept label text of each entity; out comes
text that is valid in the Prometheus and the OpenMetrics format alike (gauges differ in neither). A number costs what orjson takes to write
it, a line one element of a join. Never an explicit timestamp: a gauge that is not on the page is stale.
"""

from dataclasses import dataclass, field

import numpy as np
import orjson

from promlstm.engine import labels as text

# family: (help, labels beside `detector` and the entity's own). The order of the page.
FAMILIES = {
    'promlstm_anomaly_score': ('How anomalous the newest sample is: 0 to 1 normal, 1 and above anomalous at the false-alarm budget.', ()),
    'promlstm_observed': ('The newest sample, in its own unit.', ('feature',)),
    'promlstm_expected': ('What was expected before the sample was seen.', ('feature',)),
    'promlstm_expected_lower': ('Lower border of what was expected: beyond it the score is 1 or more.', ('feature',)),
    'promlstm_expected_upper': ('Upper border of what was expected: beyond it the score is 1 or more.', ('feature',)),
    'promlstm_contribution': ('Share of each feature in the surprise, 0 to 1.', ('feature',)),
    'promlstm_view': ('Share of each view of the model in the surprise, 0 to 1; only of anomalous entities.', ('view',)),
    'promlstm_anomaly_start_timestamp_seconds': ('When the anomaly began that lasts or is held now, unix seconds.', ()),
    'promlstm_entity_missing': ('1 = an entity that had been there for a day or more gives no sample now.', ()),
}
NOTHING = 1e-18  # no unit of anyone's is that small
_LINES = 4  # pieces per line: family, labels, own label, number


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The exposition text of a detector's entities, kept from step to step; replaced, never changed.

    identities  list of bytes by row, as labels.identity gives them
    opened      list of bytes by row, `{detector="cpu",instance="a",job=""`: open, so that a family can add its own label
    """

    detector: str
    features: tuple[str, ...]
    views: tuple[str, ...] = ()
    identities: list = field(default_factory=list)
    opened: list = field(default_factory=list)

    def __len__(self):
        return len(self.opened)

    def of(self, identities):
        """The text of these entities: what is kept already, where they begin with the same; all of it anew after rows were dropped."""
        known = len(self) if identities[: len(self)] == self.identities else 0
        if known == len(self) == len(identities):
            return self
        ours = frozenset({'detector'} | ({'feature'} if len(self.features) > 1 else set()) | ({'view'} if self.views else set()))
        new = [text.text((('detector', self.detector), *text.exported(text.pairs(identity), ours)))[:-1] for identity in identities[known:]]
        return Labels(self.detector, self.features, self.views, list(identities), self.opened[:known] + new)


def render(verdicts, labels, *, missing):
    """{family: text block} of one step.

    verdicts  Verdicts of N entities
    missing   bool [N]: who is reported as missing
    returns   bytes per family, each line with its line feed; a family without lines is left out

    >>> from promlstm.engine.columns import Verdicts
    >>> one, two = np.zeros((1, 1)), np.float32([[1]])
    >>> v = Verdicts(0., np.zeros(1, np.int8), np.float32([1.5]), np.float32([3]), one + 9, one + 2, one + 1, one + 3, one, two, two[:, :0], one[0])
    >>> blocks = render(v, Labels('cpu', ('',)).of([b'{"instance":"a"}']), missing=np.array([False]))
    >>> print(blocks['promlstm_anomaly_score'].decode(), end='')
    promlstm_anomaly_score{detector="cpu",instance="a",job=""} 1.5
    >>> sorted(blocks)[2:5]
    ['promlstm_expected', 'promlstm_expected_lower', 'promlstm_expected_upper']
    """
    blocks = {'promlstm_anomaly_score': _block('promlstm_anomaly_score', labels.opened, b'} ', verdicts.score)}
    judged = ~np.isnan(verdicts.score)[:, None]
    per_feature = {'promlstm_observed': verdicts.observed}
    for family, column in (('expected', verdicts.expected), ('expected_lower', verdicts.lower), ('expected_upper', verdicts.upper)):
        per_feature[f'promlstm_{family}'] = np.where(judged, legible(column), np.nan)
    if len(labels.features) > 1:
        per_feature['promlstm_contribution'] = np.where(judged, verdicts.contribution, np.float32(np.nan))
    for family, columns in per_feature.items():
        blocks[family] = b''.join(
            _block(family, labels.opened, own, column) for own, column in zip(_own('feature', labels.features), columns.T, strict=True)
        )
    anomalous = (verdicts.score >= 1)[:, None]
    blocks['promlstm_view'] = b''.join(
        _block('promlstm_view', labels.opened, own, column)
        for own, column in zip(_own('view', labels.views), np.where(anomalous, verdicts.view, np.float32(np.nan)).T, strict=True)
    )
    whole = {
        'promlstm_anomaly_start_timestamp_seconds': verdicts.since,
        'promlstm_entity_missing': np.where(missing, np.float32(1), np.float32(np.nan)),
    }
    for family, column in whole.items():
        blocks[family] = _block(family, labels.opened, b'} ', column)
    return {family: block for family, block in blocks.items() if block}


def legible(expected):
    """What was expected, with 0 for what only the arithmetic made of it.

    A series that was always 0 has no scale to be measured by but the least one of the model: it is expected at -4.53e-34 within 1e-29, which
    is right, and nonsense to whoever reads it in an alert. Samples are never changed.

    >>> legible(np.array([-4.53e-34, 1e-9, np.nan, -np.inf]))
    array([0.e+00, 1.e-09,    nan,   -inf])
    """
    return np.where(np.abs(expected) < NOTHING, 0.0, expected)


def _own(label, values):
    """The end of a line's labels: with the family's own label, unless there is only one feature and nothing to tell apart."""
    if label == 'feature' and len(values) == 1:
        return [b'} ']
    return [f',{label}="{text.escape(value)}"}} '.encode() for value in values]


def _block(family, opened, own, column):
    """The lines of one family; rows whose number is NaN have none."""
    shown = ~np.isnan(column)
    if not shown.all():
        rows = np.flatnonzero(shown)
        opened, column = [opened[row] for row in rows], column[rows]
    if not len(column):
        return b''
    pieces = [None] * (_LINES * len(column))
    pieces[0::4] = [b'\n' + family.encode()] * len(column)
    pieces[1::4] = opened
    pieces[2::4] = [own] * len(column)
    pieces[3::4] = _numbers(column)
    return b''.join(pieces)[1:] + b'\n'


def _numbers(column):
    """Shortest text of each number, list of bytes; ±Inf, which JSON has not, as the formats want it.

    >>> _numbers(np.array([0.1, 1e-9, np.inf]))
    [b'0.1', b'1e-9', b'+Inf']
    """
    infinite = np.flatnonzero(np.isinf(column))
    numbers = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b',')
    for row in infinite:
        numbers[row] = b'+Inf' if column[row] > 0 else b'-Inf'
    return numbers


def header(family):
    """The lines that begin a family on the page."""
    return f'# HELP {family} {FAMILIES[family][0]}\n# TYPE {family} gauge\n'.encode()
