"""Incidents are excluded from training: spans given by hand, silences of Alertmanager, and alerts of the past, all as Exclusions.

Who calls it: collect. Silences and alerts are kept beside the telemetry and added to on each run: an Alertmanager forgets a silence days
after it ended, and a Prometheus its alerts. A margin before each is excluded too, since an alert fires only after a while.
A silence that says `false alarm` is the opposite: what it silenced teaches, although an alert fired for it.
promlstm's own alerts do not count unless asked for: what it once took for an anomaly would otherwise never become normal.
"""

import json
from pathlib import Path

import msgspec
import numpy as np

from convert.data import spans, store
from convert.data.spans import DataError, Exclusion, Span
from promlstm.config import Access, Duration
from promlstm.errors import PromlstmError, QueryRejected, ResponseError
from promlstm.query import silences as api
from promlstm.query.http import Http
from promlstm.query.selector import Matcher, selector

ALERT_STEP_SECONDS = 60.0
TIMEOUT_SECONDS = 30.0
EDIT_SECONDS = 5.0      # between the end of a silence and the beginning of the one that it was edited into
MOST_WHY = 200          # characters of a silence's comment


class IncidentError(DataError):
    """Silences or alerts cannot be read, or an exclusion is not valid."""


class ByHand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A span to be left out, of the entities that match (`detector` is a label too), or of all."""

    span: Span
    why: str
    match: str = ''


class Silences(Access, frozen=True, kw_only=True):
    """Where silences are: an Alertmanager, asked as the exporter asks Prometheus, or a file as its api/v2/silences gives it."""

    alertmanager: str | None = None
    file: str | None = None
    margin: Duration = Duration(0)


class Alerts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which alerts of the past count as incidents."""

    match: str = '{alertname!~"Promlstm.*"}'
    margin: Duration = Duration(900)
    source: str | None = None       # whose alerts; none: that of the section `prometheus`, or the first of this kind


