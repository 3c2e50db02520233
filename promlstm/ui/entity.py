"""One entity: its page, /api/v1/entity, and its past, /api/v1/history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from promlstm.engine import labels
from promlstm.serve.exposition import OURS
from promlstm.serve.handling import BadQuery, NotFound, Routes, allow, json, refusal, wants_gzip
from promlstm.serve.messages import Answer, Request
from promlstm.ui import detectors, elsewhere, neighbours, shapes, silenced, window
from promlstm.ui.asking import Asking, Busy
from promlstm.ui.board import Standing
from promlstm.ui.clients import Clients
from promlstm.ui.context import Context
from promlstm.ui.history import History
from promlstm.ui.neighbours import Neighbours
from promlstm.ui.past import Past, numbers, with_run
from promlstm.ui.present import GONE, UNKNOWN, Present, present
from promlstm.ui.sparklines import MOST, Sparklines, Wanted
from promlstm.ui.subject import Subject
from promlstm.ui.window import Window

PAGE_SECONDS, API_SECONDS = 2.5, 12.0  # that a page and a program wait for the past
KEPT_SECONDS, KEPT_LONG_SECONDS = 5.0, 60.0  # answers that end now, and others
SPARKLINES_SECONDS = 20.0
LISTED = 12  # instants in the table


@dataclass(frozen=True, slots=True)
class Seen:
    """The entity that is asked for. number: its row; None = it is not in the table."""

    subject: Subject
    standing: Standing | None
    number: int | None

    @property
    def present(self) -> Present:
        """What is known of it now."""
        return present(self.subject.detector, self.subject.entity, self.standing, self.number)

    @property
    def exported(self) -> labels.Pairs:
        """Its labels on our gauges, and so on alerts and silences."""
        return (('detector', self.subject.detector.name), *labels.exported(self.subject.entity, OURS))


class Entities:
    """What the pages and the API of entities share."""

    def __init__(self, context: Context) -> None:
        self._context, self._shapes, self._asking = context, context.shapes, Asking()
        clients = Clients()
        self._history, self._sparklines = History(clients), Sparklines(clients)

    def seen(self, detector: str, entity: Mapping[str, str]) -> Seen:
        """The entity with these labels, or whose labels are all among them; NotFound where there is no such detector."""
        config, _ = self._context.in_force()
        settings = next((each for each in config.detectors if each.name == detector), None)
        if settings is None:
            listed = ', '.join(each.name for each in config.detectors[:20])
            raise NotFound(f'detector: no detector {detector[:100]!r}; detectors: {listed}' if detector else f'detector: missing; detectors: {listed}')
        standing = self._context.board.present_of(detector)
        known = self._shapes.of(detector, standing.identities) if standing else self._shapes.last(detector, settings.by)
        number = shapes.found(entity, known, standing.identities) if standing else None
        if standing and number is not None and number >= len(standing):  # it has come since the step
            number = None
        pairs = labels.pairs(standing.identities[number]) if standing and number is not None else shapes.own(entity, known)
        others = frozenset().union(*known) if known else frozenset(settings.by)
        new = self._context.board.is_new(detector)
        return Seen(Subject(config, settings, pairs, others, len(standing) if standing else 1, new), standing, number)

    def past(self, seen: Seen, span: Window, wait_seconds: float) -> Past:
        """The past of an entity with its silences; Busy where it takes longer."""
        subject = seen.subject
        key = ('past', repr(subject.detector), subject.config.source_name(subject.detector), subject.entity, span)
        keep = min(KEPT_SECONDS, subject.detector.step) if span.live else KEPT_LONG_SECONDS
        found = self._asking.answer(key, lambda: self._history.past(subject, span), keep_seconds=keep, wait_seconds=wait_seconds)
        silences, problem = silenced.about(self._asking, subject.config, dict(seen.exported), span)
        notes = [*found.notes, problem] if problem else found.notes
        return _lasting(replace(found, silences=silences, notes=notes), seen.present, span)

    def sparklines(self, wanted: Sequence[Wanted], end: float | None) -> dict[str, Any]:
        """The last hours of some entities, or those before an instant in unix seconds; Busy where it takes long."""
        now = self._context.now()
        now = now if end is None else min(end, now)
        key = ('lines', now // 60, tuple((each.subject.detector.name, each.subject.entity, each.feature) for each in wanted))
        return self._asking.answer(key, lambda: self._sparklines.of(wanted, now), keep_seconds=SPARKLINES_SECONDS, wait_seconds=API_SECONDS)

    def neighbours(self, seen: Seen, now: Present) -> Neighbours:
        """What is strange at the same time."""
        config, _ = self._context.in_force()
        standings = self._context.board.present([each.name for each in config.detectors])
        return neighbours.of(standings, seen.subject.detector.name, seen.subject.entity, now.since, self._context.incidents)


def routes(context: Context) -> Routes:
    """The pages of this group."""
    entities = Entities(context)

    def asked(given: Mapping[str, str]) -> tuple[Seen, Window]:
        seen = entities.seen(given.get('detector', ''), shapes.parsed(given.get('entity', '')))
        return seen, window.asked(given, context.now(), seen.subject.detector.step)

    def page(request: Request, given: Mapping[str, str]) -> Answer:
        seen, span = asked(given)
        now = seen.present
        past, waiting = None, ''
        try:
            past = entities.past(seen, span, PAGE_SECONDS)
        except Busy as error:
            waiting = f'{error} The charts appear when Prometheus has answered; without JavaScript, reload this page.'
        return context.templates.page(
            'entity', status=404 if now.state == GONE else 200, gzip=wants_gzip(request), now=now, past=past, waiting=waiting, span=span,
            standing=seen.standing, offered=window.OFFERED, at=context.now(), said=''.join(each.status for each in detectors.all_of(context, [now.detector])),
            elsewhere=elsewhere.of(seen.subject, seen.exported, now, span, context), neighbours=entities.neighbours(seen, now),
            standings={each.config.name: each for each in context.board.present(context.statuses())},
            listed=_listed(past, now) if past else [], unknown=UNKNOWN, gone=GONE,
        )  # fmt: skip

    def api_entity(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'detector', 'entity')
        seen, span = asked(given)
        now = seen.present
        if now.state == GONE:
            raise NotFound(f'entity: {now.detector} has no entity {now.entity}')
        near = entities.neighbours(seen, now)
        found = {
            **msgspec.to_builtins(now), 'incident': near.incident, 'neighbours': near.rows,
            **msgspec.to_builtins(elsewhere.of(seen.subject, seen.exported, now, span, context)),
        }  # fmt: skip
        return json(request, found)

    def api_history(request: Request, given: Mapping[str, str]) -> Answer:
        try:
            if 'of' in given:
                if given.keys() - {'of', 'end'}:
                    raise BadQuery('of: expected no other parameter than end')
                return json(request, entities.sparklines(_wanted(entities, given['of']), window.end_of(given)))
            allow(given, 'detector', 'entity', 'range', 'end', 'points')
            seen, span = asked(given)
            now = seen.present
            head = {'detector': now.detector, 'entity': now.entity, 'labels': now.labels, 'state': now.state}
            return json(request, head | entities.past(seen, span, API_SECONDS).tree())
        except Busy as error:
            return refusal(request, 503, 'unavailable', str(error))

    return {('GET', '/entity'): page, ('GET', '/api/v1/entity'): api_entity, ('GET', '/api/v1/history'): api_history}


def _lasting(past: Past, now: Present, span: Window) -> Past:
    """What is strange now has been so since it began, also where no gauge of ours tells of it."""
    if now.since is None or now.since > span.end:
        return past
    start = max(now.since, span.start)
    if now.state == 'missing':
        return replace(past, missing=with_run(past.missing, start, span.end, None))
    return replace(past, alarms=with_run(past.alarms, start, span.end, now.score)) if now.state == 'anomalous' else past


def _wanted(entities: Entities, text: str) -> list[Wanted]:
    """The entities that the parameter `of` names, [[detector, labels, feature], …]; those that there are not are left out."""
    try:
        listed = msgspec.json.decode(text.encode(), type=list[tuple[str, str, str]])
    except msgspec.DecodeError as error:
        raise BadQuery(f'of: expected [[detector, labels, feature], …] as JSON: {error}') from error
    if len(listed) > MOST:
        raise BadQuery(f'of: expected at most {MOST} entities, got {len(listed)}')
    found = []
    for detector, entity, feature in listed:
        try:
            subject = entities.seen(detector, shapes.parsed(entity)).subject
        except NotFound:
            continue
        if feature in subject.detector.queries:
            found.append(Wanted(subject, feature))
    return found


def _listed(past: Past, now: Present) -> list[dict[str, Any]]:
    """The last instants, the newest first, of the feature that contributes most."""
    main = next((each for each in past.features if each.name == now.feature), past.features[0])
    columns = ('observed', 'expected', 'lower', 'upper')
    known = [place for place in range(len(past.times)) if main.observed[place] == main.observed[place] or past.score[place] == past.score[place]]
    return [
        {'time': float(past.times[place]), 'score': numbers(past.score[place : place + 1])[0]}
        | {name: numbers(getattr(main, name)[place : place + 1])[0] for name in columns}
        for place in reversed(known[-LISTED:])
    ]
