"""The exporter's pages over steps that a test makes up, served by the real server."""

from functools import partial

import msgspec
import numpy as np
from serving import Exporter

from promlstm import config as configuration
from promlstm.engine.columns import MISSING, Verdicts
from promlstm.incidents.members import Origin
from promlstm.live.clock import Clock
from promlstm.live.incidents import Gathering
from promlstm.live.status import Status
from promlstm.serve.telemetry import Telemetry
from promlstm.settings import RootCause
from promlstm.ui.actions import Actions
from promlstm.ui.board import Board, Standing
from promlstm.ui.context import Context
from promlstm.ui.site import Ui
from promlstm.ui.templates import Templates

NOW = 1_750_000_200.0
# Values of labels that want to be more than text.
HOSTILE = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', 'a\'b"c\\d\ne', '{{ 7*7 }}', 'ä\u202e☃', '&amp;', 'javascript:alert(1)', 'x' * 3000]
VIEWS = ('spike', 'level_shift')


def identity(**labels):
    """The identity of an entity, see labels.identity."""
    return msgspec.json.encode(labels, order='sorted')


def standing(detector, identities, scores, *, missing=(), status=None, observed=10.0, expected=4.0, lower=2.0, upper=6.0, time=NOW, since=NOW - 600, dropped=0):
    """A step of a detector (its configuration) of one feature: an entity is anomalous from a score of 1 on, NaN = it has none; `missing` are row numbers."""
    rows, score = len(identities), np.array(scores, np.float32)
    gone = np.isin(np.arange(rows), missing)
    codes = np.where(gone, MISSING, 0 if status is None else status).astype(np.int8)
    column, ones = np.ones((rows, 1)), np.ones((rows, 1), np.float32)
    seen = np.where(gone[:, None], np.nan, observed * column)
    verdicts = Verdicts(
        time=time, status=codes, score=np.where(gone, np.nan, score).astype(np.float32), surprise=score, observed=seen, expected=expected * column,
        lower=lower * column, upper=upper * column, usual_lower=column, usual_upper=column, deviation=(observed - expected) * column, contribution=ones,
        view=np.repeat(np.float32([[0.25, 0.75]]), rows, 0), since=np.where(score >= 1, np.broadcast_to(since, rows), np.nan), recurring=0 * ones[:, 0],
    )  # fmt: skip
    return Standing(detector, verdicts, gone, np.where(gone, time - 120, np.nan), list(identities), VIEWS, 'default', dropped)


class Shown(Board):
    """A board of steps that a test puts there: it has no runner."""

    def __init__(self, standings):
        super().__init__(lambda: NOW + 1)
        self._standings = {each.config.name: each for each in standings}


class Pages(Exporter):
    """An exporter with pages over some detectors.

    text      the configuration
    standings gives their steps: standings({name: its configuration})
    statuses  {detector: Status} of those that do not score
    actions   what people may change; None = nothing
    """

    def __init__(self, text, standings, statuses=None, site=None, actions=None):
        self.config = configuration.parse(text)
        detectors = {each.name: each for each in self.config.detectors}
        self.board = Shown(standings(detectors))
        clock = Clock(start=NOW + 1, speed=1e-9)
        self.incidents = Gathering(RootCause(), clock, Telemetry(process=False), lambda blocks, expires: None)
        statuses = {name: (statuses or {}).get(name, Status(stepped=True, scored=True)) for name in detectors}
        context = Context(
            board=self.board, statuses=lambda: statuses, in_force=lambda: (self.config, {}), incidents=self.incidents, now=lambda: NOW + 1,
            templates=Templates(), actions=actions or Actions(),
        )  # fmt: skip
        super().__init__(site={'pages': Ui(context).answer, 'incidents': self.incidents.listing, **(site or {})})

    def raise_alarms(self):
        """Let incidents see the steps, so that some are open."""
        for each in self.board._standings.values():
            quiet = each.verdicts
            before = Verdicts(**{**{name: getattr(quiet, name) for name in Verdicts.__slots__}, 'time': NOW - each.config.step, 'score': 0 * quiet.surprise})
            table, origin = self.incidents._table, Origin.of(each.config, each.views)
            observe = partial(table.observe, origin)
            observe(before, np.full(len(each), np.nan), each.identities)
            observe(quiet, each.lost, each.identities)
