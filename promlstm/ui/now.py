"""What is wrong now: the first page, and /api/v1/anomalies."""

from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from promlstm.serve.handling import BadQuery, Routes, allow, choice, json, number, one_of, wants_gzip
from promlstm.serve.messages import Answer, Request
from promlstm.ui import anomalies, detectors, filtering
from promlstm.ui.board import Standing
from promlstm.ui.context import Context
from promlstm.ui.incidents import SURE, named, title

STATES = ('all', 'anomalous', 'missing')
INCIDENTS = 4  # open ones that the page shows
SILENT = 5  # reasons why detectors do not score, and names for each, likewise


class Reason(msgspec.Struct, frozen=True):
    """Why some detectors do not score."""

    status: str
    names: list[str]


def routes(context: Context) -> Routes:
    """The pages of this group."""

    def listing(given: Mapping[str, str], limit: int) -> tuple[anomalies.Asked, anomalies.Listing, dict[str, Standing]]:
        standings = {standing.config.name: standing for standing in context.board.present(context.statuses())}
        asked = anomalies.Asked(
            one_of(given, 'detector', context.statuses()), filtering.wanted(given.get('q', ''), given.get('match', '')), choice(given, 'state', STATES),
            choice(given, 'sort', anomalies.SORTS), number(given, 'offset', 0, 0, anomalies.FARTHEST), limit,
        )  # fmt: skip
        return asked, anomalies.listing(list(standings.values()), asked), standings

    def page(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'detector', 'match', 'q', 'state', 'sort', 'offset')
        problem = ''
        try:
            asked, found, standings = listing(given, anomalies.LIMIT)
        except BadQuery as error:
            problem = str(error)
            asked, found, standings = listing(filtering.without(given), 0)  # whatever else is wrong is no filter that could be mended in place
        incidents, more = context.incidents.gravest(INCIDENTS)
        thing = named(list(standings.values()), context.templates.shared)
        described, statuses = detectors.all_of(context), context.statuses()
        silent = [each for each in described if not each.scores]
        return context.templates.page(
            'now', status=400 if problem else 200, problem=problem, gzip=wants_gzip(request), given=given, asked=asked, listing=found, incidents=incidents,
            more_incidents=more, thing=thing, title=partial(title, thing=thing), sure=SURE,
            detectors=described, silent=silent, reasons=_reasons(silent), most_silent=SILENT, now=context.now(),
            new=not any(status.scored for status in statuses.values()),
            standings=standings,
        )  # fmt: skip

    def anomalies_api(request: Request, given: Mapping[str, str]) -> Answer:
        allow(given, 'detector', 'match', 'q', 'state', 'sort', 'offset', 'limit')
        _, found, _ = listing(given, number(given, 'limit', anomalies.LIMIT, 1, anomalies.MOST))
        return json(request, found.tree('anomalies'))

    return {('GET', '/'): page, ('GET', '/api/v1/anomalies'): anomalies_api}


def _reasons(silent: Iterable[detectors.Described]) -> list[Reason]:
    """The reasons of detectors that do not score, each once: a server that is gone silences many."""
    names: dict[str, list[str]] = {}
    for each in silent:
        names.setdefault(each.status, []).append(each.name)
    return [Reason(*found) for found in names.items()]