class Exclude(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is excluded from training."""

    by_hand: tuple[ByHand, ...] = ()
    silences: Silences | None = None
    alerts: Alerts | None = None


def by_hand(listed, key='exclude.by_hand'):
    """Exclusions of a list in the recipe (key says which); IncidentError names the one that is not valid."""
    out = []
    for number, each in enumerate(listed):
        where = f'{key}[{number}]'
        if not each.span[0] < each.span[1]:
            raise IncidentError(f'{where}: {spans.text(each.span[0])} is not before {spans.text(each.span[1])}')
        out.append(Exclusion(source='by hand', why=each.why, start=float(each.span[0]), end=float(each.span[1]), matchers=_matchers(each.match, where)))
    return out


def _matchers(text, where):
    """The conditions of a selector without a name; none for all. It is parsed with a name, since `{a!="b"}` alone is no query."""
    if text and not text.lstrip().startswith('{'):
        raise IncidentError(f'{where}.match: expected a selector such as {{instance="a"}}, got {text!r}')
    try:
        return tuple((each.label, each.operator, each.value) for each in selector(f'any{text.lstrip()}')[1:]) if text else ()
    except QueryRejected as error:
        raise IncidentError(f'{where}.match: {error}') from error


def silences(source, root):
    """Exclusions of an Alertmanager's silences, expired ones included, or of a file of them (relative to `root`).

    source  Silences
    """
    if bool(source.alertmanager) == bool(source.file):
        raise IncidentError('exclude.silences: expected either alertmanager or file')
    where, body = _from_file(Path(root) / source.file) if source.file else _from_alertmanager(source, root)
    try:
        found, problems = api.parse(body)
    except ResponseError as error:
        found, problems = [], [str(error)]
    if problems:
        raise IncidentError(f'{where}: not a list of silences as api/v2/silences has it: {problems[0]}')
    return _called(found)


def _from_file(path):
    try:
        return str(path), path.read_bytes()
    except OSError as error:
        raise IncidentError(f'{path}: cannot be read: {error.strerror}') from error


def _from_alertmanager(source, root):
    where = f"{source.alertmanager.rstrip('/')}/{api.PATH}"
    try:
        reply = Http(source.to(source.alertmanager), root=root, where='exclude.silences').send('GET', api.PATH, {}, TIMEOUT_SECONDS)
    except PromlstmError as error:
        raise IncidentError(f'exclude.silences: {error}') from error
    if reply.status != 200:
        raise IncidentError(f'{where}: answered {reply.status}: {reply.body[:120].decode(errors="replace")!r}')
    return where, reply.body


def _called(found):
    """Exclusions of Silences: one that says false alarm was taken back where it was expired early, unless it was edited.

    An Alertmanager edits by expiring the old silence and making a new one, which begins then. Where that one was taken back, both are.
    """
    standing, out = [], []
    for each in sorted(found, key=lambda silence: silence.start, reverse=True):     # so that what one was edited into comes before it
        edited = (set(other.matchers) == set(each.matchers) and abs(other.start - each.end) < EDIT_SECONDS for other in standing)
        stands = each.is_false_alarm and (not each.ended_early or any(edited))
        if stands:
            standing.append(each)
        matchers = tuple((matcher.label, matcher.operator, matcher.value) for matcher in each.matchers)
        why = f'silence {each.id}: {each.comment}'[:MOST_WHY]
        source = api.FALSE_ALARM if stands else 'silence'
        out.append(Exclusion(source=source, why=why, start=each.start, end=each.end, matchers=matchers, shared=True))
    return out[::-1]


def alerts(wanted, parts, history_seconds, source):
    """Exclusions of alerts that fired within the spans (and the history before them); without their margin.

    wanted  Alerts
    source  Prometheus, or anything with its `range`
    raises  IncidentError, and what the source raises
    """
    conditions = ','.join(f'{label}{operator}{json.dumps(value)}' for label, operator, value in _matchers(wanted.match, 'exclude.alerts'))
    expr = f'ALERTS{{alertstate="firing"{"," if conditions else ""}{conditions}}}'
    out = []
    for start, end in spans.union([(start - history_seconds, end + wanted.margin) for _, _, (start, end) in parts.named()]):
        first = np.floor(start / ALERT_STEP_SECONDS) * ALERT_STEP_SECONDS
        for matrix in source.range(expr, first, end, ALERT_STEP_SECONDS, 100):
            for raw, column in zip(matrix.keys, matrix.values.T, strict=True):
                out += _fired(msgspec.json.decode(raw), matrix.times[~np.isnan(column)])
    return out


def _fired(labels, times):
    """Runs of firing; a gap of one sample does not end one."""
    matchers = tuple(sorted((label, '=', value) for label, value in labels.items() if label not in ('__name__', 'alertstate')))
    for run in np.split(times, np.flatnonzero(np.diff(times) > 2.5 * ALERT_STEP_SECONDS) + 1):
        if len(run):
            start, end = float(run[0]), float(run[-1] + ALERT_STEP_SECONDS)
            yield Exclusion(source='alert', why=f'alert {labels.get("alertname", "")}', start=start, end=end, matchers=matchers, shared=True)


def applied(exclude, known):
    """The Exclusions that a recipe asks for: of those that are known, with its margins before them, and its own by hand.

    exclude  Exclude
    known    what `load` gave
    """
    out = by_hand(exclude.by_hand)
    if exclude.silences:
        out += [_earlier(each, exclude.silences.margin) for each in known if each.source == 'silence']
        out += [each for each in known if each.source == api.FALSE_ALARM]
    if exclude.alerts:
        conditions = [Matcher(*each) for each in _matchers(exclude.alerts.match, 'exclude.alerts')]
        for each in known:
            found = {label: value for label, _, value in each.matchers}
            if each.source == 'alert' and all(condition(found.get(condition.label, '')) for condition in conditions):
                out.append(_earlier(each, exclude.alerts.margin))
    return tuple(out)


def _earlier(exclusion, margin):
    return msgspec.structs.replace(exclusion, start=float(exclusion.start - margin))


def save(path, found):
    """Add Exclusions to those in a file; a silence that is there already is replaced, since it may have been ended early."""
    replaced = {(each.why, each.matchers, each.start) for each in found if each.source in ('silence', api.FALSE_ALARM)}
    before = [each for each in load(path) if (each.why, each.matchers, each.start) not in replaced]
    store.write(path, msgspec.json.format(msgspec.json.encode(merged([*before, *found])), indent=1))


def load(path):
    """The Exclusions in a file; none where it is not there."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Exclusion]) if path.exists() else []
    except (OSError, msgspec.DecodeError) as error:
        raise IncidentError(f'{path}: cannot be read: {error}: remove it and fetch again') from error


def merged(exclusions):
    """Sorted Exclusions; those of the same source, reason and entities at overlapping times are one."""
    out = []
    for each in sorted(exclusions, key=lambda each: (each.source, each.why, each.matchers, each.start, each.end)):
        last = out[-1] if out else None
        if last and (last.source, last.why, last.matchers) == (each.source, each.why, each.matchers) and each.start <= last.end:
            out[-1] = msgspec.structs.replace(last, end=max(last.end, each.end))
        else:
            out.append(each)
    return out
