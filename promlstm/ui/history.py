"""The past of entities, asked of Prometheus when somebody looks: what was observed, what was expected, how it was scored.

Who calls it: entity, and /api/v1/history. What flows through: an entity and a Window; out comes a Past. First our own gauges are asked
for, in the source of the detector, then in the other sources that speak PromQL. Where none has them, the expression of the detector itself is asked, for
this entity alone: then only what was observed can be shown. Whatever fails becomes a sentence of the Past; nothing is raised.

Queries go through clients of their own, with limits on time and memory: people who look take nothing from the steps of a detector.
"""

from collections.abc import Sequence

import numpy as np

from promlstm.engine.columns import Floats
from promlstm.engine.labels import exported
from promlstm.errors import PromlstmError, QueryRejected
from promlstm.query.prometheus import Matrix, Prometheus
from promlstm.serve.exposition import OURS
from promlstm.terminal import duration
from promlstm.ui import observed, promql, wording
from promlstm.ui.clients import Clients
from promlstm.ui.past import Ahead, Feature, Past, Run, numbers
from promlstm.ui.series import Column, columns, one, runs
from promlstm.ui.subject import Subject
from promlstm.ui.window import Window

PER_FEATURE = {
    'observed': 'promlstm_observed', 'expected': 'promlstm_expected', 'lower': 'promlstm_expected_lower', 'upper': 'promlstm_expected_upper',
    'usual_lower': 'promlstm_usual_lower', 'usual_upper': 'promlstm_usual_upper', 'contribution': 'promlstm_contribution',
}  # fmt: skip
SCORE, MISSING, VIEW = 'promlstm_anomaly_score', 'promlstm_entity_missing', 'promlstm_view'
FORECAST, LIMIT, TO_LIMIT = 'promlstm_forecast', 'promlstm_forecast_limit', 'promlstm_time_to_limit_seconds'
SERIES = 64  # of one entity: families, features, views and replicas; the answer is asked for in pieces where there may be more


class History:
    """The past, as the servers of a configuration know it."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def past(self, subject: Subject, window: Window) -> Past:
        """The past of one entity; its silences are not asked for here."""
        notes = list[str]()
        matrices, over, ahead = list[Matrix](), list[Matrix](), None
        for name in self._clients.with_gauges(subject.config, subject.detector):
            api = self._clients.of(subject.config, name)
            try:
                matrices = list(api.range(_plain(subject), window.start, window.end, window.resolution, SERIES))
                if not any(matrix.keys for matrix in matrices):
                    continue
                if window.resolution > subject.detector.step:
                    over = list(api.range(_over(subject, window), window.start, window.end, window.resolution, SERIES))
                if subject.detector.forecast:
                    ahead = _ahead(api, subject, window)
            except QueryRejected:  # one that knows selectors only, or no such functions
                pass
            except PromlstmError as error:
                lacking = f'{name} did not answer completely, so some data is missing here: {error}'
                notes.append(lacking if matrices else observed.unanswered(name, subject.config, error))
            if matrices and any(matrix.keys for matrix in matrices):
                self._clients.remember(subject.config, subject.detector, name)
                notes += [f'{name} warns that series may be missing: {text}' for matrix in (*matrices, *over) for text in matrix.warnings]
                break
        entity = exported(subject.entity, OURS)
        found = columns(matrices, entity) + columns(over, entity)
        times = window.start + window.resolution * np.arange(window.points, dtype=np.float64)
        past = _assembled(subject, window, times, found, ahead)
        since = _since(past, times)
        if since > window.start + 2 * window.resolution and not (notes and not found):
            name = subject.config.source_name(subject.detector)
            notes += observed.fill(past, self._clients.of(subject.config, name), name, subject, window, since)
        past.notes = list(dict.fromkeys(notes))
        return past


def _plain(subject: Subject) -> str:
    return promql.gauges([*PER_FEATURE.values(), SCORE, MISSING, VIEW], subject.matchers)


def _over(subject: Subject, window: Window) -> str:
    """What must not fall between two points: the highest score, the highest and lowest sample, and whether it was missing."""
    of = subject.matchers
    parts = (('max', SCORE, SCORE), ('max', MISSING, MISSING), ('max', PER_FEATURE['observed'], 'high'), ('min', PER_FEATURE['observed'], 'low'))
    return ' or '.join(
        f'label_replace({what}_over_time({promql.gauges([family], of)}[{window.coarse_milliseconds}ms]), "promlstm_of", "{name}_over", "", "")'
        for what, family, name in parts
    )


def _assembled(subject: Subject, window: Window, times: Floats, found: Sequence[Column], ahead: Ahead | None) -> Past:
    length, queries = len(times), subject.detector.queries

    def of_feature(family: str, name: str) -> Floats:
        return one(found, family, length, feature=name) if len(queries) > 1 else one(found, family, length)

    features = [
        Feature(
            name, wording.unit_of(expr), high=of_feature('high_over', name), low=of_feature('low_over', name),
            **{what: of_feature(family, name) for what, family in PER_FEATURE.items()},
        )
        for name, expr in queries.items()
    ]  # fmt: skip
    score = np.fmax(one(found, SCORE, length), one(found, f'{SCORE}_over', length))
    missing = np.fmax(one(found, MISSING, length), one(found, f'{MISSING}_over', length))
    views = {column.own['view']: column.values for column in found if column.own.get('__name__') == VIEW and 'view' in column.own}
    alarms = [
        Run(float(times[first]), float(times[last]), float(np.nanmax(score[first : last + 1]))) for first, last in runs(score >= 1, np.isnan(score))
    ]
    gone = [Run(float(times[first]), float(times[last]), None) for first, last in runs(missing >= 1, np.zeros(length, bool))]
    return Past(
        window.start, window.end, window.resolution, window.live, 'gauges' if found else 'none', times, features, score, views, alarms, gone, ahead,
    )  # fmt: skip


def _since(past: Past, times: Floats) -> float:
    """The first instant that our gauges say something of; inf = there is none."""
    known = np.zeros(len(times), bool)
    for feature in past.features:
        known |= np.isfinite(feature.observed)
    known |= np.isfinite(past.score)
    return float(times[known.argmax()]) if known.any() else np.inf


def _ahead(api: Prometheus, subject: Subject, window: Window) -> Ahead | None:
    """The forecast as of the end of a window."""
    found = api.instant(promql.gauges([FORECAST, LIMIT, TO_LIMIT], subject.matchers), window.end)
    at = np.array([window.end])
    if not found.keys:
        return None
    read = columns([Matrix(at, found.keys, found.values[None, :])], exported(subject.entity, OURS))
    settings, several = subject.detector.forecast, len(subject.detector.queries) > 1
    assert settings
    ahead = Ahead(window.end)
    for horizon in settings.horizons:
        for name in subject.detector.queries:
            own = {'horizon': duration(float(horizon)), **({'feature': name} if several else {})}
            bounds = [float(one(read, FORECAST, 1, bound=bound, **own)[0]) for bound in ('lower', 'middle', 'upper')]
            if np.isfinite(bounds).any():
                ahead.add(name, duration(float(horizon)), float(horizon), bounds)
    ahead.limit = numbers(one(read, LIMIT, 1))[0]
    ahead.seconds_to_limit = numbers(one(read, TO_LIMIT, 1, bound='middle'))[0]
    return ahead
