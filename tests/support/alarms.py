"""Verdicts of detectors with the alarms that a test orders, fed to the incidents step by step."""

import msgspec
import numpy as np

from promlstm.engine.columns import MISSING, READY, Verdicts
from promlstm.incidents.members import Origin
from promlstm.incidents.table import Incidents
from promlstm.settings import RootCause, parsed

NOW = 1_750_000_200.0  # 2025-06-15 15:10:00 UTC


def identity(**labels):
    """An identity as entities have it."""
    return msgspec.json.encode(labels, order='sorted')


def origin(name='cpu', step=60.0, uncertainty=None, queries=(('', 'rate(cpu_seconds_total[5m])'),), views=()):
    """A detector as the incidents know it."""
    return Origin(name, step, step + 70.0 if uncertainty is None else uncertainty, queries, views)


def verdicts(time, scores, since, *, sign=1.0, missing=()):
    """Verdicts of one feature. scores, since: by row; missing: rows without a sample."""
    count = len(scores)
    score, column = np.asarray(scores, np.float32), np.ones((count, 1))
    status = np.full(count, READY, np.int8)
    status[list(missing)] = MISSING
    score = np.where(status == MISSING, np.float32(np.nan), score)
    ones = column.astype(np.float32)
    return Verdicts(
        time=time, status=status, score=score, surprise=score, observed=column, expected=column, lower=column, upper=column, usual_lower=column,
        usual_upper=column, deviation=sign * column, contribution=ones, view=ones[:, :0], since=np.where(score >= 1, since, np.nan),
        recurring=ones[:, 0],
    )  # fmt: skip


class Fleet:
    """The entities of one detector, of which some are anomalous or missing; each `step` is one of its steps.

    entities  label sets by name
    """

    def __init__(self, incidents, name, entities, *, step=60.0, **about):
        self.incidents, self.origin = incidents, origin(name, step, **about)
        self.names, self.identities = list(entities), [identity(**labels) for labels in entities.values()]
        self._since, self._gone = dict.fromkeys(self.names, np.nan), dict.fromkeys(self.names, np.nan)

    def step(self, time, *anomalous, missing=(), score=2.0, scores=None, sign=1.0):
        """One step: these are anomalous, with `score` or what `scores` has by name, or missing."""
        wanted = {**dict.fromkeys(anomalous, score), **(scores or {})}
        for name in self.names:
            self._since[name] = (self._since[name] if self._since[name] == self._since[name] else time) if name in wanted else np.nan
            self._gone[name] = (self._gone[name] if self._gone[name] == self._gone[name] else time) if name in missing else np.nan
        found = verdicts(
            time, [wanted.get(name, 0.2) for name in self.names], list(self._since.values()), sign=sign,
            missing=[self.names.index(name) for name in missing],
        )  # fmt: skip
        self.incidents.observe(self.origin, found, np.array(list(self._gone.values())), self.identities)
        return self


def table(**settings):
    """Incidents with these keys of root_cause."""
    return Incidents(msgspec.convert(settings, RootCause, dec_hook=parsed))


def members_of(incidents, now=NOW):
    """{id: {(detector, identity)}} of all incidents that have an id."""
    view = incidents.view(now)
    found = {}
    for row in range(len(view.members)):
        if (number := int(view.members.incident[row])) >= 0:
            key = view.origins[view.members.detector[row]].name, view.members.identities[row].decode()
            found.setdefault(view.spans.ids[number], set()).add(key)
    return found
