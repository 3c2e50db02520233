"""One entity as of the newest step of its detector: for its page, and as JSON.

Who calls it: entity. What flows through: a Standing and a row of it; out comes a Present. Nothing is computed that a step did not leave.
"""

import msgspec
import numpy as np

from promlstm.config import Detector
from promlstm.engine import labels
from promlstm.engine.columns import Floats
from promlstm.engine.labels import Pairs
from promlstm.serve import exposition
from promlstm.ui import anomalies, wording
from promlstm.ui.board import Standing
from promlstm.ui.past import numbers

GONE, UNKNOWN = 'gone', 'unknown'  # states beside those of anomalies.STATES: not among the entities of the detector, or the detector makes no steps


class Value(msgspec.Struct, frozen=True):
    """A feature; `name` is '' where the detector has one only. None = not known."""

    name: str
    expr: str
    unit: str
    observed: float | None = None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    usual_lower: float | None = None
    usual_upper: float | None = None
    contribution: float | None = None


class Present(msgspec.Struct, frozen=True):
    """What is known of an entity now. Times are unix seconds; None = not known.

    state      one of anomalies.STATES, gone or unknown
    time       of the step
    since      when its alarm began, or its samples ended
    feature    that contributes most
    recurring  it would be anomalous, if the like had not come at this time on other days
    views      {view of the model: share in the surprise}, of an anomalous entity
    """

    detector: str
    entity: str
    labels: dict[str, str]
    state: str
    reason: str
    values: list[Value]
    time: float | None = None
    since: float | None = None
    score: float | None = None
    feature: str = ''
    recurring: bool = False
    views: dict[str, float] = {}


def present(detector: Detector, entity: Pairs, standing: Standing | None, number: int | None) -> Present:
    """An entity; of one that is not in the table, or whose detector makes no steps, only its name."""
    values = [Value(name, expr, wording.unit_of(expr)) for name, expr in detector.queries.items()]
    if standing is None or number is None:
        return Present(
            detector.name, labels.selector(entity), dict(entity), UNKNOWN if standing is None else GONE, '', values,
            time=standing.verdicts.time if standing else None, feature=values[0].name,
        )  # fmt: skip
    row, verdicts = anomalies.row(standing, number), standing.verdicts
    if len(values) == verdicts.observed.shape[1]:  # else the configuration has just changed
        values = [_value(values[place], standing, number, place, judged=row.score is not None) for place in range(len(values))]
    shares = dict(zip(standing.views, numbers(verdicts.view[number].astype(np.float64)), strict=True)) if row.state == 'anomalous' else {}
    return Present(
        row.detector, row.entity, row.labels, row.state, row.reason, values, verdicts.time, row.since, row.score, row.feature,
        bool(verdicts.recurring[number] > 0), {name: share for name, share in shares.items() if share},
    )  # fmt: skip


def _value(blank: Value, standing: Standing, number: int, place: int, *, judged: bool) -> Value:
    verdicts = standing.verdicts

    def of(column: Floats) -> float | None:
        return numbers(exposition.legible(column[number, place : place + 1]))[0]

    found = {'observed': numbers(verdicts.observed[number, place : place + 1])[0]}
    if judged:
        found |= {name: of(getattr(verdicts, name)) for name in ('expected', 'lower', 'upper', 'usual_lower', 'usual_upper')}
        found['contribution'] = of(verdicts.contribution.astype(np.float64)) if verdicts.contribution.shape[1] > 1 else None
    return msgspec.structs.replace(blank, **found)
