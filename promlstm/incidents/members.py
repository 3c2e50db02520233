"""Members of incidents as columns: one row for each entity of each detector whose alarm is open or ended lately.

Who calls it: table. What flows through: the verdicts of a step; out come the few rows that matter, and the columns with them. Pure: no clock, no
object per row but the identity, which the entity table has anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from promlstm.engine import labels
from promlstm.engine.columns import Bools, Floats, Floats32, Ints, SmallInts, Tensors, Verdicts
from promlstm.engine.interfaces import DetectorConfig
from promlstm.errors import CheckpointError
from promlstm.incidents.lookback import lookback_seconds

SCRAPE_SECONDS = 60.0  # a sample may be older than the query by the interval of the scrape
WAITING = -1  # the incident of what is missing, while nothing near it is anomalous


@dataclass(frozen=True, slots=True)
class Origin:
    """A detector as the incidents know it.

    step_seconds         between two of its steps
    uncertainty_seconds  by which the onset of an alarm may lie before the first sample of it
    queries              {feature: expression}; a detector of one expression has one feature without a name
    views                of its model
    """

    name: str
    step_seconds: float
    uncertainty_seconds: float
    queries: tuple[tuple[str, str], ...]
    views: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: DetectorConfig, views: Sequence[str]) -> Self:
        """A configured detector.

        What happened lies before the first sample of an alarm by a step, the delay of the query, its longest range and the interval of the scrape.
        """
        looks = max(map(lookback_seconds, config.queries.values()))
        uncertainty = config.step + config.delay + looks + SCRAPE_SECONDS
        return cls(config.name, float(config.step), float(uncertainty), tuple(config.queries.items()), tuple(views))


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The rows of a step that are anomalous or missing: n of N.

    rows       int64 [n]    of the frame
    anomalous  bool [n]     score of 1 or more; the others are missing
    begun      float64 [n]  unix seconds: first sample of the alarm, or the first step without a sample
    score      float32 [n]  NaN where there is none
    direction  int8 [n]     of the main feature: 1 above what was expected, -1 below, 0 = not known
    feature    int16 [n]    the one that contributes most
    view       int16 [n]    the one that contributes most; -1 = the model has none
    """

    rows: Ints
    anomalous: Bools
    begun: Floats
    score: Floats32
    direction: SmallInts
    feature: npt.NDArray[np.int16]
    view: npt.NDArray[np.int16]


def seen(verdicts: Verdicts, gone: Floats) -> Seen:
    """The rows of N that matter. gone: float64 [N], unix seconds of the first step without a sample; NaN = it is not missing.

    >>> none, one = np.full((2, 1), np.nan), np.ones((2, 1), np.float32)
    >>> v = Verdicts(60., np.int8([0, 0]), np.float32([.2, 3]), one[:, 0], none, none, none, none, none, none, -one, one, one[:, :0],
    ...     np.array([np.nan, 60.]), one[:, 0])
    >>> found = seen(v, np.array([np.nan, np.nan]))
    >>> found.rows.tolist(), found.begun.tolist(), found.direction.tolist()
    ([1], [60.0], [-1])
    """
    anomalous = verdicts.score >= 1
    rows = np.flatnonzero(anomalous | ~np.isnan(gone))
    anomalous = anomalous[rows]
    feature, direction = verdicts.main_features(rows)
    view = np.nan_to_num(verdicts.view[rows], nan=0).argmax(axis=1) if verdicts.view.shape[1] else np.full(len(rows), -1)
    since = verdicts.since[rows]
    return Seen(
        rows, anomalous, np.where(anomalous, np.where(np.isnan(since), verdicts.time, since), gone[rows]), verdicts.score[rows],
        direction, feature.astype(np.int16), view.astype(np.int16),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """M members; columns that are replaced, never changed.

    identities   of M, as labels.identity gives them
    detector     int64 [M]    number of the detector
    incident     int64 [M]    number of the incident, or WAITING
    within       int64 [M]    number of the values of the labels that nothing is compared across
    things       int64 [M, K] numbers of the names that link it to others, one column for each linking label; -1 = none
    onset        float64 [M]  unix seconds: first sample of its first alarm in the incident, or the first step without a sample
    uncertainty  float64 [M]  seconds by which what happened may lie before the onset
    since        float64 [M]  unix seconds: first sample of its newest alarm; NaN = it never had one
    last         float64 [M]  unix seconds of the last sample with a score of 1 or more; NaN = there was none
    gone         float64 [M]  unix seconds of the last step at which it was missing; NaN = it never was
    peak         float32 [M]  the highest score; NaN = there was none
    before       float32 [M]  its score one step before the onset; NaN = not known
    score        float32 [M]  at its newest sample with a score of 1 or more; NaN = there was none
    direction    int8 [M]     at the peak, as the two below
    feature      int16 [M]
    view         int16 [M]
    """

    identities: list[bytes]
    detector: Ints
    incident: Ints
    within: Ints
    things: Ints
    onset: Floats
    uncertainty: Floats
    since: Floats
    last: Floats
    gone: Floats
    peak: Floats32
    before: Floats32
    score: Floats32
    direction: SmallInts
    feature: npt.NDArray[np.int16]
    view: npt.NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.identities)

    @classmethod
    def blank(cls, links: int) -> Self:
        """None, with so many linking labels."""
        ints, floats, scores, small = np.empty(0, np.int64), np.empty(0), np.empty(0, np.float32), np.empty(0, np.int16)
        things = np.empty((0, links), np.int64)
        return cls(
            [], ints, ints, ints, things, floats, floats, floats, floats, floats, scores, scores, scores, np.empty(0, np.int8), small, small
        )  # fmt: skip

    def joined(self, more: Self) -> Self:
        """With more rows at the end."""
        columns = {name: np.concatenate([getattr(self, name), getattr(more, name)]) for name in COLUMNS}
        return type(self)(self.identities + more.identities, **columns)

    def take(self, rows: Ints) -> Self:
        """Some rows only (int64 [n])."""
        identities = self.identities
        return type(self)([identities[row] for row in rows.tolist()], **{name: getattr(self, name)[rows] for name in COLUMNS})

    def stored(self) -> Tensors:
        """All columns by name, but for those that follow from the labels."""
        columns = {name: getattr(self, name) for name in COLUMNS if name not in ('within', 'things')}
        columns['identities'], columns['identity_lengths'] = labels.stored(self.identities)
        return columns

    @classmethod
    def restored(cls, columns: Tensors, links: int) -> Self:
        """The rows of stored columns, with no links yet; CheckpointError where they are not of as many rows."""
        like = cls.blank(links)
        identities = labels.restored(columns['identities'], columns['identity_lengths'])
        rows = len(identities)
        found: Tensors = {'within': np.zeros(rows, np.int64), 'things': np.full((rows, links), -1, np.int64)}
        for name in COLUMNS:
            column = found[name] if name in found else columns[name]
            if column.dtype != getattr(like, name).dtype or column.shape[:1] != (rows,) or column.ndim != getattr(like, name).ndim:
                raise CheckpointError(f'its column {name} is not as an incident has it')
            found[name] = column
        return cls(identities, **found)


COLUMNS = tuple(field.name for field in fields(Members) if field.name != 'identities')
